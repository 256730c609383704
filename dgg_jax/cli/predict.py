"""Clusters new rows with a saved model, without Python code.

  dgg-jax predict --model=runs/digits-dgg-0/model --data=digits --output=clusters.csv

Every run of a deep method leaves its model in its folder. The data are a data set by
name, or a file or folder of images as --dataset of a run takes them. A model
that was trained on such a file holds the numbers that scaled it, and new rows are
scaled by them; for other models rows must come scaled as those of training (model.json
says how). Columns are found by their names, where the file and the rows of training
have any. The output has a line a row: its name, if the data have one (the file of an
image, the index or id of a row), its cluster, the probability of that cluster, and of
all. Its suffix says the format: .csv, .parquet, or .npz with the arrays labels,
probabilities and names. It appears whole or not at all, and never in the place of the
data or within the model.
"""

import csv
import errno
import os
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from absl import flags

from dgg_jax import checks, data
from dgg_jax.cli.command import BATCH, DATA_DIR, OUTPUT, Path, answer
from dgg_jax.data import own, stl10
from dgg_jax.data.loaders import data_directory
from dgg_jax.data.matrices import SUFFIXES
from dgg_jax.data.preprocessing import Scaling
from dgg_jax.storage import folders

_MODEL = flags.DEFINE(Path(), "model", None, "Folder of a saved model.")
_DATA = flags.DEFINE_string(
    "data", None, "A file, a folder of images, or the name of a data set."
)
_OUTLIERS = flags.DEFINE_float(
    "outliers",
    0.0,
    "The share of the training rows that is taken for outliers: a row that the model "
    "explains as badly as those has cluster -1.",
    lower_bound=0.0,
    upper_bound=0.99,
)
flags.declare_key_flag("output")
flags.declare_key_flag("data_dir")
flags.declare_key_flag("batch")


def main(arguments: Sequence[str]) -> int:
    """Loads, predicts and writes; a user's mistake is one line on stderr."""
    return answer(arguments, _checked, example="--data=x.csv")


def _checked() -> int:
    for flag in (_MODEL, _DATA, OUTPUT):
        if flag.value is None:
            raise checks.InvalidInput(f"--{flag.name} is missing; see --helpshort.")
    try:
        return _predict()
    except ValueError as error:  # scikit-learn's of rows that do not fit
        raise checks.InvalidInput(str(error)) from error
    except OSError as error:
        raise checks.InvalidInput(
            f"--output={OUTPUT.value} cannot be written: {error.strerror or error}."
        ) from error


def _predict() -> int:
    _check_data(_DATA.value)
    output = pathlib.Path(OUTPUT.value)
    _check_output(output)
    import dgg_jax  # takes seconds; such mistakes are told before
    from dgg_jax.runs.compiled import keep_compiled

    keep_compiled()
    model = dgg_jax.load(_MODEL.value)
    tells_outliers = hasattr(model, "outliers") and hasattr(model, "elbo_")
    if _OUTLIERS.value and not tells_outliers:
        raise checks.InvalidInput(
            f"--outliers={_OUTLIERS.value:g} needs a model of DGG or VaDE that knows "
            f"the ELBO of its training rows, {_MODEL.value} is a "
            f"{type(model).__name__}; leave it out, or train anew."
        )
    batch = _batch_column(model)
    x, names, note = _rows(_DATA.value, model, batch)
    told = {}
    if batch is not None:
        layer = own.layer_of(_DATA.value, model._scaling)
        told = {"batch": own.batches_of(_DATA.value, batch, layer)}
        note += f"; batches by {batch}"
    if hasattr(model, "predict_proba"):
        probabilities = model.predict_proba(x, **told)
        labels = probabilities.argmax(axis=1)
    else:
        probabilities, labels = None, model.predict(x)
    if _OUTLIERS.value:
        labels = np.where(model.outliers(x, _OUTLIERS.value, **told), -1, labels)
    _write(output, names, labels, probabilities)
    sizes = np.bincount(labels[labels >= 0], minlength=model.n_clusters)
    print(f"{type(model).__name__} of {_MODEL.value}: {x.shape[0]:,} rows; {note}")
    for cluster, size in enumerate(sizes):
        print(f"  cluster {cluster}: {size:,} rows")
    if _OUTLIERS.value:
        print(f"  outliers, -1: {(labels < 0).sum():,} rows")
    print(f"Output   {OUTPUT.value}")
    return 0


def _batch_column(model: Any) -> str | None:
    """The column with the batch of a row, if the model knows of batches.

    Raises:
      InvalidInput: if it is told, and the model knows of none; or the other way round.
    """
    if model.batches_ is None:
        if BATCH.value is not None:
            raise checks.InvalidInput(
                f"--batch={BATCH.value}: the model was trained without batches; leave "
                "it out."
            )
        return None
    if BATCH.value is not None:
        return BATCH.value
    if model._scaling is None or model._scaling.batch is None:
        raise checks.InvalidInput(
            f"--batch is missing: the model was trained on rows of the batches "
            f"{', '.join(model.batches_[:5])}; name the column that says which."
        )
    return model._scaling.batch


def _check_data(name: str) -> None:
    """Refuses what is neither a data set nor a file, before anything is imported."""
    if name not in data.DATASETS and not pathlib.Path(name).expanduser().exists():
        raise checks.InvalidInput(
            f"--data={name} is neither a file ({', '.join(SUFFIXES)}), a folder of "
            f"images, nor a data set ({', '.join(data.DATASETS)})."
        )


