"""The kNN search against scikit-learn in float64, and what it promises users."""

import importlib.machinery
import socket
import subprocess
import sys
import time
import types

import jax
import numpy as np
import pytest
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from dgg_jax.checks import InvalidInput, NotInstalled
from dgg_jax.graph import knn, neighbors
from dgg_jax.placement.rows import sparse_rows


@pytest.fixture
def by_products(monkeypatch):
    """The exact search of few columns by products, as on a GPU."""
    monkeypatch.setattr(neighbors, "_TREE_COLUMNS", 0)


@pytest.fixture(params=["products", "tree"])
def both_forms(request):
    """Either form of the exact search."""
    if request.param == "products":
        request.getfixturevalue("by_products")


def points(num_points, num_features=3, seed=0):
    return np.random.default_rng(seed).standard_normal((num_points, num_features))


def brute_force(x, k):
    search = NearestNeighbors(n_neighbors=k, algorithm="brute")
    distances, indices = search.fit(np.asarray(x, np.float64)).kneighbors()
    return indices, distances


@pytest.mark.usefixtures("both_forms")
@pytest.mark.parametrize("block_size", [16, 20, 64, 1000])
def test_equals_brute_force_at_every_block_size(block_size):
    x = points(50).astype(np.float32)
    indices, distances = knn(x, 7, block_size=block_size)
    expected_indices, expected_distances = brute_force(x, 7)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_allclose(distances, expected_distances, rtol=1e-6)
    assert indices.shape == distances.shape == (50, 7)
    assert indices.dtype == np.int32
    assert distances.dtype == np.float32


@pytest.mark.usefixtures("both_forms")
def test_block_sizes_agree_bit_for_bit():
    x = points(30)
    expected = knn(x, 4, block_size=30)
    for block_size in (1, 7, 16):
        for values, wanted in zip(
            knn(x, 4, block_size=block_size), expected, strict=True
        ):
            np.testing.assert_array_equal(values, wanted)


@pytest.mark.usefixtures("both_forms")
def test_distances_are_euclidean_and_ascending():
    x = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0], [6.0, 8.0]])
    indices, distances = knn(x, 3)
    np.testing.assert_array_equal(indices[0], [2, 1, 3])
    np.testing.assert_allclose(distances[0], [1.0, 5.0, 10.0], rtol=1e-6)
    assert (np.diff(distances, axis=1) >= 0.0).all()


@pytest.mark.usefixtures("both_forms")
def test_a_point_is_left_out_by_index_and_its_duplicates_stay():
    x = np.repeat(points(4, 2), 3, axis=0)  # points 3 i, 3 i + 1, 3 i + 2 coincide
    indices, distances = knn(x, 4)
    for row, (own, far) in enumerate(zip(indices[:, :2], indices[:, 2:], strict=True)):
        twins = {row - row % 3 + offset for offset in range(3)} - {row}
        assert set(own.tolist()) == twins
        assert not twins & set(far.tolist())
        assert row not in far
    np.testing.assert_array_equal(distances[:, :2], 0.0)
    assert (distances[:, 2:] > 0.0).all()


@pytest.mark.usefixtures("both_forms")
def test_more_duplicates_than_candidates():
    x = np.concatenate([np.zeros((1, 2)), np.ones((40, 2))])
    indices, distances = knn(x, 3)
    first = [[column for column in range(1, 41) if column != row] for row in range(41)]
    np.testing.assert_array_equal(indices, [row[:3] for row in first])
    np.testing.assert_array_equal(distances[1:], 0.0)
    np.testing.assert_allclose(distances[0], np.sqrt(2.0), rtol=1e-6)


@pytest.mark.usefixtures("both_forms")
def test_points_far_from_the_origin_keep_distances_and_order():
    # float32 holds 1e4 + i / 512 exactly; squares of 1e4 have an ulp of 8.
    rng = np.random.default_rng(1)
    x = (1e4 + rng.integers(0, 1024, (60, 4)) / 512).astype(np.float32)
    indices, distances = knn(x, 5, block_size=16)
    expected_indices, expected = brute_force(x.astype(np.float64) - 1e4, 5)
    np.testing.assert_allclose(distances, expected, rtol=1e-5)
    np.testing.assert_array_equal(indices, expected_indices)


