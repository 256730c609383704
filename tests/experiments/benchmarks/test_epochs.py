"""A training that goes on by one epoch a call."""

import threading

import pytest

from dgg_jax.training import TrainState
from experiments.benchmarks.epochs import Epochs


def endless(done):
    def train(epochs):
        while not epochs.pause():
            done.append(None)

    return train


def test_each_call_is_an_epoch():
    done = []
    with Epochs(endless(done)) as epoch:
        for expected in range(3):
            epoch()
            assert len(done) == expected
    assert len(done) == 2


def test_as_a_monitor_it_keeps_the_state():
    states = [TrainState(step, None, None) for step in range(3)]
    ended = []

    def train(monitor):
        for number, state in enumerate(states):
            ended.append(monitor.epoch_end("loop", number + 1, 3, state, {}))

    with Epochs(train) as epoch:
        epoch()
        epoch()
        assert epoch.state is states[1]
    assert ended == [False, True, True]


def test_the_end_leaves_no_thread():
    before = threading.active_count()
    with Epochs(endless([])) as epoch:
        epoch()
        assert threading.active_count() == before + 1
    with Epochs(endless([])):
        pass
    assert threading.active_count() == before


def test_an_error_of_the_training_is_told():
    def train(epochs):
        raise ValueError("of the training")

    with Epochs(train) as epoch, pytest.raises(RuntimeError) as error:
        epoch()
    assert str(error.value.__cause__) == "of the training"


def test_a_training_that_ends_is_told():
    with Epochs(lambda epochs: None) as epoch, pytest.raises(RuntimeError):
        epoch()
