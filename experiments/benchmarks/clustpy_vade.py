"""VaDE of ClustPy, an epoch at a time."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from clustpy.deep import VaDE
from clustpy.deep import get_dataloader as dataloader

from dgg_jax.presets import DGGPreset
from experiments.benchmarks.epochs import Epochs


class _Pausing(torch.utils.data.DataLoader):
    """A data loader that pauses before some of the passes through the data."""

    def __init__(self, loader: torch.utils.data.DataLoader, epochs: Epochs, skip: int):
        super().__init__(loader.dataset, batch_size=loader.batch_size, shuffle=True)
        self._epochs, self._left = epochs, skip

    def __iter__(self) -> Iterator[Any]:
        if self._left == 0:
            self._epochs.pause()
        self._left = max(0, self._left - 1)
        return super().__iter__()


class VadeEpochs(Epochs):
    """Its training, each call an epoch; the first holds its pretraining, too.

    Leaving the context lets it end: one more epoch, and the labels.

    Attributes:
      labels: of all rows, [N], once it has ended.
    """

    def __init__(
        self, x: np.ndarray, preset: DGGPreset, pretrain_epochs: int, epochs: int
    ):
        """Prepares a training with ClustPy's own networks, 500-500-2000 as the papers'.

        Args:
          x: data in [0, 1], shape [N, D].
          preset: with K, L and the size of a batch.
          pretrain_epochs: of its autoencoder.
          epochs: how often it will be called.
        """
        batch_size = preset.batch_size
        self.labels: np.ndarray | None = None

        def train(paused):
            # Not before the first pass of the training: the first call runs it.
            train_loader = _Pausing(
                dataloader(x, batch_size, True), paused, pretrain_epochs + 1
            )
            model = VaDE(
                preset.num_clusters,
                batch_size=batch_size,
                pretrain_epochs=pretrain_epochs,
                clustering_epochs=epochs + 1,
                embedding_size=preset.latent_dim,
                custom_dataloaders=(train_loader, dataloader(x, batch_size, False)),
                random_state=0,
            )
            self.labels = model.fit(x).labels_

        super().__init__(train)
