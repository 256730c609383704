"""Windows of smartphone sensors: UCI HAR, which the papers call HHAR (erratum E28)."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dgg_jax.checks import InvalidInput
from dgg_jax.data import archives, matlab, preprocessing
from dgg_jax.data.dataset import Dataset, Options
from dgg_jax.data.fetching import fetch
from dgg_jax.data.sources import Layout, Rows, Source, Splits
from dgg_jax.log import LOGGER
from dgg_jax.storage import arrays

ACTIVITIES = (
    "Walking",
    "Walking upstairs",
    "Walking downstairs",
    "Sitting",
    "Standing",
    "Laying",
)
_NUM_FEATURES = 561
_NUM_ROWS = 10_299
_FOLDER = "UCI HAR Dataset"
# An array that har.npz has where its features were computed anew from the windows.
_RECONSTRUCTED = "jerk_approx"
# Train before test, features before labels.
_TABLES = (
    "train/X_train.txt",
    "train/y_train.txt",
    "test/X_test.txt",
    "test/y_test.txt",
)


def _read_zip(paths: Sequence[Path]) -> Splits:
    # The repository hands out an archive of this archive nowadays.
    names = [f"{_FOLDER}/{name}" for name in _TABLES]
    contents = archives.read_zip(paths[0], names, inner=f"{_FOLDER}.zip")
    files = [f"{name} in {paths[0]}" for name in names]
    return _splits([_table(*pair) for pair in zip(files, contents, strict=True)], files)


def _read_texts(paths: Sequence[Path]) -> Splits:
    tables = []
    for path in paths:
        try:
            tables.append(_table(str(path), arrays.read_bytes(path)))
        except OSError as error:
            raise InvalidInput(
                f"{path} must be a readable file, reading it failed "
                f"({error.strerror}). Check its permissions."
            ) from error
    return _splits(tables, [str(path) for path in paths])


def _table(file: str, content: bytes) -> np.ndarray:
    """Lines of numbers separated by spaces, as a matrix."""
    try:
        if not content.strip():
            raise ValueError("it is empty")
        return np.loadtxt(io.BytesIO(content), np.float32, ndmin=2)
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise InvalidInput(
            f"{file} must hold lines of as many numbers, reading it failed: {reason}. "
            "Replace it with a fresh copy of the original file."
        ) from error


def _splits(tables: Sequence[np.ndarray], files: Sequence[str]) -> Splits:
    x, y, x_test, y_test = tables
    return {
        "train": _rows(x, y, 1, f"{files[0]} and {files[1]}"),
        "test": _rows(x_test, y_test, 1, f"{files[2]} and {files[3]}"),
    }


def _read_mat(paths: Sequence[Path]) -> Splits:
    found = matlab.read_mat(paths[0], ("X", "Y"))
    return {"all": _rows(found["X"], found["Y"], 1, str(paths[0]))}


def _read_npz(paths: Sequence[Path]) -> Splits:
    (path,) = paths
    try:
        archive = arrays.Npz(arrays.read_bytes(path))
        missing = {"x", "y"} - set(archive.names)
        if missing:
            raise ValueError(f"it has no array {' and '.join(sorted(missing))}")
        x, y = archive["x"], archive["y"]
        is_test = archive["is_test"] if "is_test" in archive.names else None
        note = "reconstructed features" if _RECONSTRUCTED in archive.names else ""
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInput(
            f"{path} must be an .npz file of numbers, reading it failed: {reason}. "
            "Write it by numpy.savez(file, x=x, y=y)."
        ) from error
    rows = _rows(x, y, 0, str(path))._replace(note=note)
    if is_test is None:
        return {"all": rows}
    if is_test.shape != (len(x),) or is_test.dtype != bool:
        raise InvalidInput(
            f"is_test in {path} must be bool of shape ({len(x)},), got "
            f"{is_test.dtype} of shape {is_test.shape}; leave it out if there is none."
        )
    return {
        name: Rows(rows.features[chosen], rows.labels[chosen], note)
        for name, chosen in (("train", ~is_test), ("test", is_test))
    }


def _rows(x: np.ndarray, y: np.ndarray, first: int, file: str) -> Rows:
    """Features and labels, which count from `first`, if they can be UCI HAR's."""
    y = np.ravel(y)
    if x.ndim != 2 or x.shape[1] != _NUM_FEATURES:
        raise InvalidInput(
            f"{file} must hold {_NUM_FEATURES} features a row, got an array of shape "
            f"{x.shape}. Use files of UCI HAR."
        )
    if len(x) != len(y):
        raise InvalidInput(
            f"{file} must hold as many rows as labels, got {len(x):,} rows and "
            f"{len(y):,} labels. Replace it with a fresh copy."
        )
    last = first + len(ACTIVITIES) - 1
    if not np.isin(y, np.arange(first, last + 1)).all():
        raise InvalidInput(
            f"{file} must hold labels {first} to {last}, got values in "
            f"[{y.min():g}, {y.max():g}]. Use files of UCI HAR."
        )
    return Rows(x.astype(np.float32), y.astype(np.int32) - first)


HAR = Source(
    name="har",
    title="UCI HAR",
    layouts=(
        Layout(
            (
                (
                    f"{_FOLDER}.zip",
                    "human+activity+recognition+using+smartphones.zip",
                ),
            ),
            _read_zip,
        ),
        Layout(tuple((f"{_FOLDER}/{name}", name) for name in _TABLES), _read_texts),
        Layout((("HAR.mat",),), _read_mat),
        Layout((("har.npz",),), _read_npz),
    ),
    downloads=(
        (
            "https://archive.ics.uci.edu/ml/machine-learning-databases/00240/"
            "UCI%20HAR%20Dataset.zip",
            "2045e435c955214b38145fb5fa00776c72814f01b203fec405152dac7d5bfeb0",
        ),
    ),
    shape=(_NUM_FEATURES,),
    dtype=np.float32,
    splits=("train", "test"),
    size=58,
    remedy=(
        "where there is a network, from https://archive.ics.uci.edu/dataset/240, or "
        "HAR.mat from https://github.com/slim1017/VaDE"
    ),
)


def har(options: Options) -> Dataset:
    """All rows of UCI HAR, train then test, divided by 2.

    The papers take the first 10,200 of the 10,299 rows (erratum E27). The division is
    that of DGG's released code, and what its lambda of 0.01 is for (E26).
    """
    splits, origin = fetch(HAR, options.data_dir)
    rows = list(splits.values())
    note = f", {rows[0].note}," if rows[0].note else ""
    x = np.concatenate([one.features for one in rows])
    y = np.concatenate([one.labels for one in rows])
    is_test = None
    order = "in the order of the file"
    if "test" in splits:
        is_test = np.repeat([False, True], [len(one.labels) for one in rows])
        order = "train then test"
    if len(x) != _NUM_ROWS:
        LOGGER.warning(
            "%s has %d rows, UCI HAR has %d; results are not comparable with published "
            "ones.",
            origin,
            len(x),
            _NUM_ROWS,
        )
    return Dataset(
        x=preprocessing.divide_by(x, 2.0),
        y=y,
        name="har",
        feature_shape=x.shape[1:],
        class_names=ACTIVITIES,
        likelihood="gaussian",
        provenance=(
            f"UCI HAR{note} from {origin}, {len(x):,} rows, {order} (the papers: the "
            "first 10,200, E27); divide_by(2)"
        ),
        variance=0.01,
        is_test=is_test,
    )
