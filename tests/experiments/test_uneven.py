"""Drawn sets of uneven clusters, and what judges pick of them."""

import numpy as np
import pytest

from experiments import uneven
from experiments.uneven import Outcome


def test_a_set_depends_on_its_seed_alone():
    x, y = uneven.drawn(3)
    again, _ = uneven.drawn(3)
    np.testing.assert_array_equal(x, again)
    assert x.dtype == np.float32 and x.shape[0] == len(y)
    np.testing.assert_allclose(x.mean(axis=0), 0.0, atol=1e-5)
    assert not np.array_equal(uneven.drawn(4)[0][:5, :2], x[:5, :2])
    for seed in range(20):
        sizes = np.bincount(uneven.drawn(seed)[1])
        assert 2 <= len(sizes) <= 7 and sizes.min() >= 0.015 * sizes.sum()


def test_a_long_cluster_beside_a_rare_one():
    random = np.random.default_rng(0)
    along = random.uniform(-1.0, 1.0, 600)
    x = np.concatenate([np.column_stack([along, along]), np.full((40, 2), [-1.5, 1.5])])
    x += 0.05 * random.standard_normal(x.shape)
    found = uneven.outcome(x.astype(np.float32), np.repeat([0, 1], [600, 40]))
    assert found.best == found.pick == 1.0
    assert max(found.kmeans, found.in_units_of_ln_k) < 0.5


def test_the_table_counts_what_has_changed():
    found = [Outcome(0.1, 0.2, 0.4, 0.9), Outcome(0.3, 0.5, 0.5, 0.5)]
    text = uneven.table([*found, Outcome(0.2, 0.8, 0.6, 1.0)])
    assert "| K-means | 0.200 |" in text
    assert "| pick | 0.500 |" in text
    assert text.endswith("on 2: better on 1, worse on 1.")


def test_the_command(capsys, monkeypatch):
    monkeypatch.setattr(uneven, "outcome", lambda x, y: Outcome(0.0, 0.5, 0.75, 1.0))
    with pytest.raises(SystemExit) as ended:
        uneven.app.run(uneven.main, ["uneven", "--count=2"], uneven.command.parse_flags)
    assert not ended.value.code
    assert "| pick | 0.750 |" in capsys.readouterr().out
