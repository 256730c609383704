"""Texts of Reuters-21578 and RCV1 in every layout, and what is refused."""

import functools
import gzip
import hashlib
import http.server
import io
import json
import logging
import tarfile
import threading
import types

import numpy as np
import pytest
import scipy.io
import sklearn.datasets
from scipy import sparse

from dgg_jax import data
from dgg_jax.checks import InvalidInput, MissingData
from dgg_jax.data import builders, reuters

# (has topics, split, topics, kind, title, body); the last ones are not of R8.
DOCUMENTS = [
    ("YES", "TRAIN", ["earn"], "NORM", "QTR <NET> & loss", "Profit per share rose."),
    ("YES", "TEST", ["grain"], "NORM", "WHEAT", "Grain zürich harvest, wheat."),
    ("YES", "TRAIN", ["money-fx"], "BRIEF", "DOLLAR FALLS", "Blah blah blah."),
    ("YES", "TRAIN", ["ship"], "UNPROC", "", "PORT STRIKE\n  ships wait & wait"),
    ("YES", "TEST", ["earn"], "NORM", "DIVIDEND", "profit <OIL> dividend"),
    ("YES", "TRAIN", ["earn", "acq"], "NORM", "TWO", "topics"),
    ("YES", "TRAIN", ["cocoa"], "NORM", "COCOA", "beans"),
    ("YES", "TRAIN", [], "NORM", "NONE", "nothing"),
    ("YES", "NOT-USED", ["earn"], "NORM", "UNUSED", "unused"),
    ("NO", "TRAIN", ["earn"], "NORM", "NOBODY", "looked"),
]
TEXTS = [
    "QTR <NET> & loss\nProfit per share rose.\n Reuter\n",
    "DOLLAR FALLS",
    "PORT STRIKE\n  ships wait & wait",
    "WHEAT\nGrain zürich harvest, wheat.\n Reuter\n",
    "DIVIDEND\nprofit <OIL> dividend\n Reuter\n",
]
LABELS = [2, 5, 6, 3, 2]


