import io
import itertools

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from dgg_jax.plots import run_accuracies
from dgg_jax.plots.palette import ALARM, INK

NAMES = ["DGG", "spectral clustering", "K-means"]
RUNS = [[0.9, 0.95, 1.0], [0.5], [0.75, 0.75]]
REFERENCES = [0.9758, None, 0.25]


def drawn(figure):
    """(dots, bars, diamonds): positions by row of the lines of each kind."""
    (axes,) = figure.axes
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    bars = [line for line in axes.lines if line.get_color() == INK]
    diamonds = [line for line in axes.lines if line.get_marker() == "D"]
    return dots, bars, diamonds


def test_every_run_is_a_dot_on_the_row_of_its_method():
    figure = run_accuracies(NAMES, RUNS, REFERENCES)
    dots, bars, diamonds = drawn(figure)
    assert [line.get_xdata().tolist() for line in dots] == RUNS
    for row, line in enumerate(dots):
        assert all(abs(y - row) < 0.3 for y in line.get_ydata())
        assert len(set(line.get_ydata())) == len(RUNS[row])  # apart from each other
    means = [line.get_xdata()[0] for line in bars]
    assert means == pytest.approx([0.95, 0.5, 0.75])
    assert [(d.get_xdata()[0], d.get_ydata()[0]) for d in diamonds] == [
        (0.9758, 0), (0.25, 2),
    ]  # fmt: skip
    assert {line.get_markeredgecolor() for line in diamonds} == {ALARM}
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == NAMES
    bottom, top = axes.get_ylim()
    assert bottom > 2 and top < 0  # the first method above


@pytest.mark.parametrize("runs", [[[1.0, 1.0]], [[0.0]], [[0.0], [1.0]], [[0.4321]]])
def test_the_axis_ends_with_the_scores(runs):
    figure = run_accuracies(["a", "b"][: len(runs)], runs, [None] * len(runs))
    low, high = figure.axes[0].get_xlim()
    values = [value for one in runs for value in one]
    assert 0 <= low <= min(values) and max(values) <= high <= 1
    assert high - low >= 0.05
    # A dot on the edge is drawn whole.
    assert not any(line.get_clip_on() for line in drawn(figure)[0])


def test_the_legend_names_only_what_is_drawn():
    (axes,) = run_accuracies(["a"], [[0.5]], [None]).axes
    assert axes.get_title(loc="right") == "bar: mean"
    (axes,) = run_accuracies(["a"], [[0.5]], [0.25]).axes
    assert axes.get_title(loc="right") == "bar: mean, diamond: paper"


@pytest.mark.parametrize("count", [1, 2, 12])
def test_labels_neither_overlap_nor_leave_the_figure(count):
    names = [f"a rather long name of method {n}" for n in range(count)]
    figure = run_accuracies(names, [[0.5, 0.6]] * count, [None] * count)
    figure.savefig(io.BytesIO(), dpi=100)
    renderer = FigureCanvasAgg(figure).get_renderer()
    (axes,) = figure.axes
    labels = [label.get_window_extent(renderer) for label in axes.get_yticklabels()]
    for above, below in itertools.pairwise(labels):
        assert below.y1 < above.y0
    texts = [axes.xaxis.label, *axes.get_xticklabels(), axes.title]
    boxes = labels + [text.get_window_extent(renderer) for text in texts]
    for box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0
        assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1


@pytest.mark.parametrize(
    ("names", "runs", "references"),
    [(["a"], [[0.5], [0.5]], [None]), (["a"], [[0.5]], []), (["a"], [[]], [None])],
)
def test_a_method_without_runs_is_refused(names, runs, references):
    with pytest.raises(ValueError, match="one entry a method, and each method a run"):
        run_accuracies(names, runs, references)
