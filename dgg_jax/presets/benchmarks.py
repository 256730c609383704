"""The values that the data sets of the papers take, of every method."""

import dataclasses
from typing import Any, cast

from dgg_jax import checks
from dgg_jax.presets import rules
from dgg_jax.presets.fields import Preset
from dgg_jax.presets.methods import (
    EMBEDDINGS,
    AutoencoderPreset,
    DGGPreset,
    VaDEPreset,
    preset_class,
)
from dgg_jax.presets.rules import NAMES, PAPERS_GRAPH, SMOKE, SMOKE_NETWORKS, Facts

# What is true of a data set whatever the method. lambda: E26; of moons it is not
# printed (E33).
_FACTS = {
    "digits": Facts(1797, 64, image_shape=(8, 8)),
    "mnist": Facts(70_000, 784, image_shape=(28, 28)),
    "fashion_mnist": Facts(70_000, 784, image_shape=(28, 28)),
    "usps": Facts(9298, 256, image_shape=(16, 16)),
    "moons": Facts(4000, 2, 2, "gaussian", 0.01),
    "pinwheel": Facts(10_000, 2, 5, "learned_gaussian"),
    "har": Facts(10_299, 561, 6, "gaussian", 0.01),
    "reuters10k": Facts(10_000, 2000, 4, "gaussian", 10.0, is_sparse=True),
    "reuters": Facts(685_071, 2000, 4, "gaussian", 10.0, is_sparse=True),
    "reuters_r8": Facts(7674, 2000, 8, "gaussian", 10.0, is_sparse=True),
    "stl10": Facts(13_000, 2048, 10, "gaussian", 10.0),
    "svhn": Facts(99_289, 3072, image_shape=(32, 32, 3)),
}
DATASETS = tuple(_FACTS)
# The papers' networks for the plane: section 4.1 of DGG, table A of GMVAE.
_OF_THE_PLANE = {
    "moons": {"hidden_sizes": (20, 20), "latent_dim": 2},
    "pinwheel": {"hidden_sizes": (120, 120), "latent_dim": 2},
}
_DGG_OF_THE_PLANE = {
    "classifier_hidden_sizes": (),
    "learning_rate": 0.02,
    "batch_size": 100,
    "epochs": 1000,  # at most: until clusters and J are at rest
}
# Architectures of GMVAE; the images of Fashion-MNIST are as large as MNIST's.
_CONVOLUTIONS = {"mnist": "mnist", "fashion_mnist": "mnist", "svhn": "svhn"}
# Pretraining of the papers' kind.
_PAPER_PRETRAIN = {"pretrain_layer_epochs": 20, "pretrain_autoencoder_epochs": 50}


def preset(
    method: str, dataset: str, name: str = "default", num_points: int | None = None
) -> Preset:
    """The preset of a method on a data set.

    Args:
      method: one of METHODS.
      dataset: one of DATASETS.
      name: default, paper, released (of DGG and of what clusters its embedding; of
        other methods paper) or smoke.
      num_points: rows that are taken, where these are not all.

    Returns:
      The preset; change fields with ``dataclasses.replace``.

    Raises:
      InvalidInput: if there is no such method, data set or preset.
    """
    cls = preset_class(method)
    checks.one_of("dataset", dataset, DATASETS)
    checks.one_of("preset", name, NAMES)
    if name == "released" and not rules.embeds_as_dgg(cls):
        name = "paper"  # in which their code already speaks where the paper is silent
    facts = _FACTS[dataset]
    values: dict[str, Any] = {
        "num_clusters": facts.num_clusters,
        "likelihood": facts.likelihood,
        "variance": facts.variance,
        "embedding": EMBEDDINGS.get(method),
    }
    if name in ("paper", "released"):
        values |= _PAPER_PRETRAIN | _OF_THE_PLANE.get(dataset, {})
    elif name == "smoke":
        values |= rules.pretraining(facts.num_points, is_smoke=True)
        values |= _OF_THE_PLANE.get(dataset, SMOKE_NETWORKS)
    elif issubclass(cls, AutoencoderPreset):
        values |= rules.autoencoder(facts) | _OF_THE_PLANE.get(dataset, {})
    if method in _OWN:
        values |= _OWN[method](dataset, name)
    if name == "default":
        taken = min(num_points or facts.num_points, facts.num_points)
        values |= rules.of_many_rows(cls, values, taken)
    names = {field.name for field in dataclasses.fields(cls)}
    return cls(**{k: v for k, v in values.items() if k in names})


def dgg(dataset: str, name: str = "default") -> DGGPreset:
    """The DGG preset of a data set; see ``preset``."""
    return cast(DGGPreset, preset("dgg", dataset, name))


def vade(dataset: str, name: str = "default") -> VaDEPreset:
    """The VaDE preset of a data set; see ``preset``."""
    return cast(VaDEPreset, preset("vade", dataset, name))


def _smoke_batches(dataset: str) -> dict[str, Any]:
    """Small ones for few rows, as data of one's own have them."""
    return {"batch_size": rules.batch_size(_FACTS[dataset].num_points)}


