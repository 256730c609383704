"""Feeds malformed files to everything that reads files, and counts what happens.

  python -m tests.hardening.fuzz --cases=1000 --seed=0

A case is one mutation (``tests.hardening.malformed``) of one valid file: a saved model,
an .npy, .npz, .csv or .tsv matrix, an idx file, or the four files of MNIST. Reading it
must end in a documented exception or in something that can be used: a model that was
loaded gives finite probabilities that sum to 1, or refuses the row. Of those it is
counted whether they are the valid model's: then the mutation is of nothing that they
depend on. Anything else is a failure, named with the flags that repeat it, and the exit
status is 1: another exception, a call that does not end, a file that only executed code
can have made.
"""

import argparse
import collections
import contextlib
import faulthandler
import functools
import gzip
import os
import pathlib
import shlex
import shutil
import signal
import struct
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging

import dgg_jax
from dgg_jax import checks, estimators, saving
from dgg_jax.data import idx, images, own, sources
from dgg_jax.runs.origin import device, git_revision
from tests.hardening import malformed

_SECONDS = 60.0  # after which a case hangs
_ROW = np.array([[0.2, 0.5, 0.9]], np.float32)
_DOCUMENTED = (saving.InvalidModel, checks.InvalidInput, checks.MissingData)


class Target(NamedTuple):
    """Something that reads files.

    Attributes:
      name: for the report.
      mutations: to choose from.
      prepare: writes a valid file into a folder; returns its path and the path to
        mutate.
      read: reads the first path and uses what it got; returns the outcome in words.
    """

    name: str
    mutations: Sequence[malformed.Mutation]
    prepare: Callable[[pathlib.Path, np.random.Generator], tuple[Any, pathlib.Path]]
    read: Callable[[Any], str]


class Failure(NamedTuple):
    """A case that ended as none may.

    Attributes:
      case: its number.
      target: what read the file.
      mutation: what was done to it.
      reason: what happened.
    """

    case: int
    target: str
    mutation: str
    reason: str


class _Hang(BaseException):
    """No Exception: nothing that is fuzzed shall catch it."""


class _Unusable(Exception):
    """What was read cannot be used."""


def targets(folder: pathlib.Path) -> list[Target]:
    """What to fuzz; valid files are made in a folder, once.

    Args:
      folder: an empty one.
    """
    random = np.random.default_rng(0)
    x = random.random((12, 3)).astype(np.float32)
    model = dgg_jax.DGG(
        3,
        hidden_sizes=(4,),
        latent_dim=2,
        pretrain_autoencoder_epochs=0,
        pretrain_vae_epochs=0,
        siamese_epochs=0,
        classifier_epochs=0,
        num_neighbors=2,
        epochs=0,
        random_state=0,
    )
    model.fit(x).save(folder / "model")
    load = functools.partial(_load, expected=model.predict_proba(_ROW))
    np.save(folder / "x.npy", x)
    np.savez(folder / "x.npz", x=x, y=np.arange(12) % 3)
    np.savez_compressed(folder / "compressed.npz", x=x.astype(np.float64))
    for suffix, delimiter in ((".csv", ","), (".tsv", "\t")):
        table = folder / f"x{suffix}"
        np.savetxt(table, x, delimiter=delimiter, header="a,b,c", comments="")
    numpy_files = ("x.npy", "x.npz", "compressed.npz")
    tables = ("x.csv", "x.tsv")
    return [
        Target("dgg_jax.load", malformed.OF_A_MODEL, _model(folder), load),
        Target("numpy file", malformed.OF_NUMPY, _any(folder, numpy_files), _matrix),
        Target("dgg_jax.load", malformed.OF_A_MODEL, _model(folder), load),
        Target("table", malformed.OF_A_TABLE, _any(folder, tables), _matrix),
        Target("dgg_jax.load", malformed.OF_A_MODEL, _model(folder), load),
        Target("idx file", malformed.OF_IDX, _idx, _read_idx),
        Target("MNIST files", malformed.OF_IDX, _mnist, _read_mnist),
    ]


def _model(source):
    def prepare(folder, random):
        shutil.copytree(source / "model", folder / "model")
        return folder / "model", folder / "model"

    return prepare


def _any(source, names):
    def prepare(folder, random):
        name = str(random.choice(names))
        path = pathlib.Path(shutil.copy(source / name, folder))
        return path, path

    return prepare


def _idx_bytes(array: np.ndarray) -> bytes:
    shape = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + shape + array.tobytes()


def _idx(folder, random):
    content = _idx_bytes(random.integers(256, size=(2, 3, 4)).astype(np.uint8))
    path = folder / "images"
    path.write_bytes(gzip.compress(content) if random.random() < 0.5 else content)
    return path, path


def _mnist(folder, random):
    names = [names[0] for names in images.MNIST.layouts[0].files]
    for name in names:
        shape = (3, 28, 28) if "images" in name else (3,)
        array = random.integers(10, size=shape).astype(np.uint8)
        (folder / f"{name}.gz").write_bytes(gzip.compress(_idx_bytes(array)))
    return folder, folder / f"{random.choice(names)}.gz"


def _load(path: pathlib.Path, expected: np.ndarray) -> str:
    model = dgg_jax.load(path)
    row = _ROW if model.n_features_in_ == 3 else np.zeros((1, model.n_features_in_))
    try:
        probabilities = model.predict_proba(row)
    except checks.InvalidInput:
        return "loads, refuses a row"
    if probabilities.shape != (1, model.preset_.num_clusters):
        raise _Unusable(f"probabilities of shape {probabilities.shape}")
    if not (np.isfinite(probabilities).all() and abs(probabilities.sum() - 1) < 1e-3):
        raise _Unusable(f"probabilities {probabilities}")
    if probabilities.shape == expected.shape and np.allclose(probabilities, expected):
        return "predicts as before"
    return "predicts otherwise"


