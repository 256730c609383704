"""Log densities, entropies, divergences and responsibilities, for one data point."""

import math

import jax
import jax.numpy as jnp

from dgg_jax import checks
from dgg_jax.types import Array, Gaussian, Mixture

LOG_2PI = math.log(2.0 * math.pi)


def floor_log(log_probabilities: Array) -> jax.Array:
    """Raises log-probabilities to that of the smallest normal float of their dtype.

    Keeps a probability of 0 times its logarithm 0, never NaN; the gradient of a floored
    entry is 0.
    """
    tiny = jnp.finfo(log_probabilities.dtype).tiny
    return jnp.maximum(log_probabilities, math.log(tiny))


def expectation(log_probabilities: Array, values: Array) -> jax.Array:
    r"""The mean of v under p, given by its logarithm; entries with p_k = 0 count as 0.

    .. math:: \sum_k p_k v_k

    The inner ``where`` keeps the gradient finite at log 0.

    Args:
      log_probabilities: ln p, shape [K]; -inf is allowed.
      values: v, shape [K]; need only be finite where p > 0.

    Returns:
      The expectation, a scalar.

    Raises:
      InvalidInput: if shapes are not as above.

    Example:
      >>> import jax.numpy as jnp
      >>> from dgg_jax.distributions import expectation
      >>> expectation(jnp.array([-jnp.inf, 0.0]), jnp.array([jnp.inf, 3.0]))
      Array(3., dtype=float32)
    """
    checks.shapes(log_probabilities=(log_probabilities, "K"), values=(values, "K"))
    possible = log_probabilities > -jnp.inf
    probabilities = jnp.exp(jnp.where(possible, log_probabilities, 0.0))
    return jnp.sum(jnp.where(possible, probabilities * values, 0.0))


def categorical_entropy(log_probabilities: Array) -> jax.Array:
    r"""H[p] of a categorical distribution in nats, of ln p with shape [K].

    .. math:: H[p] = -\sum_k p_k \ln p_k

    Raises:
      InvalidInput: if shapes are not as above.
    """
    checks.shapes(log_probabilities=(log_probabilities, "K"))
    return -expectation(log_probabilities, log_probabilities)


def gaussian_log_prob(z: Array, gaussian: Gaussian) -> jax.Array:
    r"""ln N(z; mean, exp(logvar)) summed over the last axis.

    .. math::
      -\tfrac{1}{2} \sum_m \left( \ln 2\pi + \ln \sigma_m^2
      + \frac{(z_m - \mu_m)^2}{\sigma_m^2} \right)

    Args:
      z: shape [..., L].
      gaussian: fields of shape [..., L].

    Returns:
      Log density in nats, shape [...].

    Raises:
      InvalidInput: if shapes are not as above.

    Example:
      >>> import jax.numpy as jnp
      >>> from dgg_jax.distributions import gaussian_log_prob
      >>> from dgg_jax.types import Gaussian
      >>> gaussian_log_prob(jnp.zeros(2), Gaussian(jnp.zeros(2), jnp.zeros(2)))
      Array(-1.8379, dtype=float32)
    """
    checks.shapes(z=(z, "... L"), gaussian=(gaussian, "... L"))
    squared = (z - gaussian.mean) ** 2 * jnp.exp(-gaussian.logvar)
    return -0.5 * jnp.sum(LOG_2PI + gaussian.logvar + squared, axis=-1)


def gaussian_entropy(gaussian: Gaussian) -> jax.Array:
    r"""The entropy of a diagonal Gaussian, over the last axis.

    .. math::
      H[\mathcal{N}(\mu, \sigma^2)]
      = \tfrac{1}{2} \sum_m \left( 1 + \ln 2\pi + \ln \sigma_m^2 \right)

    The negative of supplement eq. (18) of DGG with its ln 2 pi kept (erratum E11).

    Args:
      gaussian: fields of shape [..., L].

    Returns:
      Entropy in nats, shape [...].

    Raises:
      InvalidInput: if shapes are not as above.

    Example:
      >>> import jax.numpy as jnp
      >>> from dgg_jax.distributions import gaussian_entropy
      >>> from dgg_jax.types import Gaussian
      >>> gaussian_entropy(Gaussian(jnp.zeros(2), jnp.zeros(2)))
      Array(2.8379, dtype=float32)
    """
    checks.shapes(gaussian=(gaussian, "... L"))
    return 0.5 * jnp.sum(1.0 + LOG_2PI + gaussian.logvar, axis=-1)


