"""STL-10: its images, and the features of a ResNet-50 that methods cluster."""

import contextlib
import gzip
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dgg_jax.checks import InvalidInput, MissingData
from dgg_jax.data.dataset import Dataset, Options
from dgg_jax.data.sources import Layout, Rows, Source, Splits
from dgg_jax.log import LOGGER
from dgg_jax.storage import arrays

CLASS_NAMES = (
    "airplane",
    "bird",
    "car",
    "cat",
    "deer",
    "dog",
    "horse",
    "monkey",
    "ship",
    "truck",
)
FEATURES_FILE = "stl10_resnet50.npz"
NUM_FEATURES = 2048
_NUM_ROWS = {"train": 5000, "test": 8000}
_IMAGE_SHAPE = (96, 96, 3)
_REMEDY = "Replace it with a fresh copy of the original file"
_COMMAND = "python -m experiments.extract_features --dataset=stl10"

# Train before test, images before labels.
_BINARIES = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")
_FOLDER = "stl10_binary/"


def read_archive(paths: Sequence[Path]) -> Splits:
    """Returns the images of stl10_binary.tar.gz, which is not unpacked to the disk.

    Args:
      paths: of that one file.

    Returns:
      Of train and test: pixels, uint8 of shape [N, 96, 96, 3], and labels from 0,
      uint8 of shape [N].

    Raises:
      InvalidInput: if the archive is damaged, expands out of proportion or lacks a
        file, or if a file in it is unusable; see `read_binaries`.
    """
    (path,) = paths
    contents: dict[str, bytes] = {}
    with _readable(path):
        declared, most = 0, arrays.most_bytes(path.stat().st_size)
        with gzip.open(path) as file, tarfile.open(fileobj=file, mode="r|") as archive:
            for member in archive:
                declared += member.size  # of a sparse file, once it is expanded
                if declared > most:
                    raise tarfile.TarError(f"it expands to more than {most:,} bytes")
                name = member.name.removeprefix("./").removeprefix(_FOLDER)
                if name in _BINARIES and member.isreg():
                    contents[name] = archive.extractfile(member).read()
            while file.read(2**20):
                pass  # to the checksum at the end
    missing = [name for name in _BINARIES if name not in contents]
    if missing:
        raise InvalidInput(
            f"{path} must hold {', '.join(_FOLDER + name for name in _BINARIES)}; "
            f"missing: {', '.join(missing)}. {_REMEDY}."
        )
    return _splits([(f"{name} in {path}", contents[name]) for name in _BINARIES])


def read_binaries(paths: Sequence[Path]) -> Splits:
    """Returns the images of the four unpacked files: of train, then test.

    The pixels of an image are stored by channel, then by column (as Matlab does); the
    labels are 1 to 10.

    Args:
      paths: of train_X.bin, train_y.bin, test_X.bin and test_y.bin.

    Returns:
      As `read_archive`.

    Raises:
      InvalidInput: if a file cannot be read, its size is not that of whole images,
        labels are out of range, or there are not as many labels as images.
    """
    contents = []
    for path in paths:
        with _readable(path):
            contents.append((str(path), arrays.read_bytes(path)))
    return _splits(contents)


IMAGES = Source(
    name="stl10",
    title="STL-10",
    layouts=(
        Layout((("stl10_binary.tar.gz",),), read_archive),
        Layout(tuple((_FOLDER + name, name) for name in _BINARIES), read_binaries),
    ),
    downloads=(
        (
            "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
            "f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866",
        ),
    ),
    shape=_IMAGE_SHAPE,
    dtype=np.uint8,
    splits=("train", "test"),
    size=2519,
    remedy="where there is a network, from https://cs.stanford.edu/~acoates/stl10/",
)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (
        EOFError,
        ValueError,
        zlib.error,
        gzip.BadGzipFile,
        tarfile.TarError,
    ) as error:
        raise InvalidInput(
            f"{path} must be a complete .tar.gz file, it is truncated or damaged "
            f"({error}). {_REMEDY}."
        ) from error
    except OSError as error:
        raise InvalidInput(
            f"{path} must be a readable file, reading it failed ({error.strerror}). "
            "Check its permissions."
        ) from error


def _splits(contents: Sequence[tuple[str, bytes]]) -> Splits:
    return {"train": _rows(*contents[:2]), "test": _rows(*contents[2:])}


