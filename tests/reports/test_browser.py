"""The page in a browser: its map answers, nothing is cut off, nothing is requested."""

import csv
import time

import numpy as np
import pytest

from dgg_jax.reports import comparison, comparison_page
from dgg_jax.reports.run import write_report
from tests.reports import chromium
from tests.reports.fakes import fake

pytestmark = pytest.mark.skipif(
    chromium.PROGRAM is None, reason="chromium is not installed"
)
CANVAS = "document.getElementById('map-canvas')"


def finished():
    names = np.array([f'flower "{i}", red' for i in range(60)])
    return fake(num_latents=3)._replace(names=names, elbo=np.arange(60.0))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("run"), finished())


@pytest.fixture(scope="module")
def browser():
    with chromium.page() as page:
        yield page


@pytest.fixture
def page(browser, report):
    browser.errors.clear()
    browser.requests.clear()
    browser.open(report)
    browser.run(f"{CANVAS}.scrollIntoView({{block: 'center'}})")
    browser.settle()
    yield browser
    assert browser.errors == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in browser.requests)


def text(page, name):
    return page.run(f"document.getElementById('{name}').innerText")


def colours(page):
    """The drawn pixels as one number."""
    return page.run(
        f"(() => {{ const c = {CANVAS}; const d = c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data;"
        "let s = 0; for (let i = 0; i < d.length; i++) s = (31 * s + d[i]) % 1e9;"
        "return s; })()"
    )


def place_of_a_row(page):
    """Where in the window a point is drawn."""
    return page.run(
        f"(() => {{ const c = {CANVAS}, b = c.getBoundingClientRect();"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "for (let i = 0; i < d.length; i += 4) if (d[i + 3] > 200) return ["
        "b.left + (i / 4) % c.width, b.top + Math.floor(i / 4 / c.width)]; })()"
    )


def choose(page, colour):
    name = "document.getElementById('map-colour')"
    page.run(f"{name}.value = '{colour}', {name}.dispatchEvent(new Event('change'))")
    page.settle()


def find(page, wanted):
    name = "document.getElementById('map-search')"
    page.run(f"{name}.value = '{wanted}', {name}.dispatchEvent(new Event('input'))")
    page.settle()


def test_a_row_under_the_mouse_is_shown(page):
    x, y = place_of_a_row(page)
    page.mouse("mouseMoved", x, y)
    page.settle()
    shown = text(page, "map-tip")
    for words in ('flower "', "cluster ", "confidence ", "label class", "stranger"):
        assert words in shown
    assert page.run("document.querySelectorAll('#map-tip canvas').length") == 1
    for kind in ("mousePressed", "mouseReleased"):
        page.mouse(kind, x, y)
    page.settle()
    assert text(page, "map-status") == "1 row"
    assert shown.split("\n")[0] in text(page, "map-rows")
    page.mouse("mouseMoved", 5, 5)
    page.settle()
    assert page.run("document.getElementById('map-tip').hidden")


def test_rows_are_found_by_name_and_number(page):
    find(page, 'FLOWER "17"')
    assert text(page, "map-status") == "1 row"
    assert 'flower "17", red' in text(page, "map-rows")
    find(page, "flower")
    assert text(page, "map-status") == "60 rows"
    find(page, "tree")
    assert text(page, "map-status") == "No such row"
    assert page.run("document.getElementById('map-list').hidden")
    find(page, "")
    assert text(page, "map-status") == ""


def test_each_colour_is_another_picture(page):
    seen = set()
    for colour in ("cluster", "confidence", "outlier"):
        choose(page, colour)
        seen.add(colours(page))
    assert len(seen) == 3
    assert "strangest" in text(page, "map-legend")
    choose(page, "label")
    assert "class 2" in text(page, "map-legend")


def test_keys_and_wheel_move_the_map(page):
    page.run(f"{CANVAS}.focus()")
    seen = [colours(page)]
    for key in ("+", "ArrowLeft", "ArrowUp", "-"):
        page.key(key)
        page.settle()
        seen.append(colours(page))
    assert len(set(seen)) == len(seen)
    page.key("0")
    page.settle()
    assert colours(page) == seen[0]
    page.key("Enter")
    page.settle()
    assert text(page, "map-status") == "60 rows"
    page.key("Escape")
    page.settle()
    assert text(page, "map-status") == "" and colours(page) == seen[0]
    box = page.run(f"{CANVAS}.getBoundingClientRect().toJSON()")
    middle = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    wheel = {"type": "mouseWheel", "deltaX": 0, "deltaY": -200}
    page.send("Input.dispatchMouseEvent", **wheel, **middle)
    page.settle()
    assert colours(page) != seen[0]


