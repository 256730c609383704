"""Benchmarks that come in files: where they lie, and how they are found and fetched."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dgg_jax.checks import InvalidInput, MissingData


class Rows(NamedTuple):
    """The rows of one split, as the files hold them.

    Attributes:
      features: array of shape [N, ...]; of texts, their UTF-8 bytes as objects, [N].
      labels: integers from 0, shape [N].
      note: what the files say of themselves that a reader of results must know; "" if
        nothing.
    """

    features: np.ndarray
    labels: np.ndarray
    note: str = ""


Splits = dict[str, Rows]


class Layout(NamedTuple):
    """One way in which the files of a data set are published.

    Attributes:
      files: for each file the names it may have, the usual one first. A name may be a
        path inside of a folder.
      read: from the paths of the files, in that order, to the rows of every split.
    """

    files: tuple[tuple[str, ...], ...]
    read: Callable[[Sequence[Path]], Splits]

    @property
    def names(self) -> str:
        """The usual names, for messages."""
        return ", ".join(names[0] for names in self.files)


class Source(NamedTuple):
    """A benchmark that comes in files.

    Attributes:
      name: as ``load`` takes it; also the folder inside of data_dir.
      title: as people call it.
      layouts: ways in which its files may lie in data_dir, in order of preference.
      downloads: URL and SHA-256 of each file of the first layout; empty if it cannot be
        downloaded without a licence or by one program.
      shape: of one row of features.
      dtype: of the features; object for texts.
      splits: names of the splits, in the order of the rows.
      size: of the downloads in MiB.
      remedy: where people get the files, for messages.
      version: of the prepared data.
      part: of a data set that is prepared in parts, because few need them all.
      num_rows: of the splits, as published; empty if unknown.
    """

    name: str
    title: str
    layouts: tuple[Layout, ...]
    downloads: tuple[tuple[str, str], ...]
    shape: tuple[int, ...]
    dtype: type
    splits: tuple[str, ...]
    size: int
    remedy: str
    version: str = "1.0.0"
    part: str = ""
    num_rows: tuple[int, ...] = ()

    @property
    def builder(self) -> str:
        """Name of what prepares it; the data set's own may be a stock builder's."""
        return "_".join(filter(None, ("dgg", self.name, self.part)))

    def prepared(self, data_dir: Path) -> Path:
        """The folder of the data that tensorflow-datasets has prepared."""
        return data_dir / self.builder / self.version

    def missing(self, data_dir: Path, reason: str) -> MissingData:
        """The error for when nothing serves; reason says why there is no download."""
        layouts = ", or ".join(layout.names for layout in self.layouts)
        return MissingData(
            f"{self.title} is not in {data_dir}, and {reason}. Looked in "
            f"{data_dir / self.name} and {data_dir} for {layouts}, and in "
            f"{self.prepared(data_dir)} for prepared data. Get the files {self.remedy}"
            ", put them into one folder and name it with --data_dir=FOLDER (in Python: "
            "data_dir=FOLDER)."
        )


def find(source: Source, data_dir: Path) -> tuple[Layout, tuple[Path, ...]] | None:
    """The original files of a benchmark, if they are there.

    All files of a layout must lie in one folder: that of the data set's name in
    ``data_dir``, or ``data_dir``, whose files may be another data set's of the same
    names. The first complete layout is taken.

    Args:
      source: of the benchmark.
      data_dir: where to look; need not exist.

    Returns:
      The layout and the paths of its files, in its order; None if there are none.

    Raises:
      InvalidInput: if a layout has some of its files but not all; the message names
        the missing ones.
    """
    incomplete = None
    for folder in (data_dir / source.name, data_dir):
        for layout in source.layouts:
            paths = [_first(folder, names) for names in layout.files]
            missing = [
                names[0]
                for names, path in zip(layout.files, paths, strict=True)
                if path is None
            ]
            if not missing:
                return layout, tuple(paths)
            if len(missing) < len(paths):
                incomplete = incomplete or (folder, missing, len(paths))
    if incomplete:
        folder, missing, total = incomplete
        raise InvalidInput(
            f"{folder} has only {total - len(missing)} of the {total} files of "
            f"{source.title}; missing: {', '.join(missing)}. Put them there too, or "
            "move the others away to use downloaded data."
        )
    return None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    # Archives are often unpacked to a folder with the name of its one file.
    files = (folder / name for name in names)
    return next((path for path in files if path.is_file()), None)
