"""SpectralNet's training against eigenvectors, and its map of points not seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import subspace_angles
from sklearn.cluster import KMeans

from dgg_jax.losses import spectralnet
from dgg_jax.methods.spectralnet import (
    SpectralNetLoss,
    SpectralParams,
    orthonormalized,
    spectral_embedding,
)
from dgg_jax.metrics import clustering_accuracy
from dgg_jax.networks import Embedding
from dgg_jax.training import Monitor, Schedule, optimize

NETWORK = Embedding((32,), 2)


class Metrics(Monitor):
    def __init__(self):
        self.lines = []

    def epoch_end(self, loop, epoch, num_epochs, state, metrics):
        assert loop == "spectralnet"
        self.lines.append(metrics)


def network(params, x):
    return NETWORK.apply({"params": params}, x)


def ring(num_points, seed):
    """A blob inside a ring: no K-means of the plane can tell them apart."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num_points) % 2
    angle = rng.uniform(0.0, 2.0 * np.pi, num_points)
    x = 2.0 * labels[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    x = x + 0.15 * rng.standard_normal(x.shape)
    return x.astype(np.float32), labels


def train(x, params, apply, schedule, embedding=None, **settings):
    monitor = Metrics()
    trained = optimize(
        "spectralnet",
        SpectralNetLoss(apply, **{"num_neighbors": 8, "normalized": False, **settings}),
        params,
        (x, x if embedding is None else embedding),
        jax.random.key(1),
        schedule,
        num_points=len(x),
        monitor=monitor,
    ).params
    params = orthonormalized(trained, x, apply, schedule.batch_size)
    return params, monitor.lines


@pytest.fixture(scope="module")
def trained():
    x, labels = ring(200, 0)
    params = NETWORK.init(jax.random.key(0), x[:1])["params"]
    return x, labels, *train(x, params, network, Schedule(40, 100, 1e-2))


def test_loss_falls_and_outputs_separate_the_ring(trained):
    x, labels, params, lines = trained
    assert len(lines) == 40
    assert all(set(line) == {"loss"} for line in lines)
    assert lines[-1]["loss"] < 0.5 * lines[0]["loss"]
    outputs = np.asarray(spectral_embedding(params, x, network))

    def accuracy(points):
        kmeans = KMeans(2, n_init=10, random_state=0)
        return clustering_accuracy(labels, kmeans.fit_predict(points))

    assert accuracy(outputs) > 0.95
    assert accuracy(x) < 0.8


def test_outputs_of_all_points_are_orthonormal(trained):
    x, _, params, _ = trained
    outputs = np.asarray(spectral_embedding(params, x, network))
    np.testing.assert_allclose(outputs.T @ outputs / len(x), np.eye(2), atol=1e-4)


@pytest.mark.parametrize("batch_size", [7, 1000])
def test_embedding_in_batches_is_the_network_times_the_last_layer(trained, batch_size):
    x, _, params, _ = trained
    assert isinstance(params, SpectralParams)
    actual = spectral_embedding(params, x[:20], network, batch_size=batch_size)
    expected = network(params.network, x[:20]) @ params.orthonormalizer
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_points_that_were_not_trained_on_fall_into_the_same_clusters(trained):
    x, _, params, _ = trained
    new, labels = ring(90, 5)
    kmeans = KMeans(2, n_init=10, random_state=0)
    kmeans.fit(np.asarray(spectral_embedding(params, x, network)))
    predicted = kmeans.predict(np.asarray(spectral_embedding(params, new, network)))
    assert clustering_accuracy(labels, predicted) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("normalized", [False, True])
def test_free_outputs_become_the_first_eigenvectors(normalized):
    # A table of outputs in place of a network, all points in each batch.
    points = np.random.default_rng(0).normal(size=(16, 2)).astype(np.float32)
    weights = np.asarray(spectralnet.gaussian_affinity(jnp.asarray(points), 6), float)
    degrees = weights.sum(axis=1)
    laplacian = np.diag(degrees) - weights
    if normalized:
        laplacian /= np.sqrt(np.outer(degrees, degrees))
    eigenvalues, eigenvectors = np.linalg.eigh(laplacian)
    table = np.random.default_rng(1).normal(size=(16, 2)).astype(np.float32)
    params, lines = train(
        np.eye(16, dtype=np.float32),
        jnp.asarray(table),
        lambda table, one_hot: one_hot @ table,
        Schedule(400, 16, 0.1, decay=0.7, decay_epochs=50),
        embedding=points,
        num_neighbors=6,
        normalized=normalized,
    )
    expected = 2.0 / 16 * eigenvalues[:2].sum()
    assert lines[-1]["loss"] == pytest.approx(expected, rel=1e-2)
    outputs = params.network @ params.orthonormalizer
    assert subspace_angles(outputs, eigenvectors[:, :2]).max() < 0.05


def test_affinities_are_of_the_embedding_not_of_the_data():
    x = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)
    embedding = np.random.default_rng(1).normal(size=(12, 5)).astype(np.float32)
    _, (line,) = train(
        x,
        jnp.eye(2),
        lambda params, x: x @ params,
        Schedule(1, 12, 1e-9),
        embedding=embedding,
    )
    outputs = x @ spectralnet.orthonormalizer(jnp.asarray(x))
    weights = spectralnet.gaussian_affinity(jnp.asarray(embedding), 8)
    expected = float(spectralnet.loss(outputs, weights))
    assert line["loss"] == pytest.approx(expected, rel=1e-4)
