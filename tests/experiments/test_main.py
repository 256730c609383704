import contextlib
import dataclasses
import gzip
import html.parser
import json
import math
import os
import pathlib
import pty
import re
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time

import jax
import numpy as np
import pytest
from absl import flags

import dgg_jax
from dgg_jax import data, presets
from dgg_jax.cli import command
from dgg_jax.cli import flags as config_module
from dgg_jax.cli import run as main
from dgg_jax.cli.command import StopSignal
from dgg_jax.data import Dataset
from dgg_jax.methods import dgg
from dgg_jax.progress import Progress
from dgg_jax.reports import published
from dgg_jax.runs import run as runs
from dgg_jax.storage import folders
from dgg_jax.storage.checkpoints import Checkpoints
from tests.experiments.command_line import Outcome, assert_refused, call

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 600.0  # seconds, on a busy machine
# The smallest run with every stage.
TINY = (
    "--preset=smoke",
    "--pretrain_layer_epochs=0",
    "--hidden_sizes=8",
    "--num_neighbors=5",
)
MOONS = ("--dataset=moons", *TINY)


def execute(environment, *arguments, under=(), **options):
    """Runs a command line in a process of its own, by another program if given."""
    done = subprocess.run(
        [*under, sys.executable, "-m", "experiments.main", *arguments],
        cwd=options.pop("cwd", REPOSITORY),
        env={**environment, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        **options,
    )
    return Outcome(code=done.returncode, out=done.stdout, err=done.stderr)


def fork(forks, *arguments):
    """As ``execute``, where what is imported matters to no test any more."""
    process = forks.start("experiments.main", *arguments)
    return Outcome(code=process.wait(PATIENCE), out=process.out, err=process.err)


@contextlib.contextmanager
def started(*command, **options):
    """A process that does not outlive its test."""
    with subprocess.Popen(command, cwd=REPOSITORY, **options) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def untrained(monkeypatch):
    """Stops every run where its training would begin; lists how far it came."""
    begun = []

    def train(config, dataset, runner, progress, began):
        begun.append((config, dataset))
        final = {"accuracy": None, "elbo": None}
        return {"stages": [], "final": final, "paper": None, "seconds": 0.0}

    monkeypatch.setattr(runs, "train_and_report", train)
    return begun


# --- Bad input ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (
            ["--dataset=mnits"],
            ["dataset='mnits'", "did you mean mnist?", "moons", ".csv"],
        ),
        (["--preset=fast"], ["--preset=fast", "default", "paper", "smoke"]),
        (["--method=wade"], ["--method=wade", *presets.METHODS]),
        (["--covariance=round"], ["--covariance=round", "diag", "full"]),
        (["--architecture=lenet"], ["--architecture=lenet", "dense", "mnist", "svhn"]),
        (
            ["--method=kmeans", "--epochs=3"],
            ["--epochs is no setting of --method=kmeans", "dgg, vade, gmvae, dec"],
        ),
        (
            ["--w_dim=3"],
            ["--w_dim is no setting of --method=dgg, but of gmvae; leave it out"],
        ),
        (
            ["--method=spectralnet", "--siamese_init=encoder"],
            ["siamese_init=encoder needs a pretrained encoder"],
        ),
        (
            ["--method=gmvae", "--architecture=mnist"],
            ["image_shape=(8, 8, 1) does not fit the layers", "dense network"],
        ),
        (
            ["--method=gmvae", "--architecture=mnist", "--dataset=moons"],
            ["architecture=mnist is convolutional and needs images", "(2,)"],
        ),
        (["--moons_distance=mid"], ["--moons_distance=mid", "near", "far"]),
        (["--init=random"], ["--init=random", "spectral", "kmeans", "gmm"]),
        (["--likelihood=poisson"], ["bernoulli", "gaussian", "learned_gaussian"]),
        (["--objective=edge"], ["--objective=edge", "node", "tuple"]),
        (["--epohcs=3"], ["Unknown command line flag 'epohcs'", "epochs"]),
        (["digits"], ["unexpected argument 'digits'", "--dataset=digits"]),
        (["--epochs=many"], ["--epochs=many"]),
        (["--epochs=1.5"], ["--epochs=1.5"]),
        (["--epochs=-1"], ["epochs must be at least 0, got -1"]),
        (["--batch_size=0"], ["batch_size must be at least 1, got 0"]),
        (["--restarts=0"], ["restarts must be at least 1, got 0"]),
        (["--num_clusters=0"], ["num_clusters must be at least 1, got 0"]),
        (["--num_clusters=foo"], ["--num_clusters=foo", "an integer or auto"]),
        (["--num_clusters=2.5"], ["--num_clusters=2.5", "an integer or auto"]),
        (
            ["--num_clusters=auto", "--method=vade"],
            ["--num_clusters=auto is of --method=dgg, not vade", "give a number"],
        ),
        (["--hidden_sizes=8,x"], ["hidden_sizes", "integers", "'8,x'"]),
        (["--hidden_sizes=8,0"], ["hidden_sizes must be at least 1, got 0"]),
        (["--learning_rate=0"], ["learning_rate must be positive", "got 0.0"]),
        (["--learning_rate=nan"], ["learning_rate must be positive", "got nan"]),
        (["--variance=inf"], ["variance must be positive and finite, got inf"]),
        (["--graph_strength=2.5"], ["graph_strength must be in [0, 2], got 2.5"]),
        (["--decay=nan"], ["decay must be", "got nan"]),
        (["--num_candidates=5"], ["num_candidates=5 must be at least num_neighbors"]),
        (["--seed=-1"], ["--seed=-1"]),
        (["--seed=4294967296"], ["--seed=4294967296", "4294967295"]),
        (["--checkpoint_seconds=-1"], ["--checkpoint_seconds=-1"]),
        (["--resume", "--overwrite"], ["--resume and --overwrite exclude each other"]),
        (["--num_clusters=1798"], ["num_clusters=1798 exceeds the 1797 rows"]),
        (
            ["--dataset=moons", "--likelihood=bernoulli"],
            ["Bernoulli", "values in [0, 1]", "[-1.1", "likelihood=gaussian"],
        ),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
)
def test_bad_values_are_refused(tmp_path, untrained, arguments, fragments):
    workdir = tmp_path / "run"
    assert_refused(call(f"--workdir={workdir}", *arguments), *fragments)
    assert not workdir.exists()
    assert untrained == []


