"""The compiled epoch against a loop in Python, and what a run may rely on."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgg_jax.training import (
    Diverged,
    Monitor,
    Schedule,
    StepOutput,
    compile_epoch,
    fit,
    loop,
    optimize,
)
from dgg_jax.training.loop import compile_prepare, steps_per_epoch
from dgg_jax.training.state import create_state

NUM_POINTS, BATCH_SIZE = 11, 3


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((NUM_POINTS, 2)).astype(np.float32)
    return x, (x @ np.array([1.0, -2.0], np.float32))


PARAMS = {"w": np.array([0.3, 0.1], np.float32)}
OPTIMIZER = optax.adam(0.1)


def loss(params, data, indices, key):
    """Noisy least squares; the table keeps each point's prediction."""
    x, y = data
    noise = jax.random.normal(key, indices.shape)
    predicted = x[indices] @ params["w"]
    value = jnp.mean((predicted + 0.1 * noise - y[indices]) ** 2)
    metrics = {"loss": value, "indices": indices, "noise": noise}
    return value, StepOutput(metrics, rows=predicted)


def scalar_loss(params, data, indices, key):
    value, output = loss(params, data, indices, key)
    return value, output._replace(metrics={"loss": value})


def new_state(params=PARAMS):
    return create_state(params, OPTIMIZER, np.full(NUM_POINTS, 7.0, np.float32))


def compiled(loss=scalar_loss, batch_size=BATCH_SIZE, **settings):
    return compile_epoch(
        loss, OPTIMIZER, num_points=NUM_POINTS, batch_size=batch_size, **settings
    )


@pytest.fixture(scope="module")
def epoch():
    return compiled()


@pytest.fixture(scope="module")
def telling_epoch():
    """An epoch whose metrics tell batches and noise."""
    return compiled(loss)


