import io
import logging
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import io as matlab
from scipy import sparse

from dgg_jax import checks, data
from dgg_jax.checks import InvalidInput, MissingData, NotInstalled
from dgg_jax.data import matrices, own, preprocessing
from dgg_jax.data.dataset import without_counts
from dgg_jax.data.matlab import Mat
from dgg_jax.data.preprocessing import min_max, shift_and_scale, standardize

ROOT = Path(__file__).resolve().parents[2]
X = np.array([[0.5, -1.0, 2.0], [3.0, 4e-3, 1e6]], np.float32)
TABLE = "a,b,kind\n1,2.5,cat\n3,-4,dog\n5,6,cat\n7,8,ant\n"


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def saved(save, *arguments, **named):
    buffer = io.BytesIO()
    save(buffer, *arguments, **named)
    return buffer.getvalue()


def npy(array):
    return saved(np.save, array)


def npz(**arrays):
    return saved(np.savez, **arrays)


def mat(**arrays):
    return saved(matlab.savemat, arrays, do_compression=True)


def parquet(**columns):
    pyarrow = pytest.importorskip("pyarrow", reason="parquet needs pyarrow")
    from pyarrow import parquet

    return saved(
        lambda file, table: parquet.write_table(table, file), pyarrow.table(columns)
    )


def picture(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def warned(caplog, *arguments, **options):
    with caplog.at_level(logging.WARNING, logger="dgg_jax"):
        found = data.load(*arguments, **options)
    return found, caplog.text


# --- What is read ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.npy", npy(X)),
        ("x.NPY", npy(X.astype(np.float64))),
        ("x.npz", npz(x=X, y=np.zeros(2))),
        ("x.npz", npz(X=X, y=np.array(["b", "a"]))),
        ("x.npz", npz(anything=X)),
        ("x.npz", npz(anything=X, labels=np.zeros((2, 1), int))),
        ("x.csv", "0.5,-1,2\n3,4e-3,1e6\n"),
        ("x.csv", "a,b,c\r\n0.5,-1,2\r\n\r\n3,4e-3,1e6"),
        ("x.csv", '\ufeff"first","b, too","c"\n0.5," -1",2\n3,4e-3,1e6\n'),
        ("x.csv", "a;b;c\n0.5;-1;2\n3;4e-3;1e6\n"),
        ("x.csv", "0,1,2\n0.5,-1,2\n3,4e-3,1e6\n"),  # as pandas writes an array,
        ("x.csv", ",0,1,2\n0,0.5,-1,2\n1,3,4e-3,1e6\n"),  # and with its row numbers
        ("x.tsv", "a\tb\tc\n0.5\t-1\t2\n3\t4e-3\t1e6\n"),
        ("x.mat", mat(X=X, other=np.ones(3))),
        ("x.mat", mat(fea=sparse.csc_array(X), gnd=[[1], [2]])),
    ],
)
def test_matrices(tmp_path, name, content):
    x = matrices.read(write(tmp_path / name, content)).features
    np.testing.assert_array_equal(x.astype(np.float32), X)


def test_a_table_with_columns_of_text(tmp_path, caplog):
    found, text = warned(caplog, write(tmp_path / "zoo.csv", TABLE))
    np.testing.assert_array_equal(found.scaling.shift, [4, 3.125])
    assert found.x.shape == (4, 2) and found.y is None and found.class_names is None
    assert found.name == "zoo.csv" and found.feature_shape == (2,)
    assert "zoo.csv: left out, since no features: kind." in text
    expected = "zoo.csv, 4 rows of 2 columns, without kind; standardize"
    assert found.provenance == expected


@pytest.mark.parametrize("label", ["kind", "2", 2, "-1"])
def test_labels_of_a_table(tmp_path, label, caplog):
    found, text = warned(caplog, write(tmp_path / "zoo.csv", TABLE), label=label)
    assert found.y.dtype == np.int32 and found.y.tolist() == [1, 2, 1, 0]
    assert found.class_names == ("ant", "cat", "dog")
    assert text == ""
    assert "3 classes" in found.provenance


def test_labels_without_names(tmp_path):
    path = write(tmp_path / "x.csv", "1.5,10\n2.5,9\n4,10\n5,9\n")
    found = data.load(path, label=1)
    assert found.class_names == ("9", "10") and found.y.tolist() == [1, 0, 1, 0]
    assert found.scaling.columns is None and found.x.shape == (4, 1)


@pytest.mark.parametrize(
    ("name", "content", "label"),
    [
        ("x.npz", npz(x=np.eye(4), y=["b", "b", "a", "a"]), None),
        ("x.npz", npz(x=np.eye(4), kind=[[b"b"], [b"b"], [b"a"], [b"a"]]), "kind"),
        ("x.mat", mat(X=np.eye(4), y=["b", "b", "a", "a"]), None),
        ("x.mat", mat(X=np.eye(4), c=np.array(["b", "b", "a", "a"], object)), "c"),
    ],
)
def test_labels_of_arrays(tmp_path, name, content, label):
    found = data.load(write(tmp_path / name, content), label=label)
    assert found.class_names == ("a", "b") and found.y.tolist() == [1, 1, 0, 0]
    np.testing.assert_array_equal(found.x, np.eye(4))


