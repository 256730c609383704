"""Figures of GMVAE, Dilokthanakul et al., 2016."""

import numpy as np
from matplotlib.figure import Figure

from dgg_jax import methods, plots
from dgg_jax.methods.gmvae import style_traversals
from dgg_jax.plots import PlanePanel
from dgg_jax.runs.finished import FinishedRun
from experiments.papers.exhibits import (
    Arrays,
    Asked,
    Exhibit,
    Runs,
    Scale,
    accuracy,
    classes,
    draw_samples,
    pixels,
)

_DRAWN = 2000  # points of a density, for each cluster
_SAMPLES = 10
_ON_THE_WAY = 15  # epochs: clusters have spread, and the term is not active yet
CELLS = [(k, m) for k in (10, 16, 30) for m in (1, 10)]


def _arcs(scale: Scale) -> dict[str, Asked]:
    return {
        "free": scale.asked("pinwheel", "gmvae", information_constraint=0.0),
        "way": scale.asked(
            "pinwheel", "gmvae", epochs=1 if scale.is_quick else _ON_THE_WAY
        ),
        "end": scale.asked("pinwheel", "gmvae"),
        "gmm": scale.asked("pinwheel", "gmm"),
    }


def _collect_densities(runs: Runs) -> Arrays:
    x = runs["end"].config.load().x
    model = runs["end"].model.model_
    drawn = methods.method("gmvae").samples_per_cluster(model, _DRAWN, 0)
    labels = runs["gmm"].state["labels"]
    random = np.random.default_rng(0)
    mixture = [
        random.multivariate_normal(
            x[labels == k].mean(axis=0), np.cov(x[labels == k].T), (labels == k).sum()
        )
        for k in np.unique(labels)
    ]
    return {
        "data": x,
        "gmvae": drawn.reshape(-1, 2).astype(np.float32),
        "gmm": np.concatenate(mixture).astype(np.float32),
    }


def _draw_densities(arrays: Arrays) -> Figure:
    names = {"data": "Data", "gmvae": "GMVAE", "gmm": "Gaussian mixture"}
    return plots.density_panels({names[k]: v for k, v in arrays.items()})


def _far_from_data(arrays: Arrays, name: str) -> float:
    """The share of a model's points farther from the data than the data are apart."""
    from sklearn.neighbors import NearestNeighbors

    data = arrays["data"]
    search = NearestNeighbors(n_neighbors=2).fit(data)
    apart = np.quantile(search.kneighbors(data)[0][:, 1], 0.99)
    return float((search.kneighbors(arrays[name], 1)[0][:, 0] > apart).mean())


def _agrees_densities(arrays: Arrays) -> str:
    ours, gaussian = (_far_from_data(arrays, name) for name in ("gmvae", "gmm"))
    verdict = "Agrees" if ours < gaussian else "Does not agree"
    return (
        f"{verdict}: where hardly any data lie (farther from them than 99 % of them "
        f"are from the next) are {ours:.1%} of GMVAE's points, decoded means without "
        f"the noise of p(x | z), and {gaussian:.1%} of the mixture's."
    )


def _collect_latents(runs: Runs) -> Arrays:
    arrays = {}
    for name in ("free", "way", "end"):
        run = runs[name]
        y = run.config.load().y
        arrays[f"{name}/latents"] = run.state["latent_mean"]
        arrays[f"{name}/y"] = np.asarray(y, np.int8)
        arrays[f"{name}/labels"] = classes(y, run.state["labels"])
        arrays[f"{name}/accuracy"] = accuracy(run)
        arrays[f"{name}/epochs"] = np.asarray(run.config.preset.epochs)
    return arrays


def _draw_latents(arrays: Arrays) -> Figure:
    titles = {"free": "No constraint", "way": "Constraint, early", "end": "Constraint"}
    return plots.plane_panels(
        [
            PlanePanel(
                title,
                arrays[f"{name}/latents"],
                arrays[f"{name}/y"],
                f"{arrays[f'{name}/epochs']} epochs, ACC "
                f"{arrays[f'{name}/accuracy']:.3f}",
            )
            for name, title in titles.items()
        ],
        columns=3,
    )


