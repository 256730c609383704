"""All devices of all processes: rows are spread over them, the rest is on each.

With a single device this puts arrays on it, and says how it is compiled for.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dgg_jax import checks
from dgg_jax.log import LOGGER
from dgg_jax.placement.rows import HostRows, SparseRows

_AXIS = "data"
# Else XLA compiles and times kernels for every product of matrices, which takes up to
# half a minute an epoch; which is the fastest may differ from process to process.
_ON_GPU = {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False}
# Products are a library's; what else there is runs as fast, and compiles in two thirds
# of the time.
_ON_CPU = {"xla_backend_optimization_level": 1}
# Compiles in half of that, and runs up to 1.4 times as long.
_BRIEF_ON_CPU = _ON_CPU | {
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}
_FEW = 2_000_000  # numbers that a brief program is given, at most


def compiler_options(is_brief: bool = False) -> dict[str, Any] | None:
    """How programs with large products are compiled for the device; None: as XLA does.

    Who has asked JAX for fewer optimisations has them.

    Args:
      is_brief: whether it is better compiled soon than fast when it runs.
    """
    if jax.config.read("jax_disable_most_optimizations"):
        return None
    return _options_of(jax.default_backend(), is_brief)


@functools.cache
def _options_of(backend: str, is_brief: bool) -> dict[str, Any] | None:
    if backend == "cpu" and is_brief and known_to_xla(_BRIEF_ON_CPU):
        return _BRIEF_ON_CPU
    options = {"gpu": _ON_GPU, "cpu": _ON_CPU}.get(backend)
    return options and known_to_xla(options)


def known_to_xla(options: dict[str, Any]) -> dict[str, Any] | None:
    """Options for ``jax.jit``, or None if this XLA does not know all of them."""
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:
        return None
    return options


def compiled(**keywords: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``jax.jit`` with ``compiler_options``, which the device tells at the first call.

    It is a brief program where all that it is given are 2,000,000 numbers or fewer.
    Within another compiled function a function has no options but those of the other.

    Args:
      **keywords: of ``jax.jit``.

    Returns:
      A decorator.
    """

    def decorate(function):
        @functools.cache
        def program(options):
            return jax.jit(function, compiler_options=dict(options) or None, **keywords)

        @functools.wraps(function)
        def call(*arguments, **named):
            leaves = jax.tree.leaves((arguments, named))
            is_traced = any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)
            size = sum(getattr(leaf, "size", 0) for leaf in leaves)
            options = None if is_traced else compiler_options(size <= _FEW)
            return program(tuple((options or {}).items()))(*arguments, **named)

        return call

    return decorate


@functools.cache
def mesh() -> Mesh | None:
    """All devices of all processes in a line; None where there is a single one."""
    if jax.device_count() == 1:
        return None
    # XLA decides how what follows is spread; under jax's default, Explicit, types do.
    return jax.make_mesh((jax.device_count(),), (_AXIS,), (AxisType.Auto,))


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["array"],
    meta_fields=["axis", "num_rows"],
)
@dataclasses.dataclass(frozen=True)
class Spread:
    """An array whose rows are spread over the devices, as many on each.

    Attributes:
      array: with rows of zeros at the end, up to a multiple of the devices.
      axis: along which the rows lie; inside ``jax.vmap`` over an axis before it, one
        less.
      num_rows: without the zeros.
    """

    array: jax.Array
    axis: int
    num_rows: int


def _is_spread(node: Any) -> bool:
    return isinstance(node, Spread)


def _along(axis: int) -> NamedSharding:
    return NamedSharding(mesh(), PartitionSpec(*[None] * axis, _AXIS))


def _everywhere() -> NamedSharding:
    return NamedSharding(mesh(), PartitionSpec())


