"""Ways to say how sure the cluster of a row is, and which tells right from wrong.

Each gives every row a number in [0, 1]; ``table`` has, over all runs of DGG, how well
it ranks right rows before wrong ones, and how far it is from the share that is right.
"""

import statistics
from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy import special
from sklearn.metrics import silhouette_samples

from dgg_jax import metrics
from dgg_jax.stages import confidence
from dgg_jax.types import Graph

_MOST_ROWS = 4_000  # whose silhouettes are computed


def scores(state: dict[str, Any], y: np.ndarray) -> dict[str, dict[str, Any]]:
    """What each way says of the rows of a run, against the true labels.

    Args:
      state: the last one of a run of DGG.
      y: true labels, shape [N].

    Returns:
      ``calibration_error`` and ``confidence_auc`` of each.
    """
    judge, labels = state["judge"], state["labels"]
    rows, num_clusters = judge["rows"], state["log_assignment"].shape[1]
    graph = Graph(**state["init_graph"])
    near = confidence.neighbors_say(labels, graph, num_clusters)
    theirs = np.zeros_like(near)
    theirs[rows] = confidence.clusterings_say(
        labels[rows], judge["labels"], judge["standings"], num_clusters
    )
    some = rows[:: -(-len(rows) // _MOST_ROWS)]
    everyone = np.arange(len(labels))
    raw = state["raw_log_assignment"]
    tempered = special.softmax(raw / state["calibration"]["temperature"], axis=1)
    own = rows, labels[rows]
    found = {
        "q(c \\| x)": (everyone, np.exp(raw).max(axis=1)),
        "q(c \\| x), tempered": (everyone, tempered.max(axis=1)),
        "neighbours": (everyone, near[everyone, labels]),
        "clusterings": (rows, theirs[own]),
        "neighbours and clusterings": (rows, 0.5 * (near + theirs)[own]),
        "all three": (rows, (near + theirs + tempered)[own] / 3),
        "as it is": (
            everyone,
            np.exp(state["log_assignment"]).max(axis=1),
        ),
    }
    spaces = {"latents": state["latent_mean"], "embedding": state.get("embedding")}
    for name, points in spaces.items():
        if points is not None and len(np.unique(labels[some])) > 1:
            values = silhouette_samples(points[some], labels[some])
            found[f"silhouette, {name}"] = some, 0.5 * (1 + values)
    right = metrics.matched_rows(y, labels)
    return {name: _scored(right[of], values) for name, (of, values) in found.items()}


def _scored(right: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    values = np.clip(values, 0.0, 1.0)
    return {
        "calibration_error": metrics.calibration_error(right, values),
        "confidence_auc": metrics.confidence_auc(right, values),
    }


def table(cells: Iterable[dict[str, Any]]) -> str:
    """Markdown: of each way, its mean over all runs of DGG that have it."""
    runs = [
        cell["details"]["confidences"]
        for cell in cells
        if "confidences" in cell.get("details", {})
    ]
    if not runs:
        return ""
    lines = [
        "| confidence | runs | area under the ROC | calibration error |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name in dict.fromkeys(name for run in runs for name in run):
        found = [run[name] for run in runs if name in run]
        areas = [one["confidence_auc"] for one in found]
        areas = [area for area in areas if area is not None]
        errors = [one["calibration_error"] for one in found]
        area = f"{statistics.mean(areas):.3f}" if areas else "-"
        lines.append(
            f"| {name} | {len(found)} | {area} | {statistics.mean(errors):.3f} |"
        )
    return "\n".join(lines)
