"""Batches that rows were measured in: networks are told, clusters are not of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import KMeans

from dgg_jax import DGG, VaDE, checks, load, methods, presets
from dgg_jax.checks import InvalidInput
from dgg_jax.data.preprocessing import log_normalize
from dgg_jax.graph import knn
from dgg_jax.likelihoods import (
    Bernoulli,
    GaussianLikelihood,
    InBatches,
    LearnedVarianceGaussian,
    Masked,
    NegativeBinomial,
)
from dgg_jax.methods import dgg, dgg_steps, vade
from dgg_jax.methods.pretrained import autoencoder_identity
from dgg_jax.methods.problem import Problem, with_batches
from dgg_jax.metrics import adjusted_rand_index
from dgg_jax.networks import Decoder, Encoder, Network, Networks, log_normalized
from dgg_jax.presets import DGGPreset
from dgg_jax.stages.batch_effects import without_batch_effects
from dgg_jax.stages.pretrain import AutoencoderLoss
from dgg_jax.training import Rows, TrainState
from dgg_jax.types import Gaussian, Graph, Mixture
from tests.methods.test_dgg import BRIEF as DGG_BRIEF
from tests.methods.test_vade import BRIEF as VADE_BRIEF
from tests.methods.toy import blobs
from tests.trees import assert_same

N, D, K, L, M = 6, 3, 3, 2, 2
BATCH = np.array([0, 1, 1, 0, 1, 0])
GRAPH = Graph(
    np.array([[2, 3], [0, 4], [1, 3], [5, 0], [1, 2], [3, 2]]),
    np.array([[0.5, 0.5], [0.5, 0.5], [0.3, 0.7], [0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]),
)
EVERYONE, KEY = jnp.arange(N), jax.random.key(0)
LIKELIHOODS = {
    "bernoulli": Bernoulli(),
    "gaussian": GaussianLikelihood(0.5),
    "learned": LearnedVarianceGaussian(),
    "counts": NegativeBinomial(3.0),
    "missing": Masked(GaussianLikelihood(0.5)),
}


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def values(name):
    random = np.random.default_rng(3)
    if name == "counts":  # of one size, whose bound is exact
        return random.multinomial(20, np.ones(D) / D, N).astype(float)
    x = random.random(size=(N, D))
    if name == "missing":
        x[1, 0] = x[4, 2] = np.nan
    return x


def networks(name):
    return Networks(
        Network(Encoder((4,), L, num_batches=M)),
        Network(Decoder((4,), D, name == "learned", num_batches=M)),
        lambda params, z: jax.nn.log_softmax(z @ params["classifier"]["kernel"]),
    )


def parameters(name):
    model, random = networks(name), np.random.default_rng(0)
    keys = jax.random.split(KEY)
    x = jnp.zeros((1, D + M))
    encoder = model.encode.module.init(keys[0], x)["params"]
    # Without noise, so that both forms draw the same z.
    encoder["logvar"]["bias"] = jnp.full(L, -30.0)
    return {
        "encoder": encoder,
        "decoder": model.decode.module.init(keys[1], jnp.zeros((1, L)))["params"],
        "classifier": {"kernel": random.normal(size=(L, K))},
        "mixture": Mixture(random.normal(size=(K, L)), random.normal(size=(K, L))),
    }


def objective(name, form, params, x=None, weights=None):
    """-J / N of all rows, and its gradient."""
    x = with_batches(values(name), BATCH) if x is None else x
    likelihood = InBatches(LIKELIHOODS[name], M)
    told = dgg_steps.joint_objective(
        DGGPreset(objective=form, graph_strength=1.6),
        networks(name),
        likelihood,
        x,
        GRAPH,
        sample_weight=weights,
    )
    loss, data = told["loss"], told["data"]
    if form == "node":
        mean = networks(name).encode(params["encoder"], x).mean
        gammas = networks(name).classify(params, mean)
        state = TrainState(0, None, None, gammas)
        data = data, told["prepare"](state, told["prepared_from"])
    compiled = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (value, _), gradient = compiled(params, data, EVERYONE, KEY)
    return value, gradient


def assert_close(a, b, tolerance=2e-6):
    def compare(a, b):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)

    jax.tree.map(compare, a, b)


@pytest.mark.parametrize("weights", [None, np.array([2.0, 0, 1, 1.5, 0.5, 1])])
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_both_forms_are_one_objective(x64, name, weights):
    """A source explains a neighbour of another batch by what it is decoded to there."""
    node = objective(name, "node", parameters(name), weights=weights)
    of_tuples = objective(name, "tuple", parameters(name), weights=weights)
    assert_close(node, of_tuples)
    of_batches = node[1]["decoder"]["hidden_0"]["kernel"][L:]
    assert np.abs(of_batches).sum(axis=1).min() > 1e-3


@pytest.mark.parametrize("form", ["node", "tuple"])
def test_names_of_batches_mean_nothing(x64, form):
    """With batches that change places, and their columns too, all is as before."""
    params = parameters("gaussian")
    swapped = jax.tree.map(lambda leaf: leaf, params)  # dictionaries of its own
    for part, first in (("encoder", D), ("decoder", L)):
        kernel = params[part]["hidden_0"]["kernel"]
        order = np.r_[:first, first + M - 1 : first - 1 : -1]
        swapped[part]["hidden_0"]["kernel"] = kernel[order]
    x = with_batches(values("gaussian"), BATCH)
    value, _ = objective("gaussian", form, params, x)
    other, _ = objective(
        "gaussian", form, swapped, with_batches(values("gaussian"), 1 - BATCH)
    )
    np.testing.assert_allclose(value, other, rtol=1e-6)
    unlike, _ = objective(
        "gaussian", form, params, with_batches(values("gaussian"), 1 - BATCH)
    )
    assert abs(value - unlike) > 1e-3


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_a_row_is_explained_in_its_own_batch(x64, name):
    model, params = networks(name), parameters(name)
    likelihood, of_batch = InBatches(LIKELIHOODS[name], M), LIKELIHOODS[name]
    z = jnp.ones((1, L))
    decoded = jax.tree.map(lambda leaf: leaf[0], model.decode(params["decoder"], z))
    for row, batch in zip(values(name), BATCH, strict=True):
        one_hot = np.eye(M)[batch]
        own = jax.tree.map(lambda leaf, b=batch: leaf[b], decoded)
        x = jnp.concatenate([row, one_hot])
        expected = of_batch.log_prob(row, own)
        np.testing.assert_allclose(likelihood.log_prob(x, decoded), expected)
        statistics = likelihood.sufficient_statistics(x)
        by_sums = likelihood.smoothed_log_prob(statistics, 1.0, decoded)
        np.testing.assert_allclose(by_sums, expected, rtol=1e-6)
        # As by a decoder of z and the vector of the batch, which has no batches.
        plain = Decoder((4,), D, name == "learned")
        by_hand = plain.apply(
            {"params": params["decoder"]}, jnp.concatenate([z, one_hot[None]], axis=1)
        )
        assert_close(own, jax.tree.map(lambda leaf: leaf[0], by_hand))
    means = jax.vmap(of_batch.mean)(decoded)
    np.testing.assert_allclose(likelihood.mean(decoded), np.mean(means, axis=0))


def test_what_the_encoder_sees_of_values_is_not_of_batches():
    counts = np.array([[4.0, 0, 2]], np.float32)
    seen = []
    encoder = Encoder((4,), L, log_normalized, num_batches=M)
    x = with_batches(counts, np.array([1]), M)
    params = encoder.init(KEY, x)["params"]
    seen = np.concatenate([log_normalized(counts), [[0.0, 1.0]]], axis=1)
    expected = Encoder((4,), L).apply({"params": params}, seen)
    assert_close(encoder.apply({"params": params}, x), expected)


def test_corruption_leaves_the_batch():
    seen = []

    def encode(params, x):
        seen.append(x)
        return Gaussian(x[:, :L], x[:, :L])

    x = with_batches(np.ones((N, D), np.float32), BATCH)
    decode = lambda params, z: jnp.zeros((N, M, D))  # noqa: E731
    loss = AutoencoderLoss(Networks(encode, decode), 0.9, M)
    params = {"encoder": None, "decoder": None}
    loss(params, Rows(x, InBatches(GaussianLikelihood(), M)), EVERYONE, KEY)
    np.testing.assert_array_equal(seen[0][:, D:], x[:, D:])
    assert 0 < seen[0][:, :D].mean() < 0.5


def shifted(share=0.5, seed=0):
    """Three blobs in five columns, in two batches that are 3 apart: x, y, batch."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 3, 600)
    x = 4.0 * np.eye(3, 5)[y] + 0.5 * random.normal(size=(600, 5))
    batch = (random.random(600) < share).astype(int)
    batch[y == 2] = 0  # that one has alone
    return (x + 3.0 * batch[:, None]).astype(np.float32), y, batch


