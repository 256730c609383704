import contextlib
import errno
import gzip
import hashlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from dgg_jax import data
from dgg_jax.checks import InvalidInput, MissingData
from dgg_jax.data import builders, fetching, image_sets, sources
from dgg_jax.storage import folders

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def short_records(monkeypatch):
    """Several records a split, the last one shorter."""
    monkeypatch.setattr(builders, "_ROWS_PER_RECORD", 2)
    monkeypatch.setattr(builders, "_RECORDS_AT_ONCE", 3)


NAMES = [names[0] for names in image_sets.MNIST.layouts[0].files]


def served_at(url, contents=None):
    """MNIST whose downloads lie there, and are known to have these contents."""
    digests = {
        name: hashlib.sha256(content).hexdigest()
        for name, content in (contents or {}).items()
    }
    names = [f"{name}.gz" for name in NAMES]
    downloads = tuple((f"{url}{name}", digests.get(name, "unknown")) for name in names)
    return image_sets.MNIST._replace(downloads=downloads)


@pytest.fixture
def local_mnist(served, tiny, monkeypatch):
    folder, url, stop = served
    tiny.write(folder)
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(image_sets, "MNIST", served_at(url, contents))
    return folder, stop


def load(data_dir):
    return data.load("mnist", data_dir=data_dir)


