"""IMSAT's training: radii, metrics and clusters of blobs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgg_jax.graph import knn
from dgg_jax.losses import imsat
from dgg_jax.methods.imsat import ImsatLoss, perturbation_radius
from dgg_jax.metrics import clustering_accuracy
from dgg_jax.networks import Classifier
from dgg_jax.networks.dense import NormalizedClassifier
from dgg_jax.training import Monitor, Schedule, optimize

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


def train(x, radius, params, classify, schedule, **changes):
    monitor = Metrics()
    settings = {"information_weight": 0.1, "marginal_weight": 4.0, "probe": 1.0}
    trained = optimize(
        "imsat",
        ImsatLoss(classify, **settings | changes),
        params,
        (x, radius, None),
        jax.random.key(1),
        schedule,
        num_points=len(x),
        monitor=monitor,
    ).params
    return trained, monitor.lines


def test_radius_is_a_fraction_of_the_distance_to_the_kth_neighbour():
    line = np.array([[0.0], [1.0], [3.0], [7.0]])
    _, distances = knn(line, 2)
    np.testing.assert_allclose(
        perturbation_radius(distances, 0.5), [1.5, 1.0, 1.5, 3.0], rtol=1e-6
    )


def test_training_finds_separate_clusters(data):
    x, labels = data
    radius = perturbation_radius(knn(x, 10)[1], 0.5)
    params = NETWORK.init(jax.random.key(0), x[:1])["params"]
    trained, lines = train(x, radius, params, classify, Schedule(60, 48, 1e-2))
    assert len(lines) == 60
    assert all(set(line) == TERMS for line in lines)
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert lines[-1]["marginal_entropy"] > 0.95 * np.log(3)
    assert lines[-1]["conditional_entropy"] < 0.2
    q = np.asarray(classify(trained, x))
    assert clustering_accuracy(labels, q.argmax(axis=1)) > 0.95


@pytest.fixture(scope="module")
def normalized(data):
    """A trained classifier with batch normalisation, and its parameters."""
    x, _ = data
    network = NormalizedClassifier((16, 16), 3)
    params = network.init(jax.random.key(0), x[:2])["params"]
    trained, lines = train(
        x,
        perturbation_radius(knn(x, 10)[1], 0.5),
        params,
        lambda params, x: network.apply({"params": params}, x)[0],
        Schedule(60, 48, 1e-2),
    )
    assert lines[-1]["loss"] < lines[0]["loss"]
    return jax.jit(lambda *args: network.apply({"params": trained}, *args)), trained


def test_batch_normalisation_leaves_the_uniform_start(data, normalized):
    x, labels = data
    apply, _ = normalized
    q, _ = apply(x)
    assert clustering_accuracy(labels, np.asarray(q).argmax(axis=1)) > 0.95
    untrained = NormalizedClassifier((16, 16), 3).init_with_output(jax.random.key(0), x)
    np.testing.assert_allclose(np.exp(untrained[0][0]), 1 / 3, atol=1e-3)


def test_hidden_layers_are_normalised_by_the_moments_of_the_batch(data, normalized):
    x, _ = data
    apply, params = normalized
    hidden = x
    for i, moments in enumerate(apply(x)[1]):
        hidden = hidden @ np.asarray(params[f"hidden_{i}"]["kernel"])
        np.testing.assert_allclose(moments.mean[0], hidden.mean(axis=0), atol=1e-4)
        np.testing.assert_allclose(moments.variance[0], hidden.var(axis=0), rtol=1e-3)
        hidden = (hidden - hidden.mean(axis=0)) / np.sqrt(hidden.var(axis=0) + 2e-5)
        scale, bias = params[f"scale_{i}"], params[f"bias_{i}"]
        hidden = np.maximum(hidden * np.asarray(scale) + np.asarray(bias), 0.0)
    logits = hidden @ np.asarray(params["output"]["kernel"])
    logits += np.asarray(params["output"]["bias"])
    expected = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(apply(x)[0], expected, rtol=1e-3, atol=1e-3)


def test_moments_of_all_points_classify_each_point_by_itself(data, normalized):
    x, _ = data
    apply, _ = normalized
    together, moments = apply(x)
    for i in (0, 7):
        alone, used = apply(x[i : i + 1], moments)
        np.testing.assert_allclose(alone[0], together[i], rtol=1e-4, atol=1e-4)
        jax.tree.map(np.testing.assert_array_equal, used, moments)


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


def test_augmented_rows_add_a_divergence_of_their_own():
    x = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)

    def of_first_step(radius, **changes):
        params = jnp.array([0.6, 0.8])
        schedule = Schedule(1, 12, 1e-9)
        _, (line,) = train(x, radius, params, linear, schedule, **changes)
        return line

    def moved(key, rows):
        return rows + jnp.array([[0.5, 0.0]])

    still, near = np.zeros(12, np.float32), np.full(12, 0.3, np.float32)
    alone = of_first_step(still, augment=moved)  # no perturbation
    logits = x @ np.array([0.6, 0.8])
    p, q = (1 / (1 + np.exp(-values)) for values in (logits, logits + 0.3))
    expected = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    assert alone["divergence"] == pytest.approx(expected.mean(), rel=1e-4)
    perturbed = of_first_step(near)
    both = of_first_step(near, augment=moved)
    total = alone["divergence"] + perturbed["divergence"]
    assert both["divergence"] == pytest.approx(total, rel=1e-5)
    change = both["loss"] - perturbed["loss"]
    assert change == pytest.approx(alone["divergence"], rel=1e-4)


def test_each_step_augments_anew():
    seen = []

    def augment(key, rows):
        shift = jax.random.normal(key, rows.shape)
        jax.debug.callback(lambda value: seen.append(np.array(value)), shift)
        return rows

    x = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)
    start = jnp.array([0.6, 0.8])
    train(x, np.zeros(12), start, linear, Schedule(2, 6, 1e-9), augment=augment)
    jax.effects_barrier()
    assert len({shift.tobytes() for shift in seen}) == 4


def test_perturbations_are_found_by_the_probe_and_added():
    # The log-odds rise from 0.75 on: half the random directions find that, if the probe
    # reaches so far, and moving the other way would change nothing.
    def one_sided(params, x):
        logits = params * jax.nn.relu(x[:, 0] - 0.75)
        return jax.nn.log_sigmoid(jnp.stack([logits, -logits], axis=1))

    x, radius = np.zeros((16, 1), np.float32), np.ones(16, np.float32)
    values = {}
    for probe in (0.5, 2.0):
        _, (line,) = train(
            x, radius, jnp.array(4.0), one_sided, Schedule(1, 16, 1e-9), probe=probe
        )
        values[probe] = line["divergence"]
    # KL of (1/2, 1/2) from the logistic function of 4 (1 - 0.75)
    logistic = 1.0 / (1.0 + np.exp(-1.0))
    each = -0.5 * np.log(4.0 * logistic * (1.0 - logistic))
    found = 16.0 * values[2.0] / each
    assert values[0.5] == 0.0
    assert 1 <= round(found) <= 15
    assert found == pytest.approx(round(found), rel=1e-4)


@pytest.mark.slow
def test_without_a_radius_only_information_is_left(data):
    x, _ = data
    params = NETWORK.init(jax.random.key(0), x[:1])["params"]
    trained, lines = train(x, np.zeros(96), params, classify, Schedule(20, 48, 1e-2))
    assert [line["divergence"] for line in lines] == [0.0] * 20
    terms = imsat.mutual_information(classify(trained, x))
    assert terms.total > imsat.mutual_information(classify(params, x)).total
