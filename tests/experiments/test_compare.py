import csv
import io
import json
import math
import os
import pathlib
import re
import shutil
import signal

import numpy as np
import pytest

from dgg_jax import data, presets
from dgg_jax.cli import command
from dgg_jax.cli import compare as program
from dgg_jax.data import Dataset
from dgg_jax.reports import comparison, comparison_page, published
from dgg_jax.runs import run as runs
from dgg_jax.storage import folders
from dgg_jax.storage.checkpoints import Checkpoints
from dgg_jax.training import Diverged
from tests.experiments.command_line import assert_refused, call


def compare(workdir, *arguments):
    return call(f"--workdir={workdir}", *arguments, program=program)


def result(method, seed, accuracy, seconds=(1.0, 2.0), paper=None, **last):
    """What result.json holds of a run, as far as a comparison reads it."""
    scores = {"accuracy": accuracy, "nmi": 0.5, "ari": 0.25, **last}
    stages = [{"name": f"stage {n}", "seconds": s} for n, s in enumerate(seconds)]
    stages[-1] |= scores
    return {
        "stages": stages,
        "final": {"elbo": None, **scores},
        "paper": paper,
        "seed": seed,
        "seconds": 100.0,
        "config": {"method": method, "dataset": "mnist"},
        "dataset": {"name": "mnist", "rows": 9, "features": 2, "provenance": "<made>"},
        "versions": {"jax": "1"},
        "device": "cpu",
    }


PAPER = {"accuracy": 0.9, "score": "accuracy", "source": "table 1"}
OWN = {"accuracy": 0.7, "score": "confident_label_accuracy", "source": "table 9"}


# --- The table ---------------------------------------------------------------------


def test_what_training_came_to_stands_beside_where_it_was_undone():
    made = [result("dgg", seed, 0.9) for seed in (0, 1)]
    for one in made:
        one["stages"][0] |= {"name": "train", "accuracy": 0.9}
    made[1]["stages"][0] |= {"undone": {"accuracy": 0.7}}
    both = comparison.table([*made, result("kmeans", 0, 0.5)])
    header, (dgg, kmeans) = comparison.text_table(both, "digits")
    column = header.index("ACC after training")
    assert dgg[column] == "0.8000 ± 0.1414"
    assert kmeans[column] == "-"
    header, _ = comparison.text_table(comparison.table(made[:1]), "digits")
    assert "ACC after training" not in header


def test_a_row_has_mean_and_deviation_of_its_runs():
    made = [
        result("dgg", 1, 0.9, paper=PAPER),
        result("dgg", 0, 0.7, (3.0, 5.0), paper=PAPER),
        result("kmeans", 0, 0.5),
    ]
    header, lines = comparison.text_table(comparison.table(made), "digits")
    assert header == (
        "method", "runs", "ACC", "NMI", "ARI", "seconds", "paper", "difference",
    )  # fmt: skip
    assert lines == [
        (
            "dgg", "2", "0.8000 ± 0.1414", "0.5000 ± 0.0000", "0.2500 ± 0.0000",
            "6 ± 4", "0.9000 (table 1)", "-0.1000",
        ),
        ("kmeans", "1", "0.5000", "0.5000", "0.2500", "3", "-", "-"),
    ]  # fmt: skip
    (row, _) = comparison.table(made)
    assert row.seeds == [0, 1] and row.accuracy == [0.7, 0.9]
    assert row.seconds == [8.0, 3.0]


def test_the_most_accurate_comes_first_and_the_unknown_last():
    made = [
        result("kmeans", 0, None),
        result("gmm", 0, 0.5),
        result("dgg", 0, 0.4),
        result("dgg", 1, 0.9),
        result("dec", 0, 0.5),
    ]
    methods = [row.method for row in comparison.table(made)]
    assert methods == ["dgg", "gmm", "dec", "kmeans"]


