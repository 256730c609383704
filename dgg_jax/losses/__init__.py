"""Losses of one data point: callers map them over batches with ``jax.vmap``."""

from dgg_jax.losses import (
    autoencoder,
    catgan,
    dec,
    dgg,
    elbo,
    gmvae,
    imsat,
    links,
    siamese,
    spectralnet,
    vade,
)

__all__ = [
    "autoencoder",
    "catgan",
    "dec",
    "dgg",
    "elbo",
    "gmvae",
    "imsat",
    "links",
    "siamese",
    "spectralnet",
    "vade",
]
