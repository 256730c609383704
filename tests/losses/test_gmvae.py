"""GMVAE's bound: its four terms, the two forms of the prior and what they bound."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import integrate, special, stats

from dgg_jax import distributions
from dgg_jax.likelihoods import Bernoulli, LearnedVarianceGaussian
from dgg_jax.losses import gmvae
from dgg_jax.types import Gaussian, GmvaeTerms, Mixture

NUM_DRAWS = 20_000
FORMS = pytest.mark.parametrize("joint", [False, True], ids=["eq5", "joint"])


class Arguments(NamedTuple):
    """What elbo takes, but for likelihood and options."""

    x: np.ndarray
    decoded: Any
    z_posterior: Gaussian
    w_posterior: Gaussian
    z: np.ndarray
    log_weights: np.ndarray
    mixtures: Mixture


@functools.partial(jax.jit, static_argnames=("likelihood", "joint"))
def jitted_elbo(*arguments, likelihood, information_constraint=0.0, joint=False):
    return gmvae.elbo(*arguments, likelihood, information_constraint, joint)


def draw_of(arguments, m):
    """The arguments with their draw m alone."""
    decoded, mixtures = jax.tree.map(
        lambda a: a[m, None], (arguments.decoded, arguments.mixtures)
    )
    return arguments._replace(
        decoded=decoded, z=arguments.z[m, None], mixtures=mixtures
    )


def random_arguments(
    likelihood, seed=0, num_draws=4, num_features=3, num_latents=2, num_clusters=3
):
    rng = np.random.default_rng(seed)
    decoded = rng.normal(size=(num_draws, num_features))
    if isinstance(likelihood, LearnedVarianceGaussian):
        decoded = Gaussian(decoded, rng.normal(size=decoded.shape))
    posterior = Gaussian(*rng.normal(size=(2, num_latents)))
    eps = rng.normal(size=(num_draws, num_latents))
    return Arguments(
        rng.uniform(size=num_features),
        decoded,
        posterior,
        Gaussian(*rng.normal(size=(2, 3))),
        posterior.mean + np.exp(0.5 * posterior.logvar) * eps,
        special.log_softmax(rng.normal(size=num_clusters)),
        Mixture(*rng.normal(size=(2, num_draws, num_clusters, num_latents))),
    )


def log_components(z, mixtures):
    """ln N(z; mu_k, s_k) by scipy: [M, L] and [M, K, L] -> [M, K]."""
    scale = np.exp(0.5 * mixtures.logvar)
    return stats.norm.logpdf(z[:, None], mixtures.mean, scale).sum(axis=-1)


def log_q(z, posterior):
    """ln q(z) by scipy: [M, L] -> [M]."""
    scale = np.exp(0.5 * posterior.logvar)
    return stats.norm.logpdf(z, posterior.mean, scale).sum(axis=-1)


def assert_mean(samples, expected):
    """The mean over the first axis is within 5 standard errors of what is expected."""
    samples = np.asarray(samples)
    error = samples.std(axis=0, ddof=1) / math.sqrt(len(samples))
    deviation = np.abs(samples.mean(axis=0) - np.asarray(expected))
    assert np.all(deviation <= 5.0 * error + 1e-10), (deviation, error)


def assert_finite(tree):
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(tree)), tree


# Values


def by_hand():
    # One draw z = 0; q(z) = N(1, 1); components N(0, 1) and N(2, 4) with weights 1/2.
    # Densities at 0: 0.3989423 and 0.1209854, so p = (0.7673051, 0.2326949).
    # KL(q || p_1) = 1/2; KL(q || p_2) = 1/2 (1/4 - 1 + ln 4 + 1/4) = 0.4431472.
    # q(w) = N(1, 4): KL = 1/2 (4 - 1 - ln 4 + 1) = 1.3068528.
    return Arguments(
        np.array([1.0, 0.0]),
        np.zeros((1, 2)),
        Gaussian(np.array([1.0]), np.array([0.0])),
        Gaussian(np.array([1.0]), np.log([4.0])),
        np.zeros((1, 1)),
        np.log([0.5, 0.5]),
        Mixture(np.array([[[0.0], [2.0]]]), np.log([[[1.0], [4.0]]])),
    )


def test_terms_by_hand(x64):
    p = np.array([0.3989422804, 0.1209853623]) / 0.5199276427
    expected = GmvaeTerms(
        reconstruction=-1.3862944,
        conditional_prior=-(p[0] * 0.5 + p[1] * 0.4431472),
        w_prior=-1.3068528,
        cluster_prior=-(p @ np.log(2.0 * p)),
    )
    terms = gmvae.elbo(*by_hand(), Bernoulli())
    np.testing.assert_allclose(terms, expected, atol=1e-7)
    np.testing.assert_allclose(terms.total, sum(expected), atol=1e-6)


def test_joint_terms_by_hand(x64):
    # ln(0.5199276 / 2) = -1.3472131; ln q(0) = -0.9189385 - 1/2 = -1.4189385.
    terms = gmvae.elbo(*by_hand(), Bernoulli(), joint=True)
    np.testing.assert_allclose(
        terms.conditional_prior + terms.cluster_prior, 0.0717254, atol=1e-6
    )
    plain = gmvae.elbo(*by_hand(), Bernoulli())
    assert terms.cluster_prior == plain.cluster_prior
    assert terms.w_prior == plain.w_prior


def test_terms_match_scipy(x64, likelihood):
    x, decoded, z_posterior, w_posterior, z, log_weights, mixtures = arguments = (
        random_arguments(likelihood)
    )
    log_p = special.log_softmax(log_weights + log_components(z, mixtures), axis=-1)
    variance, prior_variance = np.exp(z_posterior.logvar), np.exp(mixtures.logvar)
    divergences = 0.5 * np.sum(
        (variance + (z_posterior.mean - mixtures.mean) ** 2) / prior_variance
        - 1.0
        - np.log(variance / prior_variance),
        axis=-1,
    )
    w_variance = np.exp(w_posterior.logvar)
    expected = GmvaeTerms(
        reconstruction=np.mean(
            [
                likelihood.log_prob(x, jax.tree.map(lambda a, m=m: a[m], decoded))
                for m in range(4)
            ]
        ),
        conditional_prior=-np.mean(np.sum(np.exp(log_p) * divergences, axis=-1)),
        w_prior=-0.5
        * np.sum(w_variance + w_posterior.mean**2 - 1.0 - np.log(w_variance)),
        cluster_prior=-np.mean(
            [stats.entropy(np.exp(p), np.exp(log_weights)) for p in log_p]
        ),
    )
    terms = jitted_elbo(*arguments, likelihood=likelihood)
    np.testing.assert_allclose(terms, expected, rtol=1e-12)
    terms = jitted_elbo(*arguments, likelihood=likelihood, joint=True)
    log_densities = log_components(z, mixtures)
    joint = np.sum(np.exp(log_p) * log_densities, axis=-1) - log_q(z, z_posterior)
    expected = expected._replace(conditional_prior=joint.mean())
    np.testing.assert_allclose(terms, expected, rtol=1e-12)


# The two forms of the conditional prior against Monte Carlo


def many_draws(independent):
    """Draws of z and w, c ~ p(c | z, w), and the latent that each c is compared at."""
    rng = np.random.default_rng(5)
    likelihood = Bernoulli()
    arguments = random_arguments(likelihood, num_draws=NUM_DRAWS)
    posterior, z, mixtures = arguments.z_posterior, arguments.z, arguments.mixtures
    log_p = special.log_softmax(
        arguments.log_weights + log_components(z, mixtures), axis=-1
    )
    cumulative = np.cumsum(np.exp(log_p), axis=-1)
    cluster = np.sum(rng.uniform(size=(NUM_DRAWS, 1)) > cumulative[:, :-1], axis=-1)
    other = z
    if independent:
        eps = rng.normal(size=z.shape)
        other = posterior.mean + np.exp(0.5 * posterior.logvar) * eps
    log_densities = log_components(other, mixtures)[np.arange(NUM_DRAWS), cluster]
    return arguments, log_densities - log_q(other, posterior)


@FORMS
def test_conditional_prior_matches_monte_carlo(x64, joint):
    # Eq. (5): one latent decides the assignment, another one, independent, is in the
    # KL. The joint form: the same latent does both. They are not the same number.
    arguments, log_ratios = many_draws(independent=not joint)
    terms = jitted_elbo(*arguments, likelihood=Bernoulli(), joint=joint)
    assert_mean(log_ratios, terms.conditional_prior)
    other_form = jitted_elbo(*arguments, likelihood=Bernoulli(), joint=not joint)
    with pytest.raises(AssertionError):
        assert_mean(log_ratios, other_form.conditional_prior)


@FORMS
def test_gradient_of_the_prior_terms_matches_monte_carlo(x64, joint):
    # All z by reparameterisation; the closed-form KL against an independent z.
    arguments = random_arguments(Bernoulli())
    rng = np.random.default_rng(6)
    eps, other_eps = rng.normal(size=(2, NUM_DRAWS, 2))
    component = Mixture(arguments.mixtures.mean[0], arguments.mixtures.logvar[0])

    def draw(parameters, eps, other_eps):
        posterior, mixture = parameters
        z = distributions.sample_gaussian(posterior, eps)
        other = z if joint else distributions.sample_gaussian(posterior, other_eps)
        log_p = distributions.responsibilities(z, arguments.log_weights, mixture)
        log_densities = distributions.component_log_probs(other, mixture)
        return jnp.sum(
            jnp.exp(log_p)
            * (log_densities - distributions.gaussian_log_prob(other, posterior))
        )

    def term(parameters, eps):
        posterior, mixture = parameters
        z = distributions.sample_gaussian(posterior, eps)
        return gmvae.elbo(
            arguments.x,
            arguments.decoded[:1],
            posterior,
            arguments.w_posterior,
            z[None],
            arguments.log_weights,
            jax.tree.map(lambda a: a[None], mixture),
            Bernoulli(),
            joint=joint,
        ).conditional_prior

    parameters = arguments.z_posterior, component
    over = jax.vmap(jax.value_and_grad(draw), (None, 0, 0))
    samples = jax.jit(over)(parameters, eps, other_eps)
    over = jax.vmap(jax.value_and_grad(term), (None, 0))
    terms = jax.jit(over)(parameters, eps)
    difference = jax.tree.map(lambda a, b: a - b, samples, terms)
    jax.tree.map(lambda d: assert_mean(d, jnp.zeros(d.shape[1:])), difference)


def test_joint_priors_are_the_log_ratio_of_the_marginal_mixture(x64):
    # At every z exactly, so also in the mean: E ln sum_c pi_c N(z; ...) - E ln q(z).
    arguments = random_arguments(Bernoulli(), num_draws=50)
    terms = jitted_elbo(*arguments, likelihood=Bernoulli(), joint=True)
    log_prior = special.logsumexp(
        arguments.log_weights + log_components(arguments.z, arguments.mixtures), axis=-1
    )
    expected = np.mean(log_prior - log_q(arguments.z, arguments.z_posterior))
    actual = terms.conditional_prior + terms.cluster_prior
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


# The bound, with one-dimensional z and w


@functools.partial(jax.jit, static_argnums=7)
def elbos(*arguments):
    *arrays, joint = arguments
    over_nodes = jax.vmap(
        functools.partial(gmvae.elbo, likelihood=Bernoulli(), joint=joint),
        (None, 0, None, None, 0, None, 0),
    )
    return over_nodes(*arrays)


class LineGmvae(NamedTuple):
    """A random model in which quadrature knows every integral."""

    x: np.ndarray
    z_posterior: Gaussian
    w_posterior: Gaussian
    log_weights: np.ndarray
    slopes: np.ndarray

    def decode(self, z):
        return 1.5 * np.sin(np.asarray(z)[..., None] * self.slopes[0])

    def mixtures(self, w):
        """[M] -> fields of shape [M, K, 1]."""
        w = np.asarray(w)[..., None]
        mean = 2.0 * np.tanh(w * self.slopes[1]) + 2.0 * self.slopes[2]
        return Mixture(mean[..., None], (0.5 * np.sin(w * self.slopes[1]))[..., None])

    def log_evidence(self):
        z, w = np.linspace(-14.0, 14.0, 351), np.linspace(-8.0, 8.0, 161)
        logits = self.decode(z)
        log_likelihood = np.sum(
            self.x * special.log_expit(logits)
            + (1.0 - self.x) * special.log_expit(-logits),
            axis=-1,
        )
        mixtures = self.mixtures(w)
        scale = np.exp(0.5 * mixtures.logvar)
        log_densities = stats.norm.logpdf(z, mixtures.mean, scale)  # [W, K, Z]
        log_prior = special.logsumexp(self.log_weights[:, None] + log_densities, axis=1)
        inner = integrate.trapezoid(np.exp(log_prior + log_likelihood), z, axis=-1)
        return math.log(integrate.trapezoid(stats.norm.pdf(w) * inner, w))

    def nodes(self, num_nodes=48):
        """z, w and weights of the product rule of q(z | x) q(w | x), each [M]."""
        node, weight = np.polynomial.hermite_e.hermegauss(num_nodes)
        z, w = (
            posterior.mean + np.exp(0.5 * posterior.logvar) * node
            for posterior in (self.z_posterior, self.w_posterior)
        )
        z, w = (a.ravel() for a in np.meshgrid(z, w, indexing="ij"))
        return z, w, np.outer(weight, weight).ravel() / (2.0 * math.pi)

    def mean_terms(self, joint):
        """The terms' expectation over z and w, with M = 1 at every node."""
        z, w, weights = self.nodes()
        terms = elbos(
            self.x,
            self.decode(z)[:, None],
            self.z_posterior,
            self.w_posterior,
            z[:, None, None],
            self.log_weights,
            jax.tree.map(lambda a: a[:, None], self.mixtures(w)),
            joint,
        )
        return jax.tree.map(lambda a: float(weights @ np.asarray(a)), terms)


