"""Eq. (32) of DGG and local affinities by hand."""

import numpy as np
import pytest

from dgg_jax.checks import InvalidInput
from dgg_jax.graph import knn, local_affinity, neighbor_weights, weighted_graph
from dgg_jax.types import Graph

INDICES = np.array([[1, 2], [2, 0]])


def test_gaussian_weights_by_hand():
    # s_i is the distance to the farther neighbour: exponents 1/8 and 1/2, twice scaled.
    graph = neighbor_weights(INDICES, np.array([[1.0, 2.0], [30.0, 60.0]]), "gaussian")
    near, far = np.exp(-1 / 8), np.exp(-1 / 2)
    row = [near / (near + far), far / (near + far)]
    np.testing.assert_allclose(graph.weights, [row, row], rtol=1e-6)
    np.testing.assert_array_equal(graph.indices, INDICES)
    assert graph.indices.dtype == np.int32
    assert graph.weights.dtype == np.float32


def test_uniform_weights_ignore_the_distances():
    graph = neighbor_weights(np.zeros((2, 4)), np.array([[1.0, 2, 3, 4], [0, 0, 0, 9]]))
    np.testing.assert_array_equal(graph.weights, np.full((2, 4), 0.25, np.float32))


def test_all_distances_0_gives_uniform_weights():
    graph = neighbor_weights(INDICES, np.array([[0.0, 0.0], [0.0, 1.0]]), "gaussian")
    np.testing.assert_array_equal(graph.weights[0], 0.5)
    duplicate, far = 1.0, np.exp(-0.5)
    expected = [duplicate / (duplicate + far), far / (duplicate + far)]
    np.testing.assert_allclose(graph.weights[1], expected, rtol=1e-6)


def test_the_kernels_scale_is_the_distance_to_a_kept_neighbour():
    """Erratum E6: the farther it is, the more uniform the weights."""
    distances = np.array([[4.0, 1.0, 2.0]])  # in any order
    indices = np.zeros((1, 3), int)
    for rank, scale in ((1, 1.0), (2, 2.0), (3, 4.0), (0, 4.0), (9, 4.0)):
        expected = np.exp(-0.5 * (distances / scale) ** 2)
        graph = neighbor_weights(indices, distances, "gaussian", rank)
        np.testing.assert_allclose(
            graph.weights, expected / expected.sum(), rtol=1e-5, atol=1e-30
        )
    copies = neighbor_weights(indices, np.array([[0.0, 0.0, 3.0]]), "gaussian", 2)
    np.testing.assert_allclose(copies.weights, [[0.5, 0.5, 0.0]])


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_gaussian_rows_sum_to_1_and_fall_with_distance_at_any_scale(scale):
    rng = np.random.default_rng(0)
    distances = scale * np.sort(rng.random((6, 5)), axis=1)
    weights = neighbor_weights(np.zeros((6, 5)), distances, "gaussian").weights
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-6)
    assert (np.diff(weights, axis=1) < 0.0).all()


@pytest.mark.parametrize(
    ("indices", "distances", "kind", "text"),
    [
        (INDICES, np.zeros((2, 2)), "cosine", "kind='cosine' is unknown; choose one"),
        (INDICES, np.zeros((2, 3)), "uniform", "got shapes (2, 2) and (2, 3)."),
        (np.zeros(3), np.zeros(3), "uniform", "got shapes (3,) and (3,)."),
        (np.zeros((3, 0)), np.zeros((3, 0)), "uniform", "[N, S] with S >= 1"),
    ],
)
def test_errors(indices, distances, kind, text):
    with pytest.raises(InvalidInput) as error:
        neighbor_weights(indices, distances, kind)
    assert text in str(error.value)
    if kind == "uniform":
        assert str(error.value).startswith("indices and distances must both be")


def test_local_affinities_by_hand():
    # With two neighbours, sigma is the distance to the second.
    indices = np.array([[1, 2], [0, 2], [1, 0]])
    distances = np.array([[1.0, 3.0], [1.0, 2.0], [2.0, 3.0]])
    graph = local_affinity(indices, distances)
    expected = np.exp([[-1 / 6, -9 / 9], [-1 / 6, -4 / 6], [-4 / 6, -9 / 9]])
    np.testing.assert_allclose(graph.weights, expected, rtol=1e-6)
    assert graph.indices.dtype == np.int32
    assert graph.weights.dtype == np.float32


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_local_affinities_do_not_depend_on_the_scale(scale):
    x = np.random.default_rng(0).standard_normal((40, 3))
    indices, distances = knn(x, 9)
    np.testing.assert_allclose(
        local_affinity(indices, scale * distances).weights,
        local_affinity(indices, distances).weights,
        rtol=1e-5,
    )


def test_a_point_between_copies_of_others_keeps_its_edges():
    x = np.repeat([[0.0], [1.0], [2.0]], [9, 1, 9], axis=0)
    weights = local_affinity(*knn(x, 8)).weights
    assert (weights[9] > 0.0).all() and (weights[9] < 1e-5).all()
    assert (weights[0] == 1.0).all()  # copies of each other


def test_local_affinities_refuse_shapes_that_differ():
    with pytest.raises(InvalidInput, match="got shapes"):
        local_affinity(INDICES, np.zeros((2, 3)))


def test_neighbours_count_by_the_weights_of_points():
    indices = np.array([[1, 2], [0, 2], [0, 0]])
    graph = Graph(indices, np.array([[0.5, 0.5], [0.2, 0.8], [0.5, 0.5]]))
    found = weighted_graph(graph, np.array([0.0, 3.0, 1.0]))
    # 3 to 1; 0 to 1; and point 2, whose neighbours do not count, is its own.
    np.testing.assert_allclose(found.weights, [[0.75, 0.25], [0.0, 1.0], [0.5, 0.5]])
    np.testing.assert_array_equal(found.indices, [[1, 2], [0, 2], [2, 2]])
    assert found.weights.dtype == np.float32
