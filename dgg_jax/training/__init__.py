"""The training loop: one compiled call an epoch, resumable at every epoch's end."""

from dgg_jax.training.batches import Rows, batch_mean
from dgg_jax.training.loop import (
    Diverged,
    Loss,
    Monitor,
    StepOutput,
    Turn,
    compile_epoch,
    fit,
    optimize,
    steps_per_epoch,
)
from dgg_jax.training.runner import Interrupted, Metrics, Run, State
from dgg_jax.training.schedules import Rate, Schedule, descent
from dgg_jax.training.state import TrainState

__all__ = [
    "Diverged",
    "Interrupted",
    "Loss",
    "Metrics",
    "Monitor",
    "Rate",
    "Rows",
    "Run",
    "Schedule",
    "State",
    "StepOutput",
    "TrainState",
    "Turn",
    "batch_mean",
    "compile_epoch",
    "descent",
    "fit",
    "optimize",
    "steps_per_epoch",
]
