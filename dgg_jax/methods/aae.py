"""AAE: an autoencoder of clusters and style, which critics hold to their priors.

Makhzani et al., "Adversarial autoencoders", 2015, in the form that clusters without
labels; its formulas are quoted from memory of the paper, whose text was not at hand.
The style's critic sees the cluster, too: one that sees the style alone lets it tell the
cluster, and so it did of planted ones. Decoder and critics see codes through noise: by
it a style can say but so much, and critics do not tell 0.99 from 1. Batch normalisation
of the encoder, sizes, rates and epochs are ours as well.
``run`` is the algorithm, then what a step of training minimises, a turn after the
other: reconstruction, the critics, the encoder against them.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dgg_jax import checks
from dgg_jax.likelihoods import Likelihood
from dgg_jax.losses import aae
from dgg_jax.methods.parts import AS_NAMED, Parts, likelihood_of
from dgg_jax.methods.pretrained import likelihood
from dgg_jax.methods.problem import (
    Outcome,
    Problem,
    confident_scores,
    training_schedule,
)
from dgg_jax.networks import (
    CodeEncoder,
    Decoder,
    Embedding,
    Moments,
    initial_params,
    moments_of_state,
    state_of_moments,
    with_precision,
)
from dgg_jax.placement import devices
from dgg_jax.presets import AAEPreset
from dgg_jax.stages import evaluate
from dgg_jax.training import Loss, Metrics, Run, State, StepOutput, Turn, optimize

STAGES = ("train",)
CRITICS = "cluster_critic", "style_critic"


def run(
    x: np.ndarray,
    preset: AAEPreset,
    *,
    seed: int = 0,
    y: np.ndarray | None = None,
    runner: Run | None = None,
    is_test: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
) -> Outcome:
    """Carries data through the training of AAE.

    Args:
      x: data, float32 of shape [N, D].
      preset: all settings.
      seed: of every random number of the run.
      y: true labels [N] for the reported metrics; nothing else sees them.
      runner: checkpoints and callbacks; by default in memory only.
      is_test: rows [N] that are not trained on, but scored alone, as in GMVAE's table
        1; by default all rows are trained on and scored.
      sample_weight: refused, unless all are equal; [N].

    Returns:
      The model; the last state, with "labels" [N], "log_assignment" [N, K] and
      "latent_mean" [N, K + L], the code of the cluster and of the style; and the record
      of the stage.

    Raises:
      InvalidInput: if x cannot be clustered so; before any work.
      Diverged: if a loss is not finite.
      Interrupted: if the runner was asked to stop.
    """
    checks.no_sample_weight(
        sample_weight,
        x.shape[0],
        "AAE's encoder and critics are adversaries",
        "DGG, VaDE, GMVAE, DEC or IMSAT",
    )
    problem = Problem.of(x, preset, seed=seed, y=y, runner=runner, is_test=is_test)
    state = problem.runner.stage("train", train, problem, {})
    model = model_of(preset, problem.num_features, state)
    return Outcome(model, state, problem.runner.records)


@dataclasses.dataclass(frozen=True)
class Networks:
    """The networks as functions of the parameters of all.

    Attributes:
      encoder: from rows to ln q(y | x) and the style z, and its layers' moments.
      decoder: from the code [q(y | x), z] to ``decoded`` of the likelihood.
      cluster_critic: from q(y | x), or a one-hot draw, to log odds that it was drawn.
      style_critic: from that and z likewise.
      noise: deviation of what blurs the style for the decoder, and codes for critics.
      precision: of matrix products.
    """

    encoder: CodeEncoder
    decoder: Decoder
    cluster_critic: Embedding
    style_critic: Embedding
    noise: float
    precision: str

    def _apply(self, name: str, params: Any, *arguments: Any) -> Any:
        module: nn.Module = getattr(self, name)
        with with_precision(self.precision):
            return module.apply({"params": params[name]}, *arguments)

    def encode(
        self, params: Any, x: jax.Array, *moments: Sequence[Moments]
    ) -> tuple[tuple[jax.Array, jax.Array], tuple[Moments, ...]]:
        """ln q(y | x) [B, K] and z [B, L] of rows x [B, D], and moments of layers."""
        return self._apply("encoder", params, x, *moments)

    def decode(self, params: Any, code: jax.Array) -> Any:
        """What the likelihood calls ``decoded``, of codes [B, K + L]."""
        return self._apply("decoder", params, code)

    def judged(
        self, params: Any, codes: tuple[jax.Array, jax.Array], key: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Log odds [B] that both critics give codes [B, K] and [B, L] to be drawn.

        The critic of the style has nothing to say about the cluster that it sees.
        """
        clusters, z = codes
        keys = jax.random.split(key)
        both = jnp.concatenate([jax.lax.stop_gradient(clusters), z], axis=1)
        of_clusters = self._apply(
            "cluster_critic", params, self.blurred(clusters, keys[0])
        )
        of_style = self._apply("style_critic", params, self.blurred(both, keys[1]))
        return of_clusters[:, 0], of_style[:, 0]

    def blurred(self, code: jax.Array, key: jax.Array) -> jax.Array:
        """A code [B, ...] with noise."""
        return code + self.noise * jax.random.normal(key, code.shape)


