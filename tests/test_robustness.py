"""Data at the edges: a sound result, or an error that says what is wrong."""

import os
import warnings

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

import dgg_jax
from dgg_jax.checks import InvalidInput
from dgg_jax.training import Diverged, optimize
from tests.hardening.check_estimators import LONG

pytestmark = pytest.mark.filterwarnings(
    # Among duplicates; K-means says so itself.
    "ignore:Number of distinct clusters:sklearn.exceptions.ConvergenceWarning"
)

AUTOENCODER = {
    "hidden_sizes": (4,),
    "latent_dim": 2,
    "epochs": 2,
    "pretrain_autoencoder_epochs": 1,
}
SETTINGS = {
    "DGG": AUTOENCODER
    | {
        "pretrain_vae_epochs": 1,
        "siamese_epochs": 1,
        "classifier_epochs": 1,
        "label_epochs": 0,
        "num_neighbors": 3,
        "num_candidates": 4,
    },
    "VaDE": AUTOENCODER | {"label_epochs": 1, "num_neighbors": 3},
    "GMVAE": {
        "hidden_sizes": (4,),
        "component_hidden_size": 4,
        "latent_dim": 2,
        "w_dim": 2,
        "epochs": 2,
    },
    "DEC": AUTOENCODER,
    "SpectralNet": {
        "hidden_sizes": (4,),
        "latent_dim": 2,
        "siamese_epochs": 1,
        "epochs": 2,
    },
    "IMSAT": {"hidden_sizes": (4,), "epochs": 2},
    "CatGAN": {"hidden_sizes": (4,), "latent_dim": 2, "epochs": 2},
    "AAE": {"hidden_sizes": (4,), "latent_dim": 2, "epochs": 2},
    "LTVAE": AUTOENCODER | {"search_epochs": 1},
}
METHODS = tuple(SETTINGS)
MOSTLY_QUICK = [
    pytest.param(method, marks=pytest.mark.release if method in LONG else ())
    for method in METHODS
]
EXAMPLES = int(os.environ.get("EXAMPLES", 8))  # of test_any_matrix
ROWS, COLUMNS, CLUSTERS = 12, 3, 3


def estimator(method, num_clusters=CLUSTERS, **changes):
    given = SETTINGS[method] | changes
    return getattr(dgg_jax, method)(num_clusters, **given, random_state=0)


def assert_sound(model, x, num_clusters):
    assert model.labels_.shape == (x.shape[0],)
    assert set(model.labels_) <= set(range(num_clusters))
    np.testing.assert_array_equal(model.predict(x), model.labels_)
    if hasattr(model, "predict_proba"):
        for probabilities in (model.probabilities_, model.predict_proba(x)):
            assert probabilities.shape == (x.shape[0], num_clusters)
            assert np.isfinite(probabilities).all() and probabilities.min() >= 0
            np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-4)
    if hasattr(model, "embedding_"):
        assert np.isfinite(model.embedding_).all()
        assert np.isfinite(model.transform(x)).all()
    if hasattr(model, "score_samples"):
        assert np.isfinite(model.score_samples(x)).all()
        assert np.isfinite(model.sample(3)[0]).all()
        for field in (model.means_, model.variances_, model.weights_):
            assert np.isfinite(field).all()


def uniform(rows=ROWS, columns=COLUMNS):
    return np.random.default_rng(0).random((rows, columns))


def normal(rows=ROWS, columns=COLUMNS):
    return np.random.default_rng(0).normal(size=(rows, columns))


def replaced(x, where, value):
    x = x.copy()
    x[where] = value
    return x


def sparse_with_empty_rows():
    return sparse.csr_array(replaced(uniform(), np.s_[:4], 0.0))