def left_in(folder):
    """Names of the files in a folder and below, but locks."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.name for path in files} - {folders.LOCK}


def test_download_prepare_read_and_read_again(tmp_path, tiny, local_mnist, capfd):
    served_folder, stop = local_mnist
    data_dir = tmp_path / "data"
    first = load(data_dir)
    raw = data.load("mnist", data_dir=served_folder)
    np.testing.assert_array_equal(first.x, raw.x)
    np.testing.assert_array_equal(first.y, tiny.labels)
    folder = image_sets.MNIST.prepared(data_dir)
    assert capfd.readouterr() == (
        "",
        f"Downloading MNIST (11 MiB) to {folder} ...\n"
        "MNIST is downloaded and prepared.\n",
    )

    stop()
    assert left_in(data_dir / "downloads") == set()
    shutil.rmtree(data_dir / "downloads")
    again = load(data_dir)
    np.testing.assert_array_equal(again.x, raw.x)
    np.testing.assert_array_equal(again.y, raw.y)
    np.testing.assert_array_equal(again.is_test, raw.is_test)
    assert capfd.readouterr() == ("", "")
    assert f"from tensorflow-datasets, {folder}, NOT the" in again.provenance
    assert "10 rows" in again.provenance


def test_a_data_dir_may_have_any_name(tmp_path, tiny, local_mnist):
    data_dir = tmp_path / "[1]*?%s'\"\n\\\u00fc {a}"
    for _ in range(2):  # downloaded, and prepared
        np.testing.assert_array_equal(load(data_dir).y, tiny.labels)


def test_prepared_data_win_over_files(tmp_path, tiny, local_mnist):
    load(tmp_path)
    tiny.contents[NAMES[1]] = tiny.contents[NAMES[1]][:8] + bytes(7)
    tiny.write(tmp_path)
    np.testing.assert_array_equal(load(tmp_path).y, tiny.labels)
    shutil.rmtree(tmp_path / "dgg_mnist")
    np.testing.assert_array_equal(load(tmp_path).y[:7], 0)
    assert f"files in {tmp_path}" in load(tmp_path).provenance


def test_records_are_stored_shuffled_so_the_index_matters(tmp_path, tiny, local_mnist):
    load(tmp_path)
    source = builders.builder(image_sets.MNIST, tmp_path).as_data_source("train")
    indices = [int(record["index"]) for record in source]
    assert sorted(indices) == [0, 2, 4, 6]
    assert indices != [0, 2, 4, 6]
    for index, record in zip(indices, source, strict=True):
        rows = slice(index, min(index + 2, 7))
        np.testing.assert_array_equal(record["x"], tiny.images[rows])
        np.testing.assert_array_equal(record["label"], tiny.labels[rows])


def test_wrong_checksum(tmp_path, local_mnist):
    served_folder, _ = local_mnist
    path = served_folder / "t10k-images-idx3-ubyte.gz"
    original = path.read_bytes()
    path.write_bytes(gzip.compress(b"something else"))
    with pytest.raises(MissingData) as caught:
        data.load("mnist", data_dir=tmp_path / "data")
    message = str(caught.value)
    assert "InvalidInput: http://127.0.0.1" in message
    assert "t10k-images-idx3-ubyte.gz has a wrong checksum: SHA-256" in message
    expected = dict(image_sets.MNIST.downloads)
    (expected,) = (v for k, v in expected.items() if path.name in k)
    got = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f"expected {expected}, got {got}" in message
    assert "--data_dir=FOLDER" in message
    assert "\n" not in message
    # Nothing half-done is left that a later run would take for prepared data.
    assert not list((tmp_path / "data").glob("dgg_mnist/*"))
    path.write_bytes(original)
    assert len(load(tmp_path / "data").y) == 10


def test_a_failed_download_can_be_repeated(tmp_path, tiny, local_mnist, handler):
    handler.listed_only = ("t10k-labels-idx1-ubyte.gz",)
    with pytest.raises(MissingData, match="HTTPError: 404"):
        load(tmp_path)
    handler.listed_only = ()
    np.testing.assert_array_equal(load(tmp_path).y, tiny.labels)


def test_every_file_is_asked_for_before_the_first_is_downloaded(tmp_path, local_mnist):
    served_folder, _ = local_mnist
    (served_folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(
        MissingData,
        match=r"t10k-labels-idx1-ubyte\.gz cannot be reached: HTTP status 404",
    ):
        load(tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_server_that_refuses_head_is_asked_nevertheless(
    tmp_path, tiny, local_mnist, handler
):
    handler.do_HEAD = lambda self: self.send_error(501)
    np.testing.assert_array_equal(load(tmp_path).y, tiny.labels)


def test_a_connection_that_ends_early(tmp_path, tiny, local_mnist, handler):
    handler.cut = True
    with pytest.raises(MissingData, match="download or preparation failed: Chunked"):
        load(tmp_path)
    handler.cut = False
    np.testing.assert_array_equal(load(tmp_path).y, tiny.labels)
    assert left_in(tmp_path / "downloads") == set()


def test_a_server_that_falls_silent(tmp_path, tiny, local_mnist, handler, monkeypatch):
    monkeypatch.setattr(builders, "_SILENCE_SECONDS", 0.2)
    handler.pause = 2.0
    with pytest.raises(MissingData, match=r"preparation failed: .*Read timed out"):
        load(tmp_path)
    handler.pause = 0.0
    np.testing.assert_array_equal(load(tmp_path).y, tiny.labels)


def test_a_server_that_sends_drop_by_drop(
    tmp_path, tiny, local_mnist, handler, monkeypatch
):
    """Each drop is in time, but never the last one."""
    monkeypatch.setattr(builders, "_LEAST_SECONDS", 0.5)
    monkeypatch.setattr(builders, "_LEAST_BYTES_PER_SECOND", 2**40)
    monkeypatch.setattr(builders, "_SILENCE_SECONDS", 5.0)
    get = handler.do_GET

    def do_get(self):
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(200):
                self.wfile.write(b"x")
                time.sleep(0.05)

    start = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(handler, "do_GET", do_get)
        with pytest.raises(
            MissingData, match=r"failed: TimeoutError: .*within 0\.[45]\d* s"
        ):
            load(tmp_path)
    assert time.monotonic() - start < 5.0
    assert handler.do_GET is get
    np.testing.assert_array_equal(load(tmp_path).y, tiny.labels)


@pytest.mark.parametrize("is_told", [False, True])
def test_a_server_that_sends_without_end(
    tmp_path, tiny, local_mnist, handler, monkeypatch, is_told
):
    sent = []

    def do_get(self):
        self.send_response(200)
        if is_told:
            self.send_header("Content-Length", str(2**40))
        self.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(1000):
                self.wfile.write(bytes(2**20))
                sent.append(2**20)

    with monkeypatch.context() as patch:
        patch.setattr(handler, "do_GET", do_get)
        with pytest.raises(MissingData, match=r"bytes or more, at most 23,068,672"):
            load(tmp_path)
    assert sum(sent) < 2**26  # what networks hold on to, too
    (partial,) = (tmp_path / "downloads").rglob("*.partial")
    assert partial.stat().st_size <= 23_068_672
    np.testing.assert_array_equal(load(tmp_path).y, tiny.labels)


def test_a_link_in_place_of_a_partial_download_leads_nowhere(
    tmp_path, tiny, local_mnist
):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    downloads = tmp_path / "data" / "downloads" / "dgg_mnist"
    downloads.mkdir(parents=True)
    (downloads / f"{NAMES[0]}.gz.partial").symlink_to(victim)
    np.testing.assert_array_equal(load(tmp_path / "data").y, tiny.labels)
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("method", ["do_HEAD", "do_GET"])
def test_an_interrupt_ends_a_download_at_once(
    tmp_path, local_mnist, handler, monkeypatch, method
):
    """Where a server has taken the connection, and says nothing."""
    asked = threading.Event()
    ended = threading.Event()

    def silent(self):
        asked.set()
        ended.wait(30)

    monkeypatch.setattr(handler, method, silent)
    process = start_loading(tmp_path)
    try:
        assert asked.wait(60)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
        seconds = time.monotonic() - start
    finally:
        ended.set()
        process.kill()
    assert process.returncode == -signal.SIGINT, stderr
    assert seconds < 1.5


def test_nothing_is_replaced_while_it_downloads(
    tmp_path, local_mnist, handler, monkeypatch
):
    session, seen = builders.requests.Session, []
    get = handler.do_GET

    def do_get(self):  # in a thread of this process
        seen.append(builders.requests.Session)
        get(self)

    monkeypatch.setattr(handler, "do_GET", do_get)
    load(tmp_path)
    assert seen == [session] * 4


def test_a_server_that_fails_for_a_moment_is_asked_again(
    tmp_path, tiny, local_mnist, handler, monkeypatch
):
    get, asked = handler.do_GET, []

    def do_get(self):
        asked.append(self.path)
        if len(asked) == 1:
            self.send_error(503)
        else:
            get(self)

    monkeypatch.setattr(handler, "do_GET", do_get)
    np.testing.assert_array_equal(load(tmp_path).y, tiny.labels)
    assert len(asked) == 5


@pytest.mark.parametrize("terminal", [False, True])
def test_a_terminal_shows_bars_of_downloads(
    tmp_path, local_mnist, capfd, monkeypatch, terminal
):
    monkeypatch.setattr(builders, "draws_bars", lambda: terminal)
    load(tmp_path)
    assert ("  train-images-idx3-ubyte.gz: " in capfd.readouterr().err) == terminal


@pytest.fixture
def more_images(tiny, as_idx, local_mnist, monkeypatch):
    """Serves 400 kB of training images that do not compress."""
    served_folder, _ = local_mnist
    pixels = np.random.default_rng(0).integers(0, 256, (500, 28, 28), dtype=np.uint8)
    tiny.contents[NAMES[0]] = as_idx(pixels)
    tiny.contents[NAMES[1]] = as_idx(np.arange(500).astype(np.uint8) % 10)
    tiny.write(served_folder)
    contents = {path.name: path.read_bytes() for path in served_folder.iterdir()}
    url = image_sets.MNIST.downloads[0][0].rpartition("/")[0] + "/"
    monkeypatch.setattr(image_sets, "MNIST", served_at(url, contents))
    return pixels


LOADING = """
import signal
import sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's "&" ignores it
from dgg_jax import data
from dgg_jax.data import builders, image_sets

