"""Points in the plane, coloured by cluster and by class."""

from collections.abc import Sequence

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dgg_jax.plots.confusion import class_name, matched_counts
from dgg_jax.plots.palette import INK, PAPER, cluster_colors
from dgg_jax.plots.panels import (
    TITLE_SIZE,
    axis_labels,
    bare,
    centered,
    panel_grid,
    round_ticks,
    shortened,
    title,
)


def points(
    x: np.ndarray,
    labels: np.ndarray,
    y: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
) -> Figure:
    """Draws two-dimensional data, coloured by cluster and, beside it, by class.

    Args:
      x: data, shape [N, 2].
      labels: cluster of each point, shape [N].
      y: true class of each point, shape [N], or None: one panel only.
      class_names: names of the classes 0, 1, ...

    Returns:
      The figure.

    Raises:
      ValueError: if x is not of shape [N, 2] or labels do not fit it.
    """
    return cluster_and_class_panels(x, labels, y, class_names, unit="feature")


def cluster_and_class_panels(
    positions: np.ndarray,
    labels: np.ndarray,
    y: np.ndarray | None,
    class_names: Sequence[str] | None,
    *,
    unit: str = "",
    detail: str = "",
) -> Figure:
    """Draws positions once by cluster and, when y exists, once by class.

    A class takes the colour of the cluster matched to it, so that where both panels
    agree they have the same colours.

    Args:
      positions: shape [N, 2]; rows that are not finite are left out.
      labels: cluster of each point, shape [N].
      y: true class of each point, shape [N], or None.
      class_names: names of the classes 0, 1, ...
      unit: what both coordinates are, numbered from 0; nothing if they mean nothing.
      detail: a note on the points that are drawn; their number without it.

    Returns:
      The figure with one or two axes.

    Raises:
      ValueError: if positions are not of shape [N, 2] or the lengths differ.
    """
    labels = np.asarray(labels)
    positions = plane("points", positions, "; other data have latent_picture")
    check_lengths(len(positions), labels=labels, y=y)
    figure, panels = panel_grid(1 if y is None else 2, 2, 3.7, 3.6)
    names = {k: str(k) for k in np.unique(labels)}
    scatter_groups(panels[0], positions, labels, cluster_colors(labels), names)
    title(panels[0], "By cluster", detail or f"{len(positions):,} points")
    if y is not None:
        y = np.asarray(y)
        classes, color = class_clusters(y, labels)
        drawn = color[np.searchsorted(classes, y)]
        names = {v: shortened(class_name(v, class_names), 14) for v in classes}
        scatter_groups(panels[1], positions, y, cluster_colors(drawn), names)
        title(panels[1], "By true class")
    for axes in panels:
        if unit:
            axes.set_aspect("equal", adjustable="datalim")
            axis_labels(axes, f"{unit} 0", f"{unit} 1" if axes is panels[0] else "")
        else:
            bare(axes)
    return figure


def class_clusters(y: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cluster whose colour each class takes: that which is matched to it.

    Classes without a cluster of their own take colours that no cluster has.

    Args:
      y: true class of each point, shape [N].
      labels: cluster of each point, shape [N].

    Returns:
      The classes, ascending, and the number of a colour for each.
    """
    matched = matched_counts(y, labels)
    own = dict(zip(matched.rows, matched.clusters, strict=False))
    spare = iter(range(int(np.max(labels)) + 1, 10**6))
    colors = [
        own[row] if row in own else next(spare) for row in range(len(matched.classes))
    ]
    return matched.classes, np.asarray(colors)


def plane(name: str, positions: np.ndarray, remedy: str = "") -> np.ndarray:
    """Returns positions as an array of floats of shape [N, 2].

    Raises:
      ValueError: if they are of another shape.
    """
    positions = np.asarray(positions, dtype=float)
    if positions.ndim != 2 or positions.shape[1] != 2:
        raise ValueError(
            f"{name} must have shape [N, 2], got {positions.shape}{remedy}."
        )
    return positions


def plane_grid(count: int, columns: int) -> tuple[Figure, list[Axes], float]:
    """Lays out panels of positions: the more beside each other, the smaller.

    Args:
      count: number of panels, at least 1.
      columns: at most so many beside each other.

    Returns:
      The figure, its axes in reading order, and the width of one in inches.

    Raises:
      ValueError: if there is no panel, or no column.
    """
    width = {1: 3.6, 2: 2.7, 3: 2.2}.get(min(count, columns), 1.8)
    figure, panels = panel_grid(count, columns, width, width + 0.15)
    return figure, panels, width - 0.45  # what ticks leave


def plane_axes(axes: Axes, is_map: bool) -> None:
    """Equal units and a few ticks; on a map, whose coordinates mean nothing, none."""
    if is_map:
        bare(axes)
        return
    axes.set_aspect("equal", adjustable="datalim")
    round_ticks(axes.xaxis, 4)
    round_ticks(axes.yaxis, 4)


def marker_area(count: int) -> float:
    """Returns the area of a marker in square points, less where there are many."""
    return float(np.clip(9000.0 / max(count, 1), 1.5, 14.0))


def check_lengths(num_points: int, **arrays: np.ndarray | None) -> None:
    """Checks that each array that is there has one entry for each point.

    Raises:
      ValueError: otherwise.
    """
    for name, values in arrays.items():
        if values is not None and len(values) != num_points:
            raise ValueError(
                f"{name} must have one entry for each of the {num_points} points, got "
                f"{len(values)}."
            )


def scatter_groups(
    axes: Axes,
    positions: np.ndarray,
    groups: np.ndarray,
    colors: np.ndarray,
    names: dict,
) -> None:
    """Draws the points, and each group's name at the member nearest its median.

    The median itself may lie outside a bent group.
    """
    shown = np.isfinite(positions).all(axis=1)
    # A fixed shuffle, so that no group hides the others by being drawn last.
    order = np.random.default_rng(0).permutation(np.flatnonzero(shown))
    size = marker_area(len(order))
    axes.scatter(*positions[order].T, s=size, c=colors[order], alpha=0.75, lw=0)
    for value, name in names.items():
        group = positions[shown & (groups == value)]
        if len(group):
            offsets = np.square(group - np.median(group, axis=0)).sum(axis=1)
            style = {"fontsize": TITLE_SIZE, "fontweight": "bold", "color": INK}
            stroke = patheffects.withStroke(linewidth=2.5, foreground=PAPER)
            nearest = group[offsets.argmin()]
            centered(axes, nearest, name, path_effects=[stroke], **style)
