"""Peak memory and seconds of a whole run of MNIST, in a process of its own."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from experiments.benchmarks.settings import Settings
from experiments.benchmarks.timing import Figure


def figures(settings: Settings) -> Iterator[Figure]:
    """Runs experiments.main on MNIST, or the smoke preset of digits if quick.

    Raises:
      RuntimeError: if the run fails.
    """
    flags = ["--dataset=mnist"]
    if settings.quick:
        flags = ["--dataset=digits", "--preset=smoke"]
    elif settings.data_dir is not None:
        flags.append(f"--data_dir={settings.data_dir}")
    command = ["-m", "experiments.main", *flags]
    with tempfile.TemporaryDirectory() as folder:
        workdir = pathlib.Path(folder) / "run"
        finished = subprocess.run(
            [sys.executable, *command, f"--workdir={workdir}"],
            capture_output=True,
            text=True,
            # As the first run on a machine.
            env={**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false"},
        )
        if finished.returncode:
            raise RuntimeError(f"the run failed:\n{finished.stderr}")
        result = json.loads((workdir / "result.json").read_text())
    stages = {stage["name"]: stage["seconds"] for stage in result["stages"]}
    details = {
        "command": " ".join(("python", *command)),
        "accuracy": result["final"]["accuracy"],
        "stage_seconds": stages,
    }
    name = f"a run of {result['dataset']['name']}"
    peaks = {
        "host": result["peak_memory_mib"],
        "device": result["peak_device_memory_mib"],
    }
    for where, peak in peaks.items():
        if peak is not None:
            title = f"{name}, peak memory of the {where}"
            yield Figure(title, peak, unit="MiB", details=details)
    yield Figure(name, result["seconds"], unit="s", details=details)
