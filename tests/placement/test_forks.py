"""A forked process, where jax would wait without end, says so at once."""

import os
import subprocess
import sys

import pytest

from dgg_jax.placement import forks

FORKING = """
import multiprocessing, os, sys, warnings
warnings.simplefilter("ignore")  # of jax, about the fork
import numpy as np
import dgg_jax
from dgg_jax.placement.forks import Forked

x = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
settings = {"hidden_sizes": (6,), "latent_dim": 2, "epochs": 1, "random_state": 0}

def used(name, model):
    try:
        if name == "fit":
            dgg_jax.GMVAE(2, **settings).fit(x)
        else:
            getattr(model, name)(x)
    except Forked as error:
        return str(error)
    return "computed"

if __name__ == "__main__":
    method, when = sys.argv[1:]
    model = dgg_jax.GMVAE(2, **settings)
    if when == "after":
        model.fit(x)
    context = multiprocessing.get_context(method)
    with context.Pool(1) as pool:
        names = ["predict", "transform", "score", "fit"]
        for name in names if when == "after" else ["fit"]:
            print(pool.apply_async(used, (name, model)).get(100))
    used("fit", model)  # the parent goes on
"""


def outcome(tmp_path, *arguments):
    script = tmp_path / "forking.py"
    script.write_text(FORKING)
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_after_a_fit_a_fork_says_what_to_use(tmp_path):
    lines = outcome(tmp_path, "fork", "after")
    assert len(lines) == 4
    for line in lines:
        assert "was forked" in line and "get_context('spawn')" in line


@pytest.mark.slow
@pytest.mark.parametrize(("method", "when"), [("spawn", "after"), ("fork", "before")])
def test_what_to_use_computes(tmp_path, method, when):
    assert set(outcome(tmp_path, method, when)) == {"computed"}


def test_a_process_by_itself_computes(monkeypatch):
    monkeypatch.setattr(forks, "_computing", None)
    forks.check()
    forks.check()
    assert forks._computing == os.getpid()
    monkeypatch.setattr(forks, "_computing", -1)
    with pytest.raises(forks.Forked, match=r"\(-1\)"):
        forks.check()
