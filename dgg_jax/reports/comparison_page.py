"""The report of a comparison: one self-contained page with its table and a picture."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from dgg_jax import plots
from dgg_jax.reports import cells, page, scores
from dgg_jax.reports.comparison import (
    Row,
    best_standing,
    paired_differences,
    standing,
    text_table,
)
from dgg_jax.reports.method_names import METHOD_NAMES


def html(
    rows: Sequence[Row],
    dataset: str,
    results: Sequence[dict[str, Any]],
    command: str,
    reports: Mapping[tuple[str, int], str] | None = None,
) -> str:
    """The page.

    Args:
      rows: of the methods that were run.
      dataset: what the papers are quoted of.
      results: contents of the result.json files.
      command: that made the comparison.
      reports: where the page of each run is, by its method and seed.
    """
    header, lines = text_table(rows, dataset)
    scored = [row for row in rows if row.accuracy]
    timed = [row for row in scored if min(row.seconds) > 0]
    versions = results[0]["versions"].items()
    data = results[0]["dataset"]
    return page.render(
        "comparison.html",
        heading=f"{data['name']}: methods compared",
        data=data,
        num_methods=len(rows),
        num_runs=len(results),
        header=header,
        cells=[(_called(line[0]), *line[1:]) for line in lines],
        words=[n for n, name in enumerate(header) if name in ("method", "paper")],
        accuracies=page.picture(_accuracies(scored)) if scored else None,
        seconds=page.picture(_by_seconds(timed)) if timed else None,
        best=_called(scored[0].method) if scored else None,
        paired=_paired(rows),
        runs=_runs(results, reports or {}),
        stages=_stages(results),
        command=command,
        devices=", ".join(sorted({result["device"] for result in results})),
        versions=", ".join(f"{name} {version}" for name, version in versions),
    )


def _accuracies(rows: Sequence[Row]) -> Figure:
    return plots.run_accuracies(
        [_called(row.method) for row in rows],
        [row.accuracy for row in rows],
        # GMVAE's figure is of another score.
        [row.paper if row.score == "accuracy" else None for row in rows],
    )


def _by_seconds(rows: Sequence[Row]) -> Figure:
    return plots.accuracy_by_seconds(
        [_called(row.method) for row in rows],
        [row.seconds for row in rows],
        [row.accuracy for row in rows],
    )


def _called(method: str) -> str:
    """A method as the papers write it."""
    return METHOD_NAMES.get(method, method)


def _paired(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Each method against the best: its difference, and how often it is less."""
    return [
        (
            _called(one.method),
            str(len(one.seeds)),
            cells.spread(one.differences, 4, "+").replace("-", "\N{MINUS SIGN}"),
            f"{sum(d < 0 for d in one.differences)} of {len(one.seeds)}",
        )
        for one in paired_differences(rows)
    ]


def _in_order(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(results, key=lambda one: (one["config"]["method"], one["seed"]))


def _runs(
    results: Sequence[dict[str, Any]], reports: Mapping[tuple[str, int], str]
) -> list[dict[str, Any]]:
    """Every run, with its scores and where its page is."""
    best = best_standing(results)
    return [
        {
            "method": _called(one["config"]["method"]),
            "seed": one["seed"],
            "report": reports.get((one["config"]["method"], one["seed"])),
            "accuracy": one["final"].get("accuracy"),
            "nmi": one["final"].get("nmi"),
            "standing": standing(one),
            "stands_best": one is best,
            "seconds": scores.seconds(one),
        }
        for one in _in_order(results)
    ]


def _stages(results: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Every stage of every run."""
    return [
        (
            _called(result["config"]["method"]),
            result["seed"],
            stage["name"],
            page.duration(stage["seconds"]),
            page.number(stage.get("accuracy"), 4),
            page.number(stage.get("elbo"), 2),
        )
        for result in _in_order(results)
        for stage in result["stages"]
    ]
