"""Corpora, datasets and batches: files -> examples -> batches.

Names are imported on first use. Modules that only need the batch types import `seqlab.data.batch`, which loads torch
and nothing else of seqlab.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
