"""Pairs of rows of which it is known whether they share a cluster."""

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from dgg_jax import checks
from dgg_jax.types import Array

_UNKNOWN = -1


class Links(NamedTuple):
    """Pairs of rows that must share a cluster, or must not; each of them once.

    Attributes:
      rows: of each pair, int32 of shape [P, 2].
      together: whether they must share one, booleans [P].
    """

    rows: Array
    together: Array

    def held(self, labels: np.ndarray) -> np.ndarray:
        """Which of the links labels [N] are in keeping with, booleans [P]."""
        a, b = labels[self.rows].T
        return (a == b) == self.together


def links_of(
    must_link: Any, cannot_link: Any, num_rows: int, num_clusters: int
) -> Links | None:
    """The links that a user knows, or None if there are none.

    Args:
      must_link: pairs of rows that share a cluster, [P, 2], or None.
      cannot_link: pairs of rows that do not, likewise.
      num_rows: N.
      num_clusters: K.

    Raises:
      InvalidInput: if these are no pairs of different rows, or contradict each other,
        also by way of others: rows that must be with a third must be together.
    """
    must = _pairs("must_link", must_link, num_rows)
    cannot = _pairs("cannot_link", cannot_link, num_rows)
    links = Links(
        np.concatenate([must, cannot]), np.arange(len(must) + len(cannot)) < len(must)
    )
    if not len(links.rows):
        return None
    if len(cannot) and num_clusters == 1:
        raise checks.InvalidInput(
            "cannot_link parts rows, got num_clusters=1; leave it out, or ask for more "
            "clusters."
        )
    rows, groups = _groups(links)
    parted = groups[np.searchsorted(rows, cannot)]
    torn = cannot[parted[:, 0] == parted[:, 1]]
    if len(torn):
        raise checks.InvalidInput(
            f"cannot_link parts rows {torn[0, 0]} and {torn[0, 1]}, which must_link "
            "puts together, itself or by way of other rows; leave one of them out."
        )
    return links


def _pairs(name: str, pairs: Any, num_rows: int) -> np.ndarray:
    """Pairs in ascending order, int32 [P, 2]."""
    try:
        pairs = np.zeros((0, 2), int) if pairs is None else np.asarray(pairs)
    except ValueError:  # lists of different lengths
        raise checks.InvalidInput(
            f"{name} must be pairs of rows, [P, 2], got lists of other lengths."
        ) from None
    if not pairs.size:
        return np.zeros((0, 2), np.int32)
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise checks.InvalidInput(
            f"{name} must be pairs of rows, [P, 2], got shape {pairs.shape}; one pair "
            f"is {name}=[(3, 5)]."
        )
    if pairs.dtype.kind not in "iu":
        raise checks.InvalidInput(
            f"{name} must be numbers of rows, integers, got {pairs.dtype}; of a mask "
            "[N, N], np.argwhere gives them."
        )
    if pairs.min() < 0 or pairs.max() >= num_rows:
        raise checks.InvalidInput(
            f"{name} must have rows in 0..{num_rows - 1}, got values from "
            f"{pairs.min()} to {pairs.max()}; rows are counted from 0."
        )
    alone = pairs[pairs[:, 0] == pairs[:, 1]]
    if len(alone):
        raise checks.InvalidInput(
            f"{name} has row {alone[0, 0]} with itself; leave that pair out."
        )
    return np.unique(np.sort(pairs.astype(np.int32), axis=1), axis=0)


def _groups(links: Links) -> tuple[np.ndarray, np.ndarray]:
    """The rows that have links, ascending, and of each its group: who must be together.

    Groups are numbered by their first row.
    """
    rows, places = np.unique(links.rows, return_inverse=True)
    a, b = places.reshape(-1, 2)[links.together].T
    edges = sparse.coo_array((np.ones(len(a)), (a, b)), shape=(len(rows), len(rows)))
    _, groups = connected_components(edges, directed=False)
    _, first, groups = np.unique(groups, return_index=True, return_inverse=True)
    return rows, np.argsort(np.argsort(first))[groups]


