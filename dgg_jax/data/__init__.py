"""Data sets: one entry, `load`, for benchmarks and for files of one's own."""

from dgg_jax.data.dataset import Dataset
from dgg_jax.data.loaders import DATASETS, load

__all__ = ["DATASETS", "Dataset", "load"]
