"""Losses of one data point: callers map them over batches with ``jax.vmap``."""

from dgg_jax.losses import (
    aae,
    autoencoder,
    catgan,
    dec,
    dgg,
    elbo,
    gmvae,
    imsat,
    links,
    ltvae,
    siamese,
    spectralnet,
    vade,
)

__all__ = [
    "aae",
    "autoencoder",
    "catgan",
    "dec",
    "dgg",
    "elbo",
    "gmvae",
    "imsat",
    "links",
    "ltvae",
    "siamese",
    "spectralnet",
    "vade",
]
