"""Downloads and prepared data, by tensorflow-datasets without TensorFlow.

The stock builders need TensorFlow; ours store plain tensors as array_record. Importing
this module imports tensorflow_datasets, so it is imported only when it is needed.
"""

import contextlib
import errno
import io
import logging
import os
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from dgg_jax.checks import InvalidInput
from dgg_jax.data.deadlines import within
from dgg_jax.data.sources import Rows, Source, Splits, sha256_of
from dgg_jax.log import tell
from dgg_jax.progress import draws_bars
from dgg_jax.storage import folders

with warnings.catch_warnings():
    # Deprecations inside these packages are nothing that our users can act on.
    warnings.simplefilter("ignore")
    import requests
    import tensorflow_datasets as tfds
    from requests.adapters import HTTPAdapter, Retry
    from tqdm import auto

_PROBE_SECONDS = 3.0
_SILENCE_SECONDS = 30.0  # of a server in the middle of a download
_BLOCK_BYTES = 2**16
# Of all files of a data set, lest a server sends without end, or drop by drop.
_TIMES_ITS_SIZE = 2
_LEAST_SECONDS = 600.0
_LEAST_BYTES_PER_SECOND = 2**15
_WAIT_SECONDS = 1.0
# A record takes as long to encode or decode whether it holds one row or many. Another
# number needs another version of the prepared data.
_ROWS_PER_RECORD = 256
_RECORDS_AT_ONCE = 16  # that are decoded and in memory
# Servers that answer GET but not HEAD.
_NOT_ASKED_LIKE_THAT = (405, 501)
# Of a request, before an answer comes.
_RETRIES = Retry(10, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504))
# What the disk does, not the network.
_DISK_ERRORS = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM,
    errno.EEXIST, errno.ENOTDIR,
)  # fmt: skip


def builder(
    source: Source, data_dir: Path, paths: Sequence[Path] = ()
) -> tfds.core.GeneratorBasedBuilder:
    """What prepares and reads a source.

    A record holds consecutive rows. Records are shuffled on writing; ``index``, the
    place of its first row, restores the order of the files, so that the rows are the
    same, bit for bit, as those read from the files.

    Args:
      source: of the benchmark.
      data_dir: parent folder of the prepared data.
      paths: of the files to prepare it from, in the order of the first layout.
    """

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """A benchmark as tensors, with the labels and the place in the files."""

        name = source.builder
        VERSION = tfds.core.Version(source.version)
        url_infos: dict[str, Any] = {}  # noqa: RUF012 - checksums are our own

        def _info(self) -> tfds.core.DatasetInfo:
            return tfds.core.DatasetInfo(
                builder=self,
                description=source.title,
                features=tfds.features.FeaturesDict(
                    {
                        "x": _feature(source),
                        "label": tfds.features.Tensor(shape=(None,), dtype=np.int32),
                        "index": tfds.features.Scalar(dtype=np.int64),
                    }
                ),
            )

        def _split_generators(
            self, dl_manager: tfds.download.DownloadManager
        ) -> dict[str, Iterator]:
            # Its downloads wait for a silent server without end, and go on for a while
            # in a process that was interrupted: the files are here already.
            del dl_manager
            splits = source.layouts[0].read(paths)
            return {name: self._generate_examples(splits[name]) for name in splits}

        def _generate_examples(
            self, rows: Rows
        ) -> Iterator[tuple[int, dict[str, np.ndarray | int]]]:
            if len(rows.features) != len(rows.labels):
                raise ValueError("there must be as many labels as rows")
            for start in range(0, len(rows.labels), _ROWS_PER_RECORD):
                part = slice(start, start + _ROWS_PER_RECORD)
                yield (
                    start,
                    {
                        "x": np.ascontiguousarray(rows.features[part]),
                        "label": np.asarray(rows.labels[part], np.int32),
                        "index": start,
                    },
                )

    return Builder(data_dir=data_dir)


def _feature(source: Source) -> tfds.features.FeatureConnector:
    """Of the features of some rows."""
    if source.dtype is object:  # bytes of texts, of any length
        return tfds.features.Tensor(shape=(None,), dtype=np.object_)
    return tfds.features.Tensor(
        shape=(None, *source.shape), dtype=source.dtype, encoding="bytes"
    )


