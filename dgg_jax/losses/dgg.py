r"""The DGG objective: both exact forms of J, its prior update and its bound on the JS.

With A = (1 - eta/2) I + (eta/2) W, the objective of eq. (19) of DGG is

.. math::
  J = \sum_i \sum_j A_{ij} L(x_i; j), \qquad \pi_i = \sum_j A_{ij} \gamma_j,

where eta = ``graph_strength`` is 1 in the paper. ``tuple_objective`` is the inner sum
of one point i over its sources j, as Algorithm 1 prints it: 1 + S network passes a
point. ``node_objective`` is the sum over all points i of one source j: the points that
list j as their neighbour enter through weighted sufficient statistics, so a source
costs one network pass whatever S is. Summed over all points, both give J.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from dgg_jax import checks
from dgg_jax.distributions import (
    expectation,
    floor_log,
    gaussian_log_prob,
    mixture_log_prob,
)
from dgg_jax.likelihoods import Likelihood
from dgg_jax.losses.elbo import elbo, latent_terms
from dgg_jax.types import Array, ElboTerms, Gaussian, Mixture

__all__ = [
    "elbo",
    "jensen_shannon_bound",
    "log_evidence",
    "node_objective",
    "node_terms",
    "operator_weights",
    "tuple_objective",
    "tuple_terms",
    "update_prior",
]


def operator_weights(weights: Array, graph_strength: float = 1.0) -> jax.Array:
    """The row of A = (1 - eta/2) I + (eta/2) W of one point, self first.

    Args:
      weights: w_ij of its neighbours, shape [S], summing to 1.
      graph_strength: eta in [0, 2]; 1 is the paper (erratum E5).

    Returns:
      A_ij of the point itself and its neighbours, shape [1 + S].

    Raises:
      InvalidInput: if shapes are not as above.

    Example:
      >>> import jax.numpy as jnp
      >>> from dgg_jax.losses import dgg
      >>> dgg.operator_weights(jnp.array([0.5, 0.5]))
      Array([0.5 , 0.25, 0.25], dtype=float32)
    """
    checks.shapes(weights=(weights, "S"), graph_strength=(graph_strength, ""))
    own = jnp.ones(1, weights.dtype) - graph_strength / 2
    return jnp.concatenate([own, graph_strength / 2 * weights])


def update_prior(
    log_assignment: Array,
    neighbor_log_assignments: Array,
    weights: Array,
    graph_strength: float = 1.0,
) -> jax.Array:
    r"""ln pi_i of the empirical-Bayes prior that maximises eq. (30) of DGG.

    .. math::
      \pi_i = \left(1 - \frac{\eta}{2}\right) \gamma_i
      + \frac{\eta}{2} \sum_j w_{ij} \gamma_j

    Eq. (31) as printed is not the Lagrange solution of eq. (30) and does not sum to 1;
    this is (erratum E2).

    Args:
      log_assignment: ln gamma_i, shape [K].
      neighbor_log_assignments: ln gamma_j, shape [S, K].
      weights: w_ij, shape [S], summing to 1.
      graph_strength: eta in [0, 2]; 1 is the paper.

    Returns:
      ln pi_i, shape [K], floored at the smallest normal float.

    Raises:
      InvalidInput: if shapes are not as above.

    Example:
      A point of cluster 0, one neighbour of each cluster:

      >>> import jax.numpy as jnp
      >>> from dgg_jax.losses import dgg
      >>> own, neighbors = jnp.log(jnp.array([1.0, 0.0])), jnp.log(jnp.eye(2))
      >>> jnp.exp(dgg.update_prior(own, neighbors, jnp.array([0.5, 0.5])))
      Array([0.75, 0.25], dtype=float32)
    """
    checks.shapes(
        log_assignment=(log_assignment, "K"),
        neighbor_log_assignments=(neighbor_log_assignments, "S K"),
        weights=(weights, "S"),
        graph_strength=(graph_strength, ""),
    )
    # Also before: the gradient of ln(0 + ... + 0) is NaN.
    log_assignments = floor_log(
        jnp.concatenate([log_assignment[None], neighbor_log_assignments], axis=0)
    )
    row = operator_weights(weights.astype(log_assignment.dtype), graph_strength)
    return floor_log(jax.nn.logsumexp(log_assignments, b=row[:, None], axis=0))


def tuple_terms(
    x: Array,
    decoded: Any,
    posteriors: Gaussian,
    log_assignments: Array,
    weights: Array,
    mixture: Mixture,
    likelihood: Likelihood,
    graph_strength: float = 1.0,
) -> ElboTerms:
    """The terms of ``tuple_objective``, each weighted over the sources; same arguments.

    Returns:
      ElboTerms of scalars in nats, whose total is the share of point i in J.

    Raises:
      InvalidInput: if shapes are not as there.
    """
    checks.shapes(
        weights=(weights, "S"),
        decoded=(jax.tree.leaves(decoded), "1+S ..."),
        posteriors=(posteriors, "1+S L"),
        log_assignments=(log_assignments, "1+S K"),
        mixture=(mixture, "K L"),
        graph_strength=(graph_strength, ""),
    )
    log_prior = jax.lax.stop_gradient(
        update_prior(log_assignments[0], log_assignments[1:], weights, graph_strength)
    )

    def from_source(decoded, posterior, log_assignment):
        return elbo(
            x, decoded, posterior, log_assignment, log_prior, mixture, likelihood
        )

    terms = jax.vmap(from_source)(decoded, posteriors, log_assignments)
    row = operator_weights(weights, graph_strength)
    return jax.tree.map(lambda term: jnp.sum(row * term), terms)


def tuple_objective(
    x: Array,
    decoded: Any,
    posteriors: Gaussian,
    log_assignments: Array,
    weights: Array,
    mixture: Mixture,
    likelihood: Likelihood,
    graph_strength: float = 1.0,
) -> jax.Array:
    r"""The share of one point i in J: Algorithm 1 of DGG as printed.

    .. math:: \sum_j A_{ij} L(x_i; j)

    The summand of eq. (19) evaluated by eq. (21) and (26); the prior is that of
    ``update_prior`` and passes no gradient, which loses nothing at its maximum (E3).

    Args:
      x: the point i, shape [D].
      decoded: g(z_j) of the sources, self first, leaves of shape [1 + S, ...].
      posteriors: q(z | x_j), self first, fields of shape [1 + S, L].
      log_assignments: ln gamma_j, self first, shape [1 + S, K].
      weights: w_ij of the neighbours, shape [S].
      mixture: fields of shape [K, L].
      likelihood: p(x | z).
      graph_strength: eta in [0, 2]; 1 is the paper.

    Returns:
      The share of point i in J, in nats, a scalar.

    Raises:
      InvalidInput: if shapes are not as above.
    """
    return tuple_terms(
        x,
        decoded,
        posteriors,
        log_assignments,
        weights,
        mixture,
        likelihood,
        graph_strength,
    ).total


def node_terms(
    statistics: Any,
    degree: Array,
    decoded: Any,
    posterior: Gaussian,
    log_assignment: Array,
    smoothed_log_prior: Array,
    mixture: Mixture,
    likelihood: Likelihood,
) -> ElboTerms:
    """The terms of ``node_objective``, each summed over A; same arguments.

    Returns:
      ElboTerms of scalars in nats, whose total is the share of source j in J.

    Raises:
      InvalidInput: if shapes are not as there.
    """
    checks.shapes(
        degree=(degree, ""),
        posterior=(posterior, "L"),
        log_assignment=(log_assignment, "K"),
        smoothed_log_prior=(smoothed_log_prior, "K"),
        mixture=(mixture, "K L"),
    )
    latent_prior, latent_entropy, cluster_entropy = latent_terms(
        posterior, log_assignment, mixture
    )
    smoothed_log_prior = jax.lax.stop_gradient(smoothed_log_prior)
    return ElboTerms(
        reconstruction=likelihood.smoothed_log_prob(statistics, degree, decoded),
        latent_prior=degree * latent_prior,
        latent_entropy=degree * latent_entropy,
        cluster_prior=expectation(log_assignment, smoothed_log_prior),
        cluster_entropy=degree * cluster_entropy,
    )


def node_objective(
    statistics: Any,
    degree: Array,
    decoded: Any,
    posterior: Gaussian,
    log_assignment: Array,
    smoothed_log_prior: Array,
    mixture: Mixture,
    likelihood: Likelihood,
) -> jax.Array:
    r"""The share of one source j in J: its node form.

    .. math::
      \sum_i A_{ij} L(x_i; j) = R(z_j; t_j, d_j)
      + d_j (\text{latent prior}_j + \text{latent entropy}_j + \text{cluster entropy}_j)
      + \sum_k \gamma_{jk} r_{jk},

    .. math::
      t_j = \sum_i A_{ij} T(x_i), \qquad d_j = \sum_i A_{ij}, \qquad
      r_j = \sum_i A_{ij} \ln \pi_i

    R is the likelihood's ``smoothed_log_prob``. This reorders the double sum of eq.
    (19) of DGG, so that sampling j uniformly estimates J / N without bias for the price
    of one VAE pass.

    Args:
      statistics: t_j, a pytree as the likelihood's sufficient_statistics, or its
        centred form.
      degree: d_j, a scalar.
      decoded: g(z_j) as the likelihood takes it.
      posterior: q(z | x_j), fields of shape [L].
      log_assignment: ln gamma_j, shape [K].
      smoothed_log_prior: r_j, shape [K]; constant, no gradient passes.
      mixture: fields of shape [K, L].
      likelihood: p(x | z).

    Returns:
      The share of source j in J, in nats, a scalar.

    Raises:
      InvalidInput: if shapes are not as above.

    Example:
      Two points, each the other's only neighbour, so that A is 1/2 everywhere. Summed
      over the points, both forms agree.

      >>> import jax, jax.numpy as jnp
      >>> from dgg_jax.likelihoods import Bernoulli
      >>> from dgg_jax.losses import dgg
      >>> from dgg_jax.types import Gaussian, Mixture
      >>> x, logits = jnp.eye(2), jnp.array([[1.0, -1.0], [-2.0, 2.0]])
      >>> posteriors = Gaussian(logits, jnp.zeros((2, 2)))
      >>> gamma = jnp.log(jnp.array([[0.9, 0.1], [0.2, 0.8]]))
      >>> mixture = Mixture(jnp.eye(2), jnp.zeros((2, 2)))
      >>> log_prior = jnp.log(jnp.exp(gamma).mean(axis=0))  # of both points
      >>> node = jax.vmap(dgg.node_objective, (None, None, 0, 0, 0, None, None, None))
      >>> statistics, degree = x.mean(axis=0), 1.0
      >>> node(
      ...     statistics,
      ...     degree,
      ...     logits,
      ...     posteriors,
      ...     gamma,
      ...     log_prior,
      ...     mixture,
      ...     Bernoulli(),
      ... ).sum()
      Array(-8.4312, dtype=float32)
      >>> sum(
      ...     dgg.tuple_objective(
      ...         x[i],
      ...         *jax.tree.map(lambda rows: rows[order], (logits, posteriors, gamma)),
      ...         jnp.ones(1),
      ...         mixture,
      ...         Bernoulli(),
      ...     )
      ...     for i, order in enumerate(jnp.array([[0, 1], [1, 0]]))  # self first
      ... )
      Array(-8.4312, dtype=float32)
    """
    return node_terms(
        statistics,
        degree,
        decoded,
        posterior,
        log_assignment,
        smoothed_log_prior,
        mixture,
        likelihood,
    ).total


def jensen_shannon_bound(
    log_evidence: Array, own_elbo: Array, neighbor_elbo: jax.Array
) -> jax.Array:
    r"""G(x_i, x_j), the bound on the JS of two posteriors, eq. (12) and (16) of DGG.

    .. math::
      G(x_i, x_j) = \ln p(x_i) - \tfrac{1}{2} \left( L(x_i; i) + L(x_i; j) \right)

    With ELBOs that are exact in eps, G bounds the JS of the two joint posteriors from
    above, eq. (13). That is the JS of q(z | x_i) and q(z | x_j) where both share
    q(c | z), eq. (20); with assignments of the means, as they are trained (erratum
    E13), it is larger, for these are pulled together too (erratum E17).

    Args:
      log_evidence: ln p(x_i) under x_i's own prior, in nats, a scalar.
      own_elbo: L(x_i; i), a scalar.
      neighbor_elbo: L(x_i; j), a scalar.

    Returns:
      The bound in nats, a scalar.

    Raises:
      InvalidInput: if shapes are not as above.
    """
    checks.shapes(
        log_evidence=(log_evidence, ""),
        own_elbo=(own_elbo, ""),
        neighbor_elbo=(neighbor_elbo, ""),
    )
    return log_evidence - 0.5 * (own_elbo + neighbor_elbo)


def log_evidence(
    x: Array,
    decoded: Any,
    z: Array,
    posterior: Gaussian,
    log_prior: Array,
    mixture: Mixture,
    likelihood: Likelihood,
) -> jax.Array:
    r"""ln p(x) by importance sampling from q(z | x).

    .. math::
      \ln \frac{1}{M} \sum_m \frac{p(x \mid z_m)
      \sum_k \pi_k \, \mathcal{N}(z_m; \mu_k, \sigma_k^2)}{q(z_m \mid x)}

    Consistent, and below ln p(x) in the mean at finite M.

    Args:
      x: shape [D].
      decoded: g(z_m), leaves of shape [M, ...].
      z: draws from the posterior, shape [M, L].
      posterior: q(z | x), fields of shape [L].
      log_prior: ln pi of x, shape [K].
      mixture: fields of shape [K, L].
      likelihood: p(x | z).

    Returns:
      The estimate in nats, a scalar.

    Raises:
      InvalidInput: if shapes are not as above.
    """
    checks.shapes(
        decoded=(jax.tree.leaves(decoded), "M ..."),
        z=(z, "M L"),
        posterior=(posterior, "L"),
        log_prior=(log_prior, "K"),
        mixture=(mixture, "K L"),
    )

    def log_weight(decoded, z):
        return (
            likelihood.log_prob(x, decoded)
            + mixture_log_prob(z, log_prior, mixture)
            - gaussian_log_prob(z, posterior)
        )

    log_weights = jax.vmap(log_weight)(decoded, z)
    return jax.nn.logsumexp(log_weights) - math.log(len(z))
