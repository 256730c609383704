"""The command ``dgg-jax``: run, compare, predict, report."""
