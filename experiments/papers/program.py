"""Makes figures and tables by their names, from saved runs or by training.

What ``python -m experiments.figures`` and ``python -m experiments.tables`` share.
"""

import io
import json
import pathlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from dgg_jax import checks
from dgg_jax.cli import command
from dgg_jax.cli import flags as run_flags
from dgg_jax.log import LOGGER
from dgg_jax.storage import folders
from experiments.papers import beyond, captions, dgg, gmvae, vade
from experiments.papers.exhibits import Arrays, Exhibit, Scale
from experiments.papers.runs import Library
from experiments.papers.tables import TABLES, Table
from experiments.quick import QUICK

FIGURES: Mapping[str, Exhibit] = {
    one.name: one
    for one in (*dgg.EXHIBITS, *vade.EXHIBITS, *gmvae.EXHIBITS, *beyond.EXHIBITS)
}
ALL_TABLES: Mapping[str, Table] = {one.name: one for one in TABLES}
PAPERS_IMAGES = "mnist"
_ALL, _QUICK_IMAGES, _RUNS = "all", "digits", "runs/papers"
_DPI = 200

_NAME = flags.DEFINE_list("name", [], "What to make, separated by commas; or all.")
_LIST = flags.DEFINE_bool("list", False, "Only list the names.")
_IMAGES = flags.DEFINE_enum(
    "images",
    None,
    ("mnist", "fashion_mnist", "usps", "digits"),
    "The images where the papers have MNIST; what is of others says so in its name. By "
    "default mnist, digits with --quick.",
)
_SAVED = flags.DEFINE_bool(
    "saved", False, "Train nothing: of tables only what there are results of."
)
for _flag in (
    "quick",
    "data_dir",
    "workdir",
    "output",
    "seed",
    "num_rows",
    "architecture",
    "epochs",
    "overwrite",
):
    flags.declare_key_flag(_flag)


class Made(NamedTuple):
    """A figure or table, and where it is kept.

    Attributes:
      key: its name and, of other data than the paper's, theirs.
      folder: of what is made.
    """

    key: str
    folder: pathlib.Path

    def path(self, kind: str) -> pathlib.Path:
        """The file of this kind; what is drawn of is in a folder of its own."""
        part = "kept" if kind in ("npz", "json") else ""
        return self.folder / part / f"{self.key}.{kind}"


def scale() -> Scale:
    """On what, and how much of it, by the flags."""
    images = _IMAGES.value or (_QUICK_IMAGES if QUICK.value else PAPERS_IMAGES)
    num_rows, changes = flags.FLAGS["num_rows"].value, run_flags.changes_from_flags()
    return Scale(images, num_rows, QUICK.value, changes)


def library(stop: Callable[[], bool]) -> Library:
    """The runs, by the flags."""
    folder = pathlib.Path(command.WORKDIR.value or _RUNS)
    seed = flags.FLAGS["seed"].value
    return Library(folder, stop, command.DATA_DIR.value, seed)


def make_all(
    known: Mapping[str, Any],
    folder: str,
    make: Callable[[Any, Made, Scale, Library], None],
) -> int:
    """Makes what --name says; what cannot be made is told, and the others are.

    Args:
      known: figures or tables by name.
      folder: of the output, by default; and what the command is called.
      make: makes one.

    Returns:
      The status of the program.

    Raises:
      InvalidInput: if there is no such name, or the only one cannot be made.
    """
    if _LIST.value:
        print(
            "\n".join(f"{name:22} {one.of}: {one.title}" for name, one in known.items())
        )
        return 0
    names = list(known) if _NAME.value == [_ALL] else _NAME.value
    if not names:
        raise checks.InvalidInput(
            f"--name says what to make: {_ALL}, or some of {', '.join(known)}."
        )
    for name in names:
        checks.one_of("name", name, tuple(known))
    output = pathlib.Path(command.OUTPUT.value or folder)
    stop = command.StopSignal()
    from dgg_jax.training import Diverged, Interrupted

    runs, missing = library(stop), []
    for name in names:
        made = Made(_key(known[name], scale()), output)
        try:
            make(known[name], made, scale(), runs)
        except checks.MissingData as error:
            if len(names) == 1:
                raise
            missing.append(name)
            LOGGER.warning(f"{name} is not made: {' '.join(str(error).split())}")
            continue
        except Diverged as error:
            missing.append(name)
            LOGGER.warning(f"{name} is not made: training diverged: {error}.")
            continue
        except Interrupted:
            again = command.continuing(folder, sys.argv[1:])
            return command.tell_stopped(stop, runs.folder, again)
        except OSError as error:
            again = command.continuing(folder, sys.argv[1:])
            return command.fail_to_write(error, output, again)
        print(f"{name}: {made.path('png' if known is FIGURES else 'md')}", flush=True)
    if missing:
        print(f"Not made: {', '.join(missing)}; the reasons stand above.")
    return 0


