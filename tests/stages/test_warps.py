"""Small random warps of images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from dgg_jax.stages.warps import RandomWarp


def blobs(shape, num_rows=6):
    """Smooth images, dark at the border: a bright spot near the middle of each."""
    height, width = shape[:2]
    y, x = np.mgrid[:height, :width]
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(num_rows):
        cy = height / 2 + rng.uniform(-1, 1)
        cx = width / 2 + rng.uniform(-1, 1)
        spot = np.exp(-((y - cy) ** 2) / height - ((x - cx) ** 2) / (2 * width))
        channels = shape[2] if len(shape) == 3 else 1
        rows.append(np.stack([spot * (c + 1) for c in range(channels)], -1).ravel())
    return np.array(rows, np.float32)


def centers(rows, shape):
    """Centre of the light in each image, [B, 2]."""
    images = rows.reshape(len(rows), *shape[:2], -1).sum(-1)
    grid = np.mgrid[: shape[0], : shape[1]]
    mass = images.sum((1, 2))
    return np.stack([(images * axis).sum((1, 2)) / mass for axis in grid], 1)


def test_no_strength_changes_nothing():
    rows = blobs((12, 10))
    same = RandomWarp((12, 10), 0.0)(jax.random.key(0), rows)
    np.testing.assert_allclose(same, rows, atol=1e-6)


@pytest.mark.parametrize("shape", [(28, 28), (20, 14), (28, 28, 3)])
def test_a_warp_moves_little_and_keeps_the_light(shape):
    rows = np.repeat(blobs(shape), 50, axis=0)
    warped = np.asarray(RandomWarp(shape)(jax.random.key(0), rows))
    assert warped.shape == rows.shape and warped.dtype == np.float32
    assert warped.min() >= 0.0 and warped.max() <= rows.max() + 1e-6
    moved = np.abs(centers(warped, shape) - centers(rows, shape))
    # A fourteenth of the side, and what the turn about the middle adds.
    assert (moved < np.array(shape[:2]) / 14 * 1.5 + 0.5).all()
    assert (moved.mean(axis=0) > np.array(shape[:2]) / 14 / 4).all()
    light = warped.sum(1) / rows.sum(1)
    # Both axes by exp(0.12) at most, and by what a bend stretches where the light is.
    assert light.min() > 0.55 and light.max() < 1.6
    assert len(np.unique(np.round(light, 5))) > 250  # each row has its own


def test_every_channel_is_warped_alike():
    rows = blobs((16, 16, 3))
    warped = np.asarray(RandomWarp((16, 16, 3))(jax.random.key(3), rows))
    images = warped.reshape(-1, 16, 16, 3)
    np.testing.assert_allclose(images[..., 1], 2 * images[..., 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(images[..., 2], 3 * images[..., 0], rtol=1e-4, atol=1e-5)


def test_a_warp_against_scipy():
    """Rebuilt from the numbers that are drawn, for images higher than wide."""
    shape, key = (18, 12), jax.random.key(5)
    rows = blobs(shape, num_rows=4)
    warped = RandomWarp(shape, 0.8)(key, rows)
    amounts = np.asarray(jax.random.uniform(key, (4, 56), minval=-1.0))
    bounds = 0.8 * np.array([0.2, 0.2, 0.12, 0.12, 18 / 14, 12 / 14])
    for row, result, drawn in zip(rows, warped, amounts, strict=True):
        angle, shear, zoom_y, zoom_x, *shift = (float(v) for v in drawn[:6] * bounds)
        turn = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        matrix = np.diag(np.exp([zoom_y, zoom_x])) @ turn + [[0, 0], [shear, 0]]
        middle = np.array([17 / 2, 11 / 2])
        points = np.mgrid[:18, :12].reshape(2, -1)
        sources = matrix @ (points - middle[:, None]) + (middle + shift)[:, None]
        bends = jax.image.resize(drawn[6:].reshape(2, 5, 5), (2, *shape), "cubic")
        sources += 0.8 * np.reshape(bends, (2, -1)) * np.array([[18 / 24], [12 / 24]])
        expected = ndimage.map_coordinates(
            row.reshape(shape), sources, order=1, mode="nearest"
        )
        np.testing.assert_allclose(result, expected, atol=1e-5)


def test_an_image_is_bent():
    """No affine map makes a warped line of it: straight lines become curves."""
    line = np.zeros((28, 28), np.float32)
    line[:, 14] = 1.0
    rows = np.repeat(line.reshape(1, -1), 20, axis=0)
    warped = np.asarray(RandomWarp((28, 28))(jax.random.key(0), rows))
    images = warped.reshape(-1, 28, 28)[:, 6:22]
    position = (images * np.arange(28)).sum(2) / images.sum(2)
    height = np.arange(16)
    for curve in position:
        residual = curve - np.polyval(np.polyfit(height, curve, 1), height)
        assert 0.02 < np.abs(residual).max() < 2.0


def test_the_same_key_and_equal_warps_give_the_same():
    rows = jnp.asarray(blobs((8, 8)))
    key = jax.random.key(1)
    first, second = RandomWarp((8, 8)), RandomWarp((8, 8), 1.0)
    assert first == second and hash(first) == hash(second)
    warped = first(key, rows)
    np.testing.assert_array_equal(warped, second(key, rows))
    np.testing.assert_allclose(warped, jax.jit(second)(key, rows), atol=1e-6)
    other = first(jax.random.key(2), rows)
    assert not np.allclose(other, warped)


def test_columns_that_follow_the_pixels_stay():
    """As those that say the batch of a row."""
    rows = blobs((12, 10))
    more = np.arange(12.0, dtype=np.float32).reshape(6, 2)
    warp, key = RandomWarp((12, 10)), jax.random.key(0)
    both = warp(key, np.concatenate([rows, more], axis=1))
    np.testing.assert_array_equal(both[:, 120:], more)
    np.testing.assert_array_equal(both[:, :120], warp(key, rows))
