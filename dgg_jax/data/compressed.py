"""Files that may be compressed, read without expanding out of proportion."""

import bz2
import gzip
import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

from dgg_jax.checks import InvalidInput
from dgg_jax.storage import arrays

REMEDY = "Replace it with a fresh copy of the original file"
_FORMATS = {b"\x1f\x8b": ("gzip", gzip.open), b"BZh": ("bzip2", bz2.open)}


def read(path: Path) -> bytes:
    """The content of a file, expanded if it is of gzip or bzip2.

    Args:
      path: the file: its content tells how it is compressed, not its name.

    Raises:
      InvalidInput: if the file cannot be read, is truncated or damaged, or expands out
        of proportion to its size.
    """
    try:
        content = arrays.read_bytes(path)
    except OSError as error:
        raise InvalidInput(
            f"{path} must be a readable file, reading it failed ({error.strerror}). "
            "Check its permissions."
        ) from error
    for magic, (name, opened) in _FORMATS.items():
        if content.startswith(magic):
            return _expanded(path, content, name, opened)
    return content


def _expanded(
    path: Path, content: bytes, name: str, opened: Callable[[IO[bytes]], IO[bytes]]
) -> bytes:
    most = arrays.most_bytes(len(content))
    try:
        with opened(io.BytesIO(content)) as file:
            expanded = file.read(most + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise InvalidInput(
            f"{path} must be a complete {name} file, it is truncated or damaged "
            f"({error}). {REMEDY}."
        ) from error
    if len(expanded) > most:
        raise InvalidInput(
            f"{path} expands to more than {most:,} bytes, out of proportion to its "
            f"size. {REMEDY}."
        )
    return expanded
