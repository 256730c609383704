import functools
import gzip
import hashlib
import http.server
import shutil
import socket
import threading
import time

import numpy as np
import pytest

from dgg_jax import data
from dgg_jax.checks import InvalidInput, MissingData
from dgg_jax.data import builders, images


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def served(tmp_path):
    """Serves a folder on this machine; yields the folder, its URL and a stop."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(QuietHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()

    def stop():
        server.shutdown()
        server.server_close()
        thread.join()

    yield folder, f"http://127.0.0.1:{server.server_address[1]}/", stop
    if thread.is_alive():
        stop()


NAMES = [names[0] for names in images.MNIST.layouts[0].files]


def served_at(url, contents=None):
    """MNIST whose downloads lie there, and are known to have these contents."""
    digests = {
        name: hashlib.sha256(content).hexdigest()
        for name, content in (contents or {}).items()
    }
    names = [f"{name}.gz" for name in NAMES]
    downloads = tuple((f"{url}{name}", digests.get(name, "unknown")) for name in names)
    return images.MNIST._replace(downloads=downloads)


@pytest.fixture
def local_mnist(served, tiny, monkeypatch):
    folder, url, stop = served
    tiny.write(folder)
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(images, "MNIST", served_at(url, contents))
    return folder, stop


def load(data_dir):
    return data.load("mnist", data_dir=data_dir)


def test_download_prepare_read_and_read_again(tmp_path, tiny, local_mnist, capfd):
    served_folder, stop = local_mnist
    data_dir = tmp_path / "data"
    first = load(data_dir)
    raw = data.load("mnist", data_dir=served_folder)
    np.testing.assert_array_equal(first.x, raw.x)
    np.testing.assert_array_equal(first.y, tiny.labels)
    assert capfd.readouterr() == ("", "")

    stop()
    shutil.rmtree(data_dir / "downloads")
    again = load(data_dir)
    np.testing.assert_array_equal(again.x, raw.x)
    np.testing.assert_array_equal(again.y, raw.y)
    np.testing.assert_array_equal(again.is_test, raw.is_test)
    assert capfd.readouterr() == ("", "")
    folder = images.MNIST.prepared(data_dir)
    assert f"from tensorflow-datasets, {folder}, NOT the" in again.provenance
    assert "10 rows" in again.provenance


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
    source = builders.builder(images.MNIST, tmp_path).as_data_source("train")
    indices = [int(record["index"]) for record in source]
    assert sorted(indices) == list(range(7))
    assert indices != list(range(7))
    for index, record in zip(indices, source, strict=True):
        np.testing.assert_array_equal(record["x"], tiny.images[index])
        assert record["label"] == tiny.labels[index]


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
    expected = dict(images.MNIST.downloads)
    (expected,) = (v for k, v in expected.items() if path.name in k)
    got = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f"expected {expected}, got {got}" in message
    assert "--data_dir=FOLDER" in message
    assert "\n" not in message
    # Nothing half-done is left that a later run would take for prepared data.
    assert not list((tmp_path / "data").glob("dgg_mnist/*"))
    path.write_bytes(original)
    assert len(load(tmp_path / "data").y) == 10


def test_a_failed_download_can_be_repeated(tmp_path, tiny, local_mnist):
    served_folder, _ = local_mnist
    path = served_folder / "t10k-labels-idx1-ubyte.gz"
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(MissingData, match=r"DownloadError: .*404"):
        load(tmp_path)
    path.write_bytes(content)
    np.testing.assert_array_equal(load(tmp_path).y, tiny.labels)


def assert_says_what_to_do(message, data_dir):
    assert f"MNIST is not in {data_dir}, and " in message
    assert f"Looked in {data_dir} and {data_dir / 'mnist'} for " in message
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
    monkeypatch.setattr(images, "MNIST", served_at("http://nothing.invalid/"))
    message = offline_message(tmp_path / "data")
    assert "http://nothing.invalid/train-images-idx3-ubyte.gz cannot be" in message


def test_refused_connection(tmp_path, served, monkeypatch):
    _, url, stop = served
    stop()
    monkeypatch.setattr(images, "MNIST", served_at(url))
    assert "cannot be reached: ConnectionError" in offline_message(tmp_path / "data")


def test_http_error(tmp_path, served, monkeypatch):
    _, url, _ = served
    monkeypatch.setattr(images, "MNIST", served_at(url))
    assert "cannot be reached: HTTP status 404" in offline_message(tmp_path / "data")


def test_host_that_accepts_but_never_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(builders, "_PROBE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        monkeypatch.setattr(images, "MNIST", served_at(url))
        offline_message(tmp_path / "data")


def test_name_server_that_never_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(builders, "_PROBE_SECONDS", 0.2)
    released = threading.Event()

    def silent(*args, **kwargs):
        released.wait(30)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    monkeypatch.setattr(images, "MNIST", served_at("http://host.invalid/"))
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
    with pytest.raises(InvalidInput, match="6 records of train are missing"):
        load(tmp_path)


def test_another_process_may_win(tmp_path, tiny, local_mnist, monkeypatch):
    builder = builders.builder

    def prepared_twice(source, data_dir):
        made = builder(source, data_dir)
        prepare = made.download_and_prepare

        def twice(**kwargs):
            prepare(**kwargs)
            raise OSError("Directory not empty")

        made.download_and_prepare = twice
        return made

    monkeypatch.setattr(builders, "builder", prepared_twice)
    np.testing.assert_array_equal(load(tmp_path).y, tiny.labels)


def test_checksums_are_those_of_the_original_files(real_mnist):
    assert len(images.MNIST.downloads) == 4
    for url, sha256 in images.MNIST.downloads:
        assert url.startswith("https://")
        content = (real_mnist / url.rsplit("/", 1)[1]).read_bytes()
        assert sha256 == hashlib.sha256(content).hexdigest()


def test_what_cannot_be_downloaded_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MNIST", images.MNIST._replace(downloads=()))
    with pytest.raises(
        MissingData, match="cannot be downloaded by a program"
    ) as caught:
        load(tmp_path)
    assert_says_what_to_do(str(caught.value), tmp_path)


@pytest.mark.slow
def test_original_files_through_the_builder(tmp_path, real_mnist, served, monkeypatch):
    folder, url, _ = served
    contents = {}
    for path in real_mnist.glob("*.gz"):
        contents[path.name] = path.read_bytes()
        (folder / path.name).write_bytes(contents[path.name])
    monkeypatch.setattr(images, "MNIST", served_at(url, contents))
    prepared = data.load("mnist", data_dir=tmp_path / "data")
    raw = data.load("mnist", data_dir=real_mnist)
    np.testing.assert_array_equal(prepared.x, raw.x)
    np.testing.assert_array_equal(prepared.y, raw.y)
    assert "the original data by SHA-256" in prepared.provenance
