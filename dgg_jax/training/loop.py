"""One epoch as one compiled call, or a call a chunk, and the loop over epochs."""

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dgg_jax import checks
from dgg_jax.placement import devices, memory
from dgg_jax.placement.rows import HostRows
from dgg_jax.training import streaming
from dgg_jax.training.schedules import (
    Rate,
    Schedule,
    descent_by_entry,
    descent_by_turn,
)
from dgg_jax.training.state import TrainState, create_state, put_state


class StepOutput(NamedTuple):
    """What a loss returns beside its value.

    Attributes:
      metrics: named scalars, logged as their mean over the epoch.
      rows: new rows of the state's table for the batch, leaves of shape [B, ...].
      collections: the state's collections after the step.
    """

    metrics: dict[str, jax.Array]
    rows: Any = ()
    collections: Any = ()


# Of an epoch, below which the tens of them that a loop takes cost less than what XLA
# saves by compiling soon.
_BRIEF_WORK = 4e9

# Sums of other metrics: of those that are not finite, a term says more.
_TOTALS = ("loss", "objective")


class Loss(Protocol):
    """What a step minimises: networks, a loss of one point and a batch, paired.

    A frozen dataclass: it can be pickled, and equal ones are traced and compiled once.
    """

    def __call__(
        self, params: Any, data: Any, indices: jax.Array, key: jax.Array, *more: Any
    ) -> tuple[jax.Array, StepOutput]:
        """The value of a batch, and what else the step returns.

        It gathers its batch itself, so that neighbours may be in it.

        Args:
          params: parameters, by which the value is differentiated.
          data: the pytree that batches are gathered from.
          indices: rows of the batch, shape [B].
          key: random key of the step.
          *more: the state's collections, such as batch statistics, if it has any.
        """

    def rows(self, data: Any, indices: jax.Array, key: jax.Array) -> jax.Array:
        """Which rows of x the step takes, in the order in which it takes them.

        Those of the batch, unless a loss says otherwise; rows that stay on the host are
        gathered by it.

        Args:
          data: as above, but without rows that stay on the host.
          indices: rows of the batch, shape [B].
          key: random key of the step.
        """
        del data, key
        return indices


class Turn(NamedTuple):
    """One of several losses that a step minimises in turns, as adversaries do.

    Attributes:
      loss: a function of all parameters, as the turns before have left them.
      learns: the entries of the parameters, a dictionary, that it is minimised by; what
        another turn learns too has an optimiser in each.
      rate: of its optimiser; None is the schedule's.
    """

    loss: Loss
    learns: tuple[str, ...]
    rate: Rate | None = None


# What a loop minimises: one loss, or turns, which each step takes in their order.
Objective = Loss | tuple[Turn, ...]
# (state, what it computes from) -> what the loss gets beside the data for an epoch
Prepare = Callable[[TrainState, Any], Any]
# (state, data, key) -> (state, metrics of every step)
Epoch = Callable[[TrainState, Any, jax.Array], tuple[TrainState, dict[str, jax.Array]]]
# metrics of the epochs so far -> whether no more are needed
Converged = Callable[[Sequence[dict[str, Any]]], bool]


class Diverged(RuntimeError):
    """A metric of a training step was not finite; the message names step and metric."""


