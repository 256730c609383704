"""Malformed files: what chance, a broken disk or a villain makes of a valid one.

A mutation is a function of (a random generator, the path of a valid file or model); it
changes what lies there. Unpickling any of the objects that some of them hide would
create the file ``MARKER`` in the current folder.
"""

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
from collections.abc import Callable
from typing import Any

import numpy as np

MARKER = "executed-by-unpickling"
_DESCRIPTION, _ARRAYS = "model.json", "arrays.npz"
Mutation = Callable[[np.random.Generator, pathlib.Path], None]


class _Payload:
    def __reduce__(self):
        return open, (MARKER, "w")


def _npz(arrays: dict[str, Any], compressed: bool = False) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def _npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _header(text: str, content: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """A .npy file with any header."""
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", len(text))
    return b"\x93NUMPY" + version + size + text.encode("latin1") + content


def _zip(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _objects() -> np.ndarray:
    return np.array([_Payload(), _Payload()], object)


def _described(descr: str, shape: str) -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"


_OBJECTS = _described("'|O'", "(2, 2)")
_HUGE = _described("'<f4'", f"({2**40}, 4)")
_ODD_HEADERS = (
    _OBJECTS,
    _HUGE,
    _described("'<f4'", f"(0, {10**30})"),
    _described("'<f4'", "(-1, 4)"),
    _described("'<f4'", f"({'1,' * 100})"),
    _described("'|V0'", f"({2**40}, 4)"),
    _described("('<f4', (1000, 1000))", "(2, 2)"),
    _described("[('a', '<f4')]", "(2, 2)"),
    _described("'<m8[s]'", "(2, 2)"),
    _described("'<f4'", "4"),
    "{'descr': '<f4', 'shape': (2, 2)",
    "(" * 5_000,
    f"__import__('pathlib').Path('{MARKER}').touch()",
    "{'a': '''\n",
    "",
)


# Bytes of any file.


def flip(random, path):
    content = bytearray(path.read_bytes())
    for place in random.integers(len(content), size=random.integers(1, 20)):
        content[place] ^= 1 << random.integers(8)
    path.write_bytes(content)


def overwrite(random, path):
    content = bytearray(path.read_bytes())
    start = random.integers(len(content))
    length = int(random.integers(1, 200))
    content[start : start + length] = random.bytes(length)
    path.write_bytes(content)


def truncate(random, path):
    content = path.read_bytes()
    path.write_bytes(content[: random.integers(len(content))])


def cut_out(random, path):
    content = path.read_bytes()
    start, stop = sorted(random.integers(len(content), size=2))
    path.write_bytes(content[:start] + content[stop + 1 :])


def insert(random, path):
    content = path.read_bytes()
    start = random.integers(len(content))
    extra = random.bytes(int(random.integers(1, 200)))
    path.write_bytes(content[:start] + extra + content[start:])


def noise(random, path):
    path.write_bytes(random.bytes(int(random.integers(0, 2_000))))


# What lies where a file is expected.


def missing(random, path):
    path.unlink()


def folder(random, path):
    path.unlink()
    path.mkdir()


def link_to_itself(random, path):
    path.unlink()
    path.symlink_to(path)


def link_to_nowhere(random, path):
    path.unlink()
    path.symlink_to(path.parent / "absent")


def link_to_device(random, path):
    path.unlink()
    path.symlink_to("/dev/zero")


def pipe(random, path):
    path.unlink()
    os.mkfifo(path)


_BYTES = (flip, overwrite, truncate, cut_out, insert, noise)
_PLACES = (missing, folder, link_to_itself, link_to_nowhere, link_to_device, pipe)
OF_A_FILE: tuple[Mutation, ...] = (*_BYTES, *_PLACES)


# Models.


def _in_folder(mutation: Mutation) -> Mutation:
    """A mutation of one of a model's two files."""

    def of_model(random, path):
        mutation(random, path / str(random.choice([_DESCRIPTION, _ARRAYS])))

    of_model.__name__ = mutation.__name__
    return of_model


def _read(path: pathlib.Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with np.load(path / _ARRAYS) as file:
        return json.loads((path / _DESCRIPTION).read_text()), dict(file)


def _write(
    path: pathlib.Path, description: dict[str, Any], content: bytes, arrays: Any = ()
) -> None:
    """Writes a model whose checksum is right, with a true list of those arrays."""
    listed = description["arrays"]
    listed["sha256"] = hashlib.sha256(content).hexdigest()
    for name, array in dict(arrays).items():
        listed["shapes"][name] = list(np.shape(array))
        listed["dtypes"][name] = str(np.asarray(array).dtype)
    for name in set(listed["shapes"]) - set(dict(arrays)) if arrays else ():
        del listed["shapes"][name], listed["dtypes"][name]
    (path / _ARRAYS).write_bytes(content)
    (path / _DESCRIPTION).write_text(json.dumps(description))


def _entries(tree: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every entry of JSON."""
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
    found = []
    for key, value in pairs:
        found.append((tree, key))
        if isinstance(value, dict | list):
            found += _entries(value)
    return found


def _odd_value(random: np.random.Generator) -> Any:
    values = (None, True, -1, 0, 3, 10**30, 0.5, 1e308, float("nan"), float("-inf"))
    others = ("", "x", "../../etc/passwd", [], {}, [[[[]]]], [None], ["x"], {"a": {}})
    return (values + others)[random.integers(len(values) + len(others))]


def _in_description(change: Callable[[np.random.Generator, Any, Any], None]):
    """A mutation of one entry of model.json, of a random depth."""

    def mutation(random, path):
        description = json.loads((path / _DESCRIPTION).read_text())
        tree = description
        if random.random() < 0.7:  # into what load uses
            parts = ("arrays", "settings", "preset", "parts", "stages", "history")
            tree = description[str(random.choice(parts))] or description
        entries = _entries(tree)
        change(random, *entries[random.integers(len(entries))])
        (path / _DESCRIPTION).write_text(json.dumps(description))

    mutation.__name__ = change.__name__
    return mutation


def other_value(random, tree, key):
    tree[key] = _odd_value(random)


def without_entry(random, tree, key):
    del tree[key]


def added_entry(random, tree, key):
    if isinstance(tree, dict):
        tree[f"{key}_"] = _odd_value(random)
    else:
        tree.append(_odd_value(random))


def other_description(random, path):
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
    (path / _DESCRIPTION).write_text(str(random.choice(texts)))


def other_header(random, path):
    description, _ = _read(path)
    name = str(random.choice(["kind", "format"]))
    others = {
        "kind": ("VaDE", "GMVAE", "DEC", "SpectralNet", "IMSAT", "dict", "__class__"),
        "format": (0, 2, -1, 10**30, "1", None),
    }[name]
    description[name] = others[random.integers(len(others))]
    (path / _DESCRIPTION).write_text(json.dumps(description))


def other_setting(random, path):
    description, _ = _read(path)
    preset = description["preset"]
    changes = {
        "num_clusters": (1, 2, 4, 10**9, 10**19),
        "latent_dim": (1, 3, 10**12),
        "hidden_sizes": ([], [4], [5, 5], [10**12]),
        "classifier_hidden_sizes": ([], [9], None),
        "likelihood": ("gaussian", "learned_gaussian"),
    }
    name = str(random.choice(list(changes)))
    preset[name] = changes[name][random.integers(len(changes[name]))]
    (path / _DESCRIPTION).write_text(json.dumps(description))


def other_array(random, path):
    description, arrays = _read(path)
    name = str(random.choice(list(arrays)))
    array = arrays[name]
    changes = (
        lambda: array[..., None],
        lambda: array[:-1] if array.ndim else array[None],
        lambda: np.concatenate([array, array], axis=-1) if array.ndim else array[None],
        lambda: array.reshape(-1),
        lambda: array[:0] if array.ndim else array[None],
        lambda: array.astype(np.float64),
        lambda: array.astype(np.complex64),
        lambda: array.astype(">f4"),
        lambda: array.astype(str),
        lambda: array.astype(np.int8),
        lambda: array.astype(bool),
        lambda: np.full(array.shape, np.nan, np.float32),
        lambda: np.full(array.shape, np.inf, np.float32),
        lambda: np.full(array.shape, 3e38, np.float32),
        lambda: np.full(array.shape, -7, array.dtype),
        lambda: array.astype([("a", np.float32)]),
    )
    arrays[name] = changes[random.integers(len(changes))]()
    _write(path, description, _npz(arrays), arrays)


def without_array(random, path):
    description, arrays = _read(path)
    prefix = str(random.choice(list(arrays)))
    if random.random() < 0.5:
        prefix = prefix.rpartition("/")[0]
    kept = {name: a for name, a in arrays.items() if not name.startswith(prefix)}
    _write(path, description, _npz(kept), kept)


def added_array(random, path):
    description, arrays = _read(path)
    names = (
        "learned/fit",
        "learned/__class__",
        "learned/labels_/x",
        "model",
        "model/encoder",
        "model/encoder/hidden_0/kernel/x",
        "../../../etc/passwd",
        "/etc/passwd",
        "C:\\x",
        "",
        "a/" * 30_000,
        "a//b",
    )
    arrays[names[random.integers(len(names))]] = np.ones(3, np.float32)
    _write(path, description, _npz(arrays), arrays)


def pickled(random, path):
    """Objects where arrays are expected; unpickling them would be seen."""
    description, arrays = _read(path)
    name = str(random.choice(list(arrays)))
    arrays[name] = _objects()
    contents = (
        _npz(arrays),
        _npy(_objects()),
        pickle.dumps(_Payload()),
        _zip({f"{name}.npy": pickle.dumps(_Payload())}),
        _zip({f"{name}.npy": _header(_OBJECTS, pickle.dumps(_Payload()))}),
    )
    _write(path, description, contents[random.integers(len(contents))], arrays)


def bomb(random, path):
    """Small files that declare, or expand to, far more than they hold."""
    description, arrays = _read(path)
    name = f"{random.choice(list(arrays))}.npy"
    zeros = _npy(np.zeros(2**20, np.float32))
    contents = (
        _zip({name: zeros}, zipfile.ZIP_DEFLATED),
        _zip({name: _header(_HUGE)}),
        _zip({name: _header(_HUGE)}, zipfile.ZIP_DEFLATED),
        _declaring(_zip({name: zeros}, zipfile.ZIP_DEFLATED), 2**32 - 2),
        _declaring(_zip({name: zeros}, zipfile.ZIP_DEFLATED), 10),
        _zip({name: zeros}, zipfile.ZIP_LZMA),
    )
    _write(path, description, contents[random.integers(len(contents))])


def _declaring(content: bytes, size: int) -> bytes:
    """A zip file whose directory lies about the size of its first member."""
    place = content.index(b"PK\x01\x02") + 24
    return content[:place] + struct.pack("<I", size) + content[place + 4 :]


def odd_header(random, path):
    description, arrays = _read(path)
    members = {f"{name}.npy": _npy(array) for name, array in arrays.items()}
    name = str(random.choice(list(members)))
    header = _ODD_HEADERS[random.integers(len(_ODD_HEADERS))]
    version = (b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00")[random.integers(4)]
    members[name] = _header(header, random.bytes(16), version)
    _write(path, description, _zip(members))


def damaged_arrays(random, path):
    """Damaged bytes behind a right checksum."""
    description, _ = _read(path)
    _BYTES[random.integers(len(_BYTES))](random, path / _ARRAYS)
    _write(path, description, (path / _ARRAYS).read_bytes())


def no_folder(random, path):
    shutil.rmtree(path)
    if random.random() < 0.5:
        path.write_bytes(b"x")


OF_A_MODEL: tuple[Mutation, ...] = (
    *map(_in_folder, OF_A_FILE),
    *map(_in_description, (other_value, without_entry, added_entry)),
    other_description,
    other_header,
    other_setting,
    other_array,
    without_array,
    added_array,
    pickled,
    bomb,
    odd_header,
    damaged_arrays,
    no_folder,
)


# Matrices and idx files.


def other_npy(random, path):
    arrays = (
        _objects(),
        np.ones((2, 2), np.complex64),
        np.array([["a", "b"]]),
        np.zeros((2, 2), [("a", np.float32)]),
        np.zeros((2, 2), "m8[s]"),
        np.zeros((0, 3)),
        np.zeros((3, 0)),
        np.float32(1.0),
        np.full((2, 2), 1e300),
    )
    array = arrays[random.integers(len(arrays))]
    if path.suffix == ".npy":
        path.write_bytes(_npy(array))
    else:
        path.write_bytes(_npz({str(random.choice(["x", "y"])): array}))


def other_numpy_header(random, path):
    header = _ODD_HEADERS[random.integers(len(_ODD_HEADERS))]
    version = (b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00")[random.integers(4)]
    content = _header(header, pickle.dumps(_Payload()), version)
    if path.suffix == ".npz":
        content = _zip({"x.npy": content})
    path.write_bytes(content)


def other_container(random, path):
    contents = (
        pickle.dumps(_Payload()),
        _zip({}),
        _zip({"x": pickle.dumps(_Payload())}),
        _zip({"../x.npy": _npy(np.ones((2, 2)))}),
        _npz({"a": np.ones((2, 2)), "b": np.ones((2, 2))}),
        _npz({"x": np.ones((2, 2)), "y": _objects()}),
    )
    path.write_bytes(contents[random.integers(len(contents))])


def expanding(random, path):
    zeros = _zip({"x.npy": _npy(np.zeros((2**10, 2**10)))}, zipfile.ZIP_DEFLATED)
    contents = (
        _declaring(zeros, 2**32 - 2),
        _declaring(zeros, 10),
        _zip({f"{i}.npy": _npy(np.zeros(2**20)) for i in range(10)}, zipfile.ZIP_LZMA),
    )
    path.write_bytes(contents[random.integers(len(contents))])


def other_table(random, path):
    delimiter = "," if path.suffix == ".csv" else "\t"
    cells = (
        "1",
        "-2.5",
        "nan",
        "inf",
        "1e999",
        "x",
        "",
        '"',
        '"1"',
        "=1+1",
        "\0",
        "\r",
    )
    cells += ("9" * 5_000, "1_000", "\ufeff", "\ud800", "٣", "0x10", "1" * 200_000)
    rows = [
        delimiter.join(random.choice(cells, size=random.integers(1, 5)))
        for _ in range(random.integers(1, 6))
    ]
    path.write_bytes("\n".join(rows).encode("utf-8", "surrogatepass"))


def uneven_table(random, path):
    """One wide row and many short ones, as a rectangle too large to hold."""
    rows = [",".join(["1"] * 30_000), *["1"] * 30_000]
    path.write_text("\n".join(rows[:: random.choice([-1, 1])]))


OF_NUMPY = (*OF_A_FILE, other_npy, other_numpy_header, other_container, expanding)
OF_A_TABLE = (*OF_A_FILE, other_table, uneven_table)


def other_dimensions(random, path):
    dimensions = random.choice([0, 1, 7, 28, 2**31, 2**32 - 1], size=3)
    count = int(random.choice([0, 1, 3, 255]))
    header = bytes([0, 0, int(random.choice([8, 9, 13])), count])
    path.write_bytes(header + struct.pack(">3I", *dimensions.tolist()))


@functools.cache
def _many_zeros() -> bytes:
    return gzip.compress(bytes([0, 0, 8, 3]) + bytes(2**27))


def expanding_gzip(random, path):
    zeros = _many_zeros()
    path.write_bytes(zeros[: random.choice([None, len(zeros) // 2])])


def damaged_gzip(random, path):
    _BYTES[random.integers(len(_BYTES))](random, path)
    path.write_bytes(gzip.compress(path.read_bytes()))


OF_IDX = (*OF_A_FILE, other_dimensions, expanding_gzip, damaged_gzip)
