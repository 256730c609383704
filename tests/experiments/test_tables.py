import json
import pathlib
import re

import pytest

from dgg_jax import presets
from dgg_jax.reports import comparison
from experiments.tables import (
    accuracies,
    arena,
    fill,
    main,
    ranks,
    stages,
    study,
    table,
    variants,
)

RESULTS = pathlib.Path(__file__).resolve().parents[2] / "results"


def result(seed, accuracies, flags="", **config):
    names = ("initialize", "classifier", "evaluate")
    stages = [
        {"name": name, "accuracy": accuracy, "seconds": 3.0 + seed}
        for name, accuracy in zip(names, accuracies, strict=True)
    ]
    return {
        "command": f"python -m experiments.main --seed={seed} --workdir=w{seed}{flags}",
        "config": {"dataset": "digits", "seed": seed, "preset_values": {}, **config},
        "dataset": {"name": "digits", "provenance": "made here"},
        "final": {"nmi": 0.9, "elbo": -20.0},
        "paper": None,
        "seconds": 99.0,  # of what was left when it was resumed
        "seed": seed,
        "stages": stages,
    }


def test_seeds_make_one_row_with_mean_and_deviation():
    runs = [result(1, (0.8, 0.7, 0.9)), result(0, (0.6, 0.7, 1.0))]
    lines = table(runs).splitlines()
    assert len(lines) == 3
    assert lines[2] == (
        "| `python -m experiments.main` | 0, 1 | 0.7000 ± 0.1414 | 0.7000 ± 0.0000 "
        "| 0.9500 ± 0.0707 | 0.9500 ± 0.0707 | 0.9000 ± 0.0000 | -20.00 ± 0.00 "
        "| 10 ± 2 | - |"
    )


def test_configurations_make_rows_of_their_own():
    runs = [
        result(0, (0.8, 0.7, 0.9)),
        result(0, (0.1, 0.1, 0.1), " --init=kmeans", init="kmeans"),
    ]
    lines = table(runs).splitlines()
    assert len(lines) == 4
    assert "--init=kmeans` | 0 | 0.1000 |" in lines[3]


def test_a_row_says_what_its_data_are():
    warped = {"siamese_warp": 0.5, "siamese_epochs": 8, "graph_of": "siamese"}
    run = result(0, (0.8, 0.7, 0.9), preset_values=warped)
    run["dataset"]["provenance"] = "UCI HAR, reconstructed features, from file har.npz"
    assert "main` (images warped, reconstructed features) | 0 |" in table([run])
    run["config"]["preset_values"] = {"siamese_warp": 0.0, "warp": 1.0}
    assert "main` (images warped, reconstructed features) | 0 |" in table([run])
    run["config"]["preset_values"] = warped | {"graph_of": "data"}
    assert "main` (reconstructed features) | 0 |" in table([run])


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
    return run | {
        "stages": [{"name": n, "accuracy": a, "seconds": 1.0} for n, a in stages]
    }


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
    kept = cells.rpartition(" ")[2]
    assert f"| 0 | {cells} | {kept} | 0.9000 | - | {len(stages)} | - |" in row


def test_training_that_was_undone_has_both_figures():
    """After training is never the model from before it (erratum E36)."""
    run = of_stages(
        *(("initialize", 0.75), ("classifier", 0.625), ("train", 0.625)),
        ("evaluate", 0.625),
    )
    run["stages"][2]["undone"] = {"accuracy": 0.25}
    assert "| 0 | 0.7500 | 0.6250 | 0.2500 | 0.6250 |" in table([run])
    trained, final = stages(run).splitlines()[-2:]
    assert "| 0.2500 |" in trained and "| 0.6250 |" in final


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


# --- Studies -----------------------------------------------------------------------


class Folder:
    """A folder of a study's results, written in the order of the calls."""

    def __init__(self, path):
        self.path, self.written = path, 0
        path.mkdir(parents=True)

    def add(self, variant, seed, accuracy, elbo=-1.0, information=1.0, **changes):
        self.written += 1
        last = {"elbo": elbo, "graph_information": information}
        one = of_stages(
            ("initialize", 0.5), ("classifier", 0.4), ("train", 0.3),
            ("evaluate", accuracy), seed=seed, seconds=999.0,
        )  # fmt: skip
        one["stages"][-1] |= last
        one["final"]["elbo"] = elbo
        one["stages"][-2]["objective"] = changes.pop("objective", -2.0)
        one["stages"] = [stage | {"seconds": 2.0} for stage in one["stages"]]
        settings = {"variant": variant, "preset_values": {}, **changes}
        one["config"] = {"seed": seed, **settings}
        one["finished"] = f"2026-01-{self.written:02}"
        (self.path / f"{variant}-{seed}.json").write_text(json.dumps(one))


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "study" / "digits")


