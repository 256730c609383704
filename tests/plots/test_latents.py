import io

import numpy as np
import pytest

from dgg_jax.plots import latent_map, latent_picture


def clusters(num_clusters, num_latents, num_points=120):
    random = np.random.default_rng(1)
    labels = random.integers(num_clusters, size=num_points)
    centers = random.normal(scale=6.0, size=(num_clusters, num_latents))
    return centers[labels] + random.normal(size=(num_points, num_latents)), labels


def positions(figure):
    return np.asarray(figure.axes[0].collections[0].get_offsets())


@pytest.mark.parametrize("num_clusters", [2, 10])
@pytest.mark.parametrize("num_latents", [1, 2, 10])
@pytest.mark.parametrize("labelled", [False, True])
def test_it_draws(num_clusters, num_latents, labelled):
    z, labels = clusters(num_clusters, num_latents, 60)
    figure = latent_picture(z, labels, labels if labelled else None)
    figure.savefig(io.BytesIO(), dpi=40)
    assert len(figure.axes) == 1 + labelled
    assert positions(figure).shape == (60, 2)


def test_two_dimensions_are_drawn_as_they_are():
    z, labels = clusters(3, 2)
    drawn = positions(latent_picture(z, labels, max_points=10))
    np.testing.assert_array_equal(np.sort(drawn, axis=0), np.sort(z, axis=0))


def test_a_subsample_is_bounded_and_the_same_each_time():
    z, labels = clusters(4, 6, 300)
    first = positions(latent_picture(z, labels, labels, max_points=80))
    assert first.shape == (80, 2)
    again = positions(latent_picture(z, labels, labels, max_points=80))
    np.testing.assert_array_equal(first, again)
    other = positions(latent_picture(z, labels, labels, max_points=80, seed=1))
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("num_points", [1, 4, 8])
def test_few_or_equal_points_draw(num_points):
    z = np.ones((num_points, 5))
    figure = latent_picture(z, np.zeros(num_points, int))
    figure.savefig(io.BytesIO(), dpi=40)


def test_rows_that_are_not_finite_are_left_out():
    z, labels = clusters(2, 4, 40)
    z[3] = np.nan
    assert positions(latent_picture(z, labels)).shape == (39, 2)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="embedding"):
        latent_picture(np.zeros(4), np.zeros(4, int))
    with pytest.raises(ValueError, match="labels"):
        latent_picture(np.zeros((4, 3)), np.zeros(3, int))


def test_a_map_is_drawn_as_it_would_be():
    z, labels = clusters(3, 5, 90)
    made = latent_map(z, 60)
    assert len(made.rows) == 60 and (np.diff(made.rows) > 0).all()
    drawn = latent_picture(z, labels, max_points=60, drawn=made)
    again = latent_picture(z, labels, max_points=60)
    np.testing.assert_array_equal(positions(drawn), positions(again))
    flat = latent_map(z[:, :2])
    np.testing.assert_array_equal(flat.positions, z[:, :2])
