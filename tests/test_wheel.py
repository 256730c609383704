"""The wheel alone, in a fresh environment and an empty folder: what users have."""

import csv
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from dgg_jax.data import load

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
PACKAGED = ("dgg_jax", "pyproject.toml", "setup.py", "README.md", "LICENSE")

pytestmark = pytest.mark.slow


def output_of(command, cwd, **environment):
    """What a command prints; it must succeed, and may not know of this checkout."""
    ours = ("PYTHONPATH", "XLA_FLAGS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    known = {k: v for k, v in os.environ.items() if k not in ours}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**known, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """The folder of programs of an environment with the wheel and what it needs.

    Where WHEEL_ENVIRONMENT names one, as CI does with a newer Python, it is that one.
    """
    if "WHEEL_ENVIRONMENT" in os.environ:
        return pathlib.Path(os.environ["WHEEL_ENVIRONMENT"], "bin")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # building leaves files behind
    source.mkdir()
    for name in PACKAGED:
        path = REPOSITORY / name
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "download", "-q", "--no-deps", "six", "-d", folder])
    if done.returncode != 0:
        pytest.skip("pip has no index here, or there is no pip")
    output_of([*pip, "wheel", "-q", "--no-deps", source, "-w", folder], folder)
    (wheel,) = folder.glob("dgg_jax*.whl")
    output_of([sys.executable, "-m", "venv", folder / "new"], folder)
    scripts = folder / "new" / "bin"
    output_of([scripts / "pip", "install", "-q", wheel], folder)
    return scripts


@pytest.fixture(scope="module")
def made(scripts, tmp_path_factory):
    """An empty folder in which the main job was done, and what it printed."""
    folder = tmp_path_factory.mktemp("empty")
    cache = {"XDG_CACHE_HOME": str(folder / "cache")}
    command = [scripts / "dgg-jax", "run", "--preset=smoke"]
    return folder, output_of(command, folder, **cache)


def test_it_holds_no_experiments(scripts, tmp_path):
    code = "import importlib.util as u; print(u.find_spec('experiments'))"
    assert output_of([scripts / "python", "-c", code], tmp_path) == "None\n"
    listed = output_of([scripts / "pip", "list"], tmp_path)
    assert "tensorflow-datasets" not in listed and "dgg-jax" in listed


def test_the_main_job(made):
    folder, printed = made
    workdir = folder / "runs" / "digits-dgg-smoke-0"
    assert "Report   runs/digits-dgg-smoke-0/report.html" in printed
    result = json.loads((workdir / "result.json").read_text())
    assert result["command"] == "dgg-jax run --preset=smoke"
    assert result["git_revision"] is None
    assert result["dataset"]["rows"] == 1797
    assert (workdir / "report.html").stat().st_size > 100_000


def test_new_rows(made, scripts):
    folder, _ = made
    np.save(folder / "rows.npy", load("digits").x[:7])
    model = "--model=runs/digits-dgg-smoke-0/model"
    command = [scripts / "dgg-jax", "predict", model, "--data=rows.npy"]
    printed = output_of([*command, "--output=clusters.csv"], folder)
    assert "DGG of runs/digits-dgg-smoke-0/model: 7 rows" in printed
    with open(folder / "clusters.csv", newline="") as file:
        clusters = [int(line["cluster"]) for line in csv.DictReader(file)]
    with np.load(folder / "runs/digits-dgg-smoke-0/predictions.npz") as arrays:
        assert clusters == arrays["labels"][:7].tolist()


def test_the_report_opens(made, scripts):
    folder, _ = made
    page = folder / "runs/digits-dgg-smoke-0/report.html"
    page.unlink()
    browser = folder / "browser"
    browser.write_text('#!/bin/sh\necho "$1" > opened\n')
    browser.chmod(0o755)
    command = [scripts / "dgg-jax", "report", "--open"]
    output_of(command, folder, BROWSER=f"{browser} %s")
    assert (folder / "opened").read_text().strip() == page.as_uri()
    assert "<html" in page.read_text()


def test_mistakes_name_what_one_can_type(made, scripts):
    folder, _ = made
    done = subprocess.run(
        [scripts / "python", "-m", "dgg_jax", "run", "--dataset=mnist"],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache")},
    )
    assert done.returncode == 2 and done.stderr.startswith("error: MNIST is not in")
    assert "pip install 'dgg-jax[datasets]'" in done.stderr
    assert done.stderr.count("\n") == 1
