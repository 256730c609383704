"""Members of zip and tar archives, read in place: nothing is unpacked to disk."""

import io
import re
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from dgg_jax.checks import InvalidInput
from dgg_jax.data import compressed
from dgg_jax.data.compressed import REMEDY
from dgg_jax.storage import arrays


def read_zip(path: Path, names: Sequence[str], inner: str = "") -> list[bytes]:
    """Returns members of a zip archive.

    Args:
      path: the archive.
      names: of the members.
      inner: name of an archive in this one that holds them instead, if it is there.

    Returns:
      Their contents, in the order of names.

    Raises:
      InvalidInput: if the file cannot be read, is damaged or cut short, lacks a member,
        or a member declares a size out of proportion to the archive's.
    """
    try:
        content = arrays.read_bytes(path)
        archive = zipfile.ZipFile(io.BytesIO(content))
        if inner in archive.namelist():
            (content,) = _members(archive, [inner], len(content))
            archive = zipfile.ZipFile(io.BytesIO(content))
        return _members(archive, names, len(content))
    # Damaged bytes make zipfile and zlib raise all kinds of exceptions.
    except Exception as error:
        reason = getattr(error, "strerror", None) or error or type(error).__name__
        raise InvalidInput(
            f"{path} must be a complete zip archive with {', '.join(names)}, reading "
            f"it failed: {reason}. {REMEDY}."
        ) from error


def _members(archive: zipfile.ZipFile, names: Sequence[str], size: int) -> list[bytes]:
    most = arrays.most_bytes(size)
    contents = []
    for name in names:
        member = archive.getinfo(name)
        if member.file_size > most:
            raise ValueError(
                f"{name} declares {member.file_size:,} bytes, too many for an archive "
                f"of {size:,}"
            )
        with archive.open(member) as file:
            # With a size, lest a lie about it expands without end.
            contents.append(file.read(member.file_size + 1))
    return contents


def read_tar(path: Path, pattern: str) -> dict[str, bytes]:
    """Returns members of a tar archive, gzip-compressed or not.

    Args:
      path: the archive.
      pattern: regular expression for the whole name of a member without its folders.

    Returns:
      Contents of the regular files whose names match, by name.

    Raises:
      InvalidInput: if the file cannot be read, is damaged or cut short, or expands out
        of proportion to its size.
    """
    content = compressed.read(path)
    found = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                # A sparse file may declare any size.
                plain = member.isreg() and not member.issparse()
                if plain and re.fullmatch(pattern, name):
                    found[name] = archive.extractfile(member).read()
    except Exception as error:
        raise InvalidInput(
            f"{path} must be a complete tar archive, reading it failed: "
            f"{error or type(error).__name__}. {REMEDY}."
        ) from error
    return found
