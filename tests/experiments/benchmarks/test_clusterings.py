"""Whole clusterings, timed beside each other, and their figure."""

import json
import sys

import numpy as np
import pytest

from experiments import benchmark
from experiments.benchmarks import clusterings, workloads
from experiments.benchmarks.settings import Settings
from tests.experiments.command_line import assert_refused, call

SETTINGS = Settings(quick=True, repetitions=1, data_dir=None)


def run(*arguments):
    return call(*arguments, program=benchmark)


@pytest.fixture
def timed(monkeypatch):
    """Two clusterings, one of which is right; data with labels."""
    y = np.arange(500) % 10
    fake = {"DGG": lambda x: y, "K-means": lambda x: y // 2}
    images = workloads.images

    def with_labels(*arguments):
        return images(*arguments)._replace(y=y, source="mnist")

    monkeypatch.setattr(clusterings, "clusterers", lambda sizes: fake)
    monkeypatch.setattr(clusterings.workloads, "images", with_labels)


def test_each_has_its_seconds_its_accuracy_and_the_ratio(timed):
    found = {figure.name: figure for figure in clusterings.figures(SETTINGS)}
    assert list(found) == [
        *("DGG: accuracy", "DGG: seconds"),
        *("K-means: accuracy", "K-means: seconds", "K-means / DGG"),
    ]
    assert found["DGG: accuracy"].value == 1.0
    assert found["K-means: accuracy"].value == pytest.approx(0.5)
    ratio = found["K-means: seconds"].value / found["DGG: seconds"].value
    assert found["K-means / DGG"].value == pytest.approx(ratio)
    assert found["K-means: seconds"].details["rows"] == 500


def test_of_noise_there_are_seconds_alone(monkeypatch):
    fake = {"DGG": lambda x: np.zeros(len(x), int)}
    monkeypatch.setattr(clusterings, "clusterers", lambda sizes: fake)
    (figure,) = clusterings.figures(SETTINGS)
    assert figure.name == "DGG: seconds" and figure.unit == "s"
    assert "accuracy" not in figure.details


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_clusterers_put_every_row_into_one_of_ten(monkeypatch, capsys):
    for name in ("umap", "clustpy"):
        monkeypatch.setitem(sys.modules, name, None)
    found = clusterings.clusterers(clusterings.QUICK)
    assert list(found) == ["DGG", "K-means", "spectral clustering of scikit-learn"]
    told = capsys.readouterr().out
    assert "not measured: umap" in told or "and umap are" in told
    assert "clustpy" in told
    x = workloads.images(120, None, 5).x
    for cluster in found.values():
        labels = cluster(x)
        assert labels.shape == (120,) and set(labels) <= set(range(10))


def test_accuracy_is_drawn_against_seconds(timed, monkeypatch, tmp_path):
    monkeypatch.setattr(
        benchmark, "suites", lambda: {"clusterings": clusterings.figures}
    )
    path, picture = tmp_path / "benchmark.json", tmp_path / "picture.svg"
    assert run("--suite=clusterings", "--quick", f"--output={path}").code == 0
    outcome = run(f"--show={path}", f"--draw={picture}")
    assert outcome.code == 0 and "| DGG: seconds |" in outcome.out
    assert "Accuracy by seconds" in picture.read_text()
    content = json.loads(path.read_text())
    for figure in content["figures"]:
        figure["details"].pop("accuracy")
    path.write_text(json.dumps(content))
    assert_refused(run(f"--show={path}", f"--draw={picture}"), "has no accuracies")
    assert_refused(run(f"--draw={picture}"), "give it by --show")


def test_a_picture_that_cannot_be_written_is_one_line(timed, monkeypatch, tmp_path):
    monkeypatch.setattr(
        benchmark, "suites", lambda: {"clusterings": clusterings.figures}
    )
    path = tmp_path / "benchmark.json"
    run("--suite=clusterings", "--quick", f"--output={path}")
    for bad in ("/dev/null/x.svg", str(tmp_path / "x.nonsense")):
        assert_refused(run(f"--show={path}", f"--draw={bad}"), f"draw {bad} cannot be")
