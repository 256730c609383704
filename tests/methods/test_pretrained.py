import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy import sparse

from dgg_jax.data.synthetic import planted_patches
from dgg_jax.graph import smoothing
from dgg_jax.methods import dgg, gmvae, imsat
from dgg_jax.methods.parts import Parts, autoencoder_modules
from dgg_jax.methods.pretrained import autoencoder, latent_means, pretrained
from dgg_jax.methods.problem import Problem
from dgg_jax.methods.spectralnet import SpectralNetLoss
from dgg_jax.networks import (
    ConvolutionalLayer,
    Embedding,
    Encoder,
    Network,
)
from dgg_jax.networks.convolutional import Convolution, TransposedConvolution
from dgg_jax.presets import DGGPreset, preset
from dgg_jax.training import Run
from dgg_jax.types import Gaussian
from tests.methods.toy import blobs

PRODUCTS = {
    "float32": "precision = [HIGHEST, HIGHEST]",
    "tf32": "precision = [HIGH, HIGH]",
    "bfloat16": "lhs_precision_type = bf16, rhs_precision_type = bf16, "
    "accumulation_type = f32",
}


def products(function, *arguments):
    """The matrix products of a function as a GPU would be told to compute them."""
    exported = jax.export.export(jax.jit(function), platforms=["cuda"])(*arguments)
    lines = exported.mlir_module().splitlines()
    return [line for line in lines if "stablehlo.dot_general" in line]


@pytest.mark.parametrize("precision", PRODUCTS)
def test_products_and_their_gradients_have_the_precision(precision):
    module, x = Encoder((5, 6), 2), jnp.ones((3, 4))
    params = module.init(jax.random.key(0), x)["params"]

    def total(params, x):
        posterior = Network(module, precision)(params, x)
        return jnp.sum(posterior.mean) + jnp.sum(posterior.logvar)

    lines = products(jax.value_and_grad(total, argnums=(0, 1)), params, x)
    # Of four layers, two of which are the heads, each with two gradients.
    assert len(lines) == 4 * 3
    assert all(PRODUCTS[precision] in line for line in lines)
    np.testing.assert_array_equal(
        Network(module, precision)(params, x).mean,
        module.apply({"params": params}, x)[0],
    )


@pytest.mark.parametrize("precision", PRODUCTS)
def test_the_networks_of_a_method_have_the_precision_of_its_preset(precision):
    settings = dataclasses.replace(preset("dgg", "mnist"), precision=precision)
    networks = dgg.networks_of(settings, 4)
    x = jnp.ones((1, 4))
    encoder, decoder = autoencoder_modules(settings, 4)
    z = jnp.ones((1, settings.latent_dim))
    params = {
        "encoder": encoder.init(jax.random.key(0), x)["params"],
        "decoder": decoder.init(jax.random.key(0), z)["params"],
        "classifier": dgg.classifier_module(settings).init(jax.random.key(0), z)[
            "params"
        ],
    }

    def forward(params, x):
        z = networks.encode(params["encoder"], x).mean
        return networks.decode(params["decoder"], z), networks.classify(params, z)

    lines = products(forward, params, x)
    assert len(lines) == 9  # the head of the log-variances is not asked for
    assert all(PRODUCTS[precision] in line for line in lines)


def test_the_networks_of_gmvae_have_it_too():
    settings = dataclasses.replace(preset("gmvae", "digits"), precision="tf32")
    networks = gmvae.networks_of(settings, (4,))
    modules = gmvae.build_networks(settings, (4,))
    inputs = [jnp.ones((2, size)) for size in (4, settings.w_dim, settings.latent_dim)]
    names = {"recognition": {"train": True}, "components": {}, "decoder": {}}
    params = {
        name: module.init(jax.random.key(0), x, **flags)["params"]
        for (name, flags), module, x in zip(names.items(), modules, inputs, strict=True)
    }

    def forward(params, x, w, z):
        recognized = networks.recognize(params, (), x, True)[0]
        decoded = networks.decode(params, (), z, True)[0]
        return recognized, networks.components(params, w), decoded

    lines = products(forward, params, *inputs)
    assert len(lines) == 6 + 3 + 3
    assert all(PRODUCTS["tf32"] in line for line in lines)


@pytest.mark.parametrize("module", [Convolution, TransposedConvolution])
def test_convolutions_and_their_gradients_have_the_precision(module):
    layer = ConvolutionalLayer(3, kernel=4, stride=2, padding=1)
    module = module(layer) if module is Convolution else module(layer, channels=3)
    x = jnp.ones((2, 4, 4, 3))
    params = module.init(jax.random.key(0), x)["params"]

    def total(params, x):
        return jnp.sum(Network(module, "float32")(params, x))

    text = str(jax.make_jaxpr(jax.value_and_grad(total, argnums=(0, 1)))(params, x))
    assert text.count("conv_general_dilated[") == 3
    assert text.count("precision=(Precision.HIGHEST, Precision.HIGHEST)") == 3


