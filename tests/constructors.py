"""Writes the constructors of the estimators, whose settings are those of presets.

  python -m tests.constructors

They stand in the source so that editors and type checkers see every argument; a test
compares them to what this writes.
"""

import dataclasses
import pathlib
import textwrap
import types
import typing
from typing import Any

import dgg_jax
from dgg_jax import presets

_FOLDER = pathlib.Path(dgg_jax.__file__).parent / "estimators"
_BEGIN = "    # Written by python -m tests.constructors, until the end:\n"
_END = "    # The end.\n"
_METHODS = (
    *("dgg", "vade", "gmvae", "dec", "spectralnet", "imsat", "catgan", "aae"),
    "ltvae",
)
# What (H, W), (H, W, 1) or (H, W, 3) of the image in a row of X does.
_IMAGE_SHAPE = {
    "dgg": "what networks are trained on is then warped",
    "gmvae": "architecture may then be one of convolutions",
    "spectralnet": "what the Siamese network is trained on may then be warped",
    "imsat": "warps may then have to leave its cluster as it is",
}
_GENERATIVE = ("dgg", "vade", "gmvae", "ltvae")
_LEFT_OUT = {"vade": ("clustering",)}  # of the labels of a run; predict has its own

# Arguments that are no settings of a method: type, default and text. Everyone sets the
# first five.
_EVERYONES = ("n_clusters", "preset", "image_shape", "random_state", "verbose")
_ARGUMENTS = {
    "n_clusters": ("int", presets.Preset().num_clusters, "K, the number of clusters."),
    "preset": (
        'Literal["default", "smoke"]',
        "default",
        "where settings that are None come from: default (what we recommend) or smoke "
        "(a few epochs of small networks, to see that everything runs).",
    ),
    "image_shape": (
        "Sequence[int] | None",
        None,
        "(H, W), (H, W, 1) or (H, W, 3) of the image in a row of X: {}. None if there "
        "is none.",
    ),
    "random_state": (
        "int | np.random.RandomState | None",
        None,
        "seed of every random number, or RandomState, or None.",
    ),
    "verbose": (
        "bool | int",
        0,
        "1 shows a progress bar and what each stage reaches.",
    ),
    "callbacks": (
        "Callback | Sequence[Callback] | None",
        None,
        "a function of (stage, epoch, metrics), or several; one that returns True ends "
        "the training loop it was called from, and fit goes on with the next.",
    ),
    "warm_start": (
        "bool",
        False,
        "whether fit goes on from the model that is there, fitted or loaded, without "
        "pretraining and initialisation.",
    ),
    "encoder": (
        "nn.Module | None",
        None,
        "Flax module in place of the dense encoder, from x [B, D] to "
        "dgg_jax.types.Gaussian with fields [B, latent_dim].",
    ),
    "decoder": (
        "nn.Module | None",
        None,
        "Flax module in place of the dense decoder, from z [B, latent_dim] to what the "
        "likelihood decodes, B rows.",
    ),
}


class Argument(typing.NamedTuple):
    """One argument of a constructor.

    Attributes:
      name: of it.
      annotation: its type, as source.
      default: its value.
      text: what it means.
    """

    name: str
    annotation: str
    default: Any
    text: str


def arguments(method: str) -> tuple[list[Argument], list[Argument]]:
    """What the constructor of a method's estimator takes: what everyone sets; the rest.

    Args:
      method: one of those with an estimator.
    """
    everyones = {name: Argument(name, *_ARGUMENTS[name]) for name in _EVERYONES}
    if presets.preset_class(method).counts_clusters:
        k = everyones["n_clusters"]
        also = f'{k.text} Or "auto": estimated without labels.'
        everyones["n_clusters"] = k._replace(
            annotation='int | Literal["auto"]', text=also
        )
    if method in _IMAGE_SHAPE:
        shape = everyones["image_shape"]
        text = shape.text.format(_IMAGE_SHAPE[method])
        everyones["image_shape"] = shape._replace(text=text)
    else:
        del everyones["image_shape"]
    names = ["callbacks"]
    if method in _GENERATIVE:
        names += ["warm_start", "encoder", "decoder"]
    others = [Argument(name, *_ARGUMENTS[name]) for name in names]
    return list(everyones.values()), others + _settings(method)


def _settings(method: str) -> list[Argument]:
    """The settings of a method: None is the preset's, of which default's is told."""
    cls = presets.preset_class(method)
    known, of_the_data = presets.settings(cls), presets.of_the_data(method)
    found = []
    for field in dataclasses.fields(cls):
        if field.name in ("num_clusters", *_LEFT_OUT.get(method, ())):
            continue
        annotation, text = _annotation(field.type), known[field.name].text
        if field.name == "likelihood" and method in _GENERATIVE:
            annotation = f"{annotation} | Likelihood"
        if field.name in of_the_data:
            text += " Default: from the data."
        elif field.name.endswith("epochs") and field.default:
            text += f" Default: {field.default}, fewer of more than 70,000 rows."
        elif field.default is not None:
            text += f" Default: {field.default}."
        found.append(Argument(field.name, f"{annotation} | None", None, text))
    return found


def _annotation(kind: Any) -> str:
    """The type of a setting as an argument; a list of sizes will do for a tuple."""
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    is_sizes = any(typing.get_origin(one) is tuple for one in kinds)
    return "Sequence[int]" if is_sizes else kind.__name__


def constructor(method: str) -> str:
    """The source of a constructor.

    Args:
      method: one of those with an estimator.
    """
    everyones, others = arguments(method)
    first, *named = everyones
    return (
        f"    def __init__(\n        self,\n{_parameters([first])}        *,\n"
        f"{_parameters(named)}"
        "        # Expert settings; None is the preset's value.\n"
        f"{_parameters(others)}    ) -> None:\n"
        '        """Keeps the settings, which ``fit`` checks.\n\n'
        f"        Args:\n{_texts(everyones)}\n\n"
        f'        Expert settings:\n{_texts(others)}\n        """\n'
        "        self._store(locals())\n"
    )


def _parameters(group: list[Argument]) -> str:
    return "".join(
        f"        {one.name}: {one.annotation} = {_source(one.default)},\n"
        for one in group
    )


def _texts(group: list[Argument]) -> str:
    return "\n".join(
        textwrap.fill(
            f"{one.name}: {one.text}",
            88,
            initial_indent=" " * 10,
            subsequent_indent=" " * 12,
        )
        for one in group
    )


def _source(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def written(method: str, source: str) -> str:
    """The source of an estimator's module with its constructor written anew.

    Args:
      method: whose it is.
      source: as it stands.
    """
    before, _, rest = source.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}{constructor(method)}\n{_END}{after}"


def main() -> None:
    """Writes all of them."""
    for method in _METHODS:
        path = _FOLDER / f"{method}.py"
        path.write_text(written(method, path.read_text()))


if __name__ == "__main__":
    main()
