"""Evaluation of a model as it stands: assignments, ELBO terms, metrics."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgg_jax import metrics
from dgg_jax.distributions import sample_gaussian
from dgg_jax.likelihoods import Likelihood
from dgg_jax.losses import autoencoder, ltvae
from dgg_jax.losses.elbo import elbo
from dgg_jax.networks import Networks
from dgg_jax.placement import devices
from dgg_jax.placement.rows import (
    HostRows,
    SparseRows,
    map_blocks,
    map_points,
    map_rows,
)
from dgg_jax.types import ElboTerms, Gaussian

_BATCH = 1000


def infer(
    networks: Networks, params: Any, x: jax.Array | SparseRows | HostRows
) -> tuple[Gaussian, jax.Array]:
    """Posteriors of all points and q(c | z) at their means (erratum E13), in batches.

    Args:
      networks: the model as pure functions.
      params: of the whole model.
      x: data, shape [N, D].

    Returns:
      q(z | x) with fields [N, L], and ln q(c | mean) [N, K].
    """
    return map_blocks(functools.partial(_infer, networks, params), x)


@devices.compiled(static_argnames="networks")
def _infer(networks, params, x):
    def one(x):
        posterior = networks.encode(params["encoder"], x)
        return posterior, networks.classify(params, posterior.mean)

    return map_rows(one, x, _BATCH)


def encode_all(encode: Any, params: Any, x: jax.Array | SparseRows | HostRows) -> Any:
    """A network of one input on all rows of x [N, D], in batches."""
    return map_blocks(functools.partial(_encode, encode, params), x)


@devices.compiled(static_argnames="encode")
def _encode(encode, params, x):
    return map_rows(functools.partial(encode, params), x, _BATCH)


def row_key(key: jax.Array, x: jax.Array) -> jax.Array:
    """A random key of a row's values [D]: neither its index nor other rows matter."""
    bits = jax.lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)
    # 2^32 over the golden ratio: equal values in other columns mix to other numbers.
    column = jnp.arange(x.size, dtype=jnp.uint32) * jnp.uint32(0x9E3779B9)
    mixed = bits + column  # then the finaliser of MurmurHash3
    mixed = (mixed ^ (mixed >> 16)) * jnp.uint32(0x85EBCA6B)
    mixed = (mixed ^ (mixed >> 13)) * jnp.uint32(0xC2B2AE35)
    mixed = mixed ^ (mixed >> 16)
    return jax.random.fold_in(key, jnp.sum(mixed, dtype=jnp.uint32))


def elbo_terms(
    networks: Networks,
    likelihood: Likelihood,
    params: Any,
    log_weights: jax.Array,
    x: jax.Array | SparseRows | HostRows,
    key: jax.Array,
    draws: int,
    log_assignments: jax.Array | None = None,
) -> ElboTerms:
    """The own-ELBO L(x_i; i) of every point under a global prior, mean over draws.

    gamma is taken at the sampled z, so that the mean bounds ln p(x) (erratum E13). A
    point's draws depend on the key and its own values alone.

    Args:
      networks: the model as pure functions.
      likelihood: p(x | z).
      params: of the whole model; without a "mixture" or ``networks.log_prior`` the
        prior is N(0, I), the VAE of pretraining.
      log_weights: ln pi of the global prior, shape [K]; unused without a mixture.
      x: data, shape [N, D].
      key: random key.
      draws: samples of z a point.
      log_assignments: fixed ln gamma [N, K] to use in place of q(c | z).

    Returns:
      ElboTerms with fields [N], in nats.
    """

    def of_rows(x, log_assignments):
        posterior = encode_all(networks.encode, params["encoder"], x)
        points = posterior, log_assignments
        total = None
        for drawn in jax.random.split(key, draws):
            terms = _elbo_terms(
                networks, likelihood, params, log_weights, x, points, drawn
            )
            # One after the other: each has a copy of x in its batches.
            jax.block_until_ready(terms)
            total = terms if total is None else jax.tree.map(jnp.add, total, terms)
        return jax.tree.map(lambda summed: summed / draws, total)

    return map_blocks(of_rows, x, log_assignments)


@devices.compiled(static_argnames="networks")
def _elbo_terms(networks, likelihood, params, log_weights, x, points, key):
    def one(point):
        row, (posterior, log_assignment) = point
        x = rows[row] if isinstance(rows, SparseRows) else row
        eps = jax.random.normal(row_key(key, x), posterior.mean.shape)
        z = sample_gaussian(posterior, eps)
        decoded = networks.decode(params["decoder"], z)
        if networks.log_prior is not None:
            log_prior = networks.log_prior(params, z)
            return ltvae.elbo(x, decoded, posterior, log_prior, likelihood)
        if "mixture" not in params:
            return autoencoder.vae_elbo(x, decoded, posterior, likelihood)
        gamma = log_assignment
        if gamma is None:
            gamma = networks.classify(params, z)
        return elbo(
            x, decoded, posterior, gamma, log_weights, params["mixture"], likelihood
        )

    rows = x
    x = jnp.arange(len(x)) if isinstance(x, SparseRows) else x
    return map_points(one, (x, points), _BATCH)


@jax.jit
def global_log_weights(
    log_assignments: jax.Array, sample_weight: jax.Array | None = None
) -> jax.Array:
    """ln of the mean gamma: the prior for new data (erratum E4).

    Args:
      log_assignments: ln gamma, shape [N, K].
      sample_weight: how much each row counts, with a mean of 1, [N]; None: all alike.

    Returns:
      Log-probabilities [K].
    """
    weights = None if sample_weight is None else sample_weight[:, None]
    total = jax.nn.logsumexp(log_assignments, axis=0, b=weights)
    return total - np.log(len(log_assignments))


def label_metrics(y: np.ndarray | None, labels: np.ndarray) -> dict[str, float | None]:
    """ACC, NMI and ARI of labels [N] against y [N]; None where y is."""
    if y is None:
        return {"accuracy": None, "nmi": None, "ari": None}
    return {
        "accuracy": metrics.clustering_accuracy(y, labels),
        "nmi": metrics.normalized_mutual_info(y, labels),
        "ari": metrics.adjusted_rand_index(y, labels),
    }


def log_one_hot(labels: np.ndarray, num_clusters: int) -> np.ndarray:
    """ln gamma [N, K] of labels [N]: 0 for the cluster of a row, else -inf."""
    with np.errstate(divide="ignore"):
        return np.log(np.eye(num_clusters, dtype=np.float32)[labels])


def balance_metrics(labels: np.ndarray, log_assignments: np.ndarray) -> dict[str, Any]:
    """How evenly the points lie in the clusters: whether these have collapsed.

    Args:
      labels: shape [N].
      log_assignments: ln gamma, shape [N, K].

    Returns:
      ``smallest_share`` of the labels, ``perplexity`` of the mean gamma, and the list
      ``thin_clusters``; see ``dgg_jax.metrics``.
    """
    num_clusters = log_assignments.shape[1]
    counts = np.bincount(labels, minlength=num_clusters)
    return {
        "smallest_share": float(counts.min() / len(labels)),
        "perplexity": metrics.assignment_perplexity(log_assignments),
        "thin_clusters": metrics.thin_clusters(labels, num_clusters),
    }


def elbo_metrics(terms: ElboTerms) -> dict[str, float]:
    """The ELBO and its terms as floats, in nats per data point."""
    values = {"elbo": terms.total, **terms._asdict()}
    return {name: float(value) for name, value in values.items()}
