"""The files of SVHN's cropped digits: MATLAB's, one a split."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dgg_jax.checks import InvalidInput
from dgg_jax.data import matlab
from dgg_jax.data.compressed import REMEDY
from dgg_jax.data.sources import Rows, Splits

SHAPE = (32, 32, 3)


def read_cropped(path: Path) -> Rows:
    """Returns the images of one file.

    Args:
      path: a .mat file with X, uint8 of shape [32, 32, 3, N], and y of shape [N, 1],
        from 1 to 10, 10 for the digit 0.

    Returns:
      Pixels, uint8 of shape [N, 32, 32, 3], and digits, int32 of shape [N].

    Raises:
      InvalidInput: if the file cannot be read, is damaged, or holds something else.
    """
    arrays = matlab.read_mat(path, ("X", "y"))
    x, y = arrays["X"], arrays["y"]
    if x.dtype != np.uint8 or x.ndim not in (3, 4) or x.shape[:3] != SHAPE:
        raise InvalidInput(
            f"{path} must hold X, uint8 of shape (32, 32, 3, N), it holds {x.dtype} of "
            f"shape {x.shape}. {REMEDY}."
        )
    x = x.reshape(*SHAPE, -1, order="F")  # MATLAB leaves out an N of 1
    if y.shape != (x.shape[3], 1):
        raise InvalidInput(
            f"{path} must hold as many labels as images, it holds {x.shape[3]:,} "
            f"images and y of shape {y.shape}. {REMEDY}."
        )
    y = y[:, 0]
    wrong = ~((y >= 1) & (y <= 10) & (y % 1 == 0))
    if wrong.any():
        raise InvalidInput(
            f"{path} must hold labels from 1 to 10, it holds {y[wrong][0]:g} in row "
            f"{np.argmax(wrong) + 1:,}. {REMEDY}."
        )
    images = np.ascontiguousarray(np.moveaxis(x, 3, 0))
    return Rows(images, y.astype(np.int32) % 10)


def read_train_and_test(paths: Sequence[Path]) -> Splits:
    """Returns the images of two files, of train and test.

    Raises:
      InvalidInput: if a file is unusable; see `read_cropped`.
    """
    train, test = map(read_cropped, paths)
    return {"train": train, "test": test}


def read_extra(paths: Sequence[Path]) -> Splits:
    """Returns the images of the one file of extra training data.

    Raises:
      InvalidInput: if it is unusable; see `read_cropped`.
    """
    (path,) = paths
    return {"extra": read_cropped(path)}
