"""Initialisation: labels, and the mixture of each label."""

import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from dgg_jax import checks
from dgg_jax.graph import spectral_labels
from dgg_jax.log import LOGGER
from dgg_jax.types import Gaussian, Graph, Mixture


def initial_labels(
    init: str,
    latents: np.ndarray,
    graph: Graph,
    num_clusters: int,
    *,
    num_eigenvectors: int,
    seed: int,
    sample_weight: np.ndarray | None = None,
) -> np.ndarray:
    """Clusters to start from.

    "spectral": spectral clustering of the graph; "kmeans": K-means of the latents, the
    paper's; "gmm": a diagonal Gaussian mixture of the latents.

    Args:
      init: one of the three.
      latents: posterior means, shape [N, L].
      graph: the similarity graph for "spectral", of shape [N, S].
      num_clusters: K.
      num_eigenvectors: for "spectral".
      seed: of the clustering.
      sample_weight: how much each point counts in "kmeans", shape [N]; None: all alike.

    Returns:
      Labels in 0..K-1, int32 of shape [N].

    Raises:
      InvalidInput: if init is unknown.
    """
    checks.one_of("init", init, ("spectral", "kmeans", "gmm"))
    if init == "spectral":
        return spectral_labels(graph, num_clusters, num_eigenvectors, seed)
    if init == "kmeans":
        kmeans = KMeans(num_clusters, n_init=10, random_state=seed)
        labels = kmeans.fit_predict(latents, sample_weight=sample_weight)
        return labels.astype(np.int32)
    mixture = diagonal_mixture(latents, num_clusters, seed=seed)
    return mixture.predict(latents.astype(np.float64)).astype(np.int32)


def latent_mixture(
    latents: np.ndarray,
    num_clusters: int,
    *,
    seed: int,
    covariance: str,
    starts: int,
    variance_floor: float,
) -> GaussianMixture:
    """A Gaussian mixture of points, the most likely of several starts of EM.

    Args:
      latents: points, shape [N, L].
      num_clusters: K.
      seed: of the starts.
      covariance: "diag" or "full".
      starts: how many.
      variance_floor: added to every variance.

    Returns:
      The fitted mixture of scikit-learn.
    """
    mixture = GaussianMixture(
        num_clusters,
        covariance_type=covariance,
        n_init=starts,
        reg_covar=variance_floor,
        max_iter=200,
        random_state=seed,
    )
    return fit_mixture(mixture, latents.astype(np.float64))


def diagonal_mixture(
    latents: np.ndarray, num_clusters: int, *, seed: int
) -> GaussianMixture:
    """The mixture of latents that VaDE starts from, whose variances may be small.

    Args:
      latents: points, shape [N, L].
      num_clusters: K.
      seed: of three starts.

    Returns:
      The fitted mixture of scikit-learn.
    """
    return latent_mixture(
        latents,
        num_clusters,
        seed=seed,
        covariance="diag",
        starts=3,
        variance_floor=1e-6,
    )


def fit_mixture(mixture: GaussianMixture, latents: np.ndarray) -> GaussianMixture:
    """Fits by EM; that it has not converged is logged, not warned of."""
    # scikit-learn's variances are differences of squares: rounding takes them below 0.
    rounding = 1e-12 * float(np.square(latents).max())
    mixture.set_params(reg_covar=max(mixture.reg_covar, rounding))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(latents)
    if not mixture.converged_:
        LOGGER.debug("EM stopped after %d iterations.", mixture.n_iter_)
    return mixture


def label_mixture(
    posterior: Gaussian,
    labels: np.ndarray,
    num_clusters: int,
    *,
    variance_floor: float,
    posterior_variance: bool,
    sample_weight: np.ndarray | None = None,
) -> Mixture:
    """Mean and unbiased variance of the latents of each label (section 4 of DGG).

    The latents are q(z | x), not its means alone, as printed: the variance of a label
    is the unbiased variance of its means plus its mean posterior variance, which
    maximises the latent prior of the ELBO (erratum E37). Means alone give a dimension
    that a VAE left unused, whose posteriors are all N(0, 1), a variance near 0 and an
    ELBO tens of nats too low.

    Args:
      posterior: q(z | x), fields of shape [N, L].
      labels: in 0..K-1, shape [N].
      num_clusters: K; a label without points that count takes the moments of all.
      variance_floor: smallest variance.
      posterior_variance: False takes the variance of the means alone.
      sample_weight: how much each point counts, shape [N]; None: all alike. The
        unbiased variance is then scatter / (sum s - sum s^2 / sum s).

    Returns:
      Mixture of float32 arrays [K, L].
    """
    latents = np.asarray(posterior.mean, np.float64)
    spread = np.exp(np.asarray(posterior.logvar, np.float64))
    weights = np.ones(len(labels)) if sample_weight is None else sample_weight
    weights = np.asarray(weights, np.float64)
    means, variances = [], []
    for k in range(num_clusters):
        members = (labels == k) & (weights > 0)
        if not members.any():
            members = weights > 0
        own = weights[members, None]
        total = own.sum()
        means.append((own * latents[members]).sum(axis=0) / total)
        scatter = (own * (latents[members] - means[-1]) ** 2).sum(axis=0)
        freedom = total - (own**2).sum() / total  # n - 1 of n points that count alike
        variance = scatter / (freedom if freedom > 1e-6 * total else total)
        if posterior_variance:
            variance = variance + (own * spread[members]).sum(axis=0) / total
        variances.append(variance)
    variance = np.maximum(np.stack(variances), variance_floor)
    return Mixture(
        np.stack(means).astype(np.float32), np.log(variance).astype(np.float32)
    )
