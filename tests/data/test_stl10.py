import gzip
import hashlib
import io
import logging
import tarfile

import numpy as np
import pytest

from dgg_jax import data, presets
from dgg_jax.checks import InvalidInput, MissingData
from dgg_jax.data import fetching, sources, stl10

BINARIES = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")


class TinySTL10:
    """Three training and two test images of random pixels."""

    def __init__(self):
        rng = np.random.default_rng(4)
        self.images = rng.integers(0, 256, (5, 96, 96, 3), dtype=np.uint8)
        self.labels = np.array([3, 0, 9, 1, 7], np.uint8)
        self.contents = {}
        for split, rows in (("train", slice(3)), ("test", slice(3, None))):
            # Channels, columns, rows.
            pixels = self.images[rows].transpose(0, 3, 2, 1)
            self.contents[f"{split}_X.bin"] = pixels.tobytes()
            self.contents[f"{split}_y.bin"] = (self.labels[rows] + 1).tobytes()

    def write(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.contents.items():
            (folder / name).write_bytes(content)

    def archive(self, path, folder="stl10_binary/"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w:gz") as archive:
            # Not in our order, and with files that nobody asked for.
            for name in ("class_names.txt", *sorted(self.contents), "unlabeled_X.bin"):
                content = self.contents.get(name, b"something else")
                member = tarfile.TarInfo(folder + name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return path


@pytest.fixture
def tiny():
    return TinySTL10()


def assert_tiny(splits, tiny):
    for split, rows in (("train", slice(3)), ("test", slice(3, None))):
        np.testing.assert_array_equal(splits[split].features, tiny.images[rows])
        np.testing.assert_array_equal(splits[split].labels, tiny.labels[rows])
    assert list(splits) == ["train", "test"]


@pytest.mark.parametrize("inside", ["", "stl10", "stl10_binary", "stl10/stl10_binary"])
def test_unpacked_images(tmp_path, tiny, inside):
    tiny.write(tmp_path / inside)
    splits, origin = fetching.fetch(stl10.IMAGES, tmp_path)
    assert_tiny(splits, tiny)
    assert origin == f"files in {tmp_path / inside}"


@pytest.mark.parametrize("folder", ["stl10_binary/", "./stl10_binary/"])
def test_the_archive_is_read_where_it_lies(tmp_path, tiny, folder):
    tiny.archive(tmp_path / "stl10" / "stl10_binary.tar.gz", folder)
    splits, _ = fetching.fetch(stl10.IMAGES, tmp_path)
    assert_tiny(splits, tiny)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.name for path in files] == ["stl10_binary.tar.gz"]


def test_pixels_are_stored_by_channel_then_column(tmp_path, tiny):
    image = bytearray(96 * 96 * 3)
    image[2 * 96 * 96 + 10 * 96 + 20] = 7  # blue, column 10, row 20
    tiny.contents["test_X.bin"] = bytes(image) * 2
    tiny.write(tmp_path)
    splits, _ = fetching.fetch(stl10.IMAGES, tmp_path)
    assert np.argwhere(splits["test"].features).tolist() == [
        [0, 20, 10, 2],
        [1, 20, 10, 2],
    ]


def test_downloaded_images_are_prepared(tmp_path, tiny, monkeypatch):
    from dgg_jax.data import builders

    path = tiny.archive(tmp_path / "elsewhere" / "stl10_binary.tar.gz")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    source = stl10.IMAGES._replace(downloads=(("http://host.invalid/x", digest),))
    monkeypatch.setattr(builders, "unavailable", lambda url: None)
    monkeypatch.setattr(builders, "_downloaded", lambda source, folder: [path])
    data_dir = tmp_path / "data"
    for _ in range(2):
        splits, origin = fetching.fetch(source, data_dir)
        assert_tiny(splits, tiny)
        path.unlink(missing_ok=True)
    assert origin == f"tensorflow-datasets, {data_dir / 'dgg_stl10' / '1.0.0'}"


def test_missing_binaries(tmp_path, tiny):
    del tiny.contents["test_X.bin"]
    tiny.write(tmp_path / "a")
    with pytest.raises(InvalidInput, match=r"missing: stl10_binary/test_X\.bin"):
        fetching.fetch(stl10.IMAGES, tmp_path / "a")
    tiny.archive(tmp_path / "b" / "stl10_binary.tar.gz")
    with pytest.raises(InvalidInput, match=r"must hold .*; missing: test_X.bin"):
        fetching.fetch(stl10.IMAGES, tmp_path / "b")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("train_X.bin", lambda b: b[:-1], "82,943 bytes are no multiple"),
        ("train_X.bin", lambda b: b[:-27648], "hold 2 images and 3 labels"),
        ("test_y.bin", lambda b: b + b"\1", "hold 2 images and 3 labels"),
        ("test_y.bin", lambda b: b"\0\1", "labels from 1 to 10, it holds 0"),
        ("train_y.bin", lambda b: b"\1\2\x0b", "labels from 1 to 10, it holds 11"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_unusable_images(tmp_path, tiny, name, change, message, packed):
    tiny.contents[name] = change(tiny.contents[name])
    if packed:
        tiny.archive(tmp_path / "stl10_binary.tar.gz")
    else:
        tiny.write(tmp_path)
    with pytest.raises(InvalidInput, match=message) as caught:
        fetching.fetch(stl10.IMAGES, tmp_path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def cut(content):
    return content[: len(content) // 2]


def flip(content):
    middle = len(content) // 2
    changed = bytes(255 - value for value in content[middle : middle + 100])
    return content[:middle] + changed + content[middle + 100 :]


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        flip,
        lambda content: b"",
        lambda content: b"no archive",
        lambda content: gzip.compress(b"no archive" * 100),
        # The archive ends within a file, the compression is whole.
        lambda content: gzip.compress(cut(gzip.decompress(content))),
    ],
)
def test_damaged_archives(tmp_path, tiny, damage):
    path = tiny.archive(tmp_path / "stl10_binary.tar.gz")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InvalidInput, match="truncated or damaged") as caught:
        stl10.read_archive([path])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_archives_do_not_expand_without_bound(tmp_path):
    path = tmp_path / "stl10_binary.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        # A sparse file: a petabyte of zeros in a few bytes.
        member = tarfile.TarInfo("stl10_binary/train_X.bin")
        member.pax_headers = {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.realsize": str(2**50),
            "GNU.sparse.name": member.name,
        }
        member.size = 512
        archive.addfile(member, io.BytesIO(b"0\n".ljust(512, b"\0")))
    with pytest.raises(InvalidInput, match="expands to more than 67,108,864 bytes"):
        stl10.read_archive([path])


def features(**arrays):
    rng = np.random.default_rng(0)
    found = {
        "x": rng.random((5, 2048), np.float32),
        "y": np.array([3, 0, 9, 1, 7], np.int32),
        "is_test": np.array([False, False, False, True, True]),
    }
    return {k: v for k, v in {**found, **arrays}.items() if v is not None}


@pytest.mark.parametrize("inside", ["", "stl10"])
def test_features(tmp_path, inside, caplog):
    arrays = features()
    folder = tmp_path / inside
    folder.mkdir(exist_ok=True)
    np.savez(folder / "stl10_resnet50.npz", **arrays)
    with caplog.at_level(logging.WARNING, logger="dgg_jax"):
        found = data.load("stl10", data_dir=tmp_path)
    assert "3 rows of train and 2 of test, STL-10 has 5000 and 8000" in caplog.text
    np.testing.assert_array_equal(found.x, arrays["x"])
    np.testing.assert_array_equal(found.y, arrays["y"])
    np.testing.assert_array_equal(found.is_test, arrays["is_test"])
    assert (found.x.dtype, found.y.dtype) == (np.float32, np.int32)
    assert found.class_names[:2] == ("airplane", "bird")
    assert len(found.class_names) == presets.dgg("stl10").num_clusters
    assert (found.likelihood, found.variance) == ("gaussian", 10.0)
    assert presets.dgg("stl10").variance == found.variance
    assert found.feature_shape == (2048,)
    assert found.provenance == (
        f"STL-10 from {folder / 'stl10_resnet50.npz'} (origin unknown), 5 rows, train "
        "then test; no preprocessing"
    )
    assert data.load("stl10", data_dir=tmp_path, split="test").y.tolist() == [1, 7]


def test_the_full_number_of_rows_warns_of_nothing(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(stl10, "_NUM_ROWS", {"train": 3, "test": 2})
    np.savez(tmp_path / "stl10_resnet50.npz", **features())
    with caplog.at_level(logging.WARNING, logger="dgg_jax"):
        data.load("stl10", data_dir=tmp_path)
    assert not caplog.records


def test_rows_of_train_come_first(tmp_path):
    arrays = features(is_test=np.array([1, 0, 1, 0, 0]))
    np.savez(tmp_path / "stl10_resnet50.npz", **arrays)
    found = data.load("stl10", data_dir=tmp_path)
    np.testing.assert_array_equal(found.x, arrays["x"][[1, 3, 4, 0, 2]])
    assert found.y.tolist() == [0, 1, 7, 3, 9]
    assert found.is_test.tolist() == [False, False, False, True, True]


def test_what_is_written_is_read(tmp_path):
    arrays = features()
    splits = {
        "train": sources.Rows(arrays["x"][:3], arrays["y"][:3].astype(np.uint8)),
        "test": sources.Rows(arrays["x"][3:], arrays["y"][3:].astype(np.uint8)),
    }
    path = tmp_path / "stl10_resnet50.npz"
    stl10.write_features(path, splits, "a network,\nwith weights ü all of them")
    found = data.load("stl10", data_dir=tmp_path)
    np.testing.assert_array_equal(found.x, arrays["x"])
    np.testing.assert_array_equal(found.y, arrays["y"])
    np.testing.assert_array_equal(found.is_test, arrays["is_test"])
    assert "(a network, with weights ü all of them)" in found.provenance


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": None, "is_test": None}, "it has no array y, is_test"),
        ({"x": np.zeros((5, 512))}, r"x must be \[N, 2048\], got shape \(5, 512\)"),
        ({"x": np.zeros(5)}, r"got shape \(5,\)"),
        ({"y": np.zeros(4)}, r"y must have one value a row of x, .*got \(4,\)"),
        ({"y": np.full(5, 10)}, "labels from 0 to 9"),
        ({"y": np.full(5, 0.5)}, "labels from 0 to 9"),
        ({"is_test": np.full(5, 2)}, "is_test must be true or false"),
        ({"is_test": np.zeros((5, 1))}, "is_test must have one value a row"),
        ({"x": np.array([None])}, "must hold real numbers"),
    ],
)
def test_unusable_features(tmp_path, arrays, message):
    np.savez(tmp_path / "stl10_resnet50.npz", **features(**arrays))
    with pytest.raises(InvalidInput, match=message) as caught:
        data.load("stl10", data_dir=tmp_path)
    assert "\n" not in str(caught.value)


def test_features_cut_short(tmp_path):
    path = tmp_path / "stl10_resnet50.npz"
    np.savez(path, **features())
    path.write_bytes(cut(path.read_bytes()))
    with pytest.raises(InvalidInput, match="holds no features of STL-10"):
        data.load("stl10", data_dir=tmp_path)


def test_no_features_say_how_to_make_them(tmp_path, tiny):
    tiny.write(tmp_path)  # the images alone
    with pytest.raises(MissingData) as caught:
        data.load("stl10", data_dir=tmp_path)
    message = str(caught.value)
    assert f"looked in {tmp_path} and {tmp_path / 'stl10'} for stl10_res" in message
    command = "python -m experiments.extract_features --dataset=stl10 --data_dir="
    assert f"{command}{tmp_path} " in message
    assert "\n" not in message
