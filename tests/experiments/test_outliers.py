"""Whether outliers are told from the other rows."""

import json

import numpy as np
import pytest

from experiments import outliers
from tests.experiments.command_line import assert_refused, call


def rows():
    y = np.repeat([0, 1, 2], 60)
    x = np.eye(3, 5)[y] + 0.05 * np.random.default_rng(0).standard_normal((180, 5))
    return x.astype(np.float32), y


def test_some_rows_are_drawn_from_the_box_of_the_others():
    x, y = rows()
    given = outliers.task(x, y, "10 %", 0)
    assert given.num_clusters == 3 and given.asked is None
    assert given.train.shape == (198, 5) and given.are_outliers.sum() == 18
    drawn = given.train[given.are_outliers]
    assert (drawn >= x.min(axis=0)).all() and (drawn <= x.max(axis=0)).all()
    others = given.train[~given.are_outliers]
    assert {row.tobytes() for row in others} == {row.tobytes() for row in x}
    assert (np.flatnonzero(given.are_outliers) < 180).any()  # not all at the end


def test_a_class_is_left_out_of_training():
    x, y = rows()
    given = outliers.task(x, y, "a class", 4)
    assert given.num_clusters == 2
    seen = {row.tobytes() for row in given.train}
    assert not seen & {row.tobytes() for row in given.asked}
    of_the_class = given.asked[given.are_outliers]
    assert {row.tobytes() for row in of_the_class} == {
        row.tobytes() for row in x[y == 1]
    }
    assert 0 < (~given.are_outliers).sum() < 60  # a fifth of the others


@pytest.mark.parametrize("kind", ["10 %", "a class"])
@pytest.mark.parametrize("method", outliers.NAMES[1:])
def test_what_is_strange_scores_high(kind, method):
    given = outliers.task(*rows(), kind, 0)
    assert outliers.area(method, given, None, 0) > 0.9


def test_outcomes_are_kept_and_shown(tmp_path, monkeypatch):
    areas = {"DGG": 0.75, "IsolationForest": 0.5, "LocalOutlierFactor": 0.25}
    monkeypatch.setattr(outliers, "area", lambda method, *_: areas[method])
    path = tmp_path / "deep" / "outcomes.jsonl"
    asked = ("--outliers_of=wine", "--seeds=0,1", f"--output={path}")
    assert call(*asked, program=outliers).code == 0
    first, *others = [json.loads(line) for line in path.read_text().splitlines()]
    assert first == {
        "data": "wine",
        "kind": "1 %",
        "method": "DGG",
        "seed": 0,
        "auc": 0.75,
    }
    assert len(others) == 2 * 4 * 3 - 1
    monkeypatch.setattr(outliers, "area", None)  # nothing is measured anew
    for arguments in (asked, (*asked, "--tables")):
        shown = call(*arguments, program=outliers).out
        assert "| a class | wine | 0.750 ± 0.000 | 0.500 ± 0.000 | 0.250" in shown
        assert "| all | mean | 0.750 | 0.500 | 0.250 |" in shown


def test_a_set_that_is_unknown_is_refused():
    assert_refused(call("--outliers_of=moon", program=outliers), "outliers_of='moon'")
