"""Images are what a person sees; what is no image is not taken for one."""

import logging
import os
import tempfile
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from PIL import Image, ImageOps

from dgg_jax import data, presets
from dgg_jax.checks import InvalidInput
from dgg_jax.data import own, pictures

few = hypothesis.settings(max_examples=25, deadline=None)
seeds = st.integers(0, 99)


def folder_of(images, folder, **options):
    for i, image in enumerate(images):
        if not isinstance(image, Image.Image):
            image = Image.fromarray(np.asarray(image, np.uint8))
        image.save(Path(folder) / f"{i}.png", **options)
    return Path(folder)


def loaded(images, **options):
    with tempfile.TemporaryDirectory() as folder:
        return data.load(folder_of(images, folder), **options)


def on_page(image, level):
    """What a person sees of an image with transparency on a page of this brightness."""
    image = image.convert("RGBA")
    page = Image.new("RGBA", image.size, (level, level, level, 255))
    return np.array(Image.alpha_composite(page, image).convert("RGB"))


# --- Transparency ------------------------------------------------------------------


@few
@hypothesis.given(seeds, st.integers(0, 255))
def test_ink_of_one_colour_is_seen(seed, ink):
    """Glyphs in one ink, whatever it is, and whatever hides under alpha 0."""
    random = np.random.default_rng(seed)
    glyphs = random.integers(0, 2, (5, 6, 7)) * random.integers(64, 256, (5, 6, 7))
    images = random.integers(0, 256, (5, 6, 7, 4))
    images[..., :3] = np.where(glyphs[..., None] > 0, ink, images[..., :3])
    images[..., 3] = glyphs
    found = loaded(images, scaling="pixels")
    np.testing.assert_array_equal(
        found.x, (glyphs.reshape(5, 42) / 255.0).astype(np.float32)
    )
    assert found.scaling.ground == "alpha" and "as alpha" in found.provenance


@few
@hypothesis.given(seeds, st.sampled_from(("RGBA", "LA", "P", "RGB", "L")))
def test_transparent_pixels_are_seen_on_a_ground(seed, mode):
    random = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.png" for i in range(4)]
        for path in paths:
            rgba = random.integers(0, 256, (6, 7, 4), dtype=np.uint8)
            rgba[0, 0] = (0, 0, 0, 255)  # black, which is seen on white
            image = Image.fromarray(rgba)
            options = {}
            if mode == "P":
                image, options = image.convert("RGB").quantize(8), {"transparency": 3}
            elif mode in ("RGB", "L"):  # one of the colours is transparent
                image = image.convert(mode)
                options = {"transparency": image.getpixel((6, 5))}
            image.convert(mode).save(path, **options)
        found = data.load(folder, scaling="pixels")
        seen = [on_page(Image.open(path), 255) for path in paths]
    assert found.scaling.ground == "white"
    assert found.feature_shape == ((6, 7) if mode in ("L", "LA") else (6, 7, 3))
    if mode in ("L", "LA"):
        seen = [image[..., 0] for image in seen]
    x = 255 * found.x.reshape(4, *found.feature_shape)
    np.testing.assert_allclose(x, seen, atol=1.01)


@pytest.mark.parametrize(
    ("inks", "ground"), [((0, 100), "white"), ((255, 240), "black"), ((0, 255), "grey")]
)
def test_nothing_vanishes_into_the_ground(tmp_path, inks, ground, caplog):
    random = np.random.default_rng(0)
    images = np.zeros((6, 8, 8, 4))
    for i, image in enumerate(images):
        image[..., :3] = inks[i % 2]
        image[..., 3] = 255 * random.integers(0, 2, (8, 8))
    with caplog.at_level(logging.INFO, "dgg_jax"):
        found = data.load(folder_of(images, tmp_path))
    assert found.scaling.ground == ground and f"transparency on {ground}" in (
        found.provenance
    )
    assert f"transparent pixels are seen on {ground}" in caplog.text
    assert (np.ptp(found.x, axis=1) > 0.1).all()
    # New rows are seen on the same ground, few as they are.
    with tempfile.TemporaryDirectory() as folder:
        x = own.new_rows(folder_of(images[:1], folder), found.scaling)
    np.testing.assert_array_equal(x, found.x[:1])


def test_an_opaque_plane_of_alpha_changes_nothing(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 4))
    image[..., 3] = 255
    found = loaded(image)
    assert found.feature_shape == (4, 5, 3) and found.scaling.ground is None
    np.testing.assert_array_equal(found.x, loaded(image[..., :3]).x)
    with pytest.raises(InvalidInput, match="ground='red' is unknown; choose one of"):
        pictures.read(tmp_path, None, "red")


# --- Orientation, palettes, frames -------------------------------------------------


