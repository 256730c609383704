import functools
import gzip
import http.server
import struct
import threading
import time
from pathlib import Path

import numpy as np
import pytest

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim)
    return header + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


class TinyMnist:
    """Seven training and three test images of random pixels."""

    def __init__(self):
        rng = np.random.default_rng(5)
        self.images = rng.integers(0, 256, (10, 28, 28), dtype=np.uint8)
        self.labels = rng.permutation(10).astype(np.uint8)
        self.contents = {
            name: idx_bytes(array)
            for name, array in zip(
                NAMES,
                [self.images[:7], self.labels[:7], self.images[7:], self.labels[7:]],
                strict=True,
            )
        }

    def write(self, folder: Path, *, compress: bool = True, dots: bool = False) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.contents.items():
            name = name.replace("-idx", ".idx") if dots else name
            if compress:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
            else:
                (folder / name).write_bytes(content)
        return folder


@pytest.fixture
def tiny() -> TinyMnist:
    return TinyMnist()


@pytest.fixture
def as_idx():
    return idx_bytes


@pytest.fixture
def real_mnist() -> Path:
    folder = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "mnist"
    if not (folder / f"{NAMES[0]}.gz").is_file():
        pytest.skip(f"the original MNIST files are not in {folder}")
    return folder


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Answers a HEAD to what is listed, and may answer a GET slowly or not whole."""

    listed_only: tuple[str, ...] = ()  # a GET fails
    pause = 0.0  # seconds after 1,000 bytes
    cut = False  # after 1,000 bytes

    def log_message(self, *args):
        pass

    def do_GET(self):
        if self.path.strip("/") in self.listed_only:
            self.send_error(404)
        else:
            super().do_GET()

    def copyfile(self, source, outputfile):
        while block := source.read(1000):
            outputfile.write(block)
            outputfile.flush()
            if self.cut:
                return
            time.sleep(self.pause)


@pytest.fixture
def handler():
    """The class whose attributes a test may change."""
    return type("Handler", (QuietHandler,), {})


@pytest.fixture
def served(tmp_path, handler):
    """Serves a folder on this machine; yields the folder, its URL and a stop."""
    folder = tmp_path / "served"
    folder.mkdir()
    made = functools.partial(handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), made)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()

    def stop():
        server.shutdown()
        server.server_close()
        thread.join()

    yield folder, f"http://127.0.0.1:{server.server_address[1]}/", stop
    if thread.is_alive():
        stop()
