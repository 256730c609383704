"""The page with all figures and tables, from what is kept of them.

``results/gallery`` holds of every figure the arrays that it is drawn of, as
``--output`` has them in kept/, and of every figure and table its record.
"""

import json
import pathlib

from experiments.papers import captions, program
from experiments.papers.program import ALL_TABLES, FIGURES, kept_arrays

KEPT = pathlib.Path("results/gallery")
IMAGES = pathlib.Path("docs/images/gallery")
PAGE = pathlib.Path("docs/gallery.md")
_DPI = 110
_PAPERS = {"dgg": "DGG", "vade": "VaDE", "gmvae": "GMVAE", "": "Beyond the papers"}
_HEAD = """\
# Gallery

Every figure and table of the three papers, and some that none has: what the paper
shows, and what ours is like. Each is made by the command below it, which trains what it
needs and goes on where it was stopped; this page is made of what is kept of them in
`results/gallery`, by `python -m experiments.figures --gallery`. Classes have the same
colours everywhere, and clusters those of the classes that they are matched to.
"""


def write() -> None:
    """Draws what is kept and writes the page."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for path in sorted(KEPT.glob("*.npz")):
        about = json.loads(path.with_suffix(".json").read_text())
        figure = FIGURES[about["name"]].draw(kept_arrays(path))
        figure.savefig(IMAGES / f"{path.stem}.png", dpi=_DPI)
    PAGE.write_text(page())


def page() -> str:
    """The page, as markdown."""
    parts = [_HEAD]
    for prefix, paper in _PAPERS.items():
        parts.append(f"## {paper}\n")
        for name, one in {**FIGURES, **ALL_TABLES}.items():
            paper_of = name.partition("-")[0]
            if paper_of == prefix or (not prefix and paper_of not in _PAPERS):
                parts.append(_section(name, one))
    return "\n".join(parts)


def _section(name: str, one: program.Exhibit | program.Table) -> str:
    """A figure or table: one for each data set that it is kept of."""
    lines = [f"(gallery-{name})=\n### {_heading(one)}\n"]
    found = [
        (path.stem, about)
        for path in sorted(KEPT.glob(f"{name}*.json"))
        if (about := json.loads(path.read_text()))["name"] == name
    ]
    for key, about in found:
        if "lines" in about:
            lines.append(captions.table(about))
        else:
            image = f"{IMAGES.relative_to(PAGE.parent)}/{key}.png"
            lines.append(f"![{one.title}]({image})\n\n{captions.markdown(about)}")
    if not found:
        why = getattr(one, "missing", "") or "Not made yet."
        kind = "tables" if name in ALL_TABLES else "figures"
        command = f"`python -m experiments.{kind} --name={name}`"
        lines.append(f"{one.title}. *The paper:* {one.shows} *Ours:* {why} {command}\n")
    return "\n".join(lines)


def _heading(one: program.Exhibit | program.Table) -> str:
    return one.title if one.of.startswith("Beyond") else one.of
