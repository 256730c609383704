"""The steps between a data set's files and the matrix that is clustered.

A data set's provenance names the steps it went through, in order.
"""

from typing import NamedTuple

import numpy as np

_BLOCK = 4096  # rows that are scaled at a time, in float64


class Scaling(NamedTuple):
    """How the columns of a file became those of x: (column - shift) / scale.

    Attributes:
      step: the function of this module that it is of, or "none".
      shift: float64 of shape [D].
      scale: float64 of shape [D], not 0.
      feature_shape: of one row before it was flattened to [D].
      columns: names of the columns in the file, or None.
    """

    step: str
    shift: np.ndarray
    scale: np.ndarray
    feature_shape: tuple[int, ...]
    columns: tuple[str, ...] | None = None


def shift_and_scale(x: np.ndarray, shift: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Returns (x - shift) / scale, computed in float64, as float32.

    Args:
      x: real numbers, shape [N, D].
      shift: of each column, shape [D].
      scale: of each column, shape [D], not 0.

    Returns:
      float32 array [N, D].

    Example:
      >>> from dgg_jax.data.preprocessing import shift_and_scale
      >>> shift_and_scale([[1.0, 5.0], [3.0, 6.0]], [2.0, 5.0], [1.0, 2.0])
      array([[-1. ,  0. ],
             [ 1. ,  0.5]], dtype=float32)
    """
    x = np.asarray(x)
    scaled = np.empty(x.shape, np.float32)
    with np.errstate(over="ignore"):  # infinity is for the caller to refuse
        for start in range(0, len(x), _BLOCK):
            rows = slice(start, start + _BLOCK)
            scaled[rows] = (x[rows].astype(np.float64) - shift) / scale
    return scaled


def standardize(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shift and scale that give every column mean 0 and variance 1.

    A constant column becomes 0, not noise of the rounding of its mean.

    Args:
      x: finite numbers, shape [N, D].

    Returns:
      Shift and scale for ``shift_and_scale``, float64 of shape [D].

    Example:
      >>> from dgg_jax.data.preprocessing import standardize
      >>> standardize([[1.0, 7.0], [3.0, 7.0]])
      (array([2., 7.]), array([1., 1.]))
    """
    x = np.asarray(x)
    low, constant = _constant(x)
    mean = np.where(constant, low, x.mean(axis=0, dtype=np.float64))
    deviation = x.std(axis=0, dtype=np.float64)
    # The square of a tiny deviation is 0.
    return mean, np.where(constant | (deviation == 0.0), 1.0, deviation)


def min_max(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shift and scale that bring every column into [0, 1]; a constant one becomes 0.

    Args:
      x: finite numbers, shape [N, D].

    Returns:
      Shift and scale for ``shift_and_scale``, float64 of shape [D].

    Example:
      >>> from dgg_jax.data.preprocessing import min_max
      >>> min_max([[1.0, 7.0], [3.0, 7.0]])
      (array([1., 7.]), array([2., 1.]))
    """
    x = np.asarray(x)
    low, constant = _constant(x)
    return low, np.where(constant, 1.0, x.max(axis=0).astype(np.float64) - low)


def _constant(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least value of each column, and whether it is the only one."""
    low = x.min(axis=0).astype(np.float64)
    return low, low == x.max(axis=0)


def divide_by(x: np.ndarray, divisor: float) -> np.ndarray:
    """Returns x / divisor, computed in float32.

    Brings pixels stored as 0, ..., divisor into [0, 1], as the Bernoulli likelihood
    needs them; x = divisor gives exactly 1.

    Args:
      x: any numbers, any shape.
      divisor: the largest value that x can take, not 0.

    Returns:
      float32 array of the shape of x.

    Example:
      >>> from dgg_jax.data.preprocessing import divide_by
      >>> divide_by([0, 51, 255], 255)
      array([0. , 0.2, 1. ], dtype=float32)
    """
    return np.asarray(x, np.float32) / np.float32(divisor)


def flatten(x: np.ndarray) -> np.ndarray:
    """Returns one row for each data point, in row-major order.

    Args:
      x: data points, shape [N, ...].

    Returns:
      x as a matrix [N, D], where D is the product of the other dimensions.
    """
    x = np.asarray(x)
    # The product, not -1, which is ambiguous when N = 0.
    return x.reshape(len(x), int(np.prod(x.shape[1:])))
