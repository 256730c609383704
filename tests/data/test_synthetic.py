import numpy as np
import pytest
from scipy import stats
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors

from dgg_jax.checks import InvalidInput
from dgg_jax.data import synthetic
from dgg_jax.graph import knn
from dgg_jax.metrics import clustering_accuracy


def crossing_share(x, y, num_neighbors=40):
    nearest = NearestNeighbors(n_neighbors=num_neighbors).fit(x)
    indices = nearest.kneighbors(return_distance=False)
    return np.mean(y[indices] != y[:, None])


@pytest.mark.parametrize("distance", ["near", "far"])
def test_shapes_and_classes(distance):
    x, y = synthetic.half_circles(distance=distance)
    assert x.shape == (4000, 2)
    assert x.dtype == np.float32
    assert y.dtype == np.int32
    np.testing.assert_array_equal(np.bincount(y), [2000, 2000])
    # Shuffled: the first half would otherwise be one class.
    assert 0.4 < y[:2000].mean() < 0.6


@pytest.mark.parametrize(("distance", "gap"), [("near", 0.3), ("far", 0.75)])
def test_points_lie_on_half_circles(distance, gap):
    x, y = synthetic.half_circles(distance=distance, seed=3)
    for label, center, side in [(0, (0, 0), 1), (1, (1, 1 - gap), -1)]:
        offset = x[y == label] - np.array(center)
        radius = np.linalg.norm(offset, axis=1)
        assert abs(radius.mean() - 1) < 0.005
        assert 0.045 < radius.std() < 0.055
        # The right half, but for noise at the ends; the whole of it.
        assert (side * offset[:, 1]).min() > -5 * 0.05
        assert offset[:, 0].min() < -0.95
        assert offset[:, 0].max() > 0.95


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_neighbor_graph_hardly_joins_the_classes(seed):
    assert crossing_share(*synthetic.half_circles(distance="far", seed=seed)) == 0
    near = crossing_share(*synthetic.half_circles(distance="near", seed=seed))
    assert 0 < near < 0.001


@pytest.mark.parametrize("distance", ["near", "far"])
def test_kmeans_fails(distance):
    x, y = synthetic.half_circles(distance=distance)
    labels = KMeans(2, n_init=5, random_state=0).fit_predict(x)
    accuracy = max(np.mean(labels == y), np.mean(labels != y))
    assert 0.6 < accuracy < 0.85


def test_seed_determines_everything():
    first = synthetic.half_circles(50, seed=7)
    again = synthetic.half_circles(50, seed=7)
    other = synthetic.half_circles(50, seed=8)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[1], other[1])


def test_distance_moves_one_class_only():
    near, labels = synthetic.half_circles(50, distance="near", seed=7)
    far, _ = synthetic.half_circles(50, distance="far", seed=7)
    expected = np.where(labels[:, None] == 1, [0.0, -0.45], 0.0)
    np.testing.assert_allclose(far - near, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_per_class": 0}, "num_per_class must be at least 1, got 0"),
        ({"distance": "close"}, "distance='close' is unknown; choose one of: near, "),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InvalidInput, match=message):
        synthetic.half_circles(**arguments)


# Five arcs


@pytest.fixture(scope="module")
def arcs():
    return synthetic.five_arcs()


def test_five_arcs_have_the_papers_size_and_unit_variance(arcs):
    x, y = arcs
    assert x.shape == (10_000, 2)
    assert (x.dtype, y.dtype) == (np.float32, np.int32)
    np.testing.assert_array_equal(np.bincount(y), 5 * [2000])
    np.testing.assert_allclose(x.mean(axis=0), 0.0, atol=0.03)
    np.testing.assert_allclose(x.std(axis=0), 1.0, atol=0.02)
    # Shuffled.
    assert np.bincount(y[:1000], minlength=5).min() > 150


def test_five_arcs_lie_on_five_circles(arcs):
    x, y = arcs
    x = x * 1.090
    for k in range(5):
        turned = (x[y == k] @ [1.0, 1j]) * np.exp(-2j * np.pi * k / 5)
        offset = turned - (0.45 + 1j)
        radius = np.abs(offset)
        assert abs(radius.mean() - 1.0) < 0.005
        assert 0.046 < radius.std() < 0.054
        angle = np.angle(offset * 1j)
        assert -0.3 < angle.min() < 0.02
        assert 2.48 < angle.max() < 2.8
        assert abs(np.mean(angle) - 1.25) < 0.08