def prepare(source: Source, data_dir: Path) -> None:
    """Downloads a source, checks it and prepares it in ``data_dir``, once.

    What is prepared appears in its place complete, or not at all. Until then complete
    downloads are kept; of a process that was killed nothing else is.

    Args:
      source: of the benchmark.
      data_dir: parent folder of the prepared data and of the downloads; it is created.

    Raises:
      MissingData: if that is not possible, within seconds without a network; the
        message says which files to put where.
      InvalidInput: if ``data_dir`` cannot be written.
    """
    if not source.downloads:
        raise source.missing(data_dir, "it cannot be downloaded by a program")
    # What downloads retries for minutes without a word, so ask first.
    for url, reason in _unavailable_ones(source):
        raise source.missing(data_dir, f"{url} cannot be reached: {reason}")
    downloads = data_dir / "downloads" / source.builder
    try:
        with _alone_in(downloads):
            if not source.prepared(data_dir).exists():  # by now
                for folder in source.prepared(data_dir).parent.glob("incomplete.*"):
                    shutil.rmtree(folder)  # of a process that was killed
                _download_and_prepare(source, data_dir, downloads)
                folders.clear(downloads, marker="")
    except Exception as error:
        problem = _of_the_disk(error)
        if problem:
            raise InvalidInput(
                f"data_dir={str(data_dir)!r} cannot be written: {problem}; free space "
                "or make it writable, or name another folder with --data_dir=FOLDER."
            ) from error
        reason = f"download or preparation failed: {_summary(error)}"
        raise source.missing(data_dir, reason) from error


def _download_and_prepare(source: Source, data_dir: Path, downloads: Path) -> None:
    # For people: bars are shown on a terminal only.
    folder = source.prepared(data_dir)
    _say(f"Downloading {source.title} ({source.size:,} MiB) to {folder} ...")
    paths = _downloaded(source, downloads)
    with _quiet():
        builder(source, data_dir, paths).download_and_prepare(
            file_format="array_record",
            download_config=tfds.download.DownloadConfig(
                register_checksums=False, try_download_gcs=False
            ),
        )
    _say(f"{source.title} is downloaded and prepared.")


def _downloaded(source: Source, folder: Path) -> list[Path]:
    """The files of a source in a folder; what is missing or damaged is downloaded."""
    most = _TIMES_ITS_SIZE * source.size * 2**20
    end = time.monotonic() + _LEAST_SECONDS + most / _LEAST_BYTES_PER_SECOND
    paths = []
    for url, sha256 in source.downloads:
        path = folder / url.rpartition("/")[2]
        if not path.is_file() or sha256_of(path) != sha256:
            _download(url, sha256, path, most, end - time.monotonic())
            most -= path.stat().st_size
        paths.append(path)
    return paths


def _download(url: str, sha256: str, path: Path, most: int, seconds: float) -> None:
    """Downloads a file, which appears complete and as it is known, or not at all.

    Args:
      url: of the file.
      sha256: of its content.
      path: where to put it.
      most: bytes that it may have.
      seconds: that it may take.

    Raises:
      InvalidInput: if it is not the known file, or larger than that.
      TimeoutError: if it takes longer.
      requests.RequestException: if the server refuses, or is silent for long.
      OSError: if it cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)  # of a process that was killed, or a link elsewhere
    stopped = threading.Event()
    try:
        with partial.open("xb") as file:
            within(seconds, lambda: _copy(url, file, most, stopped))
    finally:
        stopped.set()
    _check(partial, url, sha256)
    partial.replace(path)


def _copy(url: str, file: IO[bytes], most: int, stopped: threading.Event) -> None:
    """Writes what a server sends, until it is to stop."""
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=_RETRIES))
        with session.get(url, stream=True, timeout=_SILENCE_SECONDS) as response:
            response.raise_for_status()
            size = int(response.headers.get("Content-Length", 0)) or None
            _check_size(url, size or 0, most)
            with auto.tqdm(
                total=size,
                desc=f"  {url.rpartition('/')[2]}",
                unit="B",
                unit_scale=True,
                leave=False,
                disable=not draws_bars(),
            ) as bar:
                for block in response.iter_content(_BLOCK_BYTES):
                    if stopped.is_set():
                        return
                    _check_size(url, file.tell() + len(block), most)
                    file.write(block)
                    bar.update(len(block))


def _check_size(url: str, size: int, most: int) -> None:
    if size > most:
        raise InvalidInput(
            f"{url} has {size:,} bytes or more, at most {most:,} were expected"
        )


def _of_the_disk(error: Exception) -> str | None:
    """What is wrong with the disk, if that is what an error is about."""
    if isinstance(error, requests.RequestException):  # sockets have permissions too
        return None
    # By the text: what writes the records is no Python, its errors have no number.
    texts = map(os.strerror, _DISK_ERRORS)
    return next((text for text in texts if text in str(error)), None)


def _say(text: str) -> None:
    # On stderr, as bars are: stdout is for what a program computes.
    tell(text, logging.WARNING)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Waits until no other process works in a folder, and keeps others out."""
    with contextlib.ExitStack() as stack:
        waiting = False
        while True:
            try:
                stack.enter_context(folders.lock(folder))
                break
            except InvalidInput:
                if not waiting:
                    _say(f"Waiting for another process that downloads to {folder} ...")
                waiting = True
                time.sleep(_WAIT_SECONDS)
        yield


