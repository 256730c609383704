"""Markdown tables of finished runs: mean and standard deviation over their seeds.

  python -m experiments.tables runs/*/result.json
  python -m experiments.tables --study=results/study/mnist-20000
  python -m experiments.tables --fill=README.md

The first: runs that differ in nothing but their seed make one row. The initial labels
are those of stage initialize or, in a method without it, of the first before training
that has any. The second: what each variant of a study (experiments.study) does, and how
well quantities that need no labels rank its runs. The third writes the tables of a page
anew, each between <!-- end --> and one of these marks:

  <!-- runs PATTERN ... -->                  as the first
  <!-- variants FOLDER [SETTING ...] -->     of a study, all variants or these alone
  <!-- ranks FOLDER -->                      of a study
  <!-- stages FILE -->                       of one run, stage by stage
  <!-- comparison FOLDER -->                 as experiments.compare writes it
  <!-- accuracies FOLDER -->                 of its methods, by stage and seed

The folder of a comparison holds result.json of each run, as METHOD-SEED.json.
"""

import json
import pathlib
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from dgg_jax.reports import cells, comparison, scores

_HEADER = (
    "command",
    "seeds",
    "ACC of the initial labels",
    "after fitting f_2",
    "after training",
    "NMI",
    "ELBO",
    "seconds",
    "paper's ACC",
)


_VARIANTS_HEADER = (
    "variant",
    "seeds",
    *_HEADER[2:5],
    "less the default's",
    "graph information",
    "ELBO",
    "seconds",
)
_RANKS_HEADER = ("quantity", "all runs", "within variants", "runs")


_STAGES_HEADER = (
    "stage",
    "seconds",
    "ACC",
    "NMI",
    "ARI",
    "graph information",
    "ELBO",
)
_KINDS = ("runs", "variants", "ranks", "stages", "comparison", "accuracies")
_NOTHING = "Not measured yet."


def table(results: Sequence[dict[str, Any]]) -> str:
    """Groups the contents of result.json files into rows.

    Args:
      results: contents of result.json files.

    Returns:
      A markdown table, one row for each configuration.
    """
    groups = defaultdict(list)
    for result in results:
        identity = {k: v for k, v in result["config"].items() if k != "seed"}
        groups[json.dumps(identity, sort_keys=True)].append(result)
    rows = sorted(map(_row, groups.values()), key=lambda row: row[0].strip("`"))
    return cells.markdown(_HEADER, rows)


