"""The steps between a data set's files and the matrix that is clustered.

A data set's provenance names the steps it went through, in order.
"""

import numpy as np


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
    x = np.array(x, np.float32)
    x /= np.float32(divisor)  # in place: half a million images take 6.5 GB
    return x


def to_unit_interval(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Returns (x - low) / (high - low), computed in float32.

    Brings values in [low, high] into [0, 1], as the Bernoulli likelihood needs them.

    Args:
      x: any numbers, any shape.
      low: the least value that x can take.
      high: the largest value that x can take, more than low.

    Returns:
      float32 array of the shape of x.

    Example:
      >>> from dgg_jax.data.preprocessing import to_unit_interval
      >>> to_unit_interval([-1, 0, 1], -1, 1)
      array([0. , 0.5, 1. ], dtype=float32)
    """
    x = np.array(x, np.float32)
    x -= np.float32(low)
    x /= np.float32(high - low)
    return x


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
