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
from dgg_jax.placement import rows as rows_module
from dgg_jax.placement.rows import (
    HostRows,
    SparseRows,
    map_blocks,
    map_points,
    map_rows,
    place,
    sparse_rows,
    take,
)


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
    for array in (matrix.data, matrix.indices, matrix.indptr):
        array.flags.writeable = False  # it is the caller's
    np.testing.assert_array_equal(sparse_rows(matrix)[:], [[0.0, 3.0], [5.0, 0.0]])


@pytest.mark.parametrize("index", [-1, -9, 9, 10, 100])
def test_indices_beyond_the_rows_are_those_of_an_array(dense, index):
    x = sparse_rows(sparse.csr_array(dense))
    np.testing.assert_array_equal(x[index], jnp.asarray(dense)[index])


def test_map_rows(dense):
    def function(row):
        return row.sum(), 2.0 * row

    x = sparse_rows(sparse.csr_array(dense))
    for rows in (x, dense):
        sums, doubled = map_rows(function, rows, batch_size=4)
        np.testing.assert_allclose(sums, dense.sum(axis=1), rtol=1e-6)
        np.testing.assert_array_equal(doubled, 2.0 * dense)


@pytest.mark.parametrize("num_points", [1, 3, 4, 5, 6, 7, 8, 9])
def test_map_points_maps_every_point_once(num_points):
    points = np.arange(num_points), np.arange(2.0 * num_points).reshape(-1, 2)
    batches = []

    def function(point):
        batches.append(point)  # traced once a batch size
        return point[0], 2.0 * point[1]

    numbers, doubled = map_points(function, points, batch_size=4)
    np.testing.assert_array_equal(numbers, points[0])
    np.testing.assert_array_equal(doubled, 2.0 * points[1])
    assert num_points > 8 or len(batches) == 1


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


@pytest.fixture
def mapped(dense, tmp_path):
    np.save(tmp_path / "x.npy", dense)
    return np.load(tmp_path / "x.npy", mmap_mode="r")


@pytest.fixture(params=["array", "map", "sparse", "float64"])
def host(request, dense, mapped):
    return HostRows(
        {
            "array": dense,
            "map": mapped,
            "sparse": sparse.csr_array(dense),
            "float64": dense.astype(np.float64),
        }[request.param]
    )


@pytest.mark.parametrize(
    "rows",
    [3, slice(2, 7), slice(None), [8, 0, 4, 4], np.array([[1, 7], [4, 0]])],
    ids=str,
)
def test_rows_on_the_host_are_those_of_the_matrix(host, dense, rows):
    assert (len(host), host.shape, host.num_columns) == (9, (9, 6), 6)
    assert host[rows].dtype == np.float32
    np.testing.assert_array_equal(host[rows], dense[rows])


@pytest.mark.parametrize("size", [1, 4, 100])
def test_map_blocks(host, dense, size, monkeypatch):
    monkeypatch.setattr(rows_module, "_BLOCK_BYTES", size * 6 * 4)
    shapes = []

    def function(rows, numbers, nothing):
        shapes.append(rows.shape)
        return {"sums": rows.sum(axis=1) + numbers, "nothing": nothing}

    numbers = np.arange(9.0)
    found = map_blocks(function, host, numbers, None)
    np.testing.assert_allclose(found["sums"], dense.sum(axis=1) + numbers, rtol=1e-6)
    assert found["nothing"] is None
    assert set(shapes) == {(min(size, 9), 6)}  # one shape, compiled once
    whole = map_blocks(function, dense, numbers, None)
    np.testing.assert_allclose(whole["sums"], found["sums"])
    assert shapes[-1] == (9, 6)