def test_a_line_around_rows_lists_them(page):
    box = page.run(f"{CANVAS}.getBoundingClientRect().toJSON()")
    left, top = box["x"] + 2, box["y"] + 2
    right, bottom = left + box["width"] - 4, top + box["height"] - 4
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    page.run("document.getElementById('map-lasso').click()")
    page.mouse("mousePressed", *corners[0])
    for corner in corners:
        page.mouse("mouseMoved", *corner, pressed=True)
    page.mouse("mouseReleased", *corners[-1])
    page.settle()
    assert text(page, "map-status") == "60 rows"


def test_a_click_on_a_card_shows_the_row_on_the_map(page):
    page.run("document.querySelector('.card a[data-row]').click()")
    page.settle()
    name = page.run("document.querySelector('.card a[data-row]').title").split(",")[0]
    assert text(page, "map-status") == "1 row" and name in text(page, "map-rows")


def test_the_keyboard_reaches_contents_and_terms(page):
    page.run("scrollTo(0, 0)")
    page.key("Tab")
    skip = page.run("document.activeElement.textContent")
    assert skip == "Skip to the content"
    dead = page.run(
        "[...document.querySelectorAll('a[href^=\"#\"]')].filter((link) =>"
        " !document.querySelector(link.getAttribute('href'))).length"
    )
    assert dead == 0
    assert page.run("document.querySelectorAll('nav a').length") > 5
    link = page.run("document.querySelector('dt .term').title")
    assert "matched to their true class" in link


def test_the_assignments_are_downloaded(page, tmp_path):
    page.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.run("document.getElementById('map-download').click()")
    path, end = tmp_path / "assignments.csv", time.monotonic() + 10
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.05)
    with open(path, newline="") as file:
        lines = list(csv.DictReader(file))
    inputs = finished()
    assert [int(line["row"]) for line in lines] == list(range(60))
    assert [line["name"] for line in lines] == inputs.names.tolist()
    assert [int(line["cluster"]) for line in lines] == inputs.labels.tolist()
    confidence = [float(line["confidence"]) for line in lines]
    np.testing.assert_allclose(confidence, inputs.confidence, atol=1e-4)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_cut_off(page, report, width, dark):
    page.open(report, width, 900, dark, mobile=width == 390)
    wide = page.run("[document.scrollingElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1] == width
    ground = page.run("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(22, 24, 27)") == dark
    assert page.run("[...document.images].every((image) => image.alt)")


def test_a_comparison_fits_a_phone(browser, tmp_path):
    stage = {"name": "train", "seconds": 3.0, "accuracy": 0.8, "nmi": 0.7, "ari": 0.6}
    made = [
        {"config": {"method": method, "dataset": "mnist"}, "seed": seed, "paper": None}
        | {"stages": [stage], "final": stage, "versions": {"jax": "1"}, "device": "cpu"}
        | {"dataset": {"name": "mnist", "rows": 9, "features": 2, "provenance": "made"}}
        for method in ("dgg", "kmeans")
        for seed in (0, 1)
    ]
    text = comparison_page.html(comparison.table(made), "mnist", made, "compare")
    path = tmp_path / "report.html"
    path.write_text(text, encoding="utf-8")
    browser.errors.clear()
    browser.open(path, 390, 900, mobile=True)
    wide = browser.run("[document.scrollingElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1] == 390 and browser.errors == []


def test_the_map_of_many_rows_is_fluid(browser, tmp_path, monkeypatch):
    monkeypatch.setattr("dgg_jax.reports.run.report_figures", lambda *_: {})
    random = np.random.default_rng(0)
    labels = random.integers(10, size=70_000)
    latents = 4.0 * random.normal(size=(10, 2))[labels] + random.normal(
        size=(70_000, 2)
    )
    inputs = fake(10, shape=(3,), labelled=False)._replace(
        x=random.normal(size=(70_000, 3)).astype(np.float32),
        labels=labels,
        probabilities=random.dirichlet(np.ones(10), 70_000),
        embedding=latents,
    )
    browser.open(write_report(tmp_path, inputs))
    browser.run(f"{CANVAS}.focus()")
    milliseconds = browser.run(
        "(async () => { const start = performance.now(); for (let i = 0; i < 10; i++) {"
        f"{CANVAS}.onkeydown(new KeyboardEvent('keydown', {{key: 'ArrowLeft'}}));"
        "await new Promise((done) => requestAnimationFrame(done)); }"
        "return (performance.now() - start) / 10; })()"
    )
    print(f"{milliseconds:.0f} ms a frame")
    assert milliseconds < 400  # 20 to 40 ms alone; tests may share the processor


def test_errors_would_be_seen(browser, report):
    browser.open(report)
    browser.errors.clear()
    browser.run("setTimeout(() => nothing()); console.error('so')")
    browser.wait("true")
    browser.settle()
    assert len(browser.errors) == 2
    browser.errors.clear()
