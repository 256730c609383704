"""Compares methods on one data set: same data, seeds, metrics and pretrained weights.

  python -m experiments.compare                   (every method on digits, 5 seeds)
  python -m experiments.compare --dataset=mnist --methods=vade,ae_gmm,kmeans --seeds=0,1

Each run lives in a folder of --workdir, as one of experiments.main would. Methods that
start from an autoencoder start from the same weights, trained once a seed. The same
command continues a comparison that was stopped and adds what it does not have yet.
Writes comparison.csv, comparison.md and report.html after every run.
"""

import csv
import io
import json
import pathlib
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import app, flags, logging

from dgg_jax import checks, presets
from experiments import config as config_module
from experiments import main as main_module
from experiments import runs
from experiments.config import Config

_METHODS = flags.DEFINE_list(
    "methods", list(presets.METHODS), "Methods to compare, separated by commas."
)
_SEEDS = flags.DEFINE_list(
    "seeds", ["0", "1", "2", "3", "4"], "Seeds of each method, separated by commas."
)
flags.adopt_module_key_flags(config_module)

# Of these a comparison has its own, or none.
_FOREIGN = ("method", "seed", "resume")


class Row(NamedTuple):
    """What a comparison says of one method.

    Attributes:
      method: its name.
      seeds: of the finished runs.
      accuracy: of each run, or None without labels.
      nmi: likewise.
      ari: likewise.
      confident: the accuracy of GMVAE's own score (erratum E62), or None.
      seconds: of all stages of each run, what it shares with others included.
      paper: what a paper reports, or None.
      source: which paper.
    """

    method: str
    seeds: list[int]
    accuracy: list[float] | None
    nmi: list[float] | None
    ari: list[float] | None
    confident: list[float] | None
    seconds: list[float]
    paper: float | None
    source: str

    @property
    def difference(self) -> float | None:
        """Our mean less the paper's figure, of the score that the paper has."""
        scores = self.confident or self.accuracy
        if self.paper is None or scores is None:
            return None
        return float(np.mean(scores)) - self.paper


def main(arguments: Sequence[str]) -> int:
    """Parses, runs and reports; a user's mistake is one line on stderr."""
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    try:
        if len(arguments) > 1:
            raise checks.InvalidInput(
                f"unexpected argument {arguments[1]!r}; flags look like "
                "--dataset=digits, see --helpshort."
            )
        return _compare()
    except checks.InvalidInput as error:
        return main_module.fail(str(error), main_module.EXIT_INVALID)
    except KeyboardInterrupt:
        return main_module.fail("interrupted.", 128 + signal.SIGINT)


def configurations() -> list[Config]:
    """The runs that the flags ask for, seed by seed.

    Raises:
      InvalidInput: if a method or seed is not valid, or a setting is of none of them.
    """
    for name in _FOREIGN:
        if flags.FLAGS[name].present:
            raise checks.InvalidInput(
                f"--{name} is no flag of a comparison; use --methods and --seeds, and "
                "the same command again to continue."
            )
    base = config_module.from_flags(check_method=False)
    for method in _METHODS.value:
        checks.one_of("methods", method, presets.METHODS)
    changes = config_module.changes_from_flags()
    resolved = {}
    for method in dict.fromkeys(_METHODS.value):
        preset = presets.comparable(method, base.dataset, base.preset_name)
        own = {k: v for k, v in changes.items() if hasattr(preset, k)}
        resolved[method] = config_module.resolve(preset, own)
    for name in changes:
        if not any(hasattr(preset, name) for preset in resolved.values()):
            raise checks.InvalidInput(
                f"--{name} is a setting of none of the methods {', '.join(resolved)}."
            )
    workdir = base.workdir
    if not flags.FLAGS["workdir"].present:
        workdir = pathlib.Path(f"runs/compare-{base.dataset}")
    return [
        base._replace(
            method=method,
            preset=preset,
            seed=seed,
            workdir=workdir / f"{method}-{seed}",
            resume=False,
            overwrite=False,
        )
        for seed in dict.fromkeys(_seeds(_SEEDS.value))
        for method, preset in resolved.items()
    ]