def _rows(images: tuple[str, bytes], labels: tuple[str, bytes]) -> Rows:
    """The images of one split with their labels; each comes with its file's name."""
    (images_name, pixels), (labels_name, numbers) = images, labels
    image_size = int(np.prod(_IMAGE_SHAPE))
    if len(pixels) % image_size:
        raise InvalidInput(
            f"{images_name} must hold images of {image_size:,} bytes each, its "
            f"{len(pixels):,} bytes are no multiple of that; it is truncated or "
            f"another file. {_REMEDY}."
        )
    if len(pixels) != len(numbers) * image_size:
        raise InvalidInput(
            f"{images_name} and {labels_name} must hold as many images as labels, they "
            f"hold {len(pixels) // image_size:,} images and {len(numbers):,} labels. "
            "Replace them with files of the same set."
        )
    classes = np.frombuffer(numbers, np.uint8)
    wrong = (classes < 1) | (classes > 10)
    if wrong.any():
        raise InvalidInput(
            f"{labels_name} must hold labels from 1 to 10, it holds "
            f"{classes[wrong][0]}. {_REMEDY}."
        )
    height, width, channels = _IMAGE_SHAPE
    by_column = np.frombuffer(pixels, np.uint8).reshape(-1, channels, width, height)
    return Rows(by_column.transpose(0, 3, 2, 1), classes - np.uint8(1))


def write_features(path: Path, splits: Splits, origin: str) -> None:
    """Writes the file that `stl10` reads.

    Args:
      path: the .npz file.
      splits: float32 features of shape [N, 2048] with their labels.
      origin: one line: what the features are.

    Raises:
      OSError: if it cannot be written.
    """
    train, test = splits["train"], splits["test"]
    with path.open("wb") as file:
        np.savez(
            file,
            x=np.concatenate([train.features, test.features]),
            y=np.concatenate([train.labels, test.labels]),
            is_test=np.repeat([False, True], [len(train.labels), len(test.labels)]),
            # As bytes, because text is nothing that we read from arrays.
            origin=np.frombuffer(origin.encode(), np.uint8),
        )


def stl10(options: Options) -> Dataset:
    """Features of a ResNet-50, train then test, not scaled.

    Erratum E26: lambda is 10. No paper states a scaling, hence there is none.
    """
    path = _features_path(options.data_dir)
    x, y, is_test, origin = _read_features(path)
    num_rows = {"train": np.count_nonzero(~is_test), "test": np.count_nonzero(is_test)}
    if num_rows != _NUM_ROWS:
        LOGGER.warning(
            "%s holds %d rows of train and %d of test, STL-10 has 5000 and 8000; "
            "results are not comparable with published ones.",
            path,
            num_rows["train"],
            num_rows["test"],
        )
    order = np.argsort(is_test, kind="stable")
    return Dataset(
        x=x[order],
        y=y[order],
        name="stl10",
        feature_shape=(NUM_FEATURES,),
        class_names=CLASS_NAMES,
        likelihood="gaussian",
        provenance=(
            f"STL-10 from {path} ({origin}), {len(x):,} rows, train then test; no "
            "preprocessing"
        ),
        variance=10.0,
        is_test=is_test[order],
    )


def _features_path(data_dir: Path) -> Path:
    paths = (data_dir / FEATURES_FILE, data_dir / "stl10" / FEATURES_FILE)
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        raise MissingData(
            f"the features of STL-10 are not in {data_dir}: looked in {data_dir} and "
            f"{data_dir / 'stl10'} for {FEATURES_FILE}. Make that file from the images "
            f"by {_COMMAND} --data_dir={data_dir} in a checkout of the repository, or "
            "put it into a folder and name that with --data_dir=FOLDER (in Python: "
            "data_dir=FOLDER)."
        )
    return found


def _read_features(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """x, y and is_test in the file's order, and what the features are."""
    try:
        archive = arrays.Npz(arrays.read_bytes(path))
        missing = [name for name in ("x", "y", "is_test") if name not in archive.names]
        if missing:
            raise ValueError(f"it has no array {', '.join(missing)}")
        x, y, is_test = archive["x"], archive["y"], archive["is_test"]
        origin = "origin unknown"
        if "origin" in archive.names:
            told = archive["origin"].astype(np.uint8).tobytes().decode(errors="replace")
            origin = " ".join(told.split())[:300]
        if x.ndim != 2 or x.shape[1] != NUM_FEATURES:
            raise ValueError(f"x must be [N, {NUM_FEATURES}], got shape {x.shape}")
        for name, array in (("y", y), ("is_test", is_test)):
            if array.shape != (len(x),):
                raise ValueError(
                    f"{name} must have one value a row of x, shape ({len(x)},), got "
                    f"{array.shape}"
                )
        if not np.isin(y, np.arange(len(CLASS_NAMES))).all():
            raise ValueError("y must hold labels from 0 to 9")
        if not np.isin(is_test, (0, 1)).all():
            raise ValueError("is_test must be true or false")
    except OSError as error:
        raise InvalidInput(
            f"{path} must be a readable file, reading it failed ({error.strerror}). "
            "Check its permissions."
        ) from error
    except ValueError as error:
        raise InvalidInput(
            f"{path} holds no features of STL-10 ({error}). Make it again by "
            f"{_COMMAND}."
        ) from error
    with np.errstate(over="ignore"):  # infinity is for the estimators to refuse
        x = x.astype(np.float32)
    return x, y.astype(np.int32), is_test.astype(bool), origin
