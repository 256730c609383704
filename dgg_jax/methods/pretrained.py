"""What methods have in common that start from a pretrained autoencoder."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dgg_jax import checks
from dgg_jax.likelihoods import (
    Bernoulli,
    GaussianLikelihood,
    LearnedVarianceGaussian,
    Likelihood,
    as_pytree,
)
from dgg_jax.methods.base import Metrics, Stages, State
from dgg_jax.networks import Decoder, Encoder
from dgg_jax.presets import AutoencoderPreset
from dgg_jax.stages import evaluate, pretrain
from dgg_jax.stages.train import ApplyFunctions
from dgg_jax.training import Diverged, Schedule
from dgg_jax.types import Gaussian


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


def likelihood_of(preset: AutoencoderPreset, parts: Parts = AS_NAMED) -> Likelihood:
    """The likelihood that a preset names, or the one in its place."""
    if parts.likelihood is not None:
        return parts.likelihood
    return {
        "bernoulli": Bernoulli(),
        "gaussian": GaussianLikelihood(preset.variance),
        "learned_gaussian": LearnedVarianceGaussian(),
    }[preset.likelihood]


# How jax names the precisions of a preset; the accumulation is float32 in all.
_PRODUCTS = {
    "float32": "highest",
    "tf32": "tensorfloat32",
    "bfloat16": "BF16_BF16_F32",
}


def with_precision(precision: str) -> contextlib.AbstractContextManager:
    """Within, matrix products and their gradients are traced with this precision."""
    return jax.default_matmul_precision(_PRODUCTS[precision])


@functools.partial(jax.jit, static_argnums=0)
def initial_params(module: nn.Module, key: jax.Array, x: jax.Array) -> Any:
    """Parameters to start from; one program draws all, of which jax makes no pass."""
    return module.init(key, x)["params"]


@functools.cache
def pure(module: nn.Module, precision: str) -> Callable[[Any, Any], Any]:
    """A module without mutable state as a function of (parameters, a batch).

    Equal modules have the same function: what is compiled with it serves them all.

    Args:
      module: any Flax module that has parameters only.
      precision: of its matrix products, as in ``NetworkPreset``.
    """

    def apply(params, x):
        with with_precision(precision):
            return module.apply({"params": params}, x)

    return apply


@functools.cache
def _pure_of_rows(module: nn.Module, precision: str) -> Callable[[Any, Any], Any]:
    """As ``pure``, for a module that takes batches only: one row becomes a batch."""
    apply = pure(module, precision)

    def of_rows(params, x):
        if x.ndim > 1:
            return apply(params, x)
        return jax.tree.map(lambda leaf: leaf[0], apply(params, x[None]))

    return of_rows


def autoencoder_modules(
    preset: AutoencoderPreset, num_features: int, parts: Parts = AS_NAMED
) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder of section 4 of DGG: D-500-500-2000-L and its mirror.

    Args:
      preset: names sizes and likelihood.
      num_features: D.
      parts: modules in place of these.
    """
    encoder = Encoder(preset.hidden_sizes, preset.latent_dim)
    decoder = Decoder(
        preset.hidden_sizes[::-1],
        num_features,
        learned_variance=preset.likelihood == "learned_gaussian",
    )
    return parts.encoder or encoder, parts.decoder or decoder


def autoencoder_functions(
    preset: AutoencoderPreset, num_features: int, parts: Parts = AS_NAMED
) -> ApplyFunctions:
    """Encoder and decoder as pure functions; there is nothing to classify with."""
    encoder, decoder = autoencoder_modules(preset, num_features, parts)
    return ApplyFunctions(
        encode=(_pure_of_rows if parts.encoder else pure)(encoder, preset.precision),
        decode=(_pure_of_rows if parts.decoder else pure)(decoder, preset.precision),
        classify=None,
    )


def _output_of(name: str, module: nn.Module, x: np.ndarray) -> Any:
    """Shapes of what a module returns, without running it."""
    output, variables = jax.eval_shape(
        lambda x: module.init_with_output(jax.random.key(0), x), x
    )
    others = sorted(set(variables) - {"params"})
    if others:
        raise checks.InvalidInput(
            f"{name} must have parameters only, got the collections {others}; leave "
            "out batch statistics and other state."
        )
    return output


