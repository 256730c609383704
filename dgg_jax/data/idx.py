"""The idx files of MNIST and Fashion-MNIST, gzip-compressed or not."""

import gzip
import io
import math
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dgg_jax import arrays
from dgg_jax.checks import InvalidInput
from dgg_jax.data.sources import Rows, Splits

_IMAGE_SHAPE = (28, 28)
_GZIP_MAGIC = b"\x1f\x8b"
_REMEDY = "Replace it with a fresh copy of the original file"


def read_idx(path: Path, num_dimensions: int) -> np.ndarray:
    """Returns the array in an idx file of unsigned bytes.

    The format is two zero bytes, 0x08 for uint8, the number of dimensions, each
    dimension as a big-endian 32-bit integer, then the values in row-major order.

    Args:
      path: the file, gzip-compressed or not: its content tells, not its name.
      num_dimensions: how many dimensions the array must have.

    Returns:
      uint8 array, read-only.

    Raises:
      InvalidInput: if the file cannot be read, is not such an idx file, or is cut short
        or too long.
    """
    content = _content(path)
    magic = bytes([0, 0, 8, num_dimensions])
    if content[:4] != magic:
        raise InvalidInput(
            f"{path} must start with the bytes {magic.hex(' ')} (an idx file of uint8 "
            f"with {num_dimensions} dimension(s)), it starts with "
            f"{content[:4].hex(' ') or 'nothing, it is empty'}. {_REMEDY}."
        )
    start = 4 + 4 * num_dimensions
    header = content[4:start]
    if len(header) < start - 4:
        raise InvalidInput(
            f"{path} is truncated: its header must hold {start} bytes, the whole file "
            f"holds {len(content)}. {_REMEDY}."
        )
    shape = tuple(np.frombuffer(header, ">u4").tolist())
    # Python's integers, because damaged dimensions may overflow an int64.
    expected = start + math.prod(shape)
    if len(content) != expected:
        problem = "truncated" if len(content) < expected else "too long"
        raise InvalidInput(
            f"{path} is {problem}: it must hold {expected:,} bytes uncompressed (a "
            f"header of {start} and an array of shape {shape}), it holds "
            f"{len(content):,}. {_REMEDY}."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _content(path: Path) -> bytes:
    try:
        content = arrays.read_bytes(path)
        if content.startswith(_GZIP_MAGIC):
            most = arrays.most_bytes(len(content))
            with gzip.open(io.BytesIO(content)) as file:
                content = file.read(most + 1)
            if len(content) > most:
                raise InvalidInput(
                    f"{path} expands to more than {most:,} bytes, out of proportion to "
                    f"its size. {_REMEDY}."
                )
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InvalidInput(
            f"{path} must be a complete gzip file, it is truncated or damaged "
            f"({error}). {_REMEDY}."
        ) from error
    except OSError as error:
        raise InvalidInput(
            f"{path} must be a readable file, reading it failed ({error.strerror}). "
            "Check its permissions."
        ) from error
    return content


def read_pair(images_path: Path, labels_path: Path) -> Rows:
    """Returns the images of one file with the labels of another.

    Args:
      images_path: idx file of N images of 28 x 28 pixels.
      labels_path: idx file of N labels from 0 to 9.

    Returns:
      Pixels, uint8 of shape [N, 28, 28], and labels, uint8 of shape [N], in the files'
      order.

    Raises:
      InvalidInput: if a file is unusable (see `read_idx`), images are not 28 x 28,
        labels are out of range, or the two files differ in N.
    """
    images = read_idx(images_path, 3)
    labels = read_idx(labels_path, 1)
    if images.shape[1:] != _IMAGE_SHAPE:
        raise InvalidInput(
            f"{images_path} must hold images of shape {_IMAGE_SHAPE}, it holds images "
            f"of shape {images.shape[1:]}. {_REMEDY}."
        )
    if len(images) != len(labels):
        raise InvalidInput(
            f"{images_path} and {labels_path} must hold as many images as labels, they "
            f"hold {len(images):,} images and {len(labels):,} labels. Replace them "
            "with files of the same set."
        )
    if labels.size and labels.max() > 9:
        raise InvalidInput(
            f"{labels_path} must hold labels from 0 to 9, it holds {labels.max()}. "
            f"{_REMEDY}."
        )
    return Rows(images, labels)


def read_mnist(paths: Sequence[Path]) -> Splits:
    """Returns the images of four files: of train, then test, images before labels.

    Raises:
      InvalidInput: if a file is unusable; see `read_pair`.
    """
    return {"train": read_pair(*paths[:2]), "test": read_pair(*paths[2:])}
