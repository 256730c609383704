"""The likelihoods p(x | z) of eq. (3) of DGG, for one data point.

Each likelihood answers three questions, all in nats with every constant kept:

- ``log_prob(x, decoded)``: ln p(x | z) of one point;
- ``sufficient_statistics(x)``: T(x), with ln p(x | z) affine in T(x);
- ``smoothed_log_prob(statistics, degree, decoded)``: sum_i A_ij ln p(x_i | z_j) from
  t_j = sum_i A_ij T(x_i) and d_j = sum_i A_ij alone. The neighbours have disappeared
  into statistics, which is what makes the node form of the objective as cheap as a VAE.

Likelihoods are pytrees: lambda is an argument of compiled functions, not a constant in
them, so that data sets with different lambdas share what is compiled.

The Gaussians' raw statistics cancel in float32 when the data lie far from 0 relative to
their spread; training carries ``CenteredStatistics`` instead, which every Gaussian's
``smoothed_log_prob`` accepts in their place.
"""

import dataclasses
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from dgg_jax import checks
from dgg_jax.distributions import LOG_2PI, gaussian_log_prob
from dgg_jax.types import Gaussian


class CenteredStatistics(NamedTuple):
    """The Gaussian statistics of a weighted set of points, about their mean.

    Attributes:
      mean: t1_j / d_j with t1_j = sum_i A_ij x_i, shape [D].
      scatter: sum_i A_ij (x_i - mean)^2: shape [D], or its sum over the features (a
        scalar) where one fixed variance makes that sufficient.
    """

    mean: jax.Array
    scatter: jax.Array


class CountStatistics(NamedTuple):
    """The statistics of counts x_i and their sizes s_i = sum_m x_im.

    Attributes:
      counts: sum_i A_ij x_i, shape [D].
      sized_counts: sum_i A_ij s_i x_i, shape [D].
      size: sum_i A_ij s_i, a scalar.
      constant: sum_i A_ij of what of ln p(x_i | z) no z changes, a scalar.
    """

    counts: jax.Array
    sized_counts: jax.Array
    size: jax.Array
    constant: jax.Array


class MaskedStatistics(NamedTuple):
    """The statistics of rows some of whose values are missing.

    Attributes:
      statistics: of the values that are there, as the likelihood has them.
      degree: sum_i A_ij over the rows that have the column, shape [D].
    """

    statistics: Any
    degree: jax.Array


class BatchStatistics(NamedTuple):
    """The statistics of rows of several batches, apart for each.

    Attributes:
      statistics: as the likelihood has them, leaves of shape [M, ...].
      degree: sum_i A_ij over the rows of the batch, shape [M].
    """

    statistics: Any
    degree: jax.Array


class Likelihood(Protocol):
    """What an ELBO asks of p(x | z); decoded is whatever the decoder returns.

    The shapes of x, statistics and decoded are checked here alone: only a likelihood
    knows which go together.
    """

    def log_prob(self, x: jax.Array, decoded: Any) -> jax.Array:
        """ln p(x | z) of one point in nats, a scalar."""
        ...

    def sufficient_statistics(self, x: jax.Array) -> Any:
        """T(x), a pytree of arrays."""
        ...

    def smoothed_log_prob(
        self, statistics: Any, degree: jax.Array, decoded: Any
    ) -> jax.Array:
        """sum_i A_ij ln p(x_i | z_j) from statistics of the x_i, a scalar."""
        ...

    def mean(self, decoded: Any) -> jax.Array:
        """E[x | z], shape [D]."""
        ...


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Constant:
    """A likelihood of the user's own class, as a constant of compiled functions.

    Its class is left as it is: to register it, as whatever pytree, is the user's.

    Attributes:
      likelihood: hashable; equal ones share what is compiled.
    """

    likelihood: Likelihood

    def log_prob(self, x: jax.Array, decoded: Any) -> jax.Array:
        """As ``Likelihood``'s."""
        return self.likelihood.log_prob(x, decoded)

    def sufficient_statistics(self, x: jax.Array) -> Any:
        """As ``Likelihood``'s."""
        return self.likelihood.sufficient_statistics(x)

    def smoothed_log_prob(
        self, statistics: Any, degree: jax.Array, decoded: Any
    ) -> jax.Array:
        """As ``Likelihood``'s."""
        return self.likelihood.smoothed_log_prob(statistics, degree, decoded)

    def mean(self, decoded: Any) -> jax.Array:
        """As ``Likelihood``'s."""
        return self.likelihood.mean(decoded)


