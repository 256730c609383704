"""What single settings do: variants of a preset, over seeds, on one data set.

  python -m experiments.study --dataset=mnist --num_rows=20000 --seeds=0,1,2 \
      --variants=default,num_neighbors=1,label_epochs=0+learning_rate=1e-3

A variant is default, or settings name=value joined by "+"; one whose value has a comma
stands in quotes: --variants='default,"hidden_sizes=500,500"'. num_neighbors=0 trains
without a graph (graph_strength=0), from the same initial labels. Every other flag of
experiments.main holds for all variants.

Each run lives in a folder of --workdir, as one of experiments.main would; what does not
depend on the change, such as the pretraining, is computed once a seed. Its result goes
to <results>/<dataset>[-<rows>][-<preset>]/<variant>-<seed>.json at once, and a
configuration that has a result there is not run again: the same command continues a
study that was stopped, also without its workdir. --overwrite repeats the runs that are
named. Then

  python -m experiments.tables --study=results/study/mnist-20000

prints the tables.

Below are the flags that most studies need; --helpfull lists all, under "expert
settings" every setting of the methods.
"""

import functools
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import app, flags

from dgg_jax import checks, presets
from dgg_jax.cli import command, series
from dgg_jax.cli import flags as run_flags
from dgg_jax.presets import Preset
from dgg_jax.runs.config import Config, resolve
from dgg_jax.storage import folders

DEFAULT = "default"

_VARIANTS = flags.DEFINE_list(
    "variants", [DEFAULT], "Variants of the preset, separated by commas; see above."
)
_RESULTS = flags.DEFINE(
    command.Path(), "results", "results/study", "Folder of the results of all studies."
)
flags.declare_key_flag("seeds")
flags.adopt_module_key_flags(run_flags)


def main(arguments: Sequence[str]) -> int:
    """Parses, runs and reports; a user's mistake is one line on stderr."""
    return command.answer(arguments, lambda: _study(plan()), example="--dataset=digits")


def changes_of(variant: str, method: str) -> dict[str, Any]:
    """The settings that a variant changes.

    Args:
      variant: default, or name=value joined by "+".
      method: whose settings they are.

    Raises:
      InvalidInput: if there is no such setting, or it has no such value.
    """
    if variant == DEFAULT:
        return {}
    changes: dict[str, Any] = {}
    has_graph = "graph_strength" in presets.settings(presets.preset_class(method))
    for setting in variant.split("+"):
        name, is_given, text = setting.partition("=")
        if not is_given:
            raise checks.InvalidInput(
                f"the variant {variant!r} must be default or name=value joined by +, "
                f"got {setting!r}."
            )
        value = run_flags.parse_setting(method, name, text)
        if name == "num_neighbors" and value == 0 and has_graph:
            name, value = "graph_strength", 0.0
        if name in changes:
            raise checks.InvalidInput(
                f"the variant {variant!r} sets {name} twice; leave one out."
            )
        changes[name] = value
    return changes


def plan() -> dict[pathlib.Path, Config]:
    """The runs that the flags ask for, seed by seed, by the file of their result.

    Variants that come to the same settings, such as default and one that names a
    default value, are one run.

    Raises:
      InvalidInput: if a variant or seed is not valid.
    """
    base = series.shared_config("a study", "study", ("seed", "resume"), "--seeds")
    if not _VARIANTS.value:
        raise checks.InvalidInput("variants must name at least one variant.")
    presets_of = {
        variant: _preset(base, variant) for variant in dict.fromkeys(_VARIANTS.value)
    }
    first: dict[Preset, str] = {}
    for variant, preset in presets_of.items():
        first.setdefault(preset, variant)
    folder = pathlib.Path(_RESULTS.value) / f"{base.short_name}{base.preset_part}"
    return {
        folder / f"{variant}-{seed}.json": base._replace(
            preset=preset,
            seed=seed,
            workdir=base.workdir / f"{first[preset]}-{seed}",
            overwrite=False,
        )
        for seed in series.seeds()
        for variant, preset in presets_of.items()
    }


def _preset(base: Config, variant: str) -> Preset:
    try:
        changes = changes_of(variant, base.method)
        return resolve(base.preset, changes)
    except checks.InvalidInput as error:
        raise checks.InvalidInput(f"variant {variant}: {error}") from None


def _study(files: dict[pathlib.Path, Config]) -> int:
    folder = next(iter(files)).parent
    overwrite = flags.FLAGS["overwrite"].value
    # Of equal configurations one.
    configs = list({config.workdir: config for config in files.values()}.values())
    made = series.Series("study", "study", configs, overwrite)
    found = _results(folder)
    wanted = [_as_read(config.identity()) for config in configs]
    replaced = {
        path: result
        for path, result in found.items()
        if path in files or result["config"] in wanted
    }
    known: series.Results = {}
    if not overwrite:
        known = _known(files, replaced)

    def clear():
        series.clear_runs(config.workdir for config in configs)
        for path in replaced:
            path.unlink(missing_ok=True)

    return series.carry_out(made, functools.partial(_write, files), clear, known)


def _as_read(identity: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(identity))


def _results(folder: pathlib.Path) -> dict[pathlib.Path, dict[str, Any]]:
    """The results in a folder, which is made if it is not there.

    Raises:
      InvalidInput: if the folder or a file is none of results.
    """
    found = {}
    path = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.glob("*.json")):
            found[path] = json.loads(path.read_text())
            found[path]["config"]["preset_values"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise checks.InvalidInput(
            f"{path} cannot be used as results of a study: {error!r}; choose another "
            "--results."
        ) from error
    return found


def _known(
    files: dict[pathlib.Path, Config], found: dict[pathlib.Path, dict[str, Any]]
) -> series.Results:
    """The results that are there already, by the workdir of their run.

    Raises:
      InvalidInput: if a file of ours has the result of another configuration.
    """
    known = {}
    for path, config in files.items():
        identity = _as_read(config.identity())
        if path in found and found[path]["config"] != identity:
            raise checks.InvalidInput(
                f"{path} has the result of another configuration, "
                f"`{found[path].get('command')}`; choose another --results, or "
                "replace it by --overwrite."
            )
        for result in found.values():
            if result["config"] == identity:
                known[config.workdir] = result
    return known


def _write(files: dict[pathlib.Path, Config], results: series.Results) -> str:
    """Writes the results of what is finished, a file each.

    Returns:
      Where they are, and what prints their tables.
    """
    for path, config in files.items():
        if config.workdir in results and not path.exists():
            text = json.dumps(results[config.workdir], indent=2) + "\n"
            folders.write_atomically(path, text)
    folder = next(iter(files)).parent
    return f"Results  {folder}\nTables   python -m experiments.tables --study={folder}"


if __name__ == "__main__":
    app.run(main, flags_parser=command.parse_flags)
