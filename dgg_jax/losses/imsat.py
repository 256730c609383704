r"""The loss of IMSAT: information about the data, kept under adversarial perturbation.

Hu, Miyato, Tokui, Matsumoto and Sugiyama, "Learning discrete representations via
information maximizing self-augmented training", ICML 2017. With the mutual information
I(X; Y) = H(Y) - H(Y | X) of data and clusters, it minimises

.. math::
  R_{\mathrm{SAT}} - \lambda \left( \mu H(Y) - H(Y \mid X) \right),
  \qquad \lambda = 0.1, \quad \mu = 4,

where H(Y) = ln K - KL(p(y) || uniform), so that mu weighs how much the clusters should
be of one size. The paper puts this as a constraint, KL(p(y) || uniform) <= delta, whose
penalised form this is, as in the authors' released code. The paper's text was not at
hand; formulas and constants were compared with that code.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dgg_jax import checks
from dgg_jax.distributions import categorical_entropy, expectation, floor_log
from dgg_jax.types import Array


class MutualInformation(NamedTuple):
    """The two terms of I(X; Y), in nats.

    Attributes:
      marginal_entropy: H(Y), scalar.
      conditional_entropy: H(Y | X), scalar.
    """

    marginal_entropy: jax.Array
    conditional_entropy: jax.Array

    @property
    def total(self) -> jax.Array:
        """I(X; Y) = H(Y) - H(Y | X)."""
        return self.marginal_entropy - self.conditional_entropy


def mutual_information(
    log_assignments: Array, sample_weight: Array | None = None
) -> MutualInformation:
    r"""H(Y) and H(Y | X) of the points of a batch, each taken as equally likely.

    .. math::
      I(X; Y) = H\left[ \frac{1}{B} \sum_i p(y \mid x_i) \right]
      - \frac{1}{B} \sum_i H[p(y \mid x_i)]

    It is inherently of a batch: p(y) is the mean of p(y | x) over its points. In the
    mean over batches it is below the H(Y) of all data, as the entropy is concave.

    Points that have weights s are as likely in H(Y) as these say, and each H[p(y | x)]
    is times s: with s of mean 1 over all data, batches then add up to H(Y | X).

    Args:
      log_assignments: ln p(y | x), shape [B, K].
      sample_weight: s, at least 0, shape [B]; None: all are 1. Of a batch in which all
        are 0, both terms are 0.

    Returns:
      MutualInformation of scalars, 0 <= total <= ln K.

    Raises:
      InvalidInput: if shapes are not as above.

    Example:
      Two points, each certain of a cluster of its own: ln 2.

      >>> import jax.numpy as jnp
      >>> from dgg_jax.losses import imsat
      >>> imsat.mutual_information(jnp.log(jnp.eye(2))).total
      Array(0.6931, dtype=float32)
    """
    if sample_weight is not None:
        return _weighted_information(log_assignments, sample_weight)
    checks.shapes(log_assignments=(log_assignments, "B K"))
    # Floored, because the gradient of ln(0 + ... + 0) is NaN.
    log_marginal = jax.nn.logsumexp(floor_log(log_assignments), axis=0) - math.log(
        len(log_assignments)
    )
    return MutualInformation(
        categorical_entropy(log_marginal),
        jnp.mean(jax.vmap(categorical_entropy)(log_assignments)),
    )


def _weighted_information(
    log_assignments: Array, sample_weight: Array
) -> MutualInformation:
    checks.shapes(
        log_assignments=(log_assignments, "B K"), sample_weight=(sample_weight, "B")
    )
    total = jnp.sum(sample_weight)
    counts = total > 0.0
    weights = jnp.where(counts, sample_weight, 1.0)
    log_marginal = jax.nn.logsumexp(
        floor_log(log_assignments), axis=0, b=weights[:, None]
    ) - jnp.log(jnp.sum(weights))
    entropies = jax.vmap(categorical_entropy)(log_assignments)
    return MutualInformation(
        jnp.where(counts, categorical_entropy(log_marginal), 0.0),
        jnp.mean(sample_weight * entropies),
    )


def _unit(directions: Array) -> jax.Array:
    """Rows of length 1; a row of zeros stays."""
    # The largest entry first: squares of small gradients underflow.
    largest = jnp.max(jnp.abs(directions), axis=1, keepdims=True)
    directions = directions / jnp.where(largest > 0.0, largest, 1.0)
    norms = jnp.linalg.norm(directions, axis=1, keepdims=True)
    return directions / jnp.where(norms > 0.0, norms, 1.0)


def adversarial_perturbation(
    classify: Callable[[Any, jax.Array], jax.Array],
    params: Any,
    x: Array,
    radius: Array,
    key: Array,
    *,
    probe: float = 1.0,
    num_iterations: int = 1,
    sample_weight: Array | None = None,
) -> jax.Array:
    r"""The perturbations r of length ``radius`` that change p(y | x) most.

    Virtual adversarial training: from a random direction d, power iterations

    .. math::
      d \leftarrow \text{the direction of }
      \nabla_d \operatorname{KL}(p(y \mid x) \,\|\, p(y \mid x + \xi d)),

    then r = radius d. The gradient is that of the sum over the batch: each row is
    its own problem, but for what batch normalisation shares. It vanishes at xi = 0;
    where it is 0 exactly, the perturbation is 0.

    Args:
      classify: from (params, x [B, D]) to ln p(y | x) [B, K].
      params: of the classifier; they get no gradient from here.
      x: shape [B, D].
      radius: epsilon_i, the paper's alpha times the distance to the 10th neighbour,
        shape [B].
      key: of the random directions.
      probe: xi in units of the radius. The released code has xi = 10 in units of its
        data, on MNIST about 4 of its radii.
      num_iterations: power iterations; the paper has 1.
      sample_weight: of the rows in that sum, shape [B], where batch normalisation knows
        it; None: all are 1. One of weight 0 is not perturbed.

    Returns:
      r, shape [B, D]; no gradient passes.

    Raises:
      InvalidInput: if shapes are not as above.
    """
    checks.shapes(x=(x, "B D"), radius=(radius, "B"), probe=(probe, ""))
    x, params = jax.lax.stop_gradient((x, params))
    log_assignments = classify(params, x)
    checks.shapes(x=(x, "B D"), log_assignments=(log_assignments, "B K"))

    def total_divergence(directions):
        moved = x + probe * radius[:, None] * directions
        perturbed = classify(params, moved)
        divergences = jax.vmap(perturbation_divergence)(log_assignments, perturbed)
        if sample_weight is not None:
            divergences *= sample_weight
        return jnp.sum(divergences)

    directions = _unit(jax.random.normal(key, x.shape, x.dtype))
    for _ in range(num_iterations):
        directions = _unit(jax.grad(total_divergence)(directions))
    return radius[:, None] * directions


def perturbation_divergence(
    log_assignment: Array, perturbed_log_assignment: jax.Array
) -> jax.Array:
    """KL(p(y | x) || p(y | x + r)) of one point, whose mean is R_SAT.

    Args:
      log_assignment: ln p(y | x), shape [K]; a constant, no gradient passes.
      perturbed_log_assignment: ln p(y | x + r), shape [K]; floored at the smallest
        normal float.

    Returns:
      The divergence in nats, a scalar.

    Raises:
      InvalidInput: if shapes are not as above.
    """
    checks.shapes(
        log_assignment=(log_assignment, "K"),
        perturbed_log_assignment=(perturbed_log_assignment, "K"),
    )
    log_assignment = jax.lax.stop_gradient(log_assignment)
    return expectation(
        log_assignment, log_assignment - floor_log(perturbed_log_assignment)
    )


def objective(
    divergence: Array,
    information: MutualInformation,
    *,
    information_weight: float = 0.1,
    marginal_weight: float = 4.0,
) -> jax.Array:
    r"""The objective of a batch, to be minimised.

    .. math:: R_{\mathrm{SAT}} - \lambda \left( \mu H(Y) - H(Y \mid X) \right)

    Args:
      divergence: R_SAT, the mean of ``perturbation_divergence``, a scalar.
      information: of the batch.
      information_weight: lambda.
      marginal_weight: mu.

    Returns:
      A scalar in nats.

    Raises:
      InvalidInput: if shapes are not as above.
    """
    checks.shapes(
        divergence=(divergence, ""),
        information=(information, ""),
        information_weight=(information_weight, ""),
        marginal_weight=(marginal_weight, ""),
    )
    return divergence - information_weight * (
        marginal_weight * information.marginal_entropy - information.conditional_entropy
    )
