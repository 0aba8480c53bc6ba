"""The run folder: config, weights and tokenizers, written, read and turned back into a model.

A name is imported when it is asked for: what only looks into the folder loads no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
