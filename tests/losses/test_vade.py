"""VaDE's assignments, and the ELBO at each of them."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import integrate, special, stats

from dgg_jax import distributions
from dgg_jax.likelihoods import Bernoulli, GaussianLikelihood, LearnedVarianceGaussian
from dgg_jax.losses import autoencoder, dgg, vade
from dgg_jax.types import Gaussian, Mixture

pytestmark = pytest.mark.usefixtures("x64")

NUM_FEATURES, NUM_LATENTS, NUM_CLUSTERS = 4, 2, 3
ASSIGNMENTS = ["sample", "several samples", "mean_field"]
mean_field_log_assignment = jax.jit(vade.mean_field_log_assignment)
log_assignment = jax.jit(vade.log_assignment)


def random_mixture(rng, num_clusters=NUM_CLUSTERS, num_latents=NUM_LATENTS):
    """ln pi and the components."""
    shape = num_clusters, num_latents
    log_weights = np.log(rng.dirichlet(np.full(num_clusters, 3.0)))
    return log_weights, Mixture(1.5 * rng.normal(size=shape), rng.normal(size=shape))


def random_posterior(rng, num_latents=NUM_LATENTS):
    return Gaussian(rng.normal(size=num_latents), rng.normal(size=num_latents))


def random_decoded(rng, likelihood):
    decoded = rng.normal(size=NUM_FEATURES)
    if isinstance(likelihood, LearnedVarianceGaussian):
        decoded = Gaussian(decoded, rng.normal(size=NUM_FEATURES))
    return decoded


@functools.partial(jax.jit, static_argnums=0)
def assign(assignment, z, posterior, log_weights, mixture):
    """ln q(c | x) of one of ASSIGNMENTS; z of shape [L] and two more next to it."""
    if assignment == "mean_field":
        return vade.mean_field_log_assignment(posterior, log_weights, mixture)
    if assignment == "several samples":
        z = jnp.stack([z, z + 0.3, z - 0.7])
    return vade.log_assignment(z, log_weights, mixture)


# Values

# Three round components around 0, 2 and -1 in the plane.
WEIGHTS = np.array([0.2, 0.5, 0.3])
MEANS = np.array([[0.0, 0.0], [2.0, 1.0], [-1.0, 1.0]])
VARIANCES = np.array([0.1, 1.0, 4.0])
PLANE = np.stack(np.meshgrid(*[np.linspace(-4.0, 4.0, 41)] * 2), axis=-1).reshape(-1, 2)


def bayes(weights=WEIGHTS):
    """p(c | z) at every point of PLANE by scipy, [N, K]."""
    joint = [
        weight * stats.multivariate_normal(mean, variance).pdf(PLANE)
        for weight, mean, variance in zip(weights, MEANS, VARIANCES, strict=True)
    ]
    return np.transpose(joint) / np.sum(joint, axis=0)[:, None]


def responsibilities_on_the_plane(log_weights):
    mixture = Mixture(MEANS, np.log(np.tile(VARIANCES[:, None], 2)))
    each = jax.jit(jax.vmap(vade.log_assignment, (0, None, None)))
    return np.exp(each(PLANE, log_weights, mixture))


def test_equation_12_matches_scipy():
    expected = bayes()
    actual = responsibilities_on_the_plane(np.log(WEIGHTS))
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-300)
    # Where others went wrong: |Sigma|^-1 in place of |Sigma|^-1/2, and a softmax of
    # weights that already are probabilities.
    joint = expected / VARIANCES  # |Sigma|^-1/2 once more, in two dimensions
    wrong = joint / joint.sum(axis=1, keepdims=True)
    assert np.abs(wrong - expected).max() > 0.5
    assert np.mean(wrong.argmax(axis=1) != expected.argmax(axis=1)) > 0.05
    assert np.abs(bayes(special.softmax(WEIGHTS)) - expected).max() > 0.05


def test_equation_12_by_hand():
    # N(0; 0, 1) = 0.3989423, N(0; 2, 4) = 0.1209854, pi = (1/4, 3/4).
    mixture = Mixture(np.array([[0.0], [2.0]]), np.log([[1.0], [4.0]]))
    actual = log_assignment(np.zeros(1), np.log([0.25, 0.75]), mixture)
    joint = np.array([0.25 * 0.3989422804, 0.75 * 0.1209853623])
    np.testing.assert_allclose(np.exp(actual), joint / joint.sum(), rtol=1e-9)


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_weights_enter_once(assignment):
    """Erratum E40: inside of a sum over ten latent dimensions they would be pi^10."""
    rng = np.random.default_rng(0)
    log_weights, mixture = random_mixture(rng, num_latents=10)
    posterior, z = random_posterior(rng, 10), rng.normal(size=10)
    same = jax.tree.map(lambda leaf: np.tile(leaf[:1], (NUM_CLUSTERS, 1)), mixture)
    actual = assign(assignment, z, posterior, log_weights, same)
    np.testing.assert_allclose(actual, log_weights, rtol=1e-9)
    if assignment != "several samples":  # the log of a mean is not affine in ln pi
        odds = np.diff(assign(assignment, z, posterior, log_weights, mixture))
        flat = np.zeros(NUM_CLUSTERS)
        expected = np.diff(assign(assignment, z, posterior, flat, mixture))
        np.testing.assert_allclose(odds - expected, np.diff(log_weights), rtol=1e-8)


def test_a_point_far_from_all_components_is_not_flattened():
    # Densities underflow to 0 in float32, their ratio does not.
    z, log_weights = jnp.full(2, 60.0, "float32"), jnp.log(jnp.float32(WEIGHTS))
    mixture = Mixture(jnp.float32(MEANS), jnp.log(jnp.float32(np.tile([[1.0]] * 3, 2))))
    actual = log_assignment(z, log_weights, mixture)
    assert actual.dtype == jnp.float32
    joint = np.log(WEIGHTS) - 0.5 * ((60.0 - MEANS) ** 2).sum(axis=1)
    expected = special.log_softmax(joint)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    assert expected[0] < -100.0


def test_several_samples_are_the_mean_of_probabilities():
    rng = np.random.default_rng(1)
    log_weights, mixture = random_mixture(rng)
    z = rng.normal(size=(7, NUM_LATENTS))
    each = np.exp([log_assignment(draw, log_weights, mixture) for draw in z])
    actual = np.exp(log_assignment(z, log_weights, mixture))
    np.testing.assert_allclose(actual, each.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(actual.sum(), 1.0, rtol=1e-12)
    # Not the assignment at the mean draw, nor the mean of the logarithms.
    at_mean = np.exp(log_assignment(z.mean(axis=0), log_weights, mixture))
    assert np.abs(actual - at_mean).max() > 0.01
    assert np.abs(actual - special.softmax(np.log(each).mean(axis=0))).max() > 0.01
    one = log_assignment(z[:1], log_weights, mixture)
    np.testing.assert_allclose(np.exp(one), each[0], rtol=1e-12)


def test_mean_field_matches_quadrature(line_model, grid):
    for j, (mean, logvar) in enumerate(zip(*line_model.posterior, strict=True)):
        density = np.exp(line_model.log_posterior(j, grid))
        components = line_model.log_components(grid)
        expected = integrate.trapezoid(density[:, None] * components, grid, axis=0)
        actual = mean_field_log_assignment(
            Gaussian(mean, logvar), line_model.log_prior, line_model.mixture
        )
        expected = special.log_softmax(line_model.log_prior + expected)
        np.testing.assert_allclose(actual, expected, rtol=1e-9)


def test_without_variance_mean_field_is_equation_12():
    rng = np.random.default_rng(2)
    log_weights, mixture = random_mixture(rng)
    mean = rng.normal(size=NUM_LATENTS)
    expected = log_assignment(mean, log_weights, mixture)
    distances = []
    for logvar in (0.0, -5.0, -40.0):
        posterior = Gaussian(mean, np.full(NUM_LATENTS, logvar))
        actual = mean_field_log_assignment(posterior, log_weights, mixture)
        distances.append(np.abs(actual - expected).max())
    assert distances[0] > 0.1 and distances[1] < 0.1 * distances[0]
    assert distances[2] < 1e-12


# The ELBO


@functools.partial(jax.jit, static_argnums=5)
def elbo_at(x, decoded, posterior, log_weights, mixture, likelihood, log_gamma):
    return vade.elbo(
        x, decoded, posterior, log_gamma, log_weights, mixture, likelihood
    ).total


def test_mean_field_maximises_the_elbo(likelihood):
    """The ELBO at any other q(c | x) is lower by the KL from it, eq. 12's included."""
    rng = np.random.default_rng(3)
    for _ in range(5):
        log_weights, mixture = random_mixture(rng)
        posterior = random_posterior(rng)
        x, decoded = rng.uniform(size=NUM_FEATURES), random_decoded(rng, likelihood)

        total = functools.partial(
            elbo_at, x, decoded, posterior, log_weights, mixture, likelihood
        )
        best = np.asarray(mean_field_log_assignment(posterior, log_weights, mixture))
        scale = np.exp(0.5 * posterior.logvar)
        z = posterior.mean + scale * rng.normal(size=(9, NUM_LATENTS))
        others = [log_assignment(draw, log_weights, mixture) for draw in z]
        others.append(log_assignment(z, log_weights, mixture))
        others += [
            special.log_softmax(best + scale * rng.normal(size=NUM_CLUSTERS))
            for scale in (1e-3, 0.1, 3.0)
        ]
        highest = total(best)
        for other in others:
            lost = stats.entropy(np.exp(other), np.exp(best))
            np.testing.assert_allclose(highest - total(other), lost, atol=1e-10)
            assert total(other) <= highest + 1e-12


