"""The methods: each pairs networks with losses, and its ``run`` is the algorithm."""

from collections.abc import Callable
from typing import Any, NamedTuple

from dgg_jax import checks
from dgg_jax.methods import (
    aae,
    catgan,
    dec,
    dgg,
    gmvae,
    imsat,
    ltvae,
    mixture_vae,
    spectralnet,
    two_stage,
    vade,
)
from dgg_jax.methods.parts import AS_NAMED, Parts
from dgg_jax.methods.problem import Outcome, Problem
from dgg_jax.presets import METHODS as NAMES
from dgg_jax.presets import preset_class, rules

__all__ = [
    "AS_NAMED",
    "METHODS",
    "Method",
    "Outcome",
    "Parts",
    "Problem",
    "method",
]


class Method(NamedTuple):
    """What can be done with a method; None is what it cannot do.

    Attributes:
      run: carries (data, preset) through all stages to an Outcome.
      stages: their names, in order.
      model_of: from (preset, D, last state, parts) to the model in it.
      check: whether a preset serves data of a shape [N, ...]; raises InvalidInput.
      samples_per_cluster: from (model, M, seed) to drawn rows [K, M, D].
      traversals: from a model to figure 2 of DGG, [K, L, 15, D].
      count_clusters: from (data, preset, runner) to the ClusterCount in them.
      told: fields of a ``data.Dataset`` that run takes as arguments.
    """

    run: Callable[..., Outcome]
    stages: tuple[str, ...]
    model_of: Callable[..., Any] | None = None
    check: Callable[[Any, tuple[int, ...]], None] = lambda preset, shape: None
    samples_per_cluster: Callable[..., Any] | None = None
    traversals: Callable[..., Any] | None = None
    count_clusters: Callable[..., Any] | None = None
    told: tuple[str, ...] = ()


METHODS = {
    "dgg": Method(
        dgg.run,
        dgg.STAGES,
        dgg.model_of,
        samples_per_cluster=mixture_vae.samples_per_cluster,
        traversals=mixture_vae.traversals,
        count_clusters=dgg.count_clusters,
        told=("image_shape", "column_scale", "batch"),
    ),
    "vade": Method(
        vade.run,
        vade.STAGES,
        vade.model_of,
        samples_per_cluster=mixture_vae.samples_per_cluster,
        traversals=mixture_vae.traversals,
        told=("batch",),
    ),
    "gmvae": Method(
        gmvae.run,
        gmvae.STAGES,
        gmvae.model_of,
        gmvae.check,
        samples_per_cluster=gmvae.samples_per_cluster,
        told=("feature_shape", "is_test"),
    ),
    "dec": Method(dec.run, dec.STAGES, dec.model_of),
    "spectralnet": Method(
        spectralnet.run,
        spectralnet.STAGES,
        spectralnet.model_of,
        spectralnet.check,
        told=("image_shape",),
    ),
    "imsat": Method(imsat.run, imsat.STAGES, imsat.model_of, told=("image_shape",)),
    "catgan": Method(
        catgan.run,
        catgan.STAGES,
        catgan.model_of,
        samples_per_cluster=catgan.samples_per_cluster,
        told=("is_test",),
    ),
    "aae": Method(
        aae.run,
        aae.STAGES,
        aae.model_of,
        samples_per_cluster=aae.samples_per_cluster,
        told=("is_test",),
    ),
    "ltvae": Method(
        ltvae.run,
        ltvae.STAGES,
        ltvae.model_of,
        samples_per_cluster=ltvae.samples_per_cluster,
    ),
    **{
        name: Method(
            two_stage.run,
            two_stage.STAGES[preset_class(name)],
            told=("image_shape",) if rules.embeds_as_dgg(preset_class(name)) else (),
        )
        for name in NAMES
        if preset_class(name) in two_stage.STAGES
    },
}


def method(name: str) -> Method:
    """A method by its name.

    Args:
      name: one of ``presets.METHODS``.

    Raises:
      InvalidInput: if there is no such method; the message lists them.
    """
    checks.one_of("method", name, NAMES)
    return METHODS[name]
