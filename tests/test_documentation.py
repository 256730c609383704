import functools
import importlib
import json
import pathlib
import pkgutil
import re
import shlex
import textwrap
import warnings

import matplotlib.pyplot
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from sklearn import datasets
from sklearn.utils import Bunch

import dgg_jax
from dgg_jax import data, estimators, methods, presets
from dgg_jax.methods import dgg
from tests.hardening.check_estimators import tiny

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(REPOSITORY.glob("docs/notebooks/*.ipynb"))
PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")])


def python_blocks(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Fewer rows and tiny settings; further runs of the same data return the first."""
    monkeypatch.chdir(tmp_path)
    digits = datasets.load_digits()
    few = Bunch(data=digits.data[:300], target=digits.target[:300])
    monkeypatch.setattr(datasets, "load_digits", lambda: few)
    settings = {
        "hidden_sizes": (8,),
        "latent_dim": 2,
        "num_neighbors": 5,
        "num_candidates": 5,
        "pretrain_autoencoder_epochs": 1,
        "pretrain_vae_epochs": 1,
        "siamese_epochs": 1,
        "classifier_epochs": 1,
        "label_epochs": 0,
        "epochs": 1,
    }
    preset = presets.DGGPreset(**settings)
    monkeypatch.setattr(presets, "dgg", lambda dataset: preset)
    DGG = functools.partial(estimators.DGG, **settings)
    monkeypatch.setattr(dgg_jax, "DGG", DGG, raising=False)
    runs, run = {}, dgg.run

    def run_once(x, preset, **arguments):
        links = arguments.get("must_link") is None
        kind = frozenset(arguments) - {"seed"}, links, len(x), preset.learning_rate
        if kind not in runs:
            runs[kind] = run(x, preset, **arguments)
        return runs[kind]

    monkeypatch.setattr(dgg, "run", run_once)
    rigged = methods.method("dgg")._replace(run=run_once)
    monkeypatch.setitem(methods.METHODS, "dgg", rigged)


def test_examples_of_the_readme_run(small, tmp_path):
    namespace = {}
    for block in python_blocks(REPOSITORY / "README.md"):
        exec(block, namespace)
    assert namespace["images"].shape == (20, 64)
    assert dgg_jax.load(tmp_path / "digits-model").labels_.shape == (300,)


@pytest.mark.parametrize("name", ["losses", "python"])
def test_examples_of_other_pages_run(small, tmp_path, name):
    blocks = python_blocks(REPOSITORY / "docs" / f"{name}.md")
    namespace = {}
    for block in blocks:
        exec(block, namespace)
    assert blocks


@pytest.mark.parametrize(
    "name", ["vade", "gmvae", "dec", "spectralnet", "imsat", "catgan", "aae", "ltvae"]
)
def test_examples_of_the_other_estimators_run(small, monkeypatch, name):
    page = (REPOSITORY / "docs" / "api" / f"{name}.rst").read_text()
    title = page.partition("\n")[0]
    settings = tiny(title).get_params()
    del settings["random_state"], settings["n_clusters"]
    settings.pop("image_shape", None)
    rigged = functools.partial(getattr(estimators, title), **settings)
    monkeypatch.setattr(dgg_jax, title, rigged, raising=False)
    (block,) = re.findall(r"code-block:: python\n\n((?:   .*\n|\n)*)", page)
    namespace = {}
    exec(textwrap.dedent(block), namespace)
    assert namespace["model"].labels_.shape == (300,)


def code_cells(path):
    cells = json.loads(path.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["images", "texts", "cells", "rare"])
def test_notebooks_run(monkeypatch, tmp_path, name):
    if name == "cells":
        pytest.importorskip("scanpy")
    monkeypatch.chdir(tmp_path)
    quick = functools.partial(estimators.DGG, preset="smoke")
    monkeypatch.setattr(dgg_jax, "DGG", quick, raising=False)
    matplotlib.use("agg")
    monkeypatch.setattr(matplotlib.pyplot, "show", lambda: None)
    namespace = {}
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # scanpy has some of its own
        for cell in code_cells(REPOSITORY / "docs" / "notebooks" / f"{name}.ipynb"):
            exec("".join(cell["source"]), namespace)
    assert namespace["model"].labels_.min() >= 0


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_shown_as_they_were_executed(path):
    cells = code_cells(path)
    counts = [cell["execution_count"] for cell in cells]
    assert counts == list(range(1, len(cells) + 1))
    kinds = {output["output_type"] for cell in cells for output in cell["outputs"]}
    assert "error" not in kinds
    pictures = [
        o for c in cells for o in c["outputs"] if "image/png" in o.get("data", {})
    ]
    assert pictures or path.stem == "rare"
    assert path.stat().st_size < 2**20
    index = (REPOSITORY / "docs" / "notebooks" / "index.md").read_text()
    assert f"\n{path.stem}\n" in index


@pytest.mark.parametrize("name", ["README", "docs/command-line", "docs/methods"])
def test_commands_are_such_that_can_be_typed(name):
    text = (REPOSITORY / f"{name}.md").read_text()
    blocks = "".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL))
    started = re.compile(r"(?:python -m experiments\.|dgg-jax )(\w+)([^#&\n]*)")
    commands = started.findall(blocks)
    assert commands
    for program, given in commands:
        known = {"run": "main"}.get(program, program)
        importlib.import_module(f"experiments.{known}")
        with flagsaver.flagsaver():
            assert flags.FLAGS([program, *shlex.split(given)]) == [program]


def test_examples_of_the_guide_run(small, tmp_path):
    namespace = {}
    for block in python_blocks(REPOSITORY / "docs" / "guide.md"):
        exec(block, namespace)
    assert set(namespace["stability"].values()) == {1.0}  # of one run with itself
    assert (tmp_path / "runs" / "mine" / "metrics.jsonl").exists()
    assert np.isfinite(namespace["search"].cv_results_["mean_test_score"]).all()


def test_every_module_is_in_the_reference():
    pages = "".join(p.read_text() for p in REPOSITORY.glob("docs/api/*.rst"))
    documented = set(re.findall(r"automodule:: (\S+)", pages))
    packages = {"dgg_jax"}
    modules = set()
    for module in pkgutil.walk_packages(dgg_jax.__path__, "dgg_jax."):
        (packages if module.ispkg else modules).add(module.name)
    # These packages show what their modules hold.
    packages_shown = ("estimators", "networks", "plots", "presets", "training")
    shown = tuple(f"dgg_jax.{name}." for name in packages_shown)
    # Programs, which --helpshort explains.
    shown += ("dgg_jax.cli.", "dgg_jax.__main__")
    missing = {name for name in modules - documented if not name.startswith(shown)}
    assert missing == set()
    assert packages - documented == {"dgg_jax"}
    assert documented <= modules | packages


def test_every_data_set_is_on_its_page():
    page = (REPOSITORY / "docs" / "datasets.md").read_text()
    table = re.findall(r"^\| \[(\w+)\]\(#(\w+)\)", page, re.M)
    assert all(name == anchor for name, anchor in table)
    sections = dict(re.findall(r"^### (\w+)\n((?:(?!^#).*\n)*)", page, re.M))
    assert [name for name, _ in table if name not in sections] == []
    assert set(data.DATASETS) <= set(sections) == {name for name, _ in table}
    for name, text in sections.items():
        for entry in ("**What**", "**Source", "reprocessing", "**Uncertain**"):
            assert entry in text, f"{name} has no {entry}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target
