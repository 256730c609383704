"""Whether clusters are found again: agreement of several clusterings of the same rows.

A run that is repeated with another seed, on other rows, may find other clusters. How
much of them comes back says what may be built upon, without any true label; and what
they have in common is a clustering, too.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from dgg_jax import checks


class Stability(NamedTuple):
    """How much of a clustering is found again.

    Attributes:
      agreement: mean adjusted Rand index with the repetitions; 1: always the same.
      clusters: of each cluster the mean, over the repetitions, of its largest Jaccard
        similarity to one of theirs, [K]; NaN of an empty one. Hennig ("Cluster-wise
        assessment of cluster stability", CSDA 52, 2007) calls 0.75 and more stable and
        less than 0.5 dissolved.
      consensus: what the clustering and the repetitions have in common, int32 [N]; see
        ``consensus``.
    """

    agreement: float
    clusters: np.ndarray
    consensus: np.ndarray


def repetitions(
    num_rows: int, count: int, seed: int
) -> Iterator[tuple[int, np.ndarray]]:
    """The seed and the rows of each repetition: four fifths of all, at random.

    Args:
      num_rows: N.
      count: how many repetitions.
      seed: of all of them.

    Yields:
      A seed, and indices [ceil(0.8 N)] in their order.
    """
    random = np.random.default_rng(seed)
    for repetition in random.integers(2**31 - 1, size=count).tolist():
        rows = random.permutation(num_rows)[: math.ceil(0.8 * num_rows)]
        yield repetition, np.sort(rows)


def stability(
    labels: np.ndarray,
    repeated: Sequence[tuple[np.ndarray, np.ndarray]],
    num_clusters: int,
) -> Stability:
    """Compares clusters with those of repetitions on some of the rows.

    Args:
      labels: in 0..K-1, shape [N].
      repeated: of each repetition the indices of its rows [n] and their labels [n].
      num_clusters: K.

    Raises:
      InvalidInput: if there is no repetition.
    """
    if not repeated:
        raise checks.InvalidInput("repeated must be at least one, got none.")
    agreements, jaccards = [], []
    for rows, theirs in repeated:
        agreements.append(adjusted_rand_score(labels[rows], theirs))
        jaccards.append(_jaccards(labels[rows], theirs, num_clusters))
    found = np.array(jaccards)
    present = np.isfinite(found)
    totals = np.where(present, found, 0.0).sum(axis=0)
    with np.errstate(invalid="ignore"):  # 0 / 0 of an empty cluster
        means = totals / present.sum(axis=0)
    clusterings = [labels]
    for rows, theirs in repeated:
        clusterings.append(np.full(len(labels), -1))
        clusterings[-1][rows] = theirs
    common = consensus(clusterings, num_clusters)
    return Stability(float(np.mean(agreements)), means, common)


def _jaccards(labels: np.ndarray, theirs: np.ndarray, num_clusters: int) -> np.ndarray:
    """The largest Jaccard similarity of each cluster to one of theirs, [K]."""
    names, theirs = np.unique(theirs, return_inverse=True)  # noise, -1, is one
    shared = np.zeros((num_clusters, len(names)))
    np.add.at(shared, (labels, theirs), 1)
    sizes, their_sizes = shared.sum(axis=1), shared.sum(axis=0)
    union = sizes[:, None] + their_sizes[None] - shared
    best = (shared / np.maximum(union, 1)).max(axis=1)
    return np.where(sizes > 0, best, np.nan)


def consensus(
    labelings: Sequence[np.ndarray], num_clusters: int, *, seed: int = 0
) -> np.ndarray:
    """One clustering of several, each of which counts the same.

    Rows and the clusters of all clusterings are the two sides of a graph, with an edge
    from a row to each cluster that it is in; its spectral clustering puts rows together
    that mostly were (Fern and Brodley, "Solving cluster ensemble problems by bipartite
    graph partitioning", ICML 2004). What clusters are called in each is no matter.

    Args:
      labelings: at least one, integers, each of shape [N]; rows that one leaves out,
        or takes for noise, are -1. Every row is in a cluster of one of them.
      num_clusters: K, at most N.
      seed: of K-means.

    Returns:
      Labels in 0..K-1, int32 of shape [N].

    Raises:
      InvalidInput: if they are not of the same rows, or there is none.
    """
    lengths = {np.shape(labels) for labels in labelings}
    if len(lengths) != 1 or len(next(iter(lengths))) != 1:
        raise checks.InvalidInput(
            "labelings must be vectors of one length, of the same rows, got shapes "
            f"{sorted(lengths)}."
        )
    checks.in_range("num_clusters", num_clusters, 1, len(labelings[0]))
    members = np.concatenate([_one_hot(np.asarray(one)) for one in labelings], axis=1)
    weights = members / np.sqrt(members.sum(axis=0))
    weights /= np.sqrt(np.maximum(members.sum(axis=1, keepdims=True), 1.0))
    _, vectors = np.linalg.eigh(weights.T @ weights)
    points = weights @ vectors[:, ::-1][:, :num_clusters]
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    model = KMeans(num_clusters, n_init=10, random_state=seed)
    return model.fit_predict(points / np.maximum(lengths, 1e-12)).astype(np.int32)


def _one_hot(labels: np.ndarray) -> np.ndarray:
    """Of the clusters that there are, float64 [N, C]."""
    return (labels[:, None] == np.unique(labels[labels >= 0])).astype(np.float64)
