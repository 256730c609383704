"""Checks of what users hand in; each message names the value and the remedy."""

import functools
import importlib.util
import itertools
import math
import numbers
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse


class InvalidInput(ValueError):
    """A value the user gave cannot be used; the message says what to change."""


class MissingData(InvalidInput, FileNotFoundError):
    """A data set cannot be found or obtained; the message says what to put where."""

    def __str__(self) -> str:
        # FileNotFoundError would format a two-argument form; the message is enough.
        return str(self.args[0])


class NotInstalled(InvalidInput, ImportError):
    """An optional package is missing; the message has the command that brings it."""


# What code imports of each extra of pyproject.toml, beyond the default packages.
EXTRAS = {
    "approximate": ("pynndescent",),
    "arena": ("palmerpenguins", "scanpy", "umap"),
    "benchmark": ("clustpy", "pynndescent", "torch"),
    "datasets": (
        "array_record",
        "importlib_resources",
        "requests",
        "tensorflow_datasets",
    ),
    "features": ("keras",),
    "h5ad": ("anndata",),
    "parquet": ("pyarrow",),
}


def lacking(extra: str) -> str | None:
    """What an extra lacks and the command that brings it; None if nothing.

    Nothing is imported, which for some packages would take seconds.
    """
    missing = [name for name in EXTRAS[extra] if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    *others, last = missing
    names = f"{', '.join(others)} and {last} are" if others else f"{last} is"
    return f"{names} not installed: pip install 'dgg-jax[{extra}]'"


def installed(extra: str, purpose: str, otherwise: str = "") -> None:
    """Checks that an extra is there, before any long work.

    Args:
      extra: one of EXTRAS.
      purpose: what needs it, the start of the message.
      otherwise: what else one can do, the end of the message.

    Raises:
      NotInstalled: if it is not; the message has the command that brings it.
    """
    missing = lacking(extra)
    if missing:
        remedy = f", {otherwise}" if otherwise else ""
        raise NotInstalled(f"{purpose} needs more packages; {missing}{remedy}.")


def one_of(name: str, value: str, valid: Sequence[str]) -> None:
    """Checks that ``value`` is one of ``valid``.

    Raises:
      InvalidInput: otherwise; the message lists the valid values.
    """
    if value not in valid:
        raise InvalidInput(
            f"{name}={value!r} is unknown; choose one of: {', '.join(valid)}."
        )


def of_type(name: str, value: Any, kind: Any) -> None:
    """Checks that ``value`` is of a kind that settings are declared with.

    A whole number will do for a float, numpy's numbers for Python's.

    Args:
      name: of the setting.
      value: what came.
      kind: bool, int, float, str, tuple[int, ...], or the last with None.

    Raises:
      InvalidInput: otherwise, a bool for a number included.
    """
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if not any(_is_of(value, option) for option in options):
        wanted = kind.__name__ if isinstance(kind, type) else kind
        raise InvalidInput(f"{name} must be of type {wanted}, got {value!r}.")


def _is_of(value: Any, kind: Any) -> bool:
    if typing.get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_is_of(item, int) for item in value)
    if isinstance(value, bool | np.bool_):
        return kind is bool
    return isinstance(
        value, {int: numbers.Integral, float: numbers.Real}.get(kind, kind)
    )


def in_range(name: str, value: float, low: float, high: float = float("inf")) -> None:
    """Checks that low <= value <= high.

    Raises:
      InvalidInput: otherwise, NaN and what is no number included.
    """
    wanted = f"at least {low:g}" if high == float("inf") else f"in [{low:g}, {high:g}]"
    try:
        is_inside = low <= value <= high
    except TypeError:
        raise InvalidInput(
            f"{name} must be a number {wanted}, got {value!r}."
        ) from None
    if not is_inside:
        raise InvalidInput(f"{name} must be {wanted}, got {value!r}.")


