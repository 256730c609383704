"""The house in figures and as one drawing, for docs/architecture.md.

  python docs/architecture.py            prints the figures
  python docs/architecture.py --write    also draws, and writes the page's table anew

Needs grimp, which import-linter brings along.
"""

import ast
import collections
import contextlib
import io
import itertools
import pathlib
import sys
import tempfile
import tokenize
import tomllib
import traceback
from collections.abc import Callable

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
PAGE = REPOSITORY / "docs" / "architecture.md"
DRAWING = REPOSITORY / "docs" / "images" / "architecture.svg"
_PACKAGE = REPOSITORY / "dgg_jax"
_MARKS = "<!-- figures -->\n", "<!-- end of figures -->\n"


def stack_to_the_loss() -> list[tuple[str, str]]:
    """Our frames, (file, function), between ``DGG().fit(X)`` and ``losses/dgg.py``.

    Seen while the loss is traced, in an epoch of the joint training.
    """
    from dgg_jax.losses import dgg

    stacks = []
    node_terms = dgg.node_terms

    def seen(*arguments):
        stacks.append(traceback.extract_stack()[:-1])
        return node_terms(*arguments)

    dgg.node_terms = seen
    try:
        _fit()
    finally:
        dgg.node_terms = node_terms
    return [
        (file, frame.name)
        for frame in stacks[-1]
        if (file := _own_file(frame.filename)) is not None
    ]


def _fit() -> None:
    """A fit that is as short as can be, and traces what no other has traced."""
    import numpy as np

    import dgg_jax

    x = np.random.default_rng(0).random((61, 5), np.float32)
    epochs = {
        "pretrain_autoencoder_epochs": 1,
        "pretrain_vae_epochs": 0,
        "siamese_epochs": 0,
        "classifier_epochs": 1,
        "label_epochs": 0,
        "epochs": 1,
    }
    dgg_jax.DGG(2, hidden_sizes=(7,), random_state=0, **epochs).fit(x)


def _own_file(path: str) -> str | None:
    path = pathlib.Path(path)
    return str(path.relative_to(_PACKAGE)) if path.is_relative_to(_PACKAGE) else None


def files_entered(function: Callable[[], object], until: str) -> set[str]:
    """Our files whose functions run, before one of a name is called for the first time.

    Args:
      function: what runs.
      until: the name of the function, such as "_step".
    """
    entered: set[str] = set()

    def follow(frame, event, argument):
        if event != "call":
            return
        file = _own_file(frame.f_code.co_filename)
        if frame.f_code.co_name == until and file is not None:
            sys.setprofile(None)
        elif file is not None and frame.f_code.co_name != "<module>":
            entered.add(file)

    sys.setprofile(follow)
    try:
        function()
    finally:
        sys.setprofile(None)
    return entered


def _command_line() -> None:
    from dgg_jax.cli import program

    before = sys.argv
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(SystemExit):
        sys.argv = ["dgg-jax", "run", "--preset=smoke", f"--workdir={folder}/run"]
        try:
            program.main()
        finally:
            sys.argv = before


def lines_of_code(folder: pathlib.Path) -> int:
    """Lines of Python below a folder without docstrings, comments and blanks."""
    return sum(_lines_of_code(path.read_text()) for path in folder.rglob("*.py"))


_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def _lines_of_code(text: str) -> int:
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        documented = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            lines -= set(range(docstring.lineno, docstring.end_lineno + 1))
    return len(lines)


def overridden_members() -> set[str]:
    """What a class of dgg_jax/methods takes from another there and defines anew."""
    classes = {}
    for path in (_PACKAGE / "methods").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                members = {
                    target
                    for one in node.body
                    for target in _names(one)
                    if not target.startswith("__")
                }
                classes[node.name] = bases, members
    return {
        f"{name}.{member}"
        for name, (bases, members) in classes.items()
        for base in bases & set(classes)
        for member in members & classes[base][1]
    }


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef):
        return [node.name]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


def circles() -> list[tuple[str, str]]:
    """Modules that import each other, one of them perhaps by way of others."""
    import grimp

    graph = grimp.build_graph("dgg_jax")
    found = []
    for module in sorted(graph.modules):
        for imported in sorted(graph.find_modules_directly_imported_by(module)):
            if graph.find_shortest_chain(imported, module) is not None:
                found.append((module, imported))
    return found


def spellings(setting: str) -> list[str]:
    """Files with code, not docstrings, that write the name of a setting.

    The constructors of the estimators are left out, which a command writes.
    """
    found = []
    by_hand = set(_PACKAGE.rglob("*.py")) - set(_PACKAGE.glob("estimators/*.py"))
    for path in sorted(by_hand):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                getattr(node, field, None) for field in ("id", "attr", "arg", "value")
            )
            if setting in (name for name in names if isinstance(name, str)):
                found.append(str(path.relative_to(_PACKAGE)))
    return found


