"""What the numbers of a report mean: a sentence for each."""

from collections.abc import Collection
from typing import NamedTuple


class Term(NamedTuple):
    """A number and what it means.

    Attributes:
      name: as the page has it.
      meaning: a sentence or two.
    """

    name: str
    meaning: str


# By the names that records have, and some of the page's own.
_TERMS = {
    "accuracy": Term(
        "ACC",
        "The share of rows that are in the cluster matched to their true class, each "
        "class to one cluster at most: 1 is perfect. Labels never reach training.",
    ),
    "nmi": Term(
        "NMI",
        "Normalised mutual information of clusters and classes: 0 where they tell "
        "nothing of each other, 1 where they are the same.",
    ),
    "ari": Term(
        "ARI",
        "Adjusted Rand index: how often clusters and classes agree on whether a pair "
        "of rows belongs together; 0 is chance, 1 is perfect.",
    ),
    "confident_label_accuracy": Term(
        "Most confident label",
        "GMVAE's own score: each cluster takes the class of its most confident row. "
        "Clusters may share a class, so it is no ACC.",
    ),
    "elbo": Term(
        "ELBO",
        "The evidence lower bound, mean over the rows in nats: how well the model "
        "explains them. Higher is better; only runs on the same data compare.",
    ),
    "reconstruction": Term(
        "Reconstruction", "How well rows are decoded from their latents: E ln p(x | z)."
    ),
    "latent_prior": Term(
        "Latent prior", "How well latents fit the components: E ln p(z | c)."
    ),
    "latent_entropy": Term(
        "Latent entropy",
        "How wide the posterior of a row is; with the latent prior near 0 together, "
        "latents hardly depend on the row.",
    ),
    "cluster_prior": Term(
        "Cluster prior",
        "How probable the clusters are before a row is seen: E ln p(c).",
    ),
    "cluster_entropy": Term(
        "Cluster entropy",
        "How undecided assignments are: near ln K everywhere, near 0 nowhere.",
    ),
    "conditional_prior": Term(
        "conditional prior", "How well latents fit the component that w and c choose."
    ),
    "w_prior": Term("w prior", "How far GMVAE's second latent w is from its prior."),
    "seconds": Term(
        "Time", "Wall-clock seconds, with the compilation of what is trained."
    ),
    "peak_memory_mib": Term(
        "peak memory mib",
        "The most memory of the host that the process had had when the stage ended, in "
        "MiB: the first stage with the final figure took most.",
    ),
    "peak_device_memory_mib": Term(
        "peak device memory mib",
        "The same of the device, where it has memory of its own.",
    ),
    "training": Term(
        "Training", "Seconds in epochs of loops, but for what makes their programs."
    ),
    "tracing": Term(
        "Tracing", "Seconds in which jax turned functions into programs for XLA."
    ),
    "compiling": Term(
        "Compiling",
        "Seconds in which XLA compiled them, or read what an earlier run had compiled.",
    ),
    "rest": Term(
        "Rest",
        "All other seconds: what the host does, such as K-means, what the device "
        "computes outside of loops, and checkpoints.",
    ),
    "epochs": Term("epochs", "How often training saw every row."),
    "objective": Term(
        "objective",
        "What joint training raises, in nats a row: an ELBO in which each row is to be "
        "reconstructed from its neighbours, too.",
    ),
    "neighbor_purity": Term(
        "neighbor purity",
        "The share of neighbours in the graph that are of a row's own class. Low means "
        "that the graph leads astray, whatever is trained on it.",
    ),
    "graph_information": Term(
        "graph information",
        "How much the cluster of a row tells of that of its neighbour, in nats: the "
        "mutual information over the edges of the graph, ln K at most. Clusters that "
        "few edges leave, and that are of like size, have much.",
    ),
    "standing": Term(
        "standing",
        "What ranks clusterings without labels: their agreement, and a bonus for "
        "neighbour certainty.",
    ),
    "agreement": Term(
        "agreement", "The mean NMI of a clustering with the others, weighted."
    ),
    "neighbor_certainty": Term(
        "neighbor certainty",
        "Graph information as a share of ln K: 1 where neighbours are always together.",
    ),
    "best_candidate": Term(
        "best candidate",
        "The clustering that the run starts from: the one that stands best, or K-means "
        "of the data, if that stands at most 0.03 lower.",
    ),
    "next_candidate": Term("next candidate", "The one that stands second."),
    "next_standing": Term(
        "next standing",
        "What that one stands at; if it is close to the best, chance decided.",
    ),
    "labels_followed": Term(
        "labels followed",
        "The share of rows whose label, which the run starts from, the fitted "
        "classifier repeats.",
    ),
    "stage_kept": Term(
        "stage kept",
        "Which model became the result: the trained one, or that from before training.",
    ),
    "undone": Term(
        "Training undone",
        "The clusters stood better before joint training than after it, so that the "
        "model from before it was kept.",
    ),
    "em_accuracy": Term(
        "em accuracy", "ACC of a mixture that EM fits to the latents of these rows."
    ),
    "mixture_log_likelihood": Term(
        "mixture log likelihood", "Mean ln p(z) of the fitted mixture, in nats a row."
    ),
    "smallest_share": Term(
        "smallest share", "The share of rows that the smallest cluster has."
    ),
    "perplexity": Term(
        "perplexity",
        "How many clusters of equal size would be as varied: K where all are in equal "
        "use, 1 where one has everything.",
    ),
    "confidence": Term(
        "Confidence",
        "The largest probability that a row has for a cluster; of a cluster or a run, "
        "the mean over its rows.",
    ),
    "calibration_error": Term(
        "calibration error",
        "By how much confidence and the share of right rows differ, mean over bins of "
        "confidence: 0 is honest.",
    ),
    "confidence_auc": Term(
        "confidence auc",
        "How probable it is that a right row is surer than a wrong one: 0.5 is chance.",
    ),
    "share": Term("Share", "The share of all rows that are in a cluster."),
    "mean_probability": Term(
        "Mean probability",
        "What all rows give a cluster, on average. Far from its share, many rows are "
        "undecided.",
    ),
    "purity": Term(
        "Mostly", "The class that most rows of a cluster have, and the share that do."
    ),
    "latent_variance": Term(
        "Latent variance",
        "How far the latents of a cluster spread around their mean, a mean over their "
        "dimensions. Much more than in other clusters may be two clusters in one.",
    ),
    "deviation": Term(
        "sd",
        "Standard deviations of all rows: the mean of a cluster less that of all, "
        "divided by how much all rows vary in this column.",
    ),
    "lift": Term(
        "Times the mean", "The mean in a cluster divided by that of all rows."
    ),
    "outlier": Term(
        "Outlier score",
        "The rank of a row by its ELBO: the strangest are those that the model "
        "explains worst.",
    ),
    "found_again": Term(
        "Found again",
        "How much of a cluster comes back in repetitions of the run: 75 % and more is "
        "stable, less than 50 % has dissolved.",
    ),
}


def explained(keys: Collection[str]) -> dict[str, Term]:
    """The terms of these keys that have a sentence, in the order of the list.

    >>> list(explained({"nmi", "accuracy", "of nobody"}))
    ['accuracy', 'nmi']

    Args:
      keys: names that records have, or the page.
    """
    return {key: term for key, term in _TERMS.items() if key in keys}
