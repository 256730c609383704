"""Flags, and the configuration they resolve to."""

import dataclasses
import pathlib
import re
from typing import Any, NamedTuple

from absl import flags

from dgg_jax import checks, presets
from dgg_jax.data import DATASETS
from dgg_jax.presets import DGGPreset

METHODS = ("dgg",)

_METHOD = flags.DEFINE_enum("method", "dgg", METHODS, "The clustering method.")
_DATASET = flags.DEFINE_enum(
    "dataset",
    "digits",
    DATASETS,
    "What to cluster: digits (ships with scikit-learn), mnist, or moons (two half "
    "circles).",
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "Folder with the original files of the data set, and for downloads; by default "
    "dgg_jax in the user's cache folder.",
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the run; by default runs/<dataset>-<method>-<seed>."
)
_SEED = flags.DEFINE_integer(
    "seed",
    0,
    "Seed of every random number.",
    lower_bound=0,
    upper_bound=2**32 - 1,  # jax drops higher bits without a word
)
_PRESET = flags.DEFINE_enum(
    "preset",
    "default",
    presets.NAMES,
    "Where unset values come from: default (what we recommend), paper (as printed) or "
    "smoke (a quick look that everything runs).",
)
_MOONS_DISTANCE = flags.DEFINE_enum(
    "moons_distance", "near", ("near", "far"), "Distance of the half circles of moons."
)
_RESUME = flags.DEFINE_boolean(
    "resume", False, "Continue the interrupted run in --workdir."
)
_OVERWRITE = flags.DEFINE_boolean(
    "overwrite", False, "Delete the run in --workdir and start anew."
)
_CHECKPOINT_SECONDS = flags.DEFINE_float(
    "checkpoint_seconds",
    30.0,
    "Least time between two checkpoints within a stage.",
    lower_bound=0.0,
)


def _attribute_help(cls: type) -> dict[str, str]:
    """The description of each attribute in a class's docstring."""
    _, _, attributes = (cls.__doc__ or "").partition("Attributes:\n")
    entries = re.findall(r"^      (\w+): ((?:.|\n(?!      \w+: ))*)", attributes, re.M)
    return {name: " ".join(text.split()) for name, text in entries}


def _define_preset_flags() -> None:
    texts = _attribute_help(DGGPreset)
    for field in dataclasses.fields(DGGPreset):
        text = f"{texts.get(field.name, field.name)} Default: the preset's."
        if field.name in presets.CHOICES:
            flags.DEFINE_enum(field.name, None, presets.CHOICES[field.name], text)
        elif field.type is int:
            flags.DEFINE_integer(field.name, None, text)
        elif field.type is float:
            flags.DEFINE_float(field.name, None, text)
        else:
            flags.DEFINE_list(field.name, None, f"{text} Separated by commas.")


_define_preset_flags()


class Config(NamedTuple):
    """A resolved configuration.

    Attributes:
      method: the clustering method.
      dataset: name of the data set.
      preset_name: where unset values came from.
      preset: every setting of the method.
      seed: of every random number.
      moons_distance: near or far; only moons uses it.
      data_dir: folder of data files, or None for the default.
      workdir: folder of the run.
      resume: whether to continue the run there.
      overwrite: whether to delete the run there.
      checkpoint_seconds: least time between two checkpoints.
    """

    method: str
    dataset: str
    preset_name: str
    preset: DGGPreset
    seed: int
    moons_distance: str
    data_dir: str | None
    workdir: pathlib.Path
    resume: bool
    overwrite: bool
    checkpoint_seconds: float

    def identity(self) -> dict[str, Any]:
        """What makes two runs the same run, as config.json holds it."""
        identity = {
            "method": self.method,
            "dataset": self.dataset,
            "preset": self.preset_name,
            "seed": self.seed,
            "preset_values": dataclasses.asdict(self.preset),
        }
        if self.dataset == "moons":
            identity["moons_distance"] = self.moons_distance
        return identity


def from_flags() -> Config:
    """Resolves the parsed flags.

    Raises:
      InvalidInput: if a value is out of range, or flags contradict each other.
    """
    preset = presets.dgg(_DATASET.value, _PRESET.value)
    changes = {}
    for field in dataclasses.fields(DGGPreset):
        value = flags.FLAGS[field.name].value
        if value is not None:
            changes[field.name] = _sizes(field.name, value)
    if "num_neighbors" in changes and "num_candidates" not in changes:
        # Asking for more neighbours than there are candidates asks for both.
        changes["num_candidates"] = max(preset.num_candidates, changes["num_neighbors"])
    preset = dataclasses.replace(preset, **changes)
    if _RESUME.value and _OVERWRITE.value:
        raise checks.InvalidInput("--resume and --overwrite exclude each other.")
    name = f"{_DATASET.value}-{_METHOD.value}-{_SEED.value}"
    return Config(
        method=_METHOD.value,
        dataset=_DATASET.value,
        preset_name=_PRESET.value,
        preset=preset,
        seed=_SEED.value,
        moons_distance=_MOONS_DISTANCE.value,
        data_dir=_DATA_DIR.value,
        workdir=pathlib.Path(_WORKDIR.value or f"runs/{name}"),
        resume=_RESUME.value,
        overwrite=_OVERWRITE.value,
        checkpoint_seconds=_CHECKPOINT_SECONDS.value,
    )


def _sizes(name: str, value: Any) -> Any:
    """A list flag as a tuple of integers; other values as they are."""
    if not isinstance(value, list):
        return value
    try:
        return tuple(int(size) for size in value)
    except ValueError:
        raise checks.InvalidInput(
            f"{name} must be integers separated by commas, got {','.join(value)!r}."
        ) from None
