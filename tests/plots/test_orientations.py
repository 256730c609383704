import io

import numpy as np
import pytest
from matplotlib.patches import Ellipse

from dgg_jax.plots import divergence_by_orientation
from dgg_jax.plots.orientations import least
from dgg_jax.plots.palette import cluster_color

ANGLES = np.radians(np.arange(0.0, 181.0, 5.0))
DIVERGENCE = np.outer([0.0, 0.1, 0.2], np.sin(ANGLES) ** 2) + 0.3
RATIOS = [1.0, 4.0, 16.0]


def test_a_line_for_each_ratio_over_degrees():
    figure = divergence_by_orientation(ANGLES, DIVERGENCE, RATIOS)
    figure.savefig(io.BytesIO(), dpi=40)
    axes = figure.axes[3]
    lines = [line for line in axes.lines if len(line.get_xdata()) == len(ANGLES)]
    for index, line in enumerate(lines):
        np.testing.assert_allclose(line.get_xdata(), np.degrees(ANGLES))
        np.testing.assert_array_equal(line.get_ydata(), DIVERGENCE[index])
        assert line.get_color() == cluster_color(index)
    texts = [text.get_text() for text in axes.get_legend().texts]
    assert texts == ["1", "4", "16"]
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert ticks == [0, 45, 90, 135, 180]
    assert "degrees" in axes.get_xlabel() and axes.get_ylabel() == "nats"


def test_dashed_lines_stand_where_it_is_least():
    axes = divergence_by_orientation(ANGLES, DIVERGENCE, RATIOS).axes[3]
    upright = [line for line in axes.lines if len(set(line.get_xdata())) == 1]
    assert [line.get_xdata()[0] for line in upright] == [0, 180]
    assert {line.get_linestyle() for line in upright} == {"--"}


def test_random_draws_add_no_minimum_and_neither_does_a_row_without_one():
    angles = np.degrees(ANGLES)
    noise = np.random.default_rng(0).normal(scale=3e-4, size=DIVERGENCE.shape)
    assert least(angles, DIVERGENCE + noise) == [0.0, 180.0]
    assert least(angles, DIVERGENCE[:1]) == []


def test_sketches_show_both_gaussians_at_three_angles():
    figure = divergence_by_orientation(ANGLES, DIVERGENCE, RATIOS)
    for axes, degrees in zip(figure.axes, (0, 45, 90), strict=False):
        assert axes.get_title(loc="left") == f"{degrees}°"
        first, second = (p for p in axes.patches if isinstance(p, Ellipse))
        x, y = np.subtract(second.center, first.center)
        np.testing.assert_allclose(np.degrees(np.arctan2(y, x)), degrees, atol=1e-9)
        # The ratio of variances is that of squared axes.
        assert first.width**2 / first.height**2 == pytest.approx(16)
        assert (first.width, first.height) == (second.width, second.height)


def test_input_is_checked():
    with pytest.raises(ValueError, match=r"divergence must have shape \[V, A\]"):
        divergence_by_orientation(ANGLES[1:], DIVERGENCE, RATIOS)
    with pytest.raises(ValueError, match=r"divergence must have shape \[V, A\]"):
        divergence_by_orientation(ANGLES, DIVERGENCE, RATIOS[1:])
    with pytest.raises(ValueError, match="ratios must be positive"):
        divergence_by_orientation(ANGLES, DIVERGENCE, [1.0, 0.0, 2.0])
