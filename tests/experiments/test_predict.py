import contextlib
import csv
import os
import pathlib
import stat
import tempfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@pytest.fixture
def table(tmp_path):
    x, _ = blobs()
    path = tmp_path / "x.csv"
    np.savetxt(path, x, delimiter=",", header="a,b,c", comments="")
    return path


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


def test_a_model_of_a_data_frame_finds_columns_by_their_names(tmp_path):
    x = blobs()[0]
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    fitted = dgg_jax.DEC(3, preset="smoke", random_state=0).fit(frame)
    fitted.save(tmp_path / "model")
    frame.assign(more=1.5)[["c", "more", "b", "a"]].to_csv(tmp_path / "x.csv")
    np.save(tmp_path / "x.npy", x)  # without names
    out = tmp_path / "out.csv"
    for name in ("x.csv", "x.npy"):
        outcome = run(model=tmp_path / "model", data=tmp_path / name, output=out)
        assert outcome.code == 0, outcome.err
        assert "taken as they are" in outcome.out and "feature names" not in outcome.err
        found = [int(row["cluster"]) for row in rows(out)]
        np.testing.assert_array_equal(found, fitted.labels_)
    frame[["a", "b"]].to_csv(tmp_path / "x.csv", index=False)
    outcome = run(model=tmp_path / "model", data=tmp_path / "x.csv", output=out)
    assert_refused(outcome, "lacks columns of numbers", "c")


def test_outliers_have_no_cluster(model, tmp_path):
    x = 4.0 * blobs()[0] - 2.0
    settings = TINY | {"pretrain_autoencoder_epochs": 20, "init": "kmeans"}
    vade = dgg_jax.VaDE(3, **settings, variance=0.1).fit(x)
    vade.save(tmp_path / "model")
    new = np.concatenate([x[:20], x[:3] + 50.0]).astype(np.float32)
    np.save(tmp_path / "x.npy", new)
    out = tmp_path / "out.csv"
    flags = {"data": tmp_path / "x.npy", "output": out, "outliers": 0.01}
    outcome = run(model=tmp_path / "model", **flags)
    assert outcome.code == 0, outcome.err
    clusters = np.array([int(row["cluster"]) for row in rows(out)])
    expected = np.where(vade.outliers(new, 0.01), -1, vade.predict(new))
    np.testing.assert_array_equal(clusters, expected)
    assert (clusters[20:] == -1).all() and (clusters[:20] >= 0).sum() >= 18
    assert f"outliers, -1: {(clusters == -1).sum()} rows" in outcome.out
    refused = run(model=model, **flags)
    assert_refused(refused, "--outliers=0.01", "is a GMVAE", "leave it out")
    dgg_jax.LTVAE(3, **TINY).fit(x).save(tmp_path / "tree")  # which has ELBOs
    refused = run(model=tmp_path / "tree", **flags)
    assert_refused(refused, "--outliers=0.01", "is a LTVAE", "leave it out")


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


