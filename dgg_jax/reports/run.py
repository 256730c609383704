"""The report of a run: its figures, and one self-contained HTML page."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dgg_jax import plots
from dgg_jax.checks import is_image
from dgg_jax.metrics import collapse_warning, matched_rows, thin_clusters
from dgg_jax.plots import LatentMap
from dgg_jax.plots.confusion import class_name
from dgg_jax.plots.palette import cluster_color
from dgg_jax.progress import as_trained
from dgg_jax.reports import latent_map, page, scores
from dgg_jax.reports.columns import column_means
from dgg_jax.reports.inputs import ReportInputs
from dgg_jax.reports.members import card, members
from dgg_jax.reports.method_names import METHOD_NAMES
from dgg_jax.reports.terms import explained
from dgg_jax.reports.thumbnails import separate
from dgg_jax.stages.cluster_count import ClusterCount
from dgg_jax.storage.folders import write_atomically

_SCORES = {"accuracy": "ACC", "nmi": "NMI", "ari": "ARI"}
_CONFIDENT = "confident_label_accuracy"  # GMVAE's own score, erratum E62
_TERMS = {
    "reconstruction": "Reconstruction",
    "latent_prior": "Latent prior",
    "latent_entropy": "Latent entropy",
    "cluster_prior": "Cluster prior",
    "cluster_entropy": "Cluster entropy",
}
_TYPICAL = 3  # rows of a cluster that are named
_CANDIDATES = 8  # that are shown
_DOUBTFUL = 20  # rows to check
_STRANGE = 10
_SIDE = 64  # pixels of an image on a card


def write_report(workdir: pathlib.Path, inputs: ReportInputs) -> pathlib.Path:
    """Writes ``figures/*.png`` and ``report.html``.

    The page embeds its images and its style and requests nothing. Every file appears
    whole or not at all.

    Args:
      workdir: directory of the run; made if it does not exist.
      inputs: the finished run.

    Returns:
      The path of ``report.html``.

    Raises:
      ValueError: if the arrays do not fit together.
      OSError: if a file cannot be written.
    """
    workdir = pathlib.Path(workdir)
    folder = workdir / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    html, pictures = report_page(inputs, _files(workdir))
    for name, picture in pictures.items():
        write_atomically(folder / f"{name}.png", picture.png)
    write_atomically(workdir / "report.html", html.encode())
    return workdir / "report.html"


def report_page(
    inputs: ReportInputs, files: Sequence[str] = ()
) -> tuple[str, dict[str, page.Picture]]:
    """The page of a run or of a fitted estimator.

    Args:
      inputs: what it shows.
      files: what lies beside it; without any, the page speaks of an estimator's
        attributes in place of predictions.npz.

    Returns:
      The HTML, and by their names the pictures that are in it.

    Raises:
      ValueError: if the arrays do not fit together.
    """
    drawn = plots.latent_map(inputs.latents, _most_points(inputs))
    pictures = {
        name: page.picture(figure)
        for name, figure in report_figures(inputs, drawn).items()
    }
    shown = {**_shown(inputs), **_rows_shown(inputs, drawn)}
    html = page.render("run.html", **shown, pictures=pictures, files=files)
    return html, pictures


def _most_points(inputs: ReportInputs) -> int:
    """How many rows go through t-SNE."""
    return 500 if inputs.config.get("preset") == "smoke" else 1500


def report_figures(
    inputs: ReportInputs, drawn: LatentMap | None = None
) -> dict[str, Figure]:
    """Draws all figures that make sense for these data; the template says of what.

    Args:
      inputs: the finished run.
      drawn: the rows in the plane, if they have been brought there.

    Returns:
      Figures by their names.
    """
    shape, labels = inputs.feature_shape, inputs.labels
    y, names = inputs.y, inputs.class_names
    num_clusters = inputs.probabilities.shape[1]
    in_plane = tuple(shape) == (2,)
    figures = {}
    if count := _estimate(inputs):
        figures["cluster_counts"] = plots.cluster_counts(*count, count.is_plateau)
    if in_plane:
        figures["points"] = plots.points(inputs.x, labels, y, names)
    if inputs.embedding is not None or not in_plane:
        most = _most_points(inputs)
        figures["latents"] = plots.latent_picture(
            inputs.latents, labels, y, names, most, drawn=drawn
        )
    if y is not None:
        figures["confusion"] = plots.confusion_matrix(y, labels, names)
    doubtful = _doubtful(inputs)
    if doubtful and is_image(shape):
        captions = [
            f"{one['row']}\n{one['cluster']} or {one['other']}" for one in doubtful
        ]
        rows = [one["index"] for one in doubtful]
        figures["doubtful"] = plots.captioned_images(inputs.x[rows], shape, captions)
    strange = _strange(inputs)
    if strange and is_image(shape):
        captions = [f"{one['row']}\n{one['elbo']:.4g}" for one in strange]
        rows = [one["index"] for one in strange]
        figures["strange"] = plots.captioned_images(inputs.x[rows], shape, captions)
    if doubtful and y is not None:
        right = matched_rows(y, labels)
        figures["reliability"] = plots.reliability(right, inputs.confidence)
    figures["sizes"] = plots.cluster_sizes(labels, num_clusters)
    if inputs.samples is not None:
        figures["samples"] = plots.cluster_samples(inputs.samples, shape)
    logvar = inputs.mixture_logvar
    if is_image(shape) and inputs.traversals is not None:
        sizes = np.bincount(labels, minlength=num_clusters)
        largest = np.sort(np.argsort(-sizes, kind="stable")[:4]).tolist()
        along = inputs.traversals
        figures["traversals"] = plots.traversals(along, shape, logvar, largest)
    if logvar is not None:
        figures["variances"] = plots.component_variances(logvar)
    if inputs.history:
        figures["curves"] = plots.training_curves(inputs.history)
    return figures


def _estimate(inputs: ReportInputs) -> ClusterCount | None:
    """What K was estimated from, if it was."""
    count = inputs.config.get("cluster_count")
    return ClusterCount.from_dict(count) if count else None


def _shown(inputs: ReportInputs) -> dict[str, Any]:
    """What the template shows beside the figures."""
    result, config = inputs.result, inputs.config
    dataset, final = result.get("dataset") or {}, result.get("final") or {}
    stages, settings = result.get("stages") or [], config.get("preset_values") or {}
    name = dataset.get("name") or config.get("dataset") or "data"
    method = str(config.get("method") or "dgg")
    num_clusters = inputs.probabilities.shape[1]
    thin = thin_clusters(inputs.labels, num_clusters)
    warning = collapse_warning(thin, num_clusters) if thin else ""
    return {
        "heading": f"{name}, clustered with {METHOD_NAMES.get(method, method)}",
        "result": result,
        "config": config,
        "final": final,
        "shape": inputs.x.shape,
        "labelled": inputs.y is not None,
        "named": inputs.names is not None,
        "embedded": inputs.embedding is not None,
        "drawn_as_they_are": inputs.latents.shape[1] <= 2,
        "images": is_image(inputs.feature_shape),
        "estimate": _estimate(inputs),
        "accuracy": page.as_number(final.get("accuracy")),
        "confidence": inputs.confidence.mean(),
        "used": len(np.unique(inputs.labels)),
        "scores": _scores(inputs),
        "stages": _stages(stages),
        "scored": _is_scored(inputs, stages),
        "bounded": any(stage.get("elbo") is not None for stage in stages),
        "terms": _TERMS,
        **_candidates(stages),
        "starts_from_them": settings.get("init", "ensemble") == "ensemble",
        "clusters": [_cluster(inputs, cluster) for cluster in range(num_clusters)],
        "stability": result.get("stability"),
        "outliers": result.get("outliers"),
        "batches": _batches(inputs),
        "doubtful": _doubtful(inputs),
        "calibrated": inputs.calibrated,
        "strange": _strange(inputs),
        "thin": thin,
        "warning": warning[:1].upper() + warning[1:],
    }


def _keys(inputs: ReportInputs, kind: str | None) -> set[str]:
    """What is measured on the page, of columns of a kind, or of images."""
    result = inputs.result
    records = [result.get("final") or {}, *(result.get("stages") or [])]
    records += result.get("profile") or []
    found = {key for one in records for key, value in one.items() if value is not None}
    found |= {"confidence", "seconds", "share", "mean_probability"}
    others = {
        "purity": inputs.y is not None,
        "latent_variance": inputs.embedding is not None,
        "outlier": inputs.elbo is not None,
        "found_again": result.get("stability") is not None,
        "deviation": kind in ("numbers", "counts"),
        "lift": kind in ("words", "counts"),
    }
    return found | {key for key, is_shown in others.items() if is_shown}


def _files(workdir: pathlib.Path) -> list[str]:
    """What lies beside the page; result.json comes after it."""
    found = [name for name in ("model", "predictions.npz") if (workdir / name).exists()]
    return [f"{name}/" if name == "model" else name for name in found] + ["result.json"]


def _rows_shown(inputs: ReportInputs, drawn: LatentMap) -> dict[str, Any]:
    """The map, and for each cluster the rows and columns of its card."""
    labels = np.asarray(inputs.labels)
    places = latent_map.placed(inputs.latents, labels, drawn)
    means = None if is_image(inputs.feature_shape) else column_means(inputs)
    kind, confidence = means and means.kind, inputs.confidence
    chosen = [
        members(inputs, cluster, confidence, places.agreement)
        for cluster in range(inputs.probabilities.shape[1])
    ]
    of_cards = [row for one in chosen for row in one.rows()]
    images = [] if means else separate(inputs.x[of_cards], inputs.feature_shape, _SIDE)
    first = of_cards + [one["index"] for one in _doubtful(inputs) + _strange(inputs)]
    data = latent_map.map_data(inputs, places.positions, means, first)
    return {
        "map": data,
        "num_mapped": len(drawn.rows),
        "num_shown": min(len(labels), max(latent_map.SHOWN, len(set(first)))),
        "num_references": places.num_references,
        "num_neighbors": latent_map.NEIGHBORS,
        "cards": [card(inputs, k, one, means) for k, one in enumerate(chosen)],
        "images_of": dict(zip(of_cards, images, strict=False)),
        "kind": kind,
        "glossary": explained(_keys(inputs, kind)),
    }


def _is_scored(inputs: ReportInputs, records: Sequence[Mapping[str, Any]]) -> bool:
    """Whether there are labels, or one of the records has a score."""
    found = (record.get(key) for record in records for key in _SCORES)
    return inputs.y is not None or any(value is not None for value in found)


def _scores(inputs: ReportInputs) -> list[tuple[str, str, Any, dict[str, Any] | None]]:
    """Each score: its key, its name, itself and, of one alone, the paper's figure."""
    result = inputs.result
    final, paper = result.get("final") or {}, result.get("paper") or {}
    if not _is_scored(inputs, [final]):
        return []
    names = dict(_SCORES)
    if final.get(_CONFIDENT) is not None:
        names[_CONFIDENT] = "Most confident label"
    theirs = page.as_number(paper.get("accuracy"))
    note = None
    if theirs is not None:
        ours = page.as_number(scores.comparable(result))
        known = ours is not None and math.isfinite(ours)
        difference = ours - theirs if known else None
        note = {"source": None, **paper, "difference": difference}
    return [
        (key, name, final.get(key), note if key == scores.reported(result) else None)
        for key, name in names.items()
    ]


def _stages(stages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The stages with the bar of their accuracy, its change, and all else they have."""
    known = {"name", "seconds", "elbo", "restarts", "thin_clusters", *_SCORES, *_TERMS}
    known |= {"sizes", "counts"}  # the figure of estimated clusters shows them
    known |= {"candidates", "undone"}  # result.json has them all; a table, the best
    shown, previous = [], None
    for stage in map(as_trained, stages):
        accuracy = page.as_number(stage.get("accuracy"))
        bar = change = None
        if accuracy is not None and math.isfinite(accuracy):
            bar = f"{100 * min(max(accuracy, 0.0), 1.0):.1f}"
            if previous is not None and math.isfinite(previous):
                change = accuracy - previous
        previous = previous if accuracy is None else accuracy
        extras = [
            (key, key.replace("_", " "), page.any_value(value))
            for key, value in stage.items()
            if key not in known and value is not None
        ]
        for key, name in {**_SCORES, "elbo": "ELBO"}.items():
            values = [restart.get(key) for restart in stage.get("restarts", [])]
            if values and None not in values:
                extras.append((key, f"{name} of the restarts", page.number(values)))
        has_terms = any(stage.get(key) is not None for key in _TERMS)
        of_page = {"bar": bar, "change": change, "extras": extras}
        shown.append({**stage, **of_page, "has_terms": has_terms})
    return shown


def _candidates(stages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What labels the run could have started from, the best first, and how many."""
    found = next((one["candidates"] for one in stages if "candidates" in one), [])
    return {"candidates": found[:_CANDIDATES], "candidates_judged": len(found)}


def _doubtful(inputs: ReportInputs) -> list[dict[str, Any]]:
    """The rows whose clusters are least sure, in that order; none of hard clusters."""
    confidence = inputs.confidence
    num_clusters = inputs.probabilities.shape[1]
    if num_clusters == 1 or confidence.min() == 1.0:
        return []
    found = []
    for index in np.argsort(confidence, kind="stable")[:_DOUBTFUL].tolist():
        label = int(inputs.labels[index])
        others = inputs.probabilities[index].copy()
        others[label] = -1.0
        other = int(others.argmax())
        found.append(
            {
                "index": index,
                "row": inputs.row_name(index),
                "cluster": label,
                "color": cluster_color(label),
                "confidence": confidence[index],
                "other": other,
                "other_color": cluster_color(other),
                "other_probability": others[other],
                "true": None
                if inputs.y is None
                else class_name(inputs.y[index], inputs.class_names),
            }
        )
    return found


def _strange(inputs: ReportInputs) -> list[dict[str, Any]]:
    """The rows of the lowest ELBO, the lowest first; none of a method without one."""
    if inputs.elbo is None:
        return []
    return [
        {
            "index": index,
            "row": inputs.row_name(index),
            "cluster": int(inputs.labels[index]),
            "color": cluster_color(inputs.labels[index]),
            "elbo": inputs.elbo[index],
        }
        for index in np.argsort(inputs.elbo, kind="stable")[:_STRANGE].tolist()
    ]


def _cluster(inputs: ReportInputs, cluster: int) -> dict[str, Any]:
    """A row of the table of clusters; None where an empty cluster has no value."""
    members = inputs.labels == cluster
    size = int(members.sum())
    confidence = dominant = purity = None
    typical: list[str] = []
    if size:
        certain = inputs.probabilities[members].max(axis=1)
        confidence = certain.mean()
        if inputs.names is not None:
            most = np.argsort(-certain, kind="stable")[:_TYPICAL]
            typical = inputs.names[members][most].tolist()
    if size and inputs.y is not None:
        classes, counts = np.unique(np.asarray(inputs.y)[members], return_counts=True)
        dominant = class_name(classes[counts.argmax()], inputs.class_names)
        purity = counts.max() / size
    return {
        "number": cluster,
        "color": cluster_color(cluster),
        "size": size,
        "share": size / len(inputs.labels),
        "weight": inputs.probabilities[:, cluster].mean(),
        "confidence": confidence,
        "dominant": dominant,
        "purity": purity,
        "typical": typical,
        "found_again": _found_again(inputs.result, cluster),
    }


def _batches(inputs: ReportInputs) -> dict[str, Any] | None:
    """Batches, and their shares of all rows and of those of each cluster, in percent.

    None where there are fewer than two.
    """
    found = inputs.result.get("batches") or {}
    if len(found) < 2:
        return None
    counts = np.array(list(found.values())).T  # [K, M]
    sizes = [("all rows", None, counts.sum(axis=0))]
    sizes += [(k, cluster_color(k), row) for k, row in enumerate(counts)]
    return {
        "names": list(found),
        "rows": [
            (name, color, row / row.sum() if row.sum() else None)
            for name, color, row in sizes
        ],
    }


def _found_again(result: dict[str, Any], cluster: int) -> float | None:
    """How much of a cluster repetitions of the run have found; None without any."""
    stability = result.get("stability")
    return None if stability is None else stability["found_again"][cluster]
