"""Which rows a cluster's card shows."""

import numpy as np

from dgg_jax.reports.members import card, members
from dgg_jax.reports.run import write_report
from tests.reports.fakes import fake


def clustered():
    """Cluster 0 on a line from its mean out; row 0 in the middle, row 57 far out."""
    inputs = fake(num_latents=2)
    inputs.embedding[:] = 0.0
    inputs.embedding[::3, 0] = np.arange(20.0) * np.tile([1, -1], 10)
    confidence = np.linspace(0.99, 0.5, 60)
    probabilities = np.full((60, 3), 0.0)
    probabilities[np.arange(60), inputs.labels] = confidence
    return inputs._replace(probabilities=probabilities)


def test_typical_rows_are_sure_and_borderline_ones_are_not():
    inputs = clustered()
    agreement = np.ones(60)
    agreement[[6, 30, 33]] = 0.1, 0.4, 0.6
    found = members(inputs, 0, inputs.confidence, agreement)
    surest = range(0, 27, 3)  # nine of the twenty
    assert found.prototype == 0 and set(found.typical) == {*surest} - {0}
    distances = np.abs(inputs.embedding[found.typical, 0] + 0.5)
    assert (np.diff(distances) >= 0).all()
    assert found.borderline == [57, 54, 51, 48, 45, 42, 39, 36]
    assert found.disputed == [6, 30]
    assert found.variance == inputs.embedding[::3].var(axis=0).mean()
    assert set(found.rows()) >= {0, 57, 6, 30}


def test_hard_clusters_have_no_borderline():
    inputs = clustered()._replace(probabilities=np.eye(3)[np.arange(60) % 3])
    found = members(inputs, 0, inputs.confidence, np.full(60, np.nan))
    assert found.borderline == found.disputed == [] and found.prototype == 0


def test_clusters_of_one_row_or_none():
    inputs = clustered()
    labels = np.ones(60, int)
    labels[4] = 0
    inputs = inputs._replace(labels=labels)
    one = members(inputs, 0, inputs.confidence, np.ones(60))
    assert (one.prototype, one.typical, one.variance) == (4, [], None)
    none = members(inputs, 2, inputs.confidence, np.ones(60))
    assert none.rows() == [] and card(inputs, 2, none, None)["groups"] == {}


def test_the_cards_are_on_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr("dgg_jax.reports.run.report_figures", lambda *_: {})
    images = write_report(tmp_path / "images", clustered()).read_text()
    assert images.count('<article class="card"') == 3
    assert 'alt="Prototype member of cluster 0: 0, confidence 0.99"' in images
    cards = images.partition("Map of all rows</h2>")[0]
    assert cards.count('data-row="57"') == 1
    table = clustered()._replace(
        x=np.arange(180.0).reshape(60, 3) % 7, feature_shape=(3,)
    )
    table = table._replace(names=np.array([f"flower {i}" for i in range(60)]))
    text = write_report(tmp_path / "table", table).read_text()
    assert '<a href="#map-of-all-rows" data-row="57">flower 57</a>' in text
    assert "What sets a cluster apart is its mean" in text
    without = table._replace(labels=np.minimum(table.labels, 1))
    text = write_report(tmp_path / "empty", without).read_text()
    assert text.count('<article class="card"') == 2
