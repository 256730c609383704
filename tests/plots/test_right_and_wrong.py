import io

import numpy as np
import pytest
from matplotlib.colors import to_hex

from dgg_jax.plots import RightPanel, right_and_wrong
from dgg_jax.plots.palette import RIGHT, WRONG


def test_wrong_points_lie_on_top_in_another_colour():
    x = np.random.default_rng(0).normal(size=(10, 2))
    is_right = np.arange(10) % 3 > 0
    (axes,) = right_and_wrong([RightPanel("VaDE", x, is_right)], 3).axes
    right, wrong = axes.collections
    np.testing.assert_array_equal(right.get_offsets(), x[is_right])
    np.testing.assert_array_equal(wrong.get_offsets(), x[~is_right])
    assert (RIGHT, WRONG) == ("#009e73", "#d55e00")
    assert to_hex(right.get_facecolors()[0]) == RIGHT
    assert to_hex(wrong.get_facecolors()[0]) == WRONG
    assert wrong.get_zorder() > right.get_zorder()
    assert not len(axes.get_xticks())


def test_the_legend_counts_what_is_drawn():
    x = np.zeros((1300, 2))
    x[-1] = np.nan
    panels = [
        RightPanel("VaDE", x, np.arange(1300) >= 40, "ACC 96.9 %"),
        RightPanel("all", x, np.ones(1300, bool)),
    ]
    figure = right_and_wrong(panels, 2)
    figure.savefig(io.BytesIO(), dpi=40)
    texts = [[t.get_text() for t in a.get_legend().texts] for a in figure.axes]
    assert texts == [["1,259 right", "40 wrong"], ["1,299 right", "0 wrong"]]
    assert figure.axes[0].get_title(loc="right") == "ACC 96.9 %"


def test_input_is_checked():
    panel = RightPanel("", np.zeros((4, 2)), np.ones(4, bool))
    with pytest.raises(ValueError, match="at least one panel"):
        right_and_wrong([], 2)
    with pytest.raises(ValueError, match="right must have one entry"):
        right_and_wrong([panel._replace(right=np.ones(3, bool))], 2)
    with pytest.raises(ValueError, match="right must be of bools, got int64"):
        right_and_wrong([panel._replace(right=np.ones(4, int))], 2)
    with pytest.raises(ValueError, match=r"\[N, 2\]"):
        right_and_wrong([panel._replace(positions=np.zeros(4))], 2)
