import dataclasses
import functools

import jax
import numpy as np
import pytest
from scipy import special, stats

from dgg_jax import metrics
from dgg_jax.checks import InvalidInput
from dgg_jax.methods import gmvae
from dgg_jax.presets import GMVAEPreset
from dgg_jax.training import Diverged, Interrupted, Run
from tests.trees import assert_same, differ, of_the_run

POINTS = 30  # of each blob
PRESET = GMVAEPreset(
    num_clusters=3,
    likelihood="gaussian",
    variance=0.02,
    hidden_sizes=(24,),
    component_hidden_size=24,
    latent_dim=2,
    w_dim=2,
    num_samples=4,
    information_constraint=1.0,  # without it the components, which start close, merge
    epochs=80,
    batch_size=15,
    learning_rate=5e-3,
)
# As small as it gets, where only the way through the code matters.
BRIEF = dataclasses.replace(
    PRESET,
    hidden_sizes=(5,),
    component_hidden_size=5,
    num_samples=1,
    epochs=2,
    batch_size=30,
)
SIDE = 12  # the smallest images that the layers of table A.1 tile
IMAGES = dataclasses.replace(
    BRIEF, architecture="mnist", likelihood="bernoulli", num_clusters=2, batch_size=8
)
TERMS = ("reconstruction", "conditional_prior", "w_prior", "cluster_prior")


@functools.cache
def blobs():
    """Three well separated blobs in the plane, in random order."""
    random = np.random.default_rng(0)
    centers = np.array([[0.1, 0.1], [0.9, 0.2], [0.3, 0.9]])
    y = random.permutation(np.repeat(np.arange(3), POINTS))
    x = centers[y] + 0.03 * random.normal(size=(3 * POINTS, 2))
    return x.astype(np.float32), y


@functools.cache
def images():
    """Bright left halves and bright right halves; the last 6 of 22 are the test."""
    random = np.random.default_rng(0)
    y = random.permutation(np.arange(22) % 2)
    bright = (np.arange(SIDE) < SIDE // 2)[None, None] == y[:, None, None]
    x = np.where(bright, 0.8, 0.1) + 0.1 * random.uniform(size=(22, SIDE, SIDE))
    return x.reshape(22, -1).astype(np.float32), y, np.arange(22) >= 16


@functools.cache
def run(preset=PRESET, seed=0, labels="true"):
    """The result of a run on blobs, (model, state, records)."""
    x, y = blobs()
    y = {"true": y, "none": None, "permuted": np.roll(y, 7) % 2}[labels]
    return gmvae.run(x, preset, seed=seed, y=y)


def brief(**changes):
    return run(dataclasses.replace(BRIEF, **changes))


def run_images(runner=None):
    x, y, is_test = images()
    return gmvae.run(
        x, IMAGES, y=y, runner=runner, feature_shape=(SIDE, SIDE), is_test=is_test
    )


image_run = functools.cache(run_images)


def test_blobs_are_found():
    model, state, records = run()
    x, y = blobs()
    assert [record["name"] for record in records] == list(gmvae.STAGES)
    assert records[-1]["accuracy"] >= 0.95
    assert records[-1]["confident_label_accuracy"] >= 0.95
    assert records[-1]["accuracy"] == metrics.clustering_accuracy(y, state["labels"])
    assert records[-1]["nmi"] == metrics.normalized_mutual_info(y, state["labels"])
    assert state["labels"].shape == (len(x),)
    assert state["labels"].dtype == np.int32
    assert state["latent_mean"].shape == (len(x), PRESET.latent_dim)
    probabilities = np.exp(state["log_assignment"])
    assert probabilities.shape == (len(x), 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), state["labels"])
    for record in records:
        total = sum(record[name] for name in TERMS)
        np.testing.assert_allclose(record["elbo"], total, rtol=1e-4, atol=1e-4)
    assert abs(records[1]["elbo"] - records[0]["elbo"]) < 0.5
    assert model.collections == () and "collections" not in state


def test_samples_come_from_their_component():
    model, state, _ = run()
    x, _ = blobs()
    samples = gmvae.samples_per_cluster(model, 200, seed=1)
    assert samples.shape == (3, 200, 2)
    centers = np.stack([x[state["labels"] == k].mean(axis=0) for k in range(3)])
    distances = np.linalg.norm(samples.mean(axis=1)[:, None] - centers, axis=2)
    np.testing.assert_array_equal(distances.argmin(axis=1), np.arange(3))
    assert_same(samples, gmvae.samples_per_cluster(model, 200, seed=1))
    assert differ(samples, gmvae.samples_per_cluster(model, 200, seed=2))


