"""What a training sample costs in an epoch, from few rows to many."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from dgg_jax.training.loop import steps_per_epoch
from experiments.benchmarks import timing, workloads
from experiments.benchmarks.settings import Settings
from experiments.benchmarks.timing import Figure


class Sizes(NamedTuple):
    """How much is measured.

    Attributes:
      rows: N, ascending.
      num_features: D.
      changes: of the settings of MNIST.
    """

    rows: tuple[int, ...]
    num_features: int
    changes: Mapping[str, Any] = {}


FULL = Sizes(rows=(10_000, 100_000, 1_000_000), num_features=100)
QUICK = Sizes(
    rows=(1_024, 4_096), num_features=100, changes={"hidden_sizes": (128, 128)}
)

_NEIGHBORS = 20


def figures(settings: Settings) -> Iterator[Figure]:
    """Measures the suite: seconds a sample and epoch of data in memory.

    Each size is measured in turns with the smallest, so that few data are held at once.
    """
    sizes = QUICK if settings.quick else FULL
    fewest = sizes.rows[0]
    for rows in sizes.rows[1:]:
        few, many = _workload(fewest, sizes), _workload(rows, sizes)
        with workloads.dgg_epochs(few) as short, workloads.dgg_epochs(many) as long:
            epochs = {f"{rows:,} rows": long, f"{fewest:,} rows": short}
            timings = timing.interleave(epochs, settings.repetitions)
        steps = [
            steps_per_epoch(num_rows, many.preset.batch_size)
            for num_rows in (rows, fewest)
        ]
        yield timing.ratio(
            f"a sample of {rows:,} rows / one of {fewest:,}, in memory",
            timings,
            *epochs,
            divisor=steps[0] / steps[1],
            target=1.15,
            **many.describe(),
        )


def _workload(num_rows: int, sizes: Sizes) -> workloads.Workload:
    workload = workloads.planted(num_rows, _NEIGHBORS, sizes.num_features)
    return workload.with_settings(**sizes.changes)
