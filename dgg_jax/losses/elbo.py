"""The evidence lower bound of a VAE whose prior is a Gaussian mixture."""

from typing import Any

import jax

from dgg_jax import checks
from dgg_jax.distributions import (
    categorical_entropy,
    expectation,
    expected_component_log_probs,
    floor_log,
    gaussian_entropy,
)
from dgg_jax.likelihoods import Likelihood
from dgg_jax.types import Array, ElboTerms, Gaussian, Mixture


def latent_terms(
    posterior: Gaussian, log_assignment: Array, mixture: Mixture
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The ELBO terms that depend on the source alone, not on the point or its prior.

    Args:
      posterior: q(z | x_j), fields of shape [L].
      log_assignment: ln gamma_j, shape [K].
      mixture: fields of shape [K, L].

    Returns:
      latent_prior, latent_entropy and cluster_entropy: scalars in nats.

    Raises:
      InvalidInput: if shapes are not as above.
    """
    checks.shapes(
        posterior=(posterior, "L"),
        log_assignment=(log_assignment, "K"),
        mixture=(mixture, "K L"),
    )
    log_densities = expected_component_log_probs(posterior, mixture)
    return (
        expectation(log_assignment, log_densities),
        gaussian_entropy(posterior),
        categorical_entropy(log_assignment),
    )


def elbo(
    x: Array,
    decoded: Any,
    posterior: Gaussian,
    log_assignment: Array,
    log_prior: Array,
    mixture: Mixture,
    likelihood: Likelihood,
) -> ElboTerms:
    r"""One-sample estimate of the mixture ELBO of x, seen from a source j.

    .. math::
      \begin{aligned}
      L(x; j) = {} & \ln p(x \mid z_j)
      + \sum_k \gamma_{jk} \,
      \mathbb{E}_{q(z \mid x_j)}[\ln \mathcal{N}(z; \mu_k, \sigma_k^2)]
      + H[q(z \mid x_j)] \\
      & + \sum_k \gamma_{jk} \ln \pi_k - \sum_k \gamma_{jk} \ln \gamma_{jk}
      \end{aligned}

    Eq. (21) of DGG when the source's arguments are x's own, eq. (26) when they are a
    neighbour's, with the 1/2 of the latent prior (E1), x's own prior (E3) and every
    constant (E9, E11). gamma is taken at one z while the latent prior integrates over
    q(z | x) (E13, E15), so the mean over eps is the ELBO at q(c | x) = E[gamma] less
    I(c; z): still a lower bound of ln p(x). With log_prior = ln pi shared by all points
    it is eq. (13) of VaDE.

    Args:
      x: the data point, shape [D].
      decoded: g(z_j) as the likelihood takes it.
      posterior: q(z | x_j), fields of shape [L].
      log_assignment: ln gamma_j, shape [K].
      log_prior: ln pi of x, shape [K]; floored at the smallest normal float, so that
        gamma = 0 against pi = 0 is 0.
      mixture: fields of shape [K, L].
      likelihood: p(x | z).

    Returns:
      ElboTerms of scalars, in nats per data point.

    Raises:
      InvalidInput: if shapes are not as above.

    Example:
      >>> import jax.numpy as jnp
      >>> from dgg_jax.likelihoods import Bernoulli
      >>> from dgg_jax.losses import dgg
      >>> from dgg_jax.types import Gaussian, Mixture
      >>> x, logits = jnp.ones(4), jnp.full(4, 2.0)
      >>> posterior = Gaussian(jnp.zeros(2), jnp.zeros(2))
      >>> mixture = Mixture(jnp.array([[0.0, 0.0], [1.0, 1.0]]), jnp.zeros((2, 2)))
      >>> gamma, pi = jnp.log(jnp.array([0.9, 0.1])), jnp.log(jnp.array([0.5, 0.5]))
      >>> terms = dgg.elbo(x, logits, posterior, gamma, pi, mixture, Bernoulli())
      >>> for name, value in terms._asdict().items():
      ...     print(f"{name:15} {value:7.4f}")
      reconstruction  -0.5077
      latent_prior    -2.9379
      latent_entropy   2.8379
      cluster_prior   -0.6931
      cluster_entropy  0.3251
      >>> terms.total
      Array(-0.9758, dtype=float32)
    """
    checks.shapes(
        posterior=(posterior, "L"),
        log_assignment=(log_assignment, "K"),
        log_prior=(log_prior, "K"),
        mixture=(mixture, "K L"),
    )
    latent_prior, latent_entropy, cluster_entropy = latent_terms(
        posterior, log_assignment, mixture
    )
    return ElboTerms(
        reconstruction=likelihood.log_prob(x, decoded),
        latent_prior=latent_prior,
        latent_entropy=latent_entropy,
        cluster_prior=expectation(log_assignment, floor_log(log_prior)),
        cluster_entropy=cluster_entropy,
    )
