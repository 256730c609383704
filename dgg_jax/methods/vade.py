"""VaDE: variational deep embedding, from data on.

Jiang et al., "Variational deep embedding: a generative approach to clustering". The
generative process and the ELBO are in ``dgg_jax.losses.vade``; ``run`` is the
algorithm, its stages follow in order, then what a step of training minimises.
"""

import dataclasses
import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse, special
from sklearn.mixture import GaussianMixture

from dgg_jax.distributions import sample_gaussian
from dgg_jax.graph import neighbor_weights
from dgg_jax.losses import vade
from dgg_jax.methods import mixture_vae
from dgg_jax.methods.mixture_vae import (
    ELBO_DRAWS,
    Model,
    Neighbors,
    assessed,
    evaluated,
    restart_keys,
    restart_of,
    samples_per_cluster,
    traversals,
    with_mixture,
    with_objectives,
)
from dgg_jax.methods.parts import AS_NAMED, Parts, autoencoder_networks
from dgg_jax.methods.pretrained import (
    autoencoder,
    check_parts,
    finite_means,
    latent_means,
    own_elbo,
    pretrain_and_report,
    rows,
    with_narrow_posteriors,
)
from dgg_jax.methods.problem import Outcome, Problem, training_schedule
from dgg_jax.methods.similarity import nearest
from dgg_jax.networks import Networks
from dgg_jax.presets import VaDEPreset
from dgg_jax.stages import evaluate, initialize
from dgg_jax.training import (
    Loss,
    Metrics,
    Rate,
    Rows,
    Run,
    State,
    StepOutput,
    TrainState,
    batch_mean,
    optimize,
)
from dgg_jax.training.loop import steps_per_epoch
from dgg_jax.types import ElboTerms, Gaussian, Graph, Mixture

__all__ = ["Model", "run", "samples_per_cluster", "traversals"]

STAGES = ("pretrain", "initialize", "train", "evaluate")


def run(
    x: np.ndarray | sparse.csr_array,
    preset: VaDEPreset,
    *,
    seed: int = 0,
    y: np.ndarray | None = None,
    runner: Run | None = None,
    parts: Parts = AS_NAMED,
    neighbors: Neighbors | None = None,
    start: Model | None = None,
    sample_weight: np.ndarray | None = None,
    batch: np.ndarray | None = None,
) -> Outcome:
    """Carries data through all stages of VaDE.

    Args:
      x: data, float32 of shape [N, D]; rows of a sparse matrix become dense by the
        batch.
      preset: all settings.
      seed: of every random number of the run.
      y: true labels [N] for the reported metrics; nothing else sees them.
      runner: checkpoints and callbacks; by default in memory only.
      parts: networks or likelihood in place of those that the preset names.
      neighbors: nearest neighbours (indices and distances [N, k], ascending) that the
        graph takes in place of its own.
      start: a model to train on, without pretraining and initialisation.
      sample_weight: how much each row counts in all that is minimised, in moments and
        in pi, [N]; spectral clustering and the report's ``em_accuracy`` know none.
      batch: labels of the batches that rows were measured in, [N]; encoder and decoder
        take them, and labels to start from are of latents without their effects.

    Returns:
      The model with the best objective of the restarts; the last state, with "labels"
      [N], "log_assignment" [N, K] and "latent_mean" [N, L]; and the record of every
      stage. With clustering="em", labels and log_assignment are those of EM on the
      latents; the model's ``infer`` has p(c | z), eq. (12), all the same.

    Raises:
      InvalidInput: if x cannot be clustered so; before any work.
      Diverged: if a loss is not finite.
      Interrupted: if the runner was asked to stop.
    """
    problem = Problem.of(
        x,
        preset,
        seed=seed,
        y=y,
        runner=runner,
        parts=parts,
        neighbors=neighbors,
        start=start,
        sample_weight=sample_weight,
        batch=batch,
    )
    check_parts(problem)
    mixture_vae.check_weights(problem)
    stage = problem.runner.stage
    if start is None:
        if preset.init == "spectral":
            mixture_vae.check_neighbors(problem)
        state = stage("pretrain", pretrain_and_report, problem, {})
        state = stage("initialize", initialize_mixtures, problem, state)
    else:
        state = mixture_vae.models_of(problem, start)
    state = stage("train", train, problem, state)
    state = stage("evaluate", choose_restart, problem, state)
    model = model_of(preset, problem.num_features, state, problem.parts)
    return Outcome(model, state, mixture_vae.records_of_best(problem, state))


