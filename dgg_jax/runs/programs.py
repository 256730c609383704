"""What users have typed, and what they can type next."""

import sys


def program(name: str) -> list[str]:
    """The words that start a command of this library, as this process was started.

    Beside ``dgg-jax run`` that is ``dgg-jax NAME``, beside the binaries of the papers'
    reproduction, such as ``python -m experiments.compare``, the binary of that name.

    Args:
      name: run, compare, predict, report, or another binary's.
    """
    words = sys.argv[0].split()
    if words[:3] == ["python", "-m", "dgg_jax"]:
        return [*words[:3], name]
    if words[:1] == ["dgg-jax"]:
        return ["dgg-jax", name]
    return ["python", "-m", "experiments." + {"run": "main"}.get(name, name)]
