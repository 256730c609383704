"""First layers and last ones, by the data, against numpy."""

from typing import NamedTuple

import jax
import numpy as np
import pytest
from scipy import sparse, special

from dgg_jax import DGG, metrics
from dgg_jax.checks import InvalidInput
from dgg_jax.likelihoods import GaussianLikelihood
from dgg_jax.methods import similarity
from dgg_jax.methods.parts import Parts, autoencoder_modules
from dgg_jax.methods.pretrained import pretrained
from dgg_jax.methods.problem import Problem
from dgg_jax.networks import (
    COLUMNS,
    PROJECTION,
    Decoder,
    Encoder,
    log_normalized,
)
from dgg_jax.placement.rows import HostRows, sparse_rows
from dgg_jax.presets import DGGPreset
from dgg_jax.training import Run
from tests.methods.toy import blobs


def untrained(
    x, *, is_test=None, batch=None, sample_weight=None, parts=None, **settings
):
    """What an autoencoder of three clusters is before any training."""
    settings |= {"pretrain_autoencoder_epochs": 0, "pretrain_vae_epochs": 0}
    told = {"is_test": is_test, "batch": batch, "sample_weight": sample_weight}
    told |= {"parts": parts} if parts else {}
    run = Run()
    problem = Problem.of(x, DGGPreset(num_clusters=3, **settings), runner=run, **told)
    return problem, run.stage("pretrain", lambda _: (pretrained(problem), {}), {})


def first_layer(x, is_centered, **given):
    """The encoder's first layer, and what it sees of rows, before any training."""
    given |= {"hidden_sizes": (16,), "pretrain_centered": is_centered}
    problem, state = untrained(x, **given)
    encoder, _ = autoencoder_modules(problem.preset, problem.num_features)
    return state["encoder"]["hidden_0"], encoder.seen


def test_a_centered_first_layer_takes_rows_as_if_they_were():
    x = np.random.default_rng(0).uniform(0.4, 0.6, (200, 12)).astype(np.float32)
    x[:, 3] += 0.3
    drawn, _ = first_layer(x, False)
    centered, _ = first_layer(x, True)
    rows = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0).mean())
    np.testing.assert_allclose(
        x @ centered["kernel"] + centered["bias"],
        rows @ drawn["kernel"] + drawn["bias"],
        atol=1e-4,
    )
    assert not np.allclose(x @ drawn["kernel"], rows @ drawn["kernel"], atol=0.1)


def test_rows_of_the_test_and_missing_values_do_not_move_the_first_layer():
    x = np.random.default_rng(0).uniform(0.4, 0.6, (200, 12)).astype(np.float32)
    far = np.r_[x, x + 0.3]
    is_test = np.arange(400) >= 200
    of_training, _ = first_layer(far, True, is_test=is_test)
    alone, _ = first_layer(x, True)
    jax.tree.map(np.testing.assert_array_equal, of_training, alone)
    x[::2, 0] = np.nan
    layer, _ = first_layer(x, True)
    assert np.isfinite(layer["kernel"]).all() and np.isfinite(layer["bias"]).all()


def test_equal_rows_have_a_centered_first_layer_too():
    x = np.full((40, 12), 0.5, np.float32)
    x[20:] = np.random.default_rng(0).uniform(size=(20, 12))
    layer, _ = first_layer(x, True, is_test=np.arange(40) >= 20)
    np.testing.assert_allclose(
        np.full(12, 0.5) @ layer["kernel"] + layer["bias"], 0.0, atol=1e-6
    )


def test_a_centered_first_layer_of_counts_and_batches():
    x = np.random.default_rng(0).poisson(3.0, (200, 12)).astype(np.float32)
    batch = np.arange(200) % 2
    kwargs = {"batch": batch, "likelihood": "negative_binomial"}
    drawn, seen = first_layer(x, False, **kwargs)
    centered, _ = first_layer(x, True, **kwargs)
    logs = np.asarray(seen(x))
    rows = (logs - logs.mean(axis=0)) / np.sqrt(logs.var(axis=0).mean())
    np.testing.assert_allclose(
        logs @ centered["kernel"][:12] + centered["bias"],
        rows @ drawn["kernel"][:12],
        atol=1e-4,
    )
    np.testing.assert_array_equal(centered["kernel"][12:], drawn["kernel"][12:])


