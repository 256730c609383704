"""The similarity graph: neighbours, weights, smoothing, spectral clustering."""

from dgg_jax.graph.neighbors import knn
from dgg_jax.graph.smoothing import smoothing_operator
from dgg_jax.graph.spectral import graph_information, spectral_labels
from dgg_jax.graph.weights import local_affinity, neighbor_weights, weighted_graph

__all__ = [
    "graph_information",
    "knn",
    "local_affinity",
    "neighbor_weights",
    "smoothing_operator",
    "spectral_labels",
    "weighted_graph",
]
