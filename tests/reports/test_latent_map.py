"""What the map embeds is what the run has."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from dgg_jax.data.preprocessing import Scaling
from dgg_jax.plots import latent_map as plane
from dgg_jax.plots.palette import cluster_color
from dgg_jax.reports import latent_map
from dgg_jax.reports.columns import column_means
from dgg_jax.reports.latent_map import decoded, map_data, placed, shown_rows
from dgg_jax.reports.run import write_report
from tests.reports.fakes import fake


def embedded(path):
    text = path.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="map-data">(.*?)</sc', text)
    return json.loads(found[1])


def test_the_page_holds_every_row(tmp_path, monkeypatch):
    monkeypatch.setattr("dgg_jax.reports.run.report_figures", lambda *_: {})
    names = np.array([f'</script> "{i}", one' for i in range(60)])
    inputs = fake()._replace(names=names, elbo=np.arange(60.0))
    data = embedded(write_report(tmp_path, inputs))
    assert data["count"] == 60 and data["names"] == names.tolist()
    assert decoded(data["clusters"], "<u2").tolist() == inputs.labels.tolist()
    labels = decoded(data["labels"], "<u2")
    assert [data["classNames"][k] for k in labels] == [
        f"class {k}" for k in inputs.y
    ]  # fmt: skip
    confidence = decoded(data["confidence"], "<u2") / 65535
    np.testing.assert_allclose(confidence, inputs.confidence, atol=1e-5)
    strangeness = decoded(data["strangeness"], "u1")
    assert strangeness[0] == 255 and strangeness[-1] == 0
    assert (np.diff(strangeness.astype(int)) < 0).all()
    assert data["clusterColors"] == [cluster_color(k) for k in range(3)]
    assert data["classColors"] == data["clusterColors"]  # each class is a cluster
    assert len(data["ramp"]) == 256 and not data["isHard"]


def test_positions_keep_their_proportions():
    inputs = fake()
    positions = inputs.embedding * [3.0, 1.0] + [5.0, -2.0]
    data = map_data(inputs, positions, None, [])
    found = decoded(data["positions"], "<i2").reshape(60, 2).astype(float)
    assert np.abs(found).max() == 32767
    np.testing.assert_array_equal(np.ptp(found, axis=0), data["span"])
    scale = np.ptp(positions[:, 0]) / np.ptp(found[:, 0])
    restored = found * scale
    expected = positions - (positions.max(axis=0) + positions.min(axis=0)) / 2
    np.testing.assert_allclose(restored, expected, atol=scale)


def test_rows_that_are_not_drawn_lie_beside_their_neighbours():
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 100)
    latents = 50.0 * np.eye(3)[labels] + random.normal(size=(300, 3))
    drawn = plane(latents, 60)
    found = placed(latents, labels, drawn)
    np.testing.assert_array_equal(found.positions[drawn.rows], drawn.positions)
    centers = [drawn.positions[labels[drawn.rows] == k].mean(axis=0) for k in range(3)]
    distances = np.square(found.positions[:, None] - centers).sum(axis=2)
    assert (distances.argmin(axis=1) == labels).all()
    assert (found.agreement == 1.0).all() and found.num_references == 60
    again = placed(latents, labels, drawn)
    np.testing.assert_array_equal(found.positions, again.positions)
    # Rows of another cluster's place are disputed.
    labels[7] = 2
    assert placed(latents, labels, drawn).agreement[7] == 0.0


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_rows_are_placed(count):
    latents = np.arange(3.0 * count).reshape(count, 3)
    found = placed(latents, np.zeros(count, int), plane(latents))
    assert np.isfinite(found.positions).all()
    assert np.isnan(found.agreement[0]) == (count == 1)


def test_rows_that_are_not_finite_have_a_place():
    latents = np.random.default_rng(0).normal(size=(40, 4))
    latents[3] = np.nan
    found = placed(latents, np.zeros(40, int), plane(latents))
    assert np.isfinite(found.positions).all()


def test_only_some_rows_of_many_have_an_image():
    rows = shown_rows(10_000, [9_999, 5])
    assert len(rows) == latent_map.SHOWN and {5, 9_999} <= set(rows.tolist())
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, shown_rows(10_000, [5, 9_999]))
    assert shown_rows(60, [3]).tolist() == list(range(60))


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 1), (4, 6, 3), (80, 40)])
def test_images_are_in_the_sheet(shape):
    inputs = fake(shape=shape)
    data = map_data(inputs, inputs.embedding, None, [])
    found = data["sheet"]
    content = base64.b64decode(found["source"].partition("base64,")[2])
    image = Image.open(io.BytesIO(content))
    reduced = (32, 16) if shape == (80, 40) else shape[:2]
    assert (found["height"], found["width"]) == reduced
    assert image.size == (found["columns"] * reduced[1], 2 * reduced[0])
    assert data["values"] is None
    if shape == (4, 4):
        x, y = 4 * (41 % 40), 4 * (41 // 40)
        pixels = np.asarray(image)[y : y + 4, x : x + 4] / 255
        np.testing.assert_allclose(pixels.ravel(), inputs.x[41], atol=1 / 255)


def test_values_are_those_of_the_file():
    inputs = fake(shape=(3,))
    columns = ("width", "height", "age")
    shift, scale = np.array([5.0, 0.0, 40.0]), np.array([2.0, 1.0, 10.0])
    scaling = Scaling("standardize", shift, scale, (3,), columns)
    inputs = inputs._replace(scaling=scaling)
    data = map_data(inputs, inputs.embedding, column_means(inputs), [])
    assert data["sheet"] is None
    assert data["values"]["columns"] == list(columns)
    numbers = decoded(data["values"]["numbers"], "<f4").reshape(60, 3)
    np.testing.assert_allclose(numbers, inputs.x * scale + shift, rtol=1e-6)


def test_seventy_thousand_rows_make_a_page_of_a_few_megabytes(tmp_path, monkeypatch):
    monkeypatch.setattr("dgg_jax.reports.run.report_figures", lambda *_: {})
    monkeypatch.setattr("dgg_jax.plots.latents.tsne", lambda z: z[:, :2])
    random = np.random.default_rng(0)
    count = 70_000
    labels = random.integers(10, size=count)
    inputs = fake(10)._replace(
        x=random.uniform(size=(count, 28 * 28)).astype(np.float32),
        feature_shape=(28, 28),
        y=labels,
        class_names=None,
        labels=labels,
        probabilities=random.dirichlet(np.ones(10), count),
        embedding=random.normal(size=(count, 10)) + labels[:, None],
        elbo=random.normal(size=count),
    )
    path = write_report(tmp_path, inputs)
    assert path.stat().st_size < 8e6  # of noise, which does not compress
