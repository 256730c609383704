"""Whether confidence is deserved: accuracy by confidence, and what doubt spares."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from dgg_jax.metrics import calibration_error, confidence_auc
from dgg_jax.plots.palette import CLUSTER_COLORS, MUTED, RULE
from dgg_jax.plots.panels import SMALL_SIZE, axis_labels, panel_grid, title

_BINS = 10


def reliability(right: np.ndarray, confidence: np.ndarray) -> Figure:
    """Draws accuracy against confidence, and errors against the rows that are kept.

    At the left a point for each tenth of confidence: on the diagonal, rows of 80 % are
    right in 80 % of cases. Its area is the share of the rows. At the right the share of
    errors among the rows of most confidence, as more of them are kept; dashed, if
    confidence told nothing, dotted, if it told everything.

    Args:
      right: whether the cluster of each row is that of its class, bool [N].
      confidence: the largest probability of each row, [N].

    Returns:
      The figure.

    Raises:
      ValueError: if the two are not vectors of the same length.
    """
    error = calibration_error(right, confidence)  # which checks them
    right = np.asarray(right, dtype=bool)
    confidence = np.asarray(confidence, dtype=float)
    figure, (left, kept) = panel_grid(2, 2, 3.4, 3.0)
    _calibration(left, right, confidence)
    title(left, "Right by confidence", f"calibration error {error:.3f}")
    _risk(kept, right, confidence)
    area = confidence_auc(right, confidence)
    detail = "" if area is None else f"area under the ROC {area:.3f}"
    title(kept, "Wrong by rows kept", detail)
    return figure


def _calibration(axes: Axes, right: np.ndarray, confidence: np.ndarray) -> None:
    of_bin = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    counts = np.bincount(of_bin, minlength=_BINS)
    used = counts > 0
    means = np.bincount(of_bin, confidence, minlength=_BINS)[used] / counts[used]
    shares = np.bincount(of_bin, right, minlength=_BINS)[used] / counts[used]
    axes.plot([0, 1], [0, 1], color=MUTED, lw=0.8, ls=(0, (4, 3)), zorder=0)
    areas = 12 + 220 * counts[used] / counts.sum()
    axes.scatter(means, shares, s=areas, color=CLUSTER_COLORS[0], alpha=0.8, lw=0)
    axes.plot(means, shares, color=CLUSTER_COLORS[0], lw=0.8)
    below = 8 + np.sqrt(areas / np.pi)  # points
    for mean, share, count, gap in zip(means, shares, counts[used], below, strict=True):
        axes.annotate(
            f"{count:,}",
            (mean, share),
            xytext=(0, -gap),
            textcoords="offset points",
            ha="center",
            fontsize=5.5,
            color=MUTED,
        )
    axes.set_xlim(-0.03, 1.06)
    axes.set_ylim(-0.08, 1.06)
    axes.grid(color=RULE, lw=0.4)
    axis_labels(axes, "confidence", "share that is right")


def _risk(axes: Axes, right: np.ndarray, confidence: np.ndarray) -> None:
    number = len(right)
    kept = np.arange(1, number + 1)
    order = np.argsort(-confidence, kind="stable")
    wrong = int((~right).sum())
    best = np.maximum(0, kept - (number - wrong)) / kept
    axes.plot(kept / number, best, color=MUTED, lw=0.9, ls=(0, (1, 1.5)), label="ideal")
    whole = wrong / number
    axes.plot([0, 1], [whole] * 2, color=MUTED, lw=0.8, ls=(0, (4, 3)), label="chance")
    risk = np.cumsum(~right[order]) / kept
    axes.plot(kept / number, risk, color=CLUSTER_COLORS[0], lw=1.4, label="confidence")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, max(1.25 * whole, 0.01))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(color=RULE, lw=0.4)
    axes.legend(fontsize=SMALL_SIZE, frameon=False, labelcolor=MUTED, loc="upper left")
    axis_labels(axes, "rows of most confidence that are kept", "share that is wrong")
