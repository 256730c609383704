"""GMVAE's loss on batches, its evaluation in batches, its mutable collections."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from dgg_jax.likelihoods import Bernoulli
from dgg_jax.losses import gmvae as losses
from dgg_jax.methods import gmvae
from dgg_jax.methods.gmvae import GmvaeNetworks
from dgg_jax.training import Monitor, Rows, Schedule, optimize
from dgg_jax.types import Gaussian, GmvaeTerms, Mixture

NUM_POINTS, NUM_FEATURES, NUM_LATENTS, W_DIM, NUM_CLUSTERS = 7, 4, 2, 3, 3
SHAPES = {
    "z_mean": (NUM_FEATURES, NUM_LATENTS),
    "w_mean": (NUM_FEATURES, W_DIM),
    "components": (W_DIM, NUM_CLUSTERS * NUM_LATENTS),
    "centers": (NUM_CLUSTERS * NUM_LATENTS,),
    "logits": (NUM_LATENTS, NUM_FEATURES),
}
RANDOM = np.random.default_rng(0)
PARAMS = {
    name: RANDOM.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()
}
X = RANDOM.uniform(size=(NUM_POINTS, NUM_FEATURES)).astype(np.float32)
NO_NOISE, NOISE = -60.0, -0.5  # logvars of the posteriors


@functools.cache
def networks(logvar=NO_NOISE):
    """Linear networks; with collections they count their steps of training."""

    def counted(collections, name, train):
        if not collections:
            return ()
        return {**collections, name: collections[name] + train}

    def recognize(params, collections, x, train):
        means = x @ params["z_mean"], x @ params["w_mean"]
        posteriors = tuple(Gaussian(m, jnp.full_like(m, logvar)) for m in means)
        return posteriors, counted(collections, "recognition", train)

    def components(params, w):
        mean = w @ params["components"] + params["centers"][None]
        mean = mean.reshape(-1, NUM_CLUSTERS, NUM_LATENTS)
        return Mixture(mean, 0.1 * mean)

    def decode(params, collections, z, train):
        return z @ params["logits"], counted(collections, "decoder", train)

    return GmvaeNetworks(recognize, components, decode)


COUNTS = {"recognition": np.zeros(()), "decoder": np.zeros(())}


def log_assignments(params=PARAMS, x=X):
    """ln p(c | z, w) of eq. (3) at the means by scipy, [N, K]; and those mixtures."""
    x = x.astype(np.float64)
    z, w = x @ params["z_mean"], x @ params["w_mean"]
    mean = w @ params["components"] + params["centers"]
    mean = mean.reshape(-1, NUM_CLUSTERS, NUM_LATENTS)
    densities = stats.norm.logpdf(z[:, None], mean, np.exp(0.05 * mean))
    return (
        special.log_softmax(densities.sum(axis=2), axis=1),
        z,
        Mixture(mean, 0.1 * mean),
    )


def expected_terms(joint=False):
    """The terms of every point without noise, one point at a time: fields [N]."""
    log_weights = np.full(NUM_CLUSTERS, -np.log(NUM_CLUSTERS))
    _, z, mixtures = log_assignments()
    w = X @ PARAMS["w_mean"]
    of_point = jax.jit(losses.elbo, static_argnames=("likelihood", "joint"))
    terms = [
        of_point(
            X[i],
            z[i : i + 1] @ PARAMS["logits"],
            Gaussian(z[i], np.full(NUM_LATENTS, NO_NOISE)),
            Gaussian(w[i], np.full(W_DIM, NO_NOISE)),
            z[i : i + 1],
            log_weights,
            jax.tree.map(lambda field, i=i: field[i : i + 1], mixtures),
            likelihood=Bernoulli(),
            joint=joint,
        )
        for i in range(NUM_POINTS)
    ]
    return GmvaeTerms(*np.transpose(terms).astype(np.float64))


@pytest.mark.parametrize("num_rows", [0, 1, 3, 499, 500, 501, 1203])
def test_in_batches_is_the_function_of_all_rows(num_rows):
    rows = {"a": jnp.arange(2.0 * num_rows).reshape(-1, 2), "b": jnp.arange(num_rows)}
    sizes = []

    def function(rows):
        sizes.append(len(rows["a"]))
        # The order within a batch does not matter, what else is in it does not.
        return rows["a"][:, 0] - rows["b"], {"c": rows["a"][:, None] + 1.0}

    one, other = gmvae.in_batches(function, rows)
    assert set(sizes) == {max(1, min(500, num_rows))}
    np.testing.assert_array_equal(one, np.arange(num_rows))
    np.testing.assert_array_equal(other["c"], rows["a"][:, None] + 1.0)


@pytest.mark.parametrize("batch", [2, 3, 7, 500])
def test_infer_takes_the_means(monkeypatch, batch):
    monkeypatch.setattr(gmvae, "_BATCH", batch)
    z, w, actual = gmvae.infer(networks(NOISE), PARAMS, (), X)
    expected, *_ = log_assignments()
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(z.mean, X @ PARAMS["z_mean"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(w.mean, X @ PARAMS["w_mean"], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(z.logvar, np.full((NUM_POINTS, 2), NOISE, "f4"))
    assert z.mean.shape == (NUM_POINTS, NUM_LATENTS)
    assert w.mean.shape == (NUM_POINTS, W_DIM)


def mean_terms(logvar, num_samples, key=0, joint=False, x=X):
    terms = gmvae.bound_terms(
        networks(logvar),
        Bernoulli(),
        PARAMS,
        (),
        x,
        jax.random.key(key),
        num_samples=num_samples,
        joint=joint,
    )
    assert terms.total.shape == (len(x),)
    return jax.tree.map(lambda field: field.mean(), terms)


@pytest.mark.parametrize("batch", [3, 500])
@pytest.mark.parametrize("joint", [False, True])
def test_mean_terms_without_noise(monkeypatch, batch, joint):
    """The rows that fill the last batch do not count."""
    monkeypatch.setattr(gmvae, "_BATCH", batch)
    actual, expected = mean_terms(NO_NOISE, 2, joint=joint), expected_terms(joint)
    for name in GmvaeTerms._fields:
        value = getattr(actual, name)
        assert value.shape == ()
        # ln q(z) of such a narrow posterior is known to the rounding of z alone.
        if not (joint and name == "conditional_prior"):
            mean = np.mean(getattr(expected, name))
            np.testing.assert_allclose(value, mean, rtol=1e-4, atol=1e-5)


def test_mean_terms_average_over_draws(monkeypatch):
    # Hardly another point in each row: as many draws as rows.
    monkeypatch.setattr(gmvae, "_BATCH", 50)
    x = X[:1] + 1e-6 * np.arange(200, dtype=np.float32)[:, None]
    estimates = [mean_terms(NOISE, 40, key, x=x).reconstruction for key in range(2)]
    z = X[0] @ PARAMS["z_mean"] + np.exp(NOISE / 2) * np.random.default_rng(1).normal(
        size=(200_000, 2)
    )
    logits = z @ PARAMS["logits"]
    values = (X[0] * special.log_expit(logits)).sum(axis=1)
    values += ((1 - X[0]) * special.log_expit(-logits)).sum(axis=1)
    error = values.std() / np.sqrt(8000)
    assert estimates[0] != estimates[1]
    for estimate in estimates:
        assert abs(estimate - values.mean()) < 5.0 * error


def value_and_grad(constraint=0.0, num_samples=1, logvar=NO_NOISE, joint=False):
    loss = gmvae.GmvaeLoss(networks(logvar), num_samples, constraint, joint)
    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def test_loss_without_a_constraint_is_the_bound():
    indices = jnp.array([5, 0, 3])
    (value, output), gradient = value_and_grad()(
        PARAMS, Rows(X, Bernoulli()), indices, jax.random.key(0)
    )
    expected = expected_terms()
    for name in GmvaeTerms._fields:
        mean = getattr(expected, name)[indices].mean()
        np.testing.assert_allclose(output.metrics[name], mean, rtol=1e-4)
    total = expected.total[indices].mean()
    assert value == pytest.approx(-total, rel=1e-5)
    assert output.metrics["objective"] == -value
    log_assignment, *_ = log_assignments()
    np.testing.assert_allclose(
        output.rows, log_assignment[indices], rtol=1e-4, atol=1e-4
    )
    assert output.collections == ()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_metrics_are_unconstrained_while_the_objective_is_not():
    indices, key = jnp.arange(NUM_POINTS), jax.random.key(0)
    (_, plain), _ = value_and_grad()(PARAMS, Rows(X, Bernoulli()), indices, key)
    terms = expected_terms()
    divergences = -terms.cluster_prior
    constraint = float(np.median(divergences)) + 1e-3  # of some points, not of all
    assert divergences.min() < constraint < divergences.max()
    (value, output), _ = value_and_grad(constraint)(
        PARAMS, Rows(X, Bernoulli()), indices, key
    )
    for name in GmvaeTerms._fields:
        np.testing.assert_allclose(output.metrics[name], plain.metrics[name], rtol=1e-5)
    # Eq. (7) for every point, not for their mean.
    constrained = -np.maximum(divergences, constraint).mean()
    expected = terms.total.mean() - terms.cluster_prior.mean() + constrained
    np.testing.assert_allclose(output.metrics["objective"], expected, rtol=1e-4)
    assert value == -output.metrics["objective"]
    assert plain.metrics["objective"] - output.metrics["objective"] > 1e-2


def test_joint_reaches_the_loss():
    indices, key = jnp.arange(NUM_POINTS), jax.random.key(0)
    priors = [
        value_and_grad(joint=joint, logvar=NOISE, num_samples=4)(
            PARAMS, Rows(X, Bernoulli()), indices, key
        )[0][1].metrics
        for joint in (False, True)
    ]
    assert priors[0]["reconstruction"] == priors[1]["reconstruction"]
    difference = priors[0]["conditional_prior"] - priors[1]["conditional_prior"]
    assert abs(difference) > 1e-3


def test_rows_are_the_mean_probability_over_draws():
    """Of draws of z and of w: more of them are nearer to one another."""
    indices = jnp.zeros(200, jnp.int32)
    spreads, means = [], []
    for num_samples in (1, 16):
        (_, output), _ = value_and_grad(num_samples=num_samples, logvar=NOISE)(
            PARAMS, Rows(X, Bernoulli()), indices, jax.random.key(1)
        )
        probabilities = np.exp(output.rows)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
        spreads.append(probabilities.std(axis=0).max())
        means.append(probabilities.mean(axis=0))
    assert 0.15 * spreads[0] < spreads[1] < 0.4 * spreads[0]
    np.testing.assert_allclose(means[0], means[1], atol=5 * spreads[0] / np.sqrt(200))


def test_collections_pass_through_both_networks():
    loss = value_and_grad(num_samples=2)
    indices, key = jnp.arange(3), jax.random.key(0)
    (_, output), _ = loss(PARAMS, Rows(X, Bernoulli()), indices, key, COUNTS)
    assert {name: int(n) for name, n in output.collections.items()} == {
        "recognition": 1,
        "decoder": 1,
    }


def test_training_raises_the_bound_and_keeps_the_collections():
    class Recorder(Monitor):
        lines = ()

        def epoch_end(self, loop, epoch, num_epochs, state, metrics):
            assert loop == "train"
            self.lines += (metrics,)

    monitor = Recorder()
    state = optimize(
        "train",
        gmvae.GmvaeLoss(networks(NOISE), 4, information_constraint=0.0, joint=False),
        PARAMS,
        Rows(X, Bernoulli()),
        jax.random.key(0),
        Schedule(40, 3, 2e-2),
        num_points=NUM_POINTS,
        table=np.zeros((NUM_POINTS, NUM_CLUSTERS), np.float32),
        collections=COUNTS,
        monitor=monitor,
        describe=lambda state: {"steps": int(state.step)},
    )
    curve = [line["objective"] for line in monitor.lines]
    assert len(curve) == 40
    assert np.mean(curve[-5:]) > np.mean(curve[:5]) + 1.0
    assert [line["steps"] for line in monitor.lines] == list(range(2, 82, 2))
    assert {name: int(n) for name, n in state.collections.items()} == {
        "recognition": 80,
        "decoder": 80,
    }
    np.testing.assert_allclose(np.exp(state.table).sum(axis=1), 1.0, rtol=1e-5)
