"""The term of the cluster prior over training."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from dgg_jax.plots.palette import RULE, cluster_color
from dgg_jax.plots.panels import (
    axis_labels,
    dashed,
    panel_grid,
    panel_titles,
    round_ticks,
)

_COLUMNS = 3


def prior_terms(
    terms: Mapping[str, np.ndarray], constraints: Mapping[str, float]
) -> Figure:
    """Draws the z-prior term of each run over epochs, all on one scale.

    Figure 3 of GMVAE. A dashed line stands where the term is held, at minus the
    constraint.

    Args:
      terms: by the name of the run the plain term of eq. (6) after each epoch, in nats,
        shape [E]; values that are not finite are left out.
      constraints: by the same names lambda of eq. (7); 0, or no entry, is none.

    Returns:
      The figure, one panel for each run.

    Raises:
      ValueError: if there is no run, a term is not a vector, or a constraint is of a
        run that is not there.
    """
    unknown = [name for name in constraints if name not in terms]
    if unknown:
        raise ValueError(
            f"constraints must be of the runs {list(terms)}, got {unknown} besides."
        )
    figure, panels = panel_grid(len(terms), _COLUMNS, 2.4, 1.9, sharey=True)
    details, drawn = [], [0.0]
    for axes, (name, values) in zip(panels, terms.items(), strict=True):
        values = np.asarray(values, dtype=float)
        if values.ndim != 1 or not len(values):
            raise ValueError(
                f"terms[{name!r}] must have shape [E] with E >= 1, got {values.shape}."
            )
        constraint = constraints.get(name, 0.0)
        values = np.where(np.isfinite(values), values, np.nan)
        marker = "o" if len(values) <= 2 else None
        style = {"color": cluster_color(0), "lw": 1.4, "marker": marker, "ms": 3}
        axes.plot(np.arange(1, len(values) + 1), values, **style)
        if constraint:
            dashed(axes, -constraint)
        drawn += [-constraint, *values[np.isfinite(values)]]
        details.append(f"dashed: \N{MINUS SIGN}{constraint:g}" if constraint else "")
        round_ticks(axes.xaxis, 5, integer=True)
        axes.grid(axis="y", color=RULE, lw=0.4)
        first = panels.index(axes) % _COLUMNS == 0
        axis_labels(axes, "epoch", "z-prior term, nats" if first else "")
    reach = max(np.ptp(drawn), 0.1)
    round_ticks(panels[0].yaxis, 5)
    panels[0].set_ylim(min(drawn) - 0.06 * reach, max(drawn) + 0.06 * reach)
    panel_titles(panels, list(terms), details, 1.95)
    return figure
