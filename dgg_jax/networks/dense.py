"""The fully connected networks of DGG: f_1, g, f_2 and the Siamese embedding."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgg_jax.types import Gaussian

_LARGEST_LOGVAR = 30.0
# Names of the layers that take rows to principal components, and back.
PROJECTION, COLUMNS = "principal_components", "columns_of_components"


def bounded(logvar: jax.Array) -> jax.Array:
    """Log-variances cut to [-30, 30], far from what ordinary data reach.

    A head's output grows with its input: for an outlier of 1e6 its exponential would
    leave float32.
    """
    return jnp.clip(logvar, -_LARGEST_LOGVAR, _LARGEST_LOGVAR)


def present(x: jax.Array) -> jax.Array:
    """x, of any shape, with 0 where a value is missing, which is NaN.

    A denoising autoencoder has learned to do without values that are 0.
    """
    return jnp.where(jnp.isnan(x), 0.0, x)


def log_normalized(x: jax.Array) -> jax.Array:
    """ln(1 + x) of counts [..., D] whose mean was brought to 1, row by row.

    ``data.preprocessing.log_normalize`` is the same of numpy's arrays.
    """
    size = jnp.sum(x, axis=-1, keepdims=True)
    return jnp.log1p(x * (x.shape[-1] / jnp.maximum(size, 1e-30)))


def in_batches(z: jax.Array, num_batches: int) -> jax.Array:
    """z [..., L], followed by the one-hot vector of each batch, [..., M, L + M]."""
    shape = (*z.shape[:-1], num_batches)
    batches = jnp.broadcast_to(jnp.eye(num_batches, dtype=z.dtype), (*shape, shape[-1]))
    repeated = jnp.broadcast_to(z[..., None, :], (*shape, z.shape[-1]))
    return jnp.concatenate([repeated, batches], axis=-1)


def hidden_layers(x: jax.Array, sizes: Sequence[int]) -> jax.Array:
    """ReLU layers "hidden_0", ... of the module that calls it, x [B, D] to [B, H]."""
    for index, size in enumerate(sizes):
        x = nn.relu(nn.Dense(size, name=f"hidden_{index}")(x))
    return x


class Projection(nn.Module):
    """Principal components of rows, which nothing learns; 0 until they are set.

    Attributes:
      num_components: P.
    """

    num_components: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps x [..., D] to (x - mean) axes, [..., P]."""
        num_features, zeros = x.shape[-1], nn.initializers.zeros
        mean = jax.lax.stop_gradient(self.param("mean", zeros, (num_features,)))
        shape = (num_features, self.num_components)
        axes = jax.lax.stop_gradient(self.param("axes", zeros, shape))
        return (x - jnp.broadcast_to(mean, x.shape)) @ axes


class Columns(nn.Module):
    """Columns of principal components: nothing learns these, but a bias is learned.

    Attributes:
      num_features: D.
    """

    num_features: int

    @nn.compact
    def __call__(self, components: jax.Array) -> jax.Array:
        """Maps components [..., P] to components axes + bias, [..., D]."""
        zeros, shape = nn.initializers.zeros, (components.shape[-1], self.num_features)
        axes = jax.lax.stop_gradient(self.param("axes", zeros, shape))
        columns = components @ axes
        bias = self.param("bias", zeros, shape[1:])
        return columns + jnp.broadcast_to(bias, columns.shape)


def is_learned(params: Any) -> Any:
    """Whether optimisers change parameters, for each leaf of a pytree of them."""

    def learned(path, _):
        names = [getattr(key, "key", None) for key in path]
        return PROJECTION not in names and names[-2:] != [COLUMNS, "axes"]

    return jax.tree_util.tree_map_with_path(learned, params)


class Encoder(nn.Module):
    """f_1 of eq. (6) of DGG: D-500-500-2000-L, with heads for mean and logvar.

    Attributes:
      hidden_sizes: widths of the ReLU layers.
      latent_dim: L.
      seen: what the first layer sees of x.
      num_batches: M, columns of the one-hot vector of a row's batch, which follow its
        values and are seen as they are.
      num_components: P, principal components in which rows are seen (``Projection``);
        0: in their columns.
    """

    hidden_sizes: Sequence[int]
    latent_dim: int
    seen: Callable[[jax.Array], jax.Array] = present
    num_batches: int = 0
    num_components: int = 0

    @nn.compact
    def __call__(self, x: jax.Array) -> Gaussian:
        """Maps x [B, D + M] to q(z | x) with fields of shape [B, L]."""
        num_values = x.shape[-1] - self.num_batches
        seen = self.seen(x[..., :num_values])
        if self.num_components:
            seen = Projection(self.num_components, name=PROJECTION)(seen)
        if self.num_batches:
            seen = jnp.concatenate([seen, x[..., num_values:]], axis=-1)
        x = hidden_layers(seen, self.hidden_sizes)
        # The log-variances start at 0 wherever x lies, also after pretraining stages
        # that do not train this head.
        zeros = nn.initializers.zeros
        mean = nn.Dense(self.latent_dim, name="mean")(x)
        logvar = nn.Dense(self.latent_dim, kernel_init=zeros, name="logvar")(x)
        return Gaussian(mean, bounded(logvar))


