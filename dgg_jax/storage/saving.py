"""Saved models: a folder with a readable model.json and arrays that are never code."""

import hashlib
import importlib.metadata
import io
import json
import logging
import math
import os
import pathlib
import platform
import re
from typing import Any

import numpy as np

from dgg_jax import checks
from dgg_jax.log import tell
from dgg_jax.storage import folders, signed
from dgg_jax.storage.arrays import Npz, read_bytes
from dgg_jax.version import __version__

FORMAT = 1  # of the folder; a later version reads all earlier ones
DESCRIPTION, ARRAYS = "model.json", "arrays.npz"
_OF_ARRAYS = re.compile(r"arrays(-[0-9a-f]{16})?\.npz")
_DEEPEST = 16  # folders that an array may lie in; jax's trees are recursive
Tree = dict[str, Any]  # nested dicts of arrays


class InvalidModel(checks.InvalidInput):
    """A folder is no saved model, or one that cannot be trusted."""


def save(
    path: str | os.PathLike, description: Tree, arrays: Tree, *, overwrite: bool = False
) -> None:
    """Writes a model's folder; nobody ever sees half of it.

    Args:
      path: the folder to make.
      description: what JSON holds; goes into model.json.
      arrays: nested dicts of arrays, their keys without "/".
      overwrite: whether a saved model there may be replaced.

    Raises:
      FileExistsError: if the path exists, unless it is a model to overwrite.
      OSError: if it cannot be written.
    """
    path = pathlib.Path(path).expanduser()
    if path.exists() and not (overwrite and _is_model(path)):
        remedy = "overwrite=True replaces it" if _is_model(path) else "it is no model"
        raise FileExistsError(f"{path} exists; {remedy}. Choose another path.")
    flat = _flatten(arrays)
    buffer = io.BytesIO()
    np.savez(buffer, **flat)
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    description = {
        "format": FORMAT,
        **description,
        "arrays": {
            "file": f"arrays-{digest[:16]}.npz" if path.exists() else ARRAYS,
            "sha256": digest,
            "shapes": {name: list(array.shape) for name, array in flat.items()},
            "dtypes": {name: str(array.dtype) for name, array in flat.items()},
        },
    }
    text = json.dumps(signed.sign(description), indent=2, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        _replace(path, description["arrays"]["file"], content, text)
        return
    with folders.partial(path, is_folder=True) as made:
        (made / ARRAYS).write_bytes(content)
        (made / DESCRIPTION).write_text(text)
        try:
            os.replace(made, path)
        except OSError:
            if not path.exists():
                raise
            save(path, description, arrays, overwrite=overwrite)  # another was faster


def _replace(folder: pathlib.Path, name: str, content: bytes, text: str) -> None:
    """Writes a model over another, which is whole until the new description is there.

    A reader, or a kill, meets one of the two: each has its own file of arrays.
    """
    with folders.alone(folder):
        folders.write_atomically(folder / name, content)
        folders.write_atomically(folder / DESCRIPTION, text)
        for path in folder.iterdir():
            if _OF_ARRAYS.fullmatch(path.name) and path.name != name:
                path.unlink()


def load(path: str | os.PathLike) -> tuple[Tree, Tree]:
    """Reads a model's folder.

    Args:
      path: the folder.

    Returns:
      The description and the nested arrays, as they were saved.

    Raises:
      InvalidModel: if it is no saved model, of a later format, damaged, or not what its
        description says. Nothing in it is ever executed.
    """
    path = pathlib.Path(path).expanduser()
    text, file, content = _read(path)
    try:
        description = json.loads(text, parse_float=_finite, parse_constant=_finite)
        is_signed = signed.verify(description)
        version = description["format"]
        listed = description["arrays"]
        expected = listed["sha256"]
        shapes, dtypes = dict(listed["shapes"]), dict(listed["dtypes"])
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise InvalidModel(
            f"{path / DESCRIPTION} is no description of a model "
            f"({type(error).__name__}: {error})."
        ) from error
    if version != FORMAT:
        raise InvalidModel(
            f"{path} has format {version!r}, this version reads {FORMAT}; upgrade "
            "dgg_jax."
        )
    if not is_signed:
        tell(
            f"{path / DESCRIPTION} has no checksum, as earlier versions wrote it: "
            "whether it is whole is unknown. Save the model anew.",
            logging.WARNING,
        )
    if hashlib.sha256(content).hexdigest() != expected:
        raise InvalidModel(
            f"{file} is damaged: its checksum is not that of {DESCRIPTION}; "
            "take the model from a backup, or train it again."
        )
    try:
        archive = Npz(content, compressed=False)  # save() does not compress
        flat = {name: archive[name] for name in archive.names}
    except ValueError as error:
        raise InvalidModel(f"{file} cannot be read: {error}.") from error
    found = {name: (list(a.shape), str(a.dtype)) for name, a in flat.items()}
    if found != {name: (shapes[name], dtypes.get(name)) for name in shapes}:
        raise InvalidModel(
            f"{file} does not hold the arrays that {DESCRIPTION} lists; take "
            "the model from a backup, or train it again."
        )
    broken = [name for name, a in flat.items() if not np.isfinite(a).all()]
    if broken:
        raise InvalidModel(
            f"{file} holds NaN or infinite values in {broken[0]!r}; take the "
            "model from a backup, or train it again."
        )
    return description, _unflatten(flat)


def _read(path: pathlib.Path) -> tuple[bytes, pathlib.Path, bytes]:
    """The text of the description, and the file of arrays that it names.

    Raises:
      InvalidModel: if they are not there.
    """
    text = b""
    try:
        while True:
            before, text = text, read_bytes(path / DESCRIPTION)
            file = path / _name_of_arrays(text)
            try:
                return text, file, read_bytes(file)
            except OSError:
                if text == before:  # else another model took its place
                    raise
    except (OSError, ValueError) as error:
        raise InvalidModel(
            f"{path} holds no saved model: it must be a folder with {DESCRIPTION} and "
            f"{ARRAYS}, as save() writes ({error})."
        ) from error


def _name_of_arrays(text: bytes) -> str:
    """The file that a description names; the usual one if it is none."""
    try:
        found = _OF_ARRAYS.fullmatch(json.loads(text)["arrays"]["file"])
    except (ValueError, LookupError, TypeError, RecursionError):
        found = None
    return found[0] if found else ARRAYS


def _finite(text: str) -> float:
    """A number of JSON; also NaN and Infinity, which JSON does not know, come here."""
    if not math.isfinite(float(text)):
        raise ValueError(f"{text} is no finite number")
    return float(text)


def _is_model(path: pathlib.Path) -> bool:
    return (path / DESCRIPTION).is_file()


def _flatten(tree: Tree, prefix: str = "") -> dict[str, np.ndarray]:
    """{"a": {"b": x}} as {"a/b": x}."""
    flat = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{name}/")
        else:
            flat[prefix + name] = np.asarray(value)
    return flat


def _unflatten(flat: dict[str, np.ndarray]) -> Tree:
    tree: Tree = {}
    for path, array in flat.items():
        *folders, name = path.split("/")
        if len(folders) > _DEEPEST:
            raise InvalidModel(f"an array lies in {len(folders):,} folders.")
        branch = tree
        for folder in folders:
            branch = branch.setdefault(folder, {})
            if not isinstance(branch, dict):
                raise InvalidModel(f"the array {path!r} lies within another.")
        branch[name] = array
    return tree


def versions() -> dict[str, str]:
    """Versions of Python, this library and those that results depend on."""
    packages = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "scikit-learn")
    return {
        "python": platform.python_version(),
        "dgg_jax": __version__,
        **{name: importlib.metadata.version(name) for name in packages},
    }
