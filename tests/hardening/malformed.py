"""Malformed files: what chance, a broken disk or a villain makes of a valid one.

A mutation is a function of (hypothesis' draw, the path of a valid file or model); it
changes what lies there. Unpickling any of the objects that some of them hide would
create the file ``MARKER`` in the current folder.
"""

import contextlib
import datetime
import decimal
import functools
import gzip
import hashlib
import io
import json
import os
import pathlib
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy

from dgg_jax.storage import saving
from dgg_jax.storage.saving import ARRAYS, DESCRIPTION
from dgg_jax.storage.signed import sign

MARKER = "executed-by-unpickling"
Draw = Callable[[st.SearchStrategy[Any]], Any]
Mutation = Callable[[Draw, pathlib.Path], None]


def pick(draw: Draw, options: Sequence[Any]) -> Any:
    """One of them; unlike ``sampled_from`` it never looks at what they are."""
    return options[draw(st.integers(0, len(options) - 1))]


class _Payload:
    def __reduce__(self):
        return open, (MARKER, "w")


_PICKLE = pickle.dumps(_Payload())
_OBJECTS = np.array([_Payload(), _Payload()], object)


def _saved(save: Callable[..., None], *array: Any, **arrays: Any) -> bytes:
    """What np.save or np.savez write."""
    buffer = io.BytesIO()
    save(buffer, *array, **arrays)
    return buffer.getvalue()


