"""DGG: deep clustering by Gaussian mixture VAEs with graph embedding, from data on."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from flax import linen as nn

from dgg_jax import checks
from dgg_jax.graph import graph_information, knn
from dgg_jax.images import RandomWarp
from dgg_jax.methods.base import Metrics, Run, State
from dgg_jax.methods.mixture_vae import (
    MixtureStages,
    Model,
    Neighbors,
    restart_of,
    samples_per_cluster,
    traversals,
)
from dgg_jax.methods.pretrained import (
    AS_NAMED,
    Parts,
    autoencoder_functions,
    initial_params,
    pure,
)
from dgg_jax.methods.similarity import siamese_embedding
from dgg_jax.networks import Classifier, Embedding, MeanEmbedding
from dgg_jax.presets import DGGPreset
from dgg_jax.rows import HostRows
from dgg_jax.stages import cluster_count, evaluate, graph, initialize, train
from dgg_jax.stages.cluster_count import ClusterCount
from dgg_jax.stages.train import ApplyFunctions
from dgg_jax.training import Schedule
from dgg_jax.types import Graph, Mixture

__all__ = [
    "STAGES",
    "Model",
    "count_clusters",
    "model_of",
    "run",
    "samples_per_cluster",
    "traversals",
]

STAGES = ("pretrain", "graph", "initialize", "classifier", "train", "evaluate")

# Of the clusters' graph information, what training may cost before it is undone.
MOST_INFORMATION_LOST = 0.02


def classifier_module(preset: DGGPreset) -> Classifier:
    """f_2 of section 4.2 of DGG: L-K, or L-K-K for K < 10."""
    sizes = preset.classifier_hidden_sizes
    if sizes is None:
        sizes = () if preset.num_clusters >= 10 else (preset.num_clusters,)
    return Classifier(sizes, preset.num_clusters)


@functools.cache
def _classify(
    module: Classifier, precision: str
) -> Callable[[Any, jax.Array], jax.Array]:
    return lambda params, z: pure(module, precision)(params["classifier"], z)


def apply_functions(
    preset: DGGPreset, num_features: int, parts: Parts = AS_NAMED
) -> ApplyFunctions:
    """The model as pure functions of (parameters, batch)."""
    return autoencoder_functions(preset, num_features, parts)._replace(
        classify=_classify(classifier_module(preset), preset.precision)
    )


def run(
    x: np.ndarray,
    preset: DGGPreset,
    *,
    seed: int = 0,
    y: np.ndarray | None = None,
    runner: Run | None = None,
    parts: Parts = AS_NAMED,
    image_shape: tuple[int, ...] | None = None,
    neighbors: Neighbors | None = None,
    start: Model | None = None,
) -> tuple[Model, State, list[Metrics]]:
    """Carries data through all stages of DGG.

    Args:
      x: data, float32 of shape [N, D]; rows of a sparse matrix become dense by the
        batch.
      preset: all settings.
      seed: of every random number of the run.
      y: true labels [N] for the reported metrics; nothing else sees them.
      runner: checkpoints and callbacks; by default in memory only.
      parts: networks or likelihood in place of those that the preset names.
      image_shape: (H, W), (H, W, 1) or (H, W, 3) of the image in a row; None if there
        is none.
      neighbors: nearest neighbours (indices and distances [N, k], ascending) that the
        graph takes in place of its own.
      start: a model to train on, without pretraining and initialisation.

    Returns:
      The model of the best restart; the last state, with "labels" [N],
      "log_assignment" [N, K] and "latent_mean" [N, L]; and the record of every stage.

    Raises:
      InvalidInput: if x cannot be clustered so; before any work.
      Diverged: if a loss is not finite.
      Interrupted: if the runner was asked to stop.
    """
    stages = _Stages(
        x,
        preset,
        seed=seed,
        y=y,
        runner=runner,
        parts=parts,
        image_shape=image_shape,
        neighbors=neighbors,
        start=start,
    )
    return stages.carry_through()


def count_clusters(
    x: np.ndarray,
    preset: DGGPreset,
    runner: Run,
    *,
    seed: int = 0,
    parts: Parts = AS_NAMED,
    image_shape: tuple[int, ...] | None = None,
    neighbors: Neighbors | None = None,
) -> ClusterCount:
    """Estimates K where the neighbours of the graph are near.

    It is the stage ``num_clusters`` of a run. What it trains, the autoencoder and the
    Siamese network, does not depend on K: with a shared folder, ``run`` with the same
    runner and arguments trains it no more.

    Args:
      x: data, float32 of shape [N, D], or a sparse matrix.
      preset: all settings; num_clusters does not count.
      runner: checkpoints and callbacks.
      seed: of every random number of the run.
      parts: networks or likelihood in place of those that the preset names.
      image_shape: (H, W), (H, W, 1) or (H, W, 3) of the image in a row; None if there
        is none.
      neighbors: nearest neighbours that are known: clusters are those of the data.

    Returns:
      K, and the evidence for it.

    Raises:
      InvalidInput: if x cannot be clustered so, has too few rows or no clusters.
      Diverged: if a loss is not finite.
      Interrupted: if the runner was asked to stop.
    """
    cluster_count.check_num_rows(x.shape[0])
    stages = _Stages(
        x,
        preset,
        seed=seed,
        runner=runner,
        parts=parts,
        image_shape=image_shape,
        neighbors=neighbors,
    )
    runner.stage("num_clusters", stages.num_clusters, {})
    return ClusterCount.from_dict(runner.records[0])


class _Stages(MixtureStages):
    names = STAGES
    build_functions = staticmethod(apply_functions)
    # Ranks runs by accuracy where the ELBO does not, see docs/accuracy.md.
    criterion = "graph_information"

    def __init__(
        self, *arguments, image_shape: tuple[int, ...] | None = None, **keywords
    ):
        """Checks the data and the shape of their images; see ``MixtureStages``."""
        super().__init__(*arguments, **keywords)
        self.warp, strength = None, self.preset.siamese_warp
        if image_shape is not None:
            checks.image_shape(image_shape, self.num_features, "image_shape")
            if strength:
                self.warp = RandomWarp(tuple(map(int, image_shape)), strength)
        elif strength and self._graph_of() == "siamese":
            logging.warning(
                "siamese_warp=%g warps images, and image_shape is not given: nothing "
                "is warped. Tell image_shape, or set siamese_warp=0.",
                strength,
            )

    def label_metrics(self, state: State, labels: np.ndarray) -> Metrics:
        """Scores, and how much a cluster tells of its neighbour's."""
        information = graph_information(Graph(**state["init_graph"]), labels)
        return self.scores(labels) | {"graph_information": information}

    def num_clusters(self, state: State) -> tuple[State, Metrics]:
        """K, counted where neighbours are near; reports the evidence."""
        if self._graph_of() != "data":
            state = self.pretrained()
        space, _ = self._graph_space(state)
        count = cluster_count.estimate_num_clusters(
            space,
            self.numpy_seed("num_clusters"),
            functools.partial(self.runner.progress, "cluster_count"),
        )
        return {"num_clusters": np.asarray(count.num_clusters)}, count._asdict()

    def graph(self, state: State) -> tuple[State, Metrics]:
        """The similarity graph; reports K-means of where its neighbours are near."""
        preset = self.preset
        space, where = self._graph_space(state)
        if self.neighbors is not None:
            indices, distances = self.neighbors
        else:
            found = self.runner.share(
                "neighbors",
                where | {"num_candidates": preset.num_candidates},
                lambda: self._nearest(space),
            )
            indices, distances = found["indices"], found["distances"]

        def drawn(num_neighbors: int, choice: str) -> Graph:
            return graph.draw_neighbors(
                indices[:, : preset.num_candidates],
                distances[:, : preset.num_candidates],
                num_neighbors,
                choice=choice,
                weights=preset.neighbor_weights,
                seed=self.numpy_seed("graph"),
            )

        kept = drawn(preset.num_neighbors, preset.neighbor_choice)
        # Clusters show in a wide graph; what one row is shows in those next to it.
        initial = drawn(preset.init_neighbors, "random")
        metrics = self.kmeans_metrics(space, "graph")
        if self.y is not None:
            metrics["neighbor_purity"] = graph.neighbor_purity(kept.indices, self.y)
        entries = {"graph": kept._asdict(), "init_graph": initial._asdict()}
        return entries, metrics | self.elbo(state)

    def _graph_space(self, state: State) -> tuple[np.ndarray | HostRows, State]:
        """Points whose distances make the graph, and what they depend on."""
        space = self._graph_of()
        if space == "siamese":
            origin = self.vae_identity() | self.preset.siamese_settings()
            origin["warp"] = repr(self.warp)
            trained = siamese_embedding(self, *self._siamese(state), origin, self.warp)
            return trained[1], origin
        if space == "latents":
            return self.latent_means(state), self.vae_identity()
        # Dense, but for rows that stay on the host.
        return self.x if isinstance(self.x, HostRows) else self.x[:], {}

    def _graph_of(self) -> str:
        """``graph_of``; neighbours that are given stand for those of the embedding."""
        space = self.preset.graph_of
        untrained = space == "siamese" and not self.preset.siamese_epochs
        return "data" if untrained or self.neighbors is not None else space

    def _nearest(self, space: np.ndarray | HostRows) -> State:
        indices, distances = knn(
            space,
            min(self.preset.num_candidates, len(self.x) - 1),
            progress=functools.partial(self.runner.progress, "neighbors"),
        )
        return {"indices": indices, "distances": distances}

    def _siamese(self, state: State) -> tuple[nn.Module, State]:
        """The Siamese network, as the encoder's mean, and the encoder's parameters."""
        preset, encoder = self.preset, state["encoder"]
        if self.parts.encoder:
            return MeanEmbedding(self.parts.encoder), {"encoder": encoder}
        module = Embedding(preset.hidden_sizes, preset.latent_dim)
        return module, {k: v for k, v in encoder.items() if k != "logvar"}

    def initialize(self, state: State) -> tuple[State, Metrics]:
        """Labels and mixture of every restart; reports the labels."""
        return self.initial_mixtures(state, Graph(**state["init_graph"]))

    def classifier(self, state: State) -> tuple[State, Metrics]:
        """f_2 fitted to the labels, for every restart; reports its assignments."""
        preset = self.preset
        posterior = evaluate.encode_all(self.networks.encode, state["encoder"], self.x)
        keys = self.restart_keys("classifier")
        latents = jnp.zeros((1, preset.latent_dim))
        module = classifier_module(preset)
        classifier = initialize.fit_classifier(
            posterior,
            state["initial_labels"],
            jax.vmap(lambda key: initial_params(module, key, latents))(keys),
            pure(module, preset.precision),
            sampled=preset.classifier_input == "sample",
            schedule=Schedule(
                preset.classifier_epochs,
                preset.batch_size,
                preset.classifier_learning_rate,
            ),
            keys=jax.vmap(jax.random.fold_in, (0, None))(keys, 1),
            monitor=self.runner,
        )
        shared = {"encoder": state["encoder"], "decoder": state["decoder"]}
        models: dict[str, Any] = {
            **self.stacked(shared),
            "classifier": classifier,
            "mixture": Mixture(**state["mixture"]),
        }
        if preset.label_epochs:
            models = train.fit_to_labels(
                self.x,
                Graph(**state["graph"]),
                state["initial_labels"],
                models,
                self.networks,
                self.likelihood,
                graph_strength=preset.graph_strength,
                sampled=preset.classifier_input == "sample",
                schedule=Schedule(
                    preset.label_epochs, preset.batch_size, preset.learning_rate
                ),
                keys=jax.vmap(jax.random.fold_in, (0, None))(keys, 2),
                monitor=self.runner,
            )
        return self.assessed(state, models)

    def train(self, state: State) -> tuple[State, Metrics]:
        """The joint objective, for every restart; reports the trained models.

        Where it has broken up the clusters, which the graph's information tells, the
        model from before it is kept.
        """
        preset = self.preset
        models = state["models"]
        trained = train.train_dgg(
            self.x,
            Graph(**state["graph"]),
            {**models, "mixture": Mixture(**models["mixture"])},
            state["log_assignments"],
            self.networks,
            self.likelihood,
            objective=preset.objective,
            graph_strength=preset.graph_strength,
            sampled=preset.classifier_input == "sample",
            schedule=self.training_schedule(),
            keys=self.restart_keys("train"),
            monitor=self.runner,
            describe=self.describe,
        )
        entries, metrics = self.trained(state, trained.params)
        undone = self._is_undone(state, entries)
        if undone.any():
            kept = [
                restart_of(models if undone[restart] else entries["models"], restart)
                for restart in range(preset.restarts)
            ]
            stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *kept)
            stacked["mixture"] = Mixture(**stacked["mixture"])
            entries, metrics = self.trained(state, stacked)
        for report, one in zip(metrics["restarts"], undone, strict=True):
            report["training_undone"] = bool(one)
        return entries, metrics

    def _is_undone(self, before: State, after: State) -> np.ndarray:
        """Whether training has broken up the clusters, for every restart, [R]."""
        similarity = Graph(**before["init_graph"])
        earlier, later = (
            [graph_information(similarity, table.argmax(axis=1)) for table in tables]
            for tables in (before["log_assignments"], after["log_assignments"])
        )
        lost = np.subtract(earlier, later)
        undone = lost > MOST_INFORMATION_LOST * np.array(earlier)
        if undone.any():
            logging.warning(
                "Training cost the clusters up to %.2f nats of their graph's "
                "information; the model from before it is kept.",
                lost.max(),
            )
        return undone


model_of = _Stages.model_of
