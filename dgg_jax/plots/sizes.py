"""How many points each cluster holds."""

import numpy as np
from matplotlib import patheffects
from matplotlib.figure import Figure

from dgg_jax.plots.palette import ALARM, INK, PAPER, cluster_colors
from dgg_jax.plots.panels import SMALL_SIZE, axis_labels, dashed, panel_grid, title


def cluster_sizes(labels: np.ndarray, num_clusters: int) -> Figure:
    """Draws the size of each cluster, with a line at N / K.

    Empty clusters, the sign of a collapse, are marked.

    Args:
      labels: cluster of each point, integers in [0, K), shape [N].
      num_clusters: K.

    Returns:
      The figure.

    Raises:
      ValueError: if a label is not in [0, K).
    """
    labels = np.asarray(labels, dtype=int)
    if labels.size and not 0 <= labels.min() <= labels.max() < num_clusters:
        raise ValueError(
            f"labels must lie in [0, {num_clusters}), got {labels.min()} to "
            f"{labels.max()}; hand in the K that the labels were made with."
        )
    sizes = np.bincount(labels, minlength=num_clusters)
    figure, (axes,) = panel_grid(1, 1, max(3.2, 1.0 + 0.42 * num_clusters), 2.4)
    clusters = np.arange(num_clusters)
    bars = axes.bar(clusters, sizes, 0.72, color=cluster_colors(clusters))
    counts = axes.bar_label(
        bars,
        [f"{size:,}" for size in sizes],
        padding=2,
        fontsize=SMALL_SIZE if sizes.max(initial=0) < 100_000 else 5.5,
        color=INK,
        path_effects=[patheffects.withStroke(linewidth=2.5, foreground=PAPER)],
    )
    for size, text in zip(sizes, counts, strict=True):
        if size == 0:
            text.set(text="empty", color=ALARM, rotation=90)
    dashed(axes, labels.size / num_clusters)
    axes.set_xticks(clusters)
    axes.set_xlim(-0.7, num_clusters - 0.3)
    axes.margins(y=0.12)
    axis_labels(axes, "cluster", "points")
    empty = int((sizes == 0).sum())
    title(axes, "Cluster sizes", f"{empty} empty" if empty else "dashed: N / K")
    return figure
