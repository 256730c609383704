"""The lower bound of GMVAE and its cluster assignment.

In our symbols (erratum E65): data x, latent z, cluster c; w stays w. The model draws
w ~ N(0, I), c ~ pi, z ~ N(mu_c(w), s_c(w)) and x ~ p(x | z); the posterior is
q(z | x) q(w | x) p(c | z, w).
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from dgg_jax import checks
from dgg_jax.distributions import (
    component_log_probs,
    expectation,
    floor_log,
    gaussian_kl,
    gaussian_log_prob,
    responsibilities,
)
from dgg_jax.likelihoods import Likelihood
from dgg_jax.types import Array, Gaussian, GmvaeTerms, Mixture


def elbo(
    x: Array,
    decoded: Any,
    z_posterior: Gaussian,
    w_posterior: Gaussian,
    z: Array,
    log_weights: Array,
    mixtures: Mixture,
    likelihood: Likelihood,
    information_constraint: float = 0.0,
    joint: bool = False,
) -> GmvaeTerms:
    r"""Estimate of GMVAE's bound of ln p(x) from M draws (z^(m), w^(m)), eq. (4).

    With p_mk = p(c = k | z^(m), w^(m)) by eq. (3), the means over m of

    .. math::
      \begin{aligned}
      & \ln p(x \mid z^{(m)}), \\
      & -\sum_k p_{mk} \operatorname{KL}(q(z \mid x) \,\|\, p(z \mid w^{(m)}, c = k)),
      & & \text{eq. (5)} \\
      & -\operatorname{KL}(q(w \mid x) \,\|\, \mathcal{N}(0, I)), \\
      & -\sum_k p_{mk} \ln (p_{mk} / \pi_k), & & \text{eq. (6)}
      \end{aligned}

    the last one as -max(lambda, its magnitude), with the maximum outside of the mean:
    eq. (7) for one data point. Below lambda it passes no gradient.

    Eq. (5) takes the assignment at z^(m) and its KL over an independent z (erratum
    E61): in the mean, the ELBO at q(c | w, x) = E[p(c | z, w)] less I(c; z | w), still
    a bound. With joint, z^(m) serves both,

    .. math::
      \sum_k p_{mk} \ln p(z^{(m)} \mid w^{(m)}, c = k) - \ln q(z^{(m)} \mid x):

    then conditional prior and unconstrained cluster prior together are exact,

    .. math::
      \ln \sum_c \pi_c \, \mathcal{N}(z; \mu_c(w), s_c(w)) - \ln q(z \mid x).

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

    Raises:
      InvalidInput: if shapes are not as above.

    Example:
      One draw; the point is certain of its cluster, so the cluster prior is -ln 2.

      >>> import jax.numpy as jnp
      >>> from dgg_jax.likelihoods import Bernoulli
      >>> from dgg_jax.losses import gmvae
      >>> from dgg_jax.types import Gaussian, Mixture
      >>> posterior = Gaussian(jnp.array([5.0]), jnp.array([-4.0]))
      >>> components = Mixture(jnp.array([[[-5.0], [5.0]]]), jnp.zeros((1, 2, 1)))
      >>> terms = gmvae.elbo(
      ...     jnp.ones(3),
      ...     jnp.zeros((1, 3)),
      ...     posterior,
      ...     Gaussian(jnp.zeros(1), jnp.zeros(1)),
      ...     posterior.mean[None],
      ...     jnp.log(jnp.array([0.5, 0.5])),
      ...     components,
      ...     Bernoulli(),
      ... )
      >>> terms.cluster_prior, terms.w_prior
      (Array(-0.6931, dtype=float32), Array(-0., dtype=float32))
    """
    checks.shapes(
        decoded=(jax.tree.leaves(decoded), "M ..."),
        z_posterior=(z_posterior, "L"),
        w_posterior=(w_posterior, "w_dim"),
        z=(z, "M L"),
        log_weights=(log_weights, "K"),
        mixtures=(mixtures, "M K L"),
        information_constraint=(information_constraint, ""),
    )

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


def log_assignment(z: Array, log_weights: Array, mixtures: Mixture) -> jax.Array:
    r"""ln p(c | x) for prediction: the log of the mean of eq. (3) over M draws.

    .. math:: p(c \mid x) = \frac{1}{M} \sum_m p(c \mid z^{(m)}, w^{(m)})

    Args:
      z: draws from q(z | x), or its mean alone with M = 1, shape [M, L].
      log_weights: ln pi, shape [K].
      mixtures: the K components at each w^(m), fields of shape [M, K, L].

    Returns:
      Log probabilities of the clusters, shape [K].

    Raises:
      InvalidInput: if shapes are not as above.
    """
    checks.shapes(
        z=(z, "M L"), log_weights=(log_weights, "K"), mixtures=(mixtures, "M K L")
    )
    per_draw = jax.vmap(responsibilities, (0, None, 0))(z, log_weights, mixtures)
    return jax.nn.logsumexp(per_draw, axis=0) - math.log(len(z))