def shapes(**arguments: tuple[Any, str | tuple[str, ...]]) -> None:
    """Checks that arrays have the axes they should, and that those agree.

    Shapes are known while jax traces, so that compiled code has no trace of this; under
    ``jax.vmap`` they are those of one data point.

    Args:
      **arguments: by its name each array and its axes, "K L" of an array [K, L], "" of
        a scalar. An axis has one size wherever it stands; 1+S is one longer than S.
        "..." in front are axes that are the same in all arrays, at the end any axes.
        Entries of a tuple or list all have them, or each those of a tuple.

    Raises:
      InvalidInput: if an array has more or fewer axes, or an axis two sizes.

    Example:
      >>> import numpy as np
      >>> from dgg_jax import checks
      >>> try:
      ...     checks.shapes(x=(np.zeros(4), "D"), y=(np.zeros(1), "D"))
      ... except checks.InvalidInput as error:
      ...     print(error)
      y has shape (1,), x has shape (4,): both must be [D]. Make D the same.
    """
    arrays = [array for item in arguments.items() for array in _shaped(*item)]
    known: dict[str, Any] = {}
    for array in arrays:
        sizes = _sizes(array)
        if len(sizes) != len(array.axes):
            remedy = (
                "Over a batch, map the function with jax.vmap."
                if len(sizes) > len(array.axes)
                else "Add the axes that are missing."
            )
            raise InvalidInput(f"{_misfit(array, arrays, array.axes)} {remedy}")
        for axis, size in zip(array.axes, sizes, strict=True):
            if known.setdefault(axis, size) != size:
                which = "the leading axes" if axis == "..." else axis
                text = _misfit(array, arrays, (axis,))
                raise InvalidInput(f"{text} Make {which} the same.")


class _Shaped(NamedTuple):
    name: str
    shape: tuple[int, ...]
    wanted: str  # "K L"
    axes: tuple[str, ...]  # of one size each: without 1+, or "..." at the end


def _shaped(
    name: str, argument: tuple[Any, str | tuple[str, ...]]
) -> Iterator[_Shaped]:
    """The shape of an argument, or of each of its entries, and its axes."""
    value, wanted = argument
    if not isinstance(value, tuple | list):
        yield _Shaped(name, np.shape(value), str(wanted), _axes(str(wanted)))
        return
    if fields := getattr(value, "_fields", ()):
        labels = [f"{name}.{field}" for field in fields]
    else:
        labels = [f"{name}[{i}]" for i in range(len(value))] if value[1:] else [name]
    for i, (label, entry) in enumerate(zip(labels, value, strict=False)):
        of_entry = wanted if isinstance(wanted, str) else wanted[i]
        yield _Shaped(label, np.shape(entry), of_entry, _axes(of_entry))


@functools.cache
def _axes(wanted: str) -> tuple[str, ...]:
    axes = tuple(axis.removeprefix("1+") for axis in wanted.split())
    return axes[:-1] if wanted.endswith(" ...") else axes


def _sizes(array: _Shaped) -> tuple[Any, ...]:
    """The size of each axis; of "..." the sizes of those in front."""
    shape = array.shape
    if array.wanted.endswith(" ..."):
        shape = shape[: len(array.axes)]
    elif array.wanted.startswith("...") and len(shape) >= len(array.axes) - 1:
        split = len(shape) - len(array.axes) + 1
        return shape[:split], *shape[split:]
    if array.wanted.startswith("1+"):
        return tuple(size - (i == 0) for i, size in enumerate(shape))
    return shape


def _misfit(array: _Shaped, arrays: Sequence[_Shaped], axes: Sequence[str]) -> str:
    """What shapes an array and the first other with one of the axes have and need."""
    others = (
        other for other in arrays if other is not array and set(other.axes) & set(axes)
    )
    both = [array, *itertools.islice(others, 1)]
    have = ", ".join(f"{name} has shape {shape}" for name, shape, *_ in both)
    wanted = [
        f"[{', '.join(one.wanted.split())}]" if one.wanted else "a scalar"
        for one in both
    ]
    if len(both) == 1:
        return f"{have}: it must be {wanted[0]}."
    if wanted[0] == wanted[1]:
        return f"{have}: both must be {wanted[0]}."
    return f"{have}: they must be {wanted[0]} and {wanted[1]}."


