"""What fit takes: graphs, images, annotated matrices, and values far off zero."""

import collections.abc
import logging
import warnings

import hypothesis
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import sparse
from sklearn.neighbors import (
    KNeighborsTransformer,
    NearestNeighbors,
    kneighbors_graph,
    radius_neighbors_graph,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import dgg_jax
from dgg_jax import DEC, DGG, GMVAE, SpectralNet, checks
from dgg_jax.checks import InvalidInput
from dgg_jax.data import preprocessing
from dgg_jax.estimators.inputs import as_array
from tests.hardening.check_estimators import tiny

few = hypothesis.settings(max_examples=25, deadline=None)
X = np.random.default_rng(0).normal(size=(40, 3))
TINY = {
    **{"hidden_sizes": (8,), "latent_dim": 2, "pretrain_autoencoder_epochs": 1},
    **{"pretrain_vae_epochs": 1, "label_epochs": 0, "classifier_epochs": 1},
    **{"init": "kmeans", "guard": False},
    **{"classifier_hidden_sizes": (8,), "epochs": 1, "siamese_epochs": 0},
    **{"num_neighbors": 3, "random_state": 0},
}
QUIET = pytest.mark.filterwarnings("ignore:.*may have collapsed")


# --- knn= --------------------------------------------------------------------------


@few
@hypothesis.given(
    st.integers(0, 99),
    st.integers(5, 30),
    st.integers(1, 4),
    st.sampled_from(("csr", "csc", "coo", "lil")),
    st.booleans(),
    st.booleans(),
)
def test_graphs_of_scikit_learn(seed, num_points, k, form, is_shuffled, has_self):
    x = np.random.default_rng(seed).normal(size=(num_points, 3))
    distances, indices = NearestNeighbors(n_neighbors=k).fit(x).kneighbors()
    if has_self:
        transformer = KNeighborsTransformer(n_neighbors=k, mode="distance")
        graph = transformer.fit_transform(x)
    else:
        graph = kneighbors_graph(x, k, mode="distance")
    if is_shuffled:
        graph.sort_indices()  # no longer nearest first
    found = checks.neighbors_of(graph.asformat(form))
    checked = checks.neighbors(*found, num_points=num_points)
    np.testing.assert_array_equal(checked[0], indices)
    np.testing.assert_allclose(checked[1], distances, rtol=1e-6)


def test_a_graph_of_copies_and_one_of_ones():
    x = np.repeat(X[:10], 3, axis=0)  # any of three is the nearest of a point
    transformer = KNeighborsTransformer(n_neighbors=4, mode="distance")
    indices, distances = checks.neighbors_of(transformer.fit_transform(x))
    checks.neighbors(indices, distances, num_points=30)
    assert indices.shape == (30, 4) and (distances[:, :2] == 0).all()
    indices, distances = checks.neighbors_of(kneighbors_graph(X, 5))
    checks.neighbors(indices, distances, num_points=40)
    assert (distances == 1).all()


def test_the_graph_of_scanpy():
    x = np.r_[X, X[:4], X[:4]]  # of copies any may be left out in place of itself
    distances, indices = NearestNeighbors(n_neighbors=6).fit(x).kneighbors(x)
    # As scanpy.neighbors makes obsp["distances"]: unsorted rows without their first.
    starts = np.arange(0, 5 * len(x) + 1, 5)
    values = distances[:, 1:].ravel(), indices[:, 1:].ravel(), starts
    graph = sparse.csr_matrix(values, shape=(len(x), len(x)))
    found = checks.neighbors_of(graph)
    own, _ = checks.neighbors(*found, num_points=len(x))
    assert own.shape[1] in (4, 5)
    far = np.linalg.norm(x[own] - x[:, None], axis=2)
    np.testing.assert_allclose(found[1], far, atol=1e-6)


def test_neighbours_by_a_matrix_of_all_distances():
    distances = np.abs(X[:, :1] - X[:, 0])
    with pytest.raises(InvalidInput, match="metric='precomputed'"):
        DGG(2, **TINY).fit(X, knn=distances)
    graph = kneighbors_graph(distances, 5, mode="distance", metric="precomputed")
    indices, found = checks.neighbors(*checks.neighbors_of(graph), num_points=40)
    expected = np.sort(distances, axis=1)[:, 1:6]  # of each row but itself
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert (indices != np.arange(40)[:, None]).all()


def test_of_one_neighbour_more_the_nearest_are_taken():
    distances, indices = NearestNeighbors(n_neighbors=4).fit(X).kneighbors()
    graph = kneighbors_graph(X, 4, mode="distance").tolil()
    for row in range(0, 40, 2):
        graph[row, indices[row, -1]] = 0
    found = checks.neighbors_of(graph.tocsr())
    np.testing.assert_array_equal(found[0], indices[:, :3])
    np.testing.assert_array_equal(found[1], distances[:, :3])


@QUIET
def test_a_graph_trains_as_the_pair_does():
    graph = kneighbors_graph(X, 10, mode="distance")
    pair = checks.neighbors_of(graph)
    settings = TINY | {"num_candidates": 5, "init_neighbors": 5}
    of_graph, of_pair = (
        DGG(2, **settings).fit(X, knn=knn).probabilities_ for knn in (graph, pair)
    )
    np.testing.assert_array_equal(of_graph, of_pair)


@pytest.mark.parametrize(
    ("knn", "message"),
    [
        (np.zeros((40, 20), int), r"must be a pair .*got ndarray of shape \(40, 20\)"),
        (np.zeros((2, 40, 20), int), r"must be a pair .*got ndarray of shape \(2, 40"),
        ({"indices": 0}, "must be a pair .*got dict"),
        ("auto", "must be a pair .*got str"),
        ((1, 2, 3), "must be a pair .*got tuple"),
        (NearestNeighbors(n_neighbors=3).fit(X).kneighbors(), "distances first.*excha"),
        (
            radius_neighbors_graph(X, 1.0, mode="distance"),
            r"as many .* every row, got \d+ to \d+, in rows \d+ and.*within a radius",
        ),
        (sparse.eye_array(40).tocsr(), "as many neighbours in every row, got 0 to 0"),
        (sparse.csr_array((40, 39)), r"a matrix \[N, N\] of distances, got shape"),
        (kneighbors_graph(X[:30], 5), r"shape \[40, k\]"),
    ],
)
def test_other_neighbours_are_one_clear_error(knn, message):
    with pytest.raises(InvalidInput, match=message):
        DGG(2, **TINY).fit(X, knn=knn)


# --- sample_weight= ----------------------------------------------------------------

WEIGHTS = np.random.default_rng(1).integers(0, 4, len(X))


@pytest.fixture(scope="module")
def weighted():
    return tiny("VaDE").fit(X, None, WEIGHTS)


@QUIET
@pytest.mark.parametrize(
    "form",
    [pd.Series, list, jnp.asarray, lambda weights: weights / 7.0],
    ids=["Series", "list", "jax", "scaled"],
)
def test_weights_of_rows(weighted, form):
    model = tiny("VaDE").fit(X, sample_weight=form(WEIGHTS))
    np.testing.assert_array_equal(model.embedding_, weighted.embedding_)
    np.testing.assert_array_equal(model.labels_, weighted.labels_)


@QUIET
def test_equal_weights_are_no_weights(weighted):
    plain = tiny("VaDE").fit(X)
    equal = tiny("VaDE").fit(X, sample_weight=[0.1] * len(X))
    np.testing.assert_array_equal(equal.embedding_, plain.embedding_)
    np.testing.assert_array_equal(equal.elbo_, plain.elbo_)
    assert (plain.embedding_ != weighted.embedding_).any()


@QUIET
@pytest.mark.parametrize("name", ["DGG", "GMVAE", "DEC", "IMSAT"])
def test_who_takes_weights(name):
    model = tiny(name).fit(X, sample_weight=WEIGHTS)
    assert model.labels_.shape == (len(X),)  # of rows of weight 0, too
    assert (tiny(name).fit_predict(X, sample_weight=WEIGHTS) == model.labels_).all()


@pytest.mark.parametrize("name", ["SpectralNet", "CatGAN", "AAE", "LTVAE"])
def test_who_refuses_weights(name):
    with pytest.raises(InvalidInput, match="or use DGG, VaDE, GMVAE, DEC or IMSAT"):
        tiny(name).fit(X, sample_weight=WEIGHTS)


def test_weights_that_do_not_fit_are_refused_before_any_work(monkeypatch):
    monkeypatch.setattr("dgg_jax.methods.dgg.count_clusters", None)
    for name in ("VaDE", "AAE"):
        with pytest.raises(InvalidInput, match=r"sample_weight must be \[40\]"):
            tiny(name).fit(X, sample_weight=WEIGHTS[:-1])
    with pytest.raises(InvalidInput, match="finite and at least 0, row 0 has -1"):
        tiny("DGG", "auto").fit(X, sample_weight=np.full(len(X), -1))
    with pytest.raises(InvalidInput, match="n_clusters=3 exceeds the 2 rows whose"):
        tiny("VaDE").fit(X, sample_weight=np.arange(len(X)) < 2)


def test_weights_can_be_routed():
    with sklearn.config_context(enable_metadata_routing=True):
        model = tiny("VaDE").set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, model)
        pipeline.fit(X, sample_weight=WEIGHTS)
    scaled = StandardScaler().fit_transform(X)
    expected = tiny("VaDE").fit(scaled, sample_weight=WEIGHTS)
    np.testing.assert_array_equal(pipeline[-1].labels_, expected.labels_)


