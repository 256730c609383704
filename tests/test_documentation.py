import dataclasses
import json
import pathlib
import pkgutil
import re

import pytest

import dgg_jax
from dgg_jax import data, presets
from dgg_jax.methods import dgg
from dgg_jax.methods.base import Run

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")])


def python_blocks(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)


@pytest.fixture
def small(monkeypatch, tmp_path, compiled_once):
    """Fewer rows and a tiny preset; further runs of the same data return the first."""
    monkeypatch.chdir(tmp_path)
    digits = data.load("digits")
    few = digits._replace(x=digits.x[:300], y=digits.y[:300])
    monkeypatch.setattr(data, "load", lambda name, **arguments: few)
    preset = presets.DGGPreset(
        hidden_sizes=(8,),
        latent_dim=2,
        num_neighbors=5,
        num_candidates=5,
        pretrain_autoencoder_epochs=1,
        pretrain_vae_epochs=1,
        siamese_epochs=1,
        classifier_epochs=1,
        epochs=1,
    )
    monkeypatch.setattr(presets, "dgg", lambda dataset: preset)
    runs, run = {}, dgg.run

    def run_once(x, preset, **arguments):
        kind = frozenset(arguments) - {"seed"}
        if kind not in runs:
            runs[kind] = run(x, preset, **arguments)
        return runs[kind]

    monkeypatch.setattr(dgg, "run", run_once)


def finished_run(workdir):
    workdir.mkdir(parents=True)
    runner, preset = Run(workdir), presets.dgg("digits")
    dgg.run(data.load("digits").x, preset, runner=runner)
    runner.close()
    config = {"preset_values": dataclasses.asdict(preset)}
    (workdir / "config.json").write_text(json.dumps(config))


def test_examples_of_the_readme_run(small, tmp_path):
    finished_run(tmp_path / "runs" / "digits-dgg-0")  # which an example restores
    namespace = {}
    for block in python_blocks(REPOSITORY / "README.md"):
        exec(block, namespace)
    assert namespace["log_assignment"].shape == (10, 10)


def test_examples_of_the_guide_run(small, tmp_path):
    namespace = {}
    for block in python_blocks(REPOSITORY / "docs" / "guide.md"):
        exec(block, namespace)
    assert set(namespace["stability"].values()) == {1.0}  # of one run with itself
    assert (tmp_path / "runs" / "mine" / "metrics.jsonl").exists()


def test_every_module_is_in_the_reference():
    pages = "".join(p.read_text() for p in REPOSITORY.glob("docs/api/*.rst"))
    documented = set(re.findall(r"automodule:: (\S+)", pages))
    packages = {"dgg_jax"}
    modules = set()
    for module in pkgutil.walk_packages(dgg_jax.__path__, "dgg_jax."):
        (packages if module.ispkg else modules).add(module.name)
    # The packages of networks, figures and the loop show what their modules hold.
    shown = ("dgg_jax.networks.", "dgg_jax.plots.", "dgg_jax.training.")
    missing = {name for name in modules - documented if not name.startswith(shown)}
    assert missing == set()
    assert packages - documented == {"dgg_jax"}
    assert documented <= modules | packages


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target
