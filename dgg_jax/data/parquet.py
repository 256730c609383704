"""Parquet files, whose columns are read as those of a table of text."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dgg_jax import checks
from dgg_jax.checks import InvalidInput
from dgg_jax.data import contents, tables
from dgg_jax.data.dataset import Matrix


def read(path: Path, label: str | None, wanted: Sequence[str] = ()) -> Matrix:
    """Reads a table.

    Lists of as many numbers each are so many columns. What is not of numbers is not
    read.

    Args:
      path: of the file.
      label: name of the column with the classes, or its number from 0, or None.
      wanted: names of columns that are features whatever they hold.

    Raises:
      InvalidInput: if it cannot be read or has no column of numbers.
    """
    checks.installed("parquet", str(path), contents.OTHERWISE)
    import pyarrow
    from pyarrow import parquet

    content = contents.content_of(path)
    try:
        schema = parquet.read_schema(pyarrow.BufferReader(content))
        metadata = schema.pandas_metadata or {}
        indices = [i for i in metadata.get("index_columns", ()) if isinstance(i, str)]
        place = tables.place_of(path, label, schema.names, len(schema))
        needed = {
            field.name
            for index, field in enumerate(schema)
            if index == place or field.name in indices or _is_readable(field.type)
        }
        texts = [field.name for field in schema if _is_text(field.type)]
        # As a dictionary, which is no larger than in the file.
        file = parquet.ParquetFile(pyarrow.BufferReader(content), read_dictionary=texts)
        about = file.metadata
        chunks = [
            about.row_group(group).column(index)
            for group in range(about.num_row_groups)
            for index in range(about.num_columns)
        ]
        num_values = max(
            sum(chunk.num_values for chunk in chunks),
            sum(chunk.total_uncompressed_size for chunk in chunks) // 4,
            about.num_rows * about.num_columns,
        )
        remedy = "save fewer columns, or as .npy"
        contents.check_size(path, num_values, len(content), remedy)
        table = file.read(columns=list(needed))
        read: dict[str, list[Any]] = {}
        for name, column in zip(table.column_names, table.columns, strict=True):
            read.setdefault(name, []).append(column)
        columns, labels, where = [], None, None
        for index, name in enumerate(schema.names):
            column = read[name].pop(0) if name in needed else None
            if index == place:
                labels, where = _values(column), len(columns)
            if index == place or column is None:
                columns.append(tables.Column(name, None))
            else:
                columns += _of_arrow(path, name, column, name in indices)
    except InvalidInput:
        raise
    except Exception as error:
        raise contents.damaged(path, "parquet file", error) from error
    return tables.matrix(path, columns, True, where, labels, wanted)


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return types.is_string(kind) or types.is_large_string(kind)


def _values(column: Any) -> list[Any]:
    """The values of a column; of a dictionary each but once."""
    from pyarrow import types

    if not types.is_dictionary(column.type):
        return column.to_pylist()
    values = []
    for chunk in column.chunks:
        words = chunk.dictionary.to_pylist()
        indices = chunk.indices.to_pylist()
        values += [None if index is None else words[index] for index in indices]
    return values


def _of_arrow(
    path: Path, name: str, column: Any, is_index: bool
) -> Iterator[tables.Column]:
    """A column as that of a table of text would be read; of lists, several."""
    import pyarrow
    from pyarrow import types

    kind = column.type
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_integer(kind) and not is_index and _are_large(column.cast(kind)):
        column, kind = column.cast(pyarrow.string()), pyarrow.string()
    if _are_numbers(kind):
        values = _as_float(column.cast(kind))
        yield tables.Column(name, values, None, is_index, is_empty=values is None)
    elif hasattr(kind, "value_type"):
        yield from _of_lists(name, column)
    else:
        if not _is_text(kind):  # an index of another kind
            column = column.cast(pyarrow.string())
        fields = tables.Fields("row", repr(name), is_index)
        fields.add([text or "" for text in _values(column)], range(len(column)))
        yield fields.column(path)._replace(name=name, is_index=is_index)


def _is_readable(kind: Any) -> bool:
    """Whether a column of this kind is of numbers, or may be."""
    inner = getattr(kind, "value_type", kind)  # of a dictionary or of lists
    is_dictionary = inner is not kind and not hasattr(kind, "value_field")
    return _are_numbers(inner) or (_is_text(inner) and (inner is kind or is_dictionary))


def _are_numbers(kind: Any) -> bool:
    from pyarrow import types

    kinds = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
    return any(is_kind(kind) for is_kind in kinds)


def _as_float(column: Any) -> np.ndarray | None:
    """The numbers as float64, NaN where one is missing; None if all are."""
    from pyarrow import types

    if types.is_boolean(column.type):
        column = column.cast("uint8")
    values = column.cast("float64", safe=False).to_numpy(zero_copy_only=False)
    return None if len(values) and np.isnan(values).all() else values


def _of_lists(name: str, column: Any) -> Iterator[tables.Column]:
    """Lists of as many numbers each as so many columns."""
    from pyarrow import compute

    few, many = compute.min_max(compute.list_value_length(column)).as_py().values()
    if few != many or not few or column.null_count:
        title = f"{name} (lists of {few} to {many} numbers)"
        yield tables.Column(title, None)
        return
    flat = _as_float(compute.list_flatten(column))
    for place in range(few):
        values = None if flat is None else flat[place::few]
        yield tables.Column(f"{name}[{place}]", values)


def _are_large(column: Any) -> bool:
    """Whether there are whole numbers that float64 has not."""
    from pyarrow import compute

    bounds = compute.min_max(column).as_py().values()
    return any(bound is not None and abs(bound) > 2**53 for bound in bounds)
