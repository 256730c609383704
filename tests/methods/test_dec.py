import dataclasses

import numpy as np
import pytest

from dgg_jax import metrics
from dgg_jax.methods import dec
from dgg_jax.presets import DECPreset

PRESET = DECPreset(
    num_clusters=3,
    likelihood="gaussian",
    variance=0.01,
    hidden_sizes=(16,),
    latent_dim=2,
    pretrain_autoencoder_epochs=30,
    pretrain_batch_size=10,
    pretrain_learning_rate=1e-2,
    epochs=3,
    batch_size=30,
    restarts=2,
)


@pytest.fixture(scope="module")
def finished(blobs):
    x, y = blobs
    return dec.run(x, PRESET, y=y)


def test_blobs_are_found(blobs, finished):
    _, state, records = finished
    assert [record["name"] for record in records] == list(dec.STAGES)
    assert records[-1]["accuracy"] >= 0.98
    assert records[-1]["accuracy"] == metrics.clustering_accuracy(
        blobs[1], state["labels"]
    )


def test_the_model_tells_of_rows_what_the_run_said(blobs, finished):
    model, state, _ = finished
    latents, log_assignment = model.infer(blobs[0][:7])
    np.testing.assert_allclose(latents, state["latent_mean"][:7], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        log_assignment, state["log_assignment"][:7], rtol=1e-4, atol=1e-5
    )
    # Eq. (1) of DEC by hand.
    squared = ((latents[:, None] - model.params["centers"][None]) ** 2).sum(axis=2)
    expected = 1.0 / (1.0 + squared)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.exp(log_assignment), expected, rtol=1e-4)


def test_training_sharpens_the_assignments(blobs, finished):
    x, _ = blobs
    untrained, _, _ = dec.run(x, dataclasses.replace(PRESET, epochs=0))
    before = np.exp(untrained.infer(x)[1]).max(axis=1).mean()
    after = np.exp(finished[1]["log_assignment"]).max(axis=1).mean()
    assert after > before


def test_labels_change_nothing_but_the_metrics(blobs, finished):
    x, _ = blobs
    _, state, records = dec.run(x, PRESET)
    np.testing.assert_array_equal(
        state["log_assignment"], finished[1]["log_assignment"]
    )
    assert records[-1]["accuracy"] is None
