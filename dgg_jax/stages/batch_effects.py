"""Points without what they have of the batch that they were measured in."""

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import euclidean_distances

from dgg_jax.placement.rows import threads_for

_COMPONENTS = 30
_ROUNDS = 10
_BALANCINGS = 5
_ROWS_OF_A_GROUP = 150
_MOST_GROUPS = 50
_WIDTH = 0.2  # of the mean squared distance to a group's centre, where groups blur
_RIDGE = 10.0  # rows of a group and batch that are believed as much as all others


def without_batch_effects(
    points: np.ndarray, batch: np.ndarray, seed: int
) -> np.ndarray:
    """Moves points so that batches lie over each other, group by group.

    As Harmony (Korsunsky et al., "Fast, sensitive and accurate integration of
    single-cell data with Harmony", Nature Methods 2019): points are grouped by K-means,
    softly, and the more to a group the fewer of their batch are in it; what each batch
    adds to a group is estimated by ridge regression and taken away, and so on from
    where the points lie then. A batch adds the same to all groups, which is fitted
    beside what groups differ in, and something of its own to each that has rows of it.
    So a group that one batch alone has stays where it is beside the others: where each
    batch were just brought to one mean, it would be moved with them, and they with it.
    What a batch adds to one group alone is not seen where it is several times as large
    as the group: its batches are then groups of their own.

    Args:
      points: where distances are compared, shape [N, D].
      batch: in 0..M-1, shape [N].
      seed: of K-means.

    Returns:
      float32 [N, D]; their mean stays.

    Example:
      >>> import numpy as np
      >>> from dgg_jax.stages.batch_effects import without_batch_effects
      >>> points = np.array([[0.0], [1.0], [10.0], [11.0]])
      >>> without_batch_effects(points, np.array([0, 0, 1, 1]), seed=0)
      array([[5.],
             [6.],
             [5.],
             [6.]], dtype=float32)
    """
    points = np.asarray(points, np.float64)
    counts = np.bincount(batch)
    means = np.stack([points[batch == b].mean(axis=0) for b in range(len(counts))])
    moved = points - (means - points.mean(axis=0))[batch]
    num_groups = min(_MOST_GROUPS, len(points) // _ROWS_OF_A_GROUP)
    if num_groups < 2:
        return moved.astype(np.float32)
    # Components of what is moved so: the first ones of points are of the batches.
    before = points
    if min(points.shape) > _COMPONENTS:
        components = PCA(_COMPONENTS, svd_solver="randomized", random_state=0)
        moved = components.fit_transform(moved)
        before = components.transform(points)
    for _ in range(_ROUNDS):
        of_groups = _memberships(moved, batch, num_groups, seed)
        moved = before - of_groups @ _added(before, of_groups, counts)
    return (points - of_groups @ _added(points, of_groups, counts)).astype(np.float32)


def _memberships(
    points: np.ndarray, batch: np.ndarray, num_groups: int, seed: int
) -> np.ndarray:
    """Shares of each point in every group and its batch, [N, G M], of sum 1.

    They are exp(-d^2) of the distances to the centres of K-means, blurred, times how
    many rows of a batch a group would have by chance, over how many it has: Harmony's
    diversity penalty, with theta = 1. The centres stay: where they follow the shares,
    as there, groups of the planted cells of experiments.batches run into each other.
    """
    with threads_for(len(points)):
        fitted = KMeans(num_groups, n_init=1, random_state=seed).fit(points)
    squared = euclidean_distances(points, fitted.cluster_centers_, squared=True)
    least = squared.min(axis=1, keepdims=True)
    near = np.exp((least - squared) / max(_WIDTH * least.mean(), 1e-30))
    shares = near / near.sum(axis=1, keepdims=True)
    batches = np.eye(batch.max() + 1)[batch]
    for _ in range(_BALANCINGS):
        held = shares.T @ batches  # rows of each batch in a group, [G, M]
        expected = np.outer(shares.sum(axis=0), batches.mean(axis=0))
        shares = near * ((expected + 1.0) / (held + 1.0))[:, batch].T
        shares /= shares.sum(axis=1, keepdims=True)
    return (shares[:, :, None] * batches[:, None]).reshape(len(points), -1)


def _added(points: np.ndarray, of_groups: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """What a batch adds to the points [N, D] of a group, [G M, D].

    Args:
      points: as they were measured.
      of_groups: of ``_memberships``, [N, G M].
      counts: rows of each batch, [M].
    """
    num_batches = len(counts)
    num_groups = of_groups.shape[1] // num_batches
    sizes = of_groups.sum(axis=0)[:, None]
    means = of_groups.T @ points / np.maximum(sizes, 1e-9)
    # What is of the group, and what of the batch, of the mean of both.
    design = np.concatenate(
        [
            np.repeat(np.eye(num_groups), num_batches, axis=0),
            np.tile(np.eye(num_batches), (num_groups, 1)),
        ],
        axis=1,
    )
    weights = np.sqrt(sizes)
    fitted = np.linalg.lstsq(weights * design, weights * means, rcond=1e-9)[0]
    of_batches = fitted[num_groups:] - counts @ fitted[num_groups:] / counts.sum()
    of_batches = np.tile(of_batches, (num_groups, 1))
    own = sizes / (sizes + _RIDGE) * (means - design @ fitted)
    return of_batches + own
