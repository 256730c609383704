"""The DGG objective: two exact forms, the prior update, and the bounds they promise."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import integrate, optimize, special, stats

from dgg_jax import distributions
from dgg_jax.likelihoods import (
    Bernoulli,
    CenteredStatistics,
    GaussianLikelihood,
    LearnedVarianceGaussian,
)
from dgg_jax.losses import dgg
from dgg_jax.types import Gaussian, Mixture

pytestmark = pytest.mark.usefixtures("x64")

N, D, L, K, S = 6, 4, 2, 3, 2
STRENGTHS = [0.0, 0.5, 1.0, 1.5, 2.0]
# Point 0 is everyone's neighbour and point 5 nobody's: W differs from its transpose.
INDICES = np.array([[1, 2], [0, 3], [0, 4], [0, 1], [0, 3], [0, 2]])
ONE_HOT = np.array([0.0, -math.inf, -math.inf])
NETWORK = {
    "mean": (D, L),
    "logvar": (D, L),
    "logits": (L, D),
    "spread": (L, D),
    "classifier": (L, K),
    "mixture_mean": (K, L),
    "mixture_logvar": (K, L),
}


def data():
    return np.random.default_rng(0).uniform(size=(N, D))


def noise():
    return np.random.default_rng(1).normal(size=(N, L))


def network(seed=2):
    """Random weights of a linear encoder, decoder and classifier, and a mixture."""
    rng = np.random.default_rng(seed)
    return {name: 0.7 * rng.normal(size=shape) for name, shape in NETWORK.items()}


def graph_weights(kind):
    """w_ij, shape [N, S], rows summing to 1."""
    if kind == "uniform":
        return np.full((N, S), 1.0 / S)
    distances = np.linalg.norm(data()[:, None] - data()[INDICES], axis=-1)
    kernel = np.exp(-0.5 * (distances / distances.max(axis=1, keepdims=True)) ** 2)
    kernel[:, 0] *= 3.0  # far from uniform, so that a mix-up cannot hide
    return kernel / kernel.sum(axis=1, keepdims=True)


def operator(weights, graph_strength):
    """A = (1 - eta/2) I + (eta/2) W as a dense matrix."""
    matrix = np.zeros((N, N))
    for i, (row, row_weights) in enumerate(zip(INDICES, weights, strict=True)):
        matrix[i, i] += 1.0 - graph_strength / 2.0
        for j, weight in zip(row, row_weights, strict=True):
            matrix[i, j] += graph_strength / 2.0 * weight
    return matrix


def encode(parameters, x, eps, likelihood):
    """decoded, posterior and log_assignment of one source."""
    posterior = Gaussian(x @ parameters["mean"], x @ parameters["logvar"])
    z = distributions.sample_gaussian(posterior, eps)
    decoded = z @ parameters["logits"]
    if isinstance(likelihood, LearnedVarianceGaussian):
        decoded = Gaussian(decoded, z @ parameters["spread"])
    return decoded, posterior, jax.nn.log_softmax(z @ parameters["classifier"])


def mixture_of(parameters):
    return Mixture(parameters["mixture_mean"], parameters["mixture_logvar"])


def encode_all(parameters, likelihood):
    return jax.vmap(encode, (None, 0, 0, None))(parameters, data(), noise(), likelihood)


encode_all = functools.partial(jax.jit, static_argnums=1)(encode_all)


def gather(sources):
    """The sources of every point, self first: leaves of shape [N, 1 + S, ...]."""
    rows = np.concatenate([np.arange(N)[:, None], INDICES], axis=1)
    return jax.tree.map(lambda leaf: leaf[rows], sources)


@functools.partial(jax.jit, static_argnums=3)
@functools.partial(jax.value_and_grad, has_aux=True)
def tuple_form(parameters, weights, graph_strength, likelihood):
    """(J, its terms) and J's gradient, one point at a time."""
    decoded, posteriors, log_assignments = gather(encode_all(parameters, likelihood))

    def of_point(x, decoded, posteriors, log_assignments, weights):
        arguments = (
            x,
            decoded,
            posteriors,
            log_assignments,
            weights,
            mixture_of(parameters),
            likelihood,
            graph_strength,
        )
        return dgg.tuple_objective(*arguments), dgg.tuple_terms(*arguments)

    shares = jax.vmap(of_point)(data(), decoded, posteriors, log_assignments, weights)
    return jax.tree.map(jnp.sum, shares)