def use_data(monkeypatch, x, y=None, feature_shape=None):
    def load(name, **arguments):
        shape = feature_shape or x.shape[1:]
        text = f"{len(x)} rows of a test"
        return Dataset(x, y, name, shape, None, "bernoulli", text)

    monkeypatch.setattr(data, "load", load)


def with_values(count, value):
    x = np.random.default_rng(0).random((40, 4)).astype(np.float32)
    x.ravel()[9 : 9 + count] = value
    return x


@pytest.mark.parametrize(
    ("x", "fragments"),
    [
        (with_values(7, np.nan), ["row 3 of x has no value"]),
        (with_values(1, np.inf), ["1 NaN or infinite", "row 2, column 1 (inf)"]),
        (np.full((40, 4), 0.5, np.float32), ["constant", "0.5"]),
        (with_values(1, 1.5), ["Bernoulli", "1.5", "divide by 255"]),
        (with_values(1, -0.5), ["Bernoulli", "-0.5"]),
        (with_values(0, 0)[:9], ["num_clusters=10 exceeds the 9 rows"]),
        (with_values(0, 0)[:, :0], ["shape (40, 0)"]),
    ],
)
def test_bad_data_are_refused(tmp_path, untrained, monkeypatch, x, fragments):
    use_data(monkeypatch, x)
    workdir = tmp_path / "run"
    assert_refused(call(f"--workdir={workdir}"), *fragments)
    assert not workdir.exists()
    assert untrained == []


def write_mnist(folder, num_images=30):
    random = np.random.default_rng(5)
    folder.mkdir()
    for name in ("train", "t10k"):
        images = random.integers(0, 256, (num_images, 28, 28), dtype=np.uint8)
        labels = random.integers(0, 10, num_images, dtype=np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(
                f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape
            )
            path = folder / f"{name}-{kind}-ubyte.gz"
            path.write_bytes(gzip.compress(header + array.tobytes(), mtime=0))
    return folder


def test_files_of_mnist_are_found(tmp_path, untrained):
    folder = write_mnist(tmp_path / "files")
    outcome = call(
        "--dataset=mnist", f"--data_dir={folder}", f"--workdir={tmp_path / 'run'}"
    )
    assert outcome.code == 0
    ((config, dataset),) = untrained
    assert (config.dataset, dataset.name) == ("mnist", "mnist")
    assert dataset.x.shape == (60, 784)
    assert str(folder) in dataset.provenance


@pytest.mark.parametrize(
    ("damage", "fragments"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), ["truncated"]),
        (
            lambda path: path.write_bytes(
                gzip.compress(gzip.decompress(path.read_bytes())[:-9])
            ),
            ["truncated", "it must hold"],
        ),
        (lambda path: path.write_bytes(b"<html>"), ["must start with the bytes"]),
        (lambda path: path.write_bytes(b""), ["it is empty"]),
        (
            lambda path: path.unlink(),
            ["3 of the 4", "missing: train-images-idx3-ubyte"],
        ),
    ],
    ids=["gzip", "idx", "html", "empty", "missing"],
)
def test_damaged_files_are_refused(tmp_path, untrained, damage, fragments):
    folder = write_mnist(tmp_path / "files")
    damage(folder / "train-images-idx3-ubyte.gz")
    workdir = tmp_path / "run"
    outcome = call("--dataset=mnist", f"--data_dir={folder}", f"--workdir={workdir}")
    assert_refused(outcome, str(folder), *fragments)
    assert not workdir.exists()
    assert untrained == []


def test_missing_data_say_what_to_put_where(tmp_path, untrained, monkeypatch):
    from dgg_jax.data import builders

    monkeypatch.setattr(builders, "unavailable", lambda url: "no network")
    folder, workdir = tmp_path / "files", tmp_path / "run"
    outcome = call("--dataset=mnist", f"--data_dir={folder}", f"--workdir={workdir}")
    assert_refused(
        outcome, f"MNIST is not in {folder}", "no network", "train-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte", f"{folder / 'mnist'}", "--data_dir=",
    )  # fmt: skip
    assert not workdir.exists()
    assert untrained == []


def test_data_dir_must_be_a_folder(tmp_path, untrained):
    path = tmp_path / "file"
    path.touch()
    outcome = call(
        "--dataset=mnist", f"--data_dir={path}", f"--workdir={tmp_path / 'run'}"
    )
    assert_refused(outcome, str(path), "must be a folder")


# --- The folder of a run -----------------------------------------------------------


@pytest.mark.parametrize("name", ["file", "file/run"])
def test_a_workdir_that_is_no_folder_is_refused(tmp_path, untrained, name):
    (tmp_path / "file").write_text("content")
    outcome = call(f"--workdir={tmp_path / name}")
    assert_refused(outcome, str(tmp_path / name), "must be a folder", "--workdir")
    assert untrained == []
    assert (tmp_path / "file").read_text() == "content"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_workdir_is_refused(tmp_path, untrained):
    tmp_path.chmod(0o500)
    try:
        outcome = call(f"--workdir={tmp_path / 'run'}")
    finally:
        tmp_path.chmod(0o700)
    assert_refused(outcome, "cannot be written", "Permission denied")
    assert untrained == []


def test_a_full_disk_is_one_line(tmp_path, untrained, monkeypatch):
    def full(self, *arguments, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "mkdir", full)
    outcome = call(f"--workdir={tmp_path / 'run'}")
    assert_refused(outcome, "cannot be written", "No space left on device")
    assert untrained == []


