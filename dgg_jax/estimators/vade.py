"""VaDE as a scikit-learn estimator."""

from collections.abc import Sequence

import numpy as np
from flax import linen as nn

from dgg_jax.estimators.base import Callback, MixtureVAE
from dgg_jax.likelihoods import Likelihood


class VaDE(MixtureVAE):
    """Variational deep embedding: a VAE with a Gaussian-mixture prior.

    Jiang, Zheng, Tan, Tang and Zhou, IJCAI 2017.

    Attributes:
      labels_: cluster of each row of training, [N].
      probabilities_: of the clusters, [N, K].
      embedding_: latent means, [N, L].
      means_: of the mixture's components, [K, L].
      variances_: of the mixture's components, [K, L].
      weights_: of the components, [K].
      history_: metrics of every epoch.
      stages_: metrics of every stage.
      n_features_in_: D, columns of X.
      preset_: every setting, with those chosen from the data.
      model_: the trained model.
    """

    _method = "vade"

    # Written by python -m experiments.constructors, until the end:
    def __init__(
        self,
        n_clusters: int = 10,
        *,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = 0,
        callbacks: Callback | Sequence[Callback] | None = None,
        warm_start: bool = False,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        precision: str = "float32",
        epochs: int = 20,
        batch_size: int | None = None,
        learning_rate: float = 0.001,
        decay: float = 0.9,
        decay_epochs: int = 10,
        weight_decay: float = 0.0,
        likelihood: str | Likelihood | None = None,
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
        num_neighbors: int = 20,
        init: str = "spectral",
        eigenvectors_per_cluster: float = 1.6,
        variance_floor: float = 0.001,
        label_epochs: int = 8,
        restarts: int = 1,
        initial_weights: str = "labels",
        initial_variances: str = "labels",
        assignment: str = "sample",
        num_samples: int = 1,
        reconstruction_weight: float = 1.0,
        kl_warmup_epochs: int = 0,
        kl_term: bool = True,
        learning_rate_floor: float = 0.0,
        mixture_learning_rate: float = 2e-05,
        mixture_decay: float = 0.9,
    ) -> None:
        """Keeps the settings, which ``fit`` checks.

        Args:
          n_clusters: K, the number of clusters.
          random_state: seed of every random number, or RandomState, or None.
          verbose: 1 shows a progress bar and what each stage reaches.
          callbacks: a function of (stage, epoch, metrics), or several; one that returns
            True ends the training loop it was called from, and fit goes on with the
            next.
          warm_start: whether fit goes on from the model that is there, fitted or
            loaded, without pretraining and initialisation.
          encoder: Flax module in place of the dense encoder, from x [B, D] to
            dgg_jax.types.Gaussian with fields [B, latent_dim].
          decoder: Flax module in place of the dense decoder, from z [B, latent_dim] to
            what the likelihood decodes, B rows.
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
          num_neighbors: S, neighbours of a point in the graph.
          init: labels to start from: spectral (of the graph), kmeans or gmm (of the
            latents). One of spectral, kmeans, gmm.
          eigenvectors_per_cluster: times K, the most eigenvectors that spectral init
            tries.
          variance_floor: smallest initial variance of a mixture component.
          label_epochs: epochs that fit the whole model to the initial labels; 0 skips.
          restarts: runs of initialisation and training; the best is kept: in VaDE by
            the objective (the ELBO, but for another reconstruction_weight or kl_term),
            in DGG by the information that the graph's neighbours have of each other's
            cluster.
          initial_weights: pi to start from: labels (their shares) or uniform. One of
            labels, uniform.
          initial_variances: sigma_c^2 to start from: labels (their moments) or unit.
            With init=gmm, labels are the fitted mixture's own weights and variances.
            One of labels, unit.
          assignment: q(c | x) in training: sample, eq. (11), or mean_field (its
            optimum). One of sample, mean_field.
          num_samples: M, draws of z for a point.
          reconstruction_weight: alpha, weight of the reconstruction in the objective.
          kl_warmup_epochs: epochs in which the weight of the other terms rises to 1.
          kl_term: false trains an autoencoder through the posterior mean, then fits a
            Gaussian mixture to its latents: the paper's AE+GMM.
          learning_rate_floor: rate below which the networks' rate does not fall.
          mixture_learning_rate: Adam's initial rate for pi, mu_c and sigma_c.
          mixture_decay: factor of that rate every decay_epochs.
        """
        self._store(locals())

    # The end.
