"""Feeds malformed files to everything that reads files, and counts what happens.

  python -m tests.hardening.fuzz --cases=1000 --seed=0

A case is one mutation (``tests.hardening.malformed``) of one valid file: a saved
model, a finished run, a matrix (.npy, .npz, .csv, .tsv, .mat, .parquet, .h5ad), a
folder of images, an idx file, or the four files of MNIST. Reading it must end in a
documented exception or in something that can be used, which must be

- what the valid file holds: then the mutation is of nothing that it depends on;
- or what the mutated file holds: another reader (``tests.hardening.witnesses``) finds
  the same, or the checksum of a model that was rewritten is right;
- or something else, and a warning says so.

All else is a failure, named with the flags that repeat it (under the same version of
hypothesis), and the exit status is 1: what is silently different, another exception, a
call that does not end, a process that dies, a file that only executed code can have
made.
"""

import argparse
import collections
import contextlib
import faulthandler
import functools
import gzip
import importlib.metadata
import json
import logging
import os
import pathlib
import pickle
import random
import shutil
import signal
import struct
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import hypothesis
import jax
import numpy as np
from hypothesis import strategies as st

import dgg_jax
from dgg_jax import checks
from dgg_jax.cli import run as run_program
from dgg_jax.data import idx, image_sets, own, sources
from dgg_jax.log import LOGGER
from dgg_jax.runs import kept
from dgg_jax.runs.finished import load_run
from dgg_jax.runs.origin import origin
from dgg_jax.storage import saving, signed
from dgg_jax.training import Run
from tests.experiments.command_line import call
from tests.hardening import malformed, witnesses
from tests.hardening.check_estimators import tiny
from tests.hardening.heading import heading

_SECONDS = 60.0  # after which a case hangs
_SOURCE = 2**16  # random bytes of a case, more than any draws
_ROW = np.array([[0.2, 0.5, 0.9]], np.float32)
_DOCUMENTED = (saving.InvalidModel, checks.InvalidInput, checks.MissingData)
_RUN = (
    "--method=dec", "--dataset=moons", "--num_rows=60", "--preset=smoke",
    "--hidden_sizes=8", "--checkpoint_seconds=0",
)  # fmt: skip


class Target(NamedTuple):
    """Something that reads files.

    Attributes:
      name: for the report.
      folder: of valid files, or folders, one of which is mutated.
      mutations: to choose from.
      read: reads the mutated path and uses what it got; returns that, as a tree.
      explain: whether a path holds what was read, by another reader.
    """

    name: str
    folder: pathlib.Path
    mutations: Sequence[malformed.Mutation]
    read: Callable[[pathlib.Path], Any]
    explain: Callable[[pathlib.Path, Any], bool] = witnesses.explain


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


class _Died(Exception):
    """A process that read a file was ended by it."""


def targets(folder: pathlib.Path) -> list[Target]:
    """What to fuzz; valid files are made in a folder, once."""
    rng = np.random.default_rng(0)
    x = rng.random((12, 3)).astype(np.float32)

    def made(name: str, make: Callable[[pathlib.Path], None]) -> pathlib.Path:
        (folder / name).mkdir(parents=True)
        make(folder / name)
        return folder / name

    of_models = Target(
        "dgg_jax.load",
        made("models", functools.partial(_make_model, x)),
        malformed.OF_A_MODEL,
        _load,
        _is_rewritten,
    )
    matrices = {
        "numpy file": (_make_numpy, malformed.OF_NUMPY),
        "table": (_make_tables, malformed.OF_A_TABLE),
        "parquet file": (_make_parquet, malformed.OF_PARQUET),
        "h5ad file": (_make_h5ad, malformed.OF_H5AD),
        "MATLAB file": (_make_matlab, malformed.OF_MATLAB),
        "images": (_make_images, malformed.OF_IMAGES),
    }
    of_matrices = [
        Target(name, made(name, functools.partial(make, x)), mutations, _apart(_matrix))
        for name, (make, mutations) in matrices.items()
    ]
    of_idx, mnist = made("idx", _make_idx), made("mnist", _make_mnist)
    return [
        of_models,
        *of_matrices,
        Target("idx file", of_idx, malformed.OF_IDX, _read_idx),
        Target("MNIST files", mnist, malformed.OF_IDX, _read_mnist),
        Target(
            "workdir",
            made("runs", _make_run),
            malformed.OF_A_WORKDIR,
            _read_run,
            lambda path, found: False,
        ),
    ]


