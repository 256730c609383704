"""Workdirs: what they keep is told from what was damaged, replaced or taken away."""

import dataclasses
import json
import os
import pathlib
import shutil
import tempfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dgg_jax
from dgg_jax import checks, presets
from dgg_jax.cli import compare, run
from dgg_jax.data import Dataset
from dgg_jax.runs import kept
from dgg_jax.runs import run as runs
from dgg_jax.runs.finished import load_run
from dgg_jax.storage import folders
from dgg_jax.storage.signed import sign
from tests.experiments.command_line import assert_refused, call
from tests.hardening import kill

FLAGS = ("--method=dec", "--dataset=moons", "--preset=smoke", "--hidden_sizes=6")
IDENTITY = {"method": "dec", "seed": 3, "preset_values": {"epochs": 2}}
VERIFIED = ("config.json", "result.json", "metrics.jsonl", "predictions.npz")
FIXTURES = [HealthCheck.function_scoped_fixture]  # which examples share


@pytest.fixture
def few_rows(monkeypatch):
    x = np.random.default_rng(0).random((40, 2)).astype(np.float32)
    dataset = Dataset(
        x=x, y=np.arange(40) % 2, name="moons", feature_shape=(2,),
        class_names=("a", "b"), likelihood="gaussian", provenance="a test",
    )  # fmt: skip
    monkeypatch.setattr(runs, "load_data", lambda config: dataset)
    monkeypatch.setattr("dgg_jax.reports.run.report_figures", lambda *_: {})


@pytest.fixture
def finished(few_rows, tmp_path):
    """The folder of a finished run."""
    workdir = tmp_path / "finished"
    outcome = call(*FLAGS, f"--workdir={workdir}")
    assert outcome.code == 0 and outcome.err == "", outcome.err
    return workdir


