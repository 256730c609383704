"""Whole clusterings of MNIST, ours and what a user would take instead."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from sklearn.cluster import KMeans, SpectralClustering

import dgg_jax
from dgg_jax import checks
from dgg_jax.runs.origin import threads
from dgg_jax.stages.evaluate import label_metrics
from experiments.arena import contenders
from experiments.benchmarks import workloads
from experiments.benchmarks.settings import Settings
from experiments.benchmarks.timing import Figure

_NEIGHBORS = 20
_NUM_CLUSTERS = 10
Cluster = Callable[[np.ndarray], np.ndarray]  # from x [N, D] to labels [N]


class Sizes(NamedTuple):
    """How much is clustered.

    Attributes:
      rows: N.
      preset: of DGG.
      epochs: of ClustPy's pretraining and training; None: its own.
    """

    rows: int
    preset: str = "default"
    epochs: tuple[int, int] | None = None


FULL = Sizes(10_000)
QUICK = Sizes(500, "smoke", (1, 1))


def figures(settings: Settings) -> Iterator[Figure]:
    """Seconds and accuracy of each method, and how many times DGG's seconds it takes.

    Once each, compilation included, imports not; without labels there is no accuracy.
    """
    sizes = QUICK if settings.quick else FULL
    workload = workloads.images(sizes.rows, settings.data_dir, _NEIGHBORS)
    took: dict[str, float] = {}
    for name, cluster in clusterers(sizes).items():
        began = time.perf_counter()
        labels = cluster(workload.x)
        took[name] = time.perf_counter() - began
        details = {"data": workload.source, "rows": len(workload.x), "name": name}
        if workload.y is not None:
            details |= label_metrics(workload.y, labels)
            yield Figure(f"{name}: accuracy", details["accuracy"], details=details)
        yield Figure(f"{name}: seconds", took[name], unit="s", details=details)
        if name != "DGG":
            yield Figure(f"{name} / DGG", took[name] / took["DGG"], details=details)


def clusterers(sizes: Sizes) -> Mapping[str, Cluster]:
    """DGG, and the methods that are installed, by their names."""
    model = dgg_jax.DGG(
        _NUM_CLUSTERS, preset=sizes.preset, image_shape=(28, 28), random_state=0
    )
    kmeans = KMeans(_NUM_CLUSTERS, n_init=10, random_state=0)
    spectral = SpectralClustering(
        _NUM_CLUSTERS,
        affinity="nearest_neighbors",
        n_neighbors=_NEIGHBORS,
        random_state=0,
    )
    found: dict[str, Cluster] = {
        "DGG": model.fit_predict,
        "K-means": kmeans.fit_predict,
        "spectral clustering of scikit-learn": spectral.fit_predict,
    }
    if lacking := checks.lacking("arena"):
        print(f"  not measured: {lacking}")
    else:
        import umap  # noqa: F401, before the clock runs

        found["UMAP + mixture"] = lambda x: contenders.umap_mixture(
            x, _NUM_CLUSTERS, 0
        )[0]
    if lacking := checks.lacking("benchmark"):
        print(f"  not measured: {lacking}")
    else:
        found |= _of_clustpy(sizes)
    return found


def _of_clustpy(sizes: Sizes) -> Mapping[str, Cluster]:
    """ClustPy's DEC and VaDE with its own settings."""
    import torch
    from clustpy.deep import DEC, VaDE

    torch.set_num_threads(threads())
    settings = {"random_state": 0}
    if sizes.epochs is not None:
        settings["pretrain_epochs"], settings["clustering_epochs"] = sizes.epochs
    return {
        f"ClustPy's {cls.__name__}": cls(_NUM_CLUSTERS, **settings).fit_predict
        for cls in (DEC, VaDE)
    }
