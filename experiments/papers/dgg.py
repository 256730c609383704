"""Figures of DGG, Yang et al., ICCV 2019, and of its supplement."""

import jax
import numpy as np
from matplotlib.figure import Figure

from dgg_jax import distributions, graph, methods, plots
from dgg_jax.plots import GraphPanel, PlanePanel
from dgg_jax.types import Gaussian
from experiments.papers.exhibits import (
    Arrays,
    Asked,
    Exhibit,
    Runs,
    Scale,
    accuracy,
    classes,
    pixels,
)

# The start and the training of the paper, without what is ours.
FROM_KMEANS = {"init": "kmeans", "label_epochs": 0, "guard": False}
_DISTANCES = ("near", "far")
_EPOCHS = (0, 20, 300)  # of supplement figure 4
_MAP_POINTS = 1000  # likewise
_GOAL = 0.99  # of both half circles


def _moons(scale: Scale) -> dict[str, Asked]:
    runs = {}
    for distance in _DISTANCES:
        runs[f"{distance}/vade"] = scale.asked("moons", "vade", distance=distance)
        runs[f"{distance}/dgg"] = scale.asked(
            "moons", "dgg", distance=distance, **FROM_KMEANS
        )
    return runs


def _plane(runs: Runs) -> Arrays:
    """Data, and of each run latents, clusters and accuracy."""
    arrays = {}
    for name, run in runs.items():
        distance = name.partition("/")[0]
        dataset = run.config.load()
        arrays[f"{distance}/x"] = dataset.x
        arrays[f"{distance}/y"] = np.asarray(dataset.y, np.int8)
        arrays[f"{name}/latents"] = run.state["latent_mean"]
        arrays[f"{name}/labels"] = classes(dataset.y, run.state["labels"])
        arrays[f"{name}/accuracy"] = accuracy(run)
    return arrays


def _draw_moons(arrays: Arrays) -> Figure:
    panels = []
    for distance in _DISTANCES:
        x, y = arrays[f"{distance}/x"], arrays[f"{distance}/y"]
        panels.append(PlanePanel(f"Data, {distance}", x, y))
        for method, title in (("vade", "VaDE"), ("dgg", "DGG")):
            panels += _latents_and_clusters(
                arrays, distance, f"{distance}/{method}", title
            )
    return plots.plane_panels(panels, columns=5)


def _latents_and_clusters(
    arrays: Arrays, distance: str, name: str, title: str
) -> list[PlanePanel]:
    found = f"ACC {arrays[f'{name}/accuracy']:.4f}"
    labels = arrays[f"{name}/labels"]
    return [
        PlanePanel(
            f"{title}, latents", arrays[f"{name}/latents"], arrays[f"{distance}/y"]
        ),
        PlanePanel(f"{title}, clusters", arrays[f"{distance}/x"], labels, found),
    ]


def _agrees_moons(arrays: Arrays) -> str:
    found = {
        name.removesuffix("/accuracy"): float(value)
        for name, value in arrays.items()
        if name.endswith("/accuracy")
    }
    dgg, vade = (
        [found[f"{distance}/{method}"] for distance in _DISTANCES]
        for method in ("dgg", "vade")
    )
    verdict = "Agrees" if min(dgg) >= _GOAL > max(vade) else "Does not agree"
    return (
        f"{verdict}: DGG has {dgg[0]:.4f} near and {dgg[1]:.4f} far, VaDE "
        f"{vade[0]:.4f} and {vade[1]:.4f}."
    )


def _denoising(scale: Scale) -> dict[str, Asked]:
    return {
        f"{distance}/dae_gmm": scale.asked("moons", "dae_gmm", distance=distance)
        for distance in _DISTANCES
    }


def _draw_denoising(arrays: Arrays) -> Figure:
    panels = []
    for distance in _DISTANCES:
        name = f"{distance}/dae_gmm"
        panels += _latents_and_clusters(arrays, distance, name, distance.capitalize())
    return plots.plane_panels(panels, columns=4)


