"""The Siamese embedding, the drawn graph and its purity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgg_jax.graph import knn
from dgg_jax.networks import Embedding
from dgg_jax.stages.graph import SiameseLoss, draw_neighbors, neighbor_purity
from dgg_jax.training import Monitor, Schedule, optimize


class Metrics(Monitor):
    def __init__(self):
        self.lines = []

    def epoch_end(self, loop, epoch, num_epochs, state, metrics):
        assert loop == "siamese"
        self.lines.append(metrics)


def train(loss, x, neighbors, params, schedule, monitor, seed=0):
    return optimize(
        "siamese",
        loss,
        params,
        (x, neighbors),
        jax.random.key(seed),
        schedule,
        num_points=len(x),
        monitor=monitor,
    ).params


@pytest.fixture(scope="module")
def data():
    """Two clusters in a plane, hidden among features of noise."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 32)
    x = rng.standard_normal((64, 4))
    x[:, 0] = 4.0 * labels + 0.3 * rng.standard_normal(64)
    return x.astype(np.float32), labels


@pytest.mark.parametrize("pairing", ["batch", "drawn"])
def test_positive_pairs_end_closer_than_negative_ones(data, pairing):
    x, labels = data
    neighbors, _ = knn(x, 2)
    network = Embedding((16,), 2)
    params = network.init(jax.random.key(0), x[:1])["params"]

    def embed(params, x):
        return network.apply({"params": params}, x)

    monitor = Metrics()
    loss = SiameseLoss(embed, margin=3.0, num_pairs=2, pairing=pairing)
    trained = train(loss, x, neighbors, params, Schedule(40, 16, 1e-2), monitor, seed=1)
    assert len(monitor.lines) == 40
    assert monitor.lines[-1]["loss"] < 0.7 * monitor.lines[0]["loss"]
    for line in monitor.lines:
        assert line["loss"] == pytest.approx(line["positive"] + line["negative"], 1e-5)

    def mean_distances(params):
        embedding = np.asarray(embed(params, x))
        distance = np.linalg.norm(embedding[:, None] - embedding[None], axis=2)
        near = distance[np.arange(64)[:, None], neighbors].mean()
        apart = distance[labels == 0][:, labels == 1].mean()
        return near, distance.sum() / (64 * 63), apart

    near, mean, apart = mean_distances(trained)
    near_before, mean_before, _ = mean_distances(params)
    assert near < 0.25 * mean
    assert near / mean < 0.9 * near_before / mean_before
    assert apart > 0.8 * 3.0


def siamese_metrics(
    x,
    neighbors,
    epochs=1,
    batch_size=16,
    margin=3.0,
    num_pairs=5,
    pairing="drawn",
    augment=None,
):
    """Metrics of training an embedding that is the data times 1."""
    monitor = Metrics()
    loss = SiameseLoss(
        lambda params, x: params["scale"] * x,
        margin,
        min(num_pairs, neighbors.shape[1]),
        pairing,
        augment,
    )
    schedule = Schedule(epochs, batch_size, 1e-9)
    train(loss, x, neighbors, {"scale": jnp.ones(())}, schedule, monitor)
    return monitor.lines


def test_a_point_is_never_its_own_negative_partner():
    # All points lie further apart than the margin: only itself could cost anything.
    x = 10.0 * np.arange(7, dtype=np.float32)[:, None]
    neighbors = np.tile(np.arange(7)[:, None], (1, 5))
    lines = siamese_metrics(x, neighbors, epochs=20, batch_size=3)
    assert [line["negative"] for line in lines] == [0.0] * 20
    assert [line["positive"] for line in lines] == [0.0] * 20
    lines = siamese_metrics(x, neighbors, epochs=20, batch_size=3, margin=10.5)
    assert max(line["negative"] for line in lines) > 0.0


def test_positive_pairs_are_the_neighbours():
    x = np.array([[0.0], [1.0], [3.0], [7.0]], np.float32)
    neighbors = np.array([[1, 2], [0, 2], [1, 0], [2, 1]])
    (line,) = siamese_metrics(x, neighbors, batch_size=4)
    squared = [1, 9, 1, 4, 4, 9, 16, 36]
    assert line["positive"] == pytest.approx(np.mean(squared), rel=1e-5)


def test_all_pairs_of_a_batch_by_hand():
    """Of the points 0, 1 and 5 the neighbours are 1, 0 and 1."""
    x = np.array([[0.0], [1.0], [5.0]], np.float32)
    neighbors = np.array([[1], [0], [1]])
    (line,) = siamese_metrics(x, neighbors, batch_size=3, margin=4.5, pairing="batch")
    assert line["positive"] == pytest.approx(np.mean([1, 1, 16]), rel=1e-5)
    # Owners 0, 1, 2 embed {0, 1}, {1, 0} and {5, 1}; equal points are no pair.
    first_second = [(0, 1), (1, 0)]
    first_third = [(0, 5), (0, 1), (1, 5)]
    second_third = [(1, 5), (0, 5), (0, 1)]
    distances = [abs(a - b) for a, b in first_second + first_third + second_third]
    hinges = [max(4.5 - distance, 0) ** 2 for distance in distances]
    assert line["negative"] == pytest.approx(np.mean(hinges), rel=1e-5)


def test_drawn_negative_pairs_have_the_mean_of_all():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((12, 2)).astype(np.float32)
    itself = np.arange(12)[:, None]  # so that only the batch has pairs
    (every,) = siamese_metrics(x, itself, batch_size=12, num_pairs=1, pairing="batch")
    drawn = siamese_metrics(x, itself, epochs=800, batch_size=12, num_pairs=1)
    negative = [line["negative"] for line in drawn]
    error = np.std(negative) / np.sqrt(len(negative))
    assert every["negative"] == pytest.approx(np.mean(negative), abs=5 * error)
    assert every["positive"] == 0.0


