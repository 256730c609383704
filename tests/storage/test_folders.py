"""Files that are whole, whatever happens."""

import os
import pathlib
import signal
import stat
import subprocess
import sys
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    assert list(tmp_path.iterdir()) == [path]


@given(
    names=st.lists(st.binary(min_size=1, max_size=255), min_size=1, max_size=3),
    contents=st.lists(st.text() | st.binary(), min_size=1, max_size=3),
)
@settings(max_examples=50, deadline=None)
def test_a_file_may_have_any_name_and_content(names, contents):
    with tempfile.TemporaryDirectory() as folder:
        written = {}
        for name in names:
            name = os.fsdecode(name.replace(b"/", b"_").replace(b"\0", b"_"))
            if name in (".", ".."):
                continue
            for content in contents:
                folders.write_atomically(pathlib.Path(folder, name), content)
                written[name] = content
        assert sorted(os.listdir(folder)) == sorted(written)
        for name, content in written.items():
            expected = content.encode() if isinstance(content, str) else content
            assert pathlib.Path(folder, name).read_bytes() == expected


def test_a_new_file_is_as_others_of_this_user(tmp_path):
    (tmp_path / "usual").touch()
    folders.write_atomically(tmp_path / "file", "x")
    with folders.partial(tmp_path / "folder", is_folder=True) as made:
        made.rename(tmp_path / "folder")
    (tmp_path / "folder.usual").mkdir()
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    assert modes["file"] == modes["usual"]
    assert modes["folder"] == modes["folder.usual"]


def test_a_link_leads_nobody_elsewhere(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    run = tmp_path / "run"
    run.mkdir()
    (run / folders.LOCK).symlink_to(victim)
    with pytest.raises(OSError, match="symbolic link"):
        folders.lock(run)
    # Also where the name of a partial file was foretold.
    monkeypatch.setattr(folders.secrets, "token_hex", lambda size: "00")
    (run / ".dgg-00.partial").symlink_to(victim)
    with pytest.raises(FileExistsError):
        folders.write_atomically(run / "config.json", "{}")
    (run / "result.json").symlink_to(victim)
    monkeypatch.undo()
    folders.write_atomically(run / "result.json", "{}")
    assert victim.read_text() == "precious"
    assert (run / "result.json").read_text() == "{}"


HOLDER = """
import pathlib, sys, time
from dgg_jax.storage import folders

path, is_folder = pathlib.Path(sys.argv[1]), sys.argv[2] == "folder"
with folders.partial(path, is_folder=is_folder) as made:
    (made / "file" if is_folder else made).write_text("half of it")
    print(made, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_process_leaves_goes_with_the_next_write(tmp_path, kind):
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "it"), kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        made = pathlib.Path(process.stdout.readline().rstrip("\n"))
        folders.write_atomically(tmp_path / "other", "x")
        assert made.exists()  # that process may still finish it
        assert folders.is_unused(tmp_path) is False
        process.send_signal(signal.SIGKILL)
        process.wait()
    folders.write_atomically(tmp_path / "other", "y")
    assert os.listdir(tmp_path) == ["other"]


def test_what_is_not_ours_stays(tmp_path):
    names = [".other.partial", "x.partial", ".dgg-x"]
    for name in names:
        (tmp_path / name).touch()
    folders.write_atomically(tmp_path / "it", "x")
    assert sorted(os.listdir(tmp_path)) == sorted([*names, "it"])


def test_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / ".dgg-0.partial")
    folders.write_atomically(tmp_path / "it", "x")
    assert os.listdir(tmp_path) == ["it"]
