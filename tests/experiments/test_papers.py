"""The figures and tables of the papers: none is missing, each says what it shows."""

import json
import re

import numpy as np
import pytest
from absl.testing import flagsaver
from matplotlib.figure import Figure

from dgg_jax import checks, presets
from dgg_jax.training import Interrupted
from experiments import figures, tables
from experiments.papers import (
    captions,
    dgg,
    exhibits,
    gallery,
    gmvae,
    program,
    runs,
    vade,
)
from experiments.papers import tables as of_papers
from experiments.papers.exhibits import Scale
from tests.experiments.command_line import Outcome, assert_refused, call

# Everything that the three papers print.
FIGURES = {
    "DGG, figure": (1, 2),
    "DGG, supplement, figure": (1, 2, 3, 4, 5),
    "VaDE, figure": (2, 3, 4, 5),
    "GMVAE, figure": (2, 3, 4, 5, 6),
}
TABLES = {
    "DGG, table": (1, 2),
    "DGG, supplement, table": (1,),
    "VaDE, table": (1, 2, 3),
    "GMVAE, table": (1, "A.1", "A.2", "A.3"),
}
KEPT = sorted(gallery.KEPT.glob("*.json"))


@pytest.mark.parametrize(
    ("known", "printed"), [(program.FIGURES, FIGURES), (program.ALL_TABLES, TABLES)]
)
def test_nothing_of_the_papers_is_missing(known, printed):
    there = [one.of for one in known.values()]
    for kind, numbers in printed.items():
        for number in numbers:
            name = f"{kind} {number}"
            assert any(re.match(rf"{re.escape(name)}(,|$)", of) for of in there), name


def test_all_that_is_beyond_the_papers_is_there():
    beyond = [n for n, one in program.FIGURES.items() if one.of.startswith("Beyond")]
    assert set(beyond) == {
        *("latents-by-epoch", "graph-of-latents", "rank-diagram", "accuracy-by-seconds")
    }


@pytest.mark.parametrize("images", ["mnist", "digits"])
@pytest.mark.parametrize("is_quick", [False, True])
def test_every_run_is_one_that_the_command_line_can_make(tmp_path, images, is_quick):
    scale = exhibits.Scale(images, None, is_quick)
    library = runs.Library(tmp_path, lambda: False)
    folders = {}
    for one in (*program.FIGURES.values(), *program.ALL_TABLES.values()):
        for asked in one.runs(scale).values():
            config = library.config(asked)
            assert folders.setdefault(config.workdir, config) == config
            assert config.preset_name == ("smoke" if is_quick else asked.preset)


def test_settings_are_of_the_runs_on_images_that_have_them():
    changes = {"architecture": "dense", "epochs": 7}
    scale = exhibits.Scale(num_rows=100, changes=changes)
    one = program.ALL_TABLES["gmvae-tab1"].runs(scale)["16,10/gmvae/0"]
    assert one.settings == {**changes, "num_clusters": 16, "num_samples": 10}
    assert scale.of_images("dgg").settings == {"epochs": 7}
    assert scale.of_images("dgg", epochs=0).settings == {"epochs": 0}
    assert scale.asked("pinwheel", "gmvae").settings == {}


def test_commands_are_the_same_run_whatever_their_order_and_places():
    first = "python -m experiments.main --method=vade --dataset=har --data_dir=a"
    second = "dgg-jax run --dataset=har --seed=0 --method=vade --workdir='b c' --resume"
    assert runs.arguments(first) == runs.arguments(second)
    assert runs.arguments(first) != runs.arguments(f"{first} --seed=1")


def test_results_that_are_saved_are_found(tmp_path):
    library = runs.Library(tmp_path, lambda: False)
    asked = runs.Asked("har", "vade", seed=1)
    result = library.result(asked, train=False)
    assert (result["config"]["method"], result["seed"]) == ("vade", 1)
    assert library.result(runs.Asked("har", "vade", seed=77), train=False) is None


def test_names_are_listed_and_others_refused():
    listed = call("--list", program=figures)
    assert listed.code == 0
    assert [line.split()[0] for line in listed.out.splitlines()] == [*program.FIGURES]
    assert_refused(call(program=figures), "--name", "all", "dgg-fig1")
    assert_refused(call("--name=dgg-fig9", program=figures), "dgg-fig9", "dgg-fig1")


