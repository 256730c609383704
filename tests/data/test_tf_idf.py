"""Words as numbers: counts, tf-idf, the scaling of the rows and its lambda."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

from dgg_jax.checks import InvalidInput
from dgg_jax.data import preprocessing

COUNTS = np.array([[2, 0, 1, 0], [1, 3, 0, 0], [0, 0, 1, 0]])


def test_count_words():
    counts = preprocessing.count_words(["The Dog, a dog: 42!", "cafés dog".encode()])
    # 42, cafés, dog; "the" and "a" are stop words.
    assert counts.toarray().tolist() == [[1, 0, 2], [0, 1, 1]]
    with pytest.raises(ValueError, match="empty vocabulary"):
        preprocessing.count_words(["the", ""])


def test_tf_idf_by_hand():
    x = preprocessing.tf_idf(sparse.csr_array(COUNTS), num_words=3, scaling="unit")
    idf = 1 + np.log(4 / np.array([3, 2, 3]))
    tf = np.where(COUNTS > 0, 1 + np.log(np.maximum(COUNTS, 1)), 0)[:, :3]
    expected = tf * idf / np.linalg.norm(tf * idf, axis=1, keepdims=True)
    assert isinstance(x, sparse.csr_array) and x.dtype == np.float32
    np.testing.assert_allclose(x.toarray(), expected, rtol=1e-6)


def test_tf_idf_is_the_published_step():
    rng = np.random.default_rng(0)
    words = [f"word{number}" for number in range(40)]
    share = 1 / np.arange(1, 41)
    texts = [" ".join(rng.choice(words, 30, p=share / share.sum())) for _ in range(50)]
    counts = CountVectorizer(max_features=20).fit_transform(texts)
    published = TfidfTransformer(sublinear_tf=True).fit_transform(counts) * np.sqrt(20)
    ours = preprocessing.tf_idf(preprocessing.count_words(texts), num_words=20)
    np.testing.assert_allclose(ours.toarray(), published.toarray(), rtol=1e-6)


@pytest.mark.parametrize(("num_words", "kept"), [(1, [1]), (2, [0, 1]), (9, [0, 1, 2])])
def test_most_frequent(num_words, kept):
    x = sparse.csr_array(COUNTS[:, :3])
    found = preprocessing.most_frequent(x, np.array([3, 4, 3]), num_words)
    np.testing.assert_array_equal(found.toarray(), COUNTS[:, kept])


def test_scale_rows():
    x = sparse.csr_array(np.array([[3.0, 0, 4, 0], [0, 0, 0, 0], [0, -2, 0, 0]]))
    before = x.toarray()
    unit = preprocessing.scale_rows(x, "unit").toarray()
    np.testing.assert_allclose(
        unit, [[0.6, 0, 0.8, 0], [0, 0, 0, 0], [0, -1, 0, 0]], rtol=1e-6
    )
    published = preprocessing.scale_rows(x, "sqrt_dim").toarray()
    np.testing.assert_allclose(published, 2 * unit, rtol=1e-6)
    np.testing.assert_array_equal(x.toarray(), before)
    with pytest.raises(InvalidInput, match="scaling='none' is unknown; choose one of"):
        preprocessing.scale_rows(x, "none")


def test_the_variance_keeps_the_likelihood_ratio():
    x = sparse.csr_array(np.random.default_rng(1).random((2, 50)))
    costs = []
    for scaling in preprocessing.TFIDF_SCALINGS:
        rows = preprocessing.scale_rows(x, scaling).toarray()
        variance = preprocessing.tf_idf_variance(10.0, 50, scaling)
        costs.append(((rows[0] - rows[1]) ** 2).sum() / variance)
    assert costs[0] == pytest.approx(costs[1], rel=1e-5)
    assert preprocessing.tf_idf_variance(10.0, 2000, "sqrt_dim") == 10.0
    assert preprocessing.tf_idf_variance(10.0, 2000, "unit") == 0.005
