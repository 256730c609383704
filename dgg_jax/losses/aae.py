r"""The adversarial losses of AAE, of one data point: two critics and their encoder.

Makhzani, Shlens, Jaitly, Goodfellow and Frey, "Adversarial autoencoders", 2015, in the
form that clusters. The encoder has a cluster y and a style z, of which the decoder
makes x again. One critic tells y from draws of Cat(1 / K), as one-hot vectors, another
z, of its y, from draws of N(0, I); the encoder is trained to deceive both. A critic D
gives the log odds that a code was drawn and not encoded,

.. math::
  \mathcal{L}_D = - \ln \sigma(D(\text{drawn})) - \ln (1 - \sigma(D(\text{encoded}))),
  \qquad \mathcal{L}_E = - \ln \sigma(D(\text{encoded})).

The paper's text was not at hand: its formulas are from memory.
"""

import jax
import jax.numpy as jnp

from dgg_jax import checks
from dgg_jax.types import Array


def critic_loss(drawn: Array, encoded: Array) -> jax.Array:
    r"""What a critic minimises, for one code that was drawn and one that was encoded.

    .. math:: - \ln \sigma(D_{\text{drawn}}) - \ln (1 - \sigma(D_{\text{encoded}}))

    Args:
      drawn: log odds that it gives the one, a scalar.
      encoded: those that it gives the other, a scalar.

    Returns:
      A scalar in nats; 2 ln 2 of a critic that cannot tell.

    Raises:
      InvalidInput: if shapes are not as above.

    Example:
      >>> from dgg_jax.losses import aae
      >>> aae.critic_loss(0.0, 0.0)
      Array(1.3862944, dtype=float32, weak_type=True)
    """
    checks.shapes(drawn=(drawn, ""), encoded=(encoded, ""))
    return jax.nn.softplus(-jnp.asarray(drawn)) + jax.nn.softplus(encoded)


def encoder_loss(encoded: Array) -> jax.Array:
    r"""What the encoder minimises against a critic, for one code.

    .. math:: - \ln \sigma(D_{\text{encoded}})

    The form whose gradient does not vanish where the critic is sure.

    Args:
      encoded: log odds that the critic gives the code, a scalar.

    Returns:
      A scalar in nats; ln 2 against a critic that cannot tell.

    Raises:
      InvalidInput: if shapes are not as above.
    """
    checks.shapes(encoded=(encoded, ""))
    return jax.nn.softplus(-jnp.asarray(encoded))
