"""What a fitted estimator shows of itself, in notebooks above all."""

import html
import re

import numpy as np
import pandas
import pytest
import sklearn
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

import dgg_jax
from dgg_jax import DGG, IMSAT
from dgg_jax.checks import InvalidInput
from dgg_jax.estimators.pictures import classes_of
from dgg_jax.metrics import clustering_accuracy
from tests.hardening.check_estimators import tiny
from tests.methods.toy import blobs

Y = np.arange(90) % 2


@pytest.fixture(scope="module")
def images():
    return np.clip(np.repeat(blobs()[0], 10, axis=1), 0, 1).reshape(90, 6, 5)


@pytest.fixture(scope="module")
def model(images):
    """A DGG of images."""
    return tiny("DGG").fit(images)


@pytest.fixture(scope="module")
def discriminative():
    """What has neither embedding nor decoder."""
    return tiny("IMSAT").fit(blobs()[0])


def displayed(value):
    """What a notebook shows: IPython asks for these, the first that there is."""
    if hasattr(value, "_repr_mimebundle_"):
        return value._repr_mimebundle_(include=None, exclude=None)
    return {"image/png": value._repr_png_()}


def test_pictures_are_shown_in_notebooks(model):
    pictures = (
        model.plot.latents(),
        model.plot.latents(Y, ["even", "odd"]),
        model.plot.confusion(Y.tolist()),
        model.plot.samples(),
        model.plot.curves(),
        model.plot.graph(),
    )
    for picture in pictures:
        assert isinstance(picture, Figure)
        assert displayed(picture)["image/png"].startswith(b"\x89PNG")
    assert [len(picture.axes) for picture in pictures[:4]] == [1, 2, 1, 1]


def test_samples_are_images_where_fit_saw_some(model, tmp_path):
    assert model.image_shape_ == (6, 5)
    (axes,) = model.plot.samples(4).axes
    height, width = axes.images[0].get_array().shape[:2]
    assert (height, width) == (3 * 7 - 1, 4 * 6 - 1)  # of 3 clusters, a pixel between
    (axes,) = model.plot.samples(2, image_shape=(5, 6)).axes
    assert axes.images[0].get_array().shape[:2] == (3 * 6 - 1, 2 * 7 - 1)
    with pytest.raises(InvalidInput, match=r"image_shape must be .* D = 30"):
        model.plot.samples(image_shape=(5, 5))
    with pytest.raises(InvalidInput, match="n_samples"):
        model.plot.samples(0)
    model.save(tmp_path / "model")
    loaded = dgg_jax.load(tmp_path / "model")
    assert loaded.image_shape_ == (6, 5)
    assert loaded.plot.samples().axes[0].images


def drawn(figure):
    """Points and edges of a picture of a graph."""
    lines = [c for c in figure.axes[0].collections if isinstance(c, LineCollection)]
    points = [c for c in figure.axes[0].collections if c not in lines]
    num_points = sum(len(part.get_offsets()) for part in points)
    return num_points, sum(len(part.get_segments()) for part in lines)


def test_the_graph_of_many_rows_is_that_of_some_with_their_neighbours(model):
    assert drawn(model.plot.graph()) == (90, 90 * 3)
    num_points, num_edges = drawn(model.plot.graph(max_points=40))
    assert num_points == 40
    assert 10 * 3 <= num_edges < 40 * 3  # whole neighbourhoods


def test_what_is_not_there_is_said(discriminative):
    for picture, message in (
        ("latents", "IMSAT has no embedding to draw"),
        ("samples", "IMSAT has no generative model"),
        ("graph", "IMSAT has no graph"),
    ):
        with pytest.raises(InvalidInput, match=message):
            getattr(discriminative.plot, picture)()
    assert discriminative.plot.confusion(Y).axes
    with pytest.raises(ValueError, match=r"of the 90 rows of training.*shape \(5,\)"):
        discriminative.plot.confusion(Y[:5])
    with pytest.raises(ValueError, match="not fitted"):
        _ = DGG(3).plot


@pytest.mark.parametrize(
    ("y", "codes", "names"),
    [
        ([2, 0, 2], [2, 0, 2], None),
        ([2.0, 0.0, 2.0], [2, 0, 2], None),
        ([-1, 3, 3], [0, 1, 1], ["-1", "3"]),
        (["b", "a", "b"], [1, 0, 1], ["a", "b"]),
        (pandas.Categorical(["b", "a", "b"]), [1, 0, 1], ["a", "b"]),
    ],
)
def test_classes_have_numbers_or_names(y, codes, names):
    found, named = classes_of(y, None, 3)
    assert found.tolist() == codes and named == names
    assert classes_of(y, ["p", "q"], 3)[1] == ["p", "q"]


def test_rows_of_unknown_class_take_no_name_from_the_others():
    found, named = classes_of([-1, 1, 0, 1], ["p", "q"], 4)
    assert found.tolist() == [0, 2, 1, 2] and named == ["-1", "p", "q"]


@pytest.mark.parametrize("one", [None, float("nan"), 0.5])
def test_rows_without_a_class_are_named(one):
    with pytest.raises(InvalidInput, match=f"y must be classes.*got {one!r}; a row"):
        classes_of(pandas.Series(["a", one, "b"], dtype=object), None, 3)


