"""Tables of named or unnamed columns, of which those of numbers are features."""

import collections
import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dgg_jax.checks import InvalidInput
from dgg_jax.data.dataset import Matrix

_MOST_COLUMNS = 2**18  # of a table of text: each takes 0.1 ms
_BLOCK = 2**20  # fields that are held as text at a time, in at most so many lines
_BLOCK_LINES = 1000
_SAMPLE = 2**20  # bytes that show what separates fields
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_TOLD = re.compile(r'"?sep=(.)"?[\r\n]')  # as programs of spreadsheets write it
# What stands for a number that is missing. Of classes these are names.
_MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", "?", "-", "."))
_BOOLS = {"true": 1.0, "false": 0.0}
_COMMA = re.compile(
    r"\s*[+-]?(\d{1,3}(,\d{3})+(\.\d+)?|\d{1,3}([. ]\d{3})+,\d+|\d+,\d+)\s*"
)
# Names of columns that say which row it is, without the signs between their words:
# such a column is none of features if its values differ in every row; one of the
# latter only if it is the first.
_ID_WORDS = frozenset(("id", "ids", "idx", "uid", "uuid", "guid", "rowid", "rownames"))
_ID_NAMES = frozenset(("index", "row", "rowname", "rownumber", "sno", "srno", "#", "№"))
_FIRST_NAMES = frozenset(
    (
        *("no", "nr", "num", "number", "key", "code", "name", "serial", "barcode"),
        *("case", "record", "obs", "observation", "entry", "item", "sample", "order"),
        *("subject", "patient", "participant", "cell", "customer", "user"),
    )
)
_ID_COMPOUND = re.compile(
    rf"({'|'.join(_FIRST_NAMES)}|row|passenger|client|person|member|product|device)"
    r"(id|no|nr|num|number)"
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[#№]")
# As pandas names an index without a name, in front of the other columns.
_INDEX = re.compile(r"(Unnamed: \d+(\.\d+)*(_level_\d+)?|(__index_)?level_\d+(__)?)?")
# Equal values that chance would make of numbers that are measured: with none, they
# were given to the rows.
_REPEATS = 10


class Column(NamedTuple):
    """A column of a table.

    Attributes:
      name: or "" if it has none.
      values: float64 of shape [N], NaN where one is missing; None of text.
      texts: the fields of an index, of text that differs in every row, and of numbers
        that do and are written as only identifiers are.
      is_index: whether the file says that it names the rows.
      is_empty: whether every value is missing.
    """

    name: str
    values: np.ndarray | None
    texts: Sequence[str] | None = None
    is_index: bool = False
    is_empty: bool = False


def read(
    path: Path, content: bytes, label: str | None, wanted: Sequence[str] = ()
) -> Matrix:
    """Reads a table of text.

    What separates fields is what most lines agree on, outside of quotes, and what
    leaves numbers; or what a first line such as "sep=;" says. The first line has names
    if its fields are no numbers where those below are, or if it counts the columns: 0,
    1, 2, ...

    Args:
      path: of the file, for messages.
      content: its bytes, UTF-8.
      label: name of the column with the classes, or its number from 0, or None.
      wanted: names of columns that are features whatever they hold.

    Returns:
      The columns of numbers as features, float64 [N, D].

    Raises:
      InvalidInput: naming line and column, if lines differ in length, numbers have
        commas, or a column is neither of numbers nor of text.
    """
    try:
        stream = io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline="")
        told = _TOLD.match(content[:_SAMPLE].decode("utf-8-sig", "replace"))
        if told:
            stream.readline()
        delimiter = told[1] if told else _separator(path, content)
        _check_width(path, content, delimiter)
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        # With their places in the file, for messages.
        skipped = 1 if told else 0
        lines = ((reader.line_num + skipped, line) for line in reader if line)
        head = list(itertools.islice(lines, 1))
        if not head:
            raise InvalidInput(f"{path} has no rows; save the data anew.")
        first, width = head[0][1], len(head[0][1])
        block = max(1, min(_BLOCK_LINES, _BLOCK // width))
        head += itertools.islice(lines, block)
        rest = [line for _, line in head[1:]]
        if _lacks_a_name(first, rest):
            first, width = ["", *first], width + 1
        names = None
        if _are_names(first, rest, label):
            names, head = [name.strip() for name in first], head[1:]
        if names is None and delimiter == "," and _are_halves([first, *rest]):
            raise InvalidInput(
                f"{path} seems to have decimal commas, which split its numbers, as in "
                f"{','.join(first[:2])}; save it with decimal points."
            )
        place = place_of(path, label, names, width)
        indices = _leading(names or ())
        columns = [
            Fields("line", repr(names[index]) if names else str(index), index < indices)
            for index in range(width)
        ]
        labels: list[str] = []
        while head:
            for number, line in head:
                if len(line) != width:
                    raise InvalidInput(
                        f"{path} has {len(line)} fields in line {number}, {width} in "
                        f"the first, separated by {_NAMES[delimiter]}; every row needs "
                        "the same number (where text or numbers hold one, quote them)."
                    )
            numbers = [number for number, _ in head]
            parts = zip(*(line for _, line in head), strict=True)
            for index, fields in enumerate(parts):
                if index == place:
                    labels += fields
                else:
                    columns[index].add(fields, numbers)
            head = list(itertools.islice(lines, block))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(
            f"{path} is no table of text: {error}; save it as .csv in UTF-8."
        ) from error
    found = [
        (Column("", None) if index == place else one.column(path))._replace(
            name=names[index] if names else ""
        )
        for index, one in enumerate(columns)
    ]
    if place is None and width == 1 and found[0].values is None and " " in first[0]:
        raise InvalidInput(
            f"{path} has a single column, {first[0]!r}; fields are separated by "
            "commas, semicolons, tabs or bars, not by spaces."
        )
    return matrix(path, found, names is not None, place, labels, wanted)


def _separator(path: Path, content: bytes) -> str:
    """What separates the fields, of _NAMES."""
    sample = content[:_SAMPLE].decode("utf-8-sig", "replace")
    is_whole = len(content) <= _SAMPLE
    if not is_whole:
        sample = sample[: sample.rfind("\n") + 1] or sample
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    found = {one: _agreement(sample, one, is_whole) for one in (usual, *_NAMES)}
    best = max(found, key=lambda one: found[one][:2])  # of equals the usual one
    rivals = [one for one in found[best].others if found[one].is_of_all]
    if rivals:
        raise InvalidInput(
            f"{path} may be separated by {_NAMES[best]} or {_NAMES[rivals[0]]}: both "
            f"agree in all lines. Say which in a first line, as by sep={best}, or "
            "quote the text that holds them."
        )
    return best


class _Agreement(NamedTuple):
    score: float
    width: int = 0
    is_of_all: bool = False  # whether all lines have as many fields
    others: frozenset[str] = frozenset()  # separators that its fields hold


def _agreement(sample: str, delimiter: str, is_whole: bool) -> _Agreement:
    """How well a separator explains a table: by its evidence, then by its columns."""
    rows = []
    reader = csv.reader(
        io.StringIO(sample, newline=""), delimiter=delimiter, strict=True
    )
    try:
        rows += (row for row in itertools.islice(reader, _BLOCK_LINES // 10) if row)
    except csv.Error as error:
        if is_whole or "end of data" not in str(error):
            return _Agreement(0.0)  # a quote ends within a field
    widths = collections.Counter(map(len, rows)).most_common(1)
    if not widths or widths[0][0] < 2:
        return _Agreement(0.0)
    ((width, count),) = widths
    fields = [field for row in rows[1:] or rows if len(row) == width for field in row]
    fields = fields[: _BLOCK // 10]
    of_numbers, of_one, others = 0, 0, set()
    for field in fields:
        has_comma = delimiter != "," and _COMMA.fullmatch(field) is not None
        of_numbers += has_comma or is_number(field)
        held = set() if has_comma else _NAMES.keys() & {*field} - {delimiter}
        of_one += not held
        others |= held
    share = (of_numbers + of_one) / max(1, len(fields))
    score = share * count / len(rows)
    return _Agreement(score, width, count == len(rows), frozenset(others))


def _check_width(path: Path, content: bytes, delimiter: str) -> None:
    """Refuses more columns than are read in reasonable time, before they are split."""
    start = len(content) - len(content.lstrip())
    ends = [content.find(end, start) for end in (b"\n", b"\r")]
    stop = min((end for end in ends if end >= 0), default=len(content))
    count = content.count(delimiter.encode(), start, stop)
    if count >= _MOST_COLUMNS:
        raise InvalidInput(
            f"{path} has {count + 1:,} fields in its first line, more than the "
            f"{_MOST_COLUMNS:,} columns that a table of text may have; write one row a "
            "line, or save it as .npy."
        )


def matrix(
    path: Path,
    columns: Sequence[Column],
    are_named: bool,
    place: int | None,
    labels: Sequence | None,
    wanted: Sequence[str] = (),
) -> Matrix:
    """The matrix of the columns that are features.

    Args:
      path: of the file, for messages.
      columns: of the table.
      are_named: whether they have names.
      place: of the column with the classes, or None.
      labels: the classes, if there is such a column.
      wanted: names of columns that are features whatever they hold.

    Raises:
      InvalidInput: if no column is left.
    """
    kept, left_out, suspected, naming = [], [], [], []
    indices = _leading([column.name for column in columns] if are_named else ())
    columns = list(columns)
    rows = max(
        (len(one.values) for one in columns if one.values is not None), default=0
    )
    for index, (name, values, texts, is_index, is_empty) in enumerate(columns):
        if index == place:
            continue
        title = name or f"column {index}"
        if is_empty and name in wanted and rows:
            columns[index] = Column(name, np.full(rows, np.nan))
            kept.append(index)
        elif values is not None and name and name in wanted:
            kept.append(index)
        elif is_index or index < indices:
            left_out.append(f"{title} (index)")
            naming.append(index)
        elif values is None:
            left_out.append(title)
            if texts is not None and len(texts) > 1 and not naming:
                naming.append(index)
        elif texts is not None or (
            _says_which_row(name, index == 0) and _differ(values)
        ):
            left_out.append(f"{title} (tells the rows apart)")
            naming = naming or [index]
        else:
            kept.append(index)
            if _were_given(values) or (_says_which_row(name) and _are_whole(values)):
                suspected.append(title)
    if not kept:
        have = [column.name for column in columns] if are_named else left_out
        raise InvalidInput(
            f"{path} has no column of numbers, besides labels; it has: "
            f"{listed(have) or 'none'}."
        )
    return Matrix(
        features=np.stack([columns[index].values for index in kept], axis=1),
        labels=None if place is None else np.array(labels, object),
        columns=tuple(columns[index].name for index in kept) if are_named else None,
        left_out=tuple(left_out),
        suspected=tuple(suspected),
        names=_names([columns[index] for index in naming]),
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
      InvalidInput: if there is no such column, or there are two.
    """
    if label is None:
        return None
    if names is not None and label in names:
        if list(names).count(label) > 1:
            raise InvalidInput(
                f"{path} has {list(names).count(label)} columns label={label!r}; give "
                "the number of the one with the classes, from 0."
            )
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


class Fields:
    """The fields of a column, which are read in parts."""

    def __init__(self, place: str, name: str, is_index: bool = False):
        """Without any fields yet.

        Args:
          place: what a message calls the place of a field, "line" or "row".
          name: of the column, as messages have it.
          is_index: whether the fields are kept, whatever they are.
        """
        self._place, self._name, self._is_index = place, name, is_index
        self._parts: list[np.ndarray] = []
        self._texts: list[str] | None = []
        self._seen: set[str] = set()
        self._counts: collections.Counter[str] = collections.Counter()
        self._first: dict[str, tuple[int, str]] = {}  # place and field of each kind

    def add(self, fields: Sequence[str], places: Sequence[int]) -> None:
        """Takes the next fields, and where they stand."""
        joined = "".join(set(fields))  # of a dictionary, they are few
        try:
            # Python takes 3_12, and digits of any script, for numbers; nobody else.
            if "_" in joined or not joined.isascii():
                raise ValueError
            self._parts.append(np.array(list(map(float, fields))))
            if not (self._is_index or _are_identifiers(fields)):
                self._texts = None
        except ValueError:
            known = {field: _understood(field) for field in set(fields)}
            self._parts.append(np.array([known[field][1] for field in fields]))
            for place, field in zip(places, fields, strict=True):
                kind = known[field][0]
                self._counts[kind] += 1
                self._first.setdefault(kind, (place, field))
        if self._texts is not None:
            self._texts += fields
            self._seen.update(fields)
            if len(self._seen) < len(self._texts) and not self._is_index:
                self._texts = None

    def column(self, path: Path) -> Column:
        """The column, without a name.

        Raises:
          InvalidInput: if it is neither of numbers nor of text.
        """
        values = np.concatenate(self._parts) if self._parts else np.empty(0)
        texts, bools, commas = (self._counts[k] for k in ("text", "bool", "comma"))
        numbers = np.count_nonzero(~np.isnan(values)) - bools
        if commas > texts:
            place, field = self._first["comma"]
            raise InvalidInput(
                f"{path} has {field!r} in {self._place} {place}, column "
                f"{self._name}: numbers need a decimal point, and no commas between "
                "thousands; save the table that way."
            )
        if bools and not (numbers or texts or commas):
            return Column("", values, self._texts if self._is_index else None)
        others = texts + bools + commas
        if others and numbers > others:
            firsts = (self._first.get(kind) for kind in ("text", "bool", "comma"))
            place, field = min(filter(None, firsts))
            raise InvalidInput(
                f"{path} has {field[:50]!r} in {self._place} {place}, column "
                f"{self._name}, where a number is expected; correct it, or take the "
                "column out."
            )
        if others or (len(values) and not numbers):
            return Column("", None, self._texts, is_empty=not others)
        of_rows = self._is_index or _are_identifiers(self._texts or ())
        return Column("", values, self._texts if of_rows else None)


def _understood(field: str) -> tuple[str, float]:
    """What kind of field it is, and its value if it has one."""
    plain = field.strip().lower()
    if is_number(plain):
        return "number", float(plain)
    if plain in _MISSING:
        return "missing", np.nan
    if plain in _BOOLS:
        return "bool", _BOOLS[plain]
    return ("comma" if _COMMA.fullmatch(field) else "text"), np.nan


def is_number(text: str) -> bool:
    """Whether a text is a number, and none that is missing."""
    plain = text.strip().lower()
    try:
        float(plain)
    except ValueError:
        return False
    return "_" not in plain and plain.isascii() and plain not in _MISSING


def _are_identifiers(fields: Sequence[str]) -> bool:
    """Whether digits are no quantity: padded by zeros, or more than float64 has."""
    if len(fields) < 2 or not all(map(str.isdigit, fields)):
        return False
    widths = {len(field) for field in fields}
    padded = len(widths) == 1 and any(field[0] == "0" for field in fields)
    return min(widths) > 1 and (padded or max(widths) > 16)


def _lacks_a_name(first: Sequence[str], rest: Sequence[Sequence[str]]) -> bool:
    """Whether all lines have a field more than the first, as R names its rows."""
    return (
        {len(line) for line in rest} == {len(first) + 1}
        and any(line[-1].strip() for line in rest)  # no separator at the ends of lines
        and not any(map(is_number, first))
    )


def _are_names(
    first: Sequence[str], rest: Sequence[Sequence[str]], label: str | None
) -> bool:
    """Whether a first line names the columns."""
    fields = [field.strip() for field in first]
    numbers = [field for field in fields if is_number(field) or _COMMA.fullmatch(field)]
    if not numbers or (label in fields and not is_number(label)):
        return True
    if len(numbers) > 2 and numbers == [str(i) for i in range(len(numbers))]:
        return True  # as pandas writes an array
    return any(
        field not in numbers
        and field.lower() not in _MISSING
        and any(index < len(row) and is_number(row[index]) for row in rest)
        for index, field in enumerate(fields)
    )


_WHOLE = re.compile(r"-?\d+")


def _are_halves(lines: Sequence[Sequence[str]]) -> bool:
    """Whether columns go in pairs, of what stands before and behind decimal commas.

    Behind one stand digits, some of which are padded by zeros as no whole number is.
    """
    if any(len(line) % 2 for line in lines):
        return False
    before = [field.strip() for line in lines for field in line[::2]]
    behind = [field.strip() for line in lines for field in line[1::2]]
    padded = any(len(field) > 1 and field[0] == "0" for field in behind)
    return (
        (padded or "-0" in before)
        and all(map(str.isdigit, behind))
        and all(map(_WHOLE.fullmatch, before))
    )


def _leading(names: Sequence[str]) -> int:
    """How many columns in front have no name: a program has written its index there."""
    unnamed = itertools.takewhile(_INDEX.fullmatch, names)
    count = sum(1 for _ in unnamed)
    return count if count < len(names) else 0


def _says_which_row(name: str, is_first: bool = False) -> bool:
    words = [word.lower() for word in _WORD.findall(name)]
    whole = "".join(words)
    return bool(
        not _ID_WORDS.isdisjoint(words)
        or whole in _ID_NAMES
        or (name and _INDEX.fullmatch(name) is not None)
        or _ID_COMPOUND.fullmatch(whole) is not None
        or (is_first and whole in _FIRST_NAMES)
    )


def _are_whole(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).all() and (values == np.floor(values)).all())


def _differ(values: np.ndarray) -> bool:
    """Whether values are whole numbers that differ in every row."""
    return len(values) > 1 and all(
        _are_whole(part) and len(np.unique(part)) == len(part)
        for part in (values[:100], values)  # most columns show it at once
    )


def _were_given(values: np.ndarray) -> bool:
    """Whether numbers differ as those given to rows do, and none that are measured."""
    if not _differ(values):
        return False
    count = len(values)
    repeats = count * (count - 1) / 2 / (values.max() - values.min() + 1)
    return repeats >= _REPEATS or (count >= 10 and (np.diff(values) == 1).all())


def _names(columns: Sequence[Column]) -> np.ndarray | None:
    """The name of each row, of several columns joined by commas."""
    parts: list[Iterator[str]] = []
    for _, values, texts, *_ in columns:
        if texts is None and values is not None:
            texts = [f"{v:.0f}" if v == v // 1 else f"{v}" for v in values.tolist()]
        parts.append(text.strip() for text in texts or ())
    names = [", ".join(row) for row in zip(*parts, strict=True)]
    return np.array(names, dtype=str) if names else None
