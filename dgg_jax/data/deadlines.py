"""Work that depends on others, and might never end: it is waited for so long only."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

_LOOK_SECONDS = 0.5

T = TypeVar("T")


def within(
    seconds: float,
    function: Callable[[], T],
    *,
    watch: Callable[[], None] | None = None,
) -> T:
    """Calls a function, and waits for its end no longer than so many seconds.

    It runs in a thread that ends with the process: Ctrl-C ends the waiting at once,
    also while the system looks for a host, which nothing else interrupts.

    Args:
      seconds: to wait.
      function: to call; after a TimeoutError it may still go on.
      watch: called while it is waited; may raise.

    Returns:
      What the function returns.

    Raises:
      TimeoutError: if it has not ended by then.
      Exception: what the function raises, or ``watch``.
    """
    returned: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            returned.append(function())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    end = time.monotonic() + seconds
    while thread.is_alive():
        left = end - time.monotonic()
        if left <= 0.0:
            raise TimeoutError(f"it has not ended within {seconds:,.4g} s")
        thread.join(min(left, _LOOK_SECONDS))
        if watch is not None:
            watch()
    if raised:
        raise raised[0]
    return returned[0]