def line_model(seed):
    rng = np.random.default_rng(seed)
    return LineGmvae(
        rng.integers(2, size=3).astype(float),
        Gaussian(rng.normal(size=1), rng.normal(-0.5, 0.5, 1)),
        Gaussian(rng.normal(0.0, 0.5, size=1), rng.normal(-0.5, 0.5, 1)),
        np.log(rng.dirichlet(np.full(3, 3.0))),
        rng.normal(size=(3, 3)),
    )


def test_mean_of_both_forms_is_below_the_log_evidence_and_joint_is_the_tighter(x64):
    for seed in range(4):
        model = line_model(seed)
        bound, joint = (model.mean_terms(joint).total for joint in (False, True))
        assert bound < joint < model.log_evidence() + 1e-9


def test_eq5_is_the_mean_field_elbo_less_the_mutual_information(x64):
    # E61: with q(c | w) = E_z p(c | z, w), at every w.
    for seed in range(3):
        model = line_model(seed)
        z, w, weights = model.nodes()
        terms = model.mean_terms(joint=False)
        z, w, weights = (a.reshape(48, 48) for a in (z, w, weights))
        weights_z, weights_w = weights.sum(axis=1), weights.sum(axis=0)
        mixtures = model.mixtures(w[0])  # [W, K, 1]
        log_densities = stats.norm.logpdf(
            z[:, :1, None], mixtures.mean[..., 0], np.exp(0.5 * mixtures.logvar[..., 0])
        )  # [Z, W, K]
        p = special.softmax(model.log_weights + log_densities, axis=-1)
        mean_p = np.einsum("z,zwk->wk", weights_z, p)
        information = np.einsum("z,zwk->w", weights_z, p * np.log(p / mean_p))
        assert weights_w @ information > 1e-3
        entropy_z = 0.5 * np.sum(1.0 + np.log(2.0 * np.pi) + model.z_posterior.logvar)
        mean_field = entropy_z + weights_w @ np.sum(
            mean_p
            * (
                np.einsum("z,zwk->wk", weights_z, log_densities)
                + model.log_weights
                - np.log(mean_p)
            ),
            axis=-1,
        )
        np.testing.assert_allclose(
            terms.conditional_prior + terms.cluster_prior,
            mean_field - weights_w @ information,
            atol=1e-7,
        )


