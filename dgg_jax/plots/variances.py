"""The variances of the mixture's components."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dgg_jax.plots.palette import MUTED, cluster_color
from dgg_jax.plots.panels import TEXT_SIZE, panel_grid, title

_LARGEST_LOGVAR = 80.0


def variances(mixture_logvar: np.ndarray) -> np.ndarray:
    """Returns exp of the log-variances, capped so that a diverged run still draws."""
    logvar = np.nan_to_num(np.asarray(mixture_logvar, dtype=float))
    return np.exp(np.clip(logvar, -_LARGEST_LOGVAR, _LARGEST_LOGVAR))


def component_variances(mixture_logvar: np.ndarray) -> Figure:
    """Draws sigma^2 of each latent dimension for each component.

    The right part of figure 2 of DGG: the bar at row i is the i-th element of
    sigma_k^2. All components share one scale.

    Args:
      mixture_logvar: natural log of the variances, shape [K, L].

    Returns:
      The figure, one panel for each component.

    Raises:
      ValueError: if the log-variances are not a matrix.
    """
    if np.ndim(mixture_logvar) != 2:
        raise ValueError(
            f"mixture_logvar must have shape [K, L], got {np.shape(mixture_logvar)}."
        )
    variance = variances(mixture_logvar)
    num_clusters, num_latents = variance.shape
    figure, panels = panel_grid(
        num_clusters,
        5 if num_clusters <= 10 else 8,
        1.5 if num_clusters <= 10 else 1.05,
        0.7 + max(0.55, 0.095 * min(num_latents, 40)),
        sharex=True,
        sharey=True,
    )
    dimensions = np.arange(num_latents)
    for cluster, axes in enumerate(panels):
        axes.barh(dimensions, variance[cluster], 0.7, color=cluster_color(cluster))
        title(axes, f"cluster {cluster}" if num_clusters <= 10 else f"{cluster}")
    panels[0].set_ylim(num_latents - 0.4, -0.6)
    panels[0].set_xlim(left=0.0)
    panels[0].xaxis.set_major_locator(MaxNLocator(2))
    panels[0].set_yticks(range(0, num_latents, max(1, num_latents // 5)))
    figure.supxlabel("variance", fontsize=TEXT_SIZE, color=MUTED)
    figure.supylabel("latent dimension", fontsize=TEXT_SIZE, color=MUTED)
    return figure
