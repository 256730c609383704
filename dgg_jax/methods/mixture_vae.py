"""What DGG and VaDE have in common: a VAE whose prior is a Gaussian mixture.

A run trains R restarts, whose models carry a leading axis R, and keeps the best.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from dgg_jax import checks
from dgg_jax.distributions import sample_gaussian
from dgg_jax.graph.neighbors import check_search
from dgg_jax.likelihoods import Likelihood, as_pytree
from dgg_jax.methods.parts import (
    AS_NAMED,
    Parts,
    components_of,
    likelihood_of,
    modelled,
)
from dgg_jax.methods.pretrained import (
    autoencoder_params,
    finite_means,
    latent_means,
    mean_elbo,
)
from dgg_jax.methods.problem import Problem, with_batches
from dgg_jax.networks import Networks
from dgg_jax.placement import devices
from dgg_jax.placement.rows import place
from dgg_jax.presets import MixturePreset
from dgg_jax.stages import evaluate, initialize
from dgg_jax.stages.confidence import (
    Calibration,
    all_log_probabilities,
    confidence_metrics,
    log_probabilities,
)
from dgg_jax.training import Metrics, State, TrainState
from dgg_jax.types import ElboTerms, Gaussian, Graph, Mixture

ELBO_DRAWS = 16  # of the final ELBO

Neighbors = tuple[np.ndarray, np.ndarray]  # indices and distances [N, k], ascending
# (problem, parameters of a model, its ln gamma [N, K]) -> ln of the global prior pi [K]
LogWeights = Callable[[Problem, State, np.ndarray], np.ndarray]
# labels [N] -> what the record of a stage says of them
LabelMetrics = Callable[[np.ndarray], Metrics]


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained model.

    Attributes:
      preset: its settings.
      params: {"encoder", "decoder", "mixture", ...}.
      log_weights: ln of the global prior pi, [K].
      networks: the model as pure functions.
      num_features: D, columns of the data.
      likelihood: p(x | z).
      calibration: by which probabilities say how often they are right; None: they are
        q(c | x).
      num_batches: M, of the batches that rows were measured in; 0: there are none.
    """

    preset: MixturePreset
    params: Any
    log_weights: np.ndarray
    networks: Networks
    num_features: int
    likelihood: Likelihood
    calibration: Calibration | None = None
    num_batches: int = 0

    def infer(
        self, x: np.ndarray, batch: np.ndarray | None = None
    ) -> tuple[Gaussian, np.ndarray]:
        """Posteriors of rows and their cluster probabilities; needs no graph.

        Args:
          x: data scaled as the training data were, shape [N, D].
          batch: of each row, in 0..M-1, [N], if there are batches.

        Returns:
          q(z | x) with fields [N, L], and ln q(c | x) [N, K] from the mean.

        Raises:
          InvalidInput: if x is not [N, D] with the D of training.
        """
        x = self._placed(x, batch)
        return jax.device_get(evaluate.infer(self.networks, self.params, x))

    def impute(self, x: np.ndarray, batch: np.ndarray | None = None) -> np.ndarray:
        """Rows x [N, D] with E[x | z] in place of NaN, z being the posterior's mean.

        Of batches [N] it is E[x | z, b], each row's in its own.
        """
        x = checks.rows(x, self.num_features)
        x = x.toarray() if sparse.issparse(x) else x
        posterior, _ = self.infer(x, batch)
        return np.where(np.isnan(x), self.decode(posterior.mean, batch), x)

    def log_probabilities(
        self, latents: np.ndarray, log_assignments: np.ndarray
    ) -> np.ndarray:
        """Log-probabilities of clusters [N, K] that say how often these are right.

        Args:
          latents: means of q(z | x), as ``infer`` returns them, shape [N, L].
          log_assignments: ln q(c | x), likewise, shape [N, K]; returned as they are if
            there is no calibration.
        """
        if self.calibration is None:
            return log_assignments
        found = all_log_probabilities(self.calibration, latents, log_assignments)
        return np.asarray(found)

    def _placed(self, x: np.ndarray, batch: np.ndarray | None) -> Any:
        x = checks.rows(x, self.num_features)
        if (batch is not None) != bool(self.num_batches):
            knows = f"{self.num_batches} batches" if self.num_batches else "no batches"
            raise checks.InvalidInput(
                f"the model knows of {knows}, and batch is "
                f"{'missing' if batch is None else 'given'}; do as in training."
            )
        if self.num_batches:
            x = x.toarray() if sparse.issparse(x) else np.asarray(x)
            x = with_batches(x, batch, self.num_batches)
        return place(x, self.preset.device_memory_share)

    def infer_batch(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Means of q(z | x) [B, L] and log-probabilities [B, K] of rows, traceable.

        The latter as ``log_probabilities`` has them. Where there are M batches, x is
        [B, D + M]: the one-hot vector of its batch follows each row.
        """
        z = self.networks.encode(self.params["encoder"], x).mean
        log_assignments = self.networks.classify(self.params, z)
        if self.calibration is not None:
            known = jax.tree.map(jnp.asarray, self.calibration)
            one = functools.partial(log_probabilities, known)
            log_assignments = jax.lax.map(lambda row: one(*row), (z, log_assignments))
        return z, log_assignments

    def elbo(
        self,
        x: np.ndarray,
        draws: int = ELBO_DRAWS,
        batch: np.ndarray | None = None,
    ) -> np.ndarray:
        """The own-ELBO of rows x [N, D] under the global prior, in nats, shape [N].

        The same draws every time; its mean over the training rows is the final ELBO of
        the record. Of rows in batches [N] it is of x given its batch.
        """
        misses_values = isinstance(x, np.ndarray) and len(x) and checks.has_nan(x)
        likelihood = modelled(self.likelihood, misses_values, self.num_batches)
        x = self._placed(x, batch)
        terms = evaluate.elbo_terms(
            self.networks,
            likelihood,
            self.params,
            self.log_weights,
            x,
            jax.random.key(0),  # as in ``pretrained.mean_elbo``
            draws,
        )
        return np.asarray(terms.total)

    def decode(self, z: np.ndarray, batch: np.ndarray | None = None) -> np.ndarray:
        """E[x | z] of latents z [N, L], shape [N, D].

        Where there are batches, those of rows [N], or the mean over all of them.
        """
        likelihood = as_pytree(self.likelihood)
        decode = functools.partial(_decode_mean, self.networks.decode)
        params, z = self.params["decoder"], jnp.asarray(z)
        if batch is not None:
            return np.asarray(decode(likelihood, params, z, jnp.asarray(batch)))
        likelihood = modelled(likelihood, num_batches=self.num_batches)
        return np.asarray(decode(likelihood, params, z))


@devices.compiled(static_argnums=0)
def _decode_mean(decode, likelihood, params, z, batch=None):
    decoded = decode(params, z)
    if batch is not None:
        rows = jnp.arange(len(batch))
        decoded = jax.tree.map(lambda leaf: leaf[rows, batch], decoded)
    return jax.vmap(likelihood.mean)(decoded)


def model_of(
    networks_of: Callable[[MixturePreset, int, Parts], Networks],
    preset: MixturePreset,
    num_features: int,
    state: State,
    parts: Parts = AS_NAMED,
) -> Model:
    """The model in the state after the last stage.

    Args:
      networks_of: the model of the method as pure functions.
      preset: all settings.
      num_features: D.
      state: the last one of a run.
      parts: those of the run.
    """
    calibration = state.get("calibration")
    return Model(
        preset,
        with_mixture(state["model"]),
        state["log_weights"],
        networks_of(preset, num_features, parts),
        num_features,
        likelihood_of(preset, parts),
        None if calibration is None else Calibration(**calibration),
        parts.num_batches,
    )


def records_of_best(problem: Problem, state: State) -> list[Metrics]:
    """The records of a run, the metrics of the best restart at their top level.

    A single restart has nothing else to tell; several stay beside it.
    """
    best = int(state["restart"])
    selected = []
    for record in problem.runner.records:
        chosen = dict(record)
        if "restarts" in record:  # not those of the pretraining and the graph
            chosen |= record["restarts"][best]
            if len(record["restarts"]) == 1:
                del chosen["restarts"]
        selected.append(chosen)
    return selected


def check_neighbors(problem: Problem) -> None:
    """Whether neighbours, if they are to be searched, can be.

    Raises:
      NotInstalled: if there are so many rows that it takes a package that is missing.
    """
    if problem.neighbors is None:
        check_search(len(problem.x))


def check_weights(problem: Problem) -> None:
    """Whether all that is fitted to rows can heed their weights, if they have any.

    Raises:
      InvalidInput: if scikit-learn's Gaussian mixture, which cannot, is asked for.
    """
    if problem.sample_weight is None:
        return
    for name, value in (("init", "gmm"), ("clustering", "em"), ("kl_term", False)):
        if getattr(problem.preset, name, None) == value:
            raise checks.InvalidInput(
                f"{name}={value} fits scikit-learn's Gaussian mixture, which takes no "
                f"sample_weight; leave one of them out."
            )


def models_of(problem: Problem, start: Model) -> State:
    """The state of a run whose restarts train a model on.

    Raises:
      InvalidInput: if the model does not fit the data and the settings.
    """
    _check_start(problem, start)
    params = {**start.params, "mixture": start.params["mixture"]._asdict()}
    _, log_assignment = evaluate.infer(start.networks, start.params, problem.x)
    log_assignment = np.asarray(log_assignment)
    return {
        "encoder": params["encoder"],
        "decoder": params["decoder"],
        "models": repeated(jax.device_get(params), problem.preset.restarts),
        "log_assignments": np.stack([log_assignment] * problem.preset.restarts),
    }


def _check_start(problem: Problem, start: Model) -> None:
    preset = problem.preset
    clusters, latent_dim = start.params["mixture"].mean.shape
    theirs = (start.num_features, latent_dim, clusters)
    ours = (problem.num_features, preset.latent_dim, preset.num_clusters)
    if theirs != ours:
        raise checks.InvalidInput(
            "the model to start from has (features, latent_dim, num_clusters) = "
            f"{theirs}, the data and settings have {ours}; train anew, or keep them."
        )
    theirs, ours = (
        components_of(one, problem.num_features) for one in (start.preset, preset)
    )
    if theirs != ours:
        raise checks.InvalidInput(
            f"the model to start from has principal_components={theirs}, the settings "
            f"have {ours}; train anew, or keep them."
        )
    if start.num_batches != problem.num_batches:
        raise checks.InvalidInput(
            f"the model to start from knows of {start.num_batches} batches, the data "
            f"have {problem.num_batches}; train anew, or on rows of all its batches."
        )


def initial_mixtures(
    problem: Problem,
    networks: Networks,
    state: State,
    initial_mixture: Callable[[Gaussian, int], State],
    label_metrics: LabelMetrics,
) -> tuple[State, Metrics]:
    """Labels and mixture of every restart; reports the labels.

    Args:
      problem: what is clustered.
      networks: the model as pure functions.
      state: with a pretrained autoencoder.
      initial_mixture: from (posteriors of all points, number of the restart) to
        {"initial_labels", "mixture", ...}.
      label_metrics: what the record says of labels.
    """
    num_clusters = problem.preset.num_clusters
    posterior = evaluate.encode_all(networks.encode, state["encoder"], problem.x)
    entries, reports = [], []
    for restart in range(problem.preset.restarts):
        entries.append(initial_mixture(posterior, restart))
        labels = entries[-1]["initial_labels"]
        one_hot = np.eye(num_clusters, dtype=np.float32)[labels]
        shares = np.average(one_hot, axis=0, weights=problem.sample_weight)
        with np.errstate(divide="ignore"):  # an empty cluster has -inf
            log_weights = np.log(shares)
        elbo = mean_elbo(
            problem,
            networks,
            autoencoder_params(state) | {"mixture": Mixture(**entries[-1]["mixture"])},
            log_weights,
            log_assignments=evaluate.log_one_hot(labels, num_clusters),
        )
        reports.append(label_metrics(labels) | elbo)
    return stacked(entries), {"restarts": reports}


def label_mixture(
    problem: Problem, posterior: Gaussian, graph: Graph | None, restart: int
) -> State:
    """Labels, and the moments of each (erratum E23), to start a restart from."""
    preset = problem.preset
    labels = initialize.initial_labels(
        preset.init,
        problem.without_batch_effects(np.asarray(posterior.mean)),
        graph,
        preset.num_clusters,
        num_eigenvectors=math.ceil(
            preset.eigenvectors_per_cluster * preset.num_clusters
        ),
        seed=problem.numpy_seed("initialize", restart),
        sample_weight=problem.sample_weight,
    )
    return mixture_of_labels(problem, posterior, labels)


def mixture_of_labels(
    problem: Problem, posterior: Gaussian, labels: np.ndarray
) -> State:
    """Labels [N] to start a restart from, and the moments of each (erratum E23)."""
    preset = problem.preset
    mixture = initialize.label_mixture(
        posterior,
        labels,
        preset.num_clusters,
        variance_floor=preset.variance_floor,
        posterior_variance=preset.posterior_variance,
        sample_weight=problem.sample_weight,
    )
    return {"initial_labels": labels, "mixture": mixture._asdict()}


def of_gammas(
    problem: Problem, params: State, log_assignments: np.ndarray
) -> np.ndarray:
    """ln of the global prior: of the mean gamma (erratum E4), by weights of rows."""
    del params
    return evaluate.global_log_weights(log_assignments, problem.sample_weight)


def assessed(
    problem: Problem,
    networks: Networks,
    models: State,
    log_weights: LogWeights,
    label_metrics: LabelMetrics,
) -> tuple[State, Metrics]:
    """What a stage returns whose models are now these; reports their assignments.

    Args:
      problem: what is clustered.
      networks: the model as pure functions.
      models: parameters, leaves with a leading axis R.
      log_weights: of a model, the global prior.
      label_metrics: what the record says of labels.
    """
    models = jax.device_get({**models, "mixture": models["mixture"]._asdict()})
    log_assignments, reports = [], []
    for restart in range(problem.preset.restarts):
        model = with_mixture(restart_of(models, restart))
        _, log_assignment = evaluate.infer(networks, model, problem.x)
        log_assignments.append(np.asarray(log_assignment))
        labels = log_assignments[-1].argmax(axis=1)
        weights = log_weights(problem, model, log_assignments[-1])
        elbo = mean_elbo(problem, networks, model, weights)
        reports.append(label_metrics(labels) | elbo)
    entries = {"models": models, "log_assignments": np.stack(log_assignments)}
    return entries, {"restarts": reports}


def with_objectives(problem: Problem, metrics: Metrics) -> Metrics:
    """Metrics after the loop ``train``: also the last objective of every restart."""
    epochs = problem.runner.epochs_of("train")
    if epochs:
        # A list has a value for each restart.
        values = np.atleast_1d(epochs[-1]["objective"]).tolist()
        for report, value in zip(metrics["restarts"], values, strict=True):
            report["objective"] = value
    return metrics


def evaluated(
    problem: Problem,
    networks: Networks,
    state: State,
    log_weights: LogWeights,
    final_metrics: Callable[[State, np.ndarray, np.ndarray], tuple[Metrics, ElboTerms]],
    criterion: str,
    calibration_of: Callable[[State], State] = lambda entries: {},
) -> tuple[State, Metrics]:
    """The best restart, and what it says of every point.

    Args:
      problem: what is clustered.
      networks: the model as pure functions.
      state: with "models" and "log_assignments" of all restarts.
      log_weights: of a model, the global prior.
      final_metrics: from a model, its global prior and its labels to what is reported,
        and to the terms of the own-ELBO of every row, [N].
      criterion: the metric whose largest value tells the best restart.
      calibration_of: from the entries of the best to a calibration, or nothing.
    """
    reports, elbos = [], []
    for restart in range(problem.preset.restarts):
        model = with_mixture(restart_of(state["models"], restart))
        log_assignments = state["log_assignments"][restart]
        labels = log_assignments.argmax(axis=1)
        weights = log_weights(problem, model, log_assignments)
        balance = evaluate.balance_metrics(labels, log_assignments)
        metrics, terms = final_metrics(model, weights, labels)
        reports.append(metrics | finite_means(problem, terms) | balance)
        elbos.append(np.asarray(terms.total))
    best = int(np.argmax([report[criterion] for report in reports]))
    model = restart_of(state["models"], best)
    log_assignments = state["log_assignments"][best]
    entries = {
        "restart": np.asarray(best),
        "model": model,
        "log_weights": np.asarray(log_weights(problem, model, log_assignments)),
        "log_assignment": log_assignments,
        "labels": log_assignments.argmax(axis=1).astype(np.int32),
        "latent_mean": latent_means(problem, networks, model),
        "elbo": elbos[best],
    }
    entries |= calibration_of(entries)
    reports[best] |= confidence_metrics(
        problem.y, entries["labels"], np.exp(entries["log_assignment"])
    )
    return entries, {"restarts": reports}


def table_metrics(
    problem: Problem,
    state: TrainState,
    standing: Callable[[np.ndarray], float] | None = None,
) -> Metrics:
    """Metrics of the table of gammas, once an epoch.

    Args:
      problem: what is clustered.
      state: of all restarts.
      standing: of labels [N], if there is what judges them.
    """
    labels = devices.gather(
        jax.tree.map(lambda table: table.argmax(axis=-1), state.table)
    )
    num_clusters = problem.preset.num_clusters
    counts = [np.bincount(row, minlength=num_clusters) for row in labels]
    metrics = {"smallest_share": [float(c.min() / c.sum()) for c in counts]}
    if problem.y is not None:
        metrics["accuracy"] = [problem.scores(row)["accuracy"] for row in labels]
    if standing is not None:
        metrics["standing"] = [standing(row) for row in labels]
    return metrics


def restart_keys(problem: Problem, stage: str) -> jax.Array:
    """Random keys of the restarts in a stage, [R]."""
    return jax.random.split(problem.key(stage), problem.preset.restarts)


def restart_of(tree: Any, restart: int) -> Any:
    """The leaves of one restart."""
    return jax.tree.map(lambda leaf: leaf[restart], tree)


def stacked(trees: list[State]) -> State:
    """The leaves of all restarts, with a leading axis R."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def repeated(tree: State, restarts: int) -> State:
    """The same leaves for every restart."""
    return stacked([tree] * restarts)


def with_mixture(model: State) -> State:
    """A model of a state, with its mixture as a Mixture."""
    return {**model, "mixture": Mixture(**model["mixture"])}


def samples_per_cluster(model: Model, num_samples: int, seed: int = 0) -> np.ndarray:
    """E[x | z] at z drawn from every component, shape [K, M, D]."""
    mixture = Gaussian(*model.params["mixture"])
    num_clusters, latent_dim = mixture.mean.shape
    shape = (num_clusters, num_samples, latent_dim)
    eps = jax.random.normal(jax.random.key(seed), shape)
    z = jax.vmap(jax.vmap(sample_gaussian, (None, 0)))(mixture, eps)
    decoded = model.decode(z.reshape(-1, latent_dim))
    return decoded.reshape(num_clusters, num_samples, -1)


def traversals(model: Model, num_steps: int = 15) -> np.ndarray:
    """Figure 2 of DGG: E[x | mu_k + 4 a_j (e_l o sigma_k)], shape [K, L, 15, D].

    a_j = -1 + (j - 1) / 7 for j = 1..15 (erratum E34).
    """
    mixture = model.params["mixture"]
    num_clusters, latent_dim = mixture.mean.shape
    steps = 4.0 * np.linspace(-1.0, 1.0, num_steps, dtype=np.float32)
    offsets = np.eye(latent_dim, dtype=np.float32)[:, None] * steps[None, :, None]
    sigma = np.exp(0.5 * mixture.logvar)[:, None, None]
    z = mixture.mean[:, None, None] + offsets[None] * sigma
    decoded = model.decode(z.reshape(-1, latent_dim))
    return decoded.reshape(num_clusters, latent_dim, num_steps, -1)
