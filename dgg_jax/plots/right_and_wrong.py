"""Which points of a map are assigned to the cluster of their class."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from dgg_jax.plots.palette import INK, RIGHT, WRONG
from dgg_jax.plots.panels import SMALL_SIZE, bare, panel_titles
from dgg_jax.plots.scatter import check_lengths, marker_area, plane, plane_grid


class RightPanel(NamedTuple):
    """What one panel shows.

    Attributes:
      title: what sets it apart.
      positions: shape [N, 2]; rows that are not finite are left out.
      right: whether the cluster of each point is that of its class, bool [N].
      detail: a note, such as the accuracy.
    """

    title: str
    positions: np.ndarray
    right: np.ndarray
    detail: str = ""


def right_and_wrong(panels: Sequence[RightPanel], columns: int) -> Figure:
    """Draws the points that are right and, on top, those that are wrong.

    The second row of figure 4 of VaDE. A legend counts the points that are drawn.

    Args:
      panels: in reading order.
      columns: at most so many beside each other.

    Returns:
      The figure.

    Raises:
      ValueError: if there is no panel, the shapes of one do not fit, or right is not
        of bools.
    """
    figure, drawn, width = plane_grid(len(panels), columns)
    for axes, panel in zip(drawn, panels, strict=True):
        positions, right = plane("positions", panel.positions), np.asarray(panel.right)
        check_lengths(len(positions), right=right)
        if right.dtype != bool:
            raise ValueError(
                f"right must be of bools, got {right.dtype}; compare matched clusters "
                "with the classes."
            )
        shown = np.isfinite(positions).all(axis=1)
        area = marker_area(int(shown.sum()))
        kinds = (("right", right, RIGHT, 0.6), ("wrong", ~right, WRONG, 0.9))
        for zorder, (name, chosen, color, alpha) in enumerate(kinds, start=1):
            points = positions[shown & chosen]
            style = {"s": area, "color": color, "alpha": alpha, "lw": 0}
            label = f"{len(points):,} {name}"
            axes.scatter(*points.T, label=label, zorder=zorder, **style)
        bare(axes)
        legend = axes.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, 0.02),
            ncols=2,
            fontsize=SMALL_SIZE,
            frameon=False,
            labelcolor=INK,
            handlelength=0.8,
            handletextpad=0.3,
            columnspacing=0.8,
            borderpad=0.1,
        )
        for handle in legend.legend_handles:
            handle.set(sizes=[14.0], alpha=1.0)
    titles = [panel.title for panel in panels]
    panel_titles(drawn, titles, [panel.detail for panel in panels], width)
    return figure
