"""The latent space, drawn in two dimensions."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from dgg_jax.plots.scatter import check_lengths, cluster_and_class_panels


class LatentMap(NamedTuple):
    """Rows of latents, brought to the plane.

    Attributes:
      rows: their indices, ascending, shape [n].
      positions: shape [n, 2].
    """

    rows: np.ndarray
    positions: np.ndarray


def latent_map(
    embedding: np.ndarray, max_points: int = 1500, seed: int = 0
) -> LatentMap:
    """Brings latents to the plane, as ``latent_picture`` draws them.

    Args:
      embedding: latents, shape [N, L].
      max_points: at most so many points go through t-SNE.
      seed: of the subsample and the heights.

    Returns:
      All rows of two latent dimensions, as they are; of others, those that are finite,
      and of more than two dimensions at most max_points of them.

    Raises:
      ValueError: if embedding is not a matrix.
    """
    embedding = np.asarray(embedding, dtype=float)
    if embedding.ndim != 2 or embedding.shape[1] == 0:
        raise ValueError(
            f"embedding must have shape [N, L] with L >= 1, got {embedding.shape}."
        )
    if embedding.shape[1] == 2:
        return LatentMap(np.arange(len(embedding)), embedding)
    random = np.random.default_rng(seed)
    kept = np.flatnonzero(np.isfinite(embedding).all(axis=1))
    if embedding.shape[1] == 1:
        heights = random.uniform(size=len(kept))
        return LatentMap(kept, np.column_stack([embedding[kept, 0], heights]))
    if len(kept) > max_points:
        kept = np.sort(random.choice(kept, max_points, replace=False))
    return LatentMap(kept, tsne(embedding[kept]))


def latent_picture(
    embedding: np.ndarray,
    labels: np.ndarray,
    y: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    max_points: int = 1500,
    seed: int = 0,
    drawn: LatentMap | None = None,
) -> Figure:
    """Draws the latents, coloured by cluster and, beside it, by class.

    Two latent dimensions are drawn as they are, for all points. More are brought to
    two by t-SNE, on a seeded subsample; one is spread by random heights.

    Args:
      embedding: latents, shape [N, L]; rows that are not finite are left out.
      labels: cluster of each point, shape [N].
      y: true class of each point, shape [N], or None: one panel only.
      class_names: names of the classes 0, 1, ...
      max_points: at most so many points go through t-SNE.
      seed: of the subsample and the heights.
      drawn: what ``latent_map`` has made of these, if it has.

    Returns:
      The figure; the same input gives the same figure.

    Raises:
      ValueError: if embedding is not a matrix or the lengths differ.
    """
    rows, positions = drawn or latent_map(embedding, max_points, seed)
    check_lengths(len(embedding), labels=labels, y=y)
    num_latents = np.shape(embedding)[1]
    unit = "latent dimension" if num_latents == 2 else ""
    detail = ""
    if num_latents > 2 and len(rows) < len(embedding):
        detail = f"{len(rows):,} of {len(embedding):,} points"
    labels = np.asarray(labels)[rows]
    y = None if y is None else np.asarray(y)[rows]
    return cluster_and_class_panels(
        positions, labels, y, class_names, unit=unit, detail=detail
    )


def tsne(embedding: np.ndarray) -> np.ndarray:
    """A map by t-SNE, from the two leading principal components on.

    One thread, because the order in which threads add up would decide the picture.

    Args:
      embedding: finite latents, shape [N, L] with L of at least 2.

    Returns:
      Coordinates without a unit, shape [N, 2]; the same input gives the same map.
    """
    if len(embedding) < 5:
        return embedding[:, :2]
    centered = embedding - embedding.mean(axis=0)
    _, _, directions = np.linalg.svd(centered, full_matrices=False)
    start = centered @ directions[:2].T
    spread = start[:, 0].std()
    start = 1e-4 * start / (spread if spread > 0 else 1.0)
    tsne = TSNE(
        init=start.astype(np.float32),
        perplexity=min(30.0, (len(embedding) - 1) / 3),
        learning_rate="auto",
        max_iter=500,
        random_state=0,
    )
    with threadpool_limits(1):
        return tsne.fit_transform(centered.astype(np.float32))