def test_points_lose_what_they_have_of_the_batch():
    x, y, batch = shifted()
    moved = without_batch_effects(x, batch, 0)
    assert moved.dtype == np.float32
    np.testing.assert_array_equal(moved, without_batch_effects(x, batch, 0))
    for cluster in (0, 1):
        means = [moved[(y == cluster) & (batch == b)].mean(axis=0) for b in (0, 1)]
        np.testing.assert_allclose(*means, atol=0.2)
    # What one batch has alone stays where it is beside the others.
    indices, _ = knn(moved, 10)
    assert (y[indices] == y[:, None]).mean() > 0.99
    near = batch[indices][y < 2] != batch[y < 2, None]
    assert near.mean() > 0.35
    # As centring does not manage: both are of different clusters.
    apart = np.linalg.norm(moved[y == 2].mean(axis=0) - moved[y == 0].mean(axis=0))
    np.testing.assert_allclose(apart, 4.0 * np.sqrt(2), rtol=0.1)


def test_points_of_few_rows_have_one_mean():
    x = np.random.default_rng(0).normal(size=(9, 4)) + 10 * np.arange(9)[:, None]
    batch = np.array([0, 1, 2] * 3)
    moved = without_batch_effects(x, batch, 0)
    for b in range(3):
        np.testing.assert_allclose(moved[batch == b].mean(axis=0), x.mean(axis=0), 1e-5)


