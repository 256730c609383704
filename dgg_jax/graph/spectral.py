"""Spectral clustering of a similarity graph."""

import functools

import numpy as np
from scipy import sparse, special
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, eigsh
from sklearn.cluster import KMeans

from dgg_jax import checks
from dgg_jax.placement.rows import threads_for
from dgg_jax.types import Graph

# Points up to which all eigenvectors are computed: a Lanczos iteration breaks down on
# small graphs of few different eigenvalues.
_DENSE_LIMIT = 100


def affinity_matrix(graph: Graph) -> sparse.csr_array:
    """The undirected affinity (W + W^T) / 2 of a directed graph, shape [N, N].

    Raises:
      InvalidInput: if indices and weights are not both of shape [N, S].
    """
    checks.shapes(graph=(graph, "N S"))
    indices = np.asarray(graph.indices)
    num_points, num_neighbors = indices.shape
    rows = np.repeat(np.arange(num_points), num_neighbors)
    weights = np.asarray(graph.weights, np.float64).ravel()
    shape = (num_points, num_points)
    directed = sparse.csr_array((weights, (rows, indices.ravel())), shape)
    return (0.5 * (directed + directed.T)).tocsr()


def spectral_embedding(affinity: sparse.csr_array, num_eigenvectors: int) -> np.ndarray:
    """Leading eigenvectors of the normalised affinity D^-1/2 W D^-1/2.

    The first, D^1/2 1, says nothing and is left out. Ng, Jordan and Weiss, NIPS 2001.
    A graph of C components has C - 1 others of eigenvalue 1, of which a Lanczos
    iteration would miss some: they are written down, the largest components first.

    Args:
      affinity: symmetric, every row with a positive sum, shape [N, N].
      num_eigenvectors: how many.

    Returns:
      The eigenvectors, leading first, float64 of shape [N, num_eigenvectors].

    Raises:
      InvalidInput: if affinity is not square or num_eigenvectors not in [1, N - 2].
    """
    checks.shapes(affinity=(affinity, "N N"))
    num_points = affinity.shape[0]
    checks.in_range("num_eigenvectors", num_eigenvectors, 1, num_points - 2)
    root_degree = np.sqrt(affinity.sum(axis=1))
    scaling = sparse.diags_array(1.0 / root_degree)
    normalized = (scaling @ affinity @ scaling).tocsr()
    return leading_eigenvectors(normalized, root_degree, num_eigenvectors)


def leading_eigenvectors(
    normalized: sparse.csr_array, first: np.ndarray, num_eigenvectors: int
) -> np.ndarray:
    """Eigenvectors of the largest eigenvalues, beside the first, which is known.

    Args:
      normalized: symmetric, its eigenvalues within [-1, 1], shape [N, N].
      first: of eigenvalue 1, without zeros; so is its part on each component, [N].
      num_eigenvectors: how many.

    Returns:
      The eigenvectors, leading first, float64 of shape [N, num_eigenvectors].
    """
    num_points = normalized.shape[0]
    num_components, component = connected_components(normalized, directed=False)
    mass = np.bincount(component, first**2)
    num_known = min(num_components - 1, num_eigenvectors)
    largest = np.argsort(-mass, kind="stable")[:num_known]
    indicators = first[:, None] * (component[:, None] == largest[None])
    known, _ = np.linalg.qr(np.column_stack([first, indicators]))
    known = known[:, 1:]
    if num_known == num_eigenvectors:
        return known

    def deflated(v):
        v = np.ravel(v)  # a matrix comes column by column, as [N, 1]
        # The shift by the identity makes all eigenvalues >= 0, so that the largest in
        # magnitude are the leading ones; the known ones drop to 0.
        share = np.bincount(component, first * v) / mass
        return normalized @ v + v - 2.0 * first * share[component]

    operator = LinearOperator(normalized.shape, matvec=deflated, dtype=np.float64)
    if num_points <= _DENSE_LIMIT:
        values, vectors = np.linalg.eigh(operator @ np.eye(num_points))
    else:
        # A fixed start makes the result a function of the graph alone.
        start = np.random.default_rng(0).standard_normal(num_points)
        k = num_eigenvectors - num_known
        values, vectors = eigsh(operator, k=k, which="LM", v0=start, tol=1e-5)
    order = np.argsort(-values, kind="stable")[: num_eigenvectors - num_known]
    return np.column_stack([known, vectors[:, order]])


def graph_information(graph: Graph, labels: np.ndarray) -> float:
    """How much the cluster of a point tells of the cluster of its neighbour, in nats.

    The mutual information I(c_i; c_j) of the labels at the two ends of an edge, drawn
    by its weight in (W + W^T) / 2. Clusters that few edges leave and that are of like
    size have much of it, ln K at most; one cluster has none. Among labels of the same
    K it ranks by accuracy where the normalised cut does not, see docs/accuracy.md; it
    prefers clusters of like size, which not all data have.

    Args:
      graph: indices and weights, shape [N, S].
      labels: non-negative integers, shape [N].

    Returns:
      I(c_i; c_j) in [0, ln K].

    Raises:
      InvalidInput: if shapes are not as above.

    Example:
      Two pairs of neighbours, told apart and not:

      >>> import numpy as np
      >>> from dgg_jax.graph import graph_information, knn, neighbor_weights
      >>> graph = neighbor_weights(*knn([[0], [1], [7], [8]], k=1))
      >>> graph_information(graph, np.array([0, 0, 1, 1]))  # ln 2
      0.6931471805599453
      >>> graph_information(graph, np.array([0, 0, 0, 0]))
      0.0
    """
    return information_and_entropy(graph, labels)[0]