class Decoder(nn.Module):
    """The decoder g of eq. (22) of DGG: L-2000-500-500-D.

    Attributes:
      hidden_sizes: widths of the ReLU layers, first the one next to z.
      num_features: D.
      learned_variance: whether to decode Gaussian(mean, logvar) in place of logits or
        means.
      num_batches: M, of the batches that z is decoded in, all of them; 0: there are
        none.
      num_components: P, principal components in which logits or means are decoded
        (``Columns``), log-variances not; 0: in columns.
    """

    hidden_sizes: Sequence[int]
    num_features: int
    learned_variance: bool = False
    num_batches: int = 0
    num_components: int = 0

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array | Gaussian:
        """Maps z [B, L] to what the likelihood calls ``decoded``, [B, (M,) D]."""
        if self.num_batches:
            z = in_batches(z, self.num_batches)
        z = hidden_layers(z, self.hidden_sizes)
        output = nn.Dense(self.num_components or self.num_features, name="output")(z)
        if self.num_components:
            output = Columns(self.num_features, name=COLUMNS)(output)
        if not self.learned_variance:
            return output
        zeros = nn.initializers.zeros
        logvar = nn.Dense(self.num_features, kernel_init=zeros, name="logvar")(z)
        return Gaussian(mean=output, logvar=bounded(logvar))


class Classifier(nn.Module):
    """f_2 of eq. (7) of DGG: L-K, or L-K-K for few clusters.

    Attributes:
      hidden_sizes: widths of the ReLU layers; none is the linear classifier.
      num_clusters: K.
    """

    hidden_sizes: Sequence[int]
    num_clusters: int

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        """Maps z [B, L] to ln q(c | z), [B, K]."""
        z = hidden_layers(z, self.hidden_sizes)
        return nn.log_softmax(nn.Dense(self.num_clusters, name="output")(z))


class Embedding(nn.Module):
    """The Siamese network, as the encoder's mean: supplement 5 of DGG.

    Attributes:
      hidden_sizes: widths of the ReLU layers.
      latent_dim: dimension of the embedding.
      num_components: P, as the encoder's.
    """

    hidden_sizes: Sequence[int]
    latent_dim: int
    num_components: int = 0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps x [B, D] to its embedding [B, L]."""
        if self.num_components:
            x = Projection(self.num_components, name=PROJECTION)(x)
        x = hidden_layers(x, self.hidden_sizes)
        return nn.Dense(self.latent_dim, name="mean")(x)


class MeanEmbedding(nn.Module):
    """The Siamese network of an encoder of the user's own: its mean.

    Attributes:
      encoder: from x [B, D] to Gaussian with fields [B, L].
    """

    encoder: nn.Module

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps x [B, D] or [D] to its embedding [B, L] or [L]."""
        return self.encoder(jnp.atleast_2d(x)).mean.reshape(*x.shape[:-1], -1)


class Moments(NamedTuple):
    """Mean and variance of a layer's inputs over points, fields of shape [1, H]."""

    mean: jax.Array
    variance: jax.Array


def state_of_moments(moments: Sequence[Moments]) -> dict[str, dict[str, jax.Array]]:
    """Moments of layers as a State has them: nested dicts, their keys strings."""
    return {str(index): layer._asdict() for index, layer in enumerate(moments)}


def moments_of_state(layers: dict[str, dict[str, jax.Array]]) -> tuple[Moments, ...]:
    """The moments that ``state_of_moments`` was given."""
    return tuple(Moments(**layers[str(index)]) for index in range(len(layers)))


def _moments(x: jax.Array, sample_weight: jax.Array | None) -> Moments:
    """Those of rows x [B, H], which count alike or by weights [B]."""
    if sample_weight is None:
        return Moments(
            jnp.mean(x, axis=0, keepdims=True), jnp.var(x, axis=0, keepdims=True)
        )
    # A batch in which no row counts has moments of 0, which nothing depends on.
    total = jnp.maximum(jnp.sum(sample_weight), jnp.finfo(x.dtype).tiny)
    shares = (sample_weight / total)[:, None]
    mean = jnp.sum(shares * x, axis=0, keepdims=True)
    return Moments(mean, jnp.sum(shares * (x - mean) ** 2, axis=0, keepdims=True))


