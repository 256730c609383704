"""LTVAE: planted facets in data, what a step learns, what a run keeps and resumes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from dgg_jax.likelihoods import GaussianLikelihood
from dgg_jax.losses import ltvae as losses
from dgg_jax.methods import ltvae
from dgg_jax.metrics import clustering_accuracy
from dgg_jax.presets import LTVAEPreset
from dgg_jax.stages import latent_trees
from dgg_jax.training import Interrupted, Run

PRESET = LTVAEPreset(
    num_clusters=3,
    hidden_sizes=(32,),
    latent_dim=4,
    likelihood="gaussian",
    variance=0.1,
    pretrain_autoencoder_epochs=40,
    pretrain_batch_size=32,
    pretrain_corruption=0.0,
    epochs=12,
    search_epochs=6,
    batch_size=32,
    max_facets=3,
)


@pytest.fixture(scope="module")
def planted():
    """Rows of three groups, and of two: x [300, 5], y [2, 300]."""
    random = np.random.default_rng(0)
    y = np.stack([random.integers(3, size=300), random.integers(2, size=300)])
    x = np.concatenate([4.0 * np.eye(3)[y[0]], 4.0 * np.eye(2)[y[1]]], axis=1)
    return (x + 0.3 * random.normal(size=x.shape)).astype(np.float32), y


@pytest.fixture(scope="module")
def trained(planted):
    x, y = planted
    runner = Run()
    return ltvae.run(x, PRESET, seed=0, y=y[0], runner=runner), runner.history


def test_the_tree_is_of_both_groupings(trained, planted):
    (model, state, records), _ = trained
    x, y = planted
    assert [record["name"] for record in records] == list(ltvae.STAGES)
    facets = model.facets(x)
    assert facets.dtype == np.int32 and facets.shape == (300, records[-1]["facets"])
    np.testing.assert_array_equal(facets[:, 0], state["labels"])
    scores = [[adjusted_rand_score(one, facet) for facet in facets.T] for one in y]
    # Each clustering is of the one or the other, or of both together.
    both = 2 * y[0] + y[1]
    of_both = [adjusted_rand_score(both, facet) for facet in facets.T]
    assert max(*scores[0], *of_both) > 0.5
    assert clustering_accuracy(y[0], state["labels"]) == records[-1]["accuracy"]


def test_the_elbo_rises(trained):
    (_, state, records), history = trained
    own = [line for line in history if line["loop"].startswith("train_")]
    assert [line["loop"] for line in own] == ["train_0"] * 6 + ["train_1"] * 6
    assert own[-1]["objective"] > own[0]["objective"]
    assert set(own[0]) >= {"reconstruction", "latent_prior", "latent_entropy"}
    by_name = {record["name"]: record for record in records}
    assert by_name["evaluate"]["elbo"] > by_name["initialize"]["elbo"]
    assert state["elbo"].mean() == pytest.approx(records[-1]["elbo"], rel=1e-4)


def test_the_model_says_of_rows_what_the_run_did(trained, planted):
    (model, state, _), _ = trained
    x, _ = planted
    posterior, log_assignment = model.infer(x)
    np.testing.assert_allclose(posterior.mean, state["latent_mean"], rtol=1e-6)
    np.testing.assert_array_equal(log_assignment, state["log_assignment"])
    np.testing.assert_allclose(np.exp(log_assignment).sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(model.elbo(x), state["elbo"], rtol=1e-5)
    z, probabilities = model.infer_batch(jnp.asarray(x[:2]))
    np.testing.assert_allclose(z, posterior.mean[:2], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(probabilities, log_assignment[:2], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(np.exp(model.log_weights).sum(), 1.0, rtol=1e-5)


def test_samples_are_of_their_clusters(trained):
    (model, *_), _ = trained
    samples = ltvae.samples_per_cluster(model, 40)
    assert samples.shape == (3, 40, 5)
    labels = np.stack([model.infer(of_one)[1].argmax(axis=1) for of_one in samples])
    assert (labels == np.arange(3)[:, None]).mean() > 0.9
    np.testing.assert_array_equal(samples, ltvae.samples_per_cluster(model, 40))


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(planted, tmp_path):
    preset = dataclasses.replace(PRESET, epochs=4, search_epochs=2)
    whole, *_ = ltvae.run(planted[0], preset)
    asked = []

    def on_epoch(stage, loop, epoch, *_):
        if loop == "train_1" and epoch == 1:
            asked.append(loop)

    runner = Run(tmp_path, on_epoch=on_epoch, should_stop=lambda: bool(asked))
    with pytest.raises(Interrupted):
        ltvae.run(planted[0], preset, runner=runner)
    runner.close()
    searched = []

    def again(stage, loop, *_):
        searched.append(loop)

    runner = Run(tmp_path, on_epoch=again)
    resumed, *_ = ltvae.run(planted[0], preset, runner=runner)
    runner.close()
    assert set(searched) == {"train_1"}
    jax.tree.map(np.testing.assert_array_equal, resumed.params, whole.params)


def test_a_trained_model_is_trained_on(trained, planted):
    (model, *_), _ = trained
    preset = dataclasses.replace(PRESET, epochs=1)
    further, _, records = ltvae.run(planted[0], preset, start=model)
    assert [record["name"] for record in records] == ["train", "evaluate"]
    assert records[-1]["elbo"] == pytest.approx(model.elbo(planted[0]).mean(), abs=1.0)
    old, new = (jax.tree.leaves(one.params["encoder"]) for one in (model, further))
    assert any((a != b).any() for a, b in zip(old, new, strict=True))


def test_the_rate_falls_over_all_epochs_as_in_one_loop():
    preset = dataclasses.replace(
        PRESET, epochs=25, search_epochs=10, decay_epochs=10, decay=0.5
    )
    parts = [ltvae._schedule_of(preset, turn) for turn in range(3)]
    assert [part.epochs for part in parts] == [10, 10, 5]
    rates = [part.learning_rate / preset.learning_rate for part in parts]
    assert rates == [1.0, 0.5, 0.25]


# What a step minimises


@pytest.fixture(scope="module")
def step(planted):
    """A loss, parameters, data, indices, a key and a prior before the step."""
    x, y = planted
    networks = ltvae.networks_of(PRESET, 5)
    encoder, decoder = networks.encode.module, networks.decode.module
    params = {
        "encoder": encoder.init(jax.random.key(0), jnp.ones((1, 5)))["params"],
        "decoder": decoder.init(jax.random.key(1), jnp.ones((1, 4)))["params"],
    }
    structure = latent_trees.single_root(3, 4, 3)
    z = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    labels = np.stack([y[0], 0 * y[0], 0 * y[0]], axis=1)
    statistics = latent_trees.of_labels(z, labels, structure, 3)
    tree = losses.maximized(statistics, structure, 1e-3)
    prior = ltvae.Prior(structure, tree, statistics, np.float32(9.0))
    data = jnp.asarray(x), GaussianLikelihood(0.5)
    loss = ltvae.LTVAELoss(networks, 0.7, 1e-3)
    return loss, params, data, jnp.arange(20), jax.random.key(5), prior


def drawn(step):
    loss, params, (x, _), indices, key, _ = step
    posterior = loss.networks.encode(params["encoder"], x[indices])
    eps = jax.random.normal(key, posterior.mean.shape)
    return posterior, posterior.mean + jnp.exp(0.5 * posterior.logvar) * eps


def test_the_value_is_minus_the_elbo_of_the_batch(step):
    loss, params, (x, likelihood), indices, _, prior = step
    value, output = loss(*step[1:])
    posterior, z = drawn(step)
    decoded = loss.networks.decode(params["decoder"], z)
    log_prob = jax.vmap(likelihood.log_prob)(x[indices], decoded)
    density = jax.vmap(losses.log_density, (0, None, None))
    log_prior = density(z, prior.tree, prior.structure)
    entropy = 0.5 * jnp.sum(1 + np.log(2 * np.pi) + posterior.logvar, axis=1)
    expected = jnp.mean(log_prob + log_prior + entropy)
    np.testing.assert_allclose(value, -expected, rtol=1e-5)
    np.testing.assert_allclose(output.metrics["objective"], expected, rtol=1e-5)
    np.testing.assert_allclose(
        output.metrics["latent_prior"], jnp.mean(log_prior), rtol=1e-5
    )


def test_the_tree_follows_the_batch_by_stepwise_em(step):
    *_, prior = step
    after = step[0](*step[1:])[1].collections
    _, z = drawn(step)
    of_batch = latent_trees.expected(z, prior.tree, prior.structure)
    rate = (9.0 + 2.0) ** -0.7
    expected = jax.tree.map(
        lambda old, new: (1 - rate) * old + rate * new, prior.statistics, of_batch
    )
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6),
        (after.statistics, after.tree),
        (expected, losses.maximized(expected, prior.structure, 1e-3)),
    )
    assert after.step == 10.0
    jax.tree.map(np.testing.assert_array_equal, after.structure, prior.structure)


def test_the_networks_learn_of_the_density_alone(step):
    """No gradient goes through the statistics of the batch."""
    slopes = jax.grad(lambda params: step[0](params, *step[2:])[0])(step[1])
    still = dataclasses.replace(step[0], exponent=1e-9)  # the batch is all of them
    others = jax.grad(lambda params: still(params, *step[2:])[0])(step[1])
    jax.tree.map(np.testing.assert_array_equal, slopes, others)
    assert any((leaf != 0).any() for leaf in jax.tree.leaves(slopes["encoder"]))
