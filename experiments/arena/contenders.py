"""The methods of the arena: each clusters a data set without its labels."""

import functools
import math
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import StandardScaler

from dgg_jax import checks, methods, presets
from dgg_jax.data.dataset import Dataset, without_counts
from dgg_jax.graph import knn, neighbor_weights, spectral_labels
from dgg_jax.methods import dgg
from dgg_jax.metrics import adjusted_rand_index
from dgg_jax.stages import evaluate
from dgg_jax.stages.stability import consensus
from experiments.arena import confidences, judges, sets

_NEIGHBORS = 20

Clusters = tuple[np.ndarray, np.ndarray | None]  # labels and confidence of rows, [N]


class Outcome(NamedTuple):
    """What a method makes of a data set.

    Attributes:
      method: its name.
      labels: of the rows, [N]; -1 is noise.
      seconds: that it took, compilation included.
      details: what else a run tells of itself.
      confidence: how probable the cluster of each row is, [N]; None of hard clusters.
    """

    method: str
    labels: np.ndarray
    seconds: float
    details: dict[str, Any]
    confidence: np.ndarray | None = None


def kmeans(x: np.ndarray, num_clusters: int, seed: int) -> Clusters:
    """K-means with ten starts."""
    return KMeans(num_clusters, n_init=10, random_state=seed).fit_predict(x), None


def mixture(x: np.ndarray, num_clusters: int, seed: int) -> Clusters:
    """A Gaussian mixture of full covariances, diagonal ones for many columns."""
    x = x.astype(np.float64)
    model = GaussianMixture(
        num_clusters,
        covariance_type="full" if x.shape[1] <= 50 else "diag",
        n_init=3,
        reg_covar=1e-3 * float(x.var(axis=0).mean()) + 1e-9,
        random_state=seed,
    )
    probabilities = model.fit(x).predict_proba(x)
    return probabilities.argmax(axis=1), probabilities.max(axis=1)


def spectral(x: np.ndarray, num_clusters: int, seed: int) -> Clusters:
    """Spectral clustering of the graph of the 20 nearest neighbours."""
    graph = neighbor_weights(*knn(x, min(_NEIGHBORS, len(x) - 1)))
    most = math.ceil(1.6 * num_clusters)
    return spectral_labels(graph, num_clusters, most, seed), None


def _umap(x: np.ndarray, seed: int) -> np.ndarray:
    import umap  # of an extra

    size = min(10, len(x) - 3)
    model = umap.UMAP(n_components=size, n_neighbors=_NEIGHBORS, random_state=seed)
    return model.fit_transform(x)


def umap_mixture(x: np.ndarray, num_clusters: int, seed: int) -> Clusters:
    """A Gaussian mixture of the layout of UMAP, in up to ten dimensions."""
    return mixture(_umap(x, seed), num_clusters, seed)


