"""Draws the report of a finished run anew, from what the run has left in its folder.

  dgg-jax report --workdir=runs/digits-dgg-0
  dgg-jax report --open  # of the last run in runs/

Every run ends with its report; this draws it again, after an update of the library or
if it was deleted, without training. --open shows the page in the browser.
"""

import pathlib
import shlex
import webbrowser
from collections.abc import Sequence

from absl import flags

from dgg_jax import checks
from dgg_jax.cli.command import DATA_DIR, WORKDIR, answer, fail_to_write
from dgg_jax.runs.programs import program

_OPEN = flags.DEFINE_boolean("open", False, "Show the page in the browser.")
flags.declare_key_flag("workdir")
flags.declare_key_flag("data_dir")


def main(arguments: Sequence[str]) -> int:
    """Reads, draws and writes; a user's mistake is one line on stderr."""
    return answer(arguments, _report, example="--workdir=runs/digits-dgg-0")


def _report() -> int:
    workdir = pathlib.Path(WORKDIR.value) if WORKDIR.value else _last_run()
    try:
        page = _draw(workdir)
    except OSError as error:
        if isinstance(error, checks.InvalidInput):  # of data that are not there
            raise
        again = shlex.join([*program("report"), f"--workdir={workdir}"])
        return fail_to_write(error, workdir, again)
    print(f"Report   {page}")
    if _OPEN.value:
        webbrowser.open(page.resolve().as_uri())
    return 0


def _last_run() -> pathlib.Path:
    """The folder in runs/ whose run finished last."""
    found = pathlib.Path("runs").glob("*/result.json")
    results = sorted(found, key=lambda path: path.stat().st_mtime)
    if not results:
        raise checks.InvalidInput(
            "there is no finished run in runs/; name its folder by --workdir."
        )
    return results[-1].parent


def _draw(workdir: pathlib.Path) -> pathlib.Path:
    """Writes the page of a run; returns its path."""
    from dgg_jax.reports.run import write_report
    from dgg_jax.runs import finished, results, run

    found = finished.load_run(workdir, DATA_DIR.value, with_data=True)
    dataset = found.config.taken(run.load_data(found.config))
    model = None if found.model is None else found.model.model_
    inputs = results.report_inputs(
        found.config, dataset, found.result, found.history, model, found.state
    )
    return write_report(workdir, inputs)
