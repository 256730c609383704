"""IMSAT as a scikit-learn estimator."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from dgg_jax.estimators.base import Callback, Clusterer


class IMSAT(Clusterer):
    """Clustering by mutual information and self-augmented training.

    Hu et al., ICML 2017. It has no embedding.

    Attributes:
      labels_: cluster of each row of training, [N].
      probabilities_: of the clusters, [N, K].
      confidence_: the largest of each row, [N].
      history_: metrics of every epoch.
      stages_: metrics of every stage.
      n_clusters_: K.
      n_iter_: epochs of the method's own training that were run.
      n_features_in_: D, columns of X.
      image_shape_: of the images in the rows, given or X's; None if there are none.
      preset_: every setting, with those chosen from the data.
      model_: the trained model.
    """

    _method = "imsat"
    _model_entries = ("model", "moments")

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
        hidden_sizes: Sequence[int] | None = None,
        num_neighbors: int | None = None,
        perturbation_fraction: float | None = None,
        perturbation_probe: float | None = None,
        batch_norm: bool | None = None,
        information_weight: float | None = None,
        marginal_weight: float | None = None,
        warp: float | None = None,
    ) -> None:
        """Keeps the settings, which ``fit`` checks.

        Args:
          n_clusters: K, the number of clusters.
          preset: where settings that are None come from: default (what we recommend) or
            smoke (a few epochs of small networks, to see that everything runs).
          image_shape: (H, W), (H, W, 1) or (H, W, 3) of the image in a row of X: warps
            may then have to leave its cluster as it is. None if there is none.
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
          epochs: epochs of the method's own training. Default: 50, fewer of more than
            70,000 rows.
          batch_size: points of a batch in it. Default: from the data.
          optimizer: of the method's own training: adam, or sgd with a momentum of 0.9.
            Default: adam.
          learning_rate: initial rate of the method's own training. Default: 0.002.
          decay: factor of that rate every decay_epochs. Default: 1.0.
          decay_epochs: epochs of one stair of that rate. Default: 10, fewer of more
            than 70,000 rows.
          weight_decay: L2 weight decay in it. Default: 0.0.
          hidden_sizes: widths of the ReLU layers of the classifier. Default: (1200,
            1200).
          num_neighbors: k, the neighbour whose distance scales the perturbations.
            Default: 10.
          perturbation_fraction: their length, as a share of that distance. Default:
            0.25.
          perturbation_probe: xi, length at which their direction is sought, in units of
            it. Default: 4.0.
          batch_norm: whether the classifier has batch normalisation. Default: True.
          information_weight: lambda, weight of the mutual information. Default: 0.1.
          marginal_weight: mu, weight of the marginal entropy in it. Default: 4.0.
          warp: strength of random warps (``RandomWarp``) that leave clusters as they
            are, too, if the rows are images; 0 for none. Default: 0.0.
        """
        self._store(locals())

    # The end.

    def _arguments(self):
        return super()._arguments() | {"image_shape": self.image_shape}

    def _infer(self, X: Any) -> tuple[Any, np.ndarray]:
        return None, super()._infer(X)
