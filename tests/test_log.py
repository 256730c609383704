"""The library prints nothing; the command line, or a user's logging, shows messages."""

import ast
import logging
import pathlib
import subprocess
import sys

import pytest
from tqdm import std

from dgg_jax import log, progress
from dgg_jax.cli import command
from dgg_jax.log import LOGGER, tell

PACKAGE = pathlib.Path(log.__file__).parent


def test_only_the_command_line_prints():
    calls = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        if path.parent != PACKAGE / "cli"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name) and node.id == "print"
    ]
    assert calls == []


@pytest.fixture
def listening(caplog, monkeypatch):
    """Logs of the level that a user has chosen, at the root."""
    # absl's handler, which other tests may have left there, moves the root's level.
    monkeypatch.setattr(logging.root, "handlers", [caplog.handler])

    def choose(level):
        caplog.set_level(level)
        return caplog

    return choose


def test_what_a_user_must_see_is_shown_without_logging(capsys):
    tell("one % of it")
    tell("beware", logging.WARNING)
    assert capsys.readouterr() == ("one % of it\n", "beware\n")


def test_logging_that_is_set_up_takes_messages(capsys, listening):
    logs = listening(logging.INFO)
    tell("one % of it")
    tell("beware", logging.WARNING)
    assert logs.messages == ["one % of it", "beware"]
    assert capsys.readouterr() == ("", "")


def test_a_level_of_the_logger_silences(capsys, caplog):
    caplog.set_level(logging.WARNING, logger="dgg_jax")
    tell("silent")
    tell("beware", logging.WARNING)
    assert capsys.readouterr() == ("", "beware\n")


def run(capsys, *messages):
    """A command that logs; what it has written."""

    def body():
        for level, message in messages:
            LOGGER.log(level, message)
        return 0

    assert command.answer(["program"], body, example="--seed=1") == 0
    return capsys.readouterr()


def test_the_command_line_writes_messages_once_and_as_they_are(capsys, listening):
    logs = listening(logging.INFO)
    told = [(logging.INFO, "digits"), (logging.WARNING, "beware")]
    assert run(capsys, *told) == ("digits\n", "beware\n")
    assert logs.messages == []  # not by the root's handlers, too
    LOGGER.info("after")
    assert logs.messages == ["after"]  # the logger is left as it was
    assert capsys.readouterr() == ("", "")


def test_a_command_line_whose_stdout_is_closed_fails_as_print_does(monkeypatch):
    class Closed:
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    with pytest.raises(BrokenPipeError):
        command.answer(["program"], lambda: LOGGER.info("x"), example="--seed=1")


VERBOSE = """
import numpy as np
import dgg_jax
x = np.random.default_rng(0).uniform(size=(40, 3))
tiny = dict(n_clusters=2, hidden_sizes=(4,), latent_dim=2, epochs=1, random_state=0,
            pretrain_autoencoder_epochs=1, pretrain_vae_epochs=0)
dgg_jax.VaDE(**tiny).fit(x)
dgg_jax.VaDE(**tiny, verbose=1).fit(x)
"""


@pytest.mark.parametrize("configured", [False, True])
def test_a_script_shows_a_verbose_fit_on_stdout_or_in_its_logs(xla, configured):
    setup = "import logging; logging.basicConfig(level=logging.INFO)" * configured
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", setup + VERBOSE],
        env=xla, capture_output=True, text=True, check=True,
    )  # fmt: skip
    silent, shown = process.stdout, process.stderr
    if not configured:
        silent, shown = shown, silent
    lines = [line for line in shown.splitlines() if "dgg_jax" in line or not configured]
    lines = [line.removeprefix("INFO:dgg_jax:") for line in lines]
    stages = [line.split(":")[0] for line in lines if line.startswith("[")]
    assert stages == [
        "[1/4] pretrain",
        "[2/4] initialize",
        "[3/4] train",
        "[4/4] evaluate",
    ]
    assert "  autoencoder 1/1  loss " in shown
    assert silent == ""


class Bar(std.tqdm):
    """What a notebook draws."""

    drawn: list = []  # noqa: RUF012

    def __init__(self, **keywords):
        super().__init__(**keywords, disable=True)
        self.drawn.append(keywords["desc"])


def test_a_notebook_gets_a_bar(monkeypatch):
    monkeypatch.setattr(progress.auto, "notebook_tqdm", Bar)
    monkeypatch.setattr(progress.auto, "tqdm", Bar)
    said = []
    shown = progress.Progress(["train"], say=said.append)
    for epoch in (1, 2):
        shown.epoch("train", "joint", epoch, 2, {"loss": 1.0})
    shown.stage({"name": "train", "seconds": 1.0})
    assert Bar.drawn == ["  joint"]
    assert said == ["[1/1] train: 1.0 s"]