@pytest.mark.usefixtures("both_forms")
def test_a_far_outlier_does_not_blur_its_neighbours():
    # About the mean, all but one of the points lie near (-100, 0), 1e-2 apart.
    x = np.stack([np.arange(100) * 1e-2, np.zeros(100)], axis=1)
    x[-1] = 1e4
    indices, distances = knn(x[:], 1)
    np.testing.assert_allclose(distances[:98, 0], 1e-2, rtol=1e-2)
    assert (np.abs(indices[:98, 0] - np.arange(98)) == 1).all()


def test_k_is_cut_to_the_other_points_with_a_warning(caplog):
    x = points(6)
    with caplog.at_level("WARNING", logger="dgg_jax"):
        exact = knn(x, 5)
    assert not caplog.records
    with caplog.at_level("WARNING", logger="dgg_jax"):
        cut = knn(x, 6)
    assert caplog.messages == ["k=6 exceeds the 5 other points; using 5."]
    for values, expected in zip(cut, exact, strict=True):
        np.testing.assert_array_equal(values, expected)
    assert (np.sort(cut[0], axis=1)[0] == [1, 2, 3, 4, 5]).all()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"k": 0}, "k must be at least 1, got 0."),
        (
            {"method": "fast"},
            "method='fast' is unknown; choose one of: exact, approximate.",
        ),
        ({"x": np.zeros(4)}, "x must be a matrix of at least 2 rows, got shape (4,)."),
        (
            {"x": np.zeros((1, 4))},
            "x must be a matrix of at least 2 rows, got shape (1, 4).",
        ),
    ],
)
def test_errors_name_the_argument(arguments, text):
    arguments = {"x": points(5), "k": 2, **arguments}
    with pytest.raises(InvalidInput) as error:
        knn(arguments.pop("x"), arguments.pop("k"), **arguments)
    assert str(error.value) == text


@pytest.mark.usefixtures("both_forms")
def test_progress_rises_to_the_number_of_points():
    calls = []
    knn(points(25), 3, block_size=10, progress=lambda *call: calls.append(call))
    assert calls == [(10, 25), (20, 25), (25, 25)]


@pytest.mark.usefixtures("by_products")
def test_blocks_have_one_shape(monkeypatch):
    shapes = []
    original = neighbors._nearest_in_block

    def recording(points, half_norms, rows, *static):
        shapes.append((points.shape, rows.shape))
        return original(points, half_norms, rows, *static)

    monkeypatch.setattr(neighbors, "_nearest_in_block", recording)
    knn(points(25), 3, block_size=10)
    assert shapes == [((32, 3), (10,))] * 3


@pytest.mark.usefixtures("by_products")
def test_an_error_leaves_the_other_blocks_out(monkeypatch):
    blocks = []

    def nearest(points, half_norms, rows, k, *static):
        blocks.append(rows)
        time.sleep(0.02)
        return np.zeros((len(rows), k)), np.zeros((len(rows), k))

    def progress(done, total):
        raise KeyboardInterrupt

    monkeypatch.setattr(neighbors, "_nearest_in_block", nearest)
    with pytest.raises(KeyboardInterrupt):
        knn(points(200), 3, block_size=2, progress=progress)
    assert len(blocks) < 100


