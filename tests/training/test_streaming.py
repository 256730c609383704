"""Streamed epochs are those of data on the device, and gather no more at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import sparse

from dgg_jax.placement.rows import HostRows
from dgg_jax.training import Loss, Schedule, StepOutput, compile_epoch, streaming
from dgg_jax.training.loop import (
    Monitor,
    compile_prepare,
    compile_streamed_epoch,
    optimize,
)
from dgg_jax.training.state import create_state

NUM_POINTS, BATCH_SIZE, NUM_COLUMNS = 47, 4, 3  # 11 steps
OPTIMIZER = optax.adam(0.1)
NEIGHBORS = np.random.default_rng(1).integers(0, NUM_POINTS, (NUM_POINTS, 2))


@pytest.fixture(scope="module")
def x():
    x = np.random.default_rng(0).standard_normal((NUM_POINTS, NUM_COLUMNS))
    return np.where(np.abs(x) < 0.4, 0.0, x).astype(np.float32)


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of three steps of the loss below; the last of the epoch has two."""
    row = 4 * NUM_COLUMNS
    monkeypatch.setattr(streaming, "_CHUNK_BYTES", 3 * row * BATCH_SIZE * 4)


class Neighborly(Loss):
    """Takes rows twice, of neighbours that depend on the key among them."""

    def _others(self, indices, key):
        shift = jax.random.randint(key, (), 0, 2)
        others = jnp.asarray(NEIGHBORS)[indices]
        return jnp.concatenate([others, (indices + shift)[:, None] % NUM_POINTS], 1)

    def rows(self, data, indices, key):
        return jnp.concatenate([indices, self._others(indices, key).ravel()])

    def __call__(self, params, prepared, indices, key):
        (x, targets), total = prepared
        others = self._others(indices, key)
        predicted = x[indices] @ params + x[others].sum(axis=1) @ params
        value = jnp.mean((predicted - targets[indices]) ** 2)
        return value, StepOutput({"loss": value, "total": total}, rows=predicted)


LOSS = Neighborly()


def train(compiled, x, *, restarts=False, num_epochs=2, loss=LOSS):
    settings = {"num_points": NUM_POINTS, "batch_size": BATCH_SIZE}
    axes = ((None, 0), 0) if restarts else None
    epoch = compiled(loss, OPTIMIZER, restarts=restarts, data_axes=axes, **settings)
    prepared = compile_prepare(
        lambda state, factor: factor * jnp.sum(state.table),
        num_points=NUM_POINTS,
        restarts=restarts,
        streamed=compiled is compile_streamed_epoch,
    )
    params = jnp.array([0.3, 0.1, -0.2])
    targets, table = jnp.arange(NUM_POINTS) / 10.0, jnp.zeros(NUM_POINTS)
    key = jax.random.key(5)
    if restarts:
        params, table = jnp.stack([params, -params]), jnp.stack([table, table + 1.0])
        targets, key = jnp.stack([targets, -targets]), jax.random.split(key)
        state = jax.vmap(lambda p, t: create_state(p, OPTIMIZER, t))(params, table)
    else:
        state = create_state(params, OPTIMIZER, table)
    lines = []
    for _ in range(num_epochs):
        data = (x, targets), prepared(state, 2.0)
        state, metrics = epoch(state, data, key)
        lines.append(metrics)
    return state, lines


def assert_same(found, expected):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, np.float64])
def test_a_streamed_epoch_is_the_resident_one(x, kind, restarts, small_chunks):
    found = train(compile_streamed_epoch, HostRows(kind(x)), restarts=restarts)
    expected = train(compile_epoch, jnp.asarray(x), restarts=restarts)
    assert found[1][0]["loss"].shape == ((2, 11) if restarts else (11,))
    assert_same(found, expected)


def test_it_is_traced_once_for_each_length_of_a_chunk(x, small_chunks):
    traces = []

    class Listed(Neighborly):
        def __call__(self, *arguments):
            traces.append(1)
            return super().__call__(*arguments)

    rows, loss = HostRows(x), Listed()
    train(compile_streamed_epoch, rows, loss=loss, num_epochs=1)
    once = len(traces)
    assert once == 2  # a chunk of 3 steps, one of 2
    traces.clear()
    train(compile_streamed_epoch, rows, loss=loss, num_epochs=4)
    assert len(traces) == once


class Counted:
    """A source that keeps how many rows were gathered at a time."""

    def __init__(self, x):
        self.x, self.shape, self.gathered = x, x.shape, []

    def __getitem__(self, rows):
        self.gathered.append(len(rows))
        return self.x[rows]


def test_no_more_rows_are_gathered_than_a_chunk_has(x, small_chunks):
    source = Counted(x)
    train(compile_streamed_epoch, HostRows(source), num_epochs=1)
    steps = [3 * BATCH_SIZE * 4] * 3 + [2 * BATCH_SIZE * 4]
    assert source.gathered == steps


def test_a_thread_is_at_most_three_chunks_ahead(x, monkeypatch):
    monkeypatch.setattr(streaming, "_CHUNK_BYTES", 1)
    source = Counted(x)
    order = np.arange(40).reshape(10, 4)
    chunks = streaming.chunks([HostRows(source)], order, order)
    for taken in range(3):
        batches, (rows,) = next(chunks)
        np.testing.assert_array_equal(batches, order[[taken]])
        np.testing.assert_array_equal(rows, x[order[[taken]]])
        assert len(source.gathered) <= taken + 3
    chunks.close()
    assert len(source.gathered) <= 6


def test_what_gathering_raises_ends_the_epoch(x):
    class Broken(Counted):
        def __getitem__(self, rows):
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        train(compile_streamed_epoch, HostRows(Broken(x)))


def test_the_state_is_donated(x):
    class Mean(Loss):
        def __call__(self, params, x, indices, key):
            return jnp.mean(x[indices] @ params), StepOutput({}, ())

    epoch = compile_streamed_epoch(
        Mean(),
        OPTIMIZER,
        num_points=NUM_POINTS,
        batch_size=BATCH_SIZE,
    )
    state = create_state(jnp.zeros(NUM_COLUMNS), OPTIMIZER)
    epoch(state, HostRows(x), jax.random.key(0))
    assert state.params.is_deleted()


def test_the_loop_streams_rows_on_the_host(x):
    class Weighted(Loss):
        def __call__(self, params, data, indices, key, collections):
            x, weights = data
            count = collections + 1
            value = jnp.mean((x[indices] @ params - 1.0) ** 2 * weights[indices])
            return value, StepOutput({"loss": value}, collections=count)

    def final(x):
        return optimize(
            "toy",
            Weighted(),
            jnp.zeros(NUM_COLUMNS),
            (x, np.ones(NUM_POINTS, np.float32)),
            jax.random.key(1),
            Schedule(epochs=2, batch_size=10, learning_rate=0.1),
            num_points=NUM_POINTS,
            monitor=Monitor(),
            collections=np.zeros((), np.int32),
        )

    found, expected = final(HostRows(x)), final(x)
    assert_same(found, expected)
    assert found.collections == 8