@pytest.mark.parametrize("compressed", [False, True])
def test_mat_files_are_read_as_by_scipy(tmp_path, compressed):
    rng = np.random.default_rng(0)
    kinds = ("f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
    variables = {
        **{f"x{kind}": (100 * rng.random((3, 4, 2))).astype(kind) for kind in kinds},
        "one": np.float64(2.5),
        "few": np.array([[1.0, 2.0]]),
        "flags": np.array([[True, False]]),
        "none": np.zeros((0, 3)),
        "sparse": sparse.random_array((7, 5), density=0.3, rng=0, format="csc"),
        "rows": np.array(["a", "bcd"]),
    }
    content = saved(matlab.savemat, variables, do_compression=compressed)
    expected = matlab.loadmat(io.BytesIO(content), spmatrix=False)
    file = Mat(content)
    assert file.names == tuple(variables)
    for name in variables:
        found, other = file[name], expected[name]
        if sparse.issparse(other):
            found, other = found.toarray(), other.toarray()
        if name == "rows":
            other = np.char.rstrip(other)
        np.testing.assert_array_equal(found, other)
        assert found.dtype.kind == other.dtype.kind and found.shape == other.shape


def test_damaged_mat_files_crash_nothing():
    rng = np.random.default_rng(0)
    variables = {"x": X, "s": sparse.csc_array(X), "t": ["a", "b"]}
    variables["c"] = np.array(["a", "bb"], object)
    content = saved(matlab.savemat, variables)
    refused = 0
    for _ in range(1000):
        damaged = bytearray(content)
        for place in rng.integers(120, len(content), size=3):
            damaged[place] = rng.integers(256)
        try:
            file = Mat(
                bytes(damaged[: rng.integers(len(content) // 2, 2 * len(content))])
            )
            assert [file[name] is not None for name in file.names]
        except (ValueError, TypeError, IndexError, UnicodeDecodeError):
            refused += 1
    assert 300 < refused <= 1000


def test_labels_that_are_numbers(tmp_path):
    path = write(tmp_path / "x.mat", mat(fea=np.eye(4), gnd=[[10.0], [9], [9], [-1]]))
    found = data.load(path)
    assert found.class_names == ("-1", "9", "10") and found.y.tolist() == [2, 1, 1, 0]


def test_images_become_rows(tmp_path):
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) * 10
    found = data.load(write(tmp_path / "x.npy", npy(images)))
    expected = images.reshape(2, 12) / np.float32(255)
    np.testing.assert_array_equal(found.x, expected)
    assert found.feature_shape == (3, 4) and found.likelihood == "bernoulli"
    assert "2 rows of arrays of 3 x 4; divide_by(255), flatten" in found.provenance


def test_parquet(tmp_path, caplog):
    content = parquet(
        a=[1, 2, 3], name=["p", "q", "r"], b=[0.5, -1, 9], yes=[True, False, True]
    )
    path = write(tmp_path / "x.parquet", content)
    found = matrices.read(path)
    np.testing.assert_array_equal(found.features, [[1, 0.5, 1], [2, -1, 0], [3, 9, 1]])
    assert found.columns == ("a", "b", "yes") and found.left_out == ("name",)
    assert matrices.read(path, "name").labels.tolist() == ["p", "q", "r"]
    path = write(tmp_path / "x.parquet", parquet(a=[1.0, None, 3.0]))
    with pytest.raises(InvalidInput, match="row 1 of x has no value"):
        data.load(path)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.filterwarnings("ignore")  # of the package that writes the file
def test_h5ad(tmp_path, form):
    anndata = pytest.importorskip("anndata", reason="h5ad needs anndata")
    import pandas

    cells = ["c1", "c2", "c3", "c4"]
    obs = pandas.DataFrame({"type": ["T", "B", "T", "B"], "n": [1, 2, 3, 4]}, cells)
    x = np.array([[0, 300.5], [7, 0], [0, 0], [1, 2]], np.float32)
    genes = pandas.DataFrame(index=["g1", "g2"])
    path = tmp_path / "cells.h5ad"
    anndata.AnnData(form(x), obs.astype({"type": "category"}), genes).write_h5ad(path)
    found = data.load(path, label="type", scaling="none")
    np.testing.assert_array_equal(found.x, x)
    assert found.class_names == ("B", "T") and found.y.tolist() == [1, 0, 1, 0]
    assert found.scaling.columns == ("g1", "g2")
    assert data.load(path).y is None
    with pytest.raises(InvalidInput, match=r"no label='kind' in obs; there are: .*n"):
        data.load(path, label="kind")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InvalidInput, match=r"no whole h5ad file.*truncated"):
        data.load(path)


def test_h5ad_of_old_versions(tmp_path):
    """obs and var were one table of rows each, categories lay in uns."""
    h5py = pytest.importorskip("h5py", reason="h5ad needs anndata")
    obs = [(b"c1", 1, 7), (b"c2", 0, 8), (b"c3", 1, 7)]
    obs = np.array(obs, [("index", "S2"), ("type", "i1"), ("n", "i8")])
    path = tmp_path / "cells.h5ad"
    with h5py.File(path, "w") as file:
        file["X"] = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]], np.float32)
        file["obs"] = obs
        file["var"] = np.array([(b"g1",), (b"g2",)], [("index", "S2")])
        file["uns/type_categories"] = [b"B", b"T"]
    found = data.load(path, label="type", scaling="none")
    assert found.scaling.columns == ("g1", "g2")
    assert found.class_names == ("B", "T") and found.y.tolist() == [1, 0, 1]
    assert data.load(path, label="n").y is not None
    with pytest.raises(InvalidInput, match="no label='index' in obs; there are: type"):
        data.load(path, label="index")


def test_columns_that_span_much_of_minus_one_to_one_stay(tmp_path):
    path = tmp_path / "x.npz"
    random = np.random.default_rng(0)
    for spread, step in ((0.9, "none"), (0.2, "standardize")):
        x = random.uniform(-spread, spread, (50, 3))
        np.savez(path, x=x * [1, 1, 0.1])
        assert data.load(path).scaling.step == step


