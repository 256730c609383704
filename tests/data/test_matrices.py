import io

import numpy as np
import pytest

from dgg_jax.checks import InvalidInput
from dgg_jax.data.matrices import read_matrix

X = np.array([[0.5, -1.0, 2.0], [3.0, 4e-3, 1e6]], np.float32)


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.npy", npy(X)),
        ("x.NPY", npy(X.astype(np.float64))),
        ("x.npz", npz(x=X, y=np.zeros(2))),
        ("x.npz", npz(anything=X)),
        ("x.csv", "0.5,-1,2\n3,4e-3,1e6\n"),
        ("x.csv", "a,b,c\r\n0.5,-1,2\r\n\r\n3,4e-3,1e6"),
        ("x.csv", '\ufeff"first","b, too","c"\n0.5," -1",2\n3,4e-3,1e6\n'),
        ("x.tsv", "a\tb\tc\n0.5\t-1\t2\n3\t4e-3\t1e6\n"),
    ],
)
def test_matrices(tmp_path, name, content):
    x = read_matrix(write(tmp_path / name, content))
    np.testing.assert_array_equal(x, X)
    assert x.dtype == np.float32


def test_images_become_rows(tmp_path):
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    x = read_matrix(write(tmp_path / "x.npy", npy(images)))
    np.testing.assert_array_equal(x, images.reshape(2, 12))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.xlsx", b"", "must end in one of .npy, .npz, .csv, .tsv, got '.xlsx'"),
        ("x.npy", b"", "no numpy file"),
        ("x.npy", b"\x93NUMPY garbage", "no numpy file"),
        ("x.npz", npz(a=X, b=X), 'an array "x", or a single one; it has: a, b'),
        ("x.npz", npz(), "it has: none"),
        ("x.npz", npz(x=X)[:-30], "no numpy file"),
        ("x.npy", npy(np.array(["a"])), "must hold real numbers, got <U1"),
        ("x.npy", npy(X * 1j), "must hold real numbers, got complex64"),
        ("x.npy", npy(X[0]), r"a matrix \[N, D\].*got shape \(3,\)"),
        ("x.npy", npy(X[:0]), r"got shape \(0, 3\)"),
        ("x.csv", "", "got shape"),
        ("x.csv", "a,b\n", "got shape"),
        ("x.csv", "1,2\n3\n", "1 fields in line 2, 2 in the first"),
        ("x.csv", "a,b\n1,2\n\n3,cat\n", "'cat' in line 4, column 2"),
        ("x.csv", "1,2\n,3\n", "'' in line 2, column 1"),
        ("x.csv", b"\xff\xfe1,2", "no table of text"),
    ],
)
def test_what_is_no_matrix(tmp_path, name, content, message):
    with pytest.raises(InvalidInput, match=message):
        read_matrix(write(tmp_path / name, content))


def test_a_missing_file(tmp_path):
    with pytest.raises(InvalidInput, match="cannot be read: No such file"):
        read_matrix(tmp_path / "x.csv")


def test_nothing_is_unpickled(tmp_path):
    class Mine:
        def __reduce__(self):
            return open, (str(tmp_path / "executed"), "w")

    path = write(tmp_path / "x.npy", npy(np.array([Mine()], dtype=object)))
    with pytest.raises(InvalidInput, match="no numpy file"):
        read_matrix(path)
    assert not (tmp_path / "executed").exists()
