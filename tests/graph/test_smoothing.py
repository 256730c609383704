"""The smoothing operator and its products against dense loops in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse, special, stats

from dgg_jax.checks import InvalidInput
from dgg_jax.graph import smoothing, smoothing_operator
from dgg_jax.likelihoods import Bernoulli, GaussianLikelihood, LearnedVarianceGaussian
from dgg_jax.losses import dgg
from dgg_jax.types import Gaussian, Graph, Mixture

STRENGTHS = [0.0, 0.5, 1.0, 1.5, 2.0]
LIKELIHOODS = {
    "bernoulli": Bernoulli(),
    "gaussian": GaussianLikelihood(variance=0.5),
    "learned": LearnedVarianceGaussian(),
}
NUM_POINTS, NUM_NEIGHBORS, NUM_FEATURES, NUM_LATENT, NUM_CLUSTERS = 9, 3, 4, 2, 3


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def graph(rng):
    """Random neighbours; no row has point 0, row 2 lists a neighbour twice."""
    indices = np.stack(
        [
            rng.choice([j for j in range(1, NUM_POINTS) if j != i], 3, replace=False)
            for i in range(NUM_POINTS)
        ]
    )
    indices[2] = [5, 5, 7]
    weights = rng.dirichlet(np.ones(NUM_NEIGHBORS), NUM_POINTS)
    return Graph(indices.astype(np.int32), weights.astype(np.float32))


def dense_operator(graph, strength):
    dense = np.zeros((len(graph.indices), len(graph.indices)))
    for i, (neighbors, weights) in enumerate(zip(*graph, strict=True)):
        dense[i, i] += 1.0 - strength / 2.0
        for j, weight in zip(neighbors, weights.astype(np.float64), strict=True):
            dense[i, j] += strength / 2.0 * weight
    return dense


def random_sparse(rng, num_rows, num_columns):
    """Rows of 0 to 7 entries."""
    dense = np.zeros((num_rows, num_columns))
    for i in range(num_rows):
        columns = rng.choice(num_columns, i % 8, replace=False)
        dense[i, columns] = rng.standard_normal(len(columns))
    return sparse.csr_array(dense)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_operator_equals_a_dense_loop(graph, strength):
    operator = smoothing_operator(graph, strength)
    assert isinstance(operator, sparse.csr_array)
    assert operator.dtype == np.float64
    expected = dense_operator(graph, strength)
    np.testing.assert_allclose(operator.toarray(), expected, rtol=1e-6)
    np.testing.assert_allclose(operator.sum(axis=1), 1.0, rtol=1e-14)
    assert (operator.data > 0.0).all()


def test_a_strength_of_1_is_the_papers(graph):
    np.testing.assert_array_equal(
        smoothing_operator(graph).toarray(), smoothing_operator(graph, 1.0).toarray()
    )
    identity = smoothing_operator(graph, 0.0)
    np.testing.assert_array_equal(identity.toarray(), np.eye(NUM_POINTS))
    assert identity.nnz == NUM_POINTS


def test_a_neighbour_listed_twice_counts_twice(graph):
    row = smoothing_operator(graph, 2.0).toarray()[2]
    np.testing.assert_allclose(row[5], graph.weights[2, :2].sum(), rtol=1e-6)
    np.testing.assert_allclose(row[7], graph.weights[2, 2], rtol=1e-6)
    assert np.count_nonzero(row) == 2


@pytest.mark.parametrize("strength", [-0.1, 2.1, np.nan])
def test_strength_out_of_range(graph, strength):
    with pytest.raises(InvalidInput, match=r"graph_strength must be in \[0, 2\]"):
        smoothing_operator(graph, strength)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"weights": np.ones((9, 2))}, "shapes (9, 3) and (9, 2)"),
        ({"indices": np.full((9, 3), 9)}, "[0, 8], got values from 9 to 9"),
        ({"indices": np.full((9, 3), -1)}, "[0, 8], got values from -1 to -1"),
        ({"indices": np.array([[0, 1, 9]] * 9)}, "[0, 8], got values from 0 to 9"),
        ({"indices": np.array([[-1, 1, 8]] * 9)}, "[0, 8], got values from -1 to 8"),
    ],
)
def test_bad_graphs(graph, changes, text):
    with pytest.raises(InvalidInput) as error:
        smoothing_operator(graph._replace(**changes))
    assert text in str(error.value)
    assert str(error.value).startswith("graph.indices")


def test_the_first_and_the_last_point_may_be_neighbours(graph):
    indices = np.array([[0, 1, 8]] * 9)
    operator = smoothing_operator(graph._replace(indices=indices), 2.0)
    assert set(operator.indices.tolist()) == {0, 1, 8}
    operator = smoothing_operator(graph._replace(indices=np.full((9, 3), 8)), 2.0)
    assert set(operator.indices.tolist()) == {8}


def random_data(rng, likelihood):
    x = rng.random((NUM_POINTS, NUM_FEATURES))
    if not isinstance(likelihood, Bernoulli):
        x = 3.0 * x - 1.0
    return x.astype(np.float32)


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_smoothed_data_are_dense_sums(graph, rng, name, strength):
    likelihood = LIKELIHOODS[name]
    x = random_data(rng, likelihood)
    operator = smoothing_operator(graph, strength)
    statistics, degree = smoothing.smooth_data(x, operator, likelihood)
    dense, x = operator.toarray(), x.astype(np.float64)
    np.testing.assert_allclose(degree, dense.sum(axis=0), rtol=1e-6, atol=1e-7)
    leaves = jax.tree.leaves((statistics, degree))
    assert {leaf.dtype for leaf in leaves} == {np.dtype("float32")}
    total = dense.T @ x
    if name == "bernoulli":
        np.testing.assert_allclose(statistics, total, rtol=1e-6, atol=1e-7)
        return
    for j in range(NUM_POINTS):
        weights = dense[:, j]
        mean = weights @ x / weights.sum() if weights.sum() > 0 else np.zeros(4)
        scatter = weights @ (x - mean) ** 2
        if name == "gaussian":
            scatter = scatter.sum()
        np.testing.assert_allclose(statistics.mean[j], mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(statistics.scatter[j], scatter, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_a_source_that_nobody_lists_has_degree_0_and_share_0(graph, rng, name):
    likelihood = LIKELIHOODS[name]
    x = random_data(rng, likelihood)
    operator = smoothing_operator(graph, 2.0)
    statistics, degree = smoothing.smooth_data(x, operator, likelihood)
    assert degree[0] == 0.0
    assert (degree[1:] > 0.0).any()
    leaves = jax.tree.leaves(statistics)
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    own = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), statistics)
    decoded = jnp.full(NUM_FEATURES, 2.0)
    if name == "learned":
        decoded = Gaussian(decoded, decoded)
    assert likelihood.smoothed_log_prob(own, jnp.float32(0.0), decoded) == 0.0


@pytest.mark.parametrize("name", ["gaussian", "learned"])
def test_centred_statistics_hold_where_raw_ones_cancel(graph, rng, name):
    variance = 1e-6
    x = (5.0 + 1e-4 * rng.standard_normal((NUM_POINTS, NUM_FEATURES))).astype("f4")
    means = (5.0 + 1e-4 * rng.standard_normal((NUM_POINTS, NUM_FEATURES))).astype("f4")
    likelihood = GaussianLikelihood(variance)
    decoded = jnp.asarray(means)
    if name == "learned":
        likelihood = LearnedVarianceGaussian()
        decoded = Gaussian(decoded, jnp.full_like(decoded, np.log(variance)))
    operator = smoothing_operator(graph)
    smoothed = smoothing.smooth_data(x, operator, likelihood)
    values = jax.vmap(likelihood.smoothed_log_prob)(
        jax.tree.map(jnp.asarray, smoothed.statistics), smoothed.degree, decoded
    )
    dense = operator.toarray()
    log_probs = stats.norm.logpdf(
        x.astype(np.float64)[:, None], means.astype(np.float64)[None], variance**0.5
    ).sum(axis=2)
    expected = (dense * log_probs).sum(axis=0)
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-3)

    raw = jax.vmap(likelihood.sufficient_statistics)(x)
    raw = jax.tree.map(
        lambda leaf: jnp.asarray(np.einsum("ij,i...->j...", dense, leaf), jnp.float32),
        raw,
    )
    values = jax.vmap(likelihood.smoothed_log_prob)(raw, smoothed.degree, decoded)
    assert np.abs(values - expected).max() > 0.1


@pytest.mark.parametrize("elements", [1, 5, 13, 40, 64])
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_blocks_of_the_host_computation_change_nothing(
    graph, rng, monkeypatch, name, elements
):
    likelihood = LIKELIHOODS[name]
    x = random_data(rng, likelihood)
    operator = smoothing_operator(graph, 2.0)
    whole = smoothing.smooth_data(x, operator, likelihood)
    monkeypatch.setattr(smoothing, "_BLOCK_ELEMENTS", elements)
    blocks = smoothing.smooth_data(x, operator, likelihood)
    jax.tree.map(np.testing.assert_array_equal, blocks, whole)


@pytest.mark.parametrize("elements", [1, 4, 12, 40, 1000])
def test_blocks_of_rows_hold_so_many_entries_or_one_row(rng, elements, monkeypatch):
    monkeypatch.setattr(smoothing, "_BLOCK_ELEMENTS", elements)
    matrix, width = random_sparse(rng, 21, 10), 4
    blocks = list(smoothing._row_blocks(matrix, width))
    assert [row for block in blocks for row in range(21)[block]] == list(range(21))
    sizes = [width * matrix[block].nnz for block in blocks]
    for block, size in zip(blocks, sizes, strict=True):
        assert size <= max(elements, width) or block.stop == block.start + 1
    # None is cut short: with the row after it, it would hold too many.
    for after, size in zip(blocks[1:], sizes, strict=False):
        assert size + width * matrix[after.start : after.start + 1].nnz > elements


def test_product_of_bucketed_rows(rng):
    matrix = random_sparse(rng, 21, 10)
    table = rng.standard_normal((10, 3)).astype(np.float32)
    buckets = smoothing.bucket_rows(matrix)
    product = smoothing.multiply(buckets, jnp.asarray(table))
    np.testing.assert_allclose(product, matrix @ table, rtol=1e-5, atol=1e-6)
    assert product.shape == (21, 3)
    np.testing.assert_array_equal(product[::8], 0.0)  # rows without entries
    assert [indices.shape[1] for indices in buckets.indices] == [1, 2, 4, 7]
    for indices, weights in zip(buckets.indices, buckets.weights, strict=True):
        assert indices.shape == weights.shape
        assert indices.dtype == np.int32
        assert weights.dtype == np.float32
    assert sum(len(indices) for indices in buckets.indices) == 21


def test_product_of_one_hub():
    """One long row among short ones is not everyone's padding."""
    dense = np.eye(40)
    dense[3] = 1.0
    buckets = smoothing.bucket_rows(sparse.csr_array(dense))
    assert sum(indices.size for indices in buckets.indices) == 39 + 40
    table = jnp.arange(40.0)[:, None]
    product = smoothing.multiply(buckets, table)
    np.testing.assert_allclose(product, dense @ np.asarray(table), rtol=1e-6)


