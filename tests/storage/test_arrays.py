import errno
import io
import os
import tempfile
import zipfile

import jax
import numpy as np
import pytest

from dgg_jax import data
from dgg_jax.storage import arrays
from dgg_jax.storage.arrays import Npz, most_bytes, read_bytes, read_npy


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(compression=zipfile.ZIP_STORED, **members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
        np.zeros((0, 3), np.float16),
        np.float32(2.5),
        np.array([True, False]),
    ],
)
def test_arrays_come_back(array):
    for read in (read_npy(npy(array)), Npz(npz(a=npy(array)))["a"]):
        np.testing.assert_array_equal(read, array)
        assert read.dtype == array.dtype
        assert read.flags.writeable


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_map_of_a_file(tmp_path, order):
    array = np.arange(6.0).reshape(2, 3)
    path = tmp_path / "x.npy"
    np.save(path, np.asarray(array, order=order))
    mapped = arrays.map_npy(path)
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(mapped, array)
    with pytest.raises(ValueError, match="read-only"):
        mapped[0] = 0.0
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ValueError, match="its header declares 176 bytes, it has 177"):
        arrays.map_npy(path)


def test_temporary_arrays_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    array = arrays.temporary((3, 2), np.float64)
    array[1] = 5.0
    assert array.shape == (3, 2) and array.dtype == np.float64 and array.sum() == 10.0
    assert isinstance(array, np.memmap)
    assert list(tmp_path.iterdir()) == []  # as soon as it is made


def test_large_arrays_are_temporary(monkeypatch):
    monkeypatch.setattr(arrays, "LARGE", 24)
    assert type(arrays.empty((5,))) is np.ndarray
    assert type(arrays.empty((6,))) is np.memmap


def test_a_full_disk_refuses_a_temporary_array(monkeypatch):
    def full(file, start, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        arrays.temporary((3, 2))


@pytest.mark.parametrize("array", [np.array(["a"]), np.ones(2, "c8"), np.array([{}])])
def test_what_is_no_number(array):
    with pytest.raises(ValueError, match="must hold real numbers, got"):
        read_npy(npy(array))


@pytest.mark.parametrize("change", [-1, 1])
def test_sizes_must_be_the_declared_ones(change):
    content = npy(np.ones(5))
    content = content[:change] if change < 0 else content + b"\0"
    with pytest.raises(ValueError, match="declares 168 bytes, it has 16"):
        read_npy(content)


def test_a_declared_size_is_not_allocated():
    content = npy(np.ones(5)).replace(b"(5,), }        ", b"(99999999999,)}")
    with pytest.raises(ValueError, match="declares 800,000,000,120 bytes, it has 168"):
        read_npy(content)
    with pytest.raises(ValueError, match="declares 800,000,000,120 bytes"):
        Npz(npz(a=content))["a"]


def test_no_file_expands_out_of_proportion(monkeypatch):
    zeros = npz(zipfile.ZIP_DEFLATED, a=npy(np.zeros(100_000)))
    assert len(zeros) < 2_000
    assert Npz(zeros)["a"].shape == (100_000,)
    with pytest.raises(ValueError, match="arrays declare 800,128 bytes, too many"):
        Npz(zeros, compressed=False)
    monkeypatch.setattr(arrays, "_SMALL", 1_000)
    with pytest.raises(ValueError, match="arrays declare 800,128 bytes, too many"):
        Npz(zeros)
    assert most_bytes(10) == 2_000


def test_no_member_expands_further_than_it_declares():
    zeros = npz(zipfile.ZIP_DEFLATED, a=npy(np.zeros(100_000)))
    place = zeros.index(b"PK\x01\x02") + 24
    lie = zeros[:place] + (200).to_bytes(4, "little") + zeros[place + 4 :]
    with pytest.raises(ValueError, match=r"CRC|it has 200"):
        Npz(lie)["a"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"x" * 100])
def test_what_is_no_archive(content):
    with pytest.raises(ValueError, match="not a zip file"):
        Npz(content)


@pytest.mark.parametrize("header", [b"(" * 3_000, b"{'a': '''\n", b"__import__('os')"])
def test_odd_headers(header):
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with pytest.raises(ValueError):
        read_npy(content)


def test_only_regular_files_are_read(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    assert read_bytes(tmp_path / "link") == b"abc"
    for name in ("pipe", "device", "."):
        with pytest.raises(OSError, match="it is no regular file"):
            read_bytes(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "absent")


@pytest.mark.parametrize("shape", [(3, 5), (1000, 7), (), (0, 4)])
def test_arrays_lie_where_jax_takes_them_without_a_copy(shape):
    values = np.arange(np.prod(shape, dtype=int), dtype=np.uint8).reshape(shape)
    copy = arrays.float32_copy(values)
    assert copy.dtype == np.float32 and copy.flags.writeable
    np.testing.assert_array_equal(copy, values)
    assert copy.size == 0 or copy.ctypes.data % 64 == 0
    if copy.size and jax.default_backend() == "cpu":
        on_device = jax.device_put(copy)
        assert on_device.unsafe_buffer_pointer() == copy.ctypes.data
    wide = arrays.empty((9, 3), np.float64)
    assert wide.shape == (9, 3) and wide.dtype == np.float64
    assert wide.ctypes.data % 64 == 0


def test_data_sets_are_placed_without_a_copy():
    x = data.load("digits").x
    assert x.flags.c_contiguous and x.ctypes.data % 64 == 0