def _seeds(values: Sequence[str]) -> list[int]:
    try:
        seeds = [int(value) for value in values]
    except ValueError:
        raise checks.InvalidInput(
            f"seeds must be integers separated by commas, got {','.join(values)!r}."
        ) from None
    for seed in seeds:
        checks.in_range("seeds", seed, 0, 2**32 - 1)
    if not seeds:
        raise checks.InvalidInput("seeds must name at least one seed.")
    return seeds


def _compare() -> int:
    configs = configurations()
    workdir = configs[0].workdir.parent
    if flags.FLAGS["overwrite"].value:
        _check_folder(workdir, configs[0])
        shutil.rmtree(workdir, ignore_errors=True)
    _check_folder(workdir, configs[0])
    finished = {}
    for config in configs:
        result = runs.check_workdir(_continued(config))
        if result is not None:
            finished[config.workdir] = result
    from dgg_jax import data

    first = configs[0]
    dataset = data.load(
        first.dataset, data_dir=first.data_dir, moons_distance=first.moons_distance
    )
    for config in configs:
        try:
            runs.check_data(config, dataset)
        except checks.InvalidInput as error:
            raise checks.InvalidInput(f"{config.method}: {error}") from None
    _claim(workdir, first)
    stop = runs.StopSignal()
    from dgg_jax.methods.base import Interrupted
    from dgg_jax.training import Diverged

    failed = []
    for number, config in enumerate(configs, start=1):
        print(f"\n[{number}/{len(configs)}] {config.method}, seed {config.seed}")
        if config.workdir in finished:
            print("finished earlier.", flush=True)
            continue
        config = _continued(config)
        runs.claim_workdir(config)
        try:
            result = runs.train_and_report(config, dataset, stop, workdir / "shared")
        except Interrupted:
            print(f"Stopped; everything so far is in {workdir}. Continue with:")
            print(f"  {_command()}")
            return 128 + stop.received
        except Diverged as error:
            print(f"diverged: {error}.", flush=True)
            failed.append(f"{config.method} with seed {config.seed}")
            continue
        finished[config.workdir] = result
        _write(workdir, first, table(list(finished.values())), list(finished.values()))
        if stop():
            print(f"Stopped; continue with:\n  {_command()}")
            return 128 + stop.received
    rows = table(list(finished.values()))
    _write(workdir, first, rows, list(finished.values()))
    print("\n" + markdown(rows, first.dataset))
    print(f"Report   {workdir / 'report.html'}")
    if failed:
        message = f"training diverged: {', '.join(failed)}; not in the table."
        return main_module.fail(message, main_module.EXIT_DIVERGED)
    return 0


def _continued(config: Config) -> Config:
    """A run that exists is continued."""
    return config._replace(resume=(config.workdir / "config.json").exists())


def _identity(config: Config) -> dict[str, Any]:
    """What all runs of a comparison share."""
    identity = {"comparison_of": config.dataset, "preset": config.preset_name}
    if config.dataset == "moons":
        identity["moons_distance"] = config.moons_distance
    return identity


def _check_folder(workdir: pathlib.Path, config: Config) -> None:
    path = workdir / "comparison.json"
    try:
        if not path.exists():
            if workdir.is_dir() and any(workdir.iterdir()):
                raise checks.InvalidInput(
                    f"{workdir} is not empty and holds no comparison; choose another "
                    "--workdir."
                )
            return
        theirs = json.loads(path.read_text())
        if theirs != _identity(config):
            raise checks.InvalidInput(
                f"{workdir} holds another comparison ({theirs}); choose another "
                "--workdir."
            )
    except (OSError, ValueError) as error:
        if isinstance(error, checks.InvalidInput):
            raise
        raise checks.InvalidInput(
            f"workdir {workdir} cannot be used: {error}."
        ) from error


def _claim(workdir: pathlib.Path, config: Config) -> None:
    from dgg_jax.methods.base import write_atomically

    try:
        workdir.mkdir(parents=True, exist_ok=True)
        text = json.dumps(_identity(config), indent=2) + "\n"
        write_atomically(workdir / "comparison.json", text)
    except OSError as error:
        raise checks.InvalidInput(
            f"workdir {workdir} cannot be written: {error.strerror or error}; choose "
            "another --workdir."
        ) from error


def _command() -> str:
    return shlex.join(["python", "-m", "experiments.compare", *sys.argv[1:]])


