import io

import pytest

from dgg_jax.plots import cluster_counts
from dgg_jax.plots.palette import ALARM

SIZES = (9, 13, 18, 26, 37, 52, 75, 106, 150)
COUNTS = (14, 12, 11, 11, 10, 10, 10, 9, 8)


def drawn(figure):
    """(K's line, all counts, those that are K, the others)."""
    figure.savefig(io.BytesIO(), dpi=30)
    return figure.axes[0].lines


def test_counts_over_sizes_and_the_chosen_one():
    figure = cluster_counts(SIZES, COUNTS, 10)
    chosen, curve, agreeing, others = drawn(figure)
    assert set(chosen.get_ydata()) == {10}
    assert curve.get_xdata().tolist() == list(SIZES)
    assert curve.get_ydata().tolist() == list(COUNTS)
    assert agreeing.get_xdata().tolist() == [37, 52, 75]
    assert others.get_ydata().tolist() == [14, 12, 11, 11, 9, 8]
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == list(
        map(str, SIZES)
    )
    assert [text.get_text() for text in axes.texts] == ["K = 10"]
    assert axes.get_title(loc="right") == "K at 3 of 9 sizes"


def test_no_plateau_is_an_alarm():
    figure = cluster_counts(SIZES, COUNTS, 14, is_plateau=False)
    chosen, _, agreeing, _ = drawn(figure)
    assert chosen.get_color() == agreeing.get_color() == ALARM
    assert figure.axes[0].get_title(loc="right").endswith("no plateau")
    assert ALARM not in {
        line.get_color() for line in drawn(cluster_counts((5,), [2], 2))
    }


@pytest.mark.parametrize(
    ("sizes", "counts", "num_clusters"), [((5, 6), (2,), 2), ((5,), (2,), 3)]
)
def test_evidence_that_does_not_fit_is_refused(sizes, counts, num_clusters):
    with pytest.raises(ValueError, match="one entry a size"):
        cluster_counts(sizes, counts, num_clusters)