@pytest.mark.parametrize("arguments", [[], ["--resume"], ["--overwrite"]])
@pytest.mark.parametrize("name", ["thesis.tex", "config.json"])
def test_the_folder_of_something_else_is_left_alone(
    tmp_path, untrained, arguments, name
):
    (tmp_path / name).write_text('["something else"]')
    assert_refused(call(f"--workdir={tmp_path}", *arguments), "another --workdir")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == '["something else"]'
    assert untrained == []


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00", b""])
def test_a_damaged_config_is_one_line(tmp_path, untrained, content):
    (tmp_path / "config.json").write_bytes(content)
    assert_refused(call(f"--workdir={tmp_path}"), str(tmp_path), "cannot be used")
    assert untrained == []


def test_an_empty_folder_will_do(tmp_path, untrained):
    assert call(f"--workdir={tmp_path}").code == 0
    assert len(untrained) == 1


def test_resume_needs_a_run(tmp_path, untrained):
    workdir = tmp_path / "run"
    outcome = call(f"--workdir={workdir}", "--resume")
    assert_refused(outcome, "no run to resume", str(workdir))
    assert not workdir.exists()


def test_an_unfinished_run_waits_for_resume_or_overwrite(tmp_path, untrained):
    workdir = tmp_path / "run"
    assert call(f"--workdir={workdir}").code == 0
    (workdir / "metrics.jsonl").write_text("{}\n")
    outcome = call(f"--workdir={workdir}")
    assert_refused(outcome, "unfinished", "--resume", "--overwrite", str(workdir))
    assert len(untrained) == 1

    assert call(f"--workdir={workdir}", "--resume").code == 0
    assert len(untrained) == 2
    assert (workdir / "metrics.jsonl").exists()

    assert call(f"--workdir={workdir}", "--overwrite").code == 0
    assert len(untrained) == 3
    assert not (workdir / "metrics.jsonl").exists()


@pytest.mark.parametrize("arguments", [[], ["--resume"], ["--overwrite"]])
def test_a_workdir_in_use_is_refused(tmp_path, untrained, arguments):
    workdir = tmp_path / "run"
    assert call(f"--workdir={workdir}").code == 0
    before = sorted(workdir.rglob("*"))
    with folders.lock(workdir):
        outcome = call(f"--workdir={workdir}", *arguments)
    assert_refused(outcome, f"{workdir} is in use by process {os.getpid()};")
    assert sorted(workdir.rglob("*")) == before
    assert len(untrained) == 1


@pytest.mark.parametrize("arguments", [[], ["--resume"], ["--overwrite"]])
def test_a_workdir_that_another_process_takes_meanwhile_is_refused(
    tmp_path, untrained, monkeypatch, arguments
):
    workdir = tmp_path / "run"
    assert call(f"--workdir={workdir}").code == 0
    before = sorted(workdir.rglob("*"))
    with contextlib.ExitStack() as other:
        check_data = runs.check_data

        def check(*arguments):
            other.enter_context(folders.lock(workdir))
            check_data(*arguments)

        monkeypatch.setattr(runs, "check_data", check)
        if not arguments:  # refused before, unless nobody has begun
            (workdir / "config.json").unlink()
            before.remove(workdir / "config.json")
        outcome = call(f"--workdir={workdir}", *arguments)
    assert_refused(outcome, f"{workdir} is in use by process {os.getpid()};")
    assert sorted(workdir.rglob("*")) == before
    assert len(untrained) == 1


def test_what_a_start_that_was_killed_leaves_is_an_empty_folder(tmp_path, untrained):
    (tmp_path / ".lock").write_text("1")
    (tmp_path / ".dgg-0.partial").write_text("{")
    assert call(f"--workdir={tmp_path}").code == 0
    assert len(untrained) == 1


@pytest.mark.parametrize("deletions", range(6))
def test_an_overwrite_that_was_killed_can_be_repeated(
    tmp_path, untrained, monkeypatch, deletions
):
    workdir = tmp_path / "run"
    assert call(f"--workdir={workdir}").code == 0
    for name in ("checkpoints/stages/1", "figures"):
        (workdir / name).mkdir(parents=True)
    for name in ("metrics.jsonl", "report.html"):
        (workdir / name).touch()
    (workdir / "result.json").write_text("{}")
    done = []

    def killed_later(delete):
        def count(*arguments, **keywords):
            if len(done) == deletions:
                raise KeyboardInterrupt
            done.append(arguments[0])
            delete(*arguments, **keywords)

        return count

    with monkeypatch.context() as patch:
        patch.setattr(folders.shutil, "rmtree", killed_later(shutil.rmtree))
        patch.setattr(pathlib.Path, "unlink", killed_later(pathlib.Path.unlink))
        outcome = call(f"--workdir={workdir}", "--overwrite")
    assert outcome.code == 130 and len(done) == deletions
    # What is left does not pass for finished, and still is of this program.
    assert (workdir / "result.json").exists() == (deletions == 0)
    if 0 < deletions < 6:
        assert_refused(call(f"--workdir={workdir}"), "unfinished", "--overwrite")
    assert call(f"--workdir={workdir}", "--overwrite").code == 0
    assert len(untrained) == 2
    assert {path.name for path in workdir.iterdir()} == {".lock", "config.json"}


@pytest.mark.slow
def test_a_disk_that_fills_up_is_one_line(forks, xla, tmp_path):
    """No file may grow: neither of a checkpoint nor of what is compiled."""
    workdir = tmp_path / "a run"
    arguments = [*MOONS, "--checkpoint_seconds=0", f"--workdir={workdir}"]
    environment = {k: v for k, v in xla.items() if k != "JAX_COMPILATION_CACHE_DIR"}

    limited = ("bash", "-c", 'ulimit -f 4; exec "$@"', "limited")  # KiB
    outcome = execute(environment, *arguments, under=limited)
    assert outcome.code == 4
    assert outcome.err.count("\n") == 1, outcome.err
    assert f"error: {workdir / 'checkpoints'}" in outcome.err
    assert "cannot be written: File too large. What was saved before" in outcome.err
    command = shlex.split(outcome.err.partition("then: ")[2])
    assert command == ["python", "-m", "experiments.main", *arguments, "--resume"]
    assert not list(workdir.glob("checkpoints/*/*"))
    outcome = fork(forks, *command[3:], "--checkpoint_seconds=3600")
    assert outcome.code == 0 and outcome.err == ""


