"""VaDE as a scikit-learn estimator."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from flax import linen as nn

from dgg_jax.estimators.base import Callback
from dgg_jax.estimators.generative import MixtureVAE
from dgg_jax.likelihoods import Likelihood


class VaDE(MixtureVAE):
    """Variational deep embedding: a VAE with a Gaussian-mixture prior.

    Jiang, Zheng, Tan, Tang and Zhou, IJCAI 2017.

    Attributes:
      labels_: cluster of each row of training, [N].
      probabilities_: of the clusters, [N, K].
      confidence_: the largest of each row, [N].
      embedding_: latent means, [N, L].
      elbo_: a lower bound of ln p(x) of each row, [N]: the lowest are strange.
      means_: of the mixture's components, [K, L].
      variances_: of the mixture's components, [K, L].
      weights_: of the components, [K].
      history_: metrics of every epoch.
      stages_: metrics of every stage.
      n_clusters_: K.
      n_iter_: epochs of the method's own training that were run.
      n_features_in_: D, columns of X.
      image_shape_: of the images in the rows, given or X's; None if there are none.
      batches_: names of the batches that rows were measured in, in the order of their
        columns; None if there are none.
      batch_: which of them each row is of, [N], if there are some.
      preset_: every setting, with those chosen from the data.
      model_: the trained model.
    """

    _method = "vade"

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
        warm_start: bool = False,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        precision: str | None = None,
        shuffle: str | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        optimizer: str | None = None,
        learning_rate: float | None = None,
        decay: float | None = None,
        decay_epochs: int | None = None,
        weight_decay: float | None = None,
        likelihood: str | Likelihood | None = None,
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
        num_neighbors: int | None = None,
        init: str | None = None,
        eigenvectors_per_cluster: float | None = None,
        variance_floor: float | None = None,
        posterior_variance: bool | None = None,
        label_epochs: int | None = None,
        restarts: int | None = None,
        initial_weights: str | None = None,
        initial_variances: str | None = None,
        assignment: str | None = None,
        num_samples: int | None = None,
        reconstruction_weight: float | None = None,
        kl_warmup_epochs: int | None = None,
        kl_term: bool | None = None,
        learning_rate_floor: float | None = None,
        mixture_learning_rate: float | None = None,
        mixture_decay: float | None = None,
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
          warm_start: whether fit goes on from the model that is there, fitted or
            loaded, without pretraining and initialisation.
          encoder: Flax module in place of the dense encoder, from x [B, D] to
            dgg_jax.types.Gaussian with fields [B, latent_dim].
          decoder: Flax module in place of the dense decoder, from z [B, latent_dim] to
            what the likelihood decodes, B rows.
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
          decay: factor of that rate every decay_epochs. Default: 0.9.
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
          num_neighbors: S, neighbours of a point in the graph. Default: 20.
          init: labels to start from: spectral (of the graph), kmeans or gmm (of the
            latents). Default: spectral.
          eigenvectors_per_cluster: times K, the most eigenvectors that spectral init
            tries. Default: 1.6.
          variance_floor: smallest initial variance of a mixture component. Default:
            0.001.
          posterior_variance: adds the mean variance of the posteriors to that of their
            means in the initial variances of the components (erratum E37). Default:
            True.
          label_epochs: epochs that fit the whole model to the initial labels; 0 skips.
            Default: 8, fewer of more than 70,000 rows.
          restarts: runs of initialisation and training; the best is kept: in VaDE by
            the objective (the ELBO, but for another reconstruction_weight or kl_term),
            in DGG by the standing of the clusters, without ensemble and guard by the
            information that the graph's neighbours have of each other's. Default: 1.
          initial_weights: pi to start from: labels (their shares) or uniform. Default:
            labels.
          initial_variances: sigma_c^2 to start from: labels (their moments) or unit.
            With init=gmm, labels are the fitted mixture's own weights and variances.
            Default: labels.
          assignment: q(c | x) in training: sample, eq. (11), or mean_field (its
            optimum). Default: sample.
          num_samples: M, draws of z for a point. Default: 1.
          reconstruction_weight: alpha, weight of the reconstruction in the objective.
            Default: 1.0.
          kl_warmup_epochs: epochs in which the weight of the other terms rises to 1.
            Default: 0.
          kl_term: false trains an autoencoder through the posterior mean, then fits a
            Gaussian mixture to its latents: the paper's AE+GMM. Default: True.
          learning_rate_floor: rate below which the networks' rate does not fall.
            Default: 0.0.
          mixture_learning_rate: Adam's initial rate for pi, mu_c and sigma_c. Default:
            2e-05.
          mixture_decay: factor of that rate every decay_epochs. Default: 0.9.
        """
        self._store(locals())

    # The end.
