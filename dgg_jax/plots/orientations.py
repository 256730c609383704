"""How far apart two Gaussians are, by the direction in which their means differ."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from matplotlib.ticker import MultipleLocator

from dgg_jax.plots.palette import INK, MUTED, RULE, cluster_color
from dgg_jax.plots.panels import (
    SMALL_SIZE,
    TEXT_SIZE,
    axis_labels,
    bare,
    blank_figure,
    quiet,
    round_ticks,
    title,
)

_SKETCHED = (0, 45, 90)


def divergence_by_orientation(
    angles: np.ndarray, divergence: np.ndarray, ratios: Sequence[float]
) -> Figure:
    """Draws the JS divergence of two Gaussians against the angle between their means.

    Figure 1 of DGG's supplement. Both have one diagonal covariance, and their means
    stand at a fixed distance. Above the lines the two at 0, 45 and 90 degrees, with the
    ratio that is farthest from 1; vertical lines where a divergence is least.

    Args:
      angles: between the first axis and the difference of the means, in radians and
        ascending, shape [A].
      divergence: in nats, a row for each ratio, shape [V, A].
      ratios: of the first variance to the second, shape [V].

    Returns:
      The figure: three sketches, then the lines.

    Raises:
      ValueError: if the shapes do not fit or a ratio is not positive.
    """
    angles, divergence = np.asarray(angles, float), np.asarray(divergence, float)
    ratios = np.asarray(ratios, float)
    if angles.ndim != 1 or divergence.shape != (*ratios.shape, *angles.shape):
        raise ValueError(
            "divergence must have shape [V, A] with angles [A] and ratios [V], got "
            f"{divergence.shape}, {angles.shape} and {ratios.shape}."
        )
    if not len(ratios) or not (ratios > 0).all():
        raise ValueError(f"ratios must be positive, got {ratios.tolist()}.")
    figure = blank_figure(4.6, 3.7)
    rows = figure.subplot_mosaic(
        [[str(degrees) for degrees in _SKETCHED], ["lines"] * len(_SKETCHED)],
        height_ratios=[1.0, 2.4],
    )
    strongest = ratios[np.abs(np.log(ratios)).argmax()]
    for degrees in _SKETCHED:
        _sketch(rows[str(degrees)], degrees, strongest)
    axes = rows["lines"]
    quiet(axes)
    degrees = np.degrees(angles)
    for index, (ratio, row) in enumerate(zip(ratios, divergence, strict=True)):
        color = cluster_color(index)
        axes.plot(degrees, row, color=color, lw=1.4, label=f"{ratio:g}")
    for place in least(degrees, divergence):
        axes.axvline(place, color=MUTED, lw=0.8, ls=(0, (4, 3)), zorder=0)
    axes.xaxis.set_major_locator(MultipleLocator(45))
    round_ticks(axes.yaxis, 5)
    axes.grid(axis="y", color=RULE, lw=0.4)
    axes.set_axisbelow(True)
    axis_labels(axes, "direction in which the means differ, degrees", "nats")
    title(axes, "JS divergence", "dashed: least")
    axes.legend(
        title="ratio of variances",
        title_fontsize=SMALL_SIZE,
        fontsize=TEXT_SIZE,
        frameon=False,
        labelcolor=INK,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
    ).get_title().set_color(MUTED)
    return figure


def least(angles: np.ndarray, divergence: np.ndarray) -> list[float]:
    """Returns the angles, in degrees and ascending, where divergences are least.

    That is where the mean of the rows, each brought to [0, 1], is at most 0.05 above
    its least, and the least within 20 degrees: divergences may be means of random
    draws. A row that varies by less than a tenth of what another does is left out.

    Args:
      angles: in degrees, ascending, shape [A].
      divergence: shape [V, A].
    """
    low, reach = divergence.min(axis=1), np.ptp(divergence, axis=1)
    varies = reach > max(0.1 * reach.max(), 1e-3 * np.abs(divergence).max())
    if not varies.any():
        return []
    height = ((divergence - low[:, None])[varies] / reach[varies, None]).mean(axis=0)
    return [
        float(angle)
        for angle, value in zip(angles, height, strict=True)
        if value <= height.min() + 0.05
        and value == height[np.abs(angles - angle) < 20].min()
    ]


def _sketch(axes: Axes, degrees: int, ratio: float) -> None:
    """Both Gaussians as ellipses of one standard deviation, not to the scale."""
    bare(axes)
    size = np.sqrt([ratio, 1.0] / max(ratio, 1.0)).clip(0.25)
    angle = np.radians(degrees)
    offset = 0.8 * np.array([np.cos(angle), np.sin(angle)])
    axes.plot(*np.outer([-1, 1], offset).T, color=MUTED, lw=0.8, marker=".", ms=3)
    for sign, color in ((-1, cluster_color(0)), (1, cluster_color(1))):
        style = {"fc": color, "ec": color, "alpha": 0.45}
        axes.add_patch(Ellipse(sign * offset, *(2 * size), **style))
    right, top = 0.9 + size
    axes.set(xlim=(-right, right), ylim=(-top, top), aspect="equal")
    title(axes, f"{degrees}°")
