"""The stages of a run, each a function of its own; see the design of a DGG run.

``pretrain`` the autoencoder, build the similarity ``graph``, ``initialize`` labels,
mixture and classifier, ``train`` the joint objective, ``evaluate``.
"""
