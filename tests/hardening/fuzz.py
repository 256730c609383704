"""Feeds malformed files to everything that reads files, and counts what happens.

  python -m tests.hardening.fuzz --cases=1000 --seed=0

A case is one mutation (``tests.hardening.malformed``) of one valid file: a saved model,
an .npy, .npz, .csv or .tsv matrix, an idx file, or the four files of MNIST. Reading it
must end in a documented exception or in something that can be used: a model that was
loaded gives finite probabilities that sum to 1, or refuses the row. Of those it is
counted whether they are the valid model's: then the mutation is of nothing that they
depend on. Anything else is a failure, named with the flags that repeat it (under the
same version of hypothesis), and the exit status is 1: another exception, a call that
does not end, a file that only executed code can have made.
"""

import argparse
import collections
import contextlib
import faulthandler
import functools
import gzip
import importlib.metadata
import pathlib
import random
import shutil
import signal
import struct
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import hypothesis
import jax
import numpy as np
from hypothesis import strategies as st

import dgg_jax
from dgg_jax import checks
from dgg_jax.data import idx, image_sets, own, sources
from dgg_jax.runs.origin import origin
from dgg_jax.storage import saving
from tests.hardening import malformed
from tests.hardening.check_estimators import tiny
from tests.hardening.heading import heading

_SECONDS = 60.0  # after which a case hangs
_SOURCE = 2**16  # random bytes of a case, more than any draws
_ROW = np.array([[0.2, 0.5, 0.9]], np.float32)
_DOCUMENTED = (saving.InvalidModel, checks.InvalidInput, checks.MissingData)


class Target(NamedTuple):
    """Something that reads files.

    Attributes:
      name: for the report.
      folder: of valid files, one of which is mutated.
      mutations: to choose from.
      read: reads the mutated path and uses what it got; returns the outcome in words.
    """

    name: str
    folder: pathlib.Path
    mutations: Sequence[malformed.Mutation]
    read: Callable[[pathlib.Path], str]


class Result(NamedTuple):
    """How a case ended; the outcome is FAILS, for a reason, if none may end so."""

    case: int
    target: str
    mutation: str
    outcome: str
    reason: str = ""


class _Hang(BaseException):
    """No Exception: nothing that is fuzzed shall catch it."""


class _Unusable(Exception):
    """What was read cannot be used."""


def targets(folder: pathlib.Path) -> list[Target]:
    """What to fuzz; valid files are made in a folder, once."""
    models, numpy_files, tables, idx_files, mnist = (
        folder / name for name in ("models", "numpy", "tables", "idx", "mnist")
    )
    for made in (models, numpy_files, tables, idx_files, mnist):
        made.mkdir(parents=True)
    x = np.random.default_rng(0).random((12, 3)).astype(np.float32)
    untrained = dict.fromkeys(("pretrain_autoencoder_epochs", "classifier_epochs"), 0)
    model = tiny("DGG", epochs=0, **untrained).fit(x)
    model.save(models / "model")
    load = functools.partial(_load, expected=model.predict_proba(_ROW))
    np.save(numpy_files / "x.npy", x)
    np.savez(numpy_files / "x.npz", x=x, y=np.arange(12) % 3)
    np.savez_compressed(numpy_files / "compressed.npz", x=x.astype(np.float64))
    for suffix, delimiter in ((".csv", ","), (".tsv", "\t")):
        table = tables / f"x{suffix}"
        np.savetxt(table, x, delimiter=delimiter, header="a,b,c", comments="")
    (idx_files / "images").write_bytes(_idx(2, 3, 4))
    (idx_files / "compressed").write_bytes(gzip.compress(_idx(2, 3, 4)))
    for name, *_ in image_sets.MNIST.layouts[0].files:
        content = _idx(3, 28, 28) if "images" in name else _idx(3)
        (mnist / f"{name}.gz").write_bytes(gzip.compress(content))
    of_models = Target("dgg_jax.load", models, malformed.OF_A_MODEL, load)
    return [
        of_models,
        Target("numpy file", numpy_files, malformed.OF_NUMPY, _matrix),
        of_models,
        Target("table", tables, malformed.OF_A_TABLE, _matrix),
        of_models,
        Target("idx file", idx_files, malformed.OF_IDX, _read_idx),
        Target("MNIST files", mnist, malformed.OF_IDX, _read_mnist),
    ]


def _idx(*shape: int) -> bytes:
    values = np.arange(np.prod(shape)) % 10
    header = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    return header + values.astype(np.uint8).tobytes()


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


