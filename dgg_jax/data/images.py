"""Image benchmarks: their files, downloads, checksums and preprocessing."""

import hashlib

import numpy as np
from absl import logging

from dgg_jax.data import idx, preprocessing
from dgg_jax.data.dataset import Dataset, Options
from dgg_jax.data.sources import Layout, Source, fetch

_DIGIT_NAMES = tuple(str(digit) for digit in range(10))
# SHA-256 of the pixels, then the labels, of train and test in the files' order.
_MNIST_SHA256 = "c2069063c1105f2bf96266aef1ff68c6e13bdda7a54e37bf19c16f1db24efc83"

# Train before test, images before labels.
_IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def _spellings(name: str) -> tuple[str, ...]:
    """Of an idx file: train-images-idx3-ubyte or train-images.idx3-ubyte, any .gz."""
    stems = (name, name.replace("-idx", ".idx"))
    return tuple(stem + suffix for stem in stems for suffix in ("", ".gz"))


_IDX = Layout(tuple(map(_spellings, _IDX_FILES)), idx.read_mnist)


def _downloads(url: str, *digests: str) -> tuple[tuple[str, str], ...]:
    names = zip(_IDX_FILES, digests, strict=True)
    return tuple((f"{url}{name}.gz", digest) for name, digest in names)


MNIST = Source(
    name="mnist",
    title="MNIST",
    layouts=(_IDX,),
    downloads=_downloads(
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
    shape=(28, 28),
    dtype=np.uint8,
    splits=("train", "test"),
    size=11,
    remedy=(
        "where there is a network, from "
        "https://storage.googleapis.com/cvdf-datasets/mnist/ or "
        "https://ossci-datasets.s3.amazonaws.com/mnist/"
    ),
)


def digits(options: Options) -> Dataset:
    """The handwritten digits that scikit-learn ships."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return Dataset(
        x=preprocessing.flatten(preprocessing.divide_by(found.images, 16.0)),
        y=found.target.astype(np.int32),
        name="digits",
        feature_shape=found.images.shape[1:],
        class_names=_DIGIT_NAMES,
        likelihood="bernoulli",
        provenance=(
            f"scikit-learn load_digits, {len(found.images):,} rows; divide_by(16), "
            "flatten"
        ),
    )


def mnist(options: Options) -> Dataset:
    """MNIST, train then test."""
    return _idx_images(MNIST, options, _DIGIT_NAMES, _MNIST_SHA256)


def _idx_images(
    source: Source, options: Options, class_names: tuple[str, ...], sha256: str
) -> Dataset:
    """Grey images whose pixels and labels have a known digest."""
    splits, origin = fetch(source, options.data_dir)
    train, test = splits["train"], splits["test"]
    pixels = np.concatenate([train.features, test.features])
    labels = np.concatenate([train.labels, test.labels])
    digest = hashlib.sha256(pixels)
    digest.update(labels.astype(np.uint8))
    if digest.hexdigest() == sha256:
        content = "the original data by SHA-256"
    else:
        # MNIST, Fashion-MNIST, KMNIST and others come in files of the same names.
        content = "NOT the original data by SHA-256"
        logging.warning(
            "The %d images (%s) are not the original ones of %s in their order; "
            "results are not comparable with published ones.",
            len(pixels),
            origin,
            source.title,
        )
    return Dataset(
        x=preprocessing.flatten(preprocessing.divide_by(pixels, 255.0)),
        y=labels.astype(np.int32),
        name=source.name,
        feature_shape=source.shape,
        class_names=class_names,
        likelihood="bernoulli",
        provenance=(
            f"{source.title} from {origin}, {content}, {len(pixels):,} rows, train "
            "then test; divide_by(255), flatten"
        ),
        is_test=np.arange(len(pixels)) >= len(train.labels),
    )
