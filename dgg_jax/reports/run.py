"""The report of a run: its figures, and one self-contained HTML page."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dgg_jax import plots
from dgg_jax.checks import is_image
from dgg_jax.folders import write_atomically
from dgg_jax.metrics import collapse_warning, thin_clusters
from dgg_jax.plots.confusion import class_name
from dgg_jax.plots.palette import cluster_color
from dgg_jax.reports import page, scores
from dgg_jax.reports.page import ReportFigure
from dgg_jax.stages.cluster_count import ClusterCount

_SCORES = {"accuracy": "ACC", "nmi": "NMI", "ari": "ARI"}
_CONFIDENT = "confident_label_accuracy"  # GMVAE's own score, erratum E62
_TERMS = {
    "reconstruction": "Reconstruction",
    "latent_prior": "Latent prior",
    "latent_entropy": "Latent entropy",
    "cluster_prior": "Cluster prior",
    "cluster_entropy": "Cluster entropy",
}
METHODS = {  # as the papers write them
    "dgg": "DGG",
    "vade": "VaDE",
    "gmvae": "GMVAE",
    "kmeans": "K-means",
    "gmm": "GMM",
    "spectral": "spectral clustering",
    "ae_gmm": "AE+GMM",
    "dae_gmm": "DAE+GMM",
    "vae_gmm": "VAE+GMM",
    "dec": "DEC",
    "spectralnet": "SpectralNet",
    "imsat": "IMSAT",
}


class ReportInputs(NamedTuple):
    """What a finished run hands to its report.

    Attributes:
      config: the resolved configuration.
      result: what result.json holds.
      history: the lines of metrics.jsonl.
      x: data, shape [N, D].
      feature_shape: shape of one data point, of product D.
      y: true classes, integers of shape [N], or None.
      class_names: names of the classes 0, 1, ..., or None.
      labels: cluster of each point, integers in [0, K), shape [N].
      probabilities: of each cluster for each point, shape [N, K].
      embedding: latents, shape [N, L], or None of a method that has none.
      mixture_mean: shape [K, L], or None without a mixture.
      mixture_logvar: natural log of the variances, shape [K, L], or None.
      weights: mean gamma of each cluster, shape [K].
      samples: decoded means of latents drawn from each component, shape [K, M, D], or
        None of a method that generates nothing.
      traversals: decoded means along each latent dimension, shape [K, L, 15, D], or
        None.
    """

    config: dict[str, Any]
    result: dict[str, Any]
    history: list[dict[str, Any]]
    x: np.ndarray
    feature_shape: tuple[int, ...]
    y: np.ndarray | None
    class_names: Sequence[str] | None
    labels: np.ndarray
    probabilities: np.ndarray
    embedding: np.ndarray | None
    mixture_mean: np.ndarray | None
    mixture_logvar: np.ndarray | None
    weights: np.ndarray
    samples: np.ndarray | None
    traversals: np.ndarray | None


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
    sections = []
    for heading, drawn in report_figures(inputs):
        blocks = []
        for item in drawn:
            image = page.png(item.figure)
            write_atomically(folder / f"{item.name}.png", image)
            blocks.append(page.figure_block(item, image))
        sections.append(page.section(heading, "".join(blocks)))
    path = workdir / "report.html"
    write_atomically(path, _page(inputs, "".join(sections)).encode())
    return path


def report_figures(inputs: ReportInputs) -> list[tuple[str, list[ReportFigure]]]:
    """Draws all figures that make sense for these data, by section.

    Args:
      inputs: the finished run.

    Returns:
      Pairs of a section's heading and its figures.
    """
    num_clusters = inputs.probabilities.shape[1]
    labelled = inputs.y is not None
    both = (
        " A class has the colour of the cluster matched to it, so the panels differ in "
        "colour where the clustering errs."
        if labelled
        else ""
    )

    clusters = []
    if tuple(inputs.feature_shape) == (2,):
        clusters.append(
            ReportFigure(
                "points",
                "Data",
                "Do the colours follow the shapes that the eye sees?" + both,
                plots.points(inputs.x, inputs.labels, inputs.y, inputs.class_names),
            )
        )
    if inputs.embedding is not None or not clusters:
        clusters.append(_latents(inputs, both))
    if labelled:
        clusters.append(
            ReportFigure(
                "confusion",
                "Classes and clusters",
                "Framed cells are the best one-to-one matching, which ACC counts. A "
                "row with two dark cells is a class that was split, a column with two "
                "dark cells a cluster that joins classes.",
                plots.confusion_matrix(inputs.y, inputs.labels, inputs.class_names),
            )
        )
    clusters.append(
        ReportFigure(
            "sizes",
            "Cluster sizes",
            "Empty or tiny clusters are the sign of a collapse.",
            plots.cluster_sizes(inputs.labels, num_clusters),
        )
    )

    image = is_image(inputs.feature_shape)
    generated = []
    if inputs.samples is not None:
        generated.append(
            ReportFigure(
                "samples",
                "Generated from each cluster",
                (
                    "One row a cluster: decoded latents drawn from its component. A "
                    "row should show one kind of thing, in its variety."
                    if image
                    else "Decoded latents drawn from each component. Clusters should "
                    "differ from each other and resemble the data."
                ),
                plots.cluster_samples(inputs.samples, inputs.feature_shape),
            )
        )
    if image and inputs.traversals is not None:
        sizes = np.bincount(inputs.labels, minlength=num_clusters)
        largest = np.sort(np.argsort(-sizes, kind="stable")[:4]).tolist()
        generated.append(
            ReportFigure(
                "traversals",
                "Along each latent dimension",
                "Rows move one latent dimension by four standard deviations either "
                "way. Dimensions with a long bar should change the image, those "
                "without should not.",
                plots.traversals(
                    inputs.traversals,
                    inputs.feature_shape,
                    inputs.mixture_logvar,
                    largest,
                ),
            )
        )
    if inputs.mixture_logvar is not None:
        generated.append(
            ReportFigure(
                "variances",
                "Variance of each component",
                "Few long bars mean that few factors vary within the cluster.",
                plots.component_variances(inputs.mixture_logvar),
            )
        )
    curves = []
    if inputs.history:
        curves.append(
            ReportFigure(
                "curves",
                "Training",
                "Each panel has its own scale. A curve that still rises or falls at "
                "its end asks for more epochs.",
                plots.training_curves(inputs.history),
            )
        )
    estimated = []
    if inputs.config.get("cluster_count"):
        count = ClusterCount.from_dict(inputs.config["cluster_count"])
        estimated.append(
            ReportFigure(
                "cluster_counts",
                "Estimated without labels",
                f"{count.describe()} What is there is found at many sizes and makes a "
                "level stretch, what chance makes at few: with a steady fall, any "
                "number is as good as another.",
                plots.cluster_counts(*count, count.is_plateau),
            )
        )
    sections = [
        ("How many clusters", estimated),
        ("What the clusters look like", clusters),
        ("What the model generates", generated),
        ("How training went", curves),
    ]
    return [(heading, drawn) for heading, drawn in sections if drawn]


def _latents(inputs: ReportInputs, hint: str) -> ReportFigure:
    """The latents in the plane; of a method without any, the data."""
    if inputs.embedding is None:
        embedding, title, shown = inputs.x, "Data", "the rows"
    else:
        embedding, title, shown = inputs.embedding, "Latent space", "the latents"
    if embedding.shape[1] <= 2:
        caption = f"{shown.capitalize()} as they are. "
        caption += "Look for clusters that touch or share an island."
    else:
        caption = (
            f"t-SNE of {shown}. Look for islands of two colours and for clusters in "
            "several pieces; distances between islands mean little."
        )
    figure = plots.latent_picture(
        embedding,
        inputs.labels,
        inputs.y,
        inputs.class_names,
        max_points=500 if inputs.config.get("preset") == "smoke" else 1500,
    )
    return ReportFigure("latents", title, caption + hint, figure)


def _page(inputs: ReportInputs, figures: str) -> str:
    dataset = inputs.result.get("dataset") or {}
    name = dataset.get("name") or inputs.config.get("dataset") or "data"
    return page.html(
        f"{name}, clustered with {_method(inputs)}",
        _summary(inputs),
        f"{_tiles(inputs)}{_stages(inputs)}{_clusters(inputs)}{figures}"
        f"{_reproduction(inputs)}",
    )


def _method(inputs: ReportInputs) -> str:
    method = str(inputs.config.get("method") or "dgg")
    return METHODS.get(method, method)


def _summary(inputs: ReportInputs) -> str:
    """What was clustered, into how many clusters, how well, and how long it took."""
    num_points, num_features = inputs.x.shape
    num_clusters = inputs.probabilities.shape[1]
    result = inputs.result
    sentence = (
        f"{page.plural(num_points, 'row')} of {page.plural(num_features, 'feature')} "
        f"went into {page.plural(num_clusters, 'cluster')}"
    )
    if result.get("seconds") is not None:
        sentence += f" in {page.duration(result['seconds'])}"
    accuracy = page.as_number((result.get("final") or {}).get("accuracy"))
    if accuracy is not None:
        return (
            f"{sentence}; {100 * accuracy:.1f}&nbsp;% of the rows are in the cluster "
            "matched to their true class."
        )
    confidence = float(inputs.probabilities.max(axis=1).mean())
    return (
        f"{sentence}, without labels to compare with; on average a row belongs to its "
        f"cluster with probability {page.number(confidence, 2)}."
    )


def _tiles(inputs: ReportInputs) -> str:
    result = inputs.result
    final = result.get("final") or {}
    scored = any(final.get(key) is not None for key in _SCORES)
    tiles: list[tuple[str, str, str]] = []
    if inputs.y is not None or scored:
        names = dict(_SCORES)
        if final.get(_CONFIDENT) is not None:
            names[_CONFIDENT] = "Most confident label"
        for key, name in names.items():
            note = _paper_note(result) if key == scores.reported(result) else ""
            tiles.append((name, page.number(final.get(key)), note))
    else:
        used = len(np.unique(inputs.labels))
        num_clusters = inputs.probabilities.shape[1]
        note = "" if used == num_clusters else f"of {num_clusters}; the rest is empty"
        confidence = float(inputs.probabilities.max(axis=1).mean())
        tiles.append(("Clusters", f"{used}", note))
        tiles.append(("Mean confidence", page.number(confidence), ""))
    if final.get("elbo") is not None:
        tiles.append(("ELBO", page.number(final.get("elbo"), 2), "nats a row"))
    tiles.append(
        ("Time", page.duration(result.get("seconds")), page.text(_hardware(result)))
    )
    body = "".join(
        f"<div><dt>{name}</dt><dd>{value}</dd>"
        + (f'<dd class="note">{note}</dd>' if note else "")
        + "</div>"
        for name, value, note in tiles
    )
    return f'<dl class="tiles">{body}</dl>\n'


def _hardware(result: Mapping[str, Any]) -> str:
    device = result.get("device")
    return str(device) if device else ""


def _paper_note(result: Mapping[str, Any]) -> str:
    """The paper's figure beside ours, ready for the page; empty without one."""
    paper = result.get("paper") or {}
    reported = page.as_number(paper.get("accuracy"))
    if reported is None:
        return ""
    source = f" ({page.text(paper['source'])})" if paper.get("source") else ""
    note = f"paper {page.number(reported)}{source}"
    ours = page.as_number(scores.comparable(result))
    if ours is not None and math.isfinite(ours):
        note += f"<br>difference {page.number(ours - reported, sign=True)}"
    return note


