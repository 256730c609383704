"""The ResNet-50 of Keras, on the JAX backend, as a function of images.

Keras is an optional extra; it is imported when a network is built, not before.
"""

import os
import pathlib
from collections.abc import Callable

import numpy as np

from dgg_jax import checks
from dgg_jax.checks import InvalidInput, MissingData

# Where Keras gets the ImageNet weights and keeps them; it checks them, too.
_FILE = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
_URL = f"https://storage.googleapis.com/tensorflow/keras-applications/resnet/{_FILE}"
MIN_IMAGE_SIZE = 32  # pixels, of Keras

Features = Callable[[np.ndarray], np.ndarray]


def check(weights: str) -> None:
    """Finds out, before any long work, whether a network can be built.

    Args:
      weights: "imagenet", "random" or the path of an .h5 file.

    Raises:
      InvalidInput: if Keras is not installed (NotInstalled), or the path is of no .h5
        file.
      MissingData: if the ImageNet weights are neither kept nor to be had; within
        seconds if there is no network.
    """
    checks.installed("features", "ResNet-50")
    if weights == "random":
        return
    if weights != "imagenet":
        if not weights.endswith(".h5") or not pathlib.Path(weights).is_file():
            raise InvalidInput(
                f"--weights={weights} must be imagenet, random or an existing .h5 file "
                "of weights."
            )
        return
    home = pathlib.Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    kept = home / "models" / _FILE
    if not kept.is_file():
        checks.installed("datasets", "the download of ResNet-50's weights")
        from dgg_jax.data import builders

        reason = builders.unavailable(_URL)
        if reason:
            raise MissingData(
                f"the ImageNet weights of ResNet-50 are not in {kept.parent}, and "
                f"{_URL} cannot be reached: {reason}. Download that file elsewhere and "
                "name it with --weights=FILE."
            )


def build(weights: str, image_size: int) -> Features:
    """Builds the network.

    Args:
      weights: as of `check`; random ones are the same in every run.
      image_size: height and width that images are resized to (bilinear), in pixels.

    Returns:
      A function from RGB images, uint8 of shape [B, H, W, 3], to the average of the
      last convolution's map over its places, float32 of shape [B, 2048].

    Raises:
      InvalidInput: if the weights cannot be had or do not fit.
    """
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    # A user's keras.json may say otherwise.
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")
    keras.utils.set_random_seed(0)
    try:
        network = keras.applications.ResNet50(
            include_top=False,
            weights=None if weights == "random" else weights,
            input_shape=(image_size, image_size, 3),
            pooling="avg",
        )
    except Exception as error:  # of urllib, h5py and Keras, any kind
        reason = " ".join(str(error).split())[:300]
        raise InvalidInput(
            f"--weights={weights} cannot be used: {reason}. It must be imagenet, with "
            "a network, or weights of Keras's ResNet50 without its top, such as "
            f"{_FILE}."
        ) from error

    def features(images: np.ndarray) -> np.ndarray:
        pixels = keras.ops.image.resize(
            images.astype(np.float32), (image_size, image_size)
        )
        # Blue first, less ImageNet's mean: what these weights were trained with.
        pixels = keras.applications.resnet.preprocess_input(np.array(pixels))
        return np.asarray(network.predict_on_batch(pixels))

    return features


def version() -> str:
    """Of Keras."""
    import keras

    return keras.__version__
