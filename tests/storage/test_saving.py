import hashlib
import io
import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dgg_jax
from dgg_jax.storage import saving
from dgg_jax.storage.saving import InvalidModel
from dgg_jax.storage.signed import sign
from tests.hardening.check_estimators import NAMES
from tests.methods.toy import blobs
from tests.trees import assert_same

# By earlier versions, and never again.
SAVED = pathlib.Path(__file__).parents[1] / "saved"

ARRAYS = {
    "model": {"encoder": {"kernel": np.arange(6.0, dtype=np.float32).reshape(2, 3)}},
    "labels": np.array([0, 2, 1], np.int32),
    "nothing": np.zeros((0, 3), np.float32),
    "scalar": np.float32(0.5),
}
DESCRIPTION = {"kind": "Toy", "settings": {"sizes": [1, 2], "seed": None}}


@pytest.fixture
def folder(tmp_path):
    saving.save(tmp_path / "model", DESCRIPTION, ARRAYS)
    return tmp_path / "model"


def rewrite(folder, *, signed=True, **changes):
    """Changes model.json, and its checksum with it."""
    path = folder / "model.json"
    description = json.loads(path.read_text())
    changed = sign(description | changes)
    if not signed:
        del changed["sha256"]
    path.write_text(json.dumps(changed))
    return description


def with_arrays(folder, content):
    """Other arrays, with the checksum that belongs to them."""
    (folder / "arrays.npz").write_bytes(content)
    listed = rewrite(folder)["arrays"]
    rewrite(folder, arrays=listed | {"sha256": hashlib.sha256(content).hexdigest()})


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def test_what_is_saved_comes_back(folder):
    description, arrays = saving.load(folder)
    assert_same(arrays, ARRAYS)
    assert {name: description[name] for name in DESCRIPTION} == DESCRIPTION
    assert description["format"] == saving.FORMAT
    assert description["arrays"]["shapes"]["model/encoder/kernel"] == [2, 3]
    assert description["arrays"]["dtypes"]["labels"] == "int32"
    assert sorted(os.listdir(folder)) == ["arrays.npz", "model.json"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert_same(saving.load(str(folder))[1], ARRAYS)


def test_nothing_is_overwritten_unasked(folder, tmp_path):
    with pytest.raises(FileExistsError, match="exists; overwrite=True replaces it"):
        saving.save(folder, DESCRIPTION, {})
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="exists; it is no model"):
        saving.save(other, DESCRIPTION, {}, overwrite=True)
    assert (other / "thesis.txt").read_text() == "years of work"
    saving.save(folder, {"kind": "New"}, {"a": np.ones(2)}, overwrite=True)
    assert saving.load(folder)[0]["kind"] == "New"
    assert sorted(os.listdir(tmp_path)) == ["mine", "model"]