@pytest.mark.parametrize("place", [sparse_rows, HostRows])
def test_a_centered_first_layer_of_rows_that_are_kept_elsewhere(place, monkeypatch):
    x = sparse.random_array((200, 12), density=0.3, rng=0, dtype=np.float32).tocsr()
    dense, _ = first_layer(x.toarray(), True)
    monkeypatch.setattr("dgg_jax.methods.problem.place", lambda x, *_, **__: place(x))
    layer, _ = first_layer(x, True)
    jax.tree.map(np.testing.assert_array_equal, layer, dense)


def test_outliers_and_rows_of_no_weight_do_not_move_the_first_layer():
    x = np.random.default_rng(0).uniform(0.4, 0.6, (300, 12)).astype(np.float32)
    given = {"likelihood": "gaussian", "sample_weight": np.repeat([1.0, 0.0], 150)}
    alone, _ = first_layer(x, True, **given)
    x[150:] += 5.0
    far, _ = first_layer(x, True, **given)
    jax.tree.map(np.testing.assert_array_equal, far, alone)
    typical, _ = first_layer(x[:150], True, likelihood="gaussian")
    x[0, 0] = 1e6
    far, _ = first_layer(x[:150], True, likelihood="gaussian")
    np.testing.assert_allclose(far["kernel"], typical["kernel"], rtol=0.05)
    np.testing.assert_allclose(far["bias"], typical["bias"], rtol=0.05)


def test_an_encoder_without_hidden_layers_is_centered():
    x = np.random.default_rng(0).uniform(0.4, 0.6, (200, 12)).astype(np.float32)
    layers = []
    for is_centered in (False, True):
        _, state = untrained(x, hidden_sizes=(), pretrain_centered=is_centered)
        layers.append(state["encoder"]["mean"])
    drawn, centered = layers
    rows = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0).mean())
    np.testing.assert_allclose(
        x @ centered["kernel"] + centered["bias"], rows @ drawn["kernel"], atol=1e-4
    )


def test_an_encoder_of_ones_own_starts_as_it_does():
    x = np.random.default_rng(0).uniform(0.4, 0.6, (40, 12)).astype(np.float32)
    parts = Parts(encoder=Encoder((5,), 10))
    states = [
        untrained(x, parts=parts, pretrain_centered=is_centered)[1]["encoder"]
        for is_centered in (False, True)
    ]
    jax.tree.map(np.testing.assert_array_equal, *states)


def axes_of(x, number):
    """Mean, leading components [D, P] and mean spread of rows, in float64."""
    x = np.asarray(x, np.float64)
    _, spreads, axes = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    spreads, axes = spreads[:number] / np.sqrt(len(x)), axes[:number].T
    return x.mean(axis=0), axes, np.sqrt(np.square(spreads).sum() / number)


class InComponents(NamedTuple):
    """The outermost layers before any training, None where they have columns."""

    encoding: dict | None
    decoding: dict | None

    def seen(self, x):
        """What the encoder sees of rows."""
        return (x - self.encoding["mean"]) @ np.asarray(self.encoding["axes"])

    def told(self, components):
        """Means or logits of columns."""
        return components @ np.asarray(self.decoding["axes"]) + self.decoding["bias"]

    def rows(self, x):
        """Rows as they pass through both."""
        return np.asarray(self.told(self.seen(x)))


def in_components(x, number, **given):
    """The outermost layers of an autoencoder of so many components."""
    given |= {"hidden_sizes": (16,), "principal_components": number}
    _, state = untrained(x, **given)
    layers = state["encoder"].get(PROJECTION), state["decoder"].get(COLUMNS)
    return InComponents(*jax.tree.map(np.asarray, layers))


def correlated(num_rows, num_columns=20, low=0.3, high=0.7):
    """Rows whose columns vary together, in four ways."""
    rng = np.random.default_rng(0)
    ways = rng.standard_normal((4, num_columns)) * np.array([[4.0], [3.0], [2.0], [1]])
    x = rng.standard_normal((num_rows, 4)) @ ways
    x += 0.01 * rng.standard_normal(x.shape)
    x = low + (high - low) * (x - x.min()) / (x.max() - x.min())
    return x.astype(np.float32)


