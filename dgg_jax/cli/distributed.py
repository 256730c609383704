"""Flags of a run that several processes make together."""

import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TypeVar

from absl import flags

from dgg_jax import checks

_DISTRIBUTED = flags.DEFINE_enum(
    "distributed",
    "off",
    ("off", "auto"),
    "Whether this is one of several processes, told apart by Slurm, Kubernetes, Open "
    "MPI or a TPU pod (auto). Elsewhere give the three flags below.",
)
_COORDINATOR_ADDRESS = flags.DEFINE_string(
    "coordinator_address", None, "host:port of process 0 of several."
)
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many processes.")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which one this is, from 0.")

T = TypeVar("T")


def _place() -> tuple[str | None, int | None, int | None]:
    return _COORDINATOR_ADDRESS.value, _NUM_PROCESSES.value, _PROCESS_ID.value


def _is_alone() -> bool:
    return _place() == (None, None, None) and _DISTRIBUTED.value == "off"


def _processes() -> ModuleType:
    from dgg_jax.placement import processes  # imports jax, which takes seconds

    return processes


def join() -> None:
    """Meets the other processes, if there are any, before jax looks for devices.

    All but process 0 are silent on stdout from then on.

    Raises:
      InvalidInput: if the flags, or the environment, do not say who is who.
    """
    if _is_alone():
        return
    place = _place()
    if _DISTRIBUTED.value == "auto" and place != (None, None, None):
        raise checks.InvalidInput(
            "--distributed=auto takes the place of --coordinator_address, "
            "--num_processes and --process_id; give either."
        )
    _processes().join(*place)
    if not _processes().is_first():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def on_first(function: Callable[[], T]) -> T:
    """As ``processes.on_first``; one process alone needs no jax for it."""
    return function() if _is_alone() else _processes().on_first(function)


def ahead(function: Callable[[], T]) -> T:
    """As ``processes.ahead``, likewise."""
    return function() if _is_alone() else _processes().ahead(function)
