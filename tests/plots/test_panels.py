import numpy as np
import pytest

from dgg_jax.plots.panels import panel_grid, panel_titles, text_width


def written(texts, details, width):
    _, panels = panel_grid(len(texts), len(texts), 2.0, 2.0)
    panel_titles(panels, texts, details, width)
    return [
        (axes.get_title(loc="left"), axes.get_title(loc="right")) for axes in panels
    ]


def test_details_stand_at_the_right_where_there_is_room():
    assert written(["DGG", "VaDE"], ["ACC 1", ""], 2.0) == [
        ("DGG", "ACC 1"),
        ("VaDE", ""),
    ]


def test_one_detail_without_room_gives_all_a_line_of_their_own():
    detail = "4,000 edges, 1.2 % across"
    assert written(["DGG", "near"], [detail, "none"], 1.6) == [
        ("DGG\n", detail),
        ("near\n", "none"),
    ]


def test_a_title_that_is_longer_than_its_panel_is_cut():
    ((text, _),) = written(["a method of a very long name"], [""], 1.0)
    assert text.startswith("a method") and text.endswith("…")
    assert 0.6 < text_width(text, 9.0) <= 1.0


def test_the_width_of_text_grows_with_it_and_its_size():
    assert text_width("", 8.0) == text_width(" ", 8.0) == 0.0
    assert text_width("mm", 8.0) > text_width("m", 8.0)
    np.testing.assert_allclose(text_width("m$x$", 16), 2 * text_width("m$x$", 8), 0.05)


def test_no_panel_is_no_figure():
    with pytest.raises(ValueError, match="at least one panel"):
        panel_grid(0, 3, 2.0, 2.0)
