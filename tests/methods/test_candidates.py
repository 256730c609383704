"""What a run may start from, and how it judges what becomes of it."""

import dataclasses

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

from dgg_jax.graph import knn
from dgg_jax.methods import candidates as module
from dgg_jax.methods import dgg
from dgg_jax.methods.candidates import candidates, judged, ranked
from dgg_jax.methods.problem import Problem
from dgg_jax.presets import DGGPreset
from dgg_jax.stages.ensemble import Clustering, ranking
from tests.methods.test_dgg import BRIEF
from tests.methods.toy import blobs

PRESET = DGGPreset(num_clusters=3, likelihood="gaussian")


def problem_of(x, y=None, **known):
    return Problem.of(np.asarray(x, np.float32), PRESET, y=y, **known)


def embedding(x, scale=1.0):
    """As a network would make it: another view of the rows."""
    return np.asarray(scale * np.tanh(x), np.float32)


def test_the_best_come_first_and_without_labels_they_are_the_same():
    x, y = blobs()
    spaces = {"latents": embedding(x)}
    found = candidates(problem_of(x, y), spaces, 2)
    assert found.labels.shape == (2, len(x)) and found.labels.dtype == np.int32
    assert adjusted_rand_score(y, found.labels[0]) > 0.95
    named = [Clustering(one["space"], one["method"], y) for one in found.reports]
    standings = [one["standing"] for one in found.reports]
    assert ranking(named, standings) == list(range(len(standings)))
    assert {one["space"] for one in found.reports} >= {"data", "latents"}
    other = candidates(problem_of(x, np.roll(y, 7)), spaces, 2)
    unknown = candidates(problem_of(x), spaces, 2)
    for again in (other, unknown):
        np.testing.assert_array_equal(again.labels, found.labels)
    assert unknown.reports[0]["ari"] is None


def test_restarts_start_from_different_labels():
    x = np.random.default_rng(0).standard_normal((90, 2))  # no clusters, many answers
    labels = candidates(problem_of(x), {}, 4).labels
    assert len({row.tobytes() for row in labels}) == 4


def test_of_more_rows_a_sample_is_compared_and_all_are_clustered(monkeypatch):
    x, y = blobs()
    monkeypatch.setattr(module, "MOST_ROWS", 60)
    found = candidates(problem_of(x, y), {"latents": embedding(x)}, 1)
    rows = found.judge["rows"]
    assert len(rows) == 60 and (np.diff(rows) > 0).all()
    assert found.judge["labels"].shape[1] == 60
    assert found.labels.shape == (1, len(x))
    np.testing.assert_array_equal(found.labels[0, rows], found.judge["labels"][0])
    assert adjusted_rand_score(y, found.labels[0]) > 0.95
    values = judged(problem_of(x), found.judge, found.labels[0])
    assert 0.9 < values["agreement"] < 1.0 + 1e-9


def test_copies_are_no_islands():
    """As of answers from 1 to 10: in many rows all are 1."""
    random = np.random.default_rng(0)
    y = np.repeat([0, 1], [240, 120])
    low, high = 1 + random.poisson(0.3, (360, 6)), random.normal(5.5, 3, (360, 6))
    x = np.where(y[:, None], np.round(high), low).clip(1, 10)
    assert len(np.unique(x, axis=0)) < 250
    preset = dataclasses.replace(PRESET, num_clusters=2)
    problem = Problem.of(np.asarray(x, np.float32), preset)
    labels = candidates(problem, {}, 1).labels[0]
    assert adjusted_rand_score(y, labels) > 0.95


def test_worse_labels_stand_worse():
    x, y = blobs()
    problem = problem_of(x)
    judge = candidates(problem, {}, 1).judge
    random = np.random.default_rng(0)
    spoiled = [
        np.where(random.random(len(y)) < share, random.integers(0, 3, len(y)), y)
        for share in (0.0, 0.1, 0.3, 1.0)
    ]
    standings = [judged(problem, judge, labels)["standing"] for labels in spoiled]
    assert standings == sorted(standings, reverse=True)
    assert standings[0] - standings[-1] > 0.5


def test_what_networks_make_of_the_rows_is_no_witness():
    """Neither where all methods agree, in the latents, nor their graphs."""
    x, y = blobs()
    random = np.random.default_rng(0)
    wrong = random.permutation(y)
    points = (50.0 * np.eye(3)[wrong] + random.standard_normal((len(y), 3))).astype(
        np.float32
    )
    found = candidates(problem_of(x), {"latents": points}, 1)
    assert adjusted_rand_score(y, found.labels[0]) > 0.95
    assert "latents" in {one["space"] for one in found.reports}
    assert "data" in found.judge["graphs"]
    assert "latents" not in found.judge["graphs"]


def test_given_neighbours_are_the_only_space(monkeypatch):
    x, y = blobs()
    random = np.random.default_rng(0).standard_normal(x.shape)  # says nothing of x
    given = knn(x, 20)
    monkeypatch.setattr(module.ensemble, "nearest", None)  # nothing is searched
    problem = problem_of(random, neighbors=given)
    found = candidates(problem, {"latents": embedding(x)}, 1)
    assert {one["space"] for one in found.reports} == {"data"}
    assert adjusted_rand_score(y, found.labels[0]) > 0.95


@pytest.mark.parametrize("limit", [0.0, 0.5])
def test_rows_of_words_are_compared_as_they_are(limit):
    """Wherever they lie, neither components nor a network's view is asked."""
    random = np.random.default_rng(0)
    y = np.repeat(np.arange(3), 40)
    words = 40 * y[:, None] + random.integers(0, 40, (120, 5))
    x = np.zeros((120, 120), np.float32)
    np.put_along_axis(x, words, 1.0, axis=1)
    preset = dataclasses.replace(PRESET, device_memory_share=limit or 1e-9)
    problem = Problem.of(sparse.csr_array(x), preset)
    found = candidates(problem, {"latents": random.standard_normal((120, 2))}, 1)
    assert {one["space"] for one in found.reports} == {"data"}
    assert adjusted_rand_score(y, found.labels[0]) > 0.9


def test_the_record_names_the_best_and_the_next():
    first = {"space": "data", "method": "ward", "standing": 0.9}
    second = {"space": "siamese", "method": "kmeans", "standing": 0.8}
    record = ranked([first, second])
    assert record["best_candidate"] == "data, ward"
    assert record["next_candidate"] == "siamese, kmeans"
    assert record["next_standing"] == 0.8
    assert record["candidates"] == [first, second]
    assert "next_candidate" not in ranked([first])


def test_without_ensemble_and_guard_there_is_no_judge():
    x, y = blobs()
    _, state, records = dgg.run(x, BRIEF, y=y)
    assert "judge" not in state
    by_name = {record["name"]: record for record in records}
    assert "standing" not in by_name["evaluate"]
    assert "candidates" not in by_name["initialize"]
    assert by_name["train"]["stage_kept"] == "train"


@pytest.mark.slow
def test_the_whole_model_is_fitted_until_it_follows_its_labels():
    """Labels that no function of few latents tells at once."""
    x, y = blobs()
    _, state, records = dgg.run(x, dataclasses.replace(BRIEF, label_epochs=10), y=y)
    fitted = {record["name"]: record for record in records}["classifier"]
    assert fitted["labels_followed"] >= 0.97
    followed = state["log_assignments"].shape  # of the trained model
    assert followed == (1, len(x), 3)
