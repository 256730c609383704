"""What a fitted estimator shows of itself: ``model.plot``, a table in notebooks."""

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dgg_jax import checks, methods, plots
from dgg_jax.plots.palette import cluster_color

_MOST_CLUSTERS = 20  # rows of the table


class Pictures:
    """The pictures of a fitted estimator: ``model.plot.latents()``.

    Each is a matplotlib figure, which a notebook shows and ``savefig`` writes.
    """

    def __init__(self, estimator: Any):
        """Keeps the estimator, which is fitted."""
        self._estimator = estimator

    def latents(
        self, y: Any = None, class_names: Sequence[str] | None = None
    ) -> Figure:
        """The embedding of the rows in two dimensions, by cluster and by class.

        Args:
          y: true class of each row of training, [N], numbers or names, or None.
          class_names: names of the classes 0, 1, ...

        Raises:
          ValueError: if the method has no embedding, or y is not N classes.
        """
        model = self._estimator
        embedding = self._learned("embedding_", "no embedding")
        y, class_names = classes_of(y, class_names, len(model.labels_))
        return plots.latent_picture(embedding, model.labels_, y, class_names)

    def confusion(self, y: Any, class_names: Sequence[str] | None = None) -> Figure:
        """True classes against clusters, with the clusters matched to the classes.

        Args:
          y: true class of each row of training, [N], numbers or names.
          class_names: names of the classes 0, 1, ...

        Raises:
          ValueError: if y is not N classes.
        """
        labels = self._estimator.labels_
        y, class_names = classes_of(y, class_names, len(labels))
        return plots.confusion_matrix(y, labels, class_names)

    def samples(
        self, n_samples: int = 10, image_shape: Sequence[int] | None = None
    ) -> Figure:
        """Rows drawn from every cluster: images, points, lines or a heat map.

        Args:
          n_samples: of each cluster.
          image_shape: (H, W), (H, W, 1) or (H, W, 3) of the image in a row; by default
            as in ``fit``.

        Raises:
          ValueError: if the method draws none, or the shape is not that of a row.
        """
        model = self._estimator
        draw = methods.method(model._method).samples_per_cluster
        if draw is None:
            raise self._lacking("no generative model")
        checks.of_type("n_samples", n_samples, int)
        checks.in_range("n_samples", n_samples, 1)
        shape = model.image_shape_ if image_shape is None else image_shape
        if shape is None:
            shape = (model.n_features_in_,)
        else:
            checks.image_shape(shape, model.n_features_in_, "image_shape")
        return plots.cluster_samples(draw(model.model_, n_samples), shape)

    def curves(self) -> Figure:
        """The losses and terms of every loop over its epochs."""
        return plots.training_curves(self._estimator.history_)

    def graph(self, max_points: int = 1500) -> Figure:
        """The graph of neighbours over the embedding; edges between clusters stand out.

        Args:
          max_points: of more rows, so many are drawn, some with their neighbours.

        Raises:
          ValueError: if the method keeps no graph.
        """
        graph = self._learned("graph_", "no graph")
        neighbors, model = np.asarray(graph.indices), self._estimator
        order = np.random.default_rng(0).permutation(len(neighbors))
        together = np.column_stack([order, neighbors[order]]).ravel()
        _, first = np.unique(together, return_index=True)
        kept = np.sort(together[np.sort(first)[:max_points]])
        place = np.full(len(neighbors), -1)
        place[kept] = np.arange(len(kept))
        ends = place[neighbors[kept]]
        starts = np.broadcast_to(np.arange(len(kept))[:, None], ends.shape)
        edges = np.stack([starts, ends], axis=-1)[ends >= 0]
        positions = model.embedding_[kept]
        is_map = positions.shape[1] > 2
        if is_map:
            positions = plots.tsne(positions)
        elif positions.shape[1] == 1:  # spread by the rows' numbers
            positions = np.column_stack([positions, kept])
        title = "Graph of neighbours"
        labels = model.labels_[kept]
        panel = plots.GraphPanel(title, positions, edges, labels, is_map)
        return plots.graph_panels([panel], columns=1)

    def _learned(self, name: str, lack: str) -> Any:
        if not hasattr(self._estimator, name):
            raise self._lacking(lack)
        return getattr(self._estimator, name)

    def _lacking(self, lack: str) -> checks.InvalidInput:
        name = type(self._estimator).__name__
        return checks.InvalidInput(
            f"{name} has {lack} to draw; its clusters are in labels_."
        )


