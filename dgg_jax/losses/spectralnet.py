"""The loss of SpectralNet: neighbours map close together, under orthonormal outputs.

Shaham, Stanton, Li, Nadler, Basri and Kluger, "SpectralNet: spectral clustering using
deep neural networks", ICLR 2018. Everything here is of a batch: an affinity belongs to
a pair of points, and orthonormality to all of them. The paper's text was not at hand:
equation numbers are from memory, details from the authors' released code.
"""

import math

import jax
import jax.numpy as jnp

from dgg_jax import checks
from dgg_jax.types import Array


def squared_distances(points: Array) -> jax.Array:
    """Squared distances of all pairs of rows, exactly 0 between equal ones.

    Args:
      points: shape [B, L].

    Returns:
      Squared distances, shape [B, B].

    Raises:
      InvalidInput: if shapes are not as above.
    """
    checks.shapes(points=(points, "B L"))

    def from_point(point):
        # Differences, not products: those lose the distances of close points.
        return jnp.sum((points - point[None]) ** 2, axis=1)

    return jax.vmap(from_point)(points)


def gaussian_affinity(embedding: Array, num_neighbors: int) -> jax.Array:
    r"""W of a batch: a Gaussian of the distance to each point's nearest in the batch.

    .. math::
      w_{ij} = \begin{cases} \exp\left( -d_{ij}^2 / (2 s^2) \right)
      & \text{if } j \text{ is among the } k \text{ nearest of } i, \\
      0 & \text{otherwise,} \end{cases}

    then (W + W^T) / 2. s is the median over the batch of the distance to the k-th
    neighbour. The distances are those of the Siamese embedding in the paper. The
    released code counts a point among its own neighbours; here its weight is 0, which
    alters ``loss`` only where it is normalised. Points as far as the k-th neighbour
    count as well, so that the order of points at equal distances has no say.

    Args:
      embedding: points between which distances are similarities, shape [B, L], B >= 2.
      num_neighbors: k; cut to B - 1.

    Returns:
      W, symmetric, entries in [0, 1], zero diagonal, shape [B, B].

    Raises:
      InvalidInput: if shapes are not as above.
    """
    checks.shapes(embedding=(embedding, "B L"))
    batch_size = len(embedding)
    itself = jnp.eye(batch_size, dtype=bool)
    squared = jnp.where(itself, jnp.inf, squared_distances(embedding))
    nearest, _ = jax.lax.top_k(-squared, min(num_neighbors, batch_size - 1))
    # The minimum, not the last: XLA would turn top_k[:, -1] into a full sort.
    farthest = -jnp.min(nearest, axis=1)
    scale = jnp.median(jnp.sqrt(farthest))
    # Among duplicates the scale is 0: equal points are at affinity 1, others at 0.
    tiny = jnp.finfo(embedding.dtype).tiny
    gaussian = jnp.exp(-squared / jnp.maximum(2.0 * scale**2, tiny))
    affinity = jnp.where(squared <= farthest[:, None], gaussian, 0.0)
    return 0.5 * (affinity + affinity.T)


def loss(outputs: Array, affinity: Array, *, normalized: bool = False) -> jax.Array:
    r"""The loss of a batch, eq. (3) of SpectralNet.

    .. math::
      \frac{1}{B^2} \sum_{ij} w_{ij} \lVert y_i - y_j \rVert^2
      = \frac{2}{B^2} \operatorname{tr}(Y^\top (D - W) Y)

    Under Y^T Y = B I its minimum spans the first eigenvectors of the graph Laplacian.
    Normalised, y_i is divided by sqrt(d_i), which makes that the symmetric normalised
    Laplacian I - D^(-1/2) W D^(-1/2).

    Args:
      outputs: y, shape [B, K], after the orthonormalising layer.
      affinity: W, shape [B, B].
      normalized: whether to divide by the square roots of the degrees; a point of
        degree 0 has no pairs and counts nothing.

    Returns:
      The loss of the batch, a scalar.

    Raises:
      InvalidInput: if shapes are not as above.

    Example:
      >>> import jax.numpy as jnp
      >>> from dgg_jax.losses import spectralnet
      >>> affinity = jnp.array([[0.0, 1.0], [1.0, 0.0]])
      >>> spectralnet.loss(jnp.array([[0.0], [2.0]]), affinity)
      Array(2., dtype=float32)
    """
    checks.shapes(outputs=(outputs, "B K"), affinity=(affinity, "B B"))
    if normalized:
        degrees = jnp.sum(affinity, axis=1)
        connected = degrees > 0.0
        inverse = jnp.where(
            connected, 1.0 / jnp.sqrt(jnp.where(connected, degrees, 1.0)), 0.0
        )
        outputs = outputs * inverse[:, None]
    return jnp.mean(affinity * squared_distances(outputs))


def orthonormalizer(outputs: Array, ridge: float = 1e-10) -> jax.Array:
    r"""The matrix R such that Y = Y~ R has Y^T Y = B I, eq. (4) of SpectralNet.

    .. math::
      R = \sqrt{B} \, (\Lambda^{-1})^\top,
      \qquad \Lambda \Lambda^\top = \tilde{Y}^\top \tilde{Y},

    with the Cholesky factor Lambda, as in the paper, but by the QR decomposition of Y~,
    whose triangle is Lambda^T: the product Y~^T Y~ would square the condition number,
    and in float32 have no Cholesky factor from about 3,000 on. Columns that depend
    on each other are kept finite by a ridge on the diagonal of Y~^T Y~, here as further
    rows sqrt(ridge) I of Y~; they come out smaller than 1.

    Args:
      outputs: Y~, shape [B, K].
      ridge: in units of the mean diagonal element of Y~^T Y~.

    Returns:
      R, upper triangular with a positive diagonal, shape [K, K].

    Raises:
      InvalidInput: if shapes are not as above.
    """
    checks.shapes(outputs=(outputs, "B K"), ridge=(ridge, ""))
    batch_size, num_outputs = outputs.shape
    tiny = jnp.finfo(outputs.dtype).tiny
    scale = jnp.sqrt(jnp.maximum(jnp.sum(outputs**2) / num_outputs, tiny))
    identity = jnp.eye(num_outputs, dtype=outputs.dtype)
    # Of order 1, so that the ridge is not lost where the outputs are tiny.
    rows = jnp.concatenate([outputs / scale, ridge**0.5 * identity])
    triangle = jnp.linalg.qr(rows, mode="r")
    # QR leaves the signs of the rows open; Cholesky's diagonal is positive.
    triangle = triangle * jnp.sign(jnp.diagonal(triangle))[:, None]
    inverse = jax.scipy.linalg.solve_triangular(triangle, identity)
    return math.sqrt(batch_size) / scale * inverse
