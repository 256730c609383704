"""LTVAE: latent trees by enumeration, VaDE's mixture as one of them, EM, draws."""

import itertools

import jax
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import special, stats

from dgg_jax.distributions import mixture_log_prob, responsibilities
from dgg_jax.likelihoods import GaussianLikelihood
from dgg_jax.losses import ltvae
from dgg_jax.losses.ltvae import LatentTree, Statistics, Structure
from dgg_jax.types import Gaussian, Mixture

STRUCTURES = {
    "chain": ([0, 0, 1], [3, 2, 3], [0, 1, 2, 1, 2], [0, 1, 2, 1, 4]),
    "star": ([0, 0, 0], [2, 3, 2], [1, 1, 2, 0, 0], [0, 0, 2, 3, 3]),
    "bare root": ([0, 0, 0], [3, 2, 3], [1, 1, 1, 2, 2], [0, 0, 0, 3, 4]),
    "one is not there": ([0, 0, 0], [3, 2, 1], [0, 0, 1, 1, 0], [0, 0, 2, 3, 0]),
}
log_density = jax.jit(ltvae.log_density)
log_joints = jax.jit(ltvae.log_joints)
log_posteriors = jax.jit(ltvae.log_posteriors)
maximized = jax.jit(ltvae.maximized)
expected = jax.jit(jax.vmap(ltvae.expected_statistics, (0, None, None)))


def structure_of(name):
    return Structure(*map(np.array, STRUCTURES[name]))


def random_tree(structure, seed):
    """Probabilities and Gaussians as numpy has them, and the tree of these."""
    random = np.random.default_rng(seed)
    num_variables, num_states = len(structure.states), max(structure.states)
    size = len(structure.owners)
    conditionals = np.zeros((num_variables, num_states, num_states))
    means = np.zeros((num_variables, num_states, size))
    whitenings = np.zeros((num_variables, num_states, size, size))
    gaussians = {}
    for v, states in enumerate(structure.states):
        rows = 1 if v == 0 else num_states
        conditionals[v, :, :states] = random.dirichlet(np.full(states, 2.0), rows)
        for pouch in np.unique(structure.pouches[structure.owners == v]):
            own = np.flatnonzero(structure.pouches == pouch)
            for k in range(states):
                factor = random.normal(size=(len(own), len(own)))
                covariance = factor @ factor.T + 0.1 * np.eye(len(own))
                mean = 2.0 * random.normal(size=len(own))
                means[v, k, own] = mean
                block = np.linalg.inv(np.linalg.cholesky(covariance))
                whitenings[v, k][np.ix_(own, own)] = block
                gaussians[pouch, k] = own, mean, covariance
    with np.errstate(divide="ignore"):
        tree = LatentTree(np.log(conditionals), means, whitenings)
    return conditionals, gaussians, tree


def log_joint_by_enumeration(z, structure, conditionals, gaussians):
    """ln p(z, y) of every y, shape [K_0, K_1, ...]."""
    values = np.zeros(structure.states)
    for y in itertools.product(*map(range, structure.states)):
        value = np.log(conditionals[0, 0, y[0]])
        for v in range(1, len(y)):
            value += np.log(conditionals[v, y[structure.parents[v]], y[v]])
        for pouch in np.unique(structure.pouches):
            owner = structure.owners[pouch]
            own, mean, covariance = gaussians[pouch, y[owner]]
            value += stats.multivariate_normal.logpdf(z[own], mean, covariance)
        values[y] = value
    return values


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("seed", range(3))
def test_messages_sum_over_all_states(x64, name, seed):
    structure = structure_of(name)
    conditionals, gaussians, tree = random_tree(structure, seed)
    z = np.random.default_rng(seed + 100).normal(size=5)
    enumerated = log_joint_by_enumeration(z, structure, conditionals, gaussians)
    value = log_density(z, tree, structure)
    np.testing.assert_allclose(value, special.logsumexp(enumerated), rtol=1e-10)

    posterior = special.softmax(enumerated)
    joints = np.exp(log_joints(z, tree, structure))
    posteriors = np.exp(log_posteriors(z, tree, structure))
    for v, parent in enumerate(structure.parents):
        states = structure.states[v]
        others = tuple(u for u in range(3) if u != v)
        marginal = posterior.sum(axis=others)
        np.testing.assert_allclose(posteriors[v, :states], marginal, atol=1e-12)
        np.testing.assert_array_equal(posteriors[v, states:], 0.0)
        if v:
            others = tuple(u for u in range(3) if u not in (v, parent))
            pairs = posterior.sum(axis=others)  # parent's smaller number first
            found = joints[v, : structure.states[parent], :states]
            np.testing.assert_allclose(found, pairs, atol=1e-12)
    np.testing.assert_allclose(joints.sum(axis=(1, 2)), 1.0, rtol=1e-12)


