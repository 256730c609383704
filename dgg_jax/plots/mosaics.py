"""Images in figures: many of them in one array."""

from collections.abc import Sequence

import numpy as np

from dgg_jax import checks


def mosaic(
    images: np.ndarray, feature_shape: Sequence[int], gap: int = 0
) -> np.ndarray:
    """Puts a grid of images into one array.

    Pixels stay as they are when all lie in [0, 1]; otherwise one common range, the
    0.5 % to 99.5 % of all pixels, is mapped to [0, 1].

    Args:
      images: flattened images, shape [R, C, D].
      feature_shape: (H, W), (H, W, 1) or (H, W, 3), of product D.
      gap: white pixels after each image but the last.

    Returns:
      One image of shape [R (H + gap) - gap, C (W + gap) - gap, 3], values in [0, 1].

    Raises:
      ValueError: if ``feature_shape`` is not that of an image of D values.
    """
    images = np.asarray(images, dtype=float)
    checks.image_shape(feature_shape, images.shape[-1])
    finite = images[np.isfinite(images)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    if low < -1e-3 or high > 1.0 + 1e-3:
        low, high = np.percentile(finite, (0.5, 99.5))
        images = (images - low) / (high - low if high > low else 1.0)
    images = np.clip(np.nan_to_num(images), 0.0, 1.0)

    rows, columns = images.shape[:2]
    height, width = feature_shape[:2]
    tiles = images.reshape(rows, columns, height, width, -1)
    tiles = np.broadcast_to(tiles, (*tiles.shape[:-1], 3))
    canvas = np.ones((rows, columns, height + gap, width + gap, 3))
    canvas[:, :, :height, :width] = tiles
    canvas = canvas.swapaxes(1, 2).reshape(
        rows * (height + gap), columns * (width + gap), 3
    )
    return canvas[: canvas.shape[0] - gap, : canvas.shape[1] - gap]
