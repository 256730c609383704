"""Training of VaDE: encoder, decoder and mixture together."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgg_jax.distributions import sample_gaussian
from dgg_jax.likelihoods import Likelihood
from dgg_jax.losses import vade
from dgg_jax.rows import HostRows, SparseRows
from dgg_jax.stages import evaluate
from dgg_jax.stages.train import ApplyFunctions
from dgg_jax.training import (
    Monitor,
    Rate,
    Schedule,
    StepOutput,
    TrainState,
    optimize,
)
from dgg_jax.training.loop import Loss, Prepare, steps_per_epoch
from dgg_jax.types import Gaussian


def log_weights(params: Any) -> jax.Array:
    """ln pi of the mixture's logits (erratum E45), shape [K]."""
    return jax.nn.log_softmax(params["logits"])


def bayes_assignment(params: Any, z: jax.Array) -> jax.Array:
    """ln p(c | z) of latents z [..., L] by eq. (12) of VaDE, shape [..., K]."""
    assign = jnp.vectorize(
        lambda z: vade.log_assignment(z, log_weights(params), params["mixture"]),
        signature="(l)->(k)",
    )
    return assign(z)


@functools.cache
def vade_loss(
    networks: ApplyFunctions,
    *,
    assignment: str,
    num_samples: int,
    reconstruction_weight: float,
) -> Loss:
    r"""-ELBO of a batch, eq. (13) of VaDE, its terms weighted.

    .. math::
      -\frac{1}{B} \sum_{i} \left( \frac{\alpha}{M} \sum_{m} \ln p(x_i \mid z_{im})
      - \beta D_{\text{KL}}( q(z, c \mid x_i) \,\|\, p(z, c) ) \right),
      \qquad z_{im} \sim q(z \mid x_i).

    alpha is ``reconstruction_weight``, section 4.2 of VaDE, and beta the KL weight of
    the epoch; the KL divergence is eq. (14)'s, with q(z, c | x) = q(z | x) q(c | x).

    Args:
      networks: the apply functions.
      assignment: q(c | x) from the "sample" drawn (the mean over them, if several), by
        eq. (11) and (12), or "mean_field", in closed form (erratum E41).
      num_samples: M, draws of z.
      reconstruction_weight: alpha.

    Returns:
      A loss for ``compile_epoch`` over ((x, likelihood), beta), or ((x, likelihood,
      labels), beta) to hold q(c | x) at labels [N]; with the table of ln q(c | x).
    """

    def terms_of_point(
        x, posterior, z, decoded, held, log_weights, mixture, likelihood
    ):
        if held is not None:
            log_assignment = held
        elif assignment == "sample":
            log_assignment = vade.log_assignment(z, log_weights, mixture)
        else:
            log_assignment = vade.mean_field_log_assignment(
                posterior, log_weights, mixture
            )

        def of_draw(decoded):
            return vade.elbo(
                x, decoded, posterior, log_assignment, log_weights, mixture, likelihood
            )

        terms = jax.tree.map(jnp.mean, jax.vmap(of_draw)(decoded))
        return terms, log_assignment

    def loss(params, prepared, indices, key):
        (x, likelihood, *labels), kl_weight = prepared
        x = x[indices]
        posterior, z, decoded = _draw(networks, params, x, key, num_samples)
        num_clusters = len(params["logits"])
        held = None
        if labels:
            held = jnp.log(jax.nn.one_hot(labels[0][indices], num_clusters))
        axes = (0, 0, 0, 0, 0, None, None, None)
        terms, log_assignment = jax.vmap(terms_of_point, axes)(
            x,
            posterior,
            z,
            decoded,
            held,
            log_weights(params),
            params["mixture"],
            likelihood,
        )
        means = jax.tree.map(jnp.mean, terms)
        others = means.total - means.reconstruction
        objective = reconstruction_weight * means.reconstruction + kl_weight * others
        metrics = {**means._asdict(), "objective": objective}
        return -objective, StepOutput(metrics, rows=log_assignment)

    return loss


def _draw(
    networks: ApplyFunctions, params: Any, x: jax.Array, key: jax.Array, num_samples
) -> tuple[Gaussian, jax.Array, Any]:
    """Posteriors [B, L], M draws of each [B, M, L], and their decodings [B, M, ...]."""
    posterior = networks.encode(params["encoder"], x)
    batch_size, latent_dim = posterior.mean.shape
    shape = (batch_size, num_samples, latent_dim)
    eps = jax.random.normal(key, shape, posterior.mean.dtype)
    z = jax.vmap(jax.vmap(sample_gaussian, (None, 0)))(posterior, eps)
    decoded = networks.decode(params["decoder"], z.reshape(-1, latent_dim))
    decoded = jax.tree.map(
        lambda leaf: leaf.reshape(batch_size, num_samples, *leaf.shape[1:]), decoded
    )
    return posterior, z, decoded


