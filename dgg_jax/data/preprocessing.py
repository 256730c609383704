"""The steps between a data set's files and the matrix that is clustered.

A data set's provenance names the steps it went through, in order.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from dgg_jax import checks
from dgg_jax.log import LOGGER
from dgg_jax.storage import arrays

NUM_WORDS = 2000  # of the papers' texts
# Squared length of a row of D words, by the name of the scaling.
TFIDF_SCALINGS = {"sqrt_dim": float, "unit": lambda dim: 1.0}

# Of a mean from 0, in standard deviations: what is warned of, and what is refused.
_FAR, _MOST_OFFSET = 10.0, 150.0
_MOST_UNEVEN = 30.0  # of the deviations of columns, the largest to the least
_BLOCK = 4096  # rows that are scaled at a time, in float64
# Embeddings have so many columns, and rows whose lengths differ by so small a share.
_FEWEST_OF_EMBEDDINGS, _SAME_LENGTH = 64, 0.01
UNIT_ROWS, LOG_COUNTS = "unit_rows", "log_counts"
NUM_GENES = 2000  # the most variable, of cells
_DONORS, _MOST_DONORS, _MOST_COMPARED = 10, 8_000, 10**10
_TECHNICAL_DISPERSION = 100.0  # of counts that differ by chance alone


class Scaling(NamedTuple):
    """How the columns of a file became those of x: (column - shift) / scale.

    Attributes:
      step: the function of this module that it is of, or "none"; after unit_rows, the
        rows were brought to one length.
      shift: float64 of shape [D].
      scale: float64 of shape [D], not 0.
      feature_shape: of one row before it was flattened to [D].
      columns: names of the columns in the file, or None.
      layer: of an .h5ad file, what was read in place of X, or None.
      ground: what transparent images were seen on, or None.
      kept: indices of the columns that were taken of a file that does not name them,
        or several alike; None if names tell them, or all were taken.
      num_columns: of the file, if some were taken.
      batch: column of the file that says the batch of a row, or None.
    """

    step: str
    shift: np.ndarray
    scale: np.ndarray
    feature_shape: tuple[int, ...]
    columns: tuple[str, ...] | None = None
    layer: str | None = None
    ground: str | None = None
    kept: tuple[int, ...] | None = None
    num_columns: int | None = None
    batch: str | None = None


def scaled(x: np.ndarray, scaling: Scaling) -> np.ndarray:
    """Rows of a file, float32 [N, D], as those that a scaling was made for.

    Args:
      x: real numbers, shape [N, D].
      scaling: of the rows of training.

    Raises:
      InvalidInput: if a row has no direction, and that is what counts.
    """
    if scaling.step == UNIT_ROWS:
        return to_unit_rows(x)
    if scaling.step == LOG_COUNTS:
        return log_normalize(x)
    return shift_and_scale(x, scaling.shift, scaling.scale)


def shift_and_scale(x: np.ndarray, shift: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Returns (x - shift) / scale, computed in float64, as float32.

    Args:
      x: real numbers, shape [N, D].
      shift: of each column, shape [D].
      scale: of each column, shape [D], not 0.

    Returns:
      float32 array [N, D]; a large one is a temporary file.

    Example:
      >>> from dgg_jax.data.preprocessing import shift_and_scale
      >>> shift_and_scale([[1.0, 5.0], [3.0, 6.0]], [2.0, 5.0], [1.0, 2.0])
      array([[-1. ,  0. ],
             [ 1. ,  0.5]], dtype=float32)
    """
    x = np.asarray(x)
    scaled = arrays.empty(x.shape)
    with np.errstate(over="ignore"):  # infinity is for the caller to refuse
        for start in range(0, len(x), _BLOCK):
            rows = slice(start, start + _BLOCK)
            scaled[rows] = (x[rows].astype(np.float64) - shift) / scale
    return scaled


def to_unit_rows(x: np.ndarray) -> np.ndarray:
    """Rows of one length, so that their distances are those of their directions.

    Of rows u and v the squared distance is 2 D (1 - cosine of u and v). Their length is
    sqrt(D): a network sees values as large as those of standardised columns.

    Args:
      x: real numbers, shape [N, D].

    Returns:
      float32 array [N, D].

    Raises:
      InvalidInput: if a row is 0, which has no direction.

    Example:
      >>> from dgg_jax.data.preprocessing import to_unit_rows
      >>> to_unit_rows([[3.0, 0.0, 0.0, 4.0]])
      array([[1.2, 0. , 0. , 1.6]], dtype=float32)
    """
    x = np.asarray(x)
    rows = arrays.empty(x.shape)
    for start in range(0, len(x), _BLOCK):
        block = x[start : start + _BLOCK].astype(np.float64)
        lengths = np.linalg.norm(block, axis=1, keepdims=True)
        if not lengths.all():
            raise checks.InvalidInput(
                f"row {start + int(lengths.argmin())} is 0 in every column and has no "
                "direction; leave it out, or choose another scaling than unit."
            )
        rows[start : start + _BLOCK] = block * (math.sqrt(x.shape[1]) / lengths)
    return rows


