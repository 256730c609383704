"""Flax modules that run on batches and hold no random state."""

from dgg_jax.networks.convolutional import (
    MNIST_LAYERS,
    SVHN_LAYERS,
    ConvolutionalDecoder,
    ConvolutionalLayer,
    ConvolutionalTrunk,
)
from dgg_jax.networks.dense import (
    Classifier,
    CodeEncoder,
    Decoder,
    Embedding,
    Encoder,
    Generator,
    MeanEmbedding,
    Moments,
    NormalizedClassifier,
    log_normalized,
    moments_of_state,
    present,
    state_of_moments,
)
from dgg_jax.networks.gmvae import (
    ComponentNetwork,
    DenseTrunk,
    PlainTrunk,
    RecognitionNetwork,
)
from dgg_jax.networks.network import (
    Network,
    Networks,
    initial_params,
    with_precision,
)

__all__ = [
    "MNIST_LAYERS",
    "SVHN_LAYERS",
    "Classifier",
    "CodeEncoder",
    "ComponentNetwork",
    "ConvolutionalDecoder",
    "ConvolutionalLayer",
    "ConvolutionalTrunk",
    "Decoder",
    "DenseTrunk",
    "Embedding",
    "Encoder",
    "Generator",
    "MeanEmbedding",
    "Moments",
    "Network",
    "Networks",
    "NormalizedClassifier",
    "PlainTrunk",
    "RecognitionNetwork",
    "initial_params",
    "log_normalized",
    "moments_of_state",
    "present",
    "state_of_moments",
    "with_precision",
]
