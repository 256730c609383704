"""The mixture ELBO: its terms, the bound it is and the edges it survives."""

import functools
import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import integrate, special, stats

from dgg_jax import distributions
from dgg_jax.likelihoods import Bernoulli, GaussianLikelihood, LearnedVarianceGaussian
from dgg_jax.losses.elbo import elbo, latent_terms
from dgg_jax.types import ElboTerms, Gaussian, Mixture

NUM_DRAWS = 20_000


class Arguments(NamedTuple):
    """What elbo takes, but for the likelihood."""

    x: np.ndarray
    decoded: np.ndarray
    posterior: Gaussian
    log_assignment: np.ndarray
    log_prior: np.ndarray
    mixture: Mixture


@functools.partial(jax.jit, static_argnames="likelihood")
def jitted_elbo(*arguments, likelihood):
    return elbo(*arguments, likelihood)


def random_arguments(likelihood, seed=0, num_features=4, num_latents=2, num_clusters=3):
    rng = np.random.default_rng(seed)
    decoded = rng.normal(size=num_features)
    if isinstance(likelihood, LearnedVarianceGaussian):
        decoded = Gaussian(decoded, rng.normal(size=num_features))
    return Arguments(
        rng.uniform(size=num_features),
        decoded,
        Gaussian(rng.normal(size=num_latents), rng.normal(size=num_latents)),
        special.log_softmax(rng.normal(size=num_clusters)),
        special.log_softmax(rng.normal(size=num_clusters)),
        Mixture(*rng.normal(size=(2, num_clusters, num_latents))),
    )


def assert_mean(samples, expected):
    """The mean over the first axis is within 5 standard errors of what is expected."""
    samples = np.asarray(samples)
    error = samples.std(axis=0, ddof=1) / math.sqrt(len(samples))
    deviation = np.abs(samples.mean(axis=0) - np.asarray(expected))
    assert np.all(deviation <= 5.0 * error + 1e-10), (deviation, error)


def assert_finite(tree):
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(tree)), tree


# Values


def test_terms_by_hand(x64):
    # q(z) = N(1, 1), components N(0, 1) and N(2, 4), gamma = (1/4, 3/4), pi = 1/2:
    # E ln N_1 = -1/2 (ln 2 pi + 2), E ln N_2 = -1/2 (ln 2 pi + ln 4 + 1/2).
    terms = elbo(
        np.array([1.0, 0.0]),
        np.zeros(2),
        Gaussian(np.array([1.0]), np.array([0.0])),
        np.log([0.25, 0.75]),
        np.log([0.5, 0.5]),
        Mixture(np.array([[0.0], [2.0]]), np.log([[1.0], [4.0]])),
        Bernoulli(),
    )
    expected = ElboTerms(-1.3862944, -1.8762989, 1.4189385, -0.6931472, 0.5623351)
    np.testing.assert_allclose(terms, expected, atol=1e-7)
    np.testing.assert_allclose(terms.total, sum(expected), atol=1e-6)


def test_terms_match_scipy(x64, likelihood):
    x, decoded, posterior, log_assignment, log_prior, mixture = arguments = (
        random_arguments(likelihood)
    )
    gamma, scale = np.exp(log_assignment), np.exp(0.5 * posterior.logvar)
    expected_log_probs = [
        sum(
            stats.norm.logpdf(m, mu, math.exp(0.5 * s)) - 0.5 * v * v / math.exp(s)
            for m, v, mu, s in zip(posterior.mean, scale, mean, logvar, strict=True)
        )
        for mean, logvar in zip(*mixture, strict=True)
    ]
    terms = jitted_elbo(*arguments, likelihood=likelihood)
    np.testing.assert_allclose(
        terms,
        ElboTerms(
            reconstruction=likelihood.log_prob(x, decoded),
            latent_prior=gamma @ expected_log_probs,
            latent_entropy=sum(stats.norm(scale=s).entropy() for s in scale),
            cluster_prior=gamma @ log_prior,
            cluster_entropy=stats.entropy(gamma),
        ),
        rtol=1e-12,
    )


