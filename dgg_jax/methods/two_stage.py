r"""Baselines of two stages: an embedding, or the data themselves, then a clustering.

K-means of the data is scikit-learn's, the best of several starts:

.. math::
  \min_{m, c} \sum_i \lVert x_i - m_{c_i} \rVert^2.

A Gaussian mixture (GMM) is scikit-learn's, too, the most likely of several starts of
EM, with diagonal or full covariances:

.. math::
  \max_{\pi, \mu, \Sigma} \sum_i \ln \sum_k \pi_k \, \mathcal{N}(x_i; \mu_k, \Sigma_k),
  \qquad c_i = \arg\max_k \pi_k \, \mathcal{N}(x_i; \mu_k, \Sigma_k).

AE+GMM, DAE+GMM (supplement figure 2 of DGG) and VAE+GMM fit it to latents instead. The
networks f and g, of the other methods and from the same pretrained weights, have been
trained on by

.. math::
  \begin{aligned}
  \text{AE:} \quad & \max \sum_i \ln p(x_i \mid g(f(x_i))), \\
  \text{DAE:} \quad & \max \sum_i \ln p(x_i \mid g(f(\tilde x_i))), \\
  \text{VAE:} \quad & \max \sum_i \mathbb{E}_{q(z \mid x_i)}[\ln p(x_i \mid g(z))]
  - D_{\text{KL}}( q(z \mid x_i) \,\|\, \mathcal{N}(0, I) ),
  \end{aligned}

where x~ is x with a share of its values set to 0 and f the mean of q(z | x).

Spectral clustering takes the leading eigenvectors of the kNN graph of the data, and
K-means of their normalised rows (Ng, Jordan and Weiss, NIPS 2001):

.. math::
  D^{-1/2} W D^{-1/2} u = \lambda u, \qquad W = \tfrac{1}{2} (A + A^T), \qquad
  D_{ii} = \sum_j W_{ij}.

It is ``graph.spectral_labels``, where DGG and VaDE start from, so that a comparison
shows what their training adds. That is stronger than plain spectral clustering: of
several numbers of eigenvectors, with ten starts of K-means each, it keeps the labels
with the largest ``graph.graph_information``. scikit-learn's SpectralClustering takes K
eigenvectors and the smallest inertia. It also expects a connected graph, which kNN
graphs often are not: here the eigenvectors of components are written down.
"""

import functools
import math

import numpy as np
from sklearn.cluster import KMeans

from dgg_jax.graph import knn, neighbor_weights, spectral_labels
from dgg_jax.methods.base import Metrics, Run, Stages, State
from dgg_jax.methods.pretrained import PretrainedStages
from dgg_jax.presets import (
    GMMPreset,
    KMeansPreset,
    LatentGMMPreset,
    Preset,
    SpectralPreset,
)
from dgg_jax.stages import initialize, pretrain
from dgg_jax.training import Schedule
from dgg_jax.types import Graph

STAGES = {
    "kmeans": ("cluster",),
    "gmm": ("cluster",),
    "spectral": ("graph", "cluster"),
    "ae_gmm": ("pretrain", "embed", "cluster"),
    "dae_gmm": ("pretrain", "embed", "cluster"),
    "vae_gmm": ("pretrain", "embed", "cluster"),
}


def run(
    x: np.ndarray,
    preset: Preset,
    *,
    seed: int = 0,
    y: np.ndarray | None = None,
    runner: Run | None = None,
) -> tuple[None, State, list[Metrics]]:
    """Carries data through the stages of the baseline that the preset is of.

    Args:
      x: data, float32 of shape [N, D].
      preset: of one of the baselines above.
      seed: of every random number of the run.
      y: true labels [N] for the reported metrics; nothing else sees them.
      runner: checkpoints and callbacks; by default in memory only.

    Returns:
      None, there is no model of the data; the last state, with "labels" [N] and, of a
      mixture, "log_assignment" [N, K], of latents "latent_mean" [N, L]; and the record
      of every stage.

    Raises:
      InvalidInput: if x cannot be clustered so; before any work.
      Diverged: if a loss is not finite.
      Interrupted: if the runner was asked to stop.
    """
    stages = {
        KMeansPreset: _KMeans,
        GMMPreset: _GMM,
        SpectralPreset: _Spectral,
        LatentGMMPreset: _LatentGMM,
    }[type(preset)]
    state, records = stages(x, preset, seed=seed, y=y, runner=runner).run()
    return None, state, records


