"""Losses in turns against a loop in Python: what each learns, sees and keeps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgg_jax.checks import InvalidInput
from dgg_jax.placement.rows import HostRows
from dgg_jax.training import (
    Interrupted,
    Loss,
    Monitor,
    Rate,
    Run,
    Schedule,
    StepOutput,
    Turn,
    optimize,
)
from tests.trees import assert_same

X = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
PARAMS = {
    "u": np.float32([0.5, -1.0]),
    "v": np.float32(2.0),
    "w": np.float32(3.0),
    "constant": np.float32(7.0),
}
SCHEDULE = Schedule(3, 4, 0.1, decay=0.5, decay_epochs=2)


class Product(Loss):
    """sign * v * mean(x) u + u^2 + (v - w)^2, of which a turn learns a part."""

    def __init__(self, name, sign):
        self.name, self.sign = name, sign

    def __call__(self, params, data, indices, key):
        x = data[indices]
        u, v, w = params["u"], params["v"], params["w"]
        pull = self.sign * v * jnp.mean(x @ u)
        value = pull + jnp.sum(u**2) + (v - w) ** 2
        noise = jax.random.normal(key)
        told = {"loss": value, "noise": noise, "indices": indices[0]}
        return value, StepOutput({f"{self.name}_{k}": v for k, v in told.items()})


FIRST = Turn(Product("first", 1.0), ("u",))
SECOND = Turn(Product("second", -1.0), ("u", "v"), Rate(0.03))
THIRD = Turn(Product("third", 1.0), ("w",))
TURNS = FIRST, SECOND, THIRD


def train(loss, *, params=PARAMS, x=X, monitor=None, schedule=SCHEDULE, **more):
    return optimize(
        "toy",
        loss,
        params,
        x,
        more.pop("key", jax.random.key(0)),
        schedule,
        num_points=len(X),
        monitor=monitor or Monitor(),
        **more,
    )


class Lines(Monitor):
    def __init__(self):
        self.metrics = []

    def epoch_end(self, loop, epoch, num_epochs, state, metrics):
        self.metrics.append(metrics)


def test_turns_are_steps_of_optimisers_of_their_own():
    """By hand: Adam of each turn, what the one before has left, one batch for all."""
    monitor = Lines()
    schedule = SCHEDULE._replace(batch_size=8)  # a step an epoch, of all rows
    state = train(TURNS, monitor=monitor, schedule=schedule)
    u, v, w = (np.float64(PARAMS[name]) for name in "uvw")
    mean = X.mean(axis=0)
    rates = optax.exponential_decay(0.1, 2, 0.5, staircase=True)
    first, second, third = optax.adam(rates), optax.adam(0.03), optax.adam(rates)
    states = first.init(u), second.init((u, v)), third.init(w)
    for metrics in monitor.metrics:
        loss = v * mean @ u + u @ u + (v - w) ** 2
        assert metrics["first_loss"] == pytest.approx(loss, rel=1e-4)
        step, one = first.update(v * mean + 2 * u, states[0])
        u = u + np.asarray(step)
        loss = -v * mean @ u + u @ u + (v - w) ** 2
        assert metrics["second_loss"] == pytest.approx(loss, rel=1e-4)
        gradients = -v * mean + 2 * u, -mean @ u + 2 * (v - w)
        steps, two = second.update(gradients, states[1])
        u, v = u + np.asarray(steps[0]), v + float(steps[1])
        loss = v * mean @ u + u @ u + (v - w) ** 2
        assert metrics["third_loss"] == pytest.approx(loss, rel=1e-4)
        step, three = third.update(2 * (w - v), states[2])
        w = w + float(step)
        states = one, two, three
    np.testing.assert_allclose(state.params["u"], u, rtol=1e-4)
    np.testing.assert_allclose(state.params["v"], v, rtol=1e-4)
    np.testing.assert_allclose(state.params["w"], w, rtol=1e-4)
    assert state.params["constant"] == 7.0  # which no turn learns
    assert len(monitor.metrics) == int(state.step) == 3
    # Adam's two moments of u, of u and v, and of w.
    sizes = sorted(leaf.size for leaf in jax.tree.leaves(state.opt_state) if leaf.ndim)
    assert sizes == [1, 1, 2, 2, 3, 3]


def test_turns_share_their_batch_and_have_keys_of_their_own():
    monitor = Lines()
    train(TURNS, monitor=monitor)
    names = "first", "second", "third"
    for line in monitor.metrics:
        assert len({line[f"{name}_indices"] for name in names}) == 1
        assert len({line[f"{name}_noise"] for name in names}) == 3


def test_a_single_turn_of_all_entries_is_the_plain_loss():
    loss = Product("it", 1.0)
    plain = train(loss)
    turn = train((Turn(loss, tuple(PARAMS)),))
    assert_same(plain.params, turn.params)


@pytest.mark.parametrize("stop_after", [1, 2])
def test_a_resumed_run_ends_bit_equal(tmp_path, stop_after):
    def run(folder, should_stop=lambda: False):
        runner = Run(folder, checkpoint_seconds=0.0, should_stop=should_stop)

        def stage(state):
            trained = train(TURNS, monitor=runner)
            # The optimisers' too: the last step has left its mark in all of them.
            leaves = jax.tree.leaves(trained.opt_state)
            kept = {str(number): leaf for number, leaf in enumerate(leaves)}
            return {"params": trained.params, "optimisers": kept}, {}

        try:
            return runner.stage("train", stage, {}), runner.history
        finally:
            runner.close()

    expected = run(tmp_path / "whole")
    asked = []

    def should_stop():
        asked.append(1)
        return len(asked) == stop_after

    with pytest.raises(Interrupted):
        run(tmp_path / "resumed", should_stop)
    state, history = run(tmp_path / "resumed")
    assert_same(expected[0], state)
    assert history == expected[1]


class Counting(Loss):
    """Counts the calls in a collection, or leaves it alone."""

    def __init__(self, name, step):
        self.name, self.step = name, step

    def __call__(self, params, data, indices, key, collections):
        metrics = {self.name: collections["count"]}
        count = {"count": collections["count"] + self.step} if self.step else ()
        return jnp.sum(params["u"] ** 2), StepOutput(metrics, collections=count)


def test_collections_go_from_turn_to_turn():
    monitor = Lines()
    turns = tuple(
        Turn(Counting(name, step), ("u",))
        for name, step in (("a", 1), ("b", 0), ("c", 10))
    )
    state = train(
        turns,
        monitor=monitor,
        collections={"count": np.int32(0)},
        schedule=SCHEDULE._replace(batch_size=8),
    )
    assert int(state.collections["count"]) == 33
    assert monitor.metrics[1] == {"a": 11.0, "b": 12.0, "c": 12.0}


class Rows(Loss):
    """Puts a value into the table of its rows, or nothing."""

    def __init__(self, value):
        self.value = value

    def __call__(self, params, data, indices, key):
        told = {f"of {self.value}": params["v"]}
        rows = () if self.value is None else jnp.full(len(indices), self.value)
        return params["v"] ** 2, StepOutput(told, rows=rows)


def test_the_table_has_the_rows_of_the_last_turn_that_has_any():
    turns = tuple(Turn(Rows(value), ("v",)) for value in (1.0, 2.0, None))
    state = train(turns, table=np.zeros(len(X), np.float32))
    np.testing.assert_array_equal(state.table, 2.0)


def test_streamed_rows_reach_the_turn_that_takes_them():
    class Backwards(Product):
        def rows(self, data, indices, key):
            return indices[::-1]

        def __call__(self, params, data, indices, key):
            return super().__call__(params, data, indices[::-1], key)

    turns = Turn(Backwards("first", 1.0), ("u",)), SECOND
    expected = train(turns)
    state = train(turns, x=HostRows(X))
    for name in PARAMS:
        np.testing.assert_allclose(state.params[name], expected.params[name], rtol=1e-5)


def test_restarts_equal_separate_runs():
    keys = jax.random.split(jax.random.key(1), 2)
    stacked = jax.tree.map(lambda leaf: np.stack([leaf, -leaf]), PARAMS)
    together = train(TURNS, params=stacked, key=keys, restarts=True).params
    for number in range(2):
        params = jax.tree.map(lambda leaf, n=number: leaf[n], stacked)
        alone = train(TURNS, params=params, key=keys[number]).params
        for name in PARAMS:
            np.testing.assert_allclose(together[name][number], alone[name], rtol=1e-4)


def test_two_metrics_of_one_name_are_told():
    turns = FIRST, Turn(Product("first", -1.0), ("v",))
    with pytest.raises(InvalidInput, match="two turns have the same name, first_"):
        train(turns)
