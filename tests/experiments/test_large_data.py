"""``python -m experiments.large_data`` in processes of its own."""

import json
import subprocess
import sys

import pytest


def large_data(environment, *flags):
    return subprocess.run(
        [sys.executable, "-m", "experiments.large_data", *flags],
        capture_output=True,
        text=True,
        env=environment,
    )


@pytest.mark.slow
def test_generated_rows_stream_and_are_measured(forks):
    flags = ("--rows=300,200", "--columns=12", "--hidden_sizes=8", "--epochs=2")
    streaming = "--device_memory_share=1e-9"
    process = forks.start("experiments.large_data", *flags, streaming)
    assert process.wait() == 0, process.err
    assert process.err.count("stream to the device") >= 2
    lines = [json.loads(line) for line in process.out.splitlines()]
    assert [line["rows"] for line in lines] == [300, 200]
    for line in lines:
        assert line["seconds_an_epoch"]["train"] > 0
        assert line["accuracy"]["evaluate"] > 0.1
        assert line["command"].startswith("python -m experiments.large_data --rows=300")


@pytest.mark.parametrize("flag", ["--rows=many", "--rows=0", "--hidden_sizes=a"])
def test_a_wrong_size_is_one_line(xla, flag):
    finished = large_data(xla, flag)
    assert finished.returncode == 2
    assert finished.stderr.startswith("error: ")
    assert finished.stderr.count("\n") == 1
