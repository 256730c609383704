"""The networks of GMVAE: q(z, w | x) and the mixture p(z | w, c).

Its p(x | z) is ``dense.Decoder`` with learned variance, or ``ConvolutionalDecoder``.
"""

from collections.abc import Sequence

import jax
from flax import linen as nn

from dgg_jax.networks.dense import bounded, hidden_layers
from dgg_jax.types import Gaussian, Mixture


class DenseTrunk(nn.Module):
    """The shared layers of q(z, w | x) for data that are no images, table A.1 of GMVAE.

    Attributes:
      hidden_sizes: widths of the ReLU layers.
    """

    hidden_sizes: Sequence[int]

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps x [B, D] to features [B, H]; train, the other trunk's, does nothing."""
        del train
        return hidden_layers(x, self.hidden_sizes)


class PlainTrunk(nn.Module):
    """A module of the user's own as trunk.

    Attributes:
      encoder: from x [B, D] to features [B, H].
    """

    encoder: nn.Module

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps x [B, D] to features [B, H]; train does nothing."""
        del train
        return self.encoder(x)


class RecognitionNetwork(nn.Module):
    """q(z | x) q(w | x) of GMVAE, table A.1: one trunk and four linear heads.

    Attributes:
      trunk: DenseTrunk, ConvolutionalTrunk or PlainTrunk.
      latent_dim: L, dimension of z.
      w_dim: dimension of w.
    """

    trunk: nn.Module
    latent_dim: int
    w_dim: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[Gaussian, Gaussian]:
        """Maps x [B, D] to q(z | x), fields [B, L], and q(w | x), fields [B, w_dim]."""
        features = self.trunk(x, train=train)
        # The log-variances start at 0, as dense.Encoder's.
        zeros = nn.initializers.zeros
        z_posterior, w_posterior = (
            Gaussian(
                mean=nn.Dense(size, name=f"{name}_mean")(features),
                logvar=bounded(
                    nn.Dense(size, kernel_init=zeros, name=f"{name}_logvar")(features)
                ),
            )
            for name, size in (("z", self.latent_dim), ("w", self.w_dim))
        )
        return z_posterior, w_posterior


class ComponentNetwork(nn.Module):
    """p(z | w, c) of GMVAE for all clusters, table A.2: one Tanh layer, 2K heads.

    The components start close together, with variances of 1, and part as the data ask.
    From means that differ as much as usual initialisers make them, one component takes
    all points of MNIST within the first epoch and keeps them.

    Attributes:
      hidden_size: width of the Tanh layer.
      num_clusters: K.
      latent_dim: L, dimension of z.
    """

    hidden_size: int
    num_clusters: int
    latent_dim: int

    @nn.compact
    def __call__(self, w: jax.Array) -> Mixture:
        """Maps w [B, w_dim] to K components at each, fields of shape [B, K, L]."""
        hidden = nn.tanh(nn.Dense(self.hidden_size, name="hidden")(w))
        shape = (self.num_clusters, self.latent_dim)
        size = self.num_clusters * self.latent_dim
        zeros = nn.initializers.zeros
        close = nn.initializers.variance_scaling(1e-6, "fan_in", "normal")
        mean = nn.Dense(size, kernel_init=close, name="mean")(hidden)
        logvar = nn.Dense(size, kernel_init=zeros, name="logvar")(hidden)
        return Mixture(mean=mean.reshape(-1, *shape), logvar=logvar.reshape(-1, *shape))