digests = dict(pair.split("=") for pair in sys.argv[3:])
downloads = tuple((sys.argv[1] + name, digests[name]) for name in digests)
image_sets.MNIST = image_sets.MNIST._replace(downloads=downloads)
builders._ROWS_PER_RECORD = 2
data.load("mnist", data_dir=sys.argv[2])
"""


def start_loading(data_dir, *, stop_when=""):
    """Another process that loads MNIST, and may stop itself where it prepares it."""
    downloads = image_sets.MNIST.downloads
    url = downloads[0][0].rpartition("/")[0] + "/"
    pairs = [f"{url_of.rpartition('/')[2]}={digest}" for url_of, digest in downloads]
    return subprocess.Popen(
        [sys.executable, "-c", stop_when + LOADING, url, str(data_dir), *pairs],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "nothing happened for a minute"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_download_that_was_stopped_can_be_repeated(
    tmp_path, more_images, handler, number
):
    handler.pause = 0.02  # eight seconds
    downloads = tmp_path / "downloads" / "dgg_mnist"
    process = start_loading(tmp_path)

    def half_written():
        sizes = [path.stat().st_size for path in downloads.glob("train-images*")]
        return sizes and sizes[0] > 0

    wait_for(half_written)
    process.send_signal(number)
    _, stderr = process.communicate()
    assert process.returncode == -number, stderr
    # It did not download the rest before it ended.
    (part,) = downloads.glob("train-images*")
    assert part.suffix == ".partial"
    assert part.stat().st_size < more_images.nbytes / 2
    handler.pause = 0.0
    x = load(tmp_path).x[:500]
    np.testing.assert_array_equal(x, more_images.reshape(500, 784) / np.float32(255))
    assert left_in(tmp_path / "downloads") == set()
    assert [path.name for path in (tmp_path / "dgg_mnist").iterdir()] == ["1.0.0"]


# Kills its own process where the second split is written.
KILLED_IN_PREPARATION = """
import os, signal
from dgg_jax.data import idx, image_sets, sources