def test_networks_see_and_give_back_rows_in_principal_components():
    x = correlated(200) + 0.3 * np.arange(20, dtype=np.float32)
    mean, axes, spread = axes_of(x, 4)
    layers = in_components(x, 4, likelihood="gaussian")
    seen = layers.seen(x)
    expected = (x - mean) @ axes / spread
    signs = np.sign(np.sum(seen * expected, axis=0))
    np.testing.assert_allclose(seen, expected * signs, atol=1e-3)
    np.testing.assert_allclose(np.square(seen).sum(axis=1).mean(), 4.0, rtol=1e-3)
    np.testing.assert_allclose(layers.rows(x), x, atol=0.05)  # four tell nearly all


def test_logits_are_told_in_principal_components():
    x = correlated(300, low=0.45, high=0.55)
    x[:, 0] = 0.0  # a column that is black
    told = special.expit(in_components(x, 4).rows(x))
    np.testing.assert_allclose(told[:, 1:], x[:, 1:], atol=2e-3)
    np.testing.assert_allclose(told[:, 0], 0.01, atol=1e-6)


def test_of_no_fewer_components_than_columns_networks_have_these():
    x = correlated(60)
    assert in_components(x, 20) == in_components(x, 25) == (None, None)


def test_components_of_few_rows_and_of_equal_ones():
    x = np.random.default_rng(0).random((40, 20), np.float32)
    is_test = np.arange(40) >= 5
    layers = in_components(x, 8, is_test=is_test, likelihood="gaussian")
    assert layers.encoding["axes"].shape == (20, 8)
    np.testing.assert_array_equal(layers.encoding["axes"][:, 5:], 0.0)
    np.testing.assert_allclose(layers.rows(x[:5]), x[:5], atol=1e-5)
    x[:5] = 0.5
    layers = in_components(x, 8, is_test=is_test)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(layers))


@pytest.mark.parametrize("spread", [0.0, 0.05])
def test_small_clusters_far_from_a_large_one_are_seen(spread):
    rng = np.random.default_rng(0)
    centers = rng.random((4, 400)).astype(np.float32)
    y = np.repeat(np.arange(4), [150, 20, 20, 20])
    x = centers[y] + spread * rng.standard_normal((len(y), 400))
    layers = in_components(x.astype(np.float32), 50, likelihood="gaussian")
    np.testing.assert_allclose(layers.rows(centers), centers, atol=0.15)


def test_outliers_the_test_and_rows_of_no_weight_are_in_no_component():
    x = correlated(300)
    is_test = np.arange(300) >= 150
    weights = np.repeat([1.0, 2.0, 0.0], [50, 100, 150])
    by_test = in_components(x, 4, likelihood="gaussian", is_test=is_test)
    by_weights = in_components(x, 4, likelihood="gaussian", sample_weight=weights)
    x[150:] += 5.0
    again = in_components(x, 4, likelihood="gaussian", is_test=is_test)
    jax.tree.map(np.testing.assert_array_equal, again, by_test)
    again = in_components(x, 4, likelihood="gaussian", sample_weight=weights)
    jax.tree.map(np.testing.assert_array_equal, again, by_weights)

    repeated = np.r_[x[:50], x[50:150], x[50:150]]
    repeated = in_components(repeated, 4, likelihood="gaussian")
    for layer, other in zip(repeated, by_weights, strict=True):
        off = np.abs(np.abs(layer["axes"]) - np.abs(other["axes"])).max()
        assert off < 0.01 * np.abs(other["axes"]).max()


@pytest.mark.parametrize("far", [1e3, 1e6, np.finfo(np.float32).max])
def test_an_outlier_takes_one_component_at_most(far):
    x = correlated(150)
    rows = x.copy()
    rows[0] = far
    layers = in_components(rows, 5, likelihood="gaussian")
    np.testing.assert_allclose(layers.rows(x[1:]), x[1:], atol=0.05)


