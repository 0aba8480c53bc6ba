"""Architectures: a batch in, outputs out. One file holds one architecture: its config, which builds it, and its module.

A model of your own is a config (`ModelConfig`) and a module that has the methods of a protocol: a `Stepper` is decoded
with, a `Scorer` scores. A name is imported when it is asked for. Which families there are says `seqlab.registry`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
