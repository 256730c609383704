"""Matrices in files of one's own; nothing in them is ever executed or unpickled.

pyarrow and anndata are imported by the formats that need them, not before.
"""

import contextlib
import io
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from dgg_jax import arrays, checks
from dgg_jax.checks import InvalidInput
from dgg_jax.data import tables
from dgg_jax.data.dataset import Matrix

_Reader = Callable[[Path, str | None, Sequence[str]], Matrix]
_OTHERWISE = "or save it as .npz or .csv"  # where an extra is missing
_ZIP_MAGIC = b"PK"
_COPIES = 4  # of a file that memory must have room for
_NAMES = ("x", "X")
_MATLAB_NAMES = (*_NAMES, "fea", "data")
_LABEL_NAMES = ("y", "Y", "gnd", "labels", "label")


def read(path: Path, label: str | None = None, wanted: Sequence[str] = ()) -> Matrix:
    """Reads a file of one's own, one row a data point.

    - .npy: one array; a large one is a memory map.
    - .npz: an array x or X, or a single one; labels in y, Y, gnd, labels or label.
    - .csv, .tsv: separated by commas, semicolons, tabs or bars, with or without a line
      of column names.
    - .mat: of MATLAB before 7.3, arrays x, X, fea or data; labels as in .npz.
    - .parquet: needs the extra parquet.
    - .h5ad: X and obs; needs the extra h5ad. The HDF5 library itself may crash on a
      file that is damaged or hostile, unlike the readers of the other formats.

    Args:
      path: a file with one of SUFFIXES.
      label: name of the column or array with the classes; of a table without names the
        column's number, from 0; by default those above, and none of a table.
      wanted: names of columns of a table that are features whatever they hold.

    Returns:
      The matrix, its labels and what was left out.

    Raises:
      InvalidInput: if the file cannot be read or holds no matrix of numbers, labels
        cannot be found or are not one a row.
    """
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        pickled = suffix in (".pkl", ".pickle", ".pt", ".pth", ".joblib")
        why = " (files are never unpickled)" if pickled else ""
        raise InvalidInput(
            f"{path} must end in one of {', '.join(SUFFIXES)}, or be a folder of "
            f"images, got {suffix!r}{why}; save the data in one of these formats."
        )
    matrix = _READERS[suffix](path, label, wanted)
    x = matrix.features
    if x.ndim < 2 or x.size == 0:
        raise InvalidInput(
            f"{path} must hold a matrix [N, D] of at least one row and column, got "
            f"shape {x.shape}."
        )
    if matrix.labels is not None and matrix.labels.shape != (len(x),):
        n = len(np.atleast_1d(matrix.labels))
        turned = "; transpose the matrix" if x.ndim == 2 and x.shape[1] == n else ""
        raise InvalidInput(
            f"{path} must have one label a row, got labels of shape "
            f"{matrix.labels.shape} for {len(x):,} rows{turned or '; save both anew'}."
        )
    return matrix


def content_of(path: Path) -> bytes:
    """The content of a file.

    Raises:
      InvalidInput: if it is empty, cannot be read or does not fit into memory.
    """
    try:
        size = path.stat().st_size
        if size * _COPIES > arrays.memory():
            raise InvalidInput(
                f"{path} has {size / 2**30:,.1f} GiB, too much for the "
                f"{arrays.memory() / 2**30:,.1f} GiB of memory of this machine; save "
                "it as .npy, which is read from the disk."
            )
        content = arrays.read_bytes(path)
    except InvalidInput:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", error)
        raise InvalidInput(f"{path} cannot be read: {reason}.") from error
    if not content:
        raise InvalidInput(f"{path} is empty; save the data anew.")
    return content


def check_size(path: Path, num_values: int, size: int, remedy: str) -> None:
    """Refuses a file whose values would take far more memory than it has bytes.

    Args:
      path: the file.
      num_values: that it declares.
      size: of the file, in bytes.
      remedy: for the message.

    Raises:
      InvalidInput: then.
    """
    if num_values * 4 > arrays.most_bytes(size):
        raise InvalidInput(
            f"{path} declares {num_values:,} values, out of proportion to its "
            f"{size:,} bytes, or to the {arrays.memory() / 2**30:,.0f} GiB of this "
            f"machine; {remedy}."
        )


def _chosen(
    path: Path, names: Sequence[str], features: Sequence[str], label: str | None
) -> tuple[str, str | None]:
    """The names of the array of features and of that of labels, if there is one."""
    if label is not None and label not in names:
        raise InvalidInput(
            f"{path} has no label={label!r}; its arrays are: "
            f"{', '.join(names) or 'none'}."
        )
    labels = label or next((name for name in _LABEL_NAMES if name in names), None)
    others = [name for name in names if name != labels]
    named = [name for name in features if name in others]
    if not named and len(names) == 1 and label is None:
        return names[0], None
    if not named and len(others) == 1:
        named = others
    if not named:
        raise InvalidInput(
            f'{path} must hold an array "x", or a single one; it has: '
            f"{', '.join(names) or 'none'}."
        )
    return named[0], labels


def _npy(path: Path, label: str | None, wanted: Sequence[str]) -> Matrix:
    if label is None and path.is_file() and path.stat().st_size >= arrays.LARGE:
        with contextlib.suppress(ValueError):  # what is wrong is told below
            return Matrix(arrays.map_npy(path))
    content = content_of(path)
    if content.startswith(_ZIP_MAGIC):
        return _npz(path, label, wanted)
    if label is not None:
        raise InvalidInput(
            f"label={label!r}: {path} holds one array without names; save x and y by "
            "numpy.savez as .npz."
        )
    try:
        return Matrix(arrays.read_npy(content))
    except ValueError as error:
        raise _no_numpy(path, error) from error


