"""What may never end is waited for so long only."""

import threading
import time

import pytest

from dgg_jax.data.deadlines import within


def test_what_ends_in_time_comes_back():
    assert within(10.0, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        within(10.0, lambda: 1 / 0)


def test_what_does_not_end_is_left():
    ended = threading.Event()
    start = time.monotonic()
    with pytest.raises(TimeoutError, match=r"within 0\.2 s"):
        within(0.2, lambda: ended.wait(30))
    assert time.monotonic() - start < 5.0
    ended.set()
    with pytest.raises(TimeoutError):
        within(-1.0, lambda: time.sleep(1))


def test_it_is_watched():
    def watch():
        raise ValueError("too much")

    ended = threading.Event()
    with pytest.raises(ValueError, match="too much"):
        within(10.0, lambda: ended.wait(30), watch=watch)
    ended.set()
