"""VaDE: variational deep embedding, from data on.

Jiang et al., "Variational deep embedding: a generative approach to clustering". The
generative process and the ELBO are in ``dgg_jax.losses.vade``.
"""

import functools

import jax
import numpy as np
from scipy import special
from sklearn.mixture import GaussianMixture

from dgg_jax.graph import knn, neighbor_weights
from dgg_jax.methods.base import Metrics, Run, State
from dgg_jax.methods.mixture_vae import (
    MixtureStages,
    Model,
    Neighbors,
    restart_of,
    samples_per_cluster,
    traversals,
)
from dgg_jax.methods.pretrained import AS_NAMED, Parts, autoencoder_functions
from dgg_jax.presets import VaDEPreset
from dgg_jax.stages import initialize, vade
from dgg_jax.stages.train import ApplyFunctions
from dgg_jax.training import Rate
from dgg_jax.types import Gaussian, Graph, Mixture

__all__ = ["STAGES", "Model", "model_of", "run", "samples_per_cluster", "traversals"]

STAGES = ("pretrain", "initialize", "train", "evaluate")


def apply_functions(
    preset: VaDEPreset, num_features: int, parts: Parts = AS_NAMED
) -> ApplyFunctions:
    """The model as pure functions of (parameters, batch)."""
    return autoencoder_functions(preset, num_features, parts)._replace(
        classify=vade.bayes_assignment
    )


def run(
    x: np.ndarray,
    preset: VaDEPreset,
    *,
    seed: int = 0,
    y: np.ndarray | None = None,
    runner: Run | None = None,
    parts: Parts = AS_NAMED,
    neighbors: Neighbors | None = None,
    start: Model | None = None,
) -> tuple[Model, State, list[Metrics]]:
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
    stages = _Stages(
        x,
        preset,
        seed=seed,
        y=y,
        runner=runner,
        parts=parts,
        neighbors=neighbors,
        start=start,
    )
    return stages.carry_through()


