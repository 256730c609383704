"""DGG where pairs of rows are known to share a cluster, or not to."""

import dataclasses
import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgg_jax import estimators
from dgg_jax.checks import InvalidInput
from dgg_jax.methods import dgg, dgg_steps
from dgg_jax.stages.links import links_of
from dgg_jax.training import Interrupted, Run
from dgg_jax.types import Gaussian, Graph
from tests.methods.test_dgg import BRIEF, PRESET
from tests.methods.test_dgg_known import known_of
from tests.methods.test_host_rows import TINY_SHARE
from tests.methods.toy import blobs
from tests.trees import assert_same

TOLD = dataclasses.replace(BRIEF, init="ensemble")


def pairs(a, b, number=4):
    """Pairs of rows of blob a and of blob b."""
    _, y = blobs()
    return np.stack([np.flatnonzero(y == blob)[:number] for blob in (a, b)], axis=1)


@functools.cache
def brief(objective="node"):
    """The state after a run with links; kept, for several tests."""
    preset = dataclasses.replace(TOLD, objective=objective)
    return dgg.run(blobs()[0], preset, **links_of_both_kinds())[1]


def links_of_both_kinds():
    return {"must_link": pairs(0, 1), "cannot_link": pairs(1, 2)}


@pytest.mark.parametrize(("objective", "alone"), [("node", 0), ("tuple", 2)])
def test_links_tell_which_two_of_three_blobs_are_one_cluster(objective, alone):
    x, y = blobs()
    preset = dataclasses.replace(
        PRESET, num_clusters=2, objective=objective, epochs=5, label_epochs=5
    )
    one, other = sorted({0, 1, 2} - {alone})
    _, state, records = dgg.run(
        x, preset, must_link=pairs(one, other), cannot_link=pairs(one, alone)
    )
    apart = state["labels"] == state["labels"][y == alone][0]
    np.testing.assert_array_equal(apart, y == alone)
    told = next(one for one in records if one["name"] == "initialize")["by_known"]
    assert told[0]["links_held"] == told[0]["links"] == 8 > told[-1]["links_held"]
    for record in records[2:]:
        assert record["must_links_held"] == record["must_links"] == 4
        assert record["cannot_links_held"] == record["cannot_links"] == 4


def test_no_links_are_no_part_of_the_program(monkeypatch):
    x, _ = blobs()
    for name in ("held_metrics", "with_linked"):
        monkeypatch.setattr(dgg, name, None)  # not to be called
    for name in ("link_loss", "_links_of_step"):
        monkeypatch.setattr(dgg_steps, name, None)
    _, plain, _ = dgg.run(x, TOLD)
    _, state, records = dgg.run(x, TOLD, must_link=[], cannot_link=None)
    assert_same(state, plain)
    assert "must_links" not in records[-1] and "by_known" not in records[2]


@pytest.mark.parametrize(("batch", "count"), [(12, 6), (5, 3), (1, 1)])
def test_drawn_links_estimate_the_sum_of_all(batch, count):
    """A hundred times the mean loss of a link, times links, over rows."""
    random = np.random.default_rng(0)
    gamma = random.dirichlet(np.ones(3), 12)
    links = links_of([(0, 1), (3, 4), (5, 6)], [(1, 7), (8, 9), (2, 11)], 12, 3)
    data = dgg_steps.TupleData(
        jnp.log(gamma), Graph(np.zeros((12, 2)), np.zeros((12, 2))), None, None, links
    )
    data = jax.tree.map(jnp.asarray, data)
    networks = SimpleNamespace(  # q(c | x) is in the data
        encode=lambda params, x: Gaussian(x, jnp.zeros_like(x)),
        classify=lambda params, z: z,
        decode=lambda params, z: z,
    )
    loss = SimpleNamespace(networks=networks, sampled=False)
    indices = jnp.arange(batch)

    @jax.jit
    @jax.vmap
    def terms(key):
        return dgg_steps._link_term(
            loss, {"encoder": (), "decoder": ()}, data, indices, key
        )

    keys = jax.random.split(jax.random.key(0), 4000)
    found = np.asarray(terms(keys))
    alike = (gamma[links.rows[:, 0]] * gamma[links.rows[:, 1]]).sum(axis=1)
    losses = -np.log(np.where(links.together, alike, 1.0 - alike))
    error = found.std() / np.sqrt(len(found))
    assert abs(found.mean() - 100.0 * losses.sum() / 12) < 5.0 * error
    np.testing.assert_allclose(
        found.std() * 12 / 600, losses.std() / np.sqrt(count), rtol=0.05
    )
    assert len(dgg_steps._links_of_step(data, indices, keys[0]).rows) == count


