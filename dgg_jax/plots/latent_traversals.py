"""What each latent dimension does to a generated image."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from dgg_jax import checks
from dgg_jax.plots.mosaics import mosaic
from dgg_jax.plots.palette import MUTED, RULE, cluster_color
from dgg_jax.plots.panels import SMALL_SIZE, bare, panel_grid, title
from dgg_jax.plots.variances import variances

_MOST_DIMENSIONS = 16


def traversals(
    traversals: np.ndarray,
    feature_shape: Sequence[int],
    logvar: np.ndarray,
    components: Sequence[int] | None = None,
) -> Figure:
    """Draws figure 2 of DGG: images along each latent dimension, and the variances.

    Row i, column j of a component is the decoded mu + 4 a_j (e_i o sigma) with
    a_j = -1 + (j - 1) / 7, j = 1..15 (erratum E34); the bar beside row i is the i-th
    element of sigma^2. Of more than 16 latent dimensions the 16 with the largest
    variance are drawn, most variable first.

    Args:
      traversals: decoded means, shape [K, L, J, D]; J is 15 in the paper.
      feature_shape: (H, W), (H, W, 1) or (H, W, 3), of product D.
      logvar: natural log of the variances, shape [K, L].
      components: which to draw; the first four without it.

    Returns:
      The figure, one panel for each component, two beside each other.

    Raises:
      ValueError: if the data are not images, or the shapes do not fit.
    """
    traversals = np.asarray(traversals)
    if traversals.ndim != 4 or traversals.shape[:2] != np.shape(logvar):
        raise ValueError(
            "traversals must have shape [K, L, J, D] and logvar [K, L], got "
            f"{traversals.shape} and {np.shape(logvar)}."
        )
    checks.image_shape(feature_shape, traversals.shape[-1])
    if components is None:
        components = range(min(4, len(traversals)))
    if len(components) == 0:
        raise ValueError("components is empty; name at least one component to draw.")
    variance = variances(logvar)
    _, num_latents, steps, _ = traversals.shape
    height, width = feature_shape[:2]
    shown = min(num_latents, _MOST_DIMENSIONS)

    panel_width = 4.6
    bar_length = 3.0 * width
    gap = max(1, height // 14)
    extent = (steps * (width + gap) - gap, shown * (height + gap) - gap)
    image_width = panel_width - 0.45
    panel_height = image_width * extent[1] / (extent[0] + 1.5 * width + bar_length)
    figure, panels = panel_grid(len(components), 2, panel_width, panel_height + 0.45)
    scale = bar_length / variance[list(components)].max()
    left = extent[0] + width
    middles = (height + gap) * np.arange(shown) + 0.5 * height
    for component, axes in zip(components, panels, strict=True):
        dimensions = np.arange(num_latents)
        if num_latents > shown:
            dimensions = np.argsort(-variance[component], kind="stable")[:shown]
        picture = mosaic(traversals[component, dimensions], feature_shape, gap)
        bare(axes)
        axes.imshow(picture, extent=(0, extent[0], extent[1], 0))
        axes.barh(
            middles,
            variance[component, dimensions] * scale,
            0.62 * height,
            left=left,
            color=cluster_color(component),
        )
        axes.plot([left, left], [0, extent[1]], color=RULE, lw=0.8)
        axes.set_xlim(-0.2 * width, left + bar_length + 0.5 * width)
        axes.set_ylim(extent[1], 0)
        axes.set_yticks(middles, [str(d) for d in dimensions])
        axes.set_xticks(
            [0.5 * width, 0.5 * extent[0], extent[0] - 0.5 * width, left],
            [r"$-4\sigma$", r"$\mu$", r"$+4\sigma$", r"$\sigma^2$"],
        )
        axes.tick_params(labelsize=SMALL_SIZE, length=0, colors=MUTED)
        title(
            axes,
            f"cluster {component}",
            f"largest variance {variance[component].max():.3g}",
        )
    return figure
