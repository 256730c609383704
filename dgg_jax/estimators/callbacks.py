"""What estimators may call after every epoch: ``DGG(callbacks=EarlyStopping())``."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from dgg_jax import checks


@dataclasses.dataclass
class EarlyStopping:
    """Ends a loop of training once a metric has not become better for some epochs.

    The fit goes on with what the loop has trained, as after its last epoch. A loop that
    begins anew forgets what was before it, so that one of these may serve many fits.

    Args:
      patience: epochs without a better value, after which the loop ends.
      monitor: the metric: "objective" of DGG, VaDE and GMVAE, "loss" of the others; of
        restarts that are trained together it is the best one's.
      mode: "max" or "min": what is better; None: "min" of a loss, "max" of others.
      min_delta: by how much a value must be better, at least 0.
      stage: whose loop it ends; the joint training is that of "train".
      loop: of the stage; None: each of them.

    Raises:
      InvalidInput: if an argument is none of these; after an epoch, if the loop has no
        such metric.

    Example:
      >>> from dgg_jax import EarlyStopping, VaDE
      >>> model = VaDE(n_clusters=10, callbacks=EarlyStopping(patience=3))
    """

    patience: int = 5
    monitor: str = "objective"
    mode: str | None = None
    min_delta: float = 0.0
    stage: str = "train"
    loop: str | None = None
    _best: float = dataclasses.field(default=-np.inf, init=False, repr=False)
    _best_epoch: int = dataclasses.field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        checks.in_range("patience", self.patience, 1)
        checks.in_range("min_delta", self.min_delta, 0.0)
        if self.mode is not None:
            checks.one_of("mode", self.mode, ("max", "min"))

    def __call__(self, stage: str, epoch: int, metrics: Mapping[str, Any]) -> bool:
        """Whether the loop is to end after this epoch, the first of which is 1."""
        if stage != self.stage or self.loop not in (None, metrics["loop"]):
            return False
        checks.one_of("monitor", self.monitor, tuple(metrics))
        mode = self.mode or ("min" if "loss" in self.monitor else "max")
        sign = 1.0 if mode == "max" else -1.0
        value = float(np.max(np.multiply(metrics[self.monitor], sign)))
        if epoch == 1 or value > self._best + self.min_delta:
            self._best, self._best_epoch = value, epoch
        return epoch - self._best_epoch >= self.patience
