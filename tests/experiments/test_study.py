import dataclasses
import json
import os
import shutil
import signal

import numpy as np
import pytest
from scipy import sparse

from dgg_jax import checks, presets
from dgg_jax.data.dataset import Dataset, random_rows
from dgg_jax.runs import results as results_module
from dgg_jax.runs import run as runs
from dgg_jax.storage import folders
from dgg_jax.training import Diverged
from experiments import study as program
from tests.experiments.command_line import assert_refused, call


def study(tmp_path, *arguments):
    folders_ = f"--workdir={tmp_path / 'runs'}", f"--results={tmp_path / 'results'}"
    return call(*folders_, *arguments, program=program)


@pytest.fixture
def trained(monkeypatch):
    """Stands for training: notes each run and writes a result; may fail instead."""

    class Trained(list):
        failing = None

    calls = Trained()

    def train(config, dataset, runner, progress, began):
        if config.workdir.name == calls.failing:
            raise Diverged("loss is not finite")
        calls.append(config)
        of_run = {"config": config.identity(), "number": len(calls)}
        made = {**of_run, "stages": [], "final": {}}
        (config.workdir / "result.json").write_text(json.dumps(made))
        return made

    monkeypatch.setattr(runs, "train_and_report", train)
    return calls


def names(calls):
    return [config.workdir.name for config in calls]


def results(tmp_path, data="digits"):
    folder = tmp_path / "results" / data
    return {
        path.name.removesuffix(".json"): json.loads(path.read_text())
        for path in folder.iterdir()
    }


# --- Variants ----------------------------------------------------------------------


def test_a_variant_changes_what_it_names():
    changes = program.changes_of("label_epochs=0+learning_rate=1e-3+init=gmm", "dgg")
    assert changes == {"label_epochs": 0, "learning_rate": 1e-3, "init": "gmm"}
    assert program.changes_of("hidden_sizes=50,20", "dgg") == {"hidden_sizes": (50, 20)}
    assert program.changes_of("kl_term=false", "vade") == {"kl_term": False}
    assert program.changes_of("default", "dgg") == {}


def test_no_neighbours_is_no_graph(tmp_path, trained):
    variants = "--variants=num_neighbors=0,num_neighbors=30"
    assert study(tmp_path, variants, "--seeds=0").code == 0
    none, many = (config.preset for config in trained)
    default = presets.preset("dgg", "digits")
    assert none == dataclasses.replace(default, graph_strength=0.0)
    # More neighbours than the default's candidates: 20.
    assert many == dataclasses.replace(default, num_neighbors=30, num_candidates=30)


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (
            ["--variants=default,num_neigbors=1"],
            [
                "variant num_neigbors=1: 'num_neigbors' is no setting of --method=dgg",
                "choose from: num_clusters, ",
                "graph_strength",
            ],
        ),
        (["--variants=graph_strength=3"], ["graph_strength must be in [0, 2], got 3"]),
        (["--variants=graph_of=pixels"], ["graph_of=pixels is not valid", "siamese"]),
        (["--variants=epochs=many"], ["epochs=many is not valid"]),
        (["--variants=hidden_sizes=5x5"], ["hidden_sizes must be integers"]),
        (["--variants=epochs"], ["must be default or name=value", "'epochs'"]),
        (["--variants=epochs=1+epochs=2"], ["sets epochs twice"]),
        (
            ["--variants=num_neighbors=0+graph_strength=1"],
            ["sets graph_strength twice"],
        ),
        (["--variants=mixture_decay=1"], ["'mixture_decay' is no setting"]),
        (["--variants="], ["variants must name at least one"]),
        (["--seeds=0,x"], ["seeds must be integers", "'0,x'"]),
        (["--seed=3"], ["--seed is no flag of a study", "--seeds"]),
        (["--resume"], ["--resume is no flag of a study", "same command"]),
        (["default"], ["unexpected argument 'default'"]),
        (["--num_rows=1798"], ["num_rows must be in [1, 1797], got 1798"]),
        (["--variants=num_clusters=1798"], ["num_clusters=1798", "1797 rows"]),
    ],
)
def test_bad_values_are_refused_before_any_work(
    tmp_path, trained, arguments, fragments
):
    assert_refused(study(tmp_path, *arguments), *fragments)
    assert trained == [] and not (tmp_path / "runs").exists()


# --- What is run, and what is not run again ----------------------------------------


def test_every_run_leaves_a_file(tmp_path, trained):
    variants = "--variants=default,epochs=2,epochs=2+decay=1.0"
    outcome = study(tmp_path, variants, "--seeds=0,3", "--batch_size=99")
    assert outcome.code == 0, outcome.err
    order = ["default", "epochs=2", "epochs=2+decay=1.0"]
    assert names(trained) == [f"{name}-{seed}" for seed in (0, 3) for name in order]
    found = results(tmp_path)
    assert sorted(found) == sorted(names(trained))
    for config in trained:
        assert found[config.workdir.name]["config"]["seed"] == config.seed
        assert config.preset.batch_size == 99
        assert config.workdir.parent == tmp_path / "runs"
    assert found["epochs=2-3"]["config"]["preset_values"]["epochs"] == 2
    folder = tmp_path / "results" / "digits"
    assert f"experiments.tables --study={folder}" in outcome.out


