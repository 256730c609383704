"""Clusters generated data that need not fit, and tells time, memory and accuracy.

    python -m experiments.large_data --kind=words
    python -m experiments.large_data --rows=10000,100000,1000000 --columns=784
    python -m experiments.large_data --write=million.npy --rows=1000000 --columns=128

The last writes rows to a file, for ``dgg-jax run`` to cluster from file to report. The
others train by themselves: the neighbours are planted, so that no search is measured.
Dense rows lie in a memory map in a temporary file (TMPDIR), sparse ones in memory.
Every setting of DGG is a flag; training is short by default, with batches of 256 rows.
``--device_memory_share=1e-6`` makes any data too large for the device.
"""

import dataclasses
import json
import pathlib
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import app, flags

from dgg_jax import checks, presets
from dgg_jax.cli import flags as run_flags
from dgg_jax.cli.command import answer, parse_flags
from dgg_jax.data import synthetic
from dgg_jax.storage import arrays

_KIND = flags.DEFINE_enum(
    "kind", "rows", ("rows", "words"), "Dense rows in [0, 1], or sparse tf-idf."
)
_ROWS = flags.DEFINE_list(
    "rows", ["685071"], "N, several of which are measured in turn."
)
_WRITE = flags.DEFINE_string(
    "write",
    None,
    "A .npy file for rows of bent patches that K-means does not part (D = --columns, "
    "20 clusters), and one beside it, ending in -labels.npy, for their clusters; "
    "nothing is trained.",
)
_COLUMNS = flags.DEFINE_integer("columns", 2000, "D.", lower_bound=1)
for _field in dataclasses.fields(presets.DGGPreset):
    flags.declare_key_flag(_field.name)

_SHORT = {
    "batch_size": 256,
    "pretrain_batch_size": 256,
    "epochs": 5,
    "pretrain_layer_epochs": 0,
    "pretrain_autoencoder_epochs": 2,
    "pretrain_vae_epochs": 1,
    "label_epochs": 0,
    "classifier_epochs": 2,
    "num_neighbors": 20,
    "init": "kmeans",
}


def settings() -> presets.DGGPreset:
    """Those of a run on the data."""
    preset = presets.dgg("reuters" if _KIND.value == "words" else "mnist")
    changes = {**_SHORT, **run_flags.changes_from_flags()}
    return dataclasses.replace(preset, **changes)


def generate(num_rows: int) -> tuple[Any, Any]:
    """The data and their clusters."""
    if _KIND.value == "words":
        return synthetic.planted_words(num_rows, _COLUMNS.value)
    out = arrays.temporary((num_rows, _COLUMNS.value))
    return synthetic.planted_rows(num_rows, _COLUMNS.value, out=out)


def measure(num_rows: int) -> dict[str, Any]:
    """Runs DGG on generated data.

    Returns:
      Seconds of every stage; of an epoch of every loop, the median without the first,
      which compiles, and the same in microseconds a row; memory; accuracies.
    """
    from dgg_jax.methods import dgg
    from dgg_jax.placement.memory import peak_memory_mib
    from dgg_jax.runs.origin import origin
    from dgg_jax.training import Run

    preset = settings()  # whose mistakes are told before any work
    x, y = generate(num_rows)
    neighbors = synthetic.planted_neighbors(y, preset.num_neighbors)
    seconds, last = defaultdict(list), [time.perf_counter()]
    anonymous = [_anonymous_mib()]

    def on_epoch(stage, loop, epoch, num_epochs, metrics):
        now = time.perf_counter()
        seconds[loop].append(now - last[0])
        anonymous.append(_anonymous_mib())
        last[0] = time.perf_counter()

    _, _, records = dgg.run(
        x, preset, y=y, neighbors=neighbors, runner=Run(on_epoch=on_epoch)
    )
    epochs = {
        loop: statistics.median(of_loop[1:])
        for loop, of_loop in seconds.items()
        if len(of_loop) > 1
    }
    known = [peak for peak in anonymous if peak is not None]
    return {
        **origin("experiments.large_data"),
        "rows": num_rows,
        "columns": x.shape[1],
        "seconds_an_epoch": epochs,
        "microseconds_a_row": {k: 1e6 * v / num_rows for k, v in epochs.items()},
        "all_epochs": dict(seconds),
        "stage_seconds": {record["name"]: record["seconds"] for record in records},
        "accuracy": {record["name"]: record["accuracy"] for record in records},
        "peak_mib_with_maps": peak_memory_mib(),
        "peak_mib_without_maps": max(known, default=None),
    }


def _anonymous_mib() -> int | None:
    """Memory of this process without mapped files; None where none tells."""
    status = pathlib.Path("/proc/self/status")
    if not status.exists():
        return None
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) // 2**10


def main(arguments: Sequence[str]) -> int:
    """Measures every number of rows, and prints a line of JSON for each."""
    return answer(arguments, _measure_all, example="--kind=words")


def _measure_all() -> int:
    for number in _ROWS.value:
        if not number.isdecimal() or int(number) < 1:
            raise checks.InvalidInput(
                f"rows must be positive integers, separated by commas, got {number!r}."
            )
    if _WRITE.value is not None:
        return _write(pathlib.Path(_WRITE.value))
    for number in _ROWS.value:
        print(json.dumps(measure(int(number))), flush=True)
    return 0


def _write(path: pathlib.Path) -> int:
    """Writes rows that are planted, and their clusters, for another command."""
    if len(_ROWS.value) > 1 or path.suffix != ".npy":
        raise checks.InvalidInput(
            f"write takes one number of rows and a .npy file, got rows "
            f"{','.join(_ROWS.value)} and {path}."
        )
    shape = int(_ROWS.value[0]), _COLUMNS.value
    try:
        x = np.lib.format.open_memmap(path, "w+", np.float32, shape)
        _, y = synthetic.planted_patches(*shape, out=x)
        x.flush()
        np.save(path.with_name(f"{path.stem}-labels.npy"), y)
    except OSError as error:
        raise checks.InvalidInput(
            f"write {path} cannot be written: {error}."
        ) from error
    return 0


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
