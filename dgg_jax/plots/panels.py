"""Grids of panels with the typography that all figures share."""

import io
import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator

from dgg_jax.plots.palette import INK, MUTED, PAPER, RULE

TEXT_SIZE = 8.0
TITLE_SIZE = 9.0
SMALL_SIZE = 7.0
_NOTEBOOK_DPI = 110


class _Figure(Figure):
    """A figure that a notebook shows where it is the last value of a cell."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=_NOTEBOOK_DPI)
        return buffer.getvalue()


def blank_figure(width: float, height: float) -> Figure:
    """Returns an empty figure of ``width`` by ``height`` inches, no pyplot involved."""
    figure = _Figure(figsize=(width, height), layout="constrained", facecolor=PAPER)
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.07)
    return figure


def panel_grid(
    count: int, columns: int, width: float, height: float, **shared: bool
) -> tuple[Figure, list[Axes]]:
    """Lays out panels row by row.

    Args:
      count: number of panels, at least 1.
      columns: at most so many beside each other.
      width: of one panel, in inches.
      height: of one panel, in inches.
      **shared: ``sharex`` and ``sharey`` of ``Figure.subplots``.

    Returns:
      The figure, and its ``count`` axes in reading order.

    Raises:
      ValueError: if there is no panel, or no column.
    """
    if count < 1 or columns < 1:
        raise ValueError(
            "a figure needs at least one panel and columns must be at least 1, got "
            f"{count} panels in {columns} columns."
        )
    columns = min(count, columns)
    rows = math.ceil(count / columns)
    figure = blank_figure(width * columns, height * rows)
    grid = figure.subplots(rows, columns, squeeze=False, **shared)
    panels = list(grid.flat)
    for unused in panels[count:]:
        unused.remove()
    for axes in panels[:count]:
        quiet(axes)
    return figure, panels[:count]


def quiet(axes: Axes) -> None:
    """Takes the box away and sets ticks small and grey."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RULE)
    axes.tick_params(colors=MUTED, labelsize=SMALL_SIZE, length=2.5, width=0.6)


def bare(axes: Axes) -> None:
    """Takes spines and ticks away: for images and for coordinates without a unit."""
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])


def title(axes: Axes, text: str, detail: str = "", below: bool = False) -> None:
    """Writes ``text`` above the panel at the left, and ``detail`` in grey at the right.

    Class and file names end up here, so dollar signs stay dollar signs.

    Args:
      axes: the panel.
      text: what it shows.
      detail: a note on it.
      below: whether the detail has a line of its own, at the left.
    """
    place = {"x": 0.0, "horizontalalignment": "left"} if below else {}
    text += "\n" * below
    axes.set_title(text, loc="left", fontsize=TITLE_SIZE, color=INK, parse_math=False)
    if detail:
        style = {"fontsize": SMALL_SIZE, "color": MUTED, "parse_math": False}
        axes.set_title(detail, loc="right", **style, **place)


def panel_titles(
    panels: Sequence[Axes], texts: Sequence[str], details: Sequence[str], width: float
) -> None:
    """Writes the titles of panels that stand beside each other, all in one manner.

    Details stand at the right, or all on a line of their own if one has no room there.
    Titles that are longer than a panel are cut.

    Args:
      panels: the axes.
      texts: one for each.
      details: one for each, which may be empty.
      width: of each panel's axes, in inches.
    """
    rows = list(zip(panels, texts, details, strict=True))
    below = any(
        detail
        and text_width(text, TITLE_SIZE) + 0.1 + text_width(detail, SMALL_SIZE) > width
        for _, text, detail in rows
    )
    for axes, text, detail in rows:
        while len(text) > 4 and text_width(text, TITLE_SIZE) > width:
            text = shortened(text, len(text) - 1)
        title(axes, text, detail, below)


def text_width(text: str, size: float) -> float:
    """Returns how wide a line of text of a font size in points is, in inches."""
    if not text.strip():  # which has no outline
        return 0.0
    plain = text.replace("$", "S")  # which would start mathematics
    return float(TextPath((0, 0), plain, size=size).get_extents().width / 72)


def round_ticks(axis: Axis, most: int, integer: bool = False) -> None:
    """Sets few ticks, at multiples of 1, 2 or 5 times a power of ten."""
    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10], integer=integer))


def dashed(axes: Axes, height: float, color: str = MUTED) -> None:
    """Draws a dashed line at a height, behind all else."""
    axes.axhline(height, color=color, lw=0.8, ls=(0, (4, 3)), zorder=0)


def centered(axes: Axes, position: Sequence[float], text: str, **style: Any) -> None:
    """Writes text in the middle of a position; dollar signs stay dollar signs."""
    axes.text(*position, text, ha="center", va="center", parse_math=False, **style)


def axis_labels(axes: Axes, x: str = "", y: str = "") -> None:
    """Names the axes; an empty name leaves that axis unnamed."""
    axes.set_xlabel(x, fontsize=TEXT_SIZE, color=MUTED)
    axes.set_ylabel(y, fontsize=TEXT_SIZE, color=MUTED)


def shortened(text: str, length: int) -> str:
    """Returns ``text`` cut to ``length`` characters, with an ellipsis if it was cut."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