def move(key, rows):
    """Each row by a number of its own from 0 to 1."""
    return rows + jax.random.uniform(key, rows.shape)


def test_both_ends_of_all_pairs_are_augmented_anew_in_every_step():
    x = np.arange(0.0, 400.0, 100.0, dtype=np.float32)[:, None]
    itself = np.arange(4)[:, None]
    lines = siamese_metrics(x, itself, epochs=400, batch_size=4, augment=move)
    positive = [line["positive"] for line in lines]
    # Of two numbers from 0 to 1, the squared difference is 1/6 in the mean.
    assert np.mean(positive) == pytest.approx(1 / 6, abs=0.02)
    assert len(set(positive)) == 400
    (line,) = siamese_metrics(
        x, itself, batch_size=4, margin=100.0, augment=lambda key, rows: 0 * rows
    )
    assert (line["positive"], line["negative"]) == (0.0, 10_000.0)


def test_each_step_draws_the_pairs_of_more_neighbours_anew():
    """Of two neighbours at distances 1 and 3, each step takes one for a point."""
    x = np.array([[0.0], [1.0], [-3.0]], np.float32)
    neighbors = np.array([[1, 2], [0, 0], [0, 0]])
    lines = siamese_metrics(x, neighbors, epochs=200, batch_size=3, num_pairs=1)
    positive = np.array([line["positive"] for line in lines])
    kinds = np.array([1 + 1 + 9, 9 + 1 + 9]) / 3  # of the first point, 1 or 9
    nearest = np.abs(positive[:, None] - kinds).argmin(axis=1)
    np.testing.assert_allclose(positive, kinds[nearest], rtol=1e-5)
    assert 60 < nearest.sum() < 140


def test_every_partner_is_a_point_of_the_batch():
    """Two points: each meets the other, at distance 1, in all pairs."""
    x = np.array([[0.0], [1.0]], np.float32)
    (line,) = siamese_metrics(x, np.array([[1, 1, 1], [0, 0, 0]]), batch_size=8)
    assert line["negative"] == pytest.approx(4.0, rel=1e-5)
    assert line["positive"] == pytest.approx(1.0, rel=1e-5)


@pytest.fixture(scope="module")
def candidates():
    x = np.random.default_rng(0).standard_normal((30, 2))
    return knn(x, 8)


def draw(candidates, num_neighbors=3, choice="random", weights="uniform", seed=0):
    return draw_neighbors(
        *candidates,
        num_neighbors,
        choice=choice,
        weights=weights,
        kernel_neighbor=0,
        seed=seed,
    )


def test_random_neighbours_are_a_draw_from_the_candidates(candidates):
    indices, _ = candidates
    graph = draw(candidates)
    assert graph.indices.shape == (30, 3)
    for row, allowed in zip(graph.indices.tolist(), indices.tolist(), strict=True):
        assert len(set(row)) == 3
        places = [allowed.index(neighbor) for neighbor in row]
        assert places == sorted(places)  # nearest first
    # All candidates have their chance: over 30 rows each place is drawn.
    places = np.argmax(graph.indices[:, :, None] == indices[:, None], axis=2)
    assert set(places.ravel().tolist()) == set(range(8))


def test_random_neighbours_are_a_function_of_the_seed(candidates):
    first = draw(candidates, seed=4)
    np.testing.assert_array_equal(first.indices, draw(candidates, seed=4).indices)
    assert (first.indices != draw(candidates, seed=5).indices).any()


def test_every_candidate_is_as_likely():
    indices = np.tile(np.arange(1, 6), (4000, 1))
    graph = draw((indices, indices.astype(float)), 2)
    share = np.bincount(graph.indices.ravel())[1:] / 8000
    np.testing.assert_allclose(share, 0.2, atol=5 * np.sqrt(0.16 / 8000))


@pytest.mark.parametrize("seed", [0, 1])
def test_nearest_keeps_the_nearest(candidates, seed):
    graph = draw(candidates, choice="nearest", seed=seed)
    np.testing.assert_array_equal(graph.indices, candidates[0][:, :3])


@pytest.mark.parametrize("choice", ["random", "nearest"])
def test_no_more_neighbours_than_candidates(candidates, choice):
    graph = draw(candidates, 20, choice=choice)
    np.testing.assert_array_equal(graph.indices, candidates[0])
    np.testing.assert_allclose(graph.weights, 1 / 8, rtol=1e-6)


def test_gaussian_weights_are_of_the_drawn_distances(candidates):
    indices, distances = candidates
    graph = draw(candidates, weights="gaussian")
    for i in range(30):
        places = [indices[i].tolist().index(j) for j in graph.indices[i].tolist()]
        d = distances[i, places].astype(np.float64)
        affinity = np.exp(-0.5 * (d / d.max()) ** 2)
        expected = affinity / affinity.sum()
        np.testing.assert_allclose(graph.weights[i], expected, rtol=1e-5)


def test_neighbor_purity_by_hand():
    labels = np.array([0, 0, 1, 1])
    indices = np.array([[1, 2], [0, 1], [3, 0], [0, 1]])
    # Rows: 1 of 2, 2 of 2, 1 of 2, 0 of 2.
    assert neighbor_purity(indices, labels) == 0.5
    assert neighbor_purity(indices, np.array(list("aaab"))) == 5 / 8
