"""The most memory that this process, and its device, have had so far.

A peak belongs to the process: that of a stage is what it was when the stage ended, so
that the first stage with the final figure is the one that took most. To begin anew with
each stage, by /proc/self/clear_refs, would take the process's own peak from getrusage,
also from whoever fits an estimator; the peak of a device cannot begin anew.
"""

import contextlib
import ctypes
import resource
import sys

import jax


def peak_memory_mib() -> int:
    """The most memory that this process has had, pages of mapped files included."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Bytes on macOS, KiB elsewhere.
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))


def return_freed() -> None:
    """Gives memory that was freed back to the system, where glibc would keep it.

    Compilers and buffers leave holes, of a quarter of a GiB on MNIST, that a stage or
    loop which needs larger pieces cannot use. It takes milliseconds.
    """
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def forget_programs() -> None:
    """Lets go of what jax has compiled, on a CPU, and gives its memory back.

    Each large program keeps some 100 MiB there, whatever it is of. One that is needed
    again is compiled again, or read where compilations are kept.
    """
    if jax.default_backend() == "cpu":
        jax.clear_caches()
        return_freed()


def peak_device_memory_mib() -> int | None:
    """The same of the first device; None where it does not tell, as a CPU."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    peak = statistics.get("peak_bytes_in_use")
    return None if peak is None else round(peak / 2**20)
