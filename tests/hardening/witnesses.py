"""What other readers find in a file, and whether it explains what ours has found."""

import gzip
import math
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator

import numpy as np

_NUMBER = re.compile(r"[^,;|\t\r\n\"' ]+")
_TRUTHS = {"true": 1.0, "false": 0.0}
# scipy's reader may end its process where a file is damaged.
_MATLAB = """
import sys
import numpy as np
from scipy import io, sparse

for number, array in enumerate(io.loadmat(sys.argv[1]).values()):
    array = array.toarray() if sparse.issparse(array) else np.asarray(array)
    if array.dtype.kind in "biuf":
        np.save(f"{sys.argv[2]}/{number}.npy", array.astype(float))
"""


def explain(path: pathlib.Path, x: np.ndarray) -> bool:
    """Whether another reader finds these rows in a file or folder.

    Args:
      path: of the file, or of a folder of images.
      x: the rows that ours has read, [N, D]; it may have left columns out.
    """
    try:
        if path.suffix in (".csv", ".tsv"):
            return _stand_in_lines(path, x)
        return any(_holds(found, x) for found in _READERS[path.suffix](path))
    except Exception:  # another reader refuses what ours takes
        return False


def _holds(found: np.ndarray, x: np.ndarray) -> bool:
    """Whether each column of x is one of an array."""
    found = np.asarray(found)
    if found.shape == x.shape:
        return np.array_equal(found.astype(x.dtype), x)
    if found.ndim < 2 or x.ndim != 2 or len(found) != len(x):
        return False
    with np.errstate(all="ignore"):
        columns = found.reshape(len(found), -1).astype(np.float32).T
    known = {column.tobytes() for column in columns + np.float32(0)}
    return all(column.tobytes() in known for column in (x + np.float32(0)).T)


def _stand_in_lines(path: pathlib.Path, x: np.ndarray) -> bool:
    """Whether the rows are numbers on lines of a text, in their order."""
    lines = path.read_bytes().decode("utf-8-sig", "replace").splitlines()
    numbers = [_numbers(line) for line in lines]
    at = 0
    for row in x:
        wanted = set(row.tolist())
        while at < len(lines) and not wanted <= numbers[at]:
            at += 1
        if at == len(lines):
            return False
        at += 1
    return True


def _numbers(line: str) -> set[float]:
    found = set()
    for word in _NUMBER.findall(line):
        try:
            value = _TRUTHS.get(word.lower())
            value = float(word) if value is None else value
        except ValueError:
            continue
        if math.isfinite(value):
            with np.errstate(all="ignore"):
                found.add(float(np.float32(value)))
    return found


def _npy(path: pathlib.Path) -> Iterator[np.ndarray]:
    yield np.load(path, allow_pickle=False)


def _npz(path: pathlib.Path) -> Iterator[np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        for name in file.files:
            yield file[name]


def _parquet(path: pathlib.Path) -> Iterator[np.ndarray]:
    from pyarrow import parquet

    table = parquet.read_table(path).to_pandas(ignore_metadata=True)
    columns = []
    for name in range(table.shape[1]):
        values = table.iloc[:, name]
        if values.dtype == object and isinstance(values.iloc[0], np.ndarray):
            columns += list(np.stack(list(values)).astype(np.float32).T)
        else:
            columns.append(values.astype(np.float32).to_numpy())
    yield np.stack(columns, axis=1)


def _h5ad(path: pathlib.Path) -> Iterator[np.ndarray]:
    import anndata

    x = anndata.read_h5ad(path).X
    yield x.toarray() if hasattr(x, "toarray") else x


def _mat(path: pathlib.Path) -> Iterator[np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", _MATLAB, str(path), folder]
        subprocess.run(command, capture_output=True, timeout=60)
        for file in pathlib.Path(folder).iterdir():
            yield np.load(file)


def _idx(path: pathlib.Path) -> Iterator[np.ndarray]:
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    size = content[3]
    shape = struct.unpack(f">{size}I", content[4 : 4 + 4 * size])
    yield np.frombuffer(content[4 + 4 * size :], np.uint8).reshape(shape)


def _images(folder: pathlib.Path) -> Iterator[np.ndarray]:
    """The images in both ways, and on all grounds: of which was taken, ours tells."""
    from PIL import Image, ImageOps

    files = [path for path in folder.rglob("*.*") if not path.is_dir()]
    paths = sorted(files, key=lambda path: (len(path.name), path.name))
    plain = [
        ImageOps.exif_transpose(Image.open(path)).convert("RGBA") for path in paths
    ]
    for level in (255, 0, 128):
        ground = [
            Image.new("RGBA", image.size, (level,) * 3 + (255,)) for image in plain
        ]
        pairs = zip(ground, plain, strict=True)
        seen = [Image.alpha_composite(*pair).convert("RGB") for pair in pairs]
        colored = np.stack([np.asarray(image) for image in seen])
        yield colored
        yield colored[..., 0]
    yield np.stack([np.asarray(image.getchannel("A")) for image in plain])


_READERS: dict[str, Callable[[pathlib.Path], Iterator[np.ndarray]]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".parquet": _parquet,
    ".h5ad": _h5ad,
    ".mat": _mat,
    ".idx": _idx,
    "": _images,
}
