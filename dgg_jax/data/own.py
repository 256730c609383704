"""Data of one's own: a file or a folder of images, scaled and checked."""

import difflib
import functools
import hashlib
import math
import numbers
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dgg_jax import checks
from dgg_jax.checks import InvalidInput, MissingData
from dgg_jax.data import matrices, pictures, tables
from dgg_jax.data.dataset import Dataset
from dgg_jax.data.matrices import Matrix
from dgg_jax.data.preprocessing import (
    LOG_COUNTS,
    UNIT_ROWS,
    Scaling,
    are_embeddings,
    check_offset,
    constant_columns,
    likelihood_for,
    min_max,
    scaled,
    shift_and_scale,
    standardize,
    variable_columns,
)
from dgg_jax.log import LOGGER

SCALINGS = ("auto", "none", "standard", "minmax", "pixels", "unit", "counts")
_BY_COLUMNS = ("standardize", "min_max")  # steps that scale each column by itself
_BRIGHT = 128  # least largest value of what we take for 8-bit pixels
# Names of columns of pixels.
_PIXEL = re.compile(r"(pixel|px)[ _.]?\d+([ _.x]\d+)?|\d+x\d+", re.IGNORECASE)


def is_path(name: str | os.PathLike[str]) -> bool:
    """Whether a name that is no benchmark's is meant as a path."""
    return (
        not isinstance(name, str)
        or bool(Path(name).suffix)
        or any(separator in name for separator in (os.sep, os.altsep) if separator)
        or Path(name).expanduser().exists()
    )


def refuse_options(
    name: str,
    label: str | int | None,
    scaling: str,
    image_size: tuple[int, int] | None,
    layer: str | None = None,
    image_shape: Sequence[int] | None = None,
    batch: str | None = None,
) -> None:
    """Refuses, for a benchmark, what only files of one's own have.

    Raises:
      InvalidInput: naming the first option that was given.
    """
    given = {"label": label, "scaling": scaling, "image_size": image_size}
    given |= {"layer": layer, "image_shape": image_shape, "batch": batch}
    for option, value in given.items():
        if value not in (None, "auto"):
            raise InvalidInput(
                f"{option}={value!r} is for a file or folder of your own, {name} has "
                "its own; leave it out."
            )


