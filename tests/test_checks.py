"""Every message names the argument, what came and what to do about it."""

import math
import pathlib
import re
import sys
import tomllib

import numpy as np
import pytest
from scipy import sparse

from dgg_jax import checks

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture
def x():
    return np.linspace(0.0, 1.0, 12).reshape(4, 3)


def message(function, *args, **kwargs):
    with pytest.raises(checks.InvalidInput) as error:
        function(*args, **kwargs)
    return str(error.value)


def test_invalid_input_is_a_value_error():
    assert issubclass(checks.InvalidInput, ValueError)


def test_missing_data_is_a_file_error_with_its_message_alone():
    error = checks.MissingData("put train.csv into data/")
    assert isinstance(error, checks.InvalidInput)
    assert isinstance(error, FileNotFoundError)
    assert str(error) == "put train.csv into data/"
    assert str(checks.MissingData("one", "two")) == "one"


def test_what_an_extra_lacks(monkeypatch):
    for name in checks.EXTRAS["datasets"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert checks.lacking("datasets") == (
        "array_record, importlib_resources, requests and tensorflow_datasets are not "
        "installed: pip install 'dgg-jax[datasets]'"
    )
    with pytest.raises(checks.NotInstalled) as caught:
        checks.installed("datasets", "this")
    assert str(caught.value) == (
        f"this needs more packages; {checks.lacking('datasets')}."
    )
    assert isinstance(caught.value, checks.InvalidInput)
    assert isinstance(caught.value, ImportError)


def test_extras_are_those_of_the_package():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = settings["optional-dependencies"]
    for extra, modules in checks.EXTRAS.items():
        required = [re.match(r"[\w-]+", entry)[0] for entry in extras[extra]]
        if extra == "benchmark":
            assert "dgg-jax[approximate]" in extras[extra]
            modules = set(modules) - set(checks.EXTRAS["approximate"])
        modules = {{"umap": "umap_learn"}.get(name, name) for name in modules}
        names = {name.replace("-", "_") for name in required} - {"dgg_jax"}
        assert names == set(modules)


@pytest.mark.parametrize("extra", ["approximate", "h5ad", "parquet"])
def test_what_is_there_lacks_nothing(monkeypatch, extra):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert checks.lacking(extra) is None
    checks.installed(extra, "this")


def test_one_of_takes_a_valid_value():
    checks.one_of("method", "dgg", ["dgg", "vade"])


def test_one_of_lists_the_valid_values():
    assert (
        message(checks.one_of, "method", "dg", ["dgg", "vade"])
        == "method='dg' is unknown; choose one of: dgg, vade."
    )


@pytest.mark.parametrize("value", [0.0, 0.5, 2, 2.0])
def test_in_range_takes_a_valid_value(value):
    checks.in_range("graph_strength", value, 0.0, 2.0)


@pytest.mark.parametrize("value", [-0.1, 2.5, math.nan, math.inf])
def test_in_range_names_the_range(value):
    assert (
        message(checks.in_range, "graph_strength", value, 0.0, 2.0)
        == f"graph_strength must be in [0, 2], got {value!r}."
    )


@pytest.mark.parametrize("value", ["1", None, [1]])
def test_in_range_refuses_what_is_no_number(value):
    text = message(checks.in_range, "graph_strength", value, 0.0, 2.0)
    assert text == f"graph_strength must be a number in [0, 2], got {value!r}."


@pytest.mark.parametrize("value", [0, -1, math.nan, -math.inf])
def test_in_range_without_an_upper_end(value):
    assert (
        message(checks.in_range, "epochs", value, 1)
        == f"epochs must be at least 1, got {value!r}."
    )
    checks.in_range("epochs", 10**9, 1)


@pytest.mark.parametrize("unit_interval", [True, False])
def test_data_matrix_accepts_good_data(x, unit_interval):
    checks.data_matrix(x, 4, unit_interval=unit_interval)
    checks.data_matrix((x > 0.5).astype(np.uint8), 2, unit_interval=unit_interval)


@pytest.mark.parametrize("shape", [(12,), (4, 3, 1), (4, 0)])
def test_data_matrix_refuses_other_shapes(shape):
    text = message(checks.data_matrix, np.zeros(shape), 1, unit_interval=False)
    assert text.startswith("x must be a matrix [N, D] with D >= 1, got shape")
    assert f"{shape}; flatten" in text


def test_data_matrix_refuses_more_clusters_than_rows(x):
    assert message(checks.data_matrix, x, 5, unit_interval=False).startswith(
        "num_clusters=5 exceeds the 4 rows of x;"
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_data_matrix_counts_and_locates_what_is_not_finite(x, value):
    x[1, 2] = x[3, 0] = value
    assert message(checks.data_matrix, x, 2, unit_interval=True) == (
        "x holds 2 NaN or infinite values, the first at row 1, column 2 "
        f"({np.float64(value)}); remove or impute them."
    )


def test_data_matrix_refuses_constant_data():
    assert message(
        checks.data_matrix, np.full((4, 3), 2.5), 2, unit_interval=False
    ).startswith("x is constant (every value is 2.5);")


@pytest.mark.parametrize(("shift", "range_"), [(-0.5, "[-0.5, 0.5]"), (1.0, "[1, 2]")])
def test_data_matrix_holds_bernoulli_data_to_the_unit_interval(x, shift, range_):
    text = message(checks.data_matrix, x + shift, 2, unit_interval=True)
    assert f"needs values in [0, 1], x has values in {range_};" in text
    assert "divide by 255" in text and "likelihood=gaussian" in text
    checks.data_matrix(x + shift, 2, unit_interval=False)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (3, int),
        (np.int64(3), int),
        (3, float),
        (np.float32(0.5), float),
        (True, bool),
        ("a", str),
        ((), tuple[int, ...]),
        ((1, 2), tuple[int, ...] | None),
        (None, tuple[int, ...] | None),
    ],
)
def test_of_type(value, kind):
    checks.of_type("name", value, kind)