def _dgg(dataset: str, name: str) -> dict[str, Any]:
    """Errata E20 to E25 and E35 say where the paper's values come from."""
    facts = _FACTS[dataset]
    if name == "default":
        values = rules.dgg(facts)
        if dataset in _OF_THE_PLANE:
            values |= _DGG_OF_THE_PLANE | {"decay_epochs": 200}  # a rate that lasts
        return values
    values: dict[str, Any] = {}
    if dataset in _OF_THE_PLANE:
        values = {"siamese_epochs": 0, "num_neighbors": 40, "num_candidates": 40}
        values |= _DGG_OF_THE_PLANE
    # N_t of supplement 5.
    pairs = {"stl10": 5, "reuters": 3, "reuters10k": 3, "reuters_r8": 3, "har": 3}
    values |= {"siamese_pairs": pairs.get(dataset, 2)} | PAPERS_GRAPH
    values.setdefault("classifier_hidden_sizes", None)
    if name == "smoke":
        values |= SMOKE["dgg"]
        few = max(1, 100_000 // facts.num_points)
        values["label_epochs"] = min(few, rules.label_epochs(facts.num_points))
        if dataset not in _OF_THE_PLANE:
            values |= _smoke_batches(dataset)
            values["num_candidates"] = rules.num_candidates(
                facts.num_points, facts.num_clusters
            )
        return values
    # Nothing of ours, neither guard nor fit to labels; when clusters and J are at rest,
    # Algorithm 1 has converged.
    values |= {"guard": False, "label_epochs": 0, "calibrate": False}
    values |= {"init": "kmeans", "posterior_variance": False, "objective": "tuple"}
    # Where the paper is silent: of the code, and the pretraining's epochs ours.
    values |= {"pretrain_vae_epochs": 20, "batch_size": 100}
    if dataset not in _OF_THE_PLANE:
        values |= {"siamese_epochs": 300, "siamese_batch_size": 1000, "epochs": 300}
    if facts.image_shape is not None or dataset == "stl10":
        values["weight_decay"] = 1e-4
    return values | (_printed() if name == "paper" else _released(dataset))


def _printed() -> dict[str, Any]:
    """What the paper says of every data set (errata E6, E13, E20, E25)."""
    values: dict[str, Any] = {"learning_rate": 0.02, "classifier_input": "sample"}
    values |= {"neighbor_weights": "gaussian", "kernel_neighbor": 3}  # s_i is ours
    return values | {"siamese_init": "random"}


def _released(dataset: str) -> dict[str, Any]:
    """What the authors' code does; of images that it does not have, as for MNIST.

    Of the plane it does nothing: the paper's.
    """
    if dataset in _OF_THE_PLANE:
        return _printed()
    values: dict[str, Any] = {"classifier_input": "mean", "siamese_learning_rate": 1e-3}
    if dataset == "har":  # E23, E31: the script's graph is switched off
        values = {"learning_rate": 2e-4, "classifier_input": "sample"}
        values |= {"init": "gmm", "initial_variance": 0.08, "graph_strength": 0.0}
        values |= {
            "objective": "node",
            "graph_of": "data",
        }  # no graph, nothing to tuple
    if dataset == "stl10":
        values = {"learning_rate": 5e-4, "classifier_input": "sample"}
        values |= {"siamese_optimizer": "sgd", "siamese_learning_rate": 0.02}
        values |= {"graph_of": "data"}  # E24
    if _FACTS[dataset].is_sparse:
        values = {"optimizer": "sgd", "classifier_input": "sample"}
        values |= {"siamese_optimizer": "sgd", "siamese_learning_rate": 1e-3}
        values |= {"graph_of": "data"}
    return values


def _vade(dataset: str, name: str) -> dict[str, Any]:
    """Errata E42, E44, E46 and E47 say where the paper's values come from."""
    if name == "smoke":
        return SMOKE["vade"] | _smoke_batches(dataset)
    if name == "default":
        digits = {"epochs": 40, "label_epochs": 30, "batch_size": 64}
        return digits if dataset == "digits" else {}
    values: dict[str, Any] = {"init": "gmm", "label_epochs": 0}
    values |= {"batch_size": 100, "restarts": 10}
    values |= {"epochs": 150, "learning_rate": 2e-3, "mixture_learning_rate": 2e-3}
    if dataset == "mnist":
        values |= {"learning_rate_floor": 2e-4}
    if dataset == "har":
        values |= {"epochs": 50, "variance": 0.5, "reconstruction_weight": 5.0}
        values |= {"mixture_learning_rate": 2e-5}
    if _FACTS[dataset].is_sparse:
        values |= {"epochs": 15, "variance": 0.5, "init": "kmeans"}
        values |= {"initial_variances": "unit"}
    if dataset == "reuters":
        values |= {"epochs": 4, "learning_rate": 5e-4, "mixture_learning_rate": 5e-4}
        values |= {"decay": 0.5, "mixture_decay": 0.5, "decay_epochs": 1}
    return values


def _gmvae(dataset: str, name: str) -> dict[str, Any]:
    """Appendix A of GMVAE; E63: lambda, batch and epochs are not printed."""
    values: dict[str, Any] = {"epochs": 100}
    if dataset == "digits":
        values = {"epochs": 150, "information_constraint": 2.0}
    if dataset in _OF_THE_PLANE:
        values |= {"component_hidden_size": 120, "w_dim": 2, **_OF_THE_PLANE[dataset]}
    if dataset == "pinwheel":
        values |= {"information_constraint": 0.3}
    if dataset in _CONVOLUTIONS:
        values = {"architecture": _CONVOLUTIONS[dataset]}
        values |= {"latent_dim": 200, "w_dim": 150}
        values |= {"epochs": 20, "learning_rate": 3e-4}
    if name == "smoke":
        values |= SMOKE["gmvae"]
    if name == "paper":
        values |= {"learning_rate": 1e-4}
    return values


def _latent_gmm(dataset: str, name: str) -> dict[str, Any]:
    default = 10 if "mnist" in dataset else 30
    return {"embedding_epochs": {"smoke": 1, "paper": 50}.get(name, default)}


def _of_siamese(dataset: str, name: str) -> dict[str, Any]:
    """DGG's, as far as they embed."""
    values = _dgg(dataset, name)
    values = {
        k: v
        for k, v in values.items()
        if "siamese" in k or "pretrain" in k or k == "hidden_sizes"
    }
    return values | SMOKE["siamese_kmeans"] if name == "smoke" else values


def _dec(dataset: str, name: str) -> dict[str, Any]:
    """Of github.com/piiswrong/dec: network, batch, corruption, starts of K-means.

    They are default's, too: paper differs by its pretraining, and by its network for
    all but many images, and keeps Adam in place of SGD at 0.01. The stop at 0.1% of
    changed labels is not offered.
    """
    return SMOKE["dec"] | _smoke_batches(dataset) if name == "smoke" else {}


def _spectralnet(dataset: str, name: str) -> dict[str, Any]:
    """Paper's are of github.com/KlugerLab/SpectralNet, for MNIST and Reuters.

    Not offered: its autoencoder before the Siamese network, the tolerance of positive
    pairs, L2 of 0.01 and 0.5 on Reuters, RMSprop and early stopping. Epochs and the
    number of pairs on Reuters are ours.
    """
    if name == "smoke":
        return SMOKE["spectralnet"]
    values: dict[str, Any] = {}
    if dataset in _OF_THE_PLANE:
        values = {"siamese_epochs": 0}
    if name == "paper":
        values |= {"affinity_neighbors": 3, "siamese_batch_size": 128}
        values |= {"siamese_margin": 1.0, "siamese_learning_rate": 1e-3}
        values |= {"siamese_weight_decay": 0.0, "siamese_pairing": "drawn"}
        if _FACTS[dataset].is_sparse:
            values |= {"hidden_sizes": (512, 256), "latent_dim": 128}
            values |= {"affinity_neighbors": 30, "siamese_candidates": 100}
            values |= {"batch_size": 2048, "learning_rate": 5e-5}
    elif dataset == "digits":
        values |= {"hidden_sizes": (500, 500), "siamese_batch_size": 128}
        values |= {"epochs": 60, "batch_size": 512, "decay": 1.0}
    return values


def _imsat(dataset: str, name: str) -> dict[str, Any]:
    """Of github.com/weihua916/imsat, for MNIST; default's but for digits, too.

    Its probe has a length of 10 in pixels of [-1, 1], ours one in units of the radius.
    """
    values: dict[str, Any] = {"hidden_sizes": (1200, 1200)}
    if dataset == "digits" and name != "paper":
        # Without batch normalisation, which rows of 64 pixels do worse with.
        values = {"hidden_sizes": (500, 500), "batch_norm": False, "epochs": 100}
        values |= {"perturbation_fraction": 0.6, "perturbation_probe": 1.0}
        values |= {"learning_rate": 1e-3}
    return values | ({"epochs": 2} if name == "smoke" else {})


def _adversaries(dataset: str, name: str) -> dict[str, Any]:
    """All ours: of the papers' sizes, rates and epochs nothing was at hand."""
    values = rules.adversaries(_FACTS[dataset])
    return values | (SMOKE["catgan"] if name == "smoke" else {})


def _ltvae(dataset: str, name: str) -> dict[str, Any]:
    """All ours, as of the adversaries."""
    if name == "smoke":
        return SMOKE["ltvae"] | _smoke_batches(dataset)
    return {"batch_size": 64} if dataset == "digits" else {}


_OWN = {
    "dgg": _dgg,
    "vade": _vade,
    "gmvae": _gmvae,
    **dict.fromkeys(EMBEDDINGS, _latent_gmm),
    **dict.fromkeys(("siamese_kmeans", "siamese_spectral"), _of_siamese),
    "dec": _dec,
    "spectralnet": _spectralnet,
    "imsat": _imsat,
    **dict.fromkeys(("catgan", "aae"), _adversaries),
    "ltvae": _ltvae,
}
