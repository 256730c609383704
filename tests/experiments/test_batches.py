"""Batches from the command line, and the comparison of what knows of them."""

import json

import numpy as np
import pandas as pd
import pytest

from dgg_jax import load
from dgg_jax.cli import predict
from experiments import batches
from tests.experiments.command_line import assert_refused, call
from tests.methods.toy import blobs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run on rows of two sites, beside tables of others."""
    folder = tmp_path_factory.mktemp("batches")
    x, y = blobs()
    table = pd.DataFrame(x, columns=["a", "b", "c"])
    table.assign(site=1 + np.arange(90) % 2, y=y).to_csv(folder / "x.csv", index=False)
    table.assign(site=2).to_csv(folder / "new.csv", index=False)
    table.assign(site=3).to_csv(folder / "far.csv", index=False)
    outcome = call(
        f"--dataset={folder / 'x.csv'}",
        *("--batch=site", "--label=y", "--num_clusters=3", "--preset=smoke"),
        f"--workdir={folder / 'run'}",
    )
    assert outcome.code == 0, outcome.err
    return folder


def test_a_run_tells_how_clusters_spread(folder):
    result = json.loads((folder / "run" / "result.json").read_text())
    assert result["config"]["batch"] == "site" and "--batch=site" in result["command"]
    assert result["dataset"]["features"] == 3
    assert "2 batches by site" in result["dataset"]["provenance"]
    assert list(result["batches"]) == ["1", "2"]
    counts = np.array(list(result["batches"].values()))
    assert counts.shape == (2, 3) and counts.sum(axis=1).tolist() == [45, 45]
    assert "measured in 2 batches" in (folder / "run" / "report.html").read_text()


def test_predict_reads_the_same_column(folder):
    def predicted(name, *more):
        given = {"model": folder / "run", "data": folder / name}
        given["output"] = folder / "out.csv"
        arguments = [f"--{flag}={value}" for flag, value in given.items()]
        return call(*arguments, *more, program=predict)

    outcome = predicted("new.csv")
    assert outcome.code == 0 and "batches by site" in outcome.out
    model = load(folder / "run")
    x, _ = blobs()
    x = (x - model._scaling.shift) / model._scaling.scale
    expected = model.predict(x.astype(np.float32), batch=["2"] * 90)
    found = pd.read_csv(folder / "out.csv")["cluster"]
    np.testing.assert_array_equal(found, expected)
    assert_refused(predicted("far.csv"), "batch has '3'")
    outcome = predicted("new.csv", "--batch=sight")
    assert_refused(outcome, "batch='sight' must be the name of a column")


def test_a_table_has_no_layer_that_the_file_of_training_had(folder):
    model = load(folder / "run")
    model._scaling = model._scaling._replace(layer="counts")
    model.save(folder / "layered")
    outcome = call(
        *(f"--model={folder / 'layered'}", f"--data={folder / 'new.csv'}"),
        f"--output={folder / 'layered.csv'}",
        program=predict,
    )
    assert outcome.code == 0, outcome.err


def test_methods_without_batches_say_so(folder):
    outcome = call(
        f"--dataset={folder / 'x.csv'}",
        *("--batch=site", "--num_clusters=3", "--method=kmeans"),
        f"--workdir={folder / 'other'}",
    )
    assert_refused(outcome, "has no place for the batch", "or use dgg or vade")


def test_planted_batches_differ_by_genes():
    random = np.random.default_rng(0)
    x, y = random.poisson(5.0, (400, 50)), np.arange(400) % 4
    found, types, batch = batches.planted(x, y, "uneven", 0)
    assert not batch[types == 2].any() and 0.3 < batch[types != 2].mean() < 0.7
    np.testing.assert_array_equal(found[batch == 0], x[batch == 0])
    ratio = found[batch == 1].mean(axis=0) / x[batch == 1].mean(axis=0)
    assert 0.4 < np.log(ratio).std() < 1.0
    of_each = [
        np.log(found[rows].mean(axis=0) / x[rows].mean(axis=0))
        for found, _, batch in [batches.planted(x, y, "by type", 0)]
        for rows in ((batch == 1) & (y == 0), (batch == 1) & (y == 1))
    ]
    assert 0.4 < (of_each[0] - of_each[1]).std() / np.sqrt(2) < 0.7
    assert batches.mixed(random.normal(size=(400, 2)), batch) == pytest.approx(1, 0.1)
    assert batches.mixed(batch[:, None] + 0.1 * random.random((400, 2)), batch) == 0.0


def test_outcomes_become_a_table():
    cells = [
        {"kind": "even", "method": "DGG", "seed": s, "ari": a, "mixed": 0.5}
        for s, a in ((0, 0.5), (1, 0.7))
    ]
    line = next(one for one in batches.table(cells).splitlines() if "| DGG |" in one)
    assert "0.600 ± 0.1" in line and "0.50" in line
