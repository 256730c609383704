"""What a finished run hands to its report."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from dgg_jax import methods
from dgg_jax.checks import is_image
from dgg_jax.data.preprocessing import Scaling

_SAMPLES_PER_CLUSTER = 10  # as images or rows of a table
_POINTS_PER_CLUSTER = 500  # as points in the plane


class ReportInputs(NamedTuple):
    """What a finished run hands to its report.

    Attributes:
      config: the resolved configuration.
      result: what result.json holds.
      history: the lines of metrics.jsonl.
      x: data, shape [N, D]; a csr_array where most are 0.
      feature_shape: shape of one data point, of product D.
      y: true classes, integers of shape [N], or None.
      class_names: names of the classes 0, 1, ..., or None.
      labels: cluster of each point, integers in [0, K), shape [N].
      probabilities: of each cluster for each point, shape [N, K].
      embedding: latents, shape [N, L], or None of a method that has none.
      mixture_logvar: natural log of the variances, shape [K, L], or None without a
        mixture.
      samples: decoded means of latents drawn from each component, shape [K, M, D], or
        None of a method that generates nothing.
      traversals: decoded means along each latent dimension, shape [K, L, 15, D], or
        None.
      names: of the points, strings of shape [N], or None.
      calibrated: whether the probabilities are others' as well as q(c | x).
      elbo: of the points, in nats, [N], or None of a method that has none.
      scaling: how the columns of a file of one's own became those of x, with their
        names if it has any, or None.
    """

    config: dict[str, Any]
    result: dict[str, Any]
    history: list[dict[str, Any]]
    x: np.ndarray | sparse.csr_array
    feature_shape: tuple[int, ...]
    y: np.ndarray | None
    class_names: Sequence[str] | None
    labels: np.ndarray
    probabilities: np.ndarray
    embedding: np.ndarray | None
    mixture_logvar: np.ndarray | None
    samples: np.ndarray | None
    traversals: np.ndarray | None
    names: np.ndarray | None = None
    calibrated: bool = False
    elbo: np.ndarray | None = None
    scaling: Scaling | None = None

    @property
    def confidence(self) -> np.ndarray:
        """The probability of each row for the cluster that is most likely, [N]."""
        return self.probabilities.max(axis=1)

    @property
    def latents(self) -> np.ndarray:
        """The embedding; of a method without one, the data."""
        return self.x if self.embedding is None else self.embedding

    def row_name(self, row: int) -> Any:
        """The name of a row, or its number."""
        return row if self.names is None else self.names[row]


def batch_table(
    batch: np.ndarray, labels: np.ndarray, num_clusters: int
) -> dict[str, list[int]]:
    """How many rows of each batch are in each cluster, as result.json has it.

    Args:
      batch: that each row was measured in, strings of shape [N].
      labels: clusters, shape [N].
      num_clusters: K.

    Returns:
      By the name of a batch, its rows in the clusters 0..K-1.
    """
    return {
        name: np.bincount(labels[batch == name], minlength=num_clusters).tolist()
        for name in np.unique(batch).tolist()
    }


def generated(
    method: str, model: Any, feature_shape: Sequence[int], seed: int
) -> dict[str, np.ndarray | None]:
    """What a trained model generates, as the report shows it.

    Args:
      method: one of ``presets.METHODS``.
      model: of that method, trained; None of a method that has none.
      feature_shape: of one row.
      seed: of the samples.

    Returns:
      ``mixture_logvar``, ``samples`` and ``traversals``, as ``ReportInputs`` has them.
    """
    of = methods.method(method)
    in_plane = tuple(feature_shape) == (2,)
    count = _POINTS_PER_CLUSTER if in_plane else _SAMPLES_PER_CLUSTER
    logvar, samples, traversals = None, None, None
    if of.samples_per_cluster is not None:
        samples = of.samples_per_cluster(model, count, seed)
    if of.traversals is not None:
        logvar = np.asarray(model.params["mixture"].logvar)
        traversals = of.traversals(model) if is_image(feature_shape) else None
    return {"mixture_logvar": logvar, "samples": samples, "traversals": traversals}
