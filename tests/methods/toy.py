"""Data that every method can cluster, whatever the seed."""

import functools

import numpy as np

POINTS = 30  # of each blob


@functools.cache
def blobs():
    """Three well separated blobs in a cube, in random order."""
    random = np.random.default_rng(0)
    centers = np.array([[0.1, 0.1, 0.9], [0.9, 0.1, 0.1], [0.1, 0.9, 0.5]])
    y = random.permutation(np.repeat(np.arange(3), POINTS))
    x = centers[y] + 0.03 * random.normal(size=(3 * POINTS, 3))
    return np.clip(x, 0.0, 1.0).astype(np.float32), y
