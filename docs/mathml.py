"""Renders equations as MathML when the pages are built: no JavaScript, no downloads.

An equation that cannot be parsed is a warning; ``sphinx-build -W`` fails on it.
"""

import re
from typing import Any
from xml.etree import ElementTree

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

_LOGGER = logging.getLogger(__name__)
_ACCENTS = "~\N{MODIFIER LETTER MACRON}\N{MODIFIER LETTER CIRCUMFLEX ACCENT}"
# TeX has a thin space between a function's name and an argument without brackets.
_APPLICATION = re.compile(
    r"<mo>&ApplyFunction;</mo>(?P<bracket>\s*(<mrow>\s*)?<mo[^>]*>[(\[])?"
)


def _spaced(match: re.Match[str]) -> str:
    return match["bracket"] or '<mspace width="0.167em"></mspace>'


def _accented_first(element: ElementTree.Element) -> None:
    """Turns an accent with an index below it into an accented letter with an index."""
    for child in element:
        _accented_first(child)
    if element.tag == "munderover" and element[2].text in _ACCENTS:
        letter, index, accent = list(element)
        accented = ElementTree.Element("mover", accent="true")
        accented.extend([letter, accent])
        element.tag, element[:] = "msub", [accented, index]
    elif element.tag == "msup" and element[0].tag == "msub":
        element.tag, element[:] = "msubsup", [*element[0], element[1]]


def mathml(equation: str, *, as_block: bool) -> str:
    """An equation as MathML.

    Args:
      equation: in LaTeX.
      as_block: whether it stands on lines of its own.

    Raises:
      MathError: if it cannot be parsed.
    """
    markup = _APPLICATION.sub(_spaced, tex2mathml(equation, as_block=as_block))
    namespace = re.compile(r' xmlns="[^"]*"')
    root = ElementTree.fromstring(namespace.sub("", markup))
    _accented_first(root)
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def _render(node: nodes.Element, *, as_block: bool) -> str:
    try:
        return mathml(node.astext(), as_block=as_block)
    except MathError as error:
        _LOGGER.warning("%s in %s", error, node.astext(), location=node)
        return ""


def _inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(_render(node, as_block=False))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.math_block) -> None:
    equation = _render(node, as_block=True)
    translator.body.append(f'<div class="equation">{equation}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the renderer under the name ``mathml``."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
