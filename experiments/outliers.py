"""Rows that belong to no cluster: does the ELBO tell them from the others?

  python -m experiments.outliers --outliers_of=wine,digits --seeds=0,1,2
  python -m experiments.outliers --tables

Of two kinds. Of the training rows a share of 1, 5 or 10 % is drawn evenly from the box
that the others lie in, and training sees them. Or a class is left out of training, the
first for seed 0, the next for seed 1 and so on, and told from a fifth of the others'
rows, which are new as well. Beside DGG are scikit-learn's detectors, with their
defaults. The score is the area under the ROC.

Each outcome is a line of --output at once, and one that is there is not computed again.
"""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from absl import app, flags

from dgg_jax import checks
from dgg_jax.cli import command, series
from dgg_jax.reports import cells
from experiments.arena import sets
from experiments.outcomes import TABLES, Outcome, append, outcomes

_SETS = flags.DEFINE_list(
    "outliers_of",
    ["wine", "breast_cancer", "segment", "digits", "satimage"],
    f"Data sets, separated by commas, of {', '.join(sets.NAMES)}.",
)
flags.declare_key_flag("seeds")
flags.declare_key_flag("data_dir")
flags.declare_key_flag("output")
flags.declare_key_flag("tables")
_DEFAULT_OUTPUT = "results/outliers/outcomes.jsonl"
NAMES = ("DGG", "IsolationForest", "LocalOutlierFactor")
KINDS = ("1 %", "5 %", "10 %", "a class")


class Task(NamedTuple):
    """Rows to learn from, and rows of which some are outliers.

    Attributes:
      train: float32 [N, D].
      num_clusters: K of these rows.
      asked: rows to tell, float32 [M, D]; None: the training rows.
      are_outliers: booleans of those, [M] or [N].
    """

    train: np.ndarray
    num_clusters: int
    asked: np.ndarray | None
    are_outliers: np.ndarray


def main(arguments: Sequence[str]) -> int:
    """Parses, runs and reports; a user's mistake is one line on stderr."""
    return command.answer(arguments, _compare, example="--outliers_of=wine,digits")


def _compare() -> int:
    output = pathlib.Path(command.OUTPUT.value or _DEFAULT_OUTPUT)
    for name in _SETS.value:
        checks.one_of("outliers_of", name, sets.NAMES)
    if not TABLES.value:
        for seed in series.seeds():
            for name in _SETS.value:
                _measure(output, name, seed)
    print(table(outcomes(output)))
    return 0


def _measure(output: pathlib.Path, name: str, seed: int) -> None:
    dataset = sets.load(name, command.DATA_DIR.value)
    x, y = sets.dense(dataset), np.asarray(dataset.y)
    known = {(c["data"], c["kind"], c["method"], c["seed"]) for c in outcomes(output)}
    for kind in KINDS:
        for method in NAMES:
            cell = {"data": name, "kind": kind, "method": method, "seed": seed}
            if tuple(cell.values()) in known:
                continue
            auc = area(method, task(x, y, kind, seed), dataset.image_shape, seed)
            append(output, cell | {"auc": auc})
            print(f"{name}, {kind}, seed {seed}, {method}: {auc:.3f}", flush=True)


def task(x: np.ndarray, y: np.ndarray, kind: str, seed: int) -> Task:
    """What is to be told, of rows x [N, D] of classes y [N]."""
    random, num_clusters = np.random.default_rng(seed), len(np.unique(y))
    if kind == "a class":
        unseen = y == np.unique(y)[seed % num_clusters]
        new = ~unseen & (random.random(len(x)) < 0.2)
        asked = unseen | new
        return Task(x[~asked], num_clusters - 1, x[asked], unseen[asked])
    count = round(len(x) * float(kind.removesuffix(" %")) / 100)
    drawn = random.uniform(x.min(axis=0), x.max(axis=0), (count, x.shape[1]))
    order = random.permutation(len(x) + count)
    rows = np.concatenate([x, drawn.astype(np.float32)])[order]
    return Task(rows, num_clusters, None, order >= len(x))


def area(
    method: str, given: Task, image_shape: tuple[int, ...] | None, seed: int
) -> float:
    """The area under the ROC of telling the outliers, lowest scores first."""
    from sklearn.ensemble import IsolationForest
    from sklearn.metrics import roc_auc_score
    from sklearn.neighbors import LocalOutlierFactor

    from dgg_jax import DGG

    is_new = given.asked is not None
    if method == "DGG":
        model = DGG(given.num_clusters, image_shape=image_shape, random_state=seed)
        model.fit(given.train)
        scores = model.score_samples(given.asked) if is_new else model.elbo_
    elif method == "IsolationForest":
        model = IsolationForest(random_state=seed).fit(given.train)
        scores = model.score_samples(given.asked if is_new else given.train)
    else:
        model = LocalOutlierFactor(novelty=is_new).fit(given.train)
        of_training = model.negative_outlier_factor_
        scores = model.score_samples(given.asked) if is_new else of_training
    return float(roc_auc_score(given.are_outliers, -scores))


def table(found: Sequence[Outcome]) -> str:
    """Markdown: of every kind and set, and at the end the means."""
    lines = []
    for kind, data in dict.fromkeys((one["kind"], one["data"]) for one in found):
        row = [one for one in found if (one["kind"], one["data"]) == (kind, data)]
        lines.append(
            [kind, data, *(cells.spread(_areas(row, one), 3) for one in NAMES)]
        )
    means = [f"{np.mean(_areas(found, name)):.3f}" for name in NAMES]
    return cells.markdown(
        ["outliers", "data", *NAMES], [*lines, ["all", "mean", *means]]
    )


def _areas(found: Sequence[Outcome], method: str) -> list[float]:
    return [one["auc"] for one in found if one["method"] == method]


if __name__ == "__main__":
    app.run(main, flags_parser=command.parse_flags)
