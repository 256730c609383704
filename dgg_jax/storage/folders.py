"""Folders that one process at a time works in, and files that are whole."""

import os
import pathlib
import shutil
from typing import IO

from dgg_jax import checks

try:
    import fcntl
except ImportError:  # Windows: nothing is refused there
    fcntl = None

LOCK = ".lock"


def lock(folder: pathlib.Path) -> IO[str]:
    """Makes a folder, and keeps other processes out of it.

    Args:
      folder: to be worked in.

    Returns:
      An open file: closing it, or the end of the process, a SIGKILL included, lets the
      folder go. The file itself stays.

    Raises:
      InvalidInput: if the folder is in use; the message says by which process.
      OSError: if it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Not "w": whose it is, if another's, is read from it.
    file = open(folder / LOCK, "a+")  # noqa: SIM115
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        return file
    except BlockingIOError:
        file.seek(0)
        holder = file.read()
        file.close()
        raise checks.InvalidInput(
            f"{folder} is in use by process {holder}; wait for its end, stop it, or "
            "choose another folder."
        ) from None


def is_unused(folder: pathlib.Path, marker: str) -> bool:
    """Whether a folder is absent or holds nothing but traces of a start.

    Args:
      folder: where something is to be kept.
      marker: the file that will say what.
    """
    traces = {LOCK, f"{marker}.partial"}
    return not folder.is_dir() or {path.name for path in folder.iterdir()} <= traces


def clear(folder: pathlib.Path, marker: str) -> None:
    """Deletes all that a folder holds but its lock.

    Results go first and the marker last: what a SIGKILL leaves does not pass for
    finished, and still says what it is a part of.

    Args:
      folder: that this process has locked.
      marker: the file that says what the folder holds.
    """

    def order(path: pathlib.Path) -> tuple[bool, bool]:  # False comes before True
        return path.name == marker, path.name != "result.json"

    for path in sorted(folder.iterdir(), key=order):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def write_atomically(path: pathlib.Path, content: str | bytes) -> None:
    """Replaces a file; a reader, or a crash, sees the old content or the new.

    Args:
      path: the file.
      content: all of it.

    Raises:
      OSError: if it cannot be written; the old content stays.
    """
    temporary = path.with_name(path.name + ".partial")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)
    except OSError as error:
        error.filename = str(path)  # a full disk names none
        raise
    finally:
        temporary.unlink(missing_ok=True)
