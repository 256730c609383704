"""The report of a comparison: one self-contained page with its table and a picture."""

from collections.abc import Sequence
from typing import Any

from dgg_jax import plots
from dgg_jax.reports import page
from dgg_jax.reports.page import ReportFigure
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
    data = results[0]["dataset"]
    titled = [
        [page.text(METHODS.get(line[0], line[0])), *map(page.text, line[1:])]
        for line in cells
    ]
    words = [n for n, name in enumerate(header) if name in ("method", "paper")]
    body = page.section(
        "All methods",
        "<p>Mean and standard deviation over the runs. Seconds are those of all stages "
        "of a run, with the pretraining that it shares with others. Difference is our "
        "mean ACC less the paper's figure; of GMVAE that of its own score, by which a "
        "cluster takes the label of its most confident row. Quoted methods are not in "
        "this library.</p>"
        + page.table([page.text(name) for name in header], titled, left=words),
    )
    if any(row.accuracy for row in rows):
        body += page.section(
            "Every run",
            page.figure_block(*_accuracies(rows)),
        )
    body += page.section("From stage to stage", _stages(results))
    versions = ", ".join(
        f"{name} {version}" for name, version in results[0]["versions"].items()
    )
    devices = ", ".join(sorted({result["device"] for result in results}))
    body += page.section(
        "Run it again",
        f"<pre><code>{page.text(command)}</code></pre>\n"
        f"<p>{page.text(devices)}; {page.text(versions)}.</p>",
    )
    lead = (
        f"{page.plural(len(rows), 'method')}, {page.plural(len(results), 'run')} on "
        f"{data['rows']:,} rows of {page.plural(data['features'], 'feature')}: "
        f"{page.text(data['provenance'])}."
    )
    return page.html(f"{data['name']}: methods compared", lead, body)


def _accuracies(rows: Sequence[Any]) -> tuple[ReportFigure, bytes]:
    scored = [row for row in rows if row.accuracy]
    figure = plots.run_accuracies(
        [METHODS.get(row.method, row.method) for row in scored],
        [row.accuracy for row in scored],
        # GMVAE's figure is of another score.
        [row.paper if row.score == "accuracy" else None for row in scored],
    )
    item = ReportFigure(
        "accuracies",
        "Accuracy of every run",
        "A dot is a run, the bar their mean, the open mark the paper's figure.",
        figure,
    )
    return item, page.png(figure)


def _stages(results: Sequence[dict[str, Any]]) -> str:
    """The accuracy after every stage of every run."""
    lines = []
    for result in sorted(
        results, key=lambda one: (one["config"]["method"], one["seed"])
    ):
        method = result["config"]["method"]
        for stage in result["stages"]:
            lines.append(
                (
                    page.text(METHODS.get(method, method)),
                    str(result["seed"]),
                    page.text(stage["name"]),
                    page.duration(stage["seconds"]),
                    page.number(stage.get("accuracy"), 4),
                    page.number(stage.get("elbo"), 2),
                )
            )
    header = ["Method", "Seed", "Stage", "Time", "ACC", "ELBO"]
    table = page.table(header, lines, left=(0, 2))
    return f"<details><summary>All stages of all runs</summary>{table}</details>\n"