def buckets_of(operator):
    return (
        smoothing.bucket_rows(operator),
        smoothing.bucket_rows(operator.T.tocsr()),
    )


@pytest.mark.parametrize("strength", STRENGTHS)
def test_smoothed_log_prior_equals_dense_sums(graph, rng, strength):
    logits = 3.0 * rng.standard_normal((NUM_POINTS, NUM_CLUSTERS))
    table = special.log_softmax(logits, axis=1).astype(np.float32)
    operator = smoothing_operator(graph, strength)
    smoothed = smoothing.smoothed_log_prior(jnp.asarray(table), *buckets_of(operator))
    dense = operator.toarray()
    prior = dense @ np.exp(table.astype(np.float64))
    expected = dense.T @ np.log(prior)
    np.testing.assert_allclose(smoothed, expected, rtol=1e-5, atol=1e-6)


def test_smoothed_log_prior_is_finite_where_a_cluster_is_empty(graph):
    table = jnp.log(jax.nn.one_hot(jnp.zeros(NUM_POINTS, int), NUM_CLUSTERS))
    operator = smoothing_operator(graph, 2.0)
    smoothed = smoothing.smoothed_log_prior(table, *buckets_of(operator))
    assert np.isfinite(smoothed).all()
    np.testing.assert_allclose(smoothed[:, 0], 0.0, atol=1e-6)
    floor = np.log(np.finfo(np.float32).tiny)
    degree = np.asarray(operator.sum(axis=0)).ravel()
    np.testing.assert_allclose(smoothed[:, 1], degree * floor, rtol=1e-5, atol=1e-4)


