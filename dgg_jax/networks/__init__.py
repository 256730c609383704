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
    Decoder,
    Embedding,
    Encoder,
    Moments,
    NormalizedClassifier,
)
from dgg_jax.networks.gmvae import ComponentNetwork, DenseTrunk, RecognitionNetwork

__all__ = [
    "MNIST_LAYERS",
    "SVHN_LAYERS",
    "Classifier",
    "ComponentNetwork",
    "ConvolutionalDecoder",
    "ConvolutionalLayer",
    "ConvolutionalTrunk",
    "Decoder",
    "DenseTrunk",
    "Embedding",
    "Encoder",
    "Moments",
    "NormalizedClassifier",
    "RecognitionNetwork",
]
