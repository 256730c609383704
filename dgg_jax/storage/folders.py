"""Folders that one process at a time works in, and files that are whole."""

import contextlib
import errno
import os
import pathlib
import secrets
import shutil
from collections.abc import Iterator
from typing import IO

from dgg_jax import checks

try:
    import fcntl
except ImportError:  # Windows: nothing is refused there
    fcntl = None

LOCK = ".lock"
_PARTIAL = ".dgg-{}.partial"
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # where there are none, none is followed


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
    # A link that someone has put there would have its target overwritten; and not "w":
    # whose it is, if another's, is read from it.
    flags = os.O_RDWR | os.O_CREAT | _NO_LINK
    file = open(os.open(folder / LOCK, flags, 0o666), "r+")  # noqa: SIM115
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        return file
    except BlockingIOError:
        holder = file.read()
        file.close()
        raise checks.InvalidInput(
            f"{folder} is in use by process {holder}; wait for its end, stop it, or "
            "choose another folder."
        ) from None


@contextlib.contextmanager
def alone(folder: pathlib.Path) -> Iterator[None]:
    """Waits for others that work in a folder; nothing there shows it.

    Args:
      folder: that exists.
    """
    if fcntl is None:
        yield
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # not every file system locks folders
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def check_held(folder: pathlib.Path, held: IO[str]) -> None:
    """Refuses to go on in a folder that was deleted, moved or replaced.

    Args:
      folder: that was locked.
      held: what ``lock`` has returned.

    Raises:
      OSError: if it is no longer the folder that was locked.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if os.path.samestat(os.stat(folder / LOCK), os.fstat(held.fileno())):
            return
    raise OSError(
        errno.ENOENT, "it has vanished, or was replaced, while in use", str(folder)
    )


def is_unused(folder: pathlib.Path) -> bool:
    """Whether a folder is absent or holds nothing but traces of a start."""
    return not folder.is_dir() or all(
        path.name == LOCK or path.match(_PARTIAL.format("*"))
        for path in folder.iterdir()
    )


def lies_in(path: pathlib.Path, other: pathlib.Path) -> bool:
    """Whether a path is another one, or lies in it, under whatever name.

    Args:
      path: of a file or folder that need not exist.
      other: of one that exists.
    """
    path = path.resolve()
    for one in (path, *path.parents):
        if one.exists() and one.samefile(other):
            return True
    # A file may have names in several folders.
    if not path.is_file() or path.stat().st_nlink == 1:
        return False
    return any(path.samefile(file) for file in other.rglob("*") if file.is_file())


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
    with partial(path) as made:
        try:
            made.write_bytes(content.encode() if isinstance(content, str) else content)
            os.replace(made, path)
        except OSError as error:
            error.filename = str(path)  # a full disk names none
            raise


@contextlib.contextmanager
def partial(path: pathlib.Path, *, is_folder: bool = False) -> Iterator[pathlib.Path]:
    """A new file or folder beside a path, to take its name when it is whole.

    Nobody can foretell its name, and it is never one that was there. It is deleted in
    the end, if it still has that name; those of processes that were killed, which
    nobody holds any more, are deleted before.

    Args:
      path: that it is to become.
      is_folder: whether it is a folder.

    Raises:
      OSError: if it cannot be made.
    """
    _delete_left(path.parent)
    try:
        made, held = _made_and_held(path.parent, is_folder)
    except OSError as error:
        error.filename = str(path)
        raise
    try:
        yield made
    finally:
        if is_folder:
            shutil.rmtree(made, ignore_errors=True)
        else:
            made.unlink(missing_ok=True)
        if held is not None:
            os.close(held)


def _made_and_held(
    folder: pathlib.Path, is_folder: bool
) -> tuple[pathlib.Path, int | None]:
    """A new file or folder, and what is to be closed when it may be deleted."""
    while True:
        made = folder / _PARTIAL.format(secrets.token_hex(8))
        if is_folder:
            made.mkdir()
        else:
            made.touch(exist_ok=False)
        if fcntl is None:
            return made, None
        # Another process may take it for left over before it is held.
        with contextlib.suppress(FileNotFoundError):
            held = _opened(made)
            with contextlib.suppress(OSError):  # not every file system has locks
                fcntl.flock(held, fcntl.LOCK_SH)
            if made.exists():
                return made, held
            os.close(held)


def _delete_left(folder: pathlib.Path) -> None:
    """Deletes what processes that were killed have left."""
    if fcntl is None:
        return
    for path in folder.glob(_PARTIAL.format("*")):
        with contextlib.suppress(OSError):  # it is not ours, or is gone by now
            opened = _opened(path)
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            finally:
                os.close(opened)


def _opened(path: pathlib.Path) -> int:
    """Of what others have put there, pipes would block and links lead elsewhere."""
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | _NO_LINK)
