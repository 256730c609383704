"""Matrices in files of one's own: .npy, .npz, .csv and .tsv, never executed."""

import csv
import io
from pathlib import Path

import numpy as np

from dgg_jax import arrays
from dgg_jax.checks import InvalidInput

SUFFIXES = (".npy", ".npz", ".csv", ".tsv")
_ZIP_MAGIC = b"PK"


def read_matrix(path: Path) -> np.ndarray:
    """Reads a matrix, one row a data point.

    An .npz needs an array "x", or a single one. A .csv or .tsv may start with a line of
    column names; every other field must be a number.

    Args:
      path: a file with one of SUFFIXES.

    Returns:
      float32 array [N, D]; arrays of more dimensions are flattened to rows.

    Raises:
      InvalidInput: if the file cannot be read or holds no matrix of numbers.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InvalidInput(
            f"{path} must end in one of {', '.join(SUFFIXES)}, got {suffix!r}."
        )
    try:
        content = arrays.read_bytes(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", error)
        raise InvalidInput(f"{path} cannot be read: {reason}.") from error
    if suffix in (".npy", ".npz"):
        x = _numpy(path, content)
    else:
        x = _table(path, content, "," if suffix == ".csv" else "\t")
    if x.ndim < 2 or x.size == 0:
        raise InvalidInput(
            f"{path} must hold a matrix [N, D] of at least one row and column, got "
            f"shape {x.shape}."
        )
    return x.reshape(len(x), -1)


def _numpy(path: Path, content: bytes) -> np.ndarray:
    try:
        if not content.startswith(_ZIP_MAGIC):
            return _float32(arrays.read_npy(content))
        archive = arrays.Npz(content)
        names = archive.names
        name = "x" if "x" in names else names[0] if len(names) == 1 else None
        if name is not None:
            return _float32(archive[name])
    except ValueError as error:
        raise InvalidInput(
            f"{path} is no numpy file of numbers ({error}); write it by numpy.save."
        ) from error
    raise InvalidInput(
        f'{path} must hold an array "x", or a single one; it has: '
        f"{', '.join(names) or 'none'}."
    )


def _float32(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # infinity is for the estimators to refuse
        return x.astype(np.float32)


def _table(path: Path, content: bytes, delimiter: str) -> np.ndarray:
    try:
        text = content.decode("utf-8-sig")
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"{path} is no table of text: {error}.") from error
    # With their places in the file, for messages.
    rows = [(number, row) for number, row in enumerate(lines, 1) if row]
    if rows and not all(map(_is_number, rows[0][1])):
        rows = rows[1:]  # column names
    width = len(rows[0][1]) if rows else 0
    for number, row in rows:
        if len(row) != width:
            raise InvalidInput(
                f"{path} has {len(row)} fields in line {number}, {width} in the first; "
                "every row needs the same number."
            )
    values = np.empty((len(rows), width))
    for index, (number, row) in enumerate(rows):
        for column, field in enumerate(row):
            if not _is_number(field):
                raise InvalidInput(
                    f"{path} has {field!r} in line {number}, column {column + 1}, "
                    "where a number is expected; leave out other columns."
                )
            values[index, column] = float(field)
    return _float32(values)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
