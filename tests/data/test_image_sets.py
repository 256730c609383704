"""Fashion-MNIST, USPS and SVHN: small files in the true formats, and MNIST's own."""

import bz2
import hashlib
import io
import json
import logging
import shutil
import struct
import zlib

import numpy as np
import pytest
import scipy.io

from dgg_jax import data, presets
from dgg_jax.checks import InvalidInput, MissingData
from dgg_jax.data import builders, image_sets
from dgg_jax.data.preprocessing import to_unit_interval
from dgg_jax.methods import gmvae
from dgg_jax.storage import arrays
from tests.experiments.command_line import call

NAMES = ("fashion_mnist", "usps", "svhn")


def libsvm(pixels, labels):
    """As LIBSVM prints it; zeros are left out."""
    lines = (
        " ".join([f"{label}", *(f"{i}:{v:.6g}" for i, v in enumerate(row, 1) if v)])
        for row, label in zip(pixels, labels, strict=True)
    )
    return "".join(f"{line} \n" for line in lines).encode()


class TinyUsps:
    def __init__(self):
        rng = np.random.default_rng(2)
        self.pixels = rng.integers(-4, 5, (9, 256)) / 4
        self.pixels[0, :2] = [-1, 1]
        self.labels = np.array([1, 10, 2, 3, 4, 5, 6, 7, 8])
        self.files = {
            "usps": libsvm(self.pixels[:6], self.labels[:6]),
            "usps.t": libsvm(self.pixels[6:], self.labels[6:]),
        }

    def write(self, folder, compress=True):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            if compress:
                (folder / f"{name}.bz2").write_bytes(bz2.compress(content))
            else:
                (folder / name).write_bytes(content)
        return folder


def mat(x, y, **options):
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"X": x, "y": y}, do_compression=True, **options)
    return stream.getvalue()


