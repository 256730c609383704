"""The one runner: stages in order, with checkpoints, metrics and callbacks."""

import hashlib
import json
import pathlib
import time
import weakref
from collections.abc import Callable
from typing import IO, Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from scipy import sparse
from sklearn.cluster import KMeans

from dgg_jax import checks, folders, processes
from dgg_jax.folders import write_atomically
from dgg_jax.presets import Preset
from dgg_jax.rows import HostRows, map_blocks, place, threads_for
from dgg_jax.stages import evaluate
from dgg_jax.training import Diverged, Monitor, Schedule, TrainState
from dgg_jax.training.checkpoints import Checkpoints

State = dict[str, Any]  # nested dicts of arrays: what a stage hands to the next
Metrics = dict[str, Any]

_SAMPLE = 20_000  # rows on the host, of which the report takes K-means
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
      records: name, seconds and metrics of every finished stage.
      history: the lines of metrics.jsonl so far.
    """

    def __init__(
        self,
        workdir: pathlib.Path | None = None,
        *,
        shared: pathlib.Path | None = None,
        checkpoint_seconds: float = 30.0,
        on_epoch: Callable[[str, str, int, int, Metrics], bool | None] | None = None,
        on_stage: Callable[[Metrics], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ):
        """Opens a run.

        Args:
          workdir: folder to keep the run in, or None.
          shared: folder of what runs on the same data have in common, or None.
          checkpoint_seconds: least time between two checkpoints of a loop.
          on_epoch: called with (stage, loop, epoch, number of epochs, metrics); True
            ends that loop, and the run goes on with what it has trained.
          on_stage: called with the record of every stage that finishes.
          should_stop: asked after every epoch and stage; True saves a checkpoint and
            raises Interrupted.

        Raises:
          InvalidInput: if another process has opened one of the folders.
          OSError: if one of them cannot be written.
        """
        self.workdir = pathlib.Path(workdir) if workdir is not None else None
        self.records: list[Metrics] = []
        self.history: list[Metrics] = []
        self._checkpoint_seconds = checkpoint_seconds
        self._on_epoch = on_epoch or (lambda *arguments: None)
        self._on_stage = on_stage or (lambda record: None)
        self._should_stop = should_stop
        self._started: list[str] = []
        self._state: State = {}
        self._locks: list[IO[str]] = []
        self._checkpoints = self._shared = None
        try:
            self._open(shared)
        except BaseException:
            self.close()
            raise

    def _open(self, shared: pathlib.Path | None) -> None:
        """Locks the folders and continues from what they hold."""
        processes.on_first(lambda: self._lock(self.workdir, shared))
        if shared is not None:
            self._shared = Checkpoints(shared)
            self._shared.discard_partial()
        if self.workdir is None:
            return
        self._checkpoints = Checkpoints(self.workdir / "checkpoints")
        self._checkpoints.discard_partial()
        restored = self._checkpoints.restore(_FINISHED)
        if restored is not None:
            _, self._state, self.records = restored
        finished = [record["name"] for record in self.records]
        self._delete_loops(lambda stage: stage in finished)
        path = self.workdir / "metrics.jsonl"
        self.history = processes.on_first(lambda: _read_lines(path))

    def _lock(self, *chosen: pathlib.Path | None) -> None:
        for folder in chosen:
            if folder is not None:
                self._locks.append(folders.lock(pathlib.Path(folder)))
                weakref.finalize(self, self._locks[-1].close)  # nobody may call close

    def stage(
        self,
        name: str,
        function: Callable[[State], tuple[State, Metrics]],
        state: State,
    ) -> State:
        """Runs a stage, or returns its state from the checkpoint if it has finished.

        Args:
          name: of the stage, unique in the run.
          function: from the state to (new entries of the state, metrics).
          state: nested dicts of arrays.

        Returns:
          The state with the new entries, as numpy arrays.

        Raises:
          Interrupted: if the run was asked to stop.
          Diverged: if a loss is not finite; the message names the stage.
          OSError: if the workdir cannot be written; what it held before is whole.
        """
        self._started.append(name)
        if len(self._started) <= len(self.records):
            return self._state
        # Later stages are there if the checkpoint after this one was damaged.
        self._delete_loops(lambda stage: stage != name)
        self._cut_history(lambda line: line["stage"] not in self._started)
        self._seconds_before = 0.0
        self._began = self._saved = time.monotonic()
        try:
            entries, metrics = function(state)
        except Diverged as error:
            raise Diverged(f"{error} of stage {name}") from None
        for entry, values in entries.items():
            # The last update of a loop is seen here first.
            if any(np.isnan(leaf).any() for leaf in jax.tree.leaves(values)):
                raise Diverged(f"{entry} is not finite at the end of stage {name}")
        state = _on_host({**state, **entries})
        record = {"name": name, "seconds": round(self._seconds(), 3), **metrics}
        # What K-means and the like have found may differ from machine to machine.
        self._state, record = processes.on_first(lambda: (state, record))
        self.records.append(record)
        if self._checkpoints is not None:
            number = len(self.records)
            self._checkpoints.save(_FINISHED, number, self._state, self.records)
            self._delete_loops(lambda stage: stage == name)
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
                self._seconds_before = record["seconds"]
                self._began = time.monotonic()
        place = self._started[-1], loop
        self._cut_history(
            lambda line: (
                (line["stage"], line["loop"]) == place and line["epoch"] > epoch
            )
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
                # Replaced, not appended to: a kill or a full disk would tear the line.
                path = self.workdir / "metrics.jsonl"
                before = path.read_bytes() if path.exists() else b""
                write_atomically(path, before + json.dumps(line).encode() + b"\n")
            enough = bool(self._on_epoch(stage, loop, epoch, num_epochs, metrics))
            due = time.monotonic() - self._saved >= self._checkpoint_seconds
            return enough, due

        enough, due = processes.on_first(decide)
        stop = processes.anywhere(self._should_stop)
        if self._checkpoints is not None and (due or stop or epoch == num_epochs):
            record = {"seconds": self._seconds()}
            self._checkpoints.save(self._series(loop), epoch, state, record)
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
            self._seconds_before = record["seconds"]
            self._began = time.monotonic()
            return arrays
        arrays = _of_first(compute())
        record = {"seconds": self._seconds()}
        self._checkpoints.save(self._series(name), 0, arrays, record)
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
        series = f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        restored = self._shared.restore(series)
        if restored is not None:
            _, arrays, record = restored
            self._seconds_before += record["seconds"]
            return arrays
        began = self._seconds()
        arrays = _of_first(compute())
        seconds = self._seconds() - began
        record = {"identity": identity, "seconds": seconds}
        self._shared.save(series, 0, arrays, record)
        return _on_host(arrays)

    def progress(self, name: str, done: int, total: int) -> None:
        """Shows the progress of a computation that is no training loop."""
        stage = self._started[-1]
        processes.on_first(lambda: self._on_epoch(stage, name, done, total, {}))
        self._stop_if_asked()

    def last_epoch(self, loop: str) -> Metrics:
        """The line of the last epoch of a loop of this stage; empty if it had none."""
        place = self._started[-1], loop
        lines = [one for one in self.history if (one["stage"], one["loop"]) == place]
        return lines[-1] if lines else {}

    def close(self) -> None:
        """Lets go of the folders."""
        for checkpoints in (self._checkpoints, self._shared):
            if checkpoints is not None:
                checkpoints.close()
        for lock in self._locks:
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
        text = "".join(json.dumps(line) + "\n" for line in kept)
        path = self.workdir / "metrics.jsonl"
        processes.on_first(lambda: write_atomically(path, text))


def _on_host(tree: Any) -> Any:
    return jax.tree.map(np.asarray, jax.device_get(tree))


def _of_first(arrays: Any) -> Any:
    """What process 0 has computed, which may differ in the last bits elsewhere."""
    if jax.process_count() == 1:
        return arrays
    return processes.on_first(lambda: _on_host(arrays))


# A stage draws its random numbers by its place here, whatever the method: methods that
# share a stage and a seed share its result.
_KEYS = (
    "pretrain",
    "graph",
    "initialize",
    "classifier",
    "train",
    "evaluate",
    "embed",
    "cluster",
    "num_clusters",
)


class Stages:
    """The stages of a method: from the state to (new entries of it, metrics).

    A method is a subclass with a function of the stage's name for each of ``names``.

    Attributes:
      names: of the stages, in order.
      streams: whether data may stay sparse, or on the host, until they are batches.
    """

    names: tuple[str, ...]
    streams = False

    def __init__(
        self,
        x: np.ndarray,
        preset: Preset,
        *,
        seed: int = 0,
        y: np.ndarray | None = None,
        runner: Run | None = None,
    ):
        """Checks the data.

        Args:
          x: data, float32 of shape [N, D], or a sparse matrix.
          preset: all settings.
          seed: of every random number of the run.
          y: true labels [N] for the reported metrics; nothing else sees them.
          runner: checkpoints and callbacks; by default in memory only.

        Raises:
          InvalidInput: if x cannot be clustered so.
        """
        likelihood = getattr(preset, "likelihood", None)
        if sparse.issparse(x):
            x = sparse.csr_array(x, dtype=np.float32)
            x = x if self.streams else x.toarray()
        else:
            x = np.asarray(x) if self.streams else np.ascontiguousarray(x, np.float32)
        unit_interval = likelihood == "bernoulli"
        checks.data_matrix(x, preset.num_clusters, unit_interval=unit_interval)
        if self.streams:
            x = place(
                x,
                preset.device_memory_share,
                getattr(preset, "num_neighbors", 0),
                # A variance for each column has statistics that are not sparse.
                may_stay_sparse=likelihood != "learned_gaussian",
            )
        self.x = x
        self.preset, self.seed, self.y = preset, seed, y
        precision = getattr(preset, "precision", "float32")
        if precision != "float32" and jax.default_backend() == "cpu":
            logging.warning(
                "precision=%s: a CPU computes in float32 all the same.", precision
            )
        self.runner = runner or Run()

    def run(self) -> tuple[State, list[Metrics]]:
        """Carries the data through all stages.

        Returns:
          The last state and the record of every stage.

        Raises:
          Diverged: if a loss is not finite.
          Interrupted: if the runner was asked to stop.
        """
        state = self.initial()
        for name in self.names:
            state = self.runner.stage(name, getattr(self, name), state)
        return state, self.runner.records

    def initial(self) -> State:
        """The state before the first stage."""
        return {}

    def key(self, stage: str) -> jax.Array:
        """The random key of a stage."""
        return jax.random.fold_in(jax.random.key(self.seed), _KEYS.index(stage))

    def numpy_seed(self, stage: str, restart: int = 0) -> int:
        """The seed of what numpy and scikit-learn draw in a stage."""
        entropy = (self.seed, _KEYS.index(stage), restart)
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])

    def scores(self, labels: np.ndarray) -> Metrics:
        """ACC, NMI and ARI of labels [N]; None without true ones."""
        return evaluate.label_metrics(self.y, labels)

    def outcome(
        self, labels: np.ndarray, log_assignments: np.ndarray | None = None
    ) -> Metrics:
        """What the last stage says of labels [N]: the scores, and any collapse.

        Args:
          labels: shape [N].
          log_assignments: ln gamma [N, K]; None of hard clusters.
        """
        if log_assignments is None:
            one_hot = np.eye(self.preset.num_clusters)[labels]
            with np.errstate(divide="ignore"):
                log_assignments = np.log(one_hot)
        balance = evaluate.balance_metrics(labels, log_assignments)
        return self.scores(labels) | balance

    def training_schedule(self) -> Schedule:
        """The schedule of the method's own training."""
        preset = self.preset
        return Schedule(
            preset.epochs,
            preset.batch_size,
            preset.learning_rate,
            decay=preset.decay,
            decay_epochs=preset.decay_epochs,
            weight_decay=preset.weight_decay,
            floor=getattr(preset, "learning_rate_floor", 0.0),
        )

    def kmeans_metrics(self, embedding: np.ndarray | HostRows, stage: str) -> Metrics:
        """What K-means of an embedding reaches: for the report, if there are labels.

        Of HostRows, the means are those of a sample.
        """
        if self.y is None:
            return self.scores(None)
        seed = self.numpy_seed(stage)
        kmeans = KMeans(self.preset.num_clusters, n_init=3, random_state=seed)
        if not isinstance(embedding, HostRows):
            with threads_for(len(embedding)):
                return self.scores(kmeans.fit_predict(embedding))
        sample = np.random.default_rng(seed).permutation(len(embedding))[:_SAMPLE]
        kmeans.fit(embedding[np.sort(sample)])
        return self.scores(map_blocks(kmeans.predict, embedding))


def _read_lines(path: pathlib.Path) -> list[Metrics]:
    """Lines of a metrics.jsonl; a torn last line is cut off the file."""
    if not path.exists():
        return []
    complete, _, torn = path.read_text().rpartition("\n")
    if torn:
        write_atomically(path, complete + "\n" if complete else "")
    return [json.loads(line) for line in complete.splitlines()]
