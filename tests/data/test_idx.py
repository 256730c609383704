import gzip
import re

import numpy as np
import pytest

from dgg_jax.checks import InvalidInput
from dgg_jax.data import idx

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def read(folder):
    """The four files of a folder, whatever their suffix."""
    return idx.read_mnist([next(folder.glob(f"{name}*")) for name in NAMES])


@pytest.mark.parametrize("compress", [True, False])
def test_reads_train_and_test(tmp_path, tiny, compress):
    tiny.write(tmp_path, compress=compress)
    splits = read(tmp_path)
    assert list(splits) == ["train", "test"]
    for rows, part in zip(splits.values(), (slice(7), slice(7, None)), strict=True):
        assert rows.features.dtype == rows.labels.dtype == np.uint8
        np.testing.assert_array_equal(rows.features, tiny.images[part])
        np.testing.assert_array_equal(rows.labels, tiny.labels[part])


def test_compression_is_told_by_content(tmp_path, tiny):
    tiny.write(tmp_path, compress=False)
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_name(path.name + ".gz"))
    np.testing.assert_array_equal(read(tmp_path)["test"].features, tiny.images[7:])


def test_any_number_of_dimensions(tmp_path, as_idx):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "a").write_bytes(as_idx(array))
    np.testing.assert_array_equal(idx.read_idx(tmp_path / "a", 3), array)
    (tmp_path / "b").write_bytes(as_idx(array[0]))
    np.testing.assert_array_equal(idx.read_idx(tmp_path / "b", 2), array[0])


@pytest.mark.parametrize(
    ("content", "came"),
    [
        (b"<!DOCTYPE html>", "3c 21 44 4f"),
        (b"\0\0\x08\x01\0\0\0\0", "00 00 08 01"),
        (b"\0\0\x0d\x03\0\0\0\0", "00 00 0d 03"),
        (b"", "nothing, it is empty"),
    ],
)
def test_bad_magic(tmp_path, content, came):
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        idx.read_idx(path, 3)
    message = str(caught.value)
    assert message.startswith(f"{path} must start with the bytes 00 00 08 03 ")
    assert f"it starts with {came}." in message
    assert "Replace it with a fresh copy" in message


def test_truncated_header(tmp_path, as_idx):
    path = tmp_path / "images"
    path.write_bytes(as_idx(np.zeros((2, 3, 4), np.uint8))[:13])
    with pytest.raises(InvalidInput, match=r"images is truncated.* 16 bytes.* 13\."):
        idx.read_idx(path, 3)


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize(("change", "problem"), [(-1, "truncated"), (1, "too long")])
def test_wrong_length(tmp_path, as_idx, compress, change, problem):
    content = as_idx(np.zeros((2, 3, 4), np.uint8))
    content = content[:-1] if change < 0 else content + b"\0"
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(content) if compress else content)
    with pytest.raises(InvalidInput) as caught:
        idx.read_idx(path, 3)
    message = str(caught.value)
    assert f"{path} is {problem}: it must hold 40 bytes" in message
    assert "shape (2, 3, 4)" in message
    assert f"it holds {40 + change}. Replace" in message


def test_huge_dimensions_are_truncation(tmp_path):
    path = tmp_path / "images"
    # 2^16 x 2^24 x 2^24 is 0 modulo 2^64.
    path.write_bytes(bytes([0, 0, 8, 3, 0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]))
    with pytest.raises(InvalidInput, match="is truncated"):
        idx.read_idx(path, 3)


def damaged(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(255 - b for b in content[middle:])


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-4],
        lambda content: content[:5],
        damaged,
        lambda content: content[:-8] + b"\0" * 8,
        lambda content: content[:10] + b"\xff" * 100,
    ],
    ids=["half", "no-length", "header", "noise", "checksum", "deflate"],
)
def test_damaged_gzip(tmp_path, tiny, damage):
    tiny.write(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path)
    message = str(caught.value)
    assert f"{path} must be a complete gzip file" in message
    assert "Replace it with a fresh copy" in message


def test_unreadable_file(tmp_path):
    with pytest.raises(InvalidInput, match=re.escape(f"{tmp_path} must be a readable")):
        idx.read_idx(tmp_path, 1)


def test_counts_must_match(tmp_path, tiny, as_idx):
    tiny.write(tmp_path, compress=False)
    (tmp_path / NAMES[1]).write_bytes(as_idx(tiny.labels[:6]))
    with pytest.raises(InvalidInput, match="7 images and 6 labels") as caught:
        read(tmp_path)
    assert str(tmp_path / NAMES[0]) in str(caught.value)
    assert str(tmp_path / NAMES[1]) in str(caught.value)


def test_images_must_be_28_by_28(tmp_path, tiny, as_idx):
    tiny.write(tmp_path, compress=False)
    small = np.zeros((7, 28, 27), np.uint8)
    (tmp_path / NAMES[0]).write_bytes(as_idx(small))
    with pytest.raises(InvalidInput, match=r"\(28, 28\), it holds .*\(28, 27\)"):
        read(tmp_path)


def test_labels_must_be_digits(tmp_path, tiny, as_idx):
    tiny.write(tmp_path, compress=False)
    (tmp_path / NAMES[3]).write_bytes(as_idx(np.uint8([0, 10, 3])))
    with pytest.raises(InvalidInput, match="from 0 to 9, it holds 10"):
        read(tmp_path)
