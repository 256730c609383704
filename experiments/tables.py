"""Markdown tables of finished runs: mean and standard deviation over their seeds.

  python -m experiments.tables runs/*/result.json
  python -m experiments.tables --study=results/study/mnist-20000
  python -m experiments.tables --fill=README.md
  python -m experiments.tables --name=dgg-tab1 --saved

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
  <!-- arena FILE SET ... -->                of the arena: ranks, seconds, ARI of sets

The folder of a comparison holds result.json of each run, as METHOD-SEED.json.

The fourth makes a table of the papers, as experiments.figures does its figures (--list
names them, --helpshort explains the flags): of results in results/ and of runs in
--workdir, runs/papers by default, which are trained where there are none, unless it is
--saved. In --output, tables by default, it is NAME.csv and NAME.md.
"""

import contextlib
import json
import pathlib
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy import stats

from dgg_jax import checks
from dgg_jax.cli import command
from dgg_jax.progress import as_trained
from dgg_jax.reports import cells, comparison, scores
from experiments.arena import table as arena_table
from experiments.outcomes import outcomes
from experiments.papers import program

Run = dict[str, Any]  # what the tables say of one, by the names below

_DIGITS = {  # of what is averaged, after the point
    "initial": 4,
    "fitted": 4,
    "trained": 4,
    "kept": 4,
    "nmi": 4,
    "ours": 4,
    "information": 4,
    "elbo": 2,
    "seconds": 0,
}
_TITLES = {
    "initial": "ACC of the initial labels",
    "fitted": "after fitting f_2",
    "trained": "after training",
    "kept": "of the model kept",
    "nmi": "NMI",
    "difference": "less the default's",
    "information": "graph information",
    "elbo": "ELBO",
    "objective": "objective J / N",
    "paper": "paper's ACC",
}
_KINDS = ("runs", "variants", "ranks", "stages", "comparison", "accuracies", "arena")
_NOTHING = "Not measured yet."


def _run(result: dict[str, Any]) -> Run:
    *earlier, last = result["stages"]
    accuracy = {stage["name"]: as_trained(stage).get("accuracy") for stage in earlier}
    others = [v for k, v in accuracy.items() if v is not None and k != "train"]
    objective = {stage["name"]: stage.get("objective") for stage in result["stages"]}
    # What is said of where a run lives is not what it computes.
    elsewhere = r" --(seed|workdir|data_dir)(=|\s+)\S+| --(resume|overwrite)\b"
    return {
        "command": re.sub(elsewhere, "", result["command"]),
        "notes": _notes(result),
        "config": result["config"],
        "settings": {k: v for k, v in result["config"].items() if k != "seed"},
        "seed": result["seed"],
        "initial": accuracy.get("initialize", others[0] if others else None),
        "fitted": accuracy.get("classifier"),
        "trained": scores.trained(result),
        "kept": last.get("accuracy"),
        "information": last.get("graph_information"),
        "objective": objective.get("train"),
        "nmi": result["final"]["nmi"],
        "elbo": result["final"]["elbo"],
        "seconds": scores.seconds(result),
        "paper": result["paper"],
        "score": scores.reported(result),
        "ours": scores.comparable(result),
    }


def _notes(result: dict[str, Any]) -> str:
    """What a row of a run must say of its data, in parentheses; "" if nothing."""
    preset = result["config"]["preset_values"]
    notes = []
    has_siamese = preset.get("siamese_epochs") and preset.get("graph_of") != "data"
    if (preset.get("siamese_warp") and has_siamese) or preset.get("warp"):
        notes.append("images warped")
    if "reconstructed features" in result["dataset"]["provenance"]:
        notes.append("reconstructed features")
    return f" ({', '.join(notes)})" if notes else ""


def _grouped(runs: Iterable[Run], name: str) -> dict[str, list[Run]]:
    """Runs by one of their values."""
    groups = defaultdict(list)
    for run in runs:
        groups[json.dumps(run[name], sort_keys=True)].append(run)
    return groups


def _row(runs: Sequence[Run]) -> dict[str, str]:
    """Mean and deviation of runs, and their seeds."""
    means = {k: cells.spread([run[k] for run in runs], v) for k, v in _DIGITS.items()}
    return means | {"seeds": ", ".join(str(run["seed"]) for run in runs)}


