"""The colours of the figures: one for each cluster, and the inks around them."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

# The first six are Okabe and Ito's. Each of the others is the candidate farthest (in
# Oklab, the smallest of normal vision, deuteranopia and protanopia) from all before it,
# so that every prefix is nearly as distinct as K colours can be.
CLUSTER_COLORS = (
    *("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9"),
    *("#780c48", "#30e4a8", "#6c5400", "#3c3090", "#905478", "#8478e4"),
    *("#90b478", "#ccc0e4", "#cccc6c", "#6c3018", "#006c48", "#0c486c"),
    *("#6c7854", "#fc84c0", "#485490", "#6c789c", "#c09048", "#3c9024"),
    *("#6c90cc", "#603ca8", "#e46078", "#a8303c", "#9c90fc", "#30c09c"),
)
INK = "#22262b"
MUTED = "#6b7280"
RULE = "#d5d9df"
PAPER = "#ffffff"
ALARM = "#b3261e"
RIGHT, WRONG = CLUSTER_COLORS[2], CLUSTER_COLORS[3]
# White at 0, then a blue that only darkens: it is told apart by lightness alone.
SHADES = LinearSegmentedColormap.from_list("shares", ["#ffffff", "#7fb3d5", "#08406b"])


def cluster_color(cluster: int) -> str:
    """Returns the colour of one cluster as ``#rrggbb``; they repeat after 30."""
    return CLUSTER_COLORS[int(cluster) % len(CLUSTER_COLORS)]


def cluster_colors(labels: np.ndarray) -> np.ndarray:
    """Returns the colour of each point.

    Args:
      labels: cluster of each point, integers of shape [N].

    Returns:
      Colours as ``#rrggbb`` strings, shape [N].
    """
    palette = np.asarray(CLUSTER_COLORS)
    return palette[np.asarray(labels, dtype=int) % len(palette)]
