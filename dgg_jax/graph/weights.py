"""The affinity of neighbours: eq. (32) of DGG, and one of local scales."""

import numpy as np

from dgg_jax import checks
from dgg_jax.types import Graph

_LOCAL_NEIGHBOR = 7
_LEAST_AFFINITY = 1e-6


def neighbor_weights(
    indices: np.ndarray,
    distances: np.ndarray,
    kind: str = "uniform",
    kernel_neighbor: int = 0,
) -> Graph:
    r"""Weighs the kept neighbours of every point; each row sums to 1.

    "uniform": w_ij = 1 / S, the released code's choice (erratum E6). "gaussian":

    .. math::
      w_{ij} = \frac{1}{a_i} \exp\left( -\frac{d_{ij}^2}{2 s_i^2} \right),

    eq. (32) of DGG, with a_i the sum of the row. The paper calls s_i predefined and no
    more: here it is the distance to one of the kept neighbours. With the farthest no
    weight is more than exp(1/2) times another, which is nearly uniform (erratum E6).
    Where s_i is 0, neighbours at that distance share the row; if all are, uniform.

    Args:
      indices: neighbours, integers of shape [N, S].
      distances: their Euclidean distances, shape [N, S].
      kind: "uniform" or "gaussian".
      kernel_neighbor: which neighbour s_i is the distance to, 1 the nearest and so on,
        S if it is more; 0: the farthest.

    Returns:
      Graph(indices int32, weights float32), both of shape [N, S].

    Raises:
      InvalidInput: if the shapes differ or kind is unknown.

    Example:
      >>> from dgg_jax.graph import knn, neighbor_weights
      >>> neighbors = knn([[0.0], [1.0], [3.0]], k=2)
      >>> neighbor_weights(*neighbors, "gaussian").weights.round(2)
      array([[0.61, 0.39],
             [0.59, 0.41],
             [0.57, 0.43]], dtype=float32)
    """
    checks.one_of("kind", kind, ("uniform", "gaussian"))
    indices, distances = _checked(indices, distances)
    affinity = np.ones(distances.shape)
    if kind == "gaussian":
        most = distances.shape[1]
        nearest = np.sort(distances, axis=1)
        rank = min(kernel_neighbor or most, most)
        scale = nearest[:, rank - 1, None]
        safe = np.where(scale > 0, scale, 1.0)
        affinity = np.where(
            scale > 0, np.exp(-0.5 * (distances / safe) ** 2), distances == 0
        )
    weights = affinity / affinity.sum(axis=1, keepdims=True)
    return Graph(indices, weights.astype(np.float32))


def weighted_graph(graph: Graph, sample_weight: np.ndarray) -> Graph:
    r"""The graph of points that each count by a weight, as if copies were neighbours.

    .. math:: w_{ij} \leftarrow \frac{s_j w_{ij}}{\sum_l s_l w_{il}}

    A point of s = 2 is then there twice among the neighbours of another, one of s = 0
    nowhere. A point all of whose neighbours have s = 0 is its own neighbour.

    Args:
      graph: indices and weights w, shape [N, S].
      sample_weight: s, at least 0, shape [N].

    Returns:
      Graph of shape [N, S], whose rows of weights sum to 1.

    Example:
      >>> import numpy as np
      >>> from dgg_jax.graph import knn, neighbor_weights, weighted_graph
      >>> graph = neighbor_weights(*knn([[0.0], [1.0], [3.0]], k=2))
      >>> weighted_graph(graph, np.array([3.0, 1.0, 0.0]))
      Graph(indices=array([[1, 2],
             [0, 2],
             [1, 0]], dtype=int32), weights=array([[1.  , 0.  ],
             [1.  , 0.  ],
             [0.25, 0.75]], dtype=float32))
    """
    indices, weights = np.asarray(graph.indices), np.asarray(graph.weights, np.float64)
    counted = weights * np.asarray(sample_weight, np.float64)[indices]
    total = counted.sum(axis=1, keepdims=True)
    is_alone = total == 0
    own = np.arange(len(indices), dtype=indices.dtype)[:, None]
    indices = np.where(is_alone, own, indices)
    weights = np.where(is_alone, 1.0 / indices.shape[1], counted / (total + is_alone))
    return Graph(indices, weights.astype(np.float32))


def local_affinity(indices: np.ndarray, distances: np.ndarray) -> Graph:
    r"""Affinities by the distances that are usual at either end of an edge.

    .. math::
      w_{ij} = \exp\left( -\frac{d_{ij}^2}{\sigma_i \sigma_j} \right),

    with sigma_i the distance to the seventh neighbour (Zelnik-Manor and Perona,
    "Self-tuning spectral clustering", NIPS 2004, eq. 6). What is far for its
    surroundings hardly counts: of clusters that have fewer points than neighbours are
    asked for, and of sparse ones beside dense ones, spectral clustering finds more.

    Args:
      indices: neighbours, integers of shape [N, S].
      distances: their Euclidean distances, shape [N, S], ascending.

    Returns:
      Graph(indices int32, weights float32), both of shape [N, S]; rows have no fixed
      sum.

    Raises:
      InvalidInput: if the shapes differ.

    Example:
      >>> from dgg_jax.graph import knn, local_affinity
      >>> local_affinity(*knn([[0.0], [1.0], [3.0]], k=2)).weights.round(2)
      array([[0.85, 0.37],
             [0.85, 0.51],
             [0.51, 0.37]], dtype=float32)
    """
    indices, distances = _checked(indices, distances)
    usual = distances[:, min(_LOCAL_NEIGHBOR, distances.shape[1]) - 1]
    scale = np.maximum(usual[:, None] * usual[indices], np.finfo(np.float64).tiny)
    # An edge stays one: a point between copies of others would have none else.
    with np.errstate(over="ignore"):  # of one between copies
        affinity = np.maximum(np.exp(-(distances**2) / scale), _LEAST_AFFINITY)
    return Graph(indices, affinity.astype(np.float32))


def _checked(
    indices: np.ndarray, distances: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    indices, distances = np.asarray(indices), np.asarray(distances, np.float64)
    if indices.ndim != 2 or indices.shape != distances.shape or indices.shape[1] == 0:
        raise checks.InvalidInput(
            "indices and distances must both be [N, S] with S >= 1, got shapes "
            f"{indices.shape} and {distances.shape}."
        )
    return indices.astype(np.int32), distances
