"""IMSAT: information maximisation by self-augmented training, from data on.

Hu et al., "Learning discrete representations via information maximizing self-augmented
training", ICML 2017; its formulas are quoted from memory of the paper, whose text was
not at hand.
"""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from dgg_jax.methods.base import Metrics, Run, Stages, State
from dgg_jax.methods.pretrained import pure
from dgg_jax.methods.similarity import input_neighbors
from dgg_jax.networks import Classifier
from dgg_jax.presets import IMSATPreset
from dgg_jax.stages import evaluate, imsat

STAGES = ("graph", "train")


@functools.cache
def _network(preset: IMSATPreset) -> Classifier:
    return Classifier(preset.hidden_sizes, preset.num_clusters)


@functools.cache
def _classify(preset: IMSATPreset):
    return pure(_network(preset))


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained model.

    Attributes:
      preset: its settings.
      params: of the classifier.
    """

    preset: IMSATPreset
    params: Any

    def infer(self, x: np.ndarray) -> np.ndarray:
        """ln p(c | x) [N, K] of rows x [N, D]."""
        x = np.asarray(x, np.float32)
        return np.asarray(evaluate.encode_all(_classify(self.preset), self.params, x))


def run(
    x: np.ndarray,
    preset: IMSATPreset,
    *,
    seed: int = 0,
    y: np.ndarray | None = None,
    runner: Run | None = None,
) -> tuple[Model, State, list[Metrics]]:
    """Carries data through all stages of IMSAT.

    Args:
      x: data, float32 of shape [N, D].
      preset: all settings.
      seed: of every random number of the run.
      y: true labels [N] for the reported metrics; nothing else sees them.
      runner: checkpoints and callbacks; by default in memory only.

    Returns:
      The model; the last state, with "labels" [N] and "log_assignment" [N, K]; and the
      record of every stage.

    Raises:
      InvalidInput: if x cannot be clustered so; before any work.
      Diverged: if a loss is not finite.
      Interrupted: if the runner was asked to stop.
    """
    state, records = _Stages(x, preset, seed=seed, y=y, runner=runner).run()
    return Model(preset, state["model"]), state, records


class _Stages(Stages):
    names = STAGES

    def graph(self, state: State) -> tuple[State, Metrics]:
        """How far each point is perturbed: a fraction of a neighbour's distance."""
        preset = self.preset
        count = min(preset.num_neighbors, len(self.x) - 1)
        distances = input_neighbors(self, count)["distances"]
        return {"radius": preset.perturbation_fraction * distances[:, -1]}, {}

    def train(self, state: State) -> tuple[State, Metrics]:
        """The classifier; reports its assignments."""
        preset = self.preset
        init_key, key = jax.random.split(self.key("train"))
        params = imsat.train_imsat(
            self.x,
            state["radius"],
            _network(preset).init(init_key, self.x[:1])["params"],
            _classify(preset),
            information_weight=preset.information_weight,
            marginal_weight=preset.marginal_weight,
            schedule=self.training_schedule(),
            key=key,
            monitor=self.runner,
        )
        log_assignment = Model(preset, params).infer(self.x)
        labels = log_assignment.argmax(axis=1).astype(np.int32)
        entries = {"model": params, "labels": labels, "log_assignment": log_assignment}
        return entries, self.scores(labels)
