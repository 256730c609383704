"""What the outermost layers of an autoencoder start from, by the data."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from scipy import special
from sklearn.utils.extmath import randomized_svd

from dgg_jax.methods.parts import components_of, first_layer, seen_by
from dgg_jax.methods.problem import Problem
from dgg_jax.networks import COLUMNS, PROJECTION
from dgg_jax.training import State

# Rows that say where all lie, at most and at least, and values that they should have;
# how many times as far as usual, squared, a row lies that counts less.
_SAMPLE, _FEWEST, _SAMPLED_VALUES, _FAR = 10_000, 256, 20_000_000, 10.0


class _Sample(NamedTuple):
    """What a network sees of some rows that are trained on, and how much each counts.

    Attributes:
      rows: float32 of shape [n, D].
      weights: positive, shape [n].
    """

    rows: np.ndarray
    weights: np.ndarray

    def mean(self, of: np.ndarray) -> np.ndarray:
        """The mean over rows, float32, of an array of them."""
        mean = np.average(of, axis=0, weights=self.weights)
        return np.asarray(mean, np.float32)


def centered(problem: Problem, encoder: nn.Module, params: State) -> State:
    """Encoder parameters whose first layer takes rows as if of mean 0 and spread 1.

    Where rows lie far from 0, as pixels do, a random layer tells them from 0 more than
    from each other. Its kernel W, [D, H], and its bias, 0, become W / s and -m W / s,
    with the mean m [D] and the root of the mean variance s of what it sees of rows: the
    initialisation by data of Salimans and Kingma (NeurIPS 2016), by its input.

    Args:
      problem: whose rows it sees.
      encoder: one of ours.
      params: of the encoder.
    """
    sample = _sampled(problem, encoder.seen)
    mean = sample.mean(sample.rows)
    variance = sample.mean(np.square(sample.rows - mean).mean(axis=1))
    first = first_layer(problem.preset)
    kernel = np.array(params[first]["kernel"])  # of the batch's columns as it is
    kernel[: len(mean)] /= math.sqrt(variance) or 1.0
    bias = params[first]["bias"] - mean @ kernel[: len(mean)]
    return {**params, first: {"kernel": jnp.asarray(kernel), "bias": bias}}


def in_components(problem: Problem, params: State) -> State:
    """Parameters of an autoencoder whose outermost layers are principal components.

    The encoder sees a row x as (x - m) V / s, of the mean m [D] and the leading
    components V [D, P] of the rows, where s^2 is the mean of their variances. What the
    decoder puts out, o [P], becomes the columns b + s o V', with b = m to start from;
    of logits of columns, b is the logit of m and s is four times as large, since the
    logistic function has the slope 1/4.

    Args:
      problem: whose rows they are of; networks of one's own stay as they are.
      params: {"encoder", "decoder"}.
    """
    preset, parts = problem.preset, problem.parts
    if parts.encoder and (parts.decoder or parts.likelihood):
        return params
    sample = _sampled(problem, seen_by(preset))
    mean = sample.mean(sample.rows)
    number = components_of(preset, problem.num_features)
    axes, spread = _leading_axes(sample, number)
    if not parts.encoder:
        projection = {"mean": jnp.asarray(mean), "axes": jnp.asarray(axes / spread)}
        encoder = {**params["encoder"], PROJECTION: projection}
        params = {**params, "encoder": encoder}
    if not parts.decoder and not parts.likelihood:
        if preset.likelihood == "bernoulli":
            spread, mean = 4.0 * spread, special.logit(np.clip(mean, 0.01, 0.99))
        elif preset.has_counts:  # logits of shares, up to what is the same for all
            mean = np.log(np.maximum(sample.mean(np.expm1(sample.rows)), 0.01))
        columns = {"axes": jnp.asarray(spread * axes.T), "bias": jnp.asarray(mean)}
        params = {**params, "decoder": {**params["decoder"], COLUMNS: columns}}
    return params


def _leading_axes(sample: _Sample, number: int) -> tuple[np.ndarray, np.float32]:
    """Principal components [D, P], 0 of what few rows lack, and their mean spread."""
    roots = np.sqrt(sample.weights / sample.weights.sum()).astype(np.float32)
    deviations = roots[:, None] * (sample.rows - sample.mean(sample.rows))
    _, spreads, axes = randomized_svd(
        deviations, min(number, *deviations.shape), random_state=0
    )
    missing = number - len(axes)
    spread = np.sqrt(np.square(spreads).sum() / number)
    return np.pad(axes.T, [(0, 0), (0, missing)]), spread or np.float32(1.0)


def _sampled(problem: Problem, seen: Callable[[jax.Array], jax.Array]) -> _Sample:
    """Rows of a problem, of which none pulls by more than a row that is usual does.

    A row counts by its weight, and less the farther it lies beyond ten times the median
    squared distance from the median of all.

    Args:
      problem: of which 10,000 rows at most are taken, fewer of many columns.
      seen: what the network sees of rows [n, D].
    """
    dim = problem.num_features
    sample = np.random.default_rng(problem.numpy_seed("pretrain")).permutation(
        np.flatnonzero(problem.trained)
    )[: min(_SAMPLE, max(_FEWEST, _SAMPLED_VALUES // dim))]
    sample.sort()  # a disk is read in order
    rows = np.asarray(seen(problem.x[sample][:, :dim]), np.float32)
    weights = np.ones(len(sample))
    if problem.sample_weight is not None:
        weights = np.asarray(problem.sample_weight, np.float64)[sample]
    with np.errstate(over="ignore"):  # infinity is far
        distance = np.square(rows - np.median(rows[weights > 0], axis=0)).mean(axis=1)
    counts = (weights > 0) & np.isfinite(distance)
    rows, weights, distance = rows[counts], weights[counts], distance[counts]
    usual = _FAR * np.median(distance)
    if usual:  # else most rows are equal
        weights = weights * np.minimum(1.0, usual / np.maximum(distance, usual))
    return _Sample(rows, weights)