def test_links_go_with_known_rows():
    x, y = blobs()
    known = known_of(y, 6)
    row = np.flatnonzero(known == 2)[0]
    others = np.flatnonzero((y == 2) & (known < 0))[:2]
    links = [(row, others[0]), (others[0], others[1])]
    _, state, records = dgg.run(
        x, PRESET, known=known, must_link=links, cannot_link=pairs(0, 1)
    )
    assert (state["labels"] == y).mean() > 0.95
    assert records[2]["by_known"][0]["known_accuracy"] == 1.0
    assert records[-1]["must_links_held"] == 2
    with pytest.raises(
        InvalidInput, match=f"rows {row} and {others[1]} together.*by y"
    ):
        known[others[1]] = 0
        dgg.run(x, PRESET, known=known, must_link=links)


def test_a_resumed_run_repeats_an_uninterrupted_one(tmp_path):
    x, _ = blobs()
    told = links_of_both_kinds()

    def has_trained_once():
        return bool(runner.history) and runner.history[-1]["stage"] == "train"

    runner = Run(tmp_path, should_stop=has_trained_once)
    with pytest.raises(Interrupted):
        dgg.run(x, TOLD, runner=runner, **told)
    runner.close()
    assert runner.history[-1]["epoch"] == 1
    _, state, _ = dgg.run(x, TOLD, runner=Run(tmp_path), **told)
    assert_same(state, brief())


@pytest.mark.parametrize("objective", ["node", "tuple"])
def test_rows_that_stay_on_the_host_have_links(objective):
    x, _ = blobs()
    preset = dataclasses.replace(
        TOLD, objective=objective, device_memory_share=TINY_SHARE
    )
    _, state, _ = dgg.run(x, preset, **links_of_both_kinds())
    expected = brief(objective)
    np.testing.assert_allclose(
        state["latent_mean"], expected["latent_mean"], rtol=1e-2, atol=1e-3
    )
    np.testing.assert_array_equal(state["labels"], expected["labels"])


@pytest.mark.parametrize(
    ("must", "falls", "undone"),
    [
        ([(2, 3)], True, False),  # holds only after training
        ([(0, 1)], True, True),  # holds before and after it
        ([(0, 1), (2, 4)], True, True),  # the second only before it
        ([(0, 1), (2, 4)], False, False),
    ],
)
def test_training_is_not_undone_where_more_links_hold(must, falls, undone, monkeypatch):
    before, after = np.array([0, 0, 1, 2, 1]), np.array([0, 0, 2, 2, 1])
    values = {before.tobytes(): 1.0, after.tobytes(): 0.9 if falls else 1.1}
    monkeypatch.setattr(dgg, "_standing", lambda _, __, one: (3, values[one.tobytes()]))
    states = [
        {"log_assignments": np.log(np.eye(3)[None, one] + 1e-6)}
        for one in (before, after)
    ]
    for links in (links_of(must, None, 5, 3), None):
        problem = SimpleNamespace(links=links, preset=SimpleNamespace(guard=True))
        found = dgg._is_undone(problem, *states)
        np.testing.assert_array_equal(found, [undone if links else falls])


def test_other_starts_refuse_links():
    x, _ = blobs()
    with pytest.raises(InvalidInput, match="links need init='ensemble', got 'kmeans'"):
        dgg.run(x, BRIEF, must_link=pairs(0, 1))


def test_the_estimator_takes_links():
    x, y = blobs()
    settings = {"hidden_sizes": (5,), "latent_dim": 2, "siamese_epochs": 0}
    estimator = estimators.DGG(2, random_state=0, epochs=1, **settings)
    with pytest.raises(ValueError, match=r"must_link must have rows in 0\.\.89"):
        estimator.fit(x, must_link=[(0, 90)])
    labels = estimator.fit_predict(
        x, must_link=pairs(0, 1), cannot_link=pairs(1, 2).tolist()
    )
    assert estimator.stages_[-1]["must_links_held"] == 4
    assert len(set(labels[y < 2])) == 1
