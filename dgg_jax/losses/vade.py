r"""The VaDE objective: the mixture ELBO with a global prior and Bayes' assignments.

The generative process, section 3.1 of VaDE, with f the decoder:

.. math::
  \begin{aligned}
  c &\sim \operatorname{Cat}(\pi), \\
  z \mid c &\sim \mathcal{N}(\mu_c, \operatorname{diag} \sigma_c^2), \\
  x \mid z &\sim \operatorname{Ber}(f(z)) \text{ or } \mathcal{N}(f(z), \lambda I).
  \end{aligned}

The paper's decoder gives a Gaussian's variance as well (erratum E42); its sigma_c^2 I
is read as diagonal (erratum E43). The encoder's q(z | x) is a diagonal Gaussian, and

.. math::
  \mathcal{L}(x) = \mathbb{E}_{q(z \mid x) \, q(c \mid x)} \left[ \ln p(x \mid z)
  + \ln p(z \mid c) + \ln \pi_c - \ln q(z \mid x) - \ln q(c \mid x) \right]

is eq. (13). VaDE has no classifier: q(c | x) follows from the mixture, by eq. (12) of
the paper at one z, at several, or in closed form. Everything else is the ELBO that it
shares with DGG, with log_prior = ln pi of all points.
"""

import math

import jax
import jax.numpy as jnp

from dgg_jax import checks
from dgg_jax.distributions import expected_component_log_probs, responsibilities
from dgg_jax.losses.elbo import elbo
from dgg_jax.types import Array, Gaussian, Mixture

__all__ = ["elbo", "log_assignment", "mean_field_log_assignment"]


def log_assignment(z: Array, log_weights: Array, mixture: Mixture) -> jax.Array:
    r"""ln q(c | x), the mean of p(c | z) over draws from q(z | x).

    .. math::
      p(c \mid z) = \frac{\pi_c \, \mathcal{N}(z; \mu_c, \sigma_c^2)}
      {\sum_{c'} \pi_{c'} \, \mathcal{N}(z; \mu_{c'}, \sigma_{c'}^2)},
      \qquad q(c \mid x) = \mathbb{E}_{q(z \mid x)}[p(c \mid z)]

    Eq. (12) of VaDE, with pi_c once and nothing added (erratum E40); its mean over
    q(z | x) is eq. (11). Log-sum-exp throughout.

    Args:
      z: one draw, shape [L], or several, shape [M, L].
      log_weights: ln pi, shape [K]; -inf is allowed.
      mixture: fields of shape [K, L].

    Returns:
      Log probabilities, shape [K].

    Raises:
      InvalidInput: if shapes are not as above.

    Example:
      >>> import jax.numpy as jnp
      >>> from dgg_jax.losses import vade
      >>> from dgg_jax.types import Mixture
      >>> mixture = Mixture(jnp.array([[-1.0], [1.0]]), jnp.zeros((2, 1)))
      >>> log_weights = jnp.log(jnp.array([0.5, 0.5]))
      >>> jnp.exp(vade.log_assignment(jnp.array([1.0]), log_weights, mixture)).round(2)
      Array([0.12, 0.88], dtype=float32)
      >>> draws = jnp.array([[1.0], [-1.0]])
      >>> jnp.exp(vade.log_assignment(draws, log_weights, mixture))
      Array([0.5, 0.5], dtype=float32)
    """
    checks.shapes(
        z=(z, "L" if z.ndim == 1 else "M L"),
        log_weights=(log_weights, "K"),
        mixture=(mixture, "K L"),
    )
    if z.ndim == 1:
        return responsibilities(z, log_weights, mixture)
    each = jax.vmap(responsibilities, (0, None, None))(z, log_weights, mixture)
    # The gradient of ln(0 + ... + 0), of a cluster of weight 0, would be NaN.
    possible = log_weights > -jnp.inf
    total = jax.nn.logsumexp(jnp.where(possible[None], each, 0.0), axis=0)
    return jnp.where(possible, total - math.log(len(z)), -jnp.inf)


def mean_field_log_assignment(
    posterior: Gaussian, log_weights: Array, mixture: Mixture
) -> jax.Array:
    r"""ln q(c | x) that maximises the ELBO given q(z | x) (erratum E41).

    .. math::
      q(c \mid x) \propto
      \pi_c \exp \mathbb{E}_{q(z \mid x)}[\ln \mathcal{N}(z; \mu_c, \sigma_c^2)]

    Eq. (11) of VaDE is a different function of q(z | x), whose ELBO is never higher.

    Args:
      posterior: q(z | x), fields of shape [L].
      log_weights: ln pi, shape [K].
      mixture: fields of shape [K, L].

    Returns:
      Log probabilities, shape [K].

    Raises:
      InvalidInput: if shapes are not as above.

    Example:
      >>> import jax.numpy as jnp
      >>> from dgg_jax.losses import vade
      >>> from dgg_jax.types import Gaussian, Mixture
      >>> mixture = Mixture(jnp.array([[-1.0], [1.0]]), jnp.zeros((2, 1)))
      >>> posterior = Gaussian(jnp.array([1.0]), jnp.array([0.0]))
      >>> log_weights = jnp.log(jnp.array([0.5, 0.5]))
      >>> gamma = vade.mean_field_log_assignment(posterior, log_weights, mixture)
      >>> jnp.exp(gamma).round(2)
      Array([0.12, 0.88], dtype=float32)
    """
    checks.shapes(
        posterior=(posterior, "L"),
        log_weights=(log_weights, "K"),
        mixture=(mixture, "K L"),
    )
    expected = expected_component_log_probs(posterior, mixture)
    return jax.nn.log_softmax(log_weights + expected)