@pytest.mark.parametrize(
    ("module", "name"), [("pyarrow", "x.parquet"), ("anndata", "x.h5ad")]
)
def test_without_the_extra_one_line_says_what_to_install(
    tmp_path, monkeypatch, module, name
):
    for loaded in [m for m in sys.modules if m.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)
    path = write(tmp_path / name, b"anything")
    with pytest.raises(NotInstalled) as caught:
        data.load(path)
    assert str(caught.value) == (
        f"{path} needs more packages; {module} is not installed: pip install "
        f"'dgg-jax[{path.suffix[1:]}]', or save it as .npz or .csv."
    )


def test_imports_are_lazy(tmp_path):
    path = write(tmp_path / "zoo.csv", TABLE)
    code = (
        "import sys\n"
        "import dgg_jax.data\n"
        f"dgg_jax.data.load({str(path)!r}, label='kind')\n"
        "heavy = {'pandas', 'pyarrow', 'anndata', 'h5py', 'scipy.io', 'PIL', 'jax',"
        " 'sklearn', 'tensorflow_datasets'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout == "[]\n"


# --- Folders of images -------------------------------------------------------------

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 3, 5), dtype=np.uint8)


def test_a_folder_of_images(tmp_path, caplog):
    for index, name in enumerate(("b.png", "a.PNG", "c.bmp")):
        picture(tmp_path / name, PIXELS[index])
    write(tmp_path / "notes.txt", "hello")
    write(tmp_path / ".hidden.png", "no image")
    found, text = warned(caplog, tmp_path)
    np.testing.assert_array_equal(
        found.x, PIXELS[[1, 0, 2]].reshape(3, 15) / np.float32(255)
    )
    assert found.y is None and found.feature_shape == (3, 5)
    assert found.likelihood == "bernoulli" and "divide_by(255)" in found.provenance
    assert "left out, since no features: notes.txt" in text


def test_folders_are_classes(tmp_path):
    picture(tmp_path / "dog" / "1.png", PIXELS[0])
    picture(tmp_path / "cat" / "1.png", PIXELS[1])
    picture(tmp_path / "cat" / "2.png", np.stack([PIXELS[2]] * 3, axis=-1))
    (tmp_path / "empty").mkdir()
    found = data.load(tmp_path)
    assert found.class_names == ("cat", "dog") and found.y.tolist() == [0, 0, 1]
    # One that is coloured makes all coloured.
    assert found.feature_shape == (3, 5, 3)
    expected = np.repeat(PIXELS[[1, 2, 0]].reshape(3, 15), 3, axis=1)
    np.testing.assert_array_equal(found.x, expected / np.float32(255))


def test_images_of_several_sizes(tmp_path):
    picture(tmp_path / "a.png", PIXELS[0])
    picture(tmp_path / "b.png", np.full((8, 8), 51, np.uint8))
    with pytest.raises(InvalidInput, match=r"b.png has 8 x 8.*a.png 3 x 5.*image_size"):
        data.load(tmp_path)
    found = data.load(tmp_path, image_size=(4, 6))
    assert found.feature_shape == (4, 6)
    np.testing.assert_allclose(found.x[1], 0.2, rtol=1e-6)


def test_bad_images(tmp_path):
    with pytest.raises(InvalidInput, match=r"has no images \(.png, .jpg"):
        data.load(tmp_path)
    with pytest.raises(InvalidInput, match="label='kind': the classes of images are"):
        data.load(tmp_path, label="kind")
    path = picture(tmp_path / "a.png", np.tile(PIXELS[0], (20, 20)))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InvalidInput, match=r"a.png is no whole image"):
        data.load(tmp_path)
    picture(path, np.zeros((3, 5), np.uint16))
    with pytest.raises(InvalidInput, match=r"a.png has pixels of kind I;16"):
        data.load(tmp_path)
    picture(path, np.zeros((1100, 1100), np.uint8))
    with pytest.raises(InvalidInput, match=r"1,100 x 1,100 pixels, too many features"):
        data.load(tmp_path)
    picture(path, PIXELS[0])
    picture(tmp_path / "cat" / "b.png", PIXELS[0])
    with pytest.raises(InvalidInput, match=r"a.png, beside folders with images.*cat"):
        data.load(tmp_path)


def test_an_image_that_declares_too_many_pixels(tmp_path):
    content = saved(Image.fromarray(PIXELS[0]).save, format="png")
    header = struct.pack(">2I5B", 20_000, 20_000, 8, 0, 0, 0, 0)
    check = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    write(tmp_path / "a.png", content[:16] + header + check + content[33:])
    with pytest.raises(InvalidInput, match=r"a.png is no whole image.*bomb"):
        data.load(tmp_path, image_size=(8, 8))


def test_postscript_is_not_run(tmp_path):
    write(tmp_path / "a.png", "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    with pytest.raises(InvalidInput, match=r"a.png is no whole image"):
        data.load(tmp_path)


# --- Scaling -----------------------------------------------------------------------


def test_standardize():
    x = np.random.default_rng(0).normal(1e6, 3, (500, 4)).astype(np.float32)
    x[:, 2] = 0.1
    scaled = shift_and_scale(x, *standardize(x))
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=0), [1, 1, 0, 1], rtol=1e-5)
    assert (scaled[:, 2] == 0).all()
    tiny = np.array([[0.0], [1e-300]])
    assert np.isfinite(shift_and_scale(tiny, *standardize(tiny))).all()


def test_min_max():
    x = np.array([[-3.0, 7, 1], [5, 7, 2], [1, 7, 4]])
    scaled = shift_and_scale(x, *min_max(x))
    np.testing.assert_allclose(scaled, [[0, 0, 0], [1, 0, 1 / 3], [0.5, 0, 1]])
    assert scaled.max() == 1


def test_the_two_ways_to_divide_agree():
    x = np.arange(256, dtype=np.uint8)[:, None]
    expected = preprocessing.divide_by(x, 255)
    scaled = shift_and_scale(x, np.zeros(1), np.full(1, 255.0))
    np.testing.assert_array_equal(scaled, expected)


