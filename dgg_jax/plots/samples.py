"""Data generated from each cluster."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dgg_jax import checks
from dgg_jax.plots.mosaics import mosaic
from dgg_jax.plots.palette import INK, MUTED, RULE, cluster_color
from dgg_jax.plots.panels import (
    SMALL_SIZE,
    TEXT_SIZE,
    axis_labels,
    bare,
    blank_figure,
    centered,
    panel_grid,
    title,
)

_MOST_IMAGES = 16
_MOST_LINE_FEATURES = 40
_MOST_HEAT_FEATURES = 60


def cluster_samples(samples: np.ndarray, feature_shape: Sequence[int]) -> Figure:
    """Draws decoded means of latents drawn from each component.

    Images: a grid with one row for each cluster. Points in the plane: a scatter. Up to
    40 features: one panel of lines for each cluster. More: a heat map of the clusters'
    means, over the features in which they differ most.

    Args:
      samples: decoded means in data space, shape [K, M, D].
      feature_shape: shape of a data point, of product D.

    Returns:
      The figure.

    Raises:
      ValueError: if the shapes do not fit.
    """
    samples = np.asarray(samples, dtype=float)
    if samples.ndim != 3 or np.prod(feature_shape) != samples.shape[-1]:
        raise ValueError(
            f"samples must have shape [K, M, D] with D the product of feature_shape, "
            f"got {samples.shape} and {tuple(feature_shape)}."
        )
    if checks.is_image(feature_shape):
        return _image_grid(samples, feature_shape)
    if samples.shape[-1] == 2:
        return _scatter(samples)
    if samples.shape[-1] <= _MOST_LINE_FEATURES:
        return _lines(samples)
    return _heat_map(samples)


def _image_grid(samples: np.ndarray, feature_shape: Sequence[int]) -> Figure:
    """One row of images for each cluster; two blocks of rows beyond 12 clusters."""
    samples = samples[:, :_MOST_IMAGES]
    num_clusters, num_samples = samples.shape[:2]
    height, width = feature_shape[:2]
    blocks = 2 if num_clusters > 12 else 1
    rows = math.ceil(num_clusters / blocks)
    tile = 0.5 if blocks == 1 else 0.36
    figure = blank_figure(
        blocks * (tile * num_samples + 0.45), tile * rows * height / width + 0.1
    )
    panels = figure.subplots(1, blocks, squeeze=False)[0]
    for block, axes in enumerate(panels):
        clusters = np.arange(block * rows, min((block + 1) * rows, num_clusters))
        image_rows(axes, samples[clusters], feature_shape, clusters, rows)
    return figure


def image_rows(
    axes: Axes,
    images: np.ndarray,
    feature_shape: Sequence[int],
    names: Sequence[object],
    rows: int,
) -> None:
    """Draws a row of images for each name, with the name at its left.

    Args:
      axes: where.
      images: flattened, shape [R, M, D].
      feature_shape: (H, W), (H, W, 1) or (H, W, 3), of product D.
      names: of the rows, R of them.
      rows: at least R, for which there is room: panels of unequal length keep tiles of
        one size.

    Raises:
      ValueError: if ``feature_shape`` is not that of an image of D values.
    """
    pixels = mosaic(images, feature_shape, image_gap(feature_shape))
    axes.imshow(pixels)
    bare(axes)
    height = feature_shape[0]
    step = height + image_gap(feature_shape)
    middles = (height - 1) / 2 + step * np.arange(len(names))
    axes.set_yticks(middles, [str(name) for name in names])
    axes.tick_params(length=0, labelsize=TEXT_SIZE, labelcolor=INK)
    axes.set_ylim(rows * step - image_gap(feature_shape) - 0.5, -0.5)


def image_gap(feature_shape: Sequence[int]) -> int:
    """Returns how many white pixels stand between two images."""
    return max(1, feature_shape[0] // 14)


def _scatter(samples: np.ndarray) -> Figure:
    figure, (axes,) = panel_grid(1, 1, 3.9, 3.6)
    for cluster, points in enumerate(samples):
        axes.scatter(*points.T, s=12, color=cluster_color(cluster), alpha=0.75, lw=0)
        style = {"fontweight": "bold", "fontsize": TEXT_SIZE, "color": INK}
        centered(axes, np.median(points, axis=0), str(cluster), **style)
    axes.set_aspect("equal", adjustable="datalim")
    axis_labels(axes, "feature 0", "feature 1")
    title(axes, "Generated points")
    return figure


def _lines(samples: np.ndarray) -> Figure:
    """Thin lines are samples, the bold one their mean, the grey one that of all."""
    num_clusters, _, num_features = samples.shape
    columns = 5 if num_clusters <= 10 else 6
    figure, panels = panel_grid(
        num_clusters, columns, 1.6, 1.35, sharex=True, sharey=True
    )
    features = np.arange(num_features)
    overall = samples.mean(axis=(0, 1))
    for cluster, axes in enumerate(panels):
        color = cluster_color(cluster)
        axes.plot(features, overall, color=MUTED, lw=0.8, ls=(0, (3, 2)))
        axes.plot(features, samples[cluster].T, color=color, lw=0.5, alpha=0.3)
        axes.plot(features, samples[cluster].mean(axis=0), color=color, lw=1.4)
        title(axes, f"cluster {cluster}")
    figure.supxlabel("feature", fontsize=TEXT_SIZE, color=MUTED)
    return figure


def _heat_map(samples: np.ndarray) -> Figure:
    """Each cluster's mean minus that of all, in standard deviations of the feature."""
    means = samples.mean(axis=1)
    spread = samples.std(axis=(0, 1))
    deviation = (means - means.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    strongest = np.argsort(-means.var(axis=0), kind="stable")[:_MOST_HEAT_FEATURES]
    strongest = np.sort(strongest)
    deviation = deviation[:, strongest]
    num_clusters = len(samples)
    figure, (axes,) = panel_grid(1, 1, 8.2, 1.0 + max(1.0, 0.24 * num_clusters))
    limit = max(1.0, float(np.abs(deviation).max(initial=0.0)))
    colors = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    image = axes.imshow(deviation, aspect="auto", interpolation="nearest", **colors)
    axes.spines[:].set_visible(False)
    axes.set_yticks(range(num_clusters), [str(k) for k in range(num_clusters)])
    step = max(1, len(strongest) // 20)
    axes.set_xticks(
        range(0, len(strongest), step), [str(f) for f in strongest[::step]], rotation=90
    )
    axes.tick_params(labelsize=SMALL_SIZE, length=0)
    axis_labels(axes, "feature", "cluster")
    title(axes, "Cluster means", "in standard deviations from the mean of all clusters")
    bar = figure.colorbar(image, ax=axes, pad=0.01, aspect=14)
    bar.outline.set_edgecolor(RULE)
    bar.ax.tick_params(labelsize=SMALL_SIZE, colors=MUTED, length=2)
    return figure
