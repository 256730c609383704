"""Rows of data on the device: an array, or a sparse matrix made dense by the batch."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse


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

        As with arrays of jax, an index that is out of range is that of the last row.
        """
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        rows = jnp.asarray(rows)
        starts = jnp.asarray(self.starts)
        slots = jnp.arange(self.width).reshape(*[1] * rows.ndim, self.width)
        entries = starts[rows][..., None] + slots
        real = entries < starts[rows + 1][..., None]
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
      >>> from dgg_jax.rows import sparse_rows
      >>> rows = sparse_rows(sparse.csr_array([[0.0, 2.0, 0.0], [1.0, 0.0, 3.0]]))
      >>> rows[[1, 0]]
      Array([[1., 0., 3.],
             [0., 2., 0.]], dtype=float32)
    """
    matrix = sparse.csr_array(matrix)
    matrix.sum_duplicates()
    starts = matrix.indptr.astype(np.int32)
    return SparseRows(
        starts,
        matrix.indices.astype(np.int32),
        matrix.data.astype(np.float32),
        num_columns=matrix.shape[1],
        width=int(np.diff(starts).max(initial=1)),
    )


def map_rows(
    function: Callable[[jax.Array], Any], x: jax.Array | SparseRows, batch_size: int
) -> Any:
    """A function of one row [D], mapped over all rows in batches."""
    if not isinstance(x, SparseRows):
        return jax.lax.map(function, x, batch_size=batch_size)
    indices = jnp.arange(len(x))
    return jax.lax.map(lambda index: function(x[index]), indices, batch_size=batch_size)


def take(tree: Any, indices: jax.Array) -> Any:
    """Rows of every leaf [N, ...] of a pytree, SparseRows among them."""
    return jax.tree.map(
        lambda leaf: leaf[indices],
        tree,
        is_leaf=lambda leaf: isinstance(leaf, SparseRows),
    )
