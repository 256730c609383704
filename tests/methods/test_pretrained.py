import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy import sparse, special

from dgg_jax import DGG, metrics
from dgg_jax.checks import InvalidInput
from dgg_jax.data.synthetic import planted_patches
from dgg_jax.graph import smoothing
from dgg_jax.likelihoods import GaussianLikelihood
from dgg_jax.methods import dgg, gmvae, imsat, similarity
from dgg_jax.methods.parts import Parts, autoencoder_modules
from dgg_jax.methods.pretrained import autoencoder, latent_means, pretrained
from dgg_jax.methods.problem import Problem
from dgg_jax.methods.spectralnet import SpectralNetLoss
from dgg_jax.networks import (
    COLUMNS,
    PROJECTION,
    ConvolutionalLayer,
    Decoder,
    Embedding,
    Encoder,
    Network,
    log_normalized,
)
from dgg_jax.networks.convolutional import Convolution, TransposedConvolution
from dgg_jax.placement.rows import HostRows, sparse_rows
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


def untrained(
    x, *, is_test=None, batch=None, sample_weight=None, parts=None, **settings
):
    """What an autoencoder of three clusters is before any training."""
    settings |= {"pretrain_autoencoder_epochs": 0, "pretrain_vae_epochs": 0}
    told = {"is_test": is_test, "batch": batch, "sample_weight": sample_weight}
    told |= {"parts": parts} if parts else {}
    run = Run()
    problem = Problem.of(x, DGGPreset(num_clusters=3, **settings), runner=run, **told)
    return problem, run.stage("pretrain", lambda _: (pretrained(problem), {}), {})


def first_layer(x, is_centered, **given):
    """The encoder's first layer, and what it sees of rows, before any training."""
    given |= {"hidden_sizes": (16,), "pretrain_centered": is_centered}
    problem, state = untrained(x, **given)
    encoder, _ = autoencoder_modules(problem.preset, problem.num_features)
    return state["encoder"]["hidden_0"], encoder.seen


def test_a_centered_first_layer_takes_rows_as_if_they_were():
    x = np.random.default_rng(0).uniform(0.4, 0.6, (200, 12)).astype(np.float32)
    x[:, 3] += 0.3
    drawn, _ = first_layer(x, False)
    centered, _ = first_layer(x, True)
    rows = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0).mean())
    np.testing.assert_allclose(
        x @ centered["kernel"] + centered["bias"],
        rows @ drawn["kernel"] + drawn["bias"],
        atol=1e-4,
    )
    assert not np.allclose(x @ drawn["kernel"], rows @ drawn["kernel"], atol=0.1)


def test_rows_of_the_test_and_missing_values_do_not_move_the_first_layer():
    x = np.random.default_rng(0).uniform(0.4, 0.6, (200, 12)).astype(np.float32)
    far = np.r_[x, x + 0.3]
    is_test = np.arange(400) >= 200
    of_training, _ = first_layer(far, True, is_test=is_test)
    alone, _ = first_layer(x, True)
    jax.tree.map(np.testing.assert_array_equal, of_training, alone)
    x[::2, 0] = np.nan
    layer, _ = first_layer(x, True)
    assert np.isfinite(layer["kernel"]).all() and np.isfinite(layer["bias"]).all()


def test_equal_rows_have_a_centered_first_layer_too():
    x = np.full((40, 12), 0.5, np.float32)
    x[20:] = np.random.default_rng(0).uniform(size=(20, 12))
    layer, _ = first_layer(x, True, is_test=np.arange(40) >= 20)
    np.testing.assert_allclose(
        np.full(12, 0.5) @ layer["kernel"] + layer["bias"], 0.0, atol=1e-6
    )


def test_a_centered_first_layer_of_counts_and_batches():
    x = np.random.default_rng(0).poisson(3.0, (200, 12)).astype(np.float32)
    batch = np.arange(200) % 2
    kwargs = {"batch": batch, "likelihood": "negative_binomial"}
    drawn, seen = first_layer(x, False, **kwargs)
    centered, _ = first_layer(x, True, **kwargs)
    logs = np.asarray(seen(x))
    rows = (logs - logs.mean(axis=0)) / np.sqrt(logs.var(axis=0).mean())
    np.testing.assert_allclose(
        logs @ centered["kernel"][:12] + centered["bias"],
        rows @ drawn["kernel"][:12],
        atol=1e-4,
    )
    np.testing.assert_array_equal(centered["kernel"][12:], drawn["kernel"][12:])


