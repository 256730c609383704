"""Rows of data: where they live, and how a batch of them comes to the device.

What fits into a share of the device's memory lies there, as an array or as SparseRows;
what does not stays on the host, as HostRows, and streams to the device.
"""

import contextlib
import dataclasses
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_limits

from dgg_jax.log import LOGGER

_BLOCK_BYTES = 2**26  # of host rows that are mapped at a time
_FEW_ROWS = 5000
_EVEN_BATCHES = 20  # up to which batches are made even


class HostRows:
    """Rows [N, D] that stay on the host; those that are asked for become float32.

    ``rows[indices]`` is a dense array of numpy, of the rows of an index, slice or array
    of indices. ``training.optimize`` streams them, ``map_blocks`` maps them.

    Attributes:
      source: an array or memory map of real numbers, or a csr_array.
    """

    __iter__ = None  # by __getitem__ it would not end

    def __init__(self, source: np.ndarray | sparse.csr_array):
        self.source = source

    def __len__(self) -> int:
        return self.source.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D), as of an array."""
        return self.source.shape

    @property
    def num_columns(self) -> int:
        """D."""
        return self.shape[1]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """The rows of an index, slice or array of indices, dense [..., D]."""
        if isinstance(rows, slice):
            return self._dense(rows)
        rows = np.asarray(rows)
        # scipy picks by one axis of indices only.
        return self._dense(rows.ravel()).reshape(*rows.shape, self.num_columns)

    def _dense(self, rows: slice | np.ndarray) -> np.ndarray:
        picked = self.source[rows]
        picked = picked.toarray() if sparse.issparse(picked) else picked
        return np.asarray(picked, np.float32)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SparseRows:
    """A sparse matrix [N, D] whose rows become dense where they are asked for.

    ``rows[indices]`` is a dense array, inside and outside of compiled functions, so
    that a loss gathers its batch from it as from an array [N, D].

    Attributes:
      starts: where each row begins among the entries, int32 of shape [N + 1].
      columns: of the entries, int32 of shape [E].
      values: of the entries, float32 of shape [E].
      num_columns: D.
      width: most entries that a row has.
    """

    starts: jax.Array
    columns: jax.Array
    values: jax.Array
    num_columns: int = dataclasses.field(metadata={"static": True})
    width: int = dataclasses.field(metadata={"static": True})

    __iter__ = None  # by __getitem__ it would not end

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D), as of an array."""
        return len(self), self.num_columns

    def matrix(self) -> sparse.csr_array:
        """The same as a matrix of scipy."""
        entries = [np.asarray(field) for field in (self.values, self.columns)]
        return sparse.csr_array((*entries, np.asarray(self.starts)), self.shape)

    def __getitem__(self, rows: Any) -> jax.Array:
        """The rows of an index, slice or array of indices, dense [..., D] in float32.

        As with arrays of jax, negative indices count from the end, and one beyond it is
        that of the last row.
        """
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        rows = jnp.asarray(rows)
        starts = jnp.asarray(self.starts)
        slots = jnp.arange(self.width).reshape(*[1] * rows.ndim, self.width)
        entries = starts[:-1][rows][..., None] + slots
        real = entries < starts[1:][rows][..., None]
        # Slots that a row does not fill get a column that does not exist: "drop" below.
        columns = jnp.where(real, jnp.asarray(self.columns)[entries], self.num_columns)
        values = jnp.asarray(self.values)[entries]

        def dense(columns, values):
            row = jnp.zeros(self.num_columns, jnp.float32)
            return row.at[columns].set(values, mode="drop")

        for _ in range(rows.ndim):
            dense = jax.vmap(dense)
        return dense(columns, values)


def sparse_rows(matrix: sparse.csr_array) -> SparseRows:
    """The rows of a sparse matrix, as numpy arrays for the device.

    Args:
      matrix: real numbers, shape [N, D], with fewer than 2^31 entries.

    Example:
      >>> from scipy import sparse
      >>> from dgg_jax.placement.rows import sparse_rows
      >>> rows = sparse_rows(sparse.csr_array([[0.0, 2.0, 0.0], [1.0, 0.0, 3.0]]))
      >>> rows[[1, 0]]
      Array([[1., 0., 3.],
             [0., 2., 0.]], dtype=float32)
    """
    matrix = sparse.csr_array(matrix)
    if not matrix.has_canonical_format:
        matrix = matrix.copy()  # else the caller's arrays would change
        matrix.sum_duplicates()
    starts = matrix.indptr.astype(np.int32)
    return SparseRows(
        starts,
        matrix.indices.astype(np.int32),
        matrix.data.astype(np.float32),
        num_columns=matrix.shape[1],
        width=int(np.diff(starts).max(initial=1)),  # of no entries an array of one slot
    )


