import io

import numpy as np
import pytest

from dgg_jax.plots import sample_panels


def test_a_panel_for_each_model_and_a_row_for_each_cluster():
    random = np.random.default_rng(0)
    samples = {"VaDE": random.uniform(size=(4, 3, 64)), "GMM": np.zeros((2, 3, 64))}
    figure = sample_panels(samples, (8, 8))
    figure.savefig(io.BytesIO(), dpi=40)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["VaDE", "GMM"]
    rows = [[t.get_text() for t in axes.get_yticklabels()] for axes in figure.axes]
    assert rows == [["0", "1", "2", "3"], ["0", "1"]]
    # Images are of one size, however many rows there are.
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    picture = figure.axes[0].images[0].get_array()
    assert picture.shape == (4 * 9 - 1, 3 * 9 - 1, 3)
    tile = samples["VaDE"][2, 1].reshape(8, 8)
    np.testing.assert_allclose(picture[18:26, 9:17, 0], tile)


def test_the_first_ten_images_of_a_cluster_are_drawn():
    samples = np.zeros((1, 12, 16))
    samples[0, 9:] = np.array([0.25, 0.5, 1.0])[:, None]
    picture = sample_panels({"a": samples}, (4, 4)).axes[0].images[0].get_array()
    assert picture.shape[1] == 10 * 5 - 1
    assert (picture[:, -4:] == 0.25).all()


def test_panels_stand_in_so_many_columns():
    figure = sample_panels({str(i): np.zeros((2, 2, 16)) for i in range(4)}, (4, 4), 2)
    places = [axes.get_subplotspec().num1 for axes in figure.axes]
    assert places == [0, 1, 2, 3]
    assert figure.axes[0].get_gridspec().get_geometry() == (2, 2)


def test_input_is_checked():
    with pytest.raises(ValueError, match="at least one panel"):
        sample_panels({}, (4, 4))
    with pytest.raises(ValueError, match="feature_shape must be"):
        sample_panels({"a": np.zeros((2, 3, 12))}, (12,))
    with pytest.raises(ValueError, match=r"samples\['a'\] must have shape \[K, M, D\]"):
        sample_panels({"a": np.zeros((2, 16))}, (4, 4))
