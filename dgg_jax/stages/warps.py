"""Small random warps of the images in the rows of data."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import ndimage

# Of a warp of strength 1: radians, a share, ln of a factor, shares of the side.
_ROTATION, _SHEAR, _ZOOM, _SHIFT, _BEND = 0.2, 0.2, 0.12, 1 / 14, 1 / 24
_GRID = 5  # points a side that bend an image


@dataclasses.dataclass(frozen=True)
class RandomWarp:
    """Small random warps, of which an image shows the same as before.

    At strength 1 an image is rotated by up to 0.2 radians, sheared by up to 0.2,
    stretched along both axes by factors of up to exp(0.12) and shifted by up to a
    fourteenth of its sides; and bent: each of 5 x 5 points moves by up to 1/24 of the
    sides, and what lies between by cubic interpolation. All are drawn uniformly;
    bilinear, with the border repeated.

    Attributes:
      image_shape: (H, W) or (H, W, C) of the image in a row.
      strength: factor of all of these bounds.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from dgg_jax.stages.warps import RandomWarp
      >>> warp = RandomWarp((28, 28))
      >>> warp(jax.random.key(0), jnp.ones((3, 784))).shape
      (3, 784)
    """

    image_shape: tuple[int, ...]
    strength: float = 1.0

    def __call__(self, key: jax.Array, rows: jax.Array) -> jax.Array:
        """Warps each row on its own.

        Args:
          key: random key.
          rows: images, shape [B, D]; columns that follow their pixels stay.

        Returns:
          Their warped copies, shape [B, D].
        """
        num_pixels = math.prod(self.image_shape)
        rows, others = rows[:, :num_pixels], rows[:, num_pixels:]
        height, width = self.image_shape[:2]
        middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
        y, x = np.mgrid[:height, :width].astype(rows.dtype)
        y, x = y - middle_y, x - middle_x
        down, across = (_interpolation(side, rows.dtype) for side in (height, width))

        def sources(drawn):
            """Where the pixels of a warped image lie in the given one."""
            affine, (bend_y, bend_x) = drawn[:6], drawn[6:].reshape(2, _GRID, _GRID)
            bounds = (_ROTATION, _SHEAR, _ZOOM, _ZOOM, _SHIFT * height, _SHIFT * width)
            amounts = self.strength * affine * jnp.asarray(bounds, drawn.dtype)
            angle, shear, zoom_y, zoom_x, shift_y, shift_x = amounts
            cos, sin = jnp.cos(angle), jnp.sin(angle)
            from_y = jnp.exp(zoom_y) * (cos * y - sin * x)
            from_x = jnp.exp(zoom_x) * (sin * y + cos * x) + shear * y
            from_y += self.strength * _BEND * height * (down @ bend_y @ across.T)
            from_x += self.strength * _BEND * width * (down @ bend_x @ across.T)
            return from_y + shift_y + middle_y, from_x + shift_x + middle_x

        def warped(row, drawn):
            channels = row.reshape(height, width, -1)
            sample = functools.partial(
                ndimage.map_coordinates,
                coordinates=sources(drawn),
                order=1,
                mode="nearest",
            )
            return jax.vmap(sample, -1, -1)(channels).ravel()

        shape = len(rows), 6 + 2 * _GRID**2
        drawn = jax.random.uniform(key, shape, rows.dtype, minval=-1.0)
        return jnp.concatenate([jax.vmap(warped)(rows, drawn), others], axis=1)


def _interpolation(side: int, dtype: jnp.dtype) -> jax.Array:
    """From values at the points that bend an image to all along a side, [side, 5]."""
    return jax.image.resize(jnp.eye(_GRID, dtype=dtype), (side, _GRID), "cubic")
