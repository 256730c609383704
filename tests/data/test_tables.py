"""Tables of users, by property: what is a feature, and what tells the rows apart."""

import io
import logging
import tempfile
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest

from dgg_jax import data
from dgg_jax.checks import InvalidInput
from dgg_jax.data import own

few = hypothesis.settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
FEATURES = ("mass", "width", "acidity", "fixed acid")
IDENTITIES = (
    *("Id", "ID", "id", "sample_id", "PassengerId", "customerID", "userid", "uuid"),
    *("index", "idx", "row", "Row No", "rownames", "Unnamed: 0", "#", "record id"),
)


def loaded(frame, suffix, index=False, **options):
    """What is read of a table that pandas writes; and the file's content."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"t{suffix}"
        if suffix == ".parquet":
            frame.to_parquet(path, index=index or None)
        else:
            separator = "\t" if suffix == ".tsv" else ","
            frame.to_csv(path, index=index, sep=separator)
        return data.load(path, **options)


def text_loaded(text, name="t.csv", **options):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_text(text)
        return data.load(path, **options)


@st.composite
def frames(draw):
    num_rows = draw(st.integers(12, 60))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    values = random.normal(size=(num_rows, len(FEATURES))).round(3)
    return pd.DataFrame(values, columns=FEATURES)


suffixes = st.sampled_from((".csv", ".tsv", ".parquet"))


# --- Row identity is no feature ----------------------------------------------------


@few
@hypothesis.given(
    frames(), suffixes, st.integers(0, 99), st.sampled_from((None, *IDENTITIES))
)
def test_an_index_is_no_feature(frame, suffix, seed, name):
    part = frame.sample(len(frame) - 3, random_state=seed).rename_axis(name)
    found = loaded(part, suffix, index=True)
    assert found.scaling.columns == FEATURES
    assert found.names.tolist() == [str(i) for i in part.index]
    if suffix != ".parquet":
        return
    # Whatever its name is: the file says that it is one.
    found = loaded(part.rename_axis("mass of all"), suffix, index=True)
    assert found.scaling.columns == FEATURES


@few
@hypothesis.given(frames(), suffixes, st.integers(2, 5))
def test_an_index_of_several_levels_is_no_feature(frame, suffix, groups):
    levels = [frame.index % groups, [f"cell {i}" for i in frame.index]]
    found = loaded(frame.set_index(levels), suffix, index=True)
    assert found.scaling.columns == FEATURES
    assert found.names[3] == f"{3 % groups}, cell 3"


@few
@hypothesis.given(
    frames(),
    suffixes,
    st.sampled_from(IDENTITIES),
    st.integers(0, len(FEATURES)),
    st.randoms(use_true_random=False),
)
def test_columns_that_tell_rows_apart_are_no_features(
    frame, suffix, name, place, random
):
    numbers = random.sample(range(1000), len(frame))
    frame.insert(place, name, numbers)
    found = loaded(frame, suffix)
    assert found.scaling.columns == FEATURES
    assert found.names.tolist() == list(map(str, numbers))
    assert f"without {name} (tells the rows apart)" in found.provenance or (
        f"without {name} (index)" in found.provenance
    )


@few
@hypothesis.given(
    frames(),
    suffixes,
    st.sampled_from(("{}_{}", "{}_{}_1", "cell {}{}", "{:05d}{}", "9{:015d}{}")),
)
def test_identifiers_that_look_like_numbers(frame, suffix, form):
    names = [form.format(i, i % 7) for i in range(len(frame))]
    found = loaded(frame.assign(plate=names), suffix)
    assert found.scaling.columns == FEATURES
    assert found.names.tolist() == names


def test_what_is_kept_against_suspicion_is_warned_of(caplog):
    frame = pd.DataFrame(
        np.random.default_rng(0).normal(size=(60, 2)), columns=("a", "b")
    )
    suspects = {
        "patient_id": np.arange(60) // 5,
        "n": np.arange(60),
        "rank": np.random.default_rng(0).permutation(60),
        "chosen": np.random.default_rng(1).permutation(100)[:60],
    }
    for name, values in suspects.items():
        caplog.clear()
        found = loaded(frame.assign(**{name: values}), ".csv")
        assert found.scaling.columns == ("a", "b", name)
        assert f"numbers of the rows: {name}." in caplog.text


def test_measurements_are_not_suspected(caplog):
    random = np.random.default_rng(0)
    columns = {
        "Id of none": random.normal(size=50),  # no whole numbers
        "age": random.integers(18, 90, 50),
        "price": random.permutation(100_000)[:50],  # differ by chance
        "fixed acidity": random.integers(1, 9, 50),
        "humid": np.arange(50) * 3 % 47,
        "fluid": random.permutation(50) / 2,
    }
    with caplog.at_level(logging.WARNING):
        found = loaded(pd.DataFrame(columns), ".csv")
    assert found.scaling.columns == tuple(columns) and found.names is None
    assert "look like" not in caplog.text


@few
@hypothesis.given(frames(), st.integers(1, 5), st.sampled_from(("7", "0.5", "1e3")))
def test_text_with_a_few_numbers_is_text(frame, count, number):
    notes = ["good", "bad"] * len(frame)
    notes[3 : 3 + count] = [number] * count
    found = loaded(frame.assign(note=notes[: len(frame)]), ".csv")
    assert found.scaling.columns == FEATURES


@few
@hypothesis.given(frames(), suffixes)
def test_new_rows_need_no_index(frame, suffix):
    """A model takes its columns by name, whatever they hold now."""
    frame["user_id"] = np.arange(len(frame)) // 2  # not of one row: kept
    trained = loaded(frame, suffix, index=True)
    assert trained.scaling.columns == (*FEATURES, "user_id")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new.csv"
        frame[::2].sort_index(axis=1).to_csv(path)  # where it differs in every row
        x, names = own.named_rows(path, trained.scaling)
    np.testing.assert_allclose(x, trained.x[::2], atol=1e-6)
    assert names.tolist() == [str(i) for i in frame.index[::2]]


def test_real_tables_are_read_bit_for_bit(shared_data, tmp_path):
    from sklearn.datasets import load_digits, load_iris, load_wine

    tables = {one.__name__: one().data for one in (load_digits, load_iris, load_wine)}
    with np.load(shared_data / "own" / "pendigits.npz") as pendigits:
        tables["pendigits"] = pendigits["x"]
    for name, x in tables.items():
        path = tmp_path / f"{name}.csv"
        names = [f"feature {i}" for i in range(x.shape[1])]
        pd.DataFrame(x, columns=names).to_csv(path, index=False)
        np.save(tmp_path / "x.npy", x)
        read, of_array = data.load(path), data.load(tmp_path / "x.npy")
        varied = of_array.x.any(axis=0)  # three columns of digits are not
        np.testing.assert_array_equal(read.x, of_array.x[:, varied])
        assert read.scaling.step == of_array.scaling.step


# --- Names that occur twice, and types ---------------------------------------------


@few
@hypothesis.given(
    st.lists(st.sampled_from("ghk"), min_size=2, max_size=6), st.integers(0, 99)
)
def test_columns_of_one_name_are_matched_by_their_order(names, seed):
    random = np.random.default_rng(seed)
    x = random.normal(size=(20, len(names)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        np.savetxt(path, x, delimiter=",", header=",".join(names), comments="")
        trained = data.load(path)
        np.testing.assert_array_equal(own.new_rows(path, trained.scaling), trained.x)
        # Names in another order, each with its columns in theirs.
        order = np.argsort(names, kind="stable")
        header = ",".join(names[i] for i in order)
        np.savetxt(path, x[:, order], delimiter=",", header=header, comments="")
        np.testing.assert_array_equal(own.new_rows(path, trained.scaling), trained.x)
        for wrong in (
            (*names, names[0]),
            tuple(n for i, n in enumerate(names) if i != len(names) - 1),
        ):
            y = random.normal(size=(20, len(wrong)))
            header = ",".join(wrong)
            np.savetxt(path, y, delimiter=",", header=header, comments="")
            with pytest.raises(InvalidInput, match=r"which is which|lacks columns"):
                own.new_rows(path, trained.scaling)


def test_columns_of_one_name_are_told(caplog):
    text_loaded("g,g,h\n1,2,3\n4,5,6\n9,1,2\n")
    assert "columns of the same name: g;" in caplog.text
    with pytest.raises(InvalidInput, match=r"has 2 columns label='k'.*number"):
        text_loaded("g,k,k\n1,a,b\n4,a,b\n9,b,a\n", label="k")


@st.composite
def mixed_frames(draw):
    """Columns of any kind that pandas has."""
    num_rows = draw(st.integers(4, 30))
    kinds = {
        "float": st.floats(-1e6, 1e6, width=32),
        "int": st.integers(-5, 5),
        "bool": st.booleans(),
        "text": st.sampled_from(("cat", "dog", "none", "-")),
        "digits": st.integers(0, 5).map(str),
    }
    chosen = draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, max_size=6))
    columns = {
        f"c{i}": draw(st.lists(kinds[kind], min_size=num_rows, max_size=num_rows))
        for i, kind in enumerate(("float", *chosen))
    }
    frame = pd.DataFrame(columns)
    if draw(st.booleans()):
        frame["group"] = pd.Categorical(frame["c0"] > 0)
    return frame


@few
@hypothesis.given(mixed_frames())
def test_formats_agree_on_what_is_a_number(frame):
    csv, tsv, parquet = (loaded(frame, s) for s in (".csv", ".tsv", ".parquet"))
    assert csv.scaling.columns == tsv.scaling.columns == parquet.scaling.columns
    np.testing.assert_array_equal(csv.x, tsv.x)
    np.testing.assert_allclose(csv.x, parquet.x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("words", [("True", "False"), ("TRUE", "FALSE")])
def test_truth_is_one_and_zero(words):
    yes, no = words
    found = text_loaded(f"a,b\n0.5,{yes}\n0.25,{no}\n0.5,{yes}\n")
    np.testing.assert_array_equal(found.x[:, 1], [1, 0, 1])
    with pytest.raises(InvalidInput, match="'True' in line 4, column 'b'"):
        text_loaded("a,b\n1,0\n2,1\n3,True\n")


# --- Classes -----------------------------------------------------------------------


def test_names_of_classes_that_look_like_missing_ones():
    names = ("none", "NA", "-", ".", "null", "None", "?", "n/a")
    rows = "".join(f"{i},{name}\n" for i, name in enumerate(names * 3))
    assert set(text_loaded("x,kind\n" + rows, label="kind").class_names) == set(names)
    buffer = io.BytesIO()
    np.savez(buffer, x=np.random.default_rng(0).normal(size=(24, 2)), y=names * 3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npz"
        path.write_bytes(buffer.getvalue())
        assert set(data.load(path).class_names) == set(names)
    for missing in ("", " ", "nan", "NaN"):
        with pytest.raises(InvalidInput, match="no label in 1 rows, the first row 24"):
            text_loaded(f"x,kind\n{rows}9,{missing}\n", label="kind")
    frame = pd.DataFrame({"x": range(24), "kind": names * 3})
    assert set(loaded(frame, ".parquet", label="kind").class_names) == set(names)
    frame.loc[5, "kind"] = None
    with pytest.raises(InvalidInput, match="no label in 1 rows, the first row 5"):
        loaded(frame, ".parquet", label="kind")


# --- What separates fields ---------------------------------------------------------

SEPARATORS = ",;\t|"
words = st.text("ab ,;|\t'", min_size=1, max_size=8).filter(
    lambda word: word.strip() not in ("", "'", ",", ";", "|")
)


@st.composite
def separated(draw):
    """Numbers and text between two of them, and how a program writes them."""
    num_rows = draw(st.integers(2, 8))
    numbers = st.integers(-999, 999).map(lambda i: i / 8)
    rows = [
        [draw(numbers), draw(words), draw(numbers), draw(numbers)]
        for _ in range(num_rows)
    ]
    names = draw(st.lists(words, min_size=4, max_size=4, unique_by=str.strip))
    return pd.DataFrame(rows, columns=[f"n{name}" for name in names])


@few
@hypothesis.given(
    separated(),
    st.sampled_from(SEPARATORS),
    st.sampled_from((".csv", ".tsv")),
    st.sampled_from(("\n", "\r\n")),
    st.booleans(),
)
def test_the_separator_is_found(frame, separator, suffix, end, is_told):
    text = frame.to_csv(sep=separator, index=False, lineterminator=end)
    if is_told:
        text = f"sep={separator}{end}{text}"
    try:
        found = text_loaded(text, f"t{suffix}", scaling="none")
    except InvalidInput as error:  # two do as well: it is not guessed
        hypothesis.assume("agree in all lines" not in str(error))
        raise
    numbers = frame.iloc[:, [0, 2, 3]]
    assert found.scaling.columns == tuple(n.strip() for n in numbers.columns)
    np.testing.assert_array_equal(found.x, numbers.to_numpy(np.float32))


@few
@hypothesis.given(separated(), st.sampled_from(";\t|"), st.booleans())
def test_decimal_commas_are_refused_by_name(frame, separator, has_header):
    text = frame.to_csv(sep=separator, index=False, decimal=",", header=has_header)
    with pytest.raises(
        InvalidInput, match=r"has '-?\d+,\d+' in line \d.*decimal point|both agree"
    ):
        text_loaded(text)


def test_numbers_speak_for_a_separator():
    text = "x,note\n" + "".join(f"{i}.5,a{i};b;c\n" for i in range(6))
    found = text_loaded(text, scaling="none")
    np.testing.assert_array_equal(found.x[:, 0], np.arange(6) + 0.5)
    assert found.scaling.columns == ("x",)
    text = "".join(f"{i},5;text, {i}\n" for i in range(6))
    message = "may be separated by commas or semicolons: both agree.* sep=,"
    with pytest.raises(InvalidInput, match=message):
        text_loaded(text)
    with pytest.raises(InvalidInput, match=r"'0,5' in line 2, column 0.*decimal point"):
        text_loaded(f"sep=;\n{text}")


def test_rows_that_r_has_named():
    text = 'a\tb\n"r1"\t1\t2\n"r2"\t3\t5\n"r3"\t4\t1\n'
    found = text_loaded(text, "t.tsv", scaling="none")
    np.testing.assert_array_equal(found.x, [[1, 2], [3, 5], [4, 1]])
    assert found.names.tolist() == ["r1", "r2", "r3"]
    assert found.scaling.columns == ("a", "b")
    with pytest.raises(InvalidInput, match="has 3 fields in line 2, 2 in the first"):
        text_loaded("a,b\n1,2,\n3,4,\n")


def test_lines_that_disagree_are_refused():
    lines = [f"{i},word {i % 3},{i / 4}" for i in range(30)]
    lines[7] = "7,one, two,3"
    message = "has 4 fields in line 8, 3 in the first, separated by commas; every row"
    with pytest.raises(InvalidInput, match=message):
        text_loaded("\n".join(lines))
    with pytest.raises(InvalidInput, match=r"'oops' in line 4, column 'b'"):
        text_loaded("sep=;\na;b\n1;2\n3;oops\n4;5\n4;5\n")


# --- Vectors, and what is too large ------------------------------------------------


def parquet_loaded(columns, **options):
    import pyarrow
    from pyarrow import parquet

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.parquet"
        parquet.write_table(pyarrow.table(columns), path, store_schema=False)
        return data.load(path, **options)


def test_lists_in_parquet_are_columns(caplog):
    x = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    kinds = list("abc") * 10
    found = parquet_loaded({"v": list(x), "kind": kinds}, label="kind", scaling="none")
    np.testing.assert_array_equal(found.x, x)
    assert found.scaling.columns == ("v[0]", "v[1]", "v[2]", "v[3]")
    assert found.class_names == ("a", "b", "c")
    uneven = {"v": [[1.0], [2.0, 3.0]], "a": [1.0, 2.0], "t": [b"x", b"y"]}
    assert parquet_loaded(uneven).scaling.columns == ("a",)
    assert "left out, since no features: v (lists of 1 to 2 numbers), t" in caplog.text
    del uneven["a"]
    with pytest.raises(InvalidInput, match=r"it has: v \(lists of 1 to 2 numbers\), t"):
        parquet_loaded(uneven)


def test_what_expands_without_bound():
    """A file of 30 KB whose texts would take 12 GB: they are kept once."""
    import pyarrow

    texts = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array(np.zeros(300_000, np.int32)), pyarrow.array(["q" * 40_000])
    )
    x = np.arange(300_000) % 7
    assert parquet_loaded({"t": texts, "x": x}).x.shape == (300_000, 1)
    with pytest.raises(InvalidInput, match="declares 40,000,000 values, out of"):
        parquet_loaded({f"c{i}": np.zeros(2_000_000) for i in range(20)})
    with pytest.raises(InvalidInput, match="has 2,000,000 fields in its first line"):
        text_loaded(",".join(["1"] * 2_000_000))


def test_memory_bounds_what_is_read(monkeypatch):
    from dgg_jax.storage import arrays

    assert 2**28 < arrays.memory() < 2**50
    assert arrays.most_bytes(2**60) < arrays.memory()
    monkeypatch.setattr(arrays, "memory", lambda: 2**12)
    with pytest.raises(InvalidInput, match=r"too much for .* of this machine.*\.npy"):
        text_loaded("a,b\n" + "1,2\n" * 1000)


@pytest.mark.parametrize("digits", [1, 3])
def test_numbers_split_by_decimal_commas_are_refused(tmp_path, digits):
    x = np.random.default_rng(0).normal(size=(40, 3))
    lines = [",".join(f"{v:.{digits}f}".replace(".", ",") for v in row) for row in x]
    path = tmp_path / "x.csv"
    path.write_text("\n".join(lines))
    with pytest.raises(InvalidInput, match="decimal commas, which split its numbers"):
        data.load(str(path))


def test_whole_numbers_in_pairs_of_columns_are_no_halves(tmp_path):
    path = tmp_path / "x.csv"
    x = np.random.default_rng(0).integers(-9, 99, (40, 4))
    np.savetxt(path, x, fmt="%d", delimiter=",")
    np.testing.assert_array_equal(data.load(str(path), scaling="none").x, x)