def test_samples_at_one_w_are_of_its_components():
    model, _, _ = run()
    w = np.full((1, model.preset.w_dim), 0.5, np.float32)
    mixture = model.networks.components(model.params, w)
    means = model.decode(np.asarray(mixture.mean[0]))
    samples = gmvae.samples_per_cluster(model, 400, seed=1, w=w)
    error = samples.std(axis=1) / 20  # of the mean of 400
    # Decoded means are not the mean of what is decoded, but nearly, so close to them.
    assert (np.abs(samples.mean(axis=1) - means) < 5 * error + 0.1).all()


def test_styles_begin_and_end_at_draws_of_w():
    model, _, _ = run()
    styles = gmvae.style_traversals(model, 5, seed=3)
    assert styles.shape == (3, 5, 2)
    ends = jax.random.normal(jax.random.key(3), (2, 1, model.preset.w_dim))
    for step, w in ((0, ends[0]), (4, ends[1])):
        mixture = model.networks.components(model.params, w)
        expected = model.decode(np.asarray(mixture.mean[0]))
        np.testing.assert_allclose(styles[:, step], expected, rtol=1e-4, atol=1e-5)


def test_assignments_are_bayes_at_the_means():
    """Eq. (3) with a uniform pi, by scipy, from the networks' outputs."""
    model, state, _ = run()
    x, _ = blobs()
    (z, w), _ = model.networks.recognize(model.params, (), x, False)
    mixtures = model.networks.components(model.params, w.mean)
    scale = np.exp(np.float64(mixtures.logvar) / 2)
    densities = stats.norm.logpdf(np.float64(z.mean)[:, None], mixtures.mean, scale)
    expected = special.softmax(densities.sum(axis=2), axis=1)
    actual = np.exp(state["log_assignment"])
    np.testing.assert_allclose(actual, expected, rtol=1e-2, atol=1e-5)
    np.testing.assert_allclose(state["latent_mean"], z.mean, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("labels", ["permuted", "none"])
def test_labels_never_influence_training(labels):
    model, state, records = brief()
    other_model, other_state, other_records = run(BRIEF, labels=labels)
    assert_same(other_model.params, model.params)
    assert_same(other_state, state)
    for record, other in zip(records, other_records, strict=True):
        assert other["elbo"] == record["elbo"]
        if labels == "none":
            assert other["accuracy"] is other["nmi"] is other["ari"] is None
            assert other["confident_label_accuracy"] is None
        else:
            assert other["accuracy"] != record["accuracy"]


def test_the_seed_decides_everything():
    x, y = blobs()
    model, state, _ = brief()
    again_model, again_state, _ = gmvae.run(x, BRIEF, seed=0, y=y)
    assert_same(again_model.params, model.params)
    assert_same(again_state, state)
    other, _, _ = run(BRIEF, seed=1)
    for name in ("recognition", "components", "decoder"):
        assert differ(model.params[name], other.params[name]), name


@pytest.mark.slow
def test_the_papers_score_is_not_the_accuracy():
    """With more clusters than classes: two may share a label in it alone."""
    _, state, records = run(dataclasses.replace(PRESET, num_clusters=6))
    _, y = blobs()
    confident = metrics.most_confident_label_accuracy(y, state["log_assignment"])
    for record in records:
        assert record["confident_label_accuracy"] == confident
        accuracy = metrics.clustering_accuracy(y, state["labels"])
        assert record["accuracy"] == accuracy < confident


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"likelihood": "learned_gaussian"},
        {"num_samples": 3},
        {"conditional_prior": "joint"},
        {"information_constraint": 0.0},
        {"decay": 0.1, "decay_epochs": 1},
        {"weight_decay": 0.5},
        {"num_clusters": 1},
        {"batch_size": 500},
        {"hidden_sizes": ()},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_settings_run_and_matter(changes):
    model, _, records = brief(**changes)
    assert np.isfinite(records[-1]["elbo"])
    reference, _, _ = brief()
    same = jax.tree.structure(model.params) == jax.tree.structure(reference.params)
    assert not same or differ(model.params, reference.params)


def test_metrics_show_the_bound_below_the_constraint():
    x, _ = blobs()
    runner = Run()
    preset = dataclasses.replace(BRIEF, information_constraint=5.0)
    gmvae.run(x, preset, runner=runner)
    for line in runner.history:
        assert -np.log(3.0) <= line["cluster_prior"] <= 0.0
        plain = sum(line[name] for name in TERMS)
        expected = plain - line["cluster_prior"] - 5.0
        assert line["objective"] == pytest.approx(expected, rel=1e-4)


def test_infer_repeats_the_training_data():
    model, state, _ = run()
    x, _ = blobs()
    posterior, log_assignment = model.infer(x)
    np.testing.assert_array_equal(log_assignment, state["log_assignment"])
    np.testing.assert_array_equal(posterior.mean, state["latent_mean"])
    # New rows; a row's answer depends on that row alone.
    _, log_assignment = model.infer(x[10:40].astype(np.float64) + 0.01)
    np.testing.assert_array_equal(log_assignment.argmax(axis=1), state["labels"][10:40])


