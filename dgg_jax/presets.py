"""Every default value of the methods, and the data sets' own values.

A preset is a frozen dataclass; ``dgg(dataset, name)`` gives the one of a data set:

- "default": what we recommend; measured, see the README's table.
- "paper": the values that DGG prints, or where it is silent the released code's; ours
  where both are (the length of each pretraining stage). See docs/errata.md.
- "smoke": a few epochs of small networks, to see that everything runs.
"""

import dataclasses
from typing import Any

from dgg_jax import checks

LIKELIHOODS = ("bernoulli", "gaussian", "learned_gaussian")


@dataclasses.dataclass(frozen=True)
class DGGPreset:
    """All settings of a DGG run; each is a flag of ``experiments.main``.

    Attributes:
      num_clusters: K, the number of clusters.
      likelihood: p(x | z): bernoulli (values in [0, 1]), gaussian (fixed variance) or
        learned_gaussian.
      variance: lambda, the fixed variance of the gaussian likelihood.
      hidden_sizes: widths of the encoder's ReLU layers; the decoder mirrors them.
      latent_dim: L, dimension of the latent space.
      classifier_hidden_sizes: widths of ReLU layers of the classifier f_2; None is the
        paper's rule: none for K >= 10, one of width K for fewer.
      classifier_input: what f_2 sees in training: sample (of q(z | x)) or mean.
      pretrain_layer_epochs: epochs of each layer's denoising autoencoder; 0 skips.
      pretrain_autoencoder_epochs: epochs of the deep denoising autoencoder.
      pretrain_vae_epochs: epochs of the VAE with prior N(0, I); 0 skips.
      pretrain_corruption: share of inputs set to 0 by the denoising autoencoders.
      pretrain_learning_rate: Adam's rate in pretraining.
      pretrain_batch_size: points of a batch in pretraining.
      siamese_epochs: epochs of the Siamese network; 0 takes distances of the data.
      siamese_pairs: N_t, positive and negative pairs a point.
      siamese_margin: c, distance to which negative pairs are pushed.
      siamese_init: random, or encoder: from the pretrained encoder.
      siamese_learning_rate: Adam's initial rate for the Siamese network.
      siamese_decay: factor of that rate every siamese_decay_epochs.
      siamese_decay_epochs: epochs of one stair of that rate.
      siamese_weight_decay: L2 weight decay of the Siamese network.
      siamese_batch_size: points of a batch for the Siamese network.
      num_neighbors: S, neighbours of a point in the graph.
      num_candidates: nearest points from which they are chosen.
      neighbor_choice: random (drawn once from the candidates) or nearest.
      neighbor_weights: uniform or gaussian, eq. (32).
      init: labels to start from: spectral (of the graph), kmeans or gmm (of the
        latents).
      eigenvectors_per_cluster: times K, the eigenvectors that spectral init takes.
      variance_floor: smallest initial variance of a mixture component.
      classifier_epochs: epochs that fit f_2 to the initial labels.
      classifier_learning_rate: Adam's rate for that.
      label_epochs: epochs that then fit the whole model to these labels; 0 skips.
      objective: node (cost independent of S) or tuple (Algorithm 1 as printed).
      graph_strength: eta in [0, 2], the weight of the graph; 1 is the paper.
      epochs: epochs of the joint training.
      batch_size: points of a batch in the joint training.
      learning_rate: Adam's initial rate in the joint training.
      decay: factor of that rate every decay_epochs.
      decay_epochs: epochs of one stair of that rate.
      weight_decay: L2 weight decay in the joint training.
      restarts: runs of initialisation and training; the best ELBO is kept.
    """

    num_clusters: int = 10
    likelihood: str = "bernoulli"
    variance: float = 1.0
    hidden_sizes: tuple[int, ...] = (500, 500, 2000)
    latent_dim: int = 10
    classifier_hidden_sizes: tuple[int, ...] | None = None
    classifier_input: str = "sample"
    pretrain_layer_epochs: int = 0
    pretrain_autoencoder_epochs: int = 8
    pretrain_vae_epochs: int = 2
    pretrain_corruption: float = 0.2
    pretrain_learning_rate: float = 1e-3
    pretrain_batch_size: int = 256
    siamese_epochs: int = 8
    siamese_pairs: int = 2
    siamese_margin: float = 3.0
    siamese_init: str = "encoder"
    siamese_learning_rate: float = 5e-4
    siamese_decay: float = 0.1
    siamese_decay_epochs: int = 70
    siamese_weight_decay: float = 1e-4
    siamese_batch_size: int = 256
    num_neighbors: int = 20
    num_candidates: int = 100
    neighbor_choice: str = "random"
    neighbor_weights: str = "uniform"
    init: str = "spectral"
    eigenvectors_per_cluster: float = 1.2
    variance_floor: float = 1e-3
    classifier_epochs: int = 20
    classifier_learning_rate: float = 1e-2
    label_epochs: int = 0
    objective: str = "node"
    graph_strength: float = 1.0
    epochs: int = 40
    batch_size: int = 256
    learning_rate: float = 2e-3
    decay: float = 0.9
    decay_epochs: int = 10
    weight_decay: float = 0.0
    restarts: int = 1

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "DGGPreset":
        """The preset of ``dataclasses.asdict``, also after a trip through JSON."""
        lists = {k: tuple(v) for k, v in values.items() if isinstance(v, list)}
        return cls(**{**values, **lists})

    def __post_init__(self):
        """Checks every value.

        Raises:
          InvalidInput: naming the first field that is out of range.
        """
        for name, valid in CHOICES.items():
            checks.one_of(name, getattr(self, name), valid)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type is int:
                low = 0 if field.name in _MAY_BE_ZERO else 1
                checks.in_range(field.name, value, low)
            elif isinstance(value, tuple):
                for size in value:
                    checks.in_range(field.name, size, 1)
        for name in _POSITIVE:
            if not 0 < getattr(self, name) < float("inf"):
                raise checks.InvalidInput(
                    f"{name} must be positive and finite, got {getattr(self, name)!r}."
                )
        for name, high in _RANGES.items():
            checks.in_range(name, getattr(self, name), 0, high)
        if self.num_candidates < self.num_neighbors:
            raise checks.InvalidInput(
                f"num_candidates={self.num_candidates} must be at least "
                f"num_neighbors={self.num_neighbors}, which are chosen from them."
            )


