"""Many devices, here virtual ones of a CPU, do what one does."""

import json
import math
import pathlib
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from dgg_jax.metrics import adjusted_rand_index
from dgg_jax.placement import devices
from tests.spread_run import NUM_FEATURES, NUM_POINTS
from tests.trees import assert_same

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
MANY = "--xla_force_host_platform_device_count"


@pytest.fixture(scope="module")
def execute(xla):
    """Runs Python with these arguments in a process with so many devices."""

    def run(num_devices, *arguments):
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            env={**xla, "XLA_FLAGS": f"{xla['XLA_FLAGS']} {MANY}={num_devices}"},
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def train(forks, xla):
    """Does some runs with so many devices, in a process of its own."""

    def run(num_devices, *jobs):
        flags = f"{xla['XLA_FLAGS']} {MANY}={num_devices}"
        process = forks.start("tests.spread_run", *jobs, XLA_FLAGS=flags)
        assert process.wait() == 0, process.err

    return run


@pytest.fixture(scope="module")
def alone(train, tmp_path_factory):
    """A folder of the runs by one device."""
    folder = tmp_path_factory.mktemp("alone")
    train(1, folder, "dgg", "vade")
    return folder


@pytest.fixture(scope="module")
def spread(train, tmp_path_factory):
    """A folder of the runs by eight devices; that of DGG has stopped in training."""
    folder = tmp_path_factory.mktemp("spread")
    train(8, folder, "dgg:2", "streamed_dgg", "vade", "own_dgg:2", "own_vade")
    return folder


def last_state(folder):
    with np.load(folder / "state.npz") as state:
        return dict(state)


def assert_close(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_allclose(
            one[name], other[name], rtol=1e-4, atol=1e-4, err_msg=name
        )


def test_one_device_gets_the_arrays_as_they_are():
    tree = {"x": np.arange(6.0, dtype=np.float32).reshape(3, 2), "few": np.ones(1)}
    placed = devices.put(tree, 3)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(placed))
    assert_same(devices.gather(placed), jax.tree.map(np.float32, tree))
    for function in (devices.rows_of, devices.by_rows, devices.everywhere):
        assert "sharding" not in str(jax.make_jaxpr(function)(placed))
        assert_same(function(placed), placed)


ROUND_TRIP = """
import jax, numpy as np
from dgg_jax.placement import devices
assert jax.device_count() == 8
rows = np.arange(22, dtype=np.float32).reshape(11, 2)
restarts = np.stack([rows, -rows])
tree = (rows, (restarts, restarts[:, :, 0]), np.ones(3))
placed = devices.put(tree, 11, (None, 0, None))
x, (many, flat), few = placed
assert x.array.shape == (16, 2) and many.array.shape == (2, 16, 2)
assert x.array.addressable_shards[1].data.shape == (2, 2)
assert many.array.addressable_shards[1].data.shape == (2, 2, 2)
assert isinstance(few, jax.Array) and few.is_fully_replicated
for one, other in zip(jax.tree.leaves(devices.gather(placed)), jax.tree.leaves(tree)):
    np.testing.assert_array_equal(one, other)
doubled = jax.jit(lambda x: devices.like(2 * devices.rows_of(x), x))(x)
assert doubled.array.sharding == x.array.sharding
np.testing.assert_array_equal(devices.gather(doubled), 2 * rows)
key = devices.put_everywhere(jax.random.key(3))
assert key.is_fully_replicated
assert jax.random.uniform(key) == jax.random.uniform(jax.random.key(3))
split = jax.jit(devices.split_batch)
assert not split(np.arange(16)).is_fully_replicated
assert split(np.arange(12)).is_fully_replicated
"""


@pytest.mark.slow
def test_rows_go_to_eight_devices_and_back(execute):
    done = execute(8, "-c", ROUND_TRIP)
    assert "a multiple of 8" in done.stderr and "12 rows" in done.stderr


@pytest.mark.slow
def test_eight_devices_train_vade_as_one_does(alone, spread):
    assert_close(last_state(spread / "vade"), last_state(alone / "vade"))


# name = f32[2,99,3] all-gather(...), of a tuple of results each.
COLLECTIVE = re.compile(r"= (.*?) (all-gather|all-to-all|collective-permute)\(")
SUM = re.compile(r"= (.*?) all-reduce(?:-start)?\(")
PRODUCT = re.compile(r"= \w+\[([\d,]+)\]\S* dot\(")


def sizes(result):
    for shape in re.findall(r"\w+\[([\d,]*)\]", result):
        yield math.prod(int(length) for length in shape.split(",") if length)