def information_and_entropy(graph: Graph, labels: np.ndarray) -> tuple[float, float]:
    """``graph_information``, and what it is at most for clusters of these sizes.

    Args:
      graph: indices and weights, shape [N, S].
      labels: non-negative integers, shape [N].

    Returns:
      I(c_i; c_j) in [0, H], and the entropy H of the label at an end of an edge, in
      nats; they are the same if no edge joins two clusters.

    Raises:
      InvalidInput: if shapes are not as above.
    """
    labels = np.asarray(labels)
    checks.shapes(graph=(graph, "N S"), labels=(labels, "N"))
    num_clusters = int(labels.max()) + 1
    pairs = labels[:, None] * num_clusters + labels[np.asarray(graph.indices)]
    weights = np.asarray(graph.weights, np.float64).ravel()
    joint = np.bincount(pairs.ravel(), weights, num_clusters**2)
    joint = joint.reshape(num_clusters, num_clusters) / weights.sum()
    joint = 0.5 * (joint + joint.T)
    marginal = joint.sum(axis=1)
    ratio = joint / np.maximum(np.outer(marginal, marginal), np.finfo(float).tiny)
    information = float(max(0.0, special.xlogy(joint, ratio).sum()))
    return information, float(special.entr(marginal).sum())


def component_labels(graph: Graph, num_clusters: int) -> np.ndarray:
    """The connected components of a graph, if K of them are of some size.

    Args:
      graph: indices and weights, shape [N, S].
      num_clusters: K.

    Returns:
      Labels, int32 of shape [N]; all 0 unless exactly K components have a hundredth of
      an even share; smaller ones go to the largest.
    """
    num_points = len(graph.indices)
    _, component = connected_components(affinity_matrix(graph), directed=False)
    sizes = np.bincount(component)
    sizeable = np.flatnonzero(sizes >= max(2, num_points / (100 * num_clusters)))
    if len(sizeable) != num_clusters:
        return np.zeros(num_points, np.int32)
    label = np.full(len(sizes), np.argmax(sizes[sizeable]))
    label[sizeable] = np.arange(num_clusters)
    return label[component].astype(np.int32)


def spectral_kmeans(
    vectors: np.ndarray,
    num_clusters: int,
    seed: int | np.random.RandomState,
    starts: int = 10,
) -> np.ndarray:
    """K-means on the normalised rows of eigenvectors [N, M]: labels, int32 [N]."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = vectors / np.maximum(lengths, np.finfo(np.float64).tiny)
    kmeans = KMeans(num_clusters, n_init=starts, random_state=seed)
    with threads_for(len(vectors)):
        return kmeans.fit_predict(rows).astype(np.int32)


def spectral_labels(
    graph: Graph, num_clusters: int, num_eigenvectors: int, seed: int
) -> np.ndarray:
    """Clusters a graph: K-means on the normalised rows of its spectral embedding.

    How many eigenvectors do best differs between graphs, and so does what K-means ends
    in: five numbers from K to num_eigenvectors are tried, with ten starts of K-means
    each, and the labels with the largest ``graph_information`` are kept. A graph of
    exactly K sizeable components needs neither, and a rare one would lose by it.

    Args:
      graph: indices and weights, shape [N, S].
      num_clusters: K.
      num_eigenvectors: how many to take at most; cut to N - 2.
      seed: of K-means' starts.

    Returns:
      Labels in 0..K-1, int32 of shape [N].

    Raises:
      InvalidInput: if shapes are not as above.

    Example:
      Two groups of three points that are neighbours of each other:

      >>> from dgg_jax.graph import knn, neighbor_weights, spectral_labels
      >>> graph = neighbor_weights(*knn([[0], [1], [2], [7], [8], [9]], k=2))
      >>> labels = spectral_labels(graph, num_clusters=2, num_eigenvectors=2, seed=0)
      >>> (labels == labels[0]).tolist()
      [True, True, True, False, False, False]
    """
    checks.shapes(graph=(graph, "N S"))
    num_points = len(graph.indices)
    if num_clusters == 1 or num_points < 4:
        # Too few points for eigenvectors.
        return np.arange(num_points, dtype=np.int32) % num_clusters
    components = component_labels(graph, num_clusters)
    if components.any():
        return components
    most = min(num_eigenvectors, num_points - 2)
    vectors = spectral_embedding(affinity_matrix(graph), most)
    numbers = np.linspace(min(num_clusters, most), most, 5).round().astype(int)
    random = np.random.RandomState(seed)  # a stream: of a number all starts are equal
    candidates = [
        spectral_kmeans(vectors[:, :number], num_clusters, random, starts=1)
        for number in dict.fromkeys(numbers.tolist())
        for _ in range(10)
    ]
    return max(candidates, key=functools.partial(graph_information, graph))
