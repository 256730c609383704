"""What the house has promised: how deep a call goes, that functions are values."""

import pickle

import jax
import pytest

from dgg_jax import presets
from dgg_jax.methods import (
    aae,
    catgan,
    dec,
    dgg,
    dgg_steps,
    gmvae,
    imsat,
    ltvae,
    spectralnet,
    vade,
)
from dgg_jax.networks import Classifier, Network
from dgg_jax.presets import AAEPreset, CatGANPreset, DGGPreset, VaDEPreset
from dgg_jax.stages.graph import SiameseLoss
from dgg_jax.stages.pretrain import AutoencoderLoss, VaeLoss
from docs import architecture


def test_few_frames_lead_from_fit_to_the_loss():
    stack = architecture.stack_to_the_loss()
    assert stack[0] == ("estimators/dgg.py", "fit")
    assert stack[-1] == ("methods/dgg_steps.py", "__call__")
    assert len(stack) <= 12
    assert len({file for file, _ in stack}) <= 6  # and losses/dgg.py


def test_no_member_of_a_method_is_overridden():
    assert architecture.overridden_members() == set()


def test_there_are_no_circles():
    assert architecture.circles() == []


def networks(preset):
    module = {DGGPreset: dgg, VaDEPreset: vade}[type(preset)]
    return module.networks_of(preset, 7)


def losses(preset=None):
    """Every loss of a batch, each made anew."""
    model = networks(preset or DGGPreset())
    gmvae_model = gmvae.networks_of(presets.preset("gmvae", "digits"), (7,))
    network = Network(Classifier((4,), 3))
    return [
        AutoencoderLoss(model, 0.2),
        VaeLoss(model),
        SiameseLoss(network, 5.0, 2, "batch"),
        dgg_steps.NodeLoss(model, False),
        dgg_steps.TupleLoss(model, False, 1.6),
        dgg_steps.LabelLoss(model, True),
        dgg_steps.ClassifierLoss(network, True),
        vade.VadeLoss(networks(VaDEPreset()), "sample", 1, 1.0),
        vade.ReconstructionLoss(networks(VaDEPreset())),
        gmvae.GmvaeLoss(gmvae_model, 1, 0.0, False),
        dec.DecLoss(model.encode, 1.0),
        ltvae.LTVAELoss(model, 0.7, 1e-3),
        imsat.ImsatLoss(imsat.Classify(network), 0.1, 4.0, 1.0),
        spectralnet.SpectralNetLoss(network, 5, True),
        aae.ReconstructionLoss(aae.networks_of(AAEPreset(), 7)),
        aae.CriticLoss(aae.networks_of(AAEPreset(), 7)),
        aae.EncoderLoss(aae.networks_of(AAEPreset(), 7)),
        catgan.ClassifierLoss(catgan.networks_of(CatGANPreset(), 7)),
        catgan.GeneratorLoss(catgan.networks_of(CatGANPreset(), 7)),
    ]


@pytest.mark.parametrize("number", range(len(losses())))
def test_equal_losses_are_one_value_that_can_be_pickled(number):
    loss, same = losses()[number], losses()[number]
    assert loss is not same
    assert loss == same and hash(loss) == hash(same)
    again = pickle.loads(pickle.dumps(loss))
    assert again == loss and hash(again) == hash(loss)


def test_losses_of_other_networks_are_others():
    ours, others = losses(), losses(DGGPreset(hidden_sizes=(5,)))
    different = {type(a) for a, b in zip(ours, others, strict=True) if a != b}
    assert different >= {
        dgg_steps.NodeLoss,
        dgg_steps.TupleLoss,
        AutoencoderLoss,
        dec.DecLoss,
    }


def test_equal_networks_are_compiled_once():
    traces = []

    class Listed(Classifier):
        def __call__(self, x):
            traces.append(1)
            return super().__call__(x)

    apply = jax.jit(lambda network, params, x: network(params, x), static_argnums=0)
    x = jax.numpy.ones((2, 4))
    params = Listed((5,), 3).init(jax.random.key(0), x)["params"]
    traces.clear()
    for _ in range(2):
        apply(Network(Listed((5,), 3)), params, x)
    assert len(traces) == 1
