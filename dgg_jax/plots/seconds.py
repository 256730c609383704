"""What accuracy costs: methods by their seconds and their accuracy."""

import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from dgg_jax.plots.palette import INK, MUTED, PAPER, RULE, cluster_color
from dgg_jax.plots.panels import (
    TEXT_SIZE,
    axis_labels,
    panel_grid,
    round_ticks,
    text_width,
    title,
)

_SIZE = 4.8, 3.3  # inches
# Points from a marker across and up, the nearest first: where nothing nearer is free.
_AROUND = sorted(
    itertools.product(np.arange(3.0, 60.0, 6.0), np.arange(8.0, 60.0, 6.0)),
    key=lambda spot: np.hypot(*spot),
)
_NEAR = 9.0  # points from a marker, within which a name is read as its own
_PANEL = 72 * np.array([_SIZE[0] - 0.7, _SIZE[1] - 0.8])  # points, about


def accuracy_by_seconds(
    names: Sequence[str],
    seconds: Sequence[np.ndarray],
    accuracy: Sequence[np.ndarray],
) -> Figure:
    """Draws each method at the means of its runs, and the front of the best trades.

    Thin bars are standard deviations. Methods on the step line have no other that is
    both faster and more accurate.

    Args:
      names: of the methods.
      seconds: of the runs of each method, positive.
      accuracy: of the same runs, in [0, 1].

    Returns:
      The figure.

    Raises:
      ValueError: if the three are not of one length, a method has no run or not as many
        seconds as accuracies, or seconds are not positive.
    """
    seconds = [np.asarray(values, dtype=float) for values in seconds]
    accuracy = [np.asarray(values, dtype=float) for values in accuracy]
    counts = [values.shape for values in seconds]
    if not (
        len(names) == len(seconds) > 0
        and counts == [values.shape for values in accuracy]
        and all(len(shape) == 1 and shape[0] for shape in counts)
    ):
        raise ValueError(
            "names, seconds and accuracy must have one entry a method, and each method "
            f"a run or more; got {len(names)} names, seconds of shapes {counts} and "
            f"accuracies of {[values.shape for values in accuracy]}."
        )
    if not all((values > 0).all() for values in seconds):
        raise ValueError("seconds must be positive, as their axis is logarithmic.")
    x, y = (np.array([v.mean() for v in values]) for values in (seconds, accuracy))
    x_error, y_error = (
        np.array([v.std(ddof=1) if len(v) > 1 else 0.0 for v in values])
        for values in (seconds, accuracy)
    )
    figure, (axes,) = panel_grid(1, 1, *_SIZE)
    axes.set_xscale("log")
    # On a logarithmic axis a bar must end above 0.
    lower, upper = np.minimum(x_error, 0.9 * x), x_error
    for index in range(len(names)):
        axes.errorbar(
            x[index],
            y[index],
            xerr=[[lower[index]], [upper[index]]],
            yerr=y_error[index],
            fmt="o",
            ms=5.5,
            mew=0.6,
            mec=PAPER,
            color=cluster_color(index),
            elinewidth=0.8,
            zorder=3,
        )
    front = pareto_front(x, y)
    style = {"color": MUTED, "lw": 0.8, "drawstyle": "steps-post", "zorder": 1}
    axes.plot(x[front], y[front], **style)
    left, right = np.log10([(x - lower).min(), (x + upper).max()])
    margin = max(0.08 * (right - left), 0.15)
    axes.set_xlim(*10.0 ** np.array([left - margin, right + margin]))
    low, high = (y - y_error).min(), (y + y_error).max()
    margin = 0.08 * max(high - low, 0.05)
    axes.set_ylim(low - margin, high + margin)
    # Within two decades powers of ten alone would be too few.
    multiples = (1.0,) if right - left > 1.5 else (1.0, 2.0, 5.0)
    axes.xaxis.set_major_locator(LogLocator(subs=multiples))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="minor", color=RULE, length=1.5)
    round_ticks(axes.yaxis, 6)
    axes.grid(color=RULE, lw=0.4)
    axes.set_axisbelow(True)
    axis_labels(axes, "seconds", "accuracy")
    title(axes, "Accuracy by seconds", "line: none is faster and better")

    def place(values, heights):
        """Points of the panel, from its lower left corner."""
        spots = np.column_stack([np.log10(values), heights])
        (left, right), limits = np.log10(axes.get_xlim()), axes.get_ylim()
        start, stop = np.array([left, limits[0]]), np.array([right, limits[1]])
        return _PANEL * (spots - start) / (stop - start)

    across = np.hstack([place(x - lower, y), place(x + upper, y)])
    up = np.hstack([place(x, y - y_error), place(x, y + y_error)])
    corners = place(np.repeat(x[front], 2)[1:], np.repeat(y[front], 2)[:-1])
    lines = np.concatenate([across, up, np.hstack([corners[:-1], corners[1:]])])
    crosses = np.minimum(across, up)[:, :2], np.maximum(across, up)[:, 2:]
    offsets = label_offsets(names, place(x, y), np.hstack(crosses), lines)
    for index, (name, offset) in enumerate(zip(names, offsets, strict=True)):
        leader = {"arrowstyle": "-", "lw": 0.6, "color": cluster_color(index)}
        leader |= {"shrinkA": 0.0, "shrinkB": 2.0}
        axes.annotate(
            name,
            (x[index], y[index]),
            xytext=offset,
            textcoords="offset points",
            ha="left",
            va="center",
            fontsize=TEXT_SIZE,
            color=INK,
            annotation_clip=False,
            parse_math=False,
            arrowprops=leader if _is_far(name, offset) else None,
        )
    return figure


