"""The curves of a run: losses, objective, ELBO terms and scores by epoch."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from dgg_jax.plots.palette import CLUSTER_COLORS, MUTED, RULE
from dgg_jax.plots.panels import SMALL_SIZE, axis_labels, panel_grid, shortened, title

_VALUES = {
    "loss": "loss",
    "objective": "objective J / N",
    "elbo": "ELBO",
    "reconstruction": "reconstruction",
    "latent_prior": "latent prior",
    "latent_entropy": "latent entropy",
    "cluster_prior": "cluster prior",
    "cluster_entropy": "cluster entropy",
}
_SCORES = {
    "accuracy": "ACC",
    "training_accuracy": "ACC of training rows",
    "nmi": "NMI",
    "ari": "ARI",
}
_COLUMNS = 4


class Series(NamedTuple):
    """One value over the epochs of one loop.

    Attributes:
      epochs: ascending, shape [T].
      values: one column for each restart, NaN where absent, shape [T, R].
    """

    epochs: np.ndarray
    values: np.ndarray


def training_curves(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Draws a run's history as small multiples, each panel on its own scale.

    One panel for each loop's loss, for the objective, for each ELBO term, and for the
    scores. Restarts are thin lines. Values that are absent, None or not finite are
    left out; of lines for the same epoch (a resumed run) the last one counts.

    Args:
      history: lines of metrics.jsonl: dicts with ``stage``, ``loop``, ``epoch`` and
        values, each a number, None, or a list with one entry for each restart.

    Returns:
      The figure; a note if the history holds nothing to draw.
    """
    loops: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for line in history:
        stage = str(line.get("stage") or "run")
        loop = str(line.get("loop") or stage)
        loops.setdefault((stage, loop), []).append(line)

    panels: list[tuple[str, str, dict[str, Series]]] = []
    for (stage, loop), lines in loops.items():
        where = loop if stage == loop else f"{stage}, {loop}"
        for key, name in _VALUES.items():
            if (found := series(lines, key)) is not None:
                panels.append((name, where, {"": found}))
        scores = {name: series(lines, key) for key, name in _SCORES.items()}
        scores = {name: found for name, found in scores.items() if found is not None}
        if scores:
            panels.append(("scores", where, scores))

    if not panels:
        figure, (axes,) = panel_grid(1, 1, 3.0, 1.2)
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no training history", ha="center", color=MUTED)
        return figure
    figure, drawn = panel_grid(len(panels), _COLUMNS, 2.15, 1.6)
    for index, (name, where, content) in enumerate(panels):
        _draw(drawn[index], content)
        title(drawn[index], name, shortened(where, 30 - len(name)))
        if index + _COLUMNS >= len(panels):
            axis_labels(drawn[index], "epoch")
    return figure


def series(lines: Iterable[Mapping[str, Any]], key: str) -> Series | None:
    """Collects one value of one loop.

    Args:
      lines: the loop's lines of the history.
      key: name of the value.

    Returns:
      The values by epoch, or None if no line has a finite one.
    """
    found: dict[float, np.ndarray] = {}
    for position, line in enumerate(lines):
        value = line.get(key)
        if value is None:
            continue
        epoch = line.get("epoch")
        row = np.asarray(value, dtype=float).ravel()
        found[position if epoch is None else epoch] = row
    if not found:
        return None
    width = max(map(len, found.values()))
    epochs = sorted(found)
    # A single number holds for every restart, as in a stage that they share.
    values = np.array([np.broadcast_to(found[epoch], width) for epoch in epochs])
    values[~np.isfinite(values)] = np.nan
    kept = np.isfinite(values).any(axis=1)
    if not kept.any():
        return None
    return Series(np.asarray(epochs, dtype=float)[kept], values[kept])


def _draw(axes: Axes, content: Mapping[str, Series]) -> None:
    for index, (name, (epochs, values)) in enumerate(content.items()):
        color = CLUSTER_COLORS[index]
        style = {"lw": 0.7, "alpha": 0.75} if values.shape[1] > 1 else {"lw": 1.4}
        marker = "o" if len(epochs) <= 2 else None
        axes.plot(epochs, values, color=color, marker=marker, ms=3, **style)
        # The legend's entry, in full strength.
        axes.plot([], [], color=color, lw=1.4, label=name or None)
    if len(content) > 1:
        axes.legend(
            fontsize=SMALL_SIZE,
            frameon=False,
            labelcolor=MUTED,
            handlelength=0.8,
            handletextpad=0.4,
            columnspacing=0.9,
            ncols=len(content),
            borderaxespad=0.0,
            loc="upper left",
        )
        # Room for the legend above the curves.
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.16 * (high - low))
    elif name := next(iter(content)):
        axes.set_ylabel(name, fontsize=SMALL_SIZE, color=MUTED)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    # No offsets: "+1.05e2" above a panel is easily overlooked.
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:.6g}".replace("-", "\N{MINUS SIGN}"))
    )
    axes.grid(axis="y", color=RULE, lw=0.4)
