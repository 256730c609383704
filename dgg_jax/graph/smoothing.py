"""The operator A = (1 - eta/2) I + (eta/2) W and what training needs of it.

The node form of the objective (``losses.dgg.node_objective``) replaces the neighbours
of a point by sums over A: degrees and statistics, computed once on the host in float64,
and pi and r, recomputed from the table of gammas on the device at every epoch.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse, special

from dgg_jax import checks
from dgg_jax.distributions import floor_log
from dgg_jax.likelihoods import (
    BatchStatistics,
    Bernoulli,
    CenteredStatistics,
    Constant,
    CountStatistics,
    GaussianLikelihood,
    InBatches,
    Likelihood,
    Masked,
    MaskedStatistics,
    NegativeBinomial,
)
from dgg_jax.placement import devices
from dgg_jax.placement.rows import HostRows, SparseRows, sparse_rows
from dgg_jax.storage import arrays
from dgg_jax.types import Graph

_BLOCK_ELEMENTS = 2**22  # float64 elements a host computation holds at a time


def smoothing_operator(graph: Graph, graph_strength: float = 1.0) -> sparse.csr_array:
    r"""The operator A that mixes a point with its neighbours; its rows sum to 1.

    .. math:: A = \left(1 - \frac{\eta}{2}\right) I + \frac{\eta}{2} W

    Erratum E5 says how this is eq. (19) of DGG.

    Args:
      graph: indices and weights of shape [N, S], rows of weights summing to 1.
      graph_strength: eta in [0, 2]; 1 is eq. (19) of DGG.

    Returns:
      A as a float64 scipy.sparse.csr_array of shape [N, N].

    Raises:
      InvalidInput: if graph_strength lies outside [0, 2], the shapes differ, or an
        index is out of range.

    Example:
      >>> from dgg_jax.graph import knn, neighbor_weights, smoothing_operator
      >>> graph = neighbor_weights(*knn([[0.0], [1.0], [3.0]], k=1))
      >>> smoothing_operator(graph).toarray()
      array([[0.5, 0.5, 0. ],
             [0.5, 0.5, 0. ],
             [0. , 0.5, 0.5]])
    """
    checks.in_range("graph_strength", graph_strength, 0, 2)
    indices = np.asarray(graph.indices)
    weights = np.asarray(graph.weights, np.float64)
    num_points = len(indices)
    if indices.ndim != 2 or indices.shape != weights.shape:
        raise checks.InvalidInput(
            "graph.indices and graph.weights must both be [N, S], got shapes "
            f"{indices.shape} and {weights.shape}."
        )
    if indices.size and not 0 <= indices.min() <= indices.max() < num_points:
        raise checks.InvalidInput(
            f"graph.indices must lie in [0, {num_points - 1}], got values from "
            f"{indices.min()} to {indices.max()}."
        )
    # float32 rows sum to 1 only to 1e-7.
    weights = weights / weights.sum(axis=1, keepdims=True)
    rows = np.repeat(np.arange(num_points), indices.shape[1])
    shape = (num_points, num_points)
    neighbors = sparse.csr_array((weights.ravel(), (rows, indices.ravel())), shape)
    identity = sparse.eye_array(num_points, format="csr")
    operator = (1 - graph_strength / 2) * identity + graph_strength / 2 * neighbors
    operator.eliminate_zeros()
    return operator.tocsr()


class SmoothedData(NamedTuple):
    """What the node form knows of the points that a source j speaks for.

    Attributes:
      statistics: t_j of every source, leaves of shape [N, ...]: CenteredStatistics for
        Gaussians, else the likelihood's sufficient statistics; where values are
        missing, MaskedStatistics of them; of rows in batches BatchStatistics of all
        these.
      degree: d_j = sum_i A_ij, shape [N].
    """

    statistics: Any
    degree: jax.Array


def smooth_data(
    x: np.ndarray | SparseRows | HostRows,
    operator: sparse.csr_array,
    likelihood: Likelihood,
) -> SmoothedData:
    r"""Sums the statistics of all points over A, once, in float64.

    .. math:: t_j = \sum_i A_{ij} T(x_i), \qquad d_j = \sum_i A_{ij}

    Args:
      x: data, shape [N, D]; of rows in batches dense, shape [N, D + M].
      operator: A, shape [N, N].
      likelihood: one of dgg_jax.likelihoods.

    Returns:
      SmoothedData of float32 numpy arrays; of sparse data the sums are sparse, too; of
      HostRows they are HostRows of temporary files.

    Raises:
      InvalidInput: if shapes are not as above, or x is sparse and the likelihood needs
        the scatter of each column.
      OSError: if the disk has no room for a temporary file.

    Example:
      >>> import numpy as np
      >>> from dgg_jax.graph import knn, neighbor_weights, smoothing, smoothing_operator
      >>> from dgg_jax.likelihoods import Bernoulli
      >>> x = np.array([[0.0], [0.5], [1.0]], np.float32)
      >>> operator = smoothing_operator(neighbor_weights(*knn(x, k=1)))
      >>> data = smoothing.smooth_data(x, operator, Bernoulli())
      >>> data.degree
      array([1. , 1.5, 0.5], dtype=float32)
    """
    if isinstance(likelihood, Constant):
        likelihood = likelihood.likelihood  # whose class tells its statistics
    checks.shapes(x=(x, "N D"), operator=(operator, "N N"))
    if isinstance(likelihood, InBatches):
        return _smooth_batches(x, operator, likelihood)
    transposed = operator.T.tocsr()
    degree = np.asarray(transposed.sum(axis=1)).ravel()
    if isinstance(x, SparseRows | HostRows):
        summed = _host_statistics if _is_dense(x, likelihood) else _sparse_statistics
        statistics = summed(x, transposed, degree, likelihood)
        return SmoothedData(statistics, degree.astype(np.float32))
    if isinstance(likelihood, NegativeBinomial):
        leaves = _of_counts(x, likelihood)
        sums = (_summed(transposed, leaf, arrays.aligned_empty) for leaf in leaves)
        statistics = CountStatistics(*sums)
        return SmoothedData(statistics, degree.astype(np.float32))
    if isinstance(likelihood, Masked):
        there = ~np.isnan(x)
        of_columns = _summed(transposed, there)  # float64: means are over them
        sums = _dense_statistics(x, transposed, of_columns, likelihood.likelihood)
        statistics = MaskedStatistics(sums, of_columns.astype(np.float32))
    else:
        statistics = _dense_statistics(x, transposed, degree[:, None], likelihood)
    return SmoothedData(statistics, degree.astype(np.float32))


def _smooth_batches(
    x: np.ndarray, operator: sparse.csr_array, likelihood: InBatches
) -> SmoothedData:
    """The sums of ``smooth_data`` over the rows of each batch, beside each other."""
    num_batches = likelihood.num_batches
    values, batches = x[:, :-num_batches], x[:, -num_batches:].astype(np.float64)
    summed = [
        smooth_data(values, sparse.diags_array(own) @ operator, likelihood.likelihood)
        for own in batches.T
    ]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *summed)
    degree = np.asarray(operator.sum(axis=0)).ravel()
    return SmoothedData(BatchStatistics(*stacked), degree.astype(np.float32))


def _dense_statistics(
    x: np.ndarray, transposed: sparse.csr_array, degree: np.ndarray, likelihood: Any
) -> Any:
    """The statistics of ``smooth_data`` of the values of x [N, D] that are there.

    Args:
      x: NaN where a value is missing.
      transposed: A^T.
      degree: of every source [N, 1], of its columns [N, D] if values are missing.
      likelihood: whose statistics they are.
    """
    there = x if degree.shape[1] == 1 else np.nan_to_num(x)
    if isinstance(likelihood, Bernoulli):
        return _summed(transposed, there, arrays.aligned_empty)
    mean = _summed(transposed, there)
    # At eta = 2 a point that is nobody's neighbour speaks for none, itself neither.
    mean /= np.where(degree > 0, degree, 1.0)
    by_column = not isinstance(likelihood, GaussianLikelihood)
    scatter = _scatter(x, transposed, mean, by_column)
    of_rows = arrays.aligned_empty(mean.shape)
    of_rows[...] = mean
    return CenteredStatistics(of_rows, scatter)


def _of_counts(x: np.ndarray, likelihood: NegativeBinomial) -> CountStatistics:
    """T of every row of counts [N, D], in float64."""
    x, theta = x.astype(np.float64), likelihood.dispersion
    size = x.sum(axis=1)
    constant = special.gammaln(x + theta) - special.gammaln(theta) - x * np.log(theta)
    constant -= special.gammaln(x + 1.0)
    return CountStatistics(
        x, x * size[:, None], size, constant.sum(axis=1) + special.xlogy(size, size)
    )


def _summed(
    weights: sparse.csr_array,
    rows: np.ndarray,
    allocate: Callable[[tuple[int, ...]], np.ndarray] = np.empty,
) -> np.ndarray:
    """Weights [M, N] times rows [N] or [N, D]: sums in float64, put where allocated."""
    total = allocate((weights.shape[0], *rows.shape[1:]))
    if rows.ndim == 1:
        total[:] = weights @ rows
        return total
    width = max(1, _BLOCK_ELEMENTS // max(1, len(rows)))
    for start in range(0, rows.shape[1], width):
        block = slice(start, start + width)
        total[:, block] = weights @ rows[:, block].astype(np.float64)
    return total


def _is_dense(x: SparseRows | HostRows, likelihood: Likelihood) -> bool:
    """Whether statistics of rows on the host are sums of dense rows."""
    if isinstance(x, SparseRows):
        return False
    by_column = not isinstance(likelihood, Bernoulli | GaussianLikelihood)
    return by_column or not sparse.issparse(x.source)


def _sparse_statistics(
    x: SparseRows | HostRows,
    transposed: sparse.csr_array,
    degree: np.ndarray,
    likelihood: Any,
) -> Any:
    """The statistics of ``smooth_data``, summed by blocks of sparse rows.

    They stay sparse; those of HostRows go to a temporary file, dense.
    """
    if not isinstance(likelihood, Bernoulli | GaussianLikelihood):
        raise checks.InvalidInput(
            "sparse data need the bernoulli or the gaussian likelihood, whose "
            f"statistics are sparse or one number; got {likelihood}. Make the data "
            "dense."
        )
    on_host = isinstance(x, HostRows)
    matrix = (x.source if on_host else x.matrix()).astype(np.float64)
    dense = arrays.temporary(x.shape) if on_host else None
    norms = matrix.multiply(matrix).sum(axis=1)
    weights = np.where(degree > 0, degree, 1.0)
    block = max(1, _BLOCK_ELEMENTS // matrix.shape[1])
    blocks, squares = [], []
    for start in range(0, len(x), block):
        part = transposed[start : start + block] @ matrix
        part = part.toarray() if on_host else part
        if isinstance(likelihood, GaussianLikelihood):
            part = part * (1.0 / weights[start : start + block, None])
            squares.append((part * part).sum(axis=1))
        if on_host:
            dense[start : start + block] = part
        else:
            blocks.append(part.astype(np.float32))
    if on_host:
        sums = HostRows(dense)
    else:
        sums = sparse_rows(sparse.vstack(blocks, format="csr"))
    if isinstance(likelihood, Bernoulli):
        return sums
    # sum_i A_ij |x_i - mean_j|^2, in float64, in which little is lost.
    scatter = transposed @ norms - degree * np.concatenate(squares)
    return CenteredStatistics(sums, np.maximum(scatter, 0.0).astype(np.float32))


def _host_statistics(
    x: HostRows, transposed: sparse.csr_array, degree: np.ndarray, likelihood: Any
) -> Any:
    """The statistics of ``smooth_data``, by blocks of rows, into temporary files."""
    if isinstance(likelihood, NegativeBinomial):
        return _host_sums(x, transposed, likelihood)
    sums = arrays.temporary(x.shape)
    by_column = not isinstance(likelihood, Bernoulli | GaussianLikelihood)
    scatters = arrays.temporary(x.shape) if by_column else np.empty(len(x), np.float32)
    weights = np.where(degree > 0, degree, 1.0)[:, None]
    for block, part, points in _speaking(x, transposed):
        total = part @ points
        if not isinstance(likelihood, Bernoulli):
            total /= weights[block]
            points -= np.repeat(total, np.diff(part.indptr), axis=0)
            points *= points
            scatter = part @ points
            scatters[block] = scatter if by_column else scatter.sum(axis=1)
        sums[block] = total
    if isinstance(likelihood, Bernoulli):
        return HostRows(sums)
    return CenteredStatistics(
        HostRows(sums), HostRows(scatters) if by_column else scatters
    )


def _host_sums(
    x: HostRows, transposed: sparse.csr_array, likelihood: NegativeBinomial
) -> CountStatistics:
    """The statistics of counts, by blocks of rows, into temporary files."""
    sums = CountStatistics(
        arrays.temporary(x.shape),
        arrays.temporary(x.shape),
        np.empty(len(x), np.float32),
        np.empty(len(x), np.float32),
    )
    for block, part, points in _speaking(x, transposed):
        of_rows = _of_counts(points, likelihood)
        for whole, leaf in zip(sums, of_rows, strict=True):
            whole[block] = _summed(part, leaf)
    counts, sized_counts, *scalars = sums
    return CountStatistics(HostRows(counts), HostRows(sized_counts), *scalars)


def _speaking(
    x: HostRows, transposed: sparse.csr_array
) -> Iterator[tuple[slice, sparse.csr_array, np.ndarray]]:
    """Blocks of sources: which, their rows of A^T, and the points that these weigh."""
    for block in _row_blocks(transposed, x.num_columns):
        entries = transposed[block]
        points = x[entries.indices].astype(np.float64)
        lengths, order = np.diff(entries.indptr), np.arange(len(points))
        part = sparse.csr_array(
            (entries.data, order, entries.indptr), (len(lengths), len(points))
        )
        yield block, part, points


def _row_blocks(matrix: sparse.csr_array, width: int) -> Iterator[slice]:
    """Blocks of the rows of a matrix, by how many entries of some width they have."""
    num_rows, pointer = matrix.shape[0], matrix.indptr
    most_entries = max(1, _BLOCK_ELEMENTS // width)
    start = 0
    while start < num_rows:
        stop = int(np.searchsorted(pointer, pointer[start] + most_entries, "right")) - 1
        stop = min(max(stop, start + 1), num_rows)
        yield slice(start, stop)
        start = stop


def _scatter(
    x: np.ndarray, transposed: sparse.csr_array, mean: np.ndarray, by_column: bool
) -> np.ndarray:
    """sum_i A_ij (x_i - mean_j)^2 for every j, without cancellation.

    float32 of shape [N, D], or, if not by column, their sums over columns [N].
    """
    scatter = arrays.aligned_empty(x.shape if by_column else (len(x),))
    scatter[...] = 0.0
    pointer = transposed.indptr
    for block in _row_blocks(transposed, x.shape[1]):
        start, stop = block.start, block.stop
        entries = slice(pointer[start], pointer[stop])
        owner = np.repeat(np.arange(start, stop), np.diff(pointer[start : stop + 1]))
        squared = (x[transposed.indices[entries]] - mean[owner]) ** 2
        squared[np.isnan(squared)] = 0.0  # of values that are missing
        squared *= transposed.data[entries, None]
        # Of an empty row reduceat would give the first entry of the next.
        filled = np.flatnonzero(np.diff(pointer[start : stop + 1]))
        if len(filled):
            sums = np.add.reduceat(
                squared, pointer[start:stop][filled] - pointer[start], axis=0
            )
            scatter[start + filled] = sums if by_column else sums.sum(axis=1)
    return scatter


class RowBuckets(NamedTuple):
    """A sparse matrix on the device, its rows grouped by length.

    Rows of up to 1, 2, 4, ... entries are padded to a common length, so that a product
    is a gather and a sum of fixed order: no atomic adds, the same bits every time.

    Attributes:
      indices: for each bucket the columns, int32 of shape [rows, length].
      weights: for each bucket the entries, 0 where padded, shape [rows, length].
      position: where the row of each point lies in the concatenated buckets, shape [N].
    """

    indices: tuple[jax.Array, ...]
    weights: tuple[jax.Array, ...]
    position: jax.Array


def bucket_rows(matrix: sparse.csr_array) -> RowBuckets:
    """Groups the rows of a sparse matrix [N, M] by length, as numpy arrays."""
    lengths = np.diff(matrix.indptr)
    bucket_of_row = np.ceil(np.log2(np.maximum(lengths, 1))).astype(int)
    indices, weights, rows = [], [], []
    for bucket in np.unique(bucket_of_row):
        members = np.flatnonzero(bucket_of_row == bucket)
        slot = np.arange(lengths[members].max(initial=1))
        real = slot[None] < lengths[members, None]
        entry = np.where(real, matrix.indptr[members, None] + slot[None], 0)
        indices.append(np.where(real, matrix.indices[entry], 0).astype(np.int32))
        weights.append(np.where(real, matrix.data[entry], 0.0).astype(np.float32))
        rows.append(members)
    position = np.argsort(np.concatenate(rows), kind="stable").astype(np.int32)
    return RowBuckets(tuple(indices), tuple(weights), position)


def multiply(buckets: RowBuckets, table: jax.Array) -> jax.Array:
    """The product of a bucketed matrix [N, M] and a table [M, K], shape [N, K]."""
    # Every row asks for rows anywhere: to send the table once is the least.
    table = devices.everywhere(table)
    # Not in TF32, the default of recent GPUs: rows of weights would not sum to 1.
    products = [
        jnp.einsum("rsk,rs->rk", table[indices], weights, precision="highest")
        for indices, weights in zip(buckets.indices, buckets.weights, strict=True)
    ]
    products = devices.everywhere(jnp.concatenate(products))
    return devices.by_rows(products[buckets.position])


@jax.jit
def smoothed_log_prior(
    log_assignments: jax.Array, rows: RowBuckets, columns: RowBuckets
) -> jax.Array:
    r"""r of the node objective, from the table of gammas.

    .. math:: r_j = \sum_i A_{ij} \ln \pi_i, \qquad \pi_i = \sum_j A_{ij} \gamma_j

    Args:
      log_assignments: the table ln gamma, shape [N, K].
      rows: A by rows.
      columns: A by columns, that is the rows of its transpose.

    Returns:
      r, shape [N, K].

    Raises:
      InvalidInput: if shapes are not as above.
    """
    checks.shapes(
        log_assignments=(log_assignments, "N K"),
        rows=(rows.position, "N"),
        columns=(columns.position, "N"),
    )
    log_prior = floor_log(jnp.log(multiply(rows, jnp.exp(log_assignments))))
    return multiply(columns, log_prior)
