"""A series of runs in one folder, which share what does not differ between them."""

import contextlib
import json
import pathlib
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from absl import flags

from dgg_jax import checks
from dgg_jax.cli import command
from dgg_jax.cli import flags as run_flags
from dgg_jax.log import LOGGER
from dgg_jax.reports import scores
from dgg_jax.runs import kept
from dgg_jax.runs import run as runs
from dgg_jax.runs.config import AUTO, Config
from dgg_jax.runs.programs import program
from dgg_jax.storage import folders

# Shared, so that programs can be imported together.
SEEDS = flags.DEFINE_list(
    "seeds", ["0", "1", "2", "3", "4"], "Seeds of the runs, separated by commas."
)

Results = dict[pathlib.Path, dict[str, Any]]  # result.json of runs, by their workdir

# What tells data from data, and what was computed from it.
_OF_THE_DATA = (
    "preset",
    "split",
    "num_rows",
    "moons_distance",
    "tfidf_scaling",
    "label",
    "scaling",
    "image_size",
    "layer",
    "image_shape",
    "batch",
    "data_sha256",
)


class Series(NamedTuple):
    """Runs on the same data, each in a folder <name>-<seed> of one workdir.

    Attributes:
      kind: what it is, in words: comparison or study.
      command_name: what makes it: compare or study.
      configs: of all runs, in their order.
      overwrite: whether to begin anew.
    """

    kind: str
    command_name: str
    configs: Sequence[Config]
    overwrite: bool

    @property
    def workdir(self) -> pathlib.Path:
        """The folder with the folders of the runs."""
        return self.configs[0].workdir.parent

    @property
    def marker(self) -> str:
        """The file that says what the workdir holds."""
        return f"{self.kind}.json"

    def identity(self) -> dict[str, Any]:
        """What all its runs share, as the marker holds it."""
        whole = self.configs[0].identity()
        identity = {f"{self.kind}_of": self.configs[0].dataset}
        identity |= {name: whole[name] for name in _OF_THE_DATA if name in whole}
        return json.loads(json.dumps(identity))  # as it is read again

    def command(self) -> str:
        """The command that continues it."""
        return command.continuing(self.command_name, sys.argv[1:])


def name_of(config: Config) -> str:
    """What a run is called in its series, beside its seed."""
    return config.workdir.name.removesuffix(f"-{config.seed}")


def seeds() -> list[int]:
    """The seeds that --seeds lists, each once.

    Raises:
      InvalidInput: if one is not valid, or there is none.
    """
    numbers = run_flags.integers("seeds", SEEDS.value)
    for seed in numbers:
        checks.in_range("seeds", seed, 0, 2**32 - 1)
    if not numbers:
        raise checks.InvalidInput("seeds must name at least one seed.")
    return list(dict.fromkeys(numbers))


def shared_config(
    kind: str, command_name: str, foreign: Sequence[str], instead: str
) -> Config:
    """What the flags say of all runs; its workdir is that of the series.

    Args:
      kind: what the series is, in words.
      command_name: what makes it: compare or study.
      foreign: flags of a run that it has not; with --method it has a list of its own.
      instead: what it has.

    Raises:
      InvalidInput: if a flag is not valid, or runs do not have one K.
    """
    for name in foreign:
        if flags.FLAGS[name].present:
            raise checks.InvalidInput(
                f"--{name} is no flag of {kind}; use {instead}, and the same command "
                "again to continue."
            )
    if flags.FLAGS["num_clusters"].value == AUTO:
        raise checks.InvalidInput(
            f"--num_clusters=auto is not for {kind}, whose runs share one K; estimate "
            f"it by {' '.join(program('run'))}, and give the number."
        )
    config = run_flags.from_flags(check_method="method" not in foreign)
    if flags.FLAGS["workdir"].value:
        return config
    name = f"{command_name}-{config.short_name}{config.preset_part}"
    return config._replace(workdir=pathlib.Path("runs") / name)


def carry_out(
    series: Series,
    write: Callable[[Results], str],
    clear: Callable[[], None],
    known: Results | None = None,
) -> int:
    """Makes the runs that have no result yet.

    Args:
      series: of the runs.
      write: called with all results after every run, and in the end, when what it
        returns is printed.
      clear: deletes what an overwrite replaces; called when all is checked.
      known: results that are kept elsewhere.

    Returns:
      The status of the program.

    Raises:
      InvalidInput: if the folder or the data cannot be used; before any work.
    """
    _check_folder(series)
    results = dict(known or {})
    if not series.overwrite:
        others = [one for one in series.configs if one.workdir not in results]
        results |= _finished(others)
    pending = [one for one in series.configs if one.workdir not in results]
    dataset = _checked_data(pending) if pending else None
    claimed = _claim(series, clear)
    stop = command.StopSignal()
    from dgg_jax.training import Interrupted

    try:
        with claimed:
            failed = _train(series.configs, dataset, results, stop, write)
            text = write(results) if results else ""
    except Interrupted:
        return command.tell_stopped(stop, series.workdir, series.command())
    except OSError as error:
        return command.fail_to_write(error, series.workdir, series.command())
    if text:
        print(f"\n{text}")
    if failed:
        message = f"training diverged: {', '.join(failed)}; not in the table."
        return command.fail(message, command.EXIT_DIVERGED)
    return 0


