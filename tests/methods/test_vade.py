import dataclasses
import functools
import sys

import jax
import numpy as np
import pytest
from scipy import special, stats
from sklearn.mixture import GaussianMixture

from dgg_jax import metrics
from dgg_jax.checks import InvalidInput, NotInstalled
from dgg_jax.methods import mixture_vae, vade
from dgg_jax.methods.mixture_vae import restart_of
from dgg_jax.presets import VaDEPreset
from dgg_jax.training import Interrupted, Run
from tests.methods.toy import POINTS, blobs
from tests.trees import assert_same, differ, of_the_run

PRESET = VaDEPreset(
    num_clusters=3,
    likelihood="gaussian",
    variance=0.01,
    hidden_sizes=(16,),
    latent_dim=2,
    pretrain_autoencoder_epochs=40,
    pretrain_batch_size=10,
    pretrain_learning_rate=1e-2,
    num_neighbors=6,
    label_epochs=10,
    epochs=15,
    batch_size=10,
    learning_rate=5e-3,
    mixture_learning_rate=1e-3,
)
# As small as it gets, where only the way through the code matters.
BRIEF = dataclasses.replace(
    PRESET,
    hidden_sizes=(5,),
    init="kmeans",
    pretrain_autoencoder_epochs=1,
    pretrain_batch_size=30,
    label_epochs=1,
    epochs=2,
    batch_size=30,
)
TERMS = (
    "reconstruction",
    "latent_prior",
    "latent_entropy",
    "cluster_prior",
    "cluster_entropy",
)


@functools.cache
def run(preset=PRESET, seed=0, labels="true"):
    """The result of a run, (model, state, records); kept, for several tests."""
    x, y = blobs()
    y = {"true": y, "none": None, "permuted": np.roll(y, 7) % 2}[labels]
    return vade.run(x, preset, seed=seed, y=y)


def brief(**changes):
    return run(dataclasses.replace(BRIEF, **changes))


@pytest.mark.parametrize(
    "init",
    ["spectral", *(pytest.param(i, marks=pytest.mark.slow) for i in ("kmeans", "gmm"))],
)
def test_blobs_are_found(init):
    _, state, records = run(dataclasses.replace(PRESET, init=init))
    _, y = blobs()
    assert [record["name"] for record in records] == list(vade.STAGES)
    assert records[-1]["accuracy"] >= 0.95
    assert records[-1]["accuracy"] == metrics.clustering_accuracy(y, state["labels"])
    assert records[-1]["nmi"] == metrics.normalized_mutual_info(y, state["labels"])
    assert records[-1]["em_accuracy"] >= 0.95
    elbos = {record["name"]: record["elbo"] for record in records}
    assert elbos["train"] > elbos["initialize"]
    assert abs(elbos["evaluate"] - elbos["train"]) < 0.5


def test_the_state_describes_every_point():
    _, state, _ = run()
    x, _ = blobs()
    assert state["labels"].shape == (len(x),)
    assert state["labels"].dtype == np.int32
    assert state["latent_mean"].shape == (len(x), PRESET.latent_dim)
    probabilities = np.exp(state["log_assignment"])
    assert probabilities.shape == (len(x), 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), state["labels"])


def test_assignments_are_bayes_of_the_trained_mixture_at_the_mean():
    model, state, _ = run()
    # Its pi is trained, not the mean assignment (as in DGG).
    expected = special.log_softmax(np.float64(model.params["logits"]))
    np.testing.assert_allclose(model.log_weights, expected, rtol=1e-5)
    np.testing.assert_array_equal(state["log_weights"], model.log_weights)
    assert differ(model.params["logits"], state["logits"][0])
    mixture = model.params["mixture"]
    z = state["latent_mean"].astype(np.float64)
    joint = stats.norm.logpdf(z[:, None], mixture.mean, np.exp(mixture.logvar / 2))
    expected = special.softmax(expected + joint.sum(axis=2), axis=1)
    actual = np.exp(state["log_assignment"])
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-6)


