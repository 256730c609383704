"""The loss of a link: hand numbers, gradients, and the edges where q is 0 or 1."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from dgg_jax.losses import links

A, B = np.log([0.7, 0.2, 0.1]), np.log([0.1, 0.6, 0.3])
SHARED = 0.7 * 0.1 + 0.2 * 0.6 + 0.1 * 0.3  # 0.22
ONE_HOT = np.array([[0.0, -np.inf, -np.inf], [-np.inf, 0.0, -np.inf]])
loss = jax.jit(links.link_loss)
gradient = jax.jit(jax.grad(links.link_loss, argnums=(0, 1)))


def test_by_hand(x64):
    np.testing.assert_allclose(loss(A, B, True), -np.log(0.22), rtol=1e-12)
    np.testing.assert_allclose(loss(A, B, False), -np.log(0.78), rtol=1e-12)
    at_a, at_b = gradient(A, B, True)  # minus the shares of 0.22, for both
    np.testing.assert_allclose(at_a, -np.array([0.07, 0.12, 0.03]) / 0.22)
    np.testing.assert_allclose(at_b, at_a)
    at_a, at_b = gradient(A, B, False)  # -q_a(k) (1 - q_b(k)) / 0.78
    np.testing.assert_allclose(at_a, -np.array([0.63, 0.08, 0.07]) / 0.78)
    np.testing.assert_allclose(at_b, -np.array([0.03, 0.48, 0.27]) / 0.78)


def test_gradient_matches_differences(x64):
    for together in (True, False):
        check_grads(lambda a, b, t=together: links.link_loss(a, b, t), (A, B), order=2)


@pytest.mark.parametrize("together", [True, False])
def test_neither_order_nor_names_of_clusters_matter(together):
    expected = loss(A, B, together)
    np.testing.assert_allclose(loss(B, A, together), expected, rtol=1e-6)
    for order in ([1, 2, 0], [2, 1, 0]):
        np.testing.assert_allclose(
            loss(A[order], B[order], together), expected, rtol=1e-6
        )


def test_certain_links_that_hold_cost_nothing():
    for a, b, together in ((0, 0, True), (0, 1, False)):
        assert loss(ONE_HOT[a], ONE_HOT[b], together) == 0.0
        for leaf in gradient(ONE_HOT[a], ONE_HOT[b], together):
            assert np.isfinite(leaf).all()


@pytest.mark.parametrize(("a", "b", "together"), [(0, 1, True), (0, 0, False)])
def test_certain_links_that_do_not_hold_have_a_finite_gradient(a, b, together):
    assert loss(ONE_HOT[a], ONE_HOT[b], together) > 1e3
    for leaf in gradient(ONE_HOT[a], ONE_HOT[b], together):
        assert np.isfinite(leaf).all()


def test_sure_assignments_lose_no_digits_and_are_still_pulled():
    """In float32, 1 less a product of 1 - e^-30 is 0."""
    sure = jax.nn.log_softmax(jnp.array([30.0, 0.0]))
    other = jax.nn.log_softmax(jnp.array([0.0, 200.0]))
    np.testing.assert_allclose(loss(sure, sure, False), 30.0 - np.log(2), rtol=1e-6)
    np.testing.assert_allclose(loss(sure, other, True), 30.0, rtol=1e-6)
    by_logits = jax.grad(
        lambda a: links.link_loss(jax.nn.log_softmax(a), other, together=True)
    )(jnp.array([200.0, 0.0]))
    np.testing.assert_allclose(by_logits, [0.5, -0.5], rtol=1e-6)


def test_maps_over_pairs_and_keeps_the_dtype(x64):
    found = jax.vmap(links.link_loss)(
        jnp.stack([A, A]), jnp.stack([B, B]), jnp.array([True, False])
    )
    np.testing.assert_allclose(found, -np.log([SHARED, 1.0 - SHARED]))
    narrow = loss(A.astype(np.float32), B.astype(np.float32), True)
    assert (found.dtype, narrow.dtype) == ("float64", "float32")