def test_components_of_counts_and_batches():
    x = np.random.default_rng(0).poisson(3.0, (200, 12)).astype(np.float32)
    x[:100, :5] *= 20
    x[:, 11] = 0.0  # nobody has it
    kwargs = {"batch": np.arange(200) % 2, "likelihood": "negative_binomial"}
    layers = in_components(x, 1, **kwargs)
    seen = layers.seen(np.asarray(log_normalized(x)))
    assert np.all(np.sign(seen[:100]) == -np.sign(seen[100:]))
    shares = special.softmax(layers.told(seen), axis=1)
    assert shares[:100, :5].sum(axis=1).min() > shares[100:, :5].sum(axis=1).max()
    mean_shares = (x / x.sum(axis=1, keepdims=True)).mean(axis=0)
    told = special.softmax(layers.decoding["bias"])
    np.testing.assert_allclose(told, mean_shares, atol=0.002)


@pytest.mark.parametrize("place", [sparse_rows, HostRows])
def test_components_of_rows_that_are_kept_elsewhere(place, monkeypatch):
    x = sparse.random_array((200, 12), density=0.3, rng=0, dtype=np.float32).tocsr()
    dense = in_components(x.toarray(), 4)
    monkeypatch.setattr("dgg_jax.methods.problem.place", lambda x, *_, **__: place(x))
    jax.tree.map(np.testing.assert_array_equal, in_components(x, 4), dense)


def test_parts_of_ones_own_have_columns():
    x = correlated(40)
    own = Encoder((5,), 10), Decoder((5,), 20)
    layers = in_components(x, 4, parts=Parts(encoder=own[0]))
    assert layers.encoding is None and layers.decoding is not None
    layers = in_components(x, 4, parts=Parts(decoder=own[1]))
    assert layers.encoding is not None and layers.decoding is None
    layers = in_components(x, 4, parts=Parts(likelihood=GaussianLikelihood(0.1)))
    assert layers.encoding is not None and layers.decoding is None
    assert in_components(x, 4, parts=Parts(*own)) == (None, None)
    theirs = Parts(encoder=Encoder((5,), 10, num_components=3))
    layers = in_components(x, 4, parts=theirs)
    np.testing.assert_array_equal(layers.encoding["axes"], np.zeros((20, 3)))


def test_components_of_rows_that_miss_values_are_refused():
    x = correlated(40)
    x[3, 4] = np.nan
    with pytest.raises(InvalidInput, match=r"principal_components=5 need rows whose"):
        untrained(x, principal_components=5)
    untrained(x, principal_components=20)  # which are the columns


def test_an_encoder_without_hidden_layers_sees_components_and_batches():
    x, batch = correlated(60), np.arange(60) % 2
    settings = {"hidden_sizes": (), "principal_components": 3, "siamese_epochs": 1}
    model = DGG(3, preset="smoke", graph_of="siamese", **settings).fit(x, batch=batch)
    assert model.model_.params["encoder"]["mean"]["kernel"].shape == (3 + 2, 10)


@pytest.mark.parametrize("start", ["encoder", "random"])
def test_components_stay_as_they_are_in_all_stages(start, monkeypatch):
    x, y = blobs()
    x = np.concatenate([x, x[:, ::-1], np.zeros((len(x), 6), np.float32)], axis=1)
    seen, embed_all = [], similarity.embed_all

    def embedded(network, params, x):
        seen.append(params[PROJECTION])
        return embed_all(network, params, x)

    monkeypatch.setattr(similarity, "embed_all", embedded)
    settings = {"principal_components": 2, "siamese_init": start, "siamese_epochs": 2}
    before = in_components(x, 2)
    model = DGG(3, preset="smoke", random_state=0, **settings).fit(x)
    params = model.model_.params
    encoding, decoding = params["encoder"][PROJECTION], params["decoder"][COLUMNS]
    jax.tree.map(np.testing.assert_array_equal, encoding, before.encoding)
    np.testing.assert_array_equal(decoding["axes"], before.decoding["axes"])
    assert np.abs(decoding["bias"] - before.decoding["bias"]).max() > 0  # learned
    jax.tree.map(np.testing.assert_array_equal, seen, [encoding])
    assert metrics.clustering_accuracy(y, model.labels_) == 1.0
    np.testing.assert_array_equal(model.predict(x), model.labels_)
    assert model.inverse_transform(model.transform(x)).shape == x.shape
