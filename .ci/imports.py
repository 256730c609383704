"""Imports all of an installed dgg_jax; to be run from outside of the checkout."""

import importlib
import pathlib
import pkgutil
import sys

import dgg_jax
from dgg_jax import checks, data, graph

folder = pathlib.Path(dgg_jax.__file__)
assert folder.is_relative_to(sys.prefix), f"{folder} is not the installed package"
modules = [m.name for m in pkgutil.walk_packages(dgg_jax.__path__, "dgg_jax.")]
if checks.lacking("datasets"):  # the default install, without downloads
    modules.remove("dgg_jax.data.builders")
for module in modules:
    importlib.import_module(module)
indices, _ = graph.knn(data.load("digits").x[:100], 3)
assert indices.shape == (100, 3)
print(f"dgg_jax {dgg_jax.__version__}: {len(modules)} modules of {folder.parent}")
