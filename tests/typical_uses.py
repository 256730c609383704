"""What users write, for type checkers: ``mypy tests/typical_uses.py``; not for running.

A comment that ignores an error is itself an error where there is none, so these lines
check that mistakes are seen.
"""

from typing import assert_type

import jax
import numpy as np
from flax import linen as nn
from matplotlib.figure import Figure

import dgg_jax
from dgg_jax import (
    AAE,
    DEC,
    DGG,
    GMVAE,
    IMSAT,
    LTVAE,
    CatGAN,
    EarlyStopping,
    SpectralNet,
    VaDE,
    checks,
    metrics,
    presets,
)
from dgg_jax.data import Dataset, load
from dgg_jax.graph import knn, neighbor_weights, smoothing_operator
from dgg_jax.likelihoods import Bernoulli, GaussianLikelihood
from dgg_jax.losses import dgg, gmvae, siamese, vade
from dgg_jax.types import ElboTerms, Gaussian, Graph, Mixture


def stop_early(stage: str, epoch: int, metrics: dict[str, object]) -> bool:
    return epoch > 3


def estimators(x: np.ndarray, encoder: nn.Module) -> None:
    model = DGG(n_clusters=10, image_shape=(8, 8), random_state=0, verbose=1).fit(x)
    assert_type(model, DGG)
    assert_type(model.labels_, np.ndarray)
    assert_type(model.predict(x), np.ndarray)
    assert_type(model.transform(x), np.ndarray)
    assert_type(model.score(x), float)
    assert_type(model.sample(20, cluster=3), tuple[np.ndarray, np.ndarray])
    assert_type(model.plot.latents(x[:, 0], class_names=["a", "b"]), Figure)
    assert_type(model.n_iter_, int)
    model.fit(x, checkpoint_dir="fits/digits")
    model.fit(x, None, x[:, 0]).fit(x, sample_weight=[1.0, 0.5])
    model.fit(x, batch=["a", "b"]).predict(x, batch=["a", "b"])
    model.save("digits-model", overwrite=True)
    model.export("programs")
    DGG("auto", hidden_sizes=[500, 500], callbacks=[stop_early]).fit(x, knn=knn(x, 10))
    DGG(callbacks=[stop_early, EarlyStopping(patience=3, monitor="elbo")])
    DGG(3).fit(x, must_link=[(0, 1), (1, 5)], cannot_link=np.array([[0, 2]]))
    VaDE(3, likelihood=GaussianLikelihood(variance=0.1), encoder=encoder)
    VaDE(3, preset="smoke", epochs=None, hidden_sizes=None)
    GMVAE(4, num_samples=2, warm_start=True).fit(x).sample(3)
    assert_type(IMSAT(3, random_state=np.random.RandomState(0)).fit(x), IMSAT)
    assert_type(CatGAN(3, latent_dim=8).fit(x), CatGAN)
    assert_type(AAE(3, latent_dim=8).fit(x).transform(x), np.ndarray)
    assert_type(LTVAE(3, max_facets=2).fit(x).facets(x), np.ndarray)
    SpectralNet(3, epochs=2).fit_predict(x)
    DEC(3, restarts=2)

    DGG(num_clusters=3)  # type: ignore[call-arg]
    DGG("many")  # type: ignore[arg-type]
    DGG(epochs="3")  # type: ignore[arg-type]
    DGG(preset="paper")  # type: ignore[arg-type]
    DGG(3, 4)  # type: ignore[call-arg, arg-type]
    dgg_jax.load("digits-model").predict(x)
    dgg_jax.keep_compiled("programs")
    run = dgg_jax.load_run("runs/digits-dgg-0")
    assert_type(run.labels, np.ndarray)
    assert_type(run.names, np.ndarray | None)
    assert_type(dgg_jax.__version__, str)


def losses(x: jax.Array, z: jax.Array) -> jax.Array:
    posterior = Gaussian(mean=z, logvar=z)
    mixture = Mixture(z[None], z[None])
    terms = dgg.elbo(x, x, posterior, z, z, mixture, Bernoulli())
    assert_type(terms, ElboTerms)
    gamma = vade.log_assignment(z, z, mixture)
    distance = siamese.contrastive_loss(z, z, True, margin=3.0)
    assert gmvae.elbo is not None
    return terms.total + gamma.sum() + distance


def losses_of_numpys_arrays(x: np.ndarray) -> jax.Array:
    objective = jax.vmap(dgg.update_prior, in_axes=(0, 0, None))
    mixture = Mixture(mean=x, logvar=x)
    assert_type(vade.log_assignment(x[0], x[0], mixture), jax.Array)
    return objective(x, x[:, None], np.ones(1))


def the_rest(x: np.ndarray) -> float:
    graph = neighbor_weights(*knn(x, 20), kind="gaussian")
    assert_type(graph, Graph)
    smoothing_operator(graph, graph_strength=1.0)
    dataset = load("digits", data_dir="data")
    assert_type(dataset, Dataset)
    preset = presets.for_data("dgg", x, 3)
    assert_type(preset, presets.Preset)
    try:
        return metrics.clustering_accuracy(x[:, 0], x[:, 1])
    except checks.InvalidInput:
        return 0.0