OWN = """
import functools
import jax, numpy as np
from dgg_jax import presets
from dgg_jax.checks import InvalidInput
from dgg_jax.methods.problem import Problem
from dgg_jax.placement import devices
from dgg_jax.placement.rows import sparse_rows
from scipy import stats
from scipy.sparse import csr_array

for num_rows in (96, 99):  # of 12 and of 13 rows a device, the last of which has 8
    batches = functools.partial(devices.own_batches, num_points=num_rows, batch_size=16)
    of_key = jax.jit(batches)
    share = -(-num_rows // 8)
    seen = np.zeros(num_rows)
    for number in range(400):
        order = np.asarray(of_key(jax.random.key(number)))
        assert order.shape == ((6, 16) if num_rows == 96 else (4, 16))
        assert len(np.unique(order)) == order.size
        # Two rows of every device in every batch, the first device's first.
        assert (order // share == np.repeat(np.arange(8), 2)).all()
        np.add.at(seen, order[0], 1)
    for device in range(8):  # each of its rows as often as the others in a batch
        own = seen[device * share : (device + 1) * share]
        assert stats.chisquare(own).pvalue > 1e-4, own

    x = np.random.default_rng(0).random((num_rows, 3)).astype(np.float32)
    spread = devices.put(x, num_rows)
    batch, new = order[0], np.float32(-np.arange(48).reshape(16, 3))

    def changed(spread, batch, new):
        own = devices.own_rows_of(spread, num_rows)
        rows = devices.of_batch(own, batch)
        assert len(rows) == num_rows and rows.shape == (num_rows, 3)
        after = devices.with_rows(own, batch, new)
        assert isinstance(after, devices.OwnRows) and after.batch is None
        # As many, from anywhere.
        return rows[batch], rows[batch[::-1]], devices.like(after, spread)

    picked, others, after = jax.jit(changed)(spread, batch, new)
    np.testing.assert_array_equal(picked, x[batch])
    np.testing.assert_array_equal(others, x[batch[::-1]])
    x[batch] = new
    np.testing.assert_array_equal(devices.gather(after), x)
    assert after.array.sharding == spread.array.sharding

dense = np.eye(99, 7, dtype=np.float32)
sparse = devices.put(sparse_rows(csr_array(dense)), 99)


@jax.jit
def picked(rows, batch):
    return devices.of_batch(devices.own_rows_of(rows, 99), batch)[batch]


np.testing.assert_array_equal(picked(sparse, order[0]), dense[order[0]])

devices.check_own_batches("batch_size", 16, 99)
none = "one of which has 0 of the 20 rows; take a smaller"
for rows, size, words in (
    (99, 12, "batch_size=12; take a multiple of 8"),
    (20, 16, none),
):
    try:
        devices.own_batches(jax.random.key(0), rows, size)
    except InvalidInput as error:
        assert words in str(error), error
    else:
        raise AssertionError((rows, size))
try:
    preset = presets.for_data("vade", dense, 3, shuffle="device", batch_size=12)
    Problem.of(dense, preset)
except InvalidInput as error:
    assert "got batch_size=12" in str(error), error
else:
    raise AssertionError
"""


@pytest.mark.slow
def test_batches_are_of_the_devices_own_rows(execute):
    execute(8, "-c", OWN)


@pytest.mark.slow
def test_batches_of_own_rows_train_as_others_do(alone, spread):
    """Other batches, the same clusters and, but for the noise of few steps, ELBO."""
    own, one = (last_state(folder / name) for folder, name in
                ((spread, "own_vade"), (alone, "vade")))  # fmt: skip
    labels = own["['labels']"], one["['labels']"]
    assert adjusted_rand_index(*labels) == 1.0
    elbos = [state["['elbo']"].mean() for state in (own, one)]
    assert abs(elbos[0] - elbos[1]) < 0.05 * abs(elbos[1])


@pytest.mark.slow
def test_a_step_of_own_rows_sends_gradients_alone(spread):
    compiled = json.loads((spread / "own_dgg" / "compiled.json").read_text())
    for loop, text in compiled.items():
        if loop == "siamese":  # its pairs lie anywhere
            continue
        assert not COLLECTIVE.search(text), loop
        sent = [max(sizes(result)) for result in SUM.findall(text)]
        # No array is larger than a layer of 24 times 8 weights.
        assert sent and max(sent) == (6 if loop == "classifier" else 192), loop
        assert not any("[16" in result for result in SUM.findall(text)), loop


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2, 8])
def test_a_run_goes_on_with_any_number_of_devices(
    number, train, alone, spread, tmp_path
):
    assert not (spread / "dgg" / "state.npz").exists()
    shutil.copytree(spread / "dgg", tmp_path / "dgg")
    train(number, tmp_path, "dgg")
    assert_close(last_state(tmp_path / "dgg"), last_state(alone / "dgg"))


