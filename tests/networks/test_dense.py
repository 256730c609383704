"""The dense networks against a forward pass by hand, their heads and first values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgg_jax.networks import (
    COLUMNS,
    PROJECTION,
    Classifier,
    Decoder,
    Embedding,
    Encoder,
    is_learned,
)
from dgg_jax.types import Gaussian

SIZES = [(2, (20, 20), 2), (784, (500, 500, 2000), 10)]


def kernel_shapes(module, num_inputs):
    """Shapes of all kernels, by layer, without running the network."""
    inputs = jax.ShapeDtypeStruct((1, num_inputs), jnp.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), inputs)
    assert set(variables) == {"params"}
    params = variables["params"]
    for name, layer in params.items():
        assert layer["bias"].shape == layer["kernel"].shape[1:], name
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    return {name: layer["kernel"].shape for name, layer in params.items()}


def initialized(module, num_inputs, num_rows=5):
    x = np.random.default_rng(0).standard_normal((num_rows, num_inputs))
    x = x.astype(np.float32)
    return module.init(jax.random.key(1), x)["params"], x


def forward(params, x, *names):
    """Dense layers by numpy in float64; ReLU after all but the last."""
    for name in names:
        layer = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params[name])
        x = x @ layer["kernel"] + layer["bias"]
        if name != names[-1]:
            x = np.maximum(x, 0.0)
    return x


@pytest.mark.parametrize(("num_features", "hidden_sizes", "latent_dim"), SIZES)
def test_layers_of_the_papers_networks(num_features, hidden_sizes, latent_dim):
    widths = (num_features, *hidden_sizes)
    hidden = {f"hidden_{i}": widths[i : i + 2] for i in range(len(hidden_sizes))}
    heads = (hidden_sizes[-1], latent_dim)
    assert kernel_shapes(Encoder(hidden_sizes, latent_dim), num_features) == {
        **hidden,
        "mean": heads,
        "logvar": heads,
    }
    assert kernel_shapes(Embedding(hidden_sizes, latent_dim), num_features) == {
        **hidden,
        "mean": heads,
    }
    mirrored = (latent_dim, *hidden_sizes[::-1])
    decoder = {
        **{f"hidden_{i}": mirrored[i : i + 2] for i in range(len(hidden_sizes))},
        "output": (hidden_sizes[0], num_features),
    }
    sizes = hidden_sizes[::-1]
    assert kernel_shapes(Decoder(sizes, num_features), latent_dim) == decoder
    learned = Decoder(sizes, num_features, learned_variance=True)
    assert kernel_shapes(learned, latent_dim) == {
        **decoder,
        "logvar": (hidden_sizes[0], num_features),
    }


def test_encoder_is_a_relu_network_with_a_head_for_the_mean():
    encoder = Encoder((7, 6), 3)
    params, x = initialized(encoder, 4)
    posterior = encoder.apply({"params": params}, x)
    assert posterior.mean.shape == posterior.logvar.shape == (5, 3)
    assert posterior.mean.dtype == posterior.logvar.dtype == jnp.float32
    expected = forward(params, x, "hidden_0", "hidden_1", "mean")
    np.testing.assert_allclose(posterior.mean, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(posterior.mean).max() > 0.0


def with_axes(module, num_inputs):
    """Parameters whose layer of principal components is drawn, and rows."""
    params, x = initialized(module, num_inputs)
    drawn = np.random.default_rng(1)
    (name,) = {PROJECTION, COLUMNS} & set(params)
    for leaf, value in params[name].items():
        np.testing.assert_array_equal(value, 0.0)
        params[name][leaf] = drawn.standard_normal(value.shape).astype(np.float32)
    return params, x, params[name]


@pytest.mark.parametrize("module", [Encoder((7, 6), 3), Embedding((7, 6), 3)])
def test_rows_are_seen_in_components(module):
    module = module.clone(num_components=2)
    params, x, layer = with_axes(module, 4)
    assert params["hidden_0"]["kernel"].shape == (2, 7)
    found = module.apply({"params": params}, x)
    components = (x - layer["mean"]) @ layer["axes"]
    expected = forward(params, components, "hidden_0", "hidden_1", "mean")
    mean = found.mean if isinstance(found, Gaussian) else found
    np.testing.assert_allclose(mean, expected, rtol=1e-4, atol=1e-5)
    one = module.apply({"params": params}, x[0])
    jax.tree.map(
        lambda one, all_: np.testing.assert_allclose(one, all_[0], atol=1e-5),
        one,
        found,
    )


def test_batches_are_seen_beside_components():
    encoder = Encoder((7,), 3, num_batches=2, num_components=3)
    params, x = initialized(encoder, 6)
    assert params[PROJECTION]["axes"].shape == (4, 3)
    assert params["hidden_0"]["kernel"].shape == (5, 7)
    moved = encoder.apply({"params": params}, x + np.float32([0, 0, 0, 0, 1, 0]))
    assert np.abs(moved.mean - encoder.apply({"params": params}, x).mean).max() > 0


@pytest.mark.parametrize("learned_variance", [False, True])
def test_rows_are_decoded_in_components(learned_variance):
    decoder = Decoder((6, 7), 4, learned_variance, num_components=2)
    params, z, layer = with_axes(decoder, 3)
    assert params["output"]["kernel"].shape == (7, 2)
    decoded = decoder.apply({"params": params}, z)
    if learned_variance:
        assert decoded.logvar.shape == (5, 4)
        decoded = decoded.mean
    components = forward(params, z, "hidden_0", "hidden_1", "output")
    expected = components @ layer["axes"] + layer["bias"]
    np.testing.assert_allclose(decoded, expected, rtol=1e-4, atol=1e-5)


def test_axes_have_no_gradient_and_are_not_learned_but_a_bias_is():
    decoder = Decoder((6,), 4, num_components=2)
    params, z, _ = with_axes(decoder, 3)
    gradient = jax.grad(lambda p: jnp.sum(decoder.apply({"params": p}, z) ** 2))(params)
    np.testing.assert_array_equal(gradient[COLUMNS]["axes"], 0.0)
    assert np.abs(gradient[COLUMNS]["bias"]).min() > 0.0
    assert np.abs(gradient["output"]["kernel"]).max() > 0.0
    encoder = {PROJECTION: {"mean": jnp.ones(4), "axes": jnp.ones((4, 2))}}
    told = is_learned({"decoder": params, "encoder": encoder, "pair": (1.0, 2.0)})
    assert told["pair"] == (True, True)
    assert told["encoder"] == {PROJECTION: {"mean": False, "axes": False}}
    assert told["decoder"].pop(COLUMNS) == {"axes": False, "bias": True}
    assert all(jax.tree.leaves(told["decoder"]))


def test_logvar_of_the_encoder_starts_at_0_everywhere_and_has_its_own_head():
    encoder = Encoder((7, 6), 3)
    params, x = initialized(encoder, 4)
    posterior = encoder.apply({"params": params}, 100.0 * x)
    np.testing.assert_array_equal(posterior.logvar, 0.0)

    trained = {**params, "logvar": {**params["mean"], "bias": jnp.array([1.0, 2, 3])}}
    posterior = encoder.apply({"params": trained}, x)
    expected = posterior.mean + np.array([[1.0, 2.0, 3.0]])
    np.testing.assert_allclose(posterior.logvar, expected, rtol=1e-5)


def test_decoder_returns_the_output_of_its_last_layer():
    decoder = Decoder((6, 7), 4)
    params, z = initialized(decoder, 3)
    decoded = decoder.apply({"params": params}, z)
    assert decoded.shape == (5, 4)
    assert decoded.dtype == jnp.float32
    expected = forward(params, z, "hidden_0", "hidden_1", "output")
    np.testing.assert_allclose(decoded, expected, rtol=1e-4, atol=1e-5)
    # No ReLU or sigmoid on logits.
    assert decoded.min() < 0.0


def test_decoder_with_learned_variance_starts_at_variance_1():
    decoder = Decoder((6, 7), 4, learned_variance=True)
    params, z = initialized(decoder, 3)
    decoded = decoder.apply({"params": params}, z)
    assert decoded.mean.shape == decoded.logvar.shape == (5, 4)
    np.testing.assert_array_equal(decoded.logvar, 0.0)
    plain = {name: params[name] for name in ("hidden_0", "hidden_1", "output")}
    np.testing.assert_array_equal(
        decoded.mean, Decoder((6, 7), 4).apply({"params": plain}, z)
    )
    trained = {**params, "logvar": params["output"]}
    decoded = decoder.apply({"params": trained}, z)
    np.testing.assert_array_equal(decoded.logvar, decoded.mean)


@pytest.mark.parametrize("hidden_sizes", [(), (4,)])
def test_classifier_returns_log_probabilities(hidden_sizes):
    classifier = Classifier(hidden_sizes, 4)
    params, z = initialized(classifier, 3)
    kernels = {name: layer["kernel"].shape for name, layer in params.items()}
    if hidden_sizes:
        assert kernels == {"hidden_0": (3, 4), "output": (4, 4)}
    else:
        assert kernels == {"output": (3, 4)}
    log_assignment = classifier.apply({"params": params}, z)
    assert log_assignment.shape == (5, 4)
    assert log_assignment.dtype == jnp.float32
    np.testing.assert_allclose(np.exp(log_assignment).sum(axis=1), 1.0, rtol=1e-6)
    logits = forward(params, z, *kernels)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.exp(log_assignment), expected, rtol=1e-4)


def test_classifier_is_finite_where_probabilities_underflow():
    classifier = Classifier((), 3)
    params, z = initialized(classifier, 2)
    log_assignment = classifier.apply({"params": params}, 1e6 * z)
    assert np.isfinite(log_assignment).all()
    assert log_assignment.min() < -1e4


def test_embedding_is_the_encoder_without_its_logvar_head():
    encoder = Encoder((7, 6), 3)
    params, x = initialized(encoder, 4)
    shared = {name: layer for name, layer in params.items() if name != "logvar"}
    np.testing.assert_array_equal(
        Embedding((7, 6), 3).apply({"params": shared}, x),
        encoder.apply({"params": params}, x).mean,
    )
