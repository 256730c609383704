"""The ensemble of clusterings and its judge."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from dgg_jax.graph import graph_information, knn, neighbor_weights, spectral_labels
from dgg_jax.graph.spectral import component_labels
from dgg_jax.stages import ensemble
from dgg_jax.stages.ensemble import Clustering, Space

RANDOM = np.random.default_rng(0)


def groups(sizes=(30, 30, 30), columns=2, distance=20.0, seed=0):
    """Points around corners far from each other, and which is whose."""
    random = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(sizes)), sizes)
    centers = distance * np.eye(len(sizes), columns)
    return (centers[y] + random.standard_normal((len(y), columns))), y


def found_in(x, num_clusters, **spaces):
    points = {"data": Space(x, lambda rows: rows)} | spaces
    graphs = {
        name: ensemble.nearest(space.points, 20) for name, space in points.items()
    }
    return ensemble.clusterings(points, graphs, num_clusters, seed=0)


def spaces_of(x, column_scale=None):
    return ensemble.data_spaces(x, 3, seed=0, column_scale=column_scale)


def test_every_method_finds_groups_that_are_far_apart():
    x, y = groups()
    found = found_in(x, 3)
    methods = {one.method for one in found}
    assert {"kmeans", "mixture", "ward", "components"} <= methods
    assert {"spectral 2", "spectral 3", "spectral 4"} <= methods
    for one in found:
        assert one.labels.dtype == np.int32
        if one.method != "spectral 4":  # one eigenvector too many
            assert adjusted_rand_score(y, one.labels) == 1.0, one.method


def test_a_rare_group_far_apart_has_the_best_standing():
    x, y = groups((270, 30))
    found = found_in(x, 2)
    labels = np.stack([one.labels for one in found])
    among = ensemble.mutual_informations(labels, labels)
    agreement = (ensemble.trust(found) * among).sum(axis=1)
    graph = [ensemble.nearest(x, 20)]
    certainty = [ensemble.neighbor_certainty(graph, one.labels, 2) for one in found]
    best = found[int(np.argmax(ensemble.standing(agreement, certainty)))]
    assert adjusted_rand_score(y, best.labels) == 1.0


def test_spectral_labels_take_a_rare_component_for_a_cluster():
    """Information in the graph would rather cut the large one in half."""
    x, y = groups((270, 30))
    graph = ensemble.nearest(x, 20)
    assert adjusted_rand_score(y, spectral_labels(graph, 2, 4, seed=0)) == 1.0


@pytest.mark.parametrize("others, kept", [([0, 1, 2], "ward"), ([1, 1, 1], "kmeans")])
def test_clusterings_with_an_empty_cluster_are_left_out(monkeypatch, others, kept):
    """Unless all have one."""
    of_methods = {"kmeans": np.array([0, 0, 2]), "ward": np.array(others)}
    monkeypatch.setattr(ensemble, "labels_in", lambda *_: of_methods.items())
    assert [one.method for one in found_in(np.eye(3), 3)] == [kept]


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_copies_know_the_first_of_them(kind):
    x = np.float32([[1, 0], [0, 2], [1, 0], [0, 2], [0, 0], [1, 0]])
    assert ensemble.first_copies(kind(x)).tolist() == [0, 1, 0, 1, 4, 0]


def test_copies_are_no_neighbours():
    x = np.random.default_rng(0).standard_normal((30, 2))
    places = np.array([*range(30), *[3] * 20, *[7] * 20])
    copied = x[places]
    first = ensemble.first_copies(copied)
    assert first.tolist() == places.tolist()
    graph, alone = ensemble.nearest(copied, 5, first), ensemble.nearest(x, 5)
    assert graph.indices.dtype == np.int32
    np.testing.assert_array_equal(graph.indices, alone.indices[places])
    assert (first[graph.indices] != first[:, None]).all()
    # Without it the copies of a row are all that it is near to.
    assert (first[ensemble.nearest(copied, 5).indices[3]] == 3).all()


def test_rows_that_are_all_the_same_have_neighbours():
    x = np.ones((8, 2), np.float32)
    graph = ensemble.nearest(x, 5, ensemble.first_copies(x))
    assert graph.indices.shape == (8, 5) and np.isfinite(graph.weights).all()


def test_components_are_clusters_if_there_are_k_sizeable_ones():
    x, y = groups((40, 40, 2), distance=100.0)
    graph = neighbor_weights(*knn(x[:80], 5))
    assert adjusted_rand_score(y[:80], component_labels(graph, 2)) == 1.0
    assert len(np.unique(component_labels(graph, 3))) == 1
    alone = neighbor_weights(*knn(x, 1))  # pairs, of which two far away
    assert component_labels(alone, 2).max() == 0


def test_one_cluster_and_very_few_points_have_an_ensemble():
    x = RANDOM.standard_normal((6, 2))
    assert all((one.labels == 0).all() for one in found_in(x, 1))
    assert found_in(x[:3], 3)
    assert found_in(x[:2], 2)


class TestDataSpaces:
    def test_columns_of_one_scale_are_one_space(self):
        x = RANDOM.standard_normal((500, 4)).astype(np.float32)
        x /= x.std(axis=0)
        assert list(spaces_of(x)) == ["data"]

    def test_columns_of_other_scales_are_standardised_too(self):
        x = RANDOM.standard_normal((50, 3)) * [1.0, 50.0, 0.0]
        spaces = spaces_of(x)
        assert list(spaces) == ["data", "standardized"]
        points = spaces["standardized"].points
        assert points.shape == (50, 2)  # a constant column says nothing
        np.testing.assert_allclose(points.std(axis=0), 1.0, rtol=1e-5)
        np.testing.assert_allclose(points.mean(axis=0), 0.0, atol=1e-5)

    def test_the_scale_of_the_file_is_a_space(self):
        x = RANDOM.standard_normal((50, 2)).astype(np.float32)
        spaces = spaces_of(x, np.array([2.0, 7.0]))
        np.testing.assert_allclose(spaces["unscaled"].points, x * [2, 7], rtol=1e-6)
        assert "unscaled" not in spaces_of(x, np.array([2.0, 2.0]))

    def test_many_columns_become_their_leading_components(self):
        x = RANDOM.standard_normal((80, 200)) * np.linspace(1, 5, 200)
        for name, space in spaces_of(x, np.linspace(1, 2, 200)).items():
            if name == "salient":  # what chance makes of noise
                continue
            assert space.points.shape == (80, 50)
            np.testing.assert_allclose(
                space.embed(x[:7].astype(np.float32)), space.points[:7], atol=2e-4
            )

    def test_columns_that_are_not_noise_are_a_space_where_most_are(self):
        x, y = groups((60, 60, 60), distance=8.0)
        noise = 4 * np.random.default_rng(1).standard_normal((180, 40))
        x = np.hstack([noise[:, :7], x, noise[:, 7:]])
        assert ensemble.salient_columns(x, 3, seed=0).tolist() == [7, 8]
        space = spaces_of(x)["salient"]
        np.testing.assert_allclose(space.points, x[:, 7:9], rtol=1e-6)
        np.testing.assert_allclose(space.embed(x[:5]), x[:5, 7:9], rtol=1e-6)
        assert "salient" not in spaces_of(np.repeat(x[:, 7:9], 6, axis=1))
        # Noughts and ones are constant in some clusters whatever they say: they stay.
        coins = np.random.default_rng(2).integers(0, 2, (180, 9))
        mixed = np.hstack([x, coins, np.ones((180, 1))])
        kept = ensemble.salient_columns(mixed, 3, seed=0).tolist()
        assert kept == [7, 8, *range(x.shape[1], x.shape[1] + 9)]
        few = np.hstack([x[:, 7:9], x[:, 7:9], coins])  # half of them, none noise
        assert "salient" not in spaces_of(few)
        near = {"data": ensemble.nearest(x, 20)}
        found = ensemble.clusterings({"data": Space(x, None)}, near, 3, seed=0)
        assert max(adjusted_rand_score(y, one.labels) for one in found) < 0.9

    @pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
    def test_rows_of_words_stay_as_they_are(self, make):
        x = np.zeros((40, 100))
        x[np.arange(40), np.arange(40)] = 1.0
        spaces = spaces_of(make(x))
        assert list(spaces) == ["data"] and sparse.issparse(spaces["data"].points)
        methods = {one.method for one in found_in(spaces["data"].points, 4)}
        assert methods <= {"kmeans", "components"} | {
            f"spectral {number}" for number in range(9)
        }


def test_mutual_informations_are_those_of_scikit_learn():
    a = RANDOM.integers(0, 4, (3, 60))
    b = RANDOM.integers(0, 7, (5, 60))
    expected = [[normalized_mutual_info_score(one, two) for two in b] for one in a]
    np.testing.assert_allclose(ensemble.mutual_informations(a, b), expected, atol=1e-12)
    one = np.zeros((1, 60), int)
    assert ensemble.mutual_informations(one, one) == 1.0
    assert ensemble.mutual_informations(one, a[:1]) == 0.0


def test_half_of_the_trust_is_of_the_own_space_and_half_of_that_of_each_kind():
    kinds = [("a", "kmeans"), ("a", "ward"), ("a", "spectral 3"), ("b", "spectral 3")]
    kinds += [("b", "spectral 4"), ("c", "mixture")]
    ensemble_of_kinds = [Clustering(*one, np.zeros(1)) for one in kinds]
    trust = ensemble.trust(ensemble_of_kinds)
    assert (np.diag(trust) == 0).all()
    np.testing.assert_allclose(trust.sum(axis=1)[:5], 1.0)
    # Of the own space ward and spectral; of all these, two of b as one, and c.
    np.testing.assert_allclose(trust[0], [0, 3 / 8, 3 / 8, 1 / 16, 1 / 16, 1 / 8])
    # Of the own space the other alone; of all a's two kinds, b's other, and c.
    expected = [1 / 16, 1 / 16, 1 / 8, 0, 1 / 2 + 1 / 8, 1 / 8]
    np.testing.assert_allclose(trust[3], expected)
    # Alone in its space.
    alone = np.array([1, 1, 2, 1, 1, 0]) / 12
    np.testing.assert_allclose(trust[5], alone)
    # Of a space that is not heard only all others count; for others nothing changes.
    unheard = ensemble.trust(ensemble_of_kinds, unheard=("b",))
    np.testing.assert_allclose(unheard[3], [1 / 8, 1 / 8, 1 / 4, 0, 1 / 4, 1 / 4])
    np.testing.assert_array_equal(unheard[0], trust[0])


def test_certainty_is_information_over_what_there_could_be():
    x, y = groups((60, 20, 20), distance=4.0)
    graphs = [neighbor_weights(*knn(x, k)) for k in (3, 9)]
    information = np.mean([graph_information(graph, y) for graph in graphs])
    found = ensemble.neighbor_certainty(graphs, y, 3)
    np.testing.assert_allclose(found, information / np.log(3))
    assert ensemble.neighbor_certainty(graphs, np.zeros(100, int), 1) == 0.0
    assert ensemble.neighbor_certainty(graphs, np.zeros(100, int), 3) == 0.0


def test_sizes_do_not_count_where_neighbours_are_not_parted():
    x, y = groups((900, 80, 20))
    graphs = [ensemble.nearest(x, 10)]
    assert graph_information(graphs[0], y) / np.log(3) < 0.4
    assert ensemble.neighbor_certainty(graphs, y, 3) == pytest.approx(1.0)
    wrong = y.copy()
    wrong[::50] = 1 - np.minimum(wrong[::50], 1)  # of neighbours 4 % are parted
    assert ensemble.neighbor_certainty(graphs, wrong, 3) < 0.5


def test_a_long_cluster_is_not_cut_for_a_rare_one():
    """Two in like parts and the rare one beside it is what even sizes would have."""
    random = np.random.default_rng(0)
    along = random.uniform(-1.0, 1.0, 1200)
    long = np.column_stack([3.0 * along, along**2, 0.1 * along])
    x = np.concatenate([long, np.full((60, 3), [0.0, 2.6, 1.5])])
    x += 0.2 * random.standard_normal(x.shape)
    y = np.repeat([0, 1], [1200, 60])
    found = found_in(x, 2)
    labels = np.stack([one.labels for one in found])
    among = ensemble.mutual_informations(labels, labels)
    agreement = (ensemble.trust(found) * among).sum(axis=1)
    graphs = [ensemble.nearest(x, 20)]
    certainty = [ensemble.neighbor_certainty(graphs, one, 2) for one in labels]
    best = labels[int(np.argmax(ensemble.standing(agreement, certainty)))]
    assert adjusted_rand_score(y, best) > 0.99


@pytest.mark.parametrize("lead, first", [(0.02, "data"), (0.04, "siamese")])
def test_only_what_is_clearly_better_comes_before_kmeans_of_the_data(lead, first):
    ways = [("latents", "kmeans"), ("siamese", "kmeans"), ("data", "kmeans")]
    found = [Clustering(*way, np.array([0, 1])) for way in (*ways, ("data", "ward"))]
    order = ensemble.ranking(found, [0.1, 0.9 + lead, 0.9, 0.8])
    assert found[order[0]].space == first
    assert sorted(order[:2]) == [1, 2] and order[2:] == [3, 0]


def test_standing_rewards_agreement_and_few_neighbours_parted():
    base = ensemble.standing(0.5, 0.9)
    assert ensemble.standing(0.6, 0.9) - base == pytest.approx(0.1)
    # Tenfold fewer: 0.2, but for the least share that counts.
    assert ensemble.standing(0.5, 0.99) - base == pytest.approx(0.2, abs=0.02)
    assert ensemble.standing(0.5, 1.0) < base + 0.4
