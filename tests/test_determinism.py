"""The same seed gives the same bits, in any process, with any compilation cache."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import hashlib, jax, numpy as np
from tests.hardening.check_estimators import tiny
from tests.methods.toy import blobs

model = tiny("VaDE", epochs=2).fit(blobs()[0])
digest = hashlib.sha256()
for leaf in jax.tree.leaves((model._state, model.probabilities_, model.embedding_)):
    digest.update(np.asarray(leaf).tobytes())
digest.update(model.score_samples(blobs()[0]).tobytes())
print(digest.hexdigest())
"""


def digest(**environment):
    # With all threads: their order may not matter either.
    usual = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**usual, "PYTHONPATH": os.getcwd(), **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.chdir(os.path.dirname(os.path.dirname(__file__)))
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "xla"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    without = digest(JAX_ENABLE_COMPILATION_CACHE="false")
    cold = digest(**cache)
    assert len(os.listdir(tmp_path / "xla")) > 0
    hot = digest(**cache)
    assert without == cold == hot