def test_notebooks_show_the_outcome(model, discriminative):
    shown = displayed(model)
    assert set(shown) == {"text/plain", "text/html"}
    assert shown["text/plain"] == repr(model)
    html = model._repr_html_()
    assert html.startswith("<p><b>DGG</b>: 3 clusters of 90 rows, ELBO ")
    assert shown["text/html"].startswith(html[:200])
    cells = re.findall(r"<td>(?:<span.*?</span> )?(.*?)</td>", html)
    for cluster, size in enumerate(np.bincount(model.labels_, minlength=3)):
        sure = model.confidence_[model.labels_ == cluster]
        sure = f"{sure.mean():.3f}" if size else ""
        row = [str(cluster), str(size), f"{size / 90:.1%}", sure]
        assert cells[4 * cluster : 4 * cluster + 4] == row
    assert cells[12:15:2] == ["pretrain", f"{model.stages_[0]['elbo']:.2f}"]
    for settings in ("n_clusters", "DGG("):  # scikit-learn's own follows
        assert settings in html
    assert "ELBO" not in discriminative._repr_html_().partition("<table>")[0]
    assert "clusters of" not in DGG(3)._repr_html_() + IMSAT(3)._repr_html_()
    with sklearn.config_context(display="text"):
        assert not hasattr(model, "_repr_html_")
        assert set(displayed(model)) == {"text/plain"}


def test_of_many_clusters_the_largest_are_shown(discriminative, monkeypatch):
    monkeypatch.setattr(discriminative, "n_clusters_", 25)
    monkeypatch.setattr(discriminative, "labels_", np.r_[np.arange(-2, 25), [24] * 63])
    html = discriminative._repr_html_()
    for text in ("25 clusters of 90 rows", "2 outliers", "the 20 largest are shown"):
        assert text in html
    assert "</span> 24</td><td>64</td>" in html and "</span> 20<" not in html


def text_of(page):
    """What a reader sees, without styles and scripts."""
    page = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_the_report_is_one_page(model, images, tmp_path):
    names = [f"picture {row}" for row in range(90)]
    path = tmp_path / "page.html"
    found = model.report(path, images, Y, names=names, class_names=["even", "odd"])
    assert found == path and list(tmp_path.iterdir()) == [path]
    page = path.read_text()
    shown = text_of(page)
    assert "90 rows of 30 features went into 3 clusters" in shown
    accuracy = clustering_accuracy(Y, model.labels_)
    assert f"ACC {accuracy:.3f}" in shown and "picture 7" in page
    assert "probabilities_ of the model has the probabilities of every row" in shown
    assert " ".join(f"{model!r}.fit(X)".split()) in shown
    assert "predictions.npz" not in shown and "--noguard" not in shown
    assert not re.search(r'(src|href)="(?!data:|#)', page)  # requests nothing


def test_the_report_has_classes_of_names(model, images, tmp_path):
    names, pages = ["even", "odd"], [tmp_path / "numbers.html", tmp_path / "names.html"]
    model.report(pages[0], images, Y, class_names=names)
    model.report(pages[1], images, np.array(names)[Y])
    numbers, named = (page.read_text() for page in pages)
    assert named == numbers and "odd" in text_of(named)


def test_the_report_of_a_table_names_columns_and_rows(tmp_path):
    columns = [f"size {column}" for column in range(3)]
    rows = [f"flower {row}" for row in range(90)]
    frame = pandas.DataFrame(blobs()[0], rows, columns)
    page = tmp_path / "page.html"
    for name in ("DGG", "IMSAT"):
        tiny(name).fit(frame).report(str(page), frame)
        shown = text_of(page.read_text())
        assert re.search(r"size \d (much )?(higher|lower)", shown)
        assert re.search(r"Borderline flower \d", shown)


def test_outliers_are_counted_in_the_report(images, tmp_path):
    model = tiny("DGG").fit(images, outliers=0.1)
    model.report(tmp_path / "page.html", images)
    shown = text_of((tmp_path / "page.html").read_text())
    assert "9 rows of the lowest ELBO are outliers, -1 in labels_" in shown


def test_a_report_does_not_mind_what_transform_returns(model, images, tmp_path):
    import copy

    other = copy.deepcopy(model).set_output(transform="pandas")
    assert other.report(tmp_path / "page.html", images).exists()


def test_a_report_that_cannot_be_written(model, images, tmp_path):
    with pytest.raises(InvalidInput, match=r"X must have the 90 rows .* got 89"):
        model.report(tmp_path / "page.html", images[1:])
    with pytest.raises(InvalidInput, match="X must be the rows that were given to fit"):
        model.report(tmp_path / "page.html", images[::-1])
    with pytest.raises(InvalidInput, match="y must be a class of each of the 90 rows"):
        model.report(tmp_path / "page.html", images, Y[:4])
    with pytest.raises(InvalidInput, match="names must have the 90 rows"):
        model.report(tmp_path / "page.html", images, names=["one"])
    with pytest.raises(InvalidInput, match=r'as ".*report.html", got the folder'):
        model.report(tmp_path, images)
    with pytest.raises(FileNotFoundError):
        model.report(tmp_path / "missing" / "page.html", images)
    assert not list(tmp_path.iterdir())
