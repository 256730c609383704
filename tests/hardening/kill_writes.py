"""Kills what writes models, predictions and reports, and looks at what is left.

Part of ``python -m tests.hardening.kill``: a process of its own, which computes nothing
itself, because jax does not compute in the children of one that has.
"""

import argparse
import contextlib
import itertools
import os
import pathlib
import pickle
import random
import select
import shutil
import signal
import sys
import time
import traceback
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


def killed(
    works: Sequence[Work], kills: int, rng: random.Random
) -> list[tuple[int, list[str]]]:
    """Kills each work again and again.

    One process writes all works twice, before, and one writes them once more, after,
    which cleans up. Between them every work that is killed has a process of its own.

    Returns:
      For each, how many kills came while something was written, and what is wrong.
    """
    known = _in_a_child(lambda: _known(works))
    outcomes = [_killed(work, kills, rng, *known[work.name]) for work in works]
    _in_a_child(lambda: [work.write(0) for work in works][:0])
    for work, (_, problems) in zip(works, outcomes, strict=True):
        if not problems:
            problems += [f"{path} is left" for path in _partial(work)]
    return outcomes


def _known(works: Sequence[Work]) -> dict[str, tuple[list[Any], float]]:
    """By the names of works, the old and the new, and how many seconds one takes.

    That is what the first of a kind takes, which alone compiles, as does one in a
    process of its own.
    """
    known: dict[str, tuple[list[Any], float]] = {}
    seconds: dict[str, float] = {}
    for work in works:
        contents = []
        for number in range(2):
            began = time.monotonic()
            work.write(number)
            seconds.setdefault(work.name.split()[0], time.monotonic() - began)
            contents.append(work.content())
        known[work.name] = contents, seconds[work.name.split()[0]]
    return known


def _in_a_child(function: Callable[[], Any]) -> Any:
    """What a function returns in a process of its own."""
    read, write = os.pipe()
    with warnings.catch_warnings(action="ignore"):
        process = os.fork()
    if process == 0:
        try:
            with open(write, "wb") as pipe:
                pickle.dump(function(), pipe)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(write)
    with open(read, "rb") as pipe:
        content = pipe.read()
    _, status = os.waitpid(process, 0)
    if status:
        raise RuntimeError("the process that writes has failed")
    return pickle.loads(content)


def _killed(
    work: Work, kills: int, rng: random.Random, known: list[Any], seconds: float
) -> tuple[int, list[str]]:
    """Kills a work; as ``killed`` returns it, but for what is left in the end."""
    while_writing = 0
    for number in range(kills):
        with _child(work, number) as ready:
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
    return while_writing, []


@contextlib.contextmanager
def _child(work: Work, first: int) -> Iterator[int]:
    """A process that writes without end, from a number on, until it is killed.

    Yields:
      What can be read from as soon as it begins.
    """
    ready, tell = os.pipe()
    with warnings.catch_warnings(action="ignore"):
        process = os.fork()
    if process == 0:
        try:
            os.close(ready)
            os.write(tell, b"x")
            for number in itertools.count(first):
                work.write(number)
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


def _await(ready: int) -> None:
    """Waits for the word of a child."""
    if not select.select([ready], [], [], _PATIENCE)[0] or not os.read(ready, 1):
        raise RuntimeError("the process that writes does not get on")


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
    everything = works(flags.folder, flags.reference)
    outcomes = killed(everything, flags.kills, rng)
    for work, (while_writing, problems) in zip(everything, outcomes, strict=True):
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
