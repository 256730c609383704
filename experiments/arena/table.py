"""Tables of what the arena has measured."""

import collections
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from scipy import stats

from dgg_jax.reports.cells import spread
from experiments.arena import contenders, sets

Cell = dict[str, Any]  # set, method, seed, accuracy, nmi, ari, seconds or None


def means(cells: Iterable[Cell], score: str) -> dict[str, dict[str, list[float]]]:
    """The values of a score by set and method, of all seeds that have one.

    Seconds are null of runs beside which others ran.
    """
    found: dict[str, dict[str, list[float]]] = collections.defaultdict(dict)
    for cell in cells:
        if cell[score] is not None:
            found[cell["set"]].setdefault(cell["method"], []).append(cell[score])
    names = (*sets.NAMES, *sets.COUNTS)
    return {name: found[name] for name in names if name in found}


def mean_ranks(table: dict[str, dict[str, list[float]]]) -> dict[str, float]:
    """The mean rank of each method, 1 is the best, over sets that all have taken."""
    names = _methods(table)
    ranks = [
        stats.rankdata([-statistics.mean(row[name]) for name in names])
        for row in table.values()
        if all(name in row for name in names)
    ]
    if not ranks:
        return {}
    return dict(zip(names, map(float, sum(ranks) / len(ranks)), strict=True))


def _methods(table: dict[str, dict[str, list[float]]]) -> list[str]:
    """Those that any set has; what needs a Siamese network not every set has."""
    common = set.intersection(*(set(row) for row in table.values())) if table else set()
    names = (*contenders.NAMES, *contenders.FURTHER)
    return [name for name in names if name in common]


def markdown(cells: Sequence[Cell], score: str, digits: int = 3) -> str:
    """A table of one score: sets down, methods across, mean and standard deviation."""
    table = means(cells, score)
    present = {cell["method"] for cell in cells}
    names = (*contenders.NAMES, *contenders.FURTHER)
    names = [name for name in names if name in present]
    lines = [_line(["set", *names]), _line(["---"] + ["---:"] * len(names))]
    for name, row in table.items():
        lines.append(_line([name, *(_value(row.get(one), digits) for one in names)]))
    if score != "seconds":
        ranks = mean_ranks(table)
        values = [f"{ranks[one]:.2f}" if one in ranks else "" for one in names]
        lines.append(_line(["mean rank", *values]))
    return "\n".join(lines)


def _value(values: list[float] | None, digits: int) -> str:
    return "" if values is None else spread(values, digits)


def _line(values: Iterable[str]) -> str:
    return f"| {' | '.join(values)} |"


def verdicts(cells: Sequence[Cell], score: str = "ari") -> list[str]:
    """On how many sets DGG does as well as what is simpler, and where it does not."""
    table = {
        name: {method: statistics.mean(values) for method, values in row.items()}
        for name, row in means(cells, score).items()
        if "DGG" in row
    }
    lines = []
    for other, margin in (("K-means (raw)", 0.01), ("UMAP + mixture", 0.0)):
        both = [name for name, row in table.items() if other in row]
        behind = [n for n in both if table[n]["DGG"] < table[n][other] - margin]
        text = f"{other}, less {margin:g}" if margin else other
        lines.append(
            f"DGG reaches {text} on {len(both) - len(behind)} of {len(both)} sets"
            + (f"; not on {', '.join(behind)}." if behind else ".")
        )
    return lines
