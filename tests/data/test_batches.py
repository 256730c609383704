"""The column that says which batch a row was measured in, in files of each kind."""

import anndata
import numpy as np
import pandas as pd
import pytest
from pyarrow import Table, parquet

from dgg_jax import data
from dgg_jax.checks import InvalidInput
from dgg_jax.data import own
from dgg_jax.data.dataset import some_rows

X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
NAMED = np.array(["left", "right"])[np.arange(12) % 2]
NUMBERS = 1 + np.arange(12) % 3


def frame(batch):
    table = pd.DataFrame(X, columns=["a", "b", "c"])
    return table.assign(plate=batch)[["a", "plate", "b", "c"]]


def written(folder, kind, batch):
    path = folder / f"x.{kind}"
    if kind == "csv":
        frame(batch).to_csv(path, index=False)
    elif kind == "parquet":
        parquet.write_table(Table.from_pandas(frame(batch)), path)
    elif kind == "npz":
        np.savez(path, x=X, plate=batch, y=np.arange(12) % 2)
    else:
        obs = pd.DataFrame({"plate": pd.Categorical(batch.astype(str))})
        obs.index = [f"cell {i}" for i in range(12)]
        anndata.AnnData(X, obs=obs).write_h5ad(path)
    return path


@pytest.mark.parametrize("batch", [NAMED, NUMBERS], ids=["words", "numbers"])
@pytest.mark.parametrize("kind", ["csv", "parquet", "npz", "h5ad"])
def test_a_column_of_batches_is_no_feature(tmp_path, kind, batch):
    path = written(tmp_path, kind, batch)
    found = data.load(path, batch="plate", scaling="standard")
    assert found.batch.tolist() == batch.astype(str).tolist()
    assert found.x.shape == X.shape
    assert f"{len(np.unique(batch))} batches by plate" in found.provenance
    assert found.scaling.batch == "plate"
    standardized = (X - X.mean(axis=0)) / X.std(axis=0)
    np.testing.assert_allclose(found.x, standardized, rtol=1e-4, atol=1e-5)
    x, _ = own.named_rows(path, found.scaling, batch="plate")
    np.testing.assert_allclose(x, found.x, rtol=1e-5)
    x, _ = own.named_rows(path, None, batch="plate")
    np.testing.assert_allclose(x, X, rtol=1e-5)
    picked = some_rows(found, np.array([0, 4]))
    assert picked.batch.tolist() == batch[[0, 4]].astype(str).tolist()


def test_the_name_of_a_column_may_have_brackets(tmp_path):
    path = tmp_path / "x.csv"
    frame(NAMED).rename(columns={"plate": "plate (site)"}).to_csv(path, index=False)
    found = data.load(path, batch="plate (site)")
    assert found.batch.tolist() == NAMED.tolist() and found.x.shape == X.shape
    assert "without" not in found.provenance


def test_other_batches_are_other_data(tmp_path):
    path = written(tmp_path, "npz", NAMED)
    prints = [data.load(path, batch=one).fingerprint for one in (None, "plate", "y")]
    assert len(set(prints)) == 3


def test_what_cannot_be_a_column_of_batches_is_told(tmp_path):
    path = written(tmp_path, "csv", NAMED)
    with pytest.raises(InvalidInput, match=r"no batch='site'; its columns are: a, pl"):
        data.load(path, batch="site")
    with pytest.raises(InvalidInput, match=r"batch='1' must be the name of a column"):
        data.load(path, batch="1")
    with pytest.raises(InvalidInput, match=r"batch='plate' is for a file or folder"):
        data.load("digits", batch="plate")
    with pytest.raises(InvalidInput, match=r"a column of a file, .* is a folder"):
        own.batches_of(tmp_path, "plate")
    lacking = frame(np.where(np.arange(12) == 5, "", NAMED))
    lacking.to_csv(tmp_path / "y.csv", index=False)
    with pytest.raises(InvalidInput, match=r"in 1 rows, the first row 5 .counted"):
        data.load(tmp_path / "y.csv", batch="plate")
    path = written(tmp_path, "h5ad", NAMED)
    with pytest.raises(InvalidInput, match=r"no batch='site' in obs; there are: plate"):
        data.load(path, batch="site")
