"""Counts of cells or words: what is seen of them, their statistics, and clusters."""

import jax
import numpy as np
import pytest
from scipy import sparse

from dgg_jax import DEC, DGG, GMVAE, VaDE, load
from dgg_jax.checks import InvalidInput
from dgg_jax.data.preprocessing import (
    count_dispersion,
    log_normalize,
    variable_columns,
)
from dgg_jax.distributions import floor_log
from dgg_jax.graph import knn, local_affinity, smoothing, smoothing_operator
from dgg_jax.likelihoods import NegativeBinomial
from dgg_jax.losses import dgg
from dgg_jax.metrics import adjusted_rand_index
from dgg_jax.networks import log_normalized
from dgg_jax.placement.rows import HostRows
from dgg_jax.types import Gaussian, Mixture

NUM_CLUSTERS, NUM_COLUMNS = 3, 30
FEW = {
    "pretrain_autoencoder_epochs": 10,
    "pretrain_vae_epochs": 2,
    "siamese_epochs": 2,
    "hidden_sizes": (32,),
}


def planted(num_points, seed=0):
    """Counts of three profiles, of 20 to 400 a row, and which they are of."""
    rng = np.random.default_rng(seed)
    profiles = np.random.default_rng(7).dirichlet(np.full(NUM_COLUMNS, 0.5), 3)
    y = rng.integers(NUM_CLUSTERS, size=num_points)
    sizes = np.exp(rng.uniform(np.log(20), np.log(400), num_points))
    means = sizes[:, None] * profiles[y] * rng.gamma(5.0, 0.2, (num_points, 30))
    counts = rng.poisson(means)
    counts[:, 0] += 1  # no row without any
    return counts.astype(np.float32), y


def test_what_networks_see_is_what_distances_compare():
    x, _ = planted(50)
    of_numpy = log_normalize(x)
    np.testing.assert_allclose(log_normalized(x), of_numpy, rtol=1e-5)
    of_sparse = log_normalize(sparse.csr_array(x))
    np.testing.assert_allclose(of_sparse.toarray(), of_numpy, rtol=1e-6)
    np.testing.assert_allclose(log_normalize(3 * x), of_numpy, rtol=1e-6)
    np.testing.assert_allclose(np.expm1(of_numpy).mean(axis=1), 1.0, rtol=1e-5)
    assert not log_normalized(np.zeros((1, 4))).any()


@pytest.mark.parametrize("dispersion", [0.5, 5.0])
def test_the_dispersion_is_found_by_moments(dispersion):
    rng = np.random.default_rng(0)
    sizes = rng.integers(500, 2000, 3000)
    mean = sizes[:, None] * rng.dirichlet(np.ones(40))
    x = rng.negative_binomial(dispersion, dispersion / (dispersion + mean))
    # A model that knows the clusters is left a tenth of the variance.
    found = count_dispersion(x.astype(np.float32)) / 10.0
    np.testing.assert_allclose(found, dispersion, rtol=0.3)
    assert count_dispersion(rng.poisson(mean).astype(np.float32)) > 200.0


def test_the_columns_that_vary_beyond_chance_are_found():
    x, _ = planted(400)
    noise = np.random.default_rng(1).poisson(3.0, (400, 100))
    mixed = np.hstack([noise[:, :50], x, noise[:, 50:]])
    kept = variable_columns(mixed, 10)
    assert ((kept >= 50) & (kept < 80)).all()
    assert (np.diff(kept) > 0).all()
    np.testing.assert_array_equal(variable_columns(x, 30), np.arange(30))


@pytest.fixture
def operator():
    x, _ = planted(40)
    return smoothing_operator(local_affinity(*knn(log_normalize(x), 5)), 1.6)


def test_statistics_are_dense_sums_in_memory_and_on_the_host(operator):
    x, _ = planted(40)
    likelihood = NegativeBinomial(2.0)
    statistics, degree = smoothing.smooth_data(x, operator, likelihood)
    dense = operator.toarray().T
    sizes = x.sum(axis=1)
    np.testing.assert_allclose(statistics.counts, dense @ x, rtol=1e-5)
    np.testing.assert_allclose(
        statistics.sized_counts, dense @ (x * sizes[:, None]), rtol=1e-5
    )
    np.testing.assert_allclose(statistics.size, dense @ sizes, rtol=1e-5)
    np.testing.assert_allclose(degree, dense.sum(axis=1), rtol=1e-5)
    on_host, _ = smoothing.smooth_data(HostRows(x), operator, likelihood)
    np.testing.assert_allclose(on_host.counts[:], statistics.counts, rtol=1e-6)
    np.testing.assert_allclose(on_host.constant, statistics.constant, rtol=1e-5)


