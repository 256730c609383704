"""Rows that losses take their batches from, each with its weight."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dgg_jax.types import Array


class Rows(NamedTuple):
    """Data of a loss that is a mean over rows.

    Attributes:
      x: [N, D]; what gives rows by ``x[indices]``, see ``dgg_jax.placement.rows``.
      likelihood: p(x | z), of a loss that has one.
      sample_weight: how much each row counts, with a mean of 1, [N]; None: all alike.
    """

    x: Any
    likelihood: Any = None
    sample_weight: Array | None = None


def batch_mean(values: Any, sample_weight: Array | None, indices: jax.Array) -> Any:
    r"""Means over a batch of what each of its rows has, times the row's weight.

    .. math:: \frac{1}{B} \sum_{i \in \text{batch}} s_i v_i

    It is not divided by the weights of the batch: over all batches it is then the mean
    over all rows, of which one that is there twice has the weight 2.

    Args:
      values: leaves [B].
      sample_weight: s, of all rows, with a mean of 1, shape [N]; None: all alike.
      indices: rows of the batch, shape [B].

    Returns:
      The same pytree of scalars.
    """
    if sample_weight is None:
        return jax.tree.map(jnp.mean, values)
    weights = sample_weight[indices]
    return jax.tree.map(lambda leaf: jnp.mean(weights * leaf), values)
