"""Figures: pure functions from numpy arrays to matplotlib figures, without pyplot."""

from dgg_jax.plots.accuracies import run_accuracies
from dgg_jax.plots.captioned_images import captioned_images
from dgg_jax.plots.cluster_counts import cluster_counts
from dgg_jax.plots.confusion import confusion_matrix
from dgg_jax.plots.curves import training_curves
from dgg_jax.plots.densities import density_panels
from dgg_jax.plots.epochs import accuracy_by_epoch
from dgg_jax.plots.graphs import GraphPanel, graph_panels
from dgg_jax.plots.latent_traversals import traversals
from dgg_jax.plots.latents import LatentMap, latent_map, latent_picture, tsne
from dgg_jax.plots.orientations import divergence_by_orientation
from dgg_jax.plots.planes import PlanePanel, plane_panels
from dgg_jax.plots.priors import prior_terms
from dgg_jax.plots.ranks import rank_diagram
from dgg_jax.plots.reliability import reliability
from dgg_jax.plots.right_and_wrong import RightPanel, right_and_wrong
from dgg_jax.plots.sample_grids import sample_panels
from dgg_jax.plots.samples import cluster_samples
from dgg_jax.plots.scatter import points
from dgg_jax.plots.seconds import accuracy_by_seconds
from dgg_jax.plots.sizes import cluster_sizes
from dgg_jax.plots.variances import component_variances

__all__ = [
    "GraphPanel",
    "LatentMap",
    "PlanePanel",
    "RightPanel",
    "accuracy_by_epoch",
    "accuracy_by_seconds",
    "captioned_images",
    "cluster_counts",
    "cluster_samples",
    "cluster_sizes",
    "component_variances",
    "confusion_matrix",
    "density_panels",
    "divergence_by_orientation",
    "graph_panels",
    "latent_map",
    "latent_picture",
    "plane_panels",
    "points",
    "prior_terms",
    "rank_diagram",
    "reliability",
    "right_and_wrong",
    "run_accuracies",
    "sample_panels",
    "training_curves",
    "traversals",
    "tsne",
]
