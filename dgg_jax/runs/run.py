"""One run: its workdir, from the data to the report."""

import contextlib
import dataclasses
import functools
import json
import math
import pathlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from dgg_jax import checks, presets
from dgg_jax.data import Dataset
from dgg_jax.data.dataset import some_rows
from dgg_jax.log import LOGGER
from dgg_jax.runs import kept
from dgg_jax.runs.compiled import compiled_quickly, keep_compiled
from dgg_jax.runs.config import Config
from dgg_jax.stages import cluster_count
from dgg_jax.stages.cluster_count import ClusterCount
from dgg_jax.storage import arrays, folders

STABILITY = "stability"  # the stage of a run's repetitions
_FEW_ROWS = 10_000  # in whose smoke run compiling takes longer than all else
_MANY_BYTES = 2**27  # of float32 data, whose stages take minutes: memory counts there


def estimated_cluster_count(config: Config) -> dict[str, Any] | None:
    """What an earlier session of this run has estimated K from, if it came so far.

    Args:
      config: of the run.
    """
    if not config.is_auto or config.overwrite:
        return None
    try:
        theirs = kept.read_config(config.workdir, tell=False)
        return ClusterCount.from_dict(theirs["cluster_count"])._asdict()
    except (ValueError, KeyError, TypeError):
        return None  # not yet, or check_workdir tells what is wrong


def check_workdir(config: Config) -> dict[str, Any] | None:
    """Refuses a workdir of another run, or in use.

    Args:
      config: of the run.

    Returns:
      The result of this run if it is finished, else None.

    Raises:
      InvalidInput: if the workdir is refused; the message says why.
    """
    try:
        theirs = kept.read_config(config.workdir)
        if theirs is None:
            if config.resume:
                raise checks.InvalidInput(
                    f"there is no run to resume in {config.workdir}; start it without "
                    "--resume, or name its --workdir."
                )
            return None
        if config.overwrite:
            check_data_elsewhere(config, config.workdir)
            folders.lock(config.workdir).close()
            return None
        _refuse_another(config, theirs)
        result = _result(config)
        if result is not None:
            return result
        folders.lock(config.workdir).close()
        if not config.resume:
            raise checks.InvalidInput(
                f"{config.workdir} holds this run, unfinished; continue it by --resume "
                "or start anew by --overwrite."
            )
        return None
    except OSError as error:
        raise checks.InvalidInput(
            f"workdir {config.workdir} cannot be used: {error}; make it readable and "
            "writable or choose another --workdir."
        ) from error


def check_data_elsewhere(config: Config, workdir: pathlib.Path) -> None:
    """Refuses data that lie in a folder which is to be cleared.

    Args:
      config: of a run on them.
      workdir: that exists.

    Raises:
      InvalidInput: naming the data.
    """
    places = [] if config.data_dir is None else [config.data_dir]
    if config.own is not None:
        places.append(config.dataset)
    for place in places:
        if folders.lies_in(pathlib.Path(place).expanduser(), workdir):
            raise checks.InvalidInput(
                f"{place} lies in {workdir}, whose content --overwrite deletes; move "
                "it, or choose another --workdir."
            )


def _result(config: Config) -> dict[str, Any] | None:
    """The result that is there; to resume, one that is damaged is none."""
    try:
        return kept.read_result(config.workdir)
    except kept.Damaged as error:
        if not config.resume:
            raise
        # Of these it is told where they are restored.
        if error.path.name not in (kept.CONFIG, kept.METRICS):
            LOGGER.warning(str(error))
        return None


def _refuse_another(config: Config, theirs: dict[str, Any]) -> None:
    """Refuses a run of another configuration, naming what differs."""
    different = _differences(theirs, config.identity())
    remedy = "choose another --workdir, or delete it by --overwrite"
    read_alike = {"dataset", "label", "image_size", "layer", "image_shape", "batch"}
    if "data_sha256" in different and not read_alike & different.keys():
        raise checks.InvalidInput(
            f"{config.workdir} holds a run on other data: {config.dataset} has changed "
            f"since (its SHA-256 there: {different['data_sha256']}); {remedy}."
        )
    if different:
        there = ", ".join(f"{name}={value}" for name, value in different.items())
        raise checks.InvalidInput(
            f"{config.workdir} holds a run of another configuration (there: {there}); "
            f"{remedy}."
        )


