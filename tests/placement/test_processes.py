"""Several processes that do the same, and what one of them says to the others."""

import socket
import subprocess
import sys

import jax
import pytest

from dgg_jax import checks
from dgg_jax.placement import processes


def test_one_process_is_the_first_and_asks_nobody():
    calls = []
    assert processes.is_first()
    assert processes.on_first(lambda: calls.append(1) or 7) == 7
    assert processes.ahead(lambda: calls.append(2) or 8) == 8
    assert processes.anywhere(lambda: 1) is True and not processes.anywhere(bool)
    assert calls == [1, 2]
    with pytest.raises(KeyError):
        processes.on_first(lambda: {}["absent"])


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("10.0.0.1:1234", 2, None), "go together"),
        ((None, 2, 0), "give all three"),
        (("10.0.0.1", 2, 0), "host:port"),
        (("10.0.0.1:port", 2, 0), "host:port"),
        (("10.0.0.1:1234", 0, 0), "num_processes"),
        (("10.0.0.1:1234", 2, 2), "process_id"),
        (("10.0.0.1:1234", 2, -1), "process_id"),
    ],
)
def test_what_does_not_say_who_is_who_is_refused(arguments, words, monkeypatch):
    monkeypatch.setattr(jax.distributed, "initialize", pytest.fail)
    with pytest.raises(checks.InvalidInput, match=words):
        processes.join(*arguments)


def test_an_environment_that_says_nothing_is_refused(monkeypatch):
    def initialize(*place):
        assert place == (None, None, None)
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with pytest.raises(checks.InvalidInput, match=r"should be defined.*process_id"):
        processes.join()


def free_port():
    with socket.socket() as listening:
        listening.bind(("localhost", 0))
        return listening.getsockname()[1]


PROGRAM = """
import sys
import jax, numpy as np
from dgg_jax.placement import devices, processes
from dgg_jax.checks import InvalidInput

address, number = sys.argv[1], int(sys.argv[2])
processes.join(address, 2, number)
assert jax.process_count() == 2 and processes.is_first() == (number == 0)

# A tree longer than one message, told by the first alone.
def tell():
    assert number == 0
    return {"x": np.arange(5_000_000.0), "name": "first"}
told = processes.on_first(tell)
assert told["name"] == "first" and told["x"][-1] == 4_999_999

class Unusual(Exception):
    def __init__(self, one, two):
        super().__init__(one + two)

def fail(error):
    raise error
for error, expected in [
    (OSError(28, "full", "here"), OSError), (Unusual("a", "b"), (Unusual, RuntimeError))
]:
    try:
        processes.on_first(lambda: fail(error))
    except expected as caught:
        assert str(caught).endswith(str(error)), caught
    else:
        raise AssertionError

assert processes.anywhere(lambda: number == 1)
assert not processes.anywhere(lambda: False)
assert processes.ahead(lambda: number) == number
for failing, expected in ((0, [KeyError] * 2), (1, [InvalidInput, KeyError])):
    try:
        processes.ahead(lambda: {1 - failing: 1}[number])
    except Exception as error:
        assert type(error) is expected[number], error
    else:
        raise AssertionError

# A process reads the rows of its own devices, and no other.
class Rows(np.ndarray):
    def __getitem__(self, index):
        read.append(index[0])
        return np.asarray(self)[index]
read = []
rows = np.arange(14.0, dtype=np.float32).reshape(7, 2)
placed = devices.put(rows.view(Rows), 7)
print(sorted({(index.start, index.stop) for index in read}))
np.testing.assert_array_equal(devices.gather(placed), rows)
"""


@pytest.mark.slow
def test_the_first_of_two_processes_speaks_for_both(xla):
    address = f"localhost:{free_port()}"
    flags = "--xla_force_host_platform_device_count=2"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, address, str(number)],
            env={**xla, "XLA_FLAGS": f"{xla['XLA_FLAGS']} {flags}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    outputs = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert "[(0, 2), (2, 4)]" in outputs[0][0]
    assert "[(4, 6), (6, 7)]" in outputs[1][0]
