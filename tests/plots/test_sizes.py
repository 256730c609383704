import io

import numpy as np
import pytest

from dgg_jax.plots import cluster_sizes


@pytest.mark.parametrize("num_clusters", [1, 2, 10, 30])
def test_bars_are_the_sizes(num_clusters):
    labels = np.random.default_rng(0).integers(num_clusters, size=300)
    figure = cluster_sizes(labels, num_clusters)
    figure.savefig(io.BytesIO(), dpi=30)
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == np.bincount(labels, minlength=num_clusters).tolist()


def test_empty_clusters_are_marked():
    (axes,) = cluster_sizes(np.array([0, 0, 2]), 4).axes
    assert [t.get_text() for t in axes.texts] == ["2", "empty", "1", "empty"]


def test_labels_are_checked():
    with pytest.raises(ValueError, match="labels"):
        cluster_sizes(np.array([0, 3]), 3)
