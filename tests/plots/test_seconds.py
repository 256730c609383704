import io

import numpy as np
import pytest

from dgg_jax.plots import accuracy_by_seconds
from dgg_jax.plots.palette import cluster_color
from dgg_jax.plots.seconds import pareto_front

NAMES = ["DGG", "K-means", "GMM"]
SECONDS = [[90.0, 110.0], [1.0, 3.0], [9.0]]
ACCURACY = [[0.90, 0.98], [0.5, 0.5], [0.4]]


def test_markers_stand_at_the_means_and_bars_are_standard_deviations():
    figure = accuracy_by_seconds(NAMES, SECONDS, ACCURACY)
    figure.savefig(io.BytesIO(), dpi=40)
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    for index, container in enumerate(axes.containers):
        marker, _, (across, up) = container
        mean = np.mean(SECONDS[index]), np.mean(ACCURACY[index])
        spot = np.ravel(marker.get_data()).astype(float)
        np.testing.assert_allclose(spot, mean)
        assert marker.get_color() == cluster_color(index)
        several = len(SECONDS[index]) > 1
        spread = np.std(ACCURACY[index], ddof=1) if several else 0.0
        ends = up.get_segments()[0][:, 1]
        np.testing.assert_allclose(ends, [mean[1] - spread, mean[1] + spread])
        spread = np.std(SECONDS[index], ddof=1) if several else 0.0
        ends = across.get_segments()[0][:, 0]
        np.testing.assert_allclose(ends, [mean[0] - spread, mean[0] + spread])


def test_bars_end_above_zero_seconds():
    axes = accuracy_by_seconds(["a"], [[0.1, 9.9]], [[0.5, 0.6]]).axes[0]
    _, _, (across, _) = axes.containers[0]
    assert across.get_segments()[0][0, 0] == pytest.approx(0.5)


def test_the_front_is_a_step_line_of_what_nothing_beats():
    axes = accuracy_by_seconds(NAMES, SECONDS, ACCURACY).axes[0]
    (front,) = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    np.testing.assert_allclose(front.get_data(), [[2, 100], [0.5, 0.94]])


def test_equal_accuracy_or_seconds_are_no_gain():
    seconds, accuracy = np.array([2.0, 1.0, 1.0, 3.0]), np.array([0.5, 0.5, 0.4, 0.7])
    assert pareto_front(seconds, accuracy).tolist() == [1, 3]


@pytest.mark.parametrize("seed", range(3))
def test_names_stand_beside_their_markers_and_do_not_overlap(seed):
    random = np.random.default_rng(seed)
    names = [f"method {i}" for i in range(10)]
    seconds = [10 ** random.uniform(0, 4, size=1) for _ in names]
    accuracy = [random.uniform(0.4, 1.0, size=1) for _ in names]
    figure = accuracy_by_seconds(names, seconds, accuracy)
    figure.draw_without_rendering()
    texts = figure.axes[0].texts
    assert [text.get_text() for text in texts] == names
    boxes = [text.get_window_extent() for text in texts]
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:index])
        assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1


def test_input_is_checked():
    for arguments in (
        (NAMES[1:], SECONDS, ACCURACY),
        (NAMES, SECONDS, ACCURACY[1:]),
        (NAMES, [*SECONDS[:2], [1.0, 2.0]], ACCURACY),
        (NAMES, [*SECONDS[:2], []], [*ACCURACY[:2], []]),
        ([], [], []),
    ):
        with pytest.raises(ValueError, match="one entry a method"):
            accuracy_by_seconds(*arguments)
    with pytest.raises(ValueError, match="seconds must be positive"):
        accuracy_by_seconds(NAMES, [*SECONDS[:2], [0.0]], ACCURACY)


def test_a_name_that_stands_apart_has_a_line_to_its_marker():
    names = ["alone", *(f"one of a crowd {i}" for i in range(9))]
    seconds = [np.array([1000.0])] + [np.array([100.0 + i]) for i in range(9)]
    accuracy = [np.array([0.5])] + [np.array([0.9 + 0.001 * i]) for i in range(9)]
    texts = accuracy_by_seconds(names, seconds, accuracy).axes[0].texts
    lines = [text.arrow_patch is not None for text in texts]
    assert not lines[0] and sum(lines[1:]) >= 2
