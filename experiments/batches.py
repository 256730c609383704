"""Cells of several batches: are clusters of types, or of batches?

  python -m experiments.batches --cells=pbmc4k_counts.npz --seeds=0,1
  python -m experiments.batches --tables

Each cell is put into one of two batches at random; "uneven" puts all cells of the third
type into the first. In the second batch the expected counts of each gene are multiplied
by exp(N(0, 0.7)): counts are thinned, or joined by further ones of Poisson's; "by type"
multiplies those of each type by exp(N(0, 0.5)) of its own, too. DGG is told of the
batches or not; beside it are K-means and scanpy's Leiden of 50 components of the
logarithms: as they are, of batches that were each centred, and of logarithms without
batch effects as DGG estimates them.

Mixed is the share of a cell's 20 nearest ones that are of the other batch, over what it
would be by chance, in the space that is clustered and among the types of both batches.
Each outcome is a line of --output at once, and one that is there is not computed again.
"""

import pathlib
import time
import warnings
from collections.abc import Sequence

import numpy as np
from absl import app, flags

from dgg_jax import checks
from dgg_jax.cli import command, series
from dgg_jax.reports import cells
from experiments.outcomes import TABLES, Outcome, append, outcomes

_CELLS = flags.DEFINE_string("cells", None, "An .npz with counts x and types y.")
_SPREAD = 0.7  # of the logarithms of what genes are multiplied by
_OWN_SPREAD = 0.5  # the same of each type
_NEIGHBORS = 20
flags.declare_key_flag("seeds")
flags.declare_key_flag("output")
flags.declare_key_flag("tables")
_DEFAULT_OUTPUT = "results/batches/outcomes.jsonl"
KINDS = ("even", "uneven", "by type")
NAMES = (
    "DGG, told of batches",
    "DGG",
    "K-means",
    "K-means, centred",
    "K-means, without effects",
    "Leiden",
    "Leiden, centred",
    "Leiden, without effects",
)


def main(arguments: Sequence[str]) -> int:
    """Parses, runs and reports; a user's mistake is one line on stderr."""
    return command.answer(arguments, _compare, example="--cells=cells.npz")


def _compare() -> int:
    output = pathlib.Path(command.OUTPUT.value or _DEFAULT_OUTPUT)
    if not TABLES.value:
        if _CELLS.value is None:
            raise checks.InvalidInput("--cells is missing; see --helpshort.")
        for seed in series.seeds():
            for kind in KINDS:
                _measure(output, kind, seed)
    print(table(outcomes(output)))
    return 0


def _measure(output: pathlib.Path, kind: str, seed: int) -> None:
    with np.load(_CELLS.value) as arrays:
        x, y, batch = planted(arrays["x"], arrays["y"], kind, seed)
    known = {(c["kind"], c["method"], c["seed"]) for c in outcomes(output)}
    for name in NAMES:
        cell = {"kind": kind, "method": name, "seed": seed}
        if tuple(cell.values()) in known:
            continue
        cell |= _outcome(name, x, y, batch, seed)
        append(output, cell)
        print(cell, flush=True)


def planted(
    x: np.ndarray, y: np.ndarray, kind: str, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts [N, D] of cells in two batches, their types [N], and the batches [N].

    Cells that are left without any count are left out.
    """
    random, x = np.random.default_rng(seed), x.astype(np.int64)
    batch = random.integers(0, 2, len(x))
    if kind == "uneven":
        batch[y == np.unique(y)[2]] = 0
    factor = np.exp(random.normal(0.0, _SPREAD, x.shape[1]))
    if kind == "by type":
        types, code = np.unique(y, return_inverse=True)
        own = random.normal(0.0, _OWN_SPREAD, (len(types), x.shape[1]))
        factor = factor * np.exp(own)[code]
    more = random.poisson(x * np.maximum(factor - 1.0, 0.0))
    other = random.binomial(x, np.minimum(factor, 1.0)) + more
    x = np.where(batch[:, None] == 1, other, x).astype(np.float32)
    kept = x.any(axis=1)
    return x[kept], y[kept], batch[kept]


def _outcome(
    name: str, x: np.ndarray, y: np.ndarray, batch: np.ndarray, seed: int
) -> dict[str, float]:
    """Scores of a method, and how batches are mixed where it clusters."""
    from dgg_jax import DGG, metrics

    began, num_clusters = time.perf_counter(), len(np.unique(y))
    if name.startswith("DGG"):
        model = DGG(num_clusters, likelihood="negative_binomial", random_state=seed)
        model.fit(x, batch=None if name == "DGG" else batch)
        points, labels = model.embedding_, model.labels_
    else:
        cluster, _, treated = name.partition(", ")
        points, labels = _simpler(cluster, treated, x, batch, num_clusters, seed)
    seconds = time.perf_counter() - began
    in_both = [np.ptp(batch[y == one]) > 0 for one in y]
    return {
        "accuracy": metrics.clustering_accuracy(y, labels),
        "ari": metrics.adjusted_rand_index(y, labels),
        "mixed": mixed(points[in_both], batch[in_both]),
        "seconds": round(seconds, 1),
    }


def _simpler(
    cluster: str,
    treated: str,
    x: np.ndarray,
    batch: np.ndarray,
    num_clusters: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Components of treated logarithms, and labels of their clusters."""
    from sklearn.decomposition import PCA

    from dgg_jax.data.preprocessing import log_normalize
    from dgg_jax.stages.batch_effects import without_batch_effects
    from experiments.arena import contenders

    points = log_normalize(x)
    if treated == "centred":
        means = np.stack([points[batch == b].mean(axis=0) for b in (0, 1)])
        points = points - means[batch] + points.mean(axis=0)
    elif treated:
        points = without_batch_effects(points, batch, seed)
    components = PCA(50, svd_solver="randomized", random_state=0).fit_transform(points)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if cluster == "K-means":
            labels, _ = contenders.kmeans(components, num_clusters, seed)
        else:
            labels, _ = contenders.leiden(points, num_clusters, seed)
    return components, labels


def mixed(points: np.ndarray, batch: np.ndarray) -> float:
    """How often near points [N, M] are of the other batch [N], over chance: about 1."""
    from dgg_jax.graph import knn

    indices, _ = knn(points, _NEIGHBORS)
    shares = np.bincount(batch) / len(batch)
    found = (batch[indices] != batch[:, None]).mean(axis=1)
    return float(np.mean(found / (1.0 - shares[batch])))


def table(found: Sequence[Outcome]) -> str:
    """Markdown: the adjusted Rand index and the mixing of each method."""
    lines = []
    for name in NAMES:
        values = [
            cells.spread(
                [
                    one[score]
                    for one in found
                    if (one["kind"], one["method"]) == (kind, name)
                ]
                or None,
                digits,
            )
            for score, digits in (("ari", 3), ("mixed", 2))
            for kind in KINDS
        ]
        lines.append([name, *values])
    head = [f"{score}, {kind}" for score in ("ARI", "mixed") for kind in KINDS]
    return cells.markdown(["method", *head], lines)


if __name__ == "__main__":
    app.run(main, flags_parser=command.parse_flags)
