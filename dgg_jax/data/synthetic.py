"""Generated data: the half circles of DGG and the five arcs of GMVAE."""

import numpy as np

from dgg_jax import checks
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
