"""What matters on one GPU, within eight minutes: the most important figures first."""

import itertools
import json
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np

from dgg_jax import data
from dgg_jax.checks import MissingData
from dgg_jax.data import synthetic
from experiments.benchmarks import graph, memory, training, workloads
from experiments.benchmarks.settings import Settings
from experiments.benchmarks.timing import Figure
from experiments.benchmarks.workloads import Workload

_LAST_BEGIN = 400.0  # seconds after which nothing more is begun
_RUN_SECONDS = 60.0  # the most that a run shall take on an accelerator,
_EPOCH_SECONDS = 0.15  # and an epoch of its training
_OF_A_RUN = (256, "float32")  # batch and precision
_QUICK_BATCHES = (256,)
_RESULTS = pathlib.Path(__file__).parents[2] / "results" / "benchmarks"

Part = Callable[[], Iterator[Figure]]


def figures(settings: Settings) -> Iterator[Figure]:
    """Measures part by part; one that fails, or has no time left, costs no other.

    Raises:
      ExceptionGroup: at the end, of what has failed.
    """
    began, errors = time.monotonic(), []
    for name, part in _parts(_with_its_data(settings)).items():
        if time.monotonic() - began > _LAST_BEGIN:
            print(f"  no time left for: {name}", flush=True)
            continue
        try:
            yield from part()
        except Exception as error:
            print(f"  failed: {name}: {error}", flush=True)
            errors.append(error)
    if errors:
        raise ExceptionGroup("not all was measured", errors)


def _with_its_data(settings: Settings) -> Settings:
    """The settings, without a folder that does not hold MNIST."""
    if settings.data_dir is not None:
        try:
            data.load("mnist", data_dir=settings.data_dir)
            return settings
        except MissingData as error:
            print(f"  {error}")
    print("  without MNIST: noise and clusters of its shape, no accuracies", flush=True)
    return settings._replace(data_dir=None)


def _parts(settings: Settings) -> dict[str, Part]:
    """What is measured, in this order."""
    sizes = training.QUICK if settings.quick else training.FULL
    workload = workloads.images(sizes.rows, settings.data_dir, training.NEIGHBORS)
    workload = workload.with_settings(**sizes.changes)
    few = workload.with_rows(sizes.restart_rows)
    embedding = graph.embedding(len(workload.x))
    if not graph.on_the_device(embedding[0], 1):
        print("  without cuml and faiss, which are not installed", flush=True)
    first, *others = _epochs(workload, settings)
    return dict(
        [
            first,
            ("a run", lambda: _run(settings)),
            ("restarts", lambda: training.restarts(few, sizes.restarts, settings)),
            *_searches(workload.x, workload.source, settings),
            *_searches(*embedding, settings),
            *others,
        ]
    )


def _epochs(workload: Workload, settings: Settings) -> list[tuple[str, Part]]:
    """An epoch over its products, of every batch and precision; that of a run first."""
    batches, precisions = training.ON_ACCELERATOR
    if settings.quick:
        batches = _QUICK_BATCHES

    def part(batch_size, precision):
        given = workload.with_settings(batch_size=batch_size, precision=precision)
        has_target = (batch_size, precision) == _OF_A_RUN and _is_accelerator()
        target = _EPOCH_SECONDS if has_target else None
        name = f"an epoch, batch {batch_size}, {precision}"
        return name, lambda: training.over_products(
            given, settings, with_vade=False, target=target
        )

    pairs = list(itertools.product(batches, precisions))
    pairs.sort(key=lambda pair: pair != _OF_A_RUN)  # False comes before True
    return [part(*pair) for pair in pairs]


def _searches(x: np.ndarray, source: str, settings: Settings) -> list[tuple[str, Part]]:
    """The search for neighbours over its products, and over each of the others."""
    k = (graph.QUICK if settings.quick else graph.FULL).num_neighbors

    def part(theirs):
        name = " and ".join((f"kNN, {x.shape[1]} columns", *theirs))
        return name, lambda: graph.searches(x, source, k, settings, theirs)

    others = graph.on_the_device(x, k)
    return [part({}), *(part({name: search}) for name, search in others.items())]


def _run(settings: Settings) -> Iterator[Figure]:
    """A whole run: of MNIST, or of clusters of its shape; of digits if quick."""
    target = _RUN_SECONDS if _is_accelerator() else None
    if settings.quick:
        return memory.of_run(*memory.run_of(settings), target)
    if settings.data_dir is None:
        return _of_clusters(target)
    return _of_mnist(settings, target)


def _of_mnist(settings: Settings, target: float | None) -> Iterator[Figure]:
    """The run, and its accuracy beside that which a CPU has reached."""
    name, flags = memory.run_of(settings)
    for figure in memory.of_run(name, flags, target):
        yield figure
    details = figure.details  # of the last, which is the whole
    title = f"{name}, accuracy; on a CPU {_accuracy_on_a_cpu():.4f}"
    yield Figure(title, details["accuracy"], details=details)


def _of_clusters(target: float | None) -> Iterator[Figure]:
    """The run of as many planted clusters, whose accuracy says nothing."""
    with tempfile.TemporaryDirectory() as folder:
        _write_clusters(pathlib.Path(folder))
        flags = ["--dataset=mnist", f"--data_dir={folder}"]
        for figure in memory.of_run("a run of planted clusters", flags, target):
            details = {k: v for k, v in figure.details.items() if k != "accuracy"}
            yield figure._replace(details=details)


def _accuracy_on_a_cpu() -> float:
    """That of the run whose seconds and memory are in the results."""
    measured = json.loads((_RESULTS / "memory.json").read_text())["figures"]
    return measured[-1]["details"]["accuracy"]


def _write_clusters(folder: pathlib.Path, num_train: int = 60_000) -> None:
    """Ten planted clusters, half noise, as the files of MNIST."""
    x, y = synthetic.planted_rows(num_train + num_train // 6)
    images = np.round(255 * x).astype(np.uint8).reshape(-1, 28, 28)
    parts = {"train": slice(num_train), "t10k": slice(num_train, None)}
    for name, rows in parts.items():
        for kind, array in (
            ("images-idx3", images[rows]),
            ("labels-idx1", y[rows].astype(np.uint8)),
        ):
            header = np.array([0x800 + array.ndim, *array.shape], ">u4").tobytes()
            path = folder / f"{name}-{kind}-ubyte"
            path.write_bytes(header + array.tobytes())


def _is_accelerator() -> bool:
    return jax.default_backend() != "cpu"
