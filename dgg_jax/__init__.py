"""Deep clustering by Gaussian mixture VAEs with graph embedding, in JAX."""

from typing import TYPE_CHECKING, Any

from dgg_jax.version import __version__

if TYPE_CHECKING:
    from dgg_jax.estimators import DEC, DGG, GMVAE, IMSAT, SpectralNet, VaDE, load

__all__ = ["DEC", "DGG", "GMVAE", "IMSAT", "SpectralNet", "VaDE", "__version__", "load"]


def __getattr__(name: str) -> Any:
    # jax and flax take seconds to import: not before an estimator is asked for.
    if name in __all__:
        from dgg_jax import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