def data_matrix(
    x: np.ndarray | sparse.csr_array,
    num_clusters: int,
    *,
    unit_interval: bool,
    may_miss: bool = False,
) -> None:
    """Checks that x can be clustered, before any long work.

    Args:
      x: the data, shape [N, D]; a csr_array if they are sparse.
      num_clusters: K, at most N.
      unit_interval: whether the likelihood needs values in [0, 1].
      may_miss: whether values may be missing, which are NaN; not those of sparse rows.

    Raises:
      InvalidInput: if x is not a matrix, has fewer rows, or different ones, than
        clusters, holds NaN or infinite values (how many, where first), is constant, or
        leaves [0, 1] under a Bernoulli likelihood.
    """
    if x.ndim != 2 or x.shape[1] == 0:
        raise InvalidInput(
            f"x must be a matrix [N, D] with D >= 1, got shape {x.shape}; flatten "
            "images to one row each."
        )
    if num_clusters > x.shape[0]:
        raise InvalidInput(
            f"num_clusters={num_clusters} exceeds the {x.shape[0]} rows of x; ask for "
            "at most one cluster a row."
        )
    may_miss = may_miss and not sparse.issparse(x)
    # By blocks: x may be a memory map that is larger than memory.
    num_wrong, low, high, first = 0, np.inf, -np.inf, None
    for start, block in blocks(x):
        with np.errstate(over="ignore"):
            block = block.astype(np.float32, copy=False)
        usable = np.isfinite(block)
        if may_miss and not usable.all():
            usable |= np.isnan(block)
        if not usable.all():
            row, column = np.argwhere(~usable)[0]
            first = first or (start + row, column, block[row, column])
            num_wrong += np.count_nonzero(~usable)
        # They pass over NaN.
        low = min(low, np.fmin.reduce(block, axis=None))
        high = max(high, np.fmax.reduce(block, axis=None))
    if first:
        row, column, value = first
        raise InvalidInput(
            f"x holds {num_wrong:,} NaN or infinite values, the first at row {row}, "
            f"column {column} ({value}); remove or impute them."
        )
    if low == high:
        raise InvalidInput(
            f"x is constant (every value is {low:g}); there is nothing to cluster."
        )
    different = _num_different(x, num_clusters)
    if different < num_clusters:
        raise InvalidInput(
            f"num_clusters={num_clusters} exceeds the {different} different rows of x; "
            "ask for at most one cluster a different row."
        )
    if unit_interval and (low < 0.0 or high > 1.0):
        raise InvalidInput(
            f"the Bernoulli likelihood needs values in [0, 1], x has values in "
            f"[{low:g}, {high:g}]; scale x (8-bit pixels: divide by 255) or use "
            "likelihood=gaussian."
        )


def sample_weight(weights: Any, num_rows: int) -> np.ndarray | None:
    """Returns weights of rows, scaled to a mean of 1, so that only ratios matter.

    Args:
      weights: how much each row counts, [N], at least 0; None: all count alike.
      num_rows: N.

    Returns:
      float32 [N]; None if all are equal, which is to have none.

    Raises:
      InvalidInput: if they are no such numbers, or all are 0.
    """
    if weights is None:
        return None
    weights = np.asarray(weights)
    if weights.shape != (num_rows,):
        raise InvalidInput(
            f"sample_weight must be [{num_rows}], a weight for each row of X, got "
            f"shape {weights.shape}."
        )
    try:
        weights = weights.astype(np.float64, casting="same_kind")
    except (TypeError, ValueError):
        raise InvalidInput(
            f"sample_weight must be numbers, got {weights.dtype}; convert them."
        ) from None
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        row = int(wrong.argmax())
        raise InvalidInput(
            f"sample_weight must be finite and at least 0, row {row} has "
            f"{weights[row]:g}; give 0 to a row that shall not count."
        )
    if not weights.any():
        raise InvalidInput(
            "sample_weight is zero for every row; leave it out, and all count alike."
        )
    if (weights == weights[0]).all():
        return None
    weights = weights / weights.max()  # whose sum is finite
    return (weights / weights.mean()).astype(np.float32)