@functools.partial(jax.jit, static_argnums=4)
@functools.partial(jax.value_and_grad, has_aux=True)
def node_form(parameters, statistics, degree, smoothed_log_prior, likelihood):
    """(J, its terms) and J's gradient, one source at a time."""
    decoded, posterior, log_assignment = encode_all(parameters, likelihood)

    def of_source(*arguments):
        arguments = *arguments, mixture_of(parameters), likelihood
        return dgg.node_objective(*arguments), dgg.node_terms(*arguments)

    shares = jax.vmap(of_source)(
        statistics, degree, decoded, posterior, log_assignment, smoothed_log_prior
    )
    return jax.tree.map(jnp.sum, shares)


def raw_statistics(matrix, likelihood):
    """t_j = sum_i A_ij T(x_i), leaves of shape [N, ...]."""
    each = jax.vmap(likelihood.sufficient_statistics)(data())
    return jax.tree.map(lambda t: np.tensordot(matrix.T, np.asarray(t), 1), each)


def centered_statistics(matrix, likelihood):
    """The same sums about their means; 0 where nobody uses the source."""
    degree = np.maximum(matrix.sum(axis=0), 1e-30)[:, None]
    mean = matrix.T @ data() / degree
    scatter = np.einsum("ij,ijm->jm", matrix, (data()[:, None] - mean) ** 2)
    scalar = isinstance(likelihood, GaussianLikelihood)
    return CenteredStatistics(mean, scatter.sum(axis=1) if scalar else scatter)


def prior_of(matrix, log_assignments):
    """ln pi_i = ln sum_j A_ij gamma_j in numpy, [N, K]."""
    return np.log(matrix @ np.exp(log_assignments))


def assert_trees_close(left, right, rtol=1e-11, atol=1e-11):
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def all_finite(tree):
    return all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(tree))


# The two forms


@pytest.mark.parametrize("graph_strength", STRENGTHS)
@pytest.mark.parametrize("kind", ["uniform", "gaussian"])
def test_node_form_equals_tuple_form(likelihood, kind, graph_strength):
    parameters, weights = network(), graph_weights(kind)
    matrix = operator(weights, graph_strength)
    _, _, log_assignments = encode_all(parameters, likelihood)
    smoothed = matrix.T @ prior_of(matrix, log_assignments)
    expected = tuple_form(parameters, weights, graph_strength, likelihood)
    degree = matrix.sum(axis=0)
    raw = node_form(
        parameters, raw_statistics(matrix, likelihood), degree, smoothed, likelihood
    )
    assert_trees_close(raw, expected)
    if not isinstance(likelihood, Bernoulli):
        statistics = centered_statistics(matrix, likelihood)
        centered = node_form(parameters, statistics, degree, smoothed, likelihood)
        assert_trees_close(centered, expected)


@pytest.mark.parametrize("likelihood", ["bernoulli"], indirect=True)
@pytest.mark.parametrize("mistake", ["transpose", "prior of the source"])
def test_the_comparison_of_forms_notices_mistakes(likelihood, mistake):
    parameters, weights = network(), graph_weights("gaussian")
    matrix = operator(weights, 1.0)
    _, _, log_assignments = encode_all(parameters, likelihood)
    log_prior = prior_of(matrix, log_assignments)
    smoothed = matrix.T @ log_prior
    statistics = raw_statistics(matrix, likelihood)
    if mistake == "transpose":
        statistics = raw_statistics(matrix.T, likelihood)
    else:  # pi_jk in place of pi_ik, erratum E3
        smoothed = matrix.sum(axis=0)[:, None] * log_prior
    degree = matrix.sum(axis=0)
    (wrong, _), _ = node_form(parameters, statistics, degree, smoothed, likelihood)
    (right, _), _ = tuple_form(parameters, weights, 1.0, likelihood)
    assert abs(wrong - right) > 1e-3


@pytest.mark.parametrize("graph_strength", [0.5, 2.0])
def test_tuple_form_is_the_double_sum(likelihood, graph_strength):
    parameters, weights = network(), graph_weights("gaussian")
    matrix = operator(weights, graph_strength)
    decoded, posteriors, log_assignments = encode_all(parameters, likelihood)
    log_prior = prior_of(matrix, log_assignments)
    elbos = all_elbos(
        data(),
        decoded,
        posteriors,
        log_assignments,
        log_prior,
        mixture_of(parameters),
        likelihood,
    )
    (actual, terms), _ = tuple_form(parameters, weights, graph_strength, likelihood)
    np.testing.assert_allclose(actual, np.sum(matrix * elbos.total), rtol=1e-12)
    for term, each in zip(terms, elbos, strict=True):
        np.testing.assert_allclose(term, np.sum(matrix * each), rtol=1e-12)


