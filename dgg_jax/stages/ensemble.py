"""An ensemble of clusterings, and a judge of labels that needs no true ones.

The data are clustered in several spaces by methods that differ in kind. Labels are
judged by two things. The first is how much other clusterings agree with them: what
methods of different kinds find alike is more likely right than what stands alone
(Strehl and Ghosh, "Cluster ensembles", JMLR 3, 2002, eq. 2). The second is how much the
label of a row tells of those of its neighbours in the data. docs/arena.md has the
comparison with other judges.
"""

import math
import warnings
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse, special
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning

from dgg_jax.data.preprocessing import are_words
from dgg_jax.graph import knn, local_affinity
from dgg_jax.graph.spectral import (
    affinity_matrix,
    component_labels,
    information_and_entropy,
    spectral_embedding,
    spectral_kmeans,
)
from dgg_jax.placement.rows import threads_for
from dgg_jax.stages import initialize
from dgg_jax.types import Graph

COMPONENTS = 50  # principal ones that stand for more columns
_MIXED_COMPONENTS = 10  # of a mixture of full covariances
_MOST_LINKED = 5_000  # rows whose distances to each other are all kept
_SCREENED_ROWS = 2_000  # by which columns are told from noise
_SCREENINGS = 5  # at most
_FEW_VALUES = 20  # of a column
_LEAST_PARTED = 0.002  # share of neighbours that no clustering does better than
_LOST = 5.0  # what a share of the labels' own entropy costs that neighbours do not tell
_LEAD = 0.03  # of standing, that K-means of the data has


class Clustering(NamedTuple):
    """One of an ensemble.

    Attributes:
      space: where points are near.
      method: that clustered them.
      labels: in 0..K-1, int32 of shape [N].
    """

    space: str
    method: str
    labels: np.ndarray

    @property
    def follows_graph(self) -> bool:
        """Whether clusters are what is connected, not what is compact."""
        return self.method.startswith("spectral") or self.method == "components"


class Space(NamedTuple):
    """Points to cluster.

    Attributes:
      points: of the rows that the ensemble is of, shape [n, M]; sparse ones stay so.
      embed: from rows [B, D] of the data to their points [B, M].
    """

    points: np.ndarray | sparse.csr_array
    embed: Callable[[np.ndarray], np.ndarray]


def data_spaces(
    x: np.ndarray | sparse.csr_array,
    num_clusters: int,
    *,
    seed: int,
    column_scale: np.ndarray | None = None,
) -> dict[str, Space]:
    """The data as points: as they are, as they were before scaling, and standardised.

    Rows of words, most of which are 0, are points as they are; of others see
    ``column_spaces``.

    Args:
      x: data, shape [n, D].
      num_clusters: K.
      seed: of what tells columns from noise.
      column_scale: [D], what their columns were divided by.

    Returns:
      "data", and what else ``column_spaces`` finds.
    """
    if are_words(x):
        return {"data": Space(sparse.csr_array(x), lambda rows: rows)}
    return column_spaces(x, num_clusters, seed=seed, column_scale=column_scale)


def column_spaces(
    x: np.ndarray | sparse.csr_array,
    num_clusters: int,
    *,
    seed: int,
    column_scale: np.ndarray | None = None,
) -> dict[str, Space]:
    """The data as points: as they are, as they were before scaling, and standardised.

    Of many columns the 50 principal components are taken. Where most columns are noise,
    the others are points too.

    Args:
      x: data, shape [n, D].
      num_clusters: K.
      seed: of what tells columns from noise.
      column_scale: [D], what their columns were divided by.

    Returns:
      "data"; "unscaled", "standardized" and "salient" where these are others.
    """
    x = np.asarray(x.toarray() if sparse.issparse(x) else x, np.float32)
    mean, spread = x.mean(axis=0), x.std(axis=0)
    spaces = {"data": _components(x, lambda rows: rows)}
    if column_scale is not None and np.ptp(column_scale) > 0:
        scale = np.asarray(column_scale, np.float32)
        spaces["unscaled"] = _components(x * scale, lambda rows: rows * scale)
    varied = np.flatnonzero(spread > 1e-6 * max(float(spread.max()), 1e-30))
    if np.ptp(spread[varied]) > 0.02 * spread.max(initial=0.0):

        def standardized(rows: np.ndarray) -> np.ndarray:
            return (rows[:, varied] - mean[varied]) / spread[varied]

        spaces["standardized"] = _components(standardized(x), standardized)
    if x.shape[1] > _MIXED_COMPONENTS:  # in fewer, full covariances see them
        salient = salient_columns(x, num_clusters, seed)
        if 2 <= len(salient) <= x.shape[1] / 2:
            chosen = _components(x[:, salient], lambda rows: rows[:, salient])
            spaces["salient"] = chosen
    return spaces


