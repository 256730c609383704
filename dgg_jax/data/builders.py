"""MNIST through tensorflow-datasets, as download, checksum and storage layer.

TensorFlow itself is not needed, other than for the stock `mnist` builder: ours stores
plain uint8 tensors as array_record. Importing this module imports tensorflow_datasets,
so the loaders import it only when they need it.
"""

import contextlib
import io
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from absl import logging

from dgg_jax.checks import InvalidInput, MissingData
from dgg_jax.data import files

with warnings.catch_warnings():
    # Deprecations inside these packages are nothing that our users can act on.
    warnings.simplefilter("ignore")
    import requests
    import tensorflow_datasets as tfds

_PROBE_SECONDS = 3.0
_MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"
# Records are decoded in Python, one object a field: keep only so many at a time.
_READ_BLOCK = 1000


class DggMnist(tfds.core.GeneratorBasedBuilder):
    """MNIST with the label and the place in the original file inside each record.

    Records are shuffled on writing; `index` restores the order of the files, so that
    the result is the same, bit for bit, as reading the files. The checksums of the four
    files are in checksums.tsv next to this module, where tensorflow-datasets expects
    them. Registered as "dgg_mnist", since "mnist" is the stock builder's name.
    """

    VERSION = tfds.core.Version("1.0.0")
    BASE_URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"

    @classmethod
    def urls(cls) -> tuple[str, ...]:
        """Returns where the four files are downloaded, in the order of MNIST_FILES."""
        return tuple(f"{cls.BASE_URL}{name}.gz" for name in files.MNIST_FILES)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Handwritten digits, 28 x 28 pixels.",
            homepage="http://yann.lecun.com/exdb/mnist/",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(shape=(28, 28), dtype=np.uint8),
                    "label": tfds.features.Scalar(dtype=np.uint8),
                    "index": tfds.features.Scalar(dtype=np.int32),
                }
            ),
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator]:
        paths = [Path(path) for path in dl_manager.download(list(self.urls()))]
        return {
            "train": self._generate_examples(paths[0], paths[1]),
            "test": self._generate_examples(paths[2], paths[3]),
        }

    def _generate_examples(
        self, images_path: Path, labels_path: Path
    ) -> Iterator[tuple[int, dict[str, np.ndarray | int]]]:
        images, labels = files.read_mnist_pair(images_path, labels_path)
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield index, {"image": image, "label": label, "index": index}


def mnist(data_dir: Path) -> files.LabelledImages:
    """Returns all of MNIST, train then test, in the order of the original files.

    Reads the data prepared in `data_dir`; if there are none, downloads the four files,
    checks their checksums and prepares them there, once.

    Args:
      data_dir: parent folder of the prepared data and of the downloads; it is created.

    Returns:
      All 70,000 images and labels.

    Raises:
      MissingData: if nothing is prepared and the download is not possible, within
        seconds without a network; the message says which files to put where.
      InvalidInput: if the prepared data are damaged.
    """
    folder = data_dir / DggMnist.name / str(DggMnist.VERSION)
    if not folder.exists():
        _prepare(data_dir, folder)
    return _read(data_dir, folder)


def _prepare(data_dir: Path, folder: Path) -> None:
    # tensorflow-datasets retries for minutes without a word, so ask first.
    url = DggMnist.urls()[0]
    reason = _unavailable(url, _PROBE_SECONDS)
    if reason:
        raise _missing_data(data_dir, folder, f"{url} cannot be reached: {reason}")
    logging.info("Downloading MNIST (11 MiB) and preparing it in %s.", folder)
    try:
        with _quiet():
            DggMnist(data_dir=data_dir).download_and_prepare(
                file_format="array_record",
                download_config=tfds.download.DownloadConfig(
                    force_checksums_validation=True, try_download_gcs=False
                ),
            )
    except Exception as error:
        if folder.exists():
            # Another process prepared the same folder in the meantime.
            logging.info("Using the MNIST prepared by another process.")
            return
        raise _missing_data(
            data_dir, folder, f"download or preparation failed: {_summary(error)}"
        ) from error


def _unavailable(url: str, seconds: float) -> str | None:
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


def _read(data_dir: Path, folder: Path) -> files.LabelledImages:
    try:
        # Without this file tensorflow-datasets would take the folder for an old one.
        if not (folder / "dataset_info.json").is_file():
            raise ValueError("dataset_info.json is missing")
        with _quiet():
            builder = DggMnist(data_dir=data_dir)
            parts = [_read_split(builder, split) for split in ("train", "test")]
    except Exception as error:
        raise InvalidInput(
            f"the prepared MNIST in {folder} must be complete, reading it failed: "
            f"{_summary(error)}. Delete that folder; the next run prepares it again."
        ) from error
    train, test = parts
    return files.LabelledImages(
        np.concatenate([train.images, test.images]),
        np.concatenate([train.labels, test.labels]),
    )


def _read_split(builder: DggMnist, split: str) -> files.LabelledImages:
    source = builder.as_data_source(split)
    images = np.empty((len(source), 28, 28), np.uint8)
    labels = np.empty(len(source), np.uint8)
    seen = np.zeros(len(source), bool)
    for start in range(0, len(source), _READ_BLOCK):
        stop = min(start + _READ_BLOCK, len(source))
        for record in source.__getitems__(list(range(start, stop))):
            index = record["index"]
            images[index] = record["image"]
            labels[index] = record["label"]
            seen[index] = True
    if not seen.all():
        raise ValueError(f"{np.count_nonzero(~seen):,} records of {split} are missing")
    return files.LabelledImages(images, labels)


def _summary(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _missing_data(data_dir: Path, folder: Path, reason: str) -> MissingData:
    return MissingData(
        f"MNIST is not in {data_dir}, and {reason}. Looked in {data_dir} and "
        f"{data_dir / 'mnist'} for the files {', '.join(files.MNIST_FILES)} (each with "
        f"or without .gz) and in {folder} for prepared data. Get the four files where "
        f"there is a network, from {DggMnist.BASE_URL} or {_MIRROR}, put them into one "
        "folder and name it with --data_dir=FOLDER (in Python: data_dir=FOLDER)."
    )
