"""What a data set is, whatever it came from."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import sparse

from dgg_jax import checks
from dgg_jax.data.preprocessing import LOG_COUNTS, Scaling, log_normalize


class Matrix(NamedTuple):
    """What a file holds, before any scaling.

    Attributes:
      features: real numbers of any dtype, shape [N, ...]; NaN where one is missing.
      labels: class of each row as the file has it, shape [N], or None.
      columns: names of the columns, or None if the file has none.
      left_out: names of what is no feature.
      suspected: names of columns that may be none, and are kept.
      names: of the rows, strings of shape [N], or None if the file has none.
      ground: what transparent images are seen on, or None if there are none.
    """

    features: np.ndarray
    labels: np.ndarray | None = None
    columns: tuple[str, ...] | None = None
    left_out: tuple[str, ...] = ()
    suspected: tuple[str, ...] = ()
    names: np.ndarray | None = None
    ground: str | None = None


class Dataset(NamedTuple):
    """A data set ready for clustering.

    Attributes:
      x: the data points, float32 of shape [N, D]; a csr_array where most are 0.
      y: class of each data point, int32 of shape [N], or None if unknown; used for
        reporting only.
      name: as ``load`` takes it.
      feature_shape: shape of one data point before it was flattened to [D].
      class_names: what the values of y stand for, or None.
      likelihood: that suits the data and their scaling: "bernoulli", "gaussian", or
        "negative_binomial" of counts.
      provenance: one line: the source, the number of rows, the preprocessing steps.
      variance: lambda of the Gaussian likelihood, in squared units of x, or None.
      is_test: rows of the official test set, bool of shape [N], or None without one.
      scaling: of a file of one's own, to scale new rows alike; else None.
      fingerprint: SHA-256 of what a file of one's own holds; else None.
      names: of the rows in a file of one's own, strings of shape [N]: its index, cells,
        files or what else tells them apart; None if there are none.
      is_image: of a file of one's own, whether a data point is taken for an image.
      batch: of a file of one's own, the batch that each row was measured in, strings of
        shape [N]; None if none was named.
    """

    x: np.ndarray | sparse.csr_array
    y: np.ndarray | None
    name: str
    feature_shape: tuple[int, ...]
    class_names: tuple[str, ...] | None
    likelihood: str
    provenance: str
    variance: float | None = None
    is_test: np.ndarray | None = None
    scaling: Scaling | None = None
    fingerprint: str | None = None
    names: np.ndarray | None = None
    is_image: bool = True
    batch: np.ndarray | None = None

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        """``feature_shape`` if it is that of an image, else None.

        What is less than four pixels wide or high is rather a column of numbers.
        """
        shape = self.feature_shape
        is_image = self.is_image and checks.is_image(shape)
        return shape if is_image and min(shape[:2]) >= 4 else None

    @property
    def column_scale(self) -> np.ndarray | None:
        """What the columns of the user's own file were divided by, [D], or None."""
        return None if self.scaling is None else self.scaling.scale


def without_counts(dataset: Dataset) -> Dataset:
    """A data set of counts as methods take it that have no likelihood of these."""
    scaling = dataset.scaling
    if scaling is not None:
        scaling = scaling._replace(step=LOG_COUNTS)
    return dataset._replace(
        x=log_normalize(dataset.x),
        likelihood="gaussian",
        provenance=f"{dataset.provenance}; {LOG_COUNTS}",
        scaling=scaling,
    )


def random_rows(dataset: Dataset, num_rows: int | None, seed: int = 0) -> Dataset:
    """A part of a data set, whose provenance says so.

    Args:
      dataset: the whole.
      num_rows: how many rows are drawn, each at most once, and kept in their order;
        None takes all.
      seed: of the draw.

    Raises:
      InvalidInput: if there are not so many.
    """
    if num_rows is None:
        return dataset
    total = dataset.x.shape[0]
    checks.in_range("num_rows", num_rows, 1, total)
    drawn = np.random.default_rng(seed).permutation(total)[:num_rows]
    return some_rows(dataset, np.sort(drawn))


def some_rows(dataset: Dataset, rows: np.ndarray) -> Dataset:
    """Rows of a data set that were drawn at random, which its provenance says.

    Args:
      dataset: the whole.
      rows: their indices.
    """
    return dataset._replace(
        x=dataset.x[rows],
        y=None if dataset.y is None else dataset.y[rows],
        is_test=None if dataset.is_test is None else dataset.is_test[rows],
        names=None if dataset.names is None else dataset.names[rows],
        batch=None if dataset.batch is None else dataset.batch[rows],
        provenance=f"{dataset.provenance}; {len(rows):,} of these rows, at random",
    )


class Options(NamedTuple):
    """What ``dgg_jax.data.load`` was asked for, beside the name.

    Attributes:
      data_dir: folder of files and downloads.
      split: which rows.
      moons_distance: "near" or "far".
      seed: of generated data and of subsets.
      tfidf_scaling: of rows of words, a key of ``preprocessing.TFIDF_SCALINGS``.
    """

    data_dir: Path
    split: str
    moons_distance: str
    seed: int
    tfidf_scaling: str
