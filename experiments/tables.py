"""Markdown table of finished runs: mean and standard deviation over their seeds.

  python -m experiments.tables runs/*/result.json

Runs that differ in nothing but their seed make one row.
"""

import json
import pathlib
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

_STAGES = ("initialize", "classifier", "evaluate")
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
    stages = [{stage["name"]: stage for stage in run["stages"]} for run in group]
    accuracies = [
        _mean([run[stage]["accuracy"] for run in stages], 4) for stage in _STAGES
    ]
    final = {
        name: _mean([run["final"][name] for run in group], digits)
        for name, digits in (("nmi", 4), ("elbo", 2))
    }
    paper = group[0]["paper"]
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
        "-" if paper is None else f"{paper['accuracy']:.4f}",
    )


def _mean(values: Sequence[float | None], digits: int) -> str:
    """Mean and, of several, the standard deviation (N - 1)."""
    if None in values:
        return "-"
    text = f"{np.mean(values):.{digits}f}"
    if len(values) > 1:
        text += f" ± {np.std(values, ddof=1):.{digits}f}"
    return text


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    print(table([json.loads(pathlib.Path(path).read_text()) for path in sys.argv[1:]]))
