"""Probabilities of clusters by neighbours and by other clusterings."""

import jax.numpy as jnp
import numpy as np
import pytest

from dgg_jax import metrics
from dgg_jax.graph import knn, neighbor_weights
from dgg_jax.stages import confidence
from dgg_jax.stages.confidence import Calibration
from dgg_jax.types import Graph

RANDOM = np.random.default_rng(0)


def random_graph(num_points=12, num_neighbors=3):
    x = RANDOM.standard_normal((num_points, 2))
    return neighbor_weights(*knn(x.astype(np.float32), num_neighbors))


def test_neighbours_say_where_a_walk_of_four_steps_ends():
    graph, labels = random_graph(), RANDOM.integers(0, 3, 12)
    weights = np.zeros((12, 12))
    for i, (near, values) in enumerate(
        zip(np.asarray(graph.indices), np.asarray(graph.weights), strict=True)
    ):
        weights[i, near] = values
    weights = weights + weights.T
    walk = np.linalg.matrix_power(weights / weights.sum(axis=1, keepdims=True), 4)
    said = confidence.neighbors_say(labels, graph, 3)
    np.testing.assert_allclose(said, walk @ np.eye(3)[labels], rtol=1e-12)


def test_neighbours_of_one_cluster_are_sure():
    indices = np.array([[1], [0], [3], [2]])
    graph = Graph(indices, np.ones((4, 1), np.float32))
    said = confidence.neighbors_say(np.array([1, 1, 0, 0]), graph, 3)
    np.testing.assert_array_equal(said, np.eye(3)[[1, 1, 0, 0]])


def test_clusterings_say_what_rows_of_their_label_are():
    labels = np.array([0, 0, 0, 1])
    theirs = np.array([[5, 5, 2, 2]])  # of 5 all are 0; of 2 one is, the other is 1
    said = confidence.clusterings_say(labels, theirs, np.array([0.7]), 2)
    np.testing.assert_allclose(said, [[1, 0], [1, 0], [0.5, 0.5], [0.5, 0.5]])


def test_a_clustering_counts_by_its_standing():
    labels = np.array([0, 0, 1, 1])
    same, other = labels, np.array([0, 1, 0, 1])  # which says nothing of labels
    standings = np.array([0.9, 0.9 - confidence._STANDING])
    said = confidence.clusterings_say(labels, np.stack([same, other]), standings, 2)
    voice = np.e / (np.e + 1)
    np.testing.assert_allclose(said[0], [voice + (1 - voice) / 2, (1 - voice) / 2])
    # What labels are called is no matter.
    renamed = np.stack([1 - same, 7 * other])
    np.testing.assert_allclose(
        confidence.clusterings_say(labels, renamed, standings, 2), said
    )


def test_a_row_has_the_mean_of_the_nearest_places():
    places = RANDOM.standard_normal((40, 3)).astype(np.float32)
    known = RANDOM.dirichlet(np.ones(4), 40).astype(np.float32)
    z = RANDOM.standard_normal((9, 3)).astype(np.float32)
    nearest = np.argsort(((places - z[:, None]) ** 2).sum(axis=2), axis=1)[:, :5]
    mean = (known[nearest].sum(axis=1) + 0.01 / 4) / 5.01
    log_assignment = np.log(mean)  # so that the first is the first already
    actual = confidence.calibrated_all(Calibration(places, known), z, log_assignment, 5)
    ties = np.sort(mean, axis=1)[:, -1] - np.sort(mean, axis=1)[:, -2] < 1e-3
    assert not ties.any()
    np.testing.assert_allclose(np.exp(actual), mean, rtol=1e-4)


def test_the_cluster_of_a_row_stays_the_first():
    places = RANDOM.standard_normal((50, 2)).astype(np.float32)
    known = RANDOM.dirichlet(np.ones(3), 50).astype(np.float32)
    z = RANDOM.standard_normal((200, 2)).astype(np.float32)
    log_assignment = np.log(RANDOM.dirichlet(np.ones(3), 200).astype(np.float32))
    p = np.exp(
        confidence.calibrated_all(Calibration(places, known), z, log_assignment, 1)
    )
    np.testing.assert_array_equal(p.argmax(axis=1), log_assignment.argmax(axis=1))
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    assert p.min() > 0
    # What the others are to each other, they stay.
    _, second, third = np.argsort(-log_assignment, axis=1).T
    near = known[((places - z[:, None]) ** 2).sum(axis=2).argmin(axis=1)]
    rows = np.arange(200)
    expected = (near[rows, second] + 0.01 / 3) / (near[rows, third] + 0.01 / 3)
    np.testing.assert_allclose(p[rows, second] / p[rows, third], expected, rtol=1e-3)


@pytest.mark.parametrize("num_points", [1, 3])
def test_few_places_are_all_near(num_points):
    known = Calibration(
        np.zeros((num_points, 2), np.float32), np.full((num_points, 1), 1, np.float32)
    )
    actual = confidence.calibrated_all(
        known, np.ones((2, 2), np.float32), jnp.zeros((2, 1)), 20
    )
    np.testing.assert_allclose(actual, 0.0, atol=1e-6)


def test_a_calibration_knows_wrong_rows_between_groups():
    """Two groups touch, and are cut elsewhere: the rows in between are told."""
    random = np.random.default_rng(3)
    y = np.repeat([0, 1], 300)
    x = (2.5 * y[:, None] * [1.0, 0.0] + random.standard_normal((600, 2))).astype(
        np.float32
    )
    labels = (x[:, 0] > 1.9).astype(int)  # in place of 1.25
    others = np.stack([(x[:, 0] > cut).astype(int) for cut in (0.9, 1.2, 1.6)])
    known = confidence.calibration(
        x,
        labels,
        neighbor_weights(*knn(x, 20)),
        2,
        rows=np.arange(600),
        clusterings=others,
        standings=np.array([0.8, 0.8, 0.8]),
    )
    raw = np.log(np.clip(np.eye(2, dtype=np.float32)[labels], 1e-6, 1))
    sure = np.exp(confidence.calibrated_all(known, x, raw, 20)).max(axis=1)
    right = metrics.matched_rows(y, labels)
    assert metrics.confidence_auc(right, sure) > 0.8
    assert metrics.calibration_error(right, sure) < 0.08
    assert metrics.calibration_error(right, np.ones(600)) > 0.1


def test_metrics_without_labels_are_none():
    found = confidence.confidence_metrics(None, np.array([0, 1]), np.eye(2))
    assert found == {
        "confidence": 1.0,
        "calibration_error": None,
        "confidence_auc": None,
    }
