"""The Siamese embedding, in which DGG and SpectralNet measure similarity."""

import functools
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from sklearn.decomposition import PCA

from dgg_jax.graph import knn
from dgg_jax.log import LOGGER
from dgg_jax.methods.parts import components_of, first_layer
from dgg_jax.methods.pretrained import vae_identity
from dgg_jax.methods.problem import Problem
from dgg_jax.networks import (
    PROJECTION,
    Embedding,
    MeanEmbedding,
    Network,
    initial_params,
)
from dgg_jax.placement.rows import HostRows, SparseRows
from dgg_jax.stages import evaluate
from dgg_jax.stages.graph import Augment, SiameseLoss
from dgg_jax.stages.warps import RandomWarp
from dgg_jax.training import Schedule, State, optimize

_OF_COMPONENTS = 20_000  # rows
_ROWS_AT_ONCE = 4_096


def siamese_embedding(
    problem: Problem,
    module: nn.Module,
    initial: State | None,
    identity: dict[str, Any] | None = None,
    augment: Augment | None = None,
) -> tuple[State, np.ndarray]:
    """Trains the Siamese network of supplement 5 of DGG and embeds all points.

    Args:
      problem: of a method whose preset is a SiamesePreset.
      module: the network.
      initial: its parameters from a pretrained encoder, for siamese_init=encoder.
      identity: what the result depends on, for runs that share it; None: they do not.
      augment: of the rows that it is trained on, see ``SiameseLoss``.

    Returns:
      The network's parameters and the embedding, shape [N, L].
    """
    preset = problem.preset
    network = Network(module, preset.precision)
    widest = max(preset.siamese_pairs, preset.siamese_candidates)
    near = nearest_in_data(problem, widest, preset.siamese_components)
    neighbors = near["indices"]

    def trained():
        return _train(problem, network, initial, neighbors, augment)

    if identity is None:
        params = trained()
    else:
        params = problem.runner.share("siamese", identity, trained)
    return params, embed_all(network, params, _seen(problem, module))


def encoder_embedding(
    problem: Problem, state: State
) -> tuple[np.ndarray, dict[str, Any]]:
    """The embedding of DGG: by a network that starts as the pretrained encoder's mean.

    Args:
      problem: of a method that has an autoencoder too; images of image_shape are
        warped by siamese_warp.
      state: that of the pretraining.

    Returns:
      The embedding, shape [N, L], and what it depends on.
    """
    warp = warp_of(problem)
    identity = vae_identity(problem) | problem.preset.siamese_settings()
    identity["warp"] = repr(warp)
    module, initial = _encoder_mean(problem, state)
    _, embedding = siamese_embedding(problem, module, initial, identity, warp)
    return embedding, identity


def warp_of(problem: Problem, setting: str = "siamese_warp") -> RandomWarp | None:
    """What changes images that a network is trained on, and no clusters.

    Args:
      problem: of images of image_shape; else nothing is warped, with a warning.
      setting: name of the strength among its preset's.
    """
    strength = getattr(problem.preset, setting)
    if not strength:
        return None
    if problem.image_shape is None:
        LOGGER.warning(
            "%s=%g warps images, and image_shape is not given: nothing is warped. Tell "
            "image_shape, or set %s=0.",
            setting,
            strength,
            setting,
        )
        return None
    return RandomWarp(problem.image_shape, strength)


def _encoder_mean(problem: Problem, state: State) -> tuple[nn.Module, State]:
    """The Siamese network, as the encoder's mean, and the encoder's parameters."""
    preset, encoder = problem.preset, state["encoder"]
    if problem.parts.encoder:
        return MeanEmbedding(problem.parts.encoder), {"encoder": encoder}
    components = components_of(preset, problem.num_features)
    module = Embedding(preset.hidden_sizes, preset.latent_dim, components)
    layers = {k: v for k, v in encoder.items() if k != "logvar"}
    if problem.num_batches:
        first = first_layer(preset)
        layers[first] = _of_points(layers[first], problem.num_batches)
    return module, layers


def _of_points(layer: State, num_batches: int) -> State:
    """The encoder's first layer for points, which have nothing of batches any more.

    They are to it as rows of a batch that is the mean of all.
    """
    of_values, of_batches = np.split(layer["kernel"], [-num_batches])
    return {"kernel": of_values, "bias": layer["bias"] + of_batches.mean(axis=0)}


