"""Where results come from: command, device, threads and commit."""

import os
import pathlib
import platform
import shlex
import subprocess
import sys
from typing import Any

import jax

from dgg_jax.storage import saving


def origin(module: str) -> dict[str, Any]:
    """What a file of measurements says of where they come from.

    Args:
      module: the program, as ``python -m`` names it.
    """
    return {
        "command": shlex.join(["python", "-m", module, *sys.argv[1:]]),
        "device": device(),
        "backend": jax.default_backend(),
        "threads": threads(),
        "versions": saving.versions(),
        "git_revision": git_revision(),
    }


def device() -> str:
    """What computes, in words."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return f"{jax.device_count()} x {device.device_kind}"
    model = platform.processor() or platform.machine()
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"cpu, {os.cpu_count()} cores, {model}"


def threads() -> int:
    """Threads that computations on a CPU may use: NPROC, else the cores."""
    if "NPROC" in os.environ:
        return int(os.environ["NPROC"])
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def git_revision() -> str | None:
    """The commit this program runs from, "-dirty" if files differ; None outside git.

    An installed package is outside, also in an environment inside of a checkout.
    """
    git = ["git", "-C", str(pathlib.Path(__file__).parent)]
    found = None
    for command in (
        ["ls-files", "--error-unmatch", pathlib.Path(__file__).name],
        ["describe", "--always", "--dirty"],
    ):
        try:
            found = subprocess.run(
                git + command, capture_output=True, text=True, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        if found.returncode != 0:
            return None
    return found.stdout.strip()
