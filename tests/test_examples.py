"""The examples run, and do what they say."""

import importlib.util
import pathlib

import pytest
from sklearn import datasets

EXAMPLES = pathlib.Path(__file__).resolve().parents[1] / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_own_training_loop(capsys):
    assert example("own_training_loop").main() > 0.95
    assert "VaDE  ELBO" in capsys.readouterr().out


@pytest.mark.slow
def test_convolutional(capsys, monkeypatch):
    images, y = datasets.load_digits(return_X_y=True)
    few = lambda return_X_y: (images[:200], y[:200])  # noqa: E731
    monkeypatch.setattr(datasets, "load_digits", few)
    brief = {
        "epochs": 1,
        "siamese_epochs": 1,
        "pretrain_autoencoder_epochs": 1,
        "pretrain_vae_epochs": 1,
        "label_epochs": 0,
    }
    example("convolutional").main(**brief)
    assert capsys.readouterr().out.startswith("accuracy 0.")
