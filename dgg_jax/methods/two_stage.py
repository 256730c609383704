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
networks f and g, of the other methods and from the same pretrained weights (but DGG's
own in its default preset), have been trained on by

.. math::
  \begin{aligned}
  \text{AE:} \quad & \max \sum_i \ln p(x_i \mid g(f(x_i))), \\
  \text{DAE:} \quad & \max \sum_i \ln p(x_i \mid g(f(\tilde x_i))), \\
  \text{VAE:} \quad & \max \sum_i \mathbb{E}_{q(z \mid x_i)}[\ln p(x_i \mid g(z))]
  - D_{\text{KL}}( q(z \mid x_i) \,\|\, \mathcal{N}(0, I) ),
  \end{aligned}

where x~ is x with a share of its values set to 0 and f the mean of q(z | x). AE+K-means
is K-means of those of the AE.

K-means and spectral clustering of the Siamese embedding start where DGG does: from the
same autoencoder, pairs, warps and seeds come the same points, so that a comparison
shows what DGG's mixture and joint training add to them. Where DGG compares the data as
they are (``graph_of=data``: words, and few columns), they show what it does without.

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

LDMGI (``graph.discriminants``) sums the ridge discriminants of every row and its
nearest to a Laplacian, whose smallest eigenvectors it rotates to labels.
"""

import math

import numpy as np
from scipy import sparse

from dgg_jax import checks
from dgg_jax.graph import graph_information, neighbor_weights, spectral_labels
from dgg_jax.graph.discriminants import (
    discriminant_laplacian,
    rotated_labels,
    smallest_eigenvectors,
)
from dgg_jax.methods.pretrained import (
    autoencoder,
    autoencoder_params,
    latent_means,
    mean_elbo,
    pretrain_and_report,
    train_autoencoder,
)
from dgg_jax.methods.problem import (
    Outcome,
    Problem,
    clustered,
    kmeans_metrics,
    softly_clustered,
)
from dgg_jax.methods.similarity import encoder_embedding, nearest
from dgg_jax.placement.rows import HostRows, SparseRows
from dgg_jax.presets import (
    GMMPreset,
    KMeansPreset,
    LatentGMMPreset,
    LatentKMeansPreset,
    LDMGIPreset,
    Preset,
    SiameseKMeansPreset,
    SiamesePreset,
    SiameseSpectralPreset,
    SpectralPreset,
)
from dgg_jax.stages import initialize
from dgg_jax.stages.pretrain import AutoencoderLoss, VaeLoss
from dgg_jax.training import Metrics, Run, State
from dgg_jax.types import Graph

_REGULARIZATIONS = tuple(10.0**power for power in range(-8, 9, 2))
STAGES = {
    KMeansPreset: ("cluster",),
    GMMPreset: ("cluster",),
    SpectralPreset: ("graph", "cluster"),
    LDMGIPreset: ("graph", "cluster"),
    LatentGMMPreset: ("pretrain", "embed", "cluster"),
    LatentKMeansPreset: ("pretrain", "embed", "cluster"),
    SiameseKMeansPreset: ("pretrain", "embed", "cluster"),
    SiameseSpectralPreset: ("pretrain", "embed", "graph", "cluster"),
}

_WEIGHED = (KMeansPreset, LatentKMeansPreset)  # whose rows may have weights


def run(
    x: np.ndarray | sparse.csr_array,
    preset: Preset,
    *,
    seed: int = 0,
    y: np.ndarray | None = None,
    runner: Run | None = None,
    image_shape: tuple[int, ...] | None = None,
    sample_weight: np.ndarray | None = None,
) -> Outcome:
    """Carries data through the stages of the baseline that the preset is of.

    Args:
      x: data, float32 of shape [N, D].
      preset: of one of the baselines above.
      seed: of every random number of the run.
      y: true labels [N] for the reported metrics; nothing else sees them.
      runner: checkpoints and callbacks; by default in memory only.
      image_shape: (H, W), (H, W, 1) or (H, W, 3) of the image in a row, which the
        Siamese network may see warped; None if there is none.
      sample_weight: how much each row counts, [N], in the autoencoder and K-means;
        graphs and scikit-learn's Gaussian mixture take none.

    Returns:
      None, there is no model of the data; the last state, with "labels" [N] and, of a
      mixture, "log_assignment" [N, K], of what is embedded "latent_mean" [N, L]; and
      the record of every stage.

    Raises:
      InvalidInput: if x cannot be clustered so; before any work.
      Diverged: if a loss is not finite.
      Interrupted: if the runner was asked to stop.
    """
    if not isinstance(preset, _WEIGHED) or isinstance(preset, SiamesePreset):
        checks.no_sample_weight(
            sample_weight,
            x.shape[0],
            "this baseline is of a graph or of scikit-learn's Gaussian mixture",
            "kmeans, ae_kmeans or vade",
        )
    problem = Problem.of(
        x,
        preset,
        seed=seed,
        y=y,
        runner=runner,
        image_shape=image_shape,
        sample_weight=sample_weight,
    )
    stage, state, stages = problem.runner.stage, {}, STAGES[type(preset)]
    if "embed" in stages:
        is_siamese = isinstance(preset, SiamesePreset)
        state = stage("pretrain", pretrain_and_report, problem, state)
        state = stage("embed", embed_siamese if is_siamese else embed, problem, state)
    if "graph" in stages:
        state = stage("graph", build_graph, problem, state)
        is_ldmgi = isinstance(preset, LDMGIPreset)
        cluster = discriminant_clusters if is_ldmgi else spectral_clusters
    else:
        cluster = kmeans if isinstance(preset, KMeansPreset) else mixture_clusters
    state = stage("cluster", cluster, problem, state)
    return Outcome(None, state, problem.runner.records)


def _points(problem: Problem, state: State) -> np.ndarray | SparseRows | HostRows:
    """What is clustered: the embedding, or the data, dense after a Siamese network."""
    if "latent_mean" in state:
        return state["latent_mean"]
    points = problem.points
    return points[:] if isinstance(problem.preset, SiamesePreset) else points


def kmeans(problem: Problem, state: State) -> tuple[State, Metrics]:
    """K-means."""
    labels = problem.kmeans("cluster").fit_predict(
        _points(problem, state), sample_weight=problem.sample_weight
    )
    return clustered(problem, labels.astype(np.int32))


def mixture_clusters(problem: Problem, state: State) -> tuple[State, Metrics]:
    """A Gaussian mixture."""
    preset, points = problem.preset, _points(problem, state)
    mixture = initialize.latent_mixture(
        points,
        preset.num_clusters,
        seed=problem.numpy_seed("cluster"),
        covariance=preset.covariance,
        starts=preset.restarts,
        variance_floor=preset.variance_floor,
    )
    probabilities = mixture.predict_proba(points.astype(np.float64))
    with np.errstate(divide="ignore"):
        log_assignment = np.log(probabilities).astype(np.float32)
    entries, metrics = softly_clustered(problem, log_assignment)
    return entries, metrics | {"mixture_log_likelihood": float(mixture.lower_bound_)}


def build_graph(problem: Problem, state: State) -> tuple[State, Metrics]:
    """The kNN graph of the data, or of their embedding."""
    preset, points = problem.preset, _points(problem, state)
    found = nearest(problem, points, preset.num_neighbors, "neighbors")
    kind = getattr(preset, "neighbor_weights", "uniform")
    kept = neighbor_weights(**found, kind=kind)
    return {"graph": kept._asdict()}, {}


def spectral_clusters(problem: Problem, state: State) -> tuple[State, Metrics]:
    """Spectral clustering of the graph."""
    preset = problem.preset
    labels = spectral_labels(
        Graph(**state["graph"]),
        preset.num_clusters,
        math.ceil(preset.eigenvectors_per_cluster * preset.num_clusters),
        problem.numpy_seed("cluster"),
    )
    return clustered(problem, labels)


def discriminant_clusters(problem: Problem, state: State) -> tuple[State, Metrics]:
    """LDMGI, with the regularization that leaves most information in the graph."""
    preset, graph = problem.preset, Graph(**state["graph"])
    nearest_rows = np.asarray(graph.indices)[:, : preset.clique_neighbors]
    tried = [preset.regularization] if preset.regularization else _REGULARIZATIONS
    found = {}
    for regularization in tried:
        laplacian = discriminant_laplacian(
            _points(problem, state), nearest_rows, regularization
        )
        vectors = smallest_eigenvectors(laplacian, preset.num_clusters)
        labels = rotated_labels(vectors)
        found[regularization] = graph_information(graph, labels), labels
    best = max(found, key=lambda one: found[one][0])
    entries, metrics = clustered(problem, found[best][1])
    told = {"regularization": best, "graph_information": found[best][0]}
    told["tried"] = [
        {"regularization": one, "graph_information": information}
        | problem.scores(labels)
        for one, (information, labels) in found.items()
    ]
    return entries, metrics | told


def embed(problem: Problem, state: State) -> tuple[State, Metrics]:
    """The autoencoder, trained on; reports K-means of the latents."""
    preset, networks = problem.preset, autoencoder(problem)
    loop, loss = "vae", VaeLoss(networks)
    if preset.embedding != "vae":
        noise = preset.pretrain_corruption if preset.embedding == "dae" else 0.0
        loop, loss = "autoencoder", AutoencoderLoss(networks, noise)
    params = autoencoder_params(state)
    params = train_autoencoder(
        problem, loop, loss, params, problem.key("embed"), preset.embedding_epochs
    )
    latents = latent_means(problem, networks, params)
    metrics = kmeans_metrics(problem, latents, "embed")
    metrics |= mean_elbo(problem, networks, params)
    return {**params, "latent_mean": latents}, metrics


def embed_siamese(problem: Problem, state: State) -> tuple[State, Metrics]:
    """The Siamese embedding of DGG; without epochs for it, the data themselves."""
    if not problem.preset.siamese_epochs:
        return {}, kmeans_metrics(problem, problem.points[:], "embed")
    embedding, _ = encoder_embedding(problem, state)
    metrics = kmeans_metrics(problem, embedding, "embed")
    return {"latent_mean": embedding}, metrics