# The information constraint, eq. (7)


@jax.jit
def constrained_gradient(arguments, value):
    def cluster_prior(z, mixtures):
        return gmvae.elbo(
            *arguments._replace(z=z, mixtures=mixtures),
            Bernoulli(),
            information_constraint=value,
        ).cluster_prior

    return jax.value_and_grad(cluster_prior, (0, 1))(arguments.z, arguments.mixtures)


def test_information_constraint_switches_the_gradient_off_below_lambda(x64):
    arguments = random_arguments(Bernoulli())
    plain, plain_gradient = constrained_gradient(arguments, 0.0)
    assert -1.0 < plain < -0.1
    assert all(np.abs(leaf).max() > 1e-2 for leaf in jax.tree.leaves(plain_gradient))
    value, gradient = constrained_gradient(arguments, -plain + 0.01)
    np.testing.assert_allclose(value, plain - 0.01, rtol=1e-12)
    jax.tree.map(lambda g: np.testing.assert_array_equal(g, 0.0), gradient)
    # Above lambda the term is the plain one.
    value, gradient = constrained_gradient(arguments, -plain - 0.01)
    np.testing.assert_array_equal(value, plain)
    jax.tree.map(np.testing.assert_array_equal, gradient, plain_gradient)


def test_information_constraint_is_outside_of_the_mean_and_leaves_the_other_terms(x64):
    arguments = random_arguments(Bernoulli())
    single = [
        -jitted_elbo(*draw_of(arguments, m), likelihood=Bernoulli()).cluster_prior
        for m in range(4)
    ]
    constraint = float(np.mean(single))  # Some draws are below it, some above.
    assert min(single) < 0.9 * constraint < 1.1 * constraint < max(single)
    for joint in (False, True):
        plain = jitted_elbo(*arguments, likelihood=Bernoulli(), joint=joint)
        terms = jitted_elbo(
            *arguments,
            likelihood=Bernoulli(),
            information_constraint=0.99 * constraint,
            joint=joint,
        )
        np.testing.assert_array_equal(terms, plain)
        terms = jitted_elbo(
            *arguments,
            likelihood=Bernoulli(),
            information_constraint=1.5 * constraint,
            joint=joint,
        )
        np.testing.assert_allclose(terms.cluster_prior, -1.5 * constraint)
        np.testing.assert_array_equal(terms[:3], plain[:3])


