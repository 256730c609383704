"""Data that every method can cluster."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def blobs():
    """Three well separated blobs in a cube, in random order: x [180, 3], y [180]."""
    random = np.random.default_rng(0)
    centers = np.array([[0.1, 0.1, 0.9], [0.9, 0.1, 0.1], [0.1, 0.9, 0.5]])
    y = random.permutation(np.repeat(np.arange(3), 60))
    return (centers[y] + 0.03 * random.normal(size=(180, 3))).astype(np.float32), y
