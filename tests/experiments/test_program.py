"""The command ``dgg-jax``, and reports that are drawn anew."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

import dgg_jax
from dgg_jax.cli import compare, program, report
from dgg_jax.cli import flags as run_flags
from dgg_jax.runs import finished, origin, programs
from dgg_jax.storage.signed import sign
from tests.experiments.command_line import Outcome, assert_refused, call
from tests.methods.toy import blobs

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
TINY = (
    "--preset=smoke",
    "--hidden_sizes=8",
    "--latent_dim=2",
    "--num_neighbors=5",
    "--num_clusters=3",
)


def execute(environment, *command, cwd=REPOSITORY):
    """Runs a Python module in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=cwd,
        env={**environment, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    return Outcome(code=done.returncode, out=done.stdout, err=done.stderr)


# --- The command -------------------------------------------------------------------


def console(*arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/dgg-jax", *arguments])
    code = program.main()
    captured = capsys.readouterr()
    return Outcome(code=code, out=captured.out, err=captured.err)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [((), 2), (("--help",), 0), (("help",), 0), (("--helpfull",), 0)],
)
def test_without_a_command_it_lists_them(arguments, code, monkeypatch, capsys):
    outcome = console(*arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert outcome.code == code and outcome.err == ""
    for name in ("run", "compare", "predict", "report"):
        assert f"\n  dgg-jax {name} " in outcome.out
    assert "dgg-jax COMMAND --helpshort" in outcome.out


def test_its_version(monkeypatch, capsys):
    outcome = console("--version", monkeypatch=monkeypatch, capsys=capsys)
    assert outcome == {"code": 0, "out": f"dgg_jax {dgg_jax.__version__}\n", "err": ""}


def test_an_unknown_command_names_the_nearest(monkeypatch, capsys):
    outcome = console("rnu", "--seed=1", monkeypatch=monkeypatch, capsys=capsys)
    assert_refused(
        outcome,
        "'rnu' is no command of dgg-jax",
        "run, compare, predict, report",
        "Did you mean run?",
    )
    outcome = console("x", monkeypatch=monkeypatch, capsys=capsys)
    assert "Did you mean" not in outcome.err


@pytest.mark.parametrize(
    ("command", "binary"), [("run", "main"), ("compare",) * 2, ("predict",) * 2]
)
def test_commands_are_the_binaries_of_the_experiments(command, binary, xla):
    ours = execute(xla, "dgg_jax", command, "--helpshort")
    theirs = execute(xla, f"experiments.{binary}", "--helpshort")
    named = theirs.out.replace(
        f"python -m experiments.{binary}", f"python -m dgg_jax {command}"
    )
    assert "".join(ours.out.split()) == "".join(named.split())  # wrapped elsewhere
    assert ours.code == theirs.code and ours.out.count("\n  --") > 2
    ours = execute(xla, "dgg_jax", command, "--epohcs=3")
    theirs = execute(xla, f"experiments.{binary}", "--epohcs=3")
    assert ours == theirs
    assert_refused(ours, "epohcs", "see --helpshort")


def test_a_command_has_no_flags_of_another(xla):
    outcome = execute(xla, "dgg_jax", "predict", "--epochs=3")
    assert_refused(outcome, "Unknown command line flag 'epochs'")


@pytest.mark.parametrize(
    ("module", "flag"),
    [
        ("dgg_jax.cli.run", "output"),
        ("dgg_jax.cli.compare", "output"),
        ("experiments.arena.program", "workdir"),
    ],
)
def test_a_flag_of_other_commands_is_refused(module, flag):
    """The commands share definitions of flags, so that each parses those of all."""
    code = (
        f"import importlib; from dgg_jax.cli import program; "
        f"program.start(importlib.import_module({module!r}), 'some command')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"--{flag}=x"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stdout == ""
    refusal = f"error: --{flag} is no flag of some command; see --helpshort.\n"
    assert done.stderr == refusal


@pytest.mark.parametrize(
    ("started", "expected"),
    [
        ("dgg-jax run", "dgg-jax compare"),
        ("python -m dgg_jax predict", "python -m dgg_jax compare"),
        ("python -m experiments.study", "python -m experiments.compare"),
        ("/usr/bin/pytest", "python -m experiments.compare"),
    ],
)
def test_what_to_type_is_as_it_was_typed(started, expected, monkeypatch):
    monkeypatch.setattr(sys, "argv", [started, "--seed=1"])
    assert " ".join(programs.program("compare")) == expected
    assert programs.program("run")[-1] in ("run", "experiments.main")


# --- Folders -----------------------------------------------------------------------


def configured(*arguments, of=run_flags.from_flags):
    found = []
    module = type("Module", (), {"main": lambda _: found.append(of()) or 0})
    assert call(*arguments, program=module).code == 0
    return found[0][0] if isinstance(found[0], list) else found[0]


def default_workdir(*arguments, **kwargs):
    return str(configured(*arguments, **kwargs).workdir)


def test_the_preset_is_part_of_the_default_workdir():
    assert default_workdir() == "runs/digits-dgg-0"
    assert default_workdir("--preset=smoke") == "runs/digits-dgg-smoke-0"
    assert default_workdir("--preset=paper", "--seed=2") == "runs/digits-dgg-paper-2"
    every = compare.configurations
    assert default_workdir(of=every) == "runs/compare-digits/dgg-0"
    name = default_workdir("--preset=smoke", of=every)
    assert name == "runs/compare-digits-smoke/dgg-0"


def test_a_split_is_part_of_the_run_and_its_workdir():
    config = configured("--dataset=mnist", "--split=test", "--num_rows=9")
    assert str(config.workdir) == "runs/mnist-test-9-dgg-0"
    assert config.identity()["split"] == "test"
    expected = "python -m experiments.main --dataset=mnist --split=test --num_rows=9"
    assert config.command() == expected
    assert "split" not in configured("--dataset=mnist").identity()


def test_an_installed_package_is_of_no_commit(tmp_path, monkeypatch):
    assert origin.git_revision() is not None or not (REPOSITORY / ".git").exists()
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    package = tmp_path / "site-packages" / "origin.py"
    package.parent.mkdir()
    shutil.copy(origin.__file__, package)
    monkeypatch.setattr(origin, "__file__", str(package))
    assert origin.git_revision() is None


# --- Reports of finished runs ------------------------------------------------------


@pytest.fixture(scope="module", params=["dgg", "kmeans"])
def made(request, tmp_path_factory):
    """A finished run on data of one's own."""
    folder = tmp_path_factory.mktemp(request.param)
    np.save(folder / "x.npy", blobs()[0])
    settings = TINY if request.param == "dgg" else ("--num_clusters=3",)
    outcome = call(
        f"--method={request.param}",
        f"--dataset={folder / 'x.npy'}",
        f"--workdir={folder / 'run'}",
        *settings,
    )
    assert outcome.code == 0, outcome.err
    return folder / "run"


def files(workdir):
    return {path.name: path.read_bytes() for path in (workdir / "figures").iterdir()}


def test_a_report_is_drawn_anew_as_it_was(made, tmp_path):
    workdir = shutil.copytree(made, tmp_path / "run")
    page, figures = (workdir / "report.html").read_text(), files(workdir)
    shutil.rmtree(workdir / "figures")
    (workdir / "report.html").unlink()
    outcome = call(f"--workdir={workdir}", program=report)
    assert outcome.err == "" and outcome.code == 0
    assert outcome.out == f"Report   {workdir / 'report.html'}\n"
    assert (workdir / "report.html").read_text() == page
    assert files(workdir) == figures and len(figures) > 1


def test_without_a_workdir_it_is_of_the_last_run(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_refused(call(program=report), "no finished run in runs/", "name its folder")
    for name in ("first", "last"):
        shutil.copytree(made, tmp_path / "runs" / name)
    os.utime(tmp_path / "runs" / "first" / "result.json", (1, 1))
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    outcome = call("--open", program=report)
    assert outcome.out == f"Report   {pathlib.Path('runs/last/report.html')}\n"
    assert opened == [(tmp_path / "runs/last/report.html").as_uri()]


def test_what_is_no_finished_run_is_refused(made, tmp_path):
    assert_refused(call(f"--workdir={tmp_path}", program=report), "holds no run")
    assert_refused(call("x", program=report), "unexpected argument 'x'")
    workdir = shutil.copytree(made, tmp_path / "run")
    (workdir / "result.json").rename(tmp_path / "result.json")
    outcome = call(f"--workdir={workdir}", program=report)
    assert_refused(outcome, "not finished", "--resume")
    (tmp_path / "result.json").rename(workdir / "result.json")
    config = json.loads((workdir / "config.json").read_text())
    config["preset_values"]["of_tomorrow"] = 1
    (workdir / "config.json").write_text(json.dumps(config))
    outcome = call(f"--workdir={workdir}", program=report)
    assert_refused(outcome, "config.json is damaged", "--resume")
    copy = workdir / "checkpoints" / "config.json"
    copy.write_text(json.dumps(sign(config)))
    (workdir / "checkpoints" / "checksums.json").unlink()  # of config.json, too
    outcome = call(f"--workdir={workdir}", program=report)
    assert_refused(outcome, "no run that this version can read", "of_tomorrow")


def test_other_data_are_refused(made, tmp_path):
    path = pathlib.Path(json.loads((made / "config.json").read_text())["dataset"])
    content = path.read_bytes()
    np.save(path, blobs()[0] + 1)
    try:
        outcome = call(f"--workdir={made}", program=report)
    finally:
        path.write_bytes(content)
    assert_refused(outcome, "x.npy has changed since", "SHA-256", "bring back")


def test_a_finished_run_is_what_was_reported(made):
    found = finished.load_run(made, with_data=True)
    identity = json.loads(json.dumps(found.config.identity()))
    assert identity == json.loads((made / "config.json").read_text())
    assert identity == found.result["config"]
    assert len(found.state["labels"]) == 90
    assert (found.model is None) == (found.config.method == "kmeans")
