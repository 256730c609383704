"""What stands below a figure or table: of what it is, and what the paper shows."""

import csv
import io
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from dgg_jax.reports import cells
from dgg_jax.runs.config import DEFAULTS

Record = dict[str, Any]  # what is kept of one beside its arrays, as JSON holds it
_FEW = 3
# Flags that a caption tells otherwise, or not at all.
_NO_SETTINGS = (
    *("dataset", "method", "preset", "seed", "num_rows", "moons_distance"),
    *("data_dir", "workdir", "resume", "overwrite", "epochs"),
)


def told(result: dict[str, Any]) -> dict[str, Any]:
    """What a caption says of a run.

    Args:
      result: the content of its result.json.
    """
    config = result["config"]
    epochs = config["preset_values"].get("epochs")
    for stage in result["stages"]:
        if stage["name"] == "train":
            epochs = stage.get("epochs") or epochs  # fewer, where training came to rest
    return {
        "command": result["command"],
        "dataset": config["dataset"],
        "data": result["dataset"]["provenance"],
        "method": config["method"],
        "preset": config.get("preset", DEFAULTS["preset"]),
        "seed": result["seed"],
        "epochs": epochs,
        "settings": _settings(result["command"]),
        "accuracy": result["final"]["accuracy"],
        "device": result["device"],
        "versions": result["versions"],
        "revision": result["git_revision"],
    }


def markdown(record: Record) -> str:
    """The caption.

    Args:
      record: with of, title, shows and agrees of a figure or table, and its runs, each
        as ``told``.
    """
    runs = record["runs"]
    is_of_paper = not record["of"].startswith("Beyond")
    lines = [
        f"**{record['of']}.** {record['title']}.",
        f"*{'The paper' if is_of_paper else 'How to read it'}:* {record['shows']}",
        f"*Ours:* {record['agrees']}",
    ]
    if runs:
        data = "; ".join(_provenances(runs))
        by_preset: dict[str, list[str]] = {}
        for run in runs:
            by_preset.setdefault(run["preset"], []).append(_run(run))
        methods = "; ".join(
            f"preset {preset}: {', '.join(_each(named))}"
            for preset, named in by_preset.items()
        )
        where = " and ".join(_each(run["device"] for run in runs))
        seeds = ", ".join(_each(str(run["seed"]) for run in runs))
        lines.append(f"*Data:* {data}. *Runs:* {methods}; seed {seeds}; on {where}.")
    lines.append(f"`{record['command']}`")
    return "\n\n".join(lines) + "\n"


def table(record: Record) -> str:
    """A table that is kept, with header and lines, and its caption, as markdown."""
    return f"{cells.markdown(record['header'], record['lines'])}\n\n{markdown(record)}"


def comma_separated(record: Record) -> str:
    """A table that is kept, as csv."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [record["header"], *record["lines"]]
    )
    return text.getvalue()


def _run(run: dict[str, Any]) -> str:
    epochs = [] if run["epochs"] is None else [f"{run['epochs']} epochs"]
    detail = ", ".join([*epochs, *run["settings"]])
    return f"{run['method']} ({detail})" if detail else run["method"]


def _settings(command: str) -> list[str]:
    """What a command changes of its preset, such as init=kmeans."""
    words = (word[2:] for word in shlex.split(command) if word.startswith("--"))
    return [word for word in words if word.partition("=")[0] not in _NO_SETTINGS]


def _provenances(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Where the data come from; of many that differ in places alone, one a data set."""
    told = _each(run["data"] for run in runs)
    if len(told) <= _FEW:
        return told
    return list({run["dataset"]: run["data"] for run in runs}.values())


def _each(texts: Iterable[str]) -> list[str]:
    """Each text once, in their order."""
    return list(dict.fromkeys(texts))
