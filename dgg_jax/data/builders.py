"""Downloads and prepared data, by tensorflow-datasets without TensorFlow.

The stock builders need TensorFlow; ours store plain tensors as array_record. Importing
this module imports tensorflow_datasets, so it is imported only when it is needed.
"""

import contextlib
import hashlib
import io
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from dgg_jax.checks import InvalidInput
from dgg_jax.data.sources import Rows, Source, Splits

with warnings.catch_warnings():
    # Deprecations inside these packages are nothing that our users can act on.
    warnings.simplefilter("ignore")
    import requests
    import tensorflow_datasets as tfds

_PROBE_SECONDS = 3.0
# Records are decoded in Python, one object a field: keep only so many at a time.
_READ_BLOCK = 1000


def builder(source: Source, data_dir: Path) -> tfds.core.GeneratorBasedBuilder:
    """What prepares and reads a source.

    Records are shuffled on writing; ``index`` restores the order of the files, so that
    the rows are the same, bit for bit, as those read from the files. It is called
    dgg_NAME, since NAME may be a stock builder's.

    Args:
      source: of the benchmark.
      data_dir: parent folder of the prepared data.
    """

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """A benchmark as tensors, with the label and the place in the files."""

        name = f"dgg_{source.name}"
        VERSION = tfds.core.Version(source.version)
        url_infos: dict[str, Any] = {}  # noqa: RUF012 - checksums are our own

        def _info(self) -> tfds.core.DatasetInfo:
            return tfds.core.DatasetInfo(
                builder=self,
                description=source.title,
                features=tfds.features.FeaturesDict(
                    {
                        "x": tfds.features.Tensor(
                            shape=source.shape, dtype=source.dtype
                        ),
                        "label": tfds.features.Scalar(dtype=np.int32),
                        "index": tfds.features.Scalar(dtype=np.int64),
                    }
                ),
            )

        def _split_generators(
            self, dl_manager: tfds.download.DownloadManager
        ) -> dict[str, Iterator]:
            urls = [url for url, _ in source.downloads]
            paths = [Path(path) for path in dl_manager.download(urls)]
            for path, (url, sha256) in zip(paths, source.downloads, strict=True):
                _check(path, url, sha256)
            splits = source.layouts[0].read(paths)
            return {name: self._generate_examples(splits[name]) for name in splits}

        def _generate_examples(
            self, rows: Rows
        ) -> Iterator[tuple[int, dict[str, np.ndarray | int]]]:
            pairs = zip(rows.features, rows.labels, strict=True)
            for index, (x, label) in enumerate(pairs):
                yield index, {"x": x, "label": label, "index": index}

    return Builder(data_dir=data_dir)


def prepare(source: Source, data_dir: Path) -> None:
    """Downloads a source, checks it and prepares it in ``data_dir``, once.

    Args:
      source: of the benchmark.
      data_dir: parent folder of the prepared data and of the downloads; it is created.

    Raises:
      MissingData: if that is not possible, within seconds without a network; the
        message says which files to put where.
    """
    if not source.downloads:
        raise source.missing(data_dir, "it cannot be downloaded by a program")
    # tensorflow-datasets retries for minutes without a word, so ask first.
    url, _ = source.downloads[0]
    reason = unavailable(url, _PROBE_SECONDS)
    if reason:
        raise source.missing(data_dir, f"{url} cannot be reached: {reason}")
    folder = source.prepared(data_dir)
    logging.info(
        "Downloading %s (%d MiB) and preparing it in %s.",
        source.title,
        source.size,
        folder,
    )
    try:
        with _quiet():
            builder(source, data_dir).download_and_prepare(
                file_format="array_record",
                download_config=tfds.download.DownloadConfig(
                    register_checksums=False, try_download_gcs=False
                ),
            )
    except Exception as error:
        if folder.exists():
            # Another process prepared the same folder in the meantime.
            logging.info("Using the %s prepared by another process.", source.title)
            return
        reason = f"download or preparation failed: {_summary(error)}"
        raise source.missing(data_dir, reason) from error


def _check(path: Path, url: str, sha256: str) -> None:
    """Refuses, and forgets, a download that is not the known file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        path.unlink()
        path.with_name(f"{path.name}.INFO").unlink(missing_ok=True)  # size and checksum
        raise InvalidInput(
            f"{url} has a wrong checksum: SHA-256 expected {sha256}, got {digest}"
        )


def unavailable(url: str, seconds: float) -> str | None:
    """Returns why `url` cannot be downloaded, None if it can."""
    answers: list[str | None] = []

    def ask() -> None:
        try:
            # Like the download itself this honours proxies and certificates, which a
            # bare socket does not.
            response = requests.head(url, allow_redirects=True, timeout=seconds)
            answers.append(
                None if response.ok else f"HTTP status {response.status_code}"
            )
        except Exception as error:
            answers.append(type(error).__name__)

    # A thread, because no timeout of a request covers a name server that is silent.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else f"no answer within {seconds:g} s"


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
    features = np.empty((len(records), *source.shape), source.dtype)
    labels = np.empty(len(records), np.int32)
    seen = np.zeros(len(records), bool)
    for start in range(0, len(records), _READ_BLOCK):
        stop = min(start + _READ_BLOCK, len(records))
        for record in records.__getitems__(list(range(start, stop))):
            index = record["index"]
            features[index] = record["x"]
            labels[index] = record["label"]
            seen[index] = True
    if not seen.all():
        raise ValueError(f"{np.count_nonzero(~seen):,} records of {split} are missing")
    return Rows(features, labels)


def _summary(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
