"""Benchmarks from their files, from prepared data, or from a download."""

import os
from collections.abc import Sequence
from pathlib import Path

from dgg_jax import checks
from dgg_jax.checks import InvalidInput
from dgg_jax.data.sources import Source, Splits, find, sha256_of


def fetch(source: Source, data_dir: Path) -> tuple[Splits, str]:
    """The rows of a benchmark from the first of three places.

    These are: what an earlier download prepared in ``data_dir``; original files in
    ``data_dir`` or its folder of the data set's name; a download, which is checked,
    prepared and kept in that form.

    Args:
      source: of the benchmark.
      data_dir: folder of files and downloads; need not exist.

    Returns:
      The rows of every split, and where they are from, in words: of "original files"
      the SHA-256 is known.

    Raises:
      InvalidInput: if files are unusable or incomplete; the message says what to do.
      NotInstalled: if there are prepared data, no files, and not the extra datasets.
      MissingData: if there are no files and no download; within seconds if there is no
        network.
    """
    folder = source.prepared(data_dir)
    lacking = checks.lacking("datasets")
    if lacking or not folder.exists():
        found = find(source, data_dir)
        if found:
            layout, paths = found
            splits = layout.read(paths)
            original = "original " if _are_original(source, paths) else ""
            kind = "files in" if len(paths) > 1 else "file"
            return splits, f"{original}{kind} {os.path.commonpath(paths)}"
    if lacking:
        raise _not_installed(source, data_dir, lacking)
    # Not above: it takes a while, and files can be read without it.
    from dgg_jax.data import builders

    if not folder.exists():
        builders.prepare(source, data_dir)
    return builders.read(source, data_dir), f"tensorflow-datasets, {folder}"


def _not_installed(source: Source, data_dir: Path, lacking: str) -> InvalidInput:
    """The error for when there are no files, and no packages for all else."""
    folder = source.prepared(data_dir)
    if not folder.exists():
        return source.missing(data_dir, f"it cannot be downloaded: {lacking}")
    names = source.layouts[0].names
    return checks.NotInstalled(
        f"the prepared {source.title} in {folder} cannot be read: {lacking}, or put "
        f"the original files ({names}) into {data_dir / source.name}."
    )


def _are_original(source: Source, paths: Sequence[Path]) -> bool:
    """Whether files are, byte for byte, those that would be downloaded."""
    known = {url.rsplit("/", 1)[1]: digest for url, digest in source.downloads}
    return all(
        path.name in known and sha256_of(path) == known[path.name] for path in paths
    )
