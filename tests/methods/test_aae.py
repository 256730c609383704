"""AAE: planted clusters and styles, what each turn learns, and what the model says."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from dgg_jax.likelihoods import GaussianLikelihood
from dgg_jax.losses import aae as losses
from dgg_jax.methods import aae
from dgg_jax.metrics import clustering_accuracy, most_confident_label_accuracy
from dgg_jax.presets import AAEPreset
from dgg_jax.training import Run

PRESET = AAEPreset(
    num_clusters=3,
    hidden_sizes=(32, 32),
    latent_dim=2,
    likelihood="gaussian",
    epochs=200,
    batch_size=50,
    learning_rate=2e-3,
    decay=0.85,
)
METRICS = {
    *("loss", "encoder_loss", "cluster_critic", "cluster_critic_accuracy"),
    *("style_critic", "style_critic_accuracy"),
}


@pytest.fixture(scope="module")
def planted():
    """Three corners and two Gaussian columns beside them, turned: x [300, 5], y."""
    random = np.random.default_rng(0)
    y = random.permutation(np.arange(300) % 3)
    x = np.concatenate([4.0 * np.eye(3)[y], random.normal(size=(300, 2))], axis=1)
    turned, _ = np.linalg.qr(random.normal(size=(5, 5)))
    return (x @ turned).astype(np.float32), y


@pytest.fixture(scope="module")
def trained(planted):
    x, y = planted
    runner = Run()
    return aae.run(x, PRESET, seed=0, y=y, runner=runner), runner.history


def test_planted_clusters_are_found(trained, planted):
    (_, state, records), history = trained
    assert [record["name"] for record in records] == list(aae.STAGES)
    assert records[-1]["accuracy"] > 0.95
    assert records[-1]["confident_label_accuracy"] > 0.95
    assert clustering_accuracy(planted[1], state["labels"]) == records[-1]["accuracy"]
    assert len(history) == PRESET.epochs
    assert all(set(line) >= METRICS for line in history)
    assert history[-1]["loss"] < history[0]["loss"]


def test_the_clusters_are_as_even_as_their_prior(trained):
    (_, state, _), _ = trained
    weights = np.exp(state["log_assignment"]).mean(axis=0)
    assert np.sum(weights * np.log(weights * 3)) < 0.01  # nats


def test_the_critics_can_hardly_tell(trained):
    """At chance an accuracy of 0.5 and a loss of 2 ln 2."""
    _, history = trained
    for name in aae.CRITICS:
        last = [line[f"{name}_accuracy"] for line in history[-20:]]
        assert np.mean(last) == pytest.approx(0.5, abs=0.05)
        last = [line[name] for line in history[-20:]]
        assert np.mean(last) == pytest.approx(2 * np.log(2), abs=0.05)


def test_the_style_does_not_tell_the_cluster(trained, planted):
    (_, state, _), _ = trained
    code, y = state["latent_mean"], planted[1]
    style = code[:, 3:]
    assert np.abs(style.mean(axis=0)).max() < 0.3
    np.testing.assert_allclose(np.cov(style.T), np.eye(2), atol=0.35)
    half = np.arange(300) < 150
    guess = LogisticRegression().fit(style[half], y[half]).score(style[~half], y[~half])
    assert guess < 0.5  # a third at random
    guess = LogisticRegression().fit(code[half, :3], y[half])
    assert guess.score(code[~half, :3], y[~half]) > 0.95


def test_samples_are_of_the_planted_clusters(trained, planted):
    (model, *_), _ = trained
    x, y = planted
    samples = aae.samples_per_cluster(model, 50)
    assert samples.shape == (3, 50, 5)
    labels = np.asarray([model.infer(one)[1].argmax(axis=1) for one in samples])
    assert (labels == np.arange(3)[:, None]).mean() > 0.95
    centers = np.stack([x[y == k].mean(axis=0) for k in range(3)])
    distances = np.linalg.norm(samples.mean(axis=1)[:, None] - centers[None], axis=2)
    assert sorted(distances.argmin(axis=1)) == [0, 1, 2]
    assert distances.min(axis=1).max() < 1.0
    np.testing.assert_array_equal(samples, aae.samples_per_cluster(model, 50))


def test_a_row_is_encoded_alone_as_in_company(trained, planted):
    (model, state, _), _ = trained
    x, _ = planted
    code, log_assignment = model.infer(x[:1])
    np.testing.assert_allclose(code, state["latent_mean"][:1], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(
        log_assignment, state["log_assignment"][:1], rtol=1e-3, atol=1e-3
    )
    errors = np.square(model.decode(state["latent_mean"]) - x).mean()
    assert errors < 0.15 * x.var()


def test_a_finished_run_gives_the_same_model_again(planted, tmp_path):
    preset = dataclasses.replace(PRESET, epochs=2)
    codes = []
    for _ in range(2):
        runner = Run(tmp_path)
        codes.append(aae.run(planted[0], preset, runner=runner)[0].infer(planted[0]))
        runner.close()
    jax.tree.map(np.testing.assert_array_equal, *codes)


def test_rows_of_a_test_are_scored_and_not_trained_on(planted):
    x, y = planted
    is_test = np.arange(len(x)) % 3 == 0
    preset = dataclasses.replace(PRESET, epochs=2)
    model, state, records = aae.run(x, preset, y=y, is_test=is_test)
    alone, _, _ = aae.run(x[~is_test], preset)
    np.testing.assert_array_equal(model.infer(x)[1], alone.infer(x)[1])
    accuracy = clustering_accuracy(y[is_test], state["labels"][is_test])
    assert records[-1]["accuracy"] == accuracy
    assert records[-1]["confident_label_accuracy"] == most_confident_label_accuracy(
        y[is_test], state["log_assignment"][is_test]
    )


# What a step minimises


@pytest.fixture(scope="module")
def batch(planted):
    """Networks without noise, parameters, data and a batch."""
    preset = dataclasses.replace(PRESET, hidden_sizes=(8,), code_noise=0.0)
    networks = aae.networks_of(preset, 5)
    inputs = {
        name: jnp.ones((2, size))
        for name, size in zip(
            ("encoder", "decoder", *aae.CRITICS), (5, 5, 3, 5), strict=True
        )
    }
    params = {
        name: getattr(networks, name).init(jax.random.key(number), x)["params"]
        for number, (name, x) in enumerate(inputs.items())
    }
    data = jnp.asarray(planted[0]), GaussianLikelihood(0.5)
    return networks, params, data, jnp.arange(20)


def test_the_reconstruction_is_of_the_soft_code(batch):
    networks, params, (x, likelihood), indices = batch
    (log_assignments, z), _ = networks.encode(params, x[indices])
    code = jnp.concatenate([jnp.exp(log_assignments), z], axis=1)
    decoded = networks.decode(params, code)
    value, _ = aae.ReconstructionLoss(networks)(
        params, (x, likelihood), indices, jax.random.key(0)
    )
    squares = jnp.sum((x[indices] - decoded) ** 2, axis=1)
    expected = jnp.mean(squares) / (2 * 0.5) + 5 / 2 * np.log(2 * np.pi * 0.5)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_critics_and_encoder_disagree_on_the_same_codes(batch):
    networks, params, data, indices = batch
    (log_assignments, z), _ = networks.encode(params, data[0][indices])
    key = jax.random.key(5)
    judged = networks.judged(params, (jnp.exp(log_assignments), z), key)
    value, output = aae.EncoderLoss(networks)(params, data, indices, key)
    expected = sum(np.log1p(np.exp(-np.asarray(odds))).mean() for odds in judged)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert set(output.metrics) == {"encoder_loss"}
    value, output = aae.CriticLoss(networks)(params, data, indices, key)
    metrics = output.metrics
    np.testing.assert_allclose(
        value, metrics["cluster_critic"] + metrics["style_critic"], rtol=1e-5
    )
    keys = jax.random.split(key, 4)
    clusters = jax.random.randint(keys[0], (20,), 0, 3)
    drawn = jax.nn.one_hot(clusters, 3), jax.random.normal(keys[1], (20, 2))
    of_drawn = networks.judged(params, drawn, keys[2])
    for name, one, other in zip(aae.CRITICS, of_drawn, judged, strict=True):
        expected = jax.vmap(losses.critic_loss)(one, other).mean()
        np.testing.assert_allclose(metrics[name], expected, rtol=1e-5)
        right = (np.mean(one > 0) + np.mean(other < 0)) / 2
        np.testing.assert_allclose(metrics[f"{name}_accuracy"], right, rtol=1e-6)


def test_the_styles_critic_sees_the_cluster_and_leaves_it_alone(batch):
    networks, params, (x, _), indices = batch
    (log_assignments, z), _ = networks.encode(params, x[indices])
    clusters, key = jnp.exp(log_assignments), jax.random.key(0)

    def of_style(clusters, z):
        return networks.judged(params, (clusters, z), key)[1].sum()

    assert of_style(clusters, z) != of_style(clusters[::-1], z)
    of_clusters, of_z = jax.grad(of_style, (0, 1))(clusters, z)
    np.testing.assert_array_equal(of_clusters, 0.0)
    assert (of_z != 0).any()


def test_noise_blurs_what_decoder_and_critics_see(batch):
    networks, params, data, indices = batch
    x, _ = data
    noisy = dataclasses.replace(networks, noise=0.5)
    codes = networks.encode(params, x[indices])[0]
    assert noisy.encode(params, x[indices])[0][1].tolist() == codes[1].tolist()
    loss = [
        aae.ReconstructionLoss(one)(params, data, indices, jax.random.key(0))[0]
        for one in (networks, noisy)
    ]
    assert loss[0] != loss[1]
    keys = jax.random.split(jax.random.key(0))
    plain = [networks.judged(params, codes, key) for key in keys]
    blurred = [noisy.judged(params, codes, key) for key in keys]
    for number in range(2):
        np.testing.assert_array_equal(plain[0][number], plain[1][number])
        assert (blurred[0][number] != blurred[1][number]).all()
        assert (blurred[0][number] != plain[0][number]).all()
