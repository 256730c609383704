"""Processes that were forked from one that computes: there jax waits without end."""

import os

_computing: int | None = None  # the process that has computed here first


class Forked(RuntimeError):
    """jax cannot compute in this process."""


def check() -> None:
    """Called before anything is computed.

    Raises:
      Forked: if this process was forked from one that has computed: the threads of jax
        did not come with it.
    """
    global _computing
    if _computing not in (None, os.getpid()):
        raise Forked(
            f"this process ({os.getpid()}) was forked from one in which jax has "
            f"computed ({_computing}), and would wait for its threads without end; "
            "start it by multiprocessing.get_context('spawn') or by joblib's default "
            "backend, or fit or load the model after the fork."
        )
    _computing = os.getpid()