class TinySvhn:
    NAMES = ("train_32x32.mat", "test_32x32.mat", "extra_32x32.mat")
    ROWS = (slice(5), slice(5, 8), slice(8, 12))

    def __init__(self):
        rng = np.random.default_rng(3)
        self.images = rng.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
        self.labels = np.array([10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1])
        self.files = {
            name: mat(
                np.moveaxis(self.images[rows], 0, 3),
                self.labels[rows, None].astype(np.uint8),
            )
            for name, rows in zip(self.NAMES, self.ROWS, strict=True)
        }

    def write(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        return folder


@pytest.fixture
def tiny_usps():
    return TinyUsps()


@pytest.fixture
def tiny_svhn():
    return TinySvhn()


def refused(name, folder, **options):
    with pytest.raises(InvalidInput) as caught:
        data.load(name, data_dir=folder, **options)
    message = str(caught.value)
    assert not isinstance(caught.value, MissingData)
    assert "\n" not in message
    return message


# --- What the original files hold ----------------------------------------------------


def test_classes_and_first_image_of_mnist(real_mnist):
    mnist = data.load("mnist", data_dir=real_mnist)
    counts = np.bincount(mnist.y)
    assert counts.tolist() == [
        6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958,
    ]  # fmt: skip
    pixels = np.rint(mnist.x[0] * 255).astype(np.uint8)
    assert hashlib.sha256(pixels).hexdigest() == (
        "23ceaef5eb61f0e70d64ac18fdf0f60df3d5971cf30bbadac7b6ebf07f782d2c"
    )


@pytest.mark.parametrize("name", NAMES)
def test_downloads(name):
    found = {
        "fashion_mnist": (image_sets.FASHION_MNIST,),
        "usps": (image_sets.USPS,),
        "svhn": (image_sets.SVHN, image_sets.SVHN_EXTRA),
    }[name]
    for source in found:
        assert source.name == name
        (layout,) = source.layouts
        published = [url.rsplit("/", 1)[1] for url, _ in source.downloads]
        for names, file, (_, digest) in zip(
            layout.files, published, source.downloads, strict=True
        ):
            assert file in names
            assert len(bytes.fromhex(digest)) == 32


# --- Fashion-MNIST -------------------------------------------------------------------


def test_fashion_mnist(tmp_path, tiny, caplog):
    tiny.write(tmp_path)
    with caplog.at_level(logging.WARNING, logger="dgg_jax"):
        fashion = data.load("fashion_mnist", data_dir=tmp_path)
    assert (
        f"The images (files in {tmp_path}) are not the original ones of Fashion-MNIST, "
        "which number 60000 + 10000; results are not comparable"
    ) in caplog.text
    expected = tiny.images.reshape(10, 784) / np.float32(255)
    np.testing.assert_array_equal(fashion.x, expected)
    np.testing.assert_array_equal(fashion.y, tiny.labels)
    np.testing.assert_array_equal(fashion.is_test, [False] * 7 + [True] * 3)
    assert fashion.name == "fashion_mnist"
    assert fashion.feature_shape == (28, 28)
    assert len(fashion.class_names) == 10
    assert (fashion.class_names[0], fashion.class_names[9]) == (
        "T-shirt/top",
        "Ankle boot",
    )
    assert fashion.provenance == (
        f"Fashion-MNIST from files in {tmp_path}, 10 rows, train then test; "
        "divide_by(255), flatten"
    )


def test_provenance_says_that_files_are_the_published_ones(tmp_path, tiny, monkeypatch):
    tiny.write(tmp_path)
    digests = [
        (f"http://host/{path.name}", hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(tmp_path.iterdir())
    ]
    source = image_sets.FASHION_MNIST._replace(downloads=tuple(digests))
    monkeypatch.setattr(image_sets, "FASHION_MNIST", source)
    found = data.load("fashion_mnist", data_dir=tmp_path).provenance
    assert f"Fashion-MNIST from original files in {tmp_path}, 10 rows" in found
    # One of the four is another.
    tiny.contents["train-labels-idx1-ubyte"] = tiny.contents["train-labels-idx1-ubyte"][
        :8
    ] + bytes(7)
    tiny.write(tmp_path)
    found = data.load("fashion_mnist", data_dir=tmp_path).provenance
    assert f"Fashion-MNIST from files in {tmp_path}, 10 rows" in found


def test_mnist_is_not_taken_for_fashion_mnist(tmp_path, tiny, monkeypatch):
    tiny.write(tmp_path)
    content = tiny.images.tobytes() + tiny.labels.tobytes()
    monkeypatch.setattr(
        image_sets, "_MNIST_SHA256", hashlib.sha256(content).hexdigest()
    )
    assert refused("fashion_mnist", tmp_path) == (
        f"the files in {tmp_path} are those of MNIST, not of Fashion-MNIST, which have "
        f"the same names; put the latter into {tmp_path / 'fashion_mnist'}."
    )
    # Each in its folder is what each is taken from.
    tiny.contents["t10k-labels-idx1-ubyte"] = tiny.contents["t10k-labels-idx1-ubyte"][
        :8
    ] + bytes(3)
    tiny.write(tmp_path / "fashion_mnist")
    assert data.load("fashion_mnist", data_dir=tmp_path).y[7:].tolist() == [0, 0, 0]
    mnist = data.load("mnist", data_dir=tmp_path)
    np.testing.assert_array_equal(mnist.y, tiny.labels)
    assert f"files in {tmp_path}, the original data" in mnist.provenance


# --- USPS ----------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("inside", ["", "usps"])
def test_usps(tmp_path, tiny_usps, compress, inside):
    folder = tiny_usps.write(tmp_path / inside, compress)
    found = data.load("usps", data_dir=tmp_path)
    assert found.x.dtype == np.float32 and found.y.dtype == np.int32
    np.testing.assert_array_equal(found.x, (tiny_usps.pixels + 1) / 2)
    assert (found.x.min(), found.x.max()) == (0, 1)
    # LIBSVM's label 1 is the digit 0, its 10 the 9.
    np.testing.assert_array_equal(found.y, tiny_usps.labels - 1)
    np.testing.assert_array_equal(found.is_test, [False] * 6 + [True] * 3)
    assert found.feature_shape == (16, 16)
    assert found.class_names == tuple("0123456789")
    assert found.likelihood == presets.dgg("usps").likelihood == "bernoulli"
    assert found.provenance == (
        f"USPS from files in {folder}, 9 rows, train then test; "
        "to_unit_interval(-1, 1), flatten"
    )


def damaged_usps(tmp_path, tiny_usps, content, compress=False):
    tiny_usps.files["usps"] = content
    return refused("usps", tiny_usps.write(tmp_path, compress))


@pytest.mark.parametrize("end", [10, 200, -10])
def test_usps_cut_short(tmp_path, tiny_usps, end):
    tiny_usps.write(tmp_path)
    path = tmp_path / "usps.bz2"
    path.write_bytes(path.read_bytes()[:end])
    message = refused("usps", tmp_path)
    assert f"{path} must be a complete bzip2 file, it is truncated" in message


def test_damaged_bzip2(tmp_path, tiny_usps):
    tiny_usps.write(tmp_path)
    path = tmp_path / "usps.bz2"
    content = bytearray(path.read_bytes())
    content[100] ^= 255
    path.write_bytes(content)
    assert "must be a complete bzip2 file" in refused("usps", tmp_path)


def test_bzip2_that_expands_without_bound(tmp_path, tiny_usps, monkeypatch):
    monkeypatch.setattr(arrays, "_SMALL", 10_000)
    message = damaged_usps(tmp_path, tiny_usps, bytes(10**6), compress=True)
    assert "expands to more than 10,000 bytes, out of proportion" in message


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (b"", "is empty"),
        (b"1 1:0.5\n2 1:", "reading it failed"),
        (b"1 1:0.5\n11 1:0.5\n", "labels from 1 to 10, it holds 11 in row 2"),
        (b"0 1:0.5\n", "labels from 1 to 10, it holds 0 in row 1"),
        (b"nan 1:0.5\n", "labels from 1 to 10, it holds nan in row 1"),
        (b"1.5 1:0.5\n", "labels from 1 to 10, it holds 1.5 in row 1"),
        (b"1 1:0.5\n2 3:1.5\n", "pixels in [-1, 1], it holds 1.5 in row 2"),
        (b"1 1:nan\n", "pixels in [-1, 1], it holds nan in row 1"),
        (b"1 257:0.5\n", 'lines "LABEL 1:PIXEL ... 256:PIXEL", reading it failed'),
        (b"1 0:0.5\n", "reading it failed"),
        (b"one 1:0.5\n", "reading it failed"),
        (b"1 1:half\n", "reading it failed"),
        (bytes(range(256)), "reading it failed"),
    ],
)
def test_usps_of_something_else(tmp_path, tiny_usps, content, fragment):
    message = damaged_usps(tmp_path, tiny_usps, content)
    assert message.startswith(f"{tmp_path / 'usps'} ")
    assert fragment in message
    assert "Replace it with a fresh copy" in message


