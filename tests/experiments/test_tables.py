import pathlib

import pytest

from experiments.tables import main, table

RESULTS = pathlib.Path(__file__).resolve().parents[2] / "results"


def result(seed, accuracies, flags="", **config):
    names = ("initialize", "classifier", "evaluate")
    stages = [
        {"name": name, "accuracy": accuracy}
        for name, accuracy in zip(names, accuracies, strict=True)
    ]
    return {
        "command": f"python -m experiments.main --seed={seed} --workdir=w{seed}{flags}",
        "config": {"dataset": "digits", "seed": seed, **config},
        "final": {"nmi": 0.9, "elbo": -20.0},
        "paper": None,
        "seconds": 10.0 + seed,
        "seed": seed,
        "stages": stages,
    }


def test_seeds_make_one_row_with_mean_and_deviation():
    runs = [result(1, (0.8, 0.7, 0.9)), result(0, (0.6, 0.7, 1.0))]
    lines = table(runs).splitlines()
    assert len(lines) == 3
    assert lines[2] == (
        "| `python -m experiments.main` | 0, 1 | 0.7000 ± 0.1414 | 0.7000 ± 0.0000 "
        "| 0.9500 ± 0.0707 | 0.9000 ± 0.0000 | -20.00 ± 0.00 | 10 ± 1 | - |"
    )


def test_configurations_make_rows_of_their_own():
    runs = [
        result(0, (0.8, 0.7, 0.9)),
        result(0, (0.1, 0.1, 0.1), " --init=kmeans", init="kmeans"),
    ]
    lines = table(runs).splitlines()
    assert len(lines) == 4
    assert "--init=kmeans` | 0 | 0.1000 |" in lines[3]


def test_runs_without_labels_have_no_accuracy():
    run = result(0, (None, None, None))
    run["final"] = {"nmi": None, "elbo": -20.0}
    assert "| - | - | - | - | -20.00 |" in table([run])


@pytest.mark.parametrize("accuracy", [0.9758])
def test_the_papers_figure_stands_beside(accuracy):
    run = result(0, (0.8, 0.7, 0.9))
    run["paper"] = {"accuracy": accuracy, "source": "table 1"}
    assert table([run]).endswith("| 0.9758 |")


def of_stages(*stages, **changes):
    run = result(0, (0.8, 0.7, 0.9)) | changes
    return run | {"stages": [{"name": n, "accuracy": a} for n, a in stages]}


@pytest.mark.parametrize(
    ("stages", "cells"),
    [
        ([("cluster", 0.5)], "- | - | 0.5000"),
        ([("graph", None), ("cluster", 0.5)], "- | - | 0.5000"),
        (
            [("pretrain", 0.25), ("embed", 0.5), ("cluster", 0.75)],
            "0.2500 | - | 0.7500",
        ),
        (
            [("pretrain", 0.25), ("initialize", 0.5), ("train", 0.75), ("evaluate", 1)],
            "0.5000 | - | 1.0000",
        ),
        ([("pretrain", 0.25), ("initialize", None), ("train", 0.5)], "- | - | 0.5000"),
        ([("train", 0.5), ("evaluate", 0.75)], "- | - | 0.7500"),
    ],
    ids=["kmeans", "spectral", "ae_gmm", "vade", "no initial labels", "gmvae"],
)
def test_methods_have_stages_of_their_own(stages, cells):
    run = of_stages(*stages, final={"nmi": 0.9, "elbo": None})
    row = table([run]).splitlines()[2]
    assert f"| 0 | {cells} | 0.9000 | - | 10 | - |" in row


def test_a_stage_need_not_have_a_score():
    run = of_stages(("pretrain", 0.5), ("evaluate", 0.75))
    run["stages"].insert(0, {"name": "graph", "seconds": 1.0})
    assert "| 0 | 0.5000 | - | 0.7500 |" in table([run])


def test_the_figure_of_gmvae_is_not_beside_acc():
    own = {"accuracy": 0.7778, "score": "confident_label_accuracy", "source": "t"}
    runs = [
        of_stages(("train", 0.5), ("evaluate", 0.25), paper=own, seed=seed)
        | {"final": {"nmi": 0.9, "elbo": -1.0, "confident_label_accuracy": score}}
        for seed, score in enumerate((0.5, 0.75))
    ]
    assert table(runs).endswith(
        "| 0.7778 (most-confident-label accuracy; ours 0.6250 ± 0.1768) |"
    )


def test_the_readme_has_the_table_of_the_results(capsys):
    assert main(sorted(map(str, RESULTS.glob("*-default-*.json")))) is None
    rows = capsys.readouterr().out.splitlines()
    readme = (RESULTS.parent / "README.md").read_text()
    assert len(rows) == 6
    for row in rows:
        assert row in readme


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read"), ("{", "cannot be read"), ("{}", "no result.json"),
     ("[]", "no result.json"), ('{"config": 1}', "no result.json")],
)  # fmt: skip
def test_a_file_that_is_no_result_is_one_line(tmp_path, content, words, capsys):
    path = tmp_path / "result.json"
    if content is not None:
        path.write_text(content)
    message = main([str(path)])
    assert words in message and str(path) in message and "\n" not in message
    assert capsys.readouterr().out == ""


def test_without_files_it_says_what_it_does():
    assert "result.json" in main([])
