"""Sparse rows are, wherever they are asked for, those of the dense matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse

from dgg_jax.graph import knn, neighbor_weights, smoothing, smoothing_operator
from dgg_jax.likelihoods import (
    Bernoulli,
    GaussianLikelihood,
    LearnedVarianceGaussian,
)
from dgg_jax.rows import SparseRows, map_rows, sparse_rows, take


@pytest.fixture
def dense():
    x = np.random.default_rng(0).random((9, 6)).astype(np.float32)
    x[x < 0.6] = 0.0
    x[4] = 0.0
    x[7] = 1.0  # full
    return x


@pytest.mark.parametrize(
    "rows",
    [3, slice(2, 7), slice(None), [8, 0, 4, 4], np.array([[1, 7], [4, 0]])],
    ids=str,
)
def test_rows_are_those_of_the_matrix(dense, rows):
    x = sparse_rows(sparse.csr_array(dense))
    expected = dense[rows]
    np.testing.assert_array_equal(x[rows], expected)
    if not isinstance(rows, slice):
        rows = jnp.asarray(rows)
        np.testing.assert_array_equal(jax.jit(lambda x, i: x[i])(x, rows), expected)


def test_shape_and_matrix(dense):
    x = sparse_rows(sparse.coo_array(dense))
    assert (len(x), x.shape, x.width) == (9, (9, 6), 6)
    np.testing.assert_array_equal(x.matrix().toarray(), dense)


def test_entries_that_are_stored_twice_are_summed():
    matrix = sparse.csr_array(([1.0, 2.0, 5.0], [1, 1, 0], [0, 2, 3]), (2, 2))
    np.testing.assert_array_equal(sparse_rows(matrix)[:], [[0.0, 3.0], [5.0, 0.0]])


def test_map_rows(dense):
    def function(row):
        return row.sum(), 2.0 * row

    x = sparse_rows(sparse.csr_array(dense))
    for rows in (x, dense):
        sums, doubled = map_rows(function, rows, batch_size=4)
        np.testing.assert_allclose(sums, dense.sum(axis=1), rtol=1e-6)
        np.testing.assert_array_equal(doubled, 2.0 * dense)


def test_take(dense):
    x = sparse_rows(sparse.csr_array(dense))
    indices = jnp.array([5, 0])
    rows, numbers = take((x, jnp.arange(9)), indices)
    np.testing.assert_array_equal(rows, dense[[5, 0]])
    assert numbers.tolist() == [5, 0]


@pytest.mark.parametrize("block", [None, 12], ids=["one block", "blocks of two rows"])
@pytest.mark.parametrize("likelihood", [Bernoulli(), GaussianLikelihood(0.5)], ids=str)
def test_smoothed_statistics(dense, likelihood, block, monkeypatch):
    if block:
        monkeypatch.setattr(smoothing, "_BLOCK_ELEMENTS", block)
    operator = smoothing_operator(neighbor_weights(*knn(dense, 3)), 1.4)
    x = sparse_rows(sparse.csr_array(dense))
    found = smoothing.smooth_data(x, operator, likelihood)
    expected = smoothing.smooth_data(dense, operator, likelihood)
    np.testing.assert_array_equal(found.degree, expected.degree)
    every = jnp.arange(9)
    found, expected = (take(data.statistics, every) for data in (found, expected))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6),
        found,
        expected,
    )


def test_a_variance_for_each_column_needs_dense_data(dense):
    operator = smoothing_operator(neighbor_weights(*knn(dense, 3)))
    x = sparse_rows(sparse.csr_array(dense))
    with pytest.raises(ValueError, match="sparse data need the bernoulli or the gauss"):
        smoothing.smooth_data(x, operator, LearnedVarianceGaussian())


def test_restarts_share_the_rows(dense):
    x = sparse_rows(sparse.csr_array(dense))
    indices = jnp.array([[0, 1], [7, 4]])
    rows = jax.vmap(lambda x, i: x[i], in_axes=(None, 0))(x, indices)
    np.testing.assert_array_equal(rows, dense[indices])
    assert isinstance(jax.tree.map(jnp.asarray, x), SparseRows)
