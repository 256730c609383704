"""Training of IMSAT: clusters that tell much about the data and resist perturbation."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgg_jax.losses import imsat
from dgg_jax.training import Monitor, Schedule, StepOutput, TrainState, optimize
from dgg_jax.training.loop import Loss


def perturbation_radius(distances: np.ndarray, fraction: float) -> np.ndarray:
    """epsilon of each point: a fraction of the distance to its k-th neighbour.

    Args:
      distances: to the k nearest neighbours, ascending, shape [N, k]; k is 10 in the
        paper.
      fraction: the paper's alpha; 0.25 in the released code for MNIST.

    Returns:
      Radii of shape [N].
    """
    return fraction * distances[:, -1]


@functools.cache
def _imsat_loss(
    classify: Any,
    information_weight: float,
    marginal_weight: float,
    probe: float,
    num_iterations: int,
) -> Loss:
    """The loss of a batch, over (x, radius [N])."""

    def loss(params, data, indices, key):
        x, radius = (field[indices] for field in data)
        log_q = classify(params, x)
        shifts = imsat.adversarial_perturbation(
            classify,
            params,
            x,
            radius,
            key,
            probe=probe,
            num_iterations=num_iterations,
        )
        perturbed = classify(params, x + shifts)
        divergence = jnp.mean(jax.vmap(imsat.perturbation_divergence)(log_q, perturbed))
        information = imsat.mutual_information(log_q)
        value = imsat.objective(
            divergence,
            information,
            information_weight=information_weight,
            marginal_weight=marginal_weight,
        )
        metrics = {"loss": value, "divergence": divergence, **information._asdict()}
        return value, StepOutput(metrics)

    return loss


def train_imsat(
    x: np.ndarray,
    radius: np.ndarray,
    params: Any,
    classify: Callable[[Any, jax.Array], jax.Array],
    *,
    information_weight: float,
    marginal_weight: float,
    probe: float,
    num_iterations: int = 1,
    schedule: Schedule,
    key: jax.Array,
    monitor: Monitor,
    describe: Callable[[TrainState], dict[str, Any]] = lambda state: {},
) -> Any:
    """Minimises R_SAT - lambda (mu H(Y) - H(Y | X)) by Adam.

    Clusters that are uniform for every point are a stationary solution, of loss
    -lambda (mu - 1) ln K. A classifier without batch normalisation, the paper's has it,
    can end there: it does on MNIST, and with large learning rates on small images.

    Args:
      x: data, shape [N, D].
      radius: epsilon of each point, shape [N]; see ``perturbation_radius``.
      params: initial parameters of the classifier.
      classify: from (params, x [B, D]) to ln p(y | x) [B, K]; with batch normalisation,
        by the moments of the batch it is given, perturbed or not.
      information_weight: lambda.
      marginal_weight: mu.
      probe: xi of the virtual adversarial training, in units of the radius.
      num_iterations: its power iterations.
      schedule: epochs, batch and learning rate. H(Y) is that of a batch: take batches
        much larger than K.
      key: random key.
      monitor: follows the loop ``imsat``.
      describe: more metrics of the state after an epoch.

    Returns:
      The trained parameters.
    """
    loss = _imsat_loss(
        classify, information_weight, marginal_weight, probe, num_iterations
    )
    state = optimize(
        "imsat",
        loss,
        params,
        (x, radius),
        key,
        schedule,
        num_points=len(x),
        monitor=monitor,
        describe=describe,
    )
    return state.params