def _stages(inputs: ReportInputs) -> str:
    stages = inputs.result.get("stages") or []
    if not stages:
        return ""
    shown = {
        key: name
        for key, name in _SCORES.items()
        if inputs.y is not None or any(s.get(key) is not None for s in stages)
    }
    bounded = any(stage.get("elbo") is not None for stage in stages)
    known = {"name", "seconds", "elbo", "restarts", "thin_clusters"}
    known |= {*_SCORES, *_TERMS}
    known |= {"sizes", "counts"}  # the figure of estimated clusters shows them
    rows = []
    previous = None
    for stage in stages:
        row = [
            f"<b>{page.text(stage.get('name'))}</b>",
            page.duration(stage.get("seconds")),
        ]
        for key in shown:
            value = stage.get(key)
            if key != "accuracy":
                row.append(page.number(value))
                continue
            accuracy = page.as_number(value)
            row += [_accuracy(value), _change(accuracy, previous)]
            previous = previous if accuracy is None else accuracy
        if bounded:
            row.append(page.number(stage.get("elbo"), 2))
        extras = [
            f"{page.text(key.replace('_', ' '))} {page.any_value(value)}"
            for key, value in stage.items()
            if key not in known and value is not None
        ]
        for key, name in {**_SCORES, "elbo": "ELBO"}.items():
            values = [restart.get(key) for restart in stage.get("restarts", [])]
            if values and None not in values:
                extras.append(f"{name} of the restarts {page.number(values)}")
        row.append(f'<span class="note extras">{"; ".join(extras)}</span>')
        rows.append(row)
    names = list(shown.values())
    if "accuracy" in shown:
        names.insert(1, "Change")
    header = ["Stage", "Time", *names, *["ELBO"] * bounded, "Also measured"]
    body = page.table(header, rows, left=(0, len(header) - 1))
    lead = (
        "What each stage reached on its own, so that one sees where a run is won or "
        "lost. "
    )
    if shown:
        lead += "Change is that of ACC since the last stage that has one."
    body = f"<p>{lead.strip()}</p>{body}"

    terms = [s for s in stages if any(s.get(key) is not None for key in _TERMS)]
    if terms:
        table = page.table(
            ["Stage", *_TERMS.values(), "ELBO"],
            [
                [
                    f"<b>{page.text(stage.get('name'))}</b>",
                    *(page.number(stage.get(key), 2) for key in _TERMS),
                    page.number(stage.get("elbo"), 2),
                ]
                for stage in terms
            ],
        )
        body += (
            "<h3>Terms of the ELBO</h3><p>In nats a row, with the sign they have in "
            f"the ELBO.</p>{table}"
        )
    return page.section("From stage to stage", body)


