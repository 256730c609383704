"""GMVAE: Gaussian mixture variational autoencoders, from data on.

Dilokthanakul et al., "Deep unsupervised clustering with Gaussian mixture variational
autoencoders".
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dgg_jax import checks, devices, metrics
from dgg_jax.distributions import sample_gaussian
from dgg_jax.likelihoods import Likelihood, as_pytree
from dgg_jax.methods.base import Metrics, Run, Stages, State
from dgg_jax.methods.pretrained import (
    AS_NAMED,
    Parts,
    likelihood_of,
    pure,
    with_precision,
)
from dgg_jax.networks import (
    MNIST_LAYERS,
    SVHN_LAYERS,
    ComponentNetwork,
    ConvolutionalDecoder,
    ConvolutionalTrunk,
    Decoder,
    DenseTrunk,
    PlainTrunk,
    RecognitionNetwork,
)
from dgg_jax.networks.convolutional import feature_shapes
from dgg_jax.presets import GMVAEPreset
from dgg_jax.stages import evaluate, gmvae
from dgg_jax.stages.gmvae import GmvaeFunctions
from dgg_jax.training import Diverged, TrainState
from dgg_jax.types import Gaussian

__all__ = ["STAGES", "Model", "check", "model_of", "run", "samples_per_cluster"]

STAGES = ("train", "evaluate")
BOUND_DRAWS = 16  # of the final bound
# Modules that may have batch statistics, and so are told whether they are trained.
_TRAINED_OTHERWISE = (RecognitionNetwork, ConvolutionalDecoder)
_CONVOLUTIONS = {"mnist": MNIST_LAYERS, "svhn": SVHN_LAYERS}


def _image_shape(feature_shape: tuple[int, ...]) -> tuple[int, ...]:
    """(H, W, C) of images; grey ones may come without C."""
    return (*feature_shape, 1) if len(feature_shape) == 2 else tuple(feature_shape)


def check(preset: GMVAEPreset, shape: tuple[int, ...]) -> None:
    """Whether the networks of a preset can take the data.

    Args:
      preset: all settings.
      shape: of the data, before their points were flattened: [N, ...].

    Raises:
      InvalidInput: if a convolutional network is asked for and the data are no images
        of a size that it can take.
    """
    if preset.architecture == "dense":
        return
    feature_shape = tuple(shape[1:])
    if len(feature_shape) not in (2, 3):
        raise checks.InvalidInput(
            f"architecture={preset.architecture} is convolutional and needs images; "
            f"a data point here has shape {feature_shape}. Use "
            "architecture=dense."
        )
    layers = _CONVOLUTIONS[preset.architecture]
    feature_shapes(_image_shape(feature_shape), layers)
    if preset.likelihood != "bernoulli":
        raise checks.InvalidInput(
            f"architecture={preset.architecture} decodes Bernoulli logits, got "
            f"likelihood={preset.likelihood}; use likelihood=bernoulli or "
            "architecture=dense."
        )


def build_networks(
    preset: GMVAEPreset, feature_shape: tuple[int, ...], parts: Parts = AS_NAMED
) -> tuple[RecognitionNetwork, ComponentNetwork, nn.Module]:
    """The networks of tables A.1 to A.3 of GMVAE.

    Args:
      preset: names architecture, sizes and likelihood.
      feature_shape: shape of one data point, of product D.
      parts: an encoder here maps x [B, D] to features [B, H], from which dense layers
        make q(z | x) and q(w | x).
    """
    if preset.architecture == "dense":
        trunk = DenseTrunk(preset.hidden_sizes)
        decoder = Decoder(
            preset.hidden_sizes[::-1],
            math.prod(feature_shape),
            learned_variance=preset.likelihood == "learned_gaussian",
        )
    else:
        image_shape = _image_shape(feature_shape)
        layers = _CONVOLUTIONS[preset.architecture]
        trunk = ConvolutionalTrunk(image_shape, layers)
        decoder = ConvolutionalDecoder(image_shape, layers)
    if parts.encoder:
        trunk = PlainTrunk(parts.encoder)
    return (
        RecognitionNetwork(trunk, preset.latent_dim, preset.w_dim),
        ComponentNetwork(
            preset.component_hidden_size, preset.num_clusters, preset.latent_dim
        ),
        parts.decoder or decoder,
    )


def apply_functions(
    preset: GMVAEPreset, feature_shape: tuple[int, ...], parts: Parts = AS_NAMED
) -> GmvaeFunctions:
    """The networks as pure functions of parameters and batch statistics."""
    recognition, components, decoder = build_networks(preset, feature_shape, parts)

    return GmvaeFunctions(
        recognize=_applied("recognition", recognition, preset.precision),
        components=_components(components, preset.precision),
        decode=_applied("decoder", decoder, preset.precision),
    )


@functools.cache
def _components(module: ComponentNetwork, precision: str) -> Callable[..., Any]:
    return lambda params, w: pure(module, precision)(params["components"], w)


@functools.cache
def _applied(name: str, module: nn.Module, precision: str) -> Callable[..., Any]:
    """A module with batch statistics as a function of (all of them, a batch)."""
    takes_train = isinstance(module, _TRAINED_OTHERWISE)

    def apply(params, collections, x, train):
        flags = {"train": train} if takes_train else {}
        variables = {"params": params[name]}
        if collections:
            variables["batch_stats"] = collections[name]
        with with_precision(precision):
            if not (collections and train):
                return module.apply(variables, x, **flags), collections
            output, updates = module.apply(
                variables, x, **flags, mutable=["batch_stats"]
            )
        return output, {**collections, name: updates["batch_stats"]}

    return apply


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained model.

    Attributes:
      preset: its settings.
      params: {"recognition", "components", "decoder"}.
      collections: running statistics of batch normalisation, or ().
      feature_shape: shape of one data point.
      parts: networks or likelihood in place of those that the preset names.
    """

    preset: GMVAEPreset
    params: Any
    collections: Any
    feature_shape: tuple[int, ...]
    parts: Parts = AS_NAMED

    @property
    def networks(self) -> GmvaeFunctions:
        """The networks as pure functions."""
        return apply_functions(self.preset, self.feature_shape, self.parts)

    @property
    def likelihood(self) -> Likelihood:
        """p(x | z)."""
        return likelihood_of(self.preset, self.parts)

    @property
    def num_features(self) -> int:
        """D, columns of the data."""
        return math.prod(self.feature_shape)

    def infer(self, x: np.ndarray) -> tuple[Gaussian, np.ndarray]:
        """Posteriors of rows and their cluster probabilities.

        Args:
          x: data scaled as the training data were, shape [N, D].

        Returns:
          q(z | x) with fields [N, L], and ln p(c | x) [N, K] from the means of z and w.

        Raises:
          InvalidInput: if x is not [N, D] with the D of training.
        """
        x = checks.rows(x, self.num_features)
        z, _, log_assignment = gmvae.infer(
            self.networks, self.params, self.collections, x
        )
        return jax.device_get((z, log_assignment))

    def infer_batch(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Means of q(z | x) [B, L] and ln p(c | x) [B, K] of one batch, traceable."""
        z, _, log_assignment = gmvae.infer_batch(
            self.networks, self.params, self.collections, x
        )
        return z.mean, log_assignment

    def elbo(self, x: np.ndarray, draws: int = BOUND_DRAWS) -> np.ndarray:
        """The plain bound of rows x [N, D], in nats, [N]; the same draws always."""
        terms = gmvae.terms(
            self.networks,
            as_pytree(self.likelihood),
            self.params,
            self.collections,
            checks.rows(x, self.num_features),
            jax.random.key(0),
            num_samples=draws,
            joint=self.preset.conditional_prior == "joint",
        )
        return np.asarray(terms.total)

    def decode(self, z: np.ndarray) -> np.ndarray:
        """E[x | z] of latents z [N, L], shape [N, D]."""
        decoded, _ = self.networks.decode(
            self.params, self.collections, jnp.asarray(z), False
        )
        return np.asarray(jax.vmap(self.likelihood.mean)(decoded))


def run(
    x: np.ndarray,
    preset: GMVAEPreset,
    *,
    seed: int = 0,
    y: np.ndarray | None = None,
    runner: Run | None = None,
    feature_shape: tuple[int, ...] | None = None,
    is_test: np.ndarray | None = None,
    parts: Parts = AS_NAMED,
    start: Model | None = None,
) -> tuple[Model, State, list[Metrics]]:
    """Carries data through the stages of GMVAE.

    Args:
      x: data, float32 of shape [N, D].
      preset: all settings.
      seed: of every random number of the run.
      y: true labels [N] for the reported metrics; nothing else sees them.
      runner: checkpoints and callbacks; by default in memory only.
      feature_shape: shape of one data point, which convolutions need.
      is_test: rows [N] that are not trained on, but scored alone, as the paper does;
        by default all rows are trained on and scored.
      parts: networks or likelihood in place of those that the preset names; see
        ``build_networks``.
      start: a model to train on.

    Returns:
      The model; the last state, with "labels" [N], "log_assignment" [N, K] and
      "latent_mean" [N, L] of all rows; and the record of every stage.

    Raises:
      InvalidInput: if x cannot be clustered so; before any work.
      Diverged: if a loss is not finite.
      Interrupted: if the runner was asked to stop.
    """
    feature_shape = feature_shape or np.shape(x)[1:]
    if math.prod(feature_shape) != math.prod(np.shape(x)[1:]):
        raise checks.InvalidInput(
            f"feature_shape={tuple(feature_shape)} must have as many values as a row "
            f"of x, {math.prod(np.shape(x)[1:])}."
        )
    if is_test is not None and (
        np.shape(is_test) != (len(x),) or len(set(is_test)) < 2
    ):
        raise checks.InvalidInput(
            f"is_test must mark some but not all of the {len(x)} rows of x, got shape "
            f"{np.shape(is_test)} with {np.count_nonzero(is_test)} marked."
        )
    check(preset, (len(x), *feature_shape))
    stages = _Stages(x, preset, seed=seed, y=y, runner=runner)
    stages.prepare(feature_shape, is_test, parts, start)
    state, records = stages.run()
    return model_of(preset, np.shape(x)[1], state, parts), state, records


def model_of(
    preset: GMVAEPreset, num_features: int, state: State, parts: Parts
) -> Model:
    """The model in the state after the last stage."""
    shape = tuple(int(size) for size in state["feature_shape"])
    del num_features  # of the shape
    return Model(preset, state["params"], state.get("collections", ()), shape, parts)


def _entries(params: Any, collections: Any) -> State:
    """Entries of the state; without batch statistics there is nothing to keep."""
    return {"params": params} | ({"collections": collections} if collections else {})


class _Stages(Stages):
    names = STAGES

    def prepare(
        self,
        feature_shape: tuple[int, ...],
        is_test: np.ndarray | None,
        parts: Parts,
        start: Model | None,
    ) -> None:
        self.feature_shape = tuple(feature_shape)
        self.parts, self.start = parts, start
        everything = np.ones(len(self.x), bool)
        self.trained = everything if is_test is None else ~np.asarray(is_test)
        self.scored = everything if is_test is None else np.asarray(is_test)
        self.networks = apply_functions(self.preset, self.feature_shape, parts)
        self.likelihood = as_pytree(likelihood_of(self.preset, parts))

    def _initial(self) -> tuple[Any, Any]:
        if self.start is not None:
            return self.start.params, self.start.collections
        preset = self.preset
        modules = build_networks(preset, self.feature_shape, self.parts)
        inputs = {
            "recognition": self.x[:1],
            "components": np.zeros((1, preset.w_dim), np.float32),
            "decoder": np.zeros((1, preset.latent_dim), np.float32),
        }
        params, collections = {}, {}
        keys = jax.random.split(jax.random.fold_in(self.key("train"), 0), len(inputs))
        for module, key, (name, x) in zip(modules, keys, inputs.items(), strict=True):
            flags = {"train": False} if isinstance(module, _TRAINED_OTHERWISE) else {}
            variables = module.init(key, x, **flags)
            params[name] = variables["params"]
            if "batch_stats" in variables:
                collections[name] = variables["batch_stats"]
        return params, collections or ()

    def train(self, state: State) -> tuple[State, Metrics]:
        """The bound; reports the trained model."""
        preset = self.preset
        x = self.x[self.trained]
        params, collections = self._initial()
        trained = gmvae.train_gmvae(
            x,
            self.likelihood,
            params,
            collections,
            np.zeros((len(x), preset.num_clusters), np.float32),
            gmvae.gmvae_loss(
                self.networks,
                num_samples=preset.num_samples,
                information_constraint=preset.information_constraint,
                joint=preset.conditional_prior == "joint",
            ),
            schedule=self.training_schedule(),
            key=jax.random.fold_in(self.key("train"), 1),
            monitor=self.runner,
            describe=self._describe,
        )
        entries = _entries(trained.params, trained.collections)
        entries["feature_shape"] = np.asarray(self.feature_shape)
        report = self._assess(entries, draws=1)[1]
        objective = self.runner.last_epoch("train").get("objective")
        if objective is not None:
            report["objective"] = objective
        return entries, report

    def evaluate(self, state: State) -> tuple[State, Metrics]:
        """What the model says of every point; scores of the test rows, if any."""
        return self._assess(state, draws=BOUND_DRAWS)

    def _assess(self, state: State, draws: int) -> tuple[State, Metrics]:
        params, collections = state["params"], state.get("collections", ())
        z, _, log_assignment = jax.device_get(
            gmvae.infer(self.networks, params, collections, self.x)
        )
        labels = log_assignment.argmax(axis=1).astype(np.int32)
        terms = gmvae.terms(
            self.networks,
            self.likelihood,
            params,
            collections,
            self.x[self.scored],
            jax.random.key(0),
            num_samples=draws,
            joint=self.preset.conditional_prior == "joint",
        )
        terms = jax.tree.map(jnp.mean, terms)
        bound = evaluate.elbo_metrics(terms)
        for name in terms._fields:
            if not np.isfinite(bound[name]):
                raise Diverged(f"{name} is not finite in the evaluation")
        balance = evaluate.balance_metrics(labels, log_assignment)
        report = self._scores(labels, log_assignment) | bound | balance
        entries = {
            "labels": labels,
            "log_assignment": log_assignment,
            "latent_mean": z.mean,
        }
        return entries, report

    def _scores(self, labels: np.ndarray, log_assignment: np.ndarray) -> Metrics:
        """ACC, NMI, ARI and the paper's own score (erratum E62), never mixed."""
        if self.y is None:
            return self.scores(None) | {"confident_label_accuracy": None}
        y = np.asarray(self.y)[self.scored]
        confident = metrics.most_confident_label_accuracy(
            y, log_assignment[self.scored]
        )
        scores = evaluate.label_metrics(y, labels[self.scored])
        return scores | {"confident_label_accuracy": confident}

    def _describe(self, state: TrainState) -> Metrics:
        """Metrics of the training rows' assignments, once an epoch."""
        log_assignments = devices.gather(state.table)
        labels = log_assignments.argmax(axis=-1)
        counts = np.bincount(labels, minlength=log_assignments.shape[-1])
        described = {"smallest_share": float(counts.min() / counts.sum())}
        if self.y is not None:
            y = np.asarray(self.y)[self.trained]
            described["accuracy"] = metrics.clustering_accuracy(y, labels)
        return described


def samples_per_cluster(model: Model, num_samples: int, seed: int = 0) -> np.ndarray:
    """E[x | z] at z drawn from p(z | w, c) with w from its prior, shape [K, M, D]."""
    w_key, z_key = jax.random.split(jax.random.key(seed))
    w = jax.random.normal(w_key, (num_samples, model.preset.w_dim))
    mixtures = model.networks.components(model.params, w)
    components = Gaussian(*(jnp.swapaxes(field, 0, 1) for field in mixtures))
    eps = jax.random.normal(z_key, components.mean.shape)
    z = sample_gaussian(components, eps)
    decoded = model.decode(z.reshape(-1, z.shape[-1]))
    return decoded.reshape(*z.shape[:2], -1)
