"""--num_clusters=auto: estimated once, fixed in config.json, and told."""

import json
import pathlib
import shlex

import numpy as np
import pytest

from dgg_jax import methods, presets
from dgg_jax.cli import compare
from dgg_jax.log import LOGGER
from dgg_jax.stages.cluster_count import ClusterCount
from dgg_jax.training import Interrupted
from experiments import study
from tests.experiments.command_line import assert_refused, call, predictions
from tests.experiments.test_resume import epoch_of, kill_when, start
from tests.hardening import kill

COUNT = ClusterCount((5, 6, 7), (4, 3, 3), 3)
MOONS = (
    "--dataset=moons",
    "--preset=smoke",
    "--num_clusters=auto",
    "--hidden_sizes=8",
    "--num_neighbors=5",
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LOGGER, "warning", lambda *arguments: None)


@pytest.fixture
def begun(monkeypatch):
    """Finds COUNT, and stops the run proper; lists (preset, runner) of both."""
    begun = []

    def count(x, preset, runner, *, seed, image_shape, batch):
        begun.append((preset, runner))
        return COUNT

    def run(x, preset, *, seed, y, runner, image_shape, column_scale, batch):
        begun.append((preset, runner))
        raise Interrupted

    rigged = methods.method("dgg")._replace(run=run, count_clusters=count)
    monkeypatch.setitem(methods.METHODS, "dgg", rigged)
    return begun


def config(workdir):
    return json.loads(pathlib.Path(workdir, "config.json").read_text())


def test_the_preset_sees_the_estimate(begun):
    x = np.random.default_rng(0).normal(size=(900, 12))
    np.save("x.npy", x)
    arguments = ("--dataset=x.npy", "--num_clusters=auto", "--latent_dim=3")
    outcome = call(*arguments)
    assert "3 clusters: HDBSCAN finds 3 on 2 of 3 minimal sizes (3 ... 4)." in (
        outcome.out
    )
    assert "num_clusters 3, likelihood" in outcome.out
    (before, runner), (preset, same_runner) = begun
    assert runner is same_runner
    standard = ((x - x.mean(0)) / x.std(0)).astype(np.float32)
    expected = presets.for_data("dgg", standard, 3, latent_dim=3)
    assert preset.num_clusters == 3
    assert preset.num_candidates == expected.num_candidates == 33
    assert before.latent_dim == 3 and before.num_candidates != 33
    known = config("runs/x-dgg-0")
    assert known["num_clusters"] == "auto"
    assert known["preset_values"]["num_clusters"] == 3
    assert known["cluster_count"] == json.loads(json.dumps(COUNT._asdict()))


def test_a_benchmark_keeps_its_other_settings(begun):
    call("--dataset=mnist", "--num_clusters=auto")  # which is not here
    assert not begun
    assert "Stopped" in call("--num_clusters=auto", "--epochs=7").out
    expected = presets.preset("dgg", "digits")
    assert begun[-1][0] == type(expected)(**vars(expected) | {"num_clusters": 3,
                                                              "epochs": 7})  # fmt: skip


def test_a_run_that_goes_on_is_the_same_run(begun):
    assert call("--num_clusters=auto").code != 0
    refused = call("--num_clusters=auto")
    assert_refused(refused, "holds this run, unfinished", "--resume")
    assert "Stopped" in call("--num_clusters=auto", "--resume").out
    # One that was killed before it knew K goes on, too.
    path = pathlib.Path("runs/digits-dgg-0/config.json")
    known = json.loads(path.read_text())
    assert known.pop("cluster_count")
    known["preset_values"]["num_clusters"] = 2
    path.write_text(json.dumps(known))
    assert "Stopped" in call("--num_clusters=auto", "--resume").out
    assert config(path.parent)["preset_values"]["num_clusters"] == 3
    refused = call("--num_clusters=3", "--resume")
    assert_refused(refused, "another configuration (there: num_clusters=auto)")
    refused = call("--num_clusters=auto", "--epochs=9", "--resume")
    assert_refused(refused, "another configuration (there: epochs=20)")
    assert "Stopped" in call("--num_clusters=auto", "--epochs=9", "--overwrite").out


