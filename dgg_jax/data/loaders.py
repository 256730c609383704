"""The one entry to the data sets.

scikit-learn and tensorflow-datasets are imported by the data sets that need them, not
before.
"""

import difflib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dgg_jax import checks
from dgg_jax.data import (
    har,
    image_sets,
    matrices,
    own,
    preprocessing,
    reuters,
    stl10,
    synthetic,
)
from dgg_jax.data.dataset import Dataset, Options


def load(
    name: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    split: str = "all",
    moons_distance: str = "near",
    seed: int = 0,
    tfidf_scaling: str = "sqrt_dim",
    label: str | int | None = None,
    scaling: str = "auto",
    image_size: tuple[int, int] | None = None,
    layer: str | None = None,
    image_shape: Sequence[int] | None = None,
    batch: str | None = None,
) -> Dataset:
    """Returns a data set by name, or from a file or a folder of images of your own.

    - har: 10,299 windows of smartphone sensors, 561 features, divided by 2; hhar is an
      alias (erratum E28).
    - reuters: RCV1's documents with one of four root categories, as tf-idf of 2,000
      stems, a csr_array (`reuters.reuters`); reuters10k: 10,000 of them.
    - reuters_r8: 7,674 documents of Reuters-21578 with one of eight topics, as tf-idf
      of 2,000 words, a csr_array.
    - digits: scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, divided by 16.
    - mnist: 70,000 handwritten digits of 28 x 28 pixels, train then test, divided by
      255.
    - fashion_mnist: 70,000 articles of clothing, as mnist.
    - usps: 9,298 handwritten digits of 16 x 16 pixels, train then test, from [-1, 1]
      to [0, 1].
    - svhn: 99,289 digits of house numbers, 32 x 32 pixels of 3 colours, train then
      test, divided by 255; 531,131 easier ones are the split "extra" (6.5 GB).
    - moons: two half circles in the plane, 4,000 points (`synthetic.half_circles`).
    - pinwheel: five arcs in the plane, 10,000 points (`synthetic.five_arcs`).
    - stl10: 2,048 features of a ResNet-50 of each of 13,000 photographs, train then
      test, made by ``python -m experiments.extract_features``; they are not scaled.

    What comes in files is taken from the first of: data prepared in `data_dir` by an
    earlier download; the original files in `data_dir`/NAME or `data_dir`; a download.
    Prepared data and downloads need the extra datasets, original files do not.

    Files of your own are .npy, .npz, .csv, .tsv, .mat, .parquet and .h5ad; the last two
    need the extra of their name. Of a table the columns of numbers are taken, and the
    others named in a warning; `matrices.read` and `pictures.read` say what each holds.

    Args:
      name: one of DATASETS, an alias, or the path of a file or folder.
      data_dir: folder of files and downloads; by default dgg_jax in the user's cache
        ($XDG_CACHE_HOME, else ~/.cache).
      split: "all" rows, or those of "train" or "test" where there is a test set; of
        svhn also "extra", which is not in "all".
      moons_distance: "near" or "far". Only moons uses it.
      seed: of generated data and subsets. moons, pinwheel and reuters10k use it.
      tfidf_scaling: of the rows of reuters, reuters10k and reuters_r8: "sqrt_dim", as
        published, or "unit"; lambda goes with it (`preprocessing.tf_idf`).
      label: of a file: name of the column, array or key of obs with the classes, if
        any; of a table without names the column's number, from 0.
      scaling: of a file: "standard" (every column to mean 0 and variance 1), "minmax"
        (to [0, 1]), "pixels" (divided by 255), "unit" (rows to the length sqrt(D)),
        "counts" (the 2,000 most variable columns, as they are), "none", or "auto",
        which takes whole numbers from 0 on of an .h5ad file for counts, values in
        [0, 1] as they are, divides what it takes for 8-bit pixels by 255 (whole numbers
        to 255 of images, of bytes, or in columns named as pixels; in a folder of images
        without any from 128 on, by the largest) and standardises all else.
      image_size: (H, W) to resize the images of a folder to; by default they must be of
        one size.
      layer: of an .h5ad file, what to read in place of X: a name in layers, or raw.
      image_shape: of a file: (H, W), (H, W, 1) or (H, W, 3) of the image in a row, ()
        if there is none. None takes arrays of the shape and values of images for ones.
      batch: of a file: name of the column, array or key of obs that says which batch a
        row was measured in, if any.

    Returns:
      The data set; the rows always come in the same order.

    Raises:
      InvalidInput: if an argument or a file is not usable; the message says what to
        change.
      MissingData: if the files are neither in `data_dir` nor downloadable.
      NotInstalled: if an extra is missing; it is an InvalidInput, too.

    Example:
      >>> from dgg_jax import data
      >>> digits = data.load("digits")
      >>> digits.x.shape, digits.y.shape
      ((1797, 64), (1797,))
    """
    if not isinstance(name, str | os.PathLike) or not str(name):
        given = repr(name) if isinstance(name, str) else type(name).__name__
        raise checks.InvalidInput(
            "name must be that of a data set, or the path of a file or folder, got "
            f"{given}; what is in memory goes into an estimator, as "
            "DGG(n_clusters=3).fit(X)."
        )
    name = ALIASES.get(name, name)
    if name not in DATASETS and not own.is_path(name):
        raise _unknown(name)
    checks.one_of("split", split, ("all", "train", "test", *_MORE_SPLITS.get(name, ())))
    if name in DATASETS:
        own.refuse_options(name, label, scaling, image_size, layer, image_shape, batch)
        checks.one_of("tfidf_scaling", tfidf_scaling, preprocessing.TFIDF_SCALINGS)
        folder = data_directory(data_dir)
        options = Options(folder, split, moons_distance, seed, tfidf_scaling)
        dataset = _LOADERS[name](options)
    else:
        dataset = own.load(
            name,
            label=label,
            scaling=scaling,
            image_size=image_size,
            layer=layer,
            image_shape=image_shape,
            batch=batch,
        )
    return _of_split(dataset, split) if split in ("train", "test") else dataset


