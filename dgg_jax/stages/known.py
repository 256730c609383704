"""Labels to start from where the clusters of some rows, or links, are known."""

import numbers
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from dgg_jax import checks
from dgg_jax.graph.spectral import affinity_matrix
from dgg_jax.stages.links import Links, obeying
from dgg_jax.types import Graph

UNKNOWN = -1
_HELD = 0.99  # alpha of the spreading: what comes from neighbours, not from oneself
_STEPS = 50
_FOLDS = 5


def start_from(
    starts: np.ndarray,
    known: np.ndarray | None,
    graphs: Mapping[str, Graph],
    num_clusters: int,
    seed: int,
    links: Links | None = None,
    points: np.ndarray | None = None,
) -> tuple[np.ndarray, list[dict[str, float | str]]]:
    """Orders labels to start from by what is known, and changes them where it says so.

    Beside the clusterings that are given, the known labels are spread along each graph.
    What is right for more of the known rows and links comes first: of clusterings under
    the best one-to-one map of clusters to classes, of the spreading where they were
    held out. Of equals it is what came first. Links of two known rows do not count.

    Args:
      starts: clusterings, the best first, shape [C, N].
      known: clusters in 0..K-1, or -1 where they are not known, shape [N]; or None.
      graphs: of the neighbours of all rows, [N, S], by where these are near.
      num_clusters: K.
      seed: of the folds.
      links: between the rows, or None.
      points: by which clusters are near, shape [N, M]; see ``links.obeying``.

    Returns:
      Labels [C + G, N], the best first, in which the known rows have their own and
      links hold that can; and of each what it is and what it was ranked by.
    """
    found = _by_rows(starts, known, graphs, num_clusters, seed)
    if links is not None:
        found = _by_links(found, known, links)
    found.sort(key=lambda one: -one.right)
    labels = np.stack([one.labels for one in found])
    if known is not None:
        labels = np.where(known != UNKNOWN, known, labels)
    if links is not None:
        labels = np.stack(
            [obeying(one, links, points, num_clusters, known) for one in labels]
        )
    return labels.astype(np.int32), [one.told for one in found]


class _Start(NamedTuple):
    """Labels to start from, what the record says of them, and how much is right."""

    labels: np.ndarray
    told: dict[str, float | str]
    right: int


def _by_rows(
    starts: np.ndarray,
    known: np.ndarray | None,
    graphs: Mapping[str, Graph],
    num_clusters: int,
    seed: int,
) -> list[_Start]:
    """Clusterings and what the known rows say of them, and these rows, spread."""
    names = [f"clustering {i + 1}" for i in range(len(starts))]
    if known is None:
        return [
            _Start(labels, {"start": name}, 0)
            for name, labels in zip(names, starts, strict=True)
        ]
    given = known != UNKNOWN
    found = []
    for name, labels in zip(names, starts, strict=True):
        labels = renamed(labels, known, num_clusters)
        found.append((name, labels, int((labels == known)[given].sum())))
    for name, graph in graphs.items():
        labels = spreading(graph, known, num_clusters)
        right = _held_out(graph, known, num_clusters, seed)
        found.append((f"spreading, {name}", labels, right))
    return [
        _Start(
            labels, {"start": name, "known_accuracy": float(right / given.sum())}, right
        )
        for name, labels, right in found
    ]


def _by_links(
    found: list[_Start], known: np.ndarray | None, links: Links
) -> list[_Start]:
    """The same, and what the links say of them; of two known rows they say no more."""
    counts = np.ones(len(links.rows), bool)
    if known is not None:
        counts = (known[links.rows] == UNKNOWN).any(axis=1)
    ranked = []
    for one in found:
        holds = links.held(one.labels)[counts]
        told = one.told | {"links_held": int(holds.sum()), "links": len(holds)}
        ranked.append(_Start(one.labels, told, one.right + int(holds.sum())))
    return ranked


def renamed(labels: np.ndarray, known: np.ndarray, num_clusters: int) -> np.ndarray:
    """Labels [N], clusters called so that most of the known rows agree with them."""
    given = known != UNKNOWN
    shared = np.zeros((num_clusters, num_clusters))
    np.add.at(shared, (labels[given], known[given]), 1)
    clusters, classes = linear_sum_assignment(shared, maximize=True)
    name = np.empty(num_clusters, np.int32)
    name[clusters] = classes
    return name[labels]