def salient_columns(x: np.ndarray, num_clusters: int, seed: int) -> np.ndarray:
    """Columns that are not noise: those that clusters differ in, and may differ in.

    The clusters are those of a Gaussian mixture of diagonal covariances, in which noise
    adds the same to the likelihood of every component. A column is salient if Gaussians
    of each cluster describe it better than one of all rows, their 2 (K - 1) further
    parameters counted (the Bayesian information criterion; feature saliency of Law,
    Figueiredo and Jain, PAMI 26, 2004). What is salient is clustered again, until all
    of it is. Columns of few values, such as counts and noughts and ones, are not told
    from noise so, and stay: a cluster in which one is constant always looks better.

    Args:
      x: data, shape [n, D].
      num_clusters: K.
      seed: of the rows, at most 2,000, and the starts.

    Returns:
      Their indices, in order.
    """
    rows = np.random.default_rng(seed).permutation(len(x))[:_SCREENED_ROWS]
    x = x[rows].astype(np.float64)
    values = np.array([len(np.unique(column)) for column in x.T])
    untold = np.flatnonzero((values > 1) & (values <= _FEW_VALUES))
    columns = np.flatnonzero(values > _FEW_VALUES)
    if num_clusters <= len(x):
        for _ in range(_SCREENINGS):
            before = len(columns)
            if before:
                columns = columns[_are_salient(x[:, columns], num_clusters, seed)]
            if len(columns) == before:
                break
    return np.union1d(columns, untold)


def _are_salient(x: np.ndarray, num_clusters: int, seed: int) -> np.ndarray:
    """Of columns [n, M], none of them constant, whether clusters differ in each."""
    points, floor = (x - x.mean(axis=0)) / x.std(axis=0), 1e-3
    labels = initialize.latent_mixture(
        points,
        num_clusters,
        seed=seed,
        covariance="diag",
        starts=3,
        variance_floor=floor,
    ).predict(points)
    gain = np.zeros(points.shape[1])
    for cluster in np.unique(labels):
        members = points[labels == cluster]
        gain -= 0.5 * len(members) * np.log(members.var(axis=0) + floor)
    return gain > (num_clusters - 1) * math.log(len(points))


def _components(x: np.ndarray, prepared: Callable[[np.ndarray], np.ndarray]) -> Space:
    """Prepared rows x as points: their leading components, if they have many."""
    number = min(COMPONENTS, *(side - 1 for side in x.shape))
    if x.shape[1] <= COMPONENTS or number < 2:
        return Space(x, prepared)
    model = PCA(number, svd_solver="randomized", random_state=0).fit(x)
    return Space(model.transform(x), lambda rows: model.transform(prepared(rows)))


def first_copies(x: np.ndarray | sparse.csr_array) -> np.ndarray:
    """The first row that each row is a copy of, [n]: itself, where none is before it.

    Args:
      x: data, shape [n, D].
    """
    if sparse.issparse(x):
        x = sparse.csr_array(x).sorted_indices()
        ends = zip(x.indptr[:-1], x.indptr[1:], strict=True)
        rows = ((x.indices[i:j].tobytes(), x.data[i:j].tobytes()) for i, j in ends)
    else:
        rows = (row.tobytes() for row in np.ascontiguousarray(x))
    first: dict[Any, int] = {}
    return np.array([first.setdefault(row, i) for i, row in enumerate(rows)])