def test_gmvae_is_compared_by_its_own_score():
    """Erratum E62: never by ACC."""
    own = [0.75, 0.85]
    made = [
        result("gmvae", seed, 0.2, paper=OWN, confident_label_accuracy=score)
        for seed, score in enumerate(own)
    ]
    made.append(result("dgg", 0, 0.8, paper=PAPER))
    rows = comparison.table(made)
    assert [row.method for row in rows] == ["dgg", "gmvae"]
    assert rows[1].difference == pytest.approx(0.1)
    header, (first, second) = comparison.text_table(rows, "digits")
    assert header[3] == "most confident label"
    assert (first[2], first[3], first[-1]) == ("0.8000", "-", "-0.1000")
    assert second[2:4] == ("0.2000 ± 0.0000", "0.8000 ± 0.0707")
    assert second[-2:] == ("0.7000 (table 9)", "+0.1000")


def test_gmvae_without_its_own_score_is_not_compared():
    (row,) = comparison.table([result("gmvae", 0, 0.2, paper=OWN)])
    assert row.difference is None


def test_the_figure_compares_like_with_like(monkeypatch):
    drawn = []

    def draw(names, accuracies, references):
        drawn.append((names, accuracies, references))
        return real(names, accuracies, references)

    real = comparison_page.plots.run_accuracies
    monkeypatch.setattr(comparison_page.plots, "run_accuracies", draw)
    made = [
        result("gmvae", 0, 0.2, paper=OWN, confident_label_accuracy=0.7),
        result("dgg", 0, 0.8, paper=PAPER),
    ]
    page(made)
    assert drawn == [(["DGG", "GMVAE"], [[0.8], [0.2]], [0.9, None])]


def test_methods_are_compared_seed_by_seed():
    made = [
        *(result("dgg", seed, value) for seed, value in enumerate((0.9, 0.8, 0.7))),
        *(result("vade", seed, value) for seed, value in ((2, 0.5), (1, 0.9))),
        result("gmm", 7, 0.3),
        result("kmeans", 0, None),
    ]
    (only,) = comparison.paired_differences(comparison.table(made))
    assert (only.method, only.seeds) == ("vade", [1, 2])
    assert only.differences == pytest.approx([0.1, -0.2])
    assert comparison.paired_differences([]) == []
    text = page(made)
    assert "<td>VaDE</td>" in text.partition("Seed by seed</h2>")[2]
    assert "\N{MINUS SIGN}0.0500 ± 0.2121" in text and "1 of 2" in text


def test_runs_are_linked_to():
    made = [result("dgg", 0, 0.9), result("kmeans", 1, None)]
    rows = comparison.table(made)
    reports = {("dgg", 0): "dgg-0/report.html"}
    text = comparison_page.html(rows, "mnist", made, "compare", reports)
    assert '<a href="dgg-0/report.html">DGG, seed 0</a>' in text
    assert "kmeans-1" not in text


def test_the_csv_parses_back():
    made = [
        result("dgg", 0, 0.7, paper=PAPER),
        result("dgg", 1, 0.9, paper=PAPER),
        result("gmvae", 4, 0.3, paper=OWN, confident_label_accuracy=1 / 3),
        result("kmeans", 0, None),
    ]
    text = comparison.comma_separated(comparison.table(made), "mnist")
    lines = {line["method"]: line for line in csv.DictReader(io.StringIO(text))}
    assert float(lines["dgg"]["accuracy_mean"]) == pytest.approx(0.8, abs=1e-15)
    assert float(lines["dgg"]["accuracy_std"]) == np.std([0.7, 0.9], ddof=1)
    assert float(lines["dgg"]["difference"]) == pytest.approx(-0.1, abs=1e-15)
    assert lines["dgg"]["seeds"] == "0 1" and lines["dgg"]["runs"] == "2"
    assert lines["dgg"]["seconds_mean"] == "3.0"
    assert float(lines["gmvae"]["confident_mean"]) == 1 / 3
    assert lines["gmvae"]["score"] == "confident_label_accuracy"
    assert lines["gmvae"]["accuracy_std"] == ""
    assert lines["kmeans"]["accuracy_mean"] == lines["kmeans"]["paper"] == ""
    assert set(lines) - {"dgg", "gmvae", "kmeans"} == {
        f"{name}, quoted" for name in published.quoted("mnist")
    }
    quoted = lines["VaDE (preprint), quoted"]
    assert (quoted["runs"], quoted["paper"]) == ("0", "0.9406")
    assert quoted["source"] == "VaDE, table 2"


