"""The report of a run: its figures, and one self-contained HTML page."""

import base64
import html
import io
import json
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from dgg_jax import plots
from dgg_jax.methods.base import write_atomically
from dgg_jax.plots.confusion import class_name
from dgg_jax.plots.images import is_image
from dgg_jax.plots.palette import cluster_color

_DPI = 150
_CSS_PIXELS_PER_INCH = 96
_DASH = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"
_SCORES = {"accuracy": "ACC", "nmi": "NMI", "ari": "ARI"}
_TERMS = {
    "reconstruction": "Reconstruction",
    "latent_prior": "Latent prior",
    "latent_entropy": "Latent entropy",
    "cluster_prior": "Cluster prior",
    "cluster_entropy": "Cluster entropy",
}
_METHODS = {"dgg": "DGG", "vade": "VaDE", "gmvae": "GMVAE"}


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
      embedding: posterior means, shape [N, L].
      mixture_mean: shape [K, L].
      mixture_logvar: natural log of the variances, shape [K, L].
      weights: mean gamma of each cluster, shape [K].
      samples: decoded means of latents drawn from each component, shape [K, M, D].
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
    embedding: np.ndarray
    mixture_mean: np.ndarray
    mixture_logvar: np.ndarray
    weights: np.ndarray
    samples: np.ndarray
    traversals: np.ndarray | None


class ReportFigure(NamedTuple):
    """One figure of the report.

    Attributes:
      name: of the file, without its ending.
      title: what it shows.
      caption: what to look for.
      figure: the figure.
    """

    name: str
    title: str
    caption: str
    figure: Figure


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
            png = _png(item.figure)
            write_atomically(folder / f"{item.name}.png", png)
            blocks.append(_figure_block(item, png))
        sections.append(_section(heading, "".join(blocks)))
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
    flat = inputs.embedding.shape[1] <= 2
    clusters.append(
        ReportFigure(
            "latents",
            "Latent space",
            (
                "Posterior means. Look for clusters that touch or share an island."
                if flat
                else "t-SNE of the posterior means. Look for islands of two colours "
                "and for clusters in several pieces; distances between islands mean "
                "little."
            )
            + both,
            plots.latent_picture(
                inputs.embedding, inputs.labels, inputs.y, inputs.class_names
            ),
        )
    )
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
            "Empty or tiny clusters are the sign of a collapsed mixture.",
            plots.cluster_sizes(inputs.labels, num_clusters),
        )
    )

    image = is_image(inputs.feature_shape)
    generated = [
        ReportFigure(
            "samples",
            "Generated from each cluster",
            (
                "One row a cluster: decoded latents drawn from its component. A row "
                "should show one kind of thing, in its variety."
                if image
                else "Decoded latents drawn from each component. Clusters should "
                "differ from each other and resemble the data."
            ),
            plots.cluster_samples(inputs.samples, inputs.feature_shape),
        )
    ]
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
    generated.append(
        ReportFigure(
            "variances",
            "Variance of each component",
            "Few long bars mean that few factors vary within the cluster.",
            plots.component_variances(inputs.mixture_logvar),
        )
    )
    curves = ReportFigure(
        "curves",
        "Training",
        "Each panel has its own scale. A curve that still rises or falls at its end "
        "asks for more epochs.",
        plots.training_curves(inputs.history),
    )
    return [
        ("What the clusters look like", clusters),
        ("What the model generates", generated),
        ("How training went", [curves]),
    ]


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, pil_kwargs={"optimize": True})
    return buffer.getvalue()


# Values as text. Everything that reaches the page goes through one of these.


def _text(value: object) -> str:
    """Escapes any value; None and empty strings become an en dash."""
    if value is None or value == "":
        return _DASH
    if isinstance(value, Mapping | list | tuple):
        return html.escape(json.dumps(value, default=str, ensure_ascii=False))
    return html.escape(str(value))


def _as_number(value: object) -> float | None:
    """Returns the value as a float, or None if it is not a number."""
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return float(value)
    return None