@st.composite
def damage(draw, content):
    """Other bytes, or None for no file."""
    bit = draw(st.integers(0, 8 * len(content) - 1))
    flipped = bytearray(content)
    flipped[bit // 8] ^= 1 << bit % 8
    cut = content[: bit // 8]
    others = st.sampled_from([bytes(flipped), cut, b"", b"{}", b"null", b"[" * 9999])
    return draw(others | st.none() | st.binary(max_size=50))


@given(data=st.data())
@settings(max_examples=6, deadline=None, suppress_health_check=FIXTURES)
def test_no_damage_stops_a_resume(finished, data):
    """Neither of a finished run, nor of one that lacks its result only."""
    with tempfile.TemporaryDirectory() as folder:
        workdir = pathlib.Path(folder, "run")
        shutil.copytree(finished, workdir)
        names = data.draw(st.sets(st.sampled_from(VERIFIED), min_size=1))
        for name in names:
            content = data.draw(damage((workdir / name).read_bytes()))
            (workdir / name).unlink()
            if content is not None:
                (workdir / name).write_bytes(content)
        outcome = call(*FLAGS, f"--workdir={workdir}", "--resume")
        assert outcome.code == 0, outcome.err
        lines = outcome.err.splitlines()
        assert len(lines) <= len(names)
        for line in lines:
            assert any(line.startswith(f"{workdir / name} is") for name in names), line
        assert kill.differences(workdir, finished) == []
        # Repaired: nothing more is told.
        again = call(*FLAGS, f"--workdir={workdir}")
        assert again.code == 0 and again.err == "" and "finished" in again.out


def test_a_damaged_result_is_no_result(finished):
    path = finished / "result.json"
    text = path.read_text()
    path.write_text(text.replace('"seed": 0', '"seed": 1'))
    outcome = call(*FLAGS, f"--workdir={finished}")
    assert_refused(outcome, f"{path} is damaged", "--resume")
    with pytest.raises(checks.InvalidInput, match=r"result\.json is damaged"):
        load_run(finished)
    path.write_text(text)
    assert load_run(finished).result["seed"] == 0
    (finished / "metrics.jsonl").write_text("")
    with pytest.raises(checks.InvalidInput, match=r"metrics\.jsonl is damaged"):
        load_run(finished)


def test_what_a_run_has_left_is_read_from_python(finished):
    run = dgg_jax.load_run(finished)
    assert run.config.preset.epochs == run.result["config"]["preset_values"]["epochs"]
    assert [line["stage"] for line in run.history][-1] == "train"
    model = dgg_jax.load(finished)  # which is in the folder of the run
    for name in ("labels", "probabilities", "embedding"):
        learned = getattr(model, f"{name}_")
        np.testing.assert_allclose(getattr(run, name), learned, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(getattr(run.model, f"{name}_"), learned)
    assert run.names is None  # which this data set has none of
    arrays = dict(np.load(finished / "predictions.npz"), names=np.array(["a"] * 40))
    np.savez(finished / "predictions.npz", **arrays)
    shutil.rmtree(finished / "checkpoints")  # with the checksum of the file
    assert dgg_jax.load_run(finished).names.tolist() == ["a"] * 40
    np.savez(finished / "predictions.npz", labels=arrays["labels"])  # as of K-means
    run = dgg_jax.load_run(finished)
    assert run.probabilities is run.embedding is run.names is None


def test_results_of_earlier_versions_are_read(finished):
    result = json.loads((finished / "result.json").read_text())
    assert kept.read_result(finished) == result
    shutil.rmtree(finished / "checkpoints")
    (finished / "result.json").write_text(json.dumps(result))
    assert kept.read_result(finished) == result
    outcome = call(*FLAGS, f"--workdir={finished}")
    assert outcome.code == 0 and outcome.err == ""


@given(data=st.data())
@settings(deadline=None, suppress_health_check=FIXTURES)
def test_the_copy_serves_for_a_damaged_config(tmp_path, caplog, data):
    caplog.clear()
    folder = pathlib.Path(tempfile.mkdtemp(dir=tmp_path))
    kept.write_config(folder, IDENTITY)
    whole = (folder / "config.json").read_bytes()
    (folder / "checkpoints").mkdir()
    copy = folder / "checkpoints" / "config.json"
    copy.write_text(json.dumps(sign(IDENTITY)))
    damaged, is_copy = folder / "config.json", data.draw(st.booleans())
    if is_copy:
        damaged, whole = copy, copy.read_bytes()
    content = data.draw(damage(whole))
    damaged.unlink()
    if content is not None:
        damaged.write_bytes(content)
    assert kept.read_config(folder) == IDENTITY
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == (not is_copy and content != whole and not same(content))
    assert all(line.startswith(f"{folder / 'config.json'} is damaged") for line in told)


def same(content):
    try:
        return json.loads(content) == IDENTITY
    except (ValueError, TypeError, RecursionError):
        return False


def test_another_configuration_that_ran_meanwhile_is_refused(
    few_rows, forks, tmp_path, monkeypatch
):
    """Between the check of the workdir and its lock, while data are loaded."""
    workdir = tmp_path / "run"
    check_data = runs.check_data

    def check(config, dataset):
        monkeypatch.setattr(runs, "check_data", check_data)
        flags = ("--method=kmeans", "--dataset=moons", "--seed=5")
        other = forks.start("experiments.main", *flags, f"--workdir={workdir}")
        assert other.wait() == 0, other.err
        check_data(config, dataset)

    monkeypatch.setattr(runs, "check_data", check)
    outcome = call(*FLAGS, f"--workdir={workdir}")
    assert_refused(outcome, "holds a run of another configuration", "method=kmeans")
    result = json.loads((workdir / "result.json").read_text())
    assert result["config"]["method"] == "kmeans"
    config = json.loads((workdir / "config.json").read_text())
    assert config["method"] == "kmeans" and config["seed"] == 5
    folders.lock(workdir).close()  # it is free


@pytest.mark.parametrize(("shuffle", "different"), [("all", {}), ("device", "all")])
def test_a_setting_that_a_run_did_not_know_yet_had_its_default(shuffle, different):
    values = dataclasses.asdict(presets.vade("digits"))
    ours = {
        "method": "vade",
        "seed": 0,
        "preset_values": {**values, "shuffle": shuffle},
    }
    values.pop("shuffle")
    theirs = {**ours, "preset_values": json.loads(json.dumps(values))}
    assert runs._differences(theirs, ours) == (different and {"shuffle": different})


@pytest.mark.parametrize("anew", [False, True])
@pytest.mark.parametrize("at", ["train", "report"])
def test_a_workdir_that_vanishes_is_an_error(few_rows, tmp_path, monkeypatch, at, anew):
    workdir = tmp_path / "run"

    def vanish(*_):
        if workdir.exists():
            workdir.rename(tmp_path / "moved")
            if anew:
                workdir.mkdir()
        return {}

    if at == "report":
        monkeypatch.setattr("dgg_jax.reports.run.report_figures", vanish)
    else:
        monkeypatch.setattr("dgg_jax.progress.Progress.epoch", vanish)
    outcome = call(*FLAGS, f"--workdir={workdir}")
    assert outcome.code == 4
    assert outcome.err.count("\n") == 1
    assert f"error: {workdir}" in outcome.err and "has vanished" in outcome.err
    assert workdir.exists() == anew


def test_a_damaged_marker_of_a_comparison_is_written_anew(few_rows, tmp_path):
    flags = (
        "--methods=kmeans", "--dataset=moons", "--seeds=0", f"--workdir={tmp_path}"
    )  # fmt: skip
    assert call(*flags, program=compare).code == 0
    marker = tmp_path / "comparison.json"
    before = marker.read_text()
    marker.write_text(before[:-9])
    outcome = call(*flags, program=compare)
    assert outcome.code == 0
    assert outcome.err == f"{marker} is damaged; it is written anew.\n"
    assert marker.read_text() == before
    assert "finished earlier" in outcome.out


@pytest.mark.parametrize("within", ["", "sub"])
@pytest.mark.parametrize("is_link", [False, True])
@pytest.mark.parametrize("method", ["--method=kmeans", "--methods=kmeans"])
def test_an_overwrite_spares_the_data(few_rows, tmp_path, within, is_link, method):
    """Which someone has put into the folder of a run, or of a comparison, on them."""
    program = run if method == "--method=kmeans" else compare
    workdir, source = tmp_path / "run", tmp_path / "x.csv"
    x = np.random.default_rng(0).random((40, 2))
    np.savetxt(source, x, delimiter=",", header="a,b", comments="")
    flags = method, "--num_clusters=2", f"--workdir={workdir}"
    assert call(*flags, f"--dataset={source}", program=program).code == 0
    moved = workdir / within / "x.csv"
    moved.parent.mkdir(exist_ok=True)
    source.rename(moved)
    if is_link:
        source.symlink_to(moved)
    before = sorted(workdir.rglob("*"))
    data = f"--dataset={source if is_link else moved}"
    outcome = call(*flags, data, "--overwrite", program=program)
    assert_refused(outcome, "lies in", "--overwrite deletes")
    assert sorted(workdir.rglob("*")) == before


def test_nothing_is_left_in_a_finished_workdir(finished):
    names = {path.name for path in finished.rglob("*") if path.name.startswith(".")}
    assert names == {folders.LOCK}
    left = sorted(os.listdir(finished / "checkpoints"))
    assert left == ["checksums.json", "config.json", "stages"]
