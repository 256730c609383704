"""LTVAE as a scikit-learn estimator."""

from collections.abc import Sequence
from typing import Any, Literal

import jax
import numpy as np
from flax import linen as nn

from dgg_jax.estimators.base import Callback
from dgg_jax.estimators.generative import Generative
from dgg_jax.likelihoods import Likelihood
from dgg_jax.losses.ltvae import moments
from dgg_jax.methods.ltvae import drawn
from dgg_jax.stages.latent_trees import described


class LTVAE(Generative):
    """Latent tree VAE: its prior is a tree of clusterings, of which one is reported.

    Li, Chen, Poon and Zhang, ICLR 2019. The root of the tree has K states, the
    clusters; ``facets`` has the clusters of all variables of the tree.

    Attributes:
      labels_: cluster of each row of training, [N].
      probabilities_: of the clusters, [N, K].
      confidence_: the largest of each row, [N].
      embedding_: latent means, [N, L].
      elbo_: a lower bound of ln p(x) of each row, [N]: the lowest are strange.
      means_: of the latents in each cluster, [K, L].
      variances_: of the latents in each cluster, [K, L].
      weights_: of the clusters, [K].
      tree_: the tree as text, a line for each variable with its states and the latent
        coordinates that hang on it; those in one bracket may be correlated.
      history_: metrics of every epoch.
      stages_: metrics of every stage.
      n_clusters_: K.
      n_iter_: epochs of the method's own training that were run.
      n_features_in_: D, columns of X.
      image_shape_: of the images in the rows, given or X's; None if there are none.
      preset_: every setting, with those chosen from the data.
      model_: the trained model.
    """

    _method = "ltvae"
    _model_entries = ("model",)
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
        max_facets: int | None = None,
        search_epochs: int | None = None,
        search_rows: int | None = None,
        search_moves: int | None = None,
        stepwise_exponent: float | None = None,
        variance_floor: float | None = None,
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
          max_facets: V, the most discrete variables that the tree may have; 1 is a
            mixture. Default: 4.
          search_epochs: epochs between two searches of the tree's structure. Default:
            10, fewer of more than 70,000 rows.
          search_rows: rows, drawn anew for each search, whose latents it fits. Default:
            2000.
          search_moves: moves of a search, at most; 0 leaves the mixture that training
            starts from. Default: 20.
          stepwise_exponent: rho: the t-th batch has the weight (t + 2)^-rho in the
            tree's statistics. Default: 0.7.
          variance_floor: added to the variances of the tree. Default: 0.001.
        """
        self._store(locals())

    # The end.

    @property
    def tree_(self) -> str:
        """The tree of the trained model as text."""
        return described(self.model_.structure)

    def facets(self, X: Any) -> np.ndarray:
        """The cluster of each row by every variable of the tree, int32 of shape [N, V].

        Args:
          X: rows scaled as in training, shape [N, D].

        Returns:
          A column for each variable, in the order of ``tree_``; the first is
          ``predict(X)``.

        Raises:
          ValueError: if X has other columns than in training.
        """
        return self.model_.facets(self._rows(X, reset=False))

    def _components(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        model = self.model_
        mean, logvar = jax.jit(moments)(model.params["tree"], model.structure)
        weights = np.exp(model.log_weights)
        return np.asarray(mean), np.exp(logvar), weights / weights.sum()

    def _draw(self, labels: np.ndarray, key: jax.Array) -> jax.Array:
        return drawn(self.model_, labels, key)