def device_memory() -> int:
    """Bytes of memory of the device; of a CPU, those of the machine."""
    statistics = jax.local_devices()[0].memory_stats() or {}  # None of a CPU
    if "bytes_limit" in statistics:
        return statistics["bytes_limit"]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def place(
    x: np.ndarray | sparse.csr_array | SparseRows | HostRows,
    memory_share: float,
    num_neighbors: int = 0,
    *,
    may_stay_sparse: bool = True,
) -> np.ndarray | SparseRows | HostRows:
    """Rows where training takes them from: on the device, if they fit there.

    Beside the rows, the device holds their smoothed statistics, which take as much
    again; of sparse rows those of as many rows as neighbours are mixed. What is chosen
    is the first that takes at most the share of the device's memory: a dense array,
    which trains fastest, SparseRows, and else HostRows, of which a warning tells.

    Args:
      x: real numbers, shape [N, D]; a csr_array where most are 0. Rows that have a
        place keep it.
      memory_share: of the device's memory, that data may take.
      num_neighbors: S, neighbours that are mixed into statistics.
      may_stay_sparse: whether sparse rows have sparse statistics.

    Returns:
      The rows: a float32 array that jax will copy to the device, or one of the classes
      of this module.
    """
    if isinstance(x, SparseRows | HostRows):
        return x
    limit = memory_share * device_memory()
    needed = 2 * 4 * x.shape[0] * x.shape[1]  # rows and statistics, float32
    if needed <= limit:
        x = x.toarray() if sparse.issparse(x) else x
        return np.ascontiguousarray(x, np.float32)
    if sparse.issparse(x) and may_stay_sparse:
        entries = (2 + num_neighbors) * x.nnz  # of a row, of itself and its neighbours
        needed = 8 * entries  # column and value, of 4 bytes each
        if needed <= limit and entries < 2**31:  # which SparseRows can count
            return sparse_rows(x)
    LOGGER.warning(
        "The %d x %d data and what training keeps of them take %.0f MiB, more than "
        "%.0f MiB, device_memory_share=%g of the device's memory: they stay on the "
        "host and stream to the device by the batch. A device with more memory, or a "
        "larger share, trains faster.",
        *x.shape,
        needed / 2**20,
        limit / 2**20,
        memory_share,
    )
    return HostRows(x)


def threads_for(num_rows: int) -> contextlib.AbstractContextManager:
    """Within, few rows take one thread of scikit-learn's K-means.

    On a busy machine its threads wait for each other for longer than they compute.
    """
    few = num_rows < _FEW_ROWS
    return threadpool_limits(1) if few else contextlib.nullcontext()


def map_rows(
    function: Callable[[jax.Array], Any], x: jax.Array | SparseRows, batch_size: int
) -> Any:
    """A function of one row [D], mapped over all rows in batches."""
    if not isinstance(x, SparseRows):
        return map_points(function, x, batch_size)
    indices = jnp.arange(len(x))  # of x itself lax.map would slice the fields
    return map_points(lambda index: function(x[index]), indices, batch_size)


def map_points(function: Callable[[Any], Any], points: Any, batch_size: int) -> Any:
    """A function of one point, mapped over all points in batches.

    As ``jax.lax.map``, which compiles the function a second time for a smaller last
    batch: of few points that takes longer than all else, and even batches spare it.

    Args:
      function: from a pytree of arrays [...] to another.
      points: its arguments, leaves [N, ...].
      batch_size: the most points of a batch.

    Returns:
      What it returns, leaves [N, ...].
    """
    num_points = len(jax.tree.leaves(points)[0])
    num_batches = -(-num_points // batch_size)
    if num_batches == 1 or num_batches > _EVEN_BATCHES:
        return jax.lax.map(function, points, batch_size=batch_size)
    even = -(-num_points // num_batches)
    missing = num_batches * even - num_points  # so many of the last are there twice

    def evened(leaf):
        return jnp.concatenate([leaf, leaf[num_points - missing :]])

    results = jax.lax.map(function, jax.tree.map(evened, points), batch_size=even)
    return jax.tree.map(lambda leaf: leaf[:num_points], results)


def take(tree: Any, indices: jax.Array) -> Any:
    """Rows of every leaf [N, ...] of a pytree, and of what has rows itself."""
    return jax.tree.map(
        lambda leaf: leaf[indices],
        tree,
        is_leaf=lambda leaf: hasattr(leaf, "shape"),
    )


def map_blocks(
    function: Callable[..., Any],
    x: jax.Array | SparseRows | HostRows,
    *more: Any,
    allocate: Callable[[tuple[int, ...], np.dtype], np.ndarray] = np.empty,
) -> Any:
    """A function of many rows; of HostRows block by block, else of all at once.

    Args:
      function: from rows [B, D] and what goes with them [B, ...] to a pytree of arrays
        [B, ...]; all blocks have one shape, so that it is compiled once.
      x: the rows, [N, D].
      *more: pytrees of arrays [N, ...] that go with them.
      allocate: makes the arrays, from shape and dtype, that take the blocks' results.

    Returns:
      What the function returns, of all rows; of HostRows as arrays on the host.
    """
    if not isinstance(x, HostRows):
        return function(x, *more)
    num_rows = len(x)
    size = min(num_rows, max(1, _BLOCK_BYTES // (4 * x.num_columns)))
    whole = None
    for start in range(0, num_rows, size):
        # The last block overlaps the one before, so that all have one shape.
        block = slice(min(start, num_rows - size), min(start + size, num_rows))
        results = jax.device_get(function(x[block], *take(more, block)))
        if whole is None:
            whole = jax.tree.map(
                lambda part: allocate((num_rows, *part.shape[1:]), part.dtype), results
            )
        for array, part in zip(
            jax.tree.leaves(whole), jax.tree.leaves(results), strict=True
        ):
            array[block] = part
    return whole
