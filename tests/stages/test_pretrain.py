"""Each stage of pretraining lowers its loss and changes what it should, no more."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgg_jax.likelihoods import Bernoulli, GaussianLikelihood, LearnedVarianceGaussian
from dgg_jax.networks import Decoder, Encoder, Network, Networks
from dgg_jax.stages import pretrain
from dgg_jax.training import Monitor, Rows, Schedule, optimize
from dgg_jax.types import Gaussian

NUM_POINTS, NUM_FEATURES, NUM_LATENT, SIZES = 48, 6, 2, (8, 5)
LAYERS = [("hidden_0", "output"), ("hidden_1", "hidden_1"), ("mean", "hidden_0")]
ENCODER = Encoder(SIZES, NUM_LATENT)
LIKELIHOODS = {
    "bernoulli": Bernoulli(),
    "gaussian": GaussianLikelihood(0.1),
    "learned": LearnedVarianceGaussian(),
}


class Losses(Monitor):
    """The loss of every epoch, the last metrics and parameters, by loop."""

    def __init__(self):
        self.curves = {}
        self.metrics = {}
        self.params = {}

    def epoch_end(self, loop, epoch, num_epochs, state, metrics):
        self.curves.setdefault(loop, []).append(metrics["loss"])
        self.metrics[loop] = metrics
        self.params[loop] = jax.tree.map(np.array, state.params)


@pytest.fixture(scope="module")
def x():
    """Two patterns and noise, in [0, 1]."""
    rng = np.random.default_rng(0)
    patterns = np.array([[0.9, 0.9, 0.9, 0.1, 0.1, 0.1]])
    patterns = np.concatenate([patterns, 1.0 - patterns])
    noise = 0.05 * rng.standard_normal((NUM_POINTS, NUM_FEATURES))
    x = patterns[rng.integers(0, 2, NUM_POINTS)] + noise
    return np.clip(x, 0.0, 1.0).astype(np.float32)


def decoder_of(name):
    return Decoder(SIZES[::-1], NUM_FEATURES, learned_variance=name == "learned")


def initial(name="bernoulli"):
    x, z = jnp.zeros((1, NUM_FEATURES)), jnp.zeros((1, NUM_LATENT))
    return {
        "encoder": ENCODER.init(jax.random.key(0), x)["params"],
        "decoder": decoder_of(name).init(jax.random.key(1), z)["params"],
    }


def functions(name):
    return Networks(Network(ENCODER), Network(decoder_of(name))), LIKELIHOODS[name]


def changed(before, after):
    """Names of the leaves that differ, as network/layer/leaf."""
    assert jax.tree.structure(before) == jax.tree.structure(after)
    pairs = zip(jax.tree.leaves_with_path(before), jax.tree.leaves(after), strict=True)
    return {
        "/".join(entry.key for entry in path)
        for (path, leaf), other in pairs
        if (np.asarray(leaf) != np.asarray(other)).any()
    }


def all_names(params):
    return {
        "/".join(entry.key for entry in path)
        for path, _ in jax.tree.leaves_with_path(params)
    }


def dense(layer, h):
    return h @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"])


def relu(h):
    return np.maximum(h, 0.0)


@pytest.fixture(autouse=True)
def halved(monkeypatch):
    """Corruption that numpy can repeat: the rate is taken off every value."""
    monkeypatch.setattr(
        pretrain.autoencoder, "corrupt", lambda x, key, rate: x * (1.0 - rate)
    )


def layerwise(x, params, name):
    monitor = Losses()
    encoder, decoder = pretrain.layerwise(
        Rows(x, LIKELIHOODS[name]),
        params["encoder"],
        params["decoder"],
        LAYERS,
        corruption=0.5,
        schedule=Schedule(10, 10 * NUM_POINTS, 1e-2),
        key=jax.random.key(2),
        monitor=monitor,
    )
    return {"encoder": encoder, "decoder": decoder}, monitor


def mean_loss(name, x, decoded):
    return -np.mean(jax.vmap(LIKELIHOODS[name].log_prob)(x, decoded))


@pytest.mark.parametrize("name", ["bernoulli", "learned"])
def test_layers_are_denoising_autoencoders_one_after_the_other(x, name):
    params = initial(name)
    trained, monitor = layerwise(x, params, name)
    assert list(monitor.curves) == ["layer_1", "layer_2", "layer_3"]
    for curve in monitor.curves.values():
        assert len(curve) == 10
        assert curve[-1] < curve[0]
    spared = {
        "encoder/logvar/kernel",
        "encoder/logvar/bias",
        "decoder/logvar/kernel",
    }
    assert changed(params, trained) == all_names(params) - spared
    assert not changed(params, initial(name))
    # Once a layer is trained, those further in leave it alone.
    for (inner, outer), loop in zip(LAYERS, monitor.curves, strict=True):
        result = {
            "inner": trained["encoder"][inner],
            "outer": trained["decoder"][outer],
        }
        if name == "learned" and loop == "layer_1":
            result["logvar"] = trained["decoder"]["logvar"]["bias"]
        assert not changed(result, monitor.params[loop])

    # Each reconstructs the features of the trained layer before, from half of them:
    # losses of the first step, of one full batch.
    encoder, decoder = params["encoder"], params["decoder"]
    decoded = dense(decoder["output"], relu(dense(encoder["hidden_0"], 0.5 * x)))
    if name == "learned":
        decoded = Gaussian(decoded, np.zeros_like(decoded))
    first = [mean_loss(name, x, decoded)]
    h = relu(dense(trained["encoder"]["hidden_0"], x))
    hidden = relu(dense(encoder["hidden_1"], 0.5 * h))
    residual = h - relu(dense(decoder["hidden_1"], hidden))
    first.append(np.mean(0.5 * np.sum(residual**2, axis=1)))
    h = relu(dense(trained["encoder"]["hidden_1"], h))
    latent = dense(encoder["mean"], 0.5 * h)  # linear
    assert latent.min() < 0.0
    residual = h - relu(dense(decoder["hidden_0"], latent))
    first.append(np.mean(0.5 * np.sum(residual**2, axis=1)))
    assert [curve[0] for curve in monitor.curves.values()] == [
        pytest.approx(float(value), rel=1e-4) for value in first
    ]


def train(loop, loss, params, data, monitor):
    return optimize(
        loop,
        loss,
        params,
        data,
        jax.random.key(2),
        Schedule(60, 10 * NUM_POINTS, 1e-2),
        num_points=NUM_POINTS,
        monitor=monitor,
    ).params


@pytest.mark.parametrize("name", ["bernoulli", "learned"])
def test_deep_autoencoder_lowers_its_loss_and_spares_the_logvar_head(x, name):
    params, monitor = initial(name), Losses()
    networks, likelihood = functions(name)
    loss = pretrain.AutoencoderLoss(networks, corruption=0.5)
    trained = train("autoencoder", loss, params, Rows(x, likelihood), monitor)
    curve = monitor.curves["autoencoder"]
    assert len(curve) == 60
    assert curve[-1] < curve[0] - 0.3
    spared = {"encoder/logvar/kernel", "encoder/logvar/bias"}
    assert changed(params, trained) == all_names(params) - spared
    assert not changed(params, initial(name))
    # The first step, by the latent mean of half of x.
    latents = networks.encode(params["encoder"], 0.5 * x).mean
    decoded = networks.decode(params["decoder"], latents)
    assert curve[0] == pytest.approx(float(mean_loss(name, x, decoded)), rel=1e-4)


@pytest.mark.parametrize("name", ["gaussian", "learned"])
def test_vae_raises_its_elbo_and_trains_everything(x, name):
    params, monitor = initial(name), Losses()
    networks, likelihood = functions(name)
    loss = pretrain.VaeLoss(networks)
    trained = train("vae", loss, params, Rows(x, likelihood), monitor)
    curve = monitor.curves["vae"]
    assert curve[-1] < curve[0] - 0.3
    assert changed(params, trained) == all_names(params)
    metrics = monitor.metrics["vae"]
    parts = [metrics[t] for t in ("reconstruction", "latent_prior", "latent_entropy")]
    assert metrics["loss"] == pytest.approx(-sum(parts), rel=1e-5)