def _key(one: Any, on: Scale) -> str:
    """The name of an exhibit and of what stands in for what the paper has."""
    parts = [one.name]
    if _is_of_images(one) and on.images != PAPERS_IMAGES:
        parts.append(on.images)
    if on.is_quick and one.runs(on):
        parts.append("quick")
    return "-".join(parts)


def _is_of_images(one: Any) -> bool:
    """Whether the images are what it is of."""
    first, second = (one.runs(Scale(images=name)) for name in ("mnist", "digits"))
    return first != second


def record(one: Any, results: Iterable[dict[str, Any]], agrees: str) -> captions.Record:
    """What is kept of a figure or table beside its arrays.

    Args:
      one: the figure or table.
      results: contents of result.json of its runs.
      agrees: what ours is like.
    """
    return {
        "name": one.name,
        "of": one.of,
        "title": one.title,
        "shows": one.shows,
        "agrees": agrees,
        "command": _command(one),
        "runs": [captions.told(result) for result in results],
    }


def _command(one: Any) -> str:
    kind = "tables" if isinstance(one, Table) else "figures"
    words = [f"python -m experiments.{kind} --name={one.name}"]
    if QUICK.value:
        words.append("--quick")
    if kind == "tables" and _SAVED.value:
        words.append("--saved")
    if _IMAGES.value and _is_of_images(one):
        words.append(f"--images={_IMAGES.value}")
    if _is_of_images(one):
        given = {"num_rows": flags.FLAGS["num_rows"].value, **scale().changes}
        words.extend(
            f"--{name}={value}" for name, value in given.items() if value is not None
        )
    return " ".join(words)


def make_figure(one: Exhibit, made: Made, on: Scale, runs: Library) -> None:
    """Draws a figure, from what was kept of its runs if that is there.

    Args:
      one: what it is.
      made: where it is kept.
      on: on what.
      runs: where its runs are.
    """
    if flags.FLAGS["overwrite"].value or not made.path("json").exists():
        found = {name: runs.run(asked) for name, asked in one.runs(on).items()}
        arrays = dict(one.collect(found))
        results = [run.result for run in found.values()]
        keep(made, arrays, record(one, results, one.agrees(arrays)))
    draw(one, made)


def keep(made: Made, arrays: Arrays, about: captions.Record) -> None:
    """Writes what a figure is drawn of, and what its caption says."""
    made.path("npz").parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    folders.write_atomically(made.path("npz"), buffer.getvalue())
    text = json.dumps(about, indent=1) + "\n"
    folders.write_atomically(made.path("json"), text)


def kept_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """What ``keep`` has written of a figure."""
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def draw(one: Exhibit, made: Made) -> None:
    """Draws a figure of what is kept, as png and pdf, and writes its caption."""
    figure = one.draw(kept_arrays(made.path("npz")))
    for kind in ("png", "pdf"):
        figure.savefig(made.path(kind), dpi=_DPI)
    about = json.loads(made.path("json").read_text())
    folders.write_atomically(made.path("md"), captions.markdown(about))


def make_table(one: Table, made: Made, on: Scale, runs: Library) -> None:
    """Writes a table as csv and markdown, and prints it.

    Args:
      one: what it is.
      made: where it is kept.
      on: on what.
      runs: where its runs are.
    """
    results = {name: _result(runs, asked, name) for name, asked in one.runs(on).items()}
    header, lines = one.made(results)
    there = [result for result in results.values() if result is not None]
    about = record(one, there, one.agrees(results))
    about |= {"header": list(header), "lines": [list(line) for line in lines]}
    made.path("json").parent.mkdir(parents=True, exist_ok=True)
    folders.write_atomically(made.path("json"), json.dumps(about, indent=1) + "\n")
    folders.write_atomically(made.path("csv"), captions.comma_separated(about))
    folders.write_atomically(made.path("md"), captions.table(about))
    print(captions.table(about))


def _result(runs: Library, asked: Any, name: str) -> dict[str, Any] | None:
    """The result of a run; None where there are no data, or it is not to be run."""
    try:
        return runs.result(asked, train=not _SAVED.value)
    except checks.MissingData as error:
        LOGGER.warning(f"{name}: {' '.join(str(error).split())}")
        return None
