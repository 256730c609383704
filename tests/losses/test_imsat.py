"""IMSAT: information by hand, the adversarial direction where it is known, edges."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import special, stats
from sklearn.metrics import mutual_info_score

from dgg_jax.checks import InvalidInput
from dgg_jax.losses import imsat
from dgg_jax.losses.imsat import MutualInformation

information = jax.jit(imsat.mutual_information)
divergence = jax.jit(imsat.perturbation_divergence)


def random_assignments(num_points=6, num_clusters=4, seed=0):
    logits = np.random.default_rng(seed).normal(size=(num_points, num_clusters))
    return special.log_softmax(logits, axis=1)


def linear(params, x):
    """p(y | x) of two clusters whose log-odds are linear in x."""
    logits = x @ params
    return jax.nn.log_sigmoid(jnp.stack([logits, -logits], axis=1))


def network(params, x):
    hidden, output = params
    return jax.nn.log_softmax(jnp.tanh(x @ hidden) @ output, axis=1)


@functools.partial(jax.jit, static_argnames=("classify", "probe", "num_iterations"))
def perturbation(classify, params, x, radius, seed=0, probe=1.0, num_iterations=1):
    return imsat.adversarial_perturbation(
        classify,
        params,
        x,
        radius,
        jax.random.key(seed),
        probe=probe,
        num_iterations=num_iterations,
    )


def random_network(num_points=5, seed=0):
    rng = np.random.default_rng(seed)
    params = rng.normal(size=(3, 8)), 2.0 * rng.normal(size=(8, 4))
    return params, rng.normal(size=(num_points, 3)), rng.uniform(0.1, 1.0, num_points)


# Mutual information


def test_mutual_information_by_hand(x64):
    # p(y) = (1/2, 1/2); H(Y | x) = 0, 0 and ln 2.
    log_q = np.array([[0.0, -np.inf], [-np.inf, 0.0], [-math.log(2)] * 2])
    terms = information(log_q)
    np.testing.assert_allclose(terms.marginal_entropy, math.log(2), rtol=1e-14)
    np.testing.assert_allclose(terms.conditional_entropy, math.log(2) / 3, rtol=1e-14)
    np.testing.assert_allclose(terms.total, 2 * math.log(2) / 3, rtol=1e-14)


def test_mutual_information_matches_scipy(x64):
    log_q = random_assignments()
    q = np.exp(log_q)
    terms = information(log_q)
    np.testing.assert_allclose(
        terms.marginal_entropy, stats.entropy(q.mean(axis=0)), rtol=1e-12
    )
    np.testing.assert_allclose(
        terms.conditional_entropy, stats.entropy(q, axis=1).mean(), rtol=1e-12
    )
    # I(X; Y) is the mean divergence of p(y | x) from p(y).
    expected = np.mean([stats.entropy(row, q.mean(axis=0)) for row in q])
    np.testing.assert_allclose(terms.total, expected, rtol=1e-12)


def test_mutual_information_of_labels_is_scikit_learns(x64):
    labels = np.array([0, 2, 1, 1, 2, 2, 0])
    with np.errstate(divide="ignore"):
        log_q = np.log(np.eye(4)[labels])
    np.testing.assert_allclose(
        information(log_q).total, mutual_info_score(labels, np.arange(7)), rtol=1e-12
    )


def test_equal_rows_have_no_information_and_all_clusters_the_most(x64):
    same = information(np.tile(random_assignments(1), (5, 1)))
    assert abs(same.total) < 1e-12
    with np.errstate(divide="ignore"):
        different = information(np.log(np.eye(4)))
    np.testing.assert_allclose(different.total, math.log(4), rtol=1e-13)


def test_permutations_of_points_and_clusters_change_nothing(x64):
    log_q = random_assignments()
    permuted = log_q[::-1][:, [2, 0, 3, 1]]
    np.testing.assert_allclose(information(permuted), information(log_q), rtol=1e-12)


def test_information_of_weighted_points_is_that_of_copies(x64):
    log_q = random_assignments()
    repeats = np.array([2, 0, 1, 3, 0, 1, 1])[: len(log_q)]
    weights = repeats / repeats.mean()
    copies = np.repeat(log_q, repeats, axis=0)
    weighted = jax.jit(imsat.mutual_information)(log_q, weights)
    np.testing.assert_allclose(weighted, information(copies), rtol=1e-12)
    np.testing.assert_allclose(
        imsat.mutual_information(log_q, np.ones(len(log_q))),
        information(log_q),
        rtol=1e-12,
    )
    # Of a batch H(Y | X) is not by the weights of the batch, which are of all data.
    scaled = imsat.mutual_information(log_q, 3.0 * weights)
    np.testing.assert_allclose(scaled[0], weighted[0], rtol=1e-12)
    np.testing.assert_allclose(scaled[1], 3.0 * weighted[1], rtol=1e-12)
    nothing = np.zeros(len(log_q))
    total = jax.value_and_grad(lambda q: sum(imsat.mutual_information(q, nothing)))
    value, gradient = total(log_q)
    assert value == 0.0 and (gradient == 0.0).all()
    with pytest.raises(InvalidInput, match="sample_weight"):
        imsat.mutual_information(log_q, np.ones(2))


def test_one_hot_assignments_have_finite_gradients():
    log_q = jnp.log(jnp.eye(3)[jnp.array([0, 1, 1])])  # the third cluster is empty
    terms, gradient = jax.jit(
        jax.value_and_grad(lambda log_q: imsat.mutual_information(log_q).total)
    )(log_q)
    assert np.isfinite(terms)
    assert np.all(np.isfinite(gradient))


# The divergence and the objective


def test_divergence_matches_scipy_and_passes_one_gradient(x64):
    log_p, log_q = random_assignments(2)
    np.testing.assert_allclose(
        divergence(log_p, log_q), stats.entropy(np.exp(log_p), np.exp(log_q))
    )
    assert divergence(log_p, log_p) == 0.0
    at_p, at_q = jax.jit(jax.grad(imsat.perturbation_divergence, (0, 1)))(log_p, log_q)
    np.testing.assert_array_equal(at_p, 0.0)
    np.testing.assert_allclose(at_q, -np.exp(log_p), rtol=1e-12)


def test_divergence_of_impossible_clusters_is_finite():
    log_p, log_q = jnp.log(jnp.array([[1.0, 0.0], [0.0, 1.0]]))
    value, gradient = jax.jit(jax.value_and_grad(imsat.perturbation_divergence, 1))(
        log_p, log_q
    )
    np.testing.assert_allclose(value, -math.log(np.finfo(np.float32).tiny), rtol=1e-6)
    assert np.all(np.isfinite(gradient))


def test_objective_by_hand(x64):
    terms = MutualInformation(2.0, 0.5)
    # 0.3 - 0.1 (4 * 2 - 0.5)
    np.testing.assert_allclose(imsat.objective(0.3, terms), -0.45, rtol=1e-14)
    actual = imsat.objective(0.3, terms, information_weight=1.0, marginal_weight=1.0)
    np.testing.assert_allclose(actual, 0.3 - terms.total, rtol=1e-14)


# The perturbation


@pytest.mark.parametrize("probe", [0.1, 1.0, 3.0])
def test_the_worst_direction_of_a_linear_classifier_is_its_normal(x64, probe):
    rng = np.random.default_rng(0)
    weights = np.array([3.0, 4.0])
    x, radius = rng.normal(size=(6, 2)), rng.uniform(0.1, 1.0, 6)
    shifts = np.asarray(perturbation(linear, weights, x, radius, probe=probe))
    np.testing.assert_allclose(
        np.abs(shifts @ [0.6, 0.8]), radius, rtol=1e-9, err_msg="not along the normal"
    )
    np.testing.assert_allclose(np.linalg.norm(shifts, axis=1), radius, rtol=1e-12)


def test_power_iterations_find_the_first_eigenvector_of_the_fisher_matrix(x64):
    # For a small probe the divergence is its quadratic form, 1/2 xi^2 d^T F d.
    params, x, radius = random_network(20)
    probabilities = np.exp(network(params, x))
    jacobian = np.asarray(jax.jit(jax.jacrev(functools.partial(network, params)))(x))
    shifts = perturbation(network, params, x, radius, probe=1e-4, num_iterations=12)
    converged = 0
    for i in range(len(x)):
        j = jacobian[i, :, i]
        fisher = j.T @ (probabilities[i][:, None] * j)
        eigenvalues, eigenvectors = np.linalg.eigh(fisher)
        if eigenvalues[-1] > 4.0 * eigenvalues[-2]:
            converged += 1
            actual = abs(shifts[i] @ eigenvectors[:, -1])
            np.testing.assert_allclose(actual, radius[i], rtol=1e-3)
    assert converged >= 5


def test_one_iteration_is_the_gradient_at_the_random_direction(x64):
    params, x, radius = random_network()
    directions = np.array(jax.random.normal(jax.random.key(3), x.shape))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)

    def moved_divergence(direction, x, radius):
        points = jnp.stack([x, x + 0.5 * radius * direction])
        return imsat.perturbation_divergence(*network(params, points))

    shifts = perturbation(network, params, x, radius, seed=3, probe=0.5)
    gradients = jax.jit(jax.vmap(jax.grad(moved_divergence)))(directions, x, radius)
    for i, gradient in enumerate(np.asarray(gradients)):
        expected = radius[i] * gradient / np.linalg.norm(gradient)
        np.testing.assert_allclose(shifts[i], expected, rtol=1e-9)


def test_perturbations_are_a_function_of_the_key_and_worse_than_random(x64):
    params, x, radius = random_network(50)
    first, again, other = (
        np.asarray(perturbation(network, params, x, radius, seed=seed))
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    noise = np.random.default_rng(0).normal(size=x.shape)
    noise *= (radius / np.linalg.norm(noise, axis=1))[:, None]

    @jax.jit
    def mean_divergence(shifts):
        values = jax.vmap(imsat.perturbation_divergence)(
            network(params, x), network(params, x + shifts)
        )
        return jnp.mean(values)

    assert mean_divergence(first) > 1.5 * mean_divergence(noise)


def test_no_gradient_passes_through_the_perturbation(x64):
    params, x, radius = random_network()

    def total(params, x, radius):
        return jnp.sum(perturbation(network, params, x, radius) ** 2)

    gradient = jax.jit(jax.grad(total, (0, 1, 2)))
    at_params, at_x, at_radius = gradient(params, x, radius)
    for leaf in (*at_params, at_x):
        np.testing.assert_array_equal(leaf, 0.0)
    # |r|^2 = radius^2; the radius is data, of which nobody takes a gradient.
    np.testing.assert_allclose(at_radius, 2.0 * radius, rtol=1e-9)


def test_by_default_the_probe_is_the_radius_and_the_iteration_one(x64):
    params, x, radius = random_network()
    by_default = imsat.adversarial_perturbation(
        network, params, x, radius, jax.random.key(0)
    )
    expected = perturbation(network, params, x, radius, probe=1.0, num_iterations=1)
    np.testing.assert_allclose(by_default, expected, rtol=1e-9)


def test_perturbations_where_nothing_changes_are_zero():
    x = jnp.ones((4, 3))
    flat = jnp.zeros(3)
    np.testing.assert_array_equal(perturbation(linear, flat, x, jnp.ones(4)), 0.0)
    radius = jnp.array([0.0, 1.0, 1.0, 1.0])
    shifts = perturbation(linear, jnp.arange(3.0), x, radius)
    assert np.all(np.isfinite(shifts))
    np.testing.assert_array_equal(shifts[0], 0.0)


def test_single_precision_finds_the_direction_of_a_nearly_flat_classifier():
    # Its gradients are near 1e-25, their squares 0 in float32.
    def flat(params, x):
        return (x @ params)[:, None] * jnp.array([[1e-25, 0.0]])

    weights = jnp.array([3.0, 4.0, 0.0])
    shifts = perturbation(flat, weights, jnp.zeros((2, 3)), jnp.ones(2))
    np.testing.assert_allclose(np.abs(shifts), [[0.6, 0.8, 0.0]] * 2, rtol=1e-5)


# Numerics


def test_gradient_matches_differences(x64):
    params, x, radius = random_network()
    shifts = perturbation(network, params, x, radius)

    @jax.jit
    def total(params):
        # The first argument is held: differences would see its change.
        divergences = jax.vmap(imsat.perturbation_divergence)(
            random_assignments(5), network(params, x + shifts)
        )
        terms = imsat.mutual_information(network(params, x))
        return imsat.objective(jnp.mean(divergences), terms)

    check_grads(total, (params,), order=1)


def test_batch_equals_loop_and_jit_equals_no_jit(x64):
    log_p, log_q = random_assignments(), random_assignments(seed=1)
    batch = jax.vmap(imsat.perturbation_divergence)(log_p, log_q)
    for i in range(6):
        eager = imsat.perturbation_divergence(log_p[i], log_q[i])
        np.testing.assert_allclose(batch[i], eager, rtol=1e-12)
        np.testing.assert_allclose(divergence(log_p[i], log_q[i]), eager, rtol=1e-12)
    np.testing.assert_allclose(
        information(log_p), imsat.mutual_information(log_p), rtol=1e-12
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(x64, dtype):
    def shape(*sizes):
        return jax.ShapeDtypeStruct(sizes, dtype)

    terms = jax.eval_shape(imsat.mutual_information, shape(5, 3))
    assert isinstance(terms, MutualInformation)
    value = jax.eval_shape(imsat.perturbation_divergence, shape(3), shape(3))
    shifts = jax.eval_shape(
        functools.partial(perturbation, linear), shape(3), shape(5, 3), shape(5)
    )
    for result, expected in ((terms[0], ()), (terms[1], ()), (value, ())):
        assert (result.shape, result.dtype) == (expected, dtype)
    assert (shifts.shape, shifts.dtype) == ((5, 3), dtype)
