"""What a comparison says of its methods: a row each, as csv, as text, as markdown."""

import csv
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dgg_jax.reports import cells, published, scores


class Row(NamedTuple):
    """What a comparison says of one method.

    Attributes:
      method: its name.
      paper: what a paper reports, or None.
      source: which paper.
      score: which score that is: accuracy or confident_label_accuracy.
      seeds: of the finished runs; none of a method that is only quoted.
      accuracy: of each run, or None without labels.
      trained: what training came to in each run, where one keeps a model from before
        it (erratum E36); else None.
      nmi: likewise.
      ari: likewise.
      confident: the accuracy of GMVAE's own score (erratum E62), or None.
      seconds: of all stages of each run, what it shares with others included.
    """

    method: str
    paper: float | None
    source: str
    score: str = ""
    seeds: Sequence[int] = ()
    accuracy: list[float] | None = None
    trained: list[float] | None = None
    nmi: list[float] | None = None
    ari: list[float] | None = None
    confident: list[float] | None = None
    seconds: list[float] | None = None

    @property
    def difference(self) -> float | None:
        """Our mean less the paper's figure, of the score that the paper has."""
        ours = self.accuracy if self.score == "accuracy" else self.confident
        if self.paper is None or ours is None:
            return None
        return float(np.mean(ours)) - self.paper


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
                trained=trained(group),
                nmi=_values(last, "nmi"),
                ari=_values(last, "ari"),
                confident=_values(last, "confident_label_accuracy"),
                seconds=[scores.seconds(one) for one in group],
                paper=paper.get("accuracy"),
                score=scores.reported(group[0]),
                source=paper.get("source", ""),
            )
        )
    return sorted(rows, key=lambda row: -np.mean(row.accuracy or [0.0]))


class Paired(NamedTuple):
    """A method against the best one, seed by seed.

    Attributes:
      method: its name.
      seeds: that both have.
      differences: its accuracy less that of the best, of each of them.
    """

    method: str
    seeds: list[int]
    differences: list[float]


def paired_differences(rows: Sequence[Row]) -> list[Paired]:
    """How far each method is from the most accurate one, over the seeds of both.

    Args:
      rows: of a table, the most accurate first; those without accuracy are left out.
    """
    best, *others = [row for row in rows if row.accuracy] or [None]
    if best is None:
        return []
    reference = dict(zip(best.seeds, best.accuracy, strict=True))
    found = []
    for row in others:
        own = dict(zip(row.seeds, row.accuracy, strict=True))
        common = [seed for seed in row.seeds if seed in reference]
        differences = [own[seed] - reference[seed] for seed in common]
        if common:
            found.append(Paired(row.method, common, differences))
    return found


def standing(result: dict[str, Any]) -> float | None:
    """Of a run's clusters, by the judge that sees no labels; None where there is none.

    Args:
      result: content of a result.json.
    """
    found = [stage["standing"] for stage in result["stages"] if "standing" in stage]
    return found[-1] if found else None


def best_standing(results: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The run to take without labels: the one that stands best, of those judged.

    Args:
      results: contents of result.json files of one data set.

    Returns:
      The content of its file; None of less than two.
    """
    judged = [one for one in results if standing(one) is not None]
    return max(judged, key=standing) if len(judged) > 1 else None


def _values(records: Sequence[dict[str, Any]], name: str) -> list[float] | None:
    values = [record.get(name) for record in records]
    return None if None in values else values


def trained(results: Sequence[dict[str, Any]]) -> list[float] | None:
    """The accuracy that training came to; None if all runs keep what it did."""
    values = [scores.trained(one) for one in results]
    if None in values or not any(map(scores.is_undone, results)):
        return None
    return values


def _cells(row: Row) -> dict[str, Any]:
    """A row as named numbers, None where there is none."""
    numbers: dict[str, Any] = {"method": row.method, "runs": len(row.seeds)}
    numbers["seeds"] = " ".join(map(str, row.seeds))
    for name in ("accuracy", "trained", "nmi", "ari", "confident", "seconds"):
        values = getattr(row, name)
        numbers[f"{name}_mean"] = None if values is None else float(np.mean(values))
        several = values is not None and len(values) > 1
        numbers[f"{name}_std"] = float(np.std(values, ddof=1)) if several else None
    return numbers | {
        "paper": row.paper,
        "difference": row.difference,
        "score": row.score if row.paper is not None else None,
        "source": row.source,
    }


def reported_data(result: dict[str, Any]) -> str:
    """The data set that papers may report of; of a part of one there is none: "".

    Args:
      result: content of a result.json.
    """
    config = result["config"]
    is_part = config.get("num_rows") or config.get("split")
    return "" if is_part else config["dataset"]


def _quoted(dataset: str) -> list[Row]:
    """What papers report of methods that are not in this library."""
    reported = published.quoted(dataset).items()
    return [
        Row(f"{name}, quoted", *figure_and_source)
        for name, figure_and_source in reported
    ]


def comma_separated(rows: Sequence[Row], dataset: str) -> str:
    """The table as csv, numbers in full; quoted methods have 0 runs."""
    lines = [_cells(row) for row in (*rows, *_quoted(dataset))]
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
      Names of the columns; and the rows. A column that is empty is left out.
    """
    measured = {"accuracy": "ACC", "trained": "ACC after training"}
    measured |= {
        "confident": "most confident label",
        "nmi": "NMI",
        "ari": "ARI",
        "seconds": "seconds",
    }
    header = ("method", "runs", *measured.values(), "paper", "difference")
    lines = []
    for row in (*rows, *_quoted(dataset)):
        values = [
            cells.spread(getattr(row, name), 0 if name == "seconds" else 4)
            for name in measured
        ]
        paper = "-" if row.paper is None else f"{row.paper:.4f} ({row.source})"
        difference = "-" if row.difference is None else f"{row.difference:+.4f}"
        lines.append((row.method, str(len(row.seeds)), *values, paper, difference))
    columns = zip(header, *lines, strict=True)
    header, *lines = zip(*(c for c in columns if {*c[1:]} != {"-"}), strict=True)
    return header, lines


def markdown(rows: Sequence[Row], dataset: str) -> str:
    """The table in markdown.

    Args:
      rows: as in ``text_table``.
      dataset: likewise.
    """
    return cells.markdown(*text_table(rows, dataset))