def _row(group: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    stages = [_accuracies(run["stages"]) for run in group]
    accuracies = [cells.spread(values, 4) for values in zip(*stages, strict=True)]
    final = {
        name: cells.spread([run["final"][name] for run in group], digits)
        for name, digits in (("nmi", 4), ("elbo", 2))
    }
    seeds = sorted(run["seed"] for run in group)
    # What is said of where a run lives is not what it computes.
    command = re.sub(
        r" --(seed|workdir|data_dir)(=|\s+)\S+| --(resume|overwrite)\b",
        "",
        group[0]["command"],
    )
    return (
        f"`{command}`",
        ", ".join(map(str, seeds)),
        *accuracies,
        final["nmi"],
        final["elbo"],
        cells.spread([scores.seconds(run) for run in group], 0),
        _paper(group),
    )


def _accuracies(stages: Sequence[dict[str, Any]]) -> tuple[float | None, ...]:
    """ACC of the initial labels, after fitting f_2 and at the end; None where none."""
    *earlier, last = stages
    named = {stage["name"]: stage.get("accuracy") for stage in earlier}
    known = [
        accuracy
        for name, accuracy in named.items()
        if accuracy is not None and name != "train"
    ]
    first = named.get("initialize", known[0] if known else None)
    return first, named.get("classifier"), last.get("accuracy")


def _paper(group: Sequence[dict[str, Any]]) -> str:
    """The paper's figure; where it is not of ACC, with its score and ours in it."""
    paper, score = group[0]["paper"], scores.reported(group[0])
    if paper is None:
        return "-"
    figure = f"{paper['accuracy']:.4f}"
    if score == "accuracy":
        return figure
    ours = cells.spread([scores.comparable(run) for run in group], 4)
    return f"{figure} ({scores.NAMES[score]}; ours {ours})"


class StudyRun(NamedTuple):
    """A run of a study.

    Attributes:
      variant: default, or settings joined by "+".
      seed: of the run.
      result: content of its result.json.
    """

    variant: str
    seed: int
    result: dict[str, Any]

    @property
    def settings(self) -> tuple[str, ...]:
        """The names of what the variant sets."""
        if "=" not in self.variant:
            return ()
        return tuple(part.partition("=")[0] for part in self.variant.split("+"))

    @property
    def accuracy(self) -> float | None:
        """ACC at the end."""
        return self.last("accuracy")

    def last(self, name: str) -> float | None:
        """A metric of the last stage."""
        return self.result["stages"][-1].get(name)


def study(folder: pathlib.Path) -> list[StudyRun]:
    """The runs of a study, by their files <variant>-<seed>.json.

    Args:
      folder: with their results.

    Returns:
      The default first; variants of the same settings stand together, ascending, and
      in the order in which they were first run.

    Raises:
      OSError: if a file cannot be read.
      ValueError: if one holds no JSON.
    """
    runs = []
    for path in folder.glob("*.json"):
        variant, _, seed = path.stem.rpartition("-")
        runs.append(StudyRun(variant, int(seed), json.loads(path.read_text())))
    begun: dict[tuple[str, ...], str] = {}
    for run in sorted(runs, key=lambda run: run.result["finished"]):
        begun.setdefault(run.settings, run.result["finished"])

    def order(run: StudyRun) -> tuple[Any, ...]:
        values = re.findall(r"=([^+]*)", run.variant)
        group = run.settings != (), begun[run.settings], run.settings
        return *group, [_ascending(value) for value in values], run.seed

    return sorted(runs, key=order)


def _ascending(value: str) -> tuple[float, str]:
    """Orders numbers by size, and after them words."""
    try:
        return float(value), ""
    except ValueError:
        return np.inf, value


def variants(runs: Sequence[StudyRun], settings: Sequence[str] = ()) -> str:
    """What each variant reaches, as a markdown table.

    Args:
      runs: of ``study``.
      settings: of these alone, beside the default; none is all.
    """
    groups = defaultdict(list)
    for run in runs:
        if not (settings and run.settings) or set(settings) & set(run.settings):
            groups[run.variant].append(run)
    default = {run.seed: run.accuracy for run in groups.get("default", ())}
    return cells.markdown(
        _VARIANTS_HEADER, [_variant(group, default) for group in groups.values()]
    )


def _variant(
    group: Sequence[StudyRun], default: dict[int, float | None]
) -> tuple[str, ...]:
    variant = group[0].variant
    stages = [_accuracies(run.result["stages"]) for run in group]
    differences = [
        None
        if None in (run.accuracy, default[run.seed])
        else run.accuracy - default[run.seed]
        for run in group
        if run.seed in default
    ]
    compared = variant != "default" and differences
    return (
        f"`{variant}`" + (" (no graph)" if variant == "num_neighbors=0" else ""),
        ", ".join(str(run.seed) for run in group),
        *(cells.spread(values, 4) for values in zip(*stages, strict=True)),
        cells.spread(differences, 4, sign="+") if compared else "-",
        cells.spread([run.last("graph_information") for run in group], 4),
        cells.spread([run.last("elbo") for run in group], 2),
        cells.spread([scores.seconds(run.result) for run in group], 0),
    )


def ranks(runs: Sequence[StudyRun]) -> str:
    """How well quantities that need no labels rank runs by accuracy.

    Spearman's rank correlation of each with the accuracy, at the end of training: over
    all runs, and, since objectives of different settings are different functions, its
    mean over the variants of three runs or more. Equal configurations count once.

    Args:
      runs: of ``study``.

    Returns:
      A markdown table.
    """
    distinct = {
        json.dumps(run.result["config"], sort_keys=True): run for run in reversed(runs)
    }
    scored = [run for run in reversed(distinct.values()) if run.accuracy is not None]
    quantities = {
        "ELBO": [run.last("elbo") for run in scored],
        "objective J / N": [_objective(run.result["stages"]) for run in scored],
        "graph information": [run.last("graph_information") for run in scored],
    }
    accuracies = np.array([run.accuracy for run in scored])
    names = [run.variant for run in scored]
    return cells.markdown(
        _RANKS_HEADER,
        [
            (name, *_rank_correlations(accuracies, values, names), str(len(scored)))
            for name, values in quantities.items()
        ],
    )


def stages(result: dict[str, Any]) -> str:
    """One run stage by stage, as a markdown table.

    Args:
      result: content of its result.json.
    """
    digits = {"seconds": 0, "graph_information": 3, "elbo": 2}
    names = ("seconds", "accuracy", "nmi", "ari", "graph_information", "elbo")
    return cells.markdown(
        _STAGES_HEADER,
        [
            (
                stage["name"],
                *(
                    cells.spread([stage.get(name)], digits.get(name, 4))
                    for name in names
                ),
            )
            for stage in result["stages"]
        ],
    )


def accuracies(results: Sequence[dict[str, Any]]) -> str:
    """ACC of methods after each stage that has one, as a markdown table.

    Args:
      results: contents of result.json files of one data set.
    """
    seeds = sorted({result["seed"] for result in results})
    lines = []
    for row in comparison.table(results):
        runs = {
            result["seed"]: _by_stage(result["stages"])
            for result in results
            if result["config"]["method"] == row.method
        }
        for stage in dict.fromkeys(name for run in runs.values() for name in run):
            values = [runs.get(seed, {}).get(stage) for seed in seeds]
            known = [value for value in values if value is not None]
            shown = [cells.spread([value], 4) for value in values]
            lines.append((row.method, stage, *shown, cells.spread(known, 4)))
    header = ("method", "ACC after", *(f"seed {seed}" for seed in seeds), "mean")
    return cells.markdown(header, lines)


def _by_stage(stages: Sequence[dict[str, Any]]) -> dict[str, float]:
    """ACC after each stage that has one; that of VaDE's clustering by EM beside."""
    named = {}
    for stage in stages:
        named[stage["name"]] = stage.get("accuracy")
        named[f"{stage['name']}, by EM"] = stage.get("em_accuracy")
    return {name: accuracy for name, accuracy in named.items() if accuracy is not None}


def _objective(stages: Sequence[dict[str, Any]]) -> float | None:
    """J / N in the last epoch of training."""
    named = {stage["name"]: stage for stage in stages}
    return named.get("train", {}).get("objective")


def _rank_correlations(
    accuracies: np.ndarray, values: Sequence[float | None], names: Sequence[str]
) -> tuple[str, str]:
    """Of all runs, and the mean of those within the variants that names tells."""
    if None in values:
        return "-", "-"
    values, names = np.array(values), np.array(names)
    whole = _spearman(accuracies, values)
    parts = [
        _spearman(accuracies[names == name], values[names == name])
        for name in dict.fromkeys(names)
    ]
    known = [part for part in parts if part is not None]
    return (
        "-" if whole is None else f"{whole:.2f}",
        f"{np.mean(known):.2f} ({len(known)} variants)" if known else "-",
    )


def _spearman(first: np.ndarray, second: np.ndarray) -> float | None:
    """The rank correlation; None of fewer than three, or of equal values."""
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(stats.spearmanr(first, second).statistic)


def fill(page: str, root: pathlib.Path) -> str:
    """Writes the tables of a page anew.

    Args:
      page: markdown with marks, see above.
      root: what the files and folders of the marks are relative to.

    Raises:
      OSError: if a file cannot be read.
      ValueError: if one is no result of a run, or a comparison not of one data set.
    """

    def made(mark: re.Match[str]) -> str:
        try:
            text = _made(*mark[2].split(), root=root)
        except (AttributeError, KeyError, TypeError, json.JSONDecodeError):
            raise ValueError(
                f"{mark[1]} has a file that is no result of a run"
            ) from None
        return f"{mark[1]}\n\n{text}\n\n<!-- end -->"

    marked = rf"(<!-- ((?:{'|'.join(_KINDS)}) [^>]+?) -->).*?<!-- end -->"
    return re.sub(marked, made, page, flags=re.DOTALL)


def _made(kind: str, where: str, *more: str, root: pathlib.Path) -> str:
    """The table that a mark asks for."""
    if kind in ("variants", "ranks"):
        runs = study(root / where)
        if runs:
            return ranks(runs) if kind == "ranks" else variants(runs, more)
        return _NOTHING
    patterns = (where, *more) if kind in ("runs", "stages") else (f"{where}/*.json",)
    paths = [path for pattern in patterns for path in root.glob(pattern)]
    results = [json.loads(path.read_text()) for path in sorted(paths)]
    if not results:
        return _NOTHING
    if kind == "runs":
        return table(results)
    if kind == "stages":
        return stages(results[0])
    datasets = sorted({result["config"]["dataset"] for result in results})
    if len(datasets) > 1:
        raise ValueError(
            f"{where} has runs on {', '.join(datasets)}, not on one data set"
        )
    if kind == "accuracies":
        return accuracies(results)
    return comparison.markdown(
        comparison.table(results), comparison.reported_data(results[0])
    )


def _study_tables(folder: str) -> str | None:
    try:
        runs = study(pathlib.Path(folder))
        if not runs:
            return f"error: {folder} has no results of a study."
        print(f"{variants(runs)}\n\n{ranks(runs)}")
    except (OSError, ValueError) as error:
        return f"error: {folder} cannot be read: {error}."
    except (AttributeError, KeyError, TypeError):
        return f"error: {folder} has a file that is no result of a study."
    return None


def _fill_page(name: str) -> str | None:
    path = pathlib.Path(name)
    try:
        path.write_text(fill(path.read_text(), pathlib.Path()))
    except (OSError, ValueError) as error:
        return f"error: {name} cannot be filled: {error}."
    return None


def main(paths: Sequence[str]) -> str | None:
    """Prints the table of these files; returns what is wrong with them, if anything.

    Args:
      paths: of files; or one option, see above.
    """
    if not paths:
        return __doc__
    option, _, value = paths[0].partition("=")
    if option == "--study":
        return _study_tables(value)
    if option == "--fill":
        return _fill_page(value)
    results = []
    for path in paths:
        try:
            results.append(json.loads(pathlib.Path(path).read_text()))
            table(results[-1:])
        except (OSError, ValueError) as error:
            return f"error: {path} cannot be read: {error}."
        except (AttributeError, KeyError, TypeError):
            return f"error: {path} is no result.json of a finished run."
    print(table(results))
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
