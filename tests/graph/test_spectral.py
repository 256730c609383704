"""Spectral clustering of graphs whose clusters are known."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score

from dgg_jax.checks import InvalidInput
from dgg_jax.graph import (
    graph_information,
    knn,
    neighbor_weights,
    spectral,
    spectral_labels,
)
from dgg_jax.graph.spectral import affinity_matrix, spectral_embedding
from dgg_jax.types import Graph

SIZE = 20


def unweighted(indices):
    return neighbor_weights(indices, np.zeros(np.shape(indices)))


def components(num_groups, bridges=(), seed=0):
    """Groups whose points list six of their own, and single edges between groups."""
    rng = np.random.default_rng(seed)
    indices = []
    for i in range(num_groups * SIZE):
        group = i // SIZE * SIZE
        others = [j for j in range(group, group + SIZE) if j != i]
        indices.append(rng.choice(others, 6, replace=False))
    indices = np.stack(indices)
    for i, j in bridges:
        indices[i, 0] = j
    return unweighted(indices), np.repeat(np.arange(num_groups), SIZE)


def ring(num_groups):
    starts = SIZE * np.arange(num_groups)
    return components(num_groups, zip(starts, np.roll(starts, -1), strict=True))


def test_affinity_by_hand():
    weights = np.array([[0.75, 0.25], [1.0, 0.0], [0.5, 0.5]])
    affinity = affinity_matrix(Graph(np.array([[1, 2], [0, 2], [1, 1]]), weights))
    expected = [[0.0, 0.875, 0.125], [0.875, 0.0, 0.5], [0.125, 0.5, 0.0]]
    np.testing.assert_allclose(affinity.toarray(), expected)


def test_information_by_hand():
    """Weights (W + W^T) / 2, of three points in two clusters."""
    weights = np.array([[0.75, 0.25], [1.0, 0.0], [0.5, 0.5]])
    graph = Graph(np.array([[1, 2], [0, 2], [0, 1]]), weights)
    # Edges: 1.75 / 3 within the first two; 1.25 / 3 between them and the third.
    joint = np.array([[1.75, 0.625], [0.625, 0.0]]) / 3
    marginal = joint.sum(axis=1)
    logs = np.log(np.where(joint > 0, joint / np.outer(marginal, marginal), 1.0))
    expected = np.sum(joint * logs)
    actual = graph_information(graph, np.array([0, 0, 1]))
    assert actual == pytest.approx(expected, rel=1e-12)
    assert graph_information(graph, np.array([1, 1, 0])) == pytest.approx(expected)


def test_information_of_separate_groups_is_the_entropy_of_their_sizes():
    graph, truth = components(4)
    assert graph_information(graph, truth) == pytest.approx(np.log(4))
    assert graph_information(graph, np.zeros_like(truth)) == 0.0
    joined = truth // 2
    assert graph_information(graph, joined) == pytest.approx(np.log(2))
    split = truth * 2 + np.arange(len(truth)) % 2  # across the neighbours
    assert graph_information(graph, split) < np.log(4) + 0.1
    random = np.random.default_rng(0).integers(0, 4, len(truth))
    assert graph_information(graph, random) < 0.1
    # Nothing is asked of clusters without points.
    assert graph_information(graph, 3 * joined) == pytest.approx(np.log(2))


def test_the_most_informative_labels_are_kept(monkeypatch):
    graph, truth = ring(5)
    seen = []

    def recorded(graph, labels):
        seen.append((graph_information(graph, labels), labels))
        return seen[-1][0]

    monkeypatch.setattr(spectral, "graph_information", recorded)
    labels = spectral_labels(graph, 5, 8, seed=0)
    assert len(seen) == 40  # of 5, 6, 7 and 8 eigenvectors
    assert max(seen, key=lambda one: one[0])[1] is labels
    assert adjusted_rand_score(truth, labels) == 1.0


@pytest.mark.parametrize("num_eigenvectors", [1, 3])
def test_two_separate_blobs(num_eigenvectors):
    rng = np.random.default_rng(0)
    truth = rng.permutation(np.repeat([0, 1], 25))
    x = rng.standard_normal((50, 2)) + 20.0 * truth[:, None]
    labels = spectral_labels(neighbor_weights(*knn(x, 5)), 2, num_eigenvectors, seed=0)
    assert adjusted_rand_score(truth, labels) == 1.0
    assert labels.shape == (50,)
    assert labels.dtype == np.int32
    assert set(labels.tolist()) == {0, 1}


@pytest.mark.parametrize("more", [0, 2])
@pytest.mark.parametrize("num_groups", [3, 10])
def test_disconnected_components(num_groups, more):
    graph, truth = components(num_groups)
    labels = spectral_labels(graph, num_groups, num_groups + more, seed=0)
    assert adjusted_rand_score(truth, labels) == 1.0


@pytest.mark.parametrize("num_groups", [3, 8])
def test_a_ring_of_groups(num_groups):
    graph, truth = ring(num_groups)
    labels = spectral_labels(graph, num_groups, num_groups, seed=0)
    assert adjusted_rand_score(truth, labels) == 1.0


def test_half_circles_that_kmeans_cannot_part():
    angles = np.linspace(0.0, np.pi, 60)
    upper = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    x = np.concatenate([upper, np.array([[1.0, 0.4]]) - upper])
    truth = np.repeat([0, 1], 60)
    kmeans = KMeans(2, n_init=3, random_state=0).fit_predict(x)
    assert adjusted_rand_score(truth, kmeans) < 0.6
    labels = spectral_labels(neighbor_weights(*knn(x, 5)), 2, 3, seed=0)
    assert adjusted_rand_score(truth, labels) == 1.0


def of_scikit_learn(graph, num_clusters):
    model = SpectralClustering(num_clusters, affinity="precomputed", random_state=0)
    return model.fit_predict(affinity_matrix(graph).toarray())


@pytest.mark.parametrize("num_groups", [3, 8])
def test_scikit_learn_finds_the_same_clusters(num_groups):
    graph, _ = ring(num_groups)
    labels = spectral_labels(graph, num_groups, num_groups, seed=0)
    expected = of_scikit_learn(graph, num_groups)
    assert adjusted_rand_score(expected, labels) == 1.0


def test_blobs_that_overlap_are_parted_as_by_scikit_learn():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 100)
    centers = np.array([[0.0, 0.0], [2.5, 0.0], [1.25, 2.2]])
    graph = neighbor_weights(*knn(centers[truth] + rng.normal(size=(300, 2)), 10))
    labels, expected = spectral_labels(graph, 3, 3, seed=0), of_scikit_learn(graph, 3)
    assert adjusted_rand_score(expected, labels) > 0.9
    scores = [adjusted_rand_score(truth, one) for one in (labels, expected)]
    assert min(scores) > 0.4 and scores[0] > scores[1] - 0.02


@pytest.mark.slow
def test_more_eigenvectors_and_starts_do_no_worse_than_scikit_learn():
    x, truth = load_digits(return_X_y=True)
    graph = neighbor_weights(*knn(x, 20))
    labels = spectral_labels(graph, 10, 16, seed=0)
    expected = of_scikit_learn(graph, 10)
    assert graph_information(graph, labels) >= graph_information(graph, expected)
    assert adjusted_rand_score(truth, labels) > adjusted_rand_score(truth, expected)


def test_weights_count():
    """Heavy edges within the halves of one complete graph."""
    indices = np.array([[j for j in range(12) if j != i] for i in range(12)])
    truth = np.arange(12) % 2
    near = truth[indices] == truth[:, None]
    weights = np.where(near, 1.0, 0.01)
    graph = Graph(indices, weights / weights.sum(axis=1, keepdims=True))
    assert adjusted_rand_score(truth, spectral_labels(graph, 2, 1, seed=0)) == 1.0


def test_labels_are_a_function_of_graph_and_seed():
    rng = np.random.default_rng(0)
    graph = neighbor_weights(*knn(rng.random((60, 2)), 6))
    first = spectral_labels(graph, 7, 8, seed=0)
    np.testing.assert_array_equal(first, spectral_labels(graph, 7, 8, seed=0))
    others = [spectral_labels(graph, 7, 8, seed=seed) for seed in range(1, 6)]
    assert any((first != other).any() for other in others)


def test_the_order_of_the_points_does_not_matter():
    graph, truth = ring(4)
    order = np.random.default_rng(1).permutation(len(truth))
    place = np.argsort(order)  # of each old point in the new order
    permuted = Graph(place[graph.indices[order]], graph.weights[order])
    labels = spectral_labels(graph, 4, 4, seed=0)
    again = spectral_labels(permuted, 4, 4, seed=0)
    assert adjusted_rand_score(labels[order], again) == 1.0
    assert len(set(labels.tolist())) == 4


@pytest.mark.parametrize("make", [ring, components])
def test_embedding_equals_a_dense_eigendecomposition(make):
    graph, _ = make(5)
    affinity = affinity_matrix(graph)
    root = np.sqrt(affinity.toarray().sum(axis=1))
    _, vectors = np.linalg.eigh(affinity.toarray() / np.outer(root, root))
    trivial = root / np.linalg.norm(root)
    # Any basis of an eigenspace will do: compare projections on the leading one.
    expected = vectors[:, -5:] @ vectors[:, -5:].T - np.outer(trivial, trivial)
    embedding = spectral_embedding(affinity, 4)
    assert embedding.shape == (5 * SIZE, 4)
    np.testing.assert_allclose(embedding @ embedding.T, expected, atol=1e-4)
    np.testing.assert_allclose(embedding.T @ trivial, 0.0, atol=1e-6)


def test_embedding_of_unlike_degrees_equals_a_dense_eigendecomposition():
    # Two separate parts of neighbours in the plane, with hubs.
    x = np.random.default_rng(0).lognormal(size=(140, 2))
    x[90:] += 1e3
    affinity = affinity_matrix(neighbor_weights(*knn(x, 4), "gaussian"))
    root = np.sqrt(affinity.toarray().sum(axis=1))
    assert root.max() > 1.5 * root.min()
    normalized = affinity.toarray() / np.outer(root, root)
    values = np.linalg.eigvalsh(normalized)[::-1]
    embedding = spectral_embedding(affinity, 5)
    np.testing.assert_allclose(embedding.T @ embedding, np.eye(5), atol=1e-6)
    found = np.sum(embedding * (normalized @ embedding), axis=0)
    np.testing.assert_allclose(found, values[1:6], atol=1e-6)


@pytest.mark.parametrize("num_points", [6, 120])
def test_the_eigenvector_that_says_nothing_is_left_out(num_points):
    # Of a complete graph the others have a negative eigenvalue, -1 / (N - 1).
    affinity = sparse.csr_array(1.0 - np.eye(num_points))
    embedding = spectral_embedding(affinity, 3)
    np.testing.assert_allclose(embedding.sum(axis=0), 0.0, atol=1e-6)
    np.testing.assert_allclose(embedding.T @ embedding, np.eye(3), atol=1e-6)


def test_leading_eigenvectors_come_first():
    affinity = affinity_matrix(ring(4)[0])
    embedding = spectral_embedding(affinity, 6)
    root = np.sqrt(affinity.sum(axis=1))
    values = np.sum(embedding * ((affinity / np.outer(root, root)) @ embedding), axis=0)
    assert (np.diff(values) < 1e-8).all()


def test_more_components_than_eigenvectors():
    graph, truth = components(6)
    embedding = spectral_embedding(affinity_matrix(graph), 3)
    assert embedding.shape == (6 * SIZE, 3)
    np.testing.assert_allclose(embedding.T @ embedding, np.eye(3), atol=1e-12)
    # Constant on every component, in proportion to the root of the degree.
    root = np.sqrt(affinity_matrix(graph).sum(axis=1))
    for group in range(6):
        profile = (embedding / root[:, None])[truth == group]
        np.testing.assert_allclose(profile, np.tile(profile[:1], (SIZE, 1)), atol=1e-9)


def test_one_cluster_and_tiny_graphs():
    graph, _ = components(1)
    np.testing.assert_array_equal(spectral_labels(graph, 1, 2, seed=0), 0)
    tiny = unweighted(np.array([[1], [0], [1]]))
    labels = spectral_labels(tiny, 3, 5, seed=0)
    assert sorted(labels.tolist()) == [0, 1, 2]
    assert labels.dtype == np.int32
    pair = unweighted(np.array([[1], [0]]))
    assert spectral_labels(pair, 2, 2, seed=0).tolist() == [0, 1]
    path = unweighted(np.array([[1], [0], [1], [2], [3]]))
    # Of five points there are no more than three eigenvectors.
    labels = spectral_labels(path, 2, 12, seed=0)
    np.testing.assert_array_equal(labels, spectral_labels(path, 2, 3, seed=0))


def test_as_many_eigenvectors_as_there_are_are_taken(monkeypatch):
    taken = []

    def recorded(affinity, number):
        taken.append(number)
        return spectral_embedding(affinity, number)

    monkeypatch.setattr(spectral, "spectral_embedding", recorded)
    path = unweighted(np.array([[1], [0], [1], [2], [3]]))
    for number in (2, 3, 12):
        spectral_labels(path, 2, number, seed=0)
    assert taken == [2, 3, 3]


@pytest.mark.parametrize("num_eigenvectors", [0, 2 * SIZE - 1])
def test_number_of_eigenvectors_out_of_range(num_eigenvectors):
    affinity = affinity_matrix(components(2)[0])
    text = rf"num_eigenvectors must be in \[1, {2 * SIZE - 2}\], got {num_eigenvectors}"
    with pytest.raises(InvalidInput, match=text):
        spectral_embedding(affinity, num_eigenvectors)


def test_two_pairs():
    """A Lanczos iteration finds its starting vector in the space it must leave."""
    graph = neighbor_weights(*knn(np.array([[0.0], [0.1], [5.0], [5.1]]), 1))
    vectors = spectral_embedding(affinity_matrix(graph), 2)
    assert vectors.shape == (4, 2) and np.isfinite(vectors).all()
    labels = spectral_labels(graph, 2, 2, seed=0)
    assert labels[0] == labels[1] != labels[2] == labels[3]
