"""The command that kills a run: it must notice every difference, and find none."""

import json
import os
import random
import re

import numpy as np
import pytest

from dgg_jax.storage.checkpoints import Checkpoints
from tests.hardening import kill, kill_writes


def write_run(folder, state=None, seconds=1.0, accuracy=0.5, labels=(0, 1), epoch=1):
    folder.mkdir()
    checkpoints = Checkpoints(folder / "checkpoints")
    state = state or {"w": np.ones(2), "model": {"b": np.zeros(3, np.float32)}}
    checkpoints.save("stages", 1, state, [])
    checkpoints.close()
    stage = {"name": "train", "seconds": seconds, "accuracy": accuracy}
    result = {"stages": [stage], "seconds": seconds, "finished": str(seconds)}
    (folder / "result.json").write_text(json.dumps(result))
    np.savez(folder / "predictions.npz", labels=np.array(labels))
    (folder / "metrics.jsonl").write_text(f'{{"epoch": {epoch}}}\n')
    return folder


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "reference")


def test_only_times_may_differ(tmp_path, reference):
    other = write_run(tmp_path / "run", seconds=2.0)
    assert kill.differences(other, reference) == []


@pytest.mark.parametrize(
    ("changes", "different"),
    [
        (
            {"state": {"w": np.ones(2), "model": {"b": -np.zeros(3, np.float32)}}},
            ["['model']['b'] of the final state"],
        ),
        (
            {
                "state": {
                    "w": np.ones(2, np.float32),
                    "model": {"b": np.float32([0] * 3)},
                }
            },
            ["['w'] of the final state"],
        ),
        ({"state": {"w": np.ones(2)}}, ["['model']['b'] of the final state"]),
        (
            {"state": {"w": np.ones(2), "model": {"b": np.float32([0] * 3), "c": 0.0}}},
            ["['model']['c'] of the final state"],
        ),
        ({"labels": (0, 2)}, ["labels of predictions.npz"]),
        ({"accuracy": np.nextafter(0.5, 1.0)}, ["result.json"]),
        ({"epoch": 2}, ["metrics.jsonl"]),
    ],
)
def test_every_difference_is_named(tmp_path, reference, changes, different):
    other = write_run(tmp_path / "run", **changes)
    assert kill.differences(other, reference) == different


@pytest.mark.parametrize("text", ['{"epoch": 1}\n{"epo', '{"epoch": 1}\n{"epo\n', "{}"])
def test_a_torn_line_ends_the_test(tmp_path, text):
    (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(SystemExit, match="torn line"):
        kill.epochs(tmp_path)


def test_moments_lie_in_the_life_of_the_run():
    seen = [5.0, 6.0, 8.0, 10.0]  # three epochs, and the end
    moments = kill.draw_moments(0, 200, seen)
    assert moments == kill.draw_moments(0, 200, seen)
    assert moments != kill.draw_moments(1, 200, seen)
    longest = [5.0, 1.0, 2.0, 2.0]
    for moment in moments:
        assert 0.0 <= moment.seconds <= longest[moment.epochs]
        assert 0.0 <= moment.startup <= 5.0
    numbers = [moment.epochs for moment in moments]
    assert numbers == sorted(numbers) and set(numbers) == {0, 1, 2, 3}


@pytest.fixture
def mixing(tmp_path):
    """Writes a file of many lines in place, of which a kill leaves a part."""
    path = tmp_path / "file"

    def write(number):
        with open(path, "w") as file:
            for _ in range(3000):
                file.write(f"{number % 2}\n" * 100)
                file.flush()

    return kill_writes.Work("mixing", (tmp_path,), write, path.read_bytes)


def test_what_is_not_whole_is_seen(mixing, monkeypatch):
    monkeypatch.setattr(kill_writes, "_wait_for_partial", lambda work: None)
    [(_, problems)] = kill_writes.killed([mixing], 20, random.Random(0))
    assert len(problems) == 1 and "has left a mixture" in problems[0]


def test_what_is_left_is_seen(tmp_path):
    def write(number):
        (tmp_path / f".dgg-{number % 2}.partial").touch()

    work = kill_writes.Work("leaving", (tmp_path,), write, lambda: None)
    [(while_writing, problems)] = kill_writes.killed([work], 1, random.Random(0))
    assert while_writing == 1
    assert any(problem.endswith(".partial is left") for problem in problems)


# In each of its stages a run is killed by tests/experiments/test_resume.py.
BRIEF = (
    "--num_rows=300",
    "--hidden_sizes=8",
    "--pretrain_layer_epochs=0",
    "--pretrain_autoencoder_epochs=2",
    "--siamese_epochs=0",
    "--label_epochs=0",
    "--epochs=4",
)


@pytest.mark.slow
def test_a_kill_of_everything(forks, tmp_path):
    threads = str(os.cpu_count())  # as without tests
    process = forks.start(
        "tests.hardening.kill", "--kills=1", "--seed=5", "--", *BRIEF,
        TMPDIR=str(tmp_path), OMP_NUM_THREADS=threads, OPENBLAS_NUM_THREADS=threads,
    )  # fmt: skip
    assert process.wait(1200) == 0, process.out + process.err
    out = process.out
    assert "1 kills, " in out
    assert "a second run is bit-equal." in out
    assert "the run that was killed 1 times is bit-equal." in out
    for work in ("saving", "predicting (.csv)", "predicting (.npz)", "reporting"):
        assert re.search(rf"^{re.escape(work)} +1 kills, .*: whole$", out, re.M)
    # What it has found equal it deletes.
    assert list(tmp_path.iterdir()) == []
