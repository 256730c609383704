"""Kills a run by SIGKILL again and again, then compares it with one nobody killed.

  python -m tests.hardening.kill --kills=50

A small run on digits saves a checkpoint after every epoch. It is run twice without a
kill, the second time with what the first compiled; then once more, killed at random
moments while it starts, trains, saves, evaluates or writes its report, and resumed
after each kill. In the end the final state, the predictions and all metrics must be
equal to the bit; all but the first are forks of one process (``tests.forked``). Then
models are saved, one over the other, predictions written and the report drawn anew,
each killed as often (``tests.hardening.kill_writes``): what is there must always be
whole, the old or the new. Exits with status 1 if anything differs.

What comes after ``--`` are flags of the run, for instance ``-- --siamese_epochs=0``.
"""

import argparse
import contextlib
import json
import math
import os
import pathlib
import random
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from dgg_jax.storage.checkpoints import Checkpoints
from tests.forked import Forks
from tests.hardening.heading import heading
from tests.trees import OF_THE_SESSION

_COMMAND = (
    "experiments.main --preset=smoke --hidden_sizes=64,32 --pretrain_layer_epochs=1 "
    "--pretrain_autoencoder_epochs=6 --pretrain_vae_epochs=3 --siamese_epochs=4 "
    "--classifier_epochs=5 --label_epochs=4 --epochs=8 --checkpoint_seconds=0"
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


def _environment(folder: pathlib.Path) -> dict[str, str]:
    """Of a process that keeps what it compiles in a folder."""
    return {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


class Child:
    """A run in a process of its own, resumed if it has begun before."""

    def __init__(self, workdir: pathlib.Path, forks: Forks, flags: Sequence[str]):
        self.workdir = workdir
        resume = ["--resume"] if (workdir / "config.json").exists() else []
        given = *_COMMAND.split(), *flags, f"--workdir={workdir}", *resume
        began = workdir.with_suffix(".began")
        began.touch()
        self._process = forks.start(*given)
        self._began = time.monotonic()
        self._began_on_disk = began.stat().st_mtime

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._began

    def _is_running(self) -> bool:
        """Whether it has not ended; exits if it has failed."""
        code = self._process.poll()
        if code:
            sys.exit(f"the run failed with status {code}:\n{self._process.err}")
        return code is None

    def finish(self) -> list[float]:
        """Waits for the end; returns when each epoch was there, and the end."""
        seen: list[float] = []
        while self._is_running():
            seen += [self.seconds] * (len(epochs(self.workdir)) - len(seen))
            time.sleep(0.01)
        return [*seen, self.seconds]

    def kill(self, moment: Moment) -> bool:
        """Kills it; returns False if it has ended before."""
        before = len(epochs(self.workdir))
        wait = moment.seconds
        if 0 < moment.epochs <= before:
            wait += moment.startup
        due = None
        while self._is_running():
            done = len(epochs(self.workdir))
            if due is None and done >= moment.epochs:
                due = self.seconds + wait
            # Seconds are of another run: not so long that nothing is left to kill.
            is_late = done > max(moment.epochs, before) or self._wrote("figures/*")
            if is_late or (due is not None and self.seconds >= due):
                self._process.kill()
                return self._process.wait() == -signal.SIGKILL
            time.sleep(0.005)
        return False

    def was(self, total: int) -> str:
        """What it was at when it was killed, of so many epochs, by what it has left."""
        if not self._wrote("config.json"):  # as soon as the folder is opened
            return "starting"
        if self._wrote("checkpoints/*/*.orbax-checkpoint-tmp*"):
            return "saving a checkpoint"
        if self._wrote("**/*.partial"):
            return "writing a file"
        is_trained = len(epochs(self.workdir)) == total
        return "evaluating or reporting" if is_trained else "training"

    def _wrote(self, pattern: str) -> bool:
        """Whether this process, not one before it, wrote such a file."""
        for path in self.workdir.glob(pattern):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime >= self._began_on_disk:
                    return True
        return False


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
    """The names of all that two finished runs do not have in common to the bit."""
    found, expected = _contents(workdir), _contents(reference)
    names = expected | found
    return [name for name in names if found.get(name) != expected.get(name)]


def _contents(workdir: pathlib.Path) -> dict[str, Any]:
    """What a finished run has computed, by name; without times and memory."""
    state, result = _state(workdir), _result(workdir)
    with np.load(workdir / "predictions.npz", allow_pickle=False) as predictions:
        arrays = {f"{name} of the final state": a for name, a in state.items()} | {
            f"{name} of predictions.npz": a for name, a in predictions.items()
        }
    for of in (result, *result["stages"]):
        for name in OF_THE_SESSION & of.keys():
            del of[name]
    return {name: (a.dtype, a.shape, a.tobytes()) for name, a in arrays.items()} | {
        "result.json": result,
        "metrics.jsonl": (workdir / "metrics.jsonl").read_bytes(),
    }


def _state(workdir: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of the final state by their names."""
    checkpoints = Checkpoints(workdir / "checkpoints")
    _, state, _ = checkpoints.restore("stages")
    checkpoints.close()
    return {
        jax.tree_util.keystr(path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }


def _result(workdir: pathlib.Path) -> dict[str, Any]:
    return json.loads((workdir / "result.json").read_text())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs, kills, resumes and compares."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50, help="how often to kill")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("run", nargs="*", help="flags of the run, after --")
    flags = parser.parse_args(arguments)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="kill-"))
    with Forks(_environment(folder)) as forks:
        Child(folder / "reference", forks, flags.run).finish()
    # With another seed of hashes: nothing may depend on the order of a set.
    with Forks(_environment(folder)) as forks:
        failed = _fails(folder, forks, flags)
    if failed:
        print(f"FAILED; the runs are in {folder}.")
        return 1
    shutil.rmtree(folder)
    return 0


def _fails(folder: pathlib.Path, forks: Forks, flags: argparse.Namespace) -> bool:
    """Whether a run that is killed differs, or what is written is not whole."""
    reference, again, workdir = (
        folder / name for name in ("reference", "again", "killed")
    )
    seen = Child(again, forks, flags.run).finish()
    total, result = len(seen) - 1, _result(reference)
    command = (
        f"python -m tests.hardening.kill --kills={flags.kills} --seed={flags.seed}"
    )
    if flags.run:
        command += f" -- {shlex.join(flags.run)}"
    print(heading(result | {"command": command}), end="")
    print(f"kills     {result['command']} --checkpoint_seconds=0")
    print(f"finished  {result['finished']}, {total} epochs in {seen[-1]:.0f} s\n")
    verdicts = {"a second run": differences(again, reference)}

    print("kill  after s  epochs  last epoch                 while")
    killed, saving = 0, 0
    for moment in draw_moments(flags.seed, flags.kills, seen):
        child = Child(workdir, forks, flags.run)
        if not child.kill(moment):
            print("The run ended before this kill.")
            break
        lived, lines, doing = child.seconds, epochs(workdir), child.was(total)
        killed, saving = killed + 1, saving + (doing == "saving a checkpoint")
        last = lines[-1] if lines else {}
        place = " ".join(str(last.get(name, "")) for name in ("stage", "loop", "epoch"))
        print(
            f"{killed:4}  {lived:7.2f}  {len(lines):6}  {place:25}  {doing}", flush=True
        )
    Child(workdir, forks, flags.run).finish()
    name = f"the run that was killed {killed} times"
    verdicts[name] = differences(workdir, reference)
    print(f"\n{killed} kills, {saving} of them while a checkpoint was saved.")
    print(f"Compared: {len(_state(reference))} arrays of the final state,", end=" ")
    print(f"predictions.npz, result.json, {total} lines of metrics.jsonl.")
    for name, different in verdicts.items():
        verdict = f"DIFFERS in {', '.join(different)}" if different else "is bit-equal"
        print(f"To a run that nothing interrupted, {name} {verdict}.")
    print("\nOf what is written again and again, the old or the new must be there:")
    writes = folder / "writes"
    writes.mkdir()
    options = f"--kills={flags.kills}", f"--seed={flags.seed}"
    killing = forks.start("tests.hardening.kill_writes", writes, reference, *options)
    status = killing.wait(timeout=math.inf)
    print(killing.out, end="")
    print(killing.err, end="", file=sys.stderr)
    return killed < flags.kills or any(verdicts.values()) or status != 0


if __name__ == "__main__":
    sys.exit(main())
