"""Densities, divergences and responsibilities against scipy, sklearn and sampling."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import integrate, special, stats
from sklearn.mixture import GaussianMixture

from dgg_jax import distributions
from dgg_jax.types import ElboTerms, Gaussian, Mixture

NUM_DRAWS = 20_000
ONE_HOT = [0.0, -math.inf, -math.inf]


def random_gaussian(seed, *shape):
    rng = np.random.default_rng(seed)
    return Gaussian(rng.normal(size=shape), rng.normal(size=shape))


def scale(gaussian):
    return np.exp(0.5 * np.asarray(gaussian.logvar))


def assert_mean(samples, expected):
    """The mean over the first axis is within 5 standard errors of what is expected."""
    samples = np.asarray(samples)
    error = samples.std(axis=0, ddof=1) / math.sqrt(len(samples))
    deviation = np.abs(samples.mean(axis=0) - np.asarray(expected))
    assert np.all(deviation <= 5.0 * error + 1e-10), (deviation, error)


def leaves(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def test_elbo_terms_total_is_their_sum():
    assert ElboTerms(1.0, 20.0, 300.0, 4000.0, 50000.0).total == 54321.0


# Gaussians


def test_gaussian_log_prob_matches_scipy(x64):
    gaussian, z = random_gaussian(0, 4, 3), np.random.default_rng(1).normal(size=(4, 3))
    expected = stats.norm.logpdf(z, gaussian.mean, scale(gaussian)).sum(axis=-1)
    actual = distributions.gaussian_log_prob(z, gaussian)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_gaussian_entropy_matches_scipy(x64):
    gaussian = random_gaussian(2, 3)
    expected = stats.multivariate_normal(
        gaussian.mean, np.diag(np.exp(gaussian.logvar))
    ).entropy()
    actual = distributions.gaussian_entropy(gaussian)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_sample_gaussian_scales_by_the_standard_deviation():
    gaussian = Gaussian(jnp.array([1.0, -1.0]), jnp.log(jnp.array([4.0, 9.0])))
    sample = distributions.sample_gaussian(gaussian, jnp.array([0.5, -1.0]))
    np.testing.assert_allclose(sample, [2.0, -4.0], rtol=1e-6)


def test_gaussian_kl_matches_the_textbook_formula(x64):
    q, p = random_gaussian(3, 5, 3), random_gaussian(4, 5, 3)
    ratio = np.exp(q.logvar) / np.exp(p.logvar)
    squared = (q.mean - p.mean) ** 2 / np.exp(p.logvar)
    expected = 0.5 * (ratio - 1.0 - np.log(ratio) + squared).sum(axis=-1)
    np.testing.assert_allclose(distributions.gaussian_kl(q, p), expected, rtol=1e-12)


def test_gaussian_kl_by_hand(x64):
    # KL(N(1, 1) || N(0, 4)) = 1/2 (1/4 - 1 + ln 4 + 1/4) = ln 2 - 1/4
    q = Gaussian(np.array([1.0]), np.array([0.0]))
    p = Gaussian(np.array([0.0]), np.log([4.0]))
    actual = distributions.gaussian_kl(q, p)
    np.testing.assert_allclose(actual, math.log(2.0) - 0.25, rtol=1e-12)


def test_gaussian_kl_matches_monte_carlo(x64):
    q, p = random_gaussian(5, 3), random_gaussian(6, 3)
    z = q.mean + scale(q) * np.random.default_rng(7).normal(size=(NUM_DRAWS, 3))
    samples = stats.norm.logpdf(z, q.mean, scale(q)).sum(axis=-1)
    samples -= stats.norm.logpdf(z, p.mean, scale(p)).sum(axis=-1)
    assert_mean(samples, distributions.gaussian_kl(q, p))


def test_gaussian_kl_of_equals_is_exactly_zero_and_never_negative():
    q = jax.tree.map(jnp.float32, random_gaussian(8, 50, 4))
    assert np.all(np.asarray(distributions.gaussian_kl(q, q)) == 0.0)
    near = Gaussian(q.mean, q.logvar + jnp.float32(1e-6))
    assert np.all(np.asarray(distributions.gaussian_kl(q, near)) >= 0.0)


def test_expected_gaussian_log_prob_by_hand(x64):
    # -1/2 (ln 2 pi + ln 2 + (1/4 + 1/4) / 2) = -1/2 (1.837877 + 0.693147 + 0.25);
    # eq. (21) as printed has no 1/2 and gives twice that (erratum E1).
    posterior = Gaussian(np.array([0.5]), np.log([0.25]))
    component = Gaussian(np.array([0.0]), np.log([2.0]))
    actual = distributions.expected_gaussian_log_prob(posterior, component)
    np.testing.assert_allclose(actual, -1.390512, atol=1e-6)
    quadrature, _ = integrate.quad(
        lambda z: (
            stats.norm.pdf(z, 0.5, 0.5) * stats.norm.logpdf(z, 0.0, math.sqrt(2.0))
        ),
        -7.0,
        8.0,
    )
    np.testing.assert_allclose(actual, quadrature, rtol=1e-8)


def test_expected_gaussian_log_prob_matches_monte_carlo_value_and_gradient(x64):
    pair = random_gaussian(9, 2), random_gaussian(10, 2)
    eps = np.random.default_rng(11).normal(size=(NUM_DRAWS, 2))

    def draw(pair, eps):
        posterior, component = pair
        z = distributions.sample_gaussian(posterior, eps)
        return distributions.gaussian_log_prob(z, component)

    values, gradients = jax.jit(
        jax.vmap(jax.value_and_grad(draw), in_axes=(None, 0)),
    )(pair, eps)
    value, gradient = jax.value_and_grad(
        lambda pair: distributions.expected_gaussian_log_prob(*pair)
    )(pair)
    assert_mean(values, value)
    jax.tree.map(assert_mean, gradients, gradient)


def test_expected_gaussian_log_prob_gradient_matches_differences(x64):
    check_grads(
        jax.jit(distributions.expected_gaussian_log_prob),
        (random_gaussian(12, 2), random_gaussian(13, 2)),
        order=1,
    )


# Categoricals


def test_categorical_entropy_matches_scipy(x64):
    probabilities = np.random.default_rng(14).dirichlet(np.ones(5))
    actual = distributions.categorical_entropy(np.log(probabilities))
    np.testing.assert_allclose(actual, stats.entropy(probabilities), rtol=1e-12)


def test_categorical_entropy_of_a_one_hot_row_is_zero_with_a_finite_gradient():
    value, gradient = jax.value_and_grad(distributions.categorical_entropy)(
        jnp.array(ONE_HOT)
    )
    assert value == 0.0
    # d/dl of -e^l l is -(1 + l) e^l: -1 at l = 0, 0 at l = -inf.
    np.testing.assert_array_equal(gradient, [-1.0, 0.0, 0.0])


def test_categorical_entropy_survives_logits_that_saturate():
    def entropy(logits):
        return distributions.categorical_entropy(jax.nn.log_softmax(logits))

    for logits in ([0.0, -1e4, 1e4], [0.0, 3e38, -3e38]):
        value, gradient = jax.value_and_grad(entropy)(jnp.array(logits))
        assert value == 0.0
        np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("impossible", [-math.inf, math.inf, math.nan, -1e30])
def test_expectation_ignores_values_of_probability_zero(impossible):
    values = jnp.array([2.5, impossible, impossible])
    value, gradients = jax.value_and_grad(distributions.expectation, argnums=(0, 1))(
        jnp.array(ONE_HOT), values
    )
    assert value == 2.5
    np.testing.assert_array_equal(gradients[0], [2.5, 0.0, 0.0])
    np.testing.assert_array_equal(gradients[1], [1.0, 0.0, 0.0])


def test_expectation_matches_the_dot_product(x64):
    rng = np.random.default_rng(15)
    probabilities, values = rng.dirichlet(np.ones(4)), rng.normal(size=4)
    actual = distributions.expectation(np.log(probabilities), values)
    np.testing.assert_allclose(actual, probabilities @ values, rtol=1e-12)
    check_grads(
        jax.jit(distributions.expectation), (np.log(probabilities), values), order=1
    )


def test_floor_log_keeps_ordinary_values_and_floors_log_zero():
    log_probabilities = jnp.array([-1.5, -math.inf, 0.0])
    floored = distributions.floor_log(log_probabilities)
    floor = math.log(np.finfo(np.float32).tiny)
    np.testing.assert_allclose(floored, [-1.5, floor, 0.0], rtol=1e-6)
    gradient = jax.grad(lambda p: distributions.floor_log(p).sum())(log_probabilities)
    np.testing.assert_array_equal(gradient, [1.0, 0.0, 1.0])


def test_floor_log_follows_the_dtype(x64):
    floored = distributions.floor_log(jnp.array([-math.inf]))
    assert floored.dtype == jnp.float64
    np.testing.assert_allclose(floored, [math.log(np.finfo(np.float64).tiny)])


# Mixtures


def scipy_component_log_probs(z, mixture):
    return stats.norm.logpdf(z, mixture.mean, scale(mixture)).sum(axis=-1)


@pytest.fixture
def mixture_case():
    mixture = Mixture(*random_gaussian(16, 3, 2))
    weights = np.array([0.2, 0.5, 0.3])
    z = np.random.default_rng(17).normal(size=(40, 2)) * 2.0
    return z, weights, mixture


def test_component_log_probs_match_scipy(x64, mixture_case):
    z, _, mixture = mixture_case
    actual = jax.vmap(distributions.component_log_probs, (0, None))(z, mixture)
    expected = [scipy_component_log_probs(point, mixture) for point in z]
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_expected_component_log_probs_are_those_of_each_component(x64, mixture_case):
    _, _, mixture = mixture_case
    posterior = random_gaussian(18, 2)
    actual = distributions.expected_component_log_probs(posterior, mixture)
    expected = [
        scipy_component_log_probs(posterior.mean, Mixture(mean[None], logvar[None]))[0]
        - 0.5 * np.sum(np.exp(posterior.logvar - logvar))
        for mean, logvar in zip(*mixture, strict=True)
    ]
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_mixture_log_prob_matches_sklearn(x64, mixture_case):
    z, weights, mixture = mixture_case
    actual = jax.vmap(distributions.mixture_log_prob, (0, None, None))(
        z, np.log(weights), mixture
    )
    expected = sklearn_mixture(weights, mixture).score_samples(z)
    np.testing.assert_allclose(actual, expected, rtol=1e-10)


def sklearn_mixture(weights, mixture):
    oracle = GaussianMixture(len(weights), covariance_type="diag")
    oracle.weights_, oracle.means_ = weights, mixture.mean
    oracle.covariances_ = np.exp(mixture.logvar)
    oracle.precisions_cholesky_ = 1.0 / scale(mixture)
    return oracle


def test_responsibilities_match_sklearn(x64, mixture_case):
    z, weights, mixture = mixture_case
    actual = jax.vmap(distributions.responsibilities, (0, None, None))(
        z, np.log(weights), mixture
    )
    expected = sklearn_mixture(weights, mixture).predict_proba(z)
    np.testing.assert_allclose(np.exp(actual), expected, rtol=1e-9, atol=1e-14)


def test_responsibilities_use_the_root_of_the_determinant(x64):
    # Other implementations divide by |Sigma| where |Sigma|^(1/2) is right.
    mixture = Mixture(np.array([[-0.5], [0.0], [0.5]]), np.log([[0.1], [1.0], [4.0]]))
    z = np.linspace(-3.0, 3.0, 121)[:, None]
    log_weights = np.log(np.full(3, 1.0 / 3.0))
    actual = np.exp(
        jax.vmap(distributions.responsibilities, (0, None, None))(
            z, log_weights, mixture
        )
    )
    joint = stats.norm.logpdf(z, mixture.mean[:, 0], scale(mixture)[:, 0])
    np.testing.assert_allclose(actual, special.softmax(joint, axis=-1), rtol=1e-10)
    wrong = special.softmax(joint - 0.5 * mixture.logvar[:, 0], axis=-1)
    assert np.abs(actual - wrong).max() > 0.3
    assert np.mean(actual.argmax(axis=-1) != wrong.argmax(axis=-1)) > 0.1


@pytest.mark.parametrize("distance", [1e2, 1e3])
def test_responsibilities_of_far_points_are_not_flattened(distance):
    # Components N(0, 1), N(1, 1): the log-odds are z - 1/2, however far z lies.
    mixture = Mixture(jnp.array([[0.0], [1.0]]), jnp.zeros((2, 1)))
    log_weights = jnp.log(jnp.array([0.5, 0.5]))
    actual = distributions.responsibilities(jnp.array([distance]), log_weights, mixture)
    np.testing.assert_allclose(actual, [-(distance - 0.5), 0.0], rtol=1e-3)


def test_responsibilities_of_an_empty_component_are_zero(mixture_case):
    z, _, mixture = mixture_case
    log_weights = jnp.array([math.log(0.5), -math.inf, math.log(0.5)])
    actual = distributions.responsibilities(
        jnp.asarray(z[0]), log_weights, jax.tree.map(jnp.asarray, mixture)
    )
    assert actual[1] == -math.inf
    np.testing.assert_allclose(np.exp(actual).sum(), 1.0, rtol=1e-6)


# Jensen-Shannon


def js_by_quadrature(p, q):
    z = np.linspace(-30.0, 30.0, 60_001)
    log_p = stats.norm.logpdf(z, p.mean[0], scale(p)[0])
    log_q = stats.norm.logpdf(z, q.mean[0], scale(q)[0])
    log_m = np.logaddexp(log_p, log_q) - math.log(2.0)
    integrand = np.exp(log_p) * (log_p - log_m) + np.exp(log_q) * (log_q - log_m)
    return 0.5 * integrate.trapezoid(integrand, z)


js_draws = jax.jit(jax.vmap(distributions.jensen_shannon, in_axes=(None, None, 0)))


@pytest.mark.parametrize("seed", [19, 21, 23])
def test_jensen_shannon_matches_quadrature(x64, seed):
    p, q = random_gaussian(seed, 1), random_gaussian(seed + 1, 1)
    eps = np.random.default_rng(25).normal(size=(NUM_DRAWS, 1, 1))
    draws = js_draws(p, q, eps)
    assert_mean(draws, js_by_quadrature(p, q))
    together = distributions.jensen_shannon(p, q, eps[:, 0])
    np.testing.assert_allclose(together, np.mean(draws), rtol=1e-10)


def test_jensen_shannon_is_symmetric_and_bounded(x64):
    p, q = random_gaussian(26, 3), random_gaussian(27, 3)
    eps = np.random.default_rng(28).normal(size=(100, 3))
    forward = distributions.jensen_shannon(p, q, eps)
    np.testing.assert_allclose(
        forward, distributions.jensen_shannon(q, p, eps), rtol=1e-12
    )
    assert 0.0 < forward < math.log(2.0)
    assert abs(distributions.jensen_shannon(p, p, eps)) < 1e-15
    far = Gaussian(q.mean + 1e3, q.logvar)
    np.testing.assert_allclose(
        distributions.jensen_shannon(p, far, eps), math.log(2.0), rtol=1e-12
    )


def test_jensen_shannon_gradient_is_finite_at_the_edges():
    gradient = jax.jit(jax.grad(distributions.jensen_shannon, argnums=(0, 1)))
    eps = jnp.asarray(np.random.default_rng(29).normal(size=(10, 1)), jnp.float32)
    for mean, logvar in [(0.0, 0.0), (1e3, 0.0), (0.0, 20.0), (0.0, -20.0)]:
        p = Gaussian(jnp.zeros(1), jnp.zeros(1))
        q = Gaussian(jnp.array([mean]), jnp.array([logvar]))
        assert np.all(np.isfinite(leaves(gradient(p, q, eps))))


# Floating point


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_function_keeps_the_dtype(x64, dtype):
    vector, matrix = (
        jax.ShapeDtypeStruct((3,), dtype),
        jax.ShapeDtypeStruct((4, 3), dtype),
    )
    weights = jax.ShapeDtypeStruct((4,), dtype)
    gaussian, mixture = Gaussian(vector, vector), Mixture(matrix, matrix)
    calls = [
        (distributions.floor_log, vector),
        (distributions.expectation, vector, vector),
        (distributions.categorical_entropy, vector),
        (distributions.gaussian_log_prob, vector, gaussian),
        (distributions.gaussian_entropy, gaussian),
        (distributions.expected_gaussian_log_prob, gaussian, gaussian),
        (distributions.gaussian_kl, gaussian, gaussian),
        (distributions.component_log_probs, vector, mixture),
        (distributions.expected_component_log_probs, gaussian, mixture),
        (distributions.mixture_log_prob, vector, weights, mixture),
        (distributions.responsibilities, vector, weights, mixture),
        (distributions.sample_gaussian, gaussian, vector),
        (distributions.jensen_shannon, gaussian, gaussian, matrix),
    ]
    for function, *arguments in calls:
        assert jax.eval_shape(function, *arguments).dtype == dtype, function
