"""Parts of a model: those that a preset names, and those of one's own."""

import dataclasses

from flax import linen as nn

from dgg_jax.likelihoods import (
    Bernoulli,
    GaussianLikelihood,
    LearnedVarianceGaussian,
    Likelihood,
    NegativeBinomial,
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
    """

    encoder: nn.Module | None = None
    decoder: nn.Module | None = None
    likelihood: Likelihood | None = None


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


def autoencoder_modules(
    preset: AutoencoderPreset, num_features: int, parts: Parts = AS_NAMED
) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder of section 4 of DGG: D-500-500-2000-L and its mirror.

    Args:
      preset: names sizes and likelihood.
      num_features: D.
      parts: modules in place of these.
    """
    seen = log_normalized if preset.has_counts else present
    encoder = Encoder(preset.hidden_sizes, preset.latent_dim, seen)
    decoder = Decoder(
        preset.hidden_sizes[::-1],
        num_features,
        learned_variance=preset.likelihood == "learned_gaussian",
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
