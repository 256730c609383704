"""A forked process, where jax would wait without end, says so at once."""

import json
import os
import subprocess
import sys

import pytest

from dgg_jax.placement import forks

FORKING = """
import json, multiprocessing, warnings
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

def outcomes(method, *names):
    with multiprocessing.get_context(method).Pool(1) as pool:
        return [pool.apply_async(used, (name, model)).get(100) for name in names]

if __name__ == "__main__":
    model = dgg_jax.GMVAE(2, **settings)
    told = {"fork before": outcomes("fork", "fit")}
    model.fit(x)
    for method in ("fork", "spawn"):
        names = ("predict", "transform", "score", "fit")
        told[f"{method} after"] = outcomes(method, *names)
        used("fit", model)  # the parent goes on
    print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def outcomes(xla, tmp_path_factory):
    """What processes say that start before a fit, or after it."""
    script = tmp_path_factory.mktemp("forks") / "forking.py"
    script.write_text(FORKING)
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=900,
        env={**xla, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_after_a_fit_a_fork_says_what_to_use(outcomes):
    lines = outcomes["fork after"]
    assert len(lines) == 4
    for line in lines:
        assert "was forked" in line and "get_context('spawn')" in line


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.parametrize("when", ["spawn after", "fork before"])
def test_what_to_use_computes(outcomes, when):
    assert set(outcomes[when]) == {"computed"}


def test_a_process_by_itself_computes(monkeypatch):
    monkeypatch.setattr(forks, "_computing", None)
    forks.check()
    forks.check()
    assert forks._computing == os.getpid()
    monkeypatch.setattr(forks, "_computing", -1)
    with pytest.raises(forks.Forked, match=r"\(-1\)"):
        forks.check()