def _make_model(x: np.ndarray, folder: pathlib.Path) -> None:
    untrained = dict.fromkeys(("pretrain_autoencoder_epochs", "classifier_epochs"), 0)
    tiny("DGG", epochs=0, **untrained).fit(x).save(folder / "model")


def _make_numpy(x: np.ndarray, folder: pathlib.Path) -> None:
    np.save(folder / "x.npy", x)
    np.savez(folder / "x.npz", x=x, y=np.arange(12) % 3)
    np.savez_compressed(folder / "compressed.npz", x=x.astype(np.float64))


def _make_tables(x: np.ndarray, folder: pathlib.Path) -> None:
    for suffix, delimiter in ((".csv", ","), (".tsv", "\t")):
        table = folder / f"x{suffix}"
        header = delimiter.join("abc")
        np.savetxt(table, x, delimiter=delimiter, header=header, comments="")
    named = [f"{i},row-{i},{a},{b > 0.5}" for i, (a, b, _) in enumerate(x.tolist())]
    (folder / "mixed.csv").write_text("\n".join(["id,name,a,b", *named]) + "\n")


def _make_parquet(x: np.ndarray, folder: pathlib.Path) -> None:
    import pandas as pd

    frame = pd.DataFrame(x, columns=list("abc"))
    frame.to_parquet(folder / "x.parquet")
    frame.sample(12, random_state=0).to_parquet(folder / "shuffled.parquet")
    lists = pd.DataFrame({"name": list("abcdefghijkl"), "embedding": list(x)})
    lists.to_parquet(folder / "lists.parquet", compression=None)


def _make_h5ad(x: np.ndarray, folder: pathlib.Path) -> None:
    import anndata
    from scipy import sparse

    counts = np.random.default_rng(1).poisson(0.7, (12, 3)).astype(np.float32)
    for name, array in (
        ("dense", x),
        ("rows", sparse.csr_matrix(counts)),
        ("columns", sparse.csc_matrix(counts)),
    ):
        anndata.AnnData(array).write_h5ad(folder / f"{name}.h5ad")


def _make_matlab(x: np.ndarray, folder: pathlib.Path) -> None:
    from scipy import io, sparse

    y = np.arange(12) % 3
    io.savemat(folder / "x.mat", {"X": x.astype(float), "y": y})
    io.savemat(folder / "compressed.mat", {"fea": x, "gnd": y}, do_compression=True)
    io.savemat(folder / "sparse.mat", {"X": sparse.csc_matrix(np.round(x))})


def _make_images(x: np.ndarray, folder: pathlib.Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for suffix, channels in ((".png", 1), (".jpg", 3), (".bmp", 1), (".tif", 3)):
        within = folder / suffix[1:]
        within.mkdir()
        for number in range(4):
            pixels = rng.integers(0, 256, (8, 8, channels), dtype=np.uint8)
            image = Image.fromarray(pixels.squeeze())
            image.save(within / f"{number}{suffix}")


def _make_idx(folder: pathlib.Path) -> None:
    (folder / "images.idx").write_bytes(_idx(2, 3, 4))
    (folder / "compressed.idx").write_bytes(gzip.compress(_idx(2, 3, 4)))


def _make_mnist(folder: pathlib.Path) -> None:
    for name, *_ in image_sets.MNIST.layouts[0].files:
        content = _idx(3, 28, 28) if "images" in name else _idx(3)
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))