def entity(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def sgml(documents):
    lines = ['<!DOCTYPE lewis SYSTEM "lewis.dtd">']
    for number, (has, split, topics, kind, title, body) in enumerate(documents, 1):
        marked = "".join(f"<D>{topic}</D>" for topic in topics)
        title, body = entity(title), entity(body)
        text = f"""<TEXT>&#2;
<TITLE>{title}</TITLE>
<DATELINE>    ZURICH, Feb 26 - </DATELINE><BODY>{body}
 Reuter
&#3;</BODY></TEXT>"""
        if kind == "BRIEF":
            text = f"""<TEXT TYPE="BRIEF">&#2;
******<TITLE>{title}</TITLE>
{body}
&#3;

</TEXT>"""
        if kind == "UNPROC":
            text = f'<TEXT TYPE="UNPROC">&#2;\n{body}\n&#3;\n</TEXT>'
        lines.append(
            f"""<REUTERS TOPICS="{has}" LEWISSPLIT="{split}" OLDID="9" NEWID="{number}">
<DATE>26-FEB-1987 15:01:01.79</DATE>
<TOPICS>{marked}</TOPICS>
<PLACES><D>earn</D></PLACES>
<UNKNOWN>&#5;&#5;&#5;C T</UNKNOWN>
{text}
</REUTERS>"""
        )
    return "\n".join(lines).encode("latin-1")


def sgml_files():
    """The 22 files, with the documents in the first two and the last."""
    parts = [DOCUMENTS[:3], DOCUMENTS[3:4], *[DOCUMENTS[6:7]] * 19, DOCUMENTS[4:]]
    return {f"reut2-{n:03}.sgm": sgml(part) for n, part in enumerate(parts)}


def tar_bytes(files, folder=""):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"{folder}{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("reut2-000.sgm")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return buffer.getvalue()


def write_tar(folder):
    path = folder / "reuters21578.tar.gz"
    path.write_bytes(tar_bytes({"../README": b"text", **sgml_files()}, "../"))
    return path


def write_sgml(folder):
    for name, content in sgml_files().items():
        (folder / name).write_bytes(content)
    return folder


def json_bytes(documents=DOCUMENTS):
    listed = [
        {
            "id": number,
            "topics_attr": has,
            "split": split,
            "topics": topics,
            "title": title,
            "text": body if kind in ("BRIEF", "UNPROC") else f"{body}\n Reuter",
            "type": kind,
        }
        for number, (has, split, topics, kind, title, body) in enumerate(documents, 1)
    ]
    return json.dumps(listed).encode()


def write_json(folder):
    (folder / "docs.json").write_bytes(json_bytes())
    return folder / "docs.json"


def write_gzip(folder):
    (folder / "docs.json.gz").write_bytes(gzip.compress(json_bytes()))
    return folder / "docs.json.gz"


def load(folder, name="reuters_r8", **options):
    return data.load(name, data_dir=folder, **options)


def words_of(text):
    """A row's words from the texts, by what is known of the step."""
    from sklearn.feature_extraction.text import CountVectorizer

    return set(CountVectorizer(stop_words="english").build_analyzer()(text))


@pytest.mark.parametrize("inside", ["", "reuters_r8", "reuters21578"])
@pytest.mark.parametrize("write", [write_tar, write_sgml, write_json, write_gzip])
def test_layouts_of_r8(tmp_path, write, inside, caplog):
    (tmp_path / inside).mkdir(exist_ok=True)
    path = write(tmp_path / inside)
    before = sorted(tmp_path.rglob("*"))
    with caplog.at_level(logging.WARNING, logger="dgg_jax"):
        found = load(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    assert not (tmp_path.parent / "README").exists()
    assert isinstance(found.x, sparse.csr_array)
    assert found.x.dtype == np.float32 and found.y.dtype == np.int32
    assert found.y.tolist() == LABELS
    assert found.is_test.tolist() == [False] * 3 + [True] * 2
    vocabulary = sorted(set.union(*map(words_of, TEXTS)))
    assert found.x.shape == (5, len(vocabulary)) == (5, *found.feature_shape)
    for row, text in zip(found.x.toarray(), TEXTS, strict=True):
        assert {vocabulary[i] for i in np.flatnonzero(row)} == words_of(text)
    lengths = np.linalg.norm(found.x.toarray(), axis=1)
    np.testing.assert_allclose(lengths, np.sqrt(len(vocabulary)), rtol=1e-6)
    assert found.class_names == reuters.R8
    assert (found.likelihood, found.variance) == ("gaussian", 10.0)
    files = "files in " if write is write_sgml else "file "
    assert found.provenance == (
        f"R8 of Reuters-21578 from {files}{path}, 5 documents, train then test; title "
        f"and body, count_words, tf_idf('sqrt_dim'), {len(vocabulary)} columns"
    )
    assert "has 3 + 2 documents of R8, published are 5485 + 2189" in caplog.text


def test_scaling_and_its_variance(tmp_path):
    write_json(tmp_path)
    published, unit = load(tmp_path), load(tmp_path, tfidf_scaling="unit")
    dim = published.x.shape[1]
    difference = published.x / np.sqrt(dim) - unit.x
    assert abs(difference).max() < 1e-7
    assert unit.variance == pytest.approx(10 / dim)
    assert "tf_idf('unit')" in unit.provenance
    with pytest.raises(InvalidInput, match="tfidf_scaling='l2' is unknown; choose"):
        load(tmp_path, tfidf_scaling="l2")


def test_splits_of_sparse_rows(tmp_path):
    write_json(tmp_path)
    whole, test = load(tmp_path), load(tmp_path, split="test")
    assert sparse.issparse(test.x) and test.y.tolist() == [3, 2]
    assert (test.x.toarray() == whole.x.toarray()[3:]).all()


def test_documents_without_words_are_counted(tmp_path):
    documents = [*DOCUMENTS, ("YES", "TEST", ["earn"], "NORM", "*", "the and")]
    content = json_bytes(documents).replace(b"\\n Reuter", b"")
    (tmp_path / "docs.json").write_bytes(content)
    found = load(tmp_path)
    assert found.x[5].nnz == 0
    assert "6 documents, train then test, 1 of them without any of" in found.provenance


@pytest.mark.parametrize("write", [write_tar, write_gzip, write_json])
@pytest.mark.parametrize("share", [0.0, 0.4, 0.95])
def test_truncated_files_of_r8(tmp_path, write, share):
    path = write(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InvalidInput) as caught:
        load(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{path} must ") and "\n" not in message
    assert "Replace it with a fresh copy" in message


@pytest.mark.parametrize("size", [0, 600, 1500, 3000, 20_000])
def test_a_tar_cut_short_inside_of_its_gzip(tmp_path, size):
    path = write_tar(tmp_path)
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:size]))
    with pytest.raises(InvalidInput, match=r"complete tar archive|it lacks \d+, first"):
        load(tmp_path)


def test_a_tar_without_some_files(tmp_path):
    files = sgml_files()
    del files["reut2-003.sgm"]
    (tmp_path / "reuters21578.tar.gz").write_bytes(tar_bytes(files))
    with pytest.raises(InvalidInput, match=r"it lacks 1, first reut2-003\.sgm\. R"):
        load(tmp_path)


