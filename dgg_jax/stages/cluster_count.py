"""The number of clusters, estimated without labels, and the evidence for it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dgg_jax import checks

# K until it is estimated: nothing before that depends on it.
UNKNOWN = 2
MIN_ROWS = 100  # of fewer, clusters and chance look alike
# Rows, for which HDBSCAN takes seconds; it takes quadratically more for more.
_SAMPLE = 10_000
_WIDE_SAMPLE = 4_000
_GRID = 17  # minimal sizes: of fewer, two counts often tie
_WIDE = 60  # columns beyond which a search tree is slower than all distances
_MIN_SAMPLES = 10  # the neighbour whose distance says how dense it is around a point


class ClusterCount(NamedTuple):
    """How many clusters there are for each minimal size, and the count that is taken.

    Attributes:
      sizes: the smallest size of a cluster, ascending, of [G].
      counts: clusters found at each, of [G]; below 2 there is no clustering.
      num_clusters: K, the count that most sizes agree on.
    """

    sizes: tuple[int, ...]
    counts: tuple[int, ...]
    num_clusters: int

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ClusterCount":
        """What ``_asdict`` gave, also after a trip through JSON and among more."""
        sizes, counts = tuple(values["sizes"]), tuple(values["counts"])
        return cls(sizes, counts, values["num_clusters"])

    @property
    def is_plateau(self) -> bool:
        """Whether K holds at a quarter of the sizes or more, and no count at more."""
        agreeing = self.counts.count(self.num_clusters)
        most = max(map(self.counts.count, self.counts))
        return agreeing == most and 4 * agreeing >= len(self.counts)

    def describe(self) -> str:
        """The evidence in a sentence, with a warning where it is none."""
        low, high = min(self.counts), max(self.counts)
        text = (
            f"{self.num_clusters} clusters: HDBSCAN finds {self.num_clusters} on "
            f"{self.counts.count(self.num_clusters)} of {len(self.counts)} minimal "
            f"sizes ({low} ... {high})"
        )
        if self.is_plateau:
            return f"{text}."
        return f"{text}; no plateau: do not trust it."


def estimate_num_clusters(
    points: Any,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ClusterCount:
    """Counts clusters by HDBSCAN over a range of minimal sizes.

    From N / 100 to N / 12 on a geometric grid; at least 5. A structure that is there
    is found at many of them, what chance makes at few: the count, from 2 on, that most
    sizes agree on is K, of equals the largest. Points that HDBSCAN calls noise are in
    no cluster.

    Args:
      points: [N, L], where points of a cluster are near; of many, a sample of 10,000
        is taken, of 4,000 if they have more than 60 columns.
      seed: of the sample.
      progress: called with the number of minimal sizes done and in all.

    Returns:
      The count for each minimal size, and K.

    Raises:
      InvalidInput: if there are fewer than 100 points, or no clusters.
    """
    from sklearn.metrics import pairwise_distances  # takes a second to import

    check_num_rows(len(points))
    is_wide = points.shape[1] > _WIDE
    rows = np.random.default_rng(seed).permutation(len(points))
    rows = rows[: _WIDE_SAMPLE if is_wide else _SAMPLE]
    sample = np.asarray(points[np.sort(rows)])
    ends = max(5, len(sample) / 100), len(sample) / 12
    sizes = np.unique(np.geomspace(*ends, _GRID).round().astype(int)).tolist()
    metric = "euclidean"
    if is_wide:
        sample, metric = pairwise_distances(sample), "precomputed"
    counts = []
    for size in sizes:
        counts.append(_count(sample, size, metric))
        progress(len(counts), len(sizes))
    found = [count for count in counts if count >= 2]
    if not found:
        raise checks.InvalidInput(
            "num_clusters=auto finds no clusters: the points are one group, or too "
            "scattered for HDBSCAN; give the number of clusters that you want."
        )
    best = max(found, key=lambda count: (counts.count(count), count))
    return ClusterCount(tuple(sizes), tuple(counts), best)


def _count(points: np.ndarray, size: int, metric: str) -> int:
    from sklearn.cluster import HDBSCAN  # as long

    # Without a copy it overwrites the distances that the next size needs.
    hdbscan = HDBSCAN(
        min_cluster_size=size, min_samples=_MIN_SAMPLES, metric=metric, copy=True
    )
    return int(hdbscan.fit_predict(points).max()) + 1  # noise is -1


def check_num_rows(num_rows: int) -> None:
    """Checks that there are rows enough to count clusters.

    Raises:
      InvalidInput: otherwise.
    """
    if num_rows < MIN_ROWS:
        raise checks.InvalidInput(
            f"num_clusters=auto needs at least {MIN_ROWS} rows, got {num_rows}; give "
            "the number of clusters."
        )
