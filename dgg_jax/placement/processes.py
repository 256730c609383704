"""Many processes that make one run, on one machine or many; process 0 speaks for it.

They trust each other, as those of jax do: what process 0 says is pickled.
"""

import pickle
from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from dgg_jax import checks

# Bytes sent at a time: two sizes, so that jax compiles two programs.
_SMALL_CHUNK, _CHUNK = 2**12, 2**24

T = TypeVar("T")


def join(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Makes this process one of several, before anything else asks jax for a device.

    Without arguments jax finds it in the environment: of Slurm, Kubernetes, Open MPI or
    a TPU pod.

    Args:
      coordinator_address: host:port of process 0, which all others can reach.
      num_processes: how many there are.
      process_id: which one this is, from 0.

    Raises:
      InvalidInput: if only some of the three are given, they contradict each other, or
        the environment says nothing.
      RuntimeError: if the others do not come.
    """
    told = (coordinator_address, num_processes, process_id)
    if None in told and told != (None, None, None):
        raise checks.InvalidInput(
            "coordinator_address, num_processes and process_id go together, got "
            f"{coordinator_address}, {num_processes} and {process_id}; give all three, "
            "or none where Slurm, Kubernetes, Open MPI or a TPU pod tells them."
        )
    if None not in told:
        checks.in_range("num_processes", num_processes, 1)
        checks.in_range("process_id", process_id, 0, num_processes - 1)
        host, _, port = coordinator_address.rpartition(":")
        if not host or not port.isdecimal():
            raise checks.InvalidInput(
                "coordinator_address must be host:port, such as 10.0.0.1:1234, got "
                f"{coordinator_address!r}."
            )
    try:
        jax.distributed.initialize(*told)
    except ValueError as error:
        raise checks.InvalidInput(
            f"the environment does not say which process this is ({error}); give "
            "coordinator_address, num_processes and process_id."
        ) from error


def is_first() -> bool:
    """Whether this is process 0, the one that reads and writes the run's folders."""
    return jax.process_index() == 0


def on_first(function: Callable[[], T]) -> T:
    """Calls a function in process 0 alone; every process returns what it returned.

    All processes have to call it, in the same order. An exception is raised in all of
    them too, so that none waits for one that has left.

    Args:
      function: without arguments; what it returns or raises can be pickled.
    """
    if jax.process_count() == 1:
        return function()
    outcome = b""
    if is_first():
        try:
            outcome = pickle.dumps((function(), None))
        except Exception as error:
            try:
                outcome = pickle.dumps((None, error))
                pickle.loads(outcome)
            except Exception:  # some exceptions cannot be made again
                text = f"{type(error).__name__}: {error}"
                outcome = pickle.dumps((None, RuntimeError(text)))
            _broadcast(outcome)
            raise
    result, error = pickle.loads(_broadcast(outcome))
    if error is not None:
        raise error
    return result


def anywhere(question: Callable[[], bool]) -> bool:
    """Whether the answer is yes in any process; all of them have to ask."""
    answer = bool(question())
    if jax.process_count() == 1:
        return answer
    return bool(multihost_utils.process_allgather(np.array(answer)).any())


def ahead(function: Callable[[], T]) -> T:
    """Calls a function in process 0, and only then in the others.

    What it downloads is there for those that share the folder.

    Returns:
      What it has returned in this process.

    Raises:
      InvalidInput: if it has failed in another process, lest this one waits for it.
    """
    results, failures = [], []
    on_first(lambda: results.append(function()))  # returns None: nothing is sent
    if not is_first():
        try:
            results.append(function())
        except Exception as error:
            failures.append(error)
    if anywhere(lambda: bool(failures)):
        another = "another process has failed; what it says itself is the reason."
        raise failures[0] if failures else checks.InvalidInput(another)
    return results[0]


def _broadcast(message: bytes) -> bytes:
    """The message of process 0, in every process."""
    # As bytes: jax makes int64 int32.
    length = np.frombuffer(len(message).to_bytes(8), np.uint8)
    length = int.from_bytes(multihost_utils.broadcast_one_to_all(length).tobytes())
    size = _SMALL_CHUNK if length <= _SMALL_CHUNK else _CHUNK
    chunks = []
    for start in range(0, length, size):
        chunk = np.zeros(size, np.uint8)
        own = np.frombuffer(message[start : start + size], np.uint8)
        chunk[: len(own)] = own
        chunks.append(multihost_utils.broadcast_one_to_all(chunk).tobytes())
    return b"".join(chunks)[:length]
