"""What methods have in common that start from a pretrained autoencoder."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dgg_jax.likelihoods import (
    Bernoulli,
    GaussianLikelihood,
    LearnedVarianceGaussian,
    Likelihood,
)
from dgg_jax.methods.base import Metrics, Stages, State
from dgg_jax.networks import Decoder, Encoder
from dgg_jax.presets import AutoencoderPreset
from dgg_jax.stages import evaluate, pretrain
from dgg_jax.stages.train import ApplyFunctions
from dgg_jax.training import Diverged, Schedule


def likelihood_of(preset: AutoencoderPreset) -> Likelihood:
    """The likelihood that a preset names."""
    return {
        "bernoulli": Bernoulli(),
        "gaussian": GaussianLikelihood(preset.variance),
        "learned_gaussian": LearnedVarianceGaussian(),
    }[preset.likelihood]


def pure(module: nn.Module) -> Callable[[Any, Any], Any]:
    """A module without mutable state as a function of (parameters, a batch)."""
    return lambda params, x: module.apply({"params": params}, x)


@functools.cache
def autoencoder_modules(
    preset: AutoencoderPreset, num_features: int
) -> tuple[Encoder, Decoder]:
    """Encoder and decoder of section 4 of DGG: D-500-500-2000-L and its mirror.

    Args:
      preset: names sizes and likelihood.
      num_features: D.
    """
    encoder = Encoder(preset.hidden_sizes, preset.latent_dim)
    decoder = Decoder(
        preset.hidden_sizes[::-1],
        num_features,
        learned_variance=preset.likelihood == "learned_gaussian",
    )
    return encoder, decoder


@functools.cache
def autoencoder_functions(
    preset: AutoencoderPreset, num_features: int
) -> ApplyFunctions:
    """Encoder and decoder as pure functions; there is nothing to classify with."""
    encoder, decoder = autoencoder_modules(preset, num_features)
    return ApplyFunctions(encode=pure(encoder), decode=pure(decoder), classify=None)


class PretrainedStages(Stages):
    """Stages that begin with ``pretrain``."""

    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        self.num_features = self.x.shape[1]
        self.encoder, self.decoder = autoencoder_modules(self.preset, self.num_features)
        self.networks = self.apply_functions()
        self.likelihood = likelihood_of(self.preset)

    def apply_functions(self) -> ApplyFunctions:
        """The model as pure functions; a method with a mixture adds how to classify."""
        return autoencoder_functions(self.preset, self.num_features)

    def pretrain(self, state: State) -> tuple[State, Metrics]:
        """Encoder and decoder; reports K-means of the latents."""
        preset = self.preset
        keys = jax.random.split(self.key("pretrain"), 5)
        identity = {
            name: getattr(preset, name)
            for name in (
                "likelihood",
                "variance",
                "hidden_sizes",
                "latent_dim",
                "pretrain_layer_epochs",
                "pretrain_autoencoder_epochs",
                "pretrain_corruption",
                "pretrain_learning_rate",
                "pretrain_batch_size",
            )
        }
        identity["seed"] = self.seed
        params = self.runner.share(
            "autoencoder", identity, lambda: self._autoencoder(keys)
        )
        if preset.pretrain_vae_epochs:
            identity["pretrain_vae_epochs"] = preset.pretrain_vae_epochs
            params = self.runner.share(
                "vae",
                identity,
                lambda: pretrain.vae(
                    self.x,
                    params,
                    *self._autoencoder_arguments(),
                    schedule=self._pretrain_schedule(preset.pretrain_vae_epochs),
                    key=keys[4],
                    monitor=self.runner,
                ),
            )
        metrics = self.kmeans_metrics(self.latent_means(params), "pretrain")
        return params, metrics | self.elbo(params)

    def _autoencoder(self, keys: jax.Array) -> State:
        preset = self.preset
        latents = jnp.zeros((1, preset.latent_dim))
        params = {
            "encoder": self.encoder.init(keys[0], self.x[:1])["params"],
            "decoder": self.decoder.init(keys[1], latents)["params"],
        }
        if preset.pretrain_layer_epochs:
            depth = len(preset.hidden_sizes)
            hidden = [f"hidden_{index}" for index in range(depth)]
            layers = zip([*hidden, "mean"], ["output", *hidden[::-1]], strict=True)
            params["encoder"], params["decoder"] = pretrain.layerwise(
                self.x,
                params["encoder"],
                params["decoder"],
                list(layers),
                self.likelihood,
                corruption=preset.pretrain_corruption,
                schedule=self._pretrain_schedule(preset.pretrain_layer_epochs),
                key=keys[2],
                monitor=self.runner,
            )
        return pretrain.deep_autoencoder(
            self.x,
            params,
            *self._autoencoder_arguments(),
            corruption=preset.pretrain_corruption,
            schedule=self._pretrain_schedule(preset.pretrain_autoencoder_epochs),
            key=keys[3],
            monitor=self.runner,
        )

    def _autoencoder_arguments(self) -> tuple[Any, ...]:
        return self.networks.encode, self.networks.decode, self.likelihood

    def _pretrain_schedule(self, epochs: int) -> Schedule:
        preset = self.preset
        return Schedule(
            epochs, preset.pretrain_batch_size, preset.pretrain_learning_rate
        )

    def latent_means(self, params: State) -> np.ndarray:
        """Posterior means of all points, [N, L]."""
        encode = self.networks.encode
        return np.asarray(evaluate.encode_all(encode, params["encoder"], self.x).mean)

    def elbo(
        self,
        params: State,
        log_weights: np.ndarray | None = None,
        draws: int = 1,
        log_assignments: np.ndarray | None = None,
    ) -> Metrics:
        """The mean own-ELBO and its terms; see ``evaluate.mean_elbo_terms``.

        Raises:
          Diverged: if a term is not finite.
        """
        terms = evaluate.mean_elbo_terms(
            self.networks,
            self.likelihood,
            params,
            log_weights,
            self.x,
            jax.random.key(0),  # the same draws for every model: they are compared
            draws,
            log_assignments,
        )
        metrics = evaluate.elbo_metrics(terms)
        # The last update of a loop is seen here first.
        for name in terms._fields:
            if not np.isfinite(metrics[name]):
                raise Diverged(f"{name} is not finite in the evaluation")
        return metrics
