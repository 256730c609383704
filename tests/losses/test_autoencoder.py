"""Masking noise, the reconstruction error and the plain VAE's ELBO."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from dgg_jax import distributions
from dgg_jax.likelihoods import LearnedVarianceGaussian
from dgg_jax.losses import autoencoder, dgg
from dgg_jax.types import ElboTerms, Gaussian, Mixture

jitted_elbo = jax.jit(dgg.elbo, static_argnums=6)
vae_elbo = jax.jit(autoencoder.vae_elbo, static_argnums=3)


def random_arguments(likelihood):
    rng = np.random.default_rng(0)
    x, mean, logvar = rng.uniform(size=4), *rng.normal(size=(2, 4))
    learned = isinstance(likelihood, LearnedVarianceGaussian)
    decoded = Gaussian(mean, logvar) if learned else mean
    return x, decoded, Gaussian(*rng.normal(size=(2, 3)))


@pytest.mark.parametrize("rate", [0.2, 0.7])
def test_corrupt_sets_the_share_to_zero_and_keeps_the_rest(rate):
    x = jnp.linspace(1.0, 2.0, 40_000).reshape(200, 200)
    corrupted = np.asarray(autoencoder.corrupt(x, jax.random.key(0), rate))
    dropped = corrupted == 0.0
    error = math.sqrt(rate * (1.0 - rate) / x.size)
    assert abs(dropped.mean() - rate) < 5.0 * error
    np.testing.assert_array_equal(corrupted[~dropped], np.asarray(x)[~dropped])
    # Features fall one by one, not whole rows or columns.
    for axis in (0, 1):
        spread = dropped.mean(axis=axis).std()
        assert spread == pytest.approx(math.sqrt(rate * (1 - rate) / 200), rel=0.3)


def test_corrupt_at_rate_zero_is_the_identity():
    x = jnp.linspace(-1.0, 1.0, 12).reshape(3, 4)
    np.testing.assert_array_equal(autoencoder.corrupt(x, jax.random.key(1), 0.0), x)


def test_corrupt_depends_on_the_key_alone():
    x, key = jnp.ones(100), jax.random.key(2)
    first, again = (autoencoder.corrupt(x, key, 0.5) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = autoencoder.corrupt(x, jax.random.key(3), 0.5)
    assert np.any(np.asarray(first) != np.asarray(other))


def test_squared_error_by_hand():
    x, reconstruction = jnp.array([1.0, 2.0, 3.0]), jnp.array([1.0, 0.0, 6.0])
    assert autoencoder.squared_error(x, reconstruction) == 6.5  # (0 + 4 + 9) / 2
    gradient = jax.grad(autoencoder.squared_error, argnums=1)(x, reconstruction)
    np.testing.assert_array_equal(gradient, [0.0, -2.0, 3.0])


def test_vae_elbo_is_the_mixture_elbo_of_one_standard_component(x64, likelihood):
    x, decoded, posterior = random_arguments(likelihood)
    standard = Mixture(np.zeros((1, 3)), np.zeros((1, 3)))
    expected = jitted_elbo(
        x, decoded, posterior, np.zeros(1), np.zeros(1), standard, likelihood
    )
    actual = vae_elbo(x, decoded, posterior, likelihood)
    np.testing.assert_allclose(actual, expected, rtol=1e-13)
    assert actual.cluster_prior == actual.cluster_entropy == 0.0


def test_vae_elbo_is_the_reconstruction_less_the_textbook_divergence(x64, likelihood):
    x, decoded, posterior = random_arguments(likelihood)
    mean, logvar = posterior
    divergence = 0.5 * np.sum(np.exp(logvar) + mean**2 - 1.0 - logvar)
    terms = vae_elbo(x, decoded, posterior, likelihood)
    np.testing.assert_allclose(
        terms.total, likelihood.log_prob(x, decoded) - divergence, rtol=1e-12
    )
    standard = Gaussian(np.zeros(3), np.zeros(3))
    np.testing.assert_allclose(
        distributions.gaussian_kl(posterior, standard), divergence, rtol=1e-12
    )


def test_vae_elbo_gradient_matches_differences(x64, likelihood):
    x, *arguments = random_arguments(likelihood)

    def total(decoded, posterior):
        return autoencoder.vae_elbo(x, decoded, posterior, likelihood).total

    check_grads(jax.jit(total), tuple(arguments), order=1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(x64, likelihood, dtype):
    x, decoded, posterior = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(np.shape(a), dtype), random_arguments(likelihood)
    )
    of_likelihood = functools.partial(autoencoder.vae_elbo, likelihood=likelihood)
    terms = jax.eval_shape(of_likelihood, x, decoded, posterior)
    assert isinstance(terms, ElboTerms)
    for term in terms:
        assert (term.shape, term.dtype) == ((), dtype)
    assert jax.eval_shape(autoencoder.squared_error, x, x).dtype == dtype
    corrupt = functools.partial(autoencoder.corrupt, rate=0.1)
    assert jax.eval_shape(corrupt, x, jax.random.key(0)).dtype == dtype
