"""``python -m experiments.large_data`` in processes of its own."""

import json
import subprocess
import sys

import numpy as np
import pytest

from dgg_jax.data import synthetic


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


def test_rows_are_written_for_another_command(forks, tmp_path):
    path = tmp_path / "rows.npy"
    flags = (f"--write={path}", "--rows=500", "--columns=30")
    process = forks.start("experiments.large_data", *flags)
    assert process.wait() == 0, process.err
    x, y = np.load(path), np.load(tmp_path / "rows-labels.npy")
    again, clusters = synthetic.planted_patches(500, 30)
    np.testing.assert_array_equal(x, again)
    np.testing.assert_array_equal(y, clusters)


def test_rows_that_cannot_be_written_are_one_line(forks):
    flags = ("--write=/dev/null/rows.npy", "--rows=20", "--columns=3")
    process = forks.start("experiments.large_data", *flags)
    assert process.wait() == 2
    assert process.err.startswith("error: write /dev/null/rows.npy cannot be written")
    assert process.err.count("\n") == 1


@pytest.mark.parametrize("flag", ["--rows=2,3", "--write=rows.csv"])
def test_one_array_is_written_at_a_time(forks, tmp_path, flag):
    flags = (f"--write={tmp_path}/rows.npy", "--rows=20", flag)
    process = forks.start("experiments.large_data", *flags)
    assert process.wait() == 2
    assert process.err.startswith("error: write takes one number of rows and a .npy")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flag", ["--rows=many", "--rows=0", "--hidden_sizes=a"])
def test_a_wrong_size_is_one_line(xla, flag):
    finished = large_data(xla, flag)
    assert finished.returncode == 2
    assert finished.stderr.startswith("error: ")
    assert finished.stderr.count("\n") == 1