# Prediction


def test_log_assignment_is_the_log_of_the_mean_of_eq3(x64):
    *_, z, log_weights, mixtures = random_arguments(Bernoulli())
    log_p = special.log_softmax(log_weights + log_components(z, mixtures), axis=-1)
    actual = jax.jit(gmvae.log_assignment)(z, log_weights, mixtures)
    np.testing.assert_allclose(np.exp(actual), np.exp(log_p).mean(axis=0), rtol=1e-12)
    assert actual.dtype == np.float64


def test_log_assignment_is_normalised_far_from_all_components():
    mixtures = Mixture(np.arange(6.0).reshape(2, 3, 1), np.full((2, 3, 1), -20.0))
    arguments = jax.tree.map(
        jnp.float32, (np.array([[1e3], [-1e3]]), np.log(np.full(3, 1 / 3)), mixtures)
    )
    actual = gmvae.log_assignment(*arguments)
    np.testing.assert_allclose(np.exp(actual), [0.5, 0.0, 0.5], atol=1e-6)


# Invariances and reductions


@FORMS
def test_permuting_clusters_or_draws_changes_nothing(x64, likelihood, joint):
    arguments = random_arguments(likelihood)
    clusters, draws = np.array([2, 0, 1]), np.array([3, 1, 0, 2])
    permuted = arguments._replace(
        decoded=jax.tree.map(lambda a: a[draws], arguments.decoded),
        z=arguments.z[draws],
        log_weights=arguments.log_weights[clusters],
        mixtures=jax.tree.map(lambda a: a[draws][:, clusters], arguments.mixtures),
    )
    np.testing.assert_allclose(
        jitted_elbo(*permuted, likelihood=likelihood, joint=joint),
        jitted_elbo(*arguments, likelihood=likelihood, joint=joint),
        rtol=1e-12,
    )
    np.testing.assert_allclose(
        gmvae.log_assignment(permuted.z, permuted.log_weights, permuted.mixtures),
        gmvae.log_assignment(arguments.z, arguments.log_weights, arguments.mixtures)[
            clusters
        ],
        rtol=1e-12,
    )


