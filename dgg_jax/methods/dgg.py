"""DGG: deep clustering by Gaussian mixture VAEs with graph embedding, from data on."""

import functools
import json
import math
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.cluster import KMeans

from dgg_jax import checks
from dgg_jax.distributions import sample_gaussian
from dgg_jax.graph import knn
from dgg_jax.likelihoods import (
    Bernoulli,
    GaussianLikelihood,
    LearnedVarianceGaussian,
    Likelihood,
)
from dgg_jax.methods.base import Metrics, Run, State
from dgg_jax.networks import Classifier, Decoder, Embedding, Encoder
from dgg_jax.presets import DGGPreset
from dgg_jax.stages import evaluate, graph, initialize, pretrain, train
from dgg_jax.stages.train import ApplyFunctions
from dgg_jax.training import Diverged, Schedule, TrainState
from dgg_jax.training.checkpoints import Checkpoints
from dgg_jax.types import Gaussian, Graph, Mixture

STAGES = ("pretrain", "graph", "initialize", "classifier", "train", "evaluate")
ELBO_DRAWS = 16  # of the final ELBO, which ranks restarts


def likelihood_of(preset: DGGPreset) -> Likelihood:
    """The likelihood that a preset names."""
    return {
        "bernoulli": Bernoulli(),
        "gaussian": GaussianLikelihood(preset.variance),
        "learned_gaussian": LearnedVarianceGaussian(),
    }[preset.likelihood]


class Networks(NamedTuple):
    """The Flax modules of DGG."""

    encoder: Encoder
    decoder: Decoder
    classifier: Classifier
    embedding: Embedding


@functools.cache
def build_networks(preset: DGGPreset, num_features: int) -> Networks:
    """The networks of section 4 of DGG: D-500-500-2000-L, its mirror, L-K or L-K-K.

    Args:
      preset: names sizes and likelihood.
      num_features: D.
    """
    num_clusters = preset.num_clusters
    classifier_sizes = preset.classifier_hidden_sizes
    if classifier_sizes is None:
        classifier_sizes = () if num_clusters >= 10 else (num_clusters,)
    return Networks(
        encoder=Encoder(preset.hidden_sizes, preset.latent_dim),
        decoder=Decoder(
            preset.hidden_sizes[::-1],
            num_features,
            learned_variance=preset.likelihood == "learned_gaussian",
        ),
        classifier=Classifier(classifier_sizes, num_clusters),
        embedding=Embedding(preset.hidden_sizes, preset.latent_dim),
    )


@functools.cache
def apply_functions(preset: DGGPreset, num_features: int) -> ApplyFunctions:
    """The networks as pure functions of (parameters, batch)."""

    def pure(module):
        return lambda params, x: module.apply({"params": params}, x)

    networks = build_networks(preset, num_features)
    return ApplyFunctions(
        encode=pure(networks.encoder),
        decode=pure(networks.decoder),
        classify=pure(networks.classifier),
    )


class Model(NamedTuple):
    """A trained DGG model.

    Attributes:
      preset: its settings.
      params: {"encoder", "decoder", "classifier", "mixture"}.
      log_weights: ln of the mean gamma of the training data, the global prior, [K].
    """

    preset: DGGPreset
    params: Any
    log_weights: np.ndarray

    @property
    def num_features(self) -> int:
        """D, columns of the data."""
        first = self.params["encoder"]
        layer = "hidden_0" if "hidden_0" in first else "mean"
        return first[layer]["kernel"].shape[0]

    @property
    def networks(self) -> ApplyFunctions:
        """The networks as pure functions."""
        return apply_functions(self.preset, self.num_features)

    def infer(self, x: np.ndarray) -> tuple[Gaussian, np.ndarray]:
        """Posteriors of rows and their cluster probabilities; needs no graph.

        Args:
          x: data scaled as the training data were, shape [N, D].

        Returns:
          q(z | x) with fields [N, L], and ln q(c | x) [N, K] from f_2 at the mean.

        Raises:
          InvalidInput: if x is not [N, D] with the D of training.
        """
        x = np.asarray(x, np.float32)
        if x.ndim != 2 or x.shape[1] != self.num_features:
            raise checks.InvalidInput(
                f"x must be [N, {self.num_features}], as in training, got shape "
                f"{x.shape}."
            )
        return jax.device_get(evaluate.infer(self.networks, self.params, x))

    def decode(self, z: np.ndarray) -> np.ndarray:
        """E[x | z] of latents z [N, L], shape [N, D]."""
        decode = functools.partial(
            _decode_mean, self.networks.decode, likelihood_of(self.preset)
        )
        return np.asarray(decode(self.params["decoder"], jnp.asarray(z)))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _decode_mean(decode, likelihood, params, z):
    return jax.vmap(likelihood.mean)(decode(params, z))


