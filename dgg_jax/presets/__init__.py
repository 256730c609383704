"""Every default value of the methods, and the data sets' own values.

A preset is a frozen dataclass, one a method; ``preset(method, dataset, name)`` gives
that of a data set, ``for_data(method, x, num_clusters)`` that of data of one's own:

- "default": what we recommend; measured, see the README's table.
- "paper": everything as the method's paper prints it, where it is silent the released
  code's values, and ours where both are (the length of each pretraining stage, and
  DGG's s_i of eq. 32). See docs/errata.md. The papers of DEC, SpectralNet and IMSAT
  were not at hand: theirs are of the authors' released code, as far as there are
  settings for them; those of CatGAN, AAE and LTVAE are ours. That code trains DEC
  by SGD and SpectralNet by RMSprop until a validation loss stalls; ours takes Adam and
  default's epochs.
- "released": what the code of DGG's authors does for a data set; for images that it
  does not have what it does for MNIST, for points of the plane paper. Of other methods
  it is paper. It starts from the weights of VaDE's authors, ours from its own (erratum
  E22).
- "smoke": a few epochs of small networks, to see that everything runs.

The methods that start from an autoencoder share its settings on a data set, so that
they start from the same weights; in "default" DGG and what clusters its embedding share
their own.
"""

from dgg_jax.presets.benchmarks import DATASETS, dgg, preset, vade
from dgg_jax.presets.fields import Preset, Setting, settings
from dgg_jax.presets.methods import (
    METHODS,
    AAEPreset,
    AutoencoderPreset,
    CatGANPreset,
    DecoderPreset,
    DECPreset,
    DGGPreset,
    GMMPreset,
    GMVAEPreset,
    IMSATPreset,
    KMeansPreset,
    LatentGMMPreset,
    LatentKMeansPreset,
    LDMGIPreset,
    LTVAEPreset,
    MixturePreset,
    NetworkPreset,
    SiameseKMeansPreset,
    SiamesePreset,
    SiameseSpectralPreset,
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
    "LDMGIPreset",
    "LatentGMMPreset",
    "LatentKMeansPreset",
    "SiameseKMeansPreset",
    "SiameseSpectralPreset",
    "DECPreset",
    "SpectralNetPreset",
    "IMSATPreset",
    "CatGANPreset",
    "AAEPreset",
    "LTVAEPreset",
    "NAMES",
    "METHODS",
    "DATASETS",
]
