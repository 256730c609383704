"""Estimators from saved models and from finished runs."""

import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from dgg_jax import checks, methods, presets
from dgg_jax.data import Dataset
from dgg_jax.data.preprocessing import Scaling
from dgg_jax.estimators.aae import AAE
from dgg_jax.estimators.base import SHIFT_AND_SCALE, Clusterer
from dgg_jax.estimators.catgan import CatGAN
from dgg_jax.estimators.dec import DEC
from dgg_jax.estimators.dgg import DGG
from dgg_jax.estimators.gmvae import GMVAE
from dgg_jax.estimators.imsat import IMSAT
from dgg_jax.estimators.ltvae import LTVAE
from dgg_jax.estimators.spectralnet import SpectralNet
from dgg_jax.estimators.vade import VaDE
from dgg_jax.storage import saving
from dgg_jax.training import Metrics, State
from dgg_jax.types import Graph

_CLASSES = (DGG, VaDE, GMVAE, DEC, SpectralNet, IMSAT, CatGAN, AAE, LTVAE)
_KINDS = {cls.__name__: cls for cls in _CLASSES}


def load(
    path: str | os.PathLike,
    *,
    encoder: Any = None,
    decoder: Any = None,
    likelihood: Any = None,
) -> Clusterer:
    """Loads a saved estimator; nothing in its folder is executed.

    Args:
      path: the folder that ``save`` wrote, or that of a run of the command line.
      encoder: the Flax module that it was fitted with, if it was one's own.
      decoder: likewise.
      likelihood: likewise.

    Returns:
      The fitted estimator.

    Raises:
      dgg_jax.storage.saving.InvalidModel: if the folder is no saved model, of a later
        format, damaged, or does not hold what its description says.
      ValueError: if a module of one's own is missing.
    """
    path = pathlib.Path(path).expanduser()
    of_run = path / "model"
    is_run = (of_run / saving.DESCRIPTION).is_file()
    if is_run and not (path / saving.DESCRIPTION).exists():
        path = of_run
    description, arrays = saving.load(path)
    given = {"encoder": encoder, "decoder": decoder, "likelihood": likelihood}
    try:
        estimator = _restored(description, arrays, given)
        estimator._try()
    except _MissingPart:
        raise
    except Exception as error:  # a file can be wrong in any way
        raise saving.InvalidModel(
            f"{path} does not describe a model of this library "
            f"({type(error).__name__}: {error})."
        ) from error
    return estimator


class _MissingPart(checks.InvalidInput):
    """A module of one's own, which the model was fitted with, is not given."""


# What load needs of a description, and as what.
_DESCRIBED = {
    "settings": dict,
    "parts": dict,
    "preset": dict,
    "num_rows": int,
    "num_features": int,
    "preprocessing": str,
    "stages": list,
    "history": list,
}


def _restored(description: State, arrays: State, given: dict[str, Any]) -> Clusterer:
    """The estimator in a saved model; raises anything if it describes none."""
    for name, kind in _DESCRIBED.items():
        if type(description[name]) is not kind:
            raise TypeError(f"{name} is no {kind.__name__}")
    lines = [*description["stages"], *description["history"]]
    if not description["stages"] or {type(line) for line in lines} != {dict}:
        raise TypeError("stages or history are no lists of dicts")
    cls = _KINDS[description["kind"]]
    settings = description["settings"].items()
    estimator = cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in settings})
    for name, module in description["parts"].items():
        if given[name] is None:
            raise _MissingPart(
                f"the model was fitted with {name}={module}, which a folder cannot "
                f"hold; give it: load(path, {name}=...)."
            )
        estimator.set_params(**{name: given[name]})
    preset = presets.preset_class(cls._method).from_dict(description["preset"])
    estimator.n_features_in_ = description["num_features"]
    estimator._preprocessing = description["preprocessing"]
    if "scaling" in description:
        estimator._scaling = _restored_scaling(
            description["scaling"], arrays["scaling"], estimator.n_features_in_
        )
    shape = description.get("image_shape")  # which former versions did not keep
    if shape is not None:
        checks.image_shape(shape, estimator.n_features_in_, "image_shape")
        shape = tuple(shape)
    estimator.image_shape_ = shape
    batches = description.get("batches")  # likewise
    if batches is not None:
        if type(batches) is not list or {type(name) for name in batches} != {str}:
            raise TypeError("batches are no list of strings")
        batches = tuple(batches)
    estimator.batches_ = batches
    names = description["feature_names"]
    if names is not None:
        estimator.feature_names_in_ = np.asarray(names, object)
        if [type(name) for name in names] != [str] * description["num_features"]:
            raise ValueError("feature_names are not one string a feature")
    # Lest networks are built that no memory holds.
    sizes = [getattr(preset, name, ()) for name in _SIZES]
    sizes = [] if description["parts"] else jax.tree.leaves(sizes)
    values = sum(leaf.size for leaf in jax.tree.leaves(arrays["model"]))
    if max([estimator.n_features_in_, *sizes]) > max(values, 1_000):
        raise ValueError(f"its networks are larger than {values:,} values")
    learned = arrays["learned"]
    _check_learned(learned, description["num_rows"], preset.num_clusters)
    estimator._set(
        preset,
        arrays["model"],
        learned,
        description["stages"],
        description["history"],
    )
    return estimator


