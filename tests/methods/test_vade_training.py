"""The training of VaDE: its loss, its ablation, its schedule of the KL term."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from dgg_jax.likelihoods import Bernoulli
from dgg_jax.methods import vade
from dgg_jax.networks import Decoder, Encoder, Network, Networks
from dgg_jax.presets import VaDEPreset
from dgg_jax.training import Monitor, Rate, Rows, Schedule, optimize
from dgg_jax.types import Mixture

NUM_POINTS, NUM_FEATURES, NUM_LATENTS, NUM_CLUSTERS = 12, 4, 2, 3
ENCODER, DECODER = Encoder((6,), NUM_LATENTS), Decoder((6,), NUM_FEATURES)
NETWORKS = Networks(Network(ENCODER), Network(DECODER), vade.bayes_assignment)
LIKELIHOOD = Bernoulli()
TERMS = (
    "reconstruction",
    "latent_prior",
    "latent_entropy",
    "cluster_prior",
    "cluster_entropy",
)
RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(size=(NUM_POINTS, NUM_FEATURES)).astype(np.float32)
ROWS = Rows(X, LIKELIHOOD)
LABELS = np.arange(NUM_POINTS, dtype=np.int32) % 2  # of three clusters


@functools.cache
def model(seed=0):
    """Random parameters, with no entry that starts at 0."""
    z = jnp.zeros((1, NUM_LATENTS))
    params = {
        "encoder": ENCODER.init(jax.random.key(0), X[:1])["params"],
        "decoder": DECODER.init(jax.random.key(1), z)["params"],
        "mixture": Mixture(*np.zeros((2, NUM_CLUSTERS, NUM_LATENTS), np.float32)),
        "logits": np.zeros(NUM_CLUSTERS, np.float32),
    }
    random = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(leaf + 0.5 * random.normal(size=leaf.shape), "f4"),
        params,
    )


def loss_of(assignment="sample", num_samples=1, reconstruction_weight=1.0):
    return vade.VadeLoss(NETWORKS, assignment, num_samples, reconstruction_weight)


def value_and_grad(loss):
    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def expected_terms(params, indices, key, assignment, num_samples, held=None):
    """Means of the ELBO's terms and ln q(c | x), by numpy and scipy in float64."""
    x = X[indices].astype(np.float64)
    posterior = NETWORKS.encode(params["encoder"], X[indices])
    mean, logvar = (np.asarray(field, np.float64) for field in posterior)
    shape = (len(x), num_samples, NUM_LATENTS)
    z = mean[:, None] + np.exp(logvar / 2)[:, None] * jax.random.normal(key, shape)
    logits = np.asarray(NETWORKS.decode(params["decoder"], z.reshape(-1, 2)))
    logits = logits.reshape(len(x), num_samples, NUM_FEATURES).astype(np.float64)
    log_density = x[:, None] * special.log_expit(logits)
    log_density = log_density + (1.0 - x[:, None]) * special.log_expit(-logits)

    log_weights = special.log_softmax(np.asarray(params["logits"], np.float64))
    means, logvars = (np.asarray(field, np.float64) for field in params["mixture"])
    # E_q ln N(z; mu, s^2) = ln N(m; mu, s^2) - v / (2 s^2).
    components = stats.norm.logpdf(mean[:, None], means, np.exp(logvars / 2))
    components = components - 0.5 * np.exp(logvar[:, None] - logvars)
    components = components.sum(axis=2)  # [B, K]
    if held is not None:
        gamma = np.eye(NUM_CLUSTERS)[held]
    elif assignment == "mean_field":
        gamma = special.softmax(log_weights + components, axis=1)
    else:
        at_z = stats.norm.logpdf(z[:, :, None], means, np.exp(logvars / 2)).sum(axis=3)
        gamma = special.softmax(log_weights + at_z, axis=2).mean(axis=1)
    terms = (
        log_density.sum(axis=2).mean(axis=1),
        (gamma * components).sum(axis=1),
        stats.norm.entropy(mean, np.exp(logvar / 2)).sum(axis=1),
        gamma @ log_weights,
        stats.entropy(gamma, axis=1),
    )
    return dict(zip(TERMS, np.mean(terms, axis=1), strict=True)), gamma


@pytest.mark.parametrize("assignment", ["sample", "mean_field"])
@pytest.mark.parametrize("num_samples", [1, 3])
def test_loss_is_the_weighted_elbo(assignment, num_samples):
    params, indices, key = model(), jnp.array([7, 2, 11, 0, 5]), jax.random.key(3)
    loss = jax.jit(loss_of(assignment, num_samples, reconstruction_weight=2.5))
    terms, gamma = expected_terms(params, indices, key, assignment, num_samples)
    rest = sum(terms[name] for name in TERMS[1:])
    for kl_weight in (1.0, 0.25):
        value, output = loss(params, ((ROWS, None), kl_weight), indices, key)
        for name in TERMS:
            assert output.metrics[name] == pytest.approx(terms[name], rel=1e-4), name
        expected = 2.5 * terms["reconstruction"] + kl_weight * rest
        assert value == pytest.approx(-expected, rel=1e-4)
        assert output.metrics["objective"] == -value
        assert set(output.metrics) == {*TERMS, "objective"}
        np.testing.assert_allclose(np.exp(output.rows), gamma, rtol=1e-3, atol=1e-6)


