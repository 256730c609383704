"""Draws figures 2 and 3 of GMVAE from finished runs on data in the plane.

  python -m experiments.main --method=gmvae --dataset=pinwheel
  python -m experiments.figures runs/pinwheel-gmvae-0 arcs.png

Takes any number of runs, such as one with --information_constraint=0 beside it.
"""

import json
import pathlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from dgg_jax import data
from dgg_jax.plots.palette import INK, cluster_colors
from dgg_jax.plots.panels import axis_labels, dashed, panel_grid, title
from dgg_jax.plots.scatter import scatter_groups


class ArcRun(NamedTuple):
    """What the figure shows of one run.

    Attributes:
      name: what sets it apart.
      labels: cluster of each point, shape [N].
      latents: posterior means, shape [N, 2].
      cluster_prior: the plain term of eq. (6) after each epoch, in nats.
      constraint: lambda of eq. (7); 0 is none.
    """

    name: str
    labels: np.ndarray
    latents: np.ndarray
    cluster_prior: Sequence[float]
    constraint: float


def degeneracy(x: np.ndarray, runs: Sequence[ArcRun]) -> Figure:
    """Draws a row for each run: data and latents by cluster, the cluster prior.

    Args:
      x: data in the plane, shape [N, 2].
      runs: of GMVAE with a latent space of two dimensions.

    Returns:
      The figure.
    """
    figure, panels = panel_grid(3 * len(runs), 3, 2.9, 2.7)
    for row, run in enumerate(runs):
        data, latents, curve = panels[3 * row : 3 * row + 3]
        names = {k: str(k) for k in np.unique(run.labels)}
        colors = cluster_colors(run.labels)
        for axes, positions in ((data, x), (latents, run.latents)):
            scatter_groups(axes, positions, run.labels, colors, names)
        data.set_aspect("equal", adjustable="datalim")
        title(data, run.name)
        axis_labels(data, "feature 0", "feature 1")
        title(latents, "Latent space")
        axis_labels(latents, "z 0", "z 1")
        epochs = np.arange(1, len(run.cluster_prior) + 1)
        curve.plot(epochs, run.cluster_prior, color=INK, lw=1.2)
        if run.constraint:
            dashed(curve, -run.constraint)
        title(curve, "Cluster prior", "dashed: -lambda" if run.constraint else "")
        axis_labels(curve, "epoch", "nats")
    low = min(min(run.cluster_prior) for run in runs)
    for curve in panels[2::3]:
        curve.set_ylim(1.08 * min(low, -0.1), 0.05 * abs(low) + 0.02)
    return figure


def arc_run(workdir: pathlib.Path) -> tuple[str, ArcRun]:
    """The data set of a finished run of GMVAE, and what the figure shows of it."""
    config = json.loads((workdir / "config.json").read_text())
    result = json.loads((workdir / "result.json").read_text())
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    with np.load(workdir / "predictions.npz") as arrays:
        labels, latents = arrays["labels"], arrays["embedding"]
    constraint = config["preset_values"]["information_constraint"]
    name = f"lambda = {constraint:g}, ACC {result['final']['accuracy']:.3f}"
    prior = [line["cluster_prior"] for line in lines if line["loop"] == "train"]
    return config["dataset"], ArcRun(name, labels, latents, prior, constraint)


def main(arguments: list[str]) -> None:
    """Reads the runs and writes the figure."""
    if len(arguments) < 2:
        sys.exit(__doc__)
    *workdirs, output = map(pathlib.Path, arguments)
    datasets, runs = zip(*map(arc_run, workdirs), strict=True)
    figure = degeneracy(data.load(datasets[0]).x, runs)
    figure.savefig(output, dpi=150)


if __name__ == "__main__":
    main(sys.argv[1:])
