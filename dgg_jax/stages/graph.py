"""The similarity graph: a Siamese network, its neighbours, their weights."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgg_jax.graph import neighbor_weights
from dgg_jax.losses import siamese
from dgg_jax.training import Loss, StepOutput
from dgg_jax.types import Graph

# (key, rows [B, D]) -> rows [B, D]
Augment = Callable[[jax.Array, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class SiameseLoss(Loss):
    """The contrastive loss of a batch, supplement 5 of DGG, over (x, neighbors [N, P]).

    It trains the embedding that measures similarity. A step embeds the points of a
    batch and N_t neighbours of each; of more neighbours than that, each step draws
    anew. With "drawn" pairs every point makes N_t positive ones, with its neighbours,
    and N_t negative ones, with points at random: those of the same shuffled batch,
    which are embedded anyway. With those of the "batch" all pairs of what is embedded
    count: a point and its neighbours are positive to one another and negative to all
    others. The negative ones are as random as when drawn, only more: their mean has
    less noise, for no more embeddings.

    Attributes:
      embed: from (params, x [B, D]) to [B, L].
      margin: distance to which negative pairs are pushed.
      num_pairs: N_t, at most P.
      pairing: batch or drawn.
      augment: changes the rows that a step sees in a way that keeps their clusters;
        None takes them as they are.
    """

    embed: Callable[[Any, jax.Array], jax.Array]
    margin: float
    num_pairs: int
    pairing: str
    augment: Augment | None = None

    def rows(self, data, indices, key):
        """Those of the batch, then N_t neighbours of its first one, and so on."""
        _, neighbors = data
        num_neighbors = neighbors.shape[1]
        near = neighbors[indices]
        if self.num_pairs < num_neighbors:
            chosen = jax.random.fold_in(key, 1), (len(indices), self.num_pairs)
            columns = jax.random.randint(*chosen, 0, num_neighbors)
            near = jnp.take_along_axis(near, columns, axis=1)
        return jnp.concatenate([indices, near.ravel()])

    def __call__(self, params, data, indices, key):
        """The value of a batch; see ``training.Loss``."""
        sources = self.rows(data, indices, key)
        rows = data[0][sources]
        if self.augment is not None:
            rows = self.augment(jax.random.fold_in(key, 2), rows)
        mean_losses = {"batch": _all_pairs, "drawn": _drawn_pairs}[self.pairing]
        positive, negative = mean_losses(
            self.embed(params, rows), sources, len(indices), self.margin, key
        )
        value = positive + negative
        return value, StepOutput(
            {"loss": value, "positive": positive, "negative": negative}
        )


def _all_pairs(
    embedding: jax.Array,
    sources: jax.Array,
    batch_size: int,
    margin: float,
    key: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Mean losses of the positive and of the negative pairs of all embedded rows.

    Args:
      embedding: of the batch, then of the neighbours of its first point and so on, M
        rows in all, shape [M, L].
      sources: which points they are, shape [M]; none is a pair with itself.
      batch_size: points of the batch.
      margin: distance to which negative pairs are pushed.
      key: not used, as all pairs count.
    """
    num_pairs = len(embedding) // batch_size - 1
    batch = jnp.arange(batch_size)
    owner = jnp.concatenate([batch, jnp.repeat(batch, num_pairs)])
    is_near = owner[:, None] == owner[None]
    is_pair = sources[:, None] != sources[None]
    # By products: fifteen times as fast here as from differences. Centred and in full
    # precision, because those of close rows cancel; rounding may leave less than 0.
    centered = embedding - embedding.mean(axis=0, keepdims=True)
    norms = jnp.sum(centered**2, axis=1)
    products = jnp.matmul(centered, centered.T, precision="highest")
    squared = jnp.maximum(norms[:, None] + norms[None] - 2 * products, 0.0)
    losses = siamese.loss_of_squared_distance(squared, is_near, margin)

    def mean(where):
        return jnp.sum(losses, where=where) / jnp.maximum(jnp.sum(where), 1)

    return mean(is_pair & is_near), mean(is_pair & ~is_near)


def _drawn_pairs(
    embedding: jax.Array,
    sources: jax.Array,
    batch_size: int,
    margin: float,
    key: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Mean losses of N_t positive and N_t negative pairs a point."""
    num_pairs = len(embedding) // batch_size - 1
    pair_loss = jax.vmap(siamese.contrastive_loss, (0, 0, None, None))
    own, others = embedding[:batch_size], embedding[batch_size:]
    repeated = jnp.repeat(own, num_pairs, axis=0)
    # Shifts of the batch: a point never meets itself.
    shifts = 1 + jax.random.randint(key, (num_pairs,), 0, max(1, batch_size - 1))
    partners = (jnp.arange(batch_size)[:, None] + shifts[None]) % batch_size
    positive = pair_loss(repeated, others, True, margin)
    negative = pair_loss(repeated, own[partners.ravel()], False, margin)
    return jnp.mean(positive), jnp.mean(negative)


def draw_neighbors(
    indices: np.ndarray,
    distances: np.ndarray,
    num_neighbors: int,
    *,
    choice: str,
    weights: str,
    kernel_neighbor: int,
    seed: int,
) -> Graph:
    """Chooses S of each point's candidates and weighs them.

    "random" draws them once per run, as 20 of the 100 nearest in section 4.2 of DGG
    (erratum E24); "nearest" keeps the S nearest.

    Args:
      indices: candidates of each point, nearest first, shape [N, C].
      distances: their distances, shape [N, C].
      num_neighbors: S; cut to C.
      choice: "random" or "nearest".
      weights: "uniform" or "gaussian".
      kernel_neighbor: of "gaussian" weights; see ``neighbor_weights``.
      seed: of the draw.

    Returns:
      Graph of shape [N, S], each row nearest first.
    """
    num_points, num_candidates = indices.shape
    num_neighbors = min(num_neighbors, num_candidates)
    if choice == "random" and num_neighbors < num_candidates:
        rng = np.random.default_rng(seed)
        # Ranks of random numbers: a draw without replacement for every row.
        noise = rng.random((num_points, num_candidates), np.float32)
        kept = np.argpartition(noise, num_neighbors - 1, axis=1)[:, :num_neighbors]
        kept.sort(axis=1)  # nearest first again
        indices = np.take_along_axis(indices, kept, axis=1)
        distances = np.take_along_axis(distances, kept, axis=1)
    return neighbor_weights(
        indices[:, :num_neighbors],
        distances[:, :num_neighbors],
        weights,
        kernel_neighbor,
    )


def neighbor_purity(indices: np.ndarray, labels: np.ndarray) -> float:
    """Share of neighbours that have the point's own label, for reporting only.

    Args:
      indices: neighbours, shape [N, S].
      labels: true labels, shape [N].
    """
    return float(np.mean(labels[indices] == labels[:, None]))
