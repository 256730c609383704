"""AAE: the adversarial losses by hand and by scipy, gradients, edges."""

import math

import jax
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import special

from dgg_jax.losses import aae

critic_loss = jax.jit(aae.critic_loss)
encoder_loss = jax.jit(aae.encoder_loss)


def test_by_hand(x64):
    # sigma(ln 3) = 3/4.
    value = critic_loss(math.log(3), -math.log(3))
    np.testing.assert_allclose(value, -2 * math.log(0.75), rtol=1e-14)
    value = critic_loss(-math.log(3), math.log(3))
    np.testing.assert_allclose(value, -2 * math.log(0.25), rtol=1e-14)
    np.testing.assert_allclose(encoder_loss(math.log(3)), -math.log(0.75), rtol=1e-14)
    np.testing.assert_allclose(critic_loss(0.0, 0.0), 2 * math.log(2), rtol=1e-14)
    np.testing.assert_allclose(encoder_loss(0.0), math.log(2), rtol=1e-14)


@pytest.mark.parametrize(("drawn", "encoded"), [(0.3, -2.0), (-4.0, 1.5), (30.0, 0.1)])
def test_of_scipys_logistic_function(x64, drawn, encoded):
    expected = -special.log_expit(drawn) - np.log1p(-special.expit(encoded))
    np.testing.assert_allclose(critic_loss(drawn, encoded), expected, rtol=1e-10)
    expected = -special.log_expit(encoded)
    np.testing.assert_allclose(encoder_loss(encoded), expected, rtol=1e-10)


def test_the_best_critic_knows_the_ratio_of_the_densities(x64):
    """Where drawn codes are three times as frequent, its log odds are ln 3."""

    def total(odds):
        # One of four codes there is encoded.
        return 0.75 * critic_loss(odds, -1e9) + 0.25 * critic_loss(1e9, odds)

    slope = jax.jit(jax.grad(total))
    np.testing.assert_allclose(slope(math.log(3)), 0.0, atol=1e-12)
    assert slope(1.0) < 0 < slope(1.2)


def test_the_adversaries_pull_to_other_sides(x64):
    of_critic = jax.jit(jax.grad(aae.critic_loss, (0, 1)))(0.5, 0.5)
    of_encoder = jax.jit(jax.grad(aae.encoder_loss))(0.5)
    assert of_critic[0] < 0 < of_critic[1]
    assert of_encoder < 0


def test_gradients_match_differences(x64):
    check_grads(critic_loss, (0.3, -0.7), order=2)
    check_grads(encoder_loss, (0.3,), order=2)


@pytest.mark.parametrize("odds", [-1e4, 0.0, 1e4])
def test_a_sure_critic_has_finite_losses_and_gradients(odds):
    for loss in (aae.encoder_loss, lambda odds: aae.critic_loss(odds, -odds)):
        value, slope = jax.jit(jax.value_and_grad(loss))(np.float32(odds))
        assert np.isfinite([value, slope]).all()
    # It moves an encoder that is found out with all its force.
    assert jax.grad(aae.encoder_loss)(-1e4) == -1.0