def _make_run(folder: pathlib.Path) -> None:
    outcome = call(*_RUN, f"--workdir={folder / 'run'}", program=run_program)
    if outcome.code:
        raise RuntimeError(outcome.err)
    # Nothing reads them again.
    shutil.rmtree(folder / "run" / "figures")
    (folder / "run" / "report.html").unlink()


def _idx(*shape: int) -> bytes:
    values = np.arange(np.prod(shape)) % 10
    header = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    return header + values.astype(np.uint8).tobytes()


def _load(path: pathlib.Path) -> np.ndarray:
    model = dgg_jax.load(path)
    row = _ROW if model.n_features_in_ == 3 else np.zeros((1, model.n_features_in_))
    probabilities = model.predict_proba(row)
    if probabilities.shape != (1, model.preset_.num_clusters):
        raise _Unusable(f"probabilities of shape {probabilities.shape}")
    if not (np.isfinite(probabilities).all() and abs(probabilities.sum() - 1) < 1e-3):
        raise _Unusable(f"probabilities {probabilities}")
    return probabilities


def _is_rewritten(path: pathlib.Path, found: Any) -> bool:
    """Whether a model has checksums, which were right when it was loaded."""
    return signed.verify(json.loads((path / saving.DESCRIPTION).read_bytes()))


def _matrix(path: pathlib.Path) -> np.ndarray:
    x = own.load(path, scaling="none").x
    if x.ndim != 2 or x.size == 0 or x.dtype != np.float32 or not np.isfinite(x).all():
        raise _Unusable(f"{x.dtype} of shape {x.shape}")
    return np.array(x)  # a map would change with the file


def _read_idx(path: pathlib.Path) -> np.ndarray:
    array = idx.read_idx(path, 3)
    if array.ndim != 3 or array.dtype != np.uint8:
        raise _Unusable(f"{array.dtype} of shape {array.shape}")
    return array


def _read_mnist(path: pathlib.Path) -> np.ndarray:
    """What was read of the mutated file; the others are as they were."""
    found = sources.find(image_sets.MNIST, path.parent)
    if found is None:
        raise _Unusable("none of the files is found")
    layout, paths = found
    splits = layout.read(paths)
    for rows in splits.values():
        shape = rows.features.shape
        if shape[1:] != (28, 28) or len(rows.labels) != shape[0]:
            raise _Unusable(f"shapes {shape} and {rows.labels.shape}")
    rows = splits["train" if "train" in path.name else "test"]
    array = rows.features if "images" in path.name else rows.labels
    return array.reshape(len(array), -1)


def _read_run(path: pathlib.Path) -> dict[str, Any]:
    """A finished run as the report reads it, and as --resume goes on from it."""
    found: dict[str, Any] = {"config": kept.read_config(path)}
    try:
        run = load_run(path, with_data=True)
    except checks.InvalidInput as error:  # which --resume mends
        LOGGER.warning(str(error))
    else:
        found |= {"result": run.result, "history": run.history, "state": run.state}
        found["config"]["identity"] = run.config.identity()
        rows = np.linspace(0.0, 1.0, 6, dtype=np.float32).reshape(3, 2)
        found["latents"] = run.model.model_.infer(rows)
    try:
        runner = Run(path)
    except OSError as error:
        raise checks.InvalidInput(str(error)) from error
    try:
        found |= {"records": runner.records, "lines": runner.history}
        if runner.records:
            found["resumed"] = runner.stage("pretrain", _no_stage, {})
    finally:
        runner.close()
    return found


def _no_stage(state: Any) -> Any:
    raise _Unusable("a stage that was there is to be run again")


def _apart(read: Callable[[pathlib.Path], Any]) -> Callable[[pathlib.Path], Any]:
    """Reads in a process of its own, which a library in C may end."""

    def apart(path: pathlib.Path) -> Any:
        with tempfile.TemporaryFile() as file:
            with warnings.catch_warnings(action="ignore"):
                child = os.fork()  # jax warns: nothing is computed there
            if child == 0:
                try:
                    pickle.dump(_told(read, path), file)
                    file.flush()
                finally:
                    os._exit(0)
            try:
                _, status = os.waitpid(child, 0)
            except _Hang:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                raise
            file.seek(0)
            try:
                found, error, told = pickle.load(file)
            except EOFError:
                number = os.waitstatus_to_exitcode(status)
                raise _Died(f"the process has ended with status {number}") from None
        for message in told:
            LOGGER.warning(message)
        if error is not None:
            raise error
        return found

    return apart