def no_sample_weight(weights: Any, num_rows: int, why: str, instead: str) -> None:
    """Refuses weights of rows where nothing could heed them.

    Args:
      weights: see ``sample_weight``; those that are all equal will do.
      num_rows: N.
      why: they cannot be heeded, the start of the message.
      instead: what takes them, its end.

    Raises:
      InvalidInput: if there are some, or they cannot be weights.
    """
    if sample_weight(weights, num_rows) is not None:
        raise InvalidInput(
            f"{why}, which no sample_weight can weigh; leave it out, or use {instead}."
        )


def batch(
    labels: Any, num_rows: int, categories: Sequence[str] | None = None
) -> tuple[np.ndarray, tuple[str, ...]] | None:
    """Returns the batch of every row as an integer, and what the integers stand for.

    Args:
      labels: the batch that each row was measured in, [N], of any kind: words, whole
        numbers, categories; they are compared as text, 1.0 as 1. None: there are no
        batches.
      num_rows: N.
      categories: those that are known; None: those of the labels, in the order of
        numbers or of text.

    Returns:
      int32 [N] in 0..M-1, and M categories; None if there are fewer than two, which is
      to have none.

    Raises:
      InvalidInput: if they are no such labels, one is missing, or is not known.
    """
    if labels is None:
        return None
    # As they came: numpy makes text of what is missing in a list of words.
    values = labels if isinstance(labels, list | tuple) else None
    labels = np.asarray(labels)
    if labels.shape != (num_rows,):
        raise InvalidInput(
            f"batch must be [{num_rows}], a label for each row of X, got shape "
            f"{labels.shape}."
        )
    values = labels.tolist() if values is None else values
    none = ("None", "nan", "NaT", "<NA>")  # as what is missing shows itself
    missing = [not isinstance(v, str) and str(v) in none for v in values]
    if any(missing):
        raise InvalidInput(
            f"batch has no label in row {missing.index(True)}; give every row one."
        )
    if labels.dtype.kind == "f" and np.isfinite(labels).all():
        whole = labels.astype(np.int64)  # as pandas has integers beside what is missing
        labels = whole if (whole == labels).all() else labels
        values = labels.tolist()
    # Whole numbers in their own order, so that 0..M-1 stay what they are.
    are_whole = labels.dtype.kind in "iu"
    comparable = labels if are_whole else np.array([str(value) for value in values])
    found, codes = np.unique(comparable, return_inverse=True)
    if categories is None and len(found) == num_rows > 2:
        raise InvalidInput(
            f"batch must say which rows were measured together, got one of its own for "
            f"each of the {num_rows:,} rows; leave it out."
        )
    found = [str(name) for name in found.tolist()]
    if categories is None:
        return None if len(found) < 2 else (codes.astype(np.int32), tuple(found))
    unknown = [name for name in found if name not in categories]
    if unknown:
        raise InvalidInput(
            f"batch has {_quoted(unknown)}, of which the model knows nothing; it was "
            f"trained on {_quoted(categories)}."
        )
    places = np.array([categories.index(name) for name in found], np.int32)
    return places[codes], tuple(categories)


def _quoted(names: Sequence[str]) -> str:
    """Names for a message, not all of very many."""
    text = ", ".join(map(repr, names[:5]))
    return text if len(names) <= 5 else f"{text} and {len(names) - 5:,} more"


def no_batch(labels: Any, num_rows: int, method: str) -> None:
    """Refuses batches where nothing could heed them.

    Args:
      labels: see ``batch``; of one batch only they will do.
      num_rows: N.
      method: that cannot.

    Raises:
      InvalidInput: if there are several, or they cannot be batches.
    """
    if batch(labels, num_rows) is not None:
        raise InvalidInput(
            f"{method} has no place for the batch of a row; leave it out, or use DGG "
            "or VaDE, whose encoder and decoder take it."
        )


