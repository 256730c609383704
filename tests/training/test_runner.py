import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dgg_jax import checks
from dgg_jax.training import (
    Diverged,
    Interrupted,
    Run,
    StepOutput,
    compile_epoch,
    fit,
)
from dgg_jax.training import runner as training_runner
from dgg_jax.training.state import create_state
from tests.trees import assert_same, of_the_run

EPOCHS = 3
DATA = np.linspace(-1.0, 2.0, 8, dtype=np.float32)[:, None]
OPTIMIZER = optax.adam(0.1)


def loss(params, data, indices, key):
    noise = 0.1 * jax.random.normal(key, (len(indices), 1))
    value = jnp.mean((params["w"][None] - data[indices] - noise) ** 2)
    return value, StepOutput({"loss": value}, rows=data[indices, 0])


# Compiled once: every run of this file trains with it.
EPOCH = compile_epoch(loss, OPTIMIZER, num_points=len(DATA), batch_size=4)


class Toy:
    """Two training stages, the second after a computation that is remembered."""

    def __init__(self, runner, epochs=EPOCHS):
        self.runner, self.epochs = runner, epochs
        self.called, self.computed = [], 0

    def descend(self, loop, start, seed):
        state = create_state({"w": start}, OPTIMIZER, table=jnp.zeros(len(DATA)))
        key = jax.random.key(seed)
        return fit(loop, EPOCH, state, DATA, key, self.epochs, monitor=self.runner)

    def first(self, state):
        self.called.append("first")
        w = self.descend("down", jnp.zeros(1), 0).params["w"]
        return {"w": w, "nested": {"one": jnp.ones((2, 3), jnp.int32)}}, {"at": 1.5}

    def compute(self):
        self.computed += 1
        return {"offset": np.full(1, 0.25, np.float32)}

    def second(self, state):
        self.called.append("second")
        offset = self.runner.remember("offset", self.compute)["offset"]
        w = self.descend("more", jnp.asarray(state["w"] + offset), 1)
        again = self.descend("again", w.params["w"], 2)
        return {"w": again.params["w"], "table": again.table}, {"accuracy": None}

    def run(self):
        state = {}
        for name in ("first", "second"):
            state = self.runner.stage(name, getattr(self, name), state)
        self.runner.close()
        return state


def uninterrupted():
    return Toy(Run()).run()


def lines_of(folder):
    text = (folder / "metrics.jsonl").read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def keys_of(lines):
    return [(line["stage"], line["loop"], line["epoch"]) for line in lines]


ALL_EPOCHS = [
    (stage, loop, epoch)
    for stage, loop in (("first", "down"), ("second", "more"), ("second", "again"))
    for epoch in range(1, EPOCHS + 1)
]


class StopAfter:
    """Asks to stop at the n-th question, and from then on."""

    def __init__(self, questions):
        self.left = questions

    def __call__(self):
        self.left -= 1
        return self.left <= 0


def test_stages_run_in_order_and_leave_records():
    seen = []
    runner = Run(on_stage=seen.append)
    toy = Toy(runner)
    state = toy.run()
    assert toy.called == ["first", "second"]
    assert [record["name"] for record in runner.records] == ["first", "second"]
    assert runner.records == seen
    assert runner.records[0]["at"] == 1.5
    assert runner.records[1]["accuracy"] is None
    assert all(0 <= record["seconds"] < 60 for record in runner.records)
    peaks = [record["peak_memory_mib"] for record in runner.records]
    assert 10 < peaks[0] <= peaks[1]
    assert set(state) == {"w", "nested", "table"}


def test_a_record_has_the_peak_of_the_device_where_it_tells(monkeypatch):
    runner = Run()
    runner.stage("without", lambda state: ({}, {}), {})
    statistics = {"peak_bytes_in_use": 3 * 2**20}
    device = types.SimpleNamespace(memory_stats=lambda: statistics)
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    runner.stage("with", lambda state: ({}, {}), {})
    assert [one["peak_device_memory_mib"] for one in runner.records] == [None, 3]


def test_a_stage_hands_on_numpy_arrays():
    state = Toy(Run()).run()
    assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(state))
    assert state["nested"]["one"].dtype == np.int32
    assert state["w"].dtype == np.float32
    # A later entry replaces an earlier one, all others stay.
    runner = Run()
    only_first = runner.stage("first", Toy(runner).first, {"w": np.zeros(1)})
    assert not np.array_equal(state["w"], only_first["w"])
    assert_same(state["nested"], only_first["nested"])