@pytest.mark.parametrize("extra", [[], ["--resume"]])
@pytest.mark.parametrize(
    ("arguments", "named", "unnamed"),
    [
        (["--seed=1"], ["seed=0"], ["epochs", "dataset"]),
        (["--epochs=7"], ["epochs=20"], ["seed", "label_epochs"]),
        (["--hidden_sizes=8,9"], ["hidden_sizes=[256, 256, 512]"], ["seed"]),
        (["--preset=paper"], ["preset=default", "init=ensemble"], ["seed"]),
        (["--dataset=moons"], ["dataset=digits", "moons_distance=None"], ["seed"]),
    ],
)
def test_another_configuration_is_refused_with_what_differs(
    tmp_path, untrained, arguments, named, unnamed, extra
):
    workdir = tmp_path / "run"
    assert call(f"--workdir={workdir}").code == 0
    before = (workdir / "config.json").read_bytes()
    outcome = call(f"--workdir={workdir}", *arguments, *extra)
    assert_refused(outcome, "another configuration", *named)
    there = outcome.err.partition("(there: ")[2].partition(")")[0]
    for name in unnamed:
        assert not re.search(rf"\b{name}=", there)
    assert (workdir / "config.json").read_bytes() == before
    assert call(f"--workdir={workdir}", *arguments, "--overwrite").code == 0


def test_a_preset_value_given_twice_is_the_same_configuration(tmp_path, untrained):
    workdir = tmp_path / "run"
    assert call(f"--workdir={workdir}").code == 0
    outcome = call(
        f"--workdir={workdir}", "--epochs=20", "--checkpoint_seconds=1", "--resume"
    )
    assert outcome.code == 0


def test_the_default_workdir_names_the_run(tmp_path, untrained, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("--dataset=moons", "--seed=3").code == 0
    config = json.loads((tmp_path / "runs/moons-dgg-3/config.json").read_text())
    assert (config["dataset"], config["seed"]) == ("moons", 3)
    assert config["moons_distance"] == "near"
    assert call("--dataset=moons", "--moons_distance=far", "--seed=3").code == 0
    config = json.loads((tmp_path / "runs/moons-far-dgg-3/config.json").read_text())
    assert config["moons_distance"] == "far"
    config = json.loads((tmp_path / "runs/moons-dgg-3/config.json").read_text())
    assert config["preset_values"] == json.loads(
        json.dumps(dataclasses.asdict(presets.dgg("moons")))
    )


def first_methods():
    """(method, field): each setting once, for the first method that has it."""
    found = {}
    for method in presets.METHODS:
        for field in dataclasses.fields(presets.preset_class(method)):
            found.setdefault(field.name, method)
    return [(method, name) for name, method in found.items()]


def another(method, name, value):
    """A valid value of a setting that is not this one."""
    choices = presets.settings(presets.preset_class(method))[name].choices
    if choices:
        return next(one for one in choices if one != value)
    if name == "num_candidates":
        return value + 10
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return value * 0.5 or 0.25 if isinstance(value, float) else (7, 6)


@pytest.mark.parametrize(("method", "name"), first_methods())
def test_every_setting_is_a_flag(untrained, tmp_path, method, name):
    default = presets.preset(method, "digits")
    value = getattr(default, name)
    new = another(method, name, value)
    text = ",".join(map(str, new)) if isinstance(new, tuple) else str(new)
    arguments = [f"--method={method}", f"--workdir={tmp_path / 'run'}"]
    outcome = call(*arguments, f"--{name}={text}")
    if name == "architecture":  # of convolutions, which digits are too small for
        assert_refused(outcome, "image_shape=(8, 8, 1) does not fit")
        return
    assert outcome.code == 0, outcome.err
    ((config, _),) = untrained
    assert getattr(config.preset, name) == new
    restored = dataclasses.replace(config.preset, **{name: value})
    # More neighbours than candidates ask for more candidates.
    wider = {"num_candidates": 21} if (method, name) == ("dgg", "num_neighbors") else {}
    assert restored == dataclasses.replace(default, **wider)


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["--workdir=elsewhere", "--checkpoint_seconds=1"], ""),
        (["--seed=0", "--method=dgg", "--dataset=digits", "--epochs=20"], ""),
        (["--hidden_sizes", "7, 6", "--seed", "3"], "--seed=3 --hidden_sizes=7,6"),
        (
            ["--preset=paper", "--classifier_hidden_sizes="],
            "--preset=paper --classifier_hidden_sizes=",
        ),
        (
            ["--preset=paper", "--method=vade", "--nokl_term"],
            "--method=vade --preset=paper --kl_term=false",
        ),
        (
            ["--num_neighbors=120", "--learning_rate=1e-05"],
            "--learning_rate=1e-05 --num_neighbors=120 --num_candidates=120",
        ),
        (
            ["--dataset=moons", "--moons_distance=far", "--data_dir=a b"],
            "--dataset=moons --moons_distance=far '--data_dir=a b'",
        ),
    ],
)
def test_the_command_of_a_run_repeats_it(untrained, tmp_path, arguments, command):
    assert call(*arguments, f"--workdir={tmp_path / '1'}").code == 0
    first = untrained[-1][0]
    assert first.command() == f"python -m experiments.main {command}".rstrip()
    again = shlex.split(first.command())[3:]
    assert call(*again, f"--workdir={tmp_path / '2'}").code == 0
    assert untrained[-1][0].identity() == first.identity()


def test_help_describes_every_flag(xla):
    outcome = execute(xla, "--helpfull")
    assert outcome.err == ""
    words = " ".join(outcome.out.split())
    for method in presets.METHODS:
        cls = presets.preset_class(method)
        settings = presets.settings(cls)
        for field in dataclasses.fields(cls):
            assert f"--{'[no]' if field.type is bool else ''}{field.name}:" in words
            assert len(settings[field.name].text) > 10, field.name
    settings = presets.settings(presets.DGGPreset)
    for name in ("num_candidates", "graph_strength"):
        start = " ".join(settings[name].text.split()[:3])
        assert f"--{name}: {start}" in words
        assert f"Of {', '.join(config_module.methods_with(name))}." in words
    of_some = "Of dgg, spectral, siamese_spectral. "  # neighbor_weights
    assert of_some in words.replace(" (", ". (")
    for name in ("dataset", "data_dir", "workdir", "seed", "preset", "moons_distance"):
        assert f"--{name}:" in words
    assert "--[no]resume:" in words and "--[no]overwrite:" in words


