import dataclasses
import functools

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture

from dgg_jax import methods, metrics, presets
from dgg_jax.checks import InvalidInput
from dgg_jax.graph import knn, neighbor_weights, spectral_labels
from dgg_jax.methods import Problem, two_stage, vade
from dgg_jax.methods.parts import autoencoder_networks
from dgg_jax.presets import (
    DGGPreset,
    GMMPreset,
    KMeansPreset,
    LatentGMMPreset,
    LatentKMeansPreset,
    LDMGIPreset,
    SiameseKMeansPreset,
    SiameseSpectralPreset,
    SpectralPreset,
    VaDEPreset,
)
from dgg_jax.training import Run
from tests.methods.toy import POINTS, blobs
from tests.trees import assert_same, differ, of_the_run

AUTOENCODER = {
    "num_clusters": 3,
    "likelihood": "gaussian",
    "variance": 0.01,
    "hidden_sizes": (16,),
    "latent_dim": 2,
    "pretrain_autoencoder_epochs": 40,
    "pretrain_batch_size": 10,
    "pretrain_learning_rate": 1e-2,
}
SIAMESE = {
    "pretrain_vae_epochs": 2,
    "siamese_epochs": 10,
    "siamese_batch_size": 10,
    "siamese_learning_rate": 1e-3,
}
LATENT = LatentGMMPreset(**AUTOENCODER, embedding_epochs=10)
PRESETS = {
    "kmeans": KMeansPreset(num_clusters=3),
    "gmm": GMMPreset(num_clusters=3),
    "spectral": SpectralPreset(num_clusters=3, num_neighbors=6),
    "ldmgi": LDMGIPreset(num_clusters=3, num_neighbors=6),
    "ae_gmm": LATENT,
    "dae_gmm": dataclasses.replace(LATENT, embedding="dae"),
    "vae_gmm": dataclasses.replace(LATENT, embedding="vae"),
    "ae_kmeans": LatentKMeansPreset(**AUTOENCODER, embedding_epochs=10),
    "siamese_kmeans": SiameseKMeansPreset(**AUTOENCODER, **SIAMESE),
    "siamese_spectral": SiameseSpectralPreset(**AUTOENCODER, **SIAMESE),
}
# As small as it gets, where only the way through the code matters.
BRIEF = {
    method: dataclasses.replace(
        preset,
        pretrain_autoencoder_epochs=1,
        pretrain_batch_size=30,
        embedding_epochs=1,
    )
    for method, preset in PRESETS.items()
    if isinstance(preset, LatentGMMPreset)
}
LATENT_METHODS = ["ae_gmm", "dae_gmm", "vae_gmm"]


@functools.cache
def noise():
    """No clusters at all: every start of an algorithm ends elsewhere."""
    return np.random.default_rng(1).uniform(size=(60, 3)).astype(np.float32)


@functools.cache
def run(method):
    x, y = blobs()
    return methods.method(method).run(x, PRESETS[method], y=y)


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(method, marks=pytest.mark.slow)
        if method in ("dae_gmm", "vae_gmm", "ae_kmeans", "siamese_spectral")
        else method
        for method in PRESETS
    ],
)
def test_blobs_are_found(method):
    model, state, records = run(method)
    _, y = blobs()
    assert model is None
    assert tuple(record["name"] for record in records) == methods.method(method).stages
    assert state["labels"].shape == y.shape
    assert state["labels"].dtype == np.int32
    assert records[-1]["accuracy"] == metrics.clustering_accuracy(y, state["labels"])
    assert records[-1]["nmi"] == metrics.normalized_mutual_info(y, state["labels"])
    assert records[-1]["ari"] == metrics.adjusted_rand_index(y, state["labels"])
    assert records[-1]["accuracy"] >= 0.95


@pytest.mark.parametrize("method", ["gmm", "ae_gmm"])
def test_a_mixture_says_how_sure_it_is(method):
    _, state, _ = run(method)
    probabilities = np.exp(state["log_assignment"])
    assert state["log_assignment"].dtype == np.float32
    assert probabilities.shape == (3 * POINTS, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), state["labels"])


@pytest.mark.parametrize(
    "method",
    [
        "kmeans",
        "gmm",
        "spectral",
        "ldmgi",
        pytest.param("ae_gmm", marks=pytest.mark.slow),
    ],
)
def test_labels_only_score(method):
    x, y = blobs()
    preset = BRIEF.get(method, PRESETS[method])
    _, state, records = two_stage.run(x, preset, y=y)
    _, other, others = two_stage.run(x, preset)
    assert_same(other, state)
    assert records[-1]["accuracy"] is not None
    for record in others:
        assert {record.get(name) for name in ("accuracy", "nmi", "ari")} == {None}