def networks_of(
    preset: VaDEPreset, num_features: int, parts: Parts = AS_NAMED
) -> Networks:
    """The model as pure functions of (parameters, batch)."""
    networks = autoencoder_networks(preset, num_features, parts)
    return networks._replace(classify=bayes_assignment)


model_of = functools.partial(mixture_vae.model_of, networks_of)


def _networks(problem: Problem) -> Networks:
    return networks_of(problem.preset, problem.num_features, problem.parts)


def log_weights(params: Any) -> jax.Array:
    """ln pi of the mixture's logits (erratum E45), shape [K]."""
    return jax.nn.log_softmax(params["logits"])


def bayes_assignment(params: Any, z: jax.Array) -> jax.Array:
    """ln p(c | z) of latents z [..., L] by eq. (12) of VaDE, shape [..., K]."""
    assign = jnp.vectorize(
        lambda z: vade.log_assignment(z, log_weights(params), params["mixture"]),
        signature="(l)->(k)",
    )
    return assign(z)


def _trained_weights(
    problem: Problem, params: State, log_assignments: np.ndarray
) -> np.ndarray:
    """ln of the trained pi, with which eq. (12) assigns."""
    del problem, log_assignments
    return np.asarray(log_weights(params))


def initialize_mixtures(problem: Problem, state: State) -> tuple[State, Metrics]:
    """Labels and mixture of every restart; reports the labels."""
    preset = problem.preset
    if not preset.pretrain_vae_epochs:
        state = {**state, "encoder": with_narrow_posteriors(problem, state["encoder"])}
    graph = _latent_graph(problem, state) if preset.init == "spectral" else None
    entries, metrics = mixture_vae.initial_mixtures(
        problem,
        _networks(problem),
        state,
        functools.partial(_initial_mixture, problem, graph),
        problem.scores,
    )
    return entries | {"encoder": state["encoder"]}, metrics


def _initial_mixture(
    problem: Problem, graph: Graph | None, posterior: Gaussian, restart: int
) -> State:
    """Labels, the mixture and its pi to start a restart from (erratum E44).

    Of init=gmm all three are those of the Gaussian mixture that is fitted to the
    latents, else the mixture has the moments of the labels and pi their shares.
    """
    preset, num_clusters = problem.preset, problem.preset.num_clusters
    if preset.init == "gmm":
        latents = problem.without_batch_effects(np.asarray(posterior.mean))
        latents = latents.astype(np.float64)
        seed = problem.numpy_seed("initialize", restart)
        fitted = initialize.diagonal_mixture(latents, num_clusters, seed=seed)
        entries = {
            "initial_labels": fitted.predict(latents).astype(np.int32),
            **_parameters_of(problem, fitted),
        }
    else:
        entries = mixture_vae.label_mixture(problem, posterior, graph, restart)
        counts = np.bincount(
            entries["initial_labels"], problem.sample_weight, num_clusters
        )
        # One point more in each cluster, so that an empty one can grow.
        shares = (counts + 1.0) / (len(problem.x) + num_clusters)
        entries["logits"] = np.log(shares).astype(np.float32)
    if preset.initial_variances == "unit":
        entries["mixture"]["logvar"] = np.zeros_like(entries["mixture"]["logvar"])
    if preset.initial_weights == "uniform":
        entries["logits"] = np.zeros_like(entries["logits"])
    return entries


def _parameters_of(problem: Problem, fitted: GaussianMixture) -> State:
    """The mixture [K, L] and logits [K] of a diagonal one of scikit-learn."""
    variances = np.maximum(fitted.covariances_, problem.preset.variance_floor)
    mixture = {"mean": fitted.means_, "logvar": np.log(variances)}
    entries = {"mixture": mixture, "logits": np.log(fitted.weights_)}
    return jax.tree.map(np.float32, entries)


def _latent_graph(problem: Problem, state: State) -> Graph:
    """The graph of the neighbours that are given, or of those in latent space."""
    k = min(problem.preset.num_neighbors, len(problem.x) - 1)
    neighbors = problem.neighbors
    if neighbors is None:
        latents = latent_means(problem, autoencoder(problem), state)
        latents = problem.without_batch_effects(latents)
        name = "latent_neighbors"
        found = problem.runner.remember(
            name, lambda: nearest(problem, latents, k, name)
        )
        neighbors = found["indices"], found["distances"]
    return neighbor_weights(*(field[:, :k] for field in neighbors))