@pytest.mark.parametrize(
    ("x", "scaling", "step", "likelihood"),
    [
        ([[0, 0.25], [1, 0.5]], "auto", "none", "bernoulli"),
        ([[0, 255], [17, 4]], "auto", "divide_by(255)", "bernoulli"),
        ([[0, 5], [3, 4]], "auto", "standardize", "gaussian"),  # counts, no pixels
        ([[0, 256], [17, 4]], "auto", "standardize", "gaussian"),
        ([[-1, 255], [17, 4]], "auto", "standardize", "gaussian"),
        ([[0, 254.5], [17, 4]], "auto", "standardize", "gaussian"),
        ([[0, 255], [17, 4]], "standard", "standardize", "gaussian"),
        ([[0, 255], [17, 4]], "minmax", "min_max", "bernoulli"),
        ([[0, 255], [17, 4]], "none", "none", "gaussian"),
    ],
)
def test_scaling(tmp_path, x, scaling, step, likelihood):
    x = np.array(x, np.float32)
    found = data.load(write(tmp_path / "x.npy", npy(x)), scaling=scaling)
    assert (found.scaling.step, found.likelihood) == (step, likelihood)
    shift, scale = found.scaling.shift, found.scaling.scale
    np.testing.assert_allclose(found.x, (x - shift) / scale, rtol=1e-6)
    if step == "standardize":
        np.testing.assert_allclose([found.x.mean(), found.x.std()], [0, 1], atol=1e-6)
    if likelihood == "gaussian":
        assert found.variance == pytest.approx(0.1 * found.x.var(axis=0).mean())
    else:
        assert found.variance is None
        assert 0 <= found.x.min() <= found.x.max() <= 1


def vectors(num_rows=40, dim=96, seed=0):
    """Embeddings as a pretrained model gives them: rows of length 1."""
    x = np.random.default_rng(seed).standard_normal((num_rows, dim))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_rows_of_one_length_are_embeddings(tmp_path, caplog):
    x = vectors()
    x[:2], x[2:4] = np.eye(2, 96), -np.eye(2, 96)  # so that two columns span [-1, 1]
    with caplog.at_level("INFO", "dgg_jax"):
        found = data.load(write(tmp_path / "x.npy", npy(x)))
    assert found.scaling.step == "unit_rows" and found.likelihood == "gaussian"
    assert "the directions of the rows are compared" in caplog.text
    np.testing.assert_allclose(found.x, x * np.sqrt(96), rtol=1e-5)
    # Distances are those of the cosine.
    cosine = x @ x.T
    squared = ((found.x[:, None] - found.x) ** 2).sum(axis=2)
    np.testing.assert_allclose(squared, 2 * 96 * (1 - cosine), atol=1e-3)


@pytest.mark.parametrize(
    "x",
    [
        vectors(dim=32),  # as narrow as a table
        vectors() * np.linspace(1, 1.1, 40, dtype=np.float32)[:, None],
        np.abs(vectors()) * 3,  # of histograms, say
    ],
)
def test_what_has_another_look_is_no_embedding(tmp_path, x):
    path = write(tmp_path / "x.npy", npy(x))
    assert data.load(path).scaling.step != "unit_rows"
    found = data.load(path, scaling="unit")
    assert found.scaling.step == "unit_rows"
    lengths = np.linalg.norm(found.x, axis=1)
    np.testing.assert_allclose(lengths, np.sqrt(x.shape[1]), rtol=1e-5)


def test_new_embeddings_are_brought_to_the_same_length(tmp_path):
    scaling = data.load(write(tmp_path / "x.npy", npy(vectors()))).scaling
    new = 7.5 * vectors(3, seed=1)
    found = own.new_rows(write(tmp_path / "new.npy", npy(new)), scaling)
    np.testing.assert_allclose(found, new * np.sqrt(96) / 7.5, rtol=1e-5)


def test_a_row_without_a_direction_is_refused(tmp_path):
    x = vectors()
    x[5] = 0
    with pytest.raises(InvalidInput, match="row 5 is 0 in every column"):
        data.load(write(tmp_path / "x.npy", npy(x)), scaling="unit")


def counts(num_rows=30, num_columns=2100):
    """Counts, of which the first hundred columns do not vary beyond chance."""
    rng = np.random.default_rng(0)
    x = rng.negative_binomial(0.5, 0.1, (num_rows, num_columns))
    x[:, :100] = 5
    return x


def test_counts_keep_their_variable_columns(tmp_path, caplog):
    x = counts()
    path = write(tmp_path / "x.npy", npy(x))
    assert data.load(path).scaling.step == "standardize"  # whole numbers may be ages
    with caplog.at_level("INFO", "dgg_jax"):
        found = data.load(path, scaling="counts")
    assert "taken for counts, as of 2,000 genes or words" in caplog.text
    assert found.likelihood == "negative_binomial"
    np.testing.assert_array_equal(found.x, x[:, 100:])
    assert found.scaling.kept == tuple(range(100, 2100))
    new = write(tmp_path / "new.npy", npy(2 * x[:3]))
    np.testing.assert_array_equal(own.new_rows(new, found.scaling), 2 * x[:3, 100:])
    kept = write(tmp_path / "kept.npy", npy(x[:3, 100:]))
    np.testing.assert_array_equal(own.new_rows(kept, found.scaling), x[:3, 100:])
    of_few = data.load(write(tmp_path / "few.npy", npy(x[:, 90:120])), scaling="counts")
    assert of_few.scaling.kept is None and of_few.x.shape == (30, 30)


