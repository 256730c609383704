"""Seconds of interleaved repetitions, and the figures that are made of them."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np


class Timing(NamedTuple):
    """How long a callable took.

    Attributes:
      first: seconds of the first call, which compiles and places data.
      seconds: of each later call.
      last: what the last call returned.
    """

    first: float
    seconds: tuple[float, ...]
    last: Any = None

    @property
    def median(self) -> float:
        """Of the later calls, in seconds."""
        return float(np.median(self.seconds))

    def summary(self) -> dict[str, Any]:
        """What a JSON file says of it; all in seconds."""
        return {
            "median": self.median,
            "quartiles": _quartiles(self.seconds),
            "compile": max(0.0, self.first - self.median),
            "repetitions": len(self.seconds),
        }


class Figure(NamedTuple):
    """One measured figure.

    Attributes:
      name: what was measured, in words.
      value: the median, or the ratio of two medians.
      quartiles: of the repetitions: of a ratio, those of its value in each.
      unit: of value; "" of a ratio.
      target: the most that value shall be, or None.
      seconds: summaries of the timings behind it, by name.
      details: settings, and what was reached, such as a recall.
      suite: what it belongs to; the program adds it.
    """

    name: str
    value: float
    quartiles: tuple[float, float] | None = None
    unit: str = ""
    target: float | None = None
    seconds: Mapping[str, Mapping[str, Any]] = {}
    details: Mapping[str, Any] = {}
    suite: str = ""

    def cells(self) -> tuple[str, str, str, str]:
        """Name, value, quartiles and target, as text."""
        spread, target = "-", "-"
        if self.quartiles is not None:
            spread = " to ".join(f"{value:.4g}" for value in self.quartiles)
        if self.target is not None:
            target = f"at most {self.target:g}"
        return self.name, f"{self.value:.4g} {self.unit}".strip(), spread, target


def interleave(
    callables: Mapping[str, Callable[[], Any]],
    repetitions: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Times callables in turns, so that a disturbance meets all of them alike.

    Each is first called once, apart from the repetitions, to compile.

    Args:
      callables: what to time; arrays that one returns are waited for.
      repetitions: calls of each, after the first.
      clock: what tells the seconds.

    Returns:
      The timing of each.
    """
    seconds, last = {name: [] for name in callables}, {}
    for _ in range(1 + repetitions):
        for name, function in callables.items():
            began = clock()
            last[name] = jax.block_until_ready(function())
            seconds[name].append(clock() - began)
    return {
        name: Timing(first, tuple(later), last[name])
        for name, (first, *later) in seconds.items()
    }


def ratio(
    name: str,
    timings: Mapping[str, Timing],
    numerator: str,
    denominator: str,
    *,
    divisor: float = 1.0,
    target: float | None = None,
    **details: Any,
) -> Figure:
    """The ratio of two medians.

    Args:
      name: of the figure.
      timings: from ``interleave``.
      numerator: which of them to divide,
      denominator: and by which.
      divisor: of the ratio, where the numerator has done that many times the work.
      target: the most that the ratio shall be.
      **details: settings and results to keep beside it.
    """
    above, below = timings[numerator], timings[denominator]
    each = np.divide(above.seconds, below.seconds) / divisor
    return Figure(
        name,
        above.median / below.median / divisor,
        _quartiles(each),
        target=target,
        seconds={key: timings[key].summary() for key in (numerator, denominator)},
        details=details,
    )


def duration(name: str, timing: Timing, **keywords: Any) -> Figure:
    """The seconds of one timing; keywords as of ``Figure``."""
    return Figure(
        name,
        timing.median,
        _quartiles(timing.seconds),
        unit="s",
        seconds={name: timing.summary()},
        **keywords,
    )


def _quartiles(values: Sequence[float]) -> tuple[float, float]:
    lower, upper = np.quantile(values, (0.25, 0.75))
    return float(lower), float(upper)
