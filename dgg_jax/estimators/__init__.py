"""The methods as scikit-learn estimators: ``DGG(n_clusters=10).fit(X)``."""

from dgg_jax.estimators.aae import AAE
from dgg_jax.estimators.callbacks import EarlyStopping
from dgg_jax.estimators.catgan import CatGAN
from dgg_jax.estimators.dec import DEC
from dgg_jax.estimators.dgg import DGG
from dgg_jax.estimators.gmvae import GMVAE
from dgg_jax.estimators.imsat import IMSAT
from dgg_jax.estimators.ltvae import LTVAE
from dgg_jax.estimators.restoring import load, of_run
from dgg_jax.estimators.spectralnet import SpectralNet
from dgg_jax.estimators.vade import VaDE

__all__ = [
    "AAE",
    "DEC",
    "DGG",
    "GMVAE",
    "IMSAT",
    "LTVAE",
    "CatGAN",
    "EarlyStopping",
    "SpectralNet",
    "VaDE",
    "load",
    "of_run",
]
