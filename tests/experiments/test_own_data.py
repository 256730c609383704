"""The command lines on a file of the user's own."""

import csv
import json
import pathlib
import shlex
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import dgg_jax
from dgg_jax import presets
from dgg_jax.checks import InvalidInput
from dgg_jax.cli import compare, predict, report
from dgg_jax.data.preprocessing import Scaling
from dgg_jax.log import LOGGER
from dgg_jax.runs import run as runs
from dgg_jax.runs.finished import load_run
from dgg_jax.storage import saving
from tests.experiments.command_line import assert_refused, call, predictions
from tests.methods.toy import blobs

NAMES = ("a", "b", "c")
TINY = ("--preset=smoke", "--pretrain_layer_epochs=0", "--hidden_sizes=8")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LOGGER, "warning", lambda *arguments: None)
    return tmp_path


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


def table(path, x, y=None):
    """A table with a column of text, whose units are not those of the blobs."""
    columns = dict(zip(NAMES, (1000.0 * x + 50.0).T, strict=True))
    if y is not None:
        columns["kind"] = np.array(["ant", "bee", "cat"])[y]
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def test_the_default_run(untrained, folder):
    x, y = blobs()
    table("zoo.csv", x, y)
    arguments = ["--dataset=zoo.csv", "--num_clusters=3", "--label=kind", "--seed=2"]
    assert call(*arguments).code == 0
    ((config, dataset),) = untrained
    assert config.workdir == pathlib.Path("runs/zoo-dgg-2")
    assert config.preset == presets.for_data("dgg", dataset.x, 3)
    assert dataset.class_names == ("ant", "bee", "cat")
    np.testing.assert_array_equal(dataset.y, y)
    identity = json.loads((config.workdir / "config.json").read_text())
    assert identity["dataset"] == "zoo.csv" and identity["label"] == "kind"
    assert identity["scaling"] == "auto"
    assert identity["data_sha256"] == dataset.fingerprint
    again = shlex.split(config.command())[3:]
    assert set(again) == set(arguments)
    assert call(*again, "--workdir=other").code == 0
    assert untrained[-1][0].identity() == config.identity()


def test_changed_data_are_another_run(untrained):
    x, y = blobs()
    table("zoo.csv", x, y)
    arguments = ("--dataset=zoo.csv", "--num_clusters=3", "--label=kind")
    assert call(*arguments).code == 0
    assert call(*arguments, "--resume").code == 0
    table("zoo.csv", x + np.eye(len(x), 3), y)
    outcome = call(*arguments, "--resume")
    assert_refused(outcome, "a run on other data: zoo.csv has changed", "--overwrite")
    assert len(untrained) == 2
    outcome = call(*arguments[:2], "--resume")
    assert_refused(outcome, "another configuration", "label=kind")
    table("zoo.csv", x, y)
    outcome = call(*arguments, "--scaling=minmax", "--resume")
    assert_refused(outcome, "another configuration", "scaling=auto")


def test_flags_change_the_preset_of_the_data(untrained):
    np.save("x.npy", blobs()[0])
    flags = ("--dataset=x.npy", "--num_clusters=4", "--method=vade")
    assert call(*flags, "--latent_dim=3", "--variance=2").code == 0
    assert call(*flags, "--preset=smoke", "--workdir=smoke").code == 0
    (first, dataset), (smoke, _) = untrained
    x = dataset.x
    expected = presets.for_data("vade", x, 4, latent_dim=3, variance=2.0)
    assert first.preset == expected
    assert "--latent_dim=3" in first.command() and "--variance=2" in first.command()
    assert smoke.preset == presets.for_data("vade", x, 4, name="smoke")
    assert smoke.preset.epochs == 3 and smoke.preset.hidden_sizes == (128,)
    assert smoke.preset.likelihood == first.preset.likelihood


def test_images_of_ones_own_are_warped(untrained):
    images = np.random.default_rng(0).random((60, 4, 5), np.float32)
    np.save("images.npy", images)
    np.save("rows.npy", images.reshape(60, 20))
    for name in ("images", "rows"):
        assert call(f"--dataset={name}.npy", "--num_clusters=3").code == 0
    still = "--siamese_warp=0", "--workdir=still"
    assert call("--dataset=images.npy", "--num_clusters=3", *still).code == 0
    (of_images, dataset), (of_rows, rows), (unwarped, _) = untrained
    assert of_images.preset.siamese_warp == 4 / 16
    assert dataset.image_shape == (4, 5)
    assert of_rows.preset.siamese_warp == unwarped.preset.siamese_warp == 0.0
    assert of_rows.preset.siamese_epochs < of_images.preset.siamese_epochs
    assert rows.image_shape is None


