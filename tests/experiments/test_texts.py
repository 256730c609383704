"""Runs on rows of words, which are sparse and have a scaling."""

import json

import numpy as np
import pytest
from scipy import sparse

from dgg_jax import data, presets
from dgg_jax.cli import compare, predict
from dgg_jax.cli import run as main
from dgg_jax.log import LOGGER
from dgg_jax.runs import run as runs
from dgg_jax.training import Diverged
from tests.experiments.command_line import assert_refused, call, predictions

TRAINING = ("--num_clusters=2", "--preset=smoke", "--hidden_sizes=8")


@pytest.fixture
def texts(tmp_path):
    """A folder with 40 short documents of R8."""
    rng = np.random.default_rng(0)
    words = np.array([f"word{number}" for number in range(30)])
    documents = [
        {
            "split": "TRAIN" if row < 30 else "TEST",
            "topics": [("earn", "ship")[row % 2]],
            "title": "",
            "text": " ".join(rng.choice(words[row % 2 * 15 :][:15], 8)),
        }
        for row in range(40)
    ]
    (tmp_path / "docs.json").write_text(json.dumps(documents))
    return tmp_path


@pytest.fixture
def begun(monkeypatch):
    """Stops every run where its training would begin; lists how far it came."""
    found = []

    def train(config, dataset, runner, progress, began):
        found.append((config, dataset))
        final = {"accuracy": None, "elbo": None}
        return {"stages": [], "final": final, "paper": None, "seconds": 0.0}

    monkeypatch.setattr(runs, "train_and_report", train)
    return found


def run(texts, *arguments, workdir="run", program=main):
    return call(
        "--dataset=reuters_r8",
        f"--data_dir={texts}",
        f"--workdir={texts / workdir}",
        *arguments,
        program=program,
    )


def test_rows_are_made_dense_for_methods_that_need_it(texts, begun):
    outcome = run(texts, "--method=imsat")
    assert outcome.code == 0, outcome.err
    x = data.load("reuters_r8", data_dir=texts).x
    assert sparse.issparse(x)
    ((_, dataset),) = begun
    assert isinstance(dataset.x, np.ndarray) and dataset.x.dtype == np.float32
    np.testing.assert_array_equal(dataset.x, x.toarray())
    assert "reuters_r8 of 40 x 30 takes 0 MiB as a dense matrix.\n" in outcome.out


SIZE = 40 * 30 * 4  # bytes, dense


def test_rows_that_do_not_fit_are_refused(texts, begun, monkeypatch):
    monkeypatch.setattr(LOGGER, "warning", lambda *arguments: None)  # so few rows
    monkeypatch.setattr("dgg_jax.storage.arrays.memory", lambda: 2 * SIZE - 1)
    outcome = run(texts, "--method=imsat")
    assert_refused(outcome, "40 x 30 takes 0 MiB as a dense matrix", "smaller data set")
    assert begun == [] and not (texts / "run").exists()
    monkeypatch.setattr("dgg_jax.storage.arrays.memory", lambda: 2 * SIZE)
    assert run(texts, "--method=imsat").code == 0


def test_methods_with_an_autoencoder_take_sparse_rows(texts, begun, monkeypatch):
    monkeypatch.setattr("dgg_jax.storage.arrays.memory", lambda: 1)
    outcome = run(texts, "--likelihood=learned_gaussian")
    assert outcome.code == 0 and "dense matrix" not in outcome.out
    ((_, dataset),) = begun
    assert sparse.issparse(dataset.x)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.5, 1e-9], ids=["on the device", "on the host"])
def test_a_run_on_sparse_rows(texts, share):
    outcome = run(texts, *TRAINING, f"--device_memory_share={share}")
    assert outcome.code == 0, outcome.err
    assert ("40 x 30 data" in outcome.err) == (share < 0.1)
    for name in ("report.html", "predictions.npz", "model/model.json"):
        assert (texts / "run" / name).is_file()