@functools.partial(jax.jit, static_argnums=6)
def all_elbos(x, decoded, posteriors, log_assignments, log_prior, mixture, likelihood):
    """The terms of L(x_i; j), each of shape [N, N]."""

    def terms(x, log_prior, decoded, posterior, log_assignment):
        return dgg.elbo(
            x, decoded, posterior, log_assignment, log_prior, mixture, likelihood
        )

    over_sources = jax.vmap(terms, (None, None, 0, 0, 0))
    over_points = jax.vmap(over_sources, (0, 0, None, None, None))
    return over_points(x, log_prior, decoded, posteriors, log_assignments)


def test_node_objective_by_hand():
    # d = 1.5, t = (1, 0.5), logits 0: R = -1.5 * 2 ln 2. Components N(0, 1), N(2, 4),
    # q = N(1, 1), gamma = (1/4, 3/4): latent prior -1.8762989, entropies 1.4189385 and
    # 0.5623351; r = (-1, -2): 1/4 * -1 + 3/4 * -2 = -1.75.
    actual = dgg.node_objective(
        np.array([1.0, 0.5]),
        1.5,
        np.zeros(2),
        Gaussian(np.array([1.0]), np.array([0.0])),
        np.log([0.25, 0.75]),
        np.array([-1.0, -2.0]),
        Mixture(np.array([[0.0], [2.0]]), np.log([[1.0], [4.0]])),
        Bernoulli(),
    )
    expected = -3.0 * math.log(2.0) + 1.5 * 0.1049747 - 1.75
    np.testing.assert_allclose(actual, expected, atol=1e-6)


# The arguments of one tuple_objective, for the tests of a single point


def point_arguments(likelihood, i=0, parameters=None):
    parameters = network() if parameters is None else parameters
    decoded, posteriors, log_assignments = jax.tree.map(
        lambda leaf: np.asarray(leaf[i]), gather(encode_all(parameters, likelihood))
    )
    weights = graph_weights("gaussian")[i]
    mixture = mixture_of(parameters)
    return data()[i], decoded, posteriors, log_assignments, weights, mixture


@functools.partial(jax.jit, static_argnames="likelihood")
def point_objective(arguments, graph_strength, likelihood):
    return dgg.tuple_objective(*arguments, likelihood, graph_strength)


def test_permuting_neighbors_changes_nothing(likelihood):
    arguments = point_arguments(likelihood)
    order = np.array([0, 2, 1])
    x, decoded, posteriors, log_assignments, weights, mixture = arguments
    permuted = (
        x,
        *jax.tree.map(lambda a: a[order], (decoded, posteriors, log_assignments)),
        weights[::-1],
        mixture,
    )
    expected = point_objective(arguments, 1.0, likelihood)
    actual = point_objective(permuted, 1.0, likelihood)
    np.testing.assert_allclose(actual, expected, rtol=1e-13)
    mismatched = (*permuted[:4], weights, mixture)
    assert abs(point_objective(mismatched, 1.0, likelihood) - expected) > 1e-3


def test_permuting_clusters_changes_nothing(likelihood):
    arguments = point_arguments(likelihood)
    order = np.array([2, 0, 1])
    x, decoded, posteriors, log_assignments, weights, mixture = arguments
    permuted_mixture = jax.tree.map(lambda a: a[order], mixture)
    permuted = x, decoded, posteriors, log_assignments[:, order], weights
    np.testing.assert_allclose(
        point_objective((*permuted, permuted_mixture), 1.0, likelihood),
        point_objective(arguments, 1.0, likelihood),
        rtol=1e-13,
    )


def test_a_neighbor_of_weight_zero_changes_nothing(likelihood):
    x, decoded, posteriors, log_assignments, _, mixture = point_arguments(likelihood)
    sources = decoded, posteriors, log_assignments
    first = jax.tree.map(lambda a: a[:2], sources)
    without = point_objective((x, *first, np.ones(1), mixture), 1.5, likelihood)
    added = point_objective(
        (x, *sources, np.array([1.0, 0.0]), mixture), 1.5, likelihood
    )
    np.testing.assert_allclose(added, without, rtol=1e-13)


