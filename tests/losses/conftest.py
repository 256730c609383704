"""A mixture VAE with a one-dimensional latent, where quadrature knows every integral.

The oracles are numpy and scipy; only ``mean_elbos`` calls the code under test.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from scipy import integrate, special, stats

from dgg_jax.likelihoods import Bernoulli, GaussianLikelihood, LearnedVarianceGaussian
from dgg_jax.losses import dgg
from dgg_jax.types import Gaussian, Mixture

LIKELIHOODS = {
    "bernoulli": Bernoulli(),
    "gaussian": GaussianLikelihood(variance=0.5),
    "learned": LearnedVarianceGaussian(),
}
NUM_POINTS, NUM_FEATURES, NUM_CLUSTERS = 4, 3, 3
GRID = np.linspace(-25.0, 25.0, 10_001)
NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
NODE_WEIGHTS = NODE_WEIGHTS / math.sqrt(2.0 * math.pi)


@functools.partial(jax.jit, static_argnames="likelihood")
def elbos(x, decoded, posterior, log_assignment, log_prior, mixture, likelihood):
    """L(x_i; j) at every node: decoded [N, M, ...], log_prior [N, K] -> [N, N, M]."""

    def total(x, log_prior, posterior, decoded, log_assignment):
        return dgg.elbo(
            x, decoded, posterior, log_assignment, log_prior, mixture, likelihood
        ).total

    over_nodes = jax.vmap(total, (None, None, None, 0, 0))
    over_sources = jax.vmap(over_nodes, (None, None, 0, 0, 0))
    over_points = jax.vmap(over_sources, (0, 0, None, None, None))
    return over_points(x, log_prior, posterior, decoded, log_assignment)


class LineModel(NamedTuple):
    """Random data, posteriors, decoder, classifier and mixture with L = 1."""

    likelihood: Any
    x: np.ndarray  # [N, D]
    posterior: Gaussian  # [N, 1]
    mixture: Mixture  # [K, 1]
    log_prior: np.ndarray  # [K]
    decoder: tuple[np.ndarray, ...]  # three vectors [D]
    classifier: tuple[np.ndarray, ...]  # two vectors [K]

    def decode(self, z):
        """g(z) for z of any shape [...]: leaves of shape [..., D]."""
        slope, offset, spread = self.decoder
        mean = np.tanh(np.asarray(z)[..., None] * slope) + offset
        if isinstance(self.likelihood, LearnedVarianceGaussian):
            return Gaussian(mean, np.sin(np.asarray(z)[..., None] * spread))
        return mean

    def log_assignment(self, z):
        """ln q(c | z) for z of shape [...]: [..., K]."""
        slope, offset = self.classifier
        return special.log_softmax(np.asarray(z)[..., None] * slope + offset, axis=-1)

    def log_likelihood(self, x, z):
        """ln p(x | z) by scipy; x [D], z [...] -> [...]."""
        decoded = self.decode(z)
        if isinstance(self.likelihood, Bernoulli):
            elements = x * special.log_expit(decoded)
            elements = elements + (1.0 - x) * special.log_expit(-decoded)
        elif isinstance(self.likelihood, GaussianLikelihood):
            scale = math.sqrt(self.likelihood.variance)
            elements = stats.norm.logpdf(x, decoded, scale)
        else:
            scale = np.exp(0.5 * decoded.logvar)
            elements = stats.norm.logpdf(x, decoded.mean, scale)
        return elements.sum(axis=-1)

    def log_components(self, z):
        """ln N(z; mu_k, sigma_k^2): [...] -> [..., K]."""
        scale = np.exp(0.5 * self.mixture.logvar[:, 0])
        z = np.asarray(z)[..., None]
        return stats.norm.logpdf(z, self.mixture.mean[:, 0], scale)

    def log_posterior(self, j, z):
        """ln q(z | x_j): [...] -> [...]."""
        scale = math.exp(0.5 * self.posterior.logvar[j, 0])
        return stats.norm.logpdf(z, self.posterior.mean[j, 0], scale)

    def log_evidence(self, x, log_prior):
        """ln p(x) under a cluster prior, by quadrature."""
        log_prior_z = special.logsumexp(log_prior + self.log_components(GRID), axis=-1)
        log_joint = self.log_likelihood(x, GRID) + log_prior_z
        return math.log(integrate.trapezoid(np.exp(log_joint), GRID))

    def jensen_shannon(self, i, j):
        """JS of q(z | x_i) and q(z | x_j), by quadrature."""
        log_p, log_q = self.log_posterior(i, GRID), self.log_posterior(j, GRID)
        log_m = np.logaddexp(log_p, log_q) - math.log(2.0)
        integrand = np.exp(log_p) * (log_p - log_m) + np.exp(log_q) * (log_q - log_m)
        return 0.5 * integrate.trapezoid(integrand, GRID)

    def nodes(self):
        """z_j at every node, [N, M]."""
        scale = np.exp(0.5 * self.posterior.logvar)
        return self.posterior.mean + scale * NODES

    def mean_elbos(self, log_prior, x=None, log_assignment=None):
        """The mean over eps of L(x_i; j) with point i's log_prior [N, K]: [N, N].

        Gammas are q(c | z), or those given, [N, M, K].
        """
        z = self.nodes()
        values = elbos(
            self.x if x is None else x,
            self.decode(z),
            self.posterior,
            self.log_assignment(z) if log_assignment is None else log_assignment,
            log_prior,
            self.mixture,
            self.likelihood,
        )
        return np.asarray(values) @ NODE_WEIGHTS

    def common_prior(self):
        """The global prior repeated for every point, [N, K]."""
        return np.tile(self.log_prior, (len(self.x), 1))


def random_line_model(likelihood, seed):
    """A LineModel whose parameters are drawn by seed."""
    rng = np.random.default_rng(seed)
    if isinstance(likelihood, Bernoulli):
        x = rng.integers(2, size=(NUM_POINTS, NUM_FEATURES)).astype(float)
    else:
        x = rng.normal(size=(NUM_POINTS, NUM_FEATURES))
    return LineModel(
        likelihood,
        x,
        Gaussian(
            rng.normal(size=(NUM_POINTS, 1)), rng.normal(-0.5, 0.5, (NUM_POINTS, 1))
        ),
        Mixture(
            2.0 * rng.normal(size=(NUM_CLUSTERS, 1)),
            0.5 * rng.normal(size=(NUM_CLUSTERS, 1)),
        ),
        np.log(rng.dirichlet(np.full(NUM_CLUSTERS, 3.0))),
        tuple(0.7 * rng.normal(size=(3, NUM_FEATURES))),
        tuple(rng.normal(size=(2, NUM_CLUSTERS))),
    )


@pytest.fixture(params=LIKELIHOODS)
def likelihood(request):
    return LIKELIHOODS[request.param]


@pytest.fixture
def line_models(x64, likelihood):
    """Several random models with the same likelihood."""
    return [random_line_model(likelihood, seed) for seed in range(4)]


@pytest.fixture
def line_model(line_models):
    return line_models[0]


@pytest.fixture
def grid():
    """The points of the trapezoid rule over z."""
    return GRID


@pytest.fixture
def node_weights():
    """Gauss-Hermite weights of ``LineModel.nodes``, summing to 1."""
    return NODE_WEIGHTS
