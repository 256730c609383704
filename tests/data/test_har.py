"""UCI HAR in every layout, and what is refused."""

import functools
import hashlib
import http.server
import io
import logging
import threading
import zipfile

import numpy as np
import pytest
import scipy.io

from dgg_jax import data
from dgg_jax.checks import InvalidInput
from dgg_jax.data import har

NUM_TRAIN, NUM_TEST = 8, 4
FOLDER = "UCI HAR Dataset"


class Tiny:
    """Eight training and four test rows, as text of the original precision."""

    def __init__(self):
        rng = np.random.default_rng(6)
        self.x = rng.uniform(-1, 1, (NUM_TRAIN + NUM_TEST, 561)).round(5)
        self.y = np.arange(NUM_TRAIN + NUM_TEST) % 6
        rows = {"train": slice(NUM_TRAIN), "test": slice(NUM_TRAIN, None)}
        self.texts = {}
        for name, part in rows.items():
            lines = ["".join(f" {v: .7e}" for v in row) for row in self.x[part]]
            self.texts[f"{name}/X_{name}.txt"] = "\n".join(lines) + "\n"
            labels = [f"{label + 1}\n" for label in self.y[part]]
            self.texts[f"{name}/y_{name}.txt"] = "".join(labels)

    def archive(self):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("../outside.txt", "not to be unpacked")
            archive.writestr(f"__MACOSX/{FOLDER}/train/._X_train.txt", b"\0\5\x16")
            for name, text in self.texts.items():
                archive.writestr(f"{FOLDER}/{name}", text)
        return buffer.getvalue()


def write_zip(tiny, folder):
    path = folder / f"{FOLDER}.zip"
    path.write_bytes(tiny.archive())
    return path


def write_zip_in_zip(tiny, folder):
    path = folder / "human+activity+recognition+using+smartphones.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{FOLDER}.zip", tiny.archive())
        archive.writestr(f"{FOLDER}.names", "text")
    return path


def write_texts(tiny, folder):
    for name, text in tiny.texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def write_folder(tiny, folder):
    return write_texts(tiny, folder / FOLDER)


def write_mat(tiny, folder):
    path = folder / "HAR.mat"
    scipy.io.savemat(path, {"X": tiny.x, "Y": tiny.y[:, None] + 1}, do_compression=True)
    return path


def write_npz(tiny, folder, **more):
    # Shuffled, as rows that are grouped by person are.
    order = np.random.default_rng(0).permutation(len(tiny.x))
    is_test = np.arange(len(tiny.x)) >= NUM_TRAIN
    path = folder / "har.npz"
    np.savez(
        path,
        **{"x": tiny.x[order], "y": tiny.y[order], "is_test": is_test[order]} | more,
        classes=np.array(["WALKING"]),
    )
    return path


WRITERS = [write_zip, write_zip_in_zip, write_texts, write_folder, write_mat, write_npz]


@pytest.fixture
def tiny():
    return Tiny()


def load(folder, **options):
    return data.load("har", data_dir=folder, **options)


@pytest.mark.parametrize("inside", ["", "har"])
@pytest.mark.parametrize("write", WRITERS)
def test_layouts(tmp_path, tiny, write, inside, caplog):
    (tmp_path / inside).mkdir(exist_ok=True)
    path = write(tiny, tmp_path / inside)
    before = sorted(tmp_path.rglob("*"))
    with caplog.at_level(logging.WARNING, logger="dgg_jax"):
        found = load(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    assert not (tmp_path.parent / "outside.txt").exists()
    assert found.x.dtype == np.float32 and found.y.dtype == np.int32
    order = np.arange(len(tiny.x))
    if write is write_npz:
        shuffled = np.random.default_rng(0).permutation(len(tiny.x))
        order = shuffled[np.argsort(shuffled >= NUM_TRAIN, kind="stable")]
    np.testing.assert_array_equal(found.x, tiny.x[order].astype(np.float32) / 2)
    np.testing.assert_array_equal(found.y, tiny.y[order])
    assert (found.name, found.feature_shape) == ("har", (561,))
    assert (found.likelihood, found.variance) == ("gaussian", 0.01)
    assert found.class_names[5] == "Laying" and len(found.class_names) == 6
    assert f"UCI HAR from file {path}, 12 rows, " in found.provenance or (
        f"UCI HAR from files in {path}, 12 rows, " in found.provenance
    )
    assert found.provenance.endswith(
        "(the papers: the first 10,200, E27); divide_by(2)"
    )
    assert "has 12 rows, UCI HAR has 10299" in caplog.text
    if write is write_mat:
        assert found.is_test is None
        assert "12 rows, in the order of the file" in found.provenance
    else:
        np.testing.assert_array_equal(found.is_test, order >= NUM_TRAIN)
        assert "12 rows, train then test" in found.provenance
        test = load(tmp_path, split="test")
        np.testing.assert_array_equal(test.x, found.x[NUM_TRAIN:])


def test_an_alias(tmp_path, tiny):
    write_zip(tiny, tmp_path)
    found = data.load("hhar", data_dir=tmp_path)
    assert found.name == "har"
    np.testing.assert_array_equal(found.x, load(tmp_path).x)


def test_an_npz_without_is_test(tmp_path, tiny):
    np.savez(tmp_path / "har.npz", x=tiny.x, y=tiny.y)
    found = load(tmp_path)
    np.testing.assert_array_equal(found.y, tiny.y)
    assert found.is_test is None
    assert "reconstructed" not in found.provenance


@pytest.mark.parametrize("splits", [{}, {"is_test": np.arange(12) >= NUM_TRAIN}])
def test_an_npz_whose_features_are_reconstructed_says_so(tmp_path, tiny, splits):
    flags = {"jerk_approx": np.zeros(len(tiny.x), bool)}
    np.savez(tmp_path / "har.npz", x=tiny.x, y=tiny.y, **flags, **splits)
    assert load(tmp_path).provenance.startswith("UCI HAR, reconstructed features, from")


@pytest.mark.parametrize("write", [write_zip, write_zip_in_zip, write_mat, write_npz])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.98])
def test_truncated_files(tmp_path, tiny, write, share):
    path = write(tiny, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InvalidInput) as caught:
        load(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{path} must be")
    assert "reading it failed: " in message and "\n" not in message
    assert message.endswith(("fresh copy of the original file.", "x=x, y=y)."))


def test_damaged_members(tmp_path, tiny):
    path = write_zip(tiny, tmp_path)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match="must be a complete zip archive"):
        load(tmp_path)


