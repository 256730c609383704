"""DEC: deep embedded clustering, from data on.

Xie, Girshick and Farhadi, "Unsupervised deep embedding for clustering analysis", ICML
2016; its formulas are quoted from memory of the paper, whose text was not at hand.
"""

import dataclasses
from typing import Any

import jax
import numpy as np
from sklearn.cluster import KMeans

from dgg_jax import checks
from dgg_jax.methods.base import Metrics, Run, State
from dgg_jax.methods.pretrained import PretrainedStages, autoencoder_functions
from dgg_jax.presets import DECPreset
from dgg_jax.rows import place
from dgg_jax.stages import dec, evaluate

STAGES = ("pretrain", "initialize", "train")


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained model.

    Attributes:
      preset: its settings.
      params: {"encoder", "centers" [K, L]}.
      num_features: D, columns of the data.
    """

    preset: DECPreset
    params: Any
    num_features: int

    def infer(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Latents [N, L] and ln q [N, K], eq. (1) of DEC, of rows x [N, D].

        Raises:
          InvalidInput: if x is not [N, D] with the D of training.
        """
        x = place(checks.rows(x, self.num_features), self.preset.device_memory_share)
        encode = autoencoder_functions(self.preset, self.num_features).encode
        latents = evaluate.encode_all(encode, self.params["encoder"], x).mean
        log_assignment = dec.log_assignments(
            self.params,
            x,
            encode,
            degrees_of_freedom=self.preset.degrees_of_freedom,
        )
        return jax.device_get((latents, log_assignment))


def run(
    x: np.ndarray,
    preset: DECPreset,
    *,
    seed: int = 0,
    y: np.ndarray | None = None,
    runner: Run | None = None,
) -> tuple[Model, State, list[Metrics]]:
    """Carries data through all stages of DEC.

    Args:
      x: data, float32 of shape [N, D]; rows of a sparse matrix become dense by the
        batch.
      preset: all settings.
      seed: of every random number of the run.
      y: true labels [N] for the reported metrics; nothing else sees them.
      runner: checkpoints and callbacks; by default in memory only.

    Returns:
      The model; the last state, with "labels" [N], "log_assignment" [N, K] and
      "latent_mean" [N, L]; and the record of every stage.

    Raises:
      InvalidInput: if x cannot be clustered so; before any work.
      Diverged: if a loss is not finite.
      Interrupted: if the runner was asked to stop.
    """
    state, records = _Stages(x, preset, seed=seed, y=y, runner=runner).run()
    return model_of(preset, np.shape(x)[1], state), state, records


def model_of(preset: DECPreset, num_features: int, state: State) -> Model:
    """The model in the state after the last stage."""
    return Model(preset, state["model"], num_features)


class _Stages(PretrainedStages):
    names = STAGES

    def initialize(self, state: State) -> tuple[State, Metrics]:
        """Centres by K-means of the latents; reports their assignments."""
        preset = self.preset
        kmeans = KMeans(
            preset.num_clusters,
            n_init=preset.restarts,
            random_state=self.numpy_seed("initialize"),
        )
        labels = kmeans.fit_predict(self.latent_means(state))
        centers = kmeans.cluster_centers_.astype(np.float32)
        return {"centers": centers}, self.scores(labels)

    def train(self, state: State) -> tuple[State, Metrics]:
        """Encoder and centres; reports the assignments of the trained model."""
        preset = self.preset
        params = dec.train_dec(
            self.x,
            {"encoder": state["encoder"], "centers": state["centers"]},
            self.networks.encode,
            degrees_of_freedom=preset.degrees_of_freedom,
            schedule=self.training_schedule(),
            key=self.key("train"),
            monitor=self.runner,
        )
        latents, log_assignment = Model(preset, params, self.num_features).infer(self.x)
        labels = log_assignment.argmax(axis=1).astype(np.int32)
        entries = {
            "model": params,
            "labels": labels,
            "log_assignment": log_assignment,
            "latent_mean": latents,
        }
        return entries, self.outcome(labels, log_assignment)