@few
@hypothesis.given(seeds, st.integers(1, 8), st.sampled_from((".png", ".tif", ".webp")))
def test_images_are_turned_as_they_are_shown(seed, orientation, suffix):
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        lossless = {"lossless": True} if suffix == ".webp" else {}
        Image.fromarray(pixels).save(path, exif=exif, **lossless)
        shown = np.array(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
        found = data.load(folder, scaling="pixels")
        assert found.feature_shape == shown.shape
        assert shown.shape[:2] == ((4, 6) if orientation < 5 else (6, 4))
        np.testing.assert_array_equal(255 * found.x.reshape(shown.shape), shown)
        resized = data.load(folder, image_size=(3, 9))
        assert resized.feature_shape == (3, 9, 3)


def test_palettes_are_seen_as_colours_or_as_greys():
    random = np.random.default_rng(0)
    indices = random.integers(0, 4, (3, 5, 6), dtype=np.uint8)
    for palette, shape in (
        ([0, 0, 0, 255, 0, 0, 0, 255, 0, 9, 9, 200], (5, 6, 3)),
        ([0, 0, 0, 80, 80, 80, 160, 160, 160, 255, 255, 255], (5, 6)),
    ):
        images = []
        for one in indices:
            image = Image.fromarray(one, "L")
            image = image.convert("P")
            image.putdata(one.ravel().tolist())
            image.putpalette(palette)
            images.append(image)
        found = loaded(images)
        assert found.feature_shape == shape
        table = np.array(palette).reshape(4, 3)
        seen = table[indices] if len(shape) == 3 else table[indices, 0]
        np.testing.assert_allclose(255 * found.x, seen.reshape(3, -1), atol=1e-4)


@pytest.mark.parametrize("suffix", [".gif", ".tif", ".webp", ".png"])
@pytest.mark.parametrize("count", [2, 7])
def test_several_frames_are_counted(tmp_path, suffix, count):
    random = np.random.default_rng(0)
    frames = [
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        for _ in range(count)
    ]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(InvalidInput, match=f"a{suffix} has {count} frames; save each"):
        data.load(tmp_path)


def test_photographs_of_two_pictures_are_the_first(tmp_path):
    first, second = (Image.new("RGB", (8, 8), color) for color in ("red", "blue"))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    found = data.load(tmp_path)
    assert found.x.reshape(8, 8, 3)[..., 0].min() > 0.9


# --- Ranges of pixels --------------------------------------------------------------


@few
@hypothesis.given(seeds, st.integers(1, 255))
def test_ranges_of_pixels_are_noticed(seed, most):
    images = np.random.default_rng(seed).integers(0, most + 1, (4, 6, 6))
    images[0, 0, 0] = most
    found = loaded(images)
    divisor = most if most < 128 else 255
    assert found.scaling.step == f"divide_by({divisor})"
    np.testing.assert_allclose(found.x, images.reshape(4, 36) / divisor, rtol=1e-6)
    assert found.likelihood == "bernoulli"
    as_bytes = loaded(images, scaling="pixels")
    np.testing.assert_allclose(as_bytes.x, images.reshape(4, 36) / 255, rtol=1e-6)


def test_dark_images_are_told(caplog):
    loaded(np.eye(8)[None] * np.array([1, 16])[:, None, None])
    assert "no pixel is larger than 16 of 255; all are divided by 16" in caplog.text


# --- What is no image, and no pixels -----------------------------------------------


def npy_loaded(x, **options):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        np.save(path, x)
        return data.load(path, **options)


def warp(dataset):
    shape = dataset.image_shape
    return presets.for_data("dgg", dataset.x, 3, image_shape=shape).siamese_warp


@few
@hypothesis.given(seeds, st.integers(16, 128), st.integers(1, 64), st.booleans())
def test_windows_of_time_series_are_no_images(seed, length, channels, is_long):
    random = np.random.default_rng(seed)
    x = random.normal(size=(8, length, channels))
    if is_long:  # values as of pixels do not make them images
        x, length = random.random((8, 3 * channels, channels)), 3 * channels
    found = npy_loaded(x)
    assert found.image_shape is None and warp(found) == 0
    assert found.x.shape == (8, length * channels)


@few
@hypothesis.given(
    seeds,
    st.sampled_from(((8, 8), (28, 28), (12, 9), (8, 8, 1), (16, 16, 3))),
    st.sampled_from((np.uint8, np.int64, np.float32)),
    st.booleans(),
)
def test_images_in_arrays(seed, shape, kind, is_unit):
    x = np.random.default_rng(seed).integers(0, 256, (8, *shape)).astype(kind)
    x[0] = 200
    if is_unit:
        x = x / np.float32(255)
    found = npy_loaded(x)
    assert found.image_shape == shape and warp(found) > 0
    assert found.scaling.step == ("none" if is_unit else "divide_by(255)")
    assert npy_loaded(x, image_shape=()).image_shape is None


def test_a_flag_says_otherwise(tmp_path, caplog):
    x = np.random.default_rng(0).normal(size=(9, 6, 6))
    assert npy_loaded(x).image_shape is None
    assert npy_loaded(x, image_shape=(6, 6)).image_shape == (6, 6)
    flat = npy_loaded(x.reshape(9, 36), image_shape=(4, 9))
    assert flat.image_shape == flat.feature_shape == (4, 9)
    with pytest.raises(
        InvalidInput, match=r"image_shape must be .* D = 36, got \(5, 5"
    ):
        npy_loaded(x, image_shape=(5, 5))
    with caplog.at_level(logging.INFO, "dgg_jax"):
        npy_loaded(x)
        assert "taken for rows of numbers; --image_shape=6,6 if they ar" in caplog.text
        npy_loaded(abs(x) % 1)
        assert "images of 6 x 6; --image_shape=none if they are none" in caplog.text
        npy_loaded(np.full((3, 5), 200, np.uint8) - np.eye(3, 5, dtype=np.uint8))
        assert (
            "taken for 8-bit pixels, and divided by 255; --scaling=sta" in caplog.text
        )


@few
@hypothesis.given(
    seeds,
    st.integers(129, 254),
    st.sampled_from((("age", "pulse", "score"), ("2001", "2002", "2003"), None)),
)
def test_small_whole_numbers_are_no_pixels(seed, most, names):
    x = np.random.default_rng(seed).integers(0, most, (20, 3))
    x[0] = (most, 0, 3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        header = ",".join(names or ())
        np.savetxt(path, x, "%d", ",", header=header, comments="")
        assert data.load(path).scaling.step == "standardize"
        assert data.load(path, scaling="pixels").scaling.step == "divide_by(255)"
        assert npy_loaded(x).scaling.step == "standardize"


@pytest.mark.parametrize("form", ["pixel{}", "px_{}", "{}", "{}x1"])
def test_tables_of_pixels(tmp_path, form):
    x = np.random.default_rng(0).integers(0, 200, (9, 12))
    x[0, 0] = 200
    header = ",".join(form.format(i) for i in range(12))
    np.savetxt(tmp_path / "t.csv", x, "%d", ",", header=header, comments="")
    assert data.load(tmp_path / "t.csv").scaling.step == "divide_by(255)"
    found = data.load(tmp_path / "t.csv", image_shape=(4, 3))
    assert found.feature_shape == (4, 3) and found.is_image


# --- Order and places --------------------------------------------------------------


@few
@hypothesis.given(st.lists(st.integers(0, 10**6), min_size=1, max_size=12, unique=True))
def test_images_are_in_natural_order(numbers):
    with tempfile.TemporaryDirectory() as folder:
        for number in numbers:
            level = number % 256
            image = Image.new("L", (4, 4), level)
            image.save(Path(folder) / f"img {number} of 3.png")
        found = data.load(folder, scaling="none")
    assert found.names.tolist() == [f"img {n} of 3.png" for n in sorted(numbers)]
    np.testing.assert_array_equal(found.x[:, 0], [n % 256 for n in sorted(numbers)])


@few
@hypothesis.given(
    st.lists(
        st.sampled_from(
            ("none", "NA", "-", "nan", "1.0", "1", "null", "cat 2", "cat 10")
        ),
        min_size=2,
        max_size=6,
        unique=True,
    )
)
def test_the_name_of_a_folder_is_its_class(names):
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            for i in range(3):
                (Path(folder) / name).mkdir(exist_ok=True)
                Image.new("L", (4, 4), 40 * i).save(Path(folder) / name / f"{i}.png")
        found = data.load(folder)
    assert set(found.class_names) == set(names)
    of_rows = [found.class_names[y] for y in found.y]
    assert [name.split("/")[0] for name in found.names] == of_rows


def test_deeper_folders_are_named(tmp_path, caplog):
    deep = tmp_path / "train" / "cat"
    deep.mkdir(parents=True)
    folder_of(np.zeros((2, 4, 4)), deep)
    message = (
        r"deeper, such as train/cat/0.png; name the folder above.*such as .*train\."
    )
    with pytest.raises(InvalidInput, match=message):
        data.load(tmp_path)
    folder_of(np.eye(4)[None] * 255, tmp_path / "train")
    (deep / "0.png").rename(tmp_path / "train" / "7.png")
    (deep / "1.png").unlink()
    assert len(data.load(tmp_path / "train").x) == 2
    (tmp_path / "train" / "0.png").rename(deep / "0.png")
    (tmp_path / "train" / "7.png").rename(deep / "7.png")
    (deep / "more").mkdir()
    data.load(tmp_path / "train")
    assert "left out, since no features: cat/more/" in caplog.text


@pytest.mark.parametrize("kind", ["link", "pipe"])
@pytest.mark.parametrize("folder", [".", "class"])
def test_an_image_that_is_no_file_is_not_passed_over(tmp_path, kind, folder):
    within = tmp_path / folder
    within.mkdir(exist_ok=True)
    for number in range(3):
        image = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(image).save(within / f"{number}.png")
    path = within / "3.png"
    path.symlink_to("absent.png") if kind == "link" else os.mkfifo(path)
    with pytest.raises(InvalidInput, match=r"3\.png is no file, but a link"):
        data.load(tmp_path)
    path.unlink()
    assert len(data.load(tmp_path).x) == 3
