"""Parts of a model: those that a preset names, and those of one's own."""

import dataclasses
from collections.abc import Callable

import jax
from flax import linen as nn

from dgg_jax.likelihoods import (
    Bernoulli,
    GaussianLikelihood,
    InBatches,
    LearnedVarianceGaussian,
    Likelihood,
    Masked,
    NegativeBinomial,
    as_pytree,
)
from dgg_jax.networks import (
    Decoder,
    Encoder,
    Network,
    Networks,
    log_normalized,
    present,
)
from dgg_jax.presets import AutoencoderPreset, GMVAEPreset


@dataclasses.dataclass(frozen=True)
class Parts:
    """Parts of a model in place of those that its preset names; None keeps them.

    The modules have parameters only: no batch statistics, no random state.

    Attributes:
      encoder: Flax module from x [B, D] to Gaussian with fields [B, L].
      decoder: Flax module from z [B, L] to ``decoded`` of the likelihood, of B rows.
      likelihood: p(x | z); see ``dgg_jax.likelihoods.Likelihood``.
      num_batches: M, of the batches that rows were measured in, whose one-hot vector
        encoder and decoder take; 0: there are none.
    """

    encoder: nn.Module | None = None
    decoder: nn.Module | None = None
    likelihood: Likelihood | None = None
    num_batches: int = dataclasses.field(default=0, repr=False)

    @property
    def own(self) -> tuple[str, ...]:
        """Names of those that are one's own."""
        names = ("encoder", "decoder", "likelihood")
        return tuple(name for name in names if getattr(self, name) is not None)


AS_NAMED = Parts()


def likelihood_of(
    preset: AutoencoderPreset | GMVAEPreset, parts: Parts = AS_NAMED
) -> Likelihood:
    """The likelihood that a preset names, or the one in its place."""
    if parts.likelihood is not None:
        return parts.likelihood
    if preset.has_counts:
        return NegativeBinomial(preset.dispersion)
    return {
        "bernoulli": Bernoulli(),
        "gaussian": GaussianLikelihood(preset.variance),
        "learned_gaussian": LearnedVarianceGaussian(),
    }[preset.likelihood]


def modelled(
    likelihood: Likelihood, misses_values: bool = False, num_batches: int = 0
) -> Likelihood:
    """A likelihood as compiled functions take it.

    Args:
      likelihood: of a row whose values are all there.
      misses_values: whether it shall be of what is there, where values are NaN.
      num_batches: M, if each batch shall have its own.
    """
    likelihood = Masked(likelihood) if misses_values else as_pytree(likelihood)
    return InBatches(likelihood, num_batches) if num_batches else likelihood


def seen_by(preset: AutoencoderPreset) -> Callable[[jax.Array], jax.Array]:
    """What the encoder sees of the values of rows [..., D]."""
    return log_normalized if preset.has_counts else present


def first_layer(preset: AutoencoderPreset) -> str:
    """The name of the encoder's first layer that is learned."""
    return "hidden_0" if preset.hidden_sizes else "mean"


def components_of(preset: AutoencoderPreset, num_features: int) -> int:
    """P, principal components that stand for D columns in the networks; 0: none do."""
    number = preset.principal_components
    return number if number < num_features else 0


def autoencoder_modules(
    preset: AutoencoderPreset, num_features: int, parts: Parts = AS_NAMED
) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder of section 4 of DGG: D-500-500-2000-L and its mirror.

    Args:
      preset: names sizes and likelihood.
      num_features: D.
      parts: modules in place of these.
    """
    components = components_of(preset, num_features)
    encoder = Encoder(
        preset.hidden_sizes,
        preset.latent_dim,
        seen_by(preset),
        num_batches=parts.num_batches,
        num_components=components,
    )
    decoder = Decoder(
        preset.hidden_sizes[::-1],
        num_features,
        learned_variance=preset.likelihood == "learned_gaussian",
        num_batches=parts.num_batches,
        # What a likelihood of one's own takes of a decoder, nobody knows.
        num_components=0 if parts.likelihood else components,
    )
    return parts.encoder or encoder, parts.decoder or decoder


def autoencoder_networks(
    preset: AutoencoderPreset, num_features: int, parts: Parts = AS_NAMED
) -> Networks:
    """Encoder and decoder as pure functions; there is nothing to classify with."""
    encoder, decoder = autoencoder_modules(preset, num_features, parts)
    return Networks(
        Network(encoder, preset.precision, batches_only=parts.encoder is not None),
        Network(decoder, preset.precision, batches_only=parts.decoder is not None),
    )
