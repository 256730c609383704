"""Atomic checkpoints of pytrees by orbax."""

import pathlib
import shutil
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp


class Checkpoints:
    """Named series of checkpoints in one folder; a half-written one is never seen.

    Attributes:
      directory: the folder; a series is a subfolder, a checkpoint a folder in that.
    """

    def __init__(self, directory: pathlib.Path):
        self.directory = pathlib.Path(directory).absolute()
        self._managers: dict[str, ocp.CheckpointManager] = {}

    def _manager(self, series: str) -> ocp.CheckpointManager:
        if series not in self._managers:
            options = ocp.CheckpointManagerOptions(
                max_to_keep=1,
                enable_async_checkpointing=False,
                cleanup_tmp_directories=True,
            )
            self._managers[series] = ocp.CheckpointManager(
                self.directory / series, options=options
            )
        return self._managers[series]

    def save(self, series: str, step: int, tree: Any, record: Any) -> None:
        """Saves a pytree of arrays and a JSON record; the step before is then deleted.

        Args:
          series: name of the series.
          step: number of the checkpoint; grows along a series.
          tree: pytree of arrays.
          record: anything JSON holds.
        """
        arguments = ocp.args.Composite(
            tree=ocp.args.PyTreeSave(jax.device_get(tree)),
            record=ocp.args.JsonSave(record),
        )
        self._manager(series).save(step, args=arguments, force=True)

    def restore(self, series: str, template: Any = None) -> tuple[int, Any, Any] | None:
        """Loads the newest checkpoint of a series.

        Args:
          series: name of the series.
          template: a pytree of the saved structure; without one, nested dicts of numpy
            arrays come back.

        Returns:
          (step, tree, record), or None if the series is empty.
        """
        if not (self.directory / series).is_dir():
            return None
        manager = self._manager(series)
        step = manager.latest_step()
        if step is None:
            return None
        restore_tree = ocp.args.PyTreeRestore()
        if template is not None:
            template = jax.tree.map(np.asarray, jax.device_get(template))
            restore_args = ocp.checkpoint_utils.construct_restore_args(template)
            restore_tree = ocp.args.PyTreeRestore(template, restore_args=restore_args)
        restored = manager.restore(
            step,
            args=ocp.args.Composite(tree=restore_tree, record=ocp.args.JsonRestore()),
        )
        return step, jax.tree.map(np.asarray, restored.tree), restored.record

    def delete(self, series: str) -> None:
        """Deletes a series, if it exists."""
        manager = self._managers.pop(series, None)
        if manager is not None:
            manager.close()
        shutil.rmtree(self.directory / series, ignore_errors=True)

    def series(self) -> list[str]:
        """Names of the series on disk."""
        if not self.directory.is_dir():
            return []
        return sorted(path.name for path in self.directory.iterdir() if path.is_dir())

    def close(self) -> None:
        """Lets go of the folder."""
        for manager in self._managers.values():
            manager.close()
        self._managers.clear()
