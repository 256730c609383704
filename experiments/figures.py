"""Draws figures 2 and 3 of GMVAE from finished runs on data in the plane.

  python -m experiments.main --method=gmvae --dataset=pinwheel
  python -m experiments.figures runs/pinwheel-gmvae-0 arcs.png

Takes any number of runs, such as one with --information_constraint=0 beside it.
"""

import json
import pathlib
import sys

import numpy as np

from dgg_jax import data, plots


def arc_run(workdir: pathlib.Path) -> tuple[str, plots.ArcRun]:
    """The data set of a finished run of GMVAE, and what the figure shows of it."""
    config = json.loads((workdir / "config.json").read_text())
    result = json.loads((workdir / "result.json").read_text())
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    with np.load(workdir / "predictions.npz") as arrays:
        labels, latents = arrays["labels"], arrays["embedding"]
    constraint = config["preset_values"]["information_constraint"]
    name = f"lambda = {constraint:g}, ACC {result['final']['accuracy']:.3f}"
    prior = [line["cluster_prior"] for line in lines if line["loop"] == "train"]
    return config["dataset"], plots.ArcRun(name, labels, latents, prior, constraint)


def main(arguments: list[str]) -> None:
    """Reads the runs and writes the figure."""
    if len(arguments) < 2:
        sys.exit(__doc__)
    *workdirs, output = map(pathlib.Path, arguments)
    datasets, runs = zip(*map(arc_run, workdirs), strict=True)
    figure = plots.degeneracy(data.load(datasets[0]).x, runs)
    figure.savefig(output, dpi=150)


if __name__ == "__main__":
    main(sys.argv[1:])
