"""Pages from the templates beside this file, and the values on them as text.

A page is self-contained: style and images are in it, and it requests nothing.
"""

import base64
import io
import json
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jinja2
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

DASH = "\N{EN DASH}"
_DPI = 150
_CSS_PIXELS_PER_INCH = 96
_HEADING = re.compile(r"<h2>([^<]+)</h2>")  # templates write them, nobody else
_MINUS = "\N{MINUS SIGN}"


class Picture(NamedTuple):
    """A figure as an image.

    Attributes:
      png: the content of a PNG file.
      width: in pixels of CSS.
      height: likewise.
    """

    png: bytes
    width: int
    height: int


def picture(figure: Figure) -> Picture:
    """Draws a figure as an image."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    width, height = figure.get_size_inches() * _CSS_PIXELS_PER_INCH
    return Picture(buffer.getvalue(), round(width), round(height))


def render(template: str, **values: Any) -> str:
    """The page that a template makes of these values, all of them escaped."""
    return _ENVIRONMENT.get_template(template).render(values)


def text(value: Any) -> Any:
    """What stands on a page: of nothing an en dash, of lists and dicts their JSON."""
    if isinstance(value, Markup):  # which a template has made
        return value
    if value is None or value == "":
        return DASH
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, default=str, ensure_ascii=False)
    return value


def as_number(value: object) -> float | None:
    """Returns the value as a float, or None if it is not a number."""
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return float(value)
    return None


def number(value: object, digits: int = 3, sign: bool = False) -> str:
    """A number with fixed digits and a proper minus; several as a list."""
    if isinstance(value, list | tuple):
        return ", ".join(number(v, digits, sign) for v in value)
    real = as_number(value)
    if real is None:
        return str(text(value))
    if not math.isfinite(real):
        return "not finite"
    return f"{real:{'+' if sign else ''},.{digits}f}".replace("-", _MINUS)


def percent(share: float) -> str:
    """A share of 1, in percent."""
    return f"{number(100 * share, 1)}\N{NO-BREAK SPACE}%"


def any_value(value: object) -> str:
    """A configuration or extra value: counts with separators, floats shortened."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}".replace("-", _MINUS)
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.4g}".replace("-", _MINUS)
    return str(text(value))


def short(value: float | None) -> str:
    """A number in a narrow column: three digits."""
    return DASH if value is None else f"{value:.3g}".replace("-", _MINUS)


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


def anchored(body: str) -> Markup:
    """A page's body whose headings can be linked to.

    >>> anchored("<h2>The clusters</h2>")
    Markup('<h2 id="the-clusters">The clusters</h2>')
    """
    return Markup(
        _HEADING.sub(lambda one: f'<h2 id="{_anchor(one[1])}">{one[1]}</h2>', body)
    )


def contents(body: str) -> list[tuple[str, str]]:
    """The anchors and the texts of a body's headings."""
    return [(_anchor(found), found) for found in _HEADING.findall(body)]


def _anchor(heading: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("dgg_jax.reports"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    finalize=text,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {
    "anchored": anchored,
    "any_value": any_value,
    "base64": lambda image: base64.b64encode(image).decode(),
    "contents": contents,
    "duration": duration,
    "number": number,
    "percent": percent,
    "plural": plural,
    "short": short,
}
