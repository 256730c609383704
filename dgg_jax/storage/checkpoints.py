"""Atomic checkpoints of pytrees by orbax."""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from dgg_jax.log import LOGGER
from dgg_jax.placement import devices, processes

_KEPT = 2  # checkpoints of a series: should the newest be damaged, there is another


class Checkpoints:
    """Named series of checkpoints in one folder; a half-written one is never seen.

    The last two of a series are kept. One that is damaged, even by a single flipped
    bit, is passed over for the one before it. Of several processes, which all call the
    same methods, the first reads and writes; the number of devices leaves no trace.

    Attributes:
      directory: the folder; a series is a subfolder, a checkpoint a folder in that.
    """

    def __init__(self, directory: pathlib.Path):
        self.directory = pathlib.Path(directory).absolute()  # orbax takes no other
        self._checkpointer = _checkpointer() if processes.is_first() else None
        self._damaged: dict[str, list[pathlib.Path]] = {}

    def save(self, series: str, step: int, tree: Any, record: Any) -> None:
        """Saves a pytree of arrays and a JSON record.

        Damaged checkpoints that ``restore`` passed over are then deleted, and all but
        the last two.

        Args:
          series: name of the series.
          step: number of the checkpoint; grows along a series.
          tree: pytree of arrays.
          record: anything JSON holds.

        Raises:
          OSError: if it cannot be written; the checkpoint before it stays.
        """
        tree = devices.gather(tree)
        processes.on_first(lambda: self._save(series, step, tree, record))

    def _save(self, series: str, step: int, tree: Any, record: Any) -> None:
        signed = {"sha256": _digest(tree, record), "record": record}
        folder = self.directory / series / str(step)
        try:
            for damaged in self._damaged.pop(series, []):
                shutil.rmtree(damaged)
            with _plain(folder) as plain:
                self._checkpointer.save(
                    plain,
                    args=ocp.args.Composite(
                        tree=ocp.args.PyTreeSave(tree), record=ocp.args.JsonSave(signed)
                    ),
                )
            for old in self._newest_first(series)[_KEPT:]:
                shutil.rmtree(old)
        except (OSError, ValueError) as error:  # tensorstore raises the latter
            self.discard_partial()
            number = _os_error_number(error)
            if number is None:
                raise
            raise OSError(
                number,
                f"{os.strerror(number)}; the checkpoint before this one is whole. Free "
                "space or make the folder writable, then resume",
                str(folder),
            ) from error

    def restore(self, series: str, template: Any = None) -> tuple[int, Any, Any] | None:
        """Loads the newest checkpoint of a series that is whole.

        A warning names each that is not. They are deleted when the next one is saved.

        Args:
          series: name of the series.
          template: a pytree of the saved structure; without one, nested dicts of numpy
            arrays come back.

        Returns:
          (step, tree, record), or None if the series has no whole checkpoint.
        """
        return processes.on_first(lambda: self._newest_whole(series, template))

    def _newest_whole(self, series, template) -> tuple[int, Any, Any] | None:
        self._damaged[series] = []
        for folder in self._newest_first(series):
            try:
                return int(folder.name), *self._load(folder, template)
            except Exception as error:  # damage has too many faces to name
                LOGGER.warning(
                    "The checkpoint %s is damaged (%s: %s); falling back to the one "
                    "before it, or to the beginning.",
                    folder,
                    type(error).__name__,
                    (str(error).splitlines() or [""])[0],
                )
                self._damaged[series].append(folder)
        return None

    def _load(self, folder: pathlib.Path, template: Any) -> tuple[Any, Any]:
        for path in folder.rglob("*"):
            if not (path.is_file() or path.is_dir()):  # a pipe would never end
                raise ValueError(f"{path.relative_to(folder)} is no file")
        restore_tree = ocp.args.PyTreeRestore()
        if template is not None:
            # As numpy's: of jax's arrays orbax would restore devices and sharding, too.
            template = jax.tree.map(np.asarray, jax.device_get(template))
            restore_args = ocp.checkpoint_utils.construct_restore_args(template)
            restore_tree = ocp.args.PyTreeRestore(template, restore_args=restore_args)
        args = ocp.args.Composite(tree=restore_tree, record=ocp.args.JsonRestore())
        with _plain(folder) as plain:
            restored = self._checkpointer.restore(plain, args=args)
        tree, signed = jax.tree.map(np.asarray, restored.tree), restored.record
        # orbax does not notice most flipped bits.
        if signed["sha256"] != _digest(tree, signed["record"]):
            raise ValueError("its content is not what was saved")
        return tree, signed["record"]

    def delete(self, series: str) -> None:
        """Deletes a series, if it exists."""
        self._damaged.pop(series, None)
        if processes.is_first():
            shutil.rmtree(self.directory / series, ignore_errors=True)

    def discard_partial(self) -> None:
        """Deletes what saves that did not come to their end have left."""
        if not processes.is_first():
            return
        for folder in self.directory.glob("*/*.orbax-checkpoint-tmp*"):
            shutil.rmtree(folder, ignore_errors=True)

    def series(self) -> list[str]:
        """Names of the series on disk."""
        if not self.directory.is_dir():
            return []
        return sorted(path.name for path in self.directory.iterdir() if path.is_dir())

    def close(self) -> None:
        """Lets go of what orbax holds."""
        if self._checkpointer is not None:
            self._checkpointer.close()

    def _newest_first(self, series: str) -> list[pathlib.Path]:
        folders = (self.directory / series).glob("*/")
        # What a save leaves half-written has a suffix of orbax.
        steps = [folder for folder in folders if folder.name.isdecimal()]
        return sorted(steps, key=lambda folder: -int(folder.name))


