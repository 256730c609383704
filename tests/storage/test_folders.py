"""Files that are whole, whatever happens."""

import pytest

from dgg_jax.storage import folders


def test_write_atomically_replaces_a_file(tmp_path):
    path = tmp_path / "result.json"
    folders.write_atomically(path, "one")
    folders.write_atomically(path, "two")
    assert path.read_text() == "two"
    folders.write_atomically(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomically_keeps_the_old_content_in_a_crash(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    folders.write_atomically(path, "old")

    def crash(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(folders.os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        folders.write_atomically(path, "new")
    assert path.read_text() == "old"
