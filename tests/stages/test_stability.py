"""Agreement of clusterings, and their consensus."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from dgg_jax.checks import InvalidInput
from dgg_jax.stages.stability import consensus, repetitions, stability

RANDOM = np.random.default_rng(0)


def disturbed(labels, share, num_clusters=4, random=RANDOM):
    """Other names for the clusters, and a share of the rows anywhere."""
    found = random.permutation(num_clusters)[labels]
    moved = random.random(len(labels)) < share
    found[moved] = random.integers(0, num_clusters, moved.sum())
    return found


def test_what_is_always_found_is_stable():
    labels = np.repeat([0, 1, 2], 10)
    rows = np.arange(0, 30, 2)
    found = stability(labels, [(rows, 2 - labels[rows]), (rows, labels[rows])], 4)
    assert found.agreement == 1.0
    np.testing.assert_array_equal(found.clusters, [1, 1, 1, np.nan])


def test_a_cluster_that_dissolves_is_told():
    labels = np.repeat([0, 1], 8)
    theirs = np.r_[np.zeros(8, int), np.tile([1, 2], 4)]  # the second in halves
    found = stability(labels, [(np.arange(16), theirs)], 2)
    np.testing.assert_allclose(found.clusters, [1.0, 0.5])
    assert found.agreement == adjusted_rand_score(labels, theirs)
    both = stability(labels, [(np.arange(16), theirs), (np.arange(16), labels)], 2)
    np.testing.assert_allclose(both.clusters, [1.0, 0.75])


def test_noise_is_a_cluster_of_its_own():
    labels = np.repeat([0, 1, 2], 9)
    theirs = np.where(np.arange(27) % 3 == 0, -1, labels)
    rows = np.arange(27)
    found = stability(labels, [(rows, theirs)], 3)
    renamed = stability(labels, [(rows, theirs + 1)], 3)
    np.testing.assert_allclose(found.clusters, [2 / 3] * 3)
    np.testing.assert_array_equal(found.clusters, renamed.clusters)
    nothing = stability(labels, [(rows, np.full(27, -1))], 3)
    np.testing.assert_allclose(nothing.clusters, [1 / 3] * 3)


def test_the_consensus_of_equals_is_each_of_them():
    labels = RANDOM.integers(0, 4, 100)
    found = consensus([labels, 3 - labels, (labels + 1) % 4], 4)
    assert found.dtype == np.int32 and set(found) == set(range(4))
    assert adjusted_rand_score(labels, found) == 1.0


def test_the_consensus_is_better_than_what_it_is_of():
    labels = RANDOM.integers(0, 4, 400)
    several = [disturbed(labels, 0.4) for _ in range(7)]
    alone = [adjusted_rand_score(labels, one) for one in several]
    assert adjusted_rand_score(labels, consensus(several, 4)) > max(alone) + 0.2


def test_noise_labels_and_other_numbers_of_clusters_may_take_part():
    labels = np.repeat([0, 1, 2], 20)
    finer = 2 * labels + np.tile([0, 1], 30)
    with_noise = np.where(np.arange(60) % 10 == 0, -1, labels)
    found = consensus([labels, finer, with_noise], 3)
    assert adjusted_rand_score(labels, found) == 1.0


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InvalidInput, match="of the same rows"):
        consensus([np.zeros(3, int), np.zeros(4, int)], 2)
    with pytest.raises(InvalidInput, match="of the same rows"):
        consensus([], 2)
    with pytest.raises(InvalidInput, match="num_clusters must be"):
        consensus([np.zeros(3, int)], 4)
    with pytest.raises(InvalidInput, match="at least one"):
        stability(np.zeros(3, int), [], 2)


def test_rows_that_a_clustering_leaves_out_are_in_no_cluster_of_it():
    labels = RANDOM.integers(0, 4, 200)
    parts = []
    for _ in range(5):
        parts.append(np.where(RANDOM.random(200) < 0.2, -1, disturbed(labels, 0.0)))
    found = consensus([labels, *parts], 4)
    assert adjusted_rand_score(labels, found) == 1.0


def test_repetitions_are_of_four_fifths_of_the_rows():
    drawn = list(repetitions(101, 3, seed=7))
    seeds, rows = zip(*drawn, strict=True)
    assert len(set(seeds)) == 3
    for one in rows:
        assert len(one) == 81 and (np.diff(one) > 0).all() and one[-1] <= 100
    again = list(repetitions(101, 3, seed=7))
    np.testing.assert_array_equal(again[2][1], rows[2])
    assert next(repetitions(101, 3, seed=8))[0] != seeds[0]


def test_the_consensus_of_repetitions():
    labels = np.repeat([0, 1, 2], 30)
    repeated = []
    for seed, rows in repetitions(90, 5, seed=0):
        theirs = disturbed(labels, 0.1, 3, np.random.default_rng(seed))[rows]
        repeated.append((rows, theirs))
    worse = disturbed(labels, 0.3, 3)
    found = stability(worse, repeated, 3)
    assert found.consensus.shape == (90,) and found.consensus.dtype == np.int32
    assert adjusted_rand_score(labels, found.consensus) > adjusted_rand_score(
        labels, worse
    )
