"""IMSAT: information maximisation by self-augmented training, from data on.

Hu et al., "Learning discrete representations via information maximizing self-augmented
training", ICML 2017; its formulas are quoted from memory of the paper, whose text was
not at hand. ``run`` is the algorithm, its stages follow in order, then what a step of
training minimises.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from dgg_jax import checks
from dgg_jax.losses import imsat
from dgg_jax.methods.parts import AS_NAMED, Parts
from dgg_jax.methods.problem import (
    Outcome,
    Problem,
    softly_clustered,
    training_schedule,
)
from dgg_jax.methods.similarity import nearest_in_data, warp_of
from dgg_jax.networks import (
    Classifier,
    Moments,
    Network,
    NormalizedClassifier,
    initial_params,
    moments_of_state,
    state_of_moments,
    with_precision,
)
from dgg_jax.placement import devices
from dgg_jax.presets import IMSATPreset
from dgg_jax.stages.graph import Augment
from dgg_jax.training import (
    Loss,
    Metrics,
    Run,
    State,
    StepOutput,
    batch_mean,
    optimize,
)

STAGES = ("graph", "train")


def run(
    x: np.ndarray,
    preset: IMSATPreset,
    *,
    seed: int = 0,
    y: np.ndarray | None = None,
    runner: Run | None = None,
    image_shape: tuple[int, ...] | None = None,
    sample_weight: np.ndarray | None = None,
) -> Outcome:
    """Carries data through all stages of IMSAT.

    Args:
      x: data, float32 of shape [N, D].
      preset: all settings.
      seed: of every random number of the run.
      y: true labels [N] for the reported metrics; nothing else sees them.
      runner: checkpoints and callbacks; by default in memory only.
      image_shape: (H, W), (H, W, 1) or (H, W, 3) of the image in a row, which ``warp``
        warps; None if there is none.
      sample_weight: how much each row counts in all that is minimised and in the
        moments of batch normalisation, [N]; the radii of perturbations know none.

    Returns:
      The model; the last state, with "labels" [N] and "log_assignment" [N, K]; and the
      record of every stage.

    Raises:
      InvalidInput: if x cannot be clustered so; before any work.
      Diverged: if a loss is not finite.
      Interrupted: if the runner was asked to stop.
    """
    problem = Problem.of(
        x,
        preset,
        seed=seed,
        y=y,
        runner=runner,
        image_shape=image_shape,
        sample_weight=sample_weight,
    )
    stage = problem.runner.stage
    state = stage("graph", measure_radius, problem, {})
    state = stage("train", train, problem, state)
    model = model_of(preset, problem.num_features, state)
    return Outcome(model, state, problem.runner.records)


def _module(preset: IMSATPreset) -> Classifier | NormalizedClassifier:
    classifier = NormalizedClassifier if preset.batch_norm else Classifier
    return classifier(preset.hidden_sizes, preset.num_clusters)


@dataclasses.dataclass(frozen=True)
class Classify:
    """ln p(c | x) of a batch; batch normalisation is by the batch's own moments.

    Attributes:
      network: of a classifier, that may return its layers' moments as well.
    """

    network: Network

    def __call__(
        self, params: Any, x: jax.Array, sample_weight: jax.Array | None = None
    ) -> jax.Array:
        """Log probabilities [B, K] of rows x [B, D], whose weights moments know."""
        named = _weights_of_moments(self.network.module, sample_weight)
        output = self.network(params, x, **named)
        return output[0] if isinstance(output, tuple) else output


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained model.

    Attributes:
      preset: its settings.
      params: of the classifier.
      num_features: D, columns of the data.
      moments: of its layers over the training data; empty without batch normalisation.
    """

    preset: IMSATPreset
    params: Any
    num_features: int
    moments: tuple[Moments, ...] = ()

    def infer(self, x: np.ndarray) -> np.ndarray:
        """ln p(c | x) [N, K] of rows x [N, D].

        Raises:
          InvalidInput: if x is not [N, D] with the D of training.
        """
        x = checks.rows(x, self.num_features)
        moments = {"moments": self.moments} if self.preset.batch_norm else {}
        output = _output(
            _module(self.preset), self.preset.precision, self.params, x, **moments
        )
        return np.asarray(output[0] if moments else output)


@devices.compiled(static_argnums=(0, 1))
def _output(module, precision, params, x, **named):
    """What a classifier returns for rows x [N, D]; by their moments if none are given.

    As one program: so many small ones take longer to compile.
    """
    with with_precision(precision):
        return module.apply({"params": params}, x, **named)


def _weights_of_moments(
    module: nn.Module, sample_weight: jax.Array | None
) -> dict[str, jax.Array]:
    """The weights of rows as a classifier takes them: one that has moments of rows."""
    if sample_weight is None or not isinstance(module, NormalizedClassifier):
        return {}
    return {"sample_weight": sample_weight}