def cells(text):
    return [line.strip("| ").split(" | ") for line in text.splitlines()[2:]]


def test_a_variant_is_compared_over_the_same_seeds(folder):
    folder.add("default", 0, 0.8)
    folder.add("default", 1, 0.6)
    folder.add("default", 2, 0.1)
    folder.add("epochs=9", 1, 0.7, elbo=-3.0, information=0.25)
    folder.add("epochs=9", 0, 0.6)
    folder.add("epochs=9", 7, 0.9)  # the default has no such seed
    default, variant = cells(variants(study(folder.path)))
    assert default[:2] == ["`default`", "0, 1, 2"] and default[5] == "-"
    assert variant == [
        "`epochs=9`", "0, 1, 7", "0.5000 ± 0.0000", "0.4000 ± 0.0000",
        "0.7333 ± 0.1528", "-0.0500 ± 0.2121", "0.7500 ± 0.4330", "-1.67 ± 1.15",
        "8 ± 0",
    ]  # fmt: skip


def test_without_a_default_or_labels_there_is_no_difference(folder):
    folder.add("epochs=9", 0, 0.7)
    assert cells(variants(study(folder.path)))[0][5] == "-"
    folder.add("default", 0, None)
    assert [row[5] for row in cells(variants(study(folder.path)))] == ["-", "-"]


def test_variants_stand_by_setting_ascending_in_the_order_of_the_runs(folder):
    for variant in ("num_neighbors=3", "init=gmm", "num_neighbors=0", "default",
                    "label_epochs=0+learning_rate=1e-3", "num_neighbors=20",
                    "init=kmeans"):  # fmt: skip
        folder.add(variant, 1, 0.5)
    folder.add("init=gmm", 0, 0.5)
    names = [row[0].replace("`", "") for row in cells(variants(study(folder.path)))]
    assert names == [
        "default", "num_neighbors=0 (no graph)", "num_neighbors=3", "num_neighbors=20",
        "init=gmm", "init=kmeans", "label_epochs=0+learning_rate=1e-3",
    ]  # fmt: skip
    chosen = cells(variants(study(folder.path), ["learning_rate", "init"]))
    assert [row[0] for row in chosen] == [
        "`default`", "`init=gmm`", "`init=kmeans`",
        "`label_epochs=0+learning_rate=1e-3`",
    ]  # fmt: skip


def test_ranks_are_spearmans(folder):
    # ELBO rises with the accuracy, but not in proportion; J / N falls; information is
    # in the order 2, 1, 3, 4: rho = 1 - 6 * 2 / (4 * 15) = 0.8.
    for seed, (elbo, objective, information) in enumerate(
        [(-9.0, 4.0, 0.2), (-8.9, 3.0, 0.1), (-2.0, 2.0, 0.3), (5.0, 1.0, 0.4)]
    ):
        folder.add("default", seed, 0.1 * seed, elbo, information, objective=objective)
    assert cells(ranks(study(folder.path))) == [
        ["ELBO", "1.00", "1.00 (1 variants)", "4"],
        ["objective J / N", "-1.00", "-1.00 (1 variants)", "4"],
        ["graph information", "0.80", "0.80 (1 variants)", "4"],
    ]


def test_ranks_within_variants_do_not_compare_different_objectives(folder):
    for seed in range(3):
        folder.add("default", seed, 0.1 * seed, elbo=seed)
        folder.add("epochs=1", seed, 0.5 + 0.1 * seed, elbo=seed - 10.0)
    folder.add("epochs=2", 0, 0.9, elbo=-20.0)  # one run has no rank
    whole, within = cells(ranks(study(folder.path)))[0][1:3]
    assert float(whole) < 0 and within == "1.00 (2 variants)"


def test_ranks_count_equal_configurations_once(folder):
    for seed in range(3):
        folder.add("default", seed, 0.1 * seed, elbo=seed)
        content = (folder.path / f"default-{seed}.json").read_text()
        (folder.path / f"num_neighbors=20-{seed}.json").write_text(content)
    assert cells(ranks(study(folder.path)))[0][1:] == ["1.00", "1.00 (1 variants)", "3"]


def test_what_some_runs_lack_or_all_share_has_no_rank(folder):
    for seed in range(3):
        folder.add("default", seed, 0.1 * seed, elbo=None, objective=None)
    assert [row[1:3] for row in cells(ranks(study(folder.path)))] == [["-", "-"]] * 3