@pytest.mark.parametrize("name", ["default", "smoke"])
@pytest.mark.parametrize("embedding", ["ae", "dae", "vae"])
def test_an_embedding_is_that_of_its_method(embedding, name):
    method = f"{embedding}_gmm"
    preset = presets.for_data(method, blobs()[0], 3, name=name)
    assert preset.embedding == embedding
    assert preset.embedding == presets.preset(method, "digits", name).embedding


def test_flags_say_what_is_an_image(untrained):
    np.save("windows.npy", np.random.default_rng(0).normal(size=(60, 5, 6)))
    run = ("--dataset=windows.npy", "--num_clusters=3")
    assert call(*run).code == 0
    assert call(*run, "--image_shape=5,6", "--workdir=images").code == 0
    assert call(*run, "--image_shape=none", "--workdir=rows").code == 0
    (unsaid, rows), (images, dataset), (none, _) = untrained
    assert unsaid.preset.siamese_warp == none.preset.siamese_warp == 0.0
    assert images.preset.siamese_warp == 5 / 16 and dataset.image_shape == (5, 6)
    assert rows.image_shape is None and rows.feature_shape == (5, 6)
    for config in (unsaid, images, none):
        again = shlex.split(config.command())[3:]
        assert call(*again, f"--workdir={config.image_shape}").code == 0
        assert untrained[-1][0].identity() == config.identity()
    outcome = call(*run, "--image_shape=5,5", "--workdir=other")
    assert_refused(outcome, "image_shape must be", "D = 30", "got (5, 5)")
    outcome = call(*run, "--image_shape=a", "--workdir=other")
    assert_refused(outcome, "image_shape must be integers separated by commas")
    outcome = call(*run, "--layer=counts", "--workdir=other")
    assert_refused(outcome, "layer='counts' is for .h5ad files")


@pytest.mark.parametrize("method", presets.METHODS)
def test_every_method_has_a_smoke_preset_for_any_data(method):
    x = blobs()[0]
    preset = presets.for_data(method, x, 3, name="smoke")
    known = presets.preset(method, "digits", "smoke")
    small = [
        name for name in vars(preset) if name.endswith("epochs") and "decay" not in name
    ]
    for name in (*small, "hidden_sizes", "latent_dim", "component_hidden_size"):
        if hasattr(preset, name) and (method, name) != ("imsat", "hidden_sizes"):
            assert getattr(preset, name) == getattr(known, name), name


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--dataset=x.npy"], ["--num_clusters is missing", "x.npy", "auto"]),
        (["--dataset=x.npy", "--num_clusters=auto"], ["at least 100 rows, got 90"]),
        (["--dataset=y.npy", "--num_clusters=2"], ["y.npy does not exist", "x.npy"]),
        (["--dataset=x.npy", "--num_clusters=91"], ["exceeds the 90 rows"]),
        (
            ["--dataset=x.npy", "--num_clusters=2", "--preset=paper"],
            ["--preset=paper", "none for x.npy", "default or smoke"],
        ),
        (["--dataset=x.npy", "--num_clusters=2", "--label=y"], ["without names"]),
        (
            ["--dataset=x.npy", "--num_clusters=2", "--image_size=8,8"],
            ["for folders of images"],
        ),
        (["--dataset=x.npy", "--num_clusters=2", "--image_size=8"], ["must be H,W"]),
        (
            ["--dataset=x.npy", "--num_clusters=2", "--likelihood=bernoulli"],
            ["needs values in [0, 1]"],
        ),
        (["--label=kind"], ["is for a file or folder of your own", "digits"]),
        (["--scaling=none"], ["is for a file or folder of your own"]),
        (["--scaling=log"], ["--scaling=log", "standard", "minmax"]),
        (["--dataset=pinwhel"], ["did you mean pinwheel?", ".parquet"]),
    ],
)
def test_mistakes_are_one_line(untrained, folder, arguments, fragments):
    np.save("x.npy", 100.0 * blobs()[0] - 7)
    outcome = call(*arguments)
    assert_refused(outcome, *fragments)
    assert not untrained
    assert [path.name for path in folder.iterdir()] == ["x.npy"]


