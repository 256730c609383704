"""The pieces of a self-contained HTML page, and the values on it as text."""

import base64
import html as escaping
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

DASH = "\N{EN DASH}"
_DPI = 150
_CSS_PIXELS_PER_INCH = 96
_MINUS = "\N{MINUS SIGN}"


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


def png(figure: Figure) -> bytes:
    """A figure as a PNG image."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, pil_kwargs={"optimize": True})
    return buffer.getvalue()


# Values as text. Everything that reaches the page goes through one of these.


def text(value: object) -> str:
    """Escapes any value; None and empty strings become an en dash."""
    if value is None or value == "":
        return DASH
    if isinstance(value, Mapping | list | tuple):
        return escaping.escape(json.dumps(value, default=str, ensure_ascii=False))
    return escaping.escape(str(value))


def as_number(value: object) -> float | None:
    """Returns the value as a float, or None if it is not a number."""
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return float(value)
    return None


def number(value: object, digits: int = 3, sign: bool = False) -> str:
    """A number with fixed digits and a proper minus; several as a list."""
    if isinstance(value, list | tuple):
        return ", ".join(number(v, digits, sign) for v in value) or DASH
    real = as_number(value)
    if real is None:
        return text(value)
    if not math.isfinite(real):
        return "not finite"
    return f"{real:{'+' if sign else ''},.{digits}f}".replace("-", _MINUS)


def any_value(value: object) -> str:
    """A configuration or extra value: counts with separators, floats shortened."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}".replace("-", _MINUS)
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.4g}".replace("-", _MINUS)
    return text(value)


def duration(seconds: object) -> str:
    """Seconds as people say them."""
    number = as_number(seconds)
    if number is None or not math.isfinite(number):
        return DASH
    if number < 10:
        return f"{number:.1f} s"
    whole = round(number)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def plural(count: int, noun: str) -> str:
    """A count and its noun, in the plural where it needs it."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


# Blocks of the page.


def section(heading: str, body: str) -> str:
    """A heading and what belongs to it."""
    return f"<section><h2>{text(heading)}</h2>{body}</section>\n"


def figure_block(item: ReportFigure, image: bytes) -> str:
    """A figure with its caption; the image is part of the page."""
    width = round(item.figure.get_figwidth() * _CSS_PIXELS_PER_INCH)
    height = round(item.figure.get_figheight() * _CSS_PIXELS_PER_INCH)
    data = base64.b64encode(image).decode()
    return (
        f'<figure id="{text(item.name)}"><figcaption><strong>{text(item.title)}.'
        f"</strong> {text(item.caption)}</figcaption>"
        f'<div class="plate"><img src="data:image/png;base64,{data}" width="{width}" '
        f'height="{height}" alt="{text(item.title)}"></div></figure>\n'
    )


def table(
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


def html(heading: str, lead: str, body: str) -> str:
    """A page with a title, a first sentence and what follows, ready-made HTML both."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{text(heading)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<main>\n<header><h1>{text(heading)}</h1>\n"
        f'<p class="lead">{lead}</p></header>\n{body}</main>\n</body>\n</html>\n'
    )


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