def _accuracy(value: object) -> str:
    """The accuracy beside a bar of its length."""
    accuracy = page.as_number(value)
    if accuracy is None or not math.isfinite(accuracy):
        return page.number(value)
    percent = 100 * min(max(accuracy, 0.0), 1.0)
    return (
        f'<span class="meter"><i style="width:{percent:.1f}%"></i></span>'
        f"{page.number(accuracy)}"
    )


def _change(accuracy: float | None, previous: float | None) -> str:
    """The change from the stage before, coloured; empty where there is none."""
    if accuracy is None or previous is None or not math.isfinite(accuracy - previous):
        return ""
    step = accuracy - previous
    if abs(step) < 0.0005:
        return '<span class="note">\N{PLUS-MINUS SIGN}0.000</span>'
    kind = "up" if step > 0 else "down"
    return f'<span class="{kind}">{page.number(step, sign=True)}</span>'


def _clusters(inputs: ReportInputs) -> str:
    num_clusters = inputs.probabilities.shape[1]
    confidence = inputs.probabilities.max(axis=1)
    labelled = inputs.y is not None
    thin = thin_clusters(inputs.labels, num_clusters)
    rows = []
    for cluster in range(num_clusters):
        members = inputs.labels == cluster
        size = int(members.sum())
        share = size / len(inputs.labels)
        row = [
            f'<i class="chip" style="background:{cluster_color(cluster)}"></i>'
            f"{cluster}",
            f"{size:,}",
            f"{page.number(100 * share, 1)}&nbsp;%",
            f"{page.number(100 * float(inputs.weights[cluster]), 1)}&nbsp;%",
            page.number(confidence[members].mean()) if size else page.DASH,
        ]
        if labelled:
            row.append(_dominant(inputs, members))
        rows.append(row)
    header = ["Cluster", "Rows", "Share", "Mean probability", "Confidence"]
    if labelled:
        header.append("Mostly")
    lead = (
        "Confidence is the mean probability that the rows of a cluster have for it. "
        "The colours are those of the figures."
    )
    if thin:
        names = ", ".join(map(str, thin))
        lead += f' <strong class="alarm">Nearly or quite empty: {names}.</strong> '
        warning = collapse_warning(thin, num_clusters)
        lead += page.text(warning[0].upper() + warning[1:])
    left = (0, 5) if labelled else (0,)
    return page.section(
        "The clusters", f"<p>{lead}</p>{page.table(header, rows, left)}"
    )


