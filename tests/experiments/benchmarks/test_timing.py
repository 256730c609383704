"""The arithmetic of figures, by a clock that is told what to show."""

import pytest

from experiments.benchmarks import timing
from experiments.benchmarks.timing import Figure, Timing


class Clock:
    """Stands still but where work moves it on."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def work(self, *seconds):
        """A callable that takes so long, call after call."""
        remaining = list(seconds)

        def run():
            self.now += remaining.pop(0)

        return run


def interleaved():
    clock = Clock()
    works = {"slow": clock.work(9.0, 2.0, 4.0, 6.0), "fast": clock.work(5.0, 1, 1, 2)}
    return timing.interleave(works, 3, clock)


def test_the_first_call_is_counted_apart():
    timings = interleaved()
    assert timings["slow"] == Timing(9.0, (2.0, 4.0, 6.0))
    assert timings["slow"].summary() == {
        "median": 4.0,
        "quartiles": (3.0, 5.0),
        "compile": 5.0,
        "repetitions": 3,
    }


def test_callables_take_turns():
    calls = []
    works = {name: lambda name=name: calls.append(name) for name in "ab"}
    timing.interleave(works, 2)
    assert calls == list("ababab")


def test_a_ratio_is_of_medians_and_its_quartiles_of_repetitions():
    figure = timing.ratio("n", interleaved(), "slow", "fast", target=5.0, rows=7)
    # Repetition by repetition 2, 4 and 3.
    assert (figure.value, figure.quartiles) == (4.0, (2.5, 3.5))
    assert figure.target == 5.0
    assert figure.details == {"rows": 7}
    assert list(figure.seconds) == ["slow", "fast"]


def test_a_divisor_is_of_the_numerators_work():
    figure = timing.ratio("n", interleaved(), "slow", "fast", divisor=4.0)
    assert (figure.value, figure.quartiles) == (1.0, (0.625, 0.875))


def test_a_duration_is_in_seconds():
    figure = timing.duration("n", interleaved()["slow"], target=10.0)
    assert (figure.value, figure.unit, figure.target) == (4.0, "s", 10.0)


def test_cells_show_value_spread_and_target():
    ratio = Figure("epoch", 1.2345, (1.0, 1.5), target=1.25)
    assert ratio.cells() == ("epoch", "1.234", "1 to 1.5", "at most 1.25")
    peak = Figure("peak", 900, unit="MiB")
    assert peak.cells() == ("peak", "900 MiB", "-", "-")


@pytest.mark.parametrize("first", [0.5, 2.0])
def test_compilation_takes_no_negative_time(first):
    assert Timing(first, (1.0,)).summary()["compile"] == max(0.0, first - 1.0)