def test_a_zip_bomb_is_refused(tmp_path, tiny, monkeypatch):
    write_zip(tiny, tmp_path)
    monkeypatch.setattr("dgg_jax.storage.arrays.most_bytes", lambda size: 1000)
    with pytest.raises(InvalidInput, match=r"declares [\d,]+ bytes, too many"):
        load(tmp_path)


def test_a_bomb_in_a_mat_is_refused(tmp_path, tiny, monkeypatch):
    write_mat(tiny, tmp_path)
    monkeypatch.setattr("dgg_jax.storage.arrays.most_bytes", lambda size: 1000)
    with pytest.raises(InvalidInput, match="expand out of proportion to its size"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        (
            "train/X_train.txt",
            lambda text: text[: len(text) // 2 + 9],
            "columns changed",
        ),
        ("train/X_train.txt", lambda text: "", "it is empty"),
        ("train/X_train.txt", lambda text: "word" + text[4:], "could not convert"),
        ("test/X_test.txt", lambda text: "1 2\n3 4\n", "561 features a row"),
        ("train/y_train.txt", lambda text: text[:-2], "8 rows and 7 labels"),
        ("test/y_test.txt", lambda text: "7" + text[1:], "labels 1 to 6"),
        ("test/y_test.txt", lambda text: "1.5" + text[1:], "labels 1 to 6"),
        ("test/y_test.txt", lambda text: "nan" + text[1:], "labels 1 to 6"),
    ],
)
def test_unusable_texts(tmp_path, tiny, name, change, problem):
    changed = change(tiny.texts[name])
    assert changed != tiny.texts[name]
    tiny.texts[name] = changed
    write_folder(tiny, tmp_path)
    with pytest.raises(InvalidInput, match=problem) as caught:
        load(tmp_path)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_a_part_of_the_files(tmp_path, tiny):
    (write_folder(tiny, tmp_path) / "test/y_test.txt").unlink()
    with pytest.raises(InvalidInput, match="has only 3 of the 4 files of UCI HAR"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"y": np.arange(12) % 6 + 1}, "labels 0 to 5, got values in"),
        ({"y": np.arange(11) % 6}, "12 rows and 11 labels"),
        ({"y": np.array(["a"] * 12)}, "must hold real numbers"),
        ({"y": np.array([{}] * 12)}, "real numbers, got object"),
        ({"x": np.zeros((12, 3))}, "561 features a row"),
        ({"is_test": np.zeros(3, bool)}, "is_test in .* bool of shape"),
    ],
)
def test_unusable_npz(tmp_path, tiny, changes, problem):
    write_npz(tiny, tmp_path, **changes)
    with pytest.raises(InvalidInput, match=problem) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_npz_of_other_names(tmp_path):
    np.savez(tmp_path / "har.npz", features=np.zeros(3))
    with pytest.raises(InvalidInput, match="it has no array x and y"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"X": np.zeros((2, 561))}, "it has no array Y"),
        ({"X": np.zeros((2, 561)), "Y": np.array(["ab"])}, "Y must hold real numbers"),
        ({"X": np.zeros((2, 561)), "Y": np.zeros((2, 1))}, "labels 1 to 6"),
    ],
)
def test_unusable_mat(tmp_path, arrays, problem):
    scipy.io.savemat(tmp_path / "HAR.mat", arrays)
    with pytest.raises(InvalidInput, match=problem):
        load(tmp_path)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_a_download_is_prepared(tmp_path, tiny, monkeypatch):
    served, data_dir = tmp_path / "served", tmp_path / "data"
    served.mkdir()
    path = write_zip(tiny, served)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    handler = functools.partial(QuietHandler, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/UCI%20HAR%20Dataset.zip"
        source = har.HAR._replace(downloads=((url, digest),))
        monkeypatch.setattr(har, "HAR", source)
        load(data_dir)
        server.shutdown()
        thread.join()
    again, files = load(data_dir), load(served)
    assert f"tensorflow-datasets, {data_dir}" in again.provenance
    np.testing.assert_array_equal(again.x, files.x)
    np.testing.assert_array_equal(again.y, files.y)
    np.testing.assert_array_equal(again.is_test, files.is_test)


def test_real_har(shared_data, caplog):
    if not (shared_data / "har" / "har.npz").is_file():
        pytest.skip(f"har/har.npz is not in {shared_data}")
    with caplog.at_level(logging.WARNING, logger="dgg_jax"):
        found = load(shared_data)
    assert not caplog.records
    assert found.x.shape == (10_299, 561)
    # As the publishers count them.
    assert np.bincount(found.y).tolist() == [1722, 1544, 1406, 1777, 1906, 1944]
    np.testing.assert_array_equal(found.is_test, np.arange(10_299) >= 7352)
    assert (found.x.min(), found.x.max()) == (-0.5, 0.5)
    assert "har.npz, 10,299 rows, train then test" in found.provenance
    assert found.provenance.startswith("UCI HAR, reconstructed features, from file")
