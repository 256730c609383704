"""What DGG and VaDE have in common: a VAE whose prior is a Gaussian mixture."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgg_jax import checks, devices
from dgg_jax.distributions import sample_gaussian
from dgg_jax.graph.neighbors import check_search
from dgg_jax.likelihoods import Likelihood, as_pytree
from dgg_jax.methods.base import Metrics, State
from dgg_jax.methods.pretrained import Parts, PretrainedStages, likelihood_of
from dgg_jax.presets import MixturePreset
from dgg_jax.rows import place
from dgg_jax.stages import evaluate, initialize
from dgg_jax.stages.train import ApplyFunctions
from dgg_jax.training import TrainState
from dgg_jax.types import Gaussian, Graph, Mixture

ELBO_DRAWS = 16  # of the final ELBO

Neighbors = tuple[np.ndarray, np.ndarray]  # indices and distances [N, k], ascending


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
    """

    preset: MixturePreset
    params: Any
    log_weights: np.ndarray
    networks: ApplyFunctions
    num_features: int
    likelihood: Likelihood

    def infer(self, x: np.ndarray) -> tuple[Gaussian, np.ndarray]:
        """Posteriors of rows and their cluster probabilities; needs no graph.

        Args:
          x: data scaled as the training data were, shape [N, D].

        Returns:
          q(z | x) with fields [N, L], and ln q(c | x) [N, K] from the mean.

        Raises:
          InvalidInput: if x is not [N, D] with the D of training.
        """
        x = self._placed(x)
        return jax.device_get(evaluate.infer(self.networks, self.params, x))

    def _placed(self, x: np.ndarray) -> Any:
        return place(checks.rows(x, self.num_features), self.preset.device_memory_share)

    def infer_batch(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Means of q(z | x) [B, L] and ln q(c | x) [B, K] of one batch, traceable."""
        z = self.networks.encode(self.params["encoder"], x).mean
        return z, self.networks.classify(self.params, z)

    def elbo(self, x: np.ndarray, draws: int = ELBO_DRAWS) -> np.ndarray:
        """The own-ELBO of rows x [N, D] under the global prior, in nats, shape [N].

        The same draws every time; its mean over the training rows is the final ELBO of
        the record.
        """
        x = self._placed(x)
        terms = evaluate.elbo_terms(
            self.networks,
            as_pytree(self.likelihood),
            self.params,
            self.log_weights,
            x,
            jax.random.key(0),
            draws,
        )
        return np.asarray(terms.total)

    def decode(self, z: np.ndarray) -> np.ndarray:
        """E[x | z] of latents z [N, L], shape [N, D]."""
        likelihood = as_pytree(self.likelihood)
        decode = functools.partial(_decode_mean, self.networks.decode, likelihood)
        return np.asarray(decode(self.params["decoder"], jnp.asarray(z)))


@functools.partial(jax.jit, static_argnums=0)
def _decode_mean(decode, likelihood, params, z):
    return jax.vmap(likelihood.mean)(decode(params, z))


def select_restart(records: list[Metrics], restart: int) -> list[Metrics]:
    """Brings the chosen restart's metrics to the top level of each record.

    A single restart has nothing else to tell; several stay beside it.
    """
    selected = []
    for record in records:
        restarts = record.get("restarts", [{}])
        chosen = {**record, **restarts[min(restart, len(restarts) - 1)]}
        if len(restarts) == 1:
            chosen.pop("restarts", None)
        selected.append(chosen)
    return selected


_BEFORE = ("pretrain", "initialize", "classifier")  # what a model to start from has


def _check_start(start: Model, preset: MixturePreset, num_features: int) -> None:
    clusters, latent_dim = start.params["mixture"].mean.shape
    theirs = (start.num_features, latent_dim, clusters)
    ours = (num_features, preset.latent_dim, preset.num_clusters)
    if theirs != ours:
        raise checks.InvalidInput(
            "the model to start from has (features, latent_dim, num_clusters) = "
            f"{theirs}, the data and settings have {ours}; train anew, or keep them."
        )


class MixtureStages(PretrainedStages):
    """Stages with R restarts, whose models carry a leading axis R."""

    build_functions: Callable[[MixturePreset, int, Parts], ApplyFunctions]
    criterion = "elbo"  # the metric whose largest value tells the best restart

    def __init__(
        self,
        *arguments,
        neighbors: Neighbors | None = None,
        start: Model | None = None,
        **keywords,
    ):
        """Checks the data and what is known beforehand; see ``PretrainedStages``.

        Args:
          *arguments: see ``PretrainedStages``.
          neighbors: nearest neighbours that the graph takes in place of its own.
          start: a model to train on, without pretraining and initialisation.
          **keywords: see ``PretrainedStages``.
        """
        super().__init__(*arguments, **keywords)
        if neighbors is not None:
            neighbors = checks.neighbors(*neighbors, num_points=len(self.x))
        elif self._searches(start):
            check_search(len(self.x))
        self.neighbors, self.start = neighbors, start
        if start is not None:
            _check_start(start, self.preset, self.num_features)
            self.names = tuple(name for name in self.names if name not in _BEFORE)

    def _searches(self, start: Model | None) -> bool:
        """Whether a stage searches nearest neighbours."""
        labels = self.preset.init == "spectral" and start is None
        return "graph" in self.names or labels

    def apply_functions(self) -> ApplyFunctions:
        """The model as pure functions."""
        return type(self).build_functions(self.preset, self.num_features, self.parts)

    def initial(self) -> State:
        """Nothing, or the model to train on for every restart."""
        if self.start is None:
            return {}
        params = {
            **self.start.params,
            "mixture": self.start.params["mixture"]._asdict(),
        }
        _, log_assignment = self.start.infer(self.x)
        models = self.stacked(jax.device_get(params))
        repeated = np.stack([log_assignment] * self.preset.restarts)
        return {
            "encoder": params["encoder"],
            "decoder": params["decoder"],
            "models": models,
            "log_assignments": repeated,
        }

    def carry_through(self) -> tuple[Model, State, list[Metrics]]:
        """Runs all stages; the model of the best restart."""
        state, records = self.run()
        records = select_restart(records, int(state["restart"]))
        model = self.model_of(self.preset, self.num_features, state, self.parts)
        return model, state, records

    @classmethod
    def model_of(
        cls, preset: MixturePreset, num_features: int, state: State, parts: Parts
    ) -> Model:
        """The model in the state after the last stage."""
        params = {**state["model"], "mixture": Mixture(**state["model"]["mixture"])}
        return Model(
            preset,
            params,
            state["log_weights"],
            cls.build_functions(preset, num_features, parts),
            num_features,
            likelihood_of(preset, parts),
        )

    def restart_keys(self, stage: str) -> jax.Array:
        """Random keys of the restarts in a stage, [R]."""
        return jax.random.split(self.key(stage), self.preset.restarts)

    def initial_mixtures(
        self, state: State, graph: Graph | None
    ) -> tuple[State, Metrics]:
        """Labels and mixture of every restart; reports the labels."""
        posterior = evaluate.encode_all(self.networks.encode, state["encoder"], self.x)
        starts, reports = [], []
        for restart in range(self.preset.restarts):
            starts.append(self.initial_mixture(posterior, graph, restart))
            labels, mixture = starts[-1]["initial_labels"], starts[-1]["mixture"]
            one_hot = np.eye(self.preset.num_clusters, dtype=np.float32)[labels]
            with np.errstate(divide="ignore"):
                log_assignments = np.log(one_hot)
                log_weights = np.log(one_hot.mean(axis=0))
            elbo = self.elbo(
                {**state, "mixture": Mixture(**mixture)},
                log_weights,
                log_assignments=log_assignments,
            )
            reports.append(self.label_metrics(state, labels) | elbo)
        entries = jax.tree.map(lambda *leaves: np.stack(leaves), *starts)
        return entries, {"restarts": reports}

    def initial_mixture(
        self, posterior: Gaussian, graph: Graph | None, restart: int
    ) -> State:
        """Labels, and the moments of each (erratum E23), to start a restart from."""
        preset = self.preset
        labels = initialize.initial_labels(
            preset.init,
            np.asarray(posterior.mean),
            graph,
            preset.num_clusters,
            num_eigenvectors=math.ceil(
                preset.eigenvectors_per_cluster * preset.num_clusters
            ),
            seed=self.numpy_seed("initialize", restart),
        )
        mixture = initialize.label_mixture(
            posterior, labels, preset.num_clusters, preset.variance_floor
        )
        return {"initial_labels": labels, "mixture": mixture._asdict()}

    def stacked(self, params: State) -> State:
        """The same parameters for every restart."""
        return jax.tree.map(
            lambda leaf: np.stack([leaf] * self.preset.restarts), params
        )

    def log_weights(self, params: State, log_assignments: np.ndarray) -> np.ndarray:
        """ln of the global prior: of the mean gamma (erratum E4)."""
        return evaluate.global_log_weights(log_assignments)

    def label_metrics(self, state: State, labels: np.ndarray) -> Metrics:
        """What is said of labels [N] in the record of a stage."""
        return self.scores(labels)

    def assessed(self, state: State, models: Any) -> tuple[State, Metrics]:
        """What a stage returns whose models, with a leading axis R, are now these."""
        models = jax.device_get({**models, "mixture": models["mixture"]._asdict()})
        log_assignments, reports = [], []
        for restart in range(self.preset.restarts):
            model = _with_mixture(restart_of(models, restart))
            _, log_assignment = evaluate.infer(self.networks, model, self.x)
            log_assignments.append(np.asarray(log_assignment))
            labels = log_assignments[-1].argmax(axis=1)
            elbo = self.elbo(model, self.log_weights(model, log_assignments[-1]))
            reports.append(self.label_metrics(state, labels) | elbo)
        entries = {"models": models, "log_assignments": np.stack(log_assignments)}
        return entries, {"restarts": reports}

    def trained(self, state: State, models: Any) -> tuple[State, Metrics]:
        """As ``assessed``, after the loop ``train``: also its last objective."""
        entries, metrics = self.assessed(state, models)
        objectives = self.runner.last_epoch("train").get("objective")
        if objectives is not None:
            # A list has a value for each restart.
            values = np.atleast_1d(objectives).tolist()
            for report, value in zip(metrics["restarts"], values, strict=True):
                report["objective"] = value
        return entries, metrics

    def evaluate(self, state: State) -> tuple[State, Metrics]:
        """The best restart by ``criterion``, and what it says of every point."""
        reports = []
        for restart in range(self.preset.restarts):
            model = _with_mixture(restart_of(state["models"], restart))
            log_assignments = state["log_assignments"][restart]
            elbo = self.final_elbo(model, self.log_weights(model, log_assignments))
            labels = log_assignments.argmax(axis=1)
            balance = evaluate.balance_metrics(labels, log_assignments)
            reports.append(self.label_metrics(state, labels) | elbo | balance)
        best = int(np.argmax([report[self.criterion] for report in reports]))
        model = restart_of(state["models"], best)
        log_assignments = state["log_assignments"][best]
        entries = {
            "restart": np.asarray(best),
            "model": model,
            "log_weights": np.asarray(self.log_weights(model, log_assignments)),
            "log_assignment": log_assignments,
            "labels": log_assignments.argmax(axis=1).astype(np.int32),
            "latent_mean": self.latent_means(model),
        }
        return entries, {"restarts": reports}

    def final_elbo(self, model: State, log_weights: np.ndarray) -> Metrics:
        """The ELBO of a restart, by more draws than on the way, and its terms."""
        return self.elbo(model, log_weights, draws=ELBO_DRAWS)

    def describe(self, state: TrainState) -> Metrics:
        """Metrics of the table of gammas, once an epoch."""
        labels = devices.gather(
            jax.tree.map(lambda table: table.argmax(axis=-1), state.table)
        )
        num_clusters = self.preset.num_clusters
        counts = [np.bincount(row, minlength=num_clusters) for row in labels]
        shares = [float(count.min() / count.sum()) for count in counts]
        metrics = {"smallest_share": shares}
        if self.y is not None:
            metrics["accuracy"] = [self.scores(row)["accuracy"] for row in labels]
        return metrics


def restart_of(tree: Any, restart: int) -> Any:
    """The leaves of one restart."""
    return jax.tree.map(lambda leaf: leaf[restart], tree)


def _with_mixture(model: State) -> State:
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