def test_to_unit_interval():
    x = to_unit_interval([[-2, 0], [1, 2]], -2, 2)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, [[0, 0.5], [0.75, 1]])


# --- SVHN ----------------------------------------------------------------------------


@pytest.mark.parametrize("inside", ["", "svhn"])
def test_svhn(tmp_path, tiny_svhn, inside):
    folder = tiny_svhn.write(tmp_path / inside)
    found = data.load("svhn", data_dir=tmp_path)
    assert found.x.dtype == np.float32 and found.y.dtype == np.int32
    expected = tiny_svhn.images[:8].reshape(8, 3072) / np.float32(255)
    np.testing.assert_array_equal(found.x, expected)
    np.testing.assert_array_equal(found.y, tiny_svhn.labels[:8] % 10)
    np.testing.assert_array_equal(found.is_test, [False] * 5 + [True] * 3)
    assert found.feature_shape == (32, 32, 3)
    assert found.likelihood == "bernoulli"
    assert found.provenance == (
        f"SVHN from files in {folder}, 8 rows, train then test; divide_by(255), flatten"
    )
    # The convolutions of the preset take these rows.
    shape = (len(found.x), *found.feature_shape)
    gmvae.check(presets.preset("gmvae", "svhn", "paper"), shape)


def test_splits_of_svhn(tmp_path, tiny_svhn):
    tiny_svhn.write(tmp_path)
    for split, rows in zip(("train", "test", "extra"), tiny_svhn.ROWS, strict=True):
        found = data.load("svhn", data_dir=tmp_path, split=split)
        expected = tiny_svhn.images[rows].reshape(-1, 3072) / np.float32(255)
        np.testing.assert_array_equal(found.x, expected)
        np.testing.assert_array_equal(found.y, tiny_svhn.labels[rows] % 10)
        assert found.is_test is None
        assert (found.name, found.feature_shape) == ("svhn", (32, 32, 3))
    assert "The extra part of SVHN from file " in found.provenance
    assert "4 rows, extra; divide_by(255)" in found.provenance
    for name in ("mnist", "digits"):
        message = refused(name, tmp_path, split="extra")
        assert message == ("split='extra' is unknown; choose one of: all, train, test.")