@pytest.mark.parametrize("effect", [1.0, 1.5])  # twice and three times the spread
def test_a_batch_may_add_something_else_to_each_group(effect):
    random = np.random.default_rng(0)
    group, batch = random.integers(0, 2, (2, 1200))
    x = random.normal(0.0, 0.5, (1200, 10))
    x[:, 0] += 20 * group
    x[:, 1] += np.where(group == 0, effect, -effect) * batch
    moved = without_batch_effects(x, batch, 0)[:, 1]
    for one in (0, 1):
        left = [moved[(group == one) & (batch == b)].mean() for b in (0, 1)]
        assert abs(left[1] - left[0]) < 0.25


RUNS = {
    "dgg": (dgg.run, DGG_BRIEF),
    "dgg, tuple": (dgg.run, dataclasses.replace(DGG_BRIEF, objective="tuple")),
    "dgg, ensemble": (dgg.run, dataclasses.replace(DGG_BRIEF, init="ensemble")),
    "vade": (vade.run, VADE_BRIEF),
    "vade, spectral": (vade.run, dataclasses.replace(VADE_BRIEF, init="spectral")),
    "vade, gmm": (vade.run, dataclasses.replace(VADE_BRIEF, init="gmm")),
}


@pytest.mark.parametrize("name", RUNS)
def test_one_batch_is_none_to_the_bit_and_two_matter(name):
    run, preset = RUNS[name]
    x, _ = blobs()
    without = run(x, preset)
    one = run(x, preset, batch=np.full(len(x), "a"))
    assert_same(without.state, one.state)
    several = run(x, preset, batch=np.arange(len(x)) % 2)
    assert several.model.num_batches == 2
    kernel = several.state["model"]["encoder"]["hidden_0"]["kernel"]
    assert kernel.shape[0] == x.shape[1] + 2
    assert np.isfinite(several.records[-1]["elbo"])


def test_clusters_are_not_those_of_batches():
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 300)
    common, own = random.normal(0, 0.5, 40), random.normal(0, 0.6, (3, 40))
    shares = np.exp(common + own)
    shares /= shares.sum(axis=1, keepdims=True)
    effects = np.exp(random.normal(0, 1.5, 40))
    batch = random.integers(0, 2, 300)
    means = 200 * shares[y] * np.where(batch[:, None], effects, 1.0)
    x = random.poisson(means).astype(np.float32) + np.eye(1, 40, dtype=np.float32)
    settings = {
        "likelihood": "negative_binomial",
        "random_state": 0,
        "hidden_sizes": (32,),
        "pretrain_autoencoder_epochs": 20,
    }
    points = log_normalize(x)
    assert adjusted_rand_index(y, KMeans(3, random_state=0).fit_predict(points)) < 0.7
    told = DGG(3, **settings).fit(x, batch=batch)
    assert adjusted_rand_index(y, told.labels_) > 0.95
    # What a latent looks like differs between batches as they do.
    first, other = (told.inverse_transform(told.means_, batch=[b] * 3) for b in (0, 1))
    found = np.log(other / first).mean(axis=0)
    assert np.corrcoef(found, np.log(effects))[0, 1] > 0.5


