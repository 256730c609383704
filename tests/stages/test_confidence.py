"""Probabilities of clusters by neighbours and by other clusterings."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

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
    np.testing.assert_allclose(said, walk @ np.eye(3)[labels], rtol=1e-5)


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


def some_calibration(num_places=40, num_clusters=4, temperature=2.0):
    places = RANDOM.standard_normal((num_places, 3)).astype(np.float32)
    said = RANDOM.dirichlet(np.ones(num_clusters), num_places).astype(np.float32)
    return Calibration(places, said, np.float32(temperature))


@pytest.mark.parametrize(("num_places", "offset"), [(40, 0), (1500, 0), (1500, 100)])
def test_others_at_the_nearest_places_count_twice_as_much_as_the_model(
    num_places, offset
):
    known = some_calibration(num_places)
    known = known._replace(latents=known.latents + np.float32(offset))
    z = offset + RANDOM.standard_normal((9, 3)).astype(np.float32)
    distances = ((known.latents - z[:, None]) ** 2).sum(axis=2)
    nearest = np.argsort(distances, axis=1)[:, :10]
    weights = 1 / np.take_along_axis(distances, nearest, axis=1)
    weights /= weights.sum(axis=1, keepdims=True)
    said = np.einsum("nr,nrk->nk", weights, known.probabilities[nearest])
    others = (10 * said + 0.01 / 4) / 10.01
    gamma = others**4 / np.sum(others**4, axis=1, keepdims=True)  # of the same label
    tempered = np.sqrt(gamma) / np.sqrt(gamma).sum(axis=1, keepdims=True)
    expected = (2 * others + tempered) / 3
    actual = np.exp(confidence.all_log_probabilities(known, z, np.log(gamma)))
    lead = np.diff(np.sort(expected, axis=1)[:, -2:]).ravel()
    np.testing.assert_allclose(actual[lead > 1e-3], expected[lead > 1e-3], rtol=1e-4)
    assert (lead > 1e-3).sum() >= 8


def test_a_row_of_training_has_what_others_say_of_itself():
    known = some_calibration()
    copies = known._replace(latents=np.repeat(known.latents[:4], 10, axis=0))
    log_assignment = np.log(known.probabilities)  # so the label is theirs
    for calibration, expected in (
        (known, known.probabilities),
        (copies, np.repeat(known.probabilities.reshape(4, 10, 4).mean(1), 10, axis=0)),
    ):
        tempered = special.softmax(log_assignment / 2, axis=1)
        p = np.exp(
            confidence.all_log_probabilities(
                calibration, calibration.latents, log_assignment
            )
        )
        others = (10 * expected + 0.01 / 4) / 10.01
        expected = (2 * others + tempered) / 3
        clear = np.diff(np.sort(expected, axis=1)[:, -2:]).ravel() > 1e-3
        clear &= expected.argmax(axis=1) == log_assignment.argmax(axis=1)
        np.testing.assert_allclose(p[clear], expected[clear], rtol=1e-3)
        assert clear.sum() >= 15


def test_the_cluster_of_a_row_stays_the_first():
    known = some_calibration(num_clusters=3)
    z = RANDOM.standard_normal((200, 3)).astype(np.float32)
    log_assignment = np.log(RANDOM.dirichlet(np.ones(3), 200).astype(np.float32))
    p = np.exp(confidence.all_log_probabilities(known, z, log_assignment))
    np.testing.assert_array_equal(p.argmax(axis=1), log_assignment.argmax(axis=1))
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    assert p.min() > 0
    lead = np.diff(np.sort(p, axis=1)[:, -2:]).ravel()
    assert lead.min() > 5e-4 and (lead < 2e-3).any()  # as of those who are outvoted


@pytest.mark.parametrize("num_places", [1, 3])
def test_few_places_are_all_near(num_places):
    known = some_calibration(num_places, num_clusters=1)
    actual = confidence.all_log_probabilities(known, np.ones((2, 3)), jnp.zeros((2, 1)))
    np.testing.assert_allclose(actual, 0.0, atol=1e-6)


def test_the_model_is_tempered_to_be_as_sure_as_others():
    log_assignment = np.log(RANDOM.dirichlet(np.ones(4) * 0.05, 500) + 1e-9)
    for confident in (0.3, 0.6, 0.9):
        temperature = confidence._temperature(log_assignment, confident)
        tempered = special.softmax(log_assignment / temperature, axis=1)
        assert tempered.max(axis=1).mean() == pytest.approx(confident, abs=1e-4)
    # Others that are less sure than chance: as little as can be.
    least = confidence._temperature(log_assignment, 0.2)
    assert least == pytest.approx(np.exp(confidence._LOG_TEMPERATURES[1]))
    # What is undecided everywhere, nothing makes sure.
    assert confidence._temperature(np.log(np.full((5, 2), 0.5)), 0.9) == 1.0


def test_a_calibration_knows_wrong_rows_between_groups():
    """Two groups touch, and are cut elsewhere: the rows in between are told."""
    random = np.random.default_rng(3)
    y = np.repeat([0, 1], 300)
    x = (2.5 * y[:, None] * [1.0, 0.0] + random.standard_normal((600, 2))).astype(
        np.float32
    )
    labels = (x[:, 0] > 1.9).astype(int)  # in place of 1.25
    gamma = np.eye(2, dtype=np.float32)[labels] * 0.998 + 0.001  # all as sure
    known = confidence.fit_calibration(
        x,
        np.log(gamma),
        neighbor_weights(*knn(x, 20)),
        rows=np.arange(600),
        clusterings=np.stack([(x[:, 0] > cut).astype(int) for cut in (0.9, 1.2, 1.6)]),
        standings=np.array([0.8, 0.8, 0.8]),
    )
    sure = np.exp(confidence.all_log_probabilities(known, x, np.log(gamma))).max(axis=1)
    right = metrics.matched_rows(y, labels)
    assert metrics.confidence_auc(right, sure) > 0.8
    assert metrics.calibration_error(right, sure) < 0.08
    assert metrics.calibration_error(right, gamma.max(axis=1)) > 0.1


def test_a_calibration_of_some_rows_is_of_these():
    x = RANDOM.standard_normal((30, 2)).astype(np.float32)
    gamma = np.log(RANDOM.dirichlet(np.ones(3), 30))
    graph, rows = neighbor_weights(*knn(x, 4)), np.array([3, 11, 12, 28])
    said = RANDOM.integers(0, 3, (2, 30))
    found = confidence.fit_calibration(
        x,
        gamma,
        graph,
        rows=rows,
        clusterings=said[:, rows],
        standings=np.array([1.0, 0.9]),
    )
    labels = gamma.argmax(axis=1)
    near = confidence.neighbors_say(labels, graph, 3)[rows]
    theirs = confidence.clusterings_say(
        labels[rows], said[:, rows], np.array([1.0, 0.9]), 3
    )
    np.testing.assert_array_equal(found.latents, x[rows])
    np.testing.assert_allclose(found.probabilities, 0.5 * (near + theirs), rtol=1e-6)
    alone = confidence.fit_calibration(x, gamma, graph, rows=rows)
    np.testing.assert_allclose(alone.probabilities, near, rtol=1e-6)


def test_metrics_of_confidence_are_of_the_matched_clusters():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]])
    labels, y = (
        probabilities.argmax(axis=1),
        np.array([1, 1, 0, 0]),
    )  # the last is wrong
    found = confidence.confidence_metrics(y, labels, probabilities)
    assert found["confidence"] == pytest.approx(0.75)
    assert found["confidence_auc"] == pytest.approx(2 / 3)
    # Bins of 0.9, 0.6, 0.8 and 0.7, one row each.
    assert found["calibration_error"] == pytest.approx((0.1 + 0.4 + 0.2 + 0.7) / 4)


def test_metrics_without_labels_are_none():
    found = confidence.confidence_metrics(None, np.array([0, 1]), np.eye(2))
    assert found == {
        "confidence": 1.0,
        "calibration_error": None,
        "confidence_auc": None,
    }
