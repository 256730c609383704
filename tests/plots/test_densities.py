import io

import numpy as np
import pytest

from dgg_jax.plots import density_panels


def images(figure):
    return [axes.images[0] for axes in figure.axes if axes.images]


def test_panels_share_their_range_and_their_scale():
    random = np.random.default_rng(0)
    points = {
        "data": random.normal(size=(500, 2)),
        "model": 3 * random.normal(size=(90, 2)) + 1,
    }
    figure = density_panels(points, bins=20)
    figure.savefig(io.BytesIO(), dpi=40)
    data, model = images(figure)
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["data", "model"]
    assert len(figure.axes) == 3  # with the scale
    assert data.get_extent() == model.get_extent()
    assert data.get_clim() == model.get_clim()
    largest = max(image.get_array().max() for image in (data, model))
    assert data.get_clim() == (0.0, largest)
    np.testing.assert_array_equal(data.get_cmap()(0.0), [1, 1, 1, 1])
    assert figure.axes[0].get_aspect() == 1.0


def test_densities_integrate_to_one_over_square_cells():
    random = np.random.default_rng(1)
    x = random.uniform(size=(1000, 2)) * [4.0, 1.0]
    (image,) = images(density_panels({"a": x, "b": x}, bins=40))[:1]
    left, right, bottom, top = image.get_extent()
    rows, columns = image.get_array().shape
    assert columns == 40 and 10 <= rows <= 11
    width, height = (right - left) / columns, (top - bottom) / rows
    assert width == pytest.approx(height)
    assert image.get_array().sum() * width * height == pytest.approx(1.0)


def test_a_point_stands_where_it_is():
    x = np.array([[0.0, 0.0], [10.0, 5.0], [10.0, 5.0], [np.nan, 0.0]])
    (image,) = images(density_panels({"a": x}, bins=10))
    density = image.get_array()
    assert image.origin == "lower"
    assert density.shape == (5, 10)
    assert np.argwhere(density).tolist() == [[0, 0], [4, 9]]
    assert density[4, 9] == pytest.approx(2 / 3)


def test_points_in_one_place_have_a_range():
    (image,) = images(density_panels({"a": np.ones((3, 2))}))
    assert image.get_array().shape == (1, 1)


def test_input_is_checked():
    with pytest.raises(ValueError, match="at least one panel"):
        density_panels({})
    with pytest.raises(ValueError, match=r"points\['a'\] must have shape \[N, 2\]"):
        density_panels({"a": np.zeros((3, 1))})
    with pytest.raises(ValueError, match=r"points\['a'\] has no finite row"):
        density_panels({"a": np.full((3, 2), np.nan)})
    with pytest.raises(ValueError, match="bins must be at least 1"):
        density_panels({"a": np.zeros((3, 2))}, bins=0)
