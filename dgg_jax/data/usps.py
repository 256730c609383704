"""The files of USPS: LIBSVM's text, bzip2-compressed or not."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dgg_jax.checks import InvalidInput
from dgg_jax.data import compressed
from dgg_jax.data.compressed import REMEDY
from dgg_jax.data.sources import Rows, Splits

SHAPE = (16, 16)


def read_libsvm(path: Path) -> Rows:
    """Returns the images of one file of lines "LABEL 1:PIXEL ... 256:PIXEL".

    Args:
      path: the file, bzip2- or gzip-compressed or not; pixels in [-1, 1], those that
        are left out are 0; labels from 1 to 10, 1 for the digit 0.

    Returns:
      Pixels, float32 of shape [N, 16, 16], and digits, int32 of shape [N].

    Raises:
      InvalidInput: if the file cannot be read, is damaged, or holds something else.
    """
    from sklearn.datasets import load_svmlight_file

    content = compressed.read(path)
    if not content.strip():
        raise InvalidInput(f"{path} is empty. {REMEDY}.")
    num_pixels = SHAPE[0] * SHAPE[1]
    try:
        pixels, labels = load_svmlight_file(
            io.BytesIO(content),
            n_features=num_pixels,
            dtype=np.float32,
            zero_based=False,
        )
    # Damaged text makes the parser raise several kinds of exceptions.
    except Exception as error:
        raise InvalidInput(
            f'{path} must hold lines "LABEL 1:PIXEL ... {num_pixels}:PIXEL", reading '
            f"it failed: {' '.join(str(error).split())}. {REMEDY}."
        ) from error
    pixels = pixels.toarray()
    wrong = ~((labels >= 1) & (labels <= 10) & (labels % 1 == 0))
    if wrong.any():
        raise InvalidInput(
            f"{path} must hold labels from 1 to 10, it holds {labels[wrong][0]:g} in "
            f"row {np.argmax(wrong) + 1:,}. {REMEDY}."
        )
    wrong = ~(np.abs(pixels) <= 1)
    if wrong.any():
        raise InvalidInput(
            f"{path} must hold pixels in [-1, 1], it holds {pixels[wrong][0]:g} in row "
            f"{np.argmax(wrong.any(axis=1)) + 1:,}. {REMEDY}."
        )
    digits = labels.astype(np.int32) - 1
    return Rows(pixels.reshape(len(pixels), *SHAPE), digits)


def read_usps(paths: Sequence[Path]) -> Splits:
    """Returns the images of two files, of train and test.

    Raises:
      InvalidInput: if a file is unusable; see `read_libsvm`.
    """
    train, test = map(read_libsvm, paths)
    return {"train": train, "test": test}