def test_from_a_table_to_new_rows():
    x, y = blobs()
    table("zoo.csv", x, y)
    run = ("--dataset=zoo.csv", "--num_clusters=3", "--label=kind", *TINY)
    outcome = call(*run, "--method=vade", "--num_neighbors=5")
    assert outcome.code == 0, outcome.err
    assert "vade on zoo.csv, 90 rows of 3 columns, 3 classes; standar" in outcome.out
    assert "num_clusters 3, likelihood gaussian, variance 0.1," in outcome.out
    result = json.loads(pathlib.Path("runs/zoo-vade-smoke-0/result.json").read_text())
    assert result["dataset"]["name"] == "zoo.csv" and result["paper"] is None
    assert result["final"]["accuracy"] is not None
    page = pathlib.Path("runs/zoo-vade-smoke-0/report.html").read_text()
    assert "zoo.csv, clustered with VaDE" in page

    labels = predictions("runs/zoo-vade-smoke-0")["labels"]
    model = "runs/zoo-vade-smoke-0/model"
    loaded = dgg_jax.load(model)
    loaded.save("again")
    description = json.loads(pathlib.Path("again/model.json").read_text())
    assert description["scaling"]["step"] == "standardize"
    assert description["scaling"]["columns"] == list(NAMES)
    # What is fitted anew is of rows as they come.
    loaded.set_params(epochs=0, label_epochs=0).fit(x).save("other")
    assert "scaling" not in json.loads(pathlib.Path("other/model.json").read_text())

    def predicted(name):
        flags = (f"--model={model}", f"--data={name}", "--output=out.csv")
        outcome = call(*flags, program=predict)
        assert outcome.code == 0, outcome.err
        assert "90 rows; standardize, as in training" in outcome.out
        with open("out.csv", newline="") as file:
            return [int(row["cluster"]) for row in csv.DictReader(file)]

    # With labels or without, in another order: columns are found by their names.
    np.testing.assert_array_equal(predicted("zoo.csv"), labels)
    table("new.csv", x)
    np.testing.assert_array_equal(predicted("new.csv"), labels)
    scaled = 1000.0 * x + 50.0
    np.savetxt("turned.tsv", scaled[:, ::-1], delimiter="\t", header="c\tb\ta",
               comments="")  # fmt: skip
    np.testing.assert_array_equal(predicted("turned.tsv"), labels)
    np.save("x.npy", scaled)
    np.testing.assert_array_equal(predicted("x.npy"), labels)
    np.save("wide.npy", np.ones((2, 4)))
    flags = (f"--model={model}", "--data=wide.npy", "--output=out.csv")
    assert_refused(call(*flags, program=predict), "4 columns", "trained on 3")


@pytest.mark.parametrize(
    "changes",
    [
        {"scaling": None},
        {"scaling": {"step": "none"}},
        {"scaling": {"step": 1, "feature_shape": [2], "columns": None}},
        {"scaling": {"step": "none", "feature_shape": [3], "columns": None}},
        {"scaling": {"step": "none", "feature_shape": [2], "columns": ["a"]}},
        {"scale": np.zeros(2)},
        {"scale": np.ones(3)},
        {"shift": np.ones(2, np.float32)},
    ],
)
def test_a_damaged_scaling_is_refused(changes):
    x = np.random.default_rng(0).normal(size=(20, 2))
    settings = {"hidden_sizes": (4,), "epochs": 0, "latent_dim": 2}
    model = dgg_jax.GMVAE(2, **settings, random_state=0).fit(x)
    model._scaling = Scaling("none", np.zeros(2), np.ones(2), (2,))
    model.save("model")
    assert dgg_jax.load("model")._scaling.feature_shape == (2,)
    description, arrays = saving.load("model")
    for name, value in changes.items():
        (description if name == "scaling" else arrays["scaling"])[name] = value
    saving.save("bad", description, arrays)
    with pytest.raises(saving.InvalidModel, match="does not describe a model"):
        dgg_jax.load("bad")