def test_the_final_elbo_is_that_of_the_trained_prior():
    """By scipy, with draws of its own."""
    model, _, records = run()
    x, _ = blobs()
    posterior, _ = model.infer(x)
    mean, scale = np.float64(posterior.mean), np.exp(np.float64(posterior.logvar) / 2)
    mixture = jax.tree.map(np.float64, model.params["mixture"])
    eps = np.random.default_rng(0).normal(size=(64, *mean.shape))
    z = mean + scale * eps
    decoded = model.decode(z.reshape(-1, 2).astype(np.float32)).reshape(64, -1, 3)
    reconstruction = stats.norm.logpdf(x, decoded, 0.1).sum(axis=2)
    at_z = stats.norm.logpdf(z[:, :, None], mixture.mean, np.exp(mixture.logvar / 2))
    log_pi = special.log_softmax(np.float64(model.params["logits"]))
    log_gamma = special.log_softmax(log_pi + at_z.sum(axis=3), axis=2)
    expected = stats.norm.logpdf(
        mean[:, None], mixture.mean, np.exp(mixture.logvar / 2)
    )
    expected -= 0.5 * scale[:, None] ** 2 * np.exp(-mixture.logvar)
    inner = expected.sum(axis=2) + log_pi - log_gamma
    entropy = stats.norm.entropy(mean, scale).sum(axis=1)
    elbo = reconstruction + (np.exp(log_gamma) * inner).sum(axis=2) + entropy
    error = elbo.mean(axis=1).std() / np.sqrt(mixture_vae.ELBO_DRAWS)
    assert abs(records[-1]["elbo"] - elbo.mean()) < 5.0 * error + 1e-3