def made(tmp_path, *arguments) -> Outcome:
    places = f"--output={tmp_path / 'out'}", f"--workdir={tmp_path / 'runs'}"
    return call(*arguments, *places, program=figures)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A figure of two short runs, and what the command has said."""
    folder = tmp_path_factory.mktemp("drawn")
    return folder, made(folder, "--name=dgg-supp-fig2", "--quick")


def test_a_figure_is_made_of_runs_that_are_trained(drawn):
    folder, outcome = drawn
    assert outcome.code == 0, outcome.err
    out = folder / "out"
    assert (out / "dgg-supp-fig2-quick.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "dgg-supp-fig2-quick.pdf").read_bytes().startswith(b"%PDF")
    caption = (out / "dgg-supp-fig2-quick.md").read_text()
    for part in (
        *("**DGG, supplement, figure 2.**", "*The paper:*", "*Ours:*", "preset smoke"),
        *("dae_gmm", "half_circles(distance='far'", "seed 0"),
        "`python -m experiments.figures --name=dgg-supp-fig2 --quick`",
    ):
        assert part in caption
    assert (folder / "runs/moons/dae_gmm-smoke-0/report.html").exists()


def test_what_is_kept_is_drawn_again_without_runs(drawn, monkeypatch):
    folder, _ = drawn
    monkeypatch.setattr(runs.Library, "run", lambda self, asked: pytest.fail("trains"))
    (folder / "out/dgg-supp-fig2-quick.png").unlink()
    assert made(folder, "--name=dgg-supp-fig2", "--quick").code == 0
    assert (folder / "out/dgg-supp-fig2-quick.png").exists()


def test_data_that_are_not_there_leave_one_figure_out(tmp_path, monkeypatch):
    monkeypatch.setattr(runs.Library, "run", _raise(checks.MissingData("bring SVHN")))
    assert_refused(made(tmp_path, "--name=gmvae-fig6"), "bring SVHN")
    outcome = made(tmp_path, "--name=gmvae-fig6,rank-diagram")
    assert outcome.code == 0
    assert "gmvae-fig6 is not made: bring SVHN" in outcome.err
    assert "Not made: gmvae-fig6" in outcome.out
    assert (tmp_path / "out/rank-diagram.png").exists()


def test_what_was_stopped_says_how_it_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(runs.Library, "run", _raise(Interrupted()))
    monkeypatch.setattr("sys.argv", ["figures.py", "--name=dgg-fig1"])
    outcome = made(tmp_path, "--name=dgg-fig1")
    assert outcome.code > 128
    assert "python -m experiments.figures --name=dgg-fig1" in outcome.out


def _raise(error):
    def run(self, asked):
        raise error

    return run


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_what_the_gallery_keeps_is_what_its_captions_say(path):
    about = json.loads(path.read_text())
    if "lines" in about:
        assert all(len(line) == len(about["header"]) for line in about["lines"])
        return
    one = program.FIGURES[about["name"]]
    arrays = program.kept_arrays(path.with_suffix(".npz"))
    assert about["agrees"] == one.agrees(arrays)
    assert isinstance(one.draw(arrays), Figure)
    assert (gallery.IMAGES / f"{path.stem}.png").exists()


def test_the_page_has_everything_and_is_of_today():
    page = gallery.page()
    assert gallery.PAGE.read_text() == page
    for name in (*program.FIGURES, *program.ALL_TABLES):
        assert f"(gallery-{name})=" in page


def test_a_caption_tells_each_thing_once():
    run = {"dataset": "digits", "data": "digits, whole", "method": "dgg", "seed": 0}
    run |= {"preset": "default", "epochs": 20, "device": "cpu", "settings": []}
    about = {
        "of": "DGG, figure 9",
        "title": "A title",
        "shows": "It.",
        "agrees": "Yes.",
    }
    about |= {"runs": [run, run | {"seed": 1}], "command": "python -m it"}
    text = captions.markdown(about)
    assert text.count("digits, whole") == 1
    assert "preset default: dgg (20 epochs); seed 0, 1; on cpu" in text
    start = captions._settings("python -m experiments.main --seed=1 --init=kmeans")
    text = captions.markdown(about | {"runs": [run | {"settings": start}]})
    assert "dgg (20 epochs, init=kmeans)" in text
    assert "How to read it" in captions.markdown(about | {"of": "Beyond the papers"})


def test_moons_agree_only_if_dgg_solves_both_and_vade_neither():
    def agrees(near, far, vade_near):
        values = {"near/dgg": near, "far/dgg": far, "near/vade": vade_near}
        values["far/vade"] = 0.9
        arrays = {f"{k}/accuracy": np.asarray(v) for k, v in values.items()}
        return dgg._agrees_moons(arrays)

    assert agrees(0.995, 1.0, 0.8).startswith("Agrees")
    assert agrees(0.98, 1.0, 0.8).startswith("Does not agree")
    assert agrees(0.995, 1.0, 0.995).startswith("Does not agree")


def test_maps_agree_if_both_neighbours_and_clusters_are_purer():
    def agrees(purity, accuracy):
        arrays = {"0/purity": np.asarray(0.5), "0/accuracy": np.asarray(0.5)}
        arrays |= {"9/purity": np.asarray(purity), "9/accuracy": np.asarray(accuracy)}
        return dgg.agrees_maps(arrays)

    assert agrees(0.6, 0.6).startswith("Agrees:")
    assert agrees(0.6, 0.4).startswith("Agrees in part:")
    assert agrees(0.4, 0.4).startswith("Does not agree:")


def test_clusters_are_in_the_order_of_their_classes():
    y, labels = np.array([0, 0, 1, 1, 2, 2]), np.array([2, 2, 0, 0, 1, 1])
    drawn = np.arange(3)[:, None, None] * np.ones((3, 2, 4))
    ordered = vade._by_class(y, labels, drawn)
    assert ordered[:, 0, 0].tolist() == [2, 0, 1]


def test_draws_of_moments_have_the_moments():
    random = np.random.default_rng(0)
    mixing = np.array([[1.0, 0.5], [0.0, 0.2]])
    x = np.concatenate([random.normal(size=(4000, 2)) @ mixing, np.full((50, 2), 9.0)])
    labels = np.repeat([0, 2], [4000, 50])
    drawn = np.concatenate(
        [vade._of_moments(x[::step], labels[::step], 3)[0] for step in range(1, 60)]
    )
    np.testing.assert_allclose(np.cov(drawn.T), mixing.T @ mixing, atol=0.25)
    found = vade._of_moments(x, labels, 3)
    np.testing.assert_allclose(found[2], 9.0)
    assert (found[1] == 0.0).all()  # an empty cluster


def test_means_along_the_wide_coordinate_are_nearest():
    arrays = dgg._orientation({})
    degrees = np.degrees(arrays["angles"])
    equal, *others = arrays["divergence"]
    np.testing.assert_allclose(equal, equal.mean(), atol=2e-3)
    for ratio, values in zip(arrays["ratios"][1:], others, strict=True):
        assert min(degrees[values.argmin()] % 180, -degrees[values.argmin()] % 180) < 3
        assert abs(degrees[values[:91].argmax()] - 90) < 3, ratio
    assert dgg._agrees_orientation(arrays).startswith("Agrees")


def test_edges_join_each_pair_once():
    x = np.array([[0.0, 0.0], [1.0, 0.0], [2.5, 0.0], [10.0, 0.0]], np.float32)
    assert dgg.neighbor_edges(x, 1).tolist() == [[0, 1], [1, 2], [2, 3]]


def test_more_clusters_agree_by_the_papers_score():
    def agrees(few, many):
        arrays = {}
        for k in (10, 16, 30):
            for m in (1, 10):
                value = many if k == 30 else few
                arrays[f"K = {k}, M = {m}/score"] = np.asarray(value)
        return gmvae.agrees_cells(arrays)

    assert agrees(0.7, 0.9).startswith("Agrees")
    assert agrees(0.9, 0.7).startswith("Does not agree")


def result(accuracy, method="vade", **more):
    preset = presets.preset_class(method)(num_clusters=10)
    values = {"epochs": getattr(preset, "epochs", None), "num_clusters": 10}
    config = {"method": method, "dataset": "mnist", "preset_values": values}
    stages = [{"name": "train", "seconds": 40.0, **more}]
    return {"config": config, "final": {"accuracy": accuracy}, "stages": stages}


def test_a_cell_has_the_papers_figure_ours_and_the_difference():
    results = {"mnist/vade/0": result(0.92), "mnist/vade/1": result(0.94)}
    results |= {"mnist/dec/0": None}
    header, lines = of_papers._by_method(["vade", "dec", "ltvae"])(results)
    assert header == ["method", "MNIST, paper", "ours", "difference"]
    assert lines[0] == ["vade", "0.9446", "0.9300 ± 0.0141 (2)", "-0.0146"]
    assert lines[1] == ["dec", "0.8430", "-", "-"]
    assert lines[2] == ["ltvae", "0.8630", "-", "-"]
    told = of_papers._order_of(["vade", "dec", "imsat"])(results)
    assert told == "MNIST: first is vade, 0.9300, of 1 that were run; in print imsat."


def test_accuracies_are_of_methods_that_see_no_warped_image():
    methods = ["dgg", "siamese_kmeans", "spectralnet", "vade"]
    asked = of_papers._accuracies(methods, ["mnist", "har"])(Scale())
    warped = {name for name, run in asked.items() if run.settings}
    assert warped == {f"mnist/{m}/{s}" for m in methods[:2] for s in range(3)}
    assert all(asked[name].settings == {"siamese_warp": 0.0} for name in warped)


def test_the_forms_of_table_2_are_asked_for():
    asked = of_papers._neighbors(Scale(num_rows=9, changes={"epochs": 5}))
    assert len(asked) == 3 + 5 * (3 + 3 + 1 + 1) + 1
    assert {run.num_rows for run in asked.values()} == {9}
    whole = dict(asked["20/tuple, eta 1/0"].settings)
    assert whole.pop("objective") == "tuple" and whole.pop("graph_strength") == 1.0
    assert whole.pop("warp_weight") == 0.0  # what the graph does, and nothing of ours
    assert whole == {"epochs": 5, "guard": False, "num_neighbors": 20}
    assert dict(asked["0/node/2"].settings)["graph_strength"] == 0.0
    assert asked["0/node/2"].seed == 2 and "20/tuple/1" not in asked


def test_seconds_an_epoch_are_of_the_epochs_that_were_trained():
    assert of_papers._seconds_an_epoch(result(0.9)) == 40.0 / 20
    assert of_papers._seconds_an_epoch(result(0.9, epochs=8)) == 5.0


def test_neighbours_have_a_line_each_with_both_forms():
    results = {
        "0/node/0": result(0.90),
        "20/node/0": result(0.97),
        "20/tuple/0": result(0.96, epochs=1),
        "20/node, eta 1/0": result(0.94),
        "20/node, eta 1/1": result(0.96, epochs=10),
        "vade/node/0": result(0.93),
    }
    header, lines = of_papers._by_neighbors(results)
    assert {len(line) for line in lines} == {len(header)} == {10}
    assert lines[0] == ["0", "0.9482", "0.9000", "2.00"] + ["-"] * 6
    assert lines[1][:4] == ["20", "0.9758", "0.9700", "2.00"]
    assert lines[1][4:] == [
        "0.9500 ± 0.0141",
        "3.00 ± 1.41",
        "0.9600",
        "40.00",
        "-",
        "-",
    ]
    assert lines[2][:2] == ["VaDE", "-"]
    assert "N_s = 20" in of_papers._agrees_by_neighbors(results)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("gmvae-tabA1", "trunk/convolution_0 6x6x1x16"),
        ("gmvae-tabA2", "hidden 150x500"),
        ("gmvae-tabA3", "hidden 200x500"),
    ],
)
def test_networks_are_those_of_the_modules(tmp_path, name, weights):
    with flagsaver.flagsaver():
        assert tables.main([f"--name={name}", f"--output={tmp_path}"]) == 0
    lines = (tmp_path / f"{name}.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines[1:]] == [
        "pinwheel",
        "mnist",
        "svhn",
    ]
    assert weights in lines[2]


def test_the_table_of_gmvae_has_its_own_score():
    found = result(0.5, "gmvae")
    found["final"]["confident_label_accuracy"] = 0.75
    results = {f"{k},{m}/gmvae/0": found for k, m in gmvae.CELLS}
    results |= {f"30/aae/{seed}": found for seed in range(2)}
    results |= {"10/dec/0": result(0.5, "dec")}  # which has accuracy alone
    _, lines = of_papers._by_cell(results)
    assert [line[4] for line in lines[4:]] == ["0.7500"] * 6
    assert [line[:2] for line in lines[1:4:2]] == [("aae", "16"), ("dec", "10")]
    ours = [line[4] for line in lines[:4]]
    assert ours == ["-", "-", "0.7500 ± 0.0000 (2)", "0.5000"]
    assert of_papers._agrees_by_cell(results).startswith("Does not agree: 0.7500")
