"""Trainings to be timed: data, untrained networks, and the stages that train them."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgg_jax import data, presets
from dgg_jax.data import synthetic
from dgg_jax.graph import neighbor_weights
from dgg_jax.likelihoods import Likelihood
from dgg_jax.methods import dgg, dgg_steps, vade
from dgg_jax.methods.parts import autoencoder_modules, likelihood_of
from dgg_jax.networks import with_precision
from dgg_jax.presets import DGGPreset, VaDEPreset
from dgg_jax.stages import evaluate
from dgg_jax.training import Rows, Schedule, optimize
from dgg_jax.types import Graph, Mixture
from experiments.benchmarks.epochs import Epochs

_ENDLESS = 1_000_000  # epochs: the timing ends them


class Workload(NamedTuple):
    """What a training is given.

    Attributes:
      x: rows [N, D].
      graph: of N points.
      preset: networks and settings.
      source: where x comes from, in words.
      y: true labels [N], for an accuracy; None of noise.
    """

    x: np.ndarray
    graph: Graph
    preset: DGGPreset
    source: str
    y: np.ndarray | None = None

    @property
    def likelihood(self) -> Likelihood:
        """p(x | z)."""
        return likelihood_of(self.preset)

    def with_neighbors(self, num_neighbors: int) -> "Workload":
        """The same points, with as many of their neighbours."""
        indices = self.graph.indices[:, :num_neighbors]
        weights = np.full(indices.shape, 1 / num_neighbors, np.float32)
        return self._replace(graph=Graph(indices, weights))

    def with_rows(self, num_rows: int) -> "Workload":
        """The first rows, with random neighbours among them."""
        x = self.x[:num_rows]
        graph = _graph_within(np.zeros(len(x), int), self.graph.indices.shape[1])
        y = None if self.y is None else self.y[:num_rows]
        return self._replace(x=x, graph=graph, y=y)

    def with_settings(self, **settings: Any) -> "Workload":
        """The same data, other settings."""
        return self._replace(preset=dataclasses.replace(self.preset, **settings))

    def describe(self) -> dict[str, Any]:
        """What a figure says of it."""
        preset = self.preset
        return {
            "data": self.source,
            "rows": len(self.x),
            "features": self.x.shape[1],
            "hidden_sizes": list(preset.hidden_sizes),
            "latent_dim": preset.latent_dim,
            "num_clusters": preset.num_clusters,
            "batch_size": preset.batch_size,
            "precision": preset.precision,
            "num_neighbors": self.graph.indices.shape[1],
        }


def _graph_within(clusters: np.ndarray, num_neighbors: int) -> Graph:
    """S random neighbours of each point within its cluster, of clusters [N]."""
    return neighbor_weights(*synthetic.planted_neighbors(clusters, num_neighbors))


def images(num_rows: int | None, data_dir: str | None, num_neighbors: int) -> Workload:
    """MNIST, or noise of its shape, with random neighbours and the settings of MNIST.

    Args:
      num_rows: N; None takes all 70,000.
      data_dir: folder that holds MNIST; without one the pixels are noise.
      num_neighbors: S.

    Raises:
      MissingData: if MNIST is not in data_dir.
    """
    if data_dir is None:
        shape = (num_rows or 70_000, 784)
        x = np.random.default_rng(0).random(shape, np.float32)
        y, source = None, "uniform noise"
    else:
        mnist = data.load("mnist", data_dir=data_dir)
        x, y, source = mnist.x[:num_rows], mnist.y[:num_rows], "mnist"
    graph = _graph_within(np.zeros(len(x), int), num_neighbors)
    return Workload(x, graph, _preset(), source, y)


def planted(num_rows: int, num_neighbors: int, num_features: int) -> Workload:
    """Ten planted clusters in [0, 1]; neighbours are drawn within the clusters.

    Args:
      num_rows: N.
      num_neighbors: S.
      num_features: D.
    """
    x, clusters = synthetic.planted_rows(num_rows, num_features)
    graph = _graph_within(clusters, num_neighbors)
    source = "ten planted clusters, neighbours of the same cluster"
    return Workload(x, graph, _preset(), source)


def initial_params(workload: Workload) -> dict[str, Any]:
    """Untrained parameters of DGG."""
    preset, key = workload.preset, jax.random.key(0)
    encoder, decoder = autoencoder_modules(preset, workload.x.shape[1])
    z = jnp.zeros((1, preset.latent_dim))
    means = jax.random.normal(key, (preset.num_clusters, preset.latent_dim))
    return {
        "encoder": encoder.init(key, workload.x[:1])["params"],
        "decoder": decoder.init(key, z)["params"],
        "classifier": dgg.classifier_module(preset).init(key, z)["params"],
        "mixture": Mixture(means, jnp.zeros_like(means)),
    }


def dgg_epochs(
    workload: Workload,
    *,
    objective: str = "node",
    restarts: int = 1,
    params: dict[str, Any] | None = None,
) -> Epochs:
    """Epochs of DGG's joint training.

    Args:
      workload: what it is given.
      objective: node or tuple.
      restarts: R.
      params: to start from; by default untrained ones.
    """
    preset = dataclasses.replace(workload.preset, objective=objective)
    networks = dgg.networks_of(preset, workload.x.shape[1])
    params = params or initial_params(workload)
    _, table = evaluate.infer(networks, params, workload.x)

    def repeated(tree):
        return jax.tree.map(lambda leaf: np.stack([leaf] * restarts), tree)

    return Epochs(
        lambda epochs: optimize(
            "train",
            params=repeated(params),
            table=repeated(table),
            key=jax.random.split(jax.random.key(0), restarts),
            schedule=_schedule(preset),
            num_points=len(workload.x),
            monitor=epochs,
            restarts=True,
            **dgg_steps.joint_objective(
                preset, networks, workload.likelihood, workload.x, workload.graph
            ),
        )
    )


def vade_epochs(workload: Workload) -> Epochs:
    """Epochs of VaDE's training, of the networks and batches that DGG has."""
    preset = _vade_preset(workload.preset)
    params = initial_params(workload)
    del params["classifier"]
    params["logits"] = jnp.zeros(preset.num_clusters)
    networks = vade.networks_of(preset, workload.x.shape[1])
    num_points = len(workload.x)
    return Epochs(
        lambda epochs: optimize(
            "train",
            params=jax.tree.map(lambda leaf: leaf[None], params),
            table=np.zeros((1, num_points, preset.num_clusters), np.float32),
            key=jax.random.split(jax.random.key(0), 1),
            schedule=_schedule(preset),
            num_points=num_points,
            monitor=epochs,
            restarts=True,
            **vade.vade_objective(
                preset, networks, Rows(workload.x, workload.likelihood)
            ),
        )
    )


