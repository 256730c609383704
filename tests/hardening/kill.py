"""Kills a run by SIGKILL again and again, then compares it with one nobody killed.

  python -m tests.hardening.kill --kills=50

A small run on digits saves a checkpoint after every epoch. It is run twice without a
kill, the second time with what the first compiled; then once more, killed at random
moments while it starts, trains, saves, evaluates or writes its report, and resumed
after each kill. In the end the final state, the predictions and all metrics must be
equal to the bit. Exits with status 1 if anything differs.
"""

import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import app, flags

import dgg_jax.cli.run  # noqa: F401 - defines --seed
from dgg_jax.cli import command
from dgg_jax.training.checkpoints import Checkpoints

_KILLS = flags.DEFINE_integer("kills", 50, "How often to kill.", lower_bound=0)
flags.declare_key_flag("seed")  # of the moments

_COMMAND = (
    sys.executable,
    "-m",
    "experiments.main",
    "--preset=smoke",
    "--hidden_sizes=64,32",
    "--pretrain_layer_epochs=1",
    "--pretrain_autoencoder_epochs=6",
    "--pretrain_vae_epochs=3",
    "--siamese_epochs=4",
    "--classifier_epochs=5",
    "--label_epochs=4",
    "--epochs=8",
    "--checkpoint_seconds=0",
)
_OF_THE_SESSION = (
    "seconds",
    "peak_memory_mib",
    "peak_device_memory_mib",
    "finished",
)


class Moment(NamedTuple):
    """When to kill.

    Attributes:
      epochs: wait for as many lines of metrics.jsonl.
      seconds: then for so long, or until the next one is there.
      startup: and for so long if the lines are there when the process starts.
    """

    epochs: int
    seconds: float
    startup: float


class Child:
    """A run in a process of its own."""

    def __init__(self, workdir: pathlib.Path, *arguments: str):
        self.workdir = workdir
        self._log = workdir.with_suffix(".log")
        compiled = workdir.parent / "compiled"
        with open(self._log, "w") as log:
            self.process = subprocess.Popen(
                [*_COMMAND, f"--workdir={workdir}", *arguments],
                env={
                    **os.environ,
                    "JAX_COMPILATION_CACHE_DIR": str(compiled),
                    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
                    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
                },
                stdout=log,
                stderr=log,
            )
        self._began = time.monotonic()
        self._began_on_disk = self._log.stat().st_mtime

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._began

    def is_running(self) -> bool:
        """Whether it has not ended; raises if it has failed."""
        code = self.process.poll()
        if code:
            sys.exit(f"the run failed with status {code}:\n{self._log.read_text()}")
        return code is None

    def finish(self) -> list[float]:
        """Waits for the end; returns when each epoch was there, and the end."""
        seen: list[float] = []
        while self.is_running():
            seen += [self.seconds] * (len(epochs(self.workdir)) - len(seen))
            time.sleep(0.01)
        return [*seen, self.seconds]

    def kill(self, moment: Moment) -> bool:
        """Kills it; returns False if it has ended before."""
        before = len(epochs(self.workdir))
        wait = moment.seconds
        if 0 < moment.epochs <= before:
            wait += moment.startup
        reached = None
        while self.is_running():
            done, now = len(epochs(self.workdir)), time.monotonic()
            if reached is None and done >= moment.epochs:
                reached = now
            is_due = reached is not None and now - reached >= wait
            # Seconds are of another run: not so long that nothing is left to kill.
            is_late = done > max(moment.epochs, before) or self._wrote("figures/*")
            if is_due or is_late:
                self.process.kill()
                return self.process.wait() == -signal.SIGKILL
            time.sleep(0.005)
        return False

    def was(self, total: int) -> str:
        """What it was at when it was killed, by what it has left behind.

        Args:
          total: epochs of the whole run.
        """
        if not self._wrote("config.json"):  # as soon as the folder is opened
            return "starting"
        if self._wrote("checkpoints/*/*.orbax-checkpoint-tmp*"):
            return "saving a checkpoint"
        if self._wrote("**/*.partial"):
            return "writing a file"
        if len(epochs(self.workdir)) == total:
            return "evaluating or reporting"
        return "training"

    def _wrote(self, pattern: str) -> bool:
        """Whether this process, not one before it, wrote such a file."""
        times = []
        for path in self.workdir.glob(pattern):
            with contextlib.suppress(FileNotFoundError):
                times.append(path.stat().st_mtime)
        return max(times, default=0.0) >= self._began_on_disk


