"""Clusters new rows with a saved model, without Python code.

  dgg-jax predict --model=runs/digits-dgg-0/model --data=digits --output=clusters.csv

Every run of a deep method leaves its model in its folder. The data are a data set by
name, or a file or folder of images as --dataset of a run takes them. A model
that was trained on such a file holds the numbers that scaled it, and new rows are
scaled by them; for other models rows must come scaled as those of training (model.json
says how). The output has a line a row: its name, if the data have one (the file of an
image, the index or id of a row), its cluster, the probability of that cluster, and of
all.
"""

import csv
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from dgg_jax import checks, data
from dgg_jax.cli.command import DATA_DIR, OUTPUT, Path, answer
from dgg_jax.data import own
from dgg_jax.data.matrices import SUFFIXES

_MODEL = flags.DEFINE(Path(), "model", None, "Folder of a saved model.")
_DATA = flags.DEFINE_string(
    "data", None, "A file, a folder of images, or the name of a data set."
)
flags.declare_key_flag("output")
flags.declare_key_flag("data_dir")


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
    import dgg_jax  # takes seconds; such mistakes are told before
    from dgg_jax.runs.run import keep_compiled

    keep_compiled()
    model = dgg_jax.load(_MODEL.value)
    x, names, note = _rows(_DATA.value, model)
    if hasattr(model, "predict_proba"):
        probabilities = model.predict_proba(x)
        labels = probabilities.argmax(axis=1)
    else:
        probabilities, labels = None, model.predict(x)
    _write(pathlib.Path(OUTPUT.value), names, labels, probabilities)
    sizes = np.bincount(labels, minlength=model.n_clusters)
    print(f"{type(model).__name__} of {_MODEL.value}: {x.shape[0]:,} rows; {note}")
    for cluster, size in enumerate(sizes):
        print(f"  cluster {cluster}: {size:,} rows")
    print(f"Output   {OUTPUT.value}")
    return 0


def _check_data(name: str) -> None:
    """Refuses what is neither a data set nor a file, before anything is imported."""
    if name not in data.DATASETS and not pathlib.Path(name).expanduser().exists():
        raise checks.InvalidInput(
            f"--data={name} is neither a file ({', '.join(SUFFIXES)}), a folder of "
            f"images, nor a data set ({', '.join(data.DATASETS)})."
        )


def _rows(name: str, model: Any) -> tuple[np.ndarray, np.ndarray | None, str]:
    """New rows as the model needs them, their names, and how they were scaled."""
    scaling, names = model._scaling, None
    if name in data.DATASETS:
        # The steps of the model's data say how texts were scaled.
        unit = "tf_idf('unit')" in (model._preprocessing or "")
        tfidf_scaling = "unit" if unit else "sqrt_dim"
        found = data.load(name, data_dir=DATA_DIR.value, tfidf_scaling=tfidf_scaling)
        x, note = found.x, "scaled as a benchmark"
    elif scaling is None:
        x, names = own.named_rows(name, None)
        note = "taken as they are"
        note += f" (the model: {model._preprocessing})"
    else:
        x, names = own.named_rows(name, scaling)
        note = f"{scaling.step}, as in training"
        if scaling.step == "none":
            note = "not scaled, as in training"
    if getattr(model.preset_, "likelihood", None) == "bernoulli":
        note += _check_unit_interval(name, x, model)
    return x, names, note


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
    header, columns = ["cluster"], [labels]
    if names is not None:
        header, columns = ["name", *header], [names, *columns]
    if probabilities is not None:
        header += ["probability", *(f"p{k}" for k in range(probabilities.shape[1]))]
        columns += [probabilities.max(axis=1), *probabilities.T]
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(zip(*(column.tolist() for column in columns), strict=True))