def put(tree: Any, num_points: int, axes: Any = None) -> Any:
    """Puts data on the devices, each of which gets its share of the rows.

    Arrays with fewer elements than there are points are on every device. A process
    reads those rows of an array only that are for its own devices: of a memory map, the
    rest stays on disk.

    Args:
      tree: arrays, of numpy or jax; those of many elements are spread by rows, HostRows
        stay where they are.
      num_points: N.
      axes: as ``in_axes`` of ``jax.vmap`` over restarts, a prefix of the tree: 0 where
        these are the first axis and rows the second, None where rows are the first.

    Returns:
      The tree with Spread arrays, and jax arrays for the rest.
    """
    if mesh() is None:
        return jax.tree.map(
            lambda leaf: leaf if isinstance(leaf, HostRows) else _on_device(leaf), tree
        )

    def put_leaves(axis, leaves):
        axis = 0 if axis is None else 1  # of the rows: 0 of in_axes is the restarts

        def put_leaf(leaf):
            if isinstance(leaf, HostRows):
                return leaf
            if np.size(leaf) < num_points or np.ndim(leaf) <= axis:
                return put_everywhere(leaf)
            # Kept as it is, for its slices: each process reads those of its devices.
            return _spread(np.asanyarray(leaf), axis)

        return jax.tree.map(put_leaf, leaves)

    # None is a leaf here, to jax an empty tree.
    return jax.tree.map(put_leaves, axes, tree, is_leaf=lambda axis: axis is None)


def _on_device(leaf: Any) -> jax.Array:
    """As ``jnp.asarray``, which compiles a program for each shape of numpy's arrays."""
    return jax.device_put(leaf) if isinstance(leaf, np.ndarray) else jnp.asarray(leaf)


def _spread(rows: np.ndarray, axis: int) -> Spread:
    num_rows = rows.shape[axis]
    missing = -num_rows % mesh().size
    shape = (*rows.shape[:axis], num_rows + missing, *rows.shape[axis + 1 :])

    def share(index):  # where a device's part of the padded array lies in it
        start, stop, _ = index[axis].indices(shape[axis])
        own = rows[(*index[:axis], slice(start, min(stop, num_rows)))]
        padding = [(0, 0)] * rows.ndim
        padding[axis] = (0, stop - start - own.shape[axis])
        return np.pad(own, padding)

    array = jax.make_array_from_callback(shape, _along(axis), share)
    return Spread(array, axis, num_rows)


