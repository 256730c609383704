"""Rows that are images, small and many to a file, as a page embeds them."""

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from dgg_jax.plots.mosaics import mosaic

_QUALITY = 80  # of JPEG


class Sheet(NamedTuple):
    """Images side by side.

    Attributes:
      source: the file as a data URL.
      columns: images beside each other.
      width: of one, in pixels.
      height: likewise.
    """

    source: str
    columns: int
    width: int
    height: int


def sheet(
    x: np.ndarray, feature_shape: Sequence[int], columns: int, side: int
) -> Sheet:
    """Puts images into one file, in reading order.

    Grey ones become a PNG, coloured ones a JPEG, which takes a fifth of it.

    Args:
      x: one image a row, values in [0, 1] or any range, shape [M, D], M at least 1.
      feature_shape: (H, W), (H, W, 1) or (H, W, 3), of product D.
      columns: at most so many beside each other.
      side: larger ones are reduced to so many pixels.
    """
    columns = min(columns, len(x))
    rows = -(-len(x) // columns)
    filled = np.concatenate([x, np.repeat(x[-1:], rows * columns - len(x), axis=0)])
    tiles = mosaic(filled.reshape(rows, columns, -1), feature_shape)
    picture = Image.fromarray(np.round(255 * tiles).astype(np.uint8))
    height, width = feature_shape[:2]
    if (longest := max(height, width)) > side:
        height, width = (max(1, n * side // longest) for n in (height, width))
        size = columns * width, rows * height
        picture = picture.resize(size, Image.Resampling.BOX)
    buffer = io.BytesIO()
    if tuple(feature_shape[2:]) == (3,):
        picture.save(buffer, format="jpeg", quality=_QUALITY, subsampling=0)
    else:
        picture.convert("L").save(buffer, format="png", optimize=True)
    kind = "png" if buffer.getvalue().startswith(b"\x89PNG") else "jpeg"
    text = base64.b64encode(buffer.getvalue()).decode()
    return Sheet(f"data:image/{kind};base64,{text}", columns, width, height)
