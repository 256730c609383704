"""The affinity of neighbours, eq. (32) of DGG."""

import numpy as np

from dgg_jax import checks
from dgg_jax.types import Graph


def neighbor_weights(
    indices: np.ndarray, distances: np.ndarray, kind: str = "uniform"
) -> Graph:
    """Weighs the kept neighbours of every point; each row sums to 1.

    "uniform": w_ij = 1 / S, the released code's choice (erratum E6). "gaussian":
    w_ij = exp(-d_ij^2 / (2 s_i^2)) / a_i, eq. (32) of DGG, with s_i the distance to the
    farthest kept neighbour; where all distances are 0, uniform.

    Args:
      indices: neighbours, integers of shape [N, S].
      distances: their Euclidean distances, shape [N, S].
      kind: "uniform" or "gaussian".

    Returns:
      Graph(indices int32, weights float32), both of shape [N, S].

    Raises:
      InvalidInput: if the shapes differ or kind is unknown.
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
