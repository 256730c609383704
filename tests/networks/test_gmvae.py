"""GMVAE's recognition and component networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgg_jax.networks import (
    ComponentNetwork,
    ConvolutionalLayer,
    ConvolutionalTrunk,
    Decoder,
    DenseTrunk,
    RecognitionNetwork,
)

IMAGE_SHAPE = (4, 4, 1)
TRUNKS = {
    "dense": DenseTrunk((7, 6)),
    "convolutional": ConvolutionalTrunk(
        IMAGE_SHAPE, (ConvolutionalLayer(3, 2, 2, 0),), hidden_size=6
    ),
}


@pytest.fixture
def x():
    return np.random.default_rng(0).uniform(size=(5, 16)).astype(np.float32)


def dense(params, x, name):
    layer = jax.tree.map(np.asarray, params[name])
    return np.asarray(x, np.float64) @ layer["kernel"] + layer["bias"]


@pytest.fixture(params=TRUNKS)
def recognition(request, x):
    """The network, its variables and its features of x by the trunk alone."""
    trunk = TRUNKS[request.param]
    network = RecognitionNetwork(trunk.clone(), latent_dim=3, w_dim=2)
    variables = jax.jit(network.init, static_argnames="train")(
        jax.random.key(1), x, train=False
    )
    of_trunk = {name: collection["trunk"] for name, collection in variables.items()}
    return network, variables, trunk.apply(of_trunk, x, train=False)


def test_recognition_network_has_four_heads_on_one_trunk(recognition, x):
    network, variables, features = recognition
    params = variables["params"]
    heads = {"z_mean", "z_logvar", "w_mean", "w_logvar"}
    assert set(params) == {"trunk", *heads}
    z_posterior, w_posterior = network.apply(variables, x, train=False)
    assert z_posterior.mean.shape == z_posterior.logvar.shape == (5, 3)
    assert w_posterior.mean.shape == w_posterior.logvar.shape == (5, 2)
    for posterior, name in ((z_posterior, "z"), (w_posterior, "w")):
        expected = dense(params, features, f"{name}_mean")
        np.testing.assert_allclose(posterior.mean, expected, rtol=1e-4, atol=1e-5)
        assert np.abs(posterior.mean).max() > 0.0
        np.testing.assert_array_equal(posterior.logvar, 0.0)
    trained = {
        **params,
        "z_logvar": params["z_mean"],
        "w_logvar": params["w_mean"],
    }
    for posterior in network.apply({**variables, "params": trained}, x, train=False):
        np.testing.assert_array_equal(posterior.logvar, posterior.mean)


def test_dense_trunk_is_a_relu_network_of_the_papers_sizes(x):
    trunk = DenseTrunk((120, 120))
    variables = trunk.init(jax.random.key(1), x[:, :2])
    params = variables["params"]
    assert set(variables) == {"params"}
    shapes = {name: layer["kernel"].shape for name, layer in params.items()}
    assert shapes == {"hidden_0": (2, 120), "hidden_1": (120, 120)}
    expected = np.maximum(dense(params, x[:, :2], "hidden_0"), 0.0)
    expected = np.maximum(dense(params, expected, "hidden_1"), 0.0)
    for train in (False, True):
        actual = trunk.apply(variables, x[:, :2], train=train)
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_component_network_is_one_tanh_layer_with_two_heads():
    network = ComponentNetwork(hidden_size=7, num_clusters=4, latent_dim=3)
    w = np.random.default_rng(0).standard_normal((5, 2)).astype(np.float32)
    params = network.init(jax.random.key(1), w)["params"]
    shapes = {name: layer["kernel"].shape for name, layer in params.items()}
    assert shapes == {"hidden": (2, 7), "mean": (7, 12), "logvar": (7, 12)}
    mixtures = network.apply({"params": params}, w)
    assert mixtures.mean.shape == mixtures.logvar.shape == (5, 4, 3)
    assert mixtures.mean.dtype == mixtures.logvar.dtype == jnp.float32
    hidden = np.tanh(dense(params, w, "hidden"))
    expected = dense(params, hidden, "mean").reshape(5, 4, 3)
    np.testing.assert_allclose(mixtures.mean, expected, rtol=1e-4, atol=1e-5)
    trained = {**params, "logvar": params["mean"]}
    mixtures = network.apply({"params": trained}, w)
    np.testing.assert_array_equal(mixtures.logvar, mixtures.mean)


def test_components_start_close_but_not_equal_with_variance_1():
    network = ComponentNetwork(hidden_size=120, num_clusters=10, latent_dim=2)
    w = np.random.default_rng(0).standard_normal((50, 2)).astype(np.float32)
    mixtures = network.apply(network.init(jax.random.key(1), w), w)
    np.testing.assert_array_equal(mixtures.logvar, 0.0)
    between = np.linalg.norm(
        mixtures.mean[:, :, None] - mixtures.mean[:, None], axis=-1
    )
    apart = between.mean(axis=0)[~np.eye(10, dtype=bool)]
    assert apart.min() > 1e-5 and apart.max() < 1e-2


def test_dense_networks_of_the_synthetic_data_have_the_papers_parameters():
    # Tables A.1 to A.3: 2-120-120, heads of 2; 2-120 and 2K heads of 2; 2-120-120-2, 2.
    trunk = 2 * 120 + 120 + 120 * 120 + 120
    head = 120 * 2 + 2
    one = jax.ShapeDtypeStruct((1, 2), jnp.float32)

    def count(network, **options):
        def init(x):
            return network.init(jax.random.key(0), x, **options)

        return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(init, one)))

    recognition = RecognitionNetwork(DenseTrunk((120, 120)), latent_dim=2, w_dim=2)
    assert count(recognition, train=False) == trunk + 4 * head
    components = ComponentNetwork(hidden_size=120, num_clusters=5, latent_dim=2)
    assert count(components) == 2 * 120 + 120 + 10 * head
    assert count(Decoder((120, 120), 2, learned_variance=True)) == trunk + 2 * head
