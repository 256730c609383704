"""Where the Siamese network's positive pairs are near."""

import numpy as np
import pytest
from scipy import sparse

from dgg_jax import presets
from dgg_jax.graph import knn
from dgg_jax.methods import similarity
from dgg_jax.methods.problem import Problem
from dgg_jax.placement.rows import HostRows, sparse_rows

SAME = {
    "array": np.asarray,
    "host": HostRows,
    "sparse": lambda x: sparse_rows(sparse.csr_array(x)),
}


def points(num_points=70, num_columns=12):
    random = np.random.default_rng(3)
    spread = np.linspace(3.0, 0.1, num_columns)
    x = random.standard_normal((num_points, num_columns)) * spread + 5.0
    return x.astype(np.float32)


@pytest.mark.parametrize("kind", SAME)
@pytest.mark.parametrize("at_once", [16, 1000])
def test_leading_components_keep_the_largest_distances(monkeypatch, kind, at_once):
    monkeypatch.setattr(similarity, "_ROWS_AT_ONCE", at_once)
    x = points()
    found = similarity.leading_components(SAME[kind](x), 3)
    centered = x - x.mean(axis=0)
    axes = np.linalg.svd(centered)[2][:3]
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        found @ found.T, centered @ axes.T @ axes @ centered.T, atol=1e-3
    )


@pytest.mark.parametrize("number", [0, 12, 13])
def test_all_components_are_the_points_themselves(number):
    x = points()
    assert similarity.leading_components(x, number) is x
    few = points(num_points=8)
    assert similarity.leading_components(few, 8) is few


@pytest.mark.parametrize("number", [0, 2])
def test_pairs_are_near_in_the_components_that_the_preset_tells(monkeypatch, number):
    x, found = points(), {}
    monkeypatch.setattr(
        similarity, "_train", lambda *given: found.update(near=given[3]) or {}
    )
    monkeypatch.setattr(similarity, "embed_all", lambda *given: None)
    problem = Problem.of(x, presets.SpectralNetPreset(siamese_components=number))

    def embed(problem, state):
        similarity.siamese_embedding(problem, None, None)
        return {}, {}

    problem.runner.stage("graph", embed, problem, {})
    space = similarity.leading_components(x, number)
    np.testing.assert_array_equal(found["near"], knn(space, 2)[0])
    other = similarity.leading_components(x, 2 - number)
    assert not np.array_equal(found["near"], knn(other, 2)[0])
