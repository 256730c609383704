import base64
import html.parser
import re

import numpy as np
import pytest

from dgg_jax.reports.run import report_figures, write_report
from tests.reports.fakes import fake

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Balance(html.parser.HTMLParser):
    """Collects tags, attributes and text, and fails where tags do not nest."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.attributes, self.texts = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open}"
        self.open.pop()

    def handle_data(self, data):
        if data.strip() and self.open[-1:] not in (["style"], ["script"]):
            self.texts.append(data.strip())


def parsed(path):
    parser = Balance()
    parser.feed(path.read_text(encoding="utf-8"))
    parser.close()
    assert parser.open == []
    return parser


def after(heading, page):
    """What stands after a heading, which the list of contents has as well."""
    at = len(page.texts) - page.texts[::-1].index(heading)
    return page.texts[at:]


@pytest.mark.parametrize(
    ("num_clusters", "num_latents", "shape", "labelled"),
    [(2, 2, (2,), True), (10, 10, (4, 4), True), (2, 10, (12,), False),
     (10, 2, (3, 4, 3), False)],
)  # fmt: skip
def test_the_report_is_one_page_with_its_figures(
    tmp_path, num_clusters, num_latents, shape, labelled
):
    inputs = fake(num_clusters, num_latents, shape, labelled)
    path = write_report(tmp_path / "run", inputs)
    assert path == tmp_path / "run" / "report.html"
    page = parsed(path)

    expected = {"latents", "sizes", "samples", "variances", "curves"}
    expected |= {"confusion"} if labelled else set()
    expected |= {"points"} if shape == (2,) else set()
    expected |= {"traversals", "doubtful"} if len(shape) > 1 else set()
    expected |= {"reliability"} if labelled else set()
    files = list((tmp_path / "run" / "figures").iterdir())
    assert {file.name for file in files} == {f"{name}.png" for name in expected}
    images = [v for k, v in page.attributes if k == "src"]
    embedded = {base64.b64decode(image.partition(";base64,")[2]) for image in images}
    drawn = {file.read_bytes() for file in files}
    assert drawn <= embedded  # and the rows of the cards, if they are images
    assert (drawn == embedded) == (len(shape) == 1)
    assert all(png.startswith(b"\x89PNG\r\n") and len(png) > 1000 for png in drawn)
    # Nothing half-written stays behind.
    assert {p.name for p in path.parent.iterdir()} == {"figures", "report.html"}


def test_training_that_was_undone_shows_what_it_came_to(tmp_path):
    kept = {"name": "train", "seconds": 1.0, "accuracy": 0.75, "nmi": 0.7, "ari": 0.6}
    undone = {"accuracy": 0.25, "nmi": 0.2, "ari": 0.1}
    stage = kept | {"stage_kept": "classifier", "undone": undone}
    texts = parsed(write_report(tmp_path, fake(stages=[stage]))).texts
    at = texts.index("train")
    assert texts[at + 2] == "0.250" and "0.750" not in texts
    assert "Training was undone." in texts
    plain = parsed(write_report(tmp_path, fake(stages=[kept]))).texts
    assert "0.750" in plain and "Training was undone." not in plain


@pytest.mark.parametrize("labelled", [True, False])
def test_the_best_labels_to_start_from_are_listed(tmp_path, labelled):
    scores = {"accuracy": 0.81, "nmi": 0.72, "ari": 0.63} if labelled else {}
    scores = {"accuracy": None, "nmi": None, "ari": None} | scores
    candidates = [
        {"space": "data", "method": f"way {i}", "standing": 1.5 - i, "agreement": 0.25}
        | {"neighbor_certainty": 0.875}
        | scores
        for i in range(11)
    ]
    stage = {"name": "initialize", "seconds": 1.0, "candidates": candidates}
    inputs = fake(labelled=labelled, stages=[stage])
    texts = parsed(write_report(tmp_path, inputs)).texts
    assert "Labels to start from" in texts
    config = inputs.config | {"preset_values": {"init": "kmeans"}}
    others = inputs._replace(config=config)
    assert (
        "Clusterings that judge the run" in parsed(write_report(tmp_path, others)).texts
    )
    first = texts.index("way 0")
    expected = ["1.500", "0.250", "0.875", *(["0.810", "0.720", "0.630"] * labelled)]
    assert texts[first + 1 : first + 1 + len(expected)] == expected
    assert "way 7" in texts and "way 8" not in texts
    assert any("best 8 of 11 clusterings" in text for text in texts)
    without = parsed(write_report(tmp_path, fake())).texts
    assert "Labels to start from" not in without


@pytest.fixture
def words(tmp_path, monkeypatch):
    """Writes a report without figures, for tests of what it says."""
    monkeypatch.setattr("dgg_jax.reports.run.report_figures", lambda *_: {})

    def write(**changes):
        return write_report(tmp_path, fake(**changes))

    return write


def test_nothing_is_requested_and_no_path_is_shown(tmp_path):
    path = write_report(tmp_path, fake())
    page = parsed(path)
    references = [v for k, v in page.attributes if k in ("src", "srcset")]
    assert references
    assert all(value.startswith("data:image/") for value in references)
    links = {v for k, v in page.attributes if k == "href"}
    anchors = {f"#{v}" for k, v in page.attributes if k == "id"}
    assert links - anchors == {"result.json"}
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"https?://|url\(|@import|file:|<script src|<link", text)
    assert str(path.parent) not in text


def test_everything_is_escaped(words):
    evil = '<script>alert("x")</script>'
    inputs = {
        "name": evil,
        "command": f"python {evil}",
        "device": evil,
        "paper": {"accuracy": 0.97, "source": evil},
        "stages": [{"name": evil, "accuracy": evil, "elbo": evil, evil: evil}],
        "versions": {evil: evil},
        "git_revision": [evil],
    }
    path = words(**inputs)
    assert "<script>alert" not in path.read_text(encoding="utf-8")
    page = parsed(path)
    assert page.seen.count("script") == 2  # the map's
    assert any(evil in text for text in page.texts)


def test_names_of_classes_and_settings_are_escaped(tmp_path, monkeypatch):
    monkeypatch.setattr("dgg_jax.reports.run.report_figures", lambda *_: {})
    evil = '<script>alert("x")</script>'
    inputs = fake()._replace(class_names=[evil] * 3, config={evil: {evil: evil}})
    inputs = inputs._replace(names=np.array([f"</script>{evil}"] * 60))
    path = write_report(tmp_path, inputs)
    assert "<script>alert" not in path.read_text(encoding="utf-8")
    assert parsed(path).seen.count("script") == 2
    assert parsed(path).texts.count(evil) == 24  # twenty rows to check have a class


def test_what_is_null_is_an_en_dash(words):
    nothing = dict.fromkeys(("accuracy", "nmi", "ari", "elbo"))
    page = parsed(words(final=nothing, seconds=None, command=None))
    assert page.texts.count("\N{EN DASH}") >= 8
    assert "None" not in " ".join(page.texts)
    assert "nan" not in " ".join(page.texts).lower().split()


@pytest.mark.parametrize("missing", [{}, {"final": None, "stages": None}])
def test_a_result_that_holds_nothing_still_gives_a_page(tmp_path, missing):
    inputs = fake(shape=(3,))._replace(result=missing, config={}, history=[])
    parsed(write_report(tmp_path, inputs))


def test_the_papers_figure_and_the_changes_between_stages(words):
    page = parsed(words(paper={"accuracy": 0.9758, "source": "table 1"}))
    text = " ".join(page.texts)
    assert "paper 0.976 (table 1)" in text
    assert "difference \N{MINUS SIGN}0.066" in text
    assert "+0.210" in text
    assert "neighbor purity 0.96" in text
    assert "91.0\xa0% of the rows" in text


def test_the_figure_of_gmvae_stands_beside_its_own_score(words):
    """Erratum E62: never beside ACC."""
    scores = {"accuracy": 0.5, "nmi": 0.4, "ari": 0.3, "elbo": -9.0}
    final = scores | {"confident_label_accuracy": 0.8}
    own = {"accuracy": 0.7778, "score": "confident_label_accuracy", "source": "t"}
    texts = parsed(words(final=final, paper=own)).texts
    at = texts.index("Most confident label")
    assert texts[at + 1 : at + 4] == ["0.800", "paper 0.778 (t)", "difference +0.022"]
    at = texts.index("ACC")
    assert texts[at + 1 : at + 3] == ["0.500", "NMI"]
    # A paper's ACC stays beside ACC.
    texts = parsed(words(final=final, paper=own | {"score": "accuracy"})).texts
    at = texts.index("ACC")
    assert texts[at + 1 : at + 3] == ["0.500", "paper 0.778 (t)"]
    assert "Most confident label" not in parsed(words(final=scores)).texts


def test_the_memory_of_a_stage_is_told_and_explained(words):
    stage = {"name": "train", "seconds": 1.0, "peak_device_memory_mib": None}
    page = parsed(words(stages=[stage | {"peak_memory_mib": 12345}]))
    text = " ".join(page.texts)
    assert "peak memory mib 12,345" in text
    assert "The most memory of the host that the process had had" in text
    assert "peak device memory" not in text


def test_where_the_seconds_go_is_a_table(words):
    parts = {"training": 1.0, "tracing": 2.0, "compiling": 0.5, "rest": 4.0}
    row = {"stage": "train", "loop": None, "epochs": 3, "seconds": 7.5, **parts}
    loop = row | {"loop": "epochs of it", "seconds": 3.5, "rest": 0.0}
    texts = parsed(words(profile=[row, loop])).texts
    at = texts.index("Rest")
    seconds = ["7.5", "1.0", "2.0", "0.5", "4.0"]
    assert texts[at + 1 : at + 9] == ["train", "\N{EN DASH}", "3", *seconds]
    assert texts[at + 9 : at + 12] == ["epochs of it", "3", "3.5"]
    assert "Seconds in which jax turned functions" in " ".join(texts)
    assert "Where the seconds go" not in parsed(words()).texts


def test_several_scores_of_a_stage_are_a_list(words):
    stage = {"name": "train", "seconds": 1.0, "restarts": [
        {"accuracy": 0.5, "elbo": -1.0}, {"accuracy": 0.25, "elbo": -2.5},
    ]}  # fmt: skip
    text = " ".join(parsed(words(stages=[stage])).texts)
    assert "ACC of the restarts 0.500, 0.250" in text
    assert "ELBO of the restarts \N{MINUS SIGN}1.000, \N{MINUS SIGN}2.500" in text


def test_a_method_without_a_model_shows_none(tmp_path):
    final = {"accuracy": 0.5, "nmi": 0.5, "ari": 0.5, "elbo": None}
    stages = [{"name": "cluster", "seconds": 1.0, "accuracy": 0.5}]
    nothing = {name: None for name in ("embedding", "mixture_logvar",
                                       "samples", "traversals")}  # fmt: skip
    inputs = fake(shape=(5,), final=final, stages=stages)
    inputs = inputs._replace(history=[], **nothing)
    page = parsed(write_report(tmp_path, inputs))
    assert "ELBO" not in page.texts
    text = " ".join(page.texts)
    assert "t-SNE of the rows." in text and "the latents" not in text
    names = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert names == {"latents", "confusion", "reliability", "sizes"}
    # In the plane the data are their own picture.
    flat = fake(shape=(2,))._replace(history=[], **nothing)
    expected = ["points", "confusion", "reliability", "sizes"]
    assert list(report_figures(flat)) == expected


def test_the_least_sure_rows_are_listed(tmp_path, monkeypatch):
    monkeypatch.setattr("dgg_jax.reports.run.report_figures", lambda *_: {})
    inputs = fake(num_clusters=3)
    probabilities = np.tile([0.9, 0.06, 0.04], (60, 1))
    probabilities[np.arange(60), inputs.labels] = 0.9
    probabilities[41] = [0.15, 0.5, 0.35]  # row 41 has cluster 2
    probabilities[7] = [0.1, 0.6, 0.3]  # and row 7 has cluster 1
    names = np.array([f"flower {i}" for i in range(60)])
    inputs = inputs._replace(probabilities=probabilities, names=names)
    page = parsed(write_report(tmp_path, inputs))
    texts = after("Rows to check", page)
    assert texts[0].startswith("The 20 rows whose clusters are least sure")
    head = texts.index("Row")
    rows = texts[head + 6 : head + 6 + 12]
    assert rows[:6] == ["flower 41", "2", "0.500", "1", "0.500", "class 2"]
    assert rows[6:] == ["flower 7", "1", "0.600", "2", "0.300", "class 1"]
    assert "The strangest rows" not in page.texts
    elbo = np.arange(60.0)[::-1]
    page = parsed(write_report(tmp_path, inputs._replace(elbo=elbo)))
    texts = after("The strangest rows", page)
    head = texts.index("ELBO")
    assert texts[head + 1 : head + 7] == [
        *("flower 59", "2", "0.00"),
        *("flower 58", "1", "1.00"),
    ]
    write_report(tmp_path, inputs)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "other clusterings" not in text  # of q(c | x) alone
    write_report(tmp_path, inputs._replace(calibrated=True))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "by their neighbours and other clusterings" in text
    # Hard clusters are all as sure.
    hard = inputs._replace(probabilities=np.eye(3)[inputs.labels])
    assert "Rows to check" not in parsed(write_report(tmp_path, hard)).texts


def test_without_labels_the_tiles_speak_of_clusters(words):
    page = parsed(words(labelled=False))
    assert "Mean confidence" in page.texts
    assert "ACC" not in page.texts
    assert "without labels" in " ".join(page.texts)


def test_an_empty_cluster_is_pointed_out(tmp_path, monkeypatch):
    monkeypatch.setattr("dgg_jax.reports.run.report_figures", lambda *_: {})
    inputs = fake()
    without_values = parsed(write_report(tmp_path, inputs)).texts.count("\N{EN DASH}")
    inputs = inputs._replace(labels=np.minimum(inputs.labels, 1))
    page = parsed(write_report(tmp_path, inputs))
    assert "Nearly or quite empty: 2." in " ".join(page.texts)
    # Neither a confidence nor a class that it mostly has.
    assert page.texts.count("\N{EN DASH}") - without_values == 2


def test_a_failed_write_leaves_the_old_report(tmp_path, monkeypatch):
    monkeypatch.setattr("dgg_jax.reports.run.report_figures", lambda *_: {})
    path = write_report(tmp_path, fake())
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "disk full")

    monkeypatch.setattr("dgg_jax.storage.folders.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(tmp_path, fake(name="other"))
    assert path.read_bytes() == before
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize(
    ("labelled", "counts"), [(True, [1, 4, 2, 1]), (False, [3, 2, 1])]
)
def test_figures_are_grouped_and_captioned(tmp_path, labelled, counts):
    inputs = fake(shape=(2,), num_latents=3, labelled=labelled)
    text = write_report(tmp_path, inputs).read_text(encoding="utf-8")
    sections = [section.count("<figure") for section in text.split("<section>")]
    assert [count for count in sections if count] == counts
    captions = re.findall(r"<figcaption><strong>(.+?)\.</strong>(.+?)</fig", text, re.S)
    titles, texts = zip(*captions, strict=True)
    assert len(set(titles)) == sum(counts) and all(t.strip()[-1] in ".?" for t in texts)
    assert re.findall(r' alt="(.+?)"', text) == list(titles)
    assert text.count("<h2 ") == len(re.findall(r'<li><a href="#', text))


@pytest.mark.parametrize(
    ("counts", "words"),
    [((4, 3, 3), "finds 3 on 2 of 3"), ((5, 4, 3, 2, 1), "do not trust it")],
)
def test_an_estimated_number_of_clusters_shows_its_evidence(tmp_path, counts, words):
    inputs = fake(shape=(5,))
    sizes = [5, 6, 7, 8, 9][: len(counts)]
    evidence = {"sizes": sizes, "counts": list(counts), "num_clusters": 3}
    config = inputs.config | {"num_clusters": "auto", "cluster_count": evidence}
    page = parsed(write_report(tmp_path, inputs._replace(config=config)))
    first, second, *_ = after("How many clusters", page)
    assert first == "Estimated without labels." and words in second
    assert (tmp_path / "figures" / "cluster_counts.png").exists()
