"""Deep clustering by Gaussian mixture VAEs with graph embedding, in JAX."""

from typing import TYPE_CHECKING, Any

from dgg_jax.version import __version__

if TYPE_CHECKING:
    from dgg_jax.estimators import (
        AAE,
        DEC,
        DGG,
        GMVAE,
        IMSAT,
        LTVAE,
        CatGAN,
        EarlyStopping,
        SpectralNet,
        VaDE,
        load,
    )
    from dgg_jax.runs.compiled import keep_compiled
    from dgg_jax.runs.finished import load_run

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
    "__version__",
    "keep_compiled",
    "load",
    "load_run",
]


def __getattr__(name: str) -> Any:
    # jax and flax take seconds to import: not before one of these is asked for.
    if name == "load_run":
        from dgg_jax.runs import finished

        return finished.load_run
    if name == "keep_compiled":
        from dgg_jax.runs import compiled

        return compiled.keep_compiled
    if name in __all__:
        from dgg_jax import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