def _dominant(inputs: ReportInputs, members: np.ndarray) -> str:
    """The most frequent class of a cluster and its share there."""
    if not members.any():
        return page.DASH
    classes, counts = np.unique(np.asarray(inputs.y)[members], return_counts=True)
    name = class_name(classes[counts.argmax()], inputs.class_names)
    share = counts.max() / counts.sum()
    return (
        f'<span class="whole">{page.text(name)} <span class="note">'
        f"{page.number(100 * share, 1)}&nbsp;%</span></span>"
    )


def _reproduction(inputs: ReportInputs) -> str:
    result = inputs.result
    command = result.get("command")
    body = (
        f"<pre><code>{page.text(command)}</code></pre>\n"
        if command
        else f"<p>Command: {page.DASH}</p>\n"
    )
    run = {
        key: result.get(key)
        for key in ("seed", "device", "git_revision", "peak_memory_mib", "seconds")
    }
    groups = {
        "Run": run,
        "Data": result.get("dataset"),
        "Final": result.get("final"),
        "Versions": result.get("versions"),
        "Configuration": inputs.config,
    }
    tables = ""
    for name, values in groups.items():
        rows = [
            (page.text(str(key).replace("_", " ")), page.any_value(value))
            for key, value in (values or {}).items()
        ]
        if rows:
            table = page.table(("Name", "Value"), rows, left=(0, 1))
            tables += f"<div><h3>{name}</h3>{table}</div>"
    body += (
        "<details><summary>Configuration, data and versions</summary>"
        f'<div class="pairs">{tables}</div></details>\n'
    )
    return page.section("Run it again", body)
