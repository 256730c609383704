"""The loss of DEC: soft assignments pulled towards their own sharpened version.

Xie, Girshick and Farhadi, "Unsupervised deep embedding for clustering analysis", ICML
2016. The paper's text was not at hand: equation numbers are from memory.
"""

import jax
import jax.numpy as jnp

from dgg_jax import checks
from dgg_jax.distributions import expectation, floor_log
from dgg_jax.types import Array


def log_soft_assignment(
    z: Array, centers: Array, degrees_of_freedom: float = 1.0
) -> jax.Array:
    r"""ln q of one point: similarity to each centre by a Student t kernel.

    .. math::
      q_k \propto \left( 1 + \lVert z - \mu_k \rVert^2 / \nu \right)^{-(\nu + 1) / 2}

    Eq. (1) of DEC; the paper sets nu = 1.

    Args:
      z: the embedded point, shape [L].
      centers: mu, shape [K, L].
      degrees_of_freedom: nu, the paper's alpha.

    Returns:
      ln q, shape [K], normalised.

    Raises:
      InvalidInput: if shapes are not as above.

    Example:
      >>> import jax.numpy as jnp
      >>> from dgg_jax.losses import dec
      >>> centers = jnp.array([[0.0], [2.0]])
      >>> jnp.exp(dec.log_soft_assignment(jnp.array([0.0]), centers)).round(2)
      Array([0.83, 0.17], dtype=float32)
    """
    checks.shapes(
        z=(z, "L"),
        centers=(centers, "K L"),
        degrees_of_freedom=(degrees_of_freedom, ""),
    )
    squared = jnp.sum((z[None] - centers) ** 2, axis=1)
    log_kernel = (
        -0.5 * (degrees_of_freedom + 1.0) * jnp.log1p(squared / degrees_of_freedom)
    )
    return jax.nn.log_softmax(log_kernel)


def target_distribution(
    log_assignments: Array, sample_weight: Array | None = None
) -> jax.Array:
    r"""ln p: the assignments of all points, sharpened and with clusters evened out.

    .. math:: p_{ik} \propto q_{ik}^2 / f_k, \qquad f_k = \sum_i q_{ik}

    Eq. (3) of DEC, with the soft frequencies f. It is inherently of a set of points: f
    sums over all of them. The target is a constant of the loss, recomputed now and
    then; it has a gradient, which the caller does not take.

    Args:
      log_assignments: ln q, shape [N, K]; floored at the smallest normal float, so that
        a cluster without points stays empty.
      sample_weight: how much each point counts in f, shape [N]; None: all alike.

    Returns:
      ln p, shape [N, K], rows normalised.

    Raises:
      InvalidInput: if shapes are not as above.
    """
    checks.shapes(log_assignments=(log_assignments, "N K"))
    weights = None
    if sample_weight is not None:
        checks.shapes(
            log_assignments=(log_assignments, "N K"), sample_weight=(sample_weight, "N")
        )
        weights = sample_weight[:, None]
    log_assignments = floor_log(log_assignments)
    log_frequencies = jax.nn.logsumexp(log_assignments, axis=0, b=weights)
    return jax.nn.log_softmax(2.0 * log_assignments - log_frequencies[None], axis=1)


def divergence(log_target: Array, log_assignment: Array) -> jax.Array:
    r"""KL(p || q) of one point, the summand of eq. (2) of DEC.

    .. math:: \operatorname{KL}(p \,\|\, q) = \sum_k p_k \ln \frac{p_k}{q_k}

    Args:
      log_target: ln p, shape [K]; -inf is allowed.
      log_assignment: ln q, shape [K]; floored at the smallest normal float.

    Returns:
      The divergence in nats, a scalar.

    Raises:
      InvalidInput: if shapes are not as above.
    """
    checks.shapes(log_target=(log_target, "K"), log_assignment=(log_assignment, "K"))
    return expectation(log_target, log_target - floor_log(log_assignment))
