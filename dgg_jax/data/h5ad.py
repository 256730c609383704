"""Files of annotated matrices, .h5ad: their arrays are checked before any use."""

import io
import math
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from dgg_jax import checks
from dgg_jax.checks import InvalidInput
from dgg_jax.data import contents
from dgg_jax.data.dataset import Matrix

_REMEDY = "keep fewer columns, such as the most variable genes"
_SPARSE = {  # by the encoding of today, and of old
    **dict.fromkeys(("csr_matrix", "csr"), sparse.csr_array),
    **dict.fromkeys(("csc_matrix", "csc"), sparse.csc_array),
}


def read(path: Path, label: str | None = None, layer: str | None = None) -> Matrix:
    """Reads a matrix of cells and genes.

    Args:
      path: of the file.
      label: key of obs with the classes, or None.
      layer: what to read in place of X: a name in layers, or raw.

    Raises:
      InvalidInput: if it cannot be read, lacks what is asked for, refers to other
        files, or declares arrays out of proportion.
    """
    checks.installed("h5ad", str(path), contents.OTHERWISE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import h5py
    content = contents.content_of(path)
    _check_ends(path)
    try:
        with warnings.catch_warnings(), h5py.File(io.BytesIO(content)) as file:
            warnings.simplefilter("ignore")
            _check(path, file, len(content))
            stored, var = _chosen(path, file, layer)
            x = _array(path, stored, len(content))
            cells, genes = _index(file.get("obs")), _index(var)
            labels = None
            if label is not None:
                labels = _of_obs(path, file, label)
    except InvalidInput:
        raise
    except Exception as error:
        raise contents.damaged(path, "h5ad file", error) from error
    for what, names, axis in (("cells", cells, 0), ("genes", genes, 1)):
        if x.ndim != 2 or (
            names is not None and names.shape != x.shape[axis : axis + 1]
        ):
            raise InvalidInput(
                f"{path} has a matrix of shape {x.shape}, and {np.size(names):,} names "
                f"of {what}; save it anew."
            )
    return Matrix(x, labels, None if genes is None else tuple(genes), names=cells)


_PATIENCE = 30.0  # seconds, for what takes one
_WALK = """
import sys, h5py
with h5py.File(sys.argv[1]) as file:
    list(file.attrs.values())
    file.visititems(lambda name, part: print(len(list(part.attrs.values()))))
"""


def _check_ends(path: Path) -> None:
    """Refuses a file that the library in C crashes on, or never comes to an end with.

    It looks at all attributes, in a process of its own: nothing else can be ended.
    """
    command = [sys.executable, "-c", _WALK, str(path)]
    try:
        ended = subprocess.run(command, capture_output=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        problem = ValueError(f"no end of its attributes within {_PATIENCE:g} s")
        raise contents.damaged(path, "h5ad file", problem) from None
    if ended.returncode < 0:  # by a signal; errors are met again by who reads it
        problem = ValueError("the HDF5 library crashes on its attributes")
        raise contents.damaged(path, "h5ad file", problem)


def _check(path: Path, file: Any, size: int) -> None:
    """Refuses what lies outside of a file, and arrays out of proportion to it."""
    import h5py

    waiting, seen, num_bytes = [file], set(), 0
    while waiting:
        group = waiting.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise _outside(path, f"{group.name}/{name}")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:  # links may go in circles
                continue
            seen.add(address)
            if isinstance(item, h5py.Group):
                waiting.append(item)
            elif isinstance(item, h5py.Dataset):
                if item.is_virtual or item.external:
                    raise _outside(path, item.name)
                num_bytes += math.prod(item.shape or ()) * item.dtype.itemsize
    contents.check_size(path, num_bytes // 4, size, _REMEDY)


def _outside(path: Path, name: str) -> InvalidInput:
    return InvalidInput(
        f"{path} refers to another place, of this or another file, for {name}, which "
        "is not followed; write the data themselves by anndata's write_h5ad."
    )


def _chosen(path: Path, file: Any, layer: str | None) -> tuple[Any, Any]:
    """The matrix that is asked for, as it is stored, and what describes its columns."""
    raw, var = file.get("raw", {}), file.get("var")
    found = {"X": (file.get("X"), var), "raw": (raw.get("X"), raw.get("var"))}
    found |= {name: (one, var) for name, one in file.get("layers", {}).items()}
    # One that is None is stored as nothing, or as an array without a shape.
    there = {
        name: one
        for name, one in found.items()
        if one[0] is not None and getattr(one[0], "shape", ()) is not None
    }
    if (layer or "X") in there:
        return there[layer or "X"]
    lacks = "X" if layer is None else f"layer={layer!r}"
    if there:
        first = next(iter(there))
        remedy = (
            f"it has: {', '.join(there)}; choose one, as by layer={first!r} "
            f"(--layer={first})"
        )
    else:
        remedy = f"it has: {', '.join(file) or 'nothing'}; write it by write_h5ad"
    raise InvalidInput(f"{path} has no {lacks}, but {remedy}.")


def _array(path: Path, stored: Any, size: int) -> np.ndarray:
    """The values of a dense or sparse matrix."""
    if hasattr(stored, "dtype"):
        x = stored[()]
    else:
        about = stored.attrs
        form = about.get("encoding-type", about.get("h5sparse_format"))
        declared = about.get("shape", about.get("h5sparse_shape"))
        if form not in _SPARSE or declared is None:
            raise InvalidInput(
                f"{path} holds no matrix as {stored.name}, but {form or 'a group'} "
                f"with {', '.join(stored) or 'nothing'}; name another layer."
            )
        shape = tuple(map(int, declared))
        contents.check_size(path, math.prod(shape), size, _REMEDY)
        parts = tuple(stored[name][()] for name in ("data", "indices", "indptr"))
        found = _SPARSE[form](parts, shape=shape)
        # An index out of bounds would be written to, whatever lies there.
        checks.sparse_format(found)
        x = found.toarray()
    if x.dtype.kind not in "biuf":
        raise InvalidInput(f"{path} must hold real numbers, got {x.dtype}.")
    return x


def _index(frame: Any) -> np.ndarray | None:
    """The names of the rows of a frame, or None if there is none."""
    from anndata.io import read_elem

    if frame is None:
        return None
    if hasattr(frame, "dtype"):  # as old versions store one: rows of fields
        names = np.char.decode(frame[()][frame.dtype.names[0]].astype(bytes))
    else:
        names = read_elem(frame[frame.attrs["_index"]])
    return np.array(names, dtype=str)


def _of_obs(path: Path, file: Any, label: str) -> np.ndarray:
    """A column of the cells; words in place of the numbers of categories."""
    from anndata.io import read_elem

    obs = file.get("obs", {})
    is_old = hasattr(obs, "dtype")
    names = list(obs.dtype.names or () if is_old else obs)
    index = names[0] if is_old and names else getattr(obs, "attrs", {}).get("_index")
    names = [name for name in names if name != index]
    if label not in names:
        raise InvalidInput(
            f"{path} has no label={label!r} in obs; there are: "
            f"{', '.join(names) or 'none'}."
        )
    if not is_old:
        return np.asarray(read_elem(obs[label]))
    column = obs[()][label]
    categories = file.get("uns", {}).get(f"{label}_categories")
    return column if categories is None else np.asarray(categories[()])[column]
