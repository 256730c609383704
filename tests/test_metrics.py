"""Clustering metrics against hand counts and scikit-learn."""

import itertools

import numpy as np
import pytest
from sklearn import metrics as sk_metrics

from dgg_jax import metrics

RNG = np.random.default_rng(0)
TRUE = RNG.integers(4, size=200)
NOISY = np.where(RNG.uniform(size=200) < 0.3, RNG.integers(4, size=200), TRUE)


def test_accuracy_by_hand():
    # The best map is 0 -> 1, 1 -> 0, 2 -> 2: 2 + 2 + 1 of 6 points are right.
    true, predicted = [0, 0, 1, 1, 2, 2], [1, 1, 0, 0, 2, 0]
    assert metrics.clustering_accuracy(true, predicted) == pytest.approx(5 / 6)


def test_accuracy_is_optimal_where_a_greedy_map_is_not():
    # Counts [[3, 2], [2, 0]]: the map that takes 3 first scores 3 / 7, the best 4 / 7.
    true, predicted = [0] * 5 + [1] * 2, [0, 0, 0, 1, 1, 0, 0]
    assert metrics.clustering_accuracy(true, predicted) == pytest.approx(4 / 7)


def test_accuracy_of_permuted_labels_is_one():
    for permutation in itertools.permutations(range(4)):
        assert metrics.clustering_accuracy(TRUE, np.array(permutation)[TRUE]) == 1.0


def test_accuracy_is_the_maximum_over_all_maps():
    best = max(
        np.mean(np.array(permutation)[NOISY] == TRUE)
        for permutation in itertools.permutations(range(4))
    )
    assert metrics.clustering_accuracy(TRUE, NOISY) == pytest.approx(best)


def test_surplus_clusters_count_as_wrong():
    assert metrics.clustering_accuracy([0, 0, 0, 1], [0, 0, 1, 2]) == 0.75
    assert metrics.clustering_accuracy([0, 0, 0, 0], [0, 1, 2, 3]) == 0.25


def test_surplus_classes_count_as_wrong():
    assert metrics.clustering_accuracy([0, 0, 1, 2], [0, 0, 0, 0]) == 0.5


def test_string_labels_and_arbitrary_integers():
    names = np.array(["zebra", "ant", "bee", "cow"])[TRUE]
    assert metrics.clustering_accuracy(names, TRUE) == 1.0
    assert metrics.clustering_accuracy(TRUE * 100 - 7, NOISY) == pytest.approx(
        metrics.clustering_accuracy(TRUE, NOISY)
    )
    assert metrics.normalized_mutual_info(names, TRUE) == pytest.approx(1.0)
    assert metrics.adjusted_rand_index(names, TRUE) == 1.0
    assert metrics.most_confident_label_accuracy(names, np.eye(4)[TRUE]) == 1.0


def test_nmi_and_ari_match_sklearn():
    nmi, ari = metrics.normalized_mutual_info, metrics.adjusted_rand_index
    assert nmi(TRUE, NOISY) == pytest.approx(
        sk_metrics.normalized_mutual_info_score(
            TRUE, NOISY, average_method="arithmetic"
        )
    )
    assert ari(TRUE, NOISY) == pytest.approx(
        sk_metrics.adjusted_rand_score(TRUE, NOISY)
    )


def test_nmi_takes_the_arithmetic_mean_of_the_entropies():
    # I = H(true) = ln 2, H(predicted) = 3/2 ln 2: 2 I / (5/2 ln 2) = 0.8.
    assert metrics.normalized_mutual_info([0, 0, 1, 1], [0, 0, 1, 2]) == pytest.approx(
        0.8
    )


def test_ari_by_hand():
    # Pairs together in both 1, in true 2, in predicted 1, of 6:
    # (1 - 2/6) / ((2 + 1) / 2 - 2/6) = 4/7.
    actual = metrics.adjusted_rand_index([0, 0, 1, 1], [0, 0, 1, 2])
    assert actual == pytest.approx(4 / 7)


def test_most_confident_label_by_hand():
    # Clusters 0 and 1 are surest of points 0 and 2, both "a"; cluster 2 of point 4,
    # a "b". Points 0, 1, 2, 4 are right; point 3 is in cluster 1, so taken for "a".
    labels = ["a", "a", "a", "b", "b"]
    probabilities = [
        [0.9, 0.1, 0.0],
        [0.6, 0.3, 0.1],
        [0.1, 0.8, 0.1],
        [0.2, 0.7, 0.1],
        [0.1, 0.1, 0.8],
    ]
    score = metrics.most_confident_label_accuracy(labels, probabilities)
    assert score == pytest.approx(0.8)
    # ACC may give "a" to one of the two only: points 0, 1, 4 and 3 or 2, here 3 + 1.
    clusters = np.argmax(probabilities, axis=1)
    assert metrics.clustering_accuracy(labels, clusters) == pytest.approx(0.6)


