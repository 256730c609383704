"""Flags, and the configuration they resolve to."""

import dataclasses
import pathlib
import shlex
from typing import Any, NamedTuple

from absl import flags

from dgg_jax import checks, presets
from dgg_jax.data import DATASETS, preprocessing
from dgg_jax.data.reuters import TEXTS
from dgg_jax.presets import METHODS, Preset
from experiments.command import DATA_DIR

_METHOD = flags.DEFINE_enum("method", "dgg", METHODS, "The clustering method.")
_DATASET = flags.DEFINE_enum(
    "dataset",
    "digits",
    DATASETS,
    "What to cluster: digits (ships with scikit-learn), mnist, moons (two half "
    "circles), pinwheel (five arcs), har (sensors of smartphones), reuters, reuters10k "
    "or reuters_r8 (news).",
)
flags.declare_key_flag("data_dir")
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
_TFIDF_SCALING = flags.DEFINE_enum(
    "tfidf_scaling",
    "sqrt_dim",
    list(preprocessing.TFIDF_SCALINGS),
    f"Length of the rows of {', '.join(TEXTS)}: sqrt_dim (square root of the number of "
    "words, as published) or unit. The default --variance goes with it.",
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


def methods_with(field: str) -> list[str]:
    """The methods that have this setting."""
    return [
        method
        for method in METHODS
        if field in {f.name for f in dataclasses.fields(presets.preset_class(method))}
    ]


def _define_preset_flags() -> dict[str, str]:
    """Makes every setting of every method a flag, one for all methods that have it."""
    kinds = {}
    for method in METHODS:
        cls = presets.preset_class(method)
        texts = presets.describe(cls)
        for field in dataclasses.fields(cls):
            if field.name in kinds:
                continue
            kinds[field.name] = field.type
            methods = methods_with(field.name)
            text = f"{texts.get(field.name, field.name)} Default: the preset's."
            if len(methods) < len(METHODS):
                text += f" Of {', '.join(methods)}."
            if field.name in presets.CHOICES:
                flags.DEFINE_enum(field.name, None, presets.CHOICES[field.name], text)
            elif field.type is bool:
                flags.DEFINE_boolean(field.name, None, text)
            elif field.type is int:
                flags.DEFINE_integer(field.name, None, text)
            elif field.type is float:
                flags.DEFINE_float(field.name, None, text)
            else:
                flags.DEFINE_list(field.name, None, f"{text} Separated by commas.")
    return kinds


_PRESET_FLAGS = tuple(_define_preset_flags())


class Config(NamedTuple):
    """A resolved configuration.

    Attributes:
      method: the clustering method.
      dataset: name of the data set.
      preset_name: where unset values came from.
      preset: every setting of the method.
      seed: of every random number.
      moons_distance: near or far; only moons uses it.
      tfidf_scaling: sqrt_dim or unit; only texts use it.
      data_dir: folder of data files, or None for the default.
      workdir: folder of the run.
      resume: whether to continue the run there.
      overwrite: whether to delete the run there.
      checkpoint_seconds: least time between two checkpoints.
    """

    method: str
    dataset: str
    preset_name: str
    preset: Preset
    seed: int
    moons_distance: str
    tfidf_scaling: str
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
        if self.dataset in TEXTS:
            identity["tfidf_scaling"] = self.tfidf_scaling
        return identity

    def command(self) -> str:
        """The command that starts this run by itself."""
        values = {**self.identity(), "data_dir": self.data_dir}
        del values["preset_values"]
        changed = {k: v for k, v in values.items() if v != flags.FLAGS[k].default}
        preset = presets.preset(self.method, self.dataset, self.preset_name)
        preset = of_scaling(preset, self.dataset, self.tfidf_scaling)
        for field in dataclasses.fields(preset):
            value = getattr(self.preset, field.name)
            if value != getattr(preset, field.name):
                changed[field.name] = value
        words = [f"--{name}={_as_flag(value)}" for name, value in changed.items()]
        return shlex.join(["python", "-m", "experiments.main", *words])


def from_flags(check_method: bool = True) -> Config:
    """Resolves the parsed flags.

    Args:
      check_method: whether --method is meant; a comparison has its own list.

    Raises:
      InvalidInput: if a value is out of range, or flags contradict each other.
    """
    if _RESUME.value and _OVERWRITE.value:
        raise checks.InvalidInput("--resume and --overwrite exclude each other.")
    changes = changes_from_flags() if check_method else {}
    for name in changes:
        if _METHOD.value not in methods_with(name):
            raise checks.InvalidInput(
                f"--{name} is no setting of --method={_METHOD.value}, but of "
                f"{', '.join(methods_with(name))}; leave it out."
            )
    name = f"{_DATASET.value}-{_METHOD.value}-{_SEED.value}"
    preset = presets.preset(_METHOD.value, _DATASET.value, _PRESET.value)
    preset = of_scaling(preset, _DATASET.value, _TFIDF_SCALING.value)
    return Config(
        method=_METHOD.value,
        dataset=_DATASET.value,
        preset_name=_PRESET.value,
        preset=resolve(preset, changes),
        seed=_SEED.value,
        moons_distance=_MOONS_DISTANCE.value,
        tfidf_scaling=_TFIDF_SCALING.value,
        data_dir=DATA_DIR.value,
        workdir=pathlib.Path(_WORKDIR.value or f"runs/{name}"),
        resume=_RESUME.value,
        overwrite=_OVERWRITE.value,
        checkpoint_seconds=_CHECKPOINT_SECONDS.value,
    )


def of_scaling(preset: Preset, dataset: str, tfidf_scaling: str) -> Preset:
    """The preset of a data set, whose variance goes with the scaling of texts."""
    if dataset not in TEXTS or not hasattr(preset, "variance"):
        return preset
    variance = preprocessing.tf_idf_variance(
        preset.variance, preprocessing.NUM_WORDS, tfidf_scaling
    )
    return dataclasses.replace(preset, variance=variance)


def _as_flag(value: Any) -> str:
    """The value of a flag, as one writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def changes_from_flags() -> dict[str, Any]:
    """The settings that flags have changed."""
    values = {name: flags.FLAGS[name].value for name in _PRESET_FLAGS}
    return {name: _sizes(name, v) for name, v in values.items() if v is not None}


def resolve(preset: Preset, changes: dict[str, Any]) -> Preset:
    """A preset with changes.

    Raises:
      InvalidInput: if a value is out of range.
    """
    if "num_neighbors" in changes and hasattr(preset, "num_candidates"):
        # Asking for more neighbours than there are candidates asks for both.
        wider = max(preset.num_candidates, changes["num_neighbors"])
        changes = {"num_candidates": wider, **changes}
    return dataclasses.replace(preset, **changes)


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