def test_one_cluster_is_a_hierarchical_vae(x64, likelihood):
    arguments = random_arguments(likelihood, num_clusters=1)
    arguments = arguments._replace(log_weights=np.zeros(1))
    terms = jitted_elbo(*arguments, likelihood=likelihood)
    assert terms.cluster_prior == 0.0
    prior = Gaussian(*jax.tree.map(lambda a: a[:, 0], arguments.mixtures))
    tiled = Gaussian(*(np.tile(a[None], (4, 1)) for a in arguments.z_posterior))
    np.testing.assert_allclose(
        terms.conditional_prior,
        -distributions.gaussian_kl(tiled, prior).mean(),
        rtol=1e-12,
    )


def test_prior_terms_vanish_where_posterior_and_prior_agree(x64):
    arguments = random_arguments(Bernoulli())
    same = Mixture(
        *(np.tile(field[None, None], (4, 3, 1)) for field in arguments.z_posterior)
    )
    arguments = arguments._replace(
        mixtures=same, w_posterior=Gaussian(np.zeros(3), np.zeros(3))
    )
    for joint in (False, True):
        terms = jitted_elbo(*arguments, likelihood=Bernoulli(), joint=joint)
        np.testing.assert_allclose(terms[1:], 0.0, atol=1e-14)