def load(
    path: str | os.PathLike[str],
    *,
    label: str | int | None = None,
    scaling: str = "auto",
    image_size: tuple[int, int] | None = None,
    layer: str | None = None,
    image_shape: Sequence[int] | None = None,
    batch: str | None = None,
) -> Dataset:
    """Reads, checks and scales a file or a folder of images; see ``data.load``.

    Args:
      path: a file that ``matrices.read`` reads, or a folder as ``pictures.read``.
      label: column, array or key with the classes, or None.
      scaling: one of SCALINGS. auto brings rows that are of one length already, with
        negative values and 64 columns or more, as embeddings of pretrained models, to
        length sqrt(D), takes whole numbers from 0 on of an .h5ad file as counts, values
        in [0, 1], and in [-1, 1] if most columns span a third of it, as they are,
        divides what is taken for 8-bit pixels by 255 and standardises all else. Of
        counts the 2,000 most variable columns are taken, as they are.
      image_size: (H, W) to resize the images of a folder to.
      layer: of an .h5ad file, what to read in place of X: a name in layers, or raw.
      image_shape: (H, W), (H, W, 1) or (H, W, 3) of the image in a row, () if there is
        none; None takes images of a folder for ones, and arrays of the shape and the
        values of images.
      batch: column, array or key of obs that says which batch a row was measured in, no
        feature then; or None.

    Returns:
      The data set; its provenance names what was left out and the scaling.

    Raises:
      InvalidInput: if the file, the labels or a value cannot be used; the message says
        where and what to do.
      MissingData: if there is no such file.
    """
    checks.one_of("scaling", scaling, SCALINGS)
    _check_image_size(image_size)
    path = Path(path).expanduser()
    if batch is not None and label is not None and str(label) == batch:
        raise InvalidInput(
            f"batch={batch!r} is the label, too; a column tells the one or the other."
        )
    matrix = _read(path, None if label is None else str(label), image_size, (), layer)
    batches = None if batch is None else batches_of(path, batch, layer)
    matrix = _without_column(path, matrix, batch)
    x = matrix.features.reshape(len(matrix.features), -1)
    _check_finite(path, matrix, may_miss=scaling not in ("counts", "unit"))
    _told_of(path, checks.missing, x)
    kept = num_columns = None
    if scaling == "counts" or (scaling == "auto" and _are_counts(path, x)):
        scaling = "counts"
        num_columns = x.shape[1]
        matrix, kept = _most_variable(path, matrix, x)
        x = matrix.features
    y, class_names = None, None
    if matrix.labels is not None:
        try:
            y, class_names = _classes(path, matrix.labels)
        except InvalidInput as error:
            if label is not None:
                raise
            LOGGER.warning("Clustered without labels: %s", error)
    shape, is_image = _shape(path, matrix, image_shape)
    is_image_told = bool(image_shape)
    chosen = _scaling(path, x, matrix, scaling, shape, is_image, is_image_told)
    if chosen.step in _BY_COLUMNS and not is_image:
        matrix, chosen = _without_constants(path, matrix, chosen)
        x = matrix.features.reshape(len(x), -1)
    chosen = chosen._replace(
        layer=layer,
        ground=matrix.ground,
        kept=kept,
        num_columns=num_columns,
        batch=batch,
    )
    if scaling == "none":
        remedy = "let --scaling=standard centre and scale it"
        check_offset(x, matrix.columns, remedy)
    fingerprint = _fingerprint(matrix.features.shape, x, y, class_names, batches)
    _tell(path, matrix, chosen, is_image)
    if chosen.step != "none" or x.dtype != np.float32:
        x = _told_of(path, functools.partial(scaled, scaling=chosen), x)
    _warn(path, x, matrix)
    likelihood, variance = likelihood_for(x)
    if scaling == "counts":
        likelihood = "negative_binomial"
    return Dataset(
        x=x,
        y=y,
        name=path.resolve().name,
        feature_shape=chosen.feature_shape,
        class_names=class_names,
        likelihood=likelihood,
        provenance=_provenance(path, matrix, chosen, class_names, batches),
        variance=variance if likelihood == "gaussian" else None,
        scaling=chosen,
        fingerprint=fingerprint,
        names=matrix.names,
        is_image=is_image,
        batch=batches,
    )


def new_rows(path: str | os.PathLike[str], scaling: Scaling | None) -> np.ndarray:
    """The rows of ``named_rows``, float32 of shape [N, D]."""
    return named_rows(path, scaling)[0]


