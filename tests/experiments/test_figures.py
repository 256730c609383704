import json

import numpy as np
import pytest

from dgg_jax import data
from experiments import figures


@pytest.fixture
def finished(tmp_path):
    """What a run of GMVAE on the five arcs leaves behind."""
    num_points = len(data.load("pinwheel").x)
    labels = np.arange(num_points, dtype=np.int32) % 5
    latents = np.random.default_rng(0).normal(size=(num_points, 2))
    np.savez(tmp_path / "predictions.npz", labels=labels, embedding=latents)
    config = {"dataset": "pinwheel", "preset_values": {"information_constraint": 0.3}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    result = {"final": {"accuracy": 0.75}}
    (tmp_path / "result.json").write_text(json.dumps(result))
    lines = [{"loop": "train", "cluster_prior": value} for value in (0.0, -0.5)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text)
    return tmp_path


def test_a_run_is_read_from_its_files(finished):
    dataset, run = figures.arc_run(finished)
    assert dataset == "pinwheel"
    assert run.name == "lambda = 0.3, ACC 0.750"
    assert (list(run.cluster_prior), run.constraint) == ([0.0, -0.5], 0.3)
    assert run.labels[:6].tolist() == [0, 1, 2, 3, 4, 0]


def test_the_figure_is_written(finished):
    output = finished / "arcs.png"
    figures.main([str(finished), str(finished), str(output)])
    assert output.read_bytes().startswith(b"\x89PNG")


def test_without_runs_it_says_how_it_is_called(capsys):
    with pytest.raises(SystemExit, match=r"experiments\.figures"):
        figures.main(["arcs.png"])