class _Stages(MixtureStages):
    names = STAGES
    build_functions = staticmethod(apply_functions)
    criterion = "objective"  # that was trained (erratum E48)

    def initialize(self, state: State) -> tuple[State, Metrics]:
        """Labels and mixture of every restart; reports the labels."""
        preset = self.preset
        if not preset.pretrain_vae_epochs:
            encoder = self._with_narrow_posteriors(state["encoder"])
            state = {**state, "encoder": encoder}
        graph = None
        if preset.init == "spectral":
            neighbors = self.neighbors
            if neighbors is None:
                found = self.runner.remember(
                    "latent_neighbors", lambda: self._graph(state)
                )
                neighbors = found["indices"], found["distances"]
            k = min(preset.num_neighbors, len(self.x) - 1)
            graph = neighbor_weights(*(field[:, :k] for field in neighbors))
        entries, metrics = self.initial_mixtures(state, graph)
        return entries | {"encoder": state["encoder"]}, metrics

    def initial_mixture(
        self, posterior: Gaussian, graph: Graph | None, restart: int
    ) -> State:
        """Labels, the mixture and its pi to start a restart from (erratum E44).

        Of init=gmm all three are those of the Gaussian mixture that is fitted to the
        latents, else the mixture has the moments of the labels and pi their shares.
        """
        preset, num_clusters = self.preset, self.preset.num_clusters
        if preset.init == "gmm":
            latents = np.asarray(posterior.mean, np.float64)
            seed = self.numpy_seed("initialize", restart)
            fitted = initialize.diagonal_mixture(latents, num_clusters, seed=seed)
            entries = {
                "initial_labels": fitted.predict(latents).astype(np.int32),
                **self._start_of(fitted),
            }
        else:
            entries = super().initial_mixture(posterior, graph, restart)
            counts = np.bincount(entries["initial_labels"], minlength=num_clusters)
            # One point more in each cluster, so that an empty one can grow.
            shares = (counts + 1.0) / (len(self.x) + num_clusters)
            entries["logits"] = np.log(shares).astype(np.float32)
        if preset.initial_variances == "unit":
            entries["mixture"]["logvar"] = np.zeros_like(entries["mixture"]["logvar"])
        if preset.initial_weights == "uniform":
            entries["logits"] = np.zeros_like(entries["logits"])
        return entries

    def _start_of(self, fitted: GaussianMixture) -> State:
        """The mixture [K, L] and logits [K] of a diagonal one of scikit-learn."""
        variances = np.maximum(fitted.covariances_, self.preset.variance_floor)
        mixture = {"mean": fitted.means_, "logvar": np.log(variances)}
        entries = {"mixture": mixture, "logits": np.log(fitted.weights_)}
        return jax.tree.map(np.float32, entries)

    def log_weights(self, params: State, log_assignments: np.ndarray) -> np.ndarray:
        """ln of the trained pi, with which eq. (12) assigns."""
        return np.asarray(vade.log_weights(params))

    def _with_narrow_posteriors(self, encoder: State) -> State:
        """The encoder of an autoencoder, whose log-variances nothing has trained yet.

        A posterior starts with a tenth of the latents' spread: at the variance of 1
        that the head has, the clusters of an autoencoder's latents would run together.
        An encoder of the user's own starts as it comes, unless its head is named so.
        """
        if "bias" not in encoder.get("logvar", {}):
            return encoder
        spread = self.latent_means({"encoder": encoder}).var(axis=0)
        bias = np.log(0.01 * np.maximum(spread, self.preset.variance_floor))
        return {**encoder, "logvar": {**encoder["logvar"], "bias": bias}}

    def _graph(self, state: State) -> State:
        indices, distances = knn(
            self.latent_means(state),
            min(self.preset.num_neighbors, len(self.x) - 1),
            progress=functools.partial(self.runner.progress, "latent_neighbors"),
        )
        return {"indices": indices, "distances": distances}

    def train(self, state: State) -> tuple[State, Metrics]:
        """The ELBO, for every restart; reports the trained models."""
        preset = self.preset
        models = state.get("models")
        if models is None:
            models = {
                **self.stacked({k: state[k] for k in ("encoder", "decoder")}),
                "mixture": state["mixture"],
                "logits": state["logits"],
            }
        models = {**models, "mixture": Mixture(**models["mixture"])}
        keys = self.restart_keys("train")
        loss = vade.vade_loss(
            self.networks,
            assignment=preset.assignment,
            num_samples=preset.num_samples,
            reconstruction_weight=preset.reconstruction_weight,
        )
        shape = (preset.restarts, len(self.x), preset.num_clusters)
        schedule = self.training_schedule()
        rate = Rate(
            preset.mixture_learning_rate, preset.mixture_decay, preset.decay_epochs
        )
        rates = {"mixture": rate, "logits": rate}
        settings = {
            "rates": rates,
            "monitor": self.runner,
            "describe": self.describe,
        }
        if preset.label_epochs and preset.kl_term and self.start is None:
            models = vade.train_vade(
                "labels",
                loss,
                self.x,
                self.likelihood,
                models,
                np.zeros(shape, np.float32),
                labels=state["initial_labels"],
                kl_warmup_epochs=0,
                schedule=schedule._replace(epochs=preset.label_epochs, decay=1.0),
                keys=jax.vmap(jax.random.fold_in, (0, None))(keys, 1),
                # Here the mixture has to follow its clusters.
                **settings
                | {"rates": dict.fromkeys(rates, Rate(schedule.learning_rate))},
            ).params
        if not preset.kl_term:
            loss = vade.reconstruction_loss(self.networks)
        models = vade.train_vade(
            "train",
            loss,
            self.x,
            self.likelihood,
            models,
            np.zeros(shape, np.float32),
            kl_warmup_epochs=preset.kl_warmup_epochs,
            schedule=schedule,
            keys=keys,
            **settings,
        ).params
        if not preset.kl_term:
            models = self._with_fitted_mixtures(jax.device_get(models))
        return self.trained(state, models)

    def evaluate(self, state: State) -> tuple[State, Metrics]:
        """The restart with the best objective; reports clustering by EM as well."""
        probabilities = [
            self._em(restart_of(state["models"], restart))
            for restart in range(self.preset.restarts)
        ]
        if self.preset.clustering == "em":
            with np.errstate(divide="ignore"):
                log_assignments = np.log(np.stack(probabilities))
            state = {**state, "log_assignments": log_assignments}
        entries, metrics = super().evaluate(state)
        for report, probability in zip(metrics["restarts"], probabilities, strict=True):
            accuracy = self.scores(probability.argmax(axis=1))["accuracy"]
            report["em_accuracy"] = accuracy
        return entries, metrics

    def final_elbo(self, model: State, log_weights: np.ndarray) -> Metrics:
        """Also the objective: the ELBO, unless another one has been trained.

        That is the ELBO with a weighted reconstruction, or the reconstruction alone.
        """
        metrics = super().final_elbo(model, log_weights)
        if self.preset.kl_term:
            weight = self.preset.reconstruction_weight
            objective = metrics["elbo"] + (weight - 1.0) * metrics["reconstruction"]
        else:
            objective = vade.mean_reconstruction(
                self.networks, self.likelihood, model, self.x
            )
        return metrics | {"objective": objective}

    def _em(self, model: State) -> np.ndarray:
        """p(c | z) of a mixture that EM fits to the latents, from the trained one on.

        The paper's alternative to eq. (12): "treating all z's as samples from GMM". It
        labels these rows only: the model keeps its own mixture, with which ``infer``
        assigns rows, these among them.
        """
        mixture = model["mixture"]
        fitted = GaussianMixture(
            self.preset.num_clusters,
            covariance_type="diag",
            weights_init=special.softmax(model["logits"].astype(np.float64)),
            means_init=mixture["mean"].astype(np.float64),
            precisions_init=np.exp(-mixture["logvar"].astype(np.float64)),
            max_iter=200,
        )
        latents = self.latent_means(model).astype(np.float64)
        probabilities = initialize.fit_mixture(fitted, latents).predict_proba(latents)
        return probabilities.astype(np.float32)

    def _with_fitted_mixtures(self, models: State) -> State:
        """Mixtures of the latents of autoencoders, which leave their own untrained."""
        starts = [
            self._start_of(
                initialize.diagonal_mixture(
                    self.latent_means(restart_of(models, restart)),
                    self.preset.num_clusters,
                    seed=self.numpy_seed("train", restart),
                )
            )
            for restart in range(self.preset.restarts)
        ]
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *starts)
        return {**models, **stacked, "mixture": Mixture(**stacked["mixture"])}


model_of = _Stages.model_of
