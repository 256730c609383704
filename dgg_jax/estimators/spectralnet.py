"""SpectralNet as a scikit-learn estimator."""

from collections.abc import Sequence
from typing import Any, Literal

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
      n_clusters_: K.
      n_iter_: epochs of the method's own training that were run.
      n_features_in_: D, columns of X.
      image_shape_: of the images in the rows, given or X's; None if there are none.
      preset_: every setting, with those chosen from the data.
      model_: the trained model.
    """

    _method = "spectralnet"
    _model_entries = ("siamese", "network", "orthonormalizer", "centers")
    _soft = False

    # Written by python -m tests.constructors, until the end:
    def __init__(
        self,
        n_clusters: int = 10,
        *,
        preset: Literal["default", "smoke"] = "default",
        image_shape: Sequence[int] | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = 0,
        # Expert settings; None is the preset's value.
        callbacks: Callback | Sequence[Callback] | None = None,
        precision: str | None = None,
        shuffle: str | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        optimizer: str | None = None,
        learning_rate: float | None = None,
        decay: float | None = None,
        decay_epochs: int | None = None,
        weight_decay: float | None = None,
        siamese_epochs: int | None = None,
        siamese_pairs: int | None = None,
        siamese_pairing: str | None = None,
        siamese_candidates: int | None = None,
        siamese_components: int | None = None,
        siamese_margin: float | None = None,
        siamese_init: str | None = None,
        siamese_optimizer: str | None = None,
        siamese_learning_rate: float | None = None,
        siamese_decay: float | None = None,
        siamese_decay_epochs: int | None = None,
        siamese_weight_decay: float | None = None,
        siamese_batch_size: int | None = None,
        siamese_warp: float | None = None,
        hidden_sizes: Sequence[int] | None = None,
        latent_dim: int | None = None,
        affinity_neighbors: int | None = None,
        laplacian: str | None = None,
        restarts: int | None = None,
    ) -> None:
        """Keeps the settings, which ``fit`` checks.

        Args:
          n_clusters: K, the number of clusters.
          preset: where settings that are None come from: default (what we recommend) or
            smoke (a few epochs of small networks, to see that everything runs).
          image_shape: (H, W), (H, W, 1) or (H, W, 3) of the image in a row of X: what
            the Siamese network is trained on may then be warped. None if there is none.
          random_state: seed of every random number, or RandomState, or None.
          verbose: 1 shows a progress bar and what each stage reaches.

        Expert settings:
          callbacks: a function of (stage, epoch, metrics), or several; one that returns
            True ends the training loop it was called from, and fit goes on with the
            next.
          precision: of matrix products: float32; on GPUs and TPUs, which are faster
            with it, also tf32 or bfloat16, summed in float32. A CPU always takes
            float32. Default: float32.
          shuffle: where a batch's rows come from: all (anywhere, the same for any
            number of devices) or device (as many from each device's own, which sends
            none). Default: all.
          epochs: epochs of the method's own training. Default: 40, fewer of more than
            70,000 rows.
          batch_size: points of a batch in it. Default: from the data.
          optimizer: of the method's own training: adam, or sgd with a momentum of 0.9.
            Default: adam.
          learning_rate: initial rate of the method's own training. Default: 0.001.
          decay: factor of that rate every decay_epochs. Default: 0.9.
          decay_epochs: epochs of one stair of that rate. Default: 10, fewer of more
            than 70,000 rows.
          weight_decay: L2 weight decay in it. Default: 0.0.
          siamese_epochs: epochs of the Siamese network; 0 takes distances of the data.
            Default: 8, fewer of more than 70,000 rows.
          siamese_pairs: N_t, positive pairs a point. Default: 2.
          siamese_pairing: batch: all pairs of what a step embeds, a batch and N_t
            neighbours of each point; drawn: N_t positive and N_t negative ones a point.
            Default: batch.
          siamese_candidates: nearest points of which the positive pairs are drawn; if
            no more than siamese_pairs, these are the nearest. Default: 2.
          siamese_components: principal components in which these are nearest, if there
            are more columns; 0: in the data. Default: 0.
          siamese_margin: c, distance to which negative pairs are pushed. Default: 5.0.
          siamese_init: random, or encoder: from the pretrained encoder. Default:
            random.
          siamese_optimizer: what trains the Siamese network: adam, or sgd with a
            momentum of 0.9. Default: adam.
          siamese_learning_rate: initial rate of what trains the Siamese network.
            Default: 0.0005.
          siamese_decay: factor of that rate every siamese_decay_epochs. Default: 0.1.
          siamese_decay_epochs: epochs of one stair of that rate. Default: 70, fewer of
            more than 70,000 rows.
          siamese_weight_decay: L2 weight decay of the Siamese network. Default: 0.0001.
          siamese_batch_size: points of a batch for the Siamese network. Default: from
            the data.
          siamese_warp: strength of the random warps (``RandomWarp``) of what the
            Siamese network is trained on, if the rows are images; 0 for none. Default:
            0.0.
          hidden_sizes: widths of the ReLU layers of both networks. Default: (1024,
            1024, 512).
          latent_dim: L, dimension of the Siamese embedding. Default: 10.
          affinity_neighbors: nearest points in a batch that a point is similar to.
            Default: 5.
          laplacian: unnormalized or normalized. Default: unnormalized.
          restarts: starts of the algorithm; the best objective is kept. Default: 10.
        """
        self._store(locals())

    # The end.

    def _arguments(self):
        return super()._arguments() | {"image_shape": self.image_shape}

    def predict(self, X: Any) -> np.ndarray:
        """The cluster of each row, int32 of shape [N]."""
        return self._infer(X)[1]
