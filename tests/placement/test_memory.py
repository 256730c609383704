"""Memory of a process: its peak, and what is given back."""

import ctypes
import pathlib
import re

import jax
import numpy as np
import pytest

from dgg_jax.placement import memory
from dgg_jax.runs import run
from tests.experiments.command_line import call

_STATUS = pathlib.Path("/proc/self/status")


def resident_mib():
    return int(re.search(r"VmRSS:\s+(\d+)", _STATUS.read_text())[1]) / 2**10


def test_a_peak_never_falls():
    before = memory.peak_memory_mib()
    large = np.ones(2**25)  # 256 MiB
    assert memory.peak_memory_mib() >= before
    assert memory.peak_memory_mib() >= 256
    del large
    assert memory.peak_memory_mib() >= 256


@pytest.mark.skipif(
    not (_STATUS.exists() and hasattr(ctypes.CDLL(None), "malloc_trim")),
    reason="glibc keeps what is freed",
)
def test_holes_are_given_back():
    # 128 MiB of pieces below what glibc maps one by one; every 64th of them stays.
    pieces = [np.ones(2**12) for _ in range(2**12)]
    kept = pieces[::64]
    del pieces
    before = resident_mib()
    memory.return_freed()
    assert resident_mib() < before - 64
    assert all((piece == 1.0).all() for piece in kept)


def test_programs_are_forgotten_and_compiled_again():
    plus_one = jax.jit(lambda x: x + 1.0)
    assert plus_one(2.0) == 3.0 and plus_one._cache_size() == 1
    memory.forget_programs()
    is_cpu = jax.default_backend() == "cpu"
    assert plus_one._cache_size() == (0 if is_cpu else 1)
    assert plus_one(2.0) == 3.0


@pytest.mark.parametrize("forgets", [True, False])
def test_runs_of_many_data_forget_the_programs_of_each_stage(
    monkeypatch, tmp_path, forgets
):
    forgotten = []
    monkeypatch.setattr(memory, "forget_programs", lambda: forgotten.append(True))
    size = 4 * 1797 * 64
    monkeypatch.setattr(run, "_MANY_BYTES", size if forgets else size + 1)
    outcome = call("--method=spectral", f"--workdir={tmp_path / 'run'}")
    assert outcome.code == 0, outcome.err
    assert len(forgotten) == (2 if forgets else 0)  # graph and cluster


def test_another_c_library_keeps_it(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    memory.return_freed()
