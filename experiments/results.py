"""What a finished run leaves behind: result.json, predictions.npz, the report."""

import datetime
import importlib.metadata
import io
import os
import pathlib
import platform
import resource
import shlex
import subprocess
import sys
from typing import Any

import jax
import numpy as np

import dgg_jax
from dgg_jax import presets
from dgg_jax.data import Dataset
from dgg_jax.methods import dgg
from dgg_jax.methods.base import Metrics, State
from experiments.config import Config
from experiments.report import ReportInputs

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "scikit-learn")
_SAMPLES_PER_CLUSTER = 10  # as images or rows of a table
_POINTS_PER_CLUSTER = 500  # as points in the plane


def collect(
    config: Config, dataset: Dataset, records: list[Metrics], seconds: float
) -> dict[str, Any]:
    """The content of result.json.

    Args:
      config: of the run.
      dataset: that was clustered.
      records: of all stages.
      seconds: wall-clock of this process.

    Returns:
      A dictionary that JSON holds.
    """
    last = records[-1]
    rows, columns = dataset.x.shape
    return {
        "final": {name: last[name] for name in ("accuracy", "nmi", "ari", "elbo")},
        "stages": records,
        "paper": presets.PAPER.get(config.dataset),
        "dataset": {
            "name": dataset.name,
            "rows": rows,
            "features": columns,
            "provenance": dataset.provenance,
        },
        "seed": config.seed,
        "seconds": round(seconds, 1),
        "peak_memory_mib": _peak_memory_mib(),
        "device": _device(),
        "versions": {
            "python": platform.python_version(),
            "dgg_jax": dgg_jax.__version__,
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        "git_revision": _git_revision(),
        "command": shlex.join(["python", "-m", "experiments.main", *sys.argv[1:]]),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "config": config.identity(),
    }


def _peak_memory_mib() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Bytes on macOS, KiB elsewhere.
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))


def _device() -> str:
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


def _git_revision() -> str | None:
    """The commit this program runs from, "-dirty" if files differ; None outside git."""
    folder = pathlib.Path(__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def predictions(state: State) -> bytes:
    """An npz file: labels [N], probabilities [N, K], embedding [N, L]."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        labels=state["labels"],
        probabilities=np.exp(state["log_assignment"]),
        embedding=state["latent_mean"],
    )
    return buffer.getvalue()


def report_inputs(
    config: Config,
    dataset: Dataset,
    result: dict[str, Any],
    history: list[Metrics],
    model: dgg.Model,
    state: State,
) -> ReportInputs:
    """Gathers what the report shows."""
    mixture = model.params["mixture"]
    is_image = len(dataset.feature_shape) >= 2
    in_plane = dataset.feature_shape == (2,)
    num_samples = _POINTS_PER_CLUSTER if in_plane else _SAMPLES_PER_CLUSTER
    return ReportInputs(
        config=config.identity(),
        result=result,
        history=history,
        x=dataset.x,
        feature_shape=dataset.feature_shape,
        y=dataset.y,
        class_names=dataset.class_names,
        labels=state["labels"],
        probabilities=np.exp(state["log_assignment"]),
        embedding=state["latent_mean"],
        mixture_mean=np.asarray(mixture.mean),
        mixture_logvar=np.asarray(mixture.logvar),
        weights=np.exp(model.log_weights),
        samples=dgg.samples_per_cluster(model, num_samples, config.seed),
        traversals=dgg.traversals(model) if is_image else None,
    )
