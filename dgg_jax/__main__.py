"""``python -m dgg_jax``: the command ``dgg-jax``."""

import sys

from dgg_jax.cli import program

if __name__ == "__main__":
    sys.exit(program.main())
