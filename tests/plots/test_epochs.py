import io

import numpy as np
import pytest
from matplotlib.colors import to_hex

from dgg_jax.plots import accuracy_by_epoch
from dgg_jax.plots.palette import cluster_color


def named(figure):
    """Names at the right, with the colours of what leads to them."""
    texts = figure.axes[0].texts
    return {t.get_text(): to_hex(t.arrow_patch.get_edgecolor()) for t in texts}


def test_a_curve_of_one_run_is_a_line_from_epoch_1():
    figure = accuracy_by_epoch({"DGG": [0.2, 0.5, 0.9]}, {})
    figure.savefig(io.BytesIO(), dpi=40)
    (line,) = figure.axes[0].lines
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(line.get_ydata(), [0.2, 0.5, 0.9])
    assert not figure.axes[0].collections
    assert named(figure) == {"DGG": cluster_color(0)}
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "accuracy")


def test_several_runs_are_their_mean_and_a_band_without_what_is_missing():
    runs = np.array([[0.2, 0.4, np.nan], [0.4, np.nan, np.nan]])
    axes = accuracy_by_epoch({"DGG": runs}, {}).axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [0.3, 0.4, np.nan])
    corners = axes.collections[0].get_paths()[0].vertices
    assert {0.2, 0.4} <= set(corners[corners[:, 0] == 1, 1])
    assert axes.texts[0].xy[1] == pytest.approx(0.4)  # the last mean that there is


def test_levels_are_solid_and_what_is_quoted_is_dashed_in_the_same_colour():
    figure = accuracy_by_epoch(
        {"VaDE": [0.5, 0.8]}, {"K-means": 0.55}, {"VaDE": 0.944, "DEC": 0.7}
    )
    _, level, vade, dec = figure.axes[0].lines
    assert [set(line.get_ydata()) for line in (level, vade, dec)] == [
        {0.55},
        {0.944},
        {0.7},
    ]
    assert [line.get_linestyle() for line in (level, vade, dec)] == ["-", "--", "--"]
    assert vade.get_color() == cluster_color(0)
    assert named(figure) == {
        "VaDE": cluster_color(0),
        "K-means": cluster_color(1),
        "VaDE, quoted": cluster_color(0),
        "DEC, quoted": cluster_color(2),
    }


def test_names_that_would_collide_stand_in_a_legend():
    levels = {f"method {i}": 0.9 + 0.001 * i for i in range(5)}
    figure = accuracy_by_epoch({"DGG": [0.1, 0.95]}, levels)
    figure.savefig(io.BytesIO(), dpi=40)
    assert not figure.axes[0].texts
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts] == ["DGG", *levels]


def test_names_move_apart_where_they_are_close():
    figure = accuracy_by_epoch({"a": [0.1, 0.90], "b": [0.1, 0.92]}, {})
    figure.draw_without_rendering()
    first, second = (text.get_window_extent() for text in figure.axes[0].texts)
    assert not first.overlaps(second)


def test_a_curve_without_a_number_and_one_epoch_are_drawn():
    figure = accuracy_by_epoch({"a": [np.nan], "b": [0.5]}, {})
    figure.savefig(io.BytesIO(), dpi=40)
    assert [text.get_text() for text in figure.legends[0].texts] == ["a", "b"]


def test_input_is_checked():
    with pytest.raises(ValueError, match="empty"):
        accuracy_by_epoch({}, {})
    for wrong in (0.5, np.zeros((2, 3, 4)), []):
        with pytest.raises(ValueError, match=r"curves\['a'\] must have shape \[E\] or"):
            accuracy_by_epoch({"a": wrong}, {})
