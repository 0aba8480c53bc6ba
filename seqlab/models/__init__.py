"""Model architectures. Each file holds one architecture: its config, which builds it, and its module.

To add a model, write a config (a subclass of `ModelConfig`) and a module with the methods of a protocol: `Stepper` for
decoding, `Scorer` for scoring. Names are imported lazily, at first use. `seqlab.registry` lists the model families.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
