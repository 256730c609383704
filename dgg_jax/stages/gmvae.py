"""Training and evaluation of GMVAE."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgg_jax import devices
from dgg_jax.distributions import sample_gaussian
from dgg_jax.likelihoods import Likelihood
from dgg_jax.losses import gmvae
from dgg_jax.stages.evaluate import row_key
from dgg_jax.training import Monitor, Schedule, StepOutput, TrainState, optimize
from dgg_jax.training.loop import Loss
from dgg_jax.types import Gaussian, GmvaeTerms, Mixture

_BATCH = 500


class GmvaeFunctions(NamedTuple):
    """The networks as pure functions; collections hold batch statistics, or are ().

    Attributes:
      recognize: from (params, collections, x [B, D], train) to the posteriors of z and
        w, fields [B, L] and [B, w_dim], and the collections after it.
      components: from (params, w [B, w_dim]) to Mixture of [B, K, L].
      decode: from (params, collections, z [B, L], train) to ``decoded`` of the
        likelihood and the collections after it.
    """

    recognize: Callable[..., tuple[tuple[Gaussian, Gaussian], Any]]
    components: Callable[[Any, jax.Array], Mixture]
    decode: Callable[..., tuple[Any, Any]]


def uniform_log_weights(num_clusters: int) -> jax.Array:
    """ln pi_k = -ln K, as section 3.1 of GMVAE fixes it."""
    return jnp.full(num_clusters, -np.log(num_clusters), jnp.float32)


def _normals_of_batch(key, batch_size):
    """Two functions from a shape to standard normal arrays [B, *shape]."""
    return tuple(
        lambda shape, key=key: jax.random.normal(key, (batch_size, *shape))
        for key in jax.random.split(key)
    )


def _normals_of_rows(key, x):
    """The same, a row's draws by its own values alone."""
    keys = jax.vmap(lambda x: jax.random.split(row_key(key, x)))(x)
    return tuple(
        lambda shape, keys=keys[:, index]: jax.vmap(
            lambda key: jax.random.normal(key, shape)
        )(keys)
        for index in range(2)
    )


def _terms(
    networks,
    likelihood,
    params,
    collections,
    x,
    normals,
    *,
    num_samples,
    train,
    **settings,
):
    """Terms of every point [B] for each of the settings of the bound.

    normals draw, for z and for w, arrays [B, ...] from the standard normal.
    """
    (z_posterior, w_posterior), recognition = networks.recognize(
        params, collections, x, train
    )

    def draw(posterior, normal):
        eps = normal((num_samples, posterior.mean.shape[1]))
        return jax.vmap(jax.vmap(sample_gaussian, (None, 0)))(posterior, eps)

    z_normal, w_normal = normals
    z, w = draw(z_posterior, z_normal), draw(w_posterior, w_normal)

    def unflatten(tree):
        return jax.tree.map(
            lambda leaf: leaf.reshape(len(x), num_samples, *leaf.shape[1:]), tree
        )

    decoded, collections = networks.decode(
        params, recognition, z.reshape(-1, z.shape[-1]), train
    )
    mixtures = unflatten(networks.components(params, w.reshape(-1, w.shape[-1])))
    num_clusters = mixtures.mean.shape[2]
    log_weights = uniform_log_weights(num_clusters)
    decoded = unflatten(decoded)

    def bound(information_constraint):
        def of_point(x, decoded, z_posterior, w_posterior, z, mixtures):
            return gmvae.elbo(
                x,
                decoded,
                z_posterior,
                w_posterior,
                z,
                log_weights,
                mixtures,
                likelihood,
                information_constraint,
                **settings,
            )

        return jax.vmap(of_point)(x, decoded, z_posterior, w_posterior, z, mixtures)

    assign = jax.vmap(gmvae.log_assignment, (0, None, 0))
    return bound, assign(z, log_weights, mixtures), collections


@functools.cache
def gmvae_loss(
    networks: GmvaeFunctions,
    *,
    num_samples: int,
    information_constraint: float,
    joint: bool,
) -> Loss:
    """Minus the bound of a batch, eq. (4) of GMVAE, or (7) with a constraint.

    The metrics are the terms of the plain bound, so that the cluster prior can be seen
    below the constraint as well (the paper's figure 3).

    Args:
      networks: the apply functions.
      num_samples: M, draws of z and w for a point.
      information_constraint: lambda, in nats.
      joint: see ``losses.gmvae.elbo``.

    Returns:
      A loss for ``compile_epoch`` over (x, likelihood), with the table of ln p(c | x).
    """

    def loss(params, data, indices, key, collections=()):
        x, likelihood = data
        bound, rows, collections = _terms(
            networks,
            likelihood,
            params,
            collections,
            x[indices],
            _normals_of_batch(key, len(indices)),
            num_samples=num_samples,
            train=True,
            joint=joint,
        )
        objective = jnp.mean(bound(information_constraint).total)
        means = jax.tree.map(jnp.mean, bound(0.0))
        metrics = {**means._asdict(), "objective": objective}
        return -objective, StepOutput(metrics, rows=rows, collections=collections)

    return loss


