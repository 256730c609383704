"""Likelihoods against scipy, and their statistics against the sums they replace."""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import special, stats

from dgg_jax.likelihoods import (
    Bernoulli,
    CenteredStatistics,
    GaussianLikelihood,
    LearnedVarianceGaussian,
    NegativeBinomial,
)
from dgg_jax.types import Gaussian

NUM_POINTS, NUM_FEATURES, VARIANCE, DISPERSION = 5, 4, 0.3, 1.7
LIKELIHOODS = {
    "bernoulli": Bernoulli(),
    "gaussian": GaussianLikelihood(variance=VARIANCE),
    "learned": LearnedVarianceGaussian(),
    "counts": NegativeBinomial(DISPERSION),
}


class Case(NamedTuple):
    likelihood: object
    x: np.ndarray
    decoded: object
    log_probs: np.ndarray


def count_log_probs(x, logits, dispersion):
    """ln p of every count of rows x [N, D] by scipy, [N, D]."""
    mean = x.sum(axis=1, keepdims=True) * special.softmax(logits)
    return stats.nbinom.logpmf(x, dispersion, dispersion / (dispersion + mean))


@pytest.fixture(params=LIKELIHOODS)
def case(request):
    """Points, what one source decodes to, and ln p(x_i | z) of each point by scipy."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(NUM_POINTS, NUM_FEATURES))
    mean = rng.normal(size=NUM_FEATURES)
    logvar = rng.normal(size=NUM_FEATURES)
    if request.param == "bernoulli":
        decoded = mean
        p = special.expit(mean)
        elements = x * np.log(p) + (1.0 - x) * np.log1p(-p)
    elif request.param == "counts":
        size = 12  # of every row: there the bound is reached
        x = rng.multinomial(size, rng.dirichlet(np.ones(NUM_FEATURES)), NUM_POINTS)
        x = x.astype(float)
        decoded = mean
        elements = count_log_probs(x, mean, DISPERSION)
    elif request.param == "gaussian":
        decoded = mean
        elements = stats.norm.logpdf(x, mean, math.sqrt(VARIANCE))
    else:
        decoded = Gaussian(mean, logvar)
        elements = stats.norm.logpdf(x, mean, np.exp(0.5 * logvar))
    return Case(LIKELIHOODS[request.param], x, decoded, elements.sum(axis=-1))


def raw_statistics(likelihood, x, column):
    """sum_i A_ij T(x_i), a pytree."""
    each = jax.vmap(likelihood.sufficient_statistics)(x)
    return jax.tree.map(lambda t: np.tensordot(column, np.asarray(t), axes=1), each)


def centered_statistics(likelihood, x, column):
    """The mean and scatter of x under the weights of one column, in float64."""
    mean = column @ x / column.sum()
    scatter = column @ (x - mean) ** 2
    scalar = isinstance(likelihood, GaussianLikelihood)
    return CenteredStatistics(mean, scatter.sum() if scalar else scatter)


def test_log_prob_matches_scipy(x64, case):
    actual = jax.vmap(case.likelihood.log_prob, (0, None))(case.x, case.decoded)
    np.testing.assert_allclose(actual, case.log_probs, rtol=1e-12)


def test_bernoulli_matches_scipy_on_binary_pixels(x64):
    x, logits = np.array([0.0, 1.0, 1.0, 0.0]), np.array([-2.0, -1.0, 0.5, 3.0])
    expected = stats.bernoulli.logpmf(x, special.expit(logits)).sum()
    actual = Bernoulli().log_prob(x, logits)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_bernoulli_on_grey_is_the_mean_over_binarised_pixels(x64):
    x, logits = np.array([0.2, 0.9, 0.5]), np.array([-1.0, 0.3, 2.0])
    expected = 0.0
    for binary in np.ndindex(2, 2, 2):
        probability = np.prod(stats.bernoulli.pmf(binary, x))
        log_prob = stats.bernoulli.logpmf(binary, special.expit(logits)).sum()
        expected += probability * log_prob
    actual = Bernoulli().log_prob(x, logits)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_log_prob_gradient_matches_differences(x64, case):
    check_grads(jax.jit(case.likelihood.log_prob), (case.x[0], case.decoded), order=1)


def test_mean(x64, case):
    if isinstance(case.decoded, Gaussian):
        expected = case.decoded.mean
    elif isinstance(case.likelihood, GaussianLikelihood):
        expected = case.decoded
    elif isinstance(case.likelihood, NegativeBinomial):
        expected = NUM_FEATURES * special.softmax(case.decoded)
    else:
        expected = special.expit(case.decoded)
    actual = case.likelihood.mean(case.decoded)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_smoothed_log_prob_is_the_weighted_sum(x64, case, seed):
    column = np.random.default_rng(seed).exponential(size=NUM_POINTS)
    column[seed] = 0.0
    expected = column @ case.log_probs
    actual = case.likelihood.smoothed_log_prob(
        raw_statistics(case.likelihood, case.x, column), column.sum(), case.decoded
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-12)
    if not isinstance(case.likelihood, Bernoulli | NegativeBinomial):
        centered = case.likelihood.smoothed_log_prob(
            centered_statistics(case.likelihood, case.x, column),
            column.sum(),
            case.decoded,
        )
        np.testing.assert_allclose(centered, expected, rtol=1e-12)


@pytest.mark.parametrize("case", ["gaussian", "learned"], indirect=True)
def test_centered_form_has_the_gradient_of_the_raw_form(x64, case):
    column = np.random.default_rng(3).exponential(size=NUM_POINTS)
    gradient = jax.grad(case.likelihood.smoothed_log_prob, argnums=2)
    raw, centered = (
        gradient(make(case.likelihood, case.x, column), column.sum(), case.decoded)
        for make in (raw_statistics, centered_statistics)
    )
    for left, right in zip(*map(jax.tree.leaves, (raw, centered)), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-10)


def test_smoothed_log_prob_of_one_point_is_its_log_prob(x64, case):
    actual = case.likelihood.smoothed_log_prob(
        case.likelihood.sufficient_statistics(case.x[0]), 1.0, case.decoded
    )
    np.testing.assert_allclose(actual, case.log_probs[0], rtol=1e-12)


def test_a_source_that_nobody_uses_contributes_nothing(x64, case):
    statistics = raw_statistics(case.likelihood, case.x, np.zeros(NUM_POINTS))
    assert case.likelihood.smoothed_log_prob(statistics, 0.0, case.decoded) == 0.0


@pytest.mark.parametrize("name", ["gaussian", "learned"])
def test_centered_form_survives_float32_where_the_raw_form_cancels(x64, name):
    # Data near 5 with spread 1e-4 under a variance of 1e-6.
    rng, num_features = np.random.default_rng(4), 32
    x = 5.0 + 1e-4 * rng.normal(size=(20, num_features))
    column = rng.exponential(size=20)
    mean = 5.0 + 1e-3 * rng.normal(size=num_features)
    mean = mean.astype(np.float32)
    elements = stats.norm.logpdf(x, mean.astype(np.float64), 1e-3)
    expected = column @ elements.sum(axis=-1)
    if name == "gaussian":
        likelihood, decoded = GaussianLikelihood(variance=1e-6), mean
    else:
        logvar = np.full(num_features, math.log(1e-6))
        likelihood, decoded = LearnedVarianceGaussian(), Gaussian(mean, logvar)

    def in_float32(statistics):
        arguments = jax.tree.map(jnp.float32, (statistics, column.sum(), decoded))
        value = likelihood.smoothed_log_prob(*arguments)
        assert value.dtype == jnp.float32
        return float(value)

    raw = in_float32(raw_statistics(likelihood, x, column))
    centered = in_float32(centered_statistics(likelihood, x, column))
    np.testing.assert_allclose(centered, expected, rtol=1e-4)
    assert abs(raw - expected) > 10.0


@pytest.mark.parametrize("logit", [-50.0, 50.0])
def test_bernoulli_is_finite_at_saturated_logits(logit):
    x, logits = jnp.array([0.0, 1.0]), jnp.full(2, logit)
    value, gradient = jax.value_and_grad(Bernoulli().log_prob, argnums=1)(x, logits)
    assert value == -50.0  # one pixel is certain, the other costs |logit|
    wrong_way = [-1.0, 0.0] if logit > 0.0 else [0.0, 1.0]
    np.testing.assert_allclose(gradient, wrong_way, atol=1e-6)


@pytest.mark.parametrize("logvar", [-20.0, 20.0])
def test_learned_variance_is_finite_at_extreme_variances(logvar):
    decoded = Gaussian(jnp.array([0.5, -3.0]), jnp.full(2, logvar))
    value, gradient = jax.value_and_grad(LearnedVarianceGaussian().log_prob, argnums=1)(
        jnp.array([0.5, 1.0]), decoded
    )
    assert np.isfinite(value)
    assert all(np.all(np.isfinite(leaf)) for leaf in gradient)


@pytest.mark.parametrize("variance", [0.0, -1.0, math.inf, math.nan])
def test_variance_must_be_positive_and_finite(variance):
    with pytest.raises(
        ValueError, match=rf"^variance must be positive and finite, got {variance!r}"
    ):
        GaussianLikelihood(variance=variance)


def test_likelihoods_are_hashable_values():
    assert GaussianLikelihood(variance=0.5) == GaussianLikelihood(variance=0.5)
    assert hash(GaussianLikelihood(variance=0.5)) == hash(GaussianLikelihood(0.5))
    assert GaussianLikelihood(variance=0.5) != GaussianLikelihood(variance=0.6)
    assert GaussianLikelihood().variance == 1.0


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_likelihoods_cannot_be_changed(name):
    with pytest.raises(dataclasses.FrozenInstanceError):
        LIKELIHOODS[name].variance = 2.0


@pytest.mark.parametrize("dispersion", [0.1, 2.0, 9.999, 10.001, 1e3])
def test_counts_match_scipy_at_any_dispersion(x64, dispersion):
    rng = np.random.default_rng(5)
    x, logits = rng.poisson(3.0, (1, 30)).astype(float), rng.normal(size=30)
    x[0, 0] = 5000.0
    expected = count_log_probs(x, logits, dispersion).sum()
    actual = NegativeBinomial(dispersion).log_prob(x[0], logits)
    np.testing.assert_allclose(actual, expected, rtol=1e-9)


def test_counts_of_a_large_dispersion_are_poissons(x64):
    x, logits = np.array([4.0, 0.0, 1.0]), np.array([0.5, -1.0, 2.0])
    expected = stats.poisson.logpmf(x, 5.0 * special.softmax(logits)).sum()
    actual = NegativeBinomial(1e9).log_prob(x, logits)
    np.testing.assert_allclose(actual, expected, rtol=1e-8)


def test_the_variance_of_drawn_counts_is_the_documented_one():
    mean, dispersion = 3.0, 2.0
    rng = np.random.default_rng(0)
    drawn = rng.negative_binomial(dispersion, dispersion / (dispersion + mean), 10**6)
    np.testing.assert_allclose(drawn.var(), mean + mean**2 / dispersion, rtol=0.01)
    # As the likelihood has them: two columns, of which the first has that mean.
    values, numbers = np.unique(drawn[drawn < 30], return_counts=True)
    share = mean / 40.0
    logits = np.log(np.array([share, 1.0 - share]))
    rows = np.stack([values, 40.0 - values], axis=1)
    of_both = jax.vmap(NegativeBinomial(dispersion).log_prob, (0, None))(rows, logits)
    rest = stats.nbinom.logpmf(rows[:, 1], dispersion, dispersion / (dispersion + 37.0))
    np.testing.assert_allclose(np.exp(of_both - rest), numbers / len(drawn), atol=2e-3)


@pytest.mark.parametrize("seed", range(5))
def test_smoothed_counts_of_several_sizes_are_a_lower_bound(x64, seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(50, 200, NUM_POINTS)
    x = np.stack([rng.multinomial(size, np.full(30, 1 / 30)) for size in sizes])
    logits, column = rng.normal(size=30), rng.exponential(size=NUM_POINTS)
    likelihood = NegativeBinomial(DISPERSION)
    exact = column @ count_log_probs(x.astype(float), logits, DISPERSION).sum(axis=1)
    statistics = raw_statistics(likelihood, x.astype(float), column)
    bound = likelihood.smoothed_log_prob(statistics, column.sum(), logits)
    assert exact - 0.1 * abs(exact) < bound < exact
    # Poisson's statistics sum.
    likelihood = NegativeBinomial(1e8)
    exact = column @ count_log_probs(x.astype(float), logits, 1e8).sum(axis=1)
    statistics = raw_statistics(likelihood, x.astype(float), column)
    bound = likelihood.smoothed_log_prob(statistics, column.sum(), logits)
    np.testing.assert_allclose(bound, exact, rtol=1e-6)


def test_a_row_without_counts_tells_nothing():
    value, gradient = jax.value_and_grad(NegativeBinomial(2.0).log_prob, argnums=1)(
        jnp.zeros(3), jnp.array([0.0, 50.0, -50.0])
    )
    np.testing.assert_allclose(value, 0.0, atol=1e-5)  # lgamma(1) in float32
    np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("dispersion", [0.0, -1.0, math.inf, math.nan])
def test_dispersion_must_be_positive_and_finite(dispersion):
    with pytest.raises(ValueError, match=r"^dispersion must be positive and finite"):
        NegativeBinomial(dispersion)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(x64, case, dtype):
    x, decoded, degree = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(np.shape(a), dtype),
        (case.x[0], case.decoded, 1.0),
    )
    statistics = jax.eval_shape(case.likelihood.sufficient_statistics, x)
    results = [
        jax.eval_shape(case.likelihood.log_prob, x, decoded),
        jax.eval_shape(case.likelihood.mean, decoded),
        jax.eval_shape(case.likelihood.smoothed_log_prob, statistics, degree, decoded),
    ]
    for leaf in jax.tree.leaves([statistics, results]):
        assert leaf.dtype == dtype


def test_a_batch_in_one_jitted_call_equals_a_loop(x64, case):
    batched = jax.jit(jax.vmap(case.likelihood.log_prob, (0, None)))
    loop = [case.likelihood.log_prob(x, case.decoded) for x in case.x]
    np.testing.assert_allclose(batched(case.x, case.decoded), loop, rtol=1e-13)