def test_a_failed_save_leaves_what_was_there(folder, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        saving.save(folder, {"kind": "New"}, {}, overwrite=True)
    with pytest.raises(OSError, match="No space left"):
        saving.save(tmp_path / "other", {"kind": "New"}, {})
    monkeypatch.undo()
    assert saving.load(folder)[0]["kind"] == "Toy"
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("written", [0, 1])
def test_a_failed_replacement_leaves_the_old_model(folder, monkeypatch, written):
    replace, done = os.replace, []

    def fail(source, target):
        if len(done) == written:
            raise OSError(28, "No space left on device")
        done.append(target)
        replace(source, target)

    before = saving.load(folder)
    monkeypatch.setattr("dgg_jax.storage.saving.os.replace", fail)
    with pytest.raises(OSError, match="No space left"):
        saving.save(folder, {"kind": "New"}, {"a": np.ones(2)}, overwrite=True)
    monkeypatch.undo()
    assert_same(saving.load(folder), before)
    saving.save(folder, {"kind": "New"}, {"a": np.ones(3)}, overwrite=True)
    assert len(os.listdir(folder)) == 2


# Each change of the folder is the last of a process; saving needs no jax.
KILLED = """
import os, pathlib, shutil, sys
import numpy as np
from dgg_jax.storage import saving

work = pathlib.Path(sys.argv[1])
OLD, NEW = ({"kind": kind, "settings": {}} for kind in ("Old", "New"))
CHANGES = {"os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.truncate"}

def killed_at(change, path):
    def hook(event, arguments):
        nonlocal change
        writes = event == "open" and set(str(arguments[1])) & set("wxa+")
        if event in CHANGES or writes:
            change -= 1
            if change == 0:
                os._exit(9)
    sys.addaudithook(hook)
    saving.save(path, NEW, {"w": np.full(3, 2.0)}, overwrite=True)
    os._exit(0)

for is_there in (False, True):
    for change in range(1, 100):
        folder = work / f"{is_there}-{change}"
        folder.mkdir()
        path = folder / "model"
        if is_there:
            saving.save(path, OLD, {"w": np.full(3, 1.0)})
        child = os.fork()
        if child == 0:
            killed_at(change, path)
        _, status = os.waitpid(child, 0)
        if is_there or path.exists():
            description, arrays = saving.load(path)
            value = {"Old": 1.0, "New": 2.0}[description["kind"]]
            assert (arrays["w"] == value).all()
        saving.save(path, OLD, {"w": np.full(3, 3.0)}, overwrite=True)
        assert saving.load(path)[1]["w"][0] == 3.0
        assert os.listdir(folder) == ["model"], os.listdir(folder)
        assert len(os.listdir(path)) == 2, os.listdir(path)
        if status == 0:
            break
    assert 4 <= change < 99
    print(change)
"""


def test_a_kill_at_any_change_leaves_the_old_model_or_the_new_one(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "jax" not in done.stderr


# Overwrites a model again and again, with other arrays.
WRITER = """
import sys
import numpy as np
from dgg_jax.storage import saving

for number in range(int(sys.argv[2])):
    arrays = {"w": np.full(1000, number)}
    saving.save(sys.argv[1], {"kind": str(number)}, arrays, overwrite=True)
"""


def test_a_reader_meets_one_model_or_the_other(tmp_path):
    path = tmp_path / "model"
    saving.save(path, {"kind": "0"}, {"w": np.full(1000, 0)})
    command = [sys.executable, "-c", WRITER, str(path), "150"]
    writers = [subprocess.Popen(command) for _ in range(2)]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        description, arrays = saving.load(path)
        assert (arrays["w"] == int(description["kind"])).all()
        seen.add(description["kind"])
    assert [writer.returncode for writer in writers] == [0, 0]
    assert len(seen) > 10
    assert len(os.listdir(path)) == 2 and os.listdir(tmp_path) == ["model"]


def test_files_of_a_users_in_a_model_stay(folder):
    (folder / "notes.txt").write_text("mine")
    saving.save(folder, {"kind": "New"}, {"a": np.ones(2)}, overwrite=True)
    assert (folder / "notes.txt").read_text() == "mine"


def test_json_that_is_none_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="nan"):
        saving.save(tmp_path / "model", {"loss": float("nan")}, {})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["model.json", "arrays.npz"])
def test_a_missing_file(folder, name):
    (folder / name).unlink()
    with pytest.raises(InvalidModel, match="holds no saved model: it must be a folder"):
        saving.load(folder)
    with pytest.raises(InvalidModel, match="holds no saved model"):
        saving.load(folder / "missing")


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_no_flipped_bit_passes_unnoticed(data):
    with tempfile.TemporaryDirectory() as made:
        folder = pathlib.Path(made, "model")
        saving.save(folder, DESCRIPTION, ARRAYS)
        before = saving.load(folder)
        path = folder / data.draw(st.sampled_from(["model.json", "arrays.npz"]))
        content = bytearray(path.read_bytes())
        bit = data.draw(st.integers(0, 8 * len(content) - 1))
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        try:
            description, arrays = saving.load(folder)
        except InvalidModel:
            return
        # The name of the checksum is all that may change: then there is none, and a
        # warning.
        description = {name: description[name] for name in before[0]}
        assert_same((description, arrays), before)