def classes_of(
    y: Any, class_names: Sequence[str] | None, num_rows: int
) -> tuple[np.ndarray | None, Sequence[str] | None]:
    """True classes as numbers from 0, and their names.

    Args:
      y: of every row, [N]: numbers, or names, which are numbered in their order; or
        None.
      class_names: of the classes 0, 1, ... of y; None: what y says itself.
      num_rows: N.

    Raises:
      InvalidInput: if y is not a class of each row.
    """
    if y is None:
        return None, class_names
    y = np.asarray(y)
    if y.shape != (num_rows,):
        raise checks.InvalidInput(
            f"y must be a class of each of the {num_rows:,} rows of training, got "
            f"shape {y.shape}."
        )
    for one in y.tolist():
        if one is None or (isinstance(one, float) and not one.is_integer()):
            raise checks.InvalidInput(
                f"y must be classes, whole numbers or names, got {one!r}; a row "
                'without a class may have one of its own, as "unknown".'
            )
    y = y.astype(np.int64 if y.dtype.kind in "biuf" else str)
    if y.dtype.kind == "i" and y.min() >= 0:
        return y, class_names
    names, codes = np.unique(y, return_inverse=True)
    if class_names is None or y.dtype.kind != "i" or len(class_names) == len(names):
        return codes, class_names or names.astype(str).tolist()
    named = dict(enumerate(class_names))  # those of 0, 1, ...; -1 has none
    return codes, [named.get(number, str(number)) for number in names.tolist()]


def outcome(estimator: Any) -> str:
    """The clusters and the stages of a fitted estimator, as HTML.

    Args:
      estimator: fitted.
    """
    sizes = np.bincount(
        estimator.labels_[estimator.labels_ >= 0], minlength=estimator.n_clusters_
    )
    confidence = getattr(estimator, "confidence_", None)
    total, outliers = len(estimator.labels_), (estimator.labels_ < 0).sum()
    heads = ["cluster", "rows", "share", *["confidence"] * (confidence is not None)]
    rows = []
    shown = np.argsort(-sizes, kind="stable")[:_MOST_CLUSTERS]
    for cluster in np.sort(shown):
        dot = f'<span style="color:{cluster_color(cluster)}">&#9679;</span>'
        cells = [f"{dot} {cluster}", f"{sizes[cluster]:,}"]
        cells.append(f"{sizes[cluster] / total:.1%}")
        if confidence is not None:
            own = confidence[estimator.labels_ == cluster]
            cells.append(f"{own.mean():.3f}" if len(own) else "")
        rows.append(cells)
    notes = [f"{len(sizes):,} clusters of {total:,} rows"]
    if hasattr(estimator, "elbo_"):
        notes.append(f"ELBO {estimator.elbo_.mean():.2f} nats a row")
    if confidence is not None:
        notes.append(f"confidence {confidence.mean():.3f}")
    if outliers:
        notes.append(f"{outliers:,} outliers")
    if len(shown) < len(sizes):
        notes.append(f"the {len(shown)} largest are shown")
    stages = [
        [
            html.escape(one["name"]),
            _number(one.get("seconds"), 1),
            _number(one.get("elbo"), 2),
        ]
        for one in estimator.stages_
    ]
    return (
        f"<p><b>{type(estimator).__name__}</b>: {', '.join(notes)}</p>"
        '<div style="display:flex;flex-wrap:wrap;gap:0 2em;align-items:flex-start">'
        f"{_table(heads, rows)}{_table(['stage', 'seconds', 'ELBO'], stages)}</div>"
    )


def _number(value: Any, digits: int) -> str:
    """As text; nothing of what is no number, as of several restarts."""
    is_number = isinstance(value, int | float | np.number)
    return f"{value:,.{digits}f}" if is_number else ""


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["".join(f"<th>{head}</th>" for head in heads)]
    lines += ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
