"""What the data choose: settings that follow from the shape and values of the rows.

docs/accuracy.md has the measurements behind the numbers.
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from dgg_jax import checks
from dgg_jax.data.preprocessing import are_words, count_dispersion, likelihood_for
from dgg_jax.presets.fields import Preset
from dgg_jax.presets.methods import (
    EMBEDDINGS,
    AAEPreset,
    AutoencoderPreset,
    CatGANPreset,
    DGGPreset,
    SiamesePreset,
    preset_class,
)

NAMES = ("default", "paper", "released", "smoke")


class Facts(NamedTuple):
    """What settings follow from: all of it is known without labels.

    Attributes:
      num_points: N.
      num_columns: D.
      num_clusters: K.
      likelihood: that the values have.
      variance: lambda, if that is the Gaussian one.
      dispersion: theta, if that is the negative binomial one.
      is_sparse: whether most values are 0, as in rows of words.
      image_shape: of the image in a row, or None.
      is_warped: whether networks see images that are warped.
      is_wide: whether rows, which are few, have more columns than there are rows; not
        of counts, and not where values are missing.
    """

    num_points: int
    num_columns: int
    num_clusters: int = 10
    likelihood: str = "bernoulli"
    variance: float = 1.0
    dispersion: float = 10.0
    is_sparse: bool = False
    image_shape: tuple[int, ...] | None = None
    is_warped: bool = True
    is_wide: bool = False


MANY_ROWS = 50_000  # from which on networks of images are the papers', except DGG's
MOST_ROWS = 70_000  # which epochs are counted for
_SMALL_NETWORKS = (256, 256, 512)
_FEW_ROWS = 2_000  # up to which more columns are many
FEW_COLUMNS = 10  # up to which they are as narrow as the paper's for the plane
# Most of a smoke run's time goes into compiling: an epoch of few rows costs little, a
# network of more layers, or one more loop, a second.
SMOKE_NETWORKS = {"hidden_sizes": (128,), "latent_dim": 10}
PAPERS_GRAPH = {  # DGG's
    "siamese_pairing": "drawn",
    "siamese_margin": 3.0,
    "neighbor_choice": "random",
    "graph_strength": 1.0,
}
SMOKE: dict[str, dict[str, Any]] = {
    "dgg": PAPERS_GRAPH
    | {"init": "spectral", "guard": False}
    | {"pretrain_vae_epochs": 0, "siamese_epochs": 0}
    | {"classifier_epochs": 3, "epochs": 3},
    "vade": {"epochs": 3, "label_epochs": 3},
    "gmvae": {"epochs": 2},
    "ae_gmm": {"embedding_epochs": 1},
    "dae_gmm": {"embedding_epochs": 1},
    "vae_gmm": {"embedding_epochs": 1},
    "ae_kmeans": {"embedding_epochs": 1},
    **dict.fromkeys(
        ("siamese_kmeans", "siamese_spectral"),
        PAPERS_GRAPH | {"pretrain_vae_epochs": 0, "siamese_epochs": 1},
    ),
    "dec": {"epochs": 2},
    "spectralnet": {"siamese_epochs": 1, "epochs": 2},
    "imsat": {"hidden_sizes": (1200, 1200), "epochs": 2},
    "catgan": {"epochs": 2},
    "aae": {"epochs": 2},
    "ltvae": {"epochs": 3, "search_epochs": 2, "search_moves": 1},
}


def for_data(
    method: str,
    x: np.ndarray | sparse.csr_array,
    num_clusters: int,
    *,
    image_shape: tuple[int, ...] | None = None,
    name: str = "default",
    **settings: Any,
) -> Preset:
    """The preset of a method on data of the user's own.

    What is not among the settings but depends on the data is chosen from them: the
    likelihood (``data.preprocessing.likelihood_for``); for few rows smaller batches,
    more epochs of pretraining and neighbours from fewer candidates; smaller networks,
    of DGG always, of other methods for all but many images; for a
    Gaussian likelihood a smaller learning rate; where the graph's neighbours are near;
    for images, a longer training of what they are warped in; for more than 70,000 rows
    fewer epochs, which are as many steps.

    Args:
      method: one of METHODS.
      x: data, shape [N, D].
      num_clusters: K.
      image_shape: (H, W), (H, W, 1) or (H, W, 3) of the image in a row of x; None if
        there is none.
      name: default or smoke.
      **settings: fields of the preset; None leaves one to the data or the default.

    Raises:
      InvalidInput: if there is no such method or preset, a setting is out of range, or
        image_shape is not that of a row.
    """
    cls = preset_class(method)
    if name in ("paper", "released"):
        raise checks.InvalidInput(
            f"preset={name!r} has the values of the papers or their code for their "
            "data sets, and none for data of your own; use default or smoke."
        )
    checks.one_of("preset", name, ("default", "smoke"))
    kinds = {field.name: field.type for field in dataclasses.fields(cls)}
    given = {"num_clusters": num_clusters}
    for key, value in settings.items():
        if value is not None:
            given[key] = tuple(value) if isinstance(value, list) else value
    for key, value in given.items():  # some of which are computed with
        if key in kinds:
            checks.of_type(key, value, kinds[key])
    num_points, num_columns = x.shape
    likelihood, variance = likelihood_for(x)
    if image_shape is not None:
        checks.image_shape(image_shape, num_columns, "image_shape")
    asked = given.get("likelihood", likelihood)
    has_counts = cls.takes_counts and asked == "negative_binomial"
    if has_counts:
        checks.counts(x)
    facts = Facts(
        num_points,
        num_columns,
        num_clusters,
        asked,
        variance,
        count_dispersion(x) if has_counts else Facts._field_defaults["dispersion"],
        # Images may be as black; counts of cells are no words.
        is_sparse=not has_counts
        and (sparse.issparse(x) or (image_shape is None and are_words(x))),
        image_shape=image_shape,
        is_warped=bool(given.get("siamese_warp", 1)),
        is_wide=max(num_points, FEW_COLUMNS) < num_columns
        and num_points < _FEW_ROWS
        and not has_counts
        and not given.get("pretrain_layer_epochs")
        and not sparse.issparse(x)
        and not checks.has_nan(x),
    )
    values = _chosen(cls, facts, given.get("num_neighbors"))
    values["embedding"] = EMBEDDINGS.get(method)
    if name == "smoke":
        values |= pretraining(num_points, is_smoke=True) | SMOKE_NETWORKS
        values |= SMOKE.get(method, {})
    values |= of_many_rows(cls, values, num_points)
    return cls(**{k: v for k, v in values.items() if k in kinds} | given)


def of_the_data(method: str) -> tuple[str, ...]:
    """The settings of a method that ``for_data`` chooses from the data.

    Raises:
      InvalidInput: if there is no such method.
    """
    cls = preset_class(method)
    # An image of few and steep columns: each rule has its say.
    chosen = _chosen(cls, Facts(1000, 4, 2, "gaussian", image_shape=(2, 2)))
    names = {field.name for field in dataclasses.fields(cls)}
    return tuple(name for name in chosen if name in names)


def _chosen(
    cls: type[Preset], facts: Facts, num_neighbors: int | None = None
) -> dict[str, Any]:
    """What the data choose, also of settings that the method does not have."""
    values = {
        "likelihood": facts.likelihood,
        "variance": facts.variance,
        "dispersion": facts.dispersion,
        "batch_size": batch_size(facts.num_points),
        "siamese_batch_size": batch_size(facts.num_points, num_steps=7),
    }
    if issubclass(cls, AutoencoderPreset):
        values |= autoencoder(facts)
    if issubclass(cls, CatGANPreset | AAEPreset):
        values |= adversaries(facts)
    if embeds_as_dgg(cls):
        values |= dgg(facts, num_neighbors)
    return values


def of_many_rows(
    cls: type[Preset], values: dict[str, Any], num_points: int
) -> dict[str, Any]:
    """All that is counted in epochs, of more than 70,000 rows as many steps.

    An epoch of a million rows is fourteen of MNIST's, and teaches as much.

    Args:
      cls: the class of the preset.
      values: of its fields; others have their default.
      num_points: N.
    """
    if num_points <= MOST_ROWS:
        return {}
    share = MOST_ROWS / num_points
    before = {
        field.name: values.get(field.name, field.default)
        for field in dataclasses.fields(cls)
        if field.name.endswith("epochs")
    }
    after = {k: max(min(1, v), round(share * v)) for k, v in before.items()}
    for loop in ("", "siamese_"):
        name, stair = f"{loop}epochs", f"{loop}decay_epochs"
        if stair in before and before[stair] < before[name]:  # so that it comes
            after[stair] = max(1, min(after[stair], after[name] - 1))
    return after


def embeds_as_dgg(cls: type[Preset]) -> bool:
    """Whether it is DGG, or what clusters its Siamese embedding."""
    return issubclass(cls, SiamesePreset) and issubclass(cls, AutoencoderPreset)


def autoencoder(facts: Facts) -> dict[str, Any]:
    """What methods that start from one share: its layers, and its pretraining."""
    layers = {}
    if facts.num_columns <= FEW_COLUMNS:
        layers = {"hidden_sizes": (20, 20)}
    elif facts.num_points < MANY_ROWS or facts.image_shape is None:
        layers = {"hidden_sizes": _SMALL_NETWORKS}
    return layers | pretraining(facts.num_points)


def pretraining(num_points: int, *, is_smoke: bool = False) -> dict[str, Any]:
    """Our shortened pretraining: few rows take more epochs, and smaller batches."""
    if is_smoke:
        num_steps, epochs = 28, _between(3, 20_000 // num_points, 10)
    else:
        num_steps, epochs = 7, _between(15, 200_000 // num_points, 30)
        epochs *= few_rows(num_points)
    return {
        "pretrain_batch_size": batch_size(num_points, num_steps),
        "pretrain_autoencoder_epochs": epochs,
    }


def adversaries(facts: Facts) -> dict[str, Any]:
    """More epochs for few rows; blurred, few columns lose what keeps clusters apart."""
    values: dict[str, Any] = {"epochs": _between(60, 150_000 // facts.num_points, 200)}
    if facts.num_columns <= FEW_COLUMNS:
        values["input_noise"] = 0.0
    return values


def few_rows(num_points: int) -> int:
    """How many times as many epochs the networks before DGG take for few rows."""
    return _between(1, 1600 // num_points, 4)


def dgg(facts: Facts, num_neighbors: int | None = None) -> dict[str, Any]:
    """Our settings of DGG; num_neighbors if it is another than the default one."""
    num_points, num_clusters = facts.num_points, max(1, facts.num_clusters)
    near = neighbors(num_points, num_clusters)
    nearest = max(near, num_neighbors or near)
    few = few_rows(num_points)
    positives = min(18_000 // num_points, num_points // (2 * num_clusters))
    values: dict[str, Any] = {
        "num_neighbors": near,
        "init_neighbors": near,
        "pretrain_vae_epochs": few * _between(2, 60_000 // num_points, 30),
        "siamese_epochs": few * DGGPreset.siamese_epochs,
        "batch_size": batch_size(num_points),
        "siamese_batch_size": batch_size(num_points, num_steps=7),
        "siamese_candidates": _between(2, positives, 10),
        "label_epochs": label_epochs(num_points),
        "num_candidates": num_candidates(num_points, num_clusters, nearest),
        "siamese_components": 0,
        "principal_components": 0,
        "pretrain_centered": facts.num_columns > FEW_COLUMNS
        and (facts.image_shape is None or num_points < 10_000),
    }
    if facts.num_columns > FEW_COLUMNS:
        values["hidden_sizes"] = _SMALL_NETWORKS  # wider ones are slower, and no better
    if facts.is_wide and not facts.is_sparse:
        # N rows vary in fewer directions than N, and what tells them apart in fewer.
        values["principal_components"] = max(50, 2 * num_clusters)
    if facts.image_shape is not None and facts.num_columns > 200:
        # What these leave out is noise more than what tells images apart.
        values["siamese_components"] = 50
    if facts.image_shape is not None and facts.is_warped:
        # Few pixels are blurred by warps; what is warped anew is not soon overfitted.
        values["siamese_warp"] = min(1.0, min(facts.image_shape[:2]) / 16)
        if num_points < 10_000:
            values |= {"siamese_epochs": 48, "siamese_decay_epochs": 36}
            values |= {"siamese_learning_rate": 1e-3, "warp_weight": 0.0}
        else:
            values |= {"siamese_epochs": 24, "siamese_decay_epochs": 18}
            values |= {"siamese_learning_rate": 2e-3, "warp_weight": 10.0}
    if facts.likelihood != "bernoulli":
        # A narrow Gaussian is steep: clusters are lost in the first epochs otherwise.
        values["learning_rate"] = 5e-4
    if facts.num_columns <= FEW_COLUMNS:
        # To straighten what is bent takes a rate that lasts.
        longest = _between(DGGPreset.epochs, 400_000 // num_points, 100)
        values |= {"learning_rate": 5e-3, "decay_epochs": 200, "epochs": longest}
    if facts.is_sparse or facts.num_columns <= FEW_COLUMNS:
        # Rows of words and points of the plane are compared as they are.
        values |= {"graph_of": "data", "num_candidates": nearest}
    return values


def batch_size(num_points: int, num_steps: int = 28) -> int:
    """So many steps an epoch, or more."""
    return _between(32, num_points // num_steps, 256)


def label_epochs(num_points: int) -> int:
    """Epochs that fit DGG to the initial labels."""
    return _between(4, 100_000 // num_points, 10)


def neighbors(num_points: int, num_clusters: int) -> int:
    """Of a point in the graphs: 20, where its cluster has no fewer rows."""
    return _between(5, num_points // num_clusters, DGGPreset.num_neighbors)


def num_candidates(
    num_points: int, num_clusters: int, nearest: int = DGGPreset.num_neighbors
) -> int:
    """Of a candidate, the cluster should be the point's own: a ninth of its size."""
    return max(nearest, min(100, num_points // (9 * num_clusters)))


def _between(low: int, value: int, high: int) -> int:
    return max(low, min(value, high))
