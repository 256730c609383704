import numpy as np
import pytest

from dgg_jax import checks
from dgg_jax.graph import discriminants, knn
from dgg_jax.graph.discriminants import (
    discriminant_laplacian,
    rotated_labels,
    smallest_eigenvectors,
)
from dgg_jax.metrics import clustering_accuracy


def data(num_points=24, num_features=3, size=5, seed=0):
    x = np.random.default_rng(seed).normal(size=(num_points, num_features))
    x = x.astype(np.float32)
    return x, np.asarray(knn(x, size - 1)[0])


def dense_laplacian(x, indices, regularization):
    """Clique by clique, with the matrices of the paper written out."""
    num_points, size = len(x), indices.shape[1] + 1
    centering = np.eye(size) - np.ones((size, size)) / size
    total = np.zeros((num_points, num_points))
    for point in range(num_points):
        clique = [point, *indices[point]]
        selection = np.zeros((num_points, size))
        selection[clique, np.arange(size)] = 1.0
        rows = x[clique].astype(np.float64).T @ centering
        inner = np.linalg.inv(rows.T @ rows + regularization * np.eye(size))
        total += selection @ centering @ inner @ centering @ selection.T
    return total


@pytest.mark.parametrize("regularization", [1e-4, 1.0, 1e4])
def test_the_sparse_laplacian_is_the_dense_one(regularization, monkeypatch):
    x, indices = data()
    monkeypatch.setattr(discriminants, "_BLOCK_VALUES", 100)  # several blocks
    found = discriminant_laplacian(x, indices, regularization)
    expected = dense_laplacian(x, indices, regularization)
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-8, atol=1e-10)


def test_a_clique_of_two_by_hand():
    # Each of two rows at distance 2 has the other: H = [[1, -1], [-1, 1]] / 2, the
    # eigenvalue of the Gram matrix along it is 2, so 1 / (2 + lambda) of each clique.
    x = np.array([[0.0], [2.0]], np.float32)
    found = discriminant_laplacian(x, np.array([[1], [0]]), 3.0).toarray()
    np.testing.assert_allclose(found, 2 / 5 * np.array([[0.5, -0.5], [-0.5, 0.5]]))


@pytest.mark.parametrize("regularization", [1e-6, 1.0, 1e6])
def test_it_is_semidefinite_and_knows_no_constant(regularization):
    x, indices = data(num_features=8)
    laplacian = discriminant_laplacian(x, indices, regularization).toarray()
    np.testing.assert_array_equal(laplacian, laplacian.T)
    largest = np.abs(laplacian).max()
    assert np.linalg.eigvalsh(laplacian).min() > -1e-10 * largest
    np.testing.assert_allclose(laplacian.sum(axis=1), 0.0, atol=1e-9 * largest)


def test_with_a_large_lambda_it_is_the_laplacian_of_the_cliques():
    x, indices = data()
    found = 1e9 * discriminant_laplacian(x, indices, 1e9).toarray()
    expected = np.zeros_like(found)
    for point, nearest in enumerate(indices):
        clique = np.array([point, *nearest])
        expected[np.ix_(clique, clique)] += np.eye(5) - 0.2
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("num_points", [40, 300])  # all eigenvectors, and by Lanczos
def test_the_smallest_eigenvectors_are_those_of_the_dense_matrix(num_points):
    x, indices = data(num_points, num_features=2, size=8)
    laplacian = discriminant_laplacian(x, indices, 1.0)
    found = smallest_eigenvectors(laplacian, 4)
    np.testing.assert_allclose(found.T @ found, np.eye(4), atol=1e-6)
    values = np.linalg.eigvalsh(laplacian.toarray())[:4]
    quotients = np.diag(found.T @ (laplacian @ found))
    np.testing.assert_allclose(quotients, values, atol=1e-5 * np.abs(laplacian).max())


def test_one_eigenvector_is_constant():
    x, indices = data()
    laplacian = discriminant_laplacian(x, indices, 1.0)
    np.testing.assert_allclose(smallest_eigenvectors(laplacian, 1), 24**-0.5)


def test_a_rotation_of_indicators_is_undone():
    labels = np.arange(60) % 4
    indicators = np.eye(4)[labels] / np.sqrt(15)
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(4, 4)))
    found = rotated_labels(indicators @ turn)
    assert found.dtype == np.int32
    assert clustering_accuracy(labels, found) == 1.0


@pytest.mark.parametrize("distance", [3.0, 50.0])  # joined by cliques, and not
@pytest.mark.parametrize("regularization", [1.0, 1e6])
def test_groups_are_found(distance, regularization):
    random = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 60)
    x = (
        random.normal(0.0, 0.4, (180, 2))
        + distance * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])[y]
    )
    x = x.astype(np.float32)
    laplacian = discriminant_laplacian(x, np.asarray(knn(x, 9)[0]), regularization)
    labels = rotated_labels(smallest_eigenvectors(laplacian, 3))
    assert clustering_accuracy(y, labels) >= 0.98


def test_shapes_are_checked():
    x, indices = data()
    with pytest.raises(checks.InvalidInput, match="indices"):
        discriminant_laplacian(x, indices[:-1], 1.0)