def test_every_epoch_is_shown():
    seen = []
    Toy(Run(on_epoch=lambda *arguments: seen.append(arguments))).run()
    assert [(stage, loop, epoch) for stage, loop, epoch, _, _ in seen] == ALL_EPOCHS
    assert {total for _, _, _, total, _ in seen} == {EPOCHS}
    assert all(set(metrics) == {"loss"} for *_, metrics in seen)


def test_without_a_workdir_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = Run()
    Toy(runner).run()
    assert list(tmp_path.iterdir()) == []
    assert keys_of(runner.history) == ALL_EPOCHS


def test_metrics_has_a_line_for_every_epoch(tmp_path):
    runner = Run(tmp_path)
    state = Toy(runner).run()
    lines = lines_of(tmp_path)
    assert keys_of(lines) == ALL_EPOCHS
    assert lines == runner.history
    assert all(np.isfinite(line["loss"]) for line in lines)
    assert_same(state, uninterrupted())


def test_lines_are_on_disk_as_soon_as_they_are_shown(tmp_path):
    counts = []
    shown = lambda *arguments: counts.append(len(lines_of(tmp_path)))  # noqa: E731
    Toy(Run(tmp_path, on_epoch=shown)).run()
    assert counts == list(range(1, len(ALL_EPOCHS) + 1))


def test_finished_stages_are_not_run_again(tmp_path):
    first = Run(tmp_path)
    state = Toy(first).run()
    second = Run(tmp_path)
    toy = Toy(second)
    assert_same(toy.run(), state)
    assert toy.called == [] and toy.computed == 0
    assert second.records == first.records
    assert second.history == first.history
    assert keys_of(lines_of(tmp_path)) == ALL_EPOCHS


def test_finished_stages_leave_one_checkpoint(tmp_path):
    Toy(Run(tmp_path, checkpoint_seconds=0)).run()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["stages"]


def test_a_record_survives_the_checkpoint(tmp_path):
    record = {"restarts": [{"accuracy": None, "elbo": -1.25}], "flag": True, "n": 3}
    runner = Run(tmp_path)
    runner.stage("only", lambda state: ({"x": np.ones(1)}, record), {})
    runner.close()
    again = Run(tmp_path)
    (restored,) = again.records
    again.close()
    assert restored == runner.records[0]
    assert of_the_run(restored) == {"name": "only", **record}


# Asked after every epoch, after the stage (4) and after what is remembered (5).
@pytest.mark.parametrize(
    ("stop_after", "epochs"), [(1, 1), (3, 3), (4, 3), (5, 3), (6, 4), (8, 6), (10, 8)]
)
def test_a_stopped_run_continues_bit_equal(tmp_path, stop_after, epochs):
    stop = StopAfter(stop_after)
    # Checkpoints are not due for an hour: the stop alone must save one.
    runner = Run(tmp_path, checkpoint_seconds=3600, should_stop=stop)
    with pytest.raises(Interrupted):
        Toy(runner).run()
    runner.close()
    before = keys_of(lines_of(tmp_path))
    assert before == ALL_EPOCHS[:epochs]

    shown = []
    resumed = Run(tmp_path, on_epoch=lambda *arguments: shown.append(arguments[:3]))
    assert_same(Toy(resumed).run(), uninterrupted())
    # Everything that was done before stays done, to the epoch.
    assert before + shown == ALL_EPOCHS
    assert keys_of(lines_of(tmp_path)) == ALL_EPOCHS


def test_a_run_without_a_workdir_can_be_stopped():
    with pytest.raises(Interrupted):
        Toy(Run(should_stop=StopAfter(2))).run()


def test_a_computation_can_be_stopped():
    shown = []
    runner = Run(
        on_epoch=lambda *arguments: shown.append(arguments), should_stop=StopAfter(2)
    )

    def long(state):
        for done in range(5):
            runner.progress("search", done, 5)

    with pytest.raises(Interrupted):
        runner.stage("graph", long, {})
    assert shown == [("graph", "search", 0, 5, {}), ("graph", "search", 1, 5, {})]


