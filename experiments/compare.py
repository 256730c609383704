"""Compares methods on one data set: same data, seeds, metrics and pretrained weights.

  python -m experiments.compare                   (every method on digits, 5 seeds)
  python -m experiments.compare --dataset=mnist --methods=vade,ae_gmm,kmeans --seeds=0,1

Each run lives in a folder of --workdir, as one of experiments.main would. Methods that
start from an autoencoder start from the same weights, trained once a seed. The same
command continues a comparison that was stopped and adds what it does not have yet.
Writes comparison.csv, comparison.md and report.html after every run.
"""

import csv
import functools
import io
import pathlib
import signal
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import app, flags

from dgg_jax import checks, folders, presets
from experiments import command, scores, series
from experiments import config as config_module
from experiments.config import Config, methods_with

_METHODS = flags.DEFINE_list(
    "methods", list(presets.METHODS), "Methods to compare, separated by commas."
)
flags.declare_key_flag("seeds")
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
      score: which score that is: accuracy or confident_label_accuracy.
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
    score: str
    source: str

    @property
    def difference(self) -> float | None:
        """Our mean less the paper's figure, of the score that the paper has."""
        ours = self.accuracy if self.score == "accuracy" else self.confident
        if self.paper is None or ours is None:
            return None
        return float(np.mean(ours)) - self.paper


def main(arguments: Sequence[str]) -> int:
    """Parses, runs and reports; a user's mistake is one line on stderr."""
    command.limit_logs()
    try:
        if len(arguments) > 1:
            raise checks.InvalidInput(
                f"unexpected argument {arguments[1]!r}; flags look like "
                "--dataset=digits, see --helpshort."
            )
        return _compare()
    except checks.InvalidInput as error:
        return command.fail(str(error), command.EXIT_INVALID)
    except KeyboardInterrupt:
        return command.fail("interrupted.", 128 + signal.SIGINT)


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
    series.check_num_clusters("a comparison")
    base = config_module.from_flags(check_method=False)
    resolved = _presets(base)
    if flags.FLAGS["workdir"].value:
        workdir = base.workdir
    else:
        workdir = pathlib.Path(f"runs/compare-{base.short_name}")
    return [
        base._replace(
            method=method,
            preset=preset,
            seed=seed,
            workdir=workdir / f"{method}-{seed}",
            resume=False,
            overwrite=False,
        )
        for seed in series.seeds()
        for method, preset in resolved.items()
    ]


def _presets(base: Config) -> dict[str, presets.Preset]:
    """The settings of each method: a flag changes all methods that have it."""
    if not _METHODS.value:
        raise checks.InvalidInput(
            f"methods must name at least one of: {', '.join(presets.METHODS)}."
        )
    for method in _METHODS.value:
        checks.one_of("methods", method, presets.METHODS)
    changes = config_module.changes_from_flags()
    resolved = {}
    for method in dict.fromkeys(_METHODS.value):
        kept = {k: v for k, v in changes.items() if method in methods_with(k)}
        resolved[method] = config_module.preset_of(method, base.dataset, base.own, kept)
    for name in changes:
        if not any(hasattr(preset, name) for preset in resolved.values()):
            raise checks.InvalidInput(
                f"--{name} is a setting of none of the methods {', '.join(resolved)}, "
                f"but of {', '.join(methods_with(name))}; leave it out."
            )
    return resolved


def _compare() -> int:
    configs = configurations()
    overwrite = flags.FLAGS["overwrite"].value
    made = series.Series("comparison", "experiments.compare", configs, overwrite)

    def clear():
        series.clear_runs(path.parent for path in made.workdir.glob("*/config.json"))
        folders.clear(made.workdir, marker=made.marker)

    return series.carry_out(made, functools.partial(_write, made), clear)


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
                score=scores.reported(group[0]),
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
        "score": row.score if row.paper is not None else None,
        "source": row.source,
    }


def comma_separated(rows: Sequence[Row], dataset: str) -> str:
    """The table as csv, numbers in full; quoted methods have 0 runs."""
    lines = [_cells(row) for row in rows]
    lines += [
        {"method": f"{name}, quoted", "runs": 0, "paper": figure, "source": source}
        for name, (figure, source) in presets.QUOTED.get(dataset, {}).items()
    ]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return buffer.getvalue()


def text_table(
    rows: Sequence[Row], dataset: str
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The table as text, with the figures of methods that are only quoted.

    Args:
      rows: of the methods that were run.
      dataset: what the papers are quoted of.

    Returns:
      Names of the columns; and the rows. The column of GMVAE's own score is there only
      if a row has it.
    """
    measured = {"accuracy": "ACC", "confident": "most confident label"}
    measured |= {"nmi": "NMI", "ari": "ARI", "seconds": "seconds"}
    if all(row.confident is None for row in rows):
        del measured["confident"]
    header = ("method", "runs", *measured.values(), "paper", "difference")
    lines = []
    for row in rows:
        values = [
            _spread(getattr(row, name), 0 if name == "seconds" else 4)
            for name in measured
        ]
        paper = "-" if row.paper is None else f"{row.paper:.4f} ({row.source})"
        difference = "-" if row.difference is None else f"{row.difference:+.4f}"
        lines.append((row.method, str(len(row.seeds)), *values, paper, difference))
    for name, (figure, source) in presets.QUOTED.get(dataset, {}).items():
        dashes = ["-"] * len(measured)
        paper = f"{figure:.4f} ({source})"
        lines.append((f"{name}, quoted", "0", *dashes, paper, "-"))
    return header, lines


def _spread(values: Sequence[float] | None, digits: int) -> str:
    """Mean and, of several, the standard deviation (N - 1)."""
    if values is None:
        return "-"
    text = f"{np.mean(values):.{digits}f}"
    if len(values) > 1:
        text += f" ± {np.std(values, ddof=1):.{digits}f}"
    return text


def markdown(rows: Sequence[Row], dataset: str) -> str:
    """The table in markdown."""
    header, lines = text_table(rows, dataset)
    return "".join(
        "| " + " | ".join(line) + " |\n"
        for line in (header, ("---",) * len(header), *lines)
    )


def _write(made: series.Series, results: series.Results) -> str:
    """Writes the table of what is finished as csv, markdown and a page.

    Returns:
      The table in markdown, and where the page is.
    """
    from dgg_jax.methods.base import write_atomically
    from experiments import comparison_report

    configs, workdir = made.configs, made.workdir
    # What papers report is of the whole set.
    dataset = "" if configs[0].num_rows else configs[0].dataset
    # In the order of the command, not in that in which they came.
    order = list(dict.fromkeys(config.method for config in configs))
    finished = [results[c.workdir] for c in configs if c.workdir in results]
    finished.sort(key=lambda result: order.index(result["config"]["method"]))
    rows = table(finished)
    text = markdown(rows, dataset)
    header, cells = text_table(rows, dataset)
    html = comparison_report.html(header, cells, rows, finished, made.command())
    write_atomically(workdir / "comparison.csv", comma_separated(rows, dataset))
    write_atomically(workdir / "comparison.md", text)
    write_atomically(workdir / "report.html", html)
    return f"{text}\nReport   {workdir / 'report.html'}"


if __name__ == "__main__":
    app.run(main, flags_parser=command.parse_flags)
