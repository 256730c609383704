"""IMSAT's training: radii, metrics and clusters of blobs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgg_jax.graph import knn
from dgg_jax.losses import imsat
from dgg_jax.metrics import clustering_accuracy
from dgg_jax.networks import Classifier
from dgg_jax.stages.imsat import perturbation_radius, train_imsat
from dgg_jax.training import Monitor, Schedule

NETWORK = Classifier((32,), 3)
TERMS = {"loss", "divergence", "marginal_entropy", "conditional_entropy"}


class Metrics(Monitor):
    def __init__(self):
        self.lines = []

    def epoch_end(self, loop, epoch, num_epochs, state, metrics):
        assert loop == "imsat"
        self.lines.append(metrics)


def classify(params, x):
    return NETWORK.apply({"params": params}, x)


@pytest.fixture(scope="module")
def data():
    """Three clusters in a plane, and their labels."""
    rng = np.random.default_rng(0)
    labels = np.arange(96) % 3
    centers = np.array([[-2.0, -1.0], [2.0, -1.0], [0.0, 2.5]])
    x = centers[labels] + 0.4 * rng.standard_normal((96, 2))
    return x.astype(np.float32), labels


def train(x, radius, params, classify, schedule, **settings):
    monitor = Metrics()
    trained = train_imsat(
        x,
        radius,
        params,
        classify,
        schedule=schedule,
        key=jax.random.key(1),
        monitor=monitor,
        **settings,
    )
    return trained, monitor.lines


def test_radius_is_a_fraction_of_the_distance_to_the_kth_neighbour(data):
    line = np.array([[0.0], [1.0], [3.0], [7.0]])
    radius = perturbation_radius(line, num_neighbors=2, fraction=0.5)
    np.testing.assert_allclose(radius, [1.5, 1.0, 1.5, 3.0], rtol=1e-6)
    x, _ = data
    calls = []
    radius = perturbation_radius(x, progress=lambda done, total: calls.append(done))
    np.testing.assert_allclose(radius, 0.25 * knn(x, 10)[1][:, 9], rtol=1e-6)
    assert calls == [96]


def test_training_finds_separate_clusters(data):
    x, labels = data
    radius = perturbation_radius(x, fraction=0.5)
    params = NETWORK.init(jax.random.key(0), x[:1])["params"]
    trained, lines = train(x, radius, params, classify, Schedule(60, 48, 1e-2))
    assert len(lines) == 60
    assert all(set(line) == TERMS for line in lines)
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert lines[-1]["marginal_entropy"] > 0.95 * np.log(3)
    assert lines[-1]["conditional_entropy"] < 0.2
    q = np.asarray(classify(trained, x))
    assert clustering_accuracy(labels, q.argmax(axis=1)) > 0.95


def linear(params, x):
    logits = x @ params
    return jax.nn.log_sigmoid(jnp.stack([logits, -logits], axis=1))


@pytest.mark.parametrize("probe", [0.5, 2.0])
def test_metrics_of_the_first_step_by_numpy(probe):
    rng = np.random.default_rng(0)
    x, radius = rng.normal(size=(12, 2)), rng.uniform(0.1, 1.0, 12)
    _, (line,) = train(
        x.astype(np.float32),
        radius.astype(np.float32),
        jnp.array([0.6, 0.8]),
        linear,
        Schedule(1, 12, 1e-9),
        information_weight=0.3,
        marginal_weight=2.0,
        probe=probe,
    )

    def probabilities(logits):
        return np.stack([1 / (1 + np.exp(-logits)), 1 / (1 + np.exp(logits))], axis=1)

    def entropy(p):
        return -np.sum(p * np.log(p), axis=-1)

    logits = x @ [0.6, 0.8]
    p = probabilities(logits)
    assert line["marginal_entropy"] == pytest.approx(entropy(p.mean(axis=0)), rel=1e-5)
    assert line["conditional_entropy"] == pytest.approx(entropy(p).mean(), rel=1e-5)
    # The perturbation is along the normal, by the radius, to one side or the other.
    sides = [
        np.sum(p * np.log(p / probabilities(logits + sign * radius)), axis=1)
        for sign in (1, -1)
    ]
    assert np.minimum(*sides).mean() < line["divergence"] < np.maximum(*sides).mean()
    expected = line["divergence"] - 0.3 * (
        2.0 * line["marginal_entropy"] - line["conditional_entropy"]
    )
    assert line["loss"] == pytest.approx(expected, rel=1e-5)


def test_without_a_radius_only_information_is_left(data):
    x, _ = data
    params = NETWORK.init(jax.random.key(0), x[:1])["params"]
    trained, lines = train(x, np.zeros(96), params, classify, Schedule(20, 48, 1e-2))
    assert [line["divergence"] for line in lines] == [0.0] * 20
    terms = imsat.mutual_information(classify(trained, x))
    assert terms.total > imsat.mutual_information(classify(params, x)).total