def _number(value: object, digits: int = 3, sign: bool = False) -> str:
    """A number with fixed digits and a proper minus; several as a list."""
    if isinstance(value, list | tuple):
        return ", ".join(_number(v, digits, sign) for v in value) or _DASH
    number = _as_number(value)
    if number is None:
        return _text(value)
    if not math.isfinite(number):
        return "not finite"
    return f"{number:{'+' if sign else ''},.{digits}f}".replace("-", _MINUS)


def _any_value(value: object) -> str:
    """A configuration or extra value: counts with separators, floats shortened."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}".replace("-", _MINUS)
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.4g}".replace("-", _MINUS)
    return _text(value)


def _duration(seconds: object) -> str:
    number = _as_number(seconds)
    if number is None or not math.isfinite(number):
        return _DASH
    if number < 10:
        return f"{number:.1f} s"
    whole = round(number)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


# Blocks of the page.


def _section(heading: str, body: str) -> str:
    return f"<section><h2>{_text(heading)}</h2>{body}</section>\n"


def _figure_block(item: ReportFigure, png: bytes) -> str:
    width = round(item.figure.get_figwidth() * _CSS_PIXELS_PER_INCH)
    height = round(item.figure.get_figheight() * _CSS_PIXELS_PER_INCH)
    data = base64.b64encode(png).decode()
    return (
        f'<figure id="{_text(item.name)}"><figcaption><strong>{_text(item.title)}.'
        f"</strong> {_text(item.caption)}</figcaption>"
        f'<div class="plate"><img src="data:image/png;base64,{data}" width="{width}" '
        f'height="{height}" alt="{_text(item.title)}"></div></figure>\n'
    )


def _table(
    header: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[int] = (0,)
) -> str:
    """A table of ready-made cells; numbers stand right, columns in ``left`` left."""

    def kind(column: int) -> str:
        return "" if column in left else ' class="n"'

    head = "".join(
        f'<th scope="col"{kind(i)}>{cell}</th>' for i, cell in enumerate(header)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{kind(i)}>{cell}</td>" for i, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>\n"
    )


def _page(inputs: ReportInputs, figures: str) -> str:
    dataset = inputs.result.get("dataset") or {}
    name = dataset.get("name") or inputs.config.get("dataset") or "data"
    heading = f"{name}, clustered with {_method(inputs)}"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{_text(heading)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<main>\n<header><h1>{_text(heading)}</h1>\n"
        f'<p class="lead">{_summary(inputs)}</p></header>\n'
        f"{_tiles(inputs)}{_stages(inputs)}{_clusters(inputs)}{figures}"
        f"{_reproduction(inputs)}</main>\n</body>\n</html>\n"
    )


def _method(inputs: ReportInputs) -> str:
    method = str(inputs.config.get("method") or "dgg")
    return _METHODS.get(method, method)


def _summary(inputs: ReportInputs) -> str:
    """What was clustered, into how many clusters, how well, and how long it took."""
    num_points, num_features = inputs.x.shape
    num_clusters = inputs.probabilities.shape[1]
    result = inputs.result
    sentence = (
        f"{_plural(num_points, 'row')} of {_plural(num_features, 'feature')} went into "
        f"{_plural(num_clusters, 'cluster')}"
    )
    if result.get("seconds") is not None:
        sentence += f" in {_duration(result['seconds'])}"
    accuracy = _as_number((result.get("final") or {}).get("accuracy"))
    if accuracy is not None:
        return (
            f"{sentence}; {100 * accuracy:.1f}&nbsp;% of the rows are in the cluster "
            "matched to their true class."
        )
    confidence = float(inputs.probabilities.max(axis=1).mean())
    return (
        f"{sentence}, without labels to compare with; on average a row belongs to its "
        f"cluster with probability {_number(confidence, 2)}."
    )


def _tiles(inputs: ReportInputs) -> str:
    result = inputs.result
    final = result.get("final") or {}
    scored = any(final.get(key) is not None for key in _SCORES)
    tiles: list[tuple[str, str, str]] = []
    if inputs.y is not None or scored:
        note = _paper_note(result, final)
        tiles.append(("ACC", _number(final.get("accuracy")), note))
        tiles.append(("NMI", _number(final.get("nmi")), ""))
        tiles.append(("ARI", _number(final.get("ari")), ""))
    else:
        used = len(np.unique(inputs.labels))
        num_clusters = inputs.probabilities.shape[1]
        note = "" if used == num_clusters else f"of {num_clusters}; the rest is empty"
        confidence = float(inputs.probabilities.max(axis=1).mean())
        tiles.append(("Clusters", f"{used}", note))
        tiles.append(("Mean confidence", _number(confidence), ""))
    tiles.append(("ELBO", _number(final.get("elbo"), 2), "nats a row"))
    tiles.append(("Time", _duration(result.get("seconds")), _text(_hardware(result))))
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


def _paper_note(result: Mapping[str, Any], final: Mapping[str, Any]) -> str:
    """The paper's figure beside ours, ready for the page; empty without one."""
    paper = result.get("paper") or {}
    reported = _as_number(paper.get("accuracy"))
    if reported is None:
        return ""
    source = f" ({_text(paper['source'])})" if paper.get("source") else ""
    note = f"paper {_number(reported)}{source}"
    ours = _as_number(final.get("accuracy"))
    if ours is not None and math.isfinite(ours):
        note += f"<br>difference {_number(ours - reported, sign=True)}"
    return note


