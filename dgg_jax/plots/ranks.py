"""Which methods differ by their ranks over many data sets."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import studentized_range

from dgg_jax.plots.palette import ALARM, INK, MUTED
from dgg_jax.plots.panels import (
    SMALL_SIZE,
    TEXT_SIZE,
    panel_grid,
    text_width,
)

_ROW = 0.2  # inches


def nemenyi_quantile(num_methods: int, alpha: float = 0.05) -> float:
    """Returns q of the Nemenyi test, as table 5 of Demsar (2006) has it.

    The quantile of the studentized range of k values with infinite degrees of freedom,
    divided by the root of 2.

    Args:
      num_methods: k, at least 2.
      alpha: level of significance.

    Example:
      >>> from dgg_jax.plots.ranks import nemenyi_quantile
      >>> round(nemenyi_quantile(5), 3)
      2.728
    """
    quantile = studentized_range.ppf(1 - alpha, num_methods, np.inf)
    return float(quantile / math.sqrt(2))


def critical_difference(num_sets: int, num_methods: int, alpha: float = 0.05) -> float:
    r"""Returns by how much two mean ranks have to differ to be told apart.

    .. math:: q_\alpha \sqrt{\frac{k (k + 1)}{6 N}}

    of Demsar (2006), section 3.2.2.

    Args:
      num_sets: N.
      num_methods: k, at least 2.
      alpha: level of significance of the Nemenyi test.
    """
    variance = num_methods * (num_methods + 1) / (6 * num_sets)
    return nemenyi_quantile(num_methods, alpha) * math.sqrt(variance)


def groups_alike(mean_ranks: np.ndarray, difference: float) -> list[tuple[int, int]]:
    """Returns the longest groups whose mean ranks differ by less than ``difference``.

    Args:
      mean_ranks: ascending, shape [M].
      difference: the critical one.

    Returns:
      The first and the last of each group of at least two.
    """
    found: list[tuple[int, int]] = []
    for first, rank in enumerate(mean_ranks):
        last = int(np.flatnonzero(mean_ranks - rank < difference)[-1])
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def rank_diagram(
    ranks: np.ndarray, names: Sequence[str], alpha: float = 0.05
) -> Figure:
    """Draws mean ranks on an axis, and bars that join what cannot be told apart.

    The diagram of critical differences of Demsar (2006), figure 1: a bar joins methods
    whose mean ranks differ by less than the critical difference of the Nemenyi test,
    which is drawn above the axis.

    Args:
      ranks: of each method on each data set, 1 is the best, shape [S, M].
      names: of the methods, M of them.
      alpha: level of significance.

    Returns:
      The figure.

    Raises:
      ValueError: if the shapes do not fit, there are fewer than two methods, a rank is
        outside of [1, M], or alpha outside of (0, 1).
    """
    ranks = np.asarray(ranks, dtype=float)
    if ranks.ndim != 2 or not len(ranks) or ranks.shape[1] != len(names):
        raise ValueError(
            f"ranks must have shape [S, M] with a column for each of {len(names)} "
            f"names, got {ranks.shape}."
        )
    num_sets, num_methods = ranks.shape
    if num_methods < 2:
        raise ValueError(f"ranks must be of two methods or more, got {num_methods}.")
    if not ((ranks >= 1) & (ranks <= num_methods)).all():
        raise ValueError(
            f"ranks must lie in [1, {num_methods}], got {ranks.min()} to "
            f"{ranks.max()}; leave out sets that a method has not taken."
        )
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie in (0, 1), got {alpha}.")
    order = np.argsort(ranks.mean(axis=0), kind="stable")
    means = ranks.mean(axis=0)[order]
    texts = [f"{names[m]}  {mean:.2f}" for m, mean in zip(order, means, strict=True)]
    difference = critical_difference(num_sets, num_methods, alpha)
    alike = groups_alike(means, difference)

    half = math.ceil(num_methods / 2)
    below = 0.9 + 0.45 * len(alike)
    rows = below + half
    # In ranks along, in rows down; margins of as many inches as the names are long.
    left, right = (
        max(text_width(text, TEXT_SIZE) for text in side) + 0.2
        for side in (texts[:half], texts[half:])
    )
    inner = 3.0
    end = max(num_methods, 1 + difference)
    inch = (end - 1) / inner
    size = inner + left + right + 0.2, _ROW * (rows + 2.6) + 0.1
    figure, (axes,) = panel_grid(1, 1, *size)
    axes.set_axis_off()
    axes.set_xlim(1 - left * inch, end + right * inch)
    axes.set_ylim(rows - 0.4, -2.8)

    line = {"color": INK, "clip_on": False, "solid_capstyle": "butt"}
    text = {"va": "center", "parse_math": False}
    axes.plot([1, num_methods], [0, 0], lw=0.9, **line)
    for rank in range(1, num_methods + 1):
        axes.plot([rank, rank], [-0.25, 0], lw=0.9, **line)
        style = {"fontsize": SMALL_SIZE, "color": MUTED, "ha": "center", **text}
        axes.text(rank, -0.7, str(rank), **style)
    ends = [1, 1 + difference]
    axes.plot(ends, [-1.7, -1.7], **{**line, "color": ALARM, "lw": 1.2})
    for place in ends:
        axes.plot([place] * 2, [-1.9, -1.5], **{**line, "color": ALARM, "lw": 1.2})
    note = f"critical difference {difference:.2f} ({num_sets} sets, alpha {alpha:g})"
    axes.text(1, -2.4, note, fontsize=SMALL_SIZE, color=ALARM, ha="left", **text)
    for position, (mean, label) in enumerate(zip(means, texts, strict=True)):
        is_left = position < half
        row = below + (position if is_left else num_methods - 1 - position)
        edge = 1 - 0.08 * inch if is_left else end + 0.08 * inch
        axes.plot([mean, mean, edge], [0, row, row], lw=0.7, **line)
        place = edge + (-0.06 if is_left else 0.06) * inch
        style = {"fontsize": TEXT_SIZE, "color": INK, **text}
        axes.text(place, row, label, ha="right" if is_left else "left", **style)
    for row, (first, last) in enumerate(alike):
        reach = [means[first] - 0.03 * inch, means[last] + 0.03 * inch]
        axes.plot(reach, [0.45 + 0.45 * row] * 2, lw=2.6, zorder=3, **line)
    return figure
