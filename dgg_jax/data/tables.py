"""Tables of named or unnamed columns, of which those of numbers are features."""

import csv
import io
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dgg_jax.checks import InvalidInput
from dgg_jax.data.dataset import Matrix

_BLOCK = 1000  # lines that are held as text at a time
MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", "?", "-", "."))
_COMMA = re.compile(r"\s*[+-]?(\d{1,3}(,\d{3})+(\.\d+)?|\d+,\d+)\s*")
# What programs call a column that only counts the rows.
_COUNTERS = ("", "Unnamed: 0", "__index_level_0__")


def read(path: Path, content: bytes, delimiters: str, label: str | None) -> Matrix:
    """Reads a table of text.

    The first line has names if its fields are no numbers where those below are, or if
    it counts the columns: 0, 1, 2, ...

    Args:
      path: of the file, for messages.
      content: its bytes, UTF-8.
      delimiters: that may separate fields; the most frequent one in the first line
        does.
      label: name of the column with the classes, or its number from 0, or None.

    Returns:
      The columns of numbers as features, float64 [N, D].

    Raises:
      InvalidInput: naming line and column, if lines differ in length, numbers have
        commas, or a column is neither of numbers nor of text.
    """
    try:
        text = content.decode("utf-8-sig")
        first_line = text.lstrip().partition("\n")[0]
        delimiter = max(reversed(delimiters), key=first_line.count)
        reader = csv.reader(
            io.StringIO(text, newline=""), delimiter=delimiter, strict=True
        )
        # With their places in the file, for messages.
        lines = ((reader.line_num, line) for line in reader if line)
        head = list(itertools.islice(lines, _BLOCK))
        if not head:
            raise InvalidInput(f"{path} has no rows; save the data anew.")
        first, width = head[0][1], len(head[0][1])
        names = None
        if _are_names(first, [line for _, line in head[1:]], label):
            names, head = [name.strip() for name in first], head[1:]
        place = place_of(path, label, names, width)
        columns = [_Column(index, names) for index in range(width)]
        labels: list[str] = []
        while head:
            for number, line in head:
                if len(line) != width:
                    raise InvalidInput(
                        f"{path} has {len(line)} fields in line {number}, {width} in "
                        "the first; every row needs the same number (a comma within a "
                        "number or text needs quotes)."
                    )
            numbers = [number for number, _ in head]
            for column, fields in zip(
                columns, zip(*(line for _, line in head), strict=True), strict=True
            ):
                if column.index == place:
                    labels += (field.strip() for field in fields)
                else:
                    column.add(fields, numbers)
            head = list(itertools.islice(lines, _BLOCK))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(
            f"{path} is no table of text: {error}; save it as .csv in UTF-8."
        ) from error
    values = [
        None if column.index == place else column.values(path) for column in columns
    ]
    return matrix(path, names, values, place, labels)


def matrix(
    path: Path,
    names: Sequence[str] | None,
    columns: Sequence[np.ndarray | None],
    place: int | None,
    labels: Sequence | None,
) -> Matrix:
    """The matrix of the columns that have numbers.

    Args:
      path: of the file, for messages.
      names: of the columns, or None.
      columns: each float64 of shape [N], or None if it has no numbers.
      place: of the column with the classes, or None.
      labels: the classes, if there is such a column.

    Raises:
      InvalidInput: if no column is left.
    """
    kept, left_out = [], []
    for index, values in enumerate(columns):
        if index == place:
            continue
        counts = names is not None and names[index] in _COUNTERS and index == 0
        if values is None:
            left_out.append(names[index] if names else f"column {index}")
        elif (counts or (names and names[index] == _COUNTERS[-1])) and _counts(values):
            left_out.append(f"{names[index]} (row numbers)".strip())
        else:
            kept.append(index)
    if not kept:
        raise InvalidInput(
            f"{path} has no column of numbers, besides labels; it has: "
            f"{listed(names or left_out) or 'none'}."
        )
    return Matrix(
        features=np.stack([columns[index] for index in kept], axis=1),
        labels=None if place is None else np.array(labels, object),
        columns=None if names is None else tuple(names[index] for index in kept),
        left_out=tuple(left_out),
    )