def _check(path: Path, url: str, sha256: str) -> None:
    """Refuses a download that is not the known file."""
    digest = sha256_of(path)
    if digest != sha256:
        raise InvalidInput(
            f"{url} has a wrong checksum: SHA-256 expected {sha256}, got {digest}"
        )


def _unavailable_ones(source: Source) -> list[tuple[str, str]]:
    """The URLs that cannot be downloaded, and why; all are asked at once."""
    reasons = {}

    def ask(url: str) -> None:
        reasons[url] = unavailable(url)

    urls = [url for url, _ in source.downloads]
    # No pool, whose threads a process waits for in its end.
    threads = [threading.Thread(target=ask, args=(u,), daemon=True) for u in urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [(url, reasons[url]) for url in urls if reasons[url]]


def unavailable(url: str, *, follow: bool = True) -> str | None:
    """Asks for a file without downloading it, for 3 seconds at most.

    Args:
      url: of the file.
      follow: whether to ask on where the answer is a redirection.

    Returns:
      Why it cannot be downloaded; None if it can.
    """
    seconds = _PROBE_SECONDS

    def ask() -> str | None:
        # Like the download itself this honours proxies and certificates, which a bare
        # socket does not.
        response = requests.head(url, allow_redirects=follow, timeout=seconds)
        status = response.status_code
        fine = response.ok or status in _NOT_ASKED_LIKE_THAT
        return None if fine else f"HTTP status {status}"

    try:  # no timeout of a request covers a name server that is silent
        return within(seconds, ask)
    except TimeoutError:
        return f"no answer within {seconds:g} s"
    except Exception as error:
        return type(error).__name__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences what tensorflow-datasets prints; keeps progress bars on a terminal."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        if not sys.stderr.isatty():
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        yield


def read(source: Source, data_dir: Path) -> Splits:
    """The rows of a source that is prepared, in the order of the original files.

    Raises:
      InvalidInput: if the prepared data are damaged.
    """
    folder = source.prepared(data_dir)
    try:
        # Without this file tensorflow-datasets would take the folder for an old one.
        if not (folder / "dataset_info.json").is_file():
            raise ValueError("dataset_info.json is missing")
        with _quiet():
            prepared = builder(source, data_dir)
            return {
                split: _read_split(source, prepared.as_data_source(split), split)
                for split in source.splits
            }
    except Exception as error:
        raise InvalidInput(
            f"the prepared {source.title} in {folder} must be complete, reading it "
            f"failed: {_summary(error)}. Delete that folder; the next run prepares it "
            "again."
        ) from error


def _read_split(source: Source, records: Any, split: str) -> Rows:
    size = len(records)
    features = np.empty((size * _ROWS_PER_RECORD, *source.shape), source.dtype)
    labels = np.empty(len(features), np.int32)
    seen = np.zeros(size, bool)
    num_rows = 0
    for start in range(0, size, _RECORDS_AT_ONCE):
        keys = list(range(start, min(start + _RECORDS_AT_ONCE, size)))
        for record in records.__getitems__(keys):
            index = int(record["index"])
            part = slice(index, index + len(record["label"]))
            features[part] = record["x"]
            labels[part] = record["label"]
            seen[index // _ROWS_PER_RECORD] = True
            num_rows = max(num_rows, part.stop)
    if not seen.all():
        raise ValueError(f"{np.count_nonzero(~seen):,} records of {split} are missing")
    return Rows(features[:num_rows], labels[:num_rows])


def _summary(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