def steps_per_epoch(num_points: int, batch_size: int) -> int:
    """Full batches of one epoch; the rest of a shuffle waits for the next one."""
    return max(1, num_points // batch_size)


def compile_epoch(
    loss: Objective,
    optimizer: optax.GradientTransformation,
    *,
    num_points: int,
    batch_size: int,
    restarts: bool = False,
    data_axes: Any = None,
    shuffle: str = "all",
    is_brief: bool = False,
) -> Epoch:
    """Compiles an epoch: a scan of optimiser steps over shuffled batches.

    The data stay on the device, the state is donated and nothing syncs with the host.
    All randomness is a function of the key and the step, so that a resumed run repeats
    an uninterrupted one bit for bit. With several devices each computes its share of
    every batch; order and random numbers are the same as with one.

    Args:
      loss: from (params, data, indices [B], key) to the value to minimise and a
        StepOutput. It gathers its batch itself, neighbours included. Where the state
        has collections, such as batch statistics, they are its fifth argument. Or
        turns: all take the same batch, each a key of its own and the collections that
        the one before returned, if it returned any; their metrics are merged.
      optimizer: an optax transformation; of turns ``descent_by_turn``.
      num_points: N, rows of the data.
      batch_size: B; at most N rows are used.
      restarts: whether state and key carry a leading axis of R independent restarts.
      data_axes: which of the data carry it too, as ``in_axes`` of ``jax.vmap``.
      shuffle: "all": a batch has rows from anywhere, the same whatever the devices;
        "device": as many of each device's own, so that a step sends no row of the data
        but those that the loss takes beside its batch. With one device both are one.
      is_brief: whether it is better compiled soon than fast when it runs.

    Returns:
      A compiled function from (state, data, key) to (state, metrics), metrics of shape
      [steps], or [R, steps] with restarts.
    """
    laid, batches_of = devices.rows_of, _shuffled
    if shuffle == "device" and devices.mesh() is not None:
        batches_of = _shuffled_by_device
        laid = functools.partial(devices.own_rows_of, num_points=num_points)

    def epoch(state, data, key):
        spread = state.table
        state = state._replace(table=laid(spread))
        data = laid(data)
        batches, step_key = batches_of(state.step, key, num_points, batch_size)
        step = functools.partial(_step, loss, optimizer, step_key, data)
        state, metrics = jax.lax.scan(step, state, batches)
        return state._replace(table=devices.like(state.table, spread)), metrics

    whole = _of_restarts(epoch, data_axes) if restarts else epoch
    return _compiled_in_place(whole, is_brief)


def _compiled_in_place(epoch: Epoch, is_brief: bool = False) -> Epoch:
    """Compiles what takes over the buffers of the state."""
    options = devices.compiler_options(is_brief) or {}
    if jax.default_backend() == "cpu":
        options = options | (_in_place_on_cpu() or {})
    return jax.jit(epoch, donate_argnums=0, compiler_options=options or None)


@functools.cache
def _in_place_on_cpu() -> dict[str, Any] | None:
    """How a CPU updates weights in place; else it copies most of them at every step."""
    return devices.known_to_xla({"xla_cpu_copy_insertion_use_region_analysis": True})


def _of_restarts(epoch: Epoch, data_axes: Any) -> Epoch:
    """An epoch of R restarts: together on a GPU, one after the other on a CPU.

    A CPU takes longer for products with an axis of restarts than for the same ones in
    turns. So does a single restart anywhere.
    """
    together = jax.vmap(epoch, in_axes=(0, data_axes, 0))

    def data_of(restart, data):
        """The data of one restart: its own where they have the axis, else the same."""
        return jax.tree.map(
            lambda axis, part: (
                part if axis is None else jax.tree.map(lambda a: a[restart], part)
            ),
            data_axes,
            data,
            is_leaf=lambda axis: axis is None,
        )

    def of_restarts(state, data, keys):
        if jax.default_backend() != "cpu" and len(keys) > 1:
            return together(state, data, keys)

        def one(states, restart):
            state = jax.tree.map(lambda leaf: leaf[restart], states)
            state, metrics = epoch(state, data_of(restart, data), keys[restart])
            # In place of the one before: to stack new states would copy all of them.
            states = jax.tree.map(
                lambda leaf, new: leaf.at[restart].set(new), states, state
            )
            return states, metrics

        return jax.lax.scan(one, state, jnp.arange(len(keys)))

    return of_restarts


def compile_streamed_epoch(
    loss: Objective,
    optimizer: optax.GradientTransformation,
    *,
    num_points: int,
    batch_size: int,
    restarts: bool = False,
    data_axes: Any = None,
) -> Epoch:
    """The epoch of ``compile_epoch`` for data with HostRows, by chunks of steps.

    The steps are the same, in the same order and with the same keys. Of the host's rows
    a few chunks are on the device at a time; nothing syncs with the host within one.

    Args:
      loss: see ``compile_epoch``; its ``rows`` are gathered.
      optimizer: an optax transformation.
      num_points: N, rows of the data.
      batch_size: B; at most N rows are used.
      restarts: see ``compile_epoch``.
      data_axes: see ``compile_epoch``.

    Returns:
      A function as that of ``compile_epoch``.
    """

    def plan(first_step, whole, key):
        whole = devices.rows_of(whole)
        batches, step_key = _shuffled(first_step, key, num_points, batch_size)

        def taken(indices, step):
            return _rows(loss, whole, indices, jax.random.fold_in(step_key, step))

        steps = first_step + jnp.arange(len(batches))
        order = batches, jax.vmap(taken)(batches, steps)
        # Whole in every process, whose host gathers by it.
        return step_key, *devices.everywhere(order)

    def chunk(state, data, step_key):
        whole, *steps = data
        spread = state.table
        state = state._replace(table=devices.rows_of(spread))
        whole = devices.rows_of(whole)

        def step(state, batch):
            indices, gathered = batch
            data = streaming.with_gathered(whole, gathered)
            return _step(loss, optimizer, step_key, data, state, indices)

        state, metrics = jax.lax.scan(step, state, tuple(steps))
        return state._replace(table=devices.like(state.table, spread)), metrics

    if restarts:
        plan = jax.vmap(plan, in_axes=(0, data_axes, 0))
        chunk = _of_restarts(chunk, (data_axes, 0, 0))
    plan = jax.jit(plan)
    chunk = _compiled_in_place(chunk)

    def epoch(state, data, key):
        sources, whole = streaming.split(data)
        step_key, *order = plan(state.step, whole, key)
        metrics = []
        for batches, rows in streaming.chunks(sources, *jax.device_get(order)):
            # No more chunks on the device than are computed and come next.
            jax.block_until_ready(metrics[-2:-1])
            state, of_chunk = chunk(state, (whole, batches, rows), step_key)
            metrics.append(of_chunk)
        axis = 1 if restarts else 0
        metrics = jax.device_get(metrics)
        return state, jax.tree.map(lambda *m: np.concatenate(m, axis), *metrics)

    return epoch


def compile_prepare(
    prepare: Prepare, *, num_points: int, restarts: bool = False, streamed: bool = False
) -> Prepare:
    """Compiles what is computed at the start of an epoch, apart from the epoch.

    So the epoch does not depend on the shapes of what it is computed from, such as
    those of a graph, and serves all of them.

    Args:
      prepare: from (state, what it computes from) to what the loss gets beside the data
        in this epoch, such as priors recomputed from the table.
      num_points: N, rows of the data.
      restarts: whether the state and the result carry a leading axis of R independent
        restarts.
      streamed: whether it may compute from HostRows: then it is called, not compiled.

    Returns:
      A function of the same arguments, whose result is on the devices.
    """
    axis = 1 if restarts else 0  # of the points, outside of vmap

    def traced(state, source):
        state = state._replace(table=devices.rows_of(state.table))
        return devices.spread(prepare(state, devices.rows_of(source)), num_points, axis)

    def called(state, source):
        # Not compiled, hence on one device, each process by itself.
        of_all = jax.vmap(prepare, in_axes=(0, None)) if restarts else prepare
        more = devices.on_one(of_all(*devices.on_one((state, source))))
        return devices.put(more, num_points, 0 if restarts else None)

    if streamed:
        return called
    return jax.jit(jax.vmap(traced, in_axes=(0, None)) if restarts else traced)


def _shuffled(
    step: jax.Array, key: jax.Array, num_points: int, batch_size: int
) -> tuple[jax.Array, jax.Array]:
    """Batches of an epoch that starts at a step, [steps, B], and its steps' key."""
    batch_size = min(batch_size, num_points)
    num_steps = steps_per_epoch(num_points, batch_size)
    order_key, step_key = jax.random.split(key)
    order = jax.random.permutation(jax.random.fold_in(order_key, step), num_points)
    batches = order[: num_steps * batch_size].reshape(num_steps, batch_size)
    return batches, step_key


def _shuffled_by_device(
    step: jax.Array, key: jax.Array, num_points: int, batch_size: int
) -> tuple[jax.Array, jax.Array]:
    """As ``_shuffled``, of each device's own rows."""
    order_key, step_key = jax.random.split(key)
    order_key = jax.random.fold_in(order_key, step)
    batch_size = min(batch_size, num_points)
    return devices.own_batches(order_key, num_points, batch_size), step_key


def _rows(loss: Objective, data: Any, indices: jax.Array, key: jax.Array) -> jax.Array:
    """The rows that a step takes, one after the other."""
    if not isinstance(loss, tuple):
        return loss.rows(data, indices, key).ravel()
    return jnp.concatenate(
        [
            turn.loss.rows(data, indices, jax.random.fold_in(key, number)).ravel()
            for number, turn in enumerate(loss)
        ]
    )


def _step(
    loss: Objective,
    optimizer: optax.GradientTransformation,
    step_key: jax.Array,
    data: Any,
    state: TrainState,
    indices: jax.Array,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update by a batch; the metrics of the loss."""
    indices = devices.split_batch(indices)
    key = jax.random.fold_in(step_key, state.step)
    data = devices.of_batch(data, indices)
    if isinstance(loss, tuple):
        params, opt_state, output = _in_turns(
            loss, optimizer, state, data, indices, key
        )
    else:
        gradients, output = jax.grad(loss, has_aux=True)(
            state.params, data, indices, key, *_if_any(state.collections)
        )
        params, opt_state = _descended(
            optimizer, gradients, state.params, state.opt_state
        )
    before = devices.of_batch(state.table, indices)
    metrics = output.metrics | _moved(before, indices, output.rows)
    table = jax.tree.map(
        lambda rows, table: devices.with_rows(table, indices, rows),
        output.rows,
        state.table,
    )
    state = TrainState(state.step + 1, params, opt_state, (), output.collections)
    state, metrics = devices.everywhere((state, metrics))
    return state._replace(table=devices.by_rows(table)), metrics


def _if_any(collections: Any) -> tuple[Any, ...]:
    """The last argument of a loss, if the state has collections."""
    return (collections,) if jax.tree.leaves(collections) else ()


def _descended(
    optimizer: optax.GradientTransformation,
    gradients: Any,
    params: Any,
    opt_state: Any,
    **which: int,
) -> tuple[Any, Any]:
    """Parameters and the optimiser's state after one update."""
    updates, opt_state = optimizer.update(gradients, opt_state, params, **which)
    return optax.apply_updates(params, updates), opt_state


def _in_turns(
    turns: tuple[Turn, ...],
    optimizer: optax.GradientTransformationExtraArgs,
    state: TrainState,
    data: Any,
    indices: jax.Array,
    key: jax.Array,
) -> tuple[dict[str, Any], Any, StepOutput]:
    """Parameters and optimisers after every turn, and what their losses returned."""
    params, opt_state = state.params, state.opt_state
    whole = StepOutput({}, collections=state.collections)
    for number, turn in enumerate(turns):

        def loss(learned, *arguments, turn=turn, params=params):
            return turn.loss({**params, **learned}, *arguments)

        learned = {name: params[name] for name in turn.learns}
        gradients, output = jax.grad(loss, has_aux=True)(
            learned,
            data,
            indices,
            jax.random.fold_in(key, number),
            *_if_any(whole.collections),
        )
        learned, opt_state = _descended(
            optimizer, gradients, learned, opt_state, turn=number
        )
        params = {**params, **learned}
        whole = _merged(whole, output)
    return params, opt_state, whole


def _merged(before: StepOutput, output: StepOutput) -> StepOutput:
    """What turns return together; of rows and collections the latest, if any."""
    twice = before.metrics.keys() & output.metrics.keys()
    if twice:
        raise checks.InvalidInput(
            f"metrics of two turns have the same name, {min(twice)}; name them apart."
        )
    rows, collections = (
        new if jax.tree.leaves(new) else old
        for old, new in zip(before[1:], output[1:], strict=True)
    )
    return StepOutput(before.metrics | output.metrics, rows, collections)


def _moved(table: Any, indices: jax.Array, rows: Any) -> dict[str, jax.Array]:
    """The share of a batch whose cluster by a table of ln gamma is another one now."""
    if len(getattr(table, "shape", ())) != 2:
        return {}
    before = table[indices].argmax(axis=-1)
    return {"moved": jnp.mean(before != rows.argmax(axis=-1), dtype=jnp.float32)}


class Monitor:
    """Follows the loops and computations of a run; this one does nothing.

    ``training.Run`` is the one that checkpoints, logs and resumes.
    """

    def restore(self, loop: str, state: TrainState) -> tuple[TrainState, int]:
        """Returns the state that a loop continues from and its finished epochs."""
        return state, 0

    def epoch_end(
        self,
        loop: str,
        epoch: int,
        num_epochs: int,
        state: TrainState,
        metrics: dict[str, Any],
    ) -> bool:
        """Receives the state after an epoch, counted from 1, and its mean metrics.

        Returns:
          Whether the loop shall end here.
        """
        return False

    def epochs_of(self, loop: str) -> list[dict[str, Any]]:
        """Returns the metrics of the finished epochs of a loop that goes on."""
        return []

    def progress(self, name: str, done: int, total: int) -> None:
        """Receives how much of a computation, such as a kNN search, is done."""

    def remember(
        self, name: str, compute: Callable[[], dict[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """Returns the arrays that ``compute`` makes, from a checkpoint if there."""
        return compute()


def fit(
    loop: str,
    epoch: Epoch,
    state: TrainState,
    data: Any,
    key: jax.Array,
    num_epochs: int,
    *,
    monitor: Monitor,
    prepare: Callable[[TrainState], Any] | None = None,
    put: Callable[[TrainState], TrainState] = lambda state: state,
    describe: Callable[[TrainState], dict[str, Any]] = lambda state: {},
    converged: Converged = lambda epochs: False,
) -> TrainState:
    """Trains for a number of epochs, from wherever the monitor left off.

    Args:
      loop: name of this loop, unique in its run.
      epoch: from ``compile_epoch``.
      state: the state before the first epoch; it is donated.
      data: the pytree that the loss gathers its batches from.
      key: random key of this loop, [R] of them with restarts.
      num_epochs: epochs in all, at most.
      monitor: restores, logs and checkpoints.
      prepare: from the state at the start of an epoch to what the loss gets beside the
        data in it: the epoch's data are then a pair of both.
      put: a state, where the epoch takes it.
      describe: more metrics of the state after an epoch.
      converged: from the metrics of the epochs so far to whether no more are needed.

    Returns:
      The state after the last epoch.

    Raises:
      Diverged: if a metric of any step is not finite; the state before that epoch is
        the last the monitor saw.
    """
    memory.return_freed()  # by what prepared the loop
    state, finished = monitor.restore(loop, state)
    state = put(state)
    # On the device once, not at every call of the epoch.
    data = jax.tree.map(
        lambda leaf: leaf if isinstance(leaf, HostRows) else jnp.asarray(leaf), data
    )
    epochs = monitor.epochs_of(loop)
    for index in range(finished, num_epochs):
        if converged(epochs):
            break
        of_epoch = data if prepare is None else (data, prepare(state))
        state, per_step = epoch(state, of_epoch, key)
        per_step = jax.device_get(per_step)
        _check_finite(loop, index, per_step)
        means = {name: values.mean(axis=-1) for name, values in per_step.items()}
        metrics = {name: mean.tolist() for name, mean in means.items()}
        metrics |= describe(state)
        epochs.append(metrics)
        if monitor.epoch_end(loop, index + 1, num_epochs, state, metrics):
            break
    return state


def optimize(
    loop: str,
    loss: Objective,
    params: Any,
    data: Any,
    key: jax.Array,
    schedule: Schedule,
    *,
    num_points: int,
    monitor: Monitor,
    table: Any = (),
    collections: Any = (),
    prepare: Prepare | None = None,
    prepared_from: Any = None,
    restarts: bool = False,
    data_axes: Any = None,
    rates: Mapping[str, Rate] = MappingProxyType({}),
    describe: Callable[[TrainState], dict[str, Any]] = lambda state: {},
    converged: Converged = lambda epochs: False,
) -> TrainState:
    """Minimises a loss by Adam or SGD: a state, a compiled epoch, the loop over epochs.

    What is compiled serves all loops of the same loss, settings and shapes: a loss and
    ``prepare`` that are made anew each time are compiled anew.

    Args:
      loop: name of this loop, unique in its run.
      loss: one, or turns; see ``compile_epoch``.
      params: initial parameters; with restarts, leaves have a leading axis R.
      data: the pytree that the loss gathers its batches from; HostRows among them are
        streamed to the device.
      key: random key of this loop, [R] of them with restarts.
      schedule: epochs, batch and learning rate.
      num_points: N, rows of the data.
      monitor: restores, logs and checkpoints.
      table: first values of the table, with restarts leaves of shape [R, N, ...].
      collections: first values of mutable collections, such as batch statistics.
      prepare: see ``compile_prepare``; what the loss gets is then a pair of the data
        and its result.
      prepared_from: what ``prepare`` gets beside the state, one for all restarts; None:
        the data.
      restarts: see ``compile_epoch``.
      data_axes: see ``compile_epoch``; hashable.
      rates: learning rates of entries of ``params`` that have their own.
      describe: more metrics of the state after an epoch.
      converged: see ``fit``.

    Returns:
      The state after the last epoch.

    Raises:
      Diverged: if a metric of any step is not finite.
    """
    streamed = streaming.is_streamed(data)
    optimizer, epoch, compiled_prepare = _compiled(
        loss,
        # How long it trains does not change what is compiled.
        schedule._replace(epochs=0),
        tuple(rates.items()),
        num_points,
        prepare,
        restarts,
        data_axes,
        streamed,
        _work(params, num_points) <= _BRIEF_WORK,
    )

    def create(params, table, collections):
        return create_state(params, optimizer, table, collections)

    state = (jax.vmap(create) if restarts else create)(params, table, collections)
    options = {}
    if not streamed:  # else the epoch puts them, a chunk at a time
        data = devices.put(data, num_points, data_axes)
        if prepared_from is not None:
            prepared_from = devices.put(prepared_from, num_points)
        key = devices.put_everywhere(key)
        options["put"] = lambda state: put_state(state, num_points, restarts)
    if compiled_prepare is not None:
        source = data if prepared_from is None else prepared_from
        options["prepare"] = lambda state: compiled_prepare(state, source)
    state = fit(
        loop,
        epoch,
        state,
        data,
        key,
        schedule.epochs,
        monitor=monitor,
        describe=describe,
        converged=converged,
        **options,
    )
    return devices.on_one(state)


@functools.lru_cache(maxsize=64)  # of programs, which take memory
def _compiled(
    loss: Objective,
    schedule: Schedule,
    rates: tuple[tuple[str, Rate], ...],
    num_points: int,
    prepare: Prepare | None,
    restarts: bool,
    data_axes: Any,
    streamed: bool,
    is_brief: bool,
) -> tuple[optax.GradientTransformation, Epoch, Prepare | None]:
    """Optimiser, epoch and what prepares it, the same for a loop seen before."""
    batch_size = min(schedule.batch_size, num_points)
    optimizer_of = functools.partial(
        descent_by_entry,
        rates=dict(rates),
        steps_per_epoch=steps_per_epoch(num_points, batch_size),
        weight_decay=schedule.weight_decay,
    )
    if isinstance(loss, tuple):
        optimizer = descent_by_turn(
            [optimizer_of(turn.rate or schedule.rate) for turn in loss],
            [turn.learns for turn in loss],
        )
    else:
        optimizer = optimizer_of(schedule.rate)
    compiled = functools.partial(
        compile_epoch, shuffle=schedule.shuffle, is_brief=is_brief
    )
    epoch = (compile_streamed_epoch if streamed else compiled)(
        loss,
        optimizer,
        num_points=num_points,
        batch_size=batch_size,
        restarts=restarts,
        # What is prepared from a restart's state is its own.
        data_axes=data_axes if prepare is None else (data_axes, 0),
    )
    if prepare is not None:
        prepare = compile_prepare(
            prepare, num_points=num_points, restarts=restarts, streamed=streamed
        )
    return optimizer, epoch, prepare


def _work(params: Any, num_points: int) -> int:
    """Rows times weights: what an epoch costs, in units of some operations."""
    return num_points * sum(np.size(leaf) for leaf in jax.tree.leaves(params))


def _check_finite(loop: str, index: int, per_step: dict[str, np.ndarray]) -> None:
    """Names the first step with a non-finite metric, and a term before any total."""
    first = None
    terms_first = sorted(per_step, key=lambda name: name in _TOTALS)  # False, then True
    for name in terms_first:
        values = per_step[name]
        # Of any restart.
        bad = ~np.isfinite(values).reshape(-1, values.shape[-1]).all(axis=0)
        if bad.any() and (first is None or bad.argmax() < first[0]):
            first = int(bad.argmax()), name, len(bad)
    if first is not None:
        step, name, num_steps = first
        raise Diverged(
            f"{name} is not finite at step {step + 1} of {num_steps} in epoch "
            f"{index + 1} of {loop}"
        )
