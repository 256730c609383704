"""Clusters a data set, from raw data to a report: ``dgg-jax run``."""

from dgg_jax.cli import program, run

if __name__ == "__main__":
    program.start(run, "python -m experiments.main")
