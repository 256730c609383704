"""The contrastive loss of the Siamese network that measures similarity."""

import jax
import jax.numpy as jnp


def contrastive_loss(
    embedding_a: jax.Array,
    embedding_b: jax.Array,
    is_positive: jax.Array,
    margin: float = 3.0,
) -> jax.Array:
    """Pulls a positive pair together, pushes a negative pair to the margin.

    d^2 for a positive pair, max(margin - d, 0)^2 for a negative one, with
    d = |f(a) - f(b)|: supplement eq. (19) of DGG, on embeddings (erratum E14).

    Args:
      embedding_a: f(a), shape [L].
      embedding_b: f(b), shape [L].
      is_positive: whether a and b are neighbours, a boolean scalar.
      margin: the supplement's c, in units of the embedding.

    Returns:
      The loss of the pair, a scalar.
    """
    squared = jnp.sum((embedding_a - embedding_b) ** 2)
    # The root's gradient is infinite at 0; there the pair gets none.
    distinct = squared > 0.0
    distance = jnp.where(distinct, jnp.sqrt(jnp.where(distinct, squared, 1.0)), 0.0)
    return jnp.where(is_positive, squared, jnp.maximum(margin - distance, 0.0) ** 2)
