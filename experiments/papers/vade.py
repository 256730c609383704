"""Figures of VaDE, Jiang et al., IJCAI 2017."""

import numpy as np
from matplotlib.figure import Figure

from dgg_jax import methods, plots
from dgg_jax.plots import PlanePanel, RightPanel
from dgg_jax.reports import published
from dgg_jax.reports.method_names import METHOD_NAMES
from experiments.papers.dgg import collect_maps, names_of
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

_MAP_POINTS = 2000  # of figure 4
_SAMPLES = 10
_LEVEL = 0.94  # that VaDE rises to in figure 2
_CURVES = ("vade", "dec", "ae_gmm", "vae_gmm", "gmm")
_NAMES = {name: METHOD_NAMES[name] for name in _CURVES}


def _curves(scale: Scale) -> dict[str, Asked]:
    return {name: scale.of_images(name) for name in _NAMES}


def _collect_curves(runs: Runs) -> Arrays:
    vade = runs["vade"]
    lines = [line for line in vade.history if line.get("loop") == "train"]
    curve = np.asarray([np.ravel(line["accuracy"]).max() for line in lines])
    arrays = {f"{name}/accuracy": accuracy(run) for name, run in runs.items()}
    quoted = published.figure("ldmgi", vade.config.dataset)
    if quoted is not None and vade.config.is_whole:
        arrays["LDMGI/quoted"] = np.asarray(quoted["accuracy"])
    return arrays | {"curve": curve}


def _draw_curves(arrays: Arrays) -> Figure:
    levels = {
        _NAMES[name]: float(arrays[f"{name}/accuracy"])
        for name in _NAMES
        if name != "vade"
    }
    quoted = {}
    if "LDMGI/quoted" in arrays:
        quoted["LDMGI"] = float(arrays["LDMGI/quoted"])
    return plots.accuracy_by_epoch({"VaDE": arrays["curve"]}, levels, quoted)


def _agrees_curves(arrays: Arrays) -> str:
    found = {name: float(arrays[f"{name}/accuracy"]) for name in _NAMES}
    above = [_NAMES[n] for n, value in found.items() if value > found["vade"]]
    told = ", ".join(f"{_NAMES[name]} {value:.3f}" for name, value in found.items())
    verdict = "Agrees" if found["vade"] >= _LEVEL else "Agrees in the order alone"
    if above:
        verdict = f"Does not agree, {' and '.join(above)} ends above it"
    return (
        f"{verdict}: {told}. AE+GMM is a level here, as its mixture is fitted when the "
        "autoencoder is trained; the paper follows it over epochs."
    )


def _generated(scale: Scale) -> dict[str, Asked]:
    return {name: scale.of_images(name) for name in ("vade", "gmm")}


def _collect_generated(runs: Runs) -> Arrays:
    dataset = runs["vade"].config.load()
    x, y = np.asarray(dataset.x), np.asarray(dataset.y)
    model = runs["vade"].model.model_
    drawn = methods.method("vade").samples_per_cluster(model, _SAMPLES, 0)
    samples = {
        "vade": _by_class(y, runs["vade"].state["labels"], drawn),
        "gmm": _by_class(
            y,
            runs["gmm"].state["labels"],
            _of_moments(x, runs["gmm"].state["labels"], len(drawn)),
        ),
    }
    arrays = {name: pixels(rows) for name, rows in samples.items()}
    arrays |= {f"{name}/accuracy": accuracy(run) for name, run in runs.items()}
    return arrays | {"feature_shape": np.asarray(dataset.feature_shape)}