def _umap_hdbscan(x: np.ndarray, num_clusters: int, seed: int) -> Clusters:
    """It finds K by itself."""
    del num_clusters
    model = HDBSCAN(min_cluster_size=max(5, len(x) // 100)).fit(_umap(x, seed))
    return model.labels_, model.probabilities_


def leiden(x: np.ndarray, num_clusters: int, seed: int) -> Clusters:
    """Communities of the graph of 50 components, as scanpy finds them.

    Of resolutions between 0.01 and 3 that of a bisection that ends nearest to K.
    """
    import anndata
    import scanpy

    cells = anndata.AnnData(x.astype(np.float32))
    with np.errstate(invalid="ignore"):
        scanpy.pp.scale(cells, max_value=10)
    scanpy.pp.pca(cells, n_comps=min(50, *(side - 1 for side in x.shape)))
    scanpy.pp.neighbors(cells, n_neighbors=15, random_state=seed)
    low, high, found = 0.01, 3.0, {}
    for _ in range(12):
        resolution = (low + high) / 2
        scanpy.tl.leiden(
            cells,
            resolution,
            random_state=seed,
            flavor="igraph",
            n_iterations=-1,
            directed=False,
        )
        labels = cells.obs["leiden"].to_numpy().astype(int)
        count = len(np.unique(labels))
        found.setdefault(abs(count - num_clusters), labels)
        if count == num_clusters:
            break
        low, high = (resolution, high) if count < num_clusters else (low, resolution)
    return found[min(found)], None


def _standardized(x: np.ndarray) -> np.ndarray:
    return StandardScaler().fit_transform(x.astype(np.float64))


def _components(x: np.ndarray) -> np.ndarray:
    return PCA(min(50, *x.shape), random_state=0).fit_transform(_standardized(x))


Cluster = Callable[[np.ndarray, int, int], Clusters]  # (x, K, seed)


def _within(space: Callable[[np.ndarray], np.ndarray], cluster: Cluster) -> Cluster:
    return lambda x, num_clusters, seed: cluster(space(x), num_clusters, seed)


_OF_DATA = {
    f"{name} ({space})": _within(prepare, cluster)
    for space, prepare in {
        "raw": lambda x: x,
        "standardised": _standardized,
        "components": _components,
    }.items()
    for name, cluster in {"K-means": kmeans, "mixture": mixture}.items()
}
# Of the rows as they are scaled for the networks.
_OF_SCALED = {
    "spectral": spectral,
    "UMAP + mixture": umap_mixture,
    "UMAP + HDBSCAN": _umap_hdbscan,
}
_LEIDEN = "components + Leiden"  # of counts
_OF_SPACES = {"K-means": kmeans, "spectral": spectral}
_OF_DGG = ("DGG", *(f"{f} ({s})" for s in ("latents", "Siamese") for f in _OF_SPACES))
_CONSENSUS, _REPETITIONS = "consensus of DGG", 5
_OF_LOGARITHMS = {"DGG (logarithms)": "dgg", "VaDE (logarithms)": "vade"}
FURTHER = (*_OF_LOGARITHMS, _LEIDEN, _CONSENSUS)  # of single studies
NAMES = (*_OF_DGG, "VaDE", *_OF_DATA, *_OF_SCALED)


def outcomes(dataset: Dataset, names: list[str], seed: int) -> Iterator[Outcome]:
    """What methods make of a data set, one after the other.

    Args:
      dataset: with labels, whose number is K.
      names: some of NAMES and FURTHER.
      seed: of all of them.
    """
    if any(name.startswith("UMAP") for name in names):
        checks.installed("arena", "UMAP", "or leave it out of --contenders")
        import umap  # noqa: F401, before the clock runs
    num_clusters = len(np.unique(dataset.y))
    scaled, unscaled = sets.dense(dataset), sets.unscaled(dataset)
    of_scaled = dict(_OF_SCALED)
    if dataset.likelihood == "negative_binomial":
        of_scaled[_LEIDEN] = leiden
        logarithms = without_counts(dataset)
        for name in [name for name in _OF_LOGARITHMS if name in names]:
            yield _run(_OF_LOGARITHMS[name], name, logarithms, seed)[0]
    for functions, x in ((_OF_DATA, unscaled), (of_scaled, scaled)):
        for name in [name for name in functions if name in names]:
            cluster = functools.partial(functions[name], x, num_clusters, seed)
            yield _timed(name, cluster)
    if any(name in names for name in _OF_DGG):
        yield from (one for one in _of_dgg(dataset, seed) if one.method in names)
    if _CONSENSUS in names:
        yield _consensus(dataset, seed)
    if "VaDE" in names:
        yield _run("vade", "VaDE", dataset, seed)[0]


def _timed(name: str, cluster: Callable[[], Clusters]) -> Outcome:
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels, confidence = cluster()
    return Outcome(name, labels, time.perf_counter() - began, {}, confidence)


def _run(method: str, name: str, dataset: Dataset, seed: int) -> tuple[Outcome, Any]:
    """A method's default on a data set that has no preset of its own."""
    jax.clear_caches()  # VaDE does not profit from what DGG has compiled
    began = time.perf_counter()
    preset = presets.for_data(
        method,
        dataset.x,
        len(np.unique(dataset.y)),
        likelihood=dataset.likelihood if dataset.variance is None else None,
        image_shape=dataset.image_shape if method == "dgg" else None,
    )
    of_method = methods.method(method)
    told = {name: getattr(dataset, name) for name in of_method.told}
    outcome = of_method.run(dataset.x, preset, seed=seed, y=dataset.y, **told)
    seconds = time.perf_counter() - began
    details = {record["name"]: _told(record) for record in outcome.records}
    confidence = np.exp(outcome.state["log_assignment"]).max(axis=1)
    labels = outcome.state["labels"]
    return Outcome(name, labels, seconds, details, confidence), (preset, outcome)


def _consensus(dataset: Dataset, seed: int) -> Outcome:
    """What runs of DGG with several seeds have in common, and what each of them is."""
    runs = [
        _run("dgg", "DGG", dataset, _REPETITIONS * seed + number)[0]
        for number in range(_REPETITIONS)
    ]
    labels = consensus([run.labels for run in runs], len(np.unique(dataset.y)))
    details = {
        "aris": [adjusted_rand_index(dataset.y, run.labels) for run in runs],
        "standings": [run.details["evaluate"].get("standing") for run in runs],
    }
    return Outcome(_CONSENSUS, labels, sum(run.seconds for run in runs), details)


def _told(record: dict[str, Any]) -> dict[str, Any]:
    """What the arena keeps of the record of a stage."""
    names = (
        *("seconds", "ari", "standing", "agreement", "neighbor_certainty"),
        *("epochs", "stage_kept", "labels_followed", "undone"),
    )
    kept = {name: record[name] for name in names if name in record}
    if "undone" in kept:
        kept["undone"] = kept["undone"]["ari"]
    if "candidates" in record:
        kept["candidates"] = record["candidates"]
    return kept


def _of_dgg(dataset: Dataset, seed: int) -> Iterator[Outcome]:
    """DGG, and what is simpler in the spaces that its run makes."""
    found, (preset, outcome) = _run("dgg", "DGG", dataset, seed)
    rows = sets.dense(dataset)
    encode = dgg.networks_of(preset, dataset.x.shape[1]).encode
    latents = evaluate.encode_all(encode, outcome.state["encoder"], rows).mean
    embeddings = {"latents": np.asarray(latents)}
    if "embedding" in outcome.state:
        embeddings["Siamese"] = np.asarray(outcome.state["embedding"])
    judge = outcome.state["judge"]
    judged = {name.lower(): e[judge["rows"]] for name, e in embeddings.items()}
    found.details["judges"] = judges.scores(
        judge,
        found.details["initialize"]["candidates"],
        rows[judge["rows"]],
        judged,
        seed,
    )
    found.details["confidences"] = confidences.scores(outcome.state, dataset.y)
    yield found
    stages = {"latents": ("pretrain",), "Siamese": ("pretrain", "graph")}
    for space, points in embeddings.items():
        before = sum(found.details[stage]["seconds"] for stage in stages[space])
        for name, cluster in _OF_SPACES.items():
            one = _timed(
                f"{name} ({space})",
                functools.partial(cluster, points, preset.num_clusters, seed),
            )
            yield one._replace(seconds=before + one.seconds)