def test_the_markdown_has_the_quoted_methods():
    rows = comparison.table([result("dgg", 0, 0.8, paper=PAPER)])
    lines = comparison.markdown(rows, "mnist").splitlines()
    assert lines[:2] == [
        "| method | runs | ACC | NMI | ARI | seconds | paper | difference |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    quoted = (
        "| VaDE (preprint), quoted | 0 | - | - | - | - | 0.9406 (VaDE, table 2) | - |"
    )
    assert quoted in lines
    assert len(lines) == 3 + len(published.quoted("mnist"))
    assert len({line.count("|") for line in lines}) == 1
    assert "quoted" not in comparison.markdown(rows, "digits")


def test_a_column_that_is_empty_is_left_out():
    rows = comparison.table([result("dgg", 0, None), result("kmeans", 0, None)])
    assert comparison.markdown(rows, "digits").splitlines() == [
        "| method | runs | NMI | ARI | seconds |",
        "| --- | --- | --- | --- | --- |",
        "| dgg | 1 | 0.5000 | 0.2500 | 3 |",
        "| kmeans | 1 | 0.5000 | 0.2500 | 3 |",
    ]
    # Of VaDE's preprint nothing but its figure is known.
    assert "| - | 0.9406 (VaDE" in comparison.markdown(rows, "mnist")


def test_papers_report_of_whole_data():
    made = result("dgg", 0, 0.8)
    assert comparison.reported_data(made) == "mnist"
    made["config"]["num_rows"] = 20_000
    assert comparison.reported_data(made) == ""


def page(made):
    rows = comparison.table(made)
    return comparison_page.html(rows, "mnist", made, "python -m compare")


def test_the_page_holds_the_table():
    text = page([result("dgg", 0, 0.7, paper=PAPER), result("kmeans", 3, None)])
    for words in ("<td>DGG</td>", "<td>K-means</td>", "0.9000 (table 1)", "preprint"):
        assert words in text
    assert "2 methods, 2 runs on 9 rows of 2 features: &lt;made&gt;" in text
    assert text.count("<img") == 2 and "http" not in text
    assert "<pre><code>python -m compare</code></pre>" in text


def test_the_run_that_stands_best_is_named():
    low, high = result("dgg", 0, 0.9), result("dgg", 1, 0.8)
    low["stages"][0]["standing"], high["stages"][0]["standing"] = 1.3, 0.9
    low["stages"][1]["standing"], high["stages"][1]["standing"] = 1.0, 1.1
    other = result("kmeans", 0, 0.95)
    assert comparison.best_standing([low, other, high]) is high
    assert comparison.standing(low) == 1.0 and comparison.standing(other) is None
    text = page([low, other, high])
    assert "take DGG with seed 1" in text and "<th" in text
    assert '<td class="n">1.100</td>' in text and '<td class="n">1.000</td>' in text
    for few in ([high, other], [other]):
        assert comparison.best_standing(few) is None
        assert "Standing" not in page(few)


def test_without_labels_there_is_no_figure():
    assert "<img" not in page([result("kmeans", 0, None)])


# --- Bad input ---------------------------------------------------------------------


