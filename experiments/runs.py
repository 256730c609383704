"""One run: its workdir, from the data to the report."""

import json
import pathlib
import shutil
import signal
import sys
import time
from typing import Any

from dgg_jax import checks
from experiments.config import Config


def check_workdir(config: Config) -> dict[str, Any] | None:
    """Refuses a workdir of another run; returns the result of this one if finished."""
    path = config.workdir / "config.json"
    try:
        if not path.exists():
            if config.workdir.is_dir() and any(config.workdir.iterdir()):
                raise checks.InvalidInput(
                    f"{config.workdir} is not empty and holds no run of this program; "
                    "choose another --workdir."
                )
            if config.resume:
                raise checks.InvalidInput(
                    f"there is no run to resume in {config.workdir}; start it without "
                    "--resume, or name its --workdir."
                )
            return None
        theirs = json.loads(path.read_text())
        if not isinstance(theirs, dict) or "preset_values" not in theirs:
            raise checks.InvalidInput(
                f"{path} is not of this program; choose another --workdir."
            )
        if config.overwrite:
            return None
        different = _differences(theirs, config.identity())
        if different:
            raise checks.InvalidInput(
                f"{config.workdir} holds a run of another configuration (there: "
                f"{different}); choose another --workdir, or delete it by --overwrite."
            )
        result = config.workdir / "result.json"
        if result.exists():
            return json.loads(result.read_text())
        if not config.resume:
            raise checks.InvalidInput(
                f"{config.workdir} holds this run, unfinished; continue it by --resume "
                "or start anew by --overwrite."
            )
        return None
    except (OSError, ValueError) as error:
        if isinstance(error, checks.InvalidInput):
            raise
        raise checks.InvalidInput(
            f"workdir {config.workdir} cannot be used: {error}."
        ) from error


def _differences(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """The settings of another run that differ from ours, as flags."""
    theirs, ours = (
        {**one, **one.get("preset_values", {}), "preset_values": None}
        for one in (theirs, json.loads(json.dumps(ours)))
    )
    names = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    return ", ".join(f"{name}={theirs.get(name)}" for name in names)


def claim_workdir(config: Config) -> None:
    """Makes the workdir, empty if it is to be overwritten, with config.json.

    Raises:
      InvalidInput: if it cannot be written.
    """
    from dgg_jax.methods.base import write_atomically

    try:
        if config.overwrite and config.workdir.exists():
            shutil.rmtree(config.workdir)
        config.workdir.mkdir(parents=True, exist_ok=True)
        text = json.dumps(config.identity(), indent=2)
        write_atomically(config.workdir / "config.json", text + "\n")
    except OSError as error:
        raise checks.InvalidInput(
            f"workdir {config.workdir} cannot be written: {error.strerror or error}; "
            "choose another --workdir."
        ) from error


class StopSignal:
    """Remembers the first SIGINT or SIGTERM; the second ends the process."""

    def __init__(self):
        self.received: int | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def _receive(self, number, frame):
        self.received = number
        signal.signal(number, signal.SIG_DFL)
        print(
            "\nStopping at the next checkpoint; once more to stop at once.",
            file=sys.stderr,
        )

    def __call__(self) -> bool:
        """Whether a signal has come."""
        return self.received is not None


def check_data(config: Config, dataset: Any) -> None:
    """Checks that a method can serve a data set, before any work.

    Raises:
      InvalidInput: if not; the message says what to change.
    """
    checks.data_matrix(
        dataset.x,
        config.preset.num_clusters,
        unit_interval=getattr(config.preset, "likelihood", None) == "bernoulli",
    )
    if config.method == "gmvae":
        from dgg_jax.methods import gmvae

        gmvae.check(config.preset, dataset.feature_shape)


def train_and_report(
    config: Config,
    dataset: Any,
    stop: StopSignal,
    shared: pathlib.Path | None = None,
) -> dict[str, Any]:
    """Runs all stages and writes result.json, predictions.npz and the report.

    Args:
      config: of the run; its workdir exists.
      dataset: what to cluster.
      stop: asked whether to stop.
      shared: folder of what runs on the same data have in common.

    Returns:
      The content of result.json.

    Raises:
      Interrupted: if it was asked to stop; everything so far is in the workdir.
      Diverged: if a loss is not finite; so is everything before that.
    """
    began = time.monotonic()
    # jax and what needs it take seconds to import; mistakes are told before.
    from dgg_jax import estimators, methods
    from dgg_jax.methods import base
    from dgg_jax.progress import Progress
    from experiments import report, results

    print(f"{config.method} on {dataset.provenance}", flush=True)
    progress = Progress(methods.stage_names(config.method))
    runner = base.Run(
        config.workdir,
        shared=shared,
        checkpoint_seconds=config.checkpoint_seconds,
        on_epoch=progress.epoch,
        on_stage=progress.stage,
        should_stop=stop,
    )
    progress.resume(runner.records)
    try:
        model, state, records = methods.method(config.method).run(
            dataset.x,
            config.preset,
            seed=config.seed,
            y=dataset.y,
            runner=runner,
            **_of_the_data(config, dataset),
        )
    finally:
        progress.close()
        runner.close()
    estimator = estimators.of_run(
        config.method,
        config.preset,
        state,
        records,
        runner.history,
        seed=config.seed,
        dataset=dataset,
    )
    if estimator is not None:
        estimator.save(config.workdir / "model", overwrite=True)
    result = results.collect(config, dataset, records, time.monotonic() - began)
    predictions = results.predictions(state)
    base.write_atomically(config.workdir / "predictions.npz", predictions)
    report.write_report(
        config.workdir,
        results.report_inputs(config, dataset, result, runner.history, model, state),
    )
    # Last: its presence says that the run is finished.
    text = json.dumps(result, indent=2) + "\n"
    base.write_atomically(config.workdir / "result.json", text)
    return result


def _of_the_data(config: Config, dataset: Any) -> dict[str, Any]:
    """What GMVAE alone is told: the shape of an image, and the rows of the test."""
    if config.method != "gmvae":
        return {}
    return {"feature_shape": dataset.feature_shape, "is_test": dataset.is_test}