def test_the_extra_images_of_svhn_from_a_command_line(tmp_path, tiny_svhn):
    tiny_svhn.write(tmp_path / "data")
    done = call(
        *("--dataset=svhn", "--split=extra", "--method=kmeans", "--num_clusters=2"),
        *(f"--data_dir={tmp_path / 'data'}", f"--workdir={tmp_path / 'run'}"),
    )
    assert done.code == 0, done.err
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["dataset"]["rows"] == 4
    assert "The extra part of SVHN" in result["dataset"]["provenance"]


def test_one_image(tmp_path, tiny_svhn):
    tiny_svhn.files["test_32x32.mat"] = mat(tiny_svhn.images[0], np.uint8([[10]]))
    tiny_svhn.write(tmp_path)
    found = data.load("svhn", data_dir=tmp_path, split="test")
    np.testing.assert_array_equal(found.x[0] * 255, tiny_svhn.images[0].ravel())
    assert found.y.tolist() == [0]


X = np.zeros((32, 32, 3, 4), np.uint8)
Y = np.ones((4, 1), np.uint8)
CELL = np.empty((1, 1), object)
CELL[0, 0] = X


@pytest.mark.parametrize(
    ("x", "y", "fragment"),
    [
        (X, Y[:3], "as many labels as images, it holds 4 images and y of shape (3, 1)"),
        (X, Y * 0, "labels from 1 to 10, it holds 0 in row 1"),
        (X, Y * 11, "labels from 1 to 10, it holds 11 in row 1"),
        (X, Y * np.nan, "labels from 1 to 10, it holds nan in row 1"),
        (X, Y * 1.5, "labels from 1 to 10, it holds 1.5 in row 1"),
        (X.astype(float), Y, "it holds float64 of shape (32, 32, 3, 4)"),
        (X[:28], Y, "it holds uint8 of shape (28, 32, 3, 4)"),
        (np.zeros((4, 32, 32, 3), np.uint8), Y, "of shape (4, 32, 32, 3)"),
        (X, np.full((4, 1), "1"), "4 characters have shape (4, 1, 1)"),
        ({"a": X}, Y, "'X' is a structure"),
        (CELL, Y, "a cell holds more than one string or number"),
    ],
)
def test_svhn_of_something_else(tmp_path, tiny_svhn, x, y, fragment):
    tiny_svhn.files["test_32x32.mat"] = mat(x, y)
    tiny_svhn.write(tmp_path)
    message = refused("svhn", tmp_path)
    assert message.startswith(f"{tmp_path / 'test_32x32.mat'} ")
    assert fragment in message


@pytest.mark.parametrize("end", [0, 50, 130, 1000, -1])
def test_mat_cut_short(tmp_path, tiny_svhn, end):
    tiny_svhn.write(tmp_path)
    path = tmp_path / "train_32x32.mat"
    path.write_bytes(path.read_bytes()[:end])
    assert refused("svhn", tmp_path).startswith(f"{path} must be a .mat file with")


def test_damaged_mat(tmp_path, tiny_svhn):
    rng = np.random.default_rng(0)
    tiny_svhn.write(tmp_path)
    path = tmp_path / "train_32x32.mat"
    content = path.read_bytes()
    for place in rng.integers(128, len(content), 20):
        damaged = bytearray(content)
        damaged[place] ^= 255
        path.write_bytes(damaged)
        assert str(path) in refused("svhn", tmp_path)