def _markdown(rows: Iterable[dict[str, str]], *columns: str) -> str:
    header = [_TITLES.get(name, name) for name in columns]
    return cells.markdown(header, [[row[name] for name in columns] for row in rows])


def table(results: Sequence[dict[str, Any]]) -> str:
    """Groups the contents of result.json files into rows.

    Args:
      results: contents of result.json files.

    Returns:
      A markdown table, one row for each configuration.
    """
    rows = []
    for runs in _grouped(map(_run, results), "settings").values():
        runs.sort(key=lambda run: run["seed"])
        row, first = _row(runs), runs[0]
        paper = "-" if first["paper"] is None else f"{first['paper']['accuracy']:.4f}"
        if first["score"] != "accuracy":
            paper += f" ({scores.NAMES[first['score']]}; ours {row['ours']})"
        command = f"`{first['command']}`{first['notes']}"
        rows.append(row | {"command": command, "paper": paper})
    rows.sort(key=lambda row: row["command"].split("`")[1])
    columns = (
        "initial",
        "fitted",
        "trained",
        "kept",
        "nmi",
        "elbo",
        "seconds",
        "paper",
    )
    return _markdown(rows, "command", "seeds", *columns)


def study(folder: pathlib.Path) -> list[Run]:
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
        variant, result = path.stem.rpartition("-")[0], json.loads(path.read_text())
        changed = tuple(re.findall(r"(\w+)=", variant))
        of_study = {"variant": variant, "changed": changed}
        runs.append(_run(result) | of_study | {"finished": result["finished"]})
    begun = {}
    for run in sorted(runs, key=lambda run: run["finished"]):
        begun.setdefault(run["changed"], run["finished"])

    def order(run: Run) -> tuple[Any, ...]:
        values = map(_ascending, re.findall(r"=([^+]*)", run["variant"]))
        group = run["changed"] != (), begun[run["changed"]], run["changed"]
        return *group, list(values), run["seed"]

    return sorted(runs, key=order)


def _ascending(value: str) -> tuple[float, str]:
    """Orders numbers by size, and after them words."""
    try:
        return float(value), ""
    except ValueError:
        return np.inf, value


def variants(runs: Sequence[Run], settings: Sequence[str] = ()) -> str:
    """What each variant reaches, as a markdown table.

    Args:
      runs: of ``study``.
      settings: of these alone, beside the default; none is all.
    """
    default = {run["seed"]: run for run in runs if run["variant"] == "default"}
    rows = []
    for group in _grouped(runs, "variant").values():
        variant, changed = group[0]["variant"], group[0]["changed"]
        if settings and changed and not {*settings} & {*changed}:
            continue
        pairs = [
            (run["trained"], default[run["seed"]]["trained"])
            for run in group
            if run["seed"] in default and variant != "default"
        ]
        differences = [None if None in pair else pair[0] - pair[1] for pair in pairs]
        named = {
            "variant": f"`{variant}`" + " (no graph)" * (variant == "num_neighbors=0"),
            "difference": cells.spread(differences or None, 4, sign="+"),
        }
        rows.append(_row(group) | named)
    columns = ("initial", "fitted", "trained", "difference", "information", "elbo")
    return _markdown(rows, "variant", "seeds", *columns, "seconds")


def ranks(runs: Sequence[Run]) -> str:
    """How well quantities that need no labels rank runs by accuracy.

    Spearman's rank correlation of each with the accuracy, at the end of training: over
    all runs, and, since objectives of different settings are different functions, its
    mean over the variants of three runs or more. Equal configurations count once.

    Args:
      runs: of ``study``.

    Returns:
      A markdown table.
    """
    distinct = [same[0] for same in _grouped(runs, "config").values()]
    scored = [run for run in distinct if run["kept"] is not None]
    variants = _grouped(scored, "variant").values()
    lines = []
    for name in ("elbo", "objective", "information"):
        whole, parts = None, []
        if all(run[name] is not None for run in scored):
            whole = _rank_correlation(scored, name)
            parts = [_rank_correlation(group, name) for group in variants]
        known = [part for part in parts if part is not None]
        mean = f"{np.mean(known):.2f} ({len(known)} variants)" if known else "-"
        overall = "-" if whole is None else f"{whole:.2f}"
        lines.append((_TITLES[name], overall, mean, str(len(scored))))
    return cells.markdown(("quantity", "all runs", "within variants", "runs"), lines)


