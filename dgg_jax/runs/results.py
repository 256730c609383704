"""What a finished run leaves behind: result.json, predictions.npz, the report."""

import datetime
import io
from typing import Any

import numpy as np

from dgg_jax.data import Dataset
from dgg_jax.placement import memory
from dgg_jax.reports import published
from dgg_jax.reports.inputs import ReportInputs, generated
from dgg_jax.runs.config import Config
from dgg_jax.runs.origin import device, git_revision
from dgg_jax.storage import saving
from dgg_jax.training import Metrics, State

_CONFIDENCE = ("confidence", "calibration_error", "confidence_auc")


def collect(
    config: Config,
    dataset: Dataset,
    records: list[Metrics],
    seconds: float,
    stability: Metrics | None = None,
) -> dict[str, Any]:
    """The content of result.json.

    Args:
      config: of the run.
      dataset: that was clustered.
      records: of all stages.
      seconds: wall-clock of this process.
      stability: the record of the run's repetitions, if there are any.

    Returns:
      A dictionary that JSON holds.
    """
    last = records[-1]
    final = {name: last.get(name) for name in ("accuracy", "nmi", "ari", "elbo")}
    if "confident_label_accuracy" in last:
        final["confident_label_accuracy"] = last["confident_label_accuracy"]
    for name in ("smallest_share", "perplexity", "thin_clusters", *_CONFIDENCE):
        final[name] = last.get(name)
    rows, columns = dataset.x.shape
    paper = published.figure(config.method, config.dataset, config.preset)
    return {
        "final": final,
        "stages": records,
        "stability": stability,
        "paper": paper if config.is_whole else None,  # which is what it reports of
        "dataset": {
            "name": dataset.name,
            "rows": rows,
            "features": columns,
            "provenance": dataset.provenance,
        },
        "seed": config.seed,
        "seconds": round(seconds, 1),
        "peak_memory_mib": memory.peak_memory_mib(),
        "peak_device_memory_mib": memory.peak_device_memory_mib(),
        "device": device(),
        "versions": saving.versions(),
        "git_revision": git_revision(),
        "command": config.command(),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "config": config.identity(),
    }


def predictions(state: State, names: np.ndarray | None = None) -> bytes:
    """An npz file: labels [N], probabilities [N, K], embedding [N, L], elbo [N], names.

    All but the first where the method has them, with raw_probabilities [N, K] where
    these were calibrated and consensus [N] where the run was repeated; names of the
    rows [N] where the data have them.
    """
    arrays = {"labels": state["labels"]}
    if "consensus" in state:
        arrays["consensus"] = state["consensus"]
    if names is not None:
        arrays["names"] = names
    if "log_assignment" in state:
        arrays["probabilities"] = np.exp(state["log_assignment"])
    if "raw_log_assignment" in state:
        arrays["raw_probabilities"] = np.exp(state["raw_log_assignment"])
    if "elbo" in state:
        arrays["elbo"] = state["elbo"]
    if "latent_mean" in state:
        arrays["embedding"] = state["latent_mean"]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def report_inputs(
    config: Config,
    dataset: Dataset,
    result: dict[str, Any],
    history: list[Metrics],
    model: Any,
    state: State,
) -> ReportInputs:
    """Gathers what the report shows."""
    shape = dataset.feature_shape if dataset.is_image else dataset.x.shape[1:]
    labels = state["labels"]
    if "probabilities" in state:  # of a run that is read from its folder
        probabilities = state["probabilities"]
    elif "log_assignment" in state:
        probabilities = np.exp(state["log_assignment"])
    else:  # hard clusters
        probabilities = np.eye(config.preset.num_clusters, dtype=np.float32)[labels]
    return ReportInputs(
        config=config.identity(),
        result=result,
        history=history,
        x=dataset.x,
        feature_shape=shape,
        y=dataset.y,
        class_names=dataset.class_names,
        labels=labels,
        probabilities=probabilities,
        embedding=state.get("latent_mean"),
        **generated(config.method, model, shape, config.seed),
        names=dataset.names,
        calibrated="raw_log_assignment" in state,
        elbo=state.get("elbo"),
        scaling=dataset.scaling,
    )