def test_short_help_describes_what_everyone_sets(xla):
    outcome = execute(xla, "--helpshort")
    assert (outcome.code, outcome.err) == (0, "")
    shown = re.findall(r"^  --(?:\[no\])?(\w+):", outcome.out, re.M)
    assert shown == [
        "batch", "data_dir", "dataset", "image_shape", "image_size", "label", "layer",
        "method", "num_clusters", "num_rows", "overwrite", "preset", "profile",
        "resume", "scaling", "seed", "stability", "workdir",
    ]  # fmt: skip
    told = '--helpfull lists all, under "expert settings" every setting of the methods.'
    assert told in " ".join(outcome.out.split())
    assert execute(xla, "--help") == outcome


def test_a_wrong_flag_of_a_process_is_one_line(xla, tmp_path):
    outcome = execute(xla, "--epohcs=3", cwd=tmp_path)
    assert_refused(outcome, "Unknown command line flag 'epohcs'")
    assert list(tmp_path.iterdir()) == []


def test_mistakes_are_told_before_jax_is_imported(xla, tmp_path):
    program = (
        "import sys; from dgg_jax.cli import command, run\n"
        "code = run.main(command.parse_flags(['', '--resume', '--workdir=none']))\n"
        "assert code == 2, code\n"
        "assert not {'jax', 'sklearn', 'tensorflow_datasets'} & set(sys.modules)\n"
    )
    environment = {**xla, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# --- A run -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(xla, tmp_path_factory):
    """A finished run of moons: its folder, its arguments and what it printed."""
    workdir = tmp_path_factory.mktemp("moons") / "run"
    arguments = (*MOONS, "--seed=5", "--restarts=2", f"--workdir={workdir}")
    outcome = call(*arguments)
    assert outcome.code == 0, outcome.err
    return workdir, arguments, outcome


def test_a_run_is_plain_lines_off_a_terminal(finished):
    _, _, outcome = finished
    assert outcome.err == ""
    assert "\r" not in outcome.out and "\x1b" not in outcome.out
    lines = outcome.out.splitlines()
    assert lines[0].startswith("dgg on half_circles(distance='near'")
    assert "  train 3/3  objective " in outcome.out
    numbered = [line for line in lines if re.match(r"\[\d/6\] ", line)]
    expected = [f"[{n}/6] {name}:" for n, name in enumerate(dgg.STAGES, start=1)]
    assert [" ".join(line.split()[:2]) for line in numbered] == expected
    assert all(len(line) < 120 for line in lines)


def test_a_run_ends_with_its_summary(finished):
    workdir, _, outcome = finished
    summary = outcome.out.partition("\n\n")[2]
    final = json.loads((workdir / "result.json").read_text())["final"]
    assert f"accuracy {final['accuracy']:.4f}" in summary
    assert f"ELBO {final['elbo']:.2f} nats" in summary
    assert outcome.out.rstrip().endswith(f"Report   {workdir / 'report.html'}")
    for stage in dgg.STAGES:
        assert f"\n  {stage} " in "\n" + summary


def test_result_json_holds_the_run(finished):
    workdir, _, _ = finished

    def forbidden(value):
        raise AssertionError(f"{value} is not JSON")

    text = (workdir / "result.json").read_text()
    result = json.loads(text, parse_constant=forbidden)
    final = result["final"]
    assert {"accuracy", "nmi", "ari", "elbo"} <= set(final)
    assert final.pop("thin_clusters") == []
    assert all(type(value) is float for value in final.values())
    assert 0.5 <= final["accuracy"] <= 1 and 0 <= final["nmi"] <= 1
    assert [stage["name"] for stage in result["stages"]] == list(dgg.STAGES)
    for stage in result["stages"]:
        assert type(stage["seconds"]) is float and stage["seconds"] >= 0
        assert math.isfinite(stage["elbo"])
    last = result["stages"][-1]
    assert {name: last[name] for name in final} == final
    best = max(last["restarts"], key=lambda one: one["graph_information"])
    assert best["elbo"] == final["elbo"] and len(last["restarts"]) == 2
    assert result["versions"]["jax"] == jax.__version__
    assert result["versions"]["dgg_jax"] == dgg_jax.__version__
    assert type(result["device"]) is str and result["device"]
    assert type(result["seed"]) is int and result["seed"] == 5
    assert result["dataset"]["rows"] == 4000 and result["dataset"]["features"] == 2
    assert result["seconds"] > 0
    config = json.loads((workdir / "config.json").read_text())
    assert result["config"] == config
    assert config["preset_values"]["hidden_sizes"] == [8]
    assert config["preset_values"]["restarts"] == 2


def test_predictions_load_without_pickle(finished):
    workdir, _, _ = finished
    with np.load(workdir / "predictions.npz", allow_pickle=False) as arrays:
        labels = arrays["labels"]
        probabilities, embedding = arrays["probabilities"], arrays["embedding"]
    assert labels.shape == (4000,) and np.issubdtype(labels.dtype, np.integer)
    assert probabilities.shape == (4000, 2) and embedding.shape == (4000, 2)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), labels)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-4)
    _, y = data.synthetic.half_circles(distance="near", seed=0)
    result = json.loads((workdir / "result.json").read_text())
    accuracy = dgg_jax.metrics.clustering_accuracy(y, labels)
    assert accuracy == result["final"]["accuracy"]


