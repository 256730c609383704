"""True classes against clusters, with the clusters matched to the classes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy.optimize import linear_sum_assignment

from dgg_jax.plots.palette import INK, MUTED, PAPER, SHADES
from dgg_jax.plots.panels import (
    TEXT_SIZE,
    axis_labels,
    centered,
    panel_grid,
    shortened,
    title,
)

_MOST_ANNOTATED = 24


class MatchedCounts(NamedTuple):
    """How many points of each class fell into each cluster, clusters in matched order.

    Attributes:
      counts: points of each class in each cluster, shape [C, K].
      classes: the values of y that occur, ascending, shape [C].
      clusters: the clusters that occur; those matched to a class first, in the order
        of their classes, then the others in ascending order, shape [K].
      rows: the row to which column j is matched, ascending, shape [min(C, K)].
    """

    counts: np.ndarray
    classes: np.ndarray
    clusters: np.ndarray
    rows: np.ndarray


def matched_counts(y: np.ndarray, labels: np.ndarray) -> MatchedCounts:
    """Counts classes against clusters and matches them one to one.

    The Hungarian method maximises the number of matched points, as in eq. (33) of DGG.

    Args:
      y: true classes, shape [N].
      labels: clusters, shape [N]; they may be more or fewer than the classes.

    Returns:
      The counts with the clusters in matched order.

    Raises:
      ValueError: if y and labels differ in length or are empty.
    """
    y, labels = np.asarray(y), np.asarray(labels)
    if y.shape != labels.shape or y.ndim != 1 or not y.size:
        raise ValueError(
            f"y and labels must be vectors of one length of at least 1, got shapes "
            f"{y.shape} and {labels.shape}; hand in one class and one cluster a point."
        )
    classes, row = np.unique(y, return_inverse=True)
    clusters, column = np.unique(labels, return_inverse=True)
    counts = np.zeros((len(classes), len(clusters)), dtype=int)
    np.add.at(counts, (row, column), 1)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    order = np.append(columns, np.setdiff1d(np.arange(len(clusters)), columns))
    order = order.astype(int)
    return MatchedCounts(counts[:, order], classes, clusters[order], rows)


def class_name(value: object, class_names: Sequence[str] | None) -> str:
    """Returns the name of the class with this value of y, the value itself at need."""
    number = isinstance(value, int | np.integer)
    if class_names is not None and number and 0 <= value < len(class_names):
        return str(class_names[int(value)])
    return str(value)


def confusion_matrix(
    y: np.ndarray, labels: np.ndarray, class_names: Sequence[str] | None = None
) -> Figure:
    """Draws true classes (rows) against clusters (columns).

    The columns are reordered by the Hungarian matching, and matched cells are framed.
    The shade is the share of the class. Up to 12 classes and clusters of fewer than
    10,000 points a cell carry counts; larger ones percentages of the class.

    Args:
      y: true classes, shape [N].
      labels: clusters, shape [N].
      class_names: names of the classes 0, 1, ...; the values of y without them.

    Returns:
      The figure.

    Raises:
      ValueError: if y and labels differ in length or are empty.
    """
    matched = matched_counts(y, labels)
    counts = matched.counts
    shares = counts / counts.sum(axis=1, keepdims=True)
    height, width = counts.shape
    largest = max(height, width)
    show_counts = largest <= 12 and counts.max() < 10_000
    cell = 0.40 if largest <= 12 else 0.33 if largest <= _MOST_ANNOTATED else 0.24

    names = [shortened(class_name(v, class_names), 18) for v in matched.classes]
    margin = 0.6 + 0.065 * max(map(len, names))
    size = max(cell * width + margin, 2.8), max(cell * height, 0.8) + 0.85
    figure, (axes,) = panel_grid(1, 1, *size)
    axes.imshow(shares, cmap=SHADES, vmin=0.0, vmax=1.0)
    for column, row in enumerate(matched.rows):
        axes.add_patch(
            Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, ec=INK, lw=0.9)
        )
    if largest <= _MOST_ANNOTATED:
        for (row, column), share in np.ndenumerate(shares):
            if not counts[row, column]:
                continue
            text = f"{counts[row, column]}" if show_counts else f"{100 * share:.0f}"
            style = {
                "fontsize": 7.5 if len(text) < 4 else 6.2,
                "color": PAPER if share > 0.45 else INK if share > 0.02 else MUTED,
            }
            centered(axes, (column, row), "<1" if text == "0" else text, **style)
    axes.set_xticks(range(width), [str(c) for c in matched.clusters])
    axes.set_yticks(range(height), names, parse_math=False)
    axes.tick_params(labelsize=TEXT_SIZE if largest <= 24 else 6.0, length=0)
    axes.tick_params(colors=INK)
    axes.spines[:].set_visible(False)
    axis_labels(axes, "cluster, matched to the classes", "true class")
    on_diagonal = counts[matched.rows, np.arange(len(matched.rows))].sum()
    unit = "counts" if show_counts else "% of the class"
    title(axes, f"{100 * on_diagonal / counts.sum():.1f} % matched ({unit})")
    return figure
