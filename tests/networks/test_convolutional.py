"""The convolutional networks against convolutions by loops, their shapes and errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from dgg_jax.checks import InvalidInput
from dgg_jax.networks import (
    MNIST_LAYERS,
    SVHN_LAYERS,
    ConvolutionalDecoder,
    ConvolutionalLayer,
    ConvolutionalTrunk,
)
from dgg_jax.networks.convolutional import (
    convolve,
    convolve_transposed,
    feature_shapes,
)

IMAGES = {"mnist": ((28, 28, 1), MNIST_LAYERS), "svhn": ((32, 32, 3), SVHN_LAYERS)}
# Small networks of the same kinds of layers, on images that are not square.
SMALL_SHAPE = (8, 6, 2)
SMALL_LAYERS = (ConvolutionalLayer(3, 3, 1, 0), ConvolutionalLayer(4, 4, 2, 1))
GEOMETRIES = {
    "stride 1": ((6, 5), ConvolutionalLayer(3, 3, 1, 0)),
    "stride 2 with padding": ((6, 8), ConvolutionalLayer(3, 4, 2, 1)),
    "as wide as the image": ((3, 3), ConvolutionalLayer(2, 3, 1, 0)),
    "padding as wide as the window allows": ((4, 3), ConvolutionalLayer(2, 3, 1, 2)),
    "stride 3, no padding": ((8, 5), ConvolutionalLayer(2, 2, 3, 0)),
}


def convolved(image, kernel, layer):
    """The convolution of one batch by loops over the output's pixels."""
    _, size, stride, padding = layer
    image = np.pad(image, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    height, width = ((n - size) // stride + 1 for n in image.shape[1:3])
    output = np.zeros((len(image), height, width, kernel.shape[-1]))
    for i, j in np.ndindex(height, width):
        top, left = i * stride, j * stride
        window = image[:, top : top + size, left : left + size]
        output[:, i, j] = np.tensordot(window, kernel, 3)
    return output


@pytest.fixture(params=GEOMETRIES)
def example(request):
    """An image, a kernel, an output and their geometry."""
    size, layer = GEOMETRIES[request.param]
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, *size, 2))
    kernel = rng.normal(size=(layer.kernel, layer.kernel, 2, layer.features))
    code = rng.normal(size=(2, *feature_shapes((*size, 2), [layer])[-1]))
    return image, kernel, code, layer


# Convolutions


def test_convolution_matches_loops_and_its_mirror_is_its_adjoint(x64, example):
    image, kernel, code, layer = example
    output = jax.jit(convolve, static_argnums=2)(image, kernel, layer)
    expected = convolved(image, kernel, layer)
    np.testing.assert_allclose(output, expected, rtol=1e-10, atol=1e-12)
    mirrored = jax.jit(convolve_transposed, static_argnums=2)(code, kernel, layer)
    assert mirrored.shape == image.shape
    # <A x, y> = <x, A' y> for every pixel of x alone.
    pixels = np.eye(image[0].size).reshape(-1, *image.shape[1:])
    columns = convolved(pixels, kernel, layer)
    adjoint = np.tensordot(code, columns, (range(1, 4), range(1, 4)))
    np.testing.assert_allclose(
        mirrored, adjoint.reshape(image.shape), rtol=1e-10, atol=1e-12
    )


def test_gradients_of_convolutions_match_differences(x64, example):
    image, kernel, code, layer = example
    forward = jax.jit(functools.partial(convolve, layer=layer))
    check_grads(forward, (image, kernel), order=1, modes=["rev"])
    backward = jax.jit(functools.partial(convolve_transposed, layer=layer))
    check_grads(backward, (code, kernel), order=1, modes=["rev"])


