import gzip
import struct
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