def expected_gaussian_log_prob(posterior: Gaussian, component: Gaussian) -> jax.Array:
    r"""E_{z ~ posterior}[ln N(z; component)] in closed form, over the last axis.

    .. math::
      -\tfrac{1}{2} \sum_m \left( \ln 2\pi + \ln \sigma_m^2
      + \frac{\tilde\sigma_m^2 + (\tilde\mu_m - \mu_m)^2}{\sigma_m^2} \right)

    for the posterior N(mu~, sigma~^2) and the component N(mu, sigma^2): supplement eq.
    (14) of DGG with the constant kept (errata E1, E11).

    Args:
      posterior: q(z | x), fields of shape [..., L].
      component: N(mu, sigma^2), fields of shape [..., L].

    Returns:
      Expected log density in nats, shape [...].

    Raises:
      InvalidInput: if shapes are not as above.

    Example:
      Of a distribution under itself it is the negative entropy.

      >>> import jax.numpy as jnp
      >>> from dgg_jax.distributions import expected_gaussian_log_prob
      >>> from dgg_jax.types import Gaussian
      >>> standard = Gaussian(jnp.zeros(2), jnp.zeros(2))
      >>> expected_gaussian_log_prob(standard, standard)
      Array(-2.8379, dtype=float32)
    """
    checks.shapes(posterior=(posterior, "... L"), component=(component, "... L"))
    second_moment = jnp.exp(posterior.logvar) + (posterior.mean - component.mean) ** 2
    scaled = second_moment * jnp.exp(-component.logvar)
    return -0.5 * jnp.sum(LOG_2PI + component.logvar + scaled, axis=-1)


def gaussian_kl(q: Gaussian, p: Gaussian) -> jax.Array:
    r"""KL(q || p) of two diagonal Gaussians, in nats, over the last axis.

    .. math::
      \tfrac{1}{2} \sum_m \left( \frac{\sigma_{q,m}^2}{\sigma_{p,m}^2} - 1
      - \ln \frac{\sigma_{q,m}^2}{\sigma_{p,m}^2}
      + \frac{(\mu_{q,m} - \mu_{p,m})^2}{\sigma_{p,m}^2} \right)

    Args:
      q: fields of shape [..., L].
      p: fields of shape [..., L].

    Returns:
      The divergence, shape [...].

    Raises:
      InvalidInput: if shapes are not as above.

    Example:
      >>> import jax.numpy as jnp
      >>> from dgg_jax.distributions import gaussian_kl
      >>> from dgg_jax.types import Gaussian
      >>> standard = Gaussian(jnp.zeros(1), jnp.zeros(1))
      >>> gaussian_kl(Gaussian(jnp.ones(1), jnp.zeros(1)), standard)
      Array(0.5, dtype=float32)
    """
    checks.shapes(q=(q, "... L"), p=(p, "... L"))
    # One sum of terms that are each >= 0, so that KL(q || q) is exactly 0.
    log_ratio = q.logvar - p.logvar
    squared = (q.mean - p.mean) ** 2 * jnp.exp(-p.logvar)
    return 0.5 * jnp.sum(jnp.expm1(log_ratio) - log_ratio + squared, axis=-1)


def component_log_probs(z: Array, mixture: Mixture) -> jax.Array:
    """ln N(z; mu_k, sigma_k^2) of every component.

    Args:
      z: shape [L].
      mixture: fields of shape [K, L].

    Returns:
      Log densities in nats, shape [K].

    Raises:
      InvalidInput: if shapes are not as above.
    """
    checks.shapes(z=(z, "L"), mixture=(mixture, "K L"))
    return jax.vmap(gaussian_log_prob, (None, 0))(z, Gaussian(*mixture))


def expected_component_log_probs(posterior: Gaussian, mixture: Mixture) -> jax.Array:
    """E_{z ~ posterior}[ln N(z; mu_k, sigma_k^2)] of every component.

    Args:
      posterior: q(z | x), fields of shape [L].
      mixture: fields of shape [K, L].

    Returns:
      Expected log densities in nats, shape [K].

    Raises:
      InvalidInput: if shapes are not as above.
    """
    checks.shapes(posterior=(posterior, "L"), mixture=(mixture, "K L"))
    expected = jax.vmap(expected_gaussian_log_prob, (None, 0))
    return expected(posterior, Gaussian(*mixture))


def mixture_log_prob(z: Array, log_weights: Array, mixture: Mixture) -> jax.Array:
    r"""The log density of a Gaussian mixture.

    .. math:: \ln \sum_k \pi_k \, \mathcal{N}(z; \mu_k, \sigma_k^2)

    Args:
      z: shape [L].
      log_weights: ln pi, shape [K].
      mixture: fields of shape [K, L].

    Returns:
      Log density in nats, a scalar.

    Raises:
      InvalidInput: if shapes are not as above.
    """
    checks.shapes(z=(z, "L"), log_weights=(log_weights, "K"), mixture=(mixture, "K L"))
    return jax.nn.logsumexp(log_weights + component_log_probs(z, mixture))


