"""Clusters of very uneven sizes: what the judge of labels picks, by drawn sets.

  python -m experiments.uneven --count=120

Each set has 2 to 7 clusters of 2 to 16 columns: balls, lines, arcs and heavy tails.
Their shares are drawn from a Dirichlet distribution, at least 2 % each. Of a third of
the sets 2 % of the rows are displaced. The ensemble of DGG is made of the data's own
spaces, without any network. The table compares the pick with that of a judge whose
certainty is in units of ln K alone, which prefers clusters of like size; docs/arena.md
quotes it.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from absl import app, flags
from sklearn.metrics import adjusted_rand_score

from dgg_jax.cli import command
from dgg_jax.data.preprocessing import shift_and_scale, standardize
from dgg_jax.graph import graph_information
from dgg_jax.stages import ensemble

_COUNT = flags.DEFINE_integer(
    "count", 120, "How many, of seeds 0, 1, ...", lower_bound=1
)
_SHAPES = ("ball", "line", "arc", "heavy")
_NEIGHBORS = 20


class Outcome(NamedTuple):
    """Adjusted Rand indices of one set.

    Attributes:
      kmeans: of K-means of the data.
      in_units_of_ln_k: of the pick by certainty in units of ln K alone.
      pick: of the pick as runs make it.
      best: of the best clustering of the ensemble.
    """

    kmeans: float
    in_units_of_ln_k: float
    pick: float
    best: float


def main(arguments: Sequence[str]) -> int:
    """Parses, measures and prints; a user's mistake is one line on stderr."""
    return command.answer(arguments, _compare, example="--count=120")


def _compare() -> int:
    found = []
    for seed in range(_COUNT.value):
        found.append(outcome(*drawn(seed)))
        numbers = ", ".join(
            f"{name} {x:.3f}" for name, x in found[-1]._asdict().items()
        )
        print(f"set {seed}: {numbers}", flush=True)
    print(table(found))
    return 0


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A set: rows x, standardised, float32 [N, D], and their clusters y [N]."""
    random = np.random.default_rng(seed)
    num_clusters = int(random.integers(2, 8))
    dim = int(random.choice([2, 4, 8, 16]))
    num_rows = int(random.choice([300, 600, 1200]))
    shares = random.dirichlet(np.full(num_clusters, random.choice([0.5, 1.0, 5.0])))
    sizes = np.maximum(shares * num_rows, 0.02 * num_rows + 3).astype(int)
    distance = random.choice([3.0, 5.0, 8.0, 12.0]) / np.sqrt(min(dim, 4) / 2)
    parts = []
    for size in sizes:
        center = _direction(random, dim) * distance * random.uniform(0.7, 1.3)
        parts.append(center + _shape(random, random.choice(_SHAPES), size, dim))
    x = np.concatenate(parts)
    if random.random() < 1 / 3:
        displaced = random.choice(len(x), len(x) // 50, replace=False)
        x[displaced] += random.normal(0.0, 10.0, (len(displaced), dim))
    x = shift_and_scale(x, *standardize(x)).astype(np.float32)
    return x, np.repeat(np.arange(num_clusters), sizes)


def _direction(random: np.random.Generator, dim: int) -> np.ndarray:
    vector = random.normal(size=dim)
    return vector / np.linalg.norm(vector)


def _shape(random: np.random.Generator, name: str, size: int, dim: int) -> np.ndarray:
    """Points of a cluster around 0, [size, dim]."""
    if name == "heavy":
        return 0.7 * random.standard_t(2.5, (size, dim))
    if name == "ball":
        return random.normal(size=(size, dim))
    thin = 0.3 * random.normal(size=(size, dim))
    if name == "line":
        return thin + 4.0 * random.uniform(-1, 1, (size, 1)) * _direction(random, dim)
    angle = random.uniform(0.0, np.pi, (size, 1))
    one, other = _direction(random, dim), _direction(random, dim)
    return thin + 2.5 * (np.cos(angle) * one + np.sin(angle) * other)


def outcome(x: np.ndarray, y: np.ndarray) -> Outcome:
    """What judges pick of the ensemble of x [N, D], by the true clusters y [N]."""
    num_clusters = len(np.unique(y))
    spaces = ensemble.data_spaces(x, num_clusters, seed=0, column_scale=None)
    graphs = {
        name: ensemble.nearest(space.points, _NEIGHBORS)
        for name, space in spaces.items()
    }
    found = ensemble.clusterings(spaces, graphs, num_clusters, seed=0)
    labels = np.stack([one.labels for one in found])
    among = ensemble.mutual_informations(labels, labels)
    agreement = (ensemble.trust(found) * among).sum(axis=1)
    near = list(graphs.values())
    aris = np.array([adjusted_rand_score(y, one) for one in labels])

    def picked(certainty: Iterator[float]) -> float:
        standing = ensemble.standing(agreement, np.array(list(certainty)))
        return float(aris[ensemble.ranking(found, standing)[0]])

    def in_units_of_ln_k(one: np.ndarray) -> float:
        information = np.mean([graph_information(graph, one) for graph in near])
        return float(information) / math.log(num_clusters)

    kmeans = [one.method for one in found].index("kmeans")
    return Outcome(
        kmeans=float(aris[kmeans]),
        in_units_of_ln_k=picked(map(in_units_of_ln_k, labels)),
        pick=picked(
            ensemble.neighbor_certainty(near, one, num_clusters) for one in labels
        ),
        best=float(aris.max()),
    )


def table(found: Sequence[Outcome]) -> str:
    """Markdown: the mean of each column, and how often the pick changes."""
    means = Outcome(*np.mean(found, axis=0))
    better = sum(one.pick > one.in_units_of_ln_k + 0.005 for one in found)
    worse = sum(one.pick < one.in_units_of_ln_k - 0.005 for one in found)
    return "\n".join(
        [
            "| clustering | mean ARI |",
            "| --- | ---: |",
            f"| K-means | {means.kmeans:.3f} |",
            f"| pick by units of ln K alone | {means.in_units_of_ln_k:.3f} |",
            f"| pick | {means.pick:.3f} |",
            f"| best of the ensemble | {means.best:.3f} |",
            "",
            f"Of {len(found)} sets the two picks differ by more than 0.005 on "
            f"{better + worse}: better on {better}, worse on {worse}.",
        ]
    )


if __name__ == "__main__":
    app.run(main, flags_parser=command.parse_flags)