def test_a_run_leaves_its_model(finished):
    workdir, _, _ = finished
    with np.load(workdir / "predictions.npz", allow_pickle=False) as arrays:
        model = dgg_jax.load(workdir / "model")
        x = data.load("moons").x
        np.testing.assert_array_equal(model.predict(x), arrays["labels"])
        np.testing.assert_array_equal(model.predict_proba(x), arrays["probabilities"])
        np.testing.assert_array_equal(model.embedding_, arrays["embedding"])
    description = json.loads((workdir / "model" / "model.json").read_text())
    assert description["preprocessing"].startswith("half_circles")
    result = json.loads((workdir / "result.json").read_text())
    assert description["metrics"] == result["stages"][-1]
    assert model.history_[0]["epoch"] == 1
    assert model.get_params()["random_state"] == result["seed"]


class Links(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for name, v in attrs if name in ("src", "href", "srcset")]


def test_the_report_is_one_self_contained_page(finished):
    workdir, _, _ = finished
    page = (workdir / "report.html").read_text()
    parser = Links()
    parser.feed(page)
    assert "img" in parser.tags
    assert not {"link", "iframe"} & set(parser.tags)
    others = {x for x in parser.links if not x.startswith(("data:", "#"))}
    assert others == {"model/", "predictions.npz", "result.json"}
    assert all((workdir / name).exists() for name in others)
    assert "url(" not in page and "@import" not in page
    pictures = list((workdir / "figures").glob("*.png"))
    assert len(pictures) >= 4
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


def test_a_run_leaves_no_partial_files(finished):
    workdir, _, _ = finished
    names = {path.name for path in workdir.iterdir()}
    assert names == {
        ".lock", "checkpoints", "config.json", "figures", "metrics.jsonl", "model",
        "predictions.npz", "report.html", "result.json",
    }  # fmt: skip


@pytest.mark.parametrize("extra", [[], ["--resume"]])
def test_a_finished_run_prints_its_summary_again(finished, untrained, extra):
    workdir, arguments, first = finished
    before = {path: path.stat().st_mtime_ns for path in workdir.iterdir()}
    outcome = call(*arguments, *extra)
    assert outcome.code == 0 and outcome.err == ""
    assert "finished" in outcome.out and "--overwrite" in outcome.out
    assert outcome.out.partition("\n\n")[2] == first.out.partition("\n\n")[2]
    assert untrained == []
    assert {path: path.stat().st_mtime_ns for path in workdir.iterdir()} == before


@pytest.mark.slow
def test_a_run_without_labels_has_no_accuracy(xla, tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    x = np.concatenate([random.normal(c, 0.1, (40, 2)) for c in (0, 1)])
    use_data(monkeypatch, x.astype(np.float32))
    outcome = call(*MOONS, f"--workdir={tmp_path / 'run'}")
    assert outcome.code == 0, outcome.err
    result = json.loads((tmp_path / "run/result.json").read_text())
    for name in ("accuracy", "nmi", "ari"):
        assert result["final"][name] is None
        assert all(stage[name] is None for stage in result["stages"])
    assert math.isfinite(result["final"]["elbo"])
    assert "no labels, hence no accuracy" in outcome.out
    assert "ACC" not in outcome.out.partition("\n\n")[0]


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (["--label_epochs=0", "--epochs=3"], r"step \d of 2 in epoch \d of train"),
        # The very last update: no step is left to see it.
        (
            ["--label_epochs=0", "--epochs=1", "--batch_size=80"],
            "in the evaluation of stage train",
        ),
    ],
)
def test_divergence_names_the_place_and_keeps_the_checkpoint(
    xla, tmp_path, monkeypatch, arguments, place
):
    random = np.random.default_rng(0)
    x = np.concatenate([random.normal(c, 0.1, (40, 2)) for c in (0, 1)])
    use_data(monkeypatch, x.astype(np.float32))
    workdir = tmp_path / "run"
    outcome = call(
        *MOONS, "--batch_size=40", "--learning_rate=1e30", *arguments,
        f"--workdir={workdir}",
    )  # fmt: skip
    assert outcome.code == 3
    assert outcome.err.count("\n") == 1 and "Traceback" not in outcome.err
    terms = "reconstruction|latent_prior|latent_entropy|cluster_prior|cluster_entropy"
    assert re.match(
        rf"error: training diverged: ({terms}) is not finite .*{place}", outcome.err
    ), outcome.err
    assert "of stage train" in outcome.err
    assert str(workdir / "checkpoints") in outcome.err
    assert "--learning_rate" in outcome.err
    assert not (workdir / "result.json").exists()
    checkpoints = Checkpoints(workdir / "checkpoints")
    step, state, record = checkpoints.restore("stages")
    checkpoints.close()
    assert step == 4 and record["records"][-1]["name"] == "classifier"
    for leaf in jax.tree.leaves(state["models"]):
        assert np.isfinite(leaf).all()


def test_a_workdir_may_have_any_name(xla, tmp_path, monkeypatch):
    x = np.random.default_rng(0).random((60, 4)).astype(np.float32)
    use_data(monkeypatch, x, np.arange(60) % 3)
    workdir = tmp_path / "[1]*?%s'\"\n\\ü\udcff"
    flags = "--method=kmeans", "--num_clusters=3", f"--workdir={workdir}"
    outcome = call(*flags)
    assert outcome.code == 0 and outcome.err == "", outcome.err
    stages = json.loads((workdir / "result.json").read_text())["stages"]
    (workdir / "result.json").unlink()
    outcome = call(*flags, "--resume")
    assert outcome.code == 0 and outcome.err == "", outcome.err
    # The seconds, too: they are of the checkpoint.
    assert json.loads((workdir / "result.json").read_text())["stages"] == stages


# --- Other methods -----------------------------------------------------------------


