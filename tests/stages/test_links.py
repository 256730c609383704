"""Links between rows: what is refused, and labels that obey them."""

import numpy as np
import pytest

from dgg_jax.checks import InvalidInput
from dgg_jax.stages.known import start_from
from dgg_jax.stages.links import Links, held_metrics, links_of, obeying, with_linked

RANDOM = np.random.default_rng(0)
Y = RANDOM.permutation(np.repeat(np.arange(4), 25))
POINTS = Y[:, None] + 0.1 * RANDOM.standard_normal((100, 2))


def drawn(number, seed=0):
    """Links of random pairs, as they are in Y."""
    random = np.random.default_rng(seed)
    pairs = np.stack([random.permutation(100)[:2] for _ in range(number)])
    alike = np.equal(*Y[pairs].T)
    return pairs[alike], pairs[~alike]


def test_links_are_each_pair_once_in_any_order():
    links = links_of([(3, 1), (0, 2), (1, 3)], np.array([[5, 4]]), 6, 3)
    np.testing.assert_array_equal(links.rows, [[0, 2], [1, 3], [4, 5]])
    np.testing.assert_array_equal(links.together, [True, True, False])
    assert links.rows.dtype == np.int32
    labels = np.array([0, 1, 0, 2, 1, 1])
    np.testing.assert_array_equal(links.held(labels), [True, False, False])
    assert held_metrics(links, labels) == {
        "must_links": 2,
        "must_links_held": 1,
        "cannot_links": 1,
        "cannot_links_held": 0,
    }


@pytest.mark.parametrize("nothing", [None, [], np.zeros((0, 2), int)])
def test_no_links_are_none(nothing):
    assert links_of(nothing, nothing, 6, 3) is None
    assert len(links_of([(0, 1)], nothing, 6, 3).rows) == 1


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([1, 2, 3], r"pairs of rows, \[P, 2\], got shape \(3,\)"),
        ([(1, 2, 3)], r"got shape \(1, 3\)"),
        ([(1, 2), (3,)], "got lists of other lengths"),
        ([(1.0, 2.0)], "integers, got float64"),
        ([("a", "b")], "integers, got <U1"),
        ([(0, 6)], r"in 0\.\.5, got values from 0 to 6"),
        ([(-1, 3)], r"in 0\.\.5, got values from -1 to 3"),
        ([(0, 1), (2, 2)], "row 2 with itself; leave"),
    ],
)
def test_what_are_no_pairs_is_refused(pairs, message):
    for name in ("must_link", "cannot_link"):
        with pytest.raises(InvalidInput, match=f"{name}.*{message}"):
            links_of(**{"must_link": None, "cannot_link": None, name: pairs}, **SIZES)


SIZES = {"num_rows": 6, "num_clusters": 3}


@pytest.mark.parametrize("must", [[(4, 1)], [(1, 2), (2, 5), (4, 5)]])
def test_links_that_contradict_each_other_are_refused(must):
    with pytest.raises(InvalidInput, match="cannot_link parts rows 1 and 4, which"):
        links_of(must, [(0, 3), (1, 4)], **SIZES)
    with pytest.raises(InvalidInput, match="got num_clusters=1"):
        links_of(None, [(0, 3)], 6, 1)


def test_rows_that_must_be_with_known_ones_are_known():
    links = links_of([(0, 1), (1, 2), (4, 5)], [(0, 3)], **SIZES)
    known = np.array([-1, -1, 2, 1, -1, -1], np.int32)
    np.testing.assert_array_equal(with_linked(known, links), [2, 2, 2, 1, -1, -1])
    np.testing.assert_array_equal(known, [-1, -1, 2, 1, -1, -1])  # not in place


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ([0, -1, 2, -1, -1, -1], r"must_link puts rows 0 and 2 .* by y are 0 and 2"),
        ([-1, -1, 2, 2, -1, -1], r"cannot_link parts rows 0 and 3, .* is 2"),
    ],
)
def test_links_that_contradict_known_rows_are_refused(known, message):
    links = links_of([(0, 1), (1, 2), (4, 5)], [(0, 3)], **SIZES)
    with pytest.raises(InvalidInput, match=message):
        with_linked(np.array(known), links)


