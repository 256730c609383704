"""Where the seconds of a run go, and a trace of some epochs of its loops."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax

from dgg_jax.placement import processes
from dgg_jax.training import Metrics, Run, State, TrainState

_LAST_TRACED = 3  # epoch of a loop, from the second: the first one compiles
_TRACED_SECONDS = 10.0  # at most, of a loop: traces of long epochs would be huge
_COMPILING = "/jax/core/compile/backend_compile_duration"
_MAKING = "/jax/core/compile/"  # how events of tracing and lowering begin, too

Span = tuple[float, float]  # from when to when, by the monotonic clock


class ProfiledRun(Run):
    """A run that says where its seconds go: ``dgg-jax run --profile``.

    Traces of the second and third epoch of each loop, of ten seconds at most, go to
    profile/ in the workdir, in the format of ``jax.profiler``.

    Attributes:
      profile: a row for each stage that finished in this session, followed by those of
        its loops, see ``row``.
    """

    def __init__(self, *arguments: Any, **keywords: Any):
        self.profile: list[Metrics] = []
        self._epochs: dict[str, list[Span]] = {}
        self._making: list[Span] = []
        self._compiling: list[Span] = []
        self._measured = ""  # the stage
        self._epoch_began = 0.0
        self._trace_ends: threading.Timer | None = None  # while there is a trace
        self._ending = threading.Lock()
        super().__init__(*arguments, **keywords)

    def stage(
        self, name: str, function: Callable[..., tuple[State, Metrics]], *arguments: Any
    ) -> State:
        """As of ``Run``; what the stage takes is measured."""

        def measured(*arguments: Any) -> tuple[State, Metrics]:
            self._measured = name
            self._epochs, self._making, self._compiling = {}, [], []
            began = time.monotonic()
            with self._compilations():
                try:
                    outcome = function(*arguments)
                finally:
                    self._end_trace()
            self._add_rows(name, (began, time.monotonic()))
            return outcome

        return super().stage(name, measured, *arguments)

    def restore(self, loop: str, state: TrainState) -> tuple[TrainState, int]:
        """As of ``Run``; the loop's first epoch begins."""
        restored = super().restore(loop, state)
        self._end_trace()  # of a loop before, which has converged early
        self._epoch_began = time.monotonic()
        return restored

    def epoch_end(
        self,
        loop: str,
        epoch: int,
        num_epochs: int,
        state: TrainState,
        metrics: Metrics,
    ) -> bool:
        """As of ``Run``, whose own work at the end of an epoch is no part of it."""
        epochs = self._epochs.setdefault(loop, [])
        epochs.append((self._epoch_began, time.monotonic()))
        is_last = epoch == num_epochs
        if is_last or len(epochs) == _LAST_TRACED:
            self._end_trace()
        is_enough = super().epoch_end(loop, epoch, num_epochs, state, metrics)
        if len(epochs) == 1 and not (is_last or is_enough):
            self._begin_trace(loop)
        self._epoch_began = time.monotonic()
        return is_enough

    @contextlib.contextmanager
    def _compilations(self) -> Iterator[None]:
        """Within, what jax tells of its compiling is kept."""

        def keep(event: str, seconds: float, **more: Any) -> None:
            now = time.monotonic()
            if event.startswith(_MAKING):
                self._making.append((now - seconds, now))
            if event == _COMPILING:
                self._compiling.append((now - seconds, now))

        jax.monitoring.register_event_duration_secs_listener(keep)
        try:
            yield
        finally:
            jax.monitoring.unregister_event_duration_listener(keep)

    def _add_rows(self, stage: str, whole: Span) -> None:
        making, compiling = self._making, self._compiling
        every = [span for spans in self._epochs.values() for span in spans]
        self.profile.append(row(stage, None, [whole], every, making, compiling))
        for loop, epochs in self._epochs.items():
            self.profile.append(row(stage, loop, epochs, epochs, making, compiling))

    def _begin_trace(self, loop: str) -> None:
        if self.workdir is None or not processes.is_first():
            return
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0  # else every call of Python
        folder = self.workdir / "profile" / f"{self._measured}.{loop}"
        jax.profiler.start_trace(folder, profiler_options=options)
        self._trace_ends = threading.Timer(_TRACED_SECONDS, self._end_trace)
        self._trace_ends.start()

    def _end_trace(self) -> None:
        with self._ending:  # the time may be over just as the epoch ends
            if self._trace_ends is not None:
                self._trace_ends.cancel()
                self._trace_ends = None
                jax.profiler.stop_trace()


def row(
    stage: str,
    loop: str | None,
    whole: list[Span],
    epochs: list[Span],
    making: list[Span],
    compiling: list[Span],
) -> Metrics:
    """A row of the table: the four last entries add up to its seconds.

    Args:
      stage: its name.
      loop: in the stage, None of the stage as a whole.
      whole: what the row is of.
      epochs: of the loops in it.
      making: whenever a program was traced, lowered or compiled.
      compiling: whenever it was compiled, or read from what an earlier run compiled.

    Returns:
      stage, loop, epochs: their number; seconds, training: epochs but for what of them
      made programs; tracing, with lowering; compiling; rest.
    """
    seconds = {
        "seconds": covered(whole),
        "training": covered(epochs + making) - covered(making),
        "tracing": common(whole, making) - common(whole, compiling),
        "compiling": common(whole, compiling),
    }
    parts = seconds["training"] + seconds["tracing"] + seconds["compiling"]
    seconds["rest"] = seconds["seconds"] - parts
    of = {"stage": stage, "loop": loop, "epochs": len(epochs)}
    return of | {name: round(value, 3) for name, value in seconds.items()}


def covered(spans: Iterable[Span]) -> float:
    """The seconds that lie in one span or more.

    >>> covered([(0.0, 2.0), (1.0, 3.0), (5.0, 6.0)])
    4.0
    """
    seconds, end = 0.0, float("-inf")
    for start, stop in sorted(spans):
        seconds += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return seconds


def common(one: list[Span], other: list[Span]) -> float:
    """The seconds that lie in a span of each.

    >>> common([(0.0, 2.0)], [(1.0, 3.0), (5.0, 6.0)])
    1.0
    """
    return covered(one) + covered(other) - covered(one + other)
