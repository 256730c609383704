"""Clusters a data set with DGG or another method, from raw data to a report.

  dgg-jax run  # digits, half a minute
  dgg-jax run --dataset=moons
  dgg-jax run --method=vade
  dgg-jax run --dataset=mnist --data_dir=<folder with the idx files>
  dgg-jax run --dataset=flowers.csv --num_clusters=3 --label=species
  dgg-jax run --dataset=flowers.csv --num_clusters=auto

Writes config.json, metrics.jsonl, checkpoints/, result.json, predictions.npz,
figures/*.png and report.html to --workdir. A run that was stopped continues with
--resume; --profile says where the seconds go.

Below are the flags that most runs need; --helpfull lists all, under "expert
settings" every setting of the methods.
"""

import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from dgg_jax.cli import command, distributed
from dgg_jax.cli import flags as run_flags
from dgg_jax.progress import as_trained
from dgg_jax.reports import scores
from dgg_jax.reports.cells import spread
from dgg_jax.runs import run as runs

flags.adopt_module_key_flags(run_flags)
_PROFILE = flags.DEFINE_boolean(
    "profile",
    False,
    "Say where the seconds go, stage by stage, and write traces of two epochs of each "
    "loop to profile/ in --workdir.",
)


def main(arguments: Sequence[str]) -> int:
    """Parses, runs and reports; a user's mistake is one line on stderr."""
    return command.answer(arguments, _run, example="--dataset=digits")


def _run() -> int:
    config = run_flags.from_flags()
    distributed.join()
    count = distributed.on_first(lambda: runs.estimated_cluster_count(config))
    if count is not None:
        config = config.with_cluster_count(count)
    finished = distributed.on_first(lambda: runs.check_workdir(config))
    if finished is not None:
        print(f"{config.workdir} holds this run, finished; --overwrite repeats it.\n")
        print(_summary(finished, config.workdir))
        return 0
    dataset = distributed.ahead(lambda: runs.load_data(config))
    runs.check_data(config, dataset)
    stop = command.StopSignal()
    resuming = command.continuing("run", sys.argv[1:], "--resume")
    from dgg_jax.training import Diverged, Interrupted

    try:
        result = runs.run(config, dataset, stop, profile=_PROFILE.value)
    except Interrupted:
        return command.tell_stopped(stop, config.workdir, resuming)
    except Diverged as error:
        return command.fail(
            f"training diverged: {error}. The last good checkpoint is kept in "
            f"{config.workdir / 'checkpoints'}; a lower --learning_rate may help.",
            command.EXIT_DIVERGED,
        )
    except OSError as error:
        return command.fail_to_write(error, config.workdir, resuming)
    print("\n" + _summary(result, config.workdir))
    return 0


def _summary(result: dict[str, Any], workdir: pathlib.Path) -> str:
    """What was reached, what the paper reports, where the report lies."""
    rows = [("stage", "seconds", "ACC", "NMI", "ARI", "ELBO")]
    for record in result["stages"]:
        digits = {"seconds": 1, "accuracy": 4, "nmi": 4, "ari": 4, "elbo": 2}
        trained = as_trained(record)
        row = [spread([trained.get(name)], n) for name, n in digits.items()]
        rows.append((record["name"], *row))
    lines = [
        f"  {row[0]:<12}" + "".join(f"{value:>10}" for value in row[1:]) for row in rows
    ]
    if any(record.get("undone") for record in result["stages"]):
        lines.append("  Training was undone: the model from before it stood better.")
    lines += _where_the_seconds_go(result.get("profile") or [])
    reached = _reached(result["final"])
    lines += ["", f"Reached  {reached}, in {result['seconds']:.0f} s."]
    sure = result["final"].get("confidence")
    if sure is not None and sure < 1.0:
        text = f"{sure:.3f} on average; the report has the rows to check."
        lines.append(f"Sure     {text}")
    stability = result.get("stability")
    if stability is not None:
        lines.append(f"Stable   {_stable(stability)}")
    paper = result["paper"]
    if paper is not None:
        name = scores.NAMES[scores.reported(result)]
        lines.append(f"Paper    {name} {paper['accuracy']:.4f} ({paper['source']}).")
    warning = scores.warning(result)
    if warning is not None:
        lines.append(warning)
    if (result.get("config") or {}).get("preset") == "smoke":
        lines.append(
            "Smoke    shows that everything runs; leave --preset out for results."
        )
    lines.append(f"Report   {workdir / 'report.html'}")
    return "\n".join(lines)


def _where_the_seconds_go(profile: list[dict[str, Any]]) -> list[str]:
    """The table of --profile, loops below their stage."""
    if not profile:
        return []
    names = ("seconds", "training", "tracing", "compiling", "rest")
    rows = [("where the seconds go", *names)]
    for one in profile:
        count = one["epochs"]
        in_stage = f"  {one['loop']}, {count} epoch{'s' * (count > 1)}"
        name = one["stage"] if one["loop"] is None else in_stage
        rows.append((name, *(f"{one[part]:.1f}" for part in names)))
    lines = [f"  {row[0]:<32}" + "".join(f"{x:>10}" for x in row[1:]) for row in rows]
    return ["", *lines]


def _stable(stability: dict[str, Any]) -> str:
    """How much of the clusters is found again, and what their consensus reaches."""
    count = stability["repetitions"]
    parts = [
        f"ARI {stability['agreement']:.3f} with {count} repetition{'s' * (count > 1)} "
        "on four fifths of the rows"
    ]
    found = {k: v for k, v in enumerate(stability["found_again"]) if v is not None}
    least = min(found, key=found.get)
    parts.append(f"least of cluster {least}, {found[least]:.0%}, is found again")
    accuracy = stability["consensus"]["accuracy"]
    if accuracy is not None:
        parts.append(f"the consensus has accuracy {accuracy:.4f}")
    return "; ".join(parts) + "."


def _reached(final: dict[str, Any]) -> str:
    """The scores of a run, as far as it has them."""
    reached = [
        f"{name} {final[key]:.4f}"
        for key, name in scores.NAMES.items()
        if final.get(key) is not None
    ]
    if final.get("elbo") is not None:
        reached.append(f"ELBO {final['elbo']:.2f} nats")
    if final.get("accuracy") is None:
        reached = [f"{', '.join(reached) or 'clusters'} (no labels, hence no accuracy)"]
    return ", ".join(reached)