def test_latent_terms_match_monte_carlo_value_and_gradient(x64):
    # With gamma held fixed: it is taken at one z, the prior over all of q(z | x).
    arguments = random_arguments(Bernoulli())
    log_assignment = arguments.log_assignment
    parameters = arguments.posterior, arguments.mixture

    def draw(parameters, eps):
        posterior, mixture = parameters
        z = distributions.sample_gaussian(posterior, eps)
        log_densities = distributions.component_log_probs(z, mixture)
        return (
            jnp.sum(jnp.exp(log_assignment) * log_densities),
            -distributions.gaussian_log_prob(z, posterior),
        )

    def closed_form(parameters):
        return latent_terms(parameters[0], log_assignment, parameters[1])[:2]

    eps = np.random.default_rng(1).normal(size=(NUM_DRAWS, 2))
    draws = jax.jit(jax.vmap(draw, (None, 0)))(parameters, eps)
    slopes = jax.jit(jax.vmap(jax.jacrev(draw), (None, 0)))(parameters, eps)
    jax.tree.map(assert_mean, draws, closed_form(parameters))
    jax.tree.map(assert_mean, slopes, jax.jacrev(closed_form)(parameters))


# The bound


def test_mean_over_eps_is_below_the_log_evidence(line_models):
    for model in line_models:
        bounds = model.mean_elbos(model.common_prior())
        for x, bounds_of_x in zip(model.x, bounds, strict=True):
            assert np.all(bounds_of_x <= model.log_evidence(x, model.log_prior) + 1e-9)


@pytest.mark.parametrize("likelihood", ["bernoulli"], indirect=True)
def test_grey_pixels_bound_the_mean_evidence_of_their_binarisations(line_model):
    grey = np.random.default_rng(2).uniform(size=line_model.x.shape)
    bounds = line_model.mean_elbos(line_model.common_prior(), x=grey)
    for x, bounds_of_x in zip(grey, bounds, strict=True):
        evidence = sum(
            np.prod(stats.bernoulli.pmf(binary, x))
            * line_model.log_evidence(np.array(binary), line_model.log_prior)
            for binary in np.ndindex(2, 2, 2)
        )
        assert np.all(bounds_of_x <= evidence + 1e-9)


def test_mean_over_eps_is_the_mean_field_elbo_less_the_mutual_information(
    line_models, grid
):
    for model in line_models[:2]:
        bounds = model.mean_elbos(model.common_prior())
        gamma = np.exp(model.log_assignment(grid))
        for i, j in itertools.product(range(2), range(3)):
            log_q = model.log_posterior(j, grid)
            q = np.exp(log_q)

            def mean(values, q=q):
                return integrate.trapezoid(q * values, grid)

            mean_gamma = np.array([mean(g) for g in gamma.T])
            # E over q(z) q(c), independent, of ln p(x, z, c) - ln q(z) - ln q(c)
            mean_field = mean(model.log_likelihood(model.x[i], grid) - log_q)
            for k, log_component in enumerate(model.log_components(grid).T):
                mean_field += mean_gamma[k] * mean(
                    log_component + model.log_prior[k] - math.log(mean_gamma[k])
                )
            mutual_information = mean((gamma * np.log(gamma / mean_gamma)).sum(axis=-1))
            assert mutual_information > 1e-3
            np.testing.assert_allclose(
                bounds[i, j], mean_field - mutual_information, atol=1e-9
            )