@pytest.mark.parametrize("block", [None, 12], ids=["one block", "blocks of two rows"])
@pytest.mark.parametrize(
    "likelihood",
    [Bernoulli(), GaussianLikelihood(0.5), LearnedVarianceGaussian()],
    ids=str,
)
def test_smoothed_statistics_of_rows_on_the_host(
    host, dense, likelihood, block, monkeypatch
):
    if block:
        monkeypatch.setattr(smoothing, "_BLOCK_ELEMENTS", block)
    operator = smoothing_operator(neighbor_weights(*knn(dense, 3)), 1.4)
    found = smoothing.smooth_data(host, operator, likelihood)
    expected = smoothing.smooth_data(dense, operator, likelihood)
    np.testing.assert_array_equal(found.degree, expected.degree)
    leaves = jax.tree.leaves(found.statistics)
    assert isinstance(leaves[0], HostRows)
    for a, b in zip(leaves, jax.tree.leaves(expected.statistics), strict=True):
        np.testing.assert_allclose(a[:], b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "kind",
    [
        HostRows,
        lambda x: HostRows(sparse.csr_array(x)),
        lambda x: sparse_rows(sparse.csr_array(x)),
    ],
    ids=["host", "sparse on the host", "sparse"],
)
def test_a_point_that_nobody_names_has_statistics(kind):
    x = np.array([[1.0], [2.0], [5.0]], np.float32)
    graph = neighbor_weights(np.array([[1], [0], [0]]), np.ones((3, 1)))
    operator = smoothing_operator(graph, 2.0)  # a point's own weight is 0
    found = smoothing.smooth_data(kind(x), operator, GaussianLikelihood(1.0))
    assert found.degree.tolist() == [2.0, 1.0, 0.0]
    mean = take(found.statistics.mean, jnp.arange(3))
    assert mean.ravel().tolist() == [3.5, 1.0, 0.0]
    assert found.statistics.scatter.tolist() == [4.5, 0.0, 0.0]


def test_place_takes_the_first_that_fits(dense, mapped, monkeypatch, caplog):
    monkeypatch.setattr(rows_module, "device_memory", lambda: 1000.0)
    matrix = sparse.csr_array(dense)  # twice 9 x 6 x 4 bytes if dense
    needed, entries = 2 * 9 * 6 * 4, matrix.nnz

    def placed(x, limit, **keywords):
        return place(x, limit / 1000.0, **keywords)

    np.testing.assert_array_equal(placed(matrix, needed), dense)
    assert placed(dense, needed) is dense
    assert not caplog.records
    kept = placed(mapped, needed - 1)
    assert isinstance(kept, HostRows) and kept.source is mapped
    (record,) = caplog.records
    message = record.getMessage()
    assert message.startswith("The 9 x 6 data")
    assert "device_memory_share=0.431" in message and "larger share" in message

    monkeypatch.setattr(rows_module, "device_memory", lambda: 10.0 * needed)
    wide = sparse.csr_array((dense.ravel()[:1], ([0], [0])), (9, 6000))
    share = 8 * 5 * wide.nnz / (10.0 * needed)
    assert isinstance(place(wide, share, 3), SparseRows)
    assert isinstance(place(wide, 0.99 * share, 3), HostRows)
    assert isinstance(place(wide, share, 3, may_stay_sparse=False), HostRows)
    assert entries > 0 and place(kept, 1.0) is kept


def test_a_cpu_takes_statistics_as_they_lie():
    x = np.random.default_rng(0).random((5, 3), np.float32)
    operator = sparse.csr_array(np.full((5, 5), 0.2))
    likelihoods = (Bernoulli(), GaussianLikelihood(), LearnedVarianceGaussian())
    for likelihood in likelihoods:
        statistics = smoothing.smooth_data(x, operator, likelihood).statistics
        for leaf in jax.tree.leaves(statistics):
            assert jax.device_put(leaf).unsafe_buffer_pointer() == leaf.ctypes.data


def test_the_memory_of_a_device(monkeypatch):
    class Device:
        def memory_stats(self):
            return {"bytes_limit": 77}

    assert rows_module.device_memory() > 2**28  # this machine's
    monkeypatch.setattr(jax, "local_devices", lambda: [Device()])
    assert rows_module.device_memory() == 77