def test_several_draws_are_the_mean_of_single_ones(x64, likelihood):
    arguments = random_arguments(likelihood)
    single = [
        jitted_elbo(*draw_of(arguments, m), likelihood=likelihood) for m in range(4)
    ]
    np.testing.assert_allclose(
        jitted_elbo(*arguments, likelihood=likelihood),
        np.mean(single, axis=0),
        rtol=1e-12,
    )


# Numerics


@pytest.mark.parametrize(
    ("joint", "constraint"), [(False, 0.0), (False, 0.1), (True, 0.0)]
)
def test_gradient_matches_differences(x64, joint, constraint):
    likelihood = LearnedVarianceGaussian()
    arguments = random_arguments(likelihood, num_draws=2)

    def total(decoded, z_posterior, w_posterior, z, logits, mixtures):
        return gmvae.elbo(
            arguments.x,
            decoded,
            z_posterior,
            w_posterior,
            z,
            jax.nn.log_softmax(logits),
            mixtures,
            likelihood,
            constraint,
            joint,
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
    "equal components": {"means": 0.0},
    "saturated logits": {"logit": 50.0},
    "negatively saturated logits": {"logit": -50.0},
    "one-hot weights": {"weights": [-math.inf, 0.0, -math.inf]},
    "z at one component, far from the rest": {"means": 1e3},
}


