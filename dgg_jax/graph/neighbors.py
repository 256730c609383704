"""The k nearest neighbours of every point, without an N x N matrix."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from numpy.typing import ArrayLike
from scipy import sparse

from dgg_jax import checks
from dgg_jax.rows import HostRows, SparseRows

EXACT_LIMIT = 200_000  # rows up to which the exact search is the default
# Squared distances by ab - 2 ab + bb are rounded; this many more candidates than asked
# for are ranked again by the distances of their differences.
_SPARE_CANDIDATES = 16
_RECALL_ROWS = 1_000


def knn(
    x: ArrayLike | sparse.csr_array | SparseRows | HostRows,
    k: int,
    *,
    metric: str = "euclidean",
    method: str | None = None,
    block_size: int = 512,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest other points of every point.

    The exact search compares blocks of rows with all points on the device: memory is
    block_size * N distances. The approximate one is pynndescent, an optional extra.

    Args:
      x: points, shape [N, D]; the exact search makes a sparse matrix dense, the
        approximate one does not.
      k: neighbours a point; cut to N - 1 with a warning.
      metric: "euclidean".
      method: "exact" or "approximate"; by default exact up to 200,000 rows.
      block_size: rows of one block of the exact search.
      progress: called with (rows done, N) after every block of the exact search.

    Returns:
      indices, int32 of shape [N, k], and distances, float32 of shape [N, k]: Euclidean
      (not squared), ascending. A point is not its own neighbour, by index: among
      duplicates the others stay, at distance 0.

    Raises:
      InvalidInput: if x is no matrix of at least 2 rows, k or block_size is below 1, or
        metric or method is unknown.
      ImportError: if method is "approximate" and pynndescent is not installed.

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
    checks.one_of("metric", metric, ("euclidean",))
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
    checks.in_range("block_size", block_size, 1)
    others = x.shape[0] - 1
    if k > others:
        logging.warning(
            "k=%d exceeds the %d other points; using %d.", k, others, others
        )
        k = others
    if method == "approximate":
        return _approximate(x, k)
    x = np.asarray(x.toarray(), np.float32) if sparse.issparse(x) else x
    return _exact(x, x, np.arange(len(x)), k, block_size, progress)


def _exact(
    x, queries, query_indices, k, block_size, progress
) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours of rows ``query_indices`` of x; queries are those rows."""
    # Distances do not change; products of small numbers lose less.
    center = x.mean(axis=0)
    points = jnp.asarray(x - center)
    squared_norms = jnp.sum(points**2, axis=1)
    block_size = min(block_size, len(queries))
    indices = np.empty((len(queries), k), np.int32)
    distances = np.empty((len(queries), k), np.float32)
    for start in range(0, len(queries), block_size):
        # The last block overlaps the one before, so that all have one shape.
        start = min(start, len(queries) - block_size)
        block = slice(start, start + block_size)
        indices[block], distances[block] = _nearest_in_block(
            points, squared_norms, queries[block] - center, query_indices[block], k
        )
        progress(block.stop, len(queries))
    return indices, distances


@functools.partial(jax.jit, static_argnames="k")
def _nearest_in_block(points, squared_norms, queries, query_indices, k):
    num_candidates = min(k + _SPARE_CANDIDATES, len(points) - 1)
    # Not in TF32, the default of recent GPUs: the spare candidates would not suffice.
    products = jnp.matmul(queries, points.T, precision=jax.lax.Precision.HIGHEST)
    scores = 2.0 * products - squared_norms[None]
    scores = scores.at[jnp.arange(len(queries)), query_indices].set(-jnp.inf)
    _, candidates = jax.lax.top_k(scores, num_candidates)

    def rank(query, candidates):
        squared = jnp.sum((points[candidates] - query[None]) ** 2, axis=1)
        # Equal distances are ranked by index, whatever the block.
        order = jnp.lexsort((candidates, squared))[:k]
        return candidates[order], jnp.sqrt(squared[order])

    return jax.lax.map(lambda pair: rank(*pair), (queries, candidates), batch_size=32)


def _approximate(
    x: np.ndarray | sparse.csr_array, k: int
) -> tuple[np.ndarray, np.ndarray]:
    num_points = x.shape[0]
    try:
        import pynndescent
    except ImportError as error:
        raise ImportError(
            f"the approximate kNN graph of {num_points:,} rows needs pynndescent: "
            "pip install 'dgg-jax[approximate]', or ask for method='exact'."
        ) from error

    index = pynndescent.NNDescent(x, n_neighbors=k + 1, random_state=0)
    indices, distances = index.neighbor_graph
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
        exact, _ = _exact(x, x[rows], rows, k, 512, lambda done, total: None)
    found = [np.isin(a, b).mean() for a, b in zip(exact, indices[rows], strict=True)]
    logging.info(
        "Approximate kNN graph of %d rows; recall on %d sampled rows: %.4f.",
        num_points,
        len(rows),
        np.mean(found),
    )
    return indices.astype(np.int32), distances.astype(np.float32)


def _exact_of_sparse(x: sparse.csr_array, rows: np.ndarray, k: int) -> np.ndarray:
    """Indices of the k nearest other points of some rows, shape [rows, k]."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(x)
    indices = search.kneighbors(x[rows], return_distance=False)
    itself = indices == rows[:, None]
    itself[~itself.any(axis=1), -1] = True
    return indices[~itself].reshape(len(rows), k)