@pytest.fixture(scope="module")
def fitted():
    x, _ = blobs()
    names = np.array(["left", "right"])[np.arange(len(x)) % 2]
    return DGG(3, preset="smoke", random_state=0).fit(x, batch=names), x, names


def test_a_model_of_batches_is_saved_and_needs_them(fitted, tmp_path):
    model, x, names = fitted
    assert model.batches_ == ("left", "right")
    np.testing.assert_array_equal(np.array(model.batches_)[model.batch_], names)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.batches_ == model.batches_
    np.testing.assert_array_equal(loaded.batch_, model.batch_)
    for name in ("predict", "predict_proba", "transform", "score_samples", "impute"):
        found = getattr(loaded, name)(x, batch=names)
        np.testing.assert_array_equal(found, getattr(model, name)(x, batch=names))
        with pytest.raises(InvalidInput, match="needs that of each row, one of 'left'"):
            getattr(loaded, name)(x)
    np.testing.assert_array_equal(model.predict(x, batch=names), model.labels_)
    np.testing.assert_allclose(model.transform(x, batch=names), model.embedding_)
    np.testing.assert_allclose(
        model.score_samples(x, batch=names), model.elbo_, rtol=1e-5
    )
    sparse_rows = sparse.csr_array(x)
    np.testing.assert_allclose(
        model.transform(sparse_rows, batch=names), model.embedding_, rtol=1e-4
    )
    # One batch alone keeps its place.
    right = names == "right"
    np.testing.assert_allclose(
        model.transform(x[right], batch=names[right]), model.embedding_[right], 1e-4
    )
    assert model.score(x, batch=names) == pytest.approx(model.elbo_.mean(), rel=1e-5)
    assert np.isfinite(model.bic(x, batch=names))
    assert model.outliers(x, 0.1, batch=names).sum() == round(0.1 * len(x))


def test_batches_that_are_not_known_are_named(fitted):
    model, x, names = fitted
    others = np.where(names == "left", "left", "middle")
    message = r"batch has 'middle', .*trained on 'left', 'right'"
    with pytest.raises(InvalidInput, match=message):
        model.predict(x, batch=others)
    with pytest.raises(InvalidInput, match=r"batch must be \[90\]"):
        model.predict(x, batch=names[:3])
    plain = VaDE(3, preset="smoke", random_state=0).fit(x, batch=["a"] * len(x))
    assert plain.batches_ is None
    with pytest.raises(InvalidInput, match="fitted without batch, and has no place"):
        plain.predict(x, batch=names)


def test_latents_are_decoded_in_a_batch_or_in_the_mean_of_all(fitted):
    model, *_ = fitted
    z = model.means_
    each = [model.inverse_transform(z, batch=[b] * 3) for b in model.batches_]
    assert np.abs(each[0] - each[1]).max() > 0
    np.testing.assert_allclose(model.inverse_transform(z), np.mean(each, axis=0), 1e-5)
    drawn, _ = model.sample(5)
    assert drawn.shape == (5, 3)


def test_training_goes_on_with_the_same_batches(fitted, tmp_path):
    model, x, names = fitted
    model.save(tmp_path / "model")
    further = load(tmp_path / "model").set_params(warm_start=True, epochs=1)
    further.fit(x, batch=np.where(names == "left", "right", "left"))
    assert further.batches_ == model.batches_
    with pytest.raises(InvalidInput, match="batch has 'up'"):
        further.fit(x, batch=np.where(names == "left", "up", "right"))
    with pytest.raises(InvalidInput, match="knows of 2 batches, the data have 0"):
        further.fit(x)
    with pytest.raises(InvalidInput, match="anew, or on rows of all its batches"):
        further.fit(x, batch=["left"] * len(x))


def test_repetitions_know_of_the_batches(fitted, monkeypatch):
    model, x, names = fitted
    told = []

    def fit(self, X, y=None, **known):
        told.append((len(X), known))
        self.labels_ = np.arange(len(X)) % 3
        return self

    monkeypatch.setattr(DGG, "fit", fit)
    model.stability(x, 1)
    model.stability(x, 1, batch=names)
    for num_rows, known in told:
        assert num_rows == 72 and sorted(set(known["batch"])) == ["left", "right"]
    np.testing.assert_array_equal(*(known["batch"] for _, known in told))
    for batch, message in (
        (names[:5], r"batch must be \[90\]"),
        (np.r_[names, names], r"batch must be \[90\]"),
        (names[::-1], "row 0 has 'right' and had 'left'; leave it out"),
    ):
        with pytest.raises(InvalidInput, match=message):
            model.stability(x, 1, batch=batch)
    monkeypatch.setattr(model, "batches_", None)
    with pytest.raises(InvalidInput, match="the model was fitted without batch"):
        model.stability(x, 1, batch=names)
    model.stability(x, 1, batch=["left"] * 90)  # one is none
    assert told[-1][1] == {}