def _preset() -> DGGPreset:
    """The default preset for MNIST, with networks as wide as the papers'."""
    return dataclasses.replace(presets.dgg("mnist"), hidden_sizes=(500, 500, 2000))


def _vade_preset(preset: DGGPreset) -> VaDEPreset:
    """VaDE's settings of MNIST, with the networks and batches of DGG's."""
    shared = ("hidden_sizes", "latent_dim", "num_clusters", "batch_size", "precision")
    values = {name: getattr(preset, name) for name in shared}
    return dataclasses.replace(presets.vade("mnist"), **values)


def _schedule(preset: DGGPreset | VaDEPreset) -> Schedule:
    return Schedule(
        _ENDLESS,
        preset.batch_size,
        preset.learning_rate,
        preset.decay,
        preset.decay_epochs,
        preset.weight_decay,
    )


def products(workload: Workload) -> Callable[[], Any]:
    """The matrix products of an epoch of DGG and nothing else, in one scan.

    Those of each layer's output, of the gradient of its weights and, but for the first
    layer, of its input. The rows come in order; there is no bias, no nonlinearity, no
    loss and no optimiser.

    Args:
      workload: what the training is given.

    Returns:
      A callable that computes them once.
    """
    batch_size = min(workload.preset.batch_size, len(workload.x))
    num_steps = len(workload.x) // batch_size
    params = initial_params(workload)
    del params["mixture"]
    kernels = {
        network: {name: layer["kernel"] for name, layer in layers.items()}
        for network, layers in params.items()
    }
    # Zeros, the initial kernels of the log-variances, might be told from other numbers.
    kernels["encoder"]["logvar"] = kernels["encoder"]["mean"]
    batches = jnp.asarray(workload.x[: num_steps * batch_size])
    batches = batches.reshape(num_steps, batch_size, -1)

    @functools.partial(jax.jit, donate_argnums=0)
    def epoch(gradients, kernels, batches):
        def step(_, batch):
            outputs, pull_back = jax.vjp(lambda k: _linear(k, batch), kernels)
            return pull_back(outputs)[0], None

        with with_precision(workload.preset.precision):
            return jax.lax.scan(step, gradients, batches)[0]

    gradients = jax.tree.map(jnp.zeros_like, kernels)

    def run():
        nonlocal gradients
        gradients = epoch(gradients, kernels, batches)
        return gradients

    return run


def _linear(kernels: dict[str, Any], x: jax.Array) -> tuple[jax.Array, ...]:
    """The networks without biases and nonlinearities."""

    def through(x, layers):
        for name in sorted(name for name in layers if name.startswith("hidden_")):
            x = x @ layers[name]
        return x

    encoder, decoder = kernels["encoder"], kernels["decoder"]
    hidden = through(x, encoder)
    z = hidden @ encoder["mean"] + hidden @ encoder["logvar"]
    logits = through(z, kernels["classifier"]) @ kernels["classifier"]["output"]
    return through(z, decoder) @ decoder["output"], logits
