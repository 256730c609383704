"""Memory of a process: its peak, and what is given back."""

import ctypes
import pathlib
import re

import numpy as np
import pytest

from dgg_jax.placement import memory

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


def test_another_c_library_keeps_it(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    memory.return_freed()