def table(results: Sequence[dict[str, Any]]) -> list[Row]:
    """A row for each method, the most accurate first.

    Args:
      results: contents of result.json files of one data set.
    """
    rows = []
    for method in dict.fromkeys(result["config"]["method"] for result in results):
        group = [one for one in results if one["config"]["method"] == method]
        group.sort(key=lambda result: result["seed"])
        last = [result["stages"][-1] for result in group]
        paper = group[0]["paper"] or {}
        rows.append(
            Row(
                method=method,
                seeds=[result["seed"] for result in group],
                accuracy=_values(last, "accuracy"),
                nmi=_values(last, "nmi"),
                ari=_values(last, "ari"),
                confident=_values(last, "confident_label_accuracy"),
                seconds=[
                    sum(stage["seconds"] for stage in one["stages"]) for one in group
                ],
                paper=paper.get("accuracy"),
                source=paper.get("source", ""),
            )
        )
    return sorted(rows, key=lambda row: -np.mean(row.accuracy or [0.0]))


def _values(records: Sequence[dict[str, Any]], name: str) -> list[float] | None:
    values = [record.get(name) for record in records]
    return None if None in values else values


def _cells(row: Row) -> dict[str, Any]:
    """A row as named numbers, None where there is none."""
    cells: dict[str, Any] = {"method": row.method, "runs": len(row.seeds)}
    cells["seeds"] = " ".join(map(str, row.seeds))
    for name in ("accuracy", "nmi", "ari", "confident", "seconds"):
        values = getattr(row, name)
        cells[f"{name}_mean"] = None if values is None else float(np.mean(values))
        several = values is not None and len(values) > 1
        cells[f"{name}_std"] = float(np.std(values, ddof=1)) if several else None
    return cells | {
        "paper": row.paper,
        "difference": row.difference,
        "source": row.source,
    }


def comma_separated(rows: Sequence[Row]) -> str:
    """The table as csv, numbers in full."""
    buffer = io.StringIO()
    columns = [_cells(row) for row in rows]
    writer = csv.DictWriter(buffer, list(columns[0]) if columns else ["method"])
    writer.writeheader()
    writer.writerows(columns)
    return buffer.getvalue()


_HEADER = ("method", "runs", "ACC", "NMI", "ARI", "seconds", "paper", "difference")


def _text_cells(row: Row) -> tuple[str, ...]:
    def spread(values, digits):
        if values is None:
            return "-"
        text = f"{np.mean(values):.{digits}f}"
        if len(values) > 1:
            text += f" ± {np.std(values, ddof=1):.{digits}f}"
        return text

    accuracy = spread(row.accuracy, 4)
    if row.confident is not None:
        accuracy += f" (most confident label {spread(row.confident, 4)})"
    difference = row.difference
    return (
        row.method,
        str(len(row.seeds)),
        accuracy,
        spread(row.nmi, 4),
        spread(row.ari, 4),
        spread(row.seconds, 0),
        "-" if row.paper is None else f"{row.paper:.4f} ({row.source})",
        "-" if difference is None else f"{difference:+.4f}",
    )


def _quoted_cells(dataset: str) -> list[tuple[str, ...]]:
    """Rows of methods that are not here: what the papers say of them."""
    return [
        (f"{name}, quoted", "0", *["-"] * 4, f"{accuracy:.4f} ({source})", "-")
        for name, (accuracy, source) in presets.QUOTED.get(dataset, {}).items()
    ]


def markdown(rows: Sequence[Row], dataset: str) -> str:
    """The table in markdown, with the figures of methods that are only quoted."""
    lines = [_HEADER, ("---",) * len(_HEADER), *map(_text_cells, rows)]
    lines += _quoted_cells(dataset)
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _write(
    workdir: pathlib.Path,
    config: Config,
    rows: Sequence[Row],
    results: Sequence[dict[str, Any]],
) -> None:
    from dgg_jax.methods.base import write_atomically
    from experiments import comparison_report

    write_atomically(workdir / "comparison.csv", comma_separated(rows))
    write_atomically(workdir / "comparison.md", markdown(rows, config.dataset))
    cells = [*map(_text_cells, rows), *_quoted_cells(config.dataset)]
    html = comparison_report.html(_HEADER, cells, rows, results, _command())
    write_atomically(workdir / "report.html", html)


if __name__ == "__main__":
    app.run(main, flags_parser=lambda arguments: main_module.parse_flags(arguments))
