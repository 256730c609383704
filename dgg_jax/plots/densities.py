"""Where points in the plane are dense: data beside what models draw."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from dgg_jax.plots.palette import MUTED, RULE, SHADES
from dgg_jax.plots.panels import SMALL_SIZE, panel_grid, panel_titles, round_ticks
from dgg_jax.plots.scatter import plane


def density_panels(points: Mapping[str, np.ndarray], bins: int = 80) -> Figure:
    """Draws histograms of points in the plane, over one range and in one scale.

    Figure 2 a to c of GMVAE. A shade is the share of a panel's points in a square of
    one unit; white is none.

    Args:
      points: by name, shape [N, 2]; rows that are not finite are left out.
      bins: square cells along the longer side of the range.

    Returns:
      The figure, with one panel for each name and the scale beside them.

    Raises:
      ValueError: if there are no points or they are of another shape, or bins is not
        at least 1.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}.")
    finite = {}
    for name, values in points.items():
        values = plane(f"points[{name!r}]", values)
        finite[name] = values[np.isfinite(values).all(axis=1)]
        if not len(finite[name]):
            raise ValueError(f"points[{name!r}] has no finite row, got {len(values)}.")
    figure, panels = panel_grid(len(finite), 3, 2.2, 2.3)
    everything = np.concatenate(list(finite.values()))
    low, high = everything.min(axis=0), everything.max(axis=0)
    cell = float((high - low).max()) / bins or 1.0
    counts = np.maximum(np.ceil((high - low) / cell - 1e-9), 1).astype(int)
    # Cells are squares, so that the shorter side may reach a little further.
    middle = (low + high) / 2
    x_edges, y_edges = (
        center + cell * (np.arange(count + 1) - count / 2)
        for center, count in zip(middle, counts, strict=True)
    )
    densities = []
    for values in finite.values():
        # Rounding must not put the outermost points outside.
        inside = np.clip(
            values.T, [[x_edges[0]], [y_edges[0]]], [[x_edges[-1]], [y_edges[-1]]]
        )
        held, _, _ = np.histogram2d(*inside, bins=(x_edges, y_edges))
        densities.append(held / (len(values) * cell**2))
    extent = (x_edges[0], x_edges[-1], y_edges[0], y_edges[-1])
    colors = {"cmap": SHADES, "vmin": 0.0, "vmax": max(d.max() for d in densities)}
    for axes, density in zip(panels, densities, strict=True):
        image = axes.imshow(density.T, origin="lower", extent=extent, **colors)
        round_ticks(axes.xaxis, 4)
        round_ticks(axes.yaxis, 4)
    panel_titles(panels, list(finite), [""] * len(finite), 1.9)
    bar = figure.colorbar(image, ax=panels, pad=0.02, aspect=18, shrink=0.9)
    bar.outline.set_edgecolor(RULE)
    bar.ax.tick_params(labelsize=SMALL_SIZE, colors=MUTED, length=2)
    round_ticks(bar.ax.yaxis, 5)
    bar.set_label("density", fontsize=SMALL_SIZE, color=MUTED)
    return figure
