"""The affinity of neighbours, eq. (32) of DGG."""

import numpy as np

from dgg_jax import checks
from dgg_jax.types import Graph


def neighbor_weights(
    indices: np.ndarray, distances: np.ndarray, kind: str = "uniform"
) -> Graph:
    r"""Weighs the kept neighbours of every point; each row sums to 1.

    "uniform": w_ij = 1 / S, the released code's choice (erratum E6). "gaussian":

    .. math::
      w_{ij} = \frac{1}{a_i} \exp\left( -\frac{d_{ij}^2}{2 s_i^2} \right),

    eq. (32) of DGG, with s_i the distance to the farthest kept neighbour and a_i the
    sum of the row; where all distances are 0, uniform.

    Args:
      indices: neighbours, integers of shape [N, S].
      distances: their Euclidean distances, shape [N, S].
      kind: "uniform" or "gaussian".

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
    indices, distances = np.asarray(indices), np.asarray(distances, np.float64)
    checks.one_of("kind", kind, ("uniform", "gaussian"))
    if indices.ndim != 2 or indices.shape != distances.shape or indices.shape[1] == 0:
        raise checks.InvalidInput(
            "indices and distances must both be [N, S] with S >= 1, got shapes "
            f"{indices.shape} and {distances.shape}."
        )
    affinity = np.ones(distances.shape)
    if kind == "gaussian":
        scale = distances.max(axis=1, keepdims=True)
        scaled = np.divide(
            distances, scale, out=np.zeros_like(distances), where=scale > 0
        )
        affinity = np.exp(-0.5 * scaled**2)
    weights = affinity / affinity.sum(axis=1, keepdims=True)
    return Graph(indices.astype(np.int32), weights.astype(np.float32))