def epochs(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl; exits with an error if one of them is torn."""
    path = workdir / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    try:
        if text and not text.endswith("\n"):
            raise ValueError("it does not end with a line")
        return [json.loads(line) for line in text.splitlines()]
    except ValueError as error:
        sys.exit(f"{path} holds a torn line: {error}")


def draw_moments(seed: int, kills: int, seen: Sequence[float]) -> list[Moment]:
    """Random moments of the life of a run, in order, all epochs being equally likely.

    Args:
      seed: of the moments.
      kills: how many.
      seen: when an uninterrupted run finished each of its epochs, and ended.
    """
    rng = random.Random(seed)
    moments = []
    for number in sorted(rng.randrange(len(seen)) for _ in range(kills)):
        length = seen[number] - (seen[number - 1] if number else 0.0)
        seconds, startup = rng.uniform(0.0, length), rng.uniform(0.0, seen[0])
        moments.append(Moment(number, seconds, startup))
    return moments


def differences(workdir: pathlib.Path, reference: pathlib.Path) -> list[str]:
    """What two finished runs do not have in common to the bit, but times and memory.

    Args:
      workdir: folder of one.
      reference: folder of the other.

    Returns:
      The names of all that differs.
    """
    different = []
    found, expected = (_state(folder) for folder in (workdir, reference))
    if list(found) != list(expected):
        different.append("the names of the arrays of the final state")
    for name in found.keys() & expected.keys():
        if not _are_equal(found[name], expected[name]):
            different.append(f"{name} of the final state")
    with (
        np.load(workdir / "predictions.npz", allow_pickle=False) as found,
        np.load(reference / "predictions.npz", allow_pickle=False) as expected,
    ):
        if list(found) != list(expected):
            different.append("the names of the predictions")
        for name in set(found) & set(expected):
            if not _are_equal(found[name], expected[name]):
                different.append(f"{name} of predictions.npz")
    if _result(workdir) != _result(reference):
        different.append("result.json")
    lines = [(folder / "metrics.jsonl").read_bytes() for folder in (workdir, reference)]
    if lines[0] != lines[1]:
        different.append("metrics.jsonl")
    return different


def _state(workdir: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of the final state by their names."""
    checkpoints = Checkpoints(workdir / "checkpoints")
    _, state, _ = checkpoints.restore("stages")
    checkpoints.close()
    return {
        jax.tree_util.keystr(path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }


def _are_equal(one: np.ndarray, other: np.ndarray) -> bool:
    return (one.dtype, one.shape, one.tobytes()) == (
        other.dtype,
        other.shape,
        other.tobytes(),
    )


def _result(workdir: pathlib.Path) -> dict[str, Any]:
    """What result.json says of the run, not of the session that wrote it."""

    def timeless(record):
        return {k: v for k, v in record.items() if k not in _OF_THE_SESSION}

    result = timeless(json.loads((workdir / "result.json").read_text()))
    return result | {"stages": [timeless(stage) for stage in result["stages"]]}


def main(arguments: Sequence[str]) -> int:
    """Runs, kills, resumes and compares."""
    if len(arguments) > 1:
        message = f"unexpected argument {arguments[1]!r}; see --helpshort."
        return command.fail(message, command.EXIT_INVALID)
    command.limit_logs()
    seed = flags.FLAGS.seed
    folder = pathlib.Path(tempfile.mkdtemp(prefix="kill-test-"))
    reference, again, workdir = (
        folder / name for name in ("reference", "again", "killed")
    )
    Child(reference).finish()
    seen = Child(again).finish()
    total = len(seen) - 1
    print(f"command  python -m tests.hardening.kill --kills={_KILLS.value}", end=" ")
    print(f"--seed={seed}")
    _print_session(reference, total, seen[-1])
    verdicts = {"a second run": differences(again, reference)}

    print("kill  after s  epochs  last epoch                 while")
    killed, saving = 0, 0
    for moment in draw_moments(seed, _KILLS.value, seen):
        resume = ["--resume"] if (workdir / "config.json").exists() else []
        child = Child(workdir, *resume)
        if not child.kill(moment):
            print("The run ended before this kill.")
            break
        killed, lived = killed + 1, child.seconds
        lines = epochs(workdir)
        last = lines[-1] if lines else {}
        place = " ".join(str(last.get(name, "")) for name in ("stage", "loop", "epoch"))
        doing = child.was(total)
        saving += doing == "saving a checkpoint"
        print(
            f"{killed:4}  {lived:7.2f}  {len(lines):6}  {place:25}  {doing}",
            flush=True,
        )
    resume = ["--resume"] if (workdir / "config.json").exists() else []
    Child(workdir, *resume).finish()
    verdicts[f"the run that was killed {killed} times"] = differences(
        workdir, reference
    )
    print(f"\n{killed} kills, {saving} of them while a checkpoint was saved.")
    print(f"Compared: {len(_state(reference))} arrays of the final state,", end=" ")
    print(f"predictions.npz, result.json, {total} lines of metrics.jsonl.")
    for name, different in verdicts.items():
        verdict = f"DIFFERS in {', '.join(different)}" if different else "is bit-equal"
        print(f"To a run that nothing interrupted, {name} {verdict}.")
    if killed < _KILLS.value or any(verdicts.values()):
        print(f"FAILED; the runs are in {folder}.")
        return 1
    shutil.rmtree(folder)
    return 0


def _print_session(reference: pathlib.Path, total: int, seconds: float) -> None:
    result = json.loads((reference / "result.json").read_text())
    versions = ", ".join(f"{k} {v}" for k, v in result["versions"].items())
    print(f"kills    {result['command']} --checkpoint_seconds=0")
    print(f"versions {versions}")
    print(f"device   {result['device']}")
    print(f"commit   {result['git_revision']}")
    print(f"finished {result['finished']}, {total} epochs in {seconds:.0f} s\n")


if __name__ == "__main__":
    app.run(main, flags_parser=lambda arguments: command.parse_flags(arguments))