def test_a_run_without_labels_on_pixels():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (60, 6, 6), dtype=np.uint8)
    np.savez("faces.npz", x=pixels)
    outcome = call("--dataset=faces.npz", "--num_clusters=2", *TINY, "--method=vade",
                   "--num_neighbors=5")  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "60 rows of arrays of 6 x 6; divide_by(255), flatten" in outcome.out
    assert "likelihood bernoulli, batch_size" in outcome.out
    assert "no labels, hence no accuracy" in outcome.out
    flags = ("--model=runs/faces-vade-smoke-0/model", "--output=out.csv")
    outcome = call(*flags, "--data=faces.npz", program=predict)
    assert "60 rows; divide_by(255), as in training" in outcome.out
    np.save("other.npy", pixels.reshape(60, 36) * 3.0)
    outcome = call(*flags, "--data=other.npy", program=predict)
    assert_refused(outcome, "--data=other.npy has values in [0, 3]", "divide_by(255)")


def test_a_comparison():
    x, y = blobs()
    table("zoo.csv", x, y)
    run = ("--dataset=zoo.csv", "--num_clusters=3", "--label=kind", "--preset=smoke")
    flags = (*run, "--methods=kmeans,gmm", "--seeds=0")
    outcome = call(*flags, program=compare)
    assert outcome.code == 0, outcome.err
    page = pathlib.Path("runs/compare-zoo-smoke/report.html").read_text()
    assert "zoo.csv: methods compared" in page
    assert call(*flags, program=compare).code == 0
    table("zoo.csv", x + 1.0, y)
    outcome = call(*flags, program=compare)
    assert_refused(outcome, "holds another comparison", "data_sha256=")