def put_everywhere(tree: Any) -> Any:
    """Puts arrays, also random keys, on every device: the same in every process."""
    if mesh() is None:
        return jax.tree.map(_on_device, tree)

    def put_leaf(leaf):
        if isinstance(leaf, jax.Array) and jnp.issubdtype(
            leaf.dtype, jax.dtypes.prng_key
        ):
            # numpy has no keys.
            bits = put_leaf(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(bits, impl=jax.random.key_impl(leaf))
        leaf = np.asarray(leaf)
        return jax.make_array_from_callback(
            leaf.shape, _everywhere(), lambda index: leaf[index]
        )

    return jax.tree.map(put_leaf, tree)


def put_picked(source: HostRows, indices: np.ndarray) -> jax.Array:
    """Rows on the host, picked by indices [..., n], as [..., n, D] on the devices.

    Each device gets its share of the n, if they divide, and a process reads no other.
    """
    if mesh() is None:
        return jax.device_put(source[indices])
    if indices.shape[-1] % mesh().size:
        return put_everywhere(source[indices])
    return jax.make_array_from_callback(
        (*indices.shape, source.num_columns),
        _along(indices.ndim - 1),
        lambda index: source[indices[index[:-1]]],
    )


def on_one(tree: Any) -> Any:
    """Arrays for computations of every process by itself, on its first device."""
    return tree if mesh() is None else gather(tree)


def gather(tree: Any) -> Any:
    """The arrays as numpy's, whole, on the host of every process; HostRows stay."""

    def whole(node):
        if isinstance(node, HostRows):
            return node
        array = node.array if _is_spread(node) else node
        if isinstance(array, jax.Array) and not (
            array.is_fully_addressable or array.is_fully_replicated
        ):
            # jax gathers arrays that are spread over processes as tiles only.
            array = multihost_utils.process_allgather(array, tiled=True)
        array = np.asarray(array)
        if not _is_spread(node):
            return array
        return array[(slice(None),) * node.axis + (slice(node.num_rows),)]

    return jax.tree.map(whole, tree, is_leaf=_is_spread)


# What follows is for compiled functions.


def rows_of(tree: Any) -> Any:
    """Spread arrays as arrays of their own rows, [N, ...], still spread.

    Under ``jax.vmap`` over restarts, as everything below.
    """

    def rows(node):
        return by_rows(node.array[: node.num_rows]) if _is_spread(node) else node

    return jax.tree.map(rows, tree, is_leaf=_is_spread)


def like(tree: Any, spread: Any) -> Any:
    """Arrays [N, ...] spread as those of another tree.

    The inverse of ``rows_of``, and of ``own_rows_of``.
    """

    def pad(node, rows):
        if not _is_spread(node):
            return rows
        if _is_own(rows):
            return dataclasses.replace(node, array=by_rows(rows._padded()))
        padded = _padded(rows, len(node.array) - node.num_rows)
        return dataclasses.replace(node, array=padded)

    return jax.tree.map(pad, spread, tree, is_leaf=_is_spread)


def spread(tree: Any, num_points: int, axis: int) -> Any:
    """Results of a compiled function, those of many elements with spread rows.

    Args:
      tree: arrays; those of N rows or more elements are [N, ...].
      num_points: N.
      axis: of the rows, outside of ``jax.vmap``.

    Returns:
      The tree as ``put`` would put it.
    """
    if mesh() is None:
        return tree

    def one(leaf):
        if leaf.size < num_points:
            return everywhere(leaf)
        return Spread(_padded(leaf, -num_points % mesh().size), axis, num_points)

    return jax.tree.map(one, tree)


def _padded(rows: jax.Array, missing: int) -> jax.Array:
    return by_rows(jnp.pad(rows, [(0, missing)] + [(0, 0)] * (rows.ndim - 1)))


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["array", "batch"],
    meta_fields=["num_rows"],
)
@dataclasses.dataclass(frozen=True)
class OwnRows:
    """Rows [N, ...] as each device has them, for batches that take as many of each.

    ``rows[indices]`` of the batch at hand sends nothing; that of any other indices
    gathers rows from anywhere.

    Attributes:
      array: of n devices, shape [n, ceil(N / n), ...]; zeros at the end.
      num_rows: N.
      batch: indices [B] from ``own_batches``; these themselves are known by identity,
        for of others nothing tells where they lie. None: there is no batch.
    """

    array: jax.Array
    num_rows: int
    batch: jax.Array | None = None

    def __len__(self) -> int:
        return self.num_rows

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all rows, [N, ...]."""
        return self.num_rows, *self.array.shape[2:]

    def __getitem__(self, indices: jax.Array) -> jax.Array:
        """Rows by their indices in the data; of a batch [B] from where they lie."""
        if indices is not self.batch:
            return by_rows(self._padded()[: self.num_rows])[indices]
        picked = jax.vmap(lambda rows, places: rows[places])(
            self.array, self._places(indices)
        )
        return by_rows(picked.reshape(-1, *picked.shape[2:]))

    def with_rows(self, indices: jax.Array, rows: jax.Array) -> "OwnRows":
        """New rows [B, ...] for a batch [B] from ``own_batches``."""
        num_devices = len(self.array)
        array = jax.vmap(
            lambda old, places, new: old.at[places].set(
                new, unique_indices=True, mode="promise_in_bounds"
            )
        )(
            self.array,
            self._places(indices),
            rows.reshape(num_devices, -1, *rows.shape[1:]),
        )
        return OwnRows(by_rows(array), self.num_rows)

    def _places(self, indices: jax.Array) -> jax.Array:
        """Where the rows of a batch lie on their devices, [n, B / n]."""
        num_devices, share = self.array.shape[:2]
        return (
            indices.reshape(num_devices, -1) - share * jnp.arange(num_devices)[:, None]
        )

    def _padded(self) -> jax.Array:
        return self.array.reshape(-1, *self.array.shape[2:])


def _is_own(node: Any) -> bool:
    return isinstance(node, OwnRows)


def own_rows_of(tree: Any, num_points: int) -> Any:
    """As ``rows_of``, but those of N points as OwnRows; sparse rows stay together."""

    def own(node):
        if not _is_spread(node) or node.num_rows != num_points:
            return rows_of(node)
        array = node.array.reshape(mesh().size, -1, *node.array.shape[1:])
        return OwnRows(by_rows(array), node.num_rows)

    def is_whole(node):
        return _is_spread(node) or isinstance(node, SparseRows)

    return jax.tree.map(own, tree, is_leaf=is_whole)


def of_batch(tree: Any, indices: jax.Array) -> Any:
    """OwnRows that know the batch at hand, indices [B]; all else as it is."""
    return jax.tree.map(
        lambda node: (
            dataclasses.replace(node, batch=indices) if _is_own(node) else node
        ),
        tree,
        is_leaf=_is_own,
    )


def own_batches(key: jax.Array, num_points: int, batch_size: int) -> jax.Array:
    """Batches of an epoch of which each device gives as many rows, of its own.

    Args:
      key: of the order, in which each device shuffles its rows.
      num_points: N.
      batch_size: B.

    Returns:
      Indices [steps, B], of a step those of the first device first. Devices have up to
      ceil(N / n) rows; all take as many steps as the one with the fewest.

    Raises:
      InvalidInput: if B is no multiple of the devices, or more than they have.
    """
    check_own_batches("batch_size", batch_size, num_points)
    num_devices = mesh().size
    share, each = -(-num_points // num_devices), batch_size // num_devices
    steps = (num_points - (num_devices - 1) * share) // each
    places = jnp.arange(share)[None] + share * jnp.arange(num_devices)[:, None]
    drawn = by_rows(jax.random.uniform(key, places.shape))
    # What is no row comes last.
    order = jnp.argsort(jnp.where(places < num_points, drawn, jnp.inf), axis=1)
    chosen = jnp.take_along_axis(places, order, axis=1)[:, : steps * each]
    return chosen.reshape(num_devices, steps, each).swapaxes(0, 1).reshape(steps, -1)


def check_own_batches(name: str, batch_size: int, num_points: int) -> None:
    """Checks that each device has an equal share of a batch among its own rows.

    Args:
      name: of the setting.
      batch_size: its value, B; at most N rows are a batch.
      num_points: N.

    Raises:
      InvalidInput: if not.
    """
    if mesh() is None:
        return
    num_devices, batch_size = mesh().size, min(batch_size, num_points)
    if batch_size % num_devices:
        raise checks.InvalidInput(
            f"shuffle='device' takes as many rows of a batch from each of the "
            f"{num_devices} devices, got {name}={batch_size}; take a multiple of "
            f"{num_devices}, or shuffle='all'."
        )
    fewest = num_points - (num_devices - 1) * -(-num_points // num_devices)
    if fewest < batch_size // num_devices:
        raise checks.InvalidInput(
            f"shuffle='device' takes {batch_size // num_devices} rows of a batch from "
            f"each of the {num_devices} devices, one of which has {max(fewest, 0)} of "
            f"the {num_points} rows; take a smaller {name}, or shuffle='all'."
        )


def with_rows(table: Any, indices: jax.Array, rows: jax.Array) -> Any:
    """A table [N, ...] with new rows for a batch, no index of which is there twice."""
    if _is_own(table):
        return table.with_rows(indices, rows)
    # None is out of bounds either: XLA need not look.
    return table.at[indices].set(rows, unique_indices=True, mode="promise_in_bounds")


def by_rows(tree: Any) -> Any:
    """Arrays [N, ...] or [B, ...], each device computing its share of the rows."""
    return tree if mesh() is None else _constrained(tree, _along(0))


def everywhere(tree: Any) -> Any:
    """Arrays of which every device holds the whole."""
    return tree if mesh() is None else _constrained(tree, _everywhere())


def _constrained(tree: Any, sharding: NamedSharding) -> Any:
    return jax.tree.map(
        lambda leaf: jax.lax.with_sharding_constraint(leaf, sharding), tree
    )


def split_batch(indices: jax.Array) -> jax.Array:
    """The indices [B] of a batch, each device computing an equal share of it.

    A batch that cannot be split so is computed whole by each; a warning says so.
    """
    if mesh() is None:
        return indices
    devices = mesh().size
    if len(indices) % devices:
        # While it is traced: once a compilation, not once a step.
        LOGGER.warning(
            "A batch of %d rows does not divide by the %d devices: each of them "
            "computes all of it. Take a batch_size that is a multiple of %d.",
            len(indices),
            devices,
            devices,
        )
        return everywhere(indices)
    return by_rows(indices)
