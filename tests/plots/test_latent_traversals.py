import io

import numpy as np
import pytest

from dgg_jax.plots import traversals


@pytest.mark.parametrize(
    ("num_clusters", "num_latents", "shape"),
    [
        (1, 20, (5, 5)),
        (2, 2, (5, 5)),
        (2, 10, (4, 6, 3)),
        (10, 2, (5, 5)),
        (10, 10, (5, 5)),
    ],
)
def test_it_draws(num_clusters, num_latents, shape):
    random = np.random.default_rng(0)
    size = (num_clusters, num_latents, 15, np.prod(shape))
    logvar = random.normal(size=(num_clusters, num_latents))
    figure = traversals(random.uniform(size=size), shape, logvar)
    figure.savefig(io.BytesIO(), dpi=30)
    assert len(figure.axes) == min(4, num_clusters)
    assert len(figure.axes[0].patches) == min(num_latents, 16)


def test_chosen_components_have_bars_in_proportion_beside_their_rows():
    logvar = np.log([[1.0, 2.0], [3.0, 4.0], [5.0, 8.0]])
    images = np.zeros((3, 2, 15, 16))
    first, second = traversals(images, (4, 4), logvar, components=[2, 0]).axes
    bars = np.array([b.get_width() for b in [*first.patches, *second.patches]])
    np.testing.assert_allclose(bars / bars[1], [5 / 8, 1.0, 1 / 8, 2 / 8])
    assert [t.get_text() for t in first.get_yticklabels()] == ["0", "1"]
    middles = [bar.get_y() + bar.get_height() / 2 for bar in first.patches]
    np.testing.assert_allclose(middles, first.get_yticks())
    # Rows of four pixels with a gap of one between them.
    np.testing.assert_allclose(middles, [2.0, 7.0])


def test_many_dimensions_leave_the_most_variable():
    logvar = np.linspace(-3.0, 0.0, 20)[None]
    (axes,) = traversals(np.zeros((1, 20, 15, 4)), (2, 2), logvar).axes
    shown = [int(t.get_text()) for t in axes.get_yticklabels()]
    assert shown == list(range(19, 3, -1))


def test_inputs_are_checked():
    with pytest.raises(ValueError, match="logvar"):
        traversals(np.zeros((2, 3, 15, 4)), (2, 2), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="feature_shape"):
        traversals(np.zeros((2, 3, 15, 4)), (4,), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="components"):
        traversals(np.zeros((2, 3, 15, 4)), (2, 2), np.zeros((2, 3)), components=[])
