"""The structure of a latent tree: hill climbing by BIC, with EM for the numbers.

The operators are those of LTVAE as we remember them: they move a pouch or a discrete
variable to another variable, join two pouches, take a coordinate out of one, add a
discrete variable above two pouches or delete one, and split or merge its states. The
root is the clustering that is reported: its states stay as many as they are, and before
each move the tree is hung up by the variable of so many states that says most of z. A
move after which a variable of fewer states would say more is not taken: the number of
clusters that was asked for would be of a clustering that the data do not show.
"""

import functools
from collections.abc import Iterator
from itertools import combinations
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgg_jax.losses import ltvae
from dgg_jax.losses.ltvae import LatentTree, Statistics, Structure

_GLANCE, _FULL = 1, 50  # steps of EM of what is looked at, and of what is taken
_GAIN = 1.0  # nats of BIC, below which a move is noise

Proposal = tuple[Structure, np.ndarray]  # and labels [N, V] to start from


class Fit(NamedTuple):
    """A latent tree as EM fits it to points.

    Attributes:
      structure: what hangs on what.
      tree: the numbers.
      statistics: of the points, from which the numbers are.
      bic: ln p of the points less half a ln N for each parameter: higher is better.
    """

    structure: Structure
    tree: LatentTree
    statistics: Statistics
    bic: float


def single_root(num_clusters: int, latent_dim: int, max_facets: int) -> Structure:
    """All coordinates, each in a pouch of its own, hang on the root: a mixture.

    Args:
      num_clusters: K, states of the root.
      latent_dim: L.
      max_facets: V, of which the others are not there yet.
    """
    return Structure(
        np.zeros(max_facets, np.int32),
        np.array([num_clusters] + [1] * (max_facets - 1), np.int32),
        np.zeros(latent_dim, np.int32),
        np.arange(latent_dim, dtype=np.int32),
    )


