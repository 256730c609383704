"""Evaluation in batches equals evaluation point by point."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgg_jax.likelihoods import Bernoulli
from dgg_jax.losses import autoencoder, dgg
from dgg_jax.networks import Networks
from dgg_jax.stages import evaluate
from dgg_jax.types import ElboTerms, Gaussian, Mixture
from tests.trees import differ

NUM_POINTS, NUM_FEATURES, NUM_LATENT, NUM_CLUSTERS, DRAWS = 11, 4, 2, 3, 3
LIKELIHOOD = Bernoulli()
LOG_WEIGHTS = np.log(np.array([0.5, 0.3, 0.2], np.float32))


def linear_networks():
    """Linear apply functions; new ones, for which nothing is compiled yet."""
    return Networks(
        lambda params, x: Gaussian(x @ params["mean"], x @ params["logvar"]),
        lambda params, z: z @ params,
        lambda params, z: jax.nn.log_softmax(z @ params["classifier"]),
    )


@pytest.fixture(scope="module")
def model():
    """Parameters and data."""
    rng = np.random.default_rng(0)

    def random(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    params = {
        "encoder": {
            "mean": random(NUM_FEATURES, NUM_LATENT),
            "logvar": random(NUM_FEATURES, NUM_LATENT),
        },
        "decoder": random(NUM_LATENT, NUM_FEATURES),
        "classifier": random(NUM_LATENT, NUM_CLUSTERS),
        "mixture": Mixture(
            random(NUM_CLUSTERS, NUM_LATENT), random(NUM_CLUSTERS, NUM_LATENT)
        ),
    }
    return params, rng.random((NUM_POINTS, NUM_FEATURES)).astype(np.float32)


@pytest.mark.parametrize("batch", [4, 11, 1000])
def test_infer_equals_a_direct_application(model, monkeypatch, batch):
    monkeypatch.setattr(evaluate, "_BATCH", batch)
    params, x = model
    networks = linear_networks()
    posterior, log_assignment = evaluate.infer(networks, params, x)
    expected = networks.encode(params["encoder"], x)
    np.testing.assert_allclose(posterior.mean, expected.mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(posterior.logvar, expected.logvar, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        log_assignment,
        networks.classify(params, expected.mean),
        rtol=1e-5,
        atol=1e-6,
    )
    embedded = evaluate.encode_all(lambda w, x: x @ w["mean"], params["encoder"], x)
    np.testing.assert_allclose(embedded, expected.mean, rtol=1e-5, atol=1e-6)


def test_batches_bound_what_is_held_at_once(model, monkeypatch):
    monkeypatch.setattr(evaluate, "_BATCH", 4)
    params, x = model

    def encode_all(x):
        return evaluate.encode_all(lambda w, x: x @ w["mean"], params["encoder"], x)

    program = str(jax.make_jaxpr(encode_all)(np.tile(x[:10], (4, 1))))
    assert re.findall(r"f32\[(\d+),2\] = dot_general", program) == ["4"]


def mean_terms(networks, params, x, draws=DRAWS, key=5, log_assignments=None):
    terms = evaluate.elbo_terms(
        networks,
        LIKELIHOOD,
        params,
        LOG_WEIGHTS,
        x,
        jax.random.key(key),
        draws,
        log_assignments,
    )
    return jax.tree.map(jnp.mean, terms)


def loop_terms(params, x, draws=DRAWS, key=5, log_assignments=None):
    """The same in Python, one point and one draw after the other."""
    networks = linear_networks()
    elbo = jax.jit(dgg.elbo, static_argnames="likelihood")
    totals = []
    for i, point in enumerate(x):
        mean, logvar = networks.encode(params["encoder"], point)
        for drawn in jax.random.split(jax.random.key(key), draws):
            own = evaluate.row_key(drawn, jnp.asarray(point))
            eps = jax.random.normal(own, (NUM_LATENT,))
            z = mean + np.exp(0.5 * logvar) * eps
            decoded = networks.decode(params["decoder"], z)
            posterior = Gaussian(mean, logvar)
            if "mixture" not in params:
                terms = autoencoder.vae_elbo(point, decoded, posterior, LIKELIHOOD)
            else:
                gamma = networks.classify(params, z)
                if log_assignments is not None:
                    gamma = log_assignments[i]
                arguments = (point, decoded, posterior, gamma, LOG_WEIGHTS)
                terms = elbo(*arguments, params["mixture"], LIKELIHOOD)
            totals.append(np.array(terms))
    return ElboTerms(*np.mean(totals, axis=0))


def assert_close(terms, expected):
    for name in ElboTerms._fields:
        np.testing.assert_allclose(
            getattr(terms, name), getattr(expected, name), rtol=1e-4, err_msg=name
        )


def test_a_row_draws_by_its_own_values_alone(model):
    key = jax.random.key(3)

    def elbo(x):
        terms = evaluate.elbo_terms(
            linear_networks(), LIKELIHOOD, params, LOG_WEIGHTS, x, key, DRAWS
        )
        return np.asarray(terms.total)

    params, x = model[0], np.asarray(model[1])
    together = elbo(x)
    assert together.shape == (len(x),)
    assert len(np.unique(together)) == len(x)
    np.testing.assert_allclose(elbo(x[::-1])[::-1], together, rtol=1e-6)
    np.testing.assert_allclose(elbo(x[2:4]), together[2:4], rtol=1e-6)


def test_rows_that_hardly_differ_have_other_keys():
    rows = np.eye(40, 30, dtype=np.float32)[:, ::-1]  # the last ten are zeros
    rows = np.concatenate([rows, 2 * rows[:5], -rows[:5]])
    keys = jax.vmap(evaluate.row_key, (None, 0))(jax.random.key(0), rows)
    words = np.asarray(jax.random.key_data(keys))
    assert len(np.unique(words, axis=0)) == len(np.unique(rows, axis=0)) == 41
    assert differ(
        words,
        jax.random.key_data(
            jax.vmap(evaluate.row_key, (None, 0))(jax.random.key(1), rows)
        ),
    )


@pytest.mark.parametrize("batch", [4, 1000])
def test_elbo_terms_equal_a_loop(model, monkeypatch, batch):
    monkeypatch.setattr(evaluate, "_BATCH", batch)
    assert_close(mean_terms(linear_networks(), *model), loop_terms(*model))


def test_elbo_terms_with_fixed_assignments(model):
    logits = np.random.default_rng(1).standard_normal((NUM_POINTS, NUM_CLUSTERS))
    fixed = np.asarray(jax.nn.log_softmax(logits.astype(np.float32)))
    terms = mean_terms(linear_networks(), *model, log_assignments=fixed)
    assert_close(terms, loop_terms(*model, log_assignments=fixed))
    entropy = -np.mean(np.sum(np.exp(fixed) * fixed, axis=1))
    assert terms.cluster_entropy == pytest.approx(entropy, rel=1e-5)


def test_elbo_terms_without_a_mixture_are_the_vaes(model):
    params, x = model
    params = {name: params[name] for name in ("encoder", "decoder")}
    terms = mean_terms(linear_networks(), params, x)
    assert_close(terms, loop_terms(params, x))
    assert terms.cluster_prior == terms.cluster_entropy == 0.0


def test_draws_are_a_function_of_the_key_and_average_out(model):
    networks = linear_networks()
    first = mean_terms(networks, *model).reconstruction
    assert first == mean_terms(networks, *model).reconstruction
    others = [mean_terms(networks, *model, key=key).reconstruction for key in range(8)]
    assert len({float(value) for value in others}) == 8
    many = [
        mean_terms(networks, *model, draws=60, key=key).reconstruction
        for key in range(8)
    ]
    assert np.std(many) < 0.6 * np.std(others)


def test_global_log_weights_are_the_mean_gamma():
    log_assignments = jnp.log(jnp.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]]))
    log_weights = evaluate.global_log_weights(log_assignments)
    np.testing.assert_allclose(np.exp(log_weights), [0.55, 0.45, 0.0], rtol=1e-6)


def test_global_log_weights_are_the_weighted_mean_gamma():
    log_assignments = jnp.log(jnp.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]]))
    log_weights = evaluate.global_log_weights(log_assignments, np.array([0.5, 1.5]))
    np.testing.assert_allclose(np.exp(log_weights), [0.375, 0.625, 0.0], rtol=1e-6)


def test_label_metrics():
    truth = np.array([0, 0, 1, 1])
    perfect = evaluate.label_metrics(truth, np.array([1, 1, 0, 0]))
    assert perfect == {"accuracy": 1.0, "nmi": pytest.approx(1.0), "ari": 1.0}
    half = evaluate.label_metrics(truth, np.array([0, 1, 0, 1]))
    assert half["accuracy"] == 0.5
    assert half["ari"] < 0.0
    assert evaluate.label_metrics(None, truth) == {
        "accuracy": None,
        "nmi": None,
        "ari": None,
    }


def test_elbo_metrics_are_floats_with_their_total():
    terms = ElboTerms(*(jnp.float32(value) for value in (-4.0, -2.0, 1.5, -0.5, 0.25)))
    metrics = evaluate.elbo_metrics(terms)
    assert metrics == {
        "elbo": -4.75,
        "reconstruction": -4.0,
        "latent_prior": -2.0,
        "latent_entropy": 1.5,
        "cluster_prior": -0.5,
        "cluster_entropy": 0.25,
    }
    assert all(type(value) is float for value in metrics.values())
