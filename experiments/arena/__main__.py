"""``python -m experiments.arena``."""

from absl import app

from dgg_jax.cli import command
from experiments.arena import program

if __name__ == "__main__":
    app.run(program.main, flags_parser=command.parse_flags)
