"""Images of rows, each above what is said of it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from dgg_jax import checks
from dgg_jax.plots.mosaics import mosaic
from dgg_jax.plots.palette import INK
from dgg_jax.plots.panels import SMALL_SIZE, bare, panel_grid, shortened

_COLUMNS = 10


def captioned_images(
    x: np.ndarray, feature_shape: Sequence[int], captions: Sequence[str]
) -> Figure:
    """Draws images in reading order, each above its caption.

    Args:
      x: one image a row, values in [0, 1] or any range, shape [M, D].
      feature_shape: (H, W), (H, W, 1) or (H, W, 3), of product D.
      captions: one for each, of a line or two.

    Returns:
      The figure.

    Raises:
      ValueError: if the shapes do not fit.
    """
    x = np.asarray(x, dtype=float)
    if not checks.is_image(feature_shape) or x.shape[1:] != (np.prod(feature_shape),):
        raise ValueError(
            "x must be [M, D] with images of feature_shape in its rows, got shapes "
            f"{x.shape} and {tuple(feature_shape)}."
        )
    if len(captions) != len(x):
        raise ValueError(
            f"captions must be {len(x)}, one an image, got {len(captions)}."
        )
    height, width = feature_shape[:2]
    figure, panels = panel_grid(len(x), _COLUMNS, 0.82, 0.82 * height / width + 0.35)
    tiles = mosaic(x[:, None], feature_shape).reshape(len(x), height, width, 3)
    for axes, tile, caption in zip(panels, tiles, captions, strict=True):
        axes.imshow(tile)
        bare(axes)
        lines = "\n".join(shortened(line, 16) for line in caption.split("\n"))
        axes.set_xlabel(lines, fontsize=SMALL_SIZE, color=INK, parse_math=False)
    return figure
