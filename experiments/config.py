"""Flags, and the configuration they resolve to."""

import dataclasses
import pathlib
import shlex
from typing import Any, NamedTuple

from absl import flags

from dgg_jax import checks, data, presets
from dgg_jax.data import DATASETS, Dataset, own, preprocessing
from dgg_jax.data.dataset import random_rows
from dgg_jax.data.loaders import ALIASES
from dgg_jax.data.matrices import SUFFIXES
from dgg_jax.data.reuters import TEXTS
from dgg_jax.presets import METHODS, Preset
from dgg_jax.stages import cluster_count
from experiments.command import DATA_DIR

AUTO = "auto"  # for --num_clusters

_METHOD = flags.DEFINE_enum("method", "dgg", METHODS, "The clustering method.")
_DATASET = flags.DEFINE_string(
    "dataset",
    "digits",
    f"What to cluster: one of {', '.join(DATASETS)}; or the path of a file of your own "
    f"({', '.join(SUFFIXES)}) or of a folder of images, with "
    "--num_clusters (a number, or auto).",
)
_LABEL = flags.DEFINE_string(
    "label",
    None,
    "Of a file of your own: the column or array with the classes, for scores only. Of "
    "a table without names the column's number, from 0.",
)
_SCALING = flags.DEFINE_enum(
    "scaling",
    "auto",
    own.SCALINGS,
    "Of a file of your own: standard (columns to mean 0, variance 1), minmax (to [0, "
    "1]), none, or auto: values in [0, 1] as they are, 8-bit pixels divided by 255, "
    "all else standardised.",
)
_IMAGE_SIZE = flags.DEFINE_list(
    "image_size", None, "H,W to resize the images of a folder to."
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
_NUM_ROWS = flags.DEFINE_integer(
    "num_rows",
    None,
    "Cluster only so many rows, drawn once at random: the same for every seed. The "
    "settings of a benchmark stay those of all its rows.",
    lower_bound=1,
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


class _NumClusters(flags.ArgumentParser):
    """Parses K, which may be ``auto``."""

    syntactic_help = "an integer or auto"

    def parse(self, argument: Any) -> int | str:
        """An integer, or AUTO; anything else is a ValueError."""
        if argument == AUTO:
            return AUTO
        try:
            return int(argument)
        except ValueError:
            raise ValueError("value should be an integer or auto") from None


def _define_preset_flags() -> dict[str, str]:
    """Makes every setting of every method a flag, one for all methods that have it."""
    kinds = {}
    for method in METHODS:
        cls = presets.preset_class(method)
        settings = presets.settings(cls)
        for field in dataclasses.fields(cls):
            if field.name in kinds:
                continue
            kinds[field.name] = field.type
            methods = methods_with(field.name)
            text, choices = settings[field.name].text, settings[field.name].choices
            text += " Default: the preset's."
            if len(methods) < len(METHODS):
                text += f" Of {', '.join(methods)}."
            if field.name == "num_clusters":
                text += " Of dgg also auto: estimated without labels."
                flags.DEFINE(_NumClusters(), field.name, None, text)
            elif choices:
                flags.DEFINE_enum(field.name, None, choices, text)
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
      dataset: name of the data set, or the path of a file of one's own.
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
      own: the data of one's own, which the settings depend on; None of a benchmark.
      label: of such data: the column with the classes, or None.
      scaling: of such data, as it was asked for.
      image_size: of a folder of images, or None.
      num_rows: of a random part of the data, or None for all.
      is_auto: whether K is estimated.
      cluster_count: the estimate and its evidence, as ``ClusterCount._asdict``; None
        before that, or of a K that was given.
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
    own: Dataset | None = None
    label: str | None = None
    scaling: str = "auto"
    image_size: tuple[int, int] | None = None
    num_rows: int | None = None
    is_auto: bool = False
    cluster_count: dict[str, Any] | None = None

    @property
    def short_name(self) -> str:
        """The name of the data set, or of a part of it, for folders."""
        name = self.dataset if self.own is None else pathlib.Path(self.own.name).stem
        return name if self.num_rows is None else f"{name}-{self.num_rows}"

    def identity(self) -> dict[str, Any]:
        """What makes two runs the same run, as config.json holds it."""
        identity = {
            "method": self.method,
            "dataset": self.dataset,
            "preset": self.preset_name,
            "seed": self.seed,
            "preset_values": dataclasses.asdict(self.preset),
        }
        if self.num_rows is not None:
            identity["num_rows"] = self.num_rows
        if self.dataset == "moons":
            identity["moons_distance"] = self.moons_distance
        if self.dataset in TEXTS:
            identity["tfidf_scaling"] = self.tfidf_scaling
        if self.own is not None:
            identity["label"] = self.label
            identity["scaling"] = self.scaling
            identity["image_size"] = self.image_size
            identity["data_sha256"] = self.own.fingerprint
        if self.is_auto:
            identity["num_clusters"] = AUTO
            identity["cluster_count"] = self.cluster_count
        return identity

    def with_cluster_count(self, count: dict[str, Any]) -> "Config":
        """The configuration with the K that was estimated, and what depends on it.

        Args:
          count: the estimate, as ``ClusterCount._asdict``.
        """
        changes = {**changes_from_flags(), "num_clusters": count["num_clusters"]}
        preset = preset_of(self.method, self.dataset, self.own, changes)
        return self._replace(preset=preset, cluster_count=count)

    def load(self) -> Dataset:
        """The data set.

        Raises:
          InvalidInput: if it cannot be used.
          MissingData: if it cannot be found.
        """
        if self.own is not None:
            return self.own
        whole = data.load(
            self.dataset,
            data_dir=self.data_dir,
            moons_distance=self.moons_distance,
            tfidf_scaling=self.tfidf_scaling,
        )
        return random_rows(whole, self.num_rows)

    def command(self) -> str:
        """The command that starts this run by itself."""
        values = {**self.identity(), "data_dir": self.data_dir}
        for name in ("preset_values", "data_sha256", "cluster_count"):
            values.pop(name, None)
        changed = {k: v for k, v in values.items() if v != flags.FLAGS[k].default}
        num_clusters = self.preset.num_clusters
        if self.own is None:
            preset = presets.preset(self.method, self.dataset, self.preset_name)
            preset = of_scaling(preset, self.dataset, self.tfidf_scaling)
        else:
            changed.setdefault("num_clusters", num_clusters)
            preset = presets.for_data(
                self.method,
                self.own.x,
                num_clusters,
                image_shape=self.own.image_shape,
                name=self.preset_name,
            )
        if self.is_auto:
            preset = dataclasses.replace(preset, num_clusters=num_clusters)
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
    is_auto = changes.get("num_clusters") == AUTO
    if is_auto:
        if _METHOD.value != "dgg":
            raise checks.InvalidInput(
                f"--num_clusters=auto is of --method=dgg, not {_METHOD.value}; give a "
                "number, such as the one that dgg finds."
            )
        changes["num_clusters"] = cluster_count.UNKNOWN
    mine = _own_data()
    dataset = ALIASES.get(_DATASET.value, _DATASET.value)
    config = Config(
        method=_METHOD.value,
        dataset=dataset,
        preset_name=_PRESET.value,
        preset=preset_of(_METHOD.value, dataset, mine, changes),
        seed=_SEED.value,
        moons_distance=_MOONS_DISTANCE.value,
        tfidf_scaling=_TFIDF_SCALING.value,
        data_dir=DATA_DIR.value,
        workdir=pathlib.Path(_WORKDIR.value or ""),
        resume=_RESUME.value,
        overwrite=_OVERWRITE.value,
        checkpoint_seconds=_CHECKPOINT_SECONDS.value,
        own=mine,
        label=_LABEL.value,
        scaling=_SCALING.value,
        image_size=_image_size(),
        num_rows=_NUM_ROWS.value,
        is_auto=is_auto,
    )
    if _WORKDIR.value:
        return config
    name = f"{config.short_name}-{config.method}-{config.seed}"
    return config._replace(workdir=pathlib.Path(f"runs/{name}"))


def _own_data() -> Dataset | None:
    """The data in a file of one's own, which --dataset names; None of a benchmark.

    Raises:
      InvalidInput: if flags do not fit --dataset, or the file cannot be used.
    """
    name = ALIASES.get(_DATASET.value, _DATASET.value)
    options = {"scaling": _SCALING.value, "image_size": _image_size()}
    if name in DATASETS:
        own.refuse_options(name, _LABEL.value, **options)
        return None
    if own.is_path(name):
        if _PRESET.value == "paper":
            raise checks.InvalidInput(
                "--preset=paper has the values that the papers print for their data "
                f"sets, and none for {name}; use default or smoke."
            )
        if flags.FLAGS["num_clusters"].value is None:
            raise checks.InvalidInput(
                f"--num_clusters is missing: say how many clusters {name} shall go "
                "into; auto estimates it (--method=dgg)."
            )
    whole = data.load(name, label=_LABEL.value, **options)
    return random_rows(whole, _NUM_ROWS.value)


def _image_size() -> tuple[int, int] | None:
    if not _IMAGE_SIZE.value:
        return None
    size = _sizes("image_size", _IMAGE_SIZE.value)
    if len(size) != 2 or min(size) < 1:
        raise checks.InvalidInput(
            f"--image_size must be H,W, as in 32,32; got {','.join(map(str, size))}."
        )
    return size


def preset_of(
    method: str,
    dataset: str,
    mine: Dataset | None,
    changes: dict[str, Any],
) -> Preset:
    """The preset of a method, with changes.

    Args:
      method: one of METHODS.
      dataset: name of a benchmark; unused if the data are one's own.
      mine: data of one's own, or None.
      changes: of settings.

    Raises:
      InvalidInput: if a value is out of range.
    """
    if mine is None:
        preset = presets.preset(method, dataset, _PRESET.value)
        return resolve(of_scaling(preset, dataset, _TFIDF_SCALING.value), changes)
    changes = {"num_clusters": flags.FLAGS["num_clusters"].value, **changes}
    return presets.for_data(
        method,
        mine.x,
        image_shape=mine.image_shape,
        name=_PRESET.value,
        **changes,
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


def parse_setting(method: str, name: str, text: str) -> Any:
    """The value of a setting, as its flag takes it.

    Args:
      method: whose setting it is.
      name: of the setting.
      text: what the flag would be given.

    Raises:
      InvalidInput: if the method has no such setting, or it is no such value.
    """
    names = [field.name for field in dataclasses.fields(presets.preset_class(method))]
    if name not in names:
        raise checks.InvalidInput(
            f"{name!r} is no setting of --method={method}; choose from: "
            f"{', '.join(names)}."
        )
    try:
        return _sizes(name, flags.FLAGS[name].parser.parse(text))
    except ValueError as error:
        if isinstance(error, checks.InvalidInput):
            raise
        raise checks.InvalidInput(f"{name}={text} is not valid: {error}.") from None


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
