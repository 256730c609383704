"""Compares methods on one data set: same data, seeds, metrics and pretrained weights.

  dgg-jax compare  # every method on digits, 5 seeds
  dgg-jax compare --dataset=mnist --methods=vade,ae_gmm,kmeans --seeds=0,1

Each run lives in a folder of --workdir, as one made alone would. Methods that
start from an autoencoder start from the same weights, trained once a seed; by default
DGG and what clusters its embedding have their own, which starts as if rows were
centred. The same command continues a comparison that was stopped and adds what it
does not have yet.
Writes comparison.csv, comparison.md and report.html after every run.

Below are the flags that most comparisons need; --helpfull lists all, under "expert
settings" every setting of the methods.
"""

import functools
from collections.abc import Sequence

from absl import flags

from dgg_jax import checks, presets
from dgg_jax.cli import command, series
from dgg_jax.cli import flags as run_flags
from dgg_jax.reports import comparison
from dgg_jax.runs.config import Config
from dgg_jax.storage import folders

_METHODS = flags.DEFINE_list(
    "methods", list(presets.METHODS), "Methods to compare, separated by commas."
)
flags.declare_key_flag("seeds")
flags.adopt_module_key_flags(run_flags)


def main(arguments: Sequence[str]) -> int:
    """Parses, runs and reports; a user's mistake is one line on stderr."""
    return command.answer(arguments, _compare, example="--dataset=digits")


def configurations() -> list[Config]:
    """The runs that the flags ask for, seed by seed.

    Raises:
      InvalidInput: if a method or seed is not valid, or a setting is of none of them.
    """
    foreign = ("method", "seed", "resume")
    instead = "--methods and --seeds"
    base = series.shared_config("a comparison", "compare", foreign, instead)
    resolved = _presets(base)
    return [
        base._replace(
            method=method,
            preset=preset,
            seed=seed,
            workdir=base.workdir / f"{method}-{seed}",
            resume=False,
            overwrite=False,
        )
        for seed in series.seeds()
        for method, preset in resolved.items()
    ]


def _presets(base: Config) -> dict[str, presets.Preset]:
    """The settings of each method: a flag changes all methods that have it."""
    if not _METHODS.value:
        raise checks.InvalidInput(
            f"methods must name at least one of: {', '.join(presets.METHODS)}."
        )
    for method in _METHODS.value:
        checks.one_of("methods", method, presets.METHODS)
    changes = run_flags.changes_from_flags()
    resolved = {}
    for method in dict.fromkeys(_METHODS.value):
        kept = {k: v for k, v in changes.items() if method in run_flags.methods_with(k)}
        resolved[method] = base._replace(method=method).preset_with(kept)
    for name in changes:
        if not any(hasattr(preset, name) for preset in resolved.values()):
            raise checks.InvalidInput(
                f"--{name} is a setting of none of the methods {', '.join(resolved)}, "
                f"but of {', '.join(run_flags.methods_with(name))}; leave it out."
            )
    return resolved


def _compare() -> int:
    configs = configurations()
    overwrite = flags.FLAGS["overwrite"].value
    made = series.Series("comparison", "compare", configs, overwrite)

    def clear():
        series.clear_runs(path.parent for path in made.workdir.glob("*/config.json"))
        folders.clear(made.workdir, marker=made.marker)

    return series.carry_out(made, functools.partial(_write, made), clear)


def _write(made: series.Series, results: series.Results) -> str:
    """Writes the table of what is finished as csv, markdown and a page.

    Returns:
      The table in markdown, and where the page is.
    """
    from dgg_jax.reports import comparison_page

    configs, workdir = made.configs, made.workdir
    # In the order of the command, not in that in which they came.
    order = list(dict.fromkeys(config.method for config in configs))
    finished = [results[c.workdir] for c in configs if c.workdir in results]
    finished.sort(key=lambda result: order.index(result["config"]["method"]))
    rows, dataset = comparison.table(finished), comparison.reported_data(finished[0])
    text = comparison.markdown(rows, dataset) + "\n"
    reports = {
        (config.method, config.seed): f"{config.workdir.name}/report.html"
        for config in configs
        if config.workdir in results
    }
    page = comparison_page.html(rows, dataset, finished, made.command(), reports)
    files = {
        "comparison.csv": comparison.comma_separated(rows, dataset),
        "comparison.md": text,
        "report.html": page,
    }
    for name, content in files.items():
        folders.write_atomically(workdir / name, content)
    return f"{text}\n{_to_take(made, results)}Report   {workdir / 'report.html'}"


def _to_take(made: series.Series, results: series.Results) -> str:
    """A line on the run that stands best, where there is one."""
    finished = [one for one in made.configs if one.workdir in results]
    best = comparison.best_standing([results[one.workdir] for one in finished])
    if best is None:
        return ""
    (workdir,) = [one.workdir for one in finished if results[one.workdir] is best]
    return (
        f"Best     {workdir}, told without labels: of the runs that have a standing it "
        f"has the highest, {comparison.standing(best):.3f}\n"
    )