@pytest.mark.parametrize("shape", [(4, 3), (2,), (2, 2, 2), (4, 1)])
def test_infer_needs_the_features_of_training(shape):
    model, _, _ = brief()
    with pytest.raises(InvalidInput) as error:
        model.infer(np.zeros(shape))
    expected = f"x must be [N, 2], as in training, got shape {shape}."
    assert str(error.value) == expected


def test_bad_data_and_networks_are_refused_before_any_work():
    x, _ = blobs()
    runner = Run()
    bad = x.copy()
    bad[5, 1] = np.nan
    with pytest.raises(InvalidInput, match=r"1 NaN or infinite .* row 5, column 1"):
        gmvae.run(bad, BRIEF, runner=runner)
    mnist = dataclasses.replace(BRIEF, architecture="mnist", likelihood="bernoulli")
    with pytest.raises(InvalidInput) as error:
        gmvae.run(x, mnist, runner=runner)
    assert str(error.value) == (
        "architecture=mnist is convolutional and needs images; a data point here has "
        "shape (2,). Use architecture=dense."
    )
    with pytest.raises(InvalidInput, match="does not fit the layers"):
        gmvae.run(images()[0], mnist, runner=runner, feature_shape=(9, 16))
    gaussian = dataclasses.replace(mnist, likelihood="gaussian")
    with pytest.raises(InvalidInput) as error:
        gmvae.run(images()[0], gaussian, runner=runner, feature_shape=(SIDE, SIDE))
    assert str(error.value) == (
        "architecture=mnist decodes Bernoulli logits, got likelihood=gaussian; use "
        "likelihood=bernoulli or architecture=dense."
    )
    assert runner.history == [] and runner.records == []


def test_check_knows_what_each_architecture_takes():
    dense = BRIEF
    mnist, svhn = (
        dataclasses.replace(BRIEF, architecture=name, likelihood="bernoulli")
        for name in ("mnist", "svhn")
    )
    for preset, shape in (
        (dense, (2,)),
        (dense, (28, 28)),
        (mnist, (28, 28)),
        (mnist, (28, 28, 1)),
        (svhn, (32, 32, 3)),
    ):
        gmvae.check(preset, (5, *shape))
    for preset, shape in ((mnist, (784,)), (svhn, (28, 28)), (mnist, (27, 27))):
        with pytest.raises(InvalidInput):
            gmvae.check(preset, (5, *shape))


@pytest.mark.slow
def test_a_last_update_that_diverges_is_seen():
    x, _ = blobs()
    preset = dataclasses.replace(BRIEF, epochs=1, batch_size=500, learning_rate=1e30)
    with pytest.raises(Diverged, match=r"^\w+ is not finite in the evaluation of"):
        gmvae.run(x, preset)


# Images: convolutions with batch normalisation


@pytest.mark.slow
def test_batch_statistics_follow_the_data():
    model, state, _ = image_run()
    assert set(model.collections) == {"recognition", "decoder"}
    initial = {"mean": 0.0, "var": 1.0}
    for path, leaf in jax.tree.leaves_with_path(model.collections):
        assert np.isfinite(leaf).all()
        assert (leaf != initial[path[-1].key]).any(), jax.tree_util.keystr(path)
    assert_same(model.collections, state["collections"])
    assert_same(model.params, state["params"])


@pytest.mark.slow
def test_inference_takes_the_running_statistics():
    model, state, _ = image_run()
    x, _, _ = images()
    posterior, log_assignment = model.infer(x[[20, 3]])
    expected = state["log_assignment"][[20, 3]]
    np.testing.assert_allclose(log_assignment, expected, rtol=1e-4, atol=1e-4)
    mean = state["latent_mean"][[20, 3]]
    np.testing.assert_allclose(posterior.mean, mean, rtol=1e-4, atol=1e-4)
    changed = dataclasses.replace(
        model, collections=jax.tree.map(lambda leaf: leaf + 1.0, model.collections)
    )
    other, _ = changed.infer(x[[20, 3]])
    assert np.abs(other.mean - mean).max() > 1e-2
    decoded = model.decode(state["latent_mean"])
    assert decoded.shape == x.shape
    assert decoded.min() >= 0.0 and decoded.max() <= 1.0
    assert np.abs(changed.decode(state["latent_mean"]) - decoded).max() > 1e-4