@pytest.mark.parametrize("same_size", [True, False])
def test_the_node_form_is_the_tuple_form_or_below_it(operator, same_size):
    x, _ = planted(40)
    if same_size:
        rng = np.random.default_rng(0)
        shares = x.astype(np.float64) / x.sum(axis=1, keepdims=True, dtype=np.float64)
        x = np.float32([rng.multinomial(60, row) for row in shares])
    rng = np.random.default_rng(2)
    likelihood = NegativeBinomial(2.0)
    logits = rng.normal(size=(40, NUM_COLUMNS)).astype(np.float32)
    posterior = Gaussian(*rng.normal(size=(2, 40, 2)).astype(np.float32))
    gamma = np.log(rng.dirichlet(np.ones(3), 40)).astype(np.float32)
    mixture = Mixture(*rng.normal(size=(2, 3, 2)).astype(np.float32))
    dense = operator.toarray()
    log_prior = floor_log(np.log(dense @ np.exp(gamma)))
    statistics, degree = smoothing.smooth_data(x, operator, likelihood)
    node = jax.vmap(dgg.node_objective, (0, 0, 0, 0, 0, 0, None, None))(
        statistics,
        degree,
        logits,
        posterior,
        gamma,
        dense.T @ log_prior,
        mixture,
        likelihood,
    ).sum()
    over_sources = jax.vmap(dgg.elbo, (None, 0, 0, 0, None, None, None))
    pairs = jax.vmap(over_sources, (0, None, None, None, 0, None, None))(
        x, logits, posterior, gamma, log_prior, mixture, likelihood
    ).total
    whole = (dense * pairs).sum()
    if same_size:
        np.testing.assert_allclose(node, whole, rtol=1e-5)
    else:
        # Neighbours of 20 to 400 counts are the worst case.
        assert whole - 0.2 * abs(whole) < node < whole


@pytest.fixture(scope="module")
def fitted():
    x, _ = planted(600)
    return DGG(NUM_CLUSTERS, likelihood="negative_binomial", random_state=0, **FEW).fit(
        x
    )


def test_profiles_are_found_whatever_the_sizes(fitted):
    _, y = planted(600)
    assert adjusted_rand_index(y, fitted.labels_) > 0.95
    new, of_new = planted(200, seed=1)
    assert adjusted_rand_index(of_new, fitted.predict(new)) > 0.9
    # A row read ten times as deep is of the same cluster, with the same latent.
    np.testing.assert_allclose(
        fitted.transform(new), fitted.transform(10 * new), atol=1e-4
    )
    np.testing.assert_array_equal(
        fitted.predict(sparse.csr_array(new)), fitted.predict(new)
    )


def test_decoded_rows_are_counts_whose_mean_is_1(fitted):
    rows, _ = fitted.sample(20)
    np.testing.assert_allclose(rows.mean(axis=1), 1.0, rtol=1e-4)
    assert (rows >= 0).all()


def test_a_saved_model_takes_counts(fitted, tmp_path):
    new, _ = planted(50, seed=1)
    fitted.save(tmp_path / "model")
    restored = load(tmp_path / "model")
    np.testing.assert_array_equal(
        restored.predict_proba(new), fitted.predict_proba(new)
    )
    assert restored.preset_.dispersion == fitted.preset_.dispersion


def test_whole_numbers_may_be_integers():
    x = np.array([3, 0, 1])
    of_floats = NegativeBinomial(2.0).log_prob(x.astype(np.float32), np.zeros(3))
    np.testing.assert_allclose(
        NegativeBinomial(2.0).log_prob(x, np.zeros(3)), of_floats
    )


@pytest.mark.parametrize("cls", [VaDE, DEC])
def test_other_methods_take_counts(cls):
    x, y = planted(300)
    few = {name: FEW[name] for name in ("pretrain_autoencoder_epochs", "hidden_sizes")}
    found = cls(NUM_CLUSTERS, likelihood="negative_binomial", epochs=3, **few).fit(x)
    assert adjusted_rand_index(y, found.labels_) > 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x + 0.5, "must be whole numbers from 0 on"),
        (lambda x: -x, "must be whole numbers from 0 on, x has -"),
        (lambda x: x * (np.arange(len(x)) != 3)[:, None], "row 3 of x has no counts"),
    ],
)
def test_what_is_no_counts(change, message):
    x, _ = planted(30)
    with pytest.raises(InvalidInput, match=message):
        DGG(3, preset="smoke", likelihood="negative_binomial").fit(change(x))


def test_gmvae_refuses_counts():
    x, _ = planted(30)
    with pytest.raises(InvalidInput, match="likelihood='negative_binomial' is unknown"):
        GMVAE(3, preset="smoke", likelihood="negative_binomial").fit(x)


def test_new_rows_must_be_counts(fitted):
    new, _ = planted(20, seed=1)
    for wrong in (np.log1p(new), -new, np.where(new > 5, np.nan, new)):
        with pytest.raises(InvalidInput, match="must be whole numbers from 0 on"):
            fitted.predict(wrong)


def test_rows_beyond_memory_are_streamed(fitted):
    x, y = planted(600)
    streamed = DGG(
        NUM_CLUSTERS,
        likelihood="negative_binomial",
        random_state=0,
        device_memory_share=1e-9,
        **FEW,
    )
    for rows in (x, sparse.csr_array(x)):
        assert adjusted_rand_index(y, streamed.fit(rows).labels_) > 0.95
    assert np.isfinite(streamed.score_samples(x)).all()


def test_a_source_of_nobody_on_the_host():
    x, _ = planted(6)
    operator = sparse.csr_array(np.eye(6)[[0, 0, 0, 0, 0, 0]])  # all follow one
    statistics, _ = smoothing.smooth_data(HostRows(x), operator, NegativeBinomial(2.0))
    np.testing.assert_allclose(statistics.counts[0], x.sum(axis=0), rtol=1e-6)
    assert not statistics.counts[1:].any() and not statistics.size[1:].any()


def test_the_likelihood_as_an_object_is_refused():
    x, _ = planted(30)
    with pytest.raises(InvalidInput, match="give likelihood='negative_binomial'"):
        DGG(3, preset="smoke", likelihood=NegativeBinomial(5.0)).fit(x)
