import json

import numpy as np
import pytest

from dgg_jax.checks import InvalidInput
from dgg_jax.stages import cluster_count
from dgg_jax.stages.cluster_count import ClusterCount, estimate_num_clusters


def blobs(num_clusters, num_points=400, noise=0):
    """Far apart on a circle, and points anywhere around it."""
    random = np.random.default_rng(0)
    y = np.arange(num_points) % num_clusters
    angles = 2 * np.pi * y / num_clusters
    x = 20 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    x += random.normal(size=x.shape)
    return np.concatenate([x, random.uniform(-60, 60, (noise, 2))])


@pytest.mark.parametrize("num_clusters", [2, 5])
def test_blobs_are_counted(num_clusters):
    count = estimate_num_clusters(blobs(num_clusters), seed=0)
    assert count.num_clusters == num_clusters
    assert count.is_plateau
    assert count.sizes[0] == 5 and count.sizes[-1] == 33  # N / 12
    assert list(count.sizes) == sorted(set(count.sizes))
    assert len(count.counts) == len(count.sizes)


def test_many_columns_make_no_difference():
    x = blobs(4, noise=20)
    wide = np.concatenate([x, np.zeros((len(x), 70))], axis=1)
    assert estimate_num_clusters(wide, seed=0) == estimate_num_clusters(x, seed=0)


def test_noise_is_no_cluster():
    assert estimate_num_clusters(blobs(4, noise=20), seed=0).num_clusters == 4


def chosen(monkeypatch, counts):
    """The estimate where HDBSCAN finds these, at as many sizes."""
    found = iter(counts)
    monkeypatch.setattr(cluster_count, "_GRID", len(counts))
    monkeypatch.setattr(cluster_count, "_count", lambda *_: next(found))
    return estimate_num_clusters(np.zeros((10_000, 1)), seed=0)


@pytest.mark.parametrize(
    ("counts", "num_clusters", "is_plateau"),
    [
        ((14, 12, 11, 11, 10, 10, 10, 9, 8), 10, True),
        ((9, 5, 9, 5), 9, True),  # of equals the larger, apart or not
        ((4, 4, 9, 10, 11, 12, 13, 14), 4, True),  # just a quarter
        ((4, 4, 9, 10, 11, 12, 13, 14, 15), 4, False),
        ((5, 4, 3, 2, 1), 5, False),
        ((3, 3, 0, 0, 0, 0), 3, False),  # mostly there is no clustering
        ((1, 1, 2, 2, 2, 0), 2, True),
    ],
)
def test_the_count_that_holds_longest(monkeypatch, counts, num_clusters, is_plateau):
    count = chosen(monkeypatch, counts)
    assert count.counts == counts
    assert count.num_clusters == num_clusters
    assert count.is_plateau == is_plateau
    assert ("do not trust" in count.describe()) != is_plateau


def test_the_evidence_in_words(monkeypatch):
    count = chosen(monkeypatch, (14, 12, 11, 11, 10, 10, 10, 9, 8))
    assert count.describe() == (
        "10 clusters: HDBSCAN finds 10 on 3 of 9 minimal sizes (8 ... 14)."
    )


@pytest.mark.parametrize("counts", [(0, 0, 0), (1, 0, 1)])
def test_no_clusters(monkeypatch, counts):
    with pytest.raises(InvalidInput, match=r"finds no clusters.*give the number"):
        chosen(monkeypatch, counts)


def test_constant_points_are_no_clusters():
    with pytest.raises(InvalidInput, match="finds no clusters"):
        estimate_num_clusters(np.ones((200, 3)), seed=0)


def test_one_blob_is_not_trusted():
    x = np.random.default_rng(0).normal(size=(1000, 3))
    assert not estimate_num_clusters(x, seed=0).is_plateau
    x = np.random.default_rng(0).normal(size=(1000, 5))
    with pytest.raises(InvalidInput, match="finds no clusters"):
        estimate_num_clusters(x, seed=0)


def test_few_points_are_refused():
    with pytest.raises(InvalidInput, match="at least 100 rows, got 99"):
        estimate_num_clusters(blobs(2, 99), seed=0)
    assert estimate_num_clusters(blobs(2, 100), seed=0).num_clusters == 2


def test_of_many_points_a_sample(monkeypatch):
    seen = []
    monkeypatch.setattr(cluster_count, "_SAMPLE", 120)
    monkeypatch.setattr(cluster_count, "_count", lambda x, *_: seen.append(x) or 2)
    points, done = np.arange(1000.0)[:, None], []
    sizes = estimate_num_clusters(points, 3, lambda *step: done.append(step)).sizes
    assert sizes == (5, 6, 7, 8, 9, 10)
    assert all(x.shape == (120, 1) for x in seen)
    assert len(np.unique(seen[0])) == 120
    assert done == [(n, 6) for n in range(1, 7)]
    estimate_num_clusters(points, 3)
    np.testing.assert_array_equal(seen[-1], seen[0])
    estimate_num_clusters(points, 4)
    assert not np.array_equal(seen[-1], seen[0])


def test_a_trip_through_json():
    count = ClusterCount((5, 6), (3, 2), 3)
    record = json.loads(json.dumps({"name": "num_clusters", **count._asdict()}))
    assert ClusterCount.from_dict(record) == count
