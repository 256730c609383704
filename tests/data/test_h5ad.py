"""Annotated matrices: what is read, and what a hostile or another file may not do."""

import io
import tempfile
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from scipy import sparse

from dgg_jax import data
from dgg_jax.checks import InvalidInput
from dgg_jax.data import h5ad, own

anndata = pytest.importorskip("anndata", reason="h5ad needs anndata")
h5py = pytest.importorskip("h5py", reason="h5ad needs h5py")
pytestmark = pytest.mark.filterwarnings("ignore")  # of the package that writes files

X = np.random.default_rng(0).poisson(1.0, (12, 5)).astype(np.float32)
few = hypothesis.settings(max_examples=25, deadline=None)


def written(x=X, change=None, **parts):
    """The bytes of a file, after a change of what it holds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.h5ad"
        annotated = anndata.AnnData(X.copy(), **parts)
        if x is None:
            annotated.raw = annotated.copy() if parts.get("layers") is None else None
        annotated.X = x
        annotated.write_h5ad(path)
        if change is not None:
            with h5py.File(path, "r+") as file:
                change(file)
        return path.read_bytes()


def loaded(content, **options):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.h5ad"
        path.write_bytes(content)
        return data.load(path, **options)


def test_cells_name_the_rows():
    found = loaded(written())
    assert found.names.tolist() == [str(i) for i in range(12)]
    assert found.scaling.columns == tuple(str(i) for i in range(5))
    assert found.scaling.step == "counts"  # not standardised, and no pixels
    np.testing.assert_array_equal(found.x, X)
    assert found.likelihood == "negative_binomial" and found.variance is None
    of_logarithms = loaded(written(np.log1p(X)))
    assert of_logarithms.scaling.step == "standardize"
    assert loaded(written(), scaling="standard").likelihood == "gaussian"


def test_layers(tmp_path):
    content = written(layers={"counts": 2 * X, "spliced": 3 * X})
    for layer, factor in ((None, 1), ("counts", 2), ("spliced", 3)):
        found = loaded(content, layer=layer, scaling="none")
        np.testing.assert_array_equal(found.x, factor * X)
    path = tmp_path / "x.h5ad"
    path.write_bytes(content)
    trained = data.load(path, layer="counts")
    np.testing.assert_array_equal(own.new_rows(path, trained.scaling), trained.x)
    with pytest.raises(InvalidInput, match=r"has no layer='tpm'.*X, counts, spliced"):
        data.load(path, layer="tpm")
    with pytest.raises(InvalidInput, match=r"layer='counts' is for .h5ad files"):
        np.save(tmp_path / "x.npy", X)
        data.load(tmp_path / "x.npy", layer="counts")


def test_what_has_no_matrix_is_not_called_truncated():
    content = written(None, layers={"counts": X})
    message = r"has no X, but it has: counts; choose one, as by layer='counts' \(--la"
    with pytest.raises(InvalidInput, match=message):
        loaded(content)
    assert loaded(content, layer="counts").x.shape == X.shape
    content = written(None)
    with pytest.raises(InvalidInput, match=r"has no X, but it has: raw; choose one"):
        loaded(content)
    assert loaded(content, layer="raw").x.shape == X.shape

    def clear(file):
        for name in list(file):
            del file[name]
        file["matrix/data"] = X

    with pytest.raises(InvalidInput, match="has no X, but it has: matrix; write it by"):
        loaded(written(change=clear))
    with pytest.raises(InvalidInput, match="must hold real numbers, got complex"):
        loaded(written(change=lambda file: replace(file, "X", X * 1j)))

    def frame(file):
        del file["X"]
        file.create_group("X").attrs["encoding-type"] = "dataframe"

    with pytest.raises(
        InvalidInput, match="no matrix as /X, but dataframe with nothing"
    ):
        loaded(written(change=frame))


def replace(file, name, value):
    del file[name]
    file[name] = value


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix])
@few
@hypothesis.given(
    part=st.sampled_from(("indices", "indptr", "data", "shape")),
    place=st.integers(0, 100),
    value=st.one_of(st.integers(-(2**31), 2**31 - 1), st.integers(-7, 14)),
)
def test_sparse_matrices_are_checked_before_use(form, part, place, value):
    """Whatever stands in one place of one array: refused, or what it says."""
    expected = X.copy()

    def change(file):
        group = file["X"]
        if part == "shape":
            shape = group.attrs["shape"].copy()
            shape[place % 2] = value
            group.attrs["shape"] = shape
            return
        array = group[part][()]
        array[place % len(array)] = value
        group[part][...] = array
        kind = sparse.csr_array if form is sparse.csr_matrix else sparse.csc_array
        parts = [group[name][()].copy() for name in ("data", "indices", "indptr")]
        pointers, others = parts[2], parts[1]
        width = X.shape[1] if kind is sparse.csr_array else X.shape[0]
        sound = (
            np.diff(pointers.astype(np.int64)) >= 0
        ).all() and 0 <= others.min() <= others.max()
        sound = sound and not pointers[0] and pointers[-1] <= len(others)
        if sound and others.max() < width:
            expected[:] = kind(tuple(parts), shape=X.shape).toarray()
        else:
            expected[:] = np.nan

    content = written(form(X), change)
    try:
        found = loaded(content, scaling="none")
    except InvalidInput as error:
        assert "\n" not in str(error)
        return
    np.testing.assert_array_equal(found.x, expected)


@pytest.mark.parametrize("name", ["X", "obs/_index", "layers/far", "uns/far"])
def test_links_are_not_followed(tmp_path, name):
    outside = tmp_path / "secret.h5"
    with h5py.File(outside, "w") as file:
        file["X"] = X

    def external(file):
        if name in file:
            del file[name]
        file[name] = h5py.ExternalLink(str(outside), "X")

    def soft(file):
        if name in file:
            del file[name]
        file[name] = h5py.SoftLink("/var/_index")

    for change in (external, soft):
        with pytest.raises(InvalidInput, match=f"refers to another place.*{name}"):
            loaded(written(change=change))


def test_data_in_other_files_are_not_read(tmp_path):
    raw = tmp_path / "raw"
    raw.write_bytes(X.tobytes())

    def external(file):
        del file["X"]
        file.create_dataset("X", X.shape, X.dtype, external=[(str(raw), 0, X.nbytes)])

    def virtual(file):
        del file["X"]
        layout = h5py.VirtualLayout(X.shape, X.dtype)
        layout[:] = h5py.VirtualSource(str(raw), "X", X.shape)
        file.create_virtual_dataset("X", layout)

    def cycle(file):
        file["layers/loop"] = file["/"]

    for change in (external, virtual):
        with pytest.raises(InvalidInput, match=r"refers to another place.* for /X"):
            loaded(written(change=change))
    with pytest.raises(InvalidInput, match=r"choose one|no matrix as"):
        loaded(written(change=cycle), layer="loop")


@pytest.mark.parametrize("name", ["X", "obs/_index", "layers/far"])
def test_what_is_declared_is_bounded(name):
    def declare(file):
        if name in file:
            del file[name]
        file.create_dataset(name, (2**20, 2**10), "f4", chunks=(1024, 1024))

    with pytest.raises(InvalidInput, match=r"declares 1,07\d,.* values, out of prop"):
        loaded(written(change=declare))

    def wide(file):
        file["X"].attrs["shape"] = (12, 2**40)

    with pytest.raises(InvalidInput, match="declares 13,194,139,533,312 values"):
        loaded(written(sparse.csr_matrix(X), change=wide))


def test_names_that_do_not_fit():
    for name, what in (("obs/_index", "13 names of cells"), ("var/_index", "13 names")):
        names = np.array(["a"] * 13, h5py.string_dtype())

        def change(file, name=name, names=names):
            about = dict(file[name].attrs)
            replace(file, name, names)
            file[name].attrs.update(about)

        with pytest.raises(InvalidInput, match=what):
            loaded(written(change=change))
    content = io.BytesIO(written()).getvalue()
    with pytest.raises(InvalidInput, match="no whole h5ad file"):
        loaded(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("walk", "message"),
    [
        ("import time; time.sleep(60)", "no end of its attributes within 0.5 s"),
        ("import os; os.abort()", "crashes on its attributes"),
    ],
)
def test_what_the_library_does_not_survive_is_refused(monkeypatch, walk, message):
    monkeypatch.setattr(h5ad, "_WALK", walk)
    monkeypatch.setattr(h5ad, "_PATIENCE", 0.5)
    with pytest.raises(InvalidInput, match=message):
        loaded(written())
