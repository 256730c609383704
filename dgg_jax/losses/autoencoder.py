"""Losses of the pretraining: denoising autoencoder and plain VAE, one data point."""

from typing import Any

import jax
import jax.numpy as jnp

from dgg_jax import checks
from dgg_jax.distributions import expected_gaussian_log_prob, gaussian_entropy
from dgg_jax.likelihoods import Likelihood
from dgg_jax.types import Array, ElboTerms, Gaussian


def corrupt(x: Array, key: Array, rate: float) -> jax.Array:
    """Sets each feature to 0 with probability ``rate``: masking noise.

    Vincent et al., "Stacked denoising autoencoders", JMLR 2010, section 3.3.

    Args:
      x: any shape.
      key: a random key.
      rate: probability in [0, 1), a scalar.

    Returns:
      The corrupted x, same shape.

    Raises:
      InvalidInput: if rate is not a scalar.
    """
    checks.shapes(rate=(rate, ""))
    return jnp.where(jax.random.bernoulli(key, rate, x.shape), 0.0, x)


def squared_error(x: Array, reconstruction: Array) -> jax.Array:
    r"""Half the squared error, the loss of one layer's denoising autoencoder.

    .. math:: \tfrac{1}{2} \lVert x - \hat{x} \rVert^2

    Args:
      x: shape [D].
      reconstruction: shape [D].

    Returns:
      A scalar in squared units of x.

    Raises:
      InvalidInput: if shapes are not as above.
    """
    checks.shapes(x=(x, "D"), reconstruction=(reconstruction, "D"))
    return 0.5 * jnp.sum((x - reconstruction) ** 2)


def vae_elbo(
    x: Array, decoded: Any, posterior: Gaussian, likelihood: Likelihood
) -> ElboTerms:
    r"""The ELBO of a VAE with prior N(0, I), as ElboTerms whose cluster terms are 0.

    .. math::
      \ln p(x \mid z) + \mathbb{E}_{q(z \mid x)}[\ln \mathcal{N}(z; 0, I)]
      + H[q(z \mid x)]

    It is the mixture ELBO with K = 1: a standard normal component.

    Args:
      x: shape [D].
      decoded: g(z) for one z of the posterior.
      posterior: q(z | x), fields of shape [L].
      likelihood: p(x | z).

    Returns:
      ElboTerms of scalars, in nats per data point.

    Raises:
      InvalidInput: if shapes are not as above.
    """
    checks.shapes(posterior=(posterior, "L"))
    standard = jax.tree.map(jnp.zeros_like, posterior)
    zero = jnp.zeros((), posterior.mean.dtype)
    return ElboTerms(
        reconstruction=likelihood.log_prob(x, decoded),
        latent_prior=expected_gaussian_log_prob(posterior, standard),
        latent_entropy=gaussian_entropy(posterior),
        cluster_prior=zero,
        cluster_entropy=zero,
    )