def test_ldmgi_says_what_each_regularization_comes_to():
    (record,) = run("ldmgi").records[-1:]
    assert [one["regularization"] for one in record["tried"]] == [
        10.0**power for power in range(-8, 9, 2)
    ]
    best = max(record["tried"], key=lambda one: one["graph_information"])
    assert record["regularization"] == best["regularization"]
    assert record["accuracy"] == best["accuracy"]
    x, y = blobs()
    alone = dataclasses.replace(PRESETS["ldmgi"], regularization=1.0)
    (given,) = two_stage.run(x, alone, y=y).records[-1:]
    assert [one["regularization"] for one in given["tried"]] == [1.0]


def cluster_seed(seed):
    return Problem.of(blobs()[0], PRESETS["kmeans"], seed=seed).numpy_seed("cluster")


@pytest.mark.parametrize("seed", [0, 1])
def test_kmeans_is_that_of_scikit_learn(seed):
    preset = KMeansPreset(num_clusters=8, restarts=2)
    _, state, _ = two_stage.run(noise(), preset, seed=seed)
    kmeans = KMeans(8, n_init=2, random_state=cluster_seed(seed))
    np.testing.assert_array_equal(state["labels"], kmeans.fit_predict(noise()))
    other = KMeans(8, n_init=2, random_state=cluster_seed(seed + 1))
    assert (state["labels"] != other.fit_predict(noise())).any()


@pytest.mark.parametrize("covariance", ["diag", "full"])
def test_gmm_is_that_of_scikit_learn(covariance):
    preset = GMMPreset(
        num_clusters=5, covariance=covariance, restarts=2, variance_floor=0.01
    )
    _, state, records = two_stage.run(noise(), preset, seed=3)
    mixture = GaussianMixture(
        5,
        covariance_type=covariance,
        n_init=2,
        reg_covar=0.01,
        max_iter=200,
        random_state=cluster_seed(3),
    )
    x = noise().astype(np.float64)
    expected = mixture.fit(x).predict_proba(x)
    actual = np.exp(state["log_assignment"])
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(state["labels"], mixture.predict(x))
    log_likelihood = records[-1]["mixture_log_likelihood"]
    assert log_likelihood == pytest.approx(mixture.lower_bound_)
    assert log_likelihood == pytest.approx(mixture.score(x), abs=1e-2)


@pytest.mark.parametrize("weights", ["uniform", "gaussian"])
def test_spectral_clusters_the_graph_of_the_data(weights):
    preset = SpectralPreset(
        num_clusters=3,
        num_neighbors=5,
        neighbor_weights=weights,
        eigenvectors_per_cluster=1.5,
    )
    _, state, _ = two_stage.run(noise(), preset, seed=2)
    graph = neighbor_weights(*knn(noise(), 5), weights)
    np.testing.assert_array_equal(state["graph"]["indices"], graph.indices)
    np.testing.assert_array_equal(state["graph"]["weights"], graph.weights)
    expected = spectral_labels(graph, 3, 5, cluster_seed(2))
    np.testing.assert_array_equal(state["labels"], expected)


def test_a_graph_cannot_have_more_neighbors_than_points():
    preset = SpectralPreset(num_clusters=3, num_neighbors=500)
    _, state, _ = two_stage.run(noise(), preset)
    assert state["graph"]["indices"].shape == (60, 59)


@functools.cache
def pretrained(method):
    """State and record of the stage ``pretrain``."""
    states, records = {}, {}

    def keep(record):
        states[record["name"]], records[record["name"]] = runner._state, record

    runner = Run(on_stage=keep)
    x, y = blobs()
    if method == "vade":
        values = AUTOENCODER | {
            "pretrain_autoencoder_epochs": 1,
            "pretrain_batch_size": 30,
        }
        preset = VaDEPreset(**values, init="kmeans", label_epochs=0, epochs=0)
        vade.run(x, preset, y=y, runner=runner)
    else:
        two_stage.run(x, BRIEF[method], y=y, runner=runner)
    return states["pretrain"], records["pretrain"]


@pytest.mark.slow
def test_methods_start_from_the_same_autoencoder():
    expected, expected_record = pretrained("vade")
    for method in LATENT_METHODS:
        state, record = pretrained(method)
        assert set(state) == {"encoder", "decoder"}
        assert_same(state, expected)
        assert of_the_run(record) == of_the_run(expected_record)


