import json
import signal
import time

import pytest

from dgg_jax.storage.checkpoints import Checkpoints
from tests.hardening import kill

pytestmark = pytest.mark.slow

COMMAND = [
    "experiments.main",
    "--dataset=moons",
    "--preset=smoke",
    "--hidden_sizes=8",
    "--pretrain_autoencoder_epochs=8",
    "--pretrain_layer_epochs=1",
    "--pretrain_vae_epochs=2",
    "--siamese_epochs=4",
    "--num_neighbors=5",
    "--classifier_epochs=6",
    "--label_epochs=6",
    "--epochs=8",
    "--restarts=2",
]
PATIENCE = 600.0  # seconds, on a busy machine


def start(forks, workdir, *arguments):
    return forks.start(*COMMAND, f"--workdir={workdir}", *arguments)


def finish(forks, workdir, *arguments):
    process = start(forks, workdir, *arguments)
    assert process.wait(PATIENCE) == 0, process.err


def kill_when(process, reached):
    """Sends SIGKILL as soon as ``reached`` says so; the process must not be done."""
    deadline = time.monotonic() + PATIENCE
    try:
        while not reached():
            assert process.poll() is None, "the process ended before its kill"
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL


def epoch_of(workdir, stage, loop, epoch):
    line = f'{{"stage": "{stage}", "loop": "{loop}", "epoch": {epoch},'
    path = workdir / "metrics.jsonl"
    return lambda: path.exists() and line in path.read_text()


def checkpoint_of(workdir, path):
    return (workdir / "checkpoints" / path).exists


@pytest.fixture(scope="module")
def reference(forks, tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    workdir = tmp_path_factory.mktemp("reference") / "run"
    finish(forks, workdir)
    return workdir


def final_state(workdir):
    checkpoints = Checkpoints(workdir / "checkpoints")
    step, state, record = checkpoints.restore("stages")
    checkpoints.close()
    assert step == 6
    return state, record["records"]


def assert_same_run(workdir, reference):
    """Parameters, metrics and predictions, bit for bit."""
    assert kill.differences(workdir, reference) == []
    assert (workdir / "report.html").exists()


def test_reference_is_worth_comparing(reference):
    lines = [
        json.loads(line)
        for line in (reference / "metrics.jsonl").read_text().splitlines()
    ]
    stages = [line["stage"] for line in lines]
    assert set(stages) == {"pretrain", "graph", "classifier", "train"}
    assert len({line["objective"][0] for line in lines if line["loop"] == "train"}) == 8
    _, records = final_state(reference)
    first, second = (record["elbo"] for record in records[-1]["restarts"])
    assert first != second


def test_kills_in_every_stage(forks, reference, tmp_path):
    """One run is killed in each stage, once more after each resume."""
    workdir = tmp_path / "run"
    points = [
        ("0", epoch_of(workdir, "pretrain", "layer_2", 1)),
        ("0", epoch_of(workdir, "pretrain", "autoencoder", 3)),
        ("0", checkpoint_of(workdir, "graph.input_neighbors/0")),
        # No checkpoint is due in this one: its epochs are run again.
        ("3600", epoch_of(workdir, "graph", "siamese", 2)),
        ("0", checkpoint_of(workdir, "stages/2")),
        ("0", epoch_of(workdir, "classifier", "labels", 2)),
        ("0", epoch_of(workdir, "train", "train", 3)),
    ]
    resume = []
    for seconds, reached in points:
        process = start(forks, workdir, f"--checkpoint_seconds={seconds}", *resume)
        kill_when(process, reached)
        assert not (workdir / "result.json").exists()
        resume = ["--resume"]
    finish(forks, workdir, *resume)
    assert_same_run(workdir, reference)


def test_a_kill_while_results_are_written(forks, reference, tmp_path):
    """Training is done, its checkpoint is there, the report is half written."""
    workdir = tmp_path / "run"
    process = start(forks, workdir)
    kill_when(process, (workdir / "predictions.npz").exists)
    assert not (workdir / "result.json").exists()
    finish(forks, workdir, "--resume")
    assert_same_run(workdir, reference)