def run(
    x: np.ndarray,
    preset: DGGPreset,
    *,
    seed: int = 0,
    y: np.ndarray | None = None,
    runner: Run | None = None,
) -> tuple[Model, State, list[Metrics]]:
    """Carries data through all stages of DGG.

    Args:
      x: data, float32 of shape [N, D].
      preset: all settings.
      seed: of every random number of the run.
      y: true labels [N] for the reported metrics; nothing else sees them.
      runner: checkpoints and callbacks; by default in memory only.

    Returns:
      The model with the best ELBO of the restarts; the last state, with "labels" [N],
      "log_assignment" [N, K] and "latent_mean" [N, L]; and the record of every stage.

    Raises:
      InvalidInput: if x cannot be clustered so; before any work.
      Diverged: if a loss is not finite.
      Interrupted: if the runner was asked to stop.
    """
    x = np.ascontiguousarray(x, np.float32)
    checks.data_matrix(
        x, preset.num_clusters, unit_interval=preset.likelihood == "bernoulli"
    )
    runner = runner or Run()
    stages = _Stages(x, y, preset, seed, runner)
    state: State = {}
    for name in STAGES:
        state = runner.stage(name, getattr(stages, name), state)
    records = _select_restart(runner.records, int(state["restart"]))
    return model_of(preset, state), state, records


def model_of(preset: DGGPreset, state: State) -> Model:
    """The model in the state after the last stage."""
    params = {**state["model"], "mixture": Mixture(**state["model"]["mixture"])}
    return Model(preset, params, state["log_weights"])


def restore(workdir: str | pathlib.Path) -> Model:
    """Loads the model of a finished run.

    Args:
      workdir: the folder that ``experiments.main`` wrote.

    Returns:
      The trained model.

    Raises:
      InvalidInput: if the folder holds no finished run.
    """
    workdir = pathlib.Path(workdir)
    checkpoints = Checkpoints(workdir / "checkpoints")
    restored = checkpoints.restore("stages")
    checkpoints.close()
    if restored is None or restored[0] < len(STAGES):
        raise checks.InvalidInput(
            f"{workdir} holds no finished run; start or resume one with "
            f"`python -m experiments.main --workdir={workdir} --resume`."
        )
    config = json.loads((workdir / "config.json").read_text())
    return model_of(DGGPreset.from_dict(config["preset_values"]), restored[1])


def _select_restart(records: list[Metrics], restart: int) -> list[Metrics]:
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


