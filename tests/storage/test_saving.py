import hashlib
import io
import json
import os
import pathlib
import stat

import numpy as np
import pytest

import dgg_jax
from dgg_jax.storage import saving
from dgg_jax.storage.saving import InvalidModel
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


def rewrite(folder, **changes):
    """Changes model.json."""
    path = folder / "model.json"
    description = json.loads(path.read_text())
    path.write_text(json.dumps(description | changes))
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


def test_a_failed_replacement_brings_the_old_model_back(folder, tmp_path, monkeypatch):
    replace = os.replace

    def fail(source, target):
        if target == folder and not str(source).endswith(".old"):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr("dgg_jax.storage.saving.os.replace", fail)
    with pytest.raises(OSError, match="No space left"):
        saving.save(folder, {"kind": "New"}, {}, overwrite=True)
    monkeypatch.undo()
    assert saving.load(folder)[0]["kind"] == "Toy"
    assert os.listdir(tmp_path) == ["model"]


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


@pytest.mark.parametrize("where", [0, 100, -1])
def test_a_changed_byte_is_seen(folder, where):
    path = folder / "arrays.npz"
    content = bytearray(path.read_bytes())
    content[where] ^= 1
    path.write_bytes(content)
    with pytest.raises(InvalidModel, match="is damaged: its checksum"):
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
