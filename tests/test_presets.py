"""Presets: each builds, each bad value is named, each field is described."""

import dataclasses
import json
import math
import re

import pytest

from dgg_jax import presets
from dgg_jax.checks import InvalidInput
from dgg_jax.presets import DGGPreset

DATASETS = ("digits", "mnist", "moons")
FIELDS = {field.name: field for field in dataclasses.fields(DGGPreset)}


def of_type(kind):
    return [name for name, field in FIELDS.items() if field.type is kind]


def message(**changes):
    with pytest.raises(InvalidInput) as error:
        dataclasses.replace(DGGPreset(), **changes)
    return str(error.value)


@pytest.mark.parametrize("name", presets.NAMES)
@pytest.mark.parametrize("dataset", DATASETS)
def test_every_preset_builds(dataset, name):
    preset = presets.dgg(dataset, name)
    assert preset.num_clusters == (2 if dataset == "moons" else 10)
    assert preset.likelihood == ("gaussian" if dataset == "moons" else "bernoulli")
    if name == "paper":
        assert preset.init == "kmeans"
        assert preset.label_epochs == 0
        assert preset.graph_strength == 1.0
        assert (preset.epochs, preset.batch_size) == (300, 100)
        assert (preset.decay, preset.decay_epochs) == (0.9, 10)
    if name == "smoke":
        assert preset.epochs <= 3


def test_default_is_the_default():
    assert presets.dgg("mnist") == presets.dgg("mnist", "default") == DGGPreset()
    assert presets.dgg("mnist", "paper") != DGGPreset()


def test_the_papers_mnist_settings():
    preset = presets.dgg("mnist", "paper")
    assert preset.hidden_sizes == (500, 500, 2000)
    assert preset.latent_dim == 10
    assert (preset.num_neighbors, preset.num_candidates) == (20, 100)
    assert preset.neighbor_choice == "random"
    assert preset.neighbor_weights == "uniform"
    assert preset.learning_rate == 2e-3
    assert preset.weight_decay == 1e-4
    assert preset.siamese_pairs == 2
    assert preset.siamese_margin == 3.0
    assert preset.siamese_learning_rate == 5e-4
    assert (preset.siamese_decay, preset.siamese_decay_epochs) == (0.1, 70)
    assert preset.siamese_weight_decay == 1e-4
    assert (preset.siamese_epochs, preset.siamese_batch_size) == (300, 1000)
    assert presets.PAPER["mnist"]["accuracy"] == 0.9758


def test_unknown_names_list_the_valid_ones():
    with pytest.raises(InvalidInput) as error:
        presets.dgg("cifar")
    assert str(error.value) == (
        "dataset='cifar' is unknown; choose one of: digits, mnist, moons."
    )
    with pytest.raises(InvalidInput) as error:
        presets.dgg("mnist", "best")
    assert str(error.value) == (
        "preset='best' is unknown; choose one of: default, paper, smoke."
    )


def test_a_preset_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        DGGPreset().epochs = 3


@pytest.mark.parametrize("name", of_type(str))
def test_every_string_is_a_choice(name):
    valid = presets.CHOICES[name]
    assert FIELDS[name].default in valid
    for value in valid:
        assert getattr(dataclasses.replace(DGGPreset(), **{name: value}), name) == value
    assert message(**{name: "other"}) == (
        f"{name}='other' is unknown; choose one of: {', '.join(valid)}."
    )


@pytest.mark.parametrize("name", of_type(int))
def test_counts_have_a_least_value(name):
    low = 0 if name.endswith("epochs") and "decay" not in name else 1
    changes = {name: low}
    if name == "num_candidates":
        changes["num_neighbors"] = 1
    assert getattr(dataclasses.replace(DGGPreset(), **changes), name) == low
    assert message(**{name: low - 1}) == (
        f"{name} must be at least {low}, got {low - 1}."
    )


MAY_BE_0 = {
    "pretrain_corruption",
    "siamese_weight_decay",
    "graph_strength",
    "weight_decay",
}
HIGHEST = {
    "pretrain_corruption": 0.99,
    "siamese_decay": 1.0,
    "graph_strength": 2.0,
    "decay": 1.0,
}


@pytest.mark.parametrize("name", of_type(float))
def test_rates_have_a_range(name):
    good = [HIGHEST.get(name, 50.0), 0.01] + [0.0] * (name in MAY_BE_0)
    for value in good:
        assert getattr(dataclasses.replace(DGGPreset(), **{name: value}), name) == value
    bad = [-0.1, math.nan]
    bad += [] if name in MAY_BE_0 else [0.0]
    bad += [HIGHEST[name] + 0.01] if name in HIGHEST else []
    for value in bad:
        text = message(**{name: value})
        assert text.startswith(f"{name} must be ")
        assert text.endswith(f"got {value!r}.")


@pytest.mark.parametrize("name", ["hidden_sizes", "classifier_hidden_sizes"])
def test_widths_are_positive(name):
    assert message(**{name: (20, 0)}) == f"{name} must be at least 1, got 0."
    assert getattr(dataclasses.replace(DGGPreset(), **{name: ()}), name) == ()


def test_neighbours_are_chosen_from_at_least_as_many_candidates():
    assert message(num_candidates=19) == (
        "num_candidates=19 must be at least num_neighbors=20, which are chosen from "
        "them."
    )
    assert dataclasses.replace(DGGPreset(), num_candidates=20).num_candidates == 20


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_trip_through_json(dataset):
    preset = dataclasses.replace(
        presets.dgg(dataset, "smoke"), classifier_hidden_sizes=(3,)
    )
    values = json.loads(json.dumps(dataclasses.asdict(preset)))
    assert isinstance(values["hidden_sizes"], list)
    restored = DGGPreset.from_dict(values)
    assert restored == preset
    assert hash(restored) == hash(preset)  # tuples again


def test_from_dict_checks_the_values():
    with pytest.raises(InvalidInput, match="epochs must be at least 0"):
        DGGPreset.from_dict({"epochs": -1})


def test_every_field_is_described_in_order():
    _, _, attributes = DGGPreset.__doc__.partition("Attributes:\n")
    described = re.findall(r"^      (\w+): (\S+)", attributes, re.M)
    assert [name for name, _ in described] == list(FIELDS)