@pytest.mark.parametrize("num_scores", [96, 1000, 4096, 12005])
def test_largest_of_groups_are_the_largest_of_all(num_scores):
    scores = np.random.default_rng(0).integers(0, num_scores // 4, (40, num_scores))
    largest = jax.jit(jax.vmap(lambda row: neighbors.largest(row, 20)))
    found = largest(scores.astype(np.float32))
    # Of equal scores, of which there are many, the first.
    expected = np.sort(np.argsort(-scores, axis=1, kind="stable")[:, :20], axis=1)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.usefixtures("both_forms")
@pytest.mark.parametrize("block_size", [300, 2000])
def test_equal_distances_are_ranked_by_index(block_size):
    # 33 x 33 integers, whose products about their mean are exact.
    x = np.stack(np.meshgrid(np.arange(33), np.arange(33)), axis=-1).reshape(-1, 2)
    x = np.random.default_rng(0).permutation(x)
    assert len(x) > 2 * neighbors._GROUP * (6 + neighbors.SPARE_CANDIDATES)
    squared = ((x[:, None] - x[None]) ** 2).sum(axis=2)
    np.fill_diagonal(squared, squared.max() + 1)
    expected = np.argsort(squared, axis=1, kind="stable")[:, :5]
    indices, distances = knn(x, 5, block_size=block_size)
    np.testing.assert_array_equal(indices, expected)
    lengths = np.sqrt(np.take_along_axis(squared, expected, axis=1))
    np.testing.assert_allclose(distances, lengths, rtol=1e-6)


ON_ALL_DEVICES = """
import sys
import jax, numpy as np
from dgg_jax.graph import knn, neighbors

neighbors._TREE_COLUMNS = 0
used, original = set(), neighbors._nearest_in_block
def recording(points, *rest):
    used.update(points.devices())
    return original(points, *rest)
neighbors._nearest_in_block = recording

x, result = np.load(sys.argv[1]), sys.argv[2]
if len(sys.argv) > 3:
    jax.distributed.initialize(sys.argv[3], 2, int(sys.argv[4]))
indices, distances = knn(x, 5, block_size=10)
assert used == set(jax.local_devices())
np.savez(result, indices=indices, distances=distances)
"""


def test_eight_devices_find_what_one_does(tmp_path, xla):
    x = points(85)
    np.save(tmp_path / "x.npy", x)
    subprocess.run(
        [sys.executable, "-c", ON_ALL_DEVICES, tmp_path / "x.npy", tmp_path / "8.npz"],
        env={
            **xla,
            "XLA_FLAGS": xla["XLA_FLAGS"] + " --xla_force_host_platform_device_count=8",
        },
        check=True,
    )
    indices, distances = knn(x, 5, block_size=10)
    with np.load(tmp_path / "8.npz") as found:
        np.testing.assert_array_equal(found["indices"], indices)
        np.testing.assert_allclose(found["distances"], distances, rtol=1e-6)


@pytest.mark.parametrize("num_points", [8, 9])
def test_shares_of_processes_are_put_together(num_points, monkeypatch):
    x = points(num_points)
    expected = knn(x, 3)
    shares = []

    def gathered(found):
        shares.append(found)
        return [np.stack(parts) for parts in zip(*shares[:2], strict=True)]

    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(neighbors.multihost_utils, "process_allgather", gathered)
    with pytest.raises(ValueError):  # the second process has not answered
        knn(x, 3)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    found = knn(x, 3)
    assert [len(share[0]) for share in shares] == [-(-num_points // 2)] * 2
    np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_two_processes_find_what_one_does(tmp_path, xla):
    x = points(85)
    np.save(tmp_path / "x.npy", x)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    results = [tmp_path / "0.npz", tmp_path / "1.npz"]
    command = [sys.executable, "-c", ON_ALL_DEVICES, tmp_path / "x.npy"]
    processes = [
        subprocess.Popen([*command, result, address, str(number)], env=xla)
        for number, result in enumerate(results)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    indices, distances = knn(x, 5)
    for result in results:
        with np.load(result) as found:
            np.testing.assert_array_equal(found["indices"], indices)
            np.testing.assert_allclose(found["distances"], distances, rtol=1e-6)


def all_shapes(jaxpr):
    """Shapes of every value of a jaxpr, inner ones included."""
    for equation in jaxpr.eqns:
        for variable in equation.outvars:
            yield variable.aval.shape
        for parameter in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda p: hasattr(p, "jaxpr")
        ):
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns"):
                yield from all_shapes(inner)


def test_nothing_is_larger_than_a_block_of_distances():
    num_points, block_size = 1024, 8
    x = np.zeros((num_points, 3), np.float32)

    def block(points, half_norms, rows):
        return neighbors._nearest_in_block(points, half_norms, rows, 5, 22, block_size)

    rows = np.arange(4 * block_size, dtype=np.int32)
    jaxpr = jax.make_jaxpr(block)(x, x[:, 0], rows)
    shapes = set(all_shapes(jaxpr.jaxpr))
    assert (block_size, num_points) in shapes
    assert max(np.prod(shape) for shape in shapes) == block_size * num_points


def test_approximate_without_pynndescent_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynndescent", None)
    with pytest.raises(NotInstalled) as error:
        knn(points(10), 2, method="approximate")
    assert isinstance(error.value, ImportError)
    assert str(error.value) == (
        "the approximate kNN graph of 10 rows needs more packages; pynndescent is not "
        "installed: pip install 'dgg-jax[approximate]', or ask for method='exact'."
    )


def test_the_size_decides_the_method(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynndescent", None)
    monkeypatch.setattr(neighbors, "EXACT_LIMIT", 10)
    assert knn(points(10), 2)[0].shape == (10, 2)
    with pytest.raises(ImportError):
        knn(points(11), 2)
    assert knn(points(11), 2, method="exact")[0].shape == (11, 2)
    neighbors.check_search(10)
    with pytest.raises(ImportError):
        neighbors.check_search(11)


def test_two_points_are_each_others_neighbour():
    indices, distances = knn([[0.0], [2.0]], 1)
    assert indices.tolist() == [[1], [0]]
    assert distances.tolist() == [[2.0], [2.0]]


def test_sparse_points_are_searched_as_dense_ones():
    x = np.where(points(20) < 0.3, 0.0, points(20)).astype(np.float32)
    expected = knn(x, 4)
    for matrix in (sparse.csr_array(x), sparse_rows(sparse.csr_array(x))):
        for found, array in zip(knn(matrix, 4), expected, strict=True):
            np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_approximate_leaves_each_point_out(monkeypatch, caplog, kind):
    x = points(20)
    indices, distances = brute_force(x, 16)
    with_self = np.concatenate([np.arange(20)[:, None], indices[:, :15]], axis=1)
    zeros = np.concatenate([np.zeros((20, 1)), distances[:, :15]], axis=1)
    # Row 1 finds itself second, as a duplicate would make it, row 2 not at all.
    with_self[1, :2] = with_self[1, [1, 0]]
    with_self[2], zeros[2] = indices[2], distances[2]

    class Index:
        def __init__(self, x, n_neighbors, random_state):
            assert n_neighbors == 16  # of fewer the search would miss some
            assert sparse.issparse(x) == (kind is sparse.csr_array)
            self.neighbor_graph = with_self, zeros

    spec = importlib.machinery.ModuleSpec("pynndescent", None)
    module = types.SimpleNamespace(NNDescent=Index, __spec__=spec)
    monkeypatch.setitem(sys.modules, "pynndescent", module)
    with caplog.at_level("DEBUG", logger="dgg_jax"):
        found, lengths = knn(kind(x), 4, method="approximate")
    np.testing.assert_array_equal(found, indices[:, :4])
    np.testing.assert_allclose(lengths[2:], distances[2:, :4], rtol=1e-6)
    assert found.dtype == np.int32
    assert lengths.dtype == np.float32
    assert "recall on 20 sampled rows: 1.0000" in caplog.text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    # Of sparse rows numba compiles for half a minute.
    "kind",
    [np.asarray, pytest.param(sparse.csr_array, marks=pytest.mark.release)],
)
def test_approximate_finds_most_neighbours(kind):
    pytest.importorskip("pynndescent")
    x = points(600, 5)
    indices, distances = knn(kind(x), 10, method="approximate")
    expected, _ = brute_force(x, 10)
    assert indices.shape == distances.shape == (600, 10)
    assert not (indices == np.arange(600)[:, None]).any()
    found = [np.isin(a, b).mean() for a, b in zip(expected, indices, strict=True)]
    assert np.mean(found) > 0.9
    assert (np.diff(distances, axis=1) >= 0.0).all()
