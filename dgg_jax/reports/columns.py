"""What sets clusters apart, column by column: of tables, of words and of counts."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from dgg_jax.data.preprocessing import LOG_COUNTS, are_words
from dgg_jax.reports.inputs import ReportInputs

_NEGLIGIBLE = 0.2  # standard deviations: a small effect, by Cohen
_WORDS = ((0.8, "much "), (0.5, ""), (_NEGLIGIBLE, "slightly "))
_COMMON = 0.1  # of a cluster's rows must have a term that speaks for it


class Difference(NamedTuple):
    """How a column of a cluster differs from that of all rows.

    Attributes:
      column: its index.
      name: likewise, in words.
      deviation: the mean of the cluster less that of all, in standard deviations of all
        rows.
      mean: of the cluster, in the units of the user's file where these can be had.
      mean_of_all: likewise of all rows.
      lift: the first divided by the second; None of numbers, which may be negative.
    """

    column: int
    name: str
    deviation: float
    mean: float
    mean_of_all: float
    lift: float | None

    @property
    def phrase(self) -> str:
        """The difference in words: "much higher"."""
        size = abs(self.deviation)
        degree = next((word for least, word in _WORDS if size >= least), None)
        if degree is None:
            return "hardly different"
        return degree + ("higher" if self.deviation > 0 else "lower")


class ColumnMeans(NamedTuple):
    """Means of columns, by cluster and of all rows.

    Attributes:
      kind: "numbers", "words" or "counts".
      names: of the columns, or None.
      clusters: shape [K, D]; NaN of an empty one.
      all_rows: shape [D].
      deviations: standard deviations of all rows, shape [D].
      shares: of the rows of each cluster that are not 0, shape [K, D], of words alone.
      shift: what is added to a mean, once multiplied by scale, to have it in the units
        of the user's file, shape [D].
      scale: likewise, shape [D].
    """

    kind: str
    names: Sequence[str] | None
    clusters: np.ndarray
    all_rows: np.ndarray
    deviations: np.ndarray
    shares: np.ndarray | None
    shift: np.ndarray
    scale: np.ndarray

    def name(self, column: int) -> str:
        """The name of a column, or its number."""
        return f"column {column}" if self.names is None else str(self.names[column])

    def standardised(self) -> np.ndarray:
        """How far each cluster is from all rows in standard deviations, [K, D]."""
        scale = np.where(self.deviations > 0, self.deviations, np.inf)
        return np.nan_to_num((self.clusters - self.all_rows) / scale)

    def most_telling(self, count: int) -> list[int]:
        """The columns in which the clusters are farthest apart, in their order."""
        spread = np.square(self.standardised()).sum(axis=0)
        return np.sort(np.argsort(-spread, kind="stable")[:count]).tolist()

    def differences(self, cluster: int, count: int) -> list[Difference]:
        """What sets a cluster apart most, the most telling first.

        Of numbers those farthest from all rows either way; of words those of the
        largest lift that a tenth of its rows have; of counts those that are higher.
        """
        deviation, lift = self.standardised()[cluster], self._lift(cluster)
        score, least = np.abs(deviation), _NEGLIGIBLE
        if self.shares is not None:
            score, least = np.where(self.shares[cluster] >= _COMMON, lift, 0.0), 1.0
        elif self.kind == "counts":
            score = deviation
        best = np.argsort(-score, kind="stable")[:count]
        chosen = [int(column) for column in best if score[column] >= least]
        # What rounding leaves of a mean of 0 would stand there as 1.2e-09.
        near_zero = np.abs(self.all_rows) < 1e-6 * self.deviations
        means = self.clusters[cluster] * self.scale + self.shift
        of_all = np.where(near_zero, 0.0, self.all_rows) * self.scale + self.shift
        return [
            Difference(
                column=column,
                name=self.name(column),
                deviation=float(deviation[column]),
                mean=float(means[column]),
                mean_of_all=float(of_all[column]),
                lift=None if lift is None else float(lift[column]),
            )
            for column in chosen
        ]

    def _lift(self, cluster: int) -> np.ndarray | None:
        if self.kind == "numbers":
            return None
        mean = np.where(self.all_rows > 0, self.all_rows, np.inf)
        return np.nan_to_num(self.clusters[cluster] / mean)


def column_means(inputs: ReportInputs) -> ColumnMeans:
    """Measures the columns of a run's data; missing values are left out."""
    kind, names = _kind(inputs), _names(inputs)
    sums, squares, present, filled = _sums(inputs)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = present.sum(axis=0)
        mean = np.nan_to_num(sums.sum(axis=0) / total)
        variance = np.nan_to_num(squares / total) - mean**2
        clusters, shares = sums / present, filled / present
    # Rounding leaves a little of columns that do not vary.
    variance[variance < 1e-10 * (mean**2 + 1e-30)] = 0.0
    deviations = np.sqrt(variance)
    shift, scale = _units(inputs)
    return ColumnMeans(
        kind=kind,
        names=names,
        clusters=clusters,
        all_rows=mean,
        deviations=deviations,
        shares=shares if kind == "words" else None,
        shift=shift,
        scale=scale,
    )