def test_counts_of_a_table_are_found_by_name(tmp_path):
    x = counts()
    names = [f"g{i}" for i in range(x.shape[1])]
    lines = [",".join(names)] + [",".join(map(str, row)) for row in x]
    found = data.load(write(tmp_path / "x.csv", "\n".join(lines)), scaling="counts")
    assert found.scaling.columns == tuple(names[100:])
    assert found.scaling.kept is None
    turned = [",".join(line.split(",")[::-1]) for line in lines]
    new = write(tmp_path / "new.csv", "\n".join(turned))
    np.testing.assert_array_equal(own.new_rows(new, found.scaling), found.x)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[1.5, 2], [1, 3]], "x.npy: counts .*1.5 at row 0, column 0"),
        ([[-1, 2], [1, 3]], "counts .*-1 at row 0"),
        ([[1, 2], [0, 0]], "row 1 of x has no counts"),
    ],
)
def test_what_is_asked_for_as_counts_and_is_none(tmp_path, x, message):
    with pytest.raises(InvalidInput, match=message):
        data.load(write(tmp_path / "x.npy", npy(np.array(x))), scaling="counts")


def test_methods_without_a_likelihood_of_counts_take_logarithms(tmp_path):
    found = data.load(write(tmp_path / "x.npy", npy(counts())), scaling="counts")
    taken = without_counts(found)
    np.testing.assert_allclose(np.expm1(taken.x).mean(axis=1), 1.0, rtol=1e-5)
    assert taken.likelihood == "gaussian"
    new = own.new_rows(tmp_path / "x.npy", taken.scaling)
    np.testing.assert_array_equal(new, taken.x)


def test_new_rows_are_scaled_as_those_of_training(tmp_path):
    scaling = data.load(write(tmp_path / "zoo.csv", TABLE)).scaling
    turned = "b,extra,a\n8,1,0\n2.5,2,1\n"
    x = own.new_rows(write(tmp_path / "new.csv", turned), scaling)
    first = own.new_rows(write(tmp_path / "x.npy", npy([[0, 8], [1, 2.5]])), scaling)
    np.testing.assert_array_equal(x, first)
    np.testing.assert_allclose(x[1], data.load(tmp_path / "zoo.csv").x[0])
    for content, message in [
        ("a,extra\n1,2\n", "lacks columns of numbers.*: b"),
        ("1,2,3\n", "has 3 columns of numbers, the model was trained on 2"),
        ("a,b\n1,inf\n3,4\n", "1 infinite"),
    ]:
        with pytest.raises(InvalidInput, match=message):
            own.new_rows(write(tmp_path / "new.csv", content), scaling)


def test_what_a_cast_would_lose_is_refused(tmp_path):
    x = np.random.default_rng(0).normal([0, 1.7e9], size=(50, 2))
    path = write(tmp_path / "x.csv", "a,b\n" + "\n".join(f"{a},{b}" for a, b in x))
    np.testing.assert_allclose(data.load(path).x.std(axis=0), 1, rtol=1e-4)
    message = r"column 'b' of the data lies 1.7e\+09 from 0.*--scaling=standard"
    with pytest.raises(InvalidInput, match=message):
        data.load(path, scaling="none")


def test_new_images_are_brought_to_the_size_of_training(tmp_path):
    for index in range(2):
        colored = np.stack([PIXELS[index]] * 3, axis=-1)
        picture(tmp_path / "old" / f"{index}.png", colored)
    scaling = data.load(tmp_path / "old").scaling
    picture(tmp_path / "new" / "1.png", np.full((9, 9), 51, np.uint8))
    x = own.new_rows(tmp_path / "new", scaling)
    assert x.shape == (1, 45)
    np.testing.assert_allclose(x, 0.2, rtol=1e-6)


def test_the_fingerprint_is_of_what_the_file_holds(tmp_path):
    first = data.load(write(tmp_path / "zoo.csv", TABLE), label="kind")
    again = data.load(write(tmp_path / "b.csv", TABLE + "\n"), label="kind")
    assert first.fingerprint == again.fingerprint and len(first.fingerprint) == 64
    others = {first.fingerprint, data.load(tmp_path / "zoo.csv").fingerprint}
    for old, new in (("-4", "-5"), ("ant", "ape")):
        path = write(tmp_path / "b.csv", TABLE.replace(old, new))
        others.add(data.load(path, label="kind").fingerprint)
    assert len(others) == 4


def test_the_fingerprint_tells_images_from_others_of_the_same_pixels(tmp_path):
    pixels = np.random.default_rng(0).random((5, 4, 9), np.float32)
    found = {
        data.load(write(tmp_path / "x.npy", npy(pixels.reshape(5, *shape)))).fingerprint
        for shape in ((4, 9), (9, 4), (36,))
    }
    assert len(found) == 3


# --- What cannot be used -----------------------------------------------------------


