"""The values that travel through the library, as NamedTuples of arrays."""

from typing import NamedTuple

import jax
import numpy as np

Array = jax.Array | np.ndarray  # functions take both, and return jax's


class Gaussian(NamedTuple):
    """A diagonal Gaussian, such as q(z | x).

    Attributes:
      mean: shape [..., L].
      logvar: natural log of the variance, shape [..., L].
    """

    mean: Array
    logvar: Array


class Mixture(NamedTuple):
    """The K diagonal Gaussian components p(z | c), eq. (2) of DGG.

    Attributes:
      mean: shape [K, L].
      logvar: natural log of the variance, shape [K, L].
    """

    mean: Array
    logvar: Array


class Graph(NamedTuple):
    """A directed similarity graph; row i lists the neighbours of point i.

    Attributes:
      indices: neighbours of each point, integers of shape [N, S].
      weights: w_ij of eq. (32) of DGG, shape [N, S]; every row sums to 1.
    """

    indices: Array
    weights: Array


class ElboTerms(NamedTuple):
    """The five terms of the mixture ELBO, in nats, each with its sign in the ELBO.

    Attributes:
      reconstruction: ln p(x | z), scalar.
      latent_prior: sum_k gamma_k E_q[ln N(z; mu_k, sigma_k^2)], scalar.
      latent_entropy: H[q(z | x)], scalar.
      cluster_prior: sum_k gamma_k ln pi_k, scalar.
      cluster_entropy: -sum_k gamma_k ln gamma_k, scalar.
    """

    reconstruction: jax.Array
    latent_prior: jax.Array
    latent_entropy: jax.Array
    cluster_prior: jax.Array
    cluster_entropy: jax.Array

    @property
    def total(self) -> jax.Array:
        """The ELBO: the sum of the five terms."""
        return sum(self[1:], self[0])


class GmvaeTerms(NamedTuple):
    """The four terms of GMVAE's bound, eq. (4), in nats, each with its sign there.

    Attributes:
      reconstruction: ln p(x | z), scalar.
      conditional_prior: -E KL(q(z | x) || p(z | w, c)), scalar.
      w_prior: -KL(q(w | x) || N(0, I)), scalar.
      cluster_prior: -KL(p(c | z, w) || pi) or its constrained form, scalar.
    """

    reconstruction: jax.Array
    conditional_prior: jax.Array
    w_prior: jax.Array
    cluster_prior: jax.Array

    @property
    def total(self) -> jax.Array:
        """The bound: the sum of the four terms."""
        return sum(self[1:], self[0])