def test_a_page_is_filled_between_its_marks(folder, tmp_path):
    folder.add("default", 0, 0.5)
    folder.add("init=gmm", 0, 0.5)
    folder.add("epochs=1", 0, 0.5)
    page = (
        "before <!-- other -->\n"
        "<!-- variants study/digits init -->\nold\n<!-- end -->\n"
        "between\n<!-- ranks study/digits --><!-- end -->\n"
        "<!-- variants study/none -->\nold\n<!-- end -->\nafter"
    )
    filled = fill(page, tmp_path)
    runs = study(folder.path)
    assert filled == (
        "before <!-- other -->\n<!-- variants study/digits init -->\n\n"
        f"{variants(runs, ['init'])}\n\n<!-- end -->\nbetween\n"
        f"<!-- ranks study/digits -->\n\n{ranks(runs)}\n\n<!-- end -->\n"
        "<!-- variants study/none -->\n\nNot measured yet.\n\n<!-- end -->\nafter"
    )
    assert fill(filled, tmp_path) == filled


def test_a_page_shows_runs_and_the_stages_of_one(folder, tmp_path):
    for seed in (1, 0):
        folder.add("default", seed, 0.5 + 0.1 * seed)
    page = (
        "<!-- runs study/*/default-*.json other.json --><!-- end -->\n"
        "<!-- stages study/digits/default-1.json --><!-- end -->\n"
        "<!-- stages study/none.json --><!-- end -->"
    )
    filled = fill(page, tmp_path)
    files = [folder.path / f"default-{seed}.json" for seed in (0, 1)]
    results = [json.loads(file.read_text()) for file in files]
    assert filled == (
        f"<!-- runs study/*/default-*.json other.json -->\n\n{table(results)}\n\n"
        "<!-- end -->\n<!-- stages study/digits/default-1.json -->\n\n"
        f"{stages(results[1])}\n\n<!-- end -->\n"
        "<!-- stages study/none.json -->\n\nNot measured yet.\n\n<!-- end -->"
    )
    rows = cells(stages(results[1]))
    assert [row[0] for row in rows] == [s["name"] for s in results[1]["stages"]]
    assert rows[-1][2] == "0.6000"


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("docs/accuracy.md", 9),
        ("docs/reproduced.md", 3),
        ("docs/results.md", 8),
        ("README.md", 1),
    ],
)
def test_a_page_has_the_tables_of_the_results(name, count):
    page = (RESULTS.parent / name).read_text()
    assert page.count("<!-- end -->") == count
    assert fill(page, RESULTS.parent) == page


@pytest.mark.parametrize("method", presets.METHODS)
def test_every_method_has_a_row_in_the_results(method):
    assert f"\n| {method} | " in (RESULTS.parent / "docs/results.md").read_text()


TABLE_1 = ("gmm", "kmeans", "spectral", "ae_gmm", "vae_gmm", "dae_gmm")
TABLE_1 += ("dec", "imsat", "spectralnet", "vade", "gmvae", "dgg")


@pytest.mark.parametrize("dataset", ["mnist", "har", "reuters_r8"])
def test_table_1_has_three_seeds_of_every_method(dataset):
    for method in TABLE_1:
        files = (RESULTS / f"compare-{dataset}").glob(f"{method}-[0-9].json")
        assert len(list(files)) >= 3, method


def of_methods(folder, *runs, dataset="mnist"):
    """Writes runs of (method, seed, stages) as files METHOD-SEED.json."""
    folder.mkdir(exist_ok=True)
    results = []
    for method, seed, records in runs:
        one = of_stages(*records, seed=seed)
        one["config"] |= {"method": method, "dataset": dataset, "seed": seed}
        results.append(one)
        (folder / f"{method}-{seed}.json").write_text(json.dumps(one))
    return results


def test_a_page_shows_a_comparison_as_its_command_does(tmp_path):
    results = of_methods(
        tmp_path / "mnist",
        ("kmeans", 0, [("cluster", 0.5)]),
        ("vade", 0, [("train", 0.75), ("evaluate", 0.875)]),
    )
    page = (
        "<!-- comparison mnist -->old<!-- end -->\n"
        "<!-- accuracies mnist --><!-- end -->\n"
        "<!-- comparison none --><!-- end -->"
    )
    text = comparison.markdown(comparison.table(results), "mnist")
    assert "VaDE (preprint), quoted" in text
    assert fill(page, tmp_path) == (
        f"<!-- comparison mnist -->\n\n{text}\n\n<!-- end -->\n"
        f"<!-- accuracies mnist -->\n\n{accuracies(results)}\n\n<!-- end -->\n"
        "<!-- comparison none -->\n\nNot measured yet.\n\n<!-- end -->"
    )


