"""Clusters new rows with a saved model: ``dgg-jax predict``."""

from dgg_jax.cli import predict, program

if __name__ == "__main__":
    program.start(predict, "python -m experiments.predict")