def test_the_bound_is_tight_for_the_exact_posterior(x64):
    # z ~ N(m, s), x = a z + b + noise: the posterior and the evidence are known.
    rng = np.random.default_rng(3)
    a, b, x = rng.normal(size=(3, 4))
    m, s, variance = 0.7, 2.0, 0.3
    precision = 1.0 / s + a @ a / variance
    posterior_mean = (m / s + a @ (x - b) / variance) / precision
    posterior = Gaussian(np.array([posterior_mean]), -np.log([precision]))
    mixture = Mixture(np.array([[m]]), np.log([[s]]))
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    z = posterior_mean + nodes / math.sqrt(precision)
    values = [
        jitted_elbo(
            x,
            a * node + b,
            posterior,
            np.zeros(1),
            np.zeros(1),
            mixture,
            likelihood=GaussianLikelihood(variance=variance),
        ).total
        for node in z
    ]
    evidence = stats.multivariate_normal(
        a * m + b, s * np.outer(a, a) + variance * np.eye(4)
    ).logpdf(x)
    actual = weights @ np.array(values) / math.sqrt(2.0 * math.pi)
    np.testing.assert_allclose(actual, evidence, rtol=1e-10)


# Invariances and reductions


def test_permuting_clusters_changes_nothing(x64, likelihood):
    arguments = random_arguments(likelihood)
    order = np.array([2, 0, 1])
    permuted = arguments._replace(
        log_assignment=arguments.log_assignment[order],
        log_prior=arguments.log_prior[order],
        mixture=Mixture(arguments.mixture.mean[order], arguments.mixture.logvar[order]),
    )
    np.testing.assert_allclose(
        jitted_elbo(*permuted, likelihood=likelihood),
        jitted_elbo(*arguments, likelihood=likelihood),
        rtol=1e-13,
    )


def test_one_cluster_has_no_cluster_terms(x64, likelihood):
    arguments = random_arguments(likelihood, num_clusters=1)
    terms = jitted_elbo(*arguments, likelihood=likelihood)
    assert terms.cluster_prior == 0.0
    assert terms.cluster_entropy == 0.0
    component = Gaussian(arguments.mixture.mean[0], arguments.mixture.logvar[0])
    np.testing.assert_allclose(
        terms.latent_prior + terms.latent_entropy,
        -distributions.gaussian_kl(arguments.posterior, component),
        rtol=1e-12,
    )


def test_equal_components_have_no_say_in_the_assignment(x64):
    # J is then that of a VAE less KL(gamma || pi).
    arguments = random_arguments(Bernoulli())
    same = jax.tree.map(lambda a: np.tile(a[:1], (3, 1)), arguments.mixture)
    terms = elbo(*arguments._replace(mixture=same), Bernoulli())
    component = Gaussian(same.mean[0], same.logvar[0])
    np.testing.assert_allclose(
        terms.latent_prior + terms.latent_entropy,
        -distributions.gaussian_kl(arguments.posterior, component),
        rtol=1e-12,
    )
    gamma = np.exp(arguments.log_assignment)
    np.testing.assert_allclose(
        terms.cluster_prior + terms.cluster_entropy,
        -gamma @ (arguments.log_assignment - arguments.log_prior),
        rtol=1e-12,
    )


def test_reconstruction_is_a_sum_over_features_and_the_rest_ignores_them(x64):
    # A mean over features or a batch would change the weight of the prior.
    arguments = random_arguments(Bernoulli())
    twice = arguments._replace(
        x=np.tile(arguments.x, 2), decoded=np.tile(arguments.decoded, 2)
    )
    once, double = (
        jitted_elbo(*each, likelihood=Bernoulli()) for each in (arguments, twice)
    )
    np.testing.assert_allclose(double.reconstruction, 2.0 * once.reconstruction)
    np.testing.assert_array_equal(double[1:], once[1:])


# Numerics


def test_gradient_matches_differences(x64, likelihood):
    arguments = random_arguments(likelihood)

    def total(decoded, posterior, logits, prior_logits, mixture):
        return elbo(
            arguments.x,
            decoded,
            posterior,
            jax.nn.log_softmax(logits),
            jax.nn.log_softmax(prior_logits),
            mixture,
            likelihood,
        ).total

    check_grads(jax.jit(total), tuple(arguments[1:]), order=1)