SITUATIONS = {
    "constant feature": lambda: replaced(uniform(), np.s_[:, 1], 0.5),
    "constant feature far off": lambda: replaced(normal(), np.s_[:, 1], 1e6),
    "three different rows": lambda: np.repeat(np.eye(3), ROWS // 3, axis=0),
    "three different real rows": lambda: np.repeat(5.0 * np.eye(3), ROWS // 3, 0),
    "an outlying row": lambda: replaced(normal(), 0, 1e6),
    "an outlying value": lambda: replaced(normal(), (3, 1), -1e6),
    "large": lambda: 1e6 * normal(),
    "small": lambda: 1e-6 * normal(),
    "exactly 0 and 1": lambda: (uniform() > 0.5).astype(float),
    "sparse with empty rows": sparse_with_empty_rows,
}


@pytest.mark.parametrize(
    "method", ["DGG", "GMVAE", "SpectralNet", "IMSAT", "CatGAN", "AAE"]
)
def test_all_at_once(method):
    x = np.repeat(normal(ROWS // 2), 2, axis=0)
    x[:, 1] = 0.0
    x[0, 2] = 1e6
    assert_sound(estimator(method).fit(x), x, CLUSTERS)


@pytest.mark.slow
@pytest.mark.parametrize("method", MOSTLY_QUICK)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_situation(situation, method):
    x = SITUATIONS[situation]()
    assert_sound(estimator(method).fit(x), x, CLUSTERS)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["DGG", "VaDE", "GMVAE"])
@pytest.mark.parametrize(
    "changes",
    [
        {"likelihood": "learned_gaussian"},
        {"variance": 1.0},
        {"init": "gmm"},
        {"init": "kmeans"},
    ],
    ids=lambda changes: str(*changes.values()),
)
def test_an_outlier_under_other_settings(method, changes):
    if method == "GMVAE" and "init" in changes:
        pytest.skip("GMVAE starts from no labels")
    x = SITUATIONS["an outlying row"]()
    assert_sound(estimator(method, **changes).fit(x), x, CLUSTERS)


SHAPES = {
    "one cluster of two rows": (2, COLUMNS, 1),
    "one dimension": (ROWS, 1, CLUSTERS),
    "a row a cluster": (5, COLUMNS, 5),
    "a row more than clusters": (6, COLUMNS, 5),
}


@pytest.mark.slow
@pytest.mark.parametrize("method", MOSTLY_QUICK)
@pytest.mark.parametrize("shape", SHAPES)
def test_shape(shape, method):
    rows, columns, num_clusters = SHAPES[shape]
    x, model = normal(rows, columns), estimator(method, num_clusters)
    if method == "SpectralNet" and rows <= num_clusters:
        with pytest.raises(InvalidInput, match="more rows than clusters, got"):
            model.fit(x)
    else:
        assert_sound(model.fit(x), x, num_clusters)


@pytest.mark.slow
@pytest.mark.parametrize("method", MOSTLY_QUICK)
def test_one_row_against_a_thousand(method):
    x = replaced(normal(1_001), 0, 9.0)
    assert_sound(estimator(method, 2).fit(x), x, 2)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("x", "num_clusters", "message"),
    [
        (uniform(), ROWS + 1, "n_clusters=13 exceeds the 12 rows of x"),
        (uniform(), 0, "n_clusters must be at least 1, got 0"),
        (uniform(), "3", "n_clusters must be an integer( or 'auto')?, got '3'"),
        (uniform(), 2.0, "n_clusters must be of type int, got 2.0"),
        (uniform(1), 1, "minimum of 2 is required"),
        (np.full((4, 2), 0.5), 2, r"x is constant \(every value is 0.5\)"),
        (1e300 * uniform(), 2, "a value too large for float32"),
    ],
)
def test_what_cannot_be_clustered(method, x, num_clusters, message):
    with warnings.catch_warnings(), np.errstate(over="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        with pytest.raises(ValueError, match=message):
            estimator(method, num_clusters).fit(x)


@pytest.mark.parametrize("method", METHODS)
def test_a_value_is_missing(method):
    model, x = estimator(method, 2), replaced(uniform(), (2, 1), np.nan)
    if method in ("DGG", "VaDE", "DEC", "LTVAE"):
        assert np.isfinite(model.fit(x).embedding_).all()
        assert model.predict(x).shape == (ROWS,)
    else:
        with pytest.raises(ValueError, match="contains NaN"):
            model.fit(x)


@pytest.mark.parametrize("method", ["GMVAE", "DEC"])
def test_rows_out_of_reach_are_refused(method):
    model = estimator(method).fit(normal())
    far = replaced(normal(2), 1, 3e38)
    with pytest.raises(InvalidInput, match="nothing finite of row 1 of X"):
        model.predict(far)


def test_a_stage_that_ends_with_nan_names_itself(monkeypatch):
    from dgg_jax.methods import dec

    model = estimator("DEC")

    def broken(loop, loss, params, *arguments, **keywords):
        state = optimize(loop, loss, params, *arguments, **keywords)
        lost = jax.tree.map(lambda leaf: leaf * np.nan, state.params)
        return state._replace(params=lost)

    monkeypatch.setattr(dec, "optimize", broken)
    with pytest.raises(Diverged, match="not finite at the end of stage train"):
        model.fit(normal())


@st.composite
def matrices(draw):
    """Matrices that mix what data can have at their edges, and a number of clusters."""
    # Few shapes, of other tests here: programs are compiled for each.
    shapes = [(ROWS, COLUMNS, CLUSTERS), SHAPES["one dimension"]]
    rows, columns, num_clusters = draw(st.sampled_from(shapes))
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    x = random.normal(size=(rows, columns))
    if draw(st.booleans()):  # values for a Bernoulli likelihood
        x = np.clip(random.random((rows, columns)), 0.0, 1.0)
        x = np.round(x) if draw(st.booleans()) else x
    else:
        x = x * 10.0 ** draw(st.integers(-6, 6))
        x = x + draw(st.sampled_from([0.0, 1.0, 1e6]))
    if draw(st.booleans()):
        x[:, draw(st.integers(0, columns - 1))] = draw(st.sampled_from([0.0, 1.0]))
    if draw(st.booleans()):
        x[rows // 2 :] = x[: rows - rows // 2]
    if draw(st.booleans()):
        x[0] *= draw(st.sampled_from([0.0, 1.0, 1e6]))
    return (sparse.csr_array(x) if draw(st.booleans()) else x), num_clusters


@pytest.mark.slow
@pytest.mark.parametrize("method", MOSTLY_QUICK)
def test_any_matrix(method):
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(matrices())
    def check(matrix):
        x, num_clusters = matrix
        try:
            model = estimator(method, num_clusters).fit(x)
        except (InvalidInput, Diverged):
            return
        assert_sound(model, x, num_clusters)

    check()