def _agrees_denoising(arrays: Arrays) -> str:
    near, far = (float(arrays[f"{d}/dae_gmm/accuracy"]) for d in _DISTANCES)
    verdict = "Agrees" if max(near, far) < _GOAL else "Does not agree"
    return f"{verdict}: DAE+GMM has {near:.4f} near and {far:.4f} far."


def _graphs_of_moons(scale: Scale) -> dict[str, Asked]:
    return {
        distance: scale.asked("moons", "dgg", distance=distance, **FROM_KMEANS)
        for distance in _DISTANCES
    }


def neighbor_edges(x: np.ndarray, num_neighbors: int) -> np.ndarray:
    """Pairs of a row and one of its nearest, each once, int32 [E, 2]."""
    indices, _ = graph.knn(x, num_neighbors)
    pairs = np.column_stack(
        [np.repeat(np.arange(len(x)), num_neighbors), np.asarray(indices).ravel()]
    )
    return np.unique(np.sort(pairs, axis=1), axis=0).astype(np.int32)


def _collect_graphs(runs: Runs) -> Arrays:
    arrays = {}
    for distance, run in runs.items():
        dataset = run.config.load()
        arrays[f"{distance}/x"] = dataset.x
        arrays[f"{distance}/y"] = np.asarray(dataset.y, np.int8)
        arrays[f"{distance}/edges"] = neighbor_edges(
            dataset.x, run.config.preset.num_neighbors
        )
    return arrays


def _draw_graphs(arrays: Arrays) -> Figure:
    parts = ("x", "edges", "y")
    panels = [
        GraphPanel(distance.capitalize(), *(arrays[f"{distance}/{p}"] for p in parts))
        for distance in _DISTANCES
    ]
    return plots.graph_panels(panels, columns=2)


def _across(arrays: Arrays, name: str) -> float:
    """The share of edges whose ends differ in class."""
    ends = arrays[f"{name}/y"][arrays[f"{name}/edges"]]
    return float((ends[:, 0] != ends[:, 1]).mean())


def _agrees_graphs(arrays: Arrays) -> str:
    near, far = (_across(arrays, distance) for distance in _DISTANCES)
    return (
        f"Of the edges {near:.2%} join the two half circles near, {far:.2%} far; the "
        "paper gives no number."
    )


def default_run(scale: Scale) -> dict[str, Asked]:
    """DGG as it comes."""
    return {"dgg": scale.of_images("dgg")}


def _collect_traversals(components: int | None) -> ...:
    def collect(runs: Runs) -> Arrays:
        run = runs["dgg"]
        dataset, model = run.config.load(), run.model.model_
        shares = np.bincount(run.state["labels"], minlength=model.preset.num_clusters)
        order = np.argsort(-shares, kind="stable")[:components]
        decoded = methods.method("dgg").traversals(model)[np.sort(order)]
        return {
            "pixels": pixels(decoded),
            "logvar": np.asarray(model.params["mixture"].logvar)[np.sort(order)],
            "feature_shape": np.asarray(dataset.feature_shape),
        }

    return collect


def _draw_traversals(arrays: Arrays) -> Figure:
    decoded = arrays["pixels"] / 255.0
    return plots.traversals(
        decoded,
        tuple(arrays["feature_shape"].tolist()),
        arrays["logvar"],
        range(len(decoded)),
    )


def _agrees_traversals(arrays: Arrays) -> str:
    variances = -np.sort(-np.exp(arrays["logvar"]), axis=1)
    share = float((variances[:, :2].sum(axis=1) / variances.sum(axis=1)).mean())
    changes = arrays["pixels"].astype(float).std(axis=2).mean(axis=-1)
    rank = np.mean(
        [
            np.corrcoef(change, np.exp(logvar))[0, 1]
            for change, logvar in zip(changes, arrays["logvar"], strict=True)
        ]
    )
    even = 2 / variances.shape[1]
    verdict = "Agrees" if share >= 0.5 else "Agrees in part"
    return (
        f"{verdict}: along coordinates of more variance the images change more "
        f"(correlation {rank:.2f}); the two largest variances have {share:.0%} of all "
        f"({even:.0%} if they were equal), where the paper's seem sparser."
    )