def log_normalize(x: np.ndarray | sparse.csr_array) -> np.ndarray | sparse.csr_array:
    """ln(1 + x) of counts whose mean was brought to 1, row by row.

    How deep a cell was sequenced, or how long a text is, is no distance any more.

    Args:
      x: counts, shape [N, D]; sparse ones stay so.

    Returns:
      float32 of shape [N, D]; a large array is a temporary file.

    Example:
      >>> from dgg_jax.data.preprocessing import log_normalize
      >>> log_normalize([[3, 0], [6, 0]])
      array([[1.0986123, 0.       ],
             [1.0986123, 0.       ]], dtype=float32)
    """
    if sparse.issparse(x):
        x = sparse.csr_array(x, dtype=np.float32, copy=True)
        sizes = np.maximum(x.sum(axis=1, dtype=np.float64), 1e-30)
        x.data = np.log1p(x.data * np.repeat(x.shape[1] / sizes, np.diff(x.indptr)))
        x.data = x.data.astype(np.float32)
        return x
    x = np.asarray(x)
    rows = arrays.empty(x.shape)
    for start in range(0, len(x), _BLOCK):
        block = x[start : start + _BLOCK].astype(np.float64)
        sizes = np.maximum(block.sum(axis=1, keepdims=True), 1e-30)
        rows[start : start + _BLOCK] = np.log1p(block * (x.shape[1] / sizes))
    return rows


def variable_columns(
    x: np.ndarray | sparse.csr_array, num_columns: int = NUM_GENES
) -> np.ndarray:
    """The columns of counts that vary most beyond chance, in their order.

    By the variance of Pearson residuals under a negative binomial of dispersion 100,
    rows' sizes times columns' shares its means, cut to sqrt(N) (Lause, Berens and
    Kobak, "Analytic Pearson residuals for normalization of single-cell RNA-seq UMI
    data", Genome Biology 2021).

    Args:
      x: counts, shape [N, D].
      num_columns: how many; all if D is less.

    Returns:
      Their indices, ascending.
    """
    num_points, dim = x.shape
    if dim <= num_columns:
        return np.arange(dim)
    sums, squares = np.zeros(dim), np.zeros(dim)
    most = math.sqrt(num_points)
    for block, mean in _with_means(x):
        spread = np.sqrt(np.maximum(mean + mean**2 / _TECHNICAL_DISPERSION, 1e-30))
        residuals = np.clip((block - mean) / spread, -most, most)
        sums += residuals.sum(axis=0)
        squares += (residuals**2).sum(axis=0)
    variances = squares / num_points - (sums / num_points) ** 2
    return np.sort(np.argsort(-variances, kind="stable")[:num_columns])


def count_dispersion(x: np.ndarray | sparse.csr_array) -> float:
    """theta of the negative binomial likelihood for counts.

    By moments, a row's size times the columns' shares being its mean mu: the mean of
    (x - mu)^2 - mu is that of mu^2 / theta. What differs between clusters is in it; a
    model that knows the clusters leaves a tenth of it, as of the variance of
    ``likelihood_for``.

    Args:
      x: counts, shape [N, D].

    Returns:
      theta, in [0.1, 1000].
    """
    excess, squares = 0.0, 0.0
    for block, mean in _with_means(x):
        excess += float(((block - mean) ** 2 - mean).sum())
        squares += float((mean**2).sum())
    return float(np.clip(10.0 * squares / max(excess, 1e-30), 0.1, 1000.0))


