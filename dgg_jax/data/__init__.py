"""Data sets: one entry, `load`, for everything the experiments run on."""

from dgg_jax.data.dataset import Dataset
from dgg_jax.data.loaders import DATASETS, load

__all__ = ["DATASETS", "Dataset", "load"]
