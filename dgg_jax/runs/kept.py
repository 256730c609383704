"""What a run keeps of itself in its folder, and whether it is what was written."""

import hashlib
import json
import pathlib
from typing import Any

from dgg_jax import checks
from dgg_jax.log import LOGGER
from dgg_jax.storage import folders, signed
from dgg_jax.storage.arrays import read_bytes

CONFIG, RESULT, METRICS, PREDICTIONS = (
    "config.json",
    "result.json",
    "metrics.jsonl",
    "predictions.npz",
)
# Of which it is told whether they are whole, as of checkpoints.
_COPY = pathlib.Path("checkpoints", CONFIG)
_CHECKSUMS = pathlib.Path("checkpoints", "checksums.json")
_DAMAGES = (OSError, ValueError, LookupError, TypeError, RecursionError)


class Damaged(checks.InvalidInput):
    """A file is not what the run has written.

    Attributes:
      path: of the file.
    """

    def __init__(self, path: pathlib.Path, problem: Any):
        super().__init__(
            f"{path} is damaged ({problem}); --resume of the run writes it anew from "
            "its checkpoints."
        )
        self.path = path


def write_config(workdir: pathlib.Path, identity: dict[str, Any]) -> None:
    """Writes config.json; ``Run`` keeps a copy of it beside the checkpoints.

    Args:
      workdir: of the run, locked.
      identity: as ``Config.identity``.

    Raises:
      OSError: if it cannot be written.
    """
    folders.write_atomically(workdir / CONFIG, _text(identity))


def read_config(workdir: pathlib.Path, *, tell: bool = True) -> dict[str, Any] | None:
    """What the run in a folder was told; None if nothing has begun there.

    Args:
      workdir: of a run; need not exist.
      tell: whether a warning shall say that the copy serves in place of config.json.

    Raises:
      InvalidInput: if it holds anything else, or cannot be read.
    """
    path = workdir / CONFIG
    copy, problem = None, None
    try:
        copy = json.loads(read_bytes(workdir / _COPY))
        if not signed.verify(copy):
            copy = None
    except _DAMAGES:  # there is no checkpoint yet, or it is damaged
        copy = None
    try:
        told = json.loads(read_bytes(path))
    except _DAMAGES as error:
        told, problem = None, error
    if copy is not None:
        if told != copy and tell:
            LOGGER.warning(
                f"{path} is damaged or missing; its copy {workdir / _COPY} is used."
            )
        return copy
    if isinstance(problem, FileNotFoundError | NotADirectoryError):
        if workdir.exists() and not folders.is_unused(workdir):
            raise checks.InvalidInput(
                f"{workdir} is not empty and holds no run of this program; choose "
                "another --workdir."
            )
        return None
    if problem is not None:
        raise checks.InvalidInput(
            f"workdir {workdir} cannot be used: {path} cannot be read ({problem}); "
            "bring it back or choose another --workdir."
        )
    if not isinstance(told, dict) or "preset_values" not in told:
        raise checks.InvalidInput(
            f"{path} is not of this program; choose another --workdir."
        )
    return told


def write_result(workdir: pathlib.Path, result: dict[str, Any]) -> None:
    """Writes result.json, which says that a run is finished and what belongs to it.

    Args:
      workdir: of the run, which all else has been written to.
      result: as ``results.collect`` makes it.

    Raises:
      OSError: if it cannot be written.
    """
    names, text = (CONFIG, METRICS, PREDICTIONS), _text(result)
    checksums = {name: _checksum(workdir / name) for name in names}
    checksums[RESULT] = hashlib.sha256(text.encode()).hexdigest()
    (workdir / _CHECKSUMS).parent.mkdir(exist_ok=True)
    folders.write_atomically(workdir / _CHECKSUMS, _text(signed.sign(checksums)))
    folders.write_atomically(workdir / RESULT, text)


def read_result(workdir: pathlib.Path) -> dict[str, Any] | None:
    """The content of result.json; None if the run is not finished.

    Args:
      workdir: of a run.

    Raises:
      Damaged: if it, or what belongs to it, is not what the run has written.
    """
    path = workdir / RESULT
    if not path.exists():
        return None
    try:
        result = json.loads(read_bytes(path))
        kinds = type(result["stages"]), type(result["final"])
        if kinds != (list, dict):
            raise ValueError("it has no list of stages, or no final scores")
    except _DAMAGES as error:
        raise Damaged(path, error) from error
    for name, checksum in _checksums(workdir).items():
        if _checksum(workdir / name) != checksum:
            raise Damaged(workdir / name, "it is not what the run has written")
    return result


def _checksums(workdir: pathlib.Path) -> dict[str, str | None]:
    """Of the files that belong to a result; empty if they are not known."""
    try:
        checksums = json.loads(read_bytes(workdir / _CHECKSUMS))
        signed.verify(checksums)
    except _DAMAGES:
        return {}
    return checksums


def _checksum(path: pathlib.Path) -> str | None:
    """Of a file; None if there is none."""
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except OSError:
        return None


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"
