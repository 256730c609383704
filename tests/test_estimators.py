"""The estimators, beyond what scikit-learn's own checks know of."""

import dataclasses
import inspect
import json
import pathlib
import pickle
import re
import subprocess
import sys
import warnings

import jax
import numpy as np
import pandas as pd
import pytest
from flax import linen as nn
from scipy import sparse, stats
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import dgg_jax
from dgg_jax import EarlyStopping, methods, metrics, presets
from dgg_jax.checks import InvalidInput
from dgg_jax.likelihoods import GaussianLikelihood
from dgg_jax.methods import dgg
from dgg_jax.stages.cluster_count import ClusterCount
from dgg_jax.types import Gaussian
from tests import constructors
from tests.hardening.check_estimators import NAMES, tiny
from tests.methods.toy import blobs
from tests.trees import assert_same, differ

GENERATIVE = ("DGG", "VaDE", "GMVAE")


@pytest.fixture(scope="module", params=NAMES)
def fitted(request):
    """One fitted estimator of each kind."""
    return tiny(request.param, epochs=2).fit(blobs()[0])


@pytest.fixture(scope="module", params=GENERATIVE)
def generative(request):
    return tiny(request.param, epochs=2).fit(blobs()[0])


def test_the_last_stage_says_whether_clusters_collapsed(fitted):
    last = fitted.stages_[-1]
    counts = np.bincount(fitted.labels_, minlength=3)
    assert last["smallest_share"] == pytest.approx(counts.min() / 90)
    assert last["thin_clusters"] == metrics.thin_clusters(fitted.labels_, 3)
    gamma = getattr(fitted, "probabilities_", np.eye(3)[fitted.labels_])
    weights = getattr(fitted, "raw_probabilities_", gamma).mean(axis=0)
    assert last["perplexity"] == pytest.approx(np.exp(stats.entropy(weights)), rel=1e-5)