def test_accuracies_stand_by_method_stage_and_seed(tmp_path):
    results = of_methods(
        tmp_path,
        ("ae_gmm", 2, [("pretrain", 0.25), ("embed", None), ("cluster", 0.5)]),
        ("vade", 2, [("train", 0.75), ("evaluate", 0.5)]),
        ("vade", 0, [("train", 0.25), ("evaluate", 1.0)]),
    )
    for one in results[1:]:
        one["stages"][-1]["em_accuracy"] = 0.625
    text = accuracies(results)
    assert text.startswith("| method | ACC after | seed 0 | seed 2 | mean |\n")
    assert cells(text) == [
        ["vade", "train", "0.2500", "0.7500", "0.5000 ± 0.3536"],
        ["vade", "evaluate", "1.0000", "0.5000", "0.7500 ± 0.3536"],
        ["vade", "evaluate, by EM", "0.6250", "0.6250", "0.6250 ± 0.0000"],
        ["ae_gmm", "pretrain", "-", "0.2500", "0.2500"],
        ["ae_gmm", "cluster", "-", "0.5000", "0.5000"],
    ]


@pytest.mark.parametrize("kind", ["runs", "stages", "comparison", "accuracies"])
@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_page_that_asks_for_no_result_is_one_line(tmp_path, kind, content):
    (tmp_path / "notes-0.json").write_text(content)
    where = "." if kind in ("comparison", "accuracies") else "notes-0.json"
    mark = f"<!-- {kind} {where} -->"
    with pytest.raises(ValueError, match=re.escape(f"{mark} has a file that is no")):
        fill(f"{mark}<!-- end -->", tmp_path)


@pytest.mark.parametrize("kind", ["comparison", "accuracies"])
def test_methods_are_compared_on_one_data_set(tmp_path, kind, monkeypatch):
    of_methods(tmp_path / "all", ("kmeans", 0, [("cluster", 0.5)]))
    of_methods(tmp_path / "all", ("gmm", 0, [("cluster", 0.5)]), dataset="digits")
    (tmp_path / "page.md").write_text(f"<!-- {kind} all --><!-- end -->")
    monkeypatch.chdir(tmp_path)
    assert main(["--fill=page.md"]) == (
        "error: page.md cannot be filled: all has runs on digits, mnist, not on one "
        "data set."
    )


def test_the_command_prints_and_fills(folder, tmp_path, capsys, monkeypatch):
    folder.add("default", 0, 0.5)
    assert main([f"--study={folder.path}"]) is None
    runs = study(folder.path)
    assert capsys.readouterr().out == f"{variants(runs)}\n\n{ranks(runs)}\n"
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text("<!-- ranks study/digits -->\n<!-- end -->\n")
    assert main([f"--fill={page}"]) is None
    assert ranks(runs) in page.read_text()


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
def test_a_folder_that_is_no_study_is_one_line(folder, content, capsys):
    if content is not None:
        (folder.path / "default-0.json").write_text(content)
    message = main([f"--study={folder.path}"])
    assert message.startswith(f"error: {folder.path} has") or "read" in message
    assert "\n" not in message and capsys.readouterr().out == ""
    (folder.path / "notes.json").write_text("{}")
    assert str(folder.path) in main([f"--study={folder.path}"])


def test_a_page_that_is_not_there_is_one_line(tmp_path):
    message = main([f"--fill={tmp_path / 'page.md'}"])
    assert "page.md cannot be filled" in message and "\n" not in message


# --- Bad input ---------------------------------------------------------------------


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


def test_seconds_of_the_arena_are_of_sets_that_all_methods_have_them_of(tmp_path):
    """Elsewhere one would be compared on the small sets, another on the large ones."""
    taken = {"iris": (2.0, 1.0), "wine": (None, 9.0), "penguins": (4.0, 3.0)}
    lines = [
        {"set": name, "method": method, "seed": 0, "ari": ari, "seconds": seconds}
        for name, of_set in taken.items()
        for method, ari, seconds in zip(
            ("DGG", "spectral"), (0.9, 0.8), of_set, strict=True
        )
    ]
    path = tmp_path / "outcomes.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert arena(path, ["iris", "wine"]).splitlines()[2:] == [
        "| DGG | 1.00 | 3.0 | 0.900 | 0.900 |",
        "| spectral | 2.00 | 2.0 | 0.800 | 0.800 |",
    ]
