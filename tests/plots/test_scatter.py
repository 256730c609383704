import io

import numpy as np
import pytest
from matplotlib.colors import to_hex

from dgg_jax.plots import points
from dgg_jax.plots.palette import cluster_color


@pytest.mark.parametrize("num_clusters", [2, 10])
@pytest.mark.parametrize("labelled", [False, True])
def test_it_draws(num_clusters, labelled):
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 2))
    labels = random.integers(num_clusters, size=200)
    figure = points(x, labels, labels if labelled else None)
    figure.savefig(io.BytesIO(), dpi=40)
    assert len(figure.axes) == 1 + labelled
    for axes in figure.axes:
        assert {t.get_text() for t in axes.texts} == {str(k) for k in set(labels)}
        assert axes.collections[0].get_offsets().shape == (200, 2)


def test_a_class_has_the_colour_of_its_cluster_and_a_spare_class_another():
    y = np.repeat([0, 1, 2], [4, 3, 2])
    labels = np.repeat([1, 0, 0], [4, 3, 2])
    x = np.column_stack([np.arange(9.0), np.zeros(9)])
    panel = points(x, labels, y).axes[1].collections[0]
    order = np.argsort(panel.get_offsets()[:, 0])
    colors = [to_hex(color) for color in panel.get_facecolors()[order]]
    assert colors == (
        [cluster_color(1)] * 4 + [cluster_color(0)] * 3 + [cluster_color(2)] * 2
    )


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"\[N, 2\]"):
        points(np.zeros((3, 4)), np.zeros(3, int))
    with pytest.raises(ValueError, match="labels"):
        points(np.zeros((3, 2)), np.zeros(2, int))
    with pytest.raises(ValueError, match="y must"):
        points(np.zeros((3, 2)), np.zeros(3, int), np.zeros(2, int))
