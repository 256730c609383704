import dataclasses

import numpy as np
import pytest

from dgg_jax.graph import knn
from dgg_jax.methods import imsat
from dgg_jax.presets import IMSATPreset
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
