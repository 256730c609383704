"""SpectralNet as a scikit-learn estimator."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dgg_jax.estimators.base import Callback, Embedder


class SpectralNet(Embedder):
    """Spectral clustering by a network on Siamese affinities.

    Shaham et al., ICLR 2018. Its clusters are hard: there is no predict_proba.

    Attributes:
      labels_: cluster of each row of training, [N].
      embedding_: spectral embedding, [N, K].
      history_: metrics of every epoch.
      stages_: metrics of every stage.
      n_features_in_: D, columns of X.
      preset_: every setting, with those chosen from the data.
      model_: the trained model.
    """

    _method = "spectralnet"
    _model_entries = ("siamese", "network", "orthonormalizer", "centers")
    _soft = False

    # Written by python -m experiments.constructors, until the end:
    def __init__(
        self,
        n_clusters: int = 10,
        *,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = 0,
        callbacks: Callback | Sequence[Callback] | None = None,
        precision: str = "float32",
        epochs: int = 40,
        batch_size: int | None = None,
        learning_rate: float = 0.001,
        decay: float = 0.9,
        decay_epochs: int = 10,
        weight_decay: float = 0.0,
        siamese_epochs: int = 8,
        siamese_pairs: int = 2,
        siamese_pairing: str = "batch",
        siamese_candidates: int = 2,
        siamese_margin: float = 5.0,
        siamese_init: str = "random",
        siamese_learning_rate: float = 0.0005,
        siamese_decay: float = 0.1,
        siamese_decay_epochs: int = 70,
        siamese_weight_decay: float = 0.0001,
        siamese_batch_size: int | None = None,
        hidden_sizes: Sequence[int] = (1024, 1024, 512),
        latent_dim: int = 10,
        affinity_neighbors: int = 5,
        laplacian: str = "unnormalized",
        restarts: int = 10,
    ) -> None:
        """Keeps the settings, which ``fit`` checks.

        Args:
          n_clusters: K, the number of clusters.
          random_state: seed of every random number, or RandomState, or None.
          verbose: 1 shows a progress bar and what each stage reaches.
          callbacks: a function of (stage, epoch, metrics), or several; one that returns
            True ends the training loop it was called from, and fit goes on with the
            next.
          precision: of matrix products: float32; on GPUs and TPUs, which are faster
            with it, also tf32 or bfloat16, summed in float32. A CPU always takes
            float32. One of float32, tf32, bfloat16.
          epochs: epochs of the method's own training.
          batch_size: points of a batch in it. None chooses it from the data.
          learning_rate: Adam's initial rate in it.
          decay: factor of that rate every decay_epochs.
          decay_epochs: epochs of one stair of that rate.
          weight_decay: L2 weight decay in it.
          siamese_epochs: epochs of the Siamese network; 0 takes distances of the data.
          siamese_pairs: N_t, positive pairs a point.
          siamese_pairing: batch: all pairs of what a step embeds, a batch and N_t
            neighbours of each point; drawn: N_t positive and N_t negative ones a point.
            One of batch, drawn.
          siamese_candidates: nearest points of which the positive pairs are drawn; if
            no more than siamese_pairs, these are the nearest.
          siamese_margin: c, distance to which negative pairs are pushed.
          siamese_init: random, or encoder: from the pretrained encoder. One of encoder,
            random.
          siamese_learning_rate: Adam's initial rate for the Siamese network.
          siamese_decay: factor of that rate every siamese_decay_epochs.
          siamese_decay_epochs: epochs of one stair of that rate.
          siamese_weight_decay: L2 weight decay of the Siamese network.
          siamese_batch_size: points of a batch for the Siamese network. None chooses it
            from the data.
          hidden_sizes: widths of the ReLU layers of both networks.
          latent_dim: L, dimension of the Siamese embedding.
          affinity_neighbors: nearest points in a batch that a point is similar to.
          laplacian: unnormalized or normalized. One of unnormalized, normalized.
          restarts: starts of the algorithm; the best objective is kept.
        """
        self._store(locals())

    # The end.

    def predict(self, X: Any) -> np.ndarray:
        """The cluster of each row, int32 of shape [N]."""
        return self._infer(X)[1]