def test_results_say_which_row_they_are_of(folder):
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir()
    numbers = [1, 2, 10, 9, 100, 20]
    for number in numbers:
        pixels = rng.integers(0, 255, (8, 8), np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{number}.png")
    run = ("--dataset=photos", "--method=kmeans", "--num_clusters=2", "--workdir=run")
    assert call(*run).code == 0
    arrays = predictions("run")
    names = [f"{number}.png" for number in sorted(numbers)]
    assert arrays["names"].tolist() == names
    assert arrays["names"].shape == arrays["labels"].shape
    page = pathlib.Path("run/report.html").read_text()
    assert "Most certain" in page and any(name in page for name in names)
    # The report is drawn anew from what is there.
    pathlib.Path("run/report.html").unlink()
    assert call("--workdir=run", program=report).code == 0
    assert "Most certain" in pathlib.Path("run/report.html").read_text()
    # A part of the rows has the names of these.
    x, _ = blobs()
    table = [f"cell {i}," + ",".join(map(str, row)) for i, row in enumerate(x.tolist())]
    pathlib.Path("cells.csv").write_text("\n".join(["cell,a,b,c", *table]))
    run = ("--dataset=cells.csv", "--method=kmeans", "--num_clusters=2")
    assert call(*run, "--num_rows=20", "--workdir=part").code == 0
    found = predictions("part")["names"]
    assert len(found) == 20 and set(found) < {f"cell {i}" for i in range(len(x))}


def test_predictions_have_the_names_of_rows():
    x, _ = blobs()
    settings = {"hidden_sizes": (4,), "epochs": 1, "latent_dim": 2}
    model = dgg_jax.GMVAE(2, **settings, random_state=0).fit(x)
    model.save("model")
    index = [f"id {i}" for i in range(len(x))]
    lines = [
        ",".join([name, *map(str, row)]) for name, row in zip(index, x, strict=True)
    ]
    pathlib.Path("x.csv").write_text("\n".join([",a,b,c", *lines]))
    flags = ("--model=model", "--data=x.csv", "--output=out.csv")
    outcome = call(*flags, program=predict)
    assert outcome.code == 0, outcome.err
    with open("out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["name", "cluster", "probability", "p0", "p1"]
    assert [row["name"] for row in rows] == index
    assert [int(row["cluster"]) for row in rows] == model.predict(x).tolist()


def test_the_home_of_the_user_is_meant(monkeypatch, folder):
    home = folder / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    x, _ = blobs()
    np.save(home / "x.npy", x)
    run = ("--dataset=~/x.npy", "--num_clusters=2", "--method=gmvae")
    outcome = call(*run, "--preset=smoke", "--workdir=~/run", "--epochs=0")
    assert outcome.code == 0, outcome.err
    flags = ("--model=~/run/model", "--data=~/x.npy", "--output=~/out.csv")
    assert call(*flags, program=predict).code == 0
    assert call("--workdir=~/run", program=report).code == 0
    model = dgg_jax.load("~/run/model")
    model.save("~/again")
    model.export("~/programs")
    made = ["again", "out.csv", "programs", "run", "x.npy"]
    assert sorted(path.name for path in home.iterdir()) == made
    (home / "x.npy").unlink()  # results are read without the data
    assert load_run("~/run").result["dataset"]["name"] == "x.npy"
    with pytest.raises(InvalidInput, match=r"x\.npy"):
        load_run("~/run", with_data=True)
    assert [path.name for path in folder.iterdir()] == ["home"]


def test_counts_from_file_to_new_rows(folder):
    rng = np.random.default_rng(0)
    profiles = rng.dirichlet(np.full(20, 0.3), 3)
    y = np.arange(90) % 3
    x = rng.poisson(rng.integers(30, 300, (90, 1)) * profiles[y])
    np.savez(folder / "cells.npz", x=x, y=y)
    flags = ("--dataset=cells.npz", "--scaling=counts", "--num_clusters=3")
    assert call(*flags, *TINY).code == 0
    config = load_run("runs/cells-dgg-smoke-0", with_data=True).config
    assert config.preset.likelihood == "negative_binomial"
    assert "--scaling=counts" in config.command()
    np.save(folder / "new.npy", 3 * x[:10])
    model = "--model=runs/cells-dgg-smoke-0/model"
    outcome = call(model, "--data=new.npy", "--output=new.csv", program=predict)
    assert outcome.code == 0, outcome.err
    with open("new.csv") as file:
        assert len(list(csv.DictReader(file))) == 10
    # K-means has no likelihood, and takes the logarithms of the shares.
    assert call(*flags, "--method=kmeans", "--preset=smoke").code == 0
    result = (folder / "runs/cells-kmeans-smoke-0/result.json").read_text()
    assert json.loads(result)["final"]["accuracy"] > 0.9
    outcome = call(
        *flags, "--method=gmvae", "--preset=smoke", "--likelihood=negative_binomial"
    )
    assert outcome.code == 2
    assert "likelihood='negative_binomial' is unknown" in outcome.err


def test_a_run_is_repeated_to_see_how_stable_it_is(folder):
    x, y = blobs()
    table(folder / "zoo.csv", x, y)
    flags = ("--dataset=zoo.csv", "--label=kind", "--num_clusters=3", *TINY)
    outcome = call(*flags, "--stability=2")
    assert outcome.code == 0, outcome.err
    assert "with 2 repetitions on four fifths of the rows" in outcome.out
    workdir = folder / "runs/zoo-dgg-smoke-0"
    result = json.loads((workdir / "result.json").read_text())
    stability = result["stability"]
    assert stability["repetitions"] == 2 and len(stability["found_again"]) == 3
    assert -0.5 <= stability["agreement"] <= 1.0
    assert "--stability=2" in result["command"]
    assert result["stages"][-1]["name"] == "evaluate"
    labels = predictions(workdir)["consensus"]
    assert labels.shape == (len(x),)
    scored = stability["consensus"]
    assert scored["ari"] == pytest.approx(
        dgg_jax.metrics.adjusted_rand_index(y, labels)
    )
    assert "Found again" in (workdir / "report.html").read_text()
    # What was killed after its repetitions goes on from them.
    (workdir / "result.json").unlink()
    outcome = call(*flags, "--stability=2", "--resume")
    assert outcome.code == 0 and "repetitions 1/2" not in outcome.err
    again = json.loads((workdir / "result.json").read_text())
    assert again["stability"] == stability and again["final"] == result["final"]
    # It is another run than the one without repetitions.
    assert_refused(call(*flags), "another configuration", "stability")


def test_gmvae_is_not_repeated_where_it_scores_rows_it_has_not_seen():
    digits = dgg_jax.data.load("digits")
    dataset = digits._replace(is_test=np.arange(len(digits.x)) < 100)
    preset = presets.for_data("gmvae", digits.x, 10)
    config = SimpleNamespace(
        stability=2, method="gmvae", is_auto=False, preset=preset, dataset="digits",
        taken=lambda dataset: dataset,
    )  # fmt: skip
    with pytest.raises(InvalidInput, match="--stability repeats a clustering of all"):
        runs.check_data(config, dataset)
    runs.check_data(config, digits)


def counted(folder, num_rows=60):
    """A file of counts of three profiles."""
    rng = np.random.default_rng(0)
    profiles = rng.dirichlet(np.full(20, 0.3), 3)
    y = np.arange(num_rows) % 3
    x = rng.poisson(rng.integers(30, 300, (num_rows, 1)) * profiles[y])
    np.savez(folder / "cells.npz", x=x, y=y)
    return x


def test_each_method_of_a_comparison_takes_counts_or_their_logarithms(folder):
    counted(folder)
    flags = ("--dataset=cells.npz", "--scaling=counts", "--num_clusters=3")
    outcome = call(
        *flags, "--methods=kmeans,ae_kmeans", "--seeds=0", "--preset=smoke",
        program=compare,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    results = {
        path.parent.name: json.loads(path.read_text())
        for path in folder.glob("runs/*/*/result.json")
    }
    assert len(results) == 2
    for name, result in results.items():
        assert result["final"]["accuracy"] > 0.9
        assert ("log_counts" in result["dataset"]["provenance"]) == ("ae" not in name)
    # With another likelihood, an autoencoder takes the logarithms, too; so its report.
    assert call(*flags, "--method=ae_kmeans", "--likelihood=gaussian").code == 0
    workdir = folder / "runs/cells-ae_kmeans-0"
    result = json.loads((workdir / "result.json").read_text())
    assert "log_counts" in result["dataset"]["provenance"]
    assert call(f"--workdir={workdir}", program=report).code == 0


def test_new_rows_that_miss_values(folder):
    x, y = blobs()
    table(folder / "zoo.csv", x, y)
    assert (
        call("--dataset=zoo.csv", "--label=kind", "--num_clusters=3", *TINY).code == 0
    )
    model = "--model=runs/zoo-dgg-smoke-0/model"
    (folder / "new.csv").write_text("a,b,c\n150,,900\n700,,200\n")
    outcome = call(
        model, "--data=new.csv", "--output=out.csv", "--outliers=0.1", program=predict
    )
    assert outcome.code == 0, outcome.err
    flags = ("--dataset=zoo.csv", "--label=kind", "--num_clusters=3", "--preset=smoke")
    assert call(*flags, "--method=imsat").code == 0
    outcome = call(
        "--model=runs/zoo-imsat-smoke-0/model", "--data=new.csv", "--output=out.csv",
        program=predict,
    )  # fmt: skip
    assert_refused(outcome, "new.csv", "missing", "row 0, column 'b'")


def test_a_repetition_that_fails_is_left_out(folder):
    # Of three different rows, a part may have two.
    x = np.repeat(np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), [58, 1, 1], axis=0)
    np.savez(folder / "rows.npz", x=x)
    flags = ("--dataset=rows.npz", "--num_clusters=3", "--method=kmeans")
    outcome = call(*flags, "--stability=8")
    assert outcome.code == 0, outcome.err
    result = json.loads((folder / "runs/rows-kmeans-0/result.json").read_text())
    assert 0 < result["stability"]["repetitions"] < 8


def test_duplicate_names_of_counts(folder):
    rng = np.random.default_rng(0)
    x = rng.negative_binomial(0.5, 0.1, (30, 2100))
    x[:, :99] = 5
    names = [f"g{i // 2}" for i in range(2100)]
    lines = [",".join(names)] + [",".join(map(str, row)) for row in x]
    (folder / "cells.csv").write_text("\n".join(lines))
    found = dgg_jax.data.load(folder / "cells.csv", scaling="counts")
    assert found.x.shape == (30, 2000) and found.scaling.kept is not None
    new = dgg_jax.data.own.new_rows(folder / "cells.csv", found.scaling)
    np.testing.assert_array_equal(new, found.x)
    np.save(folder / "other.npy", np.ones((3, 5000)))
    with pytest.raises(
        InvalidInput, match=r"5,000 columns .* trained on 2,000 of 2,100"
    ):
        dgg_jax.data.own.new_rows(folder / "other.npy", found.scaling)