@pytest.mark.parametrize("function", [convolve, convolve_transposed])
def test_batch_of_kernels_equals_loop(x64, function):
    # Restarts train several networks under vmap.
    layer = ConvolutionalLayer(3, 4, 2, 1)
    rng = np.random.default_rng(0)
    shape = (6, 8, 2) if function is convolve else (3, 4, 3)
    inputs, kernels = rng.normal(size=(2, 5, *shape)), rng.normal(size=(2, 4, 4, 2, 3))

    def value_and_gradient(x, kernel):
        def loss(x, kernel):
            return jnp.sum(jnp.sin(function(x, kernel, layer)))

        return jax.value_and_grad(loss, (0, 1))(x, kernel)

    batched = jax.jit(jax.vmap(value_and_gradient))(inputs, kernels)
    for i in range(2):
        single = jax.jit(value_and_gradient)(inputs[i], kernels[i])
        of_batch = jax.tree.map(lambda a, i=i: a[i], batched)
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-10), of_batch, single
        )


@pytest.mark.parametrize("function", [convolve, convolve_transposed])
def test_all_convolutions_keep_the_order_that_compiles_to_fast_code(function):
    # In a loop XLA's CPU compiler does not reorder dimensions; any other order than
    # NHWC, HWIO there makes a training step 30 times slower.
    layer = MNIST_LAYERS[1]
    image, code = (jnp.zeros((2, n, n, c)) for n, c in ((23, 16), (18, 32)))
    inputs = image if function is convolve else code

    def loss(x, kernel):
        return jnp.sum(function(x, kernel, layer) ** 2)

    jaxpr = jax.make_jaxpr(jax.grad(loss, (0, 1)))(inputs, jnp.zeros((6, 6, 16, 32)))
    orders = [
        equation.params["dimension_numbers"]
        for equation in jaxpr.eqns
        if equation.primitive.name == "conv_general_dilated"
    ]
    nested = str(jaxpr).count("conv_general_dilated[")
    assert nested == 3
    for order in orders:
        assert order == ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))


# Shapes of the paper's networks


def test_sizes_of_the_papers_layers():
    assert feature_shapes((28, 28, 1), MNIST_LAYERS) == [
        (28, 28, 1), (23, 23, 16), (18, 18, 32), (9, 9, 64),
    ]  # fmt: skip
    assert feature_shapes((32, 32, 3), SVHN_LAYERS) == [
        (32, 32, 3), (16, 16, 64), (8, 8, 128), (4, 4, 256),
    ]  # fmt: skip


@pytest.mark.parametrize(("image_shape", "layers"), IMAGES.values(), ids=IMAGES)
def test_networks_of_the_paper(image_shape, layers):
    num_pixels = int(np.prod(image_shape))
    trunk = ConvolutionalTrunk(image_shape, layers)
    decoder = ConvolutionalDecoder(image_shape, layers)

    def shapes(module, num_inputs):
        def run(x):
            variables = module.init(jax.random.key(0), x, train=False)
            return variables, module.apply(variables, x, train=False)

        x = jax.ShapeDtypeStruct((3, num_inputs), jnp.float32)
        variables, output = jax.eval_shape(run, x)
        return jax.tree.map(lambda leaf: leaf.shape, variables), output.shape

    variables, output = shapes(trunk, num_pixels)
    assert output == (3, 500)
    params = variables["params"]
    channels = [image_shape[-1], *(layer.features for layer in layers)]
    kernels = [
        (layer.kernel, layer.kernel, *channels[index : index + 2])
        for index, layer in enumerate(layers)
    ]
    size = int(np.prod(feature_shapes(image_shape, layers)[-1]))
    # Batch normalisation after every hidden layer, the dense one too: no other bias.
    assert params == {
        **{f"convolution_{i}": {"kernel": shape} for i, shape in enumerate(kernels)},
        **{
            f"norm_{i}": {"scale": (n,), "bias": (n,)}
            for i, n in enumerate(channels[1:])
        },
        "hidden": {"kernel": (size, 500)},
        "norm_hidden": {"scale": (500,), "bias": (500,)},
    }
    norms = {name for name in params if name.startswith("norm_")}
    assert set(variables["batch_stats"]) == norms

    variables, output = shapes(decoder, 200)
    assert output == (3, num_pixels)
    assert variables["params"] == {
        **params,
        "convolution_0": {"kernel": kernels[0], "bias": (image_shape[-1],)},
        "hidden": {"kernel": (200, 500)},
        "projection": {"kernel": (500, size)},
    }
    assert set(variables["batch_stats"]) == norms


