"""What the kNN graph costs, against its distance products and other searches."""

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.neighbors import NearestNeighbors

from dgg_jax import checks
from dgg_jax.graph import knn
from experiments.benchmarks import timing, workloads
from experiments.benchmarks.settings import Settings
from experiments.benchmarks.timing import Figure


class Sizes(NamedTuple):
    """How much is measured.

    Attributes:
      rows: N; None takes all of MNIST.
      num_neighbors: k.
    """

    rows: int | None
    num_neighbors: int


FULL = Sizes(rows=None, num_neighbors=100)
QUICK = Sizes(rows=1000, num_neighbors=100)

Search = Callable[[], np.ndarray]

_BLOCK = 512  # queries of one product
_EMBEDDING = 10  # dimensions of a latent space


def figures(settings: Settings) -> Iterator[Figure]:
    """Measures the suite: pixels, then ten-dimensional embeddings."""
    sizes = QUICK if settings.quick else FULL
    pixels = workloads.images(sizes.rows, settings.data_dir, 1)
    for x, source in ((pixels.x, pixels.source), embedding(len(pixels.x))):
        others = _on_the_host(x, sizes.num_neighbors)
        yield from searches(x, source, sizes.num_neighbors, settings, others)


def embedding(num_rows: int) -> tuple[np.ndarray, str]:
    """Ten Gaussian clusters in ten dimensions, and what they are in words."""
    random = np.random.default_rng(0)
    x = random.normal(size=(num_rows, _EMBEDDING))
    x += 4 * random.normal(size=(10, _EMBEDDING))[random.integers(10, size=num_rows)]
    return x.astype(np.float32), "ten Gaussian clusters"


def distance_products(x: np.ndarray) -> Callable[[], None]:
    """All inner products of rows, block by block, and nothing else.

    Args:
      x: points, shape [N, D].

    Returns:
      A callable that computes them once.
    """
    points = jnp.asarray(x)

    @jax.jit
    def block_of(queries, points):
        return jnp.matmul(queries, points.T, precision=jax.lax.Precision.HIGHEST)

    def run():
        for start in range(0, len(x), _BLOCK):
            # The last block overlaps the one before, so that all have one shape.
            start = max(0, min(start, len(x) - _BLOCK))
            block_of(points[start : start + _BLOCK], points).block_until_ready()

    return run


def _on_the_host(x: np.ndarray, k: int) -> dict[str, Search]:
    """Searches that others have written for CPUs, as far as they are installed."""

    def brute_force():
        search = NearestNeighbors(n_neighbors=k, algorithm="brute", n_jobs=-1).fit(x)
        return search.kneighbors(return_distance=False)  # without the points themselves

    found: dict[str, Search] = {"scikit-learn": brute_force}
    lacking = checks.lacking("approximate")
    if lacking:
        print(f"  without pynndescent's search: {lacking}")
    else:
        import pynndescent

        def descent():
            index = pynndescent.NNDescent(x, n_neighbors=k + 1, random_state=0)
            return index.neighbor_graph[0][:, 1:]

        found["pynndescent"] = descent
    return found


def on_the_device(x: np.ndarray, k: int) -> dict[str, Search]:
    """Searches that others have written for GPUs, as far as they are installed."""

    def cuml():
        from cuml.neighbors import NearestNeighbors

        index = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(x)
        return np.asarray(index.kneighbors(x, return_distance=False))[:, 1:]

    def faiss():
        import faiss

        index = faiss.IndexFlatL2(x.shape[1])
        if getattr(faiss, "get_num_gpus", lambda: 0)():
            index = faiss.index_cpu_to_all_gpus(index)
        index.add(x)
        return index.search(x, k + 1)[1][:, 1:]

    return {
        search.__name__: search
        for search in (cuml, faiss)
        if importlib.util.find_spec(search.__name__)
    }


def searches(
    x: np.ndarray,
    source: str,
    k: int,
    settings: Settings,
    others: Mapping[str, Search],
) -> Iterator[Figure]:
    """The exact search over its products, and over other searches.

    Args:
      x: points, shape [N, D].
      source: where they come from, in words.
      k: neighbours of each.
      settings: of the benchmark.
      others: what finds neighbours [N, k], by name.
    """
    ours = {
        "knn": lambda: knn(x, k, method="exact")[0],
        "products": distance_products(x),
    }
    timings = timing.interleave(ours | dict(others), settings.repetitions)
    details = {"data": source, "rows": len(x), "features": x.shape[1], "k": k}
    title = f"kNN, {len(x):,} x {x.shape[1]}, k = {k}"
    yield timing.ratio(f"{title} / its products", timings, "knn", "products", **details)
    for name in others:
        recall = {"recall": recall_of(timings[name].last, timings["knn"].last)}
        yield timing.ratio(
            f"{title} / {name}", timings, "knn", name, **details, **recall
        )


def recall_of(found: np.ndarray, exact: np.ndarray) -> float:
    """The share of exact neighbours that were found, both [N, k]."""
    pairs = zip(found, exact, strict=True)
    return float(np.mean([np.isin(row, other).mean() for other, row in pairs]))
