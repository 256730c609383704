import numpy as np
import pytest

from dgg_jax.plots.mosaics import mosaic


def test_mosaic_puts_each_pixel_where_it_belongs():
    images = np.linspace(0.0, 1.0, 2 * 3 * 8).reshape(2, 3, 8)
    canvas = mosaic(images, (4, 2), gap=1)
    assert canvas.shape == (2 * 5 - 1, 3 * 3 - 1, 3)
    np.testing.assert_array_equal(
        canvas[5:9, 6:8, 0], images[1, 2].reshape(4, 2), strict=True
    )
    assert (canvas[4] == 1.0).all()


def test_mosaic_keeps_colours():
    images = np.random.default_rng(0).uniform(size=(1, 1, 12))
    np.testing.assert_array_equal(mosaic(images, (2, 2, 3)), images.reshape(2, 2, 3))


def test_mosaic_maps_other_ranges_to_the_unit_interval():
    images = np.random.default_rng(0).normal(scale=30.0, size=(2, 2, 9))
    canvas = mosaic(images, (3, 3))
    assert canvas.min() == 0.0
    assert canvas.max() == 1.0


@pytest.mark.parametrize("shape", [(2,), (3, 3)])
def test_mosaic_of_what_is_no_image(shape):
    with pytest.raises(ValueError, match="feature_shape"):
        mosaic(np.zeros((1, 1, 2)), shape)