def test_a_run_of_a_method_without_a_model(xla, tmp_path, monkeypatch):
    x = np.random.default_rng(0).random((60, 4)).astype(np.float32)
    use_data(monkeypatch, x, np.arange(60) % 3)
    workdir = tmp_path / "run"
    outcome = call("--method=kmeans", "--num_clusters=3", f"--workdir={workdir}")
    assert outcome.code == 0 and outcome.err == "", outcome.err
    result = json.loads((workdir / "result.json").read_text())
    assert [stage["name"] for stage in result["stages"]] == ["cluster"]
    assert result["final"]["elbo"] is None and result["paper"] is None
    accuracy = result["final"]["accuracy"]
    assert f"Reached  accuracy {accuracy:.4f}, NMI " in outcome.out
    assert "ELBO" not in outcome.out.partition("Reached")[2]
    with np.load(workdir / "predictions.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"labels"}
        assert dgg_jax.metrics.clustering_accuracy(np.arange(60) % 3, arrays["labels"])
    page = (workdir / "report.html").read_text()
    assert "digits, clustered with K-means" in page
    assert "ELBO" not in page and "What the model generates" not in page
    assert "t-SNE of the rows" in page and "latents" not in page.replace(
        'id="latents"', ""
    )
    pictures = {path.name for path in (workdir / "figures").iterdir()}
    assert pictures == {"latents.png", "confusion.png", "sizes.png"}
    again = call("--method=kmeans", "--num_clusters=3", f"--workdir={workdir}")
    assert again.code == 0 and "holds this run, finished" in again.out


def test_the_summary_compares_like_with_like(tmp_path):
    result = {
        "stages": [{"name": "train", "seconds": 1.0}],
        "final": {"accuracy": 0.5, "nmi": 0.25, "ari": 0.125, "elbo": None},
        "paper": {"accuracy": 0.75, "score": "accuracy", "source": "table 1"},
        "seconds": 1.0,
    }
    lines = main._summary(result, tmp_path).splitlines()
    assert lines[-3:-1] == [
        "Reached  accuracy 0.5000, NMI 0.2500, ARI 0.1250, in 1 s.",
        "Paper    accuracy 0.7500 (table 1).",
    ]
    result["final"] |= {"confident_label_accuracy": 0.625, "elbo": -3.0}
    result["paper"]["score"] = "confident_label_accuracy"
    lines = main._summary(result, tmp_path).splitlines()
    assert lines[-3:-1] == [
        "Reached  accuracy 0.5000, NMI 0.2500, ARI 0.1250, most-confident-label "
        "accuracy 0.6250, ELBO -3.00 nats, in 1 s.",
        "Paper    most-confident-label accuracy 0.7500 (table 1).",
    ]
    result |= {"final": dict.fromkeys(result["final"]), "paper": None}
    lines = main._summary(result, tmp_path).splitlines()
    assert lines[-2] == "Reached  clusters (no labels, hence no accuracy), in 1 s."


def test_the_summary_warns_of_collapsed_clusters(tmp_path):
    result = {
        "stages": [],
        "final": {"accuracy": 0.5, "elbo": None, "thin_clusters": [2, 9]},
        "paper": None,
        "seconds": 1.0,
        "config": {"preset_values": {"num_clusters": 10}},
    }
    warning, last = main._summary(result, tmp_path).splitlines()[-2:]
    assert warning.startswith("Warning  clusters 2, 9 of 10 have less than 1.00% of")
    assert "fewer clusters" in warning and last.startswith("Report")
    result["final"]["thin_clusters"] = []
    assert "Warning" not in main._summary(result, tmp_path)


@pytest.mark.slow
def test_a_run_of_gmvae(xla, tmp_path, monkeypatch):
    x = np.random.default_rng(0).random((60, 4)).astype(np.float32)
    use_data(monkeypatch, x, np.arange(60) % 3)
    monkeypatch.setattr(
        published,
        "figure",
        lambda method, dataset, preset: {
            "accuracy": 0.25, "score": "confident_label_accuracy",
            "source": f"of {method}, K = {preset.num_clusters}",
        },
    )  # fmt: skip
    workdir = tmp_path / "run"
    outcome = call(
        "--method=gmvae", "--preset=smoke", "--num_clusters=3", "--hidden_sizes=8",
        "--component_hidden_size=4", "--latent_dim=2", "--w_dim=2",
        f"--workdir={workdir}",
    )  # fmt: skip
    assert outcome.code == 0 and outcome.err == "", outcome.err
    result = json.loads((workdir / "result.json").read_text())
    own = result["final"]["confident_label_accuracy"]
    assert own == result["stages"][-1]["confident_label_accuracy"]
    assert f", most-confident-label accuracy {own:.4f}, ELBO " in outcome.out
    paper = "most-confident-label accuracy 0.2500 (of gmvae, K = 3)."
    assert f"Paper    {paper}" in outcome.out
    page = (workdir / "report.html").read_text()
    assert ">Most confident label</a></dt>" in page and ">ELBO</a></dt>" in page
    assert "What the model generates" in page
    with np.load(workdir / "predictions.npz", allow_pickle=False) as arrays:
        assert arrays["probabilities"].shape == (60, 3)


# --- Progress ----------------------------------------------------------------------


def test_progress_is_sparse_in_plain_lines(capsys, monkeypatch):
    from dgg_jax import progress as module

    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    progress = Progress(["train", "evaluate"], say=print)
    for epoch in range(1, 31):
        now[0] += 1.0
        progress.epoch("train", "train", epoch, 30, {"objective": [-1.5, -2.25]})
    progress.stage({"name": "train", "seconds": 30.0, "elbo": -2.0, "accuracy": None})
    captured = capsys.readouterr()
    assert captured.err == ""
    *epochs, stage = captured.out.splitlines()
    assert epochs[0] == "  train 1/30  objective -1.5,-2.25"
    assert epochs[-1] == "  train 30/30  objective -1.5,-2.25"
    assert 6 <= len(epochs) <= 8
    assert stage == "[1/2] train: 30.0 s  ELBO -2.00"


def test_progress_tells_every_restart(capsys):
    progress = Progress(["train"], say=print)
    restarts = [{"accuracy": 0.5, "elbo": -1.0}, {"accuracy": 0.25, "elbo": -2.0}]
    progress.stage({"name": "train", "seconds": 1.0, "restarts": restarts})
    expected = "[1/1] train: 1.0 s  ACC 0.5000, 0.2500  ELBO -1.00, -2.00\n"
    assert capsys.readouterr().out == expected


def test_progress_of_finished_stages_is_repeated_on_resuming(capsys):
    progress = Progress(["pretrain", "graph"], say=print)
    progress.resume([{"name": "pretrain", "seconds": 2.0}])
    progress.stage({"name": "graph", "seconds": 3.0})
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["[1/2] pretrain: 2.0 s", "[2/2] graph: 3.0 s"]


@pytest.mark.slow
def test_a_bar_is_drawn_on_a_terminal(xla, tmp_path):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    shown = b""
    with started(
        sys.executable, "-m", "experiments.main", *MOONS, "--epochs=100",
        f"--workdir={tmp_path / 'run'}",
        env=xla, stdout=subprocess.DEVNULL, stderr=theirs,
    ) as process:  # fmt: skip
        os.close(theirs)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 1.0)[0]:
                try:
                    piece = os.read(ours, 65536)
                except OSError:  # Linux's way to say that the other side has closed
                    break
                if not piece:
                    break
                shown += piece
        assert process.wait(PATIENCE) == 0, shown
    os.close(ours)
    frames = shown.decode().split("\r")
    bars = [frame for frame in frames if "|" in frame and "%" in frame]
    assert any(re.match(r"  train: .*\d+/100 \[.*objective", bar) for bar in bars)
    assert any(bar.startswith("  autoencoder:") for bar in bars)
    # Nothing else: no warning of a library, and no bar is left behind.
    others = [frame for frame in frames if frame not in bars]
    assert "".join(others).strip() == ""
    assert "\n" not in shown.decode().strip()