@functools.partial(jax.jit, static_argnames=("likelihood", "assignment"))
def line_elbos(x, decoded, z, posterior, log_weights, mixture, likelihood, assignment):
    """The ELBO of every point at every node: z [N, M] -> [N, M]."""

    def total(x, decoded, z, posterior):
        log_gamma = assign(assignment, z[None], posterior, log_weights, mixture)
        return vade.elbo(
            x, decoded, posterior, log_gamma, log_weights, mixture, likelihood
        ).total

    over_nodes = jax.vmap(total, (None, 0, 0, None))
    return jax.vmap(over_nodes)(x, decoded, z, posterior)


def mean_elbos(model, node_weights, assignment):
    """The mean over eps of every point's ELBO, [N]."""
    z = model.nodes()
    values = line_elbos(
        model.x,
        model.decode(z),
        z,
        model.posterior,
        model.log_prior,
        model.mixture,
        model.likelihood,
        assignment,
    )
    return np.asarray(values) @ node_weights


@pytest.mark.parametrize("assignment", ["sample", "mean_field"])
def test_elbo_bounds_the_evidence(line_models, node_weights, assignment):
    for model in line_models:
        elbos = mean_elbos(model, node_weights, assignment)
        evidence = [model.log_evidence(x, model.log_prior) for x in model.x]
        assert np.all(elbos <= np.array(evidence) + 1e-9)