# --- Arrays of images, annotated matrices, sparse ones -----------------------------


@QUIET
def test_arrays_of_images(caplog):
    images = np.random.default_rng(0).random((40, 6, 5))
    flat = images.reshape(40, 30)
    of_images = GMVAE(2, hidden_sizes=(4,), latent_dim=2, epochs=1, random_state=0)
    of_images.fit(images)
    assert of_images.n_features_in_ == 30
    expected = of_images.predict_proba(flat)
    for form in (images, list(images), images[..., None], images.tolist()):
        np.testing.assert_array_equal(of_images.predict_proba(form), expected)
    with caplog.at_level(logging.INFO, "dgg_jax"):
        warped = DGG(2, **TINY | {"siamese_epochs": 1}).fit(images)
    assert "X is taken for images of 6 x 5; siamese_warp=0 if they ar" in caplog.text
    assert warped.preset_.siamese_warp == 5 / 16
    caplog.clear()
    with caplog.at_level(logging.INFO, "dgg_jax"):  # whose default warps nothing
        SpectralNet(2, siamese_epochs=1, epochs=1, hidden_sizes=(4,)).fit(images)
    assert "taken for images" not in caplog.text
    windows = np.random.default_rng(0).normal(size=(40, 12, 4))
    assert DGG(2, **TINY).fit(windows).preset_.siamese_warp == 0
    assert DGG(2, **TINY).fit(flat).preset_.siamese_warp == 0


