"""Figures that no paper has, and that help to judge a clustering."""

import json
import pathlib

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from dgg_jax import plots
from dgg_jax.plots import GraphPanel
from dgg_jax.reports import scores
from experiments.arena import table as arena
from experiments.outcomes import outcomes
from experiments.papers.dgg import (
    FROM_KMEANS,
    agrees_maps,
    collect_maps,
    default_run,
    draw_maps,
    names_of,
    neighbor_edges,
)
from experiments.papers.exhibits import Arrays, Asked, Exhibit, Runs, Scale

_OUTCOMES = pathlib.Path("results/arena/outcomes.jsonl")
_COMPARED = pathlib.Path("results/compare-digits")
_EPOCHS = (0, 1, 2, 5, 10, 20)
_MAP_POINTS = 1000
_DRAWN_NEIGHBORS = 5  # more would cover the points


def _over_epochs(scale: Scale) -> dict[str, Asked]:
    """Each from K-means without the label fit, so that training alone moves them."""
    return {
        str(number): scale.of_images("dgg", **FROM_KMEANS, epochs=number)
        for number in _EPOCHS
    }


def _collect_graph(runs: Runs) -> Arrays:
    """The map, and edges to the nearest latents among the rows that are drawn."""
    run = runs["dgg"]
    arrays = collect_maps(_MAP_POINTS)(runs)
    rows = np.random.default_rng(0).permutation(len(run.state["labels"]))[:_MAP_POINTS]
    latents = run.state["latent_mean"][np.sort(rows)]
    return {
        "map": arrays["dgg/map"],
        "labels": arrays["dgg/labels"],
        "y": arrays["dgg/y"],
        "edges": neighbor_edges(latents, min(_DRAWN_NEIGHBORS, len(latents) - 1)),
    }


def _draw_graph(arrays: Arrays) -> Figure:
    panels = [
        GraphPanel(title, arrays["map"], arrays["edges"], arrays[groups], is_map=True)
        for title, groups in (("By cluster", "labels"), ("By true class", "y"))
    ]
    return plots.graph_panels(panels, columns=2)


def _agrees_graph(arrays: Arrays) -> str:
    ends = arrays["labels"][arrays["edges"]], arrays["y"][arrays["edges"]]
    across = [pair[:, 0] != pair[:, 1] for pair in ends]
    both = (across[0] & across[1]).sum() / max(1, across[1].sum())
    return (
        f"{across[0].mean():.1%} of the edges join two clusters, "
        f"{across[1].mean():.1%} two classes; of the latter {both:.0%} also join two "
        "clusters, the others hold a mistake in place."
    )


def _collect_ranks(runs: Runs) -> Arrays:
    """Ranks by ARI over the sets that all methods have taken, 1 is the best."""
    del runs
    found = arena.means(outcomes(_OUTCOMES), "ari")
    names = list(arena.mean_ranks(found))
    rows = [row for row in found.values() if all(name in row for name in names)]
    means = np.asarray([[np.mean(row[name]) for name in names] for row in rows])
    return {"ranks": stats.rankdata(-means, axis=1), "names": np.asarray(names)}


def _agrees_ranks(arrays: Arrays) -> str:
    means = dict(zip(arrays["names"], arrays["ranks"].mean(axis=0), strict=True))
    order = sorted(means, key=means.get)
    return (
        f"Over {len(arrays['ranks'])} data sets {order[0]} is first with a mean rank "
        f"of {means[order[0]]:.2f}, then {order[1]} with {means[order[1]]:.2f}."
    )


def _collect_times(runs: Runs) -> Arrays:
    del runs
    arrays: dict[str, np.ndarray] = {}
    found: dict[str, list[tuple[float, float]]] = {}
    for path in sorted(_COMPARED.glob("*-*.json")):
        result = json.loads(path.read_text())
        pair = scores.seconds(result), result["final"]["accuracy"]
        found.setdefault(result["config"]["method"], []).append(pair)
    for name, pairs in found.items():
        arrays[f"{name}/seconds"], arrays[f"{name}/accuracy"] = np.asarray(pairs).T
    return arrays


def _draw_times(arrays: Arrays) -> Figure:
    names = names_of(arrays)
    return plots.accuracy_by_seconds(
        names,
        [arrays[f"{name}/seconds"] for name in names],
        [arrays[f"{name}/accuracy"] for name in names],
    )


def _agrees_times(arrays: Arrays) -> str:
    means = {n: arrays[f"{n}/accuracy"].mean() for n in names_of(arrays)}
    best = max(means, key=means.get)
    seconds = arrays[f"{best}/seconds"].mean()
    return f"The best is {best}: {means[best]:.3f} in {seconds:.0f} s."


EXHIBITS = (
    Exhibit(
        "latents-by-epoch",
        "Beyond the papers",
        "The latent space over training (t-SNE)",
        "From K-means of the latents on: what joint training alone moves.",
        _over_epochs,
        collect_maps(_MAP_POINTS),
        draw_maps,
        agrees_maps,
    ),
    Exhibit(
        "graph-of-latents",
        "Beyond the papers",
        "The nearest latents joined, and where they differ",
        "In red are edges between two clusters, and between two classes: where both "
        "are red the clustering sees the border, where the right alone it does not.",
        default_run,
        _collect_graph,
        _draw_graph,
        _agrees_graph,
    ),
    Exhibit(
        "rank-diagram",
        "Beyond the papers",
        "Methods by mean rank over the arena's data sets",
        "Methods that a bar joins do not differ at the level of 0.05 (Nemenyi's test).",
        lambda scale: {},
        _collect_ranks,
        lambda arrays: plots.rank_diagram(
            arrays["ranks"], [str(name) for name in arrays["names"]]
        ),
        _agrees_ranks,
    ),
    Exhibit(
        "accuracy-by-seconds",
        "Beyond the papers",
        "Accuracy against seconds of all methods, on digits",
        "Up and to the left is better; the line joins what nothing else beats in both.",
        lambda scale: {},
        _collect_times,
        _draw_times,
        _agrees_times,
    ),
)
