"""CatGAN: two circles, what each turn learns, and what the model says."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import make_circles

from dgg_jax.checks import InvalidInput
from dgg_jax.losses import imsat
from dgg_jax.methods import catgan
from dgg_jax.metrics import clustering_accuracy, most_confident_label_accuracy
from dgg_jax.presets import CatGANPreset
from dgg_jax.training import Run

PRESET = CatGANPreset(
    num_clusters=2,
    hidden_sizes=(32, 32),
    latent_dim=4,
    input_noise=0.0,
    epochs=200,
    batch_size=64,
    learning_rate=2e-3,
)
TERMS = {
    *("loss", "marginal_entropy", "conditional_entropy"),
    *("generated_entropy", "generator_loss"),
}


@pytest.fixture(scope="module")
def circles():
    """The paper's toy: two circles, 300 points and which one they are of."""
    x, y = make_circles(300, noise=0.03, factor=0.3, random_state=0)
    return x.astype(np.float32), y


@pytest.fixture(scope="module")
def trained(circles):
    x, y = circles
    runner = Run()
    return catgan.run(x, PRESET, seed=0, y=y, runner=runner), runner.history


def test_two_circles_are_separated(trained, circles):
    (_, state, records), history = trained
    assert [record["name"] for record in records] == list(catgan.STAGES)
    assert records[-1]["accuracy"] > 0.95
    assert records[-1]["confident_label_accuracy"] > 0.95
    assert clustering_accuracy(circles[1], state["labels"]) == records[-1]["accuracy"]
    # K-means cuts both in half, as any line does.
    assert np.ptp(circles[0][state["labels"] == 0], axis=0).min() > 0.5
    assert len(history) == PRESET.epochs
    assert all(set(line) >= TERMS for line in history)


def test_the_generator_makes_rows_of_both_circles(trained):
    (model, *_), _ = trained
    rows = catgan.samples_per_cluster(model, 20)
    assert rows.shape == (2, 20, 2)
    low, high = model.params["range"]
    assert (low <= rows).all() and (rows <= high).all()
    radius = np.sort(np.median(np.linalg.norm(rows, axis=2), axis=1))
    np.testing.assert_allclose(radius, [0.3, 1.0], atol=0.25)
    log_assignment = model.infer(rows.reshape(-1, 2)).reshape(2, 20, 2)
    for cluster in range(2):
        assert (log_assignment[cluster].argmax(axis=1) == cluster).all()
    np.testing.assert_array_equal(rows, catgan.samples_per_cluster(model, 20))
    assert (rows != catgan.samples_per_cluster(model, 20, seed=1)).any()


