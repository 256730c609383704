import io

import numpy as np
import pytest

from dgg_jax.plots import cluster_samples


@pytest.mark.parametrize("num_clusters", [2, 10])
@pytest.mark.parametrize("shape", [(8, 8), (6, 4, 3), (2,), (12,), (90,)])
def test_it_draws(num_clusters, shape):
    size = (num_clusters, 5, np.prod(shape))
    samples = np.random.default_rng(0).uniform(size=size)
    cluster_samples(samples, shape).savefig(io.BytesIO(), dpi=30)


def test_many_clusters_stand_in_two_blocks():
    figure = cluster_samples(np.zeros((15, 2, 16)), (4, 4))
    figure.savefig(io.BytesIO(), dpi=30)
    assert [len(axes.get_yticks()) for axes in figure.axes] == [8, 7]


def test_images_have_one_row_a_cluster():
    samples = np.zeros((4, 3, 64))
    samples[2] = 0.5
    (axes,) = cluster_samples(samples, (8, 8)).axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["0", "1", "2", "3"]
    picture = axes.images[0].get_array()
    middle = int(axes.get_yticks()[2])
    np.testing.assert_array_equal(picture[middle, :8], np.full((8, 3), 0.5))


def test_the_heat_map_shows_the_features_that_differ():
    samples = np.random.default_rng(0).normal(scale=0.01, size=(3, 4, 200))
    samples[:, :, 150] += np.arange(3)[:, None]
    deviation = cluster_samples(samples, (200,)).axes[0].images[0].get_array()
    assert deviation.shape == (3, 60)
    assert (np.abs(deviation).max(axis=1)[[0, 2]] > 1.0).all()


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="samples"):
        cluster_samples(np.zeros((2, 3, 5)), (2, 2))