def _stages(inputs: ReportInputs) -> str:
    stages = inputs.result.get("stages") or []
    if not stages:
        return ""
    scores = {
        key: name
        for key, name in _SCORES.items()
        if inputs.y is not None or any(s.get(key) is not None for s in stages)
    }
    known = {"name", "seconds", "elbo", "restarts", *_SCORES, *_TERMS}
    rows = []
    previous = None
    for stage in stages:
        row = [f"<b>{_text(stage.get('name'))}</b>", _duration(stage.get("seconds"))]
        for key in scores:
            value = stage.get(key)
            if key != "accuracy":
                row.append(_number(value))
                continue
            accuracy = _as_number(value)
            row += [_accuracy(value), _change(accuracy, previous)]
            previous = previous if accuracy is None else accuracy
        row.append(_number(stage.get("elbo"), 2))
        extras = [
            f"{_text(key.replace('_', ' '))} {_any_value(value)}"
            for key, value in stage.items()
            if key not in known and value is not None
        ]
        for key, name in {**_SCORES, "elbo": "ELBO"}.items():
            values = [restart.get(key) for restart in stage.get("restarts", [])]
            if values and None not in values:
                extras.append(f"{name} of the restarts {_number(values)}")
        row.append(f'<span class="note extras">{"; ".join(extras)}</span>')
        rows.append(row)
    names = list(scores.values())
    if "accuracy" in scores:
        names.insert(1, "Change")
    header = ["Stage", "Time", *names, "ELBO", "Also measured"]
    body = _table(header, rows, left=(0, len(header) - 1))
    lead = (
        "What each stage reached on its own, so that one sees where a run is won or "
        "lost. "
    )
    if scores:
        lead += "Change is that of ACC since the last stage that has one."
    body = f"<p>{lead.strip()}</p>{body}"

    terms = [s for s in stages if any(s.get(key) is not None for key in _TERMS)]
    if terms:
        table = _table(
            ["Stage", *_TERMS.values(), "ELBO"],
            [
                [
                    f"<b>{_text(stage.get('name'))}</b>",
                    *(_number(stage.get(key), 2) for key in _TERMS),
                    _number(stage.get("elbo"), 2),
                ]
                for stage in terms
            ],
        )
        body += (
            "<h3>Terms of the ELBO</h3><p>In nats a row, with the sign they have in "
            f"the ELBO.</p>{table}"
        )
    return _section("From stage to stage", body)