def test_by_default_the_graph_has_the_papers_strength(x64):
    *arguments, mixture = point_arguments(Bernoulli())
    log_assignments, weights = arguments[3:]
    for function, given in (
        (dgg.operator_weights, (weights,)),
        (dgg.update_prior, (log_assignments[0], log_assignments[1:], weights)),
        (dgg.tuple_terms, (*arguments, mixture, Bernoulli())),
        (dgg.tuple_objective, (*arguments, mixture, Bernoulli())),
    ):
        jax.tree.map(
            np.testing.assert_array_equal, function(*given), function(*given, 1.0)
        )


def test_without_a_graph_the_cluster_terms_cancel(likelihood):
    # graph_strength 0 makes pi_i = gamma_i (erratum E4) and ignores the neighbours.
    arguments = point_arguments(likelihood)
    x, decoded, posteriors, log_assignments, _, mixture = arguments
    own = jax.tree.map(lambda a: a[0], (decoded, posteriors, log_assignments))
    log_prior = special.log_softmax([0.3, -0.2, 1.0])
    terms = dgg.elbo(x, *own, log_prior, mixture, likelihood)
    actual = point_objective(arguments, 0.0, likelihood)
    np.testing.assert_allclose(
        actual,
        terms.reconstruction + terms.latent_prior + terms.latent_entropy,
        rtol=1e-12,
    )
    # VaDE's ELBO is the one with a global prior: J exceeds it by KL(gamma || pi).
    divergence = stats.entropy(np.exp(own[-1]), np.exp(log_prior))
    np.testing.assert_allclose(actual, terms.total + divergence, rtol=1e-12)


def test_one_cluster_leaves_a_smoothed_vae(likelihood):
    x, decoded, posteriors, _, weights, mixture = point_arguments(likelihood)
    single = jax.tree.map(lambda a: a[:1], mixture)
    arguments = x, decoded, posteriors, np.zeros((1 + S, 1)), weights, single
    actual = point_objective(arguments, 1.0, likelihood)
    reconstructions = jax.vmap(likelihood.log_prob, (None, 0))(x, decoded)
    component = Gaussian(*(np.tile(field, (1 + S, 1)) for field in single))
    divergences = distributions.gaussian_kl(posteriors, component)
    row = np.concatenate([[0.5], 0.5 * weights])
    expected = row @ np.asarray(reconstructions - divergences)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_the_objective_of_a_point_ignores_the_size_of_its_batch(likelihood):
    # A sum over the batch in one term and a mean in another would change the
    # prior's weight with the batch size.
    arguments = point_arguments(likelihood)
    one = point_objective(arguments, 1.0, likelihood)
    batch = jax.tree.map(lambda a: np.stack([a] * 7), arguments)
    over_batch = jax.vmap(
        lambda arguments: dgg.tuple_objective(*arguments, likelihood, 1.0)
    )
    many = jax.jit(over_batch)(batch)
    assert many.shape == (7,)
    np.testing.assert_allclose(many, one, rtol=1e-12)


# The prior

update_prior = jax.jit(dgg.update_prior)


def random_assignments(seed, num_sources=1 + S, num_clusters=4):
    rng = np.random.default_rng(seed)
    gammas = rng.dirichlet(np.ones(num_clusters), size=num_sources)
    return gammas, rng.dirichlet(np.ones(num_sources - 1))


def test_update_prior_by_hand():
    # gamma_i = (0.9, 0.1), one neighbour (0.2, 0.8): eta 1 gives the mean of the two.
    own, neighbor = np.log([0.9, 0.1]), np.log([[0.2, 0.8]])
    weights = np.ones(1)
    for strength, expected in [
        (0.0, [0.9, 0.1]),
        (0.5, [0.725, 0.275]),
        (1.0, [0.55, 0.45]),
        (2.0, [0.2, 0.8]),
    ]:
        actual = np.exp(update_prior(own, neighbor, weights, strength))
        np.testing.assert_allclose(actual, expected, rtol=1e-12)
    default = update_prior(own, neighbor, weights)
    np.testing.assert_allclose(np.exp(default), [0.55, 0.45], rtol=1e-12)
    # Eq. (31) as printed gives (9/11, 1/9), which is not a distribution (erratum E2).
    printed = np.array([0.9, 0.1]) / np.array([0.9 + 0.2, 0.1 + 0.8])
    assert abs(printed.sum() - 1.0) > 0.05


