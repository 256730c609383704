"""Flax modules that run on batches and hold no random state."""

from dgg_jax.networks.dense import Classifier, Decoder, Embedding, Encoder

__all__ = ["Classifier", "Decoder", "Embedding", "Encoder"]
