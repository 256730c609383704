"""Which rows of a cluster are looked at: typical ones, and those in doubt."""

from typing import Any, NamedTuple

import numpy as np

from dgg_jax.reports.columns import ColumnMeans, original_values
from dgg_jax.reports.inputs import ReportInputs

_FEWEST, _MOST = 3, 8  # typical, borderline and disputed rows of a cluster, each
_OF_ALL = 200  # each, of all clusters, so that a page of many stays small
_SURE = 0.25  # the share of a cluster that its typical rows are from
_MAJORITY = 0.5
_COLUMNS = 5  # that set a cluster apart
_SHOWN = 4  # of them in a table
_LINES = 3  # of each of these in a table


class Members(NamedTuple):
    """Rows of one cluster.

    Attributes:
      prototype: of its surest quarter, the row nearest the mean latent; None of an
        empty cluster.
      typical: others of that quarter, from those near the mean to those far from it.
      borderline: the least sure, in that order; none where all are as sure.
      disputed: rows most of whose neighbours are in other clusters, worst first.
      variance: of its latents, mean over their dimensions; None of fewer than two rows.
    """

    prototype: int | None
    typical: list[int]
    borderline: list[int]
    disputed: list[int]
    variance: float | None

    def rows(self) -> list[int]:
        """All of them."""
        first = [] if self.prototype is None else [self.prototype]
        return [*first, *self.typical, *self.borderline, *self.disputed]


def members(
    inputs: ReportInputs, cluster: int, confidence: np.ndarray, agreement: np.ndarray
) -> Members:
    """Chooses the rows of a cluster that its card shows.

    Args:
      inputs: the finished run.
      cluster: its number.
      confidence: of each row, shape [N].
      agreement: the share of each row's neighbours in its cluster, shape [N].
    """
    rows = np.flatnonzero(inputs.labels == cluster)
    if not len(rows):
        return Members(None, [], [], [], None)
    latents = np.nan_to_num(np.asarray(inputs.latents[rows], dtype=float))
    is_hard = confidence.min() == 1.0
    confidence = confidence[rows]
    distances = np.square(latents - latents.mean(axis=0)).sum(axis=1)
    shown = int(np.clip(_OF_ALL // inputs.probabilities.shape[1], _FEWEST, _MOST))
    count = max(min(len(rows), shown + 1), int(_SURE * len(rows)))
    surest = np.argsort(-confidence, kind="stable")[:count]
    if is_hard:
        surest = np.arange(len(rows))
    surest = surest[np.argsort(distances[surest], kind="stable")]
    others = surest[1:]
    steps = np.linspace(0, len(others) - 1, min(len(others), shown))
    typical = others[steps.round().astype(int)]
    doubtful = np.argsort(confidence, kind="stable")[:shown]
    is_varied = confidence.min() < confidence.max()
    order = np.argsort(agreement[rows], kind="stable")
    disputed = order[agreement[rows][order] < _MAJORITY][:shown]
    return Members(
        prototype=int(rows[surest[0]]),
        typical=rows[typical].tolist(),
        borderline=rows[doubtful].tolist() if is_varied else [],
        disputed=rows[disputed].tolist(),
        variance=float(latents.var(axis=0).mean()) if len(rows) > 1 else None,
    )


def card(
    inputs: ReportInputs, cluster: int, chosen: Members, means: ColumnMeans | None
) -> dict[str, Any]:
    """What the card of a cluster shows of its rows and columns.

    Args:
      inputs: the finished run.
      cluster: its number.
      chosen: its rows.
      means: of the columns; None where rows are images.

    Returns:
      "variance", the columns that set it apart as "apart", and as "groups" its rows:
      each its index, name, confidence and values of the first "num_values" of these.
    """
    apart = [] if means is None else means.differences(cluster, _COLUMNS)
    columns = [difference.column for difference in apart[:_SHOWN]]
    groups = {
        "Prototype": [] if chosen.prototype is None else [chosen.prototype],
        "Typical": chosen.typical,
        "Borderline": chosen.borderline,
        "Disputed": chosen.disputed,
    }
    if means is not None:
        groups = {name: rows[:_LINES] for name, rows in groups.items()}
    return {
        "variance": chosen.variance,
        "apart": apart,
        "num_values": len(columns),
        "groups": {
            name: _members(inputs, rows, columns)
            for name, rows in groups.items()
            if rows
        },
    }


def _members(
    inputs: ReportInputs, rows: list[int], columns: list[int]
) -> list[dict[str, Any]]:
    values = original_values(inputs, rows, columns)
    confidence = inputs.probabilities[rows].max(axis=1)
    return [
        {
            "index": row,
            "name": inputs.row_name(row),
            "confidence": confidence[i],
            "values": [None if np.isnan(one) else float(one) for one in values[i]],
        }
        for i, row in enumerate(rows)
    ]
