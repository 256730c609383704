r"""Local discriminant models, and their global integration (LDMGI).

Yang, Xu, Nie, Yan and Zhuang, "Image clustering using local discriminant models and
global integration", IEEE Transactions on Image Processing 19(10), 2010. Every row and
its nearest form a clique, in which a ridge regression tells clusters apart; what the
cliques lose is summed to a Laplacian,

.. math::
  L = \sum_i S_i L_i S_i^T, \qquad
  L_i = H (\tilde X_i^T \tilde X_i + \lambda I)^{-1} H, \qquad \tilde X_i = X_i H,

with :math:`H = I - \frac{1}{k} \mathbf{1} \mathbf{1}^T` and S_i that places the k rows
of clique i. Clusters are what its K smallest eigenvectors are rotated to.

The text of the paper was not at hand: the equations are as they are commonly quoted,
the rotation is that of Yu and Shi, "Multiclass spectral clustering", ICCV 2003.
"""

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import eigsh

from dgg_jax import checks
from dgg_jax.graph.spectral import leading_eigenvectors

_BLOCK_VALUES = 2**24  # of the cliques that are worked on at once
_ROTATIONS = 200  # at most; some dozens are usual


def discriminant_laplacian(
    x: np.ndarray, indices: np.ndarray, regularization: float
) -> sparse.csr_array:
    """The Laplacian L of all cliques, symmetric and positive semidefinite.

    As lambda grows, lambda L goes to the sum of the cliques' H: the Laplacian of the
    graph that joins all rows of a clique with weight 1 / k.

    Args:
      x: data, shape [N, D].
      indices: of the k - 1 nearest rows of each, shape [N, k - 1].
      regularization: lambda, positive, in squared units of x.

    Returns:
      L, shape [N, N], whose null space holds the ones vector.

    Raises:
      InvalidInput: if shapes are not as above.
    """
    indices = np.asarray(indices)
    checks.shapes(x=(x, "N D"), indices=(indices, "N M"))
    num_points, num_features = x.shape
    cliques = np.column_stack([np.arange(num_points), indices])
    size = cliques.shape[1]
    centering = np.eye(size) - 1.0 / size
    total = sparse.csr_array((num_points, num_points))
    step = max(1, _BLOCK_VALUES // (size * num_features))
    for first in range(0, num_points, step):
        block = cliques[first : first + step]
        members = np.asarray(x[block.ravel()], np.float64)
        centered = centering @ members.reshape(*block.shape, num_features)
        gram = centered @ centered.transpose(0, 2, 1)
        inverse = np.linalg.inv(gram + regularization * np.eye(size))
        local = centering @ inverse @ centering
        rows = np.repeat(block, size, axis=1).ravel()
        columns = np.tile(block, (1, size)).ravel()
        entries = (local.ravel(), (rows, columns))
        total = total + sparse.csr_array(entries, (num_points, num_points))
    return 0.5 * (total + total.T)


def smallest_eigenvectors(
    laplacian: sparse.csr_array, num_eigenvectors: int
) -> np.ndarray:
    """Those of a Laplacian, the ones vector first, [N, num_eigenvectors].

    Args:
      laplacian: positive semidefinite with the ones vector in its null space, [N, N].
      num_eigenvectors: how many.
    """
    num_points = laplacian.shape[0]
    ones = np.ones(num_points)
    first = ones[:, None] / np.sqrt(num_points)
    if num_eigenvectors == 1:
        return first
    start = np.random.default_rng(0).standard_normal(num_points)
    (largest,) = eigsh(laplacian, 1, v0=start, tol=1e-2, return_eigenvectors=False)
    # Within [-1, 1], the smallest first.
    turned = sparse.eye_array(num_points) - (2.0 / (1.02 * largest)) * laplacian
    others = leading_eigenvectors(turned.tocsr(), ones, num_eigenvectors - 1)
    return np.column_stack([first, others])


def rotated_labels(vectors: np.ndarray) -> np.ndarray:
    """Labels of the rows of eigenvectors, by the rotation that fits them best.

    Minimises ||Y - G R||^2 over indicators Y and orthogonal R, in turns, G being the
    rows at length 1; R starts with rows that are as orthogonal as can be.

    Args:
      vectors: orthonormal columns, shape [N, K].

    Returns:
      Labels in 0..K-1, int32 of shape [N].
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = vectors / np.maximum(lengths, np.finfo(float).tiny)
    num_clusters = rows.shape[1]
    rotation = _orthogonal_rows(rows)
    labels = np.full(len(rows), -1)
    for _ in range(_ROTATIONS):
        before, labels = labels, (rows @ rotation).argmax(axis=1)
        if np.array_equal(before, labels):
            break
        indicators = np.eye(num_clusters)[labels]
        left, _, right = np.linalg.svd(rows.T @ indicators)
        rotation = left @ right
    return labels.astype(np.int32)


def _orthogonal_rows(rows: np.ndarray) -> np.ndarray:
    """K rows, each the least like those before it, as columns [K, K]."""
    num_clusters = rows.shape[1]
    chosen = [rows[0]]
    likeness = np.zeros(len(rows))
    for _ in range(num_clusters - 1):
        likeness += np.abs(rows @ chosen[-1])
        chosen.append(rows[likeness.argmin()])
    return np.column_stack(chosen)
