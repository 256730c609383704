"""Losses of one data point: callers map them over batches with ``jax.vmap``."""

from dgg_jax.losses import autoencoder, dgg, elbo, gmvae, siamese

__all__ = ["autoencoder", "dgg", "elbo", "gmvae", "siamese"]
