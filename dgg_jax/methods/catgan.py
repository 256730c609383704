"""CatGAN: a classifier and a generator of rows that it is to be unsure of.

Springenberg, "Unsupervised and semi-supervised learning with categorical generative
adversarial networks", ICLR 2016; its formulas are quoted from memory of the paper,
whose text was not at hand. So is that both networks are trained by Adam with batch
normalisation, data and generated rows each by their own moments, and that the
classifier's layers are noisy; sizes, rates and epochs are ours. ``run`` is the
algorithm, then what a step of training minimises, a turn after the other.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from dgg_jax import checks
from dgg_jax.losses import catgan, imsat
from dgg_jax.losses.imsat import MutualInformation
from dgg_jax.methods.parts import AS_NAMED, Parts
from dgg_jax.methods.problem import (
    Outcome,
    Problem,
    confident_scores,
    training_schedule,
)
from dgg_jax.networks import (
    Generator,
    Moments,
    NormalizedClassifier,
    initial_params,
    moments_of_state,
    state_of_moments,
    with_precision,
)
from dgg_jax.placement import devices
from dgg_jax.presets import CatGANPreset
from dgg_jax.stages import evaluate
from dgg_jax.training import Loss, Metrics, Run, State, StepOutput, Turn, optimize

STAGES = ("train",)
_DRAWS = 4096  # of the generator, whose moments they have
_POOL = 32  # rows that are generated for each that is asked for


def run(
    x: np.ndarray,
    preset: CatGANPreset,
    *,
    seed: int = 0,
    y: np.ndarray | None = None,
    runner: Run | None = None,
    is_test: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
) -> Outcome:
    """Carries data through the training of CatGAN.

    Args:
      x: data, float32 of shape [N, D].
      preset: all settings.
      seed: of every random number of the run.
      y: true labels [N] for the reported metrics; nothing else sees them.
      runner: checkpoints and callbacks; by default in memory only.
      is_test: rows [N] that are not trained on, but scored alone, as in GMVAE's table
        1; by default all rows are trained on and scored.
      sample_weight: refused, unless all are equal; [N].

    Returns:
      The model; the last state, with "labels" [N] and "log_assignment" [N, K]; and the
      record of the stage.

    Raises:
      InvalidInput: if x cannot be clustered so; before any work.
      Diverged: if a loss is not finite.
      Interrupted: if the runner was asked to stop.
    """
    checks.no_sample_weight(
        sample_weight,
        x.shape[0],
        "CatGAN's classifier and generator are adversaries",
        "DGG, VaDE, GMVAE, DEC or IMSAT",
    )
    problem = Problem.of(x, preset, seed=seed, y=y, runner=runner, is_test=is_test)
    state = problem.runner.stage("train", train, problem, {})
    model = model_of(preset, problem.num_features, state)
    return Outcome(model, state, problem.runner.records)


@dataclasses.dataclass(frozen=True)
class Networks:
    """Classifier and generator, as functions of their parameters.

    Attributes:
      classifier: from rows to ln p(y | x), and the moments of its layers.
      generator: from noise to rows within the range of the data, and its moments.
      latent_dim: of that noise.
      precision: of matrix products.
    """

    classifier: NormalizedClassifier
    generator: Generator
    latent_dim: int
    precision: str

    def classify(
        self, params: Any, x: jax.Array, *moments: Sequence[Moments], key: Any = None
    ) -> tuple[jax.Array, tuple[Moments, ...]]:
        """Log probabilities [B, K] of rows x [B, D], and the moments of the layers."""
        variables = {"params": params["classifier"]}
        with with_precision(self.precision):
            return self.classifier.apply(variables, x, *moments, key=key)

    def generate(
        self, params: Any, z: jax.Array, *moments: Sequence[Moments]
    ) -> tuple[jax.Array, tuple[Moments, ...]]:
        """Rows [B, D] of noise z [B, L], and the moments of the layers."""
        low, high = params["range"][:, None]
        variables = {"params": params["generator"]}
        with with_precision(self.precision):
            rows, used = self.generator.apply(variables, z, *moments)
        return low + (high - low) * rows, used

    def information(
        self, params: Any, x: jax.Array, blur: jax.Array, key: jax.Array
    ) -> MutualInformation:
        """I(X; Y) of a batch x [B, D], as the classifier sees it in training."""
        key, input_key = jax.random.split(key)
        x = x + blur * jax.random.normal(input_key, x.shape, x.dtype)
        log_assignments, _ = self.classify(params, x, key=key)
        return imsat.mutual_information(log_assignments)

    def generated_information(
        self, params: Any, num_rows: int, blur: jax.Array, key: jax.Array
    ) -> MutualInformation:
        """The same of as many rows as are asked for, which the generator makes."""
        key, noise_key = jax.random.split(key)
        z = jax.random.normal(noise_key, (num_rows, self.latent_dim))
        return self.information(params, self.generate(params, z)[0], blur, key)


def networks_of(preset: CatGANPreset, num_features: int) -> Networks:
    """The networks that a preset names.

    Args:
      preset: all settings.
      num_features: D.
    """
    return Networks(
        NormalizedClassifier(
            preset.hidden_sizes, preset.num_clusters, noise=preset.hidden_noise
        ),
        Generator(preset.hidden_sizes[::-1], num_features),
        preset.latent_dim,
        preset.precision,
    )


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained model.

    Attributes:
      preset: its settings.
      params: {"classifier", "generator", "range"}; the last is the least and the
        largest value of each column, [2, D].
      moments: {"classifier", "generator"}, those of the layers over the data of
        training and over draws of the generator.
    """

    preset: CatGANPreset
    params: Any
    moments: dict[str, tuple[Moments, ...]]

    @property
    def num_features(self) -> int:
        """D, columns of the data."""
        return self.params["range"].shape[1]

    @property
    def networks(self) -> Networks:
        """The networks as functions of ``params``."""
        return networks_of(self.preset, self.num_features)

    def infer(self, x: np.ndarray) -> np.ndarray:
        """ln p(c | x) [N, K] of rows x [N, D].

        Raises:
          InvalidInput: if x is not [N, D] with the D of training.
        """
        x = checks.rows(x, self.num_features)
        moments = self.moments["classifier"]
        return np.asarray(_classified(self.networks, self.params, x, moments)[0])

    def generate(self, z: np.ndarray) -> np.ndarray:
        """Rows [N, D] of noise z [N, L], which is drawn from N(0, I)."""
        z = checks.rows(z, self.preset.latent_dim, name="z")
        moments = self.moments["generator"]
        return np.asarray(_generated(self.networks, self.params, z, moments)[0])


