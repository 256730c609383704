import hashlib
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from dgg_jax import data, presets
from dgg_jax.checks import InvalidInput, MissingData, NotInstalled
from dgg_jax.data import image_sets, preprocessing, synthetic

ROOT = Path(__file__).resolve().parents[2]
DOWNLOADED = ("mnist", "fashion_mnist", "usps", "svhn", "har", "reuters_r8")


def test_digits():
    digits = data.load("digits")
    assert digits.x.shape == (1797, 64)
    assert digits.x.dtype == np.float32
    assert digits.y.dtype == np.int32
    expected = load_digits()
    np.testing.assert_array_equal(digits.x * 16, expected.data)
    np.testing.assert_array_equal(digits.y, expected.target)
    assert (digits.x.min(), digits.x.max()) == (0, 1)
    assert digits.name == "digits"
    assert digits.feature_shape == (8, 8)
    assert digits.class_names == tuple("0123456789")
    assert "1,797 rows; divide_by(16), flatten" in digits.provenance


def test_moons():
    moons = data.load("moons", moons_distance="far", seed=3)
    x, y = synthetic.half_circles(distance="far", seed=3)
    np.testing.assert_array_equal(moons.x, x)
    np.testing.assert_array_equal(moons.y, y)
    assert moons.feature_shape == (2,)
    assert moons.class_names == ("upper", "lower")
    assert "distance='far', seed=3), 4,000 rows" in moons.provenance


def test_pinwheel():
    pinwheel = data.load("pinwheel", seed=3)
    x, y = synthetic.five_arcs(seed=3)
    np.testing.assert_array_equal(pinwheel.x, x)
    np.testing.assert_array_equal(pinwheel.y, y)
    assert pinwheel.x.shape == (10_000, 2) and pinwheel.x.dtype == np.float32
    assert pinwheel.name == "pinwheel"
    assert pinwheel.feature_shape == (2,)
    assert pinwheel.class_names == ("arc 1", "arc 2", "arc 3", "arc 4", "arc 5")
    assert pinwheel.provenance == ("five_arcs(seed=3), 10,000 rows; no preprocessing")
    assert (data.load("pinwheel").x == synthetic.five_arcs(seed=0)[0]).all()


@pytest.mark.parametrize("name", ["digits", "moons", "pinwheel"])
def test_without_a_test_set_no_row_is_of_it(name):
    assert data.load(name).is_test is None


def test_every_data_set_has_presets():
    assert set(data.DATASETS) <= set(presets.DATASETS)
    for name in ("digits", "moons", "pinwheel"):
        found = data.load(name)
        assert len(found.class_names) == presets.dgg(name).num_clusters
        assert len(np.unique(found.y)) == len(found.class_names)


def test_the_last_rows_of_mnist_are_its_test_set(tmp_path, tiny):
    tiny.write(tmp_path)
    mnist = data.load("mnist", data_dir=tmp_path)
    assert mnist.is_test.dtype == bool
    np.testing.assert_array_equal(mnist.is_test, [False] * 7 + [True] * 3)
    np.testing.assert_array_equal(mnist.y[mnist.is_test], tiny.labels[7:])


def test_splits(tmp_path, tiny):
    tiny.write(tmp_path)
    whole = data.load("mnist", data_dir=tmp_path)
    for split, rows in (("train", slice(7)), ("test", slice(7, None))):
        part = data.load("mnist", data_dir=tmp_path, split=split)
        np.testing.assert_array_equal(part.x, whole.x[rows])
        np.testing.assert_array_equal(part.y, whole.y[rows])
        assert part.is_test is None
        assert part.provenance.endswith(f"; {len(part.x)} rows of {split}")
    with pytest.raises(InvalidInput, match="split='valid' is unknown; choose one of"):
        data.load("mnist", data_dir=tmp_path, split="valid")
    with pytest.raises(InvalidInput, match="digits has no official test set; use"):
        data.load("digits", split="test")


@pytest.mark.parametrize("name", ["digits", "moons"])
def test_likelihood_and_variance_are_those_of_the_presets(name):
    found, preset = data.load(name), presets.dgg(name)
    assert found.likelihood == preset.likelihood
    if found.variance is not None:
        assert found.variance == preset.variance


@pytest.mark.parametrize("inside", ["", "mnist"])
def test_mnist_from_raw_files(tmp_path, tiny, inside, caplog):
    tiny.write(tmp_path / inside)
    with caplog.at_level(logging.WARNING, logger="dgg_jax"):
        mnist = data.load("mnist", data_dir=str(tmp_path))
    assert mnist.x.dtype == np.float32
    assert mnist.y.dtype == np.int32
    expected = tiny.images.reshape(10, 784) / np.float32(255)
    np.testing.assert_array_equal(mnist.x, expected)
    np.testing.assert_array_equal(mnist.y, tiny.labels)
    assert mnist.feature_shape == (28, 28)
    assert f"files in {tmp_path / inside}, NOT the original" in mnist.provenance
    assert "10 rows, train then test; divide_by(255), flatten" in mnist.provenance
    assert "\n" not in mnist.provenance
    assert "not the original ones of MNIST" in caplog.text