def train(problem: Problem, state: State) -> tuple[State, Metrics]:
    """Maximises the ELBO, for every restart; reports the trained models."""
    preset, networks = problem.preset, _networks(problem)
    if "models" in state:
        models = with_mixture(state["models"])
    else:
        shared = {name: state[name] for name in ("encoder", "decoder")}
        models = {
            **mixture_vae.repeated(shared, preset.restarts),
            "mixture": Mixture(**state["mixture"]),
            "logits": state["logits"],
        }
    keys, schedule = restart_keys(problem, "train"), training_schedule(preset)
    common = {
        "num_points": len(problem.x),
        "monitor": problem.runner,
        "table": np.zeros(
            (preset.restarts, len(problem.x), preset.num_clusters), np.float32
        ),
        "restarts": True,
    }
    if preset.kl_term:  # else the mixture is fitted when training has ended
        common["describe"] = functools.partial(mixture_vae.table_metrics, problem)
    if preset.label_epochs and preset.kl_term and problem.start is None:
        objective = vade_objective(
            dataclasses.replace(preset, kl_warmup_epochs=0),
            networks,
            rows(problem),
            labels=state["initial_labels"],
        )
        models = optimize(
            "labels",
            params=models,
            key=jax.vmap(jax.random.fold_in, (0, None))(keys, 1),
            schedule=schedule._replace(epochs=preset.label_epochs, decay=1.0),
            # Here the mixture has to follow its clusters.
            **objective | {"rates": _rates_of_mixture(Rate(schedule.learning_rate))},
            **common,
        ).params
    objective = vade_objective(preset, networks, rows(problem))
    models = optimize(
        "train", params=models, key=keys, schedule=schedule, **objective, **common
    ).params
    if not preset.kl_term:
        models = _with_fitted_mixtures(problem, jax.device_get(models))
    entries, metrics = assessed(
        problem, networks, models, _trained_weights, problem.scores
    )
    return entries, with_objectives(problem, metrics)


def _with_fitted_mixtures(problem: Problem, models: State) -> State:
    """Mixtures of the latents of autoencoders, which leave their own untrained."""
    mixtures = []
    for restart in range(problem.preset.restarts):
        model = restart_of(models, restart)
        fitted = initialize.diagonal_mixture(
            latent_means(problem, autoencoder(problem), model),
            problem.preset.num_clusters,
            seed=problem.numpy_seed("train", restart),
        )
        mixtures.append(_parameters_of(problem, fitted))
    return with_mixture({**models, **mixture_vae.stacked(mixtures)})


def choose_restart(problem: Problem, state: State) -> tuple[State, Metrics]:
    """The restart with the best objective; reports clustering by EM as well.

    Raises:
      Diverged: if a term of the ELBO is not finite.
    """
    networks = _networks(problem)
    probabilities = [
        _em(problem, restart_of(state["models"], restart))
        for restart in range(problem.preset.restarts)
    ]
    if problem.preset.clustering == "em":
        with np.errstate(divide="ignore"):
            state = {**state, "log_assignments": np.log(np.stack(probabilities))}
    entries, metrics = evaluated(
        problem,
        networks,
        state,
        _trained_weights,
        functools.partial(_final_metrics, problem, networks),
        "objective",  # that was trained (erratum E48)
    )
    for report, probability in zip(metrics["restarts"], probabilities, strict=True):
        em_labels = probability.argmax(axis=1)
        report["em_accuracy"] = problem.scores(em_labels)["accuracy"]
    return entries, metrics


def _final_metrics(
    problem: Problem,
    networks: Networks,
    model: State,
    weights: np.ndarray,
    labels: np.ndarray,
) -> tuple[Metrics, ElboTerms]:
    """Scores and the objective; and the terms of the own-ELBO of every row.

    The objective is the ELBO with a weighted reconstruction, or the reconstruction
    alone.
    """
    terms = own_elbo(problem, networks, model, weights, ELBO_DRAWS)
    metrics = finite_means(problem, terms)
    if problem.preset.kl_term:
        weight = problem.preset.reconstruction_weight
        objective = metrics["elbo"] + (weight - 1.0) * metrics["reconstruction"]
    else:
        objective = mean_reconstruction(networks, rows(problem), model)
    return problem.scores(labels) | {"objective": objective}, terms