def _rank_correlation(runs: Sequence[Run], name: str) -> float | None:
    """Spearman's with the accuracy; None of fewer than three, or of equal values."""
    values = np.array([(run["kept"], run[name]) for run in runs])
    if len(runs) < 3 or 0 in np.ptp(values, axis=0):
        return None
    return float(stats.spearmanr(values).statistic)


def stages(result: dict[str, Any]) -> str:
    """One run stage by stage, as a markdown table.

    Args:
      result: content of its result.json.
    """
    digits = {"seconds": 0, "accuracy": 4, "nmi": 4, "ari": 4}
    digits |= {"graph_information": 3, "elbo": 2}
    titles = ("stage", "seconds", "ACC", "NMI", "ARI", "graph information", "ELBO")
    lines = [
        (stage["name"], *(cells.spread([stage.get(k)], v) for k, v in digits.items()))
        for stage in map(as_trained, result["stages"])
    ]
    return cells.markdown(titles, lines)


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
    for stage in map(as_trained, stages):
        named[stage["name"]] = stage.get("accuracy")
        named[f"{stage['name']}, by EM"] = stage.get("em_accuracy")
    return {name: accuracy for name, accuracy in named.items() if accuracy is not None}


def arena(path: pathlib.Path, names: Sequence[str]) -> str:
    """Methods by mean rank over all sets of the arena, as a markdown table.

    Seconds are medians over the sets of which there are those of all methods.

    Args:
      path: of its outcomes.
      names: sets whose mean ARI is shown.
    """
    measured = outcomes(path)
    found, taken = (arena_table.means(measured, score) for score in ("ari", "seconds"))
    ranks = arena_table.mean_ranks(found)
    timed = [of_set for of_set in taken.values() if ranks.keys() <= of_set.keys()]
    lines = []
    for method in sorted(ranks, key=ranks.__getitem__):
        seconds = np.median([np.mean(of_set[method]) for of_set in timed])
        shown = [f"{np.mean(found[name][method]):.3f}" for name in names]
        lines.append((method, f"{ranks[method]:.2f}", f"{seconds:.1f}", *shown))
    return cells.markdown(("method", "mean rank", "seconds", *names), lines)


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
    if kind == "arena":
        return arena(root / where, more) if (root / where).exists() else _NOTHING
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


@contextlib.contextmanager
def _told(name: str, verb: str, otherwise: str) -> Iterator[None]:
    """Within, a file that cannot serve is a mistake that names it."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise checks.InvalidInput(f"{name} cannot be {verb}: {error}.") from error
    except (AttributeError, KeyError, TypeError):
        raise checks.InvalidInput(f"{name} {otherwise}.") from None


def _table_of_files(names: Sequence[str]) -> str:
    results = []
    for name in names:
        with _told(name, "read", "is no result.json of a finished run"):
            results.append(json.loads(pathlib.Path(name).read_text()))
            table(results[-1:])
    return table(results)


def _study_tables(folder: str) -> str:
    with _told(folder, "read", "has a file that is no result of a study"):
        runs = study(pathlib.Path(folder))
        if runs:
            return f"{variants(runs)}\n\n{ranks(runs)}"
    raise checks.InvalidInput(f"{folder} has no results of a study.")


def main(arguments: Sequence[str]) -> str | int | None:
    """Prints or fills in tables; returns what is wrong, or a status, if anything.

    Args:
      arguments: names of files; or one option, see above.
    """
    if not arguments:
        return __doc__
    if any(re.match("--(name|list|help)", argument) for argument in arguments):
        return _of_papers(arguments)
    option, _, value = arguments[0].partition("=")
    try:
        if option == "--fill":
            path = pathlib.Path(value)
            with _told(value, "filled", "is no page"):
                path.write_text(fill(path.read_text(), pathlib.Path()))
        else:
            text = (
                _study_tables(value)
                if option == "--study"
                else _table_of_files(arguments)
            )
            print(text)
    except checks.InvalidInput as error:
        return f"error: {error}"
    return None


def _of_papers(arguments: Sequence[str]) -> int:
    rest = command.parse_flags(["python -m experiments.tables", *arguments])
    return command.answer(
        rest,
        lambda: program.make_all(program.ALL_TABLES, "tables", program.make_table),
        example="--name=dgg-tab1",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
