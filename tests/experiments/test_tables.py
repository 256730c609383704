import pytest

from experiments.tables import table


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
