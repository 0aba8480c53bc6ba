"""The run folder: configuration, checkpoints and codecs, and loading a trained model from them.

Names are imported at their first use, so that reading a folder's description does not import torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
