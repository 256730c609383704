"""What people hand to ``fit`` and ``predict``, as the arrays that methods take."""

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from dgg_jax import checks
from dgg_jax.log import LOGGER
from dgg_jax.storage import arrays


def as_matrix(X: Any) -> Any:
    """X as a matrix: arrays [N, ...] become rows, an AnnData object a data frame."""
    if isinstance(X, str | os.PathLike):
        raise checks.InvalidInput(
            f"X must be numbers, got the path {str(X)!r}; dgg_jax.data.load reads a "
            "file, as x = data.load(path).x."
        )
    X = _of_anndata(X) if _is_anndata(X) else as_array(X)
    if sparse.issparse(X) and X.format in ("csr", "csc"):
        checks.sparse_format(X)
    if len(getattr(X, "shape", ())) > 2:
        X = X.reshape(len(X), math.prod(X.shape[1:]))
    return X


def as_array(X: Any) -> Any:
    """X as numpy holds it, [N, ...]: a tensor, a list or column of arrays or images.

    What has columns stays as it is, and lists of numbers, which scikit-learn reads.
    """
    if sparse.issparse(X) or _is_anndata(X) or hasattr(X, "columns"):
        return X
    if isinstance(X, Sequence) and not isinstance(X, list | tuple | str | bytes):
        X = X[:]  # a column of a Hugging Face data set, of which this is the content
    if isinstance(X, np.ma.MaskedArray) and X.mask.any():  # what lies below is none
        X = X.astype(np.result_type(X.dtype, np.float32)).filled(np.nan)
    if hasattr(X, "__array__") or hasattr(X, "detach"):
        X = _of_tensor(X)
    is_column = isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1
    if not (is_column or isinstance(X, list | tuple)) or not len(X):
        return X
    first = _of_tensor(X[0])
    if np.ndim(first) < (1 if is_column or isinstance(first, np.ndarray) else 2):
        return X
    rows = [np.asarray(_of_tensor(row)) for row in X]
    for row in rows:
        if row.shape != rows[0].shape:
            raise checks.InvalidInput(
                f"the rows of X must have one shape, got {rows[0].shape} and "
                f"{row.shape}; bring them to one."
            )
    return np.stack(rows)


def _of_tensor(X: Any) -> Any:
    """An array of numpy from one of another library; all else as it is."""
    if hasattr(X, "detach"):  # PyTorch's, of any device
        X = X.detach().cpu()
        if str(X.dtype) == "torch.bfloat16":  # which numpy does not have
            X = X.float()
    return np.asarray(X) if hasattr(X, "__array__") else X


def _is_anndata(X: Any) -> bool:
    return hasattr(X, "obs_names") and hasattr(X, "var_names")


def _of_anndata(X: Any) -> Any:
    """The matrix of an AnnData object, with the names of its genes."""
    import pandas as pd  # which anndata has brought

    if X.X is None:
        have = ", ".join(X.layers) or "none"
        raise checks.InvalidInput(
            f"X is an AnnData object without X; its layers are: {have}. Give one as "
            "adata.layers[name]."
        )
    matrix, names = (X.to_memory() if X.isbacked else X).X, X.var_names
    if sparse.issparse(matrix):
        return pd.DataFrame.sparse.from_spmatrix(sparse.csc_matrix(matrix), None, names)
    return pd.DataFrame(np.asarray(matrix), columns=names)


def as_float32(X: np.ndarray | sparse.spmatrix) -> np.ndarray | sparse.spmatrix:
    """X as float32, of which no value is too large for it."""
    if X.dtype == np.float32:  # perhaps a memory map
        return X
    with np.errstate(over="ignore"):
        X = X.astype(np.float32) if sparse.issparse(X) else arrays.float32_copy(X)
    values = X.data if sparse.issparse(X) else X
    if np.isinf(values).any():
        raise checks.InvalidInput(
            "Input X contains a value too large for float32; scale it, or leave its "
            "row out."
        )
    return X


def shape_of_images(X: Any) -> tuple[int, ...] | None:
    """The shape of the images that X [N, H, W, ...] consists of, if it shows some."""
    if len(getattr(X, "shape", ())) < 3:
        return None
    if checks.shows_images(X):
        return X.shape[1:]
    if checks.has_channels_first(X.shape[1:]):
        LOGGER.warning(
            f"X of shape {X.shape} is taken for rows of {math.prod(X.shape[1:]):,} "
            "numbers; if they are images, give X.transpose(0, 2, 3, 1)."
        )
    return None


@contextlib.contextmanager
def no_number_named(X: Any) -> Iterator[None]:
    """Names the column of what scikit-learn cannot read as a number: words, dates."""
    try:
        yield
    except (TypeError, ValueError) as error:
        columns, told = getattr(X, "columns", None), str(error)
        of_dates = "must be a string or a real", "could not be promoted"
        is_dated = columns is not None and any(text in told for text in of_dates)
        if np.ndim(X) != 2 or not (is_dated or "could not convert" in told):
            raise
        found = _no_number(X)
        if found is None:
            raise
        row, column, value = found
        name = column if columns is None else repr(columns[column])
        raise checks.InvalidInput(
            f"X must be numbers, column {name} has {value!r} in row {row}; leave that "
            "column out, or encode it, as by scikit-learn's OneHotEncoder."
        ) from error


def _no_number(X: Any) -> tuple[int, int, Any] | None:
    """Row, column and first value of X [N, D] that is no number, and not missing."""
    for start in range(0, len(X), 1000):
        for row, values in enumerate(np.asarray(X[start : start + 1000], object)):
            for column, value in enumerate(values):
                try:
                    float(value)
                except (TypeError, ValueError):
                    if value is not None and str(value) != "<NA>":
                        return start + row, column, value
    return None
