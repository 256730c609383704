"""Epochs of a training as repetitions that can be timed in turns with others."""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

from dgg_jax.training import Monitor, TrainState


class Epochs(contextlib.AbstractContextManager, Monitor):
    """A training as a callable that carries it on by one epoch.

    The training runs in a thread of its own, which waits at the end of every epoch for
    the next call: each call is an epoch of the training as users run it, metrics and
    monitor included. The first one also places the data and compiles.

    Args:
      train: what trains, given this object: it calls ``pause`` after every epoch, or
        has it as its monitor.

    Attributes:
      state: of the loop whose monitor this is, until the next call.

    Example:
      >>> from experiments.benchmarks.epochs import Epochs
      >>> done = []
      >>> def train(epochs):
      ...     for epoch in range(9):
      ...         done.append(epoch)
      ...         if epochs.pause():
      ...             break
      >>> with Epochs(train) as epoch:
      ...     epoch()
      ...     epoch()
      >>> done
      [0, 1]
    """

    def __init__(self, train: Callable[["Epochs"], Any]):
        self._train = train
        self._turn = threading.Semaphore(0)
        self._paused = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ended = False
        self.state: TrainState | None = None
        self._error: BaseException | None = None

    def __call__(self) -> None:
        """Runs to the end of the next epoch.

        Raises:
          RuntimeError: if the training has come to its end, or failed.
        """
        if self._thread.ident is None:
            self._thread.start()
        self._turn.release()
        self._paused.acquire()
        if self._ended:
            raise RuntimeError("the training ended before the timing") from self._error

    def pause(self) -> bool:
        """Waits for the next call; returns whether the training shall end."""
        if self._ended:
            return True
        self._paused.release()
        self._turn.acquire()
        return self._ended

    def epoch_end(
        self, loop: str, epoch: int, num_epochs: int, state: TrainState, metrics: Any
    ) -> bool:
        """As ``pause``, for a loop whose monitor this is; keeps its state."""
        self.state = state
        return self.pause()

    def __exit__(self, *exception: Any) -> None:
        self._ended = True
        self._turn.release()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        self._turn.acquire()
        try:
            if not self._ended:
                self._train(self)
        except BaseException as error:  # told to the one who waits
            self._error = error
        self._ended = True
        self._paused.release()