def test_mean_field_elbo_by_quadrature(line_model, node_weights, grid):
    """E_q ln p(x | z) - KL(q(z | x) q(c | x) || p(z, c)), all of it on a grid."""
    elbos = mean_elbos(line_model, node_weights, "mean_field")
    components = line_model.log_components(grid)
    for j, x in enumerate(line_model.x):
        log_q = line_model.log_posterior(j, grid)
        expected_components = integrate.trapezoid(
            np.exp(log_q)[:, None] * components, grid, axis=0
        )
        log_gamma = special.log_softmax(line_model.log_prior + expected_components)
        log_ratio = line_model.log_prior + components - log_gamma - log_q[:, None]
        inner = line_model.log_likelihood(x, grid) + log_ratio @ np.exp(log_gamma)
        expected = integrate.trapezoid(np.exp(log_q) * inner, grid)
        np.testing.assert_allclose(elbos[j], expected, rtol=1e-8)


def test_sampled_assignments_lose_their_information(line_models, node_weights):
    """In the mean, the ELBO at q(c | x) = E[p(c | z)] less I(c; z) (erratum E13)."""
    for model in line_models[:2]:
        sampled = mean_elbos(model, node_weights, "sample")
        best = mean_elbos(model, node_weights, "mean_field")
        z = model.nodes()
        joint = model.log_prior + model.log_components(z)
        log_gamma = special.log_softmax(joint, axis=-1)  # [N, M, K]
        mean_gamma = np.einsum("nmk,m->nk", np.exp(log_gamma), node_weights)
        information = np.einsum(
            "nmk,nmk,m->n",
            np.exp(log_gamma),
            log_gamma - np.log(mean_gamma)[:, None],
            node_weights,
        )
        field = np.array(
            [
                mean_field_log_assignment(
                    Gaussian(mean, logvar), model.log_prior, model.mixture
                )
                for mean, logvar in zip(*model.posterior, strict=True)
            ]
        )
        # At E[p(c | z)] the ELBO is lower than the best by a KL.
        lost = stats.entropy(mean_gamma, np.exp(field), axis=1)
        np.testing.assert_allclose(sampled, best - lost - information, atol=1e-9)
        assert np.all(sampled < best)


