"""Optimisers of the papers, by optax."""

from typing import NamedTuple

import optax


class Schedule(NamedTuple):
    """How long and how fast a loop trains.

    Attributes:
      epochs: how many.
      batch_size: points of a batch; all points if they are fewer.
      learning_rate: Adam's initial rate.
      decay: factor of the rate every ``decay_epochs`` epochs; 1 keeps it constant.
      decay_epochs: epochs of one stair.
      weight_decay: L2 weight decay.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    decay: float = 1.0
    decay_epochs: int = 10
    weight_decay: float = 0.0


def adam(
    learning_rate: float,
    *,
    steps_per_epoch: int,
    decay: float = 1.0,
    decay_epochs: int = 10,
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """Adam with a staircase: the rate times ``decay`` every ``decay_epochs`` epochs.

    Section 4.1 of DGG has decay 0.9 every 10 epochs. The weight decay is added to the
    gradient, as in the released code (errata E25, E35), not decoupled.

    Args:
      learning_rate: the initial rate.
      steps_per_epoch: optimiser steps of one epoch.
      decay: factor of one stair; 1 keeps the rate constant.
      decay_epochs: epochs of one stair.
      weight_decay: factor of the parameters in the gradient.

    Returns:
      An optax gradient transformation.
    """
    schedule = optax.exponential_decay(
        learning_rate, decay_epochs * steps_per_epoch, decay, staircase=True
    )
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.adam(schedule))
