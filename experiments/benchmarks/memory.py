"""Peak memory and seconds of a whole run of MNIST, in a process of its own."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from experiments.benchmarks.settings import Settings
from experiments.benchmarks.timing import Figure

_STAGE = re.compile(r"\[\d+/\d+\] (\w+): ([\d.]+) s")  # the line of a finished stage


def figures(settings: Settings) -> Iterator[Figure]:
    """The figures of a run of MNIST, or of the smoke preset of digits if quick."""
    return of_run(*run_of(settings))


def run_of(settings: Settings) -> tuple[str, list[str]]:
    """What is run, in words, and its flags."""
    if settings.quick:
        return "a run of digits", ["--dataset=digits", "--preset=smoke"]
    flags = ["--dataset=mnist"]
    if settings.data_dir is not None:
        flags.append(f"--data_dir={settings.data_dir}")
    return "a run of mnist", flags


def of_run(
    name: str, flags: list[str], target: float | None = None
) -> Iterator[Figure]:
    """Runs experiments.main: each stage as soon as it has ended, then the whole.

    Args:
      name: of the run, in words.
      flags: of the run.
      target: the most seconds that it shall take.

    Raises:
      RuntimeError: if the run fails.
    """
    command = ["-m", "experiments.main", *flags]
    details = {"command": " ".join(("python", *command))}
    with tempfile.TemporaryDirectory() as folder:
        workdir = pathlib.Path(folder) / "run"
        lines = []
        for line in _lines([*command, f"--workdir={workdir}"]):
            lines.append(line)
            if stage := _STAGE.match(line):
                title = f"{name}, stage {stage[1]}"
                yield Figure(title, float(stage[2]), unit="s", details=details)
        try:
            result = json.loads((workdir / "result.json").read_text())
        except FileNotFoundError:
            raise RuntimeError(f"the run failed:\n{''.join(lines)}") from None
    stages = {stage["name"]: stage["seconds"] for stage in result["stages"]}
    accuracy = result["final"]["accuracy"]
    details = details | {"accuracy": accuracy, "stage_seconds": stages}
    peaks = {
        "host": result["peak_memory_mib"],
        "device": result["peak_device_memory_mib"],
    }
    for where, peak in peaks.items():
        if peak is not None:
            title = f"{name}, peak memory of the {where}"
            yield Figure(title, peak, unit="MiB", details=details)
    yield Figure(name, result["seconds"], unit="s", target=target, details=details)


def _lines(command: list[str]) -> Iterator[str]:
    """What a process of Python prints, line by line; it ends with who reads them."""
    environment = {
        **os.environ,
        # As the first run on a machine.
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        # This process may have taken most of a GPU's memory.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "PYTHONUNBUFFERED": "1",
    }
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    with process:
        try:
            yield from process.stdout
            process.wait()
        finally:
            process.kill()
