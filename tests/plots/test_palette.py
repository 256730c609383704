import numpy as np
from matplotlib.colors import to_rgb

from dgg_jax.plots.palette import CLUSTER_COLORS, cluster_color, cluster_colors


def test_thirty_clusters_have_thirty_colours_that_are_apart():
    rgb = np.asarray([to_rgb(color) for color in CLUSTER_COLORS])
    apart = np.linalg.norm(rgb[:, None] - rgb[None], axis=-1)
    assert len(CLUSTER_COLORS) == 30
    assert apart[~np.eye(30, dtype=bool)].min() > 0.1


def test_colours_of_points_are_those_of_their_clusters_and_repeat():
    labels = np.array([3, 0, 31])
    assert cluster_colors(labels).tolist() == [cluster_color(k) for k in labels]
    assert cluster_color(31) == cluster_color(1)
