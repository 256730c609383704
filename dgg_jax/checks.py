"""Checks of what users hand in; each message names the value and the remedy."""

from collections.abc import Sequence

import numpy as np


class InvalidInput(ValueError):
    """A value the user gave cannot be used; the message says what to change."""


class MissingData(InvalidInput, FileNotFoundError):
    """A data set cannot be found or obtained; the message says what to put where."""

    def __str__(self) -> str:
        # FileNotFoundError would format a two-argument form; the message is enough.
        return str(self.args[0])


def one_of(name: str, value: str, valid: Sequence[str]) -> str:
    """Returns ``value`` if it is one of ``valid``.

    Raises:
      InvalidInput: otherwise; the message lists the valid values.
    """
    if value not in valid:
        raise InvalidInput(
            f"{name}={value!r} is unknown; choose one of: {', '.join(valid)}."
        )
    return value


def in_range(name: str, value: float, low: float, high: float = float("inf")) -> float:
    """Returns ``value`` if low <= value <= high.

    Raises:
      InvalidInput: otherwise, NaN included.
    """
    if not low <= value <= high:
        wanted = (
            f"at least {low:g}" if high == float("inf") else f"in [{low:g}, {high:g}]"
        )
        raise InvalidInput(f"{name} must be {wanted}, got {value!r}.")
    return value


def data_matrix(x: np.ndarray, num_clusters: int, *, unit_interval: bool) -> None:
    """Checks that x can be clustered, before any long work.

    Args:
      x: the data, shape [N, D].
      num_clusters: K, at most N.
      unit_interval: whether the likelihood needs values in [0, 1].

    Raises:
      InvalidInput: if x is not a matrix, has fewer rows than clusters, holds NaN or
        infinite values (how many, where first), is constant, or leaves [0, 1] under a
        Bernoulli likelihood.
    """
    if x.ndim != 2 or x.shape[1] == 0:
        raise InvalidInput(
            f"x must be a matrix [N, D] with D >= 1, got shape {x.shape}; flatten "
            "images to one row each."
        )
    if num_clusters > len(x):
        raise InvalidInput(
            f"num_clusters={num_clusters} exceeds the {len(x)} rows of x; ask for at "
            "most one cluster a row."
        )
    finite = np.isfinite(x)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise InvalidInput(
            f"x holds {np.count_nonzero(~finite):,} NaN or infinite values, the first "
            f"at row {row}, column {column} ({x[row, column]}); remove or impute them."
        )
    low, high = float(x.min()), float(x.max())
    if low == high:
        raise InvalidInput(
            f"x is constant (every value is {low:g}); there is nothing to cluster."
        )
    if unit_interval and (low < 0.0 or high > 1.0):
        raise InvalidInput(
            f"the Bernoulli likelihood needs values in [0, 1], x has values in "
            f"[{low:g}, {high:g}]; scale x (8-bit pixels: divide by 255) or use "
            "likelihood=gaussian."
        )
