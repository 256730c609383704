"""Folders of images of one's own."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dgg_jax.checks import InvalidInput
from dgg_jax.data.matrices import Matrix
from dgg_jax.data.tables import listed

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm",
)  # fmt: skip
# None of these runs a program, as that of PostScript would.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
_GREY = ("1", "L", "LA")
_COLOR = ("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_MOST_FEATURES = 2**20  # of one image, about 590 x 590 pixels of three colours


def read(folder: Path, image_size: tuple[int, int] | None = None) -> Matrix:
    """Reads the images of a folder in the order of their names.

    Images that lie in folders within it are of the classes that these are named for. A
    single coloured image makes all coloured; transparency is left out.

    Args:
      folder: with images, or with folders of them.
      image_size: (H, W) to bring all to, by bilinear interpolation; None needs all to
        be of one size.

    Returns:
      Features uint8 [N, H, W], of coloured images [N, H, W, 3].

    Raises:
      InvalidInput: if there are no images, or one is damaged, of another size or of
        more than 8 bits a colour; the message names it.
    """
    paths, labels, left_out = _found(folder)
    images = [_read(path, image_size) for path in paths]
    colored = any(image.ndim == 3 for image in images)
    if colored:
        images = [_colored(image) for image in images]
    for path, image in zip(paths, images, strict=True):
        if image.shape != images[0].shape:
            raise InvalidInput(
                f"{path} has {_size(image)} pixels, {paths[0]} {_size(images[0])}; "
                "images must be of one size: image_size=H,W brings them to it."
            )
    names = None if labels is None else np.array(labels, object)
    return Matrix(np.stack(images), names, left_out=tuple(left_out))


def _found(folder: Path) -> tuple[list[Path], list[str] | None, list[str]]:
    """The images, their classes if they lie in folders, and other files."""
    try:
        entries = _entries(folder)
        inside = {path.name: _entries(path) for path in entries if path.is_dir()}
    except OSError as error:
        raise InvalidInput(f"{folder} cannot be read: {error.strerror}.") from error
    top = [path for path in entries if _is_image(path)]
    below = [(name, p) for name, paths in inside.items() for p in paths if _is_image(p)]
    files = [p for paths in (entries, *inside.values()) for p in paths if p.is_file()]
    others = [str(p.relative_to(folder)) for p in files if not _is_image(p)]
    if top and below:
        raise InvalidInput(
            f"{folder} has images, such as {top[0].name}, beside folders with images, "
            f"such as {below[0][0]}; put every image into the folder of its class, or "
            "all into one."
        )
    if not top and not below:
        raise InvalidInput(
            f"{folder} has no images ({', '.join(SUFFIXES)}), nor have its folders"
            + (f"; it has: {listed(others, 5)}." if others else ".")
        )
    if top:
        return top, None, others
    return [path for _, path in below], [name for name, _ in below], others


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _read(path: Path, image_size: tuple[int, int] | None) -> np.ndarray:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # An image may declare far more pixels than its file has bytes.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as image:
                mode = image.mode
                if mode not in (*_GREY, *_COLOR):
                    raise InvalidInput(
                        f"{path} has pixels of kind {mode}; save it with 8 bits a "
                        "colour."
                    )
                width, height = image.size
                height, width = image_size or (height, width)
                if height * width * (1 if mode in _GREY else 3) > _MOST_FEATURES:
                    raise InvalidInput(
                        f"{path} has {height:,} x {width:,} pixels, too many features "
                        "for the networks; image_size=64,64 makes it smaller."
                    )
                plain = image.convert("L" if mode in _GREY else "RGB")
                if image_size is not None:
                    plain = plain.resize((width, height), Image.Resampling.BILINEAR)
                return np.array(plain)
    except InvalidInput:
        raise
    except Exception as error:  # damaged images make pillow raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InvalidInput(
            f"{path} is no whole image ({reason[:200]}); replace it or take it out."
        ) from error


def _colored(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 3 else np.stack([image] * 3, axis=-1)


def _size(image: Sequence) -> str:
    return " x ".join(map(str, image.shape[:2]))
