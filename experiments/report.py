"""Draws the report of a finished run anew: ``dgg-jax report``."""

from dgg_jax.cli import program, report

if __name__ == "__main__":
    program.start(report, "python -m experiments.report")