@functools.partial(jax.jit, static_argnames=("likelihood", "joint"))
def value_and_gradients(arguments, likelihood, joint):
    def total(arguments):
        return gmvae.elbo(*arguments, likelihood, joint=joint).total

    return jax.value_and_grad(total)(arguments)


@FORMS
@pytest.mark.parametrize("edge", EDGES)
def test_finite_at_the_edges(likelihood, edge, joint):
    values = {
        "posterior_logvar": 0.0,
        "component_logvar": 0.0,
        "means": 1.0,
        "logit": 1.0,
        "weights": np.log([0.2, 0.3, 0.5]),
    } | EDGES[edge]
    decoded = np.full((2, 2), values["logit"])
    if isinstance(likelihood, LearnedVarianceGaussian):
        decoded = Gaussian(decoded / 50.0, 0.4 * decoded)
    logvar = np.full(2, values["posterior_logvar"])
    arguments = Arguments(
        np.array([0.0, 1.0]),
        decoded,
        Gaussian(np.zeros(2), logvar),
        Gaussian(np.zeros(2), logvar),
        np.array([[0.0, 0.0], [1.0, -1.0]]) * np.exp(0.5 * values["posterior_logvar"]),
        np.array(values["weights"]),
        Mixture(
            values["means"] * np.arange(12.0).reshape(2, 3, 2),
            np.full((2, 3, 2), values["component_logvar"]),
        ),
    )
    value, gradients = value_and_gradients(
        jax.tree.map(jnp.float32, arguments), likelihood, joint
    )
    assert value.dtype == jnp.float32
    assert_finite((value, gradients))


def test_impossible_clusters_cost_nothing(x64):
    arguments = random_arguments(Bernoulli())._replace(
        log_weights=np.array([-math.inf, 0.0, -math.inf])
    )
    only = arguments._replace(
        log_weights=np.zeros(1),
        mixtures=jax.tree.map(lambda a: a[:, 1:2], arguments.mixtures),
    )
    for joint in (False, True):
        with jax.debug_nans(True):
            terms = gmvae.elbo(*arguments, Bernoulli(), joint=joint)
        np.testing.assert_allclose(
            terms,
            jitted_elbo(*only, likelihood=Bernoulli(), joint=joint),
            rtol=1e-13,
        )


@FORMS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(x64, likelihood, dtype, joint):
    arguments = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(np.shape(a), dtype), random_arguments(likelihood)
    )
    terms = jax.eval_shape(
        functools.partial(
            gmvae.elbo, likelihood=likelihood, information_constraint=0.5, joint=joint
        ),
        *arguments,
    )
    assert isinstance(terms, GmvaeTerms)
    for term in terms:
        assert (term.shape, term.dtype) == ((), dtype)


@FORMS
def test_batch_equals_loop_and_jit_equals_no_jit(x64, joint):
    likelihood = LearnedVarianceGaussian()
    options = {"likelihood": likelihood, "information_constraint": 0.3, "joint": joint}
    points = [random_arguments(likelihood, seed) for seed in range(3)]
    batch = jax.tree.map(lambda *leaves: np.stack(leaves), *points)
    batched = jax.vmap(functools.partial(gmvae.elbo, **options))(*batch)
    for i, point in enumerate(points):
        eager = gmvae.elbo(*point, **options)
        np.testing.assert_allclose(jitted_elbo(*point, **options), eager, rtol=1e-12)
        np.testing.assert_allclose([t[i] for t in batched], eager, rtol=1e-12)