def test_sgml_cut_short(tmp_path):
    path = write_sgml(tmp_path) / "reut2-021.sgm"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InvalidInput, match=r"reut2-021\.sgm must hold complete .*5 of"):
        load(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(InvalidInput, match="0 of 0 are"):
        load(tmp_path)
    path.unlink()
    with pytest.raises(InvalidInput, match=r"missing: reut2-021\.sgm"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{}", "has no document with one topic"),
        (b"[]", "has no document with one topic"),
        (json_bytes(DOCUMENTS[5:]), "has no document with one topic of acq"),
        (b"[1]", "AttributeError"),
        (b'[{"topics": []}]', "KeyError: 'split'"),
        (b'{"a": 1}', "AttributeError"),
        (b"[" * 100_000, "RecursionError|JSONDecodeError"),
        (b"\xff\xfe\x00", "reading it failed: "),
    ],
)
def test_other_json(tmp_path, content, problem):
    (tmp_path / "docs.json").write_bytes(content)
    with pytest.raises(InvalidInput, match=problem) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_a_download_of_texts_is_prepared(tmp_path, monkeypatch):
    served, data_dir = tmp_path / "served", tmp_path / "data"
    served.mkdir()
    path = write_tar(served)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    handler = functools.partial(QuietHandler, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/{path.name}"
        source = reuters.REUTERS_R8._replace(downloads=((url, digest),))
        monkeypatch.setattr(reuters, "REUTERS_R8", source)
        load(data_dir)
        server.shutdown()
        thread.join()
    again, files = load(data_dir), load(served)
    assert f"tensorflow-datasets, {data_dir}" in again.provenance
    np.testing.assert_array_equal(again.x.toarray(), files.x.toarray())
    np.testing.assert_array_equal(again.y, files.y)


def test_real_r8(shared_data, caplog):
    if not (shared_data / "reuters21578" / "docs.json.gz").is_file():
        pytest.skip(f"reuters21578/docs.json.gz is not in {shared_data}")
    with caplog.at_level(logging.WARNING, logger="dgg_jax"):
        found = load(shared_data)
    assert not caplog.records
    assert found.x.shape == (7674, 2000)
    assert np.count_nonzero(~found.is_test) == 5485
    assert np.count_nonzero(found.is_test) == 2189
    # As published for R8, in alphabetical order.
    train = np.bincount(found.y[~found.is_test])
    assert train.tolist() == [1596, 253, 2840, 41, 190, 206, 108, 251]
    assert np.bincount(found.y[found.is_test]).tolist() == [
        696, 121, 1083, 10, 81, 87, 36, 75,
    ]  # fmt: skip
    lengths = np.sqrt((found.x**2).sum(axis=1))
    np.testing.assert_allclose(lengths, np.sqrt(2000), rtol=1e-5)
    assert "without any" not in found.provenance


# --- RCV1 --------------------------------------------------------------------------

ROOTS = ["CCAT", "GCAT", "MCAT", "ECAT"]


class TinyRcv1:
    """30 documents of 2,500 stems; in the place of fetch_rcv1."""

    def __init__(self):
        rng = np.random.default_rng(8)
        self.data = sparse.random(
            30, 2500, 0.3, format="csr", random_state=rng, dtype=np.float64
        )
        self.names = np.array(["C11", *sorted(ROOTS), "M11"], object)
        self.target = np.zeros((30, 6), np.uint8)
        self.roots = rng.integers(0, 4, 30)
        for row, root in enumerate(self.roots):
            self.target[row, list(self.names).index(ROOTS[root])] = 1
        self.target[:, [0, 5]] = rng.integers(0, 2, (30, 2))
        self.target[3, 1:5] = 0  # no root
        self.target[7, 1:3] = 1  # two or more
        self.single = np.delete(np.arange(30), [3, 7])
        self.homes = []

    def __call__(self, *, data_home):
        self.homes.append(data_home)
        return types.SimpleNamespace(
            data=sparse.csr_matrix(self.data),
            target=sparse.csr_matrix(self.target),
            target_names=self.names,
        )


@pytest.fixture
def rcv1(monkeypatch):
    tiny = TinyRcv1()
    monkeypatch.setattr(sklearn.datasets, "fetch_rcv1", tiny)
    monkeypatch.setattr(builders, "unavailable", lambda url, **options: None)
    return tiny


def test_reuters(tmp_path, rcv1, caplog):
    with caplog.at_level(logging.WARNING, logger="dgg_jax"):
        found = load(tmp_path, "reuters")
    dense = rcv1.data.toarray()[rcv1.single]
    order = np.argsort(-(dense > 0).sum(axis=0), kind="stable")[:2000]
    expected = dense[:, np.sort(order)]
    expected *= np.sqrt(2000) / np.linalg.norm(expected, axis=1, keepdims=True)
    assert isinstance(found.x, sparse.csr_array) and found.x.dtype == np.float32
    np.testing.assert_allclose(found.x.toarray(), expected, rtol=1e-6)
    assert found.y.dtype == np.int32
    np.testing.assert_array_equal(found.y, rcv1.roots[rcv1.single])
    assert found.class_names[0] == "corporate/industrial"
    assert (found.name, found.variance, found.is_test) == ("reuters", 10.0, None)
    path = tmp_path / "dgg_reuters/1.0.0/reuters.npz"
    assert f"{path}, 28 documents with one root category (the papers: 685,071)" in (
        found.provenance
    )
    assert "2,000 stems that most documents have, scale_rows('sqrt_dim')" in (
        found.provenance
    )
    assert "has 28 documents with one root category, the papers count 685071" in (
        caplog.text
    )
    # Its pickles are gone, and what is kept is read instead.
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == [path]
    again = load(tmp_path, "reuters")
    assert len(rcv1.homes) == 1 and rcv1.homes[0].startswith(str(tmp_path))
    assert (again.x != found.x).nnz == 0 and (again.y == found.y).all()
    with pytest.raises(InvalidInput, match="reuters has no official test set"):
        load(tmp_path, "reuters", split="train")


def test_a_subset_of_rcv1(tmp_path, rcv1, monkeypatch):
    monkeypatch.setattr(reuters, "_SUBSET_ROWS", 10)
    whole = load(tmp_path, "reuters", tfidf_scaling="unit")
    parts = [
        load(tmp_path, "reuters10k", tfidf_scaling="unit", seed=seed) for seed in (0, 1)
    ]
    rows = [{row.tobytes() for row in part.x.toarray()} for part in parts]
    assert [len(one) for one in rows] == [10, 10] and rows[0] != rows[1]
    assert rows[0] | rows[1] < {row.tobytes() for row in whole.x.toarray()}
    similar = (parts[0].x @ whole.x.T).toarray().argmax(axis=1)
    np.testing.assert_array_equal(parts[0].y, whole.y[similar])
    again = load(tmp_path, "reuters10k", tfidf_scaling="unit")
    assert (again.x != parts[0].x).nnz == 0
    assert "10 of them by seed 1; log tf-idf" in parts[1].provenance
    assert parts[0].name == "reuters10k" and parts[0].variance == 10 / 2000
    assert len(rcv1.homes) == 1


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_damaged_prepared_documents(tmp_path, rcv1, share):
    load(tmp_path, "reuters")
    path = tmp_path / "dgg_reuters/1.0.0/reuters.npz"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InvalidInput, match="Delete that file; the next run") as caught:
        load(tmp_path, "reuters")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    path.unlink()
    assert len(load(tmp_path, "reuters").y) == 28


