import io

import numpy as np
import pytest
from matplotlib.colors import to_hex

from dgg_jax.plots import GraphPanel, graph_panels
from dgg_jax.plots.palette import ALARM, MUTED, cluster_color

SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
EDGES = np.array([[0, 1], [1, 2], [2, 3], [3, 2]])
LABELS = np.array([0, 0, 4, 4])


def test_edges_between_labels_are_drawn_apart_and_on_top():
    panel = GraphPanel("near", SQUARE, EDGES, LABELS)
    (axes,) = graph_panels([panel], 2).axes
    points, within, across = axes.collections
    np.testing.assert_array_equal(within.get_segments(), SQUARE[EDGES[[0, 2, 3]]])
    np.testing.assert_array_equal(across.get_segments(), SQUARE[EDGES[[1]]])
    assert to_hex(within.get_colors()[0]) == MUTED
    assert to_hex(across.get_colors()[0]) == ALARM
    assert points.get_zorder() < within.get_zorder() < across.get_zorder()
    assert across.get_linewidths()[0] > within.get_linewidths()[0]
    order = np.lexsort(points.get_offsets().T)  # by y, then x
    colors = [to_hex(color) for color in points.get_facecolors()[order]]
    assert colors == [cluster_color(k) for k in (0, 0, 4, 4)]


@pytest.mark.parametrize(
    ("num_across", "note"),
    [
        (0, "4,000 edges, none across"),
        (1, "4,000 edges, <0.1 % across"),
        (48, "4,000 edges, 1.2 % across"),
    ],
)
def test_the_note_counts_the_edges_and_those_across(num_across, note):
    edges = np.tile([0, 1], (4000, 1))
    edges[:num_across] = [1, 2]
    figure = graph_panels([GraphPanel("a", SQUARE, edges, LABELS)], 1)
    assert figure.axes[0].get_title(loc="right") == note


def test_edges_of_points_that_are_not_finite_are_counted_but_not_drawn():
    x = SQUARE.copy()
    x[0] = np.nan
    (axes,) = graph_panels([GraphPanel("a", x, EDGES, LABELS, True)], 1).axes
    assert [len(c.get_segments()) for c in axes.collections[1:]] == [2, 1]
    assert axes.get_title(loc="right") == "4 edges, 25.0 % across"
    assert not len(axes.get_xticks())


def test_a_graph_without_edges_is_drawn():
    panel = GraphPanel("a", SQUARE, np.zeros((0, 2), int), LABELS)
    figure = graph_panels([panel, panel], 2)
    figure.savefig(io.BytesIO(), dpi=40)
    assert figure.axes[1].get_title(loc="right") == "0 edges, none across"


def test_input_is_checked():
    panel = GraphPanel("", SQUARE, EDGES, LABELS)
    with pytest.raises(ValueError, match="at least one panel"):
        graph_panels([], 2)
    with pytest.raises(ValueError, match="labels must have one entry"):
        graph_panels([panel._replace(labels=LABELS[:2])], 2)
    with pytest.raises(ValueError, match=r"edges must join points in \[0, 4\)"):
        graph_panels([panel._replace(edges=EDGES + 1)], 2)
    for wrong in (EDGES.astype(float), EDGES[:, :1], EDGES[0]):
        with pytest.raises(ValueError, match=r"edges must be integers of shape \[E, 2"):
            graph_panels([panel._replace(edges=wrong)], 2)
