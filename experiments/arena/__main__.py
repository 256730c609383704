"""``python -m experiments.arena``."""

from dgg_jax.cli import program
from experiments.arena import program as arena

if __name__ == "__main__":
    program.start(arena, "python -m experiments.arena")
