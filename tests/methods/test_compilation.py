"""What is traced once serves every epoch, and every later run of the same shapes."""

import contextlib
import dataclasses

import jax
import jax.numpy as jnp
import pytest

from dgg_jax.graph import knn
from dgg_jax.likelihoods import GaussianLikelihood
from dgg_jax.methods import dgg, vade
from dgg_jax.methods.parts import Parts
from dgg_jax.presets import DGGPreset, VaDEPreset
from tests.methods.toy import blobs
from tests.trees import assert_same

SETTINGS = {
    "num_clusters": 3,
    "likelihood": "gaussian",
    "variance": 0.01,
    "hidden_sizes": (5,),
    "latent_dim": 2,
    "num_neighbors": 6,
    "pretrain_autoencoder_epochs": 1,
    "pretrain_vae_epochs": 1,
    "label_epochs": 1,
    "epochs": 1,
    "batch_size": 30,
}
# Nothing here changes a shape; the graph is given, since its degrees are shapes, too.
CHANGES = {
    "variance": 0.02,
    "pretrain_autoencoder_epochs": 3,
    "pretrain_vae_epochs": 2,
    "label_epochs": 2,
    "epochs": 4,
}
DGG = DGGPreset(
    **SETTINGS,
    init="kmeans",
    guard=False,
    siamese_epochs=0,
    num_candidates=6,
    neighbor_choice="nearest",
)


@pytest.fixture(autouse=True)
def one_fit_to_labels(monkeypatch):
    """Networks this small never follow them."""
    monkeypatch.setattr(dgg, "_STEPS", 1)
    monkeypatch.setattr(dgg, "_FURTHER_STEPS", 1)


@contextlib.contextmanager
def traced():
    """The number of functions traced within, as the only entry of a list."""
    count = [0]

    def listen(event, duration, **about):
        count[0] += event == "/jax/core/compile/jaxpr_trace_duration"

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield count
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize(
    ("method", "preset"), [(dgg, DGG), (vade, VaDEPreset(**SETTINGS))]
)
@pytest.mark.parametrize("share", [0.5, 1e-12], ids=["on the device", "streamed"])
def test_more_epochs_and_another_lambda_and_seed_trace_nothing(method, preset, share):
    x, y = blobs()
    preset = dataclasses.replace(preset, device_memory_share=share)
    neighbors = knn(x, 6)
    with traced() as first:
        method.run(x, preset, y=y, neighbors=neighbors)
    assert first[0] > 0
    with traced() as second:
        changed = dataclasses.replace(preset, **CHANGES)
        method.run(2.0 * x, changed, y=y, neighbors=neighbors, seed=1)
    assert second[0] == 0


@pytest.fixture
def unchecked(monkeypatch):
    """Without the checks of parts, which trace on purpose, to see shapes."""
    for module in (dgg, vade):
        monkeypatch.setattr(module, "check_parts", lambda problem: None)


@dataclasses.dataclass(frozen=True)
class Own(GaussianLikelihood):
    """No pytree, unlike its parent."""


@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass(frozen=True)
class OwnWithArrays(GaussianLikelihood):
    """A pytree, as its user has registered it."""


@pytest.mark.parametrize(
    ("method", "preset"), [(dgg, DGG), (vade, VaDEPreset(**SETTINGS))]
)
def test_equal_likelihoods_of_ones_own_trace_once(method, preset, unchecked):
    x, _ = blobs()
    neighbors = knn(x, 6)

    def fit(likelihood):
        with traced() as count:
            model, _, _ = method.run(
                x, preset, neighbors=neighbors, parts=Parts(likelihood=likelihood)
            )
            model.elbo(x)
            model.decode(jnp.zeros((1, 2)))
        assert model.likelihood is likelihood
        return count[0], model

    first, own = fit(Own(0.01))
    assert first > 0
    assert fit(Own(0.01))[0] == 0
    assert fit(Own(0.02))[0] > 0  # a constant of what is compiled
    _, named = fit(GaussianLikelihood(0.01))
    assert_same(own.params, named.params)  # the statistics are those of its parent


def test_likelihoods_with_arrays_are_arguments_of_what_is_compiled(unchecked):
    x, _ = blobs()
    preset = VaDEPreset(**SETTINGS)

    def fit(variance):
        likelihood = OwnWithArrays(variance)
        with traced() as count:
            vade.run(x, preset, parts=Parts(likelihood=likelihood))
        return count[0]

    assert fit(0.01) > 0
    assert fit(0.02) == 0