def test_results_are_plain_floats():
    for result in (
        metrics.clustering_accuracy(TRUE, NOISY),
        metrics.normalized_mutual_info(TRUE, NOISY),
        metrics.adjusted_rand_index(TRUE, NOISY),
        metrics.most_confident_label_accuracy(TRUE, np.eye(4)[NOISY]),
    ):
        assert type(result) is float


@pytest.mark.parametrize(
    "metric",
    [
        metrics.clustering_accuracy,
        metrics.normalized_mutual_info,
        metrics.adjusted_rand_index,
    ],
)
@pytest.mark.parametrize(
    ("true", "predicted"),
    [([0, 1], [0, 1, 1]), ([[0, 1]], [[0, 1]]), ([], []), (1, 1)],
)
def test_labels_that_do_not_pair_up_are_refused(metric, true, predicted):
    shapes = f"{np.shape(true)} and {np.shape(predicted)}"
    with pytest.raises(ValueError, match="same length >= 1, got shapes") as error:
        metric(true, predicted)
    assert shapes in str(error.value)


@pytest.mark.parametrize(
    ("true", "probabilities"),
    [([0, 1], [0.5, 0.5]), ([0, 1], np.ones((3, 2))), ([[0], [1]], np.ones((2, 2)))],
)
def test_probabilities_that_do_not_match_are_refused(true, probabilities):
    with pytest.raises(ValueError, match=r"probabilities must be \[N, K\]") as error:
        metrics.most_confident_label_accuracy(true, probabilities)
    shapes = f"{np.shape(probabilities)} and {np.shape(true)}"
    assert shapes in str(error.value)


# --- Collapse ----------------------------------------------------------------------


def test_thin_clusters_have_less_than_a_tenth_of_an_equal_share():
    # N = 100, K = 4: the bound is 2.5 points.
    labels = np.repeat([0, 1, 3], [2, 95, 3])
    assert metrics.thin_clusters(labels, 4) == [0, 2]
    assert metrics.thin_clusters(labels[3:], 4) == [0, 2]


def test_at_the_bound_a_cluster_is_not_thin():
    assert metrics.thin_clusters(np.repeat([0, 1], [1, 19]), 2) == []  # 1 / 20
    assert metrics.thin_clusters(np.repeat([0, 1], [1, 20]), 2) == [0]


def test_the_only_cluster_is_never_thin():
    assert metrics.thin_clusters([0, 0], 1) == []


def test_perplexity_counts_clusters():
    with np.errstate(divide="ignore"):
        for used in (1, 2, 5):
            one_hot = np.eye(5)[np.arange(20) % used]
            perplexity = metrics.assignment_perplexity(np.log(one_hot))
            assert perplexity == pytest.approx(used)


def test_perplexity_is_of_the_mean_assignment():
    gamma = RNG.dirichlet(np.ones(4), size=30)
    mean = gamma.mean(axis=0)
    expected = np.exp(-np.sum(mean * np.log(mean)))
    assert metrics.assignment_perplexity(np.log(gamma)) == pytest.approx(expected)


def test_the_warning_names_clusters_bound_and_remedy():
    warning = metrics.collapse_warning([3, 7], 10)
    assert warning.startswith("clusters 3, 7 of 10 have less than 1.00% of the rows")
    assert "another seed, more restarts or fewer clusters" in warning
    assert metrics.collapse_warning([0], 4).startswith(
        "cluster 0 of 4 has less than 2.5"
    )


@pytest.mark.parametrize("confidence", [[1.5, 0.5], [-0.1, 0.5], [np.nan, 0.5]])
def test_confidence_that_is_no_probability_is_refused(confidence):
    with pytest.raises(ValueError, match=r"confidence must be in \[0, 1\]"):
        metrics.calibration_error([True, False], confidence)


def test_confidence_and_right_rows_must_match():
    with pytest.raises(ValueError, match="bins must be"):
        metrics.calibration_error([True], [0.5], bins=0)
    for metric in (metrics.calibration_error, metrics.confidence_auc):
        with pytest.raises(ValueError, match="two vectors of the same length"):
            metric([True, False], [0.5])
    assert metrics.confidence_auc([True, True], [0.5, 0.7]) is None
    assert metrics.calibration_error([True], [np.float32(1.0000001)]) < 1e-6


def test_rows_of_surplus_clusters_are_wrong():
    right = metrics.matched_rows(["a", "a", "a", "b"], [0, 0, 2, 1])
    assert right.tolist() == [True, True, False, True]
