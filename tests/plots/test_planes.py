import io

import numpy as np
import pytest
from matplotlib.colors import to_hex

from dgg_jax.plots import PlanePanel, plane_panels
from dgg_jax.plots.palette import cluster_color


def positions(num_points=30):
    return np.random.default_rng(0).normal(size=(num_points, 2))


def test_a_panel_for_each_with_its_title_and_its_detail():
    names = ["data", "VaDE", "VaDE, latents", "DGG", "DGG, latents"] * 2
    groups = np.arange(30) % 2
    panels = [PlanePanel(name, positions(), groups, "ACC 1") for name in names]
    figure = plane_panels(panels, columns=5)
    figure.savefig(io.BytesIO(), dpi=40)
    assert [axes.get_title(loc="left").strip() for axes in figure.axes] == names
    assert {axes.get_title(loc="right") for axes in figure.axes} == {"ACC 1"}
    rows = {axes.get_subplotspec().rowspan.start for axes in figure.axes}
    assert rows == {0, 1}


def test_a_group_has_the_colour_of_the_cluster_of_its_number():
    x = np.column_stack([np.arange(4.0), np.zeros(4)])
    (axes,) = plane_panels([PlanePanel("", x, np.array([3, 0, 7, 0]))], 1).axes
    drawn = axes.collections[0]
    order = np.argsort(drawn.get_offsets()[:, 0])
    np.testing.assert_array_equal(drawn.get_offsets()[order], x)
    colors = [to_hex(color) for color in drawn.get_facecolors()[order]]
    assert colors == [cluster_color(k) for k in (3, 0, 7, 0)]


def test_rows_that_are_not_finite_are_left_out():
    x = positions()
    x[3], x[5, 1] = np.nan, np.inf
    (axes,) = plane_panels([PlanePanel("", x, np.zeros(30, int))], 1).axes
    assert len(axes.collections[0].get_offsets()) == 28


def test_numbers_stand_on_the_groups_only_where_they_are_asked_for():
    groups = np.arange(30) % 3
    panels = [PlanePanel("", positions(), groups, names=n) for n in (False, True)]
    without, named = plane_panels(panels, 2).axes
    assert not without.texts
    assert [text.get_text() for text in named.texts] == ["0", "1", "2"]


def test_a_map_has_no_ticks_and_a_plane_equal_units():
    groups = np.zeros(30, int)
    panels = [PlanePanel("", positions(), groups, is_map=m) for m in (False, True)]
    plane, tsne = plane_panels(panels, 2).axes
    assert plane.get_aspect() == 1.0
    assert len(plane.get_xticks()) and not len(tsne.get_xticks())
    assert not tsne.spines["left"].get_visible()


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="at least one panel"):
        plane_panels([], 3)
    panel = PlanePanel("", positions(), np.zeros(30, int))
    with pytest.raises(ValueError, match="columns must be at least 1"):
        plane_panels([panel], 0)
    with pytest.raises(ValueError, match=r"positions must have shape \[N, 2\]"):
        plane_panels([panel._replace(positions=np.zeros((30, 3)))], 1)
    with pytest.raises(ValueError, match="groups must have one entry"):
        plane_panels([panel._replace(groups=np.zeros(3, int))], 1)