def with_linked(known: np.ndarray, links: Links) -> np.ndarray:
    """Known clusters, also of the rows that must be with known ones, int32 [N].

    Args:
      known: clusters in 0..K-1, or -1 where they are not known, shape [N].
      links: between the rows.

    Raises:
      InvalidInput: if they contradict each other.
    """
    rows, groups = _groups(links)
    told = known[rows]
    cluster = np.full(groups.max() + 1, _UNKNOWN)
    cluster[groups[told != _UNKNOWN]] = told[told != _UNKNOWN]
    found = cluster[groups]
    others = np.flatnonzero((told != _UNKNOWN) & (told != found))
    if len(others):
        one = others[0]
        other = np.flatnonzero((groups == groups[one]) & (told == found[one]))[0]
        raise checks.InvalidInput(
            f"must_link puts rows {rows[one]} and {rows[other]} together, itself or by "
            f"way of other rows, whose clusters by y are {told[one]} and "
            f"{told[other]}; correct one of them."
        )
    known = known.copy()
    known[rows] = found
    a, b = known[links.rows].T
    torn = np.flatnonzero(~links.together & (a == b) & (a != _UNKNOWN))
    if len(torn):
        one, other = links.rows[torn[0]]
        raise checks.InvalidInput(
            f"cannot_link parts rows {one} and {other}, whose cluster by y, or that of "
            f"rows they must be with, is {a[torn[0]]}; correct one of them."
        )
    return known


def held_metrics(links: Links, labels: np.ndarray) -> dict[str, int]:
    """How many links of each kind there are, and hold by labels [N]."""
    hold = links.held(labels)
    return {
        "must_links": int(links.together.sum()),
        "must_links_held": int(hold[links.together].sum()),
        "cannot_links": int((~links.together).sum()),
        "cannot_links_held": int(hold[~links.together].sum()),
    }


def obeying(
    labels: np.ndarray,
    links: Links,
    points: np.ndarray,
    num_clusters: int,
    known: np.ndarray | None = None,
) -> np.ndarray:
    """Labels that are changed where links do not hold, so that these do.

    Rows that must be together form a group, which takes one cluster: that of most of
    its rows, of equals that of the nearest mean. If a group that it must not be with
    has taken it before, it takes the next one that is free; if none is, its first, and
    that link does not hold. Known groups choose first, then large ones, then those that
    lie farthest from the next. This is the assignment of COP-K-means (Wagstaff, Cardie,
    Rogers and Schroedl, ICML 2001), once, of groups and in an order of its own.

    Args:
      labels: clusters in 0..K-1, known ones included, shape [N].
      links: between the rows.
      points: by which clusters are near, shape [N, M].
      num_clusters: K.
      known: as ``with_linked`` returns them, shape [N]; None: no row's is known.

    Returns:
      Labels, int32 of shape [N]; those of rows without links are as they were.
    """
    rows, groups = _groups(links)
    num_groups = groups.max() + 1
    sizes = np.bincount(groups)
    votes = np.zeros((num_groups, num_clusters))
    np.add.at(votes, (groups, labels[rows]), 1)
    distances = np.zeros((num_groups, num_clusters))
    np.add.at(distances, groups, _distances(labels, rows, points, num_clusters))
    distances /= sizes[:, None]
    ranking = np.lexsort((distances, -votes))  # of each group, the best first
    two = np.take_along_axis(distances, ranking[:, :2], axis=1)
    is_known = np.zeros(num_groups, bool)
    if known is not None:
        is_known[groups[known[rows] != _UNKNOWN]] = True
    order = np.lexsort((two[:, 0] - two[:, -1], -sizes, ~is_known))
    parted = groups[np.searchsorted(rows, links.rows[~links.together])]
    others = [[] for _ in range(num_groups)]
    for a, b in parted:
        others[a].append(b)
        others[b].append(a)
    taken = np.full(num_groups, _UNKNOWN)
    for group in order:
        best = ranking[group]
        free = best[~np.isin(best, taken[others[group]])]
        taken[group] = free[0] if len(free) else best[0]
    labels = labels.astype(np.int32)
    labels[rows] = taken[groups]
    return labels


def _distances(
    labels: np.ndarray, rows: np.ndarray, points: np.ndarray, num_clusters: int
) -> np.ndarray:
    """Squared ones of some rows to the means of all clusters; inf if one is empty."""
    points = np.asarray(points, np.float64)
    sums = np.zeros((num_clusters, points.shape[1]))
    np.add.at(sums, labels, points)
    sizes = np.bincount(labels, minlength=num_clusters)[:, None]
    means = np.where(sizes > 0, sums / np.maximum(sizes, 1), np.inf)
    return ((points[rows, None] - means) ** 2).sum(axis=2)
