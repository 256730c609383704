"""Labels to start from where the clusters of some rows are known."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from dgg_jax import checks
from dgg_jax.graph.spectral import affinity_matrix
from dgg_jax.types import Graph

UNKNOWN = -1
_HELD = 0.99  # alpha of the spreading: what comes from neighbours, not from oneself
_STEPS = 50
_FOLDS = 5


def start_from(
    starts: np.ndarray,
    known: np.ndarray,
    graphs: Mapping[str, Graph],
    num_clusters: int,
    seed: int,
) -> tuple[np.ndarray, list[dict[str, float | str]]]:
    """Orders labels to start from by the known rows, and calls clusters by their names.

    Beside the clusterings that are given, the known labels are spread along each graph.
    What is right for more of the known rows comes first: of clusterings under the best
    one-to-one map of clusters to classes, of the spreading where they were held out. Of
    equals it is what came first.

    Args:
      starts: clusterings, the best first, shape [C, N].
      known: clusters in 0..K-1, or -1 where they are not known, shape [N].
      graphs: of the neighbours of all rows, [N, S], by where these are near.
      num_clusters: K.
      seed: of the folds.

    Returns:
      Labels [C + G, N], the best first, in which the known rows have their own; and of
      each what it is and the accuracy it was ranked by.
    """
    named = [renamed(labels, known, num_clusters) for labels in starts]
    given = known != UNKNOWN
    ranks = [float((labels[given] == known[given]).mean()) for labels in named]
    told = [f"clustering {i + 1}" for i in range(len(starts))]
    for name, graph in graphs.items():
        named.append(spreading(graph, known, num_clusters))
        ranks.append(_held_out_accuracy(graph, known, num_clusters, seed))
        told.append(f"spreading, {name}")
    order = sorted(range(len(ranks)), key=lambda i: -ranks[i])
    labels = np.where(given, known, np.stack(named)[order])
    reports = [{"start": told[i], "known_accuracy": ranks[i]} for i in order]
    return labels.astype(np.int32), reports


def renamed(labels: np.ndarray, known: np.ndarray, num_clusters: int) -> np.ndarray:
    """Labels [N], clusters called so that most of the known rows agree with them."""
    given = known != UNKNOWN
    shared = np.zeros((num_clusters, num_clusters))
    np.add.at(shared, (labels[given], known[given]), 1)
    clusters, classes = linear_sum_assignment(shared, maximize=True)
    name = np.empty(num_clusters, np.int32)
    name[clusters] = classes
    return name[labels]


def spreading(graph: Graph, known: np.ndarray, num_clusters: int) -> np.ndarray:
    """Known labels, spread along the graph to all rows, int32 [N].

    F <- alpha S F + (1 - alpha) Y with the normalised affinity S (Zhou, Bousquet, Lal,
    Weston and Schoelkopf, "Learning with local and global consistency", NIPS 2003), and
    each class weighed so that all have the same share.

    Args:
      graph: of the neighbours of all rows, [N, S].
      known: clusters in 0..K-1, or -1 where they are not known, shape [N].
      num_clusters: K.
    """
    affinity = affinity_matrix(graph)
    scale = 1.0 / np.sqrt(affinity.sum(axis=1))
    told = (known[:, None] == np.arange(num_clusters)).astype(np.float64)
    found = told
    for _ in range(_STEPS):
        spread = scale[:, None] * (affinity @ (scale[:, None] * found))
        found = _HELD * spread + (1.0 - _HELD) * told
    shares = found / np.maximum(found.sum(axis=0), 1e-300)
    return shares.argmax(axis=1).astype(np.int32)


def _held_out_accuracy(
    graph: Graph, known: np.ndarray, num_clusters: int, seed: int
) -> float:
    """How many of the known rows the spreading of the others gives their own label."""
    given = np.flatnonzero(known != UNKNOWN)
    order = np.random.default_rng(seed).permutation(given)
    right = 0
    for fold in range(min(_FOLDS, len(order))):
        held = order[fold::_FOLDS]
        rest = known.copy()
        rest[held] = UNKNOWN
        right += int((spreading(graph, rest, num_clusters)[held] == known[held]).sum())
    return right / len(order)


def known_labels(
    y: Sequence[int] | np.ndarray | None, num_rows: int, num_clusters: int
) -> np.ndarray | None:
    """Known clusters as int32 [N]; None if y tells none or, without a -1, is no such.

    Args:
      y: integers in -1..K-1, [N], or whatever is given to ``fit`` as y.
      num_rows: N.
      num_clusters: K.

    Raises:
      InvalidInput: if it has a -1 and is not like this.
    """
    if y is None:
        return None
    y = np.asarray(y)
    if y.dtype.kind not in "iu" or not (y == UNKNOWN).any():
        return None
    if y.shape != (num_rows,):
        raise checks.InvalidInput(
            f"y must be [{num_rows}], the known cluster of each row or -1, got shape "
            f"{y.shape}."
        )
    if y.min() < UNKNOWN or y.max() >= num_clusters:
        raise checks.InvalidInput(
            f"y must be in -1..{num_clusters - 1}, -1 where the cluster is not known, "
            f"got values from {y.min()} to {y.max()}."
        )
    return y.astype(np.int32) if (y != UNKNOWN).any() else None
