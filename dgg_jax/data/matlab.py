"""Arrays of numbers in MATLAB's .mat files, up to version 7."""

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import sparse

from dgg_jax import arrays
from dgg_jax.checks import InvalidInput

_HEADER = 128  # bytes of text and version before the arrays
_MATRIX, _COMPRESSED = 14, 15


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
    from scipy.io import loadmat

    try:
        content = arrays.read_bytes(path)
        if content[_HEADER - 4 : _HEADER - 2] in (b"\0\2", b"\2\0"):
            raise ValueError('version 7.3 is not read; save it by "save -v7"')
        found = loadmat(io.BytesIO(_expanded(content)), variable_names=list(names))
        return {name: _numbers(name, found) for name in names}
    # Damaged bytes make scipy and zlib raise all kinds of exceptions.
    except Exception as error:
        reason = str(getattr(error, "strerror", None) or error or type(error).__name__)
        raise InvalidInput(
            f"{path} must be a .mat file with the arrays {', '.join(names)}, reading "
            f"it failed: {reason.splitlines()[0]}. Replace it with a fresh copy of the "
            "original file."
        ) from error


def _expanded(content: bytes) -> bytes:
    """The same file without compression, which would expand without bound."""
    order = {b"IM": "<", b"MI": ">"}.get(content[_HEADER - 2 : _HEADER])
    if order is None:  # version 4, which does not compress
        return content
    most = arrays.most_bytes(len(content))
    parts, position = [content[:_HEADER]], _HEADER
    while position < len(content):
        kind, size = struct.unpack_from(f"{order}II", content, position)
        end = position + 8 + size
        if end > len(content):
            raise ValueError("it is cut short")
        part = content[position:end]
        if kind == _COMPRESSED:
            part = zlib.decompressobj().decompress(part[8:], most + 1)
            most -= len(part)
            if most < 0:
                raise ValueError("it expands out of proportion to its size")
            kind, size = struct.unpack_from(f"{order}II", part)
        if kind != _MATRIX or size + 8 != len(part):
            raise ValueError("it holds something else than complete arrays")
        parts.append(part)
        position = end
    return b"".join(parts)


def _numbers(name: str, found: dict) -> np.ndarray | sparse.csr_array:
    if name not in found:
        raise ValueError(f"it has no array {name}")
    array = found[name]
    if sparse.issparse(array):
        array = sparse.csr_array(array)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold real numbers, it holds {array.dtype}")
    return array