def test_mat_that_expands_without_bound(tmp_path, tiny_svhn, monkeypatch):
    monkeypatch.setattr(arrays, "_SMALL", 10_000)
    bomb = zlib.compress(struct.pack("<II", 14, 10**7) + bytes(10**7))
    header = mat(X, Y)[:128]
    content = header + struct.pack("<II", 15, len(bomb)) + bomb
    tiny_svhn.files["train_32x32.mat"] = content
    tiny_svhn.write(tmp_path)
    message = refused("svhn", tmp_path)
    assert "out of proportion" in message


# --- Through the builder -------------------------------------------------------------


@pytest.fixture
def published(tmp_path, tiny, tiny_usps, tiny_svhn, served, monkeypatch):
    """Serves all files here, under the names of the true downloads."""
    folder, url, stop = served
    tiny.write(folder)
    tiny_usps.write(folder)
    tiny_svhn.write(folder)
    for name in ("FASHION_MNIST", "USPS", "SVHN", "SVHN_EXTRA"):
        source = getattr(image_sets, name)
        files = [published.rsplit("/", 1)[1] for published, _ in source.downloads]
        downloads = tuple(
            (f"{url}{file}", hashlib.sha256((folder / file).read_bytes()).hexdigest())
            for file in files
        )
        monkeypatch.setattr(image_sets, name, source._replace(downloads=downloads))
    monkeypatch.setattr(builders, "_ROWS_PER_RECORD", 4)
    return folder, stop


@pytest.mark.parametrize(
    ("name", "split"),
    [("fashion_mnist", "all"), ("usps", "all"), ("svhn", "all"), ("svhn", "extra")],
)
def test_download_equals_files(tmp_path, published, name, split):
    folder, stop = published
    data_dir = tmp_path / "data"
    raw = data.load(name, data_dir=folder, split=split)
    data.load(name, data_dir=data_dir, split=split)
    stop()
    shutil.rmtree(data_dir / "downloads")
    found = data.load(name, data_dir=data_dir, split=split)
    np.testing.assert_array_equal(found.x, raw.x)
    np.testing.assert_array_equal(found.y, raw.y)
    np.testing.assert_array_equal(found.is_test, raw.is_test)
    part = "_extra" if split == "extra" else ""
    assert f"tensorflow-datasets, {data_dir / f'dgg_{name}{part}'}" in found.provenance
    assert "from original file" in raw.provenance


def test_parts_of_svhn_are_prepared_apart(tmp_path, published):
    data_dir = tmp_path / "data"
    data.load("svhn", data_dir=data_dir)
    assert [path.name for path in data_dir.glob("dgg_*")] == ["dgg_svhn"]
    data.load("svhn", data_dir=data_dir, split="extra")
    assert {path.name for path in data_dir.glob("dgg_*")} == {
        "dgg_svhn",
        "dgg_svhn_extra",
    }


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("fashion_mnist", "t10k-labels-idx1-ubyte.gz"),
        ("usps", "usps.t.bz2"),
        ("svhn", "test_32x32.mat"),
    ],
)
def test_wrong_checksum(tmp_path, published, name, file):
    folder, _ = published
    expected = hashlib.sha256((folder / file).read_bytes()).hexdigest()
    (folder / file).write_bytes(b"something else")
    with pytest.raises(MissingData) as caught:
        data.load(name, data_dir=tmp_path / "data")
    got = hashlib.sha256(b"something else").hexdigest()
    assert f"{file} has a wrong checksum: SHA-256 expected {expected}, got {got}" in (
        str(caught.value)
    )
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "data").glob("dgg_*/*"))


@pytest.mark.parametrize("name", NAMES)
def test_missing_files_are_named(tmp_path, name, monkeypatch):
    monkeypatch.setattr(builders, "unavailable", lambda url: "no network")
    with pytest.raises(MissingData) as caught:
        data.load(name, data_dir=tmp_path)
    message = str(caught.value)
    source = getattr(image_sets, name.upper())
    for names in source.layouts[0].files:
        assert names[0] in message
    assert f"Looked in {tmp_path / name} and {tmp_path} for" in message
    assert f"{source.downloads[0][0]} cannot be reached: no network" in message
    assert "\n" not in message