def _em(problem: Problem, model: State) -> np.ndarray:
    """p(c | z) of a mixture that EM fits to the latents, from the trained one on.

    The paper's alternative to eq. (12): "treating all z's as samples from GMM". It
    labels these rows only: the model keeps its own mixture, with which ``infer``
    assigns rows, these among them.
    """
    mixture = model["mixture"]
    fitted = GaussianMixture(
        problem.preset.num_clusters,
        covariance_type="diag",
        weights_init=special.softmax(model["logits"].astype(np.float64)),
        means_init=mixture["mean"].astype(np.float64),
        precisions_init=np.exp(-mixture["logvar"].astype(np.float64)),
        max_iter=200,
    )
    latents = latent_means(problem, autoencoder(problem), model).astype(np.float64)
    probabilities = initialize.fit_mixture(fitted, latents).predict_proba(latents)
    return probabilities.astype(np.float32)


def vade_objective(
    preset: VaDEPreset,
    networks: Networks,
    rows: Rows,
    labels: np.ndarray | None = None,
) -> dict[str, Any]:
    """What ``training.optimize`` is told to maximise VaDE's objective, for R restarts.

    Args:
      preset: the weights of the terms, and how long the KL term takes to rise.
      networks: the model as pure functions.
      rows: the data [N, D], p(x | z) and the weights of rows.
      labels: of each restart, [R, N], to hold q(c | x) at.
    """
    if preset.kl_term:
        loss = VadeLoss(
            networks,
            preset.assignment,
            preset.num_samples,
            preset.reconstruction_weight,
        )
    else:
        loss = ReconstructionLoss(networks)
    num_points = len(rows.x)
    num_steps = steps_per_epoch(num_points, min(preset.batch_size, num_points))
    rate = Rate(preset.mixture_learning_rate, preset.mixture_decay, preset.decay_epochs)
    return {
        "loss": loss,
        "data": (rows, labels),
        "data_axes": None if labels is None else (None, 0),
        "prepare": KlWeight(num_steps, preset.kl_warmup_epochs),
        "prepared_from": (),  # the state alone
        "rates": _rates_of_mixture(rate),
    }


def _rates_of_mixture(rate: Rate) -> Mapping[str, Rate]:
    return MappingProxyType({"mixture": rate, "logits": rate})


@dataclasses.dataclass(frozen=True)
class KlWeight:
    """beta of an epoch: rises to 1 in equal stairs.

    Attributes:
      num_steps: of an epoch.
      warmup_epochs: before it is 1.
    """

    num_steps: int
    warmup_epochs: int

    def __call__(self, state: TrainState, nothing: tuple[()]) -> jax.Array:
        """beta of the epoch that starts at a state."""
        del nothing
        epoch = state.step // self.num_steps
        return jnp.minimum(1.0, (epoch + 1) / (self.warmup_epochs + 1))


@dataclasses.dataclass(frozen=True)
class VadeLoss(Loss):
    r"""-ELBO of a batch, eq. (13) of VaDE, its terms weighted.

    .. math::
      -\frac{1}{B} \sum_{i} \left( \frac{\alpha}{M} \sum_{m} \ln p(x_i \mid z_{im})
      - \beta D_{\text{KL}}( q(z, c \mid x_i) \,\|\, p(z, c) ) \right),
      \qquad z_{im} \sim q(z \mid x_i).

    alpha is ``reconstruction_weight``, section 4.2 of VaDE, and beta the KL weight of
    the epoch; the KL divergence is eq. (14)'s, with q(z, c | x) = q(z | x) q(c | x).

    Over ((Rows, labels), beta), with the table of ln q(c | x), which is held at labels
    [N] that are not None. Each row's summand is times its weight, if they have any.

    Attributes:
      networks: the model as pure functions.
      assignment: q(c | x) from the "sample" drawn (the mean over them, if several), by
        eq. (11) and (12), or "mean_field", in closed form (erratum E41).
      num_samples: M, draws of z.
      reconstruction_weight: alpha.
    """

    networks: Networks
    assignment: str
    num_samples: int
    reconstruction_weight: float

    def __call__(self, params, data, indices, key):
        """The value of a batch; see ``training.Loss``."""
        (rows, labels), kl_weight = data
        x = rows.x[indices]
        posterior, z, decoded = _draw(self.networks, params, x, key, self.num_samples)
        held = None
        if labels is not None:
            num_clusters = len(params["logits"])
            # -inf is safe: losses take 0 ln 0 as 0, with a finite gradient.
            held = jnp.log(jax.nn.one_hot(labels[indices], num_clusters))
        axes = (0, 0, 0, 0, 0, None, None, None)
        terms, log_assignment = jax.vmap(self._terms, axes)(
            x,
            posterior,
            z,
            decoded,
            held,
            log_weights(params),
            params["mixture"],
            rows.likelihood,
        )
        means = batch_mean(terms, rows.sample_weight, indices)
        others = means.total - means.reconstruction
        weighted = self.reconstruction_weight * means.reconstruction
        objective = weighted + kl_weight * others
        metrics = {**means._asdict(), "objective": objective}
        return -objective, StepOutput(metrics, rows=log_assignment)

    def _terms(self, x, posterior, z, decoded, held, weights, mixture, likelihood):
        """Terms and ln q(c | x) of one point, of M draws z [M, L]."""
        if held is not None:
            log_assignment = held
        elif self.assignment == "sample":
            log_assignment = vade.log_assignment(z, weights, mixture)
        else:
            log_assignment = vade.mean_field_log_assignment(posterior, weights, mixture)

        def of_draw(decoded):
            return vade.elbo(
                x, decoded, posterior, log_assignment, weights, mixture, likelihood
            )

        return jax.tree.map(jnp.mean, jax.vmap(of_draw)(decoded)), log_assignment