EDGES = {
    "ordinary": {},
    "narrow posterior": {"posterior_logvar": -20.0},
    "wide posterior": {"posterior_logvar": 20.0},
    "narrow components": {"component_logvar": -20.0},
    "wide components": {"component_logvar": 20.0},
    "wide posterior, narrow components": {
        "posterior_logvar": 20.0,
        "component_logvar": -20.0,
    },
    "equal means": {"means": 0.0},
    "saturated logits": {"logit": 50.0},
    "negatively saturated logits": {"logit": -50.0},
    "one-hot assignment": {"assignment": [0.0, -math.inf, -math.inf]},
    "one-hot prior elsewhere": {"prior": [-math.inf, 0.0, -math.inf]},
    "one-hot assignment and prior": {
        "assignment": [0.0, -math.inf, -math.inf],
        "prior": [0.0, -math.inf, -math.inf],
    },
    "one-hot assignment against its prior": {
        "assignment": [0.0, -math.inf, -math.inf],
        "prior": [-math.inf, 0.0, -math.inf],
    },
}


@functools.partial(jax.jit, static_argnames="likelihood")
def value_and_gradients(arguments, likelihood):
    def total(arguments):
        return elbo(*arguments, likelihood).total

    return jax.value_and_grad(total)(arguments)


@pytest.mark.parametrize("edge", EDGES)
def test_finite_at_the_edges(likelihood, edge):
    values = {
        "posterior_logvar": 0.0,
        "component_logvar": 0.0,
        "means": 1.0,
        "logit": 1.0,
        "assignment": np.log([0.2, 0.3, 0.5]),
        "prior": np.log([0.2, 0.3, 0.5]),
    } | EDGES[edge]
    decoded = np.full(2, values["logit"])
    if isinstance(likelihood, LearnedVarianceGaussian):
        decoded = Gaussian(decoded / 50.0, 0.4 * decoded)
    mixture = Mixture(
        values["means"] * np.arange(6.0).reshape(3, 2),
        np.full((3, 2), values["component_logvar"]),
    )
    arguments = Arguments(
        np.array([0.0, 1.0]),
        decoded,
        Gaussian(np.zeros(2), np.full(2, values["posterior_logvar"])),
        np.array(values["assignment"]),
        np.array(values["prior"]),
        mixture,
    )
    value, gradients = value_and_gradients(
        jax.tree.map(jnp.float32, arguments), likelihood
    )
    assert value.dtype == jnp.float32
    assert_finite((value, gradients))


def test_impossible_clusters_cost_nothing_where_they_are_not_used(x64):
    arguments = random_arguments(Bernoulli())._replace(
        log_assignment=np.array([0.0, -math.inf, -math.inf]),
        log_prior=np.array([0.0, -math.inf, -math.inf]),
    )
    terms = elbo(*arguments, Bernoulli())
    assert terms.cluster_prior == 0.0
    assert terms.cluster_entropy == 0.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(x64, likelihood, dtype):
    arguments = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(np.shape(a), dtype), random_arguments(likelihood)
    )
    terms = jax.eval_shape(functools.partial(elbo, likelihood=likelihood), *arguments)
    assert isinstance(terms, ElboTerms)
    for term in terms:
        assert (term.shape, term.dtype) == ((), dtype)


def test_batch_equals_loop_and_jit_equals_no_jit(x64, likelihood):
    points = [random_arguments(likelihood, seed) for seed in range(3)]
    batch = jax.tree.map(lambda *leaves: np.stack(leaves), *points)
    batched = jax.vmap(functools.partial(elbo, likelihood=likelihood))(*batch)
    for i, point in enumerate(points):
        eager = elbo(*point, likelihood)
        jitted = jitted_elbo(*point, likelihood=likelihood)
        np.testing.assert_allclose(jitted, eager, rtol=1e-12)
        np.testing.assert_allclose([t[i] for t in batched], eager, rtol=1e-12)


def test_one_trace_serves_all_values_and_equal_likelihoods():
    traces = 0

    @functools.partial(jax.jit, static_argnames="likelihood")
    def counted(arguments, likelihood):
        nonlocal traces
        traces += 1
        return elbo(*arguments, likelihood).total

    for seed in range(3):
        likelihood = GaussianLikelihood(variance=0.5)
        counted(random_arguments(likelihood, seed), likelihood)
    assert traces == 1