def nearest(
    points: np.ndarray | sparse.csr_array,
    num_neighbors: int,
    first: np.ndarray | None = None,
) -> Graph:
    """The graph of the nearest points of each, by which an ensemble judges.

    Copies of a row are none of its neighbours: a row of many would have no others, and
    copies that are islands are parted from the rest at no cost.

    Args:
      points: shape [n, M].
      num_neighbors: of each, at most.
      first: of ``first_copies``; None: there are none.
    """
    num_points = points.shape[0]
    if first is None or not np.any(first):  # or all rows are the same
        first = np.arange(num_points)
    different = np.unique(first)
    found = knn(points[different], min(num_neighbors, len(different) - 1))
    place = np.searchsorted(different, first)
    indices, distances = (of_different[place] for of_different in found)
    return local_affinity(different.astype(indices.dtype)[indices], distances)


def labels_in(
    points: np.ndarray | sparse.csr_array, graph: Graph, num_clusters: int, seed: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Clusters points in all ways that suit them.

    Args:
      points: shape [N, M].
      graph: of their neighbours, [N, S].
      num_clusters: K.
      seed: of all random starts.

    Yields:
      "kmeans", "mixture", "ward", "spectral M" of M eigenvectors or "components" (of
      the graph), and its labels [N].
    """
    num_points = points.shape[0]
    with threads_for(num_points):
        kmeans = KMeans(num_clusters, n_init=10, random_state=seed).fit(points)
    yield "kmeans", kmeans.labels_
    if not sparse.issparse(points):
        yield "mixture", mixture_labels(points, num_clusters, seed)
        if num_points <= _MOST_LINKED:
            yield "ward", AgglomerativeClustering(num_clusters).fit_predict(points)
    if num_points >= 4:
        most = min(math.ceil(1.6 * num_clusters), num_points - 2)
        numbers = (num_clusters - 1, num_clusters, round(1.3 * num_clusters), most)
        vectors = spectral_embedding(affinity_matrix(graph), most)
        for number in sorted({min(max(1, number), most) for number in numbers}):
            leading = vectors[:, :number]
            yield f"spectral {number}", spectral_kmeans(leading, num_clusters, seed)
        yield "components", component_labels(graph, num_clusters)


def mixture_labels(points: np.ndarray, num_clusters: int, seed: int) -> np.ndarray:
    """The components of a Gaussian mixture of full covariances, int32 [N].

    Args:
      points: shape [N, M]; of more columns, ten principal components are taken.
      num_clusters: K.
      seed: of three starts.
    """
    points = points.astype(np.float64)
    if points.shape[1] > _MIXED_COMPONENTS:
        points = PCA(_MIXED_COMPONENTS, random_state=0).fit_transform(points)
    model = initialize.latent_mixture(
        points,
        num_clusters,
        seed=seed,
        covariance="full",
        starts=3,
        variance_floor=1e-3 * float(points.var(axis=0).mean()) + 1e-9,
    )
    return model.predict(points).astype(np.int32)


def clusterings(
    spaces: Mapping[str, Space],
    graphs: Mapping[str, Graph],
    num_clusters: int,
    seed: int,
) -> list[Clustering]:
    """An ensemble: what is found in all spaces in all ways.

    Args:
      spaces: at least one, by name.
      graphs: of each space.
      num_clusters: K.
      seed: of all random starts.

    Returns:
      The clusterings without an empty cluster; K-means' of the first space if there is
      no other.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = [
            Clustering(name, method, labels.astype(np.int32))
            for name, space in spaces.items()
            for method, labels in labels_in(
                space.points, graphs[name], num_clusters, seed
            )
        ]
    full = [one for one in found if len(np.unique(one.labels)) == num_clusters]
    return full or found[:1]


def trust(ensemble: Sequence[Clustering], unheard: Collection[str] = ()) -> np.ndarray:
    """How much each clustering counts in the judgement of each other.

    Half of it are those of its own space, half those of all. What different methods
    find alike in a space is there: of images, a network's embedding has clear clusters
    that a majority of views of the pixels would outvote. Within each half, what looks
    for compact clusters in a space counts as much as what follows its graph, however
    many clusterings they are: those of one kind resemble each other.

    Args:
      ensemble: E clusterings.
      unheard: spaces that may have clear clusters where the data have none; what is
        found in them is judged by all alone.

    Returns:
      Weights [E, E], of a row those of the others; their sum is 1.
    """
    spaces = np.array([one.space for one in ensemble])
    kinds = np.array([f"{one.space} {one.follows_graph}" for one in ensemble])
    weights = np.zeros((len(ensemble), len(ensemble)))
    for i, space in enumerate(spaces):
        others = np.arange(len(ensemble)) != i
        own = others if space in unheard else others & (spaces == space)
        for half in (own, others):
            groups = [half & (kinds == kind) for kind in np.unique(kinds[half])]
            for group in groups:
                weights[i] += group / (2.0 * len(groups) * group.sum())
    return weights


def mutual_informations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The normalised mutual information of every pair of clusterings.

    Args:
      a: integers from 0 on, shape [C, N].
      b: the same, shape [E, N].

    Returns:
      NMI by the arithmetic mean of the entropies (erratum E32), shape [C, E].
    """
    num_points = a.shape[1]

    def entropy(counts: np.ndarray) -> float:
        return float(special.entr(counts / num_points).sum())

    entropies = [[entropy(np.bincount(row)) for row in rows] for rows in (a, b)]
    table = np.empty((len(a), len(b)))
    width = int(b.max()) + 1
    for i, row in enumerate(a.astype(np.int64) * width):
        for j, other in enumerate(b):
            total = entropies[0][i] + entropies[1][j]
            shared = total - entropy(np.bincount(row + other))
            # Two clusterings of one cluster each are the same.
            table[i, j] = 2 * shared / total if total > 0 else 1.0
    return table


def standing(agreement: ArrayLike, certainty: ArrayLike) -> np.ndarray:
    """What labels are ranked by: agreement, and how few neighbours they part.

    Tenfold fewer are worth as much as an NMI of 0.2 more with the ensemble.

    Args:
      agreement: mean NMI with the ensemble, in [0, 1].
      certainty: mean over the graphs of ``neighbor_certainty``, in [0, 1].
    """
    parted = 1.0 + _LEAST_PARTED - np.minimum(certainty, 1.0)
    return np.asarray(agreement) - 0.2 * np.log10(parted)


def ranking(ensemble: Sequence[Clustering], standings: ArrayLike) -> list[int]:
    """The order of clusterings, the best first; K-means of the data has a lead of 0.03.

    It is what a user would take instead: only what is clearly better comes before it.

    Args:
      ensemble: E clusterings.
      standings: of each, shape [E].

    Returns:
      Their indices.
    """
    simple = [(one.space, one.method) == ("data", "kmeans") for one in ensemble]
    order = np.argsort(
        -(np.asarray(standings) + _LEAD * np.array(simple)), kind="stable"
    )
    return order.tolist()


def neighbor_certainty(
    graphs: Iterable[Graph], labels: np.ndarray, num_clusters: int
) -> float:
    """How much of a label those of neighbours tell, in [0, 1].

    That is I(c_i; c_j) / ln K, which clusters of like size have most of. But where
    hardly any neighbours are parted, sizes are no reason against clusters: it is at
    least 1 - 5 (1 - I / H) with the entropy H of the labels.

    Args:
      graphs: of the same points; the mean over them is returned.
      labels: of the points, in 0..K-1, shape [N].
      num_clusters: K.
    """
    if num_clusters == 1:  # one cluster tells nothing
        return 0.0
    found = [information_and_entropy(graph, labels) for graph in graphs]
    information, entropy = (float(mean) for mean in np.mean(found, axis=0))
    if not entropy:  # nor does one cluster among several
        return 0.0
    lost = 1.0 - information / entropy
    return min(1.0, max(information / math.log(num_clusters), 1.0 - _LOST * lost))
