"""Labels to start from, and their mixture."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from dgg_jax.checks import InvalidInput
from dgg_jax.graph import knn, neighbor_weights
from dgg_jax.stages.initialize import (
    fit_mixture,
    initial_labels,
    label_mixture,
    latent_mixture,
)
from dgg_jax.types import Gaussian, Graph

NUM_CLUSTERS = 3
SKLEARN = {"covariance": "diag", "starts": 3, "variance_floor": 1e-6}


@pytest.fixture(scope="module")
def blobs():
    """Three round clusters in the plane, far apart: latents, labels, graph."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(NUM_CLUSTERS), 16)).astype(np.int32)
    centers = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    latents = centers[labels] + 0.5 * rng.standard_normal((48, 2))
    latents = latents.astype(np.float32)
    return latents, labels, neighbor_weights(*knn(latents, 5))


@pytest.mark.parametrize("init", ["spectral", "kmeans", "gmm"])
def test_initial_labels_of_separable_blobs(blobs, init):
    latents, truth, graph = blobs
    labels = initial_labels(
        init, latents, graph, NUM_CLUSTERS, num_eigenvectors=3, seed=0
    )
    assert adjusted_rand_score(truth, labels) == 1.0
    assert labels.shape == (48,)
    assert labels.dtype == np.int32
    assert set(labels.tolist()) == {0, 1, 2}
    again = initial_labels(
        init, latents, graph, NUM_CLUSTERS, num_eigenvectors=3, seed=0
    )
    np.testing.assert_array_equal(labels, again)


def test_spectral_labels_look_at_the_graph_and_the_others_at_the_latents(blobs):
    latents, truth, graph = blobs
    order = np.random.default_rng(1).permutation(48)
    place = np.argsort(order)
    shuffled = Graph(place[graph.indices[order]].astype(np.int32), graph.weights)
    labels = initial_labels(
        "spectral", latents, shuffled, NUM_CLUSTERS, num_eigenvectors=3, seed=0
    )
    assert adjusted_rand_score(truth[order], labels) == 1.0
    for init in ("kmeans", "gmm"):
        labels = initial_labels(
            init, latents, shuffled, NUM_CLUSTERS, num_eigenvectors=3, seed=0
        )
        assert adjusted_rand_score(truth, labels) == 1.0


def test_gmm_sees_variances_that_kmeans_does_not():
    """A narrow cluster beside a wide one of the same size."""
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], 200)
    latents = np.where(truth[:, None] == 0, 0.1, 2.0) * rng.standard_normal((400, 2))
    latents[:, 0] += 2.0 * truth
    scores = {
        init: adjusted_rand_score(
            truth,
            initial_labels(
                init, latents.astype("f4"), None, 2, num_eigenvectors=3, seed=0
            ),
        )
        for init in ("kmeans", "gmm")
    }
    assert scores["gmm"] > scores["kmeans"] + 0.1


def test_latent_mixture_finds_the_parameters(blobs):
    latents, truth, _ = blobs
    settings = SKLEARN | {"variance_floor": 1e-3}
    mixture = latent_mixture(latents, NUM_CLUSTERS, seed=0, **settings)
    labels = mixture.predict(latents.astype(np.float64))
    assert adjusted_rand_score(truth, labels) == 1.0
    for k in range(NUM_CLUSTERS):
        members = latents[labels == k].astype(np.float64)
        np.testing.assert_allclose(mixture.means_[k], members.mean(axis=0), atol=1e-6)
        variance = members.var(axis=0) + 1e-3
        np.testing.assert_allclose(mixture.covariances_[k], variance, rtol=1e-5)
        np.testing.assert_allclose(mixture.weights_[k], 1 / 3, rtol=1e-6)
    # lower_bound_ is the mean log-likelihood.
    densities = [
        stats.norm.logpdf(latents, mean, np.sqrt(variance)).sum(axis=1)
        for mean, variance in zip(mixture.means_, mixture.covariances_, strict=True)
    ]
    expected = np.log(np.exp(densities).mean(axis=0)).mean()
    np.testing.assert_allclose(mixture.lower_bound_, expected, rtol=1e-4)


def test_latent_mixture_of_points_whose_squares_round():
    latents = 1e6 + 0.01 * np.random.default_rng(0).standard_normal((40, 1))
    latents[0] = 0.0
    mixture = latent_mixture(latents, 3, seed=0, **SKLEARN)
    assert (mixture.covariances_ > 0.0).all()
    assert sorted(np.bincount(mixture.predict(latents), minlength=3))[-1] < 40


def test_latent_mixture_may_have_full_covariances():
    """Two crossing ridges, whose marginals are the same."""
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], 150)
    ridge = rng.standard_normal((300, 2)) * np.array([2.0, 0.1])
    sign = np.where(truth == 0, 1.0, -1.0)
    latents = np.stack([ridge[:, 0], sign * ridge[:, 0] + ridge[:, 1]], axis=1)
    scores = {}
    for covariance in ("diag", "full"):
        settings = SKLEARN | {"covariance": covariance, "starts": 10}
        mixture = latent_mixture(latents.astype(np.float32), 2, seed=0, **settings)
        scores[covariance] = adjusted_rand_score(truth, mixture.predict(latents))
    assert scores["full"] > 0.7 > 0.3 > scores["diag"]


