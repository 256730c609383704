"""Training of SpectralNet: a network that maps points to their spectral embedding."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgg_jax import checks
from dgg_jax.losses import spectralnet
from dgg_jax.training import Monitor, Schedule, StepOutput, TrainState, optimize
from dgg_jax.training.loop import Loss


class SpectralParams(NamedTuple):
    """A trained SpectralNet: the network and its last layer.

    Attributes:
      network: parameters of the network.
      orthonormalizer: R, the weights of the orthonormalising layer, shape [K, K].
    """

    network: Any
    orthonormalizer: jax.Array


def spectral_embedding(
    params: SpectralParams,
    x: jax.Array,
    apply: Callable[[Any, jax.Array], jax.Array],
    *,
    batch_size: int = 1024,
) -> jax.Array:
    """Y of any points, also of those that were not trained on, in batches.

    Args:
      params: of a trained SpectralNet.
      x: shape [N, D].
      apply: from (network parameters, x [B, D]) to outputs [B, K].
      batch_size: points mapped at once.

    Returns:
      Y, shape [N, K].
    """
    return _outputs(params.network, x, apply, batch_size) @ params.orthonormalizer


def _outputs(network, x, apply, batch_size):
    x = jnp.asarray(x)

    def of_point(x):
        return apply(network, x[None])[0]

    return jax.lax.map(of_point, x, batch_size=min(batch_size, len(x)))


@functools.cache
def _spectralnet_loss(apply: Any, num_neighbors: int, normalized: bool) -> Loss:
    """The loss of a batch, over (x, embedding)."""

    def loss(params, data, indices, key):
        x, embedding = data
        outputs = apply(params, x[indices])
        outputs = outputs @ spectralnet.orthonormalizer(outputs)
        affinity = spectralnet.gaussian_affinity(embedding[indices], num_neighbors)
        value = spectralnet.loss(outputs, affinity, normalized=normalized)
        return value, StepOutput({"loss": value})

    return loss


def train_spectralnet(
    x: np.ndarray,
    embedding: np.ndarray,
    params: Any,
    apply: Callable[[Any, jax.Array], jax.Array],
    *,
    num_neighbors: int,
    normalized: bool,
    schedule: Schedule,
    key: jax.Array,
    monitor: Monitor,
    describe: Callable[[TrainState], dict[str, Any]] = lambda state: {},
) -> SpectralParams:
    """Minimises the SpectralNet loss of orthonormalised batches by Adam.

    The outputs Y~ of a batch are orthonormalised by R of that batch, and the gradient
    passes through R: the loss is the trace quotient tr((Y~^T Y~)^-1 Y~^T L Y~), which
    ignores the scale of Y~. The paper alternates: one batch sets R, and a step on
    another holds it fixed. On handwritten digits such steps by Adam ended at ten times
    the loss. At the end R is set from all points, so that Y^T Y = N I.

    Args:
      x: what the network sees, shape [N, D].
      embedding: what the affinities are computed from, such as the Siamese embedding,
        shape [N, L].
      params: initial parameters of the network.
      apply: from (params, x [B, D]) to outputs [B, K].
      num_neighbors: k of the affinity, nearest in the batch.
      normalized: whether the Laplacian is the normalised one.
      schedule: epochs, batch and learning rate. The loss sees the neighbours within a
        batch only: take large batches, 1,024 in the released code for MNIST.
      key: random key, of the batches.
      monitor: follows the loop ``spectralnet``.
      describe: more metrics of the state after an epoch.

    Returns:
      SpectralParams; ``spectral_embedding`` maps points by them.

    Raises:
      InvalidInput: if a batch has too few points for K orthonormal outputs.
    """
    num_points = len(x)
    num_outputs = jax.eval_shape(apply, params, jnp.asarray(x[:1])).shape[1]
    batch_size = min(schedule.batch_size, num_points)
    checks.in_range("batch_size", batch_size, num_outputs + 1)
    network = optimize(
        "spectralnet",
        _spectralnet_loss(apply, num_neighbors, normalized),
        params,
        (x, embedding),
        key,
        schedule,
        num_points=num_points,
        monitor=monitor,
        describe=describe,
    ).params
    outputs = _outputs(network, x, apply, batch_size)
    return SpectralParams(network, spectralnet.orthonormalizer(outputs))
