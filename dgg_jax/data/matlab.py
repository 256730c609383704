"""The .mat files of MATLAB 5 to 7: scipy's reader of them crashes on damaged ones."""

import math
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import sparse

from dgg_jax import checks
from dgg_jax.checks import InvalidInput
from dgg_jax.storage import arrays

_HEADER = 128  # bytes
_MATRIX, _COMPRESSED = 14, 15
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"}
_STORED |= {12: "i8", 13: "u8"}
_TEXT = {1: "latin1", 2: "latin1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _STRUCT, _CHAR, _SPARSE, _OPAQUE = 1, 2, 4, 5, 17
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4"}
_CLASSES |= {13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = 8


class Unusable(ValueError):
    """What a variable holds is sound, but no array of numbers or text."""


class _Element(NamedTuple):
    kind: int
    data: memoryview


class _Matrix(NamedTuple):
    """A variable: its class, flags and dimensions, and the elements that follow."""

    kind: int
    flags: int
    shape: tuple[int, ...]
    name: str
    parts: list[_Element]


def read_mat(
    path: Path, names: Sequence[str]
) -> dict[str, np.ndarray | sparse.csr_array]:
    """Returns arrays of a .mat file.

    Args:
      path: the file.
      names: of the arrays that it must have; others are not looked at.

    Returns:
      The arrays by name, of two dimensions or more; a csr_array where it is sparse.

    Raises:
      InvalidInput: if the file cannot be read, is damaged or cut short, expands out of
        proportion to its size, or has no real numbers under one of the names.
    """
    try:
        content = arrays.read_bytes(path)
        if content[124:126] in (b"\0\2", b"\2\0"):
            raise ValueError('version 7.3 is not read; save it by "save -v7"')
        found = Mat(content)
        return {name: _real(name, found) for name in names}
    # Damaged bytes make numpy, scipy and zlib raise all kinds of exceptions.
    except Exception as error:
        reason = str(getattr(error, "strerror", None) or error or type(error).__name__)
        raise InvalidInput(
            f"{path} must be a .mat file with the arrays {', '.join(names)}, reading "
            f"it failed: {reason.splitlines()[0]}. Replace it with a fresh copy of the "
            "original file."
        ) from error


class Mat:
    """The variables of a .mat file, each read when it is asked for.

    Attributes:
      names: of the variables.
    """

    def __init__(self, content: bytes):
        """Finds the variables.

        Args:
          content: the bytes of the file.

        Raises:
          ValueError: if it is no such file, damaged, or expands out of proportion.
        """
        mark = content[126:128]
        if len(content) < _HEADER or mark not in (b"IM", b"MI"):
            raise ValueError("it does not start as files of MATLAB 5 to 7 do")
        self._order = "<" if mark == b"IM" else ">"
        left = arrays.most_bytes(len(content))
        self._variables = {}
        for element in self._elements(memoryview(content)[_HEADER:]):
            if element.kind == _COMPRESSED:
                expanded = _expanded(element.data, left)
                left -= len(expanded)
                (element,) = self._elements(memoryview(expanded))
            if element.kind == _MATRIX:
                matrix = self._matrix(element)
                self._variables[matrix.name] = matrix
        self.names = tuple(self._variables)

    def __getitem__(self, name: str) -> np.ndarray | sparse.csc_array:
        """A variable.

        Returns:
          An array of numbers; a csc_array of float64; or an array of strings, one for
          each row of characters or each cell.

        Raises:
          Unusable: if it is none of these.
          ValueError: if it is damaged.
        """
        return self._array(self._variables[name])

    def _elements(self, data: memoryview) -> Iterator[_Element]:
        start = 0
        while start < len(data):
            tag = np.frombuffer(data, f"{self._order}u4", 1, start).item()
            if tag >> 16:  # a small element: size and data in eight bytes
                kind, size, first, stop = tag & 0xFFFF, tag >> 16, start + 4, start + 8
                if size > 4:
                    raise ValueError(f"an element of 4 bytes declares {size:,}")
            else:
                kind = tag
                size = np.frombuffer(data, f"{self._order}u4", 1, start + 4).item()
                first = start + 8
                # All but compressed ones end at a multiple of eight bytes.
                stop = first + size + (-size % 8 if kind != _COMPRESSED else 0)
            if first + size > len(data):
                raise ValueError(f"it has {len(data) - first:,} bytes of {size:,}")
            yield _Element(kind, data[first : first + size])
            start = stop

    def _matrix(self, element: _Element) -> _Matrix:
        if element.kind != _MATRIX:
            raise ValueError("a cell holds no array")
        parts = list(self._elements(element.data))
        if len(parts) < 3:
            raise ValueError("a variable has no flags, dimensions or name")
        flags = int(self._numbers(parts[0])[0])
        if flags & 0xFF == _OPAQUE:  # its second part is the name
            name = bytes(parts[1].data).decode("latin1")
            return _Matrix(_OPAQUE, 0, (), name, [])
        shape = tuple(self._numbers(parts[1]).tolist())
        if min(shape, default=-1) < 0:
            raise ValueError(f"a variable has shape {shape}")
        name = bytes(parts[2].data).decode("latin1")
        return _Matrix(flags & 0xFF, flags >> 8, shape, name, parts[3:])

    def _array(self, matrix: _Matrix) -> np.ndarray | sparse.csc_array:
        kind, flags, shape, name, parts = matrix
        if kind == _CELL:
            texts = [self._cell(self._matrix(part)) for part in parts]
            return np.array(texts, dtype=str)
        if kind == _STRUCT:
            fields = ", ".join(self._fields(parts)) or "no fields"
            raise Unusable(
                f"{name!r} is a structure with {fields}; in MATLAB, save('x.mat', "
                f"'-struct', '{name}') saves these"
            )
        if flags & _COMPLEX:
            raise Unusable(f"{name!r} holds complex numbers; save real(x) or abs(x)")
        if kind not in (*_CLASSES, _CHAR, _SPARSE):
            raise Unusable(
                f"{name!r} is a function, table or object; save its numbers as a matrix"
            )
        if not parts:
            raise ValueError(f"{name!r} holds no numbers")
        if kind == _CHAR:
            return self._rows(shape, parts[0])
        if kind == _SPARSE:
            indices, starts, values = (self._numbers(part) for part in parts[:3])
            used = int(starts[-1])  # there may be room for more
            found = sparse.csc_array(
                (values[:used].astype(np.float64), indices[:used], starts), shape
            )
            checks.sparse_format(found)
            return found
        values = self._numbers(parts[0])
        if values.size != math.prod(shape):
            raise ValueError(
                f"{name!r} has {values.size:,} values, its shape is {shape}"
            )
        # Numbers are stored as the smallest kind that holds them.
        return values.astype(_CLASSES[kind]).reshape(shape, order="F")

    def _numbers(self, element: _Element) -> np.ndarray:
        if element.kind not in _STORED:
            raise ValueError(f"numbers are of unknown kind {element.kind}")
        return np.frombuffer(element.data, self._order + _STORED[element.kind])

    def _fields(self, parts: Sequence[_Element]) -> list[str]:
        """The names of a structure's fields, of one length each."""
        length = int(self._numbers(parts[0])[0])
        text = bytes(parts[1].data)
        names = [text[i : i + length] for i in range(0, len(text), max(1, length))]
        return [name.split(b"\0")[0].decode("latin1") for name in names]

    def _rows(self, shape: tuple[int, ...], element: _Element) -> np.ndarray:
        if element.kind not in _TEXT:
            raise ValueError(f"characters are of unknown kind {element.kind}")
        encoding = _TEXT[element.kind]
        if encoding in ("utf-16", "utf-32"):
            encoding += "-le" if self._order == "<" else "-be"
        characters = list(bytes(element.data).decode(encoding))
        if len(shape) != 2 or len(characters) != math.prod(shape):
            raise ValueError(f"{len(characters)} characters have shape {shape}")
        table = np.array(characters, dtype=str).reshape(shape, order="F")
        return np.array(["".join(row).rstrip() for row in table], dtype=str)

    def _cell(self, matrix: _Matrix) -> str:
        """The one string or number in a cell."""
        if matrix.kind == _CHAR and 0 in matrix.shape:
            return ""
        several = "a cell holds more than one string or number; save a matrix"
        if matrix.kind == _CELL:
            raise Unusable(several)
        values = self._array(matrix)
        if sparse.issparse(values) or values.size != 1:
            raise Unusable(several)
        return str(values.item())


def _expanded(data: memoryview, most: int) -> bytes:
    expand = zlib.decompressobj()
    content = expand.decompress(data, most + 1)
    if len(content) > most:
        raise ValueError("its arrays expand out of proportion to its size")
    if not expand.eof:
        raise ValueError("a compressed variable is cut short")
    return content


def _real(name: str, found: Mat) -> np.ndarray | sparse.csr_array:
    if name not in found.names:
        raise ValueError(f"it has no array {name}")
    array = found[name]
    if sparse.issparse(array):
        array = sparse.csr_array(array)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold real numbers, it holds text")
    return array
