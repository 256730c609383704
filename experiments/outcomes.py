"""What a program has measured: a file with a line of JSON for each outcome.

One that is there is not computed again: the same command goes on where it was stopped.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from absl import flags

# Shared, so that programs can be imported together.
TABLES = flags.DEFINE_bool("tables", False, "Only print the tables of --output.")

Outcome = dict[str, Any]


def outcomes(path: pathlib.Path) -> list[Outcome]:
    """The lines of a file, none if it is not there."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def append(path: pathlib.Path, outcome: Mapping[str, Any]) -> None:
    """Writes a line, with six digits of every number, of which a file has thousands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(_rounded(outcome)) + "\n")


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return round(value, 6) if isinstance(value, float) else value
