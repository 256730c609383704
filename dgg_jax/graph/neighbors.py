"""The k nearest neighbours of every point, without an N x N matrix."""

import os
from collections.abc import Callable
from concurrent import futures

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.spatial import KDTree
from sklearn.neighbors import NearestNeighbors

from dgg_jax import checks
from dgg_jax.log import LOGGER
from dgg_jax.placement.devices import compiled
from dgg_jax.placement.rows import HostRows, SparseRows
from dgg_jax.storage import arrays

EXACT_LIMIT = 200_000  # rows up to which the exact search is the default
# Distances by their products are rounded; this many more candidates than asked
# for are ranked again by the distances of their differences.
SPARE_CANDIDATES = 16
_RECALL_ROWS = 1_000
_TREE_COLUMNS = 10  # at most, for a tree to be faster than products on a CPU
_GROUP = 16  # scores whose maximum is looked at before them
_BLOCK_SIZE = 2048
_LEAST_DESCENDED = 16  # neighbours of a point in the approximate search
_ROWS_ON_CPU = 128  # compared at once; more are no faster and leave the caches
_BLOCKS_ON_CPU = 8  # at once, at most


def knn(
    x: ArrayLike | sparse.csr_array | SparseRows | HostRows,
    k: int,
    *,
    method: str | None = None,
    block_size: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest other points of every point.

    The exact search multiplies blocks of rows with all points, which takes most of its
    time, looks for the largest products by the maxima of groups of them, and ranks what
    remains by its distances. Blocks are spread over all devices and, after
    ``jax.distributed.initialize``, over the processes: each must call it with the same
    x, and all get the whole result. Beside the points, a device holds block_size * N
    distances twice, a CPU 128 * N at most eight times. Of at most 10 columns, a CPU
    searches a tree. The approximate search is pynndescent, an optional extra.

    Args:
      x: points, shape [N, D]; the exact search makes a sparse matrix dense, the
        approximate one does not.
      k: neighbours a point; cut to N - 1 with a warning.
      method: "exact" or "approximate"; by default exact up to 200,000 rows.
      block_size: rows of one block of the exact search; 2,048 by default.
      progress: called with (rows done, N) after every block of the exact search; where
        there are several processes, with those of this process.

    Returns:
      indices, int32 of shape [N, k], and Euclidean distances (not squared), float32 of
      shape [N, k], ascending. A point is not its own neighbour, by index: among
      duplicates the others stay, at distance 0.

    Raises:
      InvalidInput: if x is no matrix of at least 2 rows, k or block_size is below 1, or
        method is unknown.
      NotInstalled: if method is "approximate" and pynndescent is missing.

    Example:
      >>> from dgg_jax.graph import knn
      >>> indices, distances = knn([[0.0], [1.0], [3.0]], k=2)
      >>> indices
      array([[1, 2],
             [0, 2],
             [1, 0]], dtype=int32)
      >>> distances
      array([[1., 3.],
             [1., 2.],
             [2., 3.]], dtype=float32)
    """
    x = x.matrix() if isinstance(x, SparseRows) else x
    x = x.source if isinstance(x, HostRows) else x
    x = x if sparse.issparse(x) else np.asarray(x, np.float32)
    if method is None:
        # What is no matrix is refused below.
        num_points = x.shape[0] if x.ndim else 0
        method = "exact" if num_points <= EXACT_LIMIT else "approximate"
    checks.one_of("method", method, ("exact", "approximate"))
    if x.ndim != 2 or x.shape[0] < 2:
        raise checks.InvalidInput(
            f"x must be a matrix of at least 2 rows, got shape {x.shape}."
        )
    checks.in_range("k", k, 1)
    if block_size is not None:
        checks.in_range("block_size", block_size, 1)
    others = x.shape[0] - 1
    if k > others:
        LOGGER.warning("k=%d exceeds the %d other points; using %d.", k, others, others)
        k = others
    if method == "approximate":
        return _approximate(x, k)
    x = np.asarray(x.toarray(), np.float32) if sparse.issparse(x) else x
    return _exact_by_process(x, k, block_size, progress)


def _exact_by_process(
    x: np.ndarray,
    k: int,
    block_size: int | None,
    progress: Callable[[int, int], None],
) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours of all rows, of which each process searches an equal share."""
    num_processes = jax.process_count()
    share = -(-len(x) // num_processes)
    # The last shares overlap those before, so that all have one shape.
    starts = [min(i * share, len(x) - share) for i in range(num_processes)]
    rows = starts[jax.process_index()] + np.arange(share)
    found = _exact(x, rows, k, block_size, progress)
    if num_processes == 1:
        return found
    indices = np.empty((len(x), k), np.int32)
    distances = np.empty((len(x), k), np.float32)
    for start, *block in zip(
        starts, *multihost_utils.process_allgather(found), strict=True
    ):
        rows = slice(start, start + share)
        indices[rows], distances[rows] = block
    return indices, distances


def _exact(
    x: np.ndarray,
    rows: np.ndarray,
    k: int,
    block_size: int | None,
    progress: Callable[[int, int], None],
) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours of some rows of x; indices and distances of shape [rows, k]."""
    if jax.default_backend() == "cpu" and x.shape[1] <= _TREE_COLUMNS:
        return _by_tree(x, rows, k, block_size, progress)
    return _by_products(x, rows, k, block_size, progress)


def _by_tree(
    x: np.ndarray,
    rows: np.ndarray,
    k: int,
    block_size: int | None,
    progress: Callable[[int, int], None],
) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours of some rows of x by a tree of the points, on all cores."""
    tree = KDTree(x)
    block_size = block_size or _BLOCK_SIZE
    num_candidates = min(k + 1 + SPARE_CANDIDATES, len(x))
    indices = np.empty((len(rows), k), np.int32)
    distances = np.empty((len(rows), k), np.float32)
    is_tied = np.zeros(len(rows), bool)
    for start in range(0, len(rows), block_size):
        block = slice(start, min(start + block_size, len(rows)))
        lengths, candidates = tree.query(x[rows[block]], num_candidates, workers=-1)
        lengths = lengths.astype(np.float32)  # so that ties are those of the result
        farthest = lengths[:, -1].copy()
        lengths[candidates == rows[block, None]] = np.inf  # the point itself
        order = np.lexsort((candidates, lengths))[:, :k]  # by length, then by index
        indices[block] = np.take_along_axis(candidates, order, axis=1)
        distances[block] = np.take_along_axis(lengths, order, axis=1)
        if num_candidates < len(x):
            is_tied[block] = distances[block, -1] >= farthest
        progress(block.stop, len(rows))
    if is_tied.any():
        # Any of the equally distant may be missing: products find the first of them.
        indices[is_tied], distances[is_tied] = _by_products(
            x, rows[is_tied], k, block_size, lambda done, total: None
        )
    return indices, distances


def _by_products(
    x: np.ndarray,
    rows: np.ndarray,
    k: int,
    block_size: int | None,
    progress: Callable[[int, int], None],
) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours of some rows of x by blocks of products, on all devices."""
    devices = jax.local_devices()
    on_cpu = devices[0].platform == "cpu"
    block_size = min(block_size or _BLOCK_SIZE, len(rows))
    at_once = min(block_size, _ROWS_ON_CPU) if on_cpu else block_size
    # Two blocks a device, so that one is computed while the other is copied. On a CPU
    # products use all cores, but selection one: a block for each.
    cores = min(os.cpu_count() or 1, _BLOCKS_ON_CPU)
    in_flight = max(len(devices), cores) if on_cpu else 2 * len(devices)

    padding = -len(x) % _GROUP
    # In one piece, which is not copied again: with the data it is what takes memory.
    points = arrays.aligned_empty((len(x) + padding, x.shape[1]), x.dtype)
    # Distances do not change; products of small numbers lose less.
    np.subtract(x, x.mean(axis=0), out=points[: len(x)])
    points[len(x) :] = 0.0
    # The nearest have the largest p q - |q|^2 / 2 = (|p|^2 - |p - q|^2) / 2.
    half_norms = np.full(len(points), np.inf, x.dtype)
    for start in range(0, len(x), _BLOCK_SIZE):
        block = slice(start, min(start + _BLOCK_SIZE, len(x)))
        half_norms[block] = 0.5 * np.sum(points[block] ** 2, axis=1)
    copies = [jax.device_put((points, half_norms), device) for device in devices]
    num_candidates = min(k + 1 + SPARE_CANDIDATES, len(x))

    def search(number: int, start: int) -> tuple[np.ndarray, np.ndarray]:
        block = rows[start : start + block_size].astype(np.int32)
        operands = copies[number % len(devices)]
        return jax.device_get(
            _nearest_in_block(*operands, block, k, num_candidates, at_once)
        )

    indices = np.empty((len(rows), k), np.int32)
    distances = np.empty((len(rows), k), np.float32)
    # The last block overlaps the one before, so that all have one shape.
    starts = [
        min(start, len(rows) - block_size) for start in range(0, len(rows), block_size)
    ]
    # Threads, because a CPU computes within the call that asks it to.
    pool = futures.ThreadPoolExecutor(in_flight)
    try:
        found = pool.map(search, *zip(*enumerate(starts), strict=True))
        for start, (indices_found, distances_found) in zip(starts, found, strict=True):
            block = slice(start, start + block_size)
            indices[block], distances[block] = indices_found, distances_found
            progress(block.stop, len(rows))
    finally:  # progress may raise, to stop the run
        pool.shutdown(cancel_futures=True)
    return indices, distances


@compiled(static_argnames=("k", "num_candidates", "at_once"))
def _nearest_in_block(points, half_norms, rows, k, num_candidates, at_once):
    def candidates_of(row):
        # Not in TF32, the default of recent GPUs: spare candidates would not suffice.
        highest = jax.lax.Precision.HIGHEST
        products = jnp.matmul(points[row], points.T, precision=highest)
        return largest(products - half_norms, num_candidates)

    def nearest(row, candidates):
        squared = jnp.sum((points[candidates] - points[row][None]) ** 2, axis=1)
        # Left out only here: among duplicates it need not come first.
        squared = jnp.where(candidates == row, jnp.inf, squared)
        # Of equal ones the first, which is the one of the smallest index.
        negated, order = jax.lax.top_k(-squared, k)
        return candidates[order], jnp.sqrt(-negated)

    # One after the other in one program, because they then share one buffer.
    candidates = jax.lax.map(candidates_of, rows, batch_size=at_once)
    # Fewer at once: their differences have D numbers a candidate.
    return jax.lax.map(
        lambda pair: nearest(*pair),
        (rows, candidates),
        batch_size=max(1, at_once // 16),
    )


def largest(scores: jax.Array, count: int) -> jax.Array:
    """Indices of the largest scores, ascending; of equal ones the first.

    Much faster on a CPU than ``jax.lax.top_k``, if they are few of many.

    They lie in the groups of scores that have the ``count`` largest maxima: any other
    group has that many before it, each with a score that comes before all of its own.

    Args:
      scores: shape [N].
      count: at most N.
    """
    if len(scores) < 2 * _GROUP * count:  # the groups would leave half of them or more
        return jnp.sort(jax.lax.top_k(scores, count)[1])
    scores = jnp.pad(scores, (0, -len(scores) % _GROUP), constant_values=-jnp.inf)
    scores = scores.reshape(-1, _GROUP)
    groups = largest(scores.max(axis=1), count)
    indices = groups[:, None] * _GROUP + jnp.arange(_GROUP, dtype=groups.dtype)[None]
    best = jax.lax.top_k(scores[groups].ravel(), count)[1]
    return jnp.sort(indices.ravel()[best])


def _approximate(
    x: np.ndarray | sparse.csr_array, k: int
) -> tuple[np.ndarray, np.ndarray]:
    num_points = x.shape[0]
    _check_installed(num_points, "or ask for method='exact'")
    import pynndescent  # of an extra

    # With a fixed seed, so that the graph is a function of the data alone. It goes from
    # neighbours to theirs: of few it misses some.
    most = min(max(k + 1, _LEAST_DESCENDED), num_points)
    index = pynndescent.NNDescent(x, n_neighbors=most, random_state=0)
    indices, distances = (found[:, : k + 1] for found in index.neighbor_graph)
    # The point itself is first unless duplicates displace it: mark it, or else the
    # farthest, and take the rest in order.
    itself = indices == np.arange(num_points)[:, None]
    itself[~itself.any(axis=1), -1] = True
    indices = indices[~itself].reshape(num_points, k)
    distances = distances[~itself].reshape(num_points, k)

    rows = np.random.default_rng(0).choice(
        num_points, min(_RECALL_ROWS, num_points), replace=False
    )
    if sparse.issparse(x):
        exact = _exact_of_sparse(x, rows, k)
    else:
        exact, _ = _exact(x, rows, k, None, lambda done, total: None)
    found = [np.isin(a, b).mean() for a, b in zip(exact, indices[rows], strict=True)]
    LOGGER.debug(
        "Approximate kNN graph of %d rows; recall on %d sampled rows: %.4f.",
        num_points,
        len(rows),
        np.mean(found),
    )
    return indices.astype(np.int32), distances.astype(np.float32)


def check_search(num_points: int) -> None:
    """Checks, before any long work, that neighbours of so many rows can be found.

    Raises:
      NotInstalled: if the search is the approximate one and pynndescent is missing.
    """
    if num_points > EXACT_LIMIT:
        _check_installed(
            num_points, "or in Python hand in those of graph.knn(x, k, method='exact')"
        )


def _check_installed(num_points: int, otherwise: str) -> None:
    purpose = f"the approximate kNN graph of {num_points:,} rows"
    checks.installed("approximate", purpose, otherwise)


def _exact_of_sparse(x: sparse.csr_array, rows: np.ndarray, k: int) -> np.ndarray:
    """Indices of the k nearest other points of some rows, shape [rows, k]."""
    search = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(x)
    indices = search.kneighbors(x[rows], return_distance=False)
    itself = indices == rows[:, None]
    itself[~itself.any(axis=1), -1] = True
    return indices[~itself].reshape(len(rows), k)