def _read_mnist(path: pathlib.Path) -> str:
    found = sources.find(image_sets.MNIST, path.parent)
    if found is None:
        raise _Unusable("none of the files is found")
    layout, paths = found
    for rows in layout.read(paths).values():
        shape = rows.features.shape
        if shape[1:] != (28, 28) or len(rows.labels) != shape[0]:
            raise _Unusable(f"shapes {shape} and {rows.labels.shape}")
    return "is used"


def run(cases: range, seed: int) -> list[Result]:
    """Runs cases; a case depends on the seed and its number alone."""
    results = []
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        warnings.catch_warnings(action="ignore"),
        np.errstate(all="ignore"),
    ):
        every = targets(pathlib.Path("valid"))
        # Settings differ from case to case: whole programs would be compiled anew.
        with jax.disable_jit():
            for case in cases:
                target = every[case % len(every)]
                shutil.copytree(target.folder, "case")
                source = random.Random(f"{seed}, {case}").randbytes(_SOURCE)
                path, mutation = _mutated(target, source)
                outcome, reason = _outcome(target, path)
                results.append(Result(case, target.name, mutation, outcome, reason))
                shutil.rmtree("case")
                if (case + 1) % 100 == 0:
                    print(f"{case + 1} cases", file=sys.stderr, flush=True)
    return results


def _mutated(target: Target, source: bytes) -> tuple[pathlib.Path, str]:
    """Mutates a file of the folder case as random bytes tell hypothesis; its path."""
    done = []

    @hypothesis.settings(database=None)
    @hypothesis.given(st.data())
    def mutate(data):
        path = malformed.pick(data.draw, sorted(pathlib.Path("case").iterdir()))
        mutation = malformed.pick(data.draw, target.mutations)
        mutation(data.draw, path)
        done.append((path, mutation.__name__))

    # Not by its engine, whose cases depend on those before.
    mutate.hypothesis.fuzz_one_input(source)
    return done[0]


def _outcome(target: Target, path: pathlib.Path) -> tuple[str, str]:
    """The outcome of reading a file, and the reason if it fails."""
    outcome, reason = "FAILS", ""
    try:
        with _alarm():
            outcome = target.read(path)
    except _DOCUMENTED as error:
        outcome = type(error).__name__
    except _Hang:
        reason = f"no end within {_SECONDS:g} s"
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{pathlib.Path(last.filename).name}:{last.lineno}"
        reason = f"{type(error).__name__} at {place}: {error}"
    marker = pathlib.Path(malformed.MARKER)
    if marker.exists():
        marker.unlink()
        return "FAILS", "code was executed"
    return outcome, reason


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


def report(results: Sequence[Result], seed: int) -> str:
    """What happened, as text."""
    failures = [result for result in results if result.outcome == "FAILS"]
    outcomes = collections.Counter((r.target, r.outcome) for r in results)
    taken = collections.Counter(
        (r.mutation, r.outcome)
        for r in results
        if r.target == "dgg_jax.load" and r.outcome not in ("InvalidModel", "FAILS")
    )
    lines = [f"{len(results):,} malformed files, {len(failures)} failures", ""]
    lines += ["outcomes by reader"]
    lines += [f"  {t:14}{o:24}{n:6,}" for (t, o), n in sorted(outcomes.items())]
    lines += ["", "models that load takes, by mutation"]
    lines += [f"  {m:24}{o:24}{n:6,}" for (m, o), n in sorted(taken.items())]
    for failure in failures:
        lines += [
            "",
            f"case {failure.case}: {failure.mutation} of {failure.target}",
            f"  {failure.reason}"[:500],
            f"  python -m tests.hardening.fuzz --seed={seed} --first={failure.case} "
            "--cases=1",
        ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the cases of a command line and prints the report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=1000, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of all cases")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--output", help="file for the report, and where it is from")
    flags = parser.parse_args(arguments)
    results = run(range(flags.first, flags.first + flags.cases), flags.seed)
    text = report(results, flags.seed)
    print(text, end="")
    if flags.output:
        record = origin("tests.hardening.fuzz")
        record["versions"]["hypothesis"] = importlib.metadata.version("hypothesis")
        pathlib.Path(flags.output).write_text(f"{heading(record)}\n{text}")
    return int(any(result.outcome == "FAILS" for result in results))


if __name__ == "__main__":
    faulthandler.enable()
    sys.exit(main())
