"""The methods: each pairs networks with losses and runs its stages."""

import importlib
from types import ModuleType

from dgg_jax import checks
from dgg_jax.presets import METHODS

_TWO_STAGE = ("kmeans", "gmm", "ae_gmm", "dae_gmm", "vae_gmm", "spectral")


def method(name: str) -> ModuleType:
    """The module with a method's ``run(x, preset, *, seed, y, runner)``.

    Args:
      name: one of ``presets.METHODS``.

    Raises:
      InvalidInput: if there is no such method; the message lists them.
    """
    checks.one_of("method", name, METHODS)
    module = "two_stage" if name in _TWO_STAGE else name
    return importlib.import_module(f"dgg_jax.methods.{module}")


def stage_names(name: str) -> tuple[str, ...]:
    """The stages of a method, in order."""
    stages = method(name).STAGES
    return stages[name] if isinstance(stages, dict) else stages
