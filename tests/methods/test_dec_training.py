"""DEC's training: the target of each epoch, the metrics, and clusters of blobs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from dgg_jax.methods.dec import DecLoss, Target, log_assignments
from dgg_jax.metrics import clustering_accuracy
from dgg_jax.networks import Encoder
from dgg_jax.training import Monitor, Rows, Schedule, optimize
from dgg_jax.types import Gaussian

NETWORK = Encoder((16,), 2)


class Metrics(Monitor):
    def __init__(self):
        self.lines = []
        self.params = []

    def epoch_end(self, loop, epoch, num_epochs, state, metrics):
        assert loop == "dec"
        self.lines.append(metrics)
        self.params.append(jax.device_get(state.params))


def encode(params, x):
    return NETWORK.apply({"params": params}, x)


def shift(params, x):
    """An encoder that adds a vector; its logvar must not matter."""
    mean = x + params[None]
    return Gaussian(mean, jnp.full_like(mean, jnp.nan))


@pytest.fixture(scope="module")
def data():
    """Three clusters of different sizes in a plane, and their labels."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([0, 1, 2], [40, 20, 12]))
    centers = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
    x = centers[labels] + 0.5 * rng.standard_normal((72, 2))
    return x.astype(np.float32), labels


def train(x, params, encode, schedule):
    monitor = Metrics()
    trained = optimize(
        "dec",
        DecLoss(encode, degrees_of_freedom=1.0),
        params,
        Rows(x),
        jax.random.key(1),
        schedule,
        num_points=len(x),
        monitor=monitor,
        prepare=Target(encode, 1.0, schedule.batch_size),
    ).params
    return trained, monitor


@jax.jit
def network_assignments(params, x):
    return log_assignments(encode, params, x, degrees_of_freedom=1.0)


def student_assignments(z, centers, degrees_of_freedom=1.0):
    kernel = 1.0 + cdist(z, centers) ** 2 / degrees_of_freedom
    kernel **= -(degrees_of_freedom + 1.0) / 2.0
    return kernel / kernel.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("batch_size", [5, 100])
def test_assignments_in_batches_are_those_of_each_point(data, batch_size):
    x, _ = data
    params = {"encoder": jnp.array([0.5, -1.0]), "centers": jnp.asarray(x[:3])}
    actual = log_assignments(
        shift, params, jnp.asarray(x), degrees_of_freedom=2.0, batch_size=batch_size
    )
    expected = student_assignments(x + np.array([[0.5, -1.0]]), x[:3], 2.0)
    np.testing.assert_allclose(np.exp(actual), expected, rtol=1e-4)


def divergence_from_own_target(x, params):
    q = student_assignments(x + params["encoder"], params["centers"])
    p = q**2 / q.sum(axis=0)
    p /= p.sum(axis=1, keepdims=True)
    return np.mean(np.sum(p * np.log(p / q), axis=1))


def test_target_is_that_of_all_points_not_of_a_batch(data):
    x, _ = data
    params = {"encoder": np.zeros(2), "centers": x[:3]}
    _, monitor = train(x, params, shift, Schedule(1, 24, 1e-9))
    (line,) = monitor.lines
    expected = divergence_from_own_target(x, params)
    assert line["loss"] == pytest.approx(expected, rel=1e-4)
    assert line["changed"] == 0.0


def test_target_follows_the_parameters_from_epoch_to_epoch(data):
    # With one batch an epoch, the target is always that of the step's own parameters.
    x, _ = data
    params = {"encoder": np.zeros(2), "centers": x[:3]}
    _, monitor = train(x, params, shift, Schedule(3, 100, 0.05))
    for before, line in zip([params, *monitor.params], monitor.lines, strict=False):
        expected = divergence_from_own_target(x, before)
        assert line["loss"] == pytest.approx(expected, rel=1e-3)
        assert line["changed"] == 0.0
    assert monitor.lines[2]["loss"] != monitor.lines[0]["loss"]


def test_changed_is_the_share_of_points_that_left_their_cluster():
    # Two points on either side of the middle between two centres that move fast.
    x = np.array([[0.9], [1.1]] * 8, np.float32)
    params = {"encoder": jnp.zeros(1), "centers": jnp.array([[0.0], [2.0]])}
    _, monitor = train(x, params, shift, Schedule(1, 2, 0.3))
    assert 0.0 < monitor.lines[0]["changed"] < 1.0


def test_training_sharpens_the_assignments_of_separate_clusters(data):
    x, labels = data
    encoder = NETWORK.init(jax.random.key(0), x[:1])["params"]
    latents = np.asarray(encode(encoder, x).mean)
    centers = np.stack([latents[labels == k][:6].mean(axis=0) for k in range(3)])
    params = {"encoder": encoder, "centers": jnp.asarray(centers)}
    trained, monitor = train(x, params, encode, Schedule(30, 16, 5e-3))
    lines = monitor.lines
    assert len(lines) == 30
    assert all(set(line) == {"loss", "changed"} for line in lines)
    assert lines[-1]["changed"] < 0.05

    def evaluate(params):
        q = np.exp(network_assignments(params, x))
        return clustering_accuracy(labels, q.argmax(axis=1)), q.max(axis=1).mean()

    accuracy, confidence = evaluate(trained)
    assert accuracy > 0.95
    assert confidence > evaluate(params)[1] + 0.1
    # The caller's arrays are still there, and the centres have moved.
    assert np.abs(trained["centers"] - params["centers"]).max() > 0.1


def test_loss_falls_while_the_target_is_held(data):
    # An epoch of many steps ends closer to its own target, that of the start.
    x, _ = data
    params = {"encoder": jnp.zeros(2), "centers": jnp.asarray(x[:3])}
    q = student_assignments(x, x[:3])
    p = q**2 / q.sum(axis=0)
    p /= p.sum(axis=1, keepdims=True)

    def divergence(params):
        q = student_assignments(x + np.asarray(params["encoder"]), params["centers"])
        return np.mean(np.sum(p * np.log(p / q), axis=1))

    trained, _ = train(x, params, shift, Schedule(1, 4, 1e-2))
    assert divergence(trained) < 0.95 * divergence(params)