def _unknown(name: str) -> checks.InvalidInput:
    near = difflib.get_close_matches(name, DATASETS, n=1)
    hint = f"did you mean {near[0]}? Choose" if near else "choose"
    return checks.InvalidInput(
        f"dataset={name!r} is unknown; {hint} one of: {', '.join(DATASETS)}; or "
        f"the path of a file ({', '.join(matrices.SUFFIXES)}) or of a folder of images."
    )


def _of_split(dataset: Dataset, split: str) -> Dataset:
    """The rows of train or test."""
    if dataset.is_test is None:
        raise checks.InvalidInput(
            f"split={split!r}: {dataset.name} has no official test set; use 'all'."
        )
    rows = dataset.is_test if split == "test" else ~dataset.is_test
    return dataset._replace(
        x=dataset.x[rows],
        y=None if dataset.y is None else dataset.y[rows],
        is_test=None,
        provenance=f"{dataset.provenance}; {np.count_nonzero(rows):,} rows of {split}",
    )


def data_directory(data_dir: str | os.PathLike[str] | None) -> Path:
    """Returns the folder of files and downloads, by default in the user's cache.

    Raises:
      InvalidInput: if it is a file, or not readable.
    """
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


_LOADERS: dict[str, Callable[[Options], Dataset]] = {
    "digits": image_sets.digits,
    "mnist": image_sets.mnist,
    "fashion_mnist": image_sets.fashion_mnist,
    "usps": image_sets.usps_digits,
    "svhn": image_sets.svhn_digits,
    "har": har.har,
    "reuters10k": reuters.reuters10k,
    "reuters": reuters.reuters,
    "reuters_r8": reuters.reuters_r8,
    "moons": synthetic.moons,
    "pinwheel": synthetic.pinwheel,
    "stl10": stl10.stl10,
}
_MORE_SPLITS = {"svhn": ("extra",)}  # that the data set reads itself
DATASETS = tuple(_LOADERS)
ALIASES = {"hhar": "har"}
