"""Checkpoints: what is saved comes back, and nothing half-written ever does."""

import errno
import logging
import os
import random
import shutil
import subprocess
import sys
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dgg_jax.storage.checkpoints import Checkpoints
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


def test_the_last_two_are_kept(checkpoints, reopen):
    for step in (1, 2, 5):
        checkpoints.save("train", step, {"w": np.full(2, step)}, {"at": step})
    step, tree, record = reopen().restore("train")
    assert (step, record) == (5, {"at": 5})
    np.testing.assert_array_equal(tree["w"], 5)
    names = {path.name for path in (checkpoints.directory / "train").iterdir()}
    assert names == {"2", "5"}


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
    assert half.exists()  # reading deletes nothing: another process may be writing
    opened.discard_partial()
    assert not half.exists()
    opened.save("train", 2, {"w": np.full(2, 2.0)}, {"at": 2})
    assert opened.restore("train")[0] == 2


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


# What shells, URLs, patterns, formats and encodings give a meaning to.
_ODD = "[]{}*?!'\"\\%$~#&;|<>:= \n\t\x7f\u00fc\u2028\U0001d11e\udcff"
_NAMES = st.text(
    st.sampled_from(_ODD + "a")
    | st.characters(exclude_characters="/\0", codec="utf-8"),
    min_size=1,
    max_size=30,
).filter(lambda name: name not in (".", ".."))


@given(name=_NAMES)
@example(name="run [1]")
@example(name="gs:")
@example(name="a\\b")
@example(name="\udcff")
@settings(max_examples=30, deadline=None)
def test_a_folder_may_have_any_name(name):
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(os.path.join(folder, name, "checkpoints"))
        for step in (1, 2):
            checkpoints.save("train", step, random_tree(step), {"at": step})
        checkpoints.discard_partial()
        checkpoints.close()
        opened = Checkpoints(checkpoints.directory)
        step, tree, record = opened.restore("train", random_tree(0))
        opened.close()
        assert (step, record) == (2, {"at": 2})
        assert_equal(tree, random_tree(2))
        assert sorted(os.listdir(checkpoints.directory / "train")) == ["1", "2"]


def test_a_temporary_folder_of_odd_name_does_not_matter(tmp_path, monkeypatch):
    odd = tmp_path / "tmp [1]"
    odd.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(odd))
    checkpoints = Checkpoints(tmp_path / "run [1]")
    checkpoints.save("train", 1, random_tree(1), {})
    assert_equal(checkpoints.restore("train")[1], random_tree(1))
    assert os.listdir(odd) == []
    checkpoints.close()


# --- Damage ------------------------------------------------------------------------


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def flip_a_bit(folder):
    largest = max(files_of(folder), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)


def truncate(folder):
    for path in files_of(folder):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def fill_with_zeros(folder):
    for path in files_of(folder):
        path.write_bytes(bytes(path.stat().st_size))


def lose_the_record(folder):
    shutil.rmtree(folder / "record")


def lose_everything(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def wait_without_end(folder):
    path = files_of(folder)[0]
    path.unlink()
    os.mkfifo(path)


DAMAGES = [
    flip_a_bit, truncate, fill_with_zeros, lose_the_record, lose_everything,
    wait_without_end,
]  # fmt: skip


def random_tree(seed):
    return {"w": np.random.default_rng(seed).standard_normal((50, 50))}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    checkpoints, reopen, damage, caplog
):
    for step in (1, 2):
        checkpoints.save("train", step, random_tree(step), {"at": step})
    newest = checkpoints.directory / "train/2"
    damage(newest)
    opened = reopen()
    step, tree, record = opened.restore("train", random_tree(0))
    assert (step, record) == (1, {"at": 1})
    assert_equal(tree, random_tree(1))
    (warning,) = [line for line in caplog.records if "damaged" in line.getMessage()]
    assert warning.levelno == logging.WARNING
    assert str(newest) in warning.getMessage()
    # It stays until there is a newer one, even one of the same step.
    assert newest.exists()
    opened.save("train", 2, random_tree(3), {"at": 3})
    step, tree, record = reopen().restore("train")
    assert (step, record) == (2, {"at": 3})
    assert_equal(tree, random_tree(3))


