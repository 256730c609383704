"""What a figure of a paper is made of."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from dgg_jax import plots, presets
from dgg_jax.metrics import matched_classes
from dgg_jax.runs.finished import FinishedRun
from experiments.papers.runs import Asked

Arrays = Mapping[str, np.ndarray]  # by name, what is drawn
Runs = Mapping[str, FinishedRun]


class Scale(NamedTuple):
    """On what, and how much of it.

    Attributes:
      images: the data set that stands where the papers have MNIST.
      num_rows: of a random part of it, or None for all.
      is_quick: whether runs are to be short, by the preset smoke.
      changes: settings of the runs on the images, of the methods that have them; what a
        figure sets itself stays.
    """

    images: str = "mnist"
    num_rows: int | None = None
    is_quick: bool = False
    changes: Mapping[str, Any] = MappingProxyType({})

    def of_images(self, method: str, preset: str = "default", **settings: Any) -> Asked:
        """A run on the images."""
        known = presets.settings(presets.preset_class(method))
        changes = {k: v for k, v in self.changes.items() if k in known}
        settings = changes | settings
        asked = self.asked(self.images, method, preset, **settings)
        return asked._replace(num_rows=self.num_rows)

    def asked(
        self,
        dataset: str,
        method: str,
        preset: str = "default",
        distance: str = "near",
        **settings: Any,
    ) -> Asked:
        """A run on any data set."""
        preset = "smoke" if self.is_quick else preset
        return Asked(dataset, method, settings, preset, distance)


class Exhibit(NamedTuple):
    """A figure of a paper, or one beyond the papers.

    Attributes:
      name: as the command line has it, such as dgg-fig1.
      of: where it is printed.
      title: what it shows, one line.
      shows: what the paper's shows, in a sentence; of those beyond the papers, how to
        read it.
      runs: the runs that it is of, by name.
      collect: from the runs, what is drawn of them, which alone is kept.
      draw: from that to a matplotlib Figure.
      agrees: from that, a sentence on what ours is like.
      missing: what cannot be had here and what would be needed for it, or nothing.
    """

    name: str
    of: str
    title: str
    shows: str
    runs: Callable[[Scale], dict[str, Asked]]
    collect: Callable[[Runs], Arrays]
    draw: Callable[[Arrays], Figure]
    agrees: Callable[[Arrays], str]
    missing: str = ""


def pixels(rows: np.ndarray) -> np.ndarray:
    """Values of images in [0, 1] as bytes, which are kept."""
    return np.uint8(np.round(255.0 * np.clip(rows, 0.0, 1.0)))


def draw_samples(arrays: Arrays, titles: Mapping[str, str]) -> Figure:
    """Grids of ``pixels`` [K, M, D] beside each other, by name and title.

    Args:
      arrays: with those that are there, and feature_shape.
      titles: of each name.
    """
    shown = {
        title: arrays[name] / 255.0 for name, title in titles.items() if name in arrays
    }
    shape = tuple(arrays["feature_shape"].tolist())
    return plots.sample_panels(shown, shape, columns=2)


def accuracy(run: FinishedRun) -> np.ndarray:
    """ACC of a run, as an array of one number."""
    return np.asarray(run.result["final"]["accuracy"])


def classes(y: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The class that each point's cluster is matched to, int16 [N].

    So clusters have the colours of classes; those beyond have numbers of their own.
    """
    return matched_classes(y, labels).astype(np.int16)