def test_a_stop_always_leaves_a_checkpoint_of_the_last_epoch(tmp_path):
    """Whenever it arrives: before an epoch ends, or while its checkpoint is due."""
    for stop_after in range(1, 5):
        folder = tmp_path / str(stop_after)
        folder.mkdir()
        runner = Run(folder, checkpoint_seconds=3600, should_stop=StopAfter(stop_after))
        with pytest.raises(Interrupted):
            Toy(runner, epochs=10).run()
        runner.close()
        assert len(lines_of(folder)) == stop_after
        steps = [path.name for path in (folder / "checkpoints/first.down").iterdir()]
        assert steps == [str(stop_after)]


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until a test moves it."""

    class Clock:
        now = 100.0

        def __call__(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(training_runner.time, "monotonic", clock)
    return clock


@pytest.mark.parametrize(
    ("checkpoint_seconds", "epoch_seconds", "saved"),
    [
        (0.0, 1.0, [1, 2, 3, 4, 5, 6, 7]),
        (2.0, 1.0, [2, 4, 6, 7]),
        (3.0, 2.0, [2, 4, 6, 7]),
        (100.0, 1.0, [7]),
    ],
)
def test_checkpoints_keep_their_distance(
    tmp_path, clock, monkeypatch, checkpoint_seconds, epoch_seconds, saved
):
    steps = []
    save = training_runner.Checkpoints.save

    def spy(self, series, step, tree, record):
        steps.append((series, step))
        save(self, series, step, tree, record)

    monkeypatch.setattr(training_runner.Checkpoints, "save", spy)

    def on_epoch(*arguments):
        clock.now += epoch_seconds

    runner = Run(tmp_path, checkpoint_seconds=checkpoint_seconds, on_epoch=on_epoch)
    toy = Toy(runner, epochs=7)
    runner.stage("first", toy.first, {})
    runner.close()
    expected = [("first.down", step) for step in saved]
    assert steps == [*expected, ("stages", 1)]


def test_seconds_add_up_over_sessions(tmp_path, clock):
    def on_epoch(*arguments):
        clock.now += 10.0

    runner = Run(tmp_path, on_epoch=on_epoch, should_stop=StopAfter(2))
    with pytest.raises(Interrupted):
        Toy(runner).run()
    runner.close()
    clock.now += 1000.0  # nothing runs
    runner = Run(tmp_path, on_epoch=on_epoch)
    Toy(runner).run()
    assert [record["seconds"] for record in runner.records] == [30.0, 60.0]


def test_remember_computes_once_in_a_run(tmp_path):
    # In the first loop after it.
    runner = Run(tmp_path, should_stop=StopAfter(6))
    toy = Toy(runner)
    with pytest.raises(Interrupted):
        toy.run()
    runner.close()
    assert toy.called == ["first", "second"] and toy.computed == 1
    again = Toy(Run(tmp_path))
    assert_same(again.run(), uninterrupted())
    assert again.called == ["second"] and again.computed == 0


def test_remember_without_a_workdir_computes():
    toy = Toy(Run())
    toy.run()
    assert toy.computed == 1


class Shared:
    """A stage of 5 s, 20 s of which more go into what runs share."""

    def __init__(self, clock, runner, identity=(("seed", 0),), value=1.0):
        self.clock, self.runner, self.identity = clock, runner, dict(identity)
        self.value, self.computed, self.arrays = value, 0, None

    def compute(self):
        self.computed += 1
        self.clock.now += 20.0
        return {"encoder": {"bias": jnp.full(2, self.value)}}

    def stage(self, state):
        self.clock.now += 5.0
        self.arrays = self.runner.share("autoencoder", self.identity, self.compute)
        return self.arrays, {}

    def run(self):
        self.runner.stage("pretrain", self.stage, {})
        self.runner.close()
        return self.runner.records[0]["seconds"]


def test_runs_share_a_computation_and_its_seconds(tmp_path, clock):
    first = Shared(clock, Run(tmp_path / "a", shared=tmp_path / "shared"))
    assert first.run() == 25.0
    other = Shared(clock, Run(tmp_path / "b", shared=tmp_path / "shared"), value=2.0)
    # What the method costs by itself, and what the first computed.
    assert other.run() == 25.0
    assert (first.computed, other.computed) == (1, 0)
    assert_same(other.arrays, first.arrays)
    assert_same(other.arrays, {"encoder": {"bias": np.ones(2, np.float32)}})
    # A run needs no folder of its own for that.
    third = Shared(clock, Run(shared=tmp_path / "shared"))
    assert third.run() == 25.0
    assert third.computed == 0
    assert_same(third.arrays, first.arrays)


def test_what_is_shared_depends_on_all_of_its_identity(tmp_path, clock):
    identities = [{"seed": 0}, {"seed": 1}, {"seed": 0, "epochs": 2}]
    for number, identity in enumerate(identities):
        runner = Run(shared=tmp_path)
        shared = Shared(clock, runner, identity.items(), value=float(number))
        shared.run()
        assert shared.computed == 1
    for number, identity in enumerate(identities):
        reordered = dict(reversed(identity.items()))
        shared = Shared(clock, Run(shared=tmp_path), reordered.items())
        shared.run()
        assert shared.computed == 0
        assert (shared.arrays["encoder"]["bias"] == number).all()


def test_without_a_shared_folder_every_run_computes(tmp_path, clock):
    for folder in (None, None, tmp_path):
        shared = Shared(clock, Run(folder))
        assert shared.run() == 25.0
        assert shared.computed == 1


def test_a_name_is_part_of_what_is_shared(tmp_path, clock):
    runner = Run(shared=tmp_path)
    values = []

    def stage(state):
        for name in ("autoencoder", "vae"):
            value = {"x": np.full(1, len(values))}
            values.append(runner.share(name, {}, lambda value=value: value)["x"][0])
        return {}, {}

    runner.stage("pretrain", stage, {})
    assert values == [0, 1]


def test_seconds_of_a_shared_loop_are_counted_once(tmp_path, clock):
    """Stopped within it, continued, and found done by another run."""

    def on_epoch(*arguments):
        clock.now += 10.0

    def seconds(runner):
        def stage(state):
            toy = Toy(runner)
            return runner.share("loop", {}, lambda: toy.first({})[0]), {}

        runner.stage("first", stage, {})
        return runner.records[0]["seconds"]

    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    settings = {"shared": tmp_path / "shared", "on_epoch": on_epoch}
    runner = Run(tmp_path / "a", should_stop=StopAfter(2), **settings)
    with pytest.raises(Interrupted):
        seconds(runner)
    runner.close()
    clock.now += 1000.0  # nothing runs
    for folder in ("a", "b"):
        runner = Run(tmp_path / folder, **settings)
        assert seconds(runner) == 30.0
        runner.close()


def test_lines_of_epochs_that_no_checkpoint_holds_are_dropped(tmp_path):
    """As after a kill between two checkpoints: those epochs are run again."""

    def kill(*arguments):
        if arguments[:3] == ("second", "more", 3):
            raise KeyboardInterrupt  # before epoch 3 is saved

    runner = Run(tmp_path, checkpoint_seconds=3600, on_epoch=kill)
    with pytest.raises(KeyboardInterrupt):
        Toy(runner).run()
    runner.close()
    assert keys_of(lines_of(tmp_path)) == ALL_EPOCHS[:6]

    shown = []
    resumed = Run(tmp_path, on_epoch=lambda *arguments: shown.append(arguments[:3]))
    assert_same(Toy(resumed).run(), uninterrupted())
    assert shown == ALL_EPOCHS[3:]
    assert keys_of(lines_of(tmp_path)) == ALL_EPOCHS
    assert keys_of(resumed.history) == ALL_EPOCHS


@pytest.mark.parametrize("torn", ['{"stage": "second", "lo', "{", "\x00" * 7])
def test_a_torn_last_line_is_cut_off(tmp_path, torn):
    runner = Run(tmp_path, checkpoint_seconds=0, should_stop=StopAfter(7))
    with pytest.raises(Interrupted):
        Toy(runner).run()
    runner.close()
    path = tmp_path / "metrics.jsonl"
    whole = path.read_text()
    path.write_text(whole + torn)
    resumed = Run(tmp_path)
    assert path.read_text() == whole
    assert_same(Toy(resumed).run(), uninterrupted())
    assert keys_of(lines_of(tmp_path)) == ALL_EPOCHS


def test_a_file_of_one_torn_line_becomes_empty(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"stage": "fir')
    runner = Run(tmp_path)
    assert runner.history == []
    assert (tmp_path / "metrics.jsonl").read_text() == ""
    Toy(runner).run()
    assert keys_of(lines_of(tmp_path)) == ALL_EPOCHS


def test_values_of_one_restart_become_scalars(tmp_path):
    runner = Run(tmp_path)
    state = create_state({"w": jnp.zeros(1)}, OPTIMIZER)

    def stage(_):
        one = {"loss": [0.5], "plain": 2.0}
        several = {"loss": [0.5, 0.25], "plain": 2.0}
        runner.epoch_end("one", 1, 1, state, one)
        runner.epoch_end("several", 1, 1, state, several)
        return {"x": np.zeros(1)}, {}

    runner.stage("train", stage, {})
    one, several = lines_of(tmp_path)
    assert (one["loss"], one["plain"]) == (0.5, 2.0)
    assert (several["loss"], several["plain"]) == ([0.5, 0.25], 2.0)
    assert runner.history == [one, several]


def diverging(params, data, indices, key):
    # With a rate of 1e12, w grows to where its square overflows float32.
    value = jnp.mean((params["w"][None] - data[indices]) ** 2)
    return value, StepOutput({"loss": value})


def test_divergence_names_the_stage_and_keeps_the_checkpoint(tmp_path):
    optimizer = optax.sgd(1e12)
    epoch = compile_epoch(
        diverging, optimizer, num_points=len(DATA), batch_size=len(DATA)
    )
    runner = Run(tmp_path, checkpoint_seconds=0)

    def stage(state):
        start = create_state({"w": jnp.zeros(1)}, optimizer)
        fit("down", epoch, start, DATA, jax.random.key(0), 9, monitor=runner)

    runner.stage("before", lambda state: ({"x": np.ones(1)}, {}), {})
    with pytest.raises(Diverged) as error:
        runner.stage("train", stage, {})
    runner.close()
    good = len(lines_of(tmp_path))
    assert good >= 1
    assert str(error.value) == (
        f"loss is not finite at step 1 of 1 in epoch {good + 1} of down of stage train"
    )
    assert all(np.isfinite(line["loss"]) for line in lines_of(tmp_path))

    resumed = Run(tmp_path)
    assert [record["name"] for record in resumed.records] == ["before"]
    restored = []

    def look(state):
        start = create_state({"w": jnp.zeros(1)}, optimizer)
        restored.append(resumed.restore("down", start))
        return {"x": np.ones(1)}, {}

    resumed.stage("before", None, {})
    resumed.stage("train", look, {})
    state, epochs = restored[0]
    assert epochs == good
    assert np.isfinite(state.params["w"]).all()
    assert int(state.step) == good


def test_restore_returns_the_state_of_the_loop_with_its_types(tmp_path):
    runner = Run(tmp_path, checkpoint_seconds=0, should_stop=StopAfter(2))
    with pytest.raises(Interrupted):
        Toy(runner).run()
    runner.close()
    resumed = Run(tmp_path)
    template = create_state({"w": jnp.zeros(1)}, OPTIMIZER, jnp.zeros(len(DATA)))
    restored = []

    def look(_):
        restored.append(resumed.restore("down", template))
        restored.append(resumed.restore("unknown", template))
        return {"x": np.ones(1)}, {}

    resumed.stage("first", look, {})
    (state, epochs), (fresh, none) = restored
    assert (epochs, none) == (2, 0)
    assert fresh is template
    assert jax.tree.structure(state) == jax.tree.structure(template)
    for leaf, like in zip(
        jax.tree.leaves(state), jax.tree.leaves(template), strict=True
    ):
        assert isinstance(leaf, jax.Array)
        assert (leaf.shape, leaf.dtype) == (like.shape, like.dtype)
    assert int(state.step) == 2 * (len(DATA) // 4)


# --- Damaged checkpoints -----------------------------------------------------------


def damage(folder):
    """Flips a bit of every file of a checkpoint, and loses the second half."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        content = bytearray(path.read_bytes()[: path.stat().st_size // 2 + 1])
        content[len(content) // 2] ^= 1
        path.write_bytes(content)


def interrupted_at(tmp_path, stop_after):
    """The folder of a run that stopped at the n-th question."""
    folder = tmp_path / "run"
    runner = Run(folder, checkpoint_seconds=0, should_stop=StopAfter(stop_after))
    with pytest.raises(Interrupted):
        Toy(runner).run()
    runner.close()
    return folder


def resume(folder):
    """Carries a run to its end; returns its state, its new epochs and its stages."""
    shown = []
    resumed = Run(folder, on_epoch=lambda *arguments: shown.append(arguments[:3]))
    toy = Toy(resumed)
    state = toy.run()
    resumed.close()
    assert [record["name"] for record in resumed.records] == ["first", "second"]
    return state, shown, toy


@pytest.fixture(scope="module")
def whole_lines(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    Toy(Run(folder)).run()
    return (folder / "metrics.jsonl").read_bytes()


def warnings_of(caplog):
    return [line.getMessage() for line in caplog.records if "damaged" in line.message]


# The 9th question comes in the second epoch of loop "again".
@pytest.mark.parametrize(
    ("damaged", "done_again"),
    [
        (["second.again/2"], ALL_EPOCHS[7:]),
        (["second.again/2", "second.again/1"], ALL_EPOCHS[6:]),
        # A loop that was at its end: what came after it is done again too.
        (["second.more/3"], ALL_EPOCHS[5:]),
        (["second.more/3", "second.more/2"], ALL_EPOCHS[3:]),
        (["second.offset/0"], ALL_EPOCHS[8:]),
        # The only stage that has ended: all is done again.
        (["stages/1"], ALL_EPOCHS),
    ],
)
def test_a_run_falls_back_to_the_checkpoint_before(
    tmp_path, caplog, whole_lines, damaged, done_again
):
    folder = interrupted_at(tmp_path, 10)
    assert keys_of(lines_of(folder)) == ALL_EPOCHS[:8]
    for name in damaged:
        damage(folder / "checkpoints" / name)
    state, shown, toy = resume(folder)
    assert shown == done_again
    assert toy.computed == (damaged[0] in ("second.offset/0", "stages/1"))
    assert_same(state, uninterrupted())
    assert (folder / "metrics.jsonl").read_bytes() == whole_lines
    assert len(warnings_of(caplog)) == len(damaged)
    for name, warning in zip(damaged, warnings_of(caplog), strict=True):
        assert str(folder / "checkpoints" / name) in warning


def test_a_finished_run_falls_back_to_the_stage_before(tmp_path, caplog, whole_lines):
    Toy(Run(tmp_path)).run()
    damage(tmp_path / "checkpoints/stages/2")
    opened = Run(tmp_path)
    assert [record["name"] for record in opened.records] == ["first"]
    opened.close()
    # Until the stage is run again, nothing is deleted.
    assert (tmp_path / "checkpoints/stages/2").exists()
    assert keys_of(lines_of(tmp_path)) == ALL_EPOCHS
    state, shown, toy = resume(tmp_path)
    assert toy.called == ["second"]
    assert shown == ALL_EPOCHS[3:]
    assert_same(state, uninterrupted())
    assert (tmp_path / "metrics.jsonl").read_bytes() == whole_lines
    assert resume(tmp_path)[1] == []


def test_loops_of_later_stages_are_not_mixed_in(tmp_path, whole_lines):
    """They began from a state that is computed again."""
    folder = interrupted_at(tmp_path, 7)
    damage(folder / "checkpoints/stages/1")
    runner = Run(folder)
    toy = Toy(runner)
    found = []

    def first(state):
        found.extend(path.name for path in (folder / "checkpoints").iterdir())
        assert keys_of(lines_of(folder)) == ALL_EPOCHS[:3]
        return toy.first(state)

    runner.stage("first", first, {})
    runner.close()
    assert found == ["stages"]
    assert_same(resume(folder)[0], uninterrupted())
    assert (folder / "metrics.jsonl").read_bytes() == whole_lines


def test_a_kill_while_falling_back_loses_nothing(tmp_path, monkeypatch, whole_lines):
    folder = interrupted_at(tmp_path, 10)
    damage(folder / "checkpoints/second.more/3")

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training_runner, "write_atomically", killed)
        with pytest.raises(KeyboardInterrupt):
            Toy(Run(folder)).run()
    # The checkpoints of the later loop went before its lines.
    assert not (folder / "checkpoints/second.again").exists()
    assert keys_of(lines_of(folder)) == ALL_EPOCHS[:8]
    state, shown, _ = resume(folder)
    assert shown == ALL_EPOCHS[5:]
    assert_same(state, uninterrupted())
    assert (folder / "metrics.jsonl").read_bytes() == whole_lines


@st.composite
def damaged(draw, whole):
    """Other bytes in place of these: missing, cut, flipped, or lines that went."""
    lines = whole.splitlines(keepends=True)
    kind = draw(st.sampled_from(["nothing", "cut", "flipped", "without", "noise"]))
    place = draw(st.integers(0, len(whole) - 1))
    if kind == "cut":
        return whole[:place]
    if kind == "flipped":
        flipped = whole[place] ^ 1 << draw(st.integers(0, 7))
        return whole[:place] + bytes([flipped]) + whole[place + 1 :]
    if kind == "without":
        del lines[draw(st.integers(0, len(lines) - 1))]
        return b"".join(lines)
    return b"" if kind == "nothing" else draw(st.binary(max_size=100))


@given(data=st.data(), questions=st.sampled_from([5, 6, 7, 10, None]))
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_damaged_metrics_are_restored(tmp_path, caplog, whole_lines, data, questions):
    caplog.clear()
    kept = tmp_path / str(questions)  # made once, of each
    if not kept.exists():
        runner = Run(
            kept, checkpoint_seconds=0, should_stop=StopAfter(questions or 10**9)
        )
        with contextlib.suppress(Interrupted):
            Toy(runner).run()
        runner.close()
    folder = pathlib.Path(tempfile.mkdtemp(dir=tmp_path)) / "run"
    shutil.copytree(kept, folder)
    before = (folder / "metrics.jsonl").read_bytes()
    (folder / "metrics.jsonl").write_bytes(data.draw(damaged(before)))
    state, shown, _ = resume(folder)
    assert shown == ALL_EPOCHS[len(before.splitlines()) :]
    assert_same(state, uninterrupted())
    assert (folder / "metrics.jsonl").read_bytes() == whole_lines
    assert len(warnings_of(caplog)) == 1


def test_a_lost_metrics_file_is_restored_and_told(tmp_path, caplog, whole_lines):
    folder = interrupted_at(tmp_path, 10)
    (folder / "metrics.jsonl").unlink()
    state, shown, _ = resume(folder)
    assert shown == ALL_EPOCHS[8:]
    assert_same(state, uninterrupted())
    assert (folder / "metrics.jsonl").read_bytes() == whole_lines
    (warning,) = warnings_of(caplog)
    assert warning.startswith(f"{folder / 'metrics.jsonl'} is damaged or missing")


def test_a_pipe_in_place_of_metrics_is_replaced(tmp_path, caplog, whole_lines):
    folder = interrupted_at(tmp_path, 10)
    (folder / "metrics.jsonl").unlink()
    os.mkfifo(folder / "metrics.jsonl")
    assert resume(folder)[1] == ALL_EPOCHS[8:]
    assert (folder / "metrics.jsonl").read_bytes() == whole_lines
    assert len(warnings_of(caplog)) == 1


@pytest.mark.parametrize("made_anew", [False, True])
@pytest.mark.parametrize("seconds", [0, 3600])
def test_a_folder_that_vanishes_ends_the_run(tmp_path, made_anew, seconds):
    folder = tmp_path / "run"

    def on_epoch(stage, loop, epoch, *rest):
        if (loop, epoch) == ("more", 2):
            folder.rename(tmp_path / "moved")
            if made_anew:
                Run(folder).close()

    runner = Run(folder, checkpoint_seconds=seconds, on_epoch=on_epoch)
    with pytest.raises(FileNotFoundError, match="has vanished") as error:
        Toy(runner).run()
    runner.close()
    assert error.value.filename == str(folder)
    assert folder.exists() == made_anew
    assert not made_anew or os.listdir(folder) == [".lock"]
    # All is where it went.
    assert_same(resume(tmp_path / "moved")[0], uninterrupted())


def test_a_damaged_shared_result_is_computed_again(tmp_path, clock, caplog):
    shared = tmp_path / "shared"
    first = Shared(clock, Run(shared=shared))
    first.run()
    (series,) = [path for path in shared.iterdir() if path.is_dir()]
    damage(series / "0")
    for computed in (1, 0):
        again = Shared(clock, Run(shared=shared))
        assert again.run() == 25.0
        assert again.computed == computed
        assert_same(again.arrays, first.arrays)
    assert len(warnings_of(caplog)) == 1


def test_remains_of_a_killed_save_are_deleted_at_the_start(tmp_path):
    folder = interrupted_at(tmp_path, 10)
    remains = folder / "checkpoints/second.again/3.orbax-checkpoint-tmp"
    shutil.copytree(folder / "checkpoints/second.again/2", remains)
    shared = tmp_path / "shared/autoencoder-0/0.orbax-checkpoint-tmp"
    shared.mkdir(parents=True)
    Run(folder, shared=tmp_path / "shared").close()
    assert not remains.exists() and not shared.exists()


# --- One process at a time ---------------------------------------------------------


HOLDER = """
import pathlib, sys, time
from dgg_jax.storage import folders

lock = folders.lock(pathlib.Path(sys.argv[1]))
print("locked", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds a folder until it is killed."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


@pytest.mark.parametrize("argument", ["workdir", "shared"])
def test_a_second_process_is_refused_with_the_id_of_the_first(
    tmp_path, holder, argument
):
    folder = tmp_path / "run"
    before = sorted(folder.rglob("*"))
    for _ in range(2):
        with pytest.raises(checks.InvalidInput) as error:
            Run(**{argument: folder})
        assert str(error.value).startswith(
            f"{folder} is in use by process {holder.pid}; wait for its end"
        )
    assert sorted(folder.rglob("*")) == before
    holder.kill()
    holder.wait()
    # The kernel takes the lock back, however a process ends.
    Run(**{argument: folder}).close()


def test_a_run_that_is_refused_holds_nothing(tmp_path, holder):
    for _ in range(2):
        with pytest.raises(checks.InvalidInput, match="run is in use"):
            Run(tmp_path / "other", shared=tmp_path / "run")
    Run(tmp_path / "other").close()


def test_a_run_lets_go_when_it_is_closed_or_forgotten(tmp_path):
    runner = Run(tmp_path)
    with pytest.raises(checks.InvalidInput, match=f"process {os.getpid()};"):
        Run(tmp_path)
    runner.close()
    runner = Run(tmp_path)
    del runner
    Run(tmp_path).close()


class Snapshots:
    """Copies a folder before every change that Python makes to its entries.

    What a SIGKILL leaves behind is the folder as it was at that moment.
    """

    EVENTS = ("os.rename", "os.mkdir", "os.rmdir", "os.remove", "open")

    def __init__(self, folder, target):
        self.folder, self.target = str(folder), target
        self.folders, self.active = {}, False
        sys.addaudithook(self.hook)

    def hook(self, event, arguments):
        if not self.active or event not in self.EVENTS:
            return
        path = arguments[0]
        if event == "open" and not set(str(arguments[1])) & set("wax+"):
            return
        if not isinstance(path, str | bytes | os.PathLike):
            return
        if os.fsdecode(path).startswith(self.folder):
            self.active = False  # copying makes events too
            self.copy()
            self.active = True

    def copy(self):
        entries = sorted(pathlib.Path(self.folder).rglob("*"))
        try:
            content = tuple((str(path), path.stat().st_size) for path in entries)
        except FileNotFoundError:
            return
        if content not in self.folders:
            folder = self.target / str(len(self.folders))
            # Another thread of orbax may go on meanwhile.
            with contextlib.suppress(shutil.Error):
                shutil.copytree(self.folder, folder)
            self.folders[content] = folder


@pytest.mark.slow
def test_a_kill_at_any_change_of_the_folder_loses_nothing(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    snapshots = Snapshots(folder, tmp_path / "killed")
    runner = Run(folder, checkpoint_seconds=0)
    snapshots.active = True
    state = Toy(runner, epochs=1).run()
    snapshots.active = False
    assert len(snapshots.folders) > 30
    expected = (folder / "metrics.jsonl").read_bytes()
    for killed in snapshots.folders.values():
        resumed = Run(killed, checkpoint_seconds=3600)
        assert_same(Toy(resumed, epochs=1).run(), state)
        assert (killed / "metrics.jsonl").read_bytes() == expected
        assert [record["name"] for record in resumed.records] == ["first", "second"]
        left = [path.name for path in (killed / "checkpoints").iterdir()]
        assert left == ["stages"]
