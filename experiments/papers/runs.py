"""The runs that figures and tables are of: saved, or trained where there are none."""

import functools
import json
import pathlib
import shlex
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from dgg_jax import presets
from dgg_jax.log import LOGGER
from dgg_jax.runs import kept
from dgg_jax.runs import run as runs
from dgg_jax.runs.config import DEFAULTS, Config, as_flag
from dgg_jax.runs.finished import FinishedRun, load_run

# What two commands of the same run may differ by.
_RESULTS = pathlib.Path("results")
_PLACES = ("data_dir", "workdir", "resume", "overwrite")


class Asked(NamedTuple):
    """A run, by what ``python -m experiments.main`` would be told.

    Attributes:
      dataset: one of DATASETS.
      method: one of METHODS.
      settings: what the preset is changed by.
      preset: its name.
      distance: of the half circles, near or far.
      num_rows: of a random part of the data set, or None for all.
      seed: beyond that of the command line.
    """

    dataset: str
    method: str = "dgg"
    settings: Mapping[str, Any] = MappingProxyType({})
    preset: str = DEFAULTS["preset"]
    distance: str = DEFAULTS["moons_distance"]
    num_rows: int | None = None
    seed: int = 0


class Library(NamedTuple):
    """Where runs are kept, and what all of them are told.

    Attributes:
      folder: of the runs.
      stop: asked whether to stop.
      data_dir: folder of data files, or None for the default.
      seed: of every random number.
    """

    folder: pathlib.Path
    stop: Callable[[], bool]
    data_dir: str | None = None
    seed: int = 0

    def config(self, asked: Asked) -> Config:
        """The configuration of a run; its folder says what it is of.

        Raises:
          InvalidInput: if a setting is not valid.
        """
        config = Config(
            method=asked.method,
            dataset=asked.dataset,
            preset_name=asked.preset,
            preset=presets.Preset(),  # until it is resolved
            seed=self.seed + asked.seed,
            moons_distance=asked.distance,
            tfidf_scaling=DEFAULTS["tfidf_scaling"],
            data_dir=self.data_dir,
            workdir=self.folder,
            resume=False,
            overwrite=False,
            checkpoint_seconds=30.0,
            changes=dict(asked.settings),
            num_rows=asked.num_rows,
        )
        config = config._replace(preset=config.preset_with({}))
        changed = "+".join(f"{k}={as_flag(v)}" for k, v in asked.settings.items())
        parts = (asked.method, changed, config.preset_part.strip("-"), str(config.seed))
        name = "-".join(part for part in parts if part)
        return config._replace(workdir=self.folder / config.short_name / name)

    def result(self, asked: Asked, *, train: bool) -> dict[str, Any] | None:
        """The content of result.json of a run.

        It is taken from ``results/`` if there is one of the same command, else as by
        ``run``.

        Args:
          asked: the run.
          train: whether to train what is not there; else it is None.
        """
        config = self.config(asked)
        found = saved_results().get(arguments(config.command()))
        if found is not None:
            return found
        if train:
            return self.run(asked).result
        return self._result(config) if config.workdir.exists() else None

    def run(self, asked: Asked) -> FinishedRun:
        """A run as it is saved, after it was trained or trained on where it was not.

        Raises:
          InvalidInput: if it cannot be; MissingData, if its data are not there.
          Interrupted: if it was asked to stop; what there is stays.
          Diverged: if a loss is not finite.
        """
        config = self.config(asked)
        if self._result(config) is None:
            LOGGER.info(f"\n{config.workdir}")
            dataset = runs.load_data(config)
            runs.check_data(config, dataset)
            runs.run(config, dataset, self.stop, config.workdir.parent / "shared")
        return load_run(config.workdir, self.data_dir)

    def _result(self, config: Config) -> dict[str, Any] | None:
        begun = kept.read_config(config.workdir, tell=False) is not None
        return runs.check_workdir(config._replace(resume=begun))


@functools.cache
def saved_results() -> dict[frozenset[str], dict[str, Any]]:
    """What results/ holds, the latest by what each run was told."""
    found = {}
    for path in sorted(_RESULTS.rglob("*.json")):
        result = json.loads(path.read_text())
        if isinstance(result, dict) and {"final", "command"} <= result.keys():
            key = arguments(result["command"])
            if key not in found or result["finished"] > found[key]["finished"]:
                found[key] = result
    return found


def arguments(command: str) -> frozenset[str]:
    """What a command tells its program, without the places of files and the order."""
    given = shlex.split(command)
    return frozenset(
        word
        for word in given
        if word.startswith("--")
        and word.lstrip("-").partition("=")[0] not in _PLACES
        and word != "--seed=0"
    )
