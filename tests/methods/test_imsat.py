import dataclasses

import jax
import numpy as np
import pytest

from dgg_jax.graph import knn
from dgg_jax.methods import imsat
from dgg_jax.presets import IMSATPreset
from dgg_jax.stages.warps import RandomWarp
from dgg_jax.training import Run

PRESET = IMSATPreset(
    num_clusters=3, hidden_sizes=(32,), batch_size=90, epochs=60, num_neighbors=5
)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_blobs_are_found_and_rows_classified_one_by_one(blobs, batch_norm):
    x, y = blobs
    preset = dataclasses.replace(PRESET, batch_norm=batch_norm)
    model, state, records = imsat.run(x, preset, y=y)
    assert [record["name"] for record in records] == list(imsat.STAGES)
    assert records[-1]["accuracy"] >= 0.95
    # A row is classified the same alone, in a batch and in the run.
    alone = np.concatenate([model.infer(x[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(alone, model.infer(x[:9])[:4], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(alone, state["log_assignment"][:4], rtol=1e-3, atol=1e-4)
    probabilities = np.exp(state["log_assignment"])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), state["labels"])


def test_the_radius_is_a_share_of_a_neighbours_distance(blobs):
    x, _ = blobs
    preset = dataclasses.replace(PRESET, epochs=0, perturbation_fraction=0.4)
    _, state, _ = imsat.run(x, preset)
    expected = 0.4 * knn(x, 5)[1][:, -1]
    np.testing.assert_allclose(state["radius"], expected, rtol=1e-5)


@pytest.fixture(scope="module")
def strokes():
    """Upright, lying and slanting strokes, 8 x 8, and which each is."""
    random = np.random.default_rng(0)
    y = np.arange(150) % 3
    row, column = np.mgrid[:8, :8] - 3.5
    lines = np.stack([column, row, (row + column) / np.sqrt(2)])[y]
    lines = lines - random.uniform(-2.0, 2.0, (150, 1, 1))
    return np.exp(-2.0 * lines**2).reshape(150, 64).astype(np.float32), y


def test_clusters_of_images_stay_where_they_are_warped(strokes):
    x, y = strokes
    preset = dataclasses.replace(PRESET, batch_size=150)
    warp = RandomWarp((8, 8), 2.0)
    warped = np.asarray(warp(jax.random.key(7), x))
    moved = {}
    for strength in (0.0, 2.0):
        told = dataclasses.replace(preset, warp=strength)
        model, _, _ = imsat.run(x, told, y=y, image_shape=(8, 8))
        log_p, log_q = model.infer(x), model.infer(warped)
        moved[strength] = np.mean(np.sum(np.exp(log_p) * (log_p - log_q), axis=1))
    assert moved[2.0] < 0.5 * moved[0.0]


def test_a_warp_without_images_is_told_and_changes_nothing(blobs, caplog):
    x, _ = blobs
    preset = dataclasses.replace(PRESET, epochs=2)
    plain = imsat.run(x, preset)[1]["log_assignment"]
    told = imsat.run(x, dataclasses.replace(preset, warp=1.0))[1]["log_assignment"]
    assert "warp=1 warps images, and image_shape is not given" in caplog.text
    np.testing.assert_array_equal(plain, told)


def test_a_finished_run_gives_the_same_model_again(blobs, tmp_path):
    x, _ = blobs
    preset = dataclasses.replace(PRESET, epochs=2)
    models = []
    for _ in range(2):
        runner = Run(tmp_path)
        models.append(imsat.run(x, preset, runner=runner)[0])
        runner.close()
    assert len(models[1].moments) == 1
    np.testing.assert_array_equal(models[0].infer(x), models[1].infer(x))