def _accuracy(value: object) -> str:
    """The accuracy beside a bar of its length."""
    accuracy = _as_number(value)
    if accuracy is None or not math.isfinite(accuracy):
        return _number(value)
    percent = 100 * min(max(accuracy, 0.0), 1.0)
    return (
        f'<span class="meter"><i style="width:{percent:.1f}%"></i></span>'
        f"{_number(accuracy)}"
    )


def _change(accuracy: float | None, previous: float | None) -> str:
    """The change from the stage before, coloured; empty where there is none."""
    if accuracy is None or previous is None or not math.isfinite(accuracy - previous):
        return ""
    step = accuracy - previous
    if abs(step) < 0.0005:
        return '<span class="note">\N{PLUS-MINUS SIGN}0.000</span>'
    kind = "up" if step > 0 else "down"
    return f'<span class="{kind}">{_number(step, sign=True)}</span>'


def _clusters(inputs: ReportInputs) -> str:
    num_clusters = inputs.probabilities.shape[1]
    confidence = inputs.probabilities.max(axis=1)
    labelled = inputs.y is not None
    rows = []
    thin = []
    for cluster in range(num_clusters):
        members = inputs.labels == cluster
        size = int(members.sum())
        share = size / len(inputs.labels)
        if share < 0.1 / num_clusters:
            thin.append(cluster)
        row = [
            f'<i class="chip" style="background:{cluster_color(cluster)}"></i>'
            f"{cluster}",
            f"{size:,}",
            f"{_number(100 * share, 1)}&nbsp;%",
            f"{_number(100 * float(inputs.weights[cluster]), 1)}&nbsp;%",
            _number(confidence[members].mean()) if size else _DASH,
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
        lead += (
            f' <strong class="alarm">Nearly or quite empty: {names}.</strong> The '
            "mixture may have collapsed; try another seed, or fewer clusters."
        )
    left = (0, 5) if labelled else (0,)
    return _section("The clusters", f"<p>{lead}</p>{_table(header, rows, left)}")


def _dominant(inputs: ReportInputs, members: np.ndarray) -> str:
    """The most frequent class of a cluster and its share there."""
    if not members.any():
        return _DASH
    classes, counts = np.unique(np.asarray(inputs.y)[members], return_counts=True)
    name = class_name(classes[counts.argmax()], inputs.class_names)
    share = counts.max() / counts.sum()
    return (
        f'<span class="whole">{_text(name)} <span class="note">'
        f"{_number(100 * share, 1)}&nbsp;%</span></span>"
    )


def _reproduction(inputs: ReportInputs) -> str:
    result = inputs.result
    command = result.get("command")
    body = (
        f"<pre><code>{_text(command)}</code></pre>\n"
        if command
        else f"<p>Command: {_DASH}</p>\n"
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
            (_text(str(key).replace("_", " ")), _any_value(value))
            for key, value in (values or {}).items()
        ]
        if rows:
            table = _table(("Name", "Value"), rows, left=(0, 1))
            tables += f"<div><h3>{name}</h3>{table}</div>"
    body += (
        "<details><summary>Configuration, data and versions</summary>"
        f'<div class="pairs">{tables}</div></details>\n'
    )
    return _section("Run it again", body)


_STYLE = """
:root{color-scheme:light dark;--ink:#1d2126;--soft:#5d6670;--rule:#e1e4e8;
--paper:#fdfdfc;--card:#f4f5f4;--accent:#0b5c93;--up:#1a7a4c;--down:#b3261e;
--bar:#b9d3e6}
@media (prefers-color-scheme:dark){:root{--ink:#e4e6e9;--soft:#9aa3ad;--rule:#32373d;
--paper:#16181b;--card:#1e2125;--accent:#7db8e3;--up:#63c195;--down:#f0877d;
--bar:#2f5675}.plate{filter:brightness(.92)}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif;
-webkit-text-size-adjust:100%}
main{max-width:58rem;margin:0 auto;padding:3.5rem 1.5rem 5rem}
h1,h2{font-family:Charter,"Iowan Old Style","Palatino Linotype",Georgia,serif;
font-weight:600;letter-spacing:-.01em;text-wrap:balance}
h1{font-size:2.1rem;line-height:1.2;margin:0 0 .6rem;overflow-wrap:anywhere}
h2{font-size:1.4rem;margin:3.5rem 0 .5rem;padding-top:1.1rem;
border-top:1px solid var(--rule)}
h3{font-size:1rem;margin:2rem 0 .2rem}
p{max-width:42rem;margin:.3rem 0 1rem}
section>p,section>h3+p{color:var(--soft)}
.lead{font-size:1.15rem;margin-bottom:2rem;color:var(--ink)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:1px;
margin:0;background:var(--paper);border:1px solid var(--rule);border-radius:6px;
overflow:hidden}
.tiles div{box-shadow:0 0 0 1px var(--rule);padding:.9rem 1rem}
dt{font-size:.78rem;color:var(--soft);letter-spacing:.03em}
dd{margin:0;font-size:1.55rem;font-weight:550;line-height:1.3;white-space:nowrap;
font-variant-numeric:tabular-nums lining-nums}
.note,dd.note{font-size:.8rem;font-weight:400;color:var(--soft);line-height:1.4;
white-space:normal}
.extras{display:block;min-width:12rem}
.whole{white-space:nowrap}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem;
font-variant-numeric:tabular-nums lining-nums}
th{font-weight:500;font-size:.8rem;color:var(--soft);text-align:left;
vertical-align:bottom}
th,td{padding:.42rem .9rem .42rem 0;border-bottom:1px solid var(--rule)}
td{vertical-align:baseline}
th:last-child,td:last-child{padding-right:0}
td+td:not(.n),th+th:not(.n){padding-left:1.2rem}
td b{font-weight:550}
.n{text-align:right;white-space:nowrap}
.meter{display:inline-block;width:5.5rem;height:.5rem;margin-right:.7rem;
background:var(--card);border-radius:2px;overflow:hidden;vertical-align:.05rem}
.meter i{display:block;height:100%;background:var(--bar)}
.up{color:var(--up);font-weight:550}
.down,.alarm{color:var(--down);font-weight:550}
.chip{display:inline-block;width:.7rem;height:.7rem;border-radius:2px;
margin-right:.55rem}
figure{margin:2rem 0 2.5rem}
figcaption{max-width:42rem;margin-bottom:.7rem;font-size:.92rem;color:var(--soft)}
figcaption strong{color:var(--ink);font-weight:600}
.plate{background:#fff;border:1px solid var(--rule);border-radius:6px;padding:.8rem;
overflow:hidden}
img{display:block;max-width:100%;height:auto;margin:0 auto}
pre{background:var(--card);padding:.8rem 1rem;border-radius:6px;overflow-x:auto;
font-size:.85rem;white-space:pre-wrap;overflow-wrap:anywhere}
code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
summary{cursor:pointer;color:var(--accent);font-size:.95rem}
.pairs{columns:2 20rem;column-gap:2.5rem}
.pairs>div{break-inside:avoid-column}
.pairs>div:last-child{break-inside:auto}
.pairs td{overflow-wrap:anywhere;font-size:.85rem}
.pairs td:first-child{color:var(--soft);white-space:nowrap}
.pairs thead{display:none}
.pairs h3{margin:1.2rem 0 .2rem}
@media print{:root{--ink:#000;--soft:#444;--rule:#ccc;--paper:#fff;--card:#f4f4f4;
--up:#1a7a4c;--down:#b3261e;--bar:#b9d3e6;--accent:#000}
body{font-size:10.5pt}main{max-width:none;padding:0}
figure,tr,.tiles{break-inside:avoid}h2,h3,figcaption{break-after:avoid}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
.plate{filter:none;border:0;padding:0}
details::details-content{content-visibility:visible;block-size:auto}}
"""
