"""IMSAT: information maximisation by self-augmented training, from data on.

Hu et al., "Learning discrete representations via information maximizing self-augmented
training", ICML 2017; its formulas are quoted from memory of the paper, whose text was
not at hand.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from dgg_jax import checks
from dgg_jax.methods.base import Metrics, Run, Stages, State
from dgg_jax.methods.pretrained import initial_params, pure, with_precision
from dgg_jax.methods.similarity import input_neighbors
from dgg_jax.networks import Classifier, Moments, NormalizedClassifier
from dgg_jax.presets import IMSATPreset
from dgg_jax.stages import imsat

STAGES = ("graph", "train")


def _network(preset: IMSATPreset) -> Classifier | NormalizedClassifier:
    classifier = NormalizedClassifier if preset.batch_norm else Classifier
    return classifier(preset.hidden_sizes, preset.num_clusters)


def _classify(preset: IMSATPreset) -> Callable[[Any, jax.Array], jax.Array]:
    """ln p(c | x) of a batch; batch normalisation is by the batch's own moments."""
    network = _network(preset)
    return (
        _first_output(network, preset.precision)
        if preset.batch_norm
        else pure(network, preset.precision)
    )


@functools.cache
def _first_output(
    network: NormalizedClassifier, precision: str
) -> Callable[[Any, jax.Array], jax.Array]:
    return lambda params, x: pure(network, precision)(params, x)[0]


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained model.

    Attributes:
      preset: its settings.
      params: of the classifier.
      num_features: D, columns of the data.
      moments: of its layers over the training data; empty without batch normalisation.
    """

    preset: IMSATPreset
    params: Any
    num_features: int
    moments: tuple[Moments, ...] = ()

    def infer(self, x: np.ndarray) -> np.ndarray:
        """ln p(c | x) [N, K] of rows x [N, D].

        Raises:
          InvalidInput: if x is not [N, D] with the D of training.
        """
        x = checks.rows(x, self.num_features)
        variables = {"params": self.params}
        moments = (self.moments,) if self.preset.batch_norm else ()
        with with_precision(self.preset.precision):
            output = _network(self.preset).apply(variables, x, *moments)
        return np.asarray(output[0] if moments else output)


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
    return model_of(preset, np.shape(x)[1], state), state, records


def model_of(preset: IMSATPreset, num_features: int, state: State) -> Model:
    """The model in the state after the last stage."""
    layers = state.get("moments", {})
    moments = tuple(Moments(**layers[str(index)]) for index in range(len(layers)))
    return Model(preset, state["model"], num_features, moments)


class _Stages(Stages):
    names = STAGES

    def graph(self, state: State) -> tuple[State, Metrics]:
        """How far each point is perturbed: a fraction of a neighbour's distance."""
        preset = self.preset
        count = min(preset.num_neighbors, len(self.x) - 1)
        distances = input_neighbors(self, count)["distances"]
        radius = imsat.perturbation_radius(distances, preset.perturbation_fraction)
        return {"radius": radius}, {}

    def train(self, state: State) -> tuple[State, Metrics]:
        """The classifier; reports its assignments."""
        preset = self.preset
        init_key, key = jax.random.split(self.key("train"))
        params = imsat.train_imsat(
            self.x,
            state["radius"],
            initial_params(_network(preset), init_key, self.x[:1]),
            _classify(preset),
            information_weight=preset.information_weight,
            marginal_weight=preset.marginal_weight,
            probe=preset.perturbation_probe,
            schedule=self.training_schedule(),
            key=key,
            monitor=self.runner,
        )
        moments = ()
        if preset.batch_norm:
            _, moments = _network(preset).apply({"params": params}, self.x)
        log_assignment = Model(preset, params, self.x.shape[1], moments).infer(self.x)
        labels = log_assignment.argmax(axis=1).astype(np.int32)
        entries = {"model": params, "labels": labels, "log_assignment": log_assignment}
        if moments:
            entries["moments"] = {
                str(index): layer._asdict() for index, layer in enumerate(moments)
            }
        return entries, self.outcome(labels, log_assignment)