class Memory(Monitor):
    """Keeps every epoch in memory; interrupts after one on request."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.saved = {}
        self.lines = []

    def restore(self, loop, state):
        if loop not in self.saved:
            return state, 0
        saved, epoch = self.saved[loop]
        return jax.tree.map(jnp.array, saved), epoch

    def epoch_end(self, loop, epoch, num_epochs, state, metrics):
        self.saved[loop] = jax.tree.map(np.array, state), epoch
        self.lines.append((loop, epoch, num_epochs, metrics))
        if epoch == self.stop_after:
            raise KeyboardInterrupt


def assert_equal(tree, other):
    jax.tree.map(np.testing.assert_array_equal, tree, other)


def test_an_epoch_is_a_loop_of_optimiser_steps(telling_epoch, data):
    x, y = data
    state, metrics = telling_epoch(new_state(), data, jax.random.key(0))
    batches = np.asarray(metrics["indices"])
    assert batches.shape == (3, BATCH_SIZE)
    assert len(set(batches.ravel().tolist())) == 9  # none twice
    assert set(batches.ravel().tolist()) <= set(range(NUM_POINTS))

    w, opt_state = PARAMS["w"], OPTIMIZER.init(PARAMS["w"])
    table = np.full(NUM_POINTS, 7.0, np.float32)
    for index, (batch, noise) in enumerate(
        zip(batches, np.asarray(metrics["noise"]), strict=True)
    ):
        residual = x[batch] @ w + 0.1 * noise - y[batch]
        value = np.mean(residual**2)
        np.testing.assert_allclose(metrics["loss"][index], value, rtol=1e-5)
        gradient = 2.0 * residual @ x[batch] / BATCH_SIZE
        table[batch] = x[batch] @ w
        updates, opt_state = OPTIMIZER.update(gradient, opt_state)
        w = w + np.asarray(updates)
    np.testing.assert_allclose(state.params["w"], w, rtol=1e-4)
    np.testing.assert_allclose(state.table, table, rtol=1e-4, atol=1e-5)
    assert int(state.step) == 3
    assert state.step.dtype == jnp.int32
    # The points of no batch keep their rows.
    assert np.count_nonzero(np.asarray(state.table) == 7.0) == 2


def test_epochs_shuffle_anew_and_every_step_has_its_own_noise(telling_epoch, data):
    key = jax.random.key(0)
    state, first = telling_epoch(new_state(), data, key)
    _, second = telling_epoch(state, data, key)
    assert (first["indices"] != second["indices"]).any()
    noise = np.concatenate([first["noise"], second["noise"]]).ravel()
    assert len(np.unique(noise)) == len(noise)


def test_keys_decide_batches_and_noise(telling_epoch, data):
    _, first = telling_epoch(new_state(), data, jax.random.key(0))
    _, again = telling_epoch(new_state(), data, jax.random.key(0))
    _, other = telling_epoch(new_state(), data, jax.random.key(1))
    assert_equal(first, again)
    assert (first["indices"] != other["indices"]).any()
    assert (first["noise"] != other["noise"]).all()


@pytest.mark.parametrize(
    ("num_points", "batch_size", "steps"),
    [(11, 3, 3), (12, 3, 4), (2, 3, 1), (3, 3, 1)],
)
def test_steps_per_epoch(num_points, batch_size, steps):
    assert steps_per_epoch(num_points, batch_size) == steps


def test_a_batch_larger_than_the_data_is_all_of_them(data):
    epoch = compiled(loss, batch_size=100)
    _, metrics = epoch(new_state(), data, jax.random.key(0))
    assert metrics["indices"].shape == (1, NUM_POINTS)
    assert sorted(metrics["indices"][0].tolist()) == list(range(NUM_POINTS))


def test_prepare_sees_the_table_at_the_start_of_each_epoch(data):
    def loss(params, prepared, indices, key):
        (x, _), total = prepared
        predicted = x[indices] @ params["w"]
        metrics = {"total": total}
        return jnp.sum(params["w"] ** 2), StepOutput(metrics, rows=predicted)

    prepared = compile_prepare(
        lambda state, factor: factor * jnp.sum(state.table), num_points=NUM_POINTS
    )
    monitor = Memory()
    sums = []

    def prepare(state):
        sums.append(float(np.sum(state.table)))
        return prepared(state, 2.0)

    arguments = "toy", compiled(loss), new_state(), data, jax.random.key(0), 2
    fit(*arguments, monitor=monitor, prepare=prepare)
    assert sums[0] == 7.0 * NUM_POINTS != sums[1]
    found = [metrics["total"] for *_, metrics in monitor.lines]
    np.testing.assert_allclose(found, [2.0 * total for total in sums], rtol=1e-6)


def test_an_epoch_serves_all_that_its_data_are_prepared_from():
    """Its program does not depend on the shapes of a graph."""
    traces = []

    def loss(params, data, indices, key):
        traces.append(1)
        x, total = data
        value = jnp.mean((x[indices] @ params["w"] - total) ** 2)
        return value, StepOutput({"loss": value})

    def prepare(state, numbers):
        return jnp.sum(numbers)

    x = np.ones((NUM_POINTS, 2), np.float32)
    for count in (3, 4, 5):
        optimize(
            "toy",
            loss,
            PARAMS,
            x,
            jax.random.key(0),
            Schedule(1, BATCH_SIZE, 0.1),
            num_points=NUM_POINTS,
            monitor=Monitor(),
            prepare=prepare,
            prepared_from=np.ones(count, np.float32),
        )
    assert len(traces) == 1


def test_collections_reach_the_loss_and_the_next_step(data):
    def loss(params, data, indices, key, collections):
        count = collections["count"] + 1
        output = StepOutput({"count": count}, collections={"count": count})
        return jnp.sum(params["w"] ** 2), output

    state = create_state(PARAMS, OPTIMIZER, collections={"count": np.int32(4)})
    state, metrics = compiled(loss)(state, data, jax.random.key(0))
    num_steps = steps_per_epoch(NUM_POINTS, BATCH_SIZE)
    np.testing.assert_array_equal(metrics["count"], 5 + np.arange(num_steps))
    assert int(state.collections["count"]) == 4 + num_steps


def test_fit_logs_the_mean_of_every_epoch(epoch, data):
    monitor = Memory()
    key = jax.random.key(0)
    last = fit(
        "toy",
        epoch,
        new_state(),
        data,
        key,
        3,
        monitor=monitor,
        describe=lambda state: {"steps": int(state.step)},
    )
    assert [line[:3] for line in monitor.lines] == [
        ("toy", 1, 3),
        ("toy", 2, 3),
        ("toy", 3, 3),
    ]
    state = new_state()
    for line in monitor.lines:
        state, metrics = epoch(state, data, key)
        assert line[3] == {
            "loss": pytest.approx(float(np.mean(metrics["loss"]))),
            "steps": int(state.step),
        }
    assert_equal(state, last)


def test_fit_lowers_the_loss(epoch, data):
    monitor = Memory()
    fit("toy", epoch, new_state(), data, jax.random.key(0), 20, monitor=monitor)
    assert monitor.lines[-1][3]["loss"] < 0.1 * monitor.lines[0][3]["loss"]


def test_no_epoch_but_the_first_is_traced(data):
    traces = []

    def counted(*arguments):
        traces.append(1)
        return scalar_loss(*arguments)

    class Counting(Memory):
        def epoch_end(self, *arguments):
            counts.append(len(traces))

    counts = []
    epoch = compiled(counted)
    for seed in (0, 1):
        key = jax.random.key(seed)
        fit("toy", epoch, new_state(), data, key, 3, monitor=Counting())
    assert counts[0] >= 1
    assert counts == [counts[0]] * 6


def test_restarts_equal_separate_runs(epoch, data):
    params = [PARAMS, {"w": np.array([-1.0, 2.0], np.float32)}]
    keys = jax.random.split(jax.random.key(5), 2)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *params)
    state = jax.vmap(new_state)(stacked)
    together = Memory()
    state = fit("toy", compiled(restarts=True), state, data, keys, 2, monitor=together)
    for index in range(2):
        alone = Memory()
        single = fit(
            "toy", epoch, new_state(params[index]), data, keys[index], 2, monitor=alone
        )
        jax.tree.map(
            lambda many, one, index=index: np.testing.assert_allclose(
                many[index], one, rtol=1e-4, atol=1e-6
            ),
            state,
            single,
        )
        for line, expected in zip(together.lines, alone.lines, strict=True):
            assert line[3]["loss"][index] == pytest.approx(expected[3]["loss"], 1e-4)
    assert (state.params["w"][0] != state.params["w"][1]).any()


def test_restarts_may_have_data_of_their_own(epoch, data):
    x, y = data
    targets = np.stack([y, -y])
    keys = jax.random.split(jax.random.key(5), 2)
    params = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), PARAMS)
    many = compiled(restarts=True, data_axes=(None, 0))
    state, _ = many(jax.vmap(new_state)(params), (x, targets), keys)
    single, _ = epoch(new_state(), (x, -y), keys[1])
    np.testing.assert_allclose(state.params["w"][1], single.params["w"], rtol=1e-4)


def test_a_single_restart_is_computed_without_its_axis(data):
    x, y = data
    many = compiled(restarts=True, data_axes=(None, 0))
    stacked = jax.tree.map(lambda leaf: leaf[None], new_state())
    arguments = stacked, (x, y[None]), jax.random.key(5)[None]
    # Products with an axis of length 1 are slow.
    assert ", ([0], [0])" not in str(many.trace(*arguments).jaxpr)
    state, metrics = many(*arguments)
    expected = compiled()(new_state(), data, jax.random.key(5))
    jax.tree.map(
        lambda one, alone: np.testing.assert_array_equal(one[0], alone),
        (state, metrics),
        expected,
    )


def test_weights_are_updated_in_place():
    def loss(params, x, indices, key):
        hidden = jax.nn.relu(x[indices] @ params["a"])
        value = jnp.mean((hidden @ params["b"]) ** 2)
        return value, StepOutput({"loss": value})

    # Weights that both directions of the network read are what was copied.
    params = {"a": np.ones((5, 6), np.float32), "b": np.ones((6, 7), np.float32)}
    epoch = compiled(loss)
    state = create_state(params, OPTIMIZER)
    x = np.ones((NUM_POINTS, 5), np.float32)
    program = epoch.lower(state, x, jax.random.key(0)).compile().as_text()
    assert "f32[6,7]" in program
    assert not re.search(r"= f32\[6,7\]\S* copy\(", program)


@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_resumed_run_ends_bit_equal(epoch, data, stop_after):
    arguments = ("toy", epoch), (data, jax.random.key(3), 4)
    uninterrupted = Memory()
    expected = fit(*arguments[0], new_state(), *arguments[1], monitor=uninterrupted)

    monitor = Memory(stop_after=stop_after)
    with pytest.raises(KeyboardInterrupt):
        fit(*arguments[0], new_state(), *arguments[1], monitor=monitor)
    monitor.stop_after = None
    other = {"w": np.array([9.0, 9.0], np.float32)}
    resumed = fit(*arguments[0], new_state(other), *arguments[1], monitor=monitor)
    assert_equal(resumed, expected)
    assert monitor.lines == uninterrupted.lines


@pytest.mark.parametrize("stop_after", [None, 2])
def test_a_loop_ends_once_it_has_converged(epoch, data, stop_after):
    """What it goes by are the metrics of all its epochs, resumed or not."""

    class Remembering(Memory):
        def epochs_of(self, loop):
            return [metrics for *_, metrics in self.lines]

    def converged(epochs):
        assert all("loss" in one for one in epochs)
        return len(epochs) == 3

    def run(monitor):
        arguments = ("toy", epoch, new_state(), data, jax.random.key(3), 9)
        return fit(*arguments, monitor=monitor, converged=converged)

    monitor = Remembering(stop_after=stop_after)
    if stop_after:
        with pytest.raises(KeyboardInterrupt):
            run(monitor)
        monitor.stop_after = None
    run(monitor)
    assert [line[1] for line in monitor.lines] == [1, 2, 3]


def test_a_table_of_clusters_says_how_many_rows_went_to_another_one():
    """Every point has cluster 0 before, those of even number 1 after it."""

    def loss(params, data, indices, key):
        rows = jnp.where((indices % 2 == 0)[:, None], jnp.array([0.0, 1.0]), 0.0)
        return jnp.sum(params["w"]), StepOutput({}, rows=rows)

    table = np.tile(np.float32([1.0, 0.0]), (NUM_POINTS, 1))
    epoch = compile_epoch(loss, OPTIMIZER, num_points=NUM_POINTS, batch_size=NUM_POINTS)
    state = create_state(PARAMS, OPTIMIZER, table)
    data = np.zeros(NUM_POINTS, np.float32)
    state, first = epoch(state, data, jax.random.key(0))
    _, second = epoch(state, data, jax.random.key(0))
    share = len(range(0, NUM_POINTS, 2)) / NUM_POINTS
    np.testing.assert_allclose(first["moved"], [share], rtol=1e-6)
    np.testing.assert_array_equal(second["moved"], [0.0])


def test_a_finished_loop_trains_no_more(data):
    def epoch(*arguments):
        raise AssertionError("trained")

    monitor = Memory()
    saved = new_state()
    monitor.saved["toy"] = jax.tree.map(np.array, saved), 4
    state = fit("toy", epoch, saved, data, jax.random.key(0), 4, monitor=monitor)
    assert_equal(state, saved)


def test_the_idle_monitor():
    monitor = Monitor()
    state = new_state()
    assert monitor.restore("toy", state) == (state, 0)
    arrays = {"a": np.ones(2)}
    assert monitor.remember("arrays", lambda: arrays) is arrays


def test_the_state_is_donated_and_the_callers_parameters_stay(epoch, data):
    params = {"w": jnp.array([0.3, 0.1])}
    table = jnp.full(NUM_POINTS, 7.0)
    state = create_state(params, OPTIMIZER, table)
    epoch(state, data, jax.random.key(0))
    assert state.params["w"].is_deleted()
    np.testing.assert_array_equal(params["w"], PARAMS["w"])
    np.testing.assert_array_equal(table, 7.0)


def descending(params, data, indices, key):
    """The parameter falls by 1 a step from 2.5: its logarithm is NaN at the fourth."""
    value = jnp.sum(params["w"])
    metrics = {"loss": value, "term": jnp.log(value), "fine": value}
    return value, StepOutput(metrics)


def descend(start, restarts=False, loss=descending):
    optimizer = optax.sgd(1.0)
    epoch = compile_epoch(
        loss, optimizer, num_points=4, batch_size=2, restarts=restarts
    )
    params = {"w": jnp.asarray(start)}
    keys = jax.random.key(0)
    if restarts:
        state = jax.vmap(lambda params: create_state(params, optimizer))(params)
        keys = jax.random.split(keys, len(start))
    else:
        state = create_state(params, optimizer)
    monitor = Memory()
    with pytest.raises(Diverged) as error:
        fit("toy", epoch, state, np.zeros(4), keys, 5, monitor=monitor)
    return str(error.value), monitor


def test_diverged_names_loop_epoch_step_and_metric():
    message, monitor = descend(2.5)
    assert message == "term is not finite at step 2 of 2 in epoch 2 of toy"
    # What the monitor saw last is sound.
    state, epoch = monitor.saved["toy"]
    assert epoch == 1
    assert state.params["w"] == 0.5


def test_diverged_names_the_first_step_of_any_restart():
    message, _ = descend(np.array([9.5, 1.5], np.float32), restarts=True)
    assert message == "term is not finite at step 1 of 2 in epoch 2 of toy"


@pytest.mark.parametrize("total", ["loss", "objective"])
def test_diverged_names_the_term_and_not_the_total_it_spoils(total):
    def loss(params, data, indices, key):
        value = jnp.sum(params["w"])
        term = jnp.log(value)
        metrics = {total: term + value, "reconstruction": term, "latent_prior": value}
        return value, StepOutput(metrics)

    message, _ = descend(2.5, loss=loss)
    assert message.startswith("reconstruction is not finite at step 2 of 2")


def test_diverged_names_a_total_that_is_alone():
    def loss(params, data, indices, key):
        value = jnp.sum(params["w"])
        return value, StepOutput({"loss": jnp.log(value)})

    message, _ = descend(0.5, loss=loss)
    assert message == "loss is not finite at step 2 of 2 in epoch 1 of toy"


@pytest.mark.parametrize(("most", "is_brief"), [(22, True), (21, False)])
def test_epochs_of_few_rows_and_weights_are_compiled_soon(
    monkeypatch, data, most, is_brief
):
    asked = []
    monkeypatch.setattr(loop, "_BRIEF_WORK", most)
    monkeypatch.setattr(loop.devices, "compiler_options", asked.append)
    loop._compiled.cache_clear()
    optimize(
        "toy",
        scalar_loss,
        PARAMS,
        data,
        jax.random.key(0),
        Schedule(1, BATCH_SIZE, 0.1),
        num_points=NUM_POINTS,
        monitor=Monitor(),
        table=np.zeros(NUM_POINTS, np.float32),
    )
    assert asked == [is_brief]
