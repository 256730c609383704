"""How the latents lie to the coordinates: what section 4 of DGG says of its own.

  python -m experiments.latents runs/digits-dgg-* runs/digits-vade-*

Prints a row for each method, the mean and standard deviation over its runs:

- the two largest of a component's variances, as a share of all of them, where L equal
  ones would have 2 / L: how sparse they are;
- the alignment of the clusters with the coordinates, ``alignment``, and beside it that
  of the same clusters, turned at random.
"""

import pathlib
import sys
from collections import defaultdict

import numpy as np
from scipy import stats

import dgg_jax
from dgg_jax.reports import cells

_LARGEST = 2
_TURNS = 20


def largest_share(variances: np.ndarray) -> float:
    """Mean share that the two largest have of a component's variances [K, L]."""
    descending = -np.sort(-variances, axis=1)
    shares = descending[:, :_LARGEST].sum(axis=1) / descending.sum(axis=1)
    return float(shares.mean())


def alignment(latents: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Whether the axes of clusters are coordinates.

    Each principal axis of a cluster counts by the largest square of its entries, 1 if
    it is a coordinate and at least 1 / L, and weighs as much as its variance.

    Args:
      latents: means of q(z | x), shape [N, L].
      labels: of the points, shape [N].

    Returns:
      The mean over all clusters, and what random rotations of each come to.
    """
    turns = stats.ortho_group(latents.shape[1], seed=0).rvs(_TURNS)
    found, turned, total = 0.0, 0.0, 0.0
    for label in np.unique(labels):
        members = latents[labels == label]
        if len(members) < 2:
            continue
        variances, axes = np.linalg.eigh(np.cov(members.T, ddof=0))
        weights = len(members) * np.maximum(variances, 0.0)
        found += weights @ (axes**2).max(axis=0)
        turned += np.mean([weights @ ((q @ axes) ** 2).max(axis=0) for q in turns])
        total += weights.sum()
    return float(found / total), float(turned / total)


def row(workdir: pathlib.Path) -> tuple[str, list[float]]:
    """The method of a finished run, and its numbers."""
    model = dgg_jax.load(workdir / "model")
    with np.load(workdir / "predictions.npz") as arrays:
        found, turned = alignment(arrays["embedding"], arrays["labels"])
    name = type(model).__name__
    return name, [largest_share(model.variances_), found, turned]


def main(arguments: list[str]) -> None:
    """Reads the runs and prints the table."""
    if not arguments or arguments[0].startswith("-"):
        sys.exit(__doc__)
    rows = defaultdict(list)
    for workdir in map(pathlib.Path, arguments):
        name, numbers = row(workdir)
        rows[name].append(numbers)
    header = (
        "method",
        "runs",
        "two largest variances",
        "alignment",
        "turned at random",
    )
    lines = []
    for name, numbers in rows.items():
        columns = [cells.spread(column, 3) for column in zip(*numbers, strict=True)]
        lines.append([name, str(len(numbers)), *columns])
    print(cells.markdown(header, lines))


if __name__ == "__main__":
    main(sys.argv[1:])