def spreading(graph: Graph, known: np.ndarray, num_clusters: int) -> np.ndarray:
    """Known labels, spread along the graph to all rows, int32 [N].

    F <- alpha S F + (1 - alpha) Y with the normalised affinity S (Zhou, Bousquet, Lal,
    Weston and Schoelkopf, "Learning with local and global consistency", NIPS 2003), and
    each class weighed so that all have the same share.

    Args:
      graph: of the neighbours of all rows, [N, S].
      known: clusters in 0..K-1, or -1 where they are not known, shape [N].
      num_clusters: K.
    """
    affinity = affinity_matrix(graph)
    scale = 1.0 / np.sqrt(affinity.sum(axis=1))
    told = (known[:, None] == np.arange(num_clusters)).astype(np.float64)
    found = told
    for _ in range(_STEPS):
        spread = scale[:, None] * (affinity @ (scale[:, None] * found))
        found = _HELD * spread + (1.0 - _HELD) * told
    shares = found / np.maximum(found.sum(axis=0), 1e-300)
    return shares.argmax(axis=1).astype(np.int32)


def _held_out(graph: Graph, known: np.ndarray, num_clusters: int, seed: int) -> int:
    """How many of the known rows the spreading of the others gives their own label."""
    given = np.flatnonzero(known != UNKNOWN)
    order = np.random.default_rng(seed).permutation(given)
    right = 0
    for fold in range(min(_FOLDS, len(order))):
        held = order[fold::_FOLDS]
        rest = known.copy()
        rest[held] = UNKNOWN
        right += int((spreading(graph, rest, num_clusters)[held] == known[held]).sum())
    return right


def known_labels(
    y: Sequence[int] | np.ndarray | None, num_rows: int, num_clusters: int
) -> np.ndarray | None:
    """Known clusters as int32 [N]; None if y tells none or, without a -1, is no such.

    Args:
      y: integers in -1..K-1, [N], or whatever is given to ``fit`` as y.
      num_rows: N.
      num_clusters: K.

    Raises:
      InvalidInput: if it has a -1 and is not like this; if it has clusters, and none
        in some rows.
    """
    if y is None:
        return None
    # As they came: numpy makes text of what is missing in a list of names.
    y = np.array(y, object) if isinstance(y, list | tuple) else y
    y = None if sparse.issparse(y) else _whole(np.asarray(y))
    if y is None or not (y == UNKNOWN).any():
        return None
    if y.shape != (num_rows,):
        raise checks.InvalidInput(
            f"y must be [{num_rows}], the known cluster of each row or -1, got shape "
            f"{y.shape}."
        )
    if y.min() < UNKNOWN or y.max() >= num_clusters:
        raise checks.InvalidInput(
            f"y must be in -1..{num_clusters - 1}, -1 where the cluster is not known, "
            f"got values from {y.min()} to {y.max()}."
        )
    return y.astype(np.int32) if (y != UNKNOWN).any() else None


def _whole(y: np.ndarray) -> np.ndarray | None:
    """y as integers, also of floats or objects, as a data frame's column may have them.

    Returns:
      Of the same shape; None of names that all rows have, and of measured numbers.

    Raises:
      InvalidInput: if some are missing or -1, and the others are names.
    """
    if y.dtype.kind in "iu":
        return y
    if y.ndim != 1 and y.shape[1:] != (1,):  # as targets, or one-hot codes
        return None
    values = y.ravel().tolist()
    missing = [_is_missing(value) for value in values]
    unknown = [str(value) in ("-1", "-1.0") for value in values]
    others = [
        row
        for row, value in enumerate(values)
        if not (missing[row] or unknown[row] or _is_whole(value))
    ]
    if all(missing):
        return None
    if others:
        row = others[0]
        # Of measured numbers a -1 is one of them.
        are_names = not all(isinstance(values[row], numbers.Real) for row in others)
        if are_names and (any(unknown) or any(missing)):
            raise checks.InvalidInput(
                "y must be whole numbers, the known cluster of each row, or -1 where "
                f"it is not known, got {values[row]!r} in row {row}; number names, as "
                "by pandas.factorize(y)[0], with None where none is known."
            )
        return None
    if any(missing):
        row = missing.index(True)
        raise checks.InvalidInput(
            f"y has no cluster in row {row} ({values[row]}); give -1 to rows whose "
            "cluster is not known."
        )
    return np.array(values, np.float64).astype(np.int64).reshape(y.shape)


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Real) and float(value).is_integer()


def _is_missing(value: Any) -> bool:
    """Whether it is what pandas or Python has in place of a class, or an empty text."""
    if isinstance(value, numbers.Real):
        return value != value
    if isinstance(value, str | bytes):
        return value.strip().lower() in ("", b"", "nan", b"nan")
    return str(value) in ("None", "<NA>", "NaT")