@pytest.mark.parametrize("place", [sparse_rows, HostRows])
def test_a_centered_first_layer_of_rows_that_are_kept_elsewhere(place, monkeypatch):
    x = sparse.random_array((200, 12), density=0.3, rng=0, dtype=np.float32).tocsr()
    dense, _ = first_layer(x.toarray(), True)
    monkeypatch.setattr("dgg_jax.methods.problem.place", lambda x, *_, **__: place(x))
    layer, _ = first_layer(x, True)
    jax.tree.map(np.testing.assert_array_equal, layer, dense)


def test_outliers_and_rows_of_no_weight_do_not_move_the_first_layer():
    x = np.random.default_rng(0).uniform(0.4, 0.6, (300, 12)).astype(np.float32)
    given = {"likelihood": "gaussian", "sample_weight": np.repeat([1.0, 0.0], 150)}
    alone, _ = first_layer(x, True, **given)
    x[150:] += 5.0
    far, _ = first_layer(x, True, **given)
    jax.tree.map(np.testing.assert_array_equal, far, alone)
    typical, _ = first_layer(x[:150], True, likelihood="gaussian")
    x[0, 0] = 1e6
    far, _ = first_layer(x[:150], True, likelihood="gaussian")
    np.testing.assert_allclose(far["kernel"], typical["kernel"], rtol=0.05)
    np.testing.assert_allclose(far["bias"], typical["bias"], rtol=0.05)


def test_an_encoder_without_hidden_layers_is_centered():
    x = np.random.default_rng(0).uniform(0.4, 0.6, (200, 12)).astype(np.float32)
    layers = []
    for is_centered in (False, True):
        _, state = untrained(x, hidden_sizes=(), pretrain_centered=is_centered)
        layers.append(state["encoder"]["mean"])
    drawn, centered = layers
    rows = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0).mean())
    np.testing.assert_allclose(
        x @ centered["kernel"] + centered["bias"], rows @ drawn["kernel"], atol=1e-4
    )


def test_an_encoder_of_ones_own_starts_as_it_does():
    x = np.random.default_rng(0).uniform(0.4, 0.6, (40, 12)).astype(np.float32)
    parts = Parts(encoder=Encoder((5,), 10))
    states = [
        untrained(x, parts=parts, pretrain_centered=is_centered)[1]["encoder"]
        for is_centered in (False, True)
    ]
    jax.tree.map(np.testing.assert_array_equal, *states)


def axes_of(x, number):
    """Mean, leading components [D, P] and mean spread of rows, in float64."""
    x = np.asarray(x, np.float64)
    _, spreads, axes = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    spreads, axes = spreads[:number] / np.sqrt(len(x)), axes[:number].T
    return x.mean(axis=0), axes, np.sqrt(np.square(spreads).sum() / number)


class InComponents(NamedTuple):
    """The outermost layers before any training, None where they have columns."""

    encoding: dict | None
    decoding: dict | None

    def seen(self, x):
        """What the encoder sees of rows."""
        return (x - self.encoding["mean"]) @ np.asarray(self.encoding["axes"])

    def told(self, components):
        """Means or logits of columns."""
        return components @ np.asarray(self.decoding["axes"]) + self.decoding["bias"]

    def rows(self, x):
        """Rows as they pass through both."""
        return np.asarray(self.told(self.seen(x)))


def in_components(x, number, **given):
    """The outermost layers of an autoencoder of so many components."""
    given |= {"hidden_sizes": (16,), "principal_components": number}
    _, state = untrained(x, **given)
    layers = state["encoder"].get(PROJECTION), state["decoder"].get(COLUMNS)
    return InComponents(*jax.tree.map(np.asarray, layers))


def correlated(num_rows, num_columns=20, low=0.3, high=0.7):
    """Rows whose columns vary together, in four ways."""
    rng = np.random.default_rng(0)
    ways = rng.standard_normal((4, num_columns)) * np.array([[4.0], [3.0], [2.0], [1]])
    x = rng.standard_normal((num_rows, 4)) @ ways
    x += 0.01 * rng.standard_normal(x.shape)
    x = low + (high - low) * (x - x.min()) / (x.max() - x.min())
    return x.astype(np.float32)