def _matrix(path: pathlib.Path) -> str:
    x = own.load(path).x
    if x.ndim != 2 or x.size == 0 or x.dtype != np.float32 or not np.isfinite(x).all():
        raise _Unusable(f"{x.dtype} of shape {x.shape}")
    return "is used"


def _read_idx(path: pathlib.Path) -> str:
    array = idx.read_idx(path, 3)
    if array.ndim != 3 or array.dtype != np.uint8:
        raise _Unusable(f"{array.dtype} of shape {array.shape}")
    return "is used"


def _read_mnist(folder: pathlib.Path) -> str:
    found = sources.find(images.MNIST, folder)
    if found is None:
        raise _Unusable("none of the files is found")
    layout, paths = found
    for rows in layout.read(paths).values():
        shape = rows.features.shape
        if shape[1:] != (28, 28) or len(rows.labels) != shape[0]:
            raise _Unusable(f"shapes {shape} and {rows.labels.shape}")
    return "is used"


def run(
    cases: range, seed: int
) -> tuple[dict[tuple[str, str, str], int], list[Failure]]:
    """Runs cases; a case depends on the seed and its number alone.

    Args:
      cases: their numbers.
      seed: of all.

    Returns:
      How often (target, mutation, outcome) occurred, and the failures.
    """
    counts: collections.Counter = collections.Counter()
    failures = []
    with _scratch() as folder, warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        (folder / "valid").mkdir()
        all_targets = targets(folder / "valid")
        # Settings differ from case to case: whole programs would be compiled anew.
        with jax.disable_jit():
            for case in cases:
                random = np.random.default_rng((seed, case))
                target = all_targets[case % len(all_targets)]
                mutation = target.mutations[random.integers(len(target.mutations))]
                (folder / "case").mkdir()
                outcome = _outcome(target, mutation, folder / "case", random)
                if pathlib.Path(malformed.MARKER).exists():
                    os.unlink(malformed.MARKER)
                    outcome = "FAILS: code was executed"
                if outcome.startswith("FAILS"):
                    reason = outcome.removeprefix("FAILS: ")
                    name = mutation.__name__
                    failures.append(Failure(case, target.name, name, reason))
                    outcome = "FAILS"
                counts[target.name, mutation.__name__, outcome] += 1
                shutil.rmtree(folder / "case")
                if (case + 1) % 100 == 0:
                    logging.info("%d cases, %d failures", case + 1, len(failures))
    return dict(counts), failures


def _outcome(target, mutation, folder, random) -> str:
    path, mutated = target.prepare(folder, random)
    mutation(random, mutated)
    try:
        with _alarm():
            return target.read(path)
    except _DOCUMENTED as error:
        return type(error).__name__
    except _Hang:
        return f"FAILS: no end within {_SECONDS:g} s"
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{pathlib.Path(last.filename).name}:{last.lineno}"
        return f"FAILS: {type(error).__name__} at {place}: {error}"


@contextlib.contextmanager
def _scratch() -> Iterator[pathlib.Path]:
    """A folder to work in, which is the current one meanwhile."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        yield pathlib.Path(folder)


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    def ring(*arguments):
        raise _Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, _SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def report(
    counts: dict[tuple[str, str, str], int], failures: list[Failure], seed: int
) -> str:
    """What happened, as text.

    Args:
      counts: from ``run``.
      failures: from ``run``.
      seed: of the cases.
    """
    lines = [f"{sum(counts.values()):,} malformed files, {len(failures)} failures", ""]
    lines += ["outcomes by reader"]
    by_target = _sums(counts, lambda target, mutation, outcome: (target, outcome))
    lines += [f"  {t:14}{o:24}{n:6,}" for (t, o), n in by_target]
    lines += ["", "models that load takes, by mutation"]
    taken = {
        key: number
        for key, number in counts.items()
        if key[0] == "dgg_jax.load" and not key[2].startswith(("Invalid", "FAILS"))
    }
    by_mutation = _sums(taken, lambda target, mutation, outcome: (mutation, outcome))
    lines += [f"  {m:24}{o:24}{n:6,}" for (m, o), n in by_mutation]
    for failure in failures:
        lines += [
            "",
            f"case {failure.case}: {failure.mutation} of {failure.target}",
            f"  {failure.reason}"[:500],
            f"  python -m tests.hardening.fuzz --seed={seed} --first={failure.case} "
            "--cases=1",
        ]
    return "\n".join(lines) + "\n"


def _sums(counts, key):
    sums: collections.Counter = collections.Counter()
    for names, number in counts.items():
        sums[key(*names)] += number
    return sorted(sums.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the cases of a command line and prints the report."""
    parser = argparse.ArgumentParser(
        description="Feeds damaged and hostile files to all readers."
    )
    parser.add_argument("--cases", type=int, default=1000, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of all cases")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--output", help="file for the report, and where it is from")
    flags = parser.parse_args(arguments)
    cases = range(flags.first, flags.first + flags.cases)
    counts, failures = run(cases, flags.seed)
    text = report(counts, failures, flags.seed)
    print(text, end="")
    if flags.output:
        versions = ", ".join(f"{k} {v}" for k, v in estimators.versions().items())
        command = shlex.join(["python", "-m", "tests.hardening.fuzz", *sys.argv[1:]])
        header = (
            f"command   {command}\ncommit    {git_revision()}\nversions  {versions}\n"
            f"device    {device()}\n\n"
        )
        pathlib.Path(flags.output).write_text(header + text)
    return 1 if failures else 0


if __name__ == "__main__":
    faulthandler.enable()
    logging.set_verbosity(logging.INFO)
    sys.exit(main())
