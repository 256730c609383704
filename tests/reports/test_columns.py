"""What sets a cluster apart, in numbers and words."""

import numpy as np
import pytest
from scipy import sparse

from dgg_jax.data.preprocessing import LOG_COUNTS, Scaling
from dgg_jax.reports.columns import Difference, column_means, original_values
from tests.reports.fakes import fake


def scaling(step, columns, shift=0.0, scale=1.0):
    dim = len(columns)
    return Scaling(step, np.full(dim, shift), np.full(dim, scale), (dim,), columns)


def of_table(x, names, step="none", **units):
    inputs = fake(shape=(x.shape[1],))
    return inputs._replace(x=x, scaling=scaling(step, names, **units))


def test_differences_are_standardised():
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 3))
    x[np.arange(60) % 3 == 1, 2] += 4.0
    inputs = of_table(x, ("a", "b", "c"), "standardize", shift=10.0, scale=2.0)
    means = column_means(inputs)
    assert means.kind == "numbers"
    np.testing.assert_allclose(means.all_rows, x.mean(axis=0))
    np.testing.assert_allclose(means.deviations, x.std(axis=0))
    first, *_ = means.differences(1, 5)
    members = x[inputs.labels == 1]
    expected = (members[:, 2].mean() - x[:, 2].mean()) / x[:, 2].std()
    assert (first.column, first.name, first.lift) == (2, "c", None)
    assert first.deviation == pytest.approx(expected)
    assert first.mean == pytest.approx(2 * members[:, 2].mean() + 10)
    assert first.mean_of_all == pytest.approx(2 * x[:, 2].mean() + 10)
    assert first.phrase == "much higher"
    assert means.most_telling(1) == [2]
    found = original_values(inputs, [3, 5], [0, 2])
    np.testing.assert_allclose(found, 2 * x[[3, 5]][:, [0, 2]] + 10)


@pytest.mark.parametrize(
    ("deviation", "phrase"),
    [(0.8, "much higher"), (-0.6, "lower"), (0.3, "slightly higher"),
     (-0.1, "hardly different")],
)  # fmt: skip
def test_a_difference_in_words(deviation, phrase):
    assert Difference(0, "a", deviation, 0.0, 0.0, None).phrase == phrase


def test_columns_that_do_not_vary_or_miss_values_set_nothing_apart():
    x = np.full((60, 3), 0.1)
    x[:, 1] = np.where(np.arange(60) % 2, np.nan, np.arange(60) % 3)
    x[:, 2] = np.nan
    means = column_means(of_table(x, ("same", "gaps", "none")))
    assert [one.name for one in means.differences(0, 5)] == ["gaps"]
    assert means.all_rows[1] == pytest.approx(1.0)
    assert means.name(1) == "gaps"


def test_an_empty_cluster_is_not_set_apart():
    inputs = of_table(np.random.default_rng(0).normal(size=(60, 2)), ("a", "b"))
    inputs = inputs._replace(labels=np.minimum(inputs.labels, 1))
    assert column_means(inputs).differences(2, 5) == []


@pytest.mark.parametrize("is_sparse", [True, False])
def test_terms_are_those_of_the_largest_lift(is_sparse):
    x = np.zeros((60, 90))
    labels = np.arange(60) % 3
    x[:, 0] = 1.0  # a word that all have
    x[labels == 1, 1] = 1.0  # the word of cluster 1
    x[np.flatnonzero(labels == 1)[0], 2] = 9.0  # of one row
    names = tuple(f"word {k}" for k in range(90))
    inputs = of_table(sparse.csr_array(x) if is_sparse else x, names)
    means = column_means(inputs)
    assert means.kind == "words"
    first, *others = means.differences(1, 5)
    assert first.name == "word 1" and first.lift == pytest.approx(3.0)
    assert "word 2" not in [one.name for one in others]
    assert original_values(inputs, [1], [1, 2]).shape == (1, 2)


@pytest.mark.parametrize("step", ["counts", LOG_COUNTS])
def test_markers_are_columns_that_are_higher(step):
    x = np.random.default_rng(0).poisson(3.0, size=(60, 4)).astype(float)
    x[np.arange(60) % 3 == 0, 1] += 6.0
    x[np.arange(60) % 3 == 0, 2] = 0.0
    means = column_means(of_table(x, ("g0", "g1", "g2", "g3"), step))
    assert means.kind == "counts"
    names = [one.name for one in means.differences(0, 4)]
    assert names[0] == "g1" and "g2" not in names
