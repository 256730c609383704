"""The map of a run's rows as the page embeds it: what its script draws and lists."""

import base64
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_hex
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from dgg_jax.checks import is_image
from dgg_jax.plots import LatentMap
from dgg_jax.plots.confusion import class_name
from dgg_jax.plots.palette import ALARM, CLUSTER_COLORS, cluster_color
from dgg_jax.plots.scatter import class_clusters
from dgg_jax.reports.columns import ColumnMeans, original_values
from dgg_jax.reports.inputs import ReportInputs
from dgg_jax.reports.thumbnails import sheet

NEIGHBORS = 10  # that are asked where a row belongs
_PLACED_BY = 3  # of them
_REFERENCES = 2000  # rows among which neighbours are looked for, at most
_DIMENSIONS = 50  # of more, the leading principal components are compared
SHOWN = 2000  # rows with an image or values, at most
_SIDE = 32  # pixels of an image
_SHEET_COLUMNS = 40
_VALUES = 6  # columns that are shown of a row
_FULL = 2**16 - 1
_BETWEEN = "#c9b8ae"  # the colour halfway from what is usual to what is looked for


class Placed(NamedTuple):
    """Every row in the plane, and what its neighbours say.

    Attributes:
      positions: shape [N, 2].
      agreement: the share of its nearest reference rows in the cluster of a row, [N];
        NaN where there is none.
      num_references: how many rows these are chosen from.
    """

    positions: np.ndarray
    agreement: np.ndarray
    num_references: int