def test_fit_warns_of_collapsed_clusters(monkeypatch):
    x, _ = blobs()
    estimator = tiny("DEC", pretrain_autoencoder_epochs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator.fit(x)  # which is sound
    monkeypatch.setattr(metrics, "thin_clusters", lambda labels, num_clusters: [1])
    with pytest.warns(ConvergenceWarning, match="cluster 1 of 3 has less than 3.33%"):
        estimator.fit(x)


def test_attributes(fitted):
    x, _ = blobs()
    assert fitted.labels_.shape == (90,) and fitted.labels_.dtype == np.int32
    assert fitted.n_features_in_ == fitted.n_clusters_ == 3
    assert fitted.n_iter_ == 2
    assert fitted.preset_.num_clusters == 3
    assert fitted.history_[-1]["epoch"] == 2
    assert fitted.stages_[-1]["name"] in ("evaluate", "train", "cluster")
    np.testing.assert_array_equal(fitted.predict(x), fitted.labels_)
    name = type(fitted).__name__
    assert hasattr(fitted, "predict_proba") == (name != "SpectralNet")
    assert hasattr(fitted, "transform") == (name not in ("IMSAT", "CatGAN"))
    if name != "SpectralNet":
        assert fitted.probabilities_.shape == (90, 3)
        np.testing.assert_allclose(fitted.probabilities_.sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_array_equal(fitted.probabilities_.argmax(1), fitted.labels_)
        np.testing.assert_allclose(
            fitted.predict_proba(x), fitted.probabilities_, rtol=1e-5, atol=1e-6
        )
    if hasattr(fitted, "transform"):
        latents = fitted.transform(x)
        assert latents.dtype == np.float32
        np.testing.assert_allclose(latents, fitted.embedding_, rtol=1e-5, atol=1e-6)


def test_an_estimator_is_a_run_of_its_method():
    x, _ = blobs()
    fitted = tiny("DGG").fit(x)
    model, state, _ = dgg.run(x, fitted.preset_, seed=0)
    np.testing.assert_array_equal(state["labels"], fitted.labels_)
    assert_same(model.params, fitted.model_.params)
    np.testing.assert_array_equal(state["graph"]["indices"], fitted.graph_.indices)


def test_new_rows_need_no_company(fitted):
    x, _ = blobs()
    labels = fitted.predict(x)
    np.testing.assert_array_equal(fitted.predict(x[7:8]), labels[7:8])
    np.testing.assert_array_equal(fitted.predict(x[::-1])[::-1], labels)


def test_components(generative):
    assert generative.means_.shape == generative.variances_.shape == (3, 2)
    assert (generative.variances_ > 0).all()
    assert generative.weights_.shape == (3,)
    np.testing.assert_allclose(generative.weights_.sum(), 1.0, rtol=1e-6)


def test_the_decoder_is_the_inverse(generative):
    latents = generative.transform(blobs()[0])
    decoded = generative.inverse_transform(latents)
    assert decoded.shape == (90, 3)
    np.testing.assert_array_equal(decoded, generative.model_.decode(latents))
    with pytest.raises(InvalidInput, match=r"latents must be \[N, 2\].*got shape"):
        generative.inverse_transform(decoded)
    with pytest.raises(ValueError, match="latents contains NaN"):
        generative.inverse_transform(np.full_like(latents, np.nan))


def test_scores_are_elbos_in_nats(generative):
    x, _ = blobs()
    scores = generative.score_samples(x)
    assert scores.shape == (90,)
    assert generative.score(x) == pytest.approx(scores.mean(), rel=1e-6)
    assert generative.score(x) == pytest.approx(
        generative.stages_[-1]["elbo"], rel=1e-4
    )
    outlier = x[:1] + 5.0
    if generative.preset_.likelihood == "gaussian":
        assert generative.score(outlier) < scores.min()
    np.testing.assert_allclose(generative.score_samples(x[4:6]), scores[4:6], rtol=1e-5)


def test_samples(generative):
    x, labels = generative.sample(200)
    assert x.shape == (200, 3) and labels.shape == (200,)
    assert set(labels) <= {0, 1, 2} and len(set(labels)) > 1
    again, same_labels = generative.sample(200)
    np.testing.assert_array_equal(x, again)
    np.testing.assert_array_equal(labels, same_labels)
    one, ones = generative.sample(5, cluster=1)
    assert one.shape == (5, 3) and (ones == 1).all()
    assert len(np.unique(one, axis=0)) == 5
    with pytest.raises(InvalidInput, match=r"cluster must be in \[0, 2\], got 3"):
        generative.sample(1, cluster=3)
    with pytest.raises(InvalidInput, match="n_samples must be at least 1, got 0"):
        generative.sample(0)
    with pytest.raises(InvalidInput, match=r"n_samples must be of type int, got 2\.5"):
        generative.sample(2.5)
    with pytest.raises(InvalidInput, match=r"cluster must be of type int, got 1\.5"):
        generative.sample(2, cluster=1.5)


def test_bic_counts_the_mixture(generative):
    x, _ = blobs()
    if not hasattr(generative, "bic"):
        assert type(generative).__name__ == "GMVAE"
        return
    parameters = 2 * 3 * 2 + 2  # means and variances of 3 components in 2 dimensions
    expected = -2 * generative.score_samples(x).sum() + parameters * np.log(90)
    assert generative.bic(x) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["DGG", "IMSAT"])
def test_any_kind_of_data(name):
    x, _ = blobs()
    x = np.where(x < 0.3, 0, x).astype(np.float32)
    expected = tiny(name).fit(x)
    kinds = {
        "lists": x.astype(float).tolist(),
        "float64": x.astype(np.float64),
        "Fortran": np.asfortranarray(x),
        "jax": jax.numpy.asarray(x),
        "csr_array": sparse.csr_array(x),
        "coo_matrix": sparse.coo_matrix(x),
    }
    for kind, data in kinds.items():
        estimator = tiny(name).fit(data)
        np.testing.assert_array_equal(estimator.labels_, expected.labels_, kind)
        np.testing.assert_array_equal(expected.predict(data), expected.labels_, kind)


def test_a_memory_map_is_not_copied(tmp_path):
    x, _ = blobs()
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    found = []

    def run(x, preset, **keywords):
        found.append(x)
        raise InterruptedError

    estimator = tiny("VaDE", device_memory_share=1e-12)
    with pytest.MonkeyPatch.context() as patch:
        rigged = methods.method("vade")._replace(run=run)
        patch.setitem(methods.METHODS, "vade", rigged)
        with pytest.raises(InterruptedError):
            estimator.fit(mapped)
    assert np.shares_memory(*found, mapped)
    problem = methods.Problem.of(*found, estimator._preset(*found, 3))
    assert np.shares_memory(problem.x.source, mapped)


@pytest.mark.parametrize("module", ["pandas", "polars"])
def test_data_frames(module, tmp_path):
    frames = pytest.importorskip(module)
    x, _ = blobs()
    expected = tiny("VaDE").fit(x)
    frame = frames.DataFrame({name: x[:, i] for i, name in enumerate("abc")})
    estimator = tiny("VaDE").fit(frame)
    np.testing.assert_array_equal(estimator.labels_, expected.labels_)
    assert list(estimator.feature_names_in_) == ["a", "b", "c"]
    assert list(estimator.get_feature_names_out()) == ["vade0", "vade1"]
    np.testing.assert_array_equal(estimator.predict(frame), expected.labels_)
    estimator.save(tmp_path / "model")
    loaded = dgg_jax.load(tmp_path / "model")  # without a warning
    np.testing.assert_array_equal(loaded.predict(frame), expected.labels_)


def test_a_row_has_no_more_neighbours_than_its_cluster_has_rows():
    def of(num_points, num_clusters):
        return presets.for_data("dgg", np.ones((num_points, 11)), num_clusters)

    few, fewer, enough = of(400, 40), of(60, 30), of(400, 20)
    assert (few.num_neighbors, few.init_neighbors) == (10, 10)
    assert few.siamese_candidates == 5
    assert (fewer.num_neighbors, fewer.siamese_candidates) == (5, 2)
    assert (enough.num_neighbors, enough.siamese_candidates) == (20, 10)
    told = presets.for_data("dgg", np.ones((400, 11)), 40, num_neighbors=30)
    assert (told.num_neighbors, told.num_candidates) == (30, 30)


def test_the_likelihood_is_chosen_from_the_data():
    x, _ = blobs()
    chosen = presets.for_data("vade", x, 3)
    assert chosen.likelihood == "bernoulli"
    chosen = presets.for_data("vade", 10 * x, 3)
    assert chosen.likelihood == "gaussian"
    assert chosen.variance == pytest.approx(10 * x.var(axis=0).mean(), rel=1e-5)
    kept = presets.for_data("vade", x, 3, likelihood="gaussian", variance=0.5)
    assert (kept.likelihood, kept.variance) == ("gaussian", 0.5)


def test_few_rows_take_smaller_batches_and_nearer_candidates():
    few = presets.for_data("dgg", np.ones((1800, 11), np.float32), 10)
    many = presets.for_data("dgg", np.ones((70_000, 11), np.float32), 10)
    assert (few.batch_size, many.batch_size) == (64, 256)
    assert (few.num_candidates, many.num_candidates) == (20, 100)
    assert few.pretrain_autoencoder_epochs > many.pretrain_autoencoder_epochs == 15
    assert few.pretrain_vae_epochs > many.pretrain_vae_epochs == 2
    assert few.siamese_candidates > many.siamese_candidates == 2
    assert presets.for_data("dgg", np.eye(40), 2, num_neighbors=30).num_candidates == 30


def test_images_that_are_warped_take_longer_siamese_training():
    x = np.ones((300, 12), np.float32)
    rows = presets.for_data("dgg", x, 3)
    images = presets.for_data("dgg", x, 3, image_shape=(3, 4))
    assert images.siamese_epochs > rows.siamese_epochs
    assert images.siamese_learning_rate > rows.siamese_learning_rate
    assert images.siamese_warp == 3 / 16
    large = presets.for_data("dgg", np.eye(300, 400), 3, image_shape=(20, 20))
    assert large.siamese_warp == 1.0
    still = presets.for_data("dgg", x, 3, image_shape=(3, 4), siamese_warp=0.0)
    assert still == rows
    told = presets.for_data("dgg", x, 3, image_shape=(3, 4), siamese_epochs=2)
    assert told.siamese_epochs == 2


def test_dgg_of_images(tmp_path):
    x, _ = blobs()
    rows = tiny("DGG", siamese_epochs=2, graph_of="siamese").fit(x)
    images = tiny("DGG", siamese_epochs=2, graph_of="siamese", image_shape=(1, 3))
    images.fit(x).save(tmp_path / "model")
    assert differ(rows.graph_, images.graph_)
    loaded = dgg_jax.load(tmp_path / "model")
    assert loaded.image_shape == (1, 3)
    np.testing.assert_array_equal(loaded.predict(x), images.labels_)
    with pytest.raises(ValueError, match=r"image_shape must be .* D = 3, got"):
        tiny("DGG", image_shape=(2, 3)).fit(x)


def test_where_neighbours_are_near_and_how_fast_it_learns():
    dense = presets.for_data("dgg", np.ones((300, 11), np.float32), 3)
    assert (dense.graph_of, dense.learning_rate) == ("siamese", 2e-3)
    steep = presets.for_data("dgg", 2 * np.ones((300, 11), np.float32), 3)
    assert (steep.graph_of, steep.learning_rate) == ("siamese", 5e-4)
    for words in (sparse.eye_array(300, 2000).tocsr(), np.eye(300, 2000)):
        assert presets.for_data("dgg", words, 3).graph_of == "data"
    strokes = presets.for_data("dgg", np.eye(300, 2000), 3, image_shape=(40, 50))
    assert strokes.graph_of == "siamese"
    plane = presets.for_data("dgg", np.eye(300, 2, dtype=np.float32), 3)
    assert (plane.graph_of, plane.num_candidates) == ("data", plane.num_neighbors)
    told = presets.for_data("dgg", np.eye(300, 2), 3, graph_of="latents")
    assert told.graph_of == "latents"


def test_what_is_chosen_from_the_data_is_the_methods_own():
    assert "siamese_warp" in presets.of_the_data("dgg")
    assert presets.of_the_data("spectralnet") == ("batch_size", "siamese_batch_size")


@pytest.mark.parametrize("name", NAMES)
def test_the_constructor_has_every_setting(name):
    cls = getattr(dgg_jax, name)
    parameters = inspect.signature(cls).parameters
    preset = presets.preset_class(cls._method)
    text = inspect.getdoc(cls.__init__)
    for field, value in vars(preset()).items():
        if field in ("num_clusters", "clustering"):
            assert field not in parameters
            continue
        assert parameters[field].default is None
        (told,) = re.findall(rf"^  {field}: ((?:.|\n    )+)$", text, re.M)
        default = f"Default: {value}."
        if field.endswith("epochs") and value:
            default = f"Default: {value}, fewer of more than 70,000 rows."
        if field in presets.of_the_data(cls._method):
            default = "Default: from the data."
        assert value is None or " ".join(told.split()).endswith(default)
    everyones = ["n_clusters", "preset", "image_shape", "random_state", "verbose"]
    if name not in ("DGG", "GMVAE", "SpectralNet", "IMSAT"):
        everyones.remove("image_shape")
    assert list(parameters)[: len(everyones)] == everyones
    assert text.index("\n  verbose: ") < text.index("Expert settings:")
    assert text.index("Expert settings:") < text.index("\n  callbacks: ")
    assert cls(4).get_params()["n_clusters"] == 4
    with pytest.raises(TypeError, match=f"{name} has no argument 'epohcs'; did you"):
        cls(epohcs=3)
    with pytest.raises(TypeError, match="did you mean 'n_clusters'"):
        cls(num_clusters=3)
    with pytest.raises(TypeError, match=rf"no argument 'x'; help\({name}\) lists"):
        cls(x=3)
    assert clone(cls(epochs=7)).epochs == 7
    assert cls().set_params(epochs=9).epochs == 9


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_has_what_is_not_given(name):
    x, _ = blobs()
    cls, method = getattr(dgg_jax, name), getattr(dgg_jax, name)._method
    default = cls(3)._preset(x, 3)
    assert default == presets.for_data(method, x, 3)
    smoke = clone(cls(3, preset="smoke"))
    assert smoke._preset(x, 3) == presets.for_data(method, x, 3, name="smoke")
    assert smoke._preset(x, 3).epochs < default.epochs
    smoke.set_params(epochs=7, hidden_sizes=[8])
    given = {"epochs": 7, "hidden_sizes": (8,)}
    changed = dataclasses.replace(presets.for_data(method, x, 3, name="smoke"), **given)
    assert smoke._preset(x, 3) == changed
    assert smoke.set_params(epochs=None)._preset(x, 3).epochs < 7


def test_the_preset_of_an_estimator(tmp_path):
    x, _ = blobs()
    settings = {"hidden_sizes": (8,), "latent_dim": 2, "random_state": 0}
    fitted = dgg_jax.VaDE(3, preset="smoke", **settings).fit(x)
    assert fitted.preset_.epochs == 3 and fitted.preset_.hidden_sizes == (8,)
    fitted.save(tmp_path / "model")
    loaded = dgg_jax.load(tmp_path / "model")
    assert loaded.get_params() == fitted.get_params()
    assert loaded.preset == "smoke" and loaded.epochs is None
    for name, message in (
        ("paper", "preset='paper' has the values of the papers or their code"),
        ("released", "preset='released' has the values of the papers or their code"),
        ("smoek", "preset='smoek' is unknown; choose one of: default, smoke"),
        (None, "preset=None is unknown; choose one of: default, smoke"),
    ):
        with pytest.raises(InvalidInput, match=message):
            dgg_jax.VaDE(3, preset=name).fit(x)


def test_a_subclass_may_pass_arguments_on():
    class Mine(dgg_jax.DGG):
        def __init__(self, **settings):
            super().__init__(**settings)

    assert Mine(epochs=3).epochs == 3
    with pytest.raises(TypeError, match="epohcs"):
        Mine(epohcs=3)


def test_nothing_depends_on_docstrings():
    code = "import dgg_jax; print(dgg_jax.DGG(3, epochs=2), dgg_jax.__doc__)"
    command = [sys.executable, "-OO", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "DGG(epochs=2, n_clusters=3) None\n"


@pytest.mark.parametrize("name", NAMES)
def test_the_constructor_is_as_it_is_written_from_the_presets(name):
    method = getattr(dgg_jax, name)._method
    path = pathlib.Path(dgg_jax.__file__).parent / "estimators" / f"{method}.py"
    source = path.read_text()
    assert constructors.written(method, source) == source
    assert "    def __init__(" in source


def test_settings_are_checked_before_any_work():
    x, _ = blobs()
    for settings, message in (
        ({"epochs": -1}, "epochs must be at least 0, got -1"),
        ({"likelihood": "poisson"}, "likelihood='poisson' is unknown; choose one of"),
        ({"random_state": -1}, "random_state must be in"),
        ({"n_clusters": 0}, "^n_clusters must be at least 1, got 0"),
        ({"n_clusters": 91}, "^n_clusters=91 exceeds the 90 rows"),
        ({"graph_strength": 3.0}, r"graph_strength must be in \[0, 2\], got 3.0"),
        ({"callbacks": 3}, "callbacks must be a function of .* got 3"),
        ({"callbacks": [print, "x"]}, "or a list of them, got"),
    ):
        with pytest.raises(InvalidInput, match=message):
            tiny("DGG").set_params(**settings).fit(x)


def test_a_fit_that_fails_leaves_the_model_as_it_was(tmp_path):
    x, _ = blobs()
    named = pd.DataFrame(x, columns=["a", "b", "c"])
    estimator = tiny("DEC", epochs=1).fit(named)
    expected = estimator.predict(named)

    def interrupt(*_):
        raise KeyboardInterrupt

    for settings, rows, error in (
        ({"n_clusters": 91}, x[:, 1:], InvalidInput),
        ({"callbacks": interrupt}, np.c_[x, x], KeyboardInterrupt),
    ):
        before = estimator.get_params()
        with pytest.raises(error):
            estimator.set_params(**settings).fit(rows)
        estimator.set_params(**{name: before[name] for name in settings})
        np.testing.assert_array_equal(estimator.predict(named), expected)
    estimator.save(tmp_path / "model")
    loaded = dgg_jax.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(named), expected)


def test_random_states():
    x, _ = blobs()
    first = tiny("VaDE", random_state=np.random.RandomState(3)).fit(x)
    second = tiny("VaDE", random_state=np.random.RandomState(3)).fit(x)
    other = tiny("VaDE", random_state=np.random.RandomState(4)).fit(x)
    assert_same(first.embedding_, second.embedding_)
    assert not np.array_equal(first.embedding_, other.embedding_)
    free = tiny("VaDE", random_state=None).fit(x)
    assert not np.array_equal(first.embedding_, free.embedding_)


def test_callbacks_hear_of_every_epoch_and_may_stop():
    x, _ = blobs()
    heard = []

    def stop_early(stage, epoch, metrics):
        heard.append((stage, metrics["loop"], epoch))
        return stage == "train" and epoch == 2

    estimator = tiny("VaDE", epochs=5, pretrain_autoencoder_epochs=2)
    estimator.set_params(callbacks=stop_early).fit(x)
    expected = [("pretrain", "autoencoder", epoch) for epoch in (1, 2)]
    assert heard == [*expected, ("train", "train", 1), ("train", "train", 2)]
    assert [line["epoch"] for line in estimator.history_] == [1, 2, 1, 2]
    assert estimator.n_iter_ == 2
    silent = []
    several = [stop_early, lambda *arguments: silent.append(arguments)]
    heard.clear()
    estimator.set_params(callbacks=several).fit(x)
    assert len(silent) == len(heard) == 4


@pytest.mark.parametrize(
    ("values", "settings", "ends"),
    [
        ([1.0, 2.0, 1.5, 2.0, 3.0], {}, 4),
        ([1.0, 2.0, 1.5, 2.0, 3.0], {"patience": 3}, None),
        ([1.0, 2.0, 2.4, 3.0, 3.2], {"min_delta": 0.5}, None),
        ([1.0, 2.0, 2.4, 2.5, 3.2], {"min_delta": 0.5}, 4),
        ([1.0, 2.0, 3.0, 4.0, 5.0], {"mode": "min"}, 3),
        ([[1.0, 5.0], [2.0, 4.0], [3.0, 4.5], [6.0, 0.0]], {}, 3),  # of restarts
    ],
)
def test_training_stops_early(values, settings, ends):
    """And again, where the same object serves another fit."""
    stop = EarlyStopping(**{"patience": 2} | settings)
    for _ in range(2):
        told = [
            stop("train", epoch, {"loop": "train", "objective": value})
            for epoch, value in enumerate(values, 1)
        ]
        assert (told.index(True) + 1 if True in told else None) == ends


def test_only_the_loop_that_is_named_is_stopped():
    stop = EarlyStopping(patience=1, monitor="loss", stage="pretrain", loop="vae")
    metrics = {"loop": "vae", "loss": 1.0}
    assert not stop("train", 2, metrics) and not stop("pretrain", 1, metrics)
    assert not stop("pretrain", 2, metrics | {"loop": "autoencoder"})
    assert not stop("pretrain", 2, metrics | {"loss": 0.5})  # of a loss less is better
    assert stop("pretrain", 3, metrics | {"loss": 0.7})


def test_what_a_callback_watches_is_named():
    with pytest.raises(InvalidInput, match=r"monitor='elbo' is unknown.*loop, loss"):
        EarlyStopping(monitor="elbo")("train", 1, {"loop": "train", "loss": 1.0})
    for wrong in ({"patience": 0}, {"mode": "least"}, {"min_delta": -1.0}):
        with pytest.raises(InvalidInput, match=next(iter(wrong))):
            EarlyStopping(**wrong)


def test_an_estimator_stops_early():
    x, _ = blobs()
    stop = EarlyStopping(patience=1, mode="min")  # the objective rises
    model = tiny("VaDE", epochs=5, callbacks=stop).fit(x)
    assert model.n_iter_ == 2 and clone(model).callbacks == stop


def test_verbose_shows_stages(capsys):
    x, _ = blobs()
    tiny("VaDE", verbose=1).fit(x)
    shown = capsys.readouterr().out
    for number, stage in enumerate(("pretrain", "initialize", "train", "evaluate"), 1):
        assert f"[{number}/4] {stage}: " in shown
    tiny("VaDE").fit(x)
    assert capsys.readouterr().out == ""


def test_neighbours_of_ones_own():
    x, y = blobs()
    # Neighbours by true class: what no search would find, so they must have been taken.
    distance = (y[:, None] != y[None]) + np.linalg.norm(x[:, None] - x[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    indices = distance.argsort(axis=1)[:, :4]
    distances = np.take_along_axis(distance, indices, axis=1)
    estimator = tiny("DGG", num_neighbors=3, num_candidates=4)
    estimator.fit(x, knn=(indices, distances))
    for row, chosen in zip(estimator.graph_.indices, indices, strict=True):
        assert set(row) <= set(chosen)
    vade = tiny("VaDE", init="spectral", num_neighbors=4, epochs=0)
    vade.fit(x, knn=(indices, distances))
    for bad, message in (
        ((indices[:5], distances[:5]), r"shape \[90, k\]"),
        ((indices, distances[:, :2]), "got shapes"),
        ((indices + 90, distances), "in 0 to 89; row 0 has"),
        ((np.arange(90)[:, None], distances[:, :1]), "Leave out the point itself"),
        ((indices.astype(float), distances), "must be integers, got float64"),
        ((indices, distances[:, ::-1]), "ascending"),
        ((indices, -distances), "finite and at least 0"),
    ):
        with pytest.raises(InvalidInput, match=message):
            estimator.fit(x, knn=bad)


def test_fits_are_ranked_by_a_standing_without_labels():
    x, y = blobs()
    fitted = tiny("DGG", init="ensemble").fit(x)
    assert fitted.standing_ == fitted.stages_[-1]["standing"]
    assert len(fitted.candidates_) > 3
    # What separates the blobs stands above what does not.
    assert metrics.clustering_accuracy(y, fitted.labels_) == 1.0
    broken = tiny("DGG", init="ensemble", guard=False, learning_rate=10.0).fit(x)
    assert metrics.clustering_accuracy(y, broken.labels_) < 1.0
    assert broken.standing_ < fitted.standing_
    unranked = tiny("DGG", init="kmeans", guard=False).fit(x)
    assert unranked.standing_ is None and unranked.candidates_ is None


@pytest.mark.parametrize("name", GENERATIVE)
def test_warm_start_goes_on_from_the_model(name):
    x, _ = blobs()
    estimator = tiny(name, warm_start=True, epochs=2).fit(x)
    before = estimator.model_.params
    assert "pretrain" in [r["name"] for r in estimator.stages_] or name == "GMVAE"
    estimator.set_params(epochs=0).fit(x)
    assert_same(estimator.model_.params, before)
    names = [record["name"] for record in estimator.stages_]
    assert not {"pretrain", "initialize", "classifier"} & set(names)
    score = estimator.score(x)
    estimator.set_params(epochs=20, learning_rate=1e-3).fit(x)
    assert estimator.score(x) > score
    if name != "GMVAE":
        estimator.set_params(n_clusters=2)
        with pytest.raises(InvalidInput, match="model to start from has"):
            estimator.fit(x)


@pytest.mark.parametrize(("first", "then"), [(55, 90), (90, 55)])
def test_warm_start_keeps_the_networks_where_rows_become_more_than_columns(first, then):
    x, _ = blobs()
    x = np.tile(x, 20)  # 60 columns
    model = tiny("DGG", warm_start=True).fit(x[:first])
    kept = model.preset_.principal_components
    assert kept == (50 if first == 55 else 0)
    kept = {k: np.shape(v) for k, v in model.model_.params["encoder"].items()}
    model.fit(x[:then])
    after = model.model_.params["encoder"]
    assert {k: np.shape(v) for k, v in after.items()} == kept
    model.set_params(principal_components=7 if first == 90 else 0)
    with pytest.raises(InvalidInput, match="start from has principal_components="):
        model.fit(x)


def test_pipeline_and_grid_search():
    x, y = blobs()
    scaled = make_pipeline(StandardScaler(), tiny("VaDE")).fit(x)
    np.testing.assert_array_equal(scaled.predict(x), scaled[-1].labels_)
    grid = GridSearchCV(
        tiny("VaDE", likelihood="gaussian", variance=0.05),
        {"learning_rate": [1e-7, 2e-2], "epochs": [30]},
        cv=2,
        refit=True,
    )
    grid.fit(x, y)  # scored by the ELBO; y is not used
    assert grid.best_params_["learning_rate"] == 2e-2
    assert grid.best_estimator_.labels_.shape == (90,)


def test_pickles(fitted):
    x, _ = blobs()
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(x), fitted.labels_)


# Networks and likelihoods of one's own


class Convolutional(nn.Module):
    """An encoder of images that come as rows."""

    side: int
    latent_dim: int

    @nn.compact
    def __call__(self, x):
        x = x.reshape(len(x), self.side, self.side, 1)
        x = nn.relu(nn.Conv(4, (3, 3), strides=(2, 2))(x)).reshape(len(x), -1)
        zeros = nn.initializers.zeros
        mean = nn.Dense(self.latent_dim, name="mean")(x)
        return Gaussian(mean, nn.Dense(self.latent_dim, kernel_init=zeros)(x))


class Linear(nn.Module):
    """The simplest decoder."""

    num_features: int

    @nn.compact
    def __call__(self, z):
        return nn.Dense(self.num_features)(z)


class Laplace:
    """No sufficient statistics of a fixed size: not for the node form."""

    def log_prob(self, x, decoded):
        return -jax.numpy.sum(jax.numpy.abs(x - decoded) + np.log(2.0))

    def mean(self, decoded):
        return decoded


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(0)
    y = random.permutation(np.repeat(np.arange(2), 20))
    bright = np.stack([np.eye(4), np.eye(4)[::-1]])[y]
    x = np.clip(0.8 * bright + 0.1 * random.uniform(size=bright.shape), 0, 1)
    return x.reshape(40, 16).astype(np.float32), y


@pytest.mark.parametrize("name", ["DGG", "VaDE"])
def test_networks_of_ones_own(name, images, tmp_path):
    x, _ = images
    settings = {"siamese_epochs": 1} if name == "DGG" else {}
    modules = {"encoder": Convolutional(4, 2), "decoder": Linear(16)}
    estimator = tiny(name, 2, **modules, **settings).fit(x)
    assert "Conv_0" in estimator.model_.params["encoder"]
    np.testing.assert_array_equal(estimator.predict(x), estimator.labels_)
    assert np.isfinite(estimator.score(x))
    assert estimator.sample(3)[0].shape == (3, 16)
    np.testing.assert_array_equal(clone(estimator).fit(x).labels_, estimator.labels_)

    estimator.save(tmp_path / "model")
    with pytest.raises(
        InvalidInput, match=r"fitted with encoder=.*load\(path, encoder"
    ):
        dgg_jax.load(tmp_path / "model")
    loaded = dgg_jax.load(tmp_path / "model", **modules)
    np.testing.assert_array_equal(loaded.predict(x), estimator.labels_)


def test_networks_of_ones_own_in_gmvae(images):
    class Features(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.relu(nn.Dense(5)(x))

    x, _ = images
    modules = {"encoder": Features(), "decoder": Linear(16)}
    estimator = tiny("GMVAE", 2, **modules).fit(x)
    assert estimator.predict(x).shape == (40,)
    recognition = estimator.model_.params["recognition"]
    assert recognition["trunk"]["encoder"]["Dense_0"]["kernel"].shape == (16, 5)


class NoGaussian(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(x)


class Stateful(nn.Module):
    @nn.compact
    def __call__(self, z):
        return nn.BatchNorm(use_running_average=True)(nn.Dense(16)(z))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": NoGaussian()}, "encoder must map x .* to dgg_jax.types.Gaussian"),
        ({"encoder": Convolutional(4, 3)}, r"\[B, 2\] \(latent_dim\), got"),
        ({"decoder": Stateful()}, "decoder must have parameters only.*batch_stats"),
        ({"decoder": Linear(5)}, "likelihood"),
        ({"decoder": Linear(16), "pretrain_layer_epochs": 1}, "pretrain_layer_epochs"),
    ],
)
def test_networks_that_do_not_fit(settings, message, images):
    with pytest.raises(InvalidInput, match=message):
        tiny("VaDE", 2, **settings).fit(images[0])


def test_a_likelihood_of_ones_own(images, tmp_path):
    x, _ = images
    likelihood = GaussianLikelihood(0.25)
    rate = {"learning_rate": 1e-3}  # which depends on the name
    own = tiny("DGG", 2, likelihood=likelihood, **rate).fit(x)
    named = tiny("DGG", 2, likelihood="gaussian", variance=0.25, **rate).fit(x)
    assert_same(own.model_.params, named.model_.params)
    np.testing.assert_array_equal(own.score_samples(x), named.score_samples(x))
    own.save(tmp_path / "model")
    loaded = dgg_jax.load(tmp_path / "model", likelihood=likelihood)
    np.testing.assert_array_equal(loaded.score_samples(x), own.score_samples(x))


@pytest.mark.parametrize("name", ["VaDE", "GMVAE"])
def test_the_class_of_a_likelihood_of_ones_own_is_left_alone(name, images):
    class OwnLaplace(Laplace):
        pass

    x, _ = images
    estimator = tiny(name, 2, likelihood=OwnLaplace()).fit(x)
    score = estimator.score(x)
    assert np.isfinite(score)
    jax.tree_util.register_static(OwnLaplace)  # which the user may do at any time
    assert estimator.score(x) == score
    assert estimator.fit(x).score(x) == score


# Saved models


def test_a_saved_model_is_the_same_again(fitted, tmp_path):
    x, _ = blobs()
    fitted.save(tmp_path / "model")
    loaded = dgg_jax.load(tmp_path / "model")
    assert type(loaded) is type(fitted)
    assert loaded.get_params() == fitted.get_params()
    learned = {k: v for k, v in vars(fitted).items() if k.endswith("_")}
    for name, value in learned.items():
        if name in ("preset_", "stages_", "history_"):
            assert getattr(loaded, name) == value
        else:
            assert_same(getattr(loaded, name), value)
    np.testing.assert_array_equal(loaded.predict(x), fitted.predict(x))
    if hasattr(fitted, "transform"):
        assert_same(loaded.transform(x), fitted.transform(x))
        names = fitted.get_feature_names_out()
        assert list(loaded.get_feature_names_out()) == list(names)
    if hasattr(fitted, "sample"):
        assert_same(loaded.sample(4), fitted.sample(4))
        loaded.set_params(warm_start=True, epochs=1).fit(x)
        assert "pretrain" not in [record["name"] for record in loaded.stages_]


def test_a_subclass_is_saved_as_what_it_is_made_from(tmp_path):
    class Mine(dgg_jax.DEC):
        def __init__(self, n_clusters=3, mine="x", **settings):
            super().__init__(n_clusters, **settings)
            self.mine = mine

    x, _ = blobs()
    settings = tiny("DEC").get_params() | {"n_clusters": 2}
    model = Mine(**settings).fit(x)
    model.save(tmp_path / "model")
    loaded = dgg_jax.load(tmp_path / "model")
    assert type(loaded) is dgg_jax.DEC and loaded.get_params() == settings
    np.testing.assert_array_equal(loaded.predict(x), model.labels_)


def test_numbers_of_numpy_are_saved_as_others(tmp_path):
    x, y = blobs()
    estimator = tiny("DEC", epochs=1)
    estimator.set_params(n_clusters=y.max() + 1, batch_size=np.int32(10))
    estimator.fit(x).save(tmp_path / "model")
    loaded = dgg_jax.load(tmp_path / "model")
    assert loaded.preset_ == estimator.preset_
    np.testing.assert_array_equal(loaded.labels_, estimator.labels_)


def test_probabilities_of_dgg_are_calibrated_by_others(tmp_path):
    x, _ = blobs()
    dgg = tiny("DGG", epochs=2).fit(x)
    raw = dgg.predict_proba(x, calibrated=False)
    np.testing.assert_allclose(raw, dgg.raw_probabilities_, rtol=1e-5, atol=1e-6)
    assert np.abs(raw - dgg.probabilities_).max() > 1e-3
    np.testing.assert_array_equal(raw.argmax(axis=1), dgg.labels_)
    np.testing.assert_array_equal(dgg.confidence_, dgg.probabilities_.max(axis=1))
    doubtful = dgg.rows_to_check(5)
    assert doubtful.shape == (5,)
    np.testing.assert_array_equal(
        dgg.confidence_[doubtful], np.sort(dgg.confidence_)[:5]
    )
    with pytest.raises(ValueError, match="n_rows must be"):
        dgg.rows_to_check(0)
    plain = tiny("DGG", epochs=2, calibrate=False).fit(x)
    np.testing.assert_array_equal(plain.labels_, dgg.labels_)
    assert not hasattr(plain, "raw_probabilities_")
    np.testing.assert_allclose(plain.probabilities_, raw, rtol=1e-5, atol=1e-6)
    # A refit leaves nothing of the former fit.
    dgg.set_params(calibrate=False).fit(x[:80]).save(tmp_path / "model")
    assert len(dgg_jax.load(tmp_path / "model").probabilities_) == 80


@pytest.mark.parametrize("name", ["DGG", "VaDE"])
def test_rows_of_a_low_elbo_are_outliers(name, tmp_path):
    x, _ = blobs()
    estimator = tiny(name, epochs=2).fit(x)
    scores = estimator.score_samples(x)
    np.testing.assert_allclose(estimator.elbo_, scores, rtol=1e-4, atol=1e-4)
    assert estimator.elbo_.mean() == pytest.approx(
        estimator.stages_[-1]["elbo"], rel=1e-4
    )
    strange = estimator.outliers(x, 0.1)
    assert strange.sum() == pytest.approx(9, abs=1)
    assert scores[strange].max() <= scores[~strange].min() + 1e-4
    labels = estimator.predict(x, outliers=0.1)
    np.testing.assert_array_equal(labels == -1, strange)
    np.testing.assert_array_equal(labels[~strange], estimator.labels_[~strange])
    assert estimator.outliers(x + 30.0, 0.01).all()
    assert not estimator.outliers(x, 0.0).any()
    with pytest.raises(ValueError, match="share must be"):
        estimator.outliers(x, 1.5)
    with pytest.raises(InvalidInput, match=r"outliers must be in \[0, 1\], got 2"):
        estimator.predict(x, outliers=2)
    with pytest.raises(InvalidInput, match=r"outliers must be a number in .* '5%'"):
        estimator.fit(x, outliers="5%")
    # So in fit, of the rows that it has trained on.
    fitted, whole = tiny(name, epochs=2), estimator.labels_
    labels = fitted.fit_predict(x, outliers=0.1)
    np.testing.assert_array_equal(labels, np.where(strange, -1, whole))
    fitted.save(tmp_path / "without")
    np.testing.assert_array_equal(dgg_jax.load(tmp_path / "without").labels_, labels)
    again = fitted.stability(x, n_repeats=1)
    assert again.agreement == estimator.stability(x, n_repeats=1).agreement
    with pytest.raises(ValueError, match="outliers must be"):
        fitted.fit(x, outliers=-0.1)
    del estimator.elbo_  # as of a model that a former version has saved
    estimator.save(tmp_path / "model")
    with pytest.raises(ValueError, match="fit it again"):
        dgg_jax.load(tmp_path / "model").outliers(x)


def test_a_repetition_that_cannot_be_fitted_is_left_out():
    x = np.repeat(np.eye(3), [8, 1, 1], axis=0)
    model = tiny("DEC", epochs=1).fit(x)
    with pytest.warns(UserWarning, match="a repetition is left out: n_clusters=3 exc"):
        found = model.stability(x, n_repeats=8)
    assert np.isfinite(found.agreement)
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(InvalidInput, match="n_clusters=3 exceeds the"),
    ):
        model.stability(x, n_repeats=1)


def test_clusters_that_are_found_again_are_stable():
    x, _ = blobs()
    dec = tiny("DEC", epochs=1).fit(x)
    before = dec.labels_.copy()
    found = dec.stability(x, n_repeats=2)
    assert found.agreement > 0.9 and found.clusters.shape == (3,)
    assert found.clusters.min() > 0.8
    np.testing.assert_array_equal(dec.labels_, before)
    again = dec.stability(x, n_repeats=2)
    assert again.agreement == found.agreement
    # Clusters that nothing but chance has made are not found again.
    dec.labels_ = np.random.default_rng(0).integers(0, 3, 90)
    by_chance = dec.stability(x, n_repeats=1)
    assert by_chance.agreement < 0.2 and by_chance.clusters.max() < 0.5
    with pytest.raises(ValueError, match="X must be the 90 rows of training, got 89"):
        dec.stability(x[1:])
    with pytest.raises(ValueError, match="X has 2 features, but DEC is expecting 3"):
        dec.stability(x[:, 1:])
    of_sparse = [
        dec.stability(kind(x), n_repeats=1).agreement
        for kind in (sparse.csr_array, sparse.coo_array)
    ]
    assert of_sparse[0] == of_sparse[1]


def test_model_json_is_readable(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    text = (tmp_path / "model" / "model.json").read_text()
    description = json.loads(text)
    assert description["kind"] == type(fitted).__name__
    assert description["versions"]["dgg_jax"] == dgg_jax.__version__
    assert description["num_features"] == 3 and description["num_rows"] == 90
    assert description["preset"]["num_clusters"] == 3
    assert description["metrics"]["name"] == fitted.stages_[-1]["name"]
    assert "none" in description["preprocessing"]
    assert description["arrays"]["shapes"]["learned/labels_"] == [90]
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == [
        "arrays.npz",
        "model.json",
    ]


def test_an_exported_model_runs_without_this_library(generative, tmp_path):
    x, _ = blobs()
    generative.export(tmp_path / "exported")
    np.save(tmp_path / "x.npy", x)
    program = """
import sys
class Refuse:
    def find_spec(self, name, *rest):
        if name.split(".")[0] in ("dgg_jax", "flax", "optax", "sklearn"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
import jax.export, numpy as np
x = np.load("x.npy")
for name in ("transform", "predict_proba"):
    call = jax.export.deserialize(open(f"exported/{name}.jax", "rb").read()).call
    np.save(f"{name}.npy", np.concatenate([call(x[:7]), call(x[7:])]))
try:
    import dgg_jax
except ImportError:
    print("alone")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "alone\n"
    for name in ("transform", "predict_proba"):
        actual = np.load(tmp_path / f"{name}.npy")
        expected = getattr(generative, name)(x)
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_importing_the_library_is_light():
    program = (
        "import sys, dgg_jax;"
        "assert not {'jax', 'sklearn', 'tensorflow_datasets'} & set(sys.modules);"
        "dgg_jax.DGG; assert 'tensorflow_datasets' not in sys.modules;"
        "print(sorted(dgg_jax.__all__))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for name in NAMES:
        assert name in done.stdout
    with pytest.raises(AttributeError, match="has no attribute 'KMeans'"):
        _ = dgg_jax.KMeans


@pytest.mark.slow
def test_an_estimated_number_of_clusters(tmp_path):
    x, _ = blobs()
    x = np.concatenate([x, x + 1e-3])
    seen = []

    def watch(stage, epoch, metrics):
        seen.append((stage, metrics["loop"]))

    embedded = {"siamese_epochs": 1, "graph_of": "siamese"}
    estimator = tiny("DGG", "auto", callbacks=watch, **embedded).fit(x)
    assert estimator.get_params()["n_clusters"] == "auto"
    assert estimator.n_clusters_ == estimator.preset_.num_clusters == 3
    assert estimator.cluster_count_.num_clusters == 3
    assert estimator.stages_[0]["name"] == "num_clusters"
    # What comes before is trained once, and the rest as with the K that was found.
    assert seen.count(("num_clusters", "siamese")) == 1
    assert {stage for stage, _ in seen} == {"num_clusters", "classifier", "train"}
    given = tiny("DGG", 3, **embedded).fit(x)
    np.testing.assert_array_equal(given.probabilities_, estimator.probabilities_)
    assert given.n_clusters_ == 3 and given.cluster_count_ is None

    estimator.save(tmp_path / "model")
    loaded = dgg_jax.load(tmp_path / "model")
    assert loaded.n_clusters == "auto" and loaded.n_clusters_ == 3
    assert loaded.cluster_count_ == estimator.cluster_count_
    # Of a model that is there K is known.
    loaded.set_params(warm_start=True).fit(x)
    assert loaded.n_clusters_ == 3 and loaded.cluster_count_ is None


@pytest.mark.parametrize(
    ("name", "n_clusters", "message"),
    [
        ("DGG", "many", "n_clusters must be an integer or 'auto', got 'many'"),
        ("VaDE", "auto", r"must be an integer, got 'auto'; DGG\(n_clusters='auto'\)"),
        ("DGG", "auto", "n_clusters=auto needs at least 100 rows, got 90"),
        ("DGG", 2.5, "n_clusters must be of type int, got 2.5"),
        ("DGG", None, "n_clusters must be of type int, got None"),
        ("DGG", 0, "n_clusters must be at least 1, got 0"),
    ],
)
def test_what_n_clusters_may_be(name, n_clusters, message):
    with pytest.raises(InvalidInput, match=message):
        tiny(name, n_clusters).fit(blobs()[0])


def test_an_estimate_without_a_plateau_is_a_warning(monkeypatch):
    count = ClusterCount((5, 6, 7, 8, 9), (6, 5, 4, 3, 2), 6)
    begun = []

    def run(x, preset, **keywords):
        begun.append(preset.num_clusters)
        raise InterruptedError

    rigged = methods.method("dgg")._replace(
        run=run, count_clusters=lambda *_, **__: count
    )
    monkeypatch.setitem(methods.METHODS, "dgg", rigged)
    with (
        pytest.raises(InterruptedError),
        pytest.warns(UserWarning, match="^6 clusters.*do not trust it"),
    ):
        tiny("DGG", "auto").fit(blobs()[0])
    assert begun == [6]


def test_an_estimate_knows_of_known_clusters(monkeypatch):
    count, counted, begun = ClusterCount((5, 6), (3, 3), 3), [], []

    def run(x, preset, **keywords):
        begun.append(preset.num_clusters)
        raise InterruptedError

    def count_clusters(*_, **__):
        counted.append(count)
        return count

    rigged = methods.method("dgg")._replace(run=run, count_clusters=count_clusters)
    monkeypatch.setitem(methods.METHODS, "dgg", rigged)
    x, y = np.tile(blobs()[0], (2, 1)), np.full(180, -1)
    for told in ({}, {"y": np.r_[4, y[1:]]}, {"y": np.r_[1, y[1:]]}):
        with pytest.raises(InterruptedError):
            tiny("DGG", "auto").fit(x, **told)
    assert begun == [3, 5, 3] and len(counted) == 3
    # What does not fit is told before anything is counted.
    for told, message in (
        ({"y": y[1:]}, r"y must be \[180\]"),
        ({"must_link": [(0, 180)]}, r"must_link must have rows in 0\.\.179"),
        ({"y": np.r_[0, 1, y[2:]], "must_link": [(0, 1)]}, "correct one of them"),
    ):
        with pytest.raises(InvalidInput, match=message):
            tiny("DGG", "auto").fit(x, **told)
    assert len(counted) == 3
