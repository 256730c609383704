import io
import math

import numpy as np
import pytest

from dgg_jax.plots import rank_diagram
from dgg_jax.plots.palette import ALARM
from dgg_jax.plots.ranks import critical_difference, groups_alike, nemenyi_quantile


@pytest.mark.parametrize(
    ("num_methods", "alpha", "quantile"),
    # Demsar (2006), table 5 a.
    [(2, 0.05, 1.960), (5, 0.05, 2.728), (10, 0.05, 3.164), (5, 0.1, 2.459)],
)
def test_q_is_that_of_the_table(num_methods, alpha, quantile):
    assert nemenyi_quantile(num_methods, alpha) == pytest.approx(quantile, abs=6e-4)


def test_the_critical_difference_is_that_of_the_example():
    # Demsar (2006), section 3.2.2: four classifiers on 14 data sets.
    assert critical_difference(14, 4, 0.05) == pytest.approx(1.25, abs=6e-3)
    assert critical_difference(14, 4, 0.1) == pytest.approx(1.12, abs=6e-3)


def test_the_longest_groups_are_joined():
    assert groups_alike(np.array([1.0, 1.5, 2.0, 4.0]), 0.8) == [(0, 1), (1, 2)]
    assert groups_alike(np.array([1.0, 1.5, 2.0, 4.0]), 1.2) == [(0, 2)]
    assert groups_alike(np.array([1.0, 3.0]), 2.0) == []  # less, not equal


def bars(figure):
    return [line for line in figure.axes[0].lines if line.get_linewidth() > 2]


def test_names_are_in_the_order_of_mean_ranks_at_both_sides():
    # b is always first, then d; a and c share the other two.
    ranks = np.array([[3, 1, 4, 2], [4, 1, 3, 2]] * 10, dtype=float)
    figure = rank_diagram(ranks, ["a", "b", "c", "d"])
    figure.savefig(io.BytesIO(), dpi=40)
    texts = {text.get_text(): text for text in figure.axes[0].texts}
    assert {"b  1.00", "d  2.00", "a  3.50", "c  3.50"} <= set(texts)
    assert [texts[name].get_ha() for name in ("b  1.00", "d  2.00")] == ["right"] * 2
    assert [texts[name].get_ha() for name in ("a  3.50", "c  3.50")] == ["left"] * 2
    # Only a and c, and b and d at 1 rank of 1.05, are alike.
    assert critical_difference(20, 4) == pytest.approx(1.049, abs=1e-3)
    spans = [line.get_xdata() for line in bars(figure)]
    np.testing.assert_allclose(spans, [[1, 2], [3.5, 3.5]], atol=0.1)


def test_the_critical_difference_is_drawn_and_written():
    figure = rank_diagram(np.array([[1.0, 2.0, 3.0]] * 6), ["a", "b", "c"], alpha=0.1)
    difference = nemenyi_quantile(3, 0.1) * math.sqrt(3 * 4 / (6 * 6))
    drawn = [line for line in figure.axes[0].lines if line.get_color() == ALARM]
    assert list(drawn[0].get_xdata()) == [1, 1 + difference]
    (note,) = [t for t in figure.axes[0].texts if "critical" in t.get_text()]
    wanted = f"critical difference {difference:.2f} (6 sets, alpha 0.1)"
    assert note.get_text() == wanted


@pytest.mark.parametrize("names", [["a", "b"], ["a method of a long name"] * 13])
def test_everything_lies_inside_the_figure(names):
    ranks = np.argsort(np.random.default_rng(0).normal(size=(2, len(names)))) + 1.0
    figure = rank_diagram(ranks, names)
    figure.draw_without_rendering()
    whole = figure.bbox
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert whole.x0 <= box.x0 and box.x1 <= whole.x1, text
        assert whole.y0 <= box.y0 and box.y1 <= whole.y1, text


def test_input_is_checked():
    with pytest.raises(ValueError, match=r"ranks must have shape \[S, M\]"):
        rank_diagram(np.ones((3, 2)), ["a", "b", "c"])
    with pytest.raises(ValueError, match="two methods or more"):
        rank_diagram(np.ones((3, 1)), ["a"])
    for wrong in (0.0, 2.5, np.nan):
        with pytest.raises(ValueError, match=r"ranks must lie in \[1, 2\]"):
            rank_diagram(np.array([[1.0, wrong]]), ["a", "b"])
    with pytest.raises(ValueError, match="alpha must lie"):
        rank_diagram(np.array([[1.0, 2.0]]), ["a", "b"], alpha=0.0)