def placed(latents: np.ndarray, labels: np.ndarray, drawn: LatentMap) -> Placed:
    """Places all rows: those that are drawn there, others beside their neighbours.

    Args:
      latents: shape [N, L].
      labels: cluster of each row, shape [N].
      drawn: positions of some rows or all.
    """
    step = max(1, -(-len(drawn.rows) // _REFERENCES))
    references = drawn.rows[::step]
    positions = np.zeros((len(latents), 2))
    if len(references) < 2:
        positions[drawn.rows] = drawn.positions
        return Placed(positions, np.full(len(latents), np.nan), len(references))
    distances, found = _nearest(latents, references)
    others = references[found] != np.arange(len(latents))[:, None]
    same = (labels[references[found]] == labels[:, None]) & others
    agreement = same.sum(axis=1) / others.sum(axis=1)
    if len(drawn.rows) < len(latents):
        positions = _beside(drawn.positions[::step], distances, found)
    positions[drawn.rows] = drawn.positions
    return Placed(positions, agreement, len(references))


def _nearest(
    latents: np.ndarray, references: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Distances of the nearest reference rows, [N, n], and which of them they are."""
    latents = np.nan_to_num(np.asarray(latents, dtype=np.float32))
    center = latents[references].mean(axis=0)
    if latents.shape[1] > _DIMENSIONS:
        directions = np.linalg.svd(latents[references] - center, full_matrices=False)[2]
        latents = (latents - center) @ directions[:_DIMENSIONS].T
    count = min(NEIGHBORS + 1, len(references))  # one may be the row itself
    search = NearestNeighbors(n_neighbors=count, algorithm="brute")
    return search.fit(latents[references]).kneighbors(latents)


def _beside(
    positions: np.ndarray, distances: np.ndarray, found: np.ndarray
) -> np.ndarray:
    """Means of the nearest positions, by inverse squared distance, and a little off."""
    squares = np.square(distances[:, :_PLACED_BY]) + 1e-12
    weights = squares[:, :1] / squares
    weights /= weights.sum(axis=1, keepdims=True)
    means = np.einsum("nk,nkd->nd", weights, positions[found[:, :_PLACED_BY]])
    grain = np.ptp(positions, axis=0).max() / np.sqrt(len(positions)) / 4
    return means + np.random.default_rng(0).normal(scale=grain, size=means.shape)


def map_data(
    inputs: ReportInputs,
    positions: np.ndarray,
    means: ColumnMeans | None,
    first: Sequence[int],
) -> dict[str, Any]:
    """What the script of the page reads, as JSON holds it.

    Args:
      inputs: the finished run.
      positions: of all rows, shape [N, 2].
      means: of the columns, which say what is shown of a row; None of images.
      first: rows that must have their image or values.

    Returns:
      Little-endian arrays in base64: positions int16 [N, 2], clusters and labels uint16
      [N] (an index of classNames), confidence uint16 [N] in 65535ths, strangeness uint8
      [N], the rank of the ELBO from 0 to 255; shown uint32, the rows that the sheet and
      the values are of. Names, colours and the rest are as they are.
    """
    num_clusters = inputs.probabilities.shape[1]
    shown = shown_rows(len(inputs.labels), first)
    places = _quantised(positions)
    return {
        "count": len(inputs.labels),
        "positions": encoded(places, "<i2"),
        "span": [float(max(1.0, side)) for side in np.ptp(places, axis=0)],
        "clusters": encoded(inputs.labels, "<u2"),
        "clusterColors": [cluster_color(cluster) for cluster in range(num_clusters)],
        "confidence": encoded(np.round(_FULL * _shares(inputs.confidence)), "<u2"),
        "isHard": bool(inputs.confidence.min() == 1.0),
        **_classes(inputs),
        "strangeness": None if inputs.elbo is None else _strangeness(inputs.elbo),
        "names": None if inputs.names is None else [str(n) for n in inputs.names],
        "ramp": _ramp(),
        "shown": encoded(shown, "<u4"),
        "sheet": _sheet(inputs, shown),
        "values": None if means is None else _values(inputs, means, shown),
    }


def shown_rows(count: int, first: Sequence[int]) -> np.ndarray:
    """Rows that have an image or values on the map: all, or some drawn at random.

    Args:
      count: N.
      first: rows that are among them in any case.
    """
    if count <= SHOWN:
        return np.arange(count)
    first = np.unique(np.asarray(first, dtype=int))
    others = np.setdiff1d(np.random.default_rng(0).permutation(count)[:SHOWN], first)
    others = np.random.default_rng(1).permutation(others)
    return np.sort(np.concatenate([first, others[: max(0, SHOWN - len(first))]]))


def encoded(values: np.ndarray, kind: str) -> str:
    """An array's bytes in base64."""
    return base64.b64encode(np.asarray(values).astype(kind).tobytes()).decode()


def decoded(text: str, kind: str) -> np.ndarray:
    """The array again.

    >>> decoded(encoded([3, 1], "<u2"), "<u2").tolist()
    [3, 1]
    """
    return np.frombuffer(base64.b64decode(text), kind)


def _quantised(positions: np.ndarray) -> np.ndarray:
    """Positions around 0 in whole units of the map, the longer side from -32767 on."""
    positions = np.asarray(positions, dtype=float)
    finite = positions[np.isfinite(positions).all(axis=1)]
    low, high = (finite.min(axis=0), finite.max(axis=0)) if len(finite) else (0.0, 1.0)
    span = np.max(high - low) or 1.0
    centered = np.nan_to_num((positions - (low + high) / 2) / span, posinf=0, neginf=0)
    return np.round(2 * 32767 * np.clip(centered, -0.5, 0.5))


def _ramp() -> list[str]:
    """256 colours from what is usual to what is looked for."""
    stops = [CLUSTER_COLORS[0], _BETWEEN, ALARM]
    ramp = LinearSegmentedColormap.from_list("ramp", stops)
    return [to_hex(ramp(step)) for step in range(256)]


def _shares(values: np.ndarray) -> np.ndarray:
    return np.clip(np.nan_to_num(values), 0.0, 1.0)


def _strangeness(elbo: np.ndarray) -> str:
    """The share of rows that the model explains better, of 255."""
    order = np.argsort(-np.nan_to_num(elbo, nan=-np.inf), kind="stable")
    ranks = np.empty(len(elbo))
    ranks[order] = np.arange(len(elbo))
    return encoded(np.floor(255 * ranks / max(1, len(elbo) - 1)), "u1")


def _classes(inputs: ReportInputs) -> dict[str, Any]:
    if inputs.y is None:
        return {"labels": None, "classNames": [], "classColors": []}
    classes, colors = class_clusters(inputs.y, inputs.labels)
    return {
        "labels": encoded(np.searchsorted(classes, inputs.y), "<u2"),
        "classNames": [class_name(one, inputs.class_names) for one in classes],
        "classColors": [cluster_color(color) for color in colors],
    }


def _sheet(inputs: ReportInputs, shown: np.ndarray) -> dict[str, Any] | None:
    if not is_image(inputs.feature_shape) or sparse.issparse(inputs.x):
        return None
    return sheet(inputs.x[shown], inputs.feature_shape, _SHEET_COLUMNS, _SIDE)._asdict()


def _values(
    inputs: ReportInputs, means: ColumnMeans, shown: np.ndarray
) -> dict[str, Any]:
    columns = means.most_telling(_VALUES)
    values = original_values(inputs, shown, columns)
    return {
        "columns": [means.name(column) for column in columns],
        "numbers": encoded(values, "<f4"),
    }
