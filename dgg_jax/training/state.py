"""What an epoch of training receives and returns."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dgg_jax.placement import devices


class TrainState(NamedTuple):
    """Everything that changes while a loop trains; a checkpoint holds all of it.

    Attributes:
      step: optimiser steps taken, an int32 scalar; random keys are folded with it.
      params: parameters, a pytree.
      opt_state: the optimiser's state.
      table: values kept per data point, leaves of shape [N, ...], such as DGG's table
        of gammas; () where there are none.
      collections: mutable collections of the networks, such as batch statistics; ()
        where there are none.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    table: Any = ()
    collections: Any = ()


def create_state(
    params: Any,
    optimizer: optax.GradientTransformation,
    table: Any = (),
    collections: Any = (),
) -> TrainState:
    """The state before the first step, in buffers of its own.

    The copies are what an epoch may take over (donation) without taking the caller's.
    """
    params, table, collections = jax.tree.map(jnp.array, (params, table, collections))
    return TrainState(
        jnp.zeros((), jnp.int32), params, optimizer.init(params), table, collections
    )


def put_state(state: TrainState, num_points: int, restarts: bool) -> TrainState:
    """Puts a state on the devices: the table spread by rows, the rest on each.

    Args:
      state: in the host's memory or on one device.
      num_points: N.
      restarts: whether leaves have a leading axis of restarts.
    """
    table = devices.put(state.table, num_points, 0 if restarts else None)
    return devices.put_everywhere(state._replace(table=()))._replace(table=table)
