"""DEC: assignments and target by hand, the gradients that the paper derives, edges."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import stats

from dgg_jax.checks import InvalidInput
from dgg_jax.losses import dec

# Squared distances 1, 4 and 0 from z to the three centres.
Z = np.array([1.0, 0.0])
CENTERS = np.array([[0.0, 0.0], [1.0, 2.0], [1.0, 0.0]])
# f = (1.5, 0.5): q^2 / f = (0.54, 0.02), (1/6, 1/2), (1/6, 0) by row.
Q = np.array([[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]])


def random_assignments(num_points=6, num_clusters=4, seed=0):
    logits = np.random.default_rng(seed).normal(size=(num_points, num_clusters))
    return np.log(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))


soft_assignment = jax.jit(dec.log_soft_assignment)
target_distribution = jax.jit(dec.target_distribution)
divergence = jax.jit(dec.divergence)


def total_divergence(z, centers, log_target, degrees_of_freedom=1.0):
    log_q = jax.vmap(dec.log_soft_assignment, (0, None, None))(
        z, centers, degrees_of_freedom
    )
    return jnp.sum(jax.vmap(dec.divergence)(log_target, log_q))


gradients_of_total = jax.jit(jax.grad(total_divergence, (0, 1)))


# Soft assignments


def test_soft_assignment_by_hand(x64):
    # Kernels 1/2, 1/5 and 1 at nu = 1.
    q = np.exp(soft_assignment(Z, CENTERS))
    np.testing.assert_allclose(q, np.array([5.0, 2.0, 10.0]) / 17.0, rtol=1e-14)
    # nu = 3: (1 + 1/3)^-2 = 9/16, (1 + 4/3)^-2 = 9/49, 1.
    kernels = np.array([9 / 16, 9 / 49, 1.0])
    q = np.exp(soft_assignment(Z, CENTERS, 3.0))
    np.testing.assert_allclose(q, kernels / kernels.sum(), rtol=1e-14)


@pytest.mark.parametrize("degrees_of_freedom", [0.5, 1.0, 7.0])
def test_soft_assignment_is_the_student_t_density(x64, degrees_of_freedom):
    # In one dimension the kernel is the density of Student's t, but for its constant.
    z, centers = np.array([0.3]), np.array([[-1.0], [0.0], [2.5]])
    density = stats.t(degrees_of_freedom).pdf(z[0] - centers[:, 0])
    q = np.exp(soft_assignment(z, centers, degrees_of_freedom))
    np.testing.assert_allclose(q, density / density.sum(), rtol=1e-13)


def test_soft_assignment_of_far_points_stays_finite():
    centers = jnp.array([[0.0], [1e15], [-1e15]])

    def first(z):
        return dec.log_soft_assignment(z, centers)[1]

    value, gradient = jax.jit(jax.value_and_grad(first))(jnp.zeros(1))
    assert np.isfinite(value)
    np.testing.assert_allclose(value, -2.0 * math.log(1e15), rtol=1e-5)
    assert np.all(np.isfinite(gradient))


# The target


def test_target_distribution_by_hand(x64):
    q = np.array([[0.9, 0.1], [0.5, 0.5], [0.1, 0.4]])  # f = (3/2, 1)
    # q^2 / f = (0.54, 0.01), (1/6, 1/4), (1/150, 0.16)
    expected = np.array([[54 / 55, 1 / 55], [2 / 5, 3 / 5], [1 / 25, 24 / 25]])
    np.testing.assert_allclose(
        np.exp(target_distribution(np.log(q))), expected, rtol=1e-13
    )
    # Even clusters: the squares alone.
    expected = np.array([[81 / 82, 1 / 82], [1 / 2, 1 / 2], [1 / 82, 81 / 82]])
    np.testing.assert_allclose(
        np.exp(target_distribution(np.log(Q))), expected, rtol=1e-13
    )


def test_target_distribution_matches_the_printed_formula(x64):
    log_q = random_assignments()
    weights = np.exp(log_q) ** 2 / np.exp(log_q).sum(axis=0)
    expected = weights / weights.sum(axis=1, keepdims=True)
    actual = np.exp(target_distribution(log_q))
    np.testing.assert_allclose(actual, expected, rtol=1e-12)
    np.testing.assert_allclose(actual.sum(axis=1), 1.0, rtol=1e-12)


def test_frequencies_of_the_target_are_by_weights(x64):
    q = np.array([[0.9, 0.1], [0.5, 0.5], [0.1, 0.4]])
    # f = 3 (0.9, 0.1) + 0 (0.5, 0.5) + 2 (0.1, 0.4) = (2.9, 1.1)
    scores = q**2 / [2.9, 1.1]
    expected = scores / scores.sum(axis=1, keepdims=True)
    actual = target_distribution(np.log(q), np.array([3.0, 0.0, 2.0]))
    np.testing.assert_allclose(np.exp(actual), expected, rtol=1e-13)
    with pytest.raises(InvalidInput, match="sample_weight"):
        dec.target_distribution(np.log(q), np.ones(2))


def test_target_is_sharper_and_evens_out_clusters(x64):
    # One point on the fence between a large and a small cluster goes to the small one.
    q = np.array([[0.9, 0.1]] * 5 + [[0.1, 0.9]] + [[0.5, 0.5]])
    p = np.exp(target_distribution(np.log(q)))
    assert p[0, 0] > 0.9
    assert p[5, 1] > 0.9
    assert p[6, 1] > 0.5


def test_target_of_one_hot_assignments_and_of_an_empty_cluster():
    log_q = jnp.log(jnp.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]]))
    log_p = target_distribution(log_q)
    assert np.all(np.isfinite(log_p))
    np.testing.assert_allclose(
        np.exp(log_p), [[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0]], atol=1e-6
    )


def test_permutations_of_points_and_clusters_permute_the_target(x64):
    log_q = random_assignments()
    rows, columns = np.array([3, 0, 5, 1, 4, 2]), np.array([2, 0, 3, 1])
    np.testing.assert_allclose(
        target_distribution(log_q[rows][:, columns]),
        target_distribution(log_q)[rows][:, columns],
        rtol=1e-12,
    )
    np.testing.assert_allclose(
        soft_assignment(Z, CENTERS[[1, 2, 0]]),
        soft_assignment(Z, CENTERS)[np.array([1, 2, 0])],
        rtol=1e-13,
    )


# The divergence


def test_divergence_matches_scipy(x64):
    log_p, log_q = random_assignments(2)
    np.testing.assert_allclose(
        divergence(log_p, log_q),
        stats.entropy(np.exp(log_p), np.exp(log_q)),
        rtol=1e-12,
    )
    assert divergence(log_p, log_p) == 0.0
    order = np.array([2, 0, 3, 1])
    np.testing.assert_allclose(
        divergence(log_p[order], log_q[order]),
        divergence(log_p, log_q),
        rtol=1e-12,
    )


def test_divergence_of_impossible_clusters():
    one_hot = jnp.log(jnp.array([1.0, 0.0, 0.0]))
    log_q = jnp.log(jnp.array([0.25, 0.75, 0.0]))
    value_and_gradients = jax.jit(jax.value_and_grad(dec.divergence, (0, 1)))
    value, gradients = value_and_gradients(one_hot, log_q)
    np.testing.assert_allclose(value, math.log(4.0), rtol=1e-6)
    assert np.all(np.isfinite(gradients))
    np.testing.assert_array_equal(gradients[1], [-1.0, 0.0, 0.0])


@pytest.mark.parametrize("degrees_of_freedom", [1.0, 3.0])
def test_gradients_are_those_of_the_paper(x64, degrees_of_freedom):
    # Eq. (4) and (5) of DEC: for z_i, (nu + 1) / nu sum_k (p - q) (z - mu) / (1 + d^2
    # / nu); for mu_k the negative, summed over i.
    rng = np.random.default_rng(1)
    z, centers = rng.normal(size=(6, 2)), rng.normal(size=(4, 2))
    log_p = random_assignments()
    differences = z[:, None] - centers[None]
    inverse = 1.0 / (1.0 + (differences**2).sum(axis=2) / degrees_of_freedom)
    kernel = inverse ** ((degrees_of_freedom + 1.0) / 2.0)
    q = kernel / kernel.sum(axis=1, keepdims=True)
    pull = (degrees_of_freedom + 1.0) / degrees_of_freedom * inverse
    forces = (pull * (np.exp(log_p) - q))[:, :, None] * differences
    at_z, at_centers = gradients_of_total(z, centers, log_p, degrees_of_freedom)
    np.testing.assert_allclose(at_z, forces.sum(axis=1), rtol=1e-11)
    np.testing.assert_allclose(at_centers, -forces.sum(axis=0), rtol=1e-11)


def test_gradient_matches_differences(x64):
    rng = np.random.default_rng(2)
    z, centers = rng.normal(size=(6, 2)), rng.normal(size=(4, 2))
    check_grads(
        jax.jit(lambda z, centers: total_divergence(z, centers, random_assignments())),
        (z, centers),
        order=1,
    )
    check_grads(target_distribution, (random_assignments(),), order=1)


def test_gradient_of_a_point_on_its_centre_is_finite():
    gradients = gradients_of_total(
        jnp.zeros((1, 2)), jnp.zeros((3, 2)), jnp.log(jnp.eye(3)[:1])
    )
    for gradient in gradients:
        np.testing.assert_array_equal(gradient, 0.0)


# Numerics


def test_batch_equals_loop_and_jit_equals_no_jit(x64):
    rng = np.random.default_rng(3)
    z, log_p = rng.normal(size=(6, 2)), random_assignments(6, 3)
    batch = jax.jit(jax.vmap(dec.log_soft_assignment, (0, None)))(z, CENTERS)
    divergences = jax.jit(jax.vmap(dec.divergence))(log_p, batch)
    for i in range(6):
        eager = dec.log_soft_assignment(z[i], CENTERS)
        np.testing.assert_allclose(batch[i], eager, rtol=1e-12)
        np.testing.assert_allclose(soft_assignment(z[i], CENTERS), eager, rtol=1e-12)
        eager = dec.divergence(log_p[i], eager)
        np.testing.assert_allclose(divergences[i], eager, rtol=1e-12)
        np.testing.assert_allclose(divergence(log_p[i], batch[i]), eager, rtol=1e-12)
    np.testing.assert_allclose(
        target_distribution(log_p), dec.target_distribution(log_p), rtol=1e-12
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(x64, dtype):
    def shape(*sizes):
        return jax.ShapeDtypeStruct(sizes, dtype)

    for function, arguments, expected in (
        (dec.log_soft_assignment, (shape(2), shape(3, 2)), (3,)),
        (dec.target_distribution, (shape(5, 3),), (5, 3)),
        (dec.divergence, (shape(3), shape(3)), ()),
    ):
        result = jax.eval_shape(function, *arguments)
        assert (result.shape, result.dtype) == (expected, dtype)
