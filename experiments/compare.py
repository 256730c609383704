"""Compares methods on one data set: ``dgg-jax compare``."""

from dgg_jax.cli import compare, program

if __name__ == "__main__":
    program.start(compare, "python -m experiments.compare")
