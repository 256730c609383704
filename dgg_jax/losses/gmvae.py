"""The lower bound of GMVAE and its cluster assignment.

In our symbols (erratum E65): data x, latent z, cluster c; w stays w. The model draws
w ~ N(0, I), c ~ pi, z ~ N(mu_c(w), s_c(w)) and x ~ p(x | z); the posterior is
q(z | x) q(w | x) p(c | z, w).
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from dgg_jax.distributions import (
    component_log_probs,
    expectation,
    floor_log,
    gaussian_kl,
    gaussian_log_prob,
    responsibilities,
)
from dgg_jax.likelihoods import Likelihood
from dgg_jax.types import Gaussian, GmvaeTerms, Mixture


def elbo(
    x: jax.Array,
    decoded: Any,
    z_posterior: Gaussian,
    w_posterior: Gaussian,
    z: jax.Array,
    log_weights: jax.Array,
    mixtures: Mixture,
    likelihood: Likelihood,
    information_constraint: float = 0.0,
    joint: bool = False,
) -> GmvaeTerms:
    """Estimate of GMVAE's bound of ln p(x) from M draws (z^(m), w^(m)), eq. (4).

    With p_mk = p(c = k | z^(m), w^(m)) by eq. (3), the means over m of

        ln p(x | z^(m)),
        -sum_k p_mk KL(q(z | x) || p(z | w^(m), c = k)),                      eq. (5)
        -KL(q(w | x) || N(0, I)),
        -sum_k p_mk ln(p_mk / pi_k),                                          eq. (6)

    the last one as -max(lambda, its magnitude), with the maximum outside of the mean:
    eq. (7) for one data point. Below lambda it passes no gradient.

    Eq. (5) takes the assignment at z^(m) and its KL over an independent z (erratum
    E61): in the mean, the ELBO at q(c | w, x) = E[p(c | z, w)] less I(c; z | w), still
    a bound. With joint, z^(m) serves both, sum_k p_mk ln p(z^(m) | w^(m), c = k)
    - ln q(z^(m) | x): then conditional prior and unconstrained cluster prior together
    are ln sum_c pi_c N(z; mu_c(w), s_c(w)) - ln q(z | x), which is exact.

    Args:
      x: the data point, shape [D].
      decoded: g(z^(m)) as the likelihood takes it, leaves of shape [M, ...].
      z_posterior: q(z | x), fields of shape [L].
      w_posterior: q(w | x), fields of shape [w_dim].
      z: draws from q(z | x), shape [M, L].
      log_weights: ln pi, shape [K]; -inf is allowed.
      mixtures: the K components at each w^(m), fields of shape [M, K, L].
      likelihood: p(x | z).
      information_constraint: lambda in nats, at least 0; 0 is the plain bound.
      joint: whether one z serves assignment and density.

    Returns:
      GmvaeTerms of scalars, in nats per data point.
    """

    def at_draw(decoded, z, mixture):
        log_assignment = responsibilities(z, log_weights, mixture)
        if joint:
            log_densities = component_log_probs(z, mixture)
            log_q = gaussian_log_prob(z, z_posterior)
            conditional_prior = expectation(log_assignment, log_densities) - log_q
        else:
            divergences = jax.vmap(gaussian_kl, (None, 0))(
                z_posterior, Gaussian(*mixture)
            )
            conditional_prior = -expectation(log_assignment, divergences)
        cluster_divergence = expectation(
            log_assignment, log_assignment - floor_log(log_weights)
        )
        log_prob = likelihood.log_prob(x, decoded)
        return log_prob, conditional_prior, cluster_divergence

    reconstruction, conditional_prior, cluster_divergence = jax.tree.map(
        jnp.mean, jax.vmap(at_draw)(decoded, z, mixtures)
    )
    standard_normal = Gaussian(*jax.tree.map(jnp.zeros_like, w_posterior))
    return GmvaeTerms(
        reconstruction=reconstruction,
        conditional_prior=conditional_prior,
        w_prior=-gaussian_kl(w_posterior, standard_normal),
        cluster_prior=-jnp.maximum(cluster_divergence, information_constraint),
    )


def log_assignment(
    z: jax.Array, log_weights: jax.Array, mixtures: Mixture
) -> jax.Array:
    """ln p(c | x) for prediction: the log of the mean of eq. (3) over M draws.

    Args:
      z: draws from q(z | x), or its mean alone with M = 1, shape [M, L].
      log_weights: ln pi, shape [K].
      mixtures: the K components at each w^(m), fields of shape [M, K, L].

    Returns:
      Log probabilities of the clusters, shape [K].
    """
    per_draw = jax.vmap(responsibilities, (0, None, 0))(z, log_weights, mixtures)
    return jax.nn.logsumexp(per_draw, axis=0) - math.log(len(z))
