"""Values that are missing: the likelihood of what is there, and what is made of it."""

import csv
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse, special, stats

from dgg_jax import DEC, DGG, GMVAE, IMSAT, VaDE, data, load
from dgg_jax.checks import InvalidInput
from dgg_jax.data.preprocessing import impute, likelihood_for, min_max, standardize
from dgg_jax.distributions import floor_log
from dgg_jax.graph import smoothing, smoothing_operator
from dgg_jax.likelihoods import (
    Bernoulli,
    GaussianLikelihood,
    LearnedVarianceGaussian,
    Masked,
)
from dgg_jax.losses import dgg
from dgg_jax.methods.problem import Problem
from dgg_jax.metrics import adjusted_rand_index
from dgg_jax.networks import Encoder, present
from dgg_jax.presets import for_data
from dgg_jax.types import Gaussian, Graph, Mixture
from tests.experiments.command_line import call

LIKELIHOODS = {
    "bernoulli": Bernoulli(),
    "gaussian": GaussianLikelihood(0.3),
    "learned": LearnedVarianceGaussian(),
}
NUM_POINTS, NUM_COLUMNS = 12, 5
FEW = {
    "pretrain_autoencoder_epochs": 10,
    "siamese_epochs": 2,
    "hidden_sizes": (32,),
}