def test_the_page_tells_how_clusters_spread(fitted, tmp_path):
    model, x, _ = fitted
    page = model.report(tmp_path / "report.html", x).read_text()
    assert "measured in 2 batches" in page and "<th" in page and "right" in page


def test_programs_that_are_exported_take_the_vector_of_a_batch(fitted, tmp_path):
    model, x, _ = fitted
    model.export(tmp_path)
    program = jax.export.deserialize((tmp_path / "transform.jax").read_bytes())
    told = with_batches(x, model.batch_)
    np.testing.assert_allclose(program.call(told), model.embedding_, rtol=1e-4)


def test_more_than_ten_batches_keep_their_places():
    x, _ = blobs()
    batch = np.arange(len(x)) % 12  # as text 10 is before 2
    for labels in (batch, np.array([f"plate {b:02d}" for b in batch])):
        codes, names = checks.batch(labels, len(x))
        np.testing.assert_array_equal(codes, batch)
        assert names == tuple(str(labels[b]) for b in range(12))
    model = VaDE(3, preset="smoke", random_state=0).fit(x, batch=labels)
    np.testing.assert_allclose(
        model.transform(x, batch=labels), model.embedding_, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        model.score_samples(x, batch=labels), model.elbo_, rtol=1e-4
    )


def test_what_may_be_a_batch():
    x, _ = blobs()
    model = DGG(3, preset="smoke", random_state=0)
    for labels, message in (
        (["a", None] * 45, r"batch has no label in row 1; give every row one"),
        ([1.0, np.nan] * 45, "no label in row 1"),
        (["a", np.nan] * 45, "no label in row 1"),
        (["a"], r"must be \[90\], a label for each row of X, got shape \(1,\)"),
        ("plate", r"got shape \(\)"),
    ):
        with pytest.raises(InvalidInput, match=message):
            model.fit(x, batch=labels)
    whole = checks.batch([3, 10, 3], 3)
    for same in ([3.0, 10.0, 3.0], np.array([3, 10, 3], np.float32)):
        codes, names = checks.batch(same, 3, whole[1])
        assert (codes.tolist(), names) == ([0, 1, 0], ("3", "10"))
    assert checks.batch([0.5, 1.0], 2)[1] == ("0.5", "1.0")
    assert checks.batch([np.inf, 1.0], 2)[1] == ("1.0", "inf")


def test_what_does_not_know_of_batches_refuses_them():
    x, _ = blobs()
    batch = np.arange(len(x)) % 2
    for name in presets.METHODS:
        if "batch" in methods.method(name).told:
            assert name in ("dgg", "vade")
    from dgg_jax.estimators.restoring import _CLASSES

    for cls in set(_CLASSES) - {DGG, VaDE}:
        model = cls(3, preset="smoke", random_state=0)
        with pytest.raises(InvalidInput, match="or use DGG or VaDE"):
            model.fit(x, batch=batch)
    with pytest.raises(InvalidInput, match="pretrain_layer_epochs=1 trains layers"):
        DGG(3, pretrain_layer_epochs=1).fit(x, batch=batch)
    with pytest.raises(InvalidInput, match="leave it out, or the decoder of your own"):
        DGG(3, decoder=Decoder((5,), 3)).fit(x, batch=batch)
    with pytest.raises(InvalidInput, match="with batch, x and the statistics of each"):
        DGG(3, preset="smoke", device_memory_share=1e-9).fit(x, batch=batch)


def test_runs_in_one_folder_tell_batches_apart():
    x, _ = blobs()
    batch = np.arange(len(x)) % 2
    found = [
        autoencoder_identity(Problem.of(x, DGG_BRIEF, batch=told))
        for told in (None, batch, batch[::-1])
    ]
    assert "batch" not in found[0]
    assert found[0] != found[1] != found[2]


def test_clusters_are_counted_without_batches():
    x, y, batch = shifted()
    model = DGG("auto", preset="smoke", random_state=0)
    model.fit(x[y < 2], batch=batch[y < 2])
    assert model.batches_ == ("0", "1")
