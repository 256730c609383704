"""CatGAN: both losses by hand, what is IMSAT's in them, gradients, edges."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import special, stats

from dgg_jax.losses import catgan, imsat
from dgg_jax.losses.imsat import MutualInformation


def random_assignments(num_points=6, num_clusters=4, seed=0):
    logits = np.random.default_rng(seed).normal(size=(num_points, num_clusters))
    return special.log_softmax(logits, axis=1)


@jax.jit
def classifier_loss(log_assignments, generated):
    return catgan.classifier_loss(
        imsat.mutual_information(log_assignments), imsat.mutual_information(generated)
    )


@jax.jit
def generator_loss(generated):
    return catgan.generator_loss(imsat.mutual_information(generated))


def test_by_hand(x64):
    # Data: H(Y) = ln 2, H(Y | X) = 0, 0 and ln 2. Generated: (1/2, 1/2) and (1, 0).
    half = [-math.log(2)] * 2
    data = np.array([[0.0, -np.inf], [-np.inf, 0.0], half])
    generated = np.array([half, [0.0, -np.inf]])
    expected = -(math.log(2) - math.log(2) / 3) - math.log(2) / 2
    np.testing.assert_allclose(classifier_loss(data, generated), expected, rtol=1e-14)
    # H_G(Y) of (3/4, 1/4).
    marginal = 0.75 * math.log(4 / 3) + 0.25 * math.log(4)
    expected = -marginal + math.log(2) / 2
    np.testing.assert_allclose(generator_loss(generated), expected, rtol=1e-14)


def test_of_scipys_entropies(x64):
    data, generated = random_assignments(6), random_assignments(5, seed=1)
    p, q = np.exp(data), np.exp(generated)
    expected = (
        -stats.entropy(p.mean(axis=0))
        + stats.entropy(p, axis=1).mean()
        - stats.entropy(q, axis=1).mean()
    )
    np.testing.assert_allclose(classifier_loss(data, generated), expected, rtol=1e-12)
    expected = -stats.entropy(q.mean(axis=0)) + stats.entropy(q, axis=1).mean()
    np.testing.assert_allclose(generator_loss(generated), expected, rtol=1e-12)


def test_their_bounds_are_reached(x64):
    with np.errstate(divide="ignore"):
        sure = np.log(np.eye(4))
    unsure = np.full((2, 4), -math.log(4))
    np.testing.assert_allclose(classifier_loss(sure, unsure), -2 * math.log(4))
    np.testing.assert_allclose(generator_loss(sure), -math.log(4))
    np.testing.assert_allclose(generator_loss(unsure), 0.0, atol=1e-15)


def test_without_a_generator_the_gradient_is_that_of_imsats_information(x64):
    """Rows of which the classifier cannot be less sure leave IMSAT's at weights 1."""
    params = np.random.default_rng(2).normal(size=(3, 4))
    x = np.random.default_rng(3).normal(size=(5, 3))

    def classify(params, x):
        return jax.nn.log_softmax(x @ params)

    def of_catgan(params, generated):
        generated = imsat.mutual_information(classify(params, generated))
        return catgan.classifier_loss(
            imsat.mutual_information(classify(params, x)), generated
        )

    def of_imsat(params):
        information = imsat.mutual_information(classify(params, x))
        return imsat.objective(
            0.0, information, information_weight=1.0, marginal_weight=1.0
        )

    gradient = jax.jit(jax.grad(of_catgan))
    expected = jax.jit(jax.grad(of_imsat))(params)
    assert np.abs(expected).max() > 0.01
    without = gradient(params, np.zeros((2, 3)))
    np.testing.assert_allclose(without, expected, rtol=1e-12)
    with_one = gradient(params, np.ones((2, 3)))
    assert np.abs(with_one - expected).max() > 0.01


def test_the_adversaries_disagree_on_how_sure_to_be(x64):
    """Of generated rows: what lowers one loss by its entropy raises the other."""
    information = MutualInformation(1.2, 0.3)

    def at(entropy):
        return MutualInformation(1.0, entropy)

    slope = jax.jit(jax.grad(lambda e: catgan.classifier_loss(information, at(e))))
    assert slope(0.5) == -1.0
    assert jax.jit(jax.grad(lambda e: catgan.generator_loss(at(e))))(0.5) == 1.0


def test_gradients_match_differences(x64):
    logits = [np.random.default_rng(seed).normal(size=(4, 3)) for seed in (0, 1)]

    def of_logits(data, generated):
        return classifier_loss(
            jax.nn.log_softmax(data), jax.nn.log_softmax(generated)
        ) + 0.7 * generator_loss(jax.nn.log_softmax(generated))

    check_grads(jax.jit(of_logits), logits, order=1)


def test_one_hot_assignments_have_finite_gradients():
    log_q = jnp.log(jnp.eye(3)[jnp.array([0, 1, 1])])  # the third cluster is empty
    gradients = jax.jit(jax.grad(classifier_loss, (0, 1)))(log_q, log_q)
    assert np.isfinite(gradients).all()
    assert np.isfinite(jax.jit(jax.grad(generator_loss))(log_q)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(x64, dtype):
    shape = jax.ShapeDtypeStruct((5, 3), dtype)
    for value in (
        jax.eval_shape(classifier_loss, shape, shape),
        jax.eval_shape(generator_loss, shape),
    ):
        assert (value.shape, value.dtype) == ((), dtype)
