import dataclasses

import numpy as np
import pytest

from dgg_jax.checks import InvalidInput
from dgg_jax.methods import spectralnet
from dgg_jax.presets import SpectralNetPreset
from dgg_jax.training import Run

PRESET = SpectralNetPreset(
    num_clusters=3,
    hidden_sizes=(32,),
    latent_dim=2,
    affinity_neighbors=4,
    siamese_epochs=3,
    siamese_batch_size=60,
    epochs=15,
    batch_size=90,
    restarts=3,
)


@pytest.mark.parametrize("siamese_epochs", [0, 3])
def test_blobs_are_found_and_new_rows_placed(blobs, siamese_epochs):
    x, y = blobs
    preset = dataclasses.replace(PRESET, siamese_epochs=siamese_epochs)
    model, state, records = spectralnet.run(x, preset, y=y)
    assert [record["name"] for record in records] == list(spectralnet.STAGES)
    assert records[-1]["accuracy"] >= 0.95
    embedding, labels = model.infer(x)
    np.testing.assert_array_equal(labels, state["labels"])
    np.testing.assert_allclose(embedding, state["latent_mean"], rtol=1e-4, atol=1e-5)


def test_the_outputs_are_orthonormal(blobs):
    _, state, _ = spectralnet.run(blobs[0], dataclasses.replace(PRESET, epochs=2))
    outputs = state["latent_mean"]
    gram = outputs.T @ outputs / len(outputs)
    np.testing.assert_allclose(gram, np.eye(3), atol=1e-3)


def test_there_is_no_encoder_to_start_from():
    with pytest.raises(InvalidInput, match="use siamese_init=random"):
        dataclasses.replace(PRESET, siamese_init="encoder")


@pytest.mark.parametrize(
    ("changes", "rows", "remedy"),
    [
        ({"batch_size": 3}, 60, "batch_size=3 of 60 rows; use a larger batch_size."),
        ({}, 3, "batch_size=90 of 3 rows; ask for fewer clusters."),
    ],
)
def test_too_small_a_batch_is_refused_before_any_work(blobs, changes, rows, remedy):
    runner = Run()
    with pytest.raises(InvalidInput, match=f"num_clusters=3 for {remedy}"):
        preset = dataclasses.replace(PRESET, **changes)
        spectralnet.run(blobs[0][:rows], preset, runner=runner)
    assert runner.history == [] and runner.records == []
    spectralnet.check(dataclasses.replace(PRESET, batch_size=4), (4, 2))


def test_the_siamese_network_may_see_images_warped(blobs):
    x, _ = blobs
    x = np.repeat(x, 2, axis=1)
    preset = dataclasses.replace(PRESET, siamese_warp=1.0, epochs=1)
    plain = dataclasses.replace(preset, siamese_warp=0.0)
    shape = (2, x.shape[1] // 2)
    embeddings = [
        spectralnet.run(x, one, image_shape=shape).state["embedding"]
        for one in (preset, plain)
    ]
    assert np.abs(embeddings[0] - embeddings[1]).max() > 1e-3