def _checkpointer() -> ocp.Checkpointer:
    """One that waits for no other process."""
    if jax.process_count() == 1:
        return ocp.Checkpointer(ocp.CompositeCheckpointHandler())
    alone = ocp.options.MultiprocessingOptions(
        active_processes={0}, barrier_sync_key_prefix="first"
    )
    handler = ocp.CompositeCheckpointHandler(
        composite_options=ocp.CompositeOptions(multiprocessing_options=alone),
        tree=ocp.PyTreeCheckpointHandler(multiprocessing_options=alone),
        record=ocp.JsonCheckpointHandler(multiprocessing_options=alone),
    )
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


@contextlib.contextmanager
def _plain(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """A path of the folder that orbax understands, whatever its name is.

    It takes brackets for patterns, "gs:/" for a server and backslashes for slashes, and
    names must be text. Past any such thing it is led by a link.
    """
    if _is_plain(folder):
        yield folder
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    places = map(pathlib.Path, (tempfile.gettempdir(), "/tmp"))  # TMPDIR may be odd too
    with tempfile.TemporaryDirectory(dir=next(filter(_is_plain, places))) as made:
        link = pathlib.Path(made, "link")
        link.symlink_to(folder.parent, target_is_directory=True)
        yield link / folder.name


def _is_plain(path: pathlib.Path) -> bool:
    names = path.relative_to(path.anchor).as_posix()
    return re.fullmatch(r"[\w./-]*", names, re.ASCII) is not None


def _digest(tree: Any, record: Any) -> str:
    """A checksum of all arrays, in any order, and of the record."""
    leaves = []
    for leaf in map(np.asarray, jax.tree.leaves(tree)):
        described = hashlib.sha256(f"{leaf.dtype} {leaf.shape} ".encode())
        described.update(leaf.tobytes())
        leaves.append(described.hexdigest())
    # A template orders the leaves in its own way.
    text = json.dumps([sorted(leaves), record])
    return hashlib.sha256(text.encode()).hexdigest()


def _os_error_number(error: Exception) -> int | None:
    """The number of the operating system's error behind one of orbax."""
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"(?:os_error_code='|OS error )(\d+)", str(error))
    return int(found[1]) if found else None