def _stages(scale: Scale) -> dict[str, Asked]:
    """As printed but for the rate: at 0.02 all clusters of digits fall into one."""
    epochs = (0, 1, 2) if scale.is_quick else _EPOCHS
    settings = {"objective": "node", "learning_rate": 2e-3}
    return {
        str(number): scale.of_images("dgg", "paper", **settings, epochs=number)
        for number in epochs
    }


def collect_maps(num_points: int) -> ...:
    """What makes t-SNE maps of the latents of some rows of each run.

    Args:
      num_points: of so many rows, the same for all.
    """

    def collect(runs: Runs) -> Arrays:
        arrays = {}
        for name, run in runs.items():
            dataset = run.config.load()
            total = len(run.state["labels"])
            rows = np.random.default_rng(0).permutation(total)[:num_points]
            rows = np.sort(rows)
            labels = classes(dataset.y, run.state["labels"])
            latents = run.state["latent_mean"][rows]
            arrays[f"{name}/map"] = plots.tsne(latents).astype(np.float32)
            arrays[f"{name}/y"] = np.unique(dataset.y, return_inverse=True)[1][
                rows
            ].astype(np.int16)
            arrays[f"{name}/labels"] = labels[rows]
            arrays[f"{name}/accuracy"] = accuracy(run)
            arrays[f"{name}/purity"] = _purity(latents, arrays[f"{name}/y"])
        return arrays

    return collect


