"""The one entry to the data sets.

Every data set becomes a float32 matrix with one row for each data point. scikit-learn
and tensorflow-datasets are imported by the data sets that need them, not before.
"""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging

from dgg_jax import checks
from dgg_jax.data import files, preprocessing, synthetic

DATASETS = ("digits", "mnist", "moons", "pinwheel")

_DIGIT_NAMES = tuple(str(digit) for digit in range(10))
# SHA-256 of the pixels, then the labels, of train and test in the files' order.
_MNIST_TEST_ROWS = 10_000
_MNIST_SHA256 = "c2069063c1105f2bf96266aef1ff68c6e13bdda7a54e37bf19c16f1db24efc83"


class Dataset(NamedTuple):
    """A data set ready for clustering.

    Attributes:
      x: the data points, float32 of shape [N, D].
      y: class of each data point, int32 of shape [N], or None if unknown; used for
        reporting only.
      name: one of DATASETS, or the user's own.
      feature_shape: shape of one data point before it was flattened to [D].
      class_names: what the values of y stand for, or None.
      provenance: one line: the source, the number of rows, the preprocessing steps.
      is_test: rows of the official test set, bool of shape [N], or None without one.
    """

    x: np.ndarray
    y: np.ndarray | None
    name: str
    feature_shape: tuple[int, ...]
    class_names: tuple[str, ...] | None
    provenance: str
    is_test: np.ndarray | None = None


def load(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    moons_distance: str = "near",
    seed: int = 0,
) -> Dataset:
    """Returns a data set by name.

    - digits: scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, divided by 16.
    - mnist: 70,000 handwritten digits of 28 x 28 pixels, train then test, divided by
      255, from the first of: the four original idx files in `data_dir` or
      `data_dir`/mnist; data prepared in `data_dir` by an earlier download; a download.
    - moons: two half circles in the plane, 4,000 points (`synthetic.half_circles`).
    - pinwheel: five arcs in the plane, 10,000 points (`synthetic.five_arcs`).

    Args:
      name: one of DATASETS.
      data_dir: folder of files and downloads; by default dgg_jax in the user's cache
        ($XDG_CACHE_HOME, else ~/.cache). Only mnist uses it.
      moons_distance: "near" or "far". Only moons uses it.
      seed: of generated data. Only moons and pinwheel use it.

    Returns:
      The data set; the rows always come in the same order.

    Raises:
      InvalidInput: if an argument or a file is not usable; the message says what to
        change.
      MissingData: if mnist is neither in `data_dir` nor downloadable.

    Example:
      >>> from dgg_jax import data
      >>> digits = data.load("digits")
      >>> digits.x.shape, digits.y.shape
      ((1797, 64), (1797,))
    """
    checks.one_of("dataset", name, DATASETS)
    if name == "digits":
        return _digits()
    if name == "moons":
        return _moons(moons_distance, seed)
    if name == "pinwheel":
        return _pinwheel(seed)
    return _mnist(_data_directory(data_dir))


def _data_directory(data_dir: str | os.PathLike[str] | None) -> Path:
    if data_dir is None:
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return Path(cache).expanduser() / "dgg_jax"
    directory = Path(data_dir).expanduser()
    if directory.exists() and not directory.is_dir():
        raise checks.InvalidInput(
            f"data_dir={str(directory)!r} must be a folder, it is a file; name the "
            "folder that holds the data files."
        )
    if directory.exists() and not os.access(directory, os.R_OK | os.X_OK):
        raise checks.InvalidInput(
            f"data_dir={str(directory)!r} must be readable, it is not; change its "
            "permissions or name another folder."
        )
    return directory


def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return Dataset(
        x=preprocessing.flatten(preprocessing.divide_by(digits.images, 16.0)),
        y=digits.target.astype(np.int32),
        name="digits",
        feature_shape=digits.images.shape[1:],
        class_names=_DIGIT_NAMES,
        provenance=(
            f"scikit-learn load_digits, {len(digits.images):,} rows; divide_by(16), "
            "flatten"
        ),
    )


def _moons(distance: str, seed: int) -> Dataset:
    x, y = synthetic.half_circles(distance=distance, seed=seed)
    return Dataset(
        x=x,
        y=y,
        name="moons",
        feature_shape=x.shape[1:],
        class_names=("upper", "lower"),
        provenance=(
            f"half_circles(distance={distance!r}, seed={seed}), {len(x):,} rows; no "
            "preprocessing"
        ),
    )


def _pinwheel(seed: int) -> Dataset:
    x, y = synthetic.five_arcs(seed=seed)
    return Dataset(
        x=x,
        y=y,
        name="pinwheel",
        feature_shape=x.shape[1:],
        class_names=tuple(f"arc {number}" for number in range(1, 6)),
        provenance=f"five_arcs(seed={seed}), {len(x):,} rows; no preprocessing",
    )


def _mnist(directory: Path) -> Dataset:
    paths = files.find_mnist([directory, directory / "mnist"])
    if paths:
        images, labels = files.read_mnist(paths)
        source = f"idx files in {paths[0].parent}"
    else:
        # Not above: it takes a while, and raw files can be read without it.
        from dgg_jax.data import builders

        images, labels = builders.mnist(directory)
        source = f"tensorflow-datasets, {builders.DggMnist.BASE_URL}"
    digest = hashlib.sha256(images)
    digest.update(labels)
    if digest.hexdigest() == _MNIST_SHA256:
        content = "the original data by SHA-256"
    else:
        # Fashion-MNIST, KMNIST and others come in files of the same names.
        content = "NOT the original data by SHA-256"
        logging.warning(
            "The %d images (%s) are not the original 70,000 of MNIST in their order; "
            "results are not comparable with published ones.",
            len(images),
            source,
        )
    return Dataset(
        x=preprocessing.flatten(preprocessing.divide_by(images, 255.0)),
        y=labels.astype(np.int32),
        name="mnist",
        feature_shape=images.shape[1:],
        class_names=_DIGIT_NAMES,
        provenance=(
            f"MNIST from {source}, {content}, {len(images):,} rows, train then test; "
            "divide_by(255), flatten"
        ),
        is_test=np.arange(len(images)) >= len(images) - _MNIST_TEST_ROWS,
    )
