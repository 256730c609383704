"""The report of a comparison: one self-contained page with its table and a picture."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from dgg_jax import plots
from dgg_jax.reports import page
from dgg_jax.reports.comparison import Row, text_table
from dgg_jax.reports.run import METHODS


def html(
    rows: Sequence[Row], dataset: str, results: Sequence[dict[str, Any]], command: str
) -> str:
    """The page.

    Args:
      rows: of the methods that were run.
      dataset: what the papers are quoted of.
      results: contents of the result.json files.
      command: that made the comparison.
    """
    header, cells = text_table(rows, dataset)
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


def _accuracies(rows: Sequence[Row]) -> Figure:
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