def blobs(num_points, num_columns):
    """Three clusters of columns that go together."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(num_points) % 3)
    centers = np.random.default_rng(4).normal(size=(3, num_columns))
    return 3.0 * centers[y] + rng.normal(size=(num_points, num_columns)), y


def holed(x, share, seed=0):
    """x with values missing at random, at least one a row and a column there."""
    gone = np.random.default_rng(seed).random(x.shape) < share
    gone[np.arange(len(x)), np.arange(len(x)) % x.shape[1]] = False
    return np.where(gone, np.nan, x).astype(np.float32)


@pytest.fixture(params=LIKELIHOODS)
def case(request):
    """A likelihood, rows that miss values, what sources decode, ln p of each value."""
    rng = np.random.default_rng(0)
    x = holed(rng.uniform(size=(NUM_POINTS, NUM_COLUMNS)), 0.4).astype(np.float64)
    mean, logvar = rng.normal(size=(2, NUM_POINTS, NUM_COLUMNS))
    if request.param == "bernoulli":
        decoded = mean
        values = x[:, None] * mean - np.logaddexp(0, mean)
    elif request.param == "gaussian":
        decoded = mean
        values = stats.norm.logpdf(x[:, None], mean, math.sqrt(0.3))
    else:
        decoded = Gaussian(mean, logvar)
        values = stats.norm.logpdf(x[:, None], mean, np.exp(0.5 * logvar))
    log_probs = np.nansum(values, axis=2)  # [i, j], of what is there of x_i
    return LIKELIHOODS[request.param], x, decoded, log_probs


def of_source(decoded, j):
    return jax.tree.map(lambda leaf: leaf[j], decoded)


def test_what_is_missing_drops_out(x64, case):
    likelihood, x, decoded, log_probs = case
    masked = Masked(likelihood)
    actual = jax.vmap(masked.log_prob, (0, None))(x, of_source(decoded, 0))
    np.testing.assert_allclose(actual, log_probs[:, 0], rtol=1e-12)
    whole = np.nan_to_num(x[0])
    np.testing.assert_allclose(
        masked.log_prob(whole, of_source(decoded, 0)),
        likelihood.log_prob(whole, of_source(decoded, 0)),
        rtol=1e-12,
    )
    np.testing.assert_array_equal(
        masked.mean(of_source(decoded, 0)), likelihood.mean(of_source(decoded, 0))
    )


def test_what_is_missing_has_no_gradient(x64, case):
    likelihood, x, decoded, _ = case
    gradient = jax.grad(Masked(likelihood).log_prob, argnums=1)
    for leaf in jax.tree.leaves(gradient(x[0], of_source(decoded, 0))):
        np.testing.assert_array_equal(leaf == 0.0, np.isnan(x[0]))


@pytest.fixture
def operator():
    rng = np.random.default_rng(1)
    indices = np.stack([rng.permutation(NUM_POINTS)[:3] for _ in range(NUM_POINTS)])
    weights = rng.dirichlet(np.ones(3), NUM_POINTS).astype(np.float32)
    return smoothing_operator(Graph(indices, weights), 1.6)


def test_smoothed_statistics_are_the_weighted_sums(case, operator):
    likelihood, x, decoded, log_probs = case
    masked = Masked(likelihood)
    statistics, degree = smoothing.smooth_data(x.astype(np.float32), operator, masked)
    actual = jax.vmap(masked.smoothed_log_prob)(
        statistics, degree, jax.tree.map(jnp.float32, decoded)
    )
    expected = (operator.toarray() * log_probs).sum(axis=0)
    np.testing.assert_allclose(actual, expected, rtol=2e-5)
    raw = jax.vmap(masked.sufficient_statistics)(x.astype(np.float32))
    summed = jax.tree.map(lambda leaf: operator.T @ np.asarray(leaf), raw)
    actual = jax.vmap(masked.smoothed_log_prob)(
        summed, degree, jax.tree.map(jnp.float32, decoded)
    )
    np.testing.assert_allclose(actual, expected, rtol=2e-4)


def test_the_node_form_is_the_tuple_form(case, operator):
    likelihood, x, decoded, log_probs = case
    masked, rng = Masked(likelihood), np.random.default_rng(2)
    x, decoded = jax.tree.map(np.float32, (x, decoded))
    posterior = Gaussian(*rng.normal(size=(2, NUM_POINTS, 2)).astype(np.float32))
    gamma = np.log(rng.dirichlet(np.ones(3), NUM_POINTS)).astype(np.float32)
    mixture = Mixture(*rng.normal(size=(2, 3, 2)).astype(np.float32))
    dense = operator.toarray()
    log_prior = floor_log(np.log(dense @ np.exp(gamma)))
    statistics, degree = smoothing.smooth_data(x, operator, masked)
    node = jax.vmap(dgg.node_objective, (0, 0, 0, 0, 0, 0, None, None))(
        statistics,
        degree,
        decoded,
        posterior,
        gamma,
        np.float32(dense.T @ log_prior),
        mixture,
        masked,
    ).sum()
    over_sources = jax.vmap(dgg.elbo, (None, 0, 0, 0, None, None, None))
    pairs = jax.vmap(over_sources, (0, None, None, None, 0, None, None))(
        x, decoded, posterior, gamma, log_prior, mixture, masked
    )
    np.testing.assert_allclose(pairs.reconstruction, log_probs, rtol=1e-4)
    np.testing.assert_allclose(node, (dense * pairs.total).sum(), rtol=1e-4)


def test_networks_see_0_where_a_value_is_missing():
    x = holed(np.random.default_rng(0).normal(size=(4, 6)), 0.5)
    module = Encoder((8,), 2)
    params = module.init(jax.random.key(0), x)
    whole = module.apply(params, np.nan_to_num(x))
    for left, right in zip(module.apply(params, x), whole, strict=True):
        np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(present(x), np.nan_to_num(x))


def test_estimates_of_what_is_missing_are_those_of_near_rows():
    x = blobs(90, 8)[0].astype(np.float32)
    gone = holed(x, 0.3)
    filled = impute(gone)
    there = ~np.isnan(gone)
    np.testing.assert_array_equal(filled[there], x[there])
    by_columns = np.where(there, gone, np.nanmean(gone, axis=0))
    error, simple = (np.square(one - x).mean() for one in (filled, by_columns))
    assert error < 0.5 * simple


def test_scales_are_of_what_is_there():
    x = holed(np.random.default_rng(0).normal(3.0, 2.0, (50, 3)), 0.3)
    shift, scale = standardize(x)
    np.testing.assert_allclose(shift, np.nanmean(x, axis=0), rtol=1e-5)
    np.testing.assert_allclose(scale, np.nanstd(x, axis=0), rtol=1e-5)
    low, span = min_max(x)
    np.testing.assert_allclose(low, np.nanmin(x, axis=0), rtol=1e-6)
    np.testing.assert_allclose(low + span, np.nanmax(x, axis=0), rtol=1e-6)
    name, variance = likelihood_for(x)
    assert name == "gaussian"
    deviations = x - np.nanmean(x, axis=0)
    np.testing.assert_allclose(variance, 0.1 * np.nanmean(deviations**2), rtol=1e-5)
    assert likelihood_for(special.expit(x))[0] == "bernoulli"


def rows(share=0.3):
    x, y = blobs(240, 8)
    return holed((x - x.mean(axis=0)) / x.std(axis=0), share), y


@pytest.fixture(scope="module")
def fitted():
    return DGG(3, random_state=0, **FEW).fit(rows()[0])


def test_clusters_are_found_where_values_are_missing(fitted):
    x, y = rows()
    assert adjusted_rand_index(y, fitted.labels_) > 0.9
    np.testing.assert_array_equal(fitted.predict(x), fitted.labels_)
    assert np.isfinite(fitted.score_samples(x)).all()
    np.testing.assert_allclose(fitted.score_samples(x), fitted.elbo_, rtol=1e-3)


def test_what_is_missing_is_imputed(fitted):
    x, _ = rows()
    whole, _ = rows(share=0.0)
    filled, gone = fitted.impute(x), np.isnan(x)
    np.testing.assert_array_equal(filled[~gone], x[~gone])
    assert np.square(filled - whole)[gone].mean() < 0.5 * np.square(whole)[gone].mean()


def test_a_saved_model_takes_rows_that_miss_values(fitted, tmp_path):
    x, _ = rows()
    fitted.save(tmp_path / "model")
    restored = load(tmp_path / "model")
    np.testing.assert_array_equal(restored.predict_proba(x), fitted.predict_proba(x))
    np.testing.assert_array_equal(restored.impute(x), fitted.impute(x))


def test_a_model_of_whole_rows_takes_new_ones_that_miss_values():
    whole, y = rows(share=0.0)
    model = DGG(3, random_state=0, **FEW).fit(whole)
    assert adjusted_rand_index(y, model.predict(rows(share=0.1)[0])) > 0.8


def test_whole_rows_have_the_likelihood_they_had():
    whole, _ = rows(share=0.0)
    preset = for_data("dgg", whole, 3)
    assert not Problem.of(whole, preset).misses_values
    problem = Problem.of(rows()[0], preset)
    assert problem.misses_values and np.isfinite(problem.points).all()


@pytest.mark.parametrize("cls", [VaDE, DEC])
def test_other_methods_with_an_autoencoder(cls):
    x, y = rows(share=0.1)
    found = cls(3, epochs=2, hidden_sizes=(32,), pretrain_autoencoder_epochs=20).fit(x)
    assert adjusted_rand_index(y, found.labels_) > 0.5


def test_layer_by_layer_too():
    x, _ = rows(share=0.1)
    DGG(3, preset="smoke", pretrain_layer_epochs=1).fit(x)


@pytest.mark.parametrize("cls", [GMVAE, IMSAT])
def test_methods_that_need_every_value_refuse(cls):
    with pytest.raises(ValueError, match="NaN"):
        cls(3, preset="smoke").fit(rows()[0])


def spoilt(change):
    x = rows(share=0.1)[0]
    change(x)
    return x


@pytest.mark.parametrize(
    ("x", "settings", "message"),
    [
        (spoilt(lambda x: x.__setitem__(5, np.nan)), {}, "row 5 of x has no value"),
        (
            spoilt(lambda x: x.__setitem__((slice(None), 2), np.nan)),
            {},
            "column 2 of x has no value",
        ),
        (spoilt(lambda x: x.__setitem__((3, 1), np.inf)), {}, "infinity"),
        (sparse.csr_array(rows()[0]), {}, "NaN or infinite values, the first at row 0"),
        (rows()[0], {"device_memory_share": 1e-9}, "misses values and is too large"),
        (rows()[0], {"likelihood": Bernoulli()}, "likelihood, a part of your own"),
        (rows()[0], {"encoder": Encoder((4,), 10)}, "encoder, a part of your own"),
    ],
)
def test_what_cannot_be_done_without(x, settings, message):
    with pytest.raises(ValueError, match=message):
        DGG(3, preset="smoke", **settings).fit(x)


def test_counts_may_not_be_missing():
    x = np.random.default_rng(0).poisson(3.0, (40, 6)).astype(float)
    x[3, 2] = np.nan
    with pytest.raises(
        InvalidInput, match=r"counts .*must be whole.*nan at row 3, column 2"
    ):
        DGG(3, preset="smoke", likelihood="negative_binomial").fit(x)


def test_a_file_with_empty_cells(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    x, y = blobs(60, 4)
    x = holed(50.0 + 10.0 * x, 0.2)
    with open("zoo.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "c", "d", "kind"])
        for row, kind in zip(x, y, strict=True):
            writer.writerow(["" if np.isnan(v) else v for v in row] + [f"k{kind}"])
    missing = np.count_nonzero(np.isnan(x))
    with caplog.at_level("WARNING", "dgg_jax"):
        found = data.load("zoo.csv", label="kind")
    assert f"zoo.csv: {missing} of 240 values are missing" in caplog.text
    np.testing.assert_allclose(np.nanstd(found.x, axis=0), 1.0, rtol=1e-4)
    flags = ("--dataset=zoo.csv", "--label=kind", "--num_clusters=3", "--preset=smoke")
    assert call(*flags).code == 0
    result = json.loads((tmp_path / "runs/zoo-dgg-smoke-0/result.json").read_text())
    assert result["final"]["accuracy"] > 0.6
    outcome = call(*flags, "--method=kmeans")
    assert outcome.code == 2
    assert "misses values, which method kmeans cannot do without" in outcome.err
    with pytest.raises(InvalidInput, match="missing, NaN or infinite values"):
        data.load("zoo.csv", label="kind", scaling="unit")


def test_new_rows_that_miss_values_where_nothing_knows_of_them():
    x, _ = rows()
    whole, _ = rows(share=0.0)
    own = DGG(3, preset="smoke", likelihood=GaussianLikelihood(0.3)).fit(whole)
    for use in (own.predict, own.score_samples, own.impute):
        with pytest.raises(InvalidInput, match="parts of your own do not"):
            use(x)
    named = DGG(3, preset="smoke").fit(whole)
    with pytest.raises(InvalidInput, match="sparse rows may not"):
        named.predict(sparse.csr_array(x))
    np.testing.assert_array_equal(named.impute(sparse.csr_array(whole)), whole)
    # One row may miss what no other has.
    alone = np.where(np.arange(8) == 2, np.nan, whole[:1]).astype(np.float32)
    assert np.isfinite(named.impute(alone)).all()
    assert np.isfinite(named.score_samples(alone)).all()


def test_rows_beyond_memory_are_scored_without_what_they_miss():
    x, _ = rows(share=0.1)
    streamed = DGG(3, preset="smoke", device_memory_share=1e-9)
    streamed.fit(rows(share=0.0)[0])
    scores = streamed.score_samples(x)
    for row in (0, 100):  # which are on the device by themselves
        alone = streamed.score_samples(x[row : row + 1])
        np.testing.assert_allclose(scores[row], alone[0], rtol=1e-4)
