import csv

import numpy as np
import pytest

import dgg_jax
from dgg_jax.cli import predict
from tests.experiments.command_line import assert_refused, call
from tests.methods.toy import blobs

TINY = {"hidden_sizes": (6,), "latent_dim": 2, "epochs": 1, "random_state": 0}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "gmvae"
    dgg_jax.GMVAE(3, **TINY).fit(blobs()[0]).save(folder)
    return folder


def run(**flags):
    arguments = [f"--{name}={value}" for name, value in flags.items()]
    return call(*arguments, program=predict)


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_becomes_clusters(model, tmp_path):
    x, _ = blobs()
    np.savetxt(tmp_path / "x.csv", x, delimiter=",", header="a,b,c", comments="")
    outcome = run(model=model, data=tmp_path / "x.csv", output=tmp_path / "out.csv")
    assert outcome.code == 0 and outcome.err == ""
    assert "GMVAE of " in outcome.out and "90 rows" in outcome.out
    table = rows(tmp_path / "out.csv")
    probabilities = dgg_jax.load(model).predict_proba(x)
    names = ["cluster", "probability", "p0", "p1", "p2"]
    assert list(table[0]) == names and len(table) == 90
    for row, expected in zip(table, probabilities, strict=True):
        assert int(row["cluster"]) == expected.argmax()
        np.testing.assert_allclose(float(row["probability"]), expected.max(), rtol=1e-5)
        actual = [float(row[name]) for name in names[2:]]
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)
    sizes = np.bincount(probabilities.argmax(axis=1), minlength=3)
    for cluster, size in enumerate(sizes):
        assert f"cluster {cluster}: {size} rows" in outcome.out


def test_clusters_without_probabilities(tmp_path):
    x, _ = blobs()
    settings = {"hidden_sizes": (6,), "latent_dim": 2, "epochs": 1, "siamese_epochs": 0}
    estimator = dgg_jax.SpectralNet(3, **settings, random_state=0).fit(x)
    estimator.save(tmp_path / "model")
    np.save(tmp_path / "x.npy", x)
    out = tmp_path / "out.csv"
    outcome = run(model=tmp_path / "model", data=tmp_path / "x.npy", output=out)
    assert outcome.code == 0
    assert [int(row["cluster"]) for row in rows(out)] == estimator.labels_.tolist()


def test_mistakes_are_one_line(model, tmp_path):
    x = tmp_path / "x.npy"
    np.save(x, blobs()[0])
    out = tmp_path / "out.csv"
    outcome = run(model=tmp_path / "none", data=x, output=out)
    assert_refused(outcome, "holds no saved model")
    outcome = run(model=model, data="missing.csv", output=out)
    assert_refused(outcome, "neither a file", "nor a data set", "digits")
    np.save(tmp_path / "wide.npy", np.zeros((4, 7)))
    outcome = run(model=model, data=tmp_path / "wide.npy", output=out)
    assert_refused(outcome, "7 features", "expecting 3")
    outcome = run(model=model, data=x, output=tmp_path / "no" / "out.csv")
    assert_refused(outcome, "cannot be written", "No such file")
    assert_refused(run(model=model, data=x), "--output is missing", "--helpshort")
    assert not out.exists()