def counts(x: np.ndarray | sparse.csr_array, *, may_be_empty: bool = False) -> None:
    """Checks that x [N, D] holds counts.

    Args:
      x: numbers.
      may_be_empty: whether a row may have none.

    Raises:
      InvalidInput: if a value is none, or a row has none.
    """
    for start, block in blocks(x):
        wrong = (block < 0) | (block != np.floor(block))
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise InvalidInput(
                "counts (likelihood=negative_binomial, --scaling=counts) must be whole "
                f"numbers from 0 on, x has {block[row, column]:g} at row "
                f"{start + row}, column {column}; give them as they were before any "
                "scaling, or use likelihood=gaussian (--scaling=standard)."
            )
        empty = ~(block > 0).any(axis=1)
        if empty.any() and not may_be_empty:
            raise InvalidInput(
                f"row {start + int(empty.argmax())} of x has no counts; leave out rows "
                "without any."
            )


def missing(x: np.ndarray | sparse.csr_array) -> bool:
    """Whether values of x [N, D], which are NaN, are missing.

    Raises:
      InvalidInput: if all values of a row or of a column are.
    """
    if sparse.issparse(x) and not (len(x.data) and has_nan(x.data)):
        return False
    in_column = np.zeros(x.shape[1], np.int64)
    for start, block in blocks(x):
        if has_nan(block):
            in_column += _gone(start, block).sum(axis=0)
    if (in_column == x.shape[0]).any():
        column = int((in_column == x.shape[0]).argmax())
        raise InvalidInput(
            f"column {column} of x has no value, all are NaN; leave it out."
        )
    return bool(in_column.any())


def empty_rows(x: np.ndarray) -> None:
    """Refuses rows of x [N, D] without any value, of which nothing could be said.

    Raises:
      InvalidInput: naming the first.
    """
    for start, block in blocks(x):
        if has_nan(block):
            _gone(start, block)


def _gone(start: int, block: np.ndarray) -> np.ndarray:
    """Which values are NaN, of rows from this one on that all must have some."""
    gone = np.isnan(block)
    empty = gone.all(axis=1)
    if empty.any():
        raise InvalidInput(
            f"row {start + int(empty.argmax())} of x has no value, all are NaN; "
            "leave it out."
        )
    return gone


def has_nan(x: np.ndarray) -> bool:
    """Whether any of the values, at least one, is NaN: in one pass, without a copy."""
    return x.dtype.kind == "f" and bool(np.isnan(x.min()))


def _num_different(x: np.ndarray | sparse.csr_array, most: int) -> int:
    """How many rows differ, counted no further than so many."""
    seen: set[bytes] = set()
    for _, block in blocks(x):
        for row in block:
            seen.add((row + 0).tobytes())  # -0 is 0
            if len(seen) >= most:
                return most
    return len(seen)


