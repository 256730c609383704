"""Folders of images of one's own, as a person sees them."""

import itertools
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dgg_jax.checks import InvalidInput, one_of
from dgg_jax.data.matrices import Matrix
from dgg_jax.data.tables import listed
from dgg_jax.storage import arrays

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm",
)  # fmt: skip
# None of these runs a program, as that of PostScript would.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
_GREY = ("1", "L", "LA")
_COLOR = ("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_MOST_FEATURES = 2**20  # of one image, about 590 x 590 pixels of three colours
# What transparent pixels are shown on, in the order of preference.
_GROUNDS = {"white": 255, "black": 0, "grey": 128}
_ALPHA = "alpha"  # instead of the colours, where these are one
_SEEN = 64  # alpha from which on a pixel's colour is seen
_CONTRAST = 32  # to the ground, that something of every image must have


def read(
    folder: Path,
    image_size: tuple[int, int] | None = None,
    ground: str | None = None,
) -> Matrix:
    """Reads the images of a folder in the natural order of their names: 2 before 10.

    Images that lie in folders within it are of the classes that these are named for. A
    single coloured image makes all coloured. Images are turned as their EXIF data say.
    Where there is transparency, they are seen on white, or on black or grey if some
    would vanish; where all that is seen has one colour, the plane of alpha is taken.

    Args:
      folder: with images, or with folders of them.
      image_size: (H, W) to bring all to, by bilinear interpolation; None needs all to
        be of one size.
      ground: white, black, grey or alpha for transparency, as a model was trained on.

    Returns:
      Features uint8 [N, H, W], of coloured images [N, H, W, 3].

    Raises:
      InvalidInput: if there are no images, or one is damaged, of another size, of
        several frames or of more than 8 bits a colour; the message names it.
    """
    if ground is not None:
        one_of("ground", ground, (*_GROUNDS, _ALPHA))
    paths, labels, left_out = _found(folder)
    images: list[np.ndarray] = []
    num_bytes = 0
    for path in paths:
        image = _read(path, image_size)
        if images and image.shape[:2] != images[0].shape[:2]:
            raise InvalidInput(
                f"{path} has {_size(image)} pixels, {paths[0]} {_size(images[0])}; "
                "images must be of one size: image_size=H,W brings them to it."
            )
        num_bytes += image.nbytes
        if num_bytes > arrays.memory() // 4:
            raise InvalidInput(
                f"the images of {folder} take more than {num_bytes / 2**30:,.1f} GiB, "
                "too much for the memory of this machine; image_size=64,64 makes them "
                "smaller."
            )
        images.append(image)
    if any(map(_has_alpha, images)):
        ground = ground or _ground(images)
        images = [_seen_on(ground, image) for image in images]
    else:
        ground = None
    if any(image.ndim == 3 for image in images):
        images = [_colored(image) for image in images]
    classes = None if labels is None else np.array(labels, object)
    names = np.array([path.relative_to(folder).as_posix() for path in paths], dtype=str)
    return Matrix(
        np.stack(images), classes, left_out=tuple(left_out), names=names, ground=ground
    )


def _found(folder: Path) -> tuple[list[Path], list[str] | None, list[str]]:
    """The images, their classes if they lie in folders, and other files."""
    try:
        entries = _entries(folder)
        inside = {path.name: _entries(path) for path in entries if path.is_dir()}
    except OSError as error:
        raise InvalidInput(f"{folder} cannot be read: {error.strerror}.") from error
    every = [p for paths in (entries, *inside.values()) for p in paths]
    for path in every:
        if path.suffix.lower() in SUFFIXES and not (path.is_file() or path.is_dir()):
            raise InvalidInput(
                f"{path} is no file, but a link that leads nowhere, or a pipe; put the "
                "image there or take it out."
            )
    top = [path for path in entries if _is_image(path)]
    below = [(name, p) for name, paths in inside.items() for p in paths if _is_image(p)]
    files = [path for path in every if path.is_file()]
    others = [str(p.relative_to(folder)) for p in files if not _is_image(p)]
    others += [
        f"{p.relative_to(folder)}{os.sep}"
        for paths in inside.values()
        for p in paths
        if p.is_dir()
    ]
    if top and below:
        raise InvalidInput(
            f"{folder} has images, such as {top[0].name}, beside folders with images, "
            f"such as {below[0][0]}; put every image into the folder of its class, or "
            "all into one."
        )
    if not top and not below:
        deeper = _deeper(folder)
        if deeper is not None:
            raise InvalidInput(
                f"{folder} has no images, nor have its folders, but there are some "
                f"deeper, such as {deeper.relative_to(folder)}; name the folder above "
                f"the classes, such as {deeper.parent.parent}."
            )
        raise InvalidInput(
            f"{folder} has no images ({', '.join(SUFFIXES)}), nor have its folders"
            + (f"; it has: {listed(others, 5)}." if others else ".")
        )
    if top:
        return top, None, others
    return [path for _, path in below], [name for name, _ in below], others


def _deeper(folder: Path) -> Path | None:
    """An image anywhere in a folder, if one is soon found."""
    for place, folders, files in itertools.islice(os.walk(folder), 1000):
        folders.sort(key=_natural)
        for name in sorted(files, key=_natural):
            if _is_image(Path(place) / name):
                return Path(place) / name
    return None


def _entries(folder: Path) -> list[Path]:
    paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return sorted(paths, key=lambda path: _natural(path.name))


def _natural(name: str) -> tuple[list[str | int], str]:
    """A key by which 2 comes before 10."""
    parts = re.split(r"([0-9]+)", name)
    return [int(p) if i % 2 else p for i, p in enumerate(parts)], name


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _read(path: Path, image_size: tuple[int, int] | None) -> np.ndarray:
    """The pixels, uint8: [H, W] or [H, W, 3]; with alpha [H, W, 2] or [H, W, 4]."""
    from PIL import Image, ImageOps

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
                # Further ones of a photograph, MPO, are made of the first.
                frames = getattr(image, "n_frames", 1)
                if frames > 1 and image.format != "MPO":
                    raise InvalidInput(
                        f"{path} has {frames:,} frames; save each as an image of its "
                        "own, or the one that is meant."
                    )
                width, height = image.size
                height, width = image_size or (height, width)
                if height * width * (1 if mode in _GREY else 3) > _MOST_FEATURES:
                    raise InvalidInput(
                        f"{path} has {height:,} x {width:,} pixels, too many features "
                        "for the networks; image_size=64,64 makes it smaller."
                    )
                plain = ImageOps.exif_transpose(image)
                is_opaque = not plain.has_transparency_data
                plain = plain.convert("RGB" if is_opaque else "RGBA")
                if image_size is not None:
                    plain = plain.resize((width, height), Image.Resampling.BILINEAR)
                pixels = np.array(plain)
    except InvalidInput:
        raise
    except Exception as error:  # damaged images make pillow raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InvalidInput(
            f"{path} is no whole image ({reason[:200]}); replace it or take it out."
        ) from error
    color, alpha = pixels[..., :3], pixels[..., 3:]
    has_palette = mode in ("P", "PA")
    if mode in _GREY or (has_palette and (color == color[..., :1]).all()):
        color = color[..., 0] if alpha.size == 0 else color[..., :1]
    if alpha.size == 0 or (alpha == 255).all():
        return color[..., 0] if color.ndim == 3 and color.shape[2] == 1 else color
    return np.concatenate([color, alpha], axis=-1)


