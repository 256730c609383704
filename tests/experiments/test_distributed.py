"""Two processes on one machine make a run as one does."""

import json
import math
import random
import signal
import socket
import time

import numpy as np
import pytest

from tests.experiments.command_line import assert_refused, call
from tests.forked import Forks
from tests.methods.toy import blobs
from tests.trees import OF_THE_SESSION

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
def both(forks, xla):
    """Starts the first of two processes, and the second: not with one seed of hashes.

    The two must do the same in the same order, which may not be that of a set.
    """
    with Forks(xla) as others:
        yield forks, others


@pytest.fixture(scope="module")
def alone(settings, forks, tmp_path_factory):
    """The folder of a run by one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    [outcome] = end(start(forks, f"--workdir={folder}", *settings))
    assert outcome[0] == 0, outcome
    return folder


def start(forks, *arguments, **environment):
    return forks.start("experiments.main", *arguments, **environment)


def start_two(both, folders, *arguments):
    """Two processes that flags tell apart."""
    with socket.socket() as listening:
        listening.bind(("localhost", 0))
        address = f"--coordinator_address=localhost:{listening.getsockname()[1]}"
    return [
        start(
            forks,
            address,
            "--num_processes=2",
            f"--process_id={number}",
            f"--workdir={folder}",
            *arguments,
        )
        for number, (forks, folder) in enumerate(zip(both, folders, strict=True))
    ]


def start_by_slurm(both, folders, *arguments):
    """Two processes that the variables of Slurm tell apart."""
    job = {
        "SLURM_JOB_ID": str(random.randrange(10**6)),  # jax makes a port of it
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
    }
    return [
        start(
            forks,
            "--distributed=auto",
            f"--workdir={folder}",
            *arguments,
            **job,
            SLURM_PROCID=str(number),
            SLURM_LOCALID=str(number),
        )
        for number, (forks, folder) in enumerate(zip(both, folders, strict=True))
    ]


def end(*processes):
    """Status, stdout and stderr of each."""
    try:
        codes = [process.wait(PATIENCE) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [
        (code, process.out, process.err)
        for code, process in zip(codes, processes, strict=True)
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
def test_two_processes_stop_go_on_and_end_as_one(settings, both, alone, tmp_path):
    # The folder of the second is never made: only the first reads and writes.
    first, second = tmp_path / "first", tmp_path / "second"
    processes = start_two(both, (first, second), *settings)
    began = time.monotonic()
    while not (first / "metrics.jsonl").exists():
        assert time.monotonic() - began < PATIENCE
        assert processes[0].poll() is None, end(*processes)
        time.sleep(0.05)
    processes[1].send_signal(signal.SIGTERM)
    stopped = end(*processes)
    assert [code for code, _, _ in stopped] == [128 + signal.SIGTERM] * 2, stopped
    assert "Continue with" in stopped[0][1] and "Continue" not in stopped[1][1]
    assert not (first / "result.json").exists()
    assert 0 < len(lines(first)) < len(lines(alone))

    ended = end(*start_by_slurm(both, (first, second), *settings, "--resume"))
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert "Reached" in ended[0][1] and "Reached" not in ended[1][1]
    assert not second.exists()
    results = [json.loads((f / "result.json").read_text()) for f in (first, alone)]
    assert_close(*results)
    assert_close(lines(first), lines(alone))

    refused = end(*start_two(both, (first, second), *settings, "--seed=1"))
    assert [code for code, _, _ in refused] == [2, 2]
    for _, _, err in refused:
        assert "another configuration" in err and "Traceback" not in err


@pytest.mark.slow
def test_two_processes_stream_rows_as_one_has_them(settings, both, alone, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    processes = start_two(
        both, (first, second), *settings, "--device_memory_share=1e-9"
    )
    ended = end(*processes)
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert all("stay on the host" in err for _, _, err in ended)
    assert_close(lines(first), lines(alone))