def bomb():
    """A file of MATLAB with a variable of 1 GB of zeros in 1 MB."""
    squeeze = zlib.compressobj(9)
    block = bytes(2**20)
    parts = [squeeze.compress(block) for _ in range(1024)] + [squeeze.flush()]
    content = b"".join(parts)
    return mat(X=X)[:128] + struct.pack("<2I", 15, len(content)) + content


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.xlsx", b"PK", "must end in one of .npy, .npz, .csv, .tsv, .mat.*got '.xl"),
        ("x.pkl", b"\x80", "never unpickled"),
        ("x.npy", b"", "x.npy is empty"),
        ("x.npy", b"\x93NUMPY garbage", "no numpy file"),
        ("x.npz", npz(a=X, b=X), 'an array "x", or a single one; it has: a, b'),
        ("x.npz", npz(), "it has: none"),
        ("x.npz", npz(x=X)[:-30], "no numpy file"),
        ("x.npz", npz(x=X, y=np.zeros(3)), "labels of shape \\(3,\\) for 2 rows"),
        ("x.npz", npz(x=np.ones((3, 4)), y=np.zeros(4)), "transpose the matrix"),
        ("x.npz", zipped(x=npy(np.zeros((9000, 9000)))), "out of proportion|too many"),
        ("x.npy", npy(np.array(["a"])), "must hold real numbers, got <U1"),
        ("x.npy", npy(X * 1j), "must hold real numbers, got complex64"),
        ("x.npy", npy(X[0]), r"a matrix \[N, D\].*got shape \(3,\)"),
        ("x.npy", npy(X[:0]), r"got shape \(0, 3\)"),
        ("x.npy", npy([[1, np.nan], [np.inf, 2]]), "1 infinite.*row 1, column 0 "),
        ("x.npy", npy([[1.0, 1e300], [2, 3]]), "1 infinite.*beyond 3e38.*column 1 "),
        ("x.csv", "", "x.csv is empty"),
        ("x.csv", "\n\n", "has no rows"),
        ("x.csv", "a,b\n", "has no column of numbers|got shape"),
        ("x.csv", "a,b\nc,d\ne,f\n", "no column of numbers.*it has: a, b"),
        ("x.csv", "1,2\n3\n", "1 fields in line 2, 2 in the first"),
        ("x.csv", "a,b\n1,2\n\n3,4\n5,cat\n", "'cat' in line 5, column 'b'"),
        ("x.csv", "1,2\ninf,3\n", "1 infinite.*at row 1, column 0"),
        ("x.csv", "a,b\n1,2\ninf,3\n", "1 infinite.*at row 1, column 'a'"),
        ("x.csv", "a,b\n1,2\n,NA\n", "row 1 of x has no value"),
        ("x.npy", npy([[1, np.nan], [2, np.nan]]), "column 1 of x has no value"),
        ("x.csv", 'a,b\n1,"0,5"\n2,"1,5"\n', "'0,5' in line 2, col.*decimal point"),
        ("x.csv", 'a,b\n1,999\n2,"1,234"\n', "'1,234' in line 3.*thousands"),
        ("x.csv", "a;b\n0,5;1\n0,7;2\n", "'0,5' in line 2, column 'a'.*decimal point"),
        ("x.csv", '1,2\n"3,4\n', "no table of text"),
        ("x.csv", b"\xff\xfe1,2", "no table of text.*UTF-8"),
        ("x.mat", b"MATLAB 7.3 MAT-file" + bytes(600), "HDF5.*'-v7'"),
        ("x.mat", mat(X=X)[:-20], "no whole MATLAB file"),
        ("x.mat", b"noise" * 100, "no whole MATLAB file"),
        ("x.mat", mat(a=X, b=X), "it has: a, b"),
        ("x.mat", mat(X={"a": X, "bc": 1}), "'X' is a structure with a, bc; .*'-str"),
        ("x.mat", mat(X=X * 1j), "'X' holds complex numbers; save real"),
        ("x.mat", mat(X=np.array([X, "a"], object)), "a cell holds more than one"),
        ("x.mat", mat(X=np.ones((3, 4)), y=np.ones(4)), "4.*for 3 rows.*transpose"),
    ],
)  # fmt: skip
def test_what_cannot_be_used(tmp_path, name, content, message):
    path = write(tmp_path / name, content)
    with pytest.raises(InvalidInput, match=message) as caught:
        data.load(path)
    assert "truncated" not in str(caught.value) or "whole" in message
    assert "\n" not in str(caught.value) and name in str(caught.value)


def test_a_truncated_parquet_file(tmp_path):
    path = write(tmp_path / "x.parquet", parquet(a=[1.0, 2.0])[:-9])
    with pytest.raises(InvalidInput, match="no whole parquet file"):
        data.load(path)


def test_what_expands_without_bound(tmp_path):
    with pytest.raises(InvalidInput, match="expand out of proportion"):
        data.load(write(tmp_path / "x.mat", bomb()))
    huge = sparse.csc_array((np.ones(1), ([0], [0])), (2**20, 2**12))
    with pytest.raises(InvalidInput, match="declares 4,294,967,296 values"):
        data.load(write(tmp_path / "x.mat", mat(X=huge)))


def test_a_missing_file(tmp_path):
    write(tmp_path / "flowers.csv", TABLE)
    with pytest.raises(
        MissingData, match=r"flower.csv does not exist; .*: flowers.csv"
    ):
        data.load(str(tmp_path / "flower.csv"))
    with pytest.raises(MissingData, match="nor does the folder"):
        data.load(str(tmp_path / "no" / "flower.csv"))


@pytest.mark.parametrize(
    ("name", "content", "label", "message"),
    [
        ("x.csv", TABLE, "sort", "no label='sort'; its columns are: a, b, kind"),
        ("x.csv", "1,2\n3,4\n", "sort", "no label='sort'; it has no names.*0 to 1"),
        ("x.csv", TABLE, "3", "no label='3'; its columns are"),
        ("x.csv", TABLE.replace("dog", ""), "kind", "no label in 1 rows.*row 1"),
        ("x.csv", "a,b\n1,2\n2,3\n3,4\n", "a", "3 different labels in 3 rows, such"),
        ("x.csv", "a\n1\n1\n1\n", "a", "no column of numbers"),
        ("x.npz", npz(x=X, y=[0, 1]), "z", "no label='z'; its arrays are: x, y"),
        ("x.npy", npy(X), "y", "one array without names"),
        ("x.mat", mat(X=X), "y", "no label='y'; its arrays are: X"),
    ],
)
def test_labels_that_cannot_be_used(tmp_path, name, content, label, message):
    path = write(tmp_path / name, content)
    with pytest.raises(InvalidInput, match=message):
        data.load(path, label=label)


def test_a_damaged_number_in_a_long_table(tmp_path):
    lines = ["a,b", *(f"{i},{i / 2}" for i in range(2500))]
    path = write(tmp_path / "x.csv", "\n".join(lines))
    x = matrices.read(path).features
    np.testing.assert_array_equal(x[:, 1], np.arange(2500) / 2)
    lines[2200] = "7,oops"
    write(path, "\n".join(lines))
    with pytest.raises(InvalidInput, match="'oops' in line 2201, column 'b'"):
        matrices.read(path)