def networks_of(preset: AAEPreset, num_features: int) -> Networks:
    """The networks that a preset names.

    Args:
      preset: all settings.
      num_features: D.
    """
    sizes = preset.hidden_sizes
    return Networks(
        CodeEncoder(sizes, preset.num_clusters, preset.latent_dim),
        Decoder(
            sizes[::-1],
            num_features,
            learned_variance=preset.likelihood == "learned_gaussian",
        ),
        Embedding(sizes, 1),
        Embedding(sizes, 1),
        preset.code_noise,
        preset.precision,
    )


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained model.

    Attributes:
      preset: its settings.
      params: {"encoder", "decoder", "cluster_critic", "style_critic"}.
      num_features: D, columns of the data.
      moments: of the encoder's layers over the data of training.
    """

    preset: AAEPreset
    params: Any
    num_features: int
    moments: tuple[Moments, ...]

    @property
    def networks(self) -> Networks:
        """The networks as functions of ``params``."""
        return networks_of(self.preset, self.num_features)

    @property
    def likelihood(self) -> Likelihood:
        """p(x | y, z)."""
        return likelihood_of(self.preset)

    def infer(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes [N, K + L] of rows x [N, D], and ln q(y | x) [N, K].

        Raises:
          InvalidInput: if x is not [N, D] with the D of training.
        """
        x = checks.rows(x, self.num_features)
        codes, _ = _encoded(self.networks, self.params, x, self.moments)
        log_assignment, z = jax.device_get(codes)
        return np.concatenate([np.exp(log_assignment), z], axis=1), log_assignment

    def decode(self, code: np.ndarray) -> np.ndarray:
        """E[x | y, z] of codes [N, K + L], shape [N, D]."""
        decoded = self.networks.decode(self.params, jnp.asarray(code))
        return np.asarray(jax.vmap(self.likelihood.mean)(decoded))


@devices.compiled(static_argnums=0)
def _encoded(networks, params, x, *moments):
    """What an encoder returns for rows x [N, D]; by their moments if none are given.

    As one program: so many small ones take longer to compile.
    """
    return networks.encode(params, x, *moments)


def model_of(
    preset: AAEPreset, num_features: int, state: State, parts: Parts = AS_NAMED
) -> Model:
    """The model in the state after the last stage; it has no parts of one's own."""
    del parts
    moments = moments_of_state(state["moments"])
    return Model(preset, state["params"], num_features, moments)


def train(problem: Problem, state: State) -> tuple[State, Metrics]:
    """Minimises three losses in turns; reports the assignments."""
    del state
    preset = problem.preset
    networks = networks_of(preset, problem.num_features)
    x = problem.x[problem.trained]
    *keys, key = jax.random.split(problem.key("train"), 5)
    num_clusters, latent_dim = preset.num_clusters, preset.latent_dim
    inputs = {
        "encoder": x[:1],
        "decoder": np.zeros((1, num_clusters + latent_dim), np.float32),
        "cluster_critic": np.zeros((1, num_clusters), np.float32),
        "style_critic": np.zeros((1, num_clusters + latent_dim), np.float32),
    }
    params = optimize(
        "aae",
        (
            Turn(ReconstructionLoss(networks), ("encoder", "decoder")),
            Turn(CriticLoss(networks), CRITICS),
            Turn(EncoderLoss(networks), ("encoder",)),
        ),
        {
            name: initial_params(getattr(networks, name), key, one)
            for key, (name, one) in zip(keys, inputs.items(), strict=True)
        },
        (x, likelihood(problem)),
        key,
        training_schedule(preset),
        num_points=len(x),
        monitor=problem.runner,
    ).params
    _, moments = _encoded(networks, params, x)
    model = Model(preset, params, problem.num_features, moments)
    code, log_assignment = model.infer(problem.x)
    labels = log_assignment.argmax(axis=1).astype(np.int32)
    entries = {
        "params": params,
        "moments": state_of_moments(moments),
        "labels": labels,
        "log_assignment": log_assignment,
        "latent_mean": code,
    }
    balance = evaluate.balance_metrics(labels, log_assignment)
    return entries, confident_scores(problem, log_assignment) | balance


