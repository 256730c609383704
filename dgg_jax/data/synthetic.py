"""Generated data: half circles, five arcs, and large ones to measure with."""

import numpy as np
from scipy import sparse, special

from dgg_jax import checks
from dgg_jax.data import preprocessing
from dgg_jax.data.dataset import Dataset, Options

RADIUS = 1.0
NOISE = 0.05
# From the end of one half circle straight down (or up) to the middle of the other.
GAPS = {"near": 0.3, "far": 0.75}

# The five arcs, before they are scaled to unit variance.
ARC_START = 0.45
ARC_ANGLE = 2.5
ARC_NOISE = 0.05


def half_circles(
    num_per_class: int = 2000, distance: str = "near", seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns two interleaved half circles of points in the plane.

    The paper has 2,000 points a class, at two distances "near" and "far"; erratum E33:
    it does not state radius, offset or noise. Ours: radius 1; the upper half circle is
    (cos t, sin t), the lower one (1 - cos t, 1 - gap - sin t), t uniform in [0, pi], so
    that each ends `gap` away from the middle of the other; Gaussian noise of standard
    deviation 0.05 in both coordinates. The gap is 0.3 for "near" and 0.75 for "far".

    Measured with 2,000 points a class: of the edges of the graph of 40 nearest
    neighbours, 0.02 % to 0.07 % join the two classes for "near" and none for "far"
    (seeds 0 to 4). K-means with K = 2 reaches an accuracy of 0.72 to 0.73 and 0.79
    (seeds 0 and 1).

    Args:
      num_per_class: points in each half circle, at least 1.
      distance: "near" or "far".
      seed: of the angles, the noise and the order of the rows; not negative.

    Returns:
      x, float32 of shape [2 * num_per_class, 2], and y, int32 of shape
      [2 * num_per_class], 0 for the upper half circle and 1 for the lower one; the rows
      are shuffled.

    Raises:
      InvalidInput: if an argument is outside of the above.
    """
    checks.in_range("num_per_class", num_per_class, 1)
    checks.one_of("distance", distance, tuple(GAPS))
    checks.in_range("seed", seed, 0)
    rng = np.random.default_rng(seed)
    upper, lower = rng.uniform(0.0, np.pi, (2, num_per_class))
    x = np.concatenate(
        [
            np.stack([np.cos(upper), np.sin(upper)], axis=1),
            np.stack([1.0 - np.cos(lower), 1.0 - np.sin(lower)], axis=1),
        ]
    )
    x *= RADIUS
    x[num_per_class:, 1] -= GAPS[distance]
    x += rng.normal(0.0, NOISE, x.shape)
    y = np.repeat(np.arange(2, dtype=np.int32), num_per_class)
    order = rng.permutation(len(x))
    return x[order].astype(np.float32), y[order]


def five_arcs(num_points: int = 10_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns points on arcs of five circles, arranged like a pinwheel in the plane.

    The synthetic data of GMVAE, section 4.1: "10,000 data points created from the arcs
    of 5 circles", after Johnson et al. (2016). Radius, angles and noise are not stated
    (as in erratum E33). Ours: arc k is (0.45 + sin t, 1 - cos t), t uniform in
    [0, 2.5], turned about the origin by k * 72 degrees: circles of radius 1, each arc
    starting outwards at a distance of 0.45 from the origin. Gaussian noise of standard
    deviation 0.05 in both coordinates. Then all is divided by the standard deviation of
    this distribution, 1.090, so that both coordinates have mean 0 and variance 1.

    Measured with 10,000 points (seeds 0 and 1): no edge of the graph of 20 nearest
    neighbours joins two classes. With K = 5, K-means reaches an accuracy of 0.91 and a
    Gaussian mixture one of 0.79 and 0.72.

    Args:
      num_points: N, at least 5; the classes have N / 5 points each, the first ones one
        more where 5 does not divide N.
      seed: of the angles, the noise and the order of the rows; not negative.

    Returns:
      x, float32 of shape [N, 2], and y, int32 of shape [N], k in counterclockwise
      order; the rows are shuffled.

    Raises:
      InvalidInput: if an argument is outside of the above.
    """
    checks.in_range("num_points", num_points, 5)
    checks.in_range("seed", seed, 0)
    rng = np.random.default_rng(seed)
    y = np.sort(np.arange(num_points, dtype=np.int32) % 5)
    angle = rng.uniform(0.0, ARC_ANGLE, num_points)
    arc = ARC_START + np.sin(angle) + 1j * (1.0 - np.cos(angle))
    arc *= np.exp(2j * np.pi * y / 5)
    x = np.stack([arc.real, arc.imag], axis=1)
    x += rng.normal(0.0, ARC_NOISE, x.shape)
    # The mean over t of |arc|^2, half of it for each coordinate.
    squared = 2.0 + ARC_START**2 - 2.0 * np.sin(ARC_ANGLE) / ARC_ANGLE
    squared += 2.0 * ARC_START * (1.0 - np.cos(ARC_ANGLE)) / ARC_ANGLE
    x /= np.sqrt(squared / 2.0 + ARC_NOISE**2)
    order = rng.permutation(num_points)
    return x[order].astype(np.float32), y[order]


def moons(options: Options) -> Dataset:
    """Two half circles, 2,000 points each."""
    distance, seed = options.moons_distance, options.seed
    x, y = half_circles(distance=distance, seed=seed)
    return Dataset(
        x=x,
        y=y,
        name="moons",
        feature_shape=x.shape[1:],
        class_names=("upper", "lower"),
        likelihood="gaussian",
        provenance=(
            f"half_circles(distance={distance!r}, seed={seed}), {len(x):,} rows; no "
            "preprocessing"
        ),
        variance=0.01,
    )


def pinwheel(options: Options) -> Dataset:
    """Five arcs, 10,000 points in all."""
    x, y = five_arcs(seed=options.seed)
    return Dataset(
        x=x,
        y=y,
        name="pinwheel",
        feature_shape=x.shape[1:],
        class_names=tuple(f"arc {number}" for number in range(1, 6)),
        likelihood="gaussian",
        provenance=f"five_arcs(seed={options.seed}), {len(x):,} rows; no preprocessing",
    )


def planted_rows(
    num_rows: int,
    num_columns: int = 784,
    num_clusters: int = 10,
    seed: int = 0,
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns noisy copies of a few rows, to measure with: as many as are wanted.

    A row is half a random row of its cluster and half uniform noise.

    Args:
      num_rows: N.
      num_columns: D.
      num_clusters: K.
      seed: of all random numbers.
      out: where to write x, such as a memory map larger than memory; by default a new
        array.

    Returns:
      x, float32 in [0, 1] of shape [N, D], and y, int32 of shape [N].
    """
    rng = np.random.default_rng(seed)
    y = rng.integers(num_clusters, size=num_rows, dtype=np.int32)
    centers = 0.5 * rng.random((num_clusters, num_columns), np.float32)
    x = np.empty((num_rows, num_columns), np.float32) if out is None else out
    for start, block in checks.blocks(x):
        members = y[start : start + len(block)]
        noise = rng.random(block.shape, np.float32)
        x[start : start + len(block)] = centers[members] + 0.5 * noise
    return x, y


def planted_patches(
    num_rows: int,
    num_columns: int = 128,
    num_clusters: int = 20,
    seed: int = 0,
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns bent patches of six dimensions that lie across each other.

    A row is sigmoid(b + A u) and Gaussian noise of standard deviation 0.05, cut to
    [0, 1], with u uniform in [-1, 1]^6; A and b are those of its cluster, of normal
    numbers of standard deviation 1 and 0.5. With the default sizes, K-means of 20,000
    rows has an adjusted Rand index of 0.24: patches are wider than they are far apart.

    Args:
      num_rows: N.
      num_columns: D.
      num_clusters: K.
      seed: of all random numbers.
      out: where to write x, such as a memory map; by default a new array.

    Returns:
      x, float32 of shape [N, D], and y, int32 of shape [N].
    """
    rng = np.random.default_rng(seed)
    y = rng.integers(num_clusters, size=num_rows, dtype=np.int32)
    slopes = rng.standard_normal((num_clusters, 6, num_columns), np.float32)
    middles = 0.5 * rng.standard_normal((num_clusters, num_columns), np.float32)
    x = np.empty((num_rows, num_columns), np.float32) if out is None else out
    for start, block in checks.blocks(x):
        members = y[start : start + len(block)]
        u = rng.uniform(-1.0, 1.0, (len(block), 6)).astype(np.float32)
        noise = 0.05 * rng.standard_normal(block.shape, np.float32)
        rows = np.empty(block.shape, np.float32)
        for cluster in range(num_clusters):
            own = members == cluster
            rows[own] = middles[cluster] + u[own] @ slopes[cluster]
        x[start : start + len(block)] = np.clip(special.expit(rows) + noise, 0, 1)
    return x, y


def planted_words(
    num_rows: int = 685_071,
    num_words: int = 2000,
    num_clusters: int = 4,
    seed: int = 0,
) -> tuple[sparse.csr_array, np.ndarray]:
    """Returns tf-idf of texts about a few topics, by default of the size of Reuters.

    A text has 60 words on average, drawn with replacement: word number r is drawn with
    a probability in proportion to 1 / (10 + r), and five times as often by the topic,
    one of K, that it belongs to.

    Args:
      num_rows: N, texts.
      num_words: D, at least K.
      num_clusters: K, topics.
      seed: of all random numbers.

    Returns:
      x, float32 of shape [N, D], rows of length sqrt(D) as `preprocessing.tf_idf` makes
      them, and y, the topics, int32 of shape [N].
    """
    rng = np.random.default_rng(seed)
    y = rng.integers(num_clusters, size=num_rows, dtype=np.int32)
    lengths = 1 + rng.poisson(59, num_rows)
    owners = np.repeat(np.arange(num_rows), lengths)
    draws = rng.random(len(owners))
    topic_of_word = rng.permutation(np.arange(num_words) % num_clusters)
    words = np.empty(len(owners), np.int32)
    for topic in range(num_clusters):
        frequency = np.where(topic_of_word == topic, 5.0, 1.0)
        frequency /= 10.0 + np.arange(num_words)
        members = y[owners] == topic
        shares = np.cumsum(frequency) / frequency.sum()
        words[members] = np.searchsorted(shares[:-1], draws[members])
    ones = np.ones(len(owners), np.float32)
    shape = (num_rows, num_words)
    counts = sparse.csr_array(sparse.coo_array((ones, (owners, words)), shape))
    return preprocessing.tf_idf(counts, num_words), y


def planted_neighbors(
    y: np.ndarray, num_neighbors: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns a graph for data with planted clusters, where a search would take long.

    Args:
      y: cluster of each point, shape [N]; each has 2 points or more.
      num_neighbors: k.
      seed: of the draw.

    Returns:
      Indices, int32 of shape [N, k], of other points of the same cluster at random, and
      distances, all 0: as ``graph.knn`` returns neighbours.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(y, kind="stable")
    sizes = np.bincount(y)
    first = (np.cumsum(sizes) - sizes)[y][:, None]
    rank = np.empty(len(y), np.int64)
    rank[order] = np.arange(len(y))
    size = sizes[y][:, None]
    shift = 1 + rng.integers(0, size - 1, (len(y), num_neighbors))
    place = first + (rank[:, None] - first + shift) % size
    indices = order[place].astype(np.int32)
    return indices, np.zeros(indices.shape, np.float32)
