"""What the papers report, to compare with: the lines of published.csv.

Accuracies in [0, 1], each with the table that prints it and, if they go with settings,
those. DGG's table 1 has AE+GMM on full Reuters in its Reuters column (erratum E29).
VaDE on MNIST is 0.9446 there and 0.9406 in VaDE's preprint: the higher one is compared
with, the other quoted; DGG without neighbours is not VaDE (erratum E30). Those of
GMVAE's table 1 are of its own score, which is not ACC (erratum E62): means over runs,
but of CatGAN the best run.
"""

import csv
import functools
import importlib.resources
from typing import Any

from dgg_jax import presets


@functools.cache
def lines() -> tuple[dict[str, Any], ...]:
    """All that is quoted: dataset, method, settings, accuracy and source."""
    path = importlib.resources.files(__package__) / "published.csv"
    found = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    return tuple(line | {"accuracy": float(line["accuracy"])} for line in found)


def figure(
    method: str, dataset: str, preset: presets.Preset | None = None
) -> dict[str, Any] | None:
    """What the papers report of a method on a data set, if they do.

    Args:
      method: one of METHODS.
      dataset: one of DATASETS.
      preset: all settings, by default the default ones; the figure of GMVAE depends
        on K and M, those of CatGAN and AAE on K, that of DGG on N_s.

    Returns:
      "accuracy" in [0, 1]; "score", which of ours to compare with it:
      confident_label_accuracy for those of GMVAE's table, accuracy for all others;
      and "source".
    """
    settings = vars(preset or presets.preset_class(method)())
    if settings.get("graph_strength") == 0:  # as if there were no neighbours
        settings = settings | {"num_neighbors": 0}
    found = None
    for line in lines():
        wanted = (part.split("=") for part in line["settings"].split())
        if (line["dataset"], line["method"]) == (dataset, method) and all(
            str(settings[name]) == value for name, value in wanted
        ):
            found = line  # the last, which is the most particular
    if found is None:
        return None
    is_confident = method in ("gmvae", "catgan", "aae")
    score = "confident_label_accuracy" if is_confident else "accuracy"
    return {"accuracy": found["accuracy"], "score": score, "source": found["source"]}


def quoted(dataset: str) -> dict[str, tuple[float, str]]:
    """Accuracies, and where from, of methods that are not in this library."""
    return {
        line["method"]: (line["accuracy"], line["source"])
        for line in lines()
        if line["dataset"] == dataset and line["method"] not in presets.METHODS
    }
