"""Layers: tensors in, tensors out. Nothing here knows of text, batches or files.

A name is imported when it is asked for.
"""

import lazy_loader

from seqlab.nn.mkl import make_repeatable

make_repeatable()
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