CHOICES = {
    "likelihood": LIKELIHOODS,
    "classifier_input": ("sample", "mean"),
    "siamese_init": ("encoder", "random"),
    "neighbor_choice": ("random", "nearest"),
    "neighbor_weights": ("uniform", "gaussian"),
    "init": ("spectral", "kmeans", "gmm"),
    "objective": ("node", "tuple"),
}
_MAY_BE_ZERO = (
    "pretrain_layer_epochs",
    "pretrain_autoencoder_epochs",
    "pretrain_vae_epochs",
    "siamese_epochs",
    "classifier_epochs",
    "label_epochs",
    "epochs",
)
_POSITIVE = (
    "variance",
    "pretrain_learning_rate",
    "siamese_margin",
    "siamese_learning_rate",
    "siamese_decay",  # optax takes a decay of 0 for none
    "eigenvectors_per_cluster",
    "variance_floor",
    "classifier_learning_rate",
    "learning_rate",
    "decay",
)
_RANGES = {  # from 0 to
    "pretrain_corruption": 0.99,
    "siamese_decay": 1.0,
    "siamese_weight_decay": float("inf"),
    "graph_strength": 2.0,
    "decay": 1.0,
    "weight_decay": float("inf"),
}

NAMES = ("default", "paper", "smoke")

# Errata E20 to E25 and E35 say where these come from.
_PAPER = {
    "pretrain_layer_epochs": 20,
    "pretrain_autoencoder_epochs": 50,
    "pretrain_vae_epochs": 20,
    "init": "kmeans",
    "label_epochs": 0,
    "epochs": 300,
    "batch_size": 100,
}
# The settings of MNIST, which digits, not in the paper, takes over.
_PAPER_IMAGES = {
    **_PAPER,
    "classifier_input": "mean",
    "siamese_epochs": 300,
    "siamese_batch_size": 1000,
    "weight_decay": 1e-4,
}
_SMOKE = {
    "pretrain_layer_epochs": 1,
    "pretrain_autoencoder_epochs": 3,
    "pretrain_vae_epochs": 1,
    "classifier_epochs": 3,
    "label_epochs": 1,
    "epochs": 3,
}
_SMOKE_IMAGES = {
    **_SMOKE,
    "hidden_sizes": (32, 16),
    "latent_dim": 4,
    "siamese_epochs": 1,
}
# Section 4.1 of DGG; E33: lambda, the batch and the epochs are not printed.
_MOONS = {
    "num_clusters": 2,
    "likelihood": "gaussian",
    "variance": 0.01,
    "hidden_sizes": (20, 20),
    "latent_dim": 2,
    "classifier_hidden_sizes": (),
    "siamese_epochs": 0,
    "num_neighbors": 40,
    "num_candidates": 40,
    "learning_rate": 0.02,
    "batch_size": 100,
}
_DATASETS = {
    "digits": {
        "default": {
            "pretrain_autoencoder_epochs": 30,
            "pretrain_vae_epochs": 30,
            # A class has 180 points: 100 neighbours would reach far beyond it.
            "num_candidates": 20,
            "classifier_input": "mean",
            "learning_rate": 1e-3,
            "batch_size": 64,
        },
        "paper": _PAPER_IMAGES,
        "smoke": _SMOKE_IMAGES,
    },
    "mnist": {"default": {}, "paper": _PAPER_IMAGES, "smoke": _SMOKE_IMAGES},
    "moons": {
        "default": {
            **_MOONS,
            "pretrain_autoencoder_epochs": 30,
            "pretrain_vae_epochs": 20,
            "label_epochs": 40,
            "epochs": 60,
        },
        "paper": {**_MOONS, **_PAPER},
        "smoke": {**_MOONS, **_SMOKE},
    },
}

# What DGG's paper reports, for the summary of a run.
PAPER = {"mnist": {"accuracy": 0.9758, "source": "DGG, table 1"}}


def dgg(dataset: str, name: str = "default") -> DGGPreset:
    """The DGG preset of a data set.

    Args:
      dataset: digits, mnist or moons.
      name: default, paper or smoke.

    Returns:
      The preset; change fields with ``dataclasses.replace``.

    Raises:
      InvalidInput: if there is no such data set or preset.
    """
    checks.one_of("dataset", dataset, tuple(_DATASETS))
    checks.one_of("preset", name, NAMES)
    return DGGPreset(**_DATASETS[dataset][name])
