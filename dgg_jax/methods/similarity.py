"""The Siamese embedding, in which DGG and SpectralNet measure similarity."""

import functools
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from dgg_jax.graph import knn
from dgg_jax.methods.base import Stages, State
from dgg_jax.methods.pretrained import initial_params, pure
from dgg_jax.stages import evaluate, graph
from dgg_jax.training import Schedule


def siamese_embedding(
    stages: Stages,
    module: nn.Module,
    initial: State | None,
    origin: dict[str, Any] | None = None,
    augment: graph.Augment | None = None,
) -> tuple[State, np.ndarray]:
    """Trains the Siamese network of supplement 5 of DGG and embeds all points.

    Args:
      stages: of a method whose preset is a SiamesePreset.
      module: the network.
      initial: its parameters from a pretrained encoder, for siamese_init=encoder.
      origin: what the result depends on, for runs that share it; None: they do not.
      augment: of the rows that it is trained on, see ``stages.graph.train_siamese``.

    Returns:
      The network's parameters and the embedding, shape [N, L].
    """
    preset = stages.preset
    wider = max(preset.siamese_pairs, preset.siamese_candidates)
    wider = min(wider, len(stages.x) - 1)
    nearest = input_neighbors(stages, wider)

    def trained():
        return _train(stages, module, initial, nearest["indices"], augment)

    if origin is None:
        params = trained()
    else:
        params = stages.runner.share("siamese", origin, trained)
    return params, embed_all(module, params, stages.x, preset.precision)


def _train(
    stages: Stages,
    module: nn.Module,
    initial: State | None,
    neighbors: np.ndarray,
    augment: graph.Augment | None,
) -> State:
    preset, key = stages.preset, stages.key("graph")
    if preset.siamese_init == "encoder":
        params = initial
    else:
        params = initial_params(module, jax.random.fold_in(key, 1), stages.x[:1])
    return graph.train_siamese(
        stages.x,
        neighbors,
        params,
        pure(module, preset.precision),
        margin=preset.siamese_margin,
        num_pairs=preset.siamese_pairs,
        pairing=preset.siamese_pairing,
        schedule=Schedule(
            preset.siamese_epochs,
            preset.siamese_batch_size,
            preset.siamese_learning_rate,
            decay=preset.siamese_decay,
            decay_epochs=preset.siamese_decay_epochs,
            weight_decay=preset.siamese_weight_decay,
        ),
        key=key,
        monitor=stages.runner,
        augment=augment,
    )


def embed_all(
    module: nn.Module, params: State, x: np.ndarray, precision: str
) -> np.ndarray:
    """The Siamese embedding of rows x [N, D], shape [N, L]."""
    return np.asarray(evaluate.encode_all(pure(module, precision), params, x))


def input_neighbors(stages: Stages, num_neighbors: int) -> State:
    """The nearest neighbours of all points in the data: indices, distances [N, k]."""

    def search():
        indices, distances = knn(
            stages.x,
            num_neighbors,
            progress=functools.partial(stages.runner.progress, "input_neighbors"),
        )
        return {"indices": indices, "distances": distances}

    return stages.runner.share(
        "input_neighbors",
        {"num_neighbors": num_neighbors},
        lambda: stages.runner.remember("input_neighbors", search),
    )