def _differences(theirs: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """The settings of another run that differ from ours.

    One that it did not know yet had its default.
    """
    ours = json.loads(json.dumps(ours))
    defaults = {
        field.name: json.loads(json.dumps(field.default))
        for field in dataclasses.fields(presets.preset_class(ours["method"]))
    }
    left_out = ("preset_values", "cluster_count")
    theirs, ours = (
        # An estimated K is "auto", whatever it has become.
        {**defaults, **one.get("preset_values", {}), **one, **dict.fromkeys(left_out)}
        for one in (theirs, ours)
    )
    names = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    return {name: theirs.get(name) for name in names}


def load_data(config: Config) -> Dataset:
    """The data set of a run; of sparse data that have to be dense, the size is told.

    Others take them as they are, and ``dgg_jax.placement.rows.place`` decides.

    Raises:
      InvalidInput: if there is none, or it does not fit into memory.
    """
    dataset = config.load()
    if takes_sparse(config) or not sparse.issparse(dataset.x):
        return dataset
    rows, columns = dataset.x.shape
    size = dataset.x.dtype.itemsize * rows * columns
    about = f"{config.dataset} of {rows:,} x {columns:,} takes {size / 2**20:,.0f} MiB"
    about += " as a dense matrix"
    memory = arrays.memory()
    if 2 * size > memory:  # training has a copy of its own
        raise checks.InvalidInput(
            f"{about}, twice in training, this machine has {memory / 2**20:,.0f} "
            "MiB; use a machine with more memory, a smaller data set such as "
            "reuters10k, or a method that makes rows dense by the batch (dgg, vade, "
            "dec or a mixture of an autoencoder's latents)."
        )
    LOGGER.info(f"{about}.")
    return dataset._replace(x=dataset.x.toarray())


def takes_sparse(config: Config) -> bool:
    """Whether a method takes sparse data as they are: those with an autoencoder do."""
    return isinstance(config.preset, presets.AutoencoderPreset)


def check_data(config: Config, dataset: Any) -> None:
    """Checks that a method can serve a data set, before any work.

    Raises:
      InvalidInput: if not; the message says what to change.
    """
    dataset = config.taken(dataset)
    checks.data_matrix(
        dataset.x,
        config.preset.num_clusters,
        unit_interval=getattr(config.preset, "likelihood", None) == "bernoulli",
        may_miss=config.preset.may_miss,
    )
    if config.preset.may_miss:
        checks.missing(dataset.x)
    if config.preset.has_counts:
        checks.counts(dataset.x)
    if config.is_auto:
        cluster_count.check_num_rows(dataset.x.shape[0])
    # Imports jax, which takes seconds; mistakes above are told before.
    from dgg_jax import methods

    shape = dataset.x.shape[0], *dataset.feature_shape
    method = methods.method(config.method)
    method.check(config.preset, shape)
    if dataset.batch is not None and "batch" not in method.told:
        takers = (
            name for name in presets.METHODS if "batch" in methods.method(name).told
        )
        raise checks.InvalidInput(
            f"--batch={config.batch}: method {config.method} has no place for the "
            f"batch of a row; leave it out, or use {' or '.join(takers)}."
        )
    if config.stability and "is_test" in method.told and dataset.is_test is not None:
        raise checks.InvalidInput(
            f"--stability repeats a clustering of all rows; {config.method} trains on "
            f"some of {config.dataset} and scores the others; leave it out, or choose "
            "--split=train."
        )


def run(
    config: Config,
    dataset: Any,
    stop: Callable[[], bool],
    shared: pathlib.Path | None = None,
    profile: bool = False,
) -> dict[str, Any]:
    """Makes a run in its workdir, or continues it, or starts it anew.

    Args:
      config: of the run.
      dataset: what to cluster.
      stop: asked whether to stop.
      shared: folder of what runs on the same data have in common; by default in the
        workdir, of what estimating K and the run proper have in common.
      profile: whether to say where the seconds go, and to trace loops.

    Returns:
      The content of result.json.

    Raises:
      InvalidInput: if a folder is in use by another process, or cannot be written;
        another configuration has run there since ``check_workdir``; or K is to be
        estimated and there are no clusters.
      Interrupted: if it was asked to stop; everything so far is in the workdir.
      Diverged: if a loss is not finite; so is everything before that.
      OSError: if a folder cannot be written any more; likewise.
    """
    began = time.monotonic()
    # jax and what needs it take seconds to import; mistakes are told before.
    from dgg_jax import methods
    from dgg_jax.progress import Progress
    from dgg_jax.runs.profile import ProfiledRun
    from dgg_jax.training import Run

    keep_compiled()
    dataset = config.taken(dataset)
    stages = methods.method(config.method).stages
    if config.stability:
        stages = (*stages, STABILITY)
    if config.is_auto:
        stages = ("num_clusters", *stages)
        shared = shared or config.workdir / "shared"
    progress = Progress(stages)
    with contextlib.ExitStack() as opened:
        try:
            kind = ProfiledRun if profile else Run
            runner = kind(
                config.workdir,
                shared=shared,
                on_lock=lambda: _claim(config),
                identity=config.identity(),
                checkpoint_seconds=config.checkpoint_seconds,
                on_epoch=progress.epoch,
                on_stage=functools.partial(_stage_ended, progress, dataset),
                should_stop=stop,
            )
            opened.callback(runner.close)
        except (FileExistsError, NotADirectoryError) as error:
            raise checks.InvalidInput(
                f"workdir {config.workdir} must be a folder: it, or what it lies in, "
                "is a file; choose another --workdir."
            ) from error
        except OSError as error:
            raise checks.InvalidInput(
                f"workdir {config.workdir} cannot be written: "
                f"{error.strerror or error}; free space, make it writable or choose "
                "another --workdir."
            ) from error
        opened.callback(progress.close)
        if config.preset_name == "smoke" and dataset.x.shape[0] <= _FEW_ROWS:
            opened.enter_context(compiled_quickly())
        return train_and_report(config, dataset, runner, progress, began)


def _stage_ended(progress: Any, dataset: Any, record: dict[str, Any]) -> None:
    """Tells it; programs of many data do not stay, as later stages have their own."""
    from dgg_jax.placement import memory

    progress.stage(record)
    x = dataset.x
    if 4 * x.shape[0] * x.shape[1] >= _MANY_BYTES:
        memory.forget_programs()


def _claim(config: Config) -> None:
    """Makes a workdir, which is locked now, that of a run."""
    theirs = kept.read_config(config.workdir, tell=False)
    if config.overwrite:
        folders.clear(config.workdir, marker=kept.CONFIG)
    elif theirs is not None:  # another may have run there since it was checked
        _refuse_another(config, theirs)
    kept.write_config(config.workdir, config.identity())


def train_and_report(
    config: Config, dataset: Any, runner: Any, progress: Any, began: float
) -> dict[str, Any]:
    """Runs all stages and writes result.json, predictions.npz and the report.

    Args:
      config: of the run.
      dataset: what to cluster.
      runner: the Run that has opened the workdir.
      progress: what tells the user.
      began: when, by the monotonic clock.

    Returns:
      The content of result.json.
    """
    from dgg_jax import methods
    from dgg_jax.placement import processes

    LOGGER.info(f"{config.method} on {dataset.provenance}")
    progress.resume(runner.records)
    if config.is_auto:
        config = _with_estimated_clusters(config, dataset, runner)
    if config.own is not None:
        LOGGER.info(f"chosen for these data: {_chosen(config)}")
    method = methods.method(config.method)
    trained = method.run(
        dataset.x,
        config.preset,
        seed=config.seed,
        y=dataset.y,
        runner=runner,
        **{name: getattr(dataset, name) for name in method.told},
    )
    # Of a run that is resumed, the runner has the record of all its stages.
    records = [record for record in trained.records if record["name"] != STABILITY]
    trained = trained._replace(records=records)
    stability = None
    if config.stability:
        state = runner.stage(
            STABILITY, _repeated, config, dataset, runner, trained.state
        )
        trained = trained._replace(state=state)
        stability = runner.records[-1] if "consensus" in state else None
    progress.close()

    def report() -> dict[str, Any]:
        runner.check_folders()
        outcome = (*trained, runner.history)
        profile = getattr(runner, "profile", None)
        result = _report(config, dataset, *outcome, began, stability, profile)
        runner.check_folders()
        return result

    return processes.on_first(report)


def _repeated(
    config: Config, dataset: Any, runner: Any, state: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The stage ``stability``: the run again, on parts of the rows."""
    from dgg_jax.stages.evaluate import label_metrics
    from dgg_jax.stages.stability import repetitions, stability

    repeated = []
    drawn = repetitions(dataset.x.shape[0], config.stability, config.seed)
    for number, (seed, rows) in enumerate(drawn, start=1):
        again = functools.partial(_labels_again, config, dataset, runner, seed, rows)
        labels = runner.remember(f"repetition_{number}", again)["labels"]
        runner.progress("repetitions", number, config.stability)
        if labels[0] >= 0:
            repeated.append((rows, labels))
    if not repeated:
        return {}, {"repetitions": 0}
    found = stability(state["labels"], repeated, config.preset.num_clusters)
    metrics = {
        "repetitions": len(repeated),
        "agreement": found.agreement,
        # Of an empty cluster nothing is found again.
        "found_again": [None if math.isnan(x) else float(x) for x in found.clusters],
        "consensus": label_metrics(dataset.y, found.consensus),
    }
    return {"consensus": found.consensus}, metrics


def _labels_again(
    config: Config, dataset: Any, runner: Any, seed: int, rows: np.ndarray
) -> dict[str, np.ndarray]:
    """The labels of some rows by a run of theirs, int32 [n]; -1 if it fails."""
    from dgg_jax import methods
    from dgg_jax.training import Diverged

    method, part = methods.method(config.method), some_rows(dataset, rows)
    told = {name: getattr(part, name) for name in method.told}
    try:
        outcome = method.run(
            part.x, config.preset, seed=seed, runner=runner.apart(), **told
        )
    except (checks.InvalidInput, Diverged) as error:
        # As where a part has fewer different rows than clusters.
        LOGGER.warning(f"a repetition is left out: {error}")
        return {"labels": np.full(len(rows), -1, np.int32)}
    return {"labels": outcome.state["labels"]}


def _with_estimated_clusters(config: Config, dataset: Any, runner: Any) -> Config:
    """Estimates K, tells what from, and fixes it in config.json."""
    from dgg_jax import methods
    from dgg_jax.placement import processes

    count = methods.method(config.method).count_clusters(
        dataset.x,
        config.preset,
        runner,
        seed=config.seed,
        image_shape=dataset.image_shape,
        batch=dataset.batch,
    )
    LOGGER.info(count.describe())
    config = config.with_cluster_count(count._asdict())
    runner.identity = config.identity()
    processes.on_first(lambda: kept.write_config(config.workdir, runner.identity))
    return config


def _report(
    config: Config,
    dataset: Any,
    model: Any,
    state: Any,
    records: list[dict[str, Any]],
    history: list[dict[str, Any]],
    began: float,
    stability: dict[str, Any] | None,
    profile: list[dict[str, Any]] | None,
) -> dict[str, Any]:
    """Writes what a finished run leaves behind; returns the content of result.json."""
    from dgg_jax import estimators
    from dgg_jax.reports import run as report
    from dgg_jax.reports.inputs import batch_table
    from dgg_jax.runs import results

    estimator = estimators.of_run(
        config.method,
        config.preset,
        state,
        records,
        history,
        seed=config.seed,
        dataset=dataset,
    )
    if estimator is not None:
        estimator.save(config.workdir / "model", overwrite=True)
    seconds = time.monotonic() - began
    result = results.collect(config, dataset, records, seconds, stability)
    if profile is not None:
        result["profile"] = profile
    if dataset.batch is not None:
        num_clusters = config.preset.num_clusters
        labels = state["labels"]
        result["batches"] = batch_table(dataset.batch, labels, num_clusters)
    predictions = results.predictions(state, dataset.names)
    folders.write_atomically(config.workdir / kept.PREDICTIONS, predictions)
    report.write_report(
        config.workdir,
        results.report_inputs(config, dataset, result, history, model, state),
    )
    # Last: its presence says that the run is finished.
    kept.write_result(config.workdir, result)
    return result


def _chosen(config: Config) -> str:
    """The settings that depend on the data, in words."""
    preset = config.preset
    values = {
        name: getattr(preset, name)
        for name in ("num_clusters", *presets.of_the_data(config.method))
        if hasattr(preset, name)
    }
    values |= {  # by the number of rows, the preset or a flag
        field.name: getattr(preset, field.name)
        for field in dataclasses.fields(preset)
        if field.name.endswith("epochs")
        and getattr(preset, field.name) != field.default
    }
    of = {"variance": "gaussian", "dispersion": "negative_binomial"}
    for name, likelihood in of.items():
        if values.get("likelihood") != likelihood:
            values.pop(name, None)
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in values.items()
    )