def _draw(
    networks: Networks, params: Any, x: jax.Array, key: jax.Array, num_samples: int
) -> tuple[Gaussian, jax.Array, Any]:
    """Posteriors [B, L], M draws of each [B, M, L], and their decodings [B, M, ...]."""
    posterior = networks.encode(params["encoder"], x)
    batch_size, latent_dim = posterior.mean.shape
    shape = (batch_size, num_samples, latent_dim)
    eps = jax.random.normal(key, shape, posterior.mean.dtype)
    z = jax.vmap(jax.vmap(sample_gaussian, (None, 0)))(posterior, eps)
    decoded = networks.decode(params["decoder"], z.reshape(-1, latent_dim))
    decoded = jax.tree.map(
        lambda leaf: leaf.reshape(batch_size, num_samples, *leaf.shape[1:]), decoded
    )
    return posterior, z, decoded


@dataclasses.dataclass(frozen=True)
class ReconstructionLoss(Loss):
    r"""VaDE without its KL term: an autoencoder through the posterior mean.

    .. math::
      -\frac{1}{B} \sum_{i} \ln p(x_i \mid z = \tilde\mu_i), \qquad
      q(z \mid x_i) = \mathcal{N}(\tilde\mu_i, \tilde\sigma_i^2).

    The ablation of section 3.3 of VaDE: z would be unstable without the KL term, so the
    mean is decoded in its place, and no gradient reaches the mixture.

    Over ((Rows, None), beta), with the table of ln p(c | mean).

    Attributes:
      networks: the model as pure functions.
    """

    networks: Networks

    def __call__(self, params, data, indices, key):
        """The value of a batch; see ``training.Loss``."""
        (rows, _), _ = data
        x = rows.x[indices]
        mean = self.networks.encode(params["encoder"], x).mean
        decoded = self.networks.decode(params["decoder"], mean)
        values = jax.vmap(rows.likelihood.log_prob)(x, decoded)
        value = batch_mean(values, rows.sample_weight, indices)
        table = jax.lax.stop_gradient(bayes_assignment(params, mean))
        return -value, StepOutput({"objective": value}, rows=table)


def mean_reconstruction(networks: Networks, rows: Rows, params: Any) -> float:
    """What ``ReconstructionLoss`` maximises, over all rows: in nats."""
    values = evaluate.encode_all(
        _Reconstruction(networks), (params, rows.likelihood), rows.x
    )
    return float(jnp.average(values, weights=rows.sample_weight))


@dataclasses.dataclass(frozen=True)
class _Reconstruction:
    """ln p(x | mean of q(z | x)) of one row, of ((parameters, likelihood), x [D])."""

    networks: Networks

    def __call__(self, params: Any, x: jax.Array) -> jax.Array:
        params, likelihood = params
        mean = self.networks.encode(params["encoder"], x).mean
        return likelihood.log_prob(x, self.networks.decode(params["decoder"], mean))
