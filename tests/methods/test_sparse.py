"""Methods that take sparse rows do with them what they do with dense ones."""

import dataclasses

import jax
import numpy as np
import optax
import pytest
from scipy import sparse

from dgg_jax import methods, presets
from dgg_jax.methods import Problem, dgg, problem
from dgg_jax.placement import rows
from dgg_jax.placement.rows import HostRows, SparseRows, sparse_rows
from dgg_jax.training import StepOutput, compile_epoch
from dgg_jax.training.state import create_state
from tests.methods.toy import blobs

BRIEF = {
    "num_clusters": 3,
    "variance": 0.05,
    "hidden_sizes": (5,),
    "latent_dim": 2,
    "pretrain_layer_epochs": 1,
    "pretrain_autoencoder_epochs": 2,
    "pretrain_batch_size": 30,
    "epochs": 2,
    "batch_size": 30,
}
DGG = {
    "pretrain_vae_epochs": 1,
    "siamese_epochs": 1,
    "siamese_batch_size": 30,
    "num_neighbors": 4,
    "num_candidates": 6,
    "classifier_epochs": 1,
    "label_epochs": 1,
    # An ensemble takes sparse rows for words.
    "init": "kmeans",
    "guard": False,
}


def preset(method, **changes):
    own = DGG if method == "dgg" else {}
    settings = {"likelihood": "gaussian", **BRIEF, **own, **changes}
    fields = {field.name for field in dataclasses.fields(presets.preset_class(method))}
    return presets.preset_class(method)(
        **{name: value for name, value in settings.items() if name in fields}
    )


@pytest.fixture
def x():
    """Blobs of which about a third of the values is 0."""
    x, _ = blobs()
    return np.where(x < 0.3, 0.0, x)


@pytest.fixture
def kept_sparse(monkeypatch):
    """Rows stay sparse, although they would fit into memory."""
    monkeypatch.setattr(
        problem,
        "place",
        lambda x, *_, **__: sparse_rows(x) if sparse.issparse(x) else x,
    )


@pytest.mark.slow
@pytest.mark.usefixtures("kept_sparse")
@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("dgg", {}),
        ("dgg", {"likelihood": "bernoulli", "siamese_epochs": 0}),
        ("vade", {}),
        ("dec", {}),
        ("kmeans", {}),
    ],
    ids=str,
)
def test_the_same_as_on_dense_rows(x, method, changes, monkeypatch):
    # Long fits to labels add up what differs in the last digits.
    monkeypatch.setattr(dgg, "_STEPS", 1)
    monkeypatch.setattr(dgg, "_FURTHER_STEPS", 1)
    run = methods.method(method).run
    _, dense, records = run(x, preset(method, **changes), seed=0)
    _, found, again = run(sparse.csr_array(x), preset(method, **changes), seed=0)
    # What XLA sums in another order differs in the last digits.
    assert set(found) == set(dense)
    if "latent_mean" in dense:
        np.testing.assert_allclose(
            found["latent_mean"], dense["latent_mean"], rtol=1e-2, atol=1e-3
        )
    np.testing.assert_array_equal(found["labels"], dense["labels"])
    for record, other in zip(records, again, strict=True):
        for name in set(record) & {"elbo", "reconstruction"}:
            np.testing.assert_allclose(other[name], record[name], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("method", ["spectralnet", "catgan", "aae", "ltvae"])
def test_methods_without_weights_take_sparse_rows(x, method):
    small = preset(method, siamese_epochs=1, num_neighbors=4)
    labels = methods.method(method).run(sparse.csr_array(x), small).state["labels"]
    assert labels.shape == (len(x),)


def test_rows_stay_sparse_where_they_can(monkeypatch):
    matrix = sparse.csr_array(np.eye(50))
    # Of 2 + 4 rows of 1 entry of 8 bytes, of 2 dense rows of 50 numbers of 4 bytes.
    monkeypatch.setattr(rows, "device_memory", lambda: 2 * 50 * 6 * 8)

    def rows_of(method, **changes):
        return Problem.of(matrix, preset(method, **changes)).x

    assert isinstance(rows_of("dgg"), SparseRows)
    assert isinstance(rows_of("dgg", likelihood="learned_gaussian"), HostRows)
    assert isinstance(rows_of("imsat", num_neighbors=2), np.ndarray)


def test_what_is_wrong_is_found_in_sparse_rows(x):
    x[4, 2] = np.nan
    matrix = sparse.csr_array(x)
    with pytest.raises(ValueError, match=r"1 NaN .* at row 4, column 2 \(nan\)"):
        methods.method("dgg").run(matrix, preset("dgg"))
    matrix = sparse.csr_array(np.abs(2.0 * blobs()[0]))
    with pytest.raises(ValueError, match="needs values in \\[0, 1\\]"):
        methods.method("dgg").run(matrix, preset("dgg", likelihood="bernoulli"))


def test_an_epoch_gathers_dense_batches_alone():
    """No array of the size of the data is made of sparse rows."""

    matrix = sparse.random_array(
        (5000, 300), density=0.01, rng=np.random.default_rng(0)
    )
    x = sparse_rows(sparse.csr_array(matrix))

    def loss(params, x, indices, key):
        value = ((x[indices] - params[None]) ** 2).mean()
        return value, StepOutput({"loss": value})

    optimizer = optax.sgd(0.1)
    epoch = compile_epoch(loss, optimizer, num_points=5000, batch_size=50)
    state = create_state(np.zeros(300, np.float32), optimizer)
    compiled = epoch.lower(state, x, jax.random.key(0)).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 5000 * 300 * 4 / 5
