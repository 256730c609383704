import io

import numpy as np
import pytest

from dgg_jax.plots import captioned_images, reliability

RANDOM = np.random.default_rng(0)


def test_points_lie_where_confidence_and_accuracy_are():
    right = np.array([True, True, True, False])
    figure = reliability(right, np.array([0.95, 0.97, 0.55, 0.55]))
    left, kept = figure.axes
    (points,) = left.collections
    np.testing.assert_allclose(points.get_offsets(), [[0.55, 0.5], [0.96, 1.0]])
    assert [text.get_text() for text in left.texts] == ["2", "2"]
    ideal, chance, risk = kept.lines
    np.testing.assert_allclose(risk.get_xdata(), [0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(risk.get_ydata(), [0, 0, 0, 0.25])
    np.testing.assert_allclose(ideal.get_ydata(), [0, 0, 0, 0.25])
    np.testing.assert_allclose(chance.get_ydata(), 0.25)
    assert left.get_title(loc="right") == "calibration error 0.045"
    assert "area under the ROC 0.833" in kept.get_title(loc="right")


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_any_share_of_right_rows_is_drawn(share):
    right = RANDOM.random(200) < share
    figure = reliability(right, RANDOM.random(200))
    figure.savefig(io.BytesIO(), dpi=30)
    counts = [int(text.get_text()) for text in figure.axes[0].texts]
    assert sum(counts) == 200


def test_vectors_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="right and confidence"):
        reliability(np.ones(3, bool), np.ones(4))


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 1), (2, 2, 3)])
@pytest.mark.parametrize("count", [1, 13])
def test_every_image_is_above_its_caption(shape, count):
    x = RANDOM.random((count, 12))
    figure = captioned_images(x, shape, [f"row {i}\n0 or 1" for i in range(count)])
    figure.savefig(io.BytesIO(), dpi=30)
    assert [axes.get_xlabel() for axes in figure.axes] == [
        f"row {i}\n0 or 1" for i in range(count)
    ]
    for axes, row in zip(figure.axes, x, strict=True):
        drawn = axes.images[0].get_array()
        np.testing.assert_allclose(drawn[..., 0], row.reshape(*shape[:2], -1)[..., 0])


def test_images_and_captions_must_fit():
    with pytest.raises(ValueError, match="x must be"):
        captioned_images(np.zeros((2, 5)), (2, 2), ["a", "b"])
    with pytest.raises(ValueError, match="captions must be 2"):
        captioned_images(np.zeros((2, 4)), (2, 2), ["a"])
