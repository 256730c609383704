"""The convolutional networks of GMVAE: the trunk of its encoder and its decoder.

Images travel as flat rows [B, D], like all data; ``image_shape`` (H, W, C) says how the
modules unfold them. Batch normalisation keeps its running statistics in the collection
"batch_stats".
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from dgg_jax import checks


class ConvolutionalLayer(NamedTuple):
    """One square convolution: an entry "features x kernel x kernel (stride-padding)".

    Attributes:
      features: channels of its output.
      kernel: height and width of its window, in pixels.
      stride: pixels from one window to the next.
      padding: pixels of zeros on each side.
    """

    features: int
    kernel: int
    stride: int
    padding: int


# Table A.1 of GMVAE; the decoders of table A.3 mirror them. SVHN's "246" is 256 (E64).
MNIST_LAYERS = (
    ConvolutionalLayer(16, 6, 1, 0),
    ConvolutionalLayer(32, 6, 1, 0),
    ConvolutionalLayer(64, 4, 2, 1),
)
SVHN_LAYERS = (
    ConvolutionalLayer(64, 4, 2, 1),
    ConvolutionalLayer(128, 4, 2, 1),
    ConvolutionalLayer(256, 4, 2, 1),
)


def feature_shapes(
    image_shape: Sequence[int], layers: Sequence[ConvolutionalLayer]
) -> list[tuple[int, int, int]]:
    """The shapes (H, W, C) between layers, from the image to the last layer's output.

    Args:
      image_shape: (H, W, C) of the images.
      layers: the encoder's convolutions, in its order.

    Returns:
      One shape more than there are layers.

    Raises:
      InvalidInput: if image_shape is not three positive integers, if a layer's window
        does not fit, or if its stride leaves pixels over, which the decoder could not
        give back.
    """
    if len(image_shape) != 3 or not all(
        isinstance(size, int) and size > 0 for size in image_shape
    ):
        raise checks.InvalidInput(
            f"image_shape must be (height, width, channels), got {image_shape!r}; give "
            "the shape of one image, or use the dense network for other data."
        )
    shapes = [tuple(image_shape)]
    for number, (features, kernel, stride, padding) in enumerate(layers, start=1):
        steps = [size + 2 * padding - kernel for size in shapes[-1][:2]]
        if any(step < 0 or step % stride for step in steps):
            height, width, _ = shapes[-1]
            raise checks.InvalidInput(
                f"image_shape={tuple(image_shape)} does not fit the layers: windows of "
                f"{kernel} x {kernel} pixels, stride {stride} and padding {padding} do "
                f"not tile the {height} x {width} pixels that reach layer {number}; "
                "pad or resize the images, change the layers, or use the dense network."
            )
        shapes.append((*(step // stride + 1 for step in steps), features))
    return shapes


# XLA compiles a convolution to fast code on a CPU only if its dimensions stand in the
# order below, and inside of a loop, such as an epoch's, it does not bring them there.
# The gradients that jax derives have another order (a training step took 30 times as
# long), so they are written out here, as convolutions in this order.
_DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def _correlate(
    image: jax.Array, kernel: jax.Array, layer: ConvolutionalLayer
) -> jax.Array:
    """Correlates image [B, H, W, C] with kernel [k, k, C, F]: [B, h, w, F]."""
    _, size, stride, padding = layer
    width = (image.shape[2] + 2 * padding - size) // stride + 1
    # One column more than needed, which is cut off again: without any padding XLA's
    # convolution is several times slower on a CPU.
    output = lax.conv_general_dilated(
        image,
        kernel,
        window_strides=(stride, stride),
        padding=((padding, padding), (padding, padding + 1)),
        dimension_numbers=_DIMENSIONS,
    )
    return output[:, :, :width]


def _kernel_gradient(
    image: jax.Array, code: jax.Array, layer: ConvolutionalLayer
) -> jax.Array:
    """The adjoint of ``_correlate`` in its kernel, at code [B, h, w, F]."""
    _, size, stride, padding = layer
    output = lax.conv_general_dilated(
        jnp.transpose(image, (3, 1, 2, 0)),
        jnp.transpose(code, (1, 2, 0, 3)),
        window_strides=(1, 1),
        padding=((padding, padding), (padding, padding + 1)),
        rhs_dilation=(stride, stride),
        dimension_numbers=_DIMENSIONS,
    )
    return jnp.transpose(output[:, :, :size], (1, 2, 0, 3))


def convolve(
    image: jax.Array, kernel: jax.Array, layer: ConvolutionalLayer
) -> jax.Array:
    """The convolution of table A.1.

    Args:
      image: shape [B, H, W, C].
      kernel: shape [k, k, C, F].
      layer: the geometry, which must tile the image (see ``feature_shapes``).

    Returns:
      Shape [B, h, w, F].
    """
    return _convolve(image, kernel, layer, jax.config.jax_default_matmul_precision)


def convolve_transposed(
    code: jax.Array, kernel: jax.Array, layer: ConvolutionalLayer
) -> jax.Array:
    """The "full convolution" of table A.3: the adjoint of ``convolve`` in its image.

    Args:
      code: shape [B, h, w, F].
      kernel: shape [k, k, C, F], as for ``convolve``.
      layer: the geometry of the convolution that it mirrors.

    Returns:
      Shape [B, H, W, C].
    """
    precision = jax.config.jax_default_matmul_precision
    return _convolve_transposed(code, kernel, layer, precision)


# jax traces the rule of a gradient where ``with_precision`` has ended: it is handed on.


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(image, kernel, layer, precision):
    del precision
    return _correlate(image, kernel, layer)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve_transposed(code, kernel, layer, precision):
    del precision
    _, size, stride, padding = layer
    margin = size - 1 - padding
    return lax.conv_general_dilated(
        code,
        jnp.swapaxes(jnp.flip(kernel, (0, 1)), 2, 3),
        window_strides=(1, 1),
        padding=((margin, margin), (margin, margin)),
        lhs_dilation=(stride, stride),
        dimension_numbers=_DIMENSIONS,
    )


def _convolve_gradients(layer, precision, residuals, code):
    image, kernel = residuals
    with jax.default_matmul_precision(precision):
        return (
            convolve_transposed(code, kernel, layer),
            _kernel_gradient(image, code, layer),
        )


def _convolve_transposed_gradients(layer, precision, residuals, image):
    code, kernel = residuals
    with jax.default_matmul_precision(precision):
        return convolve(image, kernel, layer), _kernel_gradient(image, code, layer)


_convolve.defvjp(
    lambda image, kernel, *rest: (_convolve(image, kernel, *rest), (image, kernel)),
    _convolve_gradients,
)
_convolve_transposed.defvjp(
    lambda code, kernel, *rest: (
        _convolve_transposed(code, kernel, *rest),
        (code, kernel),
    ),
    _convolve_transposed_gradients,
)


class Convolution(nn.Module):
    """A convolution without bias: the batch normalisation after it has one.

    Attributes:
      layer: its geometry.
    """

    layer: ConvolutionalLayer

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """Maps images [B, H, W, C] to [B, h, w, features]."""
        size = self.layer.kernel
        shape = (size, size, image.shape[-1], self.layer.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        image, kernel = nn.dtypes.promote_dtype(image, kernel)
        return convolve(image, kernel, self.layer)


class TransposedConvolution(nn.Module):
    """The "full convolution" that turns the output shape of a layer into its input's.

    Attributes:
      layer: geometry of the convolution that it mirrors.
      channels: C of its output.
      use_bias: whether to add a bias a channel.
    """

    layer: ConvolutionalLayer
    channels: int
    use_bias: bool = False

    @nn.compact
    def __call__(self, code: jax.Array) -> jax.Array:
        """Maps [B, h, w, features] to images [B, H, W, C]."""
        size = self.layer.kernel
        # The kernel is that of ``convolve``: its last axis comes in here.
        init = nn.initializers.lecun_normal(in_axis=-1, out_axis=-2)
        kernel = self.param("kernel", init, (size, size, self.channels, code.shape[-1]))
        code, kernel = nn.dtypes.promote_dtype(code, kernel)
        image = convolve_transposed(code, kernel, self.layer)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.channels,))
            image = image + bias[None, None, None]
        return image


class ConvolutionalTrunk(nn.Module):
    """The shared layers of GMVAE's q(z, w | x) for images, table A.1.

    Batch normalisation and ReLU follow every layer, the dense one included.

    Attributes:
      image_shape: (H, W, C).
      layers: its convolutions, such as ``MNIST_LAYERS``.
      hidden_size: width of the dense layer.
      momentum: share of the old value in each update of the running statistics; 0.9 is
        what Torch, which the authors used, calls 0.1.
    """

    image_shape: Sequence[int]
    layers: Sequence[ConvolutionalLayer] = MNIST_LAYERS
    hidden_size: int = 500
    momentum: float = 0.9

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps flat images x [B, D] to features [B, hidden_size].

        Args:
          x: shape [B, H * W * C].
          train: whether to normalise by the batch's statistics and update the running
            ones (apply with mutable=["batch_stats"]), or to normalise by those.

        Raises:
          InvalidInput: if image_shape fits neither x nor the layers.
        """
        feature_shapes(self.image_shape, self.layers)
        if x.shape[-1] != math.prod(self.image_shape):
            raise checks.InvalidInput(
                f"image_shape={tuple(self.image_shape)} needs rows of "
                f"{math.prod(self.image_shape)} values, got {x.shape[-1]}; give the "
                "images' height, width and channels."
            )
        normalize = functools.partial(
            nn.BatchNorm, use_running_average=not train, momentum=self.momentum
        )
        x = x.reshape(len(x), *self.image_shape)
        for index, layer in enumerate(self.layers):
            x = Convolution(layer, name=f"convolution_{index}")(x)
            x = nn.relu(normalize(name=f"norm_{index}")(x))
        x = x.reshape(len(x), -1)
        x = nn.Dense(self.hidden_size, use_bias=False, name="hidden")(x)
        return nn.relu(normalize(name="norm_hidden")(x))


