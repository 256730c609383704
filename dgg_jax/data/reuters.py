"""News texts as tf-idf of words: RCV1 and Reuters-21578.

scikit-learn is imported when words are counted or RCV1 is downloaded.
"""

import contextlib
import html
import json
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import sparse

from dgg_jax import checks
from dgg_jax.checks import InvalidInput, MissingData
from dgg_jax.data import archives, compressed, matlab, preprocessing
from dgg_jax.data.dataset import Dataset, Options
from dgg_jax.data.deadlines import within
from dgg_jax.data.fetching import fetch
from dgg_jax.data.sources import Layout, Rows, Source, Splits
from dgg_jax.log import LOGGER
from dgg_jax.storage import arrays, folders

TEXTS = ("reuters10k", "reuters", "reuters_r8")
_VARIANCE = 10.0  # E26, for rows of length sqrt(D)

R8 = ("acq", "crude", "earn", "grain", "interest", "money-fx", "ship", "trade")
_R8_ROWS = (5485, 2189)  # of train and test
_SGML_FILES = tuple(f"reut2-{number:03}.sgm" for number in range(22))


class _Document(NamedTuple):
    """One of Reuters-21578.

    Attributes:
      has_topics: whether an editor has looked for topics: "YES", "NO" or "BYPASS".
      split: of Lewis: "TRAIN", "TEST" or "NOT-USED".
      topics: their names.
      text: title and body.
    """

    has_topics: str
    split: str
    topics: list[str]
    text: str


def _text(kind: str, title: str, body: str) -> str:
    # The archive has "Blah blah blah." for the body of a brief.
    return title if kind == "BRIEF" else f"{title}\n{body}"


def _read_tar(paths: Sequence[Path]) -> Splits:
    (path,) = paths
    found = archives.read_tar(path, r"reut2-\d{3}\.sgm")
    missing = [name for name in _SGML_FILES if name not in found]
    if missing:
        raise InvalidInput(
            f"{path} must hold {len(_SGML_FILES)} files reut2-*.sgm, it lacks "
            f"{len(missing)}, first {missing[0]}. Replace it with a fresh copy."
        )
    files = [(f"{name} in {path}", found[name]) for name in _SGML_FILES]
    return _r8([one for file in files for one in _sgml(*file)], str(path))


def _read_sgml(paths: Sequence[Path]) -> Splits:
    files = [(str(path), compressed.read(path)) for path in paths]
    documents = [one for file in files for one in _sgml(*file)]
    return _r8(documents, str(paths[0].parent))


def _sgml(file: str, content: bytes) -> list[_Document]:
    """The documents of a reut2-*.sgm file."""
    content = content.decode("latin-1")
    documents = re.findall(r"<REUTERS\b([^>]*)>(.*?)</REUTERS>", content, re.DOTALL)
    begun = len(re.findall(r"<REUTERS\b", content))
    if not documents or len(documents) != begun:
        raise InvalidInput(
            f"{file} must hold complete documents, from <REUTERS to </REUTERS>; "
            f"{len(documents):,} of {begun:,} are. Replace it with a fresh copy."
        )
    return [_sgml_document(*one) for one in documents]


def _sgml_document(start: str, content: str) -> _Document:
    def inside(tag: str, text: str) -> str | None:
        found = re.search(rf"<{tag}\b[^>]*>(.*?)</{tag}>", text, re.DOTALL)
        return found and found[1]

    attributes = dict(re.findall(r'(\w+)="([^"]*)"', start))
    kind = re.search(r'<TEXT\b[^>]*TYPE="(\w+)"', content)
    text = inside("TEXT", content) or ""
    if kind and kind[1] == "UNPROC":  # without tags
        title, body = "", text
    else:
        title, body = inside("TITLE", text) or "", inside("BODY", text) or ""
    return _Document(
        attributes.get("TOPICS", ""),
        attributes.get("LEWISSPLIT", ""),
        re.findall("<D>(.*?)</D>", inside("TOPICS", content) or ""),
        html.unescape(_text(kind[1] if kind else "NORM", title, body)),
    )


