"""DEC as a scikit-learn estimator."""

from collections.abc import Sequence

import numpy as np

from dgg_jax.estimators.base import Callback, Embedder


class DEC(Embedder):
    """Deep embedded clustering.

    Xie, Girshick and Farhadi, ICML 2016.

    Attributes:
      labels_: cluster of each row of training, [N].
      probabilities_: of the clusters, [N, K].
      embedding_: latents, [N, L].
      history_: metrics of every epoch.
      stages_: metrics of every stage.
      n_features_in_: D, columns of X.
      preset_: every setting, with those chosen from the data.
      model_: the trained model.
    """

    _method = "dec"
    _takes_sparse = True

    # Written by python -m experiments.constructors, until the end:
    def __init__(
        self,
        n_clusters: int = 10,
        *,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = 0,
        callbacks: Callback | Sequence[Callback] | None = None,
        precision: str = "float32",
        epochs: int = 20,
        batch_size: int | None = None,
        learning_rate: float = 0.001,
        decay: float = 1.0,
        decay_epochs: int = 10,
        weight_decay: float = 0.0,
        likelihood: str | None = None,
        variance: float | None = None,
        hidden_sizes: Sequence[int] = (500, 500, 2000),
        latent_dim: int = 10,
        pretrain_layer_epochs: int = 0,
        pretrain_autoencoder_epochs: int | None = None,
        pretrain_vae_epochs: int = 0,
        pretrain_corruption: float = 0.2,
        pretrain_learning_rate: float = 0.001,
        pretrain_batch_size: int | None = None,
        device_memory_share: float = 0.5,
        degrees_of_freedom: float = 1.0,
        restarts: int = 20,
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
          likelihood: p(x | z): bernoulli (values in [0, 1]), gaussian (fixed variance)
            or learned_gaussian. None chooses it from the data.
          variance: lambda, the fixed variance of the gaussian likelihood. None chooses
            it from the data.
          hidden_sizes: widths of the encoder's ReLU layers; the decoder mirrors them.
          latent_dim: L, dimension of the latent space.
          pretrain_layer_epochs: epochs of each layer's denoising autoencoder; 0 skips.
          pretrain_autoencoder_epochs: epochs of the deep denoising autoencoder. None
            chooses it from the data.
          pretrain_vae_epochs: epochs of the VAE with prior N(0, I); 0 skips.
          pretrain_corruption: share of inputs set to 0 by the denoising autoencoders.
          pretrain_learning_rate: Adam's rate in pretraining.
          pretrain_batch_size: points of a batch in pretraining. None chooses it from
            the data.
          device_memory_share: of the device's memory, what data may take before they
            stay on the host and stream to the device by the batch.
          degrees_of_freedom: of the Student t kernel between latents and centres.
          restarts: starts of the algorithm; the best objective is kept.
        """
        self._store(locals())

    # The end.