def test_original_mnist(real_mnist, caplog):
    with caplog.at_level(logging.WARNING, logger="dgg_jax"):
        mnist = data.load("mnist", data_dir=real_mnist)
    assert not caplog.records
    assert mnist.x.shape == (70000, 784)
    assert mnist.y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist.y[60000:60010].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert mnist.x.max() == 1
    assert mnist.is_test.sum() == 10_000 and mnist.is_test[60_000:].all()
    # Mean and deviation of the training pixels that everybody normalises by.
    assert mnist.x[:60000].mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)
    assert mnist.x[:60000].std(dtype=np.float64) == pytest.approx(0.3081, abs=5e-5)
    assert "the original data by SHA-256, 70,000 rows" in mnist.provenance
    assert "NOT" not in mnist.provenance


def test_original_means_pixels_and_labels(tmp_path, tiny, as_idx, monkeypatch):
    tiny.write(tmp_path, compress=False)
    content = tiny.images.tobytes() + tiny.labels.tobytes()
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(image_sets, "_MNIST_SHA256", digest)
    assert "NOT" not in data.load("mnist", data_dir=tmp_path).provenance
    wrong = as_idx(np.zeros(7, np.uint8))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(wrong)
    assert "NOT the original" in data.load("mnist", data_dir=tmp_path).provenance


def test_default_folder_is_the_users_cache(tmp_path, tiny, monkeypatch):
    tiny.write(tmp_path / "cache" / "dgg_jax" / "mnist")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert f"files in {tmp_path / 'cache'}" in data.load("mnist").provenance

    tiny.write(tmp_path / "home" / ".cache" / "dgg_jax")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for data_dir in (None, "~/.cache/dgg_jax"):
        mnist = data.load("mnist", data_dir=data_dir)
        assert f"files in {tmp_path / 'home'}" in mnist.provenance


def test_incomplete_files_do_not_go_to_the_network(tmp_path, tiny):
    tiny.write(tmp_path / "mnist")
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InvalidInput, match="missing: t10k-labels-idx1-ubyte"):
        data.load("mnist", data_dir=tmp_path)


def test_unknown_name():
    message = "dataset='minst' is unknown; did you mean mnist.* Choose one of: digits, "
    with pytest.raises(InvalidInput, match=message):
        data.load("minst")
    with pytest.raises(InvalidInput, match=r"is unknown; choose one of.*\.csv.*folder"):
        data.load("faces")


def test_unknown_distance():
    with pytest.raises(InvalidInput, match="distance='nearby' is unknown"):
        data.load("moons", moons_distance="nearby")


def test_data_dir_must_be_a_folder(tmp_path):
    path = tmp_path / "mnist.gz"
    path.write_bytes(b"")
    with pytest.raises(InvalidInput, match="must be a folder, it is a file"):
        data.load("mnist", data_dir=path)


def test_data_dir_must_be_readable(tmp_path, monkeypatch):
    # Not by chmod, which does not stop root.
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)
    with pytest.raises(InvalidInput, match="must be readable"):
        data.load("mnist", data_dir=tmp_path)


@pytest.fixture
def no_datasets(monkeypatch):
    """As if the extra datasets were not installed."""
    for name in ("requests", "tensorflow_datasets"):
        monkeypatch.setitem(sys.modules, name, None)
    return "requests and tensorflow_datasets are not installed: pip install "


def test_files_are_read_without_the_extra(tmp_path, tiny, no_datasets):
    tiny.write(tmp_path / "mnist")
    image_sets.MNIST.prepared(tmp_path).mkdir(parents=True)  # it cannot be read
    assert "file" in data.load("mnist", data_dir=tmp_path).provenance


@pytest.mark.parametrize("name", [*DOWNLOADED, "reuters10k", "reuters"])
def test_downloads_need_the_extra(tmp_path, no_datasets, name):
    folder = tmp_path / "data"
    with pytest.raises(MissingData) as caught:
        data.load(name, data_dir=folder)
    message = str(caught.value)
    assert f"not in {folder}, and it cannot be downloaded: {no_datasets}" in message
    assert "pip install 'dgg-jax[datasets]'. Looked " in message
    assert "--data_dir" in message and "\n" not in message
    assert not folder.exists()


def test_prepared_data_need_the_extra(tmp_path, no_datasets):
    folder = image_sets.MNIST.prepared(tmp_path)
    folder.mkdir(parents=True)
    with pytest.raises(NotInstalled) as caught:
        data.load("mnist", data_dir=tmp_path)
    names = image_sets.MNIST.layouts[0].names
    assert str(caught.value) == (
        f"the prepared MNIST in {folder} cannot be read: {no_datasets}"
        f"'dgg-jax[datasets]', or put the original files ({names}) into "
        f"{tmp_path / 'mnist'}."
    )


def test_imports_are_lazy(tmp_path, tiny):
    tiny.write(tmp_path)
    code = (
        "import sys\n"
        "import dgg_jax.data\n"
        "dgg_jax.data.load('moons')\n"
        f"dgg_jax.data.load('mnist', data_dir={str(tmp_path)!r})\n"
        "heavy = {'tensorflow_datasets', 'tensorflow', 'sklearn', 'requests', 'jax',\n"
        "         'scipy.io', 'pandas'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == "[]\n"


def test_divide_by_gives_exact_ends():
    x = preprocessing.divide_by(np.uint8([0, 51, 255]), 255.0)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, np.float32([0, 0.2, 1]))


def test_flatten():
    x = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(
        preprocessing.flatten(x), [np.arange(12), np.arange(12, 24)]
    )
    assert preprocessing.flatten(np.zeros((0, 3, 4))).shape == (0, 12)
    assert preprocessing.flatten(np.zeros((5, 2))).shape == (5, 2)