def _purity(latents: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The share of ten nearest latents of the same class, a number."""
    indices, _ = graph.knn(np.asarray(latents, np.float32), min(10, len(latents) - 1))
    return (y[np.asarray(indices)] == y[:, None]).mean()


def names_of(arrays: Arrays) -> list[str]:
    """The runs that arrays are of, in their order."""
    return list(dict.fromkeys(name.partition("/")[0] for name in arrays))


def draw_maps(arrays: Arrays, columns: int = 3) -> Figure:
    """Maps of runs by their numbers of epochs, coloured by class."""
    panels = [
        PlanePanel(
            f"{name} epochs",
            arrays[f"{name}/map"],
            arrays[f"{name}/y"],
            f"ACC {arrays[f'{name}/accuracy']:.3f}",
            is_map=True,
        )
        for name in names_of(arrays)
    ]
    return plots.plane_panels(panels, columns=columns)


def agrees_maps(arrays: Arrays) -> str:
    """Whether classes lie closer together, and clusters are purer, as training goes."""
    names = names_of(arrays)
    purity = [float(arrays[f"{name}/purity"]) for name in names]
    first, *_, last = (float(arrays[f"{name}/accuracy"]) for name in names)
    verdicts = (purity[-1] > purity[0], last >= first)
    verdict = {2: "Agrees", 1: "Agrees in part", 0: "Does not agree"}[sum(verdicts)]
    told = ", ".join(f"{p:.3f} after {n}" for n, p in zip(names, purity, strict=True))
    return (
        f"{verdict}: of the ten nearest latents the share of the same class is {told} "
        f"epochs; the accuracy goes from {first:.3f} to {last:.3f}."
    )


def _orientation(runs: Runs) -> Arrays:
    """JS of two Gaussians of one diagonal covariance at a distance of 2."""
    del runs
    angles = np.linspace(0.0, 2.0 * np.pi, 181)
    ratios = np.asarray([1.0, 2.0, 4.0, 8.0])
    eps = np.random.default_rng(0).normal(size=(4_000, 2)).astype(np.float32)
    # Each draw also turned by 45, 90, ... degrees: so no direction is favoured.
    turns = np.exp(0.25j * np.pi * np.arange(8))
    turned = (eps[:, 0] + 1j * eps[:, 1])[:, None] * turns
    eps = np.stack([turned.real, turned.imag], axis=-1).reshape(-1, 2)

    def divergence(angle, ratio):
        logvar = jax.numpy.log(jax.numpy.stack([ratio, 1.0 / ratio])) / 2
        offset = jax.numpy.stack([jax.numpy.cos(angle), jax.numpy.sin(angle)])
        p, q = Gaussian(-offset, logvar), Gaussian(offset, logvar)
        return distributions.jensen_shannon(p, q, eps)

    def of_ratio(ratio):
        return jax.lax.map(lambda angle: divergence(angle, ratio), angles)

    values = jax.lax.map(of_ratio, ratios)
    return {
        "angles": angles,
        "divergence": np.asarray(values, np.float32),
        "ratios": ratios,
    }


def _agrees_orientation(arrays: Arrays) -> str:
    degrees = np.degrees(arrays["angles"])
    wide = arrays["divergence"][-1]
    at = degrees[wide.argmin()] % 180.0
    aligned = min(at, 180.0 - at) < 3.0 or abs(at - 90.0) < 3.0
    verdict = "Agrees" if aligned else "Does not agree"
    lowest, highest = wide.min(), wide.max()
    return (
        f"{verdict}: with variances as 1 to 8 the divergence is least, {lowest:.3f} "
        f"nats, where the means differ along the wide coordinate, and {highest:.3f} "
        "across it. Of equal variances it is the same everywhere. Along the narrow "
        "coordinate it is largest, so it is aligning with the wide one that pays."
    )


EXHIBITS = (
    Exhibit(
        "dgg-fig1",
        "DGG, figure 1",
        "Half circles near and far: data, VaDE and DGG",
        "DGG separates the half circles at both distances, VaDE at neither.",
        _moons,
        _plane,
        _draw_moons,
        _agrees_moons,
    ),
    Exhibit(
        "dgg-fig2",
        "DGG, figure 2",
        "What each latent coordinate does, and its variance: four clusters",
        "Along coordinates of large variance the digits change, along others they do "
        "not, and few variances are large.",
        default_run,
        _collect_traversals(4),
        _draw_traversals,
        _agrees_traversals,
    ),
    Exhibit(
        "dgg-supp-fig1",
        "DGG, supplement, figure 1",
        "Jensen-Shannon divergence of two Gaussians by orientation",
        "The divergence is least where the two are aligned with the coordinates.",
        lambda scale: {},
        _orientation,
        lambda arrays: plots.divergence_by_orientation(**arrays),
        _agrees_orientation,
    ),
    Exhibit(
        "dgg-supp-fig2",
        "DGG, supplement, figure 2",
        "Half circles by a denoising autoencoder and a Gaussian mixture",
        "DAE+GMM separates the half circles at neither distance.",
        _denoising,
        _plane,
        _draw_denoising,
        _agrees_denoising,
    ),
    Exhibit(
        "dgg-supp-fig3",
        "DGG, supplement, figure 3",
        "The graphs of the half circles",
        "Edges join near points, nearly all of them within a half circle.",
        _graphs_of_moons,
        _collect_graphs,
        _draw_graphs,
        _agrees_graphs,
    ),
    Exhibit(
        "dgg-supp-fig4",
        "DGG, supplement, figure 4",
        "Latents before training, after 20 and after 300 epochs (t-SNE)",
        "With training the latents become more compact, the clusters purer and better "
        "separated.",
        _stages,
        collect_maps(_MAP_POINTS),
        draw_maps,
        agrees_maps,
    ),
    Exhibit(
        "dgg-supp-fig5",
        "DGG, supplement, figure 5",
        "What each latent coordinate does, and its variance: all clusters",
        "As figure 2, of more clusters.",
        default_run,
        _collect_traversals(None),
        _draw_traversals,
        _agrees_traversals,
    ),
)