def test_a_row_is_classified_alone_as_in_company(trained, circles):
    (model, state, _), _ = trained
    x, _ = circles
    alone = np.concatenate([model.infer(x[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(alone, state["log_assignment"][:4], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(
        np.exp(state["log_assignment"]).sum(axis=1), 1.0, rtol=1e-5
    )
    z = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    np.testing.assert_allclose(
        model.generate(z[:1]), model.generate(z)[:1], rtol=1e-4, atol=1e-5
    )


def test_a_run_that_goes_on_gives_the_same_model_again(circles, tmp_path):
    preset = dataclasses.replace(PRESET, epochs=2)
    models = []
    for _ in range(2):
        runner = Run(tmp_path)
        models.append(catgan.run(circles[0], preset, runner=runner)[0])
        runner.close()
    x = circles[0]
    np.testing.assert_array_equal(models[0].infer(x), models[1].infer(x))


def test_rows_of_a_test_are_scored_and_not_trained_on(circles):
    x, y = circles
    is_test = np.arange(len(x)) % 3 == 0
    preset = dataclasses.replace(PRESET, epochs=2)
    x = np.where(is_test[:, None], 2.0 * x, x)
    model, state, records = catgan.run(x, preset, y=y, is_test=is_test)
    np.testing.assert_array_equal(model.params["range"][1], x[~is_test].max(axis=0))
    alone, _, _ = catgan.run(x[~is_test], preset)
    np.testing.assert_array_equal(model.infer(x), alone.infer(x))
    accuracy = clustering_accuracy(y[is_test], state["labels"][is_test])
    assert records[-1]["accuracy"] == accuracy
    assert records[-1]["confident_label_accuracy"] == most_confident_label_accuracy(
        y[is_test], state["log_assignment"][is_test]
    )
    with pytest.raises(InvalidInput, match="is_test must mark some but not all"):
        catgan.run(x, preset, is_test=np.zeros(len(x), bool))


# What a step minimises


@pytest.fixture(scope="module")
def batch(circles):
    """Networks with noise, parameters, and a batch."""
    preset = dataclasses.replace(PRESET, hidden_sizes=(8,), input_noise=0.2)
    networks = catgan.networks_of(preset, 2)
    x = jnp.asarray(circles[0])
    params = {
        "classifier": networks.classifier.init(jax.random.key(0), x[:2])["params"],
        "generator": networks.generator.init(jax.random.key(1), jnp.ones((2, 4)))[
            "params"
        ],
        "range": jnp.array([[-1.0, -2.0], [1.0, 2.0]]),
    }
    # From the start all rows are as uncertain: no loss would see which they are.
    output = params["classifier"]["output"]
    output["kernel"] = 3e4 * output["kernel"]
    return networks, params, (x, jnp.float32(0.1)), jnp.arange(20)


def test_the_classifier_sees_data_and_forgeries_each_by_their_own_moments(batch):
    networks, params, (x, _), indices = batch
    quiet = dataclasses.replace(
        networks, classifier=networks.classifier.clone(noise=0.0)
    )
    data, key = (x, jnp.float32(0.0)), jax.random.key(2)
    value, output = catgan.ClassifierLoss(quiet)(params, data, indices, key)
    rows, _ = quiet.classify(params, x[indices])
    information = imsat.mutual_information(rows)
    _, generated_key = jax.random.split(key)
    _, noise_key = jax.random.split(generated_key)
    z = jax.random.normal(noise_key, (20, 4))
    forged = quiet.generate(params, z)[0]
    assert (np.abs(np.asarray(forged)) <= [1.0, 2.0]).all()
    entropy = imsat.mutual_information(quiet.classify(params, forged)[0])[1]
    metrics = output.metrics
    assert value == metrics["loss"]
    np.testing.assert_allclose(value, -information.total - entropy, rtol=1e-5)
    np.testing.assert_allclose(metrics["generated_entropy"], entropy, rtol=1e-5)
    np.testing.assert_allclose(metrics["marginal_entropy"], information[0], rtol=1e-5)
    value, output = catgan.GeneratorLoss(quiet)(params, data, indices, generated_key)
    expected = imsat.mutual_information(quiet.classify(params, forged)[0]).total
    np.testing.assert_allclose(value, -expected, rtol=1e-5)
    assert set(output.metrics) == {"generator_loss"}


def test_both_noises_are_seen_in_training_and_by_no_one_else(batch):
    networks, params, (x, blur), indices = batch
    key = jax.random.key(3)

    def value(networks, blur, key=key):
        loss = catgan.ClassifierLoss(networks)
        return loss(params, (x, jnp.float32(blur)), indices, key)[0]

    quiet = dataclasses.replace(
        networks, classifier=networks.classifier.clone(noise=0.0)
    )
    values = [value(quiet, 0.0), value(quiet, blur), value(networks, 0.0)]
    assert len({float(one) for one in values}) == 3
    assert value(networks, blur) == value(networks, blur)
    assert value(networks, blur) != value(networks, blur, jax.random.key(4))
    np.testing.assert_array_equal(
        networks.classify(params, x)[0], quiet.classify(params, x)[0]
    )


def test_the_generator_takes_no_rows(batch):
    networks, params, (x, blur), indices = batch
    loss, key = catgan.GeneratorLoss(networks), jax.random.key(0)
    assert loss.rows(None, indices, key).shape == (0,)
    value, _ = loss(params, (None, blur), indices, key)
    assert value == loss(params, (x, blur), indices, key)[0]