@pytest.mark.slow
def test_a_stopped_run_continues_with_its_statistics(tmp_path):
    runner = Run(tmp_path, should_stop=lambda: True)  # after the first epoch
    with pytest.raises(Interrupted):
        run_images(runner=runner)
    runner.close()
    assert len(runner.history) == 1
    runner = Run(tmp_path)
    _, state, records = run_images(runner=runner)
    runner.close()
    assert len(runner.history) == 2
    _, expected, expected_records = image_run()
    assert_same(state, expected)
    for record, other in zip(records, expected_records, strict=True):
        assert of_the_run(record) == of_the_run(other)


# Rows of a test set


@functools.cache
def is_test():
    return np.arange(3 * POINTS) % 3 == 0


def run_split(x=None, y=None, **settings):
    """BRIEF on the blobs, a third of which are for the test."""
    own_x, own_y = blobs()
    return gmvae.run(
        own_x if x is None else x,
        BRIEF,
        y=own_y if y is None else y,
        is_test=is_test(),
        **settings,
    )


split = functools.cache(run_split)


def test_test_rows_are_not_trained_on():
    x, _ = blobs()
    other = np.where(is_test()[:, None], 1.0 - x, x)
    model, state, _ = run_split(x=other)
    expected_model, expected, _ = split()
    assert_same(model.params, expected_model.params)
    for test, same in ((is_test(), False), (~is_test(), True)):
        actual, known = state["latent_mean"][test], expected["latent_mean"][test]
        assert np.allclose(actual, known, rtol=1e-4, atol=1e-5) == same
    # Without a test set all rows are.
    assert differ(brief()[0].params, expected_model.params)


def test_test_rows_alone_are_scored():
    _, y = blobs()
    test = is_test()
    _, state, records = split()
    assert state["labels"].shape == y.shape
    _, other_state, others = run_split(y=np.where(test, y, 5 + np.arange(90) % 2))
    assert_same(other_state, state)
    names = "accuracy", "nmi", "ari", "confident_label_accuracy", *TERMS
    for record, other in zip(records, others, strict=True):
        assert {n: other[n] for n in names} == {n: record[n] for n in names}
    labels, log_assignment = state["labels"][test], state["log_assignment"][test]
    assert records[-1]["accuracy"] == metrics.clustering_accuracy(y[test], labels)
    confident = metrics.most_confident_label_accuracy(y[test], log_assignment)
    assert records[-1]["confident_label_accuracy"] == confident
    _, _, others = run_split(y=np.where(test, np.arange(90), y))
    assert others[-1]["accuracy"] < records[-1]["accuracy"]


def test_the_bound_is_that_of_the_test_rows():
    _, _, records = split()
    x, _ = blobs()
    other = np.where(is_test()[:, None], x + 10.0, x)
    _, _, far = run_split(x=other)
    for record, moved in zip(records, far, strict=True):
        assert moved["reconstruction"] < record["reconstruction"] - 100.0


@pytest.mark.slow
def test_metrics_of_an_epoch_are_of_the_rows_of_training_and_of_the_test(monkeypatch):
    x, y = blobs()
    tables, runner = [], Run()
    epoch_metrics = gmvae._epoch_metrics

    def spy(problem, networks, scored, state):
        tables.append(np.asarray(state.table))
        return epoch_metrics(problem, networks, scored, state)

    monkeypatch.setattr(gmvae, "_epoch_metrics", spy)
    scored, score = [], metrics.most_confident_label_accuracy

    def scored_by(y, log_assignment):
        scored.append((y, log_assignment))
        return score(y, log_assignment)

    monkeypatch.setattr(metrics, "most_confident_label_accuracy", scored_by)
    outcome = gmvae.run(x, BRIEF, y=y, runner=runner, is_test=is_test())
    for line, table in zip(runner.history, tables, strict=True):
        assert table.shape == (60, 3)
        labels = table.argmax(axis=1)
        accuracy = metrics.clustering_accuracy(y[~is_test()], labels)
        assert line["training_accuracy"] == accuracy
        share = np.bincount(labels, minlength=3).min() / 60
        assert line["smallest_share"] == pytest.approx(share)
    # After the last epoch, those of the test are what the trained model is scored by.
    for last, trained in zip(*scored[len(tables) - 1 : len(tables) + 1], strict=True):
        np.testing.assert_array_max_ulp(np.float32(last), np.float32(trained), 2)
    for name in ("accuracy", "confident_label_accuracy"):
        assert line[name] == outcome.records[0][name]


def test_shape_and_test_rows_must_fit_the_data():
    x, _ = blobs()
    with pytest.raises(InvalidInput, match=r"feature_shape=\(7,\) must have as many"):
        gmvae.run(x, PRESET, feature_shape=(7,))
    for is_test in (np.zeros(len(x), bool), np.ones(len(x), bool), np.ones(3, bool)):
        with pytest.raises(InvalidInput, match="is_test must mark some but not all"):
            gmvae.run(x, PRESET, is_test=is_test)
