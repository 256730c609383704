"""An epoch of other implementations over one of ours, on the same cores."""

import contextlib
import dataclasses
import importlib.metadata
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax

from dgg_jax import checks, metrics
from dgg_jax.methods import dgg
from dgg_jax.runs.origin import threads
from dgg_jax.stages import evaluate
from dgg_jax.types import Graph, Mixture
from experiments.benchmarks import timing, workloads
from experiments.benchmarks.epochs import Epochs
from experiments.benchmarks.settings import Settings
from experiments.benchmarks.timing import Figure
from experiments.benchmarks.workloads import Workload

_PEERS = ("torch", "clustpy")
_NEIGHBORS = 20


class Sizes(NamedTuple):
    """How much is measured.

    Attributes:
      rows: N.
      pretrain_epochs: of ClustPy's autoencoder; ours has as many as its preset.
      num_neighbors: of the tuple form, each S.
      changes: of the settings of MNIST.
    """

    rows: int
    pretrain_epochs: int
    num_neighbors: tuple[int, ...]
    changes: Mapping[str, Any] = {}


FULL = Sizes(rows=10_000, pretrain_epochs=10, num_neighbors=(20, 1))
QUICK = Sizes(rows=768, pretrain_epochs=1, num_neighbors=(20,))


def figures(settings: Settings) -> Iterator[Figure]:
    """Measures the suite; with data that have labels, the accuracies reached, too.

    With them, DGG and the PyTorch loop start from the same pretrained model; else from
    an untrained one.
    """
    lacking = checks.lacking("benchmark")
    if lacking:
        print(f"  not measured: {lacking}")
        return
    sizes = QUICK if settings.quick else FULL
    workload = workloads.images(sizes.rows, settings.data_dir, _NEIGHBORS)
    workload = workload.with_settings(**sizes.changes)
    if workload.y is None or settings.quick:
        params = workloads.initial_params(workload)
    else:
        params, graph = pretrained(workload)
        workload = workload._replace(graph=graph)
    yield from _tuples(workload, params, sizes.num_neighbors, settings)
    yield from _vade(workload, sizes.pretrain_epochs, settings)


def pretrained(workload: Workload) -> tuple[dict[str, Any], Graph]:
    """The model and the graph that DGG's training starts from."""
    preset = dataclasses.replace(workload.preset, epochs=0)
    _, state, _ = dgg.run(workload.x, preset, image_shape=(28, 28))
    params = jax.tree.map(lambda leaf: leaf[0], state["models"])
    return {**params, "mixture": Mixture(**params["mixture"])}, Graph(**state["graph"])


def _tuples(
    workload: Workload,
    params: dict[str, Any],
    num_neighbors: tuple[int, ...],
    settings: Settings,
) -> Iterator[Figure]:
    """PyTorch's tuples over our nodes and tuples."""
    import torch

    from experiments.benchmarks.torch_tuple import TupleTraining

    torch.set_num_threads(threads())
    torch.manual_seed(0)
    for count in num_neighbors:
        given = workload.with_neighbors(count)
        theirs = TupleTraining(params, given.x, given.graph.indices, given.preset)
        with (
            workloads.dgg_epochs(given, params=params) as node,
            workloads.dgg_epochs(given, params=params, objective="tuple") as ours,
        ):
            epochs = {"PyTorch, tuple": theirs, "node": node, "tuple": ours}
            timings = timing.interleave(epochs, settings.repetitions)
            labels = {
                "PyTorch, tuple": theirs.predict(),
                "node": _labels(node, given),
                "tuple": _labels(ours, given),
            }
        details = _details(given, settings) | _accuracies(labels, given)
        for form in ("node", "tuple"):
            yield timing.ratio(
                f"PyTorch's tuple form / our {form} form, S = {count}",
                timings,
                "PyTorch, tuple",
                form,
                **details,
            )


def _vade(
    workload: Workload, pretrain_epochs: int, settings: Settings
) -> Iterator[Figure]:
    """ClustPy's VaDE over ours; the accuracy is of its labels alone."""
    from experiments.benchmarks.clustpy_vade import VadeEpochs

    theirs = VadeEpochs(
        workload.x, workload.preset, pretrain_epochs, 1 + settings.repetitions
    )
    with contextlib.ExitStack() as opened:
        epochs = {
            "ClustPy's VaDE": opened.enter_context(theirs),
            "our VaDE": opened.enter_context(workloads.vade_epochs(workload)),
        }
        timings = timing.interleave(epochs, settings.repetitions)
    accuracies = _accuracies({"ClustPy's VaDE": theirs.labels}, workload)
    yield timing.ratio(
        "ClustPy's VaDE / our VaDE",
        timings,
        *epochs,
        pretrain_epochs=pretrain_epochs,
        **_details(workload, settings),
        **accuracies,
    )


def _labels(epochs: Epochs, workload: Workload) -> Any:
    """The clusters that the trained model puts all rows in."""
    params = jax.tree.map(lambda leaf: leaf[0], epochs.state.params)
    networks = dgg.networks_of(workload.preset, workload.x.shape[1])
    _, log_assignment = evaluate.infer(networks, params, workload.x)
    return log_assignment.argmax(axis=1)


def _accuracies(labels: dict[str, Any], workload: Workload) -> dict[str, Any]:
    if workload.y is None:
        return {}
    reached = {
        name: metrics.clustering_accuracy(workload.y, found)
        for name, found in labels.items()
    }
    return {"accuracy": reached}


def _details(workload: Workload, settings: Settings) -> dict[str, Any]:
    versions = {name: importlib.metadata.version(name) for name in _PEERS}
    return workload.describe() | {
        "epochs": 1 + settings.repetitions,
        "threads": threads(),
        "versions": versions,
    }