def test_a_damaged_checkpoint_does_not_count_as_kept(checkpoints, reopen):
    for step in (1, 2):
        checkpoints.save("train", step, random_tree(step), {})
    truncate(checkpoints.directory / "train/2")
    opened = reopen()
    assert opened.restore("train")[0] == 1
    opened.save("train", 5, random_tree(5), {})
    truncate(checkpoints.directory / "train/5")
    assert reopen().restore("train")[0] == 1


def test_where_all_are_damaged_there_is_none(checkpoints, reopen, caplog):
    for step in (1, 2):
        checkpoints.save("train", step, random_tree(step), {})
        truncate(checkpoints.directory / f"train/{step}")
    opened = reopen()
    assert opened.restore("train") is None
    assert sum("damaged" in line.getMessage() for line in caplog.records) == 2
    opened.save("train", 1, random_tree(7), {})
    assert_equal(reopen().restore("train")[1], random_tree(7))


def test_no_flipped_bit_comes_back_as_another_number(checkpoints):
    """Of arrays and of the record, with and without a template."""
    tree, record = random_tree(0), {"seconds": 12.345678, "names": ["a", "b"]}
    checkpoints.save("train", 1, tree, record)
    folder = checkpoints.directory / "train/1"
    rng = random.Random(0)
    refused = 0
    for path in files_of(folder):
        whole = path.read_bytes()
        for template in (None, random_tree(1)) * 3:
            position = rng.randrange(len(whole))
            flipped = bytearray(whole)
            flipped[position] ^= 1 << rng.randrange(8)
            path.write_bytes(flipped)
            restored = checkpoints.restore("train", template)
            refused += restored is None
            if restored is not None:  # of what the flipped bit does not matter to
                assert_equal(restored[1], tree)
                assert restored[2] == record
        path.write_bytes(whole)
    assert refused >= 10
    assert checkpoints.restore("train")[0] == 1


# --- Disks that cannot be written --------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 2 MiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a disk needs privileges")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_checkpoint_before(small_disk):
    checkpoints = Checkpoints(small_disk / "checkpoints")
    tree = {"w": np.random.default_rng(0).random(100_000)}  # 0.8 MB
    for step in (1, 2):
        checkpoints.save("train", step, tree, {"at": step})
    with pytest.raises(OSError, match=r"No space left .* whole") as error:
        checkpoints.save("train", 3, tree, {"at": 3})
    assert error.value.errno == errno.ENOSPC
    assert error.value.filename == str(small_disk / "checkpoints/train/3")
    # Not even the remains of the attempt take space.
    assert sorted(os.listdir(small_disk / "checkpoints/train")) == ["1", "2"]
    step, restored, record = checkpoints.restore("train")
    assert (step, record) == (2, {"at": 2})
    assert_equal(restored, tree)
    shutil.rmtree(small_disk / "checkpoints/train/1")  # makes space
    checkpoints.save("train", 3, tree, {"at": 3})
    assert checkpoints.restore("train")[0] == 3
    checkpoints.close()


def test_a_read_only_disk_leaves_the_checkpoint_before(small_disk):
    checkpoints = Checkpoints(small_disk / "checkpoints")
    checkpoints.save("train", 1, {"w": np.ones(2)}, {"at": 1})
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    subprocess.run(remount, check=True)
    with pytest.raises(OSError, match=r"Read-only .*make the folder writable") as error:
        checkpoints.save("train", 2, {"w": np.ones(2)}, {"at": 2})
    assert error.value.errno == errno.EROFS
    assert checkpoints.restore("train")[0] == 1
    checkpoints.close()


LIMITED = """
import resource, sys
import numpy as np
from dgg_jax.storage.checkpoints import Checkpoints

checkpoints = Checkpoints(sys.argv[1])
checkpoints.save("train", 1, {"w": np.ones(2)}, {"at": 1})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    tree = {"w": np.random.default_rng(0).random(80_000)}
    checkpoints.save("train", 2, tree, {"at": 2})
except OSError as error:
    print("refused:", error)
"""


def test_a_file_that_cannot_grow_leaves_the_checkpoint_before(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "refused: [Errno 27] File too large" in done.stdout
    assert str(tmp_path / "train/2") in done.stdout
    assert os.listdir(tmp_path / "train") == ["1"]
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.restore("train")[2] == {"at": 1}
    checkpoints.close()
