"""Joint training of encoder, decoder, classifier and mixture."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from dgg_jax.distributions import sample_gaussian
from dgg_jax.graph import smoothing, smoothing_operator
from dgg_jax.likelihoods import Likelihood
from dgg_jax.losses import dgg
from dgg_jax.rows import HostRows, SparseRows, take
from dgg_jax.training import Monitor, Schedule, StepOutput, TrainState, optimize
from dgg_jax.training.loop import Loss
from dgg_jax.types import ElboTerms, Gaussian, Graph


class ApplyFunctions(NamedTuple):
    """A model as pure functions of (parameters, a batch).

    Attributes:
      encode: f_1, from the encoder's parameters and x [B, D] to Gaussian of [B, L].
      decode: g, from the decoder's parameters and z [B, L] to ``decoded`` of the
        likelihood.
      classify: from the parameters of the whole model and z [B, L], or one z [L], to
        ln q(c | z) [B, K]: f_2 in DGG, Bayes' rule in VaDE.
    """

    encode: Callable[[Any, jax.Array], Gaussian]
    decode: Callable[[Any, jax.Array], Any]
    classify: Callable[[Any, jax.Array], jax.Array]


class NodeData(NamedTuple):
    """Data of the node form; nothing of size N x S x D.

    Attributes:
      x: [N, D].
      smoothed: statistics and degrees of every source.
      likelihood: p(x | z).
    """

    x: jax.Array
    smoothed: smoothing.SmoothedData
    likelihood: Likelihood


class TupleData(NamedTuple):
    """Data of the tuple form.

    Attributes:
      x: [N, D].
      graph: neighbours and weights, [N, S].
      likelihood: p(x | z).
    """

    x: jax.Array
    graph: Graph
    likelihood: Likelihood


def node_data(
    x: np.ndarray | SparseRows | HostRows,
    operator: sparse.csr_array,
    likelihood: Likelihood,
) -> NodeData:
    """Sums neighbours into statistics, once for a graph.

    Args:
      x: data, shape [N, D].
      operator: A, shape [N, N].
      likelihood: p(x | z).

    Returns:
      NodeData of numpy arrays; statistics of HostRows are HostRows.
    """
    return NodeData(x, smoothing.smooth_data(x, operator, likelihood), likelihood)


def _infer(
    networks: ApplyFunctions, params: Any, x: jax.Array, key: jax.Array, sampled: bool
) -> tuple[Gaussian, jax.Array, Any]:
    posterior = networks.encode(params["encoder"], x)
    eps = jax.random.normal(key, posterior.mean.shape, posterior.mean.dtype)
    z = jax.vmap(sample_gaussian)(posterior, eps)
    classifier_input = z if sampled else posterior.mean
    log_assignment = networks.classify(params, classifier_input)
    return posterior, log_assignment, networks.decode(params["decoder"], z)


def _output(
    terms: ElboTerms, log_assignment: jax.Array
) -> tuple[jax.Array, StepOutput]:
    means = jax.tree.map(jnp.mean, terms)
    metrics = {**means._asdict(), "objective": means.total}
    return -means.total, StepOutput(metrics, rows=log_assignment)


@functools.cache
def node_loss(networks: ApplyFunctions, *, sampled: bool) -> Loss:
    """-J / N estimated on a batch of sources, one network pass a source.

    Args:
      networks: the apply functions.
      sampled: whether f_2 sees samples of q(z | x), or its means (erratum E13).

    Returns:
      A loss for ``compile_epoch`` over (NodeData, r), with the table of gammas.
    """
    terms_of_batch = jax.vmap(dgg.node_terms, (0, 0, 0, 0, 0, 0, None, None))

    def loss(params, prepared, indices, key):
        data, smoothed_log_prior = prepared
        statistics = take(data.smoothed.statistics, indices)
        posterior, log_assignment, decoded = _infer(
            networks, params, data.x[indices], key, sampled
        )
        terms = terms_of_batch(
            statistics,
            data.smoothed.degree[indices],
            decoded,
            posterior,
            log_assignment,
            smoothed_log_prior[indices],
            params["mixture"],
            data.likelihood,
        )
        return _output(terms, log_assignment)

    return loss


@functools.cache
def label_loss(networks: ApplyFunctions, *, sampled: bool) -> Loss:
    """-J / N with gamma held at given labels, less the log-likelihood of f_2.

    With q(c | x) fixed to the labels' one-hot vectors, J trains encoder, decoder and
    mixture; ln f_2(z)_label trains the classifier, and the encoder to be classifiable.

    Args:
      networks: the apply functions.
      sampled: whether f_2 sees samples of q(z | x), or its means.

    Returns:
      A loss for ``compile_epoch`` over (NodeData, labels [N]).
    """
    terms_of_batch = jax.vmap(dgg.node_terms, (0, 0, 0, 0, 0, None, None, None))

    def loss(params, prepared, indices, key):
        data, labels = prepared
        labels = labels[indices]
        statistics = take(data.smoothed.statistics, indices)
        posterior, log_assignment, decoded = _infer(
            networks, params, data.x[indices], key, sampled
        )
        num_clusters = log_assignment.shape[1]
        held = jnp.log(jax.nn.one_hot(labels, num_clusters))
        terms = terms_of_batch(
            statistics,
            data.smoothed.degree[indices],
            decoded,
            posterior,
            held,
            jnp.zeros(num_clusters),
            params["mixture"],
            data.likelihood,
        )
        fit = jnp.take_along_axis(log_assignment, labels[:, None], axis=1)
        value = -jnp.mean(terms.total) - jnp.mean(fit)
        return value, StepOutput({"loss": value, "label_log_prob": jnp.mean(fit)})

    return loss


@functools.cache
def tuple_loss(
    networks: ApplyFunctions, *, sampled: bool, graph_strength: float
) -> Loss:
    """-J / N estimated on a batch of tuples: Algorithm 1 of DGG, 1 + S passes a point.

    Args:
      networks: the apply functions.
      sampled: whether f_2 sees samples of q(z | x), or its means.
      graph_strength: eta in [0, 2].

    Returns:
      A loss for ``compile_epoch`` over TupleData, with the table of gammas.
    """
    terms_of_batch = jax.vmap(dgg.tuple_terms, (0, 0, 0, 0, 0, None, None, None))

    def loss(params, data, indices, key):
        neighbors = data.graph.indices[indices]
        sources = jnp.concatenate([indices[:, None], neighbors], axis=1)
        inferred = _infer(networks, params, data.x[sources.ravel()], key, sampled)
        posteriors, log_assignments, decoded = jax.tree.map(
            lambda leaf: leaf.reshape(*sources.shape, *leaf.shape[1:]), inferred
        )
        terms = terms_of_batch(
            data.x[indices],
            decoded,
            posteriors,
            log_assignments,
            data.graph.weights[indices],
            params["mixture"],
            data.likelihood,
            graph_strength,
        )
        return _output(terms, log_assignments[:, 0])

    return loss


def fit_to_labels(
    x: np.ndarray,
    graph: Graph,
    labels: np.ndarray,
    params: Any,
    networks: ApplyFunctions,
    likelihood: Likelihood,
    *,
    graph_strength: float,
    sampled: bool,
    schedule: Schedule,
    keys: jax.Array,
    monitor: Monitor,
) -> Any:
    """Fits the whole model to the initial labels, for R restarts at once.

    The classifier alone cannot follow labels that are no linear function of the
    latents; what it misses is lost before the joint training starts.

    Args:
      x: data, shape [N, D].
      graph: indices and weights, shape [N, S].
      labels: of each restart, shape [R, N].
      params: {"encoder", "decoder", "classifier", "mixture"}, leaves with a leading
        axis R.
      networks: the apply functions.
      likelihood: p(x | z).
      graph_strength: eta in [0, 2].
      sampled: whether f_2 sees samples of q(z | x), or its means.
      schedule: epochs, batch and learning rate.
      keys: random keys, [R].
      monitor: follows the loop ``labels``.

    Returns:
      The fitted parameters, leaves with a leading axis R.
    """
    operator = smoothing_operator(graph, graph_strength)
    state = optimize(
        "labels",
        label_loss(networks, sampled=sampled),
        params,
        (node_data(x, operator, likelihood), labels),
        keys,
        schedule,
        num_points=len(x),
        monitor=monitor,
        restarts=True,
        data_axes=(None, 0),
    )
    return state.params


def epoch_log_prior(
    state: TrainState, operator: tuple[smoothing.RowBuckets, smoothing.RowBuckets]
) -> jax.Array:
    """Recomputes r from the table of gammas; A is given by rows and by columns."""
    return smoothing.smoothed_log_prior(state.table, *operator)


def train_dgg(
    x: np.ndarray,
    graph: Graph,
    params: Any,
    log_assignments: jax.Array,
    networks: ApplyFunctions,
    likelihood: Likelihood,
    *,
    objective: str,
    graph_strength: float,
    sampled: bool,
    schedule: Schedule,
    keys: jax.Array,
    monitor: Monitor,
    describe: Callable[[TrainState], dict[str, Any]] = lambda state: {},
) -> TrainState:
    """Maximises J by Adam, for R restarts at once.

    Args:
      x: data, shape [N, D].
      graph: indices and weights, shape [N, S].
      params: {"encoder", "decoder", "classifier", "mixture"}, leaves with a leading
        axis R.
      log_assignments: the first table of gammas, shape [R, N, K].
      networks: the apply functions.
      likelihood: p(x | z).
      objective: "node", or "tuple" for Algorithm 1 as printed.
      graph_strength: eta in [0, 2].
      sampled: whether f_2 sees samples of q(z | x), or its means.
      schedule: epochs, batch and learning rate.
      keys: random keys, [R].
      monitor: follows the loop ``train``.
      describe: more metrics of the state after an epoch.

    Returns:
      The last state: params and the table of gammas, with a leading axis R.
    """
    prior = {}
    if objective == "node":
        operator = smoothing_operator(graph, graph_strength)
        data = node_data(x, operator, likelihood)
        loss = node_loss(networks, sampled=sampled)
        prior["prepare"] = epoch_log_prior
        prior["prepared_from"] = (
            smoothing.bucket_rows(operator),
            smoothing.bucket_rows(operator.T.tocsr()),
        )
    else:
        data = TupleData(x, graph, likelihood)
        loss = tuple_loss(networks, sampled=sampled, graph_strength=graph_strength)
    return optimize(
        "train",
        loss,
        params,
        data,
        keys,
        schedule,
        num_points=len(x),
        monitor=monitor,
        table=log_assignments,
        restarts=True,
        describe=describe,
        **prior,
    )
