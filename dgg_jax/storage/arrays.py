"""Arrays in files of anyone's: nothing is executed, no more is read than is there."""

import contextlib
import functools
import io
import math
import os
import pathlib
import tempfile
import zipfile
from collections.abc import Iterator
from typing import IO

import numpy as np
from numpy.typing import ArrayLike

LARGE = 2**28  # bytes from which on arrays stay on the disk
_SMALL = 2**26  # bytes that any compressed file may expand to
_EXPANSION = 200  # times its size that a larger one may
_LINE = 64  # bytes; what begins at a multiple of them, jax on a CPU takes as it lies
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_bytes(path: str | os.PathLike) -> bytes:
    """The content of a regular file, which links may lead to.

    Raises:
      OSError: if it cannot be read, or is none: a device or pipe might never end.
    """
    path = pathlib.Path(path)
    if path.exists() and not path.is_file():
        raise OSError(None, "it is no regular file", str(path))
    return path.read_bytes()


def most_bytes(size: int) -> int:
    """How far a compressed file of so many bytes may expand, on this machine."""
    return min(max(_SMALL, _EXPANSION * size), memory() // 4)


@functools.cache
def memory() -> int:
    """Bytes of memory of this machine, or of the container that we are in."""
    found = []
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # "max", or no such file
            found.append(int((pathlib.Path("/sys/fs/cgroup") / name).read_text()))
    with contextlib.suppress(AttributeError, OSError, ValueError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(found, default=2**34)


def empty(shape: tuple[int, ...], dtype: np.dtype = np.float32) -> np.ndarray:
    """An array in memory, or a ``temporary`` one if it is large."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return aligned_empty(shape, dtype) if size < LARGE else temporary(shape, dtype)


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype = np.float32) -> np.ndarray:
    """An array to be filled, of which jax on a CPU needs no copy of its own.

    Those that numpy makes of many numbers begin 16 bytes after a page.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.empty(size + _LINE, np.uint8)
    start = -raw.ctypes.data % _LINE
    return raw[start : start + size].view(dtype).reshape(shape)


def float32_copy(values: ArrayLike) -> np.ndarray:
    """A copy in float32, of the same shape, of which jax on a CPU needs no other."""
    copy = aligned_empty(np.shape(values))
    copy[...] = values
    return copy


def temporary(shape: tuple[int, ...], dtype: np.dtype = np.float32) -> np.memmap:
    """An array in a temporary file, which goes with it: larger than memory may be.

    The file lies where TMPDIR says.

    Raises:
      OSError: if the disk has no room for it.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    with tempfile.TemporaryFile() as file:
        if hasattr(os, "posix_fallocate"):
            # A disk that is full later would end the process without a word.
            os.posix_fallocate(file.fileno(), 0, max(size, 1))
        # The map keeps the file, which has no name any more, until it goes itself.
        return np.memmap(file, dtype, "w+", shape=shape)


@contextlib.contextmanager
def _value_errors() -> Iterator[None]:
    """Damaged bytes make zipfile, zlib, ast and numpy raise all kinds of exceptions."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{error or type(error).__name__}") from error


@_value_errors()
def read_npy(content: bytes, *, text: bool = False) -> np.ndarray:
    """The array of a .npy file.

    Args:
      content: the bytes of the file.
      text: whether it may hold strings too.

    Raises:
      ValueError: if they are no array of real numbers or bools, or not as many as its
        header declares.
    """
    shape, order, dtype, start = _layout(io.BytesIO(content), len(content), text)
    return np.ndarray(shape, dtype, content, start, order=order).copy()  # to be written


@_value_errors()
def map_npy(path: str | os.PathLike) -> np.memmap:
    """The array of a .npy file as a memory map: rows are read when they are asked for.

    Raises:
      ValueError: as ``read_npy``.
    """
    with open(path, "rb") as file:
        shape, order, dtype, start = _layout(file, os.path.getsize(path), text=False)
    return np.memmap(path, dtype, "r", start, shape, order)


def _layout(
    stream: IO[bytes], size: int, text: bool
) -> tuple[tuple[int, ...], str, np.dtype, int]:
    """Shape, order, dtype and start of the array in so many bytes of a .npy file."""
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"version {version} of the format holds no plain numbers")
    shape, fortran_order, dtype = _HEADERS[version](stream)
    # Strings of no characters take no bytes, however many they are.
    if dtype.kind not in ("biufUS" if text else "biuf") or not dtype.itemsize:
        raise ValueError(f"it must hold real numbers, got {dtype}")
    start = stream.tell()
    # Python's integers: declared sizes may overflow numpy's.
    declared = start + math.prod(shape) * dtype.itemsize
    if declared != size:
        raise ValueError(f"its header declares {declared:,} bytes, it has {size:,}")
    return shape, "F" if fortran_order else "C", dtype, start


class Npz:
    """The arrays of an .npz file, each read when it is asked for.

    Attributes:
      names: of the arrays.
    """

    @_value_errors()
    def __init__(self, content: bytes, *, compressed: bool = True):
        """Reads the list of arrays.

        Args:
          content: the bytes of the file.
          compressed: whether the arrays may be larger than the file.

        Raises:
          ValueError: if it is no .npz file, or declares arrays out of proportion.
        """
        self._archive = zipfile.ZipFile(io.BytesIO(content))
        members = self._archive.infolist()
        declared = sum(member.file_size for member in members)
        most = most_bytes(len(content)) if compressed else len(content)
        if declared > most:
            raise ValueError(
                f"its arrays declare {declared:,} bytes, too many for a file of "
                f"{len(content):,}"
            )
        self._members = {
            member.filename.removesuffix(".npy"): member for member in members
        }
        self.names = tuple(self._members)

    def __getitem__(self, name: str) -> np.ndarray:
        """The array of that name; see ``read``."""
        return self.read(name)

    @_value_errors()
    def read(self, name: str, *, text: bool = False) -> np.ndarray:
        """The array of that name, which may hold strings if text is set.

        Raises:
          ValueError: if it cannot be read; see ``read_npy``.
        """
        member = self._members[name]
        with self._archive.open(member) as file:
            # With a size, lest a lie about it expands without end.
            return read_npy(file.read(member.file_size + 1), text=text)