def test_layers_are_pretrained_with_the_precision(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "dgg_jax.methods.pretrained.layerwise",
        lambda x, encoder, decoder, *arguments, **settings: (
            seen.append(jax.config.jax_default_matmul_precision) or (encoder, decoder)
        ),
    )
    settings = dataclasses.replace(
        preset("dgg", "digits"), pretrain_layer_epochs=1, pretrain_autoencoder_epochs=1
    )
    x = np.random.default_rng(0).random((30, 5), np.float32)
    runner = Run()
    problem = Problem.of(x, settings, runner=runner)
    runner.stage("pretrain", lambda state: (pretrained(problem), {}), {})
    assert seen == ["highest"]


def test_products_outside_of_networks_are_precise():
    network = Network(Embedding((3,), 2))
    x, key = jnp.ones((4, 5)), jax.random.key(0)
    params = network.module.init(key, x)["params"]
    loss = SpectralNetLoss(network, num_neighbors=2, normalized=False)

    def value(params):
        return loss(params, (x, x), jnp.arange(4), key)[0]

    buckets = smoothing.bucket_rows(sparse.csr_array(np.ones((4, 4))))
    for lines in (
        products(jax.grad(value), params),
        products(smoothing.multiply, buckets, x),
    ):
        assert lines
        assert all(PRODUCTS["float32"] in line for line in lines)


def test_on_a_cpu_lower_precision_is_float32_and_says_so(caplog):
    x, _ = blobs()
    settings = dataclasses.replace(
        preset("imsat", "digits", "smoke"), num_clusters=3, epochs=1
    )
    model, _, _ = imsat.run(x, settings)
    assert "precision" not in caplog.text
    lower = dataclasses.replace(settings, precision="bfloat16")
    same, _, _ = imsat.run(x, lower)
    assert "precision=bfloat16: a CPU computes in float32" in caplog.text
    np.testing.assert_array_equal(model.infer(x), same.infer(x))


def vae_of(x, parts=None, **settings):
    """The loops of a pretraining, and the latents' means after it."""
    chosen = DGGPreset(
        latent_dim=10, pretrain_autoencoder_epochs=8, pretrain_batch_size=64, **settings
    )
    loops = []
    run = Run(on_epoch=lambda stage, loop, *rest: loops.append(loop))
    problem = Problem.of(x, chosen, runner=run, **({"parts": parts} if parts else {}))

    def pretrain(problem, state):
        return pretrained(problem), {}

    params = run.stage("pretrain", pretrain, problem, {})
    means = latent_means(problem, autoencoder(problem), params)
    return list(dict.fromkeys(loops)), means


@pytest.mark.slow
def test_a_vae_that_collapses_starts_again_from_narrow_posteriors():
    x, _ = planted_patches(3000)
    loops, means = vae_of(x, hidden_sizes=(64, 64), pretrain_vae_epochs=10)
    assert loops == ["autoencoder", "vae", "vae_2"]
    assert (means.var(axis=0) > 0.01).all()


def test_a_vae_that_stays_collapsed_says_so(caplog):
    settings = {"hidden_sizes": (8,), "pretrain_vae_epochs": 1}
    x = np.random.default_rng(0).random((100, 12), np.float32) / 100 + 0.5
    loops, means = vae_of(x, **settings)
    assert loops == ["autoencoder", "vae", "vae_2"]
    assert (means.var(axis=0) < 0.01).all() and "The VAE has collapsed" in caplog.text


def test_a_vae_whose_latents_tell_rows_apart_is_kept():
    settings = {"hidden_sizes": (8,), "pretrain_vae_epochs": 1}
    x = np.eye(2, dtype=np.float32).repeat(50, axis=0).repeat(40, axis=1)
    x = 0.8 * x + 0.2 * np.random.default_rng(0).random(x.shape, np.float32)
    loops, means = vae_of(x, **settings)
    assert loops == ["autoencoder", "vae"]
    assert means.var(axis=0).max() > 0.01


@pytest.mark.parametrize("name", ["spread", "logvar"])
def test_an_encoder_of_ones_own_does_not_start_again(name):
    class Constant(nn.Module):
        @nn.compact
        def __call__(self, x):
            mean = nn.Dense(10, name="head")(0.0 * x)
            logvar = self.param(name, nn.initializers.zeros, (10,))
            return Gaussian(mean, jnp.broadcast_to(logvar[None], mean.shape))

    parts = Parts(encoder=Constant())
    settings = {"hidden_sizes": (8,), "pretrain_vae_epochs": 1}
    loops, means = vae_of(np.eye(100, 12, dtype=np.float32), parts, **settings)
    assert loops == ["autoencoder", "vae"] and means.var() < 0.01
