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

_NEIGHBORS = 20
# Batches and precisions that are measured; a CPU knows one precision.
_ON_CPU = ((256,), ("float32",))
_ON_ACCELERATOR = ((100, 256, 1024, 4096), ("float32", "tf32", "bfloat16"))


def figures(settings: Settings) -> Iterator[Figure]:
    """Measures the suite, figure by figure."""
    sizes = QUICK if settings.quick else FULL
    workload = workloads.images(sizes.rows, settings.data_dir, _NEIGHBORS)
    workload = workload.with_settings(**sizes.changes)
    on_cpu = jax.default_backend() == "cpu"
    for pair in itertools.product(*(_ON_CPU if on_cpu else _ON_ACCELERATOR)):
        batch_size, precision = pair
        given = workload.with_settings(batch_size=batch_size, precision=precision)
        yield from _against_vade_and_products(given, settings)
    few = workload.with_rows(sizes.tuple_rows)
    yield from _forms(few, sizes.num_neighbors, settings)
    yield _restarts(workload.with_rows(sizes.restart_rows), sizes.restarts, settings)
    if not settings.quick:
        yield from startup.figures(settings)


def _against_vade_and_products(
    workload: Workload, settings: Settings
) -> Iterator[Figure]:
    """An epoch of DGG over one of VaDE, and over its matrix products."""
    with workloads.dgg_epochs(workload) as dgg, workloads.vade_epochs(workload) as vade:
        epochs = {"DGG": dgg, "VaDE": vade, "products": workloads.products(workload)}
        timings = timing.interleave(epochs, settings.repetitions)
    details = workload.describe()
    how = f"batch {details['batch_size']}, {details['precision']}"
    yield timing.ratio(
        f"DGG of S = {_NEIGHBORS} / VaDE, {how}",
        timings,
        "DGG",
        "VaDE",
        target=1.05,
        **details,
    )
    for name in ("DGG", "VaDE"):
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


def _restarts(workload: Workload, restarts: int, settings: Settings) -> Figure:
    """An epoch of R restarts together over one of a single one."""
    with (
        workloads.dgg_epochs(workload) as one,
        workloads.dgg_epochs(workload, restarts=restarts) as several,
    ):
        epochs = {"1 restart": one, f"{restarts} restarts": several}
        timings = timing.interleave(epochs, settings.repetitions)
    on_cpu = jax.default_backend() == "cpu"
    return timing.ratio(
        f"{restarts} restarts / 1",
        timings,
        f"{restarts} restarts",
        "1 restart",
        target=restarts if on_cpu else 3.0,
        **workload.describe(),
    )