def test_a_group_takes_the_cluster_of_most_and_others_stay():
    labels = np.array([0, 0, 1, 2, 2, 1])
    points = np.array([[0.0], [0.0], [1.0], [2.0], [1.2], [1.0]])
    links = links_of([(0, 1), (1, 2)], None, **SIZES)
    np.testing.assert_array_equal(obeying(labels, links, points, 3), [0, 0, 0, 2, 2, 1])
    # Of equals, that of the nearest mean; cluster 2 is at 1.6, cluster 1 at 1.
    links = links_of([(2, 4)], None, **SIZES)
    np.testing.assert_array_equal(obeying(labels, links, points, 3), [0, 0, 1, 2, 1, 1])


def test_the_row_that_is_nearer_to_the_next_cluster_moves():
    labels = np.array([0, 0, 0, 1, 1, 2])
    points = np.array([[0.0], [0.1], [0.4], [1.0], [1.0], [5.0]])
    links = links_of(None, [(0, 2)], **SIZES)
    np.testing.assert_array_equal(obeying(labels, links, points, 3), [0, 0, 1, 1, 1, 2])


def test_known_rows_stay_where_they_are():
    labels = np.array([0, 0, 0, 1, 1, 2])
    points = np.array([[0.0], [0.1], [0.4], [1.0], [1.0], [5.0]])
    known = np.array([-1, -1, 0, -1, -1, -1])
    links = links_of(None, [(0, 2), (1, 2)], **SIZES)
    found = obeying(labels, links, points, 3, known)
    np.testing.assert_array_equal(found, [1, 1, 0, 1, 1, 2])


def test_where_no_cluster_is_free_the_first_is_taken():
    labels, points = np.array([0, 0, 0, 1]), np.array([[0.0], [0.1], [0.2], [1.0]])
    links = links_of(None, [(0, 1), (0, 2), (1, 2)], 4, 2)
    found = obeying(labels, links, points, 2)
    assert links.held(found).sum() == 2
    # An empty cluster is the last to be taken, but it may be.
    found = obeying(labels, links, points, 3)
    assert links.held(found).all()


def test_what_links_agree_with_comes_first_and_obeys():
    wrong = np.where(RANDOM.random(100) < 0.4, RANDOM.integers(0, 4, 100), Y)
    links = links_of(*drawn(40), 100, 4)
    labels, told = start_from(
        np.stack([wrong, Y]), None, {}, 4, seed=0, links=links, points=POINTS
    )
    assert labels.dtype == np.int32
    assert told[0] == {"start": "clustering 2", "links_held": 40, "links": 40}
    assert told[1]["links_held"] < 40
    np.testing.assert_array_equal(labels[0], Y)
    assert links.held(labels[1]).all()
    assert ((labels[1] == wrong) | np.isin(np.arange(100), links.rows)).all()


def test_the_order_of_links_changes_no_labels():
    must, cannot = drawn(60)
    wrong = RANDOM.integers(0, 4, 100)
    order = RANDOM.permutation(len(cannot))
    found = [
        obeying(wrong, links, POINTS, 4)
        for links in (
            links_of(must, cannot, 100, 4),
            links_of(must[::-1], cannot[order, ::-1], 100, 4),
            Links(  # nor do those of a pair, where nobody sorts them
                np.concatenate([cannot[order], must[:, ::-1]]),
                np.arange(len(cannot) + len(must)) >= len(cannot),
            ),
        )
    ]
    for one in found[1:]:
        np.testing.assert_array_equal(one, found[0])


def test_links_of_known_rows_do_not_count_twice():
    links = links_of([(0, 1)], [(2, 3), (2, 4)], 100, 4)
    known = np.full(100, -1)
    known[[2, 3]] = [0, 1]
    _, told = start_from(Y[None], known, {}, 4, seed=0, links=links, points=POINTS)
    assert told[0]["links"] == 2  # not that of rows 2 and 3
