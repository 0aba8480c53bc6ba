"""Layers: tensors in, tensors out. Nothing here knows of text, batches or files.

A name is imported when it is asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