def test_networks_see_and_give_back_rows_in_principal_components():
    x = correlated(200) + 0.3 * np.arange(20, dtype=np.float32)
    mean, axes, spread = axes_of(x, 4)
    layers = in_components(x, 4, likelihood="gaussian")
    seen = layers.seen(x)
    expected = (x - mean) @ axes / spread
    signs = np.sign(np.sum(seen * expected, axis=0))
    np.testing.assert_allclose(seen, expected * signs, atol=1e-3)
    np.testing.assert_allclose(np.square(seen).sum(axis=1).mean(), 4.0, rtol=1e-3)
    np.testing.assert_allclose(layers.rows(x), x, atol=0.05)  # four tell nearly all


def test_logits_are_told_in_principal_components():
    x = correlated(300, low=0.45, high=0.55)
    x[:, 0] = 0.0  # a column that is black
    told = special.expit(in_components(x, 4).rows(x))
    np.testing.assert_allclose(told[:, 1:], x[:, 1:], atol=2e-3)
    np.testing.assert_allclose(told[:, 0], 0.01, atol=1e-6)


def test_of_no_fewer_components_than_columns_networks_have_these():
    x = correlated(60)
    assert in_components(x, 20) == in_components(x, 25) == (None, None)


def test_components_of_few_rows_and_of_equal_ones():
    x = np.random.default_rng(0).random((40, 20), np.float32)
    is_test = np.arange(40) >= 5
    layers = in_components(x, 8, is_test=is_test, likelihood="gaussian")
    assert layers.encoding["axes"].shape == (20, 8)
    np.testing.assert_array_equal(layers.encoding["axes"][:, 5:], 0.0)
    np.testing.assert_allclose(layers.rows(x[:5]), x[:5], atol=1e-5)
    x[:5] = 0.5
    layers = in_components(x, 8, is_test=is_test)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(layers))


@pytest.mark.parametrize("spread", [0.0, 0.05])
def test_small_clusters_far_from_a_large_one_are_seen(spread):
    rng = np.random.default_rng(0)
    centers = rng.random((4, 400)).astype(np.float32)
    y = np.repeat(np.arange(4), [150, 20, 20, 20])
    x = centers[y] + spread * rng.standard_normal((len(y), 400))
    layers = in_components(x.astype(np.float32), 50, likelihood="gaussian")
    np.testing.assert_allclose(layers.rows(centers), centers, atol=0.15)


def test_outliers_the_test_and_rows_of_no_weight_are_in_no_component():
    x = correlated(300)
    is_test = np.arange(300) >= 150
    weights = np.repeat([1.0, 2.0, 0.0], [50, 100, 150])
    by_test = in_components(x, 4, likelihood="gaussian", is_test=is_test)
    by_weights = in_components(x, 4, likelihood="gaussian", sample_weight=weights)
    x[150:] += 5.0
    again = in_components(x, 4, likelihood="gaussian", is_test=is_test)
    jax.tree.map(np.testing.assert_array_equal, again, by_test)
    again = in_components(x, 4, likelihood="gaussian", sample_weight=weights)
    jax.tree.map(np.testing.assert_array_equal, again, by_weights)

    repeated = np.r_[x[:50], x[50:150], x[50:150]]
    repeated = in_components(repeated, 4, likelihood="gaussian")
    for layer, other in zip(repeated, by_weights, strict=True):
        off = np.abs(np.abs(layer["axes"]) - np.abs(other["axes"])).max()
        assert off < 0.01 * np.abs(other["axes"]).max()


@pytest.mark.parametrize("far", [1e3, 1e6, np.finfo(np.float32).max])
def test_an_outlier_takes_one_component_at_most(far):
    x = correlated(150)
    rows = x.copy()
    rows[0] = far
    layers = in_components(rows, 5, likelihood="gaussian")
    np.testing.assert_allclose(layers.rows(x[1:]), x[1:], atol=0.05)