@devices.compiled(static_argnums=0)
def _classified(networks, params, x, *moments):
    """What a classifier returns for rows x [N, D]; by their moments if none are given.

    As one program: so many small ones take longer to compile.
    """
    return networks.classify(params, x, *moments)


@devices.compiled(static_argnums=0)
def _generated(networks, params, z, *moments):
    """What a generator returns for noise z [N, L]; by its moments if none are given."""
    return networks.generate(params, z, *moments)


def model_of(
    preset: CatGANPreset, num_features: int, state: State, parts: Parts = AS_NAMED
) -> Model:
    """The model in the state after the last stage; it has no parts of one's own."""
    del num_features, parts
    moments = {
        name: moments_of_state(layers) for name, layers in state["moments"].items()
    }
    return Model(preset, state["params"], moments)


def train(problem: Problem, state: State) -> tuple[State, Metrics]:
    """Minimises both losses in turns; reports the assignments."""
    del state
    preset = problem.preset
    networks = networks_of(preset, problem.num_features)
    x = problem.x[problem.trained]
    *keys, draws_key, key = jax.random.split(problem.key("train"), 4)
    z = np.asarray(jax.random.normal(draws_key, (_DRAWS, preset.latent_dim)))
    params = optimize(
        "catgan",
        (
            Turn(ClassifierLoss(networks), ("classifier",)),
            Turn(GeneratorLoss(networks), ("generator",)),
        ),
        {
            "classifier": initial_params(networks.classifier, keys[0], x[:1]),
            "generator": initial_params(networks.generator, keys[1], z[:1]),
            "range": np.stack([x.min(axis=0), x.max(axis=0)]),
        },
        (x, np.float32(preset.input_noise * np.sqrt(x.var(axis=0).mean()))),
        key,
        training_schedule(preset),
        num_points=len(x),
        monitor=problem.runner,
    ).params
    moments = {
        "classifier": _classified(networks, params, x)[1],
        "generator": _generated(networks, params, z)[1],
    }
    log_assignment = Model(preset, params, moments).infer(problem.x)
    labels = log_assignment.argmax(axis=1).astype(np.int32)
    entries = {
        "params": params,
        "moments": {name: state_of_moments(one) for name, one in moments.items()},
        "labels": labels,
        "log_assignment": log_assignment,
    }
    balance = evaluate.balance_metrics(labels, log_assignment)
    return entries, confident_scores(problem, log_assignment) | balance


@dataclasses.dataclass(frozen=True)
class ClassifierLoss(Loss):
    """The classifier's turn, over (x, deviation of the noise that blurs it).

    H(Y) is that of a batch: take batches much larger than K.

    Attributes:
      networks: both, of which it learns the classifier.
    """

    networks: Networks

    def __call__(self, params, data, indices, key):
        """The value of a batch; see ``training.Loss``."""
        x, blur = data
        key, generated_key = jax.random.split(key)
        information = self.networks.information(params, x[indices], blur, key)
        generated = self.networks.generated_information(
            params, len(indices), blur, generated_key
        )
        value = catgan.classifier_loss(information, generated)
        metrics = {
            "loss": value,
            **information._asdict(),
            "generated_entropy": generated.conditional_entropy,
        }
        return value, StepOutput(metrics)


@dataclasses.dataclass(frozen=True)
class GeneratorLoss(Loss):
    """The generator's turn, over the same; it sees as many rows, of none the values.

    Attributes:
      networks: both, of which it learns the generator.
    """

    networks: Networks

    def __call__(self, params, data, indices, key):
        """The value of a batch; see ``training.Loss``."""
        _, blur = data
        generated = self.networks.generated_information(params, len(indices), blur, key)
        value = catgan.generator_loss(generated)
        return value, StepOutput({"generator_loss": value})

    def rows(self, data, indices, key):
        """None; see ``training.Loss``."""
        del data, key
        return indices[:0]


def samples_per_cluster(model: Model, num_samples: int, seed: int = 0) -> np.ndarray:
    """Generated rows that the classifier puts into each cluster, shape [K, M, D].

    The generator knows of no clusters: of a pool of rows, each cluster gets the first M
    of its own; where it has fewer, those after them that are so most probably.

    Args:
      model: a trained one.
      num_samples: M.
      seed: of the draws.
    """
    num_drawn = _POOL * num_samples * model.preset.num_clusters
    shape = (num_drawn, model.preset.latent_dim)
    pool = model.generate(np.asarray(jax.random.normal(jax.random.key(seed), shape)))
    log_assignment = model.infer(pool)
    is_own = log_assignment == log_assignment.max(axis=1, keepdims=True)
    order = np.argsort(
        np.where(is_own, -1.0, -np.exp(log_assignment)), axis=0, kind="stable"
    )
    return pool[order[:num_samples].T]
