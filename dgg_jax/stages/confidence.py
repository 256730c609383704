"""How sure a run is of each row: probabilities of clusters that need no true labels.

q(c | x) says how a row lies to the components that were fitted to it, and is near 0 or
1 nearly everywhere, right or wrong. Whether a row is where it belongs, others know: its
neighbours in the graph, by the clusters that they are in, and the other clusterings of
the ensemble, by the clusters that rows of the same label went to. Half of the
probability is by the ones, half by the others. That of a new row is the mean of those
of the training rows that are nearest in the latent space; docs/confidence.md has the
comparison with q(c | x) and with other ways.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgg_jax import metrics
from dgg_jax.graph.spectral import affinity_matrix
from dgg_jax.placement import devices
from dgg_jax.placement.rows import map_points
from dgg_jax.types import Graph

_STEPS = 4  # of the walk in the graph
_STANDING = 0.03  # a clustering that stands so much lower has 1/e of the voice
_UNIFORM = 0.01  # of a row: no probability is 0
_LEAD = 1e-3  # of the cluster of a row before any other
_BATCH = 500


class Calibration(NamedTuple):
    """Probabilities at places of the latent space, from which those of rows follow.

    Attributes:
      latents: of some rows of training, float32 of shape [n, L].
      probabilities: of their clusters, float32 of shape [n, K].
    """

    latents: np.ndarray
    probabilities: np.ndarray


def neighbors_say(labels: np.ndarray, graph: Graph, num_clusters: int) -> np.ndarray:
    """Where a random walk of four steps in the graph ends, by cluster.

    Args:
      labels: in 0..K-1, shape [N].
      graph: of the neighbours of all rows, [N, S].
      num_clusters: K.

    Returns:
      Probabilities [N, K].
    """
    affinity = affinity_matrix(graph)
    degrees = affinity.sum(axis=1)
    shares = np.eye(num_clusters)[labels]
    for _ in range(_STEPS):
        shares = (affinity @ shares) / degrees[:, None]
    return shares


def clusterings_say(
    labels: np.ndarray,
    clusterings: np.ndarray,
    standings: np.ndarray,
    num_clusters: int,
) -> np.ndarray:
    """What other clusterings predict of labels: mean over them of p(label | theirs).

    One whose standing is lower by 0.03 than that of the best has 1/e of its voice.

    Args:
      labels: in 0..K-1, shape [n].
      clusterings: of the same rows, integers from 0 on, shape [E, n].
      standings: of the clusterings (``ensemble.standing``), shape [E].
      num_clusters: K.

    Returns:
      Probabilities [n, K].
    """
    voices = np.exp((standings - standings.max()) / _STANDING)
    said = np.zeros((len(labels), num_clusters))
    for voice, theirs in zip(voices / voices.sum(), clusterings, strict=True):
        counts = np.zeros((theirs.max() + 1, num_clusters))
        np.add.at(counts, (theirs, labels), 1)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        said += voice * shares[theirs]
    return said


def calibration(
    latents: np.ndarray,
    labels: np.ndarray,
    graph: Graph,
    num_clusters: int,
    *,
    rows: np.ndarray,
    clusterings: np.ndarray | None = None,
    standings: np.ndarray | None = None,
) -> Calibration:
    """The probabilities of some rows, by their neighbours and by other clusterings.

    Args:
      latents: means of q(z | x), shape [N, L].
      labels: the clusters of all rows, shape [N].
      graph: of the neighbours of all rows, [N, S].
      num_clusters: K.
      rows: indices of those that are kept, [n].
      clusterings: of these rows, shape [E, n]; None: the neighbours alone say it.
      standings: of the clusterings, shape [E].
    """
    probabilities = neighbors_say(labels, graph, num_clusters)[rows]
    if clusterings is not None:
        said = clusterings_say(labels[rows], clusterings, standings, num_clusters)
        probabilities = 0.5 * (probabilities + said)
    return Calibration(
        np.asarray(latents[rows], np.float32), probabilities.astype(np.float32)
    )


@devices.compiled(static_argnames="num_neighbors")
def calibrated_all(
    calibration: Calibration,
    latents: jax.Array,
    log_assignments: jax.Array,
    num_neighbors: int,
) -> jax.Array:
    """``calibrated`` of all rows, [N, L] and [N, K], in batches."""
    one = functools.partial(calibrated, calibration, num_neighbors=num_neighbors)
    rows = (latents, log_assignments)
    return map_points(lambda row: one(*row), rows, _BATCH)


def calibrated(
    calibration: Calibration,
    latent: jax.Array,
    log_assignment: jax.Array,
    num_neighbors: int,
) -> jax.Array:
    """Log-probabilities of the clusters of a row that say how often they are right.

    The mean of the probabilities at the nearest places. The cluster of a row stays the
    one that q(c | x) tells: where others outvote it, it has a little more than they.

    Args:
      calibration: probabilities at places of the latent space.
      latent: mean of q(z | x), shape [L].
      log_assignment: ln q(c | x), shape [K].
      num_neighbors: places that are near, at most.

    Returns:
      Log-probabilities [K].
    """
    places, probabilities = calibration
    num_neighbors = min(num_neighbors, len(places))
    num_clusters = probabilities.shape[1]
    distances = jnp.sum((places - latent[None]) ** 2, axis=1)
    _, nearest = jax.lax.top_k(-distances, num_neighbors)
    total = jnp.sum(probabilities[nearest], axis=0) + _UNIFORM / num_clusters
    p = total / (num_neighbors + _UNIFORM)
    is_label = jax.nn.one_hot(jnp.argmax(log_assignment), num_clusters)
    others = jnp.max(jnp.where(is_label > 0, 0.0, p))
    short = jnp.maximum(others + _LEAD - p @ is_label, 0.0)
    share = short / (1.0 + short)  # so much of all of it is the label's
    return jnp.log((1.0 - share) * p + share * is_label)


def confidence_metrics(
    y: np.ndarray | None, labels: np.ndarray, probabilities: np.ndarray
) -> dict[str, float | None]:
    """How sure the clusters are on average and, with labels, whether they may be.

    Args:
      y: true labels [N], or None.
      labels: clusters [N].
      probabilities: of all clusters, [N, K].

    Returns:
      ``confidence``, the mean largest probability; and ``calibration_error`` and
      ``confidence_auc``, None where y is.
    """
    confidence = probabilities.max(axis=1)
    found = {"confidence": float(confidence.mean())}
    if y is None:
        return found | {"calibration_error": None, "confidence_auc": None}
    right = metrics.matched_rows(y, labels)
    error = metrics.calibration_error(right, confidence)
    return found | {
        "calibration_error": error,
        "confidence_auc": metrics.confidence_auc(right, confidence),
    }
