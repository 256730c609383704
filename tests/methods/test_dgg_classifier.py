"""DGG's classifier f_2 and its fit to labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgg_jax.methods.dgg_steps import ClassifierLoss
from dgg_jax.networks import Classifier
from dgg_jax.training import Monitor, Schedule, optimize
from dgg_jax.types import Gaussian

NUM_CLUSTERS = 3


@pytest.fixture(scope="module")
def blobs():
    """Three round clusters in the plane, far apart: latents and labels."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(NUM_CLUSTERS), 16)).astype(np.int32)
    centers = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    latents = centers[labels] + 0.5 * rng.standard_normal((48, 2))
    latents = latents.astype(np.float32)
    return latents, labels


CLASSIFIER = Classifier((), NUM_CLUSTERS)


def classify(params, z):
    return CLASSIFIER.apply({"params": params}, z)


class Losses(Monitor):
    def __init__(self):
        self.curve = []

    def epoch_end(self, loop, epoch, num_epochs, state, metrics):
        assert loop == "classifier"
        self.curve.append(metrics["loss"])


def fitted(latents, labels, keys, *, logvar, sampled, epochs=60):
    """f_2 fitted from the same initial parameters for every restart."""
    posterior = Gaussian(latents, np.full_like(latents, logvar))
    params = CLASSIFIER.init(jax.random.key(0), latents[:1])["params"]
    params = jax.tree.map(lambda leaf: jnp.stack([leaf] * len(labels)), params)
    monitor = Losses()
    params = optimize(
        "classifier",
        ClassifierLoss(classify, sampled),
        params,
        (posterior, labels, None),
        keys,
        Schedule(epochs, 16, 5e-2),
        num_points=len(latents),
        monitor=monitor,
        restarts=True,
        data_axes=(None, 0, None),
    ).params
    return params, np.array(monitor.curve)


def test_classifier_learns_the_labels_of_every_restart_from_the_means(blobs):
    # No sample of posteriors that wide could be told apart.
    latents, truth = blobs
    keys = jax.random.split(jax.random.key(1), 2)
    labels = np.stack([truth, (truth + 1) % NUM_CLUSTERS])
    settings = {"logvar": 8.0, "sampled": False}
    params, curve = fitted(latents, labels, keys, **settings)
    assert curve.shape == (60, 2)
    assert (curve[-1] < 0.3 * curve[0]).all()
    for restart in range(2):
        own = jax.tree.map(lambda leaf, index=restart: leaf[index], params)
        predicted = np.argmax(classify(own, latents), axis=1)
        np.testing.assert_array_equal(predicted, labels[restart])

    # A restart knows nothing of the others.
    alone, single = fitted(latents, labels[1:], keys[1:], **settings)
    jax.tree.map(
        lambda many, one: np.testing.assert_allclose(many[1], one[0], rtol=1e-3),
        params,
        alone,
    )
    np.testing.assert_allclose(curve[:, 1], single[:, 0], rtol=1e-3)


def test_classifier_may_learn_from_samples(blobs):
    latents, truth = blobs
    keys = jax.random.split(jax.random.key(1), 1)
    _, curve = fitted(latents, truth[None], keys, logvar=8.0, sampled=True)
    assert curve[-1, 0] > 0.9
