"""The graph of neighbours over the points that it joins."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from dgg_jax.plots.palette import ALARM, MUTED, cluster_colors
from dgg_jax.plots.panels import panel_titles
from dgg_jax.plots.scatter import (
    check_lengths,
    plane,
    plane_axes,
    plane_grid,
    scatter_groups,
)


class GraphPanel(NamedTuple):
    """What one panel shows.

    Attributes:
      title: what sets it apart.
      positions: shape [N, 2]; rows that are not finite are left out, with their edges.
      edges: the two points that each edge joins, int [E, 2].
      labels: class or cluster of each point, which chooses its colour, int [N].
      is_map: whether it is a t-SNE map, whose coordinates mean nothing.
    """

    title: str
    positions: np.ndarray
    edges: np.ndarray
    labels: np.ndarray
    is_map: bool = False


def graph_panels(panels: Sequence[GraphPanel], columns: int) -> Figure:
    """Draws points and edges, and in another colour the edges that join two labels.

    Figure 3 of DGG's supplement. The note above a panel counts all edges of its graph.

    Args:
      panels: in reading order.
      columns: at most so many beside each other.

    Returns:
      The figure.

    Raises:
      ValueError: if there is no panel, the shapes of one do not fit, or an edge ends at
        a point that is not there.
    """
    figure, drawn, width = plane_grid(len(panels), columns)
    details = []
    for axes, panel in zip(drawn, panels, strict=True):
        positions, labels = (
            plane("positions", panel.positions),
            np.asarray(panel.labels),
        )
        check_lengths(len(positions), labels=labels)
        edges = _checked(panel.edges, len(positions))
        scatter_groups(axes, positions, labels, cluster_colors(labels), {})
        across = labels[edges[:, 0]] != labels[edges[:, 1]]
        finite = np.isfinite(positions[edges]).all(axis=(1, 2))
        # Many edges would hide the points' colours.
        alpha = float(np.clip(2000 / max(len(edges), 1), 0.15, 0.6))
        within = {"colors": MUTED, "linewidths": 0.3, "alpha": alpha, "zorder": 2}
        joining = {"colors": ALARM, "linewidths": 0.8, "zorder": 3}
        for chosen, style in ((~across, within), (across, joining)):
            segments = positions[edges[chosen & finite]]
            axes.add_collection(LineCollection(segments, **style), autolim=False)
        plane_axes(axes, panel.is_map)
        details.append(f"{len(edges):,} edges, {_share(across)} across")
    panel_titles(drawn, [panel.title for panel in panels], details, width)
    return figure


def _share(across: np.ndarray) -> str:
    if not across.any():
        return "none"
    percent = 100 * across.mean()
    return f"{percent:.1f} %" if percent >= 0.05 else "<0.1 %"


def _checked(edges: np.ndarray, num_points: int) -> np.ndarray:
    edges = np.asarray(edges)
    if edges.ndim != 2 or edges.shape[1] != 2 or edges.dtype.kind not in "iu":
        raise ValueError(
            f"edges must be integers of shape [E, 2], got {edges.dtype} of shape "
            f"{edges.shape}."
        )
    if edges.size and not 0 <= edges.min() <= edges.max() < num_points:
        raise ValueError(
            f"edges must join points in [0, {num_points}), got {edges.min()} to "
            f"{edges.max()}."
        )
    return edges
