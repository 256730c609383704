"""The evidence for an estimated number of clusters."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from dgg_jax.plots.palette import ALARM, MUTED, RULE, cluster_color
from dgg_jax.plots.panels import SMALL_SIZE, axis_labels, dashed, panel_grid, title


def cluster_counts(
    sizes: Sequence[int],
    counts: Sequence[int],
    num_clusters: int,
    is_plateau: bool = True,
) -> Figure:
    """Draws how many clusters there are for each minimal size, and which count is K.

    Args:
      sizes: the smallest size of a cluster, ascending, shape [G].
      counts: clusters found at each, shape [G].
      num_clusters: K, which is marked.
      is_plateau: whether K holds over enough of them; if not, the title says so.

    Returns:
      The figure.

    Raises:
      ValueError: if sizes and counts are not of one length, or no count is K.
    """
    if len(sizes) != len(counts) or num_clusters not in counts:
        raise ValueError(
            "counts must have one entry a size and num_clusters among them, got "
            f"{len(sizes)} sizes, counts {list(counts)} and K = {num_clusters}."
        )
    figure, (axes,) = panel_grid(1, 1, 5.2, 2.4)
    color = cluster_color(0) if is_plateau else ALARM
    dashed(axes, num_clusters, color)
    axes.plot(sizes, counts, color=MUTED, lw=1.0, zorder=1)
    agree = np.asarray(counts) == num_clusters
    for chosen, ink in ((agree, color), (~agree, MUTED)):
        dots = np.asarray(sizes)[chosen], np.asarray(counts)[chosen]
        axes.plot(*dots, "o", ms=5, color=ink, clip_on=False)
    axes.annotate(
        f"K = {num_clusters}",
        (1.0, num_clusters),
        xycoords=("axes fraction", "data"),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=SMALL_SIZE,
        color=color,
        annotation_clip=False,
    )
    axes.set_xscale("log")
    axes.set_xticks(sizes)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:,.0f}"))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_ylim(0, 1.12 * max(counts))
    axes.grid(axis="y", color=RULE, lw=0.4)
    axes.set_axisbelow(True)
    axis_labels(axes, "smallest size of a cluster", "clusters")
    held = f"K at {agree.sum()} of {len(sizes)} sizes"
    title(axes, "Number of clusters", held if is_plateau else f"{held}: no plateau")
    return figure