@pytest.mark.parametrize("assignment", ["sample", "mean_field"])
def test_elbo_is_tight_where_the_posterior_is_exact(node_weights, assignment):
    # A linear Gaussian model; x comes from the first of two components far apart, so
    # that the posterior of z is one Gaussian and the cluster is certain.
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(2, NUM_FEATURES))
    weights, variance = np.array([0.3, 0.7]), 0.3
    mixture = Mixture(np.array([[1.0], [60.0]]), np.log([[0.5], [1.0]]))
    x = 1.2 * a + b + 0.1 * rng.normal(size=NUM_FEATURES)
    precision = 1.0 / 0.5 + a @ a / variance
    mean = (1.0 / 0.5 + a @ (x - b) / variance) / precision
    nodes, _ = np.polynomial.hermite_e.hermegauss(len(node_weights))
    nodes, node_weights = nodes[20:60], node_weights[20:60]  # the rest weigh 1e-15
    z = (mean + nodes / math.sqrt(precision))[None]
    elbos = line_elbos(
        x[None],
        z[..., None] * a + b,
        z,
        Gaussian(np.array([[mean]]), -np.log([[precision]])),
        np.log(weights),
        mixture,
        GaussianLikelihood(variance),
        assignment,
    )
    covariance = 0.5 * np.outer(a, a) + variance * np.eye(NUM_FEATURES)
    evidence = stats.multivariate_normal(a + b, covariance).logpdf(x)
    actual = elbos[0] @ (node_weights / node_weights.sum())
    np.testing.assert_allclose(actual, math.log(0.3) + evidence, rtol=1e-9)


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_one_cluster_is_a_vae(likelihood, assignment):
    rng = np.random.default_rng(5)
    x, decoded = rng.uniform(size=NUM_FEATURES), random_decoded(rng, likelihood)
    posterior, z = random_posterior(rng), rng.normal(size=NUM_LATENTS)
    component = Gaussian(rng.normal(size=NUM_LATENTS), rng.normal(size=NUM_LATENTS))
    # z = mean + sigma u with u ~ N(0, I): the posterior of u is that of a plain VAE.
    scale = np.exp(0.5 * component.logvar)
    standardized = Gaussian(
        (posterior.mean - component.mean) / scale, posterior.logvar - component.logvar
    )
    standard = Gaussian(np.zeros(NUM_LATENTS), np.zeros(NUM_LATENTS))
    for own, vae_posterior in (
        (standard, posterior),
        (component, standardized),
    ):
        mixture = Mixture(*(field[None] for field in own))
        log_gamma = assign(assignment, z, posterior, np.zeros(1), mixture)
        terms = vade.elbo(
            x, decoded, posterior, log_gamma, np.zeros(1), mixture, likelihood
        )
        expected = autoencoder.vae_elbo(x, decoded, vae_posterior, likelihood)
        np.testing.assert_allclose(log_gamma, 0.0, atol=1e-12)
        np.testing.assert_allclose(terms.total, expected.total, rtol=1e-12)
        np.testing.assert_allclose(terms.cluster_prior, 0.0, atol=1e-12)
        np.testing.assert_allclose(terms.cluster_entropy, 0.0, atol=1e-12)


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_dgg_without_a_graph_is_vade_plus_a_divergence(likelihood, assignment):
    """With the same gamma and mixture: DGG's prior is then gamma (erratum E4)."""
    rng = np.random.default_rng(6)
    log_weights, mixture = random_mixture(rng)
    x, posterior = rng.uniform(size=NUM_FEATURES), random_posterior(rng)
    decoded, z = random_decoded(rng, likelihood), rng.normal(size=NUM_LATENTS)
    log_gamma = assign(assignment, z, posterior, log_weights, mixture)
    own = decoded, posterior, log_gamma
    terms = vade.elbo(x, *own, log_weights, mixture, likelihood)
    divergence = stats.entropy(np.exp(log_gamma), np.exp(log_weights))
    assert divergence > 0.01

    neighbor = random_decoded(rng, likelihood), random_posterior(rng), log_weights
    sources = jax.tree.map(lambda *leaves: np.stack(leaves), own, neighbor)
    arguments = x, *sources, np.ones(1), mixture, likelihood
    objective = dgg.tuple_objective(*arguments, graph_strength=0.0)
    np.testing.assert_allclose(objective, terms.total + divergence, rtol=1e-12)
    with_graph = dgg.tuple_objective(*arguments, graph_strength=1.0)
    assert abs(with_graph - objective) > 1e-3

    # A = I: the point is its own source, of degree 1, and r is its own ln gamma.
    statistics = likelihood.sufficient_statistics(x)
    objective = dgg.node_objective(
        statistics, 1.0, *own, log_gamma, mixture, likelihood
    )
    np.testing.assert_allclose(objective, terms.total + divergence, rtol=1e-10)