def place_of(
    path: Path, label: str | None, names: Sequence[str] | None, width: int
) -> int | None:
    """Which column a label means.

    Args:
      path: of the file, for messages.
      label: a name, or a number from 0, or None.
      names: of the columns, or None.
      width: how many there are.

    Raises:
      InvalidInput: if there is no such column.
    """
    if label is None:
        return None
    if names is not None and label in names:
        return list(names).index(label)
    if re.fullmatch(r"-?\d+", label) and -width <= int(label) < width:
        return int(label) % width
    have = (
        f"its columns are: {listed(names)}"
        if names is not None
        else f"it has no names, but columns 0 to {width - 1}"
    )
    raise InvalidInput(f"{path} has no label={label!r}; {have}.")


def listed(names: Sequence[str], most: int = 20) -> str:
    """Names for a message, not all of very many."""
    text = ", ".join(name or "''" for name in names[:most])
    more = len(names) - most
    return f"{text} and {more:,} more" if more > 0 else text


class _Column:
    """A column of text that is read in parts."""

    def __init__(self, index: int, names: Sequence[str] | None):
        self.index = index
        self.name = repr(names[index]) if names else str(index)
        self._parts: list[np.ndarray] = []
        self._num_texts = 0
        self._text: tuple[int, str] | None = None  # line and field
        self._comma: tuple[int, str] | None = None

    def add(self, fields: Sequence[str], lines: Sequence[int]) -> None:
        try:
            self._parts.append(np.array(list(map(float, fields))))
        except ValueError:
            pairs = zip(lines, fields, strict=True)
            self._parts.append(np.array([self._value(*pair) for pair in pairs]))

    def _value(self, line: int, field: str) -> float:
        try:
            return float(field)
        except ValueError:
            if field.strip().lower() not in MISSING:
                self._num_texts += 1
                self._text = self._text or (line, field)
                if _COMMA.fullmatch(field):
                    self._comma = self._comma or (line, field)
            return np.nan

    def values(self, path: Path) -> np.ndarray | None:
        """The numbers, NaN where one is missing; None of a column of text."""
        values = np.concatenate(self._parts) if self._parts else np.empty(0)
        num_numbers = np.count_nonzero(~np.isnan(values))
        if self._comma and self._comma == self._text:
            line, field = self._comma
            raise InvalidInput(
                f"{path} has {field!r} in line {line}, column {self.name}: numbers "
                "need a decimal point, and no commas between thousands; save the table "
                "that way."
            )
        if self._text and num_numbers > self._num_texts:
            line, field = self._text
            raise InvalidInput(
                f"{path} has {field[:50]!r} in line {line}, column {self.name}, where "
                "a number is expected; correct it, or take the column out."
            )
        return values if num_numbers or not (len(values) or self._text) else None


def _are_names(
    first: Sequence[str], rest: Sequence[Sequence[str]], label: str | None
) -> bool:
    """Whether a first line names the columns."""
    fields = [field.strip() for field in first]
    numbers = [field for field in fields if _is_number(field)]
    if not numbers or (label in fields and not _is_number(label)):
        return True
    if len(numbers) > 2 and numbers == [str(i) for i in range(len(numbers))]:
        return True  # as pandas writes an array
    return any(
        not _is_number(field)
        and field.lower() not in MISSING
        and any(index < len(row) and _is_number(row[index]) for row in rest)
        for index, field in enumerate(fields)
    )


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return field.strip().lower() not in MISSING


def _counts(values: np.ndarray) -> bool:
    return any(
        np.array_equal(values, np.arange(first, first + len(values)))
        for first in (0, 1)
    )