def _npz(path: Path, label: str | None, wanted: Sequence[str]) -> Matrix:
    content = content_of(path)
    if not content.startswith(_ZIP_MAGIC):
        return _npy(path, label, wanted)
    try:
        archive = arrays.Npz(content)
        name, labels = _chosen(path, archive.names, _NAMES, label)
        x = archive[name]
        if labels is None:
            return Matrix(x)
        return Matrix(x, np.squeeze(archive.read(labels, text=True)))
    except InvalidInput:
        raise
    except ValueError as error:
        raise _no_numpy(path, error) from error


def _no_numpy(path: Path, error: ValueError) -> InvalidInput:
    reason = " ".join(str(error).split())
    pickled = " (files are never unpickled)" if "object" in reason else ""
    return InvalidInput(
        f"{path} is no numpy file of numbers ({reason}){pickled}; write it by "
        "numpy.save or numpy.savez."
    )


def _mat(path: Path, label: str | None, wanted: Sequence[str]) -> Matrix:
    content = content_of(path)
    if content.startswith((b"MATLAB 7.3", b"\x89HDF")):
        raise InvalidInput(
            f"{path} is of MATLAB 7.3 (HDF5), which is not read; save it in MATLAB by "
            "save('x.mat', 'X', 'y', '-v7')."
        )
    from dgg_jax.data.matlab import Mat

    y = None
    try:
        file = Mat(content)
        name, labels = _chosen(path, file.names, _MATLAB_NAMES, label)
        x = file[name]
        if labels is not None:
            y = file[labels]
    except InvalidInput:
        raise
    except Exception as error:  # damaged bytes make numpy and zlib raise anything
        raise _damaged(path, "MATLAB file", error) from error
    if sparse.issparse(x):
        check_size(path, math.prod(x.shape), len(content), "save fewer columns")
        x = x.toarray()
    if x.dtype.kind not in "biuf":
        raise InvalidInput(f"{path} has text in {name!r}; name a matrix x or X.")
    if sparse.issparse(y):
        y = y.toarray()
    # All arrays of MATLAB are matrices.
    return Matrix(x, None if y is None else y.ravel())


def _parquet(path: Path, label: str | None, wanted: Sequence[str]) -> Matrix:
    checks.installed("parquet", str(path), _OTHERWISE)
    import pyarrow
    from pyarrow import parquet

    content = content_of(path)
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
        groups = map(about.row_group, range(about.num_row_groups))
        stored = sum(
            group.column(index).num_values
            for group in groups
            for index in range(group.num_columns)
        )
        num_values = max(stored, about.num_rows * about.num_columns)
        remedy = "save fewer columns, or as .npy"
        check_size(path, num_values, len(content), remedy)
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
        raise _damaged(path, "parquet file", error) from error
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
        yield tables.Column(name, _as_float(column.cast(kind)), None, is_index)
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


def _unless_empty(values: np.ndarray) -> np.ndarray | None:
    """Values, unless none is there."""
    return None if len(values) and np.isnan(values).all() else values


def _h5ad(path: Path, label: str | None, wanted: Sequence[str]) -> Matrix:
    checks.installed("h5ad", str(path), _OTHERWISE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import h5py
        from anndata.io import read_elem
    content = content_of(path)
    remedy = "keep fewer columns, such as the most variable genes"
    try:
        with warnings.catch_warnings(), h5py.File(io.BytesIO(content)) as file:
            warnings.simplefilter("ignore")
            stored, obs, var = file["X"], file["obs"], file["var"]
            is_dense = isinstance(stored, h5py.Dataset)
            shape = stored.shape if is_dense else stored.attrs["shape"]
            num_values = int(shape[0]) * int(shape[1])
            check_size(path, num_values, len(content), remedy)
            index = obs.attrs.get("_index")
            names = [name for name in obs if name != index]
            if label is not None and label not in names:
                raise InvalidInput(
                    f"{path} has no label={label!r} in obs; there are: "
                    f"{', '.join(names) or 'none'}."
                )
            x = read_elem(stored)
            labels = None if label is None else np.asarray(read_elem(obs[label]))
            columns = tuple(map(str, read_elem(var).index))
    except InvalidInput:
        raise
    except Exception as error:
        raise _damaged(path, "h5ad file", error) from error
    x = x.toarray() if sparse.issparse(x) else np.asarray(x)
    return Matrix(x, labels, columns)


def _damaged(path: Path, kind: str, error: Exception) -> InvalidInput:
    if isinstance(error, MemoryError):
        return InvalidInput(f"{path} does not fit into memory; save a part of it.")
    reason = " ".join(str(error).split()) or type(error).__name__
    return InvalidInput(
        f"{path} is no whole {kind} ({reason[:200]}); it may be truncated: save it "
        "anew."
    )


def _text(path: Path, label: str | None, wanted: Sequence[str]) -> Matrix:
    return tables.read(path, content_of(path), label, wanted)


_READERS: dict[str, _Reader] = {
    ".npy": _npy,
    ".npz": _npz,
    ".csv": _text,
    ".tsv": _text,
    ".mat": _mat,
    ".parquet": _parquet,
    ".h5ad": _h5ad,
}
SUFFIXES = tuple(_READERS)
