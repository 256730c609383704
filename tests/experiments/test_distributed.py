"""Two processes on one machine make a run as one does."""

import json
import math
import pathlib
import random
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.experiments.command_line import assert_refused, call
from tests.methods.toy import blobs
from tests.trees import OF_THE_SESSION

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 600.0  # seconds, on a busy machine


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--num_processes=2",), "go together"),
        (("--coordinator_address=here", "--num_processes=2", "--process_id=0"), "port"),
        (("--distributed=auto", "--process_id=1"), "give either"),
    ],
)
def test_flags_that_do_not_say_who_is_who_are_refused(arguments, words):
    assert_refused(call(*arguments), words)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "blobs.npy"
    np.save(path, blobs()[0])
    return (
        f"--dataset={path}",
        "--num_clusters=3",
        "--preset=smoke",
        "--hidden_sizes=8",
        "--latent_dim=2",
        "--pretrain_layer_epochs=0",
        "--num_neighbors=5",
        "--restarts=2",
    )


@pytest.fixture(scope="module")
def alone(settings, xla, tmp_path_factory):
    """The folder of a run by one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    [outcome] = end(start(xla, f"--workdir={folder}", *settings))
    assert outcome[0] == 0, outcome
    return folder


def start(environment, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.main", *arguments],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_two(environment, folders, *arguments):
    """Two processes that flags tell apart."""
    with socket.socket() as listening:
        listening.bind(("localhost", 0))
        address = f"--coordinator_address=localhost:{listening.getsockname()[1]}"
    return [
        start(
            environment,
            address,
            "--num_processes=2",
            f"--process_id={number}",
            f"--workdir={folder}",
            *arguments,
        )
        for number, folder in enumerate(folders)
    ]


def start_by_slurm(environment, folders, *arguments):
    """Two processes that the variables of Slurm tell apart."""
    job = {
        "SLURM_JOB_ID": str(random.randrange(10**6)),  # jax makes a port of it
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
    }
    return [
        start(
            {
                **environment,
                **job,
                "SLURM_PROCID": str(number),
                "SLURM_LOCALID": str(number),
            },
            "--distributed=auto",
            f"--workdir={folder}",
            *arguments,
        )
        for number, folder in enumerate(folders)
    ]


def end(*processes):
    """Status, stdout and stderr of each."""
    try:
        outputs = [process.communicate(timeout=PATIENCE) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [
        (process.returncode, *output)
        for process, output in zip(processes, outputs, strict=True)
    ]


def assert_close(one, other, place=""):
    """JSON values that are the same but for rounding and the clock."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for name in one.keys() - OF_THE_SESSION:
            assert_close(one[name], other[name], f"{place}.{name}")
    elif isinstance(one, list):
        assert len(one) == len(other), place
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_close(a, b, f"{place}[{number}]")
    elif isinstance(one, float):
        assert math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-4), (place, one, other)
    else:
        assert one == other, (place, one, other)


def lines(folder):
    text = (folder / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.slow
def test_two_processes_stop_go_on_and_end_as_one(settings, xla, alone, tmp_path):
    # The folder of the second is never made: only the first reads and writes.
    first, second = tmp_path / "first", tmp_path / "second"
    both = start_two(xla, (first, second), *settings)
    began = time.monotonic()
    while not (first / "metrics.jsonl").exists():
        assert time.monotonic() - began < PATIENCE
        assert both[0].poll() is None, end(*both)
        time.sleep(0.05)
    both[1].send_signal(signal.SIGTERM)
    stopped = end(*both)
    assert [code for code, _, _ in stopped] == [128 + signal.SIGTERM] * 2, stopped
    assert "Continue with" in stopped[0][1] and "Continue" not in stopped[1][1]
    assert not (first / "result.json").exists()
    assert 0 < len(lines(first)) < len(lines(alone))

    ended = end(*start_by_slurm(xla, (first, second), *settings, "--resume"))
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert "Reached" in ended[0][1] and "Reached" not in ended[1][1]
    assert not second.exists()
    results = [json.loads((f / "result.json").read_text()) for f in (first, alone)]
    assert_close(*results)
    assert_close(lines(first), lines(alone))

    refused = end(*start_two(xla, (first, second), *settings, "--seed=1"))
    assert [code for code, _, _ in refused] == [2, 2]
    for _, _, err in refused:
        assert "another configuration" in err and "Traceback" not in err


@pytest.mark.slow
def test_two_processes_stream_rows_as_one_has_them(settings, xla, alone, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    both = start_two(xla, (first, second), *settings, "--device_memory_share=1e-9")
    ended = end(*both)
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert all("stay on the host" in err for _, _, err in ended)
    assert_close(lines(first), lines(alone))
