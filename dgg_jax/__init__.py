"""Deep clustering by Gaussian mixture VAEs with graph embedding, in JAX."""

__version__ = "0.1.0"