def test_other_data_and_presets_have_folders_of_their_own(tmp_path, trained):
    assert study(tmp_path, "--dataset=moons", "--seeds=0").code == 0
    far = ("--dataset=moons", "--moons_distance=far", f"--workdir={tmp_path / 'far'}")
    assert study(tmp_path, *far, "--seeds=0").code == 0
    paper = (*far[:2], "--preset=paper", f"--workdir={tmp_path / 'paper'}")
    assert study(tmp_path, *paper, "--seeds=0").code == 0
    for folder in ("moons", "moons-far", "moons-far-paper"):
        assert set(results(tmp_path, folder)) == {"default-0"}


def test_equal_configurations_are_one_run(tmp_path, trained):
    """The paper's table of neighbours has the default among them."""
    variants = "--variants=default,graph_strength=0,num_neighbors=0,num_neighbors=20"
    assert study(tmp_path, variants, "--seeds=0").code == 0
    assert names(trained) == ["default-0", "graph_strength=0-0"]
    found = results(tmp_path)
    assert found["num_neighbors=20-0"] == found["default-0"]
    assert found["num_neighbors=0-0"] == found["graph_strength=0-0"]
    # Also those of an earlier command.
    assert study(tmp_path, "--variants=siamese_epochs=48", "--seeds=0").code == 0
    assert len(trained) == 2
    assert results(tmp_path)["siamese_epochs=48-0"] == found["default-0"]


def test_what_has_a_file_is_not_run_again(tmp_path, trained):
    assert study(tmp_path, "--variants=default", "--seeds=0").code == 0
    shutil.rmtree(tmp_path / "runs")  # the files are enough
    outcome = study(tmp_path, "--variants=default,epochs=1", "--seeds=0,1")
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("finished earlier.") == 1
    assert names(trained) == ["default-0", "epochs=1-0", "default-1", "epochs=1-1"]


def test_a_finished_run_without_a_file_gets_one(tmp_path, trained):
    assert study(tmp_path, "--seeds=0").code == 0
    shutil.rmtree(tmp_path / "results")
    assert study(tmp_path, "--seeds=0").code == 0
    assert len(trained) == 1 and set(results(tmp_path)) == {"default-0"}


def test_the_result_of_another_configuration_is_not_taken_for_ours(tmp_path, trained):
    assert study(tmp_path, "--seeds=0,1").code == 0
    before = results(tmp_path)
    outcome = study(tmp_path, "--seeds=1", "--epochs=7")
    assert_refused(outcome, "default-1.json has the result of another configuration",
                   "another --results", "--overwrite")  # fmt: skip
    assert results(tmp_path) == before
    outcome = study(tmp_path, "--seeds=1", "--epochs=7", "--overwrite")
    assert outcome.code == 0, outcome.err
    after = results(tmp_path)
    assert after["default-0"] == before["default-0"]
    assert after["default-1"]["config"]["preset_values"]["epochs"] == 7
    assert (tmp_path / "runs/default-0/result.json").exists()


def test_overwrite_keeps_what_is_shared_and_what_is_not_named(tmp_path, trained):
    assert study(tmp_path, "--seeds=0", "--variants=default,epochs=1").code == 0
    (tmp_path / "runs/shared/kept").touch()
    with folders.lock(tmp_path / "runs/default-0"):
        outcome = study(tmp_path, "--seeds=0", "--overwrite")
        assert_refused(outcome, f"default-0 is in use by process {os.getpid()};")
    assert set(results(tmp_path)) == {"default-0", "epochs=1-0"}
    assert study(tmp_path, "--seeds=0", "--overwrite").code == 0
    assert names(trained) == ["default-0", "epochs=1-0", "default-0"]
    assert (tmp_path / "runs/shared/kept").exists()
    assert results(tmp_path)["default-0"]["number"] == 3


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"config": 1}'])
def test_files_of_something_else_are_left_alone(tmp_path, trained, content):
    folder = tmp_path / "results" / "digits"
    folder.mkdir(parents=True)
    (folder / "mine.json").write_text(content)
    outcome = study(tmp_path, "--overwrite")
    assert_refused(outcome, "mine.json cannot be used", "another --results")
    assert (folder / "mine.json").read_text() == content and trained == []


def test_the_results_must_be_a_folder(tmp_path, trained):
    (tmp_path / "results").write_text("content")
    assert_refused(study(tmp_path), "results", "cannot be used", "another --results")


def test_a_diverged_run_is_reported_and_the_others_go_on(tmp_path, trained):
    trained.failing = "epochs=1-0"
    arguments = ["--variants=epochs=1,default", "--seeds=0,1"]
    outcome = study(tmp_path, *arguments)
    assert outcome.code == 3
    assert "training diverged: epochs=1 with seed 0; not in the table" in outcome.err
    assert set(results(tmp_path)) == {"default-0", "epochs=1-1", "default-1"}


