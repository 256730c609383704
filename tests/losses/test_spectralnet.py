"""SpectralNet: affinity, loss and orthonormal outputs by hand, and their edges."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.spatial.distance import cdist

from dgg_jax.losses import spectralnet

LINE = np.array([[0.0], [1.0], [3.0], [7.0]])
affinity = jax.jit(spectralnet.gaussian_affinity, static_argnames="num_neighbors")
loss = jax.jit(spectralnet.loss, static_argnames="normalized")
orthonormalizer = jax.jit(spectralnet.orthonormalizer)


def random_batch(num_points=9, num_outputs=3, seed=0):
    """Outputs and a symmetric affinity without a diagonal."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(size=(num_points, num_points))
    weights = (weights + weights.T) / 2.0 * (1.0 - np.eye(num_points))
    return rng.normal(size=(num_points, num_outputs)), weights


# The affinity


def test_affinity_by_hand(x64):
    # Nearest: 0-1 at 1, 1-0 at 1, 2-1 at 2, 3-2 at 4; the median of these is 1.5.
    a, b, c = (math.exp(-(d**2) / (2 * 1.5**2)) for d in (1.0, 2.0, 4.0))
    expected = [
        [0.0, a, 0.0, 0.0],
        [a, 0.0, b / 2, 0.0],
        [0.0, b / 2, 0.0, c / 2],
        [0.0, 0.0, c / 2, 0.0],
    ]
    np.testing.assert_allclose(affinity(LINE, 1), expected, rtol=1e-14)


@pytest.mark.parametrize("num_neighbors", [1, 3, 8, 20])
def test_affinity_matches_numpy(x64, num_neighbors):
    points = np.random.default_rng(0).normal(size=(9, 2))
    distances = cdist(points, points)
    np.fill_diagonal(distances, np.inf)
    kept = min(num_neighbors, 8)
    order = np.argsort(distances, axis=1)[:, :kept]
    scale = np.median(np.sort(distances, axis=1)[:, kept - 1])
    expected = np.zeros((9, 9))
    for i in range(9):
        for j in order[i]:
            expected[i, j] = math.exp(-(distances[i, j] ** 2) / (2 * scale**2))
    expected = (expected + expected.T) / 2
    np.testing.assert_allclose(affinity(points, num_neighbors), expected, rtol=1e-12)


def test_affinity_ignores_the_unit_and_the_origin(x64):
    points = np.random.default_rng(1).normal(size=(9, 2))
    np.testing.assert_allclose(
        affinity(1e3 * points + 5.0, 3), affinity(points, 3), rtol=1e-9
    )


def test_permuting_points_permutes_the_affinity(x64):
    # Also among equal distances, where one order has one neighbour, another order two.
    order = np.random.default_rng(2).permutation(9)
    square = np.stack(np.meshgrid(np.arange(3.0), np.arange(3.0)), -1).reshape(9, 2)
    for num_neighbors in (1, 2, 3):
        expected = affinity(square, num_neighbors)
        actual = affinity(square[order], num_neighbors)
        np.testing.assert_allclose(actual, expected[order][:, order], rtol=1e-13)
        np.testing.assert_array_equal(actual, actual.T)


def test_affinity_of_duplicates_is_finite():
    np.testing.assert_array_equal(affinity(jnp.ones((4, 2)), 2), 1.0 - np.eye(4))
    # Three equal points out of five: the median distance to the nearest is 0.
    points = jnp.array([[0.0], [0.0], [0.0], [5.0], [6.0]])
    expected = np.zeros((5, 5))
    expected[:3, :3] = 1.0 - np.eye(3)
    np.testing.assert_array_equal(affinity(points, 1), expected)


def test_distances_of_close_points_far_from_the_origin_are_exact():
    points = jnp.array([[1000.0], [1000.0 + 2**-10]])
    np.testing.assert_array_equal(
        spectralnet.squared_distances(points), [[0.0, 2**-20], [2**-20, 0.0]]
    )


# The loss


def test_loss_by_hand(x64):
    outputs = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    weights = np.array([[0.0, 0.5, 1.0], [0.5, 0.0, 0.25], [1.0, 0.25, 0.0]])
    # 2 (0.5 * 1 + 1 * 4 + 0.25 * 5) / 9
    np.testing.assert_allclose(loss(outputs, weights), 11.5 / 9, rtol=1e-14)
    # Degrees 1.5, 0.75, 1.25: the squared norms are 0, 4/3 and 16/5.
    expected = 2 * (0.5 * 4 / 3 + 16 / 5 + 0.25 * (4 / 3 + 16 / 5)) / 9
    np.testing.assert_allclose(
        loss(outputs, weights, normalized=True), expected, rtol=1e-14
    )