def measured(stack: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Figures of the page: what, and how much of it; the stack is that to the loss."""
    code = {
        name: lines_of_code(REPOSITORY / name) for name in ("dgg_jax", "experiments")
    }
    command = files_entered(_command_line, "_step")
    return [
        (
            "from `DGG().fit(X)` to `losses/dgg.py`",
            f"{len(stack)} frames in {len({file for file, _ in stack})} files",
        ),
        ("files that `dgg-jax run` enters before the first step", f"{len(command)}"),
        (
            "lines of code in dgg_jax and experiments",
            f"{sum(code.values()):,} ({code['dgg_jax']:,} and {code['experiments']:,})",
        ),
        (
            "spellings of `pretrain_batch_size`, beside those that a command writes",
            ", ".join(f"`{file}`" for file in spellings("pretrain_batch_size")),
        ),
        ("circles of imports", str(len(circles()))),
        ("members of methods that another overrides", str(len(overridden_members()))),
    ]


def draw() -> None:
    """Draws the layers, downwards, and who imports whom, but for what follows.

    Left out are the lowest layer, which everything may import, and an arrow where
    others lead to the same part.
    """
    import grimp
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "architecture"  # the same bytes every time
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot
    from matplotlib.patches import FancyArrowPatch

    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    (layers,) = (
        contract["layers"]
        for contract in contracts["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    )
    layers = [[name.strip() for name in line.split("|")] for line in layers[1:-1]]
    counts = _imports_between(grimp.build_graph("dgg_jax"), {*itertools.chain(*layers)})
    figure, axes = pyplot.subplots(figsize=(9, 0.95 * len(layers)))
    places = {}
    for row, names in enumerate(layers):
        for column, name in enumerate(names):
            places[name] = (column + 0.5) / len(names), -row
    for (importer, imported), count in sorted(_without_detours(counts).items()):
        (x, y), (to_x, to_y) = places[importer], places[imported]
        axes.add_patch(
            FancyArrowPatch(
                (x, y - 0.17),
                (to_x, to_y + 0.2),
                connectionstyle="arc3,rad=0.08",
                arrowstyle="-|>",
                mutation_scale=7,
                linewidth=0.35 + 0.25 * count**0.5,
                color="#55636f",
                alpha=0.8,
            )
        )
    for name, (x, y) in places.items():
        axes.text(
            x,
            y,
            name,
            ha="center",
            va="center",
            fontsize=9,
            bbox={
                "boxstyle": "round,pad=0.35",
                "facecolor": "#eaf1f8",
                "edgecolor": "#33608c",
            },
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(0.6 - len(layers), 0.5)
    axes.axis("off")
    figure.tight_layout(pad=0.2)
    figure.savefig(DRAWING, metadata={"Date": None})


def _imports_between(graph, parts: set[str]) -> dict[tuple[str, str], int]:
    """How many modules of one part of dgg_jax import one of another."""
    counts: collections.Counter = collections.Counter()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            ends = [name.split(".")[1] for name in (module, imported) if "." in name]
            if len(set(ends)) == 2 and set(ends) <= parts:
                counts[ends[0], ends[1]] += 1
    return dict(counts)


def _without_detours(counts: dict[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    """The arrows that lead where no others lead: there are no circles."""
    below: dict[str, set[str]] = collections.defaultdict(set)
    for importer, imported in counts:
        below[importer].add(imported)

    def reached(part: str) -> set[str]:
        return below[part].union(*map(reached, below[part]))

    return {
        (importer, imported): count
        for (importer, imported), count in counts.items()
        if not any(imported in reached(other) for other in below[importer])
    }


def main(arguments: list[str]) -> None:
    """Prints the figures; with --write, the page has them and the drawing."""
    sys.path.insert(0, str(REPOSITORY))
    stack = stack_to_the_loss()
    rows = [f"| {what} | {value} |" for what, value in measured(stack)]
    rows = ["| what | now |", "|---|---|", *rows]
    print("\n".join([*rows, *(f"  {file}  {function}" for file, function in stack)]))
    if "--write" in arguments:
        draw()
        before, rest = PAGE.read_text().split(_MARKS[0])
        after = rest.split(_MARKS[1])[1]
        table = "\n".join(rows) + "\n"
        PAGE.write_text(before + _MARKS[0] + table + _MARKS[1] + after)


if __name__ == "__main__":
    main(sys.argv[1:])