def _has_alpha(image: np.ndarray) -> bool:
    return image.ndim == 3 and image.shape[2] in (2, 4)


def _ground(images: Sequence[np.ndarray]) -> str:
    """What shows the most of images of which some are transparent."""
    low, high = np.full(3, 255), np.zeros(3, int)
    for image in images:
        if _has_alpha(image):
            colors = image[..., :-1][image[..., -1] >= _SEEN]
        else:
            colors = image.reshape(-1, *image.shape[2:] or (1,))
        if len(colors):
            low = np.minimum(low, colors.min(axis=0))
            high = np.maximum(high, colors.max(axis=0))
    if (high - low).max() <= 2:  # as rounding makes of one colour
        return _ALPHA
    for name, level in _GROUNDS.items():
        seen = (
            np.abs(_seen_on(name, image).astype(int) - level).max()
            for image in images
            if _has_alpha(image) and (image[..., -1] >= _SEEN).any()
        )
        if all(contrast >= _CONTRAST for contrast in seen):
            return name
    return "white"


def _seen_on(ground: str, image: np.ndarray) -> np.ndarray:
    """An image without transparency."""
    if not _has_alpha(image):
        full = np.full(image.shape[:2], 255, np.uint8)
        return full if ground == _ALPHA else image
    color, alpha = image[..., :-1].astype(np.int32), image[..., -1:].astype(np.int32)
    if ground == _ALPHA:
        return image[..., -1]
    mixed = (color * alpha + _GROUNDS[ground] * (255 - alpha) + 127) // 255
    return (mixed[..., 0] if mixed.shape[2] == 1 else mixed).astype(np.uint8)


def _colored(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 3 else np.stack([image] * 3, axis=-1)


def _size(image: Sequence) -> str:
    return " x ".join(map(str, image.shape[:2]))