def blocks(
    x: np.ndarray | sparse.csr_array, size: int = 2**26
) -> Iterator[tuple[int, np.ndarray]]:
    """The rows of x [N, D] in dense blocks of so many bytes, and where they start."""
    num_rows = max(1, size // (x.dtype.itemsize * x.shape[1]))
    for start in range(0, x.shape[0], num_rows):
        block = x[start : start + num_rows]
        yield start, block.toarray() if sparse.issparse(block) else block


def sparse_format(x: sparse.csr_array | sparse.csc_array) -> None:
    """Checks that a sparse matrix refers to nothing but its own values.

    scipy's ``check_format`` takes differences, which overflow: pointers that leave the
    values pass it, and are read and written to.

    Args:
      x: by compressed rows or columns.

    Raises:
      ValueError: if pointers or indices leave their bounds.
    """
    pointers, indices, values = x.indptr, x.indices, x.data
    rows, columns = x.shape if x.format == "csr" else x.shape[::-1]
    if (
        pointers.shape != (rows + 1,)
        or pointers[0] != 0
        or (pointers[1:] < pointers[:-1]).any()
        or not pointers[-1] <= len(indices) == len(values)
    ):
        raise ValueError("pointers of a sparse matrix leave its values")
    used = indices[: pointers[-1]]
    if len(used) and not 0 <= used.min() <= used.max() < columns:
        raise ValueError("indices of a sparse matrix leave its shape")


def rows(x: Any, num_features: int, name: str = "x") -> np.ndarray:
    """Returns x, if dense as float32, if it is [N, D] with the D of training.

    Raises:
      InvalidInput: otherwise.
    """
    # Those of dgg_jax.placement.rows, which imports jax, have num_columns.
    if not (hasattr(x, "num_columns") or sparse.issparse(x)):
        x = np.asarray(x, np.float32)
    if len(x.shape) != 2 or x.shape[1] != num_features:
        raise InvalidInput(
            f"{name} must be [N, {num_features}], as in training, got shape {x.shape}."
        )
    return x


def neighbors_of(knn: Any) -> tuple[Any, Any]:
    """Indices and distances of nearest neighbours, in whatever form they come.

    Args:
      knn: the pair, as ``graph.knn`` returns it; or the sparse matrix [N, N] that
        scikit-learn's ``kneighbors_graph`` or ``KNeighborsTransformer`` returns, and
        scanpy keeps as ``obsp["distances"]``.

    Returns:
      The pair; of a matrix both [N, k], nearest first and without the points
      themselves.

    Raises:
      InvalidInput: if it is neither.
    """
    if sparse.issparse(knn):
        return _of_graph(knn)
    if isinstance(knn, tuple | list) and len(knn) == 2:
        kinds = [np.asarray(part).dtype.kind for part in knn]
        if kinds[0] == "f" and kinds[1] in "iu":
            raise InvalidInput(
                "knn must be (indices, distances), got distances first, as "
                "scikit-learn's kneighbors returns them; exchange them, and leave out "
                "the points themselves."
            )
        return tuple(knn)
    got = type(knn).__name__
    shape = getattr(knn, "shape", None)
    if shape is not None and len(shape) == 2 and shape[0] == shape[1]:
        raise InvalidInput(
            f"knn must be neighbours, got all distances {got} of shape {shape}; give "
            "kneighbors_graph(knn, k, mode='distance', metric='precomputed') of "
            "scikit-learn."
        )
    raise InvalidInput(
        "knn must be a pair (indices, distances) of shape [N, k], as dgg_jax.graph.knn "
        "returns it, or the sparse matrix of scikit-learn's kneighbors_graph; got "
        f"{got}{'' if shape is None else f' of shape {shape}'}."
    )


def _of_graph(knn: Any) -> tuple[np.ndarray, np.ndarray]:
    """The pair of a sparse matrix of distances, or of ones."""
    if knn.ndim != 2 or knn.shape[0] != knn.shape[1]:
        raise InvalidInput(
            f"knn must be a matrix [N, N] of distances, got shape {knn.shape}; give "
            "that of the rows of X to each other."
        )
    graph = sparse.csr_array(knn)
    sparse_format(graph)
    num_points = graph.shape[0]
    rows = np.repeat(np.arange(num_points), np.diff(graph.indptr))
    others = rows != graph.indices
    rows, indices, distances = rows[others], graph.indices[others], graph.data[others]
    counts = np.bincount(rows, minlength=num_points)
    few, many = counts.min(), counts.max()
    # One more where copies of a point take its own place.
    if few == 0 or many > few + 1:
        raise InvalidInput(
            f"knn must have as many neighbours in every row, got {few} to {many}, in "
            f"rows {counts.argmin()} and {counts.argmax()}; kneighbors_graph(X, k, "
            "mode='distance') of scikit-learn and obsp['distances'] of scanpy have, "
            "connectivities and neighbours within a radius have not."
        )
    order = np.lexsort((distances, rows))
    ranks = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    nearest = order[ranks < few].reshape(num_points, few)
    return indices[nearest], distances[nearest]


def neighbors(
    indices: np.ndarray, distances: np.ndarray, *, num_points: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns nearest neighbours as ``graph.knn`` gives them, if they are that.

    Args:
      indices: of the neighbours of every point, shape [N, k].
      distances: to them, ascending, shape [N, k].
      num_points: N.

    Returns:
      indices as int32 and distances as float32.

    Raises:
      InvalidInput: if shapes differ, an index is no other point's, or distances are
        not ascending, finite and at least 0.
    """
    indices, distances = np.asarray(indices), np.asarray(distances, np.float32)
    if (
        indices.ndim != 2
        or indices.shape != distances.shape
        or len(indices) != num_points
        or indices.shape[1] == 0
    ):
        raise InvalidInput(
            f"neighbours must be indices and distances of shape [{num_points}, k], one "
            f"row a row of x, got shapes {indices.shape} and {distances.shape}."
        )
    if not np.issubdtype(indices.dtype, np.integer):
        raise InvalidInput(
            f"indices of neighbours must be integers, got {indices.dtype}."
        )
    own = np.arange(num_points)[:, None]
    wrong = (indices < 0) | (indices >= num_points) | (indices == own)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise InvalidInput(
            f"indices of neighbours must be those of other rows, in 0 to "
            f"{num_points - 1}; row {row} has {indices[row, column]}. Leave out the "
            "point itself."
        )
    if not (np.isfinite(distances).all() and (distances >= 0).all()):
        raise InvalidInput("distances of neighbours must be finite and at least 0.")
    if (np.diff(distances, axis=1) < 0).any():
        raise InvalidInput(
            "distances of neighbours must be ascending, as graph.knn returns them."
        )
    return indices.astype(np.int32), distances


def is_image(feature_shape: Sequence[int]) -> bool:
    """Returns whether a data point is an image: (H, W), (H, W, 1) or (H, W, 3)."""
    return len(feature_shape) == 2 or (
        len(feature_shape) == 3 and feature_shape[2] in (1, 3)
    )


def shows_images(x: np.ndarray) -> bool:
    """Whether arrays [N, H, W] or [N, H, W, 3] are images, by all that one sees.

    That is: sides of at least four pixels, none more than twice the other, and values
    of pixels: in [0, 1], or whole ones to 255. Windows of a time series are not.
    """
    shape = x.shape[1:]
    if not is_image(shape):
        return False
    short, long = sorted(shape[:2])
    if short < 4 or long > 2 * short:
        return False
    low, high = np.fmin.reduce(x, axis=None), np.fmax.reduce(x, axis=None)
    return bool(low >= 0 and (high <= 1 or (high <= 255 and are_whole(x))))


def has_channels_first(shape: Sequence[int]) -> bool:
    """Whether a data point has the shape of PyTorch's images: (1 or 3, H, W)."""
    return len(shape) == 3 and shape[0] in (1, 3) and min(shape[1:]) >= 4


def are_whole(x: np.ndarray) -> bool:
    """Whether values [N, ...] are whole numbers, those that are not missing."""
    flat = x.reshape(len(x), -1)
    return all(
        ((block == np.floor(block)) | np.isnan(block)).all()
        for _, block in blocks(flat)
    )


def image_shape(
    feature_shape: Sequence[int], num_features: int, name: str = "feature_shape"
) -> None:
    """Checks that ``num_features`` values are an image of this shape.

    Args:
      feature_shape: of one data point.
      num_features: D.
      name: of the argument, for the message.

    Raises:
      InvalidInput: if they are not.
    """
    whole = isinstance(feature_shape, tuple | list) and all(
        isinstance(size, numbers.Integral) and size > 0 for size in feature_shape
    )
    if not (
        whole and is_image(feature_shape) and math.prod(feature_shape) == num_features
    ):
        raise InvalidInput(
            f"{name} must be (H, W), (H, W, 1) or (H, W, 3) with a product of "
            f"D = {num_features}, got {feature_shape!r}; it is for images only."
        )