@pytest.mark.parametrize("where", [0, 100, -1])
def test_a_changed_byte_is_seen(folder, where):
    path = folder / "arrays.npz"
    content = bytearray(path.read_bytes())
    content[where] ^= 1
    path.write_bytes(content)
    with pytest.raises(InvalidModel, match="is damaged: its checksum"):
        saving.load(folder)


def test_a_changed_description_is_seen(folder):
    text = (folder / "model.json").read_text()
    (folder / "model.json").write_text(text.replace("Toy", "Toz"))
    with pytest.raises(InvalidModel, match="checksum is not that of its content"):
        saving.load(folder)


def test_a_model_without_a_checksum_loads_with_a_warning(folder, capsys):
    saving.load(folder)
    assert capsys.readouterr().err == ""
    rewrite(folder, signed=False)
    assert_same(saving.load(folder)[1], ARRAYS)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{folder / 'model.json'} has no checksum")


@pytest.mark.parametrize("name", ["../model/arrays.npz", "/dev/zero", 3, None, ["x"]])
def test_no_other_file_is_read_for_the_arrays(folder, name):
    listed = json.loads((folder / "model.json").read_text())["arrays"]
    rewrite(folder, arrays=listed | {"file": name})
    assert_same(saving.load(folder)[1], ARRAYS)
    (folder / "arrays.npz").unlink()
    with pytest.raises(InvalidModel, match="holds no saved model"):
        saving.load(folder)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7", '{"format": 1}', '{"format": 1, "arrays": 5}', "[" * 9999],
)
def test_no_description(folder, text):
    (folder / "model.json").write_text(text)
    with pytest.raises(InvalidModel, match="is no description of a model"):
        saving.load(folder)


@pytest.mark.parametrize("version", [0, saving.FORMAT + 1, "1", None])
def test_another_format(folder, version):
    rewrite(folder, format=version)
    with pytest.raises(InvalidModel, match=r"has format .*, this version reads"):
        saving.load(folder)


def test_arrays_that_the_description_does_not_list(folder):
    with_arrays(folder, npz(labels=np.zeros(3)))
    with pytest.raises(InvalidModel, match="does not hold the arrays"):
        saving.load(folder)


class Mine:
    """Unpickling it would make a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def test_nothing_is_unpickled(folder, tmp_path):
    marker = tmp_path / "executed"
    code = np.array([Mine(marker)], dtype=object)
    with_arrays(folder, npz(labels=code))
    with pytest.raises(InvalidModel, match="cannot be read"):
        saving.load(folder)
    assert not marker.exists()


def test_no_npz(folder):
    with_arrays(folder, b"not a zip")
    with pytest.raises(InvalidModel, match="cannot be read"):
        saving.load(folder)


@pytest.mark.parametrize("version", sorted(os.listdir(SAVED)))
@pytest.mark.parametrize("name", NAMES)
def test_models_of_earlier_versions_still_load(version, name):
    """Saved by ``tiny(name, epochs=3).fit(blobs()[0]).save(...)``."""
    model = dgg_jax.load(SAVED / version / name)
    assert type(model).__name__ == name
    x, _ = blobs()
    np.testing.assert_array_equal(model.predict(x), model.labels_)
    if name != "SpectralNet":
        probabilities = model.predict_proba(x)
        np.testing.assert_allclose(probabilities, model.probabilities_, atol=1e-5)
    if name in ("DGG", "VaDE", "GMVAE"):
        elbo = json.loads((SAVED / version / name / "model.json").read_text())
        assert model.score(x) == pytest.approx(elbo["metrics"]["elbo"], rel=1e-3)