def test_every_draw_counts():
    params, indices = model(), jnp.arange(NUM_POINTS)
    loss = jax.jit(loss_of(num_samples=2))
    values = {
        float(loss(params, ((ROWS, None), 1.0), indices, jax.random.key(seed))[0])
        for seed in range(2)
    }
    assert len(values) == 2


def test_held_labels_replace_the_assignment():
    params, indices, key = model(), jnp.array([4, 1, 9, 6]), jax.random.key(3)
    (value, output), gradient = value_and_grad(loss_of(num_samples=2))(
        params, ((ROWS, LABELS), 0.5), indices, key
    )
    held = LABELS[indices]
    terms, gamma = expected_terms(params, indices, key, "sample", 2, held)
    for name in TERMS:
        assert output.metrics[name] == pytest.approx(terms[name], rel=1e-4), name
    rest = sum(terms[name] for name in TERMS[1:])
    assert value == pytest.approx(-terms["reconstruction"] - 0.5 * rest, rel=1e-4)
    np.testing.assert_array_equal(np.exp(output.rows), gamma)
    assert output.metrics["cluster_entropy"] == 0.0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    # The component of no label has nothing to learn but that it is rare.
    np.testing.assert_array_equal(gradient["mixture"].mean[2], 0.0)
    assert (gradient["mixture"].mean[:2] != 0.0).all()
    weights = special.softmax(np.asarray(params["logits"], np.float64))
    expected = 0.5 * (weights - np.bincount(held, minlength=NUM_CLUSTERS) / len(held))
    np.testing.assert_allclose(gradient["logits"], expected, rtol=1e-4)


def test_reconstruction_loss_is_an_autoencoder_through_the_mean():
    params, indices = model(), jnp.array([3, 8, 0])
    loss = value_and_grad(vade.ReconstructionLoss(NETWORKS))
    (value, output), gradient = loss(
        params, ((ROWS, None), 1.0), indices, jax.random.key(0)
    )
    mean = NETWORKS.encode(params["encoder"], X[indices]).mean
    logits = np.asarray(NETWORKS.decode(params["decoder"], mean), np.float64)
    x = X[indices]
    elements = x * special.log_expit(logits) + (1 - x) * special.log_expit(-logits)
    assert value == pytest.approx(-elements.sum(axis=1).mean(), rel=1e-5)
    assert output.metrics == {"objective": -value}
    expected = vade.bayes_assignment(params, mean)
    np.testing.assert_allclose(output.rows, expected, rtol=1e-4, atol=1e-5)
    # Neither the key nor the weight of the KL term matters.
    (again, _), _ = loss(params, ((ROWS, None), 0.0), indices, jax.random.key(1))
    assert again == value
    untouched = gradient["mixture"], gradient["logits"], gradient["encoder"]["logvar"]
    for leaf in jax.tree.leaves(untouched):
        np.testing.assert_array_equal(leaf, 0.0)
    for leaf in (gradient["encoder"]["mean"], gradient["decoder"]["output"]):
        assert np.abs(leaf["kernel"]).max() > 1e-3


def test_bayes_assignment_of_one_and_of_many():
    params = model()
    z = np.random.default_rng(1).normal(size=(2, 4, NUM_LATENTS)).astype(np.float32)
    many = vade.bayes_assignment(params, z)
    assert many.shape == (2, 4, NUM_CLUSTERS)
    means, logvars = (np.asarray(field, np.float64) for field in params["mixture"])
    scale = np.exp(logvars / 2)
    joint = stats.norm.logpdf(z[:, :, None], means, scale).sum(axis=3)
    joint += special.log_softmax(np.asarray(params["logits"], np.float64))
    expected = special.log_softmax(joint, axis=2)
    np.testing.assert_allclose(many, expected, rtol=1e-4, atol=1e-4)
    one = vade.bayes_assignment(params, z[1, 2])
    np.testing.assert_allclose(one, many[1, 2], rtol=1e-5, atol=1e-6)


class Recorder(Monitor):
    """Metrics after every epoch."""

    def __init__(self):
        self.lines, self.loops = [], set()

    def epoch_end(self, loop, epoch, num_epochs, state, metrics):
        self.loops.add(loop)
        self.lines.append(metrics)

    def column(self, name):
        return np.array([line[name] for line in self.lines])


