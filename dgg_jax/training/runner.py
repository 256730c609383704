"""The one runner: stages in order, with checkpoints, metrics and callbacks."""

import hashlib
import itertools
import json
import pathlib
import time
import weakref
from collections.abc import Callable
from typing import IO, Any

import jax
import jax.numpy as jnp
import numpy as np

from dgg_jax.log import LOGGER
from dgg_jax.placement import forks, memory, processes
from dgg_jax.storage import folders
from dgg_jax.storage.arrays import read_bytes
from dgg_jax.storage.checkpoints import Checkpoints
from dgg_jax.storage.folders import write_atomically
from dgg_jax.storage.signed import sign
from dgg_jax.training.loop import Diverged, Monitor
from dgg_jax.training.state import TrainState

State = dict[str, Any]  # nested dicts of arrays: what a stage hands to the next
Metrics = dict[str, Any]

_FINISHED = "stages"  # the series of checkpoints with the state after a stage


class Interrupted(Exception):
    """A run was asked to stop; its state is in a checkpoint if it has a workdir."""


class Run(Monitor):
    """Runs stages one after the other and loses nothing when it is killed.

    With a workdir, the state after every stage, and within a stage that of every loop
    at least ``checkpoint_seconds`` apart, goes into checkpoints; constructing a Run on
    the same workdir continues from the newest that is whole. metrics.jsonl gets one
    line an epoch. Until ``close``, no other run can open the workdir.

    Of several processes, which all do the same, the first reads, writes, calls back and
    decides; each of them can be asked to stop.

    Attributes:
      workdir: folder of checkpoints/ and metrics.jsonl; None keeps nothing on disk.
      identity: what the run is, if it was told.
      records: name, seconds, peaks of memory so far and metrics of every finished
        stage.
      history: the lines of metrics.jsonl so far.
    """

    def __init__(
        self,
        workdir: pathlib.Path | None = None,
        *,
        shared: pathlib.Path | None = None,
        on_lock: Callable[[], None] = lambda: None,
        identity: dict[str, Any] | None = None,
        checkpoint_seconds: float = 30.0,
        on_epoch: Callable[[str, str, int, int, Metrics], bool | None] | None = None,
        on_stage: Callable[[Metrics], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ):
        """Opens a run.

        Args:
          workdir: folder to keep the run in, or None.
          shared: folder of what runs on the same data have in common, or None.
          on_lock: called as soon as the workdir is locked, before it is read.
          identity: what the run is, as JSON holds it; kept beside the checkpoints in
            config.json, under a checksum.
          checkpoint_seconds: least time between two checkpoints of a loop.
          on_epoch: called with (stage, loop, epoch, number of epochs, metrics); True
            ends that loop, and the run goes on with what it has trained.
          on_stage: called with the record of every stage that finishes.
          should_stop: asked after every epoch and stage; True saves a checkpoint and
            raises Interrupted.

        Raises:
          Forked: if jax cannot compute in this process.
          InvalidInput: if another process has opened one of the folders.
          OSError: if one of them cannot be written.
        """
        forks.check()
        self.workdir = pathlib.Path(workdir) if workdir is not None else None
        self.records: list[Metrics] = []
        self.history: list[Metrics] = []
        self.identity = identity
        self._checkpoint_seconds = checkpoint_seconds
        self._on_epoch = on_epoch or (lambda *arguments: None)
        self._on_stage = on_stage or (lambda record: None)
        self._should_stop = should_stop
        self._started: list[str] = []
        self._kept_identity: dict[str, Any] | None = None
        self._found, self._told = "", False  # metrics.jsonl as it was, and is damaged
        self._state: State = {}
        self._locks: list[tuple[pathlib.Path, IO[str]]] = []
        self._checkpoints = self._shared = None
        try:
            self._open(shared, on_lock)
        except BaseException:
            self.close()
            raise

    def _open(self, shared: pathlib.Path | None, on_lock: Callable[[], None]) -> None:
        """Locks the folders and continues from what they hold."""
        processes.on_first(lambda: self._lock(self.workdir))
        processes.on_first(on_lock)
        processes.on_first(lambda: self._lock(shared))  # which may lie in the other
        if shared is not None:
            self._shared = Checkpoints(shared)
            self._shared.discard_partial()
        if self.workdir is None:
            return
        self._checkpoints = Checkpoints(self.workdir / "checkpoints")
        self._checkpoints.discard_partial()
        restored = self._checkpoints.restore(_FINISHED)
        self._found = processes.on_first(self._read_history)
        self.history = _lines(self._found)
        if restored is not None:
            _, self._state, record = restored
            self.records = record["records"]
            self._recover(record)
        finished = [record["name"] for record in self.records]
        self._delete_loops(lambda stage: stage in finished)

    def _lock(self, folder: pathlib.Path | None) -> None:
        if folder is not None:
            folder = pathlib.Path(folder)
            lock = folders.lock(folder)
            self._locks.append((folder, lock))
            weakref.finalize(self, lock.close)  # nobody may call close

    def apart(self) -> "Run":
        """A run in memory, within this one, that is asked to stop when it is."""
        return Run(should_stop=self._should_stop)

    def check_folders(self) -> None:
        """Refuses to go on where a folder was deleted or replaced meanwhile.

        Raises:
          OSError: naming the folder, which would be made anew with the rest of the run.
        """
        for folder, lock in self._locks:
            folders.check_held(folder, lock)

    def stage(
        self, name: str, function: Callable[..., tuple[State, Metrics]], *arguments: Any
    ) -> State:
        """Runs a stage, or returns its state from the checkpoint if it has finished.

        Args:
          name: of the stage, unique in the run.
          function: from the arguments to (new entries of the state, metrics).
          *arguments: the last is the state, nested dicts of arrays.

        Returns:
          The state with the new entries, as numpy arrays.

        Raises:
          Interrupted: if the run was asked to stop.
          Diverged: if a loss is not finite; the message names the stage.
          OSError: if the workdir cannot be written; what it held before is whole.
        """
        self._started.append(name)
        # A run goes through the same stages every time.
        if len(self._started) <= len(self.records):
            return self._state
        # Later stages are there if the checkpoint after this one was damaged.
        self._delete_loops(lambda stage: stage != name)
        self._cut_history(lambda line: line["stage"] not in self._started)
        self._seconds_before = 0.0  # of this stage, in sessions that were killed
        self._began = self._saved = time.monotonic()
        try:
            entries, metrics = function(*arguments)
        except Diverged as error:
            raise Diverged(f"{error} of stage {name}") from None
        for entry, values in entries.items():
            # The last update of a loop is seen here first. -inf is ln 0 of a gamma.
            if any(np.isnan(leaf).any() for leaf in jax.tree.leaves(values)):
                raise Diverged(f"{entry} is not finite at the end of stage {name}")
        state = _on_host({**arguments[-1], **entries})
        record = {
            "name": name,
            "seconds": round(self._seconds(), 3),
            "peak_memory_mib": memory.peak_memory_mib(),
            "peak_device_memory_mib": memory.peak_device_memory_mib(),
            **metrics,
        }
        # What K-means and the like have found may differ from machine to machine.
        self._state, record = processes.on_first(lambda: (state, record))
        self.records.append(record)
        if self._checkpoints is not None:
            number = len(self.records)
            self._save(_FINISHED, number, self._state, {"records": self.records})
            self._delete_loops(lambda stage: stage == name)
        memory.return_freed()
        processes.on_first(lambda: self._on_stage(record))
        self._stop_if_asked()
        return self._state

    def restore(self, loop: str, state: TrainState) -> tuple[TrainState, int]:
        """Returns the state of the loop's newest checkpoint and its finished epochs."""
        epoch = 0
        if self._checkpoints is not None:
            restored = self._checkpoints.restore(self._series(loop), state)
            if restored is not None:
                epoch, state, record = restored
                state = jax.tree.map(jnp.asarray, state)
                self._recover(record)
                self._seconds_before = record["seconds"]
                self._began = time.monotonic()
        this = self._started[-1], loop
        self._cut_history(
            lambda line: (line["stage"], line["loop"]) == this and line["epoch"] > epoch
        )
        return state, epoch

    def epoch_end(
        self,
        loop: str,
        epoch: int,
        num_epochs: int,
        state: TrainState,
        metrics: Metrics,
    ) -> bool:
        """Logs an epoch and saves a checkpoint when one is due."""
        stage = self._started[-1]
        # A list has a value for each restart; of one restart, that value.
        metrics = {
            name: value[0] if isinstance(value, list) and len(value) == 1 else value
            for name, value in metrics.items()
        }
        line = {"stage": stage, "loop": loop, "epoch": epoch, **metrics}
        self.history.append(line)

        def decide():
            if self.workdir is not None:
                self.check_folders()
                self._write_history()
            enough = bool(self._on_epoch(stage, loop, epoch, num_epochs, metrics))
            due = time.monotonic() - self._saved >= self._checkpoint_seconds
            return enough, due

        enough, due = processes.on_first(decide)
        stop = processes.anywhere(self._should_stop)
        if self._checkpoints is not None and (due or stop or epoch == num_epochs):
            record = {"seconds": self._seconds()}
            self._save(self._series(loop), epoch, state, record)
            self._saved = time.monotonic()
        if stop:  # not asked again: what arrived since has no checkpoint yet
            raise Interrupted
        return enough

    def remember(
        self, name: str, compute: Callable[[], dict[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """Computes arrays once in a run, however often it is killed."""
        if self._checkpoints is None:
            return _of_first(compute())
        restored = self._checkpoints.restore(self._series(name))
        if restored is not None:
            _, arrays, record = restored
            self._recover(record)
            self._seconds_before = record["seconds"]
            self._began = time.monotonic()
            return arrays
        arrays = _of_first(compute())
        record = {"seconds": self._seconds()}
        self._save(self._series(name), 0, arrays, record)
        self._stop_if_asked()
        return arrays

    def share(
        self,
        name: str,
        identity: dict[str, Any],
        compute: Callable[[], dict[str, Any]],
    ) -> dict[str, Any]:
        """Computes arrays once for all runs that share a folder.

        The stage's seconds contain those of the computation, also where it is found
        done: they are what the method costs by itself.

        Args:
          name: of the result.
          identity: everything that the result depends on but the data.
          compute: makes nested dicts of arrays.
        """
        if self._shared is None:
            return _of_first(compute())
        text = json.dumps(identity, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]  # tells enough apart
        series = f"{name}-{digest}"
        restored = self._shared.restore(series)
        if restored is not None:
            _, arrays, record = restored
            self._seconds_before += record["seconds"]
            return arrays
        began = self._seconds()
        arrays = _of_first(compute())
        seconds = self._seconds() - began
        record = {"identity": identity, "seconds": seconds}
        processes.on_first(self.check_folders)
        self._shared.save(series, 0, arrays, record)
        return _on_host(arrays)

    def progress(self, name: str, done: int, total: int) -> None:
        """Shows the progress of a computation that is no training loop."""
        stage = self._started[-1]
        processes.on_first(lambda: self._on_epoch(stage, name, done, total, {}))
        self._stop_if_asked()

    def epochs_of(self, loop: str) -> list[Metrics]:
        """The lines of the epochs of a loop of this stage."""
        this = self._started[-1], loop
        return [one for one in self.history if (one["stage"], one["loop"]) == this]

    def close(self) -> None:
        """Lets go of the folders."""
        for checkpoints in (self._checkpoints, self._shared):
            if checkpoints is not None:
                checkpoints.close()
        for _, lock in self._locks:
            lock.close()

    def _series(self, name: str) -> str:
        return f"{self._started[-1]}.{name}"

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._began

    def _stop_if_asked(self) -> None:
        if processes.anywhere(self._should_stop):
            raise Interrupted

    def _delete_loops(self, is_stale: Callable[[str], bool]) -> None:
        """Deletes the checkpoints within stages whose name is stale."""
        if self._checkpoints is None:
            return
        for series in self._checkpoints.series():
            if series != _FINISHED and is_stale(series.split(".")[0]):
                self._checkpoints.delete(series)

    def _cut_history(self, is_first: Callable[[Metrics], bool]) -> None:
        """Drops the first such line and all after it: those epochs are run again."""
        number = next(
            (n for n, line in enumerate(self.history) if is_first(line)), None
        )
        if number is None:
            return
        kept, dropped = self.history[:number], self.history[number:]
        # Loops that came later go too, and before their lines: a kill in between must
        # not leave a loop without its lines.
        later = {
            (line["stage"], line["loop"]) for line in dropped if not is_first(line)
        }
        for stage, loop in later:
            self._checkpoints.delete(f"{stage}.{loop}")
        self.history = kept
        processes.on_first(self._write_history)

    def _save(self, series: str, step: int, tree: Any, record: Metrics) -> None:
        """Saves a checkpoint, which holds the lines of metrics.jsonl, too."""
        processes.on_first(self._before_checkpoint)
        record = {**record, "history": _text(self.history)}
        self._checkpoints.save(series, step, tree, record)

    def _before_checkpoint(self) -> None:
        self.check_folders()
        if self.identity not in (None, self._kept_identity):
            path = self._checkpoints.directory / "config.json"
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, json.dumps(sign(self.identity), indent=2) + "\n")
            self._kept_identity = self.identity

    def _recover(self, record: Metrics) -> None:
        """Takes the lines that a checkpoint holds where metrics.jsonl has lost them."""
        if self._found.startswith(record["history"]):
            return
        processes.on_first(self._tell_damage)
        self._found = record["history"]
        self.history = _lines(self._found)
        processes.on_first(self._write_history)

    def _tell_damage(self) -> None:
        if not self._told:
            path = self.workdir / "metrics.jsonl"
            LOGGER.warning(
                f"{path} is damaged or missing; its lines are restored from the "
                "checkpoints."
            )
        self._told = True

    def _read_history(self) -> str:
        """The text of metrics.jsonl, as far as it is whole."""
        path = self.workdir / "metrics.jsonl"
        try:
            content = read_bytes(path)
        except FileNotFoundError:
            return ""
        except OSError:  # it is no file
            self._tell_damage()
            return ""
        whole = list(itertools.takewhile(_is_line, content.splitlines(keepends=True)))
        text = b"".join(whole).decode()
        if len(text.encode()) < len(content):
            self._tell_damage()
            write_atomically(path, text)
        return text

    def _write_history(self) -> None:
        # Replaced, not appended to: a kill or a full disk would tear the line.
        write_atomically(self.workdir / "metrics.jsonl", _text(self.history))


def _on_host(tree: Any) -> Any:
    return jax.tree.map(np.asarray, jax.device_get(tree))


def _of_first(arrays: Any) -> Any:
    """What process 0 has computed, which may differ in the last bits elsewhere."""
    if jax.process_count() == 1:
        return arrays
    return processes.on_first(lambda: _on_host(arrays))


def _text(lines: list[Metrics]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def _lines(text: str) -> list[Metrics]:
    return [json.loads(line) for line in text.splitlines()]


def _is_line(content: bytes) -> bool:
    """Whether it is a line that ``epoch_end`` writes."""
    try:
        line = json.loads(content)
        kinds = [type(line[name]) for name in ("stage", "loop", "epoch")]
    except (ValueError, LookupError, TypeError, RecursionError):
        return False
    return kinds == [str, str, int] and content == json.dumps(line).encode() + b"\n"
