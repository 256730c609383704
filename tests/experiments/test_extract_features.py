"""The command in a process of its own, as Keras and its settings need it."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from dgg_jax import data
from tests.data.test_stl10 import TinySTL10

ROOT = pathlib.Path(__file__).resolve().parents[2]

needs_keras = pytest.mark.skipif(
    importlib.util.find_spec("keras") is None,
    reason="Keras is not installed: pip install 'dgg-jax[features]'",
)


def python(*arguments, home=None, strict=True, **variables):
    environment = {**os.environ, **variables}
    if home is not None:
        environment["KERAS_HOME"] = str(home)
    # Whatever the user's shell says, it is the JAX backend.
    environment["KERAS_BACKEND"] = "torch"
    return subprocess.run(
        [sys.executable, *["-W", "error"] * strict, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def extract(*arguments, **settings):
    command = ("-m", "experiments.extract_features", "--dataset=stl10")
    return python(*command, *arguments, **settings)


def refusal(run):
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.startswith("error: ") and run.stderr.count("\n") == 1, run.stderr
    return run.stderr


# A network of the same random weights; and the mean over the places of the last map,
# of images that are prepared by hand.
REFERENCE = """
import os
import sys
import numpy as np

folder = sys.argv[1]
images = np.random.default_rng(4).integers(0, 256, (5, 96, 96, 3), dtype=np.uint8)
os.environ["KERAS_BACKEND"] = "jax"
import keras

keras.utils.set_random_seed(0)
whole = keras.applications.ResNet50(
    include_top=False, weights=None, input_shape=(96, 96, 3)
)
whole.save_weights(f"{folder}/saved.weights.h5")
mean = [103.939, 116.779, 123.68]
maps = whole.predict_on_batch(images[..., ::-1].astype(np.float32) - np.float32(mean))
assert maps.shape == (5, 3, 3, 2048)
np.save(f"{folder}/expected.npy", np.asarray(maps).mean((1, 2)))
"""


@needs_keras
@pytest.mark.release
@pytest.mark.slow
def test_features_are_the_mean_of_the_last_map(xla, tmp_path):
    TinySTL10().archive(tmp_path / "stl10_binary.tar.gz")
    # Saving warns.
    reference = python("-c", REFERENCE, tmp_path, strict=False, **xla)
    assert reference.returncode == 0, reference.stderr
    expected = np.load(tmp_path / "expected.npy")

    weights = tmp_path / "saved.weights.h5"
    flags = [f"--data_dir={tmp_path}", "--image_size=96"]
    run = extract(*flags, f"--weights={weights}", **xla)
    assert (run.returncode, run.stderr) == (0, ""), run.stderr
    assert "5 x 2,048 features" in run.stdout
    assert f"Output   {tmp_path / 'stl10_resnet50.npz'}" in run.stdout
    found = data.load("stl10", data_dir=tmp_path)
    np.testing.assert_allclose(found.x, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(found.y, TinySTL10().labels)
    assert found.is_test.tolist() == [False, False, False, True, True]
    assert f"weights {weights}, images of 96 x 96 pixels" in found.provenance
    assert f"file {tmp_path / 'stl10_binary.tar.gz'}" in found.provenance
    assert not list(tmp_path.glob("*.partial"))

    output = tmp_path / "new" / "random.npz"
    flags += ["--weights=random", f"--output={output}", "--batch_size=2"]
    run = extract(*flags, **xla)
    assert (run.returncode, run.stderr) == (0, ""), run.stderr
    with np.load(output) as arrays:
        np.testing.assert_allclose(arrays["x"], expected, rtol=1e-3, atol=1e-3)


@needs_keras
@pytest.mark.slow
def test_other_weights_are_refused(xla, tmp_path):
    TinySTL10().write(tmp_path)
    weights = tmp_path / "weights.h5"
    weights.write_bytes(b"none")
    message = refusal(extract(f"--data_dir={tmp_path}", f"--weights={weights}", **xla))
    assert f"--weights={weights} cannot be used: " in message
    assert "ResNet50 without its top" in message
    assert {path.name for path in tmp_path.iterdir()} == {
        "weights.h5",
        "train_X.bin",
        "train_y.bin",
        "test_X.bin",
        "test_y.bin",
    }


@needs_keras
def test_weights_that_cannot_be_downloaded(tmp_path):
    # A proxy where nothing listens, whatever the network.
    proxy = {"https_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    TinySTL10().write(tmp_path)
    run = extract(f"--data_dir={tmp_path}", home=tmp_path / "keras", **proxy)
    message = refusal(run)
    assert f"are not in {tmp_path / 'keras' / 'models'}, and https://" in message
    assert "_notop.h5 cannot be reached: " in message
    assert "name it with --weights=FILE" in message
    assert not (tmp_path / "keras").exists()


@needs_keras
def test_images_that_cannot_be_downloaded(tmp_path):
    proxy = {"http_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    flags = [f"--data_dir={tmp_path}", "--weights=random", f"--output={tmp_path}/x.npz"]
    message = refusal(extract(*flags, **proxy))
    assert "stl10_binary.tar.gz cannot be reached: " in message
    assert f" {tmp_path / 'stl10'} " in message
    assert "for stl10_binary.tar.gz, or stl10_binary/train_X.bin, " in message
    assert list(tmp_path.iterdir()) == []


@needs_keras
def test_an_output_that_cannot_be_written(tmp_path):
    TinySTL10().write(tmp_path)
    (tmp_path / "file").write_text("")
    output = tmp_path / "file" / "x.npz"
    run = extract(f"--data_dir={tmp_path}", "--weights=random", f"--output={output}")
    assert run.returncode == 4
    assert run.stderr.startswith(f"error: --output={output} cannot be written: ")


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--weights=random", "--weights=random needs --output=FILE"),
        ("--output=x.csv", "--output=x.csv must end in .npz"),
        ("--image_size=8", "8 is not integer >= 32"),
        ("--dataset=mnist", "stl10"),
        ("mnist", "unexpected argument 'mnist'"),
        ("--data_dir=README.md", "must be a folder, it is a file"),
    ],
)
def test_mistakes_are_one_line(flag, message):
    assert message in refusal(extract(flag))


@needs_keras
@pytest.mark.parametrize("weights", ["missing.h5", "README.md"])
def test_weights_must_be_a_file_of_them(weights, tmp_path):
    run = extract(f"--weights={weights}", f"--data_dir={tmp_path}")
    assert f"--weights={weights} must be imagenet, random or an" in refusal(run)


def test_without_keras(tmp_path):
    code = (
        "import importlib.util, runpy, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda n, *a: None if n == 'keras' else find(n, *a)"
        "\nsys.argv = ['extract_features', '--dataset=stl10', '--data_dir=nowhere']\n"
        "runpy.run_module('experiments.extract_features', run_name='__main__')\n"
    )
    message = refusal(python("-c", code))
    assert "ResNet-50 needs more packages; keras is not installed" in message
    assert "pip install 'dgg-jax[features]'" in message