@pytest.mark.parametrize(
    ("value", "kind", "wanted"),
    [
        ("3", int, "int"),
        (3.0, int, "int"),
        (True, int, "int"),
        (np.True_, float, "float"),
        (None, float, "float"),
        (1j, float, "float"),
        (1, bool, "bool"),
        ([1], tuple[int, ...], r"tuple\[int, ...\]"),
        ((1.0,), tuple[int, ...] | None, r"tuple\[int, ...\] \| None"),
    ],
)
def test_not_of_type(value, kind, wanted):
    with pytest.raises(checks.InvalidInput, match=f"name must be of type {wanted}, "):
        checks.of_type("name", value, kind)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((8, 8), True), ((8, 8, 1), True), ((8, 8, 3), True), ((2,), False),
     ((8, 8, 2), False), ((4, 4, 4, 3), False), ((), False)],
)  # fmt: skip
def test_is_image(shape, expected):
    assert checks.is_image(shape) is expected


@pytest.mark.parametrize(
    "shape", [(8, 9), (64,), 64, None, "88", (-8, -8), (8.0, 8.0), ("8", "8")]
)
def test_a_shape_that_is_not_the_rows_is_named(shape):
    with pytest.raises(checks.InvalidInput) as error:
        checks.image_shape(shape, 64, "image_shape")
    assert str(error.value).startswith("image_shape must be (H, W)")
    assert "D = 64" in str(error.value)
    assert f"got {shape!r}" in str(error.value)
    assert checks.image_shape((8, 8), 64) is None


def test_weights_of_rows_have_a_mean_of_1():
    found = checks.sample_weight([1, 0, 3], 3)
    np.testing.assert_allclose(found, [0.75, 0.0, 2.25])
    assert found.dtype == np.float32
    huge = checks.sample_weight(np.array([1e308, 1e308, 0.0]), 3)
    np.testing.assert_allclose(huge, [1.5, 1.5, 0.0])
    np.testing.assert_array_equal(checks.sample_weight(found, 3), found)
    np.testing.assert_allclose(checks.sample_weight([True, False], 2), [2.0, 0.0])


@pytest.mark.parametrize("weights", [None, [1.0, 1.0], [0.3, 0.3], np.array([7, 7])])
def test_weights_that_are_equal_are_none(weights):
    assert checks.sample_weight(weights, 2) is None


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            [1.0, 2.0, 3.0],
            r"must be \[2\], a weight for each row of X, got",
        ),
        (2.0, r"got shape \(\)"),
        (np.ones((2, 1)), r"got shape \(2, 1\)"),
        ([1.0, np.nan], "finite and at least 0, row 1 has nan; give 0 to a row"),
        ([np.inf, 1.0], "row 0 has inf"),
        ([1.0, -0.5], "row 1 has -0.5"),
        ([0, 0], "sample_weight is zero for every row; leave it out"),
        (["a", "b"], "must be numbers, got <U1; convert them"),
        ([1j, 2.0], "must be numbers, got complex128"),
    ],
)
def test_other_weights_are_one_clear_error(weights, message):
    with pytest.raises(checks.InvalidInput, match=message):
        checks.sample_weight(weights, 2)


def test_what_cannot_heed_weights_refuses_those_that_differ():
    checks.no_sample_weight(np.ones(3), 3, "this is of pairs", "DEC")
    with pytest.raises(checks.InvalidInput) as error:
        checks.no_sample_weight([1.0, 2.0], 2, "this is of pairs", "DEC")
    assert str(error.value) == (
        "this is of pairs, which no sample_weight can weigh; leave it out, or use DEC."
    )


def test_pointers_that_overflow_are_found():
    """scipy takes differences of them, which wrap around: it finds nothing wrong."""
    for kind in (sparse.csr_array, sparse.csc_array):
        x = kind(np.ones((4, 4)))
        checks.sparse_format(x)
        x.indptr = np.array([0, 30, -(2**31) + 20, 10, 16], np.int32)
        x.check_format(full_check=True)
        with pytest.raises(ValueError, match="pointers of a sparse matrix leave"):
            checks.sparse_format(x)