@pytest.mark.parametrize("graph_strength", STRENGTHS)
def test_update_prior_maximises_equation_30(graph_strength):
    gammas, weights = random_assignments(3)
    row = np.concatenate([[1.0 - graph_strength / 2.0], graph_strength / 2.0 * weights])

    def negative(logits):
        log_prior = special.log_softmax(logits)
        return -sum(a * gamma @ log_prior for a, gamma in zip(row, gammas, strict=True))

    solution = optimize.minimize(negative, np.zeros(gammas.shape[1]), tol=1e-10)
    actual = np.exp(
        update_prior(np.log(gammas[0]), np.log(gammas[1:]), weights, graph_strength)
    )
    np.testing.assert_allclose(actual.sum(), 1.0, rtol=1e-12)
    np.testing.assert_allclose(actual, special.softmax(solution.x), atol=1e-5)
    assert negative(np.log(actual)) <= solution.fun + 1e-12


@pytest.mark.parametrize("graph_strength", STRENGTHS)
def test_update_prior_of_one_hot_assignments_is_finite(graph_strength):
    own, neighbors = ONE_HOT, np.stack([ONE_HOT, np.roll(ONE_HOT, 1)])
    weights = np.array([0.25, 0.75])
    actual = update_prior(own, neighbors, weights, graph_strength)
    assert np.all(np.isfinite(actual))
    second = 0.75 * graph_strength / 2.0
    np.testing.assert_allclose(
        np.exp(actual), [1.0 - second, second, 0.0], rtol=1e-12, atol=1e-300
    )


def test_gradient_through_the_prior_vanishes(likelihood):
    # pi maximises the objective, so stopping its gradient loses nothing.
    parameters, weights = network(), graph_weights("gaussian")
    _, stopped = tuple_form(parameters, weights, 1.0, likelihood)

    def with_gradient(parameters, prior_parameters):
        decoded, posteriors, log_assignments = gather(
            encode_all(parameters, likelihood)
        )
        _, _, prior_assignments = gather(encode_all(prior_parameters, likelihood))

        def of_point(x, decoded, posteriors, log_assignments, gammas, weights):
            log_prior = dgg.update_prior(gammas[0], gammas[1:], weights)

            def of_source(decoded, posterior, log_assignment):
                return dgg.elbo(
                    x,
                    decoded,
                    posterior,
                    log_assignment,
                    log_prior,
                    mixture_of(parameters),
                    likelihood,
                ).total

            elbos = jax.vmap(of_source)(decoded, posteriors, log_assignments)
            return dgg.operator_weights(weights) @ elbos

        return jnp.sum(
            jax.vmap(of_point)(
                data(), decoded, posteriors, log_assignments, prior_assignments, weights
            )
        )

    both, through_prior = jax.jit(jax.grad(with_gradient, argnums=(0, 1)))(
        parameters, parameters
    )
    assert_trees_close(both, stopped)
    for leaf in jax.tree.leaves(through_prior):
        np.testing.assert_allclose(leaf, 0.0, atol=1e-12)


def test_objectives_pass_no_gradient_through_the_prior(likelihood):
    # One-hot assignments make ln pi's own gradient infinite; it must not be asked for.
    x, decoded, posteriors, _, weights, mixture = point_arguments(likelihood)
    log_assignments = np.stack([ONE_HOT] * 3)
    gradient = jax.jit(jax.grad(point_objective), static_argnums=2)(
        (x, decoded, posteriors, log_assignments, weights, mixture), 1.0, likelihood
    )
    assert all_finite(gradient)

    def node(smoothed_log_prior):
        return dgg.node_objective(
            likelihood.sufficient_statistics(x),
            1.0,
            jax.tree.map(lambda a: a[0], decoded),
            jax.tree.map(lambda a: a[0], posteriors),
            np.log([0.2, 0.3, 0.5]),
            smoothed_log_prior,
            mixture,
            likelihood,
        )

    gradient = jax.jit(jax.grad(node))(np.array([-1.0, -2.0, -3.0]))
    np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("graph_strength", [0.0, 0.5, 2.0])
def test_operator_weights_sum_to_one(graph_strength):
    row = dgg.operator_weights(np.array([0.25, 0.75]), graph_strength)
    half = graph_strength / 2.0
    np.testing.assert_allclose(row, [1.0 - half, 0.25 * half, 0.75 * half])
    np.testing.assert_allclose(row.sum(), 1.0, rtol=1e-12)


# The bounds, by quadrature in one dimension


