"""The contrastive loss of the Siamese network that measures similarity."""

import jax
import jax.numpy as jnp

from dgg_jax import checks
from dgg_jax.types import Array


def contrastive_loss(
    embedding_a: Array,
    embedding_b: Array,
    is_positive: Array | bool,
    margin: float = 3.0,
) -> jax.Array:
    r"""Pulls a positive pair together, pushes a negative pair to the margin.

    .. math::
      \begin{cases} d^2 & \text{of a positive pair} \\
      \max(c - d, 0)^2 & \text{of a negative pair} \end{cases}
      \qquad d = \lVert f(a) - f(b) \rVert

    Supplement eq. (19) of DGG, on embeddings (erratum E14).

    Args:
      embedding_a: f(a), shape [L].
      embedding_b: f(b), shape [L].
      is_positive: whether a and b are neighbours, a boolean scalar.
      margin: the supplement's c, in units of the embedding.

    Returns:
      The loss of the pair, a scalar.

    Raises:
      InvalidInput: if shapes are not as above.

    Example:
      >>> import jax.numpy as jnp
      >>> from dgg_jax.losses import siamese
      >>> a, b = jnp.array([0.0, 0.0]), jnp.array([2.0, 0.0])
      >>> siamese.contrastive_loss(a, b, True)
      Array(4., dtype=float32)
      >>> siamese.contrastive_loss(a, b, False)
      Array(1., dtype=float32)
    """
    checks.shapes(
        embedding_a=(embedding_a, "L"),
        embedding_b=(embedding_b, "L"),
        is_positive=(is_positive, ""),
        margin=(margin, ""),
    )
    squared = jnp.sum((embedding_a - embedding_b) ** 2)
    return loss_of_squared_distance(squared, is_positive, margin)


def loss_of_squared_distance(
    squared: Array, is_positive: Array | bool, margin: float = 3.0
) -> jax.Array:
    """``contrastive_loss`` of pairs whose squared distances are known.

    Args:
      squared: d^2, of any shape.
      is_positive: whether the two are neighbours, booleans of the same shape.
      margin: the supplement's c, in units of the embedding.

    Returns:
      The loss of each pair, of the same shape.

    Raises:
      InvalidInput: if shapes are not as above.
    """
    checks.shapes(
        squared=(squared, "..."), is_positive=(is_positive, "..."), margin=(margin, "")
    )
    # The root's gradient is infinite at 0; there the pair gets none.
    distinct = squared > 0.0
    distance = jnp.where(distinct, jnp.sqrt(jnp.where(distinct, squared, 1.0)), 0.0)
    return jnp.where(is_positive, squared, jnp.maximum(margin - distance, 0.0) ** 2)