def responsibilities(z: Array, log_weights: Array, mixture: Mixture) -> jax.Array:
    r"""ln p(c | z) by Bayes' rule under the mixture, normalised in log space.

    .. math::
      p(c = k \mid z) = \frac{\pi_k \, \mathcal{N}(z; \mu_k, \sigma_k^2)}
      {\sum_{k'} \pi_{k'} \, \mathcal{N}(z; \mu_{k'}, \sigma_{k'}^2)}

    Args:
      z: shape [L].
      log_weights: ln pi, shape [K].
      mixture: fields of shape [K, L].

    Returns:
      Log responsibilities, shape [K].

    Raises:
      InvalidInput: if shapes are not as above.

    Example:
      Halfway between two equal components, the weights decide.

      >>> import jax.numpy as jnp
      >>> from dgg_jax.distributions import responsibilities
      >>> from dgg_jax.types import Mixture
      >>> mixture = Mixture(jnp.array([[-1.0], [1.0]]), jnp.zeros((2, 1)))
      >>> log_weights = jnp.log(jnp.array([0.25, 0.75]))
      >>> gamma = responsibilities(jnp.zeros(1), log_weights, mixture)
      >>> jnp.exp(gamma).round(2)
      Array([0.25, 0.75], dtype=float32)
    """
    checks.shapes(z=(z, "L"), log_weights=(log_weights, "K"), mixture=(mixture, "K L"))
    return jax.nn.log_softmax(log_weights + component_log_probs(z, mixture))


def sample_gaussian(gaussian: Gaussian, eps: Array) -> jax.Array:
    r"""The reparameterised sample, eq. (23) of DGG.

    .. math:: z = \mu + \sigma \circ \varepsilon

    Args:
      gaussian: fields of shape [..., L].
      eps: standard normal noise, shape [..., L].

    Returns:
      The sample, shape [..., L].

    Raises:
      InvalidInput: if shapes are not as above.
    """
    checks.shapes(gaussian=(gaussian, "... L"), eps=(eps, "... L"))
    return gaussian.mean + jnp.exp(0.5 * gaussian.logvar) * eps


def jensen_shannon(p: Gaussian, q: Gaussian, eps: Array) -> jax.Array:
    r"""JS(p || q) of two diagonal Gaussians by Monte Carlo, eq. (11) of DGG.

    .. math::
      \tfrac{1}{2} \mathbb{E}_p\left[\ln \frac{p}{m}\right]
      + \tfrac{1}{2} \mathbb{E}_q\left[\ln \frac{q}{m}\right],
      \qquad m = \tfrac{1}{2} (p + q)

    Where q(c | z) is shared by all points, eq. (20), this is also the JS of two joint
    posteriors over (z, c). Posteriors q(z | x) q(c | x), as they are trained, have a
    larger one, of their assignments too (erratum E17). The same eps serves both
    expectations.

    Args:
      p: fields of shape [L].
      q: fields of shape [L].
      eps: standard normal noise, shape [M, L].

    Returns:
      The mean of M draws in nats, a scalar between 0 and ln 2 up to sampling noise.

    Raises:
      InvalidInput: if shapes are not as above.

    Example:
      Of two distributions that are far apart it is ln 2.

      >>> import jax, jax.numpy as jnp
      >>> from dgg_jax.distributions import jensen_shannon
      >>> from dgg_jax.types import Gaussian
      >>> eps = jax.random.normal(jax.random.key(0), (16, 1))
      >>> p = Gaussian(jnp.zeros(1), jnp.zeros(1))
      >>> jensen_shannon(p, Gaussian(jnp.full(1, 50.0), jnp.zeros(1)), eps)
      Array(0.6931, dtype=float32)
    """
    checks.shapes(p=(p, "L"), q=(q, "L"), eps=(eps, "M L"))

    def mean_log_ratio(source: Gaussian, other: Gaussian) -> jax.Array:
        def log_ratio(eps):
            z = sample_gaussian(source, eps)
            difference = gaussian_log_prob(z, other) - gaussian_log_prob(z, source)
            # ln(source / m) = ln 2 - ln(1 + other / source)
            return math.log(2.0) - jax.nn.softplus(difference)

        return jnp.mean(jax.vmap(log_ratio)(eps))

    return 0.5 * (mean_log_ratio(p, q) + mean_log_ratio(q, p))