@pytest.fixture
def trained(monkeypatch):
    """Stands for training: notes each run, and writes what ``outcomes`` says of it."""

    class Trained(list):
        outcomes = {}  # noqa: RUF012

    calls = Trained()

    def train(config, dataset, runner, progress, began):
        calls.append(config)
        outcome = calls.outcomes.get((config.method, config.seed), 0.5)
        if isinstance(outcome, Exception):
            raise outcome
        named = outcome if isinstance(outcome, dict) else {"accuracy": outcome}
        made = result(config.method, config.seed, **named)
        (config.workdir / "result.json").write_text(json.dumps(made))
        return made

    monkeypatch.setattr(runs, "train_and_report", train)
    return calls


def names(calls):
    return [f"{config.method}-{config.seed}" for config in calls]


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (
            ["--methods=kmeans,wade"],
            ["methods='wade' is unknown; choose one of: ", *presets.METHODS],
        ),
        (["--methods="], ["methods must name at least one of: dgg, vade"]),
        (["--seeds=0,x"], ["seeds must be integers", "'0,x'"]),
        (["--seeds=-1"], ["seeds must be in [0, ", "got -1"]),
        (["--seeds=4294967296"], ["seeds must be in [0, ", "got 4294967296"]),
        (["--seeds="], ["seeds must name at least one seed"]),
        (["--method=vade"], ["--method is no flag of a comparison", "--methods"]),
        (["--seed=3"], ["--seed is no flag of a comparison", "--seeds"]),
        (["--resume"], ["--resume is no flag of a comparison", "same command"]),
        (["kmeans"], ["unexpected argument 'kmeans'"]),
        (["--epohcs=3"], ["Unknown command line flag 'epohcs'"]),
        (
            ["--methods=kmeans,gmm", "--affinity_neighbors=3"],
            ["--affinity_neighbors is a setting of none", "kmeans, gmm", "spectralnet"],
        ),
        (
            ["--methods=kmeans,vade", "--epochs=-1"],
            ["epochs must be at least 0, got -1"],
        ),
        (
            ["--methods=kmeans,gmvae", "--architecture=mnist"],
            ["gmvae: image_shape=(8, 8, 1) does not fit"],
        ),
        (
            ["--dataset=moons", "--methods=kmeans,gmvae", "--architecture=mnist"],
            ["gmvae: architecture=mnist is convolutional and needs images"],
        ),
        (
            ["--methods=kmeans,spectralnet", "--batch_size=8"],
            ["spectralnet: SpectralNet needs", "use a larger batch_size"],
        ),
        (
            ["--dataset=moons", "--methods=kmeans,vade", "--likelihood=bernoulli"],
            ["vade: the Bernoulli likelihood needs values in [0, 1]"],
        ),
    ],
)
def test_bad_values_are_refused_before_any_work(
    tmp_path, trained, arguments, fragments
):
    workdir = tmp_path / "comparison"
    assert_refused(compare(workdir, *arguments), *fragments)
    assert not workdir.exists()
    assert trained == []


@pytest.mark.parametrize("extra", [[], ["--overwrite"]])
@pytest.mark.parametrize("name", ["thesis.tex", "comparison.json"])
@pytest.mark.parametrize("content", ['["something else"]', "{}"])
def test_the_folder_of_something_else_is_left_alone(
    tmp_path, trained, extra, name, content
):
    (tmp_path / name).write_text(content)
    outcome = compare(tmp_path, "--methods=kmeans", *extra)
    assert_refused(outcome, "holds no comparison", "another --workdir")
    assert (tmp_path / name).read_text() == content
    assert trained == []


def test_a_damaged_comparison_is_one_line(tmp_path, trained):
    (tmp_path / "comparison.json").write_text("{")
    outcome = compare(tmp_path, "--methods=kmeans")
    assert_refused(outcome, str(tmp_path), "cannot be used")
    assert trained == []


def test_a_workdir_that_is_no_folder_is_refused(tmp_path, trained):
    (tmp_path / "file").write_text("content")
    outcome = compare(tmp_path / "file", "--methods=kmeans", "--overwrite")
    assert_refused(outcome, str(tmp_path / "file"), "cannot be written")
    assert (tmp_path / "file").read_text() == "content"


