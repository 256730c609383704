import io

import numpy as np
import pytest

from dgg_jax.plots import prior_terms

TERMS = {"free": [0.0, -0.1, -0.05], "held": [0.0, -0.9, -1.6]}


def test_a_panel_for_each_run_over_epochs():
    figure = prior_terms(TERMS, {"held": 0.3})
    figure.savefig(io.BytesIO(), dpi=40)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["free", "held"]
    for axes, values in zip(figure.axes, TERMS.values(), strict=True):
        np.testing.assert_array_equal(axes.lines[0].get_xdata(), [1, 2, 3])
        np.testing.assert_array_equal(axes.lines[0].get_ydata(), values)
    assert figure.axes[0].get_ylabel() == "z-prior term, nats"


def test_only_a_constraint_has_a_line_and_a_note():
    free, held = prior_terms(TERMS, {"free": 0.0, "held": 0.3}).axes
    assert (len(free.lines), len(held.lines)) == (1, 2)
    assert set(held.lines[1].get_ydata()) == {-0.3}
    assert held.lines[1].get_linestyle() == "--"
    assert held.get_title(loc="right") == "dashed: \N{MINUS SIGN}0.3"
    assert free.get_title(loc="right") == ""


def test_the_runs_share_a_range_that_holds_terms_and_constraints():
    free, held = prior_terms(TERMS, {"held": 2.5}).axes
    assert free.get_ylim() == held.get_ylim()
    low, high = free.get_ylim()
    assert low < -2.5 and high > 0.0


def test_values_that_are_not_finite_are_left_out_and_zeros_have_a_range():
    (axes,) = prior_terms({"a": [0.0, -np.inf, 0.0]}, {}).axes
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [0.0, np.nan, 0.0])
    low, high = axes.get_ylim()
    assert low < 0.0 < high


def test_input_is_checked():
    with pytest.raises(ValueError, match="at least one panel"):
        prior_terms({}, {})
    with pytest.raises(ValueError, match=r"constraints must be of the runs .*'other'"):
        prior_terms(TERMS, {"other": 0.1})
    for wrong in ([], np.zeros((2, 2))):
        with pytest.raises(ValueError, match=r"terms\['a'\] must have shape \[E\]"):
            prior_terms({"a": wrong}, {})
