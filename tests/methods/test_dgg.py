import dataclasses
import functools
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgg_jax import data, metrics, presets
from dgg_jax.checks import InvalidInput, NotInstalled
from dgg_jax.graph import graph_information, knn
from dgg_jax.methods import dgg
from dgg_jax.methods.mixture_vae import restart_keys
from dgg_jax.methods.problem import Problem
from dgg_jax.presets import DGGPreset
from dgg_jax.stages import cluster_count
from dgg_jax.stages.cluster_count import ClusterCount
from dgg_jax.training import Diverged, Run, optimize
from dgg_jax.types import Graph
from tests.methods.toy import blobs
from tests.trees import assert_same, differ

PRESET = DGGPreset(
    num_clusters=3,
    likelihood="gaussian",
    variance=0.01,
    hidden_sizes=(16,),
    latent_dim=2,
    pretrain_autoencoder_epochs=40,
    pretrain_vae_epochs=40,
    pretrain_batch_size=10,
    pretrain_learning_rate=1e-2,
    siamese_epochs=2,
    siamese_batch_size=30,
    num_neighbors=6,
    num_candidates=12,
    classifier_epochs=40,
    label_epochs=20,
    epochs=20,
    batch_size=10,
    learning_rate=5e-3,
)
# As small as it gets, where only the way through the code matters.
BRIEF = dataclasses.replace(
    PRESET,
    init="kmeans",
    guard=False,
    hidden_sizes=(5,),
    pretrain_autoencoder_epochs=1,
    pretrain_vae_epochs=1,
    pretrain_batch_size=30,
    siamese_epochs=1,
    classifier_epochs=1,
    label_epochs=0,
    epochs=2,
    batch_size=30,
)
WARPED = dataclasses.replace(BRIEF, siamese_warp=1.0)


@functools.cache
def run(preset=PRESET, seed=0, labels="true"):
    """The result of a run, (model, state, records); kept, for several tests."""
    x, y = blobs()
    y = {"true": y, "none": None, "permuted": np.roll(y, 7) % 2}[labels]
    return dgg.run(x, preset, seed=seed, y=y)


def brief(**changes):
    return run(dataclasses.replace(BRIEF, **changes))


@pytest.mark.parametrize(
    "init", ["spectral", "kmeans", pytest.param("gmm", marks=pytest.mark.slow)]
)
def test_blobs_are_found(init):
    _, state, records = run(dataclasses.replace(PRESET, init=init))
    _, y = blobs()
    assert [record["name"] for record in records] == list(dgg.STAGES)
    assert records[-1]["accuracy"] >= 0.98
    assert records[-1]["accuracy"] == metrics.clustering_accuracy(y, state["labels"])
    assert records[-1]["nmi"] == metrics.normalized_mutual_info(y, state["labels"])
    # Training raises the ELBO of the stage before, and the stages can be compared.
    elbos = {record["name"]: record["elbo"] for record in records}
    assert elbos["train"] > elbos["classifier"]
    assert records[1]["neighbor_purity"] > 0.95


def test_the_state_describes_every_point():
    model, state, _ = run()
    x, _ = blobs()
    assert state["labels"].shape == (len(x),)
    assert state["labels"].dtype == np.int32
    assert state["latent_mean"].shape == (len(x), PRESET.latent_dim)
    probabilities = np.exp(state["log_assignment"])
    assert probabilities.shape == (len(x), 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), state["labels"])
    gamma = np.exp(state["raw_log_assignment"])
    np.testing.assert_array_equal(gamma.argmax(axis=1), state["labels"])
    np.testing.assert_allclose(np.exp(model.log_weights), gamma.mean(axis=0), rtol=1e-5)


