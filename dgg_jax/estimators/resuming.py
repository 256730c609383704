"""Which fit a folder of checkpoints holds: one goes on only with itself."""

import dataclasses
import hashlib
import json
import pathlib
import re
from typing import Any

import jax
import numpy as np
from scipy import sparse

from dgg_jax import checks, presets
from dgg_jax.storage import folders, signed
from dgg_jax.storage.arrays import read_bytes

_NAME = "fit.json"


def identity(
    kind: str, x: Any, preset: presets.Preset, seed: int, known: dict[str, Any]
) -> dict[str, Any]:
    """What makes two fits the same fit, as JSON holds it.

    Args:
      kind: of the estimator.
      x: the rows, [N, D].
      preset: every setting.
      seed: of every random number.
      known: what else the method is told.
    """
    told = {name: _digest(value) for name, value in known.items() if value is not None}
    settings = dataclasses.asdict(preset)
    content = {"estimator": kind, "X": _digest(x), "random_state": seed}
    return json.loads(json.dumps(content | told | settings))


def claim(folder: pathlib.Path, content: dict[str, Any]) -> None:
    """Makes a folder, which is locked now, that of a fit.

    Args:
      folder: with checkpoints, or none yet.
      content: the fit's ``identity``.

    Raises:
      InvalidInput: if it holds anything else.
      OSError: if it cannot be written.
    """
    path = folder / _NAME
    if not path.exists():
        if not folders.is_unused(folder):
            raise checks.InvalidInput(
                f"checkpoint_dir {folder} is not empty and holds no fit; name another."
            )
        folders.write_atomically(path, json.dumps(signed.sign(content), indent=2))
        return
    try:
        theirs = json.loads(read_bytes(path))
        signed.verify(theirs)
    except (OSError, ValueError, RecursionError) as error:
        raise checks.InvalidInput(
            f"checkpoint_dir {folder} cannot be used, {path} is damaged ({error}); "
            "delete the folder or name another."
        ) from error
    names = sorted(content.keys() | theirs.keys())
    others = [name for name in names if content.get(name) != theirs.get(name)]
    if others:
        raise checks.InvalidInput(
            f"checkpoint_dir {folder} holds a fit of other {', '.join(others)}; name "
            "another, or delete it."
        )


def _digest(value: Any) -> str:
    """SHA-256 of arrays, models and modules of the user's own."""
    digest = hashlib.sha256()
    if hasattr(value, "params"):  # a model to go on from
        value = (value.preset, value.params)
    if sparse.issparse(value):
        value = (value.shape, value.data, value.indices, value.indptr)
    for leaf in jax.tree.leaves(value):
        if hasattr(leaf, "__array__"):
            array = np.ascontiguousarray(leaf)
            digest.update(f"{array.dtype} {array.shape} ".encode())
            array = array.astype(str) if array.dtype == object else array
            digest.update(array.reshape(-1).view(np.uint8).data)
        else:  # without its address, if it is shown by that
            shown = re.sub(r" at 0x[0-9a-f]+", "", repr(leaf))
            digest.update(f"{shown} ".encode())  # 1, 23 is not 12, 3
    return digest.hexdigest()