# Forward passes


def normalized(x, params, name, train, statistics):
    """Batch normalisation over all axes but the last, and ReLU."""
    axes = tuple(range(x.ndim - 1))
    if train:
        mean, variance = x.mean(axis=axes), x.var(axis=axes)
    else:
        mean, variance = statistics[name]["mean"], statistics[name]["var"]
    x = (x - mean) / np.sqrt(variance + 1e-5)
    return np.maximum(x * params[name]["scale"] + params[name]["bias"], 0.0)


def random_variables(module, inputs):
    """Kernels of both signs; scales, biases and statistics away from 0 and 1."""
    rng = np.random.default_rng(3)

    def random(path, leaf):
        if path[-1].key == "kernel":
            return rng.normal(0.0, 0.3, leaf.shape).astype(leaf.dtype)
        return rng.uniform(0.5, 1.5, leaf.shape).astype(leaf.dtype)

    init = functools.partial(module.init, train=False)
    shapes = jax.eval_shape(init, jax.random.key(0), inputs)
    return jax.tree_util.tree_map_with_path(random, shapes)


@pytest.fixture
def trunk():
    module = ConvolutionalTrunk(SMALL_SHAPE, SMALL_LAYERS[:1], hidden_size=5)
    x = np.random.default_rng(1).uniform(size=(7, 96)).astype(np.float32)
    return module, random_variables(module, x), x


@pytest.fixture
def decoder():
    module = ConvolutionalDecoder((6, 6, 2), (SMALL_LAYERS[1],), hidden_size=5)
    z = np.random.default_rng(1).normal(size=(7, 3)).astype(np.float32)
    return module, random_variables(module, z), z


@functools.partial(jax.jit, static_argnames=("module", "train"))
def applied(module, variables, inputs, train):
    """The output and the new statistics."""
    return module.apply(variables, inputs, train=train, mutable=["batch_stats"])


@pytest.mark.parametrize("train", [False, True])
def test_trunk_is_convolutions_batch_norms_and_relus(trunk, train):
    module, variables, x = trunk
    params, statistics = variables["params"], variables["batch_stats"]
    actual, _ = applied(module, variables, x, train)
    image = x.reshape(7, *SMALL_SHAPE).astype(np.float64)
    hidden = convolved(image, params["convolution_0"]["kernel"], SMALL_LAYERS[0])
    hidden = normalized(hidden, params, "norm_0", train, statistics)
    hidden = hidden.reshape(7, -1) @ params["hidden"]["kernel"]
    expected = normalized(hidden, params, "norm_hidden", train, statistics)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)
    assert (expected > 0.0).any()
    assert actual.dtype == jnp.float32


