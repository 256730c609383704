import io

import numpy as np
import pytest

from dgg_jax.plots import confusion_matrix
from dgg_jax.plots.confusion import class_name, matched_counts


def test_permuted_labels_match_on_the_diagonal():
    y = np.array([0, 0, 0, 1, 1, 2])
    labels = np.array([2, 2, 2, 0, 0, 1])
    matched = matched_counts(y, labels)
    np.testing.assert_array_equal(matched.counts, np.diag([3, 2, 1]))
    assert matched.clusters.tolist() == [2, 0, 1]
    assert matched.rows.tolist() == [0, 1, 2]


def test_the_matching_is_optimal_and_not_greedy():
    # Greedy would take the 5 and be left with 5 + 0; the best matching has 4 + 4.
    y = np.repeat([0, 1], [9, 4])
    labels = np.array([0] * 5 + [1] * 4 + [0] * 4)
    assert matched_counts(y, labels).clusters.tolist() == [1, 0]


def test_more_clusters_than_classes_leaves_the_rest_at_the_right():
    y = np.array([0, 0, 0, 1, 1, 1])
    labels = np.array([7, 7, 4, 5, 5, 5])
    matched = matched_counts(y, labels)
    assert matched.clusters.tolist() == [7, 5, 4]
    np.testing.assert_array_equal(matched.counts, [[2, 0, 1], [0, 3, 0]])


def test_fewer_clusters_than_classes():
    matched = matched_counts(np.array([0, 1, 1, 2, 2]), np.array([1, 0, 0, 1, 1]))
    assert matched.rows.tolist() == [1, 2]
    assert matched.clusters.tolist() == [0, 1]


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="one length"):
        matched_counts(np.zeros(3), np.zeros(2))


def test_class_names():
    assert class_name(np.int64(1), ["cat", "dog"]) == "dog"
    assert class_name(5, ["cat", "dog"]) == "5"
    assert class_name(1, None) == "1"


@pytest.mark.parametrize(("classes", "clusters"), [(2, 2), (10, 10), (20, 23), (3, 1)])
def test_it_draws(classes, clusters):
    random = np.random.default_rng(0)
    names = [f"${c} & a rather long name" for c in range(classes)]
    y = random.integers(classes, size=400)
    figure = confusion_matrix(y, random.integers(clusters, size=400), names)
    figure.savefig(io.BytesIO(), dpi=40)
    (axes,) = figure.axes
    assert len(axes.patches) == min(classes, clusters)
    assert len(axes.get_xticks()) == clusters
    assert len(axes.get_yticks()) == classes


def test_small_matrices_carry_counts_and_large_ones_percentages():
    y = np.repeat(np.arange(2), 50)
    texts = [t.get_text() for t in confusion_matrix(y, 1 - y).axes[0].texts]
    assert texts == ["50", "50"]
    y = np.repeat(np.arange(15), 4)
    texts = [t.get_text() for t in confusion_matrix(y, y).axes[0].texts]
    assert texts == ["100"] * 15