def _normalized_layers(
    module: nn.Module,
    x: jax.Array,
    moments: Sequence[Moments] | None,
    blurred: Callable[[jax.Array, int], jax.Array] = lambda x, index: x,
    sample_weight: jax.Array | None = None,
) -> tuple[jax.Array, tuple[Moments, ...]]:
    """The ReLU layers of a module with batch normalisation, and the moments used.

    What is normalised goes through ``blurred``, with the index of the layer.
    """
    used = []
    for index, size in enumerate(module.hidden_sizes):
        x = nn.Dense(size, use_bias=False, name=f"hidden_{index}")(x)
        if moments is None:
            used.append(_moments(x, sample_weight))
        else:
            used.append(moments[index])
        scale = module.param(f"scale_{index}", nn.initializers.ones, (1, size))
        bias = module.param(f"bias_{index}", nn.initializers.zeros, (1, size))
        inverse = scale * jax.lax.rsqrt(used[-1].variance + module.epsilon)
        x = nn.relu(blurred((x - used[-1].mean) * inverse + bias, index))
    return x, tuple(used)


class NormalizedClassifier(nn.Module):
    """The classifier of IMSAT: D-1200-1200-K with batch normalisation.

    Ioffe and Szegedy, "Batch normalization", ICML 2015. It has no running averages and
    so no mutable state: a call without moments normalises by those of its batch, as in
    training, and returns them; a call on all points after the training thus yields the
    moments with which to classify any batch, even of one point. Without normalisation
    IMSAT ends at clusters that are uniform for every image of MNIST.

    Attributes:
      hidden_sizes: widths of the normalised ReLU layers.
      num_clusters: K.
      epsilon: added to the variances.
      noise: deviation of the Gaussian noise that CatGAN adds to what is normalised.
    """

    hidden_sizes: Sequence[int]
    num_clusters: int
    epsilon: float = 2e-5  # that of Chainer, in which the released code is written
    noise: float = 0.0

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        moments: Sequence[Moments] | None = None,
        key: jax.Array | None = None,
        sample_weight: jax.Array | None = None,
    ) -> tuple[jax.Array, tuple[Moments, ...]]:
        """Maps x [B, D] to ln q(c | x) [B, K] and the moments of each hidden layer.

        Args:
          x: a batch; of at least 2 different points if moments is None.
          moments: what to normalise by, or None for the moments of the batch.
          key: of the noise; None adds none.
          sample_weight: how much each row counts in the moments of the batch, [B];
            None: all alike.

        Returns:
          The log-probabilities, and the moments that were used.
        """

        def blurred(x, index):
            if key is None or not self.noise:
                return x
            drawn = jax.random.normal(jax.random.fold_in(key, index), x.shape)
            return x + self.noise * drawn

        x, used = _normalized_layers(self, x, moments, blurred, sample_weight)
        # All points start with uniform clusters, as in the released code.
        small = nn.initializers.variance_scaling(1e-8, "fan_in", "normal")
        x = nn.Dense(self.num_clusters, kernel_init=small, name="output")(x)
        return nn.log_softmax(x), used


class Generator(nn.Module):
    """The generator of CatGAN: noise to rows within the range of the data.

    Batch normalisation is that of ``NormalizedClassifier``. Without it the rows of a
    batch become alike.

    Attributes:
      hidden_sizes: widths of the normalised ReLU layers.
      num_features: D.
      epsilon: added to the variances.
    """

    hidden_sizes: Sequence[int]
    num_features: int
    epsilon: float = 2e-5

    @nn.compact
    def __call__(
        self, z: jax.Array, moments: Sequence[Moments] | None = None
    ) -> tuple[jax.Array, tuple[Moments, ...]]:
        """Maps noise z [B, L] to rows in (0, 1), [B, D], and the moments of each layer.

        Args:
          z: a batch; of at least 2 different points if moments is None.
          moments: what to normalise by, or None for the moments of the batch.

        Returns:
          The rows, of which 0 and 1 stand for the least and the largest value of each
          column; and the moments that were used.
        """
        z, used = _normalized_layers(self, z, moments)
        return nn.sigmoid(nn.Dense(self.num_features, name="output")(z)), used


class CodeEncoder(nn.Module):
    """The encoder of AAE: a cluster, softly, and a style.

    Batch normalisation is that of ``NormalizedClassifier``.

    Attributes:
      hidden_sizes: widths of the normalised ReLU layers.
      num_clusters: K.
      latent_dim: L, dimension of the style.
      epsilon: added to the variances.
    """

    hidden_sizes: Sequence[int]
    num_clusters: int
    latent_dim: int
    epsilon: float = 2e-5

    @nn.compact
    def __call__(
        self, x: jax.Array, moments: Sequence[Moments] | None = None
    ) -> tuple[tuple[jax.Array, jax.Array], tuple[Moments, ...]]:
        """Maps x [B, D] to ln q(y | x) [B, K] and z [B, L], and moments of layers.

        Args:
          x: a batch; of at least 2 different points if moments is None.
          moments: what to normalise by, or None for the moments of the batch.

        Returns:
          The log-probabilities and the styles, and the moments that were used.
        """
        x, used = _normalized_layers(self, x, moments)
        log_assignments = nn.log_softmax(nn.Dense(self.num_clusters, name="cluster")(x))
        return (log_assignments, nn.Dense(self.latent_dim, name="style")(x)), used
