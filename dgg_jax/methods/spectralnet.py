"""SpectralNet: spectral clustering by a network, from data on.

Shaham et al., "SpectralNet: spectral clustering using deep neural networks", ICLR 2018;
its formulas are quoted from memory of the paper, whose text was not at hand. ``run`` is
the algorithm, its stages follow in order, then what a step of training minimises.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from dgg_jax import checks
from dgg_jax.losses import spectralnet
from dgg_jax.methods.parts import AS_NAMED, Parts
from dgg_jax.methods.problem import (
    Outcome,
    Problem,
    clustered,
    kmeans_metrics,
    training_schedule,
)
from dgg_jax.methods.similarity import embed_all, siamese_embedding, warp_of
from dgg_jax.networks import Embedding, Network, initial_params, with_precision
from dgg_jax.placement import devices
from dgg_jax.presets import SpectralNetPreset
from dgg_jax.training import Loss, Metrics, Run, State, StepOutput, optimize

STAGES = ("graph", "train", "cluster")

# From (parameters of the network, x [B, D]) to outputs [B, K].
Apply = Callable[[Any, jax.Array], jax.Array]


def run(
    x: np.ndarray,
    preset: SpectralNetPreset,
    *,
    seed: int = 0,
    y: np.ndarray | None = None,
    runner: Run | None = None,
    image_shape: tuple[int, ...] | None = None,
    sample_weight: np.ndarray | None = None,
) -> Outcome:
    """Carries data through all stages of SpectralNet.

    Args:
      x: data, float32 of shape [N, D].
      preset: all settings.
      seed: of every random number of the run.
      y: true labels [N] for the reported metrics; nothing else sees them.
      runner: checkpoints and callbacks; by default in memory only.
      image_shape: (H, W), (H, W, 1) or (H, W, 3) of the image in a row, which
        ``siamese_warp`` warps; None if there is none.
      sample_weight: refused, unless all are equal; [N].

    Returns:
      The model; the last state, with "labels" [N] and "latent_mean" [N, K], the
      spectral embedding; and the record of every stage.

    Raises:
      InvalidInput: if x cannot be clustered so; before any work.
      Diverged: if a loss is not finite.
      Interrupted: if the runner was asked to stop.
    """
    checks.no_sample_weight(
        sample_weight,
        x.shape[0],
        "SpectralNet's loss is of pairs of rows in an orthonormal basis",
        "DGG, VaDE, GMVAE, DEC or IMSAT",
    )
    problem = Problem.of(
        x, preset, seed=seed, y=y, runner=runner, image_shape=image_shape
    )
    check(preset, problem.x.shape)
    stage = problem.runner.stage
    state = stage("graph", embed, problem, {})
    state = stage("train", train, problem, state)
    state = stage("cluster", cluster, problem, state)
    model = model_of(preset, problem.num_features, state)
    return Outcome(model, state, problem.runner.records)


def check(preset: SpectralNetPreset, shape: tuple[int, ...]) -> None:
    """Whether a batch can have K orthonormal outputs.

    Args:
      preset: all settings.
      shape: of the data, [N, ...].

    Raises:
      InvalidInput: if a batch, or the data, has no more rows than clusters.
    """
    clusters, batch_size, num_points = preset.num_clusters, preset.batch_size, shape[0]
    if min(batch_size, num_points) <= clusters:
        remedy = "use a larger batch_size"
        if num_points <= clusters:
            remedy = "ask for fewer clusters"
        raise checks.InvalidInput(
            f"SpectralNet needs batches of more rows than clusters, got "
            f"num_clusters={clusters} for batch_size={batch_size} of {num_points} "
            f"rows; {remedy}."
        )


def _siamese(preset: SpectralNetPreset) -> Network:
    return Network(Embedding(preset.hidden_sizes, preset.latent_dim), preset.precision)


def _network(preset: SpectralNetPreset) -> Network:
    embedding = Embedding(preset.hidden_sizes, preset.num_clusters)
    return Network(embedding, preset.precision)


class SpectralParams(NamedTuple):
    """A trained SpectralNet: the network and its last layer.

    Attributes:
      network: parameters of the network.
      orthonormalizer: R, the weights of the orthonormalising layer, shape [K, K].
    """

    network: Any
    orthonormalizer: jax.Array


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained model.

    Attributes:
      preset: its settings.
      siamese: parameters of the Siamese network; empty if there is none.
      params: of the network on its embedding, and its orthonormalising layer.
      centers: of K-means in the spectral embedding, shape [K, K].
      num_features: D, columns of the data.
    """

    preset: SpectralNetPreset
    siamese: State
    params: SpectralParams
    centers: np.ndarray
    num_features: int

    def infer(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Spectral embedding [N, K] and labels [N] of rows x [N, D].

        Raises:
          InvalidInput: if x is not [N, D] with the D of training.
        """
        x = checks.rows(x, self.num_features)
        if self.siamese:
            x = embed_all(_siamese(self.preset), self.siamese, x)
        network = _network(self.preset)
        embedding = np.asarray(spectral_embedding(self.params, x, network))
        return embedding, _nearest(embedding, self.centers)


def model_of(
    preset: SpectralNetPreset, num_features: int, state: State, parts: Parts = AS_NAMED
) -> Model:
    """The model in the state after the last stage; it has no parts of one's own."""
    del parts
    params = SpectralParams(state["network"], state["orthonormalizer"])
    siamese = state.get("siamese", {})
    return Model(preset, siamese, params, state["centers"], num_features)


def embed(problem: Problem, state: State) -> tuple[State, Metrics]:
    """The Siamese embedding, the network's input and space; reports K-means."""
    del state
    preset, x = problem.preset, problem.x
    if not preset.siamese_epochs:
        return {"embedding": x}, kmeans_metrics(problem, x, "graph")
    params, embedding = siamese_embedding(
        problem, _siamese(preset).module, None, augment=warp_of(problem)
    )
    entries = {"siamese": params, "embedding": embedding}
    return entries, kmeans_metrics(problem, embedding, "graph")


def train(problem: Problem, state: State) -> tuple[State, Metrics]:
    """Minimises the loss of orthonormalised batches; reports K-means of them.

    The outputs Y~ of a batch are orthonormalised by R of that batch, and the gradient
    passes through R: the loss is the trace quotient tr((Y~^T Y~)^-1 Y~^T L Y~), which
    ignores the scale of Y~. The paper alternates: one batch sets R, and a step on
    another holds it fixed. On handwritten digits such steps by Adam ended at ten times
    the loss. At the end R is set from all points, so that Y^T Y = N I.
    """
    preset, points = problem.preset, state["embedding"]
    network = _network(preset)
    init_key, key = jax.random.split(problem.key("train"))
    trained = optimize(
        "spectralnet",
        SpectralNetLoss(
            network, preset.affinity_neighbors, preset.laplacian == "normalized"
        ),
        initial_params(network.module, init_key, points[:1]),
        (points, points),  # what the network sees, and where affinities are measured
        key,
        training_schedule(preset),
        num_points=len(points),
        monitor=problem.runner,
    ).params
    params = orthonormalized(trained, points, network, preset.batch_size)
    embedding = np.asarray(spectral_embedding(params, points, network))
    entries = {**params._asdict(), "latent_mean": embedding}
    return entries, kmeans_metrics(problem, embedding, "train")


def cluster(problem: Problem, state: State) -> tuple[State, Metrics]:
    """K-means of the spectral embedding."""
    centers = problem.kmeans("cluster").fit(state["latent_mean"]).cluster_centers_
    # Not K-means' own labels, whose ties fall otherwise.
    entries, metrics = clustered(problem, _nearest(state["latent_mean"], centers))
    return entries | {"centers": centers}, metrics


def _nearest(embedding: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Which centre is the nearest, int32 of shape [N]."""
    distances = ((embedding[:, None] - centers[None]) ** 2).sum(axis=2)
    return distances.argmin(axis=1).astype(np.int32)


def spectral_embedding(
    params: SpectralParams, x: jax.Array, apply: Apply, batch_size: int = 1024
) -> jax.Array:
    """Y of any points, also of those that were not trained on, in batches.

    Args:
      params: of a trained SpectralNet.
      x: shape [N, D].
      apply: the network.
      batch_size: points mapped at once.

    Returns:
      Y, shape [N, K].
    """
    outputs = _outputs(params.network, x, apply, batch_size)
    with with_precision("float32"):  # in TF32 Y^T Y would be N I to three digits only
        return outputs @ params.orthonormalizer


def orthonormalized(
    network: Any, x: jax.Array, apply: Apply, batch_size: int
) -> SpectralParams:
    """A trained network with the R of all points x [N, D], so that Y^T Y = N I."""
    outputs = _outputs(network, x, apply, batch_size)
    return SpectralParams(network, jax.jit(spectralnet.orthonormalizer)(outputs))


@devices.compiled(static_argnames=("apply", "batch_size"))
def _outputs(network, x, apply, batch_size):
    def of_point(x):
        return apply(network, x[None])[0]

    return jax.lax.map(of_point, x, batch_size=min(batch_size, len(x)))


@dataclasses.dataclass(frozen=True)
class SpectralNetLoss(Loss):
    """The loss of a batch, over (x, what the affinities are computed from [N, L]).

    It sees the neighbours within a batch only: take large batches, 1,024 in the
    released code for MNIST.

    Attributes:
      apply: the network.
      num_neighbors: k of the affinity, nearest in the batch.
      normalized: whether the Laplacian is the normalised one.
    """

    apply: Apply
    num_neighbors: int
    normalized: bool

    def __call__(self, params, data, indices, key):
        """The value of a batch; see ``training.Loss``."""
        x, embedding = data
        outputs = self.apply(params, x[indices])
        with with_precision("float32"):  # with the gradient of the QR decomposition
            outputs = outputs @ spectralnet.orthonormalizer(outputs)
        near = spectralnet.gaussian_affinity(embedding[indices], self.num_neighbors)
        value = spectralnet.loss(outputs, near, normalized=self.normalized)
        return value, StepOutput({"loss": value})
