"""Comparison of trees of arrays, bit by bit, and of records but for the process."""

import jax
import numpy as np

# In records and results: what depends on the process, not on the run.
OF_THE_SESSION = {"seconds", "finished", "peak_memory_mib", "peak_device_memory_mib"}


def assert_same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype and a.shape == b.shape
        assert a.tobytes() == b.tobytes()


def differ(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return any(np.asarray(a).tobytes() != np.asarray(b).tobytes() for a, b in pairs)


def of_the_run(record):
    """What a record has that every session of the run would compute."""
    return {name: x for name, x in record.items() if name not in OF_THE_SESSION}