def _by_class(y: np.ndarray, labels: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Samples [K, M, D] in the order of the classes that clusters are matched to."""
    matched = classes(y, labels)
    class_of = {k: matched[labels == k][0] for k in np.unique(labels)}
    order = sorted(range(len(drawn)), key=lambda k: class_of.get(k, len(drawn) + k))
    return drawn[order]


def _of_moments(x: np.ndarray, labels: np.ndarray, num_clusters: int) -> np.ndarray:
    """Rows drawn from a Gaussian of each cluster, [K, M, D]; an empty one is black."""
    random = np.random.default_rng(0)
    drawn = np.zeros((num_clusters, _SAMPLES, x.shape[1]), np.float32)
    for cluster in np.unique(labels):
        members = x[labels == cluster]
        centered = members - members.mean(axis=0)
        # Draws of full covariance without forming it: rows mixed by normal weights.
        weights = random.normal(size=(_SAMPLES, len(members))) / np.sqrt(len(members))
        drawn[cluster] = members.mean(axis=0) + weights @ centered
    return drawn


def _draw_generated(arrays: Arrays) -> Figure:
    return draw_samples(arrays, {name: _NAMES[name] for name in ("vade", "gmm")})


def _agrees_generated(arrays: Arrays) -> str:
    sharp = {
        name: float(np.abs(np.diff(arrays[name].astype(float))).mean())
        for name in ("vade", "gmm")
    }
    verdict = "Agrees" if sharp["gmm"] > sharp["vade"] else "Does not agree"
    return (
        f"{verdict}: neighbouring pixels of VaDE's digits differ by "
        f"{sharp['vade']:.0f} of 255, those of the mixture by {sharp['gmm']:.0f}, "
        "which is noise. Rows are in the order of the classes that clusters are "
        "matched to. The paper's CGAN, which is trained with labels, is no method here."
    )


def _learned(scale: Scale) -> dict[str, Asked]:
    return {name: scale.of_images(name) for name in ("vae_gmm", "dec", "vade")}


def _draw_learned(arrays: Arrays) -> Figure:
    """By class, in the colours of the classes."""
    return plots.plane_panels(
        [
            PlanePanel(
                _embedding_of(name),
                arrays[f"{name}/map"],
                arrays[f"{name}/y"],
                is_map=True,
                names=True,
            )
            for name in names_of(arrays)
        ],
        columns=3,
    )


def _embedding_of(name: str) -> str:
    return {"vae_gmm": "VAE"}.get(name, _NAMES[name])


def _draw_mistakes(arrays: Arrays) -> Figure:
    return plots.right_and_wrong(
        [
            RightPanel(
                _embedding_of(name),
                arrays[f"{name}/map"],
                arrays[f"{name}/labels"] == arrays[f"{name}/y"],
                f"ACC {arrays[f'{name}/accuracy']:.3f}",
            )
            for name in names_of(arrays)
        ],
        columns=3,
    )


def _agrees_learned(arrays: Arrays) -> str:
    purity = {name: float(arrays[f"{name}/purity"]) for name in names_of(arrays)}
    best = max(purity, key=purity.get)
    verdict = "Agrees" if best == "vade" else "Does not agree"
    told = ", ".join(f"{_embedding_of(n)} {p:.3f}" for n, p in purity.items())
    return (
        f"{verdict}: of the ten nearest latents the share of the same class is {told}."
    )


def _agrees_mistakes(arrays: Arrays) -> str:
    wrong = {
        name: int((arrays[f"{name}/labels"] != arrays[f"{name}/y"]).sum())
        for name in names_of(arrays)
    }
    fewest = min(wrong, key=wrong.get)
    verdict = "Agrees" if fewest == "vade" else "Does not agree"
    told = ", ".join(f"{_embedding_of(name)} {count}" for name, count in wrong.items())
    drawn = len(arrays["vade/y"])
    return f"{verdict}: of {drawn:,} points drawn, wrong are {told}."


def _numbers_of_clusters(scale: Scale) -> dict[str, Asked]:
    return {str(k): scale.of_images("vade", num_clusters=k) for k in (7, 14)}


def _collect_numbers(runs: Runs) -> Arrays:
    arrays = {}
    for name, run in runs.items():
        dataset = run.config.load()
        y, labels = np.asarray(dataset.y), run.state["labels"]
        rows = [_members(labels == k) for k in range(int(name))]
        members = np.asarray(dataset.x)[np.concatenate(rows)]
        arrays[name] = pixels(members.reshape(int(name), _SAMPLES, -1))
        arrays[f"{name}/counts"] = np.asarray(
            [
                np.bincount(y[labels == k], minlength=y.max() + 1)
                for k in range(int(name))
            ]
        )
        arrays["feature_shape"] = np.asarray(dataset.feature_shape)
    return arrays


def _members(belongs: np.ndarray) -> np.ndarray:
    """Some rows of a cluster, as many as are drawn; of an empty one any."""
    rows = np.flatnonzero(belongs if belongs.any() else ~belongs)
    return np.random.default_rng(0).choice(rows, _SAMPLES, replace=len(rows) < _SAMPLES)


def _draw_numbers(arrays: Arrays) -> Figure:
    return draw_samples(arrays, {name: f"{name} clusters" for name in ("7", "14")})


def _agrees_numbers(arrays: Arrays) -> str:
    """Which classes share a cluster of 7, and which have several of 14."""
    few, many = arrays["7/counts"], arrays["14/counts"]
    shares = few / np.maximum(few.sum(axis=1, keepdims=True), 1)
    joined = [
        "".join(map(str, np.flatnonzero(row > 0.2)))
        for row in shares
        if (row > 0.2).sum() > 1
    ]
    leaders = many.argmax(axis=1)
    split = [str(c) for c in np.unique(leaders) if (leaders == c).sum() > 1]
    agrees = bool(joined) and bool(split)
    return (
        f"{'Agrees' if agrees else 'Does not agree'}: of 7 clusters the classes that "
        f"share one are {', '.join(joined) or 'none'}; of 14 the classes with several "
        f"are {', '.join(split) or 'none'}."
    )


EXHIBITS = (
    Exhibit(
        "vade-fig2",
        "VaDE, figure 2",
        "Accuracy over the epochs of training",
        "VaDE rises above 0.94 and ends above AE+GMM, VAE+GMM, DEC, LDMGI and GMM.",
        _curves,
        _collect_curves,
        _draw_curves,
        _agrees_curves,
    ),
    Exhibit(
        "vade-fig3",
        "VaDE, figure 3",
        "Digits that VaDE and a Gaussian mixture generate, a row for each cluster",
        "VaDE's digits are sharper, smoother and more diverse than those of a "
        "conditional GAN and of a Gaussian mixture.",
        _generated,
        _collect_generated,
        _draw_generated,
        _agrees_generated,
    ),
    Exhibit(
        "vade-fig4-classes",
        "VaDE, figure 4, first row",
        "Latents of a VAE, DEC and VaDE by class (t-SNE)",
        "A VAE's latents do not part the classes; VaDE's part them better than DEC's.",
        _learned,
        collect_maps(_MAP_POINTS),
        _draw_learned,
        _agrees_learned,
    ),
    Exhibit(
        "vade-fig4-mistakes",
        "VaDE, figure 4, second row",
        "The same latents: what is clustered right and wrong",
        "VaDE makes fewer mistakes than DEC, most of them at the borders of clusters.",
        _learned,
        collect_maps(_MAP_POINTS),
        _draw_mistakes,
        _agrees_mistakes,
    ),
    Exhibit(
        "vade-fig5",
        "VaDE, figure 5",
        "Digits of 7 and of 14 clusters, a row for each",
        "Of 7 clusters similar digits share one (4 and 9, 3 and 8); of 14 some digits "
        "have two (fat and thin 0, upright and slanted 1).",
        _numbers_of_clusters,
        _collect_numbers,
        _draw_numbers,
        _agrees_numbers,
    ),
)
