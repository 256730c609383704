"""SpectralNet: spectral clustering by a network, from data on.

Shaham et al., "SpectralNet: spectral clustering using deep neural networks", ICLR 2018;
its formulas are quoted from memory of the paper, whose text was not at hand.
"""

import dataclasses

import jax
import numpy as np
from sklearn.cluster import KMeans

from dgg_jax import checks
from dgg_jax.methods.base import Metrics, Run, Stages, State
from dgg_jax.methods.pretrained import initial_params, pure
from dgg_jax.methods.similarity import embed_all, siamese_embedding
from dgg_jax.networks import Embedding
from dgg_jax.presets import SpectralNetPreset
from dgg_jax.stages import spectralnet
from dgg_jax.stages.spectralnet import SpectralParams

STAGES = ("graph", "train", "cluster")


def _siamese(preset: SpectralNetPreset) -> Embedding:
    return Embedding(preset.hidden_sizes, preset.latent_dim)


def _network(preset: SpectralNetPreset) -> Embedding:
    return Embedding(preset.hidden_sizes, preset.num_clusters)


def _apply(preset: SpectralNetPreset):
    return pure(_network(preset), preset.precision)


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
            x = embed_all(_siamese(self.preset), self.siamese, x, self.preset.precision)
        embedding = np.asarray(
            spectralnet.spectral_embedding(self.params, x, _apply(self.preset))
        )
        return embedding, _nearest(embedding, self.centers)


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


def run(
    x: np.ndarray,
    preset: SpectralNetPreset,
    *,
    seed: int = 0,
    y: np.ndarray | None = None,
    runner: Run | None = None,
) -> tuple[Model, State, list[Metrics]]:
    """Carries data through all stages of SpectralNet.

    Args:
      x: data, float32 of shape [N, D].
      preset: all settings.
      seed: of every random number of the run.
      y: true labels [N] for the reported metrics; nothing else sees them.
      runner: checkpoints and callbacks; by default in memory only.

    Returns:
      The model; the last state, with "labels" [N] and "latent_mean" [N, K], the
      spectral embedding; and the record of every stage.

    Raises:
      InvalidInput: if x cannot be clustered so; before any work.
      Diverged: if a loss is not finite.
      Interrupted: if the runner was asked to stop.
    """
    stages = _Stages(x, preset, seed=seed, y=y, runner=runner)
    check(preset, stages.x.shape)
    state, records = stages.run()
    return model_of(preset, np.shape(x)[1], state), state, records


def model_of(preset: SpectralNetPreset, num_features: int, state: State) -> Model:
    """The model in the state after the last stage."""
    params = SpectralParams(state["network"], state["orthonormalizer"])
    siamese = state.get("siamese", {})
    return Model(preset, siamese, params, state["centers"], num_features)


class _Stages(Stages):
    names = STAGES

    def graph(self, state: State) -> tuple[State, Metrics]:
        """The Siamese embedding, the network's input and space; reports K-means."""
        preset = self.preset
        if not preset.siamese_epochs:
            return {"embedding": self.x}, self.kmeans_metrics(self.x, "graph")
        params, embedding = siamese_embedding(self, _siamese(preset), None)
        entries = {"siamese": params, "embedding": embedding}
        return entries, self.kmeans_metrics(embedding, "graph")

    def train(self, state: State) -> tuple[State, Metrics]:
        """The network; reports K-means of its outputs."""
        preset = self.preset
        init_key, key = jax.random.split(self.key("train"))
        points = state["embedding"]
        params = spectralnet.train_spectralnet(
            points,
            points,
            initial_params(_network(preset), init_key, points[:1]),
            _apply(preset),
            num_neighbors=preset.affinity_neighbors,
            normalized=preset.laplacian == "normalized",
            schedule=self.training_schedule(),
            key=key,
            monitor=self.runner,
        )
        embedding = np.asarray(
            spectralnet.spectral_embedding(params, points, _apply(preset))
        )
        entries = {**params._asdict(), "latent_mean": embedding}
        return entries, self.kmeans_metrics(embedding, "train")

    def cluster(self, state: State) -> tuple[State, Metrics]:
        """K-means of the spectral embedding."""
        preset = self.preset
        kmeans = KMeans(
            preset.num_clusters,
            n_init=preset.restarts,
            random_state=self.numpy_seed("cluster"),
        )
        centers = kmeans.fit(state["latent_mean"]).cluster_centers_
        # Not K-means' own labels, whose ties fall otherwise.
        labels = _nearest(state["latent_mean"], centers)
        return {"labels": labels, "centers": centers}, self.outcome(labels)


def _nearest(embedding: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Which centre is the nearest, int32 of shape [N]."""
    distances = ((embedding[:, None] - centers[None]) ** 2).sum(axis=2)
    return distances.argmin(axis=1).astype(np.int32)