def _check_output(path: pathlib.Path) -> None:
    """Refuses an output of no known format, or that would destroy what is read.

    Raises:
      InvalidInput: then.
      OSError: if it cannot be written.
    """
    if path.suffix.lower() not in _WRITERS:
        raise checks.InvalidInput(
            f"--output={path} must end in one of {', '.join(_WRITERS)}, which says its "
            "format."
        )
    if path.suffix.lower() == ".parquet":
        checks.installed("parquet", f"--output={path}", "or name a .csv file")
    for flag, other in _inputs():
        if other.exists() and folders.lies_in(path, other):
            raise checks.InvalidInput(
                f"--output={path} is, or lies in, --{flag}={other}, which it would "
                "destroy; choose another file."
            )
    if path.exists() and not path.is_file():
        raise checks.InvalidInput(f"--output={path} is no file; choose another name.")
    written = path if path.exists() else path.parent
    if not written.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    if not os.access(written, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _inputs() -> Iterator[tuple[str, pathlib.Path]]:
    """The files and folders that are read, each with its flag."""
    yield "model", pathlib.Path(_MODEL.value)
    name = _DATA.value
    if name not in data.DATASETS:
        yield "data", pathlib.Path(name).expanduser()
        return
    folder = data_directory(DATA_DIR.value)
    prepared = folder.glob(f"dgg_{name}*")
    for path in (folder / name, folder / stl10.FEATURES_FILE, *prepared):
        yield "data_dir", path


def _rows(
    name: str, model: Any, batch: str | None
) -> tuple[np.ndarray, np.ndarray | None, str]:
    """New rows as the model needs them, their names, and how they were scaled."""
    scaling, names = model._scaling, None
    if name in data.DATASETS:
        # The steps of the model's data say how texts were scaled.
        unit = "tf_idf('unit')" in (model._preprocessing or "")
        tfidf_scaling = "unit" if unit else "sqrt_dim"
        found = data.load(name, data_dir=DATA_DIR.value, tfidf_scaling=tfidf_scaling)
        x, note = found.x, "scaled as a benchmark"
    elif scaling is None:
        scaling = _unscaled(model)
        x, names = own.named_rows(name, scaling, model.preset_.may_miss, batch)
        note = "taken as they are"
        note += f" (the model: {model._preprocessing})"
    else:
        x, names = own.named_rows(name, scaling, model.preset_.may_miss, batch)
        note = f"{scaling.step}, as in training"
        if scaling.step == "none":
            note = "not scaled, as in training"
    if getattr(model.preset_, "likelihood", None) == "bernoulli":
        note += _check_unit_interval(name, x, model)
    return x, names, note


def _unscaled(model: Any) -> Scaling | None:
    """How a model of a data frame takes its columns: by their names, as they are."""
    columns = vars(model).pop("feature_names_in_", None)  # rows have no names then
    if columns is None:
        return None
    dim = len(columns)
    shift, scale = np.zeros(dim), np.ones(dim)
    return Scaling("none", shift, scale, (dim,), tuple(map(str, columns)))


def _check_unit_interval(name: str, x: np.ndarray, model: Any) -> str:
    """Refuses values that a model of values in [0, 1] makes no sense of.

    Returns:
      What is to be said of values that are beyond those of training.
    """
    beyond = np.count_nonzero((x < 0.0) | (x > 1.0))
    if beyond and model._scaling is not None and model._scaling.step == "min_max":
        return f"; {beyond:,} values lie beyond those of training"
    if beyond:
        raise checks.InvalidInput(
            f"--data={name} has values in [{x.min():g}, {x.max():g}], the model was "
            f"trained on values in [0, 1] ({model._preprocessing}); scale new rows as "
            "those."
        )
    return ""


def _write(
    path: pathlib.Path,
    names: np.ndarray | None,
    labels: np.ndarray,
    probabilities: np.ndarray | None,
) -> None:
    path = path.resolve()  # where a link leads
    with folders.partial(path) as made:
        _WRITERS[path.suffix.lower()](made, names, labels, probabilities)
        if path.exists():
            shutil.copymode(path, made)
        os.replace(made, path)


def _columns(
    names: np.ndarray | None, labels: np.ndarray, probabilities: np.ndarray | None
) -> dict[str, np.ndarray]:
    """The columns of a table."""
    columns = {} if names is None else {"name": names}
    columns["cluster"] = labels
    if probabilities is not None:
        columns["probability"] = probabilities.max(axis=1)
        columns |= {f"p{k}": column for k, column in enumerate(probabilities.T)}
    return columns


def _csv(path: pathlib.Path, *predicted: Any) -> None:
    columns = _columns(*predicted)
    # Names of files need not be text.
    with open(path, "w", newline="", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        lists = (column.tolist() for column in columns.values())
        writer.writerows(zip(*lists, strict=True))


def _parquet(path: pathlib.Path, *predicted: Any) -> None:
    import pyarrow
    from pyarrow import parquet

    columns = _columns(*predicted)
    if "name" in columns:
        encoded = (name.encode(errors="surrogateescape") for name in columns["name"])
        columns["name"] = [name.decode(errors="backslashreplace") for name in encoded]
    parquet.write_table(pyarrow.table(columns), path)


def _npz(
    path: pathlib.Path,
    names: np.ndarray | None,
    labels: np.ndarray,
    probabilities: np.ndarray | None,
) -> None:
    arrays = {"labels": labels, "probabilities": probabilities, "names": names}
    given = {name: array for name, array in arrays.items() if array is not None}
    with open(path, "wb") as file:  # else it would be given another suffix
        np.savez_compressed(file, **given)


_WRITERS = {".csv": _csv, ".parquet": _parquet, ".npz": _npz}
