"""What a step of DGG's training minimises, in both forms of J, and its data.

J of the node form, one network pass a source; of the tuple form, Algorithm 1 as
printed; with gamma held at labels, to which all networks are fitted; and f_2 alone.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from dgg_jax.distributions import sample_gaussian
from dgg_jax.graph import smoothing, smoothing_operator, weighted_graph
from dgg_jax.likelihoods import Likelihood
from dgg_jax.losses import dgg, imsat
from dgg_jax.losses.links import link_loss
from dgg_jax.networks import Network, Networks
from dgg_jax.placement.rows import HostRows, SparseRows, take
from dgg_jax.presets import DGGPreset
from dgg_jax.stages.graph import Augment
from dgg_jax.stages.links import Links
from dgg_jax.training import Loss, StepOutput, TrainState, batch_mean
from dgg_jax.types import ElboTerms, Gaussian, Graph

_KNOWN_WEIGHT = 100.0  # of ln gamma of a known row, or of a link, beside the J of a row


class NodeData(NamedTuple):
    """Data of the node form; nothing of size N x S x D.

    Attributes:
      x: [N, D].
      smoothed: statistics and degrees of every source.
      likelihood: p(x | z).
      known: clusters [N] of rows that are known, -1 elsewhere; or None.
      links: pairs of rows that must be together, or must not; or None.
      sample_weight: how much each row counts in what is no sum over A, [N]; the
        statistics and degrees have it already; or None.
    """

    x: jax.Array
    smoothed: smoothing.SmoothedData
    likelihood: Likelihood
    known: jax.Array | None = None
    links: Links | None = None
    sample_weight: jax.Array | None = None

    @property
    def num_points(self) -> int:
        """N."""
        return len(self.smoothed.degree)


class TupleData(NamedTuple):
    """Data of the tuple form.

    Attributes:
      x: [N, D].
      graph: neighbours and weights, [N, S].
      likelihood: p(x | z).
      known: clusters [N] of rows that are known, -1 elsewhere; or None.
      links: pairs of rows that must be together, or must not; or None.
      sample_weight: how much each row counts, [N]; the weights of neighbours have it
        already; or None.
    """

    x: jax.Array
    graph: Graph
    likelihood: Likelihood
    known: jax.Array | None = None
    links: Links | None = None
    sample_weight: jax.Array | None = None

    @property
    def num_points(self) -> int:
        """N."""
        return len(self.graph.indices)


def joint_objective(
    preset: DGGPreset,
    networks: Networks,
    likelihood: Likelihood,
    x: np.ndarray | SparseRows | HostRows,
    graph: Graph,
    known: np.ndarray | None = None,
    links: Links | None = None,
    sample_weight: np.ndarray | None = None,
    augment: Augment | None = None,
) -> dict[str, Any]:
    """What ``training.optimize`` is told to maximise J: loss, data and r.

    Args:
      preset: names the form: node, or tuple for Algorithm 1 as printed.
      networks: the model as pure functions.
      likelihood: p(x | z).
      x: data, shape [N, D].
      graph: indices and weights, shape [N, S].
      known: clusters [N] of rows that are known, -1 elsewhere; or None.
      links: pairs of rows that must be together, or must not; or None.
      sample_weight: how much each row counts, with a mean of 1, [N]; or None.
      augment: changes rows in a way that keeps their clusters, which f_2 then learns
        to keep, with weight ``preset.warp_weight``; None: it does not.
    """
    sampled, strength = preset.classifier_input == "sample", preset.graph_strength
    augmented = {"augment": augment, "augment_weight": preset.warp_weight}
    told = {"known": known, "links": links, "sample_weight": sample_weight}
    if preset.objective == "tuple":
        if sample_weight is not None:
            graph = weighted_graph(graph, sample_weight)
        return {
            "loss": TupleLoss(networks, sampled, strength, **augmented),
            "data": TupleData(x, graph, likelihood, **told),
        }
    operator, weighted = operators(graph, strength, sample_weight)
    return {
        "loss": NodeLoss(networks, sampled, **augmented),
        "data": node_data(x, weighted, likelihood)._replace(**told),
        "prepare": epoch_log_prior,
        "prepared_from": (
            smoothing.bucket_rows(operator),
            smoothing.bucket_rows(weighted.T.tocsr()),
        ),
    }


def operators(
    graph: Graph, strength: float, sample_weight: np.ndarray | None
) -> tuple[sparse.csr_array, sparse.csr_array]:
    r"""A, and A with each row times the weight of its point.

    With weights s, J is the sum of s_i A_ij L(x_i; j) in which A is that of
    ``weighted_graph``: what J is where points of weight 2 are there twice, also as
    neighbours. So the second sums points to statistics, degrees and r. The prior of a
    point is a mean over its sources and takes the first.

    Args:
      graph: indices and weights, shape [N, S].
      strength: eta.
      sample_weight: s, with a mean of 1, shape [N]; None: both are the same A.

    Returns:
      Both, shape [N, N].
    """
    if sample_weight is None:
        operator = smoothing_operator(graph, strength)
        return operator, operator
    operator = smoothing_operator(weighted_graph(graph, sample_weight), strength)
    return operator, sparse.diags_array(sample_weight.astype(np.float64)) @ operator


def node_data(
    x: np.ndarray | SparseRows | HostRows,
    operator: sparse.csr_array,
    likelihood: Likelihood,
) -> NodeData:
    """Sums neighbours into statistics, once for a graph.

    Args:
      x: data, shape [N, D].
      operator: A, shape [N, N]; its rows times the weights of rows, if these have any.
      likelihood: p(x | z).

    Returns:
      NodeData of numpy arrays; statistics of HostRows are HostRows.
    """
    return NodeData(x, smoothing.smooth_data(x, operator, likelihood), likelihood)


def epoch_log_prior(
    state: TrainState, operator: tuple[smoothing.RowBuckets, smoothing.RowBuckets]
) -> jax.Array:
    """Recomputes r from the table of gammas; A is given by rows and by columns.

    The columns are those of the second of ``operators``.
    """
    return smoothing.smoothed_log_prior(state.table, *operator)


def _infer(
    networks: Networks, sampled: bool, params: Any, x: jax.Array, key: jax.Array
) -> tuple[Gaussian, jax.Array, Any]:
    """Posteriors of rows [B, D], ln gamma, and what a draw of each is decoded to."""
    posterior = networks.encode(params["encoder"], x)
    eps = jax.random.normal(key, posterior.mean.shape, posterior.mean.dtype)
    z = jax.vmap(sample_gaussian)(posterior, eps)
    log_assignment = networks.classify(params, z if sampled else posterior.mean)
    return posterior, log_assignment, networks.decode(params["decoder"], z)


def _output(
    means: ElboTerms,
    log_assignment: jax.Array,
    data: NodeData | TupleData,
    indices: jax.Array,
) -> tuple[jax.Array, StepOutput]:
    """-J / N, less ln gamma of the known clusters of a batch; its metrics."""
    metrics = {**means._asdict(), "objective": means.total}
    value = -means.total
    if data.known is not None:
        known = data.known[indices]
        cluster = jnp.maximum(known, 0)[:, None]
        told = jnp.take_along_axis(log_assignment, cluster, axis=1)[:, 0]
        told = jnp.where(known >= 0, told, 0.0)
        value -= _KNOWN_WEIGHT * batch_mean(told, data.sample_weight, indices)
    return value, StepOutput(metrics, rows=log_assignment)


@dataclasses.dataclass(frozen=True)
class NodeLoss(Loss):
    """-J / N estimated on a batch of sources, one network pass a source.

    Over (NodeData, r), with the table of gammas.

    Attributes:
      networks: the model as pure functions.
      sampled: whether f_2 sees samples of q(z | x), or its means (erratum E13).
      augment: changes rows in a way that keeps their clusters; None: nothing does.
      augment_weight: of R_SAT of IMSAT: how far changed rows are from the clusters.
    """

    networks: Networks
    sampled: bool
    augment: Augment | None = None
    augment_weight: float = 0.0

    def rows(self, data, indices, key):
        """Those of the batch, then those of the links of the step."""
        node, _ = data
        return _with_linked_rows(node, indices, indices, key)

    def __call__(self, params, data, indices, key):
        """The value of a batch; see ``training.Loss``."""
        node, smoothed_log_prior = data
        statistics, x = take(node.smoothed.statistics, indices), node.x[indices]
        posterior, log_assignment, decoded = _infer(
            self.networks, self.sampled, params, x, key
        )
        terms_of_batch = jax.vmap(dgg.node_terms, (0, 0, 0, 0, 0, 0, None, None))
        terms = terms_of_batch(
            statistics,
            node.smoothed.degree[indices],
            decoded,
            posterior,
            log_assignment,
            smoothed_log_prior[indices],
            params["mixture"],
            node.likelihood,
        )
        means = jax.tree.map(jnp.mean, terms)  # weighed by A
        value, output = _output(means, log_assignment, node, indices)
        value += _terms_beside(self, params, node, indices, key, x, log_assignment)
        return value, output


def _links_of_step(
    data: NodeData | TupleData, indices: jax.Array, key: jax.Array
) -> Links:
    """Links drawn at random, as many a step as are all of them an epoch."""
    num_links = len(data.links.together)
    count = math.ceil(num_links * len(indices) / data.num_points)
    drawn = jax.random.randint(jax.random.fold_in(key, 0), (count,), 0, num_links)
    return Links(data.links.rows[drawn], data.links.together[drawn])


def _with_linked_rows(
    data: NodeData | TupleData, rows: jax.Array, indices: jax.Array, key: jax.Array
) -> jax.Array:
    """Rows that a step takes, then those of its links, if there are any."""
    if data.links is None:
        return rows
    linked = _links_of_step(data, indices, key).rows.ravel()
    return jnp.concatenate([rows, linked])


def _terms_beside(
    loss: "NodeLoss | TupleLoss",
    params: Any,
    data: NodeData | TupleData,
    indices: jax.Array,
    key: jax.Array,
    x: jax.Array,
    log_assignment: jax.Array,
) -> jax.Array | float:
    """What a batch x has to pay besides -J / N: for its links, and for changed rows."""
    value = 0.0
    if data.links is not None:
        value += _link_term(loss, params, data, indices, key)
    if loss.augment is not None:
        changed, noise = jax.random.split(jax.random.fold_in(key, 2))
        x = loss.augment(changed, x)
        _, of_changed, _ = _infer(loss.networks, loss.sampled, params, x, noise)
        divergences = jax.vmap(imsat.perturbation_divergence)(
            log_assignment, of_changed
        )
        mean = batch_mean(divergences, data.sample_weight, indices)
        value += loss.augment_weight * mean
    return value


def _link_term(
    loss: "NodeLoss | TupleLoss",
    params: Any,
    data: NodeData | TupleData,
    indices: jax.Array,
    key: jax.Array,
) -> jax.Array:
    """1 / N of the losses of all links, weighed: estimated by those drawn.

    A link counts as often as its rows, of which copies would have links of their own.
    """
    links = _links_of_step(data, indices, key)
    x, noise = data.x[links.rows.ravel()], jax.random.fold_in(key, 1)
    _, log_assignment, _ = _infer(loss.networks, loss.sampled, params, x, noise)
    a, b = log_assignment[::2], log_assignment[1::2]
    losses = jax.vmap(link_loss)(a, b, links.together)
    if data.sample_weight is not None:
        losses *= jnp.prod(data.sample_weight[links.rows], axis=1)
    mean = jnp.mean(losses)
    return _KNOWN_WEIGHT * len(data.links.together) / data.num_points * mean


@dataclasses.dataclass(frozen=True)
class TupleLoss(Loss):
    """-J / N estimated on a batch of tuples: Algorithm 1 of DGG, 1 + S passes a point.

    Over TupleData, with the table of gammas.

    Attributes:
      networks: the model as pure functions.
      sampled: whether f_2 sees samples of q(z | x), or its means.
      graph_strength: eta in [0, 2].
      augment: as in ``NodeLoss``.
      augment_weight: as in ``NodeLoss``.
    """

    networks: Networks
    sampled: bool
    graph_strength: float
    augment: Augment | None = None
    augment_weight: float = 0.0

    def _sources(self, data: TupleData, indices: jax.Array) -> jax.Array:
        """Points of the batch, each with its neighbours, [B, 1 + S]."""
        neighbors = data.graph.indices[indices]
        return jnp.concatenate([indices[:, None], neighbors], axis=1)

    def rows(self, data, indices, key):
        """A point, its neighbours, the next point, and so on; then those of links."""
        sources = self._sources(data, indices).ravel()
        return _with_linked_rows(data, sources, indices, key)

    def __call__(self, params, data, indices, key):
        """The value of a batch; see ``training.Loss``."""
        sources = self._sources(data, indices)
        x = data.x[sources.ravel()]
        inferred = _infer(self.networks, self.sampled, params, x, key)
        x, (posteriors, log_assignments, decoded) = jax.tree.map(
            lambda leaf: leaf.reshape(*sources.shape, *leaf.shape[1:]), (x, inferred)
        )
        terms_of_batch = jax.vmap(dgg.tuple_terms, (0, 0, 0, 0, 0, None, None, None))
        terms = terms_of_batch(
            x[:, 0],
            decoded,
            posteriors,
            log_assignments,
            data.graph.weights[indices],
            params["mixture"],
            data.likelihood,
            self.graph_strength,
        )
        means = batch_mean(terms, data.sample_weight, indices)
        own = log_assignments[:, 0]
        value, output = _output(means, own, data, indices)
        value += _terms_beside(self, params, data, indices, key, x[:, 0], own)
        return value, output


@dataclasses.dataclass(frozen=True)
class LabelLoss(Loss):
    """-J / N with gamma held at given labels, less the log-likelihood of f_2, weighed.

    With q(c | x) fixed to the labels' one-hot vectors, J trains encoder, decoder and
    mixture; ln f_2(z)_label trains the classifier, and the encoder to be classifiable.
    Over (NodeData, labels [N], weight).

    Attributes:
      networks: the model as pure functions.
      sampled: whether f_2 sees samples of q(z | x), or its means.
    """

    networks: Networks
    sampled: bool

    def __call__(self, params, data, indices, key):
        """The value of a batch; see ``training.Loss``."""
        node, labels, weight = data
        labels = labels[indices]
        statistics = take(node.smoothed.statistics, indices)
        posterior, log_assignment, decoded = _infer(
            self.networks, self.sampled, params, node.x[indices], key
        )
        num_clusters = log_assignment.shape[1]
        # -inf is safe: losses take 0 ln 0 as 0, with a finite gradient.
        held = jnp.log(jax.nn.one_hot(labels, num_clusters))
        terms_of_batch = jax.vmap(dgg.node_terms, (0, 0, 0, 0, 0, None, None, None))
        terms = terms_of_batch(
            statistics,
            node.smoothed.degree[indices],
            decoded,
            posterior,
            held,
            jnp.zeros(num_clusters),  # of r, whose term is constant under held labels
            params["mixture"],
            node.likelihood,
        )
        followed = jnp.take_along_axis(log_assignment, labels[:, None], axis=1)[:, 0]
        fit = batch_mean(followed, node.sample_weight, indices)
        value = -jnp.mean(terms.total) - weight * fit
        return value, StepOutput({"loss": value, "label_log_prob": fit})


@dataclasses.dataclass(frozen=True)
class ClassifierLoss(Loss):
    """The cross-entropy of f_2 over (posterior, labels [N], weights [N] or None).

    Attributes:
      classify: from (its parameters, z [B, L]) to ln q(c | z) [B, K].
      sampled: whether f_2 sees samples of q(z | x), or its means.
    """

    classify: Network
    sampled: bool

    def __call__(self, params, data, indices, key):
        """The value of a batch; see ``training.Loss``."""
        posterior, labels, sample_weight = data
        batch = take(posterior, indices)
        z = batch.mean
        if self.sampled:
            z = sample_gaussian(batch, jax.random.normal(key, z.shape))
        targets = labels[indices][:, None]
        log_prob = jnp.take_along_axis(self.classify(params, z), targets, axis=1)[:, 0]
        value = -batch_mean(log_prob, sample_weight, indices)
        return value, StepOutput({"loss": value})
