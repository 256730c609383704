"""Checkpoints: what is saved comes back, and nothing half-written ever does."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgg_jax.training.checkpoints import Checkpoints
from dgg_jax.training.state import create_state


@pytest.fixture
def checkpoints(tmp_path):
    opened = Checkpoints(tmp_path / "checkpoints")
    yield opened
    opened.close()


@pytest.fixture
def reopen(checkpoints):
    """Opens the same folder as another process would."""
    opened = []

    def reopen():
        checkpoints.close()
        opened.append(Checkpoints(checkpoints.directory))
        return opened[-1]

    yield reopen
    for other in opened:
        other.close()


def assert_equal(tree, other):
    def check(a, b):
        np.testing.assert_array_equal(a, b)
        assert np.asarray(a).dtype == np.asarray(b).dtype

    assert jax.tree.structure(tree) == jax.tree.structure(other)
    jax.tree.map(check, tree, other)


def train_state(seed):
    rng = np.random.default_rng(seed)
    params = {"dense": {"kernel": rng.standard_normal((2, 3)).astype(np.float32)}}
    optimizer = optax.chain(optax.add_decayed_weights(0.1), optax.adam(0.1))
    state = create_state(params, optimizer, rng.random((4, 2)).astype(np.float32))
    _, opt_state = optimizer.update(state.params, state.opt_state, state.params)
    return state._replace(step=jnp.int32(seed), opt_state=opt_state)


def test_a_train_state_comes_back_by_its_template(checkpoints, reopen):
    state = train_state(7)
    record = {"seconds": 1.5, "names": ["a", "b"], "accuracy": None, "nested": {"n": 3}}
    checkpoints.save("train", 12, state, record)
    for opened in (checkpoints, reopen()):
        step, restored, restored_record = opened.restore("train", train_state(8))
        assert step == 12
        assert type(restored) is type(state)
        assert_equal(restored, state)
        assert restored_record == record


def test_nested_dicts_come_back_as_numpy_without_a_template(checkpoints, reopen):
    tree = {
        "model": {"mixture": {"mean": jnp.arange(6.0).reshape(3, 2)}},
        "labels": np.array([2, 0, 1], np.int32),
        "restart": np.int64(1),
    }
    checkpoints.save("stages", 1, tree, [{"name": "graph"}, {"name": "train"}])
    step, restored, record = reopen().restore("stages")
    assert step == 1
    assert_equal(restored, jax.tree.map(np.asarray, tree))
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(restored))
    assert record == [{"name": "graph"}, {"name": "train"}]


def test_only_the_newest_is_kept(checkpoints, reopen):
    for step in (1, 2, 5):
        checkpoints.save("train", step, {"w": np.full(2, step)}, {"at": step})
    step, tree, record = reopen().restore("train")
    assert (step, record) == (5, {"at": 5})
    np.testing.assert_array_equal(tree["w"], 5)
    names = {path.name for path in (checkpoints.directory / "train").iterdir()}
    assert "5" in names
    assert not names & {"1", "2"}


def test_an_empty_folder_has_nothing(checkpoints):
    assert checkpoints.series() == []
    assert checkpoints.restore("train") is None
    assert checkpoints.series() == []
    checkpoints.delete("train")


@pytest.mark.parametrize("suffix", ["", "-1700000000000000"])
def test_a_half_written_checkpoint_is_never_seen(checkpoints, reopen, suffix):
    checkpoints.save("train", 1, {"w": np.ones(2)}, {"at": 1})
    # A kill while 2 was written: its folder was not yet renamed to its final name.
    folder = checkpoints.directory / "train"
    half = folder / f"2.orbax-checkpoint-tmp{suffix}"
    shutil.copytree(folder / "1", half)
    shutil.rmtree(half / "record")
    opened = reopen()
    step, tree, record = opened.restore("train")
    assert (step, record) == (1, {"at": 1})
    np.testing.assert_array_equal(tree["w"], 1.0)
    opened.save("train", 2, {"w": np.full(2, 2.0)}, {"at": 2})
    assert opened.restore("train")[0] == 2
    assert not half.exists()


def test_a_first_checkpoint_half_written_is_none(checkpoints, reopen):
    checkpoints.save("train", 1, {"w": np.ones(2)}, {})
    folder = checkpoints.directory / "train"
    (folder / "1").rename(folder / "1.orbax-checkpoint-tmp")
    assert reopen().restore("train") is None


def test_a_kill_during_a_save_keeps_the_one_before(checkpoints, reopen, monkeypatch):
    checkpoints.save("train", 1, {"w": np.ones(2)}, {"at": 1})

    def killed(*arguments, **settings):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("json.dumps", killed)
        with pytest.raises(BaseException):  # noqa: B017
            checkpoints.save("train", 2, {"w": np.zeros(2)}, {"at": 2})
    step, tree, record = reopen().restore("train")
    assert (step, record) == (1, {"at": 1})
    np.testing.assert_array_equal(tree["w"], 1.0)


def test_series_are_apart_and_can_be_deleted(checkpoints, reopen):
    for name in ("train.train", "graph.knn", "stages"):
        checkpoints.save(name, 0, {"w": np.ones(1)}, {"name": name})
    assert checkpoints.series() == ["graph.knn", "stages", "train.train"]
    checkpoints.delete("graph.knn")
    opened = reopen()
    assert opened.series() == ["stages", "train.train"]
    opened.delete("stages")
    assert opened.series() == ["train.train"]
    assert opened.restore("stages") is None
    assert opened.restore("train.train")[2] == {"name": "train.train"}
    # A deleted series starts anew, also at a lower step.
    opened.save("stages", 0, {"w": np.zeros(1)}, {"name": "new"})
    assert opened.restore("stages")[2] == {"name": "new"}
