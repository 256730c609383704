"""Runs the programs as from a command line, in this process."""

import contextlib
import io
import pathlib
import signal

import numpy as np
from absl.testing import flagsaver

from dgg_jax.cli import run
from dgg_jax.cli.command import parse_flags


class Outcome(dict):
    """code, out and err of a command line."""

    __getattr__ = dict.__getitem__


def call(*arguments, program=run):
    """Runs a program with these arguments."""
    out, err = io.StringIO(), io.StringIO()
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        with (
            flagsaver.flagsaver(),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                code = program.main(parse_flags(["program", *arguments]))
            except SystemExit as error:
                code = error.code
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return Outcome(code=code, out=out.getvalue(), err=err.getvalue())


def predictions(workdir):
    """The arrays of a finished run."""
    with np.load(pathlib.Path(workdir) / "predictions.npz") as arrays:
        return dict(arrays)


def assert_refused(outcome, *fragments, code=2):
    """One line on stderr with these words, a status, and nothing else."""
    assert outcome.code == code
    assert outcome.err.endswith("\n") and outcome.err.count("\n") == 1, outcome.err
    assert outcome.err.startswith("error: ")
    for fragment in fragments:
        assert fragment in outcome.err
    assert "Traceback" not in outcome.err + outcome.out
    assert outcome.out == ""