def test_loss_is_the_quadratic_form_of_the_laplacian(x64):
    outputs, weights = random_batch()
    degrees = weights.sum(axis=1)
    laplacian = np.diag(degrees) - weights
    expected = 2.0 / 81 * np.trace(outputs.T @ laplacian @ outputs)
    np.testing.assert_allclose(loss(outputs, weights), expected, rtol=1e-12)
    root = np.diag(1.0 / np.sqrt(degrees))
    expected = 2.0 / 81 * np.trace(outputs.T @ root @ laplacian @ root @ outputs)
    np.testing.assert_allclose(
        loss(outputs, weights, normalized=True), expected, rtol=1e-12
    )


@pytest.mark.parametrize("normalized", [False, True])
def test_eigenvectors_of_the_laplacian_are_the_best_orthonormal_outputs(
    x64, normalized
):
    _, weights = random_batch()
    degrees = weights.sum(axis=1)
    laplacian = np.diag(degrees) - weights
    if normalized:
        laplacian = laplacian / np.sqrt(np.outer(degrees, degrees))
    eigenvalues, eigenvectors = np.linalg.eigh(laplacian)
    best = loss(3.0 * eigenvectors[:, :3], weights, normalized=normalized)
    np.testing.assert_allclose(best, 2.0 / 9 * eigenvalues[:3].sum(), atol=1e-12)
    for seed in range(10):
        outputs = random_batch(seed=seed)[0]
        outputs = outputs @ orthonormalizer(outputs)
        assert loss(outputs, weights, normalized=normalized) > best


def test_loss_ignores_shifts_rotations_and_the_order_of_points(x64):
    outputs, weights = random_batch()
    expected = loss(outputs, weights)
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    order = np.random.default_rng(2).permutation(9)
    for changed, of in (
        (outputs + 2.0, weights),
        (outputs @ rotation, weights),
        (outputs[order], weights[order][:, order]),
    ):
        np.testing.assert_allclose(loss(changed, of), expected, rtol=1e-12)


def test_points_without_neighbours_cost_nothing():
    outputs = jnp.array([[1.0], [3.0], [50.0]])
    weights = jnp.zeros((3, 3)).at[0, 1].set(0.5).at[1, 0].set(0.5)
    for normalized, expected in ((False, 4.0 / 9), (True, 8.0 / 9)):
        value, gradient = jax.value_and_grad(
            lambda y, normalized=normalized: loss(y, weights, normalized=normalized)
        )(outputs)
        np.testing.assert_allclose(value, expected, rtol=1e-6)
        assert np.all(np.isfinite(gradient))
        np.testing.assert_array_equal(gradient[2], 0.0)


def test_gradient_matches_differences(x64):
    outputs, weights = random_batch()

    def of_orthonormal(outputs):
        return spectralnet.loss(outputs @ spectralnet.orthonormalizer(outputs), weights)

    for normalized in (False, True):
        check_grads(
            lambda outputs, weights, normalized=normalized: loss(
                outputs, weights, normalized=normalized
            ),
            (outputs, weights),
            order=1,
        )
    check_grads(jax.jit(of_orthonormal), (outputs,), order=1, modes=["rev"])
    # The scale of the outputs is no concern of it: no gradient along them.
    slope = jnp.sum(jax.jit(jax.grad(of_orthonormal))(outputs) * outputs)
    assert abs(slope) < 1e-9


# Orthonormal outputs


