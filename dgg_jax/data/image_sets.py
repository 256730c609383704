"""Image benchmarks: their files, downloads, checksums and preprocessing."""

import hashlib

import numpy as np

from dgg_jax.checks import InvalidInput
from dgg_jax.data import idx, preprocessing, svhn, usps
from dgg_jax.data.dataset import Dataset, Options
from dgg_jax.data.fetching import fetch
from dgg_jax.data.sources import Layout, Rows, Source, Splits
from dgg_jax.log import LOGGER

_ARTICLE_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
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


FASHION_MNIST = Source(
    name="fashion_mnist",
    title="Fashion-MNIST",
    layouts=(_IDX,),
    downloads=_downloads(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
    shape=(28, 28),
    dtype=np.uint8,
    splits=("train", "test"),
    size=30,
    remedy=(
        "where there is a network, from "
        "https://github.com/zalandoresearch/fashion-mnist"
    ),
    num_rows=(60_000, 10_000),
)
_LIBSVM_URL = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/"
USPS = Source(
    name="usps",
    title="USPS",
    layouts=(Layout((("usps.bz2", "usps"), ("usps.t.bz2", "usps.t")), usps.read_usps),),
    downloads=(
        (
            f"{_LIBSVM_URL}usps.bz2",
            "3771e9dd6ba685185f89867b6e249233dd74652389f263963b3b741e994b034f",
        ),
        (
            f"{_LIBSVM_URL}usps.t.bz2",
            "a9c0164e797d60142a50604917f0baa604f326e9a689698763793fa5d12ffc4e",
        ),
    ),
    shape=usps.SHAPE,
    dtype=np.float32,
    splits=("train", "test"),
    size=8,
    remedy=f"where there is a network, from {_LIBSVM_URL}",
    num_rows=(7291, 2007),
)
_SVHN_URL = "http://ufldl.stanford.edu/housenumbers/"
SVHN = Source(
    name="svhn",
    title="SVHN",
    layouts=(
        Layout((("train_32x32.mat",), ("test_32x32.mat",)), svhn.read_train_and_test),
    ),
    downloads=(
        (
            f"{_SVHN_URL}train_32x32.mat",
            "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
        ),
        (
            f"{_SVHN_URL}test_32x32.mat",
            "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
        ),
    ),
    shape=svhn.SHAPE,
    dtype=np.uint8,
    splits=("train", "test"),
    size=235,
    remedy=f"where there is a network, from {_SVHN_URL}",
    num_rows=(73_257, 26_032),
)
SVHN_EXTRA = SVHN._replace(
    title="The extra part of SVHN",
    layouts=(Layout((("extra_32x32.mat",),), svhn.read_extra),),
    downloads=(
        (
            f"{_SVHN_URL}extra_32x32.mat",
            "a133a4beb38a00fcdda90c9489e0c04f900b660ce8a316a5e854838379a71eb3",
        ),
    ),
    splits=("extra",),
    size=1268,
    part="extra",
    num_rows=(531_131,),
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
    return _idx_images(MNIST, options, _DIGIT_NAMES)


def fashion_mnist(options: Options) -> Dataset:
    """Fashion-MNIST, train then test: Zalando's articles of clothing."""
    return _idx_images(FASHION_MNIST, options, _ARTICLE_NAMES)


def _idx_images(
    source: Source, options: Options, class_names: tuple[str, ...]
) -> Dataset:
    """Grey images, of which those of MNIST have a known digest."""
    splits, origin = fetch(source, options.data_dir)
    rows = _joined(splits)
    digest = hashlib.sha256(rows.features)
    digest.update(rows.labels.astype(np.uint8))
    is_mnist = digest.hexdigest() == _MNIST_SHA256
    # MNIST, Fashion-MNIST, KMNIST and others come in files of the same names.
    if source.name == "mnist":
        known = "the original data" if is_mnist else "NOT the original data"
        origin = f"{origin}, {known} by SHA-256"
        if not is_mnist:
            _warn(source, origin, "in content or order")
    elif is_mnist:
        raise InvalidInput(
            f"the {origin} are those of MNIST, not of {source.title}, which have the "
            f"same names; put the latter into {options.data_dir / source.name}."
        )
    return _images(
        source,
        splits,
        origin,
        x=preprocessing.divide_by(rows.features, 255.0),
        y=rows.labels,
        steps="divide_by(255)",
        class_names=class_names,
    )


def usps_digits(options: Options) -> Dataset:
    """USPS, train then test: digits of envelopes."""
    splits, origin = fetch(USPS, options.data_dir)
    rows = _joined(splits)
    return _images(
        USPS,
        splits,
        origin,
        x=preprocessing.to_unit_interval(rows.features, -1.0, 1.0),
        y=rows.labels,
        steps="to_unit_interval(-1, 1)",
    )


def svhn_digits(options: Options) -> Dataset:
    """SVHN's cropped digits, train then test, or the extra ones.

    Bernoulli, as GMVAE has it (table A.3, which has a sigmoid output); the scaling of
    its pixels is not printed. It was trained on train and extra together.
    """
    source = SVHN_EXTRA if options.split == "extra" else SVHN
    splits, origin = fetch(source, options.data_dir)
    rows = _joined(splits)
    return _images(
        source,
        splits,
        origin,
        x=preprocessing.divide_by(rows.features, 255.0),
        y=rows.labels,
        steps="divide_by(255)",
    )


def _joined(splits: Splits) -> Rows:
    """The rows of all splits, in the order of the splits."""
    if len(splits) == 1:  # of which there is no need for a copy
        return next(iter(splits.values()))
    return Rows(
        np.concatenate([rows.features for rows in splits.values()]),
        np.concatenate([rows.labels for rows in splits.values()]),
    )


def _warn(source: Source, origin: str, how: str) -> None:
    LOGGER.warning(
        "The images (%s) are not the original ones of %s, %s; results are not "
        "comparable with published ones.",
        origin,
        source.title,
        how,
    )


def _images(
    source: Source,
    splits: Splits,
    origin: str,
    *,
    x: np.ndarray,
    y: np.ndarray,
    steps: str,
    class_names: tuple[str, ...] = _DIGIT_NAMES,
) -> Dataset:
    """Images of all splits, x in [0, 1], which the Bernoulli likelihood suits."""
    num_rows = tuple(len(rows.labels) for rows in splits.values())
    if source.num_rows not in ((), num_rows):
        _warn(source, origin, f"which number {' + '.join(map(str, source.num_rows))}")
    is_test = None
    if "test" in splits:
        is_test = np.arange(len(y)) >= len(splits["train"].labels)
    return Dataset(
        x=preprocessing.flatten(x),
        y=y.astype(np.int32),
        name=source.name,
        feature_shape=source.shape,
        class_names=class_names,
        likelihood="bernoulli",
        provenance=(
            f"{source.title} from {origin}, {len(y):,} rows, {' then '.join(splits)}; "
            f"{steps}, flatten"
        ),
        is_test=is_test,
    )
