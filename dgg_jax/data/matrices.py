"""Matrices in files of one's own; nothing in them is ever executed or unpickled.

pyarrow and anndata are imported by the formats that need them, not before.
"""

import contextlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy import sparse

from dgg_jax.checks import InvalidInput
from dgg_jax.data import contents, h5ad, parquet, tables
from dgg_jax.data.dataset import Matrix
from dgg_jax.storage import arrays

_Reader = Callable[[Path, str | None, Sequence[str]], Matrix]
_ZIP_MAGIC = b"PK"
_NAMES = ("x", "X")
_MATLAB_NAMES = (*_NAMES, "fea", "data")
_LABEL_NAMES = ("y", "Y", "gnd", "labels", "label")


def read(
    path: Path,
    label: str | None = None,
    wanted: Sequence[str] = (),
    layer: str | None = None,
) -> Matrix:
    """Reads a file of one's own, one row a data point.

    - .npy: one array; a large one is a memory map.
    - .npz: an array x or X, or a single one; labels in y, Y, gnd, labels or label.
    - .csv, .tsv: separated by commas, semicolons, tabs or bars, with or without a line
      of column names.
    - .mat: of MATLAB before 7.3, arrays x, X, fea or data; labels as in .npz.
    - .parquet: needs the extra parquet.
    - .h5ad: X, or a layer, and obs; needs the extra h5ad. The HDF5 library itself may
      crash on a file that is damaged or hostile, unlike the readers of the other
      formats.

    Args:
      path: a file with one of SUFFIXES.
      label: name of the column or array with the classes; of a table without names the
        column's number, from 0; by default those above, and none of a table.
      wanted: names of columns of a table that are features whatever they hold.
      layer: of an .h5ad file, what to read in place of X: a name in layers, or raw.

    Returns:
      The matrix, its labels and what was left out.

    Raises:
      InvalidInput: if the file cannot be read or holds no matrix of numbers, labels
        cannot be found or are not one a row.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        pickled = suffix in (".pkl", ".pickle", ".pt", ".pth", ".joblib")
        why = " (files are never unpickled)" if pickled else ""
        raise InvalidInput(
            f"{path} must end in one of {', '.join(SUFFIXES)}, or be a folder of "
            f"images, got {suffix!r}{why}; save the data in one of these formats."
        )
    if layer is not None and suffix != ".h5ad":
        raise InvalidInput(
            f"layer={layer!r} is for .h5ad files, {path} is none; leave it out."
        )
    if suffix == ".h5ad":
        matrix = h5ad.read(path, label, layer)
    else:
        matrix = _READERS[suffix](path, label, wanted)
    x = matrix.features
    if x.ndim < 2 or x.size == 0:
        raise InvalidInput(
            f"{path} must hold a matrix [N, D] of at least one row and column, got "
            f"shape {x.shape}; give one row a data point, one column a feature."
        )
    if matrix.labels is not None and matrix.labels.shape != (len(x),):
        n = len(np.atleast_1d(matrix.labels))
        turned = "; transpose the matrix" if x.ndim == 2 and x.shape[1] == n else ""
        raise InvalidInput(
            f"{path} must have one label a row, got labels of shape "
            f"{matrix.labels.shape} for {len(x):,} rows{turned or '; save both anew'}."
        )
    return matrix


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
    content = contents.content_of(path)
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
    content = contents.content_of(path)
    if not content.startswith(_ZIP_MAGIC):
        return _npy(path, label, wanted)
    try:
        archive = arrays.Npz(content)
        name, labels = _chosen(path, archive.names, _NAMES, label)
        x = archive[name]
    except InvalidInput:
        raise
    except ValueError as error:
        raise _no_numpy(path, error) from error
    if labels is None:
        return Matrix(x)
    try:
        return Matrix(x, np.squeeze(archive.read(labels, text=True)))
    except ValueError as error:
        reason = f"{' '.join(str(error).split())}; files are never unpickled"
        raise InvalidInput(
            f"{path} has labels in {labels!r} that cannot be read ({reason}); save "
            f"them as numbers or as text, as by numpy.savez(file, x=x, {labels}="
            f"{labels}.astype(str))."
        ) from error


def _no_numpy(path: Path, error: ValueError) -> InvalidInput:
    reason = " ".join(str(error).split())
    pickled = " (files are never unpickled)" if "object" in reason else ""
    return InvalidInput(
        f"{path} is no numpy file of numbers ({reason}){pickled}; write it by "
        "numpy.save or numpy.savez."
    )


def _mat(path: Path, label: str | None, wanted: Sequence[str]) -> Matrix:
    content = contents.content_of(path)
    if content.startswith((b"MATLAB 7.3", b"\x89HDF")):
        raise InvalidInput(
            f"{path} is of MATLAB 7.3 (HDF5), which is not read; save it in MATLAB by "
            "save('x.mat', 'X', 'y', '-v7')."
        )
    from dgg_jax.data.matlab import Mat, Unusable

    y = None
    try:
        file = Mat(content)
        name, labels = _chosen(path, file.names, _MATLAB_NAMES, label)
        x = file[name]
        if labels is not None:
            y = file[labels]
    except InvalidInput:
        raise
    except Unusable as error:
        raise InvalidInput(f"{path} has no matrix in {name!r}: {error}.") from error
    except Exception as error:  # damaged bytes make numpy and zlib raise anything
        raise contents.damaged(path, "MATLAB file", error) from error
    if sparse.issparse(x):
        remedy = "save fewer columns"
        contents.check_size(path, math.prod(x.shape), len(content), remedy)
        x = x.toarray()
    if x.dtype.kind not in "biuf":
        raise InvalidInput(f"{path} has text in {name!r}; name a matrix x or X.")
    if sparse.issparse(y):
        y = y.toarray()
    # All arrays of MATLAB are matrices.
    return Matrix(x, None if y is None else y.ravel())


def _text(path: Path, label: str | None, wanted: Sequence[str]) -> Matrix:
    return tables.read(path, contents.content_of(path), label, wanted)


_READERS: dict[str, _Reader] = {
    ".npy": _npy,
    ".npz": _npz,
    ".csv": _text,
    ".tsv": _text,
    ".mat": _mat,
    ".parquet": parquet.read,
}
SUFFIXES = (*_READERS, ".h5ad")
