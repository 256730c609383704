"""Training of DEC: encoder and centres follow their own sharpened assignments."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgg_jax.losses import dec
from dgg_jax.rows import map_blocks, map_rows
from dgg_jax.training import Monitor, Schedule, StepOutput, TrainState, optimize
from dgg_jax.training.loop import Loss, Prepare
from dgg_jax.types import Gaussian


def log_assignments(
    params: Any,
    x: jax.Array,
    encode: Callable[[Any, jax.Array], Gaussian],
    *,
    degrees_of_freedom: float,
    batch_size: int = 1024,
) -> jax.Array:
    """ln q of all points, in batches.

    Args:
      params: {"encoder", "centers"}.
      x: data, shape [N, D].
      encode: from (encoder parameters, x [B, D]) to Gaussian of [B, L].
      degrees_of_freedom: nu of the Student t kernel.
      batch_size: points encoded at once.

    Returns:
      ln q, shape [N, K].
    """
    of_rows = functools.partial(
        _log_assignments, encode, batch_size, params, degrees_of_freedom
    )
    return map_blocks(of_rows, x)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _log_assignments(encode, batch_size, params, degrees_of_freedom, x):
    def of_point(x):
        z = encode(params["encoder"], x[None]).mean[0]
        return dec.log_soft_assignment(z, params["centers"], degrees_of_freedom)

    return map_rows(of_point, x, min(batch_size, len(x)))


@functools.cache
def _target(encode: Any, degrees_of_freedom: float, batch_size: int) -> Prepare:
    """Computes the target of an epoch, and its clusters."""

    def prepare(state, x):
        log_q = log_assignments(
            state.params,
            x,
            encode,
            degrees_of_freedom=degrees_of_freedom,
            batch_size=batch_size,
        )
        return dec.target_distribution(log_q), jnp.argmax(log_q, axis=1)

    return prepare


@functools.cache
def _dec_loss(encode: Any, degrees_of_freedom: float) -> Loss:
    """KL(p || q) of a batch, over (x, (ln p [N, K], clusters [N]))."""
    soft_assignment = jax.vmap(dec.log_soft_assignment, (0, None, None))

    def loss(params, data, indices, key):
        x, target = data
        log_target, labels = (field[indices] for field in target)
        z = encode(params["encoder"], x[indices]).mean
        log_q = soft_assignment(z, params["centers"], degrees_of_freedom)
        value = jnp.mean(jax.vmap(dec.divergence)(log_target, log_q))
        changed = jnp.mean(jnp.argmax(log_q, axis=1) != labels, dtype=value.dtype)
        return value, StepOutput({"loss": value, "changed": changed})

    return loss


def train_dec(
    x: np.ndarray,
    params: Any,
    encode: Callable[[Any, jax.Array], Gaussian],
    *,
    degrees_of_freedom: float,
    schedule: Schedule,
    key: jax.Array,
    monitor: Monitor,
    describe: Callable[[TrainState], dict[str, Any]] = lambda state: {},
) -> Any:
    """Minimises KL(p || q) by Adam, eq. (2) of DEC.

    The target p is computed from the assignments of all points at the start of each
    epoch and held for that epoch; the paper, which trains by SGD with momentum, has an
    interval of steps. It stops once fewer than 0.1 % of the points change cluster
    between two targets; here the epochs are fixed, and the metric ``changed`` is the
    share of points whose cluster at their step is not the one at the epoch's start.

    Args:
      x: data, shape [N, D].
      params: {"encoder", "centers" [K, L]}: a trained autoencoder's encoder, and the
        centres of K-means in its latents.
      encode: from (encoder parameters, x [B, D]) to Gaussian of [B, L]; only its mean
        is used.
      degrees_of_freedom: nu of the Student t kernel.
      schedule: epochs, batch and learning rate.
      key: random key, of the batches.
      monitor: follows the loop ``dec``.
      describe: more metrics of the state after an epoch.

    Returns:
      The trained parameters.
    """
    state = optimize(
        "dec",
        _dec_loss(encode, degrees_of_freedom),
        params,
        x,
        key,
        schedule,
        num_points=len(x),
        monitor=monitor,
        prepare=_target(encode, degrees_of_freedom, schedule.batch_size),
        describe=describe,
    )
    return state.params
