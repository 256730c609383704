"""Labels to start from where the clusters of some rows are known."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.semi_supervised import LabelSpreading

from dgg_jax.checks import InvalidInput
from dgg_jax.graph import knn, neighbor_weights
from dgg_jax.graph.spectral import affinity_matrix
from dgg_jax.stages import known as stages

RANDOM = np.random.default_rng(0)
Y = np.repeat([0, 1, 2], 30)
X = (RANDOM.standard_normal((90, 2)) + 4.0 * np.eye(3, 2)[Y]).astype(np.float32)
GRAPH = neighbor_weights(*knn(X, 8))


def some(number, seed=0):
    known = np.full(90, -1)
    rows = np.random.default_rng(seed).permutation(90)[:number]
    known[rows] = Y[rows]
    return known


def test_clusters_get_the_names_of_the_known_rows():
    labels = np.array([1, 2, 0])[Y]
    np.testing.assert_array_equal(stages.renamed(labels, some(12), 3), Y)
    # A cluster that no known row is in has the name that is left.
    known = np.where(Y == 2, -1, some(90))
    np.testing.assert_array_equal(stages.renamed(labels, known, 3), Y)


def test_spreading_is_that_of_the_literature():
    known = some(9)
    affinity = affinity_matrix(GRAPH).toarray()

    def kernel(a, b):
        del a, b
        return affinity

    theirs = LabelSpreading(kernel=kernel, alpha=0.99, max_iter=50, tol=0.0)
    with pytest.warns(UserWarning, match="max_iter"):
        theirs.fit(X, known)
    found = stages.spreading(GRAPH, known, 3)
    # Theirs has no weights of classes.
    assert (found == theirs.transduction_).mean() > 0.95
    assert (found == Y).mean() > 0.9
    assert (found[known >= 0] == Y[known >= 0]).all()


def test_what_the_known_rows_agree_with_comes_first():
    right, wrong = np.array([2, 0, 1])[Y], RANDOM.integers(0, 3, 90)
    known = some(20)
    labels, told = stages.start_from(
        np.stack([wrong, right]), known, {"data": GRAPH}, 3, seed=0
    )
    assert labels.shape == (3, 90) and labels.dtype == np.int32
    assert told[0] == {"start": "clustering 2", "known_accuracy": 1.0}
    np.testing.assert_array_equal(labels[0], Y)
    assert told[-1]["start"] == "clustering 1" and told[-1]["known_accuracy"] < 0.8
    for one in labels:  # known rows have their own labels in all of them
        np.testing.assert_array_equal(one[known >= 0], known[known >= 0])


def test_labels_are_spread_where_clusterings_are_wrong():
    wrong = RANDOM.integers(0, 3, 90)
    labels, told = stages.start_from(wrong[None], some(30), {"data": GRAPH}, 3, seed=0)
    assert told[0]["start"] == "spreading, data" and told[0]["known_accuracy"] > 0.8
    assert (labels[0] == Y).mean() > 0.9


def test_one_label_of_each_class_is_not_spread():
    """Held out, it has no other of its class to come from."""
    known = np.full(90, -1)
    known[[0, 30, 60]] = [0, 1, 2]
    _, told = stages.start_from(Y[None], known, {"data": GRAPH}, 3, seed=0)
    by_start = {one["start"]: one["known_accuracy"] for one in told}
    assert by_start == {"clustering 1": 1.0, "spreading, data": 0.0}


def test_a_y_without_unknown_rows_is_no_such():
    assert stages.known_labels(None, 90, 3) is None
    assert stages.known_labels(Y, 90, 3) is None
    assert stages.known_labels(np.array(["a", "b"]), 2, 3) is None
    assert stages.known_labels(np.full(90, -1), 90, 3) is None
    found = stages.known_labels(some(5).tolist(), 90, 3)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, some(5))


@pytest.mark.parametrize("kind", ["float64", "float16", "object", "Int64"])
def test_known_labels_of_a_column_are_whole_numbers_of_any_kind(kind):
    column = pd.Series(some(5)).astype(kind)
    np.testing.assert_array_equal(stages.known_labels(column, 90, 3), some(5))
    assert stages.known_labels(pd.Series(Y).astype(kind), 90, 3) is None
    gone = column.where(column != -1)
    row = int(gone.isna().to_numpy().argmax())
    with pytest.raises(InvalidInput, match=rf"no cluster in row {row} \(.*give -1 to"):
        stages.known_labels(gone, 90, 3)


def test_what_is_no_cluster_is_not_used():
    for y in (
        np.linspace(-1.0, 1.0, 90),
        np.r_[np.nan, np.linspace(0.0, 1.0, 89)],
        np.full(90, np.nan),
        np.array(["a", "b"] * 45, object),
        np.r_[np.inf, Y[1:]],
    ):
        assert stages.known_labels(y, 90, 3) is None


@pytest.mark.parametrize("unknown", [-1, "-1", None, np.nan, "", pd.NA])
@pytest.mark.parametrize("shape", [(90,), (90, 1)])
def test_known_clusters_that_are_names_are_refused(unknown, shape):
    y = np.full(shape, unknown, object)
    y[3:6] = "setosa"
    with pytest.raises(InvalidInput, match="got 'setosa' in row 3; number names"):
        stages.known_labels(y, 90, 3)


def test_names_of_a_list_that_misses_some_are_refused():
    with pytest.raises(InvalidInput, match="got 'setosa' in row 0; number names"):
        stages.known_labels(["setosa", float("nan")] * 45, 90, 3)
    numbered = pd.factorize(np.array(["setosa", None] * 45, object))[0]
    np.testing.assert_array_equal(
        stages.known_labels(numbered, 90, 3), np.tile([0, -1], 45)
    )


@pytest.mark.parametrize(
    "y",
    [
        sparse.csr_array(np.eye(90)),
        pd.Series([np.zeros(2)] * 90),
        np.full((90, 2), -1.0),
        np.eye(90)[:, :3] - 1.0,
    ],
    ids=["sparse", "arrays", "targets", "one-hot"],
)
def test_targets_of_other_kinds_are_not_used(y):
    assert stages.known_labels(y, 90, 3) is None


def test_a_missing_float32_is_told():
    y = np.array([0, np.float32("nan"), -1] * 30, object)
    with pytest.raises(InvalidInput, match="y has no cluster in row 1"):
        stages.known_labels(y, 90, 3)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (some(5).astype(float)[:, None], r"y must be \[90\].*\(90, 1\)"),
        (some(5)[:80], r"y must be \[90\].*\(80,\)"),
        (np.where(some(5) == 2, 3, some(5)), r"in -1\.\.2.*to 3"),
        (np.r_[-2, -1, Y[2:]], r"in -1\.\.2.*from -2"),
    ],
)
def test_known_labels_that_do_not_fit_are_refused(y, message):
    with pytest.raises(InvalidInput, match=message):
        stages.known_labels(y, 90, 3)
