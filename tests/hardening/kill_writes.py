"""Kills what writes models, predictions and reports, and looks at what is left.

Part of ``python -m tests.hardening.kill``: a process of its own, which computes nothing
itself, because jax does not compute in the children of one that has.
"""

import argparse
import contextlib
import itertools
import os
import pathlib
import random
import select
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from dgg_jax.cli import predict, report
from dgg_jax.storage import saving
from tests.experiments.command_line import call

_PARTIAL = ".dgg-*.partial"
_PADDING = np.zeros(2**21, np.float32)  # of a model, which takes a while to write
_PATIENCE = 600.0  # seconds, on a busy machine


class Work(NamedTuple):
    """What is written again and again, and killed.

    Attributes:
      name: of it.
      folders: where.
      write: writes the n-th time; odd ones differ from even ones if they can.
      content: what is there, to compare.
    """

    name: str
    folders: tuple[pathlib.Path, ...]
    write: Callable[[int], None]
    content: Callable[[], Any]


def works(folder: pathlib.Path, reference: pathlib.Path) -> list[Work]:
    """What to kill, in an empty folder, with a finished run."""
    models = [reference / "model", folder / "other"]
    description, arrays = saving.load(models[0])
    mixture = arrays["model"]["model"]["mixture"]
    mixture["mean"] = np.ascontiguousarray(mixture["mean"][::-1])
    saving.save(models[1], description, arrays)
    loaded = [saving.load(model) for model in models]
    for _, arrays in loaded:
        arrays["padding"] = _PADDING
    target, run = folder / "saved" / "model", folder / "reported"

    def save(number: int) -> None:
        saving.save(target, *loaded[number % 2], overwrite=True)

    def saved() -> bytes:
        _, found = saving.load(target)  # whole, or it raises
        return found["model"]["model"]["mixture"]["mean"].tobytes()

    def predicted_to(suffix: str) -> Work:
        path = folder / "predicted" / f"x{suffix}"

        def write(number: int) -> None:
            path.parent.mkdir(exist_ok=True)
            _call(
                f"--model={models[number % 2]}", "--data=digits", f"--output={path}",
                program=predict,
            )  # fmt: skip

        return Work(f"predicting ({suffix})", (path.parent,), write, path.read_bytes)

    shutil.copytree(reference, run)

    def redraw(number: int) -> None:
        _call(f"--workdir={run}", program=report)

    def pages() -> dict[str, bytes]:
        figures = sorted((run / "figures").glob("*.png"))
        return {p.name: p.read_bytes() for p in (run / "report.html", *figures)}

    predicting = [predicted_to(suffix) for suffix in (".csv", ".parquet", ".npz")]
    return [
        Work("saving", (target.parent, target), save, saved),
        *predicting,
        Work("reporting", (run, run / "figures"), redraw, pages),
    ]


def _call(*arguments: str, program: Any) -> None:
    outcome = call(*arguments, program=program)
    if outcome.code:
        raise RuntimeError(outcome.err)


def killed(work: Work, kills: int, rng: random.Random) -> tuple[int, list[str]]:
    """Kills a work again and again.

    Returns:
      How many kills came while something was written, and what is wrong.
    """
    known, seconds = [], 0.0
    for number in range(2):
        with _child(work, number, 1) as ready:
            began = _await(ready)
            seconds = _await(ready) - began
        known.append(work.content())
    while_writing = 0
    for number in range(kills):
        with _child(work, number, None) as ready:
            _await(ready)
            if number % 2:  # else at a moment that is as likely as any other
                _wait_for_partial(work)
            else:
                time.sleep(rng.uniform(0.0, 2 * seconds))
        while_writing += bool(_partial(work))
        try:
            if work.content() not in known:
                return while_writing, [f"kill {number + 1} has left a mixture"]
        except Exception as error:
            return while_writing, [f"kill {number + 1} has left what is none: {error}"]
    with _child(work, 0, 1) as ready:
        _await(ready)
        _await(ready)
    return while_writing, [f"{path} is left" for path in _partial(work)]


@contextlib.contextmanager
def _child(work: Work, first: int, times: int | None) -> Iterator[int]:
    """A process that writes so many times, or without end, and is killed in the end.

    Yields:
      What can be read from as soon as it begins, and after each time.
    """
    ready, tell = os.pipe()
    with warnings.catch_warnings(action="ignore"):
        process = os.fork()
    if process == 0:
        try:
            os.close(ready)
            os.write(tell, b"x")
            numbers = itertools.count(first)
            for number in itertools.islice(numbers, times):
                work.write(number)
                os.write(tell, b"x")
            signal.pause()
        finally:
            os._exit(1)
    os.close(tell)
    try:
        yield ready
    finally:
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        os.close(ready)
    if not os.WIFSIGNALED(status):
        raise RuntimeError(f"{work.name} has ended by itself")


def _await(ready: int) -> float:
    """Waits for the next word of a child; returns when it came."""
    if not select.select([ready], [], [], _PATIENCE)[0] or not os.read(ready, 1):
        raise RuntimeError("the process that writes does not get on")
    return time.monotonic()


def _partial(work: Work) -> set[pathlib.Path]:
    return {path for folder in work.folders for path in folder.glob(_PARTIAL)}


def _wait_for_partial(work: Work) -> None:
    before, end = _partial(work), time.monotonic() + _PATIENCE
    while not _partial(work) - before and time.monotonic() < end:
        pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Kills all works; returns 1 if one has left anything else than whole files."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=pathlib.Path, help="an empty one, to write to")
    parser.add_argument("reference", type=pathlib.Path, help="a finished run on digits")
    parser.add_argument("--kills", type=int, default=50, help="of each")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    flags = parser.parse_args(arguments)
    rng = random.Random(flags.seed)
    wrong = []
    for work in works(flags.folder, flags.reference):
        while_writing, problems = killed(work, flags.kills, rng)
        verdict = f"FAILED: {'; '.join(problems)}" if problems else "whole"
        print(
            f"{work.name:<22}{flags.kills:4} kills, {while_writing:3} while a file was "
            f"written: {verdict}",
            flush=True,
        )
        wrong += problems
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