def num_parameters(structure: Structure) -> int:
    """Free numbers: of the conditional distributions, means and covariances."""
    parents, states, owners, pouches = map(np.asarray, structure)
    above = np.where(np.arange(len(states)) == 0, 1, states[parents])
    discrete = int(np.sum(above * (states - 1)))
    continuous = 0
    for pouch in np.unique(pouches):
        size = np.count_nonzero(pouches == pouch)
        continuous += int(states[owners[pouch]]) * (size + size * (size + 1) // 2)
    return discrete + continuous


def described(structure: Structure) -> str:
    """The tree as text: a line for each variable with its states and pouches."""
    parents, states, owners, pouches = map(np.asarray, structure)
    lines: list[str] = []

    def write(v: int, indent: str) -> None:
        hanging = [
            str(np.flatnonzero(pouches == pouch).tolist())
            for pouch in np.unique(pouches[owners == v])
        ]
        lines.append(f"{indent}y{v}: {states[v]} states {' '.join(hanging)}".rstrip())
        for child in range(v + 1, num_facets(structure)):
            if parents[child] == v:
                write(child, indent + "  ")

    write(0, "")
    return "\n".join(lines)


def num_facets(structure: Structure) -> int:
    """How many discrete variables there are; those of one state are not there."""
    return max(1, int(np.count_nonzero(np.asarray(structure.states) > 1)))


@functools.partial(jax.jit, static_argnames="num_states")
def of_labels(
    z: jax.Array, labels: jax.Array, structure: Structure, num_states: int
) -> Statistics:
    """Mean statistics of points whose discrete variables are known.

    Args:
      z: points, shape [N, L].
      labels: values of the variables, shape [N, V].
      structure: what hangs on what.
      num_states: K, of the variable that has most.
    """
    each = jax.vmap(ltvae.statistics_of_labels, (0, 0, None, None))
    return _mean(each(z, labels, structure, num_states))


def fit(
    z: np.ndarray,
    statistics: Statistics,
    structure: Structure,
    variance_floor: float,
    steps: int = _FULL,
) -> Fit:
    """EM of a latent tree.

    Args:
      z: points, shape [N, L].
      statistics: to start from, as of ``completed``.
      structure: what hangs on what.
      variance_floor: added to the variances.
      steps: how many of EM.
    """
    statistics, tree, log_likelihood = em(
        z, statistics, structure, variance_floor, steps
    )
    penalty = 0.5 * num_parameters(structure) * np.log(len(z))
    return Fit(structure, tree, statistics, float(log_likelihood) - penalty)


@jax.jit
def em(
    z: jax.Array,
    statistics: Statistics,
    structure: Structure,
    variance_floor: float,
    steps: int,
) -> tuple[Statistics, LatentTree, jax.Array]:
    """The statistics after so many steps of EM, the tree of them, and ln p of z."""

    def step(_, statistics):
        tree = ltvae.maximized(statistics, structure, variance_floor)
        return expected(z, tree, structure)

    statistics = jax.lax.fori_loop(0, steps, step, statistics)
    tree = ltvae.maximized(statistics, structure, variance_floor)
    log_densities = jax.vmap(ltvae.log_density, (0, None, None))(z, tree, structure)
    return statistics, tree, jnp.sum(log_densities)


@jax.jit
def labels_of(z: jax.Array, tree: LatentTree, structure: Structure) -> jax.Array:
    """The most likely value of each variable at points z [N, L], shape [N, V]."""
    posteriors = jax.vmap(ltvae.log_posteriors, (0, None, None))(z, tree, structure)
    return posteriors.argmax(axis=2)


def search(z: np.ndarray, start: Fit, variance_floor: float, max_moves: int) -> Fit:
    """Hill climbing by BIC: the best move, as long as one is for the better.

    Of each operator the best proposal, at a glance, is fitted; the first of them that
    raises the BIC, and leaves the root the clearest, is taken.

    Args:
      z: points, shape [N, L].
      start: the tree to start from, fitted to them.
      variance_floor: added to the variances.
      max_moves: how many at most.
    """
    best = start
    for _ in range(max_moves):
        better = _moved(z, best, variance_floor)
        if better is None:
            break
        best = better
    return hung_by_the_clearest(z, best, variance_floor)


def _moved(z: np.ndarray, present: Fit, variance_floor: float) -> Fit | None:
    """A tree that is one move from the present one and better, if there is one."""
    present = hung_by_the_clearest(z, present, variance_floor)
    labels = np.asarray(labels_of(z, present.tree, present.structure))
    num_states = present.tree.means.shape[1]

    def glance(proposal: Proposal) -> Fit:
        structure, labels = proposal
        statistics = of_labels(z, labels, structure, num_states)
        return fit(z, statistics, structure, variance_floor, _GLANCE)

    found = []
    for operator in OPERATORS:
        proposed = map(glance, operator(z, present.structure, labels))
        found += [max(proposed, key=lambda one: one.bic, default=present)]
    for one in sorted(found, key=lambda one: -one.bic):
        whole = fit(z, one.statistics, one.structure, variance_floor)
        told = information(z, whole.tree, whole.structure)
        clearest = whole.structure.states[np.argmax(told)]
        if whole.bic > present.bic + _GAIN and clearest == num_states:
            return whole
    return None


@jax.jit
def information(z: jax.Array, tree: LatentTree, structure: Structure) -> jax.Array:
    """I(y_v; z) of each variable over points z [N, L], in nats, shape [V]."""
    log_posteriors = jax.vmap(ltvae.log_posteriors, (0, None, None))
    each = jax.nn.softmax(log_posteriors(z, tree, structure), axis=2)
    entropy = jax.scipy.special.entr
    return jnp.sum(entropy(each.mean(axis=0)) - entropy(each).mean(axis=0), axis=1)


def hung_by_the_clearest(z: np.ndarray, present: Fit, variance_floor: float) -> Fit:
    """The same tree, whose root is the variable that says most of points z [N, L].

    Of those that have as many states as the root has.
    """
    structure = present.structure
    told = np.asarray(information(z, present.tree, structure))
    told = np.where(structure.states == structure.states[0], told, -np.inf)
    structure, statistics = rerooted(structure, present.statistics, int(told.argmax()))
    tree = ltvae.maximized(statistics, structure, variance_floor)
    return Fit(structure, tree, statistics, present.bic)


def rerooted(
    structure: Structure, statistics: Statistics, root: int
) -> tuple[Structure, Statistics]:
    """The same distribution with another variable as the root.

    Args:
      structure: what hangs on what.
      statistics: of the points.
      root: the variable that is to be the root, and so becomes 0.
    """
    parents, counts = structure.parents.copy(), np.array(statistics.counts)
    own = counts[root].sum(axis=0)
    v = root
    while v:  # the way up to the old root is turned round
        v, below = int(structure.parents[v]), v
        parents[v] = below
        counts[v] = np.asarray(statistics.counts[below]).T
    parents[root] = root
    counts[root] = np.zeros_like(counts[root])
    counts[root, 0] = own
    order, rest = [root], [v for v in range(len(parents)) if v != root]
    while rest:  # parents first
        above = next(v for v in rest if parents[v] in order)
        order.append(above)
        rest.remove(above)
    renamed = np.argsort(order).astype(np.int32)
    return (
        Structure(
            renamed[parents[order]],
            structure.states[order],
            renamed[structure.owners],
            structure.pouches,
        ),
        Statistics(
            counts[order],
            np.asarray(statistics.sums)[order],
            np.asarray(statistics.squares)[order],
        ),
    )


# The operators: from points [N, L], a structure and labels [N, V] to proposals.


def relocated_pouches(
    z: np.ndarray, structure: Structure, labels: np.ndarray
) -> Iterator[Proposal]:
    """A pouch hangs on another variable."""
    del z
    for pouch in np.unique(structure.pouches):
        members = structure.pouches == pouch
        for v in range(num_facets(structure)):
            if not (structure.owners[members] == v).all():
                owners = np.where(members, v, structure.owners)
                yield structure._replace(owners=owners.astype(np.int32)), labels


def relocated_variables(
    z: np.ndarray, structure: Structure, labels: np.ndarray
) -> Iterator[Proposal]:
    """A discrete variable hangs on another one of smaller number."""
    del z
    for v in range(2, num_facets(structure)):
        for parent in set(range(v)) - {int(structure.parents[v])}:
            yield (
                structure._replace(parents=_with(structure.parents, v, parent)),
                labels,
            )


def joined_pouches(
    z: np.ndarray, structure: Structure, labels: np.ndarray
) -> Iterator[Proposal]:
    """Two pouches of one variable become one."""
    del z
    for one, other in _pairs_of_pouches(structure):
        pouches = np.where(structure.pouches == other, one, structure.pouches)
        yield structure._replace(pouches=pouches.astype(np.int32)), labels


def parted_pouches(
    z: np.ndarray, structure: Structure, labels: np.ndarray
) -> Iterator[Proposal]:
    """A coordinate leaves its pouch for one of its own."""
    del z
    for coordinate, pouch in enumerate(structure.pouches):
        members = np.flatnonzero(structure.pouches == pouch)
        if len(members) > 1:
            rest = members[members != coordinate]
            pouches = _with(structure.pouches, rest, rest[0])
            yield (
                structure._replace(pouches=_with(pouches, coordinate, coordinate)),
                labels,
            )


def added_variables(
    z: np.ndarray, structure: Structure, labels: np.ndarray
) -> Iterator[Proposal]:
    """Two pouches hang on a new variable of two states, below the one that they had."""
    new = num_facets(structure)
    if new == len(structure.states):
        return
    for pair in _pairs_of_pouches(structure):
        members = np.isin(structure.pouches, pair)
        parent = structure.owners[members][0]
        yield (
            structure._replace(
                parents=_with(structure.parents, new, parent),
                states=_with(structure.states, new, 2),
                owners=_with(structure.owners, members, new),
            ),
            _with(labels.T, new, _is_upper(z[:, members])).T,
        )


def deleted_variables(
    z: np.ndarray, structure: Structure, labels: np.ndarray
) -> Iterator[Proposal]:
    """All that hangs on a variable hangs on the one above it."""
    del z
    for v in range(1, num_facets(structure)):
        parent = structure.parents[v]
        order = np.argsort(np.arange(len(structure.states)) == v, kind="stable")
        renamed = np.argsort(order).astype(np.int32)
        parents = np.where(structure.parents == v, parent, structure.parents)
        parents = _with(renamed[parents][order], -1, 0)
        owners = renamed[np.where(structure.owners == v, parent, structure.owners)]
        states = _with(structure.states[order], -1, 1)
        yield (
            Structure(parents, states, owners, structure.pouches),
            _with(labels.T[order], -1, 0).T,
        )


def split_states(
    z: np.ndarray, structure: Structure, labels: np.ndarray
) -> Iterator[Proposal]:
    """A state of a variable other than the root becomes two."""
    for v in range(1, num_facets(structure)):
        new = structure.states[v]
        own = structure.owners == v
        if new == structure.states[0] or not own.any():
            continue
        for state in range(new):
            rows = np.flatnonzero(labels[:, v] == state)
            if len(rows) > 1:
                upper = rows[_is_upper(z[np.ix_(rows, own)])]
                of_v = _with(labels[:, v], upper, new)
                yield (
                    structure._replace(states=_with(structure.states, v, new + 1)),
                    _with(labels.T, v, of_v).T,
                )


def merged_states(
    z: np.ndarray, structure: Structure, labels: np.ndarray
) -> Iterator[Proposal]:
    """Two states of a variable other than the root become one."""
    del z
    for v in range(1, num_facets(structure)):
        last = structure.states[v] - 1
        if last < 2:
            continue
        for one, other in combinations(range(last + 1), 2):
            of_v = np.where(labels[:, v] == other, one, labels[:, v])
            of_v = np.where(of_v == last, other, of_v) if other != last else of_v
            yield (
                structure._replace(states=_with(structure.states, v, last)),
                _with(labels.T, v, of_v).T,
            )


OPERATORS = (
    relocated_pouches,
    relocated_variables,
    joined_pouches,
    parted_pouches,
    added_variables,
    deleted_variables,
    split_states,
    merged_states,
)


def _pairs_of_pouches(structure: Structure) -> Iterator[tuple[int, int]]:
    """Pouches that hang on one variable, two at a time."""
    for v in range(num_facets(structure)):
        yield from combinations(np.unique(structure.pouches[structure.owners == v]), 2)


def _with(array: np.ndarray, index: Any, value: Any) -> np.ndarray:
    """A copy with another value there."""
    array = array.copy()
    array[index] = value
    return array


def _is_upper(z: np.ndarray) -> np.ndarray:
    """Which points [N] lie above the mean on their first principal axis."""
    centered = z - z.mean(axis=0)
    _, axes = np.linalg.eigh(centered.T @ centered)
    return centered @ axes[:, -1] > 0


def expected(z: jax.Array, tree: LatentTree, structure: Structure) -> Statistics:
    """The E-step: mean expected statistics of points z [N, L]."""
    each = jax.vmap(ltvae.expected_statistics, (0, None, None))
    return _mean(each(z, tree, structure))


def _mean(statistics: Statistics) -> Statistics:
    return jax.tree.map(lambda leaf: leaf.mean(axis=0), statistics)