def test_another_comparison_is_refused_with_what_it_is_of(tmp_path, trained):
    assert compare(tmp_path, "--methods=kmeans", "--seeds=0").code == 0
    outcome = compare(tmp_path, "--methods=kmeans", "--seeds=0", "--preset=smoke")
    assert_refused(outcome, "comparison_of=digits, preset=default", "--overwrite")
    outcome = compare(tmp_path, "--methods=kmeans", "--seeds=0", "--num_clusters=9")
    assert_refused(outcome, "kmeans-0", "num_clusters=10")
    assert names(trained) == ["kmeans-0"]


# --- Order, what is there already, what fails --------------------------------------


def test_runs_go_seed_by_seed_and_new_ones_are_added(tmp_path, trained):
    outcome = compare(tmp_path, "--methods=gmm,kmeans,gmm", "--seeds=0,2,0")
    assert outcome.code == 0, outcome.err
    assert names(trained) == ["gmm-0", "kmeans-0", "gmm-2", "kmeans-2"]
    trained.clear()
    outcome = compare(tmp_path, "--methods=kmeans,spectral,gmm", "--seeds=0,1,2")
    assert outcome.code == 0, outcome.err
    assert names(trained) == ["spectral-0", "kmeans-1", "spectral-1", "gmm-1",
                              "spectral-2"]  # fmt: skip
    assert outcome.out.count("finished earlier.") == 4
    # Equal scores: in the order of this command, whatever was there before.
    # What papers print of other methods stands below.
    lines = (tmp_path / "comparison.md").read_text().splitlines()[2:]
    assert [line.split()[1:4:2] for line in lines[:3]] == [
        ["kmeans", "3"], ["spectral", "3"], ["gmm", "3"],
    ]  # fmt: skip
    assert all("quoted" in line for line in lines[3:])


def test_all_have_the_same_seeds_and_autoencoder(tmp_path, trained):
    outcome = compare(tmp_path, "--methods=dgg,vade,dec,imsat", "--seeds=3",
                      "--hidden_sizes=7,6", "--restarts=2")  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert {config.seed for config in trained} == {3}
    assert {config.preset.hidden_sizes for config in trained} == {(7, 6)}
    assert [config.preset.pretrain_autoencoder_epochs for config in trained[:3]] == [
        30, 30, 30,
    ]  # fmt: skip
    assert trained[1].preset.restarts == 2 and trained[3].preset.epochs == 100


def test_each_run_says_how_to_repeat_it_alone(tmp_path, trained):
    compare(tmp_path, "--methods=dgg,vade,kmeans", "--seeds=3", "--hidden_sizes=7,6",
            "--nokl_term", "--preset=smoke")  # fmt: skip
    assert [config.command() for config in trained] == [
        "python -m experiments.main --preset=smoke --seed=3 --hidden_sizes=7,6",
        "python -m experiments.main --method=vade --preset=smoke --seed=3 "
        "--hidden_sizes=7,6 --kl_term=false",
        "python -m experiments.main --method=kmeans --preset=smoke --seed=3",
    ]
    for config in list(trained):
        call(*config.command().split()[3:], f"--workdir={tmp_path / config.method}")
        assert trained[-1].identity() == config.identity()


def test_the_run_to_take_is_told_when_all_are_there(tmp_path, trained):
    standings = {0: 1.01, 1: 1.25, 2: 0.9}
    trained.outcomes = {
        ("dgg", seed): {"accuracy": None, "standing": value}
        for seed, value in standings.items()
    }
    one = compare(tmp_path, "--methods=dgg,kmeans", "--seeds=0")
    assert "Best  " not in one.out
    every = compare(tmp_path, "--methods=dgg,kmeans", "--seeds=0,1,2")
    (line,) = re.findall(r"^Best     (.*)$", every.out, re.M)
    assert line.startswith(f"{tmp_path / 'dgg-1'}, told without labels")
    assert line.endswith("the highest, 1.250")