@pytest.mark.parametrize("graph_strength", STRENGTHS)
def test_objective_bounds_the_evidence_less_the_divergences(
    line_models, node_weights, graph_strength
):
    num_points = len(line_models[0].x)
    indices = np.array([[1, 2], [0, 3], [0, 1], [2, 0]])
    weights = np.random.default_rng(4).dirichlet(np.ones(2), size=num_points)
    adjacency = np.zeros((num_points, num_points))
    np.put_along_axis(adjacency, indices, weights, axis=1)
    half = graph_strength / 2.0
    matrix = (1.0 - half) * np.eye(num_points) + half * adjacency
    for model in line_models[:2]:
        # A stale table of gammas gives pi; the bound holds for any pi.
        log_prior = prior_of(matrix, model.log_assignment(model.posterior.mean[:, 0]))
        statistics = jax.tree.map(
            lambda t: np.tensordot(matrix.T, np.asarray(t), 1),
            jax.vmap(model.likelihood.sufficient_statistics)(model.x),
        )
        z = model.nodes()
        shares = node_shares(
            statistics,
            matrix.sum(axis=0),
            model.decode(z),
            model.posterior,
            model.log_assignment(z),
            matrix.T @ log_prior,
            model.mixture,
            model.likelihood,
        )
        objective = np.sum(np.asarray(shares) @ node_weights)
        elbos = model.mean_elbos(log_prior)
        np.testing.assert_allclose(objective, np.sum(matrix * elbos), rtol=1e-10)
        evidence = sum(map(model.log_evidence, model.x, log_prior))
        assert objective <= evidence + 1e-9
        if graph_strength <= 1.0:
            divergence = sum(
                adjacency[i, j] * model.jensen_shannon(i, j)
                for i, j in itertools.product(range(num_points), repeat=2)
            )
            assert objective <= evidence - graph_strength * divergence + 1e-9


@functools.partial(jax.jit, static_argnums=7)
def node_shares(
    statistics,
    degree,
    decoded,
    posterior,
    log_assignment,
    smoothed_log_prior,
    mixture,
    likelihood,
):
    """node_objective of every source at every node, [N, M]."""
    over_nodes = jax.vmap(
        dgg.node_objective, (None, None, 0, None, 0, None, None, None)
    )
    over_sources = jax.vmap(over_nodes, (0, 0, 0, 0, 0, 0, None, None))
    return over_sources(
        statistics,
        degree,
        decoded,
        posterior,
        log_assignment,
        smoothed_log_prior,
        mixture,
        likelihood,
    )


def test_jensen_shannon_is_below_its_bound(line_models):
    for model in line_models:
        elbos = model.mean_elbos(model.common_prior())
        for i, j in itertools.permutations(range(len(model.x)), 2):
            bound = dgg.jensen_shannon_bound(
                model.log_evidence(model.x[i], model.log_prior),
                elbos[i, i],
                elbos[i, j],
            )
            assert bound >= model.jensen_shannon(i, j) - 1e-9


def test_jensen_shannon_bound_by_hand():
    assert dgg.jensen_shannon_bound(-1.0, -2.0, -5.0) == 2.5


@pytest.mark.parametrize("likelihood", ["bernoulli"], indirect=True)
def test_clusters_cancel_in_the_divergence_of_joint_posteriors(line_models, grid):
    # Erratum E17: JS of q(z | x) q(c | z) over (z, c) is that of q(z | x) alone.
    # Quantiles of the normal in place of random draws.
    eps = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)[:, None]
    estimate = jax.jit(distributions.jensen_shannon)
    for model in line_models:
        gammas = model.log_assignment(grid)
        joint = joint_jensen_shannon(model, grid, (0, 1), (gammas, gammas))
        np.testing.assert_allclose(joint, model.jensen_shannon(0, 1), atol=1e-12)
        p, q = (jax.tree.map(lambda a, j=j: a[j], model.posterior) for j in range(2))
        np.testing.assert_allclose(estimate(p, q, eps), joint, atol=1e-4)


@pytest.mark.parametrize("likelihood", ["bernoulli"], indirect=True)
def test_clusters_do_not_cancel_with_assignments_of_the_means(line_models, grid):
    # Erratum E17: the posterior that is trained is q(z | x) q(c | x), by E13.
    for model in line_models:
        gammas = model.log_assignment(model.posterior.mean)  # [N, 1, K]
        of_nodes = np.repeat(gammas[:, 0, None], model.nodes().shape[1], axis=1)
        elbos = model.mean_elbos(model.common_prior(), log_assignment=of_nodes)
        for i, j in itertools.permutations(range(len(model.x)), 2):
            joint = joint_jensen_shannon(model, grid, (i, j), (gammas[i], gammas[j]))
            evidence = model.log_evidence(model.x[i], model.log_prior)
            bound = dgg.jensen_shannon_bound(evidence, elbos[i, i], elbos[i, j])
            assert bound >= joint - 1e-9
            assert joint > model.jensen_shannon(i, j)


