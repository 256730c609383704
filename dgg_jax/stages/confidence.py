"""How sure a run is of each row: probabilities of clusters that need no true labels.

q(c | x) says how a row lies to the components that were fitted to it, and is near 0 or
1 nearly everywhere, right or wrong. Whether a row is where it belongs, others know
better: its neighbours in the graph, by the clusters that they are in, and the
clusterings of the ensemble, by the clusters that rows of the same label went to. A
third of the probability is by each of the three, q(c | x) tempered so that it is as
sure on average as the others. What these say of a new row is a mean of what they say
of the training rows that are nearest in the latent space, by the inverse square of the
distance, so that a training row keeps what they say of itself; docs/confidence.md has
the comparison with other ways.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize, special

from dgg_jax import metrics
from dgg_jax.graph.neighbors import SPARE_CANDIDATES, largest
from dgg_jax.graph.spectral import affinity_matrix
from dgg_jax.placement import devices
from dgg_jax.placement.rows import map_points
from dgg_jax.types import Graph

_STEPS = 4  # of the walk in the graph
_STANDING = 0.03  # a clustering that stands so much lower has 1/e of the voice
_NEAR = 10  # training rows by which a row is judged
_SAME = 1e-6  # of their mean squared distance: so near is the row itself
_UNIFORM = 0.01  # of a row: no probability is 0
_LEAD = 1e-3  # of the cluster of a row before any other
_LOG_TEMPERATURES = (-5.0, 8.0)
_BATCH = 500


class Calibration(NamedTuple):
    """What others say at places of the latent space, and the temperature of q(c | x).

    Attributes:
      latents: of some rows of training, float32 of shape [n, L].
      probabilities: of their clusters, by neighbours and clusterings, float32 of shape
        [n, K].
      temperature: by which ln q(c | x) is divided, float32.
    """

    latents: np.ndarray
    probabilities: np.ndarray
    temperature: np.ndarray


def neighbors_say(labels: np.ndarray, graph: Graph, num_clusters: int) -> np.ndarray:
    """Where a random walk of four steps in the graph ends, by cluster.

    Args:
      labels: in 0..K-1, shape [N].
      graph: of the neighbours of all rows, [N, S].
      num_clusters: K.

    Returns:
      Probabilities, float32 of shape [N, K].
    """
    affinity = affinity_matrix(graph).astype(np.float32)  # of many rows
    degrees = affinity.sum(axis=1)
    shares = np.eye(num_clusters, dtype=np.float32)[labels]
    for _ in range(_STEPS):
        shares = (affinity @ shares) / degrees[:, None]
    return shares


def clusterings_say(
    labels: np.ndarray,
    clusterings: np.ndarray,
    standings: np.ndarray,
    num_clusters: int,
) -> np.ndarray:
    """What clusterings predict of labels: mean over them of p(label | theirs).

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


def fit_calibration(
    latents: np.ndarray,
    log_assignments: np.ndarray,
    graph: Graph,
    *,
    rows: np.ndarray,
    clusterings: np.ndarray | None = None,
    standings: np.ndarray | None = None,
) -> Calibration:
    """What neighbours and clusterings say of some rows.

    Args:
      latents: means of q(z | x), shape [N, L].
      log_assignments: ln q(c | x) of all rows, shape [N, K].
      graph: of the neighbours of all rows, [N, S].
      rows: indices of those that are kept, [n].
      clusterings: of these rows, shape [E, n]; None: the neighbours alone say it.
      standings: of the clusterings, shape [E].
    """
    labels, num_clusters = log_assignments.argmax(axis=1), log_assignments.shape[1]
    probabilities = neighbors_say(labels, graph, num_clusters)[rows]
    if clusterings is not None:
        said = clusterings_say(labels[rows], clusterings, standings, num_clusters)
        probabilities = 0.5 * (probabilities + said)
    confidence = probabilities[np.arange(len(rows)), labels[rows]].mean()
    return Calibration(
        np.asarray(latents[rows], np.float32),
        probabilities.astype(np.float32),
        np.float32(_temperature(log_assignments[rows], confidence)),
    )


def _temperature(log_assignments: np.ndarray, confidence: float) -> float:
    """Divided by what ln q(c | x) [n, K] has that mean confidence, or comes nearest."""

    def excess(log_temperature):
        tempered = log_assignments.astype(np.float64) / np.exp(log_temperature)
        return special.softmax(tempered, axis=1).max(axis=1).mean() - confidence

    least, most = _LOG_TEMPERATURES
    if excess(least) <= 0:  # what is undecided nothing makes sure
        return 1.0
    if excess(most) >= 0:
        return math.exp(most)
    return math.exp(optimize.brentq(excess, least, most, xtol=1e-6))


@devices.compiled()
def all_log_probabilities(
    calibration: Calibration, latents: jax.Array, log_assignments: jax.Array
) -> jax.Array:
    """``log_probabilities`` of all rows, [N, L] and [N, K], in batches."""
    one = functools.partial(log_probabilities, calibration)
    rows = (latents, log_assignments)
    return map_points(lambda row: one(*row), rows, _BATCH)


def log_probabilities(
    calibration: Calibration, latent: jax.Array, log_assignment: jax.Array
) -> jax.Array:
    """Log-probabilities of the clusters of a row that say how often they are right.

    Two thirds are what others say at the ten nearest places, nearer ones more, one is
    tempered q(c | x). The cluster of a row stays the one that q(c | x) tells: where
    others outvote it, all is moved towards it until it has a little more than they, and
    so nearly a half where they agree.

    Args:
      calibration: what others say at places of the latent space.
      latent: mean of q(z | x), shape [L].
      log_assignment: ln q(c | x), shape [K].

    Returns:
      Log-probabilities [K].
    """
    places, probabilities, temperature = map(jnp.asarray, calibration)
    num_clusters = probabilities.shape[1]
    num_near = min(_NEAR, len(places))
    nearest, distances = _nearest(places, latent, num_near)
    blur = _SAME * jnp.mean(distances) + jnp.finfo(jnp.float32).tiny
    weights = blur / (blur + distances)
    said = (weights / jnp.sum(weights)) @ probabilities[nearest]
    others = (num_near * said + _UNIFORM / num_clusters) / (num_near + _UNIFORM)
    p = (2.0 * others + jax.nn.softmax(log_assignment / temperature)) / 3.0
    is_label = jax.nn.one_hot(jnp.argmax(log_assignment), num_clusters)
    next_one = jnp.max(jnp.where(is_label > 0, 0.0, p))
    short = jnp.maximum(next_one + _LEAD - p @ is_label, 0.0)
    share = short / (1.0 + short)  # so much of all of it is the label's
    return jnp.log((1.0 - share) * p + share * is_label)


def _nearest(
    places: jax.Array, latent: jax.Array, count: int
) -> tuple[jax.Array, jax.Array]:
    """The nearest of places [n, L], and their squared distances, ascending: [count].

    By products with all of them, which are fast, and by differences with those that
    rounding leaves.
    """
    middle = jnp.mean(places, axis=0)
    centered = places - middle[None]
    products = jnp.matmul(centered, latent - middle, precision="highest")
    scores = products - 0.5 * jnp.sum(centered**2, axis=1)
    candidates = largest(scores, min(count + SPARE_CANDIDATES, len(places)))
    squared = jnp.sum((places[candidates] - latent[None]) ** 2, axis=1)
    closeness, order = jax.lax.top_k(-squared, count)
    return candidates[order], -closeness


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
