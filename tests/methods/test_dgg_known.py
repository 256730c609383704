"""DGG where the clusters of some rows are known."""

import dataclasses

import jax
import numpy as np
import pytest

from dgg_jax import estimators
from dgg_jax.checks import InvalidInput
from dgg_jax.methods import dgg, dgg_steps
from dgg_jax.types import ElboTerms
from tests.methods.test_dgg import BRIEF, PRESET
from tests.methods.toy import blobs
from tests.trees import assert_same


def known_of(y, number, seed=0):
    known = np.full(len(y), -1)
    rows = np.random.default_rng(seed).permutation(len(y))[:number]
    known[rows] = y[rows]
    return known


def test_clusters_are_called_as_the_known_rows():
    x, y = blobs()
    y = (y + 1) % 3
    known = known_of(y, 9)
    _, state, records = dgg.run(x, PRESET, known=known)
    told = next(one for one in records if one["name"] == "initialize")["by_known"]
    assert told[0]["known_accuracy"] == 1.0
    assert (state["labels"] == y).mean() > 0.95  # no map of clusters is needed
    assert (state["labels"] == known)[known >= 0].all()


def test_nothing_known_is_as_no_labels_at_all():
    x, y = blobs()
    preset = dataclasses.replace(BRIEF, init="ensemble")
    states = [
        dgg.run(x, preset, known=known)[1] for known in (None, y, np.full(len(y), -1))
    ]
    for state in states[1:]:
        assert_same(state["model"], states[0]["model"])
        np.testing.assert_array_equal(state["labels"], states[0]["labels"])


def test_the_objective_has_the_known_rows():
    """Gradients are those of J and of ln gamma at known rows, for both forms."""
    known = np.array([2, -1, 0, -1])
    random = np.random.default_rng(0)
    log_gamma = np.log(random.dirichlet(np.ones(3), 4)).astype(np.float32)
    terms = ElboTerms(*[np.arange(4.0) + i for i in range(5)])
    means, rows = jax.tree.map(np.mean, terms), np.array([5, 1, 0, 3])
    data = dgg_steps.TupleData(None, None, None)
    without, _ = dgg_steps._output(means, log_gamma, data, rows)
    data = data._replace(known=np.full(6, -1))
    data.known[rows] = known
    value, output = dgg_steps._output(means, log_gamma, data, rows)
    expected = without - 100.0 * (log_gamma[0, 2] + log_gamma[2, 0]) / 4
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert output.metrics["objective"] == -without  # of J alone

    def value_of(table, data):
        return dgg_steps._output(means, table, data, rows)[0]

    expected = np.zeros((4, 3))
    expected[0, 2] = expected[2, 0] = -25.0
    np.testing.assert_allclose(jax.grad(value_of)(log_gamma, data), expected)
    data = data._replace(sample_weight=np.array([2.0, 1.0, 0.0, 1.0, 1.0, 0.5]))
    expected[0, 2], expected[2, 0] = -12.5, -50.0  # of rows 5 and 0
    np.testing.assert_allclose(jax.grad(value_of)(log_gamma, data), expected)


@pytest.mark.parametrize("objective", ["node", "tuple"])
def test_both_forms_train_with_known_rows(objective):
    x, y = blobs()
    preset = dataclasses.replace(PRESET, epochs=3, objective=objective)
    known = known_of(y, 30)
    _, state, _ = dgg.run(x, preset, known=known)
    assert np.isfinite(state["elbo"]).all()
    assert (state["labels"] == y)[known >= 0].mean() > 0.9


def test_labels_are_spread_in_the_data_where_an_ensemble_is_of_some_rows(monkeypatch):
    x, y = blobs()
    monkeypatch.setattr("dgg_jax.methods.candidates.MOST_ROWS", 60)
    preset = dataclasses.replace(BRIEF, init="ensemble")
    _, _, records = dgg.run(x, preset, known=known_of(y, 40))
    told = next(one for one in records if one["name"] == "initialize")["by_known"]
    spread = {one["start"] for one in told if one["start"].startswith("spreading")}
    assert spread == {"spreading, siamese", "spreading, data"}


def test_other_starts_refuse_known_rows():
    x, y = blobs()
    with pytest.raises(InvalidInput, match="init='ensemble', got 'kmeans'"):
        dgg.run(x, BRIEF, known=known_of(y, 5))


def test_fit_takes_known_rows_and_ignores_a_whole_y():
    x, y = blobs()
    settings = {
        name: getattr(PRESET, name)
        for name in (*estimators.DGG.settings(),)
        if name in ("hidden_sizes", "latent_dim", "variance", "siamese_epochs")
    }
    y = (y + 2) % 3
    known = estimators.DGG(3, random_state=0, epochs=2, **settings)
    known.fit(x, known_of(y, 12))
    assert (known.labels_ == y).mean() > 0.95
    labels = estimators.DGG(3, random_state=0, epochs=2, **settings).fit_predict(
        x, known_of(y, 12)
    )
    np.testing.assert_array_equal(labels, known.labels_)
    plain = estimators.DGG(3, random_state=0, epochs=2, **settings)
    np.testing.assert_array_equal(plain.fit(x).labels_, plain.fit(x, y).labels_)
    with pytest.raises(ValueError, match="y must be"):
        known.fit(x, known_of(y, 12)[:50])