@functools.cache
def reconstruction_loss(networks: ApplyFunctions) -> Loss:
    r"""VaDE without its KL term: an autoencoder through the posterior mean.

    .. math::
      -\frac{1}{B} \sum_{i} \ln p(x_i \mid z = \tilde\mu_i), \qquad
      q(z \mid x_i) = \mathcal{N}(\tilde\mu_i, \tilde\sigma_i^2).

    The ablation of section 3.3 of VaDE: z would be unstable without the KL term, so the
    mean is decoded in its place, and no gradient reaches the mixture.

    Args:
      networks: the apply functions.

    Returns:
      A loss for ``compile_epoch`` over ((x, likelihood), beta), with the table of
      ln p(c | mean).
    """

    def loss(params, prepared, indices, key):
        (x, likelihood), _ = prepared
        x = x[indices]
        mean = networks.encode(params["encoder"], x).mean
        decoded = networks.decode(params["decoder"], mean)
        value = jnp.mean(jax.vmap(likelihood.log_prob)(x, decoded))
        rows = jax.lax.stop_gradient(bayes_assignment(params, mean))
        return -value, StepOutput({"objective": value}, rows=rows)

    return loss


def mean_reconstruction(
    networks: ApplyFunctions,
    likelihood: Likelihood,
    params: Any,
    x: jax.Array | SparseRows | HostRows,
) -> float:
    """What ``reconstruction_loss`` maximises, over all rows of x [N, D]: in nats."""
    values = evaluate.encode_all(_reconstruction(networks), (params, likelihood), x)
    return float(np.mean(values))


@functools.cache
def _reconstruction(networks: ApplyFunctions) -> Callable[[Any, jax.Array], jax.Array]:
    def of_row(params, x):
        params, likelihood = params
        mean = networks.encode(params["encoder"], x).mean
        return likelihood.log_prob(x, networks.decode(params["decoder"], mean))

    return of_row


@functools.cache
def _kl_weight(num_steps: int, kl_warmup_epochs: int) -> Prepare:
    """Computes beta of an epoch of ``num_steps``."""

    def prepare(state, _):
        epoch = state.step // num_steps
        return jnp.minimum(1.0, (epoch + 1) / (kl_warmup_epochs + 1))

    return prepare


def train_vade(
    loop: str,
    loss: Loss,
    x: np.ndarray,
    likelihood: Likelihood,
    params: Any,
    log_assignments: jax.Array,
    *,
    labels: np.ndarray | None = None,
    kl_warmup_epochs: int,
    schedule: Schedule,
    rates: Mapping[str, Rate],
    keys: jax.Array,
    monitor: Monitor,
    describe: Callable[[TrainState], dict[str, Any]] = lambda state: {},
) -> TrainState:
    """Maximises VaDE's objective by Adam, for R restarts at once.

    Args:
      loop: name of this loop.
      loss: ``vade_loss`` or ``reconstruction_loss``.
      x: data, shape [N, D].
      likelihood: p(x | z).
      params: {"encoder", "decoder", "mixture", "logits"}, leaves with a leading axis R.
      log_assignments: first values of the table, shape [R, N, K].
      labels: of each restart, [R, N], to hold q(c | x) at.
      kl_warmup_epochs: epochs in which the weight of all but the reconstruction rises
        to 1, in equal stairs.
      schedule: epochs, batch and the networks' learning rate.
      rates: of the entries of params that have their own, the mixture's.
      keys: random keys, [R].
      monitor: follows the loop.
      describe: more metrics of the state after an epoch.

    Returns:
      The last state: params and the table, with a leading axis R.
    """
    num_points = len(x)
    batch_size = min(schedule.batch_size, num_points)
    return optimize(
        loop,
        loss,
        params,
        (x, likelihood) if labels is None else (x, likelihood, labels),
        keys,
        schedule,
        num_points=num_points,
        monitor=monitor,
        table=log_assignments,
        prepare=_kl_weight(steps_per_epoch(num_points, batch_size), kl_warmup_epochs),
        prepared_from=(),
        restarts=True,
        data_axes=None if labels is None else (None, None, 0),
        rates=rates,
        describe=describe,
    )
