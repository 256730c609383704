"""The accuracy of methods by epoch, beside those that have no epochs."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.isotonic import isotonic_regression

from dgg_jax.plots.palette import INK, RULE, cluster_color
from dgg_jax.plots.panels import (
    TEXT_SIZE,
    axis_labels,
    panel_grid,
    round_ticks,
    text_width,
)

_HEIGHT = 3.0
_DASHES = (0, (4, 3))
_NONE: Mapping[str, float] = MappingProxyType({})


class _End(NamedTuple):
    """Where a line ends at the right."""

    name: str
    color: str
    height: float
    style: str | tuple = "-"


def accuracy_by_epoch(
    curves: Mapping[str, np.ndarray],
    levels: Mapping[str, float],
    quoted: Mapping[str, float] = _NONE,
) -> Figure:
    """Draws accuracies over epochs: a mean of runs, and the band from least to most.

    Figure 2 of VaDE and figure 4 of GMVAE. Lines are named at their right ends, or in a
    legend where the names would not stand beside their lines.

    Args:
      curves: by name the accuracy after each epoch, shape [E], or of R runs [R, E];
        NaN where there is none.
      levels: by name the accuracy of what has no epochs.
      quoted: by name what a paper reports, dashed; in the colour of the curve or level
        of the same name.

    Returns:
      The figure.

    Raises:
      ValueError: if there is nothing to draw, or a curve is of another shape.
    """
    if not (curves or levels or quoted):
        raise ValueError("curves, levels and quoted are empty; hand in at least one.")
    runs = {name: _runs(name, curve) for name, curve in curves.items()}
    names = [*curves, *levels, *quoted]
    colors = {name: cluster_color(i) for i, name in enumerate(dict.fromkeys(names))}
    labels = [*curves, *levels, *(f"{name}, quoted" for name in quoted)]
    longest = max(text_width(label, TEXT_SIZE) for label in labels)
    figure, (axes,) = panel_grid(1, 1, 3.9 + longest, _HEIGHT)
    ends, handles = [], []
    for name, values in runs.items():
        known = np.ma.masked_invalid(values)
        epochs = np.arange(1, values.shape[1] + 1)
        mean = known.mean(axis=0).filled(np.nan)
        handles += axes.plot(epochs, mean, color=colors[name], lw=1.5, zorder=3)
        if len(values) > 1:
            band = known.min(axis=0).filled(np.nan), known.max(axis=0).filled(np.nan)
            axes.fill_between(epochs, *band, color=colors[name], alpha=0.2, lw=0)
        last = mean[np.isfinite(mean)]
        ends.append(_End(name, colors[name], last[-1] if len(last) else np.nan))
    for name, level in levels.items():
        handles.append(axes.axhline(level, color=colors[name], lw=1.0))
        ends.append(_End(name, colors[name], level))
    for name, level in quoted.items():
        handles.append(axes.axhline(level, color=colors[name], lw=1.0, ls=_DASHES))
        ends.append(_End(f"{name}, quoted", colors[name], level, _DASHES))
    longest_run = max((values.shape[1] for values in runs.values()), default=1)
    axes.set_xlim(0, max(longest_run, 2))
    drawn = np.concatenate(
        [*map(np.ravel, runs.values()), [end.height for end in ends]]
    )
    drawn = drawn[np.isfinite(drawn)]
    margin = 0.05 * max(float(np.ptp(drawn)), 0.02) if drawn.size else 0.0
    low, high = (drawn.min(), drawn.max()) if drawn.size else (0.0, 1.0)
    axes.set_ylim(max(low - margin, -0.01), min(high + margin, 1.01))
    round_ticks(axes.xaxis, 6, integer=True)
    round_ticks(axes.yaxis, 5)
    axes.grid(axis="y", color=RULE, lw=0.4)
    axes.set_axisbelow(True)
    axis_labels(axes, "epoch", "accuracy")
    if not _named_at_the_right(axes, ends):
        figure.set_size_inches(4.6, _HEIGHT + 0.18 * np.ceil(len(ends) / 3))
        figure.legend(
            handles,
            [end.name for end in ends],
            loc="outside lower center",
            ncols=3,
            fontsize=TEXT_SIZE,
            frameon=False,
            labelcolor=INK,
            handlelength=1.6,
            columnspacing=1.2,
        )
    return figure


def _runs(name: str, curve: np.ndarray) -> np.ndarray:
    values = np.asarray(curve, dtype=float)
    if values.ndim not in (1, 2) or not values.size:
        raise ValueError(
            f"curves[{name!r}] must have shape [E] or [R, E] and not be empty, got "
            f"{values.shape}."
        )
    return np.atleast_2d(values)


def _named_at_the_right(axes: Axes, ends: list[_End]) -> bool:
    """Writes the names beside the ends; none if one would stand far from its own."""
    ends = sorted(ends, key=lambda end: end.height)
    low, high = axes.get_ylim()
    points = 72 * (_HEIGHT - 0.6)  # of the panel, without what is below it
    heights = points * (np.array([end.height for end in ends]) - low) / (high - low)
    if not np.isfinite(heights).all():
        return False
    # The least moves that leave a line's height between any two.
    apart = 1.25 * TEXT_SIZE * np.arange(len(ends))
    moved = isotonic_regression(heights - apart) + apart
    if np.abs(moved - heights).max() > TEXT_SIZE:
        return False
    for end, move in zip(ends, moved - heights, strict=True):
        axes.annotate(
            end.name,
            (1.0, end.height),
            xycoords=("axes fraction", "data"),
            xytext=(16, move),
            textcoords="offset points",
            va="center",
            fontsize=TEXT_SIZE,
            color=INK,
            # From the end to the name, as pale colours are not for letters.
            arrowprops={
                "arrowstyle": "-",
                "color": end.color,
                "lw": 1.2,
                "ls": end.style,
                "relpos": (0.0, 0.5),
                "shrinkA": 2.0,
                "shrinkB": 0.0,
            },
            annotation_clip=False,
            parse_math=False,
        )
    return True
