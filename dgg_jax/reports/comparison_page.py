"""The report of a comparison: one self-contained page with its table and a picture."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from dgg_jax import plots
from dgg_jax.reports import page
from dgg_jax.reports.run import METHODS


def html(
    header: Sequence[str],
    cells: Sequence[Sequence[str]],
    rows: Sequence[Any],
    results: Sequence[dict[str, Any]],
    command: str,
) -> str:
    """The page.

    Args:
      header: names of the table's columns.
      cells: the table, as text; the first column names methods.
      rows: ``comparison.Row`` of each method that was run.
      results: contents of the result.json files.
      command: that made the comparison.
    """
    scored = [row for row in rows if row.accuracy]
    versions = results[0]["versions"].items()
    data = results[0]["dataset"]
    return page.render(
        "comparison.html",
        heading=f"{data['name']}: methods compared",
        data=data,
        num_methods=len(rows),
        num_runs=len(results),
        header=header,
        cells=[(METHODS.get(line[0], line[0]), *line[1:]) for line in cells],
        words=[n for n, name in enumerate(header) if name in ("method", "paper")],
        accuracies=page.picture(_accuracies(scored)) if scored else None,
        stages=_stages(results),
        command=command,
        devices=", ".join(sorted({result["device"] for result in results})),
        versions=", ".join(f"{name} {version}" for name, version in versions),
    )


def _accuracies(rows: Sequence[Any]) -> Figure:
    return plots.run_accuracies(
        [METHODS.get(row.method, row.method) for row in rows],
        [row.accuracy for row in rows],
        # GMVAE's figure is of another score.
        [row.paper if row.score == "accuracy" else None for row in rows],
    )


def _stages(results: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Every stage of every run."""
    return [
        (
            METHODS.get(result["config"]["method"], result["config"]["method"]),
            result["seed"],
            stage["name"],
            page.duration(stage["seconds"]),
            page.number(stage.get("accuracy"), 4),
            page.number(stage.get("elbo"), 2),
        )
        for result in sorted(
            results, key=lambda one: (one["config"]["method"], one["seed"])
        )
        for stage in result["stages"]
    ]