# Numerics


@functools.partial(jax.jit, static_argnums=(0, 1))
def elbo_of(assignment, likelihood, x, decoded, posterior, eps, logits, mixture):
    """The ELBO as training has it, differentiable in everything."""
    log_weights = jax.nn.log_softmax(logits)
    z = distributions.sample_gaussian(posterior, eps)
    log_gamma = assign(assignment, z, posterior, log_weights, mixture)
    return vade.elbo(
        x, decoded, posterior, log_gamma, log_weights, mixture, likelihood
    ).total


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_gradient_matches_differences(assignment):
    rng = np.random.default_rng(7)
    logits, mixture = random_mixture(rng)
    arguments = rng.normal(size=NUM_FEATURES), random_posterior(rng), logits, mixture
    x, eps = rng.uniform(size=NUM_FEATURES), rng.normal(size=NUM_LATENTS)

    def objective(decoded, posterior, logits, mixture):
        static = assignment, Bernoulli()
        return elbo_of(*static, x, decoded, posterior, eps, logits, mixture)

    check_grads(objective, arguments, order=1, modes=["rev"])


edge_gradients = jax.jit(
    jax.value_and_grad(
        lambda assignment, posterior, eps, log_weights, mixture: (
            vade.elbo(
                jnp.zeros(1, "float32"),
                jnp.zeros(1, "float32"),
                posterior,
                assign(
                    assignment,
                    distributions.sample_gaussian(posterior, eps),
                    posterior,
                    log_weights,
                    mixture,
                ),
                log_weights,
                mixture,
                Bernoulli(),
            ).total
        ),
        argnums=(1, 3, 4),
    ),
    static_argnums=0,
)


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
@pytest.mark.parametrize("weights", ["impossible", "possible"])
@pytest.mark.parametrize("means", [0.0, 100.0])
def test_finite_in_float32_at_the_edges(assignment, weights, means):
    # Components of equal means and variances, or so far away that all but one of the
    # probabilities are 0; a component of weight 0.
    log_weights = {"impossible": [0.0, -math.inf], "possible": [-50.0, -0.01]}[weights]
    for posterior_logvar in (-20.0, 20.0):
        for component_logvar in (-20.0, 20.0):
            posterior = Gaussian(np.zeros(2), np.full(2, posterior_logvar))
            mixture = Mixture(
                np.array([[0.0, 0.0], [means, means]]),
                np.full((2, 2), component_logvar),
            )
            arguments = posterior, np.array([0.5, -2.0]), np.array(log_weights), mixture
            value, gradients = edge_gradients(
                assignment, *jax.tree.map(jnp.float32, arguments)
            )
            assert value.dtype == jnp.float32
            leaves = value, *jax.tree.leaves(gradients)
            assert all(np.all(np.isfinite(leaf)) for leaf in leaves), leaves


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_permuting_clusters_permutes_assignments(assignment):
    rng = np.random.default_rng(8)
    log_weights, mixture = random_mixture(rng)
    posterior, z = random_posterior(rng), rng.normal(size=NUM_LATENTS)
    order = np.array([2, 0, 1])
    expected = assign(assignment, z, posterior, log_weights, mixture)
    permuted = jax.tree.map(lambda leaf: leaf[order], mixture)
    actual = assign(assignment, z, posterior, log_weights[order], permuted)
    np.testing.assert_allclose(actual, expected[order], rtol=1e-12)
    swapped = assign(assignment, z, posterior, log_weights, permuted)
    assert np.abs(swapped - expected[order]).max() > 1e-2


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_batch_equals_loop_and_jit_equals_no_jit(assignment):
    rng = np.random.default_rng(9)
    log_weights, mixture = random_mixture(rng)
    z = rng.normal(size=(5, NUM_LATENTS))
    posterior = Gaussian(*rng.normal(size=(2, 5, NUM_LATENTS)))
    each = functools.partial(assign.__wrapped__, assignment)
    batch = jax.jit(jax.vmap(each, (0, 0, None, None)))
    actual = batch(z, posterior, log_weights, mixture)
    assert actual.shape == (5, NUM_CLUSTERS)
    for i in range(5):
        own = jax.tree.map(lambda leaf, i=i: leaf[i], posterior)
        alone = each(z[i], own, log_weights, mixture)
        np.testing.assert_allclose(actual[i], alone, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(dtype):
    shapes = (NUM_LATENTS,), (4, NUM_LATENTS), (NUM_CLUSTERS,)
    one, several, clusters = (jax.ShapeDtypeStruct(s, dtype) for s in shapes)
    components = jax.ShapeDtypeStruct((NUM_CLUSTERS, NUM_LATENTS), dtype)
    mixture = Mixture(components, components)
    for function, first in (
        (vade.log_assignment, one),
        (vade.log_assignment, several),
        (vade.mean_field_log_assignment, Gaussian(one, one)),
    ):
        result = jax.eval_shape(function, first, clusters, mixture)
        assert (result.shape, result.dtype) == ((NUM_CLUSTERS,), dtype)
