"""Judges of labels that need no true ones, and how well they tell which are right.

Each gives every candidate of a run a number; ``table`` says how these rank candidates
by the adjusted Rand index, and what the one that each would pick has.
"""

import statistics
from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score
from sklearn.mixture import GaussianMixture

from dgg_jax.graph import graph_information
from dgg_jax.stages import ensemble
from dgg_jax.types import Graph

Scores = dict[str, list[float]]  # by judge, of every candidate

_SILHOUETTE_ROWS = 2000


def scores(
    judge: dict[str, Any],
    reports: list[dict[str, Any]],
    x: np.ndarray,
    embeddings: dict[str, np.ndarray],
    seed: int,
) -> Scores:
    """What each judge says of the candidates of a run.

    Args:
      judge: of the state of a run of DGG.
      reports: the record of its candidates, the best first.
      x: the rows that are judged, dense [n, D].
      embeddings: their points in each space that a network has made, [n, M].
      seed: of what is drawn.
    """
    labels = judge["labels"]
    graphs = {name: Graph(**graph) for name, graph in judge["graphs"].items()}
    num_neighbors = next(iter(graphs.values())).indices.shape[1]
    graphs |= {
        name: ensemble.nearest(points, num_neighbors)
        for name, points in embeddings.items()
    }
    among = ensemble.mutual_informations(labels, labels)
    others = (among.sum(axis=1) - 1.0) / max(1, len(among) - 1)
    trusted = np.argsort(-others, kind="stable")[: max(5, len(among) // 3)]
    entropies = np.array([stats.entropy(np.bincount(row)) for row in labels])
    information = np.array(
        [[graph_information(g, row) for g in graphs.values()] for row in labels]
    )
    points = PCA(min(10, *x.shape), random_state=0).fit_transform(x)
    found = {
        "agreement with all": others,
        "agreement with the third that agrees most": among[:, trusted].mean(axis=1),
        "information, mean over graphs": information.mean(axis=1),
        "information over entropy": information.mean(axis=1)
        / np.maximum(entropies, 1e-9),
        "silhouette": [_silhouette(points, row, seed) for row in labels],
        "held-out likelihood": [_held_out(points, row, seed) for row in labels],
    }
    own = [list(graphs).index(report["space"]) for report in reports]
    found["information, own graph"] = information[np.arange(len(own)), own]
    kept = {name: np.asarray(value).tolist() for name, value in found.items()}
    for name in ("agreement", "neighbor_certainty", "standing"):
        kept[name] = [report[name] for report in reports]
    return kept


def _silhouette(points: np.ndarray, labels: np.ndarray, seed: int) -> float:
    rows = np.random.default_rng(seed).permutation(len(points))[:_SILHOUETTE_ROWS]
    if len(np.unique(labels[rows])) < 2:
        return -1.0
    return float(silhouette_score(points[rows], labels[rows]))


def _held_out(points: np.ndarray, labels: np.ndarray, seed: int) -> float:
    """ln p of half of the rows under one Gaussian a cluster of the other half."""
    half = np.random.default_rng(seed).random(len(points)) < 0.5
    floor = 1e-3 * points.var(axis=0).mean()
    terms = []
    for label in np.unique(labels):
        members = points[half & (labels == label)]
        if len(members) < 2:
            continue
        model = GaussianMixture(1, covariance_type="diag", reg_covar=floor)
        share = len(members) / half.sum()
        terms.append(model.fit(members).score_samples(points[~half]) + np.log(share))
    return float(np.logaddexp.reduce(terms, axis=0).mean()) if terms else -np.inf


def table(cells: Iterable[dict[str, Any]]) -> str:
    """Markdown: of each judge, over all runs, how it ranks and what it picks."""
    runs = [
        (cell["details"]["judges"], _aris(cell))
        for cell in cells
        if "judges" in cell.get("details", {})
    ]
    if not runs:
        return ""
    lines = [
        "| judge | rank correlation with ARI | ARI of its pick | less the best's |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name in runs[0][0]:
        ranks, picks, lost = [], [], []
        for judged, aris in runs:
            values = judged[name]
            if len(set(values)) > 1 and len(set(aris)) > 1:
                ranks.append(stats.spearmanr(values, aris)[0])
            picks.append(aris[int(np.argmax(values))])
            lost.append(max(aris) - picks[-1])
        rank = f"{statistics.mean(ranks):.3f}" if ranks else "-"
        lines.append(
            f"| {name} | {rank} | {statistics.mean(picks):.3f} "
            f"| {-statistics.mean(lost):.3f} |"
        )
    return "\n".join(lines)


def _aris(cell: dict[str, Any]) -> list[float]:
    return [one["ari"] for one in cell["details"]["initialize"]["candidates"]]