def read(paths):
    splits = idx.read_mnist(paths)

    class Deadly(type(splits["test"].labels)):
        def __getitem__(self, key):
            os.kill(os.getpid(), signal.SIGKILL)

    splits["test"] = splits["test"]._replace(labels=splits["test"].labels.view(Deadly))
    return splits

layout = image_sets.MNIST.layouts[0]._replace(read=read)
image_sets.MNIST = image_sets.MNIST._replace(layouts=(layout,))
"""


@pytest.mark.slow
def test_a_preparation_that_was_killed_can_be_repeated(
    tmp_path, tiny, local_mnist, handler
):
    process = start_loading(tmp_path, stop_when=KILLED_IN_PREPARATION)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, stderr
    (folder,) = (tmp_path / "dgg_mnist").iterdir()
    assert folder.name.startswith("incomplete.")
    assert any("train.array_record" in name for name in left_in(folder))
    # Complete downloads serve the second time.
    handler.listed_only = tuple(f"{name}.gz" for name in NAMES)
    np.testing.assert_array_equal(load(tmp_path).y, tiny.labels)
    assert [path.name for path in (tmp_path / "dgg_mnist").iterdir()] == ["1.0.0"]
    assert left_in(tmp_path / "downloads") == set()


@pytest.mark.slow
def test_of_two_processes_one_downloads(tmp_path, local_mnist, handler):
    handler.pause = 0.5
    processes = [start_loading(tmp_path) for _ in range(2)]
    said = sorted(process.communicate(timeout=60)[1] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert said[0].startswith("Downloading MNIST")
    assert "Waiting for another process that downloads to" in said[1]
    assert "Downloading" not in said[1]


def test_what_is_left_of_another_file_is_forgotten(tmp_path, tiny, local_mnist):
    served_folder, _ = local_mnist
    path = served_folder / f"{NAMES[0]}.gz"
    original = path.read_bytes()
    path.write_bytes(gzip.compress(b"something else"))
    with pytest.raises(MissingData, match="wrong checksum"):
        load(tmp_path)
    (wrong,) = (tmp_path / "downloads").rglob("train-images*")
    assert wrong.read_bytes() == path.read_bytes()
    # As if the disk had damaged it, later on.
    wrong.replace(wrong.with_suffix(""))
    path.write_bytes(original)
    np.testing.assert_array_equal(load(tmp_path).y, tiny.labels)


def assert_cannot_be_written(data_dir, problem):
    with pytest.raises(InvalidInput) as caught:
        load(data_dir)
    message = str(caught.value)
    assert not isinstance(caught.value, MissingData)
    assert message == (
        f"data_dir={str(data_dir)!r} cannot be written: {problem}; free space or make "
        "it writable, or name another folder with --data_dir=FOLDER."
    )


def test_a_folder_that_cannot_be_made(tmp_path, local_mnist, monkeypatch):
    def refuse(folder):
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    # Not by chmod, which does not stop root.
    monkeypatch.setattr(folders, "lock", refuse)
    assert_cannot_be_written(tmp_path / "data", "Permission denied")


def test_a_file_in_the_way(tmp_path, local_mnist):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "downloads").write_bytes(b"")
    assert_cannot_be_written(tmp_path / "data", "Not a directory")


def test_a_full_disk(tmp_path, more_images):
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(kilobytes, *options):
        options = ",".join([f"size={kilobytes}k", *options])
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
        return subprocess.run(command, capture_output=True).returncode

    if mount(200):
        pytest.skip("mounting a disk needs privileges")
    try:
        assert_cannot_be_written(disk, "No space left on device")  # in the download
        assert mount(700, "remount") == 0
        assert_cannot_be_written(disk, "No space left on device")  # in the preparation
        assert mount(4000, "remount") == 0
        assert len(load(disk).y) == 503
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_texts_are_kept_as_bytes(tmp_path, served, monkeypatch):
    folder, url, _ = served
    (folder / "texts").write_bytes(b"one\n\xc3\xa9\n\nfour")

    def read(paths):
        texts = paths[0].read_bytes().split(b"\n")
        return {"train": sources.Rows(np.array(texts, object), np.arange(len(texts)))}

    source = image_sets.MNIST._replace(
        name="texts",
        layouts=(sources.Layout((("texts",),), read),),
        downloads=((f"{url}texts", sources.sha256_of(folder / "texts")),),
        shape=(),
        dtype=object,
        splits=("train",),
    )
    splits, _ = fetching.fetch(source, tmp_path / "data")
    assert splits["train"].features.tolist() == [
        b"one",
        "\u00e9".encode(),
        b"",
        b"four",
    ]
    assert splits["train"].labels.tolist() == [0, 1, 2, 3]


def assert_says_what_to_do(message, data_dir):
    assert f"MNIST is not in {data_dir}, and " in message
    assert f"Looked in {data_dir / 'mnist'} and {data_dir} for " in message
    for name in NAMES:
        assert name in message
    assert str(data_dir / "dgg_mnist" / "1.0.0") in message
    assert "https://ossci-datasets.s3.amazonaws.com/mnist/" in message
    assert "--data_dir=FOLDER" in message
    assert "\n" not in message


def offline_message(data_dir):
    start = time.monotonic()
    with pytest.raises(MissingData) as caught:
        data.load("mnist", data_dir=data_dir)
    assert time.monotonic() - start < 10
    # Nothing was created on the way.
    assert not data_dir.exists()
    assert_says_what_to_do(str(caught.value), data_dir)
    return str(caught.value)


def test_unresolvable_host(tmp_path, monkeypatch):
    monkeypatch.setattr(image_sets, "MNIST", served_at("http://nothing.invalid/"))
    message = offline_message(tmp_path / "data")
    assert "http://nothing.invalid/train-images-idx3-ubyte.gz cannot be" in message


def test_refused_connection(tmp_path, served, monkeypatch):
    _, url, stop = served
    stop()
    monkeypatch.setattr(image_sets, "MNIST", served_at(url))
    assert "cannot be reached: ConnectionError" in offline_message(tmp_path / "data")


def test_http_error(tmp_path, served, monkeypatch):
    _, url, _ = served
    monkeypatch.setattr(image_sets, "MNIST", served_at(url))
    assert "cannot be reached: HTTP status 404" in offline_message(tmp_path / "data")


def test_host_that_accepts_but_never_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(builders, "_PROBE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        monkeypatch.setattr(image_sets, "MNIST", served_at(url))
        offline_message(tmp_path / "data")


def test_name_server_that_never_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(builders, "_PROBE_SECONDS", 0.2)
    released = threading.Event()

    def silent(*args, **kwargs):
        released.wait(30)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    monkeypatch.setattr(image_sets, "MNIST", served_at("http://host.invalid/"))
    message = offline_message(tmp_path / "data")
    released.set()
    assert "no answer within 0.2 s" in message


def remove_info(folder):
    (folder / "dataset_info.json").unlink()


def damage_info(folder):
    (folder / "dataset_info.json").write_text('{"name')


def cut_records(folder):
    (path,) = folder.glob("*test.array_record*")
    path.write_bytes(path.read_bytes()[:-1000])


def empty_records(folder):
    (path,) = folder.glob("*train.array_record*")
    path.write_bytes(b"")


def remove_records(folder):
    (path,) = folder.glob("*test.array_record*")
    path.unlink()


def flip_records(folder):
    (path,) = folder.glob("*train.array_record*")
    content = bytearray(path.read_bytes())
    content[1000:1010] = bytes(255 - value for value in content[1000:1010])
    path.write_bytes(content)


def empty_folder(folder):
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (remove_info, "dataset_info.json is missing"),
        (empty_folder, "dataset_info.json is missing"),
        (damage_info, "ParseError"),
        (cut_records, "RuntimeError"),
        (empty_records, "RuntimeError"),
        (remove_records, "RuntimeError"),
        (flip_records, "RuntimeError"),
    ],
)
def test_damaged_prepared_data(tmp_path, local_mnist, damage, reason):
    load(tmp_path)
    folder = tmp_path / "dgg_mnist" / "1.0.0"
    damage(folder)
    with pytest.raises(InvalidInput) as caught:
        data.load("mnist", data_dir=tmp_path)
    message = str(caught.value)
    assert not isinstance(caught.value, MissingData)
    assert f"the prepared MNIST in {folder} must be complete" in message
    assert reason in message
    assert "Delete that folder" in message
    assert "\n" not in message
    # The remedy works.
    shutil.rmtree(folder)
    assert len(load(tmp_path).y) == 10


def test_repeated_index_is_damage(tmp_path, local_mnist, monkeypatch):
    load(tmp_path)
    builder = builders.builder

    class Repeating:
        def __init__(self, source):
            self.source = source

        def __len__(self):
            return len(self.source)

        def __getitems__(self, keys):
            return self.source.__getitems__([0 for _ in keys])

    def repeating(source, data_dir):
        made = builder(source, data_dir)
        original = made.as_data_source
        made.as_data_source = lambda split: Repeating(original(split))
        return made

    monkeypatch.setattr(builders, "builder", repeating)
    with pytest.raises(InvalidInput, match="3 records of train are missing"):
        load(tmp_path)


def test_checksums_are_those_of_the_original_files(real_mnist):
    assert len(image_sets.MNIST.downloads) == 4
    for url, sha256 in image_sets.MNIST.downloads:
        assert url.startswith("https://")
        content = (real_mnist / url.rsplit("/", 1)[1]).read_bytes()
        assert sha256 == hashlib.sha256(content).hexdigest()


def test_what_cannot_be_downloaded_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(image_sets, "MNIST", image_sets.MNIST._replace(downloads=()))
    with pytest.raises(
        MissingData, match="cannot be downloaded by a program"
    ) as caught:
        load(tmp_path)
    assert_says_what_to_do(str(caught.value), tmp_path)


@pytest.mark.slow
def test_original_files_through_the_builder(tmp_path, real_mnist, served, monkeypatch):
    monkeypatch.undo()  # records as long as they are
    folder, url, _ = served
    contents = {}
    for path in real_mnist.glob("*.gz"):
        contents[path.name] = path.read_bytes()
        (folder / path.name).write_bytes(contents[path.name])
    monkeypatch.setattr(image_sets, "MNIST", served_at(url, contents))
    prepared = data.load("mnist", data_dir=tmp_path / "data")
    raw = data.load("mnist", data_dir=real_mnist)
    np.testing.assert_array_equal(prepared.x, raw.x)
    np.testing.assert_array_equal(prepared.y, raw.y)
    assert "the original data by SHA-256" in prepared.provenance
    assert "from original files in" in raw.provenance