def test_orthonormalizer_by_hand(x64):
    outputs = np.array([[2.0, 1.0], [0.0, 2.0], [0.0, 0.0], [0.0, 2.0]])
    # Y^T Y = [[4, 2], [2, 9]] has the Cholesky factor L = [[2, 0], [1, sqrt(8)]], so
    # that sqrt(4) (L^-1)^T = [[1, -1 / sqrt(8)], [0, 2 / sqrt(8)]].
    root = math.sqrt(8.0)
    actual = orthonormalizer(outputs)
    expected = [[1.0, -1.0 / root], [0.0, 2.0 / root]]
    np.testing.assert_allclose(actual, expected, atol=1e-9)
    np.testing.assert_allclose(
        outputs @ actual,
        [[2, 0], [0, 4 / root], [0, 0], [0, 4 / root]],
        atol=1e-9,
    )


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_outputs_become_orthonormal(x64, scale):
    outputs = scale * random_batch(50, 4)[0]
    matrix = np.asarray(orthonormalizer(outputs))
    lower = np.linalg.cholesky(outputs.T @ outputs)
    np.testing.assert_allclose(
        matrix, math.sqrt(50) * np.linalg.inv(lower).T, rtol=1e-7, atol=1e-7 / scale
    )
    orthonormal = outputs @ matrix
    np.testing.assert_allclose(orthonormal.T @ orthonormal, 50 * np.eye(4), atol=1e-7)


def test_single_precision_survives_outputs_whose_gram_matrix_has_no_root():
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(200, 2)) @ np.array([[1.0, 1.0], [0.0, 1e-4]])
    outputs = outputs.astype(np.float32)
    orthonormal = outputs @ np.asarray(orthonormalizer(outputs))
    gram = orthonormal.T @ orthonormal / 200
    np.testing.assert_allclose(gram, np.eye(2), atol=0.05)


@jax.jit
@jax.grad
def gradient_of_squares(outputs):
    return jnp.sum((outputs @ spectralnet.orthonormalizer(outputs)) ** 2)


@pytest.mark.parametrize(
    "outputs",
    [np.zeros((6, 2)), np.ones((6, 2)), np.eye(6, 2) * [1.0, 0.0], np.ones((1, 2))],
    ids=["zero", "equal columns", "a dead output", "one point"],
)
def test_dependent_columns_stay_finite(outputs):
    outputs = jnp.float32(outputs)

    matrix = orthonormalizer(outputs)
    assert np.all(np.isfinite(matrix))
    assert np.all(np.isfinite(gradient_of_squares(outputs)))
    orthonormal = np.asarray(outputs) @ np.asarray(matrix)
    gram = orthonormal.T @ orthonormal / len(outputs)
    assert np.all(np.diagonal(gram) < 1.01)


def test_a_ridge_shrinks_the_outputs(x64):
    outputs, _ = random_batch()
    orthonormal = outputs @ orthonormalizer(outputs, 0.1)
    gram = outputs.T @ outputs
    gram += 0.1 * np.trace(gram) / 3 * np.eye(3)
    expected = outputs @ (3.0 * np.linalg.inv(np.linalg.cholesky(gram)).T)
    np.testing.assert_allclose(orthonormal, expected, rtol=1e-10)


def test_the_default_ridge_is_all_that_a_dead_output_has(x64):
    # Of Y~^T Y~ = diag(1, 0) + 1e-10 / 2 I; the mean of its diagonal is 1/2.
    matrix = orthonormalizer(np.eye(6, 2) * [1.0, 0.0])
    np.testing.assert_allclose(matrix[1, 1], math.sqrt(6 / 0.5e-10), rtol=1e-9)


# Numerics


def test_batch_equals_loop_and_jit_equals_no_jit(x64):
    batches = [random_batch(seed=seed) for seed in range(3)]
    outputs, weights = (np.stack(field) for field in zip(*batches, strict=True))
    for function, arguments in (
        (spectralnet.loss, (outputs, weights)),
        (spectralnet.orthonormalizer, (outputs,)),
        (lambda points: spectralnet.gaussian_affinity(points, 3), (outputs,)),
    ):
        mapped = jax.jit(jax.vmap(function))(*arguments)
        jitted = jax.jit(function)
        for i in range(3):
            one = tuple(argument[i] for argument in arguments)
            np.testing.assert_allclose(mapped[i], jitted(*one), rtol=1e-9)
        np.testing.assert_allclose(mapped[2], function(*one), rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(x64, dtype):
    outputs, weights = (
        jax.ShapeDtypeStruct(field.shape, dtype) for field in random_batch()
    )
    for function, arguments, expected in (
        (spectralnet.loss, (outputs, weights), ()),
        (spectralnet.orthonormalizer, (outputs,), (3, 3)),
        (lambda points: spectralnet.gaussian_affinity(points, 3), (outputs,), (9, 9)),
    ):
        result = jax.eval_shape(function, *arguments)
        assert (result.shape, result.dtype) == (expected, dtype)
