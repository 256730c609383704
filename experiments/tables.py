"""Markdown table of finished runs: mean and standard deviation over their seeds.

  python -m experiments.tables runs/*/result.json

Runs that differ in nothing but their seed make one row. The initial labels are those of
stage initialize or, in a method without it, of the first before training that has any.
"""

import json
import pathlib
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments import scores

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
    rows = [_HEADER, ("---",) * len(_HEADER)]
    rows += sorted(map(_row, groups.values()), key=lambda row: row[0].strip("`"))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _row(group: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    stages = [_accuracies(run["stages"]) for run in group]
    accuracies = [_mean(values, 4) for values in zip(*stages, strict=True)]
    final = {
        name: _mean([run["final"][name] for run in group], digits)
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
        _mean([run["seconds"] for run in group], 0),
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
    ours = _mean([scores.comparable(run) for run in group], 4)
    return f"{figure} ({scores.NAMES[score]}; ours {ours})"


def _mean(values: Sequence[float | None], digits: int) -> str:
    """Mean and, of several, the standard deviation (N - 1)."""
    if None in values:
        return "-"
    text = f"{np.mean(values):.{digits}f}"
    if len(values) > 1:
        text += f" ± {np.std(values, ddof=1):.{digits}f}"
    return text


def main(paths: Sequence[str]) -> str | None:
    """Prints the table of these files; returns what is wrong with them, if anything."""
    if not paths:
        return __doc__
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