def test_components_of_counts_and_batches():
    x = np.random.default_rng(0).poisson(3.0, (200, 12)).astype(np.float32)
    x[:100, :5] *= 20
    x[:, 11] = 0.0  # nobody has it
    kwargs = {"batch": np.arange(200) % 2, "likelihood": "negative_binomial"}
    layers = in_components(x, 1, **kwargs)
    seen = layers.seen(np.asarray(log_normalized(x)))
    assert np.all(np.sign(seen[:100]) == -np.sign(seen[100:]))
    shares = special.softmax(layers.told(seen), axis=1)
    assert shares[:100, :5].sum(axis=1).min() > shares[100:, :5].sum(axis=1).max()
    mean_shares = (x / x.sum(axis=1, keepdims=True)).mean(axis=0)
    told = special.softmax(layers.decoding["bias"])
    np.testing.assert_allclose(told, mean_shares, atol=0.002)


@pytest.mark.parametrize("place", [sparse_rows, HostRows])
def test_components_of_rows_that_are_kept_elsewhere(place, monkeypatch):
    x = sparse.random_array((200, 12), density=0.3, rng=0, dtype=np.float32).tocsr()
    dense = in_components(x.toarray(), 4)
    monkeypatch.setattr("dgg_jax.methods.problem.place", lambda x, *_, **__: place(x))
    jax.tree.map(np.testing.assert_array_equal, in_components(x, 4), dense)


def test_parts_of_ones_own_have_columns():
    x = correlated(40)
    own = Encoder((5,), 10), Decoder((5,), 20)
    layers = in_components(x, 4, parts=Parts(encoder=own[0]))
    assert layers.encoding is None and layers.decoding is not None
    layers = in_components(x, 4, parts=Parts(decoder=own[1]))
    assert layers.encoding is not None and layers.decoding is None
    layers = in_components(x, 4, parts=Parts(likelihood=GaussianLikelihood(0.1)))
    assert layers.encoding is not None and layers.decoding is None
    assert in_components(x, 4, parts=Parts(*own)) == (None, None)
    theirs = Parts(encoder=Encoder((5,), 10, num_components=3))
    layers = in_components(x, 4, parts=theirs)
    np.testing.assert_array_equal(layers.encoding["axes"], np.zeros((20, 3)))


def test_components_of_rows_that_miss_values_are_refused():
    x = correlated(40)
    x[3, 4] = np.nan
    with pytest.raises(InvalidInput, match=r"principal_components=5 need rows whose"):
        untrained(x, principal_components=5)
    untrained(x, principal_components=20)  # which are the columns


def test_an_encoder_without_hidden_layers_sees_components_and_batches():
    x, batch = correlated(60), np.arange(60) % 2
    settings = {"hidden_sizes": (), "principal_components": 3, "siamese_epochs": 1}
    model = DGG(3, preset="smoke", graph_of="siamese", **settings).fit(x, batch=batch)
    assert model.model_.params["encoder"]["mean"]["kernel"].shape == (3 + 2, 10)


@pytest.mark.parametrize("start", ["encoder", "random"])
def test_components_stay_as_they_are_in_all_stages(start, monkeypatch):
    x, y = blobs()
    x = np.concatenate([x, x[:, ::-1], np.zeros((len(x), 6), np.float32)], axis=1)
    seen, embed_all = [], similarity.embed_all

    def embedded(network, params, x):
        seen.append(params[PROJECTION])
        return embed_all(network, params, x)

    monkeypatch.setattr(similarity, "embed_all", embedded)
    settings = {"principal_components": 2, "siamese_init": start, "siamese_epochs": 2}
    before = in_components(x, 2)
    model = DGG(3, preset="smoke", random_state=0, **settings).fit(x)
    params = model.model_.params
    encoding, decoding = params["encoder"][PROJECTION], params["decoder"][COLUMNS]
    jax.tree.map(np.testing.assert_array_equal, encoding, before.encoding)
    np.testing.assert_array_equal(decoding["axes"], before.decoding["axes"])
    assert np.abs(decoding["bias"] - before.decoding["bias"]).max() > 0  # learned
    jax.tree.map(np.testing.assert_array_equal, seen, [encoding])
    assert metrics.clustering_accuracy(y, model.labels_) == 1.0
    np.testing.assert_array_equal(model.predict(x), model.labels_)
    assert model.inverse_transform(model.transform(x)).shape == x.shape
