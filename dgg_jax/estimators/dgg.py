"""DGG as a scikit-learn estimator."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from flax import linen as nn

from dgg_jax.estimators.base import Callback, MixtureVAE
from dgg_jax.likelihoods import Likelihood
from dgg_jax.stages.cluster_count import ClusterCount


class DGG(MixtureVAE):
    """Deep clustering by Gaussian mixture VAEs with graph embedding.

    Yang, Cheung, Li and Fang, ICCV 2019: a VAE with a Gaussian-mixture prior whose
    posteriors are pulled together along a similarity graph of the rows.

    Attributes:
      labels_: cluster of each row of training, [N].
      n_clusters_: K, given or estimated.
      cluster_count_: dgg_jax.stages.cluster_count.ClusterCount, from which K was
        estimated; None if it was not.
      probabilities_: of the clusters, [N, K].
      embedding_: latent means, [N, L].
      means_: of the mixture's components, [K, L].
      variances_: of the mixture's components, [K, L].
      weights_: of the components, [K].
      graph_: dgg_jax.types.Graph of the rows.
      history_: metrics of every epoch.
      stages_: metrics of every stage.
      n_features_in_: D, columns of X.
      preset_: every setting, with those chosen from the data.
      model_: the trained model.
    """

    _method = "dgg"

    # Written by python -m experiments.constructors, until the end:
    def __init__(
        self,
        n_clusters: int | Literal["auto"] = 10,
        *,
        image_shape: Sequence[int] | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = 0,
        callbacks: Callback | Sequence[Callback] | None = None,
        warm_start: bool = False,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        precision: str = "float32",
        siamese_epochs: int | None = None,
        siamese_pairs: int = 2,
        siamese_pairing: str = "batch",
        siamese_candidates: int | None = None,
        siamese_margin: float = 5.0,
        siamese_init: str = "encoder",
        siamese_learning_rate: float | None = None,
        siamese_decay: float = 0.1,
        siamese_decay_epochs: int | None = None,
        siamese_weight_decay: float = 0.0001,
        siamese_batch_size: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        decay: float = 0.9,
        decay_epochs: int = 10,
        weight_decay: float = 0.0,
        likelihood: str | Likelihood | None = None,
        variance: float | None = None,
        hidden_sizes: Sequence[int] = (500, 500, 2000),
        latent_dim: int = 10,
        pretrain_layer_epochs: int = 0,
        pretrain_autoencoder_epochs: int | None = None,
        pretrain_vae_epochs: int | None = None,
        pretrain_corruption: float = 0.2,
        pretrain_learning_rate: float = 0.001,
        pretrain_batch_size: int | None = None,
        device_memory_share: float = 0.5,
        num_neighbors: int = 20,
        init: str = "spectral",
        eigenvectors_per_cluster: float = 1.6,
        variance_floor: float = 0.001,
        label_epochs: int | None = None,
        restarts: int = 1,
        classifier_hidden_sizes: Sequence[int] | None = None,
        classifier_input: str = "mean",
        graph_of: str | None = None,
        init_neighbors: int = 20,
        num_candidates: int | None = None,
        neighbor_choice: str = "nearest",
        neighbor_weights: str = "uniform",
        classifier_epochs: int = 20,
        classifier_learning_rate: float = 0.01,
        objective: str = "node",
        graph_strength: float = 1.6,
        siamese_warp: float | None = None,
    ) -> None:
        """Keeps the settings, which ``fit`` checks.

        Args:
          n_clusters: K, the number of clusters. Or "auto": estimated without labels.
          image_shape: (H, W), (H, W, 1) or (H, W, 3) of the image in a row of X: DGG
            then warps what its Siamese network is trained on, GMVAE may be
            convolutional. None if there is none.
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
          siamese_epochs: epochs of the Siamese network; 0 takes distances of the data.
            None chooses it from the data.
          siamese_pairs: N_t, positive pairs a point.
          siamese_pairing: batch: all pairs of what a step embeds, a batch and N_t
            neighbours of each point; drawn: N_t positive and N_t negative ones a point.
            One of batch, drawn.
          siamese_candidates: nearest points of which the positive pairs are drawn; if
            no more than siamese_pairs, these are the nearest. None chooses it from the
            data.
          siamese_margin: c, distance to which negative pairs are pushed.
          siamese_init: random, or encoder: from the pretrained encoder. One of encoder,
            random.
          siamese_learning_rate: Adam's initial rate for the Siamese network. None
            chooses it from the data.
          siamese_decay: factor of that rate every siamese_decay_epochs.
          siamese_decay_epochs: epochs of one stair of that rate. None chooses it from
            the data.
          siamese_weight_decay: L2 weight decay of the Siamese network.
          siamese_batch_size: points of a batch for the Siamese network. None chooses it
            from the data.
          epochs: epochs of the method's own training. None chooses it from the data.
          batch_size: points of a batch in it. None chooses it from the data.
          learning_rate: Adam's initial rate in it. None chooses it from the data.
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
          pretrain_vae_epochs: epochs of the VAE with prior N(0, I); 0 skips. None
            chooses it from the data.
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
            None chooses it from the data.
          restarts: runs of initialisation and training; the best is kept: in VaDE by
            the objective (the ELBO, but for another reconstruction_weight or kl_term),
            in DGG by the information that the graph's neighbours have of each other's
            cluster.
          classifier_hidden_sizes: widths of ReLU layers of the classifier f_2; None is
            the paper's rule: none for K >= 10, one of width K for fewer.
          classifier_input: what f_2 sees in training: sample (of q(z | x)) or mean. One
            of sample, mean.
          graph_of: where neighbours are near: siamese (embedding), latents (of the
            pretrained encoder) or data (so too if siamese_epochs is 0). None chooses it
            from the data.
          init_neighbors: neighbours in the graph that spectral init clusters, and whose
            information judges clusters; always drawn from the candidates at random.
          num_candidates: nearest points from which the neighbours are chosen. None
            chooses it from the data.
          neighbor_choice: random (drawn once from the candidates) or nearest. One of
            random, nearest.
          neighbor_weights: uniform or gaussian, eq. (32). One of uniform, gaussian.
          classifier_epochs: epochs that fit f_2 to the initial labels.
          classifier_learning_rate: Adam's rate for that.
          objective: node (cost independent of S) or tuple (Algorithm 1 as printed). One
            of node, tuple.
          graph_strength: eta in [0, 2], the weight of the graph; 1 is the paper.
          siamese_warp: strength of the random warps (``images.RandomWarp``) of what the
            Siamese network is trained on, if the rows are images; 0 for none. None
            chooses it from the data.
        """
        self._store(locals())

    # The end.

    def _arguments(self):
        return super()._arguments() | {"image_shape": self.image_shape}

    def _set(self, preset, model, learned, records, history):
        super()._set(preset, model, learned, records, history)
        self.n_clusters_ = preset.num_clusters
        is_estimated = records[0]["name"] == "num_clusters"
        count = ClusterCount.from_dict(records[0]) if is_estimated else None
        self.cluster_count_ = count