def test_elbo_of_a_record_is_the_sum_of_its_terms():
    _, _, records = run()
    terms = ("reconstruction", "latent_prior", "latent_entropy", "cluster_prior")
    for record in records:
        total = sum(record[name] for name in (*terms, "cluster_entropy"))
        np.testing.assert_allclose(record["elbo"], total, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("labels", ["none", "permuted"])
def test_labels_never_influence_training(labels):
    model, state, records = run()
    other_model, other_state, other_records = run(labels=labels)
    assert_same(other_model.params, model.params)
    assert_same(other_state, state)
    for record, other in zip(records, other_records, strict=True):
        assert other["elbo"] == record["elbo"]
        if labels == "none":
            assert other["accuracy"] is other["nmi"] is other["ari"] is None
        else:
            assert other["accuracy"] != record["accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize("distance", ["near", "far"])
def test_training_parts_half_circles_from_kmeans(distance):
    """Figure 1 of DGG, from the paper's start, with nothing of ours to help."""
    circles = data.load("moons", moons_distance=distance)
    preset = dataclasses.replace(
        presets.dgg("moons"), init="kmeans", label_epochs=0, guard=False
    )
    found = dgg.run(circles.x, preset, y=circles.y)
    accuracy = {one["name"]: one.get("accuracy") for one in found.records}
    assert accuracy["initialize"] < 0.9
    assert accuracy["evaluate"] >= 0.99


@pytest.mark.slow
def test_labels_never_choose_a_restart():
    preset = dataclasses.replace(BRIEF, restarts=2)
    _, state, _ = run(preset)
    assert_same(run(preset, labels="permuted")[1], state)
    assert_same(run(preset, labels="none")[1], state)


def test_the_seed_decides_everything():
    x, y = blobs()
    model, state, _ = run()
    again_model, again_state, _ = dgg.run(x, PRESET, seed=0, y=y)
    assert_same(again_model.params, model.params)
    assert_same(again_state, state)


@pytest.mark.parametrize(
    "stage", ["pretrain", "graph", "initialize", "classifier", "train"]
)
def test_another_seed_changes_every_stage(stage):
    """Each stage draws from the seed, not only the first."""

    def key_data(seed):
        x, _ = blobs()
        problem = Problem.of(x, BRIEF, seed=seed)
        keys = jax.random.key_data(restart_keys(problem, stage))
        return keys.tobytes(), problem.numpy_seed(stage)

    keys, numpy_seed = key_data(0)
    other_keys, other_numpy_seed = key_data(1)
    assert keys != other_keys
    assert numpy_seed != other_numpy_seed
    assert (keys, numpy_seed) == key_data(0)


@pytest.mark.slow
def test_another_seed_gives_another_model():
    model, _, _ = brief()
    other, _, _ = run(BRIEF, seed=1)
    for name in ("encoder", "decoder", "classifier", "mixture"):
        assert differ(model.params[name], other.params[name]), name


@functools.cache
def three_restarts():
    return run(dataclasses.replace(BRIEF, label_epochs=0, restarts=3))


@pytest.mark.slow
@pytest.mark.parametrize("restarts", [1, 2])
def test_the_record_of_training_has_its_last_objective(restarts):
    preset = dataclasses.replace(BRIEF, restarts=restarts)
    runner = Run()
    _, _, records = dgg.run(blobs()[0], preset, runner=runner)
    (last,) = (
        line for line in runner.history if (line["loop"], line["epoch"]) == ("train", 2)
    )
    record = records[dgg.STAGES.index("train")]
    values = [one["objective"] for one in record.get("restarts", [record])]
    np.testing.assert_array_equal(values, np.atleast_1d(last["objective"]))
    assert "objective" not in records[dgg.STAGES.index("classifier")]


@pytest.mark.slow
def test_without_training_there_is_no_objective():
    _, _, records = brief(epochs=0)
    assert "objective" not in records[dgg.STAGES.index("train")]


@pytest.mark.slow
def test_the_restart_with_the_most_graph_information_is_kept():
    model, state, records = three_restarts()
    values = [one["graph_information"] for one in records[-1]["restarts"]]
    best = int(np.argmax(values))
    assert len(values) == 3 and len(set(values)) > 1
    assert int(state["restart"]) == best
    assert records[-1]["graph_information"] == values[best] == max(values)
    labels = state["log_assignments"].argmax(axis=2)
    expected = [graph_information(Graph(**state["init_graph"]), row) for row in labels]
    np.testing.assert_allclose(values, expected)
    chosen = jax.tree.map(lambda leaf: leaf[best], state["models"])
    assert_same(state["model"], chosen)
    assert_same(dict(model.params, mixture=model.params["mixture"]._asdict()), chosen)
    np.testing.assert_array_equal(
        state["raw_log_assignment"], state["log_assignments"][best]
    )


@pytest.mark.slow
def test_an_early_restart_may_win(monkeypatch):
    """Whichever it is: the choice follows the standing, not the position."""
    x, y = blobs()
    preset = dataclasses.replace(BRIEF, restarts=3, guard=True)
    label_metrics = dgg._label_metrics
    for best in range(3):
        calls = iter(range(100))

        def rigged(problem, state, labels, best=best, calls=calls):
            values = label_metrics(problem, state, labels)
            # Of the three restarts in each of four stages, in turn.
            values["standing"] = float(next(calls) % 3 == best)
            return values

        monkeypatch.setattr(dgg, "_label_metrics", rigged)
        _, state, records = dgg.run(x, preset, y=y)
        assert int(state["restart"]) == best
        assert records[-1]["standing"] == 1.0
        assert records[-2]["elbo"] == records[-2]["restarts"][best]["elbo"]


@pytest.mark.slow
def test_training_that_breaks_clusters_up_is_undone(monkeypatch, caplog):
    """Of two restarts, one whose trained model puts all points into one cluster."""
    x, y = blobs()
    preset = dataclasses.replace(BRIEF, guard=True, restarts=2, label_epochs=30)

    def broken(loop, *arguments, params=None, **keywords):
        if loop != "train":
            given = {} if params is None else {"params": params}
            return optimize(loop, *arguments, **given, **keywords)
        params = jax.tree.map(jnp.array, params)
        output = params["classifier"]["output"]
        output["bias"] = output["bias"].at[1, 0].add(1e3)
        return SimpleNamespace(params=params)

    monkeypatch.setattr(dgg, "optimize", broken)
    with caplog.at_level("DEBUG", "dgg_jax"):
        _, _, records = dgg.run(x, preset, y=y)
    assert "the model from before it is kept" in caplog.text
    reports = {record["name"]: record.get("restarts") for record in records}
    kept = [one["stage_kept"] for one in reports["train"]]
    assert kept == ["train", "classifier"]
    assert reports["train"][1]["undone"]["standing"] < 0.5
    for before, after in zip(reports["classifier"], reports["train"], strict=True):
        assert before["graph_information"] > 0.1
        kept = {name: after[name] for name in before if name != "labels_followed"}
        assert kept == {name: before[name] for name in kept}


def test_restarts_differ_and_share_the_first_stages():
    _, state, records = three_restarts()
    for one, other in ((0, 1), (0, 2), (1, 2)):
        for name in ("encoder", "decoder", "classifier", "mixture"):
            tree = state["models"][name]
            first = jax.tree.map(lambda leaf, one=one: leaf[one], tree)
            second = jax.tree.map(lambda leaf, other=other: leaf[other], tree)
            assert differ(first, second), name
    for record in records[:2]:
        assert "restarts" not in record
    for record in records[2:]:
        assert len(record["restarts"]) == 3
        best = record["restarts"][int(state["restart"])]
        assert {name: record[name] for name in best} == best


def test_initial_labels_do_not_depend_on_the_neighbours_of_training():
    one, other = (
        brief(num_neighbors=s, init_neighbors=6, neighbor_choice="random")[1]
        for s in (2, 6)
    )
    assert one["graph"]["indices"].shape[1] == 2
    for state in (one, other):
        assert state["init_graph"]["indices"].shape[1] == 6
    assert_same(other["graph"], other["init_graph"])
    np.testing.assert_array_equal(one["initial_labels"], other["initial_labels"])
    _, nearest, _ = brief(num_neighbors=6, init_neighbors=6)
    assert_same(nearest["init_graph"], other["init_graph"])
    assert (nearest["graph"]["indices"] != other["graph"]["indices"]).any()


def test_one_restart_is_the_first_of_one():
    _, state, records = run()
    assert int(state["restart"]) == 0
    assert [len(record.get("restarts", [0])) for record in records] == [1] * 6


@pytest.mark.parametrize(
    "likelihood",
    [
        pytest.param("bernoulli", marks=pytest.mark.slow),
        "gaussian",
        pytest.param("learned_gaussian", marks=pytest.mark.slow),
    ],
)
def test_every_likelihood_runs(likelihood):
    model, state, records = brief(likelihood=likelihood)
    assert np.isfinite(records[-1]["elbo"])
    decoded = model.decode(state["latent_mean"])
    assert decoded.shape == blobs()[0].shape
    if likelihood == "bernoulli":
        assert decoded.min() >= 0.0 and decoded.max() <= 1.0
    assert ("logvar" in model.params["decoder"]) == (likelihood == "learned_gaussian")


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"objective": "tuple"},
        {"siamese_epochs": 0},
        {"siamese_init": "random"},
        {"pretrain_layer_epochs": 1, "hidden_sizes": (6, 5)},
        {"hidden_sizes": (), "siamese_epochs": 0},
        {"classifier_hidden_sizes": (4,), "classifier_input": "mean"},
        {"neighbor_choice": "nearest", "neighbor_weights": "gaussian"},
        {"num_neighbors": 500, "num_candidates": 500},
        {"batch_size": 500, "pretrain_batch_size": 500, "siamese_batch_size": 500},
        {"num_clusters": 1},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_settings_run_and_matter(changes):
    model, _, records = brief(**changes)
    assert len(records) == 6
    assert np.isfinite(records[-1]["elbo"])
    reference, _, _ = brief()
    same = jax.tree.structure(model.params) == jax.tree.structure(reference.params)
    assert not same or differ(model.params, reference.params)


def test_a_search_that_needs_an_extra_is_refused_before_any_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynndescent", None)
    monkeypatch.setattr("dgg_jax.graph.neighbors.EXACT_LIMIT", 10)
    x = np.tile(blobs()[0], (2, 1))
    for work in (dgg.run, dgg.count_clusters):
        runner = Run()
        with pytest.raises(NotInstalled, match=r"pip install 'dgg-jax\[approximate\]'"):
            work(x, BRIEF, runner=runner)
        assert runner.records == []
    given = knn(x, 12, method="exact")
    assert len(dgg.run(x, BRIEF, neighbors=given)[2]) == 6


def test_stages_of_no_epochs_leave_parameters_alone():
    stopped = {"label_epochs": 0, "classifier_epochs": 0, "epochs": 0}
    _, state, _ = brief(**stopped)
    assert_same(state["model"]["encoder"], state["encoder"])
    assert_same(state["model"]["decoder"], state["decoder"])
    mixture = jax.tree.map(lambda leaf: leaf[0], state["mixture"])
    assert_same(state["model"]["mixture"], mixture)


def test_infer_repeats_the_training_data():
    model, state, _ = run()
    x, _ = blobs()
    posterior, log_assignment = model.infer(x)
    np.testing.assert_array_equal(log_assignment, state["raw_log_assignment"])
    np.testing.assert_array_equal(posterior.mean, state["latent_mean"])
    calibrated = model.log_probabilities(posterior.mean, log_assignment)
    np.testing.assert_array_equal(calibrated, state["log_assignment"])
    # A row's answer depends on that row alone.
    posterior, log_assignment = model.infer(x[[70, 3]])
    np.testing.assert_allclose(
        log_assignment, state["raw_log_assignment"][[70, 3]], atol=1e-5
    )
    np.testing.assert_allclose(posterior.mean, state["latent_mean"][[70, 3]], atol=1e-5)


def test_infer_of_new_rows_finds_their_blobs():
    model, state, _ = run()
    x, _ = blobs()
    new = np.clip(x.astype(np.float64) + 0.01, 0, 1)
    _, log_assignment = model.infer(new)
    np.testing.assert_array_equal(log_assignment.argmax(axis=1), state["labels"])


@pytest.mark.parametrize("shape", [(4, 2), (4, 4), (3,), (2, 3, 3), (0,)])
def test_infer_needs_the_features_of_training(shape):
    model, _, _ = run()
    with pytest.raises(InvalidInput) as error:
        model.infer(np.zeros(shape))
    expected = f"x must be [N, 3], as in training, got shape {shape}."
    assert str(error.value) == expected


def test_images_are_warped_for_the_siamese_network_alone():
    x, y = blobs()
    _, plain, _ = brief()
    _, warped, _ = dgg.run(x, WARPED, y=y, image_shape=(1, 3))
    assert_same(plain["encoder"], warped["encoder"])
    assert differ(plain["graph"], warped["graph"])
    _, same, _ = dgg.run(x, BRIEF, y=y, image_shape=(1, 3))
    assert_same(plain["graph"], same["graph"])
    assert_same(plain["model"], same["model"])


@pytest.mark.parametrize("objective", ["node", "tuple"])
def test_images_are_warped_in_training_by_a_weight_of_their_own(objective):
    x, y = blobs()
    told = {"y": y, "image_shape": (1, 3)}
    plain = dataclasses.replace(WARPED, objective=objective)
    _, without, _ = dgg.run(x, plain, **told)
    weighed = dataclasses.replace(plain, warp_weight=50.0)
    _, with_weight, _ = dgg.run(x, weighed, **told)
    assert_same(without["graph"], with_weight["graph"])  # all before it is as it was
    assert differ(without["model"], with_weight["model"])
    no_warps = {"siamese_warp": 0.0, "objective": objective}
    _, unwarped, _ = dgg.run(x, dataclasses.replace(weighed, **no_warps), **told)
    _, same, _ = dgg.run(x, dataclasses.replace(BRIEF, **no_warps), **told)
    assert_same(unwarped["model"], same["model"])


def test_images_that_miss_pixels_are_not_warped_in_training():
    x, y = blobs()
    x = np.where(np.arange(x.size).reshape(x.shape) % 11 == 0, np.nan, x)
    told = {"y": y, "image_shape": (1, 3)}
    _, plain, _ = dgg.run(x, WARPED, **told)
    weighed = dataclasses.replace(WARPED, warp_weight=50.0)
    _, same, _ = dgg.run(x, weighed, **told)
    assert_same(plain["model"], same["model"])


def test_clusters_are_counted_of_warped_images_too(monkeypatch):
    x = np.concatenate([blobs()[0]] * 2)
    seen = []

    def estimate(points, seed, progress):
        seen.append(np.asarray(points))
        return ClusterCount((5, 6), (3, 2), 3)

    monkeypatch.setattr(cluster_count, "estimate_num_clusters", estimate)
    for image_shape in (None, (1, 3), (3, 1)):
        dgg.count_clusters(x, WARPED, Run(), image_shape=image_shape)
    assert all(differ(seen[0], others) for others in seen[1:])
    assert differ(seen[1], seen[2])


def test_a_run_in_a_shared_folder_tells_warped_embeddings_apart(tmp_path):
    x, _ = blobs()
    graphs = []
    for image_shape in (None, (1, 3), (1, 3)):
        runner = Run(shared=tmp_path)
        _, state, _ = dgg.run(x, WARPED, runner=runner, image_shape=image_shape)
        runner.close()
        graphs.append(state["graph"])
        siamese = [line for line in runner.history if line["loop"] == "siamese"]
        assert len(siamese) == (1 if len(graphs) < 3 else 0)  # the third takes it over
    assert differ(graphs[0], graphs[1])
    assert_same(graphs[1], graphs[2])


def test_warps_of_rows_that_no_one_calls_images_are_warned_of(caplog):
    x, _ = blobs()
    _, plain, _ = brief()
    with caplog.at_level("WARNING"):
        _, state, _ = dgg.run(x, WARPED)
    assert "siamese_warp=1 warps images, and image_shape is not given" in caplog.text
    assert_same(plain["graph"], state["graph"])


@pytest.mark.parametrize("shape", [(2, 2), (3,), 3])
def test_the_shape_of_an_image_must_fit_a_row(shape):
    x, _ = blobs()
    runner = Run()
    with pytest.raises(InvalidInput, match=r"image_shape must be \(H, W\).*D = 3"):
        dgg.run(x, BRIEF, runner=runner, image_shape=shape)
    assert runner.records == runner.history == []


def test_bad_data_are_refused_before_any_work():
    x, _ = blobs()
    calls = []
    runner = Run(on_epoch=lambda *arguments: calls.append(arguments))
    bad = x.copy()
    bad[5, 1] = np.inf
    with pytest.raises(InvalidInput, match=r"1 NaN or infinite .* row 5, column 1"):
        dgg.run(bad, BRIEF, runner=runner)
    with pytest.raises(InvalidInput, match=r"num_clusters=3 exceeds the 2 rows"):
        dgg.run(x[:2], BRIEF, runner=runner)
    bernoulli = dataclasses.replace(BRIEF, likelihood="bernoulli")
    with pytest.raises(InvalidInput, match=r"needs values in \[0, 1\]"):
        dgg.run(x * 2, bernoulli, runner=runner)
    dgg.run(x * 2, dataclasses.replace(BRIEF, epochs=0))  # only Bernoulli minds
    assert calls == [] and runner.records == []


@pytest.mark.slow
def test_a_last_update_that_diverges_is_seen():
    """A loop sees its parameters at its next step; after the last there is none."""
    x, _ = blobs()
    preset = dataclasses.replace(
        BRIEF, label_epochs=0, epochs=1, batch_size=500, learning_rate=1e30
    )
    with pytest.raises(Diverged, match=r"^\w+ is not finite in the evaluation of"):
        dgg.run(x, preset)


@pytest.fixture(scope="module")
def in_a_folder(tmp_path_factory):
    """The model of a run in a folder."""
    x, y = blobs()
    runner = Run(tmp_path_factory.mktemp("run"))
    model, _, _ = dgg.run(x, BRIEF, seed=1, y=y, runner=runner)
    runner.close()
    return model


def test_a_run_in_a_folder_equals_one_in_memory(in_a_folder):
    model = in_a_folder
    other, _, _ = run(BRIEF, seed=1)
    assert_same(other.params, model.params)
    assert differ(brief()[0].params, model.params)


def test_traversals_follow_figure_2():
    model, _, _ = run()
    values = dgg.traversals(model)
    num_clusters, latent_dim, num_features = 3, 2, 3
    assert values.shape == (num_clusters, latent_dim, 15, num_features)
    mixture = jax.tree.map(np.asarray, model.params["mixture"])
    for k in range(num_clusters):
        for dimension in range(latent_dim):
            for j in range(1, 16):  # the paper counts from 1, erratum E34
                z = mixture.mean[k].copy()
                sigma = np.exp(mixture.logvar[k, dimension] / 2)
                z[dimension] += 4 * (-1 + (j - 1) / 7) * sigma
                np.testing.assert_allclose(
                    values[k, dimension, j - 1], model.decode(z[None])[0], atol=1e-4
                )
    # The middle is the component's mean, whatever the dimension.
    centers = model.decode(mixture.mean)
    np.testing.assert_allclose(values[:, 0, 7], centers, atol=1e-5)
    np.testing.assert_allclose(values[:, 1, 7], centers, atol=1e-5)
    assert dgg.traversals(model, num_steps=3).shape == (3, 2, 3, 3)


def test_samples_come_from_their_component():
    model, state, _ = run()
    samples = dgg.samples_per_cluster(model, 200, seed=1)
    assert samples.shape == (3, 200, 3)
    x, _ = blobs()
    for k in range(3):
        members = x[state["labels"] == k]
        np.testing.assert_allclose(
            samples[k].mean(axis=0), members.mean(axis=0), atol=0.15
        )
    assert_same(samples, dgg.samples_per_cluster(model, 200, seed=1))
    assert differ(samples, dgg.samples_per_cluster(model, 200, seed=2))
    # Within a component every draw is another.
    assert len(np.unique(samples[0], axis=0)) == 200


@pytest.mark.parametrize(
    ("changes", "given"),
    [
        ({"graph_of": "data", "device_memory_share": 1e-12}, False),
        ({"graph_of": "latents"}, False),
        ({}, True),
    ],
)
def test_clusters_are_counted_where_neighbors_are_near(monkeypatch, changes, given):
    x = np.concatenate([blobs()[0]] * 2)
    seen = []

    def estimate(points, seed, progress):
        seen.append(np.asarray(points[np.arange(len(points))]))
        return ClusterCount((5, 6), (3, 2), 3)

    monkeypatch.setattr(cluster_count, "estimate_num_clusters", estimate)
    preset, runner = dataclasses.replace(BRIEF, **changes), Run()
    neighbors = knn(x, 5) if given else None
    count = dgg.count_clusters(x, preset, runner, neighbors=neighbors)
    assert count == ClusterCount((5, 6), (3, 2), 3)
    assert runner.records[0]["num_clusters"] == 3
    (points,) = seen
    if changes.get("graph_of") == "latents":
        assert points.shape == (180, 2)
        assert {line["loop"] for line in runner.history} == {"autoencoder", "vae"}
    else:
        np.testing.assert_array_equal(points, x)
        assert runner.history == []  # nothing is trained for it


def resting(number, moved=0.0, gain=0.0, start=100.0):
    """Epochs of which all after the second are alike."""
    objective = [-start, *(gain * epoch for epoch in range(number - 1))]
    return [{"moved": moved, "objective": one} for one in objective]


@pytest.mark.parametrize(
    ("epochs", "tolerance", "ends"),
    [
        (resting(20), 1e-3, True),
        (resting(9), 1e-3, False),  # too few to tell
        (resting(20), 0.0, False),
        (resting(20, moved=2e-3), 1e-3, False),
        (resting(20, gain=2.0), 1e-3, True),  # 10 of 132
        (resting(20, gain=6.0), 1e-3, False),  # 30 of 196
    ],
)
def test_training_ends_when_clusters_and_objective_rest(epochs, tolerance, ends):
    assert dgg.has_converged(epochs, tolerance) == ends


def test_training_ends_when_all_restarts_rest():
    still, moving = resting(20), resting(20, moved=0.5)

    def together(*restarts):
        return [
            {name: [one[name] for one in of_epoch] for name in of_epoch[0]}
            for of_epoch in zip(*restarts, strict=True)
        ]

    assert dgg.has_converged(together(still, still), 1e-3)
    assert not dgg.has_converged(together(still, moving), 1e-3)


@pytest.mark.parametrize(
    ("standings", "ends"),
    [
        ([[0.6, 0.4]] * 5 + [[0.4, 0.3]] * 10, True),
        ([[0.4, 0.3]] * 9, False),  # too few to tell
        ([[0.485, 0.385]] * 10, True),
        ([[0.4, 0.3]] * 9 + [[0.4, 0.395]], False),  # by what says nothing
        ([[0.6, 0.3]] * 15, False),  # one of the restarts does well
    ],
)
def test_training_ends_where_clusters_stand_worse_than_before(standings, ends):
    epochs = [{"standing": standing} for standing in standings]
    assert dgg.stands_worse(epochs, [0.5, 0.4]) == ends
    # Of a single restart a number, or, before it is written, a list of one.
    alone = [{"standing": max(one)} for one in standings]
    alone[-1] = {"standing": [max(standings[-1])]}
    assert dgg.stands_worse(alone, [0.5]) == (ends or len(alone) == 10)


def of_training(runner):
    return [epoch for epoch in runner.history if epoch["loop"] == "train"]


@pytest.mark.parametrize(("changes", "epochs"), [({}, 10), ({"guard": False}, 14)])
def test_vain_training_ends_early_where_it_is_guarded(monkeypatch, changes, epochs):
    x, y = blobs()
    changes = {"guard": True, "epochs": 14, "tolerance": 0.0} | changes
    worse = {"standing": [-1.0]}
    table_metrics = lambda *arguments, **keywords: worse  # noqa: E731
    monkeypatch.setattr(dgg.mixture_vae, "table_metrics", table_metrics)
    runner = Run()
    _, _, records = dgg.run(
        x, dataclasses.replace(BRIEF, **changes), y=y, runner=runner
    )
    assert records[-2]["epochs"] == epochs
    assert len(of_training(runner)) == epochs


def test_the_standing_of_every_epoch_is_told():
    runner = Run()
    x, y = blobs()
    preset = dataclasses.replace(BRIEF, guard=True, epochs=2)
    dgg.run(x, preset, y=y, runner=runner)
    standings = [epoch["standing"] for epoch in of_training(runner)]
    assert len(standings) == 2 and all(-1.0 < one < 2.0 for one in standings)


@pytest.mark.parametrize(
    ("clusters", "standing", "is_undone"),
    [(2, 0.5, False), (2, 0.495, False), (2, 0.485, True), (1, 0.9, True)],
)
@pytest.mark.parametrize("guard", [True, False])
def test_what_undoes_training(monkeypatch, clusters, standing, is_undone, guard):
    """Fewer clusters, or a standing that has fallen by more than chance."""
    before, after = np.zeros((1, 3, 2)), np.ones((1, 3, 2))
    after[..., 1] = 2.0
    said = {0: (2, 0.5), 1: (clusters, standing)}  # by the first row's label
    monkeypatch.setattr(dgg, "_standing", lambda problem, state, row: said[row[0]])
    problem = SimpleNamespace(preset=DGGPreset(guard=guard), links=None)
    tables = ({"log_assignments": before}, {"log_assignments": after})
    assert dgg._is_undone(problem, *tables).tolist() == [is_undone and guard]


@pytest.mark.parametrize("num_columns", [2, 3])
def test_latents_as_many_as_columns_are_no_candidates(num_columns):
    x, _ = blobs()
    settings = {"init": "ensemble", "siamese_epochs": 0}
    preset = dataclasses.replace(BRIEF, **settings)
    _, _, records = dgg.run(x[:, :num_columns], preset)
    (initialize,) = [one for one in records if one["name"] == "initialize"]
    spaces = {one["space"] for one in initialize["candidates"]}
    assert ("latents" in spaces) == (num_columns > preset.latent_dim)


@pytest.mark.parametrize("is_fitted", [True, False])
def test_labels_that_the_model_does_not_follow_are_told_of(
    is_fitted, monkeypatch, caplog
):
    x, _ = blobs()

    def unfitted(loop, loss, params, *arguments, **keywords):
        if is_fitted or not loop.startswith(("classifier", "labels")):
            return optimize(loop, loss, params, *arguments, **keywords)
        return SimpleNamespace(params=params)

    monkeypatch.setattr(dgg, "optimize", unfitted)
    with caplog.at_level("WARNING", "dgg_jax"):
        dgg.run(x, dataclasses.replace(BRIEF, guard=True, label_epochs=30))
    told = "of the labels that it starts from" in caplog.text
    assert told != is_fitted
