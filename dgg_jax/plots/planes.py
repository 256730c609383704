"""Small multiples of positions in the plane: data, latents, maps of latents."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from dgg_jax.plots.palette import cluster_colors
from dgg_jax.plots.panels import panel_titles
from dgg_jax.plots.scatter import (
    check_lengths,
    plane,
    plane_axes,
    plane_grid,
    scatter_groups,
)


class PlanePanel(NamedTuple):
    """What one panel shows.

    Attributes:
      title: what sets it apart.
      positions: shape [N, 2]; rows that are not finite are left out.
      groups: class or cluster of each point, which chooses its colour, int [N].
      detail: a note, such as the accuracy.
      names: whether the number of each group is written at its median.
      is_map: whether it is a t-SNE map, whose coordinates mean nothing.
    """

    title: str
    positions: np.ndarray
    groups: np.ndarray
    detail: str = ""
    names: bool = False
    is_map: bool = False


def plane_panels(panels: Sequence[PlanePanel], columns: int) -> Figure:
    """Draws positions coloured by group, group k in the colour of cluster k.

    Figure 1 of DGG and its supplement's figures 2 and 4, the first row of figure 4 of
    VaDE, and the latents of figure 2 of GMVAE.

    Args:
      panels: in reading order.
      columns: at most so many beside each other.

    Returns:
      The figure.

    Raises:
      ValueError: if there is no panel, or the shapes of one do not fit.
    """
    figure, drawn, width = plane_grid(len(panels), columns)
    for axes, panel in zip(drawn, panels, strict=True):
        positions = plane("positions", panel.positions)
        check_lengths(len(positions), groups=panel.groups)
        groups = np.asarray(panel.groups)
        names = {k: str(k) for k in np.unique(groups)} if panel.names else {}
        scatter_groups(axes, positions, groups, cluster_colors(groups), names)
        plane_axes(axes, panel.is_map)
    titles = [panel.title for panel in panels]
    panel_titles(drawn, titles, [panel.detail for panel in panels], width)
    return figure
