"""Layers for sequence models, from tensors to tensors; independent of text, batches and files.

Names are imported lazily, at first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