def as_pytree(likelihood: Likelihood) -> Likelihood:
    """A likelihood as compiled functions take it: itself, if its class is a pytree."""
    is_leaf = jax.tree_util.all_leaves([likelihood])
    return Constant(likelihood) if is_leaf else likelihood


def _axes_of(degree: Any) -> str:
    """Of a degree: a scalar, or one of each column where values are missing."""
    return "D" if jnp.ndim(degree) else ""


def _weighted(degree: jax.Array, values: jax.Array) -> jax.Array:
    """sum_m d_m v_m of values [D] and a degree, of each column [D] or of all."""
    if jnp.ndim(degree):
        return jnp.sum(degree * values)
    return degree * jnp.sum(values)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Bernoulli:
    """Independent Bernoulli features; ``decoded`` are logits of shape [D].

    For grey values x in [0, 1] the log-probability is the expected one of a pixel
    binarised with probability x.

    Example:
      >>> import jax.numpy as jnp
      >>> from dgg_jax.likelihoods import Bernoulli
      >>> bernoulli, x, logits = Bernoulli(), jnp.array([1.0, 0.0, 0.5]), jnp.zeros(3)
      >>> bernoulli.log_prob(x, logits)  # 3 ln 1/2
      Array(-2.0794, dtype=float32)

      Two points that the same source decodes, at once:

      >>> statistics = 2 * bernoulli.sufficient_statistics(x)
      >>> bernoulli.smoothed_log_prob(statistics, 2.0, logits)
      Array(-4.1589, dtype=float32)
    """

    def log_prob(self, x: jax.Array, decoded: jax.Array) -> jax.Array:
        r"""ln p(x | z), the first line of eq. (21) of DGG.

        .. math:: \sum_m \left( x_m l_m - \operatorname{softplus}(l_m) \right)

        Args:
          x: values in [0, 1], shape [D].
          decoded: logits l, shape [D].

        Returns:
          ln p(x | z) in nats, a scalar.

        Raises:
          InvalidInput: if shapes are not as above.
        """
        checks.shapes(x=(x, "D"), decoded=(decoded, "D"))
        return jnp.sum(x * decoded - jax.nn.softplus(decoded))

    def sufficient_statistics(self, x: jax.Array) -> jax.Array:
        """T(x) = x, shape [D].

        Raises:
          InvalidInput: if x is not of shape [D].
        """
        checks.shapes(x=(x, "D"))
        return x

    def smoothed_log_prob(
        self, statistics: jax.Array, degree: jax.Array, decoded: jax.Array
    ) -> jax.Array:
        r"""The log-probability of all points that the source j speaks for.

        .. math:: \sum_m \left( t_{jm} l_m - d_j \operatorname{softplus}(l_m) \right)

        Args:
          statistics: t_j = sum_i A_ij x_i, shape [D].
          degree: d_j = sum_i A_ij, a scalar; of each column [D] if values are missing.
          decoded: logits l of the source j, shape [D].

        Returns:
          sum_i A_ij ln p(x_i | z_j) in nats, a scalar.

        Raises:
          InvalidInput: if shapes are not as above.
        """
        checks.shapes(
            statistics=(statistics, "D"),
            degree=(degree, _axes_of(degree)),
            decoded=(decoded, "D"),
        )
        return jnp.sum(statistics * decoded - degree * jax.nn.softplus(decoded))

    def mean(self, decoded: jax.Array) -> jax.Array:
        """E[x | z] = sigmoid(l), shape [D]."""
        return jax.nn.sigmoid(decoded)