def named_rows(
    path: str | os.PathLike[str],
    scaling: Scaling | None,
    may_miss: bool = True,
    batch: str | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads rows for a model that is trained, and scales them as those of training.

    Columns are found by their names where both files have any, those of one name by
    their order.

    Args:
      path: as of ``load``.
      scaling: of the data of training, or None to take rows as they are.
      may_miss: whether the model takes rows that miss values, which are NaN.
      batch: column that says the batch of a row, and is no feature; or None.

    Returns:
      float32 array [N, D]; and the names of the rows [N], or None if the file has none.

    Raises:
      InvalidInput: if the file cannot be used, or lacks a column.
    """
    path = Path(path).expanduser()
    shape = () if scaling is None else scaling.feature_shape
    wanted = () if scaling is None else scaling.columns or ()
    size = shape[:2] if path.is_dir() and len(shape) > 1 else None
    ground = None if scaling is None else scaling.ground or "white"
    matrix = _read(path, None, size, wanted, layer_of(path, scaling), ground)
    matrix = _without_column(path, matrix, batch)
    if scaling is not None and path.is_dir():
        matrix = matrix._replace(features=_colored_as(matrix.features, shape))
    if wanted and matrix.columns and scaling.kept is None:
        matrix = _with_columns(path, matrix, wanted)
    else:
        _warn_of_left_out(path, matrix)
    is_whole = scaling is not None and scaling.step in (UNIT_ROWS, "counts", LOG_COUNTS)
    _check_finite(path, matrix, may_miss=may_miss and not is_whole)
    x = matrix.features.reshape(len(matrix.features), -1)
    _told_of(path, checks.empty_rows, x)
    if scaling is None:
        return shift_and_scale(x, np.zeros(1), np.ones(1)), matrix.names
    if scaling.kept is not None and x.shape[1] == scaling.num_columns:
        x = x[:, list(scaling.kept)]
    if x.shape[1] != len(scaling.shift):
        of = "" if scaling.kept is None else f" of {scaling.num_columns:,}"
        raise InvalidInput(
            f"{path} has {x.shape[1]:,} columns of numbers, the model was trained on "
            f"{len(scaling.shift):,}{of}; give the same columns in the same order."
        )
    if wanted and scaling.kept is None and not (matrix.columns or path.is_dir()):
        LOGGER.warning(
            "%s names no columns; they are taken for %s, in that order.",
            path,
            tables.listed(wanted),
        )
    return _told_of(path, functools.partial(scaled, scaling=scaling), x), matrix.names


def layer_of(path: str | os.PathLike[str], scaling: Scaling | None) -> str | None:
    """What to read of a file in place of X: as in training, where it has layers."""
    if scaling is None or Path(path).suffix.lower() != ".h5ad":
        return None
    return scaling.layer


def batches_of(
    path: str | os.PathLike[str], column: str, layer: str | None = None
) -> np.ndarray:
    """The batch that each row of a file was measured in, as text.

    Args:
      path: of the file; a folder of images says nothing of batches.
      column: of a table or of obs, by its name; of .npz and .mat an array.
      layer: as of ``load``.

    Returns:
      Strings [N].

    Raises:
      InvalidInput: if there is no such column, or it has no batch for a row.
      MissingData: if there is no such file.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise _missing(path)
    if path.is_dir():
        raise InvalidInput(
            f"batch={column!r} is a column of a file, {path} is a folder; leave it out."
        )
    try:
        labels = matrices.read(path, column, (), layer).labels
    except InvalidInput as error:  # which speaks of the column as of classes
        text = str(error).replace("label=", "batch=").replace("label a", "batch a")
        raise InvalidInput(text) from error
    texts, missing = _texts(labels)
    if missing.any():
        raise InvalidInput(
            f"{path} has no batch={column!r} in {np.count_nonzero(missing):,} rows, "
            f"the first row {missing.argmax()} (counted from 0); give every row one."
        )
    return texts


def _without_column(path: Path, matrix: Matrix, column: str | None) -> Matrix:
    """A matrix without a column that is no feature, if it is one of the table's."""
    if column is None or path.suffix.lower() not in (".csv", ".tsv", ".parquet"):
        return matrix
    left_out = tuple(  # each a name, or a name and " (why)"
        one for one in matrix.left_out if not f"{one} (".startswith(f"{column} (")
    )
    columns = matrix.columns or ()
    if column not in columns:
        if len(left_out) == len(matrix.left_out):
            raise InvalidInput(
                f"batch={column!r} must be the name of a column of {path}; its columns "
                f"of numbers are: {tables.listed(columns) or 'without names'}."
            )
        return matrix._replace(left_out=left_out)
    kept = [place for place, name in enumerate(columns) if name != column]
    return matrix._replace(
        features=matrix.features[:, kept],
        columns=tuple(columns[place] for place in kept),
        suspected=tuple(name for name in matrix.suspected if name != column),
    )


def _read(
    path: Path,
    label: str | None,
    image_size: tuple[int, int] | None,
    wanted: Sequence[str] = (),
    layer: str | None = None,
    ground: str | None = None,
) -> Matrix:
    if not path.exists():
        raise _missing(path)
    if path.is_dir():
        if label is not None:
            raise InvalidInput(
                f"label={label!r}: the classes of images are the folders they lie in, "
                f"within {path}; leave it out."
            )
        return pictures.read(path, image_size, ground)
    if image_size is not None:
        raise InvalidInput(
            f"image_size={image_size} is for folders of images, {path} is a file; "
            "leave it out."
        )
    matrix = matrices.read(path, label, wanted, layer)
    if matrix.features.dtype == bool:  # of which there are no differences
        matrix = matrix._replace(features=matrix.features.view(np.uint8))
    return matrix


def _check_image_size(size: Any) -> None:
    sides = size if isinstance(size, tuple | list) else ()
    whole = [isinstance(s, numbers.Integral) and type(s) is not bool for s in sides]
    if size is not None and not (whole == [True, True] and min(sides) > 0):
        raise InvalidInput(
            f"image_size={size!r} must be a height and a width in pixels, as (64, 64)."
        )


def _missing(path: Path) -> MissingData:
    folder = path.parent
    if not folder.is_dir():
        return MissingData(f"{path} does not exist, nor does the folder {folder}.")
    names = sorted(entry.name for entry in folder.iterdir())
    near = difflib.get_close_matches(path.name, names, n=3)
    hint = f"; {folder} has: {', '.join(near)}" if near else ""
    return MissingData(f"{path} does not exist{hint}.")


def _check_finite(path: Path, matrix: Matrix, may_miss: bool) -> None:
    """Refuses values that are none; of those that are missing it may only tell."""
    x = matrix.features.reshape(len(matrix.features), -1)
    num_wrong, num_missing, first = 0, 0, None
    for start, block in checks.blocks(x):
        missing = np.isnan(block)
        num_missing += np.count_nonzero(missing)
        usable = np.abs(block) <= np.finfo(np.float32).max  # NaN is not
        usable |= missing & may_miss
        if not usable.all():
            row, column = np.argwhere(~usable)[0]
            first = first or (start + row, column)
            num_wrong += np.count_nonzero(~usable)
    if first is None:
        if num_missing:
            LOGGER.warning(
                f"{path}: {num_missing:,} of {x.size:,} values are missing; the "
                "likelihood leaves them out."
            )
        return
    row, column = first
    name = repr(matrix.columns[column]) if matrix.columns else column
    what = "infinite values" if may_miss else "missing, NaN or infinite values"
    raise InvalidInput(
        f"{path} has {num_wrong:,} {what}, or such beyond 3e38, the first at row "
        f"{row}, column {name} (counted from 0); remove or impute them."
    )


def _told_of(path: Path, check: Callable[[np.ndarray], Any], x: np.ndarray) -> Any:
    """What a function of x returns; its error names the file."""
    try:
        return check(x)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from error


def _texts(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values of a column as text [N], and which of them are missing [N]."""
    texts = np.array([_text(value) for value in values.tolist()])
    return texts, np.isin(texts, ("", "nan", "NaN", "NAN"))


def _classes(path: Path, labels: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Integers from 0, and what they stand for: in the order of numbers or of text."""
    if path.is_dir():  # a folder has the name it has
        texts = labels.astype(str)
        missing = np.zeros(len(texts), bool)
    else:
        texts, missing = _texts(labels)
    if missing.any():
        raise InvalidInput(
            f"{path} has no label in {np.count_nonzero(missing):,} rows, the first row "
            f"{missing.argmax()} (counted from 0); label all rows or none."
        )
    names, y = np.unique(texts, return_inverse=True)
    most = max(20, len(texts) // 2)
    if len(names) > most or len(names) == len(texts) > 1:
        raise InvalidInput(
            f"{path} has {len(names):,} different labels in {len(texts):,} rows, such "
            f"as {str(names[0])!r}; name a column of classes as label."
        )
    if all(tables.is_number(name) for name in names.tolist()):
        order = np.argsort(names.astype(float), kind="stable")
    else:
        order = np.arange(len(names))
    rank = np.argsort(order)
    return rank[y].astype(np.int32), tuple(names[order].tolist())


def _text(value: object) -> str:
    """A label as text: 1.0 and "1.0" as 1, b"a" as a, one that is missing as ""."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):  # None, or NA and NaT of pandas
        value = "" if value is None or str(value) in ("<NA>", "NaT") else str(value)
    text = value.strip()
    return (
        text.removesuffix(".0")
        if text.lstrip("-").replace(".", "", 1).isdigit()
        else text
    )


def _shape(
    path: Path, matrix: Matrix, told: Sequence[int] | None
) -> tuple[tuple[int, ...], bool]:
    """The shape of a data point, and whether it is taken for an image."""
    shape = matrix.features.shape[1:]
    if not told:
        is_image = path.is_dir() or checks.shows_images(matrix.features)
        return shape, told is None and is_image
    checks.image_shape(told, math.prod(shape), "image_shape")
    return tuple(told), True


def _scaling(
    path: Path,
    x: np.ndarray,
    matrix: Matrix,
    wanted: str,
    shape: tuple[int, ...],
    is_image: bool,
    is_image_told: bool,
) -> Scaling:
    num_features = x.shape[1]
    shift, scale = np.zeros(num_features), np.ones(num_features)
    most = 255.0
    if wanted == "auto":
        low = float(np.fmin.reduce(x, axis=None))
        high = float(np.fmax.reduce(x, axis=None))
        if path.is_dir():
            wanted = "pixels"
            most = high if 0 < high < _BRIGHT else most  # masks, classes, digits
        elif not is_image and are_embeddings(x):
            wanted = "unit"
        elif _is_scaled(x, low, high):
            wanted = "none"
        else:
            are_pixels = _BRIGHT <= high <= 255 and low >= 0 and checks.are_whole(x)
            # Small whole numbers are mostly ages or counts: more must speak for it.
            are_pixels &= (
                is_image_told
                or _are_of_pixels(matrix.columns)
                or (
                    matrix.columns is None
                    and (is_image or x.dtype == np.uint8 or high == 255)
                )
            )
            wanted = "pixels" if are_pixels else "standard"
    elif wanted == "pixels":
        low = np.fmin.reduce(x, axis=None)
        if low < 0:
            raise InvalidInput(
                f"{path}: scaling='pixels' divides values from 0 to 255 by 255, it has "
                f"values from {low:g} on; choose another scaling."
            )
    if wanted == "pixels":
        scale = np.full(num_features, most)
    elif wanted == "standard":
        shift, scale = standardize(x)
    elif wanted == "minmax":
        shift, scale = min_max(x)
    steps = {"standard": "standardize", "minmax": "min_max", "unit": UNIT_ROWS}
    step = {**steps, "pixels": f"divide_by({most:g})"}.get(wanted, wanted)
    return Scaling(step, shift, scale, shape, matrix.columns)


def _without_constants(
    path: Path, matrix: Matrix, scaling: Scaling
) -> tuple[Matrix, Scaling]:
    """A table, and its scaling, without the columns that are the same in every row.

    They tell nothing of these rows, and of new ones, where they may differ, no network
    would have seen it. Columns that have no names to leave them out by are told.

    Raises:
      InvalidInput: if all columns are such.
    """
    names, rows = matrix.columns, matrix.features
    same = constant_columns(rows.reshape(len(rows), -1))
    if same.all():
        raise InvalidInput(
            f"{path} holds no two rows that differ (it has {len(rows):,}); there is "
            "nothing to cluster."
        )
    if rows.ndim > 2 or not same.any():
        return matrix, scaling
    if names is None:
        LOGGER.warning(
            "%s: columns that are the same in every row, and tell nothing: %s (counted "
            "from 0). Leave them out, for new rows may have other values there.",
            path,
            tables.listed([str(column) for column in np.flatnonzero(same)]),
        )
        return matrix, scaling
    same &= np.array([names.count(name) == 1 for name in names])  # others go by order
    kept = rows[:, ~same]
    if all(map(_PIXEL.fullmatch, names)) or np.isnan(kept).all(axis=1).any():
        return matrix, scaling  # the ground of images; all that a row has
    left = [name for name, is_same in zip(names, same, strict=True) if is_same]
    columns = tuple(name for name in names if name not in left)
    told = (f"{tables.listed(left, 5)} (constant)",) if left else ()
    return (
        matrix._replace(
            features=kept,
            columns=columns,
            left_out=(*matrix.left_out, *told),
            suspected=tuple(name for name in matrix.suspected if name not in left),
        ),
        scaling._replace(
            shift=scaling.shift[~same],
            scale=scaling.scale[~same],
            feature_shape=(len(columns),),
            columns=columns,
        ),
    )


def _are_counts(path: Path, x: np.ndarray) -> bool:
    """Whether a matrix of cells holds what was counted, not what was made of it."""
    if path.suffix.lower() != ".h5ad":  # elsewhere whole numbers may mean anything
        return False
    low, high = np.fmin.reduce(x, axis=None), np.fmax.reduce(x, axis=None)
    if not (low >= 0 and high > 1 and checks.are_whole(x)):
        return False
    if checks.has_nan(x):
        LOGGER.warning(
            f"{path}: what is there are counts, but some are missing, which the "
            "likelihood of counts cannot leave out: they are standardised; impute "
            "them, as by 0 what was not seen."
        )
        return False
    return True


def _most_variable(
    path: Path, matrix: Matrix, x: np.ndarray
) -> tuple[Matrix, tuple[int, ...] | None]:
    """The most variable columns of counts [N, D], and which, unless names say so."""
    _told_of(path, checks.counts, x)
    kept = variable_columns(x)
    if len(kept) == x.shape[1]:
        return matrix._replace(features=x), None
    chosen, columns = x[:, kept], matrix.columns
    empty = ~chosen.any(axis=1)
    if empty.any():
        raise InvalidInput(
            f"{path}: row {int(empty.argmax())} has no counts in the {len(kept):,} "
            "columns that vary most; leave out rows of few counts."
        )
    are_told = columns is not None and len(set(columns)) == len(columns)
    if columns is not None:
        columns = tuple(columns[index] for index in kept)
    matrix = matrix._replace(features=chosen, columns=columns)
    return matrix, None if are_told else tuple(kept.tolist())


def _is_scaled(x: np.ndarray, low: float, high: float) -> bool:
    """Whether values lie in [0, 1], or most columns span a third of [-1, 1] or more."""
    if not -1 <= low <= high <= 1:
        return False
    spans = np.fmax.reduce(x, axis=0) - np.fmin.reduce(x, axis=0)
    return low >= 0 or float(np.median(spans)) >= 2 / 3


def _are_of_pixels(names: Sequence[str] | None) -> bool:
    """Whether columns are named as pixels are: pixel0, 1x1, or counted."""
    if names is None:
        return False
    counted = (tuple(str(i + first) for i in range(len(names))) for first in (0, 1))
    return names in counted or all(map(_PIXEL.fullmatch, names))


def _tell(path: Path, matrix: Matrix, scaling: Scaling, is_image: bool) -> None:
    """Says what is taken for what, and the flag for what it is not."""
    shape = matrix.features.shape[1:]
    sides = " x ".join(map(str, scaling.feature_shape))
    if is_image and not path.is_dir():
        LOGGER.info(
            f"{path}: rows are taken for images of {sides}; --image_shape=none if they "
            "are none."
        )
    elif len(shape) > 1 and not path.is_dir():
        flag = f"--image_shape={','.join(map(str, shape))} if they are images"
        hint = f"; {flag}" if checks.is_image(shape) else ""
        if checks.has_channels_first(shape):
            hint = "; if they are images, save them as x.transpose(0, 2, 3, 1)"
        LOGGER.info(f"{path}: arrays of {sides} are taken for rows of numbers{hint}.")
    if scaling.ground == "alpha":
        LOGGER.info(
            f"{path}: all that is seen of the images has one colour; what is taken is "
            "how opaque they are."
        )
    elif scaling.ground is not None:
        LOGGER.info(f"{path}: transparent pixels are seen on {scaling.ground}.")
    if scaling.step == "divide_by(255)" and not path.is_dir():
        LOGGER.info(
            f"{path}: whole numbers to 255 are taken for 8-bit pixels, and divided by "
            "255; --scaling=standard if they are none."
        )
    elif scaling.step == UNIT_ROWS:
        LOGGER.info(
            f"{path}: the directions of the rows are compared, as of embeddings of a "
            "pretrained model; --scaling=standard if each column counts by itself."
        )
    elif scaling.step == "counts":
        LOGGER.info(
            f"{path}: whole numbers are taken for counts, as of {shape[0]:,} genes or "
            "words, and rows are compared by their shares; --scaling=standard if they "
            "are none."
        )
    elif scaling.step.startswith("divide_by(") and scaling.scale[0] != 255:
        LOGGER.warning(
            f"{path}: no pixel is larger than {scaling.scale[0]:g} of 255; all are "
            f"divided by {scaling.scale[0]:g} (--scaling=pixels: by 255)."
        )


def _fingerprint(
    shape: tuple[int, ...],
    x: np.ndarray,
    y: np.ndarray | None,
    class_names: tuple[str, ...] | None,
    batches: np.ndarray | None,
) -> str:
    """Of rows x [N, D] that the file holds in a shape [N, ...]."""
    digest = hashlib.sha256(f"{shape} {x.dtype} {class_names}".encode())
    for _, block in checks.blocks(x):
        digest.update(np.ascontiguousarray(block))
    if y is not None:
        digest.update(y)
    if batches is not None:
        digest.update("\n".join(batches.tolist()).encode())
    return digest.hexdigest()


def _warn(path: Path, x: np.ndarray, matrix: Matrix) -> None:
    _warn_of_left_out(path, matrix)
    if matrix.suspected:
        LOGGER.warning(
            "%s: kept as features, though they look like numbers of the rows: %s. Take "
            "them out of the file if they measure nothing.",
            path,
            tables.listed(matrix.suspected),
        )
    twice = [name for name, count in Counter(matrix.columns).items() if count > 1]
    if twice:
        LOGGER.warning(
            "%s: columns of the same name: %s; new rows need them in the same order.",
            path,
            tables.listed(twice),
        )
    # By digests, which take less memory than the rows.
    copies = len(x) - len({_digest(row) for row in x})
    if copies:
        LOGGER.warning(
            "%s: %d of %d rows are copies of others; they stay, and count as often.",
            path,
            copies,
            len(x),
        )


def _digest(row: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(row), digest_size=16).digest()


def _warn_of_left_out(path: Path, matrix: Matrix) -> None:
    if matrix.left_out:
        LOGGER.warning(
            "%s: left out, since no features: %s.", path, tables.listed(matrix.left_out)
        )


def _provenance(
    path: Path,
    matrix: Matrix,
    scaling: Scaling,
    class_names: tuple[str, ...] | None,
    batches: np.ndarray | None,
) -> str:
    num_rows = len(matrix.features)
    shape = matrix.features.shape[1:]
    if len(shape) > 1:
        kind = f"arrays of {' x '.join(map(str, shape))}"
    else:
        kind = "1 column" if shape == (1,) else f"{shape[0]:,} columns"
    parts = [f"{path.resolve().name}, {num_rows:,} rows of {kind}"]
    if class_names is not None:
        parts.append(f"{len(class_names):,} classes")
    if batches is not None:
        parts.append(f"{len(np.unique(batches)):,} batches by {scaling.batch}")
    if matrix.left_out:
        parts.append(f"without {tables.listed(matrix.left_out, 5)}")
    if scaling.layer is not None:
        parts.append(f"layer {scaling.layer}")
    if scaling.ground is not None:
        on = "as alpha" if scaling.ground == "alpha" else f"on {scaling.ground}"
        parts.append(f"transparency {on}")
    step = "no scaling" if scaling.step == "none" else scaling.step
    return f"{', '.join(parts)}; {step}" + (", flatten" if len(shape) > 1 else "")


def _with_columns(path: Path, matrix: Matrix, wanted: Sequence[str]) -> Matrix:
    """The columns of these names; those of one name in their order."""
    have, need = Counter(matrix.columns), Counter(wanted)
    lacking = [name for name in need if name not in have]
    if lacking:
        raise InvalidInput(
            f"{path} lacks columns of numbers that the model was trained on: "
            f"{tables.listed(lacking, 5)}."
        )
    for name in need:
        if have[name] != need[name]:
            raise InvalidInput(
                f"{path} has {have[name]} columns {name!r}, the model was trained on "
                f"{need[name]}, so that it cannot be told which is which; give them in "
                "the order of training."
            )
    places: dict[str, list[int]] = {}
    for place, name in enumerate(matrix.columns):
        places.setdefault(name, []).append(place)
    kept = [places[name].pop(0) for name in wanted]
    return matrix._replace(features=matrix.features[:, kept], columns=tuple(wanted))


def _colored_as(images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Grey images as coloured ones, where the model was trained on these."""
    if len(shape) == 3 and images.ndim == 3:
        return np.broadcast_to(images[..., None], (*images.shape, shape[2]))
    return images