def _agrees_latents(arrays: Arrays) -> str:
    free, way, end = (float(arrays[f"{n}/accuracy"]) for n in ("free", "way", "end"))
    verdict = "Agrees" if end >= 0.99 > free else "Does not agree"
    return (
        f"{verdict}: the accuracy is {free:.3f} without the constraint, {way:.3f} on "
        f"the way and {end:.3f} at the end with it."
    )


def _two(scale: Scale) -> dict[str, Asked]:
    return {name: run for name, run in _arcs(scale).items() if name in ("free", "end")}


def _collect_terms(runs: Runs) -> Arrays:
    arrays = {}
    for name, run in runs.items():
        lines = [line for line in run.history if line.get("loop") == "train"]
        arrays[f"{name}/term"] = np.asarray([line["cluster_prior"] for line in lines])
        constraint = run.config.preset.information_constraint
        arrays[f"{name}/constraint"] = np.asarray(constraint)
    return arrays


_TERMS = {"free": "Without a constraint", "end": "With the constraint"}


def _draw_terms(arrays: Arrays) -> Figure:
    return plots.prior_terms(
        {title: arrays[f"{name}/term"] for name, title in _TERMS.items()},
        {title: float(arrays[f"{name}/constraint"]) for name, title in _TERMS.items()},
    )


def _agrees_terms(arrays: Arrays) -> str:
    free, end = (float(arrays[f"{name}/term"][-1]) for name in _TERMS)
    constraint = float(arrays["end/constraint"])
    agrees = abs(free) < constraint < abs(end)
    return (
        f"{'Agrees' if agrees else 'Does not agree'}: without the constraint the term "
        f"ends at {free:.3f} nats, with one of {constraint:g} at {end:.3f}."
    )


def run_of_cell(scale: Scale, k: int, m: int) -> Asked:
    """GMVAE with K clusters and M draws; the printed rate is MNIST's."""
    preset = "paper" if scale.images == "mnist" else "default"
    return scale.of_images("gmvae", preset, num_clusters=k, num_samples=m)


def _cells(scale: Scale) -> dict[str, Asked]:
    return {f"K = {k}, M = {m}": run_of_cell(scale, k, m) for k, m in CELLS}


def _collect_cells(runs: Runs) -> Arrays:
    arrays = {}
    for name, run in runs.items():
        lines = [line for line in run.history if line.get("loop") == "train"]
        arrays[f"{name}/curve"] = np.asarray(
            [np.ravel(line["confident_label_accuracy"])[0] for line in lines]
        )
        final = run.result["final"]
        arrays[f"{name}/score"] = np.asarray(final["confident_label_accuracy"])
        arrays[f"{name}/accuracy"] = accuracy(run)
    return arrays


def _draw_cells(arrays: Arrays) -> Figure:
    curves = {
        name.removesuffix("/curve"): value
        for name, value in arrays.items()
        if name.endswith("/curve")
    }
    return plots.accuracy_by_epoch(curves, {})


def scores_of_cells(arrays: Arrays) -> dict[tuple[int, int], float]:
    """GMVAE's own score by K and M."""
    return {(k, m): float(arrays[f"K = {k}, M = {m}/score"]) for k, m in CELLS}


def agrees_cells(arrays: Arrays) -> str:
    """Whether more clusters and more draws help."""
    score = scores_of_cells(arrays)
    more_clusters = np.mean([score[30, m] - score[10, m] for m in (1, 10)])
    more_draws = np.mean([score[k, 10] - score[k, 1] for k in (10, 16, 30)])
    verdict = "Agrees" if more_clusters > 0 else "Does not agree"
    return (
        f"{verdict}: in the paper's score 30 clusters in place of 10 bring "
        f"{more_clusters:+.3f}, 10 draws in place of 1 {more_draws:+.3f} (means). The "
        "curves are that score, of the rows of the test where there is one."
    )


