"""The search of a latent tree: planted facets, moves, BIC, another root."""

import jax
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from dgg_jax.losses import ltvae
from dgg_jax.losses.ltvae import Structure
from dgg_jax.stages import latent_trees
from dgg_jax.stages.initialize import diagonal_mixture

log_densities = jax.jit(jax.vmap(ltvae.log_density, (0, None, None)))


def structure(*fields):
    return Structure(*(np.array(field, np.int32) for field in fields))


TWO = structure([0, 0, 0], [3, 2, 1], [0, 1, 0, 1, 1], [0, 1, 0, 3, 4])
THREE = structure([0, 0, 1], [3, 2, 3], [0, 1, 0, 1, 2], [0, 1, 0, 3, 4])


def planted(seed, second):
    """Two independent groupings in three coordinates each, shuffled: z [600, 6]."""
    random = np.random.default_rng(seed)
    y = np.stack([random.integers(3, size=600), random.integers(second, size=600)])
    corners = 5.0 * np.eye(3)
    z = np.concatenate([corners[y[0]], corners[y[1]]], axis=1)
    z = z + random.normal(size=z.shape)
    return z[:, random.permutation(6)].astype(np.float32), y


def mixture_of(z, num_clusters, max_facets, seed=0):
    start = latent_trees.single_root(num_clusters, z.shape[1], max_facets)
    labels = np.zeros((len(z), max_facets), np.int32)
    labels[:, 0] = diagonal_mixture(z, num_clusters, seed=seed).predict(z)
    statistics = latent_trees.of_labels(z, labels, start, num_clusters)
    return latent_trees.fit(z, statistics, start, 1e-3)


@pytest.mark.parametrize(("seed", "second"), [(0, 3), (1, 3), (2, 2), (3, 2)])
def test_both_planted_facets_are_found(seed, second):
    z, y = planted(seed, second)
    start = mixture_of(z, 3, 4)
    found = latent_trees.search(z, start, 1e-3, 30)
    assert found.bic > start.bic
    assert latent_trees.num_facets(found.structure) == 2
    assert sorted(found.structure.states[:2]) == sorted((3, second))
    labels = np.asarray(latent_trees.labels_of(z, found.tree, found.structure))
    scores = [[adjusted_rand_score(one, labels[:, v]) for v in range(2)] for one in y]
    assert max(scores[0]) > 0.95 and max(scores[1]) > 0.95
    assert found.structure.states[0] == 3
    # Each has its own coordinates, none of which tell of another's.
    assert np.bincount(found.structure.owners).tolist() == [3, 3]
    assert latent_trees.search(z, found, 1e-3, 1).bic == pytest.approx(found.bic)


def test_without_moves_the_mixture_stays():
    z, _ = planted(0, 3)
    start = mixture_of(z, 3, 4)
    found = latent_trees.search(z, start, 1e-3, 0)
    assert found.structure.states.tolist() == [3, 1, 1, 1]
    assert found.bic == start.bic
    # There is no place for another variable.
    alone = latent_trees.search(z, mixture_of(z, 3, 1), 1e-3, 3)
    assert alone.structure.states.tolist() == [3]


def test_one_grouping_has_one_facet():
    random = np.random.default_rng(0)
    z = 6.0 * np.eye(4)[random.integers(4, size=600)] + random.normal(size=(600, 4))
    z = z.astype(np.float32)
    found = latent_trees.search(z, mixture_of(z, 4, 3), 1e-3, 10)
    assert found.structure.states.tolist() == [4, 1, 1]
    assert found.structure.pouches.tolist() == [0, 1, 2, 3]


def test_correlated_coordinates_go_into_one_pouch():
    random = np.random.default_rng(0)
    y = random.integers(2, size=800)
    z = random.normal(size=(800, 4)) + 6.0 * y[:, None]
    z[:, 2] += 1.5 * z[:, 0]
    z = z.astype(np.float32)
    found = latent_trees.search(z, mixture_of(z, 2, 2), 1e-3, 10)
    pouches = found.structure.pouches
    assert pouches[0] == pouches[2] and len(set(pouches)) == 3


def test_free_numbers_by_hand():
    # Root 2; y1 given it 3 * 1. Pouches: {0, 2} of 3 states with 2 + 3 numbers, and
    # {1}, {3}, {4} of 2 states with 1 + 1.
    assert latent_trees.num_parameters(TWO) == 2 + 3 + 3 * 5 + 3 * 2 * 2
    # y2 of 3 states given y1's 2, and {4} hangs on it.
    assert latent_trees.num_parameters(THREE) == 2 + 3 + 4 + 15 + 2 * 2 * 2 + 3 * 2
    alone = latent_trees.single_root(10, 4, 3)
    assert latent_trees.num_parameters(alone) == 9 + 10 * 4 * 2
    one_pouch = alone._replace(pouches=np.zeros(4, np.int32))
    assert latent_trees.num_parameters(one_pouch) == 9 + 10 * (4 + 10)