class _Stages:
    """The stages of one run as methods from the state to (new entries, metrics)."""

    def __init__(self, x, y, preset, seed, runner):
        self.x, self.y, self.preset, self.runner = x, y, preset, runner
        self.seed = seed
        self.modules = build_networks(preset, x.shape[1])
        self.networks = apply_functions(preset, x.shape[1])
        self.likelihood = likelihood_of(preset)

    def _key(self, stage: str) -> jax.Array:
        return jax.random.fold_in(jax.random.key(self.seed), STAGES.index(stage))

    def _restart_keys(self, stage: str) -> jax.Array:
        return jax.random.split(self._key(stage), self.preset.restarts)

    def _numpy_seed(self, stage: str, restart: int = 0) -> int:
        entropy = (self.seed, STAGES.index(stage), restart)
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])

    def _elbo(self, params, log_weights=None, draws=1, log_assignments=None):
        terms = evaluate.mean_elbo_terms(
            self.networks,
            self.likelihood,
            params,
            log_weights,
            self.x,
            jax.random.key(0),  # the same draws for every model: they are compared
            draws,
            log_assignments,
        )
        metrics = evaluate.elbo_metrics(terms)
        # The last update of a loop is seen here first.
        for name in terms._fields:
            if not np.isfinite(metrics[name]):
                raise Diverged(f"{name} is not finite in the evaluation")
        return metrics

    def _kmeans_metrics(self, embedding, stage):
        """What K-means of an embedding reaches: for the report, if there are labels."""
        if self.y is None:
            return evaluate.label_metrics(None, None)
        kmeans = KMeans(
            self.preset.num_clusters, n_init=3, random_state=self._numpy_seed(stage)
        )
        return evaluate.label_metrics(self.y, kmeans.fit_predict(embedding))

    def pretrain(self, state: State) -> tuple[State, Metrics]:
        """Encoder and decoder; reports K-means of the latents."""
        preset, modules = self.preset, self.modules
        keys = jax.random.split(self._key("pretrain"), 5)
        latents = jnp.zeros((1, preset.latent_dim))
        params = {
            "encoder": modules.encoder.init(keys[0], self.x[:1])["params"],
            "decoder": modules.decoder.init(keys[1], latents)["params"],
        }

        def schedule(epochs):
            return Schedule(
                epochs, preset.pretrain_batch_size, preset.pretrain_learning_rate
            )

        if preset.pretrain_layer_epochs:
            depth = len(preset.hidden_sizes)
            hidden = [f"hidden_{index}" for index in range(depth)]
            layers = zip([*hidden, "mean"], ["output", *hidden[::-1]], strict=True)
            params["encoder"], params["decoder"] = pretrain.layerwise(
                self.x,
                params["encoder"],
                params["decoder"],
                list(layers),
                self.likelihood,
                corruption=preset.pretrain_corruption,
                schedule=schedule(preset.pretrain_layer_epochs),
                key=keys[2],
                monitor=self.runner,
            )
        functions = (self.networks.encode, self.networks.decode, self.likelihood)
        params = pretrain.deep_autoencoder(
            self.x,
            params,
            *functions,
            corruption=preset.pretrain_corruption,
            schedule=schedule(preset.pretrain_autoencoder_epochs),
            key=keys[3],
            monitor=self.runner,
        )
        params = pretrain.vae(
            self.x,
            params,
            *functions,
            schedule=schedule(preset.pretrain_vae_epochs),
            key=keys[4],
            monitor=self.runner,
        )
        posterior = evaluate.encode_all(self.networks.encode, params["encoder"], self.x)
        metrics = self._kmeans_metrics(np.asarray(posterior.mean), "pretrain")
        return params, metrics | self._elbo(params)

    def graph(self, state: State) -> tuple[State, Metrics]:
        """The similarity graph; reports K-means of the Siamese embedding."""
        preset = self.preset
        embedding = self.x
        if preset.siamese_epochs:
            nearest = self.runner.remember(
                "input_neighbors",
                lambda: {
                    "indices": knn(
                        self.x,
                        preset.siamese_pairs,
                        progress=functools.partial(
                            self.runner.progress, "input_neighbors"
                        ),
                    )[0]
                },
            )
            key = self._key("graph")
            if preset.siamese_init == "encoder":
                params = {k: v for k, v in state["encoder"].items() if k != "logvar"}
            else:
                params = self.modules.embedding.init(
                    jax.random.fold_in(key, 1), self.x[:1]
                )["params"]

            def embed(params, x):
                return self.modules.embedding.apply({"params": params}, x)

            params = graph.train_siamese(
                self.x,
                nearest["indices"],
                params,
                embed,
                margin=preset.siamese_margin,
                schedule=Schedule(
                    preset.siamese_epochs,
                    preset.siamese_batch_size,
                    preset.siamese_learning_rate,
                    decay=preset.siamese_decay,
                    decay_epochs=preset.siamese_decay_epochs,
                    weight_decay=preset.siamese_weight_decay,
                ),
                key=key,
                monitor=self.runner,
            )
            embedding = np.asarray(evaluate.encode_all(embed, params, self.x))
        indices, distances = knn(
            embedding,
            min(preset.num_candidates, len(self.x) - 1),
            progress=functools.partial(self.runner.progress, "neighbors"),
        )
        kept = graph.draw_neighbors(
            indices,
            distances,
            preset.num_neighbors,
            choice=preset.neighbor_choice,
            weights=preset.neighbor_weights,
            seed=self._numpy_seed("graph"),
        )
        metrics = self._kmeans_metrics(embedding, "graph")
        if self.y is not None:
            metrics["neighbor_purity"] = graph.neighbor_purity(kept.indices, self.y)
        return {"graph": kept._asdict()}, metrics | self._elbo(state)

    def initialize(self, state: State) -> tuple[State, Metrics]:
        """Labels and mixture of every restart; reports the labels."""
        preset = self.preset
        posterior = evaluate.encode_all(self.networks.encode, state["encoder"], self.x)
        latents = np.asarray(posterior.mean)
        labels, mixtures, reports = [], [], []
        for restart in range(preset.restarts):
            labels.append(
                initialize.initial_labels(
                    preset.init,
                    latents,
                    Graph(**state["graph"]),
                    preset.num_clusters,
                    num_eigenvectors=math.ceil(
                        preset.eigenvectors_per_cluster * preset.num_clusters
                    ),
                    seed=self._numpy_seed("initialize", restart),
                )
            )
            mixture = initialize.label_mixture(
                posterior, labels[-1], preset.num_clusters, preset.variance_floor
            )
            mixtures.append(mixture._asdict())
            one_hot = np.eye(preset.num_clusters, dtype=np.float32)[labels[-1]]
            with np.errstate(divide="ignore"):
                log_assignments = np.log(one_hot)
                log_weights = np.log(one_hot.mean(axis=0))
            elbo = self._elbo(
                {**state, "mixture": mixture},
                log_weights,
                log_assignments=log_assignments,
            )
            reports.append(evaluate.label_metrics(self.y, labels[-1]) | elbo)
        entries = {
            "initial_labels": np.stack(labels),
            "mixture": jax.tree.map(lambda *fields: np.stack(fields), *mixtures),
        }
        return entries, {"restarts": reports}

    def classifier(self, state: State) -> tuple[State, Metrics]:
        """f_2 fitted to the labels, for every restart; reports its assignments."""
        preset = self.preset
        posterior = evaluate.encode_all(self.networks.encode, state["encoder"], self.x)
        keys = self._restart_keys("classifier")
        latents = jnp.zeros((1, preset.latent_dim))
        classifier = initialize.fit_classifier(
            posterior,
            state["initial_labels"],
            jax.vmap(lambda key: self.modules.classifier.init(key, latents)["params"])(
                keys
            ),
            self.networks.classify,
            sampled=preset.classifier_input == "sample",
            schedule=Schedule(
                preset.classifier_epochs,
                preset.batch_size,
                preset.classifier_learning_rate,
            ),
            keys=jax.vmap(jax.random.fold_in, (0, None))(keys, 1),
            monitor=self.runner,
        )
        shared = {"encoder": state["encoder"], "decoder": state["decoder"]}
        models = {
            **jax.tree.map(lambda leaf: np.stack([leaf] * preset.restarts), shared),
            "classifier": classifier,
            "mixture": Mixture(**state["mixture"]),
        }
        if preset.label_epochs:
            models = train.fit_to_labels(
                self.x,
                Graph(**state["graph"]),
                state["initial_labels"],
                models,
                self.networks,
                self.likelihood,
                graph_strength=preset.graph_strength,
                sampled=preset.classifier_input == "sample",
                schedule=Schedule(
                    preset.label_epochs, preset.batch_size, preset.learning_rate
                ),
                keys=jax.vmap(jax.random.fold_in, (0, None))(keys, 2),
                monitor=self.runner,
            )
        return self._assessed(models)

    def _assessed(self, models: Any) -> tuple[State, Metrics]:
        """What a stage returns whose models, with a leading axis R, are now these."""
        models = jax.device_get({**models, "mixture": models["mixture"]._asdict()})
        log_assignments, reports = self._assess(
            [_restart_of(models, restart) for restart in range(self.preset.restarts)]
        )
        entries = {
            "models": models,
            "log_assignments": np.stack(log_assignments),
        }
        return entries, {"restarts": reports}

    def train(self, state: State) -> tuple[State, Metrics]:
        """The joint objective, for every restart; reports the trained models."""
        preset = self.preset
        models = state["models"]
        trained = train.train_dgg(
            self.x,
            Graph(**state["graph"]),
            {**models, "mixture": Mixture(**models["mixture"])},
            state["log_assignments"],
            self.networks,
            self.likelihood,
            objective=preset.objective,
            graph_strength=preset.graph_strength,
            sampled=preset.classifier_input == "sample",
            schedule=Schedule(
                preset.epochs,
                preset.batch_size,
                preset.learning_rate,
                decay=preset.decay,
                decay_epochs=preset.decay_epochs,
                weight_decay=preset.weight_decay,
            ),
            keys=self._restart_keys("train"),
            monitor=self.runner,
            describe=self._describe,
        )
        return self._assessed(trained.params)

    def evaluate(self, state: State) -> tuple[State, Metrics]:
        """The restart with the best ELBO, and what it says of every point."""
        reports = []
        for restart in range(self.preset.restarts):
            params = _restart_of(state["models"], restart)
            log_assignments = state["log_assignments"][restart]
            log_weights = evaluate.global_log_weights(log_assignments)
            elbo = self._elbo(
                {**params, "mixture": Mixture(**params["mixture"])},
                log_weights,
                draws=ELBO_DRAWS,
            )
            labels = log_assignments.argmax(axis=1)
            reports.append(evaluate.label_metrics(self.y, labels) | elbo)
        best = int(np.argmax([report["elbo"] for report in reports]))
        model = _restart_of(state["models"], best)
        log_assignments = state["log_assignments"][best]
        posterior = evaluate.encode_all(self.networks.encode, model["encoder"], self.x)
        entries = {
            "restart": np.asarray(best),
            "model": model,
            "log_weights": evaluate.global_log_weights(log_assignments),
            "log_assignment": log_assignments,
            "labels": log_assignments.argmax(axis=1).astype(np.int32),
            "latent_mean": posterior.mean,
        }
        return entries, {"restarts": reports}

    def _assess(self, models: list[State]) -> tuple[list[np.ndarray], list[Metrics]]:
        """Assignments of every model's f_2 at the means, their metrics, the ELBO."""
        log_assignments, reports = [], []
        for model in models:
            model = {**model, "mixture": Mixture(**model["mixture"])}
            _, log_assignment = evaluate.infer(self.networks, model, self.x)
            log_assignments.append(np.asarray(log_assignment))
            labels = log_assignments[-1].argmax(axis=1)
            elbo = self._elbo(model, evaluate.global_log_weights(log_assignment))
            reports.append(evaluate.label_metrics(self.y, labels) | elbo)
        return log_assignments, reports

    def _describe(self, state: TrainState) -> Metrics:
        """Metrics of the table of gammas, once an epoch."""
        labels = np.asarray(state.table.argmax(axis=-1))
        counts = [np.bincount(row, minlength=state.table.shape[-1]) for row in labels]
        shares = [float(count.min() / count.sum()) for count in counts]
        metrics = {"smallest_share": shares}
        if self.y is not None:
            pairs = [evaluate.label_metrics(self.y, row) for row in labels]
            metrics["accuracy"] = [pair["accuracy"] for pair in pairs]
        return metrics


def _restart_of(tree: Any, restart: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[restart], tree)


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