def _is_far(name: str, offset: tuple[float, float]) -> bool:
    """Whether a name that starts there needs a line to its marker."""
    (x, y), width = offset, 72 * text_width(name, TEXT_SIZE)
    apart = max(x, -x - width, 0.0), max(abs(y) - 0.6 * TEXT_SIZE, 0.0)
    return float(np.hypot(*apart)) > _NEAR


def pareto_front(seconds: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Returns who is more accurate than all that are faster, the fastest first.

    Args:
      seconds: shape [M].
      accuracy: shape [M].
    """
    order = np.lexsort((-accuracy, seconds))
    best = np.maximum.accumulate(accuracy[order])
    return order[accuracy[order] > np.append(-np.inf, best[:-1])]


def label_offsets(
    names: Sequence[str], centers: np.ndarray, crosses: np.ndarray, lines: np.ndarray
) -> list[tuple[float, float]]:
    """Returns where each name starts, from its marker: the first place that is free.

    Beside the marker or its error bars, or around it, nearer places first; where none
    is free, the one that hides least. All is in points; boxes and lines are (x0, y0,
    x1, y1).

    Args:
      names: in TEXT_SIZE.
      centers: of the markers, shape [M, 2].
      crosses: what a marker's error bars reach, shape [M, 4].
      lines: horizontal and vertical ones that names should not hide, shape [B, 4].
    """
    markers = np.hstack([centers - 4, centers + 4])
    low = np.minimum(markers, crosses)[:, :2] - centers
    high = np.maximum(markers, crosses)[:, 2:] - centers
    height = 1.2 * TEXT_SIZE
    taken: list[np.ndarray] = []
    offsets: list[tuple[float, float]] = []
    for index, name in enumerate(names):
        width = 72 * text_width(name, TEXT_SIZE) + 2
        (left, _), (right, _) = low[index] - 2, high[index] + 2
        sides = [(right, 0.0), (left - width, 0.0)]
        for across, up in _AROUND:
            sides += [(x, y) for x in (across, -width - across) for y in (up, -up)]
        boxes = [
            np.array([x, y - height / 2, x + width, y + height / 2])
            + np.tile(centers[index], 2)
            for x, y in sides
        ]
        filled = np.concatenate([*(box[None] for box in taken), markers])
        costs = [
            20 * ((box[:2] < 0).any() or (box[2:] > _PANEL).any())
            + 10 * _overlaps(box, filled)
            + _overlaps(box, lines)
            for box in boxes
        ]
        best = int(np.argmin(costs))
        taken.append(boxes[best])
        offsets.append(sides[best])
    return offsets


def _overlaps(box: np.ndarray, others: np.ndarray) -> int:
    """How many of the boxes (x0, y0, x1, y1) meet the first."""
    apart = (others[:, :2] > box[2:]) | (others[:, 2:] < box[:2])
    return int((~apart.any(axis=1)).sum())
