"""Measures speed as ratios, with their spread, and writes them to a file as it goes.

  python -m experiments.benchmark --quick                      (within a minute)
  python -m experiments.benchmark --suite=training --data_dir=<folder with MNIST>
  python -m experiments.benchmark --suite=all --output=results/benchmark-cpu.json
  python -m experiments.benchmark --show=results/benchmark-cpu.json
  python -m experiments.benchmark --show=results/benchmarks/clusterings.json \
      --draw=accuracy-seconds.svg

By default --output is runs/benchmark.json.

What is compared runs in turns in one process; the first call of each, which compiles,
is counted apart. Suites:

  training  an epoch of DGG over one of VaDE and over its matrix products, the tuple
            form over the node form, restarts, the start of a process
  graph     the kNN search over its products, and over other searches
  scaling   a training sample of many rows over one of few
  peers     ClustPy's VaDE and a PyTorch loop: pip install 'dgg-jax[benchmark]'
  memory    peak memory and seconds of a whole run of MNIST
  clusterings  DGG from data to labels beside UMAP and a mixture, spectral clustering,
            K-means, and ClustPy's DEC and VaDE: seconds and accuracy

and, which "all" leaves out:

  accelerator  what matters on one GPU, within eight minutes, the most important first

--quick measures little: few rows and repetitions, memory and clusterings only where
they are asked for.
"""

import datetime
import importlib
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from absl import app, flags

from dgg_jax import checks
from dgg_jax.cli.command import DATA_DIR, OUTPUT, answer, parse_flags
from dgg_jax.reports import cells
from experiments.benchmarks import timing
from experiments.benchmarks.settings import Settings
from experiments.quick import QUICK

_SUITES = ("training", "graph", "scaling", "peers", "memory", "clusterings")
_APART = ("accelerator",)  # of others' parts, in another order
_ALL = (*_SUITES, *_APART, "all")
_DEFAULT_OUTPUT = "runs/benchmark.json"

_SUITE = flags.DEFINE_list(
    "suite", ["all"], f"What to measure, separated by commas: {', '.join(_ALL)}."
)
flags.declare_key_flag(QUICK.name)
_REPETITIONS = flags.DEFINE_integer(
    "repetitions",
    None,
    "Repetitions of what is timed, after the first; by default 7, with --quick 3.",
    lower_bound=1,
)
_SHOW = flags.DEFINE_string(
    "show", None, "Measure nothing; print this JSON file as a table in markdown."
)
_DRAW = flags.DEFINE_string(
    "draw",
    None,
    "With --show: draw accuracy against seconds of the suite clusterings to this file.",
)
flags.declare_key_flag("output")
flags.declare_key_flag("data_dir")


def main(arguments: Sequence[str]) -> int:
    """Parses, measures and writes; a user's mistake is one line on stderr."""
    return answer(arguments, _benchmark, example="--suite=training")


def _benchmark() -> int:
    if _SHOW.value is not None:
        content = _read(_SHOW.value)
        if _DRAW.value is not None:
            _draw(content, _DRAW.value)
        print(markdown(content))
        return 0
    if _DRAW.value is not None:
        raise checks.InvalidInput("draw takes what a file has: give it by --show.")
    _measure(_chosen(), pathlib.Path(OUTPUT.value or _DEFAULT_OUTPUT))
    return 0


def _chosen() -> list[str]:
    """The suites to measure, each once."""
    for name in _SUITE.value:
        checks.one_of("suite", name, _ALL)
    if not _SUITE.value:
        raise checks.InvalidInput(
            f"suite must name at least one of: {', '.join(_ALL)}."
        )
    if "peers" in _SUITE.value:  # of "all" it is left out, with a line
        checks.installed("benchmark", "suite=peers")
    named = list(dict.fromkeys(_SUITE.value))
    if "all" not in named:
        return named
    left_out = {"memory", "clusterings"} if QUICK.value else set()
    every = [name for name in _SUITES if name not in left_out]
    return every + [name for name in named if name in _APART]


def suites() -> dict[str, Callable[[Settings], Iterator[timing.Figure]]]:
    """What measures each suite."""
    # They import jax, which takes seconds; mistakes are told before.
    return {
        name: importlib.import_module(f"experiments.benchmarks.{name}").figures
        for name in (*_SUITES, *_APART)
    }


def _measure(names: Sequence[str], output: pathlib.Path) -> None:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.touch()
    except OSError as error:
        raise checks.InvalidInput(
            f"output {output} cannot be written: {error.strerror or error}; choose "
            "another --output."
        ) from error
    from dgg_jax.runs import origin as origins
    from dgg_jax.storage.folders import write_atomically

    repetitions = _REPETITIONS.value or (3 if QUICK.value else 7)
    settings = Settings(QUICK.value, repetitions, DATA_DIR.value)
    origin = origins.origin("experiments.benchmark")
    load = round(os.getloadavg()[0], 2)
    origin |= {"settings": settings._asdict(), "load": load}
    print(f"{origin['device']}; {origin['threads']} threads", flush=True)
    if load > 0.5:
        print(f"Other work disturbs the figures: load {load} at the start.")
    measured = []
    for name in names:
        print(name, flush=True)
        for figure in suites()[name](settings):
            measured.append(figure._replace(suite=name)._asdict())
            title, value, spread, target = figure.cells()
            print(f"  {title:<58}{value:>11}  {spread:<19}{target}", flush=True)
            finished = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            content = {**origin, "finished": finished, "figures": measured}
            write_atomically(output, json.dumps(content, indent=2) + "\n")
    print(f"Figures  {output}")


def markdown(content: dict[str, Any]) -> str:
    """The table of a page, of the content of a JSON file."""
    header = ("figure", "median", "quartiles", "target")
    rows = [timing.Figure(**values).cells() for values in content["figures"]]
    versions = content["versions"]
    return (
        f"{cells.markdown(header, rows)}\n\n"
        f"`{content['command']}` on {content['device']}, {content['threads']} threads, "
        f"Python {versions['python']}, jax {versions['jax']}, commit "
        f"{content['git_revision']}, {content['finished']}."
    )


def _draw(content: dict[str, Any], path: str) -> None:
    """Accuracy against seconds of the clusterings in a JSON file."""
    from dgg_jax.plots import accuracy_by_seconds

    found = [
        (figure["details"]["name"], figure["value"], figure["details"]["accuracy"])
        for figure in content["figures"]
        if figure["suite"] == "clusterings" and "accuracy" in figure["details"]
        if figure["unit"] == "s"
    ]
    if not found:
        raise checks.InvalidInput(
            f"--show={_SHOW.value} has no accuracies of the suite clusterings to draw; "
            "measure it with --data_dir, the folder of MNIST."
        )
    names, seconds, accuracies = zip(*found, strict=True)
    figure = accuracy_by_seconds(
        names, [[one] for one in seconds], [[one] for one in accuracies]
    )
    try:
        figure.savefig(path, metadata={"Date": None} if path.endswith("svg") else None)
    except (OSError, ValueError) as error:
        raise checks.InvalidInput(f"draw {path} cannot be written: {error}.") from error


def _read(path: str) -> dict[str, Any]:
    try:
        content = json.loads(pathlib.Path(path).read_text())
        markdown(content)
    except (OSError, ValueError) as error:
        raise checks.InvalidInput(f"--show={path} cannot be read: {error}.") from error
    except (AttributeError, KeyError, TypeError):
        raise checks.InvalidInput(
            f"--show={path} is no file that this program has written."
        ) from None
    return content


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