@pytest.mark.slow
def test_embeddings_go_on_from_there_each_in_its_way():
    start, _ = pretrained("ae_gmm")
    x, y = blobs()
    states = {name: two_stage.run(x, BRIEF[name], y=y)[1] for name in LATENT_METHODS}
    for method, state in states.items():
        assert differ(state["encoder"]["mean"], start["encoder"]["mean"]), method
        # Only a VAE has posteriors to train.
        trained = differ(state["encoder"]["logvar"], start["encoder"]["logvar"])
        assert trained == (method == "vae_gmm")
    for one, other in (("ae_gmm", "dae_gmm"), ("ae_gmm", "vae_gmm")):
        assert differ(states[one]["encoder"], states[other]["encoder"])
    # A denoising autoencoder of nothing to remove is an autoencoder.
    preset = dataclasses.replace(BRIEF["dae_gmm"], pretrain_corruption=0.0)
    clean, noisy = (
        two_stage.run(x, dataclasses.replace(preset, embedding=embedding), y=y)[1]
        for embedding in ("ae", "dae")
    )
    assert_same(clean, noisy)


def test_clusters_are_a_mixture_of_the_latents():
    _, state, records = run("ae_gmm")
    z = state["latent_mean"].astype(np.float64)
    assert z.shape == (3 * POINTS, 2)
    mixture = GaussianMixture(
        3,
        covariance_type="full",
        n_init=LATENT.restarts,
        reg_covar=LATENT.variance_floor,
        max_iter=200,
        random_state=cluster_seed(0),
    )
    expected = mixture.fit(z).predict_proba(z)
    actual = np.exp(state["log_assignment"])
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)
    # The latents are those of the encoder that the state holds.
    encode = autoencoder_networks(LATENT, blobs()[0].shape[1]).encode
    posterior = encode(state["encoder"], blobs()[0])
    np.testing.assert_allclose(z, posterior.mean, rtol=1e-4, atol=1e-5)
    assert np.isfinite(records[1]["elbo"])


@pytest.mark.slow
def test_the_seed_decides_everything():
    x, _ = blobs()
    _, state, _ = two_stage.run(x, BRIEF["vae_gmm"], seed=0)
    _, again, _ = two_stage.run(x, BRIEF["vae_gmm"], seed=0)
    assert_same(again, state)
    _, other, _ = two_stage.run(x, BRIEF["vae_gmm"], seed=1)
    assert differ(other["encoder"], state["encoder"])


@pytest.mark.parametrize("method", PRESETS)
def test_bad_data_are_refused_before_any_work(method):
    x, _ = blobs()
    runner = Run()
    bad = x.copy()
    bad[5, 1] = np.inf
    with pytest.raises(InvalidInput, match=r"1 NaN or infinite .* row 5, column 1"):
        two_stage.run(bad, PRESETS[method], runner=runner)
    with pytest.raises(InvalidInput, match=r"num_clusters=3 exceeds the 2 rows"):
        two_stage.run(x[:2], PRESETS[method], runner=runner)
    assert runner.history == [] and runner.records == []


def test_unknown_methods_are_listed():
    with pytest.raises(InvalidInput, match=r"method='gmm2' is unknown; .*ae_gmm"):
        methods.method("gmm2")


def test_every_method_is_in_the_table():
    assert set(methods.METHODS) == set(presets.METHODS)
    for name, preset in PRESETS.items():
        assert methods.method(name).run is two_stage.run
        assert methods.method(name).stages == two_stage.STAGES[type(preset)]
    assert methods.method("vade").run is vade.run


@pytest.mark.parametrize("warp", [0.0, 1.0])
def test_the_siamese_embedding_is_that_of_dgg(warp):
    """From the same seed and settings the same points, on images warped alike."""
    x, _ = blobs()
    x = np.repeat(x, 2, axis=1).astype(np.float32)
    settings = AUTOENCODER | SIAMESE | {"pretrain_autoencoder_epochs": 1}
    settings |= {"siamese_epochs": 2, "siamese_warp": warp}
    shape = (2, x.shape[1] // 2)
    brief = {"epochs": 0, "label_epochs": 0, "classifier_epochs": 0, "guard": False}
    brief |= {"num_neighbors": 3, "num_candidates": 3, "init": "kmeans"}
    dgg = methods.method("dgg").run(
        x, DGGPreset(**settings, **brief), seed=3, image_shape=shape
    )
    for cls in (SiameseKMeansPreset, SiameseSpectralPreset):
        _, state, _ = two_stage.run(x, cls(**settings), seed=3, image_shape=shape)
        np.testing.assert_array_equal(state["latent_mean"], dgg.state["embedding"])


def test_without_siamese_epochs_the_data_are_clustered():
    x, _ = blobs()
    preset = dataclasses.replace(
        PRESETS["siamese_kmeans"], siamese_epochs=0, pretrain_autoencoder_epochs=1
    )
    _, state, _ = two_stage.run(x, preset)
    _, plain, _ = two_stage.run(x, PRESETS["kmeans"])
    np.testing.assert_array_equal(state["labels"], plain["labels"])