def test_prepared_documents_that_do_not_fit(tmp_path, rcv1):
    load(tmp_path, "reuters")
    path = tmp_path / "dgg_reuters/1.0.0/reuters.npz"
    with np.load(path) as archive:
        kept = dict(archive)
    few = {"labels": kept["labels"][1:]}
    for name, changed in [
        *few.items(),
        *{
            "labels": kept["labels"] + 4,
            "indices": kept["indices"] + 1000,
            "indptr": kept["indptr"][::-1],
            "num_columns": 2**40,
            "data": np.where(kept["data"] > 0, np.nan, 0.0),
        }.items(),
    ]:
        np.savez(path, **kept | {name: changed})
        with pytest.raises(InvalidInput, match="must be complete, reading them failed"):
            load(tmp_path, "reuters")


def test_an_interrupted_download_leaves_nothing(tmp_path, rcv1, monkeypatch):
    def interrupted(data_home):
        (tmp_path / data_home / "part.pkl").write_bytes(b"part")
        raise KeyboardInterrupt

    monkeypatch.setattr(sklearn.datasets, "fetch_rcv1", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load(tmp_path, "reuters")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_download(tmp_path, rcv1, monkeypatch):
    def failed(data_home):
        raise OSError("samples.gz has an SHA256 checksum (1)\ndiffering from expected")

    monkeypatch.setattr(sklearn.datasets, "fetch_rcv1", failed)
    with pytest.raises(MissingData, match=r"failed: OSError: samples.gz") as caught:
        load(tmp_path, "reuters")
    assert "\n" not in str(caught.value)


def test_a_full_disk(tmp_path, rcv1, monkeypatch):
    def full(file, **arrays):
        file.write(b"begin")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(InvalidInput, match="cannot be written: No space left on"):
        load(tmp_path, "reuters")
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == []


@pytest.mark.parametrize("name", ["reuters", "reuters10k"])
def test_without_a_network(tmp_path, monkeypatch, name):
    asked = []

    def unavailable(url, *, follow):
        asked.append((url, follow))
        return "no network"

    monkeypatch.setattr(builders, "unavailable", unavailable)
    with pytest.raises(MissingData) as caught:
        load(tmp_path / "none", name)
    # Its address redirects to one that refuses to be asked.
    assert asked == [("https://ndownloader.figshare.com/files/5976048", False)]
    message = str(caught.value)
    assert f"The documents of {name} (RCV1) are not in {tmp_path / 'none'}" in message
    assert "cannot be reached: no network" in message and "\n" not in message
    assert f"{tmp_path / 'none/dgg_reuters/1.0.0/reuters.npz'}" in message
    assert ("reuters10k.mat" in message) == (name == "reuters10k")
    assert "--data_dir" in message
    assert not (tmp_path / "none").exists()


def test_a_redirection_is_an_answer():
    class Redirecting(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(302 if self.path == "/file" else 403)
            self.send_header("Location", "/signed-for-get-only")
            self.end_headers()

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirecting) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/file"
        followed = builders.unavailable(url)
        asked = builders.unavailable(url, follow=False)
        server.shutdown()
        thread.join()
    assert followed == "HTTP status 403" and asked is None


# --- reuters10k.mat ----------------------------------------------------------------


def write_mat(folder, **changes):
    rng = np.random.default_rng(3)
    x = sparse.random(20, 2000, 0.02, random_state=rng).toarray()
    x *= np.sqrt(2000) / np.linalg.norm(x, axis=1, keepdims=True)
    arrays = {"X": x, "Y": rng.integers(0, 4, (20, 1)), "other": "text"} | changes
    path = folder / "reuters10k.mat"
    scipy.io.savemat(path, arrays, do_compression=True)
    return path, arrays


@pytest.mark.parametrize("inside", ["", "reuters10k"])
@pytest.mark.parametrize("kind", [np.asarray, np.float32, sparse.csc_array])
def test_a_mat(tmp_path, rcv1, kind, inside, caplog):
    (tmp_path / inside).mkdir(exist_ok=True)
    x = write_mat(tmp_path)[1]["X"]
    (tmp_path / "reuters10k.mat").unlink()
    path, arrays = write_mat(tmp_path / inside, X=kind(x))
    with caplog.at_level(logging.WARNING, logger="dgg_jax"):
        found = load(tmp_path, "reuters10k")
    assert isinstance(found.x, sparse.csr_array) and found.x.dtype == np.float32
    np.testing.assert_allclose(found.x.toarray(), x, rtol=1e-6)
    np.testing.assert_array_equal(found.y, arrays["Y"].ravel())
    assert found.variance == 10.0
    assert found.provenance == (
        f"Reuters-10K from {path}, 20 documents, rows of length 44.72 to 44.72 in the "
        "file; scale_rows('sqrt_dim'), 2,000 columns"
    )
    assert "has 20 rows of 2000 words, Reuters-10K has 10000 of 2000" in caplog.text
    assert rcv1.homes == []


def test_other_rows_of_a_mat_are_scaled(tmp_path):
    scale = np.linspace(1, 3, 20)[:, None]
    x = write_mat(tmp_path)[1]["X"]
    write_mat(tmp_path, X=x * scale)
    found = load(tmp_path, "reuters10k")
    np.testing.assert_allclose(found.x.toarray(), x, rtol=1e-6)
    assert "rows of length 44.72 to 134.2 in the file" in found.provenance


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"Y": np.zeros((19, 1))}, "it holds 20 and 19"),
        ({"Y": np.full((20, 1), 4)}, r"labels 0 to 3, got values in \[4, 4\]"),
        ({"Y": np.full((20, 1), np.nan)}, "labels 0 to 3"),
        ({"X": "text"}, "X must hold real numbers"),
    ],
)
def test_unusable_mats(tmp_path, changes, problem):
    write_mat(tmp_path, **changes)
    with pytest.raises(InvalidInput, match=problem):
        load(tmp_path, "reuters10k")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_mats(tmp_path, share):
    path, _ = write_mat(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InvalidInput, match="reading it failed: ") as caught:
        load(tmp_path, "reuters10k")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
