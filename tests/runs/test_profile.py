"""Where the seconds of a run go: the arithmetic of spans, and profiled runs."""

import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgg_jax.runs import profile
from dgg_jax.runs.profile import ProfiledRun
from tests.experiments.command_line import call

STATE = {"w": np.ones(1)}
PARTS = ("training", "tracing", "compiling", "rest")


def test_the_parts_of_a_stage():
    # Epochs of 4 s, a program made in 1 s of them, of which 0.5 s compiled it, and
    # another made outside of them; a program within a program is counted once.
    epochs = [(1.0, 3.0), (4.0, 6.0)]
    making = [(1.0, 2.0), (1.2, 1.4), (1.5, 2.0), (7.0, 8.0)]
    compiling = [(1.5, 2.0)]
    found = profile.row("train", None, [(0.0, 10.0)], epochs, making, compiling)
    assert found == {
        "stage": "train",
        "loop": None,
        "epochs": 2,
        "seconds": 10.0,
        "training": 3.0,
        "tracing": 1.5,
        "compiling": 0.5,
        "rest": 5.0,
    }


def test_the_parts_of_a_loop_are_those_within_its_epochs():
    making, compiling = [(1.0, 2.0), (7.0, 8.0)], [(1.5, 2.0), (7.5, 8.0)]
    found = profile.row("a", "b", [(0.0, 4.0)], [(0.0, 4.0)], making, compiling)
    assert [found[part] for part in PARTS] == [3.0, 0.5, 0.5, 0.0]


@pytest.mark.parametrize("spans", [[], [(2.0, 2.0)]])
def test_nothing_takes_no_time(spans):
    assert profile.covered(spans) == profile.common(spans, [(0.0, 9.0)]) == 0.0


@pytest.fixture
def traces(monkeypatch):
    """Lists when traces begin and end, in place of traces."""
    events = []

    def begin(folder, **options):
        events.append(folder.name)

    monkeypatch.setattr(jax.profiler, "start_trace", begin)
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: events.append("end"))
    return events


def looped(runner, *loops):
    """A stage of loops, each of so many epochs, that compiles and waits."""

    def stage(state):
        jax.jit(lambda x: jnp.sin(x) + len(loops))(jnp.ones(3))
        for loop, num_epochs in loops:
            runner.restore(loop, STATE)
            for epoch in range(1, num_epochs + 1):
                time.sleep(0.02)
                runner.epoch_end(loop, epoch, num_epochs, STATE, {})
        time.sleep(0.03)
        return STATE, {}

    return stage


def test_a_row_for_each_stage_and_loop(traces, tmp_path):
    runner = ProfiledRun(tmp_path)
    runner.stage("one", looped(runner, ("a", 5), ("b", 1)), STATE)
    runner.stage("two", looped(runner), STATE)
    runner.close()
    rows = {(one["stage"], one["loop"]): one for one in runner.profile}
    assert list(rows) == [("one", None), ("one", "a"), ("one", "b"), ("two", None)]
    assert [one["epochs"] for one in rows.values()] == [6, 5, 1, 0]
    for one in rows.values():
        assert sum(one[part] for part in PARTS) == pytest.approx(
            one["seconds"], abs=0.01
        )
        assert all(one[part] >= -0.001 for part in PARTS)
    stage = rows["one", None]
    assert stage["compiling"] > 0 and stage["tracing"] > 0
    assert stage["training"] >= 0.12 and rows["one", "a"]["training"] >= 0.1
    assert stage["rest"] >= 0.03 and rows["one", "a"]["rest"] == 0
    assert stage["seconds"] == pytest.approx(runner.records[0]["seconds"], abs=0.5)


def test_a_trace_is_of_the_second_and_third_epoch(traces, tmp_path):
    runner = ProfiledRun(tmp_path)
    runner.stage("one", looped(runner, ("a", 5), ("b", 1), ("c", 2)), STATE)
    assert traces == ["one.a", "end", "one.c", "end"]
    runner.close()


def test_a_trace_ends_when_its_time_is_over(traces, monkeypatch, tmp_path):
    monkeypatch.setattr(profile, "_TRACED_SECONDS", 0.01)
    runner = ProfiledRun(tmp_path)

    def stage(state):
        for epoch in (1, 2):
            runner.epoch_end("a", epoch, 9, STATE, {})
        for _ in range(500):
            time.sleep(0.01)
            if traces[1:]:
                break
        return STATE, {}

    runner.stage("one", stage, STATE)
    runner.close()
    assert traces == ["one.a", "end"]


def test_a_trace_ends_with_a_stage_that_fails(traces, tmp_path):
    runner = ProfiledRun(tmp_path)

    def stage(state):
        runner.epoch_end("a", 1, 9, STATE, {})
        raise ValueError("of the stage")

    with pytest.raises(ValueError, match="of the stage"):
        runner.stage("one", stage, STATE)
    runner.close()
    assert traces == ["one.a", "end"]
    assert runner.profile == []


@pytest.mark.slow
def test_a_run_tells_where_its_seconds_go(tmp_path):
    shared = ("--dataset=moons", "--preset=smoke", "--num_rows=400")
    plain = call(*shared, f"--workdir={tmp_path / 'plain'}")
    told = call(*shared, "--profile", f"--workdir={tmp_path / 'told'}")
    assert plain.code == told.code == 0
    assert "where the seconds go" in told.out
    assert "where the seconds go" not in plain.out
    assert not (tmp_path / "plain" / "profile").exists()
    assert list((tmp_path / "told" / "profile").glob("train.train/**/*.xplane.pb"))
    without, result = (
        json.loads((tmp_path / name / "result.json").read_text())
        for name in ("plain", "told")
    )
    assert result.keys() - without.keys() == {"profile"}
    assert result["final"] == without["final"]
    of_stages = [one for one in result["profile"] if one["loop"] is None]
    names = [stage["name"] for stage in result["stages"]]
    assert [one["stage"] for one in of_stages] == names
    assert "Where the seconds go" in (tmp_path / "told" / "report.html").read_text()
    repeated = call(*shared, f"--workdir={tmp_path / 'told'}")
    assert "where the seconds go" in repeated.out