def _one(scale: Scale) -> dict[str, Asked]:
    return {"gmvae": scale.of_images("gmvae")}


def _samples_at_zero(run: FinishedRun) -> np.ndarray:
    w = np.zeros((1, run.config.preset.w_dim), np.float32)
    sampled = methods.method("gmvae").samples_per_cluster
    return pixels(sampled(run.model.model_, _SAMPLES, 0, w=w))


def _collect_samples(runs: Runs) -> Arrays:
    run = runs["gmvae"]
    return {
        "samples": _samples_at_zero(run),
        "styles": pixels(style_traversals(run.model.model_, _SAMPLES)),
        "feature_shape": np.asarray(run.config.load().feature_shape),
        "accuracy": accuracy(run),
    }


def _draw_samples(arrays: Arrays) -> Figure:
    titles = {"samples": "z drawn at w = 0", "styles": "w on its way, z the mean"}
    return draw_samples(arrays, titles)


def _agrees_samples(arrays: Arrays) -> str:
    samples = arrays["samples"].astype(float)
    between = samples.mean(axis=1).std(axis=0).mean()
    along = arrays["styles"].astype(float).std(axis=1).mean()
    verdict = "Agrees in part" if between > along else "Does not agree"
    return (
        f"{verdict}: accuracy {arrays['accuracy']:.3f}. Pixels vary by {between:.0f} "
        f"of 255 between the clusters' means and by {along:.0f} along the way of w. "
        "Whether a row is one digit is for the eye."
    )


def _house_numbers(scale: Scale) -> dict[str, Asked]:
    return {"gmvae": scale.asked("svhn", "gmvae")}


def _collect_house_numbers(runs: Runs) -> Arrays:
    run = runs["gmvae"]
    return {
        "samples": _samples_at_zero(run),
        "feature_shape": np.asarray(run.config.load().feature_shape),
    }


EXHIBITS = (
    Exhibit(
        "gmvae-fig2-densities",
        "GMVAE, figure 2, a to c",
        "Five arcs: the data, and what GMVAE and a Gaussian mixture make of them",
        "GMVAE's mixture of non-Gaussian parts fits the arcs, Gaussians do not.",
        _arcs,
        _collect_densities,
        _draw_densities,
        _agrees_densities,
    ),
    Exhibit(
        "gmvae-fig2-latents",
        "GMVAE, figure 2, d to f",
        "Latents of the five arcs without and with the information constraint",
        "Without the constraint the arcs merge in the latent space; with it they "
        "spread and end as one cluster each.",
        _arcs,
        _collect_latents,
        _draw_latents,
        _agrees_latents,
    ),
    Exhibit(
        "gmvae-fig3",
        "GMVAE, figure 3",
        "The z-prior term over the epochs of training",
        "Without the constraint the term stays at 0; with it, it falls below the "
        "threshold (dashed) and goes on falling.",
        _two,
        _collect_terms,
        _draw_terms,
        _agrees_terms,
    ),
    Exhibit(
        "gmvae-fig4",
        "GMVAE, figure 4",
        "Accuracy over the epochs for K clusters and M draws",
        "It converges within few epochs; more clusters help considerably.",
        _cells,
        _collect_cells,
        _draw_cells,
        agrees_cells,
    ),
    Exhibit(
        "gmvae-fig5",
        "GMVAE, figure 5",
        "Samples of every component, and what w does",
        "A row of samples is one digit; along w its style changes.",
        _one,
        _collect_samples,
        _draw_samples,
        _agrees_samples,
    ),
    Exhibit(
        "gmvae-fig6",
        "GMVAE, figure 6",
        "Samples of every component of house numbers (SVHN)",
        "Images of a component look alike.",
        _house_numbers,
        _collect_house_numbers,
        _draw_samples,
        lambda arrays: "Whether images of a row look alike is for the eye.",
        missing="SVHN is not here: bring its files train_32x32.mat, test_32x32.mat.",
    ),
)
