"""Every default value of the methods, and the data sets' own values.

A preset is a frozen dataclass, one a method; ``preset(method, dataset, name)`` gives
that of a data set, ``for_data(method, x, num_clusters)`` that of data of one's own:

- "default": what we recommend; measured, see the README's table.
- "paper": the values that the method's paper prints, or where it is silent the released
  code's; ours where both are (the length of each pretraining stage). See
  docs/errata.md. The papers of DEC, SpectralNet and IMSAT were not at hand: theirs are
  of the authors' released code, as far as there are settings for them. That code trains
  DEC by SGD and SpectralNet by RMSprop until a validation loss stalls; ours takes Adam
  and default's epochs.
- "smoke": a few epochs of small networks, to see that everything runs.

The methods that start from an autoencoder share its settings on a data set, so that
they start from the same weights.
"""

from dgg_jax.presets.benchmarks import DATASETS, dgg, preset, vade
from dgg_jax.presets.fields import Preset, Setting, settings
from dgg_jax.presets.methods import (
    METHODS,
    AutoencoderPreset,
    DecoderPreset,
    DECPreset,
    DGGPreset,
    GMMPreset,
    GMVAEPreset,
    IMSATPreset,
    KMeansPreset,
    LatentGMMPreset,
    MixturePreset,
    NetworkPreset,
    SiamesePreset,
    SpectralNetPreset,
    SpectralPreset,
    TrainingPreset,
    VaDEPreset,
    preset_class,
)
from dgg_jax.presets.rules import NAMES, for_data, of_the_data

__all__ = [  # noqa: RUF022 - the order of the reference
    "preset",
    "for_data",
    "dgg",
    "vade",
    "of_the_data",
    "settings",
    "Setting",
    "preset_class",
    "Preset",
    "NetworkPreset",
    "DecoderPreset",
    "AutoencoderPreset",
    "SiamesePreset",
    "TrainingPreset",
    "MixturePreset",
    "DGGPreset",
    "VaDEPreset",
    "GMVAEPreset",
    "KMeansPreset",
    "GMMPreset",
    "SpectralPreset",
    "LatentGMMPreset",
    "DECPreset",
    "SpectralNetPreset",
    "IMSATPreset",
    "NAMES",
    "METHODS",
    "DATASETS",
]
