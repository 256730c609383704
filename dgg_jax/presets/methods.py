"""The settings of every method, and their default values."""

import dataclasses
from typing import Any, ClassVar

from dgg_jax import checks
from dgg_jax.presets.fields import Preset, setting

_LIKELIHOODS = ("bernoulli", "gaussian", "learned_gaussian")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkPreset(Preset):
    """Settings of every method that trains networks."""

    precision: str = setting(
        "float32",
        "of matrix products: float32; on GPUs and TPUs, which are faster with it, "
        "also tf32 or bfloat16, summed in float32. A CPU always takes float32.",
        choices=("float32", "tf32", "bfloat16"),
    )
    shuffle: str = setting(
        "all",
        "where a batch's rows come from: all (anywhere, the same for any number of "
        "devices) or device (as many from each device's own, which sends none).",
        choices=("all", "device"),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecoderPreset(NetworkPreset):
    """Settings of what a decoder makes of a latent."""

    likelihood: str = setting(
        "bernoulli",
        "p(x | z): bernoulli (values in [0, 1]), gaussian (fixed variance) or "
        "learned_gaussian.",
        choices=_LIKELIHOODS,
    )
    variance: float = setting(
        1.0,
        "lambda, the fixed variance of the gaussian likelihood.",
        positive=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoencoderPreset(DecoderPreset):
    """Settings of the networks and of the pretraining that methods share."""

    takes_counts: ClassVar[bool] = True
    takes_missing: ClassVar[bool] = True

    likelihood: str = setting(
        "bernoulli",
        "p(x | z): bernoulli (values in [0, 1]), gaussian (fixed variance), "
        "learned_gaussian or negative_binomial (counts).",
        choices=(*_LIKELIHOODS, "negative_binomial"),
    )
    dispersion: float = setting(
        10.0,
        "theta of the negative_binomial likelihood: counts of mean mu have the "
        "variance mu + mu^2 / theta.",
        positive=True,
    )

    hidden_sizes: tuple[int, ...] = setting(
        (500, 500, 2000),
        "widths of the encoder's ReLU layers; the decoder mirrors them.",
    )
    latent_dim: int = setting(10, "L, dimension of the latent space.")
    principal_components: int = setting(
        0,
        "P, principal components in which the encoder sees rows and the decoder gives "
        "them back, if there are more than P columns; 0: the columns themselves.",
        low=0,
    )
    pretrain_layer_epochs: int = setting(
        0,
        "epochs of each layer's denoising autoencoder; 0 skips.",
        low=0,
    )
    pretrain_autoencoder_epochs: int = setting(
        15,
        "epochs of the deep denoising autoencoder.",
        low=0,
    )
    pretrain_vae_epochs: int = setting(
        2,
        "epochs of the VAE with prior N(0, I); 0 skips.",
        low=0,
    )
    pretrain_centered: bool = setting(
        False,
        "start the encoder's first layer as if rows had a mean of 0 and a spread of 1, "
        "which principal components have.",
    )
    pretrain_corruption: float = setting(
        0.2,
        "share of inputs set to 0 by the denoising autoencoders.",
        low=0,
        high=0.99,
    )
    pretrain_learning_rate: float = setting(
        1e-3,
        "Adam's rate in pretraining.",
        positive=True,
    )
    pretrain_batch_size: int = setting(256, "points of a batch in pretraining.")
    device_memory_share: float = setting(
        0.5,
        "of the device's memory, what data may take before they stay on the host and "
        "stream to the device by the batch.",
        positive=True,
        high=1,
    )

    def __post_init__(self):
        """Checks every value; see ``Preset``."""
        super().__post_init__()
        if self.pretrain_layer_epochs and self.principal_components:
            raise checks.InvalidInput(
                f"pretrain_layer_epochs={self.pretrain_layer_epochs} trains layers "
                "that see columns, not "
                f"principal_components={self.principal_components}; set one of them "
                "to 0."
            )

    @property
    def has_counts(self) -> bool:  # type: ignore[override]
        """Whether rows are counts, which are compared by the logarithms of shares."""
        return self.likelihood == "negative_binomial"

    def autoencoder_settings(self) -> dict[str, Any]:
        """The settings that the pretrained autoencoder depends on."""
        names = {field.name for field in dataclasses.fields(AutoencoderPreset)}
        names -= {"num_clusters", "pretrain_vae_epochs", "device_memory_share"}
        return {name: getattr(self, name) for name in names}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SiamesePreset(NetworkPreset):
    """Settings of the Siamese network that measures similarity."""

    siamese_epochs: int = setting(
        8,
        "epochs of the Siamese network; 0 takes distances of the data.",
        low=0,
    )
    siamese_pairs: int = setting(2, "N_t, positive pairs a point.")
    siamese_pairing: str = setting(
        "batch",
        "batch: all pairs of what a step embeds, a batch and N_t neighbours of each "
        "point; drawn: N_t positive and N_t negative ones a point.",
        choices=("batch", "drawn"),
    )
    siamese_candidates: int = setting(
        2,
        "nearest points of which the positive pairs are drawn; if no more than "
        "siamese_pairs, these are the nearest.",
    )
    siamese_components: int = setting(
        0,
        "principal components in which these are nearest, if there are more columns; "
        "0: in the data.",
        low=0,
    )
    siamese_margin: float = setting(
        5.0,
        "c, distance to which negative pairs are pushed.",
        positive=True,
    )
    siamese_init: str = setting(
        "encoder",
        "random, or encoder: from the pretrained encoder.",
        choices=("encoder", "random"),
    )
    siamese_optimizer: str = setting(
        "adam",
        "what trains the Siamese network: adam, or sgd with a momentum of 0.9.",
        choices=("adam", "sgd"),
    )
    siamese_learning_rate: float = setting(
        5e-4,
        "initial rate of what trains the Siamese network.",
        positive=True,
    )
    siamese_decay: float = setting(
        0.1,
        "factor of that rate every siamese_decay_epochs.",
        positive=True,
        high=1,
    )
    siamese_decay_epochs: int = setting(70, "epochs of one stair of that rate.")
    siamese_weight_decay: float = setting(
        1e-4,
        "L2 weight decay of the Siamese network.",
        low=0,
    )
    siamese_batch_size: int = setting(256, "points of a batch for the Siamese network.")
    siamese_warp: float = setting(
        0.0,
        "strength of the random warps (``RandomWarp``) of what the Siamese "
        "network is trained on, if the rows are images; 0 for none.",
        low=0,
    )

    def siamese_settings(self) -> dict[str, Any]:
        """The settings of the Siamese network alone."""
        names = [field.name for field in dataclasses.fields(SiamesePreset)]
        return {name: getattr(self, name) for name in names if "siamese" in name}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingPreset(NetworkPreset):
    """Settings of a method's own training."""

    epochs: int = setting(40, "epochs of the method's own training.", low=0)
    batch_size: int = setting(256, "points of a batch in it.")
    optimizer: str = setting(
        "adam",
        "of the method's own training: adam, or sgd with a momentum of 0.9.",
        choices=("adam", "sgd"),
    )
    learning_rate: float = setting(
        2e-3, "initial rate of the method's own training.", positive=True
    )
    decay: float = setting(
        0.9,
        "factor of that rate every decay_epochs.",
        positive=True,
        high=1,
    )
    decay_epochs: int = setting(10, "epochs of one stair of that rate.")
    weight_decay: float = setting(0.0, "L2 weight decay in it.", low=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixturePreset(AutoencoderPreset, TrainingPreset):
    """Settings of a VAE with a mixture prior, as DGG and VaDE have it."""

    num_neighbors: int = setting(20, "S, neighbours of a point in the graph.")
    init: str = setting(
        "spectral",
        "labels to start from: spectral (of the graph), kmeans or gmm (of the "
        "latents).",
        choices=("spectral", "kmeans", "gmm"),
    )
    eigenvectors_per_cluster: float = setting(
        1.6,
        "times K, the most eigenvectors that spectral init tries.",
        positive=True,
    )
    variance_floor: float = setting(
        1e-3,
        "smallest initial variance of a mixture component.",
        positive=True,
    )
    posterior_variance: bool = setting(
        True,
        "adds the mean variance of the posteriors to that of their means in the "
        "initial variances of the components (erratum E37).",
    )
    label_epochs: int = setting(
        0,
        "epochs that fit the whole model to the initial labels; 0 skips.",
        low=0,
    )
    restarts: int = setting(
        1,
        "runs of initialisation and training; the best is kept: in VaDE by the "
        "objective (the ELBO, but for another reconstruction_weight or kl_term), in "
        "DGG by the standing of the clusters, without ensemble and guard by the "
        "information that the graph's neighbours have of each other's.",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DGGPreset(MixturePreset, SiamesePreset):
    """All settings of DGG."""

    counts_clusters: ClassVar[bool] = True

    init: str = setting(
        "ensemble",
        "labels to start from: ensemble (of clusterings that differ in space and "
        "method, the one that stands best), spectral (of the graph), "
        "kmeans or gmm (of the latents).",
        choices=("ensemble", "spectral", "kmeans", "gmm"),
    )
    guard: bool = setting(
        True,
        "keep the model from before training where that costs the clusters 0.01 of "
        "their standing, or one of them all of its rows.",
    )
    calibrate: bool = setting(
        True,
        "make the probabilities of the clusters say how often they are right, by the "
        "neighbours of a row and the ensemble; else they are q(c | x).",
    )
    classifier_hidden_sizes: tuple[int, ...] | None = setting(
        (),
        "widths of ReLU layers of the classifier f_2; None is the paper's rule: none "
        "for K >= 10, one of width K for fewer.",
    )
    classifier_input: str = setting(
        "mean",
        "what f_2 sees in training: sample (of q(z | x)) or mean.",
        choices=("sample", "mean"),
    )
    graph_of: str = setting(
        "siamese",
        "where neighbours are near: siamese (embedding), latents (of the pretrained "
        "encoder) or data (so too if siamese_epochs is 0).",
        choices=("siamese", "latents", "data"),
    )
    init_neighbors: int = setting(
        20,
        "neighbours in the graph that spectral init clusters, and whose information "
        "is reported; always drawn from the candidates at random.",
    )
    num_candidates: int = setting(
        100,
        "nearest points from which the neighbours are chosen.",
    )
    neighbor_choice: str = setting(
        "nearest",
        "random (drawn once from the candidates) or nearest.",
        choices=("random", "nearest"),
    )
    neighbor_weights: str = setting(
        "uniform",
        "uniform or gaussian, eq. (32).",
        choices=("uniform", "gaussian"),
    )
    kernel_neighbor: int = setting(
        0,
        "s_i of eq. (32) is the distance to this one of the kept neighbours, counted "
        "from the nearest; 0: to the farthest, whose weights are nearly uniform.",
        low=0,
    )
    classifier_epochs: int = setting(
        20,
        "epochs that fit f_2 to the initial labels.",
        low=0,
    )
    classifier_learning_rate: float = setting(
        1e-2,
        "Adam's rate for that.",
        positive=True,
    )
    objective: str = setting(
        "node",
        "node (cost independent of S) or tuple (Algorithm 1 as printed).",
        choices=("node", "tuple"),
    )
    graph_strength: float = setting(
        1.6,
        "eta in [0, 2], the weight of the graph; 1 is the paper.",
        low=0,
        high=2,
    )
    warp_weight: float = setting(
        0.0,
        "weight, beside the objective of a row, of how far q(c | x) of its copy, "
        "warped by siamese_warp, is from its own; 0 for none, as in the paper.",
        low=0,
    )
    initial_variance: float = setting(
        0.0,
        "variance of every component to start from; 0: that of its labels.",
        low=0,
    )
    label_epochs: int = 4
    epochs: int = 20
    tolerance: float = setting(
        1e-4,
        "share of the rows that go to another cluster in an epoch; five epochs of no "
        "more end the training, if J rests too; 0: none do.",
        low=0,
        high=1,
    )

    def __post_init__(self):
        """Checks every value; see ``Preset``."""
        super().__post_init__()
        if self.num_candidates < self.num_neighbors:
            raise checks.InvalidInput(
                f"num_candidates={self.num_candidates} must be at least "
                f"num_neighbors={self.num_neighbors}, which are chosen from them."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class VaDEPreset(MixturePreset):
    """All settings of VaDE."""

    initial_weights: str = setting(
        "labels",
        "pi to start from: labels (their shares) or uniform.",
        choices=("labels", "uniform"),
    )
    initial_variances: str = setting(
        "labels",
        "sigma_c^2 to start from: labels (their moments) or unit. With init=gmm, "
        "labels are the fitted mixture's own weights and variances.",
        choices=("labels", "unit"),
    )
    assignment: str = setting(
        "sample",
        "q(c | x) in training: sample, eq. (11), or mean_field (its optimum).",
        choices=("sample", "mean_field"),
    )
    num_samples: int = setting(1, "M, draws of z for a point.")
    reconstruction_weight: float = setting(
        1.0,
        "alpha, weight of the reconstruction in the objective.",
        positive=True,
    )
    kl_warmup_epochs: int = setting(
        0,
        "epochs in which the weight of the other terms rises to 1.",
        low=0,
    )
    kl_term: bool = setting(
        True,
        "false trains an autoencoder through the posterior mean, then fits a Gaussian "
        "mixture to its latents: the paper's AE+GMM.",
    )
    clustering: str = setting(
        "posterior",
        "of the run's own labels: from the posterior, p(c | z) at its mean, or by em "
        "on the latents of its rows. The model keeps the trained mixture: new rows "
        "get p(c | z) either way.",
        choices=("posterior", "em"),
    )
    learning_rate_floor: float = setting(
        0.0,
        "rate below which the networks' rate does not fall.",
        low=0,
    )
    mixture_learning_rate: float = setting(
        2e-5,
        "Adam's initial rate for pi, mu_c and sigma_c.",
        positive=True,
    )
    mixture_decay: float = setting(
        0.9,
        "factor of that rate every decay_epochs.",
        positive=True,
        high=1,
    )
    pretrain_vae_epochs: int = 0
    learning_rate: float = 1e-3
    label_epochs: int = 8
    epochs: int = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class GMVAEPreset(DecoderPreset, TrainingPreset):
    """All settings of GMVAE."""

    architecture: str = setting(
        "dense",
        "dense, or the convolutions of tables A.1 and A.3 for mnist or svhn.",
        choices=("dense", "mnist", "svhn"),
    )
    hidden_sizes: tuple[int, ...] = setting(
        (500, 500),
        "widths of the dense encoder's ReLU layers; the decoder mirrors them.",
    )
    component_hidden_size: int = setting(500, "width of the Tanh layer of p(z | w, c).")
    latent_dim: int = setting(10, "L, dimension of the latent space.")
    w_dim: int = setting(10, "dimension of w.")
    num_samples: int = setting(1, "M, draws of z for a point.")
    conditional_prior: str = setting(
        "independent",
        "independent, eq. (5), or joint, its exact value.",
        choices=("independent", "joint"),
    )
    information_constraint: float = setting(
        0.0,
        "lambda of eq. (7), in nats; 0 is the plain bound.",
        low=0,
    )
    batch_size: int = 100
    learning_rate: float = 1e-3
    decay: float = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class KMeansPreset(Preset):
    """All settings of K-means on the data."""

    restarts: int = setting(10, "starts of the algorithm; the best objective is kept.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GMMPreset(Preset):
    """All settings of a Gaussian mixture on the data."""

    restarts: int = setting(3, "starts of the algorithm; the best objective is kept.")
    covariance: str = setting(
        "diag",
        "of a component: diag or full.",
        choices=("diag", "full"),
    )
    variance_floor: float = setting(
        1e-3,
        "added to the variances of the components.",
        positive=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpectralPreset(Preset):
    """All settings of spectral clustering on the kNN graph of the data."""

    num_neighbors: int = setting(20, "S, neighbours of a point in the graph.")
    neighbor_weights: str = setting(
        "uniform",
        "uniform or gaussian, eq. (32) of DGG.",
        choices=("uniform", "gaussian"),
    )
    eigenvectors_per_cluster: float = setting(
        1.6,
        "times K, the most eigenvectors that are tried.",
        positive=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class LDMGIPreset(Preset):
    """All settings of local discriminant models and global integration."""

    clique_neighbors: int = setting(4, "k - 1, neighbours in the clique of a row.")
    regularization: float = setting(
        0.0,
        "lambda of the ridge regressions, in squared units of the data; 0 tries powers "
        "of 100 from 1e-8 to 1e8 and keeps the labels of most information in a graph.",
        low=0,
    )
    num_neighbors: int = setting(20, "S, of that graph.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentPreset(AutoencoderPreset):
    """Settings of the latents of an autoencoder that are clustered."""

    embedding: str = setting(
        "ae",
        "what goes on training after the pretraining that methods share: ae, an "
        "autoencoder; dae, a denoising one; vae, a variational one.",
        choices=("ae", "dae", "vae"),
    )
    embedding_epochs: int = setting(10, "for how long.", low=0)
    pretrain_vae_epochs: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentGMMPreset(LatentPreset, GMMPreset):
    """All settings of a Gaussian mixture on the latents of an autoencoder."""

    covariance: str = "full"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentKMeansPreset(LatentPreset, KMeansPreset):
    """All settings of K-means on the latents of an autoencoder."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SiameseKMeansPreset(AutoencoderPreset, SiamesePreset, KMeansPreset):
    """All settings of K-means on the Siamese embedding of DGG."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SiameseSpectralPreset(AutoencoderPreset, SiamesePreset, SpectralPreset):
    """All settings of spectral clustering on the Siamese embedding of DGG."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DECPreset(AutoencoderPreset, TrainingPreset):
    """All settings of DEC."""

    degrees_of_freedom: float = setting(
        1.0,
        "of the Student t kernel between latents and centres.",
        positive=True,
    )
    restarts: int = setting(20, "starts of the algorithm; the best objective is kept.")
    pretrain_vae_epochs: int = 0
    epochs: int = 20
    learning_rate: float = 1e-3
    decay: float = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpectralNetPreset(SiamesePreset, TrainingPreset):
    """All settings of SpectralNet."""

    hidden_sizes: tuple[int, ...] = setting(
        (1024, 1024, 512),
        "widths of the ReLU layers of both networks.",
    )
    latent_dim: int = setting(10, "L, dimension of the Siamese embedding.")
    affinity_neighbors: int = setting(
        5,
        "nearest points in a batch that a point is similar to.",
    )
    laplacian: str = setting(
        "unnormalized",
        "unnormalized or normalized.",
        choices=("unnormalized", "normalized"),
    )
    restarts: int = setting(10, "starts of the algorithm; the best objective is kept.")
    siamese_init: str = "random"
    batch_size: int = 1024
    learning_rate: float = 1e-3

    def __post_init__(self):
        """Checks every value; see ``Preset``."""
        super().__post_init__()
        if self.siamese_init != "random":
            raise checks.InvalidInput(
                "siamese_init=encoder needs a pretrained encoder, which SpectralNet "
                "does not have; use siamese_init=random."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class IMSATPreset(TrainingPreset):
    """All settings of IMSAT."""

    hidden_sizes: tuple[int, ...] = setting(
        (1200, 1200),
        "widths of the ReLU layers of the classifier.",
    )
    num_neighbors: int = setting(
        10,
        "k, the neighbour whose distance scales the perturbations.",
    )
    perturbation_fraction: float = setting(
        0.25,
        "their length, as a share of that distance.",
        positive=True,
    )
    perturbation_probe: float = setting(
        4.0,
        "xi, length at which their direction is sought, in units of it.",
        positive=True,
    )
    batch_norm: bool = setting(True, "whether the classifier has batch normalisation.")
    information_weight: float = setting(
        0.1,
        "lambda, weight of the mutual information.",
        positive=True,
    )
    marginal_weight: float = setting(
        4.0,
        "mu, weight of the marginal entropy in it.",
        positive=True,
    )
    warp: float = setting(
        0.0,
        "strength of random warps (``RandomWarp``) that leave clusters as they are, "
        "too, if the rows are images; 0 for none.",
        low=0,
    )
    epochs: int = 50
    batch_size: int = 250
    learning_rate: float = 2e-3
    decay: float = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class CatGANPreset(TrainingPreset):
    """All settings of CatGAN."""

    hidden_sizes: tuple[int, ...] = setting(
        (500, 500),
        "widths of the ReLU layers of the classifier; the generator mirrors them.",
    )
    latent_dim: int = setting(64, "L, dimension of the noise that rows are made of.")
    input_noise: float = setting(
        0.3,
        "deviation of the noise that blurs rows in training, as a share of theirs.",
        low=0,
    )
    hidden_noise: float = setting(
        0.3,
        "deviation of the noise in the layers of the classifier in training, which are "
        "normalised.",
        low=0,
    )
    epochs: int = 60
    batch_size: int = 100
    learning_rate: float = 1e-3
    decay: float = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class AAEPreset(DecoderPreset, TrainingPreset):
    """All settings of AAE."""

    hidden_sizes: tuple[int, ...] = setting(
        (256, 256),
        "widths of the ReLU layers of the encoder and of the critics; the decoder "
        "mirrors them.",
    )
    latent_dim: int = setting(10, "L, dimension of the style.")
    code_noise: float = setting(
        0.5,
        "deviation of the noise, in training, that blurs the style for the decoder and "
        "codes for the critics.",
        low=0,
    )
    epochs: int = 60
    batch_size: int = 64
    learning_rate: float = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class LTVAEPreset(AutoencoderPreset, TrainingPreset):
    """All settings of LTVAE."""

    max_facets: int = setting(
        4, "V, the most discrete variables that the tree may have; 1 is a mixture."
    )
    search_epochs: int = setting(
        10, "epochs between two searches of the tree's structure."
    )
    search_rows: int = setting(
        2000, "rows, drawn anew for each search, whose latents it fits."
    )
    search_moves: int = setting(
        20,
        "moves of a search, at most; 0 leaves the mixture that training starts from.",
        low=0,
    )
    stepwise_exponent: float = setting(
        0.7,
        "rho: the t-th batch has the weight (t + 2)^-rho in the tree's statistics.",
        positive=True,
        high=1,
    )
    variance_floor: float = setting(
        1e-3, "added to the variances of the tree.", positive=True
    )
    pretrain_vae_epochs: int = 0
    learning_rate: float = 1e-3


_CLASSES: dict[str, type[Preset]] = {
    "dgg": DGGPreset,
    "vade": VaDEPreset,
    "gmvae": GMVAEPreset,
    "kmeans": KMeansPreset,
    "gmm": GMMPreset,
    "spectral": SpectralPreset,
    "ldmgi": LDMGIPreset,
    "ae_gmm": LatentGMMPreset,
    "dae_gmm": LatentGMMPreset,
    "vae_gmm": LatentGMMPreset,
    "ae_kmeans": LatentKMeansPreset,
    "siamese_kmeans": SiameseKMeansPreset,
    "siamese_spectral": SiameseSpectralPreset,
    "dec": DECPreset,
    "spectralnet": SpectralNetPreset,
    "imsat": IMSATPreset,
    "catgan": CatGANPreset,
    "aae": AAEPreset,
    "ltvae": LTVAEPreset,
}
METHODS = tuple(_CLASSES)
# What tells methods of one class apart, whatever the data.
EMBEDDINGS = {"ae_gmm": "ae", "dae_gmm": "dae", "vae_gmm": "vae", "ae_kmeans": "ae"}


def preset_class(method: str) -> type[Preset]:
    """The dataclass with a method's settings.

    Raises:
      InvalidInput: if there is no such method; the message lists them.
    """
    checks.one_of("method", method, METHODS)
    return _CLASSES[method]