def test_copies_are_counted(tmp_path, caplog):
    x = np.array([[1.0, 2], [3, 4], [1, 2], [1, 2]])
    found, text = warned(caplog, write(tmp_path / "x.npy", npy(x)))
    assert len(found.x) == 4
    assert "2 of 4 rows are copies of others" in text


def test_options_of_the_other_kind_are_refused(tmp_path):
    for option in ({"label": "y"}, {"scaling": "none"}, {"image_size": (8, 8)}):
        with pytest.raises(InvalidInput, match="is for a file or folder of your own"):
            data.load("digits", **option)
    path = write(tmp_path / "x.npy", npy(X))
    with pytest.raises(InvalidInput, match="is for folders of images"):
        data.load(path, image_size=(8, 8))
    with pytest.raises(InvalidInput, match="scaling='log' is unknown; choose one of"):
        data.load(path, scaling="log")
    with pytest.raises(InvalidInput, match="no official test set"):
        data.load(path, split="test")


def test_an_array_y_that_is_no_classes(tmp_path, caplog):
    x = np.random.default_rng(0).normal(size=(50, 2))
    found, text = warned(caplog, write(tmp_path / "x.npz", npz(x=x, y=x[:, 0])))
    assert found.y is None and found.x.shape == (50, 2)
    assert "Clustered without labels: " in text and "50 different labels" in text
    with pytest.raises(InvalidInput, match="50 different labels in 50 rows"):
        data.load(tmp_path / "x.npz", label="y")


class Mine:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_nothing_is_unpickled(tmp_path):
    objects = np.array([Mine(tmp_path / "executed")], dtype=object)
    for name, content in (
        ("x.npy", npy(objects)),
        ("x.npz", npz(x=objects)),
        ("x.npz", npz(x=X[:1], y=objects)),
    ):
        with pytest.raises(checks.InvalidInput, match="never unpickled"):
            data.load(write(tmp_path / name, content))
    assert not (tmp_path / "executed").exists()


@pytest.fixture
def large(monkeypatch):
    """Files of 1 KiB are large, and looked at in blocks of some rows."""
    from dgg_jax.storage import arrays

    monkeypatch.setattr(arrays, "LARGE", 2**10)
    whole = checks.blocks
    monkeypatch.setattr(checks, "blocks", lambda x: whole(x, 2**8))


def test_a_large_file_is_mapped(tmp_path, large):
    x = np.random.default_rng(0).random((200, 3), np.float32)
    small = data.load(write(tmp_path / "small.npy", npy(x[:10])))
    assert not isinstance(small.x, np.memmap)
    dataset = data.load(write(tmp_path / "large.npy", npy(x)))
    assert isinstance(dataset.x.base, np.memmap) or isinstance(dataset.x, np.memmap)
    assert not dataset.x.flags.writeable  # the file itself
    np.testing.assert_array_equal(dataset.x, x)
    assert dataset.likelihood == "bernoulli"


@pytest.mark.parametrize("kind", [np.float32, np.uint8, np.float64])
def test_a_large_file_is_scaled_as_a_small_one(tmp_path, large, monkeypatch, kind):
    x = np.random.default_rng(0).integers(0, 256, (200, 3)).astype(kind)
    x[0] = 255
    found = data.load(write(tmp_path / "x.npy", npy(x)), scaling="standard")
    auto = data.load(tmp_path / "x.npy")
    assert isinstance(found.x, np.memmap)
    monkeypatch.undo()
    expected = data.load(tmp_path / "x.npy", scaling="standard")
    np.testing.assert_allclose(found.x, expected.x, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.variance, expected.variance, rtol=1e-6)
    assert found.fingerprint == expected.fingerprint
    np.testing.assert_array_equal(auto.x, (x / 255.0).astype(np.float32))


def test_what_is_wrong_in_a_large_file(tmp_path, large):
    x = np.ones((200, 3), np.float32)
    x[150:153, 1] = np.inf
    path = write(tmp_path / "x.npy", npy(x))
    with pytest.raises(InvalidInput, match=r"has 3 infinite.* at row 150, column 1 "):
        data.load(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InvalidInput, match="its header declares"):
        data.load(path)


# --- What a user's file may hide -----------------------------------------------------


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "images.npy"])
def test_booleans_are_noughts_and_ones(tmp_path, name):
    x = np.random.default_rng(0).random((40, 8, 8)[: 3 if "im" in name else 2]) > 0.5
    np.savez(tmp_path / name, x=x) if name == "x.npz" else np.save(tmp_path / name, x)
    found = data.load(tmp_path / name)
    np.testing.assert_array_equal(found.x, x.reshape(40, -1))


MACHINES = "machine,size,line,weight\n4,1,7,2\n4,2,7,9\n4,5,7,4\n"


@pytest.mark.parametrize("scaling", ["auto", "standard", "minmax"])
def test_columns_that_are_the_same_in_every_row_are_left_out(tmp_path, scaling, caplog):
    path = tmp_path / "mach.csv"
    path.write_text(MACHINES)
    found = data.load(path, scaling=scaling)
    assert found.scaling.columns == ("size", "weight") and found.feature_shape == (2,)
    told = "left out, since no features: machine, line (constant)."
    assert (
        told in caplog.text and "without machine, line (constant)" in found.provenance
    )
    # What they are in new rows is no matter.
    (tmp_path / "new.csv").write_text(MACHINES.replace("4,1,7", "19,1,3"))
    np.testing.assert_array_equal(
        own.new_rows(tmp_path / "new.csv", found.scaling), found.x
    )