@pytest.mark.parametrize("text", ["", "[]", "{", '{"cluster_count": {}}'])
def test_a_damaged_config_is_refused(begun, text):
    call("--num_clusters=auto")
    pathlib.Path("runs/digits-dgg-0/config.json").write_text(text)
    del begun[:]
    outcome = call("--num_clusters=auto", "--resume")
    assert_refused(outcome, "runs/digits-dgg-0")
    assert not begun


@pytest.mark.parametrize(
    ("program", "kind"), [(compare, "a comparison"), (study, "a study")]
)
def test_a_series_has_one_k_for_all(program, kind):
    outcome = call("--num_clusters=auto", program=program)
    assert_refused(outcome, f"auto is not for {kind}", "give the number")


def test_data_without_clusters_are_one_line():
    np.save("x.npy", np.random.default_rng(1).uniform(size=(120, 6)))
    arguments = ("--dataset=x.npy", "--num_clusters=auto", "--siamese_epochs=0")
    outcome = call(*arguments)
    assert outcome.code == 2
    assert outcome.err.startswith("error: num_clusters=auto finds no clusters")
    assert outcome.err.count("\n") == 1


@pytest.mark.slow
def test_from_data_to_the_report():
    outcome = call(*MOONS, "--workdir=run")
    assert outcome.code == 0, outcome.err
    assert "2 clusters: HDBSCAN finds 2 on 17 of 17 minimal sizes" in outcome.out
    assert "[1/7] num_clusters" in outcome.out and "[7/7] evaluate" in outcome.out
    result = json.loads(pathlib.Path("run/result.json").read_text())
    assert result["config"] == config("run")
    assert result["config"]["cluster_count"]["num_clusters"] == 2
    assert result["stages"][0]["counts"] == [2] * 17
    assert set(predictions("run")["labels"]) <= {0, 1}
    assert pathlib.Path("run/figures/cluster_counts.png").exists()
    assert "How many clusters" in pathlib.Path("run/report.html").read_text()
    command = shlex.split(result["command"])[3:]
    assert set(command) == set(MOONS)
    again = call(*command, "--workdir=run")
    assert again.code == 0 and "holds this run, finished" in again.out
    assert "num_clusters=auto" in call(*MOONS[:2], *MOONS[3:], "--workdir=run").err


@pytest.mark.release
@pytest.mark.slow
def test_kills_in_the_estimate_and_after_it(forks, tmp_path):
    """What is trained for the estimate is trained once, and the run ends the same."""
    # Restarts and labels come after the estimate: they are killed in test_resume.py.
    brief = ("--restarts=1", "--label_epochs=0")
    arguments = ("--num_clusters=auto", "--checkpoint_seconds=0", *brief)
    reference, workdir = tmp_path / "reference", tmp_path / "run"
    process = start(forks, reference, *arguments)
    assert process.wait(600) == 0, process.err
    lines = (reference / "metrics.jsonl").read_text().splitlines()
    trained = {(line["stage"], line["loop"]) for line in map(json.loads, lines)}
    assert ("num_clusters", "siamese") in trained
    assert {stage for stage, _ in trained} == {"num_clusters", "classifier", "train"}
    points = [
        epoch_of(workdir, "num_clusters", "siamese", 2),
        (workdir / "checkpoints" / "stages" / "1").exists,
    ]
    resume = []
    for reached in points:
        process = start(forks, workdir, *arguments, *resume)
        kill_when(process, reached)
        resume = ["--resume"]
    process = start(forks, workdir, *arguments, "--resume")
    assert process.wait(600) == 0, process.err
    assert kill.differences(workdir, reference) == []
