"""Writes the constructors of the estimators, whose settings are those of presets.

  python -m experiments.constructors

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
_BEGIN = "    # Written by python -m experiments.constructors, until the end:\n"
_END = "    # The end.\n"
_METHODS = ("dgg", "vade", "gmvae", "dec", "spectralnet", "imsat")
_WITH_IMAGES = ("dgg", "gmvae")
_GENERATIVE = ("dgg", "vade", "gmvae")
_LEFT_OUT = {"vade": ("clustering",)}  # of the labels of a run; predict has its own

# Arguments that are no settings of a method: type, default and text.
_ARGUMENTS = {
    "n_clusters": ("int", presets.Preset().num_clusters, "K, the number of clusters."),
    "image_shape": (
        "Sequence[int] | None",
        None,
        "(H, W), (H, W, 1) or (H, W, 3) of the image in a row of X: DGG then warps "
        "what its Siamese network is trained on, GMVAE may be convolutional. None if "
        "there is none.",
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


def arguments(method: str) -> list[Argument]:
    """What the constructor of a method's estimator takes, in its order.

    Args:
      method: one of those with an estimator.
    """
    names = ["n_clusters", "random_state", "verbose", "callbacks"]
    if method in _WITH_IMAGES:
        names.insert(1, "image_shape")
    if method in _GENERATIVE:
        names += ["warm_start", "encoder", "decoder"]
    given = [Argument(name, *_ARGUMENTS[name]) for name in names]
    if presets.preset_class(method).counts_clusters:
        also = ' Or "auto": estimated without labels.'
        given[0] = given[0]._replace(
            annotation='int | Literal["auto"]', text=given[0].text + also
        )
    return given + _settings(method)


def _settings(method: str) -> list[Argument]:
    """The settings of a method, of those chosen from the data without their default."""
    cls = presets.preset_class(method)
    known, of_the_data = presets.settings(cls), presets.of_the_data(method)
    found = []
    for field in dataclasses.fields(cls):
        if field.name in ("num_clusters", *_LEFT_OUT.get(method, ())):
            continue
        annotation, text = _annotation(field), known[field.name].text
        if field.name == "likelihood" and method in _GENERATIVE:
            annotation = "str | Likelihood"
        default = field.default
        if field.name in of_the_data:
            annotation = f"{annotation} | None"
            text, default = f"{text} None chooses it from the data.", None
        elif known[field.name].choices:
            text += f" One of {', '.join(known[field.name].choices)}."
        found.append(Argument(field.name, annotation, default, text))
    return found


def _annotation(field: dataclasses.Field) -> str:
    """The type of a setting as an argument; a list of sizes will do for a tuple."""
    options = field.type.__args__ if isinstance(field.type, types.UnionType) else ()
    names = [
        "Sequence[int]"
        if typing.get_origin(option) is tuple
        else "None"
        if option is type(None)
        else option.__name__
        for option in options or (field.type,)
    ]
    return " | ".join(names)


def constructor(method: str) -> str:
    """The source of a constructor.

    Args:
      method: one of those with an estimator.
    """
    first, *others = arguments(method)
    parameters = [
        f"        {one.name}: {one.annotation} = {_source(one.default)},\n"
        for one in (first, *others)
    ]
    texts = "\n".join(
        textwrap.fill(
            f"{one.name}: {one.text}",
            88,
            initial_indent=" " * 10,
            subsequent_indent=" " * 12,
        )
        for one in (first, *others)
    )
    return (
        f"    def __init__(\n        self,\n{parameters[0]}        *,\n"
        f"{''.join(parameters[1:])}    ) -> None:\n"
        '        """Keeps the settings, which ``fit`` checks.\n\n        Args:\n'
        f'{texts}\n        """\n        self._store(locals())\n'
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
