"""GMVAE as a scikit-learn estimator."""

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dgg_jax.distributions import sample_gaussian
from dgg_jax.estimators.base import Callback
from dgg_jax.estimators.generative import Generative
from dgg_jax.likelihoods import Likelihood
from dgg_jax.types import Gaussian


class GMVAE(Generative):
    """Gaussian mixture VAE: the mixture is itself decoded from a latent w.

    Dilokthanakul et al., 2016. An encoder of one's own maps x [B, D] to features
    [B, H], from which dense layers make the posteriors of z and w.

    Attributes:
      labels_: cluster of each row of training, [N].
      probabilities_: of the clusters, [N, K].
      confidence_: the largest of each row, [N].
      embedding_: latent means of z, [N, L].
      means_: of the components at w = 0, the mean of its prior, [K, L].
      variances_: of the components there, [K, L].
      weights_: of the components, 1 / K each, [K].
      history_: metrics of every epoch.
      stages_: metrics of every stage.
      n_clusters_: K.
      n_iter_: epochs of the method's own training that were run.
      n_features_in_: D, columns of X.
      image_shape_: of the images in the rows, given or X's; None if there are none.
      preset_: every setting, with those chosen from the data.
      model_: the trained model.
    """

    _method = "gmvae"
    _model_entries = ("params", "collections", "feature_shape")

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
        architecture: str | None = None,
        hidden_sizes: Sequence[int] | None = None,
        component_hidden_size: int | None = None,
        latent_dim: int | None = None,
        w_dim: int | None = None,
        num_samples: int | None = None,
        conditional_prior: str | None = None,
        information_constraint: float | None = None,
    ) -> None:
        """Keeps the settings, which ``fit`` checks.

        Args:
          n_clusters: K, the number of clusters.
          preset: where settings that are None come from: default (what we recommend) or
            smoke (a few epochs of small networks, to see that everything runs).
          image_shape: (H, W), (H, W, 1) or (H, W, 3) of the image in a row of X:
            architecture may then be one of convolutions. None if there is none.
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
          decay: factor of that rate every decay_epochs. Default: 1.0.
          decay_epochs: epochs of one stair of that rate. Default: 10, fewer of more
            than 70,000 rows.
          weight_decay: L2 weight decay in it. Default: 0.0.
          likelihood: p(x | z): bernoulli (values in [0, 1]), gaussian (fixed variance)
            or learned_gaussian. Default: from the data.
          variance: lambda, the fixed variance of the gaussian likelihood. Default: from
            the data.
          architecture: dense, or the convolutions of tables A.1 and A.3 for mnist or
            svhn. Default: dense.
          hidden_sizes: widths of the dense encoder's ReLU layers; the decoder mirrors
            them. Default: (500, 500).
          component_hidden_size: width of the Tanh layer of p(z | w, c). Default: 500.
          latent_dim: L, dimension of the latent space. Default: 10.
          w_dim: dimension of w. Default: 10.
          num_samples: M, draws of z for a point. Default: 1.
          conditional_prior: independent, eq. (5), or joint, its exact value. Default:
            independent.
          information_constraint: lambda of eq. (7), in nats; 0 is the plain bound.
            Default: 0.0.
        """
        self._store(locals())

    # The end.

    def _arguments(self):
        return super()._arguments() | {"feature_shape": self.image_shape}

    def _components(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        mixture = self._at(jnp.zeros((1, self.preset_.w_dim)))
        num_clusters = self.preset_.num_clusters
        weights = np.full(num_clusters, 1.0 / num_clusters, np.float32)
        mean, logvar = (np.asarray(field[0]) for field in mixture)
        return mean, np.exp(logvar), weights

    def _at(self, w: jax.Array) -> Any:
        model = self.model_
        return model.networks.components(model.params, w)

    def _draw(self, labels: np.ndarray, key: jax.Array) -> jax.Array:
        w_key, z_key = jax.random.split(key)
        mixtures = self._at(jax.random.normal(w_key, (len(labels), self.preset_.w_dim)))
        rows = np.arange(len(labels))
        components = Gaussian(*(field[rows, labels] for field in mixtures))
        return sample_gaussian(
            components, jax.random.normal(z_key, components.mean.shape)
        )
