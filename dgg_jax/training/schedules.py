"""Optimisers of the papers, by optax."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import optax

from dgg_jax.networks import is_learned

_MOMENTUM = 0.9  # of the released code's SGD
_FEW_PARAMETERS = 1_000_000  # those of smaller networks than the papers'


class Rate(NamedTuple):
    """A learning rate that falls in stairs.

    Attributes:
      learning_rate: the initial rate.
      decay: its factor every ``decay_epochs`` epochs; 1 keeps it constant.
      decay_epochs: epochs of one stair.
      floor: the rate below which it does not fall.
      optimizer: "adam", or "sgd" with a momentum of 0.9 (erratum E20).
    """

    learning_rate: float
    decay: float = 1.0
    decay_epochs: int = 10
    floor: float = 0.0
    optimizer: str = "adam"


class Schedule(NamedTuple):
    """How long and how fast a loop trains.

    Attributes:
      epochs: how many.
      batch_size: points of a batch; all points if they are fewer.
      learning_rate: the optimiser's initial rate.
      decay: factor of the rate every ``decay_epochs`` epochs; 1 keeps it constant.
      decay_epochs: epochs of one stair.
      weight_decay: L2 weight decay.
      floor: the rate below which it does not fall.
      optimizer: "adam", or "sgd" with a momentum of 0.9.
      shuffle: "all" rows, or those of each "device" by itself; see ``compile_epoch``.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    decay: float = 1.0
    decay_epochs: int = 10
    weight_decay: float = 0.0
    floor: float = 0.0
    optimizer: str = "adam"
    shuffle: str = "all"

    @property
    def rate(self) -> Rate:
        """The learning rate by itself, and what follows it."""
        return Rate(
            self.learning_rate,
            self.decay,
            self.decay_epochs,
            self.floor,
            self.optimizer,
        )


def descent(
    rate: Rate, *, steps_per_epoch: int, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """Adam or SGD with a staircase: rate times ``decay`` every ``decay_epochs`` epochs.

    Section 4.1 of DGG and 4.2 of VaDE have decay 0.9 every 10 epochs. The weight decay
    is added to the gradient, as in the released code (errata E25, E35), not decoupled.

    Args:
      rate: the staircase.
      steps_per_epoch: optimiser steps of one epoch.
      weight_decay: factor of the parameters in the gradient.

    Returns:
      An optax gradient transformation, which leaves alone what is not learned.
    """
    schedule = optax.exponential_decay(
        rate.learning_rate,
        rate.decay_epochs * steps_per_epoch,
        rate.decay,
        staircase=True,
        # Of a rate that does not fall, optax takes it for a ceiling.
        end_value=rate.floor if rate.decay < 1.0 else None,
    )
    if rate.optimizer == "sgd":
        steps = optax.sgd(schedule, momentum=_MOMENTUM)
    else:
        steps = optax.adam(schedule)
    steps = optax.chain(optax.add_decayed_weights(weight_decay), steps)
    return _of_learned(_of_one_vector(steps))


def _of_learned(
    optimizer: optax.GradientTransformation,
) -> optax.GradientTransformation:
    """The same steps of what ``is_learned``, and none of what is not."""

    def labels(params):
        return jax.tree.map(str, is_learned(params))

    parted = optax.partition({"True": optimizer, "False": optax.set_to_zero()}, labels)

    def suited(params):
        return optimizer if all(jax.tree.leaves(is_learned(params))) else parted

    return _by_params(suited)


def _of_one_vector(
    optimizer: optax.GradientTransformation,
) -> optax.GradientTransformation:
    """The same steps, of few parameters by one vector of all of them.

    Most of a fit to few rows is compilation, much of it of the steps of many arrays.
    Of many parameters the copies cost more than that.
    """
    of_vector = optax.flatten(optimizer)

    def suited(params):
        sizes = [leaf.size for leaf in jax.tree.leaves(params)]
        return of_vector if 0 < sum(sizes) <= _FEW_PARAMETERS else optimizer

    return _by_params(suited)


def _by_params(
    suited: Callable[[Any], optax.GradientTransformation],
) -> optax.GradientTransformation:
    """The optimiser that suits the parameters, which gradients have the shape of."""

    def init(params):
        return suited(params).init(params)

    def update(gradients, state, params=None):
        return suited(gradients).update(gradients, state, params)

    return optax.GradientTransformation(init, update)


def descent_by_entry(
    rate: Rate,
    rates: Mapping[str, Rate],
    *,
    steps_per_epoch: int,
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """As ``descent``, of a dictionary, some entries of which have their own rate.

    Args:
      rate: of all other entries.
      rates: of the entries that it names.
      steps_per_epoch: optimiser steps of one epoch.
      weight_decay: factor of the other entries' parameters in their gradient; a decay
        to 0 says nothing of a mixture.

    Returns:
      An optax gradient transformation.
    """
    if not rates:
        return descent(rate, steps_per_epoch=steps_per_epoch, weight_decay=weight_decay)

    def labels(params):
        return {
            name: jax.tree.map(lambda leaf, name=name: name if name in rates else "", v)
            for name, v in params.items()
        }

    own = {
        name: descent(rate, steps_per_epoch=steps_per_epoch)
        for name, rate in rates.items()
    }
    rest = descent(rate, steps_per_epoch=steps_per_epoch, weight_decay=weight_decay)
    return optax.partition({**own, "": rest}, labels)  # "" names no entry


def descent_by_turn(
    optimizers: Sequence[optax.GradientTransformation],
    learned: Sequence[Sequence[str]],
) -> optax.GradientTransformationExtraArgs:
    """Optimisers of which each learns, when its turn comes, entries of a dictionary.

    Args:
      optimizers: one a turn.
      learned: the entries that each of them learns; one may be learned in many turns,
        in each by that turn's own state.

    Returns:
      An optax transformation whose ``update`` takes the number of the ``turn``, and
      gradients and parameters of its entries alone. Its state is that of all turns.
    """

    def init(params):
        return tuple(
            optimizer.init({name: params[name] for name in names})
            for optimizer, names in zip(optimizers, learned, strict=True)
        )

    def update(gradients, states, params=None, *, turn):
        updates, state = optimizers[turn].update(gradients, states[turn], params)
        return updates, (*states[:turn], state, *states[turn + 1 :])

    return optax.GradientTransformationExtraArgs(init, update)
