"""Methods do with rows that stay on the host what they do with those on the device."""

import numpy as np
import pytest
from scipy import sparse

from dgg_jax import methods
from dgg_jax.methods import dgg, problem
from dgg_jax.placement import rows
from dgg_jax.placement.rows import HostRows
from dgg_jax.training import streaming
from tests.methods.test_sparse import preset
from tests.methods.toy import blobs

TINY_SHARE = 1e-12  # of any device's memory


@pytest.fixture
def small_blocks(monkeypatch):
    """Several blocks and chunks, the last of them smaller."""
    monkeypatch.setattr(rows, "_BLOCK_BYTES", 40 * 3 * 4)
    monkeypatch.setattr(streaming, "_CHUNK_BYTES", 2 * 30 * 3 * 4)


def kept_in(kind, x, folder):
    if kind == "map":
        np.save(folder / "x.npy", x)
        return np.load(folder / "x.npy", mmap_mode="r")
    return sparse.csr_array(x) if kind == "sparse" else x


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "kind", "changes"),
    [
        ("dgg", "map", {"restarts": 2, "siamese_warp": 1.0, "warp_weight": 5.0}),
        # An ensemble takes sparse rows for words.
        (
            "dgg",
            "sparse",
            {"likelihood": "bernoulli", "init": "kmeans", "guard": False},
        ),
        ("dgg", "array", {"objective": "tuple", "likelihood": "learned_gaussian"}),
        (
            "dgg",
            "array",
            {"objective": "tuple", "siamese_warp": 1.0, "warp_weight": 5.0},
        ),
        ("vade", "sparse", {}),
        ("vade", "map", {"likelihood": "bernoulli", "label_epochs": 1}),
        ("dec", "array", {}),
        ("ae_gmm", "array", {"covariance": "diag"}),
    ],
    ids=str,
)
def test_a_run_is_the_one_on_the_device(
    method, kind, changes, small_blocks, tmp_path, caplog, monkeypatch
):
    # Long fits to labels add up what differs in the last digits.
    monkeypatch.setattr(dgg, "_STEPS", 1)
    monkeypatch.setattr(dgg, "_FURTHER_STEPS", 1)
    x, y = blobs()
    x = np.where(x < 0.3, 0.0, x)
    told = {"seed": 0, "y": y}
    if "siamese_warp" in changes:
        told["image_shape"] = (1, x.shape[1])
    run = methods.method(method).run
    _, resident, records = run(x, preset(method, **changes), **told)
    assert "stay on the host" not in caplog.text
    settings = preset(method, device_memory_share=TINY_SHARE, **changes)
    _, found, again = run(kept_in(kind, x, tmp_path), settings, **told)
    assert caplog.text.count("stay on the host") == 1
    assert set(found) == set(resident)
    np.testing.assert_allclose(
        found["latent_mean"], resident["latent_mean"], rtol=1e-2, atol=1e-3
    )
    np.testing.assert_array_equal(found["labels"], resident["labels"])
    for record, other in zip(records, again, strict=True):
        for name in set(record) & {"elbo", "reconstruction", "accuracy"}:
            np.testing.assert_allclose(other[name], record[name], rtol=1e-3, atol=1e-3)


def test_new_rows_are_inferred_by_blocks(small_blocks):
    x, _ = blobs()
    settings = {"pretrain_layer_epochs": 0, "epochs": 1, "init": "kmeans"}
    model, _, _ = methods.method("vade").run(x, preset("vade", **settings), seed=0)
    posterior, log_assignment = model.infer(x)
    found, streamed = model.infer(HostRows(x))
    np.testing.assert_allclose(found.mean, posterior.mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(streamed, log_assignment, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(model.elbo(HostRows(x)), model.elbo(x), rtol=1e-4)


def test_no_block_is_larger_than_it_may_be(small_blocks, monkeypatch):
    """Neither in training nor in evaluation, statistics included."""
    x, _ = blobs()
    gathered = []

    class Source(np.ndarray):
        def __getitem__(self, rows):
            found = np.asarray(self)[rows]
            gathered.append(found.nbytes)
            return found

    changes = {"pretrain_layer_epochs": 0, "epochs": 1, "init": "kmeans"}
    settings = preset("vade", device_memory_share=TINY_SHARE, **changes)
    monkeypatch.setattr(problem, "place", lambda x, *_, **__: HostRows(x.view(Source)))
    methods.method("vade").run(x, settings, seed=0)
    assert max(gathered) == 2 * 30 * 3 * 4  # a chunk of two steps
