"""Rows that stream from the host to the device, a chunk of steps at a time.

A loss gathers its rows by ``rows[indices]``, wherever they live. Of rows on the host,
the epoch first asks the loss which ones it takes in every step, by running it with
something that writes the indices down; what else the loss computes, the compiler leaves
out. Then a thread gathers the rows of a chunk of steps and puts them on the device
while the device computes those before, and the loss finds them where it asks.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgg_jax import devices
from dgg_jax.rows import HostRows

_CHUNK_BYTES = 2**26  # gathered for the steps of one chunk
_AHEAD = 2  # chunks gathered before they are needed


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Place:
    """Where rows on the host belong in data, for compiled functions.

    Attributes:
      number: of the rows, among those of the data.
      num_columns: D.
    """

    number: int
    num_columns: int


def is_streamed(data: Any) -> bool:
    """Whether a pytree has rows on the host."""
    return any(isinstance(leaf, HostRows) for leaf in jax.tree.leaves(data))


def split(data: Any) -> tuple[list[HostRows], Any]:
    """The rows on the host, and the data with a Place for each of them."""
    sources = []

    def place(leaf):
        if not isinstance(leaf, HostRows):
            return leaf
        sources.append(leaf)
        return Place(len(sources) - 1, leaf.num_columns)

    return sources, jax.tree.map(place, data)


def _fill(data: Any, rows_of: Callable[[Place], Any]) -> Any:
    """The data with other rows in their places."""
    return jax.tree.map(
        lambda leaf: rows_of(leaf) if isinstance(leaf, Place) else leaf,
        data,
        is_leaf=lambda leaf: isinstance(leaf, Place),
    )


class _Noted:
    """Rows that note which ones of them are asked for."""

    def __init__(self, num_columns: int, asked: list[jax.Array]):
        self._num_columns, self._asked = num_columns, asked

    def __getitem__(self, indices: jax.Array) -> jax.Array:
        self._asked.append(indices)
        return jnp.zeros((*indices.shape, self._num_columns), jnp.float32)


class _Gathered:
    """Rows of one step, in the order in which they are asked for."""

    def __init__(self, rows: jax.Array):
        self._rows, self._start = rows, 0

    def __getitem__(self, indices: jax.Array) -> jax.Array:
        start = self._start
        self._start += indices.size
        rows = self._rows[start : self._start]
        return rows.reshape(*indices.shape, rows.shape[1])


def asked_rows(
    loss: Callable[[Any], Any], num_sources: int, data: Any
) -> list[jax.Array]:
    """Which rows a loss asks for in a step, in its order.

    Args:
      loss: of data; it asks outside of inner loops and conditions. What it asks for may
        depend on anything but the parameters, which are those of the epoch's start.
      num_sources: how many rows on the host the data have.
      data: with Places.

    Returns:
      For each source the indices, flat.
    """
    asked = [[jnp.zeros(0, jnp.int32)] for _ in range(num_sources)]
    loss(_fill(data, lambda place: _Noted(place.num_columns, asked[place.number])))
    return [
        jnp.concatenate([indices.ravel() for indices in one_source])
        for one_source in asked
    ]


def with_gathered(data: Any, gathered: list[jax.Array]) -> Any:
    """The data of one step, from the rows [n, D] that it asks for of each source."""
    return _fill(data, lambda place: _Gathered(gathered[place.number]))


def chunks(
    sources: list[HostRows],
    batches: np.ndarray,
    asked: list[np.ndarray],
) -> Iterator[tuple[jax.Array, list[jax.Array]]]:
    """Gathers the rows of an epoch, chunk after chunk, ahead of who takes them.

    All chunks have as many steps, but for the last, which has fewer.

    Args:
      sources: the rows on the host.
      batches: indices of each step, shape [..., steps, B].
      asked: for each source, its rows of each step, shape [..., steps, n].

    Yields:
      Batches [..., chunk, B], and for each source its rows [..., chunk, n, D].
    """
    num_steps = batches.shape[-2]
    total = sum(
        4 * rows.size * source.num_columns
        for source, rows in zip(sources, asked, strict=True)
    )
    num_chunks = min(num_steps, -(-total // _CHUNK_BYTES)) or 1
    size = -(-num_steps // num_chunks)

    def gather(start):
        steps = slice(start, start + size)
        rows = [
            devices.put_picked(source, one_source[..., steps, :])
            for source, one_source in zip(sources, asked, strict=True)
        ]
        return devices.put_everywhere(batches[..., steps, :]), rows

    with ThreadPoolExecutor(1, "rows") as thread:
        ahead = collections.deque()
        for start in range(0, num_steps, size):
            ahead.append(thread.submit(gather, start))
            if len(ahead) > _AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