@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass(frozen=True)
class GaussianLikelihood:
    """N(x; decoded, variance I) with one fixed variance, DGG's lambda.

    Attributes:
      variance: lambda of eq. (3) of DGG, in squared units of x; positive.

    Example:
      >>> import jax.numpy as jnp
      >>> from dgg_jax.likelihoods import GaussianLikelihood
      >>> GaussianLikelihood(0.25).log_prob(jnp.array([1.0]), jnp.array([0.5]))
      Array(-0.7258, dtype=float32)
      >>> GaussianLikelihood(variance=0.0)
      Traceback (most recent call last):
      ValueError: variance must be positive and finite, got 0.0.
    """

    variance: float = 1.0

    def __post_init__(self):
        if not 0.0 < self.variance < float("inf"):
            raise ValueError(
                f"variance must be positive and finite, got {self.variance!r}."
            )

    def tree_flatten(self) -> tuple[tuple[Any], None]:
        """The variance as the leaf of a pytree."""
        return (self.variance,), None

    @classmethod
    def tree_unflatten(cls, _: None, leaves: tuple[Any]) -> "GaussianLikelihood":
        """The likelihood of a leaf, which may be traced and is not checked."""
        likelihood = object.__new__(cls)
        object.__setattr__(likelihood, "variance", leaves[0])
        return likelihood

    def log_prob(self, x: jax.Array, decoded: jax.Array) -> jax.Array:
        r"""ln N(x; mu, lambda I).

        .. math::
          -\frac{D}{2} \ln (2\pi\lambda) - \frac{\lVert x - \mu \rVert^2}{2\lambda}

        Supplement eq. (6) of DGG with its sign corrected and its constant kept (erratum
        E9).

        Args:
          x: shape [D].
          decoded: the mean mu, shape [D].

        Returns:
          ln p(x | z) in nats, a scalar.

        Raises:
          InvalidInput: if shapes are not as above.
        """
        checks.shapes(x=(x, "D"), decoded=(decoded, "D"))
        constant = x.size * (LOG_2PI + jnp.log(self.variance))
        return -0.5 * (constant + jnp.sum((x - decoded) ** 2) / self.variance)

    def sufficient_statistics(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """``T(x) = (x, |x|^2)``, shapes [D] and [].

        Raises:
          InvalidInput: if x is not of shape [D].
        """
        checks.shapes(x=(x, "D"))
        return x, jnp.sum(x * x)

    def smoothed_log_prob(
        self,
        statistics: tuple[jax.Array, jax.Array] | CenteredStatistics,
        degree: jax.Array,
        decoded: jax.Array,
    ) -> jax.Array:
        r"""sum_i A_ij ln N(x_i; mu, lambda I).

        .. math::
          -\tfrac{1}{2} \left[ d_j D \ln (2\pi\lambda)
          + \frac{s_j + d_j \lVert \bar{x}_j - \mu \rVert^2}{\lambda} \right]

        with the mean :math:`\bar{x}_j` of the points and their scatter s_j about it.

        Args:
          statistics: ``(t1, t2) = sum_i A_ij (x_i, |x_i|^2)``, or CenteredStatistics
            with a scalar scatter, which does not cancel.
          degree: d_j = sum_i A_ij, a scalar; of each column [D] if values are missing.
          decoded: the source's mean mu, shape [D].

        Returns:
          The sum in nats, a scalar.

        Raises:
          InvalidInput: if shapes are not as above.
        """
        checks.shapes(
            statistics=(statistics, ("D", "")),
            degree=(degree, _axes_of(degree)),
            decoded=(decoded, "D"),
        )
        if isinstance(statistics, CenteredStatistics):
            distance = (statistics.mean - decoded) ** 2
            squared = statistics.scatter + _weighted(degree, distance)
        else:
            first, second = statistics
            squared = second - 2.0 * jnp.sum(first * decoded)
            squared = squared + _weighted(degree, decoded**2)
        size = degree * decoded.size if jnp.ndim(degree) == 0 else jnp.sum(degree)
        constant = size * (LOG_2PI + jnp.log(self.variance))
        return -0.5 * (constant + squared / self.variance)

    def mean(self, decoded: jax.Array) -> jax.Array:
        """E[x | z] = decoded, shape [D]."""
        return decoded


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class LearnedVarianceGaussian:
    """N(x; mean, exp(logvar)) with both decoded from z, as eq. (2) of VaDE prints.

    Example:
      >>> import jax.numpy as jnp
      >>> from dgg_jax.likelihoods import LearnedVarianceGaussian
      >>> from dgg_jax.types import Gaussian
      >>> decoded = Gaussian(jnp.array([0.5]), jnp.log(jnp.array([0.25])))
      >>> LearnedVarianceGaussian().log_prob(jnp.array([1.0]), decoded)
      Array(-0.7258, dtype=float32)
    """

    def log_prob(self, x: jax.Array, decoded: Gaussian) -> jax.Array:
        """ln N(x; mean, exp(logvar)).

        Args:
          x: shape [D].
          decoded: Gaussian(mean, logvar), shapes [D].

        Returns:
          ln p(x | z) in nats, a scalar.

        Raises:
          InvalidInput: if shapes are not as above.
        """
        checks.shapes(x=(x, "D"), decoded=(decoded, "D"))
        return gaussian_log_prob(x, decoded)

    def sufficient_statistics(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """T(x) = (x, x * x), both of shape [D].

        Raises:
          InvalidInput: if x is not of shape [D].
        """
        checks.shapes(x=(x, "D"))
        return x, x * x

    def smoothed_log_prob(
        self,
        statistics: tuple[jax.Array, jax.Array] | CenteredStatistics,
        degree: jax.Array,
        decoded: Gaussian,
    ) -> jax.Array:
        r"""sum_i A_ij ln N(x_i; mu, v).

        .. math::
          -\tfrac{1}{2} \sum_m \left[ d_j \ln (2\pi v_m)
          + \frac{s_{jm} + d_j (\bar{x}_{jm} - \mu_m)^2}{v_m} \right]

        with the mean :math:`\bar{x}_j` of the points and their scatter s_j about it.

        Args:
          statistics: (t1, t2) = sum_i A_ij (x_i, x_i * x_i), or CenteredStatistics with
            a scatter of shape [D], which does not cancel.
          degree: d_j = sum_i A_ij, a scalar; of each column [D] if values are missing.
          decoded: the source's Gaussian(mean mu, logvar ln v), shapes [D].

        Returns:
          The sum in nats, a scalar.

        Raises:
          InvalidInput: if shapes are not as above.
        """
        checks.shapes(
            statistics=(statistics, "D"),
            degree=(degree, _axes_of(degree)),
            decoded=(decoded, "D"),
        )
        if isinstance(statistics, CenteredStatistics):
            distance = (statistics.mean - decoded.mean) ** 2
            squared = statistics.scatter + degree * distance
        else:
            first, second = statistics
            squared = second - 2.0 * first * decoded.mean + degree * decoded.mean**2
        return -0.5 * jnp.sum(
            degree * (LOG_2PI + decoded.logvar) + squared * jnp.exp(-decoded.logvar)
        )

    def mean(self, decoded: Gaussian) -> jax.Array:
        """E[x | z] = decoded.mean, shape [D]."""
        return decoded.mean


@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass(frozen=True)
class NegativeBinomial:
    r"""Counts whose variance is mu + mu^2 / dispersion; ``decoded`` are logits [D].

    The mean of column m is :math:`\mu_m = s \rho_m`, with the shares
    :math:`\rho = \operatorname{softmax}(l)` and the size :math:`s = \sum_m x_m` of the
    row: how deep a cell was sequenced, how long a text is, says nothing of its cluster
    (Lopez et al., "Deep generative modeling for single-cell transcriptomics", Nature
    Methods 2018, has the same with s and the dispersion learned). With a dispersion of
    infinity counts are Poisson's.

    Attributes:
      dispersion: theta, the same for all columns; positive.

    Example:
      >>> import jax.numpy as jnp
      >>> from dgg_jax.likelihoods import NegativeBinomial
      >>> x, logits = jnp.array([3.0, 0.0, 1.0]), jnp.zeros(3)
      >>> NegativeBinomial(2.0).log_prob(x, logits)
      Array(-4.6507, dtype=float32)
    """

    dispersion: float = 10.0

    def __post_init__(self):
        if not 0.0 < self.dispersion < float("inf"):
            raise ValueError(
                f"dispersion must be positive and finite, got {self.dispersion!r}."
            )

    def tree_flatten(self) -> tuple[tuple[Any], None]:
        """The dispersion as the leaf of a pytree."""
        return (self.dispersion,), None

    @classmethod
    def tree_unflatten(cls, _: None, leaves: tuple[Any]) -> "NegativeBinomial":
        """The likelihood of a leaf, which may be traced and is not checked."""
        likelihood = object.__new__(cls)
        object.__setattr__(likelihood, "dispersion", leaves[0])
        return likelihood

    def log_prob(self, x: jax.Array, decoded: jax.Array) -> jax.Array:
        r"""ln p(x | z).

        .. math::
          \sum_m \ln \frac{\Gamma(x_m + \theta)}{\Gamma(\theta) \, x_m!}
          + x_m \ln \frac{\mu_m}{\theta}
          - (x_m + \theta) \ln \left(1 + \frac{\mu_m}{\theta}\right)

        Args:
          x: counts, shape [D].
          decoded: logits l of the shares, shape [D].

        Returns:
          ln p(x | z) in nats, a scalar; 0 of a row without counts.

        Raises:
          InvalidInput: if shapes are not as above.
        """
        checks.shapes(x=(x, "D"), decoded=(decoded, "D"))
        # Of one row the bound is exact.
        return self.smoothed_log_prob(self.sufficient_statistics(x), 1.0, decoded)

    def sufficient_statistics(self, x: jax.Array) -> CountStatistics:
        """Sums of a row, of which ``smoothed_log_prob`` makes its bound.

        Raises:
          InvalidInput: if x is not of shape [D].
        """
        checks.shapes(x=(x, "D"))
        x = jnp.asarray(x)
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))  # counts may be whole
        size = jnp.sum(x)
        constant = _log_rising(x, self.dispersion) - jax.lax.lgamma(x + 1.0)
        return CountStatistics(
            x, x * size, size, jnp.sum(constant) + jax.scipy.special.xlogy(size, size)
        )

    def smoothed_log_prob(
        self, statistics: CountStatistics, degree: jax.Array, decoded: jax.Array
    ) -> jax.Array:
        r"""A lower bound of sum_i A_ij ln p(x_i | z_j); rows of one size reach it.

        .. math::
          \sum_m t_{jm} \ln \frac{\rho_m}{\theta} - (t_{jm} + d_j \theta)
          \ln \left( 1 + \frac{\bar{s}_{jm} \rho_m}{\theta} \right) + \text{constant},
          \qquad
          \bar{s}_{jm} = \frac{\sum_i A_{ij} (x_{im} + \theta) s_i}
          {\sum_i A_{ij} (x_{im} + \theta)}

        The logarithm of 1 + s rho / theta is concave in the size s: of rows of several
        sizes it is at most that of their mean, weighed as their logarithms are.

        Args:
          statistics: sums over A of ``sufficient_statistics``.
          degree: d_j = sum_i A_ij, a scalar.
          decoded: logits l of the source j, shape [D].

        Returns:
          The bound in nats, a scalar.

        Raises:
          InvalidInput: if shapes are not as above.
        """
        checks.shapes(
            statistics=(statistics, ("D", "D", "", "")),
            degree=(degree, ""),
            decoded=(decoded, "D"),
        )
        counts, sized_counts, size, constant = statistics
        weight = counts + degree * self.dispersion
        # At eta = 2 a point may speak for none.
        mean_size = (sized_counts + self.dispersion * size) / jnp.maximum(weight, 1e-30)
        log_share = jax.nn.log_softmax(decoded)
        ratio = mean_size * jnp.exp(log_share) / self.dispersion
        return constant + jnp.sum(counts * log_share - weight * jnp.log1p(ratio))

    def mean(self, decoded: jax.Array) -> jax.Array:
        """E[x | z] of a row of as many counts as columns: D softmax(l), shape [D]."""
        return decoded.size * jax.nn.softmax(decoded)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Masked:
    r"""A likelihood of the values that are there; those that are missing are NaN.

    .. math:: \ln p(x_{\text{there}} \mid z)

    Columns are independent given z, so that what is missing drops out of the sum: the
    bound is that of the values that are there. It is all that they say if what makes
    others missing does not depend on these (missing at random; Nazabal et al.,
    "Handling incomplete heterogeneous data using VAEs", Pattern Recognition 2020).

    Attributes:
      likelihood: Bernoulli, GaussianLikelihood or LearnedVarianceGaussian.

    Example:
      >>> import jax.numpy as jnp
      >>> from dgg_jax.likelihoods import Bernoulli, Masked
      >>> x = jnp.array([1.0, jnp.nan, 0.5])
      >>> Masked(Bernoulli()).log_prob(x, jnp.zeros(3))  # 2 ln 1/2
      Array(-1.3863, dtype=float32)
    """

    likelihood: Any

    def log_prob(self, x: jax.Array, decoded: Any) -> jax.Array:
        """ln p of the values of x [D] that are there, in nats, a scalar.

        Raises:
          InvalidInput: if shapes do not fit the likelihood.
        """
        statistics, there = self.sufficient_statistics(x)
        if not isinstance(self.likelihood, Bernoulli):
            # In which nothing cancels: one value does not scatter about itself.
            first, second = statistics
            statistics = CenteredStatistics(first, jnp.zeros_like(second))
        return self.likelihood.smoothed_log_prob(statistics, there, decoded)

    def sufficient_statistics(self, x: jax.Array) -> MaskedStatistics:
        """T of the values that are there, and where these are.

        Raises:
          InvalidInput: if x is not of shape [D].
        """
        there = ~jnp.isnan(x)
        return MaskedStatistics(
            self.likelihood.sufficient_statistics(jnp.where(there, x, 0.0)),
            there.astype(x.dtype),
        )

    def smoothed_log_prob(
        self, statistics: MaskedStatistics, degree: jax.Array, decoded: Any
    ) -> jax.Array:
        """sum_i A_ij ln p of what is there of x_i, a scalar.

        Args:
          statistics: sums over A of ``sufficient_statistics``, those of Gaussians also
            centred.
          degree: not used: each column has its own.
          decoded: as the likelihood takes it.

        Raises:
          InvalidInput: if shapes do not fit the likelihood.
        """
        del degree
        return self.likelihood.smoothed_log_prob(*statistics, decoded)

    def mean(self, decoded: Any) -> jax.Array:
        """E[x | z], also of what is missing, shape [D]."""
        return self.likelihood.mean(decoded)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class InBatches:
    r"""A likelihood of rows measured in M batches, each of which has its own p(x | z).

    A row is followed by the one-hot vector of its batch, shape [D + M], and ``decoded``
    is what z is decoded to in each batch, leaves [M, ...]: a row is explained by that
    of its own.

    .. math:: \ln p(x \mid z, b), \qquad
      \sum_i A_{ij} \ln p(x_i \mid z_j, b_i)
      = \sum_b \sum_{i: b_i = b} A_{ij} \ln p(x_i \mid z_j, b)

    Attributes:
      likelihood: of the values of a row.
      num_batches: M.

    Example:
      >>> import jax.numpy as jnp
      >>> from dgg_jax.likelihoods import GaussianLikelihood, InBatches
      >>> decoded = jnp.array([[0.5], [-3.0]])  # in each of two batches
      >>> x = jnp.array([1.0, 1.0, 0.0])  # a value, of the first batch
      >>> InBatches(GaussianLikelihood(0.25), 2).log_prob(x, decoded)
      Array(-0.7258, dtype=float32)
    """

    likelihood: Any
    num_batches: int = dataclasses.field(metadata={"static": True})

    def log_prob(self, x: jax.Array, decoded: Any) -> jax.Array:
        """ln p(x | z, b) of the values of x [D + M] in their batch, a scalar.

        Raises:
          InvalidInput: if shapes do not fit the likelihood.
        """
        batch = jnp.argmax(x[-self.num_batches :])
        own = jax.tree.map(lambda leaf: leaf[batch], decoded)
        return self.likelihood.log_prob(x[: -self.num_batches], own)

    def sufficient_statistics(self, x: jax.Array) -> BatchStatistics:
        """T of the values in the batch of the row, and 0 in all others.

        Raises:
          InvalidInput: if shapes do not fit the likelihood.
        """
        batch = x[-self.num_batches :]
        own = self.likelihood.sufficient_statistics(x[: -self.num_batches])
        statistics = jax.tree.map(lambda leaf: jnp.multiply.outer(batch, leaf), own)
        return BatchStatistics(statistics, batch)

    def smoothed_log_prob(
        self, statistics: BatchStatistics, degree: jax.Array, decoded: Any
    ) -> jax.Array:
        """sum_i A_ij ln p(x_i | z_j, b_i), a scalar.

        Args:
          statistics: sums over A, of the rows of each batch.
          degree: not used: each batch has its own.
          decoded: of the source j, leaves [M, ...].

        Raises:
          InvalidInput: if shapes do not fit the likelihood.
        """
        del degree
        of_batches = jax.vmap(self.likelihood.smoothed_log_prob)
        return jnp.sum(of_batches(*statistics, decoded))

    def mean(self, decoded: Any) -> jax.Array:
        """E[x | z], the mean over the batches, shape [D]."""
        return jnp.mean(jax.vmap(self.likelihood.mean)(decoded), axis=0)


def _log_rising(x: jax.Array, start: jax.Array) -> jax.Array:
    r"""ln Gamma(x + start) / (Gamma(start) start^x), without cancellation.

    It is the sum of ln(1 + k / start) over k < x. From 10 on it is Stirling's series,
    whose terms are as small as the result.
    """

    def series(z):
        return 1 / (12 * z) - 1 / (360 * z**3) + 1 / (1260 * z**5)

    large = jnp.maximum(start, 10.0)
    by_series = (
        (x + large - 0.5) * jnp.log1p(x / large) - x + series(x + large) - series(large)
    )
    small = jnp.minimum(start, 10.0)
    directly = jax.lax.lgamma(x + small) - jax.lax.lgamma(jnp.asarray(small, x.dtype))
    return jnp.where(start > 10.0, by_series, directly - x * jnp.log(small))
