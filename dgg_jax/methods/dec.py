"""DEC: deep embedded clustering, from data on.

Xie, Girshick and Farhadi, "Unsupervised deep embedding for clustering analysis", ICML
2016; its formulas are quoted from memory of the paper, whose text was not at hand.
``run`` is the algorithm, its stages follow in order, then what a step of training
minimises.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from dgg_jax import checks
from dgg_jax.losses import dec
from dgg_jax.methods.parts import AS_NAMED, Parts, autoencoder_networks
from dgg_jax.methods.pretrained import autoencoder, latent_means, pretrain_and_report
from dgg_jax.methods.problem import (
    Outcome,
    Problem,
    softly_clustered,
    training_schedule,
)
from dgg_jax.placement import devices
from dgg_jax.placement.rows import HostRows, SparseRows, map_blocks, map_rows, place
from dgg_jax.presets import DECPreset
from dgg_jax.stages import evaluate
from dgg_jax.training import (
    Loss,
    Metrics,
    Rows,
    Run,
    State,
    StepOutput,
    TrainState,
    batch_mean,
    optimize,
)
from dgg_jax.types import Gaussian

STAGES = ("pretrain", "initialize", "train")

# From the encoder's parameters and x [B, D]; only the mean is used.
Encode = Callable[[Any, jax.Array], Gaussian]


def run(
    x: np.ndarray | sparse.csr_array,
    preset: DECPreset,
    *,
    seed: int = 0,
    y: np.ndarray | None = None,
    runner: Run | None = None,
    sample_weight: np.ndarray | None = None,
) -> Outcome:
    """Carries data through all stages of DEC.

    Args:
      x: data, float32 of shape [N, D]; rows of a sparse matrix become dense by the
        batch.
      preset: all settings.
      seed: of every random number of the run.
      y: true labels [N] for the reported metrics; nothing else sees them.
      runner: checkpoints and callbacks; by default in memory only.
      sample_weight: how much each row counts in all that is minimised, in K-means and
        in the frequencies of the target, [N].

    Returns:
      The model; the last state, with "labels" [N], "log_assignment" [N, K] and
      "latent_mean" [N, L]; and the record of every stage.

    Raises:
      InvalidInput: if x cannot be clustered so; before any work.
      Diverged: if a loss is not finite.
      Interrupted: if the runner was asked to stop.
    """
    problem = Problem.of(
        x, preset, seed=seed, y=y, runner=runner, sample_weight=sample_weight
    )
    stage = problem.runner.stage
    state = stage("pretrain", pretrain_and_report, problem, {})
    state = stage("initialize", initialize, problem, state)
    state = stage("train", train, problem, state)
    model = model_of(preset, problem.num_features, state)
    return Outcome(model, state, problem.runner.records)


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained model.

    Attributes:
      preset: its settings.
      params: {"encoder", "centers" [K, L]}.
      num_features: D, columns of the data.
    """

    preset: DECPreset
    params: Any
    num_features: int

    def infer(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Latents [N, L] and ln q [N, K], eq. (1) of DEC, of rows x [N, D].

        Raises:
          InvalidInput: if x is not [N, D] with the D of training.
        """
        x = place(checks.rows(x, self.num_features), self.preset.device_memory_share)
        encode = autoencoder_networks(self.preset, self.num_features).encode
        latents = evaluate.encode_all(encode, self.params["encoder"], x).mean
        log_assignment = log_assignments(
            encode, self.params, x, self.preset.degrees_of_freedom
        )
        return jax.device_get((latents, log_assignment))


def model_of(
    preset: DECPreset, num_features: int, state: State, parts: Parts = AS_NAMED
) -> Model:
    """The model in the state after the last stage; it has no parts of one's own."""
    del parts
    return Model(preset, state["model"], num_features)


def initialize(problem: Problem, state: State) -> tuple[State, Metrics]:
    """Centres by K-means of the latents; reports their assignments."""
    kmeans = problem.kmeans("initialize")
    latents = latent_means(problem, autoencoder(problem), state)
    labels = kmeans.fit_predict(latents, sample_weight=problem.sample_weight)
    centers = kmeans.cluster_centers_.astype(np.float32)
    return {"centers": centers}, problem.scores(labels)


def train(problem: Problem, state: State) -> tuple[State, Metrics]:
    """Minimises KL(p || q), eq. (2) of DEC; reports the assignments.

    The target p is computed from the assignments of all points at the start of each
    epoch and held for that epoch; the paper, which trains by SGD with momentum, has an
    interval of steps. It stops once fewer than 0.1 % of the points change cluster
    between two targets; here the epochs are fixed, and the metric ``changed`` is the
    share of points whose cluster at their step is not the one at the epoch's start.
    """
    preset, encode = problem.preset, autoencoder(problem).encode
    params = optimize(
        "dec",
        DecLoss(encode, preset.degrees_of_freedom),
        {"encoder": state["encoder"], "centers": state["centers"]},
        Rows(problem.x, sample_weight=problem.sample_weight),
        problem.key("train"),
        training_schedule(preset),
        num_points=len(problem.x),
        monitor=problem.runner,
        prepare=Target(encode, preset.degrees_of_freedom, preset.batch_size),
    ).params
    model = Model(preset, params, problem.num_features)
    latents, log_assignment = model.infer(problem.x)
    entries, metrics = softly_clustered(problem, log_assignment)
    return entries | {"model": params, "latent_mean": latents}, metrics


def log_assignments(
    encode: Encode,
    params: Any,
    x: jax.Array | SparseRows | HostRows,
    degrees_of_freedom: float,
    batch_size: int = 1024,
) -> jax.Array:
    """ln q of all points, in batches.

    Args:
      encode: from (encoder parameters, x [B, D]) to Gaussian of [B, L].
      params: {"encoder", "centers"}.
      x: data, shape [N, D].
      degrees_of_freedom: nu of the Student t kernel.
      batch_size: points encoded at once.

    Returns:
      ln q, shape [N, K].
    """
    of_rows = functools.partial(
        _log_assignments, encode, batch_size, params, degrees_of_freedom
    )
    return map_blocks(of_rows, x)


@devices.compiled(static_argnums=(0, 1))
def _log_assignments(encode, batch_size, params, degrees_of_freedom, x):
    def of_point(x):
        z = encode(params["encoder"], x[None]).mean[0]
        return dec.log_soft_assignment(z, params["centers"], degrees_of_freedom)

    return map_rows(of_point, x, min(batch_size, len(x)))


@dataclasses.dataclass(frozen=True)
class Target:
    """Computes the target p of an epoch, and its clusters.

    Attributes:
      encode: see ``log_assignments``.
      degrees_of_freedom: nu.
      batch_size: points encoded at once.
    """

    encode: Encode
    degrees_of_freedom: float
    batch_size: int

    def __call__(self, state: TrainState, rows: Rows) -> tuple[jax.Array, jax.Array]:
        """ln p [N, K] and the cluster of each point [N]."""
        log_q = log_assignments(
            self.encode, state.params, rows.x, self.degrees_of_freedom, self.batch_size
        )
        target = dec.target_distribution(log_q, rows.sample_weight)
        return target, jnp.argmax(log_q, axis=1)


@dataclasses.dataclass(frozen=True)
class DecLoss(Loss):
    """KL(p || q) of a batch, over (Rows, (ln p [N, K], clusters [N])).

    Attributes:
      encode: see ``log_assignments``.
      degrees_of_freedom: nu.
    """

    encode: Encode
    degrees_of_freedom: float

    def __call__(self, params, data, indices, key):
        """The value of a batch; see ``training.Loss``."""
        rows, target = data
        log_target, labels = (field[indices] for field in target)
        z = self.encode(params["encoder"], rows.x[indices]).mean
        log_q = jax.vmap(dec.log_soft_assignment, (0, None, None))(
            z, params["centers"], self.degrees_of_freedom
        )
        values = jax.vmap(dec.divergence)(log_target, log_q)
        value = batch_mean(values, rows.sample_weight, indices)
        changed = jnp.mean(jnp.argmax(log_q, axis=1) != labels, dtype=value.dtype)
        return value, StepOutput({"loss": value, "changed": changed})