def stacked(*trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def train(models, keys, schedule, loss=None, rates=(), labels=None, **settings):
    """The last state and the epochs of restarts of ``models``."""
    monitor = Recorder()
    preset = VaDEPreset(
        batch_size=schedule.batch_size,
        kl_warmup_epochs=settings.pop("kl_warmup_epochs", 0),
    )
    objective = vade.vade_objective(preset, NETWORKS, ROWS, labels)
    objective |= {"loss": loss or loss_of(), "rates": dict(rates)}
    state = optimize(
        "loop",
        params=stacked(*models),
        table=np.zeros((len(models), NUM_POINTS, NUM_CLUSTERS), np.float32),
        key=keys,
        schedule=schedule,
        num_points=NUM_POINTS,
        monitor=monitor,
        restarts=True,
        **objective,
        **settings,
    )
    assert monitor.loops == {"loop"}
    return state, monitor


KEYS = jax.random.split(jax.random.key(5), 2)


def test_the_kl_weight_rises_in_stairs():
    """One stair an epoch, of two steps; also of the second restart."""
    schedule = Schedule(6, NUM_POINTS // 2, 1e-2)
    _, monitor = train(
        [model(0), model(1)],
        KEYS,
        schedule,
        loss=loss_of(reconstruction_weight=2.0),
        kl_warmup_epochs=3,
    )
    rest = sum(monitor.column(name) for name in TERMS[1:])
    objective, reconstruction = map(monitor.column, ("objective", "reconstruction"))
    weights = (objective - 2.0 * reconstruction) / rest
    expected = np.array([0.25, 0.5, 0.75, 1.0, 1.0, 1.0])
    np.testing.assert_allclose(weights, np.tile(expected[:, None], 2), rtol=1e-3)


def test_without_a_warm_up_the_kl_weight_is_one():
    _, monitor = train([model()], KEYS[:1], Schedule(2, NUM_POINTS // 2, 1e-2))
    total = sum(monitor.column(name) for name in TERMS)
    np.testing.assert_allclose(monitor.column("objective"), total, rtol=1e-5)


MIXTURE = ("mixture", "logits")


@pytest.mark.parametrize(("network_rate", "mixture_rate"), [(1e-9, 0.05), (0.05, 1e-9)])
def test_the_mixture_has_a_learning_rate_of_its_own(network_rate, mixture_rate):
    rates = {name: Rate(mixture_rate) for name in MIXTURE}
    schedule = Schedule(1, NUM_POINTS, network_rate, weight_decay=0.0)
    state, _ = train([model()], KEYS[:1], schedule, rates=rates)
    for name, before in model().items():
        rate = mixture_rate if name in MIXTURE else network_rate
        moved = jax.tree.map(
            lambda old, new: np.abs(np.asarray(new[0]) - old).max(),
            before,
            state.params[name],
        )
        # Adam's first step is as long as its rate, whatever the gradient.
        np.testing.assert_allclose(
            max(jax.tree.leaves(moved)), rate, rtol=0.01, atol=1e-6
        )


@pytest.mark.parametrize("held", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_restarts_know_nothing_of_each_other(held):
    models, schedule = [model(0), model(1)], Schedule(3, 5, 1e-2)
    labels = np.stack([LABELS, 2 - LABELS])
    settings = {"rates": {name: Rate(0.03, 0.5, 1) for name in MIXTURE}}
    both, together = train(
        models, KEYS, schedule, labels=labels if held else None, **settings
    )
    for restart in range(2):
        alone, single = train(
            models[restart : restart + 1],
            KEYS[restart : restart + 1],
            schedule,
            labels=labels[restart : restart + 1] if held else None,
            **settings,
        )
        for name in (*TERMS, "objective"):
            np.testing.assert_allclose(
                together.column(name)[:, restart],
                single.column(name)[:, 0],
                rtol=1e-3,
                atol=1e-5,
            )
        for many, one in (
            (both.params, alone.params),
            (both.table, alone.table),
        ):
            jax.tree.map(
                lambda many, one, restart=restart: np.testing.assert_allclose(
                    many[restart], one[0], rtol=1e-3, atol=1e-4
                ),
                many,
                one,
            )


def test_training_raises_the_objective_and_fills_the_table():
    described = []
    models = [model(0), model(1)]
    state, monitor = train(
        models,
        KEYS,
        Schedule(60, NUM_POINTS, 1e-2),
        loss=loss_of("mean_field", num_samples=4),
        describe=lambda state: described.append(1) or {"seen": len(described)},
    )
    objective = monitor.column("objective")
    assert (objective[-5:].mean(axis=0) > objective[:5].mean(axis=0) + 0.3).all()
    assert monitor.column("seen").tolist() == list(range(1, 61))
    np.testing.assert_allclose(np.exp(state.table).sum(axis=2), 1.0, rtol=1e-5)
