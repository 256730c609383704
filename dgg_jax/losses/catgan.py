r"""The losses of CatGAN: a classifier that is sure of data, and who forges them.

Springenberg, "Unsupervised and semi-supervised learning with categorical generative
adversarial networks", ICLR 2016, without labels. A classifier D of K clusters stands in
place of the two classes of a GAN: it is sure of rows of the data, whose clusters it
uses evenly, and unsure of those that a generator G makes of noise z,

.. math::
  \mathcal{L}_D = \max_D \; H\left[ p(y \mid D) \right]
  - \mathbb{E}_x H[p(y \mid x, D)] + \mathbb{E}_z H[p(y \mid G(z), D)],

and the generator wants its own rows to be taken for data, of every cluster,

.. math::
  \mathcal{L}_G = \min_G \; - H_G\left[ p(y \mid D) \right]
  + \mathbb{E}_z H[p(y \mid G(z), D)],

where H[p(y | D)] is the entropy of the mean assignment of a batch of the data, H_G that
of a batch of the generator. The first two terms of D are the mutual information of
``imsat.mutual_information``, and so are both of G, of its own rows. The paper's text
was not at hand: its formulas are from memory.
"""

import jax

from dgg_jax import checks
from dgg_jax.losses.imsat import MutualInformation


def classifier_loss(
    information: MutualInformation, generated: MutualInformation
) -> jax.Array:
    r"""What the classifier minimises over a batch.

    .. math:: - \left( H(Y) - H(Y \mid X) \right) - \mathbb{E}_z H[p(y \mid G(z))]

    Args:
      information: of a batch of the data.
      generated: of a batch of the generator, whose H(Y | X) is the last term.

    Returns:
      A scalar in nats, at least -2 ln K.

    Raises:
      InvalidInput: if a term is no scalar.

    Example:
      Two rows, sure of a cluster each, against one that could be in both: -2 ln 2.

      >>> import jax.numpy as jnp
      >>> from dgg_jax.losses import catgan, imsat
      >>> data = imsat.mutual_information(jnp.log(jnp.eye(2)))
      >>> forged = imsat.mutual_information(jnp.log(jnp.full((1, 2), 0.5)))
      >>> catgan.classifier_loss(data, forged)
      Array(-1.3862944, dtype=float32)
    """
    checks.shapes(information=(information, ""), generated=(generated, ""))
    return -information.total - generated.conditional_entropy


def generator_loss(generated: MutualInformation) -> jax.Array:
    r"""What the generator minimises over a batch: minus the information of its rows.

    .. math:: - H_G(Y) + \mathbb{E}_z H[p(y \mid G(z))]

    Args:
      generated: of the batch.

    Returns:
      A scalar in nats, between -ln K and 0.

    Raises:
      InvalidInput: if a term is no scalar.
    """
    checks.shapes(generated=(generated, ""))
    return -generated.total