def test_constant_columns_stay_where_rows_or_names_need_them(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("c,a,b\n7,1,2\n7,,\n7,5,4\n")  # all that the second row has
    assert data.load(path).scaling.columns == ("c", "a", "b")
    path.write_text("a,a,b\n1,3,2\n1,4,2.5\n1,9,3\n")
    found = data.load(path)
    assert found.scaling.columns == ("a", "a", "b")
    np.testing.assert_array_equal(own.new_rows(path, found.scaling), found.x)


def test_an_array_whose_columns_have_no_names_is_warned_of(tmp_path, caplog):
    x = np.random.default_rng(0).normal(size=(20, 5))
    x[:, [1, 4]] = 7.0
    np.save(tmp_path / "x.npy", x)
    assert data.load(tmp_path / "x.npy").x.shape == (20, 5)
    assert "the same in every row, and tell nothing: 1, 4 (counted" in caplog.text


def test_pixels_that_are_the_same_in_every_image_stay(tmp_path):
    x = np.random.default_rng(0).integers(0, 17, (30, 16))
    x[:, 0] = 0
    names = ",".join(f"pixel_{i}_{j}" for i in range(4) for j in range(4))
    np.savetxt(tmp_path / "x.csv", x, "%d", ",", header=names, comments="")
    assert data.load(tmp_path / "x.csv").x.shape == (30, 16)
    names = ",".join(f"v{i}" for i in range(16))
    np.savetxt(tmp_path / "y.csv", x, "%d", ",", header=names, comments="")
    assert data.load(tmp_path / "y.csv", image_shape=(4, 4)).x.shape == (30, 16)
    assert data.load(tmp_path / "y.csv").x.shape == (30, 15)


@pytest.mark.parametrize("rows", ["1,2\n", "1,2\n1,2\n1,2\n"])
def test_rows_that_are_all_alike_are_refused(tmp_path, rows):
    (tmp_path / "x.csv").write_text(f"a,b\n{rows}")
    with pytest.raises(
        checks.InvalidInput, match=r"x.csv holds no two rows that differ"
    ):
        data.load(tmp_path / "x.csv")


def test_a_row_without_any_value_has_no_cluster(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3,5\n2,9\n")
    scaling = data.load(tmp_path / "x.csv").scaling
    (tmp_path / "new.csv").write_text("a,b\n,2\n,\n")
    with pytest.raises(checks.InvalidInput, match=r"new.csv: row 1 of x has no value"):
        own.new_rows(tmp_path / "new.csv", scaling)
    (tmp_path / "new.csv").write_text("a,b\n,2\n,4\n")  # a column may be empty
    assert own.new_rows(tmp_path / "new.csv", scaling).shape == (2, 2)


def test_columns_without_names_are_taken_in_order_and_it_says_so(tmp_path, caplog):
    (tmp_path / "x.csv").write_text("petal,sepal\n1,2\n3,5\n2,9\n")
    found = data.load(tmp_path / "x.csv")
    (tmp_path / "new.csv").write_text("1,2\n3,5\n2,9\n")
    caplog.clear()
    new = own.new_rows(tmp_path / "new.csv", found.scaling)
    np.testing.assert_array_equal(new, found.x)
    assert "names no columns; they are taken for petal, sepal, in that" in caplog.text


def test_labels_that_are_objects_are_named(tmp_path):
    labels = np.array([1, "a", None, 2.0], object)
    np.savez(tmp_path / "x.npz", x=X[:4], y=labels)
    with pytest.raises(checks.InvalidInput, match=r"labels in 'y'.*y=y.astype\(str\)"):
        data.load(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "size", [8, "8,8", (8,), (0, 4), (4, 4, 3), (2.5, 3), (4.0, 4.0)]
)
def test_an_image_size_that_is_none(tmp_path, size):
    with pytest.raises(InvalidInput, match=r"image_size=.*a height and a width"):
        data.load(tmp_path, image_size=size)


def test_a_column_cannot_be_label_and_batch(tmp_path):
    (tmp_path / "x.csv").write_text("a,b,c\n1,2,u\n3,5,v\n2,9,u\n")
    with pytest.raises(checks.InvalidInput, match="batch='c' is the label, too"):
        data.load(tmp_path / "x.csv", label="c", batch="c")


def test_pixels_are_from_0_to_255(tmp_path):
    np.save(tmp_path / "x.npy", X - 300.0)
    with pytest.raises(checks.InvalidInput, match="scaling='pixels' divides values"):
        data.load(tmp_path / "x.npy", scaling="pixels")


def test_a_row_without_a_direction_names_its_file(tmp_path):
    np.save(tmp_path / "x.npy", np.r_[X, 0 * X[:1]])
    with pytest.raises(checks.InvalidInput, match=r"x.npy: row .* has no direction"):
        data.load(tmp_path / "x.npy", scaling="unit")


def test_a_table_that_spaces_separate_says_what_may(tmp_path):
    (tmp_path / "x.csv").write_text("a b c\n1 2 3\n4 5 6\n")
    with pytest.raises(
        checks.InvalidInput, match=r"separated by commas, .* not by spaces"
    ):
        data.load(tmp_path / "x.csv")


@pytest.mark.parametrize(("name", "got"), [(None, "NoneType"), ("", "''"), (X, "nda")])
def test_what_is_no_name_of_data(name, got):
    with pytest.raises(checks.InvalidInput, match=rf"name must be .* got {got}"):
        data.load(name)


def test_images_with_their_channels_first_get_a_hint(tmp_path, caplog):
    caplog.set_level("INFO", logger="dgg_jax")
    x = np.random.default_rng(0).random((20, 3, 8, 8))
    np.save(tmp_path / "x.npy", x)
    assert data.load(tmp_path / "x.npy").x.shape == (20, 192)
    assert "if they are images, save them as x.transpose(0, 2, 3, 1)" in caplog.text
