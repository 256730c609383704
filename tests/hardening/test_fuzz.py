import os
import pathlib
import signal
import tempfile
from types import SimpleNamespace

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import io

from dgg_jax.data import own
from dgg_jax.log import LOGGER
from tests.hardening import fuzz, malformed, witnesses

READERS = (
    "dgg_jax.load", "numpy file", "table", "parquet file", "h5ad file", "MATLAB file",
    "images", "idx file", "MNIST files", "workdir",
)  # fmt: skip


def test_malformed_files_are_refused_or_harmless(capsys):
    assert fuzz.main(["--cases=100", "--seed=1"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("100 malformed files, 0 failures\n")
    for reader in READERS:
        assert f"  {reader}" in out
    assert "dgg_jax.load  InvalidModel" in out


@pytest.fixture
def numpy_files(monkeypatch):
    """Fuzzes nothing but matrices, which need no model."""

    def targets(folder):
        folder.mkdir()
        np.save(folder / "x.npy", np.ones((2, 2), np.float32))
        mutations = [malformed.other_npy, malformed.no_file, pickled]
        read = fuzz._apart(fuzz._matrix)
        return [fuzz.Target("numpy file", folder, mutations, read)]

    monkeypatch.setattr(fuzz, "targets", targets)
    # The readers of these tests do not even read what is valid.
    monkeypatch.setattr(fuzz, "_expected", lambda target: {"x.npy": None})


def pickled(draw, path):
    np.save(path, malformed._OBJECTS)


def unpickle(path):
    """What no reader must ever do."""
    return np.load(path, allow_pickle=True)


def hang(path):
    while True:
        pass


def overflow(path):
    raise ZeroDivisionError("of a reader")


def die(path):
    os.kill(os.getpid(), signal.SIGKILL)


def invent(path):
    """Something that is not there."""
    return np.full((2, 2), 7.0, np.float32)


@pytest.mark.parametrize(
    ("reader", "message"),
    [
        (unpickle, "code was executed"),
        (hang, "no end within 0.2 s"),
        (overflow, "ZeroDivisionError at test_fuzz.py"),
        (die, "the process has ended with status -9"),
        (invent, "it is silently different"),
        (lambda path: np.float64(1.0), "float64 of shape ()"),
    ],
)
def test_failures_are_reported(numpy_files, monkeypatch, capsys, reader, message):
    load = lambda path, scaling: SimpleNamespace(x=reader(path))  # noqa: E731
    monkeypatch.setattr(own, "load", load)
    # A busy machine takes longer to start a process that dies.
    monkeypatch.setattr(fuzz, "_SECONDS", 0.2 if reader is hang else 10.0)
    assert fuzz.main(["--cases=10"]) == 1
    out = capsys.readouterr().out
    assert message in out
    assert "python -m tests.hardening.fuzz --seed=0 --first=" in out
    assert not pathlib.Path(malformed.MARKER).exists()


def test_a_case_depends_on_seed_and_number_alone(numpy_files):
    results = fuzz.run(range(20), 0)
    assert results == fuzz.run(range(7), 0) + fuzz.run(range(7, 20), 0)
    assert results != fuzz.run(range(20), 1)


def test_the_report_in_a_file_says_where_it_is_from(numpy_files, tmp_path, capsys):
    assert fuzz.main(["--cases=2", f"--output={tmp_path / 'fuzz.txt'}"]) == 0
    heading, _, text = (tmp_path / "fuzz.txt").read_text().partition("\n\n")
    assert text == capsys.readouterr().out
    assert heading.startswith("command   python -m tests.hardening.fuzz")
    for fragment in (
        "\ncommit    ",
        "\nversions  python ",
        ", hypothesis ",
        "\ndevice ",
    ):
        assert fragment in heading


CONTENT = b"\x93NUMPY" + bytes(range(100))


def drawn(make):
    """What a function of hypothesis' draw makes, of fifty cases."""
    made = []

    @settings(max_examples=50, database=None, derandomize=True)
    @given(st.data())
    def check(data):
        made.append(make(data.draw))

    check()
    return set(made)


@pytest.mark.parametrize("damage", malformed._DAMAGES)
def test_bytes_are_damaged_in_many_ways(damage):
    contents = drawn(lambda draw: damage(draw, CONTENT))
    assert len(contents - {CONTENT}) > 20
    lengths = {len(content) for content in contents}
    if damage is malformed.flipped:
        assert lengths == {len(CONTENT)}
    else:
        assert min(lengths) < len(CONTENT) < max(lengths)


def test_a_file_gives_way_to_all_that_is_none(tmp_path):
    def kind(draw):
        path = pathlib.Path(tempfile.mkdtemp(dir=tmp_path)) / "file"
        path.write_bytes(CONTENT)
        malformed.no_file(draw, path)
        if path.is_symlink():
            target = str(path.readlink())
            return "itself" if target == path.name else target
        if path.exists():
            return "folder" if path.is_dir() else "pipe" * path.is_fifo()
        return "missing"

    links = {"itself", "absent", "/dev/zero"}
    assert drawn(kind) == {"missing", "folder", "pipe"} | links


def witnessed(path, x):
    return witnesses.explain(path, np.asarray(x, np.float32))


def test_another_reader_explains_what_is_there(tmp_path):
    x = np.random.default_rng(0).random((5, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", a=x[:2], b=x)
    pd.DataFrame(x).to_parquet(tmp_path / "x.parquet")
    pd.DataFrame(x).to_csv(tmp_path / "x.csv")
    io.savemat(tmp_path / "x.mat", {"X": x})
    anndata.AnnData(x).write_h5ad(tmp_path / "x.h5ad")
    for path in sorted(tmp_path.iterdir()):
        assert witnessed(path, x), path
        assert witnessed(path, x[:, 1:]), path  # a column is left out
        other = x.copy()
        other[3, 1] += 0.01
        assert not witnessed(path, other), path
        assert not witnessed(path, x[[1, 0, 2, 3, 4]]), path
    assert not witnessed(tmp_path / "absent.npy", x)


def test_another_reader_explains_images(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    x = pixels.reshape(3, -1)
    assert witnessed(tmp_path, x) and not witnessed(tmp_path, x[::-1])


def test_what_is_told_is_no_failure(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", np.ones((2, 2)))

    def warn(path):
        LOGGER.warning("told")
        return invent(path)

    target = fuzz.Target("numpy file", tmp_path, (), warn)
    assert fuzz._outcome(target, tmp_path / "x.npy", None) == ("warns", "")
    target = target._replace(read=fuzz._apart(warn))
    assert fuzz._outcome(target, tmp_path / "x.npy", None) == ("warns", "")
    expected = invent(None)
    assert fuzz._outcome(target, tmp_path / "x.npy", expected) == ("as before", "")