class ConvolutionalDecoder(nn.Module):
    """GMVAE's p(x | z) for images, table A.3: the mirror of ``ConvolutionalTrunk``.

    A dense layer, a projection to the shape of the trunk's last convolution (the
    9 x 9 or 4 x 4 full convolution of the released code, which the table leaves out)
    and one full convolution for each layer; batch normalisation and ReLU follow all
    but the last.

    Attributes:
      image_shape: (H, W, C).
      layers: the convolutions of the trunk that it mirrors, in the trunk's order.
      hidden_size: width of the dense layer.
      momentum: as in ``ConvolutionalTrunk``.
    """

    image_shape: Sequence[int]
    layers: Sequence[ConvolutionalLayer] = MNIST_LAYERS
    hidden_size: int = 500
    momentum: float = 0.9

    @nn.compact
    def __call__(self, z: jax.Array, *, train: bool) -> jax.Array:
        """Maps z [B, L] to Bernoulli logits [B, H * W * C].

        Args:
          z: shape [B, L].
          train: as in ``ConvolutionalTrunk``.

        Raises:
          InvalidInput: if image_shape does not fit the layers.
        """
        shapes = feature_shapes(self.image_shape, self.layers)
        normalize = functools.partial(
            nn.BatchNorm, use_running_average=not train, momentum=self.momentum
        )
        z = nn.Dense(self.hidden_size, use_bias=False, name="hidden")(z)
        z = nn.relu(normalize(name="norm_hidden")(z))
        z = nn.Dense(math.prod(shapes[-1]), use_bias=False, name="projection")(z)
        z = z.reshape(len(z), *shapes[-1])
        for index, layer in reversed(list(enumerate(self.layers))):
            z = nn.relu(normalize(name=f"norm_{index}")(z))
            z = TransposedConvolution(
                layer,
                channels=shapes[index][-1],
                use_bias=index == 0,
                name=f"convolution_{index}",
            )(z)
        return z.reshape(len(z), -1)