def test_smoothed_log_prior_gives_the_same_bits_every_time(graph, rng):
    logits = rng.standard_normal((NUM_POINTS, NUM_CLUSTERS)).astype(np.float32)
    table = jax.nn.log_softmax(logits)
    buckets = buckets_of(smoothing_operator(graph))
    compiled = jax.jit(smoothing.smoothed_log_prior)
    first, second = compiled(table, *buckets), compiled(table, *buckets)
    np.testing.assert_array_equal(first, second)
    # On an accelerator, scattered additions would come in any order.
    program = str(jax.make_jaxpr(smoothing.smoothed_log_prior)(table, *buckets))
    assert "gather" in program
    assert "scatter" not in program and "segment" not in program


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_one_epoch_of_the_node_form_is_the_tuple_form(graph, rng, name):
    likelihood = LIKELIHOODS[name]

    def random(*shape):
        return jnp.asarray(rng.standard_normal(shape), jnp.float32)

    x = random_data(rng, likelihood)
    decoded = random(NUM_POINTS, NUM_FEATURES)
    if name == "learned":
        decoded = Gaussian(decoded, random(NUM_POINTS, NUM_FEATURES))
    latent = (NUM_POINTS, NUM_LATENT)
    posteriors = Gaussian(random(*latent), random(*latent))
    log_assignments = jax.nn.log_softmax(2.0 * random(NUM_POINTS, NUM_CLUSTERS))
    components = (NUM_CLUSTERS, NUM_LATENT)
    mixture = Mixture(random(*components), random(*components))

    @jax.jit
    def node_form(smoothed, smoothed_log_prior):
        shares = jax.vmap(dgg.node_objective, (0, 0, 0, 0, 0, 0, None, None))(
            smoothed.statistics,
            smoothed.degree,
            decoded,
            posteriors,
            log_assignments,
            smoothed_log_prior,
            mixture,
            likelihood,
        )
        return jnp.sum(shares)

    @jax.jit
    def tuple_form(strength):
        own = jnp.arange(NUM_POINTS)[:, None]
        sources = jnp.concatenate([own, graph.indices], axis=1)
        gathered = jax.tree.map(
            lambda leaf: leaf[sources], (decoded, posteriors, log_assignments)
        )
        shares = jax.vmap(dgg.tuple_objective, (0, 0, 0, 0, 0, None, None, None))(
            x, *gathered, graph.weights, mixture, likelihood, strength
        )
        return jnp.sum(shares)

    values = []
    for strength in STRENGTHS:
        operator = smoothing_operator(graph, strength)
        smoothed = smoothing.smooth_data(x, operator, likelihood)
        smoothed = jax.tree.map(jnp.asarray, smoothed)
        rows = smoothing.bucket_rows(operator)
        columns = smoothing.bucket_rows(operator.T.tocsr())
        log_prior = smoothing.smoothed_log_prior(log_assignments, rows, columns)
        values.append(node_form(smoothed, log_prior))
        np.testing.assert_allclose(values[-1], tuple_form(strength), rtol=2e-5)
    assert len(set(np.array(values).tolist())) == len(STRENGTHS)
