"""What an epoch of DGG costs, against VaDE, the tuple form and its matrix products."""

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax

from experiments.benchmarks import startup, timing, workloads
from experiments.benchmarks.settings import Settings
from experiments.benchmarks.timing import Figure
from experiments.benchmarks.workloads import Workload


class Sizes(NamedTuple):
    """How much is measured.

    Attributes:
      rows: N; None takes all of MNIST.
      tuple_rows: N where the tuple form is measured.
      num_neighbors: of the tuple form, each S.
      restarts: R.
      restart_rows: N where they are measured.
      changes: of the settings of MNIST.
    """

    rows: int | None
    tuple_rows: int
    num_neighbors: tuple[int, ...]
    restarts: int
    restart_rows: int
    changes: Mapping[str, Any] = {}


FULL = Sizes(
    rows=None,
    tuple_rows=2560,
    num_neighbors=(1, 3, 10, 20),
    restarts=10,
    restart_rows=25_600,
)
# As many rows for all: the node form is compiled once.
QUICK = Sizes(
    rows=768, tuple_rows=768, num_neighbors=(20,), restarts=2, restart_rows=768
)

NEIGHBORS = 20
# Batches and precisions that are measured; a CPU knows one precision.
_ON_CPU = ((256,), ("float32",))
ON_ACCELERATOR = ((100, 256, 1024, 4096), ("float32", "tf32", "bfloat16"))


def figures(settings: Settings) -> Iterator[Figure]:
    """Measures the suite, figure by figure."""
    sizes = QUICK if settings.quick else FULL
    workload = workloads.images(sizes.rows, settings.data_dir, NEIGHBORS)
    workload = workload.with_settings(**sizes.changes)
    on_cpu = jax.default_backend() == "cpu"
    for pair in itertools.product(*(_ON_CPU if on_cpu else ON_ACCELERATOR)):
        batch_size, precision = pair
        given = workload.with_settings(batch_size=batch_size, precision=precision)
        yield from over_products(given, settings)
    few = workload.with_rows(sizes.tuple_rows)
    yield from _forms(few, sizes.num_neighbors, settings)
    yield from restarts(
        workload.with_rows(sizes.restart_rows), sizes.restarts, settings
    )
    if not settings.quick:
        yield from startup.figures(settings)


def over_products(
    workload: Workload,
    settings: Settings,
    *,
    with_vade: bool = True,
    target: float | None = None,
) -> Iterator[Figure]:
    """An epoch of DGG over its matrix products, and over one of VaDE.

    Args:
      workload: what is trained on.
      settings: of the benchmark.
      with_vade: whether VaDE is measured, too.
      target: the most seconds that an epoch of DGG shall take.
    """
    methods = {"DGG": workloads.dgg_epochs}
    if with_vade:
        methods["VaDE"] = workloads.vade_epochs
    with contextlib.ExitStack() as opened:
        epochs = {
            name: opened.enter_context(epochs_of(workload))
            for name, epochs_of in methods.items()
        }
        epochs["products"] = workloads.products(workload)
        timings = timing.interleave(epochs, settings.repetitions)
    details = workload.describe()
    how = f"batch {details['batch_size']}, {details['precision']}"
    if with_vade:
        yield timing.ratio(
            f"DGG of S = {NEIGHBORS} / VaDE, {how}",
            timings,
            "DGG",
            "VaDE",
            target=1.05,
            **details,
        )
    for name in methods:
        yield timing.ratio(
            f"{name} / its matrix products, {how}",
            timings,
            name,
            "products",
            target=1.25 if name == "DGG" and jax.default_backend() == "cpu" else None,
            **details,
        )
    yield timing.duration(
        f"epoch of DGG, {len(workload.x):,} rows, {how}",
        timings["DGG"],
        target=target,
        details=details,
    )


def _forms(
    workload: Workload, num_neighbors: tuple[int, ...], settings: Settings
) -> Iterator[Figure]:
    """The tuple form over the node form, and the node form over that of S = 1."""
    with contextlib.ExitStack() as opened:
        epochs = {}
        for count in num_neighbors:
            given = workload.with_neighbors(count)
            for form in ("node", "tuple"):
                epoch = workloads.dgg_epochs(given, objective=form)
                epochs[f"{form}, S = {count}"] = opened.enter_context(epoch)
        timings = timing.interleave(epochs, settings.repetitions)
    details = workload.describe() | {"num_neighbors": list(num_neighbors)}
    for count in num_neighbors:
        yield timing.ratio(
            f"tuple form / node form, S = {count}",
            timings,
            f"tuple, S = {count}",
            f"node, S = {count}",
            **details,
        )
    for count in num_neighbors[1:]:
        yield timing.ratio(
            f"node form, S = {count} / S = {num_neighbors[0]}",
            timings,
            f"node, S = {count}",
            f"node, S = {num_neighbors[0]}",
            **details,
        )


def restarts(workload: Workload, count: int, settings: Settings) -> Iterator[Figure]:
    """An epoch of R restarts together over one of a single one."""
    with (
        workloads.dgg_epochs(workload) as one,
        workloads.dgg_epochs(workload, restarts=count) as several,
    ):
        epochs = {"1 restart": one, f"{count} restarts": several}
        timings = timing.interleave(epochs, settings.repetitions)
    on_cpu = jax.default_backend() == "cpu"
    yield timing.ratio(
        f"{count} restarts / 1",
        timings,
        f"{count} restarts",
        "1 restart",
        target=count if on_cpu else 3.0,
        **workload.describe(),
    )