def _zip(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _declaring(size: int, content: bytes) -> bytes:
    """A zip file whose directory lies about the size of its first member."""
    place = content.index(b"PK\x01\x02") + 24
    return content[:place] + struct.pack("<I", size) + content[place + 4 :]


def _header(text: str, content: bytes = b"", version: int = 1) -> bytes:
    """A .npy file with any header."""
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode("latin1") + content


def _described(descr: str, shape: str) -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"


_OF_OBJECTS = _described("'|O'", "(2, 2)")
_HUGE = _described("'<f4'", f"({2**40}, 4)")
_TYPES = ("'<f4'", "'|O'", "'|V0'", "'<m8[s]'", "[('a', '<f4')]", "('<f4', (999, 999))")
_SHAPES = (
    "(2, 2)",
    "4",
    "(-1, 4)",
    f"({'1,' * 99})",
    f"({2**40}, 4)",
    f"(0, {10**30})",
)
_NO_HEADERS = (
    "{'descr': '<f4', 'shape': (2, 2)",
    "(" * 5_000,
    f"__import__('pathlib').Path('{MARKER}').touch()",
    "{'a': '''\n",
    "",
)


def _odd_npy(draw: Draw, content: bytes) -> bytes:
    header = _described(pick(draw, _TYPES), pick(draw, _SHAPES))
    if draw(st.booleans()):
        header = pick(draw, _NO_HEADERS)
    return _header(header, content, version=pick(draw, (1, 2, 3, 9)))


# Bytes of any file.


def _bytes(most: int) -> st.SearchStrategy[bytes]:
    """Any, of every length alike; binary alone gives short ones."""
    return st.integers(0, most).flatmap(lambda n: st.binary(min_size=n, max_size=n))


def flipped(draw: Draw, content: bytes) -> bytes:
    """Some bits."""
    changed = bytearray(content)
    bits = st.integers(0, 8 * len(content) - 1)
    for bit in draw(st.lists(bits, min_size=1, max_size=20)):
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def spliced(draw: Draw, content: bytes) -> bytes:
    """A piece for another: cut out, often to the end, overwritten or inserted."""
    start, new = (
        draw(st.integers(0, len(content) - 1)),
        draw(st.just(b"") | _bytes(200)),
    )
    lengths = st.integers(1, len(content))
    if new:
        lengths |= st.sampled_from([len(new), 0])
    return content[:start] + new + content[start + draw(lengths) :]


def noise(draw: Draw, content: bytes) -> bytes:
    return draw(_bytes(2_000))


_DAMAGES = (flipped, spliced, noise)


def _of_bytes(damage: Callable[[Draw, bytes], bytes]) -> Mutation:
    @functools.wraps(damage)
    def mutation(draw, path):
        path.write_bytes(damage(draw, path.read_bytes()))

    return mutation


def no_file(draw, path):
    """Nothing where a file is expected, or what is none."""
    path.unlink()
    other = pick(draw, (path.name, "absent", "/dev/zero"))
    link, pipe = lambda: path.symlink_to(other), lambda: os.mkfifo(path)
    pick(draw, (lambda: None, path.mkdir, link, pipe))()


OF_A_FILE: tuple[Mutation, ...] = (*map(_of_bytes, _DAMAGES), no_file)


# Models.


def _in_folder(mutation: Mutation) -> Mutation:
    """A mutation of one of a model's two files."""

    @functools.wraps(mutation)
    def of_model(draw, path):
        mutation(draw, path / pick(draw, (DESCRIPTION, ARRAYS)))

    return of_model


def _of_description(change: Callable[[Draw, dict[str, Any]], None]) -> Mutation:
    """A mutation of what model.json says."""

    @functools.wraps(change)
    def mutation(draw, path):
        description = json.loads((path / DESCRIPTION).read_text())
        change(draw, description)
        _write_description(draw, path, description)

    return mutation


def _write_description(
    draw: Draw, path: pathlib.Path, description: dict[str, Any]
) -> None:
    """With a checksum that is right, with one that is not, or without one."""
    description = pick(draw, (sign, dict, dict))(description)
    if draw(st.booleans()):
        description.pop("sha256", None)
    (path / DESCRIPTION).write_text(json.dumps(description))


def _of_arrays(change: Callable[[Draw, dict[str, Any]], Any]) -> Mutation:
    """A mutation to other arrays, which are listed, or to other bytes of their file.

    The checksum is right.
    """

    @functools.wraps(change)
    def mutation(draw, path):
        description = json.loads((path / DESCRIPTION).read_text())
        with np.load(path / ARRAYS) as file:
            changed = change(draw, dict(file))
        if isinstance(changed, dict):
            del description["arrays"]
            saving.save(path, description, changed, overwrite=True)
        else:
            description["arrays"]["sha256"] = hashlib.sha256(changed).hexdigest()
            (path / ARRAYS).write_bytes(changed)
            _write_description(draw, path, description)

    return mutation


def _entries(tree: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every entry of JSON."""
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
    found = []
    for key, value in pairs:
        found.append((tree, key))
        if isinstance(value, dict | list):
            found += _entries(value)
    return found


def _entry(draw: Draw, description: dict[str, Any]) -> tuple[Any, Any]:
    """(container, key) of an entry, more often of what load uses."""
    parts = ("arrays", "settings", "preset", "parts", "stages", "history")
    used = [description[name] for name in parts if description[name]]
    return pick(draw, _entries(pick(draw, [description, *used])))


_ODD = [None, True, -1, 0, 3, 10**30, 0.5, 1e308, float("nan"), "../../etc/passwd"]
_VALUES = st.recursive(
    st.sampled_from(_ODD) | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)


def other_value(draw, description):
    container, key = _entry(draw, description)
    container[key] = draw(_VALUES)


def without_entry(draw, description):
    container, key = _entry(draw, description)
    del container[key]


def added_entry(draw, description):
    container, key = _entry(draw, description)
    if isinstance(container, dict):
        container[f"{key}_"] = draw(_VALUES)
    else:
        container.append(draw(_VALUES))


def other_header(draw, description):
    kinds = (
        "VaDE",
        "GMVAE",
        "DEC",
        "SpectralNet",
        "IMSAT",
        "CatGAN",
        "AAE",
        "LTVAE",
        "dict",
        "__class__",
    )
    formats = (0, 2, -1, 10**30, "1", None)
    name, others = pick(draw, (("kind", kinds), ("format", formats)))
    description[name] = pick(draw, others)


def other_setting(draw, description):
    changes = (
        ("num_clusters", (1, 2, 4, 10**9, 10**19)),
        ("latent_dim", (1, 3, 10**12)),
        ("hidden_sizes", ([], [4], [5, 5], [10**12])),
        ("classifier_hidden_sizes", ([], [9], None)),
        ("likelihood", ("gaussian", "learned_gaussian")),
    )
    name, others = pick(draw, changes)
    description["preset"][name] = pick(draw, others)


def other_description(draw, path):
    texts = (
        "null",
        "[]",
        "{}",
        "7",
        '"x"',
        "[" * 100_000,
        '{"a":' * 50_000,
        "9" * 9_000,
    )
    (path / DESCRIPTION).write_text(pick(draw, texts))


def other_array(draw, arrays):
    name = pick(draw, list(arrays))
    array = np.atleast_1d(arrays[name])
    types = (np.float64, np.complex64, ">f4", str, np.int8, bool, [("a", np.float32)])
    changes = (
        array[..., None],
        array[:-1],
        array[:0],
        array.reshape(-1),
        np.concatenate([array, array], axis=-1),
        np.full_like(array, -7),
        *(array.astype(dtype) for dtype in types),
        *(np.full(array.shape, v, np.float32) for v in (np.nan, np.inf, 3e38)),
    )
    return arrays | {name: pick(draw, changes)}


def without_array(draw, arrays):
    prefix = pick(draw, list(arrays))
    if draw(st.booleans()):
        prefix = prefix.rpartition("/")[0]
    return {name: a for name, a in arrays.items() if not name.startswith(prefix)}


def added_array(draw, arrays):
    within = f"{pick(draw, list(arrays))}/x"
    names = ("learned/fit", "learned/__class__", "model", "model/encoder", within)
    paths = ("../../../etc/passwd", "/etc/passwd", "C:\\x", "", "a/" * 30_000, "a//b")
    return arrays | {pick(draw, names + paths): np.ones(3, np.float32)}


def pickled(draw, arrays):
    """Objects where arrays are expected; unpickling them would be seen."""
    name = pick(draw, list(arrays))
    contents = (
        arrays | {name: _OBJECTS},
        _saved(np.save, _OBJECTS),
        _PICKLE,
        _zip({f"{name}.npy": _PICKLE}),
        _zip({f"{name}.npy": _header(_OF_OBJECTS, _PICKLE)}),
    )
    return pick(draw, contents)


def bomb(draw, arrays):
    """Small files that declare, or expand to, far more than they hold."""
    name = f"{pick(draw, list(arrays))}.npy"
    zeros = {name: _saved(np.save, np.zeros(2**20, np.float32))}
    huge = {name: _header(_HUGE)}
    deflated = _zip(zeros, zipfile.ZIP_DEFLATED)
    contents = (
        deflated,
        _declaring(2**32 - 2, deflated),
        _declaring(10, deflated),
        _zip(huge),
        _zip(huge, zipfile.ZIP_DEFLATED),
        _zip(zeros, zipfile.ZIP_LZMA),
    )
    return pick(draw, contents)


def odd_header(draw, arrays):
    members = {f"{name}.npy": _saved(np.save, array) for name, array in arrays.items()}
    return _zip(members | {pick(draw, list(members)): _odd_npy(draw, bytes(16))})


def damaged(draw, arrays):
    return pick(draw, _DAMAGES)(draw, _saved(np.savez, **arrays))


def no_folder(draw, path):
    shutil.rmtree(path)
    if draw(st.booleans()):
        path.write_bytes(b"x")


_CHANGES = (other_value, without_entry, added_entry, other_header, other_setting)
_OF_ARRAYS = (
    other_array,
    without_array,
    added_array,
    pickled,
    bomb,
    odd_header,
    damaged,
)
OF_A_MODEL: tuple[Mutation, ...] = (
    *map(_in_folder, OF_A_FILE),
    *map(_of_description, _CHANGES),
    *map(_of_arrays, _OF_ARRAYS),
    other_description,
    no_folder,
)


# Matrices and idx files.


def other_npy(draw, path):
    shapes = of_numpy.array_shapes(min_dims=0, min_side=0)
    arrays = (
        _OBJECTS,
        np.full((2, 2), 1e300),
        np.zeros((2, 2), [("a", np.float32)]),
        np.zeros(draw(shapes), draw(of_numpy.scalar_dtypes())),
    )
    array = pick(draw, arrays)
    if path.suffix == ".npy":
        path.write_bytes(_saved(np.save, array))
    else:
        path.write_bytes(_saved(np.savez, **{pick(draw, ("x", "y")): array}))


def other_numpy_header(draw, path):
    content = _odd_npy(draw, _PICKLE)
    path.write_bytes(content if path.suffix == ".npy" else _zip({"x.npy": content}))


def other_container(draw, path):
    ones = np.ones((2, 2))
    contents = (
        _PICKLE,
        _zip({}),
        _zip({"x": _PICKLE}),
        _zip({"../x.npy": _saved(np.save, ones)}),
        _saved(np.savez, a=ones, b=ones),
        _saved(np.savez, x=ones, y=_OBJECTS),
    )
    path.write_bytes(pick(draw, contents))


@functools.cache
def _bombs() -> tuple[bytes, ...]:
    zeros = _saved(np.save, np.zeros(2**20))
    one = _zip({"x.npy": zeros}, zipfile.ZIP_DEFLATED)
    many = {f"{i}.npy": zeros for i in range(10)}
    return (
        _declaring(2**32 - 2, one),
        _declaring(10, one),
        _zip(many, zipfile.ZIP_LZMA),
    )


def expanding(draw, path):
    path.write_bytes(pick(draw, _bombs()))


_NUMBERS = ["1", "-2.5", "nan", "inf", "1e999", "1_000", "9" * 5_000, "1" * 200_000]
_NO_NUMBERS = ["", '"', '"1"', "=1+1", "0x10", "\0", "\r", "\ufeff", "\ud800", "٣"]
_CELLS = st.sampled_from(_NUMBERS + _NO_NUMBERS) | st.text(max_size=5)


def other_table(draw, path):
    delimiter = "," if path.suffix == ".csv" else "\t"
    row = st.lists(_CELLS, min_size=1, max_size=4).map(delimiter.join)
    rows = draw(st.lists(row, min_size=1, max_size=5))
    path.write_bytes("\n".join(rows).encode("utf-8", "surrogatepass"))


def uneven_table(draw, path):
    """One wide row and many short ones, as a rectangle too large to hold."""
    rows = [",".join(["1"] * 30_000), *["1"] * 30_000]
    path.write_text("\n".join(rows[:: pick(draw, (-1, 1))]))


OF_NUMPY = (*OF_A_FILE, other_npy, other_numpy_header, other_container, expanding)
OF_A_TABLE = (*OF_A_FILE, other_table, uneven_table)


def other_dimensions(draw, path):
    header = bytes([0, 0, pick(draw, (8, 9, 13)), pick(draw, (0, 1, 3, 255))])
    sizes = [pick(draw, (0, 1, 7, 28, 2**31, 2**32 - 1)) for _ in range(3)]
    path.write_bytes(header + struct.pack(">3I", *sizes))


@functools.cache
def _many_zeros() -> bytes:
    return gzip.compress(bytes([0, 0, 8, 3]) + bytes(2**27))


def expanding_gzip(draw, path):
    zeros = _many_zeros()
    path.write_bytes(zeros[: pick(draw, (None, len(zeros) // 2))])


def damaged_gzip(draw, path):
    path.write_bytes(gzip.compress(pick(draw, _DAMAGES)(draw, path.read_bytes())))


OF_IDX = (*OF_A_FILE, other_dimensions, expanding_gzip, damaged_gzip)


# Parquet, HDF5 and MATLAB files.

_COLUMNS = (
    [1, 2, 3],
    [0.5, None, float("inf")],
    [True, False, True],
    ["1", "2", "3"],
    ["1", "x", ""],
    [None, None, None],
    [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
    [[1.0], [2.0, 3.0], None],
    [["a"], ["b"], ["c"]],
    [{"a": 1}, {"a": 2}, {"a": 3}],
    [b"1", b"2", b"3"],
    [2**63 - 1, -(2**63), 0],
    [decimal.Decimal("1.5"), decimal.Decimal("2.5"), decimal.Decimal("-1")],
    [datetime.datetime(2026, 1, day) for day in (1, 2, 3)],
)
_NAMES = ("a", "b", "id", "__index_level_0__", "", "1", "a\n", "\u00fc")


def other_parquet(draw, path):
    import pyarrow
    from pyarrow import parquet

    columns = st.sampled_from(range(len(_COLUMNS)))
    chosen = draw(st.lists(columns, min_size=1, max_size=4))
    arrays = [pyarrow.array(_COLUMNS[number]) for number in chosen]
    names = [pick(draw, _NAMES) for _ in chosen]
    table = pyarrow.table(arrays, names=names)
    if draw(st.booleans()):
        table = pyarrow.concat_tables([table] * 4)
    compression = pick(draw, ("none", "snappy", "gzip", "zstd"))
    parquet.write_table(table, path, compression=compression)


OF_PARQUET = (*OF_A_FILE, other_parquet)


def other_hdf5(draw, path):
    """One array, attribute or link of another kind, or gone."""
    import h5py

    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name = pick(draw, names)
        item = file[name]
        if item.attrs and draw(st.booleans()):
            values = (
                "csr_matrix",
                "csc_matrix",
                "array",
                3,
                (2**40, 3),
                (0, 0),
                (3, 12),
            )
            item.attrs[pick(draw, list(item.attrs))] = pick(draw, values)
            return
        links = (
            h5py.ExternalLink("other.h5ad", "/X"),
            h5py.SoftLink("/X"),
            h5py.SoftLink("/nowhere"),
        )
        shape = getattr(item, "shape", None) or (2,)
        others = (
            *links,
            np.full(shape, 10**9),
            np.full(shape, -1),
            np.full(shape, np.nan),
            np.zeros((0, 3)),
            np.ones((*shape, 2)),
            np.array(["a", "b"], "S1"),
            3.0,
            None,
        )
        other = pick(draw, others)
        del file[name]
        if other is not None:
            file[name] = other


def expanding_hdf5(draw, path):
    """An array that was never written, and declares far more than the file holds."""
    import h5py

    with h5py.File(path, "r+") as file:
        del file["X"]
        shape = pick(draw, ((2**40, 3), (12, 2**33), (2**20, 2**10)))
        file.create_dataset("X", shape, "f4", chunks=(1, 3), compression="gzip")


OF_H5AD = (*OF_A_FILE, other_hdf5, expanding_hdf5)


def other_matlab(draw, path):
    from scipy import io

    values = (
        {"x": np.ones((3, 2))},
        np.ones((3, 2)) * 1j,
        np.array([["a"], ["bc"]], object),
        np.array(["ab", "cd"]),
        np.ones((2, 3, 4)),
        np.ones((0, 3)),
        np.array([[True, False]] * 3),
        np.arange(6, dtype=np.int8).reshape(3, 2),
        np.full((3, 2), np.nan),
        [[1, 2], [3, 5]],
        7,
    )
    names = ("X", "fea", "data", "other", "y")
    arrays = {pick(draw, names): pick(draw, values) for _ in range(2)}
    io.savemat(path, arrays, do_compression=draw(st.booleans()))


OF_MATLAB = (*OF_A_FILE, other_matlab)


# Images.


def _of_one(mutation: Mutation) -> Mutation:
    """A mutation of one of the files in a folder."""

    @functools.wraps(mutation)
    def of_folder(draw, path):
        files = [file for file in sorted(path.rglob("*")) if file.is_file()]
        mutation(draw, pick(draw, [file for file in files if file.name != ".lock"]))

    return of_folder


_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F")


def other_image(draw, path):
    """Another mode, size, turn or number of frames, in a format of any suffix."""
    from PIL import Image

    size = pick(draw, ((8, 8), (8, 8), (8, 8), (3, 5), (1, 1)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    frames = [
        Image.fromarray(rng.integers(0, 256, (*size, 4), dtype=np.uint8), "RGBA")
        for _ in range(pick(draw, (1, 1, 1, 3)))
    ]
    mode, form = pick(draw, _MODES), pick(draw, ("PNG", "TIFF", "GIF", "BMP", "JPEG"))
    exif = Image.Exif()
    exif[0x0112] = draw(st.integers(0, 9))
    content = io.BytesIO()
    several = {"save_all": True, "append_images": frames[1:]} if frames[1:] else {}
    with contextlib.suppress(Exception):  # not every format has every mode
        first = frames[0].convert("RGB" if mode in ("YCbCr", "CMYK") else "RGBA")
        first = first.convert("L").convert(mode) if "I" in mode else first.convert(mode)
        first.save(content, form, exif=exif, **several)
    path.write_bytes(content.getvalue())


OF_IMAGES = tuple(map(_of_one, (*OF_A_FILE, other_image)))
OF_A_WORKDIR = tuple(map(_of_one, OF_A_FILE))