def joint_jensen_shannon(model, grid, points, log_gammas):
    """JS of q(z | x_i) gamma_i and q(z | x_j) gamma_j; these are [M or 1, K]."""
    log_p, log_q = (
        model.log_posterior(j, grid)[:, None] + log_gamma
        for j, log_gamma in zip(points, log_gammas, strict=True)
    )
    log_m = np.logaddexp(log_p, log_q) - math.log(2.0)
    integrand = np.exp(log_p) * (log_p - log_m) + np.exp(log_q) * (log_q - log_m)
    return 0.5 * integrate.trapezoid(integrand.sum(axis=-1), grid)


log_evidence_draws = jax.jit(dgg.log_evidence, static_argnums=6)


def test_log_evidence_matches_quadrature(line_models):
    eps = np.random.default_rng(5).normal(size=20_000)
    for model in line_models[:2]:
        for x in model.x[:2]:
            # A wide proposal keeps the weights' variance finite.
            posterior = Gaussian(np.array([0.0]), np.array([2.5]))
            z = math.exp(1.25) * eps
            actual = log_evidence_draws(
                x,
                model.decode(z),
                z[:, None],
                posterior,
                model.log_prior,
                model.mixture,
                model.likelihood,
            )
            log_weights = model.log_likelihood(x, z) + special.logsumexp(
                model.log_prior + model.log_components(z), axis=-1
            )
            ratio = np.exp(log_weights - stats.norm.logpdf(z, 0.0, math.exp(1.25)))
            error = ratio.std() / ratio.mean() / math.sqrt(len(ratio))
            assert error < 0.05
            expected = model.log_evidence(x, model.log_prior)
            assert abs(actual - expected) < 5.0 * error
            np.testing.assert_allclose(actual, math.log(ratio.mean()), rtol=1e-10)


def test_everything_is_tight_for_equal_points_and_exact_posteriors(node_weights):
    # A linear Gaussian model with K = 1 and three equal points: no divergence, no gap.
    a, b, x = np.random.default_rng(6).normal(size=(3, D))
    m, s, variance = 0.7, 2.0, 0.3
    precision = 1.0 / s + a @ a / variance
    mean = (m / s + a @ (x - b) / variance) / precision
    posterior = Gaussian(np.array([mean]), -np.log([precision]))
    mixture = Mixture(np.array([[m]]), np.log([[s]]))
    nodes, _ = np.polynomial.hermite_e.hermegauss(len(node_weights))
    decoded = (mean + nodes / math.sqrt(precision))[:, None] * a + b

    def objective(decoded):
        return dgg.tuple_objective(
            x,
            jnp.tile(decoded, (3, 1)),
            jax.tree.map(lambda leaf: jnp.tile(leaf, (3, 1)), posterior),
            jnp.zeros((3, 1)),
            np.array([0.25, 0.75]),
            mixture,
            GaussianLikelihood(variance=variance),
            1.0,
        )

    evidence = stats.multivariate_normal(
        a * m + b, s * np.outer(a, a) + variance * np.eye(D)
    ).logpdf(x)
    actual = node_weights @ np.asarray(jax.jit(jax.vmap(objective))(decoded))
    np.testing.assert_allclose(actual, evidence, rtol=1e-10)
    bound = dgg.jensen_shannon_bound(evidence, actual, actual)
    np.testing.assert_allclose(bound, 0.0, atol=1e-9)


# Numerics


def test_gradient_matches_differences(likelihood):
    # The differences see pi move with gamma, the gradient does not: they agree
    # because pi is at its maximum.
    x, decoded, posteriors, log_assignments, weights, mixture = point_arguments(
        likelihood
    )

    def objective(decoded, posteriors, logits, mixture):
        log_gammas = jax.nn.log_softmax(logits)
        return dgg.tuple_objective(
            x, decoded, posteriors, log_gammas, weights, mixture, likelihood
        )

    arguments = decoded, posteriors, log_assignments, mixture
    check_grads(jax.jit(objective), arguments, order=1, modes=["rev"])

    def share(decoded, posterior, logits, mixture):
        return dgg.node_objective(
            likelihood.sufficient_statistics(x),
            1.3,
            decoded,
            posterior,
            jax.nn.log_softmax(logits),
            np.array([-1.0, -2.0, -3.0]),
            mixture,
            likelihood,
        )

    own = jax.tree.map(lambda a: a[0], arguments[:3])
    check_grads(jax.jit(share), (*own, mixture), order=1, modes=["rev"])


