"""How long a fresh process takes to its first epoch, compilation included."""

import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping

from experiments.benchmarks import timing
from experiments.benchmarks.settings import Settings
from experiments.benchmarks.timing import Figure

_COMMAND = (sys.executable, "-m", "experiments.main", "--dataset=digits")
_SECONDS = 120.0  # after which a process counts as stuck


def figures(settings: Settings) -> Iterator[Figure]:
    """Seconds from the start of digits to the end of its first epoch.

    With what an earlier process has compiled, and without.
    """
    with tempfile.TemporaryDirectory() as folder:
        cache = {
            "JAX_COMPILATION_CACHE_DIR": folder,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        starts = {
            "without": lambda: first_epoch({"JAX_ENABLE_COMPILATION_CACHE": "false"}),
            "with": lambda: first_epoch(cache),
        }
        timings = timing.interleave(starts, settings.repetitions)
    for name, timed in timings.items():
        yield timing.duration(
            f"start to first epoch, {name} compiled programs",
            timed,
            target=10.0,
            details={"command": " ".join(("python", *_COMMAND[1:]))},
        )


def first_epoch(environment: Mapping[str, str]) -> None:
    """Starts a run in a process of its own and ends it after its first epoch.

    Args:
      environment: variables to set.

    Raises:
      RuntimeError: if it ends before, or takes minutes.
    """
    with tempfile.TemporaryDirectory() as folder:
        metrics = pathlib.Path(folder) / "run" / "metrics.jsonl"
        log = pathlib.Path(folder) / "log"
        with open(log, "w") as file:
            process = subprocess.Popen(
                [*_COMMAND, f"--workdir={metrics.parent}"],
                env={**os.environ, **environment},
                stdout=file,
                stderr=file,
            )
        try:
            deadline = time.monotonic() + _SECONDS
            while not (metrics.exists() and metrics.stat().st_size):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"no first epoch:\n{log.read_text()}")
                time.sleep(0.01)
        finally:
            process.kill()
            process.wait()
