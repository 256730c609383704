"""Metrics of clusters, for reporting only, never for training.

Most compare them with true labels; the last ones ask whether they have collapsed.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import special
from scipy.optimize import linear_sum_assignment
from sklearn import metrics as sk_metrics

from dgg_jax import checks


def _label_pair(true: ArrayLike, predicted: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    true, predicted = np.asarray(true), np.asarray(predicted)
    if true.ndim != 1 or true.shape != predicted.shape or len(true) == 0:
        raise checks.InvalidInput(
            "labels_true and labels_pred must be two vectors of the same length >= 1, "
            f"got shapes {true.shape} and {predicted.shape}."
        )
    return true, predicted


def clustering_accuracy(labels_true: ArrayLike, labels_pred: ArrayLike) -> float:
    r"""ACC: the share of points right under the best one-to-one map of clusters.

    .. math:: \max_m \frac{1}{N} \sum_n \mathbf{1}\{ l_n = m(c_n) \}

    Eq. (33) of DGG, by the Hungarian method. With more clusters than classes the
    surplus clusters count as wrong.

    Args:
      labels_true: integers or strings, shape [N].
      labels_pred: integers, shape [N].

    Returns:
      A share in [0, 1].

    Raises:
      InvalidInput: if the two are not vectors of the same length.

    Example:
      >>> from dgg_jax.metrics import clustering_accuracy
      >>> clustering_accuracy(["a", "a", "b", "b"], [1, 1, 0, 1])
      0.75
    """
    return float(matched_rows(labels_true, labels_pred).mean())


def matched_rows(labels_true: ArrayLike, labels_pred: ArrayLike) -> np.ndarray:
    """Which points are right under the best one-to-one map of clusters, bool [N].

    Args:
      labels_true: integers or strings, shape [N].
      labels_pred: integers, shape [N].

    Raises:
      InvalidInput: if the two are not vectors of the same length.

    Example:
      >>> from dgg_jax.metrics import matched_rows
      >>> matched_rows(["a", "a", "b", "b"], [1, 1, 0, 1]).tolist()
      [True, True, True, False]
    """
    true, predicted = _label_pair(labels_true, labels_pred)
    _, of_true = np.unique(true, return_inverse=True)
    return matched_classes(true, predicted) == of_true


def matched_classes(labels_true: ArrayLike, labels_pred: ArrayLike) -> np.ndarray:
    """The class of each point's cluster under the best one-to-one map, int [N].

    Args:
      labels_true: integers or strings, shape [N].
      labels_pred: integers, shape [N].

    Returns:
      Places of the classes in ascending order, 0..C-1; clusters without a class of
      their own have C, C + 1, ...

    Raises:
      InvalidInput: if the two are not vectors of the same length.

    Example:
      >>> from dgg_jax.metrics import matched_classes
      >>> matched_classes(["a", "a", "b", "b"], [1, 1, 0, 2]).tolist()
      [0, 0, 1, 2]
    """
    true, predicted = _label_pair(labels_true, labels_pred)
    classes, of_true = np.unique(true, return_inverse=True)
    clusters, of_predicted = np.unique(predicted, return_inverse=True)
    counts = np.zeros((len(classes), len(clusters)), np.int64)
    np.add.at(counts, (of_true, of_predicted), 1)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    class_of = np.full(len(clusters), -1)
    class_of[columns] = rows
    spare = class_of < 0
    class_of[spare] = len(classes) + np.arange(spare.sum())
    return class_of[of_predicted]


def normalized_mutual_info(labels_true: ArrayLike, labels_pred: ArrayLike) -> float:
    """NMI with the arithmetic mean of the entropies, in [0, 1] (erratum E32).

    Args:
      labels_true: shape [N].
      labels_pred: shape [N].

    Raises:
      InvalidInput: if the two are not vectors of the same length.

    Example:
      >>> from dgg_jax.metrics import normalized_mutual_info
      >>> normalized_mutual_info([0, 0, 1, 1], [7, 7, 3, 3])
      1.0
    """
    pair = _label_pair(labels_true, labels_pred)
    return float(sk_metrics.normalized_mutual_info_score(*pair))


def adjusted_rand_index(labels_true: ArrayLike, labels_pred: ArrayLike) -> float:
    """ARI: Rand index adjusted for chance, at most 1, 0 for random labels.

    Args:
      labels_true: shape [N].
      labels_pred: shape [N].

    Raises:
      InvalidInput: if the two are not vectors of the same length.

    Example:
      >>> from dgg_jax.metrics import adjusted_rand_index
      >>> adjusted_rand_index([0, 0, 1, 1], [0, 1, 0, 1])
      -0.5
    """
    return float(sk_metrics.adjusted_rand_score(*_label_pair(labels_true, labels_pred)))


def most_confident_label_accuracy(
    labels_true: ArrayLike, probabilities: ArrayLike
) -> float:
    """GMVAE's score: a cluster takes the label of its most confident point.

    The score of GMVAE's table 1, which may give one label to several clusters and is
    therefore not comparable with ACC (erratum E62).

    Args:
      labels_true: shape [N].
      probabilities: p(c | x), shape [N, K].

    Returns:
      A share in [0, 1].

    Raises:
      InvalidInput: if the shapes do not match.

    Example:
      Two of three clusters take the label "a":

      >>> from dgg_jax.metrics import most_confident_label_accuracy
      >>> p = [[0.9, 0.1, 0.0], [0.1, 0.8, 0.1], [0.2, 0.1, 0.7]]
      >>> most_confident_label_accuracy(["a", "a", "b"], p)
      1.0
    """
    true, probabilities = np.asarray(labels_true), np.asarray(probabilities)
    if probabilities.ndim != 2 or true.shape != probabilities.shape[:1]:
        raise checks.InvalidInput(
            "probabilities must be [N, K] for labels_true of shape [N], got shapes "
            f"{probabilities.shape} and {true.shape}."
        )
    label_of_cluster = true[probabilities.argmax(axis=0)]
    return float(np.mean(label_of_cluster[probabilities.argmax(axis=1)] == true))


_ROUNDING = 1e-6  # of probabilities in float32


def calibration_error(right: ArrayLike, confidence: ArrayLike, bins: int = 15) -> float:
    r"""By how much confidence and accuracy differ, in bins of equal width.

    .. math:: \sum_b \frac{N_b}{N} |\mathrm{acc}(b) - \mathrm{conf}(b)|

    The expected calibration error of Guo et al., ICML 2017, eq. (5).

    Args:
      right: whether each row is, shape [N].
      confidence: how probable that was said to be, in [0, 1], shape [N].
      bins: how many.

    Returns:
      A number in [0, 1]; 0 is best.

    Raises:
      InvalidInput: if the two are not vectors of the same length, a confidence is not
        in [0, 1] or there is no bin.

    Example:
      Of the rows of 0.8, half are right:

      >>> from dgg_jax.metrics import calibration_error
      >>> round(calibration_error([True, False], [0.8, 0.8]), 6)
      0.3
    """
    right, confidence = _judged(right, confidence)
    checks.in_range("bins", bins, 1)
    if not (confidence.min() >= 0.0 and confidence.max() <= 1.0 + _ROUNDING):
        raise checks.InvalidInput(
            "confidence must be in [0, 1], got values from "
            f"{confidence.min():g} to {confidence.max():g}."
        )
    of_bin = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(of_bin, right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(right))


def confidence_auc(right: ArrayLike, confidence: ArrayLike) -> float | None:
    """The probability that a right row has more confidence than a wrong one.

    The area under the ROC of telling right from wrong by confidence: 0.5 is chance.

    Args:
      right: whether each row is, shape [N].
      confidence: larger where that was more probable, shape [N].

    Returns:
      A number in [0, 1]; None if all rows are right, or all wrong.

    Raises:
      InvalidInput: if the two are not vectors of the same length.

    Example:
      >>> from dgg_jax.metrics import confidence_auc
      >>> confidence_auc([True, True, False], [0.9, 0.6, 0.7])
      0.5
    """
    right, confidence = _judged(right, confidence)
    if len(np.unique(right)) < 2:
        return None
    return float(sk_metrics.roc_auc_score(right, confidence))


def _judged(right: ArrayLike, confidence: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    right, confidence = np.asarray(right, float), np.asarray(confidence, float)
    if right.ndim != 1 or right.shape != confidence.shape or len(right) == 0:
        raise checks.InvalidInput(
            "right and confidence must be two vectors of the same length >= 1, got "
            f"shapes {right.shape} and {confidence.shape}."
        )
    return right, confidence


_THIN = 0.1  # of an equal share


def thin_clusters(labels: ArrayLike, num_clusters: int) -> list[int]:
    r"""The clusters with less than a tenth of an equal share of the points.

    .. math:: \{ k : \frac{1}{N} |\{ n : c_n = k \}| < \frac{1}{10 K} \}

    Empty or nearly so, they are the sign of a collapse.

    Args:
      labels: integers in [0, K), shape [N].
      num_clusters: K.

    Raises:
      InvalidInput: if labels are not of shape [N].

    Example:
      >>> from dgg_jax.metrics import thin_clusters
      >>> thin_clusters([0, 0, 2, 2], num_clusters=4)
      [1, 3]
    """
    labels = np.asarray(labels)
    checks.shapes(labels=(labels, "N"))
    shares = np.bincount(labels, minlength=num_clusters) / len(labels)
    return np.flatnonzero(shares < _THIN / num_clusters).tolist()


def assignment_perplexity(log_assignment: ArrayLike) -> float:
    r"""How many clusters of equal weight the assignments come to.

    .. math:: \exp H\left( \frac{1}{N} \sum_n \gamma_n \right)

    K if all clusters have the same weight, 1 if one has everything.

    Args:
      log_assignment: ln gamma, shape [N, K].

    Returns:
      A number in [1, K].

    Raises:
      InvalidInput: if log_assignment is not of shape [N, K].

    Example:
      Two of three clusters share the points:

      >>> import numpy as np
      >>> from dgg_jax.metrics import assignment_perplexity
      >>> gamma = np.array([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0]])
      >>> with np.errstate(divide="ignore"):
      ...     assignment_perplexity(np.log(gamma))
      2.0
    """
    log_assignment = np.asarray(log_assignment, np.float64)
    checks.shapes(log_assignment=(log_assignment, "N K"))
    weights = np.exp(log_assignment).mean(axis=0)
    return float(np.exp(special.entr(weights / weights.sum()).sum()))


def collapse_warning(clusters: Sequence[int], num_clusters: int) -> str:
    """What a user is told of thin clusters: which, the bound, and what helps.

    Args:
      clusters: of ``thin_clusters``, at least one.
      num_clusters: K.
    """
    subject, verb = ("cluster", "has") if len(clusters) == 1 else ("clusters", "have")
    return (
        f"{subject} {', '.join(map(str, clusters))} of {num_clusters} {verb} less than "
        f"{_THIN / num_clusters:.2%} of the rows, a tenth of an equal share: the "
        "clustering may have collapsed; try another seed, more restarts or fewer "
        "clusters."
    )