# --- Stopping ----------------------------------------------------------------------


def test_a_stop_signal_is_remembered_and_the_next_one_ends(capsys):
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        stop = StopSignal()
        assert not stop() and stop.received is None
        signal.raise_signal(signal.SIGTERM)
        assert stop() and stop.received == signal.SIGTERM
        assert "once more to stop at once" in capsys.readouterr().err
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_ctrl_c_before_training_is_one_line(tmp_path, monkeypatch):
    def load(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "load", load)
    outcome = call(f"--workdir={tmp_path / 'run'}")
    assert_refused(outcome, "interrupted", code=130)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "--resume"),
        (["--resume"], "--resume"),
        (["--overwrite", "--epochs=3"], "--epochs=3 --resume"),
        (["-resume=true", "--noresume", "--nooverwrite"], "--resume"),
        (
            ["--workdir=elsewhere/resume/overwrite"],
            "--workdir=elsewhere/resume/overwrite --resume",
        ),
        (["--workdir", "a b"], "--workdir 'a b' --resume"),
    ],
)
def test_the_resume_command_keeps_the_other_flags(arguments, expected):
    resuming = command.continuing("run", arguments, "--resume")
    assert resuming == f"python -m experiments.main {expected}"


@pytest.mark.slow
def test_a_stopped_run_says_how_to_go_on(forks, tmp_path):
    """By one signal, then by the other; at last it goes on to its end."""
    workdir = tmp_path / "resume this"
    arguments = [*MOONS, "--epochs=200", "--tolerance=0", f"--workdir={workdir}"]
    lines = workdir / "metrics.jsonl"
    command, done = ["python", "-m", "experiments.main", "--overwrite", *arguments], 0

    def trained():
        return lines.read_text().count('"loop": "train"') if lines.exists() else 0

    for number in (signal.SIGTERM, signal.SIGINT):
        process = forks.start(*command[2:])
        try:
            deadline = time.monotonic() + PATIENCE
            while trained() <= done:
                assert process.poll() is None, process.err
                assert time.monotonic() < deadline
                time.sleep(0.005)
            process.send_signal(number)
            assert process.wait(PATIENCE) == 128 + number
        finally:
            process.kill()
        out, err = process.out, process.err
        assert "Stopping at the next checkpoint; once more" in err
        assert len(err.splitlines()) == 2 and "Traceback" not in err
        assert f"everything so far is in {workdir}" in out
        # It went on where it stopped.
        first = re.search(r"  train (\d+)/200", out)
        assert int(first[1]) == done + 1
        assert done < trained() < 200
        done = trained()
        command = shlex.split(out.splitlines()[-1])
        assert command == ["python", "-m", "experiments.main", *arguments, "--resume"]
        assert not (workdir / "result.json").exists()

    outcome = fork(forks, *command[3:])
    assert outcome.code == 0 and outcome.err == ""
    assert "Reached  accuracy" in outcome.out
    epochs = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [line["epoch"] for line in epochs if line["loop"] == "train"] == list(
        range(1, 201)
    )
    first = re.search(r"  train (\d+)/200", outcome.out)
    assert int(first[1]) == done + 1


# --- Smoke runs --------------------------------------------------------------------


@pytest.mark.slow
def test_digits_run_from_the_command_line(forks, xla, tmp_path):
    workdir = tmp_path / "run"
    outcome = execute(xla, "--preset=smoke", f"--workdir={workdir}")
    assert outcome.code == 0
    assert outcome.err == ""
    result = json.loads((workdir / "result.json").read_text())
    assert result["dataset"]["name"] == "digits"
    assert result["dataset"]["rows"] == 1797
    assert math.isfinite(result["final"]["elbo"])
    # A first picture: 0.92 to 0.94 of seeds 0 to 2, see results/smoke.txt.
    assert result["final"]["accuracy"] > 0.7
    assert result["final"]["smallest_share"] > 0.0
    assert "--preset=smoke" in result["command"]
    assert "\nSmoke    shows that everything runs; leave --preset out" in outcome.out
    again = fork(forks, "--preset=smoke", f"--workdir={workdir}")
    assert again.code == 0 and "holds this run, finished" in again.out


@pytest.mark.slow
def test_moons_far_run_from_the_command_line(forks, tmp_path):
    outcome = fork(
        forks, "--dataset=moons", "--moons_distance=far", "--preset=smoke",
        f"--workdir={tmp_path / 'run'}",
    )  # fmt: skip
    assert outcome.code == 0
    assert outcome.err == ""
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result["config"]["moons_distance"] == "far"
    assert "distance='far'" in outcome.out


def test_flags_are_as_before():
    """What ``call`` parses must not leak into other tests."""
    assert flags.FLAGS["seed"].value == 0
    assert flags.FLAGS["workdir"].value is None