def train_gmvae(
    x: np.ndarray,
    likelihood: Likelihood,
    params: Any,
    collections: Any,
    log_assignments: np.ndarray,
    loss: Loss,
    *,
    schedule: Schedule,
    key: jax.Array,
    monitor: Monitor,
    describe: Callable[[TrainState], dict[str, Any]] = lambda state: {},
) -> TrainState:
    """Maximises GMVAE's bound by Adam.

    Args:
      x: data, shape [N, D].
      likelihood: p(x | z).
      params: {"recognition", "components", "decoder"}.
      collections: their batch statistics, or ().
      log_assignments: first values of the table, shape [N, K].
      loss: ``gmvae_loss``.
      schedule: epochs, batch and learning rate.
      key: random key.
      monitor: follows the loop ``train``.
      describe: more metrics of the state after an epoch.

    Returns:
      The last state.
    """
    return optimize(
        "train",
        loss,
        params,
        (x, likelihood),
        key,
        schedule,
        num_points=len(x),
        monitor=monitor,
        table=log_assignments,
        collections=collections,
        describe=describe,
    )


def in_batches(function: Callable[[Any], Any], rows: Any) -> Any:
    """A function of batches [B, ...] on arrays of N rows, in batches of one size."""
    num_rows = len(jax.tree.leaves(rows)[0])
    size = max(1, min(_BATCH, num_rows))
    num_batches = -(-num_rows // size)

    def fold(leaf):
        # The last batch is filled up with the first rows, which are cut off again.
        padded = jnp.concatenate([leaf, leaf[: num_batches * size - num_rows]])
        return padded.reshape(num_batches, size, *leaf.shape[1:])

    result = jax.lax.map(function, jax.tree.map(fold, rows))
    return jax.tree.map(
        lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:num_rows], result
    )


@devices.compiled(static_argnames="networks")
def infer(
    networks: GmvaeFunctions, params: Any, collections: Any, x: np.ndarray
) -> tuple[Gaussian, Gaussian, jax.Array]:
    """Posteriors of z and w, and ln p(c | z, w) of eq. (3) at their means.

    Args:
      networks: the apply functions.
      params: of all networks.
      collections: their running statistics, or ().
      x: data, shape [N, D].

    Returns:
      Gaussians with fields [N, L] and [N, w_dim], and log probabilities [N, K].
    """
    return in_batches(lambda x: infer_batch(networks, params, collections, x), x)


def infer_batch(
    networks: GmvaeFunctions, params: Any, collections: Any, x: jax.Array
) -> tuple[Gaussian, Gaussian, jax.Array]:
    """As ``infer``, of one batch x [B, D]."""
    (z, w), _ = networks.recognize(params, collections, x, False)
    mixtures = networks.components(params, w.mean)
    log_weights = uniform_log_weights(mixtures.mean.shape[1])
    assign = jax.vmap(
        lambda z, mixture: gmvae.log_assignment(
            z[None], log_weights, jax.tree.map(lambda field: field[None], mixture)
        )
    )
    return z, w, assign(z.mean, mixtures)


@devices.compiled(static_argnames=("networks", "num_samples", "joint"))
def terms(
    networks: GmvaeFunctions,
    likelihood: Likelihood,
    params: Any,
    collections: Any,
    x: np.ndarray,
    key: jax.Array,
    *,
    num_samples: int,
    joint: bool,
) -> GmvaeTerms:
    """The plain bound of eq. (4) of every point, mean over draws of its own values.

    Args:
      networks: the apply functions.
      likelihood: p(x | z).
      params: of all networks.
      collections: their running statistics, or ().
      x: data, shape [N, D].
      key: random key.
      num_samples: M, draws of z and w for a point.
      joint: see ``losses.gmvae.elbo``.

    Returns:
      GmvaeTerms with fields [N], in nats.
    """

    def of_batch(x):
        bound, _, _ = _terms(
            networks,
            likelihood,
            params,
            collections,
            x,
            _normals_of_rows(key, x),
            num_samples=num_samples,
            train=False,
            joint=joint,
        )
        return bound(0.0)

    return in_batches(of_batch, x)