class _KMeans(Stages):
    names = STAGES["kmeans"]

    def cluster(self, state: State) -> tuple[State, Metrics]:
        preset = self.preset
        kmeans = KMeans(
            preset.num_clusters,
            n_init=preset.restarts,
            random_state=self.numpy_seed("cluster"),
        )
        labels = kmeans.fit_predict(self.x).astype(np.int32)
        return {"labels": labels}, self.outcome(labels)


def _mixture_clusters(
    stages: Stages, points: np.ndarray, covariance: str
) -> tuple[State, Metrics]:
    preset = stages.preset
    mixture = initialize.latent_mixture(
        points,
        preset.num_clusters,
        seed=stages.numpy_seed("cluster"),
        covariance=covariance,
        starts=preset.restarts,
        variance_floor=preset.variance_floor,
    )
    probabilities = mixture.predict_proba(points.astype(np.float64))
    with np.errstate(divide="ignore"):
        log_assignment = np.log(probabilities).astype(np.float32)
    labels = log_assignment.argmax(axis=1).astype(np.int32)
    log_likelihood = float(mixture.lower_bound_)
    metrics = stages.outcome(labels, log_assignment)
    metrics["mixture_log_likelihood"] = log_likelihood
    return {"labels": labels, "log_assignment": log_assignment}, metrics


class _GMM(Stages):
    names = STAGES["gmm"]

    def cluster(self, state: State) -> tuple[State, Metrics]:
        return _mixture_clusters(self, self.x, self.preset.covariance)


class _Spectral(Stages):
    names = STAGES["spectral"]

    def graph(self, state: State) -> tuple[State, Metrics]:
        preset = self.preset
        indices, distances = knn(
            self.x,
            min(preset.num_neighbors, len(self.x) - 1),
            progress=functools.partial(self.runner.progress, "neighbors"),
        )
        kept = neighbor_weights(indices, distances, preset.neighbor_weights)
        return {"graph": kept._asdict()}, {}

    def cluster(self, state: State) -> tuple[State, Metrics]:
        preset = self.preset
        labels = spectral_labels(
            Graph(**state["graph"]),
            preset.num_clusters,
            math.ceil(preset.eigenvectors_per_cluster * preset.num_clusters),
            self.numpy_seed("cluster"),
        )
        return {"labels": labels}, self.outcome(labels)


class _LatentGMM(PretrainedStages):
    names = STAGES["ae_gmm"]

    def embed(self, state: State) -> tuple[State, Metrics]:
        """The autoencoder, trained on; reports K-means of the latents."""
        preset = self.preset
        params = {"encoder": state["encoder"], "decoder": state["decoder"]}
        settings = {
            "schedule": Schedule(
                preset.embedding_epochs,
                preset.pretrain_batch_size,
                preset.pretrain_learning_rate,
            ),
            "key": self.key("embed"),
            "monitor": self.runner,
        }
        if preset.embedding == "vae":
            train = pretrain.vae
        else:
            train = pretrain.deep_autoencoder
            noisy = preset.embedding == "dae"
            settings["corruption"] = preset.pretrain_corruption if noisy else 0.0
        networks = self.networks
        params = train(
            self.x,
            params,
            networks.encode,
            networks.decode,
            self.likelihood,
            **settings,
        )
        latents = self.latent_means(params)
        metrics = self.kmeans_metrics(latents, "embed") | self.elbo(params)
        return {**params, "latent_mean": latents}, metrics

    def cluster(self, state: State) -> tuple[State, Metrics]:
        """A Gaussian mixture of the latents."""
        return _mixture_clusters(self, state["latent_mean"], self.preset.covariance)
