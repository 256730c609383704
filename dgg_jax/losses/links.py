"""The loss of two rows of which it is known whether they share a cluster."""

import jax
import jax.numpy as jnp

from dgg_jax import checks
from dgg_jax.types import Array

_LEAST = -1e4  # for ln 0: far below any ln q of a network, and finite


def link_loss(
    log_assignment_a: Array, log_assignment_b: Array, together: Array | bool
) -> jax.Array:
    r"""How surprising it is that the link of a pair holds.

    .. math::
      \begin{cases}
      -\ln \sum_k q_a(k) \, q_b(k) & \text{if they must be together} \\
      -\ln \left( 1 - \sum_k q_a(k) \, q_b(k) \right) & \text{if they must not}
      \end{cases}

    with q of the two drawn independently. What is not on the diagonal of the table
    q_a(k) q_b(l) sums to 1 less the diagonal, so both are a sum of positive terms, in
    logarithms: nothing cancels where assignments are sure.

    Args:
      log_assignment_a: ln q_a, shape [K]; -inf is allowed.
      log_assignment_b: ln q_b, shape [K].
      together: whether they must be in one cluster, or must not; a boolean scalar.

    Returns:
      The loss of the pair in nats, a scalar. Its gradient is finite also where it is
      certain that the link does not hold.

    Raises:
      InvalidInput: if shapes are not as above.

    Example:
      >>> import jax.numpy as jnp
      >>> from dgg_jax.losses import links
      >>> a, b = jnp.log(jnp.array([[0.5, 0.5], [0.9, 0.1]]))
      >>> links.link_loss(a, b, True)
      Array(0.6931472, dtype=float32)
      >>> links.link_loss(b, b, False)  # -ln(1 - 0.82)
      Array(1.7147985, dtype=float32)
    """
    checks.shapes(
        log_assignment_a=(log_assignment_a, "K"),
        log_assignment_b=(log_assignment_b, "K"),
        together=(together, ""),
    )
    a, b = jnp.maximum(log_assignment_a, _LEAST), jnp.maximum(log_assignment_b, _LEAST)
    counts = jnp.eye(len(a), dtype=bool) == together
    return -jax.nn.logsumexp(a[:, None] + b[None], where=counts)