def test_the_counts_are_the_slopes_of_the_density(x64):
    """d ln p(z) / d ln p(y_v | y_parent), each of them free, is p(both | z)."""
    structure = structure_of("chain")
    *_, tree = random_tree(structure, 5)
    tree = tree._replace(log_conditionals=np.maximum(tree.log_conditionals, -50.0))
    z = np.random.default_rng(0).normal(size=5)
    slopes = jax.jit(jax.grad(ltvae.log_density, argnums=1))(z, tree, structure)
    found = np.exp(log_joints(z, tree, structure))
    np.testing.assert_allclose(slopes.log_conditionals, found, atol=1e-10)


def test_a_root_alone_is_the_mixture_of_vade(x64):
    random = np.random.default_rng(0)
    z, mean, logvar = random.normal(size=4), *random.normal(size=(2, 3, 4))
    log_weights = np.log(random.dirichlet(np.ones(3)))
    mixture = Mixture(mean, logvar)
    structure = Structure(
        np.zeros(1, int), np.array([3]), np.zeros(4, int), np.arange(4)
    )
    tree = LatentTree(
        np.tile(log_weights, (1, 3, 1)),
        mean[None],
        (np.exp(-0.5 * logvar)[:, :, None] * np.eye(4))[None],
    )
    in_one_pouch = structure._replace(pouches=np.zeros(4, int))
    for of in (structure, in_one_pouch):
        value, slope = jax.jit(jax.value_and_grad(ltvae.log_density))(z, tree, of)
        expected, slope_of_vade = jax.jit(jax.value_and_grad(mixture_log_prob))(
            z, log_weights, mixture
        )
        np.testing.assert_allclose(value, expected, rtol=1e-13)
        np.testing.assert_allclose(slope, slope_of_vade, rtol=1e-12)
        np.testing.assert_allclose(
            log_posteriors(z, tree, of)[0],
            jax.jit(responsibilities)(z, log_weights, mixture),
            rtol=1e-12,
        )
    moments = jax.jit(ltvae.moments)(tree, structure)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-12),
        moments,
        Gaussian(mean, logvar),
    )


@pytest.mark.parametrize("name", STRUCTURES)
def test_gradients_match_differences(x64, name):
    structure = structure_of(name)
    *_, tree = random_tree(structure, 1)
    z = np.random.default_rng(1).normal(size=5)
    check_grads(lambda z: log_density(z, tree, structure), (z,), order=2)


def test_far_away_all_is_finite():
    structure = structure_of("chain")
    *_, tree = random_tree(structure, 1)
    tree = jax.tree.map(np.float32, tree)
    z = np.full(5, 1e4, np.float32)
    value, slope = jax.jit(jax.value_and_grad(ltvae.log_density))(z, tree, structure)
    assert np.isfinite(value) and np.isfinite(slope).all()
    posteriors = np.asarray(log_posteriors(z, tree, structure))
    assert not np.isnan(posteriors).any()
    np.testing.assert_allclose(np.exp(posteriors).sum(axis=1), 1.0, rtol=1e-5)


# EM


def mean_statistics(z, tree, structure):
    return jax.tree.map(lambda leaf: leaf.mean(axis=0), expected(z, tree, structure))


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_step_of_em_raises_the_likelihood(x64, name):
    structure = structure_of(name)
    *_, tree = random_tree(structure, 2)
    z = np.random.default_rng(2).normal(size=(200, 5)) ** 2
    values = []
    for _ in range(15):
        each = jax.vmap(log_density, (0, None, None))(z, tree, structure)
        values.append(float(each.sum()))
        tree = maximized(mean_statistics(z, tree, structure), structure, 1e-12)
    assert (np.diff(values) > -1e-8).all()
    assert values[-1] > values[0] + 100


def test_the_numbers_of_known_labels_by_hand(x64):
    """Shares, means and covariances of points whose variables are known."""
    structure = structure_of("one is not there")
    z = np.random.default_rng(0).normal(size=(60, 5))
    labels = np.stack([np.arange(60) % 3, np.arange(60) // 7 % 2, np.zeros(60)], axis=1)
    labels = labels.astype(int)
    of_labels = jax.jit(ltvae.statistics_of_labels, static_argnums=3)
    each = jax.vmap(lambda z, y: of_labels(z, y, structure, 3))(z, labels)
    statistics = jax.tree.map(lambda leaf: leaf.mean(axis=0), each)
    tree = maximized(statistics, structure, 0.0)
    conditionals = np.exp(tree.log_conditionals)
    np.testing.assert_allclose(conditionals[0], 1 / 3, rtol=1e-12)
    for k in range(3):
        share = labels[labels[:, 0] == k, 1].mean()
        np.testing.assert_allclose(conditionals[1, k], [1 - share, share, 0.0])
    np.testing.assert_allclose(conditionals[2], np.tile([1.0, 0.0, 0.0], (3, 1)))
    first = z[labels[:, 0] == 1][:, [0, 1, 4]]
    np.testing.assert_allclose(tree.means[0, 1, [0, 1, 4]], first.mean(axis=0))
    whitening = np.asarray(tree.whitenings[0, 1])[np.ix_([0, 1, 4], [0, 1, 4])]
    covariance = np.cov(first.T, bias=True)
    np.testing.assert_allclose(np.linalg.inv(whitening.T @ whitening), covariance)
    second = z[labels[:, 1] == 1]
    scales = np.diagonal(tree.whitenings[1, 1])
    np.testing.assert_allclose(scales[[2, 3]], 1 / second[:, [2, 3]].std(axis=0))
    np.testing.assert_array_equal(scales[[0, 1, 4]], 0.0)
    assert tree.whitenings[1, 1, 3, 2] == 0.0  # of two pouches
    np.testing.assert_array_equal(tree.means[2], 0.0)


def test_stepwise_em_rests_where_em_does(x64):
    """At the fixed point of EM the whole data, as a batch, change nothing."""
    structure = structure_of("chain")
    *_, tree = random_tree(structure, 3)
    z = np.random.default_rng(3).normal(size=(100, 5)) ** 2
    for _ in range(2000):
        statistics = mean_statistics(z, tree, structure)
        tree = maximized(statistics, structure, 1e-6)
    after = ltvae.stepwise(
        statistics, mean_statistics(z, tree, structure), np.float64(7.0), 0.7
    )
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, atol=1e-6),
        after,
        statistics,
    )


