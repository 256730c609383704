"""Adam's staircase and coupled weight decay, step by step by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgg_jax.networks import COLUMNS
from dgg_jax.training import Rate, descent, schedules
from dgg_jax.training.schedules import descent_by_entry


def steps(optimizer, gradient, params, count):
    """Sizes of Adam's steps under a constant gradient: the rates."""
    update = jax.jit(optimizer.update)
    state, sizes = optimizer.init(params), []
    for _ in range(count):
        updates, state = update(gradient, state, params)
        sizes.append(-float(updates[0]))
    return np.array(sizes)


def test_staircase_by_hand():
    optimizer = descent(Rate(0.02, 0.9, 10), steps_per_epoch=3)
    rates = steps(optimizer, jnp.array([5.0]), jnp.array([1.0]), 62)
    np.testing.assert_allclose(rates[:30], 0.02, rtol=1e-3)
    np.testing.assert_allclose(rates[30:60], 0.018, rtol=1e-3)
    np.testing.assert_allclose(rates[60:], 0.0162, rtol=1e-3)


def test_the_rate_is_constant_by_default():
    rates = steps(
        descent(Rate(0.5), steps_per_epoch=1), jnp.array([5.0]), jnp.array([1.0]), 15
    )
    np.testing.assert_allclose(rates, 0.5, rtol=1e-3)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_weight_decay_joins_the_gradient(weight_decay):
    # 0.1 + 0.1 * -10 turns the sign of the first step; 1e-8 halves it, as epsilon.
    params = jnp.array([-10.0, 2.0, 1e-7])
    gradient = jnp.array([0.1, 0.0, 0.0])
    optimizer = descent(Rate(0.01), steps_per_epoch=1, weight_decay=weight_decay)
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    coupled = np.asarray(gradient) + weight_decay * np.asarray(params)
    expected = -0.01 * coupled / (np.abs(coupled) + 1e-8)
    np.testing.assert_allclose(updates, expected, rtol=1e-4)
    if weight_decay:
        np.testing.assert_allclose(updates, [0.01, -0.01, -0.005], rtol=1e-4)
    else:
        np.testing.assert_allclose(updates, [-0.01, 0.0, 0.0], rtol=1e-4)


def test_the_rate_stops_at_its_floor():
    optimizer = descent(Rate(0.1, 0.5, 2, floor=0.03), steps_per_epoch=1)
    rates = steps(optimizer, jnp.array([5.0]), jnp.array([1.0]), 8)
    expected = [0.1, 0.1, 0.05, 0.05, 0.03, 0.03, 0.03, 0.03]
    np.testing.assert_allclose(rates, expected, rtol=1e-3)


def test_few_parameters_are_one_vector_and_take_the_same_steps(monkeypatch):
    random = np.random.default_rng(0)
    shapes = {"kernel": (4, 3), "bias": (3,), "scale": ()}
    params, gradients = (
        {name: jnp.float32(random.standard_normal(s)) for name, s in shapes.items()}
        for _ in range(2)
    )

    def stepped():
        optimizer = descent(Rate(0.1), steps_per_epoch=1, weight_decay=0.1)
        state = optimizer.init(params)
        for _ in range(2):
            updates, state = optimizer.update(gradients, state, params)
        return updates, sorted(
            leaf.shape for leaf in jax.tree.leaves(state) if leaf.ndim
        )

    together, shapes_together = stepped()
    assert shapes_together == [(16,), (16,)]  # Adam's moments
    monkeypatch.setattr(schedules, "_FEW_PARAMETERS", 15)
    apart, shapes_apart = stepped()
    assert shapes_apart == [(3,), (3,), (4, 3), (4, 3)]
    for name, step in together.items():
        np.testing.assert_allclose(step, apart[name], rtol=1e-6)


@pytest.mark.parametrize("most", [0, 100])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_what_is_not_learned_stays_and_has_no_state(monkeypatch, most, optimizer):
    monkeypatch.setattr(schedules, "_FEW_PARAMETERS", most)
    learned = {"output": {"kernel": jnp.ones((3, 2))}, COLUMNS: {"bias": jnp.ones(7)}}
    fixed = {"axes": jnp.ones((2, 7))}
    decoder = learned | {COLUMNS: learned[COLUMNS] | fixed}
    rate = Rate(0.1, optimizer=optimizer)
    found = []
    for tree in ({"decoder": decoder}, {"decoder": learned}):
        optimizer = descent_by_entry(
            rate, {"mixture": Rate(0.01)}, steps_per_epoch=1, weight_decay=0.1
        )
        tree = tree | {"mixture": jnp.ones(3)}
        state = optimizer.init(tree)
        gradient = jax.tree.map(lambda leaf: 5.0 * leaf, tree)
        updates, state = optimizer.update(gradient, state, tree)
        sizes = sorted(np.size(leaf) for leaf in jax.tree.leaves(state))
        found.append((updates, [size for size in sizes if size > 1]))
    (updates, sizes), (alone, sizes_alone) = found
    np.testing.assert_array_equal(updates["decoder"][COLUMNS].pop("axes"), 0.0)
    jax.tree.map(np.testing.assert_array_equal, updates, alone)
    assert all(np.all(leaf < 0.0) for leaf in jax.tree.leaves(updates))
    assert sizes == sizes_alone


def test_entries_with_rates_of_their_own():
    params = {"networks": {"w": jnp.ones(2)}, "mixture": jnp.ones(3)}
    gradient = jax.tree.map(lambda leaf: 5.0 * leaf, params)
    optimizer = descent_by_entry(
        Rate(0.1), {"mixture": Rate(0.01, 0.5, 1)}, steps_per_epoch=1, weight_decay=-99
    )
    state = optimizer.init(params)
    for mixture_rate in (0.01, 0.005, 0.0025):
        updates, state = jax.jit(optimizer.update)(gradient, state, params)
        # The weight decay, large enough to turn the sign, is not the mixture's.
        np.testing.assert_allclose(updates["networks"]["w"], 0.1, rtol=1e-3)
        np.testing.assert_allclose(updates["mixture"], -mixture_rate, rtol=1e-3)


def test_sgd_has_a_momentum_and_the_staircase():
    """Erratum E20: what the released code trains Reuters by."""
    optimizer = descent(Rate(0.5, 0.1, 2, optimizer="sgd"), steps_per_epoch=1)
    params, steps = jnp.array([0.0]), []
    state = optimizer.init(params)
    for _ in range(4):
        update, state = optimizer.update(jnp.array([1.0]), state, params)
        steps.append(float(update[0]))
    momentum = [1.0, 1.9, 2.71, 3.439]  # sums of 0.9^t
    rates = [0.5, 0.5, 0.05, 0.05]
    expected = [-m * r for m, r in zip(momentum, rates, strict=True)]
    np.testing.assert_allclose(steps, expected, rtol=1e-5)