def test_a_signal_stops_after_the_run(tmp_path, trained, monkeypatch):
    stub = runs.train_and_report

    def train(*arguments):
        made = stub(*arguments)
        signal.raise_signal(signal.SIGINT)
        return made

    monkeypatch.setattr(runs, "train_and_report", train)
    outcome = study(tmp_path, "--variants=default,epochs=1", "--seeds=0")
    assert outcome.code == 128 + signal.SIGINT
    assert "python -m experiments.study" in outcome.out.splitlines()[-1]
    assert set(results(tmp_path)) == {"default-0"}
    outcome = study(tmp_path, "--variants=default,epochs=1", "--seeds=0")
    assert names(trained) == ["default-0", "epochs=1-0"]


# --- A part of the data ------------------------------------------------------------


def some_data(**changes):
    x = np.arange(20.0, dtype=np.float32).reshape(10, 2)
    y = np.arange(10, dtype=np.int32)
    made = Dataset(x, y, "made", (2,), None, "gaussian", "10 rows", is_test=y > 6)
    return made._replace(**changes)


def test_random_rows_are_the_same_each_time():
    part = random_rows(some_data(), 4)
    assert part.x.shape == (4, 2) and len(set(part.y)) == 4
    np.testing.assert_array_equal(part.x[:, 0], 2 * part.y)
    np.testing.assert_array_equal(part.is_test, part.y > 6)
    np.testing.assert_array_equal(part.y, np.sort(part.y))
    np.testing.assert_array_equal(part.y, random_rows(some_data(), 4).y)
    assert part.provenance == "10 rows; 4 of these rows, at random"
    draws = [tuple(random_rows(some_data(), 4, seed).y) for seed in range(5)]
    assert len(set(draws)) > 1


def test_random_rows_without_labels_or_dense_ones():
    x = sparse.csr_array(some_data().x)
    part = random_rows(some_data(x=x, y=None, is_test=None), 3)
    assert sparse.issparse(part.x) and part.x.shape == (3, 2)
    assert part.y is None and part.is_test is None


def test_all_rows_are_all_rows():
    whole = some_data()
    assert random_rows(whole, None) is whole
    np.testing.assert_array_equal(random_rows(whole, 10).x, whole.x)
    with pytest.raises(checks.InvalidInput, match=r"num_rows must be in \[1, 10\]"):
        random_rows(whole, 11)


def test_a_part_is_never_taken_for_the_whole(tmp_path, trained):
    outcome = study(tmp_path, "--num_rows=100", "--seeds=0,1")
    assert outcome.code == 0, outcome.err
    (config, other) = trained
    assert config.identity()["num_rows"] == 100
    assert config.load().x.shape == (100, 64)
    np.testing.assert_array_equal(config.load().y, other.load().y)
    assert "--num_rows=100" in config.command()
    assert set(results(tmp_path, "digits-100")) == {"default-0", "default-1"}
    # What is shared is of these rows.
    outcome = study(tmp_path, "--num_rows=200", "--seeds=0,1")
    assert_refused(outcome, "holds another study", "num_rows=100")


def test_papers_figures_are_not_beside_those_of_a_part(tmp_path, trained):
    study(tmp_path, "--num_rows=100", "--seeds=0")
    part = trained[0]._replace(dataset="mnist")
    for config, known in ((part, False), (part._replace(num_rows=None), True)):
        made = results_module.collect(config, some_data(), [{"accuracy": 0.5}], 1.0)
        assert (made["paper"] is not None) == known


# --- A real study ------------------------------------------------------------------


@pytest.mark.slow
def test_a_study_from_end_to_end(tmp_path, monkeypatch):
    monkeypatch.setattr("dgg_jax.reports.run.report_figures", lambda *_: {})
    settings = ["--preset=smoke", "--hidden_sizes=8", "--pretrain_layer_epochs=0",
                "--num_rows=200", "--seeds=0"]  # fmt: skip
    variants = "--variants=default,num_neighbors=0,num_neighbors=5"
    outcome = study(tmp_path, *settings, variants)
    assert outcome.code == 0, outcome.err
    found = results(tmp_path, "digits-200-smoke")
    assert set(found) == {"default-0", "num_neighbors=0-0", "num_neighbors=5-0"}
    for name, result in found.items():
        assert result["dataset"]["rows"] == 200
        assert result["dataset"]["provenance"].endswith("200 of these rows, at random")
        history = (tmp_path / "runs" / name / "metrics.jsonl").read_text()
        pretrained = '"stage": "pretrain"' in history
        assert pretrained == (name == "default-0")  # once for all
    first, second = (
        found[name]["stages"] for name in ("default-0", "num_neighbors=0-0")
    )
    assert first[0]["elbo"] == second[0]["elbo"]
    assert first[2]["accuracy"] == second[2]["accuracy"]  # of initialize
    assert first[4]["elbo"] != second[4]["elbo"]
    assert presets.preset("dgg", "digits", "smoke").num_neighbors == 20