@pytest.mark.parametrize("suffix", [".csv", ".CSV", ".parquet", ".npz"])
def test_the_suffix_says_the_format(model, table, tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    outcome = run(model=model, data=table, output=out)
    assert outcome.code == 0 and outcome.err == "", outcome.err
    probabilities = dgg_jax.load(model).predict_proba(blobs()[0])
    labels = probabilities.argmax(axis=1)
    if suffix == ".npz":
        with np.load(out) as found:
            assert set(found) == {"labels", "probabilities"}
            np.testing.assert_array_equal(found["labels"], labels)
            np.testing.assert_allclose(found["probabilities"], probabilities, atol=1e-6)
        return
    read = pd.read_parquet if suffix == ".parquet" else pd.read_csv
    found = read(out)
    assert list(found) == ["cluster", "probability", "p0", "p1", "p2"]
    np.testing.assert_array_equal(found["cluster"], labels)
    actual = found[["p0", "p1", "p2"]].to_numpy()
    np.testing.assert_allclose(actual, probabilities, atol=1e-6)
    assert sorted(os.listdir(tmp_path)) == sorted(["x.csv", out.name])


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_names_of_rows_need_not_be_text(tmp_path, suffix):
    names = np.array(['a,\n"b"', "\u00fc", "\udcff"])
    predict._write(tmp_path / f"out{suffix}", names, np.arange(3), np.eye(3))
    path = tmp_path / f"out{suffix}"
    if suffix == ".npz":
        with np.load(path) as found:
            assert found["names"].tolist() == names.tolist()
    elif suffix == ".csv":
        with open(path, newline="", errors="surrogateescape") as file:
            found = [row["name"] for row in csv.DictReader(file)]
        assert found == names.tolist()
    else:
        assert pd.read_parquet(path)["name"].tolist() == [*names[:2], "\\xff"]


@pytest.mark.parametrize(
    "name", ["out", "out.txt", "out.csv.gz", "out.npy", ".csv", ""]
)
def test_other_suffixes_are_refused(model, table, tmp_path, name):
    outcome = run(model=model, data=table, output=tmp_path / name)
    assert_refused(outcome, "must end in one of .csv, .parquet, .npz")
    assert os.listdir(tmp_path) == ["x.csv"]


# Steps that lead from a file of an input to other names of it.
STEPS = ("dots", "link", "hard link", "linked folder", "relative")


@given(
    which=st.sampled_from(["data", "arrays", "new in model", "image", "of data"]),
    steps=st.lists(st.sampled_from(STEPS), max_size=4),
    suffix=st.sampled_from([".csv", ".npz", ".parquet", ".CSV"]),
)
@settings(deadline=None, max_examples=150)
def test_an_input_is_refused_under_any_of_its_names(which, steps, suffix):
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        folder = pathlib.Path(folder)
        model, table, images = folder / "m", folder / f"mine{suffix}", folder / "images"
        model.mkdir()
        (images / "class").mkdir(parents=True)
        for path in (model / "model.json", model / "arrays.npz", table):
            path.write_text("mine")
        (images / "class" / f"1{suffix}").write_text("mine")
        (images / "1.png").write_text("mine")
        output = {
            "data": table,
            "of data": table,
            "arrays": model / "arrays.npz",
            "new in model": model / f"new{suffix}",
            "image": images / "class" / f"1{suffix}",
        }[which]
        for number, step in enumerate(steps):
            other = folder / f"other-{number}{output.suffix}"
            if step == "dots":
                (output.parent / f"in-{number}").mkdir()
                output = output.parent / f"in-{number}" / ".." / output.name
            elif step == "relative":
                output = pathlib.Path(os.path.relpath(output))
            elif step == "link":
                other.symlink_to(output.absolute())
                output = other
            elif step == "hard link" and output.exists():
                os.link(output.resolve(), other)
                output = other
            elif step == "linked folder":
                linked = folder / f"folder-{number}"
                linked.symlink_to(output.absolute().parent)
                output = linked / output.name
        data = images if which == "image" else table
        if which == "of data":  # the data under another name, too
            data = folder / f"alias{suffix}"
            data.symlink_to(table)
        before = contents(folder)
        outcome = run(model=model, data=data, output=output)
        assert_refused(outcome, f"--output={output} is, or lies in, --")
        assert contents(folder) == before


def contents(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: path.read_bytes() for path in files}


def test_files_of_a_data_set_are_refused(model, tmp_path):
    for name in ("dgg_reuters/data.npz", "stl10_resnet50.npz", "mnist/x.npz"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
        data = {"dgg_r": "reuters", "stl10": "stl10", "mnist": "mnist"}[name[:5]]
        outcome = run(model=model, data=data, data_dir=tmp_path, output=path)
        assert_refused(outcome, "--data_dir=", "would destroy")
        assert path.read_text() == "mine"


def test_what_cannot_be_written_is_refused_before_any_work(
    model, table, tmp_path, monkeypatch
):
    monkeypatch.setattr(dgg_jax, "load", lambda path: pytest.fail("work was done"))
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    for name in ("folder.csv", "pipe.csv"):
        outcome = run(model=model, data=table, output=tmp_path / name)
        assert_refused(outcome, "is no file")
    outcome = run(model=model, data=table, output=tmp_path / "no" / "out.csv")
    assert_refused(outcome, "cannot be written: No such file")


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_a_failed_write_leaves_the_old_output(
    model, table, tmp_path, monkeypatch, suffix
):
    out = tmp_path / f"out{suffix}"
    out.write_text("old")
    out.chmod(0o640)

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("dgg_jax.cli.predict.os.replace", fail)
        outcome = run(model=model, data=table, output=out)
    assert_refused(outcome, "cannot be written: No space left")
    assert out.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == sorted(["x.csv", out.name])
    assert run(model=model, data=table, output=out).code == 0
    assert out.read_bytes() != b"old" and stat.S_IMODE(out.stat().st_mode) == 0o640


def test_an_output_that_is_a_link_is_written_where_it_leads(model, table, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "elsewhere" / "out.csv")
    assert run(model=model, data=table, output=link).code == 0
    assert link.is_symlink() and len(rows(tmp_path / "elsewhere" / "out.csv")) == 90