@dataclasses.dataclass(frozen=True)
class ReconstructionLoss(Loss):
    """The first turn, of encoder and decoder, over (x, likelihood).

    Attributes:
      networks: all of them.
    """

    networks: Networks

    def __call__(self, params, data, indices, key):
        """The value of a batch; see ``training.Loss``."""
        x, likelihood = data
        (log_assignments, z), _ = self.networks.encode(params, x[indices])
        z = self.networks.blurred(z, key)
        code = jnp.concatenate([jnp.exp(log_assignments), z], axis=1)
        decoded = self.networks.decode(params, code)
        value = -jnp.mean(jax.vmap(likelihood.log_prob)(x[indices], decoded))
        return value, StepOutput({"loss": value})


@dataclasses.dataclass(frozen=True)
class CriticLoss(Loss):
    """The critics' turn, over the same.

    Attributes:
      networks: all of them, of which it learns the critics.
    """

    networks: Networks

    def __call__(self, params, data, indices, key):
        """The value of a batch; see ``training.Loss``."""
        x, _ = data
        keys = jax.random.split(key, 4)
        (log_assignments, z), _ = self.networks.encode(params, x[indices])
        num_rows, num_clusters = log_assignments.shape
        clusters = jax.random.randint(keys[0], (num_rows,), 0, num_clusters)
        drawn = (
            jax.nn.one_hot(clusters, num_clusters),
            jax.random.normal(keys[1], z.shape),
        )
        judged = zip(
            CRITICS,
            self.networks.judged(params, drawn, keys[2]),
            self.networks.judged(params, (jnp.exp(log_assignments), z), keys[3]),
            strict=True,
        )
        metrics, value = {}, 0.0
        for name, of_drawn, of_encoded in judged:
            metrics[name] = jnp.mean(jax.vmap(aae.critic_loss)(of_drawn, of_encoded))
            right = jnp.mean(of_drawn > 0) + jnp.mean(of_encoded < 0)
            metrics[f"{name}_accuracy"] = 0.5 * right
            value = value + metrics[name]
        return value, StepOutput(metrics)


@dataclasses.dataclass(frozen=True)
class EncoderLoss(Loss):
    """The encoder's turn against both critics, over the same.

    Attributes:
      networks: all of them, of which it learns the encoder.
    """

    networks: Networks

    def __call__(self, params, data, indices, key):
        """The value of a batch; see ``training.Loss``."""
        x, _ = data
        (log_assignments, z), _ = self.networks.encode(params, x[indices])
        codes = jnp.exp(log_assignments), z
        value = sum(
            jnp.mean(jax.vmap(aae.encoder_loss)(judged))
            for judged in self.networks.judged(params, codes, key)
        )
        return value, StepOutput({"encoder_loss": value})


def samples_per_cluster(model: Model, num_samples: int, seed: int = 0) -> np.ndarray:
    """E[x | y, z] of each cluster and styles drawn from their prior, [K, M, D].

    Args:
      model: a trained one.
      num_samples: M; the clusters have the same M styles.
      seed: of the draws.
    """
    num_clusters, latent_dim = model.preset.num_clusters, model.preset.latent_dim
    z = jax.random.normal(jax.random.key(seed), (num_samples, latent_dim))
    code = np.concatenate(
        [
            np.repeat(np.eye(num_clusters, dtype=np.float32), num_samples, axis=0),
            np.tile(np.asarray(z), (num_clusters, 1)),
        ],
        axis=1,
    )
    return model.decode(code).reshape(num_clusters, num_samples, -1)
