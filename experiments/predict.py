"""Clusters new rows with a saved model, without Python code.

  python -m experiments.predict --model=runs/digits-dgg-0/model --data=digits \
      --output=clusters.csv

Every run of experiments.main leaves its model in its folder. The data are a data set by
name, or a .npy, .npz, .csv or .tsv file whose rows are scaled as those of training were
(model.json says how). The output has a line a row: its cluster, the probability of that
cluster, and of all.
"""

import csv
import pathlib
from collections.abc import Sequence

import numpy as np
from absl import app, flags
from scipy import sparse

from dgg_jax import checks
from experiments.command import (
    DATA_DIR,
    EXIT_INVALID,
    fail,
    limit_logs,
    parse_flags,
)

_MODEL = flags.DEFINE_string("model", None, "Folder of a saved model.")
_DATA = flags.DEFINE_string(
    "data", None, "A file with a matrix, or the name of a data set."
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "The .csv file to write, also over an old one."
)
flags.declare_key_flag("data_dir")


def main(arguments: Sequence[str]) -> int:
    """Loads, predicts and writes; a user's mistake is one line on stderr."""
    limit_logs()
    try:
        if len(arguments) > 1:
            raise checks.InvalidInput(
                f"unexpected argument {arguments[1]!r}; flags look like --data=x.csv, "
                "see --helpshort."
            )
        for flag in (_MODEL, _DATA, _OUTPUT):
            if flag.value is None:
                raise checks.InvalidInput(f"--{flag.name} is missing; see --helpshort.")
        return _predict()
    except ValueError as error:
        return fail(str(error), EXIT_INVALID)
    except OSError as error:
        return fail(
            f"--output={_OUTPUT.value} cannot be written: {error.strerror or error}.",
            EXIT_INVALID,
        )


def _predict() -> int:
    x = _rows(_DATA.value)
    import dgg_jax  # takes seconds; mistakes in the data are told before

    model = dgg_jax.load(_MODEL.value)
    if hasattr(model, "predict_proba"):
        probabilities = model.predict_proba(x)
        labels = probabilities.argmax(axis=1)
    else:
        probabilities, labels = None, model.predict(x)
    _write(pathlib.Path(_OUTPUT.value), labels, probabilities)
    sizes = np.bincount(labels, minlength=model.n_clusters)
    print(f"{type(model).__name__} of {_MODEL.value}: {x.shape[0]:,} rows")
    for cluster, size in enumerate(sizes):
        print(f"  cluster {cluster}: {size:,} rows")
    print(f"Output   {_OUTPUT.value}")
    return 0


def _rows(data: str) -> np.ndarray | sparse.csr_array:
    from dgg_jax.data import DATASETS, load
    from dgg_jax.data.matrices import SUFFIXES, read_matrix

    if data in DATASETS:
        return load(data, data_dir=DATA_DIR.value).x
    path = pathlib.Path(data)
    if not path.is_file():
        raise checks.InvalidInput(
            f"--data={data} is neither a file ({', '.join(SUFFIXES)}) nor a data set "
            f"({', '.join(DATASETS)})."
        )
    return read_matrix(path)


def _write(
    path: pathlib.Path, labels: np.ndarray, probabilities: np.ndarray | None
) -> None:
    names, columns = ["cluster"], [labels]
    if probabilities is not None:
        names += ["probability", *(f"p{k}" for k in range(probabilities.shape[1]))]
        columns += [probabilities.max(axis=1), *probabilities.T]
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(zip(*(column.tolist() for column in columns), strict=True))


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
