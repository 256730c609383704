"""The report of a fitted estimator: ``model.report("report.html", X)``."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dgg_jax import checks
from dgg_jax.data.preprocessing import Scaling
from dgg_jax.estimators.pictures import classes_of
from dgg_jax.reports.inputs import ReportInputs, batch_table, generated
from dgg_jax.reports.run import report_page
from dgg_jax.stages.evaluate import label_metrics
from dgg_jax.storage import saving
from dgg_jax.storage.folders import write_atomically
from dgg_jax.types import Gaussian


def write(
    estimator: Any,
    path: pathlib.Path,
    X: Any,
    y: Any,
    names: Sequence[str] | None,
    class_names: Sequence[str] | None,
) -> pathlib.Path:
    """Writes the page; arguments and errors are those of ``Clusterer.report``."""
    path = path.expanduser()
    if path.is_dir():
        raise checks.InvalidInput(
            f'path must be a file, as "{path / "report.html"}", got the folder {path}.'
        )
    if names is None:
        names = _index(X)
    x = estimator._rows(X, reset=False)
    total = len(estimator.labels_)
    y, class_names = classes_of(y, class_names, total)
    for name, rows in {"X": x, "names": names}.items():
        count = total if rows is None else rows.shape[0] if name == "X" else len(rows)
        if count != total:
            raise checks.InvalidInput(
                f"{name} must have the {total:,} rows of training, got {count:,}."
            )
    if not _are_of_training(estimator, X):
        raise checks.InvalidInput(
            "X must be the rows that were given to fit, in their order and scaled "
            "alike; these lie elsewhere in the latent space than those did."
        )
    html, _ = report_page(
        _inputs(
            estimator,
            x,
            y,
            None if names is None else np.asarray(names, str),
            class_names,
        )
    )
    write_atomically(path, html.encode())
    return path


def _are_of_training(estimator: Any, X: Any) -> bool:
    """Whether rows lie where those of training do, as far as the model can tell."""
    known = getattr(estimator, "embedding_", None)
    if known is None:
        return True
    of_batches = getattr(estimator, "batches_", None) is not None
    told = (
        {"batch": np.array(estimator.batches_)[estimator.batch_]} if of_batches else {}
    )
    latents = estimator._infer(X, **told)[0]
    found = latents.mean if isinstance(latents, Gaussian) else latents
    if found.shape != known.shape:
        return False
    # Another device, or precision, moves some a little.
    off = np.abs(found - known).max(axis=1) > 2e-2 * np.abs(known).max()
    return bool(off.mean() <= 0.01)


def _index(X: Any) -> Sequence[str] | None:
    """The index of a data frame, if it holds names."""
    index = getattr(X, "obs_names", getattr(X, "index", None))  # of AnnData, pandas
    if callable(index) or index is None:  # a list has a method of that name
        return None
    names = list(index)
    return names if all(isinstance(name, str) for name in names) else None


def _inputs(
    estimator: Any,
    x: Any,
    y: np.ndarray | None,
    names: np.ndarray | None,
    class_names: Sequence[str] | None,
) -> ReportInputs:
    """What the page shows of an estimator; outliers stand with their likeliest."""
    labels, num_clusters = estimator.labels_, estimator.n_clusters_
    probabilities = getattr(estimator, "probabilities_", None)
    if probabilities is None:  # hard clusters
        probabilities = np.eye(num_clusters, dtype=np.float32)[labels]
    labels = np.where(labels < 0, probabilities.argmax(axis=1), labels)
    shape = estimator.image_shape_ or (x.shape[1],)
    return ReportInputs(
        config=_config(estimator),
        result=_result(estimator, x, label_metrics(y, labels))
        | _batches(estimator, labels),
        history=estimator.history_,
        x=x,
        feature_shape=shape,
        y=y,
        class_names=class_names,
        labels=labels,
        probabilities=probabilities,
        embedding=getattr(estimator, "embedding_", None),
        **generated(estimator._method, estimator.model_, shape, seed=0),
        names=names,
        calibrated=hasattr(estimator, "raw_probabilities_"),
        elbo=getattr(estimator, "elbo_", None),
        scaling=_scaling(estimator),
    )


def _config(estimator: Any) -> dict[str, Any]:
    """Settings; with what K was estimated from, if it was."""
    count = getattr(estimator, "cluster_count_", None)
    return {
        "method": estimator._method,
        "preset": estimator.preset,
        "preset_values": dataclasses.asdict(estimator.preset_),
        "cluster_count": None if count is None else count._asdict(),
    }


def _result(estimator: Any, x: Any, scores: dict[str, Any]) -> dict[str, Any]:
    """As result.json has it of a run."""
    stages = estimator.stages_
    return {
        "final": {**stages[-1], **scores},
        "stages": stages,
        "outliers": int((estimator.labels_ < 0).sum()),
        "seconds": round(sum(one.get("seconds") or 0.0 for one in stages), 1),
        "seed": estimator.random_state,
        "command": f"{estimator!r}.fit(X)",
        "versions": saving.versions(),
        "dataset": {"name": "X", "rows": x.shape[0], "features": x.shape[1]},
    }


def _batches(estimator: Any, labels: np.ndarray) -> dict[str, Any]:
    """How many rows of each batch are in each cluster, if it was fitted with some."""
    if estimator.batches_ is None:
        return {}
    batch = np.array(estimator.batches_)[estimator.batch_]
    return {"batches": batch_table(batch, labels, estimator.n_clusters_)}


def _scaling(estimator: Any) -> Scaling | None:
    """The scaling of a run's file; of other rows, what their columns are called."""
    if estimator._scaling is not None:
        return estimator._scaling
    dim = estimator.n_features_in_
    names = getattr(estimator, "feature_names_in_", None)
    return Scaling(
        step="counts" if estimator.preset_.has_counts else "none",
        shift=np.zeros(dim),
        scale=np.ones(dim),
        feature_shape=(dim,),
        columns=None if names is None else tuple(names),
    )