def model_of(
    preset: IMSATPreset, num_features: int, state: State, parts: Parts = AS_NAMED
) -> Model:
    """The model in the state after the last stage; it has no parts of one's own."""
    del parts
    moments = moments_of_state(state.get("moments", {}))
    return Model(preset, state["model"], num_features, moments)


def measure_radius(problem: Problem, state: State) -> tuple[State, Metrics]:
    """How far each point is perturbed: a fraction of a neighbour's distance."""
    del state
    preset = problem.preset
    distances = nearest_in_data(problem, preset.num_neighbors)["distances"]
    radius = perturbation_radius(distances, preset.perturbation_fraction)
    return {"radius": radius}, {}


def perturbation_radius(distances: np.ndarray, fraction: float) -> np.ndarray:
    """epsilon of each point: a fraction of the distance to its k-th neighbour.

    Args:
      distances: to the k nearest neighbours, ascending, shape [N, k]; k is 10 in the
        paper.
      fraction: the paper's alpha; 0.25 in the released code for MNIST.

    Returns:
      Radii of shape [N].
    """
    return fraction * distances[:, -1]


def train(problem: Problem, state: State) -> tuple[State, Metrics]:
    """Minimises R_SAT - lambda (mu H(Y) - H(Y | X)); reports the assignments.

    Clusters that are uniform for every point are a stationary solution, of loss
    -lambda (mu - 1) ln K. A classifier without batch normalisation, the paper's has it,
    can end there: it does on MNIST, and with large learning rates on small images.
    """
    preset, module = problem.preset, _module(problem.preset)
    init_key, key = jax.random.split(problem.key("train"))
    params = optimize(
        "imsat",
        ImsatLoss(
            Classify(Network(module, preset.precision)),
            preset.information_weight,
            preset.marginal_weight,
            preset.perturbation_probe,
            augment=warp_of(problem, "warp"),
        ),
        initial_params(module, init_key, problem.x[:1]),
        (problem.x, state["radius"], problem.sample_weight),
        key,
        training_schedule(preset),
        num_points=len(problem.x),
        monitor=problem.runner,
    ).params
    learned, moments = {"model": params}, ()
    if preset.batch_norm:
        named = _weights_of_moments(module, problem.sample_weight)
        _, moments = _output(module, preset.precision, params, problem.x, **named)
        learned["moments"] = state_of_moments(moments)
    model = Model(preset, params, problem.num_features, moments)
    log_assignment = model.infer(problem.x)
    entries, metrics = softly_clustered(problem, log_assignment)
    return entries | learned, metrics


@dataclasses.dataclass(frozen=True)
class ImsatLoss(Loss):
    """The loss of a batch, over (x, radius [N], weights of rows [N] or None).

    H(Y) is that of a batch: take batches much larger than K. Where rows are augmented,
    R_SAT is the sum of both divergences: those of perturbed and of augmented rows.

    Attributes:
      classify: from (params, x [B, D]) to ln p(y | x) [B, K]; with batch normalisation,
        by the moments of the batch it is given, perturbed or not.
      information_weight: lambda.
      marginal_weight: mu.
      probe: xi of the virtual adversarial training, in units of the radius.
      num_iterations: its power iterations.
      augment: changes rows in a way that keeps their clusters, as a perturbation does;
        None: only these.
    """

    classify: Callable[[Any, jax.Array], jax.Array]
    information_weight: float
    marginal_weight: float
    probe: float
    num_iterations: int = 1
    augment: Augment | None = None

    def __call__(self, params, data, indices, key):
        """The value of a batch; see ``training.Loss``."""
        x, radius, sample_weight = data
        x, radius = x[indices], radius[indices]
        classify, weights = self.classify, None
        if sample_weight is not None:
            weights = sample_weight[indices]
            classify = functools.partial(classify, sample_weight=weights)
        log_q = classify(params, x)
        shifts = imsat.adversarial_perturbation(
            classify,
            params,
            x,
            radius,
            key,
            probe=self.probe,
            num_iterations=self.num_iterations,
            sample_weight=weights,
        )
        seen = [x + shifts]
        if self.augment is not None:
            seen.append(self.augment(jax.random.fold_in(key, 1), x))
        divergences = sum(
            jax.vmap(imsat.perturbation_divergence)(log_q, classify(params, rows))
            for rows in seen
        )
        divergence = batch_mean(divergences, sample_weight, indices)
        information = imsat.mutual_information(log_q, weights)
        value = imsat.objective(
            divergence,
            information,
            information_weight=self.information_weight,
            marginal_weight=self.marginal_weight,
        )
        metrics = {"loss": value, "divergence": divergence, **information._asdict()}
        return value, StepOutput(metrics)