def test_five_arcs_are_apart_and_not_gaussian(arcs):
    x, y = arcs
    assert crossing_share(x, y, num_neighbors=20) == 0.0
    for k in range(5):
        # The squared Mahalanobis distance of a Gaussian would be chi-squared.
        centered = x[y == k] - x[y == k].mean(axis=0)
        squared = np.sum(
            centered @ np.linalg.inv(np.cov(centered.T)) * centered, axis=1
        )
        assert stats.kstest(squared, stats.chi2(2).cdf).pvalue < 1e-10


def test_one_gaussian_a_class_is_not_enough_for_the_five_arcs(arcs):
    x, y = arcs
    for model in (
        KMeans(5, n_init=3, random_state=0),
        GaussianMixture(5, random_state=0),
    ):
        assert 0.6 < clustering_accuracy(y, model.fit_predict(x)) < 0.95


def test_seed_determines_the_five_arcs():
    first, again, other = (synthetic.five_arcs(52, seed=s) for s in (7, 7, 8))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])
    np.testing.assert_array_equal(np.bincount(first[1]), [11, 11, 10, 10, 10])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_points": 4}, "num_points must be at least 5, got 4"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_bad_arguments_of_five_arcs(arguments, message):
    with pytest.raises(InvalidInput, match=message):
        synthetic.five_arcs(**arguments)


def test_planted_rows_are_those_of_their_clusters(tmp_path):
    x, y = synthetic.planted_rows(500, 20, num_clusters=3, seed=1)
    assert x.dtype == np.float32 and x.min() >= 0.0 and x.max() <= 1.0
    labels = KMeans(3, n_init=3, random_state=0).fit_predict(x)
    assert clustering_accuracy(y, labels) == 1.0
    out = np.memmap(tmp_path / "x", np.float32, "w+", shape=x.shape)
    again, _ = synthetic.planted_rows(500, 20, num_clusters=3, seed=1, out=out)
    assert again is out
    np.testing.assert_array_equal(again, x)


def test_planted_patches_are_no_balls(tmp_path):
    x, y = synthetic.planted_patches(3000, 40, num_clusters=6, seed=1)
    assert x.dtype == np.float32 and x.min() >= 0.0 and x.max() <= 1.0
    labels = KMeans(6, n_init=3, random_state=0).fit_predict(x)
    assert clustering_accuracy(y, labels) < 0.8
    assert np.mean(y[knn(x, 5)[0]] == y[:, None]) > 0.98
    out = np.memmap(tmp_path / "x", np.float32, "w+", shape=x.shape)
    again, _ = synthetic.planted_patches(3000, 40, num_clusters=6, seed=1, out=out)
    assert again is out
    np.testing.assert_array_equal(again, x)


def test_planted_words_are_texts_about_topics():
    x, y = synthetic.planted_words(2000, 200, num_clusters=4)
    assert x.dtype == np.float32 and x.shape == (2000, 200)
    lengths = np.sqrt((x * x).sum(axis=1))
    np.testing.assert_allclose(lengths, np.sqrt(200.0), rtol=1e-5)
    assert 20 < x.nnz / 2000 < 60
    kmeans = KMeans(4, n_init=3, random_state=0).fit(x)
    assert clustering_accuracy(y, kmeans.labels_) > 0.95


def test_planted_neighbors_are_others_of_the_cluster():
    y = np.array([2, 0, 0, 2, 1, 1, 0, 1, 2, 2])
    indices, distances = synthetic.planted_neighbors(y, 50)
    assert indices.dtype == np.int32 and distances.shape == (10, 50)
    np.testing.assert_array_equal(y[indices], np.repeat(y[:, None], 50, axis=1))
    assert (indices != np.arange(10)[:, None]).all()
    for row in range(10):  # each of them
        assert set(indices[row]) == set(np.flatnonzero(y == y[row])) - {row}