def test_elbo_of_a_record_is_the_sum_of_its_terms():
    _, _, records = run()
    for record in records:
        total = sum(record[name] for name in TERMS)
        np.testing.assert_allclose(record["elbo"], total, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("labels", ["permuted", "none"])
def test_labels_never_influence_training(labels):
    preset = dataclasses.replace(BRIEF, restarts=2)
    model, state, records = run(preset)
    other_model, other_state, other_records = run(preset, labels=labels)
    assert_same(other_model.params, model.params)
    assert_same(other_state, state)
    for record, other in zip(records, other_records, strict=True):
        assert other["elbo"] == record["elbo"]
        if labels == "none":
            assert other["accuracy"] is other["nmi"] is other["ari"] is None
        else:
            assert other["accuracy"] != record["accuracy"]
    if labels == "none":
        assert other_records[-1]["em_accuracy"] is None


def test_the_seed_decides_everything():
    x, y = blobs()
    model, state, _ = brief()
    again_model, again_state, _ = vade.run(x, BRIEF, seed=0, y=y)
    assert_same(again_model.params, model.params)
    assert_same(again_state, state)
    other, _, _ = run(BRIEF, seed=1)
    for name in ("encoder", "decoder", "mixture", "logits"):
        assert differ(model.params[name], other.params[name]), name


@pytest.mark.slow
def test_the_best_objective_of_the_restarts_is_kept(monkeypatch):
    """Whichever it is: the choice follows the ELBO, not the position."""
    x, y = blobs()
    preset = dataclasses.replace(BRIEF, restarts=2)
    model, state, records = run(preset)
    for name in ("encoder", "decoder", "mixture"):
        first, second = (
            jax.tree.map(lambda leaf, i=i: leaf[i], state["models"][name])
            for i in range(2)
        )
        assert differ(first, second), name
    elbos = [one["elbo"] for one in records[-1]["restarts"]]
    assert int(state["restart"]) == int(np.argmax(elbos))
    assert records[-1]["elbo"] == max(elbos) > min(elbos)

    elbo = vade.own_elbo
    for best in range(2):
        seen = iter(range(2))

        def rigged(*arguments, best=best, seen=seen):
            terms = elbo(*arguments)
            assert arguments[-1] == mixture_vae.ELBO_DRAWS
            more = 1e6 if next(seen) == best else -1e6
            terms = terms._replace(latent_prior=terms.latent_prior + more)
            return terms

        monkeypatch.setattr(vade, "own_elbo", rigged)
        model, state, records = vade.run(x, preset, y=y)
        assert int(state["restart"]) == best
        chosen = jax.tree.map(lambda leaf, best=best: leaf[best], state["models"])
        assert_same(state["model"], chosen)
        assert_same(
            dict(model.params, mixture=model.params["mixture"]._asdict()), chosen
        )
        assert records[-1]["elbo"] > 9e5
        for record in records[1:]:
            one = record["restarts"][best]
            assert {name: record[name] for name in one} == one


def objectives(**changes):
    """The objective of every restart, and that of the one that is kept."""
    model, state, records = brief(restarts=2, label_epochs=0, **changes)
    values = [one["objective"] for one in records[-1]["restarts"]]
    assert records[-1]["objective"] == max(values) > min(values)
    assert int(state["restart"]) == int(np.argmax(values))
    return model, records[-1]


def test_restarts_are_ranked_by_the_objective_that_is_trained():
    """Erratum E48: the ELBO, a weighted one, or the reconstruction at the mean."""
    _, record = objectives()
    assert record["objective"] == record["elbo"]
    _, record = objectives(reconstruction_weight=5.0)
    others = sum(record[name] for name in TERMS[1:])
    expected = 5.0 * record["reconstruction"] + others
    np.testing.assert_allclose(record["objective"], expected, rtol=1e-4)
    assert record["elbo"] != pytest.approx(record["objective"], rel=0.1)

    model, record = objectives(kl_term=False)
    x, _ = blobs()
    decoded = np.float64(model.decode(model.infer(x)[0].mean))
    expected = stats.norm.logpdf(x, decoded, 0.1).sum(axis=1).mean()
    np.testing.assert_allclose(record["objective"], expected, rtol=1e-4)


@pytest.mark.slow
def test_without_the_kl_term_a_mixture_is_fitted_to_an_autoencoder():
    preset = dataclasses.replace(PRESET, kl_term=False, init="kmeans", epochs=5)
    model, state, records = run(preset)
    assert records[-1]["accuracy"] >= 0.95
    # The mean alone was trained.
    assert_same(model.params["encoder"]["logvar"], state["encoder"]["logvar"])
    assert differ(model.params["encoder"]["mean"], state["encoder"]["mean"])
    # The components are those of a mixture of the latents.
    z = state["latent_mean"].astype(np.float64)
    fitted = GaussianMixture(3, covariance_type="diag", n_init=3, random_state=0)
    order = fitted.fit(z).means_[:, 0].argsort()
    mixture = model.params["mixture"]
    own = mixture.mean[:, 0].argsort()
    np.testing.assert_allclose(mixture.mean[own], fitted.means_[order], rtol=1e-3)
    variances = np.maximum(fitted.covariances_, PRESET.variance_floor)[order]
    np.testing.assert_allclose(np.exp(mixture.logvar[own]), variances, rtol=1e-3)
    weights = np.exp(model.params["logits"])
    np.testing.assert_allclose(weights[own], fitted.weights_[order], rtol=1e-3)


def test_without_the_kl_term_no_mixture_is_scored_before_it_is_fitted():
    x, y = blobs()
    for kl_term in (True, False):
        runner = Run()
        preset = dataclasses.replace(PRESET, kl_term=kl_term, epochs=1, label_epochs=0)
        vade.run(x, preset, y=y, runner=runner)
        (line,) = [line for line in runner.history if line["loop"] == "train"]
        assert ("accuracy" in line) == ("smallest_share" in line) == kl_term


def test_without_the_kl_term_there_is_no_fit_to_labels():
    x, _ = blobs()
    loops = []
    runner = Run(on_epoch=lambda stage, loop, *rest: loops.append((stage, loop)))
    preset = dataclasses.replace(BRIEF, kl_term=False)
    vade.run(x, preset, runner=runner)
    assert ("train", "labels") not in loops
    assert loops.count(("train", "train")) == BRIEF.epochs
    metrics = [line for line in runner.history if line["stage"] == "train"]
    assert "latent_prior" not in metrics[0] and "objective" in metrics[0]


def test_clusters_may_come_from_em_on_the_latents():
    model, state, records = brief()
    changed, other, other_records = brief(clustering="em")
    assert_same(changed.params, model.params)
    assert_same(other["log_weights"], state["log_weights"])
    assert other_records[-1]["elbo"] == records[-1]["elbo"]
    assert other_records[-1]["em_accuracy"] == records[-1]["em_accuracy"]
    assert other_records[-1]["accuracy"] == other_records[-1]["em_accuracy"]

    # From the trained mixture on, by scikit-learn.
    mixture = jax.tree.map(np.float64, model.params["mixture"])
    fitted = GaussianMixture(
        3,
        covariance_type="diag",
        weights_init=special.softmax(np.float64(model.params["logits"])),
        means_init=mixture.mean,
        precisions_init=np.exp(-mixture.logvar),
        max_iter=200,
    )
    z = state["latent_mean"].astype(np.float64)
    expected = fitted.fit(z).predict_proba(z)
    actual = np.exp(other["log_assignment"])
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(other["labels"], expected.argmax(axis=1))
    accuracy = metrics.clustering_accuracy(blobs()[1], expected.argmax(axis=1))
    assert records[-1]["em_accuracy"] == accuracy
    assert np.abs(actual - np.exp(state["log_assignment"])).max() > 1e-3
    # The model's own are of the trained mixture, as its preset says.
    _, inferred = changed.infer(blobs()[0])
    np.testing.assert_array_equal(inferred, state["log_assignment"])


def test_initial_weights_and_variances():
    _, state, records = brief()
    counts = np.bincount(state["initial_labels"][0], minlength=3)
    shares = (counts + 1) / (3 * POINTS + 3)
    np.testing.assert_allclose(np.exp(state["logits"][0]), shares, rtol=1e-6)
    assert (state["mixture"]["logvar"] < -0.1).any()
    _, uniform, other = brief(initial_weights="uniform", initial_variances="unit")
    priors = [run[1]["latent_prior"] for run in (records, other)]
    assert priors[0] > priors[1] + 0.1  # of the mixture to start from
    np.testing.assert_array_equal(uniform["logits"], np.zeros((1, 3)))
    np.testing.assert_array_equal(uniform["mixture"]["logvar"], np.zeros((1, 3, 2)))
    assert_same(uniform["mixture"]["mean"], state["mixture"]["mean"])
    assert uniform["logits"].dtype == uniform["mixture"]["logvar"].dtype == np.float32


def test_a_gaussian_mixture_gives_all_that_training_starts_from():
    """Erratum E44: as scikit-learn fits it to the same latents, pi and sigma too."""
    random = np.random.default_rng(0)
    sizes = np.array([0.05, 0.2])[(np.arange(120) % 4 == 0).astype(int)]
    x = (0.5 + sizes[:, None] * random.normal(size=(120, 3))).astype(np.float32)
    preset = dataclasses.replace(
        BRIEF, num_clusters=2, init="gmm", variance_floor=1e-6, label_epochs=0, epochs=0
    )
    _, state, _ = vade.run(x, preset)
    names = ("initial_labels", "mixture", "logits")
    start = {name: restart_of(state[name], 0) for name in names}
    z = np.float64(state["latent_mean"])  # no epoch has moved them
    fitted = GaussianMixture(2, covariance_type="diag", n_init=20, random_state=0)
    labels = fitted.fit(z).predict(z)
    order = fitted.weights_.argsort()
    own = start["logits"].argsort()
    weights = np.exp(start["logits"])
    np.testing.assert_allclose(weights[own], fitted.weights_[order], rtol=1e-2)
    mean, logvar = start["mixture"]["mean"][own], start["mixture"]["logvar"][own]
    np.testing.assert_allclose(mean, fitted.means_[order], rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(np.exp(logvar), fitted.covariances_[order], rtol=1e-2)
    np.testing.assert_array_equal(
        own.argsort()[start["initial_labels"]], order.argsort()[labels]
    )
    # Not the shares and moments of the labels.
    assert np.abs(weights - np.bincount(start["initial_labels"]) / 120).max() > 3e-3
    assert start["mixture"]["logvar"].dtype == start["logits"].dtype == np.float32

    plain = {"initial_variances": "unit", "initial_weights": "uniform"}
    _, other, _ = vade.run(x, dataclasses.replace(preset, **plain))
    np.testing.assert_array_equal(other["mixture"]["logvar"], 0.0)
    np.testing.assert_array_equal(other["logits"], 0.0)
    assert_same(other["mixture"]["mean"], state["mixture"]["mean"])


@functools.cache
def untrained(**changes):
    """State after initialize, and the one before it."""
    states = {}
    runner = Run(on_stage=lambda record: states.update({record["name"]: runner._state}))
    preset = dataclasses.replace(BRIEF, label_epochs=0, epochs=0, **changes)
    vade.run(blobs()[0], preset, runner=runner)
    return states


def test_posteriors_of_an_autoencoder_start_narrow():
    states = untrained()
    before, after = states["pretrain"]["encoder"], states["initialize"]["encoder"]
    spread = states["evaluate"]["latent_mean"].var(axis=0)
    np.testing.assert_allclose(
        np.exp(after["logvar"]["bias"]), 0.01 * spread, rtol=1e-4
    )
    np.testing.assert_array_equal(before["logvar"]["bias"], 0.0)
    for name in ("hidden_0", "mean"):
        assert_same(before[name], after[name])
    # Those of a VAE are what it has learned.
    states = untrained(pretrain_vae_epochs=1)
    assert_same(states["pretrain"]["encoder"], states["initialize"]["encoder"])


def test_stages_of_no_epochs_leave_parameters_alone():
    state = untrained()["evaluate"]
    for name in ("encoder", "decoder"):
        assert_same(state["model"][name], state[name])
    first = jax.tree.map(lambda leaf: leaf[0], state["mixture"])
    assert_same(state["model"]["mixture"], first)
    assert_same(state["model"]["logits"], state["logits"][0])


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"assignment": "mean_field"},
        {"num_samples": 3},
        {"reconstruction_weight": 5.0},
        {"kl_warmup_epochs": 3},
        {"mixture_learning_rate": 0.5},
        {"decay_epochs": 1, "decay": 0.5, "learning_rate_floor": 4e-3},
        {"mixture_decay": 0.1, "decay_epochs": 1},
        {"label_epochs": 0},
        {"pretrain_vae_epochs": 1},
        {"pretrain_layer_epochs": 1, "hidden_sizes": (6, 5)},
        {"likelihood": "bernoulli"},
        {"likelihood": "learned_gaussian"},
        {"init": "spectral", "num_neighbors": 500},
        {"num_clusters": 1},
        {"weight_decay": 0.1},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_settings_run_and_matter(changes):
    model, _, records = brief(**changes)
    assert len(records) == 4
    assert np.isfinite(records[-1]["elbo"])
    reference, _, _ = brief()
    same = jax.tree.structure(model.params) == jax.tree.structure(reference.params)
    assert not same or differ(model.params, reference.params)


def test_a_search_that_needs_an_extra_is_refused_before_any_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynndescent", None)
    monkeypatch.setattr("dgg_jax.graph.neighbors.EXACT_LIMIT", 10)
    spectral, runner = dataclasses.replace(BRIEF, init="spectral"), Run()
    with pytest.raises(NotInstalled, match=r"pip install 'dgg-jax\[approximate\]'"):
        vade.run(blobs()[0], spectral, runner=runner)
    assert runner.records == []
    model, _, records = brief()  # of K-means no neighbours are asked
    assert len(records) == 4
    assert len(vade.run(blobs()[0], spectral, start=model)[2]) == 2


def test_infer_repeats_the_training_data():
    model, state, _ = run()
    x, _ = blobs()
    posterior, log_assignment = model.infer(x)
    np.testing.assert_array_equal(log_assignment, state["log_assignment"])
    np.testing.assert_array_equal(posterior.mean, state["latent_mean"])
    # New rows; a row's answer depends on that row alone.
    new = np.clip(x.astype(np.float64) + 0.01, 0, 1)
    _, log_assignment = model.infer(new[10:40])
    np.testing.assert_array_equal(log_assignment.argmax(axis=1), state["labels"][10:40])


@pytest.mark.parametrize("shape", [(4, 2), (3,), (2, 3, 3)])
def test_infer_needs_the_features_of_training(shape):
    model, _, _ = brief()
    with pytest.raises(InvalidInput) as error:
        model.infer(np.zeros(shape))
    expected = f"x must be [N, 3], as in training, got shape {shape}."
    assert str(error.value) == expected


def test_bad_data_are_refused_before_any_work():
    x, _ = blobs()
    runner = Run()
    bad = x.copy()
    bad[5, 1] = np.inf
    with pytest.raises(InvalidInput, match=r"1 NaN or infinite .* row 5, column 1"):
        vade.run(bad, BRIEF, runner=runner)
    bernoulli = dataclasses.replace(BRIEF, likelihood="bernoulli")
    with pytest.raises(InvalidInput, match=r"needs values in \[0, 1\]"):
        vade.run(x * 2, bernoulli, runner=runner)
    assert runner.history == [] and runner.records == []


# BRIEF asks after its epoch of pretraining, the stage (2), initialize (3), the epoch
# of the fit to labels (4), two of training (6), train (7) and evaluate.
@pytest.mark.parametrize(
    "questions",
    [pytest.param(n, marks=pytest.mark.slow) for n in (1, 3, 5, 7)] + [4],
)
def test_a_stopped_run_continues_bit_equal(tmp_path, questions):
    x, y = blobs()
    left = iter(range(questions - 1))
    runner = Run(tmp_path, should_stop=lambda: next(left, None) is None)
    with pytest.raises(Interrupted):
        vade.run(x, BRIEF, y=y, runner=runner)
    runner.close()
    begun = len(runner.history)
    shown = []
    runner = Run(tmp_path, on_epoch=lambda *arguments: shown.append(arguments))
    model, state, records = vade.run(x, BRIEF, y=y, runner=runner)
    runner.close()
    expected_model, expected, expected_records = brief()
    assert_same(model.params, expected_model.params)
    assert_same(state, expected)
    assert begun + len(shown) == 4
    for record, other in zip(records, expected_records, strict=True):
        assert of_the_run(record) == of_the_run(other)


def test_samples_come_from_their_component():
    model, state, _ = run()
    samples = vade.samples_per_cluster(model, 200, seed=1)
    assert samples.shape == (3, 200, 3)
    x, _ = blobs()
    centers = np.stack([x[state["labels"] == k].mean(axis=0) for k in range(3)])
    distances = np.linalg.norm(samples.mean(axis=1)[:, None] - centers, axis=2)
    np.testing.assert_array_equal(distances.argmin(axis=1), np.arange(3))
    assert_same(samples, vade.samples_per_cluster(model, 200, seed=1))
    assert differ(samples, vade.samples_per_cluster(model, 200, seed=2))
    assert vade.traversals(model, num_steps=3).shape == (3, 2, 3, 3)
