"""Pretraining: layer-wise denoising, deep autoencoder, VAE (section 4 of DGG)."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgg_jax.distributions import sample_gaussian
from dgg_jax.losses import autoencoder
from dgg_jax.networks import Networks, present
from dgg_jax.placement import devices
from dgg_jax.placement.rows import HostRows, SparseRows, map_blocks, map_rows
from dgg_jax.storage import arrays
from dgg_jax.training import (
    Loss,
    Monitor,
    Rows,
    Schedule,
    StepOutput,
    batch_mean,
    optimize,
)
from dgg_jax.types import Gaussian

Params = dict[str, Any]

_BATCH = 1000  # of sparse rows that are dense at once


def _linear(params: Params, h: jax.Array) -> jax.Array:
    return h @ params["kernel"] + params["bias"][None]


@dataclasses.dataclass(frozen=True)
class _Layer:
    """A layer of the encoder, of its parameters and features [B, H].

    Attributes:
      is_last: whether it has no ReLU.
      seen: what it sees of the features.
    """

    is_last: bool
    seen: Callable[[jax.Array], jax.Array] = present

    def __call__(self, params: Params, h: jax.Array) -> jax.Array:
        h = _linear(params, self.seen(h))
        return h if self.is_last else nn.relu(h)


@dataclasses.dataclass(frozen=True)
class LayerLoss(Loss):
    """The loss of a pair of layers over Rows of features [N, H].

    Attributes:
      encode: the inner layer, of its parameters and features [B, H].
      outermost: whether the features are the data, of which there is a likelihood.
      corruption: share of inputs set to 0.
    """

    encode: Callable[[Params, jax.Array], jax.Array]
    outermost: bool
    corruption: float

    def __call__(self, params, data, indices, key):
        """The value of a batch; see ``training.Loss``."""
        h = data.x[indices]
        corrupted = autoencoder.corrupt(h, key, self.corruption)
        decoded = _linear(params["outer"], self.encode(params["inner"], corrupted))
        if self.outermost:
            logvar = params.get("logvar")
            if logvar is not None:
                logvar = jnp.broadcast_to(logvar[None], decoded.shape)
                decoded = Gaussian(decoded, logvar)
            values = -jax.vmap(data.likelihood.log_prob)(h, decoded)
        else:
            values = jax.vmap(autoencoder.squared_error)(h, nn.relu(decoded))
        value = batch_mean(values, data.sample_weight, indices)
        return value, StepOutput({"loss": value})


def layerwise(
    rows: Rows,
    encoder_params: Params,
    decoder_params: Params,
    layers: Sequence[tuple[str, str]],
    *,
    seen: Callable[[jax.Array], jax.Array] = present,
    corruption: float,
    schedule: Schedule,
    key: jax.Array,
    monitor: Monitor,
) -> tuple[Params, Params]:
    """Greedy layer-wise training: each layer pair is a denoising autoencoder.

    Vincent et al., JMLR 2010: the l-th pair learns to reconstruct the features of the
    (l - 1)-th layer from a corrupted copy; the first pair the data, by its likelihood.

    Args:
      rows: data [N, D], with the likelihood of the outermost pair; features of
        HostRows go to temporary files.
      encoder_params: of the encoder, replaced layer by layer.
      decoder_params: of the decoder, replaced layer by layer.
      layers: pairs of layer names, encoder's and decoder's, from the data inwards; the
        innermost encoder layer is linear, all others have a ReLU.
      seen: what the encoder's first layer sees of the data.
      corruption: share of inputs set to 0.
      schedule: of each layer.
      key: random key.
      monitor: follows the loops ``layer_1``, ``layer_2``, ...

    Returns:
      Encoder and decoder parameters with all layers trained.
    """
    encoder_params = {**encoder_params}
    decoder_params = {**decoder_params}
    features = rows.x
    for depth, (inner, outer) in enumerate(layers):
        outermost = depth == 0
        is_last = depth == len(layers) - 1
        encode = _Layer(is_last, seen) if outermost else _Layer(is_last)
        params = {"inner": encoder_params[inner], "outer": decoder_params[outer]}
        # Of the head of a learned variance the bias alone: one for each column.
        if outermost and "logvar" in decoder_params:
            params["logvar"] = decoder_params["logvar"]["bias"]
        params = optimize(
            f"layer_{depth + 1}",
            LayerLoss(encode, outermost, corruption),
            params,
            rows._replace(x=features),
            jax.random.fold_in(key, depth),
            schedule,
            num_points=len(rows.x),
            monitor=monitor,
        ).params
        encoder_params[inner] = params["inner"]
        decoder_params[outer] = params["outer"]
        if "logvar" in params:
            decoder_params["logvar"] = {
                **decoder_params["logvar"],
                "bias": params["logvar"],
            }
        encoded = functools.partial(_encoded, encode, params["inner"])
        hidden = map_blocks(encoded, features, allocate=arrays.temporary)
        features = HostRows(hidden) if isinstance(features, HostRows) else hidden
    return encoder_params, decoder_params


@devices.compiled(static_argnames="encode")
def _encoded(encode: Any, params: Any, rows: jax.Array | SparseRows) -> jax.Array:
    """A layer of all rows; sparse ones are made dense some at a time."""
    if not isinstance(rows, SparseRows):
        return encode(params, rows)
    return map_rows(lambda row: encode(params, row[None])[0], rows, _BATCH)


@dataclasses.dataclass(frozen=True)
class AutoencoderLoss(Loss):
    """-ln p(x | mean of the corrupted x), over Rows.

    A deep denoising autoencoder through the latent mean, all layers together.

    Attributes:
      networks: encoder and decoder.
      corruption: share of inputs set to 0.
      num_batches: M, the last columns, which say the batch of a row and stay.
    """

    networks: Networks
    corruption: float
    num_batches: int = 0

    def __call__(self, params, data, indices, key):
        """The value of a batch; see ``training.Loss``."""
        x = data.x[indices]
        corrupted = autoencoder.corrupt(x, key, self.corruption)
        if self.num_batches:
            kept = jnp.arange(x.shape[1]) >= x.shape[1] - self.num_batches
            corrupted = jnp.where(kept[None], x, corrupted)
        latents = self.networks.encode(params["encoder"], corrupted).mean
        decoded = self.networks.decode(params["decoder"], latents)
        values = jax.vmap(data.likelihood.log_prob)(x, decoded)
        value = -batch_mean(values, data.sample_weight, indices)
        return value, StepOutput({"loss": value})


@dataclasses.dataclass(frozen=True)
class VaeLoss(Loss):
    """-ELBO with prior N(0, I), over Rows.

    Attributes:
      networks: encoder and decoder.
    """

    networks: Networks

    def __call__(self, params, data, indices, key):
        """The value of a batch; see ``training.Loss``."""
        x = data.x[indices]
        posterior = self.networks.encode(params["encoder"], x)
        eps = jax.random.normal(key, posterior.mean.shape)
        z = sample_gaussian(posterior, eps)
        decoded = self.networks.decode(params["decoder"], z)
        terms = jax.vmap(autoencoder.vae_elbo, (0, 0, 0, None))(
            x, decoded, posterior, data.likelihood
        )
        means = batch_mean(terms, data.sample_weight, indices)
        metrics = {
            "loss": -means.total,
            "reconstruction": means.reconstruction,
            "latent_prior": means.latent_prior,
            "latent_entropy": means.latent_entropy,
        }
        return -means.total, StepOutput(metrics)
