"""Clusters a data set with DGG, from raw data to a report.

  python -m experiments.main                      (digits, about a minute)
  python -m experiments.main --dataset=moons
  python -m experiments.main --dataset=mnist --data_dir=<folder with the idx files>

Writes config.json, metrics.jsonl, checkpoints/, result.json, predictions.npz,
figures/*.png and report.html to --workdir. A run that was stopped continues with
--resume.
"""

import json
import pathlib
import re
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from absl import app, flags, logging

from dgg_jax import checks
from experiments import config as config_module
from experiments.config import Config

flags.adopt_module_key_flags(config_module)

_EXIT_INVALID = 2
_EXIT_DIVERGED = 3


def main(arguments: Sequence[str]) -> int:
    """Parses, runs and reports; a user's mistake is one line on stderr."""
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # orbax and jax tell a lot
    try:
        if len(arguments) > 1:
            raise checks.InvalidInput(
                f"unexpected argument {arguments[1]!r}; flags look like "
                "--dataset=digits, see --helpshort."
            )
        return _run(config_module.from_flags())
    except checks.InvalidInput as error:
        return _fail(str(error), _EXIT_INVALID)
    except KeyboardInterrupt:  # before there is anything to save
        return _fail("interrupted.", 128 + signal.SIGINT)


def _fail(message: str, status: int) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return status


def _run(config: Config) -> int:
    finished = _check_workdir(config)
    if finished is not None:
        print(f"{config.workdir} holds this run, finished; --overwrite repeats it.\n")
        print(_summary(finished, config.workdir))
        return 0
    from dgg_jax import data

    dataset = data.load(
        config.dataset, data_dir=config.data_dir, moons_distance=config.moons_distance
    )
    checks.data_matrix(
        dataset.x,
        config.preset.num_clusters,
        unit_interval=config.preset.likelihood == "bernoulli",
    )
    _claim_workdir(config)
    return _train_and_report(config, dataset)


def _check_workdir(config: Config) -> dict[str, Any] | None:
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


def _claim_workdir(config: Config) -> None:
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


class _StopSignal:
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
        return self.received is not None


def _train_and_report(config: Config, dataset: Any) -> int:
    began = time.monotonic()
    stop = _StopSignal()
    # jax and what needs it take seconds to import; mistakes are told before.
    from dgg_jax.methods import base, dgg
    from dgg_jax.training import Diverged
    from experiments import report, results
    from experiments.progress import Progress

    print(f"{config.method} on {dataset.provenance}", flush=True)
    progress = Progress(dgg.STAGES)
    runner = base.Run(
        config.workdir,
        checkpoint_seconds=config.checkpoint_seconds,
        on_epoch=progress.epoch,
        on_stage=progress.stage,
        should_stop=stop,
    )
    progress.resume(runner.records)
    try:
        model, state, records = dgg.run(
            dataset.x, config.preset, seed=config.seed, y=dataset.y, runner=runner
        )
    except base.Interrupted:
        print(f"Stopped; everything so far is in {config.workdir}. Continue with:")
        print(f"  {_resume_command(sys.argv[1:])}")
        return 128 + stop.received
    except Diverged as error:
        return _fail(
            f"training diverged: {error}. The last good checkpoint is kept in "
            f"{config.workdir / 'checkpoints'}; a lower --learning_rate may help.",
            _EXIT_DIVERGED,
        )
    finally:
        progress.close()
        runner.close()

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
    print("\n" + _summary(result, config.workdir))
    return 0


def _resume_command(arguments: Sequence[str]) -> str:
    """The command that continues the run that was started with these arguments."""
    once = re.compile(r"--?(no)?(resume|overwrite)(=.*)?")
    kept = [argument for argument in arguments if not once.fullmatch(argument)]
    return shlex.join(["python", "-m", "experiments.main", *kept, "--resume"])


def _summary(result: dict[str, Any], workdir: pathlib.Path) -> str:
    """What was reached, what the paper reports, where the report lies."""

    def cell(value, digits):
        return "-" if value is None else f"{value:.{digits}f}"

    rows = [("stage", "seconds", "ACC", "NMI", "ARI", "ELBO")]
    for record in result["stages"]:
        scores = (cell(record.get(name), 4) for name in ("accuracy", "nmi", "ari"))
        elbo = cell(record.get("elbo"), 2)
        rows.append((record["name"], cell(record["seconds"], 1), *scores, elbo))
    lines = [
        f"  {row[0]:<12}" + "".join(f"{value:>10}" for value in row[1:]) for row in rows
    ]
    final, paper = result["final"], result["paper"]
    if final["accuracy"] is None:
        reached = f"ELBO {final['elbo']:.2f} nats (no labels, hence no accuracy)"
    else:
        reached = f"accuracy {final['accuracy']:.4f}, NMI {final['nmi']:.4f}, "
        reached += f"ARI {final['ari']:.4f}, ELBO {final['elbo']:.2f} nats"
    lines += ["", f"Reached  {reached}, in {result['seconds']:.0f} s."]
    if paper is not None:
        lines.append(f"Paper    accuracy {paper['accuracy']:.4f} ({paper['source']}).")
    lines.append(f"Report   {workdir / 'report.html'}")
    return "\n".join(lines)


def _parse_flags(arguments: list[str]) -> list[str]:
    """As absl's, but a wrong flag is one line on stderr."""
    try:
        return flags.FLAGS(arguments)
    except flags.Error as error:
        sys.exit(_fail(f"{error}; see --helpshort.", _EXIT_INVALID))


if __name__ == "__main__":
    app.run(main, flags_parser=lambda arguments: _parse_flags(arguments))