def test_the_bic_is_the_likelihood_less_half_a_logarithm_each():
    z, _ = planted(0, 3)
    found = mixture_of(z, 3, 2)
    total = float(np.sum(log_densities(z, found.tree, found.structure)))
    free = latent_trees.num_parameters(found.structure)
    assert found.bic == pytest.approx(total - 0.5 * free * np.log(600), rel=1e-5)
    # scikit-learn's has the other sign, and is twice as much.
    mixture = diagonal_mixture(z, 3, seed=0)
    assert found.bic == pytest.approx(-0.5 * mixture.bic(z), rel=1e-3)


@pytest.mark.parametrize("root", [1, 2])
def test_another_root_is_the_same_distribution(root):
    random = np.random.default_rng(0)
    z = random.normal(size=(300, 5)).astype(np.float32)
    labels = random.integers(6, size=(300, 3)) % THREE.states
    statistics = latent_trees.of_labels(z, labels, THREE, 3)
    turned, moved = latent_trees.rerooted(THREE, statistics, root)
    before = ltvae.maximized(statistics, THREE, 1e-3)
    after = ltvae.maximized(moved, turned, 1e-3)
    np.testing.assert_allclose(
        log_densities(z, after, turned), log_densities(z, before, THREE), rtol=1e-4
    )
    assert latent_trees.num_parameters(turned) == latent_trees.num_parameters(THREE)
    assert (turned.parents[1:] < np.arange(1, 3)).all() and turned.parents[0] == 0
    np.testing.assert_array_equal(
        latent_trees.labels_of(z, after, turned)[:, 0],
        latent_trees.labels_of(z, before, THREE)[:, root],
    )


def test_the_root_is_what_says_most_of_z():
    """Of those with as many states: a root on which nothing hangs says least."""
    z, y = planted(0, 2)
    labels = np.stack([np.arange(600) // 200, y[0], y[1]], axis=1)
    of_first = np.flatnonzero([abs(np.corrcoef(y[0] == k, c)[0, 1]) > 0.3
                               for c in z.T for k in [0]])  # fmt: skip
    owners = np.full(6, 2)
    for coordinate, column in enumerate(z.T):
        means = [column[y[0] == k].mean() for k in range(3)]
        owners[coordinate] = 1 if np.ptp(means) > 2.0 else 2
    assert set(of_first) <= set(np.flatnonzero(owners == 1))
    bare = structure([0, 0, 0], [3, 3, 2], owners, np.arange(6))
    statistics = latent_trees.of_labels(z, labels, bare, 3)
    present = latent_trees.fit(z, statistics, bare, 1e-3, 5)
    told = np.asarray(latent_trees.information(z, present.tree, bare))
    assert told[0] < 0.1 and told[1] == pytest.approx(np.log(3), abs=0.05)
    assert told[2] == pytest.approx(np.log(2), abs=0.05)
    hung = latent_trees.hung_by_the_clearest(z, present, 1e-3)
    labels = np.asarray(latent_trees.labels_of(z, hung.tree, hung.structure))
    assert adjusted_rand_score(y[0], labels[:, 0]) > 0.95


def test_the_moves_of_each_operator():
    """How many there are, and that each leaves a tree."""
    random = np.random.default_rng(0)
    z = random.normal(size=(100, 5)).astype(np.float32)
    labels = random.integers(6, size=(100, 3)) % THREE.states
    counts = {
        latent_trees.relocated_pouches: 4 * 2,
        latent_trees.relocated_variables: 1,  # y2 to the root
        latent_trees.joined_pouches: 1,  # {1} and {3}
        latent_trees.parted_pouches: 2,  # 0 or 2 from the other
        latent_trees.added_variables: 0,  # no place
        latent_trees.deleted_variables: 2,
        latent_trees.split_states: 2,  # of y1; y2 has as many as the root
        latent_trees.merged_states: 3,  # of y2
    }
    assert set(counts) == set(latent_trees.OPERATORS)
    for operator, count in counts.items():
        made = list(operator(z, THREE, labels))
        assert len(made) == count, operator
        for moved, known in made:
            check_tree(moved, known)
    made = list(latent_trees.added_variables(z, TWO, labels))
    assert len(made) == 3  # pairs of {1}, {3}, {4}
    for moved, known in made:
        check_tree(moved, known)
        assert moved.parents[2] == 1 and moved.states[2] == 2
        assert np.count_nonzero(moved.owners == 2) == 2
        assert 10 < known[:, 2].sum() < 90


def check_tree(moved, labels):
    assert moved.parents[0] == 0 and moved.states[0] == 3
    assert (moved.parents[1:] < np.arange(1, 3)).all()
    present = latent_trees.num_facets(moved)
    assert (moved.states[:present] > 1).all() and (moved.states[present:] == 1).all()
    assert moved.owners.max() < present
    for pouch in np.unique(moved.pouches):
        assert moved.pouches[pouch] == pouch  # named after one of its own
        assert len(set(moved.owners[moved.pouches == pouch])) == 1
    assert (labels < moved.states[None]).all() and (labels >= 0).all()
    assert all(field.dtype == np.int32 for field in moved)


def test_a_tree_as_text():
    assert latent_trees.described(THREE) == (
        "y0: 3 states [0, 2]\n  y1: 2 states [1] [3]\n    y2: 3 states [4]"
    )
    assert latent_trees.described(TWO) == (
        "y0: 3 states [0, 2]\n  y1: 2 states [1] [3] [4]"
    )