def test_a_diverged_run_is_reported_and_the_others_go_on(tmp_path, trained):
    trained.outcomes = {("gmm", 0): Diverged("loss is not finite")}
    outcome = compare(tmp_path, "--methods=gmm,kmeans", "--seeds=0,1")
    assert outcome.code == 3
    assert outcome.err == (
        "error: training diverged: gmm with seed 0; not in the table.\n"
    )
    assert "diverged: loss is not finite." in outcome.out
    assert names(trained) == ["gmm-0", "kmeans-0", "gmm-1", "kmeans-1"]
    lines = (tmp_path / "comparison.md").read_text().splitlines()
    assert [line.split()[1:4:2] for line in lines[2:4]] == [
        ["gmm", "1"], ["kmeans", "2"],
    ]  # fmt: skip
    # The same command tries it once more.
    trained.outcomes, before = {}, len(trained)
    assert compare(tmp_path, "--methods=gmm,kmeans", "--seeds=0,1").code == 0
    assert names(trained[before:]) == ["gmm-0"]


def test_nothing_but_diverged_runs(tmp_path, trained):
    trained.outcomes = {("gmm", 0): Diverged("loss is not finite")}
    outcome = compare(tmp_path, "--methods=gmm", "--seeds=0")
    assert outcome.code == 3 and outcome.err.count("\n") == 1
    assert not (tmp_path / "comparison.md").exists()


def test_overwrite_begins_anew(tmp_path, trained):
    arguments = ["--methods=kmeans", "--seeds=0"]
    assert compare(tmp_path, *arguments).code == 0
    (tmp_path / "kmeans-0/trace").touch()
    assert compare(tmp_path, *arguments, "--overwrite", "--preset=smoke").code == 0
    assert len(trained) == 2
    assert not (tmp_path / "kmeans-0/trace").exists()
    assert json.loads((tmp_path / "comparison.json").read_text())["preset"] == "smoke"


def test_a_comparison_in_use_is_refused(tmp_path, trained):
    arguments = ["--methods=kmeans", "--seeds=0"]
    assert compare(tmp_path, *arguments).code == 0
    before = sorted(tmp_path.rglob("*"))
    for extra in ([], ["--seeds=0,1"], ["--overwrite"]):
        with folders.lock(tmp_path):
            outcome = compare(tmp_path, *arguments, *extra)
        assert_refused(outcome, f"{tmp_path} is in use by process {os.getpid()};")
    # One run of it alone, by experiments.main.
    with folders.lock(tmp_path / "kmeans-0"):
        outcome = compare(tmp_path, *arguments, "--overwrite")
    assert_refused(outcome, f"kmeans-0 is in use by process {os.getpid()};")
    assert sorted(tmp_path.rglob("*")) == before
    assert len(trained) == 1


@pytest.mark.parametrize("extra", [[], ["--overwrite"]])
@pytest.mark.parametrize("deletions", range(11))
def test_an_overwrite_that_was_killed_can_be_repeated(
    tmp_path, trained, monkeypatch, deletions, extra
):
    arguments = ["--methods=kmeans", "--seeds=0,1"]
    assert compare(tmp_path, *arguments).code == 0
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
        outcome = compare(tmp_path, *arguments, "--overwrite")
    assert outcome.code == 130 and len(done) == deletions
    outcome = compare(tmp_path, *arguments, *extra)
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("finished earlier.") + len(trained) == 4


def test_overwrite_deletes_nothing_before_all_is_checked(
    tmp_path, trained, monkeypatch
):
    arguments = ["--methods=kmeans", "--seeds=0", "--overwrite"]
    assert compare(tmp_path, *arguments).code == 0
    assert_refused(compare(tmp_path, *arguments, "--num_clusters=1798"), "1797 rows")
    assert (tmp_path / "kmeans-0/result.json").exists()


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (["--overwrite", "--seeds=0"], " --seeds=0"),
        (["-overwrite=true", "--nooverwrite"], ""),
        (["--workdir", "a b"], " --workdir 'a b'"),
    ],
)
def test_the_command_to_continue_does_not_delete(arguments, kept):
    assert (
        command.continuing("compare", arguments)
        == f"python -m experiments.compare{kept}"
    )


