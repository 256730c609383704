"""Rows that stream from the host to the device, a chunk of steps at a time.

A loss gathers its rows by ``rows[indices]``, wherever they live, and says beforehand
which ones a step takes (``Loss.rows``). A thread gathers the rows on the host of a
chunk of steps and puts them on the device while the device computes those before, and
the loss finds them where it asks.
"""

import collections
import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from dgg_jax.placement import devices
from dgg_jax.placement.rows import HostRows

_CHUNK_BYTES = 2**26  # gathered for the steps of one chunk
_AHEAD = 2  # chunks gathered before they are needed


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Gap:
    """Where rows on the host belong in data, for compiled functions.

    Attributes:
      number: of the rows, among those of the data.
    """

    number: int


def is_streamed(data: Any) -> bool:
    """Whether a pytree has rows on the host."""
    return any(isinstance(leaf, HostRows) for leaf in jax.tree.leaves(data))


def split(data: Any) -> tuple[list[HostRows], Any]:
    """The rows on the host, and the data with a Gap for each of them."""
    sources = []

    def leave_out(leaf):
        if not isinstance(leaf, HostRows):
            return leaf
        sources.append(leaf)
        return Gap(len(sources) - 1)

    return sources, jax.tree.map(leave_out, data)


class _Gathered:
    """Rows of one step, in the order in which they are asked for."""

    def __init__(self, rows: jax.Array):
        self._rows, self._start = rows, 0

    def __getitem__(self, indices: jax.Array) -> jax.Array:
        # They are found by their order: indices, traced ones, say how many.
        start = self._start
        self._start += indices.size
        rows = self._rows[start : self._start]
        return rows.reshape(*indices.shape, rows.shape[1])


def with_gathered(data: Any, gathered: list[jax.Array]) -> Any:
    """The data of one step, from the rows [n, D] that it takes of each source."""

    def fill(leaf):
        return _Gathered(gathered[leaf.number]) if isinstance(leaf, Gap) else leaf

    return jax.tree.map(fill, data, is_leaf=lambda leaf: isinstance(leaf, Gap))


def chunks(
    sources: list[HostRows], batches: np.ndarray, taken: np.ndarray
) -> Iterator[tuple[jax.Array, list[jax.Array]]]:
    """Gathers the rows of an epoch, chunk after chunk, ahead of who takes them.

    All chunks have as many steps, but for the last, which has fewer.

    Args:
      sources: the rows on the host.
      batches: indices of each step, shape [..., steps, B].
      taken: the rows that each step takes of every source, shape [..., steps, n].

    Yields:
      Batches [..., chunk, B], and for each source its rows [..., chunk, n, D].
    """
    num_steps = batches.shape[-2]
    total = sum(4 * taken.size * source.num_columns for source in sources)  # float32
    num_chunks = max(1, min(num_steps, -(-total // _CHUNK_BYTES)))
    size = -(-num_steps // num_chunks)

    def gather(start):
        steps = slice(start, start + size)
        rows = [devices.put_picked(one, taken[..., steps, :]) for one in sources]
        return devices.put_everywhere(batches[..., steps, :]), rows

    with ThreadPoolExecutor(1, "rows") as thread:
        ahead = collections.deque()
        for start in range(0, num_steps, size):
            ahead.append(thread.submit(gather, start))
            if len(ahead) > _AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
