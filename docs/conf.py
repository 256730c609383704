"""Sphinx configuration: ``python -m sphinx -W docs docs/_build``."""

import contextlib
import dataclasses
import inspect
import pathlib
import re
import sys
import urllib.request

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from sklearn.base import BaseEstimator  # noqa: E402
from sphinx.ext import autosummary  # noqa: E402
from sphinx.util.inspect import stringify_signature  # noqa: E402

import dgg_jax  # noqa: E402
from dgg_jax import presets  # noqa: E402

project = "dgg_jax"
author = "the dgg_jax authors"
release = version = dgg_jax.__version__

extensions = [
    "mathml",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"dgg_jax {release}"
html_static_path = ["_static"]
html_css_files = ["equations.css"]
html_show_sphinx = False
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
python_maximum_signature_line_length = 88

myst_enable_extensions = ["dollarmath"]
nb_execution_mode = "off"  # notebooks are shown as they were executed
myst_heading_anchors = 3

autosummary_generate = False
autosummary.WELL_KNOWN_ABBREVIATIONS += (
    "eq.",
    "supplement eq.",
)  # no end of a sentence
autodoc_member_order = "bysource"
autoclass_content = "both"  # estimators say what their arguments are
autodoc_typehints = "none"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Expert settings", "params_style")]

# Names of other projects link to their pages.
_OTHERS = {
    "python": "https://docs.python.org/3/",
    "numpy": "https://numpy.org/doc/stable/",
    "scipy": "https://docs.scipy.org/doc/scipy/",
    "sklearn": "https://scikit-learn.org/stable/",
    "matplotlib": "https://matplotlib.org/stable/",
    "jax": "https://docs.jax.dev/en/latest/",
}
intersphinx_timeout = 5  # seconds


def _is_reachable(address):
    with contextlib.suppress(OSError):
        urllib.request.urlopen(f"{address}objects.inv", timeout=5).close()
        return True
    return False


# Without a network the pages are built without these links, not with a warning.
intersphinx_mapping = {
    name: (address, None) for name, address in _OTHERS.items() if _is_reachable(address)
}


def _skip(app, what, name, member, skip, options):
    """Leaves out scikit-learn's members, and fields that a class's docstring lists."""
    text = getattr(member, "__doc__", None) or ""
    of_sklearn = (getattr(member, "__module__", None) or "").startswith("sklearn.")
    if of_sklearn or name.endswith("_request"):
        return True
    return True if text.startswith("Alias for field number") else None


def _list_settings(app, what, name, obj, options, lines):
    """Adds to a preset what its own fields mean, which stands in their metadata."""
    if what == "class" and issubclass(obj, presets.Preset):
        own = inspect.get_annotations(obj)
        for field in dataclasses.fields(obj):
            if field.name in own and "setting" in field.metadata:
                lines.append(f":ivar {field.name}: {field.metadata['setting'].text}")
        lines.append("")


def _show_constructor(app, what, name, obj, options, signature, returns):
    """What everyone sets, as the signature of an estimator; below it stands all."""
    if what != "class" or not issubclass(obj, BaseEstimator):
        return None
    parameters = list(inspect.signature(obj).parameters.values())
    names = [one.name for one in parameters]
    experts = inspect.Parameter("expert_settings", inspect.Parameter.VAR_KEYWORD)
    shown = inspect.Signature([*parameters[: names.index("callbacks")], experts])
    return stringify_signature(shown), returns


def _keep_underscores(app, what, name, obj, options, lines):
    """Escapes the underscore of scikit-learn's attributes, in rst a link."""
    lines[:] = [re.sub(r"^(:ivar \w+)_:", r"\1\\_:", line) for line in lines]


def _keep_letters(app, what, name, obj, options, lines):
    """Escapes an argument that is "K." or "N.", in rst an item of a list."""
    lines[:] = [re.sub(r"^(\s+\w+: )?([A-Z]\.)", r"\1\\\2", line) for line in lines]


def setup(app):
    """Connects the events."""
    app.connect("autodoc-process-signature", _show_constructor)
    app.connect("autodoc-process-docstring", _list_settings)
    app.connect("autodoc-process-docstring", _keep_letters, priority=400)
    app.connect("autodoc-process-docstring", _keep_underscores, priority=900)
    app.connect("autodoc-skip-member", _skip)
