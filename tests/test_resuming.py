"""Fits that go on where they were interrupted."""

import numpy as np
import pytest
from scipy import sparse

from dgg_jax.checks import InvalidInput
from dgg_jax.estimators import base, resuming
from dgg_jax.likelihoods import GaussianLikelihood
from dgg_jax.methods import Parts
from dgg_jax.presets import VaDEPreset
from tests.hardening.check_estimators import tiny
from tests.methods.toy import blobs
from tests.trees import assert_same

X = blobs()[0]
SETTINGS = {"epochs": 4, "pretrain_autoencoder_epochs": 3}


class Killed(Exception):
    """What ends a fit."""


class KilledAt:
    """Ends a fit in an epoch of a loop."""

    def __init__(self, loop, last):
        self.loop, self.last, self.heard = loop, last, []

    def __call__(self, stage, epoch, metrics):
        self.heard.append((metrics["loop"], epoch))
        if (metrics["loop"], epoch) == (self.loop, self.last):
            raise Killed


@pytest.fixture(scope="module")
def reference():
    return tiny("VaDE", **SETTINGS).fit(X)


def test_a_fit_goes_on_to_the_same_bits(reference, tmp_path, monkeypatch):
    monkeypatch.setattr(base, "_CHECKPOINT_SECONDS", 0.0)
    folder = tmp_path / "fit"
    for loop, last in (("autoencoder", 2), ("train", 3)):
        killed = KilledAt(loop, last)
        with pytest.raises(Killed):
            tiny("VaDE", **SETTINGS, callbacks=killed).fit(X, checkpoint_dir=folder)
    # The epoch that was killed is run again, and nothing before the last checkpoint.
    assert killed.heard == [
        *[("autoencoder", epoch) for epoch in (2, 3)],
        *[("train", epoch) for epoch in (1, 2, 3)],
    ]
    rest = KilledAt(None, None)
    model = tiny("VaDE", **SETTINGS, callbacks=rest)
    model.fit(X, checkpoint_dir=str(folder))
    assert rest.heard == [("train", 3), ("train", 4)]
    assert_same(model.model_.params, reference.model_.params)
    for name in ("labels_", "probabilities_", "embedding_", "elbo_"):
        assert_same(getattr(model, name), getattr(reference, name))
    assert model.history_ == reference.history_ and model.n_iter_ == 4
    names = [stage["name"] for stage in reference.stages_]
    assert [stage["name"] for stage in model.stages_] == names

    rest.heard.clear()  # a finished one trains nothing
    again = tiny("VaDE", **SETTINGS, callbacks=rest).fit(X, checkpoint_dir=folder)
    assert rest.heard == []
    assert_same(again.probabilities_, reference.probabilities_)

    for other, x, message in (
        ({"epochs": 5}, X, "holds a fit of other epochs; name"),
        ({"n_clusters": 2, "random_state": 1}, X, "other n_clusters, random_state"),
        ({}, X[:-1], "holds a fit of other X"),
    ):
        model = tiny("VaDE", **SETTINGS).set_params(**other)
        with pytest.raises(InvalidInput, match=message):
            model.fit(x, checkpoint_dir=folder)
    with pytest.raises(InvalidInput, match="holds a fit of other sample_weight"):
        model.fit(X, sample_weight=X[:, 0], checkpoint_dir=folder)
    equal = np.full(len(X), 2.0)  # is none
    model.fit(X, sample_weight=equal, checkpoint_dir=folder)
    with pytest.raises(InvalidInput, match=r"holds a fit of other .*estimator"):
        tiny("DEC").fit(X, checkpoint_dir=folder)
    (folder / "fit.json").write_text("{}[")
    with pytest.raises(InvalidInput, match=r"fit\.json is damaged"):
        tiny("VaDE", **SETTINGS).fit(X, checkpoint_dir=folder)


def test_folders_and_seeds_that_do_not_serve(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(InvalidInput, match="is not empty and holds no fit"):
        tiny("DEC").fit(X, checkpoint_dir=tmp_path)
    assert not (tmp_path / "fit.json").exists()
    for seed in (None, np.random.RandomState(0)):
        with pytest.raises(InvalidInput, match="needs an integer random_state"):
            tiny("DEC", random_state=seed).fit(X, checkpoint_dir=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_what_makes_a_fit_another():
    class OwnLikelihood:
        """Shown by its address."""

    preset = VaDEPreset()

    def identity(x=X, preset=preset, seed=0, **known):
        return resuming.identity("VaDE", x, preset, seed, known)

    assert identity() == identity(X.copy(), VaDEPreset(), neighbors=None)
    pair = (np.zeros((3, 2), int), np.ones((3, 2)))
    parts = Parts(likelihood=GaussianLikelihood(0.1))
    own = Parts(likelihood=OwnLikelihood())
    assert identity(parts=own) == identity(parts=Parts(likelihood=OwnLikelihood()))
    others = [
        identity(),
        identity(X + 1),
        identity(X.reshape(-1, 9)),
        identity(sparse.csr_array(X)),
        identity(sparse.csr_array(X)[:, ::-1]),
        identity(preset=VaDEPreset(epochs=3)),
        identity(seed=1),
        identity(must_link=[(1, 23)]),
        identity(must_link=[(12, 3)]),
        identity(neighbors=pair),
        identity(neighbors=(pair[0] + 1, pair[1])),
        identity(known=[0, -1]),
        identity(known=np.array([0, -1])),
        identity(parts=parts),
        identity(parts=Parts(likelihood=GaussianLikelihood(0.2))),
        identity(parts=own),
    ]
    for number, one in enumerate(others):
        assert one not in others[:number]
