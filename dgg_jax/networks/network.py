"""Networks as values: functions of parameters and a batch that compare by content."""

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import linen as nn

from dgg_jax.placement.devices import compiled
from dgg_jax.types import Gaussian

# How jax names the precisions of a preset; the accumulation is float32 in all.
_PRODUCTS = {
    "float32": "highest",
    "tf32": "tensorfloat32",
    "bfloat16": "BF16_BF16_F32",
}


def with_precision(precision: str) -> contextlib.AbstractContextManager:
    """Within, matrix products and their gradients are traced with this precision."""
    return jax.default_matmul_precision(_PRODUCTS[precision])


@compiled(static_argnums=0)
def initial_params(module: nn.Module, key: jax.Array, x: jax.Array) -> Any:
    """Parameters to start from, by one program, without the pass through the module."""
    return module.init(key, x)["params"]


@dataclasses.dataclass(frozen=True)
class Network:
    """A Flax module with parameters only, as a function of them and a batch.

    What is compiled with one serves every equal one.

    Attributes:
      module: without mutable state.
      precision: of its matrix products, as in ``presets.NetworkPreset``.
      entry: of the parameters of a whole model, where its own are; None: it is given
        its own.
      batches_only: whether one row has to be made a batch for it.
    """

    module: nn.Module
    precision: str = "float32"
    entry: str | None = None
    batches_only: bool = False

    def __call__(self, params: Any, x: jax.Array, **named: Any) -> Any:
        """What the module returns for rows x [B, ...], or for one row.

        What is named goes to the module, too.
        """
        if self.batches_only and x.ndim == 1:
            return jax.tree.map(lambda leaf: leaf[0], self(params, x[None], **named))
        own = params if self.entry is None else params[self.entry]
        with with_precision(self.precision):
            return self.module.apply({"params": own}, x, **named)


class Networks(NamedTuple):
    """A model as pure functions of (parameters, a batch).

    Attributes:
      encode: f_1, from the encoder's parameters and x [B, D] to Gaussian of [B, L].
      decode: g, from the decoder's parameters and z [B, L] to ``decoded`` of the
        likelihood.
      classify: from the parameters of the whole model and z [B, L], or one z [L], to
        ln q(c | z) [B, K]: f_2 in DGG, Bayes' rule in VaDE; None of an autoencoder.
      log_prior: from the parameters of the whole model and one z [L] to ln p(z), where
        that is no mixture: the latent tree of LTVAE.
    """

    encode: Callable[[Any, jax.Array], Gaussian]
    decode: Callable[[Any, jax.Array], Any]
    classify: Callable[[Any, jax.Array], jax.Array] | None = None
    log_prior: Callable[[Any, jax.Array], jax.Array] | None = None