def _kind(inputs: ReportInputs) -> str:
    """What the columns hold: "numbers", "words" or "counts"."""
    step = "" if inputs.scaling is None else inputs.scaling.step
    if step in ("counts", LOG_COUNTS):
        return "counts"
    nothing_below_zero = inputs.x.min() >= 0
    return "words" if nothing_below_zero and are_words(inputs.x) else "numbers"


def _names(inputs: ReportInputs) -> Sequence[str] | None:
    names = None if inputs.scaling is None else inputs.scaling.columns
    return names if names and len(names) == inputs.x.shape[1] else None


def _sums(inputs: ReportInputs) -> tuple[np.ndarray, ...]:
    """By cluster sums, numbers of values, and of those not 0, [K, D]; squares, [D]."""
    count, num_clusters = len(inputs.labels), inputs.probabilities.shape[1]
    ones = np.ones(count, dtype=np.float32)
    places = inputs.labels, np.arange(count)
    members = sparse.csr_array((ones, places), shape=(num_clusters, count))
    x = inputs.x
    if sparse.issparse(x):
        sums = (members @ x).toarray().astype(float)
        filled = (members @ (x != 0).astype(np.float32)).toarray()
        squares = np.asarray(x.multiply(x).sum(axis=0), dtype=float).ravel()
        sizes = np.bincount(inputs.labels, minlength=num_clusters)
        return sums, squares, np.tile(sizes[:, None], (1, x.shape[1])), filled
    shape = num_clusters, x.shape[1]
    sums, present, filled = (np.zeros(shape) for _ in range(3))
    squares = np.zeros(x.shape[1])
    for start in range(0, count, 4096):
        block = np.asarray(x[start : start + 4096], dtype=float)
        of_block = members[:, start : start + 4096]
        known = np.isfinite(block)
        block = np.where(known, block, 0.0)
        sums += of_block @ block
        squares += np.square(block).sum(axis=0)
        present += of_block @ known.astype(float)
        filled += of_block @ (block != 0).astype(float)
    return sums, squares, present, filled


def original_values(
    inputs: ReportInputs, rows: Sequence[int] | np.ndarray, columns: Sequence[int]
) -> np.ndarray:
    """Values of rows in the units of the user's file, where these can be had.

    Args:
      inputs: the finished run.
      rows: indices, n of them.
      columns: indices, C of them.

    Returns:
      Shape [n, C].
    """
    chosen = inputs.x[np.asarray(rows, dtype=int)]
    if sparse.issparse(chosen):
        chosen = chosen[:, columns].toarray()
    else:
        chosen = np.asarray(chosen)[:, columns]
    shift, scale = _units(inputs)
    return chosen * scale[columns] + shift[columns]


def _units(inputs: ReportInputs) -> tuple[np.ndarray, np.ndarray]:
    """What makes of columns those of the user's file, by scale and shift: [D] each."""
    scaling, dim = inputs.scaling, inputs.x.shape[1]
    is_linear = scaling is not None and scaling.step in ("standardize", "min_max")
    if is_linear and len(scaling.scale) == dim:
        return scaling.shift, scaling.scale
    return np.zeros(dim), np.ones(dim)
