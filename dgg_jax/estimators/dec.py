"""DEC as a scikit-learn estimator."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from dgg_jax.estimators.base import Callback, Embedder


class DEC(Embedder):
    """Deep embedded clustering.

    Xie, Girshick and Farhadi, ICML 2016.

    Attributes:
      labels_: cluster of each row of training, [N].
      probabilities_: of the clusters, [N, K].
      confidence_: the largest of each row, [N].
      embedding_: latents, [N, L].
      history_: metrics of every epoch.
      stages_: metrics of every stage.
      n_clusters_: K.
      n_iter_: epochs of the method's own training that were run.
      n_features_in_: D, columns of X.
      image_shape_: of the images in the rows, given or X's; None if there are none.
      preset_: every setting, with those chosen from the data.
      model_: the trained model.
    """

    _method = "dec"
    _takes_sparse = True

    # Written by python -m tests.constructors, until the end:
    def __init__(
        self,
        n_clusters: int = 10,
        *,
        preset: Literal["default", "smoke"] = "default",
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
        likelihood: str | None = None,
        variance: float | None = None,
        dispersion: float | None = None,
        hidden_sizes: Sequence[int] | None = None,
        latent_dim: int | None = None,
        principal_components: int | None = None,
        pretrain_layer_epochs: int | None = None,
        pretrain_autoencoder_epochs: int | None = None,
        pretrain_vae_epochs: int | None = None,
        pretrain_centered: bool | None = None,
        pretrain_corruption: float | None = None,
        pretrain_learning_rate: float | None = None,
        pretrain_batch_size: int | None = None,
        device_memory_share: float | None = None,
        degrees_of_freedom: float | None = None,
        restarts: int | None = None,
    ) -> None:
        """Keeps the settings, which ``fit`` checks.

        Args:
          n_clusters: K, the number of clusters.
          preset: where settings that are None come from: default (what we recommend) or
            smoke (a few epochs of small networks, to see that everything runs).
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
          epochs: epochs of the method's own training. Default: 20, fewer of more than
            70,000 rows.
          batch_size: points of a batch in it. Default: from the data.
          optimizer: of the method's own training: adam, or sgd with a momentum of 0.9.
            Default: adam.
          learning_rate: initial rate of the method's own training. Default: 0.001.
          decay: factor of that rate every decay_epochs. Default: 1.0.
          decay_epochs: epochs of one stair of that rate. Default: 10, fewer of more
            than 70,000 rows.
          weight_decay: L2 weight decay in it. Default: 0.0.
          likelihood: p(x | z): bernoulli (values in [0, 1]), gaussian (fixed variance),
            learned_gaussian or negative_binomial (counts). Default: from the data.
          variance: lambda, the fixed variance of the gaussian likelihood. Default: from
            the data.
          dispersion: theta of the negative_binomial likelihood: counts of mean mu have
            the variance mu + mu^2 / theta. Default: from the data.
          hidden_sizes: widths of the encoder's ReLU layers; the decoder mirrors them.
            Default: from the data.
          latent_dim: L, dimension of the latent space. Default: 10.
          principal_components: P, principal components in which the encoder sees rows
            and the decoder gives them back, if there are more than P columns; 0: the
            columns themselves. Default: 0.
          pretrain_layer_epochs: epochs of each layer's denoising autoencoder; 0 skips.
            Default: 0.
          pretrain_autoencoder_epochs: epochs of the deep denoising autoencoder.
            Default: from the data.
          pretrain_vae_epochs: epochs of the VAE with prior N(0, I); 0 skips. Default:
            0.
          pretrain_centered: start the encoder's first layer as if rows had a mean of 0
            and a spread of 1, which principal components have. Default: False.
          pretrain_corruption: share of inputs set to 0 by the denoising autoencoders.
            Default: 0.2.
          pretrain_learning_rate: Adam's rate in pretraining. Default: 0.001.
          pretrain_batch_size: points of a batch in pretraining. Default: from the data.
          device_memory_share: of the device's memory, what data may take before they
            stay on the host and stream to the device by the batch. Default: 0.5.
          degrees_of_freedom: of the Student t kernel between latents and centres.
            Default: 1.0.
          restarts: starts of the algorithm; the best objective is kept. Default: 20.
        """
        self._store(locals())

    # The end.
