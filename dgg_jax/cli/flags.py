"""The flags of a run, and the configuration that they resolve to."""

import dataclasses
import pathlib
from typing import Any

from absl import flags

from dgg_jax import checks, data, presets
from dgg_jax.cli.command import BATCH, WORKDIR
from dgg_jax.data import DATASETS, Dataset, own, preprocessing
from dgg_jax.data.dataset import random_rows
from dgg_jax.data.loaders import ALIASES
from dgg_jax.data.matrices import SUFFIXES
from dgg_jax.data.reuters import TEXTS
from dgg_jax.presets import METHODS
from dgg_jax.runs.config import AUTO, DEFAULTS, Config
from dgg_jax.stages import cluster_count

# Where --helpfull shows what few set; --helpshort shows the flags of this module.
_OF_EXPERTS = {"module_name": "expert settings"}

_METHOD = flags.DEFINE_enum(
    "method", DEFAULTS["method"], METHODS, "The clustering method."
)
_DATASET = flags.DEFINE_string(
    "dataset",
    DEFAULTS["dataset"],
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
    DEFAULTS["scaling"],
    own.SCALINGS,
    "Of a file of your own: standard (columns to mean 0, variance 1), minmax (to [0, "
    "1]), pixels (divided by 255), unit (rows to one length, so that their directions "
    "count: for embeddings of pretrained models), counts (of genes or words: the 2,000 "
    "most variable columns, as they are), none, or auto: rows of one length as unit, "
    "whole numbers of an .h5ad file as counts, values in [0, 1], and those in [-1, 1] "
    "if most columns span a third of it, as they are, what is taken for 8-bit pixels "
    "divided by 255, all else standardised.",
)
_LAYER = flags.DEFINE_string(
    "layer",
    None,
    "Of an .h5ad file: what to read in place of X, a name in layers, or raw.",
)
_IMAGE_SIZE = flags.DEFINE_list(
    "image_size", None, "H,W to resize the images of a folder to."
)
_IMAGE_SHAPE = flags.DEFINE_list(
    "image_shape",
    None,
    "Of a file of your own: H,W or H,W,3 of the image in a row; none if rows are no "
    "images. By default what has the shape and the values of images is taken for them.",
)
flags.declare_key_flag("batch")
flags.declare_key_flag("data_dir")
flags.declare_key_flag("workdir")
flags.DEFINE_integer(
    "seed",
    DEFAULTS["seed"],
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
flags.DEFINE_integer(
    "stability",
    DEFAULTS["stability"],
    "Then repeat the run so often with other seeds on four fifths of the rows: how "
    "much of each cluster is found again, and the consensus of all. Each takes about "
    "as long as the run.",
    lower_bound=0,
)
_PRESET = flags.DEFINE_enum(
    "preset",
    DEFAULTS["preset"],
    presets.NAMES,
    "Where unset values come from: default (what we recommend), paper (as printed), "
    "released (what the code of DGG's authors does) or smoke (a quick look that "
    "everything runs).",
)
_SPLIT = flags.DEFINE_enum(
    "split",
    DEFAULTS["split"],
    ("all", "train", "test", "extra"),
    "Cluster all rows of a benchmark, or those of its train or test set; extra are "
    "svhn's easier images.",
    **_OF_EXPERTS,
)
flags.DEFINE_enum(
    "moons_distance",
    DEFAULTS["moons_distance"],
    ("near", "far"),
    "Distance of the half circles of moons.",
    **_OF_EXPERTS,
)
flags.DEFINE_enum(
    "tfidf_scaling",
    DEFAULTS["tfidf_scaling"],
    list(preprocessing.TFIDF_SCALINGS),
    f"Length of the rows of {', '.join(TEXTS)}: sqrt_dim (square root of the number of "
    "words, as published) or unit. The default --variance goes with it.",
    **_OF_EXPERTS,
)
_RESUME = flags.DEFINE_boolean(
    "resume", False, "Continue the interrupted run in --workdir."
)
_OVERWRITE = flags.DEFINE_boolean(
    "overwrite", False, "Delete the run in --workdir and start anew."
)
flags.DEFINE_float(
    "checkpoint_seconds",
    30.0,
    "Least time between two checkpoints within a stage.",
    lower_bound=0.0,
    **_OF_EXPERTS,
)


# Flags that the configuration holds as they are given.
_OF_THE_SAME_NAME = (
    *("method", "seed", "moons_distance", "tfidf_scaling", "data_dir", "resume"),
    *("overwrite", "checkpoint_seconds", "label", "scaling", "num_rows", "layer"),
    *("split", "stability", "batch"),
)
_OF_EVERY = [field.name for field in dataclasses.fields(presets.Preset)]


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


_DEFINE = {
    bool: flags.DEFINE_boolean,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
}


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
            methods, setting = methods_with(field.name), settings[field.name]
            text = f"{setting.text} Default: the preset's."
            if len(methods) < len(METHODS):
                text += f" Of {', '.join(methods)}."
            if field.name == "num_clusters":
                text += " Of dgg also auto: estimated without labels."
                flags.DEFINE(_NumClusters(), field.name, None, text)
            elif setting.choices:
                flags.DEFINE_enum(
                    field.name, None, setting.choices, text, **_OF_EXPERTS
                )
            elif field.type in _DEFINE:
                _DEFINE[field.type](field.name, None, text, **_OF_EXPERTS)
            else:
                text += " Separated by commas."
                flags.DEFINE_list(field.name, None, text, **_OF_EXPERTS)
    return kinds


_PRESET_FLAGS = tuple(_define_preset_flags())


def from_flags(check_method: bool = True) -> Config:
    """Resolves the parsed flags.

    Args:
      check_method: whether --method is meant; a comparison has its own list.

    Raises:
      InvalidInput: if a value is out of range, or flags contradict each other.
    """
    if _RESUME.value and _OVERWRITE.value:
        raise checks.InvalidInput("--resume and --overwrite exclude each other.")
    changes = changes_from_flags()
    if not check_method:
        changes = {k: v for k, v in changes.items() if k in _OF_EVERY}
    for name in changes:
        if _METHOD.value not in methods_with(name):
            raise checks.InvalidInput(
                f"--{name} is no setting of --method={_METHOD.value}, but of "
                f"{', '.join(methods_with(name))}; leave it out."
            )
    is_auto = changes.get("num_clusters") == AUTO
    if is_auto:
        if not presets.preset_class(_METHOD.value).counts_clusters:
            raise checks.InvalidInput(
                f"--num_clusters=auto is of --method=dgg, not {_METHOD.value}; give a "
                "number, such as the one that dgg finds."
            )
        changes["num_clusters"] = cluster_count.UNKNOWN
    config = Config(
        **{name: flags.FLAGS[name].value for name in _OF_THE_SAME_NAME},
        dataset=ALIASES.get(_DATASET.value, _DATASET.value),
        preset_name=_PRESET.value,
        preset=presets.Preset(),  # until its data are there
        workdir=pathlib.Path(WORKDIR.value or ""),
        changes=changes,
        own=_own_data(),
        image_size=_image_size(),
        image_shape=_image_shape(),
        is_auto=is_auto,
    )
    config = config._replace(preset=config.preset_with({}))
    if WORKDIR.value:
        return config
    name = f"{config.short_name}-{config.method}{config.preset_part}-{config.seed}"
    return config._replace(workdir=pathlib.Path(f"runs/{name}"))


def _own_data() -> Dataset | None:
    """The data in a file of one's own, which --dataset names; None of a benchmark.

    Raises:
      InvalidInput: if flags do not fit --dataset, or the file cannot be used.
    """
    name = ALIASES.get(_DATASET.value, _DATASET.value)
    options = {
        "scaling": _SCALING.value,
        "image_size": _image_size(),
        "layer": _LAYER.value,
        "image_shape": _image_shape(),
        "batch": BATCH.value,
    }
    if name in DATASETS:
        own.refuse_options(name, _LABEL.value, **options)
        return None
    if own.is_path(name):
        if _PRESET.value in ("paper", "released"):
            raise checks.InvalidInput(
                f"--preset={_PRESET.value} has the values of the papers or their code "
                f"for their data sets, and none for {name}; use default or smoke."
            )
        if flags.FLAGS["num_clusters"].value is None:
            raise checks.InvalidInput(
                f"--num_clusters is missing: say how many clusters {name} shall go "
                "into; auto estimates it (--method=dgg)."
            )
    whole = data.load(name, label=_LABEL.value, split=_SPLIT.value, **options)
    return random_rows(whole, _NUM_ROWS.value)


def _image_size() -> tuple[int, int] | None:
    if not _IMAGE_SIZE.value:
        return None
    size = integers("image_size", _IMAGE_SIZE.value)
    if len(size) != 2 or min(size) < 1:
        raise checks.InvalidInput(
            f"--image_size must be H,W, as in 32,32; got {','.join(map(str, size))}."
        )
    return size


def _image_shape() -> tuple[int, ...] | None:
    """Of the image in a row; () if there is none, None if it is not said."""
    if _IMAGE_SHAPE.value is None:
        return None
    if _IMAGE_SHAPE.value == ["none"]:
        return ()
    return integers("image_shape", _IMAGE_SHAPE.value)


def changes_from_flags() -> dict[str, Any]:
    """The settings that flags have changed."""
    values = {name: flags.FLAGS[name].value for name in _PRESET_FLAGS}
    return {name: _setting(name, v) for name, v in values.items() if v is not None}


def _setting(name: str, value: Any) -> Any:
    """The value of a setting, whose flag may be a list."""
    return integers(name, value) if isinstance(value, list) else value


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
        return _setting(name, flags.FLAGS[name].parser.parse(text))
    except ValueError as error:
        if isinstance(error, checks.InvalidInput):
            raise
        raise checks.InvalidInput(f"{name}={text} is not valid: {error}.") from None


def integers(name: str, values: list[str]) -> tuple[int, ...]:
    """What a flag lists.

    Raises:
      InvalidInput: if it is not integers.
    """
    try:
        return tuple(int(value) for value in values)
    except ValueError:
        raise checks.InvalidInput(
            f"{name} must be integers separated by commas, got {','.join(values)!r}."
        ) from None