def _seen(problem: Problem, module: nn.Module) -> Any:
    """What a Siamese network sees: the points; as an encoder of one's own, the rows."""
    return problem.x if isinstance(module, MeanEmbedding) else problem.points


def _train(
    problem: Problem,
    network: Network,
    initial: State | None,
    neighbors: np.ndarray,
    augment: Augment | None,
) -> State:
    preset, key = problem.preset, problem.key("graph")
    rows = _seen(problem, network.module)
    if preset.siamese_init == "encoder":
        params = initial
    else:
        first = jax.random.fold_in(key, 1)
        params = initial_params(network.module, first, rows[:1])
        if PROJECTION in params:
            params = {**params, PROJECTION: initial[PROJECTION]}
    return optimize(
        "siamese",
        SiameseLoss(
            network,
            preset.siamese_margin,
            min(preset.siamese_pairs, neighbors.shape[1]),
            preset.siamese_pairing,
            augment,
        ),
        params,
        (rows, neighbors),
        key,
        Schedule(
            preset.siamese_epochs,
            preset.siamese_batch_size,
            preset.siamese_learning_rate,
            decay=preset.siamese_decay,
            decay_epochs=preset.siamese_decay_epochs,
            weight_decay=preset.siamese_weight_decay,
            optimizer=preset.siamese_optimizer,
            shuffle=preset.shuffle,
        ),
        num_points=len(problem.x),
        monitor=problem.runner,
    ).params


def embed_all(network: Network, params: State, x: np.ndarray) -> np.ndarray:
    """The Siamese embedding of rows x [N, D], shape [N, L]."""
    return np.asarray(evaluate.encode_all(network, params, x))


def nearest(
    problem: Problem, space: np.ndarray | HostRows, num_neighbors: int, name: str
) -> State:
    """The nearest neighbours of all points: {"indices", "distances"}, each [N, k].

    Args:
      problem: its runner shows the progress.
      space: where they are near, shape [N, L].
      num_neighbors: k; cut to N - 1.
      name: of the search.
    """
    indices, distances = knn(
        space,
        min(num_neighbors, len(space) - 1),
        progress=functools.partial(problem.runner.progress, name),
    )
    return {"indices": indices, "distances": distances}


def nearest_in_data(
    problem: Problem, num_neighbors: int, num_components: int = 0
) -> State:
    """As ``nearest``, in the data: searched once for all runs that share a folder.

    Args:
      problem: its points are searched.
      num_neighbors: k; cut to N - 1.
      num_components: principal ones that stand for the columns, if these are more.
    """
    num_neighbors = min(num_neighbors, len(problem.x) - 1)
    name, identity = "input_neighbors", {"num_neighbors": num_neighbors}
    if num_components:
        identity["num_components"] = num_components

    def searched():
        space = leading_components(problem.points, num_components)
        return nearest(problem, space, num_neighbors, name)

    # A run that shares no folder remembers them by itself.
    return problem.runner.share(
        name,
        identity | problem.batch_identity(),
        lambda: problem.runner.remember(name, searched),
    )


def leading_components(
    points: np.ndarray | SparseRows | HostRows, number: int
) -> np.ndarray | SparseRows | HostRows:
    """Points by the principal components of at most 20,000 of them.

    Args:
      points: shape [N, D].
      number: M; 0, and no fewer than D or the rows are, leaves the points as they are.

    Returns:
      Float32 of shape [N, M], on the host.
    """
    num_points, num_columns = points.shape
    rows = np.random.default_rng(0).permutation(num_points)[:_OF_COMPONENTS]
    if not 0 < number < min(num_columns, len(rows)):
        return points
    model = PCA(number, random_state=0).fit(np.asarray(points[np.sort(rows)]))
    axes = model.components_.T
    found = np.empty((num_points, number), np.float32)
    for start in range(0, num_points, _ROWS_AT_ONCE):
        block = np.arange(start, min(start + _ROWS_AT_ONCE, num_points))
        found[block] = (np.asarray(points[block]) - model.mean_) @ axes
    return found