class PretrainedStages(Stages):
    """Stages that begin with ``pretrain``."""

    streams = True

    def __init__(self, *arguments, parts: Parts = AS_NAMED, **keywords):
        """Checks the data and the parts; see ``Stages``.

        Raises:
          InvalidInput: also if the parts do not fit the data, the preset or each other.
        """
        super().__init__(*arguments, **keywords)
        self.num_features = self.x.shape[1]
        self.parts = parts
        self.encoder, self.decoder = autoencoder_modules(
            self.preset, self.num_features, parts
        )
        self.networks = self.apply_functions()
        self.likelihood = as_pytree(likelihood_of(self.preset, parts))
        if parts != AS_NAMED:
            self._check_parts()

    def apply_functions(self) -> ApplyFunctions:
        """The model as pure functions; a method with a mixture adds how to classify."""
        return autoencoder_functions(self.preset, self.num_features, self.parts)

    def _check_parts(self) -> None:
        preset = self.preset
        if (self.parts.encoder or self.parts.decoder) and preset.pretrain_layer_epochs:
            raise checks.InvalidInput(
                f"pretrain_layer_epochs={preset.pretrain_layer_epochs} needs the dense "
                "networks, whose layers it knows; use 0 with an encoder or decoder of "
                "your own."
            )
        latent_shape = (1, preset.latent_dim)
        posterior = _output_of("encoder", self.encoder, self.x[:1])
        shapes = [np.shape(field) for field in jax.tree.leaves(posterior)]
        if not isinstance(posterior, Gaussian) or shapes != [latent_shape] * 2:
            raise checks.InvalidInput(
                "encoder must map x [B, D] to dgg_jax.types.Gaussian with mean and "
                f"logvar of shape [B, {preset.latent_dim}] (latent_dim), got "
                f"{type(posterior).__name__} with shapes {shapes} for B = 1."
            )
        latents = np.zeros(latent_shape, np.float32)
        decoded = _output_of("decoder", self.decoder, latents)
        try:
            value = jax.eval_shape(
                jax.vmap(self.likelihood.log_prob), self.x[:1], decoded
            )
        except (TypeError, ValueError, AttributeError) as error:
            likelihood = likelihood_of(preset, self.parts)
            raise checks.InvalidInput(
                f"the likelihood {likelihood} cannot take what the decoder "
                f"returns for one row, {jax.tree.map(np.shape, decoded)}: {error}"
            ) from error
        if value.shape != (1,):
            raise checks.InvalidInput(
                "likelihood.log_prob must return a scalar for one row, got shape "
                f"{value.shape[1:]}; does the decoder return {self.num_features} "
                "values a row?"
            )

    def pretrain(self, state: State) -> tuple[State, Metrics]:
        """Encoder and decoder; reports K-means of the latents."""
        params = self.pretrained()
        metrics = self.kmeans_metrics(self.latent_means(params), "pretrain")
        return params, metrics | self.elbo(params)

    def pretrained(self) -> State:
        """Encoder and decoder, trained once for all that share them."""
        preset = self.preset
        keys = jax.random.split(self.key("pretrain"), 5)
        identity = self.autoencoder_identity()
        params = self.runner.share(
            "autoencoder", identity, lambda: self._autoencoder(keys)
        )
        if preset.pretrain_vae_epochs:
            params = self.runner.share(
                "vae",
                self.vae_identity(),
                lambda: pretrain.vae(
                    self.x,
                    params,
                    *self._autoencoder_arguments(),
                    schedule=self._pretrain_schedule(preset.pretrain_vae_epochs),
                    key=keys[4],
                    monitor=self.runner,
                ),
            )
        return params

    def autoencoder_identity(self) -> dict[str, Any]:
        """What the pretrained autoencoder depends on, for runs that share it."""
        names = (
            "likelihood",
            "variance",
            "hidden_sizes",
            "latent_dim",
            "precision",
            "pretrain_layer_epochs",
            "pretrain_autoencoder_epochs",
            "pretrain_corruption",
            "pretrain_learning_rate",
            "pretrain_batch_size",
        )
        identity = {name: getattr(self.preset, name) for name in names}
        return identity | {"seed": self.seed, "parts": repr(self.parts)}

    def vae_identity(self) -> dict[str, Any]:
        """What the state after pretraining depends on, for runs that share it."""
        epochs = {"pretrain_vae_epochs": self.preset.pretrain_vae_epochs}
        return self.autoencoder_identity() | epochs

    def _autoencoder(self, keys: jax.Array) -> State:
        preset = self.preset
        latents = jnp.zeros((1, preset.latent_dim))
        params = {
            "encoder": initial_params(self.encoder, keys[0], self.x[:1]),
            "decoder": initial_params(self.decoder, keys[1], latents),
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