def _read_json(paths: Sequence[Path]) -> Splits:
    (path,) = paths
    content = compressed.read(path)
    try:
        documents = [
            _Document(
                one.get("topics_attr", "YES"),
                one["split"],
                list(one["topics"]),
                _text(one.get("type", "NORM"), one["title"] or "", one["text"] or ""),
            )
            for one in json.loads(content)
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else ""
        raise InvalidInput(
            f"{path} must be a JSON list of documents with split, topics, title and "
            f"text, reading it failed: {type(error).__name__}: {reason}. Replace it "
            "with a fresh copy."
        ) from error
    return _r8(documents, str(path))


def _r8(documents: Iterable[_Document], file: str) -> Splits:
    """The documents with one topic, of R8, in the split "ModApte"."""
    chosen = [
        one
        for one in documents
        if one.has_topics == "YES" and len(one.topics) == 1 and one.topics[0] in R8
    ]
    splits = {}
    for name in ("train", "test"):
        rows = [one for one in chosen if one.split == name.upper()]
        texts = np.empty(len(rows), object)
        texts[:] = [one.text.encode("utf-8", "replace") for one in rows]
        labels = [R8.index(one.topics[0]) for one in rows]
        splits[name] = Rows(texts, np.asarray(labels, np.int32))
    if not any(len(rows.labels) for rows in splits.values()):
        raise InvalidInput(
            f"{file} has no document with one topic of {', '.join(R8)} in TRAIN or "
            "TEST. Use files of Reuters-21578."
        )
    return splits


def _anywhere(name: str) -> tuple[str, ...]:
    return name, f"reuters21578/{name}"


REUTERS_R8 = Source(
    name="reuters_r8",
    title="Reuters-21578",
    layouts=(
        Layout((_anywhere("reuters21578.tar.gz"),), _read_tar),
        Layout(tuple(map(_anywhere, _SGML_FILES)), _read_sgml),
        Layout((_anywhere("docs.json.gz") + _anywhere("docs.json"),), _read_json),
    ),
    downloads=(
        (
            "https://archive.ics.uci.edu/ml/machine-learning-databases/"
            "reuters21578-mld/reuters21578.tar.gz",
            "3bae43c9b14e387f76a61b6d82bf98a4fb5d3ef99ef7e7075ff2ccbcf59f9d30",
        ),
    ),
    shape=(),
    dtype=object,
    splits=("train", "test"),
    size=8,
    remedy=(
        "where there is a network, from https://archive.ics.uci.edu/dataset/137 or "
        "https://www.daviddlewis.com/resources/testcollections/reuters21578/"
    ),
)


def reuters_r8(options: Options) -> Dataset:
    """Documents of Reuters-21578 with exactly one topic, one of R8, train then test.

    The split is "ModApte": 5,485 and 2,189 documents. A text is its title and body; of
    briefs, the title. This is not the Reuters of the papers, which is of RCV1.
    """
    splits, origin = fetch(REUTERS_R8, options.data_dir)
    train, test = splits["train"], splits["test"]
    sizes = len(train.labels), len(test.labels)
    if sizes != _R8_ROWS:
        LOGGER.warning(
            "%s has %d + %d documents of R8, published are %d + %d; results are not "
            "comparable.",
            origin,
            *sizes,
            *_R8_ROWS,
        )
    counts = preprocessing.count_words([*train.features, *test.features])
    return _dataset(
        preprocessing.tf_idf(counts, scaling=options.tfidf_scaling),
        np.concatenate([train.labels, test.labels]),
        "reuters_r8",
        R8,
        f"R8 of Reuters-21578 from {origin}, {sum(sizes):,} documents, train then test",
        "title and body, count_words, tf_idf",
        options.tfidf_scaling,
        np.repeat([False, True], sizes),
    )


# As DEC lists them.
_ROOTS = {
    "CCAT": "corporate/industrial",
    "GCAT": "government/social",
    "MCAT": "markets",
    "ECAT": "economics",
}
_RCV1_ROWS = 685_071
_RCV1_URL = "https://ndownloader.figshare.com/files/5976048"
_RCV1_MIB = 626
_RCV1_MOST_MIB = 4 * _RCV1_MIB  # with what scikit-learn makes of it
_RCV1_SECONDS = 20_000.0  # at 32 KiB a second
_SUBSET_ROWS = 10_000


def reuters(options: Options) -> Dataset:
    """Documents of RCV1 with exactly one of four root categories.

    The papers count 685,071 of them. They are downloaded by scikit-learn's fetch_rcv1
    into a temporary folder, since what that keeps are pickles; our rows are kept in
    data_dir/dgg_reuters, as plain arrays.

    RCV1 comes as log tf-idf of 47,236 stems, not as counts, so `tf_idf` cannot make the
    papers' data of it: the 2,000 stems are those that most documents have, not the most
    frequent ones, and log(N / n) is that of RCV1's 23,149 training documents.
    """
    x, y, origin = _rcv1(options.data_dir, "reuters")
    return _of_rcv1(x, y, "reuters", origin, options)


def reuters10k(options: Options) -> Dataset:
    """10,000 documents of `reuters`.

    From reuters10k.mat, as VaDE ships it, if it is there: then it is the papers'
    subset. Else a random one, which the seed chooses, in the order of `reuters`.
    """
    name = "reuters10k"
    for folder in (options.data_dir, options.data_dir / name):
        if (folder / f"{name}.mat").is_file():
            return _of_mat(folder / f"{name}.mat", options)
    x, y, origin = _rcv1(options.data_dir, name)
    rng = np.random.default_rng(options.seed)
    size = min(_SUBSET_ROWS, len(y))
    rows = np.sort(rng.choice(len(y), size, replace=False))
    origin = f"{origin}, {size:,} of them by seed {options.seed}"
    return _of_rcv1(x[rows], y[rows], name, origin, options)


def _of_mat(path: Path, options: Options) -> Dataset:
    found = matlab.read_mat(path, ("X", "Y"))
    x, y = sparse.csr_array(found["X"]), np.ravel(found["Y"])
    if x.shape[0] != len(y):
        raise InvalidInput(
            f"{path} must hold as many rows as labels, it holds {x.shape[0]:,} and "
            f"{len(y):,}. Replace it with a fresh copy."
        )
    if not np.isin(y, np.arange(len(_ROOTS))).all():
        raise InvalidInput(
            f"{path} must hold labels 0 to {len(_ROOTS) - 1}, got values in "
            f"[{y.min():g}, {y.max():g}]. Replace it with a fresh copy."
        )
    if x.shape != (_SUBSET_ROWS, preprocessing.NUM_WORDS):
        LOGGER.warning(
            "%s has %d rows of %d words, Reuters-10K has %d of %d; results are not "
            "comparable with published ones.",
            path,
            *x.shape,
            _SUBSET_ROWS,
            preprocessing.NUM_WORDS,
        )
    lengths = np.sqrt((x.astype(np.float64) ** 2).sum(axis=1))
    return _dataset(
        preprocessing.scale_rows(x, options.tfidf_scaling),
        y.astype(np.int32),
        "reuters10k",
        tuple(_ROOTS.values()),
        f"Reuters-10K from {path}, {len(y):,} documents, rows of length "
        f"{lengths.min():.4g} to {lengths.max():.4g} in the file",
        "scale_rows",
        options.tfidf_scaling,
    )


def _of_rcv1(
    x: sparse.csr_array, y: np.ndarray, name: str, origin: str, options: Options
) -> Dataset:
    return _dataset(
        preprocessing.scale_rows(x, options.tfidf_scaling),
        y,
        name,
        tuple(_ROOTS.values()),
        origin,
        f"log tf-idf of the {x.shape[1]:,} stems that most documents have, scale_rows",
        options.tfidf_scaling,
    )


def _dataset(
    x: sparse.csr_array,
    y: np.ndarray,
    name: str,
    class_names: tuple[str, ...],
    origin: str,
    steps: str,
    scaling: str,
    is_test: np.ndarray | None = None,
) -> Dataset:
    empty = np.count_nonzero(np.diff(x.indptr) == 0)
    if empty:
        origin += f", {empty:,} of them without any of the words"
    return Dataset(
        x=x,
        y=y,
        name=name,
        feature_shape=x.shape[1:],
        class_names=class_names,
        likelihood="gaussian",
        provenance=f"{origin}; {steps}({scaling!r}), {x.shape[1]:,} columns",
        variance=preprocessing.tf_idf_variance(_VARIANCE, x.shape[1], scaling),
        is_test=is_test,
    )


def _prepared(data_dir: Path) -> Path:
    return data_dir / "dgg_reuters" / "1.0.0" / "reuters.npz"


def _rcv1(data_dir: Path, name: str) -> tuple[sparse.csr_array, np.ndarray, str]:
    """RCV1's documents with one root category: unit rows, labels, where from.

    Args:
      data_dir: folder of prepared data; need not exist.
      name: of the data set they are for.
    """
    path = _prepared(data_dir)
    if not path.is_file():
        x, y = _downloaded(data_dir, name)
        _write(path, x, y)
    x, y = _read(path)
    if len(y) != _RCV1_ROWS:
        LOGGER.warning(
            "RCV1 has %d documents with one root category, the papers count %d.",
            len(y),
            _RCV1_ROWS,
        )
    origin = f"RCV1 by scikit-learn, {path}, {len(y):,} documents with one root"
    return x, y, f"{origin} category (the papers: {_RCV1_ROWS:,})"


def _downloaded(data_dir: Path, name: str) -> tuple[sparse.csr_array, np.ndarray]:
    lacking = checks.lacking("datasets")
    if lacking:
        raise _missing(data_dir, name, f"it cannot be downloaded: {lacking}")
    from dgg_jax.data import builders

    # To the download itself the answer is a redirection.
    reason = builders.unavailable(_RCV1_URL, follow=False)
    if reason:
        raise _missing(data_dir, name, f"{_RCV1_URL} cannot be reached: {reason}")
    from sklearn.datasets import fetch_rcv1

    LOGGER.info("Downloading RCV1 (%d MiB) by scikit-learn.", _RCV1_MIB)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        # Temporary, since what is kept there is pickled, and would be read by the next.
        with tempfile.TemporaryDirectory(
            prefix="rcv1-", dir=data_dir, ignore_cleanup_errors=True
        ) as folder:
            found = within(
                _RCV1_SECONDS,
                lambda: fetch_rcv1(data_home=folder),
                watch=lambda: _check_rcv1_size(Path(folder)),
            )
    except Exception as error:
        lines = str(error).splitlines() or [""]
        reason = f"download failed: {type(error).__name__}: {lines[0]}"
        raise _missing(data_dir, name, reason) from error
    topics = list(found.target_names)
    target = sparse.csr_array(found.target)
    roots = target[:, [topics.index(root) for root in _ROOTS]].toarray() != 0
    single = roots.sum(axis=1) == 1
    x = sparse.csr_array(found.data)[single]
    frequencies = np.bincount(x.indices, minlength=x.shape[1])
    x = preprocessing.most_frequent(x, frequencies, preprocessing.NUM_WORDS)
    return preprocessing.scale_rows(x, "unit"), roots[single].argmax(axis=1)


def _check_rcv1_size(folder: Path) -> None:
    size = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # it is deleted by now
            size += path.stat().st_size
    if size > _RCV1_MOST_MIB * 2**20:
        raise ValueError(f"it has {size:,} bytes or more, too many")


def _missing(data_dir: Path, name: str, reason: str) -> MissingData:
    looked, remedy = f"for {_prepared(data_dir)}", "Load"
    if name == "reuters10k":
        mat = f"{name}.mat"
        looked += f", and in {data_dir} and {data_dir / name} for {mat}"
        remedy = (
            f"Get {mat} from https://github.com/slim1017/VaDE, put it into one folder "
            "and name it with --data_dir=FOLDER (in Python: data_dir=FOLDER); or load"
        )
    return MissingData(
        f"The documents of {name} (RCV1) are not in {data_dir}, and {reason}. Looked "
        f"{looked}. {remedy} {name} once where there is a network and copy its "
        "dgg_reuters to --data_dir."
    )


def _write(path: Path, x: sparse.csr_array, y: np.ndarray) -> None:
    """Keeps rows as plain arrays; a crash leaves nothing of that name."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with folders.partial(path) as made:
            with made.open("wb") as file:
                np.savez(
                    file,
                    indptr=x.indptr,
                    indices=x.indices,
                    data=x.data,
                    num_columns=x.shape[1],
                    labels=y.astype(np.int32),
                )
            made.replace(path)
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be written: {error.strerror or error}; free space, or name "
            "another --data_dir."
        ) from error


def _read(path: Path) -> tuple[sparse.csr_array, np.ndarray]:
    try:
        archive = arrays.Npz(arrays.read_bytes(path), compressed=False)
        parts = tuple(archive[name] for name in ("data", "indices", "indptr"))
        y = archive["labels"]
        if y.ndim != 1 or not np.isin(y, np.arange(len(_ROOTS))).all():
            raise ValueError(f"labels must be from 0 to {len(_ROOTS) - 1}, one a row")
        shape = len(y), int(archive["num_columns"].item())
        checks.in_range("num_columns", shape[1], 1, preprocessing.NUM_WORDS)
        x = sparse.csr_array(parts, shape=shape, dtype=np.float32)
        checks.sparse_format(x)
        if not np.isfinite(x.data).all():
            raise ValueError("data must be finite")
    except (OSError, ValueError, TypeError) as error:
        reason = str(getattr(error, "strerror", None) or error).splitlines()[0]
        raise InvalidInput(
            f"the prepared documents in {path} must be complete, reading them failed: "
            f"{reason}. Delete that file; the next run prepares it again."
        ) from error
    return x, y.astype(np.int32)
