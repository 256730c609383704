"""Values that are missing: what is there modelled, or what is not filled in first.

  python -m experiments.missing --data=digits --seeds=0,1,2
  python -m experiments.missing --tables

Of each value of the data a share is taken away at random. DGG then clusters what is
there; beside it DGG and K-means of rows whose missing values were filled in, by their
columns' means or by their ten nearest rows. The error is that of what is filled in, by
DGG's decoder or before: the root of its mean square, in units of the scaled columns.

Each outcome is a line of --output at once, and one that is there is not computed again.
"""

import pathlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import app, flags

from dgg_jax import checks
from dgg_jax.cli import command, series
from dgg_jax.reports import cells
from experiments.outcomes import TABLES, Outcome, append, outcomes

_DATASET = flags.DEFINE_string("data", "digits", "digits, or an .npz with x and y.")
_SHARES = flags.DEFINE_list("shares", ["0.1", "0.3", "0.5"], "What goes missing.")
flags.declare_key_flag("seeds")
flags.declare_key_flag("output")
flags.declare_key_flag("tables")
_DEFAULT_OUTPUT = "results/missing/outcomes.jsonl"
_NAMES = (
    "DGG",
    "nearest rows, then DGG",
    "column means, then DGG",
    "nearest rows, then K-means",
    "column means, then K-means",
)


def main(arguments: Sequence[str]) -> int:
    """Parses, runs and reports; a user's mistake is one line on stderr."""
    return command.answer(arguments, _compare, example="--data=digits")


def _compare() -> int:
    output = pathlib.Path(command.OUTPUT.value or _DEFAULT_OUTPUT)
    shares = [float(share) for share in _SHARES.value]
    for share in shares:
        checks.in_range("shares", share, 0.0, 0.9)
    if not TABLES.value:
        for seed in series.seeds():
            for share in shares:
                _measure(output, share, seed)
    print(table(outcomes(output)))
    return 0


def _measure(output: pathlib.Path, share: float, seed: int) -> None:
    from dgg_jax import data

    dataset = data.load(_DATASET.value)
    whole = np.asarray(dataset.x)
    known = {(c["data"], c["method"], c["share"], c["seed"]) for c in outcomes(output)}
    gone = np.random.default_rng(seed).random(whole.shape) < share
    gone &= ~gone.all(axis=1, keepdims=True)
    x = np.where(gone, np.nan, whole).astype(np.float32)
    for name in _NAMES:
        cell = {"data": dataset.name, "method": name, "share": share, "seed": seed}
        if tuple(cell.values()) in known:
            continue
        cell |= _outcome(name, dataset, x, gone, seed)
        append(output, cell)
        print(cell, flush=True)


def _outcome(
    name: str, dataset: Any, x: np.ndarray, gone: np.ndarray, seed: int
) -> dict[str, float]:
    """Scores of a method on rows x that miss values, and the error of its estimates."""
    from sklearn.cluster import KMeans
    from sklearn.impute import KNNImputer, SimpleImputer

    from dgg_jax import metrics, presets
    from dgg_jax.methods import dgg

    began, num_clusters = time.perf_counter(), len(np.unique(dataset.y))
    if name != "DGG":
        by_rows = name.startswith("nearest rows")
        imputer = (
            KNNImputer(n_neighbors=10)
            if by_rows
            else SimpleImputer(keep_empty_features=True)
        )
        filled = imputer.fit_transform(x).astype(np.float32)
    if name.endswith("K-means"):
        model = KMeans(num_clusters, n_init=10, random_state=seed)
        labels = model.fit_predict(filled)
    else:
        rows, shape = (x if name == "DGG" else filled), dataset.image_shape
        preset = presets.for_data("dgg", rows, num_clusters, image_shape=shape)
        outcome = dgg.run(
            rows,
            preset,
            seed=seed,
            image_shape=shape,
            column_scale=dataset.column_scale,
        )
        labels = outcome.state["labels"]
        if name == "DGG":
            filled = outcome.model.impute(x)
    error = np.sqrt(np.mean(np.square(filled - dataset.x)[gone])) if gone.any() else 0.0
    return {
        "accuracy": metrics.clustering_accuracy(dataset.y, labels),
        "ari": metrics.adjusted_rand_index(dataset.y, labels),
        "error": round(float(error), 4),
        "seconds": round(time.perf_counter() - began, 1),
    }


def table(found: Sequence[Outcome]) -> str:
    """Markdown: accuracy of each method, and the error of what is filled in."""
    errors = _NAMES[:3]
    head = [*_NAMES, *(f"error, {name.removesuffix(', then DGG')}" for name in errors)]
    lines = []
    for data, share in sorted({(one["data"], one["share"]) for one in found}):
        row = [one for one in found if (one["data"], one["share"]) == (data, share)]
        values = [_value(row, name, "accuracy") for name in _NAMES]
        values += [_value(row, name, "error") for name in errors]
        lines.append([data, f"{share:.0%}", *values])
    return cells.markdown(["data", "missing", *head], lines)


def _value(row: Sequence[Outcome], method: str, score: str) -> str:
    values = [one[score] for one in row if one["method"] == method]
    return cells.spread(values or None, 3)


if __name__ == "__main__":
    app.run(main, flags_parser=command.parse_flags)
