"""Rows that are images, small and many to a file, as a page embeds them."""

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from dgg_jax.plots.mosaics import mosaic

_JPEG = {"quality": 80, "subsampling": 0}


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
    height, width = _reduced(feature_shape, side)
    picture = _picture(tiles, feature_shape, (columns * width, rows * height))
    return Sheet(_data_url(picture), columns, width, height)


def separate(x: np.ndarray, feature_shape: Sequence[int], side: int) -> list[str]:
    """Each image as a file of its own, a data URL; one range of values for all.

    Args:
      x: as in ``sheet``; M may be 0.
      feature_shape: likewise.
      side: likewise.
    """
    if not len(x):
        return []
    height, width = _reduced(feature_shape, side)
    columns = mosaic(x[:, None], feature_shape).reshape(len(x), *feature_shape[:2], 3)
    return [_data_url(_picture(one, feature_shape, (width, height))) for one in columns]


def _reduced(feature_shape: Sequence[int], side: int) -> tuple[int, int]:
    """Height and width of what is no larger than so many pixels."""
    height, width = feature_shape[:2]
    longest = max(height, width, side)
    return max(1, height * side // longest), max(1, width * side // longest)


def _picture(
    pixels: np.ndarray, feature_shape: Sequence[int], size: tuple[int, int]
) -> Image.Image:
    picture = Image.fromarray(np.round(255 * pixels).astype(np.uint8))
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.BOX)
    return picture if tuple(feature_shape[2:]) == (3,) else picture.convert("L")


def _data_url(picture: Image.Image) -> str:
    """Grey ones as PNG, coloured ones as JPEG, which takes a fifth of it."""
    buffer = io.BytesIO()
    kind = "png" if picture.mode == "L" else "jpeg"
    picture.save(buffer, format=kind, **({} if kind == "png" else _JPEG))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
