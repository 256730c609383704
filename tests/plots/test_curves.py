import io

import numpy as np
import pytest

from dgg_jax.plots import training_curves
from dgg_jax.plots.curves import series


def train_line(epoch, **values):
    terms = {
        "objective": -100.0 + epoch,
        "reconstruction": -90.0,
        "latent_prior": -20.0,
        "latent_entropy": 5.0,
        "cluster_prior": -0.3,
        "cluster_entropy": 0.2,
        "learning_rate": 0.002,
    }
    return {"stage": "train", "loop": "train", "epoch": epoch} | terms | values


def titles(figure):
    return [(a.get_title(loc="left"), a.get_title(loc="right")) for a in figure.axes]


def test_one_panel_for_each_loss_term_and_the_scores():
    history = [
        {"stage": "pretrain", "loop": "autoencoder", "epoch": 0, "loss": 210.1},
        {"stage": "graph", "loop": "siamese", "epoch": 0, "loss": 0.4},
        {"stage": "classifier", "loop": "classifier", "epoch": 0, "loss": 2.0},
        train_line(0, accuracy=None),
        train_line(1, accuracy=0.9),
    ]
    figure = training_curves(history)
    figure.savefig(io.BytesIO(), dpi=30)
    assert titles(figure) == [
        ("loss", "pretrain, autoencoder"),
        ("loss", "graph, siamese"),
        ("loss", "classifier"),
        ("objective J / N", "train"),
        ("reconstruction", "train"),
        ("latent prior", "train"),
        ("latent entropy", "train"),
        ("cluster prior", "train"),
        ("cluster entropy", "train"),
        ("scores", "train"),
    ]


def test_without_labels_there_are_no_scores():
    figure = training_curves([train_line(e, accuracy=None) for e in range(3)])
    assert len(figure.axes) == 6


def test_restarts_are_one_thin_line_each():
    history = [train_line(e, objective=[-3.0, -2.0, None]) for e in range(4)]
    axes = training_curves(history).axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata())]
    assert len(lines) == 3
    assert {line.get_linewidth() for line in lines} == {0.7}
    np.testing.assert_array_equal(lines[1].get_ydata(), [-2.0] * 4)


def test_series_keeps_the_last_line_of_an_epoch_and_drops_what_is_not_finite():
    lines = [
        {"epoch": 1, "loss": 5.0},
        {"epoch": 0, "loss": 9.0},
        {"epoch": 1, "loss": 4.0},
        {"epoch": 2, "loss": float("nan")},
        {"epoch": 3, "loss": None},
        {"epoch": 4},
    ]
    found = series(lines, "loss")
    assert found.epochs.tolist() == [0.0, 1.0]
    assert found.values.ravel().tolist() == [9.0, 4.0]
    assert series(lines, "accuracy") is None


@pytest.mark.parametrize("history", [[], [{"stage": "train", "epoch": 0}]])
def test_an_empty_history_says_so(history):
    figure = training_curves(history)
    figure.savefig(io.BytesIO(), dpi=30)
    assert figure.axes[0].texts[0].get_text() == "no training history"