def _train(
    configs: Sequence[Config],
    dataset: Any,
    results: Results,
    stop: command.StopSignal,
    write: Callable[[Results], str],
) -> list[str]:
    """Trains what has no result yet and adds its result.

    Returns:
      The runs that diverged.

    Raises:
      Interrupted: if it was asked to stop.
    """
    from dgg_jax.training import Diverged, Interrupted

    failed = []
    for number, config in enumerate(configs, start=1):
        print(f"\n[{number}/{len(configs)}] {name_of(config)}, seed {config.seed}")
        if config.workdir in results:
            print("finished earlier.", flush=True)
            continue
        if stop():
            raise Interrupted
        shared = config.workdir.parent / "shared"
        try:
            result = runs.run(config, dataset, stop, shared)
        except Diverged as error:
            print(f"diverged: {error}.", flush=True)
            failed.append(f"{name_of(config)} with seed {config.seed}")
            continue
        results[config.workdir] = result
        warning = scores.warning(result)
        if warning is not None:
            print(warning, flush=True)
        write(results)
    return failed


def _finished(configs: Sequence[Config]) -> Results:
    """The results that are there.

    Raises:
      InvalidInput: if there is a run of another configuration.
    """
    found = {}
    for config in configs:
        exists = kept.read_config(config.workdir, tell=False) is not None
        result = runs.check_workdir(config._replace(resume=exists))
        if result is not None:
            found[config.workdir] = result
    return found


def _checked_data(configs: Sequence[Config]) -> Any:
    """The data set.

    Raises:
      InvalidInput: if there is none, or a run cannot serve it.
    """
    # Those that need dense data tell how they are loaded for all.
    first = min(configs, key=runs.takes_sparse)
    dataset = runs.load_data(first)
    for config in configs:
        try:
            runs.check_data(config, dataset)
        except checks.InvalidInput as error:
            raise checks.InvalidInput(f"{name_of(config)}: {error}") from None
    return dataset


def _check_folder(series: Series) -> None:
    """Refuses the folder of anything else than this series.

    Raises:
      InvalidInput: then; if it is to be overwritten, another series is fine.
    """
    workdir, path = series.workdir, series.workdir / series.marker
    try:
        if path.exists():
            theirs = json.loads(path.read_text())
        elif not folders.is_unused(workdir):
            theirs = None
        else:
            return
    except (OSError, ValueError) as error:
        if not series.overwrite and any(workdir.glob("*/config.json")):
            LOGGER.warning(f"{path} is damaged; it is written anew.")
            return  # each run there tells what it is
        raise checks.InvalidInput(
            f"workdir {workdir} cannot be used: {error}."
        ) from error
    if series.overwrite:
        runs.check_data_elsewhere(series.configs[0], workdir)
    if not isinstance(theirs, dict) or f"{series.kind}_of" not in theirs:
        raise checks.InvalidInput(
            f"{workdir} is not empty and holds no {series.kind}; choose another "
            "--workdir."
        )
    if theirs != series.identity() and not series.overwrite:
        there = ", ".join(f"{name}={value}" for name, value in theirs.items())
        raise checks.InvalidInput(
            f"{workdir} holds another {series.kind} (there: {there}); choose another "
            "--workdir, or delete it by --overwrite."
        )


def _claim(series: Series, clear: Callable[[], None]) -> contextlib.ExitStack:
    """Makes the folder, cleared if it is to be overwritten, with its marker.

    Returns:
      What keeps other processes out of it until it is closed.

    Raises:
      InvalidInput: if it, or a run to be deleted, is in use or cannot be written.
    """
    workdir = series.workdir
    with contextlib.ExitStack() as claimed:
        try:
            claimed.enter_context(folders.lock(workdir))
            if series.overwrite:
                clear()
            text = json.dumps(series.identity(), indent=2) + "\n"
            folders.write_atomically(workdir / series.marker, text)
        except OSError as error:
            raise checks.InvalidInput(
                f"workdir {workdir} cannot be written: {error.strerror or error}; free "
                "space, make it writable or choose another --workdir."
            ) from error
        return claimed.pop_all()


def clear_runs(workdirs: Iterable[pathlib.Path]) -> None:
    """Deletes runs; none of them while one is in use.

    Args:
      workdirs: folders; those without a run are left alone.

    Raises:
      InvalidInput: if one is in use.
    """
    begun = [folder for folder in workdirs if (folder / "config.json").exists()]
    with contextlib.ExitStack() as locks:
        for folder in begun:
            locks.enter_context(folders.lock(folder))
        for folder in begun:
            folders.clear(folder, marker="config.json")
