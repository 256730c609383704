"""The training loop: one compiled call an epoch, resumable at every epoch's end."""

from dgg_jax.training.loop import (
    Diverged,
    Monitor,
    StepOutput,
    compile_epoch,
    fit,
    optimize,
)
from dgg_jax.training.schedules import Rate, Schedule, adam
from dgg_jax.training.state import TrainState

__all__ = [
    "Diverged",
    "Monitor",
    "Rate",
    "Schedule",
    "StepOutput",
    "TrainState",
    "adam",
    "compile_epoch",
    "fit",
    "optimize",
]