# --- Real runs ---------------------------------------------------------------------

CHEAP = ("--methods=kmeans,gmm,spectral", "--seeds=0,1")


@pytest.fixture(scope="module")
def patched():
    """Every fourth row of digits; no figures of single runs, which take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        whole = data.load("digits")
        part = whole._replace(x=whole.x[::4], y=whole.y[::4])
        patch.setattr(data, "load", lambda name, **arguments: part)
        patch.setattr("dgg_jax.reports.run.report_figures", lambda *_: {})
        patch.setattr("dgg_jax.plots.latents.tsne", lambda z: z[:, :2])
        yield part


@pytest.fixture(scope="module")
def finished(patched, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("comparison") / "digits"
    outcome = compare(workdir, *CHEAP)
    assert outcome.code == 0, outcome.err
    return workdir, outcome


def lines_of(workdir):
    with open(workdir / "comparison.csv") as file:
        return list(csv.DictReader(file))


def test_a_comparison_of_cheap_methods(finished, patched):
    workdir, outcome = finished
    assert outcome.err == ""
    assert sorted(path.name for path in workdir.iterdir()) == [
        ".lock", "comparison.csv", "comparison.json", "comparison.md", "gmm-0", "gmm-1",
        "kmeans-0", "kmeans-1", "report.html", "shared", "spectral-0", "spectral-1",
    ]  # fmt: skip
    numbered = re.findall(r"^\[(\d/6)\] (\w+), seed (\d)$", outcome.out, re.M)
    assert numbered == [
        (f"{n + 1}/6", method, str(seed))
        for n, (seed, method) in enumerate(
            (seed, method)
            for seed in (0, 1)
            for method in ("kmeans", "gmm", "spectral")
        )
    ]
    found = lines_of(workdir)
    assert found[0]["method"] == "spectral"
    means = [float(line["accuracy_mean"]) for line in found]
    assert means == sorted(means, reverse=True)
    for line in found:
        results = [
            json.loads((workdir / f"{line['method']}-{seed}/result.json").read_text())
            for seed in (0, 1)
        ]
        accuracies = [one["final"]["accuracy"] for one in results]
        assert float(line["accuracy_mean"]) == pytest.approx(np.mean(accuracies))
        assert float(line["accuracy_std"]) == pytest.approx(np.std(accuracies, ddof=1))
        assert results[0]["dataset"] == results[1]["dataset"]
        assert results[1]["seed"] == 1 and results[0]["dataset"]["rows"] == 450
        assert f"--method={line['method']}" in results[0]["command"]
    assert (workdir / "comparison.md").read_text() in outcome.out
    text = (workdir / "report.html").read_text()
    links = re.findall(r'href="([^"#]+)"', text)
    assert len(links) == 8 and all((workdir / link).exists() for link in links)
    assert "spectral clustering" in text and text.count("<img") == 2


def test_the_same_command_again_trains_nothing(finished, trained):
    workdir, _ = finished
    before = (workdir / "comparison.csv").read_text()
    outcome = compare(workdir, *CHEAP)
    assert outcome.code == 0 and trained == []
    assert outcome.out.count("finished earlier.") == 6
    assert (workdir / "comparison.csv").read_text() == before


def test_an_interrupted_comparison_goes_on(finished, tmp_path, monkeypatch):
    """A signal comes within the second run; the first is not repeated."""
    reference, _ = finished
    begun = []
    real = runs.train_and_report

    def train(config, *arguments):
        begun.append(f"{config.method}-{config.seed}")
        if len(begun) == 2:
            signal.raise_signal(signal.SIGTERM)
        return real(config, *arguments)

    monkeypatch.setattr(runs, "train_and_report", train)
    outcome = compare(tmp_path, *CHEAP)
    assert outcome.code == 128 + signal.SIGTERM
    assert f"everything so far is in {tmp_path}" in outcome.out
    assert "python -m experiments.compare" in outcome.out.splitlines()[-1]
    assert [line["method"] for line in lines_of(tmp_path)] == ["kmeans"]
    stamp = (tmp_path / "kmeans-0/result.json").stat().st_mtime_ns

    begun[:] = ["", ""]
    outcome = compare(tmp_path, *CHEAP)
    assert outcome.code == 0, outcome.err
    assert begun[2:] == ["gmm-0", "spectral-0", "kmeans-1", "gmm-1", "spectral-1"]
    assert (tmp_path / "kmeans-0/result.json").stat().st_mtime_ns == stamp
    with_seconds = ("seconds_mean", "seconds_std")
    for ours, theirs in zip(lines_of(tmp_path), lines_of(reference), strict=True):
        assert {k: v for k, v in ours.items() if k not in with_seconds} == {
            k: v for k, v in theirs.items() if k not in with_seconds
        }


def test_a_signal_between_two_runs_stops_there(tmp_path, trained, monkeypatch):
    stub = runs.train_and_report

    def train(*arguments):
        made = stub(*arguments)
        signal.raise_signal(signal.SIGINT)
        return made

    monkeypatch.setattr(runs, "train_and_report", train)
    outcome = compare(tmp_path, "--methods=kmeans,gmm", "--seeds=0")
    assert outcome.code == 128 + signal.SIGINT
    assert names(trained) == ["kmeans-0"]
    # After the last run there is nothing to stop.
    outcome = compare(tmp_path, "--methods=kmeans,gmm", "--seeds=0")
    assert outcome.code == 0 and "Report " in outcome.out


def test_data_without_labels(tmp_path, monkeypatch, patched):
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    unlabelled = Dataset(x, None, "moons", (3,), None, "gaussian", "40 rows")
    monkeypatch.setattr(data, "load", lambda name, **arguments: unlabelled)
    outcome = compare(tmp_path, "--dataset=moons", "--methods=kmeans", "--seeds=0")
    assert outcome.code == 0, outcome.err
    assert re.search(r"\| kmeans \| 1 \| \d+ \|", outcome.out)


@pytest.mark.slow
def test_the_autoencoder_is_trained_once(tmp_path, patched):
    outcome = compare(
        tmp_path, "--preset=smoke", "--hidden_sizes=8",
        "--pretrain_autoencoder_epochs=3", "--methods=ae_gmm,vade", "--seeds=0",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    loops, encoders, seconds = {}, {}, {}
    for method in ("ae_gmm", "vade"):
        folder = tmp_path / f"{method}-0"
        history = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        loops[method] = [
            line["epoch"] for line in history if line["stage"] == "pretrain"
        ]
        found = json.loads((folder / "result.json").read_text())["stages"]
        seconds[method] = found[0]["seconds"]
        scores = [found[0][name] for name in ("accuracy", "elbo")]
        encoders[method] = scores
    assert loops == {"ae_gmm": [1, 2, 3], "vade": []}
    assert encoders["ae_gmm"] == encoders["vade"]
    checkpoints = Checkpoints(tmp_path / "shared")
    (series,) = checkpoints.series()
    _, arrays, record = checkpoints.restore(series)
    checkpoints.close()
    assert record["identity"]["hidden_sizes"] == [8]
    assert arrays["encoder"]["hidden_0"]["kernel"].shape == (64, 8)
    # What is shared counts for both.
    assert all(value >= record["seconds"] > 0 for value in seconds.values())
    assert all(
        math.isfinite(float(line["seconds_mean"])) for line in lines_of(tmp_path)
    )