def test_latent_mixture_keeps_the_best_of_its_starts():
    latents = np.random.default_rng(2).uniform(size=(80, 2)).astype(np.float32)
    few, several = SKLEARN | {"starts": 1}, SKLEARN | {"starts": 12}
    one, many = (
        latent_mixture(latents, 8, seed=1, **settings) for settings in (few, several)
    )
    assert many.lower_bound_ > one.lower_bound_
    again = latent_mixture(latents, 8, seed=1, **several)
    np.testing.assert_array_equal(again.means_, many.means_)
    other = latent_mixture(latents, 8, seed=2, **few)
    assert other.lower_bound_ != one.lower_bound_


def test_a_mixture_that_has_not_converged_is_no_warning():
    # Warnings are errors here, and scikit-learn would warn.
    latents = np.random.default_rng(2).uniform(size=(80, 2))
    mixture = fit_mixture(GaussianMixture(6, max_iter=1, random_state=0), latents)
    assert not mixture.converged_
    assert mixture.predict_proba(latents).shape == (80, 6)


def test_unknown_init(blobs):
    latents, _, graph = blobs
    with pytest.raises(InvalidInput) as error:
        initial_labels(
            "random", latents, graph, NUM_CLUSTERS, num_eigenvectors=3, seed=0
        )
    assert str(error.value) == (
        "init='random' is unknown; choose one of: spectral, kmeans, gmm."
    )


MEANS = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 4.0], [7.0, 5.0]], np.float32)
LOGVARS = np.log(
    np.array([[1.0, 0.5], [2.0, 0.5], [0.0625, 3.0], [4.0, 4.0]], np.float32)
)


@pytest.mark.parametrize(
    ("posterior_variance", "variances"),
    [
        # Unbiased variances of 0, 2, 4 and 1, 1, 4, plus the mean posterior variances;
        # a single point has its posterior's.
        (True, [[4.0 + 3.0625 / 3.0, 3.0 + 4.0 / 3.0], [4.0, 4.0]]),
        # As printed, of the means alone (erratum E37): a single point has none.
        (False, [[4.0, 3.0], [1e-3, 1e-3]]),
    ],
)
def test_label_mixture_by_hand(posterior_variance, variances):
    mixture = label_mixture(
        Gaussian(MEANS, LOGVARS),
        np.array([0, 0, 0, 1]),
        2,
        variance_floor=1e-3,
        posterior_variance=posterior_variance,
    )
    assert mixture.mean.dtype == mixture.logvar.dtype == np.float32
    np.testing.assert_allclose(mixture.mean, [[2.0, 2.0], [7.0, 5.0]], rtol=1e-6)
    np.testing.assert_allclose(np.exp(mixture.logvar), variances, rtol=1e-5)


def test_moments_of_labels_are_by_weights():
    posterior = Gaussian(
        np.array([[0.0], [2.0], [9.0], [5.0]]), np.log([[1.0], [3.0], [7.0], [1.0]])
    )
    mixture = label_mixture(
        posterior,
        np.array([0, 0, 0, 1]),
        2,
        variance_floor=0.0,
        posterior_variance=True,
        sample_weight=np.array([3.0, 1.0, 0.0, 0.0]),
    )
    # The mean is 2 / 4, the scatter 3 / 4 + 9 / 4 = 3, by 4 - 10 / 4 = 1.5 it is 2.
    np.testing.assert_allclose(mixture.mean, [[0.5], [0.5]])
    np.testing.assert_allclose(np.exp(mixture.logvar), [[3.5], [3.5]], rtol=1e-6)


def test_moments_by_equal_weights_are_those_without():
    labels, settings = np.array([0, 0, 0, 1]), {"posterior_variance": True}
    plain, weighted = (
        label_mixture(
            Gaussian(MEANS, LOGVARS), labels, 2, variance_floor=1e-3, **settings, **more
        )
        for more in ({}, {"sample_weight": np.ones(4, np.float32)})
    )
    np.testing.assert_array_equal(plain, weighted)


def test_kmeans_labels_are_by_weights():
    latents = np.array([[0.0], [1.0], [10.0], [11.0], [30.0]])
    far, near = (
        initial_labels(
            "kmeans",
            latents,
            None,
            2,
            num_eigenvectors=0,
            seed=0,
            sample_weight=np.array([1.0, 1.0, 1.0, 1.0, last]),
        )
        for last in (50.0, 0.0)
    )
    assert far[0] == far[3] != far[4]
    assert near[0] == near[1] != near[2] == near[3] == near[4]


def test_label_mixture_has_a_floor():
    posterior = Gaussian(MEANS, np.full_like(MEANS, -30.0))
    labels = np.array([0, 0, 1, 2])
    mixture = label_mixture(
        posterior, labels, 3, variance_floor=0.25, posterior_variance=True
    )
    # 0 and 2 have variance 2, 1 and 1 have none, single points have none.
    expected = [[2.0, 0.25], [0.25, 0.25], [0.25, 0.25]]
    np.testing.assert_allclose(np.exp(mixture.logvar), expected, rtol=1e-5)


def test_an_empty_label_takes_the_moments_of_all():
    posterior = Gaussian(MEANS, LOGVARS)
    labels = np.array([0, 0, 2, 2])
    mixture = label_mixture(
        posterior, labels, 3, variance_floor=1e-3, posterior_variance=True
    )
    everything = label_mixture(
        posterior, np.zeros(4, int), 1, variance_floor=1e-3, posterior_variance=True
    )
    np.testing.assert_array_equal(mixture.mean[1], everything.mean[0])
    np.testing.assert_array_equal(mixture.logvar[1], everything.logvar[0])
    assert (mixture.mean[0] != mixture.mean[1]).all()