@pytest.mark.slow
def test_rows_stream_to_eight_devices_as_they_lie_on_one(alone, spread):
    assert_close(last_state(spread / "streamed_dgg"), last_state(alone / "dgg"))


PICKED = """
import numpy as np
from dgg_jax.placement import devices
from dgg_jax.placement.rows import HostRows

class Noted(HostRows):
    def __getitem__(self, rows):
        noted.append(np.size(rows))
        return super().__getitem__(rows)

source = np.arange(40, dtype=np.float32).reshape(20, 2)
for indices in (np.arange(48).reshape(3, 16) % 20, np.arange(10)):
    noted = []
    picked = devices.put_picked(Noted(source), indices)
    np.testing.assert_array_equal(picked, source[indices])
    assert noted == [6] * 8 if indices.size == 48 else [10], noted
"""


@pytest.mark.slow
def test_every_device_gets_its_share_of_the_picked_rows(execute):
    execute(8, "-c", PICKED)


@pytest.mark.slow
def test_every_device_computes_its_share_of_a_batch(spread):
    compiled = json.loads((spread / "dgg" / "compiled.json").read_text())
    loops = {"autoencoder", "vae", "siamese", "classifier", "labels", "train"}
    assert {name.partition("_")[0] for name in compiled} == loops  # labels_2 ...
    for loop, text in compiled.items():
        sent = [max(sizes(result)) for result, _ in COLLECTIVE.findall(text)]
        assert sent and max(sent) < NUM_POINTS * NUM_FEATURES, loop
        # Two rows of sixteen: weights are no product's first two dimensions here.
        shapes = [shape.split(",") for shape in PRODUCT.findall(text)]
        assert shapes and not any("16" in shape for shape in shapes), (loop, shapes)


@pytest.mark.parametrize(
    ("few", "is_brief", "options"),
    [
        (False, False, devices._ON_CPU),
        (False, True, devices._BRIEF_ON_CPU),
        (True, False, None),
        (True, True, None),
    ],
)
def test_a_cpu_has_its_options_unless_fewer_optimisations_are_asked_for(
    few, is_brief, options
):
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", few)
    try:
        if is_brief and devices.known_to_xla(devices._BRIEF_ON_CPU) is None:
            options = options and devices._ON_CPU  # of an XLA that has lost them
        assert devices.compiler_options(is_brief) == options
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


def test_xla_knows_the_options_of_gpus_and_no_others():
    assert devices.known_to_xla(devices._ON_GPU) == devices._ON_GPU
    assert devices.known_to_xla({**devices._ON_GPU, "xla_gpu_nonsense": 1}) is None


def test_a_program_is_compiled_by_the_options_of_the_device(monkeypatch):
    asked = []

    def options(is_brief):
        asked.append("options")
        return devices._ON_GPU

    monkeypatch.setattr(devices, "compiler_options", options)

    @devices.compiled(static_argnames="power")
    def raised(x, power):
        """Doc."""
        asked.append("trace")
        return x**power

    assert asked == []  # importing a module asks for no device
    assert raised.__doc__ == "Doc."
    assert [float(raised(x, power=2)) for x in (2.0, 3.0)] == [4.0, 9.0]
    assert asked[0] == "options" and asked.count("trace") == 1


def test_a_program_of_few_numbers_is_brief(monkeypatch):
    monkeypatch.setattr(devices, "_FEW", 5)
    asked = []
    monkeypatch.setattr(devices, "compiler_options", lambda *brief: asked.append(brief))
    total = devices.compiled()(lambda x, y: x.sum() + y.sum())
    for sizes in ((2, 3), (3, 3)):
        assert float(total(*map(np.ones, sizes))) == sum(sizes)
    assert asked == [(True,), (False,)]


def test_a_program_within_another_has_the_options_of_the_other(monkeypatch):
    monkeypatch.setattr(devices, "compiler_options", lambda is_brief: devices._ON_GPU)
    double = devices.compiled()(lambda x: x + x)
    assert float(double(2.0)) == 4.0
    assert float(jax.jit(lambda x: double(x) + 1)(2.0)) == 5.0
    assert float(jax.grad(lambda x: double(x))(2.0)) == 2.0