@functools.partial(jax.jit, static_argnums=2)
@functools.partial(jax.value_and_grad, argnums=(0, 1))
def both_forms(tuple_arguments, node_arguments, likelihood):
    return dgg.tuple_objective(*tuple_arguments, likelihood) + dgg.node_objective(
        *node_arguments, likelihood
    )


@pytest.mark.parametrize("posterior_logvar", [-20.0, 20.0])
@pytest.mark.parametrize("component_logvar", [-20.0, 20.0])
@pytest.mark.parametrize("logit", [-50.0, 50.0])
def test_finite_in_float32_at_the_edges(
    likelihood, posterior_logvar, component_logvar, logit
):
    # Pixels 0 and 1, one-hot assignments that disagree, equal component means.
    decoded = np.full((3, 2), logit)
    if isinstance(likelihood, LearnedVarianceGaussian):
        decoded = Gaussian(decoded / 50.0, 0.4 * decoded)
    x, weights = np.array([0.0, 1.0]), np.array([1.0, 0.0])
    posteriors = Gaussian(np.zeros((3, L)), np.full((3, L), posterior_logvar))
    log_assignments = np.stack([ONE_HOT, np.roll(ONE_HOT, 1), np.roll(ONE_HOT, 2)])
    mixture = Mixture(np.zeros((K, L)), np.full((K, L), component_logvar))
    first = jax.tree.map(lambda a: a[0], (decoded, posteriors, log_assignments))
    tuple_arguments = x, decoded, posteriors, log_assignments, weights, mixture
    statistics = likelihood.sufficient_statistics(x)
    smoothed = np.asarray(distributions.floor_log(jnp.float32(ONE_HOT)))
    node_arguments = statistics, 1.0, *first, smoothed, mixture
    value, gradients = both_forms(
        *jax.tree.map(jnp.float32, (tuple_arguments, node_arguments)), likelihood
    )
    assert value.dtype == jnp.float32
    assert all_finite((value, gradients))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(likelihood, dtype):
    arguments = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(np.shape(a), dtype), point_arguments(likelihood)
    )
    x, decoded, posteriors, log_assignments, weights, mixture = arguments
    own = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape[1:], dtype),
        (decoded, posteriors, log_assignments),
    )
    scalar = jax.ShapeDtypeStruct((), dtype)
    clusters = jax.ShapeDtypeStruct((K,), dtype)
    z = jax.ShapeDtypeStruct((1 + S, L), dtype)
    statistics = jax.eval_shape(likelihood.sufficient_statistics, x)
    static = {"likelihood": likelihood}

    def shape_of(function, *arguments, **static):
        result = jax.eval_shape(functools.partial(function, **static), *arguments)
        return result.shape, result.dtype

    assert shape_of(dgg.tuple_objective, *arguments, **static) == ((), dtype)
    node = statistics, scalar, *own, clusters, mixture
    assert shape_of(dgg.node_objective, *node, **static) == ((), dtype)
    prior = own[2], log_assignments, jax.ShapeDtypeStruct((1 + S,), dtype)
    assert shape_of(dgg.update_prior, *prior) == ((K,), dtype)
    assert shape_of(dgg.operator_weights, weights) == ((1 + S,), dtype)
    assert shape_of(dgg.jensen_shannon_bound, scalar, scalar, scalar) == ((), dtype)
    evidence = x, decoded, z, own[1], clusters, mixture
    assert shape_of(dgg.log_evidence, *evidence, **static) == ((), dtype)


def test_batch_equals_loop_and_jit_equals_no_jit(likelihood):
    parameters, weights = network(), graph_weights("gaussian")
    (batch, _), _ = tuple_form(parameters, weights, 0.5, likelihood)
    loop = [
        point_objective(point_arguments(likelihood, i), 0.5, likelihood)
        for i in range(N)
    ]
    np.testing.assert_allclose(batch, np.sum(loop), rtol=1e-12)
    eager = dgg.tuple_objective(*point_arguments(likelihood), likelihood, 0.5)
    np.testing.assert_allclose(eager, loop[0], rtol=1e-12)


def test_one_trace_serves_every_graph_strength():
    traces = 0

    @functools.partial(jax.jit, static_argnums=2)
    def counted(arguments, graph_strength, likelihood):
        nonlocal traces
        traces += 1
        return dgg.tuple_objective(*arguments, likelihood, graph_strength)

    for i, strength in enumerate(STRENGTHS):
        likelihood = GaussianLikelihood(variance=0.5)
        counted(point_arguments(likelihood, i), strength, likelihood)
    assert traces == 1