def test_the_scaling_and_the_variance_go_together(texts, begun):
    assert run(texts, "--tfidf_scaling=unit", workdir="1").code == 0
    assert run(texts, workdir="2").code == 0
    arguments = ["--tfidf_scaling=unit", "--variance=0.1"]
    assert run(texts, *arguments, workdir="3").code == 0
    assert run(texts, "--tfidf_scaling=unit", "--method=kmeans", workdir="4").code == 0
    configs = [config for config, _ in begun]
    lengths = [
        np.linalg.norm(sparse.csr_array(dataset.x).toarray(), axis=1)
        for _, dataset in begun
    ]
    for found, expected in zip(lengths, [1, np.sqrt(30), 1, 1], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert [c.preset.variance for c in configs[:3]] == [0.005, 10.0, 0.1]
    assert [config.identity()["tfidf_scaling"] for config in configs] == [
        "unit", "sqrt_dim", "unit", "unit",
    ]  # fmt: skip
    command = f"python -m experiments.main --dataset=reuters_r8 --data_dir={texts}"
    words = [set(config.command().split()) for config in configs[:3]]
    assert words[1] == set(command.split())
    assert words[0] == words[1] | {"--tfidf_scaling=unit"}
    assert words[2] == words[0] | {"--variance=0.1"}


def test_another_scaling_is_another_run(texts, begun):
    assert run(texts).code == 0
    outcome = run(texts, "--tfidf_scaling=unit")
    assert_refused(outcome, "another configuration", "tfidf_scaling=sqrt_dim")
    assert_refused(run(texts, "--tfidf_scaling=l2"), "--tfidf_scaling=l2", "sqrt_dim")


def test_other_data_know_nothing_of_it(tmp_path, begun):
    outcome = call(f"--workdir={tmp_path / 'run'}", "--tfidf_scaling=unit")
    assert outcome.code == 0
    ((config, dataset),) = begun
    assert "tfidf_scaling" not in config.identity()
    assert config.preset == presets.dgg("digits")
    assert dataset.x.shape == (1797, 64)


def test_a_comparison_of_texts(texts, monkeypatch):
    begun = []

    def train(config, dataset, *_):
        begun.append((config, dataset))
        raise Diverged("at once")

    monkeypatch.setattr(runs, "train_and_report", train)
    arguments = ["--methods=dgg,kmeans", "--seeds=0", "--tfidf_scaling=unit"]
    assert "diverged" in run(texts, *arguments, program=compare).err
    assert [config.method for config, _ in begun] == ["dgg", "kmeans"]
    assert begun[0][0].preset.variance == 0.005
    assert isinstance(begun[0][1].x, np.ndarray)
    identity = json.loads((texts / "run" / "comparison.json").read_text())
    assert identity["tfidf_scaling"] == "unit"
    outcome = run(texts, *arguments[:2], program=compare)
    assert_refused(outcome, "holds another comparison", "tfidf_scaling=unit")


@pytest.mark.slow
def test_a_run_and_its_predictions(texts):
    small = ("--num_neighbors=5", "--num_candidates=8", "--pretrain_layer_epochs=0")
    outcome = run(texts, *TRAINING, *small)
    assert outcome.code == 0, outcome.err
    assert (texts / "run" / "report.html").is_file()
    result = json.loads((texts / "run" / "result.json").read_text())
    assert "count_words, tf_idf('sqrt_dim')" in result["dataset"]["provenance"]
    outcome = call(
        f"--model={texts / 'run' / 'model'}",
        "--data=reuters_r8",
        f"--data_dir={texts}",
        f"--output={texts / 'clusters.csv'}",
        program=predict,
    )
    assert outcome.code == 0, outcome.err
    assert "40 rows" in outcome.out
    table = np.genfromtxt(texts / "clusters.csv", delimiter=",", skip_header=1)
    labels = predictions(texts / "run")["labels"]
    np.testing.assert_array_equal(table[:, 0], labels)