class Tensor:
    """As PyTorch's: numpy knows neither its dtype nor how to leave its graph."""

    dtype, requires_grad = "torch.float32", True

    def __init__(self, values):
        self.values = np.asarray(values, np.float32)
        self.shape = self.values.shape

    def detach(self):
        other = Tensor(self.values)
        other.requires_grad = False
        return other

    def cpu(self):
        return self

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        return Tensor(self.values[index])

    def __array__(self, dtype=None, copy=None):
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        return np.array(self.values, dtype)


class Column(collections.abc.Sequence):
    """As of a Hugging Face data set: a sequence without dtype and shape."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


def of_arrow(rows):
    pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    return pyarrow.chunked_array([rows.reshape(len(rows), -1).tolist()])


def of_torch(rows):
    torch = pytest.importorskip("torch", reason="needs torch")
    return torch.tensor(rows, dtype=torch.float32, requires_grad=True)


FORMS = {
    "tensor": Tensor,
    "torch": of_torch,
    "jax": jnp.asarray,
    "list of tensors": lambda rows: [Tensor(row) for row in rows],
    "list of arrays": list,
    "column of lists": lambda rows: Column(rows.tolist()),
    "column of tensors": lambda rows: Column([Tensor(row) for row in rows]),
    "series of arrays": lambda rows: pd.Series(list(rows)),
    "arrow": of_arrow,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(30,), (6, 5), (5, 2, 3)])
def test_arrays_of_other_libraries(form, shape):
    rows = np.random.default_rng(0).random((12, *shape)).astype(np.float32)
    estimator = GMVAE(2)
    taken = estimator._rows(FORMS[form](rows), reset=True)
    np.testing.assert_array_equal(taken, rows.reshape(12, 30))
    again = estimator._rows(FORMS[form](rows[:3]), reset=False)
    np.testing.assert_array_equal(again, rows[:3].reshape(3, 30))


def test_half_precision():
    rows = jnp.asarray(X, jnp.bfloat16)
    taken = DGG(2)._rows(rows, reset=True)
    np.testing.assert_array_equal(taken, rows.astype(np.float32))


def test_values_that_are_masked_are_missing():
    masked = np.ma.array(X.copy(), mask=np.zeros(X.shape, bool))
    np.testing.assert_array_equal(as_array(masked), X)
    masked[3, 1] = np.ma.masked
    masked.data[3, 1] = 1e4  # as fill values are
    found = as_array(masked)
    assert found.dtype == X.dtype and np.isnan(found[3, 1])
    assert np.isnan(found).sum() == 1 and type(found) is np.ndarray
    whole = np.ma.masked_equal(np.arange(6).reshape(3, 2), 4)
    np.testing.assert_array_equal(as_array(whole), [[0, 1], [2, 3], [np.nan, 5]])


def test_images_of_several_sizes_are_refused():
    images = [np.zeros((6, 5)), np.zeros((5, 6))]
    for form in (images, Column(images), pd.Series(images)):
        with pytest.raises(InvalidInput, match=r"one shape, got \(6, 5\) and \(5, 6\)"):
            DGG(2).fit(form)


@QUIET
def test_fit_and_predict_take_tensors_of_images():
    images = np.random.default_rng(0).random((40, 6, 5, 1)).astype(np.float32)
    estimator = SpectralNet(2, siamese_epochs=1, epochs=1, hidden_sizes=(4,))
    estimator.set_params(random_state=0).fit(Tensor(images))
    assert estimator.image_shape_ == (6, 5, 1)
    for form in (images, Tensor(images), Column(list(images))):
        np.testing.assert_array_equal(estimator.predict(form), estimator.labels_)


@QUIET
def test_results_are_written_into_annotated_matrices(tmp_path):
    anndata = pytest.importorskip("anndata", reason="needs anndata")
    x = np.random.default_rng(0).random((40, 3)).astype(np.float32)
    cells = anndata.AnnData(x, var=pd.DataFrame(index=["g1", "g2", "g3"]))
    model = DEC(2, hidden_sizes=(4,), latent_dim=2, epochs=1, random_state=0)
    model.fit(cells).annotate(cells)
    assert cells.obs["dec"].dtype == "category"
    assert cells.obs["dec"].cat.categories.tolist() == ["0", "1"]
    assert cells.obs["dec"].astype(int).tolist() == model.labels_.tolist()
    np.testing.assert_array_equal(cells.obs["dec_confidence"], model.confidence_)
    np.testing.assert_array_equal(cells.obsm["X_dec"], model.embedding_)
    model.labels_ = np.r_[[-1], model.labels_[1:]]  # as outliers are
    model.annotate(cells, "mine")
    assert cells.obs["mine"].isna().sum() == 1
    cells.write_h5ad(tmp_path / "cells.h5ad")
    written = anndata.read_h5ad(tmp_path / "cells.h5ad").uns["mine"]
    assert written["sizes"].sum() == 39
    assert written["params"]["epochs"] == 1
    assert written["params"]["hidden_sizes"].tolist() == [4]
    assert written["version"] == dgg_jax.__version__
    with pytest.raises(InvalidInput, match=r"40 rows of training, got 10; predict"):
        model.annotate(cells[:10])


@QUIET
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_annotated_matrices(form):
    anndata = pytest.importorskip("anndata", reason="needs anndata")
    genes = pd.DataFrame(index=["g1", "g2", "g3"])
    x = form(np.random.default_rng(0).poisson(1.0, (40, 3)).astype(np.float32))
    cells = anndata.AnnData(x, var=genes)
    plain = x.toarray() if sparse.issparse(x) else x
    estimator = DEC(2, hidden_sizes=(4,), latent_dim=2, epochs=1, random_state=0)
    labels = estimator.fit(cells).labels_
    assert estimator.feature_names_in_.tolist() == ["g1", "g2", "g3"]
    frame = pd.DataFrame(plain, columns=genes.index)
    np.testing.assert_array_equal(estimator.predict(frame), labels)
    np.testing.assert_array_equal(estimator.predict(cells), labels)
    with pytest.raises(ValueError, match=r"same order|should match"):
        estimator.predict(cells[:, ["g2", "g1", "g3"]])
    cells.layers["counts"] = x
    cells.X = None
    with pytest.raises(InvalidInput, match=r"without X; its layers are: counts. Give"):
        estimator.fit(cells)


def test_sparse_matrices_are_checked_before_use():
    for kind in (sparse.csr_matrix, sparse.csc_array):
        broken = kind(np.eye(40, 6))
        broken.indices[3] = 10**6
        with pytest.raises(ValueError, match="indices of a sparse matrix leave its"):
            DGG(2, **TINY).fit(broken)


# --- Far off zero, and fewer rows than clusters ------------------------------------


def test_what_is_no_number_is_named():
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    date = pd.Timestamp("2020-01-02")
    for rows, message in (
        (frame.assign(b=pd.Categorical(["low", "high"] * 20)), "column 'b' has 'low'"),
        (frame.assign(c=date), r"column 'c' has Timestamp\(.* in row 0; leave"),
        (frame.astype(object).mask(frame == X[7, 1], "n/a"), "'b' has 'n/a' in row 7"),
        ([["a", "b"]] * 20, "column 0 has 'a' in row 0.*OneHotEncoder"),
        (X.astype("datetime64[s]"), r"got datetime64\[s\]; give the time since"),
    ):
        with pytest.raises(InvalidInput, match=message):
            tiny("DEC").fit(rows)
    with pytest.raises(ValueError, match="contains infinity"):
        tiny("DEC").fit(frame.assign(b=np.inf))


@few
@hypothesis.given(
    st.floats(2.3, 12).map(lambda power: 10**power),
    st.integers(0, 2),
    st.sampled_from((np.float64, np.float32)),
)
def test_what_a_cast_would_lose_is_refused(offset, column, kind):
    x = X.copy()
    # Beyond that, the caller has lost it.
    x[:, column] += x.std() * (offset if kind is np.float64 else min(offset, 1e5))
    with pytest.raises(InvalidInput, match=rf"column {column} of the data.*StandardSc"):
        DGG(2, **TINY).fit(x.astype(kind))
    # By its name, where it has one.
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    with pytest.raises(InvalidInput, match=rf"column '{'abc'[column]}' of the data"):
        DGG(2, **TINY).fit(frame)


def test_seconds_of_unix_are_not_constant():
    for dtype in (np.float64, np.int64):
        with pytest.raises(InvalidInput) as caught:
            DEC(2).fit((10 * X + 1.7e9).astype(dtype))
        assert "constant" not in str(caught.value)
        assert "float32" in str(caught.value) and "DEC()" in str(caught.value)


def test_what_is_no_such_offset():
    for x in (
        X + 5,
        X * 1e9,
        np.c_[X, np.full(40, 1e6)],  # constant
        np.c_[X, 1 + X[:, 0] * 1e-6],  # spreads little, for what it adds
        np.full((40, 3), 1.7e9),
    ):
        preprocessing.check_offset(x, None, "")


def test_an_offset_that_may_do_is_warned_of(caplog):
    preprocessing.check_offset(X + 30, ["a", "b", "c"], "scale it")
    assert "which networks hardly tell apart; scale it." in caplog.text


def test_values_are_cast_as_before():
    x = np.random.default_rng(0).normal(size=(50, 4)) * 1e3
    estimator = DGG(2)
    for kind in (np.float64, np.float32, np.int64, np.int8, bool):
        rows = estimator._rows(x.astype(kind), reset=True)
        assert rows.dtype == np.float32
        np.testing.assert_array_equal(rows, x.astype(kind).astype(np.float32))
    x[3, 2] = 1e300
    with pytest.raises(ValueError, match="too large for float32"):
        estimator._rows(x, reset=True)


def test_advice_on_scale():
    assert preprocessing.advice_on_scale(X) == ""
    assert preprocessing.advice_on_scale(abs(X) % 1) == ""
    assert "scale them first" in preprocessing.advice_on_scale(X + 20)
    assert "scale them first" in preprocessing.advice_on_scale(X * [1, 1, 1000])
    uneven = np.r_[X, X] * [1.0, 1e4, 1e-4]
    settings = {"hidden_sizes": (4,), "latent_dim": 2, "random_state": 0}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        GMVAE(20, **settings, epochs=1).fit(uneven)
    text = " ".join(str(one.message) for one in caught)
    assert "may have collapsed" in text and "make_pipeline(StandardScaler()" in text


@few
@hypothesis.given(st.integers(1, 5), st.integers(2, 6), st.booleans())
def test_more_clusters_than_different_rows(different, more, is_sparse):
    rows = np.random.default_rng(0).normal(size=(different, 3))
    x = rows[np.arange(60) % different]
    x[x == 0] = -0.0
    num_clusters = different + more
    x = sparse.csr_array(x) if is_sparse else x
    message = f"n_clusters={num_clusters} exceeds the {different} different rows of x"
    with pytest.raises(InvalidInput, match=message):
        DEC(num_clusters).fit(x)
    dense = x.toarray() if is_sparse else x
    checks.data_matrix(dense, different, unit_interval=False)


# --- What is taken for something else -------------------------------------------------


def test_a_path_is_no_matrix():
    with pytest.raises(InvalidInput, match=r"got the path 'flowers.csv'; dgg_jax.data"):
        tiny("DGG").fit("flowers.csv")


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 8, 8)])
def test_images_with_their_channels_first_are_warned_of(shape, caplog):
    x = np.random.default_rng(0).random((40, *shape))
    DGG(2, **TINY).fit(x)
    assert "if they are images, give X.transpose(0, 2, 3, 1)" in caplog.text


def test_a_graph_of_all_rows_is_warned_of(caplog):
    DGG(2, **{**TINY, "num_neighbors": 100}).fit(X)
    assert "num_neighbors=100: every row is a neighbour of all 39" in caplog.text
    caplog.clear()
    DGG(2, **TINY).fit(X)
    assert "every row is a neighbour" not in caplog.text


def test_a_batch_of_its_own_for_every_row_is_refused():
    with pytest.raises(InvalidInput, match="one of its own for each of the 40 rows"):
        DGG(2, **TINY).fit(X, batch=np.arange(40))


def test_a_new_row_without_any_value_has_no_cluster():
    model = DGG(2, **TINY).fit(X)
    new = X[:3].copy()
    new[1] = np.nan
    with pytest.raises(InvalidInput, match="row 1 of x has no value"):
        model.predict(new)
    new[1, 2] = 0.5
    assert model.predict(new).shape == (3,)


def test_only_annotated_data_can_be_annotated():
    with pytest.raises(InvalidInput, match="must be an AnnData object, got DataFrame"):
        DGG(2, **TINY).fit(X).annotate(pd.DataFrame(X))


def test_a_report_of_batches_is_of_the_rows_of_training(tmp_path):
    model = DGG(2, **TINY).fit(X, batch=np.arange(40) % 2)
    assert model.report(tmp_path / "page.html", X).exists()
    with pytest.raises(InvalidInput, match="X must be the rows that were given to fit"):
        model.report(tmp_path / "page.html", X[::-1] + 1)