def _told(
    read: Callable[[pathlib.Path], Any], path: pathlib.Path
) -> tuple[Any, Exception | None, list[str]]:
    """What was read, or what was raised, and the warnings."""
    with _warnings_told() as told:
        try:
            return read(path), None, told
        except _DOCUMENTED as error:
            return None, error, told
        except Exception as error:
            return None, _Unusable(_placed(error)), told


@contextlib.contextmanager
def _warnings_told() -> Iterator[list[str]]:
    """Lists what is logged as a warning within."""
    told: list[str] = []

    class Teller(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.WARNING:
                told.append(record.getMessage())

    handlers, level, propagate = LOGGER.handlers, LOGGER.level, LOGGER.propagate
    LOGGER.handlers, LOGGER.propagate = [Teller()], False
    LOGGER.setLevel(logging.INFO)
    try:
        yield told
    finally:
        LOGGER.handlers, LOGGER.propagate = handlers, propagate
        LOGGER.setLevel(level)


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
            expected = [_expected(target) for target in every]
            for case in cases:
                target = every[case % len(every)]
                _copy(target)
                source = random.Random(f"{seed}, {case}").randbytes(_SOURCE)
                path, mutation = _mutated(target, source)
                outcome, reason = _outcome(
                    target, path, expected[case % len(every)][path.name]
                )
                results.append(Result(case, target.name, mutation, outcome, reason))
                shutil.rmtree("case")
                if (case + 1) % 100 == 0:
                    print(f"{case + 1} cases", file=sys.stderr, flush=True)
    return results


def _copy(target: Target) -> None:
    shutil.copytree(target.folder, "case")


def _expected(target: Target) -> dict[str, Any]:
    """What is read from each valid file of a target, by its name."""
    _copy(target)
    found = {}
    with _warnings_told():
        for path in sorted(pathlib.Path("case").iterdir()):
            found[path.name] = target.read(path)
    shutil.rmtree("case")
    return found


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


def _outcome(target: Target, path: pathlib.Path, expected: Any) -> tuple[str, str]:
    """The outcome of reading a file, and the reason if it fails."""
    outcome, reason = "FAILS", ""
    try:
        with _alarm():
            with _warnings_told() as told:
                found = target.read(path)
            if _same(found, expected):
                outcome = "as before"
            elif told:
                outcome = "warns"
            elif target.explain(path, found):
                outcome = "what is there"
            else:
                reason = "it is silently different"
    except _DOCUMENTED as error:
        outcome = type(error).__name__
    except _Hang:
        reason = f"no end within {_SECONDS:g} s"
    except Exception as error:
        reason = _placed(error)
    marker = pathlib.Path(malformed.MARKER)
    if marker.exists():
        marker.unlink()
        return "FAILS", "code was executed"
    return outcome, reason


def _same(one: Any, other: Any) -> bool:
    """Whether two trees hold the same; predictions up to rounding."""
    leaves, others = jax.tree.leaves(one), jax.tree.leaves(other)
    if jax.tree.structure(one) != jax.tree.structure(other):
        return False
    for a, b in zip(leaves, others, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        if a.shape != b.shape or a.dtype.kind != b.dtype.kind:
            return False
        equal = np.allclose(a, b, equal_nan=True) if a.dtype.kind == "f" else (a == b)
        if not np.all(equal):
            return False
    return True


def _placed(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{pathlib.Path(last.filename).name}:{last.lineno}"
    return f"{type(error).__name__} at {place}: {error}"


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    def ring(*arguments):
        if logging._lock._is_owned():  # which nobody would give back
            signal.setitimer(signal.ITIMER_REAL, 0.01)
        else:
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