def _restored_scaling(described: State, arrays: State, num_features: int) -> Scaling:
    """The scaling in a saved model; raises anything if it is none."""
    lists = {k: tuple(v) for k, v in described.items() if isinstance(v, list)}
    scaling = Scaling(**{**described, **lists}, **arrays)
    shape, columns = scaling.feature_shape, scaling.columns
    if type(scaling.step) is not str or math.prod(shape) != num_features:
        raise ValueError("scaling has no step or another shape")
    if columns is not None and [type(c) for c in columns] != [str] * num_features:
        raise ValueError("columns are not one string a feature")
    if scaling.kept is not None and [type(i) for i in scaling.kept] != [int] * (
        num_features
    ):
        raise ValueError("kept columns are not one integer a feature")
    if scaling.kept is not None and not (
        type(scaling.num_columns) is int
        and 0 <= min(scaling.kept) <= max(scaling.kept) < scaling.num_columns
    ):
        raise ValueError("kept columns are none of those of the file")
    for name in SHIFT_AND_SCALE:
        if arrays[name].shape != (num_features,) or arrays[name].dtype != np.float64:
            raise ValueError(f"{name} of scaling has shape {arrays[name].shape}")
    if not scaling.scale.all():
        raise ValueError("scaling divides by 0")
    return scaling


# Settings that are lengths of arrays.
_SIZES = (
    "num_clusters",
    "latent_dim",
    "max_facets",
    "w_dim",
    "hidden_sizes",
    "classifier_hidden_sizes",
    "component_hidden_size",
)
# Dimensions of what a model says of the rows of its training.
_LEARNED = {
    "labels_": 1,
    "probabilities_": 2,
    "raw_probabilities_": 2,
    "elbo_": 1,
    "batch_": 1,
    "embedding_": 2,
    "indices": 2,  # of graph_
    "weights": 2,
}


def _check_learned(learned: State, num_rows: int, num_clusters: int) -> None:
    """Whether the learned attributes are what ``_keep`` sets."""
    fields = dict(learned)
    if "graph_" in fields:
        fields |= Graph(**fields.pop("graph_"))._asdict()
    for name, array in fields.items():
        if len(array) != num_rows or array.ndim != _LEARNED[name]:
            raise ValueError(f"{name} has shape {array.shape}")
    labels = fields["labels_"]
    if not -1 <= labels.min() <= labels.max() < num_clusters:
        raise ValueError("labels_ leaves -1..K-1")


def of_run(
    method: str,
    preset: presets.Preset,
    state: State,
    records: Sequence[Metrics],
    history: Sequence[Metrics],
    *,
    seed: int,
    dataset: Dataset,
) -> Clusterer | None:
    """The estimator that a finished run of a method is, or None if it has no model.

    Args:
      method: one of ``presets.METHODS``.
      preset: its settings.
      state: the last one of the run.
      records: of its stages.
      history: metrics of its epochs.
      seed: of the run.
      dataset: what was clustered.
    """
    classes = {cls._method: cls for cls in _KINDS.values()}
    if method not in classes:
        return None
    cls = classes[method]
    settings = {name: getattr(preset, name) for name in cls.settings()}
    for field in {"image_shape", "feature_shape"} & set(methods.method(method).told):
        settings["image_shape"] = getattr(dataset, field)
    estimator = cls(preset.num_clusters, **settings, random_state=seed)
    estimator.n_features_in_ = dataset.x.shape[1]
    estimator._preprocessing = dataset.provenance
    estimator._scaling = dataset.scaling
    estimator.image_shape_ = dataset.image_shape
    found = checks.batch(dataset.batch, dataset.x.shape[0])
    estimator.batches_ = None if found is None else found[1]
    estimator._keep(preset, state, records, history)
    if found is not None:
        estimator.batch_ = found[0]
    return estimator