def _with_means(
    x: np.ndarray | sparse.csr_array,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of counts [B, D], and their means if all rows had the columns' shares."""
    shares = column_means(x)
    shares = shares / max(shares.sum(), 1e-30)
    for _, block in checks.blocks(x):
        yield block, block.sum(axis=1, dtype=np.float64, keepdims=True) * shares


def impute(x: np.ndarray) -> np.ndarray:
    """An estimate of each value that is missing: the mean of the nearest rows' values.

    Near are those whose common columns are (scikit-learn's KNNImputer, ten neighbours
    among at most 8,000 rows; fewer where there are many values, since each is looked at
    beside every one of these).

    Args:
      x: numbers, NaN where one is missing, shape [N, D]; no row and no column is empty.

    Returns:
      float32 of shape [N, D]; what is there stays as it is.
    """
    from sklearn.impute import KNNImputer

    most = min(_MOST_DONORS, max(500, _MOST_COMPARED // x.size))
    drawn = np.random.default_rng(0).permutation(len(x))[:most]
    # A column that few rows have keeps them.
    lacking = np.isnan(x[drawn]).all(axis=0)
    having = (~np.isnan(x[:, lacking])).any(axis=1)
    donors = x[np.union1d(drawn, np.flatnonzero(having))]
    model = KNNImputer(n_neighbors=_DONORS).fit(donors)
    return model.transform(x).astype(np.float32)


def are_embeddings(x: np.ndarray) -> bool:
    """Whether rows look like embeddings of a pretrained model: many, of one length.

    Args:
      x: real numbers, shape [N, D].
    """
    if x.shape[1] < _FEWEST_OF_EMBEDDINGS or x.min() >= 0:
        return False
    lengths = [
        np.linalg.norm(block.astype(np.float64), axis=1)
        for _, block in checks.blocks(x)
    ]
    lengths = np.concatenate(lengths)
    return bool(np.ptp(lengths) <= _SAME_LENGTH * lengths.mean())


def standardize(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shift and scale that give every column mean 0 and variance 1.

    A constant column becomes 0, not noise of the rounding of its mean.

    Args:
      x: numbers, NaN where one is missing, shape [N, D].

    Returns:
      Shift and scale for ``shift_and_scale``, float64 of shape [D].

    Example:
      >>> from dgg_jax.data.preprocessing import standardize
      >>> standardize([[1.0, 7.0], [3.0, 7.0]])
      (array([2., 7.]), array([1., 1.]))
    """
    x = np.asarray(x)
    low, constant = _constant(x)
    mean = np.where(constant, low, column_means(x))
    squares, missing = 0.0, 0
    for _, block in checks.blocks(x):
        deviations = block - mean
        if checks.has_nan(block):
            missing = missing + np.isnan(block).sum(axis=0)
            deviations[np.isnan(block)] = 0.0
        squares = squares + (deviations**2).sum(axis=0)
    deviation = np.sqrt(squares / (len(x) - missing))
    # The square of a tiny deviation is 0.
    return mean, np.where(constant | (deviation == 0.0), 1.0, deviation)


def check_offset(x: np.ndarray, names: Sequence[str] | None, remedy: str) -> None:
    """Refuses values that lie too far off 0 for their spread, before a lossy cast.

    Near 1.7e9 float32 has multiples of 128, and of 1000 and 1001 networks see 1000.

    Args:
      x: numbers, NaN where one is missing, shape [N, D].
      names: of the columns, or None.
      remedy: for the message.

    Raises:
      InvalidInput: naming a column, its mean and its spread.
    """
    offset, spread = _offset_and_spread(x)
    column = int(offset.argmax())
    widest = spread.max()
    if widest == 0 or offset[column] < _FAR * widest:
        return
    name = column if names is None else repr(names[column])
    lies = (
        f"column {name} of the data lies {offset[column]:g} from 0, where no column "
        f"spreads wider than {widest:g}"
    )
    if offset[column] < _MOST_OFFSET * widest:
        LOGGER.warning(f"{lies}, which networks hardly tell apart; {remedy}.")
        return
    raise checks.InvalidInput(
        f"{lies}: neither float32 nor a network tells its values apart; {remedy}."
    )


def advice_on_scale(x: np.ndarray | sparse.csr_array) -> str:
    """What to say of columns that are on no scale that suits networks, or nothing."""
    if sparse.issparse(x) or (_least(x) >= 0.0 and _most(x) <= 1.0):
        return ""
    offset, spread = _offset_and_spread(x)
    some = spread[spread > 0]
    if not len(some) or (
        offset.max() < 3 * some.max() and some.max() < _MOST_UNEVEN * some.min()
    ):
        return ""
    return (
        f" The columns of X have means of up to {offset.max():.3g} and spreads from "
        f"{some.min():.3g} to {some.max():.3g}: scale them first, as by "
        "make_pipeline(StandardScaler(), DGG())."
    )


def _offset_and_spread(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """|mean| and standard deviation of the columns, 0 where one is constant."""
    mean, spread = standardize(x)
    constant = _constant(x)[1]
    return np.where(constant, 0.0, abs(mean)), np.where(constant, 0.0, spread)


def column_means(x: np.ndarray | sparse.csr_array) -> np.ndarray:
    """The mean of every column of x [N, D], of the values that are not NaN.

    By blocks: x may be larger than memory.
    """
    sums, missing = 0.0, 0
    for _, block in checks.blocks(x):
        if checks.has_nan(block):
            missing = missing + np.isnan(block).sum(axis=0)
            block = np.nan_to_num(block)
        sums = sums + block.sum(axis=0, dtype=np.float64)
    return sums / (x.shape[0] - missing)


def min_max(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shift and scale that bring every column into [0, 1]; a constant one becomes 0.

    Args:
      x: numbers, NaN where one is missing, shape [N, D].

    Returns:
      Shift and scale for ``shift_and_scale``, float64 of shape [D].

    Example:
      >>> from dgg_jax.data.preprocessing import min_max
      >>> min_max([[1.0, 7.0], [3.0, 7.0]])
      (array([1., 7.]), array([2., 1.]))
    """
    x = np.asarray(x)
    low, constant = _constant(x)
    return low, np.where(constant, 1.0, _most(x, axis=0).astype(np.float64) - low)


def constant_columns(x: np.ndarray) -> np.ndarray:
    """Which columns of x [N, D] hold one value alone, besides NaN: booleans [D]."""
    return _constant(x)[1]


def _constant(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least value of each column, and whether it is the only one."""
    low = _least(x, axis=0).astype(np.float64)
    return low, low == _most(x, axis=0)


def _least(x: np.ndarray, axis: int | None = None) -> np.ndarray:
    """The least of the values that are not NaN."""
    return np.fmin.reduce(x, axis=axis)


def _most(x: np.ndarray, axis: int | None = None) -> np.ndarray:
    """The largest of the values that are not NaN."""
    return np.fmax.reduce(x, axis=axis)


def divide_by(x: np.ndarray, divisor: float) -> np.ndarray:
    """Returns x / divisor, computed in float32.

    Brings pixels stored as 0, ..., divisor into [0, 1], as the Bernoulli likelihood
    needs them; x = divisor gives exactly 1.

    Args:
      x: any numbers, any shape.
      divisor: the largest value that x can take, not 0.

    Returns:
      float32 array of the shape of x.

    Example:
      >>> from dgg_jax.data.preprocessing import divide_by
      >>> divide_by([0, 51, 255], 255)
      array([0. , 0.2, 1. ], dtype=float32)
    """
    x = arrays.float32_copy(x)
    x /= np.float32(divisor)  # in place: half a million images take 6.5 GB
    return x


def to_unit_interval(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Returns (x - low) / (high - low), computed in float32.

    Brings values in [low, high] into [0, 1], as the Bernoulli likelihood needs them.

    Args:
      x: any numbers, any shape.
      low: the least value that x can take.
      high: the largest value that x can take, more than low.

    Returns:
      float32 array of the shape of x.

    Example:
      >>> from dgg_jax.data.preprocessing import to_unit_interval
      >>> to_unit_interval([-1, 0, 1], -1, 1)
      array([0. , 0.5, 1. ], dtype=float32)
    """
    x = arrays.float32_copy(x)
    x -= np.float32(low)
    x /= np.float32(high - low)
    return x


def flatten(x: np.ndarray) -> np.ndarray:
    """Returns one row for each data point, in row-major order.

    Args:
      x: data points, shape [N, ...].

    Returns:
      x as a matrix [N, D], where D is the product of the other dimensions.
    """
    x = np.asarray(x)
    # The product, not -1, which is ambiguous when N = 0.
    return x.reshape(len(x), int(np.prod(x.shape[1:])))


def count_words(texts: Sequence[str | bytes]) -> sparse.csr_array:
    """Returns how often each text has each word.

    Words are two or more letters, digits or underscores, in lower case, without
    scikit-learn's English stop words; RCV1, which the papers use, comes without stop
    words, too.

    Args:
      texts: N texts; bytes are UTF-8.

    Returns:
      Counts, int64 of shape [N, V]; the V words are in alphabetical order.

    Raises:
      ValueError: if there is no word in any text.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    return sparse.csr_array(CountVectorizer(stop_words="english").fit_transform(texts))


def tf_idf(
    counts: sparse.csr_array, num_words: int = NUM_WORDS, scaling: str = "sqrt_dim"
) -> sparse.csr_array:
    """Returns tf-idf of the most frequent words, as the papers' data were made.

    For a word that a text has c > 0 times and n of the N texts have, it is
    (1 + log c) (1 + log((1 + N) / (1 + n))); then rows are scaled, see `scale_rows`.
    This is DEC's published step, which VaDE's and DGG's data come from.

    Args:
      counts: how often each text has each word, shape [N, V].
      num_words: D, of those that are most frequent in all texts together; all if V is
        less.
      scaling: of the rows, a key of TFIDF_SCALINGS.

    Returns:
      float32 of shape [N, min(D, V)], words in the order of counts.

    Raises:
      InvalidInput: if scaling is unknown.
    """
    from sklearn.feature_extraction.text import TfidfTransformer

    counts = most_frequent(counts, counts.sum(axis=0), num_words)
    weights = TfidfTransformer(norm=None, sublinear_tf=True).fit_transform(counts)
    return scale_rows(weights, scaling)


def most_frequent(
    x: sparse.csr_array, frequencies: np.ndarray, num_words: int
) -> sparse.csr_array:
    """Returns the columns of the most frequent words, in the order they had.

    Args:
      x: one column a word, shape [N, V].
      frequencies: of the words, shape [V]; of equal ones the first is taken.
      num_words: how many; all if V is less.
    """
    order = np.argsort(-np.ravel(frequencies), kind="stable")
    return sparse.csr_array(x)[:, np.sort(order[:num_words])]


def scale_rows(x: sparse.csr_array, scaling: str = "sqrt_dim") -> sparse.csr_array:
    """Returns the rows, each divided by its Euclidean length and scaled.

    Args:
      x: shape [N, D].
      scaling: "sqrt_dim" makes rows of length sqrt(D), a mean square of 1 for each
        value, as in DEC's and VaDE's published data; "unit" rows of length 1. Rows of
        zeros stay so.

    Returns:
      float32 of shape [N, D].

    Raises:
      InvalidInput: if scaling is unknown.
    """
    checks.one_of("scaling", scaling, TFIDF_SCALINGS)
    x = sparse.csr_array(x, dtype=np.float64, copy=True)
    squares = (x * x).sum(axis=1)
    squared_length = TFIDF_SCALINGS[scaling](x.shape[1])
    factors = np.sqrt(squared_length / np.where(squares > 0, squares, 1.0))
    x.data *= np.repeat(factors, np.diff(x.indptr))
    return x.astype(np.float32)


def tf_idf_variance(variance: float, dim: int, scaling: str) -> float:
    """Returns lambda for a scaling of rows of words.

    Lambda is in squared units of x, and goes with the squared length of the rows.

    Args:
      variance: lambda for rows of length sqrt(D): DGG's is 10 (errata E26, E42).
      dim: D, the number of words.
      scaling: a key of TFIDF_SCALINGS; "unit" needs lambda / D.

    Raises:
      InvalidInput: if scaling is unknown.
    """
    checks.one_of("scaling", scaling, TFIDF_SCALINGS)
    return variance * TFIDF_SCALINGS[scaling](dim) / dim


def are_words(x: np.ndarray | sparse.csr_array) -> bool:
    """Whether rows [N, D] are of words: stored sparse, or less than 5% are not 0."""
    if sparse.issparse(x):
        return True
    counted = sum(np.count_nonzero(block) for _, block in checks.blocks(x))
    return counted < 0.05 * math.prod(x.shape)


def likelihood_for(x: np.ndarray | sparse.csr_array) -> tuple[str, float]:
    """The likelihood for data of the user's own, and lambda if it is the Gaussian one.

    That is Bernoulli for values in [0, 1], else Gaussian; lambda is a tenth of the
    columns' mean variance.

    Args:
      x: data, NaN where a value is missing, shape [N, D].
    """
    if sparse.issparse(x):
        unit_interval = x.min() >= 0.0 and x.max() <= 1.0
    else:
        unit_interval = _least(x) >= 0.0 and _most(x) <= 1.0
    mean = column_means(x)
    squares, missing = 0.0, 0
    for _, block in checks.blocks(x):
        deviations = block - mean
        if checks.has_nan(block):
            missing += np.count_nonzero(np.isnan(block))
            deviations[np.isnan(block)] = 0.0
        squares += (deviations**2).sum()
    variance = 0.1 * float(squares / (math.prod(x.shape) - missing))
    return "bernoulli" if unit_interval else "gaussian", max(variance, 1e-6)
