import pathlib
from types import SimpleNamespace

import numpy as np
import pytest

from dgg_jax.data import own
from tests.hardening import fuzz, malformed


def test_malformed_files_are_refused_or_harmless(capsys):
    assert fuzz.main(["--cases=100", "--seed=1"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("100 malformed files, 0 failures\n")
    for reader in ("dgg_jax.load", "numpy file", "table", "idx file", "MNIST files"):
        assert f"  {reader}" in out
    assert "dgg_jax.load  InvalidModel" in out


@pytest.fixture
def numpy_files(monkeypatch):
    """Fuzzes nothing but matrices, which need no model."""

    def targets(folder):
        np.save(folder / "x.npy", np.ones((2, 2), np.float32))
        prepare = fuzz._any(folder, ["x.npy"])
        mutations = [malformed.other_npy, malformed.flip, pickled]
        return [fuzz.Target("numpy file", mutations, prepare, fuzz._matrix)]

    monkeypatch.setattr(fuzz, "targets", targets)


def pickled(random, path):
    np.save(path, malformed._objects())


def unpickle(path):
    """What no reader must ever do."""
    return np.load(path, allow_pickle=True)


def hang(path):
    while True:
        pass


def overflow(path):
    raise ZeroDivisionError("of a reader")


@pytest.mark.parametrize(
    ("reader", "message"),
    [
        (unpickle, "code was executed"),
        (hang, "no end within 0.2 s"),
        (overflow, "ZeroDivisionError at test_fuzz.py"),
        (lambda path: np.float64(1.0), "float64 of shape ()"),
    ],
)
def test_failures_are_reported(numpy_files, monkeypatch, capsys, reader, message):
    monkeypatch.setattr(own, "load", lambda path: SimpleNamespace(x=reader(path)))
    monkeypatch.setattr(fuzz, "_SECONDS", 0.2)
    assert fuzz.main(["--cases=10"]) == 1
    out = capsys.readouterr().out
    assert message in out
    assert "python -m tests.hardening.fuzz --seed=0 --first=" in out
    assert not pathlib.Path(malformed.MARKER).exists()


def test_a_case_depends_on_seed_and_number_alone(numpy_files):
    counts, _ = fuzz.run(range(20), 0)
    first, _ = fuzz.run(range(7), 0)
    rest, _ = fuzz.run(range(7, 20), 0)
    assert counts == {key: first.get(key, 0) + rest.get(key, 0) for key in first | rest}
    assert counts != fuzz.run(range(20), 1)[0]
