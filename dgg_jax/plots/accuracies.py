"""The accuracies of several methods over their runs."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from dgg_jax.plots.palette import ALARM, INK, PAPER, RULE, cluster_color
from dgg_jax.plots.panels import axis_labels, panel_grid, title


def run_accuracies(
    names: Sequence[str],
    accuracies: Sequence[Sequence[float]],
    references: Sequence[float | None],
) -> Figure:
    """Draws a line for each method: its runs, their mean and the paper's figure.

    Args:
      names: of the methods, from the top.
      accuracies: of the runs of each method, in [0, 1].
      references: what a paper reports of each method, or None.

    Returns:
      The figure.

    Raises:
      ValueError: if the three are not of one length, or a method has no run.
    """
    if not len(names) == len(accuracies) == len(references) or not all(
        len(values) for values in accuracies
    ):
        raise ValueError(
            "names, accuracies and references must have one entry a method, and each "
            f"method a run; got {len(names)}, {len(accuracies)} and {len(references)} "
            f"entries, with {[len(values) for values in accuracies]} runs."
        )
    height = 1.0 + 0.36 * len(names)
    figure, (axes,) = panel_grid(1, 1, 6.4, height)
    rows = zip(accuracies, references, strict=True)
    for row, (values, reference) in enumerate(rows):
        mean = float(np.mean(values))
        axes.plot(
            [mean, mean], [row - 0.34, row + 0.34], color=INK, lw=1.6, clip_on=False
        )
        spread = 0.16 if len(values) > 1 else 0.0
        heights = row + np.linspace(-spread, spread, len(values))
        dots = {"ms": 4.5, "mew": 0.6, "mec": PAPER, "color": cluster_color(0)}
        axes.plot(values, heights, "o", clip_on=False, zorder=3, **dots)
        if reference is not None:
            diamond = {"ms": 5.5, "mfc": "none", "mec": ALARM, "mew": 1.2}
            axes.plot(reference, row, "D", clip_on=False, zorder=4, **diamond)
    known = [reference for reference in references if reference is not None]
    drawn = np.concatenate([*accuracies, known])
    margin = max(0.05, 0.04 * float(np.ptp(drawn)))
    axes.set_xlim(max(drawn.min() - margin, 0.0), min(drawn.max() + margin, 1.0))
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x", color=RULE, lw=0.6)
    axes.set_axisbelow(True)
    axis_labels(axes, "ACC", "")
    title(axes, "Accuracy of every run", "bar: mean" + ", diamond: paper" * bool(known))
    return figure
