"""The configuration of a run: what makes two runs the same run."""

import dataclasses
import pathlib
import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from dgg_jax import checks, data, presets
from dgg_jax.data import Dataset, preprocessing
from dgg_jax.data.dataset import random_rows, without_counts
from dgg_jax.data.reuters import TEXTS
from dgg_jax.presets import Preset
from dgg_jax.runs.programs import program

AUTO = "auto"  # in place of K
COUNTS = "negative_binomial"  # the likelihood of these
# What is meant where nothing is said.
DEFAULTS = {
    "method": "dgg",
    "dataset": "digits",
    "preset": "default",
    "seed": 0,
    "moons_distance": "near",
    "tfidf_scaling": "sqrt_dim",
    "scaling": "auto",
    "split": "all",
    "stability": 0,
}


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
      changes: settings that were given, not left to the preset.
      own: the data of one's own, which the settings depend on; None of a benchmark.
      label: of such data: the column with the classes, or None.
      scaling: of such data, as it was asked for.
      image_size: of a folder of images, or None.
      layer: of an .h5ad file, or None for X.
      image_shape: of the image in a row of such data, () if there is none; None if it
        was not said.
      batch: of such data: the column with the batch of each row, or None.
      split: all rows of a benchmark, or those of train, test or extra.
      num_rows: of a random part of the data, or None for all.
      stability: how often the run is repeated on four fifths of the rows.
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
    changes: Mapping[str, Any] = MappingProxyType({})
    own: Dataset | None = None
    label: str | None = None
    scaling: str = DEFAULTS["scaling"]
    image_size: tuple[int, int] | None = None
    layer: str | None = None
    image_shape: tuple[int, ...] | None = None
    batch: str | None = None
    split: str = DEFAULTS["split"]
    num_rows: int | None = None
    stability: int = DEFAULTS["stability"]
    is_auto: bool = False
    cluster_count: dict[str, Any] | None = None

    @property
    def short_name(self) -> str:
        """The name of the data set, or of a part of it, for folders."""
        name = self.dataset if self.own is None else pathlib.Path(self.own.name).stem
        if self.split != DEFAULTS["split"]:
            name = f"{name}-{self.split}"
        is_moons = self.own is None and self.dataset == "moons"
        if is_moons and self.moons_distance != DEFAULTS["moons_distance"]:
            name = f"{name}-{self.moons_distance}"
        return name if self.num_rows is None else f"{name}-{self.num_rows}"

    @property
    def is_whole(self) -> bool:
        """Whether all rows of the data set are clustered."""
        return self.num_rows is None and self.split == DEFAULTS["split"]

    @property
    def preset_part(self) -> str:
        """What the preset adds to the names of folders: of the default one nothing."""
        is_default = self.preset_name == DEFAULTS["preset"]
        return "" if is_default else f"-{self.preset_name}"

    def identity(self) -> dict[str, Any]:
        """What makes two runs the same run, as config.json holds it."""
        identity = {
            "method": self.method,
            "dataset": self.dataset,
            "preset": self.preset_name,
            "seed": self.seed,
            "preset_values": dataclasses.asdict(self.preset),
        }
        if self.split != DEFAULTS["split"]:
            identity["split"] = self.split
        if self.num_rows is not None:
            identity["num_rows"] = self.num_rows
        if self.stability:
            identity["stability"] = self.stability
        if self.dataset == "moons":
            identity["moons_distance"] = self.moons_distance
        if self.dataset in TEXTS:
            identity["tfidf_scaling"] = self.tfidf_scaling
        if self.own is not None:
            identity["label"] = self.label
            identity["scaling"] = self.scaling
            identity["image_size"] = self.image_size
            identity["layer"] = self.layer
            identity["image_shape"] = self.image_shape
            identity["data_sha256"] = self.own.fingerprint
            if self.batch is not None:
                identity["batch"] = self.batch
        if self.is_auto:
            identity["num_clusters"] = AUTO
            identity["cluster_count"] = self.cluster_count
        return identity

    def with_cluster_count(self, count: dict[str, Any]) -> "Config":
        """The configuration with the K that was estimated, and what depends on it.

        Args:
          count: the estimate, as ``ClusterCount._asdict``.
        """
        preset = self.preset_with({"num_clusters": count["num_clusters"]})
        return self._replace(preset=preset, cluster_count=count)

    def preset_with(self, changes: Mapping[str, Any]) -> Preset:
        """The preset of the method with what was given, and with further changes.

        Args:
          changes: of settings.

        Raises:
          InvalidInput: if a value is out of range.
        """
        changes = {**self.changes, **changes}
        if self.own is not None:
            kind = presets.preset_class(self.method)
            if self.own.likelihood == COUNTS and kind.takes_counts:
                changes = {"likelihood": COUNTS} | changes
            own = self._taken(self.own, changes.get("likelihood"))
            return presets.for_data(
                self.method,
                own.x,
                image_shape=own.image_shape,
                name=self.preset_name,
                **changes,
            )
        preset = presets.preset(
            self.method, self.dataset, self.preset_name, self.num_rows
        )
        return resolve(self._of_scaling(preset), changes)

    def taken(self, dataset: Dataset) -> Dataset:
        """A data set as the method takes it.

        Those of counts are their logarithms where the likelihood is another one.

        Raises:
          InvalidInput: if values are missing, and the method needs all.
        """
        return self._taken(dataset, getattr(self.preset, "likelihood", None))

    def _taken(self, dataset: Dataset, likelihood: str | None) -> Dataset:
        if self.own is None:
            return dataset
        kind = presets.preset_class(self.method)
        if not kind.takes_missing and checks.missing(dataset.x):
            raise checks.InvalidInput(
                f"{self.dataset} misses values, which method {self.method} cannot do "
                "without; impute them, or use dgg, vade, dec or what clusters an "
                "autoencoder's latents."
            )
        has_counts = dataset.likelihood == COUNTS
        return (
            without_counts(dataset) if has_counts > (likelihood == COUNTS) else dataset
        )

    def _of_scaling(self, preset: Preset) -> Preset:
        """The preset of a data set, whose variance goes with the scaling of texts."""
        if self.dataset not in TEXTS or not hasattr(preset, "variance"):
            return preset
        variance = preprocessing.tf_idf_variance(
            preset.variance, preprocessing.NUM_WORDS, self.tfidf_scaling
        )
        return dataclasses.replace(preset, variance=variance)

    def load(self) -> Dataset:
        """The data set, the same for all methods.

        Raises:
          InvalidInput: if it cannot be used.
          MissingData: if it cannot be found.
        """
        if self.own is not None:
            return self.own
        whole = data.load(
            self.dataset,
            data_dir=self.data_dir,
            split=self.split,
            moons_distance=self.moons_distance,
            tfidf_scaling=self.tfidf_scaling,
        )
        return random_rows(whole, self.num_rows)

    def command(self) -> str:
        """The command that starts this run by itself."""
        values = {**self.identity(), "data_dir": self.data_dir}
        for name in ("preset_values", "data_sha256", "cluster_count"):
            values.pop(name, None)
        changed = {k: v for k, v in values.items() if v != DEFAULTS.get(k)}
        num_clusters = self.preset.num_clusters
        given: dict[str, Any] = {}
        if self.own is not None:
            changed.setdefault("num_clusters", num_clusters)
            given["num_clusters"] = num_clusters
        unchanged = self._replace(changes={}).preset_with(given)
        if self.is_auto:
            unchanged = dataclasses.replace(unchanged, num_clusters=num_clusters)
        for field in dataclasses.fields(unchanged):
            value = getattr(self.preset, field.name)
            if value != getattr(unchanged, field.name):
                changed[field.name] = value
        if changed.get("image_shape") == ():  # which says that rows are no images
            changed["image_shape"] = "none"
        words = [f"--{name}={as_flag(value)}" for name, value in changed.items()]
        return shlex.join([*program("run"), *words])


def as_flag(value: Any) -> str:
    """The value of a flag, as one writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)


def resolve(preset: Preset, changes: Mapping[str, Any]) -> Preset:
    """A preset with changes.

    Raises:
      InvalidInput: if a value is out of range.
    """
    if "num_neighbors" in changes and hasattr(preset, "num_candidates"):
        # Asking for more neighbours than there are candidates asks for both.
        wider = max(preset.num_candidates, changes["num_neighbors"])
        changes = {"num_candidates": wider, **changes}
    return dataclasses.replace(preset, **changes)
