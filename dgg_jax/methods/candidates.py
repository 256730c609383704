"""The ensemble of clusterings that a run starts from and is judged by."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.neighbors import KNeighborsClassifier

from dgg_jax.graph import local_affinity
from dgg_jax.methods.problem import Problem
from dgg_jax.placement.rows import HostRows, SparseRows, map_blocks
from dgg_jax.stages import ensemble, evaluate
from dgg_jax.stages.ensemble import Clustering, Space
from dgg_jax.training import Metrics, State
from dgg_jax.types import Graph

MOST_ROWS = 8_000  # of which an ensemble is made


class Candidates(NamedTuple):
    """What a run may start from, the best first.

    Attributes:
      labels: of the best, for all rows, int32 of shape [count, N].
      judge: entries of the state by which ``judged`` judges other labels.
      reports: space, method, standing and scores of every candidate.
    """

    labels: np.ndarray
    judge: State
    reports: list[Metrics]


def candidates(
    problem: Problem,
    embeddings: dict[str, np.ndarray],
    count: int,
) -> Candidates:
    """Clusters in many ways, and ranks the outcomes (``ensemble.ranking``).

    Of more than 8,000 rows a sample is clustered and compared; the others then take the
    label of most of those that are nearest in the space of what comes out best. To
    cluster all rows anew would often find something else than what was judged.

    Args:
      problem: what is clustered; neighbours that are given are those of the data.
      embeddings: points of all rows beside the data, by their names, each [N, M].
      count: how many to return, of those that there are.
    """
    num_clusters, seed = problem.preset.num_clusters, problem.numpy_seed("initialize")
    num_neighbors = problem.preset.init_neighbors
    rows = _judged_rows(problem, seed)
    x = _picked(problem.points, rows)
    spaces = _spaces(problem, x, embeddings, rows)
    if problem.neighbors is None:
        first = ensemble.first_copies(x)
        near = {
            name: ensemble.nearest(space.points, num_neighbors, first)
            for name, space in spaces.items()
        }
    else:
        near = {"data": _given(problem)}
    found = ensemble.clusterings(spaces, near, num_clusters, seed)
    # The latents know no more of the rows than the data do: they have no half of their
    # own. And neighbours are those in the data: what is near in an embedding, a network
    # has pulled together.
    trust = ensemble.trust(found, unheard=("latents",))
    near = {name: graph for name, graph in near.items() if name not in embeddings}
    labels = np.stack([one.labels for one in found])
    agreements = (trust * ensemble.mutual_informations(labels, labels)).sum(axis=1)
    values = [
        _judgement(agreement, near.values(), one.labels, num_clusters)
        for agreement, one in zip(agreements, found, strict=True)
    ]
    order = ensemble.ranking(found, [one["standing"] for one in values])

    def of_all_rows(one: Clustering) -> np.ndarray:
        if len(rows) == len(problem.x):
            return one.labels
        space = spaces[one.space]
        points = embeddings.get(one.space)
        if points is None:
            points = _points_of_all(problem.points, space)
        votes = KNeighborsClassifier(num_neighbors)
        extended = votes.fit(space.points, one.labels).predict(points)
        extended[rows] = one.labels
        return extended

    y = None if problem.y is None else problem.y[rows]
    reports = [
        {"space": found[i].space, "method": found[i].method}
        | values[i]
        | evaluate.label_metrics(y, found[i].labels)
        for i in order
    ]
    judge = {
        "labels": labels[order],  # as the reports are
        "standings": np.array([values[i]["standing"] for i in order]),
        "rows": rows,
        "trust": trust[order[0]][order],
        "graphs": {name: graph._asdict() for name, graph in near.items()},
    }
    starts = _distinct([found[i] for i in order])[:count]
    return Candidates(np.stack([of_all_rows(one) for one in starts]), judge, reports)


def _spaces(
    problem: Problem,
    x: np.ndarray | sparse.csr_array,
    embeddings: dict[str, np.ndarray],
    rows: np.ndarray,
) -> dict[str, Space]:
    """Where some rows, x, are clustered.

    Rows of words are compared as they are, neither by their components nor by what a
    network makes of them; and where neighbours are given, what is near is told.
    """
    has_counts = problem.preset.has_counts  # as few as of words
    spaces_of = ensemble.column_spaces if has_counts else ensemble.data_spaces
    spaces = spaces_of(
        x,
        problem.preset.num_clusters,
        seed=problem.numpy_seed("initialize"),
        column_scale=problem.column_scale,
    )
    if problem.neighbors is not None:
        return {"data": spaces["data"]}
    if sparse.issparse(spaces["data"].points):
        return spaces
    return spaces | {
        name: Space(points[rows], lambda rows: rows)
        for name, points in embeddings.items()
    }


def ranked(reports: list[Metrics]) -> Metrics:
    """What the record says of candidates: which is the best, and how close the next."""
    names = [f"{one['space']}, {one['method']}" for one in reports]
    metrics: Metrics = {"best_candidate": names[0]}
    if len(reports) > 1:
        metrics |= {"next_candidate": names[1], "next_standing": reports[1]["standing"]}
    return metrics | {"candidates": reports}


def judged(problem: Problem, judge: State, labels: np.ndarray) -> Metrics:
    """The standing of labels of all rows, [N], and what it is made of.

    They are compared with what the best candidate was compared with, from which they
    come.
    """
    labels = labels[judge["rows"]]
    near = ensemble.mutual_informations(labels[None], judge["labels"])[0]
    graphs = [Graph(**graph) for graph in judge["graphs"].values()]
    agreement = float(near @ judge["trust"])
    return _judgement(agreement, graphs, labels, problem.preset.num_clusters)


def _judgement(
    agreement: float, graphs: Iterable[Graph], labels: np.ndarray, num_clusters: int
) -> Metrics:
    certainty = ensemble.neighbor_certainty(graphs, labels, num_clusters)
    return {
        "standing": float(ensemble.standing(agreement, certainty)),
        "agreement": float(agreement),
        "neighbor_certainty": certainty,
    }


def _judged_rows(problem: Problem, seed: int) -> np.ndarray:
    """Those that are clustered and compared: all, or a sample in their order."""
    num_points = len(problem.x)
    if num_points <= MOST_ROWS or problem.neighbors is not None:  # of all of them
        return np.arange(num_points)
    return np.sort(np.random.default_rng(seed).permutation(num_points)[:MOST_ROWS])


def _given(problem: Problem) -> Graph:
    """The graph of the neighbours that are given."""
    indices, distances = problem.neighbors
    count = min(problem.preset.init_neighbors, indices.shape[1])
    return local_affinity(indices[:, :count], distances[:, :count])


def _distinct(ranked: list[Clustering]) -> list[Clustering]:
    """Without those whose labels come before."""
    first = {one.labels.tobytes(): one for one in reversed(ranked)}
    return [one for one in ranked if first[one.labels.tobytes()] is one]


def _picked(
    x: np.ndarray | SparseRows | HostRows, rows: np.ndarray
) -> np.ndarray | sparse.csr_array:
    """Some rows; sparse if they are stored so."""
    if isinstance(x, SparseRows):
        return x.matrix()[rows]
    if isinstance(x, HostRows) and sparse.issparse(x.source):
        return x.source[rows]
    return np.asarray(x[rows])


def _points_of_all(x: np.ndarray | SparseRows | HostRows, space: Space) -> np.ndarray:
    """The points of all rows in a space that was made of some of them."""
    if sparse.issparse(space.points):
        return sparse.csr_array(_picked(x, np.arange(len(x))))
    return map_blocks(space.embed, x)
