"""What the committed outputs say of where they are from."""

from typing import Any


def heading(record: dict[str, Any]) -> str:
    """The first lines of an output, of ``runs.origin`` or of a result.json."""
    versions = ", ".join(f"{name} {v}" for name, v in record["versions"].items())
    return (
        f"command   {record['command']}\ncommit    {record['git_revision']}\n"
        f"versions  {versions}\ndevice    {record['device']}\n"
    )
