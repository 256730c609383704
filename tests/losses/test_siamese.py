"""The contrastive loss: hand numbers, both branches and the gradient at the edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from dgg_jax.losses import siamese

A, B = jnp.array([1.0, 2.0]), jnp.array([1.6, 2.8])  # at distance 1
loss = jax.jit(siamese.contrastive_loss)
gradient = jax.jit(jax.grad(siamese.contrastive_loss, argnums=(0, 1)))


def test_positive_pair_by_hand():
    np.testing.assert_allclose(loss(A, B, True), 1.0, rtol=1e-6)
    np.testing.assert_allclose(loss(2.0 * A, 2.0 * B, True), 4.0, rtol=1e-6)
    at_a, at_b = gradient(A, B, True)  # 2 (a - b)
    np.testing.assert_allclose(at_a, [-1.2, -1.6], rtol=1e-6)
    np.testing.assert_allclose(at_b, [1.2, 1.6], rtol=1e-6)


def test_negative_pair_by_hand():
    np.testing.assert_allclose(loss(A, B, False), 4.0, rtol=1e-6)  # (3 - 1)^2
    np.testing.assert_allclose(loss(A, B, False, 1.5), 0.25, rtol=1e-6)
    at_a, at_b = gradient(A, B, False)  # -2 (3 - d) (a - b) / d
    np.testing.assert_allclose(at_a, [2.4, 3.2], rtol=1e-5)
    np.testing.assert_allclose(at_b, [-2.4, -3.2], rtol=1e-5)


def test_the_squared_distance_is_enough():
    squared = jnp.array([[0.0, 1.0], [4.0, 16.0]])
    losses = siamese.loss_of_squared_distance(squared, jnp.zeros((2, 2), bool))
    np.testing.assert_allclose(losses, [[9.0, 4.0], [1.0, 0.0]], rtol=1e-6)
    losses = siamese.loss_of_squared_distance(squared, jnp.eye(2, dtype=bool), 5.0)
    np.testing.assert_allclose(losses, [[0.0, 16.0], [9.0, 16.0]], rtol=1e-6)


@pytest.mark.parametrize("margin", [0.5, 3.0, 10.0])
def test_both_branches_match_the_printed_formula(x64, margin):
    # Supplement eq. (19) on embeddings: l d^2 + (1 - l) max(c - d, 0)^2.
    rng = np.random.default_rng(0)
    for a, b, positive in zip(*rng.normal(size=(2, 10, 4)), [0, 1] * 5, strict=True):
        distance = np.linalg.norm(a - b)
        hinge = max(margin - distance, 0.0) ** 2
        printed = positive * distance**2 + (1 - positive) * hinge
        np.testing.assert_allclose(
            loss(a, b, bool(positive), margin), printed, rtol=1e-12
        )


def test_negative_pair_beyond_the_margin_is_left_alone():
    far = A + 4.0
    assert loss(A, far, False) == 0.0
    for leaf in gradient(A, far, False):
        np.testing.assert_array_equal(leaf, 0.0)


@pytest.mark.parametrize(("positive", "expected"), [(True, 0.0), (False, 9.0)])
def test_identical_pair_has_a_finite_gradient(positive, expected):
    assert loss(A, A, positive) == expected
    for leaf in gradient(A, A, positive):
        np.testing.assert_array_equal(leaf, 0.0)


def test_nearly_identical_negative_pair_is_pushed_apart_at_full_strength():
    near = A + jnp.array([1e-6, 0.0])
    at_a, _ = gradient(A, near, False)
    np.testing.assert_allclose(at_a, [6.0, 0.0], rtol=1e-4)


def test_gradient_matches_differences(x64):
    for positive in (True, False):
        check_grads(
            lambda a, b, positive=positive: loss(a, b, positive),
            (np.asarray(A, float), np.asarray(B, float)),
            order=1,
        )


def test_loss_is_symmetric_and_maps_over_pairs():
    assert loss(A, B, False) == loss(B, A, False)
    batch = jax.vmap(siamese.contrastive_loss)(
        jnp.stack([A, A]), jnp.stack([B, B]), jnp.array([True, False])
    )
    np.testing.assert_allclose(batch, [1.0, 4.0], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(x64, dtype):
    a = jax.ShapeDtypeStruct((2,), dtype)
    positive = jax.ShapeDtypeStruct((), bool)
    result = jax.eval_shape(siamese.contrastive_loss, a, a, positive)
    assert (result.shape, result.dtype) == ((), dtype)
