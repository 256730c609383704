r"""The LTVAE objective: a VAE whose prior is a latent tree, and the tree's EM.

Li, Chen, Poon and Zhang, "Learning latent superstructures in variational autoencoders
for deep multidimensional clustering", ICLR 2019; its formulas are quoted from memory of
the paper, whose text was not at hand. Discrete variables y_0, y_1, ... form a tree with
the root y_0; each group of latent coordinates, a pouch z_b, hangs on one of them:

.. math::
  p(z) = \sum_y \prod_v p(y_v \mid y_{\text{pa}(v)})
  \prod_b \mathcal{N}(z_b; \mu_{b, y(b)}, \Sigma_{b, y(b)})

with y(b) the variable that pouch b hangs on. The sum is exact, by messages from the
leaves to the root. Each discrete variable, a facet, is a clustering of its own.

All trees of V variables of at most K states have arrays of the same shapes, whatever
their structure, so that what is compiled serves all of them: states that a variable
does not have are impossible, and a variable of one state, on which nothing hangs,
changes nothing.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import log_softmax, logsumexp

from dgg_jax import checks
from dgg_jax.distributions import LOG_2PI, gaussian_entropy
from dgg_jax.likelihoods import Likelihood
from dgg_jax.types import Array, ElboTerms, Gaussian

_AXES = ("V K K", "V K L", "V K L L")  # of a tree, and of statistics


class Structure(NamedTuple):
    """What hangs on what in a latent tree, as integers.

    Attributes:
      parents: of each discrete variable the one above it, a smaller number; of the
        root, which is 0, itself. Shape [V].
      states: how many values each has, shape [V].
      owners: the discrete variable that each coordinate of z hangs on, shape [L].
      pouches: a number that the coordinates of one pouch share, one of theirs, shape
        [L].
    """

    parents: Array
    states: Array
    owners: Array
    pouches: Array


class LatentTree(NamedTuple):
    """The numbers of a latent tree.

    Attributes:
      log_conditionals: ln p(y_v | y_parent), parent's states first, shape [V, K, K]; of
        the root, which has no parent, every row is ln p(y_0).
      means: mu of the coordinates that hang on a variable, else 0; shape [V, K, L].
      whitenings: W of them, lower triangular with Sigma^-1 = W^T W, else 0; shape
        [V, K, L, L].
    """

    log_conditionals: Array
    means: Array
    whitenings: Array


class Statistics(NamedTuple):
    """Expected sufficient statistics of a latent tree, of one z or the mean of many.

    Attributes:
      counts: p(y_parent, y_v | z), shape [V, K, K]; of the root, all in the first row.
      sums: p(y_v | z) z, shape [V, K, L].
      squares: p(y_v | z) z z^T, shape [V, K, L, L].
    """

    counts: Array
    sums: Array
    squares: Array


def log_density(z: Array, tree: LatentTree, structure: Structure) -> jax.Array:
    """ln p(z), exactly.

    Args:
      z: shape [L].
      tree: its numbers.
      structure: what hangs on what.

    Returns:
      Log density in nats, a scalar.

    Raises:
      InvalidInput: if shapes are not as above.

    Example:
      A root of two states and a pouch of one coordinate are a mixture.

      >>> import jax.numpy as jnp
      >>> from dgg_jax.losses.ltvae import LatentTree, Structure, log_density
      >>> zero = jnp.zeros(1, int)
      >>> structure = Structure(zero, jnp.array([2]), zero, zero)
      >>> weights = jnp.log(jnp.full((1, 2, 2), 0.5))
      >>> means = jnp.array([[[0.0], [9.0]]])
      >>> tree = LatentTree(weights, means, jnp.ones((1, 2, 1, 1)))
      >>> log_density(jnp.zeros(1), tree, structure)
      Array(-1.6121, dtype=float32)
    """
    return logsumexp(tree.log_conditionals[0, 0] + _beliefs(z, tree, structure)[0])


def log_joints(z: Array, tree: LatentTree, structure: Structure) -> jax.Array:
    """ln p(y_parent, y_v | z) of each variable, messages from root to leaves.

    Args:
      z: shape [L].
      tree: its numbers.
      structure: what hangs on what.

    Returns:
      Log probabilities, parent's states first, shape [V, K, K]; of the root, all in the
      first row.

    Raises:
      InvalidInput: if shapes are not as above.
    """
    conditionals, beliefs = tree.log_conditionals, _beliefs(z, tree, structure)
    below = log_softmax(conditionals + beliefs[:, None], axis=2)
    first = jnp.where(jnp.arange(len(below[0])) == 0, 0.0, -jnp.inf)
    joints = jnp.zeros_like(below).at[0].set(first[:, None] + below[0])
    for v in range(1, len(below)):
        above = logsumexp(joints[structure.parents[v]], axis=0)
        joints = joints.at[v].set(above[:, None] + below[v])
    return joints


def log_posteriors(z: Array, tree: LatentTree, structure: Structure) -> jax.Array:
    """ln p(y_v | z) of each variable, [V, K]; arguments as in ``log_joints``."""
    return logsumexp(log_joints(z, tree, structure), axis=1)


def _beliefs(z: Array, tree: LatentTree, structure: Structure) -> jax.Array:
    """ln p(what is below y_v | y_v) of each variable, leaves first, [V, K]."""
    _check(tree, structure, z=(z, "L"))
    of_states = jax.vmap(_log_normal, (None, 0, 0, None))
    beliefs = jax.vmap(of_states, (None, 0, 0, 0))(
        z, tree.means, tree.whitenings, _owned(structure)
    )
    for v in reversed(range(1, len(beliefs))):
        message = logsumexp(tree.log_conditionals[v] + beliefs[v][None], axis=1)
        beliefs = beliefs.at[structure.parents[v]].add(message)
    return beliefs


def _log_normal(
    z: jax.Array, mean: jax.Array, whitening: jax.Array, is_own: jax.Array
) -> jax.Array:
    """ln N(z; mean, Sigma) of the own coordinates of z [L], with Sigma^-1 = W^T W."""
    white = whitening @ (z - mean)
    scales = jnp.where(is_own, jnp.diagonal(whitening), 1.0)
    constant = LOG_2PI * jnp.sum(is_own)
    return jnp.sum(jnp.log(scales)) - 0.5 * (constant + white @ white)


def _check(tree: LatentTree | Statistics, structure: Structure, **more: Any) -> None:
    """Whether shapes are those of a tree, or of statistics, and what hangs on what."""
    name = "tree" if isinstance(tree, LatentTree) else "statistics"
    wanted = {name: (tree, _AXES), "structure": (structure, ("V", "V", "L", "L"))}
    checks.shapes(**wanted, **more)


def _owned(structure: Structure) -> jax.Array:
    """Which coordinates hang on each variable, booleans [V, L]."""
    variables = jnp.arange(len(structure.parents))
    return variables[:, None] == jnp.asarray(structure.owners)[None]


def elbo(
    x: Array,
    decoded: Any,
    posterior: Gaussian,
    log_prior: Array,
    likelihood: Likelihood,
) -> ElboTerms:
    r"""One-sample estimate of the ELBO of a VAE whose prior has a density.

    .. math:: \ln p(x \mid z) + \ln p(z) + H[q(z \mid x)], \qquad z \sim q(z \mid x)

    Args:
      x: the data point, shape [D].
      decoded: g(z) as the likelihood takes it.
      posterior: q(z | x), fields of shape [L].
      log_prior: ln p(z), a scalar.
      likelihood: p(x | z).

    Returns:
      ElboTerms of scalars, in nats, whose cluster terms, which ln p(z) has, are 0.

    Raises:
      InvalidInput: if shapes are not as above.
    """
    checks.shapes(posterior=(posterior, "L"), log_prior=(log_prior, ""))
    zero = jnp.zeros((), posterior.mean.dtype)
    return ElboTerms(
        reconstruction=likelihood.log_prob(x, decoded),
        latent_prior=jnp.asarray(log_prior),
        latent_entropy=gaussian_entropy(posterior),
        cluster_prior=zero,
        cluster_entropy=zero,
    )


def expected_statistics(z: Array, tree: LatentTree, structure: Structure) -> Statistics:
    """The E-step of one z; arguments as in ``log_joints``."""
    return _statistics(z, jnp.exp(log_joints(z, tree, structure)))


def statistics_of_labels(
    z: Array, labels: Array, structure: Structure, num_states: int
) -> Statistics:
    """Sufficient statistics of one z whose discrete variables are known.

    Args:
      z: shape [L].
      labels: their values, integers of shape [V].
      structure: what hangs on what.
      num_states: K, of the variable that has most.

    Raises:
      InvalidInput: if shapes are not as above.
    """
    checks.shapes(
        z=(z, "L"), labels=(labels, "V"), structure=(structure, ("V", "V", "L", "L"))
    )
    states = jax.nn.one_hot(labels, num_states, dtype=z.dtype)
    above = states[jnp.asarray(structure.parents)]
    above = above.at[0].set(jax.nn.one_hot(0, num_states, dtype=z.dtype))
    return _statistics(z, above[:, :, None] * states[:, None])


def _statistics(z: jax.Array, counts: jax.Array) -> Statistics:
    """Of z [L] and p(y_parent, y_v) [V, K, K]."""
    sums = counts.sum(axis=1)[:, :, None] * z[None, None]
    return Statistics(counts, sums, sums[..., None] * z[None, None, None])


def maximized(
    statistics: Statistics, structure: Structure, variance_floor: float
) -> LatentTree:
    """The M-step: the most likely tree by the mean of the statistics of many z.

    A state in which nothing is keeps a millionth, so that its logarithm is finite.

    Args:
      statistics: that mean.
      structure: what hangs on what.
      variance_floor: added to the variances.

    Raises:
      InvalidInput: if shapes are not as those of ``Statistics``.
    """
    _check(statistics, structure)
    num_states = statistics.counts.shape[1]
    is_state = jnp.arange(num_states)[None] < jnp.asarray(structure.states)[:, None]
    counts = jnp.maximum(statistics.counts, 1e-6) * is_state[:, None]
    counts = counts.at[0].set(counts[0, 0][None])
    log_conditionals = jnp.log(counts) - jnp.log(counts.sum(axis=2, keepdims=True))

    weights = jnp.maximum(statistics.counts.sum(axis=1), 1e-6)[..., None]
    means = statistics.sums / weights
    spreads = statistics.squares / weights[..., None]
    # Of differences of squares, rounding takes the small ones below 0.
    rounding = 32 * jnp.finfo(spreads.dtype).eps
    floors = variance_floor + rounding * jnp.diagonal(spreads, axis1=2, axis2=3)
    spreads -= means[..., :, None] * means[..., None, :]
    own = _owned(structure)
    pouches = jnp.asarray(structure.pouches)
    in_pouch = (own[:, :, None] & (pouches[:, None] == pouches[None])[None])[:, None]
    # Of other coordinates the identity, in place of which there is 0 in the end.
    rest = jnp.where(own[:, None], floors, 1.0)[..., None]
    identity = jnp.eye(len(pouches), dtype=spreads.dtype)[None, None]
    factors = jnp.linalg.cholesky(jnp.where(in_pouch, spreads, 0.0) + rest * identity)
    inverses = jax.scipy.linalg.solve_triangular(
        factors, jnp.broadcast_to(identity, factors.shape), lower=True
    )
    return LatentTree(
        log_conditionals,
        jnp.where(own[:, None], means, 0.0),
        jnp.where(in_pouch, inverses, 0.0),
    )


def stepwise(
    before: Statistics, of_batch: Statistics, step: Array, exponent: float
) -> Statistics:
    r"""Statistics after a batch: the moving average of stepwise EM.

    .. math:: s \leftarrow (1 - \eta) s + \eta \hat{s}, \qquad
      \eta = (t + 2)^{-\rho}

    Liang and Klein, "Online EM for unsupervised models", 2009, from memory as well.

    Args:
      before: s, those so far.
      of_batch: the mean of a batch's.
      step: t, batches so far, a scalar.
      exponent: rho, in (1/2, 1].

    Raises:
      InvalidInput: if shapes are not as those of ``Statistics``.
    """
    checks.shapes(before=(before, _AXES), of_batch=(of_batch, _AXES), step=(step, ""))
    rate = (step + 2.0) ** -exponent
    return jax.tree.map(lambda old, new: old + rate * (new - old), before, of_batch)


def _factors(tree: LatentTree) -> jax.Array:
    """The Cholesky factors of the covariances, 0 where W is, shape [V, K, L, L]."""
    absent = jnp.diagonal(tree.whitenings, axis1=2, axis2=3) == 0
    identity = jnp.eye(tree.means.shape[2])[None, None]
    inverses = jnp.linalg.inv(tree.whitenings + absent[..., None] * identity)
    return jnp.where(absent[..., None], 0.0, inverses)


def moments(tree: LatentTree, structure: Structure) -> Gaussian:
    """Mean and variance of z in each state of the root, fields [K, L].

    Args:
      tree: its numbers.
      structure: what hangs on what.

    Raises:
      InvalidInput: if shapes are not as those of ``LatentTree``.
    """
    _check(tree, structure)
    variances = jnp.sum(_factors(tree) ** 2, axis=3)
    of_root = jnp.eye(tree.means.shape[1])[None]  # p(y_v | y_0) of each variable
    for v in range(1, len(tree.means)):
        below = of_root[structure.parents[v]] @ jnp.exp(tree.log_conditionals[v])
        of_root = jnp.concatenate([of_root, below[None]])
    mean = jnp.einsum("vrk,vkl->rl", of_root, tree.means)
    squares = jnp.einsum("vrk,vkl->rl", of_root, variances + tree.means**2)
    return Gaussian(mean, jnp.log(squares - mean**2))


def draw(
    tree: LatentTree, structure: Structure, root: Array, key: jax.Array
) -> jax.Array:
    """z drawn from p(z | y_0), shape [L].

    Args:
      tree: its numbers.
      structure: what hangs on what.
      root: y_0, an integer scalar.
      key: random key.

    Raises:
      InvalidInput: if shapes are not as those of ``LatentTree``.
    """
    _check(tree, structure, root=(root, ""))
    num_variables, _, num_coordinates = tree.means.shape
    keys = jax.random.split(key, num_variables)
    states = jnp.zeros(num_variables, int).at[0].set(root)
    for v in range(1, num_variables):
        log_weights = tree.log_conditionals[v][states[structure.parents[v]]]
        states = states.at[v].set(jax.random.categorical(keys[v], log_weights))
    variables = jnp.arange(num_variables)
    eps = jax.random.normal(keys[0], (num_coordinates,))
    chosen = _factors(tree)[variables, states]
    return jnp.sum(tree.means[variables, states] + chosen @ eps, axis=0)