def test_the_weight_of_a_batch_by_hand(x64):
    shapes = (2, 3, 3), (2, 3, 4), (2, 3, 4, 4)
    zeros, ones = (Statistics(*map(fill, shapes)) for fill in (np.zeros, np.ones))
    for step, exponent, rate in ((0, 1.0, 0.5), (2, 0.5, 0.5), (7, 0.5, 1 / 3)):
        after = ltvae.stepwise(zeros, ones, np.float64(step), exponent)
        for leaf in after:
            np.testing.assert_allclose(leaf, rate, rtol=1e-14)
    # With rho = 1 after statistics that count as one batch: the mean of all.
    random = np.random.default_rng(0)
    batches = random.normal(size=(5, 3))
    mean = Statistics(*(np.full(shape, batches[0, 0]) for shape in shapes))
    for step, batch in enumerate(batches[1:, 0]):
        one = Statistics(*(np.full(shape, batch) for shape in shapes))
        mean = ltvae.stepwise(mean, one, np.float64(step), 1.0)
    np.testing.assert_allclose(mean.sums, batches[:, 0].mean(), rtol=1e-12)


# What hangs together


def test_the_elbo_is_the_sum_of_its_terms(x64):
    random = np.random.default_rng(0)
    x, decoded = random.normal(size=(2, 3))
    posterior = Gaussian(*random.normal(size=(2, 2)))
    terms = ltvae.elbo(x, decoded, posterior, -1.5, GaussianLikelihood(0.5))
    log_prob = stats.norm.logpdf(x, decoded, np.sqrt(0.5)).sum()
    entropy = stats.norm.entropy(scale=np.exp(0.5 * posterior.logvar)).sum()
    np.testing.assert_allclose(terms.total, log_prob - 1.5 + entropy, rtol=1e-12)
    np.testing.assert_allclose(terms.latent_prior, -1.5)


@pytest.mark.parametrize("name", STRUCTURES)
def test_draws_have_the_moments_of_the_states_of_the_root(x64, name):
    structure = structure_of(name)
    *_, tree = random_tree(structure, 4)
    mean, logvar = jax.jit(ltvae.moments)(tree, structure)
    keys = jax.random.split(jax.random.key(0), 20_000)
    draw = jax.jit(jax.vmap(ltvae.draw, (None, None, None, 0)))
    for root in range(structure.states[0]):
        z = np.asarray(draw(tree, structure, root, keys))
        error = z.std(axis=0) / np.sqrt(len(z))
        assert (np.abs(z.mean(axis=0) - mean[root]) < 5 * error).all()
        squared = (z - z.mean(axis=0)) ** 2
        error = squared.std(axis=0) / np.sqrt(len(z))
        assert (np.abs(z.var(axis=0) - np.exp(logvar[root])) < 5 * error).all()


def test_what_hangs_below_a_bare_root_is_a_mixture_by_hand(x64):
    structure = Structure(
        np.zeros(2, int), np.array([2, 2]), np.array([1]), np.array([0])
    )
    conditionals = np.log([[[0.3, 0.7]] * 2, [[0.9, 0.1], [0.2, 0.8]]])
    means = np.zeros((2, 2, 1))
    means[1, :, 0] = -1.0, 2.0
    whitenings = np.zeros((2, 2, 1, 1))
    whitenings[1, :, 0, 0] = 1.0, 2.0
    tree = LatentTree(conditionals, means, whitenings)
    grid = np.linspace(-12.0, 12.0, 2001)[:, None]
    values = jax.vmap(log_density, (0, None, None))(grid, tree, structure)
    np.testing.assert_allclose(np.trapezoid(np.exp(values), grid[:, 0]), 1.0, rtol=1e-9)
    weights = np.array([0.3 * 0.9 + 0.7 * 0.2, 0.3 * 0.1 + 0.7 * 0.8])
    normal = stats.norm.pdf(grid, [-1.0, 2.0], [1.0, 0.5]) @ weights
    np.testing.assert_allclose(np.exp(values), normal, rtol=1e-9, atol=1e-300)
