import io

import numpy as np
import pytest

from dgg_jax.plots import component_variances


@pytest.mark.parametrize(
    ("num_clusters", "num_latents"), [(2, 2), (2, 10), (10, 2), (10, 10), (30, 3)]
)
def test_bars_are_the_variances(num_clusters, num_latents):
    logvar = np.random.default_rng(0).normal(size=(num_clusters, num_latents))
    figure = component_variances(logvar)
    figure.savefig(io.BytesIO(), dpi=30)
    assert len(figure.axes) == num_clusters
    for axes, expected in zip(figure.axes, np.exp(logvar), strict=True):
        widths = [bar.get_width() for bar in axes.patches]
        np.testing.assert_allclose(widths, expected, rtol=1e-12)


def test_a_diverged_mixture_still_draws():
    component_variances(np.array([[1e4, -1e4], [0.0, np.nan]])).savefig(
        io.BytesIO(), dpi=30
    )


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="mixture_logvar"):
        component_variances(np.zeros(3))
