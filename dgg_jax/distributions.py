"""Log densities, entropies, divergences and responsibilities, for one data point."""

import math

import jax
import jax.numpy as jnp

from dgg_jax.types import Gaussian, Mixture

LOG_2PI = math.log(2.0 * math.pi)


def floor_log(log_probabilities: jax.Array) -> jax.Array:
    """Raises log-probabilities to that of the smallest normal float of their dtype.

    Keeps a probability of 0 times its logarithm 0, never NaN; the gradient of a floored
    entry is 0.
    """
    tiny = jnp.finfo(log_probabilities.dtype).tiny
    return jnp.maximum(log_probabilities, math.log(tiny))


def expectation(log_probabilities: jax.Array, values: jax.Array) -> jax.Array:
    """sum_k p_k v_k for p given by its logarithm; entries with p_k = 0 count as 0.

    The inner ``where`` keeps the gradient finite at log 0.

    Args:
      log_probabilities: ln p, shape [K]; -inf is allowed.
      values: v, shape [K]; need only be finite where p > 0.

    Returns:
      The expectation, a scalar.
    """
    possible = log_probabilities > -jnp.inf
    probabilities = jnp.exp(jnp.where(possible, log_probabilities, 0.0))
    return jnp.sum(jnp.where(possible, probabilities * values, 0.0))


def categorical_entropy(log_probabilities: jax.Array) -> jax.Array:
    """H[p] = -sum_k p_k ln p_k in nats, of ln p with shape [K]."""
    return -expectation(log_probabilities, log_probabilities)


def gaussian_log_prob(z: jax.Array, gaussian: Gaussian) -> jax.Array:
    """ln N(z; mean, exp(logvar)) summed over the last axis.

    Args:
      z: shape [..., L].
      gaussian: fields of shape [..., L].

    Returns:
      Log density in nats, shape [...].
    """
    squared = (z - gaussian.mean) ** 2 * jnp.exp(-gaussian.logvar)
    return -0.5 * jnp.sum(LOG_2PI + gaussian.logvar + squared, axis=-1)


def gaussian_entropy(gaussian: Gaussian) -> jax.Array:
    """H[N(mean, exp(logvar))] = 1/2 sum_m (1 + ln 2 pi + logvar_m).

    The negative of supplement eq. (18) of DGG with its ln 2 pi kept (erratum E11).

    Args:
      gaussian: fields of shape [..., L].

    Returns:
      Entropy in nats, shape [...].
    """
    return 0.5 * jnp.sum(1.0 + LOG_2PI + gaussian.logvar, axis=-1)


def expected_gaussian_log_prob(posterior: Gaussian, component: Gaussian) -> jax.Array:
    """E_{z ~ posterior}[ln N(z; component)] in closed form, over the last axis.

    -1/2 sum_m (ln 2 pi + ln s_m^2 + (v_m + (m_m - mu_m)^2) / s_m^2), supplement
    eq. (14) of DGG with the constant kept (errata E1, E11).

    Args:
      posterior: q(z | x), fields of shape [..., L].
      component: N(mu, s^2), fields of shape [..., L].

    Returns:
      Expected log density in nats, shape [...].
    """
    second_moment = jnp.exp(posterior.logvar) + (posterior.mean - component.mean) ** 2
    scaled = second_moment * jnp.exp(-component.logvar)
    return -0.5 * jnp.sum(LOG_2PI + component.logvar + scaled, axis=-1)


def gaussian_kl(q: Gaussian, p: Gaussian) -> jax.Array:
    """KL(q || p) of two diagonal Gaussians, in nats, over the last axis.

    Args:
      q: fields of shape [..., L].
      p: fields of shape [..., L].

    Returns:
      The divergence, shape [...].
    """
    # One sum of terms that are each >= 0, so that KL(q || q) is exactly 0.
    log_ratio = q.logvar - p.logvar
    squared = (q.mean - p.mean) ** 2 * jnp.exp(-p.logvar)
    return 0.5 * jnp.sum(jnp.expm1(log_ratio) - log_ratio + squared, axis=-1)


def component_log_probs(z: jax.Array, mixture: Mixture) -> jax.Array:
    """ln N(z; mu_k, sigma_k^2) of every component.

    Args:
      z: shape [L].
      mixture: fields of shape [K, L].

    Returns:
      Log densities in nats, shape [K].
    """
    return jax.vmap(gaussian_log_prob, (None, 0))(z, Gaussian(*mixture))


def expected_component_log_probs(posterior: Gaussian, mixture: Mixture) -> jax.Array:
    """E_{z ~ posterior}[ln N(z; mu_k, sigma_k^2)] of every component.

    Args:
      posterior: q(z | x), fields of shape [L].
      mixture: fields of shape [K, L].

    Returns:
      Expected log densities in nats, shape [K].
    """
    expected = jax.vmap(expected_gaussian_log_prob, (None, 0))
    return expected(posterior, Gaussian(*mixture))


def mixture_log_prob(
    z: jax.Array, log_weights: jax.Array, mixture: Mixture
) -> jax.Array:
    """ln sum_k pi_k N(z; mu_k, sigma_k^2).

    Args:
      z: shape [L].
      log_weights: ln pi, shape [K].
      mixture: fields of shape [K, L].

    Returns:
      Log density in nats, a scalar.
    """
    return jax.nn.logsumexp(log_weights + component_log_probs(z, mixture))


def responsibilities(
    z: jax.Array, log_weights: jax.Array, mixture: Mixture
) -> jax.Array:
    """ln p(c | z) by Bayes' rule under the mixture, normalised in log space.

    Args:
      z: shape [L].
      log_weights: ln pi, shape [K].
      mixture: fields of shape [K, L].

    Returns:
      Log responsibilities, shape [K].
    """
    return jax.nn.log_softmax(log_weights + component_log_probs(z, mixture))


def sample_gaussian(gaussian: Gaussian, eps: jax.Array) -> jax.Array:
    """The reparameterised sample mean + sigma * eps, eq. (23) of DGG.

    Args:
      gaussian: fields of shape [L].
      eps: standard normal noise, shape [L].

    Returns:
      The sample, shape [L].
    """
    return gaussian.mean + jnp.exp(0.5 * gaussian.logvar) * eps


def jensen_shannon(p: Gaussian, q: Gaussian, eps: jax.Array) -> jax.Array:
    """JS(p || q) of two diagonal Gaussians by Monte Carlo, eq. (11) of DGG.

    1/2 E_p[ln p/m] + 1/2 E_q[ln q/m] with m = (p + q) / 2. Since q(c | z) is shared by
    all points, this is also the JS of two joint posteriors over (z, c) (erratum E17).
    The same eps serves both expectations.

    Args:
      p: fields of shape [L].
      q: fields of shape [L].
      eps: standard normal noise, shape [M, L].

    Returns:
      The mean of M draws in nats, a scalar between 0 and ln 2 up to sampling noise.
    """

    def mean_log_ratio(source: Gaussian, other: Gaussian) -> jax.Array:
        def log_ratio(eps):
            z = sample_gaussian(source, eps)
            difference = gaussian_log_prob(z, other) - gaussian_log_prob(z, source)
            # ln(source / m) = ln 2 - ln(1 + other / source)
            return math.log(2.0) - jax.nn.softplus(difference)

        return jnp.mean(jax.vmap(log_ratio)(eps))

    return 0.5 * (mean_log_ratio(p, q) + mean_log_ratio(q, p))