@pytest.mark.parametrize("train", [False, True])
def test_decoder_mirrors_the_trunk_and_returns_logits(decoder, train):
    module, variables, z = decoder
    params, statistics = variables["params"], variables["batch_stats"]
    actual, _ = applied(module, variables, z, train)
    hidden = z.astype(np.float64) @ params["hidden"]["kernel"]
    hidden = normalized(hidden, params, "norm_hidden", train, statistics)
    hidden = (hidden @ params["projection"]["kernel"]).reshape(7, 3, 3, 4)
    hidden = normalized(hidden, params, "norm_0", train, statistics)
    layer = params["convolution_0"]
    image = np.zeros((7, 8, 8, 2))
    for i, j in np.ndindex(3, 3):
        image[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += np.einsum(
            "bf,klcf->bklc", hidden[:, i, j], layer["kernel"]
        )
    expected = image[:, 1:-1, 1:-1] + np.asarray(layer["bias"])
    np.testing.assert_allclose(actual, expected.reshape(7, -1), rtol=1e-4, atol=1e-4)
    assert actual.dtype == jnp.float32


def test_decoder_of_several_layers_undoes_the_sizes():
    module = ConvolutionalDecoder(SMALL_SHAPE, SMALL_LAYERS, hidden_size=5)
    z = np.random.default_rng(1).normal(size=(7, 3)).astype(np.float32)
    variables = random_variables(module, z)
    decoded, _ = applied(module, variables, z, True)
    assert decoded.shape == (7, 96)
    assert decoded.min() < 0.0 < decoded.max()
    assert variables["params"]["norm_1"]["scale"].shape == (4,)
    assert variables["params"]["norm_0"]["scale"].shape == (3,)


# Running statistics


@pytest.mark.parametrize("network", ["trunk", "decoder"])
def test_statistics_move_in_training_by_the_momentum_and_not_in_evaluation(
    network, request
):
    module, variables, x = request.getfixturevalue(network)
    before = variables["batch_stats"]
    _, after = applied(module, variables, x, False)
    jax.tree.map(np.testing.assert_array_equal, after["batch_stats"], before)
    _, after = applied(module, variables, x, True)
    hidden = x.astype(np.float64)
    if network == "trunk":
        kernel = variables["params"]["convolution_0"]["kernel"]
        hidden = convolved(hidden.reshape(7, *SMALL_SHAPE), kernel, SMALL_LAYERS[0])
        name = "norm_0"
    else:
        hidden = hidden @ variables["params"]["hidden"]["kernel"]
        name = "norm_hidden"
    axes = tuple(range(hidden.ndim - 1))
    for key, value in (("mean", hidden.mean(axes)), ("var", hidden.var(axes))):
        np.testing.assert_allclose(
            after["batch_stats"][name][key],
            0.9 * before[name][key] + 0.1 * value,
            rtol=1e-4,
        )


def test_evaluation_does_not_depend_on_the_batch(trunk):
    module, variables, x = trunk
    whole, _ = applied(module, variables, x, False)
    single = [applied(module, variables, row[None], False)[0][0] for row in x]
    np.testing.assert_allclose(whole, single, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", ["trunk", "decoder"])
def test_gradients_reach_every_parameter(network, request):
    module, variables, x = request.getfixturevalue(network)

    def loss(params):
        variables_ = {**variables, "params": params}
        output, _ = module.apply(variables_, x, train=True, mutable=["batch_stats"])
        return jnp.sum(jnp.sin(output))

    for gradient in jax.tree.leaves(jax.jit(jax.grad(loss))(variables["params"])):
        assert np.all(np.isfinite(gradient))
        assert np.abs(gradient).max() > 0.0


def test_float64_stays_float64(x64, trunk, decoder):
    for module, variables, x in (trunk, decoder):
        variables, x = jax.tree.map(np.float64, (variables, x))
        output = jax.eval_shape(
            functools.partial(module.apply, train=False), variables, x
        )
        assert output.dtype == jnp.float64


# Errors


@pytest.mark.parametrize(
    ("image_shape", "message"),
    [
        ((28, 28), r"image_shape must be \(height, width, channels\), got \(28, 28\)"),
        ((28, 28, 0), r"image_shape must be \(height, width, channels\), got "),
        ((8, 8, 1), r"image_shape=\(8, 8, 1\) does not fit the layers: windows of 6 x "
                    r"6 pixels, stride 1 and padding 0 do not tile the 3 x 3 pixels "
                    r"that reach layer 2; pad or resize"),
        ((29, 28, 1), "stride 2 and padding 1 do not tile the 19 x 18 pixels that"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("module", [ConvolutionalTrunk, ConvolutionalDecoder])
def test_image_shape_that_does_not_fit_the_layers(module, image_shape, message):
    x = jax.ShapeDtypeStruct((1, 784), jnp.float32)
    init = functools.partial(module(image_shape).init, jax.random.key(0), train=False)
    with pytest.raises(InvalidInput, match=message):
        jax.eval_shape(init, x)


def test_image_shape_that_does_not_fit_the_data():
    x = jax.ShapeDtypeStruct((1, 561), jnp.float32)
    trunk = ConvolutionalTrunk((28, 28, 1))
    init = functools.partial(trunk.init, jax.random.key(0), train=False)
    with pytest.raises(InvalidInput, match="needs rows of 784 values, got 561"):
        jax.eval_shape(init, x)
